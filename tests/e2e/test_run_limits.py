#!/usr/bin/env python3
"""How many metrics, params and tags one run may have, by every way there is to bring them, and what is said where there are more."""
import json, pathlib, sys, textwrap, unittest

WINNOW = pathlib.Path(sys.argv[1]).resolve()
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from service import Service, wait  # noqa: E402

METRICS, WORDS = 50000, 20000
NO_MORE = f"a run may have at most {METRICS} metrics, and with these "


class RunLimits(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.s = Service(WINNOW, arguments=["--slots", "1"])
        cls.full = cls.run_with_metrics(METRICS)

    @classmethod
    def tearDownClass(cls):
        cls.s.close()

    @classmethod
    def new_run(cls, **body):
        return cls.s.post("/api/v1/runs", body).json["id"]

    @classmethod
    def run_with_metrics(cls, count):
        run = cls.new_run()
        for start in range(0, count, 10000):
            points = [{"key": f"m{n:05}", "value": n, "step": 1} for n in range(start, min(start + 10000, count))]
            answer = cls.s.post(f"/api/v1/runs/{run}/metrics", {"points": points})
            assert answer.status == 200, answer
        cls.read(run)
        return run

    @classmethod
    def read(cls, run):
        """Not held against its shape, which takes a while for so many."""
        return cls.s.exchange("GET", f"/api/v1/runs/{run}").json

    def mlflow(self, path, body):
        return self.s.post("/api/2.0/mlflow/runs/" + path, body)

    def count(self, run, what):
        return int(self.s.sql(f"select count(*) from winnow.run, jsonb_object_keys({what}) where id = '{run}'"))

    def ways(self, run, key, step):
        """Each with the status and the text of its refusal."""
        point = {"key": key, "value": 1, "timestamp": 1, "step": step}
        return [(self.s.post(f"/api/v1/runs/{run}/metrics", {"points": [{"key": key, "value": 1, "step": step}]}), 413, "detail"),
                (self.s.post(f"/api/v1/runs/{run}/report", {"step": step, "metrics": {key: 1}}), 413, "detail"),
                (self.mlflow("log-metric", {"run_id": run, **point}), 400, "message"),
                (self.mlflow("log-batch", {"run_id": run, "metrics": [point]}), 400, "message"),
                (self.mlflow("log-batch", {"run_id": run, "metrics": [point], "params": [{"key": f"p{key}", "value": "1"}]}), 400, "message")]

    def refused(self, run):
        for answer, status, text in self.ways(run, "one-more", 2):
            self.assertEqual(answer.status, status, answer)
            self.assertIn(NO_MORE, answer.json[text])
        self.assertEqual((self.count(run, "metrics"), self.count(run, "params")), (METRICS, 0))

    def test_metrics(self):
        self.refused(self.full)
        for answer, _, _ in self.ways(self.full, "m00007", 3):
            self.assertEqual(answer.status, 200, answer)
        self.assertEqual(self.read(self.full)["metrics"]["m00007"]["step"], 3)
        self.s.sql(f"update winnow.run set params = '{{}}' where id = '{self.full}'")

    def test_metrics_after_a_start(self):
        """Then the service knows nothing of the run, and asks the database."""
        run = self.run_with_metrics(METRICS)
        self.s.stop()
        self.s.start()
        self.refused(run)

    def test_too_many_at_once(self):
        run = self.new_run()
        answer = self.s.post("/api/v1/runs", {"params": {f"p{n}": 1 for n in range(WORDS + 1)}})
        self.assertEqual((answer.status, answer.json["detail"]), (413, f"a run may have at most {WORDS} params, and of those 32 MiB"))
        for answer in (self.s.post("/api/v1/runs", {"tags": {f"t{n}": "1" for n in range(WORDS + 1)}}),
                       self.s.request("PATCH", f"/api/v1/runs/{run}", {"tags": {f"t{n}": "1" for n in range(WORDS + 1)}})):
            self.assertEqual((answer.status, answer.json["detail"]), (413, f"a run may have at most {WORDS} tags, and of those 32 MiB"))

    def test_params(self):
        run = self.new_run(params={f"p{n:05}": "1" for n in range(WORDS - 1)})
        batch = [{"key": "a", "value": "1"}, {"key": "b", "value": "1"}]
        point = {"key": "loss", "value": 1, "timestamp": 1}
        for body in ({"params": batch}, {"params": batch, "metrics": [point]}):
            answer = self.mlflow("log-batch", {"run_id": run, **body})
            self.assertEqual((answer.status, answer.json["message"]), (400, f"a run may have at most {WORDS} params, and of those 32 MiB"))
        self.assertEqual((self.count(run, "params"), self.count(run, "metrics")), (WORDS - 1, 0))
        self.assertEqual(self.mlflow("log-batch", {"run_id": run, "params": batch[:1], "metrics": [point]}).status, 200)
        self.assertEqual(self.mlflow("log-parameter", {"run_id": run, **batch[0]}).status, 200)
        self.assertEqual(self.mlflow("log-parameter", {"run_id": run, **batch[1]}).status, 400)
        self.assertEqual(self.count(run, "params"), WORDS)

    def test_tags(self):
        run = self.new_run(tags={f"t{n:05}": "1" for n in range(WORDS)})
        body = {"run_id": run, "key": "a", "value": "1"}
        self.assertEqual(self.mlflow("set-tag", {**body, "key": "t00001", "value": "2"}).status, 200)
        for answer in (self.mlflow("set-tag", body), self.mlflow("log-batch", {"run_id": run, "tags": [{"key": "a", "value": "1"}]}),
                       self.s.request("PATCH", f"/api/v1/runs/{run}", {"tags": {"a": "1"}})):
            self.assertIn(f"a run may have at most {WORDS} tags", answer.body.decode())
        self.assertEqual(self.s.request("PATCH", f"/api/v1/runs/{run}", {"tags": {"t00001": None, "t00002": None}}).status, 200)
        self.assertEqual(self.s.request("PATCH", f"/api/v1/runs/{run}", {"tags": {"t00003": None, "b": "1"}, "name": "named"}).status, 200)
        self.assertEqual(self.mlflow("set-tag", body).status, 200)
        self.assertEqual(self.count(run, "tags"), WORDS - 1)

    def fill(self, run, column, key, count):
        """As an earlier version would have let it."""
        self.s.sql(f"update winnow.run set {column} = (select jsonb_object_agg('{key}' || n, '1 1 1'::text) from generate_series(1, {count}) n) "
                   f"where id = '{run}'")

    def test_a_run_that_has_more_already(self):
        """What it has is taken as before; what would be one more is not."""
        run = self.new_run()
        for column, key, count in (("params", "p", WORDS + 5), ("tags", "t", WORDS + 5), ("metrics", "m", METRICS + 5)):
            self.fill(run, column, key, count)
        one = {"run_id": run, "key": "p1", "value": "1 1 1"}
        point = {"key": "m1", "value": 1, "timestamp": 1}
        tag = {"key": "t1", "value": "2"}
        for path, body in (("log-parameter", one), ("set-tag", {"run_id": run, **tag}), ("log-batch", {"run_id": run, "tags": [tag]}),
                           ("log-batch", {"run_id": run, "params": [{"key": "p2", "value": "1 1 1"}], "tags": [tag], "metrics": [point]}),
                           ("delete-tag", {"run_id": run, "key": "t2"})):
            answer = self.mlflow(path, body)
            self.assertEqual(answer.status, 200, (path, answer))
        for path, body in (("log-parameter", {**one, "key": "new"}), ("set-tag", {"run_id": run, "key": "new", "value": "1"}),
                           ("set-tag", {"run_id": run, "key": "new2", "value": "1"}),
                           ("log-batch", {"run_id": run, "params": [{"key": "new", "value": "1"}], "metrics": [point]}),
                           ("log-batch", {"run_id": run, "tags": [{"key": "new", "value": "1"}]})):
            answer = self.mlflow(path, body)
            self.assertEqual(answer.status, 400, (path, answer))
            self.assertIn("a run may have at most ", answer.json["message"])
        self.assertEqual((self.count(run, "params"), self.count(run, "tags")), (WORDS + 5, WORDS + 4))
        for key, status in (("m1", 200), ("new", 400)):
            run = self.new_run()  # of which the service knows nothing
            self.fill(run, "metrics", "m", METRICS + 5)
            self.assertEqual(self.mlflow("log-metric", {"run_id": run, **point, "key": key}).status, status, key)

    def test_only_runs_have_this_limit(self):
        tags = {f"t{n}": "1" for n in range(WORDS + 1)}
        for path in ("experiments", "models"):
            answer = self.s.exchange("POST", f"/api/v1/{path}", json.dumps({"name": "many tags", "tags": tags}).encode())
            self.assertEqual((answer.status, len(answer.json["tags"])), (201, WORDS + 1))

    def test_params_of_many_bytes(self):
        run = self.new_run()
        value = "x" * 6000
        for start in range(0, 5500, 100):
            params = [{"key": f"p{start + n}", "value": value} for n in range(100)]
            self.assertEqual(self.mlflow("log-batch", {"run_id": run, "params": params}).status, 200)
        answers = [self.mlflow("log-batch", {"run_id": run, "params": [{"key": f"q{n}-{m}", "value": value} for m in range(100)]}) for n in range(2)]
        self.assertEqual(answers[1].status, 400, answers)
        self.assertIn("and of those 32 MiB", answers[1].json["message"])

    def fill_by_job(self, goal):
        """The trial of a job that prints and writes more metrics than a run may have."""
        work = self.s.home / goal
        work.mkdir()
        (work / "job.py").write_text(textwrap.dedent("""
            import json, os, time, urllib.error, urllib.request
            at = os.environ["WINNOW_URL"] + "/api/v1/runs/" + os.environ["WINNOW_RUN_ID"]
            def call(below, body=None):
                headers = {"Authorization": "Bearer " + os.environ["WINNOW_TOKEN"], "Content-Type": "application/json"}
                return json.load(urllib.request.urlopen(urllib.request.Request(at + below, body and json.dumps(body).encode(), headers)))
            print("epoch 1 loss=0.5", flush=True)
            while "loss" not in call("")["metrics"]:
                time.sleep(0.1)
            sent = 0
            while room := 50000 - len(call("")["metrics"]):
                some = min(room, 10000)
                try:
                    call("/metrics", {"points": [{"key": f"m{n:05}", "value": n, "step": 1} for n in range(sent, sent + some)]})
                    sent += some
                except urllib.error.HTTPError as error:
                    assert error.code == 413, error  # what the job uses of its machine are metrics too, which come every few seconds
            print("epoch 2 loss=0.25 accuracy=0.5", flush=True)
            for epoch in range(3):
                with open("log.json", "a") as file:
                    file.write(json.dumps({"epoch": epoch, "recall": 0.5, "loss_of_file": 1}) + "\\n")
                time.sleep(1)
            print("epoch 3 loss=0.125 accuracy=0.75", flush=True)
            """))
        spec = {"name": f"full of {goal}", "metric": {"name": goal, "goal": "minimize"}, "method": "grid", "parameters": {"a": {"values": [1]}},
                "command": ["python3", "job.py"], "workdir": str(work), "workdir_mode": "inplace",
                "metrics_from": [{"file": "log.json"}]}
        sweep = self.s.post("/api/v1/sweeps", spec).json["id"]
        wait(lambda: self.s.get(f"/api/v1/sweeps/{sweep}").json["state"] in ("FINISHED", "FAILED"), "its end", 120)
        (trial,) = self.s.get(f"/api/v1/sweeps/{sweep}/trials").json["items"]
        return trial

    def test_what_a_job_prints_and_writes(self):
        """What it may not have is left out, and told once; the job goes on, and so do its other metrics."""
        trial = self.fill_by_job("loss")
        self.assertEqual((trial["state"], trial["value"]), ("FINISHED", 0.125), trial)
        run = self.read(trial["run_id"])
        self.assertEqual(run["metrics"]["loss"]["count"], 3)
        self.assertEqual([key for key in ("accuracy", "recall", "loss_of_file") if key in run["metrics"]], [])
        events = [e for e in self.s.get(f"/api/v1/runs/{trial['run_id']}/events").json["items"] if e["kind"] == "run.full"]
        self.assertEqual(len(events), 1, events)
        self.assertEqual(events[0]["reason"], f"a run may have at most {METRICS} metrics: points of others, in output and metric files, are left out")
        self.assertIn("accuracy=0.75", self.s.get(f"/api/v1/runs/{trial['run_id']}/logs/stdout").body.decode())

    def test_a_goal_that_is_left_out(self):
        """What is not stored is not heard: else it were gone with the service."""
        trial = self.fill_by_job("accuracy")
        self.assertEqual((trial["state"], trial["value"]), ("FAILED", None), trial)


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0]] + sys.argv[2:], verbosity=2)
