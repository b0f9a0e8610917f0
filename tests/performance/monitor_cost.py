#!/usr/bin/env python3
"""What resource-monitor itself costs at its default interval while 50 recorded RDP desktops live: CPU, memory, time of a look. Beside it, in the
same minutes and at the same interval, tools that do parts of its work: `top` (every process) and Prometheus' node exporter (the host).

Usage: tests/performance/monitor_cost.py [--sessions 50] [--seconds 120]. Needs root, port 3350 free and, for the peer, prometheus-node-exporter.
"""
import argparse
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "integration"))
from support import ALL_SERVICES, Cluster, request, wait  # noqa: E402

INTERVAL = 5


def cpu_seconds(pid):
    """Of all its threads, to the nanosecond."""
    return sum(int((task / "schedstat").read_text().split()[0]) for task in pathlib.Path(f"/proc/{pid}/task").iterdir()) / 1e9


def memory(pid):
    lines = dict(line.split(":", 1) for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines())
    return int(lines["VmRSS"].split()[0]) / 1024, int(lines["VmHWM"].split()[0]) / 1024


def looks(cluster):
    text = request(cluster.ports["resource-monitor"] + cluster.offset, "GET", "/metrics").body.decode()
    values = {line.split()[0]: float(line.split()[1]) for line in text.splitlines() if line.startswith("lucid_monitor_look_seconds_") and "{" not in line}
    return values["lucid_monitor_look_seconds_count"], values["lucid_monitor_look_seconds_sum"]


def open_sessions(cluster, count):
    ids = []
    for number in range(count):
        session = cluster.json("POST", "/api/v1/sessions", {"name": f"idle {number}", "target": {"kind": "rdp", "resolution": "1280x720"}})["id"]
        cluster.json("POST", f"/api/v1/sessions/{session}/start")
        wait(lambda: cluster.json("GET", f"/api/v1/sessions/{session}")["rdp"]["state"] == "ready", 60, f"session {number} to be ready")
        ids.append(session)
        print(f"\r{number + 1} of {count} desktops", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    return ids


class Peer:
    def __init__(self, name, command, scrape=None):
        self.name, self.scrape = name, scrape
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.began = None

    def start(self):
        self.began = cpu_seconds(self.process.pid)

    def stop(self):
        self.process.terminate()
        self.process.wait()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sessions", type=int, default=50)
    parser.add_argument("--seconds", type=int, default=120)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="lucid-cost-") as work:
        flags = {"session-controller": ["--session-controller.max_sessions_per_user=1000", "--session-controller.max_sessions=1000", "--session-controller.connect_timeout_seconds=3600"],
                 "rdp-server-manager": [f"--rdp-server-manager.max_concurrent_servers={max(50, options.sessions)}"]}
        cluster = Cluster(work, services=ALL_SERVICES, flags=flags)
        peers, sessions = [], []
        try:
            pid = cluster.services["resource-monitor"].process.pid
            idle = memory(pid)[0]
            sessions = open_sessions(cluster, options.sessions)
            peers.append(Peer("top -b -d 5", ["top", "-b", "-d", str(INTERVAL)]))
            if exporter := shutil.which("prometheus-node-exporter"):
                peers.append(Peer("node exporter", [exporter, "--web.listen-address=127.0.0.1:19100"], "http://127.0.0.1:19100/metrics"))
            wait(lambda: len(cluster.json("GET", "/api/v1/monitor/sessions")["sessions"]) >= options.sessions, 30, "all sessions to be measured")
            time.sleep(2 * INTERVAL)
            before, began, looked = cpu_seconds(pid), time.monotonic(), looks(cluster)
            for peer in peers:
                peer.start()
            while time.monotonic() - began < options.seconds:
                for peer in peers:
                    if peer.scrape:
                        urllib.request.urlopen(peer.scrape, timeout=5).read()
                time.sleep(INTERVAL)
            seconds, spent, done = time.monotonic() - began, cpu_seconds(pid) - before, looks(cluster)
            rss, peak = memory(pid)
            host, measured = cluster.json("GET", "/api/v1/monitor/host"), cluster.json("GET", "/api/v1/monitor/sessions")["sessions"]
            look_ms = (done[1] - looked[1]) / (done[0] - looked[0]) * 1000
            print(f"{len(measured)} sessions with {sum(s['processes'] for s in measured)} processes of {host['processes']} on the machine, {seconds:.0f} s, a look every {INTERVAL} s")
            print(f"resource-monitor      {spent / seconds * 100:.3f} % of a core (target 1), {spent / (seconds / INTERVAL) * 1000:.1f} ms of CPU a look; RSS {rss:.1f} MiB, at most {peak:.1f} (target 40 MB), {idle:.1f} at its start")
            print(f"a look takes          {look_ms:.1f} ms on the clock, mean of {done[0] - looked[0]:.0f} (it waits for ten services)")
            for peer in peers:
                print(f"{peer.name:<21} {(cpu_seconds(peer.process.pid) - peer.began) / seconds * 100:.3f} % of a core, RSS {memory(peer.process.pid)[0]:.1f} MiB")
            good = spent / seconds <= 0.01 and peak * 1.048576 <= 40 and len(measured) >= options.sessions
            print("met" if good else "MISSED")
            return 0 if good else 1
        finally:
            for peer in peers:
                peer.stop()
            for session in sessions:
                cluster.call("POST", f"/api/v1/sessions/{session}/terminate", timeout=30)
            wait(lambda: not cluster.json("GET", "/api/v1/rdp/servers")["servers"], 120, "the desktops to be gone")
            cluster.stop()


sys.exit(main())
