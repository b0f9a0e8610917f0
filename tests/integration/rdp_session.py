#!/usr/bin/env python3
"""RDP sessions from outside: real xrdp, Xorg, xfreerdp and rdesktop, through the door on 3389 (shifted).

Usage: tests/integration/rdp_session.py. Needs root (accounts for desktops are made) and xrdp, xorgxrdp, freerdp2-x11, rdesktop, xdotool.
"""
import json
import os
import pathlib
import secrets
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time

from rdp_client import RdpClient
from support import ROOT, SERVICES, Api, Cluster, Report, wait

sys.path.insert(0, str(ROOT / "tests/fault"))
from lucid_cluster import BIN, RDP_SERVICES  # noqa: E402

LIVE = ("ready", "connected")


class Desktops(Api):
    """RDP sessions over session-api."""

    def open(self, name, policy=None, **target):
        answer = self.ask("POST", "/sessions", {"name": name, "target": {"kind": "rdp", "resolution": "1024x768", **target}, "policy": policy or {},
                                                "recording": {"digests": "all"}})
        assert answer.status == 201, answer
        session = answer.json["id"]
        answer = self.ask("POST", f"/sessions/{session}/start")
        assert answer.status == 200, answer
        return session

    def rdp(self, session):
        return self.get(f"/sessions/{session}")["rdp"]["state"]

    def ready(self, session, seconds=30):
        return wait(lambda: self.rdp(session) in LIVE or self.status(session) == "failed" and self.fail(session), seconds, f"{session} to be ready")

    def fail(self, session):
        raise RuntimeError(f"{session} failed: {self.get(f'/sessions/{session}')}")

    def offer(self, session):
        return self.get(f"/sessions/{session}/connection")


def proven(report, cluster, api, session, typed, work):
    """The recording is complete, exact and verified, and holds what was typed and the windows."""
    shown = api.get(f"/sessions/{session}")
    bundle, key = work / f"{session}.lucid", cluster.data / "keys/checkpoint.pub"
    cluster.cli("bundle", session, "-o", str(bundle))
    verdict = json.loads(cluster.cli("verify", str(bundle), "--key", str(key), "--json", check=False).stdout)
    report.check("the recording verifies offline", verdict["verdict"] == "good", verdict)
    frames = json.loads(cluster.cli("frames", session, "--digests", "--json", check=False).stdout)
    report.check(f"all {frames['frames']} frames are exact", frames["frames"] > 0 and frames["frames"] == frames["frames_exact"], frames)
    events = api.events(session)
    text = "".join(e.get("text", "") for e in events if e.get("kind") == "key" and e.get("action") != "release")
    report.check("what was typed is in it", typed in text, text[-200:])
    report.check("its windows are in it", any(e.get("kind") == "window" for e in events), {e.get("kind") for e in events})
    report.check("it begins at 0 and has no gaps", shown["gaps"] == 0, shown)
    index = api.get(f"/sessions/{session}/index")
    report.check("it is complete from the first frame to the end record", index["complete"] and index["keyframes"]
                 and index["keyframes"][0]["sequence"] == 0 and index["keyframes"][0]["first_ms"] == index["first_ms"] < 1000, index)


def by_client_and_api(report, cluster, api, work):
    session = api.open("ended by the API")
    took = api.ready(session)
    offer = api.offer(session)
    client = RdpClient(work, offer)
    try:
        first = client.first_frame()
        report.check(f"xfreerdp sees the desktop {first * 1000:.0f} ms after it was started (ready after {took * 1000:.0f} ms)", first < 4)
        wait(lambda: api.rdp(session) == "connected", 5, "the controller to know of the client")
        client.open_terminal()
        client.type("echo typed over rdp 4711\n")
        time.sleep(1)
        began = time.monotonic()
        answer = api.act(session, "terminate")
        report.check("terminate answers", answer.status == 200, answer)
        client.process.wait(10)
        report.check(f"the client's connection ends within 1 s of terminate ({time.monotonic() - began:.2f} s)", time.monotonic() - began < 1)
        api.reach(session, "terminated", 30)
        proven(report, cluster, api, session, "typed over rdp 4711", work)
    finally:
        client.stop()
    report.check("its token is void afterwards", admission(cluster, offer["token"]) == "failure")

    session = api.open("ended by the client")
    api.ready(session)
    client = RdpClient(work, api.offer(session), "1280x800")
    try:
        client.first_frame()
        client.open_terminal()
        client.type("echo other size 1280\n")
        time.sleep(1)
    finally:
        client.stop()
    api.reach(session, "completed", 40)
    report.check("the cause is the client", "client" in (api.get(f"/sessions/{session}")["cause"] or ""), api.get(f"/sessions/{session}")["cause"])
    proven(report, cluster, api, session, "echo other size 1280", work)


def by_idle_limit(report, cluster, api, work):
    session = api.open("ended by its idle limit", {"idle_timeout": 4})
    api.ready(session)
    client = RdpClient(work, api.offer(session))
    try:
        client.first_frame()
        client.open_terminal()
        client.type("echo last words\n")
        last = time.monotonic()
        wait(lambda: not client.alive(), 20, "the idle limit to end the client's connection")
        idle = time.monotonic() - last
        report.check(f"an idle limit of 4 s ends the session {idle:.1f} s after the last key", 3.5 <= idle <= 8)
    finally:
        client.stop()
    api.reach(session, "completed", 30)
    report.check("the cause is the idle limit", "idle" in (api.get(f"/sessions/{session}")["cause"] or ""), api.get(f"/sessions/{session}")["cause"])
    proven(report, cluster, api, session, "echo last words", work)


def unrecorded(report, cluster, api, work):
    """A recorder that stands still: nobody works unrecorded."""
    session = api.open("fail-closed")
    api.ready(session)
    client = RdpClient(work, api.offer(session))
    recorder = cluster.services["session-recorder"].process

    def frozen():
        return api.get(f"/sessions/{session}")["rdp"]["frozen"]

    def typed():
        return "".join(e.get("text", "") for e in api.events(session) if e.get("kind") == "key" and e.get("action") != "release")

    try:
        client.first_frame()
        client.open_terminal()
        recorder.send_signal(signal.SIGSTOP)
        took = wait(frozen, 10, "the relay to be frozen")
        report.check(f"a recorder that stands still freezes the relay after {took:.2f} s (1 s)", took <= 1.3)
        client.type("echo behind its back\n")
        time.sleep(0.5)
        recorder.send_signal(signal.SIGCONT)
        took = wait(lambda: not frozen(), 20, "the relay to go on")
        report.check(f"recorded again, it goes on ({took:.2f} s later)", client.alive())
        wait(lambda: "behind its back" in typed(), 10, "what was typed while nobody recorded to come through, recorded")
        report.check("what was typed while nobody recorded came through afterwards, recorded", True)
        began = time.monotonic()
        cluster.services["session-recorder"].kill()
        wait(lambda: frozen() or time.monotonic() - began > 1, 5, "the relay to be frozen, or the recorder to be back")
        wait(lambda: not frozen(), 20, "the relay to go on")
        client.type("echo and afterwards\n")
        time.sleep(1)
        api.act(session, "stop")
        api.reach(session, "completed", 40)
        report.check("after a kill -9 of the recorder it is recorded again", "and afterwards" in typed(), typed()[-200:])
        bundle = work / f"{session}.lucid"
        cluster.cli("bundle", session, "-o", str(bundle))
        verdict = json.loads(cluster.cli("verify", str(bundle), "--key", str(cluster.data / "keys/checkpoint.pub"), "--json", check=False).stdout)
        report.check("the recording verifies offline", verdict["verdict"] == "good", verdict)
    finally:
        client.stop()


def by_another_client(report, cluster, api, work):
    session = api.open("rdesktop")
    api.ready(session)
    client = RdpClient(work, api.offer(session), program="rdesktop")
    try:
        first = client.first_frame()
        report.check(f"rdesktop, admitted by its account's name, sees the desktop after {first * 1000:.0f} ms", first < 4)
        client.open_terminal()
        client.type("echo by rdesktop 99\n")
        time.sleep(1)
        api.act(session, "stop")
        api.reach(session, "completed", 30)
        proven(report, cluster, api, session, "echo by rdesktop 99", work)
    finally:
        client.stop()


def begun_unrecorded(report, cluster, api, work):
    """fail_mode open: the desktop does not wait for ever, and the recording tells from when on it was in use unseen."""
    recorder = cluster.services["session-recorder"].process
    recorder.send_signal(signal.SIGSTOP)
    try:
        session = api.open("fail-open", {"fail_mode": "open"})
        took = api.ready(session)
        report.check(f"with fail_mode open the desktop is ready without a recorder ({took:.1f} s)", api.get(f"/sessions/{session}")["started_at"] is None)
        client = RdpClient(work, api.offer(session))
        client.first_frame()
        client.open_terminal()
    finally:
        recorder.send_signal(signal.SIGCONT)
    try:
        wait(lambda: api.get(f"/sessions/{session}")["started_at"], 20, "the recording to begin")
        client.type("echo now recorded\n")
        time.sleep(1)
        api.act(session, "stop")
        api.reach(session, "completed", 30)
    finally:
        client.stop()
    gaps = [e for e in api.events(session) if e.get("kind") == "gap"]
    index = api.get(f"/sessions/{session}/index")
    report.check(f"its recording begins with the gap of that time ({[(g['from_ms'], g['to_ms']) for g in gaps]} ms)",
                 len(gaps) == 1 and gaps[0]["from_ms"] == 0 and gaps[0]["to_ms"] > 2000 and "unrecorded" in gaps[0]["detail"]
                 and index["keyframes"][0]["first_ms"] >= gaps[0]["to_ms"] - 100, (gaps, index["keyframes"][:1]))
    text = "".join(e.get("text", "") for e in api.events(session) if e.get("kind") == "key" and e.get("action") != "release")
    report.check("from then on it is recorded", "now recorded" in text, text)
    bundle = work / f"{session}.lucid"
    cluster.cli("bundle", session, "-o", str(bundle))
    verdict = json.loads(cluster.cli("verify", str(bundle), "--key", str(cluster.data / "keys/checkpoint.pub"), "--json", check=False).stdout)
    report.check("it verifies offline, gap and all", verdict["verdict"] == "good", verdict)


def by_named_account(report, cluster, api, work):
    """A person with an account of her own on the host: PAM asks for the password, X starts at the login."""
    account, password = f"lt{secrets.token_hex(3)}", secrets.token_urlsafe(18)
    subprocess.run(["useradd", "--create-home", "--shell", "/bin/bash", account], check=True)
    try:
        subprocess.run(["chpasswd"], input=f"{account}:{password}\n", text=True, check=True)
        session = api.open("wrong password", account=account)
        api.ready(session)
        client = RdpClient(work, dict(api.offer(session), password="not the password"))
        try:
            wait(client.has_connection, 10, "the client to reach the door")
            time.sleep(4)   # xrdp has asked PAM and shows its own window
            shown = api.get(f"/sessions/{session}")
            running = subprocess.run(["pgrep", "-u", account], text=True, capture_output=True, check=False).stdout.split()
            report.check("a named account with a wrong password gets no desktop", shown["started_at"] is None and not running, (shown, running))
        finally:
            client.stop()
        api.act(session, "terminate")
        api.reach(session, "terminated", 30)

        session = api.open("a named account", account=account)
        api.ready(session)
        offer = api.offer(session)
        report.check("a named account's password is not ours to offer", offer["account"] == account and not offer["password"], offer["account"])
        report.check("before the login nothing is recorded", api.get(f"/sessions/{session}")["started_at"] is None)
        client = RdpClient(work, dict(offer, password=password))
        try:
            first = client.first_frame()
            report.check(f"a named account sees the desktop {first * 1000:.0f} ms after the client was started, X and all", first < 10)
            client.open_terminal()
            client.type("id -un > mine; echo named account 8")
            client.xdotool("key", "Return")
            mine = pathlib.Path(f"/home/{account}/mine")
            wait(lambda: mine.exists() and mine.read_text().strip() == account, 10, "the terminal to work as the account")
            report.check("the desktop works as that account, in its own home", mine.owner() == account)
            time.sleep(1)
            api.act(session, "stop")
            api.reach(session, "completed", 30)
            proven(report, cluster, api, session, "named account 8", work)
        finally:
            client.stop()
        took = wait(lambda: subprocess.run(["pgrep", "-u", account], capture_output=True, check=False).returncode == 1, 10, "the account's processes to end")
        report.check(f"nothing of its desktop runs on ({took:.1f} s later), and its home stays", mine.exists())
    finally:
        subprocess.run(["userdel", "--remove", account], check=False, stderr=subprocess.DEVNULL)


def on_a_node(report, cluster, api, work):
    """A deployment with a worker node: the session is placed on it, and its place is free again afterwards."""
    invitation = cluster.cli("node", "invite").stdout.strip()
    log = open(work / "node.log", "ab")
    node = subprocess.Popen([BIN / "lucid", "node", "join", f"http://127.0.0.1:{8095 + cluster.offset}", "--data", work / "node", "--name", "here"],
                            env=dict(os.environ, LUCID_INVITATION=invitation), stdout=log, stderr=log)

    def nodes():
        return json.loads(cluster.cli("nodes", "--json").stdout)

    try:
        wait(lambda: [n for n in nodes() if n["state"] == "active" and n["load"]["cpu_millicores_free"] > 300], 30, "the node to be active, with some CPU free")
        session = api.open("on a node")
        api.ready(session)
        mine = nodes()[0]
        report.check("with a node the session is placed on it", api.get(f"/sessions/{session}")["rdp"]["node"] == mine["id"] and session in mine["sessions"], mine)
        api.act(session, "stop")
        api.reach(session, "completed", 30)
        took = wait(lambda: session not in nodes()[0]["sessions"], 10, "the place to be given back")
        report.check(f"its place is free again ({took:.1f} s after its end)", True)
        cluster.cli("node", "retire", mine["id"])   # what follows is this machine's alone again
    finally:
        node.terminate()
        node.wait(10)
        log.close()


def request(cookie, protocols=1):
    """An X.224 Connection Request (MS-RDPBCGR 2.2.1.1)."""
    body = struct.pack(">BHHB", 0xE0, 0, 0, 0) + (cookie.encode() + b"\r\n" if cookie else b"")
    body += struct.pack("<BBHI", 1, 0, 8, protocols)
    return struct.pack(">BBH", 3, 0, 5 + len(body)) + bytes([len(body)]) + body


def exchange(cluster, data, seconds=8):
    with socket.create_connection(("127.0.0.1", 3389 + cluster.offset), 5) as door:
        door.settimeout(seconds)
        try:
            door.sendall(data)
            return door.recv(64)
        except OSError:
            return b""


def admission(cluster, cookie, protocols=1):
    """"confirmed", "failure" (a negotiation failure), or "closed" of a first packet."""
    answer = exchange(cluster, request(cookie, protocols))
    if len(answer) >= 19 and answer[5] == 0xD0:
        return {2: "confirmed", 3: "failure"}.get(answer[11], "strange")
    return "closed" if not answer else "strange"


def refusals(report, cluster, api):
    session = api.open("refusals")
    api.ready(session)
    first, token = api.offer(session)["token"], api.offer(session)["token"]
    other = token[:-6] + ("AAAAAA" if not token.endswith("AAAAAA") else "BBBBBB")
    report.check("a forged token is refused with a negotiation failure", admission(cluster, other) == "failure")
    report.check("a token replaced by a newer one is refused", admission(cluster, first) == "failure")
    report.check("an unknown account is refused", admission(cluster, "Cookie: mstshash=nobody77") == "failure")
    report.check("a client without token and account is refused", admission(cluster, "") == "failure")
    report.check("a client that offers no TLS is refused", admission(cluster, token, 0) == "failure")
    for what, data in (("TLS first", b"\x16\x03\x01\x02\x00" + bytes(200)), ("garbage", os.urandom(300)), ("HTTP", b"GET / HTTP/1.1\r\n\r\n"),
                       ("a length of 0", b"\x03\x00\x00\x00" + bytes(20)), ("a huge length", b"\x03\x00\xff\xff" + bytes(600))):
        answer = exchange(cluster, data)
        report.check(f"a first packet of {what} is refused", not answer or answer[11:12] == b"\x03", answer)
    began = time.monotonic()
    exchange(cluster, b"\x03\x00")
    report.check(f"a slow first packet is given up after 5 s ({time.monotonic() - began:.1f} s)", 4 <= time.monotonic() - began <= 7)
    report.check("the door still answers", admission(cluster, token) == "confirmed")
    report.check("a second use of the token is a reconnect within the grace", admission(cluster, token) == "confirmed")
    for body in ({"kind": "rdp", "account": "root"}, {"kind": "rdp", "account": "no-such-user"}, {"kind": "rdp", "resolution": "1x1"},
                 {"kind": "rdp", "desktop": "/bin/sh"}, {"kind": "rdp", "color_depth": 8}, {"kind": "rdp", "surprise": 1}):
        answer = api.ask("POST", "/sessions", {"name": "x", "target": body})
        if answer.status == 201:   # known to be wrong only where accounts and desktops are known
            made = answer.json["id"]
            started = api.ask("POST", f"/sessions/{made}/start")
            wait(lambda: started.status >= 400 or api.status(made) == "failed", 10, f"{body} to be refused")
            report.check(f"target {body} fails with its cause", started.status >= 400 or api.get(f"/sessions/{made}")["cause"], started)
        else:
            report.check(f"target {body} is refused", not answer.fault(400, 422), answer.fault(400, 422))
    api.finish(session)


def main():
    missing = [p for p in ("xrdp", "xrdp-sesman", "xfreerdp", "rdesktop", "xdotool") if not shutil.which(p, path=os.environ["PATH"] + ":/usr/sbin")]
    if os.geteuid() != 0 or missing:
        print(f"not run: {'not root' if os.geteuid() else 'missing ' + ', '.join(missing)}")
        return 1 if os.environ.get("CI") == "true" else 77
    report = Report("rdp_session")
    with tempfile.TemporaryDirectory() as directory:
        work = pathlib.Path(directory)
        cluster = Cluster(work, services={**SERVICES, **RDP_SERVICES, "node-management": 8095},
                          flags={"session-controller": ["--session-controller.disconnect_grace_seconds=3", "--session-controller.recording_timeout_seconds=6"], "xrdp-integration": ["--xrdp-integration.ban_after=10000", "--xrdp-integration.connections_burst=1000"]})
        api = Desktops(8087 + cluster.offset, cluster.token)
        try:
            for part in (by_client_and_api, by_idle_limit, by_another_client, by_named_account, unrecorded, begun_unrecorded, on_a_node):
                part(report, cluster, api, work)
            refusals(report, cluster, api)
        except Exception as error:
            report.check("the suite runs to its end", False, repr(error))
            for session in api.get("/sessions")["sessions"]:   # so that a failure here is not one of the next suite too
                if session["status"] not in ("completed", "terminated", "failed"):
                    api.act(session["id"], "terminate")
                    api.reach(session["id"], "terminated", 30)
            for log in sorted(work.glob("*.log")):
                print(f"--- {log.name}\n{log.read_text(errors='replace')[-1500:]}")
        finally:
            cluster.stop()
        left = json.loads(subprocess.run([sys.executable, ROOT / "tests/support/rdp_leaks.py", "--list", cluster.data], text=True, capture_output=True, check=True).stdout)
        report.check("nothing is left behind", not any(left.values()), left)
    return report.end()


if __name__ == "__main__":
    sys.exit(main())
