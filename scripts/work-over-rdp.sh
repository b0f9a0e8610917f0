#!/usr/bin/env bash
# Works for N seconds through the RDP client whose window fills $DISPLAY, as a person would: opens a terminal from the desktop's
# menu, types, scrolls, drags and resizes its window.  scripts/work-over-rdp.sh N
set -uo pipefail
seconds=${1:?seconds}
deadline=$((SECONDS + seconds))
xdotool mousemove 620 520 click 3   # the menu of openbox; its first entry is the terminal
sleep_until_drawn() { xdotool mousemove_relative 1 0 mousemove_relative -- -1 0; sleep 0.4; }   # a person looks before the next click
sleep_until_drawn
xdotool key Down Return
sleep_until_drawn; sleep_until_drawn
round=0
while [ $SECONDS -lt $deadline ]; do
  round=$((round + 1))
  xdotool type --delay 30 "echo round $round of the demonstration; date"
  xdotool key Return
  xdotool type --delay 20 "seq 1 300"
  xdotool key Return
  xdotool mousemove $((120 + round * 11 % 60)) $((100 + round * 7 % 40)) keydown alt mousedown 1
  xdotool mousemove_relative --sync $((round * 37 % 300)) $((round * 29 % 200))
  xdotool mouseup 1 keyup alt
  xdotool mousemove $((300 + round * 41 % 200)) $((250 + round * 23 % 100)) keydown alt mousedown 3
  xdotool mousemove_relative --sync $((20 + round * 13 % 60)) $((10 + round * 17 % 40))
  xdotool mouseup 3 keyup alt
done
