#!/usr/bin/env python3
"""The RDP gateway's relay against HAProxy (mode tcp) and nginx (stream), in one run on this machine.

    tests/performance/gateway.py [--seconds 3] [--rounds 3] [--idle 2000] [--bench out/release/bench/rdp_gateway_bench] [--json]

Every proxy stands between the same client and the same upstream, which begin with an X.224 request and confirm as RDP does. Printed for each:
bytes relayed per second of the proxy's own CPU time (4 connections, 16 KiB writes), round trip of 64 bytes p50/p99 with all processes on one core and what it adds to the
direct way, CPU time per round trip, and resident memory (RSS and PSS, all processes) with idle connections. Rounds are interleaved; medians
are shown. HAProxy and nginx (packages haproxy, nginx, libnginx-mod-stream) run in the foreground with configurations of their own on loopback
ports and are ended by process id; where one is missing the run says so. The session controller is a small one of its own that admits everybody.
"""
import argparse
import http.server
import json
import os
import pathlib
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def tree(pid):
    """The process and its children."""
    out = [pid]
    for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            out += tree(int(child))
    return out


def cpu_seconds(pid):
    """Time on a CPU of all threads of the process and its children, from the scheduler's nanoseconds."""
    return sum(int((task / "schedstat").read_text().split()[0]) for p in tree(pid) for task in pathlib.Path(f"/proc/{p}/task").iterdir()) / 1e9


def memory_mb(pid):
    rss = pss = 0
    for p in tree(pid):
        for line in pathlib.Path(f"/proc/{p}/smaps_rollup").read_text().splitlines():
            key, _, value = line.partition(":")
            if key == "Rss":
                rss += int(value.split()[0])
            elif key == "Pss":
                pss += int(value.split()[0])
    return rss / 1024, pss / 1024


class Admitting(http.server.BaseHTTPRequestHandler):
    """A session controller that admits everybody to the upstream."""
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # the answer in one piece, not head and body waiting for one another
    upstream = 0

    def do_POST(self):
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.path == "/api/v1/admissions":
            body = json.dumps({"session_id": "01900000-0000-7000-8000-000000000001", "upstream_host": "127.0.0.1", "upstream_port": self.upstream}).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
        else:
            self.send_response(204)
            self.end_headers()

    def log_message(self, *_):
        pass


class Run:
    def __init__(self, bench, work):
        self.bench, self.work, self.children = bench, pathlib.Path(work), []
        self.log = open(self.work / "log", "wb")
        self.ports, self.pids = {}, {}

    def begin(self):
        self.ports["direct"] = free_port()
        self.start([self.bench, "upstream", self.ports["direct"]])
        Admitting.upstream = self.ports["direct"]
        controller = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Admitting)
        controller.daemon_threads = True
        threading.Thread(target=controller.serve_forever, daemon=True).start()
        self.proxy("lucid", lambda port: [self.bench, "serve", self.work / "data", port, free_port(), f"http://127.0.0.1:{controller.server_address[1]}"])
        if shutil.which("haproxy"):
            self.proxy("haproxy", self.haproxy)
        if shutil.which("nginx"):
            self.proxy("nginx", self.nginx)

    def start(self, command):
        child = subprocess.Popen([str(c) for c in command], stdout=self.log, stderr=self.log, stdin=subprocess.DEVNULL)
        self.children.append(child)
        return child

    def proxy(self, name, command):
        port = free_port()
        child = self.start(command(port))
        deadline = time.monotonic() + 10
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 0.5).close()
                break
            except OSError:
                if child.poll() is not None or time.monotonic() > deadline:
                    sys.exit(f"gateway: {name} did not start:\n" + (self.work / "log").read_text(errors="replace")[-2000:])
                time.sleep(0.05)
        self.ports[name], self.pids[name] = port, child.pid

    def haproxy(self, port):
        path = self.work / "haproxy.cfg"
        path.write_text(f"""global
    maxconn 4000
    nbthread 2
defaults
    mode tcp
    option splice-auto
    timeout connect 3s
    timeout client 1h
    timeout server 1h
listen rdp
    bind 127.0.0.1:{port}
    server xrdp 127.0.0.1:{self.ports['direct']}
""")
        return ["haproxy", "-db", "-f", path]

    def nginx(self, port):
        path = self.work / "nginx.conf"
        module = next((m for m in ("/usr/lib/nginx/modules/ngx_stream_module.so",) if os.path.exists(m)), None)
        path.write_text((f"load_module {module};\n" if module else "") + f"""daemon off;
pid {self.work}/nginx.pid;
error_log {self.work}/nginx.log warn;
worker_processes 2;
worker_rlimit_nofile 16384;
events {{ worker_connections 8192; }}
stream {{
    access_log off;
    server {{
        listen 127.0.0.1:{port};
        proxy_pass 127.0.0.1:{self.ports['direct']};
        proxy_timeout 1h;
        tcp_nodelay on;
    }}
}}
""")
        return ["nginx", "-p", self.work, "-c", path, "-e", self.work / "nginx.log"]

    def load(self, *arguments):
        done = subprocess.run([str(self.bench), *map(str, arguments)], check=True, capture_output=True, text=True, timeout=120)
        return json.loads(done.stdout)

    def measured(self, name, *arguments):
        before = cpu_seconds(self.pids[name]) if name in self.pids else 0
        result = self.load(*arguments)
        result["cpu"] = (cpu_seconds(self.pids[name]) if name in self.pids else 0) - before
        return result

    def on_one_core(self, yes):
        """Everything on one core or on all: between cores a round trip mostly measures how the scheduler places three processes on this machine."""
        cores = {0} if yes else set(range(os.cpu_count()))
        for child in self.children:
            for p in tree(child.pid):
                for task in pathlib.Path(f"/proc/{p}/task").iterdir():
                    os.sched_setaffinity(int(task.name), cores)
        os.sched_setaffinity(0, cores)  # inherited by the client

    def idle(self, name, connections):
        empty = memory_mb(self.pids[name])
        client = subprocess.Popen([str(self.bench), "idle", str(self.ports[name]), str(connections)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.log, text=True)
        try:
            if client.stdout.readline().strip() != "ready":
                sys.exit(f"gateway: {connections} connections through {name} did not come about")
            time.sleep(1)
            cpu = cpu_seconds(self.pids[name])
            time.sleep(2)
            full = memory_mb(self.pids[name])
            return {"empty_rss_mb": empty[0], "rss_mb": full[0], "pss_mb": full[1], "idle_cpu_percent": (cpu_seconds(self.pids[name]) - cpu) / 2 * 100}
        finally:
            client.stdin.close()
            client.wait(20)

    def stop(self):
        for child in reversed(self.children):
            child.terminate()
        for child in reversed(self.children):
            try:
                child.wait(10)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
        self.log.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--idle", type=int, default=2000)
    parser.add_argument("--bench", default=ROOT / "out/release/bench/rdp_gateway_bench")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if not os.access(options.bench, os.X_OK):
        sys.exit("gateway: build first: scripts/build.sh release")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("gateway: ended"))
    with tempfile.TemporaryDirectory() as work:
        run = Run(options.bench, work)
        try:
            run.begin()
            names = list(run.ports)
            raw = {name: {"gb_per_cpu_s": [], "gb_per_s": [], "p50_us": [], "p99_us": [], "cpu_us_per_round_trip": []} for name in names}
            for _ in range(options.rounds):
                for name in names:
                    r, t = raw[name], run.measured(name, "throughput", run.ports[name], 4, options.seconds)
                    r["gb_per_s"].append(t["bytes"] / t["seconds"] / 1e9)
                    if t["cpu"] > 0:
                        r["gb_per_cpu_s"].append(t["bytes"] / t["cpu"] / 1e9)
                    run.on_one_core(True)
                    l = run.measured(name, "latency", run.ports[name], options.seconds)
                    run.on_one_core(False)
                    r["p50_us"].append(l["p50_us"])
                    r["p99_us"].append(l["p99_us"])
                    r["cpu_us_per_round_trip"].append(l["cpu"] / l["round_trips"] * 1e6)
            figures = {name: {key: statistics.median(v) for key, v in r.items() if v} for name, r in raw.items()}
            for name in run.pids:
                figures[name]["added_p50_us"] = figures[name]["p50_us"] - figures["direct"]["p50_us"]
                figures[name]["added_p99_us"] = figures[name]["p99_us"] - figures["direct"]["p99_us"]
                figures[name].update(run.idle(name, options.idle))
        finally:
            run.stop()
    for absent in {"haproxy", "nginx"} - set(figures):
        print(f"not measured: {absent} is not installed", file=sys.stderr)
    if options.json:
        print(json.dumps(figures, indent=2))
        return
    print(f"{os.cpu_count()} cores, medians of {options.rounds} rounds of {options.seconds:g} s; load and upstream share the cores with the proxy")
    print(f"{'':10}{'GB per CPU s':>14}{'GB/s':>8}{'p50 µs':>9}{'added':>8}{'p99 µs':>9}{'added':>8}{'CPU µs/trip':>13}{'RSS empty':>11}{f'RSS {options.idle}':>10}{'PSS':>7}{'idle CPU %':>12}")
    for name, f in figures.items():
        show = lambda key, width, digits: f"{f[key]:>{width}.{digits}f}" if key in f else " " * (width - 1) + "-"
        print(f"{name:10}{show('gb_per_cpu_s', 14, 2)}{show('gb_per_s', 8, 2)}{show('p50_us', 9, 1)}{show('added_p50_us', 8, 1)}{show('p99_us', 9, 1)}{show('added_p99_us', 8, 1)}"
              f"{show('cpu_us_per_round_trip', 13, 2)}{show('empty_rss_mb', 11, 1)}{show('rss_mb', 10, 1)}{show('pss_mb', 7, 1)}{show('idle_cpu_percent', 12, 2)}")


if __name__ == "__main__":
    main()
