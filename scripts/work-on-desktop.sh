#!/usr/bin/env bash
# Works on $DISPLAY as a person would for N seconds: types, scrolls, moves and resizes windows.  scripts/work-on-desktop.sh N
set -uo pipefail
seconds=${1:?seconds}
deadline=$((SECONDS + seconds))
xsetroot -solid '#305070' 2>/dev/null
xterm -geometry 100x30+40+40 -T editor -e bash --norc -i &
editor=$!
xterm -geometry 90x28+800+120 -T listing -e bash --norc -i &
listing=$!
trap 'kill $editor $listing 2>/dev/null' EXIT
a=$(timeout 10 xdotool search --sync --onlyvisible --name '^editor$' | head -n1)
b=$(timeout 10 xdotool search --sync --onlyvisible --name '^listing$' | head -n1)
round=0
while [ $SECONDS -lt $deadline ]; do
  round=$((round + 1))
  xdotool windowactivate --sync "$a" 2>/dev/null
  xdotool type --delay 30 "echo round $round of the demonstration; date"
  xdotool key Return
  xdotool windowactivate --sync "$b" 2>/dev/null
  xdotool type --delay 10 "seq 1 400"
  xdotool key Return
  xdotool windowmove --sync "$b" $((500 + round * 37 % 400)) $((60 + round * 53 % 300)) 2>/dev/null
  xdotool windowsize "$a" $((500 + round * 41 % 300)) $((300 + round * 29 % 200)) 2>/dev/null
  xdotool mousemove $((100 + round * 71 % 1500)) $((100 + round * 37 % 800)) click 1
done
