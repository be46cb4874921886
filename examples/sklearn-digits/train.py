"""A scikit-learn classifier tracked with the MLflow client, as one writes it for MLflow's own server. Nothing here knows of Winnow.

Alone it needs MLFLOW_TRACKING_URI; as a trial of a sweep it finds server, experiment, run and token in its environment.
"""
import argparse
import os
import tempfile

import joblib
import mlflow
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--hidden", type=int, default=32)
    parser.add_argument("--alpha", type=float, default=1e-4)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--batchsize", type=int, default=32)
    args = parser.parse_args()

    x, y = load_digits(return_X_y=True)
    x_train, x_val, y_train, y_val = train_test_split(x / 16, y, test_size=0.2, random_state=0)
    model = MLPClassifier((args.hidden,), alpha=args.alpha, learning_rate_init=args.lr, batch_size=args.batchsize, random_state=0)
    with mlflow.start_run():
        mlflow.log_params(vars(args))
        mlflow.set_tag("classifier", type(model).__name__)
        for epoch in range(1, args.epochs + 1):
            model.partial_fit(x_train, y_train, classes=np.arange(10))
            mlflow.log_metrics({"loss": model.loss_, "val_accuracy": model.score(x_val, y_val)}, step=epoch)
        with tempfile.TemporaryDirectory() as directory:
            path = os.path.join(directory, "classifier.joblib")
            joblib.dump(model, path)
            mlflow.log_artifact(path, "model")


if __name__ == "__main__":
    main()
