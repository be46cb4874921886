"""A Postgres of a test's own, for `--db`: started, stopped, filled up."""
import os, pathlib, pwd, random, shutil, socket, struct, subprocess, tempfile, time


def programs():
    found = sorted(pathlib.Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))
    return found[-1] if found else pathlib.Path(shutil.which("initdb") or "initdb").parent


def free_port():
    """A port, and the socket that keeps it: of those that the kernel gives to nobody by itself, and free for Postgres alone, which reuses an
    address where nobody listens, also before it has come and while it is away."""
    while True:
        keeper, port = socket.socket(), random.randrange(10000, 32768)
        try:
            keeper.bind(("127.0.0.1", port))
        except OSError:
            keeper.close()
            continue
        keeper.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # only now: who else looks for a port does not get it
        return port, keeper


class Cluster:
    """Trusts everybody who reaches its port on loopback. Made at once, started by start()."""

    def __init__(self, settings=()):
        # Postgres refuses to run as root.
        self.who = {} if os.geteuid() else {"user": "nobody", "group": pwd.getpwnam("nobody").pw_gid, "extra_groups": []}
        self.home = pathlib.Path(tempfile.mkdtemp(prefix="winnow-e2e-pg-"))
        if self.who:
            shutil.chown(self.home, "nobody")
        self.keeper, self.port = None, int(os.environ.get("WINNOW_TEST_PG_PORT", "0"))
        if not self.port:
            self.port, self.keeper = free_port()
        self.settings = ["listen_addresses=127.0.0.1", f"port={self.port}", "unix_socket_directories=", "fsync=off", *settings]
        self.process = None
        self.run("initdb", "-D", self.data, "-A", "trust", "-U", "winnow", "-E", "UTF8", "--locale=C", "--no-sync")

    @property
    def data(self):
        return self.home / "data"

    def url(self, database="postgres"):
        return f"postgres://winnow@127.0.0.1:{self.port}/{database}"

    def run(self, program, *arguments):
        return subprocess.run([programs() / program, *map(str, arguments)], check=True, capture_output=True, text=True, cwd="/", timeout=120, **self.who).stdout

    def sql(self, text, database="postgres"):
        return self.run("psql", "-XAtq", "-v", "ON_ERROR_STOP=1", "-d", self.url(database), "-c", text).strip()

    def start(self):
        options = [word for setting in self.settings for word in ("-c", setting)]
        log = open(self.home / "log", "ab")
        self.process = subprocess.Popen([programs() / "postgres", "-D", self.data, *options], stdout=log, stderr=log, stdin=subprocess.DEVNULL, cwd="/", **self.who)
        log.close()
        end = time.monotonic() + 60
        while True:
            try:
                self.sql("select 1")
                return self
            except subprocess.CalledProcessError as error:
                if time.monotonic() > end or self.process.poll() is not None:
                    raise RuntimeError(f"the cluster did not come up: {error.stderr}\n{(self.home / 'log').read_text()}")
            time.sleep(0.05)

    def stop(self):
        if self.process:
            self.process.send_signal(3)  # SIGQUIT: at once
            self.process.wait(60)
            self.process = None

    def close(self):
        self.stop()
        if self.keeper:
            self.keeper.close()
        shutil.rmtree(self.home, ignore_errors=True)

    def hold_slot(self):
        """A connection that says who it is and nothing more: it takes a slot until authentication times out, or it is closed.
        None when there is no slot any more."""
        taken = socket.create_connection(("127.0.0.1", self.port), timeout=20)
        words = b"user\0winnow\0database\0postgres\0\0"
        taken.sendall(struct.pack("!II", 8 + len(words), 196608) + words)
        first = taken.recv(1)
        if first == b"R":
            return taken
        taken.close()
        return None
