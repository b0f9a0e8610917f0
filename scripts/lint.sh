#!/usr/bin/env bash
# Lints with the checks of .clang-tidy and counts what clang-format would change; changes no file itself.
#   scripts/lint.sh                     every .cpp of lib/, sessions/ and app/ (over 20 minutes on 2 cores)
#   scripts/lint.sh lib/crypto a.cpp    only these folders and files
# clang-tidy reads out/debug/compile_commands.json (configured here when absent). Prints each finding once; exit 1
# when there is one. Formatting is counted, not enforced.
set -uo pipefail
cd "$(dirname "$0")/.."
case "${1:-}" in
  -h | --help) sed -n '2,6s/^# \{0,1\}//p' "$0"; exit 0 ;;
  -*) echo "lint.sh: unknown option $1 (see scripts/lint.sh --help)" >&2; exit 2 ;;
esac
for tool in clang-format-19 clang-tidy-19 run-clang-tidy-19; do
  command -v $tool > /dev/null || { echo "lint.sh: $tool is not installed (scripts/install-deps.sh)" >&2; exit 2; }
done
[ $# -gt 0 ] || set -- lib sessions app
for path in "$@"; do [ -e "$path" ] || { echo "lint.sh: no such file or folder: $path" >&2; exit 2; }; done
[ -f out/debug/compile_commands.json ] || cmake --preset debug > /dev/null || exit 2

mapfile -t sources < <(find "$@" -name '*.cpp' | sort)
mapfile -t formatted < <(find "$@" \( -name '*.cpp' -o -name '*.hpp' \) | sort)
differ=$(clang-format-19 --dry-run "${formatted[@]}" 2>&1 | grep -oE '^[^:]+:[0-9]+:[0-9]+: warning' | cut -d: -f1 | sort -u | wc -l)
echo "clang-format: $differ of ${#formatted[@]} files differ"

# run-clang-tidy takes regular expressions over the compile database: the whole path, dots escaped.
patterns=()
for source in "${sources[@]}"; do patterns+=("^$(realpath "$source" | sed 's/[.+]/\\&/g')\$"); done
log=out/lint.log
mkdir -p out
[ ${#patterns[@]} -gt 0 ] || { echo "clang-tidy: 0 files"; exit 0; }
# GCC's own warning options are in the database; clang does not know them all.
nice -n 10 run-clang-tidy-19 -p out/debug -quiet -j2 -extra-arg=-Wno-unknown-warning-option "${patterns[@]}" > "$log" 2>&1
status=$?
# What the analyzer says of Boost's insides is not ours to fix; what does not compile counts wherever it stands.
all=$(grep -E '^[^ ]+:[0-9]+:[0-9]+: (warning|error): ' "$log" | sort -u)
findings=$(grep -E "^$PWD/|clang-diagnostic-error" <<< "$all" | sed "s|^$PWD/||")
count=0
[ -z "$findings" ] || { printf '%s\n' "$findings"; count=$(wc -l <<< "$findings"); }
echo "clang-tidy: ${#sources[@]} files, $count findings"
[ "$count" = 0 ] || exit 1
[ "$status" = 0 ] || [ -n "$all" ] || { tail -20 "$log" >&2; exit 2; }
