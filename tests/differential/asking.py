"""Random requests of MLflow's protocol, valid and broken ones, over things that both servers know by the same symbol.

A request is (kind, method, path, body): `kind` names its row of the protocol, `{r3}` in texts stands for the third run, whatever its id on the
server. `keep` says which symbol gets which part of the answer."""
import random

LONG = "x" * 300
ODD_KEYS = ["a/b", "a b", "größe", "a-b.c:d", "order", "count"]
BAD_KEYS = ["", "a//b", "/a", "a/", "a$b", "..", "a/../b", LONG, "tab\there"]
BAD_IDS = ["0" * 32, "nothing", "../x", "a" * 33]
STAGES = ["None", "Staging", "Production", "Archived"]
NAMES = [f"model-{i}" for i in range(6)]
ALIASES = ["champion", "blue", "v2", "latest", "bad alias"]
FILTERS = [
    "metrics.acc > 0.5", "metrics.acc <= 0.5 and params.lr = '0.1'", "params.lr != '0.1'", "tags.team = 'vision'", "tags.team LIKE 'v%'", "tags.team ILIKE 'V%'",
    "params.lr LIKE '0.%'", "attributes.status = 'RUNNING'", "status = 'FINISHED'", "run_name = 'run 3'", "run_name LIKE 'run%'", "attribute.start_time > 100",
    "start_time <= 300", "end_time > 0", "metrics.`a b` > 0", "params.\"a b\" = 'x'", "user_id = 'ada'", "metrics.acc > 0.1 AND metrics.acc < 0.9", "",
    "tags.team IS NULL", "params.lr IS NOT NULL", "tags.`mlflow.runName` LIKE 'run%'", "run_id IN ('{r1}', '{r2}')", "run_id NOT IN ('{r1}')", "metrics.acc = 0.25",
    # broken ones
    "metrics.acc > 'x'", "params.lr = 3", "params.lr = abc", "foo.x = 1", "foo = 1", "metrics.acc", "(tags.a='b')", "0.9 < metrics.acc", "metrics.a-b = 1",
    "tags.a='b' OR tags.c='d'", "params.x > '3'", "tags.a == 'b'", "   ", "run_id IN ()", "status IN ('a')", "start_time > '1'", "metrics.acc LIKE 'x'", "a = 'b' ; c = 'd'",
    "params.lr = '0.1' and", "and params.lr = '0.1'", "experiment_id = '1'", "lifecycle_stage = 'active'",
]
ORDERS = ["metrics.acc DESC", "metrics.acc", "params.lr ASC", "tags.team", "start_time DESC", "attributes.start_time ASC", "attributes.status", "run_name DESC",
          "metrics.`a b`", "foo.x", "acc", "metrics.acc  DESC", "metrics.acc down", "datasets.name"]
EXPERIMENT_FILTERS = ["name = 'experiment 1'", "name LIKE 'exp%'", "name ILIKE 'EXP%'", "tags.team = 'vision'", "creation_time > 0", "attribute.name != 'Default'", "", "x = 'y'",
                      "name > 'a'", "creation_time > 'a'", "tags.team IS NULL", "metrics.a > 1"]
EXPERIMENT_ORDERS = ["name", "name DESC", "experiment_id", "experiment_id DESC", "tags.x", "nothing"]
MODEL_FILTERS = ["name = 'model-1'", "name LIKE 'model%'", "name ILIKE 'MODEL%'", "tags.team = 'vision'", "tag.team != 'vision'", "", "name IN ('a')", "description = 'x'", "name > 'a'"]
VERSION_FILTERS = ["name = 'model-1'", "run_id = '{r1}'", "run_id IN ('{r1}', '{r2}')", "version_number > 1", "tags.team = 'vision'", "source_path LIKE 's3%'", "name LIKE 'm%'", "",
                   "version_number IN (1)", "name IN ('a')", "nothing = 'x'"]


# Fields without which, or with nonsense in which, a write is refused.
REFUSED = {"name", "key", "run_id", "timestamp", "value", "version", "stage", "new_name", "alias", "source"}


class Requests:
    def __init__(self, seed):
        self.r = random.Random(seed)
        self.experiments, self.runs, self.models, self.versions, self.made = ["0"], [], [], [], 0

    # ---- parts ----

    def one(self, items, otherwise="0" * 32):
        return self.r.choice(items) if items else otherwise

    def symbol(self, letter):
        self.made += 1
        return f"{letter}{self.made}"

    def experiment(self):
        return self.one(["99999", "-1", ""]) if self.r.random() < 0.05 else self.one(self.experiments)

    def run(self):
        return self.one(BAD_IDS) if self.r.random() < 0.06 else self.one(self.runs)

    def key(self):
        x = self.r.random()
        return self.one(BAD_KEYS) if x < 0.06 else self.one(ODD_KEYS) if x < 0.15 else self.one(["acc", "lr", "team", "loss", "depth"])

    def text(self):
        return self.one(["0.1", "0.01", "vision", "", "x", "ü", "a'b", "z" * 6100])

    def pairs(self, most=3, longest=10000):
        keys = dict.fromkeys(self.key() for _ in range(self.r.randrange(most + 1)))  # the same twice is an error of the database there
        return [{"key": key, "value": self.text()[:longest]} for key in keys]

    def metric(self):
        return {"key": self.key(), "value": self.one([0.25, 0.5, 0.75, 1, -3.5, 0, "0.125", "NaN", 1e-300]), "timestamp": self.one([0, 1, 1000, "5", 1795287390000]),
                "step": self.one([0, 1, 2, 3, -5, "7", 9007199254740993])}

    def twist(self, body, is_read):
        """Sometimes breaks a field: gone, empty, null, of another type. In a write only fields that both servers refuse then, or else they
        would know different things afterwards."""
        body = dict(body)
        fields = sorted(field for field in body if is_read or field in REFUSED)
        if fields and self.r.random() < 0.12:
            field = self.one(fields)
            how = self.r.randrange(5)
            if how == 0:
                del body[field]
            else:
                body[field] = ["", None, {"a": 1}, ["x"]][how - 1]
        return body

    def post(self, kind, path, body, keep=None, method="POST"):
        is_read = path.endswith(("search", "get-latest-versions"))
        return kind, method, "/api/2.0/mlflow/" + path, self.twist(body, is_read), keep or {}

    def get(self, kind, path, fields, keep=None):
        return kind, "GET", "/api/2.0/mlflow/" + path, {k: v for k, v in fields.items() if self.r.random() > 0.03}, keep or {}

    # ---- rows ----

    def experiment_create(self):
        name = f"experiment {self.made}" if self.r.random() < 0.85 else self.one(["Default", "experiment 1", LONG * 2])
        symbol = self.symbol("e")
        body = {"name": name}
        if self.r.random() < 0.3:
            body["tags"] = self.pairs(3, 5000)
        if self.r.random() < 0.1:
            body["artifact_location"] = self.one(["s3://bucket/path", "mlflow-artifacts:/elsewhere", "s3://b/p#fragment", "s3://b/a;b", "/tmp/a;b", "/tmp/a;b/c", "/tmp/a;", "http://h/a;b",
                                                 "s3://b/p?a=%252e%252e"])
        return self.post("experiments/create", "experiments/create", body, {symbol: ("experiment_id",)})

    def experiment_get(self):
        return self.get("experiments/get", "experiments/get", {"experiment_id": self.experiment()})

    def experiment_by_name(self):
        return self.get("experiments/get-by-name", "experiments/get-by-name", {"experiment_name": self.one(["Default", "experiment 1", "experiment 2", "no such"])})

    def experiment_change(self):
        what = self.one(["delete", "restore", "restore", "update", "set-experiment-tag", "delete-experiment-tag"])
        body = {"experiment_id": self.experiment()}
        if what == "delete" and body["experiment_id"] == "0":
            what = "restore"
        if what == "update":
            body["new_name"] = self.one([f"renamed {self.made}", "Default", ""])
        if what.endswith("tag"):
            body["key"] = self.key()
        if what.startswith("set"):
            body["value"] = self.text()[:5000]
        return self.post(f"experiments/{what}", f"experiments/{what}", body)

    def experiment_search(self):
        body = {"max_results": self.one([1, 3, 100, 100, 0, 60000, "5"]), "filter": self.one(EXPERIMENT_FILTERS), "view_type": self.one(["ACTIVE_ONLY", "ALL", "DELETED_ONLY"])}
        if self.r.random() < 0.5:
            body["order_by"] = [self.one(EXPERIMENT_ORDERS) for _ in range(self.r.randrange(1, 4))]
        return self.post("experiments/search", "experiments/search", body)

    def run_create(self):
        symbol = self.symbol("r")
        body = {"experiment_id": self.experiment() or "99999", "start_time": self.one([self.made * 10, str(self.made * 10)]), "run_name": f"run {self.made}", "user_id": self.one(["ada", "", "bob"])}
        if self.r.random() < 0.4:
            body["tags"] = [pair for pair in self.pairs() if 0 < len(pair["key"]) <= 250]  # others make no run here, and one there
        return self.post("runs/create", "runs/create", body, {symbol: ("run", "info", "run_id")})

    def run_get(self):
        return self.get("runs/get", "runs/get", {self.one(["run_id", "run_id", "run_uuid"]): self.run()})

    def run_update(self):
        body = {"run_id": self.run(), "status": self.one(["FINISHED", "FAILED", "RUNNING", "KILLED", "SCHEDULED", 3]), "end_time": self.one([5, 500, "900"])}
        if self.r.random() < 0.3:
            body["run_name"] = f"run {self.made}"
        return self.post("runs/update", "runs/update", body)

    def run_trash(self):
        what = self.one(["delete", "restore", "restore"])
        return self.post(f"runs/{what}", f"runs/{what}", {"run_id": self.run()})

    def log_metric(self):
        return self.post("runs/log-metric", "runs/log-metric", {"run_id": self.run(), **self.metric()})

    def log_parameter(self):
        return self.post("runs/log-parameter", "runs/log-parameter", {"run_id": self.run(), "key": self.key(), "value": self.text()})

    def set_tag(self):
        return self.post("runs/set-tag", "runs/set-tag", {"run_id": self.run(), "key": self.key(), "value": self.text()})

    def delete_tag(self):
        return self.post("runs/delete-tag", "runs/delete-tag", {"run_id": self.run(), "key": self.key()})

    def log_batch(self):
        body = {"run_id": self.run(), "metrics": [self.metric() for _ in range(self.r.randrange(4))], "params": self.pairs(2), "tags": self.pairs(2)}
        if self.r.random() < 0.03:
            body["params"] = [{"key": f"p{i}", "value": "1"} for i in range(101)]
        return self.post("runs/log-batch", "runs/log-batch", body)

    def log_inputs(self):
        dataset = {"name": self.one(["iris", "mnist", LONG * 2]), "digest": self.one(["1", "2", "3" * 40]), "source_type": "local", "source": "file"}
        tags = [{"key": "mlflow.data.context", "value": self.one(["train", "eval"])}]
        return self.post("runs/log-inputs", "runs/log-inputs", {"run_id": self.run(), "datasets": [{"dataset": dataset, "tags": tags}]})

    def run_search(self):
        body = {"experiment_ids": [self.one(self.experiments) for _ in range(self.r.randrange(1, 4))], "filter": self.one(FILTERS), "max_results": self.one([1, 5, 100, 100, 0, 60000, "3"]),
                "run_view_type": self.one(["ACTIVE_ONLY", "ALL", "DELETED_ONLY"])}
        if self.r.random() < 0.6:
            body["order_by"] = [self.one(ORDERS) for _ in range(self.r.randrange(1, 3))]
        return self.post("runs/search", "runs/search", body)

    def history(self):
        return self.get("metrics/get-history", "metrics/get-history", {"run_id": self.run(), "metric_key": self.key(), "max_results": self.one(["100", "25000", "1"])})

    def history_interval(self):
        fields = {"run_ids": self.run(), "metric_key": self.key()}
        if self.r.random() < 0.5:
            fields.update(start_step=self.one(["0", "1"]), end_step=self.one(["3", "0"]))
        return self.get("metrics/get-history-bulk-interval", "metrics/get-history-bulk-interval", fields)

    def artifacts(self):
        return self.get("artifacts/list", "artifacts/list", {"run_id": self.run(), "path": self.one(["a", "a/b", "../x", "/etc"])})

    def model(self):
        return self.one(NAMES + ["no such model"])

    def model_create(self):
        return self.post("registered-models/create", "registered-models/create", {"name": self.one(NAMES + [""]), "description": self.text()[:50], "tags": self.pairs(2)})

    def model_read(self):
        return self.get("registered-models/get", "registered-models/get", {"name": self.model()})

    def model_change(self):
        what = self.one(["update", "set-tag", "delete-tag", "rename", "delete"])
        body = {"name": self.model()}
        if what == "update":
            body["description"] = self.text()[:50]
        if what.endswith("tag"):
            body["key"] = self.key()
        if what == "set-tag":
            body["value"] = self.one(["1", "vision", "ü"])
        if what == "rename":
            body["new_name"] = self.one(NAMES)
        if what == "delete" and self.r.random() < 0.6:
            what, body = "update", {"name": body["name"], "description": "kept"}
        method = {"update": "PATCH", "delete": "DELETE", "delete-tag": "DELETE"}.get(what, "POST")
        return self.post(f"registered-models/{what}", f"registered-models/{what}", body, method=method)

    def model_search(self):
        fields = {"filter": self.one(MODEL_FILTERS), "max_results": self.one(["1", "100", "1000", "1001"])}
        if self.r.random() < 0.4:
            fields["order_by"] = self.one(["name", "name DESC", "tags.x"])
        return self.get("registered-models/search", "registered-models/search", fields)

    def latest_versions(self):
        body = {"name": self.model()}
        if self.r.random() < 0.5:
            body["stages"] = [self.one(STAGES + ["production", "Nowhere"])]
        return self.post("registered-models/get-latest-versions", "registered-models/get-latest-versions", body)

    def version_create(self):
        body = {"name": self.model(), "source": self.one(["s3://bucket/model", "s3://bucket/other", "/etc/passwd", "s3://bucket/../secret", "models:/model-1/1"])}
        if self.r.random() < 0.3 and not body["source"].startswith("models:"):
            body["run_id"] = self.one(self.runs)
        if self.r.random() < 0.4:
            body.update(description="a version", tags=self.pairs(2))
        return self.post("model-versions/create", "model-versions/create", body)

    def version_number(self):
        return self.one(["1", "1", "2", "3", "77", "x"])

    def version_read(self):
        what = self.one(["get", "get-download-uri"])
        return self.get(f"model-versions/{what}", f"model-versions/{what}", {"name": self.model(), "version": self.version_number()})

    def version_change(self):
        what = self.one(["update", "transition-stage", "set-tag", "delete-tag", "delete"])
        body = {"name": self.model(), "version": self.version_number()}
        if what == "update":
            body["description"] = "changed"
        if what == "transition-stage":
            body.update(stage=self.one(STAGES + ["staging", "Nowhere"]), archive_existing_versions=self.one([True, False]))
        if what.endswith("tag"):
            body["key"] = self.key()
        if what == "set-tag":
            body["value"] = self.one(["1", "vision"])
        method = {"update": "PATCH", "delete": "DELETE", "delete-tag": "DELETE"}.get(what, "POST")
        return self.post(f"model-versions/{what}", f"model-versions/{what}", body, method=method)

    def version_search(self):
        fields = {"filter": self.one(VERSION_FILTERS), "max_results": self.one(["1", "100", "10000"])}
        if self.r.random() < 0.4:
            fields["order_by"] = self.one(["version_number ASC", "name DESC", "tags.x"])
        return self.get("model-versions/search", "model-versions/search", fields)

    def alias(self):
        method, body = self.one(["POST", "POST", "GET", "DELETE"]), {"name": self.model(), "alias": self.one(ALIASES)}
        if method == "GET":
            return self.get("registered-models/alias GET", "registered-models/alias", body)
        if method == "POST":
            body["version"] = self.version_number()
        return self.post(f"registered-models/alias {method}", "registered-models/alias", body, method=method)

    def elsewhere(self):
        method, path = self.one([("GET", "/api/2.0/mlflow/no/such"), ("GET", "/api/2.0/preview/mlflow/experiments/list"), ("DELETE", "/api/2.0/mlflow/runs/create"), ("GET", "/health")])
        return "elsewhere", method, path, {}, {}

    ROWS = [(experiment_create, 4), (experiment_get, 3), (experiment_by_name, 2), (experiment_change, 4), (experiment_search, 4), (run_create, 8), (run_get, 6), (run_update, 4),
            (run_trash, 3), (log_metric, 8), (log_parameter, 5), (set_tag, 5), (delete_tag, 3), (log_batch, 8), (log_inputs, 2), (run_search, 14), (history, 4), (history_interval, 2),
            (artifacts, 2), (model_create, 4), (model_read, 3), (model_change, 5), (model_search, 4), (latest_versions, 2), (version_create, 6), (version_read, 4), (version_change, 6),
            (version_search, 4), (alias, 5), (elsewhere, 1)]

    def next(self):
        rows, weights = zip(*self.ROWS)
        return self.r.choices(rows, weights)[0](self)

    def learned(self, symbol):
        """Both servers made it."""
        (self.experiments if symbol[0] == "e" else self.runs).append("{" + symbol + "}")
