#!/usr/bin/env python3
"""A full disk under a live recording: it goes on in memory up to the limit, then pauses with an alarm, and takes itself up
again with a gap record when there is room. Needs root, for a small file system of its own; else exits 77 (not run).

    tests/integration/disk_full.py
"""
import errno
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from support import SERVICES, Api, Cluster, Report, Screen, request, service_token, wait

report = Report("disk full")
DISK_MB, MEMORY_MB, MIN_FREE_MB = 96, 2, 4
# Noise on the whole window, so that megabytes of records come in a few seconds.
ACTIVITY = "while :; do head -c 6000 /dev/urandom | base64 -w 0; sleep 0.05; done"


class Suite:
    def __init__(self, cluster, screen):
        self.cluster, self.screen = cluster, screen
        self.api = Api(SERVICES["session-api"] + cluster.offset, cluster.token)
        self.filler = cluster.data / "filler"

    def health(self, service):
        return request(SERVICES[service] + self.cluster.offset, "GET", "/health")

    def pipeline_alarm(self, session):
        answer = request(SERVICES["session-pipeline"] + self.cluster.offset, "GET", f"/api/v1/recordings/{session}", token=service_token(self.cluster.data))
        return answer.json["alarm"]

    def memory(self):
        text = request(SERVICES["session-recorder"] + self.cluster.offset, "GET", "/metrics").body.decode()
        return max((float(line.split()[-1]) for line in text.splitlines() if line.startswith("lucid_recorder") and "memory" in line), default=-1)

    def fill(self):
        """Takes every free byte."""
        with open(self.filler, "ab", buffering=0) as file:
            size = 1 << 20
            while size >= 512:
                try:
                    file.write(bytes(size))
                except OSError as error:
                    if error.errno != errno.ENOSPC:
                        raise
                    size //= 2

    def run(self):
        session = self.api.begin(self.screen.display, "disk full")
        last, refused_looks, looks = {}, [], 0

        def look():
            """The session as the API shows it; the last one seen when the API refuses, which is a finding."""
            nonlocal last, looks
            answer, looks = self.api.ask("GET", f"/sessions/{session}"), looks + 1
            if answer.status == 200:
                last = answer.json
            else:
                refused_looks.append(f"{answer.status} {answer.json.get('detail')}")
            return last

        wait(lambda: look()["chunks"] >= 2, 20, "two chunks")
        chunks_before = look()["chunks"]
        self.fill()
        filled = time.monotonic()
        in_memory, alarms = 0, []
        while "disk_full" not in (alarms or [""])[-1] and time.monotonic() - filled < 30:
            alarms.append(self.pipeline_alarm(session))
            look()
            in_memory = max(in_memory, self.memory())
            # What the services free by themselves (rotated files, journals) is taken away again.
            self.fill()
            time.sleep(0.05)
        alarmed = time.monotonic() - filled
        seen = look()
        report.check(f"with a full disk the recording goes on in memory ({in_memory / 1e6:.1f} MB held)", in_memory > 0.3 * MEMORY_MB * 2**20, in_memory)
        report.check(f"memory stays within its limit of {MEMORY_MB} MiB", in_memory <= MEMORY_MB * 2**20 * 1.25, in_memory)
        report.check(f"then it is suspended and the API shows the alarm disk_full ({alarmed:.1f} s after the disk was full)", "disk_full" in (seen["alarm"] or ""), f"the API shows {seen['alarm']!r}, the pipeline {alarms[-1]!r}")
        first = next((i for i, alarm in enumerate(alarms) if alarm), 0)
        report.check("from the first alarm on there is one at every look", all(alarms[first:]), f"{sum(not a for a in alarms[first:])} of {len(alarms) - first} looks at the pipeline saw none; alarms: {sorted(set(alarms))}")
        report.check("the session is still a live recording", seen["status"] == "recording", seen["status"])
        report.check("the recorder's health says so", self.health("session-recorder").status == 503 and b"spool" in self.health("session-recorder").body, self.health("session-recorder").body)
        report.check("storage's health says so", self.health("session-storage").status == 503, self.health("session-storage").body)
        refused = self.api.ask("POST", "/sessions", {"name": "another", "target": {"kind": "display", "display": self.screen.display}})
        if refused.status == 201:
            refused = self.api.act(refused.json["id"], "start")
        report.check("a further recording is refused with a problem: nobody is told that it records", not refused.fault(503, 507), refused.fault(503, 507) or refused)
        pids = {name: service.process.pid for name, service in self.cluster.services.items()}
        hold = time.monotonic() + 2
        while time.monotonic() < hold:
            self.fill()
            time.sleep(0.1)
        report.check("no service ends of a full disk", not any(s.restarts for s in self.cluster.services.values()) and pids == {n: s.process.pid for n, s in self.cluster.services.items()},
                     {n: s.restarts for n, s in self.cluster.services.items()})
        look()
        report.check(f"the session can be looked at while the disk is full ({looks} looks)", not refused_looks, f"{len(refused_looks)} refused: {refused_looks[:1]}")
        self.filler.unlink()
        freed = time.monotonic()
        stood = look()["chunks"]
        wait(lambda: not look()["alarm"] and look()["chunks"] > stood, 20, "the recording to go on by itself")
        back = time.monotonic() - freed
        report.check(f"with room again it goes on by itself ({back:.1f} s)", back < 8)
        wait(lambda: look()["backlog"] <= 1, 20, "the backlog to be sent")
        wait(self.cluster.healthy, 20, "all services to be healthy")
        report.check("all services are healthy again", True)
        self.killed(session, look)
        self.api.finish(session)
        gaps = self.api.events(session, "gap")
        report.check("a gap record tells of it, reason disk_full", gaps and gaps[0]["reason"] == "disk_full" and gaps[0]["to_ms"] > gaps[0]["from_ms"], gaps)
        report.check("and one of the kills, reason recorder_restart or disk_full", len(gaps) > 1 and {g["reason"] for g in gaps[1:]} <= {"recorder_restart", "disk_full"}, gaps)
        frames = json.loads(self.cluster.cli("frames", session, "--digests", "--json", check=False).stdout)
        report.check(f"all {frames['frames']} frames replay exactly", frames["frames"] > 0 and frames["frames"] == frames["frames_exact"], {k: v for k, v in frames.items() if k != "list"})
        if gaps:
            times = [f["ms"] for f in frames["list"]]
            holes = [(a, b) for a, b in zip(times, times[1:]) if b - a > 700]
            unnamed = [h for h in holes if not any(g["from_ms"] <= h[1] and g["to_ms"] >= h[0] for g in gaps)]
            report.check("every hole between frames is named by a gap record", not unnamed, (unnamed, gaps))
            inside = [t for t in times if any(g["from_ms"] < t < g["to_ms"] for g in gaps)]
            report.check("no frame stands inside a gap", not inside, (inside, gaps))
        verified = self.api.ask("POST", f"/sessions/{session}/verify").json
        report.check(f"all {verified['chunks']} chunks are verified and complete", verified["verified"] and verified["complete"] and verified["chunks"] > chunks_before, verified["findings"])
        fsck = self.cluster.cli("fsck", "--data", str(self.cluster.data), "--json", "-q", check=False)
        report.check("fsck finds nothing wrong", fsck.returncode == 0, fsck.stdout[:600] + fsck.stderr)

    def killed(self, session, look):
        """The disk is full again, and all five services are killed and restarted on it."""
        self.fill()
        for service in self.cluster.services.values():
            service.kill()
        hold = time.monotonic() + 3
        while time.monotonic() < hold:
            self.fill()
            time.sleep(0.1)
        self.filler.unlink()
        freed = time.monotonic()
        wait(self.cluster.healthy, 20, "all services to be healthy after kill -9 on a full disk")
        chunks = look()["chunks"]
        wait(lambda: look()["chunks"] > chunks and look()["status"] == "recording", 20, "the recording to go on after kill -9 on a full disk")
        report.check(f"killed on a full disk, all five services and the recording come back by themselves ({time.monotonic() - freed:.1f} s after there is room)", time.monotonic() - freed < 10)


def main():
    if os.geteuid() != 0:
        print("not run: disk_full needs root for a file system of its own", flush=True)
        return 77
    with tempfile.TemporaryDirectory(prefix="lucid-full-") as work:
        data = pathlib.Path(work) / "data"
        data.mkdir(mode=0o700)
        mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK_MB}m,mode=0700", "tmpfs", data], capture_output=True, text=True)
        if mounted.returncode != 0:
            print(f"not run: no tmpfs can be mounted here: {mounted.stderr.strip()}", flush=True)
            return 77
        try:
            cluster = Cluster(work, flags={"session-recorder": [f"--session-recorder.memory_limit_mb={MEMORY_MB}"], "session-storage": [f"--session-storage.min_free_mb={MIN_FREE_MB}"]})
            screen = Screen(work, "800x600")
            try:
                screen.start("xterm", "-geometry", "120x40+0+0", "-e", "sh", "-c", ACTIVITY)
                Suite(cluster, screen).run()
            except (TimeoutError, RuntimeError) as error:
                report.check("the suite runs to its end", False, error)
            finally:
                screen.stop()
                cluster.stop()
            for log in sorted(pathlib.Path(work).glob("*.log")):
                unexpected = [line for line in log.read_text(errors="replace").splitlines() if "failed unexpectedly" in line or "terminate called" in line]
                report.check(f"{log.stem}: nothing failed unexpectedly", not unexpected, unexpected[:3])
        finally:
            subprocess.run(["umount", data], check=True)
    return report.end()


sys.exit(main())
