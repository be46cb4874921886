"""Analytic problems, with their spaces in the sweep file's grammar. Every problem is minimised.

`value(params, rng)` is what a method is told, and may be noisy; `true(params)` is what is scored; `best` the least true value there is."""

import math

import numpy as np


class Problem:
    def __init__(self, name, parameters, value, best, conditions=None, true=None, trials=100, line=None):
        self.name, self.parameters, self.value, self.best, self.trials = name, parameters, value, best, trials
        self.conditions, self.true = conditions or [], true or (lambda p: value(p, None))
        self.line = line or name  # problems of one line count as one, by the mean of their scores


def box(n, low, high):
    return {"x%d" % i: {"min": float(low), "max": float(high)} for i in range(n)}


def log(low, high):
    return {"distribution": "log_uniform_values", "min": low, "max": high}


def vector(p, n=None):
    return np.array([p["x%d" % i] for i in range(n or sum(k[0] == "x" and k[1:].isdigit() for k in p))])


def of_vector(f):
    return lambda p, rng: float(f(vector(p)))


# ---- formulas ----


def branin(p, rng):
    x, y = p["x"], p["y"]
    return (y - 5.1 / (4 * math.pi**2) * x * x + 5 / math.pi * x - 6) ** 2 + 10 * (1 - 1 / (8 * math.pi)) * math.cos(x) + 10


H_ALPHA = np.array([1.0, 1.2, 3.0, 3.2])
H_A = np.array([[10, 3, 17, 3.5, 1.7, 8], [0.05, 10, 17, 0.1, 8, 14], [3, 3.5, 1.7, 10, 17, 8], [17, 8, 0.05, 10, 0.1, 14]])
H_P = 1e-4 * np.array(
    [[1312, 1696, 5569, 124, 8283, 5886], [2329, 4135, 8307, 3736, 1004, 9991], [2348, 1451, 3522, 2883, 3047, 6650], [4047, 8828, 8732, 5743, 1091, 381]]
)
HARTMANN_BEST = -3.322368011415515


def hartmann6(x):
    return -float(np.sum(H_ALPHA * np.exp(-np.sum(H_A * (x - H_P) ** 2, axis=1))))


def ackley(at):
    return of_vector(lambda x: -20 * math.exp(-0.2 * math.sqrt(np.mean((x - at) ** 2))) - math.exp(np.mean(np.cos(2 * math.pi * (x - at)))) + 20 + math.e)


def rosenbrock(x):
    return float(np.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2))


def levy(at):
    def f(x):
        w = 1 + (x - at) / 4
        middle = np.sum((w[:-1] - 1) ** 2 * (1 + 10 * np.sin(math.pi * w[:-1] + 1) ** 2))
        return math.sin(math.pi * w[0]) ** 2 + middle + (w[-1] - 1) ** 2 * (1 + math.sin(2 * math.pi * w[-1]) ** 2)

    return of_vector(f)


def styblinski(x):
    return float(np.sum(x**4 - 16 * x * x + 5 * x) / 2)


STYBLINSKI_EACH = -39.16616570377142


def rastrigin(z):
    return float(10 * len(z) + np.sum(z * z - 10 * np.cos(2 * math.pi * z)))


def rastrigin_log(p, rng):
    u = np.array([(math.log10(p["x%d" % i]) + 6) / 6 for i in range(5)])  # 0..1
    return rastrigin((u - np.array([0.31, 0.62, 0.47, 0.74, 0.23])) * 6)


def oscillate(v):
    """BBOB's T_osz, for values that are not negative."""
    return math.exp(math.log(v) + 0.049 * (math.sin(10 * math.log(v)) + math.sin(7.9 * math.log(v)))) if v > 0 else 0.0


def gallagher(n, peaks, seed):
    """As BBOB's f21 and f22: many peaks turned at random, of which one is the highest."""
    rng = np.random.default_rng(seed)
    turn, _ = np.linalg.qr(rng.normal(size=(n, n)))
    centres = rng.uniform(-5, 5, (peaks, n))
    centres[0] *= 0.8
    condition = np.concatenate([[1000.0], rng.permutation(1000.0 ** (2 * np.arange(peaks - 1) / (peaks - 2)))])
    scale = np.stack([rng.permutation(c ** (0.5 * np.arange(n) / (n - 1))) / c**0.25 for c in condition])
    height = np.concatenate([[10.0], 1.1 + 8 * np.arange(peaks - 1) / (peaks - 2)])

    def f(x):
        z = (x - centres) @ turn.T
        return oscillate(10 - float(np.max(height * np.exp(-np.sum(scale * z * z, axis=1) / (2 * n))))) ** 2

    return of_vector(f)


LEVELS = (2, 2, 4, 4, 8, 8, 16, 16, 0, 0)  # 0: continuous


def mixed_integers(f, seed):
    """As bbob-mixint in ten dimensions: eight whole numbers of 2 to 16 levels over [-4, 4], two continuous; the optimum lies on the grid."""
    rng = np.random.default_rng(seed)
    index = [int(rng.integers(0, m)) if m else float(rng.uniform(-4, 4)) for m in LEVELS]

    def place(v):
        return np.array([-4 + 8 * a / (m - 1) if m else a for a, m in zip(v, LEVELS)])

    at = place(index)
    parameters = {"x%d" % i: {"min": 0, "max": m - 1} if m else {"min": -5.0, "max": 5.0} for i, m in enumerate(LEVELS)}
    return parameters, lambda p, rng: float(f(place([p["x%d" % i] for i in range(10)]) - at))


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


def model_choice(p, rng):
    m = p["model"]
    if m == "svm":
        return 0.2 + 0.02 * (math.log10(p["C"]) - 1) ** 2 + 0.03 * (math.log10(p["gamma"]) + 2) ** 2
    if m == "forest":
        return 0.15 + 0.2 * (p["features"] - 0.4) ** 2 + 0.01 * (math.log2(p["trees"]) - 8) ** 2 + 0.004 * abs(p["depth"] - 12)
    e = math.log10(p["mlp_lr"]) + 2.7
    return 0.12 + 0.05 * e * e + 0.03 * (p["mlp_layers"] - 3) ** 2 / 4 + 0.1 * (p["mlp_drop"] - 0.2) ** 2 + (0.02 if p["act"] == "tanh" else 0)


# ---- the analytic part of the suite ----

ACKLEY_AT = np.array([-1.694767, 1.119675, -0.246363, 0.893861, 1.911958, 0.153983, 0.004482, -1.711795, -0.926244, -0.000470])
LEVY_AT = np.array([0.716920, 1.214956, -0.476235, -1.736255, -0.847418, 1.638374, -1.146459, -0.191504])


def suite():
    yield Problem("branin", {"x": {"min": -5.0, "max": 10.0}, "y": {"min": 0.0, "max": 15.0}}, branin, 0.39788735772973816, trials=50)
    yield Problem("hartmann6", box(6, 0, 1), of_vector(hartmann6), HARTMANN_BEST)
    yield Problem("ackley10", box(10, -5, 5), ackley(ACKLEY_AT), 0)
    yield Problem("rosenbrock5", box(5, -2, 2), of_vector(rosenbrock), 0)
    yield Problem("levy8", box(8, -5, 5), levy(LEVY_AT), 0)
    yield Problem("styblinski6", box(6, -5, 5), of_vector(styblinski), 6 * STYBLINSKI_EACH)
    yield Problem("gallagher5", box(5, -5, 5), gallagher(5, 101, 21), 0)
    inside = (3, 7, 12, 18, 21, 28)
    yield Problem("hartmann6in30", box(30, 0, 1), lambda p, r: hartmann6(np.array([p["x%d" % i] for i in inside])), HARTMANN_BEST)
    exact = of_vector(hartmann6)
    yield Problem("hartmann6noise", box(6, 0, 1), lambda p, r: exact(p, None) + (r.gauss(0, 0.1) if r else 0), HARTMANN_BEST)
    yield Problem("rastriginlog", {"x%d" % i: log(1e-6, 1.0) for i in range(5)}, rastrigin_log, 0)
    yield Problem(
        "training",
        {"lr": log(1e-5, 1.0), "wd": log(1e-6, 1.0), "bs": {"min": 8, "max": 512, "log": True}, "opt": {"values": ["sgd", "adam", "lion"]},
         "drop": {"min": 0.0, "max": 0.6}, "layers": {"min": 2, "max": 12}, "warm": {"min": 0, "max": 20}},
        training_loss,
        0.08106,
    )
    yield Problem(
        "func2c",
        {"x0": {"min": -1.0, "max": 1.0}, "x1": {"min": -1.0, "max": 1.0}, "a": {"values": ["a0", "a1", "a2"]}, "b": {"values": ["b0", "b1", "b2", "b3", "b4"]}},
        func2c,
        -0.20632569,
    )
    for name, f, seed in (("mixint-sphere", lambda z: np.sum(z * z), 1), ("mixint-rosenbrock", lambda z: rosenbrock(z + 1), 8)):
        parameters, value = mixed_integers(f, seed)
        yield Problem(name, parameters, value, 0, line="mixint")
    yield Problem(
        "conditional",
        {"model": {"values": ["svm", "forest", "mlp"]}, "C": log(1e-3, 1e3), "gamma": log(1e-5, 10.0), "features": {"min": 0.05, "max": 1.0},
         "trees": {"min": 10, "max": 1000, "log": True}, "depth": {"min": 2, "max": 40}, "mlp_lr": log(1e-5, 1.0), "mlp_layers": {"min": 1, "max": 6},
         "mlp_drop": {"min": 0.0, "max": 0.6}, "act": {"values": ["relu", "tanh"]}},
        model_choice,
        0.12,
        conditions=[{"if": {"model": "svm"}, "then": ["C", "gamma"]}, {"if": {"model": "forest"}, "then": ["features", "trees", "depth"]},
                    {"if": {"model": "mlp"}, "then": ["mlp_lr", "mlp_layers", "mlp_drop", "act"]}],
    )


# ---- problems that are not in the suite, to see whether what helps there helps elsewhere ----


def griewank(at):
    return of_vector(lambda x: 1 + np.sum((x - at) ** 2) / 40 - np.prod(np.cos((x - at) / np.sqrt(np.arange(1, len(x) + 1)))))


def michalewicz(x):
    return -float(np.sum(np.sin(x) * np.sin(np.arange(1, len(x) + 1) * x * x / math.pi) ** 20))


def dixon_price(x):
    return float((x[0] - 1) ** 2 + np.sum(np.arange(2, len(x) + 1) * (2 * x[1:] ** 2 - x[:-1]) ** 2))


def schwefel(x):
    return float(418.9828872724338 * len(x) - np.sum(x * np.sin(np.sqrt(np.abs(x)))))


def turned_ellipsoid(n, seed):
    rng = np.random.default_rng(seed)
    turn, _ = np.linalg.qr(rng.normal(size=(n, n)))
    at = rng.uniform(-3, 3, n)
    return of_vector(lambda x: float(np.sum(1000.0 ** (np.arange(n) / (n - 1)) * (turn @ (x - at)) ** 2)))


def boosting_loss(seed):
    """A made loss of gradient boosting: numbers in logarithms, whole numbers, choices that shift the others; noisy."""
    rng = np.random.default_rng(seed)
    best = {k: float(rng.uniform(0.2, 0.8)) for k in ("eta", "depth", "sub", "col", "reg", "min")}
    shift = {k: float(rng.uniform(-0.2, 0.2)) for k in ("gbtree", "dart", "linear")}
    cost = dict(zip(shift, rng.permutation([0.0, 0.015, 0.05])))

    def true(p):
        u = {"eta": (math.log10(p["eta"]) + 3) / 3, "depth": (p["depth"] - 1) / 14, "sub": p["sub"], "col": p["col"], "reg": (math.log10(p["reg"]) + 4) / 6,
             "min": math.log2(p["min"]) / 6}
        d = {k: u[k] - best[k] - (shift[p["booster"]] if k in ("eta", "depth") else 0) for k in u}
        slope = 0.25 * abs(d["eta"] + 0.5 * d["depth"]) + 0.1 * (d["eta"] - d["depth"]) ** 2
        return 0.2 + cost[p["booster"]] + slope + 0.1 * d["sub"] ** 2 + 0.05 * d["col"] ** 2 + 0.03 * d["reg"] ** 2 + 0.03 * d["min"] ** 2

    parameters = {"eta": log(1e-3, 1.0), "depth": {"min": 1, "max": 15}, "sub": {"min": 0.0, "max": 1.0}, "col": {"min": 0.0, "max": 1.0},
                  "reg": log(1e-4, 100.0), "min": {"min": 1, "max": 64, "log": True}, "booster": {"values": list(shift)}}
    return Problem("boosting%d" % seed, parameters, lambda p, r: true(p) + (r.gauss(0, 0.003) if r else 0), 0.2, true=true)


def choices_only(n, m, seed):
    """n choices of m values: a sum over single choices and over neighbours."""
    rng = np.random.default_rng(seed)
    one, two = rng.normal(size=(n, m)), 0.7 * rng.normal(size=(n - 1, m, m))
    best = np.zeros(m)
    for i in range(n - 1, 0, -1):  # backwards, exactly: the least over all the later choices
        best = np.min(two[i - 1] + (one[i] + best)[None, :], axis=1)
    names = ["v%d" % v for v in range(m)]

    def value(p, rng):
        c = [int(p["c%d" % i][1:]) for i in range(n)]
        return float(sum(one[i][c[i]] for i in range(n)) + sum(two[i][c[i]][c[i + 1]] for i in range(n - 1)))

    return Problem("choices%dx%d" % (n, m), {"c%d" % i: {"values": names} for i in range(n)}, value, float(np.min(one[0] + best)))


def ackley_choices(seed):
    """Ackley over five numbers and three choices whose values are places without order."""
    rng = np.random.default_rng(seed)
    places = rng.permutation(np.linspace(-3, 3, 7))
    at = rng.uniform(-3, 3, 5)
    f = ackley(np.concatenate([at, places[rng.integers(0, 7, 3)]]))
    names = ["p%d" % v for v in range(7)]

    def value(p, rng):
        x = [p["x%d" % i] for i in range(5)] + [places[int(p["c%d" % i][1:])] for i in range(3)]
        return f({"x%d" % i: v for i, v in enumerate(x)}, None)

    return Problem("ackleychoices", {**box(5, -5, 5), **{"c%d" % i: {"values": names} for i in range(3)}}, value, 0)


def two_branches(p, rng):
    if p["kind"] == "smooth":
        return 0.3 + (p["a"] - 0.3) ** 2 + (p["b"] - 0.6) ** 2
    z = np.array([p["c"] - 0.62, p["d"] - 0.27, p["e"] - 0.81]) * 4
    return 0.02 * rastrigin(z) * (1.0 if p["mode"] == "m1" else 1.3)


def held_out():
    place = np.random.default_rng(77)
    yield Problem("ackley5", box(5, -5, 5), ackley(place.uniform(-3, 3, 5)), 0)
    yield Problem("levy4", box(4, -5, 5), levy(place.uniform(-3, 3, 4)), 0)
    yield Problem("griewank8", box(8, -10, 10), griewank(place.uniform(-6, 6, 8)), 0)
    yield Problem("michalewicz5", box(5, 0, math.pi), of_vector(michalewicz), -4.687658179)
    yield Problem("dixonprice6", box(6, -5, 5), of_vector(dixon_price), 0)
    yield Problem("schwefel4", box(4, -500, 500), of_vector(schwefel), 0)
    yield Problem("styblinski3", box(3, -5, 5), of_vector(styblinski), 3 * STYBLINSKI_EACH)
    at = place.uniform(-3, 3, 4)
    yield Problem("rastrigin4", box(4, -5.12, 5.12), of_vector(lambda x: rastrigin(x - at)), 0)
    yield Problem("ellipsoid8", box(8, -5, 5), turned_ellipsoid(8, 5), 0)
    yield Problem("gallagher2", box(2, -5, 5), gallagher(2, 21, 22), 0)
    yield boosting_loss(1)
    yield boosting_loss(2)
    yield choices_only(8, 5, 4)
    yield ackley_choices(9)
    yield Problem(
        "branches",
        {"kind": {"values": ["smooth", "rough"]}, "a": {"min": 0.0, "max": 1.0}, "b": {"min": 0.0, "max": 1.0}, "c": {"min": 0.0, "max": 1.0},
         "d": {"min": 0.0, "max": 1.0}, "e": {"min": 0.0, "max": 1.0}, "mode": {"values": ["m0", "m1", "m2"]}},
        two_branches,
        0,
        conditions=[{"if": {"kind": "smooth"}, "then": ["a", "b"]}, {"if": {"kind": "rough"}, "then": ["c", "d", "e", "mode"]}],
    )


# ---- problems on which nothing was chosen: a check, not a place to tune ----

SHEKEL_AT = np.array([[4, 4, 4, 4], [1, 1, 1, 1], [8, 8, 8, 8], [6, 6, 6, 6], [3, 7, 3, 7], [2, 9, 2, 9], [5, 5, 3, 3], [8, 1, 8, 1], [6, 2, 6, 2], [7, 3.6, 7, 3.6]])
SHEKEL_WIDTH = 0.1 * np.array([1, 2, 2, 4, 4, 6, 3, 7, 5, 5])


def shekel(x):
    return -float(np.sum(1 / (np.sum((x - SHEKEL_AT) ** 2, axis=1) + SHEKEL_WIDTH)))


def goldstein_price(x):
    a, b = x
    first = 1 + (a + b + 1) ** 2 * (19 - 14 * a + 3 * a * a - 14 * b + 6 * a * b + 3 * b * b)
    second = 30 + (2 * a - 3 * b) ** 2 * (18 - 32 * a + 12 * a * a + 48 * b - 36 * a * b + 27 * b * b)
    return math.log(first * second)


def salomon(x):
    r = math.sqrt(np.sum(x * x))
    return 1 - math.cos(2 * math.pi * r) + 0.1 * r


def zakharov(x):
    slope = np.sum(0.5 * np.arange(1, len(x) + 1) * x)
    return float(np.sum(x * x) + slope**2 + slope**4)


def cosine_mixture(x):
    return float(np.sum(x * x) - 0.1 * np.sum(np.cos(5 * math.pi * x)))


def pipeline_loss(p, rng):
    """A made loss of a linear model behind a choice of scaling and features; noisy."""
    scaler = {"none": (0.06, 1.5), "standard": (0.0, 0.0), "minmax": (0.01, -0.7), "rank": (0.02, 0.4)}[p["scaler"]]
    alpha = math.log10(p["alpha"]) + 2.2 - scaler[1] - 0.4 * (p["degree"] - 3)
    bend = 0.04 * alpha**2 if alpha < 0 else 0.02 * alpha
    true = 0.15 + scaler[0] + bend + 0.015 * (p["degree"] - 3) ** 2 + 0.05 * (p["l1"] - 0.35) ** 2 + (0.01 if not p["whiten"] else 0)
    return true + (rng.gauss(0, 0.002) if rng else 0)


def optimiser_loss(p, rng):
    """A choice of optimiser with parameters of its own, and of a schedule that one of them needs."""
    if p["opt"] == "sgd":
        loss = 0.2 + 0.05 * (math.log10(p["sgd_lr"]) + 0.8 + 1.5 * (p["momentum"] - 0.9)) ** 2 + 0.1 * (p["momentum"] - 0.9) ** 2
        warm = 0.3
    else:
        loss = 0.21 + 0.04 * (math.log10(p["adam_lr"]) + 3.1) ** 2 + 0.02 * (math.log10(1 - p["beta2"]) + 2.5) ** 2
        warm = 0.1
    schedule = {"flat": 0.05, "cosine": 0.0, "steps": 0.015}[p["schedule"]]
    return loss + schedule + (0.03 * (p["warmup"] - warm) ** 2 if p["schedule"] == "cosine" else 0)


def fresh():
    place = np.random.default_rng(4711)
    yield Problem("shekel4", box(4, 0, 10), of_vector(shekel), -10.536409816692)
    yield Problem("goldstein", box(2, -2, 2), of_vector(goldstein_price), math.log(3), trials=50)
    for name, f, n, low, high, best in (("salomon5", salomon, 5, -20, 20, 0), ("zakharov7", zakharov, 7, -5, 8, 0), ("cosine6", cosine_mixture, 6, -1, 1, -0.6)):
        at = place.uniform(0.6 * low, 0.6 * high, n)
        yield Problem(name, box(n, low, high), of_vector(lambda x, f=f, at=at: f(x - at)), best)
    yield choices_only(6, 9, 5)
    yield Problem(
        "pipeline",
        {"scaler": {"values": ["none", "standard", "minmax", "rank"]}, "degree": {"min": 1, "max": 6}, "alpha": log(1e-6, 1e2), "l1": {"min": 0.0, "max": 1.0},
         "whiten": {"values": [True, False]}},
        pipeline_loss, 0.15, true=lambda p: pipeline_loss(p, None),
    )
    yield Problem(
        "optimiser",
        {"opt": {"values": ["sgd", "adam"]}, "sgd_lr": log(1e-4, 10.0), "momentum": {"min": 0.0, "max": 0.99}, "adam_lr": log(1e-6, 1.0),
         "beta2": {"min": 0.9, "max": 0.9999}, "schedule": {"values": ["flat", "cosine", "steps"]}, "warmup": {"min": 0.0, "max": 1.0}},
        optimiser_loss, 0.2,
        conditions=[{"if": {"opt": "sgd"}, "then": ["sgd_lr", "momentum"]}, {"if": {"opt": "adam"}, "then": ["adam_lr", "beta2"]},
                    {"if": {"schedule": "cosine"}, "then": ["warmup"]}],
    )
