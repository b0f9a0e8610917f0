#!/usr/bin/env python3
"""Cost of capturing a 1920x1080 desktop, against ffmpeg -f x11grab (x264 ultrafast, 15 fps) looking at the same display at the same time.

    tests/performance/capture.py [--server xvfb|xorgxrdp] [--seconds 60] [--only idle,typing] [--json]

Workloads: idle, blinking cursor, typing 5 keys/s, scrolling 20 lines/s, browsing in bursts (Chromium), a window dragged for 2 s of every 4 s and resized, video 640x360 at 25 fps; all on a
photo-like wallpaper. For each: CPU of the recorder process in % of one core, resident memory, bytes stored as MB an hour, frames, and the
same of ffmpeg. The recorder's figures include keyframes. Ends with whether every replayed frame was exact.

--server xorgxrdp records a real RDP session instead: an xrdp and an xrdp-sesman of its own, xorgxrdp's Xorg under a temporary account, and
xfreerdp attached to it on an Xvfb. It needs root (accounts, PAM), port 3350 free (xrdp finds its sesman there and nowhere else), and removes
the account, its home and every process again.
"""
import argparse
import json
import os
import pathlib
import pwd
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "fault"))
from lucid_cluster import Cluster

# name: (CPU %, MB/h) of design targets 2 and 3
TARGETS = {"idle": (0.05, 0.0), "blink": (0.1, 0.5), "typing": (0.3, 10), "scrolling": (4, 50), "browsing": (4, 420), "moves": (3, 225), "video": (8, None)}


def cpu_seconds(pid):
    """Time on a CPU of all threads, from the scheduler's nanoseconds (ticks of 10 ms would be too coarse for an idle recorder)."""
    return sum(int((task / "schedstat").read_text().split()[0]) for task in pathlib.Path(f"/proc/{pid}/task").iterdir()) / 1e9


def rss_mb(pid):
    """Resident memory without pages shared with the X server (MIT-SHM), and with them."""
    values = dict(line.split(":", 1) for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines() if ":" in line)
    kib = lambda key: int(values[key].split()[0])
    return kib("VmRSS") / 1024


class Screen:
    """A 1920x1080 X server with openbox and a photo-like wallpaper; workloads are child processes."""

    def __init__(self, work):
        self.work = pathlib.Path(work)
        self.log = open(self.work / "screen.log", "ab")
        self.children = []
        self.target = {"kind": "display"}
        self.environment = dict(os.environ)
        try:
            self.serve()
            self.target["display"] = self.environment["DISPLAY"] = self.display
            self.start(["openbox"])
            photo = self.work / "photo.png"
            subprocess.run(["/usr/bin/convert", "-size", "960x540", "-seed", "5", "plasma:fractal", "-resize", "1920x1080!", "-attenuate", "0.03", "+noise", "Gaussian", str(photo)], check=True)
            subprocess.run(["hsetroot", "-fill", str(photo)], env=self.environment, check=True, stdout=self.log, stderr=self.log)
        except BaseException:
            self.stop()
            raise

    def serve(self):
        self.display = self.xvfb()

    def xvfb(self):
        read, write = os.pipe()
        self.start(["Xvfb", "-displayfd", str(write), "-screen", "0", "1920x1080x24", "-nolisten", "tcp", "-ac"], pass_fds=[write])
        os.close(write)
        return ":" + os.fdopen(read).readline().strip()

    def start(self, command, **more):
        process = subprocess.Popen(command, **{"env": self.environment, "stdout": self.log, "stderr": self.log, **more})
        self.children.append(process)
        return process

    def end(self, process):
        process.terminate()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        self.children.remove(process)

    def stop(self):
        for process in reversed(self.children[:]):
            self.end(process)
        self.log.close()


class RdpScreen(Screen):
    """The same on xorgxrdp's Xorg, in an RDP session whose client looks on."""

    user = None

    def serve(self):
        if os.geteuid() != 0:
            raise SystemExit("--server xorgxrdp needs root: it makes an account and logs it in")
        port = self.free_port()
        self.configure(port)
        password = secrets.token_urlsafe(18)
        name = "lucid-" + secrets.token_hex(4)
        subprocess.run(["useradd", "--create-home", "--shell", "/bin/sh", name], check=True, stdout=self.log, stderr=self.log)
        self.user = pwd.getpwnam(name)
        subprocess.run(["chpasswd"], input=f"{name}:{password}\n", text=True, check=True)
        self.start(["xrdp-sesman", "--nodaemon", "--config", str(self.work / "sesman.ini")])
        self.start(["xrdp", "--nodaemon", "--config", str(self.work / "xrdp.ini")])
        for wanted in (port, 3350):
            Cluster.wait(lambda: self.answers(wanted), 15, f"port {wanted} to answer")
        client = dict(os.environ, DISPLAY=self.xvfb())
        process = self.start(["xfreerdp", f"/v:127.0.0.1:{port}", f"/u:{name}", "/from-stdin:force", "/size:1920x1080", "/bpp:32", "/cert:ignore", "/audio-mode:1",
                              "-clipboard", "-grab-keyboard"], env=client, stdin=subprocess.PIPE)
        process.stdin.write(f"{password}\n".encode())
        process.stdin.close()
        for _ in range(300):
            if process.poll() is not None or self.session_display():
                break
            time.sleep(0.1)
        self.display = self.session_display()
        if not self.display:
            logs = "".join((self.work / log).read_text()[-2000:] for log in ("screen.log", "sesman.log", "xrdp.log"))
            raise SystemExit(f"the RDP session did not begin: {logs}")
        authority = pathlib.Path(self.user.pw_dir) / ".Xauthority"
        self.target["xauthority"] = self.environment["XAUTHORITY"] = str(authority)
        screen = lambda: subprocess.run(["xdotool", "getdisplaygeometry"], env=dict(self.environment, DISPLAY=self.display), capture_output=True, text=True).stdout.strip()
        Cluster.wait(lambda: screen() == "1920 1080", 20, "the session to be 1920x1080")

    @staticmethod
    def free_port():
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            return probe.getsockname()[1]

    @staticmethod
    def answers(port):
        for address in ("::1", "127.0.0.1"):  # builds of xrdp-sesman with IPv6 listen on the first when told the second
            try:
                socket.create_connection((address, port), 1).close()
                return True
            except OSError:
                continue
        return False

    def configure(self, port):
        """The distribution's settings with a port, logs and a window manager (none) of our own."""
        if self.answers(3350):
            raise SystemExit("something listens on port 3350 already: end the other xrdp-sesman first")
        self.work.chmod(0o711)  # the session's account starts a script in it
        manager = self.work / "session.sh"
        manager.write_text("#!/bin/sh\nexec sleep infinity\n")
        manager.chmod(0o755)
        for name, changes in (("xrdp.ini", {"port": f"tcp://127.0.0.1:{port}", "autorun": "Xorg", "LogFile": self.work / "xrdp.log", "EnableSyslog": "false"}),
                              ("sesman.ini", {"EnableUserWindowManager": "false", "DefaultWindowManager": manager, "ReconnectScript": "/bin/true",
                                              "LogFile": self.work / "sesman.log", "EnableSyslog": "false"})):
            text = pathlib.Path("/etc/xrdp", name).read_text()
            for key, value in changes.items():
                text = re.sub(rf"(?m)^{key}=.*$", f"{key}={value}", text, count=1)
            (self.work / name).write_text(text)

    def processes(self):
        """The session's processes: everything of the account made for it."""
        found = []
        for entry in pathlib.Path("/proc").iterdir():
            try:
                if entry.name.isdigit() and entry.stat().st_uid == self.user.pw_uid:
                    found.append(entry)
            except FileNotFoundError:
                pass
        return found

    def session_display(self):
        for entry in self.processes():
            try:
                words = (entry / "cmdline").read_text().split("\0")
            except OSError:
                continue
            if words[0].endswith("Xorg") and pathlib.Path(f"/tmp/.X11-unix/X{words[1][1:]}").exists():
                return words[1]
        return None

    def stop(self):
        if not self.user:
            return super().stop()
        for signal_number in (signal.SIGTERM, signal.SIGKILL):
            for entry in self.processes():
                try:
                    os.kill(int(entry.name), signal_number)
                except ProcessLookupError:
                    pass
            try:
                Cluster.wait(lambda: not self.processes(), 5, "the session's processes to end")
                break
            except TimeoutError:
                continue
        super().stop()  # last, so that xrdp-sesman sees its session end
        subprocess.run(["userdel", "--remove", self.user.pw_name], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.user = None


def wait_window(screen, name):
    subprocess.run(["timeout", "45", "xdotool", "search", "--sync", "--onlyvisible", "--name", name], env=screen.environment, check=True, capture_output=True)


def workload(screen, name, work):
    """Starts a workload; answers what to end afterwards."""
    terminal = ["xterm", "-geometry", "110x38+60+60", "-T", "work", "-uc"]
    shell = lambda script: screen.start(["sh", "-c", script])
    if name == "idle":
        return []
    if name == "blink":
        started = [screen.start(terminal + ["-bc", "-e", "cat"])]
        wait_window(screen, "^work$")
        return started
    if name == "typing":
        started = [screen.start(terminal + ["-e", "cat"])]
        wait_window(screen, "^work$")
        # xdotool waits half of the given delay for each key: 400 ms are 5 keys a second.
        return started + [shell("while :; do xdotool type --delay 400 'The quick brown fox jumps over the lazy dog 0123456789. '; xdotool key Return; done")]
    if name == "scrolling":
        started = [screen.start(terminal + ["-e", "sh", "-c", 'i=0; while :; do i=$((i+1)); echo "$i $(echo $i | md5sum) line of a log that goes on"; sleep 0.047; done'])]
        wait_window(screen, "^work$")
        return started
    if name == "moves":
        started = [screen.start(terminal + ["-e", "sh", "-c", "seq 1 40; cat"])]
        wait_window(screen, "^work$")
        return started + [shell("w=$(xdotool search --name '^work$' | head -1); while :; do for d in 1 -1; do for s in $(seq 1 25); do [ $d = 1 ] && i=$s || i=$((26 - s)); xdotool windowmove $w $((100 + i * 13)) $((80 + i * 7)); sleep 0.07; done; "
                                "xdotool windowsize $w $((680 + d * 20)) $((480 + d * 20)); sleep 2; done; done")]
    if name == "browsing":
        page = pathlib.Path(work) / "page.html"
        page.write_text("<body style='font:16px sans-serif;width:900px'>" + "".join(
            f"<h2>Section {i}</h2><p>{'Lorem ipsum dolor sit amet, consectetur adipiscing elit. ' * 12}</p><div style='height:160px;background:linear-gradient({i * 17 % 360}deg,#{i * 7919 % 4096:03x},#{i * 104729 % 4096:03x})'></div>"
            for i in range(200)))
        # In a process of its own Chromium's software compositor asks for its window before xorgxrdp knows it, and shows nothing ever after.
        started = [screen.start(["chromium", "--no-sandbox", "--disable-gpu", "--in-process-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync",
                                 f"--user-data-dir={work}/chromium", "--window-size=1200,900", "--window-position=100,60", f"file://{page}"])]
        wait_window(screen, "Chromium")
        time.sleep(4)
        subprocess.run(["xdotool", "mousemove", "600", "500"], env=screen.environment, check=True)
        return started + [shell("while :; do for i in 1 2 3 4 5 6; do xdotool click 5; sleep 0.08; done; sleep 2; done")]
    if name == "video":
        started = [screen.start(["ffplay", "-loglevel", "quiet", "-an", "-window_title", "work", "-left", "300", "-top", "200", "-f", "lavfi", "testsrc2=size=640x360:rate=25"])]
        wait_window(screen, "^work$")
        return started
    raise ValueError(name)


def measure(cluster, screen, name, seconds, work):
    started = workload(screen, name, work)
    time.sleep(1)
    session = cluster.json("POST", "/api/v1/sessions", {"name": name, "target": screen.target})["id"]
    path = f"/api/v1/sessions/{session}"
    cluster.json("POST", path + "/start")
    time.sleep(2)
    clip = pathlib.Path(work) / f"{name}.mkv"
    ffmpeg = subprocess.Popen(["ffmpeg", "-loglevel", "error", "-y", "-f", "x11grab", "-framerate", "15", "-video_size", "1920x1080", "-i", screen.display,
                               "-c:v", "libx264", "-preset", "ultrafast", "-crf", "23", "-threads", "1", str(clip)], stdin=subprocess.PIPE, env=screen.environment)
    time.sleep(3)      # both are past their start; what follows is steady
    recorder = cluster.services["session-recorder"].process.pid
    stored = lambda: cluster.json("GET", path + "/index")["stored_bytes"]
    frames_before, bytes_before, clip_before = 0, stored(), clip.stat().st_size if clip.exists() else 0
    ours, theirs, began = cpu_seconds(recorder), cpu_seconds(ffmpeg.pid), time.monotonic()
    time.sleep(seconds)
    spent = time.monotonic() - began
    ours, theirs = cpu_seconds(recorder) - ours, cpu_seconds(ffmpeg.pid) - theirs
    memory, their_memory = rss_mb(recorder), rss_mb(ffmpeg.pid)
    steady = stored() - bytes_before
    ffmpeg.communicate(b"q")
    their_bytes = clip.stat().st_size - clip_before
    cluster.json("POST", path + "/stop")
    cluster.wait(lambda: cluster.json("GET", path)["status"] == "completed", 30, "the recording to complete")
    for process in reversed(started):
        screen.end(process)
    total = cluster.json("GET", path + "/index")
    replay = json.loads(cluster.cli("frames", session, "--digests", "--json").stdout)
    hourly = 3600 / spent / 1e6
    return {"workload": name, "cpu_percent": round(100 * ours / spent, 3), "mb_per_hour": round(steady * hourly, 2), "keyframe_bytes": total["stored_bytes"] - steady,
            "rss_mb": round(memory, 1), "frames": replay["frames"], "digests": replay["frames"] - replay["frames_without_digest"], "exact": replay["frames_exact"],
            "ffmpeg_cpu_percent": round(100 * theirs / spent, 2), "ffmpeg_mb_per_hour": round(their_bytes * hourly, 1), "ffmpeg_rss_mb": round(their_memory, 1)}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--server", choices=["xvfb", "xorgxrdp"], default="xvfb")
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--only", default=",".join(TARGETS))
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory(prefix="lucid-capture-") as work:
        (pathlib.Path(work) / "data").mkdir(mode=0o700)
        cluster = Cluster(work)
        screen = None
        try:
            screen = (RdpScreen if options.server == "xorgxrdp" else Screen)(work)
            for name in options.only.split(","):
                if name == "browsing" and not shutil.which("chromium"):
                    print("browsing: not run, chromium is not installed", file=sys.stderr)
                    continue
                rows.append(measure(cluster, screen, name, options.seconds, work))
                print(rows[-1], file=sys.stderr)
        finally:
            if screen:
                screen.stop()
            cluster.stop()
    if options.json:
        print(json.dumps(rows))
        return
    print(f"{'workload':10} {'CPU %':>8} {'target':>7} {'ffmpeg':>7} {'times':>6}   {'MB/h':>9} {'target':>7} {'ffmpeg':>9}   {'RSS MB':>7} {'keyframes':>10} {'frames':>7} exact")
    for r in rows:
        if r["workload"] != "idle" and r["frames"] < 10:
            print(f"{r['workload']:10} not measured: its program showed nothing")
            continue
        cpu, size = TARGETS[r["workload"]]
        times = r["ffmpeg_cpu_percent"] / max(r["cpu_percent"], 0.01)
        print(f"{r['workload']:10} {r['cpu_percent']:8.3f} {cpu:7} {r['ffmpeg_cpu_percent']:7} {times:6.0f}   {r['mb_per_hour']:9.2f} {'-' if size is None else size:>7} {r['ffmpeg_mb_per_hour']:9.1f}"
              f"   {r['rss_mb']:7.1f} {r['keyframe_bytes']:10} {r['frames']:7} {r['exact']}/{r['digests']}")


main()
