"""What the integration suites share: one line a check, raw HTTP (also malformed), service tokens, small X desktops.

Everything started here is ended by its owner's stop(), by process id.
"""
import base64
import collections
import hashlib
import hmac
import http.client
import json
import os
import pathlib
import re
import socket
import subprocess
import sys
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/fault"))
from lucid_cluster import ALL_SERVICES, BIN, SERVICES, Cluster  # noqa: E402,F401

wait = Cluster.wait


class Report:
    """Counts and prints checks; any thread."""

    def __init__(self, name):
        self.name, self.good, self.bad, self.began = name, 0, 0, time.monotonic()
        self.lock = threading.Lock()

    def check(self, what, good, detail=""):
        with self.lock:
            self.good, self.bad = self.good + bool(good), self.bad + (not good)
            print(f"ok   {what}" if good else f"FAIL {what}: {str(detail)[:600]}", flush=True)
        return bool(good)

    def end(self):
        print(f"{self.name}: {self.good} checks good, {self.bad} failed, {time.monotonic() - self.began:.1f} s", flush=True)
        return 1 if self.bad else 0


class Answer(collections.namedtuple("Answer", "status headers body")):
    @property
    def json(self):
        return json.loads(self.body)

    @property
    def code(self):
        try:
            return self.json.get("code")
        except (ValueError, AttributeError):
            return None

    def fault(self, *statuses):
        """Why this is not a proper problem (of one of these statuses), or an empty text."""
        if statuses and self.status not in statuses:
            return f"status {self.status}, not {statuses}: {self.body[:300]!r}"
        if not 400 <= self.status < 500 and self.status not in (503, 507):
            return f"status {self.status} is no refusal: {self.body[:300]!r}"
        if self.headers.get("content-type") != "application/problem+json":
            return f"content type {self.headers.get('content-type')!r} of status {self.status}"
        try:
            problem = json.loads(self.body)
        except ValueError as error:
            return f"body is no JSON: {error}"
        for member in ("type", "title", "status", "detail", "code", "request_id"):
            if not problem.get(member):
                return f"no {member}: {problem}"
        if problem["status"] != self.status or not re.fullmatch("[a-z][a-z0-9_]*", problem["code"]):
            return f"status or code wrong: {problem}"
        if len(self.body) > 20_000:
            return f"a problem of {len(self.body)} bytes"
        return ""


def connect(port, timeout=20):
    return socket.create_connection(("127.0.0.1", port), timeout)


def read_answer(sock, method="GET"):
    response = http.client.HTTPResponse(sock, method=method)
    response.begin()
    return Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())


def raw(port, data, method="GET", timeout=20):
    """Sends bytes as they are; status 0 when the connection ends without an answer."""
    with connect(port, timeout) as sock:
        try:
            sock.sendall(data)
        except OSError:
            pass                              # refused early: the answer may still be there
        try:
            return read_answer(sock, method)
        except (OSError, http.client.HTTPException) as error:
            return Answer(0, {}, repr(error).encode())


def request(port, method, target, body=None, token=None, headers=None, timeout=20):
    """Any method, target and body, also those no client library would send. `headers` with value None leave one out."""
    fields = {"Host": "127.0.0.1", "Connection": "close"}
    if body is not None:
        fields["Content-Length"] = str(len(body))
        fields["Content-Type"] = "application/json"
    if token is not None:
        fields["Authorization"] = f"Bearer {token}"
    fields.update(headers or {})
    head = f"{method} {target} HTTP/1.1\r\n" + "".join(f"{k}: {v}\r\n" for k, v in fields.items() if v is not None) + "\r\n"
    return raw(port, head.encode("latin-1") + (body or b""), method, timeout)


def hkdf(key, info, length=32):
    extracted = hmac.new(bytes(32), key, hashlib.sha256).digest()
    return hmac.new(extracted, info + b"\x01", hashlib.sha256).digest()[:length]


def key_bytes(text):
    """The 32 bytes of a key's text form `prefix:base64url`."""
    encoded = text.strip().split(":")[-1]
    return base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4))


def service_token(data, service="session-recorder", lifetime=60, secret=None):
    """A service token made from the deployment's key (or another secret) as lib/crypto/service_token.hpp describes it."""
    secret = secret if secret is not None else key_bytes((data / "keys/service.key").read_text())
    body = f"v1.{service}.{int(time.time()) + lifetime}"
    mac = hmac.new(hkdf(secret, b"lucid service token v1"), body.encode(), hashlib.sha256).digest()
    return body + "." + base64.urlsafe_b64encode(mac).decode().rstrip("=")


def parallel(function, items, threads=8):
    """Runs function(item) for every item on a few threads; an exception of one is raised here."""
    todo, failed, lock = list(items), [], threading.Lock()

    def work():
        while True:
            with lock:
                if not todo or failed:
                    return
                item = todo.pop()
            try:
                function(item)
            except BaseException as error:
                failed.append(error)

    running = [threading.Thread(target=work) for _ in range(threads)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    if failed:
        raise failed[0]


class Screen:
    """An Xvfb with the programs started on it."""

    def __init__(self, work, size="1280x720"):
        read, write = os.pipe()
        self.log = open(pathlib.Path(work) / "screens.log", "ab")
        # -noreset: the last client's going must not restart the server under the recorder.
        self.xvfb = subprocess.Popen(["Xvfb", "-displayfd", str(write), "-screen", "0", f"{size}x24", "-nolisten", "tcp", "-ac", "-noreset"], pass_fds=[write],
                                     stdout=self.log, stderr=self.log)
        os.close(write)
        self.display = ":" + os.fdopen(read).readline().strip()
        self.environment = dict(os.environ, DISPLAY=self.display)
        self.programs = []

    def start(self, *command):
        program = subprocess.Popen(command, env=self.environment, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)
        self.programs.append(program)
        return program

    def run(self, *command, check=True, timeout=20, **more):
        return subprocess.run(command, env=self.environment, check=check, timeout=timeout, capture_output=True, **more)

    def window(self, name):
        """The id of the visible window of that title."""
        return self.run("xdotool", "search", "--sync", "--onlyvisible", "--name", f"^{name}$").stdout.split()[0].decode()

    def kill_server(self):
        self.xvfb.kill()
        self.xvfb.wait()

    def stop(self):
        for process in (*reversed(self.programs), self.xvfb):
            if process.poll() is None:
                process.terminate()
                try:
                    process.wait(5)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
        self.log.close()


class Api:
    """Sessions over session-api, for a server that has `url`-less port and token."""

    def __init__(self, port, token):
        self.port, self.token = port, token

    def ask(self, method, path, body=None, **more):
        return request(self.port, method, "/api/v1" + path, None if body is None else json.dumps(body).encode(), self.token, **more)

    def get(self, path):
        answer = self.ask("GET", path)
        if answer.status != 200:
            raise RuntimeError(f"GET {path}: {answer.status} {answer.body[:300]!r}")
        return answer.json

    def begin(self, display, name="integration", **recording):
        answer = self.ask("POST", "/sessions", {"name": name, "target": {"kind": "display", "display": display}, "recording": {"digests": "all", **recording}})
        assert answer.status == 201, answer
        session = answer.json["id"]
        started = self.ask("POST", f"/sessions/{session}/start")
        assert started.status == 200, started
        return session

    def status(self, session):
        return self.get(f"/sessions/{session}")["status"]

    def act(self, session, action):
        return self.ask("POST", f"/sessions/{session}/{action}")

    def reach(self, session, status, seconds=20):
        wait(lambda: self.status(session) == status, seconds, f"session {session} to be {status}, it is {self.status(session)}")

    def finish(self, session):
        answer = self.act(session, "stop")
        assert answer.status == 200, answer
        self.reach(session, "completed", 30)

    def events(self, session, kinds=None):
        answer = self.ask("GET", f"/sessions/{session}/events" + (f"?kinds={kinds}" if kinds else ""), headers={"Accept": "application/x-ndjson"})
        assert answer.status == 200, answer
        return [json.loads(line) for line in answer.body.splitlines()]
