#!/usr/bin/env python3
"""How many of the samples (tests/data/logs/samples/*.txt) are understood? Each says what a careful reader takes from it.

samples.py TOOL [--verbose] [NAME ...]    TOOL is a program that works as `winnow parse -o jsonl FILE`

    === name             begins a sample; "=== name (not yet)": one that is known not to be understood
    a line of the log    with \\r \\t \\b \\e \\xNN \\\\ for what cannot be seen
    > @20/3 loss=0.5     what the line above says: step 20 of epoch 3 ("-": it does not say), and values, each under a name of this file.
                         "~20" is a step within the epoch; "?loss=0.5" may be found; "> *": anything may.

Of a line without ">" nothing may be taken. A sample is understood when each value is found at its place, each name of this file under one
key of its own, and nothing else is read. The test fails when one is not, or when one is that was "not yet".
"""
import collections, json, math, os, re, subprocess, sys, tempfile

FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "data", "logs", "samples")
ESCAPES = {"r": "\r", "t": "\t", "b": "\b", "e": "\x1b", "\\": "\\"}


def unescape(line):
    return re.sub(r"\\(x[0-9a-f]{2}|[rtbe\\>=])", lambda m: ESCAPES.get(m[1], chr(int(m[1][1:], 16)) if m[1][0] == "x" else m[1]), line)


def number(text):
    return float(str(text).lower().replace("infinity", "inf"))


def same(a, b):
    return (math.isnan(a) and math.isnan(b)) or a == b or abs(a - b) <= 1e-9 * max(abs(a), abs(b))


class Sample:
    def __init__(self, title):
        self.later = title.endswith("(not yet)")
        self.name = title.replace("(not yet)", "").strip()
        self.lines, self.wanted, self.free = [], [], set()

    def expect(self, text):
        words = text.split()
        if words == ["*"]:
            self.free.add(len(self.lines))
            return
        step, epoch = (words.pop(0)[1:] if words[0].startswith("@") else "-/-").split("/")
        place = (None if step in ("-", "") or step.startswith("~") else float(step), None if epoch in ("-", "") else float(epoch),
                 step.startswith("~"))
        for word in words:
            name, value = word.rsplit("=", 1)
            self.wanted.append((len(self.lines), name.lstrip("?"), number(value), place, name.startswith("?")))


def read(path):
    samples = []
    for line in open(path, encoding="utf-8").read().split("\n")[:-1]:
        if line.startswith("=== "):
            samples.append(Sample(line[4:]))
        elif line.startswith("> "):
            samples[-1].expect(line[2:])
        elif samples:
            samples[-1].lines.append(unescape(line))
    return samples


def points(tool, sample):
    with tempfile.NamedTemporaryFile() as file:
        file.write(("\n".join(sample.lines) + "\n").encode("latin-1" if sample.name.endswith("_bytes") else "utf-8"))
        file.flush()
        out = subprocess.run([tool, "-o", "jsonl", file.name], capture_output=True, text=True, timeout=60, check=True).stdout
    return [json.loads(line) for line in out.splitlines()]


def placed(place, point):
    step, epoch, within = place
    at_epoch = epoch is None or point["epoch"] == epoch or (step is None and not within and point["step"] == epoch)
    return at_epoch and (step is None or point["step"] == step)


def judge(tool, sample):
    """What is wrong, as lines of text."""
    got = collections.defaultdict(list)
    for point in points(tool, sample):
        got[point["line"]].append(point)
    hits, votes = [], collections.defaultdict(collections.Counter)
    for line, name, value, place, optional in sample.wanted:
        found = [p for p in got[line] if same(number(p["value"]), value)]
        votes[name].update({p["key"] for p in found})
        hits.append((line, name, value, place, optional, found))
    key_of = {}
    for _, _, name, key in sorted((-n, name != key, name, key) for name in votes for key, n in votes[name].items()):
        if name not in key_of and key not in key_of.values():
            key_of[name] = key
    wrong = []
    for line, name, value, place, optional, found in hits:
        named = [p for p in found if p["key"] == key_of.get(name)]
        if not optional and not any(placed(place, p) for p in named):
            why = "at another place" if named else "under another key" if found else "missing"
            shown = [(p["key"], p["value"], p["step"], p["epoch"]) for p in (found or got[line])[:4]]
            wrong.append(f"line {line}: {name}={value} {why}; read {shown}")
    listed = {w[0] for w in sample.wanted} | sample.free
    for line in sorted(set(got) - listed):
        wrong += [f"line {line}: read {p['key']}={p['value']}" for p in got[line]]
    return wrong


def main():
    tool, names = sys.argv[1], [a for a in sys.argv[2:] if not a.startswith("--")]
    good = total = failures = 0
    for file in sorted(os.listdir(FOLDER)):
        for sample in read(os.path.join(FOLDER, file)):
            if names and sample.name not in names:
                continue
            wrong = judge(tool, sample)
            total += 1
            good += not wrong
            failures += bool(wrong) != sample.later
            if (wrong and not sample.later) or (wrong and "--verbose" in sys.argv):
                print(f"{file} {sample.name}:" + "".join("\n  " + w for w in wrong[:6]))
            elif sample.later and not wrong:
                print(f"{file} {sample.name}: is understood now")
    print(f"{good} of {total} samples are understood")
    return 1 if failures else 0


sys.exit(main())
