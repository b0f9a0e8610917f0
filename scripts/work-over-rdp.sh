#!/usr/bin/env bash
# Works for N seconds through the RDP client whose window fills $DISPLAY, as a person would: opens a terminal from the desktop's
# menu, types, scrolls, drags and resizes its window. What a person sees, that the desktop is up and the terminal is there, is asked of
# the desktop's own display.  scripts/work-over-rdp.sh N DISPLAY XAUTHORITY
set -uo pipefail
seconds=${1:?seconds} desktop=(env DISPLAY="${2:?display of the desktop}" XAUTHORITY="${3:?its authority file}")
for _ in $(seq 200); do "${desktop[@]}" xprop -root _NET_SUPPORTING_WM_CHECK 2>/dev/null | grep -q 'window id' && break; sleep 0.05; done
for attempt in 1 2 3 4 5; do
  xdotool mousemove 620 520 click 3   # the menu of openbox; its first entry is the terminal
  sleep 0.4                           # a person looks before the next key
  xdotool key Down Return
  "${desktop[@]}" timeout 3 xdotool search --sync --onlyvisible --class term > /dev/null && break
  [ "$attempt" = 5 ] && { echo "no terminal opened" >&2; exit 1; }
  xdotool key Escape
done
deadline=$((SECONDS + seconds))
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
