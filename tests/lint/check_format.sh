#!/usr/bin/env bash
# Every C++ file is as .clang-format says. Prints the files that are not; to mend: clang-format-19 -i FILE.
set -uo pipefail
cd "$(dirname "$0")/../.."
bad=$(git ls-files --cached --others --exclude-standard '*.cpp' '*.hpp' | while read -r f; do [ -f "$f" ] && echo "$f"; done |
  xargs -P2 -n40 clang-format-19 --dry-run -Werror 2>&1 | grep -oE '^[^ :]+:[0-9]+' | cut -d: -f1 | sort -u)
[ -z "$bad" ] && { echo "formatted"; exit 0; }
printf 'not formatted: %s\n' $bad
exit 1
