#!/usr/bin/env python3
"""What is seen of trials while they run, and what reaches them: verdicts, events, series of the system, terminals."""
import json, os, pathlib, socket, subprocess, sys, textwrap, threading, unittest

WINNOW = pathlib.Path(sys.argv.pop(1)).resolve()
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from service import Service, wait  # noqa: E402

ONE = {"method": "random", "run_cap": 1, "parameters": {"x": {"min": 0.0, "max": 1.0}}}


class Base(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.s = Service(WINNOW, arguments=["--slots", "2"])

    @classmethod
    def tearDownClass(cls):
        if os.environ.get("WINNOW_TEST_LOG"):
            print(cls.s.log()[-6000:], flush=True)
        cls.s.close()

    def ok(self, answer, status=200):
        self.assertEqual(answer.status, status, answer)
        return answer.json

    def submit(self, spec):
        return self.ok(self.s.post("/api/v1/sweeps", {**ONE, **spec}), 201)["id"]

    def script(self, name, text):
        path = self.s.home / name
        path.write_text(textwrap.dedent(text))
        return str(path)

    def trials(self, sweep):
        return self.ok(self.s.get(f"/api/v1/sweeps/{sweep}/trials"))["items"]

    def ended(self, sweep, timeout=120):
        return wait(lambda: (s := self.ok(self.s.get(f"/api/v1/sweeps/{sweep}")))["state"] not in ("RUNNING", "DRAINING") and s, "the end", timeout)


class Verdicts(Base):
    def test_what_a_client_logs_is_judged(self):
        """Logged as MLflow's client does it, and over /api/v1: the rules hear it as if it had been printed."""
        job = self.script("log.py", """
            import json, os, sys, time, urllib.request
            def post(path, body):
                urllib.request.urlopen(urllib.request.Request(os.environ["WINNOW_URL"] + path, json.dumps(body).encode(),
                    {"Content-Type": "application/json", "Authorization": "Bearer " + os.environ["WINNOW_TOKEN"]})).read()
            run = os.environ["WINNOW_RUN_ID"]
            if sys.argv[1] == "both":  # one report for the rules, from two sources
                for step in (1, 2, 3):
                    print(f"step={step} loss=50", flush=True)
                    post("/api/2.0/mlflow/runs/log-metric", {"run_id": run, "key": "loss", "value": 50, "timestamp": 1, "step": step})
                sys.exit(0)
            elif sys.argv[1] == "metric":
                post("/api/2.0/mlflow/runs/log-metric", {"run_id": run, "key": "loss", "value": 50, "timestamp": 1, "step": 3})
            elif sys.argv[1] == "batch":
                post("/api/2.0/mlflow/runs/log-batch", {"run_id": run, "params": [{"key": "p", "value": "1"}],
                     "metrics": [{"key": "other", "value": 99, "timestamp": 1}, {"key": "loss", "value": 50, "timestamp": 1, "step": 3}]})
            else:
                post(f"/api/v1/runs/{run}/metrics", {"points": [{"key": "loss", "value": 50, "step": 3}]})
            time.sleep(600)
            """)
        sweep = self.submit({"name": "both", "command": ["python3", job, "both"], "metric": {"name": "loss"},
                             "early_terminate": {"type": "patience", "patience": 4, "step_metric": "report"}})
        self.ended(sweep)
        self.assertEqual(self.trials(sweep)[0]["state"], "FINISHED", self.trials(sweep)[0])
        for how in ("metric", "batch", "points"):
            with self.subTest(how):
                sweep = self.submit({"name": how, "command": ["python3", job, how], "metric": {"name": "loss"},
                                     "early_terminate": {"type": "threshold", "max": 10}})
                self.assertEqual(self.ended(sweep)["state"], "FINISHED")
                trial = self.trials(sweep)[0]
                self.assertEqual((trial["state"], trial["stop"]["rule"], trial["stop"]["step"], trial["value"]), ("STOPPED", "threshold", 3, 50.0))


class Events(Base):
    """A stream of /api/v1/events, read as a browser reads it."""

    class Stream:
        def __init__(self, service, query, last_id=None):
            self.socket = socket.socket(socket.AF_UNIX)
            self.socket.settimeout(60)
            self.socket.connect(str(service.data / "winnow.sock"))
            last = f"Last-Event-ID: {last_id}\r\n" if last_id else ""
            self.socket.sendall(f"GET /api/v1/events?{query} HTTP/1.0\r\nHost: localhost\r\n{last}\r\n".encode())
            self.file = self.socket.makefile("r", newline="\n")
            self.status = int(self.file.readline().split()[1])
            while self.file.readline().strip():
                pass
            self.id = last_id

        def next(self):
            """(type, data), or None at the end."""
            kind, data = "message", None
            for line in self.file:
                name, _, value = line.rstrip("\n").partition(": ")
                if name == "id":
                    self.id = value
                elif name == "event":
                    kind = value
                elif name == "data":
                    data = json.loads(value)
                elif not name and data is not None:
                    return kind, data
            return None

        def close(self):
            self.file.close()
            self.socket.close()

    def spec(self, name, count=4):
        return {"name": name, "run_cap": count, "metric": {"name": "loss"}, "command": ["sh", "-c", "echo loss=1"]}

    def test_the_stream_names_who_did_it(self):
        sweep = self.submit({**self.spec("steered"), "command": ["sleep", "600"], "stop_grace": 0, "max_parallel": 1})
        wait(lambda: [t for t in self.trials(sweep) if t["state"] == "RUNNING"], "a trial")
        stream = self.Stream(self.s, f"topic=sweep:{sweep}")
        self.addCleanup(stream.close)
        for action in ("pause", "stop"):
            self.ok(self.s.post(f"/api/v1/sweeps/{sweep}/{action}"))
        told = []
        while not told or told[-1][1] != "STOPPED":
            kind, data = stream.next()
            told += [(kind, data["to"], data["actor"])]
        me = f"uid {os.getuid()}"
        self.assertEqual([e for e in told if e[0] == "sweep.state"],
                         [("sweep.state", "PAUSED", me), ("sweep.state", "DRAINING", me), ("sweep.state", "STOPPED", "service")])
        trials = [(to, actor) for kind, to, actor in told if kind == "run.state" and to != "RUNNING"]
        self.assertEqual(trials, [("STOPPING", me), ("KILLED", "service")])  # its end came by itself

    def test_a_sweep_is_followed_and_taken_up_again(self):
        sweep = self.submit({**self.spec("followed"), "max_parallel": 1, "command": ["sh", "-c", f"until [ -e {self.s.home}/go ]; do sleep 0.05; done; echo loss=1"]})
        stream = self.Stream(self.s, f"topic=sweep:{sweep}")
        self.assertEqual(stream.status, 200)
        (self.s.home / "go").touch()
        chains, resumed, over = {}, 0, None
        while not over:
            event = stream.next()
            self.assertIsNotNone(event)
            kind, data = event
            self.assertNotEqual(kind, "reset")
            if kind == "sweep.state":
                over = data["to"] == "FINISHED" and data
                continue
            self.assertEqual((kind, data["trial"]["run_id"]), ("run.state", data["subject"]))
            chain = chains.setdefault(data["subject"], [])
            if chain:
                self.assertEqual(data["from"], chain[-1])
            chain.append(data["to"])
            if resumed < 3:  # cut off, and gone on from the last id: nothing twice, nothing missing
                resumed += 1
                stream.close()
                stream = self.Stream(self.s, f"topic=sweep:{sweep}", stream.id)
        stream.close()
        self.assertEqual(resumed, 3)
        self.assertEqual(len(chains), 4)
        self.assertEqual({chain[-1] for chain in chains.values()}, {"FINISHED"})
        self.assertIn("run_cap", over["reason"])

    def test_output_points_and_the_queue_are_announced(self):
        sweep = self.submit({**self.spec("announced", 1), "command": ["sh", "-c", f"until [ -e {self.s.home}/on ]; do sleep 0.05; done; echo step=1 loss=1; sleep 600"]})
        trial = wait(lambda: self.trials(sweep), "the trial")[0]["run_id"]
        stream = self.Stream(self.s, f"topic=log:{trial}:stdout,run:{trial}&topic=queue")
        (self.s.home / "on").touch()
        seen = {}
        while not {"log.grown", "run.metrics"} <= seen.keys():
            kind, data = stream.next()
            seen[kind] = data
        self.assertEqual((seen["log.grown"]["subject"], seen["log.grown"]["next"], seen["log.grown"]["stream"]), (trial, 14, "stdout"))
        self.ok(self.s.post(f"/api/v1/runs/{trial}/stop"))
        while "queue.changed" not in seen:
            kind, data = stream.next()
            seen[kind] = data
        stream.close()

    def test_a_restarted_service_says_so(self):
        with Service(WINNOW) as s:
            stream = self.Stream(s, "topic=queue")
            s.post("/api/v1/sweeps", {**ONE, "command": ["true"]})
            self.assertEqual(stream.next()[0], "queue.changed")
            last = stream.id
            s.stop()
            self.assertIsNone(stream.next())  # ended in order
            stream.close()
            s.start()
            stream = self.Stream(s, "topic=queue", last)
            self.assertEqual(stream.next()[0], "reset")
            stream.close()

    def test_many_listen(self):
        sweep = self.submit({**self.spec("many", 2), "command": ["sh", "-c", f"until [ -e {self.s.home}/many ]; do sleep 0.05; done; echo loss=1"]})
        streams = [self.Stream(self.s, f"topic=sweep:{sweep}") for _ in range(1000 if os.environ.get("WINNOW_TEST_LONG") == "1" else 200)]
        (self.s.home / "many").touch()
        for stream in streams:
            while True:
                kind, data = stream.next()
                if kind == "sweep.state" and data["to"] == "FINISHED":
                    break
            stream.close()

    def test_who_asks_wrongly_is_told(self):
        for query, word in (("", "topic"), ("topic=sweep:12", "no topic"), ("topic=" + ",".join(["queue"] * 33), "32")):
            answer = self.s.get(f"/api/v1/events?{query}")
            self.assertIn(answer.status, (400, 429))
            self.assertIn(word, answer.json["detail"])


class Terminal(Base):
    def test_a_command_with_a_terminal(self):
        script = ("import sys\nassert sys.stdout.isatty()\nfor i in range(1, 4):\n  print(f'\\rstep={i} loss={1 / i}', end='')\n"
                  "print()\nprint('trouble', file=sys.stderr)")
        sweep = self.submit({"name": "tty", "tty": True, "metric": {"name": "loss"}, "command": ["python3", "-c", script]})
        self.ended(sweep)
        trial = self.trials(sweep)[0]
        self.assertEqual((trial["state"], trial["value"]), ("FINISHED", 1 / 3), trial)
        log = self.s.get(f"/api/v1/runs/{trial['run_id']}/logs/stdout?from=0").body
        self.assertTrue(log.endswith(b"\ntrouble\n"), log)

    def test_limits_are_named(self):
        sweep = self.submit({"name": "memory", "command": ["python3", "-c", "import time\nx = b'1' * 400_000_000\ntime.sleep(600)"],
                             "resources": {"memory": "100MB"}})
        self.ended(sweep)
        self.assertRegex(self.trials(sweep)[0]["state_reason"], r"^ended for its memory_limit of 100MB(: it used [1-9]\d\d\.\d MB)?$")
        sweep = self.submit({"name": "time", "command": ["sleep", "600"], "resources": {"time": "1s"}})
        self.ended(sweep)
        self.assertEqual(self.trials(sweep)[0]["state_reason"], "ended for its time_limit of 1s")


class Given(Base):
    """What a job is given beside its arguments."""

    def test_the_parameters_as_files(self):
        show = """test "$(cat $0)" = "$WINNOW_PARAMS" && grep -q . "$WANDB_SWEEP_PARAM_PATH" && cat "$WANDB_SWEEP_PARAM_PATH" && echo loss=1"""
        sweep = self.submit({"name": "files", "command": ["sh", "-c", show, "${args_json_file}"], "metric": {"name": "loss"},
                             "parameters": {"n": {"value": 3}, "opt": {"parameters": {"lr": {"value": 0.5}}}}})
        self.ended(sweep)
        trial = self.trials(sweep)[0]
        self.assertEqual((trial["state"], trial["value"]), ("FINISHED", 1.0), trial)
        said = self.s.get(f"/api/v1/runs/{trial['run_id']}/logs/stdout").body.decode()
        self.assertRegex(said, '"n":\\n  value: 3\\n')
        sweep = self.submit({"name": "unnamed", "command": ["sh", "-c", "ls .. && echo loss=1"], "metric": {"name": "loss"}, "parameters": {"n": {"value": 3}}})
        self.ended(sweep)
        said = self.s.get(f"/api/v1/runs/{self.trials(sweep)[0]['run_id']}/logs/stdout").body.decode()
        self.assertIn("params.yaml", said)
        self.assertNotIn("params.json", said)  # which nobody asked for
        dry = self.ok(self.s.post("/api/v1/sweeps?dry_run=true", {**ONE, "name": "dry", "command": ["a", "${args_json_file}"]}))
        self.assertEqual(dry["command"], ["a", "params.json"], dry)

    def test_the_command_of_a_trial_is_shown(self):
        """That of its newest attempt; of the service's own environment only names."""
        script = 'test "$HOME" = "$2" && printf "%s\\n" "$0" "$1"; exit $((2 - WINNOW_ATTEMPT))'
        sweep = self.submit({"name": "shown", "command": ["sh", "-c", script, "${args_json_file}", "lr={{lr}}", "${envvar:HOME}", "${args}"],
                             "parameters": {"lr": {"value": 1e-5}, "a": {"value": "x y"}}})
        self.ended(sweep)
        run = self.trials(sweep)[0]["run_id"]
        for attempt, state in ((1, "FAILED"), (2, "FINISHED")):
            got = wait(lambda: (r := self.ok(self.s.get(f"/api/v1/runs/{run}")))["state"] == state and r["attempt"] == attempt and r, "the end")
            file, lr = self.s.get(f"/api/v1/runs/{run}/logs/stdout").body.decode().splitlines()
            self.assertEqual(got["command"], ["sh", "-c", script, file, lr, "HOME", "--lr=1e-05", "--a=x y"])
            self.assertIn(f"/{attempt}/", file)
            if attempt == 1:
                self.s.stop()
                self.s.start()
                self.ok(self.s.post(f"/api/v1/runs/{run}/retry"))

    def test_an_experiment_is_named_by_its_own_name_or_not_at_all(self):
        body = {"name": "mine", "command": ["sh", "-c", "env | grep ^MLFLOW_EXPERIMENT | sort"], "workdir_mode": "inplace", "workdir": "/tmp"}
        run = self.ok(self.s.post("/api/v1/runs", body), 201)["id"]
        wait(lambda: self.ok(self.s.get(f"/api/v1/runs/{run}"))["state"] == "FINISHED", "the end")
        said = self.s.get(f"/api/v1/runs/{run}/logs/stdout").body.decode()
        self.assertEqual(said, "MLFLOW_EXPERIMENT_ID=0\n")

    def test_a_start_that_fails_leaves_no_directories(self):
        long = {"value": "a" * 70000}  # twice is more than one argument may be
        sweep = self.submit({"name": "long", "command": ["true", "{{a}}{{a}}"], "parameters": {"a": long}, "retries": 0})
        self.ended(sweep)
        trial = self.trials(sweep)[0]
        self.assertEqual(trial["state"], "FAILED", trial)
        left = lambda: list((self.s.data / "jobs" / trial["run_id"]).glob("*/work"))
        wait(lambda: not left(), "the tidying")


class Ends(Base):
    def test_an_end_that_is_told_twice_at_once_is_one(self):
        """As a companion tells it again whose first request waits for the database."""
        sweep = self.submit({"name": "twice", "command": ["sh", "-c", "echo begun; sleep 600"]})
        run = wait(lambda: next((t["run_id"] for t in self.trials(sweep) if t["state"] == "RUNNING"), None), "the run")
        wait(lambda: self.s.sql("select count(*) from log_stream") != "0", "the output")
        lock = subprocess.Popen(self.s.psql(), env=self.s.psql_env(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        lock.stdin.write("begin; lock table log_stream; select 'locked';\n")
        lock.stdin.flush()
        self.assertEqual(lock.stdout.readline().strip(), "locked")
        said, answers = "exit_code 3\nstdout 6\nstderr 0\nartifacts_failed one was not stored\n", []
        tell = lambda: answers.append(self.s.post(f"/api/v1/companion/{run}/1/exited", said.encode()).status)
        telling = [threading.Thread(target=tell) for _ in range(2)]
        for thread in telling:
            thread.start()
        wait(lambda: answers, "the answer of the second")
        lock.communicate("commit;\n")
        for thread in telling:
            thread.join()
        self.assertEqual(sorted(answers), [200, 503])
        self.assertEqual([t["state"] for t in self.trials(sweep)], ["FAILED"])
        self.assertEqual(self.s.sql("select count(*) from event where kind = 'run.artifacts'"), "1")


class System(Base):
    def test_what_a_job_uses_is_a_series_and_no_metric(self):
        sweep = self.submit({"name": "system", "metric": {"name": "loss"}, "early_terminate": {"type": "threshold", "max": 10},
                             "command": ["python3", "-c", "print('loss=1', flush=True)\nwhile True: pass"]})
        run = wait(lambda: self.trials(sweep), "the trial")[0]["run_id"]
        keys = lambda: {item["key"]: item for item in self.ok(self.s.get(f"/api/v1/runs/{run}/metrics"))["items"]}
        names = {"system/" + name for name in ("cpu_percent", "memory_bytes", "read_bytes", "written_bytes", "processes")}
        wait(lambda: names <= keys().keys() and keys()["system/cpu_percent"]["count"] >= 2, "samples")
        self.assertGreater(keys()["system/memory_bytes"]["last"]["value"], 1e6)
        self.assertEqual(keys()["system/processes"]["last"]["value"], 1)
        self.assertEqual(keys()["system/cpu_percent"]["first"]["step"], 0)
        trial = self.trials(sweep)[0]  # no rule has looked at them
        self.assertEqual((trial["state"], trial["value"]), ("RUNNING", 1.0))
        self.ok(self.s.post(f"/api/v1/runs/{run}/stop"))
        self.ended(sweep)
        self.assertFalse([w for w in self.ok(self.s.get(f"/api/v1/sweeps/{sweep}"))["warnings"] if "system/" in w])


class Gpus(unittest.TestCase):
    def test_what_the_gpus_do_is_a_series_of_who_holds_them(self):
        library = WINNOW.parent.parent / "libfake_nvml.so"
        self.assertTrue(library.exists(), "the tests' stand-in for NVML is built with the tests")
        environment = {"FAKE_NVML": "2"}
        with Service(WINNOW, arguments=["--nvml", str(library)], env=environment, start=False) as s:
            s.env.pop("CUDA_VISIBLE_DEVICES", None)
            s.start()
            run = s.post("/api/v1/runs", {"command": ["sleep", "600"], "resources": {"gpus": 2}}).json["id"]
            keys = lambda: {item["key"]: item["last"]["value"] for item in s.get(f"/api/v1/runs/{run}/metrics").json["items"]}
            wait(lambda: {"system/gpu_1_percent", "system/gpu_0_celsius"} <= keys().keys(), "samples")
            values = keys()
            self.assertEqual((values["system/gpu_0_percent"], values["system/gpu_1_percent"]), (40.0, 41.0))
            self.assertEqual((values["system/gpu_0_memory_bytes"], values["system/gpu_0_watts"], values["system/gpu_0_celsius"]), (2.0**30, 250.5, 61.0))
            s.post(f"/api/v1/runs/{run}/stop")
            wait(lambda: s.get(f"/api/v1/runs/{run}").json["state"] == "KILLED", "the end")


if __name__ == "__main__":
    unittest.main()
