#!/usr/bin/env python3
"""Sweeps from outside: asked and told, and run on this machine, through restarts."""
import csv, json, os, pathlib, subprocess, sys, textwrap, threading, time, unittest

WINNOW = pathlib.Path(sys.argv.pop(1)).resolve()
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from service import Service  # noqa: E402
from sweep_client import SPACE, Base, quadratic, wait  # noqa: E402

class AskTell(Base):
    @classmethod
    def setUpClass(cls):
        cls.s = Service(WINNOW)

    @classmethod
    def tearDownClass(cls):
        if os.environ.get("WINNOW_TEST_LOG"):
            print(cls.s.log()[-6000:], flush=True)
        cls.s.close()

    def drive(self, sweep, count=3):
        told = []
        while True:
            answer = self.ask(sweep, count)
            for trial in answer["trials"]:
                self.ok(self.tell(sweep, {"run_id": trial["run_id"], "value": quadratic(trial["params"])}))
                told.append(trial["number"])
            if not answer["trials"]:
                self.assertTrue(answer["finished"])
                return told

    def test_random_and_bayes_run_to_the_cap(self):
        for method in ("random", "bayes"):
            made = self.submit({"name": f"q-{method}", "method": method, "metric": {"name": "loss"}, "parameters": SPACE, "run_cap": 25})
            self.assertEqual((made["state"], made["progress"]["trials"], made["metric"]["goal"]), ("RUNNING", 0, "minimize"))
            self.assertEqual(sorted(self.drive(made["id"])), list(range(25)))
            over = wait(lambda: (s := self.sweep(made["id"]))["state"] == "FINISHED" and s, "the end")
            trials = self.trials(made["id"])
            self.assertEqual([t["number"] for t in trials], list(range(25)))
            self.assertEqual({t["state"] for t in trials}, {"FINISHED"})
            run = self.ok(self.s.get(f"/api/v1/runs/{trials[0]['run_id']}"))
            self.assertEqual(run["artifact_uri"], f"mlflow-artifacts:/{made['experiment_id']}/{run['id']}/artifacts")
            best = min(trials, key=lambda t: t["value"])
            self.assertEqual((over["best"]["number"], over["best"]["value"]), (best["number"], best["value"]))
            self.assertEqual(over["best"]["params"], best["params"])
            top = self.ok(self.s.get(f"/api/v1/sweeps/{made['id']}/best?k=3"))["items"]
            self.assertEqual([t["value"] for t in top], sorted(t["value"] for t in trials)[:3])
            curve = self.ok(self.s.get(f"/api/v1/sweeps/{made['id']}/progress"))["items"]
            self.assertEqual((len(curve), curve[-1]["best"]), (25, best["value"]))
            self.assertIn(made["id"], [s["id"] for s in self.ok(self.s.get("/api/v1/sweeps"))["items"]])

    def test_a_grid_is_walked_once(self):
        made = self.submit({"name": "grid", "method": "grid", "metric": {"name": "loss"},
                            "parameters": {"a": {"values": [1, 2, 3]}, "b": {"values": ["x", "y"]}}})
        seen = []
        while len(seen) < 6:  # nobody asks after the last: what was told ends it
            for trial in self.ask(made["id"], 3)["trials"]:
                seen.append((trial["params"]["a"], trial["params"]["b"]))
                self.ok(self.tell(made["id"], {"run_id": trial["run_id"], "value": 1}))
        self.assertEqual(sorted(seen), [(a, b) for a in (1, 2, 3) for b in "xy"])
        over = wait(lambda: (s := self.sweep(made["id"]))["state"] == "FINISHED" and s, "the end")
        self.assertIn("every point", over["state_reason"])
        self.assertEqual(self.ask(made["id"]), {"trials": [], "finished": True})

    def test_a_grid_of_many_millions_needs_a_limit(self):
        grid = {"name": "many", "method": "grid", "parameters": {"a": {"min": 1, "max": 10000}, "b": {"min": 1, "max": 1001}}}
        for query in ({}, {"dry_run": "true"}):
            refused = self.submit(grid, 400, **query)
            self.assertEqual((refused["detail"], refused["errors"][0]["path"]), ("line 1:50: the grid has 10010000 cells", "parameters"))
            self.assertIn("add run_cap", refused["hint"])
        self.submit({**grid, "run_cap": 3})

    def test_constraints_that_leave_nothing(self):
        """Of a space that is too large to look through at once it is told by the dry run, and by the sweep itself."""
        spec = {"name": "none", "method": "random", "run_cap": 3, "metric": {"name": "loss"},
                "parameters": {"x": {"min": 1, "max": 70000}}, "constraints": ["x == 0.5"]}
        self.assertIn("satisfies the constraints", self.submit(spec, 400, dry_run="true")["detail"])
        sweep = self.submit(spec)["id"]
        self.ask(sweep)
        over = wait(lambda: (s := self.sweep(sweep))["state"] == "FINISHED" and s, "the end")
        self.assertEqual(over["state_reason"], "no point of the space satisfies the constraints")

    def test_telling_again_and_otherwise(self):
        sweep = self.submit({"name": "again", "method": "random", "metric": {"name": "loss"}, "parameters": SPACE, "run_cap": 5})["id"]
        trial = self.ask(sweep)["trials"][0]
        self.assertEqual(self.tell(sweep, {"run_id": trial["run_id"], "value": 1}).status, 200)
        self.assertEqual(self.tell(sweep, {"run_id": trial["run_id"], "value": 1}).status, 200)
        self.assertEqual(self.tell(sweep, {"run_id": trial["run_id"], "value": 2}).status, 409)
        self.assertEqual(self.tell(sweep, {"run_id": "0" * 32, "value": 2}).status, 404)
        added = self.ok(self.tell(sweep, {"params": {"x": 0.5, "kind": "a"}, "value": 0}))["trials"][0]
        self.assertEqual((added["state"], added["value"]), ("FINISHED", 0))
        failed = self.ask(sweep)["trials"][0]
        self.ok(self.tell(sweep, {"run_id": failed["run_id"], "state": "FAILED"}))
        progress = self.sweep(sweep)["progress"]
        self.assertEqual((progress["finished"], progress["failed"]), (2, 1))

    def test_a_rule_stops_a_trial_with_a_sentence(self):
        sweep = self.submit({"name": "rule", "method": "random", "metric": {"name": "loss"}, "parameters": SPACE, "run_cap": 2,
                             "early_terminate": {"type": "threshold", "max": 10}})["id"]
        trial = self.ask(sweep)["trials"][0]
        say = lambda step, loss: self.ok(self.s.post(f"/api/v1/runs/{trial['run_id']}/report", {"step": step, "metrics": {"loss": loss}}, unix=False))
        self.assertEqual(say(1, 3.0), {"verdict": "continue"})
        verdict = say(2, 11.0)
        self.assertEqual((verdict["verdict"], verdict["rule"]), ("stop", "threshold"))
        self.assertIn("11", verdict["reason"])
        self.assertEqual(self.ok(self.s.post(f"/api/v1/runs/{trial['run_id']}/heartbeat", unix=False))["verdict"], "stop")
        self.ok(self.tell(sweep, {"run_id": trial["run_id"], "state": "STOPPED"}))
        stopped = self.trials(sweep)[0]
        self.assertEqual((stopped["state"], stopped["stop"]["rule"], stopped["value"]), ("STOPPED", "threshold", 11.0))
        self.assertIn("11", stopped["stop"]["reason"])

    def test_the_target_ends_it_and_a_clone_begins_anew(self):
        made = self.submit({"name": "target", "method": "random", "metric": {"name": "loss", "target": 1}, "parameters": SPACE, "run_cap": 50,
                            "sampler": {"seed": 3}})
        first = self.ask(made["id"])["trials"][0]
        self.ok(self.tell(made["id"], {"run_id": first["run_id"], "value": 0.5}))
        over = wait(lambda: (s := self.sweep(made["id"]))["state"] == "FINISHED" and s, "the end")
        self.assertIn("target", over["state_reason"])
        clone = self.ok(self.s.post(f"/api/v1/sweeps/{made['id']}/clone", {"name": "again"}), 201)
        self.assertEqual((clone["name"], clone["sampler"]["seed"], clone["run_cap"]), ("again", 3, 50))
        self.assertEqual(self.ask(clone["id"])["trials"][0]["params"], first["params"])  # the same seed, the same points
        for path in ("output", "heartbeat", "exited"):
            self.assertIn(self.s.post(f"/api/v1/companion/{first['run_id']}/1/{path}", unix=False).status, (401, 403))

    def test_a_clone_is_the_sweep_as_it_is_now(self):
        spec = {"name": "edited", "method": "random", "metric": {"name": "loss"}, "parameters": SPACE, "run_cap": 50, "max_time": "1h", "priority": 3, "notes": "first"}
        made = self.submit(spec)["id"]
        clone = lambda: self.ok(self.s.post(f"/api/v1/sweeps/{made}/clone"), 201)
        edit = lambda **edits: self.ok(self.s.request("PATCH", f"/api/v1/sweeps/{made}", edits))
        said = lambda shown: ([shown[k] for k in ("run_cap", "max_parallel", "priority", "notes")], shown["spec"].get("run_cap"), shown["spec"].get("max_time"))
        self.assertEqual(said(clone()), ([50, None, 3, "first"], 50, "1h"))
        edit(run_cap=7, max_parallel=2)
        edit(priority=-1, notes="second", max_time=7200)
        self.assertEqual(said(clone()), ([7, 2, -1, "second"], 7, "2h"))
        edit(run_cap=None, max_parallel=0, priority=0, max_time="0s")
        self.assertEqual(said(clone()), ([None, None, 0, "second"], None, None))
        for wrong in (-1, 2**63 - 1, "-1s", 0.5, [1]):
            refused = self.s.request("PATCH", f"/api/v1/sweeps/{made}", {"max_time": wrong})
            self.assertEqual((refused.status, self.sweep(made)["state"]), (400, "RUNNING"), wrong)
        self.ok(self.s.post(f"/api/v1/sweeps/{made}/stop"))
        self.assertEqual(said(clone()), ([None, None, 0, "second"], None, None))  # and so it is when it is over

    def test_what_would_be_left_out_of_a_point_is_refused(self):
        space = {"opt": {"values": ["sgd", "adam"]}, "net": {"parameters": {"depth": {"values": [1, 2]}}}, "mom": {"min": 0.0, "max": 1.0}}
        sweep = self.submit({"name": "whole", "method": "random", "metric": {"name": "loss"}, "parameters": space,
                             "conditions": [{"if": {"opt": "sgd"}, "then": ["mom"]}]})["id"]
        env = {**os.environ, "WINNOW_URL": f"unix:{self.s.data}/winnow.sock"}
        for word, text, hint in (("mom=0.5", '"params.mom" is not in use at this point', None),
                                 ("net.depht=1", '"params.net.depht" is no parameter of this space', 'did you mean "net.depth"?')):
            done = subprocess.run([WINNOW, "trial", "enqueue", sweep, "opt=adam", "net.depth=1", word], capture_output=True, text=True, timeout=60, env=env)
            self.assertEqual(done.returncode, 1, done)
            self.assertIn(text, done.stderr)
            self.assertIn(hint or "", done.stderr)
            key, value = word.split("=")
            refused = self.s.post(f"/api/v1/sweeps/{sweep}/trials", {"params": {"opt": "adam", "net.depth": 1, key: float(value)}})
            self.assertEqual((refused.status, refused.json["hint"]), (400, hint))
            self.assertIn(text, refused.json["detail"])
        self.assertEqual(self.trials(sweep), [])

    def test_what_is_enqueued_into_a_paused_sweep_says_why_it_waits(self):
        sweep = self.submit({"name": "rests", "method": "random", "metric": {"name": "loss"}, "parameters": SPACE, "run_cap": 5})["id"]
        enqueue = lambda: self.ok(self.s.post(f"/api/v1/sweeps/{sweep}/trials", {"params": {"x": 0.5, "kind": "a"}}), 201)
        self.assertEqual((enqueue()["state"], self.trials(sweep)[0]["state_reason"]), ("QUEUED", None))
        self.ok(self.s.post(f"/api/v1/sweeps/{sweep}/pause"))
        self.assertEqual(enqueue()["state_reason"], "it waits: its sweep is paused")
        self.assertEqual([t["state_reason"] for t in self.trials(sweep)], ["it waits: its sweep is paused"] * 2)
        env = {**os.environ, "WINNOW_URL": f"unix:{self.s.data}/winnow.sock"}
        done = subprocess.run([WINNOW, "trial", "enqueue", sweep, "x=0.1", "kind=b"], capture_output=True, text=True, timeout=60, env=env)
        self.assertEqual(done.returncode, 0, done)
        self.assertIn("its sweep is paused", done.stdout)
        self.assertEqual(self.ask(sweep)["trials"], [])
        self.ok(self.s.post(f"/api/v1/sweeps/{sweep}/resume"))
        self.assertEqual([t["state_reason"] for t in self.trials(sweep)], [None] * 3)
        self.assertEqual([t["number"] for t in self.ask(sweep, 3)["trials"]], [0, 1, 2])

    def moved(self, experiment, how="delete"):
        self.ok(self.s.post(f"/api/2.0/mlflow/experiments/{how}", {"experiment_id": experiment}))

    def test_an_experiment_with_sweeps_that_are_not_over_is_kept(self):
        spec = {"method": "random", "metric": {"name": "loss"}, "parameters": SPACE, "experiment": "in use"}
        made = [self.submit({**spec, "name": name}) for name in ("first", "second")]
        path = f"/api/v1/experiments/{made[0]['experiment_id']}"
        for answer in (self.s.request("DELETE", path), self.s.request("PATCH", path, {"deleted": True})):
            self.assertEqual((answer.status, answer.json["code"]), (409, "wrong_state"), answer)
            self.assertEqual(answer.json["detail"], "it has sweeps that are not over: " + ", ".join(f"{s['name']} ({s['id']})" for s in made))
            self.assertIn("winnow sweep stop SWEEP", answer.json["hint"])
        env = {**os.environ, "WINNOW_URL": f"unix:{self.s.data}/winnow.sock"}
        done = subprocess.run([WINNOW, "experiment", "rm", "in use", "-y"], capture_output=True, text=True, timeout=60, env=env)
        self.assertNotEqual(done.returncode, 0, done)
        for text in (made[0]["id"], made[1]["id"], "winnow sweep stop SWEEP"):
            self.assertIn(text, done.stderr)
        self.assertIsNone(self.ok(self.s.get(path))["deleted"])
        for sweep in made:
            self.ok(self.s.post(f"/api/v1/sweeps/{sweep['id']}/stop"))
            wait(lambda: self.sweep(sweep["id"])["state"] == "STOPPED", "the end")
        self.assertEqual(self.s.request("DELETE", path).status, 204)

    def test_sweeps_of_a_deleted_experiment_pause(self):
        """MLflow's clients are not refused: what they delete gets no new trials, until it is back and somebody resumes them."""
        made = self.submit({"name": "thrown", "method": "random", "metric": {"name": "loss"}, "parameters": SPACE})
        sweep, experiment, reason = made["id"], made["experiment_id"], "its experiment was put into the trash"
        active = lambda: self.s.post("/api/2.0/mlflow/runs/search", {"experiment_ids": [experiment]}).json.get("runs", [])
        (trial,) = self.ask(sweep)["trials"]
        self.moved(experiment)
        self.assertEqual((self.sweep(sweep)["state"], self.sweep(sweep)["state_reason"], active()), ("PAUSED", reason, []))
        self.assertEqual(self.ask(sweep), {"trials": [], "finished": False})
        for path, body in (("resume", None), ("trials", {"params": {"x": 0, "kind": "a"}}), ("tell", {"trials": [{"params": {"x": 0, "kind": "a"}, "value": 1}]})):
            answer = self.s.post(f"/api/v1/sweeps/{sweep}/{path}", body)
            self.assertEqual(answer.status, 409, answer)
            self.assertIn("the sweep makes no new trials: its experiment is in the trash", answer.json["detail"])
            self.assertEqual(answer.json["hint"], f"`winnow experiment restore {experiment}` brings it back")
        self.ok(self.tell(sweep, {"run_id": trial["run_id"], "value": 1}))
        self.assertEqual(self.s.request("DELETE", f"/api/v1/experiments/{experiment}").status, 204)
        (paused,) = (e for e in self.ok(self.s.get(f"/api/v1/runs/{sweep}/events"))["items"] if e["to"] == "PAUSED")
        self.assertEqual((paused["kind"], paused["reason"]), ("sweep.state", reason))
        self.assertNotEqual(paused["actor"], "service")
        self.moved(experiment, "restore")
        self.assertEqual(self.ask(sweep)["trials"], [])
        self.assertEqual(self.ok(self.s.post(f"/api/v1/sweeps/{sweep}/resume"))["state"], "RUNNING")
        self.assertEqual(len(self.ask(sweep)["trials"]), 1)
        self.moved(experiment)
        self.ok(self.s.request("PATCH", f"/api/v1/experiments/{experiment}", {"deleted": False}))
        self.ok(self.s.post(f"/api/v1/sweeps/{sweep}/resume"))
        self.moved(experiment)
        self.ok(self.s.post(f"/api/v1/sweeps/{sweep}/stop"))

    def test_a_trial_that_comes_when_its_experiment_was_deleted_is_deleted(self):
        made = self.submit({"name": "late", "method": "random", "metric": {"name": "loss"}, "parameters": SPACE})
        sweep, experiment = made["id"], made["experiment_id"]
        holder = subprocess.Popen(self.s.psql(), env=self.s.psql_env(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        holder.stdin.write("select 'held' from pg_advisory_lock(7310579611042530307);\n")  # as engine_enter
        holder.stdin.flush()
        self.assertEqual(holder.stdout.readline(), "held\n")
        asked = {}
        asking = threading.Thread(target=lambda: asked.update(self.ask(sweep)))
        asking.start()
        wait(lambda: self.s.sql("select count(*) from pg_locks where locktype = 'advisory' and not granted and mode = 'ShareLock'") == "1", "the trial's transaction")
        self.moved(experiment)
        holder.communicate()
        asking.join()
        wait(lambda: self.s.sql(f"select state from winnow.sweep where id = '{sweep}'") == "1", "the pause")
        self.assertEqual(self.s.sql(f"select deleted_at is not null from winnow.run where id = '{asked['trials'][0]['run_id']}'"), "t")
        self.moved(experiment, "restore")
        self.assertEqual([t["run_id"] for t in self.trials(sweep)], [asked["trials"][0]["run_id"]])
        self.ok(self.s.post(f"/api/v1/sweeps/{sweep}/stop"))

    def test_a_trial_that_comes_late_to_a_paused_sweep_is_deleted_with_its_experiment(self):
        made = self.submit({"name": "late-paused", "method": "random", "metric": {"name": "loss"}, "parameters": SPACE})
        sweep, experiment = made["id"], made["experiment_id"]
        self.ok(self.s.post(f"/api/v1/sweeps/{sweep}/pause"))
        holder = subprocess.Popen(self.s.psql(), env=self.s.psql_env(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        holder.stdin.write("select 'held' from pg_advisory_lock(7310579611042530307);\n")  # as engine_enter
        holder.stdin.flush()
        self.assertEqual(holder.stdout.readline(), "held\n")
        adding = threading.Thread(target=lambda: self.s.post(f"/api/v1/sweeps/{sweep}/trials", {"params": {"x": 0, "kind": "a"}}))
        adding.start()
        wait(lambda: self.s.sql("select count(*) from pg_locks where locktype = 'advisory' and not granted and mode = 'ShareLock'") == "1", "the trial's transaction")
        self.moved(experiment)
        holder.communicate()
        adding.join()
        wait(lambda: self.s.sql(f"select bool_and(deleted_at is not null) and count(*) = 2 from winnow.run where experiment_id = {experiment}") == "t", "that the trial is deleted", 20)
        self.assertEqual([e["to"] for e in self.ok(self.s.get(f"/api/v1/runs/{sweep}/events"))["items"] if e["kind"] == "sweep.state"], ["PAUSED"])
        self.moved(experiment, "restore")
        self.ok(self.s.post(f"/api/v1/sweeps/{sweep}/stop"))

    def test_experiments_that_cannot_be_moved(self):
        """Who asked hears why; they are so many that what was kept of their questions is not kept for others."""
        made = self.submit({"name": "unmoved", "method": "random", "metric": {"name": "loss"}, "parameters": SPACE})
        sweep, experiment = made["id"], made["experiment_id"]
        self.s.sql("create function winnow.refuse() returns trigger language plpgsql as $$ begin perform pg_sleep(0.02); raise 'refused'; end $$")
        self.s.sql("create trigger refuse before update on winnow.experiment for each row execute function winnow.refuse()")
        answers = []
        delete = lambda: answers.append(self.s.post("/api/2.0/mlflow/experiments/delete", {"experiment_id": experiment}).status)
        askers = [threading.Thread(target=delete) for _ in range(100)]
        try:
            [asker.start() for asker in askers]
            [asker.join() for asker in askers]
        finally:
            self.s.sql("drop trigger refuse on winnow.experiment; drop function winnow.refuse()")
        self.assertEqual(answers, [500] * len(askers))
        self.assertEqual(self.sweep(sweep)["state"], "RUNNING")
        self.ok(self.s.post(f"/api/v1/sweeps/{sweep}/stop"))

    def test_the_list_is_the_same_in_pages_of_any_size(self):
        sweep = self.submit({"name": "copied", "method": "random", "metric": {"name": "loss"}, "parameters": SPACE, "run_cap": 5})["id"]
        self.ok(self.s.post(f"/api/v1/sweeps/{sweep}/stop"))
        wait(lambda: self.s.sql(f"select summary is not null from winnow.sweep where id = '{sweep}'") == "t", "the end")
        self.addCleanup(self.s.sql, "delete from winnow.sweep where name like 'copy-%'")
        columns = "experiment_id, version, seed, directory, source, spec, state, why, exhausted, ended"
        self.s.sql(f"with copy as materialized (select gen_random_uuid() as copy_id, n from generate_series(1, 120) n) "
                   f"insert into winnow.sweep (id, created, name, summary, {columns}) select copy_id, created + n / 3, 'copy-' || n, "
                   f"summary || jsonb_build_object('id', replace(copy_id::text, '-', '')), {columns} from winnow.sweep, copy where id = '{sweep}'")
        order = self.s.sql("select replace(id::text, '-', '') from winnow.sweep where not single and deleted_at is null order by created desc, id desc").split()
        for limit in (1, 49, 50, 51, 100, 1000):
            listed, cursor = [], ""
            while cursor is not None:
                page = self.ok(self.s.get(f"/api/v1/sweeps?limit={limit}" + (f"&cursor={cursor}" if cursor else "")))
                self.assertEqual(len(page["items"]), min(limit, len(order) - len(listed)))
                listed += [s["id"] for s in page["items"]]
                cursor = page["next"]
            self.assertEqual(listed, order, limit)
        stopped = self.ok(self.s.get("/api/v1/sweeps?state=STOPPED&limit=1000"))["items"]
        self.assertGreaterEqual(len(stopped), 121)
        self.assertEqual({s["state"] for s in stopped}, {"STOPPED"})

    def test_what_goes_on_after_a_rest_goes_on_with_all_results(self):
        """A point that was thought of ahead, which two workers would take as it is, is none for a sweep that rested meanwhile."""
        sweep = self.submit({"name": "rests", "sampler": {"type": "gp", "seed": 3, "n_startup": 5}, "run_cap": 60, "metric": {"name": "loss"}, "parameters": SPACE})["id"]
        for _ in range(20):
            for trial in self.ask(sweep, 2)["trials"]:
                self.ok(self.tell(sweep, {"run_id": trial["run_id"], "value": quadratic(trial["params"])}))
        rests = {"pause": lambda: self.ok(self.s.post(f"/api/v1/sweeps/{sweep}/pause")),
                 "cap": lambda: self.ok(self.s.request("PATCH", f"/api/v1/sweeps/{sweep}", {"run_cap": len(self.trials(sweep))}))}
        goes_on = {"pause": lambda: self.ok(self.s.post(f"/api/v1/sweeps/{sweep}/resume")),
                   "cap": lambda: self.ok(self.s.request("PATCH", f"/api/v1/sweeps/{sweep}", {"run_cap": 60}))}
        for how in rests:
            first, second = self.ask(sweep, 1)["trials"] + self.ask(sweep, 1)["trials"]
            time.sleep(1.5)  # the next point is thought of
            rests[how]()
            self.ok(self.tell(sweep, {"run_id": second["run_id"], "value": quadratic(second["params"])}))
            wait(lambda: self.sweep(sweep)["progress"]["finished"] == second["number"], "the result")
            goes_on[how]()
            third, = self.ask(sweep, 1)["trials"]
            self.assertEqual(third["made"]["results"], second["number"], how)
            for trial in (first, third):
                self.ok(self.tell(sweep, {"run_id": trial["run_id"], "value": quadratic(trial["params"])}))

    def test_workers_who_ask_in_a_row_all_get_a_trial(self):
        """Points are thought of ahead; that none was found behind those does not mean that there is none when it is due. The best is at the edge
        here, where there is nothing new."""
        sweep = self.submit({"name": "row", "sampler": {"type": "gp", "seed": 3, "n_startup": 5}, "run_cap": 70, "metric": {"name": "loss"}, "parameters": SPACE})["id"]
        for _ in range(18):
            for trial in self.ask(sweep, 2)["trials"]:
                self.ok(self.tell(sweep, {"run_id": trial["run_id"], "value": trial["params"]["x"]}))
        for _ in range(8):
            time.sleep(1.2)
            asked = [self.ask(sweep, 1)["trials"] for _ in range(3)]
            self.assertEqual([len(trials) for trials in asked], [1, 1, 1])
            for trial, in asked:
                self.ok(self.tell(sweep, {"run_id": trial["run_id"], "value": trial["params"]["x"]}))

    def test_control_edits_and_refusals(self):
        sweep = self.submit({"name": "control", "method": "random", "metric": {"name": "loss"}, "parameters": SPACE, "run_cap": 2})["id"]
        self.assertEqual(self.ok(self.s.post(f"/api/v1/sweeps/{sweep}/pause"))["state"], "PAUSED")
        self.assertEqual(self.ask(sweep)["trials"], [])
        self.assertEqual(self.ok(self.s.post(f"/api/v1/sweeps/{sweep}/resume"))["state"], "RUNNING")
        changed = self.ok(self.s.request("PATCH", f"/api/v1/sweeps/{sweep}", {"run_cap": 3, "notes": "more"}))
        self.assertEqual((changed["run_cap"], changed["notes"]), (3, "more"))
        self.assertEqual(self.s.request("PATCH", f"/api/v1/sweeps/{sweep}", {"run_kap": 3}).status, 400)
        picked = self.ok(self.s.post(f"/api/v1/sweeps/{sweep}/trials", {"params": {"x": 1.25, "kind": "b"}}), 201)
        self.assertEqual(picked["params"], {"x": 1.25, "kind": "b"})
        self.assertEqual(self.ask(sweep)["trials"][0]["run_id"], picked["run_id"])
        self.assertEqual(self.s.request("DELETE", f"/api/v1/sweeps/{sweep}").status, 409)
        self.ok(self.s.post(f"/api/v1/sweeps/{sweep}/stop"))
        self.ok(self.tell(sweep, {"run_id": picked["run_id"], "value": 1}))
        wait(lambda: self.sweep(sweep)["state"] == "STOPPED", "the stop")
        self.assertEqual(self.s.request("DELETE", f"/api/v1/sweeps/{sweep}").status, 204)
        self.assertEqual(self.s.get(f"/api/v1/sweeps/{sweep}").status, 404)
        self.assertEqual(self.s.get("/api/v1/sweeps/" + "0" * 32).status, 404)
        for spec, word in (({"parameters": SPACE, "metod": "grid"}, "metod"),
                           ({"command": ["true"], "parameters": SPACE, "method": "random", "executor": "slurm"}, "executor"),
                           ({"command": ["true"], "parameters": SPACE, "metric": "m", "method": "random", "register": {"model": "a/b"}}, "register")):
            answer = self.s.post("/api/v1/sweeps", spec)
            self.assertIn(answer.status, (400, 501), answer)
            self.assertIn(word, answer.json["detail"])
        command = {"command": ["true"], "parameters": SPACE, "method": "random", "run_cap": 1}
        self.assertEqual(self.s.post("/api/v1/sweeps", command, unix=False).status, 401)
        dry = self.submit({"command": ["echo", "${args}"], "method": "grid", "parameters": {"a": {"values": [1, 2]}}}, 200, dry_run="true")
        rule = {"type": "asha", "eta": 10}
        spec = {"command": ["true"], "method": "grid", "metric": "loss", "parameters": {"a": {"values": [1, 2]}}}
        endless = self.submit({**spec, "early_terminate": rule}, 200, dry_run="true")["rungs"]
        self.assertEqual(endless, [10.0 ** i for i in range(12)])  # by its beginning
        self.assertEqual(self.submit({**spec, "early_terminate": {**rule, "max_iter": 1000}}, 200, dry_run="true")["rungs"], [1, 10, 100])
        self.assertEqual((dry["cells"], dry["points"], dry["command"]), (2, [{"a": 1}, {"a": 2}], ["echo", "--a=1"]))


class Restart(Base):
    def test_numbers_and_results_survive_a_kill(self):
        with Service(WINNOW) as self.s:
            made = self.submit({"name": "restart", "method": "random", "metric": {"name": "loss"}, "parameters": SPACE, "run_cap": 30,
                                "sampler": {"seed": 7}})
            sweep, told = made["id"], {}
            for round_ in range(3):
                for trial in self.ask(sweep, 8)["trials"]:
                    value = quadratic(trial["params"])
                    self.ok(self.tell(sweep, {"run_id": trial["run_id"], "value": value}))
                    told[trial["number"]] = (trial["run_id"], value)
                held = self.ask(sweep, 1)["trials"][0]
                self.s.kill()
                self.s.start()
                self.assertEqual(self.sweep(sweep)["progress"]["finished"], len(told))
                value = quadratic(held["params"])
                self.ok(self.tell(sweep, {"run_id": held["run_id"], "value": value}))
                told[held["number"]] = (held["run_id"], value)
            while (answer := self.ask(sweep, 8))["trials"]:
                for trial in answer["trials"]:
                    value = quadratic(trial["params"])
                    self.ok(self.tell(sweep, {"run_id": trial["run_id"], "value": value}))
                    told[trial["number"]] = (trial["run_id"], value)
            self.assertEqual(sorted(told), list(range(30)))
            trials = self.trials(sweep)
            self.assertEqual({t["number"]: (t["run_id"], t["value"]) for t in trials}, told)
            wait(lambda: self.sweep(sweep)["state"] == "FINISHED", "the end")
            self.s.kill()
            self.s.start()
            self.assertEqual(self.sweep(sweep)["progress"]["finished"], 30)
            self.assertTrue(self.ask(sweep)["finished"])


    def test_a_start_finds_that_the_experiment_is_in_the_trash(self):
        with Service(WINNOW) as self.s:
            made = self.submit({"name": "behind", "method": "random", "metric": {"name": "loss"}, "parameters": SPACE})
            self.s.sql(f"select experiment_remove({made['experiment_id']}, 1)")  # and a crash before anybody heard of it
            self.s.kill()
            self.s.start()
            self.assertEqual(self.sweep(made["id"])["state_reason"], "its experiment was put into the trash")
            self.assertEqual(self.ask(made["id"])["trials"], [])
            self.s.kill()
            self.s.start()
            self.assertEqual(self.s.post(f"/api/v1/sweeps/{made['id']}/resume").status, 409)
            self.ok(self.s.request("PATCH", f"/api/v1/experiments/{made['experiment_id']}", {"deleted": False}))
            self.ok(self.s.post(f"/api/v1/sweeps/{made['id']}/resume"))
            self.assertEqual(len(self.ask(made["id"])["trials"]), 1)


class Local(Base):
    def script(self, text):
        path = self.s.home / "job.sh"
        path.write_text(textwrap.dedent(text))
        return str(path)

    def ended(self, sweep, timeout=120):
        return wait(lambda: (s := self.sweep(sweep))["state"] not in ("RUNNING", "DRAINING") and s, "the end", timeout)

    def test_a_grid_of_processes(self):
        with Service(WINNOW, arguments=["--slots", "2"]) as self.s:
            job = self.script("""
                echo "step=1 loss=$1"
                echo trouble >&2
                pwd
                """)
            sweep = self.submit({"name": "jobs", "method": "grid", "metric": {"name": "loss"}, "command": ["sh", job, "{{loss}}{{b}}"],
                                 "workdir": str(self.s.home), "workdir_mode": "inplace",
                                 "parameters": {"loss": {"values": [1, 2, 3]}, "b": {"values": [4, 5]}}})["id"]
            over = self.ended(sweep)
            self.assertEqual((over["state"], over["progress"]["finished"]), ("FINISHED", 6), self.trials(sweep))
            trials = self.trials(sweep)
            self.assertEqual({t["value"] for t in trials}, {14.0, 15.0, 24.0, 25.0, 34.0, 35.0})
            self.assertEqual(over["best"]["value"], 14.0)
            run = trials[0]["run_id"]
            log = self.s.get(f"/api/v1/runs/{run}/logs/stdout?from=0")
            self.assertIn(str(self.s.home), log.body.decode())
            self.assertEqual(int(log.headers["Winnow-Log-Next"]), len(log.body))
            self.assertEqual(self.s.get(f"/api/v1/runs/{run}/logs/stdout?tail=1").body.decode().strip(), str(self.s.home))
            self.assertEqual(self.s.get(f"/api/v1/runs/{run}/logs/stderr").body, b"trouble\n")
            failed = self.submit({"name": "bad", "method": "grid", "metric": {"name": "loss"}, "command": ["sh", "-c", "exit {{code}}"],
                                  "parameters": {"code": {"values": [0, 3]}}})["id"]
            self.ended(failed)
            none, three = self.trials(failed)
            self.assertEqual((none["state"], three["state"], three["state_reason"]), ("FAILED", "FAILED", "exit code 3"))
            self.assertIn("no_metric", none["state_reason"])
            nothing = self.submit({"name": "nothing", "method": "grid", "command": ["no-such-program"], "parameters": {"a": {"values": [1]}}})["id"]
            self.ended(nothing)
            self.assertIn("no-such-program", self.trials(nothing)[0]["state_reason"])

    def held_back(self, **more):
        """A sweep whose trials run until the gate is open; a file beside it, named .one, lets one of them go."""
        gate = self.s.home / f"gate-{more['name']}"
        return gate, self.submit({"command": ["sh", "-c", f"until [ -e {gate} ] || rm {gate}.one 2>/dev/null; do sleep 0.05; done; echo loss={{{{x}}}}"],
                                  "parameters": {"x": {"min": 0.0, "max": 1.0}}, "metric": {"name": "loss"}, "stop_grace": 1, **more})["id"]

    def states(self, sweep):
        return [t["state"] for t in self.trials(sweep)]

    def test_a_trial_is_made_when_its_slot_is_there(self):
        with Service(WINNOW, arguments=["--slots", "2"]) as self.s:
            gate, sweep = self.held_back(name="cap", method="random", run_cap=20)
            wait(lambda: self.states(sweep) == ["RUNNING"] * 2, "two trials")
            entry, = self.ok(self.s.get("/api/v1/queue"))["items"]
            self.assertEqual((entry["run_id"], entry["sweep_id"], entry["number"]), (None, sweep, 2))
            self.ok(self.s.request("PATCH", f"/api/v1/sweeps/{sweep}", {"run_cap": 3}))
            picked = self.ok(self.s.post(f"/api/v1/sweeps/{sweep}/trials", {"params": {"x": 0.5}}), 201)
            self.assertEqual(picked["number"], 2)
            refused = self.s.post(f"/api/v1/sweeps/{sweep}/trials", {"params": {"x": 0.75}})  # not 429: it does not pass by itself
            self.assertEqual((refused.status, "run_cap is reached" in refused.json["detail"], "--run-cap" in refused.json["hint"]), (409, True, True), refused)
            gate.touch()
            self.assertEqual((self.ended(sweep)["state"], self.states(sweep)), ("FINISHED", ["FINISHED"] * 3))

    def test_a_picked_trial_of_a_paused_sweep_waits(self):
        with Service(WINNOW, arguments=["--slots", "2"]) as self.s:
            gate, sweep = self.held_back(name="rest", method="random", run_cap=2, max_parallel=1)
            wait(lambda: self.states(sweep) == ["RUNNING"], "a trial")
            self.ok(self.s.post(f"/api/v1/sweeps/{sweep}/pause"))
            picked = self.ok(self.s.post(f"/api/v1/sweeps/{sweep}/trials", {"params": {"x": 0.5}}), 201)
            self.assertEqual((picked["state"], picked["state_reason"]), ("QUEUED", "it waits: its sweep is paused"))
            self.s.kill()
            self.s.start()
            entry, = wait(lambda: self.ok(self.s.get("/api/v1/queue"))["items"], "its place in the queue")
            self.assertEqual((entry["run_id"], entry["reason"]), (picked["run_id"], "its sweep is paused"))
            gate.touch()
            wait(lambda: self.states(sweep) == ["FINISHED", "QUEUED"], "the end of the first")
            self.assertEqual(self.ok(self.s.post(f"/api/v1/sweeps/{sweep}/resume"))["state"], "RUNNING")
            self.assertEqual((self.ended(sweep)["state"], self.states(sweep)), ("FINISHED", ["FINISHED"] * 2))

    def test_what_never_ran_says_so(self):
        with Service(WINNOW, arguments=["--slots", "2"]) as self.s:
            _, sweep = self.held_back(name="stop", method="random", run_cap=20)
            wait(lambda: self.states(sweep) == ["RUNNING"] * 2, "two trials")
            picked, unwanted = (self.ok(self.s.post(f"/api/v1/sweeps/{sweep}/trials", {"params": {"x": x}}), 201) for x in (0.5, 0.25))
            self.assertEqual([t["slots"] for t in self.trials(sweep)], [1, 1, None, None])
            self.ok(self.s.post(f"/api/v1/runs/{unwanted['run_id']}/stop"))
            self.ok(self.s.post(f"/api/v1/sweeps/{sweep}/stop"))
            self.assertEqual(self.ended(sweep)["state"], "STOPPED")
            self.assertEqual([(t["number"], t["state"], t["state_reason"], t["slots"]) for t in self.trials(sweep)],
                             [(0, "KILLED", "ended with its sweep", 1), (1, "KILLED", "ended with its sweep", 1),
                              (picked["number"], "KILLED", "never ran: its sweep ended before it had started", None),
                              (unwanted["number"], "KILLED", "never ran: killed by a person before it had started", None)])

    def test_nothing_is_made_from_old_results(self):
        with Service(WINNOW, arguments=["--slots", "2"]) as self.s:
            gate, sweep = self.held_back(name="fresh", sampler={"type": "tpe", "n_startup": 4, "staleness": 0}, run_cap=9)
            gate.touch()
            self.assertEqual(self.ended(sweep)["progress"]["finished"], 9)
            for trial in self.trials(sweep):
                self.assertGreaterEqual(trial["made"]["results"], trial["number"] - 1)  # all but the one beside it

    def test_an_edit_after_the_end_is_refused(self):
        with Service(WINNOW, arguments=["--slots", "2"]) as self.s:
            gate, sweep = self.held_back(name="late", method="random", run_cap=3)
            gate.touch()
            self.ended(sweep)
            refused = self.s.request("PATCH", f"/api/v1/sweeps/{sweep}", {"run_cap": 9})
            self.assertEqual((refused.status, refused.json["detail"]), (409, "the sweep is FINISHED"))
            self.assertEqual((self.sweep(sweep)["run_cap"], self.states(sweep)), (3, ["FINISHED"] * 3))

    def test_a_failed_trial_is_tried_again_after_the_end(self):
        with Service(WINNOW, arguments=["--slots", "2"]) as self.s:
            flag = self.s.home / "now-it-works"
            sweep = self.submit({"name": "again", "method": "grid", "command": ["sh", "-c", f"test {{{{a}}}} = 1 || cat {flag}"],
                                 "parameters": {"a": {"values": [1, 2, 3]}}})["id"]
            self.assertEqual((self.ended(sweep)["state"], self.states(sweep)), ("FINISHED", ["FINISHED", "FAILED", "FAILED"]))
            good, second, third = [t["run_id"] for t in self.trials(sweep)]
            refused = self.s.post(f"/api/v1/runs/{good}/retry")
            self.assertEqual(refused.status, 409)
            self.assertIn("a trial that is FINISHED cannot be tried again", refused.json["detail"])
            self.assertEqual(self.sweep(sweep)["state"], "FINISHED")
            flag.touch()
            for run, attempts in ((second, [1, 2, 1]), (third, [1, 2, 2])):
                self.ok(self.s.post(f"/api/v1/runs/{run}/retry"))
                over = self.ended(sweep)
                self.assertEqual((over["state"], over["state_reason"]), ("FINISHED", "a trial was tried again after its end"))
                self.assertEqual([t["attempt"] for t in self.trials(sweep)], attempts)
                self.s.kill()  # the next one is only in the database
                self.s.start()
            self.assertEqual(self.states(sweep), ["FINISHED"] * 3)
            self.assertEqual(self.sweep(sweep)["progress"]["finished"], 3)

    def test_a_retry_changes_nothing_for_the_sampler_after_a_restart_too(self):
        """What it learned was the first end, with the reports before it. The same sweep twice: one through restarts, one not."""
        job = """
            for i in 1 2 4 8; do echo "step=$i loss=$(python3 -c "print(($1 - 0.3) ** 2 + 1 / $i)")"; done
            if [ $WINNOW_TRIAL = 2 ] && [ $WINNOW_ATTEMPT = 1 ]; then exit 1; fi
            until [ -e $2/$WINNOW_TRIAL.$WINNOW_ATTEMPT ]; do sleep 0.05; done
            if [ $WINNOW_ATTEMPT = 2 ]; then for i in 16 32; do echo "step=$i loss=-5"; done; fi
            """
        picked = []
        for restarts in (False, True):
            with Service(WINNOW, arguments=["--slots", "1"]) as self.s:
                sweep = self.submit({"name": "retried", "sampler": {"type": "gp", "seed": 7, "n_startup": 4}, "run_cap": 9, "metric": {"name": "loss"},
                                     "parameters": {"x": {"min": 0.0, "max": 1.0}}, "max_parallel": 1,
                                     "command": ["sh", self.script(job), "{{x}}", str(self.s.home)],
                                     "early_terminate": {"type": "threshold", "max": 1.3, "min_iter": 2, "step_metric": "step"}})["id"]
                for number in (0, 1, 3, 4):
                    (self.s.home / f"{number}.1").touch()
                wait(lambda: len(self.trials(sweep)) == 6 and self.trials(sweep)[5]["value"] is not None, "the sixth trial")
                failed = self.trials(sweep)[2]
                self.assertIn(failed["state"], ("FAILED", "STOPPED"), failed)
                self.ok(self.s.post(f"/api/v1/runs/{failed['run_id']}/retry"))
                (self.s.home / "5.1").touch()
                wait(lambda: self.trials(sweep)[2]["attempt"] == 2 and (self.trials(sweep)[2]["last"] or {}).get("step") == 8, "the second attempt")
                if restarts:
                    self.s.kill()
                    self.s.start()
                (self.s.home / "2.2").touch()
                wait(lambda: len(self.trials(sweep)) >= 7 and self.states(sweep)[2] == "FINISHED", "the next trial")
                if restarts:
                    self.s.kill()
                    self.s.start()
                self.assertEqual(self.trials(sweep)[2]["value"], -5)
                (self.s.home / "6.1").touch()
                wait(lambda: len(self.trials(sweep)) >= 8, "the one after it")
                picked.append([(t["params"], t["made"]["results"], t["made"]["told_at"]) for t in self.trials(sweep)[:8]])
        self.assertEqual([p[0] for p in picked[0]], [p[0] for p in picked[1]])
        self.assertEqual([p[1] for p in picked[0]], [p[1] for p in picked[1]])
        self.assertEqual([p[2] for p in picked[0]][:7], [p[2] for p in picked[1]][:7])

    def test_a_loser_is_stopped(self):
        with Service(WINNOW, arguments=["--slots", "2"]) as self.s:
            job = self.script("""
                i=0
                while [ $i -lt 400 ]; do
                  i=$((i + 1))
                  echo "step=$i loss=$(($1 * i))"
                  [ $1 = 0 ] && [ $i = 5 ] && exit 0
                  sleep 0.05
                done
                """)
            sweep = self.submit({"name": "losers", "method": "grid", "metric": {"name": "loss"}, "command": ["sh", job, "{{k}}"],
                                 "early_terminate": {"type": "threshold", "max": 100}, "parameters": {"k": {"values": [0, 30]}}})["id"]
            over = self.ended(sweep)
            good, bad = self.trials(sweep)
            self.assertEqual((over["state"], good["state"], bad["state"]), ("FINISHED", "FINISHED", "STOPPED"))
            self.assertEqual(bad["stop"]["rule"], "threshold")
            self.assertIn("120", bad["stop"]["reason"])

    def test_what_a_client_logs_is_heard_by_the_rules(self):
        """A job that prints nothing and logs as MLflow's client does, or over /api/v1: each value counts, and a loser is stopped for it."""
        job = """
            import json, os, sys, time, urllib.request
            family, factor = sys.argv[1], float(sys.argv[2])
            url, run = os.environ["MLFLOW_TRACKING_URI"], os.environ["MLFLOW_RUN_ID"]
            for i in range(1, 6 if factor == 0 else 2000):
                point = {"key": "loss", "value": factor * i}
                path, body = {
                    "log-metric": ("/api/2.0/mlflow/runs/log-metric", {"run_id": run, "timestamp": 1, "step": i, **point}),
                    "log-batch": ("/api/2.0/mlflow/runs/log-batch", {"run_id": run, "metrics": [{"timestamp": 1, "step": i, **point}],
                                                                      "tags": [{"key": "at", "value": str(i)}]}),
                    "points": (f"/api/v1/runs/{run}/metrics", {"points": [{"step": i, **point}]}),
                }[family]
                urllib.request.urlopen(urllib.request.Request(url + path, json.dumps(body).encode(), {
                    "Content-Type": "application/json", "Authorization": "Bearer " + os.environ["MLFLOW_TRACKING_TOKEN"]})).read()
                time.sleep(0.05)
            """
        with Service(WINNOW, arguments=["--slots", "2"]) as self.s:
            sweep = self.submit({"name": "logged", "method": "grid", "metric": {"name": "loss"},
                                 "command": [sys.executable, self.script(job), "{{how}}", "{{k}}"],
                                 "early_terminate": {"type": "threshold", "max": 100},
                                 "parameters": {"how": {"values": ["log-metric", "log-batch", "points"]}, "k": {"values": [0, 30]}}})["id"]
            over = self.ended(sweep)
            trials = self.trials(sweep)
            self.assertEqual((over["state"], len(trials)), ("FINISHED", 6))
            for trial in trials:
                if trial["params"]["k"] == 0:
                    self.assertEqual((trial["state"], trial["last"]["step"]), ("FINISHED", 5), trial)
                else:
                    self.assertEqual((trial["state"], trial["stop"]["rule"], trial["stop"]["step"]), ("STOPPED", "threshold", 4), trial)
                    self.assertIn("120", trial["stop"]["reason"])
            # Who may not write the run is not heard either: here somebody without a credential.
            run = trials[0]["run_id"]
            refused = self.s.post("/api/2.0/mlflow/runs/log-metric", {"run_id": run, "key": "loss", "value": 999, "timestamp": 1}, unix=False)
            self.assertEqual(refused.status, 403, refused)
            self.assertEqual(self.trials(sweep)[0]["value"], trials[0]["value"])

    def test_jobs_go_on_without_the_service(self):
        with Service(WINNOW, arguments=["--slots", "2"]) as self.s:
            job = self.script("""
                echo "$1" >> $2/ran
                for i in 1 2 3 4 5 6; do
                  echo "step=$i loss=$1"
                  sleep 0.3
                done
                """)
            sweep = self.submit({"name": "kill", "method": "grid", "metric": {"name": "loss"}, "command": ["sh", job, "{{k}}", str(self.s.home)],
                                 "parameters": {"k": {"values": [1, 2, 3, 4, 5, 6]}}})["id"]
            for _ in range(3):
                time.sleep(1.0)
                self.s.kill()
                time.sleep(0.3)
                self.s.start()
            over = self.ended(sweep)
            trials = self.trials(sweep)
            self.assertEqual((over["state"], over["progress"]["finished"]), ("FINISHED", 6), trials)
            self.assertEqual([t["value"] for t in trials], [1, 2, 3, 4, 5, 6])
            self.assertEqual({t["attempt"] for t in trials}, {1})
            self.assertEqual(sorted((self.s.home / "ran").read_text().split()), list("123456"))

    def test_times_hold_while_no_service_is_there(self):
        """What is printed meanwhile has the time when it was printed, and an end its own, not that of the service's return."""
        with Service(WINNOW) as self.s:
            for pause in ("0.2", "1", "4"):  # a companion that a slow machine holds up sees several lines at once
                if len(set(self.times_of_a_job_without_service(pause))) > 4:
                    return
            self.fail("they have hardly any time of their own")

    def times_of_a_job_without_service(self, pause):
        job = "i=0; while [ $i -lt 12 ]; do i=$((i+1)); echo step=$i loss=1; until [ $i -gt 1 ] || [ -e $1.go ]; do sleep 0.05; done; sleep $2; done; touch $1"
        over = self.s.home / f"over-{pause}"
        sweep = self.submit({"name": "away", "metric": {"name": "loss"}, "command": ["sh", "-c", job, "-", str(over), pause],
                             "parameters": {"a": {"values": [1]}}})["id"]
        run = wait(lambda: (t := self.trials(sweep)) and t[0]["value"] == 1 and t[0]["run_id"], "the first report")
        self.s.kill()
        pathlib.Path(f"{over}.go").touch()
        wait(over.exists, "the last thing the command does")
        wait((self.s.data / "jobs" / run / "1" / "exit").exists, "the note of its end")
        back = time.time() * 1000
        self.s.start()
        self.assertEqual(self.ended(sweep)["state"], "FINISHED")
        trial = self.trials(sweep)[0]
        self.assertLessEqual(trial["ended"], back, trial)
        rows = self.s.get(f"/api/v1/series?run={trial['run_id']}&key=loss&raw=true").body.decode().splitlines()
        times = [int(row["time"]) for row in csv.DictReader(rows)]
        self.assertEqual(len(times), 12)
        self.assertEqual(times, sorted(times))
        self.assertLessEqual(times[-1], back)
        return times

    def test_budgets_go_on_over_a_restart(self):
        """Attempts that ended before it, the one that runs while no service is there, and the sweep's own time."""
        with Service(WINNOW, arguments=["--slots", "2"]) as self.s:
            go = self.s.home / "go"
            job = 'test $1 = 1 && sleep 0.5; echo loss=$1; test -e $2.$1 || { touch $2.$1; exit 1; }; while [ $1 = 2 ] && [ ! -e $2 ]; do sleep 0.1; done'
            sweep = self.submit({"name": "budget", "method": "grid", "metric": {"name": "loss"}, "retries": {"max": 1, "on": ["failed"]},
                                 "resources": {"slots": 2}, "command": ["sh", "-c", job, "-", "{{k}}", str(go)],
                                 "parameters": {"k": {"values": [1, 2]}}})["id"]
            wait(lambda: [(t["state"], t["attempt"]) for t in self.trials(sweep)] == [("FINISHED", 2), ("RUNNING", 2)], "the second trial")
            before = self.sweep(sweep)
            self.s.kill()
            away = time.time()
            time.sleep(1)
            away = time.time() - away
            self.s.start()
            after = self.sweep(sweep)
            self.assertGreaterEqual(after["slot_seconds"]["used"], 2 * (0.8 + away))
            self.assertGreaterEqual(after["slot_seconds"]["used"], before["slot_seconds"]["used"])
            go.touch()
            self.assertEqual(self.ended(sweep)["state"], "FINISHED")

    def test_one_damaged_row_stops_nobody_else(self):
        """Its sweep rests and says which row it is, its job goes on and keeps its slot, and all is taken up again once the row is mended."""
        with Service(WINNOW, arguments=["--slots", "2"]) as self.s:
            gates, sweeps = zip(*(self.held_back(name=name, method="random", run_cap=3, max_parallel=1) for name in ("hurt", "sound")))
            hurt, sound = sweeps
            for gate, sweep in zip(gates, sweeps):
                pathlib.Path(f"{gate}.one").touch()
                wait(lambda: self.states(sweep) == ["FINISHED", "RUNNING"], "the first trial, and another one")
            run = self.trials(hurt)[0]["run_id"]
            row = f"select coords, state, version, cause from winnow.run where id = '{run}'"
            before, trials = self.s.sql(row), self.trials(hurt)
            coords, state, version, cause = before.split("|")
            for change, word in (("coords = 'abc'", "3 bytes"), ("coords = null", "0 bytes"), ("coords = '\\x000000000000f87f'", '"x"'), ("version = 0", "version"),
                                 ("state = 77", "state"), ("cause = -1", "cause")):
                self.s.sql(f"update winnow.run set {change} where id = '{run}'")
                self.s.kill()
                self.s.start()
                shown = self.sweep(hurt)
                self.assertEqual(shown["state"], "RUNNING")
                self.assertRegex(shown["state_reason"], f"damaged: .*trial 0 .*{run}.*{word}.*nothing of it was changed: mend the row")
                self.assertEqual([s["state_reason"] for s in self.ok(self.s.get("/api/v1/sweeps"))["items"]], [None, shown["state_reason"]])
                self.assertEqual([t["run_id"] for t in self.trials(hurt)], [t["run_id"] for t in trials])
                for path in (f"sweeps/{hurt}/pause", f"sweeps/{hurt}/ask", f"runs/{run}/retry", f"runs/{run}/stop"):
                    refused = self.s.post(f"/api/v1/{path}")
                    self.assertEqual(refused.status, 409, refused)
                    self.assertIn("damaged", refused.json["detail"])
                self.assertEqual(self.ok(self.s.get(f"/api/v1/runs/{trials[1]['run_id']}"))["state_reason"], shown["state_reason"])
                self.assertEqual(self.sweep(sound)["progress"]["running"], 1)
                self.assertEqual(self.ok(self.s.get("/api/v1/nodes"))["items"][0]["slots"]["used"], 2)
                self.s.sql(f"update winnow.run set coords = '{coords}', state = {state}, version = {version}, cause = {cause} where id = '{run}'")
            gates[0].touch()  # what its job says now waits for the service that takes it up again
            gates[1].touch()
            self.assertEqual(self.ended(sound)["state"], "FINISHED")
            self.assertEqual(self.s.sql(row), before)
            self.s.kill()
            self.s.start()
            self.assertEqual((self.ended(hurt)["state"], self.states(hurt)), ("FINISHED", ["FINISHED"] * 3))
            self.assertEqual({t["attempt"] for t in self.trials(hurt)}, {1})

    def test_all_of_a_sweeps_rows_are_damaged(self):
        """The job of a row that cannot be read is told to wait, and not that nobody waits for it; its slot is its own until the sweep is deleted."""
        with Service(WINNOW, arguments=["--slots", "2"]) as self.s:
            gate, sweep = self.held_back(name="hurt", method="random", run_cap=2, max_parallel=1)
            pathlib.Path(f"{gate}.one").touch()
            wait(lambda: self.states(sweep) == ["FINISHED", "RUNNING"], "the first trial, and another one")
            run = self.trials(sweep)[1]["run_id"]
            for change, has_strangers in (("version = -version", False), ("trial = -1 - trial", True)):
                self.s.sql(f"update winnow.run set {change} where sweep_id = '{sweep}'")
                self.s.kill()
                self.s.start()
                self.assertIn("damaged: ", self.sweep(sweep)["state_reason"])
                self.assertEqual(self.s.post(f"/api/v1/companion/{run}/1/heartbeat").status, 503)
                self.assertEqual(self.s.post(f"/api/v1/companion/{'7' * 32}/1/heartbeat").status, 503 if has_strangers else 409)
                self.assertEqual(self.used(), 1)
                self.s.sql(f"update winnow.run set {change} where sweep_id = '{sweep}'")
            self.s.sql(f"update winnow.run set version = -version where sweep_id = '{sweep}'")
            self.s.kill()
            self.s.start()
            self.assertTrue(self.alive())
            self.assertEqual(self.used(), 1)
            self.assertEqual(self.s.request("DELETE", f"/api/v1/sweeps/{sweep}").status, 204)
            wait(lambda: self.used() == 0, "a free slot")
            self.assertFalse(self.alive())

    def test_a_damaged_sweeps_jobs_keep_their_slots_and_can_be_ended(self):
        """Whatever cannot be read of it: nobody else gets their slots before they have ended, and its rows stay as they are."""
        with Service(WINNOW, arguments=["--slots", "2"]) as self.s:
            _, sweep = self.held_back(name="hurt", method="random", run_cap=4, max_parallel=1, resources={"slots": 2})
            wait(lambda: self.states(sweep) == ["RUNNING"], "a trial")
            run = self.trials(sweep)[0]["run_id"]
            spec = self.s.sql(f"select spec from winnow.sweep where id = '{sweep}'").replace("'", "''")
            rows = f"select version, state, cause, dead from winnow.run where id = '{run}'"
            before = self.s.sql(rows)
            self.restarted_with_spec(sweep, "{")
            self.assertEqual(self.used(), 2)
            waiting = self.ok(self.s.post("/api/v1/runs", {"command": ["true"]}), 201)["id"]
            entry, = wait(lambda: self.ok(self.s.get("/api/v1/queue"))["items"], "a queue")
            self.assertEqual(entry["run_id"], waiting)
            self.assertEqual(self.s.post(f"/api/v1/sweeps/{sweep}/stop", unix=False).status, 401)
            self.assertTrue(self.alive())
            told = self.ok(self.s.post(f"/api/v1/sweeps/{sweep}/stop"))
            self.assertRegex(told["state_reason"], "damaged: ")
            wait(lambda: self.ok(self.s.get(f"/api/v1/runs/{waiting}"))["state"] == "FINISHED", "its turn")
            self.assertFalse(self.alive())
            self.ok(self.s.post(f"/api/v1/sweeps/{sweep}/stop"))
            wait(lambda: self.used() == 0, "free slots")  # the end of a run is stored before its companion has gone
            self.assertEqual(self.s.sql(rows), before)

            # Once it is mended it is known how that one ended, and the sweep goes on.
            self.restarted_with_spec(sweep, spec)
            wait(lambda: self.states(sweep) == ["FAILED", "RUNNING"], "the next trial")
            self.assertIn("told to end it", self.trials(sweep)[0]["state_reason"])

            # One run of a sweep of which a row is damaged.
            second = self.trials(sweep)[1]["run_id"]
            self.s.sql(f"update winnow.run set version = -version where id = '{run}'")
            self.s.kill()
            self.s.start()
            self.assertEqual((self.used(), self.s.post(f"/api/v1/runs/{run}/stop").status), (2, 409))
            self.assertEqual(self.ok(self.s.post(f"/api/v1/runs/{second}/stop"))["state"], "RUNNING")
            wait(lambda: self.used() == 0, "free slots")
            self.assertFalse(self.alive())
            self.s.sql(f"update winnow.run set version = -version where id = '{run}'")

            # A service that ends with its jobs ends those too.
            self.restarted_with_spec(sweep, spec)
            wait(lambda: self.states(sweep) == ["FAILED", "FAILED", "RUNNING"], "the next trial")
            self.restarted_with_spec(sweep, "{")
            self.assertTrue(self.alive())
            self.assertEqual(self.s.post("/api/v1/shutdown?now=true").status, 202)
            self.assertEqual(self.s.process.wait(60), 0)
            self.assertFalse(self.alive())
            self.assertNotIn("have not ended in their time", self.s.log())

    def test_a_damaged_launched_run_can_be_deleted(self):
        """Whichever protocol it is deleted by, before the damage is found or after: its job ends, and it can be purged."""
        delete = {"ours": lambda run: self.assertEqual(self.s.request("DELETE", f"/api/v1/runs/{run}").status, 204),
                  "mlflow": lambda run: self.ok(self.s.post("/api/2.0/mlflow/runs/delete", {"run_id": run}))}
        with Service(WINNOW, arguments=["--slots", "2"]) as self.s:
            for how, damage in (("ours", "set spec = '{'"), ("mlflow", "set why = -1")):
                command = ["sh", "-c", f"until [ -e {self.s.home}/gate-never ]; do sleep 0.05; done"]
                run, early = (self.ok(self.s.post("/api/v1/runs", {"command": command, "stop_grace": 1}), 201)["id"] for _ in range(2))
                for one in (run, early):
                    wait(lambda: self.s.sql(f"select state from winnow.run where id = '{one}'") == "2", "the start")
                delete[how](early)
                self.s.sql(f"update winnow.sweep {damage} where single")
                self.s.kill()
                self.s.start()
                self.assertRegex(self.ok(self.s.get(f"/api/v1/runs/{run}"))["state_reason"], "damaged: .*launch it again")
                self.assertEqual(self.used(), 2)
                self.purge()
                self.assertEqual(self.s.sql("select count(*) from winnow.run"), "2")
                for one in (run, early, run):
                    delete[how](one)
                wait(lambda: self.used() == 0, "free slots")
                self.assertFalse(self.alive())
                self.assertEqual(self.s.sql("select distinct state, end_time is not null, state_reason from winnow.run"), "7|t|deleted while it was damaged")
                self.s.kill()
                self.s.start()
                self.assertNotIn("damaged", self.ok(self.s.get(f"/api/v1/runs/{run}"))["state_reason"][:8])
                self.purge()
                self.assertEqual(self.s.sql("select (select count(*) from winnow.run), (select count(*) from winnow.sweep)"), "0|0")

    def purge(self):
        self.assertEqual(self.s.post("/api/v1/admin/purge", {"older_than": 0}).status, 200)

    def restarted_with_spec(self, sweep, spec):
        self.s.sql(f"update winnow.sweep set spec = '{spec}' where id = '{sweep}'")
        self.s.kill()
        self.s.start()

    def used(self):
        return self.ok(self.s.get("/api/v1/nodes"))["items"][0]["slots"]["used"]

    def test_a_damaged_sweep_can_be_deleted(self):
        with Service(WINNOW, arguments=["--slots", "2"]) as self.s:
            _, sweep = self.held_back(name="gone", method="random", run_cap=3, max_parallel=1)
            wait(lambda: self.states(sweep) == ["RUNNING"], "a trial")
            for damage, word in (("warnings = '[7]'", "warning 0 is no text"), ("warnings = '[]', spec = '{'", "")):
                self.s.sql(f"update winnow.sweep set {damage} where id = '{sweep}'")
                self.s.kill()
                self.s.start()
                shown = self.sweep(sweep)
                self.assertEqual((shown["name"], shown["state"], shown["progress"]), ("gone", "RUNNING", None))
                self.assertRegex(shown["state_reason"], f"damaged: its row .*{sweep}.*{word}")
            env = {**os.environ, "WINNOW_URL": f"unix:{self.s.data}/winnow.sock"}
            for verb in (["sweep", "ls"], ["sweep", "show", sweep], ["trial", "ls", sweep]):
                done = subprocess.run([WINNOW, *verb], capture_output=True, text=True, timeout=60, env=env)
                self.assertEqual(done.returncode, 0, done)
            self.assertEqual(self.s.request("DELETE", f"/api/v1/sweeps/{sweep}").status, 204)
            self.assertEqual(self.s.get(f"/api/v1/sweeps/{sweep}").status, 404)
            wait(lambda: not self.alive(), "the end of its job")
            self.assertEqual(self.s.sql("select state, end_time is not null, state_reason from winnow.run where trial is not null"), "7|t|its damaged sweep was deleted")
            self.purge()
            self.assertEqual(self.s.sql("select (select count(*) from winnow.run), (select count(*) from winnow.sweep)"), "0|0")

    def alive(self):
        """Is there a process that waits for a gate of this service?"""
        here = str(self.s.home).encode()
        for entry in filter(str.isdigit, os.listdir("/proc")):
            try:
                if here + b"/gate-" in pathlib.Path(f"/proc/{entry}/cmdline").read_bytes():
                    return True
            except OSError:
                pass
        return False

    def test_parameters_stand_in_the_order_of_the_file(self):
        """Wherever they are shown, while the sweep is in memory and when it is not."""
        names = ["zeta", "lr", "epochs", "a", "nest"]
        spec = {"name": "order", "method": "random", "run_cap": 2, "metric": {"name": "loss"}, "command": ["sh", "-c", "echo loss=1"], "parameters": {
            "zeta": {"min": 0.0, "max": 1.0}, "lr": {"min": 0.0, "max": 1.0}, "epochs": {"values": [1, 2]}, "a": {"value": 3},
            "nest": {"parameters": {"zz": {"min": 0.0, "max": 1.0}, "y": {"min": 0.0, "max": 1.0}}}}}
        with Service(WINNOW, arguments=["--slots", "2"]) as self.s:
            env = {**os.environ, "WINNOW_URL": f"unix:{self.s.data}/winnow.sock"}
            cli = lambda *words: subprocess.run([WINNOW, *words], capture_output=True, text=True, timeout=60, env=env).stdout
            sweep = self.submit(spec)["id"]
            self.ended(sweep)
            for _ in range(2):
                over, trials = self.sweep(sweep), self.trials(sweep)
                run = trials[0]["run_id"]
                listed = next(s for s in self.ok(self.s.get("/api/v1/sweeps"))["items"])
                best = self.ok(self.s.get(f"/api/v1/sweeps/{sweep}/best"))["items"][0]
                for shown in (over["spec"]["parameters"], over["best"]["params"], listed["best"]["params"], best["params"], *(t["params"] for t in trials)):
                    self.assertEqual(list(shown), names)
                self.assertEqual(list(over["best"]["params"]["nest"]), ["zz", "y"])
                flat = [*names[:4], "nest.zz", "nest.y"]
                self.assertEqual(list(self.ok(self.s.get(f"/api/v1/runs/{run}"))["params"]), flat)
                for words in (["trial", "ls", sweep], ["sweep", "best", sweep], ["sweep", "show", sweep]):
                    self.assertRegex(cli(*words), r"zeta=\S+ lr=\S+ epochs=\S+ a=3 nest=.\"zz")
                self.assertRegex(cli("trial", "ls", sweep, "-o", "csv"), '"zeta.*"lr.*"epochs.*"a.*"nest.*"zz.*"y"')
                self.assertRegex(cli("trial", "show", run), "zeta=.*lr=.*epochs=.*a=3 .*nest.zz=.*nest.y=")
                self.assertEqual([line.split()[0] for line in cli("run", "params", run).splitlines()], flat)
                self.s.stop()
                self.s.start()

    def test_from_the_command_line(self):
        with Service(WINNOW, arguments=["--slots", "2"]) as self.s:
            (self.s.home / "sweep.yaml").write_text(textwrap.dedent("""
                method: grid
                metric: {name: loss}
                command: [sh, train.sh, "{{a}}"]
                parameters: {a: {values: [3, 1, 2]}}
                """))
            (self.s.home / "train.sh").write_text('echo "loss=$1"\n')
            env = {**os.environ, "WINNOW_URL": f"unix:{self.s.data}/winnow.sock"}
            done = subprocess.run([WINNOW, "up", str(self.s.home / "sweep.yaml")], capture_output=True, text=True, timeout=120, env=env)
            self.assertEqual(done.returncode, 0, done)
            listed = subprocess.run([WINNOW, "sweep", "ls", "-o", "json"], capture_output=True, text=True, timeout=60, env=env)
            sweep = json.loads(listed.stdout)["items"][0]
            self.assertEqual((sweep["name"], sweep["state"], sweep["best"]["value"]), ("sweep", "FINISHED", 1.0))

            # One that cannot work fails, and its trials say why.
            (self.s.home / "wrong.yaml").write_text("command: [sh, -c, 'echo train_loss=0.5']\nmetric: {name: loss}\nparameters: {a: {values: [1, 2]}}\nmethod: grid\n")
            done = subprocess.run([WINNOW, "up", str(self.s.home / "wrong.yaml")], capture_output=True, text=True, timeout=120, env=env)
            self.assertEqual(done.returncode, 7, done)
            self.assertIn("all its trials have failed", done.stdout)
            listed = subprocess.run([WINNOW, "trial", "ls", "@latest"], capture_output=True, text=True, timeout=60, env=env)
            self.assertEqual(listed.stdout.count('no_metric: it ended well, but the goal metric "loss" was never seen; the nearest name seen is "train_loss"'), 2, listed)

            # Every mistake of a file is told, each with its place and its remedy.
            (self.s.home / "bad.yaml").write_text("command: [a]\nmetric: {name: x, goal: maximise}\nparameters: {a: {min: 1, max: 2}}\nrun_capp: 3\n")
            done = subprocess.run([WINNOW, "up", str(self.s.home / "bad.yaml")], capture_output=True, text=True, timeout=60, env=env)
            self.assertEqual(done.returncode, 1, done)
            self.assertRegex(done.stderr, 'error: bad.yaml:2:25: .*maximise.*\nhelp: did you mean "maximize"\\?\n'
                                          'error: bad.yaml:4:1: unknown key "run_capp"\nhelp: did you mean "run_cap"\\?\n')


if __name__ == "__main__":
    unittest.main()
