#!/usr/bin/env bash
# Installs what is missing of scripts/packages.txt, and the BLAKE3 sources. Safe to run again: then it does nothing.
#   scripts/install-deps.sh [build|run|test]...      default: build run
set -euo pipefail
cd "$(dirname "$0")/.."
groups=("$@"); [ ${#groups[@]} -gt 0 ] || groups=(build run)

as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@" || { echo "install-deps: needs root or sudo for: $*" >&2; exit 1; }; fi; }
missing=()
for group in "${groups[@]}"; do
  while read -r kind name; do
    [ "$kind" = "$group" ] || continue
    dpkg-query -W -f='${db:Status-Status}' "$name" 2>/dev/null | grep -q '^installed$' || missing+=("$name")
  done < scripts/packages.txt
done
blake3=0
compgen -G '/usr/share/cargo/registry/blake3-*/c/blake3.h' >/dev/null || compgen -G 'out/deps/usr/share/cargo/registry/blake3-*/c/blake3.h' >/dev/null || blake3=1
[ ${#missing[@]} -gt 0 ] || [ $blake3 = 1 ] || exit 0

export DEBIAN_FRONTEND=noninteractive
as_root apt-get update -q >&2
if [ ${#missing[@]} -gt 0 ]; then
  echo "installing ${#missing[@]} packages: ${missing[*]}" >&2
  as_root apt-get install -y -q --no-install-recommends "${missing[@]}" >&2
  # Debian starts its own xrdp at once: a second door on 3389, and one that nobody records. Lucid runs xrdp itself.
  if [[ " ${missing[*]} " == *" xrdp "* ]] && [ -d /run/systemd/system ]; then as_root systemctl disable --now xrdp xrdp-sesman >&2; fi
  # And its own Prometheus and exporter, on 9090 and 9100: the tests run theirs.
  for service in prometheus prometheus-node-exporter; do
    if [[ " ${missing[*]} " == *" $service "* ]] && [ -d /run/systemd/system ]; then as_root systemctl disable --now "$service" >&2; fi
  done
fi
if [ $blake3 = 1 ]; then
  # Only the C sources are used; unpacking spares the package's Rust dependencies.
  mkdir -p out/deps
  (cd out/deps && apt-get download -q librust-blake3-dev >&2 && dpkg -x librust-blake3-dev_*.deb . && rm -f librust-blake3-dev_*.deb)
fi
