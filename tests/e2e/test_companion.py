#!/usr/bin/env python3
"""The companion against a stand-in service: output byte for byte, verdicts, kill ladders, a service that goes away, limits."""
import contextlib, hashlib, http.server, json, os, pathlib, shutil, signal, socketserver, subprocess, sys, tempfile, threading, time, unittest, urllib.parse, uuid

BIN = pathlib.Path(sys.argv.pop(1)).resolve().parent
EXEC = BIN / "winnow-exec"
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from disk import small_disk  # noqa: E402

RUN = uuid.uuid4().hex  # control groups are named after it: two of these tests at once have two


class Service:
    """Answers like the service; remembers what it was told."""

    def __init__(self, path):
        self.path, self.lock = path, threading.Condition()
        self.output = {"stdout": bytearray(), "stderr": bytearray()}
        self.ages = []  # of pieces of output, in milliseconds
        self.skipped, self.heartbeats, self.polled, self.exited = 0, [], False, None
        self.stop, self.fenced, self.tokens, self.requests = False, False, set(), 0
        self.files, self.file_answers = [], []  # pieces of metric files; statuses of the first of them, the others are taken
        self.server = None
        self.hears = threading.Event()  # while it is clear the next piece of output gets no answer
        self.hears.set()
        self.refuses_artifacts = None  # with this status
        self.unanswered, self.dropped = 0, 0  # dropped: answers that nobody waited for any more
        self.up()

    def up(self):
        service = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *args):
                pass

            def address_string(self):
                return "unix"

            def do(self):
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                status, text = service.handle(self.path, body, self.headers)
                try:
                    self.send_response(status)
                    self.send_header("Content-Length", str(len(text)))
                    self.end_headers()
                    self.wfile.write(text.encode())
                except OSError:
                    service.dropped += 1

            do_GET = do_POST = do_PUT = do

        class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
            daemon_threads = True
            open_sockets = []

            def get_request(self):
                sock, addr = super().get_request()
                self.open_sockets.append(sock)
                return sock, addr

            def handle_error(self, request, client_address):
                pass

        if os.path.exists(self.path):
            os.unlink(self.path)
        Server.open_sockets = []
        self.server = Server(self.path, Handler)
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def down(self):
        self.server.shutdown()
        self.server.server_close()
        for sock in self.server.open_sockets:
            try:
                sock.shutdown(2)
            except OSError:
                pass
        os.unlink(self.path)

    def handle(self, path, body, headers):
        url = urllib.parse.urlparse(path)
        query = dict(urllib.parse.parse_qsl(url.query))
        if url.path.startswith(f"/api/v1/runs/{RUN}/artifacts/"):
            return (self.refuses_artifacts, "in the trash") if self.refuses_artifacts else (200, "{}")
        prefix = f"/api/v1/companion/{RUN}/1"
        assert url.path.startswith(prefix), url.path
        what = url.path[len(prefix):]
        if what == "/output" and not self.hears.is_set() and not self.unanswered:
            self.unanswered += 1
            self.hears.wait()
        with self.lock:
            self.requests += 1
            self.tokens.add(headers.get("Authorization"))
            if self.fenced:
                return 409, "superseded"
            if what == "/output":
                stream, offset = self.output[query["stream"]], int(query["offset"])
                skipped = int(query["skipped"])
                self.ages.append(int(query["age"]))
                if skipped:
                    self.skipped += skipped
                    stream.extend(b"\0" * (offset - len(stream)))
                if offset <= len(stream):
                    stream.extend(body[len(stream) - offset:])
                return 200, str(len(stream))
            elif what == "/file":
                self.files.append((query, body.decode()))
                status = self.file_answers.pop(0) if self.file_answers else 200
                return status, str(int(query["offset"]) + len(body)) if status == 200 else "no"
            elif what == "/heartbeat":
                self.heartbeats.append(body.decode())
            elif what == "/verdict":
                self.polled = True
                self.lock.notify_all()
                self.lock.wait_for(lambda: self.stop or self.fenced, timeout=float(query["wait"]))
                return (409, "superseded") if self.fenced else (200, "stop" if self.stop else "continue")
            elif what == "/exited":
                self.exited = dict(line.split(" ", 1) for line in body.decode().splitlines())
            self.lock.notify_all()
            return 200, "stop" if self.stop and what != "/exited" else "continue"

    def say_stop(self):
        with self.lock:
            self.stop = True
            self.lock.notify_all()

    def say_fenced(self):
        with self.lock:
            self.fenced = True
            self.lock.notify_all()


class CompanionTest(unittest.TestCase):
    def setUp(self):
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="winnow-companion-"))
        self.service = Service(str(self.dir / "sock"))
        (self.dir / "endpoint").write_text(f"nonsense\nunix:{self.dir}/sock\n")
        self.processes = []

    def tearDown(self):
        for process in self.processes:
            if process.poll() is None:
                process.kill()
                process.wait()
        try:
            self.service.down()
        except OSError:
            pass
        shutil.rmtree(self.dir)

    def start(self, argv, env=None, **fields):
        job = {"run": RUN, "attempt": 1, "endpoint": self.dir / "endpoint", "token": "wnr_test", "dir": self.dir / "attempt", "cwd": self.dir,
               "stop_grace_ms": 10000, "time_limit_ms": 0, "memory_limit": 0, "spool_max": 1 << 30, "spool_policy": 0, "heartbeat_ms": 200, "tty": 0}
        job.update(fields)
        (self.dir / "attempt").mkdir(exist_ok=True)
        escape = lambda value: str(value).replace("\\", "\\\\").replace("\n", "\\n").replace("\r", "\\r")
        lines = [f"{key} {escape(value)}" for key, value in job.items()]
        lines += [f"argv {escape(item)}" for item in argv]
        env = {"PATH": os.environ["PATH"], **(env or {})}
        lines += [f"env {escape(key + '=' + value)}" for key, value in env.items()]
        (self.dir / "attempt" / "job").write_text("\n".join(lines) + "\n")
        process = subprocess.Popen([EXEC, self.dir / "attempt" / "job"])
        self.processes.append(process)
        return process

    def wait(self, condition, what, timeout=180):
        end = time.monotonic() + timeout
        while not condition():
            if time.monotonic() > end:
                log = self.dir / "attempt" / "companion.log"
                self.fail(f"{what} did not come; the companion says:\n{log.read_text() if log.exists() else ''}")
            time.sleep(0.01)

    def test_output_environment_and_exit(self):
        process = self.start(["sh", "-c", 'echo "out $X $(pwd)"; echo err >&2; exit 3'], {"X": "a b\nc"})
        self.assertEqual(process.wait(60), 0)
        self.assertEqual(self.service.output["stdout"].decode(), f"out a b\nc {self.dir}\n")
        self.assertEqual(self.service.output["stderr"], b"err\n")
        self.assertEqual(self.service.exited["exit_code"], "3")
        self.assertNotIn("ended_by", self.service.exited)
        self.assertEqual(self.service.tokens, {"Bearer wnr_test"})
        self.assertEqual(dict(line.split(" ", 1) for line in (self.dir / "attempt" / "exit").read_text().splitlines()), self.service.exited)

    def test_a_note_of_the_end_that_cannot_be_read_starts_nothing(self):
        (self.dir / "attempt").mkdir()
        for note in ("", "exit_code 0\nbegun_ms \n"):
            (self.dir / "attempt" / "exit").write_text(note)
            self.assertEqual(self.start(["touch", "ran"]).wait(60), 1)
            self.assertFalse((self.dir / "ran").exists(), note)
            self.assertIn("does not say how the job ended", (self.dir / "attempt" / "companion.log").read_text())

    def test_what_the_companion_ignores_the_command_does_not(self):
        self.assertEqual(self.start(["grep", "-E", "Sig(Blk|Ign)", "/proc/self/status"]).wait(60), 0)
        self.assertEqual(self.service.output["stdout"].split(), [b"SigBlk:", b"0" * 16, b"SigIgn:", b"0" * 16])

    def test_a_flood_arrives_byte_for_byte(self):
        script = "import sys,hashlib\nh=hashlib.sha256()\nfor i in range(60000):\n b=(b'%08d '%i)*60+b'\\n'\n h.update(b)\n sys.stdout.buffer.write(b)\nsys.stderr.write(h.hexdigest())"
        process = self.start(["python3", "-c", script])
        self.assertEqual(process.wait(120), 0)
        self.assertEqual(hashlib.sha256(self.service.output["stdout"]).hexdigest(), self.service.output["stderr"].decode())
        self.assertEqual(int(self.service.exited["stdout"]), len(self.service.output["stdout"]))
        spool = (self.dir / "attempt" / "stdout").stat()
        self.assertEqual(spool.st_size, len(self.service.output["stdout"]))
        self.assertLess(spool.st_blocks * 512, 8 << 20)  # what was taken is not kept twice

    def test_stop_is_a_term(self):
        process = self.start(["python3", "-u", "-c", "import signal,sys,time\nsignal.signal(15,lambda *a:(print('bye'),sys.exit(0)))\nprint('ready')\ntime.sleep(600)"])
        self.wait(lambda: b"ready\n" in self.service.output["stdout"], "output")
        self.service.say_stop()
        self.assertEqual(process.wait(60), 0)
        self.assertEqual(self.service.output["stdout"], b"ready\nbye\n")
        self.assertEqual(self.service.exited["ended_by"], "stop")
        self.assertEqual(self.service.exited["exit_code"], "0")

    def test_who_ignores_term_and_double_forks_is_killed_too(self):
        script = """
import os, signal, sys, time
signal.signal(15, signal.SIG_IGN)
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        print("grandchild", os.getpid(), flush=True)
        time.sleep(600)
    os._exit(0)
os.wait()
time.sleep(600)
"""
        process = self.start(["python3", "-c", script], stop_grace_ms=300)
        self.wait(lambda: b"grandchild" in self.service.output["stdout"], "the grandchild")
        grandchild = int(self.service.output["stdout"].split()[1])
        self.service.say_stop()
        self.assertEqual(process.wait(60), 0)
        self.assertEqual(self.service.exited["signal"], "9")
        self.assertFalse(os.path.exists(f"/proc/{grandchild}"))

    def test_what_the_command_leaves_behind_ends_with_it(self):
        process = self.start(["sh", "-c", "setsid sh -c 'echo $$; touch there; exec sleep 600' & until [ -e there ]; do sleep 0.05; done"])
        self.assertEqual(process.wait(60), 0)
        self.assertFalse(os.path.exists(f"/proc/{int(self.service.output['stdout'])}"))
        self.assertEqual(self.service.exited["exit_code"], "0")

    def fifo(self):
        os.mkfifo(self.dir / "fifo")
        return str(self.dir / "fifo")

    def test_the_service_goes_away_and_comes_back(self):
        process = self.start(["python3", "-u", "-c", "import time\nfor i in range(60):\n print(i)\n time.sleep(0.05)"])
        self.wait(lambda: b"5\n" in self.service.output["stdout"], "output")
        self.service.down()
        time.sleep(1)
        self.service.up()
        self.assertEqual(process.wait(120), 0)
        self.assertEqual(self.service.output["stdout"], "".join(f"{i}\n" for i in range(60)).encode())
        self.assertEqual(self.service.exited["exit_code"], "0")

    def test_a_list_that_was_not_taken_is_sent_again_with_its_time(self):
        """The waits between the tries are the companion's own: 200 ms, and twice as long each time."""
        self.service.file_answers = [503] * 4
        script = "echo '[{\"loss\": 1}]' > list.json; until test -e taken; do sleep 0.05; done"
        process = self.start(["sh", "-c", script], file="0 json always list.json", heartbeat_ms=60000)
        self.wait(lambda: len(self.service.files) == 5, "the fifth try")
        (self.dir / "taken").touch()
        self.assertEqual(process.wait(60), 0)
        self.assertEqual([body for _, body in self.service.files], ['[{"loss": 1}]\n'] * 5)
        ages = [int(query["age"]) for query, _ in self.service.files]
        self.assertGreaterEqual(ages[-1] - ages[0], 2500, ages)
        self.assertEqual(self.service.exited["exit_code"], "0")

    def test_a_list_of_the_last_moment_is_sent_until_it_is_taken(self):
        self.service.file_answers = [503, 503]
        process = self.start(["sh", "-c", "echo '[{\"loss\": 1}]' > list.json"], file="0 json always list.json")
        self.assertEqual(process.wait(60), 0)
        self.assertEqual([body for _, body in self.service.files], ['[{"loss": 1}]\n'] * 3)

    def test_a_file_that_is_refused_is_given_up(self):
        self.service.file_answers = [413, 400]
        process = self.start(["sh", "-c", "echo '[{\"loss\": 1}]' > list.json; echo '{\"loss\": 1}' > lines.json"], file="0 json always *.json")
        self.assertEqual(process.wait(60), 0)
        self.assertEqual(sorted(query["path"] for query, _ in self.service.files), ["lines.json", "list.json"])

    def test_a_note_of_the_end_that_could_not_be_written_is_written_later(self):
        """As on a full disk; until then the companion alone knows, and does not go."""
        process = self.start(["sh", "-c", "read line <$0; exit 3", self.fifo()])
        self.wait(lambda: self.service.polled, "the start")
        self.service.down()
        attempt = self.dir / "attempt"
        (attempt / "exit.new").mkdir()
        (self.dir / "fifo").write_text("end\n")
        log = attempt / "companion.log"
        self.wait(lambda: "cannot write" in log.read_text(), "the failure")
        process.send_signal(signal.SIGTERM)
        self.wait(lambda: "cannot sync" in log.read_text(), "what it says of the signal")
        (attempt / "exit.new").rmdir()
        self.wait((attempt / "exit").exists, "the note")
        process.send_signal(signal.SIGTERM)
        self.assertEqual(process.wait(60), 0)
        self.assertNotIn("told", (attempt / "companion.lock").read_text())
        self.service.up()
        self.assertEqual(self.start(["false"]).wait(60), 0)  # another one brings it home, and starts nothing
        self.assertEqual(self.service.exited["exit_code"], "3")
        self.assertTrue((attempt / "companion.lock").read_text().endswith("\ntold\n"))

    def test_an_attempt_that_was_removed_ends_its_companion(self):
        """With its data directory, say, of a service that will never come back."""
        process = self.start(["sh", "-c", "echo one; read line <$0; echo two", self.fifo()])
        self.wait(lambda: self.service.output["stdout"] == b"one\n", "output")
        self.service.down()
        fifo = (self.dir / "fifo").open("w")
        shutil.rmtree(self.dir / "attempt")
        fifo.write("go on\n")
        fifo.close()
        process.wait(60)
        self.assertIsNone(self.service.exited)

    def test_a_superseded_attempt_kills_its_job(self):
        process = self.start(["sh", "-c", "trap '' TERM; echo $$; sleep 600; sleep 600"])
        self.wait(lambda: self.service.output["stdout"], "output")
        pid = int(self.service.output["stdout"])
        self.service.say_fenced()
        self.assertEqual(process.wait(60), 0)
        self.assertFalse(os.path.exists(f"/proc/{pid}"))
        self.assertIsNone(self.service.exited)

    def test_what_cannot_be_started_is_told(self):
        self.assertEqual(self.start(["no-such-program-here", "x"]).wait(60), 0)
        self.assertIn("cannot run no-such-program-here", self.service.exited["start_error"])

    def test_a_directory_that_is_not_there_is_told(self):
        self.assertEqual(self.start(["true"], cwd="/no/such/directory").wait(60), 0)
        self.assertIn("cannot enter the directory /no/such/directory", self.service.exited["start_error"])

    def test_time_limit(self):
        self.assertEqual(self.start(["sleep", "600"], time_limit_ms=500).wait(60), 0)
        self.assertEqual(self.service.exited["ended_by"], "time_limit")
        self.assertEqual(self.service.exited["signal"], "15")

    def test_memory_limit(self):
        process = self.start(["python3", "-c", "x=bytearray(300<<20)\nfor i in range(0,len(x),4096): x[i]=1\nimport time\ntime.sleep(600)"], memory_limit=100 << 20)
        self.assertEqual(process.wait(60), 0)
        self.assertEqual(self.service.exited["ended_by"], "memory_limit")

    def test_output_beyond_the_spool_is_cut_with_a_count(self):
        self.service.down()
        process = self.start(["sh", "-c", "head -c 8000000 /dev/zero; touch printed; until [ -e seen ]; do sleep 0.05; done"], spool_max=1000000)
        self.wait(lambda: (self.dir / "printed").exists(), "the output")
        self.wait(lambda: (self.dir / "attempt" / "stdout").stat().st_blocks * 512 < 3 << 19, "a cut after it")
        self.service.up()
        self.wait(lambda: self.service.skipped, "the gap")
        (self.dir / "seen").touch()
        self.assertEqual(process.wait(120), 0)
        self.assertEqual(len(self.service.output["stdout"]), 8000000)
        self.assertGreaterEqual(self.service.skipped, 6000000)

    def test_a_service_that_is_slow_gets_what_was_on_its_way_and_the_spool_keeps_its_bound(self):
        """However long it takes for one piece: nothing of that is given up, and what is printed meanwhile fills no disk."""
        self.service.hears.clear()
        spool, flood = self.dir / "attempt" / "stdout", 80_000_000
        try:
            process = self.start(["sh", "-c", f"echo first; until [ -e flood ]; do sleep 0.05; done; head -c {flood} /dev/zero; touch printed; until [ -e seen ]; do sleep 0.1; done"],
                                 spool_max=1000000)
            self.wait(lambda: self.service.unanswered, "the first piece")
            (self.dir / "flood").touch()
            self.wait(lambda: (self.dir / "printed").exists(), "the flood")
            self.wait(lambda: spool.stat().st_blocks * 512 < 2 << 20, "a cut after it")
            self.assertEqual((self.service.output["stdout"], self.service.skipped), (b"", 0))
        finally:
            self.service.hears.set()
        self.wait(lambda: self.service.skipped, "the gap")
        (self.dir / "seen").touch()
        self.assertEqual(process.wait(120), 0)
        self.assertEqual(len(self.service.output["stdout"]), flood + 6)
        self.assertEqual((self.service.output["stdout"][:6], self.service.dropped), (b"first\n", 0))
        self.assertGreaterEqual(self.service.skipped, flood - 3000000)

    def test_output_beyond_the_spool_freezes_the_job(self):
        self.service.down()
        script = "import time\nfor i in range(200):\n print('x'*99999)\n time.sleep(0.02)"
        process = self.start(["python3", "-u", "-c", script], spool_max=2000000, spool_policy=1, time_limit_ms=100000)
        log = self.dir / "attempt" / "companion.log"
        self.wait(lambda: log.exists() and "frozen" in log.read_text(), "freezing")
        self.service.up()
        self.assertEqual(process.wait(120), 0)
        self.assertEqual(len(self.service.output["stdout"]), 200 * 100000)
        self.assertEqual(self.service.skipped, 0)

    def test_what_a_killed_command_leaves_frozen_gets_its_term(self):
        self.service.down()
        script = """
import os, signal, time
if os.fork() == 0:
    signal.signal(15, lambda *a: (open("bye", "w").close(), os._exit(0)))
    open("ready", "w").close()
    while True:
        signal.pause()
while not os.path.exists("ready"):
    time.sleep(0.02)
open("pid", "w").write(str(os.getpid()))
while True:
    print('x' * 99999)
    time.sleep(0.02)
"""
        process = self.start(["python3", "-u", "-c", script], spool_max=2000000, spool_policy=1)
        log = self.dir / "attempt" / "companion.log"
        self.wait(lambda: log.exists() and "frozen" in log.read_text(), "freezing")
        os.kill(int((self.dir / "pid").read_text()), signal.SIGKILL)
        self.wait(lambda: "-> drain" in log.read_text(), "its end")  # before there is a service that takes output, so that it would go on
        self.service.up()
        self.assertEqual(process.wait(120), 0)
        self.assertTrue((self.dir / "bye").exists())

    def test_an_artifact_that_is_refused_leaves_the_attempt_its_end(self):
        """The run may have been put into the trash."""
        self.service.refuses_artifacts = 409
        process = self.start(["sh", "-c", "echo 1 >model"], artifact="model")
        self.assertEqual(process.wait(60), 0)
        self.assertEqual(self.service.exited["exit_code"], "0")
        self.assertIn("the service answers 409 in the trash", self.service.exited["artifacts_failed"])

    def test_heartbeats_and_weight(self):
        process = self.start(["sleep", "600"])
        self.wait(lambda: len(self.service.heartbeats) >= 3, "heartbeats")
        samples = lambda: [line.split()[1:] for beat in self.service.heartbeats for line in beat.splitlines() if line.startswith("sample ")]
        self.wait(lambda: len(samples()) >= 3, "samples")
        self.assertEqual([sample[0] for sample in samples()[:3]], ["0", "1", "2"])
        number, at, cpu, memory, read, written, processes = samples()[2]
        self.assertEqual(processes, "1")
        self.assertGreater(int(memory), 100000)
        self.assertLess(float(cpu), 50)
        status = pathlib.Path(f"/proc/{process.pid}/status").read_text()
        resident = int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS")))
        print(f"companion: {resident} KiB resident", file=sys.stderr)
        self.assertLessEqual(resident, 4096)
        process.send_signal(signal.SIGTERM)
        self.assertEqual(process.wait(60), 0)
        self.assertEqual(self.service.exited["ended_by"], "signal")

    def test_a_companion_takes_none_of_the_users_inotify_instances(self):
        """There are 128 for a user, and may be a thousand companions."""
        process = self.start(["sleep", "600"])
        self.wait(lambda: self.service.polled, "the start")
        descriptors = []
        for fd in list(pathlib.Path(f"/proc/{process.pid}/fd").iterdir()):
            with contextlib.suppress(FileNotFoundError):  # closed meanwhile
                descriptors.append(os.readlink(fd))
        self.assertNotIn("anon_inode:inotify", descriptors)
        self.assertEqual(os.readlink(f"/proc/{process.pid}/fd/0"), "/dev/null")  # nothing else has come into its place
        process.send_signal(signal.SIGTERM)
        self.assertEqual(process.wait(60), 0)

    def test_an_attempt_that_was_removed_is_not_reported_for_ever(self):
        self.service.down()
        process = self.start(["sleep", "600"])
        log = self.dir / "attempt" / "companion.log"
        self.wait(lambda: log.exists() and "started process" in log.read_text(), "the start")
        shutil.rmtree(self.dir / "attempt")
        process.send_signal(signal.SIGTERM)
        self.assertEqual(process.wait(60), 0)
        self.service.up()

    def test_samples_wait_for_the_service(self):
        self.service.down()
        process = self.start(["python3", "-c", "while True: pass"], time_limit_ms=4000)
        time.sleep(5)
        self.service.up()
        self.assertEqual(process.wait(60), 0)
        samples = [line.split()[1:] for beat in self.service.heartbeats for line in beat.splitlines() if line.startswith("sample ")]
        numbers = [int(sample[0]) for sample in samples]
        self.assertEqual(numbers, list(range(len(numbers))))
        self.assertGreaterEqual(len(numbers), 1)
        self.assertGreater(max(float(sample[2]) for sample in samples), 1)
        self.assertEqual(self.service.exited["ended_by"], "time_limit")

    def test_a_terminal(self):
        """Both streams as one, in order and whole; sizes; a signal group; nothing to read; lines as they were printed."""
        script = ("import os,sys,time\nassert sys.stdout.isatty() and sys.stderr.isatty()\nassert sys.stdin.read() == ''\n"
                  "size = os.get_terminal_size()\nprint(size.columns, size.lines, os.environ['TERM'])\nassert os.ttyname(1)\n"
                  "with open('/dev/tty', 'w') as tty: tty.write('to the terminal\\n')\n"
                  "for i in range(5000):\n  print('out', i)\n  print('err', i, file=sys.stderr)\nsys.stdout.write('50%\\r100%')\nsys.exit(7)")
        process = self.start(["python3", "-u", "-c", script], {"COLUMNS": "99"}, tty=1)
        self.assertEqual(process.wait(120), 0)
        self.assertEqual(self.service.exited["exit_code"], "7", self.service.output["stdout"][:2000])
        lines = "".join(f"out {i}\nerr {i}\n" for i in range(5000))
        self.assertEqual(self.service.output["stdout"].decode(), f"99 40 xterm-256color\nto the terminal\n{lines}50%\r100%")
        self.assertEqual(self.service.output["stderr"], b"")

    def test_a_terminals_command_is_ended_with_all_it_started(self):
        script = "import os,signal,time\nsignal.signal(15, signal.SIG_IGN)\nsignal.signal(1, signal.SIG_IGN)\nif os.fork() == 0:\n  os.setsid()\nprint('ready', os.getpid(), flush=True)\ntime.sleep(600)"
        process = self.start(["python3", "-c", script], tty=1, stop_grace_ms=200)
        self.wait(lambda: self.service.output["stdout"].count(b"ready") == 2, "both")
        pids = [int(word) for word in self.service.output["stdout"].split() if word.isdigit()]
        self.service.say_stop()
        self.assertEqual(process.wait(60), 0)
        for pid in pids:
            self.assertFalse(os.path.exists(f"/proc/{pid}"))

    def test_what_is_brought_home_on_a_full_disk_keeps_its_time(self):
        """Nothing more is printed, so no room is kept for it: that would be the newest write."""
        disk, now_ms = small_disk(self, 16 << 20), time.time_ns() // 1000000
        (self.dir / "attempt").symlink_to(disk)
        (disk / "stdout").write_text("long ago\n")
        os.utime(disk / "stdout", (now_ms // 1000 - 3600,) * 2)
        (disk / "exit").write_text(f"exit_code 0\nbegun_ms {now_ms - 7200000}\nended_ms {now_ms - 60000}\n")
        self.assertEqual(self.start(["false"], dir=disk).wait(60), 0)
        self.assertEqual(self.service.output["stdout"], b"long ago\n")
        self.assertGreater(self.service.ages[0], 3500000)

    def test_one_companion_for_an_attempt(self):
        first = self.start(["sleep", "600"])
        self.wait(lambda: self.service.polled, "the start")
        second = self.start(["sleep", "600"])
        self.assertEqual(second.wait(60), 1)
        first.send_signal(signal.SIGTERM)
        first.wait(60)


if __name__ == "__main__":
    unittest.main(verbosity=2)
