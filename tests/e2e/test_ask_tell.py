#!/usr/bin/env python3
"""Ask and tell as workers see it: what was asked is made again from what is recorded; leases; batches that happen or do not."""
import http.client, json, pathlib, random, re, subprocess, sys, threading, time, unittest

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
                             f"{kind}: {trial['made']}, again {got['made']}, of {json.dumps(trials)}")
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

    def train(self, sweep, trial, kill=False):
        """Nine epochs, or as many as the rule allows."""
        for epoch in range(1, 10):
            loss = bowl(trial["params"]) + 5 / epoch
            said = self.ok(self.s.post(f"/api/v1/runs/{trial['run_id']}/report", {"step": epoch, "epoch": epoch, "metrics": {"loss": loss}}, unix=False))
            if kill and epoch == 1:
                self.s.kill()
                self.s.start()
            if said["verdict"] != "continue":
                return self.ok(self.tell(sweep, {"run_id": trial["run_id"], "state": "STOPPED"}))
        return self.ok(self.tell(sweep, {"run_id": trial["run_id"], "value": loss}))

    def test_what_trials_reported_is_known_after_a_kill(self):
        with Service(WINNOW) as self.s:
            spec = {**self.spec("gp"), "early_terminate": {"type": "asha", "min_iter": 1, "eta": 3}}
            killed, whole = ([], [])
            for points, kills in ((killed, (25, 33)), (whole, ())):
                sweep = self.submit(spec)["id"]
                for step in range(45):
                    trial = self.ask(sweep)["trials"][0]
                    points.append(trial["params"])
                    self.train(sweep, trial, step in kills)
            states = [t["state"] for t in self.trials(sweep)]
            self.assertTrue(10 <= states.count("STOPPED") <= 40, states)
            self.assertEqual(killed, whole)

    def test_a_long_sweep_is_the_same_after_a_start(self):
        """More trials than are read in one piece."""
        luck, told = random.Random(3), []
        for _ in range(9000):
            params = {"x": luck.uniform(-2, 2), "lr": 10 ** luck.uniform(-5, 0), "n": luck.randint(1, 64)}
            told.append({"params": params, "value": bowl(params)})
        with Service(WINNOW) as self.s:
            before, after = (self.submit(self.spec("tpe"))["id"] for _ in range(2))
            for sweep in (before, after):
                for first in range(0, len(told), 1000):
                    self.ok(self.s.post(f"/api/v1/sweeps/{sweep}/tell", {"trials": told[first:first + 1000]}))
            wanted = self.ask(before)["trials"][0]
            self.s.kill()
            self.s.start()
            got = self.ask(after)["trials"][0]
            self.assertEqual((got["number"], got["made"]["by"]), (len(told), "tpe"))
            self.assertEqual(got["params"], wanted["params"])

    def test_leased_trials_are_taken_up_together(self):
        """Of those that reported nothing, which are many, nothing is read one by one after a start."""
        with Service(WINNOW) as self.s:
            sweep = self.submit(self.spec("random"))["id"]
            runs = [t["run_id"] for _ in range(5) for t in self.ask(sweep, 1000, lease=3600)["trials"]]
            for n in (0, 4096, 4999):
                self.report(runs[n], 1, n)
            self.s.sql("delete from report")  # stored, and not heard
            self.s.kill()
            self.s.start()
            done = re.search(r"^winnow_database_done_total (\d+)", self.s.get("/metrics").body.decode(), re.M)
            self.assertLess(int(done[1]), len(runs) // 2)
            self.assertEqual({t["number"]: t["last"]["value"] for t in self.trials(sweep) if t.get("last")}, {0: 0, 4096: 4096, 4999: 4999})
            self.assertEqual(self.ask(sweep)["trials"][0]["number"], len(runs))

    def latest(self, kind, **more):
        """TPE does so by itself where a rule may stop trials."""
        if kind == "tpe":
            return {**self.spec(kind, **more), "early_terminate": {"type": "asha", "min_iter": 100}}
        return {**self.spec(kind, **more), "metric": {"name": "loss", "impute_while_running": "latest"}}

    def report(self, run, step, value):
        self.ok(self.s.post(f"/api/v1/runs/{run}/report", {"step": step, "epoch": step, "metrics": {"loss": value}}, unix=False))

    def test_what_running_trials_reported_is_replayed(self):
        with Service(WINNOW) as self.s:
            for kind in ("gp", "tpe"):
                sweep, in_turn, reports = self.submit(self.latest(kind))["id"], threading.Lock(), []

                def work(seed):
                    luck = random.Random(seed)
                    while self.sweep(sweep)["progress"]["finished"] < 50:
                        trial = self.ask(sweep)["trials"][0]
                        for step in (1, 2):
                            time.sleep(luck.random() * 0.03)
                            with in_turn:
                                reports.append((trial["number"], step, bowl(trial["params"]) + 3 / step))
                                self.report(trial["run_id"], *reports[-1][1:])
                        self.ok(self.tell(sweep, {"run_id": trial["run_id"], "value": bowl(trial["params"])}))

                workers = [threading.Thread(target=work, args=(n,)) for n in range(5)]
                [w.start() for w in workers]
                [w.join() for w in workers]
                trials, told, runs, heard, results = self.trials(sweep), self.finished(sweep), {}, 0, 0
                again = self.submit(self.latest(kind, staleness=0))["id"]
                for trial in trials:
                    made = trial["made"]
                    while heard < made["reports"]:
                        number, *report = reports[heard]
                        self.report(runs[number], *report)
                        heard += 1
                    for one in told[results:made["results"]]:
                        self.ok(self.tell(again, {"run_id": runs[one["number"]], "value": one["value"]}))
                        results += 1
                    got = self.ask(again)["trials"][0]
                    runs[got["number"]] = got["run_id"]
                    self.assertEqual((got["params"], got["made"]["reports"], got["made"]["by"]), (trial["params"], made["reports"], made["by"]), (kind, made))
                self.assertGreater(len({t["made"]["reports"] for t in trials}), 20)

    def test_running_trials_count_as_the_file_says(self):
        """To TPE a trial that counts as a value is one that has it; after a start as before."""
        with Service(WINNOW) as self.s:
            values = [0.5 + step % 5 for step in range(12)]
            for how, value in (("worst", 4.5), ("best", 0.5), ("latest", 0.25)):
                sampler = {"seed": 4, "n_startup": 5}
                says = self.submit({**self.spec("tpe", **sampler), "run_cap": 100, "metric": {"name": "loss", "impute_while_running": how}})
                self.assertEqual(says["warnings"], [])
                says, plain = says["id"], self.submit(self.spec("tpe", **sampler))["id"]
                for step, told in enumerate(values):
                    for sweep in (says, plain):
                        self.ok(self.tell(sweep, {"run_id": self.ask(sweep)["trials"][0]["run_id"], "value": told}))
                for step in range(6):
                    a, b = self.ask(says)["trials"][0], self.ask(plain)["trials"][0]
                    self.assertEqual(a["params"], b["params"], (how, step))
                    self.assertEqual(a["made"]["reports"], 2 * step if how == "latest" else None)
                    for epoch in (1, 2):
                        self.report(a["run_id"], epoch, value + 2 - epoch)
                    self.ok(self.tell(plain, {"run_id": b["run_id"], "value": value}))
                    if step == 3:
                        self.s.kill()
                        self.s.start()

    def test_staleness_is_heeded(self):
        with Service(WINNOW) as self.s:
            sweep, stop = self.submit(self.spec("gp", staleness=0))["id"], threading.Event()
            workers = [threading.Thread(target=self.work, args=(sweep, stop.is_set, n, 0.05)) for n in range(4)]
            [w.start() for w in workers]
            wait(lambda: self.sweep(sweep)["progress"]["finished"] >= 50, "fifty results")
            stop.set()
            [w.join() for w in workers]
            self.assertEqual({t["made"]["added_at"] - t["made"]["results"] for t in self.trials(sweep)}, {0})


class Manners(Base):
    @classmethod
    def setUpClass(cls):
        cls.s = Service(WINNOW)

    @classmethod
    def tearDownClass(cls):
        cls.s.close()

    def spec(self, name, **more):
        return {"name": name, "method": "random", "metric": {"name": "loss"}, "parameters": SPACE, **more}

    def state(self, sweep, number):
        return self.trials(sweep)[number]["state"]

    def test_who_cannot_be_given_a_point_is_told(self):
        """Also where the thinking is done on a thread, which finds that there is nothing to find."""
        space = {name: {"min": 0.0, "max": 1.0} for name in ("x", "y")}
        sweep = self.submit({"name": "nowhere", "method": "bayes", "metric": {"name": "loss"}, "parameters": space,
                             "constraints": ["x + y >= 2"], "fixed_first": [{"x": 1.0, "y": 1.0}], "sampler": {"type": "gp", "seed": 1}})["id"]
        only, = self.ask(sweep)["trials"]
        self.ok(self.tell(sweep, {"run_id": only["run_id"], "value": 50}))
        self.assertEqual(self.ask(sweep)["trials"], [])
        told = [{"params": {"x": n / 40, "y": n * 7 % 40 / 40}, "value": n} for n in range(40)]  # by hand they may lie anywhere
        self.ok(self.tell(sweep, *told))
        answer = self.ask(sweep)
        self.assertEqual((answer["trials"], answer["finished"]), ([], False))

    def hold(self, run):
        """Nobody can write the run's row until what this returns is called."""
        query = f"begin; select from run where id = '{run}' for update; select pg_sleep(600)"
        holder = subprocess.Popen([*self.s.psql(), "-c", query], env=self.s.psql_env(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        mine = f"from pg_stat_activity where query like '%{run}%pg_sleep%' and pid <> pg_backend_pid()"
        wait(lambda: self.s.sql(f"select 1 {mine} and wait_event = 'PgSleep'"), "the lock")

        def release():
            self.s.sql(f"select pg_terminate_backend(pid) {mine}")
            holder.wait(60)
        return release

    def test_the_end_is_told_when_it_is_stored(self):
        """What a worker tells while a transaction is on its way is stored by the next one; until then nobody hears what follows from it."""
        first, last = self.submit(self.spec("first"))["id"], self.submit(self.spec("last", run_cap=1))["id"]
        run, last_run = (self.ask(sweep)["trials"][0]["run_id"] for sweep in (first, last))
        go_on, go_on_too = self.hold(run), self.hold(last_run)
        answers = {}
        calls = {
            "first": lambda: self.tell(first, {"run_id": run, "value": 1}),
            "last": lambda: self.tell(last, {"run_id": last_run, "value": 1}),
            "more": lambda: self.ask(last),
        }
        threads = {name: threading.Thread(target=lambda name=name, call=call: answers.update({name: call()})) for name, call in calls.items()}
        threads["first"].start()
        wait(lambda: self.s.sql("select 1 from pg_locks where not granted limit 1"), "a transaction that waits")
        taken = lambda: int(next(line.split()[1] for line in self.s.get("/metrics").body.decode().splitlines() if line.startswith("winnow_http_requests_in_flight")))
        for waiting, name in enumerate(("last", "more"), 3):  # with the first, and ours
            threads[name].start()
            wait(lambda: taken() == waiting, "its request")
        waits = lambda: self.s.sql("select xact_start from pg_stat_activity where wait_event_type = 'Lock' limit 1")
        held = waits()
        go_on()
        threads["first"].join()
        wait(lambda: waits() not in ("", held), "the next transaction")
        self.assertEqual(list(answers), ["first"])
        go_on_too()
        [t.join() for t in threads.values()]
        self.ok(answers["last"])
        self.assertEqual((answers["more"]["trials"], answers["more"]["finished"]), ([], True))

    def test_a_lease_ends(self):
        sweep = self.submit(self.spec("lease"))["id"]
        first = self.ask(sweep, lease=1, worker="one")["trials"][0]
        wait(lambda: self.state(sweep, 0) == "LOST", "the end of the lease")
        self.ok(self.tell(sweep, {"run_id": first["run_id"], "value": 1}))  # late, and nobody has asked since
        self.assertEqual(self.state(sweep, 0), "FINISHED")
        second = self.ask(sweep, lease=1)["trials"][0]
        wait(lambda: self.state(sweep, 1) == "LOST", "the end of the lease")
        again = self.ask(sweep, lease=60)["trials"][0]
        self.assertEqual((again["run_id"], again["number"], again["attempt"], again["params"]), (second["run_id"], 1, 2, second["params"]))
        late = self.tell(sweep, {"run_id": second["run_id"], "value": 5, "attempt": 1})
        self.assertEqual((late.status, late.json["code"]), (409, "fenced"))
        self.ok(self.tell(sweep, {"run_id": second["run_id"], "value": 6, "attempt": 2}))
        self.assertEqual(self.tell(sweep, {"run_id": second["run_id"], "value": 5, "attempt": 1}).status, 409)
        self.ok(self.tell(sweep, {"run_id": second["run_id"], "value": 6}))  # the same again

    def test_any_write_renews_the_lease(self):
        post = lambda path, body=None: self.s.post(path, body, unix=False)
        signs = {
            "report": lambda run: post(f"/api/v1/runs/{run}/report", {"step": 1, "metrics": {"other": 1}}),
            "heartbeat": lambda run: post(f"/api/v1/runs/{run}/heartbeat"),
            "points": lambda run: post(f"/api/v1/runs/{run}/metrics", {"points": [{"key": "k", "value": 1, "step": 1}]}),
            "mlflow": lambda run: post("/api/2.0/mlflow/runs/log-metric", {"run_id": run, "key": "m", "value": 1, "timestamp": 1}),
            "tag": lambda run: post("/api/2.0/mlflow/runs/set-tag", {"run_id": run, "key": "t", "value": "v"}),
        }
        for lease in (6, 30, 120):  # again where a slow machine has let one of them go by between two signs
            sweep = self.submit(self.spec(f"renewed-{lease}"))["id"]
            runs = dict(zip([*signs, "silent"], self.ask(sweep, len(signs) + 1, lease=lease)["trials"]))
            now = time.monotonic
            heard, longest, until = {name: now() for name in signs}, 0, now() + lease + 2  # from before one sign to after the next
            while now() < until or self.state(sweep, len(signs)) != "LOST":
                self.assertLess(now(), until + 120, "the silent one is not lost")
                for name, sign in signs.items():
                    before = now()
                    self.assertEqual(sign(runs[name]["run_id"]).status, 200, name)
                    longest, heard[name] = max(longest, now() - heard[name]), before
                time.sleep(0.2)
            states = {t["run_id"]: t["state"] for t in self.trials(sweep)}
            longest = max(longest, now() - min(heard.values()))
            if longest < lease:
                break
        self.assertEqual({name: states[t["run_id"]] for name, t in runs.items()}, {**{name: "RUNNING" for name in signs}, "silent": "LOST"}, longest)

    def test_a_stop_waits_for_no_dead_worker(self):
        sweep = self.submit(self.spec("deserted", stop_grace=0))["id"]
        runs = [trial["run_id"] for trial in self.ask(sweep, 3)["trials"]]
        self.ok(self.s.post(f"/api/v1/sweeps/{sweep}/stop"))
        wait(lambda: self.sweep(sweep)["state"] == "STOPPED", "the end")
        self.assertEqual({(t["state"], t["state_reason"]) for t in self.trials(sweep)}, {("KILLED", "ended with its sweep")})
        late = self.tell(sweep, {"run_id": runs[0], "value": 1})
        self.assertEqual((late.status, late.json["code"]), (409, "conflict"))
        self.assertIn("trial 0 takes no result any more: ended with its sweep", late.json["detail"])
        self.assertEqual(self.s.post(f"/api/v1/runs/{runs[0]}/report", {"step": 1, "metrics": {"loss": 1}}, unix=False).status, 409)
        alone = self.submit(self.spec("one", stop_grace=0))["id"]
        run = self.ask(alone)["trials"][0]["run_id"]
        self.ok(self.s.post(f"/api/v1/runs/{run}/stop"))
        wait(lambda: self.state(alone, 0) == "KILLED", "the end")
        self.assertIn("killed by a person", self.tell(alone, {"run_id": run, "value": 1}).json["detail"])

    def test_who_lives_has_the_grace_to_tell(self):
        sweep = self.submit(self.spec("stopped", stop_grace="1d"))["id"]
        a, b = (trial["run_id"] for trial in self.ask(sweep, 2)["trials"])
        verdict = lambda run: self.ok(self.s.post(f"/api/v1/runs/{run}/report", {"step": 1, "metrics": {"loss": 1}}, unix=False))
        self.assertEqual(verdict(a)["verdict"], "continue")
        self.ok(self.s.post(f"/api/v1/sweeps/{sweep}/stop"))
        said = wait(lambda: (v := verdict(a))["verdict"] == "stop" and v, "the verdict")
        self.assertEqual(said["reason"], "ended with its sweep")
        for _ in range(2):
            self.ok(self.tell(sweep, {"run_id": a, "value": 3}))
        self.s.kill()
        self.s.start()
        self.assertEqual((self.sweep(sweep)["state"], self.state(sweep, 0), self.state(sweep, 1)), ("DRAINING", "KILLED", "STOPPING"))
        self.assertEqual(verdict(b)["verdict"], "stop")
        self.ok(self.tell(sweep, {"run_id": b, "state": "STOPPED"}))
        wait(lambda: self.sweep(sweep)["state"] == "STOPPED", "the end")
        self.assertEqual([t["value"] for t in self.trials(sweep)], [3, 1])

    def test_a_version_names_the_sweep_of_its_run(self):
        sweep = self.submit(self.spec("registered"))["id"]
        trial = self.ask(sweep)["trials"][0]["run_id"]
        alone = self.ok(self.s.post("/api/v1/runs", {}), 201)["id"]
        self.ok(self.s.post("/api/v1/models", {"name": "of-sweeps"}), 201)
        for run in (trial, alone):
            self.ok(self.s.post("/api/v1/models/of-sweeps/versions", {"run_id": run, "source": "s3://b/x"}), 201)
        versions = "/api/v1/models/of-sweeps/versions"
        one = [self.ok(self.s.get(f"{versions}/{number}")) for number in (2, 1)]
        self.assertEqual([version["sweep_id"] for version in one], [None, sweep])
        for limit in (10, 5000):  # whole, and as it comes
            self.assertEqual(self.ok(self.s.get(f"{versions}?limit={limit}"))["items"], one)

    def test_a_batch_is_told_or_not(self):
        sweep = self.submit(self.spec("batch"))["id"]
        a, b, c = self.ask(sweep, 3)["trials"]
        good = {"run_id": a["run_id"], "value": 1}
        for bad, status, word in (({"run_id": "0" * 32, "value": 1}, 404, "no such trial"), ({"run_id": "zz" * 16, "value": 1}, 400, "hex"),
                                  ({"run_id": b["run_id"], "value": "high"}, 400, "value"), ({"run_id": b["run_id"], "state": "GONE"}, 400, "state"),
                                  ({"value": 1}, 400, "needs either"), ({"params": {"x": 9.0, "kind": "a"}, "value": 1}, 400, "x"),
                                  ({"params": {"x": 1.0}, "value": 1}, 400, "kind"), ({"params": {"x": 1.0, "kind": "a"}}, 400, "value"),
                                  ({"run_id": a["run_id"], "value": 2}, 400, "twice"), ({"run_id": b["run_id"], "value": 1, "attempt": 7}, 409, "attempt")):
            answer = self.tell(sweep, good, bad, {"params": {"x": 0.0, "kind": "b"}, "value": 3})
            self.assertEqual(answer.status, status, (bad, answer))
            self.assertEqual([e["path"] for e in answer.json["errors"]], ["trials[1]"])
            self.assertIn(word, answer.json["errors"][0]["message"])
            self.assertIn("trials[1]", answer.json["detail"])
            self.assertIn("nothing was changed", answer.json["hint"])
        several = self.tell(sweep, {"run_id": "0" * 32, "value": 1}, good, {"value": 1}).json
        self.assertEqual([e["path"] for e in several["errors"]], ["trials[0]", "trials[2]"])
        self.assertEqual({t["state"] for t in self.trials(sweep)}, {"RUNNING"})
        self.assertEqual(len(self.trials(sweep)), 3)
        done = self.ok(self.tell(sweep, good, {"run_id": b["run_id"], "state": "STOPPED", "value": 4}, {"run_id": c["run_id"], "state": "FAILED"},
                                 {"params": {"x": 0.0, "kind": "b"}, "value": 3}, {"params": {"x": 0.1, "kind": "b"}, "state": "FAILED"}))["trials"]
        self.assertEqual([(t["number"], t["state"], t["value"]) for t in done],
                         [(0, "FINISHED", 1), (1, "STOPPED", 4), (2, "FAILED", None), (3, "FINISHED", 3), (4, "FAILED", None)])
        self.assertEqual([(t["state"], t["value"]) for t in self.trials(sweep)], [(t["state"], t["value"]) for t in done])

    def test_a_body_of_very_many_values_is_refused(self):
        """Its tree would hold everybody else for a second."""
        sweep = self.submit(self.spec("values"))["id"]
        run = self.ask(sweep)["trials"][0]["run_id"]
        one = {"run_id": run, "value": 1, "many": [0] * 40000}
        for answer in (self.tell(sweep, one), self.s.post(f"/api/v1/runs/{run}/report", {"step": 1, "metrics": one}, unix=False)):
            self.assertEqual(answer.status, 413, answer)
            self.assertIn("more than 32768 values", answer.json["detail"])
        report = {"step": 1, "metrics": {"é" * 245 + f"{k:05}": k for k in range(1000)}}  # the largest there is
        self.ok(self.s.post(f"/api/v1/runs/{run}/report", report, unix=False))
        answer = self.s.post(f"/api/v1/runs/{run}/report", {**report, "epoch": "x" * (3 << 20)}, unix=False)
        self.assertEqual(answer.status, 413, answer)

    def test_fewer_than_asked(self):
        sweep = self.submit(self.spec("cap", run_cap=5))["id"]
        got = self.ask(sweep, 3)
        self.assertEqual((len(got["trials"]), got["finished"]), (3, False))
        rest = self.ask(sweep, 10)
        self.assertEqual((len(rest["trials"]), rest["finished"]), (2, False))  # one of the five may yet be lost
        self.ok(self.tell(sweep, *({"run_id": t["run_id"], "value": 1} for t in got["trials"] + rest["trials"])))
        self.assertEqual(self.ask(sweep, 1), {"trials": [], "finished": True})
        wide = self.submit(self.spec("parallel", max_parallel=2))["id"]
        self.assertEqual(len(self.ask(wide, 5)["trials"]), 2)
        self.assertEqual(self.ask(wide, 5), {"trials": [], "finished": False})

    def test_fixed_points_come_first_whatever_else_is_made(self):
        """A result told before, a picked point in between, a trial stopped by hand and a start take the turn of none."""
        spec = self.spec("fixed", parameters={"x": {"min": 0.0, "max": 1.0}}, fixed_first=[{"x": n / 10} for n in range(1, 5)])
        for method, sampler in (("random", "random"), ("bayes", "gp")):
            sweep = self.submit({**spec, "method": method, "sampler": {"type": sampler, "seed": 2}})["id"]
            x = lambda: [t["params"]["x"] for t in self.ask(sweep)["trials"]]
            self.ok(self.tell(sweep, {"params": {"x": 0.95}, "value": 1.0}))
            self.assertEqual(x(), [0.1])
            self.ok(self.s.post(f"/api/v1/sweeps/{sweep}/trials", {"params": {"x": 0.85}}), 201)
            self.assertEqual(x() + x(), [0.85, 0.2])
            self.ok(self.s.post(f"/api/v1/runs/{self.trials(sweep)[-1]['run_id']}/stop"))
            self.s.stop()
            self.s.start()
            self.assertEqual(x() + x(), [0.3, 0.4])
            self.assertNotIn(x()[0], (0.1, 0.2, 0.3, 0.4))

    def test_no_point_twice_on_a_finite_space(self):
        points = {"a": {"values": list(range(8))}, "b": {"values": list("xyz")}, "c": {"min": 1, "max": 4}}
        for method, sampler in (("random", None), ("grid", None), ("bayes", "tpe"), ("bayes", "auto")):
            spec = self.spec(f"finite-{method}-{sampler}", method=method, parameters=points)
            if method == "grid":
                spec["parameters"] = {**points, "c": {"values": [1, 2, 3, 4]}}
            if sampler:
                spec["sampler"] = {"type": sampler, "seed": 3}
            sweep, seen, lock = self.submit(spec)["id"], [], threading.Lock()

            def work():
                while (answer := self.ask(sweep, 2))["trials"]:
                    for t in answer["trials"]:
                        self.ok(self.tell(sweep, {"run_id": t["run_id"], "value": t["params"]["a"] + t["params"]["c"]}))
                    with lock:
                        seen.extend((t["params"]["a"], t["params"]["b"], t["params"]["c"]) for t in answer["trials"])

            workers = [threading.Thread(target=work) for _ in range(6)]
            [w.start() for w in workers]
            [w.join() for w in workers]
            self.assertEqual((len(seen), len(set(seen))), (96, 96), spec["name"])
            self.assertTrue(self.ask(sweep)["finished"])

    def test_points_that_are_hard_to_find(self):
        """Ten among a million, looked for on a thread while others ask and tell: all of them, each once."""
        points = {name: {"min": 0, "max": 999} for name in "ab"}
        for method, sampler in (("random", "random"), ("bayes", "tpe"), ("bayes", "auto")):
            spec = self.spec(f"rare-{sampler}", method=method, parameters=points, constraints=["a + b < 4"])
            sweep, seen, lock = self.submit({**spec, "sampler": {"type": sampler, "seed": 3}})["id"], [], threading.Lock()

            def work():
                while (answer := self.ask(sweep))["trials"]:
                    for t in answer["trials"]:
                        with lock:
                            seen.append((t["params"]["a"], t["params"]["b"]))
                        self.ok(self.tell(sweep, {"run_id": t["run_id"], "value": t["params"]["a"]}))

            workers = [threading.Thread(target=work) for _ in range(3)]
            [w.start() for w in workers]
            [w.join() for w in workers]
            self.assertEqual(sorted(seen), sorted((a, b) for a in range(4) for b in range(4 - a)), spec["name"])
            self.assertTrue(self.ask(sweep)["finished"])

    def test_paused_drained_and_not_there(self):
        sweep = self.submit(self.spec("paused"))["id"]
        held, other = self.ask(sweep, 2)["trials"]
        self.ok(self.s.post(f"/api/v1/sweeps/{sweep}/pause"))
        self.assertEqual(self.ask(sweep), {"trials": [], "finished": False})
        self.ok(self.tell(sweep, {"run_id": held["run_id"], "value": 1}))
        self.ok(self.s.post(f"/api/v1/sweeps/{sweep}/resume"))
        self.assertEqual(self.ask(sweep)["trials"][0]["number"], 2)
        self.ok(self.s.post(f"/api/v1/sweeps/{sweep}/drain"))
        self.assertEqual(self.ask(sweep), {"trials": [], "finished": False})
        last = self.trials(sweep)[2]
        self.ok(self.tell(sweep, {"run_id": other["run_id"], "value": 1}, {"run_id": last["run_id"], "value": 2}))
        wait(lambda: self.sweep(sweep)["state"] == "FINISHED", "the end")
        self.assertEqual(self.ask(sweep), {"trials": [], "finished": True})
        self.assertEqual(self.tell(sweep, {"params": {"x": 1.0, "kind": "a"}, "value": 1}).status, 409)
        self.assertEqual(self.s.post("/api/v1/sweeps/" + "0" * 32 + "/ask", {}, unix=False).status, 404)
        for body in ({"count": 0}, {"count": 1001}, {"lease": 0}, {"count": "many"}, {"worker": "w" * 201}):
            self.assertEqual(self.s.post(f"/api/v1/sweeps/{self.submit(self.spec('limits'))['id']}/ask", body, unix=False).status, 400, body)

    def test_a_told_trial_reaches_the_target(self):
        sweep = self.submit(self.spec("aim", metric={"name": "loss", "target": 0.5}))["id"]
        run, other = (t["run_id"] for t in self.ask(sweep, 2)["trials"])
        told = self.ok(self.tell(sweep, *({"params": {"x": 0.25 * n, "kind": "a"}, "value": value} for n, value in enumerate((1, 0.5, 2)))))
        self.assertEqual((len(told["trials"]), self.sweep(sweep)["state"]), (3, "DRAINING"))
        self.assertEqual(self.sweep(sweep)["state_reason"], "a trial has reached the target")
        self.assertEqual(self.ask(sweep), {"trials": [], "finished": False})  # those that run may still be told
        self.ok(self.tell(sweep, {"run_id": run, "value": 3}, {"run_id": other, "value": 4}))
        wait(lambda: self.sweep(sweep)["state"] == "FINISHED", "the end of the sweep")

    def test_no_start_up_is_none(self):
        made = {}
        for startup in ({}, {"n_startup": 0}, {"n_startup": 3}):
            sweep = self.submit(self.spec("startup", method="bayes", sampler={"type": "tpe", "seed": 1, **startup}))["id"]
            for _ in range(12):
                trial = self.ask(sweep)["trials"][0]
                self.ok(self.tell(sweep, {"run_id": trial["run_id"], "value": trial["params"]["x"] ** 2}))
            made[str(startup)] = [t["made"]["by"] for t in self.trials(sweep)].index("tpe")
        self.assertEqual(list(made.values()), [10, 1, 3], made)

    def test_why_a_told_trial_failed(self):
        sweep = self.submit(self.spec("why", on_nan="fail"))["id"]
        failed, nan, silent = (t["run_id"] for t in self.ask(sweep, 3)["trials"])
        self.ok(self.tell(sweep, {"run_id": failed, "state": "FAILED"}, {"run_id": nan, "value": "NaN"}, {"run_id": silent}))
        self.assertEqual([t["state_reason"] for t in self.trials(sweep)], [
            "its worker said so", "the goal metric ended as NaN, and on_nan is fail", "no_metric: it ended well, but the goal metric was never seen"])
        self.ok(self.tell(sweep, {"params": {"x": 0.25, "kind": "a"}, "state": "FAILED"}, {"params": {"x": 0.5, "kind": "a"}, "value": "NaN"}))
        self.assertEqual([t["state_reason"] for t in self.trials(sweep)[3:]], ["its worker said so", "the goal metric ended as NaN, and on_nan is fail"])

    def test_nan_of_a_told_trial_counts_as_of_any(self):
        for policy, state in (("fail", "FAILED"), ("worst", "FINISHED")):
            sweep = self.submit(self.spec(policy, on_nan=policy))["id"]
            asked = self.ask(sweep)["trials"][0]
            told = self.ok(self.tell(sweep, {"params": asked["params"], "value": "NaN"}, {"run_id": asked["run_id"], "value": "NaN"}))
            self.assertEqual([(t["state"], t["value"]) for t in told["trials"]], [(state, "NaN")] * 2)

    def test_a_file_with_mistakes_lists_them(self):
        answer = self.s.post("/api/v1/sweeps", "name: bad\nparameters:\n  x: {min: a, max: 1}\nmetod: grid\n")
        self.assertEqual(answer.status, 400)
        self.assertIn(("metod", 4), [(e["path"], e["line"]) for e in answer.json["errors"]])
        self.assertTrue(all(e["message"] and e["column"] for e in answer.json["errors"]), answer)


class Attempts(Base):
    def say(self, run, *points):
        for step, loss in points:
            self.ok(self.s.post(f"/api/v1/runs/{run}/report", {"step": step, "metrics": {"loss": loss}}, unix=False))

    def view(self, sweep):
        best = [t["best_value"] for t in self.trials(sweep)]
        rungs = self.ok(self.s.get(f"/api/v1/sweeps/{sweep}/rungs"))["items"]
        return best, [(r["at"], r["trials"], r["best"]) for r in rungs[0]["brackets"][0] if r["trials"]]

    def test_a_resume_keeps_the_head_and_a_restart_nothing(self):
        with Service(WINNOW) as self.s:
            sweep = self.submit({"name": "attempts", "method": "random", "metric": {"name": "loss", "use": "best"}, "parameters": SPACE,
                                 "early_terminate": {"type": "asha", "min_iter": 1, "eta": 2, "step_metric": "step"}})["id"]
            first, second = (trial["run_id"] for trial in self.ask(sweep, 2, lease=2)["trials"])  # at once: a lease may end before the next question
            for run in (first, second):
                self.say(run, (1, 5.0), (2, 1.0), (4, 4.0))
            self.assertEqual(self.view(sweep), ([1.0, 1.0], [(1, 2, 5.0), (2, 2, 1.0), (4, 2, 4.0)]))
            wait(lambda: {t["state"] for t in self.trials(sweep)} == {"LOST"}, "the end of the leases")
            again = {t["run_id"]: t["attempt"] for t in self.ask(sweep, 2, lease=600)["trials"]}
            self.assertEqual(again, {first: 2, second: 2})
            self.say(first, (3, 3.0))   # resumes: what came before step 3 stands, step 4 does not
            self.say(second, (1, 5.0))  # begins anew
            expected = ([1.0, 5.0], [(1, 2, 5.0), (2, 1, 1.0)])
            self.assertEqual(self.view(sweep), expected)
            self.s.kill()
            self.s.start()
            self.assertEqual(self.view(sweep), expected)
            self.say(first, (4, 2.5))
            self.say(second, (2, 0.5))
            self.assertEqual(self.view(sweep), ([1.0, 0.5], [(1, 2, 5.0), (2, 2, 0.5), (4, 1, 2.5)]))
            told = self.ok(self.tell(sweep, {"run_id": first}, {"run_id": second}))["trials"]
            self.assertEqual([(t["value"], t["value_step"], t["last"]) for t in told],
                             [(1.0, 2, {"step": 4, "value": 2.5}), (0.5, 2, {"step": 2, "value": 0.5})])
            self.assertEqual(self.sweep(sweep)["best"]["run_id"], second)

    def test_a_rung_at_a_trials_last_epoch_stops_nobody(self):
        with Service(WINNOW) as self.s:
            sweep = self.submit({"name": "last", "method": "random", "metric": {"name": "loss"},
                                 "parameters": {"x": {"min": 0.0, "max": 1.0}, "epochs": {"values": [3, 9]}},
                                 "early_terminate": {"type": "asha", "min_iter": 3, "eta": 3}})["id"]
            for loss, epochs in ((1.0, 3), (2.0, 3), (3.0, 9)):
                self.ok(self.s.post(f"/api/v1/sweeps/{sweep}/trials", {"params": {"x": 0.5, "epochs": epochs}}), 201)
                run = self.ask(sweep)["trials"][0]["run_id"]
                self.ok(self.s.post(f"/api/v1/runs/{run}/report", {"step": 3, "epoch": 3, "metrics": {"loss": loss}}))
            told = lambda: [(t["state"], (t["stop"] or {}).get("rule")) for t in self.trials(sweep)]
            expected = [("RUNNING", None), ("RUNNING", None), ("STOPPING", "asha")]
            self.assertEqual(told(), expected)
            self.s.kill()
            self.s.start()
            self.assertEqual(told(), expected)
            self.assertEqual(self.view(sweep)[1], [(3, 3, 1.0)])

    def test_the_metric_that_counts_iterations_may_stand_anywhere_in_a_report(self):
        with Service(WINNOW) as self.s:
            sweep = self.submit({"name": "counted", "method": "random", "metric": {"name": "loss"}, "parameters": SPACE,
                                 "early_terminate": {"type": "asha", "min_iter": 100, "eta": 2, "step_metric": "tokens"}})["id"]
            run = self.ask(sweep)["trials"][0]["run_id"]
            for step, metrics in ((1, {"loss": 3.0, "tokens": 99}), (2, {"loss": 2.0, "tokens": 100}), (3, {"loss": 1.0, "tokens": 200})):
                self.ok(self.s.post(f"/api/v1/runs/{run}/report", {"step": step, "metrics": metrics}))
            expected = [1.0], [(100, 1, 2.0), (200, 1, 1.0)]
            self.assertEqual(self.view(sweep), expected)
            self.s.kill()
            self.s.start()
            self.assertEqual(self.view(sweep), expected)

    def test_a_retried_trial_may_be_the_best(self):
        with Service(WINNOW) as self.s:
            sweep = self.submit({"name": "retried", "method": "random", "metric": {"name": "loss"}, "parameters": SPACE})["id"]
            good, failed = self.ask(sweep, 2)["trials"]
            self.ok(self.tell(sweep, {"run_id": good["run_id"], "value": 3}, {"run_id": failed["run_id"], "state": "FAILED"}))
            self.ok(self.s.post(f"/api/v1/runs/{failed['run_id']}/retry"))
            self.assertEqual(self.ask(sweep)["trials"][0]["run_id"], failed["run_id"])
            self.ok(self.tell(sweep, {"run_id": failed["run_id"], "value": 1}))
            self.assertEqual((self.sweep(sweep)["best"]["run_id"], self.sweep(sweep)["best"]["value"]), (failed["run_id"], 1))

    def test_a_trial_that_was_stopped_may_be_the_best(self):
        """Until it is tried again: then its value counts no more. A killed and a failed one never count."""
        with Service(WINNOW) as self.s:
            sweep = self.submit({"name": "stopped", "method": "random", "metric": {"name": "loss"}, "parameters": SPACE, "run_cap": 4})["id"]
            stopped, good, failed, killed = (t["run_id"] for t in self.ask(sweep, 4)["trials"])
            for run, value in ((stopped, 1), (failed, 0), (killed, 0.5)):
                self.ok(self.s.post(f"/api/v1/runs/{run}/report", {"step": 7, "metrics": {"loss": value}}))
            self.ok(self.s.post(f"/api/v1/runs/{killed}/stop"))
            self.ok(self.tell(sweep, {"run_id": stopped, "state": "STOPPED"}, {"run_id": failed, "state": "FAILED"}))
            best = lambda: (b := self.sweep(sweep)["best"]) and (b["run_id"], b["value"], b["step"])
            self.assertEqual(best(), (stopped, 1, 7))
            self.ok(self.tell(sweep, {"run_id": good, "value": 3}))
            for restart in (False, True):
                if restart:
                    self.s.stop()
                    self.s.start()
                self.assertEqual(best(), (stopped, 1, 7))
                self.assertEqual([t["run_id"] for t in self.ok(self.s.get(f"/api/v1/sweeps/{sweep}/best?k=9"))["items"]], [stopped, good])
                curve = self.ok(self.s.get(f"/api/v1/sweeps/{sweep}/progress"))["items"]
                self.assertEqual([(p["value"], p["best"]) for p in curve], [(1, 1), (3, 1)])
            told = subprocess.run([WINNOW, "sweep", "best", sweep, "-o", "json"], capture_output=True, text=True, timeout=60,
                                  env={**self.s.env, "WINNOW_URL": "unix:" + str(self.s.data / "winnow.sock")})
            self.assertEqual([t["value"] for t in json.loads(told.stdout)["items"]], [1, 3], told)

    def test_better_than_every_number_is_no_result(self):
        """Neither the best, nor at the target; the other infinity is bad, and that counts."""
        with Service(WINNOW) as self.s:
            for goal, none, bad in (("minimize", "-Infinity", "Infinity"), ("maximize", "Infinity", "-Infinity")):
                sweep = self.submit({"name": goal, "method": "random", "metric": {"name": "score", "goal": goal, "target": -9 if goal == "minimize" else 9},
                                     "parameters": SPACE, "run_cap": 4})["id"]
                first, second, third, last = (t["run_id"] for t in self.ask(sweep, 4)["trials"])
                best = lambda: (b := self.sweep(sweep)["best"]) and (b["run_id"], b["value"])
                for run, value, wanted in ((first, none, None), (second, bad, (second, bad)), (third, 2, (third, 2))):
                    self.ok(self.tell(sweep, {"run_id": run, "value": value}))
                    self.assertEqual((best(), self.sweep(sweep)["state"]), (wanted, "RUNNING"))
                self.s.kill()
                self.s.start()
                for over in (False, True):
                    if over:
                        self.ok(self.tell(sweep, {"run_id": last, "state": "FAILED"}))
                        wait(lambda: self.sweep(sweep)["state"] == "FINISHED", "the end of the sweep")
                    self.assertEqual(best(), (third, 2))
                    self.assertEqual([t["run_id"] for t in self.ok(self.s.get(f"/api/v1/sweeps/{sweep}/best?k=9"))["items"]], [third, second])
                    curve = self.ok(self.s.get(f"/api/v1/sweeps/{sweep}/progress"))["items"]
                    self.assertEqual([(p["value"], p["best"]) for p in curve], [(bad, bad), (2, 2)])

    def test_the_best_is_tried_again(self):
        with Service(WINNOW) as self.s:
            sweep = self.submit({"name": "again", "method": "random", "metric": {"name": "loss"}, "parameters": SPACE})["id"]
            stopped, good = (t["run_id"] for t in self.ask(sweep, 2)["trials"])
            self.ok(self.tell(sweep, {"run_id": stopped, "state": "STOPPED", "value": 1}, {"run_id": good, "value": 3}))
            best = lambda: (self.sweep(sweep)["best"]["run_id"], self.sweep(sweep)["best"]["value"])
            self.assertEqual(best(), (stopped, 1))
            self.ok(self.s.post(f"/api/v1/runs/{stopped}/retry"))
            self.assertEqual(best(), (good, 3))
            self.assertEqual(self.ask(sweep)["trials"][0]["run_id"], stopped)
            self.ok(self.tell(sweep, {"run_id": stopped, "value": 4}))
            self.assertEqual(best(), (good, 3))


class Importance(Base):
    def winnow(self, *words):
        env = {**self.s.env, "WINNOW_URL": "unix:" + str(self.s.data / "winnow.sock")}
        return subprocess.run([WINNOW, *words], capture_output=True, text=True, timeout=60, env=env)

    def fill(self, sweep, count, seed=1):
        rng = random.Random(seed)
        rows = [{"x": rng.uniform(-2, 2), "kind": rng.choice("ab")} for _ in range(count)]
        for i in range(0, count, 500):
            self.ok(self.tell(sweep, *({"params": p, "value": (p["x"] - 0.5) ** 2} for p in rows[i:i + 500])))

    def test_over_rest_and_the_command_line(self):
        with Service(WINNOW) as self.s:
            spec = {"name": "matters", "method": "random", "metric": {"name": "loss"}, "parameters": SPACE, "sampler": {"seed": 1}}
            sweep = self.submit(spec)["id"]
            get = lambda: self.ok(self.s.get(f"/api/v1/sweeps/{sweep}/importance"))
            self.fill(sweep, 12)
            few = get()
            self.assertEqual((few["trials"], few["low_confidence"]), (12, True))
            self.assertIn("fewer than 30", few["reason"])
            self.assertIn("low confidence", self.winnow("sweep", "importance", "matters").stderr)
            self.ok(self.tell(sweep, {"params": {"x": 1.9, "kind": "a"}, "state": "STOPPED", "value": 2.0}))
            self.assertEqual(get()["trials"], 13)
            self.fill(sweep, 1000, seed=2)
            many = get()
            self.assertEqual((many["trials"], many["low_confidence"], many["reason"]), (1013, False, None))
            x, kind = many["items"]
            self.assertEqual((x["name"], kind["name"], x["trials"]), ("x", "kind", 1013))
            self.assertGreater(x["importance"], 0.9)
            self.assertLessEqual(x["low"], x["importance"])
            self.assertLessEqual(x["importance"], x["high"])
            self.assertAlmostEqual(x["importance"] + kind["importance"], 1)
            self.assertEqual(get(), many)  # the same from the cache
            shown = self.winnow("sweep", "importance", "matters")
            self.assertRegex(shown.stdout, r"x\s+(1|0\.9\d*)")
            self.assertNotIn("low confidence", shown.stderr)
            self.assertEqual(self.winnow("sweep", "importance", "matters", "--pairs").returncode, 0)
            self.ok(self.s.post(f"/api/v1/sweeps/{sweep}/stop"))
            wait(lambda: self.sweep(sweep)["state"] == "STOPPED", "the stop")
            self.s.stop()
            self.s.start()
            self.assertEqual(get(), many)  # of a sweep that is over, and not in memory
            self.assertEqual(self.s.get("/api/v1/sweeps/" + "0" * 32 + "/importance").status, 404)
            nameless = self.submit({"name": "no-metric", "method": "random", "parameters": SPACE})["id"]
            self.assertEqual(self.s.get(f"/api/v1/sweeps/{nameless}/importance").status, 409)

    def test_a_trial_that_is_tried_again_counts_as_it_ends_then(self):
        with Service(WINNOW) as self.s:
            trials = lambda: self.ok(self.s.get(f"/api/v1/sweeps/{sweep}/importance"))["trials"]
            sweep = self.submit({"name": "going-on", "method": "random", "metric": {"name": "loss"}, "parameters": SPACE})["id"]
            self.fill(sweep, 12)
            run = self.ask(sweep)["trials"][0]["run_id"]
            self.ok(self.tell(sweep, {"run_id": run, "state": "FAILED"}))
            self.assertEqual(trials(), 12)
            for end, count in (({"state": "STOPPED", "value": 3}, 13), ({"value": 1}, 13)):
                self.ok(self.s.post(f"/api/v1/runs/{run}/retry"))
                self.assertEqual(trials(), 12)
                self.ask(sweep)
                self.ok(self.tell(sweep, {"run_id": run, **end}))
                self.assertEqual(trials(), count)
            flag = self.s.home / "now-it-works"
            sweep = self.submit({"name": "over", "method": "grid", "metric": {"name": "loss"}, "parameters": {"a": {"values": [1, 2, 3]}},
                                 "command": ["sh", "-c", f"echo loss={{{{a}}}}; test {{{{a}}}} = 1 || cat {flag}"]})["id"]
            over = lambda: wait(lambda: self.sweep(sweep)["state"] == "FINISHED", "the end of the sweep")
            over()
            self.assertEqual(trials(), 1)
            flag.touch()
            self.ok(self.s.post(f"/api/v1/runs/{self.trials(sweep)[2]['run_id']}/retry"))
            over()
            self.assertEqual(trials(), 2)


class Prior(Base):
    BOX = {"x": {"min": -2.0, "max": 2.0}, "kind": {"values": ["a", "b"]}, "n": {"min": 1, "max": 8}}

    def spec(self, name, **more):
        return {"name": name, "method": "bayes", "metric": {"name": "loss"}, "parameters": self.BOX, "sampler": {"type": "tpe", "seed": 4}, **more}

    def drive(self, sweep, count):
        params = []
        for _ in range(count):
            trial = self.ask(sweep)["trials"][0]
            params.append(trial["params"])
            self.ok(self.tell(sweep, {"run_id": trial["run_id"], "value": abs(trial["params"]["x"]) + trial["params"]["n"]}))
        return params

    def warning(self, sweep):
        return next(w for w in sweep["warnings"] if w.startswith("prior"))

    def test_other_sweeps(self):
        with Service(WINNOW) as self.s:
            first = self.submit(self.spec("first"))["id"]
            self.drive(first, 30)
            self.ok(self.tell(first, {"run_id": self.ask(first)["trials"][0]["run_id"], "state": "FAILED"}))
            held = [p for p in (t["params"] for t in self.trials(first)[:30]) if 0.0 <= p["x"] <= 1.5]
            narrow = {**self.BOX, "x": {"min": 0.0, "max": 1.5}}
            warm = self.spec("warm", prior=[first], parameters=narrow)
            made = [self.submit(warm) for _ in range(2)]
            for sweep in made:
                self.assertEqual(sweep["sampler"]["prior_results"], len(held))
                self.assertIn(f"{len(held)} results are taken over; left out: {30 - len(held)} outside of the space", self.warning(sweep))
            dry = self.ok(self.s.post("/api/v1/sweeps?dry_run=true", warm))
            self.assertIn(f"{len(held)} results are taken over", self.warning(dry))
            a = self.drive(made[0]["id"], 3)
            self.assertEqual((dry["points"][0], len(dry["points"])), (a[0], 5))
            self.s.kill()
            self.s.start()
            a += self.drive(made[0]["id"], 9)
            self.assertEqual(a, self.drive(made[1]["id"], 12))  # what it started from is stored with it
            trials = self.trials(made[0]["id"])
            self.assertEqual((trials[0]["number"], trials[0]["made"]["results"]), (0, len(held)))
            self.assertEqual({t["made"]["by"] for t in trials} - {"tpe"} if len(held) >= 10 else set(), set())
            self.assertEqual(self.sweep(made[0]["id"])["progress"]["trials"], 12)
            more = self.submit(self.spec("more", prior=first, parameters={**self.BOX, "y": {"min": 0, "max": 9}}))
            self.assertIn("30 without a value for every parameter", self.warning(more))
            wrong = self.spec("wrong", prior=[first], metric={"name": "accuracy"})
            self.assertIn('measures "loss"', self.submit(wrong, 400)["detail"])
            self.assertIn('measures "loss"', self.ok(self.s.post("/api/v1/sweeps?dry_run=true", wrong), 400)["detail"])
            self.assertIn("no sweep 0000", self.submit(self.spec("none", prior=["0" * 32]), 400)["detail"])
            self.assertIn("prior", self.submit(self.spec("none", prior="params.x ~ 3"), 400)["detail"])
            self.assertIn("prior", self.submit(self.spec("none", prior=[{"a": 1}]), 400)["detail"])
            deaf = self.submit({**self.spec("deaf", prior=[first]), "method": "random", "sampler": {"seed": 1}})
            self.assertIn("not used", self.warning(deaf))
            self.assertEqual(deaf["sampler"]["prior_results"], 0)

    def test_runs_by_a_filter(self):
        with Service(WINNOW) as self.s:
            post = lambda path, body, status=200: self.ok(self.s.post("/api/2.0/mlflow/" + path, body), status)
            for i, params in enumerate(({"x": "0.5", "kind": "a", "n": "3"}, {"x": "1", "kind": "b", "n": "4", "other": "z"}, {"x": "-0.25", "kind": "a", "n": "8"},
                                        {"x": "0.5", "kind": "c", "n": "3"}, {"x": "0.5", "kind": "a"}, {"x": "0.7", "kind": "a", "n": "2"})):
                run = post("runs/create", {"experiment_id": "0", "start_time": 1})["run"]["info"]["run_id"]
                post("runs/log-batch", {"run_id": run, "params": [{"key": k, "value": v} for k, v in {**params, "family": "old"}.items()],
                                        "metrics": [{"key": "loss", "value": i, "timestamp": 1, "step": 0}] if i != 5 else []})
                post("runs/update", {"run_id": run, "status": "FINISHED", "end_time": 2})
            made = self.submit(self.spec("runs", prior="params.family = 'old'"))
            self.assertIn("3 results are taken over; left out: 1 without a value for every parameter, 1 outside of the space, or of another type, "
                          "1 without the metric", self.warning(made))
            self.assertEqual(made["sampler"]["prior_results"], 3)
            self.assertEqual(self.ask(made["id"])["trials"][0]["made"]["results"], 3)

    def test_a_failure_counts_as_the_file_says(self):
        with Service(WINNOW) as self.s:
            for impute, value in (("best", 0.25), ("latest", 7.0)):
                sampler = {"type": "tpe", "seed": 4, "n_startup": 5}
                says = self.submit(self.spec(f"impute-{impute}", metric={"name": "loss", "impute": impute}, sampler=sampler))["id"]
                plain = self.submit(self.spec(f"plain-{impute}", sampler=sampler))["id"]
                for step in range(24):
                    a, b = self.ask(says)["trials"][0], self.ask(plain)["trials"][0]
                    self.assertEqual(a["params"], b["params"], (impute, step))
                    if step % 6 == 5:
                        self.ok(self.tell(says, {"run_id": a["run_id"], "state": "FAILED"}))
                        self.ok(self.tell(plain, {"run_id": b["run_id"], "value": value}))
                    else:
                        for sweep, trial in ((says, a), (plain, b)):
                            self.ok(self.tell(sweep, {"run_id": trial["run_id"], "value": {1: 0.25, 4: 7.0, 10: 7.0, 16: 7.0, 22: 7.0}.get(step, 1.0 + step)}))
                    if step == 14:
                        self.s.kill()
                        self.s.start()


if __name__ == "__main__":
    unittest.main()
