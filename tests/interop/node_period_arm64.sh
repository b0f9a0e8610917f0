#!/usr/bin/env bash
# The same month on another architecture: builds what computes scores and payments for ARM64, runs it under qemu-aarch64-static
# and compares every digest with this machine's.
#   tests/interop/node_period_arm64.sh NODE_MONTH [NODES]     NODES: default 500; 10000 is the whole deployment (minutes)
# Installs a cross compiler, qemu-user-static and OpenSSL for arm64 when they are missing, unless that would remove or upgrade
# anything. Exit 77: cannot run here (no root, no packages).
set -euo pipefail
cd "$(dirname "$0")/../.."
native=${1:?the node_month of this machine} nodes=${2:-500}
packages=(g++-aarch64-linux-gnu qemu-user-static libssl-dev:arm64)
missing() { local p; for p in "${packages[@]}"; do dpkg-query -W -f='${db:Status-Status}\n' "$p" 2>/dev/null | grep -q '^installed$' || return 0; done; return 1; }
if missing; then
  [ "$(id -u)" = 0 ] || { echo "not run: needs root to install ${packages[*]}" >&2; exit 77; }
  export DEBIAN_FRONTEND=noninteractive
  dpkg --add-architecture arm64
  apt-get update -q > /dev/null || { echo "not run: no package lists" >&2; exit 77; }
  plan=$(apt-get -s install --no-install-recommends "${packages[@]}") || { echo "not run: ${packages[*]} cannot be installed" >&2; exit 77; }
  grep -qE '^(Remv |Inst [^ ]+ \[)' <<< "$plan" && { echo "not run: installing would remove or upgrade packages" >&2; exit 77; }
  apt-get install -y -q --no-install-recommends "${packages[@]}" > /dev/null
fi

blake3=$(compgen -G '/usr/share/cargo/registry/blake3-*/c' || compgen -G 'out/deps/usr/share/cargo/registry/blake3-*/c') || { echo "BLAKE3 sources not found: run scripts/install-deps.sh" >&2; exit 1; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
began=$SECONDS
for source in blake3 blake3_dispatch blake3_portable blake3_neon; do
  aarch64-linux-gnu-gcc -O2 -w -DBLAKE3_USE_NEON=1 -c "$blake3/$source.c" -o "$work/$source.o"
done
sources=(lib/base/{bytes,error,id}.cpp lib/crypto/hash.cpp node/poot/{leader,rank,receipt,score}.cpp node/payouts/{money,period,statement}.cpp
         tests/performance/node_month.cpp)
aarch64-linux-gnu-g++ -std=c++23 -O2 -DNDEBUG -static -Wl,--gc-sections -ffunction-sections -I. -isystem "$blake3" \
  "${sources[@]}" "$work"/*.o -lcrypto -o "$work/node_month" 2> "$work/build.log" || { cat "$work/build.log"; exit 1; }
echo "built for $(file -b "$work/node_month" 2>/dev/null | cut -d, -f2 || echo aarch64) in $((SECONDS - began)) s"

digests() { grep -E '^(ranks|statement)|nodes, ' "$1"; }
"$native" --nodes "$nodes" > "$work/native.txt"
began=$SECONDS
qemu-aarch64-static "$work/node_month" --nodes "$nodes" > "$work/arm64.txt"
echo "ran under qemu-aarch64-static in $((SECONDS - began)) s"
digests "$work/arm64.txt"
if ! diff <(digests "$work/native.txt") <(digests "$work/arm64.txt"); then echo "x86-64 and ARM64 differ"; exit 1; fi
echo "the same on $(uname -m) and aarch64"
