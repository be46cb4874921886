#!/usr/bin/env python3
"""Where jobs run: in copies of what was submitted, with the environment of the one who submitted, and never twice."""
import glob, hashlib, io, json, os, pathlib, sys, tarfile, time, unittest

WINNOW = pathlib.Path(sys.argv.pop(1)).resolve()
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from job_test import JobTest  # noqa: E402
from service import wait  # noqa: E402


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


class Base(JobTest):
    winnow = WINNOW


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
        wait(lambda: not glob.glob(f"{self.s.data}/jobs/*/[0-9]*/*"), "the attempts' directories to be removed")

    def test_variables_are_taken_over_from_who_submits(self):
        """Else from the service; what neither has is a warning, in a dry run too."""
        self.s.stop()
        self.s.env |= {"KEPT_HERE": "service", "BOTH": "service"}
        self.s.start()
        self.put("env.yaml", """
            method: grid
            metric: {name: loss}
            command: [sh, -c, 'echo "$MINE $BOTH $KEPT_HERE $WINNOW_TOKEN. loss={{a}}"']
            inherit_env: [MINE, BOTH, KEPT_HERE, NOBODYS, WINNOW_TOKEN]
            parameters: {a: {values: [1]}}
            """)
        env = {"MINE": "yes", "BOTH": "mine", "WINNOW_TOKEN": self.s.token}
        warning = 'inherit_env: "NOBODYS" is set neither where this was submitted nor for the service'
        dry = json.loads(self.cli("sweep", "create", self.work / "env.yaml", "--dry-run", "-o", "json", env=env).stdout)
        self.assertIn(warning, dry["warnings"])
        self.assertEqual([w for w in dry["warnings"] if "MINE" in w], [])
        made = json.loads(self.cli("sweep", "create", self.work / "env.yaml", "-o", "json", env=env).stdout)
        self.assertIn(warning, made["warnings"])
        self.assertNotIn(self.s.token, json.dumps(made))
        self.ended(made["id"])
        said = self.log(self.trials(made["id"])[0]["run_id"])
        self.assertRegex(said, "^yes mine service ")
        self.assertNotIn(self.s.token, said)

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
        # The end can be read where it is stored a moment before the service hears that it is.
        self.assertEqual(wait(collect, "the snapshot to be collected"), [code.name])
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

    def test_a_dry_run_looks_for_what_the_jobs_need(self):
        (self.work / "data").mkdir()
        head = "method: grid\nparameters: {a: {values: [1]}}\n"
        file = self.work / "sweep.yaml"
        for lines, complaint in (("workdir: nowhere\n", r"sweep\.yaml:3:10: workdir: there is no directory .*/nowhere"),
                                 ("workdir: sweep.yaml\n", r"sweep\.yaml:3:10: workdir: there is no directory"),
                                 ("links: [data, gone]\n", r"sweep\.yaml:3:15: links: cannot find .*/gone"),
                                 ("workdir: nowhere\nworkdir_mode: inplace\n", r"sweep\.yaml:3:10: workdir: there is no directory"),
                                 ("resources: {slots: 3}\n", r"sweep\.yaml:3:20: a trial wants 3 slots, and there are 2")):
            file.write_text(f"{head}{lines}command: [true]\n")
            for words in ((), ("--dry-run",)):
                with self.subTest(lines=lines, words=words):
                    self.assertRegex(self.cli("sweep", "create", file, *words, code=1).stderr, complaint)
        for change, path in (({"workdir": "/nowhere"}, "workdir"), ({"links": ["data", "gone"]}, "links[1]")):
            answer = self.s.post("/api/v1/sweeps?dry_run=true", {"method": "grid", "command": ["true"], "workdir": str(self.work),
                                                                 "parameters": {"a": {"values": [1]}}, **change})
            self.assertEqual((answer.status, [p["path"] for p in answer.json["errors"]]), (400, [path]), answer)
            self.assertEqual(answer.json["errors"][0]["line"], 1)
        file.write_bytes(head.encode() + b"name: caf\xe9\n")
        self.assertRegex(self.cli("sweep", "create", file, "--dry-run", code=1).stderr, r"sweep\.yaml:3:10: the text is not valid UTF-8")
        file.write_bytes(head.encode() + b"name: a\x00b\n")
        self.assertRegex(self.cli("sweep", "create", file, "--dry-run", code=1).stderr, r"sweep\.yaml:3:8: .*control")
        file.write_text(f"{head}program: train.py\n")
        shown = self.cli("sweep", "create", file, "--dry-run", "-o", "json")
        self.assertIn("warning: program: there is no", shown.stderr)
        self.assertIn("train.py", str(json.loads(shown.stdout)["warnings"]))
        self.put("train.py", "")
        self.assertEqual(self.cli("sweep", "create", file, "--dry-run", "-o", "json").stderr, "")

    def test_a_dry_run_is_for_everybody_and_shows_no_disk(self):
        spec = {"method": "grid", "command": ["echo", "{{a}}", "${envvar:HOME}"], "workdir": "/nowhere", "parameters": {"a": {"values": [1]}}}
        shown = self.ok(self.s.post("/api/v1/sweeps?dry_run=true", spec, unix=False))
        self.assertEqual((shown["points"], shown["command"]), ([{"a": 1}], ["echo", "1", "HOME"]))
        self.assertEqual(self.s.post("/api/v1/sweeps?dry_run=true", {**spec, "mehtod": "grid"}, unix=False).status, 400)
        self.assertEqual(self.s.post("/api/v1/sweeps", spec, unix=False).status, 401)
        self.put("sweep.yaml", "method: grid\ncommand: [true]\nparameters: {a: {values: [1]}}\n")
        over_tcp = {"WINNOW_URL": self.s.url, "HOME": str(self.s.home)}
        self.assertIn("points:", self.cli("sweep", "create", self.work / "sweep.yaml", "--dry-run", env=over_tcp).stdout)
        self.assertIn("scope", self.cli("sweep", "create", self.work / "sweep.yaml", env=over_tcp, code=4).stderr)
        self.assertEqual(self.ok(self.s.get("/api/v1/sweeps"))["items"], [])

    def test_too_large_a_directory_lists_what_is_large(self):
        self.put("sweep.yaml", 'method: grid\ncommand: [sh, train.sh]\nworkdir_max: 1MB\nparameters: {a: {values: [1]}}\n')
        self.put("weights/a.bin", "x" * 900_000)
        self.put("weights/b.bin", "x" * 900_000)
        self.put("small", "x" * 200_000)
        done = self.cli("sweep", "create", self.work / "sweep.yaml", code=1)
        self.assertRegex(done.stderr, r"has 2\.0 MB of files, and 1\.0 MB are copied at most\. The largest: weights 1\.8 MB, small 0\.2 MB, sweep\.yaml \d+ bytes")
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
        slow = self.put("slow-exec", f'#!/bin/sh\ntouch "{self.work}/coming-$$"\nuntil [ -e "{self.work}/come" ]; do sleep 0.05; done\nexec "{WINNOW.parent}/winnow-exec" "$@"\n', 0o755)
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
        (self.work / "come").touch()
        over = self.ended(made["id"])
        trial = self.trials(made["id"])[0]
        self.assertEqual((over["state"], trial["state"], trial["attempt"]), ("FINISHED", "FINISHED", 1), trial)
        self.assertEqual(len(list(self.work.glob("coming-*"))), 1)
        self.assertEqual((self.work / "ran").read_text(), "x\n")


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
        run = self.trials(sweep["id"])[0]["run_id"]
        for words in (("sweep", "show", sweep["id"]), ("trial", "show", run), ("run", "show", run)):
            told = self.cli(*words).stderr
            self.assertIn("stdout: loading", told, words)
            self.assertRegex(told, "stderr: no module named .*torch")
            self.assertNotIn("\033", told)
            hint = told.split("all of it: winnow ")[1].split(",")[0].split()
            self.assertEqual(self.cli(*hint).stdout, "loading\n")
        self.assertEqual(self.cli("run", "show", run, "-o", "json").stderr, "")

    def test_slot_time_used_and_saved(self):
        # Those that end well do so once they have run for longer than the stopped ones did.
        go = self.work / "go"
        job = self.put("job.sh", f'echo "step=1 loss=$1"; until [ -e "{go}" ] && [ $1 -lt 100 ]; do sleep 0.1; done\n')
        spec = {"method": "grid", "metric": {"name": "loss"}, "command": ["sh", str(job), "{{k}}"], "early_terminate": {"type": "threshold", "max": 100},
                "parameters": {"k": {"values": [1000, 1001, 0, 1]}}}
        sweep = self.ok(self.s.post("/api/v1/sweeps", spec), 201)
        self.assertIsNone(sweep["slot_seconds"]["saved"])
        wait(lambda: [t["state"] for t in self.trials(sweep["id"])] == ["STOPPED", "STOPPED", "RUNNING", "RUNNING"], "the other two")
        time.sleep(1 + max((t["ended"] - t["started"]) / 1000 for t in self.trials(sweep["id"])[:2]))
        go.touch()
        over = self.ended(sweep["id"])
        trials = self.trials(sweep["id"])
        self.assertEqual([t["state"] for t in trials], ["STOPPED", "STOPPED", "FINISHED", "FINISHED"])
        took = [(t["ended"] - t["started"]) / 1000 for t in trials]
        saved = (took[2] + took[3]) / 2 * 2 - took[0] - took[1]
        self.assertAlmostEqual(over["slot_seconds"]["saved"], saved, 2)
        self.assertGreater(saved, 1)
        self.assertGreaterEqual(over["slot_seconds"]["used"], sum(took) - 0.5)

    def test_slot_time_is_that_of_all_attempts_after_a_start(self):
        job = self.put("job.sh", 'if [ -e "$1" ]; then echo loss=1; exec sleep 600; fi; touch "$1"; sleep 1; exit 3\n')
        spec = {"metric": {"name": "loss"}, "command": ["sh", str(job), str(self.work / "second")], "method": "grid", "parameters": {"k": {"values": [1]}},
                "retries": {"max": 1, "on": ["failed"]}}
        sweep = self.ok(self.s.post("/api/v1/sweeps", spec), 201)["id"]
        wait(lambda: any(t["attempt"] == 2 and t["state"] == "RUNNING" for t in self.trials(sweep)), "the second attempt")
        self.s.kill()
        began = time.time()
        self.s.start()
        used = self.ok(self.s.get(f"/api/v1/sweeps/{sweep}"))["slot_seconds"]["used"]
        self.assertGreaterEqual(used, 0.9)
        self.assertLess(used, time.time() - began + 60)
        self.ok(self.s.post(f"/api/v1/sweeps/{sweep}/stop"))
        self.ended(sweep)

    def test_exec_hands_over(self):
        done = self.cli("exec", code=2)
        self.assertIn("winnow-exec JOB-FILE", done.stderr)
        self.cli("exec", self.work / "no-such-job", code=1)


if __name__ == "__main__":
    unittest.main()
