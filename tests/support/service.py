"""A real `winnow serve` for tests: started in a directory of its own, spoken to over its socket and over TCP, stopped and looked at."""
import base64, contextlib, hmac, http.client, json, os, pathlib, shutil, signal, socket, subprocess, tempfile, time

from cluster import programs
from shapes import Shapes


def wait(condition, what, timeout=180):
    """Until it is so, on however slow a machine; the limit is for what never comes."""
    end = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"{what} did not come within {timeout} s")
        time.sleep(0.02)


class Answer:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    @property
    def json(self):
        return json.loads(self.body)

    def __repr__(self):
        return f"<{self.status} {self.body[:300]!r}>"


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path, timeout=30):
        super().__init__("localhost", timeout=timeout)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        # The path may be longer than a socket address: reach it through the directory's descriptor.
        fd = os.open(os.path.dirname(self.path), os.O_PATH)
        try:
            self.sock.connect(f"/proc/self/fd/{fd}/{os.path.basename(self.path)}")
        finally:
            os.close(fd)


class Service:
    """with Service(binary) as s: s.get("/health")"""

    def __init__(self, binary, data=None, arguments=(), env=None, start=True, keep=False):
        self.binary, self.arguments, self.keep = str(binary), list(arguments), keep
        self.home = pathlib.Path(tempfile.mkdtemp(prefix="winnow-e2e-"))
        self.home.chmod(0o711)
        self.data = pathlib.Path(data) if data else self.home / "data"
        self.env = {**os.environ, "XDG_CACHE_HOME": os.environ.get("XDG_CACHE_HOME", "/tmp/winnow-test-cache"), **(env or {})}
        self.process, self.url = None, None
        self.log_path = self.home / "log"
        if start:
            try:
                self.start()
            except BaseException:
                self.close()
                raise

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()

    def close(self):
        self.stop(check=False)
        if not self.keep:
            end_jobs_of(self.home)
            shutil.rmtree(self.home, ignore_errors=True)

    def spawn(self):
        log = open(self.log_path, "ab")
        self.process = subprocess.Popen([self.binary, "serve", "--data", str(self.data), "--listen", "127.0.0.1:0", *self.arguments],
                                        stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=self.env)
        log.close()

    def start(self, timeout=60, state=None):
        """Until its database is up (a disk may be full, for all that), or it says that it is in this state."""
        endpoint = self.data / "endpoint"
        if endpoint.exists():
            endpoint.unlink()
        self.spawn()
        end = time.monotonic() + timeout
        while True:
            if self.process.poll() is not None:
                raise RuntimeError(f"winnow serve ended with {self.process.returncode}:\n{self.log()}")
            if time.monotonic() > end:
                raise RuntimeError(f"winnow serve did not come up:\n{self.log()}")
            try:
                lines = endpoint.read_text().splitlines()
                self.url = next((line for line in lines if line.startswith("http")), None)
                status = self.get("/api/v1/status").json
                if status["state"] == state if state else status["database"]["up"]:
                    return self
            except (OSError, http.client.HTTPException, ValueError, KeyError):
                pass
            time.sleep(0.02)

    def stop(self, check=True, timeout=60):
        if not self.process:
            return
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            code = self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise RuntimeError(f"winnow serve did not stop:\n{self.log()}")
        self.process = None
        if check and code != 0:
            raise RuntimeError(f"winnow serve ended with {code}:\n{self.log()}")

    def kill(self):
        self.process.kill()
        self.process.wait()
        self.process = None

    def log(self):
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    @property
    def port(self):
        return int(self.url.rsplit(":", 1)[1])

    @property
    def token(self):
        return (self.data / "admin.token").read_text().strip()

    def run_token(self, run, attempt=1):
        """What the job of that attempt sends."""
        head = f"wnr_{run}_{attempt}"
        mac = hmac.new(bytes.fromhex((self.data / "run.key").read_text().strip()), head.encode(), "sha256").digest()
        return {"Authorization": f"Bearer {head}_{base64.urlsafe_b64encode(mac).decode().rstrip('=')}"}

    def request(self, method, path, body=None, headers=None, unix=True, timeout=60):
        """Over the Unix socket (as the service's user) unless unix=False. What /api/v1 takes and answers must be as it is described."""
        answer = self.exchange(method, path, body, headers, unix, timeout)
        if path.startswith("/api/v1/"):
            shapes = self.shapes()
            wrong = shapes and (shapes.check(method, path, answer) or isinstance(body, dict) and answer.status < 300 and shapes.check_body(method, path, body))
            if wrong:
                raise AssertionError(f"{wrong}\n{answer}")
        return answer

    described = {}

    def shapes(self):
        """Of this binary; None as long as no service of it could be asked."""
        if self.binary not in self.described:
            try:
                api = self.exchange("GET", "/api/v1/openapi.json")
            except (OSError, http.client.HTTPException):
                return None
            if api.status != 200:
                return None
            self.described[self.binary] = Shapes(api.json)
        return self.described[self.binary]

    def exchange(self, method, path, body=None, headers=None, unix=True, timeout=60):
        connection = UnixConnection(str(self.data / "winnow.sock"), timeout) if unix else http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        headers = dict(headers or {})
        if isinstance(body, (dict, list)):
            body = json.dumps(body)
            headers.setdefault("Content-Type", "application/json")
        try:
            connection.request(method, path, body=body, headers=headers)
            answer = connection.getresponse()
            return Answer(answer.status, answer.headers, answer.read())
        finally:
            connection.close()

    def get(self, path, **kw):
        return self.request("GET", path, **kw)

    def post(self, path, body=None, **kw):
        return self.request("POST", path, body, **kw)

    def psql_env(self):
        return {**self.env, "PGPASSWORD": (self.data / "pg.secret").read_text().strip(), "PGOPTIONS": "-c search_path=winnow"}

    def psql(self):
        """The private Postgres's client, past the service; with psql_env()."""
        return [str(programs() / "psql"), "-XAtq", "-v", "ON_ERROR_STOP=1", "-h", (self.data / "pg.socket").read_text().strip(), "-U", "winnow", "-d", "postgres"]

    def sql(self, text):
        """What the private Postgres answers."""
        done = subprocess.run([*self.psql(), "-c", text], env=self.psql_env(), capture_output=True, text=True, timeout=60)
        if done.returncode:
            raise AssertionError(f"{text}: {done.stderr}")
        return done.stdout.strip()

    def postgres(self):
        """Processes of the private Postgres: those whose command line names our directory."""
        return processes_with(str(self.data))

    def kill_postgres(self):
        """Its sudden end, until all of it has gone and the next one answers."""
        killed = set(self.postgres())
        for pid in killed:
            with contextlib.suppress(ProcessLookupError):  # the server ends the others when it sees one of them killed
                os.kill(pid, signal.SIGKILL)
        wait(lambda: not killed.intersection(self.postgres()), "the end of Postgres")
        wait(lambda: subprocess.run([*self.psql(), "-c", "select 1"], env=self.psql_env(), capture_output=True).returncode == 0, "another Postgres")


def end_jobs_of(home):
    """Jobs outlive their service, and would wait for it for hours: companions, and what has their environment."""
    for entry in filter(str.isdigit, os.listdir("/proc")):
        try:
            process = pathlib.Path("/proc") / entry
            if str(home).encode() in (process / "cmdline").read_bytes() + (process / "environ").read_bytes():
                os.kill(int(entry), signal.SIGKILL)
        except OSError:
            pass


def processes_with(text):
    """Process ids of servers (postgres) whose command line holds the text."""
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                words = pathlib.Path(f"/proc/{entry}/cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if words and os.path.basename(words[0]).startswith(b"postgres") and text.encode() in b" ".join(words):
                found.append(int(entry))
    return found
