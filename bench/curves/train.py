"""Really trains small networks and writes down the validation accuracy after every epoch: the tables behind the problems "curves-*" of
bench/quality. Needs NumPy, SciPy and scikit-learn (for its digits).

    nice python3 train.py           trains what is missing (about 15 minutes of one core in all), then writes curves.npz beside this file
    python3 train.py --show         what the tables hold

600 configurations (scrambled Sobol) of seven parameters, 40 epochs, three data sets: scikit-learn's handwritten digits, and two made ones. Plain
stochastic gradient descent with momentum, dropout, weight decay and a learning rate that falls along a cosine. Work done is kept in
--work, a file for each data set, so that an ended run goes on where it was.
"""

import argparse
import os
import time

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(name, "1")

import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))
EPOCHS = 40
CONFIGURATIONS = 600

# name, least, most, scale
SPACE = (
    ("batch_size", 16, 512, "int log"),
    ("learning_rate", 1e-3, 1.0, "log"),
    ("dropout", 0.0, 0.8, "linear"),
    ("units", 8, 128, "int log"),
    ("momentum", 0.1, 0.99, "linear"),
    ("layers", 1, 4, "int"),
    ("weight_decay", 1e-6, 1e-1, "log"),
)


def from_unit(u, low, high, scale):
    """An integer owns the half step on either side of it, as in the samplers."""
    whole, log = scale.startswith("int"), scale.endswith("log")
    a, b = (low - 0.5, high + 0.5) if whole else (low, high)
    value = np.exp(np.log(a) + u * (np.log(b) - np.log(a))) if log else a + u * (b - a)
    return np.clip(np.floor(value + 0.5), low, high) if whole else value


def to_unit(value, low, high, scale):
    whole, log = scale.startswith("int"), scale.endswith("log")
    a, b = (low - 0.5, high + 0.5) if whole else (low, high)
    return (np.log(value) - np.log(a)) / (np.log(b) - np.log(a)) if log else (value - a) / (b - a)


def configurations():
    from scipy.stats import qmc

    u = qmc.Sobol(len(SPACE), scramble=True, seed=6).random(1024)[:CONFIGURATIONS]
    return np.stack([from_unit(u[:, k], *spec[1:]) for k, spec in enumerate(SPACE)], axis=1)


# ---- data ----


def digits():
    from sklearn.datasets import load_digits

    x, y = load_digits(return_X_y=True)
    order = np.random.default_rng(1).permutation(len(x))
    x, y = x[order] / 16 - 0.3, y[order]
    return x[:1000], y[:1000], x[1000:], y[1000:]


def rings():
    """Six classes by the distance from a centre in a plane that is hidden among twenty directions; a tenth of the training labels are wrong."""
    rng = np.random.default_rng(2)
    turn, _ = np.linalg.qr(rng.normal(size=(20, 20)))
    radius, angle = 3 * np.sqrt(rng.uniform(size=2500)), rng.uniform(0, 2 * np.pi, 2500)
    plane = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)
    y = np.minimum((radius * 2).astype(int), 5)
    x = np.concatenate([plane, 0.5 * rng.normal(size=(2500, 18))], axis=1) @ turn
    wrong = rng.uniform(size=1000) < 0.1
    y[:1000][wrong] = rng.integers(0, 6, wrong.sum())
    return x[:1000], y[:1000], x[1000:], y[1000:]


def clusters():
    """Ten classes of three clusters each in thirty directions, which overlap."""
    rng = np.random.default_rng(3)
    centres = rng.normal(size=(30, 30)) * 0.55
    which = rng.integers(0, 30, 2700)
    x = centres[which] + rng.normal(size=(2700, 30)) * rng.uniform(0.4, 1.1, 30)[which][:, None]
    return x[:1200], which[:1200] % 10, x[1200:], which[1200:] % 10


TASKS = {"digits": digits, "rings": rings, "clusters": clusters}


# ---- training ----


class Network:
    def __init__(self, inputs, classes, config, rng):
        self.config = dict(zip((s[0] for s in SPACE), config))
        widths = [inputs] + [int(self.config["units"])] * int(self.config["layers"]) + [classes]
        self.weights = [rng.normal(size=(a, b)).astype(np.float32) * np.float32(np.sqrt(2 / a)) for a, b in zip(widths, widths[1:])]
        self.biases = [np.zeros(b, np.float32) for b in widths[1:]]
        self.speed = [np.zeros_like(w) for w in self.weights + self.biases]

    def forward(self, x, rng=None):
        """Outputs of every layer; with `rng` some units are dropped."""
        kept = np.float32(1 - self.config["dropout"])
        layers = [x]
        for k, (w, b) in enumerate(zip(self.weights, self.biases)):
            x = x @ w + b
            if k + 1 < len(self.weights):
                x = np.maximum(x, 0)
                if rng is not None and kept < 1:
                    x *= (rng.random(x.shape, dtype=np.float32) < kept) / kept
            layers.append(x)
        return layers

    def step(self, x, y, rate, rng):
        layers = self.forward(x, rng)
        out = layers[-1] - layers[-1].max(axis=1, keepdims=True)
        delta = np.exp(out)
        delta /= delta.sum(axis=1, keepdims=True)
        delta[np.arange(len(y)), y] -= 1
        delta /= len(y)
        gradients = [None] * (2 * len(self.weights))
        kept = np.float32(1 - self.config["dropout"])
        for k in range(len(self.weights) - 1, -1, -1):
            gradients[k] = layers[k].T @ delta + np.float32(self.config["weight_decay"]) * self.weights[k]
            gradients[len(self.weights) + k] = delta.sum(axis=0)
            if k:
                delta = (delta @ self.weights[k].T) * (layers[k] > 0)
                if kept < 1:
                    delta /= kept
        momentum = np.float32(self.config["momentum"])
        for speed, values, gradient in zip(self.speed, self.weights + self.biases, gradients):
            speed *= momentum
            speed -= np.float32(rate) * gradient
            values += speed


def train(data, config, seed):
    """How many of the validation rows are right after each epoch, and the seconds of processor time used."""
    x, y, valid_x, valid_y = data
    rng = np.random.default_rng(seed)
    net = Network(x.shape[1], int(y.max()) + 1, config, rng)
    batch, right = int(net.config["batch_size"]), []
    start = time.process_time()
    for epoch in range(EPOCHS):
        rate = net.config["learning_rate"] * 0.5 * (1 + np.cos(np.pi * epoch / EPOCHS))
        order = rng.permutation(len(x))
        for at in range(0, len(x), batch):
            rows = order[at : at + batch]
            net.step(x[rows], y[rows], rate, rng)
        out = net.forward(valid_x)[-1]
        right.append(int((out.argmax(axis=1) == valid_y).sum()))  # where training diverged: class 0
    return right, time.process_time() - start


def train_task(task, configs, work):
    path = os.path.join(work, task + ".tsv")
    done = {}
    if os.path.exists(path):
        with open(path) as f:
            for line in f:
                fields = line.split()
                if line.endswith("\n") and len(fields) == EPOCHS + 2:
                    done[int(fields[0])] = (float(fields[1]), [int(v) for v in fields[2:]])
    x, y, valid_x, valid_y = TASKS[task]()
    data = x.astype(np.float32), y, valid_x.astype(np.float32), valid_y
    with open(path, "a") as f, np.errstate(all="ignore"):
        for k in range(len(configs)):
            if k in done:
                continue
            right, seconds = train(data, configs[k], 1000 + k)
            done[k] = (seconds, right)
            f.write("%d %.4g %s\n" % (k, seconds, " ".join(map(str, right))))
            f.flush()
    right = np.array([done[k][1] for k in range(len(configs))], np.uint16)
    return right, np.array([done[k][0] for k in range(len(configs))], np.float32), len(valid_y)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    parser.add_argument("--work", default=os.path.join(cache, "winnow", "quality", "curves"))
    parser.add_argument("--out", default=os.path.join(HERE, "curves.npz"))
    parser.add_argument("--show", action="store_true")
    args = parser.parse_args()
    if args.show:
        tables = np.load(args.out)
        for task in TASKS:
            accuracy = tables[task + "_right"] / float(tables[task + "_rows"])
            last, seconds = accuracy[:, -1], tables[task + "_seconds"]
            print("%-9s last epoch: median %.3f, best %.3f, worst %.3f; epoch 5 ranks the last by %.2f; %.2f s a training, %.0f s in all"
                  % (task, np.median(last), last.max(), last.min(), np.corrcoef(accuracy[:, 4].argsort().argsort(), last.argsort().argsort())[0, 1],
                     seconds.mean(), seconds.sum()))
        return
    os.makedirs(args.work, exist_ok=True)
    tables = {"configs": configurations().astype(np.float32)}
    for task in TASKS:
        right, seconds, rows = train_task(task, tables["configs"].astype(float), args.work)
        tables.update({task + "_right": right, task + "_seconds": seconds, task + "_rows": np.int64(rows)})
    np.savez_compressed(args.out, **tables)


if __name__ == "__main__":
    main()
