#!/usr/bin/env python3
"""The jobs of bench/sweeps/run.py: what a trial prints, and when it did and was told what, into a file of lines `what time`."""
import json, os, pathlib, signal, sys, time, urllib.request

KIND, NOTES = sys.argv[1], pathlib.Path(sys.argv[2])


def note(what):
    with open(NOTES, "a") as f:
        f.write(f"{what} {time.time():.6f}\n")


def on_term(*_):
    note(f"term {os.environ['WINNOW_TRIAL']}")
    os._exit(0)


def log_metric(key, value):
    body = json.dumps({"run_id": os.environ["MLFLOW_RUN_ID"], "key": key, "value": value, "timestamp": int(time.time() * 1000), "step": 1}).encode()
    urllib.request.urlopen(urllib.request.Request(
        os.environ["MLFLOW_TRACKING_URI"] + "/api/2.0/mlflow/runs/log-metric", body,
        {"Content-Type": "application/json", "Authorization": "Bearer " + os.environ["MLFLOW_TRACKING_TOKEN"]})).read()


signal.signal(signal.SIGTERM, on_term)
if KIND == "lines":  # each value is the time at which it was printed
    for i in range(int(sys.argv[3])):
        print(f"step {i + 1} loss={time.time():.6f}")
        time.sleep(0.1)
elif KIND == "wait":
    note(f"run {os.environ['WINNOW_TRIAL']} {os.environ['WINNOW_RUN_ID']}")
    time.sleep(60)
else:  # print, mlflow: one bad value, then TERM is waited for
    time.sleep(0.3)
    note(f"said {os.environ['WINNOW_TRIAL']}")
    if KIND == "print":
        print("step 1 loss=1000")
    else:
        log_metric("loss", 1000)
    time.sleep(60)
    note(f"never {os.environ['WINNOW_TRIAL']}")
