"""The real MLflow client as a job uses it, with the job's token, where credentials are needed: `PYTHON_WITH_MLFLOW test_mlflow_job.py URL OTHER_RUN`.

MLFLOW_RUN_ID and MLFLOW_TRACKING_TOKEN are in the environment, as in a job.
"""
import os
import sys
import warnings

URL, OTHER = sys.argv[1].rstrip("/"), sys.argv[2]
OWN = os.environ["MLFLOW_RUN_ID"]
os.environ["MLFLOW_TRACKING_URI"] = URL
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")
warnings.filterwarnings("ignore")

import mlflow  # noqa: E402
import mlflow.sklearn  # noqa: E402
import numpy as np  # noqa: E402
from mlflow import MlflowClient  # noqa: E402
from mlflow.exceptions import MlflowException  # noqa: E402
from requests import HTTPError  # noqa: E402
from sklearn.linear_model import LinearRegression, Ridge  # noqa: E402
from sklearn.model_selection import GridSearchCV  # noqa: E402

client = MlflowClient()
X = np.arange(40).reshape(20, 2).astype(float)
Y = X.sum(axis=1)


def refused(word, call, *args, **kwargs):
    try:
        call(*args, **kwargs)
    except (MlflowException, HTTPError) as error:  # the latter of files
        assert "PERMISSION_DENIED" in str(error) and word in str(error), str(error)
        return
    raise AssertionError(f"{call.__name__} was not refused")


def children_of(run):
    return mlflow.search_runs([run.info.experiment_id], filter_string=f"tags.`mlflow.parentRunId` = '{run.info.run_id}'", output_format="list")


def test_all_that_a_script_does():
    with mlflow.start_run() as run:
        assert run.info.run_id == OWN
        mlflow.log_param("lr", 0.1)
        mlflow.log_metrics({"a": 1, "b": 2}, step=1)
        mlflow.log_text("text", "a.txt")
        with mlflow.start_run(nested=True) as child:
            mlflow.log_metric("c", 1)
            mlflow.log_text("text", "c.txt")
            with mlflow.start_run(nested=True):
                mlflow.log_metric("c", 2)
        assert [r.info.run_id for r in children_of(run)] == [child.info.run_id]
        mlflow.sklearn.autolog()
        GridSearchCV(Ridge(), {"alpha": [0.1, 1]}, cv=2).fit(X, Y)
        mlflow.sklearn.autolog(disable=True)
        assert len(children_of(run)) == 3
        name = {"name": "model"} if int(mlflow.__version__.split(".")[0]) >= 3 else {"artifact_path": "model"}
        mlflow.sklearn.log_model(LinearRegression().fit(X, Y), registered_model_name="jobs", **name)
    version = max(int(v.version) for v in client.search_model_versions("name = 'jobs'"))
    client.set_model_version_tag("jobs", str(version), "from", "job")
    client.set_registered_model_alias("jobs", "best", str(version))
    assert mlflow.sklearn.load_model("models:/jobs@best").predict(X).shape == (20,)
    assert client.get_run(OWN).data.params["lr"] == "0.1"


def test_what_is_not_its_own():
    os.environ.pop("MLFLOW_RUN_ID", None)
    refused("nested=True", mlflow.start_run)
    refused("scope", client.log_metric, OTHER, "x", 1)
    refused("scope", client.set_tag, OTHER, "mlflow.parentRunId", OWN)
    refused("files", client.log_text, OTHER, "text", "a.txt")
    refused("scope", client.create_experiment, "of a job")


def main():
    for name, test in list(globals().items()):
        if name.startswith("test_"):
            test()
            print(f"ok    {name}", flush=True)


if __name__ == "__main__":
    main()
