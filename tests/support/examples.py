"""An example of examples/ as its user runs it: `winnow up sweep.yaml` in a copy of its directory, made shorter by edits of the sweep file."""
import os, pathlib, shutil, subprocess, tempfile, urllib.parse

from service import wait

EXAMPLES = pathlib.Path(__file__).resolve().parents[2] / "examples"


class Example:
    """with Example(winnow, service, "digits-convnet", {"run_cap: 16": "run_cap: 3"}) as e: e.up()"""

    def __init__(self, winnow, service, name, edits=None):
        self.winnow, self.service = str(winnow), service
        self.home = pathlib.Path(tempfile.mkdtemp(prefix="winnow-example-"))
        self.directory = self.home / name
        shutil.copytree(EXAMPLES / name, self.directory, ignore=shutil.ignore_patterns(".venv", "data", "__pycache__"))
        shutil.copy(EXAMPLES / "setup.sh", self.home)
        file = self.directory / "sweep.yaml"
        text = file.read_text()
        for old, new in (edits or {}).items():
            if text.count(old) != 1:
                raise AssertionError(f"{name}/sweep.yaml has {text.count(old)} times {old!r}, and the test edits one")
            text = text.replace(old, new)
        file.write_text(text)

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        shutil.rmtree(self.home, ignore_errors=True)

    def cli(self, *arguments, timeout=240):
        env = {**os.environ, "WINNOW_URL": f"unix:{self.service.data}/winnow.sock"}
        done = subprocess.run([self.winnow, *arguments], cwd=self.directory, env=env, capture_output=True, text=True, timeout=timeout)
        if done.returncode:
            raise AssertionError(f"winnow {' '.join(arguments)}: {done.returncode}\n{done.stdout}\n{done.stderr}\n{self.first_log()}")
        return done.stdout

    def up(self):
        """Submits, follows to the end; then `sweep` and `trials` are there."""
        self.cli("up", "sweep.yaml")
        self.sweep = self.newest()
        self.trials = self.service.get(f"/api/v1/sweeps/{self.sweep['id']}/trials?limit=100").json["items"]
        return self

    def newest(self):
        return self.service.get("/api/v1/sweeps?limit=1").json["items"][0]

    def first_log(self):
        """What the first trial said, for the message of a failed test."""
        trials = self.service.get(f"/api/v1/sweeps/{self.newest()['id']}/trials?limit=1").json["items"] if self.service.get("/api/v1/sweeps").json["items"] else []
        return "\n".join(self.service.get(f"/api/v1/runs/{t['run_id']}/logs/{s}?tail=4000").body.decode() for t in trials for s in ("stdout", "stderr"))

    def points(self, trial, key):
        """[(step, value)] as an MLflow client reads them."""
        path = f"/api/2.0/mlflow/metrics/get-history?run_id={trial['run_id']}&metric_key={urllib.parse.quote(key)}"
        return [(p["step"], p["value"]) for p in self.service.get(path).json["metrics"]]

    def keys(self, trial):
        """Names of the metrics that were read, without those of the companion."""
        metrics = self.service.get(f"/api/v1/runs/{trial['run_id']}").json["metrics"]
        return {key for key in metrics if not key.startswith("system/")}

    def version(self, model):
        """The newest version of a registered model."""
        path = f"/api/v1/models/{model}/versions?limit=1"
        return wait(lambda: (a := self.service.get(path)).status == 200 and a.json["items"], f"a version of {model}")[0]
