#!/usr/bin/env python3
"""One command: makes our results afresh, scores them beside the peers' stored ones, prints the table, and draws.

    bench/quality/quality.py              the whole suite, 20 seeds (auto 40): three quarters of an hour of one core
    bench/quality/quality.py --short      six problems, five seeds: a minute or two
    bench/quality/quality.py --held-out   problems outside the suite, five seeds, without peers but Optuna's TPE (made here too)
    bench/quality/quality.py --fresh      the same, with problems on which nothing was chosen
    bench/quality/quality.py --stops      stop rules on learning curves (stops.py): an hour

Needs `ninja -C build/plain bench_quality`, Python with venv, and PyPI once. Results of ours lie in build/quality, by the sampler's checksum: an ended run
goes on, a changed sampler begins anew. The whole suite's table and pictures, and the table of stop rules, are written to results/.
"""

import argparse
import hashlib
import os
import subprocess
import sys

import peers

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.abspath(os.path.join(HERE, "..", ".."))
HOME = os.path.join(ROOT, "build", "quality")


RESULTS = os.path.join(HERE, "results")
# samplers, rules, seeds
STOPS = (("random", "none,asha,asha-26,asha-late,hyperband,median,oracle", 20), ("tpe", "none,asha,asha-26,asha-late,oracle", 20),
         ("auto", "none,asha,asha-26,asha-late,asha-4,oracle", 20))


def stop_rules(python, args, ours):
    stops = [python, os.path.join(HERE, "stops.py")]
    for samplers, rules, seeds in STOPS:
        subprocess.check_call([*stops, "run", "--program", args.program, *(["--http"] if args.http else []), "--samplers", samplers, "--methods", rules,
                               "--seeds", str(args.seeds or seeds), "--out", ours])
    subprocess.check_call([*stops, "score", ours, "--write", RESULTS])


def suggestions(python, args, which, ours):
    seeds = str(args.seeds or (20 if which == "q20" else 5))
    run = [python, os.path.join(HERE, "run.py"), "--program", args.program, "--suite", which, "--seeds", seeds, "--out", ours]
    if args.http:
        subprocess.check_call(run + ["--methods", "http-auto,http-tpe,http-gp", "--as-direct"])
    else:
        subprocess.check_call(run + ["--methods", "auto,tpe,gp,cmaes"])
        subprocess.check_call(run + ["--methods", "auto,tpe", "--workers", "8"])
        if which == "q20" and not args.seeds:  # what eight workers lose is told apart from chance by no fewer
            more = [*run, "--seeds", "40", "--methods", "auto"]
            subprocess.check_call(more)
            subprocess.check_call([*more, "--workers", "8"])
    files = [ours] + sorted(os.path.join(HERE, "peers", n) for n in os.listdir(os.path.join(HERE, "peers")))
    if which in ("held-out", "fresh"):
        files = [ours, os.path.join(HOME, which + "-peers.jsonl")]
        other = [peers.environment("optuna"), *run[1:-1], files[1], "--methods", "optuna-random,optuna-tpe"]
        subprocess.check_call(other)
    score = [python, os.path.join(HERE, "score.py"), *files, "--suite", which]
    subprocess.check_call(score + (["--write", RESULTS] if which == "q20" else []))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    what = parser.add_mutually_exclusive_group()
    for name in ("short", "held-out", "fresh", "stops"):
        what.add_argument("--" + name, dest="which", action="store_const", const=name, default="q20", help="see above")
    parser.add_argument("--seeds", type=int, default=0, help="instead of those above")
    parser.add_argument("--program", default=os.path.join(ROOT, "build", "plain", "bin", "bench_quality"))
    parser.add_argument("--http", action="store_true", help="through a running `winnow serve` (slower; the results are the same)")
    args = parser.parse_args()
    python = peers.environment("tools")
    if not python:
        sys.exit(1)
    with open(args.program, "rb") as f:
        sum_of = hashlib.sha256(f.read()).hexdigest()[:12]
    os.makedirs(HOME, exist_ok=True)
    ours = os.path.join(HOME, "%s-%s%s.jsonl" % ("stops" if args.which == "stops" else "ours", sum_of, "-http" if args.http else ""))
    if args.which == "stops":
        stop_rules(python, args, ours)
    else:
        suggestions(python, args, args.which, ours)


if __name__ == "__main__":
    main()
