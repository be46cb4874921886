"""Runs studies and adds a line for each to a file; what is in the file already is not run again.

    python3 run.py --methods auto,tpe,gp,random --seeds 0-5 --out results.jsonl      our sampler, by build/plain/bin/bench_quality
    python3 run.py --methods http-auto --seeds 0-2 --out results.jsonl               the same through a running service
    python3 run.py --methods optuna-tpe,smac-rf,hebo --out results.jsonl             peers, where their packages are

A line: problem, method, seed, the milliseconds of an ask (median of the last ten), and the best true value so far as [trial, value] where it
changed, trials counted from 1.
"""

import argparse
import heapq
import json
import os
import random
import sys
import time

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")

import numpy as np

import methods
import suite

ROOT = os.path.abspath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))


def run_study(method, problem, seed, workers, keep=None):
    """`workers` at once, each evaluation as long as chance has it, in virtual time. Noise is that of (problem, seed), whatever the method."""
    method.begin(problem, seed)
    noise, clock = random.Random("%s %d" % (problem.name, seed)), random.Random("clock %d" % seed)
    best, steps, running, asked, told, spent, now = float("inf"), [], [], 0, 0, [], 0.0
    while told < problem.trials:
        while asked < problem.trials and len(running) < workers:
            start = time.perf_counter()
            handle, params = method.ask()
            spent.append(time.perf_counter() - start)
            if params is None:
                break
            if keep is not None:
                keep.append(params)
            heapq.heappush(running, (now + (clock.uniform(0.5, 1.5) if workers > 1 else 1), asked, handle, params))
            asked += 1
        if not running:
            break
        now, _, handle, params = heapq.heappop(running)
        method.tell(handle, problem.value(params, noise))
        told += 1
        true = problem.true(params)
        if true < best:
            best = true
            steps.append([told, float("%.7g" % best)])
    method.end()
    return steps, float(np.median(spent[-10:]) * 1000)


def done_in(path):
    done = set()
    if os.path.exists(path):
        with open(path) as f:
            for line in f:
                if line.endswith("\n"):
                    r = json.loads(line)
                    done.add((r["problem"], r["method"], r["seed"]))
                else:  # cut off by a kill: the next line begins afresh
                    with open(path, "r+") as cut:
                        cut.truncate(os.path.getsize(path) - len(line.encode()))
    return done


def seeds_of(text):
    low, _, high = text.partition("-")
    return range(int(low), int(high)) if high else range(int(low))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", default=os.path.join(ROOT, "build", "plain", "bin", "bench_quality"))
    parser.add_argument("--winnow", default=os.path.join(ROOT, "build", "plain", "bin", "winnow"))
    parser.add_argument("--methods", default="auto,tpe,gp,cmaes,random")
    parser.add_argument("--suite", default="q20", choices=("q20", "short", "held-out", "fresh"))
    parser.add_argument("--problems", default="", help="only these, by name")
    parser.add_argument("--seeds", default="5", help="how many, or from-to")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--as-direct", action="store_true", help="http-auto is called auto in the results, and so on")
    parser.add_argument("--label", default="", help="goes before the method's name in the results")
    parser.add_argument("--minutes", type=float, default=0, help="begin nothing after so long")
    parser.add_argument("--out", required=True)
    args = parser.parse_args()
    done, unsuited, until = done_in(args.out), set(), time.time() + 60 * args.minutes
    chosen = [p for p in suite.problems(args.suite) if not args.problems or p.name in args.problems.split(",")]
    with open(args.out, "a") as out:
        for name in args.methods.split(","):
            label = (args.label + "-" if args.label else "") + (name.replace("http-", "") if args.as_direct else name) + ("@%d" % args.workers if args.workers > 1 else "")
            for seed in seeds_of(args.seeds):
                for problem in chosen:
                    if (problem.name, label, seed) in done or (problem.name, label) in unsuited:
                        continue
                    if args.minutes and time.time() > until:
                        return
                    try:
                        steps, ms = run_study(methods.make(name, args), problem, seed, args.workers)
                    except methods.Unsuited as why:
                        print("%s, %s: %s" % (label, problem.name, why), file=sys.stderr)
                        unsuited.add((problem.name, label))
                        continue
                    out.write(json.dumps({"problem": problem.name, "method": label, "seed": seed, "ms": round(ms, 3), "best": steps}) + "\n")
                    out.flush()


if __name__ == "__main__":
    main()
