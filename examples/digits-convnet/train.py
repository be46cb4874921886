"""A small convolutional network for 8x8 digits, in NumPy alone. It knows nothing of Winnow: it takes arguments and prints.

    python3 train.py --lr=0.05 --epochs=5
"""
import argparse
import os

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

HERE = os.path.dirname(os.path.abspath(__file__))
VALIDATE = 360  # images kept for validation, of 1,797


class Conv:
    """3x3 with a border of zeros: the patches of the image side by side (im2col), so that one matrix product does it."""

    def __init__(self, rng, inputs, outputs):
        self.weights = scaled(rng, 9 * inputs, outputs)

    def forward(self, x):
        n, h, w, c = x.shape
        padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
        self.shape = x.shape
        self.columns = sliding_window_view(padded, (3, 3), axis=(1, 2)).reshape(n * h * w, c * 9)
        return (self.columns @ self.weights[0] + self.weights[1]).reshape(n, h, w, -1)

    def backward(self, grad):
        n, h, w, c = self.shape
        flat = grad.reshape(n * h * w, -1)
        self.gradients = [self.columns.T @ flat, flat.sum(axis=0)]
        patches = (flat @ self.weights[0].T).reshape(n, h, w, c, 3, 3)
        padded = np.zeros((n, h + 2, w + 2, c), dtype=grad.dtype)
        for dy in range(3):
            for dx in range(3):
                padded[:, dy : dy + h, dx : dx + w] += patches[..., dy, dx]
        return padded[:, 1:-1, 1:-1]


class Relu:
    weights = gradients = ()

    def forward(self, x):
        self.positive = x > 0
        return x * self.positive

    def backward(self, grad):
        return grad * self.positive


class MaxPool:
    """The largest of each 2x2; where several are, they share the gradient."""

    weights = gradients = ()

    def forward(self, x):
        n, h, w, c = x.shape
        cells = x.reshape(n, h // 2, 2, w // 2, 2, c)
        largest = cells.max(axis=(2, 4), keepdims=True)
        self.mask = (cells == largest).astype(x.dtype)
        self.mask /= self.mask.sum(axis=(2, 4), keepdims=True)
        return largest.reshape(n, h // 2, w // 2, c)

    def backward(self, grad):
        n, h, w, c = grad.shape
        return (self.mask * grad.reshape(n, h, 1, w, 1, c)).reshape(n, h * 2, w * 2, c)


class Dense:
    def __init__(self, rng, inputs, outputs):
        self.weights = scaled(rng, inputs, outputs)

    def forward(self, x):
        self.shape = x.shape
        self.x = x.reshape(len(x), -1)
        return self.x @ self.weights[0] + self.weights[1]

    def backward(self, grad):
        self.gradients = [self.x.T @ grad, grad.sum(axis=0)]
        return (grad @ self.weights[0].T).reshape(self.shape)


def scaled(rng, inputs, outputs):
    """Weights with the variance that ReLU wants, and biases of zero."""
    return [(rng.standard_normal((inputs, outputs)) * np.sqrt(2 / inputs)).astype(np.float32), np.zeros(outputs, dtype=np.float32)]


class Network:
    def __init__(self, rng, channels):
        c = channels
        self.layers = [Conv(rng, 1, c), Relu(), MaxPool(), Conv(rng, c, 2 * c), Relu(), MaxPool(), Dense(rng, 2 * c * 4, 10)]

    def forward(self, x):
        for layer in self.layers:
            x = layer.forward(x)
        return x

    def loss_and_gradients(self, x, labels):
        """The mean cross entropy; afterwards `gradients` is that of `weights`."""
        scores = self.forward(x)
        scores -= scores.max(axis=1, keepdims=True)
        log_p = scores - np.log(np.exp(scores).sum(axis=1, keepdims=True))
        rows = np.arange(len(labels))
        grad = np.exp(log_p)
        grad[rows, labels] -= 1
        grad /= len(labels)
        for layer in reversed(self.layers):
            grad = layer.backward(grad)
        return -log_p[rows, labels].mean()

    @property
    def weights(self):
        return [w for layer in self.layers for w in layer.weights]

    @property
    def gradients(self):
        return [g for layer in self.layers for g in layer.gradients]

    def accuracy(self, x, labels):
        return (self.forward(x).argmax(axis=1) == labels).mean()


class Sgd:
    def __init__(self, weights, lr, momentum):
        self.lr, self.momentum, self.speed = lr, momentum, [np.zeros_like(w) for w in weights]

    def step(self, weights, gradients):
        for w, g, v in zip(weights, gradients, self.speed):
            v *= self.momentum
            v -= self.lr * g
            w += v


class Adam:
    def __init__(self, weights, lr, momentum):
        self.lr, self.t, self.beta1, self.beta2 = lr, 0, momentum, 0.999
        self.mean, self.square = [np.zeros_like(w) for w in weights], [np.zeros_like(w) for w in weights]

    def step(self, weights, gradients):
        self.t += 1
        rate = self.lr * np.sqrt(1 - self.beta2**self.t) / (1 - self.beta1**self.t)
        for w, g, m, s in zip(weights, gradients, self.mean, self.square):
            m += (1 - self.beta1) * (g - m)
            s += (1 - self.beta2) * (g * g - s)
            w -= rate * m / (np.sqrt(s) + 1e-8)


def load_digits():
    """Always the same images for training and for validation, so that trials can be compared."""
    rows = np.loadtxt(os.path.join(HERE, "digits.csv.gz"), delimiter=",", dtype=np.uint8)
    rows = rows[np.random.default_rng(0).permutation(len(rows))]
    x, labels = (rows[:, :64] / np.float32(16)).reshape(-1, 8, 8, 1), rows[:, 64].astype(int)
    return (x[VALIDATE:], labels[VALIDATE:]), (x[:VALIDATE], labels[:VALIDATE])


def save(path, network, args, accuracy):
    """Whole or not at all: a trial may be stopped at any moment."""
    os.makedirs(path, exist_ok=True)
    with open(os.path.join(path, ".weights.npz"), "wb") as file:
        np.savez(file, *network.weights, channels=args.channels, val_accuracy=accuracy)
    os.replace(os.path.join(path, ".weights.npz"), os.path.join(path, "weights.npz"))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--batchsize", type=int, default=64)
    parser.add_argument("--lr", type=float, default=0.01)
    parser.add_argument("--optimizer", choices=["sgd", "adam"], default="sgd")
    parser.add_argument("--momentum", type=float, default=0.9)
    parser.add_argument("--channels", type=int, default=8)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--model", help="directory for the weights of the best epoch")
    args = parser.parse_args()

    np.seterr(over="ignore", invalid="ignore")  # a rate that is too high shows as loss=nan
    rng = np.random.default_rng(args.seed)
    (x, labels), validation = load_digits()
    network = Network(rng, args.channels)
    optimizer = {"sgd": Sgd, "adam": Adam}[args.optimizer](network.weights, args.lr, args.momentum)
    print(f"{len(x)} images to learn from, {VALIDATE} to validate with, {sum(w.size for w in network.weights)} weights", flush=True)
    best = -1.0
    for epoch in range(1, args.epochs + 1):
        order, loss = rng.permutation(len(x)), 0.0
        for start in range(0, len(x), args.batchsize):
            batch = order[start : start + args.batchsize]
            loss += network.loss_and_gradients(x[batch], labels[batch]) * len(batch)
            optimizer.step(network.weights, network.gradients)
        accuracy = network.accuracy(*validation)
        if args.model and accuracy > best:
            save(args.model, network, args, accuracy)
        best = max(best, accuracy)
        print(f"epoch {epoch} loss={loss / len(x):.4f} val_accuracy={accuracy:.4f}", flush=True)


if __name__ == "__main__":
    main()
