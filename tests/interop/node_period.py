#!/usr/bin/env python3
"""Recomputes a period from its receipts' bytes, independently of Lucid's own code, and compares every line to the micro-unit.

Usage: tests/interop/node_period.py NODE_MONTH [NODES [EPOCHS]]. NODE_MONTH (tests/performance/node_month.cpp) writes the
receipts, in no order and some of them twice, what earlier periods left, its statement and the ranks of the last epoch.
Only the documents were read for this: node/poot/receipt.hpp for the bytes, docs/services/node-management/scores.md for
the formulas. Fractions are exact; nothing here shares code with what it checks.
"""
import collections
import hashlib
import json
import math
import pathlib
import struct
import subprocess
import sys
import tempfile
import uuid
from fractions import Fraction

GIB, MIB = 1 << 30, 1 << 20


def read_receipts(data):
    """{(node, epoch): {kind: body}}; the same receipt twice is one."""
    receipts, at = {}, 0
    while at < len(data):
        (length,) = struct.unpack_from("<I", data, at)
        leaf = data[at + 4:at + 4 + length]
        at += 4 + length
        version, kind, epoch, node = struct.unpack_from("<BBQ16s", leaf)
        assert version == 1
        kinds = receipts.setdefault((node, epoch), {})
        assert kinds.setdefault(kind, leaf[26:]) == leaf[26:], "two different receipts of one node, epoch and kind"
    return receipts


def epoch_work(kinds):
    """(credits without validations, sessions validated, slots up) of one node in one epoch."""
    credits, sessions, slots_up = 0, set(), 0
    if 1 in kinds:
        for _, count, size in struct.iter_unpack("<HIQ", kinds[1][2:]):
            if size > 0:
                credits += max(count, -(-size // (5 * MIB)))  # rounded up
    if 2 in kinds:
        slots_up = bin(int.from_bytes(kinds[2], "little")).count("1")
    if 3 in kinds:
        size, chunks, asked, passed = struct.unpack("<QIII", kinds[3])
        if asked:
            credits += math.floor((math.floor(Fraction(10 * size, GIB)) + 2 * chunks) * Fraction(passed, asked))
    if 4 in kinds:
        sessions = {kinds[4][at:at + 16] for at in range(4, len(kinds[4]), 16)}
    return credits, sessions, slots_up


def score(work, node, epoch):
    """(credits of the epoch, credits of the window, uptime) at the end of an epoch."""
    window = [work.get((node, e), (0, set(), 0)) for e in range(epoch - 6, epoch + 1)]
    uptime = min(Fraction(sum(up for _, _, up in window), 5040), Fraction(1))
    before = set().union(*(sessions for _, sessions, _ in window[:6]))
    own = window[6][0] + 5 * len(window[6][1] - before)
    credits = sum(c for c, _, _ in window) + 5 * len(before | window[6][1])
    return own, credits, uptime


def tie(epoch, root, node):
    return hashlib.sha256(struct.pack("<Q", epoch) + root + node).digest()


def micros(text):
    whole, fraction = text.split(".")
    assert len(fraction) == 6
    return int(whole) * 10**6 + int(fraction)


def recompute(folder):
    first, last, budget, budget_in, root, *policy = (folder / "period.txt").read_text().split()
    first, last, budget, budget_in, root = int(first), int(last), int(budget), int(budget_in), bytes.fromhex(root)
    withheld_share, fee_share = Fraction(int(policy[0]), int(policy[1])), Fraction(int(policy[2]), int(policy[3]))
    threshold, split_above, minimum = map(int, policy[4:])
    accounts = {}
    for line in (folder / "accounts.txt").read_text().splitlines():
        node, standing, carried, withheld = line.split()
        accounts[uuid.UUID(node).bytes] = (standing, int(carried), int(withheld))
    work = {key: epoch_work(kinds) for key, kinds in read_receipts((folder / "receipts.bin").read_bytes()).items()}
    nodes = {node for node, epoch in work if max(0, first - 6) <= epoch <= last}

    live, ranking = {}, []
    for node in nodes:
        live[node] = Fraction(0)
        for epoch in range(first, last + 1):
            own, credits, uptime = score(work, node, epoch)
            admitted = credits > 0 and uptime >= Fraction(1, 5)
            if admitted:
                live[node] += own * uptime
        ranking.append((not admitted, -credits * uptime, tie(last, root, node), node) if admitted else (True, 0, b"", node))
    ranks = {entry[3]: 0 if entry[0] else place for place, entry in enumerate(sorted(ranking), 1)}

    everyone = nodes | {node for node, (_, carried, withheld) in accounts.items() if carried or withheld}
    weights = {n: live[n] for n in nodes if live[n] > 0 and accounts.get(n, ("member",))[0] != "banned"}
    whole, shares = sum(weights.values()), collections.Counter()
    if whole:
        quota = {n: (budget + budget_in) * weight / whole for n, weight in weights.items()}
        shares.update({n: math.floor(q) for n, q in quota.items()})
        rest = budget + budget_in - sum(shares.values())
        for n in sorted(quota, key=lambda n: (math.floor(quota[n]) - quota[n], tie(last, root, n)))[:rest]:
            shares[n] += 1
    lines = {}
    for node in everyone:
        standing, carried_in, withheld_in = accounts.get(node, ("member", 0, 0))
        share = shares[node]
        withheld = math.floor(share * withheld_share) if standing == "member" else 0
        released = withheld_in if standing == "left" else 0
        fee = math.floor((share - withheld + released) * fee_share)
        due = carried_in + share - withheld + released - fee
        payments, rest = [], due
        if standing != "banned" and due >= (minimum if standing == "left" else threshold):
            while rest >= minimum:
                payments.append(min(rest, split_above))
                rest -= payments[-1]
        lines[node] = {"standing": standing, "live": 0 if standing == "banned" else live.get(node, 0) * 5040, "share": share, "withheld": withheld,
                       "withheld_in": withheld_in, "released": released, "withheld_out": withheld_in + withheld - released, "fee": fee,
                       "carried_in": carried_in, "due": due, "payments": payments, "paid": sum(payments), "carried_out": rest}
    return lines, ranks, 0 if whole else budget + budget_in


def main():
    binary, nodes, epochs = sys.argv[1], *(sys.argv[2:] + ["300", "30"][len(sys.argv) - 2:])
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        subprocess.run([binary, "--nodes", nodes, "--epochs", epochs, "--export", name], check=True, stdout=subprocess.DEVNULL)
        lines, ranks, unspent = recompute(folder)
        statement = json.loads((folder / "statement.json").read_text())
        tally = [line.split() for line in (folder / "tally.txt").read_text().splitlines()]
    differences = []
    theirs = {uuid.UUID(line["node"]).bytes: line for line in statement["lines"]}
    if list(theirs) != sorted(lines):
        differences.append(f"the statement has {len(theirs)} lines, recomputed are {len(lines)}, or they do not ascend")
    for node, mine in lines.items():
        for key, value in mine.items():
            stated = theirs.get(node, {}).get(key)
            if stated is not None and key == "payments":
                stated = [micros(amount) for amount in stated]
            elif stated is not None and key not in ("standing", "live"):
                stated = micros(stated)
            elif stated is not None and key == "live":
                stated = int(stated)
            if stated != value:
                differences.append(f"{uuid.UUID(bytes=node)} {key}: stated {stated}, recomputed {value}")
    if micros(statement["budget_carried_out"]) != unspent:
        differences.append("budget_carried_out differs")
    if {uuid.UUID(node).bytes: int(rank) for node, rank, *_ in tally} != ranks:
        differences.append("the ranks of the last epoch differ")
    for difference in differences[:20]:
        print(difference)
    paid = sum(line["paid"] for line in lines.values())
    print(f"{len(lines)} lines, {len(ranks)} ranks, {paid // 10**6}.{paid % 10**6:06} paid: {len(differences)} differences")
    return 1 if differences or not lines else 0


sys.exit(main())
