#!/usr/bin/env bash
# Builds every fuzzer with clang 19 (libFuzzer, AddressSanitizer, UndefinedBehaviorSanitizer) and runs each for a while.
#   scripts/fuzz.sh                  every fuzzer for 30 seconds, two at a time
#   scripts/fuzz.sh -t 600           ... for 600 seconds each
#   scripts/fuzz.sh -t 60 chunk      only the fuzzers named
# Prints a line per fuzzer: runs, runs a second, edges covered, findings. Exit 1 when something was found; the input
# that did it stays in out/fuzz/findings/NAME/ and, once fixed, belongs in tests/fuzz/corpus/NAME/. New inputs that
# reach further go to out/fuzz/grown/NAME/ and are used again by the next run; the committed corpus is only read.
set -uo pipefail
cd "$(dirname "$0")/.."
seconds=30 names=()
while [ $# -gt 0 ]; do
  case "$1" in
    -t) seconds=${2:?seconds}; shift ;;
    -h | --help) sed -n '2,8s/^# \{0,1\}//p' "$0"; exit 0 ;;
    -*) echo "fuzz.sh: unknown option $1 (see scripts/fuzz.sh --help)" >&2; exit 2 ;;
    *) names+=("$1") ;;
  esac
  shift
done
[[ $seconds =~ ^[1-9][0-9]*$ ]] || { echo "fuzz.sh: -t takes whole seconds, got '$seconds'" >&2; exit 2; }
command -v clang++-19 > /dev/null || { echo "fuzz.sh: clang++-19 is not installed (scripts/install-deps.sh)" >&2; exit 2; }
scripts/build.sh fuzz fuzzers || exit 2
if [ ${#names[@]} = 0 ]; then
  for binary in out/fuzz/fuzz/fuzz_*; do names+=("${binary##*/fuzz_}"); done
fi

# one NAME: runs one fuzzer and prints its line; 1 when it found something, 2 when it could not run.
one() {
  local name=$1 binary=out/fuzz/fuzz/fuzz_$1 grown=out/fuzz/grown/$1 findings=out/fuzz/findings/$1 log=out/fuzz/$1.log seeds=() status
  [ -x "$binary" ] || { echo "$name: no such fuzzer" >&2; return 2; }
  rm -rf "$findings"; mkdir -p "$grown" "$findings"
  [ -d "tests/fuzz/corpus/$name" ] && seeds=("tests/fuzz/corpus/$name")
  nice -n 10 "$binary" -max_total_time="$seconds" -timeout=5 -rss_limit_mb=2048 -print_final_stats=1 \
    -artifact_prefix="$findings/" "$grown" "${seeds[@]}" > "$log" 2>&1
  status=$?
  stat() { grep -aoE "stat::$1: +[0-9]+" "$log" | grep -oE '[0-9]+$' | tail -1; }
  local found; found=$(find "$findings" -type f | wc -l)
  printf '%-14s %10s runs %7s/s %6s edges %3s findings\n' "$name" "$(stat number_of_executed_units)" "$(stat average_exec_per_sec)" \
    "$(grep -aoE 'cov: [0-9]+' "$log" | tail -1 | grep -oE '[0-9]+')" "$found"
  [ "$status" = 0 ] && [ "$found" = 0 ] && return 0
  grep -aE -m3 'ERROR|runtime error|SUMMARY' "$log" | sed 's/^/    /'
  echo "    whole report: $log"
  return 1
}
export -f one; export seconds
printf '%s\n' "${names[@]}" | xargs -P 2 -I{} bash -c 'one {}'
[ $? = 0 ]
