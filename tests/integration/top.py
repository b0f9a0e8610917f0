#!/usr/bin/env python3
"""`lucid top` of a real cluster: text for pipes, JSON, and the live view under a pseudo-terminal: resized, sorted, without its server, ended
in every way with the terminal put back.

    tests/integration/top.py
"""
import fcntl
import json
import os
import pathlib
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import tempfile
import termios
import time

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from support import BIN, SERVICES, Cluster, Report

report = Report("top")
ENTER, LEAVE = b"\x1b[?1049h", b"\x1b[?1049l"


class View:
    """`lucid top` under a pseudo-terminal, with a screen as the last frame drew it."""

    def __init__(self, environment, rows=30, columns=100, program=(BIN / "lucid",), arguments=("top", "--interval", "1"), **more):
        self.master, self.slave = pty.openpty()
        self.before = termios.tcgetattr(self.slave)
        self.resize(rows, columns, tell=False)
        self.seen = b""
        variables = {**os.environ, "TERM": "xterm-256color", "LANG": "C.UTF-8", "LC_ALL": "C.UTF-8", **environment, **more}
        self.process = subprocess.Popen([*program, *arguments], stdin=self.slave, stdout=self.slave, stderr=self.slave, env=variables, start_new_session=True)

    def resize(self, rows, columns, tell=True):
        fcntl.ioctl(self.slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        if tell:
            self.process.send_signal(signal.SIGWINCH)

    def read(self, seconds):
        if select.select([self.master], [], [], seconds)[0]:
            self.seen += os.read(self.master, 65536)

    def until(self, condition, seconds=15):
        """Reads until `condition(self)`; false when it did not come."""
        end = time.monotonic() + seconds
        while not condition(self):
            if time.monotonic() > end:
                return False
            self.read(0.1)
        return True

    def frame(self):
        """Lines of the last whole frame, without colours."""
        frames = self.seen.split(b"\x1b[H")[1:]
        whole = [f.split(b"\x1b[J")[0] for f in frames if b"\x1b[J" in f]
        text = whole[-1].decode() if whole else ""
        return re.split("\r+\n", re.sub("\x1b\\[[0-9;]*[mK]", "", text))

    def shows(self, text):
        return self.until(lambda view: any(text in line for line in view.frame()))

    def key(self, key):
        os.write(self.master, key)

    def end(self):
        """The exit code, everything drawn read."""
        end = time.monotonic() + 15
        while self.process.poll() is None and time.monotonic() < end:
            self.read(0.1)
        if self.process.poll() is None:
            self.process.kill()
        code = self.process.wait()
        while select.select([self.master], [], [], 0.1)[0]:
            self.read(0)
        return code

    def restored(self):
        after = termios.tcgetattr(self.slave)
        return self.seen.count(ENTER) == self.seen.count(LEAVE) > 0 and self.seen.rstrip().endswith(LEAVE) and b"\x1b[?25h" in self.seen and after == self.before

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self.master)
        os.close(self.slave)


def check_text(environment, program=(BIN / "lucid",)):
    clean = {**os.environ, **environment, "TERM": "xterm", "LC_ALL": "C"}
    done = subprocess.run([*program, "top"], env=clean, capture_output=True, timeout=30)
    report.check("a pipe gets one report as plain ASCII", done.returncode == 0 and b"SESSION" in done.stdout and b"SERVICE" in done.stdout and b"\x1b" not in done.stdout
                 and max(done.stdout) < 0x80 and not done.stderr, done)
    done = subprocess.run([*program, "top", "--json"], env=clean, capture_output=True, timeout=30)
    merged = json.loads(done.stdout or b"{}")
    report.check("--json has all four parts", set(merged) == {"host", "services", "sessions", "alerts"} and 0 <= merged["host"]["memory"]["used_ratio"] <= 1, done)
    dumb = View(environment, program=program, TERM="dumb")
    report.check("a dumb terminal gets the report without sequences", dumb.end() == 0 and b"SERVICE" in dumb.seen and b"\x1b" not in dumb.seen, dumb.seen[-300:])
    dumb.close()
    once = View(environment, program=program, arguments=("top", "--once"))
    report.check("--once in a terminal is the report", once.end() == 0 and b"SERVICE" in once.seen and ENTER not in once.seen, once.seen[-300:])
    once.close()


def check_live(environment, program=(BIN / "lucid",)):
    view = View(environment, program=program)
    report.check("a terminal gets a live view", view.shows("SERVICE") and view.shows("q quit") and len(view.frame()) == 30, view.frame())
    report.check("keys are not echoed and not waited for", termios.tcgetattr(view.slave)[3] & (termios.ECHO | termios.ICANON) == 0)
    report.check("with colours and block elements", view.until(lambda v: b"\x1b[1m" in v.seen and any(chr(c).encode() in v.seen for c in range(0x2581, 0x2590)), 20), view.seen[-2000:])
    first = view.frame()[0]
    report.check("it looks again by itself", view.until(lambda v: v.frame()[0] not in ("", first), 20), first)
    view.key(b"m")
    report.check("m sorts by memory", view.shows("MEM*"), view.frame())
    view.key(b"f")
    report.check("f sorts by frames", view.shows("FPS*"), view.frame())
    for rows, columns in ((10, 40), (50, 160), (24, 80)):
        view.resize(rows, columns)
        good = view.until(lambda v: len(v.frame()) == rows and max(map(len, v.frame())) <= columns)
        report.check(f"it is drawn anew at {columns}x{rows}, cut", good and any("quit" in line for line in view.frame()), view.frame())
    view.key(b"q")
    report.check("q ends it with the terminal as before", view.end() == 0 and view.restored(), view.seen[-200:])
    view.close()
    for name, how in (("Ctrl-C", signal.SIGINT), ("SIGTERM", signal.SIGTERM), ("SIGHUP", signal.SIGHUP)):
        view = View(environment, program=program)
        view.shows("SERVICE")
        view.process.send_signal(how)
        report.check(f"{name} ends it with the terminal as before", view.end() == 0 and view.restored(), view.seen[-200:])
        view.close()
    plain = View(environment, program=program, NO_COLOR="1", LC_ALL="C")
    plain.shows("SERVICE")
    report.check("NO_COLOR and a locale without UTF-8 are honoured", b"\x1b[1m" not in plain.seen and b"\x1b[31m" not in plain.seen and max(plain.seen) < 0x80)
    plain.key(b"q")
    report.check("and that view ends well too", plain.end() == 0 and plain.restored(), plain.seen[-200:])
    plain.close()


def check_server_away(environment, stop, start, program=(BIN / "lucid",)):
    view = View(environment, program=program, columns=160)
    view.shows("SERVICE")
    stop()
    report.check("a server that goes away is said, with the last numbers kept", view.shows("server away") and view.shows("SERVICE"), view.frame())
    start()
    report.check("and it goes on when the server is back", view.until(lambda v: "server away" not in v.frame()[0], 40), view.frame())
    view.key(b"q")
    report.check("then ends with the terminal as before", view.end() == 0 and view.restored(), view.seen[-200:])
    view.close()
    environment = {**environment, "LUCID_URL": "http://127.0.0.1:1"}
    nobody = View(environment, program=program)
    report.check("no server at the start is exit code 3, before the screen is taken", nobody.end() == 3 and ENTER not in nobody.seen, nobody.seen)
    nobody.close()


def main():
    with tempfile.TemporaryDirectory() as work:
        cluster = Cluster(work, services={**SERVICES, "resource-monitor": 8090})
        try:
            environment = {"LUCID_URL": cluster.url, "LUCID_TOKEN": cluster.token}
            Cluster.wait(lambda: cluster.call("GET", "/api/v1/monitor/host")[0] == 200, 30, "the monitor's first look")
            check_text(environment)
            check_live(environment)
            api = cluster.services["session-api"]
            # Stopped and continued, so that its supervisor does not start another: calls run into their time limit.
            check_server_away(environment, lambda: api.process.send_signal(signal.SIGSTOP), lambda: api.process.send_signal(signal.SIGCONT))
        finally:
            cluster.stop()
    return report.end()


if __name__ == "__main__":
    sys.exit(main())
