#!/usr/bin/env python3
"""Ask and tell through the real service, durable, beside one commit of pgbench on the same server settings and beside Optuna. Prints a
Markdown table.

    ninja -C build/plain winnow winnow-exec bench_ask_tell && bench/suggest/run.py build/plain/bin [latency] [load] [gp] [optuna] [million]

latency  TPE, ten floats, one worker on one connection: ask and tell at 1,000 and at 10,000 finished trials, beside one commit of pgbench
load     trials a second, 16 and 64 workers, an objective that takes no time: random, and TPE from 1,000 finished on
gp       Gaussian process at 100, 250 and 500 finished, four workers whose trials take two seconds: what an ask waits
optuna   Optuna 5, TPE, the same ten floats, on Postgres and in memory: ask and tell at 1,000 finished. In a cached virtual environment
million  10^6 finished trials in one sweep (random, Sobol, TPE): ask, memory of the service, time of a restart
Needs pgbench of the installed Postgres.
"""
import json, os, pathlib, re, statistics, subprocess, sys, tempfile, time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "support"))
from service import Service  # noqa: E402

BIN = pathlib.Path(sys.argv[1]).resolve()
ALL = ["latency", "load", "gp", "optuna", "million"]
WHAT = sys.argv[2:] or ALL
PARAMETERS = {f"x{i}": {"min": 0.0, "max": 1.0} for i in range(10)}
measured = {}


def row(what, value, must):
    print(f"| {what} | {value} | {must} |", flush=True)


def us(value):
    return f"{value / 1000:.2f} ms"


def driver(service, sweep, *arguments):
    done = subprocess.run([BIN / "bench_ask_tell", str(service.port), sweep, *map(str, arguments)], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"bench_ask_tell {arguments}: {done.stderr[-2000:]}\n{service.log()[-2000:]}")
    return json.loads(done.stdout)


def submit(service, name, sampler, **more):
    answer = service.post("/api/v1/sweeps", {"name": name, "method": "random" if sampler == "random" else "bayes", "metric": {"name": "loss"}, "parameters": PARAMETERS,
                                             "sampler": {"type": sampler, "seed": 1, **more}})
    if answer.status != 201:
        raise SystemExit(answer)
    return answer.json["id"]


def resident_mib(pid):
    return int(re.search(r"VmRSS:\s+(\d+)", pathlib.Path(f"/proc/{pid}/status").read_text()).group(1)) / 1024


def latency(service):
    commit = commit_of_pgbench(service)
    row("one commit of pgbench, same server, p50 / p99", f"{us(commit[0])} / {us(commit[1])}", "")
    for finished in (1000, 10000):
        sweep = submit(service, f"tpe-{finished}", "tpe")
        driver(service, sweep, "fill", finished)
        driver(service, sweep, "serial", 100)
        got = driver(service, sweep, "serial", 2000)
        measured[f"tpe-{finished}"] = got
        for what in ("ask", "tell"):
            must = "<= 1.2 ms" if what == "ask" and finished == 10000 else "<= 0.5 / 2 ms, or one commit + 0.15 ms"
            row(f"TPE {what}, {finished:,} finished, p50 / p99", f"{us(got[what + '_p50'])} / {us(got[what + '_p99'])}", must)


def commit_of_pgbench(service):
    """Latency of one-row inserts by one client on the service's own server, in microseconds: p50, p99."""
    options = private_postgres(service)
    with tempfile.TemporaryDirectory(prefix="winnow-bench-") as directory:
        os.chmod(directory, 0o777)
        script = pathlib.Path(directory) / "insert.sql"
        script.write_text("insert into bench_commit (x) values (1);\n")
        env = {**os.environ, "PGPASSWORD": options["password"]}
        where = ["-h", options["host"], "-p", options["port"], "-U", options["user"], options["dbname"]]
        psql = ["psql", "-q", "-v", "ON_ERROR_STOP=1", *where]
        subprocess.run([*psql, "-c", "create table if not exists bench_commit (id bigint generated always as identity primary key, x int)"], env=env, check=True)
        subprocess.run(["pgbench", "-n", "-M", "prepared", "-c", "1", "-t", "2000", "-f", str(script), "-l", "--log-prefix", f"{directory}/log", *where],
                       env=env, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        times = sorted(int(line.split()[2]) for log in pathlib.Path(directory).glob("log.*") for line in log.read_text().splitlines())
        subprocess.run([*psql, "-c", "drop table bench_commit"], env=env, check=True)
    return statistics.median(times), times[len(times) * 99 // 100]
