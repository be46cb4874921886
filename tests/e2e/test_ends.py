#!/usr/bin/env python3
"""Who reads that a run is over reads every point that was acknowledged before: its row says both, or neither."""
import contextlib, json, pathlib, subprocess, sys, threading, time, unittest

WINNOW = pathlib.Path(sys.argv.pop(1)).resolve()
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from job_test import JobTest  # noqa: E402
from service import wait  # noqa: E402

LOOKS = 1  # seconds in which an end that waits for nothing has been stored many times; one that waits is not for any time


class Ends(JobTest):
    winnow = WINNOW

    @contextlib.contextmanager
    def last_values_wait(self):
        """Points are stored, and cannot be read back: so the last values of a run that is new stay behind."""
        lock = subprocess.Popen(self.s.psql(), env=self.s.psql_env(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        lock.stdin.write("begin; lock table metric_chunk in access exclusive mode;\n\\echo held\n")
        lock.stdin.flush()
        while lock.stdout.readline().strip() != "held":
            pass
        self.held, self.released = time.monotonic(), None
        try:
            yield
        finally:
            lock.communicate("commit;\n", timeout=60)
            self.released = time.monotonic()

    def is_late(self):
        """An end waits for ten seconds at most, which a slow machine may have let go by while its values were held."""
        return (self.released or time.monotonic()) - self.held >= 9

    def is_over(self, run):
        """As its row says, which then says its last value, too, unless it came after those seconds."""
        over, metrics = self.s.sql(f"select state >= 4, metrics from run where id = '{run}'").split("|")
        if over == "t" and not self.is_late():
            self.assertEqual(json.loads(metrics).get("loss", "none").split()[0], "7.0", "the run is over, and its last point is missing")
        return over == "t"

    def still_waits(self, run):
        self.assertFalse(self.is_over(run) and not self.is_late())

    def look(self, run):
        end = time.monotonic() + LOOKS
        while time.monotonic() < end and not self.is_over(run):
            time.sleep(0.02)

    def log_last(self, run):
        self.ok(self.s.post(f"/api/v1/runs/{run}/metrics", {"points": [{"key": "loss", "value": 7, "step": 1}]}))

    def check(self, run, end):
        """`end` ends it; its last point is acknowledged."""
        answers = []
        thread = threading.Thread(target=lambda: answers.append(end()))
        with self.last_values_wait():
            self.log_last(run)
            thread.start()
            thread.join(LOOKS)
            self.still_waits(run)
        thread.join(60)
        self.assertEqual([a.status for a in answers], [200], answers)
        self.assertTrue(self.is_over(run))
        self.assertEqual(self.ok(self.s.get(f"/api/v1/runs/{run}"))["metrics"]["loss"]["last"], 7)

    def test_a_client_ends_it(self):
        run = self.ok(self.s.post("/api/v1/runs", {}), 201)["id"]
        self.check(run, lambda: self.s.request("PATCH", f"/api/v1/runs/{run}", {"state": "FAILED"}))
        again = self.ok(self.s.post("/api/v1/runs", {}), 201)["id"]
        self.check(again, lambda: self.s.post("/api/2.0/mlflow/runs/update", {"run_id": again, "status": "FINISHED", "end_time": 5}))

    def test_a_worker_tells_it(self):
        sweep = self.ok(self.s.post("/api/v1/sweeps", {"name": "told", "method": "random", "metric": {"name": "loss"}, "parameters": {"x": {"min": 0.0, "max": 1.0}}}), 201)["id"]
        run = self.ok(self.s.post(f"/api/v1/sweeps/{sweep}/ask", {}))["trials"][0]["run_id"]
        self.check(run, lambda: self.s.post(f"/api/v1/sweeps/{sweep}/tell", {"trials": [{"run_id": run, "value": 7}]}))

    def test_its_job_ends(self):
        go = self.work / "go"
        run = self.ok(self.s.post("/api/v1/runs", {"command": ["sh", "-c", f"until [ -e {go} ]; do sleep 0.05; done; echo loss=7"]}), 201)["id"]
        wait(lambda: self.ok(self.s.get(f"/api/v1/runs/{run}"))["state"] == "RUNNING", "its start")
        with self.last_values_wait():
            go.touch()
            wait(lambda: self.s.sql(f"select 1 from metric_tail where run = '{run}'"), "its point")
            self.look(run)
            self.still_waits(run)
        wait(lambda: self.is_over(run), "its end")

    def test_who_waits_for_long_holds_nobody(self):
        """An end whose points cannot be read back is written all the same after some seconds; so neither it nor what others ask for waits for ever."""
        sweeps = [self.ok(self.s.post("/api/v1/sweeps", {"name": name, "method": "random", "metric": {"name": "loss"}, "parameters": {"x": {"min": 0.0, "max": 1.0}}}), 201)["id"]
                  for name in ("held", "other")]
        run = self.ok(self.s.post(f"/api/v1/sweeps/{sweeps[0]}/ask", {}))["trials"][0]["run_id"]
        plain = self.ok(self.s.post("/api/v1/runs", {}), 201)["id"]
        with self.last_values_wait():
            self.log_last(run)
            self.log_last(plain)
            self.ok(self.s.post(f"/api/v1/sweeps/{sweeps[0]}/tell", {"trials": [{"run_id": run, "value": 7}]}))
            self.ok(self.s.post(f"/api/v1/sweeps/{sweeps[1]}/ask", {}))
            self.assertEqual(self.ok(self.s.request("PATCH", f"/api/v1/runs/{plain}", {"state": "FINISHED"}))["state"], "FINISHED")
        for ended in (run, plain):
            self.assertEqual(self.ok(self.s.get(f"/api/v1/runs/{ended}"))["metrics"]["loss"]["last"], 7)

    def test_the_end_of_a_job_waits_alone(self):
        """What others ask for meanwhile is stored, though its points cannot be read back."""
        sweep = self.ok(self.s.post("/api/v1/sweeps", {"name": "other", "method": "random", "metric": {"name": "loss"}, "parameters": {"x": {"min": 0.0, "max": 1.0}}}), 201)["id"]
        for i in range(3):  # a slow machine may let its ten seconds go by
            go = self.work / f"go {i}"
            run = self.ok(self.s.post("/api/v1/runs", {"command": ["sh", "-c", f"until [ -e '{go}' ]; do sleep 0.05; done; echo loss=7"]}), 201)["id"]
            wait(lambda: self.ok(self.s.get(f"/api/v1/runs/{run}"))["state"] == "RUNNING", "its start")
            with self.last_values_wait():
                go.touch()
                wait(lambda: self.s.sql(f"select 1 from metric_tail where run = '{run}'"), "its point")
                self.look(run)
                for _ in range(3):
                    self.ok(self.s.post(f"/api/v1/sweeps/{sweep}/ask", {}))
                was_alone = not self.is_over(run)
            wait(lambda: self.is_over(run), "its end")
            if was_alone:
                return
        self.fail("what was asked for was stored with the end alone")

    def test_a_service_that_is_killed_meanwhile(self):
        """What ends wait for is lost with it; the next one brings the values up to date first, and then ends the run."""
        go = self.work / "go on"
        run = self.ok(self.s.post("/api/v1/runs", {"command": ["sh", "-c", f"until [ -e '{go}' ]; do sleep 0.05; done; echo loss=7"]}), 201)["id"]
        wait(lambda: self.ok(self.s.get(f"/api/v1/runs/{run}"))["state"] == "RUNNING", "its start")
        with self.last_values_wait():
            go.touch()
            wait(lambda: self.s.sql(f"select 1 from metric_tail where run = '{run}'"), "its point")
            self.still_waits(run)
            self.s.kill()
        self.s.start()
        wait(lambda: self.is_over(run), "its end")


if __name__ == "__main__":
    unittest.main()
