#!/usr/bin/env python3
"""What a service finds of the one before it: companions, jobs and directories, also of sweeps that are damaged."""
import os, pathlib, resource, shutil, signal, sys, unittest

WINNOW = pathlib.Path(sys.argv.pop(1)).resolve()
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from job_test import JobTest  # noqa: E402
from proxy import Proxy  # noqa: E402
from service import wait  # noqa: E402


class Base(JobTest):
    winnow = WINNOW

    def submit(self, script, **more):
        """One trial, whose script is told our directory; the sweep, its run, and where its first attempt lies."""
        sweep = self.ok(self.s.post("/api/v1/sweeps", {"name": "one", "method": "grid", "command": ["sh", "-c", script, str(self.s.home)],
                                                       "parameters": {"a": {"values": [1]}}, **more}), 201)["id"]
        run = wait(lambda: self.trials(sweep), "the trial")[0]["run_id"]
        return sweep, run, self.s.data / "jobs" / run / "1"

    def companion(self, attempt):
        said = lambda: (attempt / "companion.lock").exists() and (attempt / "companion.lock").read_text().split()
        return int(wait(said, "the companion")[0])

    def number_in(self, name):
        path = self.s.home / name
        return int(wait(lambda: path.exists() and path.read_text().strip(), name))

    def is_alive(self, pid):
        try:
            return ") Z " not in pathlib.Path(f"/proc/{pid}/stat").read_text()
        except OSError:
            return False

    def end(self, pid):
        os.kill(pid, signal.SIGKILL)
        wait(lambda: not self.is_alive(pid), "its end")

    def used(self):
        return self.ok(self.s.get("/api/v1/nodes"))["items"][0]["slots"]["used"]

    def damage(self, sweep):
        """The service is killed, and the sweep's file cannot be read when the next one starts."""
        self.s.sql(f"update winnow.sweep set spec = '{{' || spec where id = '{sweep}'")
        self.s.kill()

    def mend(self, sweep):
        self.s.sql(f"update winnow.sweep set spec = substr(spec, 2) where id = '{sweep}'")

    def down_now(self):
        self.assertEqual(self.s.post("/api/v1/shutdown?now=true").status, 202)
        self.assertEqual(self.s.process.wait(60), 0)
        self.assertNotIn("have not ended in their time", self.s.log())


class Damaged(Base):
    def test_the_companion_of_a_job_that_is_over_goes_with_the_service(self):
        """It waits with what it has, and holds no slot; told to go it leaves all of it, and another one brings it home when the sweep is mended."""
        sweep, run, attempt = self.submit("echo step=1 loss=1; until [ -e $0/end ]; do sleep 0.05; done; mkdir model; echo m > model/m; echo step=2 loss=2",
                                          metric={"name": "loss"}, artifacts=["model/**"], resources={"slots": 2})
        wait(lambda: self.trials(sweep)[0]["value"] == 1, "the first report")
        self.damage(sweep)
        companion = self.companion(attempt)
        self.s.start()
        self.assertEqual(self.used(), 2)
        (self.s.home / "end").touch()
        wait(lambda: self.used() == 0, "free slots")
        self.assertTrue(self.is_alive(companion))
        self.s.kill()
        self.s.start()  # found again, with its job over
        self.assertEqual(self.used(), 0)
        self.assertEqual(self.s.post(f"/api/v1/runs/{run}/stop").status, 409)
        self.assertTrue(self.is_alive(companion))
        self.mend(sweep)
        self.down_now()
        self.assertFalse(self.is_alive(companion))
        self.s.start()
        self.assertEqual(self.ended(sweep)["state"], "FINISHED")
        trial, = self.trials(sweep)
        self.assertEqual((trial["state"], trial["attempt"], trial["value"]), ("FINISHED", 1, 2), trial)
        self.assertEqual(self.s.get(f"/api/v1/runs/{run}/artifacts/model/m").body, b"m\n")
        wait(lambda: not attempt.exists(), "the tidying")

    def test_a_companion_that_stays_when_its_job_is_over_is_not_waited_for(self):
        """Here it is stopped; one of an older version does not listen either."""
        sweep, run, attempt = self.submit("echo step=1 loss=1; until [ -e $0/end ]; do sleep 0.05; done", metric={"name": "loss"}, stop_grace=600)
        wait(lambda: self.trials(sweep)[0]["value"] == 1, "the first report")
        self.damage(sweep)
        companion = self.companion(attempt)
        self.s.start()
        (self.s.home / "end").touch()
        wait(lambda: self.used() == 0, "free slots")
        os.kill(companion, signal.SIGSTOP)
        self.addCleanup(self.end, companion)
        self.mend(sweep)
        self.down_now()
        self.assertTrue(self.is_alive(companion))

    def test_a_job_that_runs_and_its_companion_go_with_the_service(self):
        sweep, run, attempt = self.submit("echo $$ > $0/pid; trap 'echo bye; exit 3' TERM; while :; do sleep 0.05; done")
        pid, companion = self.number_in("pid"), self.companion(attempt)
        wait(lambda: self.trials(sweep)[0]["state"] == "RUNNING", "the job")
        self.damage(sweep)
        self.s.start()
        self.mend(sweep)
        self.down_now()
        self.assertFalse(self.is_alive(pid) or self.is_alive(companion))
        self.s.start()
        self.assertEqual(self.ended(sweep)["state"], "FAILED")
        self.assertEqual(self.log(run), "bye\n")
        self.assertIn("told to end it", self.trials(sweep)[0]["state_reason"])

    def test_what_a_dead_companion_left_is_counted_and_ended(self):
        """Its job goes on by itself, as long as no service sees it; once it has ended its slots are free, and the next attempt waits for the mending."""
        sweep, run, attempt = self.submit("echo $$ >> $0/pids; [ $WINNOW_ATTEMPT = 2 ] || while :; do sleep 0.05; done", retries=1, resources={"slots": 2})
        pid = self.number_in("pids")
        wait(lambda: self.trials(sweep)[0]["state"] == "RUNNING", "the job")
        self.damage(sweep)
        self.end(self.companion(attempt))
        self.assertTrue(self.is_alive(pid))
        self.s.start()
        wait(lambda: not self.is_alive(pid), "the end of what was left")
        wait(lambda: self.used() == 0, "free slots")
        self.mend(sweep)
        self.s.kill()
        self.s.start()
        self.assertEqual(self.ended(sweep)["state"], "FINISHED")
        self.assertEqual(self.trials(sweep)[0]["attempt"], 2)
        self.assertEqual(len((self.s.home / "pids").read_text().split()), 2)

    def test_its_slots_are_nobody_elses_before_nothing_of_it_is_left(self):
        """Also when its companion hangs, and dies later."""
        sweep, run, attempt = self.submit("echo $$ > $0/pid; while :; do sleep 0.05; done", resources={"slots": 2})
        pid, companion = self.number_in("pid"), self.companion(attempt)
        wait(lambda: self.trials(sweep)[0]["state"] == "RUNNING", "the job")
        self.damage(sweep)
        os.kill(companion, signal.SIGSTOP)  # it holds its lock, and says nothing
        self.s.start()
        self.assertEqual(self.used(), 2)
        waiting = self.ok(self.s.post("/api/v1/runs", {"command": ["true"]}), 201)["id"]
        wait(lambda: self.ok(self.s.get("/api/v1/queue"))["items"], "a queue")
        self.assertTrue(self.is_alive(pid))
        self.end(companion)
        wait(lambda: self.ok(self.s.get(f"/api/v1/runs/{waiting}"))["state"] == "FINISHED", "its turn")
        self.assertFalse(self.is_alive(pid))


    def test_a_companion_of_a_sweep_that_is_deleted_goes(self):
        """Also where another damaged one leaves it open whose it may be."""
        sweep, _, attempt = self.submit("touch $0/one; while :; do sleep 0.05; done", stop_grace=1)
        other, _, other_attempt = self.submit("touch $0/two; while :; do sleep 0.05; done", stop_grace=1)
        wait(lambda: (self.s.home / "one").exists() and (self.s.home / "two").exists(), "the jobs")
        companion, others = self.companion(attempt), self.companion(other_attempt)
        for one in (sweep, other):
            wait(lambda: self.trials(one)[0]["state"] == "RUNNING", "the job")
        self.s.sql("update winnow.sweep set spec = '{' || spec")
        self.s.kill()
        self.s.start()
        self.assertEqual(self.used(), 2)
        self.assertEqual(self.s.request("DELETE", f"/api/v1/sweeps/{sweep}").status, 204)
        wait(lambda: not self.is_alive(companion), "its end")
        wait(lambda: self.used() == 1, "a free slot")  # by and by, as the service looks
        self.assertTrue(self.is_alive(others))


class Ending(Base):
    def test_whoever_was_not_told_is_asked_before_it_is_killed(self):
        """The verdict does not reach its companion, as when the database is away and nothing can be decided."""
        proxy = Proxy(self.s)
        self.addCleanup(proxy.close)
        proxy.put_between()
        script = "trap 'echo asked > $0/asked; exit 1' TERM; echo $$ > $0/one; while :; do sleep 0.05; done"
        sweep, run, attempt = self.submit(script, stop_grace=1)
        self.number_in("one")
        wait(lambda: self.trials(sweep)[0]["state"] == "RUNNING", "the job")
        proxy.hold_answers()
        self.assertEqual(self.s.post("/api/v1/shutdown?now=true").status, 202)
        wait(lambda: (self.s.home / "asked").exists() or self.s.process.poll() is not None, "the signal", 120)
        proxy.resume()
        self.assertEqual(self.s.process.wait(120), 0)
        self.assertTrue((self.s.home / "asked").exists())
        self.assertNotIn("they are killed", self.s.log())
        self.s.start()
        self.assertEqual(self.trials(sweep)[0]["state"], "KILLED")

    def test_whoever_does_not_listen_is_killed_when_the_service_ends_with_its_jobs(self):
        """Its companion is stopped, and so takes no verdict and no signal; of a damaged sweep it is the same."""
        sweep, run, attempt = self.submit("echo $$ > $0/one; echo said; while :; do sleep 0.05; done", stop_grace=1)
        resting, _, resting_attempt = self.submit("echo $$ > $0/two; while :; do sleep 0.05; done", stop_grace=1)
        pids = [self.number_in("one"), self.number_in("two"), self.companion(attempt), self.companion(resting_attempt)]
        wait(lambda: self.log(run) == "said\n" and self.trials(resting)[0]["state"] == "RUNNING", "the jobs")
        self.damage(resting)
        self.s.start()
        for companion in pids[2:]:
            os.kill(companion, signal.SIGSTOP)
        self.assertEqual(self.s.post("/api/v1/shutdown?now=true").status, 202)
        self.assertEqual(self.s.process.wait(120), 0)
        self.assertEqual([pid for pid in pids if self.is_alive(pid)], [])
        self.assertIn("2 jobs have not ended in their time: they are killed", self.s.log())
        self.s.start()
        self.assertEqual(self.trials(sweep)[0]["state"], "KILLED")


class Beginning(Base):
    def test_a_companion_that_cannot_begin_has_lost_nothing(self):
        """It is tried again, as any start that fails, and costs no retry."""
        program = self.put("companion", f"""\
            #!/bin/sh
            echo try >> {self.s.home}/tries
            [ $(wc -l < {self.s.home}/tries) -gt 2 ] || exit 1
            exec {WINNOW.parent}/winnow-exec "$@"
            """, 0o755)
        self.s.stop()
        self.s.arguments += ["--companion", str(program)]
        self.s.start()
        sweep, run, attempt = self.submit("echo loss=1", metric={"name": "loss"})
        self.assertEqual(self.ended(sweep)["state"], "FINISHED")
        trial, = self.trials(sweep)
        self.assertEqual((trial["state"], trial["value"]), ("FINISHED", 1), trial)
        program.write_text("#!/bin/sh\nexit 1\n")
        sweep, run, attempt = self.submit("echo loss=1")
        self.assertEqual(self.ended(sweep)["state"], "FAILED")
        self.assertIn("its companion could not begin", self.trials(sweep)[0]["state_reason"])
        wait(lambda: not attempt.exists(), "the tidying")


    def test_where_no_file_may_grow_nothing_is_started_and_no_trial_fails(self):
        """As on a full disk. What waits says why, and goes on when there is space again."""
        sweep = self.ok(self.s.post("/api/v1/sweeps", {"name": "full", "method": "random", "run_cap": 12, "max_parallel": 1,
                                                       "command": ["sh", "-c", f"touch {self.s.home}/begun; until [ -e {self.s.home}/go ]; do sleep 0.05; done; echo loss=1"],
                                                       "metric": {"name": "loss"}, "parameters": {"x": {"min": 0.0, "max": 1.0}}}), 201)["id"]
        wait((self.s.home / "begun").exists, "the first trial")
        limits = resource.prlimit(self.s.process.pid, resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
        (self.s.home / "go").touch()
        entry = wait(lambda: [e for e in self.ok(self.s.get("/api/v1/queue"))["items"] if "nothing of it can be started now" in e["reason"]], "a reason")[0]
        self.assertIn("cannot write", entry["reason"])
        wait(lambda: max(t["attempt"] for t in self.trials(sweep)) > 2, "more tries")
        resource.prlimit(self.s.process.pid, resource.RLIMIT_FSIZE, limits)
        self.assertEqual(self.ended(sweep)["progress"]["finished"], 12)


    def test_what_is_too_large_to_start_keeps_nobody_else_waiting(self):
        slots = {"slots": self.ok(self.s.get("/api/v1/nodes"))["items"][0]["slots"]["total"]}
        limits = resource.prlimit(self.s.process.pid, resource.RLIMIT_FSIZE, (65536, resource.RLIM_INFINITY))
        self.addCleanup(resource.prlimit, self.s.process.pid, resource.RLIMIT_FSIZE, limits)
        large, _, _ = self.submit("echo large", resources=slots, env={"LARGE": "x" * 100000})
        reason = lambda: [e for e in self.ok(self.s.get("/api/v1/queue"))["items"] if e["sweep_id"] == large and "it is tried again" in e["reason"]]
        wait(reason, "a reason")
        for _ in range(4):
            small, _, _ = self.submit("echo small", resources=slots)
            self.assertEqual(self.ended(small)["progress"]["finished"], 1)
        resource.prlimit(self.s.process.pid, resource.RLIMIT_FSIZE, limits)
        self.assertEqual(self.ended(large)["progress"]["finished"], 1)


class Directories(Base):
    def between(self):
        proxy = Proxy(self.s)
        self.addCleanup(proxy.close)
        proxy.put_between()
        return proxy

    def stored(self, sweep, state="FINISHED"):
        wait(lambda: self.s.sql(f"select state from winnow.sweep where id = '{sweep}'") != "0" and self.trials(sweep)[0]["state"] == state, "the end")

    def test_of_an_attempt_whose_companion_went_when_the_service_did(self):
        """The service had stored the end and said so, and was killed before it saw the companion go."""
        proxy = self.between()
        sweep, _, attempt = self.submit("until [ -e $0/end ]; do sleep 0.05; done")
        companion = self.companion(attempt)
        proxy.hold_answers_from(b"/exited ")
        (self.s.home / "end").touch()
        self.stored(sweep)
        wait(proxy.has_answer.is_set, "what the companion is told")
        self.s.process.send_signal(signal.SIGSTOP)
        proxy.resume()
        wait(lambda: not self.is_alive(companion), "the companion's end")
        self.assertEqual((attempt / "companion.lock").read_text(), f"{companion}\ntold\n")
        self.s.kill()
        self.s.start()
        wait(lambda: not attempt.parent.exists(), "the tidying")

    def test_of_an_attempt_whose_companion_was_not_told_that_its_end_is_stored(self):
        """It asks the next service, which has nobody that waits for the attempt any more."""
        proxy = self.between()
        sweep, _, attempt = self.submit("until [ -e $0/end ]; do sleep 0.05; done")
        companion = self.companion(attempt)
        proxy.hold_answers_from(b"/exited ")
        (self.s.home / "end").touch()
        self.stored(sweep)
        self.s.kill()
        self.assertTrue(self.is_alive(companion))
        self.s.start()
        proxy.resume()
        wait(lambda: not self.is_alive(companion), "the companion's end")
        wait(lambda: not attempt.parent.exists(), "the tidying")

    def test_of_an_attempt_whose_companion_died_before_it_was_told(self):
        """Nobody is left to ask: the database says that its end is stored."""
        proxy = self.between()
        sweep, _, attempt = self.submit("until [ -e $0/end ]; do sleep 0.05; done")
        companion = self.companion(attempt)
        proxy.hold_answers_from(b"/exited ")
        (self.s.home / "end").touch()
        self.stored(sweep)
        self.s.kill()
        self.end(companion)
        self.assertTrue((attempt / "exit").exists())
        self.assertEqual((attempt / "companion.lock").read_text(), f"{companion}\n")
        self.s.start()
        wait(lambda: not attempt.parent.exists(), "the tidying")

    def test_of_attempts_that_a_killed_service_was_tidying(self):
        """Their locks had gone, so nothing in them tells that a companion was there; of one not even its own directory was left."""
        sweep, run, attempt = self.submit("exit 0")
        self.ended(sweep)
        wait(lambda: not attempt.parent.exists(), "the tidying")
        second, other, _ = self.submit("exit 0")
        self.ended(second)
        wait(lambda: not (self.s.data / "jobs" / other).exists(), "the tidying")
        self.s.kill()
        (attempt / "work").mkdir(parents=True)
        (attempt / "stdout").touch()
        (attempt.parent / "checkpoint").mkdir()
        (self.s.data / "jobs" / other).mkdir()
        self.s.start()
        wait(lambda: not attempt.parent.exists() and not (self.s.data / "jobs" / other).exists(), "the tidying")

    def test_of_an_attempt_whose_end_is_not_stored(self):
        """All that is known of it lies there: it stays until that is brought home."""
        sweep, run, attempt = self.submit("until [ -e $0/end ]; do sleep 0.05; done; echo done")
        companion = self.companion(attempt)
        wait(lambda: self.trials(sweep)[0]["state"] == "RUNNING", "the job")
        self.damage(sweep)
        (self.s.home / "end").touch()
        wait((attempt / "exit").exists, "the note of the end")
        self.end(companion)
        self.s.start()
        self.mend(sweep)
        self.s.kill()
        self.assertTrue((attempt / "exit").exists())
        self.s.start()
        self.assertEqual(self.ended(sweep)["state"], "FINISHED")
        self.assertEqual(self.log(run), "done\n")
        wait(lambda: not attempt.parent.exists(), "the tidying")

    def remove_one(self):
        sweep, run, attempt = self.submit("until [ -e $0/end ]; do sleep 0.05; done; exit 3")
        wait(lambda: self.trials(sweep)[0]["state"] == "RUNNING", "the job")
        companion = self.companion(attempt)
        shutil.rmtree(attempt.parent)
        return sweep, companion

    def end_of_removed(self, sweep):
        self.ended(sweep)
        wait(lambda: self.used() == 0, "free slots")
        return self.trials(sweep)[0]["state"], self.trials(sweep)[0]["state_reason"]

    def test_of_an_attempt_that_is_removed_while_it_runs(self):
        removed = "its directory was removed while it ran"
        sweep, _ = self.remove_one()
        (self.s.home / "end").touch()
        self.assertEqual(self.end_of_removed(sweep), ("FAILED", f"exit code 3; {removed}"))
        # It ends while nobody is there to be told.
        (self.s.home / "end").unlink()
        sweep, companion = self.remove_one()
        self.s.kill()
        (self.s.home / "end").touch()
        wait(lambda: not self.is_alive(companion), "the companion's end")
        self.s.start()
        self.assertEqual(self.end_of_removed(sweep), ("LOST", removed))
        # The next service does not find it, and ends it.
        (self.s.home / "end").unlink()
        sweep, companion = self.remove_one()
        self.s.kill()
        self.s.start()
        self.assertTrue(self.end_of_removed(sweep)[1].endswith(removed))
        wait(lambda: not self.is_alive(companion), "the companion's end")


if __name__ == "__main__":
    unittest.main()
