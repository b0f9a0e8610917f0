#!/usr/bin/env bash
# Configures (once) and builds a preset:  scripts/build.sh PRESET [TARGET]...
set -euo pipefail
cd "$(dirname "$0")/.."
preset=${1:?preset}; shift
log=out/build-$preset.log
mkdir -p out
[ -f "out/$preset/build.ninja" ] || { echo "configuring $preset ..." >&2; cmake --preset "$preset" > "$log" 2>&1 || { tail -30 "$log" >&2; exit 1; }; }
began=$SECONDS
targets=(); for t in "$@"; do targets+=(--target "$t"); done
if [ -t 2 ]; then
  cmake --build "out/$preset" "${targets[@]}" >&2
else
  cmake --build "out/$preset" "${targets[@]}" > "$log" 2>&1 || { grep -E -A8 'error|FAILED|undefined' "$log" | head -60 >&2; exit 1; }
fi
echo "built $preset in $((SECONDS - began)) s" >&2
