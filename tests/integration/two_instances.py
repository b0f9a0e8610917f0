#!/usr/bin/env python3
"""The command line: two instances of `lucid serve` side by side, Ctrl-C while recording, exit codes and one-line messages
as `lucid --help` documents them, config, healthcheck, fsck, verify, refused starts.

    tests/integration/two_instances.py
"""
import json
import os
import pathlib
import random
import re
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from support import BIN, SERVICES, Report, Screen, wait

report = Report("two instances")
CLEAN = {k: v for k, v in os.environ.items() if not k.startswith("LUCID_")}
OK, FAILED, USAGE, UNREACHABLE, NOT_FOUND, CONFLICT = range(6)


def lucid(*arguments, env=None, timeout=60, cwd=None):
    return subprocess.run([BIN / "lucid", *map(str, arguments)], env={**CLEAN, **(env or {})}, capture_output=True, text=True, timeout=timeout, cwd=cwd)


def one_line(done):
    """A message people can read: one line on stderr, from lucid, without addresses of exceptions."""
    return len(done.stderr.strip().splitlines()) == 1 and done.stderr.startswith("lucid: ") and len(done.stderr) < 600


class Instance:
    """`lucid serve` of all services in one process."""

    def __init__(self, work, name, offset):
        self.data, self.offset, self.log = pathlib.Path(work) / name, offset, open(pathlib.Path(work) / f"{name}.log", "ab")
        self.start()

    def start(self):
        self.process = subprocess.Popen([BIN / "lucid", "serve", "--data", self.data], env={**CLEAN, "LUCID_PORT_OFFSET": str(self.offset), "LOG_LEVEL": "warn"}, stdout=self.log, stderr=self.log)
        wait(lambda: self.process.poll() is not None or lucid("healthcheck", "--data", self.data).returncode == 0, 20, "the instance to be healthy")

    def run(self, *arguments, **more):
        return lucid(arguments[0], "--data", self.data, *arguments[1:], **more)

    def stop(self, how=signal.SIGTERM):
        if self.process.poll() is None:
            self.process.send_signal(how)
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        return self.process.returncode


def record(instance, screen, how=None, *more, seconds=None):
    """A `lucid record` in the foreground; `how` interrupts it after two chunks. Answers the finished process and the session."""
    command = [BIN / "lucid", "record", "--data", instance.data, "--display", screen.display, "--digests", "all", "--json", *more]
    if seconds:
        command += ["--duration", str(seconds)]
    process = subprocess.Popen(command, env=CLEAN, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        if how:
            def chunks():
                live = json.loads(instance.run("sessions", "--json", "--status", "recording").stdout or "[]")
                return max((s["chunks"] for s in live), default=0)
            wait(lambda: chunks() >= 2, 20, "two chunks")
            process.send_signal(how)
        out, err = process.communicate(timeout=30)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
    return process.returncode, json.loads(out) if out.strip() else None, err


def code(what, done, expected, message=True):
    """The exit code, and for failures one line on stderr."""
    good = done.returncode == expected and (not message or one_line(done))
    report.check(f"{what}: exit {expected}" + (", one line on stderr" if message else ""), good, f"exit {done.returncode}, stderr {done.stderr[:300]!r}")


def side_by_side(work, screen, first, second):
    ports = {i.offset: json.loads((i.data / "endpoint.json").read_text())["url"] for i in (first, second)}
    report.check("two instances listen on their own ports", ports == {o: f"http://127.0.0.1:{8087 + o}" for o in (first.offset, second.offset)}, ports)
    for instance in (first, second):
        for service, port in SERVICES.items():
            code(f"healthcheck of {service} at offset {instance.offset}", lucid("healthcheck", "--url", f"http://127.0.0.1:{port + instance.offset}"), OK, False)
        mode = stat.S_IMODE((instance.data / "keys/admin.token").stat().st_mode)
        report.check("the admin token is kept with mode 0600, its directory with 0700", mode == 0o600 and stat.S_IMODE((instance.data / "keys").stat().st_mode) == 0o700, oct(mode))
        report.check("first start prints the admin token", (instance.data / "keys/admin.token").read_text().strip() in (pathlib.Path(work) / f"{instance.data.name}.log").read_text())
    both = [subprocess.Popen([BIN / "lucid", "record", "--data", i.data, "--display", screen.display, "--duration", "3", "--digests", "all", "--json", "-q"], env=CLEAN, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            for i in (first, second)]
    ids = []
    for process, instance in zip(both, (first, second)):
        out, err = process.communicate(timeout=40)
        report.check(f"the instance at offset {instance.offset} records the display both record", process.returncode == 0 and json.loads(out)["status"] == "completed" and err == "", (process.returncode, out, err))
        ids.append(json.loads(out)["id"])
    code("a session of the other instance is not found", first.run("frame", ids[1], "--at", "0", "--out", pathlib.Path(work) / "x.png"), NOT_FOUND)
    done = lucid("sessions", env={"LUCID_URL": ports[first.offset], "LUCID_TOKEN": (second.data / "keys/admin.token").read_text().strip()})
    code("the other instance's token is refused", done, FAILED)
    return ids


def interrupt(first, screen):
    for how in (signal.SIGINT, signal.SIGTERM):
        status, session, err = record(first, screen, how)
        good = status == 0 and session and session["status"] == "completed"
        if not report.check(f"{how.name} during `lucid record` stops it cleanly: exit 0 and a completed recording", good, (status, session, err)):
            continue
        frames = first.run("frames", session["id"], "--digests", "--json")
        counts = json.loads(frames.stdout)
        report.check(f"all its {counts['frames']} frames replay exactly", frames.returncode == 0 and counts["frames"] == counts["frames_exact"] > 0, frames.stdout[:300])
        ends = [json.loads(line) for line in first.run("events", session["id"], "--json", "--kinds", "end").stdout.splitlines()]
        report.check("it has an end record", [e["reason"] for e in ends] == ["stopped"], ends)
    return session["id"]


def exit_codes(work, first, screen, session):
    unknown = "018f2f2e-7c1d-7a10-9a61-0c5d1b2a3f4e"
    out = pathlib.Path(work) / "out.png"
    for arguments in (["--help"], ["--version"], ["record", "--help"], ["config"], ["config", "--json"]):
        done = lucid(*arguments)
        report.check(f"lucid {' '.join(arguments)}: exit 0, stdout only", done.returncode == 0 and done.stdout and not done.stderr, (done.returncode, done.stderr))
    for arguments in ([], ["dance"], ["record"], ["frame", session], ["frame", session, "--at", "x", "--out", out], ["record", "--display", ":1", "--frame-rate", "0"], ["record", "--display", ":1", "--keystrokes", "some"],
                      ["sessions", "--limit", "0"], ["verify"], ["verify", "x"], ["healthcheck", "--timeout", "0"], ["config", "--target", "nothing"], ["serve", "--target", "nothing"], ["serve", "--no-such-setting=1"],
                      ["serve", "--session-storage.pack_mb=x"], ["sessions", "--nothing"]):
        done = lucid(*arguments, cwd=work)
        report.check(f"lucid {' '.join(map(str, arguments))[:60]}: exit 2, stderr only", done.returncode == USAGE and done.stderr and not done.stdout, (done.returncode, done.stdout[:100], done.stderr[:300]))
    for arguments in (["frame", unknown, "--at", "0", "--out", out], ["frames", unknown], ["events", unknown], ["bundle", unknown, "-o", out], ["stop", unknown], ["delete", unknown]):
        code(f"{arguments[0]} of an unknown session", first.run(*arguments), NOT_FOUND)
    for bad in ("x", "../../etc/passwd", unknown + "0", ""):
        code(f"frame of the malformed session id {bad[:20]!r}", first.run("frame", bad, "--at", "0", "--out", out), USAGE)
    report.check("nothing was written for any of them", not out.exists())
    for action in ("start", "pause", "resume", "stop", "terminate"):
        code(f"{action} of a completed session", first.run(action, session), CONFLICT)
    code("a display that is not there", first.run("record", "--display", ":64999", "--duration", "1", "-q"), FAILED)
    code("a malformed display", first.run("record", "--display", "x y", "--duration", "1", "-q"), USAGE)
    for where in ("http://127.0.0.1:9", "http://[::1]:9"):
        code(f"nobody listens at {where}", lucid("sessions", env={"LUCID_URL": where, "LUCID_TOKEN": "x"}), UNREACHABLE)
    code("no server is known", lucid("sessions", "--data", pathlib.Path(work) / "nothing"), UNREACHABLE)
    code("LUCID_URL without a token", lucid("sessions", env={"LUCID_URL": "http://127.0.0.1:9"}), USAGE)
    code("LUCID_URL that is no address", lucid("sessions", env={"LUCID_URL": "zzz", "LUCID_TOKEN": "x"}), USAGE)
    code("healthcheck where nobody listens", lucid("healthcheck", "--url", "http://127.0.0.1:9"), FAILED)
    code("bundle into a directory that is not there", first.run("bundle", session, "-o", "/nonexistent/x.lucid"), FAILED)
    frame = first.run("frame", session, "--at", "99999999", "--out", out)
    report.check("a frame after the end is the last one", frame.returncode == 0 and out.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n", frame.stderr)


def verify(work, first, session):
    bundle, key = pathlib.Path(work) / "good.lucid", first.data / "keys/checkpoint.pub"
    report.check("bundle writes a file", first.run("bundle", session, "-o", bundle).returncode == 0 and bundle.stat().st_size > 1000)
    code("verify of it, offline", lucid("verify", bundle, "--key", key), OK, False)
    code("verify with the key's text", lucid("verify", bundle, "--key", key.read_text().strip()), OK, False)
    good = bundle.read_bytes()
    chance, undetected, not_named = random.Random(3), [], []
    spots = sorted({chance.randrange(len(good)) for _ in range(40)} | {8, len(good) // 2, len(good) - 1})
    for at in spots:
        bad = bytearray(good)
        bad[at] ^= 1 << chance.randrange(8)
        tampered = pathlib.Path(work) / "tampered.lucid"
        tampered.write_bytes(bad)
        done = lucid("verify", tampered, "--key", key, "--json")
        if done.returncode not in (FAILED, USAGE):
            undetected.append((at, done.returncode))
        elif done.returncode == FAILED and not json.loads(done.stdout)["findings"]:
            not_named.append(at)
    report.check(f"a flipped bit anywhere in a bundle is found ({len(spots)} places)", not undetected, undetected)
    report.check("and named", not not_named, not_named)
    chunk = good.find(b"LCHK")
    tampered.write_bytes(good[:chunk + 200] + bytes([good[chunk + 200] ^ 1]) + good[chunk + 201:])
    done = lucid("verify", tampered, "--key", key)
    report.check("a changed chunk: exit 1, with the byte range", done.returncode == FAILED and re.search(r"\d+", done.stdout + done.stderr), (done.returncode, done.stdout, done.stderr))
    other = pathlib.Path(work) / "second/keys/checkpoint.pub"
    report.check("another deployment's key: exit 1", lucid("verify", bundle, "--key", other).returncode == FAILED, lucid("verify", bundle, "--key", other))
    for label, content in (("garbage", random.Random(1).randbytes(5000)), ("an empty file", b""), ("ten bytes of it", good[:10])):
        tampered.write_bytes(content)
        done = lucid("verify", tampered, "--key", key)
        report.check(f"verify of {label}: exit 2", done.returncode == USAGE, (done.returncode, done.stdout, done.stderr))
    code("verify of a file that is not there", lucid("verify", "/nonexistent", "--key", key), USAGE)
    code("verify with a key that is none", lucid("verify", bundle, "--key", "zzz"), USAGE)
    tampered.write_bytes(good[:len(good) * 2 // 3])
    report.check("verify of a bundle cut short: exit 1 or 2", lucid("verify", tampered, "--key", key).returncode in (FAILED, USAGE))


def fsck(work, first):
    live = first.run("fsck", "-q")
    report.check("fsck of a live data directory finds it good", live.returncode == OK and "all good" in live.stdout, (live.returncode, live.stdout, live.stderr))
    code("fsck --repair of a live data directory", first.run("fsck", "--repair", "-q"), CONFLICT)
    code("fsck of a directory that is not there", lucid("fsck", "--data", pathlib.Path(work) / "nothing"), USAGE)
    report.check("SIGINT ends `lucid serve` with exit 0", first.stop(signal.SIGINT) == 0, first.process.returncode)
    report.check("and takes its endpoint away", not (first.data / "endpoint.json").exists())
    stopped = first.run("fsck", "-q", "--json")
    report.check("fsck of the stopped one finds it good", stopped.returncode == OK and not json.loads(stopped.stdout)["findings"], stopped.stdout[:400])
    code("a client of the stopped one", first.run("sessions"), UNREACHABLE)
    copy = pathlib.Path(work) / "copy"
    shutil.copytree(first.data, copy)
    pack = max((p for p in (copy / "storage/packs").rglob("*") if p.is_file()), key=lambda p: p.stat().st_size)
    raw = bytearray(pack.read_bytes())
    raw[len(raw) // 2] ^= 0x10
    pack.write_bytes(raw)
    before = pack.read_bytes()
    found = lucid("fsck", "--data", copy, "-q", "--json")
    findings = json.loads(found.stdout or "{}").get("findings", [])
    report.check("fsck finds a flipped bit in a pack: exit 1, the session and chunk named", found.returncode == FAILED and any(f.get("session") and f.get("sequence") is not None for f in findings), (found.returncode, findings[:2], found.stderr))
    report.check("and changes nothing without --repair", pack.read_bytes() == before)


def refused_starts(work, first, second):
    again = lucid("serve", "--data", second.data, env={"LUCID_PORT_OFFSET": "30000"})
    code("a second serve on the same data directory", again, FAILED)
    report.check("and says why", "already runs" in again.stderr and str(second.data) in again.stderr, again.stderr)
    busy = lucid("serve", "--data", pathlib.Path(work) / "third", env={"LUCID_PORT_OFFSET": str(second.offset), "LOG_LEVEL": "error"})
    code("a serve on ports that are taken", busy, FAILED)
    report.check("and names the port", re.search(r":\d{4,5}|port \d+|\d{4,5}", busy.stderr), busy.stderr)
    for name in sorted(p.name for p in (first.data / "keys").iterdir()):
        kept = (first.data / "keys" / name).read_bytes()
        (first.data / "keys" / name).unlink()
        missing = start_and_see(first)
        if name.endswith(".pub") and missing.returncode is None:
            report.check(f"without keys/{name} it starts and has it again", (first.data / "keys" / name).read_bytes() == kept)
        else:
            code(f"serve without keys/{name}", missing, FAILED)
            report.check(f"it is named, and none is made in its place", name in missing.stderr and not (first.data / "keys" / name).exists(), missing.stderr)
        (first.data / "keys" / name).write_bytes(kept)
        os.chmod(first.data / "keys" / name, 0o600)
    name = "service.key"
    (first.data / "keys" / name).write_bytes(b"garbage\n")
    code(f"serve with garbage in keys/{name}", start_and_see(first), FAILED)
    (first.data / "keys" / name).write_bytes(kept_key := second.data.joinpath("keys", name).read_bytes())
    os.chmod(first.data / "keys" / name, 0o644)
    loose = start_and_see(first)
    report.check("a secret key others can read refuses start with one line", loose.returncode == FAILED and one_line(loose), (loose.returncode, loose.stderr, len(kept_key)))


def start_and_see(instance):
    """A serve that should refuse: its exit; returncode None when it runs after all (it is ended then)."""
    process = subprocess.Popen([BIN / "lucid", "serve", "--data", instance.data], env={**CLEAN, "LUCID_PORT_OFFSET": str(instance.offset), "LOG_LEVEL": "error"}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    began = time.monotonic()
    while process.poll() is None and time.monotonic() - began < 15:
        if lucid("healthcheck", "--url", f"http://127.0.0.1:{8087 + instance.offset}").returncode == 0:
            process.terminate()
            out, err = process.communicate(timeout=15)
            return subprocess.CompletedProcess([], None, out, err)
        time.sleep(0.02)
    out, err = process.communicate(timeout=5)
    return subprocess.CompletedProcess([], process.returncode, out, err)


def config(work):
    file = pathlib.Path(work) / "lucid.conf"
    file.write_text("# comment\nlog_level = error\nsession-storage.pack_mb = 7\nsession-pipeline.lease_ms = 4000\n")
    done = lucid("config", "--json", "--config", file, "--session-storage.pack_mb=9", env={"PACK_MB": "8", "PIPELINE_LEASE_MS": "6000"})
    shown = {s["name"]: (s["value"], s["source"]) for s in json.loads(done.stdout or "[]")}
    report.check("config: flag before environment before file before default",
                 shown.get("session-storage.pack_mb") == ("9", "flag") and shown.get("session-pipeline.lease_ms", ("",))[0] == "6000" and shown.get("log_level", ("",))[0] == "error"
                 and shown.get("chunk-processor.port") == ("8085", "default"), {k: shown.get(k) for k in ("session-storage.pack_mb", "session-pipeline.lease_ms", "log_level", "chunk-processor.port")})
    one = lucid("config", "--json", "--target", "session-recorder")
    names = [s["name"] for s in json.loads(one.stdout)]
    report.check("config --target shows that service's settings", any(n.startswith("session-recorder.") for n in names) and not any(n.startswith("session-storage.pack") for n in names), names)
    for label, text in (("an unknown setting", "nothing = 1\n"), ("a malformed value", "session-storage.pack_mb = many\n"), ("a malformed line", "what is this\n"), ("a value out of range", "session-storage.port = 70000\n")):
        file.write_text(text)
        code(f"config file with {label}", lucid("config", "--config", file), USAGE)


def main():
    with tempfile.TemporaryDirectory(prefix="lucid-two-") as work:
        base = random.randrange(2000, 20000)
        instances, screen = [], Screen(work, "800x600")
        try:
            screen.start("xterm", "-geometry", "80x24", "-e", "sh", "-c", "while :; do date +%N; seq -s' ' $(date +%S) 400 | tail -c 600; sleep 0.1; done")
            first = Instance(work, "first", base)
            instances.append(first)
            second = Instance(work, "second", base + 20)
            instances.append(second)
            side_by_side(work, screen, first, second)
            session = interrupt(first, screen)
            exit_codes(work, first, screen, session)
            verify(work, first, session)
            config(work)
            fsck(work, first)
            refused_starts(work, first, second)
            report.check("SIGTERM ends `lucid serve` with exit 0", second.stop() == 0, second.process.returncode)
        finally:
            screen.stop()
            for instance in instances:
                instance.stop()
                instance.log.close()
        for log in sorted(pathlib.Path(work).glob("*.log")):
            unexpected = [line for line in log.read_text(errors="replace").splitlines() if "failed unexpectedly" in line or "terminate called" in line]
            report.check(f"{log.stem}: nothing failed unexpectedly", not unexpected, unexpected[:3])
    return report.end()


sys.exit(main())
