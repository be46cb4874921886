#!/usr/bin/env python3
"""What is seen of trials while they run, and what reaches them: verdicts, events, series of the system, terminals."""
import os, pathlib, sys, textwrap, unittest

WINNOW = pathlib.Path(sys.argv.pop(1)).resolve()
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from service import Service, wait  # noqa: E402

ONE = {"method": "random", "run_cap": 1, "parameters": {"x": {"min": 0.0, "max": 1.0}}}


class Base(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.s = Service(WINNOW, arguments=["--slots", "2"])

    @classmethod
    def tearDownClass(cls):
        if os.environ.get("WINNOW_TEST_LOG"):
            print(cls.s.log()[-6000:], flush=True)
        cls.s.close()

    def ok(self, answer, status=200):
        self.assertEqual(answer.status, status, answer)
        return answer.json

    def submit(self, spec):
        return self.ok(self.s.post("/api/v1/sweeps", {**ONE, **spec}), 201)["id"]

    def script(self, name, text):
        path = self.s.home / name
        path.write_text(textwrap.dedent(text))
        return str(path)

    def trials(self, sweep):
        return self.ok(self.s.get(f"/api/v1/sweeps/{sweep}/trials"))["items"]

    def ended(self, sweep, timeout=120):
        return wait(lambda: (s := self.ok(self.s.get(f"/api/v1/sweeps/{sweep}")))["state"] not in ("RUNNING", "DRAINING") and s, "the end", timeout)


class Verdicts(Base):
    def test_what_a_client_logs_is_judged(self):
        """Logged as MLflow's client does it, and over /api/v1: the rules hear it as if it had been printed."""
        job = self.script("log.py", """
            import json, os, sys, time, urllib.request
            def post(path, body):
                urllib.request.urlopen(urllib.request.Request(os.environ["WINNOW_URL"] + path, json.dumps(body).encode(),
                    {"Content-Type": "application/json", "Authorization": "Bearer " + os.environ["WINNOW_TOKEN"]})).read()
            run = os.environ["WINNOW_RUN_ID"]
            if sys.argv[1] == "metric":
                post("/api/2.0/mlflow/runs/log-metric", {"run_id": run, "key": "loss", "value": 50, "timestamp": 1, "step": 3})
            elif sys.argv[1] == "batch":
                post("/api/2.0/mlflow/runs/log-batch", {"run_id": run, "params": [{"key": "p", "value": "1"}],
                     "metrics": [{"key": "other", "value": 99, "timestamp": 1}, {"key": "loss", "value": 50, "timestamp": 1, "step": 3}]})
            else:
                post(f"/api/v1/runs/{run}/metrics", {"points": [{"key": "loss", "value": 50, "step": 3}]})
            time.sleep(600)
            """)
        for how in ("metric", "batch", "points"):
            with self.subTest(how):
                sweep = self.submit({"name": how, "command": ["python3", job, how], "metric": {"name": "loss"},
                                     "early_terminate": {"type": "threshold", "max": 10}})
                self.assertEqual(self.ended(sweep)["state"], "FINISHED")
                trial = self.trials(sweep)[0]
                self.assertEqual((trial["state"], trial["stop"]["rule"], trial["stop"]["step"], trial["value"]), ("STOPPED", "threshold", 3, 50.0))


if __name__ == "__main__":
    unittest.main()
