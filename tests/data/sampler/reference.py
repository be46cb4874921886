"""Writes reference.h: values of every formula of the sampler, computed with SciPy and mpmath from the formulas' definitions and not from our code.

    python3 reference.py > reference.h
"""

import math

import mpmath as mp
import numpy as np
from scipy import optimize, stats

mp.mp.dps = 40
rng = np.random.default_rng(20261121)


def table(kind, name, rows):
    print("static const %s %s[] = {" % (kind, name))
    for row in rows:
        print("    {%s}," % ", ".join("%.17g" % v if isinstance(v, float) else str(v) for v in row))
    print("};\n")


def array(name, values):
    print("static const double %s[] = {%s};\n" % (name, ", ".join("%.17g" % float(v) for v in np.ravel(values))))


def distributions():
    rows = []
    us = (0.001, 0.1, 0.37, 0.5, 0.9, 0.999)
    for u in us:
        rows.append(("DIST_UNIFORM", -3.0, 7.0, 0.0, 1.0, float(u), float(stats.uniform(-3, 10).ppf(u))))
        rows.append(("DIST_LOG_UNIFORM", 1e-5, 10.0, 0.0, 1.0, float(u), float(stats.loguniform(1e-5, 10).ppf(u))))
        rows.append(("DIST_NORMAL", "-INFINITY", "INFINITY", 2.0, 3.0, float(u), float(stats.norm(2, 3).ppf(u))))
        rows.append(("DIST_NORMAL", 0.0, 1.0, 0.3, 0.2, float(u), float(stats.truncnorm((0 - 0.3) / 0.2, (1 - 0.3) / 0.2, 0.3, 0.2).ppf(u))))
        far = stats.truncnorm(8, 12, 0, 1)  # the right tail
        rows.append(("DIST_NORMAL", 8.0, 12.0, 0.0, 1.0, float(u), float(far.ppf(u))))
        rows.append(("DIST_LOG_NORMAL", 0.0, "INFINITY", -1.0, 0.5, float(u), float(stats.lognorm(0.5, scale=math.exp(-1)).ppf(u))))
        rows.append(("DIST_BETA", 0.0, 1.0, 2.0, 5.0, float(u), float(stats.beta(2, 5).ppf(u))))
        rows.append(("DIST_BETA", 0.0, 1.0, 0.5, 0.5, float(u), float(stats.beta(0.5, 0.5).ppf(u))))
    table("struct { enum dist_shape shape; double min, max, p, q, u, value; }", "ref_distributions", rows)


def normal():
    rows = []
    for a, b in ((-1, 1), (-40, -39), (39, 40), (-38, 2), (3, 3.001), (-3.001, -3), (8, 30), (-0.5, 0.25), (-1e-9, 1e-9)):
        with mp.workdps(1000):  # the difference of two numbers near one
            rows.append((float(a), float(b), float(mp.log((mp.erfc(mp.mpf(a) / mp.sqrt(2)) - mp.erfc(mp.mpf(b) / mp.sqrt(2))) / 2))))
    table("struct { double a, b, log_mass; }", "ref_log_mass", rows)
    rows = []
    for z in (-200, -60, -31, -29, -25, -10, -5.001, -4.999, -1, -0.1, 0, 0.5, 3, 10, 40):
        z = mp.mpf(z)
        f = lambda t: mp.log(mp.npdf(t) + t * mp.ncdf(t))
        with mp.workdps(1200 if z < -20 else 60):
            value = f(z)
            slope = mp.ncdf(z) / (mp.npdf(z) + z * mp.ncdf(z))
        rows.append((float(z), float(value), float(slope)))
    table("struct { double z, log_ei, slope; }", "ref_log_ei", rows)
    table("struct { double x, value; }", "ref_erfcx", [(float(x), float(mp.exp(mp.mpf(x) ** 2) * mp.erfc(mp.mpf(x)))) for x in (0, 0.1, 1, 5, 9.9, 10, 12, 26, 100, 1e5)])


def matern(r2):
    return (1 + math.sqrt(5 * r2) + 5 * r2 / 3) * math.exp(-math.sqrt(5 * r2))


def gaussian_process():
    rows = []
    for r2 in (0.0, 1e-12, 1e-4, 0.1, 1.0, 7.3, 100.0):
        m = lambda t: (1 + mp.sqrt(5 * t) + 5 * t / 3) * mp.exp(-mp.sqrt(5 * t))
        slope = -mp.mpf(5) / 6 if r2 == 0 else mp.diff(m, mp.mpf(r2))
        rows.append((r2, float(m(mp.mpf(r2))), float(slope)))
    table("struct { double r2, value, slope; }", "ref_matern", rows)

    n, d = 12, 3  # two numbers and a choice
    x = rng.random((n, d)).round(3)
    x[:, 2] = rng.integers(0, 3, n)
    y = np.sin(5 * x[:, 0]) + x[:, 1] ** 2 + 0.3 * x[:, 2]
    y = (y - y.mean()) / y.std()
    repeats = np.array([1, 1, 2, 1, 1, 3, 1, 1, 1, 1, 1, 1.0])
    pending = rng.random((2, d)).round(3)
    pending[:, 2] = (1, 0)
    queries = rng.random((4, d)).round(3)
    queries[:, 2] = (0, 1, 2, 2)
    weight, signal, noise = np.array([3.1, 0.7, 0.4]), 1.3, 0.02

    def distance2(a, b, w):
        return w[0] * (a[0] - b[0]) ** 2 + w[1] * (a[1] - b[1]) ** 2 + w[2] * (a[2] != b[2])

    def covariance(p, q, w, s):
        return np.array([[s * matern(distance2(a, b, w)) for b in q] for a in p])

    k = covariance(x, x, weight, signal) + np.diag(noise / repeats)
    array("ref_gp_x", x), array("ref_gp_y", y), array("ref_gp_repeats", repeats), array("ref_gp_pending", pending), array("ref_gp_queries", queries)
    cross = covariance(queries, x, weight, signal)
    array("ref_gp_mean", cross @ np.linalg.solve(k, y))
    array("ref_gp_variance", signal - np.sum(cross * np.linalg.solve(k, cross.T).T, axis=1))
    both = np.vstack([x, pending])
    k2 = covariance(both, both, weight, signal) + np.diag(np.append(noise / repeats, [noise, noise]))
    cross2 = covariance(queries, both, weight, signal)
    array("ref_gp_variance_pending", signal - np.sum(cross2 * np.linalg.solve(k2, cross2.T).T, axis=1))

    def objective(log_params, prior):
        w, s, e = np.exp(log_params[:3]), math.exp(log_params[3]), math.exp(log_params[4])
        kk = covariance(x, x, w, s) + np.diag(e / repeats)
        value = -stats.multivariate_normal(np.zeros(n), kk).logpdf(y)
        if prior == "scaled":  # up to constants
            lengths = -0.5 * log_params[:3]
            value += np.sum((lengths - math.sqrt(2) - 0.5 * math.log(3)) ** 2 / 6)
            value += 0.5 * log_params[3] ** 2 + 0.5 * ((log_params[4] + 6) / 2) ** 2
        else:
            value += np.sum(0.1 / w + 0.1 * w) + s - math.log(s)
            value += 30 * e - 0.1 * math.log(e) if prior == "plain" else 0.5 * ((log_params[4] + 6) / 2) ** 2
        return value

    at = np.log(np.append(weight, [signal, noise]))
    for prior in ("scaled", "plain", "mixed"):
        values = [objective(at, prior)]
        for i in range(5):
            h = np.zeros(5)
            h[i] = 1e-5
            values.append((objective(at + h, prior) - objective(at - h, prior)) / 2e-5)
        array("ref_gp_objective_" + prior, values)


def warped(y):
    n = len(y)
    median = np.median(y)
    good = y <= median
    deviation = math.sqrt(np.mean((y[good] - median) ** 2))
    out = y.copy()
    ranks = stats.rankdata(y)  # middle ranks, 1-based
    for i in range(n):
        if y[i] > median:
            out[i] = median + deviation * stats.norm.ppf((ranks[i] - 0.5) / n)
    return (out - out.mean()) / out.std()


def warp():
    y = np.array([3.0, 1.0, 2.0, 1e30, 5.0, 4.0, 4.5, 4.5, 90.0, 0.5])
    array("ref_warp_in", y)
    array("ref_warp_out", warped(y))


def parzen():
    """Two continuous axes, one ordered with 5 even cells, one choice of 3; seven kernels with the documented widths and weights."""
    n, floor_share, full = 7, 0.01, 4
    u = rng.random((n, 2)).round(4)
    cells, choices = rng.integers(0, 5, n), rng.integers(0, 3, n)
    floor_width = max(floor_share, 1 / (n + 2) ** 2)

    def widths(v):
        order, out = np.argsort(v, kind="stable"), np.zeros(n)
        for place, i in enumerate(order):
            left = v[i] - v[order[place - 1]] if place > 0 else 0
            right = v[order[place + 1]] - v[i] if place + 1 < n else 0
            out[i] = min(max(left, right, floor_width), 1)
        return out

    def cell_width(c):
        middle = lambda k: (k + 0.5) / 5
        held = sorted(set(cells.tolist()))
        left = [middle(c) - middle(k) for k in held if k < c]
        right = [middle(k) - middle(c) for k in held if k > c]
        wide = max([min(left)] if left else [0], [min(right)] if right else [0])[0] if left or right else max(middle(c), 1 - middle(c))
        if np.sum(cells == c) > 1:
            wide = 0
        return min(max(wide, floor_width, 0.1), 1)

    older = n - full
    weights = [1 / n + k * (1 - 1 / n) / (older - 1) for k in range(older)] + [1.0] * full
    total = sum(weights) + 1
    w0, w1 = widths(u[:, 0]), widths(u[:, 1])
    kernels = n + 1

    def density(q):
        x0, x1, cell, choice = q
        tn = lambda m, s, x: stats.truncnorm((0 - m) / s, (1 - m) / s, m, s).pdf(x)
        mass = lambda m, s, c: (stats.norm.cdf(((c + 1) / 5 - m) / s) - stats.norm.cdf((c / 5 - m) / s)) / (stats.norm.cdf((1 - m) / s) - stats.norm.cdf(-m / s))
        value = tn(0.5, 1, x0) * tn(0.5, 1, x1) * mass(0.5, 1, cell) / 3
        for i in range(n):
            c = (cells[i] + 0.5) / 5
            share = ((choice == choices[i]) + 1 / kernels) / (1 + 3 / kernels)
            value += weights[i] * tn(u[i, 0], w0[i], x0) * tn(u[i, 1], w1[i], x1) * mass(c, cell_width(cells[i]), cell) * share
        return math.log(value / total)

    queries = [(0.2, 0.9, 0, 0), (0.01, 0.5, 4, 2), (0.77, 0.33, 2, 1), (float(u[3, 0]), float(u[3, 1]), int(cells[3]), int(choices[3]))]
    array("ref_parzen_u", np.column_stack([u, (cells + 0.5) / 5, (choices + 0.5) / 3]))
    array("ref_parzen_queries", queries)
    array("ref_parzen_log", [density(q) for q in queries])


def cmaes():
    rows = []
    for d, lam in ((2, 6), (10, 10), (10, 20), (40, 15)):
        raw = [math.log((lam + 1) / 2) - math.log(i + 1) for i in range(lam)]
        mu = lam // 2
        pos, neg = raw[:mu], raw[mu:]
        mueff = sum(pos) ** 2 / sum(v * v for v in pos)
        mueff_neg = sum(neg) ** 2 / sum(v * v for v in neg)
        c1 = 2 / ((d + 1.3) ** 2 + mueff)
        cmu = min(1 - c1 - 1e-8, 2 * (mueff - 2 + 1 / mueff) / ((d + 2) ** 2 + mueff))
        scale = min(1 + c1 / cmu, 1 + 2 * mueff_neg / (mueff + 2), (1 - c1 - cmu) / (d * cmu))
        weights = [v / sum(pos) for v in pos] + [v * scale / abs(sum(neg)) for v in neg]
        csigma = (mueff + 2) / (d + mueff + 5)
        dsigma = 1 + 2 * max(0, math.sqrt((mueff - 1) / (d + 1)) - 1) + csigma
        cc = (4 + mueff / d) / (d + 4 + 2 * mueff / d)
        chi = math.sqrt(d) * (1 - 1 / (4 * d) + 1 / (21 * d * d))
        rows.append((d, lam, weights[0], weights[mu - 1], weights[-1], mueff, csigma, dsigma, cc, c1, cmu, chi))
    table("struct { unsigned d, lambda; double first, last_good, last, mu_eff, c_sigma, d_sigma, c_c, c_1, c_mu, chi; }", "ref_cmaes", rows)


def cells():
    """The share of a cell: of everything that is rounded to its value, and of all beyond it where it is the last."""
    rows = []

    def add(spec, values, cdf):  # cdf: of the distribution that is rounded
        middles = [(a + b) / 2 for a, b in zip(values, values[1:])]
        edges = [0.0] + [float(cdf(m)) for m in middles] + [1.0]
        for value, low, high in zip(values, edges, edges[1:]):
            rows.append(spec + (float(value), low, high))

    def grid(first, step, count):
        return [first + step * i for i in range(count)]

    # shape, min, max, p, q, step, quantum
    add(("DIST_UNIFORM", 0.0, 1.0, 0.0, 1.0, 0.3, 0.0), grid(0, 0.3, 4), stats.uniform(-0.15, 1.2).cdf)
    add(("DIST_UNIFORM", -2.0, 3.0, 0.0, 1.0, 1.0, 0.0), grid(-2, 1, 6), stats.uniform(-2.5, 6).cdf)
    add(("DIST_LOG_UNIFORM", 1.0, 9.0, 0.0, 1.0, 1.0, 0.0), grid(1, 1, 9), stats.loguniform(0.5, 9.5).cdf)
    add(("DIST_LOG_UNIFORM", 0.5, 2.0, 0.0, 1.0, 0.25, 0.0), grid(0.5, 0.25, 7), stats.loguniform(0.375, 2.125).cdf)
    add(("DIST_UNIFORM", 0.05, 1.0, 0.0, 1.0, 0.0, 0.1), grid(0.1, 0.1, 10), stats.uniform(0.05, 0.95).cdf)
    add(("DIST_LOG_UNIFORM", 1.0, 20.0, 0.0, 1.0, 0.0, 3.0), grid(3, 3, 6), stats.loguniform(1, 20).cdf)
    add(("DIST_NORMAL", "-INFINITY", 2.0, 0.0, 1.0, 0.0, 2.0), [-8, -6, -4, -2, 0, 2], lambda x: stats.norm.cdf(x) / stats.norm.cdf(2))
    add(("DIST_NORMAL", 0.0, 1.0, 0.3, 0.2, 0.0, 0.25), grid(0, 0.25, 5), stats.truncnorm(-1.5, 3.5, 0.3, 0.2).cdf)
    add(("DIST_BETA", 0.0, 1.0, 2.0, 5.0, 0.0, 0.2), grid(0, 0.2, 6), stats.beta(2, 5).cdf)
    table("struct { enum dist_shape shape; double min, max, p, q, step, quantum, value, from, to; }", "ref_cells", rows)


def cmaes_run():
    """The start from the best tenth of 60 results (Nomura 2021), and four generations after Hansen's tutorial (1604.00772)."""
    own = np.random.default_rng(7)
    d, started = 3, 60
    f = lambda x: (x[0] - 0.3) ** 2 + 10 * (x[1] - 0.6 + 0.5 * x[0]) ** 2 + abs(x[2] - 0.5)
    trials = [own.random(d).round(4) for _ in range(started)]
    best = np.array(sorted(trials, key=f)[: started // 10])
    mean = best.mean(axis=0)
    cov = (best - mean).T @ (best - mean) / len(best) + 0.1**2 * np.eye(d)
    sigma = np.linalg.det(cov) ** (1 / (2 * d))
    cov /= sigma**2
    states = [(mean, sigma, cov)]

    lam = 4 + math.floor(3 * math.log(d))
    mu = lam // 2
    raw = np.array([math.log((lam + 1) / 2) - math.log(i + 1) for i in range(lam)])
    mueff = raw[:mu].sum() ** 2 / (raw[:mu] ** 2).sum()
    mueff_neg = raw[mu:].sum() ** 2 / (raw[mu:] ** 2).sum()
    c1 = 2 / ((d + 1.3) ** 2 + mueff)
    cmu = min(1 - c1 - 1e-8, 2 * (mueff - 2 + 1 / mueff) / ((d + 2) ** 2 + mueff))
    scale = min(1 + c1 / cmu, 1 + 2 * mueff_neg / (mueff + 2), (1 - c1 - cmu) / (d * cmu))
    w = np.where(raw >= 0, raw / raw[:mu].sum(), raw * scale / abs(raw[mu:].sum()))
    csigma = (mueff + 2) / (d + mueff + 5)
    dsigma = 1 + 2 * max(0, math.sqrt((mueff - 1) / (d + 1)) - 1) + csigma
    cc = (4 + mueff / d) / (d + 4 + 2 * mueff / d)
    chi = math.sqrt(d) * (1 - 1 / (4 * d) + 1 / (21 * d * d))
    path_s, path_c, furthest = np.zeros(d), np.zeros(d), math.sqrt(d) + 2 * d / (d + 2)
    for g in range(4):
        spread = 3.5 if g == 2 else 1  # too far: some come from somewhere else, and are drawn in
        drift = 2 if g == 1 else 0  # a path that is too long holds the other one
        values, vectors = np.linalg.eigh(cov)
        root, inverse = (vectors * np.sqrt(values)) @ vectors.T, (vectors / np.sqrt(values)) @ vectors.T
        asked = [(mean + sigma * spread * root @ (own.standard_normal(d) + drift)).clip(0, 1).round(4) for _ in range(lam)]
        if g == 2:
            asked[0] = np.array([0.999, 0.001, 0.999])
        trials += asked
        steps = []
        for x in sorted(asked, key=f):
            y = (x - mean) / sigma
            length = np.linalg.norm(inverse @ y)
            steps.append(y * min(1, furthest / length))
        step = sum(w[i] * steps[i] for i in range(mu))
        path_s = (1 - csigma) * path_s + math.sqrt(csigma * (2 - csigma) * mueff) * inverse @ step
        goes = np.linalg.norm(path_s) / math.sqrt(1 - (1 - csigma) ** (2 * (g + 1))) < (1.4 + 2 / (d + 1)) * chi
        path_c = (1 - cc) * path_c + goes * math.sqrt(cc * (2 - cc) * mueff) * step
        cov = (1 + (0 if goes else c1 * cc * (2 - cc)) - c1 - cmu * w.sum()) * cov + c1 * np.outer(path_c, path_c)
        for weight, y in zip(w, steps):
            cov = cov + cmu * (weight if weight >= 0 else weight * d / np.linalg.norm(inverse @ y) ** 2) * np.outer(y, y)
        mean = (mean + sigma * step).clip(0, 1)
        sigma *= math.exp(min(1, csigma / dsigma * (np.linalg.norm(path_s) / chi - 1)))
        states.append((mean, sigma, cov))
    array("ref_cmaes_trials", trials)
    array("ref_cmaes_values", [f(x) for x in trials])
    array("ref_cmaes_means", [s[0] for s in states])
    array("ref_cmaes_sigmas", [s[1] for s in states])
    array("ref_cmaes_covariances", [s[2] for s in states])


def importances():
    """PED-ANOVA (Watanabe 2023) of functions of independent parameters: Pearson's divergence of the best tenth's marginal densities, by counting
    on a fine lattice."""
    n = 200
    axis = (np.arange(n) + 0.5) / n
    x, y, k = np.meshgrid(axis, axis, np.arange(3), indexing="ij")  # a third parameter is not used
    rows = []
    for f in (x + 0.6 * y + 0 * k, (x - 0.3) ** 2 + 0.3 * (y - 0.7) ** 2 + 0.05 * (k != 1), 0.5 * x + 0.5 * k, abs(x - y) + 0.2 * k):
        good = f <= np.quantile(f, 0.1)
        raw = []
        for keep, cells in ((0, n), (1, n), (2, 3)):
            p = good.sum(axis=tuple({0, 1, 2} - {keep})) / good.sum()
            raw.append(float(np.sum((p * cells - 1) ** 2) / cells))
        rows.append([v / sum(raw) for v in raw])
    array("ref_importance", rows)


def spread(i, by):
    """A number in [0, 1) that the tests make too, of the same bits."""
    return math.fmod((i + 1) * by, 1)


def fits():
    """The hyperparameters of least objective inside the box, by SciPy's L-BFGS-B from many starts: a data set for each side of the box, and three
    whose least lies inside. The test makes the same data."""
    n = 30
    i = np.arange(n)
    one = np.array([spread(k, 0.618034) for k in i])
    two = np.column_stack([one, [spread(k, 0.754878) for k in i]])
    noise = np.array([math.sin(37.0 * k) for k in i])
    sets = [
        ("SCALED", (1e-3 * i)[:, None], np.where(i % 2, 1.0, -1.0), 1e4),
        ("SCALED", (20.0 * i)[:, None], (i - 14.5) / 8.66, 1.0),
        ("PLAIN", one[:, None], np.array([40 * math.sin(9 * v) for v in one]), 1.0),
        ("PLAIN", one[:, None], np.array([1e-2 * math.sin(3 * v) for v in one]), 1.0),
        ("SCALED", (0.001 * one)[:, None], 5 * noise, 1.0),
    ] + [(prior, two, np.array([math.sin(6 * v) for v in one]) + 0.2 * noise, 1.0) for prior in ("SCALED", "PLAIN", "MIXED")]
    rows = []
    for prior, x, y, repeats in sets:
        d = x.shape[1]

        def objective(p):
            w, s, e = np.exp(p[:d]), math.exp(p[d]), math.exp(p[d + 1])
            r2 = sum(w[f] * (x[:, None, f] - x[None, :, f]) ** 2 for f in range(d))
            root = np.sqrt(5 * r2)
            try:
                factor = np.linalg.cholesky(s * (1 + root + 5 * r2 / 3) * np.exp(-root) + np.diag(np.full(n, e / repeats)))
            except np.linalg.LinAlgError:
                return 1e10
            a = np.linalg.solve(factor, y)
            value = 0.5 * a @ a + np.log(np.diag(factor)).sum() + 0.5 * n * math.log(2 * math.pi)
            if prior == "SCALED":
                value += np.sum((-0.5 * p[:d] - math.sqrt(2) - 0.5 * math.log(d)) ** 2 / 6) + 0.5 * p[d] ** 2
            else:
                value += np.sum(0.1 / w + 0.1 * w) + s - math.log(s)
            return value + (30 * e - 0.1 * math.log(e) if prior == "PLAIN" else 0.5 * ((p[d + 1] + 6) / 2) ** 2)

        box = [(-12, 12)] * d + [(math.log(1e-2), math.log(1e2)), (math.log(1e-6), math.log(2))]
        starts = [[w] * d + [0, e] for w in (-8, -5, -2, 1.4, 5, 9) for e in (-11, -7, -3, 0)]
        options = {"maxiter": 500, "ftol": 1e-14, "gtol": 1e-9}
        best = min((optimize.minimize(objective, start, bounds=box, method="L-BFGS-B", options=options) for start in starts), key=lambda r: r.fun)
        at = [float(v) for v in best.x]
        rows.append(("GP_PRIOR_" + prior, d, float(best.fun), "{%s}" % ", ".join("%.9g" % v for v in at)))
    table("struct { enum gp_prior prior; unsigned features; double objective, log_params[4]; }", "ref_fits", rows)


def trust():
    """The trust region's share over 900 results (see sampler/trust.h), where it changes. The test makes the same results."""
    rows = []
    for features in (21, 60):
        share, best, gains, failures, seen = 0.8, None, 0, 0, 0
        rows.append((features, 0, share))
        for k in range(900):
            block, place = divmod(k, 100)
            value = -float(k) if block % 3 == 0 else 1e3 if block % 3 == 1 else -(100 * (block - 2) + 99) * (1 + 3e-4 * place)
            if k % 19 == 3:
                continue  # gone: nobody learns from it
            finished = k % 13 != 4 and k % 17 != 8
            gain = finished and (best is None or best - value > abs(best) / 1000)
            best = value if finished and (best is None or value < best) else best
            seen += 1
            if seen <= 10:
                continue
            gains, failures = (gains + 1, 0) if gain else (0, failures + 1)
            if gains == 3:
                gains, share = 0, min(1.6, 2 * share)
            if failures == features:
                failures, share = 0, share / 2
            share = 0.8 if share < 1 / 128 else share
            if share != rows[-1][2]:
                rows.append((features, k + 1, share))
    table("struct { unsigned features, results; double share; }", "ref_trust", rows)


def chance_of_importance():
    """What importances of few trials are once what chance makes of as few is taken off (sampler/importance.c), and how far they may be off, since
    there chance is the mean of 40 random choices (10 for pairs). The test makes the same trials."""
    own = np.random.default_rng(5)
    n = 200
    best = max(math.ceil(n / 10), min(10, n // 3))
    columns = [[spread(i, 0.618034) for i in range(n)], [spread(i, 0.754878) for i in range(n)], [math.floor(30 * spread(i, 0.569840)) for i in range(n)]]
    value = [-(columns[0][i] - 0.35) * (columns[1][i] - 0.5) + 0.05 * (columns[2][i] % 3 == 0) + 0.2 * spread(i, 0.414214) for i in range(n)]
    order = np.argsort(value, kind="stable")
    bins, smooth = (50, 50, 30), (True, True, False)
    at = [np.array([math.floor(columns[c][i] * 50) if c < 2 else columns[c][i] for i in order]) for c in range(3)]

    def density(c, chosen):
        m, counts = bins[c], np.bincount(at[c][chosen], minlength=bins[c]).astype(float)
        middle = np.arange(m)
        total, mean = counts.sum(), (counts * middle).sum() / counts.sum()
        width = max(1.06 * math.sqrt((counts * (middle - mean) ** 2).sum() / total) * total**-0.2, 0.5)
        kernels = np.exp(-0.5 * ((middle[None, :] - middle[:, None]) / width) ** 2) if smooth[c] else np.eye(m)
        out = 1 / m + counts @ (kernels / kernels.sum(axis=1, keepdims=True))
        return out / out.sum()

    def single(c, chosen):
        p, q = density(c, chosen), density(c, np.arange(n))
        return ((p - q) ** 2 / q).sum()

    def pair(a, b, chosen):
        cell = lambda c: at[c] * 10 // bins[c]
        both = cell(a) * 10 + cell(b)
        p, q = (((np.bincount(both[s], minlength=100) + 0.01) / (len(s) + 1)) for s in (chosen, np.arange(n)))
        return ((p - q) ** 2 / q).sum() - single(a, chosen) - single(b, chosen)

    def shares(chance):
        raw = np.maximum(np.array([single(c, np.arange(best)) for c in range(3)]) - chance, 0)
        return raw / raw.sum(), raw.sum()

    subsets = [own.permutation(n)[:best] for _ in range(2000)]
    by_chance = np.array([[single(c, s) for c in range(3)] for s in subsets])
    wanted, total = shares(by_chance.mean(axis=0))
    forty = np.array([shares(by_chance[own.integers(0, len(subsets), 40)].mean(axis=0))[0] for _ in range(2000)])
    table("struct { double share, deviation; }", "ref_chance_shares", [(float(w), float(s)) for w, s in zip(wanted, forty.std(axis=0))])

    def resampled(ranks):  # as many trials, drawn with replacement, in an order of theirs
        drawn = np.repeat(ranks, np.bincount(own.integers(0, n, n), minlength=n)[ranks])
        return [((density(c, drawn[:best]) - density(c, drawn)) ** 2 / density(c, drawn)).sum() for c in range(3)]

    nothing = np.array([resampled(own.permutation(n)) for _ in range(800)])  # what comes of it where nothing matters

    def interval():
        raw = np.maximum(np.array([resampled(np.arange(n)) for _ in range(200)]) - nothing[own.integers(0, len(nothing), 40)].mean(axis=0), 0)
        return np.sort(raw / np.maximum(raw.sum(axis=1, keepdims=True), 1e-300), axis=0)[[5, 194]]  # the middle 95 in 100

    ends = np.array([interval() for _ in range(20)])
    table("struct { double low, high, low_deviation, high_deviation; }", "ref_chance_intervals",
          [tuple(map(float, (*ends.mean(axis=0)[:, c], *ends.std(axis=0)[:, c]))) for c in range(3)])
    rows = []
    for a, b in ((0, 1), (0, 2), (1, 2)):
        chance = np.array([pair(a, b, s) for s in subsets])
        excess = pair(a, b, np.arange(best)) - chance.mean()
        rows.append((a, b, float(excess / total), float(chance.std() / math.sqrt(10) / total)))
    table("struct { size_t a, b; double share, deviation; }", "ref_chance_pairs", rows)


def search():
    """Where the expected improvement is largest: alone, and beside trials that are believed to bring what is expected of them."""
    x = np.array([0.05, 0.17, 0.3, 0.38, 0.66, 0.74, 0.8, 0.97])
    y = np.sin(7 * x + 1) + 0.5 * x
    pending = np.array([0.52, 0.56, 0.47])
    weight, signal, noise = 12.0, 1.4, 0.01
    k = lambda a, b: signal * np.vectorize(matern)(weight * (a[:, None] - b[None, :]) ** 2)
    found = []
    for count in range(len(pending) + 1):
        both, z = np.append(x, pending[:count]), warped(y)
        alpha = np.linalg.solve(k(x, x) + noise * np.eye(len(x)), z)
        inverse = np.linalg.inv(k(both, both) + noise * np.eye(len(both)))
        best = (k(both, x) @ alpha).min()

        def gain(at):
            at = np.atleast_1d(at)
            cross = k(at, both)
            deviation = np.sqrt(signal - np.einsum("ij,jk,ik->i", cross, inverse, cross))
            better = best - k(at, x) @ alpha
            return better * stats.norm.cdf(better / deviation) + deviation * stats.norm.pdf(better / deviation)

        grid = np.linspace(0, 1, 20001)
        top = grid[gain(grid).argmax()]
        found.append(optimize.minimize_scalar(lambda at: -math.log(gain(at)[0]), bounds=(max(top - 1e-4, 0), min(top + 1e-4, 1)), method="bounded", options={"xatol": 1e-12}).x)
    array("ref_search_x", x), array("ref_search_y", y), array("ref_search_pending", pending), array("ref_search_found", found)


print("/* Written by reference.py; not to be edited. */")
print("#include <math.h>\n")
distributions(), normal(), gaussian_process(), warp(), parzen(), cmaes(), cells(), cmaes_run(), importances()
fits(), trust(), chance_of_importance(), search()
