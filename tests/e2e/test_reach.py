#!/usr/bin/env python3
"""What a job's token reaches: where a credential is needed, its own run and the runs below it to write, their experiment to read; on loopback
no less than nobody."""
import json, pathlib, sys, time, unittest, urllib.parse, uuid

WINNOW = pathlib.Path(sys.argv.pop(1)).resolve()
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from service import Service, wait  # noqa: E402

MLFLOW, FILES, API = "/api/2.0/mlflow", "/api/2.0/mlflow-artifacts", "/api/v1"
PARENT = "mlflow.parentRunId"


def parent_tag(run):
    return [{"key": PARENT, "value": run}]


def twice(body):
    """As old clients send it."""
    return json.dumps(json.dumps(body))


class Ways:
    """Each way to write something, tried in this order: (the row, what is sent)."""

    def __init__(self, case, run):
        self.case, self.run, self.s = case, run, case.s
        made = self.s.get(f"{API}/runs/{run}").json
        self.uri, self.experiment = made["artifact_uri"], made["experiment_id"]
        self.place = urllib.parse.urlsplit(self.uri).path.lstrip("/")

    def rest(self, method, row, body=None, **values):
        return f"{method} {row}", method, API + row.format(id=self.run, **values), body

    def ml(self, row, body, method="POST", shown=None):
        return f"{method} {shown or row}", method, MLFLOW + row, body

    def runs(self):
        run = {"run_id": self.run}
        for row, body in (("update", {"run_name": "named"}), ("set-tag", {"key": "k", "value": "v"}), ("delete-tag", {"key": "k"}),
                          ("log-parameter", {"key": "p", "value": "1"}), ("log-metric", {"key": "m", "value": 1, "timestamp": 1, "step": 0}),
                          ("log-batch", {"metrics": [{"key": "m", "value": 2, "timestamp": 2, "step": 1}], "tags": [{"key": "b", "value": "b"}]}),
                          ("log-model", {"model_json": json.dumps({"artifact_path": "m", "flavors": {}, "utc_time_created": "x", "run_id": self.run})}),
                          ("log-inputs", {"datasets": [{"dataset": {"name": "d", "digest": "d", "source_type": "t", "source": "s"}}]}),
                          ("outputs", {"models": [{"model_id": self.case.logged_model(self.run), "step": 1}]}),
                          ("delete", {}), ("restore", {})):
            yield self.ml(f"/runs/{row}", {**body, **run})
        point = {"key": "m", "value": 3, "timestamp": 3, "step": 2}
        yield self.ml("/runs/log-batch", {"metrics": [point], "run_id": self.run})
        yield self.ml("/runs/log-metric", {**point, "run_uuid": self.run})
        yield self.ml("/runs/log-metric", twice({**point, **run}))
        yield self.rest("PATCH", "/runs/{id}", {"tags": {"x": "y"}})
        yield self.rest("DELETE", "/runs/{id}")
        yield self.rest("POST", "/runs/{id}/restore", {})
        yield self.rest("POST", "/runs/{id}/metrics", {"points": [{"key": "m", "step": 3, "value": 4}]})
        yield self.rest("POST", "/runs/{id}/report", {"step": 4, "metrics": {"m": 5}})
        yield self.rest("POST", "/runs/{id}/heartbeat", {})

    def children(self):
        yield self.ml("/runs/create", {"experiment_id": self.experiment, "tags": parent_tag(self.run)})
        yield self.rest("POST", "/runs", {"experiment_id": self.experiment, "tags": {PARENT: self.run}})

    def files(self):
        yield self.rest("PUT", "/runs/{id}/artifacts/{path}", "x", path="v1")
        yield self.rest("DELETE", "/runs/{id}/artifacts/{path}", path="v1")
        yield "PUT proxied", "PUT", f"{FILES}/artifacts/{self.place}/proxied", "x"
        yield "DELETE proxied", "DELETE", f"{FILES}/artifacts/{self.place}/proxied", None
        yield "POST upload-artifact", "POST", f"/ajax-api/2.0/mlflow/upload-artifact?run_uuid={self.run}&path=ajax", "x"
        yield "POST mpu/create", "POST", f"{FILES}/mpu/create/{self.place}", {"path": "parts", "num_parts": 1}

    def models(self):
        yield self.ml("/logged-models", {"experiment_id": self.experiment, "name": "m", "source_run_id": self.run})
        yield self.ml("/logged-models", {"experiment_id": self.experiment, "name": "m", "source_run_id": str(uuid.UUID(self.run))})
        model = self.case.logged_model(self.run)
        for method, row, body in (("PATCH", "", {"status": "LOGGED_MODEL_READY"}), ("PATCH", "/tags", {"tags": [{"key": "k", "value": "v"}]}),
                                  ("DELETE", "/tags/k", {}), ("POST", "/params", {"params": [{"key": "p", "value": "1"}]}), ("DELETE", "", {})):
            yield self.ml(f"/logged-models/{model}{row}", body, method, "/logged-models/{model_id}" + row)

    def versions(self):
        model, other = self.case.logged_model(self.run), self.case.logged_model(self.run)
        for source in ({"source": f"models:/{model}"}, {"source": f"models:/{other}", "model_id": other}, {"source": f"{self.uri}/w"},
                       {"source": f"runs:/{self.run}/w"}, {"source": f"{self.uri}/w", "run_id": self.run}, {"source": "s3://elsewhere/w", "run_id": self.run}):
            yield self.ml("/model-versions/create", {"name": "shared", **source})
        yield self.rest("POST", "/models/{name}/versions", {"run_id": self.run}, name="shared")
        version = self.case.version(self.run)
        yield self.ml("/model-versions/create", {"name": "shared", "source": f"models:/shared/{version}"})
        which = {"name": "shared", "version": str(version)}
        for method, row, body in (("PATCH", "update", {"description": "d"}), ("POST", "set-tag", {"key": "k", "value": "v"}),
                                  ("DELETE", "delete-tag", {"key": "k"}), ("POST", "transition-stage", {"stage": "Staging"})):
            yield self.ml(f"/model-versions/{row}", {**which, **body}, method)
        self.s.request("PUT", f"{API}/models/shared/aliases/of{version}", {"version": version})
        yield self.ml("/registered-models/alias", {**which, "alias": "best"})
        yield self.ml("/registered-models/alias", {"name": "shared", "alias": f"of{version}"}, "DELETE")
        self.s.request("PUT", f"{API}/models/shared/aliases/of{version}", {"version": version})
        yield self.rest("PUT", "/models/{name}/aliases/{alias}", {"version": version}, name="shared", alias="best")
        yield self.rest("DELETE", "/models/{name}/aliases/{alias}", name="shared", alias=f"of{version}")
        yield self.rest("PATCH", "/models/{name}/versions/{version}", {"description": "e"}, name="shared", version=version)
        yield self.ml("/model-versions/delete", which, "DELETE")
        yield self.rest("DELETE", "/models/{name}/versions/{version}", name="shared", version=self.case.version(self.run))

    def all(self):
        for ways in (self.runs, self.children, self.files, self.models, self.versions):
            yield from ways()


class Case(unittest.TestCase):
    arguments = ()

    @classmethod
    def setUpClass(cls):
        cls.s = Service(WINNOW, arguments=cls.arguments)
        cls.s.post(f"{API}/models", {"name": "shared"})

    @classmethod
    def tearDownClass(cls):
        cls.s.close()

    def setUp(self):
        self.elsewhere = self.experiment()
        self.own = self.make(executor=True)
        self.job = self.s.run_token(self.own)

    def experiment(self):
        return self.s.post(f"{API}/experiments", {"name": f"of {self.id()} {id(self)}"}).json["id"]

    def make(self, parent=None, executor=False, experiment="0"):
        run = self.s.post(f"{API}/runs", {"experiment_id": experiment, "tags": {PARENT: parent} if parent else {}}).json["id"]
        if executor:
            self.s.sql(f"update run set executor = 'local' where id = '{run}'")
        return run

    def logged_model(self, run):
        made = self.s.post(f"{MLFLOW}/logged-models", {"experiment_id": "0", "name": "m", "source_run_id": run})
        return made.json["model"]["info"]["model_id"]

    def version(self, run):
        return self.s.post(f"{API}/models/shared/versions", {"run_id": run}).json["version"]

    def ask(self, method, path, body=None, headers=None):
        """As the job, over TCP."""
        headers = dict(self.job if headers is None else headers)
        if path.startswith(MLFLOW):
            headers.setdefault("Content-Type", "application/json")
        return self.s.request(method, path, body, headers, unix=False)

    def end(self, run, hours, state=4):
        """Its attempt ended so long ago; state 4: FINISHED."""
        self.s.sql(f"update run set state = {state}, end_time = {int((time.time() - hours * 3600) * 1000)} where id = '{run}'")

    def is_over(self, ways, headers=None):
        """The token is as one that never was."""
        for row, method, path, body in ways:
            answer = self.ask(method, path, body, headers)
            with self.subTest(row, body=body):
                self.assertEqual((answer.status, answer.headers["WWW-Authenticate"]), (401, 'Bearer realm="winnow"'), answer)
                self.assertIn("ended more than a day ago", answer.json.get("detail") or answer.json["message"])

    def other_ways(self):
        """What is anybody's, and what is only read."""
        place = Ways(self, self.own).place
        for path in (f"{API}/whoami", f"{API}/status", f"{API}/models", f"{API}/runs/{self.own}", f"{MLFLOW}/runs/get?run_id={self.own}",
                     f"{API}/events?topic=run:{self.own}", f"{FILES}/artifacts?path={place}"):
            yield path, "GET", path, None
        yield "registered-models/create", "POST", f"{MLFLOW}/registered-models/create", {"name": f"of {self.own}"}

    def a_day_after_its_end(self, child):
        for hours, state in ((23.9, 4), (25, 8)):
            self.end(self.own, hours, state)
            if state == 8:  # LOST, and not known to be dead: it may come back
                self.s.sql(f"update run set end_time = null where id = '{self.own}'")
            self.may([*Ways(self, self.own).runs(), *Ways(self, child).files()], True)
            self.assertEqual(self.ask("GET", f"{API}/whoami").status, 200)
        self.end(self.own, 24.1)
        self.is_over([*Ways(self, self.own).all(), *Ways(self, child).all(), *self.other_ways()])
        self.assertEqual(self.ask("GET", "/health").status, 200)
        # the companion learns that nothing more is waited for, and ends
        self.assertEqual(self.ask("POST", f"{API}/companion/{self.own}/1/heartbeat", "").status, 409)
        # a later attempt has a token of its own
        self.s.sql(f"update run set attempt = 2, state = 2, end_time = null where id = '{self.own}'; insert into run_attempt (run, attempt, state, ended) "
                   f"values ('{self.own}', 1, 5, {int((time.time() - 25 * 3600) * 1000)})")
        self.is_over([*Ways(self, self.own).runs(), *self.other_ways()])
        self.may(Ways(self, self.own).runs(), True, headers=self.s.run_token(self.own, 2))

    def may(self, ways, allowed, status=403, headers=None):
        tried = set()
        for row, method, path, body in ways:
            answer = self.ask(method, path, body, headers)
            with self.subTest(row, body=body):
                self.assertEqual((answer.status < 300) if allowed else (answer.status == status), True, answer)
            tried.add(row)
        return tried


class WhereCredentialsAreNeeded(Case):
    arguments = ("--auth", "required")

    def described(self, wanted):
        """The rows of /api/v1 that a job's token reaches in that way: (method, path, policy)."""
        for path, operations in self.s.get(f"{API}/openapi.json").json["paths"].items():
            for method, operation in operations.items():
                policy = operation["x-winnow-policy"]
                if path.startswith(API) and operation["x-winnow-job"] == wanted and policy in ("read", "track", "curate"):
                    yield method.upper(), path[len(API):], policy

    def test_its_own_run_and_what_descends_from_it(self):
        child = self.ask("POST", f"{MLFLOW}/runs/create", {"experiment_id": "0", "tags": parent_tag(self.own)}).json["run"]["info"]["run_id"]
        grandchild = self.ask("POST", f"{API}/runs", {"tags": {PARENT: child}}).json["id"]
        tried = set()
        for run in (self.own, child, grandchild, self.make(self.own, experiment=self.elsewhere)):
            tried |= self.may(Ways(self, run).all(), True)
        # every row that says that it looks at what is named was tried
        rows = {f"{method} {path}" for wanted in ("named", "child", "model", "new version", "version") for method, path, policy in self.described(wanted)
                if policy != "read"}
        self.assertEqual(rows - tried, set())

    def test_nobody_elses(self):
        below = self.make(self.make())
        for run in (self.make(), self.make(executor=True), below, self.make(experiment=self.elsewhere)):
            self.may(Ways(self, run).all(), False)

    def test_what_an_executor_runs_below_it_is_that_jobs_alone(self):
        ways = Ways(self, self.make(self.own, executor=True))
        self.may((way for way in ways.runs() if way[0] != "POST /runs/{id}/heartbeat"), False)
        self.may(ways.files(), False)

    def test_no_run_is_made_its_own_by_the_token_itself(self):
        for foreign in (self.make(), self.make(executor=True)):
            self.may((("set-tag", "POST", f"{MLFLOW}/runs/set-tag", {"run_id": foreign, "key": PARENT, "value": self.own}),
                      ("log-batch", "POST", f"{MLFLOW}/runs/log-batch", {"run_id": foreign, "tags": parent_tag(self.own)}),
                      ("PATCH", "PATCH", f"{API}/runs/{foreign}", {"tags": {PARENT: self.own}}),
                      # the run comes from where the handler takes it
                      ("both names", "POST", f"{MLFLOW}/runs/set-tag", {"run_uuid": self.own, "run_id": foreign, "key": "k", "value": "v"}),
                      ("written last", "POST", f"{MLFLOW}/runs/set-tag", {"key": "run_id", "value": self.own, "run_id": foreign}),
                      ("own run as origin", "POST", f"{MLFLOW}/model-versions/create",
                       {"name": "shared", "run_id": self.own, "source": Ways(self, foreign).uri}),
                      ("own run as origin", "POST", f"{MLFLOW}/model-versions/create",
                       {"name": "shared", "run_id": self.own, "source": f"runs:/{foreign}/w"})), False)
            self.may(Ways(self, foreign).files(), False)
            self.assertNotIn(PARENT, self.s.get(f"{API}/runs/{foreign}").json["tags"])
        answer = self.ask("POST", f"{MLFLOW}/runs/set-tag", f'{{"run_id": "{self.own}", "run_id": "{foreign}", "key": "k", "value": "v"}}')
        self.assertEqual(answer.status, 400, answer)

    def test_no_length_hides_a_name(self):
        """A text with an escape is copied; however long it is, what stands behind it is read."""
        long = '{"zzz": "\\n' + "x" * (17 << 20) + '", '
        for run, allowed in ((self.own, True), (self.make(), False)):
            model = self.logged_model(run)
            bodies = (("set-tag", {"run_id": run, "key": "k", "value": "v"}),
                      ("log-metric", {"run_id": self.own, "key": "m", "value": 1, "timestamp": 1, "model_id": model}),
                      ("outputs", {"run_id": self.own, "models": [{"model_id": model, "step": 1}]}))
            for row, body in bodies:
                answer = self.ask("POST", f"{MLFLOW}/runs/{row}", long + json.dumps(body)[1:])
                with self.subTest(row, allowed=allowed):
                    self.assertEqual(answer.status, 200 if allowed else 403, answer)

    def test_no_other_name_beside_helps(self):
        """What is judged is what the handler takes."""
        own, other = (self.version(run) for run in (self.own, self.make()))
        self.s.request("PUT", f"{API}/models/shared/aliases/other{other}", {"version": other})
        named = {"name": "shared", "alias": f"other{other}", "version": str(own)}
        elsewhere = urllib.parse.quote(self.s.get(f"{API}/experiments/{self.elsewhere}").json["name"])
        self.may((("alias", "DELETE", f"{MLFLOW}/registered-models/alias", named),
                  ("alias", "DELETE", f"{API}/models/shared/aliases/other{other}", {"version": own}),
                  ("version", "DELETE", f"{API}/models/shared/versions/{other}", {"version": own}),
                  ("logged model", "POST", f"{MLFLOW}/logged-models", {"experiment_id": "0", "run_id": self.own}),
                  ("logged model", "POST", f"{MLFLOW}/logged-models", {"experiment_id": "0", "tags": parent_tag(self.own)}),
                  ("run", "POST", f"{MLFLOW}/runs/create", {"run_id": self.own, "source_run_id": self.own}),
                  ("twice", "GET", f"{MLFLOW}/experiments/get-by-name?experiment_name={elsewhere}&experiment_name=Default", None)), False)

    def test_no_other_way_to_name_it(self):
        """An experiment's number may have as many digits as an id; what stands before a path is no part of it."""
        long = self.elsewhere.rjust(32, "0")
        parent = parent_tag(f"m-{self.own}")
        self.may((("experiment", "GET", f"{API}/experiments/{long}", None),
                  ("experiments/get", "GET", f"{MLFLOW}/experiments/get?experiment_id={long}", None),
                  ("runs/search", "POST", f"{MLFLOW}/runs/search", {"experiment_ids": [long]}),
                  ("runs/search", "POST", f"{API}/runs/search", {"experiments": ["0", long]}),
                  ("version", "POST", f"{MLFLOW}/model-versions/create", {"name": "shared", "source": f"mlflow-artifacts://{self.own}/0", "run_id": self.own}),
                  ("version", "POST", f"{API}/models/shared/versions", {"source": f"mlflow-artifacts://{self.own}/", "run_id": self.own}),
                  ("child", "POST", f"{MLFLOW}/runs/create", {"experiment_id": "0", "tags": parent}),
                  ("child", "POST", f"{API}/runs", {"tags": {PARENT: f"m-{self.own}"}}),
                  ("model", "POST", f"{MLFLOW}/logged-models", {"experiment_id": "0", "source_run_id": f"m-{self.own}"})), False)

    def test_versions_of_others_are_not_archived(self):
        own, below, other = (self.version(run) for run in (self.own, self.make(self.own), self.make()))
        def to_staging(version, archive):
            yield "transition-stage", "POST", f"{MLFLOW}/model-versions/transition-stage", {
                "name": "shared", "version": str(version), "stage": "Staging", "archive_existing_versions": archive}
            yield "PATCH", "PATCH", f"{API}/models/shared/versions/{version}", {"stage": "staging", "archive_existing": bool(archive)}
        stage = lambda version: self.s.get(f"{API}/models/shared/versions/{version}").json["stage"]
        for version in (own, below):
            self.may(to_staging(version, True), True)
        self.assertEqual([stage(own), stage(below)], ["Archived", "Staging"])
        self.s.request("PATCH", f"{API}/models/shared/versions/{other}", {"stage": "Staging"})
        self.may(to_staging(own, False), True)
        for archive in (True, "true"):
            self.may(to_staging(own, archive), False)
        self.assertEqual([stage(own), stage(below), stage(other)], ["Staging"] * 3)

    def test_what_is_made_needs_an_origin_within_reach(self):
        for path, body, remedy in ((f"{MLFLOW}/runs/create", {"experiment_id": "0"}, "nested=True"),
                                   (f"{API}/runs", {}, PARENT),
                                   (f"{MLFLOW}/runs/create", {"tags": parent_tag("0" * 32)}, "scope"),
                                   (f"{MLFLOW}/runs/create", {"tags": parent_tag(self.own) + parent_tag(self.make())}, "scope"),
                                   (f"{MLFLOW}/logged-models", {"experiment_id": "0", "name": "m"}, "scope"),
                                   (f"{MLFLOW}/model-versions/create", {"name": "shared", "source": "s3://elsewhere/w"}, "scope"),
                                   (f"{MLFLOW}/model-versions/create", {"name": "shared", "run_id": self.own, "source": "mlflow-artifacts:/0"}, "scope")):
            answer = self.ask("POST", path, body)
            with self.subTest(path, body=body):
                self.assertEqual(answer.status, 403, answer)
                self.assertIn(remedy, str(answer.json), answer)

    def test_an_attempt_that_is_over_writes_nothing_any_more(self):
        child = self.make(self.own)
        self.s.sql(f"update run set attempt = 2 where id = '{self.own}'")
        set_tag = [("set-tag", "POST", f"{MLFLOW}/runs/set-tag", {"run_id": run, "key": "k", "value": "v"}) for run in (self.own, child)]
        self.may([*set_tag, *Ways(self, self.own).children(), *Ways(self, child).files(), *Ways(self, child).models()], False, 409)
        self.may(set_tag, True, headers=self.s.run_token(self.own, 2))

    def test_metrics_of_logged_models(self):
        """A run writes to its own models; what it reads may be anybody's."""
        def ways(run, *models):
            point = {"key": "m", "value": 1, "timestamp": 1, "step": 0}
            points = [{**point, "model_id": model, "step": step} for step in range(300) for model in models]
            first = {"run_id": run, **point, "model_id": models[-1]}
            yield from (("log-metric", "POST", f"{MLFLOW}/runs/log-metric", body) for body in
                        (first, json.dumps(first).replace("model_id", "mod\\u0065l_id"), twice(first), {"model_id": models[-1], **point, "run_id": run}))
            yield from (("log-batch", "POST", f"{MLFLOW}/runs/log-batch", body) for body in
                        ({"run_id": run, "metrics": points}, {"metrics": points, "run_id": run}))
            yield "outputs", "POST", f"{MLFLOW}/runs/outputs", {"run_id": run, "models": [{"model_id": model, "step": 1} for model in models]}

        child = self.make(self.own)
        own, below, foreign = (self.logged_model(run) for run in (self.own, child, self.make()))
        nobodys = self.s.post(f"{MLFLOW}/logged-models", {"experiment_id": "0", "name": "m"}).json["model"]["info"]["model_id"]
        for run in (self.own, child):
            self.may(ways(run, own, below), True)
            for other in (foreign, nobodys):
                self.may([*ways(run, other), *ways(run, own, other)], False)
        for model in (foreign, nobodys):
            self.assertNotIn("metrics", self.s.get(f"{MLFLOW}/logged-models/{model}").json["model"].get("data", {}))
        reading = {"run_id": self.own, "models": [{"model_id": foreign}]}
        self.may([("log-inputs", "POST", f"{MLFLOW}/runs/log-inputs", reading)], True)

    def test_an_experiment_is_named_and_not_made(self):
        there, new = self.s.get(f"{API}/experiments/{self.elsewhere}").json["name"], f"new {id(self)}"
        child = {"tags": {PARENT: self.own}}
        made = self.ask("POST", f"{API}/runs", {"experiment": there, **child})
        self.assertEqual((made.status, made.json["experiment_id"]), (201, self.elsewhere), made)
        refused = self.ask("POST", f"{API}/runs", {"experiment": new, **child})
        self.assertEqual((refused.status, refused.json["code"]), (403, "forbidden"), refused)
        self.assertIn("name one that is there", refused.json["hint"])
        self.assertEqual(self.s.get(f"{MLFLOW}/experiments/get-by-name?experiment_name={urllib.parse.quote(new)}").status, 404)
        writer = {"Authorization": f"Bearer {self.s.token}"}
        self.assertEqual(self.ask("POST", f"{API}/runs", {"experiment": new, **child}, writer).status, 201)

    def test_a_day_after_the_end_of_its_attempt_it_is_none(self):
        self.a_day_after_its_end(self.make(self.own))

    def test_the_token_of_a_run_that_is_gone_is_none(self):
        self.s.sql(f"delete from run where id = '{self.own}'")
        self.is_over([("models", "GET", f"{API}/models", None), *Ways(self, self.make()).runs()])

    def test_circles_and_long_lines_come_to_an_end(self):
        def set_tag(run):
            return [("set-tag", "POST", f"{MLFLOW}/runs/set-tag", {"run_id": run, "key": "k", "value": "v"})]

        one, other = self.make(), self.make()
        for run, parent in ((one, other), (other, one)):
            self.s.request("PATCH", f"{API}/runs/{run}", {"tags": {PARENT: parent}})
        self.may(set_tag(one), False)
        line = [self.own]
        for _ in range(17):
            line.append(self.make(line[-1]))
        self.may(set_tag(line[16]), True)
        self.may(set_tag(line[17]), False)
        self.s.request("PATCH", f"{API}/runs/{one}", {"tags": {PARENT: "no id"}})
        self.may(set_tag(other), False)

    def test_nothing_else_is_written(self):
        closed = 0
        for method, path, policy in self.described("nothing"):
            answer = self.ask(method, API + path.replace("{id}", self.own).replace("{name}", "shared"), {} if method != "GET" else None)
            with self.subTest(path, method=method):
                self.assertEqual(answer.status, 403, answer)
            closed += 1
        self.assertGreater(closed, 15)
        for method, row, body in (("POST", "experiments/create", {"name": "x"}), ("POST", "experiments/delete", {"experiment_id": "0"}),
                                  ("POST", "experiments/restore", {"experiment_id": "0"}), ("POST", "experiments/search", {"max_results": 1}),
                                  ("GET", "experiments/search?max_results=1", None),
                                  ("POST", "experiments/update", {"experiment_id": "0", "new_name": "x"}),
                                  ("POST", "experiments/set-experiment-tag", {"experiment_id": "0", "key": "k", "value": "v"}),
                                  ("POST", "experiments/delete-experiment-tag", {"experiment_id": "0", "key": "k"}),
                                  ("POST", "registered-models/rename", {"name": "shared", "new_name": "x"}),
                                  ("PATCH", "registered-models/update", {"name": "shared", "description": "x"}),
                                  ("DELETE", "registered-models/delete", {"name": "shared"}),
                                  ("POST", "registered-models/set-tag", {"name": "shared", "key": "k", "value": "v"}),
                                  ("DELETE", "registered-models/delete-tag", {"name": "shared", "key": "k"})):
            answer = self.ask(method, f"{MLFLOW}/{row}", body)
            with self.subTest(row, method=method):
                self.assertEqual((answer.status, answer.json["error_code"]), (403, "PERMISSION_DENIED"), answer)
                self.assertRegex(answer.json["message"], r'^a job.s token is for its run: .* \(`winnow token create --scope (read|write)` makes a token that has it\)$')

    def reads(self, run, experiment):
        model = self.logged_model(run) if experiment == "0" else None
        place = Ways(self, run).place
        self.s.request("PUT", f"{API}/runs/{run}/artifacts/file", "x")
        for row in ("/runs/get?run_id={run}", "/metrics/get-history?run_uuid={run}&metric_key=m", "/metrics/get-history-bulk?run_id={run}&metric_key=m",
                    "/metrics/get-history-bulk-interval?run_ids={run}&metric_key=m", "/artifacts/list?run_id={run}",
                    "/experiments/get?experiment_id={experiment}", "/experiments/get-by-name?experiment_name={name}",
                    *(("/logged-models/{model}", "/logged-models/{model}/artifacts/directories") if model else ())):
            name = urllib.parse.quote(self.s.get(f"{API}/experiments/{experiment}").json["name"])
            yield "GET", MLFLOW + row.format(run=run, experiment=experiment, name=name, model=model), None
        yield "GET", f"/get-artifact?run_uuid={run}&path=file", None
        yield "GET", f"{FILES}/artifacts/{place}/file", None
        yield "GET", f"{FILES}/artifacts?path={place}", None
        for row in ("runs/search", "logged-models/search", "experiments/search-datasets"):
            yield "POST", f"{MLFLOW}/{row}", {"experiment_ids": [experiment]}
        yield "POST", f"{API}/runs/search", {"experiments": [experiment]}
        yield "POST", f"{API}/runs/compare", {"runs": [run]}
        yield "GET", f"{API}/series?run={run}&key=m&x=step", None
        for method, path, policy in self.described("named"):
            if policy == "read" and "/runs/{id}" in path:
                yield method, API + path.replace("{id}", run).replace("{path}", "file").replace("{stream}", "stdout"), None
        yield "GET", f"{API}/experiments/{experiment}", None

    def test_its_experiment_is_read(self):
        for run in (self.own, self.make(), self.make(executor=True)):
            for method, path, body in self.reads(run, "0"):
                answer = self.ask(method, path, body)
                with self.subTest(path, body=body):
                    self.assertIn(answer.status, (200, 404) if "/logs/" in path else (200,), answer)
        below = self.make(self.own, experiment=self.elsewhere)
        self.assertEqual(self.ask("GET", f"{API}/runs/{below}").status, 200)

    def test_no_other_experiment_is_read(self):
        for method, path, body in self.reads(self.make(experiment=self.elsewhere), self.elsewhere):
            answer = self.ask(method, path, body)
            with self.subTest(path, body=body):
                self.assertEqual(answer.status, 403, answer)
        for method, path, body in (("POST", f"{MLFLOW}/runs/search", {"experiment_ids": ["0", self.elsewhere]}),
                                   ("POST", f"{MLFLOW}/runs/search", {"run_id": self.own, "experiment_ids": [self.elsewhere]}),
                                   ("POST", f"{MLFLOW}/runs/search", {}), ("POST", f"{API}/runs/search", {}),
                                   ("POST", f"{API}/runs/compare", {"runs": [self.own, self.make(experiment=self.elsewhere)]}),
                                   ("GET", f"{API}/events?topic=run:{self.own},run:{self.make(experiment=self.elsewhere)}", None),
                                   ("GET", f"{API}/events?topic=run:{self.own},%20queue", None),
                                   ("GET", f"{API}/events?topic=run:{self.own}&topic=queue", None),
                                   ("GET", f"{FILES}/artifacts", None), ("GET", f"{FILES}/artifacts?path={self.elsewhere}", None)):
            answer = self.ask(method, path, body)
            with self.subTest(path, body=body):
                self.assertEqual(answer.status, 403, answer)

    def test_what_is_there_for_all(self):
        version = self.version(self.make(experiment=self.elsewhere))
        for path in (f"{API}/status", f"{API}/whoami", f"{API}/openapi.json", f"{API}/models", f"{API}/models/shared/versions/{version}",
                     f"{MLFLOW}/registered-models/get?name=shared", f"{MLFLOW}/model-versions/get?name=shared&version={version}"):
            with self.subTest(path):
                self.assertEqual(self.ask("GET", path).status, 200)
        made = self.ask("POST", f"{MLFLOW}/registered-models/create", {"name": f"made {id(self)}"})
        self.assertEqual(made.status, 200, made)

    def test_others_are_not_asked(self):
        """A token with the scope does what it always did."""
        writer = {"Authorization": "Bearer " + self.s.post(f"{API}/tokens", {"name": "w", "scopes": ["write"]}).json["token"]}
        for run in (self.make(), self.make(experiment=self.elsewhere)):
            self.may(Ways(self, run).all(), True, headers=writer)


class OnLoopback(Case):
    def test_no_less_than_nobody(self):
        """But what executors run is their jobs' alone, with a token as without."""
        foreign = self.make(executor=True)
        for run in (self.own, self.make(self.own), self.make(), self.make(experiment=self.elsewhere)):
            self.may(Ways(self, run).all(), True)
        for headers in (self.job, {}):
            self.may((way for way in Ways(self, foreign).runs() if way[0] != "POST /runs/{id}/heartbeat"), False, headers=headers)
            self.may(Ways(self, foreign).files(), False, headers=headers)
            self.may(Ways(self, foreign).models(), False, headers=headers)
            point = {"run_id": self.make(), "key": "m", "value": 1, "timestamp": 1, "model_id": self.logged_model(foreign)}
            self.may([("metric of a model", "POST", f"{MLFLOW}/runs/log-metric", point)], False, headers=headers)
            made = self.ask("POST", f"{MLFLOW}/runs/create", {"experiment_id": "0"}, headers)
            self.assertEqual(made.status, 200, made)
            self.assertEqual(self.ask("POST", f"{MLFLOW}/experiments/search", {"max_results": 10}, headers).status, 200)
            self.assertEqual(self.ask("POST", f"{API}/runs", {"experiment": f"{self.id()} {len(headers)}"}, headers).status, 201)

    def test_a_day_after_the_end_of_its_attempt_it_is_none(self):
        self.a_day_after_its_end(self.make(self.own))
        self.may([("without one", "POST", f"{MLFLOW}/runs/set-tag", {"run_id": self.make(self.own), "key": "k", "value": "v"})], True, headers={})

    def test_a_job_that_runs_is_known_without_its_row(self):
        run = self.s.post(f"{API}/runs", {"command": ["sleep", "100000"]}).json["id"]
        shown = lambda: self.s.get(f"{API}/runs/{run}").json
        wait(lambda: shown()["state"] == "RUNNING", "the job")
        token = self.s.run_token(run, shown()["attempt"])
        whoami = lambda: self.ask("GET", f"{API}/whoami", headers=token).status
        self.end(run, 25, state=2)
        self.assertEqual(whoami(), 200)
        self.assertEqual(self.s.post(f"{API}/runs/{run}/stop").status, 200)
        wait(lambda: shown()["state"] == "KILLED", "its end")
        wait(lambda: self.s.sql(f"select dead from run where id = '{run}'") == "t", "the last that is written to its row")
        self.assertEqual(whoami(), 200)
        self.end(run, 25, state=7)
        self.assertEqual(whoami(), 401)

    def test_a_foreign_run_made_its_child_is_one(self):
        """Whoever may write it may say so; what an executor runs nobody takes over."""
        unowned, owned = self.make(), self.make(executor=True)
        for run, status in ((unowned, 200), (owned, 403)):
            answer = self.ask("POST", f"{MLFLOW}/runs/set-tag", {"run_id": run, "key": PARENT, "value": self.own})
            self.assertEqual(answer.status, status, answer)
        self.may(Ways(self, unowned).files(), True)
        self.may(Ways(self, owned).files(), False)


if __name__ == "__main__":
    unittest.main(verbosity=1)
