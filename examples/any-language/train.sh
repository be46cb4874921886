#!/bin/sh
# A "training" in nothing but awk: the loss of a bowl with its bottom at x = 1, y = -2, falling over twelve epochs.
x=0 y=0
for word in "$@"; do
  case $word in
    --x=*) x=${word#--x=} ;;
    --y=*) y=${word#--y=} ;;
  esac
done
epoch=1
while [ "$epoch" -le 12 ]; do
  awk -v x="$x" -v y="$y" -v e="$epoch" 'BEGIN { printf "epoch %d loss=%.6f\n", e, (x - 1) ^ 2 + (y + 2) ^ 2 + 4 / e }'
  epoch=$((epoch + 1))
  sleep 0.05
done
