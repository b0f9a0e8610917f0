#!/usr/bin/env python3
"""kill -9 of random services at random moments during a live recording.

    tests/fault/kill_suite.py [--kills 200] [--seed N] [--json]

The display changes ten times a second. Measured: the longest hole between two recorded frames (target: at most 1.0 s), whether
each hole is named by a gap record, and how long after a kill the recording plays again (target: at most 3 s). At the end the
recording must be verified and every frame exact. Exits 1 when any of this fails.
"""
import argparse
import json
import pathlib
import random
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from lucid_cluster import SERVICES, Cluster, Desktop

ACTIVITY = 'i=0; while :; do i=$((i+1)); seq $i $((i+30)) | md5sum | cut -c1-30; seq -s" " $i 7 $((i+700)); sleep 0.1; done'
HOLE_MS = 400          # frames are 100 ms apart; anything above this is a hole


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    chance = random.Random(options.seed)
    print(f"{options.kills} kills, seed {options.seed}", file=sys.stderr)

    with tempfile.TemporaryDirectory(prefix="lucid-kills-") as work:
        (pathlib.Path(work) / "data").mkdir(mode=0o700)
        cluster = Cluster(work)
        desktop = Desktop(work, ACTIVITY)
        try:
            figures = run(cluster, desktop, chance, options.kills)
        finally:
            desktop.stop()
            cluster.stop()
            for log in sorted(pathlib.Path(work).glob("*.log")):
                text = log.read_text(errors="replace")
                if "ERROR: AddressSanitizer" in text or "terminate called" in text:
                    print(f"{log.name}:\n{text[-3000:]}", file=sys.stderr)
    figures["seed"] = options.seed
    good = (figures["longest_hole_ms"] <= 1000 and figures["playable_max_s"] <= 3.0 and figures["unnamed_holes"] == 0 and figures["verified"]
            and figures["frames"] == figures["frames_exact"] and figures["frames"] > 0)
    if options.json:
        print(json.dumps(figures))
    else:
        for name, value in figures.items():
            print(f"{name:24} {value}")
    print("fault suite:", "good" if good else "FAILED", file=sys.stderr)
    return 0 if good else 1


def run(cluster, desktop, chance, kills):
    session = cluster.json("POST", "/api/v1/sessions", {"name": "kill suite", "target": {"kind": "display", "display": desktop.display},
                                                        "recording": {"digests": "all"}})["id"]
    path = f"/api/v1/sessions/{session}"
    cluster.json("POST", path + "/start")

    def chunks():
        status, body = cluster.call("GET", f"{path}/chunks?from={len(known)}&limit=1000")
        if status == 200:
            known.extend(row["sequence"] for row in json.loads(body)["chunks"])
        return status == 200

    def playable(beyond):
        """The newest chunk can be read and it was recorded after `beyond`."""
        if not chunks() or len(known) <= beyond:
            return False
        return cluster.call("GET", f"{path}/chunks/{known[-1]}/content")[0] == 200

    known = []
    cluster.wait(lambda: playable(0), 10, "the first chunk")
    playable_s, by_service = [], dict.fromkeys(SERVICES, 0)
    for number in range(kills):
        time.sleep(chance.uniform(0.1, 1.2))
        name = chance.choice(list(SERVICES))
        chunks()
        before = len(known)
        at = cluster.services[name].kill()
        by_service[name] += 1
        cluster.wait(lambda: playable(before), 30, f"a chunk after kill {number} ({name})")
        playable_s.append(time.monotonic() - at)
        if (number + 1) % 20 == 0:
            print(f"{number + 1} kills, playable again after at most {max(playable_s):.2f} s", file=sys.stderr)
    time.sleep(2)
    cluster.wait(lambda: cluster.call("POST", path + "/stop", {})[0] in (200, 409), 10, "stop")
    cluster.wait(lambda: json.loads(cluster.call("GET", path)[1] or b"{}").get("status") == "completed", 30, "the recording to complete")

    frames = json.loads(cluster.cli("frames", session, "--digests", "--json", check=False).stdout)
    events = [json.loads(line) for line in cluster.cli("events", session, "--json", "--kinds", "gap").stdout.splitlines()]
    times = [frame["ms"] for frame in frames["list"]]
    holes = [(a, b) for a, b in zip(times, times[1:]) if b - a > HOLE_MS]
    unnamed = [(a, b) for a, b in holes if not any(gap["from_ms"] <= b and gap["to_ms"] >= a for gap in events)]
    bundle = cluster.work / "killed.lucid"
    cluster.cli("bundle", session, "-o", str(bundle))
    verified = cluster.cli("verify", str(bundle), "--key", str(cluster.data / "keys/checkpoint.pub"), check=False).returncode == 0
    playable_s.sort()
    return {"kills": kills, **{f"killed {name}": count for name, count in by_service.items()}, "chunks": len(known), "frames": frames["frames"], "frames_exact": frames["frames_exact"],
            "gap_records": len(events), "holes": len(holes), "unnamed_holes": len(unnamed), "longest_hole_ms": max((b - a for a, b in holes), default=0),
            "longest_frame_interval_ms": max((b - a for a, b in zip(times, times[1:])), default=0),
            "longest_gap_record_ms": max((gap["to_ms"] - gap["from_ms"] for gap in events), default=0),
            "playable_p50_s": round(playable_s[len(playable_s) // 2], 2), "playable_p95_s": round(playable_s[int(len(playable_s) * 0.95)], 2),
            "playable_max_s": round(playable_s[-1], 2), "verified": verified}


sys.exit(main())
