#!/usr/bin/env python3
"""What the compiler does not check: include direction, tests that no build list names, paths of one machine, long files.

Usage: tests/lint/check_tree.py [ROOT]. Prints each finding with its file; exits 1 when there is one.
"""
import pathlib
import re
import subprocess
import sys

# Bottom to top: a folder may include itself and what stands before it. Services never include one another.
LAYERS = ["lib/base", "lib/crypto", "lib/net", "lib/runtime", "lib/store", "lib/webhooks", "lib/desktop", "lib/evidence", "lib/recording",
          "lib/contracts", "sessions", "rdp", "node", "app"]
HEAVY = {"boost/beast": "lib/net", "boost/asio": "lib/net", "xcb/": "lib/desktop", "xkbcommon": "lib/desktop", "sqlite3.h": "lib/store",
         "openssl/": "lib/crypto", "sodium.h": "lib/crypto", "blake3.h": "lib/crypto", "prometheus/": "lib/runtime",
         "spdlog/": "lib/runtime", "turbojpeg.h": "lib/recording", "zstd.h": "lib/recording"}
# Tests and benchmarks compare with the libraries themselves.
FREE = re.compile(r"(_test|_bench)\.cpp$|^tests/|/fuzz_")


def layer_of(path):
    for index, layer in enumerate(LAYERS):
        if path.startswith(layer + "/"):
            return index
    return None


def main():
    root = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else ".").resolve()
    listed = subprocess.run(["git", "ls-files", "--cached", "--others", "--exclude-standard"], cwd=root, text=True, capture_output=True, check=True)
    files = [f for f in listed.stdout.split("\n") if f and (root / f).is_file()]
    cmake = "\n".join((root / f).read_text() for f in files if f.endswith(("CMakeLists.txt", ".cmake")))
    findings = []
    for name in files:
        if not name.endswith((".cpp", ".hpp")):
            continue
        text = (root / name).read_text(encoding="utf-8")
        lines = text.count("\n")
        if lines > 500:
            findings.append(f"{name}: {lines} lines; split it by idea (limit 500)")
        if name.endswith(".cpp") and layer_of(name) is not None and not re.search(r"\b" + re.escape(pathlib.Path(name).name) + r"\b", cmake):
            findings.append(f"{name}: in no CMakeLists.txt")
        here = layer_of(name)
        for line in re.findall(r'^#include ["<]([^">]+)[">]', text, re.M):
            there = layer_of(line)
            if here is not None and there is not None and not FREE.search(name):
                if there > here:
                    findings.append(f"{name}: includes {line}, which lies above it")
                if LAYERS[here] == "sessions" and LAYERS[there] == "sessions" and name.split("/")[1] != line.split("/")[1]:
                    findings.append(f"{name}: includes {line} of another service")
            for heavy, owner in HEAVY.items():
                if line.startswith(heavy) and not name.startswith(owner + "/") and not FREE.search(name):
                    findings.append(f"{name}: includes <{line}>, which only {owner} may")
    for name in files:
        if name.endswith((".cpp", ".hpp", ".sh", ".py", ".md", ".txt", ".cmake", ".json", ".yaml")):
            if f"{root}/" in (root / name).read_text(encoding="utf-8", errors="replace"):
                findings.append(f"{name}: names the path of this checkout")
    for finding in findings:
        print(finding)
    print(f"{len(files)} files checked, {len(findings)} findings")
    return 1 if findings else 0


sys.exit(main())
