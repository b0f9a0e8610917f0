#!/usr/bin/env python3
"""Connects, kills and crashes RDP sessions again and again, then counts what is left of them.

Usage: tests/fault/rdp_cycles.py [--cycles 200] [--seed N] [--lanes 2]. Each cycle opens a session, connects xfreerdp through the door, kills -9
one of: client, xrdp, sesman, Xorg, gateway, manager, controller; then ends the session. Every service runs under a supervisor that restarts it.
At the end nothing may be left: processes, accounts, homes, X locks and sockets, ports, directories. Exit 0 when all is well. Needs root.
"""
import argparse
import collections
import json
import os
import pathlib
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "integration"))
from lucid_cluster import RDP_SERVICES, SERVICES, Cluster  # noqa: E402
from rdp_client import RdpClient  # noqa: E402
from support import ROOT  # noqa: E402

VICTIMS = ("client", "xrdp", "sesman", "Xorg", "gateway", "manager", "controller")
SETTLED = ("completed", "failed", "terminated")


def processes():
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            try:
                with open(f"/proc/{entry.name}/cmdline", "rb") as f:
                    yield int(entry.name), f.read().decode(errors="replace").split("\0")[:-1], entry.stat().st_uid
            except OSError:
                pass


def pids_of(victim, session, uid):
    """Processes of one session's server; sesman is everybody's."""
    found = []
    for pid, argv, owner in processes():
        name = os.path.basename(argv[0]) if argv else ""
        if victim == "xrdp" and name == "xrdp" and any(session in a for a in argv):
            found.append(pid)
        elif victim == "Xorg" and name == "Xorg" and owner == uid:
            found.append(pid)
        elif victim == "sesman" and name == "xrdp-sesman":
            found.append(pid)
    return found


class Cycles:
    def __init__(self, cluster, work, seed):
        self.cluster, self.work, self.random = cluster, work, random.Random(seed)
        self.lock, self.faults = threading.Lock(), []
        self.kills, self.ends, self.first = collections.Counter(), collections.Counter(), []

    def ask(self, method, path, body=None, seconds=20):
        """Asked again while a service is being restarted."""
        deadline, again = time.monotonic() + seconds, False
        while True:
            status, answer = self.cluster.call(method, "/api/v1" + path, body)
            if 200 <= status < 300:
                return json.loads(answer) if answer else None
            if again and status == 409:
                return None   # the attempt before did it, and its answer was lost with the service that was killed
            if status not in (0, 503) or time.monotonic() > deadline:
                raise RuntimeError(f"{method} {path}: {status} {answer[:300]!r}")
            again = True
            time.sleep(0.1)

    def wait(self, session, reached, seconds, what):
        deadline = time.monotonic() + seconds
        while True:
            shown = self.ask("GET", f"/sessions/{session}")
            if reached(shown):
                return shown
            if time.monotonic() > deadline:
                raise TimeoutError(f"waited {seconds} s for {session} {what}: {shown['status']} {shown['rdp']} {shown['cause']}")
            time.sleep(0.05)

    def kill(self, victim, session, uid, client):
        if victim == "client":
            client.process.kill()
        elif victim in ("gateway", "manager", "controller"):
            name = {"gateway": "xrdp-integration", "manager": "rdp-server-manager", "controller": "session-controller"}[victim]
            self.cluster.services[name].kill()
        else:
            for pid in pids_of(victim, session, uid):
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass

    def cycle(self, number):
        with self.lock:
            victim = VICTIMS[number % len(VICTIMS)]
            when = self.random.choice(("before the client", "with the client", "with the client", "with the client"))
        session = self.ask("POST", "/sessions", {"name": f"cycle {number}", "target": {"kind": "rdp", "resolution": "1024x768"}})["id"]
        self.ask("POST", f"/sessions/{session}/start")
        client = None
        try:
            shown = self.wait(session, lambda s: s["rdp"]["state"] in ("ready", "connected") or s["status"] in SETTLED, 40, "to be ready")
            if shown["status"] not in SETTLED:
                server = self.ask("GET", f"/rdp/servers/{session}")
                uid = (server.get("display") or {}).get("uid", -1)
                if when == "before the client" and victim != "client":
                    self.kill(victim, session, uid, None)
                try:
                    client = RdpClient(self.work, self.ask("GET", f"/sessions/{session}/connection"), "1024x768")
                    seen = client.first_frame(15)
                    with self.lock:
                        self.first.append(seen)
                except (RuntimeError, TimeoutError):
                    if when != "before the client":   # another lane's kill may have ended it; what is left is counted all the same
                        self.ends["never seen"] += 1
                if when == "with the client" or victim == "client":
                    if client is not None:
                        self.kill(victim, session, uid, client)
            self.kills[victim] += 1
            if self.ask("GET", f"/sessions/{session}")["status"] not in SETTLED:
                try:
                    self.ask("POST", f"/sessions/{session}/stop")
                except RuntimeError:
                    pass   # it ended by itself meanwhile
            shown = self.wait(session, lambda s: s["status"] in SETTLED, 60, "to end")
            self.ends[shown["status"]] += 1
        finally:
            if client is not None:
                client.stop()

    def lane(self, numbers):
        for number in numbers:
            try:
                self.cycle(number)
            except Exception as error:
                with self.lock:
                    self.faults.append(f"cycle {number} ({VICTIMS[number % len(VICTIMS)]}): {error!r}")
                    print(f"FAIL {self.faults[-1]}", flush=True)
            with self.lock:
                done = sum(self.kills.values())
                if done % 20 == 0:
                    print(f"{done} cycles, ends {dict(self.ends)}", flush=True)


def leaks(data):
    counted = subprocess.run([sys.executable, ROOT / "tests/support/rdp_leaks.py", "--list", str(data)], text=True, capture_output=True, check=True)
    return json.loads(counted.stdout)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cycles", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--lanes", type=int, default=2)
    options = parser.parse_args()
    if os.geteuid() != 0:
        print("not run: not root")
        return 1 if os.environ.get("CI") == "true" else 77
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as directory:
        work = pathlib.Path(directory)
        cluster = Cluster(work, services={**SERVICES, **RDP_SERVICES},
                          flags={"xrdp-integration": ["--xrdp-integration.ban_after=10000", "--xrdp-integration.connections_burst=10000"]})
        cycles = Cycles(cluster, work, options.seed)
        try:
            lanes = [threading.Thread(target=cycles.lane, args=(range(lane, options.cycles, options.lanes),)) for lane in range(options.lanes)]
            for lane in lanes:
                lane.start()
            for lane in lanes:
                lane.join()
        finally:
            cluster.stop()
        left = leaks(cluster.data)
        first = sorted(cycles.first)
        print(f"cycles {options.cycles}, kills {dict(cycles.kills)}, ends {dict(cycles.ends)}, {time.monotonic() - began:.0f} s")
        if first:
            print(f"connect to first frame under this load: p50 {first[len(first) // 2]:.2f} s, p95 {first[int(len(first) * 0.95)]:.2f} s")
        print(f"left behind: {json.dumps({what: len(found) for what, found in left.items()})}")
        if any(left.values()):
            print(json.dumps(left, indent=1))
        if cycles.faults:
            for log in sorted(work.glob("*.log")):
                print(f"--- {log.name}\n{log.read_text(errors='replace')[-2000:]}")
    return 1 if cycles.faults or any(left.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
