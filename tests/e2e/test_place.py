#!/usr/bin/env python3
"""Where jobs run: in copies of what was submitted, with the environment of the one who submitted, and never twice."""
import hashlib, io, json, os, pathlib, subprocess, sys, tarfile, textwrap, time, unittest

WINNOW = pathlib.Path(sys.argv.pop(1)).resolve()
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from service import Service, wait  # noqa: E402


def archive(**files):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            if isinstance(content, str) and content.startswith("->"):
                info.type, info.linkname = tarfile.SYMTYPE, content[2:]
                tar.addfile(info)
            else:
                info.size, info.mode = len(content), 0o755
                tar.addfile(info, io.BytesIO(content.encode()))
    return out.getvalue()


class Base(unittest.TestCase):
    def setUp(self):
        self.s = Service(WINNOW, arguments=["--slots", "2"])
        self.addCleanup(self.s.close)
        self.work = self.s.home / "work"
        self.work.mkdir()

    def ok(self, answer, status=200):
        self.assertEqual(answer.status, status, answer)
        return answer.json

    def put(self, name, text, mode=0o644):
        path = self.work / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))
        path.chmod(mode)
        return path

    def cli(self, *words, code=0, env=None, cwd=None):
        env = {**os.environ, "WINNOW_URL": f"unix:{self.s.data}/winnow.sock", **(env or {})}
        done = subprocess.run([str(WINNOW), *map(str, words)], capture_output=True, text=True, timeout=120, env=env, cwd=cwd)
        self.assertEqual(done.returncode, code, done)
        return done

    def ended(self, sweep, timeout=120):
        return wait(lambda: (s := self.ok(self.s.get(f"/api/v1/sweeps/{sweep}")))["state"] not in ("RUNNING", "DRAINING", "PAUSED") and s,
                    "the end", timeout)

    def trials(self, sweep):
        return self.ok(self.s.get(f"/api/v1/sweeps/{sweep}/trials?limit=1000"))["items"]

    def log(self, run, stream="stdout"):
        return self.s.get(f"/api/v1/runs/{run}/logs/{stream}?from=0").body.decode()


class Snapshots(Base):
    def test_trials_run_on_what_was_submitted(self):
        self.put("sweep.yaml", """
            method: grid
            metric: {name: loss}
            command: [sh, train.sh, "{{a}}"]
            links: [data]
            parameters: {a: {values: [1, 2, 3, 4]}}
            max_parallel: 1
            """)
        self.put("train.sh", 'sleep 0.3; echo "first loss=$1"; ls -A; cat data/set; touch left-$1; pwd; readlink data\n')
        self.put("data/set", "original\n")
        self.put(".gitignore", "*.secret\n")
        self.put("key.secret", "x")
        (self.work / "nothing").mkdir()
        made = json.loads(self.cli("sweep", "create", self.work / "sweep.yaml", "-o", "json").stdout)
        self.assertRegex(made["spec"]["workdir"], "^sha256:[0-9a-f]{64}$")
        self.assertEqual(made["warnings"], [])
        self.put("train.sh", 'echo "second loss=9"\n')  # no later trial sees this
        over = self.ended(made["id"])
        trials = self.trials(made["id"])
        self.assertEqual((over["state"], [t["value"] for t in trials]), ("FINISHED", [1, 2, 3, 4]))
        places = set()
        for trial in trials:
            lines = self.log(trial["run_id"]).splitlines()
            self.assertIn("original", lines)
            self.assertTrue({".gitignore", "data", "nothing", "sweep.yaml", "train.sh"} <= set(lines), lines)
            self.assertFalse({"key.secret", *(f"left-{t['number']}" for t in trials)} & set(lines), lines)
            places.add(lines[-2])
            self.assertEqual(lines[-1], str(self.work / "data"))
        self.assertEqual(len(places), 4)
        self.assertEqual(sorted(p.name for p in self.work.iterdir()),
                         [".gitignore", "data", "key.secret", "nothing", "sweep.yaml", "train.sh"])
        # Again: the service has it. And a clone has the same code, whatever stands there now.
        clone = self.ok(self.s.post(f"/api/v1/sweeps/{made['id']}/clone", {"name": "again"}), 201)
        self.assertEqual(clone["spec"]["workdir"], made["spec"]["workdir"])
        self.assertEqual(self.ended(clone["id"])["best"]["value"], 1)
        wait(lambda: not [p for p in (self.s.data / "jobs").glob("*/[0-9]*")], "the attempts' directories to be removed")

    def test_what_nothing_uses_goes(self):
        self.put("train.sh", "sleep 600\n")
        spec = {"method": "grid", "command": ["sh", "train.sh"], "stop_grace": 0, "workdir": str(self.work), "parameters": {"a": {"values": [1]}}}
        sweep = self.ok(self.s.post("/api/v1/sweeps", spec), 201)
        code = self.s.data / "code" / sweep["spec"]["workdir"].removeprefix("sha256:")
        os.utime(code, (1, 1))
        collect = lambda: [json.loads(line)["item"]["subject"] for line in self.s.post("/api/v1/admin/gc?older_than=1h").body.splitlines()
                           if b'"code"' in line]
        self.assertEqual(collect(), [])  # an unfinished sweep names it
        self.ok(self.s.post(f"/api/v1/sweeps/{sweep['id']}/stop"))
        self.ended(sweep["id"])
        os.utime(code, (1, 1))
        self.assertEqual(collect(), [code.name])
        wait(lambda: not list(code.parent.iterdir()), "the snapshot to be removed")
        again = self.s.post(f"/api/v1/sweeps/{sweep['id']}/clone", {})
        self.assertEqual(again.status, 404)
        self.assertIn("no snapshot", again.json["detail"])

    def test_in_place_and_through_rest(self):
        self.put("train.sh", 'echo "loss=1"; pwd; touch been-here\n')
        spec = {"name": "r", "method": "grid", "metric": {"name": "loss"}, "command": ["sh", "train.sh"], "workdir": str(self.work),
                "parameters": {"a": {"values": [1]}}}
        made = self.ok(self.s.post("/api/v1/sweeps", spec), 201)  # the service copies a directory of its own machine
        self.assertTrue(made["spec"]["workdir"].startswith("sha256:"))
        self.assertEqual(self.ended(made["id"])["state"], "FINISHED")
        self.assertFalse((self.work / "been-here").exists())
        made = self.ok(self.s.post("/api/v1/sweeps", {**spec, "workdir_mode": "inplace"}), 201)
        self.assertEqual(made["spec"]["workdir"], str(self.work))
        self.assertEqual(self.ended(made["id"])["state"], "FINISHED")
        self.assertTrue((self.work / "been-here").exists())
        for change, word in (({"workdir": "relative"}, "absolute"), ({"workdir": "sha256:" + "0" * 64}, "no snapshot"),
                             ({"workdir": str(self.work / "nowhere")}, "nowhere"), ({"links": ["../x"]}, "links"),
                             ({"workdir": ".", "workdir_mode": "inplace"}, "inplace"),
                             ({"workdir_max": "10"}, "train.sh")):
            answer = self.s.post("/api/v1/sweeps", {**spec, **change})
            self.assertIn(answer.status, (400, 404, 413), answer)
            self.assertIn(word, answer.json["detail"])
        self.assertEqual(self.s.post("/api/v1/sweeps", spec, unix=False).status, 401)

    def test_too_large_a_directory_lists_what_is_large(self):
        self.put("sweep.yaml", 'method: grid\ncommand: [sh, train.sh]\nworkdir_max: 1MB\nparameters: {a: {values: [1]}}\n')
        self.put("weights/a.bin", "x" * 900_000)
        self.put("weights/b.bin", "x" * 900_000)
        self.put("small", "x" * 200_000)
        done = self.cli("sweep", "create", self.work / "sweep.yaml", code=1)
        self.assertRegex(done.stderr, r"weights 1\.8 MB, small 0\.2 MB")
        self.assertIn(".winnowignore", done.stderr)
        self.put(".winnowignore", "weights/\n")
        self.cli("sweep", "create", self.work / "sweep.yaml")
        (self.work / "out").symlink_to("/etc")
        done = self.cli("sweep", "create", self.work / "sweep.yaml", code=1)
        self.assertRegex(done.stderr, r"(?s)out is a symbolic link to /etc.*links:")

    def test_archives_over_http(self):
        good = archive(**{"run.sh": "#!/bin/sh\necho loss=3\n", "also": "->run.sh"})
        digest = hashlib.sha256(good).hexdigest()
        path = f"/api/v1/code/{digest}"
        self.assertEqual(self.s.get(path).status, 404)
        self.assertEqual(self.s.request("PUT", path, good, unix=False).status, 401)
        self.assertEqual(self.s.get(path, unix=False).status, 401)
        self.assertEqual(self.s.request("PUT", path, good[:-1]).status, 400)
        self.assertEqual(self.s.request("PUT", path.upper(), good).status, 404)
        for _ in range(2):
            self.assertEqual(self.ok(self.s.request("PUT", path, good), 201)["workdir"], f"sha256:{digest}")
        self.assertEqual(self.s.request("HEAD", path).status, 200)
        made = self.ok(self.s.post("/api/v1/sweeps", {"method": "grid", "metric": {"name": "loss"}, "command": ["./also"],
                                                      "workdir": f"sha256:{digest}", "parameters": {"a": {"values": [1]}}}), 201)
        self.assertEqual(self.ended(made["id"])["best"]["value"], 3, self.trials(made["id"]))
        for bad in (archive(**{"../evil": "x"}), archive(**{"/etc/evil": "x"}), archive(**{"l": "->/etc"}),
                    archive(**{"l": "->..", "l/evil": "x"}), b"no archive", b""):
            answer = self.s.request("PUT", f"/api/v1/code/{hashlib.sha256(bad).hexdigest()}", bad)
            self.assertEqual(answer.status, 400, answer)
        wait(lambda: [p.name for p in (self.s.data / "code").iterdir()] == [digest], "the end of what was refused")

    def test_a_snapshot_survives_a_kill(self):
        self.put("train.sh", 'for i in 1 2 3 4; do echo "step=$i loss=$1"; sleep 0.2; done\n')
        self.put("sweep.yaml", """
            method: grid
            metric: {name: loss}
            command: [sh, train.sh, "{{a}}"]
            parameters: {a: {values: [1, 2, 3, 4, 5, 6]}}
            """)
        made = json.loads(self.cli("sweep", "create", self.work / "sweep.yaml", "-o", "json").stdout)
        (self.work / "train.sh").unlink()
        for pause in (0.05, 0.4, 0.7):
            time.sleep(pause)
            self.s.kill()
            self.s.start()
        over = self.ended(made["id"])
        self.assertEqual((over["state"], [t["value"] for t in self.trials(made["id"])]), ("FINISHED", [1, 2, 3, 4, 5, 6]))


class Environment(Base):
    def test_what_was_there_at_submit_is_there(self):
        bin = self.work / "bin"
        self.put("bin/python3", '#!/bin/sh\necho "loss=$LOSS"; echo "path $PATH"; echo "venv $VIRTUAL_ENV $PYTHONPATH"\n', 0o755)
        self.put("sweep.yaml", """
            method: grid
            metric: {name: loss}
            command: [python, train.py]
            env: {LOSS: "7", PYTHONPATH: mine}
            parameters: {a: {values: [1]}}
            """)
        env = {"PATH": f"{bin}:/nowhere", "VIRTUAL_ENV": "/venv", "PYTHONPATH": "theirs", "LD_LIBRARY_PATH": "", "NOT_RECORDED": "x"}
        made = json.loads(self.cli("sweep", "create", self.work / "sweep.yaml", "-o", "json", env=env).stdout)
        recorded = made["spec"]["recorded_env"]
        self.assertEqual((recorded["PATH"], recorded["VIRTUAL_ENV"], recorded["PYTHONPATH"]), (env["PATH"], "/venv", "theirs"))
        self.assertNotIn("NOT_RECORDED", recorded)
        self.assertEqual(self.ended(made["id"])["best"]["value"], 7, self.trials(made["id"]))
        lines = self.log(self.trials(made["id"])[0]["run_id"]).splitlines()
        self.assertEqual(lines[1:], [f"path {bin}:/nowhere", "venv /venv mine"])
        dry = self.cli("sweep", "create", self.work / "sweep.yaml", "--dry-run", "-o", "json", env=env)
        self.assertEqual(json.loads(dry.stdout)["command"], ["python3", "train.py"])


class Once(Base):
    def test_a_service_killed_while_companions_come_up_starts_nothing_twice(self):
        """The companion is slow to come: the service is killed after it has started it, and before it has said who it is."""
        slow = self.put("slow-exec", f'#!/bin/sh\ntouch "{self.work}/coming-$$"\nsleep 1.5\nexec "{WINNOW.parent}/winnow-exec" "$@"\n', 0o755)
        self.s.stop()
        self.s.arguments += ["--companion", str(slow)]
        self.s.start()
        job = self.put("job.sh", f'echo x >> "{self.work}/ran"; echo loss=1; sleep 1\n')
        made = self.ok(self.s.post("/api/v1/sweeps", {"method": "grid", "metric": {"name": "loss"}, "command": ["sh", str(job)],
                                                      "parameters": {"a": {"values": [1]}}}), 201)
        wait(lambda: list(self.work.glob("coming-*")), "the companion")
        self.assertFalse((self.work / "ran").exists())
        self.s.kill()
        self.s.start()
        over = self.ended(made["id"])
        trial = self.trials(made["id"])[0]
        self.assertEqual((over["state"], trial["state"], trial["attempt"]), ("FINISHED", "FINISHED", 1), trial)
        self.assertEqual(len(list(self.work.glob("coming-*"))), 1)
        self.assertEqual((self.work / "ran").read_text(), "x\n")


class Launched(Base):
    def launch(self, command, status=201, **more):
        return self.ok(self.s.post("/api/v1/runs", {"command": command, **more}), status)

    def run_of(self, run):
        return self.ok(self.s.get(f"/api/v1/runs/{run}"))

    def over(self, run, timeout=60):
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


class Telling(Base):
    def test_a_sweep_that_gives_up_shows_what_was_said(self):
        self.put("sweep.yaml", "method: grid\ncommand: [sh, train.sh]\nparameters: {a: {values: [1, 2, 3, 4, 5, 6]}}\ngive_up_after: 2\nmax_parallel: 1\n")
        self.put("train.sh", "echo loading; echo 'no module named \033[31mtorch' >&2; exit 4\n")
        done = self.cli("sweep", "create", self.work / "sweep.yaml", "-f", code=7)
        self.assertIn("exit code 4", done.stderr)
        self.assertIn("stdout: loading", done.stderr)
        self.assertRegex(done.stderr, "stderr: no module named .*torch")
        self.assertNotIn("\033", done.stderr)
        sweep = self.ok(self.s.get("/api/v1/sweeps"))["items"][0]
        self.assertEqual((sweep["state"], sweep["state_reason"]), ("FAILED", "its first trials have all failed"))
        self.assertLess(sweep["progress"]["trials"], 6)

    def test_slot_time_used_and_saved(self):
        job = self.put("job.sh", 'i=0; while [ $i -lt 20 ]; do i=$((i + 1)); echo "step=$i loss=$(($1 * i))"; sleep 0.1; done\n')
        spec = {"method": "grid", "metric": {"name": "loss"}, "command": ["sh", str(job), "{{k}}"], "early_terminate": {"type": "threshold", "max": 100},
                "parameters": {"k": {"values": [0, 1, 1000, 1001]}}}
        sweep = self.ok(self.s.post("/api/v1/sweeps", spec), 201)
        self.assertIsNone(sweep["slot_seconds"]["saved"])
        over = self.ended(sweep["id"])
        trials = self.trials(sweep["id"])
        self.assertEqual([t["state"] for t in trials], ["FINISHED", "FINISHED", "STOPPED", "STOPPED"])
        took = [(t["ended"] - t["started"]) / 1000 for t in trials]
        saved = (took[0] + took[1]) / 2 * 2 - took[2] - took[3]
        self.assertAlmostEqual(over["slot_seconds"]["saved"], saved, 2)
        self.assertGreater(saved, 1)
        self.assertGreaterEqual(over["slot_seconds"]["used"], sum(took) - 0.5)

    def test_exec_hands_over(self):
        done = self.cli("exec", code=2)
        self.assertIn("winnow-exec JOB-FILE", done.stderr)
        self.cli("exec", self.work / "no-such-job", code=1)


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
        self.assertEqual(self.s.process.wait(30), 0)
        self.assertEqual(self.alive(mark), [])
        self.assertEqual(self.s.postgres(), [])
        self.s.start()
        wait(lambda: len(self.alive(mark)) == 2, "the sweep to go on with its last trial")
        self.assertEqual([t["state"] for t in self.trials(sweep)][:2], ["KILLED", "KILLED"])
        self.ok(self.s.post(f"/api/v1/sweeps/{sweep}/stop"))
        self.ended(sweep)

    def test_without_it_they_go_on(self):
        mark = f"mark-{os.getpid()}-later"
        sweep = self.start_jobs(mark)
        self.cli("down")
        self.assertEqual(self.s.process.wait(30), 0)
        self.assertEqual(len(self.alive(mark)), 4)
        self.s.start()
        self.assertEqual([t["state"] for t in self.trials(sweep)], ["RUNNING", "RUNNING", "QUEUED"])
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
        third = launch("600")
        wait(lambda: len(seen.read_text().split()) == 3, "the third")
        self.assertEqual(seen.read_text().split()[2], next(uuid for uuid, run in used.items() if run == first))
        gang = launch("0", resources={"gpus": 2})
        for run in (second, third):
            self.ok(self.s.post(f"/api/v1/runs/{run}/stop"))
        wait(lambda: self.ok(self.s.get(f"/api/v1/runs/{gang}"))["state"] == "FINISHED", "the one with both")
        self.assertEqual(sorted(seen.read_text().split()[3].split(",")), sorted(uuids))


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
        runs = [self.launch("sh", "-c", "sleep 0.1", resources={"slots": 1, "memory": "1MiB"}) for _ in range(4)]
        wait(lambda: len(self.queue()) == 4, "the queue")
        entries = self.queue()
        self.assertEqual([(e["run_id"], e["position"], e["wants"]) for e in entries],
                         [(run, i + 1, {"slots": 1, "memory": 1 << 20}) for i, run in enumerate(runs)])
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
        spec = {"method": "grid", "command": ["true"], "parameters": {"a": {"values": [1, 2]}}}
        low = self.ok(self.s.post("/api/v1/sweeps", {"name": "low", **spec}), 201)["id"]
        high = self.ok(self.s.post("/api/v1/sweeps", {"name": "high", "priority": 2, **spec}), 201)["id"]
        paused = self.ok(self.s.post("/api/v1/sweeps", {"name": "paused", **spec}), 201)["id"]
        self.ok(self.s.post(f"/api/v1/sweeps/{paused}/pause"))
        wait(lambda: len(self.queue()) == 6, "the queue")
        self.assertEqual([(e["name"], e["number"]) for e in self.queue()],
                         [("high", 0), ("high", 1), ("low", 0), ("low", 1), ("paused", 0), ("paused", 1)])
        self.assertEqual(self.queue()[-1]["reason"], "its sweep is paused")
        self.patch(f"sweeps/{low}", {"priority": 3})
        self.assertEqual([e["name"] for e in self.queue()], ["low", "low", "high", "high", "paused", "paused"])
        self.cli("queue", "move", f"{paused}/1", "first")
        self.assertEqual([(e["name"], e["number"]) for e in self.queue()][0], ("paused", 1))
        self.stop(big)
        wait(lambda: {e["name"] for e in self.queue()} == {"paused"}, "the others")
        self.ok(self.s.post(f"/api/v1/sweeps/{paused}/resume"))
        self.assertEqual(self.ended(paused)["state"], "FINISHED")
        for sweep in (low, high):
            self.assertEqual(self.ended(sweep)["progress"]["finished"], 2)

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
        small = [self.launch("sh", "-c", "sleep 1.5"), self.launch("sh", "-c", "sleep 3")]
        wait(lambda: all(self.state(run) == "RUNNING" for run in small), "the start")
        gang = self.launch("true", resources={"slots": 2})
        later = [self.launch("true") for _ in range(3)]
        wait(lambda: self.state(small[0]) == "FINISHED", "one slot")
        self.assertEqual({self.state(run) for run in [gang, *later]}, {"QUEUED"})  # the free slot is kept for the gang
        self.assertEqual(self.ok(self.s.get("/api/v1/nodes"))["items"][0]["slots"], {"total": 2, "used": 1, "held": 1})
        self.assertIn("kept free", self.queue()[0]["reason"])
        wait(lambda: all(self.state(run) == "FINISHED" for run in [gang, *later]), "all")


if __name__ == "__main__":
    unittest.main()
