#!/usr/bin/env bash
# How long people wait: a clean release build without ccache (target 6 minutes on 2 cores), and an edit to one service rebuilt and its tests
# run (target 30 s).   tests/performance/build_times.sh [--edit-only]
set -euo pipefail
cd "$(dirname "$0")/../.."
if [ "${1:-}" != --edit-only ]; then
  build=$(mktemp -d); trap 'rm -rf "$build"' EXIT
  cmake -S . -B "$build" -G Ninja -DCMAKE_BUILD_TYPE=Release > /dev/null
  began=$SECONDS
  CCACHE_DISABLE=1 cmake --build "$build" > "$build/log" 2>&1 || { tail -20 "$build/log"; exit 1; }
  echo "clean release build, everything: $((SECONDS - began)) s"
fi
for service in storage recorder; do
  source=sessions/$service/$service.cpp
  began=$(date +%s%3N)
  echo "// edited" >> "$source"
  trap 'sed -i "\$d" "$source"' ERR INT
  scripts/build.sh release > /dev/null 2>&1
  ctest --test-dir out/release -R "^session_$service\$" > /dev/null
  sed -i '$d' "$source"
  trap - ERR INT
  echo "edit of $source rebuilt and its tests run: $(( $(date +%s%3N) - began )) ms"
done
