"""An independent reader of the evidence: RFC 9162 proofs, C2SP signed notes (Ed25519 by openssl), leaves, BLAKE3 by b3sum.

Written from RFC 9162 sections 2.1.3.2 and 2.1.4.2 and the pages in docs/formats; it shares no code with Lucid.
"""
import base64
import hashlib
import pathlib
import struct
import subprocess
import tempfile
import uuid


def leaf_hash(data):
    return hashlib.sha256(b"\x00" + data).digest()


def node_hash(left, right):
    return hashlib.sha256(b"\x01" + left + right).digest()


def inclusion_holds(index, size, leaf, proof, root):
    if index >= size:
        return False
    fn, sn, r = index, size - 1, leaf
    for p in proof:
        if sn == 0:
            return False
        if fn & 1 or fn == sn:
            r = node_hash(p, r)
            while fn and not fn & 1:
                fn, sn = fn >> 1, sn >> 1
        else:
            r = node_hash(r, p)
        fn, sn = fn >> 1, sn >> 1
    return sn == 0 and r == root


def consistency_holds(first, second, root1, root2, proof):
    if first == second:
        return not proof and root1 == root2
    if not 0 < first < second or not proof:
        return False
    path = list(proof)
    if first & (first - 1) == 0:
        path.insert(0, root1)
    fn, sn = first - 1, second - 1
    while fn & 1:
        fn, sn = fn >> 1, sn >> 1
    fr = sr = path[0]
    for c in path[1:]:
        if sn == 0:
            return False
        if fn & 1 or fn == sn:
            fr, sr = node_hash(c, fr), node_hash(c, sr)
            while fn and not fn & 1:
                fn, sn = fn >> 1, sn >> 1
        else:
            sr = node_hash(sr, c)
        fn, sn = fn >> 1, sn >> 1
    return sn == 0 and fr == root1 and sr == root2


def blake3(data):
    return bytes.fromhex(subprocess.run(["b3sum", "--no-names"], input=data, capture_output=True, check=True).stdout.decode().strip())


def ed25519_holds(public, message, signature):
    """By `openssl pkeyutl`; the key as SubjectPublicKeyInfo of RFC 8410."""
    with tempfile.TemporaryDirectory() as work:
        work = pathlib.Path(work)
        (work / "key").write_bytes(bytes.fromhex("302a300506032b6570032100") + public)
        (work / "message").write_bytes(message)
        (work / "signature").write_bytes(signature)
        return subprocess.run(["openssl", "pkeyutl", "-verify", "-rawin", "-pubin", "-keyform", "DER", "-inkey", work / "key", "-in", work / "message", "-sigfile", work / "signature"],
                              capture_output=True).returncode == 0


def open_checkpoint(note, public, origin):
    """(size, root) of a signed note, or raises ValueError naming what is wrong."""
    body, _, signatures = note.partition("\n\n")
    body += "\n"
    lines = body.split("\n")
    if lines[0] != origin:
        raise ValueError(f"origin {lines[0]!r}, not {origin!r}")
    key_id = hashlib.sha256(origin.encode() + b"\n\x01" + public).digest()[:4]
    for line in signatures.splitlines():
        dash, name, blob = line.split(" ")
        raw = base64.b64decode(blob, validate=True)
        if dash == "\u2014" and name == origin and raw[:4] == key_id:
            if not ed25519_holds(public, body.encode(), raw[4:]):
                raise ValueError("the signature does not hold")
            return int(lines[1]), base64.b64decode(lines[2], validate=True)
    raise ValueError("no signature of this key")


def leaf_of_chunk(stored):
    """The 84 bytes of docs/formats/evidence.md, made from the stored chunk alone."""
    session, sequence = stored[8:24], stored[24:32]
    return b"LLEF" + struct.pack("<H", 1) + stored[44:46] + struct.pack("<I", len(stored)) + session + sequence + stored[48:64] + blake3(stored)


def session_of_chunk(stored):
    return str(uuid.UUID(bytes=stored[8:24]))
