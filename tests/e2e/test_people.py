#!/usr/bin/env python3
"""What people see: who did what, as events that name their actor; what is said of a file that is not as it should be."""
import json, os, pathlib, subprocess, sys, threading, unittest

WINNOW = pathlib.Path(sys.argv.pop(1)).resolve()
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from job_test import JobTest  # noqa: E402
from proxy import Proxy  # noqa: E402
from service import wait  # noqa: E402

ME = f"uid {os.getuid()}"
BEGAN = [("run.state", "QUEUED", "STARTING", None), ("run.state", "STARTING", "RUNNING", None)]


class Deeds(JobTest):
    winnow = WINNOW

    def bearer(self, name, scope="submit"):
        made = self.ok(self.s.post("/api/v1/tokens", {"name": name, "scopes": [scope]}), 201)
        return {"Authorization": f"Bearer {made['token']}", "Content-Type": "application/json"}

    def told(self, kind, id, keys=("kind", "from", "to", "actor")):
        return [tuple(e[key] for key in keys) for e in self.ok(self.s.get(f"/api/v1/{kind}/{id}/events"))["items"]]

    def submit(self, **more):
        spec = {"name": "steered", "method": "grid", "metric": {"name": "loss"}, "command": ["sh", "-c", "echo loss=1; exec sleep 600"],
                "parameters": {"a": {"values": [1, 2, 3]}}, "max_parallel": 1, "stop_grace": 0, **more}
        spec = {key: value for key, value in spec.items() if value is not None}
        return self.ok(self.s.post("/api/v1/sweeps", spec), 201)["id"]

    def running(self, sweep):
        return wait(lambda: [t for t in self.trials(sweep) if t["state"] == "RUNNING"], "a trial that runs")[0]

    def test_a_worker_tries_it_again(self):
        sweep = self.submit(command=None, max_parallel=None, stop_grace=None)
        ask = lambda: self.ok(self.s.post(f"/api/v1/sweeps/{sweep}/ask"))["trials"][0]["run_id"]
        run = ask()
        self.ok(self.s.post(f"/api/v1/sweeps/{sweep}/tell", {"trials": [{"run_id": run, "state": "FAILED"}]}))
        self.ok(self.s.post(f"/api/v1/runs/{run}/retry"))
        self.assertEqual(ask(), run)
        self.assertEqual(self.told("runs", run)[-2:], [("run.state", "FAILED", "QUEUED", ME), ("run.state", "QUEUED", "RUNNING", None)])

    def test_events_while_the_database_refuses(self):
        sweep = self.submit()
        self.s.sql("alter table event rename to elsewhere")
        self.assertEqual(self.s.get(f"/api/v1/sweeps/{sweep}/events").status // 100, 5)
        self.s.sql("alter table elsewhere rename to event")
        self.assertEqual(self.told("sweeps", sweep), [("sweep.created", None, "RUNNING", ME)])

    def test_steering_a_sweep(self):
        ci = self.bearer("ci ☃")
        sweep = self.submit()
        self.running(sweep)
        steer = lambda what, headers=None: self.ok(self.s.post(f"/api/v1/sweeps/{sweep}/{what}", headers=headers))
        steer("pause", ci)
        steer("pause")  # it is paused: nothing happened
        steer("resume")
        self.ok(self.s.request("PATCH", f"/api/v1/sweeps/{sweep}", {"run_cap": 2, "max_time": "2h", "priority": 0, "notes": "why"}, headers=ci))
        steer("drain")
        steer("stop", ci)
        self.assertEqual(self.ended(sweep)["state"], "STOPPED")
        deeds = [("sweep.created", None, "RUNNING", ME), ("sweep.state", "RUNNING", "PAUSED", "token ci ☃"), ("sweep.state", "PAUSED", "RUNNING", ME),
                 ("sweep.edited", "run_cap none, max_time none, priority 0, notes", "run_cap 2, max_time 2h, priority 0, notes", "token ci ☃"),
                 ("sweep.state", "RUNNING", "DRAINING", ME), ("sweep.state", "DRAINING", "DRAINING", "token ci ☃"),
                 ("sweep.state", "DRAINING", "STOPPED", None)]
        wait(lambda: len(self.told("sweeps", sweep)) == len(deeds), "the end to be stored")
        self.assertEqual(self.told("sweeps", sweep), deeds)
        self.assertEqual(self.told("sweeps", sweep, ["reason"])[-3:], [("a person wants no new trials",), ("a person stopped it",), ("a person stopped it",)])
        self.s.kill()
        self.s.start()
        self.assertEqual(self.told("sweeps", sweep), deeds)
        first = self.ok(self.s.get(f"/api/v1/sweeps/{sweep}/events?limit=3"))
        rest = self.ok(self.s.get(f"/api/v1/sweeps/{sweep}/events?cursor={first['next']}"))
        self.assertEqual([e["to"] for e in first["items"] + rest["items"]], [to for _, _, to, _ in deeds])
        # On the command line.
        shown = self.cli("sweep", "show", sweep).stdout
        self.assertRegex(shown, f"(?m)^Submitted by +{ME}$")
        self.assertRegex(shown, f"(?m)^Steered +PAUSED by token ci ☃, RUNNING by {ME}, edit \\(run_cap 2, .*\\) by token ci ☃, DRAINING by {ME}, DRAINING by token ci ☃$")
        listed = self.cli("sweep", "events", sweep, "-o", "csv").stdout
        self.assertIn("sweep.state,RUNNING,PAUSED,token ci ☃", listed)
        self.assertEqual(self.s.get("/api/v1/sweeps/" + "0" * 32 + "/events").json["code"], "not_found")
        self.assertIn("winnow sweep ls", self.cli("sweep", "events", "0" * 32, code=3).stderr)

    def test_ending_a_trial_and_trying_it_again(self):
        ci = self.bearer("ci")
        sweep = self.submit()
        trial = self.running(sweep)["run_id"]
        self.ok(self.s.post(f"/api/v1/runs/{trial}/stop", headers=ci))
        self.ok(self.s.post(f"/api/v1/runs/{trial}/stop"))  # it is being ended
        wait(lambda: self.ok(self.s.get(f"/api/v1/runs/{trial}"))["state"] == "KILLED", "the end")
        began = [("run.created", None, "QUEUED", None), *BEGAN, ("run.state", "RUNNING", "STOPPING", "token ci")]
        self.assertEqual(self.told("runs", trial), [*began, ("run.state", "STOPPING", "KILLED", None)])
        self.ok(self.s.post(f"/api/v1/sweeps/{sweep}/pause"))
        self.ok(self.s.post(f"/api/v1/runs/{trial}/retry"))
        self.assertEqual(self.told("runs", trial)[-2:], [("run.state", "STOPPING", "KILLED", None), ("run.state", "KILLED", "QUEUED", ME)])
        self.cli("trial", "stop", "-y", trial)
        self.assertEqual(self.told("runs", trial), [*began, ("run.state", "STOPPING", "KILLED", None), ("run.state", "KILLED", "QUEUED", ME),
                                                    ("run.state", "QUEUED", "KILLED", ME)])
        enqueued = self.ok(self.s.request("POST", f"/api/v1/sweeps/{sweep}/trials", {"params": {"a": 3}}, headers=ci), 201)["run_id"]
        self.assertEqual(self.told("runs", enqueued), [("run.created", None, "QUEUED", None), ("run.enqueued", None, None, "token ci")])
        self.ok(self.s.post(f"/api/v1/sweeps/{sweep}/stop"))
        self.assertEqual(self.ended(sweep)["state"], "STOPPED")
        # After its sweep, whose end is stored by and by, and which so begins again.
        again = wait(lambda: (answer := self.s.post(f"/api/v1/runs/{trial}/retry", headers=ci)).status != 503 and answer, "the end to be stored")
        self.ok(again)
        self.assertIn(("run.state", "KILLED", "QUEUED", "token ci"), self.told("runs", trial))
        self.assertIn(("sweep.state", "STOPPED", "DRAINING", "token ci"), self.told("sweeps", sweep))
        self.assertIn("token ci", self.cli("run", "events", trial).stdout)

    def test_a_launched_run(self):
        run = self.ok(self.s.post("/api/v1/runs", {"command": ["sleep", "600"], "stop_grace": 0}, headers=self.bearer("ci")), 201)["id"]
        wait(lambda: self.ok(self.s.get(f"/api/v1/runs/{run}"))["state"] == "RUNNING", "the start")
        self.ok(self.s.post(f"/api/v1/runs/{run}/stop"))
        wait(lambda: self.ok(self.s.get(f"/api/v1/runs/{run}"))["state"] == "KILLED", "the end")
        self.assertEqual(self.told("runs", run), [("run.created", None, "QUEUED", "token ci"), *BEGAN,
                                                  ("run.state", "RUNNING", "STOPPING", ME), ("run.state", "STOPPING", "KILLED", None)])
        self.assertEqual(self.s.get(f"/api/v1/sweeps/{run}/events").status, 404)
        for _ in range(2):
            self.ok(self.s.request("PATCH", f"/api/v1/runs/{run}", {"name": "renamed"}))
        self.assertEqual([e[3] for e in self.told("runs", run) if e[0] == "run.renamed" and e[2] == "renamed"], [ME])

    def events(self, run):
        """The states it went through, each from the one before, in the order of their times."""
        events = [e for e in self.ok(self.s.get(f"/api/v1/runs/{run}/events"))["items"] if e["kind"] in ("run.created", "run.state")]
        self.assertEqual([e["from"] for e in events[1:]], [e["to"] for e in events[:-1]])
        self.assertEqual([e["time"] for e in events], sorted(e["time"] for e in events))
        return [(e["to"], e["actor"], e["reason"]) for e in events]

    def test_a_verdict_and_the_end_of_a_sweep(self):
        rule = {"type": "threshold", "metric": "loss", "max": 20}
        sweep = self.submit(command=["sh", "-c", "trap '' TERM; echo loss=$((10 * {{a}})); sleep 600"], early_terminate=rule,
                            parameters={"a": {"values": [3, 1]}}, max_parallel=2)
        wait(lambda: [t["state"] for t in self.trials(sweep)] == ["STOPPED", "RUNNING"] and self.trials(sweep)[1]["value"], "the verdict")
        self.ok(self.s.post(f"/api/v1/sweeps/{sweep}/stop", headers=self.bearer("ci")))
        self.assertEqual(self.ended(sweep)["state"], "STOPPED")
        stopped, killed = self.trials(sweep)
        began = [("QUEUED", None, None), ("STARTING", None, None), ("RUNNING", None, None)]
        why = stopped["stop"]["reason"]
        self.assertEqual(self.events(stopped["run_id"]), [*began, ("STOPPING", None, why), ("STOPPED", None, why)])
        why = "ended with its sweep"
        self.assertEqual(self.events(killed["run_id"]), [*began, ("STOPPING", "token ci", why), ("KILLED", None, why)])
        self.assertEqual(self.s.sql(f"select count(*) from event where run in ('{stopped['run_id']}', '{killed['run_id']}')"), "2")

    def test_a_verdict_on_what_was_not_yet_stored_as_running(self):
        """While a transaction waits, a trial is heard of for the first time and judged: its row goes from STARTING to STOPPING at once."""
        proxy = Proxy(self.s)
        self.addCleanup(proxy.close)
        other = self.submit(name="other", command=None, max_parallel=None, stop_grace=None)
        held = self.ok(self.s.post(f"/api/v1/sweeps/{other}/ask"))["trials"][0]["run_id"]
        proxy.put_between()
        proxy.pause()
        sweep = self.submit(command=["sh", "-c", f"touch {self.work}/begun; echo loss=30; sleep 600"], parameters={"a": {"values": [1]}},
                            early_terminate={"type": "threshold", "metric": "loss", "max": 20})
        wait((self.work / "begun").exists, "the job")
        run = wait(lambda: self.s.sql(f"select id from run where sweep_id = '{sweep}' and state = 1"), "the row of its start").replace("-", "")
        lock = subprocess.Popen(self.s.psql(), env=self.s.psql_env(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        lock.stdin.write(f"begin; select 'locked' from run where id = '{held}' for update;\n")
        lock.stdin.flush()
        self.assertEqual(lock.stdout.readline().strip(), "locked")
        tell = threading.Thread(target=self.s.post, args=(f"/api/v1/sweeps/{other}/tell", {"trials": [{"run_id": held, "value": 1}]}))
        tell.start()
        wait(lambda: self.s.sql("select 1 from pg_locks where not granted limit 1"), "a transaction that waits")
        proxy.resume()
        wait(lambda: "loss" in self.ok(self.s.get(f"/api/v1/runs/{run}"))["metrics"], "what it said")
        lock.communicate("commit;\n")
        tell.join()
        self.ended(sweep)
        trial, = self.trials(sweep)
        why = trial["stop"]["reason"]
        self.assertEqual(self.events(run), [("QUEUED", None, None), ("STARTING", None, None), ("RUNNING", None, None), ("STOPPING", None, why), ("STOPPED", None, why)])

    def test_a_wait_and_further_attempts(self):
        """What is on the rows of runs and attempts costs no event."""
        # The second attempt is stored as running before it ends: both at once would be one change of its row.
        job = f"[ $WINNOW_ATTEMPT = 2 ] || exit 1; until [ -e {self.work}/go ]; do sleep 0.05; done"
        sweep = self.submit(command=["sh", "-c", job], metric=None, retries={"max": 1, "on": ["failed"]}, parameters={"a": {"value": 1}})
        wait(lambda: [(t["state"], t["attempt"]) for t in self.trials(sweep)] == [("RUNNING", 2)], "the second attempt")
        (self.work / "go").touch()
        self.ended(sweep)
        run = self.trials(sweep)[0]["run_id"]
        began = [("QUEUED", None, None), ("STARTING", None, None), ("RUNNING", None, None)]
        events = self.ok(self.s.get(f"/api/v1/runs/{run}/events"))["items"]
        self.assertEqual([(e["to"], e["reason"]) for e in events], [
            ("QUEUED", None), ("STARTING", None), ("RUNNING", None), ("FAILED", "exit code 1"), ("STARTING", "attempt 2"), ("RUNNING", None), ("FINISHED", None)])
        self.assertEqual(self.s.sql(f"select string_agg(from_state || ' ' || to_state, ',') from event where run = '{run}'"), "STARTING RUNNING")
        # As if the first attempt had been lost, and the second one too before it ran: both are told.
        self.s.sql(f"""delete from event where run = '{run}'; update run_attempt set state = 8, reason = 'gone' where run = '{run}';
            update run set state = 8, state_reason = 'gone again' where id = '{run}';
            insert into event (time, kind, actor, subject, run, from_state, to_state, reason)
            select ended, 'run.state', '', run::text, run, 'RUNNING', 'LOST', 'gone' from run_attempt where run = '{run}' and attempt = 1""")
        self.assertEqual([(e[0], e[2]) for e in self.events(run)[2:]], [("RUNNING", None), ("LOST", "gone"), ("STARTING", "attempt 2"), ("LOST", "gone again")])
        self.ok(self.s.post("/api/v1/sweeps/%s/pause" % (other := self.submit())))
        waits = self.ok(self.s.post(f"/api/v1/sweeps/{other}/trials", {"params": {"a": 3}}), 201)["run_id"]
        self.assertEqual(self.events(waits), began[:1])
        self.ok(self.s.post(f"/api/v1/sweeps/{other}/resume"))
        self.ok(self.s.post(f"/api/v1/sweeps/{other}/stop"))
        self.ended(other)
        self.assertEqual(self.events(waits)[0], began[0])

    def test_lost_and_back(self):
        sweep = self.ok(self.s.post("/api/v1/sweeps", {"name": "away", "method": "random", "parameters": {"x": {"min": 0.0, "max": 1.0}}, "metric": {"name": "y"}}), 201)["id"]
        run = self.ok(self.s.post(f"/api/v1/sweeps/{sweep}/ask", {"lease": 1}))["trials"][0]["run_id"]
        lost = ("LOST", None, "nobody has heard of it any more")
        for _ in range(2):
            wait(lambda: self.events(run)[-1] == lost, "the end of the lease")
            self.s.kill()
            self.s.start()
            told = len(self.events(run))
            self.ok(self.s.post(f"/api/v1/runs/{run}/heartbeat"))
            wait(lambda: len(self.events(run)) > told, "the return")
        self.ok(self.s.post(f"/api/v1/sweeps/{sweep}/tell", {"trials": [{"run_id": run, "value": 1}]}))
        self.assertEqual(self.events(run)[:4], [("RUNNING", None, None), lost, ("RUNNING", None, "a worker has it again"), lost])
        self.assertEqual(self.events(run)[-1], ("FINISHED", None, None))

    def test_the_end_of_all_jobs(self):
        sweep = self.submit()
        trial = self.running(sweep)["run_id"]
        self.ok(self.s.post("/api/v1/shutdown?now=true", headers=self.bearer("night", "admin")), 202)
        self.s.process.wait(60)
        self.s.start()
        self.assertIn(("run.state", "RUNNING", "STOPPING", "token night"), self.told("runs", trial))

    def test_nobody_in_particular(self):
        """An ask-and-tell sweep may be steered without a credential; what a worker does is no deed."""
        sweep = self.ok(self.s.post("/api/v1/sweeps", {"name": "asked", "method": "random", "parameters": {"x": {"min": 0.0, "max": 1.0}},
                                                       "metric": {"name": "y"}}, unix=False), 201)["id"]
        trial = self.ok(self.s.post(f"/api/v1/sweeps/{sweep}/ask", {"count": 1}, unix=False))["trials"][0]["run_id"]
        self.ok(self.s.post(f"/api/v1/sweeps/{sweep}/tell", {"trials": [{"run_id": trial, "value": 1}]}, unix=False))
        self.ok(self.s.post(f"/api/v1/sweeps/{sweep}/pause", unix=False))
        self.assertEqual(self.told("sweeps", sweep), [("sweep.created", None, "RUNNING", "anonymous"), ("sweep.state", "RUNNING", "PAUSED", "anonymous")])
        self.assertEqual([e for e in self.told("runs", trial) if e[3]], [])

    def test_a_database_that_goes_away(self):
        """What was done while nothing could be stored is an event once it can be, and only once."""
        sweep = self.submit()
        self.running(sweep)
        self.s.kill_postgres()
        wait(lambda: self.s.post(f"/api/v1/sweeps/{sweep}/pause").status == 200, "the pause")
        self.assertEqual([e for e in self.told("sweeps", sweep) if e[2] == "PAUSED"], [("sweep.state", "RUNNING", "PAUSED", ME)])

    def test_more_than_one_transaction_takes(self):
        """What was submitted while nothing could be stored is stored when it can be, however much it is."""
        self.s.sql("create function refuse() returns trigger language plpgsql as $$ begin raise 'not now'; end $$; "
                   "create trigger refuse before insert on sweep execute function refuse()")
        spec = {"name": "asked", "method": "random", "parameters": {"x": {"min": 0.0, "max": 1.0}}, "metric": {"name": "y"},
                "register": {"model": "m"}}  # each of three statements
        for _ in range(1400):
            self.assertEqual(self.s.post("/api/v1/sweeps", spec).status, 500)
        self.s.sql("drop trigger refuse on sweep")
        wait(lambda: self.s.sql("select count(*) from sweep") == "1400", "all of them")


class Words(JobTest):
    """What is answered to those who steer says what to do next."""
    winnow = WINNOW

    def test_too_late_and_too_early(self):
        self.put("train.sh", "sleep 600\n")
        file = self.put("late.yaml", "command: [sh, train.sh, '{{lr}}']\nmethod: grid\nstop_grace: 0\nmax_time: 1h\nmetric: {name: acc}\n"
                                     "parameters: {lr: {values: [1, 2]}}\nmax_parallel: 1\n")
        sweep = json.loads(self.cli("sweep", "create", file, "-o", "json").stdout)["id"]
        state = lambda: self.ok(self.s.get(f"/api/v1/sweeps/{sweep}"))["state"]
        wait(lambda: [t["state"] for t in self.trials(sweep)] == ["RUNNING"], "a trial, without which its time would be its end")
        self.cli("sweep", "edit", sweep, "--max-time", "1s")
        wait(lambda: state() == "DRAINING", "its time")
        said = lambda *words, code=5: self.cli(*words, code=code).stderr
        self.assertRegex(said("sweep", "pause", sweep), "the sweep is DRAINING, max_time is used up: it is too late to pause it\n.*winnow sweep resume")
        self.assertRegex(said("sweep", "resume", sweep), "the sweep cannot go on: max_time is used up\n.*winnow sweep edit SWEEP --max-time 2h")
        self.assertIn("the sweep is DRAINING and makes no new trials: max_time is used up", said("trial", "enqueue", sweep, "lr=2"))
        self.cli("sweep", "edit", sweep, "--max-time", "1h")
        self.assertEqual(state(), "RUNNING")
        self.assertRegex(self.cli("sweep", "show", sweep).stdout, f"Steered +edit \\(max_time 1s\\) by {ME}, edit \\(max_time 1h\\) by {ME}\n")
        self.assertRegex(said("trial", "enqueue", sweep, "lrr=2", code=1), 'is no parameter of this space\n.*did you mean "lr"?')
        trial = wait(lambda: [t for t in self.trials(sweep) if t["state"] == "RUNNING"], "a trial")[0]["run_id"]
        self.cli("trial", "stop", trial)
        wait(lambda: self.ok(self.s.get(f"/api/v1/runs/{trial}"))["state"] == "KILLED", "its end")
        self.assertIn("is over: KILLED", self.cli("trial", "stop", trial).stderr)
        self.cli("sweep", "stop", "-y", sweep)
        self.ended(sweep)
        self.assertRegex(said("sweep", "pause", sweep), "the sweep is STOPPED, a person stopped it: it is too late to pause it\n.*winnow sweep clone")

    def test_a_trial_is_shown_with_its_value(self):
        file = self.put("value.yaml", "command: [sh, -c, 'echo epoch 3 acc=0.5']\nmethod: grid\nmetric: {name: acc}\nparameters: {a: {values: [1]}}\n")
        sweep = json.loads(self.cli("sweep", "create", file, "-o", "json").stdout)["id"]
        self.ended(sweep)
        self.assertRegex(self.cli("trial", "show", f"{sweep}/0").stdout, r"(?m)^Value +0.5\nStep +3$")


class Files(JobTest):
    winnow = WINNOW

    def test_one_help_for_several_mistakes(self):
        file = self.put("a.yaml", "parameters:\nlr:\nmin: 0.1\nmax: 1\nmode: max\n")
        said = self.cli("sweep", "create", file, code=1).stderr.splitlines()
        self.assertEqual([line.removeprefix("error: a.yaml:") for line in said if not line.startswith(("request", "help: known keys"))], [
            '2:1: unknown key "lr"', '3:1: unknown key "min"', '4:1: unknown key "max"',
            "help: it belongs below the name of a parameter; check the indentation",
            '5:1: unknown key "mode"', "help: write metric: {name: loss, goal: minimize}"])

    def test_a_script_that_is_not_there(self):
        self.put("train.py", "")
        file = self.put("a.yaml", "command: [python3, trian.py, '${args}']\nmethod: random\nrun_cap: 1\nparameters: {x: {min: 0.0, max: 1.0}}\n")
        self.assertIn(f"warning: command: there is no {self.work}/trian.py\n", self.cli("sweep", "create", file, "--dry-run").stderr)
        for command in ("[python3, train.py, '${args}']", "[python3, -m, pkg.train, '${args}']", "[sh, -c, 'echo {{x}} > made.sh']",
                        "[python3, '{{x}}.py']", "[/usr/bin/env, python3, made.py, '${args}']"):
            file = self.put("a.yaml", f"command: {command}\nmethod: random\nrun_cap: 1\nparameters: {{x: {{min: 0.0, max: 1.0}}}}\n")
            self.assertNotIn("there is no", self.cli("sweep", "create", file, "--dry-run").stderr)

    def test_a_file_without_a_command(self):
        file = self.put("a.yaml", "method: random\nrun_cap: 1\nparameters: {x: {min: 0.0, max: 1.0}}\n")
        self.assertIn("no command and no program, so nothing is started", self.cli("sweep", "create", file).stderr)
        self.put("train.py", "")
        file = self.put("b.yaml", "program: train.py\nmethod: random\nrun_cap: 1\nparameters: {x: {min: 0.0, max: 1.0}}\n")
        self.assertEqual(self.cli("sweep", "create", file, "--dry-run").stderr, "")


if __name__ == "__main__":
    unittest.main()
