"""An RDP client with a screen of its own (Xvfb), driven as a person would, and looked at from outside.

xfreerdp gets the routing token; rdesktop can send none and is admitted by its account's name. Passwords go in by a pipe.
"""
import ctypes
import os
import pathlib
import subprocess
import tempfile
import time

from support import Screen, wait


BACKGROUND = 0x305070


class Pixels:
    """What an X display shows, read through libX11."""

    def __init__(self, display):
        self.x = ctypes.CDLL("libX11.so.6")
        self.x.XOpenDisplay.restype = ctypes.c_void_p
        self.x.XDefaultRootWindow.argtypes = [ctypes.c_void_p]
        self.x.XDefaultRootWindow.restype = ctypes.c_ulong
        self.x.XGetImage.argtypes = [ctypes.c_void_p, ctypes.c_ulong] + [ctypes.c_int] * 2 + [ctypes.c_uint] * 2 + [ctypes.c_ulong, ctypes.c_int]
        self.x.XGetImage.restype = ctypes.c_void_p
        self.x.XGetPixel.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_int]
        self.x.XGetPixel.restype = ctypes.c_ulong
        self.x.XDestroyImage.argtypes = self.x.XCloseDisplay.argtypes = [ctypes.c_void_p]
        self.display = self.x.XOpenDisplay(display.encode())
        self.root = self.x.XDefaultRootWindow(self.display)

    def row(self, x, y, width):
        image = self.x.XGetImage(self.display, self.root, x, y, width, 1, 0xFFFFFFFF, 2)
        pixels = [self.x.XGetPixel(image, i, 0) & 0xFFFFFF for i in range(width)]
        self.x.XDestroyImage(image)
        return pixels

    def close(self):
        self.x.XCloseDisplay(self.display)


class RdpClient:
    def __init__(self, work, offer, size="1024x768", program="xfreerdp", token=True):
        """`offer`: host, port, account, password, token as /connection answers them."""
        self.size = tuple(int(n) for n in size.split("x"))
        self.screen = Screen(work, size)
        self.pixels = Pixels(self.screen.display)
        self.log_path = os.path.join(str(work), f"{program}-{self.screen.display[1:]}.log")
        self.log = open(self.log_path, "ab")
        where = f"{offer['host']}:{offer['port']}"
        if program == "xfreerdp":
            command = ["xfreerdp", f"/v:{where}", f"/u:{offer['account']}", "/from-stdin:force", "/cert:ignore", f"/size:{size}"]
            if token and offer.get("token"):
                command.append(f"/load-balance-info:{offer['token']}")
            said = offer["password"] + "\n"
        else:
            # rdesktop asks for the password and then whether the certificate is to be trusted.
            command = ["rdesktop", "-u", offer["account"], "-p", "-", "-g", size, "-a", "24", "-D", where]
            said = offer["password"] + "\nyes\n"
        self.port, self.connected = offer["port"], None
        self.started = time.monotonic()
        self.process = subprocess.Popen(command, env=self.screen.environment, stdin=subprocess.PIPE, stdout=self.log, stderr=self.log)
        self.process.stdin.write(said.encode())
        self.process.stdin.close()

    def first_frame(self, seconds=20):
        """Seconds from the client's start until the desktop is seen: its background (openbox's here) on a row in the middle of the screen."""
        width, height = self.size
        while time.monotonic() - self.started < seconds:
            if self.connected is None and self.has_connection():
                self.connected = time.monotonic()
            if BACKGROUND in self.pixels.row(width // 4, height // 2, width // 2):
                return time.monotonic() - self.started
            if self.process.poll() is not None:
                raise RuntimeError(f"the client ended with {self.process.returncode}: {self.said()}")
            time.sleep(0.004)
        raise TimeoutError(f"no picture within {seconds} s: {self.said()}")

    def has_connection(self):
        """Whether someone has a TCP connection to the door: xfreerdp first measures its own processor, for half a second and more."""
        with open("/proc/net/tcp", encoding="ascii") as table:
            return any(f" 0100007F:{self.port:04X} 01 " in line for line in table)

    def said(self):
        with open(self.log_path, "rb") as log:
            return log.read()[-600:].decode(errors="replace")

    def alive(self):
        return self.process.poll() is None

    def xdotool(self, *arguments):
        self.screen.run("xdotool", *arguments)

    def open_terminal(self):
        """The first entry of openbox's menu, over the background."""
        width, height = self.size
        before = self.pixels.row(0, height // 2, width)
        for _ in range(5):   # a window manager that is not up yet has no menu
            self.xdotool("mousemove", str(width // 2), str(height * 2 // 3), "click", "3")
            time.sleep(0.5)
            self.xdotool("key", "Down", "Return")
            deadline = time.monotonic() + 4
            while time.monotonic() < deadline:
                if self.pixels.row(0, height // 2, width) != before:
                    time.sleep(0.5)   # the shell's prompt
                    return
                time.sleep(0.05)
            self.xdotool("key", "Escape")
        raise TimeoutError("no terminal opened")

    def type(self, text):
        self.xdotool("type", "--delay", "25", text)

    def enter(self, text):
        """A line at the shell's prompt. Return by its name: xdotool's newline is a key this X server has no place for."""
        self.type(text)
        self.xdotool("key", "Return")

    def stop(self):
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(5)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.pixels.close()
        self.screen.stop()
        self.log.close()


def open_desktop(api, work, name):
    """(session id, client) of a new recorded desktop, a client connected, a terminal open on it."""
    answer = api.ask("POST", "/sessions", {"name": name, "target": {"kind": "rdp", "resolution": "1024x768"}})
    assert answer.status == 201, answer
    session = answer.json["id"]
    assert api.act(session, "start").status == 200
    wait(lambda: api.get(f"/sessions/{session}")["rdp"]["state"] == "ready", 30, "the desktop")
    client = RdpClient(work, api.get(f"/sessions/{session}/connection"))
    client.first_frame()
    client.open_terminal()
    return session, client


def readable_file(text, suffix):
    """A file every account may read; its owner unlinks it."""
    handle, path = tempfile.mkstemp(prefix="lucid-", suffix=suffix)
    with os.fdopen(handle, "w") as file:
        file.write(text)
    os.chmod(path, 0o644)
    return pathlib.Path(path)
