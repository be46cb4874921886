#!/usr/bin/env python3
"""What the service costs, beside the physical limit measured in the same run. Prints a Markdown table.

    bench/service/run.py build/plain/bin/winnow [requests] [inserts] [batch] [start] [rest] [bytes] [uploads] [idle]

requests requests/s of /api/v1/status, with the access log on, beside a hello-world evhttp server (`ninja hello_evhttp`)
inserts  durable one-row inserts through HTTP at 1, 16, 64 connections, beside pgbench with the same statement on the same server
batch    points/s through log-batch, 1,000 metrics a call over 10 keys, 8 clients, 20 runs; and log-metric, one value a call, 20 clients
start    start to the first 200: from the template, without it, and of a directory that is there; beside initdb + start of Postgres alone
rest     resident memory at rest, without Postgres
bytes    1 GiB up and down: rate, and how much memory grew
uploads  20 clients that ask 50 times a second, alone and while four others upload without end: their times, and the rate of the uploads
idle     10,000 connections that do nothing: memory of each, and whether others notice
Needs wrk and the pgbench of the installed Postgres.
"""
import argparse, glob, http.client, os, pathlib, re, resource, shutil, socket, statistics, subprocess, sys, tempfile, threading, time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "support"))
from service import Service  # noqa: E402

ALL = ["requests", "start", "rest", "inserts", "batch", "bytes", "uploads", "idle"]
PG = sorted(glob.glob("/usr/lib/postgresql/*/bin"), key=lambda p: int(p.split("/")[4]))[-1]
rows = []


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("winnow", type=pathlib.Path)
    parser.add_argument("what", nargs="*", metavar="WHAT", help=", ".join(ALL))
    options = parser.parse_args()
    unknown = [word for word in options.what if word not in ALL]
    if unknown:
        parser.error(f"unknown: {', '.join(unknown)}; there are {', '.join(ALL)}")
    return options.winnow.resolve(), options.what or ALL


WINNOW, WHAT = arguments()


def row(what, ours, peer, ratio):
    rows.append((what, ours, peer, ratio))
    print(f"| {what} | {ours} | {peer} | {ratio} |", flush=True)


def resident_kib(pid):
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+)", status).group(1))


def as_postgres(command, **kw):
    """initdb and postgres refuse root."""
    if os.geteuid() == 0:
        import pwd
        kw["user"] = kw["group"] = pwd.getpwnam("postgres").pw_uid
        kw["group"] = pwd.getpwnam("postgres").pw_gid
        kw["extra_groups"] = []
    return subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd="/", **kw)


class Postgres:
    """A plain Postgres with the same durability, to compare with."""

    def __init__(self):
        self.home = tempfile.mkdtemp(prefix="winnow-bench-pg-")
        os.chmod(self.home, 0o777)
        self.data = f"{self.home}/data"

    def __enter__(self):
        begun = time.time()
        as_postgres([f"{PG}/initdb", "-D", self.data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--data-checksums"])
        self.initdb_s = time.time() - begun
        begun = time.time()
        as_postgres([f"{PG}/pg_ctl", "-D", self.data, "-w", "-o", f"-k {self.home} -c listen_addresses=''", "-l", f"{self.home}/log", "start"])
        self.start_s = time.time() - begun
        return self

    def __exit__(self, *exc):
        as_postgres([f"{PG}/pg_ctl", "-D", self.data, "-m", "immediate", "-w", "stop"])
        shutil.rmtree(self.home, ignore_errors=True)


# The statement of one run (run_create in sql/queries/run.sql), with the values that the request below leads to; the service puts the runs of many
# clients into one (run_create_many).
INSERT = """with e as (select id, artifact_location, deleted_at is not null as deleted from experiment where id = 0),
made as (insert into run (id, experiment_id, start_time, created, state, name, user_id, tags, params)
  select gen_random_uuid(), e.id, 1, 1795287390000, 2, 'open-lynx-333', '', '{}', '{}' from e where not e.deleted on conflict (id) do nothing returning 1)
select artifact_location, deleted from e;"""


def pgbench(service, clients, seconds):
    """On the service's own Postgres, so that both meet the same server, schema and disk."""
    with tempfile.TemporaryDirectory() as home:
        script = pathlib.Path(home) / "insert.sql"
        script.write_text(INSERT)
        env = {**os.environ, "PGPASSWORD": (service.data / "pg.secret").read_text().strip(), "PGOPTIONS": "-c search_path=winnow"}
        out = subprocess.run([f"{PG}/pgbench", "-h", (service.data / "pg.socket").read_text().strip(), "-U", "winnow", "-n", "-M", "prepared", "-c", str(clients),
                              "-j", "1", "-T", str(seconds), "-f", script, "postgres"], check=True, capture_output=True, text=True, env=env).stdout
        return float(re.search(r"tps = ([0-9.]+)", out).group(1))


def wrk(url):
    """The server on the first processor, wrk on the second, as far as there are two."""
    pin = ["taskset", "-c", "1"] if os.cpu_count() > 1 else []
    out = subprocess.run([*pin, "wrk", "-t1", "-c64", "-d4s", url], check=True, capture_output=True, text=True).stdout
    if "Non-2xx" in out:
        raise SystemExit(out)
    return float(re.search(r"Requests/sec:\s+([0-9.]+)", out).group(1))


def requests():
    peer = WINNOW.parent / "hello_evhttp"
    if not peer.exists():
        raise SystemExit("build the peer first: ninja -C build/plain hello_evhttp")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with Service(WINNOW) as s:
        os.sched_setaffinity(s.process.pid, {0})
        pin = ["taskset", "-c", "0"] if os.cpu_count() > 1 else []
        evhttp = subprocess.Popen([*pin, peer, str(port), "/dev/null"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            time.sleep(0.5)
            ours, peers = [], []
            for _ in range(5):
                peers.append(wrk(f"http://127.0.0.1:{port}/hello"))
                ours.append(wrk(f"{s.url}/api/v1/status"))
        finally:
            evhttp.kill()
            evhttp.wait()
        a, b = statistics.median(ours), statistics.median(peers)
        row("requests/s of /api/v1/status, access log on", f"{a:,.0f}", f"evhttp {b:,.0f}", f"{a / b:.2f}")


def inserts():
    with tempfile.TemporaryDirectory() as home, Service(WINNOW, arguments=["--log-level", "warn"]) as s:
        lua = pathlib.Path(home) / "post.lua"
        lua.write_text("""wrk.method = "POST"
wrk.body = '{"experiment_id":"0","start_time":1,"run_name":"open-lynx-333"}'
wrk.headers["Content-Type"] = "application/json"
""")
        for clients in (1, 16, 64):
            ours, peers = [], []
            for _ in range(3):  # in turn: the machine's speed drifts
                peers.append(pgbench(s, clients, 4))
                out = subprocess.run(["wrk", "-t1", f"-c{clients}", "-d4s", "-s", lua, f"{s.url}/api/2.0/mlflow/runs/create"], check=True, capture_output=True, text=True).stdout
                if "Non-2xx" in out:
                    raise SystemExit(out)
                ours.append(float(re.search(r"Requests/sec:\s+([0-9.]+)", out).group(1)))
            a, b = statistics.median(ours), statistics.median(peers)
            row(f"durable inserts/s through HTTP, {clients} connections", f"{a:,.0f}", f"pgbench {b:,.0f}", f"{a / b:.2f}")


BATCH_LUA = """
local runs = {%s}
local step = 0
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
function request()
  step = step + 100
  local parts = {}
  for i = 1, 1000 do
    parts[i] = string.format('{"key":"metric_%%d","value":%%.6f,"timestamp":1795287390000,"step":%%d}', i %% 10, math.random(), step + math.floor(i / 10))
  end
  return wrk.format(nil, nil, nil, '{"run_id":"' .. runs[math.random(#runs)] .. '","metrics":[' .. table.concat(parts, ",") .. ']}')
end
"""
METRIC_LUA = """
local runs = {%s}
local step = 0
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
function request()
  step = step + 1
  return wrk.format(nil, nil, nil, string.format('{"run_id":"%%s","key":"loss","value":%%.6f,"timestamp":1795287390000,"step":%%d}', runs[math.random(#runs)], math.random(), step))
end
"""


def load(service, lua, path, clients):
    with tempfile.TemporaryDirectory() as home:
        script = pathlib.Path(home) / "load.lua"
        script.write_text(lua)
        out = subprocess.run(["wrk", "-t1", f"-c{clients}", "-d8s", "--latency", "-s", script, f"{service.url}{path}"], check=True, capture_output=True, text=True).stdout
    if "Non-2xx" in out:
        raise SystemExit(out)
    return float(re.search(r"Requests/sec:\s+([0-9.]+)", out).group(1)), re.search(r"99%\s+(\S+)", out).group(1)


def batch():
    with Service(WINNOW, arguments=["--log-level", "warn"]) as s:
        runs = [s.post("/api/2.0/mlflow/runs/create", {"experiment_id": "0", "start_time": 1}).json["run"]["info"]["run_id"] for _ in range(20)]
        listed = ",".join(f'"{run}"' for run in runs)
        rate, p99 = load(s, BATCH_LUA % listed, "/api/2.0/mlflow/runs/log-batch", 8)
        row("points/s through log-batch, 1,000 x 8 clients", f"{rate * 1000:,.0f}, p99 {p99}", ">= 300,000", "")
        rate, p99 = load(s, METRIC_LUA % listed, "/api/2.0/mlflow/runs/log-metric", 20)
        row("log-metric calls/s, 20 clients", f"{rate:,.0f}, p99 {p99}", ">= 10,000, p99 <= 10 ms", "")
        row("memory after that", f"{resident_kib(s.process.pid) / 1024:.0f} MiB", "<= 100 MiB", "")


def first_answer(arguments, env=None):
    """Seconds from the start of the process to the first 200 of /api/v1/status that says ok."""
    begun = time.time()
    s = Service(WINNOW, start=False, arguments=arguments.get("arguments", ()), data=arguments.get("data"), env=env)
    s.start()
    return time.time() - begun, s


def start():
    base = []
    for _ in range(3):
        with Postgres() as pg:
            base.append(pg.initdb_s + pg.start_s)
    limit = statistics.median(base)
    without = []
    cache_home = "/var/cache/winnow" if os.geteuid() == 0 else os.path.expanduser("~/.cache/winnow")
    for _ in range(3):
        for template in glob.glob(f"{cache_home}/pg-*") + glob.glob("/tmp/winnow-test-cache/winnow/pg-*"):
            shutil.rmtree(template, ignore_errors=True)
        seconds, s = first_answer({})
        without.append(seconds)
        s.close()
    fresh, again = [], []
    for _ in range(5):
        seconds, s = first_answer({})
        fresh.append(seconds)
        s.stop()
        begun = time.time()
        s.start()
        again.append(time.time() - begun)
        s.close()
    row("start to first 200, new directory, no template", f"{statistics.median(without):.2f} s", f"initdb + start {limit:.2f} s", f"{statistics.median(without) / limit:.2f}")
    row("start to first 200, new directory, template", f"{statistics.median(fresh):.2f} s", "<= 1 s", "")
    row("start to first 200, directory that is there", f"{statistics.median(again) * 1000:.0f} ms", "<= 300 ms", "")


def rest():
    with Service(WINNOW) as s:
        s.get("/api/v1/status")
        time.sleep(3)
        row("memory at rest, without Postgres", f"{resident_kib(s.process.pid) / 1024:.1f} MiB", "<= 20 MiB", "")


def bytes_():
    size = 1 << 30
    block = os.urandom(1 << 20)
    with Service(WINNOW, arguments=["--log-level", "warn"]) as s:
        run = s.post("/api/2.0/mlflow/runs/create", {"experiment_id": "0", "start_time": 1}).json["run"]["info"]["run_id"]
        path = f"/api/2.0/mlflow-artifacts/artifacts/0/{run}/artifacts/big.bin"
        s.get("/health")
        before = resident_kib(s.process.pid)
        begun = time.time()
        connection = http.client.HTTPConnection("127.0.0.1", s.port, timeout=300)
        connection.request("PUT", path, body=(block for _ in range(size >> 20)), headers={"Content-Length": str(size)}, encode_chunked=False)
        answer = connection.getresponse()
        answer.read()
        if answer.status != 200:
            raise SystemExit(f"upload: {answer.status}")
        up = time.time() - begun
        peak_up = resident_kib(s.process.pid)
        rates = []
        for _ in range(3):
            begun = time.time()
            subprocess.run(["curl", "-s", "-o", "/dev/null", f"{s.url}{path}"], check=True)
            rates.append(size / (time.time() - begun))
        peak = resident_kib(s.process.pid)
        high = int(re.search(r"VmHWM:\s+(\d+)", pathlib.Path(f"/proc/{s.process.pid}/status").read_text()).group(1))
        row("1 GiB upload, hashed and synced", f"{size / up / 1e6:,.0f} MB/s", "", "")
        row("1 GiB download from page cache", f"{statistics.median(rates) / 1e9:.2f} GB/s", ">= 1 GB/s", "")
        row("memory growth over both (resident; high-water mark)", f"{(max(peak, peak_up) - before) / 1024:.1f} MiB; {(high - before) / 1024:.1f} MiB", "<= 8 MiB", "")


def ask_for(s, seconds):
    """Milliseconds of each request of 20 clients, in order of length."""
    times, end = [], time.time() + seconds

    def ask():
        with socket.create_connection(("127.0.0.1", s.port)) as sock:
            while time.time() < end:
                begun = time.perf_counter()
                sock.sendall(b"GET /api/v1/status HTTP/1.1\r\nHost: localhost\r\n\r\n")
                if not sock.recv(65536).startswith(b"HTTP/1.1 200"):
                    raise SystemExit("a request failed")
                times.append((time.perf_counter() - begun) * 1000)
                time.sleep(0.02)

    clients = [threading.Thread(target=ask) for _ in range(20)]
    for client in clients:
        client.start()
    for client in clients:
        client.join()
    return sorted(times)


def uploads():
    size, going = 256 << 20, True
    with tempfile.NamedTemporaryFile() as file, Service(WINNOW, arguments=["--log-level", "warn"]) as s:
        file.truncate(size)
        run = s.post("/api/2.0/mlflow/runs/create", {"experiment_id": "0", "start_time": 1}).json["run"]["info"]["run_id"]
        stored = []

        def upload(name):
            while going:
                subprocess.run(["curl", "-sSf", "-T", file.name, f"{s.url}/api/2.0/mlflow-artifacts/artifacts/0/{run}/artifacts/{name}"], check=True, stdout=subprocess.DEVNULL)
                stored.append(size)

        alone = ask_for(s, 5)
        begun = time.time()
        others = [threading.Thread(target=upload, args=[f"big-{i}"]) for i in range(4)]
        for other in others:
            other.start()
        time.sleep(5)  # until the disk is what they wait for
        times = ask_for(s, 20)
        going = False
        for other in others:
            other.join()
        rate = sum(stored) / (time.time() - begun) / 1e6
        for what, share in (("p50", 0.5), ("p99", 0.99), ("the longest", 1)):
            a, b = (values[min(int(len(values) * share), len(values) - 1)] for values in (times, alone))
            row(f"a request while four others upload, {what}", f"{a:.1f} ms", f"without them {b:.1f} ms", "")
        row("the four uploads meanwhile", f"{rate:,.0f} MB/s", "", "")


def idle():
    count = 10000
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if hard < count + 1000:
        raise SystemExit(f"10,000 connections need `ulimit -Hn` of 11,000; here it is {hard}")
    with Service(WINNOW, arguments=["--idle-timeout", "10m", "--log-level", "warn"]) as s:
        for _ in range(50):
            s.get("/health", unix=False)
        before = resident_kib(s.process.pid)
        sockets = []
        for _ in range(count):
            sock = socket.create_connection(("127.0.0.1", s.port))
            sock.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
            sock.recv(4096)
            sockets.append(sock)
        after = resident_kib(s.process.pid)
        times = []
        for _ in range(200):
            begun = time.time()
            s.get("/api/v1/status", unix=False)
            times.append(time.time() - begun)
        row("10,000 idle connections", f"{(after - before) / count:.1f} KiB each", "<= 20 KiB", "")
        row("a new client meanwhile, p99", f"{sorted(times)[197] * 1000:.1f} ms", "", "")
        for sock in sockets:
            sock.close()


print("| what | ours | beside | ratio |\n| --- | --- | --- | --- |")
for name in WHAT:
    {"requests": requests, "inserts": inserts, "batch": batch, "start": start, "rest": rest, "bytes": bytes_, "uploads": uploads, "idle": idle}[name]()
