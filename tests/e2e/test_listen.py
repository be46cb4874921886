#!/usr/bin/env python3
"""What is read from jobs and what they leave, from outside: patterns and metric files, artifacts, registered models, logs."""
import concurrent.futures, http.client, json, os, pathlib, re, subprocess, sys, textwrap, threading, time, unittest

WINNOW = pathlib.Path(sys.argv[1]).resolve()
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from service import Service  # noqa: E402
from test_sweeps import Base, wait  # noqa: E402


class Listening(Base):
    @classmethod
    def setUpClass(cls):
        cls.s = Service(WINNOW, arguments=["--slots", "2"])

    @classmethod
    def tearDownClass(cls):
        if os.environ.get("WINNOW_TEST_LOG"):
            print(cls.s.log()[-6000:], flush=True)
        cls.s.close()

    def run_sweep(self, script, interpreter="python3", state="FINISHED", **spec):
        """Submits, waits for the end; gives the sweep and its trials."""
        over, trials = self.ended(self.submit_script(script, interpreter, **spec))
        self.assertEqual({t["state"] for t in trials}, {state}, trials)
        return over, trials

    def submit_script(self, script, interpreter="python3", **spec):
        work = self.s.home / f"work{time.time_ns()}"
        work.mkdir()
        (work / "job").write_text(textwrap.dedent(script))
        made = self.submit({"name": work.name, "method": "grid", "metric": {"name": "loss"}, "command": [interpreter, "job", "{{a}}"],
                            "workdir": str(work), "workdir_mode": "inplace", "parameters": {"a": {"values": [1]}}, **spec})
        return made["id"]

    def ended(self, sweep):
        over = wait(lambda: (s := self.sweep(sweep))["state"] not in ("RUNNING", "DRAINING") and s, "the end", 120)
        return over, self.trials(sweep)

    def points(self, run, key):
        answer = self.s.get(f"/api/v1/series?run={run}&key={key}&raw=true&format=csv")
        self.assertEqual(answer.status, 200, answer)
        lines = answer.body.decode().split()
        at = lines[0].split(",")
        return [(int(row[at.index("step")]), float(row[at.index("value")])) for row in (line.split(",") for line in lines[1:])]

    def keys(self, run):
        """Without those of the companion, which come after some seconds."""
        return {item["key"] for item in self.ok(self.s.get(f"/api/v1/runs/{run}/metrics"))["items"] if not item["key"].startswith("system/")}


class MetricsFrom(Listening):
    def test_patterns_add_to_the_built_in_ones_or_replace_them(self):
        script = """
            import sys
            for i in range(1, 4):
                print(f"<<{i}>> quality is {i / 10}; accuracy={i / 2}")
                print(f"<<{i}>> other {i}", file=sys.stderr)
            """
        source = {"stream": "stdout", "pattern": r"<<(?P<step>\d+)>> quality is (?P<loss>[\d.]+)"}
        _, trials = self.run_sweep(script, metrics_from=[source])
        self.assertEqual(self.points(trials[0]["run_id"], "loss"), [(1, 0.1), (2, 0.2), (3, 0.3)])
        self.assertIn("accuracy", self.keys(trials[0]["run_id"]))
        self.assertEqual(trials[0]["value"], 0.3)
        _, trials = self.run_sweep(script, metrics_from=[source, {"builtin": False}, {"stream": "stderr", "pattern": r"other (\d+)", "key": "n", "prefix": "err/"}])
        self.assertEqual(self.keys(trials[0]["run_id"]), {"loss", "err/n"})

    def test_a_goal_that_is_measured_before_the_training(self):
        for place in ("epoch", "step", "batch"):
            script = f"""
                print("loss=5", flush=True)
                for i in (1, 2):
                    print(f"{place} {{i}} loss={{3 - i}}", flush=True)
                """
            _, trials = self.run_sweep(script)
            self.assertEqual((trials[0]["value"], self.keys(trials[0]["run_id"])), (1, {"loss"}), place)
            self.assertEqual(self.points(trials[0]["run_id"], "loss"), [(0, 5), (1, 2), (2, 1)])

    def test_mistakes_are_told_with_their_place(self):
        file = 'method: grid\nmetric: loss\ncommand: ["true"]\nparameters: {a: {values: [1]}}\nmetrics_from:\n  - {stream: stdout, pattern: \'loss=([0-9\', key: loss}\n'
        answer = self.s.request("POST", "/api/v1/sweeps", file.encode(), headers={"Content-Type": "application/yaml"})
        self.assertEqual(answer.status, 400, answer)
        self.assertRegex(answer.json["detail"], r"6:31: pattern loss=.*character 11")
        spec = {"method": "grid", "metric": "loss", "command": ["true"], "parameters": {"a": {"values": [1]}}}
        for source, word in (({"file": "/etc/passwd", "format": "text"}, "below"), ({"file": "../x.csv"}, "below"),
                             ({"stream": "stdout"}, "pattern"), ({"stream": "stdout", "file": "x"}, "not both"),
                             ({"pattern": "loss"}, "value"), ({"file": "x.csv", "pattern": "(?P<a>.)", "format": "csv"}, "csv"),
                             ({"pattern": "(?P<a>.)", "when": "end"}, "end")):
            answer = self.s.post("/api/v1/sweeps", {**spec, "metrics_from": [source]})
            self.assertEqual(answer.status, 400, (source, answer))
            self.assertIn(word, answer.json["detail"], source)
        for line, place in (("artifacts: [out, ../x]", "5:12: .*not \"../x\""), ("artifacts: /tmp/*", "5:12: .*below the attempt's directory"),
                            ("register: {model: a/b}", "5:11: register: "), ("prior: [abc]", "5:8: \"prior\" is neither")):
            file = f'method: grid\nmetric: loss\ncommand: ["true"]\nparameters: {{a: {{values: [1]}}}}\n{line}\n'
            answer = self.s.request("POST", "/api/v1/sweeps", file.encode(), headers={"Content-Type": "application/yaml"})
            self.assertEqual(answer.status, 400, answer)
            self.assertRegex(answer.json["detail"], place)
        told = self.ok(self.s.post("/api/v1/sweeps?dry_run=true", {**spec, "env": {"WINNOW_TOKEN": "mine", "A": "b"}}))["warnings"]
        self.assertEqual([w for w in told if w.startswith("env")], ['env: "WINNOW_TOKEN" is not used: the job is told its own'])

    def test_files_that_grow_and_files_that_are_written_anew(self):
        script = """
            import json, os, time
            os.makedirs("out", exist_ok=True)
            rows, csv = [], open("out/progress.csv", "w")
            print("epoch,val/acc", file=csv, flush=True)
            for i in range(1, 6):
                with open("out/metrics.jsonl", "a") as f:
                    f.write(json.dumps({"step": i, "loss": i / 4}) + "\\n")
                print(f"{i},{i / 8}", file=csv, flush=True)
                rows.append({"epoch": i, "main/loss": i / 16})
                with open("out/log.tmp", "w") as f:
                    json.dump(rows, f)
                os.rename("out/log.tmp", "out/log")
                print(f"text: thing {i}", file=open("out/notes.txt", "a"))
                time.sleep(0.4)
            """
        sources = [{"file": "out/*.jsonl"}, {"file": "out/log", "format": "json", "prefix": "ch/"}, {"file": "out/progress.csv"},
                   {"file": "**/notes.txt", "pattern": r"thing (?P<value>\d+)", "key": "thing", "when": "end"}]
        _, trials = self.run_sweep(script, metrics_from=sources)
        run = trials[0]["run_id"]
        self.assertEqual(trials[0]["value"], 1.25)
        self.assertEqual(self.points(run, "loss"), [(i, i / 4) for i in range(1, 6)])
        self.assertEqual(self.points(run, "val/acc"), [(i, i / 8) for i in range(1, 6)])
        self.assertEqual(self.points(run, "ch/main/loss"), [(i, i / 16) for i in range(1, 6)])
        self.assertEqual([v for _, v in self.points(run, "thing")], [1, 2, 3, 4, 5])

    UNTIL_READ = """
            import json, os, time, urllib.request
            def until_read(key, count):
                url = os.environ["WINNOW_URL"] + "/api/v1/runs/" + os.environ["WINNOW_RUN_ID"] + "/metrics"
                ask = urllib.request.Request(url, headers={"Authorization": "Bearer " + os.environ["WINNOW_TOKEN"]})
                while sum(item["count"] for item in json.load(urllib.request.urlopen(ask))["items"] if item["key"] == key) < count:
                    time.sleep(0.1)
            """

    def test_files_that_are_written_anew_in_their_place(self):
        """As Lightning's CSVLogger does when a column comes, and as whoever keeps one object of the newest values."""
        script = self.UNTIL_READ + """
            def write(name, text):
                with open(name, "w") as f:
                    f.write(text)
            write("m.csv", "step,train\\n1,8\\n2,4\\n")
            write("now.json", json.dumps({"epoch": 1, "now": 1}))
            write("pretty.json", json.dumps({"acc": 0.5}, indent=2))
            until_read("train", 2); until_read("acc", 1)
            write("m.csv", "step,train,loss\\n1,8,\\n2,4,\\n2,,3\\n4,2,\\n")
            write("now.json", json.dumps({"epoch": 2, "now": 2}) + "\\n")
            write("pretty.json", json.dumps({"acc": 0.7}, indent=2))
            """
        _, trials = self.run_sweep(script, metrics_from=[{"file": "m.csv"}, {"file": "*.json"}])
        run = trials[0]["run_id"]
        self.assertEqual((self.points(run, "loss"), self.points(run, "train")), ([(2, 3)], [(1, 8), (2, 4), (4, 2)]))
        self.assertEqual((self.points(run, "now")[-1], self.points(run, "acc")), ((2, 2), [(0, 0.5), (1, 0.7)]))

    def test_no_row_of_files_that_rotate_fast_is_lost(self):
        """Python's own rotation, of two rows a file: many files have the name between two looks of the companion."""
        script = """
            import json, logging.handlers
            handler = logging.handlers.RotatingFileHandler("m.jsonl", maxBytes=60, backupCount=9)
            log = logging.getLogger()
            log.addHandler(handler)
            for i in range(14):
                log.warning(json.dumps({"step": i, "loss": i}))
            """
        _, trials = self.run_sweep(script, metrics_from=[{"file": "m.jsonl"}])
        self.assertEqual(self.points(trials[0]["run_id"], "loss"), [(i, i) for i in range(14)])

    def test_one_report_from_two_sources(self):
        script = self.UNTIL_READ + """
            for i in range(1, 8):
                print(f"step={i} loss={i / 4}", flush=True)
            until_read("loss", 7)  # at one time they would be one point
            with open("m.jsonl", "a") as f:
                for i in range(1, 8):
                    f.write(json.dumps({"step": i, "loss": i / 4}) + "\\n")
            until_read("loss", 14)
            """
        over, trials = self.run_sweep(script, metrics_from=[{"file": "m.jsonl"}], metric={"name": "loss", "use": "mean_last_k", "last_k": 100})
        self.assertEqual(trials[0]["value"], sum(i / 4 for i in range(1, 8)) / 7)
        self.assertEqual(self.points(trials[0]["run_id"], "loss"), [(i, i / 4) for i in range(1, 8) for _ in range(2)])

    def test_what_is_written_while_no_service_is_there_keeps_its_time(self):
        script = """
            import json, os, sys, time
            out = open("m.jsonl", "a")
            for i in range(6):
                print(json.dumps({"step": i, "loss": i}), file=out, flush=True)
                while i == 0 and not os.path.exists("away"):
                    time.sleep(0.05)
                time.sleep(1)
            open("later.jsonl", "w").close()
            while not os.path.exists("over"):
                time.sleep(0.05)
            """
        with Service(WINNOW) as service:
            ours, type(self).s = self.s, service
            try:
                sweep = self.submit_script(script, metrics_from=[{"file": "*.jsonl"}])
                run = wait(lambda: (t := self.trials(sweep)) and t[0]["value"] == 0 and t[0], "the first point")["run_id"]
                work, = (p for p in service.home.glob("work*") if p.is_dir())
                fds = pathlib.Path("/proc", (service.data / "jobs" / run / "1" / "companion.lock").read_text().split()[0], "fd")
                service.kill()
                (work / "away").touch()
                wait(lambda: any(os.path.realpath(fd).endswith("/later.jsonl") for fd in fds.iterdir()), "a look at the files after the last point")
                back = time.time() * 1000  # a point's time is that of the request that brings it, less its age
                (work / "over").touch()
                service.start()
                self.ended(sweep)
                rows = [line.split(",") for line in service.get(f"/api/v1/series?run={run}&key=loss&raw=true&format=csv").body.decode().split()]
                times = [int(row[rows[0].index("time")]) for row in rows[1:]]
            finally:
                type(self).s = ours
        self.assertEqual((len(times), times), (6, sorted(times)))
        self.assertGreaterEqual(len(set(times)), 3, times)  # on a slow machine the companion sees several rows at once
        self.assertLess(times[-1], back)

    def test_a_piece_that_comes_again_before_it_is_stored(self):
        """Its companion has given up waiting for the answer. With another age its points would be others."""
        sweep = self.submit_script("import os, time\nwhile not os.path.exists('go'): time.sleep(0.05)\nprint('loss=1')", metrics_from=[{"file": "m.jsonl"}])
        run = wait(lambda: (t := self.trials(sweep)) and t[0]["state"] == "RUNNING" and t[0], "the trial")["run_id"]
        body = "".join(json.dumps({"step": i, "thing": i}) + "\n" for i in range(3000)).encode()
        send = lambda age: self.s.post(f"/api/v1/companion/{run}/1/file?source=0&path=m.jsonl&generation=1&offset=0&snapshot=0&last=0&age={age}", body).status
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            statuses = list(pool.map(send, range(0, 8000, 1000)))
        self.assertLessEqual(set(statuses), {200, 503})
        wait(lambda: send(9000) == 200, "the answer that all of it is there")
        points = self.points(run, "thing")
        self.assertEqual((len(points), points == [(i, i) for i in range(3000)]), (3000, True))
        self.s.post(f"/api/v1/sweeps/{sweep}/stop")

    def test_a_line_says_where_its_metrics_stand_wherever_it_says_so(self):
        script = "for n in (50, 100, 200): print(f'loss={1000 - n} tokens={n}')"
        rule = {"type": "asha", "min_iter": 100, "eta": 2, "step_metric": "tokens"}
        for sources in ([], [{"pattern": r"loss=(?P<loss>\S+) tokens=(?P<tokens>\d+)"}]):
            over, trials = self.run_sweep(script, metrics_from=sources, early_terminate=rule)
            rungs = self.ok(self.s.get(f"/api/v1/sweeps/{over['id']}/rungs"))["items"][0]["brackets"][0]
            self.assertEqual([(r["at"], r["best"]) for r in rungs], [(100, 900), (200, 800)])
        self.ok(self.s.post(f"/api/v1/runs/{trials[0]['run_id']}/reparse"))
        self.assertEqual([value for _, value in self.points(trials[0]["run_id"], "tokens")], [50, 100, 200])

    def test_what_a_rule_looks_at_is_heard_under_any_name(self):
        script = "for n in (1, 2, 30): print(f'tokens={n}'); print('loss=1')"
        self.run_sweep(script, state="STOPPED", early_terminate={"type": "threshold", "metric": "tokens", "max": 10}, stop_grace="1s")

    def test_files_that_never_come_are_missed(self):
        over, _ = self.run_sweep("print('loss=1'); open('there.jsonl', 'w').write('{\"n\": 1}')", max_parallel=1, parameters={"a": {"values": [1, 2]}},
                                 metrics_from=[{"file": "there.jsonl"}, {"file": "logs/*.csv"}])
        self.assertEqual(over["warnings"], ['metrics_from: the command has written no file that matches "logs/*.csv"'])

    def test_files_of_which_nothing_can_be_read_are_told(self):
        """Once a sweep, of trials that ended well; not where another file of the same glob has given something."""
        script = """
            import json, sys
            open("prose.jsonl", "w").write("no\\nJSON\\n")
            json.dump(["no", "objects"], open("list.json", "w"))
            open("notes.txt", "w").write("the end is 3\\n")
            open("empty.csv", "w")
            open("part-1.csv", "w").write("step,x\\n1,2\\n")
            open("part-2.csv", "w").write("# nothing\\n")
            print("loss=1")
            """
        sources = [{"file": "./prose.jsonl"}, {"file": "list.json"}, {"file": "notes.txt", "pattern": r"ends at (?P<x>\S+)"}, {"file": "empty.csv"}, {"file": "part-*.csv"}]
        over, trials = self.run_sweep(script, parameters={"a": {"values": [1, 2]}}, max_parallel=1, metrics_from=sources)
        self.assertEqual(sorted(over["warnings"]), ['metrics_from: no metric was found in "list.json", read as json',
                                                    'metrics_from: no metric was found in "notes.txt": its pattern matches nothing there',
                                                    'metrics_from: no metric was found in "prose.jsonl", read as json'])
        self.assertEqual(self.keys(trials[0]["run_id"]), {"loss", "x"})
        over, _ = self.run_sweep("import sys; open('prose.jsonl', 'w').write('no\\n'); sys.exit(1)", state="FAILED", metrics_from=sources[:1])
        self.assertEqual(over["warnings"], [])

    def test_files_through_kills_of_the_service(self):
        with Service(WINNOW, arguments=["--slots", "2"]) as service:
            mine, self.s = self.s, service
            try:
                (service.home / "job").write_text(textwrap.dedent("""
                    import json, time
                    for i in range(400):
                        with open("m.jsonl", "a") as f:
                            f.write(json.dumps({"step": i, "loss": i / 4}) + "\\n")
                        time.sleep(0.012)
                    """))
                sweep = self.submit({"name": "kills", "method": "grid", "metric": {"name": "loss"}, "command": ["python3", "job"],
                                     "workdir": str(service.home), "workdir_mode": "inplace", "parameters": {"a": {"values": [1]}},
                                     "metrics_from": [{"file": "m.jsonl"}]})["id"]
                for _ in range(3):
                    time.sleep(1.1)
                    service.kill()
                    service.start()
                wait(lambda: self.sweep(sweep)["state"] == "FINISHED", "the end")
                trial = self.trials(sweep)[0]
                self.assertEqual(self.points(trial["run_id"], "loss"), [(i, i / 4) for i in range(400)])
                self.assertEqual(trial["value"], 399 / 4)
            finally:
                self.s = mine

    def test_a_log_that_came_with_the_directory_is_not_of_the_attempt(self):
        """It lay about when the sweep was submitted, and is copied like everything else."""
        work = self.s.home / "with-a-log"
        work.mkdir()
        (work / "old.json").write_text('[{"epoch": 7, "loss": 99}]')
        (work / "job").write_text("import time\ntime.sleep(1)\nopen('new.json', 'w').write('[{\"epoch\": 1, \"loss\": 3}]')\n")
        made = self.submit({"name": "with-a-log", "method": "grid", "metric": {"name": "loss"}, "command": ["python3", "job"], "workdir": str(work),
                            "parameters": {"a": {"values": [1]}}, "metrics_from": [{"file": "*.json"}]})
        wait(lambda: self.sweep(made["id"])["state"] == "FINISHED", "the end", 120)
        trial = self.trials(made["id"])[0]
        self.assertEqual((trial["state"], trial["value"], self.points(trial["run_id"], "loss")), ("FINISHED", 3.0, [(1, 3.0)]))

    def test_a_run_tells_where_its_metrics_come_from(self):
        script = """
            import os, time
            print("quality is 0.5", flush=True)
            while not os.path.exists("go"):
                time.sleep(0.05)
            open("m.jsonl", "w").write('{"loss": 3}\\nno record\\n{"loss": 2}\\n')
            """
        sweep = self.submit_script(script, metrics_from=[{"pattern": r"quality is (?P<quality>\S+)"}, {"builtin": False}, {"file": "m.jsonl"},
                                                         {"file": "gone/*.csv"}])
        run = lambda: self.ok(self.s.get(f"/api/v1/runs/{wait(lambda: self.trials(sweep), 'the trial')[0]['run_id']}"))
        said = wait(lambda: (r := run()["recognised"]).get("stdout") and r, "the output")
        self.assertEqual(said, {"stdout": "by name or pattern, 1 metric", "m.jsonl": "not there yet", "gone/*.csv": "not there yet"})
        (pathlib.Path(self.sweep(sweep)["spec"]["workdir"]) / "go").touch()
        self.ended(sweep)
        self.assertEqual(run()["recognised"], {"stdout": "by name or pattern, 1 metric", "m.jsonl": "json, 34 bytes, 1 bad record",
                                               "gone/*.csv": "there was no such file"})


class Artifacts(Listening):
    SCRIPT = """
        import os, sys
        value = float(sys.argv[1])
        work = f"t{value}"
        os.makedirs("model/deep", exist_ok=True)
        open("model/weights.bin", "wb").write(os.urandom(3_000_000))
        open("model/deep/päth %41.txt", "w").write(str(value))
        open("skipped.txt", "w").write("no")
        for name, to in (("model/out", "/etc/passwd"), ("model/up", "../../.."), ("model/latest", "weights.bin")):
            os.path.islink(name) or os.symlink(to, name)
        print(f"loss={value}")
        sys.exit(3 if value > 100 else 0)
        """

    def files(self, run, path=""):
        items = self.ok(self.s.get(f"/api/v1/runs/{run}/artifacts?path={path}"))["items"]
        return sorted(item["path"] for item in items)

    def test_what_is_left_behind_is_stored_also_of_failed_trials(self):
        for value, state in ((1.5, "FINISHED"), (101, "FAILED")):
            _, trials = self.run_sweep(self.SCRIPT, state=state, artifacts=["model/**", "*.none"], parameters={"a": {"values": [value]}})
            run = trials[0]["run_id"]
            self.assertEqual(self.files(run), ["model"])
            self.assertEqual(self.files(run, "model"), ["model/deep", "model/latest", "model/weights.bin"])
            stored = self.s.get(f"/api/v1/runs/{run}/artifacts/model/deep/p%C3%A4th%20%2541.txt")
            self.assertEqual((stored.status, stored.body.decode()), (200, str(float(value))))
            self.assertEqual(len(self.s.get(f"/api/v1/runs/{run}/artifacts/model/latest").body), 3_000_000)

    def test_a_directory_by_its_name(self):
        _, trials = self.run_sweep(self.SCRIPT, artifacts=["model"])
        self.assertEqual(self.files(trials[0]["run_id"], "model"), ["model/deep", "model/latest", "model/weights.bin"])

    def test_paths_as_people_write_them(self):
        """From the directory they stand in: ./model/ is model, and . all of it."""
        for name, globs, path, kept in (("dotted", ["./model/"], "./model", ["deep", "latest", "weights.bin"]), ("whole", "model", ".", ["model"]),
                                        ("all", ".", "./", ["job", "model", "skipped.txt"])):
            over, trials = self.run_sweep(self.SCRIPT, artifacts=globs, register={"model": name, "path": path})
            wait(lambda: self.sweep(over["id"])["registered"], "the version")
            files = self.ok(self.s.get(f"/api/v1/models/{name}/versions/1/files"))["items"]
            self.assertEqual(sorted(f["path"] for f in files), kept)
            self.assertEqual(self.ok(self.s.post(f"/api/v1/models/{name}/versions/1/verify"))["ok"], True)
            self.assertEqual(self.sweep(over["id"])["warnings"], [])
        by_hand = self.ok(self.s.post("/api/v1/models/whole/versions", {"run_id": trials[0]["run_id"], "path": "."}), 201)
        self.assertEqual(by_hand["version"], 2)
        spec = {"method": "grid", "metric": "loss", "command": ["true"], "parameters": {"a": {"values": [1]}}}
        answer = self.s.post("/api/v1/sweeps", {**spec, "register": {"model": "m", "path": "../out"}})
        self.assertEqual((answer.status, "is all of them" in answer.json["hint"]), (400, True), answer)
        _, trials = self.run_sweep("print('{}')\nopen('x.jsonl', 'w').write('{\"loss\": 1}\\n')", metrics_from=[{"file": "./x.jsonl"}])
        self.assertEqual(trials[0]["value"], 1)

    def test_through_a_kill_of_the_service(self):
        with Service(WINNOW, arguments=["--slots", "2"]) as service:
            mine, self.s = self.s, service
            try:
                (service.home / "job").write_text("import os\nos.makedirs('m', exist_ok=True)\nfor i in range(60):\n open(f'm/{i}', 'wb').write(os.urandom(2_000_000))\nprint('loss=1')\n")
                sweep = self.submit({"name": "kill", "method": "grid", "metric": "loss", "command": ["python3", "job"], "artifacts": ["m/*"],
                                     "workdir": str(service.home), "workdir_mode": "inplace", "parameters": {"a": {"values": [1]}},
                                     "register": {"model": "kept", "path": "m"}})["id"]
                run = wait(lambda: (t := self.trials(sweep)) and t[0]["run_id"], "the trial")
                wait(lambda: len(self.files(run, "m")) > 3, "the first files")
                service.kill()
                time.sleep(0.5)
                service.start()
                wait(lambda: self.sweep(sweep)["state"] == "FINISHED", "the end")
                self.assertEqual(len(self.files(run, "m")), 60)
                made = wait(lambda: self.sweep(sweep)["registered"], "the version")
                service.kill()
                service.start()
                time.sleep(1)
                self.assertEqual(self.sweep(sweep)["registered"], made)
                self.assertEqual(len(self.ok(service.get("/api/v1/models/kept/versions"))["items"]), 1)
                self.assertEqual(self.ok(service.post("/api/v1/models/kept/versions/1/verify"))["ok"], True)
            finally:
                self.s = mine

    def test_a_copy_that_could_not_be_told_stays_the_one(self):
        """The version and its files are there, and the sweep cannot be told so: it is told later, also by another service."""
        self.s.sql("create function refuse() returns trigger language plpgsql as $$ begin raise exception 'not now'; end $$;"
                   "create trigger refuse before update on sweep_version execute function refuse()")
        over, _ = self.run_sweep(self.SCRIPT, register={"model": "untold", "path": "model"}, artifacts=["model/**"])
        path = wait(lambda: self.s.sql("select kept_path from model_version v join registered_model m on m.id = v.model where m.name = 'untold' and kept_path is not null"), "the copy")
        place = self.s.data / "artifacts" / path
        before = place.stat().st_ino
        self.assertEqual(self.sweep(over["id"])["registered"], [])
        self.s.kill()
        self.s.start()
        self.s.sql("drop trigger refuse on sweep_version; drop function refuse()")
        made = wait(lambda: self.sweep(over["id"])["registered"], "the version")
        self.assertEqual((made[0]["version"], place.stat().st_ino), (1, before))
        self.assertEqual(self.ok(self.s.post("/api/v1/models/untold/versions/1/verify"))["ok"], True)

    def test_the_best_becomes_a_model_version(self):
        spec = {"artifacts": ["model/**"], "parameters": {"a": {"values": [3, 1, 2, 4]}}, "max_parallel": 1}
        over, trials = self.run_sweep(self.SCRIPT, register={"model": "digits", "path": "model"}, **spec)
        made = wait(lambda: self.sweep(over["id"])["registered"], "the version")
        best = next(t for t in trials if t["value"] == 1)
        self.assertEqual(made, [{"model": "digits", "version": 1, "run_id": best["run_id"]}])
        shown = subprocess.run([WINNOW, "sweep", "show", over["id"]], capture_output=True, text=True, timeout=60,
                               env={**os.environ, "WINNOW_URL": f"unix:{self.s.data}/winnow.sock"})
        self.assertRegex(shown.stdout, r"Registered +digits/1\n")
        version = self.ok(self.s.get("/api/v1/models/digits/versions/1"))
        self.assertEqual((version["run_id"], version["metrics"]["loss"]), (best["run_id"], 1.0))
        # What the job took of its machine is not shown as the model's.
        points = [{"key": key, "value": 2, "step": 1} for key in ("system/memory_bytes", "acc")]
        self.ok(self.s.post(f"/api/v1/runs/{best['run_id']}/metrics", {"points": points}))
        self.ok(self.s.post("/api/v1/models", {"name": "by-hand"}), 201)
        by_hand = self.ok(self.s.post("/api/v1/models/by-hand/versions", {"run_id": best["run_id"], "path": "model"}), 201)
        self.assertEqual(by_hand["metrics"], {"acc": 2, "loss": 1})
        text = self.s.get("/api/v1/models/digits/versions/1/files/deep/p%C3%A4th%20%2541.txt")
        self.assertEqual(text.body, b"1.0")
        events = lambda: [e["kind"] for e in self.ok(self.s.get(f"/api/v1/runs/{over['id']}/events"))["items"]]
        wait(lambda: "sweep.registered" in events(), "its event")
        over, _ = self.run_sweep(self.SCRIPT, register={"model": "each", "path": "model", "when": "each_best"}, **spec)
        wait(lambda: [m["version"] for m in self.sweep(over["id"])["registered"]] == [1, 2], "both versions")
        over, _ = self.run_sweep(self.SCRIPT, register={"model": "never", "path": "model", "metric_at_most": 0.5}, **spec)
        told = lambda: [e["reason"] for e in self.ok(self.s.get(f"/api/v1/runs/{over['id']}/events"))["items"] if e["kind"] == "sweep.not_registered"]
        self.assertIn("above metric_at_most", wait(told, "the reason")[0])
        self.assertEqual(self.sweep(over["id"])["warnings"], ["no model is registered: " + told()[0]])
        self.assertEqual(self.sweep(over["id"])["registered"], [])
        over, _ = self.run_sweep(self.SCRIPT, register={"model": "never", "path": "nothing"}, **spec)
        self.assertIn('no artifact "nothing"', wait(told, "the reason")[0])
        self.s.kill()
        self.s.start()
        self.assertEqual(self.sweep(over["id"])["warnings"], ["no model is registered: " + told()[0]])
        self.assertEqual(self.s.get("/api/v1/models/never").status, 404)

    def test_artifacts_that_are_not_there_are_missed(self):
        """Once, of whatever trial ended well; a glob whose files another one took is not missed."""
        over, trials = self.run_sweep(self.SCRIPT, artifacts=["model/**", "model/deep/*", "plots/*.png"], max_parallel=1,
                                      parameters={"a": {"values": [1, 2]}})
        text = 'artifacts: no file matches "plots/*.png" when the command has ended'
        self.assertEqual(over["warnings"], [text])
        for trial in trials:
            events = self.ok(self.s.get(f"/api/v1/runs/{trial['run_id']}/events"))["items"]
            self.assertEqual([e["reason"] for e in events if e["kind"] == "run.artifacts"], [text])

    def test_a_best_trial_that_was_stopped(self):
        """What it stored before it was stopped becomes the version; if it stored nothing, the next best is taken."""
        script = """
            import os, pathlib, sys, time
            a = int(sys.argv[1])
            if a != STORES_NOTHING:
                pathlib.Path("model").mkdir(exist_ok=True)
                pathlib.Path("model/it").write_text(str(a))
            for i in range(1, 4):
                print(f"step={i} loss={a}", flush=True)
            if a == 1:
                time.sleep(600)
            """
        for nothing, expected in ((9, 1), (1, 2)):
            model = f"stopped{nothing}"
            sweep = self.submit_script(script.replace("STORES_NOTHING", str(nothing)), artifacts=["model/**"], workdir_mode="copy", max_parallel=1,
                                       parameters={"a": {"values": [2, 1, 3]}}, register={"model": model, "path": "model"},
                                       early_terminate={"type": "threshold", "min": 1.5})
            over, trials = self.ended(sweep)
            self.assertEqual({t["params"]["a"]: t["state"] for t in trials}, {1: "STOPPED", 2: "FINISHED", 3: "FINISHED"})
            self.assertEqual((over["best"]["value"], over["best"]["params"]["a"]), (1, 1))
            made = wait(lambda: self.sweep(sweep)["registered"], "the version")
            self.assertEqual([m["run_id"] for m in made], [t["run_id"] for t in trials if t["params"]["a"] == expected])
            self.assertEqual(self.s.get(f"/api/v1/models/{model}/versions/1/files/it").body.decode(), str(expected))


class Logs(Listening):
    SCRIPT = """
        import os, sys, time
        for i in range(1, 301):
            sys.stdout.write(f"\\x1b[32mline {i}\\x1b[0m start\\r\\x1b[Kline {i} is {'odd' if i % 2 else 'even'}\\n")
        sys.stdout.flush()
        for i in range(8):
            print(f"late {i}", flush=True)
            time.sleep(0.25)
        sys.stdout.write("loss=1 no end")
        """

    def log(self, run, query="", stream="stdout", **kw):
        return self.s.get(f"/api/v1/runs/{run}/logs/{stream}{query}", **kw)

    def test_ranges_tails_lines_and_patterns(self):
        _, trials = self.run_sweep(self.SCRIPT)
        run = trials[0]["run_id"]
        whole = self.log(run)
        size = len(whole.body)
        self.assertEqual([int(whole.headers[f"Winnow-Log-{k}"]) for k in ("Offset", "Next", "Size")], [0, size, size])
        part = self.log(run, "?from=100&limit=50")
        self.assertEqual((part.body, int(part.headers["Winnow-Log-Next"])), (whole.body[100:150], 150))
        self.assertEqual(self.log(run, f"?from={size + 10}").body, b"")
        for n in (1, 3, 200, 100000):
            tail = self.log(run, f"?tail={n}")
            lines = whole.body.split(b"\n")
            self.assertEqual(tail.body, b"\n".join(lines[-n:]) if n < len(lines) else whole.body)
            self.assertEqual(int(tail.headers["Winnow-Log-Offset"]), size - len(tail.body))
        self.assertEqual(self.log(run, "?tail=0").body, b"")
        plain = self.log(run, "?plain=true").body.decode().split("\n")
        self.assertEqual((plain[0], plain[299], plain[308], plain[309]), ("line 1 is odd", "line 300 is even", "loss=1 no end", ""))
        self.assertEqual(len(self.log(run, "?grep=even%24").body.split(b"\n")), 151)
        self.assertEqual(self.log(run, "?grep=%5Eline%20(7%7C9)%20").body, b"line 7 is odd\nline 9 is odd\n")
        self.assertEqual(self.log(run, "?grep=odd&tail=2").body, b"line 297 is odd\nline 299 is odd\n")
        self.assertEqual(self.log(run, "?grep=no%20end&tail=5").body, b"loss=1 no end\n")
        self.assertEqual(self.log(run, "?grep=start").body, b"")
        self.assertEqual(self.log(run, "?grep=x", "stderr").body, b"")
        self.assertIn("parenthesis", self.log(run, "?grep=(a").json["detail"])
        begun = time.time()
        self.assertEqual(self.log(run, "?grep=(%5Ba-z%200-9%5D%2B)%2B%2B%2BX").status, 400)
        self.assertEqual(self.log(run, "?grep=(%5Ba-z%200-9%5D%2B)%2BX").body, b"")  # ([a-z 0-9]+)+X
        self.assertLess(time.time() - begun, 20)
        self.assertEqual(self.log(run, "?follow=maybe").status, 400)
        self.assertEqual(self.log("0" * 32).status, 404)

    def test_a_follower_sees_lines_as_they_come_and_ends_with_the_run(self):
        work = self.s.home / "follow"
        work.mkdir()
        # Each line but the first waits until the first has been seen.
        (work / "job").write_text(textwrap.dedent(self.SCRIPT).replace("time.sleep(0.25)", "while not os.path.exists('seen'): time.sleep(0.05)"))
        sweep = self.submit({"name": "follow", "method": "grid", "metric": "loss", "command": ["python3", "job"], "workdir": str(work),
                             "workdir_mode": "inplace", "parameters": {"a": {"values": [1]}}})["id"]
        run = wait(lambda: (t := self.trials(sweep)) and t[0]["run_id"], "the trial")
        env = {**os.environ, "WINNOW_URL": f"unix:{self.s.data}/winnow.sock"}
        grep = subprocess.Popen([WINNOW, "logs", run, "-f", "--grep", "late|no end"], stdout=subprocess.PIPE, text=True, env=env)
        tail = subprocess.Popen([WINNOW, "logs", run, "-f"], stdout=subprocess.PIPE, env=env)
        first = grep.stdout.readline()
        self.assertEqual(first, "late 0\n")
        self.assertEqual(self.sweep(sweep)["state"], "RUNNING")  # it came before the end
        (work / "seen").touch()
        self.assertEqual(grep.communicate(timeout=60)[0].split("\n"), [f"late {i}" for i in range(1, 8)] + ["loss=1 no end", ""])
        out = tail.communicate(timeout=60)[0]
        self.assertEqual((grep.returncode, tail.returncode), (0, 0))
        self.assertEqual(out, self.log(run).body)
        self.assertEqual(self.ended(sweep)[0]["state"], "FINISHED")  # the end of the run can be read a moment before its sweep hears of it


class Limits(Listening):
    def test_output_is_deleted_by_run_and_the_metrics_stay(self):
        _, trials = self.run_sweep("print('loss=4')")
        run = trials[0]["run_id"]
        self.assertEqual(self.s.request("DELETE", f"/api/v1/runs/{run}/logs", unix=False).status, 401)
        self.assertEqual(self.s.request("DELETE", f"/api/v1/runs/{run}/logs").status, 204)
        self.assertEqual(self.s.get(f"/api/v1/runs/{run}/logs/stdout").body, b"")
        self.assertEqual(self.points(run, "loss"), [(0, 4.0)])
        self.assertEqual(self.s.request("DELETE", f"/api/v1/runs/{'0' * 32}/logs").status, 404)

    def test_output_beyond_log_max_is_cut_with_a_mark_and_still_read(self):
        # The piece that goes beyond is kept as it is, so what comes after it waits until that has been taken.
        script = MetricsFrom.UNTIL_READ + """
            for step in (1, 2):
                for i in range(20 + 5 // step):
                    print("x" * 1000, flush=True)
                print(f"step={step} loss={6 - step}", flush=True)
                until_read("loss", step)
            """
        _, trials = self.run_sweep(script, log_max="20KB")
        log = self.s.get(f"/api/v1/runs/{trials[0]['run_id']}/logs/stdout").body
        self.assertTrue(b"[winnow: output beyond log_max, 20000 bytes, is not kept]" in log)
        self.assertLess(len(log), 30000)
        self.assertEqual(trials[0]["value"], 4)
        tail = self.s.get(f"/api/v1/runs/{trials[0]['run_id']}/logs/stdout?tail=1")
        self.assertEqual(tail.body, b"[winnow: output beyond log_max, 20000 bytes, is not kept]\n")

    def test_output_that_was_given_up_is_a_mark_and_readers_go_on_after_it(self):
        """The service is away, and more is printed than log_spool_max; what is given up does not count as kept."""
        script = """
            import os, sys, time
            home = sys.argv[2]
            def reached(name):
                while not os.path.exists(f"{home}/{name}"):
                    time.sleep(0.05)
            print("step=1 loss=1", flush=True)
            reached("away")
            print(("x" * 999 + "\\n") * 30000, end="", flush=True)
            reached("back")
            print("step=2 loss=2", flush=True)
            """
        sweep = self.submit_script(script, log_spool_max="1MB", log_max="20MB", command=["python3", "job", "{{a}}", str(self.s.home)])
        run = wait(lambda: (t := self.trials(sweep)) and t[0]["value"] == 1 and t[0]["run_id"], "the first report")
        self.s.kill()
        (self.s.home / "away").touch()
        spool = self.s.data / "jobs" / run / "1" / "stdout"
        wait(lambda: (st := spool.stat()).st_size > 30000000 and st.st_blocks * 512 < 5000000, "the cut")
        self.s.start()
        (self.s.home / "back").touch()
        _, trials = self.ended(sweep)
        self.assertEqual((trials[0]["state"], trials[0]["value"]), ("FINISHED", 2))
        self.assertEqual({key for key in self.keys(run) if not key.startswith("system/")}, {"loss"})
        env = {**os.environ, "WINNOW_URL": f"unix:{self.s.data}/winnow.sock"}
        mark = rb"\n\[winnow: output was not taken in time, (\d+) bytes of it are left out here\]\n"
        for words in ((), ("-f",)):
            shown = subprocess.run([WINNOW, "logs", run, *words], stdout=subprocess.PIPE, env=env, check=True).stdout
            self.assertTrue(shown.startswith(b"step=1 loss=1\n") and shown.endswith(b"x\nstep=2 loss=2\n"), shown[-100:])
            given_up = [int(n) for n in re.findall(mark, shown)]
            size = int(self.s.get(f"/api/v1/runs/{run}/logs/stdout").headers["Winnow-Log-Size"])
            self.assertEqual(len(shown) + sum(given_up) - sum(len(m.group()) for m in re.finditer(mark, shown)), size)
            self.assertGreater(sum(given_up), 25000000)
        inside = self.s.get(f"/api/v1/runs/{run}/logs/stdout?from=5000000&limit=1000")
        self.assertGreater(int(inside.headers["Winnow-Log-Offset"]), 5000000)
        self.assertEqual(int(inside.headers["Winnow-Log-Next"]) - int(inside.headers["Winnow-Log-Offset"]), len(inside.body))
        self.assertTrue(inside.body)
        self.assertEqual(self.s.get(f"/api/v1/runs/{run}/logs/stdout?from=5000000&limit=0").body, b"")

    def test_what_nan_counts_as(self):
        script = "print('step=1 loss=2')\nprint('step=2 loss=nan')\n"
        _, trials = self.run_sweep(script, on_nan="fail", state="FAILED")
        self.assertIn("NaN", trials[0]["state_reason"])
        _, trials = self.run_sweep(script, on_nan="ignore")
        self.assertEqual((trials[0]["value"], trials[0]["last"]["step"]), (2, 1))
        _, trials = self.run_sweep(script)
        self.assertEqual(trials[0]["value"], "NaN")
        for policy, state in (("fail", "FAILED"), ("worst", "FINISHED")):
            sweep = self.submit({"name": policy, "method": "random", "metric": "loss", "parameters": {"x": {"min": 0, "max": 1}}, "run_cap": 1, "on_nan": policy})["id"]
            trial = self.ask(sweep)["trials"][0]
            self.ok(self.tell(sweep, {"run_id": trial["run_id"], "value": "NaN"}))
            self.assertEqual(self.trials(sweep)[0]["state"], state)


class Reparse(Listening):
    SCRIPT = """
        import sys, json, os, time, urllib.request
        run, url, token = os.environ["WINNOW_RUN_ID"], os.environ["WINNOW_URL"], os.environ["WINNOW_TOKEN"]
        def log(points):
            request = urllib.request.Request(f"{url}/api/v1/runs/{run}/metrics", json.dumps({"points": points}).encode(),
                                             {"Authorization": f"Bearer {token}", "Content-Type": "application/json"})
            urllib.request.urlopen(request).read()
        for i in range(1, 60):
            print(f"step={i} loss={1 / i} score<<{i * float(sys.argv[1])}>>", flush=True)
        lines = []
        while len(lines) < 2:
            lines = urllib.request.urlopen(f"{url}/api/v1/series?run={run}&key=loss&raw=true&format=csv").read().decode().split()
        then = int(lines[1].split(",")[lines[0].split(",").index("time")])  # in the very millisecond in which output came
        log([{"key": "loss", "value": 7.5, "step": 1000, "time": then}, {"key": "own", "value": 1, "step": 1, "time": then}])
        """
    PATTERN = r"step=(?P<step>\d+) .*score<<(?P<score>[\d.]+)>>"

    def test_what_came_from_output_is_replaced_and_nothing_else(self):
        over, trials = self.run_sweep(self.SCRIPT, state="FAILED", metric={"name": "score", "goal": "maximize"},
                                      parameters={"a": {"values": [2, 3]}}, give_up_after=0)
        run = trials[0]["run_id"]
        before = self.points(run, "loss")
        self.assertEqual((len(before), before[-1]), (60, (1000, 7.5)))
        answer = self.ok(self.s.post(f"/api/v1/runs/{run}/reparse", {"metrics_from": [{"builtin": False}, {"pattern": self.PATTERN}]}))
        self.assertEqual((answer["points"], answer["series"]), (59, 1))
        self.assertEqual(self.points(run, "score"), [(i, i * 2.0) for i in range(1, 60)])
        self.assertEqual(self.points(run, "loss"), [(1000, 7.5)])
        self.assertEqual(self.points(run, "own"), [(1, 1.0)])
        self.assertEqual(self.ok(self.s.get(f"/api/v1/runs/{run}"))["metrics"]["score"]["last"], 118.0)
        self.assertNotIn("recognised", str(self.ok(self.s.get(f"/api/v1/runs/{run}"))["metrics"]))
        for _ in range(2):  # again, and back: as it was, bit for bit
            self.ok(self.s.post(f"/api/v1/runs/{run}/reparse"))
            self.assertEqual(self.points(run, "loss"), before)
            self.assertEqual(self.keys(run), {"loss", "own"})
        env = {**os.environ, "WINNOW_URL": f"unix:{self.s.data}/winnow.sock"}
        for verb, said in ((["sweep", "best", over["id"]], "no trial has ended well with a value"),
                           (["trial", "ls", over["id"], "--state", "FINISHED"], "no trial is in that state")):
            none = subprocess.run([WINNOW, *verb], capture_output=True, text=True, timeout=60, env=env)
            self.assertEqual((none.returncode, said in none.stderr), (0, True), none)
        done = subprocess.run([WINNOW, "sweep", "reparse", over["id"], "--pattern", self.PATTERN], capture_output=True, text=True, timeout=60, env=env)
        self.assertEqual((done.returncode, "output of 2 runs" in done.stderr), (0, True), done)
        self.assertEqual([(t["value"], t["state"], t["state_reason"]) for t in self.trials(over["id"])],
                         [(118.0, "FINISHED", None), (177.0, "FINISHED", None)])
        sweep = self.sweep(over["id"])
        self.assertEqual((over["state"], over["state_reason"]), ("FAILED", "all its trials have failed"))
        self.assertEqual((sweep["state"], sweep["state_reason"], sweep["best"]["value"]), ("FINISHED", "every point of the space was tried", 177.0))
        self.assertEqual((sweep["progress"]["finished"], sweep["progress"]["failed"]), (2, 0))
        self.assertEqual(self.keys(run), {"loss", "own", "score"})
        self.assertEqual(self.points(run, "loss"), before)
        events = self.ok(self.s.get(f"/api/v1/runs/{run}/events"))["items"]
        self.assertTrue(any(e["kind"] == "run.reparsed" for e in events), events)

    def test_a_service_killed_while_it_reads_anew(self):
        """All of it or nothing (the database may have had the whole transaction), and the next reading gives the right points."""
        _, trials = self.run_sweep(self.SCRIPT, state="FAILED", metric={"name": "score", "goal": "maximize"}, parameters={"a": {"values": [2]}},
                                   give_up_after=0)
        run = trials[0]["run_id"]
        before = self.points(run, "loss")
        body = {"metrics_from": [{"builtin": False}, {"pattern": self.PATTERN}]}
        lock = subprocess.Popen(self.s.psql(), env=self.s.psql_env(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        lock.stdin.write(f"begin; select 'locked' from run where id = '{run}' for update;\n")
        lock.stdin.flush()
        self.assertEqual(lock.stdout.readline().strip(), "locked")
        asked = threading.Thread(target=self.ask_and_lose, args=(run, body))
        asked.start()
        wait(lambda: self.s.sql("select count(*) from pg_locks where not granted") != "0", "the replacement")
        self.s.kill()
        asked.join()
        lock.communicate()
        self.s.start()
        after = [(1000, 7.5)], [(i, i * 2.0) for i in range(1, 60)]
        self.assertIn((self.points(run, "loss"), self.points(run, "score")), [(before, []), after])
        self.ok(self.s.post(f"/api/v1/runs/{run}/reparse", body))
        self.assertEqual((self.points(run, "loss"), self.points(run, "score")), after)

    def ask_and_lose(self, run, body):
        with self.assertRaises((OSError, http.client.HTTPException)):
            self.s.post(f"/api/v1/runs/{run}/reparse", body)

    def test_values_and_the_best_follow(self):
        """As if the sweep had been read so from the beginning: last, best, mean, NaN that does not count; after a restart as well."""
        script = """
            import sys
            a = int(sys.argv[1])
            for i, v in enumerate((4, 2 + a, 5, 6 - a), 1):
                print(f"step={i} loss={v} other<<{(10 - v) * a}>>")
            if a == 2:
                print("step=5 loss=1 other<<nan>>")
            """
        pattern = {"metrics_from": [{"builtin": False}, {"pattern": r"step=(?P<step>\d+) .*other<<(?P<loss>[\w.]+)>>"}]}
        last = lambda trials: [t["last"] for t in trials]
        for metric, before, after in (({"name": "loss", "on_nan": "ignore"}, [5, 1, 3], [5, 12, 21]),
                                      ({"name": "loss", "use": "best", "on_nan": "ignore"}, [3, 1, 3], [5, 10, 15]),
                                      ({"name": "loss", "use": "mean_last_k", "last_k": 2, "on_nan": "ignore"}, [5, 2.5, 4], [5, 11, 18])):
            spec = {"on_nan": metric.pop("on_nan")}
            over, trials = self.run_sweep(script, metric=metric, parameters={"a": {"values": [1, 2, 3]}}, **spec)
            self.assertEqual([t["value"] for t in trials], before)
            self.assertEqual(last(trials), [{"step": 4, "value": 5}, {"step": 5, "value": 1}, {"step": 4, "value": 3}])
            self.assertEqual(over["best"]["number"], 1)
            shown = self.importance(over["id"])
            self.ok(self.s.post(f"/api/v1/sweeps/{over['id']}/reparse", pattern), 202)
            wait(lambda: self.ok(self.s.get(f"/api/v1/sweeps/{over['id']}/reparse"))["state"] == "FINISHED", "the reading")
            trials = self.trials(over["id"])
            self.assertEqual(last(trials), [{"step": 4, "value": 5}, {"step": 4, "value": 12}, {"step": 4, "value": 21}])
            self.assertEqual([t["value"] for t in trials], after, self.ok(self.s.get(f"/api/v1/sweeps/{over['id']}/reparse")))
            best = {"run_id": trials[0]["run_id"], "number": 0, "value": after[0], "step": trials[0]["value_step"], "params": {"a": 1}}
            self.assertEqual(self.sweep(over["id"])["best"], best)
            self.assertEqual(self.ok(self.s.get(f"/api/v1/sweeps/{over['id']}/best?k=1"))["items"][0]["number"], 0)
            self.assertNotEqual(self.importance(over["id"]), shown)
            self.ok(self.s.post(f"/api/v1/sweeps/{over['id']}/reparse"), 202)
            wait(lambda: self.ok(self.s.get(f"/api/v1/sweeps/{over['id']}/reparse"))["state"] == "FINISHED", "the reading")
            self.assertEqual(([t["value"] for t in self.trials(over["id"])], self.sweep(over["id"])["best"]), (before, over["best"]))

    def test_a_sweep_file_of_another_version(self):
        """Of one that is not read any more, the metric is: values follow."""
        over, trials = self.run_sweep("print('the value is 7')\nprint('loss=3')", metric={"name": "loss"}, parameters={"a": {"values": [1, 2]}})
        self.s.sql(f"update sweep set spec = (spec::jsonb || '{{\"of_another_version\": 1}}')::text where id = '{over['id']}'")
        self.ok(self.s.post(f"/api/v1/sweeps/{over['id']}/reparse", {"metrics_from": [{"builtin": False}, {"pattern": r"the value is (?P<loss>\d+)"}]}), 202)
        wait(lambda: self.ok(self.s.get(f"/api/v1/sweeps/{over['id']}/reparse"))["state"] == "FINISHED", "the reading")
        self.assertEqual([t["value"] for t in self.trials(over["id"])], [7, 7])
        self.ok(self.s.post(f"/api/v1/runs/{trials[0]['run_id']}/reparse"))
        self.assertEqual(self.points(trials[0]["run_id"], "loss"), [(0, 3)])

    def test_the_goal_is_found_by_its_name_again(self):
        over, trials = self.run_sweep("""
            print("the foo value is 3")
            print("and then the foo value is 2")
            """, metric={"name": "foo"}, parameters={"a": {"values": [1, 2]}})
        self.assertEqual([t["value"] for t in trials], [2, 2])
        self.ok(self.s.post(f"/api/v1/sweeps/{over['id']}/reparse"), 202)
        wait(lambda: self.ok(self.s.get(f"/api/v1/sweeps/{over['id']}/reparse"))["state"] == "FINISHED", "the reading")
        self.assertEqual([t["value"] for t in self.trials(over["id"])], [2, 2])
        for damage in ('{"unheard_of": 1,', "{{"):  # nor does it need a sweep file that this version reads; of the second not even the goal can be told
            self.s.sql(f"update winnow.sweep set spec = '{damage}' || substr(spec, 2) where id = '{over['id']}'")
            self.assertEqual(self.ok(self.s.post(f"/api/v1/runs/{trials[0]['run_id']}/reparse"))["points"] > 0, damage != "{{")

    def test_the_goal_is_found_by_its_other_names_again(self):
        _, trials = self.run_sweep("print('tokens=3')", metric={"name": "foo", "aliases": ["tokens"]})
        run = trials[0]["run_id"]
        self.assertEqual(self.ok(self.s.post(f"/api/v1/runs/{run}/reparse"))["points"], 1)
        self.assertEqual(self.points(run, "tokens"), [(0, 3)])

    def importance(self, sweep):
        return self.ok(self.s.get(f"/api/v1/sweeps/{sweep}/importance"))

    def test_refusals(self):
        _, trials = self.run_sweep("print('loss=1')")
        run = trials[0]["run_id"]
        for body, word in (({"metrics_from": [{"file": "x.csv"}]}, "files are not kept"), ({"metrics_from": [{"pattern": "a(b"}]}, "parenthesis"),
                           ({"metric_from": []}, "metric_from")):
            answer = self.s.post(f"/api/v1/runs/{run}/reparse", body)
            self.assertEqual(answer.status, 400, answer)
            self.assertIn(word, answer.json["detail"])
        self.assertEqual(self.s.post(f"/api/v1/runs/{'0' * 32}/reparse").status, 404)
        self.assertEqual(self.s.post(f"/api/v1/sweeps/{'0' * 32}/reparse").status, 404)
        self.assertEqual(self.s.post(f"/api/v1/runs/{run}/reparse", unix=False).status, 401)
        made = self.ok(self.s.post("/api/v1/runs", {"experiment": "x"}), 201)
        self.assertEqual(self.s.post(f"/api/v1/runs/{made['id']}/reparse").status, 409)


class Goal(Listening):
    SCRIPT = """
        import sys, time
        for epoch in range(1, 5):
            print(f"Epoch {epoch}/4 - loss: {1 / epoch} - val_accuracy: {epoch / 5}", flush=True)
            if epoch == 3:
                print("best_score=3", flush=True) if "late" in sys.argv else None
            time.sleep(0.4)
        """

    def test_a_goal_that_does_not_come_is_told_with_the_nearest_name(self):
        work = self.s.home / "goal"
        work.mkdir()
        (work / "job").write_text(textwrap.dedent(self.SCRIPT))
        (work / "goal.yaml").write_text("method: grid\nmetric: val_acc\ncommand: [python3, job]\nworkdir_mode: inplace\nparameters: {a: {values: [1]}}\n")
        env = {**os.environ, "WINNOW_URL": f"unix:{self.s.data}/winnow.sock"}
        done = subprocess.run([WINNOW, "sweep", "create", str(work / "goal.yaml"), "-f"], capture_output=True, text=True, timeout=120, env=env)
        self.assertIn('warning: the goal metric "val_acc" has not been seen in trial 0 after its first epoch; the nearest name seen is "val_accuracy"', done.stderr)
        sweep = next(s for s in self.ok(self.s.get("/api/v1/sweeps"))["items"] if s["name"] == "goal")
        self.assertTrue(any('"val_accuracy"' in w for w in sweep["warnings"]), sweep)
        events = self.ok(self.s.get(f"/api/v1/runs/{sweep['id']}/events"))["items"]
        self.assertTrue(any(e["kind"] == "sweep.warning" and "val_accuracy" in e["reason"] for e in events), events)
        trial = self.trials(sweep["id"])[0]
        self.assertEqual(trial["state"], "FAILED")
        self.assertRegex(trial["state_reason"], 'no_metric.*"val_acc" was never seen; the nearest name seen is "val_accuracy"')
        run = self.ok(self.s.get(f"/api/v1/runs/{trial['run_id']}"))
        self.assertRegex(run["recognised"]["stdout"], "2 metrics")
        shown = subprocess.run([WINNOW, "run", "show", trial["run_id"]], capture_output=True, text=True, timeout=60, env=env)
        self.assertRegex(shown.stdout, "Metrics from.*2 metrics")

    def test_a_goal_that_comes_late_withdraws_the_warning(self):
        over, trials = self.run_sweep(self.SCRIPT, command=["python3", "job", "late"], metric={"name": "best_score", "goal": "maximize"})
        self.assertEqual(trials[0]["value"], 3)
        self.assertFalse(any("goal metric" in w for w in over["warnings"]), over["warnings"])


if __name__ == "__main__":
    unittest.main()
