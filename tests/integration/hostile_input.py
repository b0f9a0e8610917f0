#!/usr/bin/env python3
"""Hostile input against the ports of all five services: every answer must be a proper problem+json, nothing may be left
half-written, no service may end, and recording must go on working.

    tests/integration/hostile_input.py
"""
import json
import pathlib
import random
import subprocess
import sys
import tempfile
import threading
import time
import uuid

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from support import ROOT, SERVICES, Answer, Api, Cluster, Report, Screen, connect, parallel, raw, read_answer, request, service_token, wait

report = Report("hostile input")
UNKNOWN = "018f2f2e-7c1d-7a10-9a61-0c5d1b2a3f4e"
HOSTILE_IDS = ["..", "../", "../../etc/passwd", "..%2f..%2fetc%2fpasswd", "%2e%2e%2f", "%2e%2e", "%00", f"{UNKNOWN}%00", f"{UNKNOWN}%2f..", "%ff%fe", "%c0%ae%c0%ae", "%", "%zz",
               "x", "0", "-1", "a" * 300, "a" * 7000, f"{UNKNOWN}0", UNKNOWN[:-1], "{" + UNKNOWN + "}", "%27%20OR%201=1--", "*", "%0d%0aX-Injected:%201", UNKNOWN]
# Routes that name a session: method, path after /api/v1, content type of the body (None: no body).
NAMED = {
    "session-pipeline": [("GET", "/recordings/{id}", None), ("GET", "/recordings/{id}/plan", None), ("GET", "/recordings/{id}/history", None), ("POST", "/recordings/{id}/start", None),
                         ("POST", "/recordings/{id}/pause", None), ("POST", "/recordings/{id}/stop", None), ("POST", "/recordings/{id}/recover", None), ("POST", "/recordings/{id}/cleanup", None),
                         ("DELETE", "/recordings/{id}", None)],
    "session-recorder": [("POST", "/recordings/{id}/pause", None), ("POST", "/recordings/{id}/resume", None), ("POST", "/recordings/{id}/stop", None)],
    "chunk-processor": [("GET", "/sessions/{id}/checkpoint", None), ("GET", "/sessions/{id}/proof/0", None), ("GET", "/sessions/{id}/consistency", None), ("GET", "/sessions/{id}/snapshot", None),
                        ("POST", "/sessions/{id}/finish", None)],
    "session-storage": [("PUT", "/sessions/{id}/chunks/0", "application/octet-stream"), ("GET", "/sessions/{id}/chunks/0", None), ("PUT", "/sessions/{id}/manifest", "application/json"),
                        ("GET", "/sessions/{id}/manifest", None)],
    "session-api": [("GET", "/sessions/{id}" + tail, None) for tail in ("", "/chunks", "/chunks/0", "/chunks/0/content", "/index", "/events", "/checkpoint", "/proof/0", "/consistency", "/manifest", "/bundle")]
    + [("POST", "/sessions/{id}/" + action, None) for action in ("start", "pause", "resume", "stop", "terminate", "verify")] + [("PATCH", "/sessions/{id}", "application/json"), ("DELETE", "/sessions/{id}", None)],
}
# Routes that take JSON.
JSON_ROUTES = {"session-pipeline": ["/recordings", "/leases", "/heartbeats", f"/recordings/{UNKNOWN}/begin", f"/recordings/{UNKNOWN}/commits", f"/recordings/{UNKNOWN}/failures",
                                    f"/recordings/{UNKNOWN}/reports"],
               "session-recorder": ["/recordings"], "session-api": ["/sessions"]}
BAD_JSON = {"nothing": b"", "half an object": b'{"name":', "a word": b"name", "garbage after it": b"{} {}", "nested 100000 deep": b"[" * 100_000, "objects nested 33 deep": b'{"a":' * 33 + b"1" + b"}" * 33,
            "wrong UTF-8": b'{"name":"\xff\xfe"}', "half a surrogate": b'{"name":"\\ud800"}', "NaN": b'{"name":NaN}', "a comment": b"{/* */}", "a NUL": b'{"name":"a\0b"}',
            "an empty key of 200 kB": b'{"' + b"k" * 200_000 + b'":1}', "an array": b"[]", "null": b"null", "a number": b"1e400", "a huge integer": b'{"name":' + b"9" * 5000 + b"}",
            "a key twice": b'{"name":"a","name":"b"}', "UTF-16": '{"name":"a"}'.encode("utf-16")}


class Suite:
    def __init__(self, cluster, screen):
        self.cluster, self.screen = cluster, screen
        self.ports = {name: port + cluster.offset for name, port in SERVICES.items()}
        self.api = Api(self.ports["session-api"], cluster.token)
        self.token = service_token(cluster.data)

    def token_of(self, service):
        return self.cluster.token if service == "session-api" else self.token

    def ask(self, service, method, path, body=None, **more):
        return request(self.ports[service], method, path, body, self.token_of(service), **more)

    def refused(self, what, answer, *statuses):
        fault = answer.fault(*statuses)
        return report.check(what, not fault, fault)

    def all_refused(self, what, cases, *statuses):
        """One line for many cases: (label, answer) each."""
        faults = [f"{label}: {fault}" for label, answer in cases if (fault := answer.fault(*statuses))]
        report.check(f"{what} ({len(cases)} requests)", not faults, "; ".join(faults[:6]) + (f" … and {len(faults) - 6} more" if len(faults) > 6 else ""))

    # ---- ids and targets -------------------------------------------------------------------------------------------
    def ids(self, service):
        cases = []
        for method, path, content in NAMED[service]:
            body = None if content is None else b"{}"
            for hostile in HOSTILE_IDS:
                target = "/api/v1" + path.replace("{id}", hostile)
                cases.append((f"{method} {target[:80]}", self.ask(service, method, target, body, headers={"Content-Type": content} if content else None)))
        self.all_refused(f"{service}: hostile ids", cases, 400, 404, 405, 409, 422)
        port, token = self.ports[service], self.token_of(service)
        cases = [("a target of 9 kB", request(port, "GET", "/api/v1/" + "a" * 9000, token=token)), ("a target of 10 MB", request(port, "GET", "/api/v1/" + "a" * 10_000_000, token=token)),
                 ("a header of 10 MB", request(port, "GET", "/health", headers={"X-Long": "a" * 10_000_000})), ("ten thousand headers", request(port, "GET", "/health", headers={f"X-{i}": "1" for i in range(10_000)}))]
        self.refused(f"{service}: nothing at that path", request(port, "GET", "/api/v1/nothing/here", token=token), 404)
        for name, line in {"no HTTP at all": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200) + b"\r\n\r\n", "HTTP/9": b"GET / HTTP/9.9\r\nHost: a\r\n\r\n",
                           "two lengths": b"POST /api/v1/x HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
                           "a negative length": b"POST /api/v1/x HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n", "length and chunked": b"POST /api/v1/x HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
                           "no Host": b"GET /health HTTP/1.1\r\n\r\n", "a NUL in a header": b"GET /health HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n", "a bare LF": b"GET /health\nHost: a\n\n"}.items():
            cases.append((name, raw(port, line)))
        self.all_refused(f"{service}: heads that are malformed or too long", cases, 400, 414, 431, 505)

    # ---- doors -----------------------------------------------------------------------------------------------------
    def doors(self, service):
        port, cases = self.ports[service], []
        signed = service_token(self.cluster.data)
        body, _, mac = signed.rpartition(".")
        wrong = {"no token": None, "an empty one": "", "another word": "secret", "a service token signed by another key": service_token(self.cluster.data, secret=bytes(32)),
                 "an expired one": service_token(self.cluster.data, lifetime=-600), "its signature cut": signed[:-4], "its signature changed": body + "." + mac[::-1],
                 "its service changed": signed.replace("session-recorder", "session-api"), "only v1": "v1..1.", "8 kB": "a" * 8000, "wrong UTF-8": "\xff\xfe"}
        if service == "session-api":
            wrong["a good service token"] = signed
            wrong["the admin token and one more byte"] = self.cluster.token + "a"
            wrong["the admin token less one byte"] = self.cluster.token[:-1]
        else:
            wrong["the admin token"] = self.cluster.token
        for label, token in wrong.items():
            for method, path, content in NAMED[service]:
                cases.append((f"{label} {method} {path}", request(port, method, "/api/v1" + path.replace("{id}", UNKNOWN), b"{}" if content else None, token)))
        cases.append(("Basic", request(port, *NAMED[service][0][:1], "/api/v1" + NAMED[service][0][1].replace("{id}", UNKNOWN), headers={"Authorization": "Basic YTpi"})))
        self.all_refused(f"{service}: without or with wrong tokens", cases, 401)

    def methods(self, service):
        cases, seen = [], {}
        for method, path, _ in NAMED[service]:
            seen.setdefault(path, set()).add(method)
        known = {path for path in seen}
        for path in known:
            answer = self.ask(service, "BREW", "/api/v1" + path.replace("{id}", UNKNOWN))
            cases.append((f"BREW {path}", answer))
            if not answer.fault() and "allow" not in answer.headers:
                cases.append((f"BREW {path} names no Allow", Answer(0, {}, b"")))
        cases.append(("OPTIONS", self.ask(service, "OPTIONS", "/health")))
        cases.append(("DELETE /health", self.ask(service, "DELETE", "/health")))
        cases.append(("TRACE", self.ask(service, "TRACE", "/version")))
        self.all_refused(f"{service}: wrong methods", cases, 405)

    # ---- bodies ----------------------------------------------------------------------------------------------------
    def bodies(self, service):
        cases = []
        for path in JSON_ROUTES.get(service, []):
            for label, body in BAD_JSON.items():
                cases.append((f"{label} to {path}", self.ask(service, "POST", "/api/v1" + path, body)))
            for content in (None, "text/plain", "application/octet-stream", "application/jsonx", "multipart/form-data", ""):
                cases.append((f"content type {content} to {path}", self.ask(service, "POST", "/api/v1" + path, b"{}", headers={"Content-Type": content})))
        if cases:
            self.all_refused(f"{service}: bad JSON and content types", cases, 400, 404, 413, 415, 422)
        method, path = {"chunk-processor": ("POST", "/segments"), "session-storage": ("PUT", f"/sessions/{UNKNOWN}/chunks/0")}.get(service, ("POST", JSON_ROUTES.get(service, [""])[0]))
        big = self.ask(service, method, "/api/v1" + path, b'{"name":"' + b"x" * 40_000_000 + b'"}', headers={"Content-Type": "application/octet-stream"})
        self.refused(f"{service}: a body of 40 MB", big, 413)
        endless = b"%x\r\n" % 65536 + b"a" * 65536 + b"\r\n"
        head = f"{method} /api/v1{path} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {self.token_of(service)}\r\nContent-Type: application/octet-stream\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
        self.refused(f"{service}: an endless chunked body", raw(self.ports[service], head + endless * 500), 413)
        self.refused(f"{service}: a broken chunked body", raw(self.ports[service], head + b"zz\r\nabc\r\n"), 400)
        with connect(self.ports[service]) as sock:   # truncated: the client goes away in the middle
            sock.sendall(head.replace(b"Transfer-Encoding: chunked", b"Content-Length: 1000") + b"a" * 10)

    # ---- slow clients ----------------------------------------------------------------------------------------------
    def slow(self, service, held):
        """Opens slow connections and dribbles until each is answered or closed."""
        head = f"GET /health HTTP/1.1\r\nHost: a\r\nX-Slow: ".encode()
        start = f"POST /api/v1/segments HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {self.token_of(service)}\r\nContent-Type: application/octet-stream\r\nContent-Length: 100000\r\n\r\n".encode()
        path = {"chunk-processor": start, "session-storage": start.replace(b"POST /api/v1/segments", f"PUT /api/v1/sessions/{UNKNOWN}/chunks/0".encode())}.get(
            service, start.replace(b"/api/v1/segments", b"/api/v1" + JSON_ROUTES.get(service, [""])[0].encode()).replace(b"octet-stream", b"json"))
        slow = [("header", head, 10) for _ in range(10)] + [("body", path, 30) for _ in range(3)]
        open_now = []
        for kind, first, limit in slow:
            sock = connect(self.ports[service], 60)
            sock.sendall(first)
            open_now.append((kind, limit, sock))
        held.release()
        began, ended, answers = time.monotonic(), {"header": [], "body": []}, []
        while open_now and time.monotonic() - began < 45:
            still = []
            for kind, limit, sock in open_now:
                sock.setblocking(False)
                try:
                    sock.sendall(b"a")
                    data = sock.recv(1, 2)   # MSG_PEEK
                    gone = True
                except BlockingIOError:
                    gone, data = False, b""
                except OSError:
                    gone, data = True, b""
                if not gone:
                    still.append((kind, limit, sock))
                    continue
                ended[kind].append(time.monotonic() - began)
                if data:
                    sock.settimeout(5)
                    answers.append((kind, read_answer(sock)))
                sock.close()
            open_now = still
            time.sleep(0.25)
        for kind, _, sock in open_now:
            sock.close()
        for kind, count, limit in (("header", 10, 10), ("body", 3, 30)):
            report.check(f"{service}: {count} clients dribbling a {kind} are cut off at {limit} s (measured {max(ended[kind], default=0):.1f} s)",
                         len(ended[kind]) == count and limit - 1 <= min(ended[kind]) and max(ended[kind]) <= limit + 4, f"{len(ended[kind])} ended: {ended[kind]}")
        self.all_refused(f"{service}: slow clients are told why", answers or [("no answer", Answer(0, {}, b""))], 408)

    # ---- rules of a session ------------------------------------------------------------------------------------------
    def rules(self):
        good = {"name": "n", "target": {"kind": "display", "display": ":1"}}
        key = "lucid-box-pub:" + "A" * 43
        cases = [("/name", {"name": ""}), ("/name", {"name": "x" * 256}), ("/name", {"name": 5}), ("/name", {"name": None}), ("/target/kind", {"target": {}}), ("/target/kind", {"target": {"kind": "vnc"}}),
                 ("/target/resolution", {"target": {"kind": "rdp", "resolution": "1x1"}}), ("/target/account", {"target": {"kind": "rdp", "account": "../x"}}), ("/target/display", {"target": {"kind": "display"}}), ("/target/xauthority", {"target": {"kind": "display", "display": ":1", "xauthority": "../x"}}),
                 ("/target/other", {"target": {"kind": "display", "display": ":1", "other": 1}}), ("/target", {"target": 5}), ("/other", {"other": 1}), ("/a~1b", {"a/b": 1})]
        cases += [("/target/display", {"target": {"kind": "display", "display": d}}) for d in ("", "1", "10", ":", ":x", "a b:1", "../x:1", ":1;id", ":" + "1" * 200, "\u0000:1", 1)]
        cases += [("/recording/" + name, {"recording": {name: value}}) for name, values in {
            "frame_rate": (0, 61, -1, 1.5, "15", 10**30), "codec": ("mpeg", "h264", 1), "keystrokes": ("some", 1), "clipboard": ("yes", 1), "windows": (0,), "processes": ("",), "max_rate": (9_999, 100_000_001),
            "jpeg": (1,), "digests": ("every",), "password_titles": ("x", [1], [""], ["x"] * 51, ["y" * 201]), "unknown": (1,)}.items() for value in values]
        cases += [("/policy/" + name, {"policy": {name: value}}) for name, values in {"fail_mode": ("ajar",), "idle_timeout": (-1, 86_401), "max_duration": (-1, 2_592_001), "x": (1,)}.items() for value in values]
        cases += [("/storage/" + name, {"storage": {name: value}}) for name, values in {"retention_days": (0, 3651), "recipients": ("x", ["x"], ["lucid-box-pub:AAAA"], ["x"] * 21), "x": (1,)}.items() for value in values]
        cases += [("/storage/recipients/1", {"storage": {"recipients": [key, key]}})]
        cases += [("/metadata/" + name, {"metadata": {name: value}}) for name, values in {"project": ("x" * 101,), "environment": ("x" * 51,), "description": ("x" * 501,), "owner": ("x" * 256, 1),
                                                                                         "tags": (["x"] * 11, ["x" * 51], [""], "x"), "x": (1,)}.items() for value in values]
        cases += [("/" + part, {part: value}) for part in ("recording", "policy", "storage", "metadata") for value in ([], "x", 1)]
        faults = []
        for pointer, change in cases:
            answer = self.api.ask("POST", "/sessions", {**good, **change})
            fault = answer.fault(422)
            if not fault and not any(error["pointer"] == pointer or error["pointer"].startswith(pointer + "/") for error in answer.json.get("errors", [])):
                fault = f"names {[e['pointer'] for e in answer.json.get('errors', [])]}"
            if fault:
                faults.append(f"{pointer} {json.dumps(change)[:90]}: {fault}")
        report.check(f"every rule of POST /sessions is named by its pointer ({len(cases)} requests)", not faults, "; ".join(faults))
        both = self.api.ask("POST", "/sessions", {"name": "", "target": {"kind": "display", "display": "x"}, "recording": {"frame_rate": 0}, "zzz": 1})
        report.check("all mistakes are named at once", both.status == 422 and {e["pointer"] for e in both.json["errors"]} == {"/name", "/target/display", "/recording/frame_rate", "/zzz"}, both.body)
        self.refused("a name of 10 MB", self.api.ask("POST", "/sessions", {**good, "name": "x" * 10_000_000}), 413)
        for query in ("limit=0", "limit=101", "limit=x", "status=dead", "from=yesterday", "other=1", "limit=%00", "q=%ff", "cursor=zzz", "cursor=" + "A" * 5000, "q="):
            self.refused(f"list with {query[:20]}", self.api.ask("GET", "/sessions?" + query), 400, 422)
        report.check("nothing was created by any of this", not self.api.get("/sessions")["sessions"], self.api.get("/sessions"))

    # ---- transitions -------------------------------------------------------------------------------------------------
    def transitions(self):
        legal = {"created": {"start"}, "recording": {"pause", "stop", "terminate"}, "paused": {"resume", "stop", "terminate"}}

        def refuse_all(state, session):
            cases = [(action, self.api.act(session, action)) for action in ("start", "pause", "resume", "stop", "terminate") if action not in legal.get(state, set())]
            wrong = [f"{action}: {answer.status} {answer.code} {answer.fault(409)}" for action, answer in cases if answer.fault(409) or answer.code != "illegal_transition"]
            report.check(f"illegal actions of a session that is {state} are 409 illegal_transition ({len(cases)})", not wrong, "; ".join(wrong))
            report.check(f"and it is still {state}", self.api.status(session) == state, self.api.status(session))

        made = self.api.ask("POST", "/sessions", {"name": "states", "target": {"kind": "display", "display": self.screen.display}})
        session = made.json["id"]
        refuse_all("created", session)
        self.api.act(session, "start")
        self.api.reach(session, "recording")
        refuse_all("recording", session)
        self.refused("a recording cannot be deleted", self.api.ask("DELETE", f"/sessions/{session}"), 409)
        self.api.act(session, "pause")
        self.api.reach(session, "paused")
        refuse_all("paused", session)
        self.api.finish(session)
        refuse_all("completed", session)
        receipt = self.api.ask("DELETE", f"/sessions/{session}")
        report.check("a completed session is deleted with a receipt", receipt.status == 200 and receipt.json.get("checkpoint"), receipt)
        gone = [self.api.act(session, action) for action in ("start", "pause", "resume", "stop", "terminate")]
        report.check("no action revives a deleted session", all(not a.fault(404) and a.code == "session_deleted" for a in gone) and self.api.status(session) == "deleted", gone)
        self.refused("a deleted session's chunks are gone", self.api.ask("GET", f"/sessions/{session}/chunks/0"), 404, 409, 410)
        session = self.api.begin(self.screen.display)
        ended = self.api.act(session, "terminate")
        report.check("terminate is answered with the session", ended.status == 200, ended)
        self.api.reach(session, "terminated")
        refuse_all("terminated", session)
        made = self.api.ask("POST", "/sessions", {"name": "no display", "target": {"kind": "display", "display": ":64999"}}).json["id"]
        self.refused("a display that is not there", self.api.act(made, "start"), 409, 422, 503)
        self.api.reach(made, "failed")
        refuse_all("failed", made)
        report.check("a failed session says why", "64999" in (self.api.get(f"/sessions/{made}")["cause"] or ""), self.api.get(f"/sessions/{made}")["cause"])

    # ---- headers that mean something -----------------------------------------------------------------------------------
    def headers(self):
        session = self.api.begin(self.screen.display)
        wait(lambda: self.api.get(f"/sessions/{session}")["chunks"] >= 1, 20, "a chunk")
        good = {"name": "n", "target": {"kind": "display", "display": ":1"}}
        cases = [(f"Idempotency-Key {key[:20]!r}", self.api.ask("POST", "/sessions", good, headers={"Idempotency-Key": key})) for key in ("", "x" * 5000, "\xff\xfe")]
        cases += [(f"If-Match {tag}", self.api.ask("PATCH", f"/sessions/{session}", {"name": "x"}, headers={"If-Match": tag})) for tag in ("1", '"x"', '"-1"', '"99999999999999999999"', '""', 'W/"1"', '"1', '"7"')]
        self.all_refused("session-api: hostile Idempotency-Key and If-Match", cases, 400, 409, 412, 422)
        size = self.api.get(f"/sessions/{session}/chunks")["chunks"][0]["stored_size"]
        whole = self.api.ask("GET", f"/sessions/{session}/chunks/0").body
        wrong = []
        for text, expected in (("bytes=0-0", whole[:1]), ("bytes=10-19", whole[10:20]), ("bytes=-5", whole[-5:]), (f"bytes={size - 1}-", whole[-1:]), ("bytes=5-99999999999", whole[5:])):
            answer = self.api.ask("GET", f"/sessions/{session}/chunks/0", headers={"Range": text})
            if answer.status != 206 or answer.body != expected or not answer.headers.get("content-range", "").endswith(f"/{size}"):
                wrong.append((text, answer.status, len(answer.body)))
        for text in (f"bytes={size}-", "bytes=99999999999-", "bytes=-0"):
            answer = self.api.ask("GET", f"/sessions/{session}/chunks/0", headers={"Range": text})
            if answer.status != 416:
                wrong.append((text, answer.status))
        for text in ("bytes=5-1", "bytes=x", "lines=1-2", "bytes=1-2,4-5", "bytes=" + "9" * 400 + "-", "bytes=--1", ""):
            answer = self.api.ask("GET", f"/sessions/{session}/chunks/0", headers={"Range": text})
            if answer.status not in (200, 206, 416) or (answer.status == 200 and answer.body != whole):
                wrong.append((text, answer.status))
        report.check("ranges of a chunk are exact, hostile ones harmless", not wrong, wrong)
        answers = []
        parallel(lambda _: answers.append(self.api.act(session, "stop")), range(12), 12)
        report.check("twelve stops at once: one recording, each answered 200 or 409", all(a.status in (200, 409) for a in answers) and any(a.status == 200 for a in answers), [a.status for a in answers])
        self.api.reach(session, "completed", 30)
        made = self.api.ask("POST", "/sessions", {"name": "starts", "target": {"kind": "display", "display": self.screen.display}}).json["id"]
        answers = []
        parallel(lambda _: answers.append(self.api.act(made, "start")), range(12), 12)
        self.api.reach(made, "recording")
        history = request(self.ports["session-pipeline"], "GET", f"/api/v1/recordings/{made}/history", token=self.token).body.decode()
        report.check("twelve starts at once: one transition, each answered 200 or 409", all(a.status in (200, 409) for a in answers) and history.count('"trigger":"start"') == 1, (sorted(a.status for a in answers), history))
        self.api.finish(made)

    # ---- segments and chunks -----------------------------------------------------------------------------------------
    def segments(self):
        processor, storage, pipeline = (self.ports[name] for name in ("chunk-processor", "session-storage", "session-pipeline"))

        def post(body, **more):
            return request(processor, "POST", "/api/v1/segments", body, service_token(self.cluster.data), {"Content-Type": "application/octet-stream", **more})

        session = self.api.begin(self.screen.display)
        wait(lambda: self.api.get(f"/sessions/{session}")["chunks"] >= 2, 20, "two chunks")
        segment = first_segment(self.cluster.data, uuid.UUID(session).bytes)
        replay = post(segment)
        report.check("a replayed segment is answered as committed and changes nothing", replay.status == 200 and replay.json["sequence"] == 0, replay)
        chance, cases = random.Random(7), []
        cases += [(f"{n} bytes of garbage", post(chance.randbytes(n))) for n in (0, 1, 103, 104, 105, 1000, 100_000)]
        cases += [(f"cut at {n}", post(segment[:n], **{"X-Lucid-Final-Part": part})) for n in (4, 103, 104, 110, 175, 176, len(segment) // 2, len(segment) - 1) for part in ("", "crash")]
        for at in [*range(104), *range(104, 176), *(chance.randrange(len(segment)) for _ in range(60))]:
            altered = bytearray(segment)
            altered[at] ^= 1 << chance.randrange(8)
            cases.append((f"bit of byte {at} flipped", post(bytes(altered))))
        for label, at, value in (("another session", 104 + 8, uuid.UUID(UNKNOWN).bytes), ("another sequence", 104 + 24, (9999).to_bytes(8, "little")), ("another token", 104 + 56, bytes(8)),
                                 ("a size of 4 GB", 104 + 36, b"\xff" * 4)):
            altered = bytearray(segment)
            altered[at:at + len(value)] = value
            size = 104 + 72 + 24 + int.from_bytes(segment[140:144], "little")
            altered[172:176] = b3(bytes(altered[104:172] + altered[176:size]))[:4]
            cases.append((f"{label}, its tear check made good", post(bytes(altered))))
        golden = ROOT / "tests/golden/spool/v1/segment.bin"
        cases += [("the golden segment, sealed to another key", post(golden.read_bytes())), ("a batch twice", post(segment + segment[104:]))]
        cases.append(("another content type", request(processor, "POST", "/api/v1/segments", segment, service_token(self.cluster.data))))
        self.all_refused("chunk-processor: hostile segments", cases, 400, 404, 409, 413, 415, 422)

        chunk = self.api.ask("GET", f"/sessions/{session}/chunks/0").body
        row = self.api.get(f"/sessions/{session}/chunks")["chunks"][0]

        def put(body, target_session=session, sequence="0", content="application/octet-stream"):
            return request(storage, "PUT", f"/api/v1/sessions/{target_session}/chunks/{sequence}", body, service_token(self.cluster.data), {"Content-Type": content})

        same = put(chunk)
        report.check("a chunk stored again is answered as stored", same.status == 200 and same.json["blake3"] == row["blake3"], same)
        cases = [(f"{n} bytes of garbage", put(chance.randbytes(n))) for n in (0, 1, 79, 80, 104, 120, 5000)]
        cases += [("under another sequence", put(chunk, sequence="77")), ("in another session", put(chunk, target_session=UNKNOWN)), ("a byte short", put(chunk[:-1])), ("a byte long", put(chunk + b"a")),
                  ("as JSON", put(chunk, content="application/json"))]
        # A processor that repeats a chunk after a crash seals it anew: the first one stands, whatever comes after it.
        others = [put(chunk[:at] + bytes([chunk[at] ^ 0x80]) + chunk[at + 1:]) for at in range(len(chunk) if len(chunk) < 300 else 300)]
        faults = [f"byte {at}: {a.fault()}" for at, a in enumerate(others) if a.fault(400, 409, 422) and not (a.status == 200 and a.json["blake3"] == row["blake3"])]
        report.check("session-storage: another chunk under a taken sequence is refused or the first one stands", not faults, "; ".join(faults))
        report.check("session-storage: the chunk that stands is untouched", self.api.ask("GET", f"/sessions/{session}/chunks/0").body == chunk)
        cases += [(f"sequence {s}", put(chunk, sequence=s)) for s in ("-1", "1e3", "99999999999999999999999", "0x1", "%00", "00%20")]
        manifest = self.api.ask("GET", f"/sessions/{session}/manifest").body
        for label, body in {"garbage": b"zzz", "an empty object": b"{}", "another session's": manifest, "half of it": manifest[:-20], "nested deep": b"[" * 5000}.items():
            to = UNKNOWN if label.startswith("another") else session
            cases.append((f"manifest: {label}", request(storage, "PUT", f"/api/v1/sessions/{to}/manifest", body, service_token(self.cluster.data))))
        self.all_refused("session-storage: hostile chunks and manifests", cases, 400, 409, 413, 415, 422)

        token, cases = service_token(self.cluster.data), []
        for path, body in ((f"/recordings/{session}/begin", {"sequence": 0, "fencing_token": 0}), (f"/recordings/{session}/begin", {"sequence": 2**63, "fencing_token": 2**63}),
                           (f"/recordings/{session}/begin", {"sequence": -1, "fencing_token": 1}), (f"/recordings/{session}/begin", {}), (f"/recordings/{session}/commits", {"sequence": 5}),
                           (f"/recordings/{session}/failures", {"sequence": 1, "stage": "eaten", "reason": ""}), (f"/recordings/{session}/reports", {"event": 5}), ("/leases", {"session_id": "x", "holder": "y"}),
                           ("/leases", {"session_id": UNKNOWN, "holder": "y"}), ("/heartbeats", {"recordings": [5]}), ("/heartbeats", {"recordings": "x"})):
            cases.append((path, request(pipeline, "POST", "/api/v1" + path, json.dumps(body).encode(), token)))
        commit = {name: 1 for name in ("sequence", "fencing_token", "stored_size", "plain_size", "first_ms", "last_ms", "flags", "compress_us", "encrypt_us", "hash_us", "store_us", "total_us")}
        cases.append(("a commit under a token nobody has", request(pipeline, "POST", f"/api/v1/recordings/{session}/commits", json.dumps({**commit, "sequence": 10**6, "fencing_token": 10**6}).encode(), token)))
        self.all_refused("session-pipeline: forged leases, commits and reports", cases, 400, 404, 409, 422)
        self.api.finish(session)
        verified = self.api.ask("POST", f"/sessions/{session}/verify")
        report.check("the recording under attack is complete and verified", verified.status == 200 and verified.json["verified"] and verified.json["complete"], verified.body[:500])


def b3(data):
    return bytes.fromhex(subprocess.run(["b3sum", "--no-names"], input=data, capture_output=True, check=True).stdout.decode().strip())


def first_segment(data, session):
    """Segment 0 of a session, cut out of the recorder's spool by docs/formats/spool.md."""
    for path in sorted((data / "recorder/spool").iterdir()):
        spool = path.read_bytes()
        segment, at = spool[:104], 104
        while at + 72 <= len(spool) and spool[at:at + 4] == b"LBAT":
            size = 72 + 24 + int.from_bytes(spool[at + 36:at + 40], "little")
            if spool[at + 8:at + 24] == session and spool[at + 24:at + 32] == bytes(8):
                segment += spool[at:at + size]
            at += size
        if len(segment) > 104:
            return segment
    raise RuntimeError("the spool holds no segment 0 any more")


def listing(data):
    """The files below DATA; SQLite's journals come and go by its own rules."""
    return {str(p.relative_to(data)) for p in data.rglob("*") if not p.name.endswith(("-wal", "-shm", "-journal"))}


def attack(suite, cluster, before):
    parallel(lambda step: step(), [lambda name=name, step=step: step(name) for name in SERVICES for step in (suite.ids, suite.doors, suite.methods, suite.bodies)], 4)
    suite.rules()
    report.check("hostile requests leave no file behind", listing(cluster.data) == before, sorted(listing(cluster.data) ^ before))
    kept = request(suite.ports["session-storage"], "GET", "/api/v1/sessions", token=service_token(cluster.data)).json
    report.check("storage knows no session from hostile requests", kept["sessions"] == [], kept)
    kept = request(suite.ports["session-pipeline"], "GET", "/api/v1/recordings", token=service_token(cluster.data)).json
    report.check("the pipeline knows no recording from hostile requests", kept["recordings"] == [], kept)
    suite.transitions()
    suite.headers()
    suite.segments()


def main():
    with tempfile.TemporaryDirectory(prefix="lucid-hostile-") as work:
        (pathlib.Path(work) / "data").mkdir(mode=0o700)
        cluster, screen = Cluster(work), Screen(work)
        try:
            screen.start("xterm", "-geometry", "80x24", "-e", "sh", "-c", "while :; do date +%N; sleep 0.2; done")
            suite = Suite(cluster, screen)
            pids = {name: service.process.pid for name, service in cluster.services.items()}
            before = listing(cluster.data)
            held = threading.Semaphore(0)
            slow = [threading.Thread(target=suite.slow, args=(name, held)) for name in SERVICES]
            for thread in slow:
                thread.start()
            for _ in slow:
                held.acquire()
            try:
                attack(suite, cluster, before)
            finally:
                for thread in slow:
                    thread.join()
            report.check("all five services are healthy", cluster.healthy())
            report.check("none of them was restarted", pids == {name: service.process.pid for name, service in cluster.services.items()} and not any(s.restarts for s in cluster.services.values()))
            session = suite.api.begin(screen.display)
            wait(lambda: suite.api.get(f"/sessions/{session}")["chunks"] >= 1, 20, "a chunk")
            suite.api.finish(session)
            report.check("a recording afterwards is verified", suite.api.ask("POST", f"/sessions/{session}/verify").json["verified"])
            left = [p for p in listing(cluster.data) if p.endswith((".tmp", ".new", ".partial", "~"))]
            report.check("no half-written file is left", not left, left)
        finally:
            screen.stop()
            cluster.stop()
        for log in sorted(pathlib.Path(work).glob("*.log")):
            unexpected = [line for line in log.read_text(errors="replace").splitlines() if "failed unexpectedly" in line or "terminate called" in line]
            report.check(f"{log.stem}: nothing failed unexpectedly", not unexpected, unexpected[:3])
    return report.end()


sys.exit(main())
