#!/usr/bin/env python3
"""Traces as a collector gets them: real services export to a receiver that decodes every request with the official classes of
OpenTelemetry (PyPI: opentelemetry-proto, in an environment of its own below out/). Checks the tree of spans over service
boundaries, what spans hold and what never gets into one, and a collector that is away, full or hanging.

    tests/interop/otlp.py

Exit 77: cannot run here (the classes cannot be fetched), which CI=true counts as failed.
"""
import collections
import http.server
import json
import os
import pathlib
import re
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
ENVIRONMENT = ROOT / "out/otlp-venv"
REQUIREMENTS = ["opentelemetry-proto==1.45.2", "protobuf==7.36.2"]


def official_classes():
    """Goes on in the interpreter that has them."""
    python = ENVIRONMENT / "bin/python3"
    try:
        from opentelemetry.proto.collector.trace.v1 import trace_service_pb2  # noqa: F401
        return
    except ImportError:
        if os.environ.get("LUCID_OTLP_VENV"):
            raise
    have = python.exists() and subprocess.run([python, "-c", "import opentelemetry.proto.collector.trace.v1.trace_service_pb2"], capture_output=True).returncode == 0
    if not have:
        for command in ([sys.executable, "-m", "venv", "--clear", ENVIRONMENT], [python, "-m", "pip", "install", "-q", "--disable-pip-version-check", *REQUIREMENTS]):
            try:
                done = subprocess.run(command, capture_output=True, text=True, timeout=180)
                problem = done.stderr[-500:] if done.returncode else ""
            except (OSError, subprocess.TimeoutExpired) as error:
                problem = str(error)
            if problem:
                print(f"not run: {' '.join(REQUIREMENTS)} cannot be installed: {problem}")
                sys.exit(1 if os.environ.get("CI") == "true" else 77)
    os.execve(python, [str(python), *sys.argv], dict(os.environ, LUCID_OTLP_VENV="1"))


official_classes()
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest, ExportTraceServiceResponse  # noqa: E402
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status  # noqa: E402

sys.path.insert(0, str(ROOT / "tests/integration"))
from support import BIN, SERVICES, Api, Cluster, Report, Screen, request, wait  # noqa: E402

report = Report("otlp")
API_KEY = "key-" + secrets.token_hex(8)
QUERY_SECRET = "query-" + secrets.token_hex(8)
UNKNOWN = "018f2f2e-7c1d-7a10-9a61-0c5d1b2a3f4e"
UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
COMMON = ("/health", "/ready", "/metrics", "/version")

Received = collections.namedtuple("Received", "service resource scope span attributes")


class Collector:
    """Decodes what is posted to /v1/traces. `status` is what it answers; while `hanging` it does not answer at all."""

    def __init__(self, port=0):
        self.spans, self.raw, self.headers, self.faults, self.lock = [], [], [], [], threading.Lock()
        self.status, self.refused, self.released = 200, 0, threading.Event()
        self.released.set()
        self.connections = []
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self):
                outer.connections.append(self.request)
                super().setup()

            def do_POST(self):
                outer.take(self)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self.server.daemon_threads = True
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def take(self, handler):
        body = handler.rfile.read(int(handler.headers["Content-Length"]))
        self.released.wait(30)
        status = self.status
        if status == 200:
            self.keep(handler, body)
        else:
            with self.lock:
                self.refused += 1
        answer = ExportTraceServiceResponse().SerializeToString() if status == 200 else b""
        try:
            handler.send_response(status)
            handler.send_header("Content-Type", "application/x-protobuf")
            handler.send_header("Content-Length", str(len(answer)))
            handler.end_headers()
            handler.wfile.write(answer)
        except OSError:
            pass                              # whoever posted it has given up waiting

    def keep(self, handler, body):
        with self.lock:
            self.raw.append(body)
            self.headers.append(dict(handler.headers))
            try:
                decoded = ExportTraceServiceRequest.FromString(body)
                for resource_spans in decoded.resource_spans:
                    resource = {a.key: a.value.string_value for a in resource_spans.resource.attributes}
                    for scope_spans in resource_spans.scope_spans:
                        for span in scope_spans.spans:
                            attributes = {a.key: getattr(a.value, a.value.WhichOneof("value")) for a in span.attributes}
                            self.spans.append(Received(resource.get("service.name"), resource, scope_spans.scope, span, attributes))
                if decoded.SerializeToString() != body and len(decoded.SerializeToString()) != len(body):
                    self.faults.append(f"{len(body)} bytes hold fields the official classes do not know or write otherwise")
                if handler.path != "/v1/traces":
                    self.faults.append(f"path {handler.path}")
            except Exception as error:  # noqa: BLE001
                self.faults.append(repr(error))

    def of(self, trace_id):
        with self.lock:
            return [r for r in self.spans if r.span.trace_id.hex() == trace_id]

    def stop(self):
        self.server.shutdown()
        self.server.server_close()
        for connection in self.connections:   # those kept alive would be served on
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass                          # has ended by itself


def new_trace(sampled=True):
    """(trace id, span id, traceparent)"""
    trace, span = secrets.token_hex(16), secrets.token_hex(8)
    return trace, span, {"traceparent": f"00-{trace}-{span}-{'01' if sampled else '00'}"}


def settled(collector, trace_id, services, seconds=15):
    """The spans of a trace once each of `services` has given one and no more came for a while."""
    wait(lambda: services <= {r.service for r in collector.of(trace_id)}, seconds, f"spans of {services} in {trace_id}: there are {[(r.service, r.span.name) for r in collector.of(trace_id)]}")
    count, since = -1, 0
    while time.monotonic() - since < 2.6:     # longer than a span waits for others
        if len(collector.of(trace_id)) != count:
            count, since = len(collector.of(trace_id)), time.monotonic()
        time.sleep(0.1)
    return collector.of(trace_id)


def depth(spans, received):
    by_id, steps = {r.span.span_id: r for r in spans}, 0
    while received.span.parent_span_id in by_id:
        received, steps = by_id[received.span.parent_span_id], steps + 1
    return steps


def chain_of_start(collector, api, screen):
    created = api.ask("POST", "/sessions", {"name": "traced", "target": {"kind": "display", "display": screen.display}, "recording": {"digests": "all"}}, headers=new_trace()[2])
    session = created.json["id"]
    trace, caller, headers = new_trace()
    started = api.ask("POST", f"/sessions/{session}/start?token={QUERY_SECRET}", headers=headers)
    report.check("a request that is traced is answered as any other", created.status == 201 and started.status == 200, started)
    spans = settled(collector, trace, {"session-api", "session-pipeline", "session-recorder"})
    ids = {r.span.span_id for r in spans}
    roots = [r for r in spans if r.span.parent_span_id.hex() == caller]
    report.check("exactly one span has the caller's as its parent: session-api's, a server span named by method and route",
                 len(roots) == 1 and roots[0].service == "session-api" and roots[0].span.kind == Span.SPAN_KIND_SERVER and roots[0].span.name == "POST /api/v1/sessions/{id}/start", roots)
    report.check("every other span's parent is a span of the same trace", all(r.span.parent_span_id in ids for r in spans if r is not roots[0]), [(r.service, r.span.name) for r in spans])
    by_id = {r.span.span_id: r for r in spans}
    links = [(by_id[r.span.parent_span_id], r) for r in spans if r.span.parent_span_id in by_id]
    report.check("a server span's parent is a client span, a client span's a server span",
                 all(parent.span.kind != child.span.kind for parent, child in links) and {r.span.kind for r in spans} == {Span.SPAN_KIND_SERVER, Span.SPAN_KIND_CLIENT}, links)
    report.check("across a service boundary method and path of both sides are the same",
                 all(p.attributes["http.request.method"] == c.attributes["http.request.method"] and p.attributes["url.path"] == c.attributes["url.path"]
                     for p, c in links if c.span.kind == Span.SPAN_KIND_SERVER), links)
    recorder = [r for r in spans if r.service == "session-recorder"]
    report.check("the chain reaches the recorder: session-api, session-pipeline, session-recorder", any(depth(spans, r) >= 4 for r in recorder), [(r.service, r.span.name, depth(spans, r)) for r in spans])
    report.check("a child lies within its parent's time", all(p.span.start_time_unix_nano <= c.span.start_time_unix_nano + 1_000_000 and
                                                              c.span.end_time_unix_nano <= p.span.end_time_unix_nano + 20_000_000 for p, c in links), links)
    return session


def check_all(collector, token, version):
    """What holds for every span that has come so far."""
    with collector.lock:
        spans, raw, headers, faults = list(collector.spans), list(collector.raw), list(collector.headers), list(collector.faults)
    report.check(f"the official classes decode all {len(raw)} requests ({len(spans)} spans)", raw and not faults, faults)
    report.check("each comes as application/x-protobuf with the headers that were set", all(h.get("Content-Type") == "application/x-protobuf" and h.get("x-api-key") == API_KEY for h in headers), headers[:3])
    report.check("no request of the export is part of a trace", not any("traceparent" in {k.lower() for k in h} for h in headers))
    report.check("resources name service, version and instance", all(set(r.resource) == {"service.name", "service.version", "service.instance.id"} and r.resource["service.version"] == version and
                                                                     UUID.fullmatch(r.resource["service.instance.id"]) for r in spans), {tuple(r.resource.items()) for r in spans})
    report.check("ids have their lengths, times are in order and of today",
                 all(len(r.span.trace_id) == 16 and len(r.span.span_id) == 8 and len(r.span.parent_span_id) in (0, 8) and
                     0 <= r.span.end_time_unix_nano - r.span.start_time_unix_nano < 600e9 and abs(r.span.start_time_unix_nano / 1e9 - time.time()) < 3600 for r in spans))
    report.check("span ids are unique", len({r.span.span_id for r in spans}) == len(spans))
    report.check("every span carries the sampled flag, and server spans with a parent that it is another process's",
                 all(r.span.flags & 0x1FF == 0x101 and bool(r.span.flags & 0x200) == (r.span.kind == Span.SPAN_KIND_SERVER and bool(r.span.parent_span_id)) for r in spans), {hex(r.span.flags) for r in spans})
    both = {"http.request.method", "url.path", "url.scheme"}
    client = both | {"url.full", "server.address", "server.port"}
    report.check("every span has the attributes of its kind", all((both if r.span.kind == Span.SPAN_KIND_SERVER else client) <= set(r.attributes) for r in spans),
                 [r for r in spans if not both <= set(r.attributes)][:2])
    report.check("names have few values: method and pattern, never an id", not any(UUID.search(r.span.name) or "?" in r.span.name for r in spans) and
                 all(r.span.name == r.attributes["http.request.method"] + (" " + r.attributes["http.route"] if "http.route" in r.attributes else "") for r in spans), {r.span.name for r in spans})

    def status_right(r):
        code, server = r.attributes.get("http.response.status_code", 0), r.span.kind == Span.SPAN_KIND_SERVER
        wrong = code >= (500 if server else 400) or code == 0
        return (r.span.status.code == Status.STATUS_CODE_ERROR) == wrong == ("error.type" in r.attributes)

    report.check("5xx is an error of the server, 4xx one of the caller only, and errors have a type", all(status_right(r) for r in spans), [r for r in spans if not status_right(r)][:2])
    report.check("what is asked every few seconds leaves no span", not any(r.attributes["url.path"] in COMMON for r in spans), {r.attributes["url.path"] for r in spans} & set(COMMON))
    everything = b"".join(raw)
    report.check("no query string, token or secret is in any of it", not any(s.encode() in everything for s in (QUERY_SECRET, token, API_KEY, "Bearer", "?token")))


def refusals(collector, api):
    trace, _, headers = new_trace()
    api.ask("GET", f"/sessions/{UNKNOWN}", headers=headers)
    spans = settled(collector, trace, {"session-api"})
    server = [r for r in spans if r.service == "session-api" and r.span.kind == Span.SPAN_KIND_SERVER][0]
    report.check("an answer 404 is no error of the server", server.attributes["http.response.status_code"] == 404 and server.span.status.code == Status.STATUS_CODE_UNSET, server)
    trace, _, headers = new_trace()
    api.ask("GET", "/nowhere/at/all", headers=headers)
    spans = settled(collector, trace, {"session-api"})
    report.check("a path nobody serves gives a span without a route", len(spans) == 1 and "http.route" not in spans[0].attributes and spans[0].span.name == "GET", spans)


def sampling(collector, api):
    unsampled, _, headers = new_trace(sampled=False)
    api.ask("GET", "/sessions", headers=headers)
    sampled, _, headers = new_trace()
    answer = api.ask("GET", "/sessions", headers={**headers, "X-Request-ID": "otlp-root"})
    settled(collector, sampled, {"session-api"})
    report.check("a trace whose caller did not sample it leaves nothing, one that is sampled does", answer.status == 200 and not collector.of(unsampled) and collector.of(sampled), collector.of(unsampled))
    with collector.lock:
        before = {r.span.trace_id for r in collector.spans}
    api.ask("GET", "/sessions")

    def begun():
        return [r for r in list(collector.spans) if r.span.trace_id not in before and not r.span.parent_span_id and r.service == "session-api"]

    wait(begun, 10, "a trace that begins at session-api")
    report.check("a request without a trace begins one", [r.span.name for r in begun()] == ["GET /api/v1/sessions"] and begun()[0].span.kind == Span.SPAN_KIND_SERVER, begun())
    return sampled


def log_lines(work, trace_id):
    lines = [json.loads(line) for line in (work / "session-api.log").read_text().splitlines() if line.startswith("{")]
    mine = [line for line in lines if line.get("trace_id") == trace_id]
    report.check("the log's line of a request has its request id and trace id", any(line["message"] == "request" and line["request_id"] == "otlp-root" for line in mine), lines[-3:])


def asked_in_a_row(api, count, headers=None):
    """The longest of `count` requests, in seconds."""
    longest = 0
    for _ in range(count):
        began = time.monotonic()
        answer = api.ask("GET", "/status", headers=headers)
        assert answer.status == 200, answer
        longest = max(longest, time.monotonic() - began)
    return longest


def troubled_collector(collector, api):
    port = collector.port
    collector.stop()
    trace, _, headers = new_trace()
    longest = asked_in_a_row(api, 50, headers)
    report.check(f"requests do not wait for a collector that is away (longest {longest * 1000:.0f} ms)", longest < 1)
    time.sleep(3)                             # so that at least one export has failed
    again = Collector(port)
    wait(lambda: len({r.span.span_id for r in again.of(trace) if r.span.kind == Span.SPAN_KIND_SERVER}) >= 50, 30, "the spans of the outage")
    report.check("once it is back it gets what it missed", True)
    again.status = 503
    trace, _, headers = new_trace()
    asked_in_a_row(api, 20, headers)
    wait(lambda: again.refused >= 2, 20, "further attempts at a collector that answers 503")
    again.status = 200
    wait(lambda: len([r for r in again.of(trace) if r.span.kind == Span.SPAN_KIND_SERVER and r.service == "session-api"]) >= 20, 30, "the spans a full collector refused at first")
    report.check("one that is full is asked again until it takes them", True)
    again.released.clear()
    trace, _, headers = new_trace()
    longest = asked_in_a_row(api, 200, headers)
    report.check(f"requests do not wait for a collector that hangs (longest {longest * 1000:.0f} ms)", longest < 1)
    again.released.set()
    return again


def counted(port):
    text = request(port, "GET", "/metrics").body.decode()
    return {m[1]: float(m[2]) for m in re.finditer(r'lucid_trace_spans_total\{outcome="(\w+)",service="session-api"\} (\S+)', text)}


def five_processes(work):
    collector = Collector()
    os.environ.update(OTEL_EXPORTER_OTLP_ENDPOINT=f"http://127.0.0.1:{collector.port}", OTEL_EXPORTER_OTLP_HEADERS=f"x-api-key={API_KEY}")
    screen, cluster = Screen(work), None
    try:
        cluster = Cluster(work, flags={"session-api": ["--log_level=debug"]})
        api = Api(SERVICES["session-api"] + cluster.offset, cluster.token)
        session = chain_of_start(collector, api, screen)
        refusals(collector, api)
        sampled = sampling(collector, api)
        log_lines(work, sampled)
        api.finish(session)
        version = request(api.port, "GET", "/version").json["version"]
        check_all(collector, cluster.token, version)
        again = troubled_collector(collector, api)
        outcomes = counted(SERVICES["session-api"] + cluster.offset)
        report.check("the outcomes are counted", outcomes.get("exported", 0) > 50 and outcomes.get("failed") == 0 and outcomes.get("dropped") == 0, outcomes)
        trace, _, headers = new_trace()
        api.ask("GET", "/status", headers=headers)
        cluster.stop()
        report.check("what was not exported yet is when the service ends", any(r.service == "session-api" for r in again.of(trace)), again.of(trace))
        check_all(again, cluster.token, version)
        again.stop()
    finally:
        if cluster:
            for service in cluster.services.values():
                if service.process.poll() is None:
                    service.stop()
        screen.stop()


def one_process(work):
    """`lucid serve`: ten services in one process, each a resource of its own."""
    collector = Collector()
    environment = {k: v for k, v in os.environ.items() if not k.startswith("LUCID_")}
    environment.update(LUCID_BIN=str(BIN), LUCID_PORT_OFFSET=str(20_000 + os.getpid() % 5_000), LOG_LEVEL="warn", OTEL_TRACES_SAMPLER_ARG="0",
                       OTEL_EXPORTER_OTLP_ENDPOINT=f"http://127.0.0.1:{collector.port}", OTEL_EXPORTER_OTLP_HEADERS=f"x-api-key={API_KEY}")
    data = work / "one"
    shown = json.loads(subprocess.run([BIN / "lucid", "config", "--json"], env=environment, capture_output=True, text=True, check=True).stdout)
    shown = {s["name"]: s["value"] for s in shown}
    report.check("`lucid config` shows the settings, the headers as ***", shown["tracing.endpoint"].endswith(str(collector.port)) and shown["tracing.headers"] == "***" and shown["tracing.ratio"] == "0", shown)
    refused = subprocess.run([BIN / "lucid", "serve", "--data", work / "never"], env={**environment, "OTEL_EXPORTER_OTLP_HEADERS": "secret-without-name"}, capture_output=True, text=True)
    report.check("headers that are none stop the start without being shown", refused.returncode != 0 and "tracing.headers" in refused.stderr and "secret-without-name" not in refused.stderr, refused.stderr)
    with open(work / "one.log", "ab") as log:
        process = subprocess.Popen([BIN / "lucid", "serve", "--data", data], env=environment, stdout=log, stderr=log)
    try:
        port = SERVICES["session-api"] + int(environment["LUCID_PORT_OFFSET"])
        wait(lambda: process.poll() is not None or subprocess.run([BIN / "lucid", "healthcheck", "--data", data], env=environment, capture_output=True).returncode in (0, 1)
             and (data / "endpoint.json").exists(), 30, "lucid serve to answer")
        token = (data / "keys/admin.token").read_text().strip()
        api = Api(port, token)
        for _ in range(20):
            api.ask("GET", "/status")
        trace, _, headers = new_trace()
        for path in ("/status", "/sessions", f"/sessions/{UNKNOWN}/checkpoint", "/nodes"):
            api.ask("GET", path, headers=headers)
        process.send_signal(signal.SIGTERM)
        process.wait(20)
        spans = collector.of(trace)
        report.check("with a ratio of 0 only traces that callers sampled are recorded", spans and len(collector.spans) == len(spans), (len(spans), len(collector.spans)))
        report.check("in one process every service is a resource of its own", len({r.service for r in spans}) >= 2 and len({r.resource["service.instance.id"] for r in spans}) == 1, {r.service for r in spans})
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        collector.stop()


def switched_off(work):
    """Without the setting nothing is sent and a trace goes through as it came."""
    collector = Collector()
    for name in ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_HEADERS"):
        os.environ.pop(name)
    cluster = Cluster(work / "off", flags={"session-pipeline": ["--log_level=debug"]})
    try:
        trace, _, headers = new_trace()
        Api(SERVICES["session-api"] + cluster.offset, cluster.token).ask("GET", f"/sessions/{UNKNOWN}", headers=headers)
    finally:
        cluster.stop()
    report.check("switched off, nothing is exported", not collector.raw and "lucid_trace_spans_total" not in (work / "off/session-api.log").read_text())
    collector.stop()


def main():
    with tempfile.TemporaryDirectory() as folder:
        work = pathlib.Path(folder)
        (work / "off").mkdir()
        five_processes(work)
        one_process(work)
        switched_off(work)
    return report.end()


if __name__ == "__main__":
    sys.exit(main())
