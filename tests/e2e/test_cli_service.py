#!/usr/bin/env python3
"""The command line against the service itself: what each verb shows, in every form, and how it ends."""
import csv, fcntl, io, json, os, pathlib, pty, re, shutil, struct, subprocess, sys, tempfile, termios, unittest

WINNOW = pathlib.Path(sys.argv.pop(1)).resolve()
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
import service  # noqa: E402

SERVICE = None
NO_SUCH_RUN = "0" * 31 + "1"
AGO = r"(now|\d+[sm] ago)"  # of what has just been made: on a slow machine "now" is soon over


def setUpModule():
    global SERVICE
    SERVICE = service.Service(WINNOW)


def tearDownModule():
    try:
        SERVICE.stop()  # in good order: a sanitizer's last word counts
    finally:
        SERVICE.close()


class Case(unittest.TestCase):
    def setUp(self):
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="winnow-cli-"))
        self.addCleanup(shutil.rmtree, self.dir, True)
        self.env = {"PATH": os.environ["PATH"], "HOME": str(self.dir), "LANG": "C.UTF-8", "WINNOW_URL": f"unix:{SERVICE.data}/winnow.sock"}
        self.env.update({name: os.environ[name] for name in ("ASAN_OPTIONS", "UBSAN_OPTIONS", "LSAN_OPTIONS") if name in os.environ})

    def run_it(self, *words, code=0, tcp=False, input=""):
        env = dict(self.env, WINNOW_URL=SERVICE.url) if tcp else self.env
        done = subprocess.run([WINNOW, *map(str, words)], env=env, cwd=self.dir, input=input, capture_output=True, text=True, timeout=60)
        self.assertEqual(done.returncode, code, f"{words}\nstdout: {done.stdout}\nstderr: {done.stderr}")
        self.assertNotIn("runtime error", done.stderr)
        return done

    def out(self, *words, **more):
        return self.run_it(*words, **more).stdout

    def json(self, *words, **more):
        return json.loads(self.out(*words, "-o", "json", **more))

    def csv(self, *words, **more):
        return list(csv.DictReader(io.StringIO(self.out(*words, "-o", "csv", **more))))

    def table(self, *words, **more):
        """The titles, and the lines below them."""
        lines = self.out(*words, **more).splitlines()
        titles = lines[0].split("  ")
        return [title.strip() for title in titles if title.strip()], lines[1:]

    def on_terminal(self, columns, *words):
        ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        with open(ours, "rb", buffering=0) as terminal, subprocess.Popen([WINNOW, *words, "--color=never"], env=self.env, stdout=theirs) as process:
            os.close(theirs)
            shown = b""
            try:
                while piece := terminal.read(65536):
                    shown += piece
            except OSError:  # the last that wrote to it has ended
                pass
        self.assertEqual(process.returncode, 0, words)
        return shown.decode().replace("\r\n", "\n")

    def fails(self, code, text, *words, **more):
        self.assertIn(text, self.run_it(*words, code=code, **more).stderr)

    def post(self, path, body):
        answer = SERVICE.post("/api/v1" + path, body)
        self.assertLess(answer.status, 300, answer)
        return answer.json

    def make_run(self, name, experiment=None, finished=False, **body):
        run = self.post("/runs", {"experiment": experiment or self.id(), "name": name, **body})["id"]
        points = [{"key": "loss", "value": 1 / (k + 1), "step": k} for k in range(20)]
        points += [{"key": "accuracy", "value": 0.5 + k / 100, "step": k} for k in range(10)] + [{"key": "odd", "value": "NaN", "step": 3}]
        self.post(f"/runs/{run}/metrics", {"points": points})
        if finished:
            SERVICE.request("PATCH", "/api/v1/runs/" + run, {"state": "FINISHED"})
        return run

    def file(self, name, content=b"content\n"):
        path = self.dir / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return path


class Experiments(Case):
    def test_from_create_to_restore(self):
        made = self.json("experiment", "create", "folder")
        self.assertEqual((made["name"], made["run_count"]), ("folder", 0))
        self.fails(5, "already", "experiment", "create", "folder")
        self.make_run("one", "folder")
        titles, lines = self.table("experiment", "ls")
        self.assertEqual(titles, ["ID", "NAME", "RUNS", "CREATED"])
        self.assertTrue([line for line in lines if re.fullmatch(rf"{made['id']} +folder +1 +{AGO} *", line)], lines)
        self.assertIn(f"mlflow-artifacts:/{made['id']}", self.out("experiment", "ls", "-o", "wide"))
        self.assertIn(("folder", "1"), [(row["name"], row["run_count"]) for row in self.csv("experiment", "ls")])
        self.assertEqual(self.out("experiment", "show", "folder", "-o", "name").strip(), made["id"])
        self.assertRegex(self.out("experiment", "show", made["id"]), r"NAME +folder\nRUNS +1\n")
        self.fails(2, "say --yes", "experiment", "rm", "folder")
        self.assertIn("is in the trash", self.run_it("experiment", "rm", "folder", "-y").stderr)
        self.assertNotIn("folder", self.out("experiment", "ls"))
        self.assertIn("folder", self.out("experiment", "ls", "--deleted"))
        self.run_it("experiment", "restore", "folder")
        self.assertIsNone(self.json("experiment", "show", "folder")["deleted"])
        self.run_it("experiment", "rm", "folder", "-y")
        self.run_it("experiment", "restore", made["id"])
        self.assertIn("its new name", self.run_it("experiment", "rename", "folder", "other folder").stderr)
        self.assertEqual(self.json("experiment", "show", "other folder")["id"], made["id"])
        self.assertIn("are changed", self.run_it("experiment", "tag", "other folder", "team=vision", "k=v").stderr)
        self.run_it("experiment", "tag", made["id"], "k-")
        self.assertEqual(self.json("experiment", "show", "other folder")["tags"], {"team": "vision"})
        self.fails(2, "", "experiment", "rename", "other folder", "")
        self.fails(2, "", "experiment", "tag", "other folder", "=x")
        self.fails(2, "", "experiment", "create", "")
        self.fails(3, "winnow experiment ls --deleted", "experiment", "restore", "nope")
        self.fails(3, "there is no experiment 'nope'", "experiment", "show", "nope")
        self.fails(3, "there is no experiment", "experiment", "restore", "987654")


class Runs(Case):
    def setUp(self):
        super().setUp()
        self.a = self.make_run("first " + self.id(), finished=True, params={"lr": "0.01", "optimizer": "adam"}, tags={"team": "vision"})
        self.b = self.make_run("second " + self.id(), params={"lr": "0.1", "optimizer": "adam"})

    def test_an_empty_word_is_no_run(self):
        self.run_it("run", "tag", self.b, "mlflow.runName-")
        self.fails(3, "there is no run ''", "run", "rm", "", "-y")
        self.assertIsNone(self.json("run", "show", self.b)["deleted"])

    def test_ls(self):
        e = ("-e", self.id())
        titles, lines = self.table("run", "ls", *e, "-m", "loss")
        self.assertEqual(titles, ["ID", "NAME", "STATE", "CREATED", "TOOK", "PARAMS", "loss"])
        self.assertEqual(len(lines), 2)  # the newest first
        self.assertIn("second", lines[0])
        self.assertRegex(lines[1], r"FINISHED .*lr=0\.01 optimizer=adam +0\.05$")
        self.assertIn("team=vision", self.out("run", "ls", *e, "-o", "wide"))
        row = self.csv("run", "ls", *e, "-m", "loss", "--state", "FINISHED")[0]
        self.assertEqual((row["id"], row["metrics.loss.last"], json.loads(row["tags"])), (self.a, "0.05", {"team": "vision"}))
        self.assertGreaterEqual(int(row["ended"]), int(row["started"]))
        self.assertEqual(self.out("run", "ls", *e, "--filter", "params.lr = '0.1'", "-o", "name"), self.b + "\n")
        self.assertEqual(self.out("run", "ls", *e, "--order-by", "params.lr ASC", "-o", "name"), f"{self.a}\n{self.b}\n")
        more = self.run_it("run", "ls", *e, "-n", "1", "-o", "json")
        self.assertEqual(len(json.loads(more.stdout)["items"]), 1)
        self.assertIsNotNone(json.loads(more.stdout)["next"])
        self.assertEqual(len(self.json("run", "ls", *e, "-n", "0")["items"]), 2)
        self.fails(1, "filter", "run", "ls", "--filter", "nonsense")
        for flag, text in (("--order-by", "loss DESC"), ("--filter", "loss > 1")):
            self.fails(1, "help: what a run logged is metrics.NAME", "run", "ls", flag, text)

    def test_show(self):
        for word in (self.a, "first " + self.id(), self.a[:16] if self.a[:16] != self.b[:16] else self.a[:24]):
            shown = self.out("run", "show", word)
            self.assertRegex(shown, rf"Run +{self.a}\n")
            self.assertRegex(shown, r"State +FINISHED\n")
            self.assertRegex(shown, rf"Experiment +{re.escape(self.id())}\n")
            self.assertRegex(shown, r"\nParams\nlr +0\.01\noptimizer +adam\n")
            rows = (r"METRIC +LAST +STEP +MIN +MAX +POINTS", r"accuracy +0\.59 +9 +0\.5 +0\.59 +10", r"loss +0\.05 +19 +0\.05 +1 +20", r"odd +NaN +3 +1")
            self.assertRegex(shown, r"\nMetrics\n" + "\n".join(rows) + "\n$")
        self.assertEqual(self.json("run", "show", "@latest")["id"], self.b)
        self.assertEqual(self.csv("run", "show", self.a)[0]["state"], "FINISHED")
        self.fails(3, "there is no run 'nope'", "run", "show", "nope")
        self.fails(3, "there is no run " + NO_SUCH_RUN, "run", "show", NO_SUCH_RUN)

    def test_steps_and_counts_are_shown_to_the_last_digit(self):
        points = [{"key": "long", "value": 1, "step": step} for step in (12345678, 2**63 - 1)]
        self.assertEqual(SERVICE.post(f"/api/v1/runs/{self.b}/metrics", {"points": points}).status, 200)
        self.assertRegex(self.out("run", "show", self.b), r"\nlong +1 +9223372036854775807 +1 +1 +2\n")

    def test_the_newest_is_the_last_that_was_made(self):
        """Also when its client does not say when it started, or says something else."""
        for body in ({}, {"start_time": 1}):
            newest = SERVICE.post("/api/2.0/mlflow/runs/create", body).json["run"]["info"]["run_id"]
            self.assertEqual(self.json("run", "show", "@latest")["id"], newest)
            self.assertEqual(self.json("run", "ls", "-n", "2")["items"][0]["id"], newest)
            self.assertEqual(self.json("run", "ls", "-n", "2", "-e", "Default")["items"][0]["id"], newest)
        made = [json.loads(self.out("api", "POST", "/runs", "-f", f"name=keyed-{i}"))["id"] for i in range(6)]  # with an Idempotency-Key
        self.assertEqual([row["id"] for row in self.json("run", "ls", "-n", "6")["items"]], made[::-1])

    def test_params(self):
        self.assertRegex(self.out("run", "params", self.a), r"^lr +0\.01\noptimizer +adam\n$")
        self.assertEqual(self.json("run", "params", self.a), {"lr": "0.01", "optimizer": "adam"})
        self.assertEqual(self.out("run", "params", self.a, "-o", "csv"), "key,value\nlr,0.01\noptimizer,adam\n")
        self.fails(3, "there is no run", "run", "params", NO_SUCH_RUN)

    def test_metrics(self):
        titles, lines = self.table("run", "metrics", self.a)
        self.assertEqual(titles, ["METRIC", "LAST", "STEP", "MIN", "MAX", "POINTS", "CURVE"])
        self.assertRegex(lines[0], r"^accuracy +0\.59 +9 +0\.5 +0\.59 +10 +▁.*█$")
        self.assertRegex(lines[1], r"^loss +0\.05 +19 +0\.05 +1 +20 +█.*▁$")
        self.assertRegex(lines[2], r"^odd +NaN +3 +1")
        self.assertRegex(self.out("run", "metrics", self.a, "-o", "wide"), r"MIN STEP +MAX +MAX STEP")
        rows = {row["key"]: row for row in self.csv("run", "metrics", self.a)}
        self.assertEqual((rows["loss"]["last.value"], rows["loss"]["min.step"], rows["loss"]["max.value"]), ("0.05", "19", "1.0"))
        self.assertEqual((rows["odd"]["nans"], rows["odd"]["min.value"]), ("1", ""))
        self.assertEqual(self.json("run", "metrics", self.a)["items"][1]["last"]["step"], 19)

    def test_histories_and_points(self):
        history = self.run_it("run", "metrics", self.a, "-k", "loss", "--buckets", "4")
        self.assertRegex(history.stderr, r"^loss +█")
        rows = [line.split() for line in history.stdout.splitlines()]
        self.assertEqual(rows[0], ["KEY", "FROM", "TO", "LAST", "MIN", "MAX", "POINTS"])
        self.assertEqual((rows[1][1], rows[-1][2], rows[1][5], rows[-1][4]), ("0", "19", "1", "0.05"))
        self.assertEqual(sum(int(row[6]) for row in rows[1:]), 20)
        buckets = self.csv("run", "metrics", self.a, "-k", "loss", "-k", "accuracy", "--buckets", "1")
        self.assertEqual([(row["key"], row["n"], row["first"]) for row in buckets], [("accuracy", "10", "0.5"), ("loss", "20", "1.0")])
        self.assertEqual(self.json("run", "metrics", self.a, "-k", "loss", "--buckets", "1")["series"][0]["n"], [20])
        self.fails(3, f"the run has no metric 'nothing'\nhelp: winnow run metrics {self.a} lists them", "run", "metrics", self.a, "-k", "loss", "-k", "nothing")
        points = list(csv.DictReader(io.StringIO(self.out("run", "metrics", self.a, "--raw"))))
        self.assertEqual(len(points), 31)
        self.assertEqual({point["key"] for point in points}, {"loss", "accuracy", "odd"})
        self.post(f"/runs/{self.b}/metrics", {"points": [{"key": f"many {i}", "value": i, "step": 0} for i in range(130)]})
        points = list(csv.DictReader(io.StringIO(self.out("run", "metrics", self.b, "--raw"))))  # more than fit into one request
        self.assertEqual((len(points), len({point["key"] for point in points}), {point["run"] for point in points}), (161, 133, {self.b}))
        self.post(f"/runs/{self.b}/metrics", {"points": [{"key": f"more {i}", "value": i, "step": 0} for i in range(130)]})
        for count, words in ((291, ()), (291, ("-n", "0")), (2, ("-n", "2", "-k", "more 1", "-k", "more 2"))):  # more than an overview shows
            self.assertEqual(len(self.out("run", "metrics", self.b, "--raw", *words, "-o", "jsonl").splitlines()), count, words)
        for words in ((), ("-k", "loss"), ("-k", "nothing")):
            lines = [json.loads(line) for line in self.out("run", "metrics", self.a, "--raw", *words, "-o", "jsonl").splitlines()]
            self.assertEqual(len(lines), {(): 31, ("-k", "loss"): 20}.get(words, 0))
            self.assertEqual(self.json("run", "metrics", self.a, "--raw", *words), {"items": lines, "next": None})
            head, *items, end = self.out("run", "metrics", self.a, "--raw", *words, "-o", "yaml").splitlines()
            self.assertEqual((head, end), ("items:" if lines else "items: []", "next: null"))
            self.assertEqual([json.loads(item.removeprefix("  - ")) for item in items], lines)
        self.fails(2, "points have no names", "run", "metrics", self.a, "--raw", "-o", "name")
        history = self.out("run", "metrics", self.a, "--history", "loss").splitlines()
        self.assertEqual(history[0].split(), ["STEP", "TIME", "VALUE"])
        self.assertEqual((len(history), history[1].split()[::2], history[-1].split()[::2]), (21, ["0", "1"], ["19", "0.05"]))
        self.assertTrue(all(len(line) <= 80 for line in history))
        self.assertRegex(self.out("run", "metrics", self.a, "--history", "loss", "--history", "odd"), r"(?m)^ +3 +\S+ +NaN  odd$")
        points = list(csv.DictReader(io.StringIO(self.out("run", "metrics", self.a, "--history", "loss", "-o", "csv"))))
        self.assertEqual([point["step"] for point in points], [str(step) for step in range(20)])
        lines = self.out("run", "metrics", self.a, "--history", "loss", "-o", "jsonl").splitlines()
        self.assertEqual([json.loads(line)["step"] for line in lines], list(range(20)))
        self.assertIn("no points", self.run_it("run", "metrics", self.a, "--history", "nothing").stderr)
        self.fails(3, "there is no run", "run", "metrics", NO_SUCH_RUN)

    def test_a_run_that_only_logs(self):
        self.fails(5, "stopped and started where it runs", "run", "stop", self.a)
        self.fails(2, "say --yes to do it without a question", "run", "rm", self.a)

    def test_events(self):
        titles, lines = self.table("run", "events", self.a)
        self.assertEqual(titles, ["TIME", "KIND", "FROM", "TO", "ACTOR", "REASON"])
        self.assertRegex(lines[0], r"run\.created +RUNNING")
        self.assertRegex(lines[-1], r"run\.state +RUNNING +FINISHED")
        self.assertIn(self.a, self.out("run", "events", self.a, "-o", "wide"))
        self.assertEqual(self.csv("run", "events", self.a)[-1]["to"], "FINISHED")
        self.assertEqual(self.json("run", "events", self.a)["items"][0]["subject"], self.a)
        self.fails(3, "there is no run", "run", "events", NO_SUCH_RUN)

    def test_compare(self):
        lines = [line.split() for line in self.out("run", "compare", self.a, self.b).splitlines()]
        self.assertTrue(self.a.startswith(lines[0][0]) and self.b.startswith(lines[0][1]), lines[0])
        self.assertEqual(lines[1], ["name", "first", self.id(), "second", self.id()])
        self.assertIn(["lr", "0.01", "0.1"], lines)
        self.assertIn(["loss", "0.05", "0.05"], lines)
        self.post(f"/runs/{self.b}/metrics", {"points": [{"key": "loss", "value": 0.25, "step": 20}]})
        lines = [line.split() for line in self.out("run", "compare", self.a, self.b, "--only-diff", "--value", "delta", "-o", "wide").splitlines()]
        self.assertEqual(lines[2:], [["lr", "0.01", "0.1"], ["loss", "0", "0.2"]])
        based = self.csv("run", "compare", self.a, "--base", self.b, self.b, "--value", "delta")
        self.assertEqual({row["key"]: row[self.a] for row in based if row["of"] == "metrics"}["loss"], "-0.2")
        self.assertEqual([row["key"] for row in based if row["differs"] == "true"], ["lr", "loss"])
        self.assertEqual(self.json("run", "compare", self.a, self.b)["base"], self.a)
        self.assertEqual(self.out("run", "compare", self.a, self.b, "-o", "name").split(), [self.a, self.b])
        self.fails(3, "there is no run", "run", "compare", self.a, NO_SUCH_RUN)

    def test_runs_that_do_not_fit_beside_each_other_are_compared_below(self):
        runs = [self.a, self.b, *(self.make_run(f"more {k}", params={"lr": str(k)}) for k in range(3))]
        whole = self.out("run", "compare", *runs).splitlines()
        titles = whole[0].split()
        for columns in (30, 60, 72):
            tables = [table.splitlines() for table in self.on_terminal(columns, "run", "compare", *runs).split("\n\n")]
            self.assertEqual([title for table in tables for title in table[0].split()], titles)
            self.assertLessEqual(max(len(line) for table in tables for line in table), max(columns, len(titles[0]) * 2 + 2))
            rates = [value for table in tables for line in table if line.startswith("lr ") for value in line.split()[1:]]
            self.assertEqual(rates, ["0.01", "0.1", "0", "1", "2"])

    def test_who_only_logs_has_no_output_to_look_at(self):
        run = self.make_run("failed by its own word")
        SERVICE.request("PATCH", "/api/v1/runs/" + run, {"state": "FAILED"})
        self.assertEqual(self.run_it("run", "show", run).stderr, "")

    def test_tags_and_notes(self):
        self.assertIn("the tags of run", self.run_it("run", "tag", self.a, "keep=yes", "team-").stderr)
        self.assertEqual(self.json("run", "show", self.a)["tags"], {"keep": "yes"})
        self.run_it("run", "note", self.a, "warm *restarts*")
        self.assertEqual(self.json("run", "show", self.a)["tags"]["mlflow.note.content"], "warm *restarts*")
        self.assertEqual(self.json("run", "note", self.a, "")["tags"], {"keep": "yes"})
        self.fails(3, "there is no run", "run", "tag", NO_SUCH_RUN, "a=b")

    def test_the_trash(self):
        self.fails(2, "say --yes", "run", "rm", self.b)
        self.run_it("run", "rm", self.b, "-y")
        self.assertEqual(self.out("run", "ls", "-e", self.id(), "-o", "name"), self.a + "\n")
        self.assertEqual(self.out("run", "ls", "-e", self.id(), "--deleted", "-o", "name"), self.b + "\n")
        self.assertRegex(self.out("run", "show", self.b), rf"Deleted +{AGO}")
        self.fails(5, "in the trash", "run", "tag", self.b, "a=b")
        self.assertIn("is back", self.run_it("run", "restore", self.b).stderr)
        self.run_it("run", "tag", self.b, "a=b")
        self.fails(8, "there is no run", "run", "rm", "-y", self.b, NO_SUCH_RUN)
        self.fails(3, "there is no run", "run", "restore", NO_SUCH_RUN)
        self.fails(3, "winnow run ls --deleted", "run", "restore", "nope")
        self.fails(2, "only http, https and unix are spoken", "run", "ls", "--url", "ftp://x")

    def test_export(self):
        rows = list(csv.DictReader(io.StringIO(self.out("export", "-e", self.id()))))
        self.assertEqual([(row["id"], row["params.lr"], row["metrics.loss"]) for row in rows], [(self.b, "0.1", "0.05"), (self.a, "0.01", "0.05")])
        self.assertIn("1 run\n", self.run_it("export", "-e", self.id(), "--filter", "tags.team = 'vision'", "--format", "jsonl", "out.jsonl").stderr)
        self.assertEqual(json.loads((self.dir / "out.jsonl").read_text())["id"], self.a)
        self.fails(3, "there is no experiment", "export", "-e", "nope")
        lines = self.out("export", "-e", self.id(), "-o", "jsonl").splitlines()
        self.assertEqual([json.loads(line)["id"] for line in lines], [self.b, self.a])
        self.assertEqual(self.out("export", "-e", self.id(), "-o", "csv"), self.out("export", "-e", self.id(), "--format", "csv"))
        self.fails(2, "nothing is exported as yaml", "export", "-e", self.id(), "-o", "yaml")

    def exported(self, *words):
        return list(csv.DictReader(io.StringIO(self.out("export", *words))))

    def test_export_of_everything(self):
        self.post(f"/runs/{self.a}/metrics", {"points": [{"key": f"many/{k}", "value": "Infinity", "step": -k} for k in range(130)]})
        self.post(f"/runs/{self.a}/metrics", {"points": [{"key": 'odd key: /x', "value": 0.1 + 0.2, "step": 2**62, "epoch": 1.5}]})
        params = self.exported("--what", "params", "-e", self.id())
        self.assertIn({"run": self.a, "key": "lr", "value": "0.01"}, params)
        self.assertEqual(len(params), 4)
        self.assertEqual(self.exported("--what", "tags", "-e", self.id()), [{"run": self.a, "key": "team", "value": "vision"}])
        metrics = {(row["run"], row["key"]): row for row in self.exported("--what", "metrics", "-e", self.id())}
        self.assertEqual((metrics[self.a, "loss"]["last"], metrics[self.a, "loss"]["max"], metrics[self.a, "loss"]["count"]), ("0.05", "1.0", "20"))
        points = self.exported("--what", "series", "-e", self.id())
        self.assertEqual(len(points), 31 + 131 + 31)  # in several requests, with one line of titles
        self.assertIn({"run": self.a, "key": 'odd key: /x', "value": "0.30000000000000004", "step": str(2**62), "epoch": "1.5", "time": points[-1]["time"]},
                      [{**p, "time": points[-1]["time"]} for p in points])
        self.assertEqual(len(self.exported("--what", "series", "-e", self.id(), "-n", "1")), 31)  # the newest run
        lines = [json.loads(line) for line in self.out("export", "--what", "series", "--format", "jsonl", "-e", self.id()).splitlines()]
        self.assertEqual(len(lines), len(points))
        self.assertIn("Infinity", [line["value"] for line in lines])
        self.post("/models", {"name": "exported " + self.id()})
        self.post(f"/models/exported%20{self.id()}/versions", {"run_id": self.a, "source": f"mlflow-artifacts:/0/{self.a}/artifacts"})
        (version,) = [row for row in self.exported("--what", "models") if row["name"] == "exported " + self.id()]
        self.assertEqual((version["version"], version["run_id"]), ("1", self.a))
        self.assertIn(self.id(), [row["name"] for row in self.exported("--what", "experiments")])
        happened = self.exported("--what", "events", "-e", self.id())
        self.assertEqual({row["subject"] for row in happened}, {self.a, self.b})
        self.assertEqual([row["kind"] for row in happened if row["subject"] == self.a][0], "run.created")
        self.run_it("model", "alias", f"exported {self.id()}/1", "champion")
        self.assertIn("exported " + self.id(), {row["subject"].split("/")[0] for row in self.exported("--what", "events")})
        dataset = {"name": "digits", "digest": "d1", "source_type": "local", "source": "{}", "schema": "{\"n\": 1}"}
        model = SERVICE.post("/api/2.0/mlflow/logged-models", {"experiment_id": "0", "name": "net", "source_run_id": self.a}).json["model"]["info"]["model_id"]
        for path, body in (("log-inputs", {"datasets": [{"dataset": dataset, "tags": [{"key": "mlflow.data.context", "value": "train"}]}], "models": [{"model_id": model}]}),
                           ("outputs", {"models": [{"model_id": model, "step": 3}]})):
            answer = SERVICE.post(f"/api/2.0/mlflow/runs/{path}", {"run_id": self.a, **body})
            self.assertEqual(answer.status, 200, answer)
        links = self.exported("--what", "inputs", "-e", self.id())
        self.assertEqual([(row["run"], row["kind"], row["name"], row["digest"], row["step"]) for row in links],
                         [(self.a, "dataset", "digits", "d1", ""), (self.a, "model input", model, "", ""), (self.a, "model output", model, "", "3")])
        self.assertIn("train", links[0]["tags"])
        (logged,) = [row for row in self.exported("--what", "logged_models") if row["model_id"] == model]
        self.assertEqual((logged["name"], logged["source_run_id"], logged["experiment_id"]), ("net", self.a, "0"))
        more = {SERVICE.post("/api/2.0/mlflow/logged-models", {"experiment_id": "0", "name": f"n{i}"}).json["model"]["info"]["model_id"] for i in range(60)}
        ids = [json.loads(line)["model_id"] for line in self.out("export", "--what", "logged_models", "-o", "jsonl").splitlines()]
        self.assertLessEqual(more | {model}, set(ids))  # over two pages
        self.assertEqual(len(ids), len(set(ids)))
        lines = [json.loads(line) for line in self.out("export", "--what", "inputs", "--format", "jsonl", "-e", self.id()).splitlines()]
        self.assertEqual({key: lines[0][key] for key in dataset}, dataset)
        self.assertEqual(SERVICE.get(f"/api/v1/runs/{self.b}").json["inputs"], {"datasets": [], "models": []})
        done = self.run_it("export", "--what", "all", "-e", self.id(), "everything")
        names = ("events", "experiments", "inputs", "logged_models", "metrics", "models", "params", "runs", "series", "tags")
        self.assertEqual(sorted(p.name for p in (self.dir / "everything").iterdir()), [name + ".csv" for name in names])
        self.assertIn("193 points\n", done.stderr)
        self.assertIn("3 inputs and outputs\n", done.stderr)
        self.fails(2, "choose runs", "export", "--what", "models", "-e", self.id())
        self.fails(2, "need a directory", "export", "--what", "all")
        self.fails(2, "winnow export --what metrics, or ./metrics", "export", "metrics")
        self.assertFalse((self.dir / "metrics").exists())


class Artifacts(Case):
    def test_there_and_back(self):
        run = self.make_run("with files")
        weights = os.urandom(100000)
        self.file("tree/weights.npz", weights)
        self.file("tree/sub/deep.txt", b"deep\n")
        self.file("config.json", b"{}")
        self.assertIn("no files", self.run_it("artifact", "ls", run).stderr)
        self.assertIn("1 file, 2 B", self.run_it("artifact", "put", run, "config.json").stderr)
        self.assertIn("2 files, 100 kB", self.run_it("artifact", "put", run, "tree", "model").stderr)
        titles, lines = self.table("artifact", "ls", run)
        self.assertEqual(titles, ["PATH", "SIZE", "DIRECTORY", "CREATED"])
        self.assertRegex("\n".join(lines), rf"^config\.json +2 B +{AGO} *\nmodel +yes *$")
        self.assertEqual(self.out("run", "artifacts", run), self.out("artifact", "ls", run))
        self.assertIn("44136fa355b3678a", self.out("artifact", "ls", run, "-o", "wide"))
        self.assertEqual([row["path"] for row in self.csv("artifact", "ls", run, "model/")], ["model/sub", "model/weights.npz"])
        self.assertEqual(self.json("artifact", "ls", run, "model/weights.npz")["items"][0]["size"], 100000)
        self.fails(3, "the run has no file 'nope'", "artifact", "ls", run, "nope")
        self.assertIn("3 files", self.run_it("artifact", "get", run, "--to", "all").stderr)
        self.assertEqual((self.dir / "all/model/weights.npz").read_bytes(), weights)
        self.run_it("artifact", "get", run, "model", "--to", "part")
        self.assertEqual((self.dir / "part/sub/deep.txt").read_bytes(), b"deep\n")
        self.run_it("artifact", "get", run, "model/sub/", "--to", "slash")  # as `ls` takes it
        self.assertEqual((self.dir / "slash/deep.txt").read_bytes(), b"deep\n")
        self.assertEqual(self.out("artifact", "get", run, "model/sub/deep.txt", "--to", "-"), "deep\n")
        self.fails(3, "the run has no file 'nope'", "artifact", "get", run, "nope")
        self.run_it("artifact", "put", run, "config.json", "into/one/")
        self.run_it("artifact", "put", run, "tree", "into/")
        self.assertEqual([row["path"] for row in self.csv("artifact", "ls", run, "into")], ["into/one", "into/tree"])
        self.assertEqual([row["path"] for row in self.csv("artifact", "ls", run, "into/one")], ["into/one/config.json"])
        self.fails(3, "cannot read nowhere/nope", "artifact", "put", run, "nowhere/nope")
        self.fails(3, "there is no run", "artifact", "put", NO_SUCH_RUN, "config.json")
        self.fails(2, "", "artifact", "put", run, "config.json", "../x")
        self.fails(2, "is no path", "artifact", "put", run, "config.json", "")
        self.run_it("artifact", "put", run, "tree/sub/..")
        self.assertEqual(self.out("artifact", "get", run, "sub/deep.txt", "--to", "-"), "deep\n")

    def test_deep_trees(self):
        run = self.make_run("deep")
        deep = "/".join(["model"] + ["d"] * 50 + ["f"])
        self.assertEqual(SERVICE.request("PUT", f"/api/v1/runs/{run}/artifacts/{deep}", b"deep").status, 201)
        self.run_it("artifact", "get", run, "--to", "all")
        self.assertEqual((self.dir / "all" / deep).read_bytes(), b"deep")
        self.run_it("artifact", "put", run, "all/model", "again")
        self.assertEqual(self.out("artifact", "get", run, deep.replace("model", "again"), "--to", "-"), "deep")
        self.run_it("model", "register", "deep", run, "--path", "model")
        self.run_it("model", "download", "deep", "--to", "version")
        self.assertEqual((self.dir / "version" / deep.removeprefix("model/")).read_bytes(), b"deep")
        self.file("d/" * 60 + "f")
        self.file("d/g")
        told = self.run_it("artifact", "put", run, "d", code=8).stderr
        self.assertIn("lies deeper than 57 directories", told)
        self.assertEqual(self.out("artifact", "get", run, "d/g", "--to", "-"), "content\n")

    def test_what_cannot_be_stored_of_a_directory(self):
        """It is told by its name, and nothing else is missing for its sake."""
        run = self.make_run("odd names")
        for name in ("a", "c#1.txt", "d/back\\slash", "d/e", "z"):
            self.file("odd/" + name, b"x")
        os.mkfifo(self.dir / "odd/fifo")
        told = self.run_it("artifact", "put", run, "odd", code=8).stderr
        self.assertIn("'odd/c#1.txt' cannot be the name of an artifact", told)
        self.assertIn("'odd/d/back\\slash' cannot be", told)
        self.assertIn("odd/fifo is no plain file and is left out", told)
        self.assertIn("3 files, 3 B", told)
        self.assertEqual([row["path"] for row in self.csv("artifact", "ls", run, "odd")], ["odd/a", "odd/d", "odd/z"])
        self.fails(1, "'c#1.txt' cannot be the name", "artifact", "put", run, "odd/c#1.txt")


class Models(Case):
    def setUp(self):
        super().setUp()
        self.name = self.id().rsplit(".", 1)[1]
        self.run = self.make_run("to register")
        self.file("model/weights.npz", b"w" * 1000)
        self.file("model/sub/notes.txt", b"notes\n")
        self.run_it("artifact", "put", self.run, "model")

    def test_versions(self):
        shown = self.out("model", "register", self.name, self.run, "--tag", "data=v3", "--description", "the first")
        self.assertRegex(shown, rf"Model +{self.name}\nVersion +1\nStage +None\n")
        self.assertRegex(shown, r"Size +1\.0 kB\nMetrics +.*loss=0\.05.*\nTags +data=v3\nDescription +the first\n")
        second = self.json("model", "register", self.name, self.run, "-p", "model/weights.npz")
        self.assertEqual((second["version"], second["size"], second["path"]), (2, 1000, "model/weights.npz"))
        self.fails(3, "the run has no file 'nope'", "model", "register", self.name, self.run, "-p", "nope")
        self.assertRegex(self.out("model", "ls"), rf"(?m)^{self.name} +2 +{AGO} +{AGO} *$")
        self.assertIn((self.name, "2"), [(row["name"], row["latest_version"]) for row in self.csv("model", "ls")])
        titles, lines = self.table("model", "show", self.name)
        self.assertEqual(titles[:4], ["NAME", "VERSION", "STAGE", "ALIASES"])
        self.assertEqual([line.split()[1] for line in lines], ["2", "1"])
        self.assertIn(second["digest"], self.out("model", "show", self.name, "-o", "wide"))
        self.assertEqual(self.csv("model", "show", f"{self.name}/1")[0]["description"], "the first")
        self.fails(3, "there is no model", "model", "show", "nope")
        self.fails(3, "winnow model ls", "model", "show", "nope")
        self.fails(3, "there is no version 9", "model", "show", f"{self.name}/9")
        self.fails(3, f"winnow model show {self.name}` lists", "model", "show", f"{self.name}/9")
        self.fails(2, "say --yes", "model", "rm", f"{self.name}/2")
        self.run_it("model", "rm", f"{self.name}/2", "-y")
        self.assertEqual(self.out("model", "show", self.name, "-o", "name"), f"{self.name}/1\n")
        self.assertEqual(self.out("model", "show", f"{self.name}/1", "-o", "name"), f"{self.name}/1\n")
        self.run_it("model", "rm", self.name, "-y")
        self.fails(3, "there is no model", "model", "rm", self.name, "-y")

    def test_aliases_and_stages(self):
        self.run_it("model", "register", self.name, self.run)
        self.run_it("model", "register", self.name, self.run)
        self.assertIn("@champion is version 1", self.run_it("model", "alias", f"{self.name}/1", "champion").stderr)
        self.assertEqual(self.json("model", "show", f"{self.name}@champion")["version"], 1)
        self.assertIn("champion=1", self.out("model", "ls"))
        self.fails(3, "has no alias 'nobody'", "model", "show", f"{self.name}@nobody")
        self.assertIn("is in stage Production", self.run_it("model", "stage", f"{self.name}@champion", "production").stderr)
        self.assertEqual(self.json("model", "show", f"{self.name}/1")["stage"], "Production")
        titles, lines = self.table("model", "events", self.name)
        self.assertEqual(titles, ["TIME", "VERSION", "KIND", "FROM", "TO", "ACTOR", "ALIAS"])
        self.assertEqual([(row["subject"], row["kind"], row["to"], row["reason"]) for row in self.csv("model", "events", f"{self.name}@champion")],
                         [(f"{self.name}/1", "model.alias", "1", "champion"), (f"{self.name}/1", "model.stage", "Production", "")])
        self.assertEqual(self.csv("model", "events", f"{self.name}/2"), [])
        self.fails(3, "there is no model", "model", "events", "nope")
        self.fails(2, "", "model", "alias", f"{self.name}/1", "v1")
        self.fails(2, "write winnow model alias [flags] MODEL[/VERSION] ALIAS", "model", "alias", self.name, "champion", "1")
        self.fails(2, "is None, Staging, Production or Archived", "model", "stage", f"{self.name}/1", "Mars")
        self.run_it("model", "alias", self.name, "champion", "--remove")
        self.fails(3, "has no alias", "model", "show", f"{self.name}@champion")
        self.fails(3, "there is no version 7", "model", "stage", f"{self.name}/7", "Staging")

    def test_long_names(self):
        name = "é" * 1250
        self.run_it("model", "register", name, self.run)
        self.run_it("model", "alias", f"{name}/1", "champion")
        self.assertEqual(self.json("model", "show", f"{name}@champion")["version"], 1)
        self.assertIn("2 files", self.run_it("model", "download", name, "--to", "long").stderr)
        self.run_it("model", "rm", name, "-y")

    def test_files(self):
        self.run_it("model", "register", self.name, self.run)
        self.run_it("model", "register", self.name, self.run, "-p", "model/weights.npz")
        self.run_it("run", "rm", self.run, "-y")  # a version keeps its files
        self.assertIn("2 files", self.run_it("model", "download", f"{self.name}/1", "--to", "tree").stderr)
        self.assertEqual((self.dir / "tree/sub/notes.txt").read_bytes(), b"notes\n")
        self.assertIn("1 file, 1.0 kB", self.run_it("model", "download", self.name, "--to", "one").stderr)
        self.assertEqual((self.dir / "one/weights.npz").read_bytes(), b"w" * 1000)
        for version in ("1", "2"):
            self.assertRegex(self.out("model", "verify", f"{self.name}/{version}"), r"^Matches +true\nDigest +[0-9a-f]{64}\n")
        self.assertTrue(self.json("model", "verify", self.name)["ok"])
        self.assertIn(f"{self.name}/2 is what was registered", self.run_it("model", "verify", self.name).stderr)
        own = next(SERVICE.data.rglob(f"{self.run}/artifacts/model/weights.npz"))  # other tests have models, too
        kept = next(path for path in SERVICE.data.rglob("registry/*/1/weights.npz") if path.samefile(own))
        kept.unlink()
        kept.write_bytes(b"v" * 1000)
        self.assertIn("false", self.out("model", "verify", f"{self.name}/1", "-o", "csv", code=7))
        kept.unlink()  # a file that is lost is in no list
        self.fails(1, f"{self.name}/1 had 1.0 kB when it was registered, and what was fetched has 6 B", "model", "download", f"{self.name}/1", "--to", "less")
        self.fails(3, "there is no version 5", "model", "download", f"{self.name}/5")


class Access(Case):
    def test_tokens(self):
        secret = self.out("token", "create", "ci " + self.id(), "--scope", "submit", "--expires", "90d").strip()
        self.assertTrue(secret.startswith("wnw_"))
        titles, lines = self.table("token", "ls")
        self.assertEqual(titles, ["ID", "NAME", "SCOPES", "CREATED", "EXPIRES", "REVOKED"])
        self.assertRegex([line for line in lines if self.id() in line][0], rf"submit +{AGO} +in (89|90)d$")
        self.assertIn("LAST USED", self.out("token", "ls", "-o", "wide"))
        row = [row for row in self.csv("token", "ls") if self.id() in row["name"]][0]
        self.assertEqual(json.loads(row["scopes"]), ["submit"])
        self.assertNotIn(secret, self.out("token", "ls", "-o", "json"))
        self.fails(1, "scopes", "token", "create", "bad", "--scope", "bogus")
        file = self.file("secret", secret.encode())
        file.chmod(0o600)
        self.assertEqual(self.json("whoami", "--token-file", file, tcp=True)["token_id"], row["id"])
        self.run_it("token", "rm", "ci " + self.id(), "-y")
        self.fails(4, "not valid", "whoami", "--token-file", file, tcp=True)
        self.fails(3, "there is no token", "token", "rm", "ci " + self.id(), "-y")
        self.assertRegex([line for line in self.table("token", "ls")[1] if self.id() in line][0], rf"in (89|90)d +{AGO}$")
        self.fails(3, "there is no token", "token", "rm", "nope", "-y")

    def test_whoami(self):
        self.assertRegex(self.out("whoami"), r"Via +socket\nScopes +admin\n")
        self.assertEqual(self.csv("whoami")[0]["via"], "socket")
        self.assertRegex(self.out("whoami", "-o", "wide", tcp=True), r"Via +nothing")

    def test_over_tcp(self):
        self.fails(4, 'needs a credential with the scope "admin"', "token", "ls", tcp=True)
        secret = self.json("token", "create", "tcp", "-s", "read")["token"]
        kept = self.run_it("login", tcp=True, input=secret + "\n")
        self.assertIn("is kept in", kept.stderr)
        self.assertRegex(kept.stdout, r"Via +token\nScopes +read\n")
        self.assertEqual(self.json("whoami", tcp=True)["scopes"], ["read"])
        self.fails(4, 'needs the scope "admin"', "token", "ls", tcp=True)
        self.fails(4, "not valid", "login", tcp=True, input="wnw_nonsense\n")
        self.assertEqual(self.json("whoami", tcp=True)["scopes"], ["read"])  # a bad one replaces nothing
        self.assertIn("is gone", self.run_it("logout", tcp=True).stderr)
        self.assertEqual(self.json("whoami", tcp=True)["via"], "nothing")
        admin = SERVICE.data / "admin.token"
        mine = self.json("token", "create", "mine", "-s", "admin", "--token-file", admin, tcp=True)
        self.run_it("login", tcp=True, input=mine["token"])
        self.run_it("logout", "--revoke", tcp=True)
        self.assertIsNotNone([row for row in self.json("token", "ls")["items"] if row["id"] == mine["id"]][0]["revoked"])
        self.fails(3, "there is no run", "run", "show", NO_SUCH_RUN, tcp=True)
        self.run_it("experiment", "create", self.id(), tcp=True)
        self.fails(5, "already", "experiment", "create", self.id(), tcp=True)


class Service(Case):
    def test_status(self):
        shown = self.out("status")
        self.assertRegex(shown, r"State +ok\nVersion +\d")
        self.assertRegex(shown, r"Database +private Postgres \d+")
        self.assertIn(str(SERVICE.data), shown)
        self.assertEqual(self.json("status")["data_dir"], str(SERVICE.data))
        self.assertEqual(self.csv("status")[0]["database.up"], "true")
        self.assertNotIn(str(SERVICE.data), self.out("status", "-o", "wide", tcp=True))

    def test_doctor(self):
        checks = {row["check"]: row for row in self.csv("doctor")}
        self.assertIn(str(SERVICE.data), checks["data"]["detail"])
        self.assertEqual(checks["admin token"]["state"], "ok")
        self.assertIn("answers in", checks["service"]["detail"])
        self.assertRegex(self.out("doctor", "-o", "wide"), r"CHECK +STATE +WHAT\n")
        away = {item["check"]: item for item in self.json("doctor", tcp=True)["items"]}
        self.assertNotIn("data", away)  # a stranger is not told where it lies
        self.assertRegex(self.out("doctor", "--url", f"unix:{self.dir}/nowhere.sock", code=1), r"service +wrong")

    def test_api(self):
        self.assertEqual(self.json("api", "GET", "/status")["state"], "ok")
        made = self.json("api", "POST", "/experiments", "-f", "name=" + self.id())
        self.assertEqual(made["name"], self.id())
        self.fails(5, "already", "api", "POST", "/experiments", "-f", "name=" + self.id())
        self.fails(3, "there is no run", "api", "GET", "/runs/" + NO_SUCH_RUN)
        self.fails(4, "admin", "api", "GET", "/tokens", tcp=True)
        self.fails(6, "", "status", "--url", f"unix:{self.dir}/nowhere.sock")


class Pages(Case):
    def test_manual(self):
        self.run_it("help", "--man", "man1")
        names = {path.name for path in (self.dir / "man1").iterdir()}
        self.assertLessEqual({"winnow.1", "winnow-run-metrics.1", "winnow-model-register.1", "winnow-doctor.1"}, names)
        page = (self.dir / "man1/winnow-run-metrics.1").read_text()
        self.assertTrue(page.startswith(".TH "), page[:80])
        for shell in ("bash", "zsh", "fish"):
            self.assertIn("__complete", self.out("completion", shell))


if __name__ == "__main__":
    unittest.main(verbosity=1)
