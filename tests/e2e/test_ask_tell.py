#!/usr/bin/env python3
"""Ask and tell as workers see it: what was asked is made again from what is recorded; leases; batches that happen or do not."""
import http.client, pathlib, random, sys, threading, time, unittest

WINNOW = pathlib.Path(sys.argv.pop(1)).resolve()
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from service import Service  # noqa: E402
from sweep_client import SPACE, Base, quadratic, wait  # noqa: E402

NUMBERS = {"x": {"min": -2.0, "max": 2.0}, "lr": {"min": 1e-5, "max": 1.0, "distribution": "log_uniform_values"}, "n": {"min": 1, "max": 64}}
GONE = (ConnectionError, http.client.HTTPException, OSError)


def bowl(params):
    return (params["x"] - 0.5) ** 2 + abs(params["lr"] - 0.01) + (params["n"] - 20) ** 2 / 1000


class Replay(Base):
    def spec(self, kind, **more):
        method = kind if kind in ("random", "grid") else "bayes"
        sampler = {"seed": 11, "type": kind, **more}
        return {"name": f"replay-{kind}", "method": method, "metric": {"name": "loss"}, "parameters": NUMBERS, "sampler": sampler}

    def work(self, sweep, until, seed, seconds):
        """A worker that goes on when the service is away."""
        rng = random.Random(seed)
        while not until():
            try:
                answer = self.s.post(f"/api/v1/sweeps/{sweep}/ask", {"lease": 1}, unix=False)
                if answer.status != 200:
                    time.sleep(0.05)
                    continue
                for trial in answer.json["trials"]:
                    time.sleep(rng.random() * seconds)
                    self.tell(sweep, {"run_id": trial["run_id"], "value": bowl(trial["params"])})
            except GONE:
                time.sleep(0.05)

    def finished(self, sweep):
        return sorted((t for t in self.trials(sweep) if t["state"] == "FINISHED"), key=lambda t: t["made"]["told_at"])

    def check_replay(self, sweep, kind):
        """The same sweep again: each trial is asked when as many results are in as it knew."""
        trials, told = self.trials(sweep), self.finished(sweep)
        self.assertEqual([t["number"] for t in trials], list(range(len(trials))))
        self.assertEqual([t["made"]["told_at"] for t in told], list(range(len(told))))
        again = self.submit(self.spec(kind, staleness=0))["id"]
        runs, results = {}, 0
        for trial in trials:
            for one in told[results:trial["made"]["results"]]:
                self.ok(self.tell(again, {"run_id": runs[one["number"]], "value": one["value"]}))
                results += 1
            got = self.ask(again)["trials"][0]
            runs[got["number"]] = got["run_id"]
            self.assertEqual((got["number"], got["params"], got["made"]["by"]), (trial["number"], trial["params"], trial["made"]["by"]),
                             f"{kind}: {trial['made']}, again {got['made']}")
            self.assertEqual((got["made"]["results"], got["made"]["pending"]), (trial["made"]["results"], trial["made"]["pending"]))
        for one in (self.sweep(sweep), self.sweep(again)):
            self.assertEqual(one["sampler"]["space_version"], self.sweep(sweep)["sampler"]["space_version"])
        return trials

    def test_one_worker_gets_the_same_from_the_same(self):
        with Service(WINNOW) as self.s:
            for kind in ("auto", "tpe", "cmaes", "random"):
                first, second = (self.submit(self.spec(kind))["id"] for _ in range(2))
                for step in range(44):
                    a, b = self.ask(first)["trials"][0], self.ask(second)["trials"][0]
                    self.assertEqual(a["params"], b["params"], (kind, step))
                    self.assertEqual((a["made"]["results"], a["made"]["pending"]), (step, 0))
                    for sweep, trial in ((first, a), (second, b)):
                        self.ok(self.tell(sweep, {"run_id": trial["run_id"], "value": bowl(trial["params"])}))
                    if step == 36:
                        self.s.kill()
                        self.s.start()

    def test_many_workers_replay(self):
        with Service(WINNOW) as self.s:
            for kind in ("auto", "gp", "tpe", "cmaes"):
                sweep, stop = self.submit(self.spec(kind))["id"], threading.Event()
                workers = [threading.Thread(target=self.work, args=(sweep, stop.is_set, n, 0.05)) for n in range(6)]
                [w.start() for w in workers]
                wait(lambda: self.sweep(sweep)["progress"]["finished"] >= 70, "seventy results")
                stop.set()
                [w.join() for w in workers]
                self.s.stop()  # what is thought ahead now ends cleanly; and one thread must give what two gave
                self.s.arguments = ["--threads", "1"] if kind == "gp" else []
                self.s.start()
                trials = self.check_replay(sweep, kind)
                if kind == "gp":
                    ahead = [t for t in trials if t["made"]["results"] < t["made"]["added_at"]]
                    self.assertTrue(ahead, "no point was thought of ahead")
                    self.assertLessEqual(max(t["made"]["added_at"] - t["made"]["results"] for t in trials), 6)

    def test_replay_after_kills(self):
        with Service(WINNOW) as self.s:
            sweep, stop, luck = self.submit(self.spec("gp"))["id"], threading.Event(), random.Random(5)
            workers = [threading.Thread(target=self.work, args=(sweep, stop.is_set, n, 0.1)) for n in range(5)]
            [w.start() for w in workers]
            for _ in range(5):
                time.sleep(0.3 + luck.random())
                self.s.kill()
                self.s.start()
            wait(lambda: self.sweep(sweep)["progress"]["finished"] >= 60, "sixty results")
            stop.set()
            [w.join() for w in workers]
            self.check_replay(sweep, "gp")

    def test_staleness_is_heeded(self):
        with Service(WINNOW) as self.s:
            sweep, stop = self.submit(self.spec("gp", staleness=0))["id"], threading.Event()
            workers = [threading.Thread(target=self.work, args=(sweep, stop.is_set, n, 0.05)) for n in range(4)]
            [w.start() for w in workers]
            wait(lambda: self.sweep(sweep)["progress"]["finished"] >= 50, "fifty results")
            stop.set()
            [w.join() for w in workers]
            self.assertEqual({t["made"]["added_at"] - t["made"]["results"] for t in self.trials(sweep)}, {0})


if __name__ == "__main__":
    unittest.main()
