#!/usr/bin/env python3
"""Connect to first desktop frame: through Lucid, cold and with its warm pool, against xfreerdp straight to a hand-started xrdp.

Usage: tests/performance/rdp_connect.py [--rounds 20]. Needs root and port 3350 free (there is one xrdp-sesman to a host). A client's time runs
from the start of xfreerdp, or from its TCP connection (it measures its own processor first), until the desktop's pixels are on its screen (Xvfb). "request" runs from POST /sessions until the session is ready.
"""
import argparse
import os
import pathlib
import pwd
import secrets
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "integration"))
from rdp_client import RdpClient  # noqa: E402
from support import SERVICES, Cluster, wait  # noqa: E402

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "fault"))
from lucid_cluster import RDP_SERVICES  # noqa: E402


def line(what, seconds, target=""):
    ordered = sorted(seconds)
    p95 = ordered[min(len(ordered) - 1, int(len(ordered) * 0.95))]
    print(f"{what:<58} n {len(ordered):>3}  p50 {ordered[len(ordered) // 2] * 1000:6.0f} ms  p95 {p95 * 1000:6.0f} ms  max {ordered[-1] * 1000:6.0f} ms  {target}", flush=True)


def through_lucid(work, rounds, warm, program="xfreerdp"):
    cluster = Cluster(work, work / f"data-{warm}-{program}", services={**SERVICES, **RDP_SERVICES},
                      flags={"rdp-server-manager": [f"--rdp-server-manager.warm_servers={warm}"],
                             "xrdp-integration": ["--xrdp-integration.connections_burst=10000"]})
    request, client_time, connection, total = [], [], [], []
    try:
        for _ in range(rounds):
            if warm:
                wait(lambda: warm_ready(cluster) >= 1, 60, "a warm server")
            began = time.monotonic()
            session = cluster.json("POST", "/api/v1/sessions", {"name": "connect", "target": {"kind": "rdp", "resolution": "1024x768"}})["id"]
            cluster.json("POST", f"/api/v1/sessions/{session}/start")
            wait(lambda: cluster.json("GET", f"/api/v1/sessions/{session}")["rdp"]["state"] == "ready", 40, "the session to be ready")
            request.append(time.monotonic() - began)
            client = RdpClient(work, cluster.json("GET", f"/api/v1/sessions/{session}/connection"), program=program)
            try:
                client_time.append(client.first_frame())
                connection.append(client_time[-1] - (client.connected - client.started))
                total.append(request[-1] + client_time[-1])
            finally:
                cluster.call("POST", f"/api/v1/sessions/{session}/stop")
                client.stop()
            wait(lambda: cluster.json("GET", f"/api/v1/sessions/{session}")["status"] in ("completed", "failed"), 60, "the session to end")
    finally:
        cluster.stop()
    name = "warm pool" if warm else "cold"
    line(f"Lucid, {name}: request until ready to connect", request)
    line(f"Lucid, {name}: start of {program} to first frame", client_time, "target p95 1500 ms warm, 4000 ms cold; seeds 2000 ms")
    line(f"Lucid, {name}: its TCP connection to first frame", connection)
    line(f"Lucid, {name}: both together", total)


def warm_ready(cluster):
    with urllib.request.urlopen(f"http://127.0.0.1:{8081 + cluster.offset}/metrics", timeout=5) as answer:
        return sum(float(row.split()[-1]) for row in answer.read().decode().splitlines() if row.startswith("lucid_rdp_warm_servers"))


def straight(work, rounds):
    """xrdp and xrdp-sesman as Debian configures them, on own ports, with an account of our own."""
    account, password = "lurefere", secrets.token_urlsafe(12)
    subprocess.run(["useradd", "--create-home", "--shell", "/bin/bash", account], check=True)
    subprocess.run(["chpasswd"], input=f"{account}:{password}\n", text=True, check=True)
    uid = pwd.getpwnam(account).pw_uid
    started = []
    try:
        manager = pathlib.Path("/tmp") / f"lucid-reference-{os.getpid()}.sh"
        manager.write_text("#!/bin/sh\nxsetroot -solid '#305070'\nexec openbox\n")
        manager.chmod(0o755)
        sesman = pathlib.Path("/etc/xrdp/sesman.ini").read_text().replace("DefaultWindowManager=startwm.sh", f"DefaultWindowManager={manager}")
        sesman = sesman.replace("EnableUserWindowManager=true", "EnableUserWindowManager=false")
        (work / "sesman.ini").write_text(sesman)
        port = 13380
        xrdp = []
        for text in pathlib.Path("/etc/xrdp/xrdp.ini").read_text().splitlines():
            xrdp.append(f"port=tcp://127.0.0.1:{port}" if text == "port=3389" else "autorun=Xorg" if text == "autorun=" else text)
        (work / "xrdp.ini").write_text("\n".join(xrdp) + "\n")
        os.makedirs("/run/xrdp/sockdir", exist_ok=True)
        os.chmod("/run/xrdp/sockdir", 0o3777)
        for program, configuration in (("xrdp-sesman", "sesman.ini"), ("xrdp", "xrdp.ini")):
            log = open(work / f"{program}-reference.log", "ab")
            started.append(subprocess.Popen([f"/usr/sbin/{program}", "-n", "-c", str(work / configuration)], stdout=log, stderr=log, stdin=subprocess.DEVNULL))
        time.sleep(2)   # they say nowhere when they listen; the first client would pay for it
        cold, again, cold_tcp, again_tcp = [], [], [], []
        for _ in range(rounds):
            for times, tcp in ((cold, cold_tcp), (again, again_tcp)):
                client = RdpClient(work, {"host": "127.0.0.1", "port": port, "account": account, "password": password}, token=False)
                try:
                    times.append(client.first_frame())
                    tcp.append(times[-1] - (client.connected - client.started))
                finally:
                    client.stop()
                time.sleep(0.5)
            for pid in [int(e.name) for e in os.scandir("/proc") if e.name.isdigit() and owner(e) == uid]:
                try:
                    os.kill(pid, signal.SIGTERM)
                except ProcessLookupError:
                    pass
            wait(lambda: not [e for e in os.scandir("/proc") if e.name.isdigit() and owner(e) == uid], 20, "the reference session to end")
        by_rdesktop = []
        offer = {"host": "127.0.0.1", "port": port, "account": account, "password": password}
        for round_number in range(rounds + 1):   # the first one makes the desktop
            client = RdpClient(work, offer, program="rdesktop")
            try:
                client.first_frame()
                if round_number > 0:
                    by_rdesktop.append(time.monotonic() - client.started)
            finally:
                client.stop()
            time.sleep(0.5)
        line("straight to xrdp, back to a running desktop: rdesktop", by_rdesktop)
        line("straight to xrdp, cold: start of xfreerdp to first frame", cold)
        line("straight to xrdp, cold: its TCP connection to first frame", cold_tcp)
        line("straight to xrdp, back to a running desktop: start", again)
        line("straight to xrdp, back to a running desktop: TCP", again_tcp)
    finally:
        for process in reversed(started):
            process.terminate()
            process.wait(10)
        subprocess.run(["pkill", "-KILL", "-u", account])
        subprocess.run(["userdel", "--remove", account], capture_output=True)
        manager.unlink(missing_ok=True)


def owner(entry):
    try:
        return entry.stat().st_uid
    except OSError:
        return -1


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=20)
    options = parser.parse_args()
    if os.geteuid() != 0:
        print("not run: not root")
        return 77
    with tempfile.TemporaryDirectory() as directory:
        work = pathlib.Path(directory)
        straight(work, options.rounds)
        through_lucid(work, options.rounds, 0)
        through_lucid(work, options.rounds, 1)
        through_lucid(work, options.rounds, 1, "rdesktop")
    return 0


if __name__ == "__main__":
    sys.exit(main())
