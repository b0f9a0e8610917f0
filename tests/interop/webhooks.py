#!/usr/bin/env python3
"""Takes real deliveries and verifies them without any of the project's code: with Python's hmac as the specification of Standard Webhooks
has it and, where it is installed, with the reference library `standardwebhooks`. webhooks.py WEBHOOKS_EMIT. Exits 1 when anything differs or
an altered delivery is accepted."""
import base64
import hashlib
import hmac
import http.server
import json
import queue
import subprocess
import sys
import threading
import time

try:
    from standardwebhooks.webhooks import Webhook, WebhookVerificationError
except ImportError:
    Webhook = None

came = queue.Queue()


class Receiver(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        came.put(({name.lower(): value for name, value in self.headers.items()}, body))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_):
        pass


def good(secret, headers, body):
    key = base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    text = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    expected = "v1," + base64.b64encode(hmac.new(key, text, hashlib.sha256).digest()).decode()
    fresh = abs(time.time() - int(headers["webhook-timestamp"])) < 300
    ours = fresh and any(hmac.compare_digest(expected, one) for one in headers["webhook-signature"].split(" "))
    if Webhook is not None:
        try:
            Webhook(secret).verify(body, headers)
            theirs = True
        except WebhookVerificationError:
            theirs = False
        assert ours == theirs, "the reference library says otherwise"
    return ours


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
threading.Thread(target=server.serve_forever, daemon=True).start()
sender = subprocess.Popen([sys.argv[1], f"http://127.0.0.1:{server.server_port}/hook?a=b"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
secret = sender.stdout.readline().strip()
ids = set()
try:
    for n in (1, 2, 3):
        headers, body = came.get(timeout=20)
        event = json.loads(body)
        assert good(secret, headers, body), "a delivery is not signed as the specification has it"
        assert not good(secret, headers, body + b" "), "an altered body is accepted"
        assert not good(secret, headers | {"webhook-id": "another"}, body), "another id is accepted"
        assert not good(secret, headers | {"webhook-timestamp": str(int(headers["webhook-timestamp"]) + 1)}, body), "another time is accepted"
        assert (event["id"], event["type"], event["data"]["n"]) == (headers["webhook-id"], "alert.firing", n), event
        assert event["data"]["text"] == 'Ünïcode "quoted" \\ 🙂'
        ids.add(event["id"])
finally:
    sender.stdin.close()
    sender.wait(timeout=20)
assert len(ids) == 3
print(f"3 deliveries verified with hmac{' and standardwebhooks' if Webhook is not None else '; standardwebhooks is not installed'}")
