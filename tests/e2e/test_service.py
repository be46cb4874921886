#!/usr/bin/env python3
"""The service from outside: its life, its doors, its bad days."""
import contextlib, hashlib, http.client, os, pathlib, signal, socket, subprocess, sys, tempfile, threading, time, unittest

WINNOW = pathlib.Path(sys.argv.pop(1)).resolve()
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from service import Service, processes_with, wait  # noqa: E402

LONG = bool(os.environ.get("WINNOW_TEST_LONG"))


def run(*arguments, **kw):
    return subprocess.run([WINNOW, *map(str, arguments)], capture_output=True, text=True, timeout=120, **kw)


class Running(unittest.TestCase):
    """What needs one healthy service."""

    @classmethod
    def setUpClass(cls):
        cls.s = Service(WINNOW)

    @classmethod
    def tearDownClass(cls):
        cls.s.close()

    def test_status_health_and_descriptions(self):
        self.assertEqual(self.s.get("/health").body, b"OK")
        status = self.s.get("/api/v1/status", unix=False).json
        self.assertEqual((status["name"], status["state"], status["you"]["scope"]), ("winnow", "ok", "none"))
        self.assertIsNone(status["data_dir"])
        self.assertEqual(self.s.get("/api/v1/status").json["data_dir"], str(self.s.data))
        api = self.s.get("/api/v1/openapi.json").json
        self.assertEqual((api["openapi"], api["info"]["license"]["identifier"]), ("3.1.0", "GPL-3.0-or-later"))
        self.assertIn("/api/v1/status", api["paths"])
        self.assertIn(b"winnow_http_requests_total", self.s.get("/metrics").body)
        for page in ("/", "/docs"):
            answer = self.s.get(page, unix=False)
            self.assertIn(b"<title>Winnow", answer.body)
            self.assertIn("default-src 'none'", answer.headers["Content-Security-Policy"])
            self.assertNotIn(b"http://", answer.body.replace(self.s.url.encode(), b""))  # nothing from outside

    def test_every_reference_of_the_description_is_there(self):
        api = self.s.get("/api/v1/openapi.json").json
        names = set(api["components"]["schemas"])

        def walk(value):
            if isinstance(value, dict):
                if "$ref" in value:
                    self.assertIn(value["$ref"].rsplit("/", 1)[1], names)
                for item in value.values():
                    walk(item)
            elif isinstance(value, list):
                for item in value:
                    walk(item)

        walk(api)

    def test_tokens_are_shown_once_scoped_and_revocable(self):
        made = self.s.post("/api/v1/tokens", {"name": "ci", "scopes": ["read"]})
        self.assertEqual(made.status, 201)
        token = made.json["token"]
        bearer = {"Authorization": f"Bearer {token}"}
        self.assertEqual(self.s.get("/api/v1/status", unix=False, headers=bearer).json["you"], {"name": "token ci", "scope": "read"})
        self.assertEqual(self.s.get("/api/v1/tokens", unix=False, headers=bearer).status, 403)
        listed = self.s.get("/api/v1/tokens").json["items"]
        self.assertIn(made.json["id"], [item["id"] for item in listed])
        self.assertNotIn(token, str(listed))
        self.assertEqual(self.s.request("DELETE", f"/api/v1/tokens/{made.json['id']}").status, 204)
        self.assertEqual(self.s.get("/api/v1/status", unix=False, headers=bearer).status, 401)
        self.assertEqual(self.s.request("DELETE", f"/api/v1/tokens/{'0' * 32}").status, 404)
        self.assertEqual(self.s.post("/api/v1/tokens", {"name": "x", "scopes": ["root"]}).status, 400)
        self.assertEqual(self.s.post("/api/v1/tokens", {"name": "x", "expires": 1000}).status, 400)
        me = self.s.get("/api/v1/whoami").json
        self.assertEqual((me["via"], me["scopes"], me["token_id"]), ("socket", ["admin"], None))
        answer = self.s.post("/api/v1/tokens", {"nam": "x"})
        self.assertEqual((answer.status, answer.json["code"]), (400, "invalid"))
        self.assertIn("name", answer.json["hint"])

    def test_an_expired_token_is_refused(self):
        # Refused where that moment has passed before it is asked for.
        made = wait(lambda: (a := self.s.post("/api/v1/tokens", {"name": "short", "expires": int(time.time() * 1000) + 3000})).status == 201 and a.json, "a token")
        bearer = {"Authorization": f"Bearer {made['token']}"}
        wait(lambda: self.s.get("/api/v1/status", unix=False, headers=bearer).status == 401, "expiry")

    def test_the_page_opens_by_a_link_that_works_once(self):
        self.assertEqual(self.s.post("/api/v1/login-links", unix=False).status, 401)
        link = self.s.post("/api/v1/login-links").json["path"]
        self.assertNotIn("Set-Cookie", self.s.request("HEAD", link, unix=False).headers)  # looking at it does not use it up
        opened = self.s.get(link, unix=False)
        self.assertEqual(opened.status, 303)
        cookie = opened.headers["Set-Cookie"]
        self.assertIn("HttpOnly", cookie)
        self.assertIn("SameSite=Strict", cookie)
        session = {"Cookie": cookie.split(";")[0]}
        self.assertEqual(self.s.get("/api/v1/status", unix=False, headers=session).json["you"]["scope"], "admin")
        self.assertEqual(self.s.get(link, unix=False).status, 404)

    def test_a_session_ends_with_the_credential_that_opened_it(self):
        for life in (4, 20, 100):  # seconds; again where a slow machine has needed more for all of this
            expires = int(time.time() * 1000) + life * 1000
            token = self.s.post("/api/v1/tokens", {"name": "brief", "expires": expires}).json.get("token")
            link = self.s.post("/api/v1/login-links", unix=False, headers={"Authorization": f"Bearer {token}"}).json.get("path", "/")
            session = {"Cookie": self.s.get(link, unix=False).headers.get("Set-Cookie", "").split(";")[0]}
            who = self.s.get("/api/v1/whoami", unix=False, headers=session).json
            if time.time() * 1000 < expires:
                break
        self.assertEqual((who["via"], who["scopes"]), ("session", ["read"]))
        wait(lambda: self.s.get("/api/v1/whoami", unix=False, headers=session).json["via"] == "nothing", "the session's end", 120)

    def test_a_revoked_token_ends_the_sessions_it_opened(self):
        made = self.s.post("/api/v1/tokens", {"name": "revoked", "scopes": ["write"]}).json
        bearer = {"Authorization": f"Bearer {made['token']}"}

        def link(headers):
            return self.s.post("/api/v1/login-links", unix=False, headers=headers).json["path"]

        def session(path):
            return {"Cookie": self.s.get(path, unix=False).headers["Set-Cookie"].split(";")[0]}

        first = session(link(bearer))
        second = session(link(first))  # opened from within the first
        other = session(self.s.post("/api/v1/login-links").json["path"])
        unused = link(bearer)
        ways = lambda: [self.s.get("/api/v1/whoami", unix=False, headers=h).json["via"] for h in (first, second, other)]  # noqa: E731
        self.assertEqual(ways(), ["session"] * 3)
        listening = http.client.HTTPConnection("127.0.0.1", self.s.port, timeout=30)
        listening.request("GET", "/api/v1/events?topic=queue", headers=first)
        stream = listening.getresponse()
        self.assertIn(b"retry", stream.readline() + stream.readline())
        self.assertEqual(self.s.request("DELETE", f"/api/v1/tokens/{made['id']}").status, 204)
        self.assertEqual(ways(), ["nothing", "nothing", "session"])
        self.assertEqual(self.s.get(unused, unix=False).status, 404)
        stream.read()  # what it listened to ends, at the latest with the next sign of life
        listening.close()
        self.s.stop()
        self.s.start()
        self.assertEqual(ways(), ["nothing", "nothing", "session"])

    def test_a_session_that_is_being_made_ends_with_its_token(self):
        """Revoked while the session is stored: the statement of the one is held while that of the other is answered."""
        waiting = lambda: int(self.s.sql("select count(*) from pg_stat_activity where wait_event_type = 'Lock' and query ~ '\\mtoken\\M'"))  # noqa: E731
        self.s.sql("create function winnow.held() returns trigger language plpgsql as $$ begin perform pg_advisory_xact_lock(1); return new; end $$")
        self.s.sql("create trigger held before insert on winnow.token for each row when (new.parent is not null) execute function winnow.held()")
        secrets = []
        for hold in ("session", "revocation"):
            made = self.s.post("/api/v1/tokens", {"name": "going", "scopes": ["admin"]}).json
            link = self.s.post("/api/v1/login-links", unix=False, headers={"Authorization": f"Bearer {made['token']}"}).json["path"]
            ways = {
                "session": lambda: self.s.get(link, unix=False),  # noqa: B023
                "revocation": lambda: self.s.request("DELETE", f"/api/v1/tokens/{made['id']}"),  # noqa: B023
            }
            # A row that is only locked is updated as the statement found it at its beginning: without the session that came meanwhile.
            locks = {
                "session": "select 'locked', pg_advisory_lock(1)",
                "revocation": f"select 'locked' from winnow.token where id = '{made['id']}' for no key update",
            }
            lock = subprocess.Popen(self.s.psql(), env=self.s.psql_env(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            lock.stdin.write(f"begin; {locks[hold]};\n")
            lock.stdin.flush()
            self.assertIn("locked", lock.stdout.readline())
            answers = {}
            held = threading.Thread(target=lambda: answers.update({hold: ways[hold]()}))  # noqa: B023
            held.start()
            wait(lambda: waiting() == 1, "the statement")
            other = next(way for way in ways if way != hold)
            answers[other] = ways[other]()
            lock.communicate()
            held.join()
            self.assertEqual(answers["revocation"].status, 204)
            self.assertEqual(answers["session"].status, 404 if hold == "session" else 303)
            if hold == "revocation":
                given = {"Cookie": answers["session"].headers["Set-Cookie"].split(";")[0]}
                self.assertEqual(self.s.get("/api/v1/whoami", unix=False, headers=given).json["via"], "nothing")
            # The database has it, as the revocation has not seen it; it opens nothing after a start either.
            stored = f"revoked is null and parent = '{made['id']}'"
            self.assertEqual(self.s.sql(f"select count(*) from winnow.token where {stored}"), "1", hold)
            secrets.append("wnw_" + hold[0] * 43)
            self.s.sql(f"update winnow.token set hash = '\\x{hashlib.sha256(secrets[-1].encode()).hexdigest()}' where {stored}")
        self.s.sql("drop function winnow.held() cascade")
        self.s.stop()
        self.s.start()
        for secret in secrets:
            session = {"Cookie": f"winnow_session={secret}"}
            self.assertEqual(self.s.get("/api/v1/whoami", unix=False, headers=session).json["via"], "nothing")

    def test_every_route_by_every_credential(self):
        """The expectation is computed from the policy that the description tells, the answer comes from the socket."""
        tokens = {scope: self.s.post("/api/v1/tokens", {"name": scope, "scopes": [scope]}).json["token"] for scope in ("read", "write", "submit", "admin")}
        rank = {None: 0, "read": 1, "write": 2, "submit": 3, "admin": 4}
        needs = {"public": 0, "read": 0, "track": 0, "curate": 0, "write": 2, "submit": 3, "admin": 4}
        api = self.s.get("/api/v1/openapi.json").json
        tried = 0
        for path, operations in api["paths"].items():
            for method, operation in operations.items():
                need = needs[operation["x-winnow-policy"]]
                target = path.replace("{", "").replace("}", "")
                if (method, path) == ("post", "/api/v1/shutdown"):
                    target += "?now=nonsense"  # 400 for who may
                for scope in (None, "bad", "read", "write", "submit", "admin"):
                    headers = {} if scope is None else {"Authorization": f"Bearer {tokens.get(scope, 'wnw_bad')}"}
                    answer = self.s.request(method.upper(), target, headers=headers, unix=False)
                    tried += 1
                    where = f"{method} {path} as {scope}: {answer}"
                    if scope == "bad":
                        self.assertEqual(answer.status, 401, where)
                    elif rank[scope] < need:
                        self.assertEqual(answer.status, 401 if scope is None else 403, where)
                    elif path != "/api/v1/login-links":
                        self.assertNotIn(answer.status, (401, 403), where)
                    if method == "get" and scope is None:
                        for headers in ({"Host": "evil.example"}, {"Origin": "http://evil.example"}, {"Origin": "null"}):
                            answer = self.s.request("GET", target, headers=headers, unix=False)
                            self.assertIn(answer.status, (403, 421), f"{path} {headers}: {answer}")
        self.assertGreater(tried, 30)

    def test_errors_are_problems_without_inside_knowledge(self):
        answer = self.s.get("/api/v1/nothing-here", headers={"X-Request-Id": "abc-123"})
        self.assertEqual(answer.status, 404)
        self.assertEqual(answer.headers["Content-Type"], "application/problem+json")
        self.assertEqual(set(answer.json), {"status", "code", "title", "detail", "hint", "errors", "request_id"})
        self.assertEqual(answer.headers["X-Request-Id"], answer.json["request_id"])
        answer = self.s.request("DELETE", "/api/v1/status")
        self.assertEqual((answer.status, answer.headers["Allow"]), (405, "GET, HEAD, OPTIONS"))

    def test_a_second_service_on_the_directory_is_refused(self):
        second = run("serve", "--data", self.s.data, "--listen", "127.0.0.1:0")
        self.assertNotEqual(second.returncode, 0)
        self.assertIn(f"another winnow (process {self.s.process.pid}) uses the directory", second.stderr)

    def test_a_port_that_is_taken_is_named(self):
        with tempfile.TemporaryDirectory(prefix="winnow-e2e-") as data:
            second = run("serve", "--data", data, "--listen", f"127.0.0.1:{self.s.port}")
            self.assertNotEqual(second.returncode, 0)
            self.assertIn(str(self.s.port), second.stderr)

    def test_slow_clients_do_not_block_others(self):
        count = 5000 if LONG else 300
        sockets = []
        try:
            for _ in range(count):
                sock = socket.create_connection(("127.0.0.1", self.s.port))
                sock.sendall(b"GET /api/v1/status HTTP/1.1\r\nHost: loc")
                sockets.append(sock)
            self.assertEqual(self.s.get("/api/v1/status", unix=False, timeout=10).status, 200)
        finally:
            for sock in sockets:
                sock.close()


class Life(unittest.TestCase):
    def test_stop_leaves_nothing_and_start_finds_everything(self):
        with Service(WINNOW) as s:
            token = s.post("/api/v1/tokens", {"name": "kept"}).json["id"]
            self.assertTrue(s.postgres())
            s.stop()
            self.assertEqual(s.postgres(), [])
            self.assertFalse((s.data / "winnow.sock").exists())
            s.start()
            self.assertIn(token, [item["id"] for item in s.get("/api/v1/tokens").json["items"]])

    def test_kill_leaves_no_postgres_and_the_next_start_recovers(self):
        """Nothing that was answered is lost, however often the service is killed while tokens are being made."""
        with Service(WINNOW) as s:
            acknowledged = []
            for _ in range(100 if LONG else 4):
                stop = threading.Event()

                def write():
                    while not stop.is_set():
                        try:
                            answer = s.post("/api/v1/tokens", {"name": "w"}, timeout=5)
                            if answer.status == 201:
                                acknowledged.append(answer.json["id"])
                        except Exception:
                            pass

                writers = [threading.Thread(target=write) for _ in range(4)]
                for writer in writers:
                    writer.start()
                before = len(acknowledged)
                wait(lambda: len(acknowledged) > before + 20, "writes")
                s.kill()
                stop.set()
                for writer in writers:
                    writer.join()
                wait(lambda: not s.postgres(), "the end of Postgres")
                s.start()
            kept, cursor = set(), ""
            while True:
                page = s.get(f"/api/v1/tokens?limit=1000{cursor}").json
                kept.update(item["id"] for item in page["items"])
                if not page["next"]:
                    break
                cursor = f"&cursor={page['next']}"
            self.assertEqual([one for one in acknowledged if one not in kept], [])

    def test_postgres_killed_comes_back_by_itself(self):
        with Service(WINNOW) as s:
            def postmaster():
                for pid in s.postgres():
                    with contextlib.suppress(OSError):  # its children come and go
                        if int(pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[1]) == s.process.pid:
                            return pid
            os.kill(wait(postmaster, "the postmaster"), signal.SIGKILL)
            self.assertEqual(s.get("/health").status, 200)
            wait(lambda: s.get("/api/v1/status").json["state"] == "ok" and s.get("/api/v1/tokens").status == 200, "recovery")

    def test_directories_that_are_hard_to_reach(self):
        with tempfile.TemporaryDirectory(prefix="winnow-e2e-") as parent:
            os.chmod(parent, 0o700)  # an unprivileged Postgres cannot pass here
            deep = pathlib.Path(parent) / ("d" * 75) / ("e" * 75)
            with Service(WINNOW, data=deep) as s:
                self.assertEqual(s.post("/api/v1/tokens", {"name": "x"}).status, 201)
                s.stop()
                s.start()
                self.assertEqual(len(s.get("/api/v1/tokens").json["items"]), 1)

    def test_mistakes_in_settings_name_place_and_remedy(self):
        with tempfile.TemporaryDirectory(prefix="winnow-e2e-") as data:
            path = pathlib.Path(data) / "winnow.conf"
            path.write_text("# settings\nlog-levl = debug\n")
            told = run("serve", "--data", data)
            self.assertNotEqual(told.returncode, 0)
            self.assertIn(f"{path}:2: unknown setting \"log-levl\"", told.stderr)
            self.assertIn("log-level", told.stderr)
            path.unlink()
            for arguments, word in (
                (["--listen", "0.0.0.0:0"], "--auth required"),
                (["--listen", "0.0.0.0:0", "--auth", "required"], "--tls-cert"),
                (["--listen", "nowhere"], "HOST:PORT"),
                (["--allow-users", "nobody-at-all-here"], "nobody-at-all-here"),
                (["--tls-cert", "/nonexistent", "--tls-key", "/nonexistent"], "/nonexistent"),
            ):
                told = run("serve", "--data", data, *arguments)
                self.assertNotEqual(told.returncode, 0, arguments)
                self.assertIn(word, told.stderr)
            for arguments, word in ((["--lisen", "x"], "did you mean listen?"), (["--listen"], "needs a value"), (["--slots=many"], "--slots"),
                                    (["data"], "no setting")):
                told = run("serve", *arguments)
                self.assertEqual(told.returncode, 2, told.stderr)
                self.assertIn(word, told.stderr)
            told = run("serve", "--data", data, "--listen", "127.0.0.1:0", "--db", "postgre://me:unspeakable@host/db")
            self.assertNotEqual(told.returncode, 0)
            self.assertIn("connection string is not understood", told.stderr)
            self.assertNotIn("unspeakable", told.stderr)

    def test_reload_changes_the_log_level(self):
        with Service(WINNOW) as s:
            (s.data / "winnow.conf").write_text("log-level = error\n")
            s.process.send_signal(signal.SIGHUP)
            wait(lambda: self.quiet(s), "the quiet log")
            (s.data / "winnow.conf").write_text("log-level = nonsense\n")
            s.process.send_signal(signal.SIGHUP)
            wait(lambda: "settings are kept as they were" in s.log(), "the refusal")
            self.assertEqual(s.get("/health").status, 200)

    def test_reload_changes_who_is_known_and_names_what_waits(self):
        with Service(WINNOW) as s:
            named = {"Host": "winnow.example"}
            self.assertEqual(s.get("/api/v1/status", unix=False, headers=named).status, 421)
            for text, status in (("host-names = other, winnow.example\nslots = 7\n", 200), ("allow-users = nobody-at-all-here\n", 200), ("", 421)):
                (s.data / "winnow.conf").write_text(text)
                before = s.log().count("SIGHUP: ")
                s.process.send_signal(signal.SIGHUP)
                wait(lambda: s.log().count("SIGHUP: ") > before, "the reload")
                wait(lambda: s.get("/api/v1/status", unix=False, headers=named).status == status, text)
            self.assertIn("SIGHUP: slots = 7 takes effect at the next start", s.log())
            self.assertIn('settings are kept as they were: allow-users: there is no user "nobody-at-all-here"', s.log())

    def quiet(self, s):
        size = len(s.log())
        s.get("/health")
        time.sleep(0.1)
        return len(s.log()) == size

    def test_auth_required_asks_everywhere(self):
        with Service(WINNOW, arguments=["--auth", "required"]) as s:
            self.assertEqual(s.get("/health", unix=False).status, 200)
            self.assertEqual(s.get("/api/v1/status", unix=False).status, 401)
            answer = s.get("/api/v1/status", unix=False, headers={"Authorization": f"Bearer {s.token}"})
            self.assertEqual(answer.json["you"]["scope"], "admin")

    def test_tls_and_systemd_words(self):
        import ssl, urllib.request
        with tempfile.TemporaryDirectory(prefix="winnow-e2e-") as home:
            for name in ("", "next."):
                subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost", "-addext",
                                "subjectAltName=IP:127.0.0.1", "-keyout", f"{home}/{name}key", "-out", f"{home}/{name}cert"], check=True, capture_output=True)
            words = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            words.bind(f"{home}/notify")
            words.settimeout(60)
            with Service(WINNOW, arguments=["--tls-cert", f"{home}/cert", "--tls-key", f"{home}/key"], env={"NOTIFY_SOCKET": f"{home}/notify"}) as s:
                self.assertEqual(words.recv(100), b"READY=1")
                trust = ssl.create_default_context(cafile=f"{home}/cert")
                self.assertEqual(urllib.request.urlopen(f"{s.url}/health", context=trust, timeout=30).read(), b"OK")
                # Half of a new pair is refused and changes nothing; the whole of it serves those who come after it.
                first = self.certificate(home)
                for half, expected in (("cert", first), ("key", None)):
                    os.replace(f"{home}/next.{half}", f"{home}/{half}")
                    s.process.send_signal(signal.SIGHUP)
                    self.assertEqual(words.recv(100), b"RELOADING=1")
                    self.assertEqual(words.recv(100), b"READY=1")
                    served = ssl.get_server_certificate(("127.0.0.1", s.port))
                    self.assertEqual(served, expected or self.certificate(home))
                self.assertNotEqual(served, first)
                self.assertEqual(s.log().count("the certificate is kept as it was"), 1)
                s.stop()
                self.assertEqual(words.recv(100), b"STOPPING=1")
            words.close()

    def certificate(self, home):
        return pathlib.Path(f"{home}/cert").read_text()

    def test_another_user_gets_nothing_that_acts(self):
        """A foreign user on this machine: reads over TCP, but neither socket nor token, and nothing that starts or stops a process."""
        if os.geteuid() != 0:
            self.skipTest("needs root to become somebody else")
        import pwd
        nobody = pwd.getpwnam("nobody")
        with Service(WINNOW) as s:
            # what is registered, and what deletes for good, is open on loopback to the service's own user alone
            experiment = s.post("/api/v1/experiments", {"name": "theirs"}, unix=False).json["id"]
            run = s.post("/api/v1/runs", {"experiment_id": experiment}, unix=False).json["id"]
            self.assertEqual(s.request("PUT", f"/api/v1/runs/{run}/artifacts/m.txt", body=b"m", unix=False).status, 201)
            self.assertEqual(s.post("/api/v1/models", {"name": "m"}, unix=False).status, 201)
            self.assertEqual(s.post("/api/v1/models/m/versions", {"run_id": run, "path": "m.txt"}, unix=False).status, 201)
            self.assertEqual(s.request("PUT", "/api/v1/models/m/aliases/best", {"version": 1}, unix=False).status, 200)
            foreign = [("POST", "/api/v1/shutdown", ""), ("PUT", "/api/v1/models/m/aliases/best", '{"version": 1}'),
                       ("PATCH", "/api/v1/models/m/versions/1", '{"description": "x"}'), ("DELETE", "/api/v1/models/m", ""),
                       ("DELETE", f"/api/v1/runs/{run}/artifacts/m.txt", ""),
                       ("DELETE", "/api/2.0/mlflow/model-versions/delete", '{"name": "m", "version": "1"}'),
                       ("GET", "/api/v1/models/m", "")]
            "localhost".encode("idna")  # loaded now: later nothing of root's can be read
            reading, writing = os.pipe()
            child = os.fork()
            if child == 0:
                found = []
                try:
                    os.setgroups([])
                    os.setgid(nobody.pw_gid)
                    os.setuid(nobody.pw_uid)
                    for method, path, body in foreign:
                        connection = http.client.HTTPConnection("127.0.0.1", s.port)
                        connection.request(method, path, body, {"Content-Type": "application/json"})
                        found.append(str(connection.getresponse().status))
                    for attempt in (lambda: socket.socket(socket.AF_UNIX).connect(str(s.data / "winnow.sock")), lambda: open(s.data / "admin.token")):
                        try:
                            attempt()
                            found.append("open")
                        except PermissionError:
                            found.append("refused")
                finally:
                    os.write(writing, " ".join(found).encode())
                    os._exit(0)
            os.close(writing)
            os.waitpid(child, 0)
            told = os.read(reading, 1000).decode()
            os.close(reading)
            self.assertEqual(told, "401 401 401 401 401 401 200 refused refused")
            self.assertEqual(s.request("DELETE", f"/api/v1/runs/{run}/artifacts/m.txt", unix=False).status, 204)
            self.assertEqual(s.get("/health").status, 200)

    def test_down_stops_it(self):
        with Service(WINNOW) as s:
            self.assertEqual(s.post("/api/v1/shutdown").status, 202)
            self.assertEqual(s.process.wait(60), 0)
            self.assertEqual(processes_with(str(s.data)), [])
            s.process = None


if __name__ == "__main__":
    unittest.main(verbosity=2)
