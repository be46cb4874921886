"""The command line against a service in memory: every verb, every exit code, hostile answers, pipes and signals."""
import csv
import hashlib
import io
import json
import os
import pty
import re
import resource
import select
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
import fake_service  # noqa: E402
from fake_service import EVIL, RUN_A, RUN_B, RUN_C, SWEEP, SWEEP_2  # noqa: E402
from service import wait  # noqa: E402

PROGRAM = None
SERVICE = fake_service.Service()
SERVER = None
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")


class Case(unittest.TestCase):
    def setUp(self):
        SERVICE.reset()
        self.dir = tempfile.mkdtemp(prefix="winnow-cli-")
        self.addCleanup(shutil.rmtree, self.dir, True)
        self.url = "http://127.0.0.1:%d" % SERVER.server_address[1]
        self.env = {"PATH": os.environ["PATH"], "HOME": self.dir, "TERM": "xterm", "LANG": "C.UTF-8", "WINNOW_URL": self.url}
        for name in ("ASAN_OPTIONS", "UBSAN_OPTIONS", "LSAN_OPTIONS"):
            if name in os.environ:
                self.env[name] = os.environ[name]

    def start(self, *args, **more):
        env = dict(self.env, **more.pop("env", {}))
        return subprocess.Popen([PROGRAM, *args], env={k: v for k, v in env.items() if v is not None}, cwd=more.pop("cwd", self.dir),
                                stdin=more.pop("stdin", subprocess.DEVNULL), stdout=more.pop("stdout", subprocess.PIPE),
                                stderr=more.pop("stderr", subprocess.PIPE), **more)

    def run_it(self, *args, code=0, input=None, **more):
        process = self.start(*args, stdin=subprocess.PIPE if input is not None else subprocess.DEVNULL, **more)
        out, err = process.communicate(input, timeout=60)
        out, err = out.decode(), err.decode()
        self.assertEqual(process.returncode, code, "%s\nstdout: %s\nstderr: %s" % (args, out, err))
        self.assertNotIn("runtime error", err)
        return out, err

    def json_of(self, *args):
        return json.loads(self.run_it(*args, "-o", "json")[0])

    def sent(self, method, path):
        return [entry for entry in SERVICE.seen if entry[0] == method and entry[1].split("?")[0] == "/api/v1" + path]

    def file(self, name, text, mode=0o600):
        path = os.path.join(self.dir, name)
        with open(path, "w") as out:
            out.write(text)
        os.chmod(path, mode)
        return path


class EveryVerb(Case):
    """Each verb once as a table and once as JSON."""

    def test_lists_and_objects(self):
        rows = [
            ("status", "private Postgres"), ("whoami", "alice"), ("token ls", "ci"), ("experiment ls", "mnist"), ("experiment show mnist", "mnist"),
            ("run ls", "first"), ("run show @latest", "val_accuracy"), ("run show first", "adam"), ("run show 0193b2f3c4d5aa", "adam"),
            ("run params " + RUN_A, "adam"), ("run metrics " + RUN_A, "loss"), ("run metrics %s -k loss" % RUN_A, "23"),
            ("run events " + RUN_A, "rank 5 of 9"), ("run artifacts " + RUN_A, "config.json"), ("run compare %s %s" % (RUN_A, RUN_B), "0.02"),
            ("artifact ls " + RUN_A, "config.json"), ("model ls", "champion"), ("model show mnist", "champion"), ("model show mnist@champion", "READY"),
            ("sweep ls", "mnist"), ("sweep show mnist", "mixed space"), ("sweep best mnist", "adam"), ("sweep importance mnist", "lr"),
            ("trial ls mnist", "rank 5 of 9"), ("trial show mnist/12", "adam"), ("queue", "all 2 slots"), ("nodes", "gpu1"),
        ]
        for command, expected in rows:
            with self.subTest(command):
                out, _ = self.run_it(*command.split())
                self.assertIn(expected, out)
                self.assertNotIn("\x1b", out)
                value = json.loads(self.run_it(*command.split(), "-o", "json")[0])
                self.assertTrue(value)
                if command in ("experiment ls", "run show first", "sweep ls", "trial ls mnist", "model show mnist"):
                    for form in ("wide", "jsonl", "csv", "yaml", "name"):
                        self.assertTrue(self.run_it(*command.split(), "-o", form)[0].strip(), form)

    def test_actions(self):
        rows = [
            ("experiment create new", "POST", "/experiments"), ("experiment rm mnist -y", "DELETE", "/experiments/1"),
            ("experiment restore 1", "PATCH", "/experiments/1"), ("run tag first a=1 b-", "PATCH", "/runs/" + RUN_A),
            ("run note first text", "PATCH", "/runs/" + RUN_A), ("run stop first", "POST", "/runs/%s/stop" % RUN_A),
            ("run retry first", "POST", "/runs/%s/retry" % RUN_A), ("run rm first -y", "DELETE", "/runs/" + RUN_A),
            ("run restore " + RUN_A, "POST", "/runs/%s/restore" % RUN_A), ("model register mnist first", "POST", "/models/mnist/versions"),
            ("model alias mnist/2 best", "PUT", "/models/mnist/aliases/best"), ("model alias mnist best --remove", "DELETE", "/models/mnist/aliases/best"),
            ("model stage mnist@champion Production", "PATCH", "/models/mnist/versions/2"), ("model verify mnist/2", "POST", "/models/mnist/versions/2/verify"),
            ("model rm mnist/2 -y", "DELETE", "/models/mnist/versions/2"), ("model rm mnist -y", "DELETE", "/models/mnist"),
            ("sweep pause mnist", "POST", "/sweeps/%s/pause" % SWEEP), ("sweep resume mnist", "POST", "/sweeps/%s/resume" % SWEEP),
            ("sweep drain mnist", "POST", "/sweeps/%s/drain" % SWEEP), ("sweep stop mnist -y", "POST", "/sweeps/%s/stop" % SWEEP),
            ("sweep clone mnist --seed 8", "POST", "/sweeps/%s/clone" % SWEEP), ("sweep edit mnist --run-cap 100", "PATCH", "/sweeps/" + SWEEP),
            ("sweep rm mnist -y", "DELETE", "/sweeps/" + SWEEP), ("trial stop mnist/12", "POST", "/runs/%s/stop" % RUN_A),
            ("trial retry mnist/best", "POST", "/runs/%s/retry" % RUN_A), ("trial enqueue mnist lr=0.1 opt=adam", "POST", "/sweeps/%s/trials" % SWEEP),
            ("queue hold first", "PATCH", "/queue/" + RUN_A), ("queue release first", "PATCH", "/queue/" + RUN_A),
            ("queue move first first", "PATCH", "/queue/" + RUN_A), ("nodes drain gpu1 --reason disk", "PATCH", "/nodes/gpu1"),
            ("nodes resume gpu1", "PATCH", "/nodes/gpu1"), ("token rm ci -y", "DELETE", "/tokens/tok1aaaa"),
        ]
        for command, method, path in rows:
            with self.subTest(command):
                SERVICE.seen.clear()
                self.run_it(*command.split())
                sent = self.sent(method, path)
                self.assertEqual(len(sent), 1)
                self.assertEqual("Idempotency-Key" in sent[0][2], method == "POST")
        self.assertEqual(json.loads(self.run_it("run", "tag", "first", "a=1", "-o", "json")[0])["id"], RUN_A)

    def test_bodies(self):
        self.run_it("run", "tag", "first", "a=1", "b-", "c=")
        self.assertEqual(json.loads(self.sent("PATCH", "/runs/" + RUN_A)[0][3]), {"tags": {"a": "1", "b": None, "c": ""}})
        self.run_it("trial", "enqueue", "mnist", "lr=0.1", "n=3", "opt=adam", "nest=true", "z=00", "inf=1e999", 'eight="8"', 'half="8')
        self.assertEqual(json.loads(self.sent("POST", "/sweeps/%s/trials" % SWEEP)[0][3]),
                         {"params": {"lr": 0.1, "n": 3, "opt": "adam", "nest": True, "z": "00", "inf": "1e999", "eight": "8", "half": '"8'}})
        self.run_it("sweep", "edit", "mnist", "--run-cap=100", "--max-time", "2h", "--notes", "x y")
        self.assertEqual(json.loads(self.sent("PATCH", "/sweeps/" + SWEEP)[0][3]), {"run_cap": 100, "max_time": "2h", "notes": "x y"})

    def test_token_create_prints_only_the_token(self):
        out, err = self.run_it("token", "create", "ci", "-s", "submit", "--expires", "90d")
        self.assertEqual(out, "winnow_secret_token\n")
        body = json.loads(self.sent("POST", "/tokens")[0][3])
        self.assertEqual(body["scopes"], ["submit"])
        self.assertGreater(body["expires"], time.time() * 1000 + 89 * 86400000)

    def test_launch(self):
        self.run_it("run", "launch", "--slots", "2", "--env", "A=1", "--", "python3", "train.py", "--lr", "0.1", "-o", "x")
        self.assertEqual(SERVICE.launched["command"], ["python3", "train.py", "--lr", "0.1", "-o", "x"])
        self.assertEqual(SERVICE.launched["resources"], {"slots": 2})
        self.assertEqual(SERVICE.launched["env"], {"A": "1"})
        self.assertEqual(os.path.realpath(SERVICE.launched["directory"]), os.path.realpath(self.dir))
        self.assertIn(SERVICE.launched["code"].removeprefix("sha256:"), SERVICE.code)
        self.run_it("run", "launch", "echo", "--help")
        self.assertEqual(SERVICE.launched["command"], ["echo", "--help"])
        out, _ = self.run_it("run", "launch", "-f", "--", "false", code=3)  # the exit status is the command's
        self.assertIn("line 99", out)

    def test_sweep_create(self):
        path = self.file("mnist.yaml", "method: bayes\n")
        self.assertIn(SWEEP, self.run_it("sweep", "create", path)[0])
        method, url, headers, body = self.sent("POST", "/sweeps")[0]
        sent = json.loads(body)
        self.assertEqual((sent["file"], sent["name"], headers["Content-Type"]),
                         ("method: bayes\n", "mnist.yaml", "application/vnd.winnow.submission+json"))
        self.assertEqual(sent["environment"]["PATH"], os.environ["PATH"])
        self.assertEqual(self.run_it("sweep", "create", path, "-o", "name")[0], SWEEP + "\n")
        self.assertIn("argv:", self.run_it("sweep", "create", path, "--dry-run")[0])
        self.run_it("sweep", "create", "-", input=b"method: grid\n")
        out, err = self.run_it("sweep", "create", self.file("bad.yaml", "mistake"), code=1)
        self.assertEqual(out, "")
        for part in ("line 3, column 1", "methd", "unknown key", "did you mean method?", "req-400"):
            self.assertIn(part, err)
        self.run_it("sweep", "create", "missing.yaml", code=3)

    def test_parse_goes_on_after_a_file_that_cannot_be_read(self):
        first, last = self.file("first.log", "loss=0.5\n"), self.file("last.log", "loss=0.25\n")
        out, err = self.run_it("parse", "-o", "jsonl", first, "missing.log", str(self.dir), last, code=1)
        self.assertEqual([json.loads(line)["value"] for line in out.splitlines()], [0.5, 0.25])
        for part in ("cannot open missing.log", f"cannot read {self.dir}", "2 of 4 files could not be read"):
            self.assertIn(part, err)
        out, err = self.run_it("parse", "missing.log", code=3)
        self.assertEqual((out, err.count("missing.log"), "files" in err), ("", 1, False))

    def test_api(self):
        self.assertEqual(self.json_of("api", "GET", "/status")["version"], "0.1.0")
        self.assertEqual(json.loads(self.run_it("api", "get", "status")[0])["version"], "0.1.0")
        self.assertEqual(self.run_it("api", "GET", "/health")[0], "OK")
        self.run_it("api", "POST", "/experiments", "-f", "name=x", "-F", "n=3")
        self.assertEqual(json.loads(self.sent("POST", "/experiments")[0][3]), {"name": "x", "n": 3})
        self.run_it("api", "GET", "/sweeps", "-f", "limit=1", "-f", "a b=c&d")
        self.assertIn("limit=1&a%20b=c%26d", self.sent("GET", "/sweeps")[0][1])
        self.run_it("api", "POST", "/experiments", "--input", "-", input=b'{"name": "y"}')
        self.run_it("api", "FETCH", "/status", code=2)
        self.run_it("api", "GET", "/none", code=3)

    def test_export(self):
        rows = list(csv.DictReader(io.StringIO(self.run_it("export")[0])))
        self.assertEqual([row["id"] for row in rows], [RUN_A, RUN_B, RUN_C])
        self.assertEqual((rows[0]["params.lr"], rows[0]["metrics.loss"], rows[0]["tags.team"]), ("0.01", "NaN", "vision"))
        target = os.path.join(self.dir, "runs.jsonl")
        self.run_it("export", "--format", "jsonl", target)
        with open(target) as lines:
            self.assertEqual([json.loads(line)["id"] for line in lines], [RUN_A, RUN_B, RUN_C])
        SERVICE.fault(500, path="/runs/search")
        self.run_it("export", os.path.join(self.dir, "none.csv"), code=1)
        self.assertFalse([name for name in os.listdir(self.dir) if name.startswith("none")])

    def test_watching_a_list_shows_what_changes(self):
        process = self.start("sweep", "ls", "-w", "-o", "jsonl")
        lines = [process.stdout.readline() for _ in range(2)]
        SERVICE.sweeps[SWEEP]["state"] = "PAUSED"
        changed = json.loads(process.stdout.readline())
        process.send_signal(signal.SIGINT)
        rest, _ = process.communicate(timeout=60)
        self.assertEqual((len(lines), changed["id"], changed["state"], rest, process.returncode), (2, SWEEP, "PAUSED", b"", 130))

    def test_paging_and_limits(self):
        for i in range(2500):
            run_id = "%032x" % (1000 + i)
            SERVICE.runs[run_id] = fake_service.run_object(run_id, "run %d" % i)
        self.assertEqual(len(self.run_it("run", "ls", "-o", "name", "-n", "0")[0].split()), 2503)
        out, err = self.run_it("run", "ls", "-n", "7")
        self.assertEqual(len(out.splitlines()), 8)
        self.assertIn("more", err)
        listing = self.json_of("run", "ls", "-n", "7")
        self.assertEqual((len(listing["items"]), listing["next"]), (7, "7"))

    def test_doctor(self):
        out, _ = self.run_it("doctor")
        self.assertIn("answers in", out)
        out, _ = self.run_it("doctor", "--url", "http://127.0.0.1:1", code=1)
        self.assertIn("wrong", out)
        items = json.loads(self.run_it("doctor", "-o", "json")[0])["items"]
        self.assertEqual({item["state"] for item in items} - {"ok", "note"}, set())


class Help(Case):
    def verbs(self):
        out, _ = self.run_it("help")
        nouns = re.findall(r"^  ([a-z]\S*) ", out.split("Commands")[1].split("Flags")[0], re.M)
        self.assertGreater(len(nouns), 15)
        for noun in nouns:
            text, _ = self.run_it(noun, "--help")
            verbs = re.findall(r"^  ([a-z]\S*)", text.split("Verbs")[1], re.M) if "\nVerbs\n" in text else []
            yield (noun,) if not verbs else None
            for verb in verbs:
                yield (noun, verb)

    def test_every_verb_has_help_with_examples_first(self):
        count = 0
        for words in filter(None, self.verbs()):
            with self.subTest(words):
                out, err = self.run_it(*words, "--help")
                self.assertEqual(err, "")
                self.assertLess(out.index("Examples"), out.index("Usage"))
                self.assertIn("  winnow " + " ".join(words), out.split("Usage")[1])
                self.assertRegex(out.split("Usage")[0], r"\n  # .+\n  .*winnow " + words[0])
                count += 1
        self.assertGreater(count, 60)
        self.assertEqual(self.run_it("help", "sweep", "create")[0], self.run_it("sweep", "create", "--help")[0])

    def test_man_pages_render(self):
        self.run_it("help", "--man", os.path.join(self.dir, "man"))
        pages = sorted(os.listdir(os.path.join(self.dir, "man")))
        self.assertIn("winnow.1", pages)
        self.assertIn("winnow-sweep-create.1", pages)
        self.assertGreater(len(pages), 60)
        renderer = next((c for c in (["groff", "-man", "-Tutf8", "-ww", "-z"], ["mandoc", "-T", "lint", "-W", "error"]) if shutil.which(c[0])), None)
        if not renderer:
            self.skipTest("neither groff nor mandoc is here")
        for page in pages:
            result = subprocess.run(renderer + [os.path.join(self.dir, "man", page)], capture_output=True, text=True)
            self.assertEqual((result.returncode, result.stderr), (0, ""), page)

    def test_did_you_mean_and_usage(self):
        rows = [(("swep",), "sweep"), (("sweep", "crate"), "create"), (("run", "ls", "--limt", "3"), "--limit"), (("run", "ls", "--state", "RUNING"), "RUNNING"),
                (("-o", "jsn", "run", "ls"), "json"), (("run", "show"), "RUN is missing"), (("run", "show", "a", "b"), "too many"),
                (("run", "ls", "--limit"), "needs a value"), (("run", "ls", "-n", "x"), "whole number"), (("sweep", "wait", "x", "--until", "soon"), "best<0.2"),
                (("sweep", "edit", "mnist"), "nothing to change"), (("sweep", "stop", "mnist"), "--yes"), (("completion", "tcsh"), "bash")]
        for words, expected in rows:
            out, err = self.run_it(*words, code=2)
            self.assertEqual(out, "")
            self.assertIn(expected, err)
        self.assertEqual(SERVICE.seen, [])

    def test_a_bare_noun_is_a_usage_error_with_help(self):
        out, err = self.run_it("sweep", code=2)
        self.assertEqual(out, "")
        self.assertIn("create", err)

    def test_start_is_quick(self):
        if "asan" in PROGRAM or "build/cov" in PROGRAM:
            self.skipTest("an instrumented program")
        def worked():
            used = resource.getrusage(resource.RUSAGE_CHILDREN)
            return used.ru_utime + used.ru_stime
        def least(ask):
            taken = []
            for _ in range(15):
                before = worked()
                ask()
                taken.append(worked() - before)
            return min(taken)
        # Of the processor, however busy the machine is; and however slow: the aim is 15 ms where this Python takes as long for nothing.
        python = least(lambda: subprocess.run([sys.executable, "-I", "-S", "-c", ""], check=True))
        self.assertLess(least(lambda: self.run_it("--help")), max(0.05, 4 * python))


class Completion(Case):
    def complete(self, *words):
        return [line.split("\t")[0] for line in self.run_it("__complete", "--", *words)[0].splitlines()]

    def test_words_flags_values_ids(self):
        self.assertIn("sweep", self.complete("sw"))
        self.assertNotIn("__complete", self.complete(""))
        self.assertEqual(self.complete("sweep", "cr"), ["create"])
        self.assertEqual(self.complete("run", "ls", "--lim"), ["--limit"])
        self.assertEqual(self.complete("run", "ls", "-o", "js"), ["json", "jsonl"])
        self.assertEqual(self.complete("run", "ls", "--output=js"), ["--output=json", "--output=jsonl"])
        self.assertEqual(self.complete("run", "ls", "--state", "RU"), ["RUNNING"])
        self.assertIn(RUN_A, self.complete("run", "show", "01"))
        self.assertIn(SWEEP, self.complete("sweep", "show", ""))
        self.assertIn("@latest", self.complete("run", "show", "@"))
        self.assertEqual(self.complete("sweep", "create", ""), [":files"])
        self.assertIn("mnist", self.complete("model", "show", "m"))

    def test_a_slow_or_missing_service_costs_little(self):
        listener = socket.socket()
        listener.bind(("127.0.0.1", 0))
        listener.listen(8)
        self.addCleanup(listener.close)
        begun = time.time()
        self.run_it("__complete", "--url", "x", "--", "run", "show", "", env={"WINNOW_URL": "http://127.0.0.1:%d" % listener.getsockname()[1]})
        self.assertLess(time.time() - begun, 15)  # it does not wait for an answer for as long as other commands do
        self.run_it("__complete", "--", "run", "show", "", env={"WINNOW_URL": "http://127.0.0.1:1"})

    def test_bash_takes_the_script(self):
        script = self.run_it("completion", "bash")[0]
        test = script + '\nCOMP_WORDS=(winnow sweep cr); COMP_CWORD=2; _winnow; printf "%s\\n" "${COMPREPLY[@]}"\n'
        env = dict(self.env, PATH=os.path.dirname(PROGRAM) + ":" + self.env["PATH"])
        result = subprocess.run(["bash", "-c", test], env=env, capture_output=True, text=True, cwd=self.dir)
        self.assertEqual(result.stdout, "create\n", result.stderr)
        for shell in ("zsh", "fish"):
            self.assertIn("__complete", self.run_it("completion", shell)[0])


class Errors(Case):
    def test_exit_codes(self):
        rows = [(400, 1), (401, 4), (403, 4), (404, 3), (409, 5), (412, 5), (413, 1), (429, 1), (500, 1), (501, 1), (503, 6), (507, 1)]
        for status, code in rows:
            with self.subTest(status):
                SERVICE.reset()
                SERVICE.fault(status, headers={"Retry-After": "0"})
                out, err = self.run_it("status", code=code)
                self.assertEqual(out, "")
                self.assertIn("detail %d" % status, err)
                self.assertIn("req-%d" % status, err)
                self.assertEqual(len(SERVICE.seen), 4 if status in (429, 503) else 1)

    def test_refused(self):
        out, err = self.run_it("status", "--url", "http://127.0.0.1:1", code=6)
        self.assertIn("no service answers at http://127.0.0.1:1", err)
        self.run_it("status", "--url", "unix:%s/none.sock" % self.dir, code=6)

    def test_retries_until_it_works_and_never_doubles(self):
        SERVICE.fault(503, method="POST", headers={"Retry-After": "0"}, times=2)
        self.run_it("experiment", "create", "x")
        keys = {entry[2]["Idempotency-Key"] for entry in self.sent("POST", "/experiments")}
        self.assertEqual((len(self.sent("POST", "/experiments")), len(keys)), (3, 1))
        SERVICE.reset()
        SERVICE.fault(503, method="PATCH", times=1)
        self.run_it("run", "tag", RUN_A, "a=1", code=6)  # not known to be repeatable
        self.assertEqual(len(self.sent("PATCH", "/runs/" + RUN_A)), 1)

    def test_no_winnow_there(self):
        SERVICE.fault(200, body=[1, 2, 3])
        self.run_it("run", "ls", code=1)
        SERVICE.reset()
        SERVICE.fault(302, body={}, headers={"Location": "http://127.0.0.1:1/"})
        self.run_it("status", code=1)
        SERVICE.reset()
        SERVICE.fault(200, path="/status", body={"x": "\x00"})
        self.run_it("status", code=1)

    def test_ids(self):
        _, err = self.run_it("run", "show", "0193", code=3)
        self.assertIn(RUN_A, err)
        self.assertIn(RUN_B, err)
        self.run_it("run", "show", "no such", code=3)
        self.run_it("run", "show", "f" * 32, code=3)
        self.run_it("trial", "show", "mnist/99", code=3)
        self.assertEqual(self.run_it("trial", "show", "mnist", "12"), self.run_it("trial", "show", "mnist/12"))
        self.run_it("trial", "show", "mnist", "99", code=3)
        for words in (("trial", "show"), ("trial", "stop"), ("logs",)):
            self.assertIn("'mnist/best' is the best", self.run_it(*words, "mnist", code=3)[1])
        self.assertIn("SWEEP/12", self.run_it("trial", "stop", "12", code=3)[1])
        self.run_it("sweep", "show", "0193b2f0", code=3)
        self.run_it("sweep", "show", SWEEP.upper())
        self.run_it("run", "show", "it's \"both\"", code=3)
        SERVICE.sweeps[SWEEP]["best"] = None
        self.run_it("run", "show", "@best", code=3)

    def test_partial_success(self):
        SERVICE.fault(409, method="POST", path=RUN_B)
        self.run_it("run", "stop", RUN_A, RUN_B, code=8)
        self.run_it("run", "stop", RUN_B, code=5)

    def test_waiting(self):
        SERVICE.sweeps[SWEEP]["state"] = "FAILED"
        self.run_it("sweep", "wait", "mnist", code=7)
        self.run_it("sweep", "watch", "mnist", code=7)
        SERVICE.sweeps[SWEEP]["state"] = "RUNNING"
        self.run_it("sweep", "wait", "mnist", "--timeout", "1s", code=124)
        self.run_it("sweep", "wait", "mnist", "--until", "best>0.9")
        SERVICE.sweeps[SWEEP]["state"] = "FINISHED"
        self.run_it("sweep", "wait", "mnist", "--until", "best>0.999", code=7)
        self.run_it("model", "verify", "mnist/1", code=7)


class Following(Case):
    def test_watch_resumes_where_it_broke_and_ends_with_the_sweep(self):
        SERVICE.events = [b"retry: 10\n\nid: 7\nevent: trial\ndata: {\"n\": 1}\n\n", None, b"id: 8\ndata: {\"n\": 2}\n\n"]
        SERVICE.finish_after_events = "FINISHED"
        out, _ = self.run_it("sweep", "watch", "mnist", "-o", "jsonl")
        self.assertEqual([json.loads(line) for line in out.splitlines()], [{"n": 1}, {"n": 2}, {"to": "end"}])
        self.assertEqual(SERVICE.last_event_ids[:2], [None, "7"])

    def test_create_and_follow(self):
        SERVICE.finish_after_events = "FAILED"
        out, err = self.run_it("sweep", "create", self.file("a.yaml", "method: grid\n"), "-f", code=7)
        self.assertIn("FAILED", out)
        self.assertIn("20 of 60 trials", err)

    def test_watch_without_event_streams(self):
        SERVICE.fault(404, path="/events")
        process = self.start("sweep", "watch", "mnist")
        wait(lambda: [entry for entry in SERVICE.seen if "/events" in entry[1]], "its question")
        SERVICE.sweeps[SWEEP]["state"] = "FINISHED"
        self.assertEqual(process.wait(timeout=60), 0)
        process.communicate()

    def interrupt(self, process, asked=""):
        """Once it listens to the signal, and has asked for that path."""
        def is_ready():
            with open(f"/proc/{process.pid}/status") as status:
                caught = int(re.search(r"SigCgt:\s*(\w+)", status.read())[1], 16)
            return caught & 1 << signal.SIGINT - 1 and (not asked or [entry for entry in SERVICE.seen if asked in entry[1]])

        wait(is_ready, "the command to be ready")
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
        self.assertEqual(process.returncode, 130)
        return err.decode()

    def test_ctrl_c_detaches(self):
        self.assertIn("winnow sweep watch " + SWEEP, self.interrupt(self.start("sweep", "watch", "mnist"), "/events"))
        SERVICE.log_hangs = True
        self.assertIn("winnow logs %s -f" % RUN_A, self.interrupt(self.start("logs", RUN_A, "-f"), "follow"))
        SERVICE.log_hangs = False
        self.assertFalse([entry for entry in SERVICE.seen if entry[0] == "POST" and entry[1].endswith("stop")])
        self.interrupt(self.start("sweep", "create", "-", stdin=subprocess.PIPE))

    def test_logs(self):
        self.assertEqual(self.run_it("logs", RUN_A)[0].encode(), SERVICE.log)
        self.assertEqual(self.run_it("logs", RUN_A, "--tail", "2")[0].encode(), b"".join(SERVICE.log.splitlines(True)[-2:]))
        self.assertEqual(self.run_it("logs", RUN_A, "--stderr")[0], "to stderr\n")
        self.assertEqual(self.run_it("logs", RUN_A, "--grep", "line 4[23]")[0].count("\n"), 2)
        SERVICE.log_breaks = 4  # a connection that breaks shows no byte twice
        self.assertEqual(self.run_it("logs", RUN_A, "-f")[0].encode(), SERVICE.log)
        SERVICE.log_breaks = 2
        self.assertEqual(self.run_it("logs", RUN_A, "-f", "--tail", "90")[0].encode(), b"".join(SERVICE.log.splitlines(True)[-90:]))
        SERVICE.log = b"\x00\x1b[2Jraw\xff\n"
        process = self.start("logs", RUN_A)
        self.assertEqual(process.communicate()[0], SERVICE.log)

    def test_a_run_that_is_over_prints_no_more(self):
        """However late the end of the answer comes."""
        SERVICE.log, SERVICE.log_hangs = b"", True
        process = self.start("logs", RUN_A, "-f")
        wait(lambda: [entry for entry in SERVICE.seen if "/logs/" in entry[1]], "its question")
        time.sleep(1)
        SERVICE.log_hangs = False
        out, err = process.communicate(timeout=60)
        self.assertEqual((out, err.decode()), (b"", f"run {RUN_A}: nothing on stdout; see --stderr\n"))


class Output(Case):
    def test_experiments_beyond_those_that_a_list_shows(self):
        far = {"run_count": 0, "created": 1, "artifact_location": "x", "tags": {}}
        SERVICE.far_experiments = [{"id": "900", "name": "old", "deleted": None, **far}, {"id": "901", "name": "22", "deleted": None, **far},
                                   {"id": "902", "name": "gone", "deleted": 5, **far}]
        # an id goes before a name
        for word, id in (("900", "900"), ("old", "900"), ("22", "22"), ("901", "901"), ("mnist", "1")):
            self.assertEqual(self.run_it("experiment", "show", word, "-o", "name")[0].strip(), id)
        for word in ("902", "gone"):
            self.run_it("experiment", "show", word, code=3)
            self.run_it("experiment", "restore", word)
            self.assertEqual(len(self.sent("PATCH", "/experiments/902")), 1)
            SERVICE.seen.clear()
        self.run_it("experiment", "restore", "old", code=3)
        self.run_it("run", "ls", "--experiment", "old")
        self.assertEqual(json.loads(self.sent("POST", "/runs/search")[-1][3])["experiments"], ["900"])

    def test_a_list_that_goes_on_says_so(self):
        """A program takes what it gets for all there is, unless it is told."""
        for form in ("table", "wide", "csv", "jsonl", "name"):
            out, err = self.run_it("experiment", "ls", "--limit", "1", "-o", form)
            self.assertEqual(err, "there are more: --limit 0 shows all\n", form)
            self.assertEqual(self.run_it("experiment", "ls", "-o", form)[1], "", form)
            self.assertEqual(self.run_it("experiment", "ls", "--limit", "1", "-o", form, "-q"), (out, ""))
        self.assertEqual(self.run_it("experiment", "ls", "--limit", "1", "-o", "json")[1], "")

    def on_terminal(self, *args, env=None, columns=60, until=None):
        pid, fd = pty.fork()
        if pid == 0:
            os.chdir(self.dir)
            while os.get_terminal_size(1).columns != columns:
                time.sleep(0.001)
            os.execve(PROGRAM, [PROGRAM, *args], dict(self.env, **(env or {})))
        import fcntl
        import struct
        import termios
        fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        out = b""
        while True:
            ready, _, _ = select.select([fd], [], [], 60)
            try:
                piece = os.read(fd, 65536) if ready else b""
            except OSError:
                piece = b""
            if not piece:
                break
            out += piece
        os.close(fd)
        return out.decode(errors="surrogateescape"), os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

    def test_colour_only_where_wanted(self):
        self.assertNotIn("\x1b", self.run_it("run", "ls")[0])
        self.assertIn("\x1b[", self.run_it("run", "ls", "--color", "always")[0])
        self.assertIn("\x1b[", self.on_terminal("run", "ls")[0])
        self.assertNotIn("\x1b[", self.on_terminal("run", "ls", env={"NO_COLOR": "1"})[0])
        self.assertNotIn("\x1b[", self.on_terminal("run", "ls", env={"TERM": "dumb"})[0])
        self.assertNotIn("\x1b[", self.on_terminal("run", "ls", "--color=never")[0])

    def test_a_name_is_the_newest_sweep_of_that_name(self):
        for sweep in SERVICE.sweeps.values():
            sweep["name"] = "again"
        self.assertEqual(self.run_it("sweep", "show", "again", "-o", "name")[0].strip(), SWEEP)

    def test_a_table_fits_the_terminal(self):
        text = self.on_terminal("trial", "ls", "mnist", "--color=never", columns=60)[0]
        lines = text.replace("\r", "").splitlines()
        self.assertIn("…", text)
        self.assertLessEqual(max(len(line) for line in lines), 60)
        self.assertIn("rank 5 of 9 at rung 3", self.run_it("trial", "ls", "mnist")[0])  # a pipe is not cut
        for words in (("trial", "ls", "mnist"), ("run", "ls", "-m", "loss, acc"), ("queue",), ("nodes",), ("model", "show", "mnist"), ("sweep", "best", "mnist")):
            lines = self.on_terminal(*words, "--color=never", columns=40)[0].replace("\r", "").splitlines()
            self.assertLessEqual(max(map(len, lines)), 40, lines)
        self.assertRegex(self.run_it("run", "ls", "-m", "loss,acc")[0].splitlines()[0], r"PARAMS +loss +acc$")
        narrow = self.on_terminal("sweep", "ls", "--color=never", columns=30)[0].replace("\r", "").splitlines()
        self.assertTrue(all("…" not in line.split()[0] for line in narrow if line), narrow)  # half an id says nothing

    def test_hostile_text_reaches_no_terminal(self):
        SERVICE.log = (EVIL + "\n").encode() + b"\x1b[31mred\x1b[0m\n"
        SERVICE.runs[RUN_C].update(name=EVIL + "\rhidden", params={EVIL: EVIL + "\rhidden"})
        SERVICE.points = f"x,{EVIL}\rhidden,1,,0,0.5\n".encode()
        SERVICE.events = [f"data: {json.dumps(EVIL, ensure_ascii=False)}\n\n".encode()]
        SERVICE.finish_after_events = "FINISHED"
        rows = [("run", "ls"), ("run", "show", RUN_C), ("run", "ls", "-o", "json"), ("run", "ls", "-o", "yaml"), ("run", "ls", "-o", "csv"), ("run", "ls", "-o", "wide"),
                ("run", "ls", "-o", "jsonl"), ("export",), ("export", "--what", "params"), ("export", "--what", "series"), ("run", "metrics", RUN_A, "--raw"),
                ("admin", "fsck"), ("sweep", "watch", SWEEP, "-q", "-o", "jsonl"), ("logs", RUN_A), ("api", "GET", "/runs/" + RUN_C), ("__complete", "--", "run", "show", "")]
        for words in rows:
            with self.subTest(words):
                text = self.on_terminal(*words, env={"NO_COLOR": "1"}, columns=500)[0].replace("\r\n", "\n")
                self.assertIn("evil", text)
                self.assertEqual(CONTROL.findall(text), [])
        SERVICE.fault(500, body={"code": "internal", "detail": EVIL, "hint": EVIL, "request_id": EVIL})
        self.assertEqual(CONTROL.findall(self.run_it("status", code=1)[1]), [])
        SERVICE.reset()
        self.assertEqual(CONTROL.findall(self.run_it("run", "show", RUN_C, "-o", "json")[0]), [])
        self.assertEqual(self.json_of("run", "show", RUN_C)["name"], EVIL)  # escaped, not changed

    def test_csv_guards_formulas(self):
        out = self.run_it("experiment", "ls", "-o", "csv")[0]
        rows = list(csv.reader(io.StringIO(out)))
        self.assertEqual(rows[2][1], "'=cmd|' /C calc'!A0")

    def test_yaml_is_read_back(self):
        out = self.run_it("run", "show", RUN_C, "-o", "yaml")[0]
        try:
            import yaml
        except ImportError:
            self.assertIn('name: "evil', out)
            return
        self.assertEqual(yaml.safe_load(out), json.loads(self.run_it("run", "show", RUN_C, "-o", "json")[0]))

    def test_quiet_and_channels(self):
        out, err = self.run_it("run", "tag", "first", "a=1")
        self.assertEqual(out, "")
        self.assertIn("are changed", err)
        self.assertEqual(self.run_it("run", "tag", "first", "a=1", "-q"), ("", ""))
        self.assertEqual(self.run_it("-q", "-o", "name", "run", "show", "first")[0], RUN_A + "\n")

    def test_a_closed_pipe_ends_it_silently(self):
        SERVICE.log = b"x" * 1000 + b"\n"
        SERVICE.log = SERVICE.log * 5000
        process = self.start("logs", RUN_A)
        process.stdout.read(10)
        process.stdout.close()
        err = process.stderr.read()
        process.stderr.close()
        self.assertEqual(process.wait(timeout=60), -signal.SIGPIPE)
        self.assertEqual(err, b"")

    def test_questions_at_a_terminal(self):
        pid, fd = pty.fork()
        if pid == 0:
            os.execve(PROGRAM, [PROGRAM, "run", "rm", RUN_A], self.env)
        text = b""
        while b"[y/N]" not in text:
            text += os.read(fd, 1000)
        os.write(fd, b"n\n")
        self.assertEqual(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), 1)
        os.close(fd)
        self.assertEqual(self.sent("DELETE", "/runs/" + RUN_A), [])


class LaterListing:
    """One listing the first time, another one from then on."""

    def __init__(self, first, later):
        self.first, self.later = first, later

    def now(self):
        now, self.first = self.first, self.later
        return now


class Artifacts(Case):
    def get(self, *args, code=0):
        return self.run_it("artifact", "get", RUN_A, *args, "--to", os.path.join(self.dir, "target"), code=code)

    def content(self, name):
        with open(os.path.join(self.dir, "target", name), "rb") as file:
            return file.read()

    def test_files_directories_everything(self):
        self.get()
        for name, content in SERVICE.files.items():
            self.assertEqual(self.content(name), content)
        shutil.rmtree(os.path.join(self.dir, "target"))
        self.get("model")
        self.assertEqual(sorted(os.listdir(os.path.join(self.dir, "target"))), ["sub", "weights.npz"])
        self.get("config.json")
        self.assertEqual(self.content("config.json"), b'{"a": 1}')
        self.assertEqual(self.run_it("artifact", "get", RUN_A, "config.json", "--to", "-")[0], '{"a": 1}')
        self.run_it("model", "download", "mnist@champion", "--to", os.path.join(self.dir, "model"))
        self.assertTrue(os.path.exists(os.path.join(self.dir, "model", "model", "weights.npz")))

    def test_names_that_would_leave_the_target(self):
        for name in ("../escape", "/etc/escape", "a/../../escape", "a//b", ".", "..", "a/./b", "x\x1b[2J", "a\\b", "", "a/" * 70 + "b", "n" * 300):
            with self.subTest(name):
                SERVICE.listing = [{"path": name, "is_dir": False, "size": 4, "sha256": None}]
                SERVICE.files[name] = b"evil"
                _, err = self.get(code=1)
                self.assertEqual(CONTROL.findall(err), [])
                self.assertEqual(os.listdir(os.path.join(self.dir, "target")), [])
        self.assertFalse(os.path.exists(os.path.join(self.dir, "escape")))
        SERVICE.listing = [{"path": "..", "is_dir": True}]
        self.get(code=1)
        self.run_it("artifact", "get", RUN_A, "../x", code=2)

    def test_nothing_is_written_through_links(self):
        target = os.path.join(self.dir, "target")
        outside = os.path.join(self.dir, "outside")
        os.mkdir(target)
        os.mkdir(outside)
        os.symlink(outside, os.path.join(target, "model"))
        self.get(code=1)
        self.assertEqual(os.listdir(outside), [])
        os.unlink(os.path.join(target, "model"))
        os.unlink(os.path.join(target, "config.json"))
        os.symlink(os.path.join(outside, "config"), os.path.join(target, "config.json"))
        self.get("config.json", code=5)
        self.assertEqual(os.listdir(outside), [])

    def test_damage_is_seen_and_leaves_nothing(self):
        SERVICE.damage = True
        _, err = self.get("model", code=1)
        self.assertIn("SHA-256", err)
        self.get("config.json", code=1)
        self.assertIn("arrived damaged", self.run_it("artifact", "get", RUN_A, "config.json", "--to", "-", code=1)[1])
        self.assertEqual([name for _, _, names in os.walk(os.path.join(self.dir, "target")) for name in names], [])
        _, err = self.run_it("artifact", "put", RUN_A, self.file("a.txt", "text"), code=1)
        self.assertIn("SHA-256", err)

    def test_what_is_replaced_while_it_is_fetched(self):
        """The new file is as good as the one that was listed; it is damaged only if nobody says that it is another."""
        SERVICE.meanwhile = {"config.json": [b"new"], "model/weights.npz": [b"once", b"twice"]}
        self.get()
        self.assertEqual((self.content("config.json"), self.content("model/weights.npz")), (b"new", b"once"))
        SERVICE.meanwhile = {"config.json": [b"newer"]}
        self.assertEqual(self.run_it("artifact", "get", RUN_A, "config.json", "--to", "-")[0], "newer")
        listed = [{"path": "config.json", "is_dir": False, "size": 3, "sha256": hashlib.sha256(b"listed").hexdigest()}]
        SERVICE.listing = listed
        self.assertIn("'config.json' arrived damaged", self.get(code=1)[1])
        self.assertEqual(self.content("config.json"), b"new")
        SERVICE.listing = LaterListing(listed, [dict(listed[0], sha256=hashlib.sha256(b"third").hexdigest())])
        SERVICE.meanwhile = {"config.json": [b"second", b"third"]}  # and what came between is told by no listing
        self.get()
        self.assertEqual(self.content("config.json"), b"third")

    def test_what_is_removed_while_it_is_fetched(self):
        SERVICE.meanwhile = {"config.json": [None]}
        _, err = self.get(code=8)
        self.assertIn("config.json was removed meanwhile and is left out\n2 files, 200 kB", err)
        self.assertEqual(self.content("model/sub/deep.txt"), b"deep\n")

    def test_what_is_changed_while_it_is_put(self):
        """None of it has been sent when it is changed: it is more than a connection holds."""
        size = 64 << 20
        os.mkdir(os.path.join(self.dir, "d"))
        path = self.file("d/changing", "")
        self.file("d/other", "text")

        def begin(change):
            os.truncate(path, 0)
            os.truncate(path, size)
            SERVICE.before_body = lambda: change(path)

        def write(path):
            with open(path, "r+b") as file:
                file.seek(size - 1)
                file.write(b"x")

        for change in (write, lambda path: os.truncate(path, size // 2)):
            begin(change)
            self.assertIn("d/changing was changed while it was stored\nhelp: store it again",
                          self.run_it("artifact", "put", RUN_A, path, "d/changing", code=5)[1])
            SERVICE.files.pop("d/other", None)
            begin(change)
            err = self.run_it("artifact", "put", RUN_A, os.path.dirname(path), code=8)[1]
            self.assertIn("d/changing was changed while it was stored", err)
            self.assertEqual(SERVICE.files["d/other"], b"text")
        begin(lambda path: os.truncate(path, size + 1))  # a log that grows: as it was
        self.run_it("artifact", "put", RUN_A, path, "log")
        self.assertEqual(len(SERVICE.files["log"]), size)

    def test_what_says_that_it_is_empty_is_not_put(self):
        self.assertIn("kernel holds more than it says", self.run_it("artifact", "put", RUN_A, "/proc/self/status", "kernel", code=1)[1])
        self.assertNotIn("kernel", SERVICE.files)

    def test_put(self):
        self.run_it("artifact", "put", RUN_A, self.file("a.txt", "text"))
        self.assertEqual(SERVICE.files["a.txt"], b"text")
        self.run_it("artifact", "put", RUN_A, self.file("empty", ""), "some/where else")
        self.assertEqual(SERVICE.files["some/where else"], b"")
        os.makedirs(os.path.join(self.dir, "d", "e"))
        self.file("d/e/f", "deep")
        os.symlink("/etc/passwd", os.path.join(self.dir, "d", "link"))
        self.run_it("artifact", "put", RUN_A, os.path.join(self.dir, "d") + "/")
        self.assertEqual(SERVICE.files["d/e/f"], b"deep")
        self.run_it("artifact", "put", RUN_A, ".", cwd=os.path.join(self.dir, "d"))
        self.assertEqual(SERVICE.files["e/f"], b"deep")
        self.assertNotIn("d/link", SERVICE.files)
        self.assertIn("is no path", self.run_it("artifact", "put", RUN_A, self.file("b.txt", "x"), "../up", code=2)[1])


class Access(Case):
    def test_login_keeps_the_token_for_this_address_only(self):
        out, err = self.run_it("login", input=b"good\n")
        self.assertIn("MLFLOW_TRACKING_TOKEN", err)
        self.assertNotIn("good", out + err)
        directory = os.path.join(self.dir, ".config", "winnow", "tokens")
        name, = os.listdir(directory)
        path = os.path.join(directory, name)
        self.assertEqual(stat.S_IMODE(os.stat(path).st_mode), 0o600)
        self.run_it("whoami")
        self.assertEqual(SERVICE.seen[-1][2]["Authorization"], "Bearer good")
        self.run_it("whoami", "--url", self.url.replace("127.0.0.1", "localhost"))
        self.assertNotIn("Authorization", SERVICE.seen[-1][2])
        os.chmod(path, 0o644)
        _, err = self.run_it("whoami", code=4)
        self.assertIn("chmod 600", err)
        os.chmod(path, 0o600)
        self.run_it("logout", "--revoke")
        self.assertEqual(os.listdir(directory), [])
        self.assertEqual(len(self.sent("DELETE", "/tokens/tok1")), 1)
        self.run_it("login", input=b"bad\n", code=4)
        self.assertEqual(os.listdir(directory), [])
        self.run_it("login", input=b"", code=1)

    def test_token_sources(self):
        good = self.file("token", "from-file\n")
        self.run_it("whoami", "--token-file", good, env={"WINNOW_TOKEN": "from-env"})
        self.assertEqual(SERVICE.seen[-1][2]["Authorization"], "Bearer from-file")
        self.run_it("whoami", env={"WINNOW_TOKEN": "from-env"})
        self.assertEqual(SERVICE.seen[-1][2]["Authorization"], "Bearer from-env")
        self.run_it("whoami", env={"WINNOW_TOKEN": "a\r\nX-Evil: 1"}, code=1)
        self.run_it("whoami", "--token-file", self.file("open", "x", 0o644), code=4)
        self.run_it("whoami", "--token-file", os.path.join(self.dir, "none"), code=3)
        self.run_it("whoami", "--url", "http://me:secret@127.0.0.1:1", code=2)

    def test_where_the_service_is_looked_for(self):
        no_url = {"WINNOW_URL": None}
        deep = os.path.join(self.dir, "a", "b")
        os.makedirs(deep)
        self.file("a/.winnow", "url = %s\ntoken-file = token\n" % self.url, 0o644)
        self.file("a/token", "project-token\n")
        self.run_it("whoami", cwd=deep, env=no_url)
        self.assertEqual(SERVICE.seen[-1][2]["Authorization"], "Bearer project-token")
        self.file("a/.winnow", "url = %s\ntoken-file = ../secret\n" % self.url, 0o644)
        self.file("secret", "stolen\n")
        self.run_it("whoami", cwd=deep, env=no_url, code=4)
        self.file("a/.winnow", "urll = x\n", 0o644)
        _, err = self.run_it("whoami", cwd=deep, env=no_url, code=1)
        self.assertIn(".winnow:1", err)
        self.file("a/.winnow", "url = %s\n" % self.url, 0o666)  # anybody could have written it
        self.run_it("whoami", cwd=deep, env=dict(no_url, WINNOW_DATA=self.dir), code=6)

    def test_a_project_elsewhere_does_not_get_the_token_of_the_environment(self):
        self.file(".winnow", "url = http://127.0.0.2:%d\n" % SERVER.server_address[1], 0o644)
        out, _ = self.run_it("doctor", env={"WINNOW_URL": None, "WINNOW_TOKEN": "t"}, code=1)
        self.assertIn("WINNOW_TOKEN is not sent", out)

    def test_unix_sockets(self):
        data = os.path.join(self.dir, "data", "x" * 100)  # longer than an address can hold
        os.makedirs(data)
        short = os.path.join(self.dir, "s")
        os.symlink(data, short)
        server = fake_service.start(SERVICE, os.path.join(short, "winnow.sock"))
        self.addCleanup(server.server_close)
        self.addCleanup(server.shutdown)
        self.assertIn("alice", self.run_it("whoami", env={"WINNOW_URL": None, "WINNOW_DATA": data})[0])
        self.assertIn("alice", self.run_it("whoami", "--url", "unix:%s/winnow.sock" % data)[0])
        os.mkdir(os.path.join(self.dir, "p"))
        os.symlink(data, os.path.join(self.dir, "p", ".winnow"))
        out, _ = self.run_it("doctor", "-o", "json", env={"WINNOW_URL": None, "WINNOW_DATA": data})
        self.assertIn("the socket knows who you are", out)

    def test_tokens_are_not_taken_from_the_command_line(self):
        self.run_it("whoami", "--token", "x", code=2)


if __name__ == "__main__":
    PROGRAM = os.path.abspath(sys.argv.pop(1))
    signal.signal(signal.SIGINT, signal.default_int_handler)  # who started us may ignore it, and so would what we start
    SERVER = fake_service.start(SERVICE)
    unittest.main(verbosity=1)
