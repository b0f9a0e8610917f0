#!/usr/bin/env python3
"""Nodes as real processes beside real services: placement avoids a killed node within 5 s, it comes back and continues; storage nodes hold
chunks and are challenged, validators counter-sign; forged, replayed and misdirected requests get nobody anywhere.

    tests/integration/node_cluster.py
"""
import base64
import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time
import uuid

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import evidence
from support import BIN, SERVICES, Api, Cluster, Report, Screen, request, service_token, wait

report = Report("node cluster")
PORT = 8095
TICKS = "while :; do date +%H:%M:%S.%N; sleep 0.1; done"


def base64url(data):
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


class Key:
    """An Ed25519 key; signatures by openssl."""

    def __init__(self, work):
        self.seed = os.urandom(32)
        self.work = pathlib.Path(work)
        self.der = bytes.fromhex("302e020100300506032b657004220420") + self.seed
        public = subprocess.run(["openssl", "pkey", "-inform", "DER", "-pubout", "-outform", "DER"], input=self.der, capture_output=True, check=True).stdout[-32:]
        self.text = "lucid-sig-pub:" + base64url(public)

    def sign(self, message):
        with tempfile.TemporaryDirectory(dir=self.work) as work:
            key, text = pathlib.Path(work) / "key", pathlib.Path(work) / "text"
            key.write_bytes(self.der)
            text.write_bytes(message)
            return subprocess.run(["openssl", "pkeyutl", "-sign", "-rawin", "-keyform", "DER", "-inkey", key, "-in", text], capture_output=True, check=True).stdout


class RawNode:
    """A node written down byte by byte, so that it can lie."""

    def __init__(self, suite, name, kind):
        self.suite, self.name, self.kind, self.key, self.sequence = suite, name, kind, Key(suite.work), 0
        self.id = None

    def register(self, invitation, key=None):
        body = {"invitation": invitation, "key": (key or self.key).text, "name": self.name, "type": self.kind, "capabilities": [],
                "capacity": {"cpu_millicores": 1000, "memory_mb": 1000, "session_slots": 0, "storage_bytes": 0}}
        return request(self.suite.port, "POST", "/api/v1/nodes", json.dumps(body).encode())

    def activate(self, registered, key=None):
        signature = (key or self.key).sign(b"lucid-node-activation-v1\n" + base64.urlsafe_b64decode(registered["challenge"] + "="))
        return request(self.suite.port, "POST", f"/api/v1/nodes/{registered['id']}/activate", json.dumps({"signature": base64url(signature)}).encode())

    def join(self, invitation):
        registered = self.register(invitation)
        assert registered.status == 201, registered
        activated = self.activate(registered.json)
        assert activated.status == 200, activated
        self.id = registered.json["id"]

    def header(self, method, target, body, sequence=None, key=None, node=None):
        if sequence is None:
            self.sequence += 1
            sequence = self.sequence
        text = f"lucid-node-v1\n{method}\n{target}\n{sequence}\n{evidence.blake3(body).hex()}".encode()
        return f"{node or self.id} {sequence} {base64url((key or self.key).sign(text))}"

    def send(self, what, body, header=None):
        target = f"/api/v1/nodes/{self.id}/{what}"
        data = json.dumps(body).encode()
        return request(self.suite.port, "POST", target, data, headers={"X-Lucid-Node": header or self.header("POST", target, data)})

    LOAD = {"cpu_millicores_free": 1000, "memory_mb_free": 1000, "sessions": [], "storage_bytes_used": 0}

    def beat(self):
        return self.send("heartbeat", self.LOAD)


class Agent:
    """`lucid node join` as a process."""

    def __init__(self, suite, name, kind, *flags):
        self.suite, self.name, self.kind, self.flags = suite, name, kind, flags
        self.directory = suite.work / "nodes" / name
        self.log_path = suite.work / f"{name}.log"
        self.process, self.id = None, None

    def start(self, invitation=None, url=None):
        environment = {k: v for k, v in os.environ.items() if k != "LUCID_INVITATION"}
        if invitation:
            environment["LUCID_INVITATION"] = invitation
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen([BIN / "lucid", "node", "join", url or f"http://127.0.0.1:{self.suite.port}", "--data", self.directory, "--name", self.name, "--type", self.kind, *self.flags],
                                            env=environment, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        self.suite.agents.append(self)
        return self

    def log(self):
        return self.log_path.read_text()

    def kill(self):
        self.process.kill()
        self.process.wait()
        return time.monotonic()

    def end(self, how=signal.SIGINT):
        if self.process.poll() is None:
            self.process.send_signal(how)
            self.process.wait(15)
        return self.process.returncode


class Suite:
    def __init__(self, cluster, work):
        self.cluster, self.work = cluster, pathlib.Path(work)
        self.port = PORT + cluster.offset
        self.api = Api(SERVICES["session-api"] + cluster.offset, cluster.token)
        self.agents, self.screens = [], []

    def stop(self):
        for agent in self.agents:
            if agent.process.poll() is None:
                agent.kill()
        for screen in self.screens:
            screen.stop()

    def service(self, method, path, body=None, timeout=20):
        return request(self.port, method, "/api/v1" + path, None if body is None else json.dumps(body).encode(), service_token(self.cluster.data, "session-controller"), timeout=timeout)

    def invite(self, uses=1):
        return self.cluster.cli("node", "invite", "--uses", str(uses)).stdout.strip()

    def nodes(self):
        return {n["name"]: n for n in json.loads(self.cluster.cli("nodes", "--json").stdout)}

    def node(self, agent):
        return self.service("GET", f"/nodes/{agent.id}").json

    def work_ended(self, kind, end):
        text = request(self.port, "GET", "/metrics").body.decode()
        total = 0
        for line in text.splitlines():
            if line.startswith("lucid_nodes_work_total{") and f'kind="{kind}"' in line and f'end="{end}"' in line:
                total += int(float(line.split()[-1]))
        return total

    def place(self, session=None):
        """The node's id, or None where this very machine has no free CPU left for any node."""
        answer = self.service("POST", "/placements", {"session_id": session or str(uuid.uuid4()), "cpu_millicores": 1, "memory_mb": 1})
        assert answer.status == 200 or answer.code == "no_node", answer
        return answer.json["node_id"] if answer.status == 200 else None

    def placed(self, session):
        wait(lambda: self.place(session), 60, "free CPU on this machine")
        return self.place(session)

    def record(self):
        if not self.screens:
            self.screens.append(Screen(self.work, "800x600"))
            self.screens[0].start("xterm", "-geometry", "80x24+10+10", "-T", "ticks", "-e", "sh", "-c", TICKS)
            self.screens[0].window("ticks")
        session = self.api.begin(self.screens[0].display, "for nodes")
        self.api.reach(session, "recording")
        wait(lambda: self.api.get(f"/sessions/{session}")["chunks"] >= 2, 20, "two chunks")
        self.api.finish(session)
        return session, self.api.get(f"/sessions/{session}")["chunks"]

    def join_all(self, *agents):
        invitation = self.invite(len(agents))
        began = time.monotonic()
        for agent in agents:
            agent.start(invitation)
        wait(lambda: sum(1 for a in agents if self.nodes().get(a.name, {}).get("state") == "active") == len(agents), 20, "all nodes to be active")
        took = time.monotonic() - began
        for agent in agents:
            agent.id = self.nodes()[agent.name]["id"]
        return took

    # ---- placement ------------------------------------------------------------------------------------------------------------------
    def kill_one(self):
        workers = [Agent(self, f"worker-{i}", "worker", "--slots", "500") for i in (1, 2, 3)]
        took = self.join_all(*workers)
        report.check(f"three node processes registered and active after {took:.2f} s", True)
        modes = {oct((a.directory / "node.key").stat().st_mode & 0o777) for a in workers}
        report.check("their keys are files of mode 0600", modes == {"0o600"}, modes)
        placed = {}
        for _ in range(9):
            session = str(uuid.uuid4())
            placed[session] = self.placed(session)
        report.check("sessions are spread over all three", {a.id for a in workers} == set(placed.values()), placed)
        session = next(iter(placed))
        report.check("placing a session again answers the same node", self.place(session) == placed[session])

        victim = workers[0]
        mine = {s for s, n in placed.items() if n == victim.id}
        next_event = self.service("GET", "/events?after=0").json["next"]
        before = self.node(victim)
        killed = victim.kill()
        last_on_victim = killed
        placements = 0
        while time.monotonic() - killed < 7:
            session = str(uuid.uuid4())
            node = self.place(session)
            placements += node is not None
            if node == victim.id:
                last_on_victim = time.monotonic()
                mine.add(session)
            time.sleep(0.02)                      # forty placements a second, to see the moment it is avoided
        avoided = last_on_victim - killed
        report.check(f"kill -9: placement avoids the node {avoided:.2f} s later ({placements} placements looked at), 5 s allowed", avoided <= 5, avoided)
        report.check("sessions go to the others", self.placed(str(uuid.uuid4())) in {a.id for a in workers[1:]})
        events = self.service("GET", f"/events?after={next_event}&wait_ms=1000").json["events"]
        gone = [e for e in events if e["node_id"] == victim.id and e["to"] == "offline"]
        report.check("its lease ends: one event says so", len(gone) == 1, events)
        report.check(f"the event reports its {len(mine)} sessions", gone and set(gone[0]["sessions"]) == mine, gone)
        report.check("the other two stay active", all(self.node(a)["state"] == "active" for a in workers[1:]))
        shown = self.nodes()[victim.name]
        report.check("`lucid nodes` shows it offline", shown["state"] == "offline", shown)

        restarted = time.monotonic()
        victim.start()
        wait(lambda: self.node(victim)["state"] == "active", 10, "the killed node to be active again")
        report.check(f"started again it is active after {time.monotonic() - restarted:.2f} s, with the same id and key and without an invitation",
                     self.nodes()[victim.name]["id"] == victim.id and self.node(victim)["key"] == before["key"])
        report.check("its sequence went on, no number was used twice", self.node(victim)["last_sequence"] > before["last_sequence"] and "beat_replayed" not in victim.log(), victim.log())
        again = wait(lambda: self.place() == victim.id, 60, "a placement on it")
        report.check(f"placement uses it again ({again:.2f} s)", True)
        return workers

    def service_killed(self, workers):
        next_event = self.service("GET", "/events?after=0").json["next"]
        killed = self.cluster.services["node-management"].kill()
        wait(self.cluster.healthy, 20, "node-management to be back")
        back = time.monotonic() - killed
        time.sleep(5)                             # a lease and more: a node that had lost the service would be offline by then
        states = {a.name: self.node(a)["state"] for a in workers}
        events = self.service("GET", f"/events?after={next_event}").json["events"]
        report.check(f"kill -9 of node-management (back after {back:.2f} s): every node beats on, none went offline", set(states.values()) == {"active"} and not events, (states, events))
        report.check("no agent ended", all(a.process.poll() is None for a in workers))

    # ---- work -----------------------------------------------------------------------------------------------------------------------
    def liar(self, session):
        liar = RawNode(self, "liar", "validator")
        liar.join(self.invite())

        def given():
            reply = liar.beat()
            assert reply.status == 200, reply
            return [w for w in reply.json["work"] if w["kind"] == "validate" and w["session_id"] == session]
        wait(given, 20, "a recording to validate")
        work = given()[0]
        root = os.urandom(32)
        signature = liar.key.sign(b"lucid-validation-v1\n" + uuid.UUID(session).bytes + root)
        answer = liar.send("answers", {"work_id": work["id"], "digest": root.hex(), "signature": base64url(signature)})
        report.check("a validator's wrong root is refused, however well it is signed", answer.status == 200 and answer.json["passed"] is False, answer)
        again = liar.send("answers", {"work_id": work["id"], "digest": root.hex(), "signature": base64url(signature)})
        report.check("the same answer again gets the same answer", again.json == answer.json, again)
        target = f"/api/v1/nodes/{liar.id}/chunks/{session}/0"
        chunk = request(self.port, "GET", target, headers={"X-Lucid-Node": liar.header("GET", target, b"")})
        report.check("it is given no chunk any more", not chunk.fault(404) and chunk.code == "chunk_not_asked", chunk)
        self.service("POST", f"/nodes/{liar.id}/ban", {"cause": "wrong root"})
        banned = liar.beat()
        report.check("banned, its heartbeat is refused", not banned.fault(409) and banned.code == "node_banned", banned)

    def honest_work(self, session, chunks):
        validator, storage = Agent(self, "validator-1", "validator"), Agent(self, "storage-1", "storage", "--storage-gb", "1")
        began = time.monotonic()
        self.join_all(validator, storage)
        wait(lambda: self.work_ended("validate", "passed") >= 1, 20, "a counter-signature")
        report.check(f"an honest validator recomputed the recording from its {chunks} chunks and counter-signed it, {time.monotonic() - began:.2f} s after it joined", True)
        files = storage.directory / "chunks" / session
        wait(lambda: files.is_dir() and len(list(files.glob("*.chunk"))) == chunks and self.work_ended("hold", "passed") >= chunks, 20, "all chunks to be held")
        wrong = [s for s in range(chunks) if (files / f"{s:016}.chunk").read_bytes()[:-32] != self.api.ask("GET", f"/sessions/{session}/chunks/{s}").body]
        report.check(f"the storage node holds all {chunks} chunks byte for byte, {time.monotonic() - began:.2f} s after it joined", not wrong, wrong)
        wait(lambda: self.work_ended("challenge", "passed") >= 2, 30, "two challenges")
        report.check("it passes its challenges", self.work_ended("challenge", "wrong") + self.work_ended("challenge", "late") == 0)
        wait(lambda: self.node(storage)["load"]["storage_bytes_used"] > 0, 10, "a heartbeat that says what is stored")

        sound = {}
        for path in files.glob("*.chunk"):
            sound[path] = path.read_bytes()
            damaged = bytearray(sound[path])
            damaged[len(damaged) // 2] ^= 1
            path.write_bytes(damaged)
        wait(lambda: self.work_ended("challenge", "wrong") >= 1, 30, "the damage to be found")
        report.check("with its chunks damaged on disk it loses a challenge, and says so", "gone or damaged" in storage.log(), storage.log())
        wait(lambda: all(p.read_bytes() == b for p, b in sound.items()), 90, "all chunks to be given anew")
        report.check("every damaged chunk is given anew and held rightly", True)
        passed = self.work_ended("challenge", "passed")
        wait(lambda: self.work_ended("challenge", "passed") > passed, 30, "a challenge passed again")
        report.check(f"then it passes again (challenges: {self.work_ended('challenge', 'passed')} passed, {self.work_ended('challenge', 'wrong')} lost)", True)
        return validator, storage

    # ---- hostile ----------------------------------------------------------------------------------------------------------------------
    def hostile(self, worker):
        raw = RawNode(self, "raw-1", "worker")
        stolen = raw.register("no-such-invitation")
        report.check("no registration without an invitation", not stolen.fault(403) and stolen.code == "invitation_invalid", stolen)
        invitation = self.invite(1)
        raw.join(invitation)
        used_up = RawNode(self, "raw-2", "worker").register(invitation)
        report.check("an invitation for one admits one", not used_up.fault(403), used_up)
        second = RawNode(self, "raw-2", "worker")
        same_key = second.register(self.invite(), key=raw.key)
        report.check("a key in use is refused for a second node", not same_key.fault(409) and same_key.code == "key_in_use", same_key)
        fresh = second.register(self.invite())
        wrong = second.activate(fresh.json, key=raw.key)
        report.check("a challenge signed with another key activates nobody", not wrong.fault(401), wrong)

        target = f"/api/v1/nodes/{raw.id}/heartbeat"
        body = json.dumps(RawNode.LOAD).encode()
        good = raw.header("POST", target, body)
        first = request(self.port, "POST", target, body, headers={"X-Lucid-Node": good})
        report.check("a heartbeat signed right is accepted", first.status == 200, first)
        replayed = request(self.port, "POST", target, body, headers={"X-Lucid-Node": good})
        report.check("the same heartbeat again is refused", not replayed.fault(409) and replayed.code == "beat_replayed", replayed)
        other = json.dumps({**RawNode.LOAD, "cpu_millicores_free": 999}).encode()
        ahead = raw.header("POST", target, body)
        at = raw.sequence
        victim = f"/api/v1/nodes/{worker.id}/heartbeat"
        cases = {"with another body": (target, other, ahead),
                 "sent to another path": (f"/api/v1/nodes/{raw.id}/answers", body, ahead),
                 "with a query": (target + "?x=1", body, ahead),
                 "with another key": (target, body, raw.header("POST", target, body, at, key=second.key)),
                 "in another node's name": (victim, body, raw.header("POST", victim, body, 10**9, node=worker.id)),
                 "of a node nobody knows": (target, body, raw.header("POST", target, body, at, node=str(uuid.uuid4()))),
                 "without a signature": (target, body, f"{raw.id} {at} "),
                 "without the header": (target, body, None),
                 "with a number of 0": (target, body, raw.header("POST", target, body, 0)),
                 "with a number beyond 2^53": (target, body, raw.header("POST", target, body, 2**53 + 1)),
                 "with a number of 40 digits": (target, body, f"{raw.id} {'9' * 40} {'A' * 86}"),
                 "with rubbish": (target, body, "A" * 4000)}
        for what, (path, data, header) in cases.items():
            answer = request(self.port, "POST", path, data, headers={"X-Lucid-Node": header} if header else {})
            report.check(f"a heartbeat {what} is refused", not answer.fault(401, 404), answer.fault(401, 404))
        late = request(self.port, "POST", target, body, headers={"X-Lucid-Node": ahead})
        report.check("none of them used up the node's number", late.status == 200, late)
        beside = request(self.port, "POST", victim, body, headers={"X-Lucid-Node": raw.header("POST", victim, body)})
        report.check("a node cannot beat for another", not beside.fault(401), beside)
        for load in ({"cpu_millicores_free": -1}, {**RawNode.LOAD, "memory_mb_free": 2**53}, {**RawNode.LOAD, "sessions": ["x"]}, {**RawNode.LOAD, "free": True}, []):
            answer = raw.send("heartbeat", load)
            report.check(f"a load of {json.dumps(load)[:50]} is refused", not answer.fault(400, 422), answer.fault(400, 422))
        foreign = raw.send("answers", {"work_id": str(uuid.uuid4()), "digest": "0" * 64})
        report.check("an answer to work it was not given is refused", not foreign.fault(404) and foreign.code == "work_not_found", foreign)
        for method, path in (("GET", "/nodes"), ("POST", "/invitations"), ("POST", f"/nodes/{raw.id}/ban"), ("POST", "/placements"), ("GET", "/payouts"), ("GET", "/poot/scores")):
            answer = request(self.port, method, "/api/v1" + path, b"{}" if method == "POST" else None, headers={"X-Lucid-Node": raw.header(method, "/api/v1" + path, b"{}" if method == "POST" else b"")})
            report.check(f"{method} {path} is not a node's to ask", not answer.fault(401), answer.fault(401))
        report.check("the real node was not disturbed", self.node(worker)["state"] == "active" and worker.process.poll() is None)
        doors = {path: self.api.ask("POST", path, {}).status for path in ("/nodes", f"/nodes/{raw.id}/heartbeat", f"/nodes/{raw.id}/answers")}
        report.check("session-api has no door for nodes", all(s in (404, 405) for s in doors.values()), doors)

    # ---- the command line ---------------------------------------------------------------------------------------------------------------
    def command_line(self, worker):
        def ended(what, code, *arguments, invitation=None, says=""):
            environment = {k: v for k, v in os.environ.items() if k != "LUCID_INVITATION"}
            if invitation:
                environment["LUCID_INVITATION"] = invitation
            done = subprocess.run([BIN / "lucid", "node", "join", *arguments], env=environment, text=True, capture_output=True, timeout=20)
            report.check(f"joining {what} ends with {code} and one line", done.returncode == code and says in done.stderr and len(done.stderr.splitlines()) == 1,
                         (done.returncode, done.stderr))
        url = f"http://127.0.0.1:{self.port}"
        ended("where nobody listens", 3, "http://127.0.0.1:1", "--data", self.work / "nodes/nobody", invitation="x")
        ended("another service", 2, f"http://127.0.0.1:{self.api.port}", "--data", self.work / "nodes/wrong-url", invitation="x", says="session-api")
        ended("with a wrong invitation", 1, url, "--data", self.work / "nodes/uninvited", invitation="x", says="invitation")
        ended("without an invitation", 2, url, "--data", self.work / "nodes/uninvited", says="invitation")
        ended("under a name in use", 5, url, "--data", self.work / "nodes/twin", "--name", worker.name, invitation=self.invite(), says="name")
        ended("twice from one directory", 5, url, "--data", worker.directory, says="already runs")
        arguments = pathlib.Path(f"/proc/{worker.process.pid}/cmdline").read_bytes()
        report.check("no secret stands in the arguments of a node's process", b"lucid-sig" not in arguments and b"invitation" not in arguments, arguments)
        for command in (("nodes",), ("pools",), ("payouts",), ("nodes", "--state", "active"), ("pools", "--json"), ("payouts", "--json")):
            done = self.cluster.cli(*command, check=False)
            report.check(f"`lucid {' '.join(command)}` answers", done.returncode == 0 and done.stdout.strip(), (done.returncode, done.stderr))
        for command in (("poot", "scores"), ("poot", "receipts"), ("statement", "2031-01")):
            done = self.cluster.cli(*command, check=False)
            report.check(f"`lucid {' '.join(command)}` says there is none yet", done.returncode == 4 and len(done.stderr.splitlines()) == 1, (done.returncode, done.stderr))
        leader = json.loads(self.cluster.cli("poot", "leaders", "--json").stdout)
        report.check("`lucid poot leaders` says why a slot has none", leader[0]["detail"], leader)
        pool = self.api.ask("POST", "/pools", {"name": "ones", "min_members": 1})
        member = self.api.ask("PUT", f"/pools/{pool.json['id']}/members/{worker.id}")
        order = {"session_id": str(uuid.uuid4()), "cpu_millicores": 1, "memory_mb": 1}
        wait(lambda: self.api.ask("POST", f"/pools/{pool.json['id']}/place", order).status == 200, 60, "free CPU on this machine")
        placed = self.api.ask("POST", f"/pools/{pool.json['id']}/place", order)
        report.check("a pool through session-api places on its member", pool.status == 201 and member.status == 204 and placed.status == 200 and placed.json["node_id"] == worker.id, (pool, member, placed))
        drained = self.cluster.cli("node", "drain", worker.id, "--cause", "maintenance window")
        report.check("`lucid node drain` drains", drained.stdout.split() == [worker.id, "draining"], drained)
        wait(lambda: "state: draining" in worker.log(), 10, "the node to hear of it")
        self.cluster.cli("node", "resume", worker.id)
        code = worker.end()
        report.check("Ctrl-C ends a node with 0", code == 0, code)
        wait(lambda: self.node(worker)["state"] == "offline", 8, "its lease to end")
        worker.start()
        wait(lambda: self.node(worker)["state"] == "active", 10, "it to be active again")
        self.cluster.cli("node", "ban", worker.id, "--cause", "test")
        code = worker.process.wait(15)
        report.check("a banned node ends by itself with 5 and says why", code == 5 and "banned" in worker.log().splitlines()[-1], (code, worker.log()[-300:]))


def main():
    with tempfile.TemporaryDirectory(prefix="lucid-nodes-") as work:
        cluster = Cluster(work, services={**SERVICES, "node-management": PORT}, flags={"node-management": ["--node-management.challenge_seconds=1"]})
        suite = Suite(cluster, work)
        try:
            workers = suite.kill_one()
            suite.service_killed(workers)
            session, chunks = suite.record()
            suite.liar(session)
            suite.honest_work(session, chunks)
            suite.hostile(workers[1])
            suite.command_line(workers[2])
        except (TimeoutError, AssertionError, RuntimeError, subprocess.SubprocessError) as error:
            report.check("the suite ran to its end", False, repr(error))
            for log in sorted(pathlib.Path(work).glob("*.log")):
                print(f"---- {log.name}", log.read_text(errors="replace")[-1500:], sep="\n")
        finally:
            suite.stop()
            cluster.stop()
    return report.end()


sys.exit(main())
