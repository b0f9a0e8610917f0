#!/usr/bin/env python3
"""Verifies the golden bundle without any of the project's code: SHA-256 from hashlib, Ed25519 from python3-cryptography,
BLAKE3 from the program b3sum, the layout from docs/formats/. Run from the repository root. Prints one line; exits 1
when anything differs or a changed bundle is accepted; 77: cannot run here, which CI=true counts as failed."""
import base64, hashlib, json, os, struct, subprocess, sys

try:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
except ImportError:
    print("not run: python3-cryptography is absent")
    sys.exit(1 if os.environ.get("CI") == "true" else 77)


class Refused(Exception):
    pass


def need(condition, what):
    if not condition:
        raise Refused(what)


def blake3(data):
    return bytes.fromhex(subprocess.run(["b3sum", "--no-names"], input=data, capture_output=True, check=True).stdout.decode().strip())


def leaf_hash(data):
    return hashlib.sha256(b"\0" + data).digest()


def root(leaves):
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    k = 1
    while k * 2 < len(leaves):
        k *= 2
    return hashlib.sha256(b"\1" + root(leaves[:k]) + root(leaves[k:])).digest()


def open_note(note, origin, key):
    text, signature = note.decode().rsplit("\n\n", 1)
    text += "\n"
    dash, name, encoded = signature.rstrip("\n").split(" ")
    raw = base64.b64decode(encoded, validate=True)
    key_id = hashlib.sha256(name.encode() + b"\n\x01" + key).digest()[:4]
    need(dash == "\u2014" and name == origin and raw[:4] == key_id, "signed by another key")
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(raw[4:], text.encode())
    except InvalidSignature:
        raise Refused("signature")
    lines = text.split("\n")[:-1]
    need(lines[0] == origin, "origin")
    return int(lines[1]), base64.b64decode(lines[2], validate=True), lines[3:]


def verify(file, key):
    magic, version, zero1, manifest_size, zero2, chunk_count = struct.unpack_from("<4sHHIIQ", file, 0)
    need((magic, version, zero1, zero2) == (b"LBDL", 1, 0, 0), "header")
    magic, zero, checkpoint_size, note_size, leaf_count, size = struct.unpack_from("<4sIIIQQ", file, len(file) - 64)
    need((magic, zero, size) == (b"LEND", 0, len(file)), "trailer")
    outside = bytearray(file[:24 + manifest_size])
    manifest_text = file[24:24 + manifest_size]
    manifest = json.loads(manifest_text)
    at, leaves = 24 + manifest_size, []
    for sequence in range(chunk_count):
        (length,) = struct.unpack_from("<I", file, at)
        outside += file[at:at + 4]
        chunk = file[at + 4:at + 4 + length]
        at += 4 + length
        magic, version, _, _, session, number, _, _, sealed, flags, _, first, last = struct.unpack_from("<4sHBB16sQIIIHHqq", chunk, 0)
        need((magic, version, number, length) == (b"LCHK", 1, sequence, 104 + sealed), "chunk header")
        need(session.hex() == manifest["session"].replace("-", ""), "session")
        leaves.append(leaf_hash(struct.pack("<4sHHI16sQqq32s", b"LLEF", 1, flags, length, session, number, first, last, blake3(chunk))))
    need(leaf_count == chunk_count and file[at:at + 32 * leaf_count] == b"".join(leaves), "leaves")
    outside += file[at:len(file) - 32]
    at += 32 * leaf_count
    need(struct.unpack_from("<I", file, at)[0] == checkpoint_size, "checkpoint length")
    checkpoint = file[at + 4:at + 4 + checkpoint_size]
    at += 4 + checkpoint_size
    need(struct.unpack_from("<I", file, at)[0] == note_size, "note length")
    note = file[at + 4:at + 4 + note_size]
    need(at + 4 + note_size == len(file) - 64, "layout")
    need(blake3(bytes(outside)) == file[-32:], "trailer hash")
    origin = f"lucid/{manifest['node']}/session/{manifest['session']}"
    need(open_note(checkpoint, origin, key)[:2] == (chunk_count, root(leaves)), "checkpoint")
    digest = "sha256 " + hashlib.sha256(manifest_text).hexdigest()
    need(open_note(note, origin + "/manifest", key) == (1, leaf_hash(manifest_text), [digest]), "manifest note")
    return chunk_count


directory = "tests/golden/bundle/v1/"
with open(directory + "recording.lucid", "rb") as f:
    bundle = f.read()
with open(directory + "checkpoint.pub") as f:
    text = f.read().strip().removeprefix("lucid-sig-pub:")
public = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))

try:
    chunks = verify(bundle, public)
except Refused as refused:
    print(f"FAILED: the golden bundle is refused: {refused}")
    sys.exit(1)
detected = 0
for position in range(0, len(bundle), 48):
    altered = bytearray(bundle)
    altered[position] ^= 1
    try:
        verify(bytes(altered), public)
        print(f"FAILED: byte {position} altered and accepted")
        sys.exit(1)
    except (Refused, ValueError, KeyError, struct.error):
        detected += 1
print(f"golden bundle: {chunks} chunks verified independently, {detected} alterations refused")
