#!/usr/bin/env python3
"""Cost of capturing a 1920x1080 desktop, against ffmpeg -f x11grab (x264 ultrafast, 15 fps) looking at the same display at the same time.

    tests/performance/capture.py [--seconds 60] [--only idle,typing] [--json]

Workloads: idle, blinking cursor, typing 5 keys/s, scrolling 20 lines/s, browsing in bursts (Chromium), a window dragged for 2 s of every 4 s and resized, video 640x360 at 25 fps; all on a
photo-like wallpaper. For each: CPU of the recorder process in % of one core, resident memory, bytes stored as MB an hour, frames, and the
same of ffmpeg. The recorder's figures include keyframes. Ends with whether every replayed frame was exact.
"""
import argparse
import json
import os
import pathlib
import shutil
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
    """An Xvfb 1920x1080 with openbox and a photo-like wallpaper; workloads are child processes."""

    def __init__(self, work):
        self.log = open(pathlib.Path(work) / "screen.log", "ab")
        self.children = []
        read, write = os.pipe()
        self.start(["Xvfb", "-displayfd", str(write), "-screen", "0", "1920x1080x24", "-nolisten", "tcp", "-ac"], pass_fds=[write])
        os.close(write)
        self.display = ":" + os.fdopen(read).readline().strip()
        self.environment = dict(os.environ, DISPLAY=self.display)
        self.start(["openbox"])
        photo = pathlib.Path(work) / "photo.png"
        subprocess.run(["/usr/bin/convert", "-size", "960x540", "-seed", "5", "plasma:fractal", "-resize", "1920x1080!", "-attenuate", "0.03", "+noise", "Gaussian", str(photo)], check=True)
        subprocess.run(["hsetroot", "-fill", str(photo)], env=self.environment, check=True, stdout=self.log, stderr=self.log)

    def start(self, command, **more):
        environment = getattr(self, "environment", dict(os.environ))
        process = subprocess.Popen(command, env=environment, stdout=self.log, stderr=self.log, **more)
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


def wait_window(screen, name):
    subprocess.run(["timeout", "15", "xdotool", "search", "--sync", "--onlyvisible", "--name", name], env=screen.environment, check=True, capture_output=True)


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
        return started + [shell("while :; do xdotool type --delay 200 'The quick brown fox jumps over the lazy dog 0123456789. '; xdotool key Return; done")]
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
        started = [screen.start(["chromium", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync",
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
    session = cluster.json("POST", "/api/v1/sessions", {"name": name, "target": {"kind": "display", "display": screen.display}})["id"]
    path = f"/api/v1/sessions/{session}"
    cluster.json("POST", path + "/start")
    time.sleep(2)
    clip = pathlib.Path(work) / f"{name}.mkv"
    ffmpeg = subprocess.Popen(["ffmpeg", "-loglevel", "error", "-y", "-f", "x11grab", "-framerate", "15", "-video_size", "1920x1080", "-i", screen.display,
                               "-c:v", "libx264", "-preset", "ultrafast", "-crf", "23", "-threads", "1", str(clip)], stdin=subprocess.PIPE)
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
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--only", default=",".join(TARGETS))
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory(prefix="lucid-capture-") as work:
        (pathlib.Path(work) / "data").mkdir(mode=0o700)
        cluster = Cluster(work)
        try:
            screen = Screen(work)
            for name in options.only.split(","):
                if name == "browsing" and not shutil.which("chromium"):
                    print("browsing: not run, chromium is not installed", file=sys.stderr)
                    continue
                rows.append(measure(cluster, screen, name, options.seconds, work))
                print(rows[-1], file=sys.stderr)
            screen.stop()
        finally:
            cluster.stop()
    if options.json:
        print(json.dumps(rows))
        return
    print(f"{'workload':10} {'CPU %':>8} {'target':>7} {'ffmpeg':>7} {'times':>6}   {'MB/h':>9} {'target':>7} {'ffmpeg':>9}   {'RSS MB':>7} {'keyframes':>10} {'frames':>7} exact")
    for r in rows:
        cpu, size = TARGETS[r["workload"]]
        times = r["ffmpeg_cpu_percent"] / max(r["cpu_percent"], 0.01)
        print(f"{r['workload']:10} {r['cpu_percent']:8.3f} {cpu:7} {r['ffmpeg_cpu_percent']:7} {times:6.0f}   {r['mb_per_hour']:9.2f} {'-' if size is None else size:>7} {r['ffmpeg_mb_per_hour']:9.1f}"
              f"   {r['rss_mb']:7.1f} {r['keyframe_bytes']:10} {r['frames']:7} {r['exact']}/{r['digests']}")


main()
