#!/usr/bin/env python3
"""One command: makes our results afresh, scores them beside the peers' stored ones, prints the table, and draws.

    bench/quality/quality.py              the whole suite, 20 seeds: about half an hour of one core
    bench/quality/quality.py --short      six problems, five seeds: a minute or two
    bench/quality/quality.py --held-out   problems outside the suite, five seeds, without peers but Optuna's TPE (made here too)
    bench/quality/quality.py --fresh      the same, with problems on which nothing was chosen

Needs `ninja -C build/plain bench_quality`, Python with venv, and PyPI once. Results of ours lie in build/quality, by the sampler's checksum: an ended run
goes on, a changed sampler begins anew. The whole suite's table and pictures are written to results/.
"""

import argparse
import hashlib
import os
import subprocess
import sys

import peers

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.abspath(os.path.join(HERE, "..", ".."))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--short", action="store_true")
    parser.add_argument("--held-out", action="store_true")
    parser.add_argument("--fresh", action="store_true")
    parser.add_argument("--seeds", type=int, default=0)
    parser.add_argument("--program", default=os.path.join(ROOT, "build", "plain", "bin", "bench_quality"))
    parser.add_argument("--http", action="store_true", help="through a running `winnow serve` (slower; the results are the same)")
    args = parser.parse_args()
    python = peers.environment("tools")
    if not python:
        sys.exit(1)
    which = "short" if args.short else "held-out" if args.held_out else "fresh" if args.fresh else "q20"
    seeds = str(args.seeds or (20 if which == "q20" else 5))
    with open(args.program, "rb") as f:
        sum_of = hashlib.sha256(f.read()).hexdigest()[:12]
    home = os.path.join(ROOT, "build", "quality")
    os.makedirs(home, exist_ok=True)
    ours = os.path.join(home, "ours-%s%s.jsonl" % (sum_of, "-http" if args.http else ""))
    run = [python, os.path.join(HERE, "run.py"), "--program", args.program, "--suite", which, "--seeds", seeds, "--out", ours]
    if args.http:
        subprocess.check_call(run + ["--methods", "http-auto,http-tpe,http-gp", "--as-direct"])
    else:
        subprocess.check_call(run + ["--methods", "auto,tpe,gp,cmaes"])
        subprocess.check_call(run + ["--methods", "auto,tpe", "--workers", "8"])
    files = [ours] + sorted(os.path.join(HERE, "peers", n) for n in os.listdir(os.path.join(HERE, "peers")))
    if which in ("held-out", "fresh"):
        files = [ours, os.path.join(home, which + "-peers.jsonl")]
        other = [peers.environment("optuna"), *run[1:-1], files[1], "--methods", "optuna-random,optuna-tpe"]
        subprocess.check_call(other)
    score = [python, os.path.join(HERE, "score.py"), *files, "--suite", which]
    subprocess.check_call(score + (["--write", os.path.join(HERE, "results")] if which == "q20" else []))


if __name__ == "__main__":
    main()
