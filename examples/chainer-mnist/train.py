"""Chainer's MNIST example: a perceptron under Chainer's Trainer, whose reports Winnow reads as they are.

    .venv/bin/python train.py --unit 100 --epoch 5
"""
import argparse
import random

import chainer
import chainer.functions as F
import chainer.links as L
import numpy as np
from chainer import training
from chainer.training import extensions, triggers

OPTIMIZERS = {
    "sgd": lambda lr: chainer.optimizers.SGD(lr),
    "momentum": lambda lr: chainer.optimizers.MomentumSGD(lr),
    "adam": lambda lr: chainer.optimizers.Adam(lr),
}


class Perceptron(chainer.Chain):
    def __init__(self, units):
        super().__init__()
        with self.init_scope():
            self.l1 = L.Linear(None, units)
            self.l2 = L.Linear(None, units)
            self.l3 = L.Linear(None, 10)

    def forward(self, x):
        return self.l3(F.relu(self.l2(F.relu(self.l1(x)))))


def datasets():
    with np.load("data/mnist.npz") as file:
        images, labels = file["images"].astype(np.float32) / 255, file["labels"].astype(np.int32)
    return chainer.datasets.TupleDataset(images[:4000], labels[:4000]), chainer.datasets.TupleDataset(images[4000:], labels[4000:])


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--batchsize", "-b", type=int, default=100)
    parser.add_argument("--epoch", "-e", type=int, default=10)
    parser.add_argument("--unit", "-u", type=int, default=100)
    parser.add_argument("--optimizer", choices=sorted(OPTIMIZERS), default="adam")
    parser.add_argument("--lr", type=float, default=0.001)
    parser.add_argument("--out", "-o", default="result")
    args = parser.parse_args()

    random.seed(1)
    np.random.seed(1)
    model = L.Classifier(Perceptron(args.unit))
    optimizer = OPTIMIZERS[args.optimizer](args.lr)
    optimizer.setup(model)
    train, validate = datasets()
    updater = training.updaters.StandardUpdater(chainer.iterators.SerialIterator(train, args.batchsize), optimizer)
    trainer = training.Trainer(updater, (args.epoch, "epoch"), out=args.out)
    trainer.extend(extensions.Evaluator(chainer.iterators.SerialIterator(validate, args.batchsize, repeat=False, shuffle=False), model))
    trainer.extend(extensions.LogReport())
    trainer.extend(extensions.snapshot_object(model, "model.npz"),
                   trigger=triggers.MaxValueTrigger("validation/main/accuracy", trigger=(1, "epoch")))
    trainer.extend(extensions.PrintReport(
        ["epoch", "main/loss", "validation/main/loss", "main/accuracy", "validation/main/accuracy", "elapsed_time"]))
    trainer.run()


if __name__ == "__main__":
    main()
