#!/usr/bin/env python3
"""A real Prometheus on all services, as processes of their own and as one `lucid serve`: every target is up, `promtool check metrics` finds nothing, the
configuration, rules and dashboard of docs/operations are accepted and name only what is exposed, no label holds an id, and a processor that hangs shows.

Usage: tests/integration/prometheus.py. Needs prometheus and promtool (Debian: prometheus) and Xvfb; exits 77 (not run) without them.
"""
import json
import os
import pathlib
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import urllib.error
import urllib.parse
import urllib.request

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from support import ALL_SERVICES, BIN, ROOT, Api, Cluster, Report, Screen, request, wait  # noqa: E402

EXPECTED_SERVICES = 10
OPERATIONS = ROOT / "docs/operations"
# The resource monitor's rules that Prometheus cannot judge (docs/operations/README.md).
MONITOR_ONLY = {"service_unhealthy", "session_memory_growth"}
NAME = re.compile(r"\b(?:lucid|process)_[a-z0-9_]+\b")
ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|[0-9a-f]{24,}", re.IGNORECASE)

report = Report("prometheus")


def free_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


class Prometheus:
    """One on a free loopback port, with docs/operations/prometheus.yml at shifted ports and once a second."""

    def __init__(self, work, offset):
        work.mkdir()
        config = (OPERATIONS / "prometheus.yml").read_text()
        config = re.sub(r"127\.0\.0\.1:(\d+)", lambda m: f"127.0.0.1:{int(m[1]) + offset}", config).replace("interval: 15s", "interval: 1s")
        (work / "prometheus.yml").write_text(config)
        shutil.copy(OPERATIONS / "lucid.rules.yml", work)
        self.port, self.log = free_port(), open(work / "prometheus.log", "ab")
        self.process = subprocess.Popen(["prometheus", f"--config.file={work}/prometheus.yml", f"--storage.tsdb.path={work}/data", f"--web.listen-address=127.0.0.1:{self.port}",
                                         "--log.level=warn"], cwd=work, stdout=self.log, stderr=self.log)

    def ask(self, path, **parameters):
        url = f"http://127.0.0.1:{self.port}/api/v1/{path}?" + urllib.parse.urlencode(parameters, doseq=True)
        try:
            with urllib.request.urlopen(url, timeout=10) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            if error.code == 503:             # still starting
                raise ConnectionError("not ready") from error
            raise RuntimeError(f"{path} {parameters}: {error.read()[:300]!r}") from error

    def targets(self):
        try:
            return self.ask("targets")["activeTargets"]
        except OSError:
            return []

    def value(self, query):
        """Of the one series a query answers; None when there is none."""
        result = self.ask("query", query=query)["result"]
        return float(result[0]["value"][1]) if result else None

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(15)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.log.close()


def promtool(*arguments, stdin=None):
    done = subprocess.run(["promtool", *arguments], cwd=OPERATIONS, input=stdin, text=True, capture_output=True)
    return done.returncode, (done.stdout + done.stderr).strip()


def expressions():
    """Where it stands and every PromQL text of rules and dashboard."""
    rules = re.findall(r"- alert: (\w+)\n\s+expr: (.+)\n", (OPERATIONS / "lucid.rules.yml").read_text())
    found = [(name, expr[1:-1].replace("''", "'") if expr.startswith("'") else expr) for name, expr in rules]
    for panel in json.loads((OPERATIONS / "grafana-dashboard.json").read_text())["panels"]:
        found += [(panel["title"], target["expr"]) for target in panel.get("targets", [])]
    return found


def catalogue():
    """The gauges the resource monitor shows where the host has what they measure."""
    rows = re.findall(r'\{"([a-z0-9_]+)", Subject::(\w+),', (ROOT / "rdp/monitor/catalogue.cpp").read_text())
    return {f"lucid_{name}" for name, subject in rows if subject in ("none", "core", "mount", "device", "interface", "zone")}


def files():
    for arguments in (("check", "config", "prometheus.yml"), ("check", "rules", "lucid.rules.yml"), ("test", "rules", "lucid.rules.test.yml")):
        code, output = promtool(*arguments)
        report.check("promtool " + " ".join(arguments), code == 0 and "FAILED" not in output, output)
    rules, tests = (OPERATIONS / "lucid.rules.yml").read_text(), (OPERATIONS / "lucid.rules.test.yml").read_text()
    alerts = re.findall(r"- alert: (\w+)", rules)
    untested = [name for name in alerts if not re.search(rf"alertname: {name}\n        exp_alerts:", tests) or f"- name: {name}\n" not in tests]
    report.check(f"every one of the {len(alerts)} rules has a test in which it fires", alerts and not untested, untested)
    defaults = set(re.findall(r'^    \{"([a-z_]+)",', (ROOT / "rdp/monitor/alerts/default_rules.cpp").read_text(), re.M))
    covered = set(re.findall(r"monitor_rule: (\w+)", rules))
    report.check("the monitor's default rules are all here or named as its own", defaults and covered | MONITOR_ONLY == defaults and not covered & MONITOR_ONLY, covered ^ defaults)
    jobs = dict((job, int(port)) for job, port in re.findall(r"job_name: (\S+)\n.*\n.*127\.0\.0\.1:(\d+)", (OPERATIONS / "prometheus.yml").read_text()))
    report.check(f"prometheus.yml has a job for each of the {EXPECTED_SERVICES} services", jobs == ALL_SERVICES and len(jobs) == EXPECTED_SERVICES, jobs)
    dashboard = json.loads((OPERATIONS / "grafana-dashboard.json").read_text())
    rows = [panel["title"] for panel in dashboard["panels"] if panel["type"] == "row"]
    report.check("the dashboard has its rows and a data source to choose", rows == ["Recording health", "Host", "Services", "RDP", "Nodes"] and dashboard["templating"]["list"][0]["type"] == "datasource", rows)
    ids = [panel["id"] for panel in dashboard["panels"]]
    report.check("its panels do not overlap and have ids of their own", len(set(ids)) == len(ids) and not overlapping(dashboard["panels"]), overlapping(dashboard["panels"]))


def overlapping(panels):
    def covers(a, b):
        a, b = a["gridPos"], b["gridPos"]
        return a["x"] < b["x"] + b["w"] and b["x"] < a["x"] + a["w"] and a["y"] < b["y"] + b["h"] and b["y"] < a["y"] + a["h"]
    return [(a["title"], b["title"]) for i, a in enumerate(panels) for b in panels[:i] if covers(a, b)]


def exposed(text):
    """Names of samples in an exposition."""
    return {line.split("{")[0].split(" ")[0] for line in text.splitlines() if line and not line.startswith("#")}


def scrape(how, offset):
    """Names each service shows; promtool reads every exposition."""
    names = {}
    for service, port in ALL_SERVICES.items():
        answer = request(port + offset, "GET", "/metrics")
        text = answer.body.decode()
        code, findings = promtool("check", "metrics", stdin=text)
        report.check(f"{how}: promtool check metrics finds nothing in {service}'s {len(text.splitlines())} lines", answer.status == 200 and code == 0 and not findings, findings or answer.status)
        names[service] = exposed(text)
        unhelped = [line for line in text.splitlines() if line.startswith("# HELP ") and len(line.split(" ", 3)) < 4]
        report.check(f"{how}: every metric of {service} says what it is", not unhelped, unhelped)
    return names


def observe(how, work, data, offset, service_of=None):
    screen, api = Screen(work), Api(8087 + offset, (data / "keys/admin.token").read_text().strip())
    prometheus = Prometheus(work / how.replace(" ", "-"), offset)
    try:
        screen.start("xterm", "-e", "sh", "-c", "while :; do date +%N; sleep 0.1; done")
        session = api.begin(screen.display, name="seen by Prometheus")
        try:
            wait(lambda: len(t := prometheus.targets()) == len(ALL_SERVICES) and all(one["health"] == "up" for one in t), 30, "every target to be up")
        except TimeoutError:
            report.check(f"{how}: every target is up", False, [(t["labels"]["job"], t["health"], t["lastError"]) for t in prometheus.targets()])
            raise
        targets = prometheus.targets()
        report.check(f"{how}: Prometheus reaches all {EXPECTED_SERVICES} services", len(targets) == EXPECTED_SERVICES and {t["labels"]["job"] for t in targets} == set(ALL_SERVICES),
                     [t["labels"] for t in targets])
        wait(lambda: (prometheus.value('lucid_processor_chunks_total{job="chunk-processor"}') or 0) >= 2 and (prometheus.value('rate(lucid_recorder_frames_total{job="session-recorder"}[1m])') or 0) > 0, 30,
             "chunks and frames to be counted")
        report.check(f"{how}: a recording is alive in the series", prometheus.value('lucid_pipeline_live_recordings{job="session-pipeline"}') == 1
                     and prometheus.value('lucid_processor_sessions{job="chunk-processor"}') == 1)
        if service_of:
            hang(prometheus, service_of("chunk-processor"))
        shown = scrape(how, offset)
        names(how, prometheus, shown)
        held = sorted({f"{name}={value}" for series in prometheus.ask("series", **{"match[]": '{job=~".+"}'}) for name, value in series.items() if ID.search(value)})
        report.check(f"{how}: no label of any series holds an id", not held, held)
        groups = prometheus.ask("rules")["groups"]
        broken = [rule["name"] for group in groups for rule in group["rules"] if rule["health"] == "err"]
        report.check(f"{how}: every rule is evaluated", groups and not broken, broken)
        # Of a sound deployment no rule about recordings or services may fire; the host is what it is.
        wait(lambda: not firing(prometheus), 60, f"alerts to be over: {firing(prometheus)}")
        report.check(f"{how}: nothing fires about recordings and services", not firing(prometheus), firing(prometheus))
        api.finish(session)
        ends = ('lucid_pipeline_live_recordings{job="session-pipeline"}', 'lucid_recorder_recordings{job="session-recorder"}', 'lucid_processor_sessions{job="chunk-processor"}')
        seconds = wait(lambda: all(prometheus.value(query) == 0 for query in ends), 20, "the end of the recording to show")
        report.check(f"{how}: and its end shows", seconds < 20)
    finally:
        prometheus.stop()
        screen.stop()


def firing(prometheus):
    # A gap is told for five minutes; what the hanging processor left (a paused picture is none) is judged by the others.
    return sorted(one["labels"]["alertname"] for one in prometheus.ask("alerts")["alerts"] if one["state"] == "firing"
                  and one["labels"]["alertname"] in ("LucidServiceDown", "LucidSegmentLag", "LucidRecordingStalled", "LucidRecordingBacklog", "LucidCheckpointLate", "LucidStorageErrors"))


def hang(prometheus, service):
    """The processor stands still in the middle of everything: the age of what waits for it grows all the same."""
    age = 'lucid_recorder_oldest_segment_age_seconds{job="session-recorder"}'
    os.kill(service.process.pid, signal.SIGSTOP)
    try:
        seconds = wait(lambda: prometheus.value(age) > 2, 20, "the age of the oldest segment to pass 2 s")
        report.check(f"a processor that hangs shows as segment lag after {seconds:.1f} s", seconds < 15, seconds)
        wait(lambda: prometheus.value('up{job="chunk-processor"}') == 0, 20, "it to be down")
    finally:
        os.kill(service.process.pid, signal.SIGCONT)
    seconds = wait(lambda: prometheus.value(age) == 0, 30, "everything to be committed again")
    report.check(f"and is over {seconds:.1f} s after it goes on", True)


def names(how, prometheus, shown):
    """Every name rules and dashboard use is shown by the job they ask, or is a gauge of the monitor this host has nothing for."""
    absent, wrong, optional = set(), [], catalogue()
    everything = set().union(*shown.values())
    for where, expr in expressions():
        try:
            prometheus.ask("query", query=expr.replace("$service", ".*"))
        except RuntimeError as error:
            wrong.append((where, str(error)))
        absent |= {f"{where}: {name}" for name in NAME.findall(re.sub(r'"[^"]*"', '""', expr)) if name not in everything | optional}
        for name, job in re.findall(r'\b(lucid_[a-z0-9_]+)\{job="([^"]+)"', expr):
            if name not in optional and name not in shown[job]:
                absent.add(f"{where}: {name} of {job}")
    report.check(f"{how}: Prometheus takes the {len(expressions())} expressions of rules and dashboard", not wrong, wrong)
    report.check(f"{how}: rules and dashboard name only what is exposed by whom they ask", not absent, sorted(absent))
    hosted = optional & everything
    report.check(f"{how}: the resource monitor shows the host ({len(hosted)} of {len(optional)} gauges)", {"lucid_host_cpu_used_ratio", "lucid_host_memory_used_ratio"} <= hosted, optional - hosted)


def separately(work):
    cluster = Cluster(work, services=ALL_SERVICES)
    try:
        observe("ten processes", work, cluster.data, cluster.offset, lambda name: cluster.services[name])
    finally:
        cluster.stop()


def together(work):
    offset, data = random.randrange(2000, 20000), work / "data"
    log = open(work / "serve.log", "ab")
    environment = {**{k: v for k, v in os.environ.items() if not k.startswith("LUCID_")}, "LUCID_PORT_OFFSET": str(offset), "LOG_LEVEL": "warn", "WARM_SERVERS": "0"}
    process = subprocess.Popen([BIN / "lucid", "serve", "--data", data], env=environment, stdout=log, stderr=log)
    try:
        def answers():
            try:
                return all(request(port + offset, "GET", "/health").status == 200 for port in ALL_SERVICES.values())
            except OSError:
                return process.poll() is not None
        wait(answers, 30, "`lucid serve` to be healthy")
        assert process.poll() is None, (work / "serve.log").read_text()[-2000:]
        observe("lucid serve", work, data, offset)
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        log.close()


def main():
    missing = [program for program in ("prometheus", "promtool", "Xvfb", "xterm") if not shutil.which(program)]
    if os.geteuid() != 0 or missing:
        print(f"not run: needs root for RDP services, and {', '.join(missing) or 'nothing else'}")
        return 1 if os.environ.get("CI") else 77
    files()
    report.check(f"there are {EXPECTED_SERVICES} services", len(ALL_SERVICES) == EXPECTED_SERVICES, list(ALL_SERVICES))
    for run in (separately, together):
        with tempfile.TemporaryDirectory(prefix="lucid-prometheus-") as work:
            try:
                run(pathlib.Path(work))
            except Exception as error:
                report.check(f"{run.__name__}: goes to its end", False, repr(error))
                for log in sorted(pathlib.Path(work).rglob("*.log")):
                    tail = log.read_text(errors="replace")[-1500:]
                    if tail:
                        print(f"--- {log.name}\n{tail}")
    return report.end()


if __name__ == "__main__":
    sys.exit(main())
