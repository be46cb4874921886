#!/usr/bin/env python3
"""Single runs, the queue, the slots, and the end of a service with its jobs."""
import json, os, pathlib, subprocess, sys, time, unittest

WINNOW = pathlib.Path(sys.argv.pop(1)).resolve()
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from job_test import JobTest  # noqa: E402
from proxy import Proxy  # noqa: E402
from service import wait  # noqa: E402


class Base(JobTest):
    winnow = WINNOW


class Launched(Base):
    def launch(self, command, status=201, **more):
        return self.ok(self.s.post("/api/v1/runs", {"command": command, **more}), status)

    def run_of(self, run):
        return self.ok(self.s.get(f"/api/v1/runs/{run}"))

    def over(self, run, timeout=180):
        return wait(lambda: (r := self.run_of(run))["state"] in ("FINISHED", "FAILED", "KILLED", "STOPPED") and r, "the end", timeout)

    def test_from_the_command_line(self):
        self.put("train.sh", 'echo "acc=$1 WINNOW $WINNOW_SWEEP_ID$WINNOW_TRIAL$WANDB_SWEEP_ID."; ls; echo "$WHO" >&2; exit 3\n')
        done = self.cli("run", "launch", "-f", "-e", "mine", "--name", "one", "--env", "WHO=me", "--", "sh", "train.sh", "0.5", cwd=self.work, code=3)
        self.assertEqual(done.stdout, "acc=0.5 WINNOW .\ntrain.sh\n")
        run = self.run_of(done.stderr.split("run ")[1].split()[0])
        self.assertEqual((run["name"], run["state"], run["exit_code"], run["sweep_id"], run["trial"], run["command"], run["attempt"]),
                         ("one", "FAILED", 3, None, None, ["sh", "train.sh", "0.5"], 1))
        self.assertEqual(run["metrics"]["acc"]["last"], 0.5)
        self.assertEqual(self.log(run["id"], "stderr"), "me\n")
        self.assertEqual(self.ok(self.s.get(f"/api/v1/experiments/{run['experiment_id']}"))["name"], "mine")
        again = json.loads(self.cli("run", "launch", "-e", run["experiment_id"], "--in-place", "-o", "json", "--", "pwd", cwd=self.work).stdout)
        self.assertEqual(again["experiment_id"], run["experiment_id"])
        self.assertEqual((self.over(again["id"])["state"], self.log(again["id"])), ("FINISHED", f"{self.work}\n"))
        # It is a run, and no sweep: in no list of sweeps, with no parent.
        self.assertEqual(self.ok(self.s.get("/api/v1/sweeps"))["items"], [])
        self.assertEqual(self.s.get(f"/api/v1/sweeps/{run['id']}").status, 404)
        found = self.ok(self.s.post("/api/v1/runs/search", {"experiments": [run["experiment_id"]]}))["items"]
        self.assertEqual({r["id"] for r in found}, {run["id"], again["id"]})

    def test_a_long_log_is_shown_whole(self):
        """One answer has at most 8 MiB."""
        run = self.launch(["seq", "1", "2500000"])["id"]
        lines = "".join(f"{i}\n" for i in range(1, 2500001))
        self.over(run)
        for words in ((), ("-f",)):
            shown = self.cli("logs", run, *words).stdout
            self.assertTrue(shown == lines, f"{len(shown)} bytes of {len(lines)}")
        self.assertEqual(self.cli("logs", run, "--tail", "3").stdout, lines[-24:])
        answer = self.s.get(f"/api/v1/runs/{run}/logs/stdout?from=0")
        self.assertEqual((len(answer.body), answer.headers["Winnow-Log-Attempt"]), (8 << 20, "1"))

    def test_a_follower_goes_on_with_the_next_attempt(self):
        job = 'echo "attempt $WINNOW_ATTEMPT"; [ $WINNOW_ATTEMPT = 3 ]'
        done = self.cli("run", "launch", "-f", "--retries", "2", "--", "sh", "-c", job, cwd=self.work)
        self.assertEqual(done.stdout, "attempt 1\nattempt 2\nattempt 3\n")
        run = self.run_of(done.stderr.split("run ")[1].split()[0])
        self.assertEqual(run["attempt"], 3)
        self.assertEqual(self.cli("logs", run["id"], "-f").stdout, "attempt 3\n")
        for words in ((), ("-f",), ("--tail", "5")):
            self.assertEqual(self.cli("logs", run["id"], "--attempt", "2", *words).stdout, "attempt 2\n")
        self.assertIn("the run has no attempt 4; its newest is 3", self.cli("logs", run["id"], "--attempt", "4", "-f", code=3).stderr)
        self.assertIn("counted from 1", self.cli("logs", run["id"], "--attempt", "0", code=2).stderr)
        # Who follows one attempt gets it to its end, also while the run goes on.
        job = f'echo "attempt $WINNOW_ATTEMPT"; [ $WINNOW_ATTEMPT = 2 ] || exit 1; until [ -e {self.work}/go ]; do sleep 0.05; done'
        run = self.launch(["sh", "-c", job], retries={"max": 1, "on": ["failed"]})["id"]
        first = self.s.get(f"/api/v1/runs/{run}/logs/stdout?attempt=1&follow=true")
        self.assertEqual((first.body, self.run_of(run)["state"] in ("FINISHED", "FAILED")), (b"attempt 1\n", False))
        self.assertEqual(self.cli("logs", run, "-f", "--attempt", "1").stdout, "attempt 1\n")
        self.assertEqual(self.run_of(run)["state"] in ("FINISHED", "FAILED"), False)
        (self.work / "go").touch()
        self.assertEqual(self.over(run)["state"], "FINISHED")

    def test_a_follower_of_a_lost_run_ends(self):
        done = self.cli("run", "launch", "-f", "--", "sh", "-c", "echo loss=1; sleep 0.5; kill -9 $PPID; sleep 60", cwd=self.work, code=7)
        self.assertEqual(done.stdout, "loss=1\n")
        self.assertIn("LOST", done.stderr)
        self.assertEqual(self.cli("logs", done.stderr.split("run ")[1].split()[0], "-f").stdout, "loss=1\n")

    def test_through_rest(self):
        run = self.launch(["sh", "-c", "echo loss=1; sleep 600"], params={"lr": 0.1}, tags={"who": "me"}, name="long", stop_grace=1,
                          resources={"slots": 2})
        self.assertEqual((run["name"], run["params"], run["tags"]["who"], run["experiment_id"]), ("long", {"lr": "0.1"}, "me", "0"))
        wait(lambda: self.run_of(run["id"])["state"] == "RUNNING", "the start")
        waiting = self.launch(["true"])
        self.assertEqual(self.run_of(waiting["id"])["state"], "QUEUED")
        self.ok(self.s.post(f"/api/v1/runs/{run['id']}/stop"))
        self.assertEqual(self.over(run["id"])["state"], "KILLED")
        self.assertEqual(self.over(waiting["id"])["state"], "FINISHED")
        keyed = [self.ok(self.s.request("POST", "/api/v1/runs", {"command": ["true"]}, headers={"Idempotency-Key": "k", "Content-Type": "application/json"}), 201)
                 for _ in range(3)]
        self.assertEqual(len({r["id"] for r in keyed}), 1)
        for body, word in (({"command": "true"}, "list"), ({"command": []}, "list"), ({"command": ["true"], "parameters": {}}, "parameters"),
                           ({"command": ["true"], "workdirr": "/"}, "workdirr"), ({"command": ["true"], "resources": {"slots": 9}}, "slots"),
                           ({"command": ["true"], "experiment_id": "77"}, "experiment"), ({"command": ["true"], "env": {"A B": "1"}}, "A B"),
                           ({"command": ["true"], "tags": {"a": 1}}, "tag"), ({"command": ["true"], "directory": "x"}, "absolute")):
            answer = self.s.post("/api/v1/runs", body)
            self.assertIn(answer.status, (400, 404), answer)
            self.assertIn(word, answer.json["detail"])
        self.assertEqual(self.s.post("/api/v1/runs", {"command": ["true"]}, unix=False).status, 401)
        self.assertEqual(self.s.post(f"/api/v1/runs/{run['id']}/retry", unix=False).status, 401)
        self.assertEqual(self.s.post("/api/v1/runs", {"name": "tracked"}, unix=False).status, 201)
        nothing = self.launch(["no-such-program"])
        self.assertIn("no-such-program", self.over(nothing["id"])["state_reason"])

    def test_retry_and_restart(self):
        count = self.work / "count"
        job = self.put("job.sh", f'echo x >> "{count}"; echo "$WINNOW_ATTEMPT"; cat "$WINNOW_CHECKPOINT_DIR/kept" 2>/dev/null; '
                                 'echo was-here > "$WINNOW_CHECKPOINT_DIR/kept"; sleep 0.8; exit 1\n')
        run = self.launch(["sh", str(job)], name="again")["id"]
        for attempt in (1, 2, 3):
            over = self.over(run)
            self.assertEqual((over["state"], over["attempt"], over["exit_code"]), ("FAILED", attempt, 1))
            self.assertEqual(self.log(run), f"{attempt}\n" + ("was-here\n" if attempt > 1 else ""))
            if attempt == 2:  # also of one that only the database knows
                self.s.kill()
                self.s.start()
            if attempt < 3:
                self.cli("run", "retry", run)
                wait(lambda: self.run_of(run)["attempt"] > attempt or self.run_of(run)["state"] in ("QUEUED", "STARTING"), "the next attempt")
        self.assertEqual(count.read_text(), "xxx".replace("x", "x\n"))
        going = self.launch(["sh", "-c", f'echo x >> "{count}"; for i in 1 2 3 4 5 6; do echo loss=$i; sleep 0.3; done'])["id"]
        waiting = [self.launch(["true"], resources={"slots": 2})["id"] for _ in range(3)]
        for pause in (0.1, 0.5):
            time.sleep(pause)
            self.s.kill()
            self.s.start()
        over = self.over(going)
        self.assertEqual((over["state"], over["attempt"], over["metrics"]["loss"]["last"]), ("FINISHED", 1, 6))
        self.assertEqual([self.over(r)["state"] for r in waiting], ["FINISHED"] * 3)
        self.assertEqual(len(count.read_text().split()), 4)
        self.assertEqual(self.s.post(f"/api/v1/runs/{self.ok(self.s.post('/api/v1/runs', {}), 201)['id']}/retry").status, 409)


    def test_what_is_tidied_after_an_attempt_is_not_the_next_ones(self):
        """The next attempt begins when the end of the one before is stored, be its companion there still, and its files."""
        proxy = Proxy(self.s)
        self.addCleanup(proxy.close)
        proxy.put_between()
        begun, end = self.work / "begun", self.work / "end"
        job = ('[ $WINNOW_ATTEMPT = 2 ] || { until [ -e "$1" ]; do sleep 0.05; done; exit 1; }; touch "$0"\n'
               'while [ -e ../../1 ]; do sleep 0.05; done; echo kept > "$WINNOW_CHECKPOINT_DIR/kept"')
        run = self.launch(["sh", "-c", job, str(begun), str(end)], retries={"max": 1, "on": ["failed"]})["id"]
        wait(lambda: self.run_of(run)["state"] == "RUNNING", "the first attempt")
        proxy.hold_answers_from(b"/exited ")
        end.touch()
        wait(begun.exists, "the second attempt")
        proxy.resume()
        over = self.over(run)
        self.assertEqual((over["state"], over["attempt"], self.log(run, "stderr")), ("FINISHED", 2, ""))


class Down(Base):
    def alive(self, mark):
        found = []
        for entry in pathlib.Path("/proc").iterdir():
            try:
                if entry.name.isdigit() and mark in (entry / "cmdline").read_bytes().decode(errors="replace").split("\0"):
                    found.append(int(entry.name))
            except OSError:
                pass
        return found

    def start_jobs(self, mark):
        job = self.put("job.py", """
            import os, signal, sys, time
            if sys.argv[2] == "stubborn":
                signal.signal(signal.SIGTERM, signal.SIG_IGN)
            if os.fork() == 0:
                os.setsid()
            print("ready", flush=True)
            time.sleep(600)
            """)
        sweep = self.ok(self.s.post("/api/v1/sweeps", {"method": "grid", "command": ["python3", str(job), mark, "{{how}}"], "stop_grace": 1,
                                                       "parameters": {"how": {"values": ["gentle", "stubborn", "later"]}}}), 201)["id"]
        wait(lambda: len(self.alive(mark)) == 4, "two jobs of two processes")
        wait(lambda: all("ready" in self.log(t["run_id"]) for t in self.trials(sweep)[:2]), "them to be ready")
        return sweep

    def test_now_stops_the_jobs_first(self):
        mark = f"mark-{os.getpid()}-now"
        sweep = self.start_jobs(mark)
        self.cli("down", "--now")
        self.assertEqual(self.s.process.wait(120), 0)
        self.assertEqual(self.alive(mark), [])
        self.assertEqual(self.s.postgres(), [])
        self.s.start()
        wait(lambda: len(self.alive(mark)) >= 2, "the sweep to go on")
        self.assertEqual([t["state"] for t in self.trials(sweep)][:2], ["KILLED", "KILLED"])
        self.ok(self.s.post(f"/api/v1/sweeps/{sweep}/stop"))
        self.ended(sweep)

    def test_without_it_they_go_on(self):
        mark = f"mark-{os.getpid()}-later"
        sweep = self.start_jobs(mark)
        self.cli("down")
        self.assertEqual(self.s.process.wait(120), 0)
        self.assertEqual(len(self.alive(mark)), 4)
        self.s.start()
        self.assertEqual([t["state"] for t in self.trials(sweep)], ["RUNNING", "RUNNING"])
        self.ok(self.s.post(f"/api/v1/sweeps/{sweep}/stop"))
        self.ended(sweep)
        self.assertEqual(self.alive(mark), [])


    def test_a_background_service_of_a_script_ignores_ctrl_c(self):
        self.s.stop()
        self.s.process = subprocess.Popen(["sh", "-c", 'trap "" INT; exec "$@"', "sh", self.s.binary, "serve", "--data", str(self.s.data), "--listen",
                                           "127.0.0.1:0"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait(lambda: (self.s.data / "endpoint").exists() and self.answers(), "the service")
        self.s.process.send_signal(2)
        time.sleep(1)
        self.assertTrue(self.answers())

    def answers(self):
        try:
            return self.s.get("/api/v1/status").json["state"] == "ok"
        except (OSError, ValueError):
            return False


class Gpus(Base):
    def setUp(self):
        super().setUp()
        library = WINNOW.parent.parent / "libfake_nvml.so"
        self.assertTrue(library.exists(), "the tests' stand-in for NVML is built with the tests")
        self.s.stop()
        self.s.arguments = ["--nvml", str(library)]
        self.s.env["FAKE_NVML"] = "2"
        self.s.env.pop("CUDA_VISIBLE_DEVICES", None)
        self.s.start()

    def test_a_slot_is_a_gpu_and_stays_the_jobs(self):
        node, = self.ok(self.s.get("/api/v1/nodes"))["items"]
        uuids = [gpu["uuid"] for gpu in node["gpus"]]
        self.assertRegex(self.cli("nodes", "-o", "wide").stdout, f"uuid={uuids[0]} name=.* memory=.*, uuid={uuids[1]} ")
        self.assertEqual((node["slots"]["total"], len(set(uuids))), (2, 2))
        seen = self.work / "seen"
        job = self.put("job.sh", f'echo "$CUDA_VISIBLE_DEVICES" >> "{seen}"; echo ready; sleep $1\n')
        launch = lambda pause, **more: self.ok(self.s.post("/api/v1/runs", {"command": ["sh", str(job), pause], "env": {"CUDA_VISIBLE_DEVICES": "9"},
                                                                            "stop_grace": 1, **more}), 201)["id"]
        first, second = launch("600"), launch("600")
        wait(lambda: seen.exists() and len(seen.read_text().split()) == 2, "both")
        self.assertEqual(sorted(seen.read_text().split()), sorted(uuids))
        used = {g["uuid"]: g["used_by"] for g in self.ok(self.s.get("/api/v1/nodes"))["items"][0]["gpus"]}
        self.assertEqual(set(used.values()), {first, second})
        self.ok(self.s.post(f"/api/v1/runs/{first}/stop"))
        wait(lambda: self.ok(self.s.get("/api/v1/nodes"))["items"][0]["slots"]["used"] == 1, "a free GPU")
        self.s.kill()
        self.s.start()
        again = {g["uuid"]: g["used_by"] for g in self.ok(self.s.get("/api/v1/nodes"))["items"][0]["gpus"]}
        self.assertEqual(again, {uuid: second if run == second else None for uuid, run in used.items()})  # the same GPU, after a restart too
        # Neither does a row that cannot be read take it away.
        spec = self.s.sql(f"select spec from winnow.sweep where id = '{second}'").replace("'", "''")
        for now in ("{", spec):
            self.s.sql(f"update winnow.sweep set spec = '{now}' where id = '{second}'")
            self.s.kill()
            self.s.start()
            self.assertEqual({g["uuid"]: g["used_by"] for g in self.ok(self.s.get("/api/v1/nodes"))["items"][0]["gpus"]}, again)
        third = launch("600")
        wait(lambda: len(seen.read_text().split()) == 3, "the third")
        self.assertEqual(seen.read_text().split()[2], next(uuid for uuid, run in used.items() if run == first))
        gang = launch("0", resources={"gpus": 2})
        for run in (second, third):
            self.ok(self.s.post(f"/api/v1/runs/{run}/stop"))
        wait(lambda: self.ok(self.s.get(f"/api/v1/runs/{gang}"))["state"] == "FINISHED", "the one with both")
        self.assertEqual(sorted(seen.read_text().split()[3].split(",")), sorted(uuids))

    def test_a_library_that_does_not_start_is_told_with_the_node(self):
        self.s.stop()
        self.s.env["FAKE_NVML"] = "broken"
        self.s.start()
        node, = self.ok(self.s.get("/api/v1/nodes"))["items"]
        self.assertEqual((node["state"], node["gpus"]), ("UP", []))
        self.assertRegex(node["reason"], "^GPUs: ")
        self.cli("nodes", "drain", node["name"], "--reason", "new disk")
        self.assertEqual(self.ok(self.s.get("/api/v1/nodes"))["items"][0]["reason"], "new disk")


class Queue(Base):
    def launch(self, *command, **more):
        return self.ok(self.s.post("/api/v1/runs", {"command": list(command) or ["sleep", "600"], "stop_grace": 1, **more}), 201)["id"]

    def state(self, run):
        return self.ok(self.s.get(f"/api/v1/runs/{run}"))["state"]

    def queue(self):
        return self.ok(self.s.get("/api/v1/queue?limit=1000"))["items"]

    def order(self):
        return [entry["run_id"] for entry in self.queue()]

    def patch(self, path, body, status=200, **more):
        return self.ok(self.s.request("PATCH", f"/api/v1/{path}", body, **more), status)

    def stop(self, *runs):
        for run in runs:
            self.ok(self.s.post(f"/api/v1/runs/{run}/stop"))

    def test_what_waits_is_listed_held_and_moved(self):
        big = self.launch(resources={"slots": 2})
        wait(lambda: self.state(big) == "RUNNING", "the start")
        runs = [self.launch("sh", "-c", "sleep 0.1", resources={"slots": 1, "memory": "1GiB"}) for _ in range(4)]
        wait(lambda: len(self.queue()) == 4, "the queue")
        entries = self.queue()
        self.assertEqual([(e["run_id"], e["position"], e["wants"]) for e in entries],
                         [(run, i + 1, {"slots": 1, "memory": 1 << 30}) for i, run in enumerate(runs)])
        self.assertEqual([e["reason"] for e in entries],
                         ["it is next: all slots are in use", "1 job stands before it", "2 jobs stand before it", "3 jobs stand before it"])
        page = self.ok(self.s.get("/api/v1/queue?limit=3"))
        self.assertEqual(([e["run_id"] for e in page["items"]], page["next"]), (runs[:3], "3"))
        self.assertEqual([e["run_id"] for e in self.ok(self.s.get("/api/v1/queue?cursor=3"))["items"]], runs[3:])
        a, b, c, d = runs
        self.assertEqual(self.patch(f"queue/{d}", {"position": 1})["position"], 1)
        self.assertEqual(self.order(), [d, a, b, c])
        self.assertEqual(self.patch(f"queue/{d}", {"position": 9})["position"], 4)
        self.assertEqual(self.order(), [a, b, c, d])
        self.patch(f"queue/{a}", {"position": 3})
        self.assertEqual(self.order(), [b, c, a, d])
        self.patch(f"queue/{d}", {"priority": 1})
        self.assertEqual(self.order(), [d, b, c, a])
        held = self.patch(f"queue/{d}", {"hold": True})
        self.assertEqual((held["held"], held["reason"], held["priority"]), (True, "it is held", 1))
        self.s.kill()
        self.s.start()
        self.assertEqual(self.order(), [d, b, c, a])  # held and moved, also after a restart
        self.assertEqual(self.queue()[0]["reason"], "it is held")
        self.stop(big)
        wait(lambda: all(self.state(run) == "FINISHED" for run in (a, b, c)), "the others")
        self.assertEqual((self.state(d), self.order()), ("QUEUED", [d]))
        self.cli("queue", "release", d)
        wait(lambda: self.state(d) == "FINISHED", "the released one")
        kinds = [(e["kind"], e["from"], e["to"]) for e in self.ok(self.s.get(f"/api/v1/runs/{d}/events"))["items"] if e["kind"].startswith("queue")]
        self.assertEqual(kinds[0], ("queue.moved", "4", "1"))
        self.assertEqual([k for k, _, _ in kinds[-2:]], ["queue.held", "queue.released"])
        self.assertEqual(self.patch(f"queue/{d}", {"hold": True}, 409)["code"], "wrong_state")
        self.assertEqual(self.patch("queue/" + "0" * 32, {"hold": True}, 404)["code"], "not_found")
        for body in ({}, {"hold": 1}, {"position": 0}, {"hodl": True}):
            self.patch(f"queue/{d}", body, 400)
        self.patch(f"queue/{d}", {"hold": True}, 401, unix=False)
        self.assertEqual(self.s.get("/api/v1/queue", unix=False).status, 200)

    def test_trials_have_the_priority_of_their_sweep(self):
        big = self.launch(resources={"slots": 2})
        spec = {"method": "grid", "command": ["true"], "parameters": {"a": {"values": [1, 2, 3]}}}
        low = self.ok(self.s.post("/api/v1/sweeps", {"name": "low", **spec}), 201)["id"]
        high = self.ok(self.s.post("/api/v1/sweeps", {"name": "high", "priority": 2, **spec}), 201)["id"]
        paused = self.ok(self.s.post("/api/v1/sweeps", {"name": "paused", **spec}), 201)["id"]
        wait(lambda: len(self.queue()) == 3, "the queue")
        self.ok(self.s.post(f"/api/v1/sweeps/{paused}/pause"))
        # What waits is the sweep: its next trial is made when there is a slot for it.
        self.assertEqual([(e["name"], e["number"], e["run_id"]) for e in self.queue()], [("high", 0, None), ("low", 0, None), ("paused", 0, None)])
        self.assertEqual([self.trials(sweep) for sweep in (high, low, paused)], [[], [], []])
        self.assertEqual(self.queue()[-1]["reason"], "its sweep is paused")
        for line, name in zip(self.cli("queue", "-o", "csv").stdout.splitlines()[1:], ("high", "low", "paused"), strict=True):
            self.assertIn(f",{name},0,", line)
        self.assertRegex(self.cli("queue").stdout, r"(?s)NAME +TRIAL.*\bhigh +0\b.*\bpaused +0\b")
        node = self.ok(self.s.get("/api/v1/nodes"))["items"][0]["name"]
        self.cli("nodes", "drain", node, "--reason", "test")
        self.assertEqual(self.queue()[-1]["reason"], f"its sweep is paused, and {node} is drained: test")
        self.cli("nodes", "resume", node)
        self.patch(f"sweeps/{low}", {"priority": 3})
        self.assertEqual([e["name"] for e in self.queue()], ["low", "high", "paused"])
        self.cli("sweep", "edit", low, "--priority", "-1")
        self.assertEqual([(e["name"], e["priority"]) for e in self.queue()], [("high", 2), ("paused", 0), ("low", -1)])
        self.patch(f"sweeps/{low}", {"priority": 3})
        picked = self.ok(self.s.post(f"/api/v1/sweeps/{high}/trials", {"params": {"a": 3}}), 201)
        wait(lambda: picked["run_id"] in self.order(), "the trial that was picked")
        self.assertEqual([e["run_id"] for e in self.queue() if e["name"] == "high"], [picked["run_id"]])  # before the sampler's next
        self.ok(self.s.post(f"/api/v1/sweeps/{paused}/trials", {"params": {"a": 3}}), 201)  # it is trial 0 now, and the sampler's next will be 1
        wait(lambda: {(e["run_id"] is None, e["number"]) for e in self.queue() if e["name"] == "paused"} == {(False, 0), (True, 1)}, "both")
        self.cli("queue", "move", f"{high}/0", "first")
        self.assertEqual(self.order()[0], picked["run_id"])
        self.stop(big)
        wait(lambda: {e["name"] for e in self.queue()} == {"paused"}, "the others")
        self.ok(self.s.post(f"/api/v1/sweeps/{paused}/resume"))
        self.assertEqual(self.ended(paused)["state"], "FINISHED")
        self.assertEqual({t["node"] for t in self.trials(paused)}, {node})
        for sweep in (low, high):
            self.assertEqual(self.ended(sweep)["progress"]["finished"], 3)

    def test_a_drained_node_takes_nothing(self):
        node, = self.ok(self.s.get("/api/v1/nodes"))["items"]
        self.assertEqual((node["state"], node["slots"], node["gpus"]), ("UP", {"total": 2, "used": 0, "held": 0}, []))
        self.assertEqual(set(node), {"name", "state", "reason", "slots", "gpus", "cpus", "memory", "load", "heartbeat"})
        running = self.launch()
        wait(lambda: self.state(running) == "RUNNING", "the start")
        self.cli("nodes", "drain", node["name"], "--reason", "new disk")
        waiting = self.launch("true")
        wait(lambda: self.order() == [waiting], "the queue")
        self.assertEqual(self.queue()[0]["reason"], f"no node takes jobs now: {node['name']} is drained: new disk")
        self.s.kill()
        self.s.start()
        drained, = self.ok(self.s.get("/api/v1/nodes"))["items"]
        self.assertEqual((drained["state"], drained["reason"], drained["slots"]["used"]), ("DRAINING", "new disk", 1))
        time.sleep(1)
        self.assertEqual((self.state(waiting), self.state(running)), ("QUEUED", "RUNNING"))
        self.stop(running)
        wait(lambda: self.ok(self.s.get("/api/v1/nodes"))["items"][0]["state"] == "DRAINED", "the end of what ran")
        self.patch(f"nodes/{node['name']}", {"drain": False}, 401, unix=False)
        self.patch("nodes/elsewhere", {"drain": True}, 404)
        self.patch(f"nodes/{node['name']}", {}, 400)
        self.cli("nodes", "resume", node["name"])
        wait(lambda: self.state(waiting) == "FINISHED", "what waited")
        self.assertIn("UP", self.cli("nodes").stdout)
        self.assertIn("nothing waits", (lambda d: d.stdout + d.stderr)(self.cli("queue")))

    def test_a_gang_gets_all_its_slots_at_once(self):
        gates = [self.work / "first", self.work / "second"]
        small = [self.launch("sh", "-c", f"until [ -e {gate} ]; do sleep 0.05; done") for gate in gates]
        wait(lambda: all(self.state(run) == "RUNNING" for run in small), "the start")
        gang = self.launch("true", resources={"slots": 2})
        later = [self.launch("true") for _ in range(3)]
        gates[0].touch()
        wait(lambda: self.state(small[0]) == "FINISHED", "one slot")
        # The end can be read where it is stored a moment before the service hears that it is.
        wait(lambda: self.ok(self.s.get("/api/v1/nodes"))["items"][0]["slots"] == {"total": 2, "used": 1, "held": 1}, "the slot that is kept for the gang")
        self.assertEqual({self.state(run) for run in [gang, *later]}, {"QUEUED"})
        self.assertIn("kept free", self.queue()[0]["reason"])
        gates[1].touch()
        wait(lambda: all(self.state(run) == "FINISHED" for run in [gang, *later]), "all")


if __name__ == "__main__":
    unittest.main()
