#!/usr/bin/env python3
"""Ask and tell through the real service, durable, beside one commit of pgbench on the same server settings and beside Optuna. Prints a
Markdown table.

    ninja -C build/plain winnow winnow-exec bench_ask_tell && bench/suggest/run.py build/plain/bin [latency] [load] [gp] [optuna] [million]

latency  TPE, ten floats, one worker on one connection: ask and tell at 1,000 and at 10,000 finished trials, beside one commit of pgbench
load     trials a second, 16 and 64 workers, an objective that takes no time: random, and TPE from 1,000 finished on
gp       Gaussian process at 100, 250 and 500 finished, four workers whose trials take two seconds: what an ask waits, beside random's
optuna   Optuna 5, TPE, the same ten floats, on Postgres and in memory: ask and tell at 1,000 finished. In a cached virtual environment
million  10^6 finished trials in one sweep (random, Sobol, TPE): ask, memory of the service, time of a restart
Needs pgbench of the installed Postgres.
"""
import argparse, glob, json, os, pathlib, re, statistics, subprocess, sys, tempfile, time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "support"))
from service import Service  # noqa: E402

ALL = ["latency", "load", "gp", "optuna", "million"]
PARAMETERS = {f"x{i}": {"min": 0.0, "max": 1.0} for i in range(10)}
PG = sorted(glob.glob("/usr/lib/postgresql/*/bin"), key=lambda p: int(p.split("/")[4]))[-1]
measured = {}


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bin", type=pathlib.Path, help="the directory of the programs")
    parser.add_argument("what", nargs="*", metavar="WHAT", help=", ".join(ALL))
    options = parser.parse_args()
    unknown = [word for word in options.what if word not in ALL]
    if unknown:
        parser.error(f"unknown: {', '.join(unknown)}; there are {', '.join(ALL)}")
    return options.bin.resolve(), options.what or ALL


BIN, WHAT = arguments()


def row(what, value, must):
    print(f"| {what} | {value} | {must} |", flush=True)


def ms(us):
    return f"{us / 1000:.2f} ms"


def driver(service, sweep, *arguments):
    done = subprocess.run([BIN / "bench_ask_tell", str(service.port), sweep, *map(str, arguments)], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"bench_ask_tell {arguments}: {done.stderr[-2000:]}\n{service.log()[-2000:]}")
    return json.loads(done.stdout)


def submit(service, name, sampler, **more):
    answer = service.post("/api/v1/sweeps", {"name": name, "metric": {"name": "loss"}, "parameters": PARAMETERS, "sampler": {"type": sampler, "seed": 1, **more}})
    if answer.status != 201:
        raise SystemExit(answer)
    return answer.json["id"]


def resident_mib(pid):
    return int(re.search(r"VmRSS:\s+(\d+)", pathlib.Path(f"/proc/{pid}/status").read_text()).group(1)) / 1024


def connection(service):
    """Of the service's own Postgres, so that all meet the same server and disk."""
    return {"host": (service.data / "pg.socket").read_text().strip(), "user": "winnow",
            "env": {**os.environ, "PGPASSWORD": (service.data / "pg.secret").read_text().strip()}}


def psql(service, text, database="postgres"):
    at = connection(service)
    subprocess.run([f"{PG}/psql", "-q", "-v", "ON_ERROR_STOP=1", "-h", at["host"], "-U", at["user"], "-c", text, database], env=at["env"], check=True)


def commit_of_pgbench(service):
    """Latency of a durable one-row insert by one client, in microseconds: p50, p99."""
    at = connection(service)
    psql(service, "create table if not exists public.bench_commit (id bigint generated always as identity primary key, x int)")
    with tempfile.TemporaryDirectory(prefix="winnow-bench-") as directory:
        script = pathlib.Path(directory) / "insert.sql"
        script.write_text("insert into public.bench_commit (x) values (1);\n")
        subprocess.run([f"{PG}/pgbench", "-h", at["host"], "-U", at["user"], "-n", "-M", "prepared", "-c", "1", "-t", "2000", "-f", script, "-l",
                        "--log-prefix", f"{directory}/log", "postgres"], env=at["env"], check=True, capture_output=True)
        times = sorted(int(line.split()[2]) for log in pathlib.Path(directory).glob("log.*") for line in log.read_text().splitlines())
    psql(service, "drop table public.bench_commit")
    return statistics.median(times), times[len(times) * 99 // 100]


def latency(service):
    for finished in (1000, 10000):
        sweep = submit(service, f"tpe-{finished}", "tpe")
        driver(service, sweep, "fill", finished)
        driver(service, sweep, "serial", 200)
        before, got, after = commit_of_pgbench(service), driver(service, sweep, "serial", 2000), commit_of_pgbench(service)
        commit = tuple((a + b) / 2 for a, b in zip(before, after))
        row(f"one commit of pgbench, same server, around the next two, p50 / p99", f"{ms(commit[0])} / {ms(commit[1])}", "")
        measured[finished] = got
        for what in ("ask", "tell"):
            must = "<= 1.2 ms" if what == "ask" and finished == 10000 else "<= 0.5 / 2 ms, or the commit + 0.15 ms"
            row(f"TPE {what}, {finished:,} finished, p50 / p99", f"{ms(got[what + '_p50'])} / {ms(got[what + '_p99'])}", must)


def load(service):
    for kind, finished in (("random", 0), ("tpe", 0), ("tpe", 1000)):
        for workers in (16, 64):
            sweep = submit(service, f"load-{kind}-{finished}-{workers}", kind)
            if finished:
                driver(service, sweep, "fill", finished)
            got = driver(service, sweep, "load", workers, 5)
            row(f"trials/s, {workers} workers, {kind}, from {finished:,} finished on", f"{got['trials_per_s']:,} ({got['trials']:,} trials)", ">= 3,000")


def gp(service):
    def workers(kind, finished):
        sweep = submit(service, f"{kind}-{finished}", kind)
        driver(service, sweep, "fill", finished)
        return driver(service, sweep, "load", 4, 60, 2000)
    beside = workers("random", 100)
    row(f"random ask beside the next, 4 workers, trials of 2 s, p50 / p99 ({beside['trials']} asks)", f"{ms(beside['ask_p50'])} / {ms(beside['ask_p99'])}", "")
    for finished in (100, 250, 500):
        got = workers("gp", finished)
        row(f"Gaussian process ask, {finished} finished, the same, p50 / p99", f"{ms(got['ask_p50'])} / {ms(got['ask_p99'])}", "<= 5 ms")
        row(f"the first ask of the four workers at once, right after {finished} results came, worst", ms(got["first_ask_max"]), "")


OPTUNA = """
import json, statistics, sys, time, optuna
optuna.logging.set_verbosity(optuna.logging.ERROR)
storage, finished, asks = (sys.argv[1] or None), int(sys.argv[2]), int(sys.argv[3])
space = {f"x{i}": optuna.distributions.FloatDistribution(0.0, 1.0) for i in range(10)}
sampler = optuna.samplers.TPESampler(seed=1)
study = optuna.create_study(storage=storage, sampler=sampler)
import random
r = random.Random(1)
rows = []
for _ in range(finished):
    p = {k: r.random() for k in space}
    rows.append(optuna.trial.create_trial(params=p, distributions=space, value=sum((x - 0.3) ** 2 for x in p.values())))
study.add_trials(rows)
ask, tell = [], []
for n in range(asks + 3):
    t = time.perf_counter()
    trial = study.ask()
    p = {k: trial.suggest_float(k, 0.0, 1.0) for k in space}
    a = time.perf_counter()
    study.tell(trial, sum((x - 0.3) ** 2 for x in p.values()))
    ask.append(a - t), tell.append(time.perf_counter() - a)
print(json.dumps({"ask": statistics.median(ask[3:]) * 1e6, "tell": statistics.median(tell[3:]) * 1e6}))
"""


def optuna_python():
    home = pathlib.Path(os.environ.get("XDG_CACHE_HOME", pathlib.Path.home() / ".cache")) / "winnow" / "bench" / "optuna-5.0.0"
    if not (home / "done").exists():
        subprocess.run([sys.executable, "-m", "venv", home], check=True)
        subprocess.run([home / "bin" / "pip", "install", "-q", "optuna==5.0.0", "psycopg2-binary"], check=True)
        (home / "done").touch()
    return home / "bin" / "python"


def optuna(service):
    python, at = optuna_python(), connection(service)
    psql(service, "create database optuna")
    ours = measured.get(1000)
    if not ours:
        sweep = submit(service, "tpe-beside", "tpe")
        driver(service, sweep, "fill", 1000)
        ours = driver(service, sweep, "serial", 1000)
    secret = at["env"]["PGPASSWORD"]
    for name, url, must in (("Postgres", f"postgresql+psycopg2://winnow:{secret}@/optuna?host={at['host']}", 50), ("memory", "", 20)):
        done = subprocess.run([python, "-c", OPTUNA, url, "1000", "100"], capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(done.stderr[-2000:])
        peer = json.loads(done.stdout.splitlines()[-1])
        times = (peer["ask"] + peer["tell"]) / (ours["ask_p50"] + ours["tell_p50"])
        row(f"Optuna 5 TPE in {name}, 1,000 finished: ask + tell p50", f"{ms(peer['ask'])} + {ms(peer['tell'])}: {times:.0f} times ours", f">= {must}")
    psql(service, "drop database optuna")


def million(_):
    for kind in ("random", "sobol", "tpe"):
        with Service(BIN / "winnow") as service:
            sweep = submit(service, f"million-{kind}", kind)
            driver(service, sweep, "fill", 1000000)
            got = driver(service, sweep, "serial", 300)
            memory = resident_mib(service.process.pid)
            service.stop()
            begun = time.time()
            service.start(timeout=300)
            there = time.time() - begun
            first = driver(service, sweep, "serial", 1)["first_ask_p50"]
            row(f"10^6 finished, {kind}: ask p50 / p99", f"{ms(got['ask_p50'])} / {ms(got['ask_p99'])}", "<= 5 ms")
            row(f"10^6 finished, {kind}: memory of the service", f"{memory:.0f} MiB, after a restart {resident_mib(service.process.pid):.0f}", "<= 300 MiB")
            row(f"10^6 finished, {kind}: restart, and the first ask after it", f"{there:.1f} s, {ms(first)}", "<= 10 s")


def main():
    print("| what | measured | must |\n| --- | --- | --- |", flush=True)
    with Service(BIN / "winnow", arguments=["--log-level", "warn"]) as service:
        for what in ALL:
            if what in WHAT:
                globals()[what](service)


if __name__ == "__main__":
    main()
