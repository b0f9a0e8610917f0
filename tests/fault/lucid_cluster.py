"""Runs the session services (and, when asked, those of RDP) as one process each under a supervisor that restarts what dies, as Docker's `restart: always` does.

Used by the fault suites. Everything started here is ended by stop(), by process id.
"""
import json
import os
import pathlib
import random
import subprocess
import threading
import time
import urllib.error
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
# Only the suites of RDP desktops make any ahead; there is one xrdp-sesman to a host.
os.environ.setdefault("WARM_SERVERS", "0")
BIN = pathlib.Path(os.environ.get("LUCID_BIN", ROOT / "out/release/bin"))
SERVICES = {"session-storage": 8086, "session-pipeline": 8083, "chunk-processor": 8085, "session-recorder": 8084, "session-api": 8087}


# Those of RDP desktops; they need root.
RDP_SERVICES = {"rdp-server-manager": 8081, "session-controller": 8082, "xrdp-integration": 8089}
# The ten.
ALL_SERVICES = {**SERVICES, **RDP_SERVICES, "node-management": 8095, "resource-monitor": 8090}


class Service:
    """One service process, restarted at once whenever it ends."""

    def __init__(self, name, data, offset, flags=(), log=None, environment=None):
        self.name, self.data, self.offset, self.flags, self.environment = name, data, offset, list(flags), environment or {}
        self.restarts = -1
        self.stopping = False
        self.process = None
        self.log = open((log or data.parent) / f"{name}.log", "ab")
        self._start()
        self.thread = threading.Thread(target=self._supervise, daemon=True)
        self.thread.start()

    def _start(self):
        environment = dict(os.environ, LUCID_PORT_OFFSET=str(self.offset), LOG_LEVEL="warn", **self.environment)
        self.process = subprocess.Popen([BIN / self.name, "--data", self.data, *self.flags], env=environment, stdout=self.log, stderr=self.log)
        self.restarts += 1

    def _supervise(self):
        while not self.stopping:
            self.process.wait()
            if not self.stopping:
                self._start()

    def kill(self):
        """kill -9; answers the moment."""
        process, at = self.process, time.monotonic()
        process.kill()
        process.wait()
        return at

    def stop(self):
        self.stopping = True
        self.process.terminate()
        try:
            self.process.wait(15)
        except subprocess.TimeoutExpired:
            self.process.kill()
        self.log.close()


class Cluster:
    def __init__(self, work, data=None, flags=None, services=SERVICES, environment=None):
        """`flags`: further arguments, `environment`: further variables of a service by its name."""
        self.work = pathlib.Path(work)
        self.data = pathlib.Path(data or self.work / "data")
        self.offset = random.randrange(2000, 20000)
        self.services = {name: Service(name, self.data, self.offset, (flags or {}).get(name, ()), self.work, (environment or {}).get(name)) for name in services}
        self.ports = services
        self.url = f"http://127.0.0.1:{8087 + self.offset}"
        self.token = None
        try:
            self.wait(self.healthy, 20, "the services to answer")
        except TimeoutError:
            self.stop()
            raise
        self.token = (self.data / "keys/admin.token").read_text().strip()

    def stop(self):
        for service in self.services.values():
            service.stop()

    @staticmethod
    def wait(condition, seconds, what):
        began = time.monotonic()
        while time.monotonic() - began < seconds:
            if condition():
                return time.monotonic() - began
            time.sleep(0.02)
        raise TimeoutError(f"waited {seconds} s for {what}")

    def healthy(self):
        """Every service answers /health with its checks in order."""
        try:
            for port in self.ports.values():
                with urllib.request.urlopen(f"http://127.0.0.1:{port + self.offset}/health", timeout=1):
                    pass
            return True
        except (urllib.error.URLError, OSError):
            return False

    def call(self, method, path, body=None, timeout=10):
        """(status, bytes) of a request to session-api; status 0 when it is away."""
        request = urllib.request.Request(self.url + path, method=method, data=None if body is None else json.dumps(body).encode())
        request.add_header("Authorization", f"Bearer {self.token}")
        if body is not None:
            request.add_header("Content-Type", "application/json")
        try:
            with urllib.request.urlopen(request, timeout=timeout) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()
        except (urllib.error.URLError, OSError):
            return 0, b""

    def json(self, method, path, body=None, timeout=20):
        status, answer = self.call(method, path, body, timeout)
        if status >= 300 or status == 0:
            raise RuntimeError(f"{method} {path}: {status} {answer[:300]!r}")
        return json.loads(answer) if answer else None

    def cli(self, *arguments, check=True):
        environment = dict(os.environ, LUCID_URL=self.url, LUCID_TOKEN=self.token)
        return subprocess.run([BIN / "lucid", *arguments], env=environment, text=True, capture_output=True, check=check)


class Desktop:
    """An Xvfb whose picture changes ten times a second, so that a hole in a recording shows as a hole between frames."""

    def __init__(self, work, script):
        read, write = os.pipe()
        self.log = open(pathlib.Path(work) / "desktop.log", "ab")
        self.xvfb = subprocess.Popen(["Xvfb", "-displayfd", str(write), "-screen", "0", "1280x720x24", "-nolisten", "tcp", "-ac"], pass_fds=[write],
                                     stdout=self.log, stderr=self.log)
        os.close(write)
        self.display = ":" + os.fdopen(read).readline().strip()
        environment = dict(os.environ, DISPLAY=self.display)
        self.client = subprocess.Popen(["xterm", "-geometry", "120x40+20+20", "-e", "sh", "-c", script], env=environment, stdout=self.log, stderr=self.log)

    def stop(self):
        for process in (self.client, self.xvfb):
            process.terminate()
            process.wait()
        self.log.close()
