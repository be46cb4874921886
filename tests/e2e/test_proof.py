#!/usr/bin/env python3
"""Sweeps on a bad day: companions and the service are killed, the way between them is cut. Full counts with WINNOW_TEST_LONG=1."""
import collections, contextlib, os, pathlib, random, shutil, signal, subprocess, sys, textwrap, time, unittest

WINNOW = pathlib.Path(sys.argv.pop(1)).resolve()
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from proxy import Proxy  # noqa: E402
from service import Service, wait  # noqa: E402

LONG = os.environ.get("WINNOW_TEST_LONG") == "1"


def companions(service):
    """Process ids by job file, of the companions that hold their lock: not the fork that is about to become the command."""
    found, jobs = {}, f"{service.data}/jobs/"
    for entry in os.listdir("/proc"):
        try:
            words = pathlib.Path(f"/proc/{entry}/cmdline").read_bytes().decode().split("\0") if entry.isdigit() else []
            if len(words) > 1 and words[0] == "winnow-exec" and words[1].startswith(jobs):
                lock = pathlib.Path(words[1]).parent / "companion.lock"
                if lock.read_text() == f"{entry}\n":
                    found[words[1]] = int(entry)
        except (OSError, UnicodeDecodeError):
            pass
    return found


def is_gone(pid):
    try:
        return " Z " in pathlib.Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return True


class Proof(unittest.TestCase):
    def setUp(self):
        self.random = random.Random(os.environ.get("WINNOW_TEST_SEED", "7"))

    def ok(self, answer, status=200):
        self.assertEqual(answer.status, status, answer)
        return answer.json

    def submit(self, spec):
        return self.ok(self.s.post("/api/v1/sweeps", spec), 201)["id"]

    def sweep(self, sweep):
        return self.ok(self.s.get(f"/api/v1/sweeps/{sweep}"))

    def trials(self, sweep):
        items, cursor = [], None
        while True:
            page = self.ok(self.s.get(f"/api/v1/sweeps/{sweep}/trials?limit=500" + (f"&cursor={cursor}" if cursor else "")))
            items += page["items"]
            cursor = page["next"]
            if not cursor:
                return items

    def script(self, text):
        path = self.s.home / "job.sh"
        path.write_text(textwrap.dedent(text))
        return str(path)

    def restart(self):
        self.s.kill()
        time.sleep(self.random.random() * 0.3)
        self.s.start()

    def is_over(self, sweep):
        return self.sweep(sweep)["state"] not in ("RUNNING", "DRAINING")

    def test_15_20_a_grid_exactly_once(self):
        """Each cell is run to its end once; no two attempts of one are alive at once, and never more processes than slots."""
        side, slots = (124, 4) if LONG else (12, 4)
        columns = 105 if LONG else 10
        with Service(WINNOW, arguments=["--slots", str(slots)]) as self.s:
            marks = self.s.home / "marks"
            marks.mkdir()
            # Locks end with their process, however it ends: descriptor 8 is the trial's, descriptor 9 a slot's.
            job = self.script("""
                exec 8>$1/trial.$WINNOW_TRIAL
                flock -n 8 || echo "trial $WINNOW_TRIAL twice at once" >> $1/bad
                i=0 taken=
                while [ $i -lt $4 ]; do
                  exec 9>$1/slot.$i
                  if flock -n 9; then taken=yes; break; fi
                  i=$((i + 1))
                done
                [ "$taken" ] || echo "more processes than slots at trial $WINNOW_TRIAL" >> $1/bad
                sleep 0.0$(($2 % 5))
                echo "$2 $3 $WINNOW_ATTEMPT" >> $1/ran
                """)
            sweep = self.submit({"name": "grid", "method": "grid", "command": ["sh", job, str(marks), "{{a}}", "{{b}}", str(slots)],
                                 "retries": {"max": 50, "on": ["lost"]},
                                 "parameters": {"a": {"values": list(range(side))}, "b": {"values": list(range(columns))}}})
            killed = crashes = 0
            while not self.is_over(sweep):
                for _ in range(5):
                    time.sleep(0.1)
                    victims = list(companions(self.s).values())
                    if victims and (not killed or self.random.random() < 0.4):
                        try:
                            os.kill(self.random.choice(victims), signal.SIGKILL)
                            killed += 1
                        except ProcessLookupError:
                            pass
                if not crashes or self.random.random() < (0.05 if LONG else 0.4):
                    self.restart()
                    crashes += 1
            self.assertFalse((marks / "bad").exists(), (marks / "bad").read_text() if (marks / "bad").exists() else "")
            self.assertGreater(killed, 0)
            self.assertGreater(crashes, 0)
            trials = self.trials(sweep)
            self.assertEqual([t["number"] for t in trials], list(range(side * columns)))
            self.assertEqual(len({(t["params"]["a"], t["params"]["b"]) for t in trials}), side * columns)
            self.assertEqual([t for t in trials if t["state"] != "FINISHED"], [])
            # Of each trial the attempt that was accepted is the newest and ran to its end; what came before it was lost.
            ran = collections.defaultdict(set)
            for line in (marks / "ran").read_text().splitlines():
                a, b, attempt = map(int, line.split())
                self.assertNotIn(attempt, ran[a, b], "an attempt ran twice")
                ran[a, b].add(attempt)
            for t in trials:
                self.assertIn(t["attempt"], ran[t["params"]["a"], t["params"]["b"]])
                self.assertEqual(max(ran[t["params"]["a"], t["params"]["b"]]), t["attempt"])
            print(f"{len(trials)} trials, {killed} companions killed, {crashes} crashes of the service", file=sys.stderr)

    def test_19_kills_of_the_service_under_load(self):
        """Verdicts survive: whoever deserves it is stopped once, with its reason, and nobody else; no attempt is lost or repeated."""
        cycles, count = (200, 1500) if LONG else (8, 60)
        with Service(WINNOW, arguments=["--slots", "4"]) as self.s:
            job = self.script("""
                echo $WINNOW_TRIAL >> $2
                for i in 1 2 3 4 5 6 7 8; do
                  if [ $i -gt 3 ]; then echo "step=$i loss=$(($1 * 100))"; else echo "step=$i loss=1"; fi
                  sleep 0.1
                done
                [ $1 = 0 ] || sleep 600
                """)
            sweep = self.submit({"name": "verdicts", "method": "random", "run_cap": count, "metric": {"name": "loss"},
                                 "command": ["sh", job, "{{bad}}", str(self.s.home / "ran")], "parameters": {"bad": {"values": [0, 1]}, "x": {"min": 0.0, "max": 1.0}},
                                 "early_terminate": {"type": "threshold", "max": 50}})
            done = 0
            while not self.is_over(sweep):
                if done < cycles:
                    time.sleep(self.random.random())
                    self.restart()
                    done += 1
                else:
                    time.sleep(0.2)
            trials = self.trials(sweep)
            self.assertEqual(len(trials), count)
            for t in trials:
                self.assertEqual(t["attempt"], 1, t)
                self.assertEqual(t["state"], "STOPPED" if t["params"]["bad"] else "FINISHED", t)
                if t["params"]["bad"]:
                    self.assertEqual((t["stop"]["rule"], t["stop"]["step"]), ("threshold", 4), t)
                    self.assertIn("100", t["stop"]["reason"])
            self.assertEqual(sorted(map(int, (self.s.home / "ran").read_text().split())), list(range(count)))
            self.assertGreaterEqual(done, cycles if LONG else 1)
            used = self.sweep(sweep)["slot_seconds"]["used"]
            self.assertGreater(used, 0)

    def sayers(self, early_terminate):
        """One trial for each way to report. Each says step 1 by itself; tell(2) makes all say step 2 with a bad value, and so on."""
        job = self.script("""
            say() {
              case $1 in
              print) echo "step=$2 loss=$3" ;;
              file) echo "{\\"step\\":$2,\\"loss\\":$3}" >> m.jsonl ;;
              esac
            }
            say $1 1 1
            for i in 2 3; do
              while [ ! -e $2/say$i ]; do sleep 0.05; done
              say $1 $i $((100 * i))
            done
            sleep 600
            """)
        sweep = self.submit({"name": "sayers", "method": "grid", "metric": {"name": "loss"}, "command": ["sh", job, "{{how}}", str(self.s.home)],
                             "parameters": {"how": {"values": ["print", "file", "client"]}}, "metrics_from": [{"file": "m.jsonl"}],
                             "early_terminate": early_terminate})
        wait(lambda: [t["state"] for t in self.trials(sweep)] == ["RUNNING"] * 3, "the jobs")
        self.client = next(t["run_id"] for t in self.trials(sweep) if t["params"]["how"] == "client")
        self.log_client(1, 1)
        wait(lambda: [t["value"] for t in self.trials(sweep)] == [1, 1, 1], "the first reports")
        return sweep

    def log_client(self, step, value):
        self.ok(self.s.post(f"/api/v1/runs/{self.client}/metrics", {"points": [{"key": "loss", "value": value, "step": step}]}))

    def tell(self, step):
        (self.s.home / f"say{step}").touch()
        self.log_client(step, 100 * step)

    def is_stored(self, sweep, step):
        answers = [self.s.get(f"/api/v1/series?run={t['run_id']}&key=loss&raw=true") for t in self.trials(sweep)]
        return all(any(p["step"] == step for p in self.raw(a)) for a in answers)

    def raw(self, answer):
        lines = [line.split(",") for line in answer.body.decode().split()]
        return [{"step": int(row[lines[0].index("step")])} for row in lines[1:]]

    def stopped_at(self, sweep, step):
        wait(lambda: self.is_over(sweep), "the end")
        for t in self.trials(sweep):
            self.assertEqual((t["state"], t["stop"]["step"]), ("STOPPED", step), t)
            self.assertIn(str(100 * step), t["stop"]["reason"])
        counts = self.s.sql(f"select distinct count(*) from report where sweep = '{sweep}' and step <= {step} group by trial, step")
        self.assertEqual(counts, "1")

    def test_19_points_that_nobody_heard(self):
        """A kill between the commit of points and that of the reports that they are: at the next start they are heard, before any later one."""
        with Service(WINNOW, arguments=["--slots", "3"]) as self.s:
            sweep = self.sayers({"type": "threshold", "max": 50})
            lock = subprocess.Popen([*self.s.psql(), "-c", "begin; lock table report in share mode; select pg_sleep(600)"], env=self.s.psql_env(),
                                    stderr=subprocess.DEVNULL)
            wait(lambda: self.s.sql("select 1 from pg_locks where relation = 'report'::regclass and mode = 'ShareLock' and granted"), "the lock")
            self.tell(2)
            wait(lambda: self.is_stored(sweep, 2), "the points")
            self.s.kill()
            lock.wait(60)
            (self.s.home / "say3").touch() # said while nobody listens
            time.sleep(0.5)
            self.s.start()
            self.stopped_at(sweep, 2)

    def test_19_a_commit_whose_answer_is_lost(self):
        """The service lives on and does not know whether points were stored: they were, and are heard once."""
        with Service(WINNOW, arguments=["--slots", "3"]) as self.s:
            sweep = self.sayers({"type": "threshold", "max": 50})
            self.s.sql("alter system set synchronous_standby_names = 'nobody'") # every commit is done, and waits for ever to say so
            self.s.sql("select pg_reload_conf()")
            waiting = "from pg_stat_activity where wait_event = 'SyncRep'"
            (self.s.home / "say2").touch()
            wait(lambda: int(self.s.sql(f"select count(*) {waiting}")) >= 2, "commits")
            time.sleep(1)
            self.s.sql("alter system reset synchronous_standby_names")
            self.s.sql(f"select pg_terminate_backend(pid) {waiting}")
            self.s.sql("select pg_reload_conf()")
            (self.s.home / "say3").touch()
            self.log_client(2, 200)
            self.stopped_at(sweep, 2)

    def test_10_the_same_report_after_a_restart(self):
        """What the output has said before a kill is said by a file and a client after it: one report."""
        with Service(WINNOW, arguments=["--slots", "1"]) as self.s:
            job = self.script("""
                for i in 1 2 3; do echo "step=$i loss=$i"; done
                while [ ! -e $1/go ]; do sleep 0.05; done
                for i in 1 2 3 4; do echo "{\\"step\\":$i,\\"loss\\":$i}" >> m.jsonl; done
                while [ ! -e $1/end ]; do sleep 0.05; done
                """)
            sweep = self.submit({"name": "twice", "method": "grid", "metric": {"name": "loss", "use": "mean_last_k", "last_k": 100},
                                 "command": ["sh", job, str(self.s.home)], "parameters": {"a": {"values": [1]}}, "metrics_from": [{"file": "m.jsonl"}]})
            wait(lambda: [t["value"] for t in self.trials(sweep)] == [2], "the reports")
            self.restart()
            self.client = self.trials(sweep)[0]["run_id"]
            self.log_client(2, 2)
            (self.s.home / "go").touch()
            wait(lambda: self.trials(sweep)[0]["last"]["step"] == 4, "the file")
            (self.s.home / "end").touch()
            wait(lambda: self.is_over(sweep), "the end")
            self.assertEqual(self.trials(sweep)[0]["value"], 2.5)
            self.assertEqual(self.s.sql(f"select count(*) from report where sweep = '{sweep}'"), "4")

    def heard_and_not_stored(self, script, **more):
        """An attempt whose row says STARTING, and stays so: what its companion says reaches the service, and no further. Then all are killed at once:
        service, companion and Postgres. The sweep, and its attempt's directory."""
        proxy = Proxy(self.s)
        self.addCleanup(proxy.close)
        proxy.put_between()
        proxy.pause()
        sweep = self.submit({"name": "heard", "method": "grid", "parameters": {"a": {"values": [1]}}, "command": ["sh", "-c", script, str(self.s.home)], **more})
        row = "select id from run where trial is not null and state = 1 and attempt = 1"
        run = wait(lambda: self.s.sql(row), "the row of its start").replace("-", "")
        attempt = self.s.data / "jobs" / run / "1"
        wait((self.s.home / "begun").exists, "the job")
        holder = subprocess.Popen([*self.s.psql(), "-c", f"begin; {row} for update; select pg_sleep(600)"], env=self.s.psql_env(), stdout=subprocess.DEVNULL,
                                  stderr=subprocess.DEVNULL)
        wait(lambda: self.s.sql("select 1 from pg_stat_activity where wait_event = 'PgSleep'"), "the row's lock")
        proxy.resume()
        waiting = "select 1 from pg_stat_activity where wait_event_type = 'Lock' and query ~ '^update run set version'"
        wait(lambda: self.s.sql(waiting), "the write of what was heard")
        self.assertEqual(self.s.sql("select state, attempt from run where trial is not null"), "1|1")
        return sweep, attempt, holder

    def kill_all(self, attempt, holder):
        victims = [self.s.process.pid, *self.s.postgres(), *filter(None, [companions(self.s).get(str(attempt / "job"))])]
        for number in (signal.SIGSTOP, signal.SIGKILL):  # nobody sees another one go
            for pid in victims:
                with contextlib.suppress(ProcessLookupError):  # of Postgres's some come and go
                    os.kill(pid, number)
        self.s.process.wait()
        self.s.process = None
        wait(lambda: all(is_gone(pid) for pid in victims), "the end of all")
        holder.wait(60)

    def test_15_a_start_that_was_heard_and_not_stored(self):
        """The attempt is not begun again under its number, and not lost: its job is ended, and the next attempt runs to its end."""
        with Service(WINNOW, arguments=["--slots", "1"]) as self.s:
            script = "echo $WINNOW_ATTEMPT $$ >> $0/ran; touch $0/begun; [ $WINNOW_ATTEMPT = 2 ] || exec sleep 600"
            sweep, attempt, holder = self.heard_and_not_stored(script, retries=1)
            self.kill_all(attempt, holder)
            pid = int((self.s.home / "ran").read_text().split()[1])
            self.assertFalse(is_gone(pid))
            self.s.start()
            wait(lambda: self.is_over(sweep), "the end")
            self.assertTrue(is_gone(pid))
            trial, = self.trials(sweep)
            self.assertEqual((trial["state"], trial["attempt"]), ("FINISHED", 2), trial)
            self.assertEqual([line.split()[0] for line in (self.s.home / "ran").read_text().splitlines()], ["1", "2"])

    def test_15_an_end_that_was_heard_and_not_stored(self):
        """How it ended lies on the disk: it is told again, and nothing runs twice."""
        for companion_first in (False, True):
            with self.subTest(companion_first=companion_first):
                self.end_that_was_heard_and_not_stored(companion_first)

    def end_that_was_heard_and_not_stored(self, companion_first):
        with Service(WINNOW, arguments=["--slots", "1"]) as self.s:
            sweep, attempt, holder = self.heard_and_not_stored("echo run >> $0/ran; echo loss=3; touch $0/begun", metric={"name": "loss"}, retries=1)
            wait((attempt / "exit").exists, "the note of the end")
            wait(lambda: self.sweep(sweep)["progress"]["finished"] == 1, "the report of the end")
            if companion_first:  # which the service sees: it is its child
                companion = companions(self.s)[str(attempt / "job")]
                os.kill(companion, signal.SIGKILL)
                wait(lambda: not os.path.exists(f"/proc/{companion}"), "its end")
                self.sweep(sweep)
            self.kill_all(attempt, holder)
            self.s.start()
            wait(lambda: self.is_over(sweep), "the end")
            trial, = self.trials(sweep)
            self.assertEqual((trial["state"], trial["attempt"], trial["value"]), ("FINISHED", 1, 3), trial)
            self.assertEqual((self.s.home / "ran").read_text(), "run\n")

    def test_16_a_companion_that_dies(self):
        """LOST when nothing may be tried again; else another attempt, and nothing of the first is left alive."""
        with Service(WINNOW, arguments=["--slots", "1"]) as self.s:
            for retries, state, attempt in ((0, "LOST", 1), (1, "FINISHED", 2)):
                pids = self.s.home / f"pids{retries}"
                sweep = self.submit({"name": "dies", "method": "random", "run_cap": 1, "parameters": {"x": {"min": 0.0, "max": 1.0}},
                                     "retries": {"max": retries, "on": ["lost"]},
                                     "command": ["sh", "-c", f"echo $$ >> {pids}; [ $WINNOW_ATTEMPT = 2 ] || sleep 600"]})
                pid = int(wait(lambda: pids.exists() and pids.read_text(), "the job"))
                os.kill(wait(lambda: list(companions(self.s).values()), "the companion")[0], signal.SIGKILL)
                wait(lambda: self.is_over(sweep), "the end")
                trial = self.trials(sweep)[0]
                self.assertEqual((trial["state"], trial["attempt"]), (state, attempt), trial)
                wait(lambda: is_gone(pid), "the end of the first attempt's job")

    def test_16_what_was_printed_before_a_companion_died(self):
        """The job runs on while the service is away, and its companion is killed: what it printed until then is kept, with its time, before the next attempt."""
        with Service(WINNOW, arguments=["--slots", "1"]) as self.s:
            job = self.script("""
                [ $WINNOW_ATTEMPT = 1 ] || { echo "step=3 loss=3"; exit; }
                echo "step=1 loss=1"; echo $$ > $1/pid
                while [ ! -e $1/away ]; do sleep 0.05; done
                echo "step=2 loss=2"; mkdir model; echo half > model/half; echo partly >&2; touch $1/printed
                sleep 600
                """)
            sweep = self.submit({"name": "cut", "method": "grid", "metric": {"name": "loss"}, "command": ["sh", job, str(self.s.home)],
                                 "parameters": {"a": {"values": [1]}}, "retries": 1, "artifacts": ["model/**"]})
            run = wait(lambda: self.trials(sweep) and self.trials(sweep)[0]["value"] == 1 and self.trials(sweep)[0], "the first report")["run_id"]
            self.s.kill()
            (self.s.home / "away").touch()
            wait((self.s.home / "printed").exists, "the print")
            os.kill(list(companions(self.s).values())[0], signal.SIGKILL)
            killed = time.time() * 1000
            time.sleep(1)  # so that another time could be told from that of the print
            self.s.start()
            wait(lambda: self.is_over(sweep), "the end")
            trial = self.trials(sweep)[0]
            self.assertEqual((trial["state"], trial["attempt"], trial["value"]), ("FINISHED", 2, 3), trial)
            first, second = self.ok(self.s.get(f"/api/v1/runs/{run}"))["attempts"]
            self.assertEqual((first["state"], second["state"]), ("LOST", "FINISHED"))
            self.assertIn("nobody knows how the command ended", first["reason"])
            events = self.ok(self.s.get(f"/api/v1/runs/{run}/events"))["items"]
            pages = [self.ok(self.s.get(f"/api/v1/runs/{run}/events?limit=1"))]
            while pages[-1]["next"]:
                pages.append(self.ok(self.s.get(f"/api/v1/runs/{run}/events?limit=1&cursor={pages[-1]['next']}")))
            self.assertEqual([e["id"] for page in pages for e in page["items"]], [e["id"] for e in events])
            states = [(e["from"], e["to"], e["reason"]) for e in events if e["kind"] in ("run.created", "run.state")]
            self.assertEqual(states, [(None, "QUEUED", None), ("QUEUED", "STARTING", None), ("STARTING", "RUNNING", None), ("RUNNING", "LOST", first["reason"]),
                                      ("LOST", "STARTING", "attempt 2"), ("STARTING", "RUNNING", None), ("RUNNING", "FINISHED", None)])
            for stream, text in (("stdout", "step=1 loss=1\nstep=2 loss=2\n"), ("stderr", "partly\n")):
                self.assertEqual(self.s.get(f"/api/v1/runs/{run}/logs/{stream}?attempt=1").body.decode(), text)
            points = self.s.get(f"/api/v1/series?run={run}&key=loss&raw=true&format=csv").body.decode().split()
            at, rows = points[0].split(","), [point.split(",") for point in points[1:]]
            self.assertEqual([row[at.index("step")] for row in rows], ["1", "2", "3"])
            self.assertLess(int(rows[1][at.index("time")]), killed + 500)
            self.assertEqual(self.s.get(f"/api/v1/runs/{run}/artifacts/model/half").body, b"half\n")
            self.assertTrue(is_gone(int((self.s.home / "pid").read_text())))

    def test_16_a_companion_that_dies_after_the_end(self):
        """The job ended well while the service was away, and its companion is killed too: another one brings home output, files and artifacts."""
        with Service(WINNOW, arguments=["--slots", "1"]) as self.s:
            job = self.script("""
                echo "step=1 loss=1"; echo '{"step":1,"acc":1}' >> m.jsonl
                while [ ! -e $1/away ]; do sleep 0.05; done
                mkdir model; for i in 1 2 3 4 5; do echo $i > model/$i; done
                echo '{"step":2,"acc":2}' >> m.jsonl
                seq 1 50000; echo "step=2 loss=2"
                """)
            sweep = self.submit({"name": "orphan", "method": "grid", "metric": {"name": "loss"}, "command": ["sh", job, str(self.s.home)],
                                 "parameters": {"a": {"values": [1]}}, "artifacts": ["model/**"], "metrics_from": [{"file": "m.jsonl"}]})
            wait(lambda: self.trials(sweep) and self.trials(sweep)[0]["value"] == 1, "the first report")
            run = self.trials(sweep)[0]["run_id"]
            wait(lambda: "acc" in self.ok(self.s.get(f"/api/v1/runs/{run}"))["metrics"], "the file")
            self.s.kill()
            (self.s.home / "away").touch()
            job, companion = list(companions(self.s).items())[0]
            wait((pathlib.Path(job).parent / "exit").exists, "the note of the end")
            os.kill(companion, signal.SIGKILL)
            self.s.start()
            self.is_whole(sweep, 5, 50000)
            metrics = self.ok(self.s.get(f"/api/v1/runs/{run}"))["metrics"]
            self.assertEqual((metrics["acc"]["last"], metrics["acc"]["count"]), (2, 2))

    def test_16_an_end_that_arrives_when_its_trial_is_forgotten(self):
        """An end that waits for the database, while another way tells it, too, and the sweep leaves the memory."""
        with Service(WINNOW, arguments=["--slots", "1"], env={"MALLOC_PERTURB_": "165"}) as self.s:  # who looks at what was freed finds nothing
            job = self.script("""
                echo "loss=1"
                while [ ! -e $1/go ]; do sleep 0.05; done
                """)
            sweep = self.submit({"name": "forgotten", "method": "grid", "command": ["sh", job, str(self.s.home)], "parameters": {"a": {"values": [1]}}})
            wait(lambda: self.trials(sweep) and "loss" in self.ok(self.s.get(f"/api/v1/runs/{self.trials(sweep)[0]['run_id']}"))["metrics"], "its print")
            lock = subprocess.Popen(self.s.psql(), env=self.s.psql_env(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            lock.stdin.write("begin; lock table log_stream; select 'locked';\n")
            lock.stdin.flush()
            self.assertEqual(lock.stdout.readline().strip(), "locked")
            try:
                (self.s.home / "go").touch()
                waits = "select count(*) from pg_stat_activity where wait_event_type = 'Lock' and query like '%log_stream%'"
                wait(lambda: self.s.sql(waits) != "0", "its end")
                deadline = time.time() + 60
                while not self.is_over(sweep) and time.time() < deadline:  # and the ends of whoever is sent to bring it home
                    for pid in companions(self.s).values():
                        os.kill(pid, signal.SIGKILL)
                    time.sleep(0.1)
                self.assertTrue(self.is_over(sweep))
                for i in range(20):
                    other = self.submit({"name": f"other {i}", "method": "random", "run_cap": 1, "parameters": {"a": {"values": [1]}}, "metric": {"name": "loss"}})
                    trial = self.ok(self.s.post(f"/api/v1/sweeps/{other}/ask", {}))["trials"][0]
                    self.ok(self.s.post(f"/api/v1/sweeps/{other}/tell", {"trials": [{"run_id": trial["run_id"], "value": 1}]}))
                    wait(lambda: self.is_over(other), "the end of another")
                self.assertNotEqual(self.s.sql(waits), "0")
            finally:
                lock.communicate("commit;\n", timeout=60)
            wait(lambda: self.s.sql(f"select 1 from log_stream where run = (select id from run where sweep_id = '{sweep}') and summary is not null"), "the end of its output")
            self.assertEqual(self.trials(sweep)[0]["state"], "FINISHED")

    def test_16_times_hold_though_both_were_away(self):
        """What was printed and written while the service was away has its own time, also when its companion dies after that."""
        with Service(WINNOW, arguments=["--slots", "1"]) as self.s:
            job = self.script("""
                echo "step=0 loss=9"; echo '{"step":0,"acc":9}' >> m.jsonl
                while [ ! -e $1/away ]; do sleep 0.05; done
                for i in 1 2 3 4 5 6; do sleep 0.6; echo "step=$i loss=$i"; echo '{"step":'$i',"acc":1}' >> m.jsonl; done
                """)
            sweep = self.submit({"name": "timed", "method": "grid", "metric": {"name": "loss"}, "command": ["sh", job, str(self.s.home)],
                                 "parameters": {"a": {"values": [1]}}, "metrics_from": [{"file": "m.jsonl"}]})
            run = wait(lambda: self.trials(sweep), "the trial")[0]["run_id"]
            wait(lambda: {"acc", "loss"} <= self.ok(self.s.get(f"/api/v1/runs/{run}"))["metrics"].keys(), "the first points")
            self.s.kill()
            (self.s.home / "away").touch()
            job, companion = list(companions(self.s).items())[0]
            wait((pathlib.Path(job).parent / "exit").exists, "the note of the end")
            over = time.time() * 1000
            os.kill(companion, signal.SIGKILL)
            time.sleep(1)
            self.s.start()
            wait(lambda: self.is_over(sweep), "the end")
            # On a slow machine the companion sees several lines at once. Of the file its last change is all that the one that came after could see.
            for key, distinct in (("loss", 3), ("acc", 1)):
                answer = self.s.get(f"/api/v1/series?run={run}&key={key}&raw=true&format=csv").body.decode().split()
                at = answer[0].split(",").index("time")
                times = [int(row.split(",")[at]) for row in answer[1:]][1:]
                self.assertEqual((len(times), times), (6, sorted(times)))
                self.assertGreaterEqual(len(set(times)), distinct, (key, times))
                self.assertLessEqual(times[-1], over, key)

    def is_whole(self, sweep, files, lines):
        wait(lambda: self.is_over(sweep), "the end")
        trial = self.trials(sweep)[0]
        self.assertEqual((trial["state"], trial["attempt"], trial["value"]), ("FINISHED", 1, 2), trial)
        self.assertEqual(len(self.ok(self.s.get(f"/api/v1/runs/{trial['run_id']}/artifacts?path=model&limit=1000"))["items"]), files)
        log = self.s.get(f"/api/v1/runs/{trial['run_id']}/logs/stdout?from=0").body.decode().split("\n")
        self.assertEqual([line for line in log if line.isdigit()], [str(i) for i in range(1, lines + 1)])
        events = self.ok(self.s.get(f"/api/v1/runs/{trial['run_id']}/events"))["items"]
        self.assertFalse([e for e in events if e["kind"] == "run.artifacts"], events)

    def test_16_companions_that_die_while_they_collect(self):
        with Service(WINNOW, arguments=["--slots", "1"]) as self.s:
            job = self.script("""
                mkdir model; for i in $(seq 1 300); do head -c 100000 /dev/zero > model/$i; done
                seq 1 5; echo "step=2 loss=2"
                """)
            sweep = self.submit({"name": "collects", "method": "grid", "metric": {"name": "loss"}, "command": ["sh", job],
                                 "parameters": {"a": {"values": [1]}}, "artifacts": ["model/**"]})
            run = wait(lambda: self.trials(sweep), "the trial")[0]["run_id"]
            stored = lambda: len(self.ok(self.s.get(f"/api/v1/runs/{run}/artifacts?path=model&limit=1000"))["items"])
            for seen in (1, 30):
                wait(lambda: stored() >= seen, "files")
                companion = wait(lambda: [*companions(self.s).values(), *[None] * self.is_over(sweep)], "the companion, or the end, which we may have come too late for")[0]
                if companion:
                    os.kill(companion, signal.SIGKILL)
                time.sleep(0.2)
            self.is_whole(sweep, 300, 5)

    def test_18_a_restart_disturbs_nobody(self):
        count = 1000 if LONG else 40
        with Service(WINNOW, arguments=["--slots", str(count)]) as self.s:
            sweep = self.submit({"name": "many", "method": "random", "run_cap": count, "parameters": {"x": {"min": 0.0, "max": 1.0}},
                                 "command": ["sleep", "3600"]})
            wait(lambda: len(companions(self.s)) == count and self.sweep(sweep)["progress"]["running"] == count, "all of them", 300)
            before = companions(self.s)
            self.restart()
            self.assertEqual(companions(self.s), before)
            self.assertEqual(self.sweep(sweep)["progress"]["running"], count)
            self.ok(self.s.post(f"/api/v1/sweeps/{sweep}/stop"))
            wait(lambda: not companions(self.s), "the end of all", 300)
            wait(lambda: self.is_over(sweep), "the end")
            self.assertEqual({t["state"] for t in self.trials(sweep)}, {"KILLED"})

    def test_18_another_database_is_refused(self):
        """A service that would know nothing of the jobs of its directory does not start, and ends none of them."""
        with Service(WINNOW, arguments=["--slots", "1"]) as self.s:
            sweep = self.submit({"name": "strange", "method": "random", "run_cap": 1, "parameters": {"x": {"min": 0.0, "max": 1.0}},
                                 "command": ["sleep", "3600"]})
            wait(lambda: self.sweep(sweep)["progress"]["running"] and companions(self.s), "the job")
            before = companions(self.s)
            self.s.stop()
            pg = self.s.data / "pg"
            pg.rename(self.s.data / "pg.away")
            with self.assertRaises(RuntimeError) as refused:
                self.s.start()
            self.s.process = None
            self.assertIn("knows none of them", str(refused.exception))
            shutil.rmtree(pg)
            (self.s.data / "pg.away").rename(pg)
            self.s.start()
            self.assertEqual(companions(self.s), before)
            self.ok(self.s.post(f"/api/v1/sweeps/{sweep}/stop"))
            wait(lambda: self.is_over(sweep), "the end")

    def test_17_a_partition_longer_than_every_lease(self):
        """The way between companions and the service hangs for longer than the lease: LOST, and RUNNING again; every point is there, once."""
        with Service(WINNOW, arguments=["--slots", "2"]) as self.s:
            proxy = Proxy(self.s)
            proxy.put_between()
            job = self.script("""
                echo run >> $1
                i=0
                until [ -e $2 ]; do i=$((i + 1)); echo "step=$i loss=$i"; sleep 0.2; done
                echo $i > $1.last
                """)
            ran, go = self.s.home / "ran", self.s.home / "end"
            sweep = self.submit({"name": "partition", "method": "random", "run_cap": 1, "metric": {"name": "loss"},
                                 "parameters": {"x": {"min": 0.0, "max": 1.0}}, "command": ["sh", job, str(ran), str(go)]})
            state = lambda: (self.trials(sweep) or [{"state": None}])[0]["state"]
            wait(lambda: state() == "RUNNING" and self.trials(sweep)[0]["value"], "the first points")
            proxy.pause()
            wait(lambda: state() == "LOST", "the end of the lease", 120)
            time.sleep(2)
            self.assertEqual(state(), "LOST")
            proxy.resume()
            wait(lambda: state() == "RUNNING", "its return", 120)
            go.touch()
            wait(lambda: self.is_over(sweep), "the end", 120)
            trial = self.trials(sweep)[0]
            last = int(pathlib.Path(f"{ran}.last").read_text())
            self.assertEqual((trial["state"], trial["attempt"], trial["value"]), ("FINISHED", 1, float(last)), trial)
            self.assertEqual(ran.read_text(), "run\n")
            series = self.ok(self.s.get(f"/api/v1/runs/{trial['run_id']}/metrics"))["items"]
            loss = next(item for item in series if item["key"] == "loss")
            self.assertEqual((loss["count"], loss["first"]["value"], loss["last"]["value"]), (last, 1, last))
            proxy.close()


if __name__ == "__main__":
    unittest.main()
