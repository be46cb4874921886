#!/usr/bin/env python3
"""Tracking under load, beside MLflow and FastTrackML in one run. Prints a Markdown table, and writes every figure with --json.

    ninja -C build/plain winnow winnow-exec bench_load
    bench/tracking/run.py build/plain/bin/winnow [WHAT ...]

batch    points/s through log-batch, 1,000 a call over 10 keys, 8 clients, 20 runs
metric   log-metric, one value a call, 20 clients: calls/s and p99 (of all calls; the worst of any tenth of a second beside it)
words    log-parameter and set-tag, one a call: one client, 20 on a run each, 20 on one run; calls/s and p50; then with values beside them
create   runs/create: one client, and 16
search   1,000 and 50 of --runs runs with 5 tags, 5 params, 5 metrics, filter and order; cost of filling and of the disk meanwhile
history  one metric of --points points, raw and as 1,000 buckets
chart    --chart-runs runs x --points points in one request
rest     memory at rest and start with a fresh database

--runs may be a list (10000,100000,1000000): the same service grows, so that costs can be compared by size. All but the first runs and the last
5,000 of each size are written to its Postgres at once.
--peers mlflow-sqlite,mlflow-postgres,fasttrackml (default all; none: only ours). They are installed once from PyPI into ~/.cache/winnow/bench;
one that cannot be installed or started is left out, and the reason is printed.
"""
import argparse, json, os, pathlib, re, shutil, signal, socket, subprocess, sys, tempfile, time, urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "support"))
from cluster import Cluster  # noqa: E402
from service import Service  # noqa: E402

CACHE = pathlib.Path(os.environ.get("XDG_CACHE_HOME", os.path.expanduser("~/.cache"))) / "winnow" / "bench"
PARTS = ["batch", "metric", "words", "create", "search", "history", "chart", "rest"]
PEERS = ["mlflow-sqlite", "mlflow-postgres", "fasttrackml"]
SEARCH = {"experiment_ids": ["0"], "filter": "metrics.acc > 0.5 and params.lr = '0.1'", "order_by": ["metrics.acc DESC"]}
figures = []


def note(part, what, who, value, unit, must=""):
    figures.append({"part": part, "what": what, "who": who, "value": value, "unit": unit, "must": must})
    print(f"  {who}: {what}: {value:,.4g} {unit}", file=sys.stderr, flush=True)


class Unavailable(Exception):
    pass


# ---- the servers ----


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def family(pid):
    """The process and all below it."""
    children = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                parent = int(pathlib.Path(f"/proc/{entry}/stat").read_text().rsplit(")", 1)[1].split()[1])
            except OSError:
                continue
            children.setdefault(parent, []).append(int(entry))
    found, todo = [], [pid]
    while todo:
        found.append(todo.pop())
        todo += children.get(found[-1], [])
    return found


def resident_mib(pids):
    total = 0
    for pid in pids:
        try:
            total += int(re.search(r"VmRSS:\s+(\d+)", pathlib.Path(f"/proc/{pid}/status").read_text()).group(1))
        except (OSError, AttributeError):
            pass
    return total / 1024


class Winnow:
    name = "winnow"

    def __init__(self, binary):
        begun = time.time()
        self.service = Service(binary, arguments=["--log-level", "warn"])
        self.start_s = time.time() - begun
        self.port = self.service.port

    def memory_mib(self):
        return resident_mib([self.service.process.pid])

    def sql(self, text):
        env = {**os.environ, "PGPASSWORD": (self.service.data / "pg.secret").read_text().strip(), "PGOPTIONS": "-c search_path=winnow"}
        command = ["psql", "-h", (self.service.data / "pg.socket").read_text().strip(), "-U", "winnow", "-d", "postgres", "-Atc", text]
        return subprocess.run(command, check=True, capture_output=True, text=True, env=env).stdout.strip()

    def close(self):
        self.service.close()


def environment(name, packages):
    """A virtual environment, made once."""
    home = CACHE / name
    if (home / "made-from").exists() and (home / "made-from").read_text() == packages:
        return home / "bin"
    shutil.rmtree(home, ignore_errors=True)
    home.parent.mkdir(parents=True, exist_ok=True)
    for command in ([sys.executable, "-m", "venv", home], [home / "bin" / "python", "-m", "pip", "install", "-q", "--disable-pip-version-check", *packages.split()]):
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise Unavailable(f"{name} cannot be installed: {(done.stderr or done.stdout).strip().splitlines()[-1:]}")
    (home / "made-from").write_text(packages)
    return home / "bin"


class Peer:
    def __init__(self, name):
        self.name, self.port, self.home, self.cluster = name, free_port(), tempfile.mkdtemp(prefix="winnow-bench-"), None
        os.chmod(self.home, 0o755)
        try:
            if name == "fasttrackml":
                program, package = environment("fasttrackml", "fasttrackml==0.6.0") / "fml", "fasttrackml"
            else:
                program = environment("mlflow-3.17.2", "mlflow==3.17.2 psycopg2-binary") / "mlflow"
            store = f"sqlite:///{self.home}/mlflow.db"
            if name != "mlflow-sqlite":
                self.cluster = Cluster(["fsync=on"])  # as durable as ours
                self.cluster.start()
                scheme = "postgresql+psycopg2" if name.startswith("mlflow") else "postgres"
                store = f"{scheme}://winnow@127.0.0.1:{self.cluster.port}/postgres"
            if name == "fasttrackml":
                command = [program, "server", "--listen-address", f"127.0.0.1:{self.port}", "--database-uri", store + "?sslmode=disable",
                           "--default-artifact-root", f"{self.home}/artifacts"]
            else:
                command = [program, "server", "--host", "127.0.0.1", "--port", str(self.port), "--workers", "2", "--backend-store-uri", store,
                           "--artifacts-destination", f"{self.home}/artifacts"]
            begun = time.time()
            self.log = open(f"{self.home}/log", "wb")
            env = {**os.environ, "PATH": f"{program.parent}:{os.environ['PATH']}", "MLFLOW_DISABLE_TELEMETRY": "true"}
            self.process = subprocess.Popen(command, stdout=self.log, stderr=self.log, cwd=self.home, start_new_session=True, env=env)
            self.wait()
            self.start_s = time.time() - begun
        except BaseException:
            self.close()
            raise

    def wait(self):
        end = time.time() + 120
        while time.time() < end and self.process.poll() is None:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{self.port}/health", timeout=5).read()
                return
            except OSError:
                time.sleep(0.1)
        raise Unavailable(f"{self.name} does not start: {pathlib.Path(self.home, 'log').read_text(errors='replace')[-400:]!r}")

    def memory_mib(self):
        return resident_mib(family(self.process.pid))

    def close(self):
        process = getattr(self, "process", None)
        if process:
            try:
                os.killpg(process.pid, signal.SIGTERM)
                process.wait(20)
            except (ProcessLookupError, subprocess.TimeoutExpired):
                pass
            try:
                os.killpg(process.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            process.wait()
        if self.cluster:
            self.cluster.close()
        shutil.rmtree(self.home, ignore_errors=True)


# ---- loads ----


class Refused(Exception):
    """The server did not do what was asked, or not all of it."""


def load(server, clients, seconds, *work):
    command = [LOAD, "127.0.0.1", str(server.port), str(clients), str(seconds), *work]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise Refused(done.stderr.strip())
    return json.loads(done.stdout)


def call(server, path, body=None):
    data = json.dumps(body).encode() if body is not None else None
    request = urllib.request.Request(f"http://127.0.0.1:{server.port}{path}", data=data, headers={"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=600) as answer:
        return json.loads(answer.read() or b"{}")


def make_runs(server, count):
    return [call(server, "/api/2.0/mlflow/runs/create", {"experiment_id": "0", "start_time": 1})["run"]["info"]["run_id"] for _ in range(count)]


def do_batch(server, options):
    seen = load(server, 8, options.seconds, "batch", *make_runs(server, 20))
    note("batch", "points/s through log-batch, 1,000 x 8 clients", server.name, seen["rate"] * 1000, "/s", ">= 300,000; 30x MLflow, 10x FastTrackML")
    note("batch", "log-batch p99", server.name, seen["p99_ms"], "ms")


def do_metric(server, options):
    seen = load(server, 20, options.seconds, "metric", *make_runs(server, 20))
    note("metric", "log-metric, 20 clients", server.name, seen["rate"], "/s", ">= 10,000")
    note("metric", "log-metric p99", server.name, seen["p99_ms"], "ms", "<= 10")
    note("metric", "log-metric, the worst call", server.name, seen["max_ms"], "ms")
    note("metric", "memory after that", server.name, server.memory_mib(), "MiB", "<= 100")


def do_words(server, options):
    for clients, runs, what, must in ((1, 1, "one client", ""), (20, 20, "20 clients on a run each", ""), (20, 1, "20 clients on one run", ">= 1,500")):
        seen = load(server, clients, options.seconds, "words", *make_runs(server, runs))
        note("words", f"params and tags, one a call, {what}", server.name, seen["rate"], "/s", must)
        note("words", f"the same, {what}, p50", server.name, seen["p50_ms"], "ms")
        note("words", f"the same, {what}, p99", server.name, seen["p99_ms"], "ms")
    for runs, what in ((20, "20 clients on a run each"), (1, "20 clients on one run")):
        seen = load(server, 20, options.seconds, "mixed", *make_runs(server, runs))
        note("words", f"log-batch of 2 tags, a param and 5 values, {what}", server.name, seen["rate"], "/s")
        note("words", f"the same, {what}, p50", server.name, seen["p50_ms"], "ms")


CREATE = ["send", "POST", "/api/2.0/mlflow/runs/create", '{"experiment_id":"0","start_time":1,"run_name":"open-lynx-333"}']


def do_create(server, options):
    for clients, must in ((1, ">= 2,000"), (16, "")):
        seen = load(server, clients, options.seconds, *CREATE)
        note("create", f"runs/create, {clients} client{'s' * (clients > 1)}", server.name, seen["rate"], "/s", must)


def settle_winnow(server):
    """What is done in the background is done, then vacuum, as the figures on disk ask for; and nothing of what came before is left to be written."""
    end = time.time() + 600
    while time.time() < end and server.sql("select (select count(*) from metric_tail where fresh and id > (select id from metric_mark)) + (select count(*) from run_unindexed)") != "0":
        time.sleep(1)
    server.sql("vacuum (analyze)")
    server.sql("checkpoint")


def disk_bytes(server):
    return int(server.sql("select sum(pg_total_relation_size(c.oid)) from pg_class c join pg_namespace n on n.oid = c.relnamespace "
                          "where n.nspname = 'winnow' and c.relkind in ('r', 'm')"))


# Runs as the service makes them, past it. Their points are those of one that it made.
COPY = """
with new as (
  select i, (lpad(to_hex(1795287390000 + i), 12, '0') || substr(md5(i::text), 1, 20))::uuid as id from generate_series({first}, {last}) i),
runs as (
  insert into run (id, experiment_id, start_time, created, state, name, params, tags, metrics)
  select id, 0, 1795287390000 + i * 1000, 1795287390000 + i, 2, 'polite-eagle-' || i % 1000,
    jsonb_build_object('lr', (array['0.1', '0.01', '0.001', '0.0001'])[1 + floor(random() * 4)::int], 'layers', (i % 12)::text,
      'dropout', round(random()::numeric, 3)::text, 'optimizer', 'adam', 'batch_size', '64'),
    '{{"mlflow.user": "ada", "mlflow.source.name": "train.py", "mlflow.source.type": "LOCAL", "team": "vision", "host": "node-17"}}',
    (select jsonb_object_agg(key, round((random() + i * 0)::numeric, 6) || ' 1 1795287390000')
     from unnest(array['acc', 'loss', 'val_acc', 'val_loss', 'epoch_time']) key)
  from new),
points as (
  insert into metric_tail (run, id, attempt, points, fresh, data)
  select id, nextval('metric_tail_id'), 1, 5, false, (select data from metric_tail limit 1) from new)
insert into run_unindexed (run) select id from new"""
FRESH = 5000  # of each size so many are made through the service


def fill(server, there, size):
    """Up to `size` runs; runs a second at that size, with nothing left to do of what came before."""
    if isinstance(server, Winnow) and size - there > FRESH:
        if there and size - there > 2 * FRESH:
            server.sql(COPY.format(first=there + 1, last=size - FRESH))
        else:
            load(server, 16, 3600, "fill", str(size - FRESH - there))
        settle_winnow(server)
        there = size - FRESH
    begun = time.time()
    load(server, 16 if isinstance(server, Winnow) else 4, 3600, "fill", str(size - there))
    return (size - there) / (time.time() - begun)


def do_search(server, options):
    ours = isinstance(server, Winnow)
    there = 0
    for size in options.runs if ours else [options.peer_runs]:
        before = disk_bytes(server) if ours and not there else None
        base = base if there else before
        note("search", f"runs made a second, {size:,} there", server.name, fill(server, there, size), "runs/s", "flat within 20 %")
        there = size
        if ours:
            settle_winnow(server)
            note("search", f"bytes on disk a run, of {size:,}", server.name, (disk_bytes(server) - base) / size, "B", "<= 2,048")
        for wanted, must in ((1000, "<= 100" if size > 100000 else "<= 50"), (50, "<= 10")):
            body = json.dumps({**SEARCH, "max_results": wanted})
            seen = load(server, 1, options.seconds, "send", "POST", "/api/2.0/mlflow/runs/search", body)
            note("search", f"{wanted:,} of {size:,} runs, p50", server.name, seen["p50_ms"], "ms")
            note("search", f"{wanted:,} of {size:,} runs, p99", server.name, seen["p99_ms"], "ms", must)


def do_history(server, options):
    run = make_runs(server, 1)[0]
    begun = time.time()
    points = options.points if isinstance(server, Winnow) else options.peer_points
    load(server, 1, 3600, "series", str(points), run)
    note("history", f"writing {points:,} points of one metric, one client", server.name, points / (time.time() - begun), "points/s")
    if isinstance(server, Winnow):
        settle_winnow(server)
        path = f"/api/v1/series?run={run}&key=loss"
        seen = load(server, 1, options.seconds, "send", "GET", path + "&buckets=1000")
        note("history", f"{points:,} points as 1,000 buckets, p50", server.name, seen["p50_ms"], "ms", "<= 5")
        seen = load(server, 1, options.seconds, "send", "GET", path + "&raw=true")
        note("history", f"{points:,} points raw, CSV", server.name, points * seen["rate"], "points/s", ">= 5,000,000")
        note("history", "the same", server.name, seen["bytes"] / seen["seconds"] / 1e6, "MB/s")
    begun, token, count, pages = time.time(), "", 0, 0
    while pages == 0 or token:
        page = call(server, f"/api/2.0/mlflow/metrics/get-history?run_id={run}&metric_key=loss&max_results=25000" + (f"&page_token={token}" if token else ""))
        count, token, pages = count + len(page.get("metrics", [])), page.get("next_page_token", ""), pages + 1
    if count != points:
        raise SystemExit(f"{server.name}: get-history gave {count} of {points} points")
    note("history", f"{points:,} points by get-history, read by Python", server.name, points / (time.time() - begun), "points/s")


def do_chart(server, options):
    if not isinstance(server, Winnow):
        return
    runs = make_runs(server, options.chart_runs)
    before = disk_bytes(server)
    begun = time.time()
    load(server, 8, 3600, "series", str(options.points), *runs)
    note("chart", f"writing {len(runs)} runs x {options.points:,} points, 8 clients", server.name, len(runs) * options.points / (time.time() - begun), "points/s")
    settle_winnow(server)
    note("chart", "bytes on disk a point", server.name, (disk_bytes(server) - before) / (len(runs) * options.points), "B", "<= 12")
    path = "/api/v1/series?key=loss&buckets=1000&" + "&".join(f"run={run}" for run in runs)
    seen = load(server, 1, options.seconds, "send", "GET", path)
    note("chart", f"{len(runs)} runs x {options.points:,} points as 1,000 buckets each, p50", server.name, seen["p50_ms"], "ms", "<= 200")
    note("chart", "memory after that", server.name, server.memory_mib(), "MiB", "<= 100")


def do_rest(server, options):
    time.sleep(3)
    note("rest", "memory at rest, without Postgres", server.name, server.memory_mib(), "MiB", "<= 20")
    note("rest", "start with a fresh database", server.name, server.start_s, "s", "<= 1")


# ---- the report ----


def table():
    names = list(dict.fromkeys(f["who"] for f in figures))
    print("| what | unit | " + " | ".join(names) + " | ratio | must |\n| --- | --- |" + " --- |" * (len(names) + 2))
    for what, unit in dict.fromkeys((f["what"], f["unit"]) for f in figures):
        of = {f["who"]: f for f in figures if (f["what"], f["unit"]) == (what, unit)}
        ours, others = of.get("winnow"), [f["value"] for name, f in of.items() if name != "winnow"]
        better = (lambda a, b: a / b) if unit.endswith("/s") else (lambda a, b: b / a)
        ratio = ", ".join(f"{better(ours['value'], value):,.1f}x" for value in others if value and ours["value"]) if ours else ""
        cells = [f"{of[name]['value']:,.4g}" if name in of and of[name]["value"] < 100 else f"{of[name]['value']:,.0f}" if name in of else "" for name in names]
        print(f"| {what} | {unit} | " + " | ".join(cells) + f" | {ratio} | {ours['must'] if ours else ''} |")


def numbers(text):
    return sorted(int(float(word)) for word in text.replace("_", "").split(","))


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("winnow", type=pathlib.Path)
    parser.add_argument("what", nargs="*", metavar="WHAT", help=", ".join(PARTS))
    parser.add_argument("--seconds", type=int, default=8, help="of each load")
    parser.add_argument("--runs", type=numbers, default=[100000], help="sizes for search, ascending")
    parser.add_argument("--peer-runs", type=int, default=2000, help="runs for the peers' search: they are filled through their API")
    parser.add_argument("--points", type=int, default=1000000)
    parser.add_argument("--peer-points", type=int, default=50000)
    parser.add_argument("--chart-runs", type=int, default=100)
    parser.add_argument("--peers", default=",".join(PEERS))
    parser.add_argument("--json", type=pathlib.Path)
    options = parser.parse_args()
    unknown = [word for word in options.what if word not in PARTS]
    if unknown:
        parser.error(f"unknown: {', '.join(unknown)}; there are {', '.join(PARTS)}")
    return options


def main():
    options = arguments()
    what = options.what or PARTS
    wanted = [] if options.peers == "none" else options.peers.split(",")
    makers = [("winnow", lambda: Winnow(options.winnow.resolve()))] + [(name, lambda name=name: Peer(name)) for name in wanted]
    for part in ["rest"] * ("rest" in what) + [part for part in what if part != "rest"]:
        for name, make in makers:
            try:
                server = make()  # a fresh one for each part: no load lives off what another left behind
            except (Unavailable, OSError, subprocess.CalledProcessError) as e:
                print(f"left out: {name}, {part}: {e}", file=sys.stderr, flush=True)
                continue
            try:
                globals()[f"do_{part}"](server, options)
            except Refused as e:  # a peer may, under load: the others are measured all the same
                if name == "winnow":
                    raise SystemExit(f"{name}, {part}: {e}")
                print(f"left out: {name}, {part}: {e}", file=sys.stderr, flush=True)
            finally:
                server.close()
    table()
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    LOAD = pathlib.Path(sys.argv[1]).resolve().parent / "bench_load" if len(sys.argv) > 1 else ""
    if "--help" not in sys.argv and "-h" not in sys.argv and not os.access(LOAD, os.X_OK):
        raise SystemExit("build the driver first: ninja -C build/plain bench_load")
    main()
