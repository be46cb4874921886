#!/usr/bin/env python3
"""The examples that need no network, from the sweep file to the best trial; and that every sweep file of examples/ is understood."""
import io, json, os, pathlib, re, shutil, subprocess, sys, unittest, zipfile

WINNOW = pathlib.Path(sys.argv.pop(1)).resolve()
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from examples import EXAMPLES, Example  # noqa: E402
from service import Service  # noqa: E402

DEBIAN_PYTHON = "/usr/bin/python3"  # the one that python3-numpy is for

GRADIENTS = """
import sys; sys.path.insert(0, sys.argv[1])
import numpy as np
from train import Network
rng = np.random.default_rng(4)
network = Network(rng, 3)
for layer in network.layers:
    layer.weights = [w + 0.1 * rng.standard_normal(w.shape) for w in layer.weights]
x, labels = rng.random((5, 8, 8, 1)), rng.integers(0, 10, 5)
x[:, :, 3:] = 0  # where all is the same, several are the largest of their cell
network.loss_and_gradients(x, labels)
told = [g.copy() for g in network.gradients]
for w, g in zip(network.weights, told):
    for i in rng.choice(w.size, min(w.size, 12), replace=False):
        at, d = np.unravel_index(i, w.shape), 1e-6
        before = w[at]
        w[at] = before + d; up = network.loss_and_gradients(x, labels)
        w[at] = before - d; down = network.loss_and_gradients(x, labels)
        w[at] = before
        assert abs((up - down) / (2 * d) - g[at]) < 1e-6, (w.shape, at, (up - down) / (2 * d), g[at])
print("agree", sum(g.size for g in told))
"""


class Examples(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.s = Service(WINNOW, arguments=["--slots", "2"])

    @classmethod
    def tearDownClass(cls):
        if os.environ.get("WINNOW_TEST_LOG"):
            print(cls.s.log()[-6000:], flush=True)
        cls.s.close()

    def test_every_sweep_file_is_understood(self):
        files = sorted(EXAMPLES.glob("*/sweep.yaml"))
        self.assertGreaterEqual(len(files), 2)
        env = {**os.environ, "WINNOW_URL": f"unix:{self.s.data}/winnow.sock"}
        for file in files:
            links = re.search(r"(?m)^links: \[(.*)\]", file.read_text())
            if links:  # what they lead to is made by who follows the README
                links = links[1].split(", ")
                copy = pathlib.Path(self.s.home) / file.parent.name
                shutil.copytree(file.parent, copy, ignore=shutil.ignore_patterns(*links))
                for link in links:
                    (copy / link).mkdir()
                file = copy / file.name
            done = subprocess.run([str(WINNOW), "sweep", "create", "--dry-run", "-o", "json", str(file)], env=env, capture_output=True, text=True)
            self.assertEqual(done.returncode, 0, (file, done.stderr))
            preview = json.loads(done.stdout)
            self.assertEqual((preview["warnings"], preview["spec"]["name"]), ([], file.parent.name))
            self.assertTrue(preview["command"], file)

    def test_the_gradients_of_the_convnet_are_those_of_its_loss(self):
        done = subprocess.run([DEBIAN_PYTHON, "-c", GRADIENTS, str(EXAMPLES / "digits-convnet")], capture_output=True, text=True,
                              env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"})
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("agree", done.stdout)

    def test_digits_convnet(self):
        # One good point, then two that would take minutes if nobody stopped them: one that does not learn, one that learns too fast.
        points = ("fixed_first: [{epochs: 4, lr: 0.01, optimizer: adam, batchsize: 32, channels: 8}, "
                  "{epochs: 5000, lr: 0.001, optimizer: sgd, momentum: 0.0, batchsize: 128, channels: 8}, "
                  "{epochs: 5000, lr: 1.0, optimizer: sgd, momentum: 0.99, batchsize: 8, channels: 8}]\nmax_parallel: 1\nrun_cap: 3")
        with Example(WINNOW, self.s, "digits-convnet", {"epochs: {value: 20}": "epochs: {values: [4, 5000]}", "run_cap: 16": points}) as e:
            e.up()
            self.assertEqual((e.sweep["state"], len(e.trials)), ("FINISHED", 3))
            good, slow, wild = e.trials
            self.assertEqual((good["state"], slow["state"], wild["state"]), ("FINISHED", "STOPPED", "STOPPED"))
            self.assertEqual((slow["stop"]["rule"], e.sweep["best"]["number"]), ("asha", 0))
            self.assertIn(wild["stop"]["rule"], ("asha", "threshold"))
            self.assertIn("epoch 2", slow["stop"]["reason"])
            self.assertEqual(e.keys(good), {"loss", "val_accuracy"})
            accuracy = e.points(good, "val_accuracy")
            self.assertEqual([step for step, _ in accuracy], [1, 2, 3, 4])
            self.assertEqual(e.sweep["best"]["value"], max(value for _, value in accuracy))
            self.assertGreater(e.sweep["best"]["value"], 0.9)  # it learns
            self.assertNotIn("momentum", good["params"])
            version = e.version("digits-convnet")
            self.assertEqual((version["version"], version["run_id"]), (1, good["run_id"]))
            self.assertEqual(version["metrics"]["val_accuracy"], e.sweep["best"]["value"])
            weights = self.s.get("/api/v1/models/digits-convnet/versions/1/files/weights.npz").body
            self.assertEqual(zipfile.ZipFile(io.BytesIO(weights)).testzip(), None)
            self.assertIn(f"epoch 4 loss={e.points(good, 'loss')[-1][1]:.4f}", e.cli("logs", "@best"))

    def test_any_language(self):
        with Example(WINNOW, self.s, "any-language", {"run_cap: 24": "run_cap: 4"}) as e:
            e.up()
            self.assertEqual((e.sweep["state"], len(e.trials)), ("FINISHED", 4))
            self.assertLessEqual({t["state"] for t in e.trials}, {"FINISHED", "STOPPED"})
            best = e.trials[e.sweep["best"]["number"]]
            self.assertEqual(e.keys(best), {"loss"})
            self.assertEqual([step for step, _ in e.points(best, "loss")], list(range(1, len(e.points(best, "loss")) + 1)))

    def test_tracked_by_hand(self):
        env = {**os.environ, "WINNOW_URL": f"unix:{self.s.data}/winnow.sock"}
        for _ in range(2):  # the second time the experiment is there
            done = subprocess.run([str(EXAMPLES / "tracked-by-hand/run"), str(WINNOW)], env=env, capture_output=True, text=True)
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertIn("20 points of loss, finished", done.stdout)


if __name__ == "__main__":
    unittest.main(verbosity=2)
