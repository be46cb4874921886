"""Scores results, and draws them.

    python3 score.py FILE... [--suite q20] [--against optuna-tpe] [--write DIRECTORY]

After t trials a method's score on a problem is (median - optimum) / (median of random search - optimum), medians over seeds of the best true
value so far: 0 is the optimum, 1 random search. The optimum is that of the formula or of the table. Problems of a line count as one, by the mean. An interval is that of
1,000 draws of the seeds, the same seeds for both methods: a difference is one where 0 is outside.
"""

import argparse
import json
import math
import os

import numpy as np

import suite

TRIALS = 100
WORKERS = 8  # of those that work side by side: a suggestion lacks what the other seven will bring
SEEDS_LEAST = 3
RANDOM = "optuna-random"
NAMES = {"auto": "Winnow", "tpe": "Winnow TPE", "gp": "Winnow GP", "cmaes": "Winnow CMA-ES", "random": "Winnow random", "auto@8": "Winnow, 8 workers",
         "tpe@8": "Winnow TPE, 8 workers", "optuna-tpe": "Optuna TPE", "optuna-gp": "Optuna GP", "optuna-cmaes": "Optuna CMA-ES", "optuna-random": "random",
         "optuna-auto": "Optuna, AutoSampler's rule", "smac-rf": "SMAC3", "hebo": "HEBO"}


class Results:
    """best[method][problem]: an array of seeds and trials, NaN where a run is missing."""

    def __init__(self, paths, problems):
        self.problems = {p.name: p for p in problems}
        runs = {}
        for path in paths:
            with open(path) as f:
                for line in f:
                    if not line.endswith("\n"):
                        break  # being written
                    r = json.loads(line)
                    if r["problem"] in self.problems:
                        runs.setdefault(r["method"], {}).setdefault(r["problem"], {})[r["seed"]] = r
        self.ms = {m: float(np.median([r["ms"] for by in all_of.values() for r in by.values()])) for m, all_of in runs.items()}
        self.best = {m: {p: {s: self.curve(r["best"]) for s, r in by.items()} for p, by in all_of.items()} for m, all_of in runs.items()}
        self.add_rule()

    @staticmethod
    def curve(steps):
        best, at = np.full(TRIALS + 1, np.nan), 0
        for t, value in steps:
            best[t:] = value
        return best

    def add_rule(self):
        """AutoSampler of OptunaHub: TPE where something is a choice without order or conditional, else GP."""
        if "optuna-gp" in self.best and "optuna-tpe" in self.best:
            self.best["optuna-auto"] = {}
            for name, p in self.problems.items():
                numeric = not p.conditions and not any("values" in s for s in p.parameters.values())
                source = self.best["optuna-gp" if numeric else "optuna-tpe"]
                if name in source:
                    self.best["optuna-auto"][name] = source[name]

    def seeds(self, methods):
        """Those that all have for every problem that all have at all."""
        found = None
        for name in self.common(methods):
            for m in methods:
                these = set(self.best[m][name])
                found = these if found is None else found & these
        return sorted(found or [])

    def compared(self, method):
        """Those of its seeds that random search has too: tables and pictures show all methods on the same seeds, as far as they have them."""
        return sorted(set(self.seeds([method])) & set(self.seeds([RANDOM])))

    def is_whole(self, method):
        """Does it have every problem, with seeds enough for a table of medians?"""
        return len(self.best.get(method, {})) == len(self.problems) and len(self.seeds([method])) >= SEEDS_LEAST

    def common(self, methods):
        return [n for n in self.problems if all(n in self.best.get(m, {}) for m in methods)]

    def array(self, method, name, seeds):
        return np.stack([self.best[method][name][s] for s in seeds])


def scores(results, methods, trials=TRIALS):
    """The methods' scores by line. Slow methods may have fewer seeds than others."""
    all_of = (RANDOM, *methods)
    seeds, lines = {m: results.compared(m) for m in all_of}, {}
    for name in results.common(all_of):
        p = results.problems[name]
        base, *found = (np.median(results.array(m, name, seeds[m])[:, trials]) - p.best for m in all_of)
        if base > 1e-9 * max(abs(p.best), 1e-9):  # else chance reaches the best there is: nothing to tell apart
            lines.setdefault(p.line, []).append([v / base for v in found])
    return {line: np.mean(rows, axis=0) for line, rows in lines.items()}


def paired(results, a, b, draws=1000, relative=False, earlier=0):
    """Difference of the mean scores of a, so many trials earlier, and b (relative: their ratio less 1), with a 95 % interval."""
    seeds, names, scale = results.seeds([a, b]), results.common([a, b, RANDOM]), results.seeds([RANDOM])
    if len(seeds) < 2:
        return None
    rng, found, data = np.random.default_rng(1), [], {}
    for n in names:
        low = results.problems[n].best
        width = np.median(results.array(RANDOM, n, scale)[:, TRIALS]) - low  # of all its seeds: a scale is no contestant
        if width > 1e-9 * max(abs(low), 1e-9):
            data[n] = [(results.array(m, n, seeds)[:, t] - low) / width for m, t in ((a, TRIALS - earlier), (b, TRIALS))]

    def difference(drawn):
        lines = {}
        for n, both in data.items():
            lines.setdefault(results.problems[n].line, []).append([np.median(v[drawn]) for v in both])
        x, y = np.mean([np.mean(rows, axis=0) for rows in lines.values()], axis=0)
        return x / y - 1 if relative else x - y

    for _ in range(draws):
        found.append(difference(rng.integers(0, len(seeds), len(seeds))))
    low, high = np.percentile(found, [2.5, 97.5])
    return difference(np.arange(len(seeds))), low, high, len(seeds)


def ranks(table):
    """Mean rank of each method over lines; equal ones share."""
    total = []
    for row in table.values():
        row = np.round(row, 9)
        total.append([(row < v).sum() + ((row == v).sum() + 1) / 2 for v in row])
    return np.mean(total, axis=0)


def name_of(method):
    return NAMES.get(method, method)


def report(results, methods, against):
    out = []
    table = scores(results, methods)
    out.append("%d problems in %d lines; score 0: the optimum, 1: random search.\n" % (len(results.common([*methods, RANDOM])), len(table)))
    out.append("| after 100 trials | " + " | ".join(name_of(m) for m in methods) + " |")
    out.append("| --- |" + " --- |" * len(methods))
    out.append("| seeds | " + " | ".join("%d" % len(results.compared(m)) for m in methods) + " |")
    for line, row in table.items():
        low = row.min()
        out.append("| %s | " % line + " | ".join(("**%.3f**" if v == low else "%.3f") % v for v in row) + " |")
    values = np.array(list(table.values()))
    for label, f in (("mean", np.mean), ("median", np.median)):
        for t in (TRIALS, 50, 25):
            v = values if t == TRIALS else np.array(list(scores(results, methods, t).values()))
            out.append("| **%s at %d** | " % (label, t) + " | ".join("%.3f" % x for x in f(v, axis=0)) + " |")
    out.append("| **mean rank** | " + " | ".join("%.2f" % v for v in ranks(table)) + " |")
    out.append("| ms an ask (busy machine) | " + " | ".join("%.1f" % results.ms.get(m, math.nan) for m in methods) + " |")
    out.append("\nPaired differences of the mean after 100 trials, 95 % interval:\n")
    out.append("| | difference | interval | seeds |\n| --- | --- | --- | --- |")
    for a, b in against:
        if a in results.best and b in results.best and (d := paired(results, a, b)):
            out.append("| %s - %s | %+.3f | [%+.3f, %+.3f] | %d |" % (name_of(a), name_of(b), *d))
    for a in ("auto", "tpe"):
        for what, first, earlier in (("8 workers", a + "@8", 0), ("one worker %d trials earlier" % (WORKERS - 1), a, WORKERS - 1)):
            if a + "@8" in results.best and (d := paired(results, first, a, relative=True, earlier=earlier)):
                out.append("| %s: %s against one, relative | %+.1f %% | [%+.1f, %+.1f] %% | %d |" % (name_of(a), what, 100 * d[0], 100 * d[1], 100 * d[2], d[3]))
    return "\n".join(out) + "\n"


# ---- pictures ----

COLOURS = ["#1b6ca8", "#d1495b", "#3a7d44", "#edae49", "#7b4b94", "#8d6346", "#5f6b6d", "#00798c"]


def text(x, y, words, anchor="start", size=12):
    return '<text x="%.1f" y="%.1f" font-size="%d" text-anchor="%s">%s</text>' % (x, y, size, anchor, words.replace("&", "&amp;").replace("<", "&lt;"))


def svg(width, height, parts):
    return ('<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" fill="#222">\n<rect width="%d" height="%d" fill="#fff"/>\n' % (width, height, width, height)
            + "\n".join(parts) + "\n</svg>\n")


def draw_progress(results, methods):
    """Mean score over trials, each point against random search after 100 trials, so that lines fall."""
    names = results.common([*methods, RANDOM])
    left, top, width, height = 60, 30, 560, 340
    parts = [text(left, 18, "Mean over the problems of the distance to the optimum (random search after 100 trials: 1)", size=13)]
    ticks = (0.1, 0.2, 0.5, 1, 2, 5)
    y_of = lambda v: top + height * (1 - (math.log(min(max(v, 0.08), 6)) - math.log(0.08)) / (math.log(6) - math.log(0.08)))
    x_of = lambda t: left + width * t / TRIALS
    for v in ticks:
        parts.append('<line x1="%d" y1="%.1f" x2="%d" y2="%.1f" stroke="#ddd"/>' % (left, y_of(v), left + width, y_of(v)))
        parts.append(text(left - 8, y_of(v) + 4, "%g" % v, "end"))
    for t in range(0, TRIALS + 1, 20):
        parts.append(text(x_of(t), top + height + 18, str(t), "middle"))
    parts.append(text(left + width / 2, top + height + 36, "trials", "middle"))
    ends = []
    for k, m in enumerate([*methods, RANDOM]):
        lines = {}
        for n in names:
            low = results.problems[n].best
            base = np.median(results.array(RANDOM, n, results.seeds([RANDOM]))[:, TRIALS]) - low
            lines.setdefault(results.problems[n].line, []).append((np.median(results.array(m, n, results.compared(m)), axis=0) - low) / base)
        mean = np.mean([np.mean(rows, axis=0) for rows in lines.values()], axis=0)
        colour = "#999" if m == RANDOM else COLOURS[k % len(COLOURS)]
        points = " ".join("%.1f,%.1f" % (x_of(t), y_of(mean[t])) for t in range(1, TRIALS + 1))
        parts.append('<polyline points="%s" fill="none" stroke="%s" stroke-width="%s"/>' % (points, colour, 3 if m == "auto" else 1.6))
        ends.append([y_of(mean[TRIALS]), name_of(m), colour])
    ends.sort()
    for i, end in enumerate(ends):
        y = max(end[0], ends[i - 1][0] + 15) if i else end[0]
        end[0] = y
        parts.append('<rect x="%d" y="%.1f" width="10" height="3" fill="%s"/>' % (left + width + 8, y - 1, end[2]))
        parts.append(text(left + width + 22, y + 4, end[1]))
    return svg(860, top + height + 50, parts)


def draw_problems(results, methods):
    table = scores(results, methods)
    left, top, row, width = 190, 60, 22, 560
    parts = [text(10, 18, "Score by problem after 100 trials (0: the optimum, 1: random search)", size=13)]
    for k, m in enumerate(methods):
        x = 10 + (k % 4) * 200
        y = 36 + 0
        parts.append('<circle cx="%d" cy="%d" r="5" fill="%s"/>' % (x + 5, y + 16 * (k // 4) - 4, COLOURS[k % len(COLOURS)]))
        parts.append(text(x + 14, y + 16 * (k // 4), name_of(m), size=11))
    x_of = lambda v: left + width * min(v, 1.25) / 1.25
    bottom = top + row * len(table)
    for v in (0, 0.25, 0.5, 0.75, 1, 1.25):
        parts.append('<line x1="%.1f" y1="%d" x2="%.1f" y2="%d" stroke="%s"/>' % (x_of(v), top, x_of(v), bottom, "#999" if v == 1 else "#ddd"))
        parts.append(text(x_of(v), bottom + 16, "%g%s" % (v, "+" if v == 1.25 else ""), "middle", 11))
    for i, (line, scored) in enumerate(sorted(table.items(), key=lambda item: item[1][0])):
        y = top + row * (i + 0.5)
        parts.append(text(left - 10, y + 4, line, "end", 11))
        for k in range(len(methods) - 1, -1, -1):
            parts.append('<circle cx="%.1f" cy="%.1f" r="%s" fill="%s" fill-opacity="0.85"/>' % (x_of(scored[k]), y, 6 if k == 0 else 4, COLOURS[k % len(COLOURS)]))
    return svg(left + width + 30, bottom + 28, parts)


AGAINST = (("auto", "optuna-tpe"), ("auto", "optuna-gp"), ("auto", "optuna-auto"), ("auto", "smac-rf"), ("auto", "hebo"), ("tpe", "optuna-tpe"),
           ("gp", "optuna-gp"), ("cmaes", "optuna-cmaes"))
ORDER = ("auto", "gp", "tpe", "cmaes", "optuna-gp", "optuna-auto", "optuna-tpe", "optuna-cmaes", "smac-rf", "hebo")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+")
    parser.add_argument("--suite", default="q20", choices=("q20", "short", "held-out", "fresh"))
    parser.add_argument("--methods", default="", help="the columns; else those that have results for every problem")
    parser.add_argument("--against", default="", help="a pair: ours,theirs")
    parser.add_argument("--write", default="", help="a directory for the table and the pictures")
    args = parser.parse_args()
    problems = suite.problems(args.suite)
    results = Results(args.files, problems)
    methods = args.methods.split(",") if args.methods else [m for m in ORDER if results.is_whole(m)]
    words = report(results, methods, [args.against.split(",")] if args.against else AGAINST)
    print(words)
    if args.write:
        os.makedirs(args.write, exist_ok=True)
        for name, content in (("table.md", words), ("progress.svg", draw_progress(results, methods[:7])), ("problems.svg", draw_problems(results, methods[:7]))):
            with open(os.path.join(args.write, name), "w") as f:
                f.write(content)


if __name__ == "__main__":
    main()
