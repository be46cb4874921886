"""The real MLflow client against a service: `PYTHON_WITH_MLFLOW test_mlflow_client.py URL`.

Works with mlflow 2.22 and 3.x; with mlflow-skinny what needs more (pandas, scikit-learn) is skipped.
"""
import os
import sys
import tempfile
import time
import uuid
import warnings

URL = sys.argv[1].rstrip("/")
os.environ["MLFLOW_TRACKING_URI"] = URL
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")
warnings.filterwarnings("ignore")

import mlflow  # noqa: E402
from mlflow import MlflowClient  # noqa: E402
from mlflow.entities import Metric, Param, RunTag, ViewType  # noqa: E402
from mlflow.exceptions import MlflowException  # noqa: E402

client = MlflowClient()
MAJOR = int(mlflow.__version__.split(".")[0])


def unique(prefix):
    return f"{prefix}-{uuid.uuid4().hex[:8]}"


def refused(code, call, *args, **kwargs):
    try:
        call(*args, **kwargs)
    except MlflowException as error:
        assert error.error_code == code, (error.error_code, str(error))
        return str(error)
    raise AssertionError(f"{call.__name__} was not refused")


def test_experiments():
    name = unique("exp")
    eid = client.create_experiment(name, tags={"a": "1"})
    exp = client.get_experiment(eid)
    assert exp.name == name and exp.tags == {"a": "1"} and exp.lifecycle_stage == "active"
    assert exp.artifact_location == f"mlflow-artifacts:/{eid}"
    assert client.get_experiment_by_name(name).experiment_id == eid
    assert client.get_experiment_by_name(unique("none")) is None
    refused("RESOURCE_ALREADY_EXISTS", client.create_experiment, name)
    client.set_experiment_tag(eid, "b", "2")
    assert client.get_experiment(eid).tags == {"a": "1", "b": "2"}
    renamed = unique("renamed")
    client.rename_experiment(eid, renamed)
    assert client.get_experiment(eid).name == renamed
    found = client.search_experiments(filter_string=f"name = '{renamed}'")
    assert [e.experiment_id for e in found] == [eid]
    found = client.search_experiments(filter_string="tags.b = '2' AND name LIKE 'renamed-%'")
    assert eid in [e.experiment_id for e in found]
    client.delete_experiment(eid)
    assert client.get_experiment(eid).lifecycle_stage == "deleted"
    assert eid not in [e.experiment_id for e in client.search_experiments()]
    assert eid in [e.experiment_id for e in client.search_experiments(view_type=ViewType.DELETED_ONLY)]
    client.restore_experiment(eid)
    assert client.get_experiment(eid).lifecycle_stage == "active"
    message = refused("RESOURCE_DOES_NOT_EXIST", client.get_experiment, "123456789")
    assert "No Experiment with id=123456789 exists" in message
    pages, token = [], None
    while True:
        page = client.search_experiments(max_results=2, page_token=token, order_by=["name ASC"])
        pages += [e.name for e in page]
        token = page.token
        if not token:
            break
    assert pages == sorted(pages) and len(pages) == len(set(pages))


def test_fluent_run():
    mlflow.set_experiment(unique("fluent"))
    with mlflow.start_run(run_name="one", tags={"kind": "test"}) as run:
        mlflow.log_param("lr", 0.1)
        mlflow.log_params({"batch": 32, "opt": "adam"})
        for step in range(10):
            mlflow.log_metric("loss", 1.0 / (step + 1), step=step)
        mlflow.log_metrics({"acc": 0.5, "f1": float("nan"), "top": float("inf")}, step=3)
        mlflow.set_tag("note", "größe ü")
        with mlflow.start_run(nested=True, run_name="child") as child:
            mlflow.log_metric("x", 1)
    got = client.get_run(run.info.run_id)
    assert got.info.status == "FINISHED" and got.info.run_name == "one" and got.info.end_time >= got.info.start_time
    assert got.data.params == {"lr": "0.1", "batch": "32", "opt": "adam"}
    assert got.data.metrics["loss"] == 0.1 and got.data.metrics["acc"] == 0.5
    assert got.data.metrics["f1"] != got.data.metrics["f1"] and got.data.metrics["top"] == float("inf")
    assert got.data.tags["kind"] == "test" and got.data.tags["note"] == "größe ü" and got.data.tags["mlflow.runName"] == "one"
    assert client.get_run(child.info.run_id).data.tags["mlflow.parentRunId"] == run.info.run_id
    history = client.get_metric_history(run.info.run_id, "loss")
    assert [m.step for m in history] == list(range(10)) and [m.value for m in history] == [1.0 / (s + 1) for s in range(10)]
    assert client.get_metric_history(run.info.run_id, "never") == []


def test_resume_and_killed_client():
    mlflow.set_experiment(unique("resume"))
    with mlflow.start_run() as run:
        mlflow.log_metric("a", 1, step=1)
    with mlflow.start_run(run_id=run.info.run_id):
        assert client.get_run(run.info.run_id).info.status == "RUNNING"
        mlflow.log_metric("a", 2, step=2)
    assert [m.value for m in client.get_metric_history(run.info.run_id, "a")] == [1, 2]
    try:
        with mlflow.start_run() as failing:
            raise KeyError("on purpose")
    except KeyError:
        pass
    assert client.get_run(failing.info.run_id).info.status == "FAILED"


def test_client_runs():
    eid = client.create_experiment(unique("client"))
    run = client.create_run(eid, start_time=1234, tags={"t": "1"})
    rid = run.info.run_id
    assert run.info.start_time == 1234 and run.info.status == "RUNNING" and run.data.tags["t"] == "1"
    assert run.info.artifact_uri == f"mlflow-artifacts:/{eid}/{rid}/artifacts"
    now = int(time.time() * 1000)
    client.log_batch(rid, metrics=[Metric("m", float(i), now + i, i) for i in range(1000)])
    client.log_batch(rid, params=[Param(f"p{i}", str(i)) for i in range(100)], tags=[RunTag(f"t{i}", str(i)) for i in range(100)])
    assert len(client.get_metric_history(rid, "m")) == 1000
    client.log_batch(rid, metrics=[Metric("m", 5.0, now + 5, 5)])  # the same again
    assert len(client.get_metric_history(rid, "m")) == 1000
    got = client.get_run(rid)
    assert got.data.metrics["m"] == 999.0 and got.data.params["p99"] == "99" and got.data.tags["t99"] == "99"
    message = refused("INVALID_PARAMETER_VALUE", client.log_batch, rid, [Metric("n", 1.0, now, 0)], [Param("p0", "other"), Param("new", "x")])
    assert "Changing param values is not allowed" in message
    got = client.get_run(rid)
    assert "n" not in got.data.metrics and "new" not in got.data.params, "a refused batch must leave nothing"
    client.log_param(rid, "p0", "0")
    refused("INVALID_PARAMETER_VALUE", client.log_param, rid, "p0", "1")
    client.set_tag(rid, "gone", "soon")
    client.delete_tag(rid, "gone")
    refused("RESOURCE_DOES_NOT_EXIST", client.delete_tag, rid, "gone")
    client.update_run(rid, status="FINISHED", name="renamed")
    assert client.get_run(rid).info.run_name == "renamed"
    client.set_terminated(rid, "KILLED", 99999)
    assert client.get_run(rid).info.end_time == 99999
    client.delete_run(rid)
    assert client.get_run(rid).info.lifecycle_stage == "deleted"
    refused("INVALID_PARAMETER_VALUE", client.log_metric, rid, "m", 1)
    refused("INVALID_PARAMETER_VALUE", client.set_tag, rid, "m", "1")
    client.restore_run(rid)
    client.log_metric(rid, "m", 1)
    refused("RESOURCE_DOES_NOT_EXIST", client.get_run, "0" * 32)


def test_search():
    eid = client.create_experiment(unique("search"))
    ids = []
    for i in range(12):
        run = client.create_run(eid, start_time=1000 + i, tags={"parity": "even" if i % 2 == 0 else "odd", "mlflow.runName": f"run {i}"})
        ids.append(run.info.run_id)
        client.log_batch(run.info.run_id, params=[Param("i", str(i)), Param("lr", "0.1" if i < 6 else "0.01")],
                         metrics=[Metric("acc", float("nan") if i == 5 else i / 10, 1, 0)] if i != 7 else [])

    def search(filter_string="", **kwargs):
        return [ids.index(r.info.run_id) for r in client.search_runs([eid], filter_string, **kwargs)]

    assert search() == list(range(11, -1, -1))
    assert search(order_by=["start_time ASC"]) == list(range(12))
    assert search("metrics.acc > 0.35 and params.lr = '0.1'") == [4]
    assert search("metrics.acc >= 0.8", order_by=["metrics.acc DESC"]) == [11, 10, 9, 8]
    assert search(order_by=["metrics.acc DESC"]) == [11, 10, 9, 8, 6, 4, 3, 2, 1, 0, 5, 7]
    assert search(order_by=["metrics.acc ASC"]) == [0, 1, 2, 3, 4, 6, 8, 9, 10, 11, 5, 7]
    assert search("tags.parity = 'even' AND attributes.start_time < 1005") == [4, 2, 0]
    assert search("tags.parity != 'even'", order_by=["params.i"]) == [1, 11, 3, 5, 7, 9]
    assert search("params.i LIKE '1%'") == [11, 10, 1]
    assert search("tags.parity ILIKE 'EV%' and metrics.acc < 0.3") == [2, 0]
    assert search("run_name = 'run 3'") == [3] and search("tags.`mlflow.runName` = 'run 3'") == [3]
    assert search(f"run_id IN ('{ids[1]}', '{ids[2]}')") == [2, 1]
    assert search("status = 'RUNNING'", max_results=3) == [11, 10, 9]
    assert search("metrics.acc != 0.1 and metrics.acc <= 0.2") == [2, 0]
    refused("INVALID_PARAMETER_VALUE", search, "metrics.acc > 'x'")
    refused("INVALID_PARAMETER_VALUE", search, "tags.a = 'x' OR tags.b = 'y'")
    for order in ([], ["metrics.acc DESC"], ["params.lr", "metrics.acc"], ["tags.none", "start_time ASC"], ["status", "run_name DESC"]):
        seen, token = [], None
        while True:
            page = client.search_runs([eid], "", order_by=order, max_results=5, page_token=token)
            seen += [ids.index(r.info.run_id) for r in page]
            token = page.token
            if not token:
                break
        assert seen == search(order_by=order), (order, seen)
    client.delete_run(ids[0])
    assert 0 not in search() and search(run_view_type=ViewType.DELETED_ONLY) == [0] and len(search(run_view_type=ViewType.ALL)) == 12
    time.sleep(2.5)  # the index of metrics has taken over
    assert search("metrics.acc >= 0.8", order_by=["metrics.acc DESC"]) == [11, 10, 9, 8]
    assert search("metrics.acc >= 0", order_by=["metrics.acc ASC"]) == [1, 2, 3, 4, 6, 8, 9, 10, 11]
    assert search("metrics.acc > 0.35 and params.lr = '0.1'") == [4]
    client.log_metric(ids[4], "acc", 5, step=1)
    assert search("metrics.acc >= 0.8", order_by=["metrics.acc DESC"]) == [4, 11, 10, 9, 8]
    try:
        import pandas  # noqa: F401
    except ImportError:
        return
    table = mlflow.search_runs([eid], order_by=["start_time ASC"])
    assert list(table["params.i"]) == [str(i) for i in range(1, 12)] and "metrics.acc" in table.columns


def test_artifacts():
    mlflow.set_experiment(unique("artifacts"))
    with mlflow.start_run() as run, tempfile.TemporaryDirectory() as folder:
        rid = run.info.run_id
        os.makedirs(os.path.join(folder, "sub dir"))
        for name, content in {"a.txt": b"hello", "sub dir/b ü.bin": bytes(range(256)) * 100, "empty": b""}.items():
            with open(os.path.join(folder, name), "wb") as file:
                file.write(content)
        mlflow.log_artifacts(folder, "data")
        mlflow.log_text("some text", "notes/n.txt")
        mlflow.log_dict({"a": 1}, "d.json")
        assert sorted(f.path for f in client.list_artifacts(rid)) == ["d.json", "data", "notes"]
        listed = {f.path: (f.is_dir, f.file_size) for f in client.list_artifacts(rid, "data")}
        assert listed["data/a.txt"] == (False, 5) and listed["data/sub dir"][0]
        with tempfile.TemporaryDirectory() as target:
            path = client.download_artifacts(rid, "data", target)
            with open(os.path.join(path, "sub dir/b ü.bin"), "rb") as file:
                assert file.read() == bytes(range(256)) * 100
            assert os.path.getsize(os.path.join(path, "empty")) == 0
        assert mlflow.artifacts.load_text(f"runs:/{rid}/notes/n.txt") == "some text"
        assert mlflow.artifacts.load_dict(f"runs:/{rid}/d.json") == {"a": 1}
        mlflow.log_text("other text", "notes/n.txt")
        assert mlflow.artifacts.load_text(f"runs:/{rid}/notes/n.txt") == "other text"
    missing = time.time()
    try:
        mlflow.artifacts.load_text(f"runs:/{rid}/never.txt")
        raise AssertionError("a missing artifact was found")
    except Exception as error:
        assert not isinstance(error, AssertionError), error
    assert time.time() - missing < 20, "a missing artifact must be told at once"


def test_uploads_in_parts():
    """Files that are larger than a part lie where those lie that are not."""
    settings = {"MLFLOW_ENABLE_PROXY_MULTIPART_UPLOAD": "true", "MLFLOW_MULTIPART_UPLOAD_MINIMUM_FILE_SIZE": str(5 << 20),
                "MLFLOW_MULTIPART_UPLOAD_CHUNK_SIZE": str(5 << 20)}
    mlflow.set_experiment(unique("parts"))
    os.environ.update(settings)
    try:
        with mlflow.start_run() as run, tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as target:
            contents = {"a.bin": os.urandom(11 << 20), "b.bin": os.urandom(5 << 20), "small": b"x", "sub/a.bin": os.urandom(6 << 20)}
            os.makedirs(os.path.join(folder, "sub"))
            for name, content in contents.items():
                with open(os.path.join(folder, name), "wb") as file:
                    file.write(content)
            mlflow.log_artifact(os.path.join(folder, "a.bin"))
            mlflow.log_artifacts(folder, "data")
            path = client.download_artifacts(run.info.run_id, "", target)
            wanted = {"a.bin": contents["a.bin"], **{f"data/{name}": content for name, content in contents.items()}}
            found = [os.path.relpath(os.path.join(root, name), path) for root, _, names in os.walk(path) for name in names]
            assert sorted(found) == sorted(wanted), found
            for name, content in wanted.items():
                with open(os.path.join(path, name), "rb") as file:
                    assert file.read() == content, name
    finally:
        for name in settings:
            del os.environ[name]


def test_registry():
    name = unique("model")
    model = client.create_registered_model(name, tags={"a": "1"}, description="first")
    assert model.name == name and model.tags == {"a": "1"} and model.description == "first"
    refused("RESOURCE_ALREADY_EXISTS", client.create_registered_model, name)
    eid = client.create_experiment(unique("registry"))
    run = client.create_run(eid)
    versions = [client.create_model_version(name, f"{run.info.artifact_uri}/model", run.info.run_id, tags={"n": str(i)}) for i in range(3)]
    assert [int(v.version) for v in versions] == [1, 2, 3] and versions[0].current_stage == "None" and versions[0].status == "READY"
    client.set_registered_model_alias(name, "champion", "2")
    assert int(client.get_model_version_by_alias(name, "champion").version) == 2
    client.set_registered_model_alias(name, "champion", "3")
    assert int(client.get_model_version_by_alias(name, "champion").version) == 3
    assert client.get_registered_model(name).aliases == {"champion": "3"}
    refused("INVALID_PARAMETER_VALUE", client.set_registered_model_alias, name, "v3", "1")
    refused("INVALID_PARAMETER_VALUE", client.set_registered_model_alias, name, "latest", "1")
    client.update_model_version(name, "1", description="told")
    assert client.get_model_version(name, "1").description == "told"
    client.set_model_version_tag(name, "1", "k", "v")
    assert client.get_model_version(name, "1").tags == {"n": "0", "k": "v"}
    client.delete_model_version_tag(name, "1", "k")
    client.transition_model_version_stage(name, "1", "production")
    client.transition_model_version_stage(name, "2", "Production", archive_existing_versions=True)
    assert client.get_model_version(name, "1").current_stage == "Archived"
    assert [int(v.version) for v in client.get_latest_versions(name, ["Production"])] == [2]
    found = client.search_model_versions(f"name = '{name}'", order_by=["version_number ASC"])
    assert [int(v.version) for v in found] == [1, 2, 3]
    assert [int(v.version) for v in client.search_model_versions(f"run_id = '{run.info.run_id}' and tags.n = '1'")] == [2]
    assert client.get_model_version_download_uri(name, "1") == f"{run.info.artifact_uri}/model"
    client.delete_model_version(name, "3")
    refused("RESOURCE_DOES_NOT_EXIST", client.get_model_version, name, "3")
    refused("INVALID_PARAMETER_VALUE", client.get_model_version_by_alias, name, "champion")
    assert int(client.create_model_version(name, f"{run.info.artifact_uri}/model", run.info.run_id).version) == 4
    renamed = unique("renamed")
    client.rename_registered_model(name, renamed)
    assert [m.name for m in client.search_registered_models(f"name = '{renamed}'")] == [renamed]
    assert [m.name for m in client.search_registered_models(f"name LIKE '{renamed[:-1]}%'")] == [renamed]
    client.delete_registered_model(renamed)
    refused("RESOURCE_DOES_NOT_EXIST", client.get_registered_model, renamed)


def test_versions_are_what_was_registered():
    """Whatever becomes of the run's files."""
    name = unique("kept")
    mlflow.set_experiment(unique("keeps"))
    client.create_registered_model(name)
    with mlflow.start_run() as run, tempfile.TemporaryDirectory() as target:
        mlflow.log_text("first", "m/f.txt")
        for source in ("m", "m/f.txt"):
            client.create_model_version(name, f"{run.info.artifact_uri}/{source}", run.info.run_id)
        client.create_model_version(name, f"models:/{name}/1")
        mlflow.log_text("second", "m/f.txt")
        mlflow.log_text("new", "m/new.txt")
        paths = [mlflow.artifacts.download_artifacts(client.get_model_version_download_uri(name, "2"), dst_path=target)]
        for version in "13":
            folder = mlflow.artifacts.download_artifacts(f"models:/{name}/{version}", dst_path=os.path.join(target, version))
            assert os.listdir(folder) == ["f.txt"], os.listdir(folder)
            paths.append(os.path.join(folder, "f.txt"))
        for path in paths:
            with open(path) as file:
                assert os.path.basename(path) == "f.txt" and file.read() == "first", path


def test_inputs():
    try:
        import numpy
    except ImportError:
        return
    mlflow.set_experiment(unique("inputs"))
    dataset = mlflow.data.from_numpy(numpy.arange(10.0), name="numbers")
    with mlflow.start_run() as run:
        mlflow.log_input(dataset, context="training")
        mlflow.log_input(dataset, context="training")
    inputs = client.get_run(run.info.run_id).inputs.dataset_inputs
    assert len(inputs) == 1 and inputs[0].dataset.name == "numbers" and inputs[0].tags[0].value == "training"
    eid = run.info.experiment_id
    assert len(client.search_runs([eid], "dataset.name = 'numbers' and dataset.context = 'training'")) == 1
    assert len(client.search_runs([eid], "dataset.name = 'others'")) == 0


def test_sklearn():
    try:
        import sklearn.linear_model
        from sklearn.datasets import load_iris
    except ImportError:
        return
    mlflow.set_experiment(unique("sklearn"))
    features, target = load_iris(return_X_y=True)
    name = unique("iris")
    with mlflow.start_run() as run:
        model = sklearn.linear_model.LogisticRegression(max_iter=200).fit(features, target)
        mlflow.log_metric("accuracy", model.score(features, target))
        where = {"name": "model"} if MAJOR >= 3 else {"artifact_path": "model"}
        mlflow.sklearn.log_model(model, **where, registered_model_name=name)
    loaded = mlflow.sklearn.load_model(f"models:/{name}/1")
    assert (loaded.predict(features) == model.predict(features)).all()
    client.set_registered_model_alias(name, "best", 1)
    assert (mlflow.pyfunc.load_model(f"models:/{name}@best").predict(features) == model.predict(features)).all()
    version = client.get_model_version(name, "1")
    assert version.run_id == run.info.run_id
    mlflow.sklearn.autolog()
    try:
        with mlflow.start_run() as auto:
            sklearn.linear_model.LogisticRegression(max_iter=300).fit(features, target)
        got = client.get_run(auto.info.run_id)
        assert got.data.params["max_iter"] == "300" and "training_accuracy_score" in got.data.metrics
    finally:
        mlflow.sklearn.autolog(disable=True)


def test_logged_models():
    if MAJOR < 3:
        return
    eid = client.create_experiment(unique("logged"))
    run = client.create_run(eid)
    first = client.create_logged_model(eid, name="first", source_run_id=run.info.run_id, params={"a": "1"}, tags={"t": "x"}, model_type="Agent")
    second = client.create_logged_model(eid, name="second")
    assert first.model_id.startswith("m-") and str(first.status).endswith("PENDING")
    client.finalize_logged_model(first.model_id, "READY")
    client.set_logged_model_tags(first.model_id, {"u": "y"})
    client.delete_logged_model_tag(first.model_id, "t")
    client.log_metric(run.info.run_id, "score", 0.5, model_id=first.model_id)
    got = client.get_logged_model(first.model_id)
    assert got.tags == {"u": "y"} and got.params == {"a": "1"} and got.metrics[0].key == "score"
    found = client.search_logged_models([eid], filter_string="metrics.score > 0.4")
    assert [m.model_id for m in found] == [first.model_id]
    found = client.search_logged_models([eid], order_by=[{"field_name": "metrics.score", "ascending": False}])
    assert [m.model_id for m in found] == [first.model_id, second.model_id]
    client.delete_logged_model(second.model_id)
    refused("RESOURCE_DOES_NOT_EXIST", client.get_logged_model, second.model_id)


def main():
    failed = 0
    wanted = sys.argv[2:]
    for name, test in list(globals().items()):
        if not name.startswith("test_") or (wanted and name not in wanted):
            continue
        began = time.time()
        try:
            test()
            print(f"ok    {name} {time.time() - began:.1f}s", flush=True)
        except Exception:
            import traceback

            failed += 1
            print(f"FAIL  {name}", flush=True)
            traceback.print_exc()
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
