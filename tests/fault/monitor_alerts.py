#!/usr/bin/env python3
"""Faults and the alerts they must raise: each within its time, told once, and resolved once after. The rules are the built-in ones.

A service is killed, a disk (loop device) filled, a session leaks memory, the recorder is stopped (SIGSTOP), the monitor's clock is moved
(libfaketime: no other process sees it). What is told is received by a webhook whose signatures are checked, and by an event stream.

Usage: tests/fault/monitor_alerts.py [--interval SECONDS]. Needs root, ext4 on a loop device, libfaketime and what RDP desktops need.
"""
import argparse
import base64
import contextlib
import hashlib
import hmac
import http.client
import http.server
import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "integration"))
from rdp_client import open_desktop, readable_file
from support import ALL_SERVICES, Api, Cluster, Report, wait

report = Report("monitor alerts")
FAKETIME = next(iter(sorted(pathlib.Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))), None)
LEASE = 5  # of a recorder at the pipeline, which calls a recording stalled after it
LEAK = "/usr/bin/python3 -c 'import time,os; held=[]\nfor i in range(26): held.append(os.urandom(1)*(50<<20)); time.sleep(0.15)\ntime.sleep(60)'"
LEAK_SECONDS = 8  # until a gigabyte is held: typed, started, 21 pieces
# What a test machine may say of itself while all this runs.
OF_THE_MACHINE = ("host_cpu", "host_memory", "host_pressure", "pressure", "cpu_", "memory_", "io_", "swap", "load", "temperature")


class Receiver:
    """A webhook's receiver: events in order of arrival, each with the moment it came, signature checked by hand."""

    def __init__(self):
        self.events, self.problems, self.secret, self.ids = [], [], None, set()
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                outer.receive(self.headers, body)
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/alerts"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def receive(self, headers, body):
        signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
        key = base64.b64decode(self.secret.removeprefix("whsec_"))
        if headers["webhook-signature"] != "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode():
            self.problems.append(f"bad signature of {headers['webhook-id']}")
        if headers["webhook-id"] in self.ids:
            self.problems.append(f"{headers['webhook-id']} came twice")
        self.ids.add(headers["webhook-id"])
        event = json.loads(body)
        self.events.append((time.monotonic(), event["data"]["alert"]))

    def find(self, rule, state, subject=None):
        return [(at, a) for at, a in self.events if a["rule"] == rule and a["state"] == state and subject in (None, a["subject"])]

    def stop(self):
        self.server.shutdown()
        self.server.server_close()


class Stream:
    """The event stream of session-api, read as it comes."""

    def __init__(self, port, token):
        self.seqs = []
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=600)
        self.connection.request("GET", "/api/v1/monitor/events", headers={"Accept": "text/event-stream", "Authorization": f"Bearer {token}"})
        self.answer = self.connection.getresponse()
        assert self.answer.status == 200 and self.answer.headers["Content-Type"] == "text/event-stream", self.answer.status
        threading.Thread(target=self.run, daemon=True).start()

    def run(self):
        with contextlib.suppress(OSError, ValueError, AttributeError, http.client.HTTPException):
            for line in self.answer:
                if line.startswith(b"data: "):
                    self.seqs.append(json.loads(line[6:])["seq"])

    def stop(self):
        with contextlib.suppress(OSError):
            self.connection.sock.shutdown(2)


class Faults:
    def __init__(self, cluster, api, receiver, interval, rules):
        self.cluster, self.api, self.receiver, self.interval = cluster, api, receiver, interval
        self.rules = {rule["name"]: rule for rule in rules}
        self.expected = []

    def rule_for(self, metric, severity=None):
        found = [r for r in self.rules.values() if r["metric"] == metric and severity in (None, r["severity"])]
        assert len(found) == 1, (metric, severity, found)
        return found[0]

    def told(self, rule, state, subject, began, limit, what):
        """The alert comes within `limit` seconds of `began`."""
        try:
            wait(lambda: self.receiver.find(rule["name"], state, subject), max(0.1, began + limit + 20 - time.monotonic()), f"{rule['name']} {state}")
        except TimeoutError as error:
            return report.check(f"{what}: {rule['name']} {subject or ''} is {state}", False, error)
        took = self.receiver.find(rule["name"], state, subject)[0][0] - began
        return report.check(f"{what}: {rule['name']} {subject or ''} is {state} after {took:.1f} s (at most {limit:.1f})", took <= limit)

    def limit(self, rule):
        """What the rule waits for, a look to begin it, one to end it, and the time services have to answer."""
        return rule["for_seconds"] + 2 * self.interval + 3

    def raise_and_resolve(self, what, alerts, fault, repair, resolve_after=0.0, later=None):
        """`alerts`: (metric, severity, subject). `later`: seconds until a fault shows in a metric at all."""
        rules = [(self.rule_for(metric, severity), subject) for metric, severity, subject in alerts]
        began = time.monotonic()
        fault()
        for rule, subject in rules:
            self.told(rule, "firing", subject, began, self.limit(rule) + (later or {}).get(rule["metric"], 0), what)
            self.expected.append((rule["name"], subject))
        live = {(a["rule"], a["subject"]): a for a in self.api.get("/monitor/alerts")["alerts"]}
        for rule, subject in rules:
            report.check(f"{what}: {rule['name']} is shown as firing", any(key[0] == rule["name"] and subject in (None, key[1]) and a["state"] == "firing" for key, a in live.items()), list(live))
        repair()
        repaired = time.monotonic()
        return lambda: [self.told(rule, "resolved", subject, repaired, resolve_after + 3 * self.interval + 3, f"{what}, repaired") for rule, subject in rules]

    def service_killed(self):
        service = self.cluster.services["node-management"]

        def fault():
            service.stopping = True
            service.kill()

        def repair():
            service.stopping = False
            service._start()
            service.thread = threading.Thread(target=service._supervise, daemon=True)
            service.thread.start()

        self.raise_and_resolve("a service is killed", [("service_up", None, "node-management")], fault, repair)()

    def disk_filled(self, mount):
        filler = mount / "filler"

        def fault():
            with open(filler, "wb") as file:
                free = os.statvfs(mount)
                file.write(bytes(int(free.f_bavail * free.f_frsize * 0.98)))
                file.flush()
                os.fsync(file.fileno())

        self.raise_and_resolve("a disk is filled", [("host_disk_used_ratio", "warning", str(mount)), ("host_disk_used_ratio", "critical", str(mount))], fault, filler.unlink)()

    def session_leaks(self, session, client):
        def repair():
            for pid in filter(str.isdigit, os.listdir("/proc")):
                with contextlib.suppress(OSError):
                    if b"held=[]" in pathlib.Path(f"/proc/{pid}/cmdline").read_bytes() and os.stat(f"/proc/{pid}").st_uid >= 1000:
                        os.kill(int(pid), signal.SIGKILL)

        def fault():
            client.enter("cd; clear; sh leak.sh")

        self.raise_and_resolve("a session leaks memory", [("session_memory_growth_bytes", None, session)], fault, repair, later={"session_memory_growth_bytes": LEAK_SECONDS})()

    def recorder_stopped(self):
        process = self.cluster.services["session-recorder"].process
        self.raise_and_resolve("the recorder stands still", [("service_up", None, "session-recorder"), ("recording_stalled", None, "")],
                               lambda: process.send_signal(signal.SIGSTOP), lambda: process.send_signal(signal.SIGCONT), later={"recording_stalled": LEASE})()

    def clock_moved(self, clock):
        """It resolves a minute later, by itself: the jump is over at once."""
        return self.raise_and_resolve("the clock is moved", [("host_clock_jump_seconds", None, "")], lambda: clock.write_text("+20\n"), lambda: None, resolve_after=60)

    def told_once(self):
        for name, subject in self.expected:
            fired, resolved = (len(self.receiver.find(name, state, subject)) for state in ("firing", "resolved"))
            report.check(f"{name} {subject or ''}: told once as firing and once as resolved", (fired, resolved) == (1, 1), (fired, resolved))
        others = [(a["rule"], a["subject"], a["state"], a["value"]) for _, a in self.receiver.events if (a["rule"], a["subject"]) not in self.expected]
        strange = [o for o in others if not o[0].startswith(OF_THE_MACHINE)]
        print(f"     other alerts told meanwhile: {others}", flush=True)
        return strange


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--interval", type=int, default=2, help="seconds between two looks of the monitor (default 2; the service's own default is 5)")
    interval = parser.parse_args().interval
    if os.geteuid() != 0 or FAKETIME is None:
        print("not run: monitor_alerts needs root and libfaketime", flush=True)
        return 77
    with tempfile.TemporaryDirectory(prefix="lucid-alerts-") as work:
        work = pathlib.Path(work)
        mount, clock = work / "disk", work / "clock"
        mount.mkdir()
        clock.write_text("+0\n")
        subprocess.run(["truncate", "-s", "64M", work / "disk.img"], check=True)
        subprocess.run(["mkfs.ext4", "-q", work / "disk.img"], check=True)
        mounted = subprocess.run(["mount", "-o", "loop", work / "disk.img", mount], capture_output=True, text=True)
        if mounted.returncode != 0:
            print(f"not run: no loop device can be mounted here: {mounted.stderr.strip()}", flush=True)
            return 77
        cluster = client = stream = None
        leak = readable_file(LEAK + "\n", ".sh")
        receiver = Receiver()
        try:
            environment = {"LD_PRELOAD": str(FAKETIME), "FAKETIME_TIMESTAMP_FILE": str(clock), "FAKETIME_NO_CACHE": "1", "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
            cluster = Cluster(work, services=ALL_SERVICES, environment={"resource-monitor": environment}, flags={"resource-monitor": [f"--resource-monitor.interval={interval}"]})
            port = cluster.ports["session-api"] + cluster.offset
            api = Api(port, cluster.token)
            wait(lambda: api.ask("GET", "/monitor/host").status == 200, 10, "the first look")
            made = api.ask("POST", "/monitor/webhooks", {"url": receiver.url})
            assert made.status == 201, made
            receiver.secret = made.json["secret"]
            stream = Stream(port, cluster.token)
            session, client = open_desktop(api, work, "leaking")
            client.enter(f"cd; cp {leak} leak.sh")
            faults = Faults(cluster, api, receiver, interval, api.get("/monitor/rules")["rules"])
            resolved_later = faults.clock_moved(clock)
            faults.service_killed()
            faults.disk_filled(mount)
            faults.session_leaks(session, client)
            faults.recorder_stopped()
            resolved_later()
            strange = faults.told_once()
            report.check("nothing else was told but of the machine itself", not strange, strange)
            report.check("every signature is right and nothing came twice", not receiver.problems, receiver.problems)
            wait(lambda: len(stream.seqs) >= len(receiver.events), 10, "the stream to have them all")
            report.check(f"the event stream had the same {len(stream.seqs)} events, in order", stream.seqs == sorted(set(stream.seqs)) and len(stream.seqs) == len(receiver.events), stream.seqs)
            past = api.get("/monitor/alerts?history=true&limit=100")["events"]
            report.check("the history of alerts has them too", [e["seq"] for e in reversed(past)][-len(stream.seqs):] == stream.seqs, len(past))
        except (TimeoutError, RuntimeError, AssertionError) as error:
            report.check("the suite runs to its end", False, repr(error))
        finally:
            if client:
                client.stop()
            if stream:
                stream.stop()
            if cluster:
                with contextlib.suppress(Exception):
                    api.act(session, "terminate")
                    api.reach(session, "terminated", 20)
                cluster.stop()
            receiver.stop()
            leak.unlink()
            subprocess.run(["umount", mount], check=True)
    return report.end()


sys.exit(main())
