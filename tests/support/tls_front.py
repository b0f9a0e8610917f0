#!/usr/bin/env python3
"""A TLS end in front of a plain server of a test, made with Python's ssl: what our client speaks to is not our own code.

tls_front.py normal|stall|cut|old TO_PORT CERTIFICATE_AND_KEY.pem...: takes connections on a free port of loopback for each certificate and
passes their bytes on to TO_PORT. Says "port N" for each, then one line a connection: "VERSION ALPN SNI". stall: accepts and says nothing.
cut: when the server is done, the connection ends without TLS's goodbye. old: TLS 1.1 only. Ends when its standard input does.
"""
import asyncio
import os
import socket
import ssl
import sys
import threading
import warnings

mode, to_port, certificates = sys.argv[1], int(sys.argv[2]), sys.argv[3:]
names = {}


def say(text):
    print(text, flush=True)


def context(certificate):
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(certificate)
    made.set_alpn_protocols(["h2", "http/1.1"])

    def named(sock, name, _):
        names[id(sock)] = name

    made.sni_callback = named
    if mode == "old":
        warnings.simplefilter("ignore")
        made.minimum_version = made.maximum_version = ssl.TLSVersion.TLSv1_1
        made.set_ciphers("DEFAULT@SECLEVEL=0")
    return made


async def pump(reader, writer):
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()


async def serve(reader, writer):
    if mode == "stall":
        await reader.read()
        return
    tls = writer.get_extra_info("ssl_object")
    say(f"{tls.version()} {tls.selected_alpn_protocol()} {names.pop(id(tls), None)}")
    back_reader, back_writer = await asyncio.open_connection("127.0.0.1", to_port)
    upward = asyncio.ensure_future(pump(reader, back_writer))
    downward = asyncio.ensure_future(pump(back_reader, writer))
    await asyncio.wait([upward, downward], return_when=asyncio.FIRST_COMPLETED)
    for task in (upward, downward):
        task.cancel()
    await asyncio.gather(upward, downward, return_exceptions=True)
    back_writer.close()
    if mode == "cut":
        writer.transport.abort()
    else:
        writer.close()


def refuse_all(listener, with_tls):
    # On a bare socket: asyncio would swallow the alert that says why.
    while True:
        try:
            with_tls.wrap_socket(listener.accept()[0], server_side=True).close()
        except OSError:
            pass


async def main():
    for certificate in certificates:
        listener = socket.create_server(("127.0.0.1", 0))
        if mode == "old":
            threading.Thread(target=refuse_all, args=(listener, context(certificate)), daemon=True).start()
        else:
            await asyncio.start_server(serve, sock=listener, ssl=None if mode == "stall" else context(certificate))
        say(f"port {listener.getsockname()[1]}")
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.buffer.read)
    os._exit(0)


loop = asyncio.new_event_loop()
loop.set_exception_handler(lambda _, what: None)  # handshakes that fail are what tests are for
loop.run_until_complete(main())
