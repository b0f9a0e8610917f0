#!/usr/bin/env python3
"""Counts what RDP servers of Lucid could leave behind on this host, as JSON on stdout. Reads only.

    rdp_leaks.py [DATA]      DATA: the deployment's data directory, to count DATA/rdp/servers too

With no server alive every count is 0; with the warm pool it is what the pool holds. --list names what was found.
"""
import argparse
import json
import os
import pwd
import re

PORTS = range(13389, 14390)


def processes():
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as f:
                text = f.read()
            with open(f"/proc/{pid}/status", encoding="utf-8", errors="replace") as f:
                uid = int(re.search(r"^Uid:\t(\d+)", f.read(), re.M).group(1))
            with open(f"/proc/{pid}/cmdline", "rb") as f:
                argv = f.read().decode(errors="replace").split("\0")[:-1]
        except (OSError, AttributeError):
            continue
        name = text[text.index("(") + 1:text.rindex(")")]
        state, parent = text[text.rindex(")") + 2:].split()[:2]
        yield {"pid": int(pid), "name": name, "state": state, "parent": int(parent), "uid": uid, "argv": argv}


def listening():
    found = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            with open(table, encoding="ascii") as f:
                for line in f.readlines()[1:]:
                    fields = line.split()
                    port = int(fields[1].rsplit(":", 1)[1], 16)
                    if fields[3] == "0A" and port in PORTS:
                        found.add(port)
        except OSError:
            pass
    return sorted(found)


def entries(directory):
    try:
        return sorted(os.listdir(directory))
    except OSError:
        return []


def x_files(uids, living):
    """X locks and sockets of accounts of ours, of users that exist no more, and of people whose X server does not run (system users' X servers are others')."""
    found = []
    for name in entries("/tmp"):
        match = re.fullmatch(r"\.X(\d+)-lock", name)
        if not match:
            continue
        try:
            uid = os.lstat(f"/tmp/{name}").st_uid
            with open(f"/tmp/{name}", encoding="ascii", errors="replace") as f:
                pid = int(f.read().strip() or 0)
        except (OSError, ValueError):
            continue
        if uid in uids or not known(uid) or (uid >= 1000 and pid not in living):
            found.append(f"/tmp/{name}")
    for name in entries("/tmp/.X11-unix"):
        try:
            uid = os.lstat(f"/tmp/.X11-unix/{name}").st_uid
        except OSError:
            continue
        if uid in uids or not known(uid) or (uid >= 1000 and not os.path.exists(f"/tmp/.{name}-lock")):
            found.append(f"/tmp/.X11-unix/{name}")
    return found


def known(uid):
    try:
        pwd.getpwuid(uid)
        return True
    except KeyError:
        return False


def cgroups():
    found = []
    with open("/proc/self/mounts", encoding="utf-8") as f:
        for line in f:
            place, kind = line.split()[1:3]
            if kind in ("cgroup", "cgroup2"):
                ours = f"{place}/lucid-rdp"
                found += [f"{ours}/{n}" for n in entries(ours) if os.path.isdir(f"{ours}/{n}")]
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="?")
    parser.add_argument("--list", action="store_true", help="name everything, do not only count")
    options = parser.parse_args()
    accounts = [a for a in pwd.getpwall() if a.pw_gecos.startswith("Lucid ") and a.pw_uid >= 1000]
    uids = {a.pw_uid for a in accounts}
    every = list(processes())
    living = {p["pid"] for p in every if p["state"] not in "ZX"}
    mine = [p for p in every if p["pid"] in living]
    sesman = {p["pid"] for p in mine if p["name"] == "xrdp-sesman"}
    found = {
        "account_processes": [f"{p['pid']} {p['name']}" for p in mine if p["uid"] in uids or (p["uid"] >= 1000 and not known(p["uid"]))],
        "xrdp_processes": [f"{p['pid']} {' '.join(p['argv'])}" for p in mine if p["name"] == "xrdp"],
        # Leaders of X sessions: children of sesman, or of nobody when sesman died. The sesman itself is one process and stays.
        "session_leaders": [f"{p['pid']} {p['name']}" for p in mine if p["name"] == "xrdp-sesman" and (p["parent"] in sesman)],
        "sesman_processes_beyond_one": [str(pid) for pid in sorted(p["pid"] for p in mine if p["name"] == "xrdp-sesman" and p["parent"] not in sesman)][1:],
        "zombies": [f"{p['pid']} {p['name']}" for p in every if p["state"] == "Z" and p["parent"] != 1 and p["name"] in ("xrdp", "xrdp-sesman", "xmessage", "Xorg")],
        "accounts": [a.pw_name for a in accounts],
        "homes": [n for n in entries("/home") if re.fullmatch(r"lu[a-z0-9]{7}", n)],
        "x_files": x_files(uids, living),
        "xrdp_sockets": entries("/run/xrdp/sockdir"),
        "ports": [str(p) for p in listening()],
        "server_directories": entries(f"{options.data}/rdp/servers") if options.data else [],
        "cgroups": cgroups(),
    }
    print(json.dumps(found if options.list else {k: len(v) for k, v in found.items()}, indent=2))


if __name__ == "__main__":
    main()
