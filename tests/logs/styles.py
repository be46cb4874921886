#!/usr/bin/env python3
"""Logs in the styles of many frameworks (tests/data/logs/styles): NAME.log gives exactly the points of NAME.points.

styles.py TOOL [--update] [NAME ...]    TOOL is a program that works as `winnow parse -o jsonl FILE`
"""
import json, os, subprocess, sys

FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "data", "logs", "styles")


def points(tool, path):
    out = subprocess.run([tool, "-o", "jsonl", path], capture_output=True, text=True, timeout=60, check=True).stdout
    rows = [json.loads(line) for line in out.splitlines()]
    said = lambda v: "-" if v is None else str(v)
    return ["%d\t%s\t%s\t%s\t%s" % (r["line"], said(r["step"]), said(r["epoch"]), r["key"], r["value"]) for r in rows]


def main():
    tool, names = sys.argv[1], [a for a in sys.argv[2:] if not a.startswith("--")]
    failures = 0
    for file in sorted(os.listdir(FOLDER)):
        name, kind = os.path.splitext(file)
        if kind not in (".log", ".pty") or (names and name not in names):
            continue
        got, expected = points(tool, os.path.join(FOLDER, file)), os.path.join(FOLDER, name + ".points")
        if "--update" in sys.argv:
            open(expected, "w").write("".join(p + "\n" for p in got))
            continue
        wanted = open(expected).read().splitlines() if os.path.exists(expected) else ["no file of points"]
        if got != wanted:
            failures += 1
            print(f"{name}:")
            for line in [f"  - {p}" for p in wanted if p not in got][:5] + [f"  + {p}" for p in got if p not in wanted][:5]:
                print(line)
    print(f"{failures} styles differ")
    return 1 if failures else 0


sys.exit(main())
