#!/usr/bin/env python3
"""The examples with frameworks: their setup, then their sweep made short: one point that is good, one that would take very long if nobody
stopped it. `python3 test_pypi.py WINNOW`"""
import hashlib, os, pathlib, re, shutil, subprocess, sys, unittest

WINNOW = pathlib.Path(sys.argv.pop(1)).resolve()
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from examples import EXAMPLES, Example  # noqa: E402
from service import Service  # noqa: E402

CACHE = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache") / "winnow/examples"


def environment(example):
    """Runs its setup, with the virtual environment kept for as long as what it is made from stays the same."""
    name = example.directory.name
    made_from = hashlib.sha256((EXAMPLES / "setup.sh").read_bytes() + (EXAMPLES / name / "setup").read_bytes()).hexdigest()
    directory = CACHE / name
    note = CACHE / f"{name}.made-from"
    if not note.exists() or note.read_text() != made_from:
        shutil.rmtree(directory, ignore_errors=True)
    CACHE.mkdir(parents=True, exist_ok=True)
    subprocess.run(["./setup"], cwd=example.directory, env={**os.environ, "VENV": str(directory)}, check=True, timeout=600)
    note.write_text(made_from)


class Pypi(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.s = Service(WINNOW, arguments=["--slots", "2"])

    @classmethod
    def tearDownClass(cls):
        cls.s.close()

    def short(self, name, epochs, run_cap, good, bad):
        """`epochs`, `run_cap`: the lines of the sweep file that are replaced."""
        key = epochs.split(":")[0]
        return Example(WINNOW, self.s, name, {
            epochs: f"{key}: {{values: [{good[key]}, {bad[key]}]}}",
            run_cap: f"fixed_first: [{yaml(good)}, {yaml(bad)}]\nmax_parallel: 1\nrun_cap: 2"})

    def run_short(self, example, rule):
        environment(example)
        example.up()
        self.assertEqual((example.sweep["state"], [t["state"] for t in example.trials]), ("FINISHED", ["FINISHED", "STOPPED"]), example.trials)
        good, bad = example.trials
        self.assertEqual((bad["stop"]["rule"], example.sweep["best"]["number"]), (rule, 0))
        self.assertGreater(good["value"], bad["value"])
        version = example.version(example.directory.name)
        self.assertEqual((version["run_id"], version["metrics"][example.sweep["metric"]["name"]]), (good["run_id"], good["value"]))
        return good

    def steps(self, example, trial, key):
        points = example.points(trial, key)
        self.assertEqual([at for at, _ in points], list(range(1, len(points) + 1)), points)
        return [value for _, value in points]

    def test_chainer_mnist(self):
        with self.short("chainer-mnist", "epoch: {value: 12}", "run_cap: 16",
                        {"epoch": 3, "lr": 0.003, "optimizer": "adam", "batchsize": 100, "unit": 50},
                        {"epoch": 500, "lr": 0.0001, "optimizer": "sgd", "batchsize": 200, "unit": 25}) as e:
            good = self.run_short(e, "threshold")
            self.assertEqual(e.keys(good), {"main/loss", "validation/main/loss", "main/accuracy", "validation/main/accuracy"})
            accuracy = self.steps(e, good, "validation/main/accuracy")
            self.assertEqual((len(accuracy), max(accuracy)), (3, good["value"]))
            self.assertGreater(good["value"], 0.8)
        # The same from LogReport's file, which has more digits, and more than the table shows.
        with Example(WINNOW, self.s, "chainer-mnist", {"# metrics_from": "metrics_from", "epoch: {value: 12}": "epoch: {value: 2}", "run_cap: 16": "run_cap: 1",
                                                       "unit: {values: [25, 50, 100, 200, 400]}": "unit: {value: 50}",
                                                       "batchsize: {values: [20, 50, 100, 200]}": "batchsize: {value: 100}"}) as e:
            environment(e)
            e.up()
            self.assertEqual(e.trials[0]["state"], "FINISHED")
            self.assertLessEqual({"main/loss", "validation/main/loss", "main/accuracy", "validation/main/accuracy"}, e.keys(e.trials[0]))
            points = e.points(e.trials[0], "validation/main/accuracy")
            self.assertEqual([step for step, _ in points], [40, 80])  # its iterations, of which the table says nothing

    def test_sklearn_digits(self):
        with self.short("sklearn-digits", "epochs: {value: 40}", "run_cap: 12",
                        {"epochs": 5, "hidden": 64, "alpha": 0.0001, "lr": 0.01, "batchsize": 32},
                        {"epochs": 5000, "hidden": 8, "alpha": 0.0001, "lr": 0.0001, "batchsize": 128}) as e:
            good = self.run_short(e, "asha")
            self.assertEqual(e.keys(good), {"loss", "val_accuracy"})
            self.assertEqual(len(self.steps(e, good, "val_accuracy")), 5)
            self.assertEqual(self.s.get(f"/api/v1/runs/{good['run_id']}").json["tags"]["classifier"], "MLPClassifier")
            files = self.s.get(f"/api/v1/runs/{good['run_id']}/artifacts?path=model").json["items"]
            self.assertEqual([f["path"] for f in files], ["model/classifier.joblib"])
            # The guide's own lines find the sweep, with the client as its users have it.
            guide = (EXAMPLES.parent / "docs/guide.md").read_text()
            script = next(block for block in re.findall(r"^```python\n(.*?)^```$", guide, re.S | re.M) if "import mlflow" in block)
            done = subprocess.run([CACHE / "sklearn-digits/bin/python", "-c", script.replace("http://127.0.0.1:7070", self.s.url)],
                                  capture_output=True, text=True, timeout=120)
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertIn(good["run_id"], done.stdout.splitlines()[0])

    def test_pytorch_mnist(self):
        if subprocess.run(["/usr/bin/python3", "-c", "import torch"], stderr=subprocess.DEVNULL).returncode and not os.environ.get("WINNOW_TEST_LONG"):
            self.skipTest("python3-torch is not installed, which ./check --all --long does")
        with self.short("pytorch-mnist", "epochs: {value: 8}", "run_cap: 12",
                        {"epochs": 2, "batch-size": 64, "channels": 8, "lr": 1.0, "gamma": 0.75, "dropout": 0.1},
                        {"epochs": 500, "batch-size": 128, "channels": 4, "lr": 0.01, "gamma": 1.0, "dropout": 0.5}) as e:
            good = self.run_short(e, "bandit")
            self.assertEqual(e.keys(good), {"Train Loss", "Test Average loss", "Test Accuracy", "Test Accuracy %"})
            self.assertEqual(len(self.steps(e, good, "Test Accuracy")), 2)
            self.assertGreater(good["value"], 0.8)


def yaml(point):
    return "{" + ", ".join(f"{key}: {value}" for key, value in point.items()) + "}"


if __name__ == "__main__":
    unittest.main(verbosity=2)
