#!/usr/bin/env python3
"""What running sweeps costs, beside peers and physical limits measured in the same run. Prints a Markdown table; --json FILE writes the figures.

    bench/sweeps/run.py [--json FILE] [--quick] build/plain/bin/winnow [trivial] …

trivial  trials that do nothing, a process each, 2 slots, all durable; beside GNU parallel of the same commands, and Ray Tune
Needs GNU parallel; Ray Tune is installed from PyPI below ~/.cache/winnow/bench at its first use (WINNOW_BENCH_RAY=0: left out).
"""
import argparse, json, os, pathlib, statistics, subprocess, sys, tempfile, time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests" / "support"), str(pathlib.Path(__file__).resolve().parent)]
from service import Service, wait  # noqa: E402

figures = []


def say(what, value, unit, must, **more):
    """`must`: a text for the table."""
    figures.append({"what": what, "value": value, "unit": unit, "must": must, **more})
    shown = f"{value:,.1f}" if isinstance(value, float) and abs(value) < 1000 else f"{value:,.0f}" if isinstance(value, (int, float)) else value
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


PARTS = {"trivial": trivial}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json")
    parser.add_argument("--quick", action="store_true", help="small counts: to see that it works")
    parser.add_argument("winnow")
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], default=[])
    args = parser.parse_args()
    print("| what | measured | must | beside |\n| --- | --- | --- | --- |", flush=True)
    for name in args.parts or PARTS:
        PARTS[name](pathlib.Path(args.winnow).resolve(), args.quick)
    if args.json:
        pathlib.Path(args.json).write_text(json.dumps({"figures": figures, "load": os.getloadavg()}, indent=1))


if __name__ == "__main__":
    main()
