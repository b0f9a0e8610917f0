#!/usr/bin/env python3
"""What resource-monitor says against what other tools say in the same second, while stress-ng works: within 2 %, all of it in one and the same look.

Usage: tests/integration/monitor.py. Needs root (an RDP desktop is opened, a network interface made) and stress-ng.
"""
import contextlib
import os
import pathlib
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from rdp_client import open_desktop, readable_file
from support import ALL_SERVICES, Api, Cluster, Report, request, wait

report = Report("monitor")
INTERVAL, ATTEMPTS = 5, 4
TICK = os.sysconf("SC_CLK_TCK")
CPU_WORK, MEMORY_MB = 60, 512
# A desktop's program that holds memory, computes two thirds of the time and writes.
PROGRAM = """import os, time
held = bytearray(os.urandom(1 << 20)) * 300
out = open("written", "wb")
while True:
    until = time.monotonic() + 0.01
    while time.monotonic() < until: pass
    out.write(held[:1 << 15]); out.flush()
    if out.tell() > 1 << 25: out.seek(0); out.truncate()
    time.sleep(0.005)
"""


def read(path):
    return pathlib.Path(path).read_text()


def cpu_times():
    """By hand from /proc/stat: {cpu: (busy, all)} in ticks."""
    found = {}
    for line in read("/proc/stat").splitlines():
        if line.startswith("cpu"):
            name, *fields = line.split()
            ticks = [int(f) for f in fields[:8]]
            found[name] = (sum(ticks) - ticks[3] - ticks[4], sum(ticks))
    return found


def family(roots):
    """Processes that descend from `roots`, by ps."""
    rows = [line.split() for line in subprocess.run(["ps", "-eo", "pid=,ppid=,rss="], capture_output=True, text=True, check=True).stdout.splitlines()]
    members = set(roots)
    grew = True
    while grew:
        grew = False
        for pid, parent, _ in rows:
            if int(parent) in members and int(pid) not in members:
                members.add(int(pid))
                grew = True
    return members, sum(int(rss) * 1024 for pid, _, rss in rows if int(pid) in members)


def resident(pid):
    return int(subprocess.run(["ps", "-o", "rss=", "-p", str(pid)], capture_output=True, text=True, check=True).stdout) * 1024


def process_seconds(pids):
    total = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            fields = read(f"/proc/{pid}/stat").rsplit(")", 1)[1].split()
            total += int(fields[11]) + int(fields[12])
    return total / TICK


def written_bytes(pids):
    total = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            total += int(next(line for line in read(f"/proc/{pid}/io").splitlines() if line.startswith("write_bytes")).split()[1])
    return total


def free_bytes():
    fields = subprocess.run(["free", "-b"], capture_output=True, text=True, check=True).stdout.splitlines()[1].split()
    return int(fields[1]), int(fields[6])


def df(mount):
    fields = subprocess.run(["df", "-B1", "--output=size,used,avail,itotal,iused", mount], capture_output=True, text=True, check=True).stdout.splitlines()[1].split()
    return [int(f) for f in fields]


def pressure(kind):
    return {line.split()[0]: int(line.rsplit("total=", 1)[1]) for line in read(f"/proc/pressure/{kind}").splitlines()}


def device_counters(device):
    fields = next(line.split() for line in read("/proc/diskstats").splitlines() if line.split()[2] == device)
    return int(fields[5]) * 512, int(fields[9]) * 512


def interface_counters(name):
    return [int(read(f"/sys/class/net/{name}/statistics/{which}_bytes")) for which in ("rx", "tx")]


def cgroup_v1(session):
    """(CPU seconds, bytes) of the RDP server's control group, by its files; None where it has none."""
    base = pathlib.Path("/sys/fs/cgroup")
    accounting, memory = base / "cpuacct/lucid-rdp" / session, base / "memory/lucid-rdp" / session
    if not memory.is_dir():
        return None
    usage = int(read(accounting / "cpuacct.usage")) / 1e9 if accounting.is_dir() else None
    inactive = next(int(line.split()[1]) for line in read(memory / "memory.stat").splitlines() if line.startswith("total_inactive_file "))
    return usage, int(read(memory / "memory.usage_in_bytes")) - inactive


class Interface:
    """A pair of virtual interfaces with traffic of a known rate over it."""

    def __init__(self):
        self.name = f"lt{os.getpid() % 10000}"
        run = lambda *command: subprocess.run(command, check=True, capture_output=True)  # noqa: E731
        run("ip", "link", "add", self.name, "type", "veth", "peer", "name", self.name + "p")
        run("ip", "link", "set", self.name, "up")
        run("ip", "link", "set", self.name + "p", "up")
        run("ip", "addr", "add", "10.213.7.1/30", "dev", self.name)
        run("ip", "neigh", "add", "10.213.7.2", "lladdr", "02:00:00:00:00:01", "dev", self.name)
        code = "import socket,time\ns=socket.socket(socket.AF_INET,socket.SOCK_DGRAM)\nwhile True:\n s.sendto(bytes(1000),('10.213.7.2',9)); time.sleep(0.002)"
        self.sender = subprocess.Popen([sys.executable, "-c", code])

    def stop(self):
        self.sender.kill()
        self.sender.wait()
        subprocess.run(["ip", "link", "del", self.name], check=False)


class Readings:
    def __init__(self, cluster, api, session, roots, interface):
        self.cluster, self.api, self.session, self.roots, self.interface = cluster, api, session, roots, interface
        self.pids = {name: service.process.pid for name, service in cluster.services.items()}

    def next_look(self, after):
        """Waits for the look after that moment; everything is then read here within milliseconds of the monitor's own reading."""
        seen = {}

        def newer():
            seen.update(self.api.get("/monitor/host"))
            return seen["at"] != after

        wait(newer, 3 * INTERVAL, "the next look")
        return seen["at"]

    def by_hand(self):
        pressed = {kind: pressure(kind) for kind in ("cpu", "memory", "io")}
        members, rss = family(self.roots)
        total, available = free_bytes()
        return {
            "connection": self.connection(), "frames": self.frames(),
            "services": {name: (process_seconds([pid]), resident(pid)) for name, pid in self.pids.items()},
            "time": time.monotonic(), "cpu": cpu_times(), "members": members, "rss": rss, "total": total, "available": available, "df": df("/"),
            "pressure": pressed, "session_seconds": process_seconds(members), "written": written_bytes(members),
            "interface": interface_counters(self.interface.name), "cgroup": cgroup_v1(self.session), "load": [float(f) for f in read("/proc/loadavg").split()[:3]],
        }

    def connection(self):
        """(bytes from, bytes to) the session's client, by the gateway's own list."""
        mine = next(c for c in self.api.get("/rdp/connections")["connections"] if c["session_id"] == self.session)
        return time.monotonic(), mine["bytes_up"], mine["bytes_down"]

    def frames(self):
        text = request(self.cluster.ports["session-recorder"] + self.cluster.offset, "GET", "/metrics").body.decode()
        return time.monotonic(), float(next(line.split()[1] for line in text.splitlines() if line.startswith("lucid_recorder_frames_total ")))

    def near(self, what, mine, theirs, floor=0.0, slack=0.0):
        """Within 2 %, of what the other tool says or of `floor` where the reading is nearly nothing. `slack`: what comes at once may fall on either side."""
        if mine is None:
            return self.check(f"{what}: measured", False, "null")
        allowed = 0.02 * max(abs(theirs), floor) + slack
        off = abs(mine - theirs) / max(abs(theirs), floor, 1e-12) * 100
        return self.check(f"{what}: {mine:.6g} here, {theirs:.6g} by the other tool ({off:.2f} % off)", abs(mine - theirs) <= allowed, (mine, theirs, allowed))

    def check(self, what, good, detail=""):
        self.found.append((what, good, detail))
        return good

    def agreed(self, compare):
        """Compares over one interval. Where the machine held one of the two readers up (compilers beside it), the windows are not the same: once more, at most
        ATTEMPTS times; the last one counts as it is."""
        for attempt in range(1, ATTEMPTS + 1):
            self.found = []
            compare()
            bad = [what for what, good, _ in self.found if not good]
            if not bad:
                break
            print(f"     attempt {attempt} of {ATTEMPTS}: off are {bad}", flush=True)
        for what, good, detail in self.found:
            report.check(what, good, detail)

    def warm_up(self):
        """The first answers of a service take memory that it keeps."""
        at = None
        for _ in range(2):
            at = self.next_look(at)
            for path in ("services", "sessions", "containers"):
                self.api.get(f"/monitor/{path}")

    def everything(self):
        at = self.next_look(self.api.get("/monitor/host")["at"])
        before = self.by_hand()
        device = next(d for d in self.api.get("/monitor/host")["disks"] if d["mount"] == "/")
        at = self.next_look(at)
        after = self.by_hand()
        host = self.api.get("/monitor/host")
        services = {s["service"]: s for s in self.api.get("/monitor/services")["services"]}
        session = next(s for s in self.api.get("/monitor/sessions")["sessions"] if s["session_id"] == self.session)
        containers = {c["name"]: c for c in self.api.get("/monitor/containers")["containers"]}
        if not self.check("all of it is of one look", host["at"] == at and self.api.get("/monitor/sessions")["at"] == at):
            return
        seconds = after["time"] - before["time"]
        share = lambda name: (after["cpu"][name][0] - before["cpu"][name][0]) / (after["cpu"][name][1] - before["cpu"][name][1])  # noqa: E731
        self.near("CPU used, by /proc/stat", host["cpu"]["used_ratio"], share("cpu"))
        for core, mine in enumerate(host["cpu"]["cores"]):
            self.near(f"core {core}, by /proc/stat", mine, share(f"cpu{core}"))
        self.near("memory in all, by free", host["memory"]["total_bytes"], after["total"])
        self.near("memory used, by free", host["memory"]["used_bytes"], after["total"] - after["available"])
        size, used, available, inodes, inodes_used = after["df"]
        self.near("disk used, by df", device["used_ratio"], used / (used + available))
        self.near("disk free, by df", device["free_bytes"], available)
        self.near("inodes used, by df", device["inodes_used_ratio"], inodes_used / inodes if inodes else 0, floor=1e-6)
        for minutes, mine, theirs in zip((1, 5, 15), host["load"], after["load"]):
            self.near(f"load of {minutes} min, by /proc/loadavg", mine, theirs, floor=5.0)
        for kind in ("cpu", "memory", "io"):
            for which, word in (("some", "some_ratio"), ("full", "full_ratio")):
                if which in after["pressure"][kind] and word in host["pressure"][kind]:
                    # What polls at the looks presses most at the looks, so a window that is some milliseconds off differs: 2 % of the time.
                    theirs = (after["pressure"][kind][which] - before["pressure"][kind][which]) / 1e6 / seconds
                    self.near(f"pressure of {kind}, {which}, by /proc/pressure", host["pressure"][kind][word], theirs, floor=1.0)
        mine = next(i for i in host["network"] if i["interface"] == self.interface.name)
        self.near("bytes sent over an interface, by /sys/class/net", mine["transmit_bytes_per_second"], (after["interface"][1] - before["interface"][1]) / seconds)
        self.check(f"the session works ({session['cpu_ratio']:.2f} cores, {session['write_bytes_per_second'] / 1e6:.1f} MB/s)", session["cpu_ratio"] > 0.2 and session["write_bytes_per_second"] > 1e5, session)
        self.near("the session's CPU, by /proc/PID/stat", session["cpu_ratio"], (after["session_seconds"] - before["session_seconds"]) / seconds)
        self.near("the session's memory, by ps", session["memory_bytes"], after["rss"])
        took = after["connection"][0] - before["connection"][0]
        frames = (after["frames"][1] - before["frames"][1]) / (after["frames"][0] - before["frames"][0])
        sent = (after["connection"][2] - before["connection"][2]) / took
        self.near("bytes to the session's client, by the gateway's list", session["transmit_bytes_per_second"], sent, slack=sent / (frames * INTERVAL))
        self.near("frames of the session, by the recorder's counter", session["frames_per_second"], frames, slack=1 / INTERVAL)
        self.check(f"there are frames ({frames:.1f} a second)", frames > 5)
        self.check(f"the session's processes, by ps: {session['processes']}", session["processes"] == len(after["members"]), (session, sorted(after["members"])))
        self.near("the session's bytes written, by /proc/PID/io", session["write_bytes_per_second"], (after["written"] - before["written"]) / seconds)
        for name, (spent, rss) in after["services"].items():
            self.near(f"{name}: memory, by ps", services[name]["memory_bytes"], rss)
            self.near(f"{name}: CPU, by /proc/PID/stat", services[name]["cpu_ratio"], (spent - before["services"][name][0]) / seconds, floor=0.5)
        if after["cgroup"] is None:
            self.check("the session has no control group here, so none is compared", not any(n.startswith("lucid-rdp/") for n in containers), list(containers))
            return
        group = containers.get(f"lucid-rdp/{self.session}")
        if self.check("the session's control group is listed", group is not None, list(containers)):
            self.near("its memory, by memory.usage_in_bytes", group["memory_bytes"], after["cgroup"][1])
            if after["cgroup"][0] is not None:
                self.near("its CPU, by cpuacct.usage", group["cpu_ratio"], (after["cgroup"][0] - before["cgroup"][0]) / seconds)

    def disk(self):
        """Bytes of a device, while something writes past the cache."""
        name = next((d["device"] for d in self.api.get("/monitor/host")["disks"] if d["mount"] == "/"), "").removeprefix("/dev/")
        if name not in [line.split()[2] for line in read("/proc/diskstats").splitlines()]:
            return self.check("the root's device is in /proc/diskstats", False, name)
        target = self.cluster.work / "direct"
        code = f"import os,mmap,time\nf=os.open({str(target)!r},os.O_WRONLY|os.O_CREAT|os.O_DIRECT)\nb=mmap.mmap(-1,1<<20)\nwhile True:\n os.pwrite(f,b,0); time.sleep(0.02)"
        writer = subprocess.Popen([sys.executable, "-c", code])
        try:
            at = self.next_look(self.api.get("/monitor/host")["at"])
            at = self.next_look(at)
            before, began = device_counters(name), time.monotonic()
            at = self.next_look(at)
            after, seconds = device_counters(name), time.monotonic() - began
            shown = next(d for d in self.api.get("/monitor/host")["disks"] if d["mount"] == "/")
            self.near(f"bytes written to {name}, by /proc/diskstats", shown["write_bytes_per_second"], (after[1] - before[1]) / seconds)
            self.check(f"its I/O takes time ({shown['latency_seconds'] * 1000:.2f} ms each, busy {shown['busy_ratio'] * 100:.0f} %)", 0 < shown["latency_seconds"] < 5 and 0 < shown["busy_ratio"] <= 1.02, shown)
        finally:
            writer.kill()
            writer.wait()


def history(api):
    """What was seen is in the history, by its own clock."""
    answer = api.get("/monitor/history?metric=host_cpu_used_ratio&step=5")
    points = answer["lines"][0]["points"] if answer["lines"] else []
    report.check(f"the history has CPU of the last minutes ({len(points)} points, {answer['tier']})", len(points) >= 3 and all(0 <= v <= 1 for _, v in points), answer)
    up = api.get("/monitor/history?metric=service_up&aggregate=min")
    report.check("and every service's", {line["subject"] for line in up["lines"]} == set(ALL_SERVICES), [line["subject"] for line in up["lines"]])


def bad_input(api):
    cases = [
        ("GET", "/monitor/history", None, "/metric"), ("GET", "/monitor/history?metric=nonsense", None, "/metric"),
        ("GET", "/monitor/history?metric=host_load_1m&from=yesterday", None, "/from"),
        ("GET", "/monitor/history?metric=host_load_1m&from=2026-01-02T00:00:00.000Z&to=2026-01-01T00:00:00.000Z", None, "/from"),
        ("GET", "/monitor/history?metric=host_load_1m&from=1970-01-01T00:00:00.000Z&step=1", None, "/step"),
        ("GET", "/monitor/history?metric=host_load_1m&aggregate=median", None, "/aggregate"),
        ("PUT", "/monitor/rules/x", {"metric": "nonsense", "above": 1}, "/metric"), ("PUT", "/monitor/rules/x", {"metric": "host_load_1m"}, "/above"),
        ("PUT", "/monitor/rules/x", {"metric": "host_load_1m", "above": "much"}, "/above"),
        ("PUT", "/monitor/rules/x", {"metric": "host_load_1m", "above": 1, "below": 2}, "/below"),
        ("PUT", "/monitor/rules/x", {"metric": "host_load_1m", "above": 1, "clear": 2}, "/clear"),
        ("PUT", "/monitor/rules/x", {"metric": "host_cpu_used_ratio", "above": 80}, "/above"),
        ("PUT", "/monitor/rules/x", {"metric": "host_load_1m", "above": 1, "for_seconds": -1}, "/for_seconds"),
        ("PUT", "/monitor/rules/x", {"metric": "host_load_1m", "above": 1, "severity": "dire"}, "/severity"),
        ("PUT", "/monitor/rules/x", {"metric": "host_load_1m", "above": 1, "colour": "red"}, "/colour"),
        ("POST", "/monitor/silences", {"reason": "x", "minutes": 0}, "/minutes"), ("POST", "/monitor/silences", {"minutes": 5}, "/reason"),
        ("POST", "/monitor/webhooks", {"url": "file:///etc/passwd"}, "/url"), ("POST", "/monitor/webhooks", {"url": "http://u:p@h/"}, "/url"),
    ]
    for method, path, body, pointer in cases:
        answer = api.ask(method, path, body)
        named = [error.get("pointer") for error in answer.json.get("errors", [])] if answer.status == 422 else answer.body[:200]
        report.check(f"{method} {path} {body or ''} is refused, naming {pointer}", answer.status == 422 and pointer in named, (answer.status, named, answer.body[:300]))


def main():
    if os.geteuid() != 0:
        print("not run: monitor needs root for desktops", flush=True)
        return 77
    with tempfile.TemporaryDirectory(prefix="lucid-monitor-") as work:
        work = pathlib.Path(work)
        cluster = client = program = interface = stress = None
        try:
            interface = Interface()
            cluster = Cluster(work, services=ALL_SERVICES)
            api = Api(cluster.ports["session-api"] + cluster.offset, cluster.token)
            wait(lambda: api.ask("GET", "/monitor/host").status == 200, 10, "the first look")
            program = readable_file(PROGRAM, ".py")
            session, client = open_desktop(api, work, "measured")
            client.enter(f"cd; /usr/bin/python3 {program} & until read -t 0.04; do echo $RANDOM; done")
            stress = subprocess.Popen(["stress-ng", "--cpu", "1", "--cpu-load", str(CPU_WORK), "--vm", "1", "--vm-bytes", f"{MEMORY_MB}m", "--vm-keep", "--vm-hang", "0", "--quiet"])
            roots = next(s for s in api.get("/rdp/servers")["servers"] if s["id"] == session)["pids"]
            time.sleep(2)
            readings = Readings(cluster, api, session, roots, interface)
            readings.warm_up()
            readings.agreed(readings.everything)
            readings.agreed(readings.disk)
            history(api)
            bad_input(api)
        except (TimeoutError, RuntimeError, AssertionError, StopIteration) as error:
            report.check("the suite runs to its end", False, repr(error))
        finally:
            if stress:
                stress.terminate()
                stress.wait()
            if client:
                client.stop()
            if cluster:
                with contextlib.suppress(Exception):
                    api.act(session, "terminate")
                    api.reach(session, "terminated", 20)
                cluster.stop()
            if interface:
                interface.stop()
            if program:
                program.unlink()
    return report.end()


sys.exit(main())
