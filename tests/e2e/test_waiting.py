#!/usr/bin/env python3
"""What does not run says why, what prints nothing says so, and limits that are lowered say what becomes of what is there."""
import json, os, pathlib, signal, socketserver, subprocess, sys, threading, unittest

WINNOW = pathlib.Path(sys.argv.pop(1)).resolve()
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from job_test import JobTest  # noqa: E402
from service import wait  # noqa: E402

TAKEN = "it is next: all slots are in use"


class Base(JobTest):
    winnow = WINNOW

    def until(self, name):
        return ["sh", "-c", f"until [ -e {self.work}/{name} ]; do sleep 0.05; done"]

    def launch(self, command, **more):
        return self.ok(self.s.post("/api/v1/runs", {"command": command, **more}), 201)["id"]

    def run_of(self, run):
        return self.ok(self.s.get(f"/api/v1/runs/{run}"))

    def in_state(self, run, *states):
        return wait(lambda: (r := self.run_of(run))["state"] in states and r, f"{states}")

    def take_all_slots(self):
        run = self.launch(self.until("go"), resources={"slots": 2})
        self.in_state(run, "RUNNING")
        return run

    def begin(self, *words):
        env = {**os.environ, "WINNOW_URL": f"unix:{self.s.data}/winnow.sock"}
        log = open(self.work.parent / "said", "w+")
        self.addCleanup(log.close)
        process = subprocess.Popen([str(WINNOW), *words], stdout=subprocess.PIPE, stderr=log, text=True, env=env, cwd=self.work)
        self.addCleanup(process.stdout.close)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        return process, lambda: pathlib.Path(log.name).read_text()

    def ends(self, process):
        said, _ = process.communicate(timeout=120)
        return process.returncode, said


class Waiting(Base):
    def test_a_followed_launch_says_why_it_waits(self):
        self.take_all_slots()
        process, said = self.begin("run", "launch", "-f", "--", "echo", "hi")
        wait(lambda: TAKEN in said(), "the reason")
        (self.work / "go").touch()
        self.assertEqual(self.ends(process), (0, "hi\n"), said())
        self.assertEqual((said().count("waits"), said().count("nothing on")), (1, 0), said())

    def test_a_service_that_is_away_while_a_follower_waits(self):
        run = self.take_all_slots()
        process, said = self.begin("run", "launch", "-f", "--", "echo", "hi")
        wait(lambda: TAKEN in said(), "the reason")
        self.s.kill()
        (self.s.data / "winnow.sock").unlink()
        asked = []

        class Away(socketserver.StreamRequestHandler):
            def handle(self):
                while self.rfile.readline().strip():
                    pass
                asked.append(1)
                self.wfile.write(b"HTTP/1.1 503 Away\r\nRetry-After: 0\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")

        with socketserver.UnixStreamServer(str(self.s.data / "winnow.sock"), Away) as away:
            threading.Thread(target=away.serve_forever, daemon=True).start()
            wait(lambda: len(asked) > 12 or process.poll() is not None, "several questions")  # a call by itself asks fewer times
            away.shutdown()
        self.assertIsNone(process.poll(), said())
        self.s.start()
        (self.work / "go").touch()
        self.assertEqual(self.ends(process), (0, "hi\n"), said())
        self.in_state(run, "FINISHED")

    def test_no_attempt_passes_while_a_follower_waits(self):
        self.take_all_slots()
        process, said = self.begin("run", "launch", "-f", "--retries", "2", "--", "sh", "-c", 'echo "attempt $WINNOW_ATTEMPT"; [ $WINNOW_ATTEMPT = 3 ]')
        wait(lambda: TAKEN in said(), "the reason")
        process.send_signal(signal.SIGSTOP)
        (self.work / "go").touch()
        self.in_state(said().split("run ")[1].split()[0], "FINISHED")
        process.send_signal(signal.SIGCONT)
        self.assertEqual(self.ends(process), (0, "attempt 1\nattempt 2\nattempt 3\n"), said())

    def test_a_run_and_its_log_say_why_it_waits(self):
        self.take_all_slots()
        runs = [self.launch(["echo", str(i)]) for i in range(2)]
        self.assertEqual([self.run_of(run)["state_reason"] for run in runs], [f"it waits: {TAKEN}", "it waits: 1 job stands before it"])
        done = self.cli("logs", runs[0])
        self.assertEqual((done.stdout, done.stderr), ("", f"run {runs[0]}: it waits: {TAKEN}\n"))
        process, said = self.begin("logs", "-f", runs[1])
        wait(lambda: "1 job stands before it" in said(), "the reason")
        (self.work / "go").touch()
        self.assertEqual(self.ends(process), (0, "1\n"), said())
        self.assertIsNone(self.run_of(runs[1])["state_reason"])

    def test_a_followed_sweep_says_why_it_waits(self):
        self.take_all_slots()
        self.put("sweep.yaml", f"""
            name: waits
            command: [echo, "${{args}}"]
            parameters: {{n: {{values: [1, 2, 3]}}}}
            method: grid
        """)
        process, said = self.begin("sweep", "create", "-f", "sweep.yaml")
        wait(lambda: TAKEN in said(), "the reason")
        sweep = self.ok(self.s.get("/api/v1/sweeps"))["items"][0]
        self.assertEqual((sweep["state"], sweep["state_reason"]), ("RUNNING", f"its next trial waits: {TAKEN}"))
        # One that was picked by hand is there, and waits for itself.
        self.ok(self.s.post(f"/api/v1/sweeps/{sweep['id']}/trials", {"params": {"n": 2}}), 201)
        self.assertTrue(self.trials(sweep["id"])[0]["state_reason"].startswith("it waits: "))
        self.cli("sweep", "pause", sweep["id"])
        self.assertEqual(self.trials(sweep["id"])[0]["state_reason"], "it waits: its sweep is paused")
        self.cli("sweep", "resume", sweep["id"])
        (self.work / "go").touch()
        self.assertEqual(self.ends(process)[0], 0, said())
        self.assertNotIn("waits", self.ended(sweep["id"])["state_reason"] or "")


class Silence(Base):
    def test_of_what_runs_and_of_what_is_over(self):
        run = self.launch([*self.until("go")[:2], self.until("go")[2] + "; echo trouble >&2"])
        self.in_state(run, "RUNNING")
        done = self.cli("logs", run)
        self.assertEqual((done.stdout, done.stderr), ("", f"run {run}: nothing on stdout so far\n"))
        process, said = self.begin("logs", "-f", run)
        wait(lambda: "nothing on stdout so far" in said(), "the silence")
        (self.work / "go").touch()
        self.assertEqual(self.ends(process), (0, ""))
        self.in_state(run, "FINISHED")
        for words in ((), ("-f",), ("--tail", "3")):
            self.assertEqual(self.cli("logs", run, *words).stderr, f"run {run}: nothing on stdout; see --stderr\n", words)
        done = self.cli("logs", run, "--stderr")
        self.assertEqual((done.stdout, done.stderr), ("trouble\n", ""))

    def test_of_what_prints_nothing_is_said(self):
        run = self.launch(["echo", "loss=1"])
        self.in_state(run, "FINISHED")
        for words in ((), ("-f",), ("--tail", "0"), ("--grep", "nowhere")):
            self.assertEqual(self.cli("logs", run, *words).stderr, "", words)
        self.assertEqual(self.cli("logs", run, "--stderr").stderr, f"run {run}: nothing on stderr; see it without --stderr\n")

    def test_a_launch_of_a_silent_command_is_silent(self):
        done = self.cli("run", "launch", "-f", "--", "sleep", "0.3", cwd=self.work)
        self.assertEqual((done.stdout, len(done.stderr.splitlines())), ("", 2), done)


class Limits(Base):
    def test_a_run_cap_below_what_is_there(self):
        self.put("sweep.yaml", f"""
            name: lower
            command: {json.dumps(self.until("go"))}
            parameters: {{x: {{min: 0.0, max: 1.0}}}}
            method: random
            run_cap: 50
        """)
        sweep = json.loads(self.cli("sweep", "create", "sweep.yaml", "-o", "json", cwd=self.work).stdout)["id"]
        wait(lambda: [t["state"] for t in self.trials(sweep)] == ["RUNNING"] * 2, "two trials")
        done = self.cli("sweep", "edit", sweep, "--run-cap", "1")
        reason = "2 trials are there, and run_cap is 1"
        self.assertIn(f"RUNNING: {reason}: no more are made, those that run or wait go on", done.stderr)
        self.assertEqual([t["state"] for t in self.trials(sweep)], ["RUNNING"] * 2)
        (self.work / "go").touch()
        over = self.ended(sweep)
        self.assertEqual((over["state"], over["state_reason"], over["progress"]["finished"]), ("FINISHED", reason, 2))

    def test_a_run_cap_that_is_raised_again_is_as_before(self):
        sweep = self.ok(self.s.post("/api/v1/sweeps", {"name": "asks", "parameters": {"x": {"min": 0.0, "max": 1.0}}, "run_cap": 9}), 201)["id"]
        asked = self.ok(self.s.post(f"/api/v1/sweeps/{sweep}/ask", {"count": 3}))["trials"]
        for cap, reason in ((2, True), (3, False), (2, True), (9, False)):
            edited = self.ok(self.s.request("PATCH", f"/api/v1/sweeps/{sweep}", {"run_cap": cap}))
            self.assertEqual((edited["run_cap"], bool(edited["state_reason"])), (cap, reason), edited)
        self.assertEqual(len(self.ok(self.s.post(f"/api/v1/sweeps/{sweep}/ask", {"count": 9}))["trials"]), 6)
        self.assertEqual(len(asked), 3)

    def test_more_slots_than_there_are(self):
        answer = self.ok(self.s.post("/api/v1/runs", {"command": ["true"], "resources": {"slots": 99}}), 400)
        self.assertEqual(answer["detail"], "the run wants 99 slots, and there are 2")

    def test_warnings_stand_one_to_a_line(self):
        self.put("sweep.yaml", """
            name: warned
            parameters:
              seed: {values: [9223372036854775807, 9223372036854775808, -9223372036854775809, 1.5]}
              word: {values: [yes, "no"]}
            method: random
        """)
        done = self.cli("sweep", "create", "sweep.yaml", cwd=self.work)
        shown = self.cli("sweep", "show", "warned").stdout
        great = [f"line 4: {n} does not fit in 64 bits" for n in ("9223372036854775808", "-9223372036854775809")]
        for text in (*great, "line 5: yes is read as text", "there is no run_cap"):
            self.assertIn(text, done.stderr)
            self.assertEqual(len([line for line in shown.splitlines() if text in line]), 1, shown)
        self.assertEqual(len([line for line in shown.splitlines() if "line " in line]), 3, shown)


if __name__ == "__main__":
    unittest.main()
