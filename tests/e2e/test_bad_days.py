#!/usr/bin/env python3
"""What may happen to a service, done to a real one: databases that are away, full, stopped or somebody else's, and clients that mean harm."""
import ctypes, http.client, os, pathlib, re, resource, shutil, signal, socket, subprocess, sys, threading, time, unittest

WINNOW = pathlib.Path(sys.argv.pop(1)).resolve()
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from cluster import Cluster  # noqa: E402
from disk import small_disk  # noqa: E402
from service import Answer, Service, UnixConnection, wait  # noqa: E402

LONG = bool(os.environ.get("WINNOW_TEST_LONG"))


class GivenDatabase(unittest.TestCase):
    """With --db, each test in a database of its own."""

    @classmethod
    def setUpClass(cls):
        cls.cluster = Cluster(["max_connections=12", "superuser_reserved_connections=0", "authentication_timeout=600"]).start()

    @classmethod
    def tearDownClass(cls):
        cls.cluster.close()

    def database(self):
        name = self.id().rsplit(".", 1)[1][:60]
        self.cluster.sql(f"create database {name}")
        return name

    def service(self, database, **kw):
        s = Service(WINNOW, arguments=["--db", self.cluster.url(database)], start=False, **kw)
        self.addCleanup(s.close)
        return s

    def test_a_server_that_is_away_at_the_start(self):
        database = self.database()
        s = self.service(database).start()
        token = s.post("/api/v1/tokens", {"name": "kept", "scopes": ["write"]}).json["token"]
        s.stop()
        self.cluster.stop()
        try:
            s.start(state="degraded")
            wait(lambda: "the database is not there yet" in s.log(), "what it says of it")
            time.sleep(2.5)
            self.assertEqual(s.log().count("the database is not there yet"), 1, "said once, though it is tried every second")
            self.assertEqual(s.get("/health", unix=False).body, b"OK")
            self.assertEqual(s.get("/api/v1/status", unix=False).json["state"], "degraded")
            # A token that cannot be looked up yet is no wrong token: a client must not give up.
            for headers in ({"Authorization": f"Bearer {token}"}, {"Cookie": f"winnow_session={token}"}):
                answer = s.get("/api/v1/whoami", unix=False, headers=headers)
                self.assertEqual((answer.status, answer.headers["Retry-After"]), (503, "1"), answer)
                self.assertEqual(s.get("/health", unix=False, headers=headers).status, 200)
            admin = {"Authorization": f"Bearer {s.token}"}
            self.assertEqual(s.get("/api/v1/whoami", unix=False, headers=admin).json["scopes"], ["admin"])
        finally:
            self.cluster.start()
        wait(lambda: s.get("/api/v1/status").json["state"] == "ok", "recovery")
        self.assertEqual(s.get("/api/v1/whoami", unix=False, headers={"Authorization": f"Bearer {token}"}).json["scopes"], ["write"])
        self.assertEqual(s.get("/api/v1/whoami", unix=False, headers={"Authorization": "Bearer wnw_wrong"}).status, 401)
        s.stop()

    def test_no_connection_left_at_the_start_and_later(self):
        s = self.service(self.database())
        held = []
        try:
            while slot := self.cluster.hold_slot():
                held.append(slot)
            s.start(state="degraded")
            time.sleep(2)
            self.assertIsNone(s.process.poll(), s.log())
            # One place is too few; to be ended then is no failure.
            held.pop().close()
            wait(lambda: "migrations applied" in s.log(), "the schema")
            time.sleep(0.5)
            s.stop()
            s.start(state="degraded")
            # One at a time is let go, so that some parts of the service find a place and others do not.
            while held:
                held.pop().close()
                time.sleep(0.5)
            wait(lambda: s.get("/api/v1/status").json["state"] == "ok", "the start")
            self.cluster_loses_its_clients()
            while slot := self.cluster.hold_slot():
                held.append(slot)
            self.assertEqual(s.get("/health").status, 200)
        finally:
            for slot in held:
                slot.close()
        wait(lambda: s.get("/api/v1/status").json["state"] == "ok" and s.post("/api/v1/tokens", {"name": "again"}).status == 201, "recovery")
        s.stop()

    def cluster_loses_its_clients(self):
        """The server's processes that serve somebody end, as when an administrator ends them."""
        def end():
            try:
                self.cluster.sql("select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'winnow'")
            except subprocess.CalledProcessError as error:
                self.assertIn("too many clients", error.stderr)  # those that we let go have a slot until their process has seen it
                return False
            return True

        wait(end, "a slot of our own")

    def test_a_database_that_another_service_holds(self):
        database = self.database()
        first = self.service(database).start()
        second = self.service(database)
        second.spawn()
        self.assertNotEqual(second.process.wait(60), 0)
        self.assertIn(f"another winnow serves this database: process {first.process.pid} on ", second.log())
        self.assertIn(str(first.data), second.log())
        self.assertEqual(first.post("/api/v1/tokens", {"name": "still ours"}).status, 201)
        first.stop()

    def test_a_migration_that_was_applied_by_half(self):
        database = self.database()
        s = self.service(database)
        # The second migration finds a table of its own in the way: the first stays, nothing of the second does.
        s.start()
        s.stop()
        tables = self.tables(database)
        self.cluster.sql(f"drop database {database}")
        self.cluster.sql(f"create database {database}")
        self.cluster.sql("create schema winnow; create table winnow.experiment (mine int)", database)
        s.spawn()
        self.assertNotEqual(s.process.wait(60), 0)
        self.assertIn("migration 0002", s.log())
        self.assertEqual(self.cluster.sql("select name from winnow.migration", database).splitlines()[1:], [])
        self.cluster.sql("drop table winnow.experiment", database)
        s.start()
        self.assertEqual(self.tables(database), tables)
        s.stop()

    def tables(self, database):
        return self.cluster.sql("select relname from pg_class where relnamespace = 'winnow'::regnamespace order by 1", database)

    def test_killed_while_migrating(self):
        database = self.database()
        s = self.service(database)
        for i in range(40 if LONG else 5):
            s.spawn()
            time.sleep(0.02 + 0.04 * (i % 10))
            s.kill()
        s.start()
        self.assertEqual(s.post("/api/v1/tokens", {"name": "x"}).status, 201)
        s.stop()

    def test_what_a_killed_service_had_not_finished_storing(self):
        """Its connections outlive it for as long as a transaction of it waits: the next service begins when that has ended, and so knows of it."""
        database = self.database()
        s = self.service(database).start()
        sweep = s.post("/api/v1/sweeps", {"name": "asked", "method": "random", "metric": {"name": "loss"}, "parameters": {"x": {"min": 0.0, "max": 1.0}}}).json["id"]
        ask = lambda: s.post(f"/api/v1/sweeps/{sweep}/ask").json["trials"][0]["number"]
        self.assertEqual(ask(), 0)
        locker = subprocess.Popen(["psql", "-XAtq", "-d", self.cluster.url(database)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        try:
            locker.stdin.write("begin; lock table winnow.run in share mode; select 'locked';\n")
            locker.stdin.flush()
            self.assertEqual(locker.stdout.readline().strip(), "locked")

            def asks():
                try:
                    ask()
                except (OSError, http.client.HTTPException):
                    pass  # nobody is there to answer

            asking = threading.Thread(target=asks)
            asking.start()
            waiting = f"select count(*) from pg_stat_activity where wait_event_type = 'Lock' and datname = '{database}' and query like 'insert into run %'"
            wait(lambda: self.cluster.sql(waiting) == "1", "a trial on its way into the database")
            s.kill()
            asking.join()
            s.start(state="degraded")
            wait(lambda: "waiting for what the service before this one was storing" in s.log(), "its wait")
        finally:
            locker.communicate("commit;\n")
        wait(lambda: s.get("/api/v1/status").json["state"] == "ok", "the start")
        self.assertEqual([ask(), ask()], [2, 3])
        self.assertEqual(self.cluster.sql(f"select trial from winnow.run where sweep_id = '{sweep}' order by 1", database).split(), list("0123"))
        s.stop()

    def test_loading_fails_while_the_care_of_searches_is_busy(self):
        """It loads again, and what it does beside that goes on, once."""
        database = self.database()
        s = self.service(database).start()
        s.stop()

        def waiting(what):
            return int(self.cluster.sql("select count(*) from pg_stat_activity where wait_event_type = 'Lock' and "
                                        f"datname = '{database}' and query like '%{what}%'"))

        blocker = subprocess.Popen(["psql", "-XAtq", "-d", self.cluster.url(database), "-c",
                                    "begin; lock table winnow.sweep, winnow.run_unindexed; select pg_sleep(300)"],
                                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            wait(lambda: self.cluster.sql("select count(*) from pg_locks where mode = 'AccessExclusiveLock' and granted and relation = 'winnow.sweep'::regclass",
                                          database) == "1", "the lock")
            s.start(state="degraded")
            wait(lambda: waiting("run_index_metrics"), "the care")
            wait(lambda: waiting("from sweep"), "the loading")
            self.cluster.sql("select pg_cancel_backend(pid) from pg_stat_activity where wait_event_type = 'Lock' and "
                             f"datname = '{database}' and query like '%from sweep%'")
            wait(lambda: "trying again" in s.log(), "the failure")
            wait(lambda: waiting("from sweep"), "the loading again")
            time.sleep(2.5)
            self.assertEqual(waiting("run_index_metrics"), 1)
        finally:
            self.cluster.sql(f"select pg_terminate_backend(pid) from pg_stat_activity where datname = '{database}' and query like '%pg_sleep%' and pid <> pg_backend_pid()")
            blocker.wait()
        wait(lambda: s.get("/api/v1/status").json["state"] == "ok", "recovery")
        s.stop()

    def test_ended_while_it_waits_for_another_migration(self):
        """SIGTERM is heard although a thread waits inside the database."""
        database = self.database()
        s = self.service(database)
        s.start()
        s.stop()
        blocker = subprocess.Popen(["psql", "-XAtq", "-d", self.cluster.url(database), "-c", "begin; lock table winnow.migration; select pg_sleep(300)"],
                                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            wait(lambda: self.cluster.sql("select count(*) from pg_locks where mode = 'AccessExclusiveLock' and granted and relation = 'winnow.migration'::regclass",
                                          database) == "1", "the lock")
            s.start(state="degraded")
            time.sleep(0.5)
            s.stop(timeout=20)
        finally:
            blocker.kill()
            blocker.wait()


# What must be refused, and after what the connection must be closed: (bytes, allowed statuses).
HEAD = b"POST /api/2.0/mlflow/experiments/create HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
GET = b"GET /health HTTP/1.1\r\nHost: localhost\r\n"
MALFORMED = {
    "two lengths": (HEAD + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}", {400}),
    "two different lengths": (HEAD + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}", {400}),
    "a list of lengths": (HEAD + b"Content-Length: 2, 2\r\n\r\n{}", {400}),
    "length and chunked": (HEAD + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", {400}),
    "chunked and length": (HEAD + b"Transfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n0\r\n\r\n", {400}),
    "twice chunked": (HEAD + b"Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n", {400, 501}),
    "two codings in two lines": (HEAD + b"Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", {400, 501}),
    "an unknown coding": (HEAD + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", {400, 501}),
    "a coding behind a tab": (HEAD + b"Transfer-Encoding:\x0bchunked\r\n\r\n0\r\n\r\n", {400, 501}),
    "chunked in HTTP/1.0": (CHUNKED.replace(b"HTTP/1.1", b"HTTP/1.0", 1) + b"0\r\n\r\n", {400}),
    "a length with a sign": (HEAD + b"Content-Length: +2\r\n\r\n{}", {400}),
    "a negative length": (HEAD + b"Content-Length: -1\r\n\r\n{}", {400}),
    "a length in hex": (HEAD + b"Content-Length: 0x2\r\n\r\n{}", {400}),
    "a length beyond 64 bits": (HEAD + b"Content-Length: 18446744073709551618\r\n\r\n{}", {400, 413}),
    "an empty length": (HEAD + b"Content-Length:\r\n\r\n{}", {400}),
    "a body too large": (HEAD + b"Content-Length: 9000000000000\r\n\r\n", {400, 413}),
    "lines end with a bare LF": (GET.replace(b"\r\n", b"\n") + b"\n", {400}),
    "one line ends with a bare LF": (GET + b"X-A: b\nX-C: d\r\n\r\n", {400}),
    "a bare CR": (GET + b"X-A: b\rc\r\n\r\n", {400}),
    "a folded line": (GET + b"X-A: b\r\n c\r\n\r\n", {400}),
    "a folded first line": (GET.replace(b"Host", b" Host") + b"\r\n", {400}),
    "a NUL in a value": (GET + b"X-A: b\0c\r\n\r\n", {400}),
    "a NUL in the target": (b"GET /health\0 HTTP/1.1\r\nHost: localhost\r\n\r\n", {400}),
    "a space before the colon": (GET + b"X-A : b\r\n\r\n", {400}),
    "no colon": (GET + b"X-A\r\n\r\n", {400}),
    "an empty name": (GET + b": b\r\n\r\n", {400}),
    "an empty line before": (b"\r\n" + GET + b"\r\n", {400}),
    "no host": (b"GET /health HTTP/1.1\r\n\r\n", {400}),
    "two hosts": (GET + b"Host: evil.example\r\n\r\n", {400}),
    "two spaces": (b"GET  /health HTTP/1.1\r\nHost: localhost\r\n\r\n", {400}),
    "a method with a slash": (b"G/T /health HTTP/1.1\r\nHost: localhost\r\n\r\n", {400, 501}),
    "no version": (b"GET /health\r\n\r\n", {400, 505}),
    "HTTP/2 by guess": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", {400, 501, 505}),
    "HTTP/9": (b"GET /health HTTP/9.9\r\nHost: localhost\r\n\r\n", {505}),
    "TLS where none is": (b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03" + bytes(range(256)) + b"\r\n\r\n", {400, 501}),
    "no slash": (b"GET health HTTP/1.1\r\nHost: localhost\r\n\r\n", {400}),
    "CONNECT": (b"CONNECT evil.example:80 HTTP/1.1\r\nHost: evil.example:80\r\n\r\n", {400, 405, 421, 501}),
    "a huge target": (b"GET /" + b"a" * 70000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n", {414, 431}),
    "a huge header": (GET + b"X-A: " + b"b" * 100000 + b"\r\n\r\n", {431}),
    "too many headers": (GET + b"X-A: b\r\n" * 2000 + b"\r\n", {431}),
    "two Authorizations": (GET.replace(b"health", b"api/v1/status") + b"Authorization: Bearer a\r\nAuthorization: Bearer b\r\nConnection: close\r\n\r\n", {400}),
    "a chunk size with a sign": (CHUNKED + b"+2\r\n{}\r\n0\r\n\r\n", {400}),
    "a negative chunk size": (CHUNKED + b"-2\r\n{}\r\n0\r\n\r\n", {400}),
    "a chunk size with 0x": (CHUNKED + b"0x2\r\n{}\r\n0\r\n\r\n", {400}),
    "a chunk size beyond 64 bits": (CHUNKED + b"10000000000000002\r\n{}\r\n0\r\n\r\n", {400, 413}),
    "an empty chunk size": (CHUNKED + b"\r\n{}\r\n0\r\n\r\n", {400}),
    "a chunk size with a space before": (CHUNKED + b" 2\r\n{}\r\n0\r\n\r\n", {400}),
    "a chunk line with a bare LF": (CHUNKED + b"2\n{}\r\n0\r\n\r\n", {400}),
    "a chunk that goes on": (CHUNKED + b"2\r\n{}xx0\r\n\r\n", {400}),
    "an endless chunk extension": (CHUNKED + b"2;" + b"a" * 100000 + b"\r\n{}\r\n0\r\n\r\n", {400, 413, 431}),
    "endless trailers": (CHUNKED + b"2\r\n{}\r\n0\r\n" + b"X-A: b\r\n" * 20000 + b"\r\n", {400, 413, 431}),
}

# Climbing out, in every spelling we know; {} is a file's place below the data directory.
STEPS = ["..", "%2e%2e", ".%2e", "%2e.", "%252e%252e", "%25252e%25252e", "..%00", "%00..", "..;", "..%3b", "..%23", "..%3f", "%c0%ae%c0%ae", "%e0%80%ae%e0%80%ae",
         "%f0%80%80%ae%f0%80%80%ae", "%u002e%u002e", "..%20", "%20..", "...", "..%09", "..%0a", "..%0d%0a", "%ef%bc%8e%ef%bc%8e", "..%5c.."]
SLASHES = ["/", "%2f", "%252f", "%5c", "\\", "%c0%af", "%e0%80%af", "//", "/./", "/%2e/", "%2f%2f", "%ef%bc%8f", ";/", "%00/"]
FRONTS = ["", "a/", "/", "%2f", "file:", "file:%2f%2f", "file:%2f%2f%2f", "mlflow-artifacts:/", "1/", "%5c"]


def climbing_paths():
    for step in STEPS:
        for slash in SLASHES:
            for depth in (1, 2, 3):
                yield slash.join([step] * depth + ["canary"])
    for front in FRONTS:
        for depth in range(1, 6):
            yield front + "../" * depth + "canary"
            yield front + "%2e%2e%2f" * depth + "canary"
            yield front + "a/" * depth + "../" * (depth + 1) + "canary"


class HostileClients(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.s = Service(WINNOW)

    @classmethod
    def tearDownClass(cls):
        cls.s.close()

    def talk(self, data, timeout=20):
        """Everything that is answered until the service closes."""
        with socket.create_connection(("127.0.0.1", self.s.port), timeout=timeout) as sock:
            try:
                sock.sendall(data)
            except OSError:
                pass  # refused before all was sent
            answer = b""
            try:
                while part := sock.recv(65536):
                    answer += part
            except ConnectionResetError:
                pass
        return answer

    def test_what_is_malformed_is_refused_and_ends_the_connection(self):
        for name, (data, statuses) in MALFORMED.items():
            with self.subTest(name):
                answer = self.talk(data + b"GET /smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n")
                self.assertRegex(answer[:13], rb"^HTTP/1\.1 \d\d\d ", name)
                self.assertIn(int(answer[9:12]), statuses, answer[:600])
                self.assertEqual(len(re.findall(rb"HTTP/1\.1 \d\d\d ", answer)), 1, answer[:1000])
                self.assertIn(b"connection: close", answer.lower())
        self.assertNotIn("smuggled", self.s.log())
        self.assertEqual(self.s.get("/health", unix=False).status, 200)

    def test_what_is_odd_but_lawful_works(self):
        for name, data in {
            "absolute form": GET.replace(b"/health", b"http://localhost/health") + b"Connection: close\r\n\r\n",
            "HTTP/1.0 without host": b"GET /health HTTP/1.0\r\n\r\n",
            "tabs around a value": GET + b"X-A:\t b \t\r\nConnection:\tclose\r\n\r\n",
        }.items():
            with self.subTest(name):
                answer = self.talk(data)
                self.assertIn(answer[9:12], (b"200", b"400", b"421") if "without host" in name else (b"200",), answer[:300])
        # The host of an absolute target counts, not the header beside it.
        answer = self.talk(GET.replace(b"/health", b"http://evil.example/health") + b"Connection: close\r\n\r\n")
        self.assertIn(answer[9:12], (b"400", b"421"), answer[:300])
        # A bad escape is no doubt about where the request ends.
        answer = self.talk(GET.replace(b"/health", b"/%zz") + b"\r\n" + GET + b"Connection: close\r\n\r\n")
        self.assertEqual(re.findall(rb"HTTP/1\.1 (\d\d\d) ", answer), [b"400", b"200"])

    def worked(self):
        """Seconds that the service has computed."""
        words = pathlib.Path(f"/proc/{self.s.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")

    def test_json_that_is_a_weapon(self):
        deep = 100000
        bombs = {
            "deep arrays": b"[" * deep + b"]" * deep,
            "deep objects": b'{"a":' * deep + b"1" + b"}" * deep,
            "deep and unfinished": b"[" * deep,
            "a number beyond doubles": b'{"name": 1e400}',
            "a long number": b'{"name": ' + b"9" * 100000 + b"}",
            "a lone surrogate": b'{"name": "\\ud800"}',
            "a NUL, escaped": b'{"name": "a\\u0000b"}',
            "a NUL": b'{"name": "a\0b"}',
            "a key twice": b'{"name": "a", "name": "b"}',
            "bytes that are no UTF-8": b'{"name": "\xff\xfe"}',
            "overlong UTF-8": b'{"name": "\xc0\xae"}',
            "a surrogate in UTF-8": b'{"name": "\xed\xa0\x80"}',
            "a text of 30 MB": b'{"name": "' + b"a" * 30000000 + b'"}',
            "many keys": b"{" + b",".join(b'"k%d":1' % i for i in range(100000)) + b"}",
            "no JSON": b"<xml/>",
            "nothing": b"",
            "NaN": b'{"name": NaN}',
            "more after the end": b'{"name": "x"} {"name": "y"}',
            "a byte order mark": b"\xef\xbb\xbf{",
        }
        for route in ("/api/v1/tokens", "/api/2.0/mlflow/experiments/create", "/api/2.0/mlflow/runs/log-batch", "/api/2.0/mlflow/runs/search"):
            for name, body in bombs.items():
                with self.subTest(f"{name} to {route}"):
                    before = self.worked()
                    try:
                        answer = self.s.post(route, body, headers={"Content-Type": "application/json"}, timeout=60)
                    except (BrokenPipeError, ConnectionResetError):
                        self.assertGreater(len(body), 1000000)  # refused by its length, while we were still sending
                        continue
                    finally:
                        self.assertLess(self.worked() - before, 2)
                    # The MLflow API passes over what it does not know.
                    lawful = route.endswith(("search", "log-batch")) and name in ("nothing", "many keys", "a text of 30 MB")
                    self.assertTrue(400 <= answer.status < 500 or (lawful and answer.status == 200), answer)
        self.assertEqual(self.s.get("/health", unix=False).status, 200)
        self.assertEqual([item["name"] for item in self.s.get("/api/v1/tokens").json["items"]], [])

    def test_paths_do_not_lead_out_of_the_artifacts(self):
        """Reading, listing, writing and removing, by every spelling: what lies outside is neither told nor touched."""
        run = self.s.post("/api/2.0/mlflow/runs/create", {"experiment_id": "0"}).json["run"]["info"]["run_id"]
        secret = b"canary-7b1f"
        artifacts = self.s.data / "artifacts"
        artifacts.mkdir(exist_ok=True)
        places = [self.s.data / "canary", self.s.home / "canary", pathlib.Path("/tmp/canary"), self.s.data / "a" / "canary"]
        places = [place for place in places if not place.exists() and place.parent.exists()]
        for place in places:
            place.write_bytes(secret)
        self.addCleanup(lambda: [place.unlink(missing_ok=True) for place in places])
        (artifacts / "link").symlink_to(self.s.data)
        paths = list(climbing_paths()) + ["link/canary", "link/admin.token", "link", f"0/{run}/artifacts/../../../link/canary", str(self.s.data / "canary")]
        self.assertGreater(len(paths), 900)
        before = self.outside()
        connection = UnixConnection(str(self.s.data / "winnow.sock"))
        store = "/api/2.0/mlflow-artifacts/artifacts"
        for i, path in enumerate(paths if LONG else paths[::3] + paths[-5:]):
            quoted = path.replace("&", "%26").replace(" ", "%20").replace("#", "%23").replace("+", "%2b")
            tries = [("GET", f"{store}/{path}", None), ("GET", f"{store}?path={quoted}", None), ("GET", f"/get-artifact?run_uuid={run}&path={quoted}", None),
                     ("GET", f"/api/2.0/mlflow/artifacts/list?run_id={run}&path={quoted}", None), ("PUT", f"{store}/{path}", b"broken in"),
                     ("DELETE", f"{store}/{path}", None), ("POST", f"/api/2.0/mlflow/upload-artifact?run_uuid={run}&path={quoted}", b"broken in"),
                     ("POST", f"/api/2.0/mlflow-artifacts/mpu/create/{path}", b'{"path": "x", "num_parts": 1}')]
            for method, target, body in tries:
                answer = self.ask(connection, method, target, body)
                self.assertNotIn(secret, answer.body, (method, target))
                self.assertNotIn(self.s.token.encode(), answer.body, (method, target))
                self.assertLess(answer.status, 500, (method, target, answer))
                self.assertNotIn(str(self.s.home).encode(), answer.body.replace(path.encode("latin-1", "replace"), b""), (method, target))
        connection.close()
        self.assertEqual(self.outside(), before)
        for place in places:
            self.assertEqual(place.read_bytes(), secret, place)

    def ask(self, connection, method, target, body):
        connection.putrequest(method, target.encode("latin-1", "replace").decode("latin-1"), skip_accept_encoding=True)
        if body is not None:
            connection.putheader("Content-Length", str(len(body)))
        connection.endheaders(body)
        answer = connection.getresponse()
        result = Answer(answer.status, answer.headers, answer.read())
        if answer.will_close:
            connection.close()
        return result

    def outside(self):
        """Every file of ours that is no artifact and not the database's or a log."""
        found = []
        for folder, folders, files in os.walk(self.s.home):
            folders[:] = [name for name in folders if name not in ("pg", "artifacts")]
            found += [os.path.join(folder, name) for name in files + folders if not name.startswith(("log", "pg"))]
        return sorted(found)

    def test_other_sites_are_refused_on_every_route(self):
        """With the best credential there is, over both sockets: a foreign name or page gets nothing, and changes nothing."""
        api = self.s.get("/api/v1/openapi.json").json
        bearer = {"Authorization": f"Bearer {self.s.token}"}
        own = f"127.0.0.1:{self.s.port}"
        tcp = http.client.HTTPConnection("127.0.0.1", self.s.port, timeout=30)
        over_unix = UnixConnection(str(self.s.data / "winnow.sock"))
        for path, operations in api["paths"].items():
            target = path.replace("{", "").replace("}", "")
            for method in sorted({*operations, "get", "head", "options", "post", "delete", "patch", "trace", "brew"}):
                unsafe = method not in ("get", "head", "options")
                tries = [(tcp, {"Host": "evil.example"}), (tcp, {"Host": "localhost.evil.example:7070"}), (tcp, {"Host": own, "Origin": "http://evil.example"}),
                         (tcp, {"Host": own, "Origin": f"http://{own}.evil.example"}), (tcp, {"Host": own, "Origin": "null"}),
                         (over_unix, {"Host": "localhost", "Origin": "http://evil.example"})]
                if unsafe:
                    tries += [(tcp, {"Host": own, "Sec-Fetch-Site": "cross-site"}), (tcp, {"Host": own, "Sec-Fetch-Site": "same-site"})]
                for connection, headers in tries if LONG else tries[:: 1 if unsafe else 2]:
                    connection.request(method.upper(), target, headers={**headers, **bearer})
                    answer = connection.getresponse()
                    answer.read()
                    if answer.will_close:
                        connection.close()
                    self.assertIn(answer.status, (403, 421, 501) if method in ("trace", "brew") else (403, 421), f"{method} {target} {headers}")
        tcp.close()
        over_unix.close()
        self.assertIsNone(self.s.process.poll())

    def test_descriptors_run_out(self):
        """At the limit it goes on, also when the database dies just then; after it, as if nothing had been."""
        soft, hard = resource.prlimit(self.s.process.pid, resource.RLIMIT_NOFILE)
        used = len(os.listdir(f"/proc/{self.s.process.pid}/fd"))
        resource.prlimit(self.s.process.pid, resource.RLIMIT_NOFILE, (used + 60, hard))  # Postgres inherits it, and needs about as many
        sockets = []
        try:
            for _ in range(200):
                sock = socket.create_connection(("127.0.0.1", self.s.port), timeout=20)
                sock.sendall(b"GET /health HTTP/1.1\r\nHost: loc")
                sockets.append(sock)
            time.sleep(0.5)
            self.assertIsNone(self.s.process.poll())
            os.kill(next(pid for pid in self.s.postgres() if pid in children(self.s.process.pid)), signal.SIGKILL)
            time.sleep(2)
            self.assertIsNone(self.s.process.poll(), self.s.log()[-2000:])
        finally:
            for sock in sockets:
                sock.close()
        wait(lambda: self.s.get("/health", unix=False, timeout=10).status == 200, "an answer")
        wait(lambda: self.s.get("/api/v1/status").json["state"] == "ok" and self.s.get("/api/v1/tokens").status == 200, "the database")
        resource.prlimit(self.s.process.pid, resource.RLIMIT_NOFILE, (soft, hard))
        wait(lambda: len(os.listdir(f"/proc/{self.s.process.pid}/fd")) <= used + 10, "the end of all connections")
        # It was tried again four times a second; the log says when it began and when it was over.
        wait(lambda: self.s.get("/health", unix=False).status == 200 and "accepting goes on" in self.s.log(), "the end of the pauses")
        self.assertLessEqual(self.s.log().count("accepting pauses"), 2, self.s.log()[-3000:])


class OwnDatabase(unittest.TestCase):
    """With the private Postgres."""

    def fill(self, disk, left):
        with open(disk / "ballast", "wb", buffering=0) as ballast:
            try:
                while left < (room := os.statvfs(disk)).f_bavail * room.f_frsize or not left:
                    ballast.write(bytes(1 << 16))
            except OSError:
                pass

    def test_a_full_disk(self):
        """Reads go on, writes are told so, and all is well by itself when there is space again."""
        disk = small_disk(self, 320 << 20)
        with Service(WINNOW, data=disk / "data") as s:
            self.assertEqual(s.post("/api/v1/tokens", {"name": "before"}).status, 201)
            # Filled by others to the brim; and by our own writes, which need a new file of the database's log on the way.
            for left in (0, 80 << 20):
                self.fill(disk, left)
                refused = self.write_until_refused(s)
                self.assertIn(refused.status, (503, 507), refused)
                self.assertTrue(refused.headers["Retry-After"], refused)
                # It looks at each of its directories at another time, and of one disk says what matters most.
                status = wait(lambda: (now := s.get("/api/v1/status").json)["state"] == "degraded" and "the database" in now["trouble"][0]["detail"] and now,
                              "the service to say so")
                self.assertEqual([t["place"].startswith(str(disk)) for t in status["trouble"]], [True], status)  # one disk, told once
                self.assertRegex(status["trouble"][0]["detail"] + status["trouble"][0]["hint"], "disk of the database .* refused.*winnow admin purge")
                self.assertEqual(s.get("/health").body, b"OK")
                for _ in range(20):
                    self.assertEqual(s.get("/api/v1/tokens").json["items"][0]["name"], "before")
                    self.assertEqual(s.get("/api/2.0/mlflow/experiments/search?max_results=1").status, 200)
                    time.sleep(0.05)
                (disk / "ballast").unlink()
                wait(lambda: s.post("/api/2.0/mlflow/experiments/create", {"name": f"after {left}"}).status == 200, "recovery")
                wait(lambda: s.get("/api/v1/status").json["state"] == "ok", "the service to say so")
            self.assertNotIn("PANIC", (s.data / "pg.log").read_text())
            s.stop()

    def write_until_refused(self, s):
        for _ in range(2000):
            tags = [{"key": f"t{k}", "value": os.urandom(2400).hex()} for k in range(20)]
            answer = s.post("/api/2.0/mlflow/experiments/create", {"name": os.urandom(8).hex(), "tags": tags})
            if answer.status != 200:
                return answer
        raise AssertionError("the disk did not become full")

    def test_a_full_disk_of_artifacts(self):
        """The database has room: writing goes on, and status and doctor say which disk is full."""
        disk = small_disk(self, 24 << 20)
        with Service(WINNOW, arguments=["--artifacts-destination", str(disk)]) as s:
            env = {**os.environ, "WINNOW_URL": f"unix:{s.data}/winnow.sock"}
            say = lambda *words: subprocess.run([str(WINNOW), *words], capture_output=True, text=True, timeout=60, env=env).stdout
            self.fill(disk, 1 << 20)
            self.assertEqual(wait(lambda: s.get("/api/v1/status").json["trouble"], "the service to say so")[0]["place"], str(disk))
            self.assertEqual([t["place"] for t in s.get("/api/v1/status", unix=False).json["trouble"]], [None])  # not to strangers
            self.assertRegex(say("status"), f"(?m)^State +degraded\nTrouble +the disk of artifacts is almost full, .* are left: .* \\({disk}\\); make room there")
            self.assertRegex(say("doctor"), f"(?m)^trouble +wrong +the disk of artifacts")
            self.assertEqual(s.post("/api/v1/tokens", {"name": "all the same"}).status, 201)
            (disk / "ballast").unlink()
            wait(lambda: s.get("/api/v1/status").json["state"] == "ok", "the service to say so")
            self.assertNotIn("Trouble", say("status"))

    def test_what_a_job_says_of_a_full_disk_is_kept(self):
        """Its output lies on the disk that it has filled."""
        disk = small_disk(self, 24 << 20, "data", "jobs")
        with Service(WINNOW, data=disk.parent) as s:
            script = "cat /dev/zero > fill; yes 'so long' | head -n 3000; echo goodbye >&2; exit 3"
            run = s.post("/api/v1/runs", {"command": ["sh", "-c", script]}).json["id"]
            over = wait(lambda: (now := s.get(f"/api/v1/runs/{run}").json)["state"] == "FAILED" and now, "its end")
            self.assertEqual(over["exit_code"], 3)
            self.assertEqual(s.get(f"/api/v1/runs/{run}/logs/stdout").body, b"so long\n" * 3000)
            self.assertRegex(s.get(f"/api/v1/runs/{run}/logs/stderr").body, b"(?s)No space left on device.*goodbye\n$")

    def test_a_disk_that_becomes_full_in_the_middle_of_an_upload(self):
        """The client is told, nothing is left, and what fits is stored as before."""
        disk = small_disk(self, 24 << 20)
        with Service(WINNOW, arguments=["--artifacts-destination", str(disk)]) as s:
            run = s.post("/api/2.0/mlflow/runs/create", {}).json["run"]["info"]["run_id"]

            def part():
                url = s.post(f"/api/2.0/mlflow-artifacts/mpu/create/0/{run}", {"path": "x", "num_parts": 1}).json["credentials"][0]["url"]
                return url[url.index("/api"):]

            for place in (lambda: f"/api/v1/runs/{run}/artifacts/big", lambda: f"/api/2.0/mlflow-artifacts/artifacts/0/{run}/artifacts/big", part):
                path = place()
                refused = s.request("PUT", path, os.urandom(1 << 20) * 30, unix=False)
                self.assertEqual(refused.status, 507, refused)
                wait(lambda: not [p for p in disk.rglob("*") if p.is_file()], "removal")
                self.assertLess(s.request("PUT", path, os.urandom(1 << 20) * 5, unix=False).status, 300)
                self.assertEqual(sum(p.stat().st_size for p in disk.rglob("*") if p.is_file()), 5 << 20)
                for p in disk.iterdir():
                    shutil.rmtree(p)
            s.stop()

    def freeze(self, s):
        """SIGSTOP for all of its Postgres; returns the processes, the server first."""
        server = next(pid for pid in s.postgres() if pid in children(s.process.pid))
        os.kill(server, signal.SIGSTOP)  # first, so that it begins no other one
        wait(lambda: is_stopped(server), "its stop")
        frozen = [server]
        for pid in children(server):
            try:
                os.kill(pid, signal.SIGSTOP)
                frozen.append(pid)
            except ProcessLookupError:
                pass  # it was about to end
        return frozen

    def test_stopped_postgres(self):
        """SIGSTOP: the service says so within seconds, tells off who asks, and all is well after SIGCONT."""
        with Service(WINNOW) as s:
            frozen = self.freeze(s)
            try:
                before = time.time()
                answers = []
                asks = [lambda: s.post("/api/v1/tokens", {"name": "x"}), lambda: s.get("/api/v1/tokens"),
                        lambda: s.post("/api/2.0/mlflow/experiments/create", {"name": "x"}),
                        lambda: s.get("/api/2.0/mlflow/experiments/search?max_results=1")]
                clients = [threading.Thread(target=lambda ask=ask: answers.append(ask())) for ask in asks]
                for client in clients:
                    client.start()
                while s.get("/api/v1/status").json["state"] == "ok":
                    self.assertEqual(s.get("/health", unix=False, timeout=5).status, 200)
                    self.assertLess(time.time() - before, 20)  # a statement's own deadline is 30 s
                    time.sleep(0.1)
                for client in clients:
                    client.join()
                self.assertLess(time.time() - before, 20)
                self.assertEqual([(answer.status, answer.headers["Retry-After"]) for answer in answers], [(503, "1")] * len(asks))
                for ask in asks[:2]:  # who comes later waits a moment for it to come back, no longer
                    asked = time.time()
                    self.assertEqual(ask().status, 503)
                    self.assertLess(time.time() - asked, 20)
            finally:
                for pid in frozen:
                    os.kill(pid, signal.SIGCONT)
            wait(lambda: s.get("/api/v1/status").json["state"] == "ok" and s.post("/api/v1/tokens", {"name": "y"}).status == 201, "recovery")
            s.stop()

    def test_stopped_postgres_does_not_keep_the_service_from_its_end(self):
        with Service(WINNOW) as s:
            self.assertEqual(s.post("/api/v1/tokens", {"name": "kept"}).status, 201)
            frozen = self.freeze(s)
            s.stop()
            self.assertEqual([pid for pid in frozen if is_running(pid)], [])
            s.start()
            # Neither what a kill of the service leaves is in the way of the next, nor what a kill of both does.
            for kills_both in (False, True):
                frozen = self.freeze(s)
                s.kill()
                if kills_both:
                    os.kill(frozen[0], signal.SIGKILL)
                s.start()
                self.assertEqual([pid for pid in frozen if is_running(pid)], [])
            # And with the service there: a server that was killed while a part of it hung.
            frozen = self.freeze(s)
            os.kill(frozen[0], signal.SIGKILL)
            wait(lambda: s.get("/api/v1/tokens").status == 200 and len(s.postgres()) == 1, "recovery")
            self.assertEqual([item["name"] for item in s.get("/api/v1/tokens").json["items"]], ["kept"])
            s.stop()

    def test_ended_before_it_listens(self):
        """A SIGTERM that comes before there is a loop to hear it is heard."""
        with Service(WINNOW) as s:
            s.stop()
            for i in range(40):
                s.spawn()
                time.sleep(0.0005 * i)
                s.process.send_signal(signal.SIGTERM)
                try:
                    s.process.wait(60)
                except subprocess.TimeoutExpired:
                    self.fail(s.log()[-3000:])
            s.start()

    def test_ended_while_it_starts(self):
        """SIGTERM at any moment of the first start: an orderly end, nothing left behind, and the next start is as good as any."""
        with Service(WINNOW, start=False) as s:
            for i in range(30 if LONG else 6):
                s.spawn()
                time.sleep(0.03 + 0.15 * (i % 10))
                s.process.send_signal(signal.SIGTERM)
                try:
                    self.assertIn(s.process.wait(60), (0, -signal.SIGTERM), s.log()[-2000:])
                except subprocess.TimeoutExpired:
                    self.fail(s.log()[-3000:])
                self.assertEqual(s.postgres(), [])
            s.start()
            self.assertEqual(s.post("/api/v1/tokens", {"name": "x"}).status, 201)
            s.stop()

    def test_killed_while_it_makes_its_cluster(self):
        """kill -9 during initdb and after: what is half made is not in the way."""
        with Service(WINNOW, start=False) as s:
            without_template(self)
            for i in range(30 if LONG else 6):
                s.spawn()
                time.sleep(0.05 + 0.25 * (i % 10))
                s.kill()
            s.start()
            self.assertEqual(s.post("/api/v1/tokens", {"name": "x"}).status, 201)
            s.stop()
            self.assertEqual([path.name for path in s.data.iterdir() if path.name.startswith("pg.") and path.is_dir()], [])

    def test_a_closed_directory(self):
        """A data directory that only its owner can enter, removed and made again, with a template and without: all of it lies in it."""
        for how in ("template", "initdb"):
            if how == "initdb":
                without_template(self)
            with Service(WINNOW, start=False) as s:
                s.home.chmod(0o700)
                for i in range(3):
                    s.start()
                    self.assertEqual(s.post("/api/v1/experiments", {"name": "x"}).status, 409 if i == 2 else 201)
                    s.kill_postgres()
                    s.stop()
                    self.assertEqual(((s.data / "pg" / "PG_VERSION").exists(), (s.data / "pg.location").exists()), (True, False))
                    if i == 0:
                        shutil.rmtree(s.data)

    def test_a_copy_is_still_written_to(self):
        """The service that copied the template was killed, its copier writes on."""
        self.half_made_and_written_to(".new.copy")

    def test_initdb_still_writes(self):
        """The service and initdb are gone, the server that initdb ran is not yet: its files are cleared away once it has ended."""
        if os.geteuid() != 0:
            self.skipTest("only root can hide the template")
        without_template(self)
        self.half_made_and_written_to(".new.init")

    def half_made_and_written_to(self, ending):
        with Service(WINNOW) as s:
            s.stop()
            cluster = s.data / "pg"
            shutil.rmtree(cluster)
            half_made = cluster.with_name(cluster.name + ending)
            files = half_made / "data" / "base" / "5"
            files.mkdir(parents=True)
            script = "import os, time\nend = time.monotonic() + 2\nfor i in range(10**9):\n"
            script += " os.close(os.open(str(i), os.O_CREAT | os.O_WRONLY))\n if time.monotonic() > end: break\n"
            writer = subprocess.Popen([sys.executable, "-c", script], cwd=files, stderr=subprocess.DEVNULL)
            # A child of the initdb that was killed which is not a server yet: it knows its path, and nobody knows it.
            script = f"import pathlib, time\nwhile True:\n time.sleep(0.001)\n try: pathlib.Path('{half_made}/data/not-ours').touch()\n except OSError: pass\n"
            late = subprocess.Popen([sys.executable, "-c", script])
            self.addCleanup(late.wait)
            self.addCleanup(late.kill)
            wait(lambda: (files / "0").exists() and (half_made / "data/not-ours").exists(), "those who write")
            s.start()
            writer.wait(60)  # also by itself, when its directory has gone
            s.stop()
            self.assertFalse(half_made.exists())
            self.assertFalse((cluster / "not-ours").exists())


def without_template(test):
    """For root only: a start runs initdb."""
    if os.geteuid() == 0:
        pathlib.Path("/var/cache/winnow").mkdir(parents=True, exist_ok=True)
        small_disk(test, 1 << 20)
        ctypes.CDLL(None).mount(b"tmpfs", b"/var/cache/winnow", b"tmpfs", 0, b"size=64k,mode=755")
        test.addCleanup(ctypes.CDLL(None).umount2, b"/var/cache/winnow", 2)


def is_stopped(pid):
    return pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "T"


def is_running(pid):
    """Also when nobody has asked how it ended, it is over."""
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def children(pid):
    return [int(one) for one in pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


if __name__ == "__main__":
    unittest.main(verbosity=2)
