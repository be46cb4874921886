"""Compares samplers, ours and Optuna's, on the problems of problems.py with paired seeds.

    python3 compare.py run --program build/plain/bin/bench_quality --methods auto,tpe,gp,random --seeds 5 --out results.jsonl
    python3 compare.py run --methods optuna-tpe,optuna-gp --seeds 5 --out results.jsonl       (needs optuna)
    cat peers/*.jsonl results.jsonl > all.jsonl; python3 compare.py score all.jsonl

peers/ holds raw results of others, made with the versions in the files' names and five seeds (without their times).
A result line holds the best true value so far after every trial. Results accumulate in the file: a (problem, method, seed) that is there is not
run again. Scores: 0 is the optimum (for tables the best value any run found), 1 the median of random search.
"""

import argparse
import heapq
import json
import random
import subprocess
import sys
import time

import numpy as np

import problems


class Ours:
    def __init__(self, program, sampler):
        self.process = subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.sampler = sampler

    def call(self, message):
        self.process.stdin.write(json.dumps(message) + "\n")
        self.process.stdin.flush()
        answer = json.loads(self.process.stdout.readline())
        if "error" in answer:
            raise RuntimeError(answer["error"])
        return answer

    def begin(self, problem, seed):
        self.call({"parameters": problem.parameters, "conditions": problem.conditions or [], "sampler": self.sampler, "seed": seed})

    def ask(self, number):
        answer = self.call({"ask": number})
        return number, answer.get("params")

    def tell(self, handle, value):
        self.call({"tell": handle, "value": value})

    def end(self):
        self.process.stdin.close()
        self.process.wait()


class Optuna:
    def __init__(self, kind):
        import optuna
        import warnings

        warnings.simplefilter("ignore")
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self.optuna, self.kind = optuna, kind

    def begin(self, problem, seed):
        s = self.optuna.samplers
        make = {"tpe": s.TPESampler, "gp": s.GPSampler, "cmaes": s.CmaEsSampler, "random": s.RandomSampler}[self.kind]
        self.problem, self.study = problem, self.optuna.create_study(sampler=make(seed=seed))

    def suggest(self, trial, key):
        p = self.problem.parameters[key]
        if "value" in p:
            return p["value"]
        if "values" in p:
            return trial.suggest_categorical(key, p["values"])
        log = p.get("log", False) or p.get("distribution") == "log_uniform_values"
        whole = isinstance(p["min"], int) and isinstance(p["max"], int)
        return (trial.suggest_int if whole else trial.suggest_float)(key, p["min"], p["max"], log=log)

    def ask(self, number):
        trial, params = self.study.ask(), {}
        conditions = self.problem.conditions or []
        for key in self.problem.parameters:
            rules = [c["if"] for c in conditions if key in c["then"]]
            if not rules or any(all(params.get(k) == v for k, v in rule.items()) for rule in rules):
                params[key] = self.suggest(trial, key)
        return trial, params

    def tell(self, handle, value):
        self.study.tell(handle, value)

    def end(self):
        pass


def run_study(method, problem, seed, workers):
    """`workers` at once, each evaluation as long as chance has it, in virtual time."""
    method.begin(problem, seed)
    noise, clock = random.Random("%s %d" % (problem.name, seed)), random.Random("clock %d" % seed)
    best, curve, running, asked, spent, now = float("inf"), [], [], 0, [], 0.0
    while len(curve) < problem.budget:
        while asked < problem.budget and len(running) < workers:
            start = time.perf_counter()
            handle, params = method.ask(asked)
            spent.append(time.perf_counter() - start)
            if params is None:
                break
            heapq.heappush(running, (now + clock.uniform(0.5, 1.5), asked, handle, params))
            asked += 1
        if not running:
            curve += [best] * (problem.budget - len(curve))
            break
        now, _, handle, params = heapq.heappop(running)
        method.tell(handle, problem.value(params, noise))
        best = min(best, problem.true(params))
        curve.append(best)
    return curve, float(np.median(spent[-10:]) * 1000)


def run(args):
    done = set()
    try:
        with open(args.out) as f:
            for line in f:
                r = json.loads(line)
                done.add((r["problem"], r["method"], r["seed"]))
    except FileNotFoundError:
        pass
    chosen = [p for p in problems.all_problems() if not args.problems or p.name in args.problems.split(",")]
    with open(args.out, "a") as out:
        for name in args.methods.split(","):
            label = name if args.workers == 1 else "%s@%d" % (name, args.workers)
            label = (args.label + "-" if args.label else "") + label
            for problem in chosen:
                for seed in range(args.seeds):
                    if (problem.name, label, seed) in done:
                        continue
                    method = Optuna(name[7:]) if name.startswith("optuna-") else Ours(args.program, name)
                    curve, ms = run_study(method, problem, seed, args.workers)
                    method.end()
                    out.write(json.dumps({"problem": problem.name, "method": label, "seed": seed, "ms": round(ms, 3), "curve": [float("%.9g" % v) for v in curve]}) + "\n")
                    out.flush()
                print(label, problem.name, "done", file=sys.stderr)


def load(path):
    results = {}
    with open(path) as f:
        for line in f:
            r = json.loads(line)
            results.setdefault(r["problem"], {}).setdefault(r["method"], {})[r["seed"]] = r
    return results


def normalised(results, methods, seeds, optimum):
    """One score for each problem and method: of the medians over the seeds given."""
    table = {}
    for name, by in results.items():
        if "random" not in by or any(m not in by for m in methods):
            continue
        last = {m: np.array([by[m][s]["curve"][-1] for s in seeds if s in by[m]]) for m in methods}
        base = np.median([by["random"][s]["curve"][-1] for s in seeds if s in by["random"]])
        low = optimum[name]
        if not base - low > 1e-9 * max(abs(low), 1e-9):
            continue  # chance reaches the best there is: nothing to tell apart
        # Twice as bad as chance is as bad as it gets, so that no single problem outweighs the others.
        table[name] = {m: min((np.median(v) - low) / (base - low), 2) for m, v in last.items()}
    return table


def score(args):
    results = load(args.file)
    optimum = {p.name: p.best for p in problems.synthetic()}
    for name, by in results.items():
        if optimum.get(name) is None:
            optimum[name] = min(r["curve"][-1] for m in by.values() for r in m.values())
    methods = args.methods.split(",") if args.methods else sorted({m for by in results.values() for m in by})
    seeds = sorted({s for by in results.values() for m in by.values() for s in m})
    table = normalised(results, methods, seeds, optimum)
    width = max(len(m) for m in methods) + 2
    print("%-26s" % "problem" + "".join("%*s" % (width, m) for m in methods))
    for name, row in table.items():
        print("%-26s" % name + "".join("%*.3f" % (width, row[m]) for m in methods))
    for label, f in (("mean", np.mean), ("median", np.median)):
        print("%-26s" % label + "".join("%*.3f" % (width, f([row[m] for row in table.values()])) for m in methods))
    ms = lambda m: np.median([r["ms"] for by in results.values() for r in by.get(m, {}).values()])
    print("%-26s" % "ask, ms (last ten)" + "".join("%*.2f" % (width, ms(m)) for m in methods))
    paired(results, methods, seeds, optimum, args.against)


def paired(results, methods, seeds, optimum, against):
    """95 % interval of the difference of the means, by resampling seeds together for both."""
    if against not in methods:
        return
    rng = np.random.default_rng(1)
    for m in methods:
        if m == against or m == "random":
            continue
        seeds = sorted(set.intersection(*(set(by[k]) for by in results.values() for k in (m, against, "random") if all(x in by for x in (m, against, "random")))))
        differences = []
        for _ in range(400):
            drawn = list(rng.choice(seeds, len(seeds)))
            table = normalised(results, [m, against], drawn, optimum)
            differences.append(np.mean([row[m] - row[against] for row in table.values()]))
        low, high = np.percentile(differences, [2.5, 97.5])
        print("%s - %s: %+.3f [%+.3f, %+.3f]" % (m, against, np.mean(differences), low, high))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(dest="verb", required=True)
    r = verbs.add_parser("run")
    r.add_argument("--program", default="build/plain/bin/bench_quality")
    r.add_argument("--methods", default="auto,tpe,gp,cmaes,random")
    r.add_argument("--problems", default="")
    r.add_argument("--seeds", type=int, default=5)
    r.add_argument("--workers", type=int, default=1)
    r.add_argument("--label", default="", help="goes before the method's name in the results")
    r.add_argument("--out", default="results.jsonl")
    s = verbs.add_parser("score")
    s.add_argument("file")
    s.add_argument("--methods", default="")
    s.add_argument("--against", default="optuna-tpe")
    args = parser.parse_args()
    run(args) if args.verb == "run" else score(args)


if __name__ == "__main__":
    main()
