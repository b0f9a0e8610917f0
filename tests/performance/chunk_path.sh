#!/usr/bin/env bash
# The chunk path against bare libraries and restic, and leaves per second, in one run.
#   tests/performance/chunk_path.sh [MIB]       size of the data the programs get (default 256)
# Prints: compress+encrypt+hash in-process against the same bare library calls (target: at least 85 %), verify speed (target 1.2 GB/s), leaves a
# second (target 10 000), then `zstd`, `openssl speed`, `b3sum` and `restic backup` on this machine at this moment.
set -euo pipefail
cd "$(dirname "$0")/../.."
mib=${1:-256}
bench=out/release/bench
for b in recording_container_bench evidence_bench; do
  [ -x "$bench/$b" ] || { echo "chunk_path: build first: scripts/build.sh release" >&2; exit 2; }
done
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT

echo "== chunk path in process, bare library calls beside it (medians)"
"$bench/recording_container_bench" 2>/dev/null
echo
echo "== leaves (median of 3)"
"$bench/evidence_bench" --benchmark_repetitions=3 --benchmark_report_aggregates_only=true --benchmark_min_time=0.3 2>/dev/null | grep -E 'median|^Benchmark' || true

# Text-like data that zstd compresses about as well as a record stream.
python3 - "$work/data" "$mib" <<'P'
import random, sys
r = random.Random(1)
words = [bytes(r.randrange(97, 123) for _ in range(r.randrange(3, 10))) for _ in range(4000)]
with open(sys.argv[1], "wb") as f:
    for _ in range(int(sys.argv[2])):
        block = bytearray()
        while len(block) < 1 << 20:
            block += b" ".join(r.choices(words, k=2000)) + r.randbytes(1500)
        f.write(block[: 1 << 20])
P
seconds() { local t; t=$( { /usr/bin/env time -f '%U %S %e' "$@" > /dev/null 2> "$work/err"; tail -1 "$work/err"; } ); echo "$t"; }
rate() { awk -v m="$mib" -v t="$1" 'BEGIN { split(t, a, " "); printf "%7.0f MiB/s of CPU time (%.2f s user+system, %.2f s wall)\n", m / (a[1] + a[2]), a[1] + a[2], a[3] }'; }
echo
echo "== programs on $mib MiB"
printf 'zstd -3 -T1        '; rate "$(seconds zstd -3 -T1 -q -f -o "$work/data.zst" "$work/data")"
printf 'b3sum 1 thread     '; rate "$(seconds b3sum --num-threads 1 "$work/data")"
printf 'openssl speed      '; openssl speed -evp chacha20-poly1305 -bytes 1048576 -seconds 2 2>/dev/null | tail -1
export RESTIC_REPOSITORY=$work/repository RESTIC_PASSWORD=benchmark RESTIC_CACHE_DIR=$work/cache GOMAXPROCS=1
restic init -q
printf 'restic backup      '; rate "$(seconds restic backup -q "$work/data")"
printf 'restic check       '; rate "$(seconds restic check --read-data -q)"
