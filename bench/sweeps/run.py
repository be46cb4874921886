#!/usr/bin/env python3
"""What running sweeps costs, beside peers and physical limits measured in the same run. Prints a Markdown table; --json FILE writes the figures.

    ninja -C build/plain winnow winnow-exec bench_schedule
    bench/sweeps/run.py [--json FILE] [--quick] build/plain/bin/winnow [trivial] [bytes] [latency] [term] [rest] [restart] [memory] [schedule]

trivial   trials that do nothing, a process each, 2 slots, all durable; in turns with GNU parallel of the same commands; and Ray Tune
bytes     recorded training logs repeated: printed to stored, and read for metrics; and what Postgres keeps of them
latency   a line printed to its metric readable
term      a bad value printed, one logged as MLflow's client does, and `winnow trial stop`, to the command's TERM
rest      a companion at rest: memory, processor time
restart   the service is killed with 1,000 trials running: until all are found again, and whether any was disturbed
memory    of the service with 1,000 trials running and 100,000 finished
schedule  a decision with 10,000 slots, by the length of the queue
Needs GNU parallel; Ray Tune is installed from PyPI below ~/.cache/winnow/bench at its first use (WINNOW_BENCH_RAY=0: left out).
"""
import argparse, json, os, pathlib, re, statistics, subprocess, sys, tempfile, time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests" / "support"), str(pathlib.Path(__file__).resolve().parent)]
from service import Service, wait  # noqa: E402

figures = []


def say(what, value, unit, must, **more):
    """`must`: a text for the table."""
    figures.append({"what": what, "value": value, "unit": unit, "must": must, **more})
    shown = f"{value:.4f}" if isinstance(value, float) and abs(value) < 0.1 else f"{value:,.1f}" if isinstance(value, float) and abs(value) < 1000 else f"{value:,.0f}" if isinstance(value, (int, float)) else value
    extra = ", ".join(f"{k} {v}" for k, v in more.items())
    print(f"| {what} | {shown} {unit} | {must} | {extra} |", flush=True)


def submit(service, spec):
    answer = service.post("/api/v1/sweeps", spec)
    assert answer.status == 201, answer
    return answer.json["id"]


def sweep(service, sweep_id):
    return service.get(f"/api/v1/sweeps/{sweep_id}").json


def finish(service, sweep_id, timeout=600):
    return wait(lambda: (s := sweep(service, sweep_id))["state"] not in ("RUNNING", "DRAINING", "PAUSED") and s, "the end of the sweep", timeout)


# ---- trivial trials ----

TRIVIAL = {"name": "trivial", "command": ["true", "{{x}}"], "method": "random", "parameters": {"x": {"min": 0.0, "max": 1.0}}}


def trivial_ours(service, count):
    begun = time.time()
    sweep_id = submit(service, {**TRIVIAL, "run_cap": count})
    while (over := sweep(service, sweep_id))["state"] == "RUNNING":
        time.sleep(0.2)
    assert over["progress"]["finished"] == count, over["progress"]
    return count / (over["ended"] / 1000 - begun)


def trivial_parallel(count, slots):
    lines = "".join(f"{i / count}\n" for i in range(count))
    begun = time.time()
    with tempfile.TemporaryDirectory() as home:
        subprocess.run(["parallel", f"-j{slots}", "--will-cite", "--joblog", f"{home}/log", "true", "{}"], input=lines, text=True, check=True,
                       stdout=subprocess.DEVNULL)
    return count / (time.time() - begun)


RAY = """
import os, subprocess, sys, time
os.environ["RAY_DEDUP_LOGS"] = "0"
import ray
from ray import tune
ray.init(num_cpus=2, include_dashboard=False, logging_level="ERROR")
def trial(config):
    subprocess.run(["true", str(config["x"])], check=True)
    return {"loss": config["x"]}
count = int(sys.argv[1])
begun = time.time()
tune.Tuner(trial, param_space={"x": tune.uniform(0, 1)}, tune_config=tune.TuneConfig(num_samples=count),
           run_config=tune.RunConfig(verbose=0, storage_path=sys.argv[2])).fit()
print("RATE", count / (time.time() - begun))
"""


def trivial_ray(count):
    if os.environ.get("WINNOW_BENCH_RAY") == "0":
        return None
    home = pathlib.Path(os.environ.get("XDG_CACHE_HOME", pathlib.Path.home() / ".cache")) / "winnow" / "bench" / "ray"
    python = home / "bin" / "python"
    if not (home / "made").exists():
        subprocess.run([sys.executable, "-m", "venv", str(home)], check=True)
        made = subprocess.run([str(python), "-m", "pip", "install", "-q", "--disable-pip-version-check", "ray[tune]"], capture_output=True, text=True)
        if made.returncode:
            print(f"Ray Tune cannot be installed: {made.stderr.strip().splitlines()[-1:]}", file=sys.stderr)
            return None
        (home / "made").touch()
    with tempfile.TemporaryDirectory() as out:
        done = subprocess.run([str(python), "-c", RAY, str(count), out], capture_output=True, text=True, timeout=900)
    rate = [line.split()[1] for line in done.stdout.splitlines() if line.startswith("RATE")]
    return float(rate[0]) if rate else None


def trivial(winnow, quick):
    """In turns, since the machine may be busy: what counts is the ratio."""
    count, rounds = (100, 2) if quick else (500, 7)
    ours, peer = [], []
    with Service(winnow, arguments=["--slots", "2"]) as service:
        trivial_ours(service, 20)
        for _ in range(rounds):
            peer.append(trivial_parallel(count, 2))
            ours.append(trivial_ours(service, count))
    ratios = sorted(a / b for a, b in zip(ours, peer))
    say("trivial trials, 2 slots", statistics.median(ours), "trials/s", ">= 1 x GNU parallel", parallel=round(statistics.median(peer), 1),
        ratio=round(statistics.median(ratios), 2), ratios=f"{ratios[0]:.2f} to {ratios[-1]:.2f}")
    ray = None if quick else trivial_ray(20)
    if ray:
        say("the same beside Ray Tune", statistics.median(ours) / ray, "x", ">= 100", ray=round(ray, 2))


# ---- output ----

def sql(service, query):
    env = {**os.environ, "PGPASSWORD": (service.data / "pg.secret").read_text().strip(), "PGOPTIONS": "-c search_path=winnow"}
    return subprocess.run(["psql", "-h", (service.data / "pg.socket").read_text().strip(), "-U", "winnow", "-d", "postgres", "-Atc", query],
                          check=True, capture_output=True, text=True, env=env).stdout.strip()


def bytes_stored(winnow, quick):
    logs = sorted((ROOT / "tests" / "data" / "logs" / "recordings").glob("*.std*"))
    with tempfile.TemporaryDirectory() as home, Service(winnow, arguments=["--slots", "2"]) as s:
        block = pathlib.Path(home) / "block"
        block.write_bytes(b"".join(log.read_bytes() for log in logs))
        times = (20 if quick else 300) * 1_000_000 // block.stat().st_size
        size = times * block.stat().st_size
        spec = {"name": "bytes", "command": ["sh", "-c", f"for i in $(seq {times}); do cat {block}; done"], "method": "random", "run_cap": 1,
                "parameters": {"x": {"min": 0.0, "max": 1.0}}}
        used = processor_ms(s.process.pid)
        sweep_id = submit(s, spec)
        finish(s, sweep_id)
        used = processor_ms(s.process.pid) - used
        trial = s.get(f"/api/v1/sweeps/{sweep_id}/trials").json["items"][0]
        assert sql(s, "select sum(next) from log_stream") == str(size), "not every byte was stored"
        took = (trial["ended"] - trial["started"]) / 1000
        kept = int(sql(s, "select sum(length(data)) from log_piece"))
        say("output of one run, printed to stored and read", size / 1e6 / took, "MB/s", ">= 50", compressed_MB_per_s=round(kept / 1e6 / took, 1),
            size_MB=round(size / 1e6), MB_per_s_of_the_services_processor_time=round(size / 1e3 / used, 1))


# ---- latencies ----

def job(kind, notes, *more):
    return ["python3", "-u", str(ROOT / "bench" / "sweeps" / "jobs.py"), kind, str(notes), *map(str, more)]


def percentiles(values):
    values = sorted(values)
    return values[len(values) // 2], values[min(len(values) - 1, len(values) * 99 // 100)]


def latency(winnow, quick):
    count = 20 if quick else 200
    with tempfile.TemporaryDirectory() as home, Service(winnow, arguments=["--slots", "2"]) as s:
        sweep_id = submit(s, {"name": "latency", "command": job("lines", home + "/notes", count), "method": "random", "run_cap": 1,
                              "parameters": {"x": {"min": 0.0, "max": 1.0}}, "metric": {"name": "loss"}})
        run = wait(lambda: s.get(f"/api/v1/sweeps/{sweep_id}/trials").json["items"], "the trial")[0]["run_id"]
        seen, last = [], None
        while sweep(s, sweep_id)["state"] == "RUNNING":
            for _ in range(50):
                metrics = s.get(f"/api/v1/runs/{run}").json["metrics"]
                value = (metrics.get("loss") or {}).get("last")
                if value and value != last:
                    seen.append((time.time() - value) * 1000)
                    last = value
                time.sleep(0.002)
        p50, p99 = percentiles(seen)
        say("a line printed to its metric readable, p50", p50, "ms", "<= 50", p99=f"{p99:.1f} (must 250)", values=len(seen))


def notes_of(path):
    found = {}
    for line in path.read_text().splitlines() if path.exists() else []:
        what, trial, *rest = line.split()
        found[what, int(trial)] = (float(rest[-1]), rest[0])
    return found


def term(winnow, quick):
    count = 5 if quick else 30
    for kind, must in (("print", 100), ("mlflow", 500)):
        with tempfile.TemporaryDirectory() as home, Service(winnow, arguments=["--slots", "2"]) as s:
            notes = pathlib.Path(home) / "notes"
            finish(s, submit(s, {"name": kind, "command": job(kind, notes), "method": "random", "run_cap": count, "metric": {"name": "loss"},
                                 "parameters": {"x": {"min": 0.0, "max": 1.0}}, "early_terminate": {"type": "threshold", "max": 10}}))
            found = notes_of(notes)
            gone = [(found["term", n][0] - found["said", n][0]) * 1000 for n in range(count)]
            p50, p99 = percentiles(gone)
            say(f"a bad value {'printed' if kind == 'print' else 'logged by MLflow'} to TERM, p50", p50, "ms", f"<= {must}", p99=round(p99, 1))
    with tempfile.TemporaryDirectory() as home, Service(winnow, arguments=["--slots", "2"]) as s:
        notes = pathlib.Path(home) / "notes"
        submit(s, {"name": "stop", "command": job("wait", notes), "method": "random", "run_cap": count, "parameters": {"x": {"min": 0.0, "max": 1.0}}})
        asked = {}
        for n in range(count):
            at, run = wait(lambda: notes_of(notes).get(("run", n)), f"trial {n}")
            time.sleep(0.1)
            asked[n] = time.time()
            answer = s.post(f"/api/v1/runs/{run}/stop")
            assert answer.status in (200, 201), answer
        wait(lambda: all(("term", n) in notes_of(notes) for n in range(count)), "the last TERM")
        found = notes_of(notes)
        p50, p99 = percentiles([(found["term", n][0] - asked[n]) * 1000 for n in range(count)])
        say("`trial stop` to TERM, p50", p50, "ms", "<= 500", p99=round(p99, 1))


# ---- many at once ----

def resident(pid):
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+)", status).group(1)) / 1024


def companions(service):
    """Process ids of the companions of this service, by their job file."""
    found = {}
    for entry in pathlib.Path("/proc").iterdir():
        try:
            words = (entry / "cmdline").read_bytes().split(b"\0") if entry.name.isdigit() else []
        except OSError:
            continue
        if len(words) > 1 and words[0].endswith(b"winnow-exec") and words[1].startswith(str(service.data).encode()):
            found[words[1].decode()] = int(entry.name)
    return found


def processor_ms(pid):
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return sum(map(int, fields[11:13])) * 1000 / os.sysconf("SC_CLK_TCK")


def rest(winnow, quick):
    seconds, count = (10, 5) if quick else (60, 50)
    with Service(winnow, arguments=["--slots", str(count)]) as s:
        submit(s, {"name": "rest", "command": ["sleep", "600"], "method": "random", "run_cap": count, "parameters": {"x": {"min": 0.0, "max": 1.0}}})
        wait(lambda: len(companions(s)) == count, "companions")
        time.sleep(3)
        pids = companions(s).values()
        before = sum(map(processor_ms, pids))
        time.sleep(seconds)
        used = sum(map(processor_ms, pids)) - before
        say("a companion at rest, resident", max(map(resident, pids)), "MiB", "<= 4")
        say("the same, of a core", used / count / seconds / 10, "%", "<= 0.02")
        stop_all(s)


def stop_all(service):
    for item in service.get("/api/v1/sweeps").json["items"]:
        service.post(f"/api/v1/sweeps/{item['id']}/stop")
    wait(lambda: not companions(service), "the end of all companions", 120)


def watched(service):
    """How many companions the service watches: each by a descriptor."""
    count = 0
    for fd in pathlib.Path(f"/proc/{service.process.pid}/fd").iterdir():
        try:
            count += os.readlink(fd) == "anon_inode:[pidfd]"
        except OSError:
            pass
    return count


def run_many(service, count):
    submit(service, {"name": "many", "command": ["sleep", "3600"], "method": "random", "run_cap": count, "parameters": {"x": {"min": 0.0, "max": 1.0}}})
    wait(lambda: sweep(service, service.get("/api/v1/sweeps").json["items"][0]["id"])["progress"]["running"] == count, "all running", 300)


def restart(winnow, quick):
    count = 50 if quick else 1000
    with Service(winnow, arguments=["--slots", str(count)]) as s:
        run_many(s, count)
        time.sleep(3) # until the last command has taken the place of its companion's fork
        before = companions(s)
        s.kill()
        begun = time.time()
        s.start()
        ready = time.time() - begun
        wait(lambda: watched(s) >= count, "all found", 60)
        found = time.time() - begun
        time.sleep(5)
        alive = companions(s)
        lost = sum(alive.get(path) != pid for path, pid in before.items())
        progress = s.get("/api/v1/sweeps").json["items"][0]["progress"]
        assert progress["running"] == count, progress
        say(f"service restart with {count:,} running trials, all found again", found, "s", "<= 5", ready=f"{ready:.2f} s", disturbed=lost)
        stop_all(s)


def memory(winnow, quick):
    running, finished = (20, 1000) if quick else (1000, 100_000)
    with Service(winnow, arguments=["--slots", str(running)]) as s:
        sweep_id = submit(s, {"name": "finished", "method": "random", "metric": {"name": "loss"}, "parameters": {"x": {"min": 0.0, "max": 1.0}}})
        for at in range(0, finished, 1000):
            trials = s.post(f"/api/v1/sweeps/{sweep_id}/ask", {"count": min(1000, finished - at)}).json["trials"]
            told = s.post(f"/api/v1/sweeps/{sweep_id}/tell", {"trials": [{"run_id": t["run_id"], "value": t["params"]["x"]} for t in trials]})
            assert told.status == 200, told
        run_many(s, running)
        time.sleep(5)
        say(f"the service with {running:,} running and {finished:,} finished, resident", resident(s.process.pid), "MiB", "<= 100")
        stop_all(s)


def schedule(winnow, quick):
    sizes = ["1000", "10000"] if quick else []
    out = subprocess.run([str(winnow.parent / "bench_schedule"), *sizes], check=True, capture_output=True, text=True).stdout
    rows = [json.loads(line) for line in out.splitlines()]
    for row in rows:
        say(f"a scheduling decision, {row['jobs']:,} jobs wait", row["mean_us"], "us", "<= 1000", p99_us=row["p99_us"], max_us=row["max_us"],
            times_the_smallest=round(row["mean_us"] / rows[0]["mean_us"], 2))


PARTS = {"trivial": trivial, "bytes": bytes_stored, "latency": latency, "term": term, "rest": rest, "restart": restart, "memory": memory,
         "schedule": schedule}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json")
    parser.add_argument("--quick", action="store_true", help="small counts: to see that it works")
    parser.add_argument("winnow")
    parser.add_argument("parts", nargs="*")
    args = parser.parse_args()
    print("| what | measured | must | beside |\n| --- | --- | --- | --- |", flush=True)
    for name in args.parts or PARTS:
        PARTS[name](pathlib.Path(args.winnow).resolve(), args.quick)
    if args.json:
        pathlib.Path(args.json).write_text(json.dumps({"figures": figures, "load": os.getloadavg()}, indent=1))


if __name__ == "__main__":
    main()
