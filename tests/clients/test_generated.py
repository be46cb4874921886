"""A client that a generator makes of openapi.json, used as its user would: test_generated.py URL"""
import atexit, json, math, os, pathlib, shutil, subprocess, sys, tempfile, urllib.request

from openapi_spec_validator import OpenAPIV31SpecValidator

URL = sys.argv[1]
HERE = pathlib.Path(tempfile.mkdtemp(prefix="winnow-generated-"))
atexit.register(shutil.rmtree, HERE, True)
API = json.load(urllib.request.urlopen(URL + "/api/v1/openapi.json", timeout=60))
# Media types that the generator does not know are bytes to it.
BYTES = ["application/zip", "application/x-tar", "application/x-ndjson", "application/yaml", "text/plain"]


def check(name, ok, detail=""):
    print(f"{'ok' if ok else 'FAILED'} {name}", detail if not ok else "", flush=True)
    if not ok:
        sys.exit(1)


mistakes = [f"{'/'.join(map(str, e.absolute_path))}: {e.message[:300]}" for e in OpenAPIV31SpecValidator(API).iter_errors()]
check("the document is valid", not mistakes, mistakes)

(HERE / "openapi.json").write_text(json.dumps(API))
(HERE / "config.json").write_text(json.dumps({"content_type_overrides": {kind: "application/octet-stream" for kind in BYTES}}))
made = subprocess.run([pathlib.Path(sys.executable).with_name("openapi-python-client"), "generate", "--path", "openapi.json", "--config", "config.json", "--output-path", "made",
                       "--meta", "none", "--fail-on-warning"], cwd=HERE, capture_output=True, text=True,
                      env={**os.environ, "PATH": f"{pathlib.Path(sys.executable).parent}:{os.environ['PATH']}"})
check("a client is generated without a warning", made.returncode == 0 and "WARNING" not in made.stdout, made.stdout + made.stderr)

sys.path.insert(0, str(HERE))
from made import Client, models as m  # noqa: E402
from made.api.experiments import post_experiments  # noqa: E402
from made.api.runs import get_runs_id, get_runs_id_artifacts, get_runs_id_metrics, post_runs, post_runs_compare, post_runs_id_metrics, post_runs_search  # noqa: E402
from made.api.series import get_series  # noqa: E402
from made.api.sweeps import get_sweeps_id, post_sweeps, post_sweeps_id_ask, post_sweeps_id_tell  # noqa: E402

client = Client(base_url=URL)


def said(call, kind, **arguments):
    answer = call.sync(client=client, **arguments)
    check(f"{call.__name__.rpartition('.')[2]} gives a {kind.__name__}", isinstance(answer, kind), answer)
    return answer


experiment = said(post_experiments, m.Experiment, body=m.ExperimentNew(name="generated"))
check("it has no runs yet", experiment.run_count == 0 and experiment.deleted is None, experiment)
runs = []
for lr in ("0.1", "0.2"):
    runs.append(said(post_runs, m.Run, body=m.RunNew.from_dict({"experiment_id": experiment.id, "params": {"lr": lr}})))
    points = [{"key": "loss", "value": value, "step": step} for step, value in enumerate([1.0, "NaN", 0.25])]
    said(post_runs_id_metrics, m.PointsStored, id=runs[-1].id, body=m.PointsNew.from_dict({"points": points}))
run = said(get_runs_id, m.Run, id=runs[0].id)
check("a run as it was made", (run.state, run.params["lr"], run.metrics["loss"].last, run.sweep_id) == (m.RunState.RUNNING, "0.1", 0.25, None), run)
metrics = said(get_runs_id_metrics, m.MetricList, id=run.id)
check("its metric", (metrics.items[0].count, metrics.items[0].nans, metrics.items[0].min_.value) == (3, 1, 0.25), metrics)
found = said(post_runs_search, m.RunList, body=m.RunSearch.from_dict({"experiments": [experiment.id], "columns": ["name", "metrics.loss"]}))
check("what was searched", len(found.items) == 2 and not found.items[0].id and math.isclose(found.items[0].metrics["loss"].last, 0.25), found)
compared = said(post_runs_compare, m.RunComparison, body=m.RunCompare(runs=[r.id for r in runs]))
check("what differs", compared.params[0].differs and compared.params[0].values[runs[1].id] == "0.2", compared)
chart = said(get_series, m.Series, run=[r.id for r in runs], key=["loss"], buckets=10)
check("a chart", len(chart.series) == 2 and chart.series[0].x == [0, 1, 2] and chart.series[0].damaged is None, chart)
check("no files", said(get_runs_id_artifacts, m.FileList, id=run.id).items == [])
problem = said(get_runs_id, m.Problem, id="0" * 32)
check("what went wrong", (problem.status, problem.code) == (404, "not_found"), problem)

spec = {"name": "generated", "metric": {"name": "loss"}, "method": "random", "run_cap": 3, "parameters": {"x": {"min": 0.0, "max": 1.0}}}
preview = said(post_sweeps, m.SweepPreview, body=m.SweepFile.from_dict(spec), dry_run=True)
check("a preview", preview.points[0]["x"] >= 0 and preview.command is None, preview)
sweep = said(post_sweeps, m.Sweep, body=m.SweepFile.from_dict(spec))
trials = said(post_sweeps_id_ask, m.AskAnswer, id=sweep.id, body=m.Ask(count=3)).trials
tell = m.Tell.from_dict({"trials": [{"run_id": trial.run_id, "value": trial.params["x"]} for trial in trials]})
told = said(post_sweeps_id_tell, m.AskAnswer, id=sweep.id, body=tell)
check("all are told", all(trial.state == m.RunState.FINISHED for trial in told.trials), told)
sweep = said(get_sweeps_id, m.Sweep, id=sweep.id)
check("the best", (sweep.best.value, sweep.progress.finished) == (min(trial.params["x"] for trial in trials), 3), sweep)
