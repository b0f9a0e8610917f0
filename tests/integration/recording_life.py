#!/usr/bin/env python3
"""The life of recordings through the HTTP API, on real displays with real programs: pause, resize, several displays at
once, a dying X server, keystroke modes, masked passwords, clipboard, windows; frames against screenshots of another
program, and the evidence against an independent verifier.

    tests/integration/recording_life.py
"""
import json
import pathlib
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import evidence
from support import SERVICES, Api, Cluster, Report, Screen, key_bytes, wait

report = Report("recording life")
TICKS = "while :; do date +%H:%M:%S.%N; sleep 0.1; done"


class Suite:
    def __init__(self, cluster, work):
        self.cluster, self.work = cluster, pathlib.Path(work)
        self.api = Api(SERVICES["session-api"] + cluster.offset, cluster.token)
        self.screens = []

    def screen(self, size="1280x720"):
        self.screens.append(Screen(self.work, size))
        return self.screens[-1]

    def frames(self, session):
        done = self.cluster.cli("frames", session, "--digests", "--json", check=False)
        return json.loads(done.stdout)

    def exact(self, what, session):
        frames = self.frames(session)
        report.check(f"{what}: all {frames['frames']} frames replay exactly", frames["frames"] > 0 and frames["frames"] == frames["frames_exact"], {k: v for k, v in frames.items() if k != "list"})
        return frames

    def verified(self, what, session):
        answer = self.api.ask("POST", f"/sessions/{session}/verify")
        report.check(f"{what}: verified and complete", answer.status == 200 and answer.json["verified"] and answer.json["complete"], answer.body[:400])

    # ---- through the API: every route once, pause and resume ----------------------------------------------------------
    def life(self):
        screen = self.screen()
        screen.start("xterm", "-geometry", "100x30+10+10", "-T", "ticks", "-e", "sh", "-c", TICKS)
        screen.window("ticks")
        made = self.api.ask("POST", "/sessions", {"name": "life", "target": {"kind": "display", "display": screen.display}, "recording": {"digests": "all"},
                                                  "metadata": {"project": "p", "tags": ["a", "b"], "owner": "ann"}}, headers={"Idempotency-Key": "life-1"})
        session = made.json["id"]
        report.check("create answers 201, Location and ETag", made.status == 201 and made.headers.get("location") == f"/api/v1/sessions/{session}" and made.headers.get("etag") == '"1"' and made.json["status"] == "created", made)
        again = self.api.ask("POST", "/sessions", {"name": "life", "target": {"kind": "display", "display": screen.display}, "recording": {"digests": "all"},
                                                   "metadata": {"project": "p", "tags": ["a", "b"], "owner": "ann"}}, headers={"Idempotency-Key": "life-1"})
        report.check("the same Idempotency-Key gives the same session", again.json.get("id") == session, again)
        other = self.api.ask("POST", "/sessions", {"name": "other", "target": {"kind": "display", "display": screen.display}}, headers={"Idempotency-Key": "life-1"})
        report.check("the same Idempotency-Key with another body is refused", other.fault(409, 422) == "", other.fault(409, 422))
        started = self.api.act(session, "start")
        report.check("start answers the session", started.status == 200 and started.json["status"] in ("starting", "recording"), started)
        self.api.reach(session, "recording")
        patched = self.api.ask("PATCH", f"/sessions/{session}", {"name": "renamed", "metadata": {"tags": ["c"]}}, headers={"If-Match": '"1"'})
        report.check("PATCH changes what it names and nothing else", patched.status == 200 and patched.json["name"] == "renamed" and patched.json["metadata"]["tags"] == ["c"] and patched.json["metadata"]["owner"] == "ann", patched)
        stale = self.api.ask("PATCH", f"/sessions/{session}", {"name": "again"}, headers={"If-Match": '"1"'})
        report.check("PATCH of an old version is 409", not stale.fault(409) and stale.code == "version_mismatch", stale)
        for query, found in (("status=recording", True), ("status=created", False), ("owner=ann", True), ("owner=bob", False), ("tag=c", True), ("tag=a", False), ("q=RENAM", True), ("q=zzz", False)):
            ids = [s["id"] for s in self.api.get("/sessions?" + query)["sessions"]]
            report.check(f"list with {query} {'finds' if found else 'leaves out'} it", (session in ids) == found, ids)
        wait(lambda: self.api.get(f"/sessions/{session}")["chunks"] >= 1, 15, "the first chunk")
        self.api.act(session, "pause")
        self.api.reach(session, "paused", 5)
        time.sleep(1.0)                      # the pause itself: ten frames would fall into it
        chunks = self.api.get(f"/sessions/{session}")["chunks"]   # with the one that the pause closed
        self.api.act(session, "resume")
        self.api.reach(session, "recording", 5)
        wait(lambda: self.api.get(f"/sessions/{session}")["chunks"] > chunks, 15, "a chunk after the pause")
        self.api.finish(session)
        pauses = [e for e in self.api.events(session, "pause")]
        report.check("pause and resume are records", [e["paused"] for e in pauses] == [True, False], pauses)
        frames = self.exact("paused and resumed", session)
        if len(pauses) == 2:
            inside = [f["ms"] for f in frames["list"] if pauses[0]["ms"] < f["ms"] < pauses[1]["ms"]]
            report.check(f"no frame and no event stands in the {pauses[1]['ms'] - pauses[0]['ms']} ms of the pause",
                         not inside and not [e for e in self.api.events(session) if pauses[0]["ms"] < e["ms"] < pauses[1]["ms"]] and pauses[1]["ms"] - pauses[0]["ms"] >= 1000, inside)
            report.check("frames stand before and after it", frames["list"][0]["ms"] < pauses[0]["ms"] and frames["list"][-1]["ms"] >= pauses[1]["ms"],
                         (frames["list"][0], frames["list"][-1], pauses))
        done = self.api.get(f"/sessions/{session}")
        report.check("the finished session tells its figures", done["chunks"] > 0 and done["stored_bytes"] > 0 and done["duration_ms"] > 1000 and done["started_at"] and done["gaps"] == 0 and not done["alarm"], done)
        report.check("it ends with an end record", self.api.events(session)[-1].get("reason") == "stopped", self.api.events(session)[-1:])
        self.verified("paused and resumed", session)
        self.evidence(session)
        receipt = self.api.ask("DELETE", f"/sessions/{session}")
        report.check("DELETE answers a receipt with the last checkpoint", receipt.status == 200 and receipt.json["tree_size"] == done["chunks"] and session in receipt.json["checkpoint"], receipt)
        report.check("DELETE again answers the same receipt", self.api.ask("DELETE", f"/sessions/{session}").body == receipt.body)
        report.check("a deleted session is listed only when asked for", session not in [s["id"] for s in self.api.get("/sessions")["sessions"]]
                     and session in [s["id"] for s in self.api.get("/sessions?status=deleted")["sessions"]])
        for path in ("chunks", "chunks/0", "chunks/0/content", "events", "manifest", "bundle", "checkpoint", "proof/0"):
            answer = self.api.ask("GET", f"/sessions/{session}/{path}")
            report.check(f"{path} of it is gone", not answer.fault(404, 409), answer.fault(404, 409))

    # ---- proofs, checked by other code ---------------------------------------------------------------------------------
    def evidence(self, session):
        public = key_bytes((self.cluster.data / "keys/checkpoint.pub").read_text())
        rows = self.api.get(f"/sessions/{session}/chunks?limit=1000")["chunks"]
        size = len(rows)
        origin = f"lucid/local/session/{session}"
        note = self.api.ask("GET", f"/sessions/{session}/checkpoint").body.decode()
        try:
            signed_size, root = evidence.open_checkpoint(note, public, origin)
            report.check("the checkpoint's Ed25519 signature holds by openssl", True)
        except ValueError as error:
            return report.check("the checkpoint's Ed25519 signature holds by openssl", False, error)
        report.check(f"the checkpoint covers all {size} chunks", signed_size == size, signed_size)
        other = note.replace(f"\n{size}\n", f"\n{size + 1}\n")
        try:
            evidence.open_checkpoint(other, public, origin)
            report.check("a changed checkpoint does not hold", False)
        except ValueError:
            report.check("a changed checkpoint does not hold", True)
        leaves, wrong = [], []
        for row in rows:
            stored = self.api.ask("GET", f"/sessions/{session}/chunks/{row['sequence']}").body
            if evidence.blake3(stored).hex() != row["blake3"] or len(stored) != row["stored_size"] or evidence.session_of_chunk(stored) != session:
                wrong.append(row["sequence"])
            leaves.append(evidence.leaf_hash(evidence.leaf_of_chunk(stored)))
        report.check("every stored chunk has the BLAKE3 of its row by b3sum", not wrong, wrong)
        wrong = []
        for index in range(size):
            for at in {size, index + 1, max(index + 1, size // 2)}:
                proof = self.api.get(f"/sessions/{session}/proof/{index}?size={at}")
                path = [bytes.fromhex(h) for h in proof["proof"]]
                good = proof["leaf_hash"] == leaves[index].hex() and evidence.inclusion_holds(index, at, leaves[index], path, bytes.fromhex(proof["root"])) and (at != size or proof["root"] == root.hex())
                bad = evidence.inclusion_holds(index, at, bytes(32), path, bytes.fromhex(proof["root"]))
                if not good or bad:
                    wrong.append((index, at))
        report.check("every inclusion proof holds by RFC 9162 and leads to the signed root, with leaves made from the chunks", not wrong, wrong)
        wrong = []
        for first in range(1, size + 1):
            answer = self.api.get(f"/sessions/{session}/consistency?from={first}")
            path = [bytes.fromhex(h) for h in answer["proof"]]
            old, new = bytes.fromhex(answer["root_from"]), bytes.fromhex(answer["root_to"])
            if not evidence.consistency_holds(first, size, old, new, path) or new != root or (first < size and evidence.consistency_holds(first, size, bytes(32), new, path)):
                wrong.append(first)
        report.check("every consistency proof holds by RFC 9162", not wrong, wrong)

    # ---- what a second program sees --------------------------------------------------------------------------------------
    def pictures(self):
        screen = self.screen("1024x768")
        screen.start("openbox")
        wait(lambda: b"window id" in screen.run("xprop", "-root", "_NET_SUPPORTING_WM_CHECK", check=False).stdout, 10, "the window manager")
        session = self.api.begin(screen.display, "pictures")
        moments = []

        def still(what):
            """Waits until two screenshots agree, keeps the second, and notes the session's time."""
            last = b""
            for _ in range(100):
                shot = screen.run("xwd", "-root", "-silent").stdout
                if shot == last:
                    break
                last = shot
            path = self.work / f"shot{len(moments)}.xwd"
            path.write_bytes(last)
            frames = int(next(r for r in self.recorder() if r["session_id"] == session)["frames"])
            moments.append((what, path, time.time(), frames))

        screen.start("xterm", "-geometry", "90x35+20+30", "-T", "text", "-e", "sh", "-c", "seq -s ' ' 1 700; sleep 1000")
        text = screen.window("text")
        still("xterm text")
        time.sleep(0.3)                      # screenshots are compared with the frame that stands 0.25 s after them
        photo = self.work / "photo.png"
        subprocess.run(["convert", "-size", "500x400", "plasma:tomato-steelblue", "-seed", "7", "-attenuate", "0.6", "+noise", "Gaussian", photo], check=True)
        screen.start("display", "-title", "photo", photo)
        picture = screen.window("photo")
        still("a photo-like image")
        time.sleep(0.3)
        screen.run("xdotool", "windowmove", "--sync", picture, "377", "211")
        still("a moved window")
        time.sleep(0.3)
        screen.run("xdotool", "windowactivate", "--sync", text)
        screen.start("xterm", "-geometry", "80x30+300+150", "-T", "scroll", "-e", "sh", "-c", "for i in $(seq 200); do echo line $i of a scrolling text; done; sleep 1000")
        screen.window("scroll")
        still("a scrolled text")
        time.sleep(0.3)
        screen.run("xdotool", "windowsize", "--sync", text, "800", "500")
        still("a resized window")
        time.sleep(0.3)
        self.api.finish(session)
        started = self.api.get(f"/sessions/{session}")["started_at"]
        began = time.mktime(time.strptime(started[:19], "%Y-%m-%dT%H:%M:%S")) - time.timezone + int(started[20:23]) / 1000
        for index, (what, shot, moment, _) in enumerate(moments):
            png = self.work / f"frame{index}.png"
            got = self.cluster.cli("frame", session, "--at", str(int((moment - began) * 1000) + 250), "--out", str(png), check=False)
            if not report.check(f"a frame is written after {what}", got.returncode == 0, got.stderr):
                continue
            differ = subprocess.run(["compare", "-metric", "AE", f"xwd:{shot}", png, "null:"], capture_output=True, text=True)
            report.check(f"{what}: the recorded frame equals the screenshot by xwd and compare, pixel for pixel", differ.stderr.strip() == "0", differ.stderr)
        self.exact("pictures", session)
        windows = self.api.events(session, "window")
        titles = {e["title"] for e in windows}
        report.check("window events tell titles, classes and programs", {"text", "photo", "scroll"} <= titles and any(e["wm_class"].lower().find("xterm") >= 0 and e["executable"].endswith("xterm") and e["pid"] for e in windows), windows[-3:])
        report.check("window events tell of creation, focus and change", {"created", "focused", "changed"} <= {e["action"] for e in windows}, {e["action"] for e in windows})

    def recorder(self):
        from support import request, service_token
        return request(SERVICES["session-recorder"] + self.cluster.offset, "GET", "/api/v1/recordings", token=service_token(self.cluster.data)).json["recordings"]

    # ---- two displays, one of which changes its size and one of which dies ------------------------------------------------
    def displays(self):
        resized, dying = self.screen("1280x720"), self.screen("800x600")
        for screen in (resized, dying):
            screen.start("xterm", "-geometry", "60x20+10+10", "-T", "ticks", "-e", "sh", "-c", TICKS)
            screen.window("ticks")
        first, second = self.api.begin(resized.display, "resized"), self.api.begin(dying.display, "dying")
        wait(lambda: all(self.api.get(f"/sessions/{s}")["chunks"] >= 1 for s in (first, second)), 15, "chunks of both displays")
        for mode in ("1024x600", "640x480"):
            resized.run("xrandr", "--output", "screen", "--off", "--fb", mode)   # Xvfb has one mode, which is the largest
            chunks = self.api.get(f"/sessions/{first}")["chunks"]
            wait(lambda: self.api.get(f"/sessions/{first}")["chunks"] > chunks, 15, "a chunk of the new size")
        killed = time.monotonic()
        dying.kill_server()
        self.api.reach(second, "completed", 20)
        report.check(f"an X server that is killed ends its recording as completed ({time.monotonic() - killed:.1f} s)", True)
        events = self.api.events(second)
        report.check("with an end record that says display_lost", events and events[-1]["kind"] == "end" and events[-1]["reason"] == "display_lost", events[-2:])
        report.check("and a cause in the session", bool(self.api.get(f"/sessions/{second}")["cause"]), self.api.get(f"/sessions/{second}"))
        report.check("the other recording goes on", self.api.status(first) == "recording")
        chunks = self.api.get(f"/sessions/{first}")["chunks"]
        wait(lambda: self.api.get(f"/sessions/{first}")["chunks"] > chunks, 15, "chunks of the display that lives")
        self.api.finish(first)
        for what, session in (("resized", first), ("killed", second)):
            self.exact(what, session)
            self.verified(what, session)
        sizes = set()
        for frame in self.frames(first)["list"][::5]:
            png = self.work / "size.png"
            self.cluster.cli("frame", first, "--at", str(frame["ms"]), "--out", str(png))
            raw = png.read_bytes()
            sizes.add((int.from_bytes(raw[16:20], "big"), int.from_bytes(raw[20:24], "big")))
        report.check("one recording holds frames of all three sizes", {(1280, 720), (1024, 600), (640, 480)} <= sizes, sizes)

    # ---- keys ------------------------------------------------------------------------------------------------------------
    def keys(self):
        typed = {}
        sessions = {}
        for mode in ("full", "metadata", "off"):
            screen = self.screen("640x400")
            screen.start("xterm", "-geometry", "60x15+10+10", "-T", "keys", "-e", "bash", "--norc", "-i")
            window = screen.window("keys")
            screen.run("xdotool", "windowfocus", "--sync", window)
            session = sessions[mode] = self.api.begin(screen.display, mode, keystrokes=mode)
            marker = self.work / f"prompt-{mode}"
            # Keys up to 0.3 s before and 1 s after a hidden prompt are masked too: the shell keeps that distance.
            screen.run("xdotool", "type", "--delay", "12", f"sleep 0.6; touch {marker}; read -s secret; sleep 1.2; touch {marker}.done\n")
            wait(marker.exists, 10, "the password prompt")
            echo_is_off(screen, 10)
            screen.run("xdotool", "type", "--delay", "12", "hunter2\n")
            wait(marker.with_name(marker.name + ".done").exists, 10, "the prompt's end")
            screen.run("xdotool", "type", "--delay", "12", "echo after\n")
            screen.start("sh", "-c", "printf 'clip of %s' \"$0\" | xclip -selection clipboard -loops 0 -quiet", mode)
            wait(lambda: b"clip of" in screen.run("xclip", "-o", "-selection", "clipboard", check=False).stdout, 10, "the clipboard")
        for mode, session in sessions.items():
            wait(lambda: self.api.ask("GET", f"/sessions/{session}/events?kinds=clipboard").json["events"], 15, "the clipboard to be recorded")
            self.api.finish(session)
            typed[mode] = [e for e in self.api.events(session, "key") if e["action"] != "release"]
        text = "".join(e["text"] for e in typed["full"])
        report.check("keystrokes=full keeps what was typed", "read -s secret" in text and "echo after" in text, text)
        report.check("what is typed while echo is off (read -s) is masked", "hunter2" not in text and sum(e["masked"] for e in typed["full"]) >= 7 and all(not e["keysym"] and not e["text"] for e in typed["full"] if e["masked"]),
                     (text, sum(e["masked"] for e in typed["full"])))
        report.check("keystrokes=metadata keeps that keys were pressed, not which", len(typed["metadata"]) > 40 and all(not e["text"] and not e["keysym"] and e["masked"] for e in typed["metadata"]), typed["metadata"][:3])
        report.check("keystrokes=off keeps no key", typed["off"] == [], typed["off"][:3])
        clips = [e for e in self.api.events(sessions["full"], "clipboard") if e["selection"].upper() == "CLIPBOARD"]
        report.check("a clipboard change is recorded with its text", any(e["text"] == "clip of full" for e in clips), clips)
        secret = [session for session in sessions.values() if b"hunter2" in self.content(session)]
        report.check("the password is nowhere in any recording's records", not secret, secret)
        for mode, session in sessions.items():
            self.exact(f"keystrokes={mode}", session)

    # ---- options and policy ------------------------------------------------------------------------------------------------
    def options(self):
        screen, dying = self.screen("640x400"), self.screen("640x400")
        for x in (screen, dying):
            x.start("xterm", "-geometry", "60x15+10+10", "-T", "vault of ann", "-e", "bash", "--norc", "-i")
            x.run("xdotool", "windowfocus", "--sync", x.window("vault of ann"))
        limited = self.api.ask("POST", "/sessions", {"name": "limited", "target": {"kind": "display", "display": screen.display}, "policy": {"max_duration": 2}}).json["id"]
        self.api.act(limited, "start")
        began = time.monotonic()
        plain = self.api.begin(screen.display, "plain", windows=False, clipboard=False)
        rich = self.api.begin(screen.display, "rich", processes=True, password_titles=["VAULT*"])
        paused = self.api.begin(dying.display, "paused")
        wait(lambda: len(self.recorder()) >= 4, 10, "four recordings")
        self.api.act(paused, "pause")
        self.api.reach(paused, "paused")
        screen.run("xdotool", "type", "--delay", "12", "sleep 2.5\n")
        clip = screen.start("sh", "-c", "printf 'a clip' | xclip -selection clipboard -loops 0 -quiet")
        wait(lambda: screen.run("xclip", "-o", "-selection", "clipboard", check=False).stdout == b"a clip", 10, "the clipboard")
        dying.kill_server()
        self.api.reach(paused, "completed", 20)
        ends = self.api.events(paused)
        report.check("an X server killed during a pause ends that recording too, with an end record", ends[-1]["kind"] == "end" and ends[-1]["reason"] == "display_lost", ends[-2:])
        self.api.reach(limited, "completed", 15)
        took = time.monotonic() - began
        report.check(f"max_duration of 2 s ends a recording by itself ({took:.1f} s) and says so", 1.9 <= took < 8 and self.api.get(f"/sessions/{limited}")["cause"], self.api.get(f"/sessions/{limited}"))
        wait(lambda: self.api.events(rich, "clipboard") and self.api.events(rich, "process"), 15, "the clipboard and processes to be recorded")
        clip.terminate()
        for session in (plain, rich):
            self.api.finish(session)
        kinds = {e["kind"] for e in self.api.events(plain)}
        report.check("windows=false and clipboard=false record neither", "key" in kinds and not kinds & {"window", "clipboard"}, kinds)
        events = self.api.events(rich)
        started = [e for e in events if e["kind"] == "process"]
        report.check("processes=true records programs with their arguments", any(e["argv"][:2] == ["sleep", "2.5"] for e in started), started[:3])
        keys = [e for e in events if e["kind"] == "key"]
        report.check("keys in a window of password_titles are masked", keys and all(e["masked"] and not e["text"] for e in keys), keys[:2])
        report.check("and stay readable in a recording without that rule", "sleep 2.5" in "".join(e["text"] for e in self.api.events(plain, "key") if e["action"] != "release"))

    def cookies(self):
        """A display with an authority file: its cookie opens it, another one or none does not."""
        import os
        good, bad = self.work / "good.auth", self.work / "bad.auth"
        read, write = os.pipe()
        subprocess.run(["xauth", "-q", "-f", good, "add", ":0", ".", "00112233445566778899aabbccddeeff"], check=True, capture_output=True)
        server = subprocess.Popen(["Xvfb", "-displayfd", str(write), "-screen", "0", "320x200x24", "-nolisten", "tcp", "-auth", good], pass_fds=[write], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        os.close(write)
        try:
            display = ":" + os.fdopen(read).readline().strip()
            for path, cookie in ((good, "00112233445566778899aabbccddeeff"), (bad, "ffeeddccbbaa99887766554433221100")):
                subprocess.run(["xauth", "-q", "-f", path, "add", display, ".", cookie], check=True, capture_output=True)
            for label, target in (("a wrong cookie", {"xauthority": str(bad)}), ("an authority file that is not there", {"xauthority": "/nonexistent"}), ("a directory as authority file", {"xauthority": "/"})):
                session = self.api.ask("POST", "/sessions", {"name": label, "target": {"kind": "display", "display": display, **target}}).json["id"]
                answer = self.api.act(session, "start")
                report.check(f"{label}: refused with a problem, the session failed and says why", not answer.fault(409, 422, 503) and self.api.status(session) == "failed" and self.api.get(f"/sessions/{session}")["cause"],
                             (answer.fault(409, 422, 503), answer.body[:300], self.api.status(session)))
            session = self.api.ask("POST", "/sessions", {"name": "good", "target": {"kind": "display", "display": display, "xauthority": str(good)}}).json["id"]
            answer = self.api.act(session, "start")
            report.check("the right cookie opens it", answer.status == 200, answer.body[:300])
            self.api.reach(session, "recording")
            self.api.finish(session)
        finally:
            server.terminate()
            server.wait()

    def content(self, session):
        rows = self.api.get(f"/sessions/{session}/chunks?limit=1000")["chunks"]
        return b"".join(self.api.ask("GET", f"/sessions/{session}/chunks/{row['sequence']}/content", headers={"Accept-Encoding": "identity"}).body for row in rows)


def echo_is_off(screen, seconds):
    """Waits until the terminal of the shell in this screen's xterm has echo switched off."""
    import termios
    xterm = screen.programs[0].pid

    def off():
        try:
            child = subprocess.run(["ps", "-o", "tty=", "--ppid", str(xterm)], capture_output=True, text=True).stdout.split()[0]
            with open("/dev/" + child, "rb", buffering=0) as tty:
                return not termios.tcgetattr(tty)[3] & termios.ECHO
        except (IndexError, OSError):
            return False
    wait(off, seconds, "echo to be off")


def main():
    with tempfile.TemporaryDirectory(prefix="lucid-life-") as work:
        (pathlib.Path(work) / "data").mkdir(mode=0o700)
        cluster = Cluster(work)
        suite = Suite(cluster, work)
        try:
            for part in (suite.life, suite.pictures, suite.displays, suite.keys, suite.options, suite.cookies):
                try:
                    part()
                except Exception as error:     # the other parts are still worth knowing
                    report.check(f"{part.__name__} runs to its end", False, f"{type(error).__name__}: {error}")
        finally:
            for screen in suite.screens:
                screen.stop()
            cluster.stop()
        report.check("no service was restarted", not any(s.restarts for s in cluster.services.values()))
        for log in sorted(pathlib.Path(work).glob("*.log")):
            unexpected = [line for line in log.read_text(errors="replace").splitlines() if "failed unexpectedly" in line or "terminate called" in line]
            report.check(f"{log.stem}: nothing failed unexpectedly", not unexpected, unexpected[:3])
    return report.end()


sys.exit(main())
