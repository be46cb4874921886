"""Stop rules on learning curves: eight workers, a virtual clock, epochs that cost what they cost, until the time of twenty full trainings is over.

    python3 stops.py run --samplers random,auto --methods none,asha --seeds 10 --out stops.jsonl     ours, by build/plain/bin/bench_quality
    python3 stops.py run --http --methods none,asha --out stops.jsonl                               the same through a running service
    python3 stops.py run --methods optuna-none,optuna-median,optuna-asha --out stops.jsonl           peers
    python3 stops.py score stops.jsonl [--write DIRECTORY]

Regret is the error after the last epoch of the best trial that was trained to the end, less the least of the table; its median over the seeds is what
counts. The time of a rule is when its regret is as low as the final one without a rule, as a share of the time that took: with the same sampler, and with
random search. `area` is the mean regret over the time, as a share of that without a rule, from when both have one.

The rule `oracle` is none that could be had: it knows how every trial would end, and from a fifteenth of the epochs on stops each that would not become the
best. It bounds what can be saved from there on; the sampler knows no more than with other rules, and less from trials that went on. With `oracle-told` the
sampler, too, knows how each would have ended, for nothing: no rule that begins there, whatever it foretells, can be better but by chance.
"""

import argparse
import heapq
import json
import os

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")

import numpy as np

import methods
import run
import suite

WORKERS = 8
TRAININGS = 20
CELLS = 400  # of the time axis

RULES = {
    "none": lambda epochs: None,
    "asha": lambda epochs: {"type": "asha", "min_iter": round(epochs / 15), "eta": 3},
    "asha-26": lambda epochs: {"type": "asha", "min_iter": round(epochs / 26), "eta": 3},
    "asha-late": lambda epochs: {"type": "asha", "min_iter": round(epochs / 5), "eta": 3},
    "asha-4": lambda epochs: {"type": "asha", "min_iter": round(epochs / 8), "eta": 4},
    "hyperband": lambda epochs: {"type": "hyperband", "min_iter": round(epochs / 15), "eta": 3, "brackets": 3},
    "median": lambda epochs: {"type": "median"},
    "oracle": lambda epochs: None,
    "oracle-told": lambda epochs: None,
}


def make(name, sampler, problem, args):
    if name.startswith("optuna-"):
        pruner = name[7:]
        return methods.Optuna("tpe", None if pruner == "none" else pruner)
    rule = RULES[name](problem.curves.epochs)
    return methods.Http(sampler, args.winnow, rule) if args.http else methods.Direct(sampler, args.program, rule)


def run_study(method, problem, seed, foreseen_from=None, told=False):
    """[[time, regret], ..] as shares of the whole time, and what was done. From the epoch `foreseen_from` on nothing goes on that will not be the best;
    `told`: the sampler hears how it would have ended."""
    curves = problem.curves
    end = TRAININGS * float(np.mean(curves.seconds[:, -1]))
    method.begin(problem, seed, trials=5000)
    best, steps, queue, begun, finished, used, wasted, order = float("inf"), [], [], 0, 0, 0.0, 0.0, 0

    def start(now):
        nonlocal begun, order
        handle, params = method.ask()
        if params is None:
            return
        accuracy, seconds = curves.of(params)
        begun, order = begun + 1, order + 1
        heapq.heappush(queue, (now + seconds[0], order, handle, accuracy, seconds, 0, now))

    for _ in range(WORKERS):
        start(0.0)
    while queue:
        now, _, handle, accuracy, seconds, epoch, since = heapq.heappop(queue)
        if now > end:
            break
        going, error = method.report(handle, epoch + 1, float(1 - accuracy[epoch])), float(1 - accuracy[-1])
        if foreseen_from and epoch + 1 >= foreseen_from:
            going = error < best
        if epoch + 1 == curves.epochs:
            method.tell(handle, error)
            finished += 1
            used += now - since
            if error < best:
                best = error
                steps.append([round(now / end, 5), float("%.6g" % (best - problem.best))])
            start(now)
        elif not going:
            if told:
                method.tell(handle, error)
            else:
                method.tell(handle, float(1 - accuracy[epoch]), stopped_at=epoch + 1)
            used += now - since
            wasted += now - since
            start(now)
        else:
            order += 1
            heapq.heappush(queue, (since + seconds[epoch + 1], order, handle, accuracy, seconds, epoch + 1, since))
    method.end()
    return steps, {"trials": begun, "finished": finished, "stopped_share": round(wasted / used, 4) if used else 0}


def go(args):
    done = run.done_in(args.out)
    problems = [p for p in suite.problems() if p.line == "curves" and (not args.problems or p.name in args.problems.split(","))]
    chosen = [(s, m) for s in args.samplers.split(",") for m in args.methods.split(",")]
    with open(args.out, "a") as out:
        for seed in run.seeds_of(args.seeds):
            for problem in problems:
                for sampler, name in chosen:
                    label = "optuna+" + name[7:] if name.startswith("optuna-") else sampler + "+" + name
                    if (problem.name, label, seed) in done:
                        continue
                    foreseen_from = round(problem.curves.epochs / 15) if name.startswith("oracle") else None
                    steps, counts = run_study(make(name, sampler, problem, args), problem, seed, foreseen_from, told=name == "oracle-told")
                    out.write(json.dumps({"problem": problem.name, "method": label, "seed": seed, **counts, "best": steps}) + "\n")
                    out.flush()


def regret(steps):
    found, times = np.full(CELLS + 1, np.inf), np.linspace(0, 1, CELLS + 1)
    for at, value in steps:
        found[times >= at] = value
    return found


def first(curve, level):
    reached = np.nonzero(curve <= level * (1 + 1e-9))[0]
    return reached[0] / CELLS if len(reached) else np.nan


def time_share(curve, without):
    """The time to where `without` ends, as a share of the time that took."""
    return first(curve, without[-1]) / first(without, without[-1])


def area_share(curve, without):
    both = np.isfinite(curve) & np.isfinite(without)
    return curve[both].mean() / without[both].mean()


def shares(by, method):
    """Time and area beside the same sampler without a rule, time beside random search without one; None where there are no such runs."""
    found = []
    for base, share in ((method.split("+")[0] + "+none", time_share), (method.split("+")[0] + "+none", area_share), ("random+none", time_share)):
        seeds = sorted(set(by[method]) & set(by.get(base, {})))
        median = lambda m: np.median(np.stack([regret(by[m][s]["best"]) for s in seeds]), axis=0)
        found.append(share(median(method), median(base)) if seeds else None)
    return found


def shown(share):
    return "-" if share is None else "not reached" if not np.isfinite(share) else "%.2f" % share


def score(args):
    runs = {}
    for path in args.files:
        with open(path) as f:
            for line in f:
                r = json.loads(line)
                runs.setdefault(r["problem"], {}).setdefault(r["method"], {})[r["seed"]] = r
    rows = ["| problem | sampler + rule | seeds | trials begun | trained to the end | time in stopped trials | final regret | time, of the same without a rule | area, of the same | time, of random search without |",
            "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |"]
    all_of = {}
    for name, by in sorted(runs.items()):
        for m in sorted(by):
            found = shares(by, m)
            all_of.setdefault(m, []).append(found)
            mean = lambda key: np.mean([r[key] for r in by[m].values()])
            final = np.median([regret(r["best"])[-1] for r in by[m].values()])
            rows.append("| %s | %s | %d | %.0f | %.0f | %.0f %% | %.4f | %s |" % (name, m, len(by[m]), mean("trials"), mean("finished"), 100 * mean("stopped_share"), final,
                                                                              " | ".join(map(shown, found))))
    for m, found in sorted(all_of.items()):
        columns = [[np.inf if v is not None and np.isnan(v) else v for v in column] for column in zip(*found)]
        middle = [None if None in column else np.median(column) for column in columns]
        rows.append("| **median** | **%s** | | | | | | %s |" % (m, " | ".join(map(shown, middle))))
    words = "\n".join(rows) + "\n"
    print(words)
    if args.write:
        os.makedirs(args.write, exist_ok=True)
        with open(os.path.join(args.write, "stops.md"), "w") as f:
            f.write(words)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(dest="verb", required=True)
    r = verbs.add_parser("run")
    r.add_argument("--winnow", default=os.path.join(run.ROOT, "build", "plain", "bin", "winnow"))
    r.add_argument("--program", default=os.path.join(run.ROOT, "build", "plain", "bin", "bench_quality"))
    r.add_argument("--http", action="store_true")
    r.add_argument("--methods", default="none,asha,asha-late,median")
    r.add_argument("--samplers", default="auto")
    r.add_argument("--problems", default="")
    r.add_argument("--seeds", default="3")
    r.add_argument("--out", required=True)
    s = verbs.add_parser("score")
    s.add_argument("files", nargs="+")
    s.add_argument("--write", default="")
    args = parser.parse_args()
    go(args) if args.verb == "run" else score(args)


if __name__ == "__main__":
    main()
