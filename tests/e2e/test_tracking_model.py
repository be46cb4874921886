#!/usr/bin/env python3
"""Random operations of tracking and the registry against a reference in memory, with `kill -9` of the service in between: what was acknowledged
is there afterwards, what was refused is not, and what was under way has happened whole or not at all.

3,000 operations; with WINNOW_TEST_LONG=1 100,000. WINNOW_TEST_SEED chooses others."""
import copy, http.client, json, os, pathlib, random, sys, threading, unittest, urllib.parse

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "support"))
from service import Service  # noqa: E402

PROGRAM = sys.argv.pop(1)
LONG = os.environ.get("WINNOW_TEST_LONG") == "1"
OPERATIONS = int(os.environ.get("WINNOW_TEST_OPERATIONS", 100000 if LONG else 3000))
BETWEEN_KILLS = 800 if LONG else 300
SEED = int(os.environ.get("WINNOW_TEST_SEED", "7"))
API = "/api/2.0/mlflow/"
KEYS = ["acc", "loss", "lr", "a/b", "team x"]
VALUES = ["0.1", "0.10", "x", "", "größe", "it's"]
STAGES = ["None", "Staging", "Production", "Archived"]
GONE = (OSError, http.client.HTTPException, ValueError)


def same_param(a, b):
    """Equal as text, or as numbers (docs/mlflow.md)."""
    try:
        return a == b or float(a) == float(b)
    except ValueError:
        return False


def listed(pairs):
    return {pair["key"]: pair.get("value", "") for pair in pairs or []}


class Operation:
    """A request, what must come back, and what it does to the reference. `about`: the things it may change, as (kind, id). `find`: for what is
    made: the answer's part that `effect` needs, or None when it is not there."""

    def __init__(self, method, path, body, effect=None, status=200, about=(), find=None):
        self.method, self.path, self.body, self.effect, self.status, self.about, self.find = method, path, body, effect, status, list(about), find


class Model(unittest.TestCase):
    maxDiff = None

    def setUp(self):
        self.r = random.Random(SEED)
        self.service = Service(PROGRAM, arguments=["--log-level", "warn"])
        self.things = {"experiment": {}, "run": {}, "model": {}}
        self.made, self.kills, self.unsure = 0, 0, 0
        self.counts = {}
        self.connection = None

    def tearDown(self):
        self.hang_up()
        self.service.close()

    def hang_up(self):
        if self.connection:
            self.connection.close()
        self.connection = None

    # ---- asking ----

    def call(self, method, path, body=None):
        if self.connection is None:
            self.connection = http.client.HTTPConnection("127.0.0.1", self.service.port, timeout=60)
        data = json.dumps(body) if body is not None else None
        try:
            self.connection.request(method, API + path, body=data, headers={"Content-Type": "application/json"} if data else {})
            answer = self.connection.getresponse()
            return answer.status, json.loads(answer.read())
        except GONE:
            self.hang_up()
            raise

    def get(self, path, **fields):
        status, answer = self.call("GET", path + "?" + urllib.parse.urlencode(fields))
        return answer if status == 200 else None

    # ---- how things look there, and in the reference ----

    def seen(self, kind, name):
        if kind == "experiment":
            found = self.get("experiments/get", experiment_id=name)
            found = found and found["experiment"]
            return found and {"name": found["name"], "deleted": found["lifecycle_stage"] == "deleted", "tags": listed(found.get("tags"))}
        if kind == "run":
            found = self.get("runs/get", run_id=name)
            if not found:
                return None
            info, data = found["run"]["info"], found["run"]["data"]
            latest = {m["key"]: (m.get("step", 0), m["timestamp"], float(m["value"])) for m in data.get("metrics", [])}
            return {"experiment": info["experiment_id"], "name": info["run_name"], "status": info["status"], "end": info.get("end_time"), "start": info["start_time"],
                    "deleted": info["lifecycle_stage"] == "deleted", "params": listed(data.get("params")),
                    "tags": {k: v for k, v in listed(data.get("tags")).items() if k != "mlflow.runName"}, "metrics": latest}
        found = self.get("registered-models/get", name=name)
        if not found:
            return None
        model, versions = found["registered_model"], {}
        for v in (self.get("model-versions/search", filter=f"name = '{name}'") or {}).get("model_versions", []):
            versions[int(v["version"])] = {"stage": v["current_stage"], "description": v["description"], "tags": listed(v.get("tags")), "source": v["source"]}
        return {"description": model.get("description", ""), "tags": listed(model.get("tags")), "aliases": {a["alias"]: int(a["version"]) for a in model.get("aliases", [])}, "versions": versions}

    def known(self, kind, name):
        thing = copy.deepcopy(self.things[kind].get(name))
        if thing and kind == "run":
            thing["metrics"] = {key: max(points) for key, points in thing["metrics"].items()}
        if thing and kind == "model":
            thing.pop("last")
        return thing

    def check(self, kind, name):
        self.assertEqual(self.seen(kind, name), self.known(kind, name), f"{kind} {name}, seed {SEED}")

    def histories(self, kind, name):
        """Are they those of the reference? A late point changes nothing else of a run."""
        if kind != "run":
            return True
        points = self.things["run"][name]["metrics"]
        return all(self.history(name, key) == sorted((time, step, value) for step, time, value in points.get(key, ())) for key in KEYS)

    def history(self, name, key):
        return [(m["timestamp"], m.get("step", 0), float(m["value"])) for m in self.get("metrics/get-history", run_id=name, metric_key=key)["metrics"]]

    def check_history(self, name):
        for key, points in self.things["run"][name]["metrics"].items():
            self.assertEqual(self.history(name, key), sorted((time, step, value) for step, time, value in points), f"history of {key} of {name}")

    # ---- operations ----

    def some(self, kind):
        things = self.things[kind]
        return self.r.choice(list(things)) if things else None

    def pairs(self, most):
        return {self.r.choice(KEYS): self.r.choice(VALUES) for _ in range(self.r.randrange(most + 1))}

    def experiment_create(self):
        self.made += 1
        name, tags = f"experiment {self.made}", self.pairs(2)

        def effect(answer):
            self.things["experiment"][answer["experiment_id"]] = {"name": name, "deleted": False, "tags": tags}

        def find():
            found = self.get("experiments/get-by-name", experiment_name=name)
            return found and found["experiment"]

        return Operation("POST", "experiments/create", {"name": name, "tags": [{"key": k, "value": v} for k, v in tags.items()]}, effect, find=find)

    def experiment_trash(self):
        name, deletes = self.some("experiment"), self.r.random() < 0.4
        experiment = self.things["experiment"][name]

        def effect(answer):
            experiment["deleted"] = deletes
            for run in self.things["run"].values():
                if run["experiment"] == name:
                    run["deleted"] = deletes

        about = [("experiment", name)] + [("run", run) for run, of in self.things["run"].items() if of["experiment"] == name]
        status = 200 if experiment["deleted"] != deletes else 404
        return Operation("POST", "experiments/delete" if deletes else "experiments/restore", {"experiment_id": name}, effect, status, about)

    def experiment_tag(self):
        name, key, value = self.some("experiment"), self.r.choice(KEYS), self.r.choice(VALUES)
        experiment = self.things["experiment"][name]
        return Operation("POST", "experiments/set-experiment-tag", {"experiment_id": name, "key": key, "value": value}, lambda _: experiment["tags"].update({key: value}),
                         400 if experiment["deleted"] else 200, [("experiment", name)])

    def run_create(self):
        self.made += 1
        place, name, tags = self.some("experiment"), f"run {self.made}", self.pairs(2)

        def effect(answer):
            self.things["run"][answer["run"]["info"]["run_id"]] = {"experiment": place, "name": name, "status": "RUNNING", "end": None, "start": number, "deleted": False,
                                                                   "params": {}, "tags": tags, "metrics": {}}

        def find():
            _, found = self.call("POST", "runs/search", {"experiment_ids": [place], "filter": f"run_name = '{name}'", "run_view_type": "ALL"})
            return {"run": found["runs"][0]} if found.get("runs") else None

        number = self.made
        body = {"experiment_id": place, "run_name": name, "start_time": number, "tags": [{"key": k, "value": v} for k, v in tags.items()]}
        return Operation("POST", "runs/create", body, effect, 400 if self.things["experiment"][place]["deleted"] else 200, find=find)

    def run_update(self):
        name, status, end = self.some("run"), self.r.choice(["FINISHED", "FAILED", "RUNNING", "KILLED"]), self.r.randrange(1, 1000)
        run = self.things["run"][name]
        return Operation("POST", "runs/update", {"run_id": name, "status": status, "end_time": end}, lambda _: run.update(status=status, end=end), 400 if run["deleted"] else 200,
                         [("run", name)])

    def run_trash(self):
        name, deletes = self.some("run"), self.r.random() < 0.4
        run = self.things["run"][name]
        return Operation("POST", "runs/delete" if deletes else "runs/restore", {"run_id": name}, lambda _: run.update(deleted=deletes), 200, [("run", name)])

    def points(self, most):
        return [(self.r.choice(KEYS), (self.r.randrange(-3, 40), self.r.randrange(0, 500), self.r.choice([0.25, 0.5, 1.0, -2.0, 1e300, 3.0]))) for _ in range(self.r.randrange(most + 1))]

    def log_batch(self):
        name = self.some("run")
        run, points, params, tags = self.things["run"][name], self.points(6), self.pairs(2), self.pairs(2)
        conflict = any(key in run["params"] and not same_param(run["params"][key], value) for key, value in params.items())

        def effect(answer):
            for key, point in points:
                run["metrics"].setdefault(key, set()).add(point)
            for key, value in params.items():
                run["params"].setdefault(key, value)
            run["tags"].update(tags)

        body = {"run_id": name, "metrics": [{"key": k, "step": p[0], "timestamp": p[1], "value": p[2]} for k, p in points],
                "params": [{"key": k, "value": v} for k, v in params.items()], "tags": [{"key": k, "value": v} for k, v in tags.items()]}
        return Operation("POST", "runs/log-batch", body, effect, 400 if run["deleted"] or conflict else 200, [("run", name)])

    def log_metric(self):
        name, (key, point) = self.some("run"), (self.points(1) or [("acc", (1, 1, 0.5))])[0]
        run = self.things["run"][name]
        return Operation("POST", "runs/log-metric", {"run_id": name, "key": key, "step": point[0], "timestamp": point[1], "value": point[2]},
                         lambda _: run["metrics"].setdefault(key, set()).add(point), 400 if run["deleted"] else 200, [("run", name)])

    def delete_tag(self):
        name, key = self.some("run"), self.r.choice(KEYS)
        run = self.things["run"][name]
        return Operation("POST", "runs/delete-tag", {"run_id": name, "key": key}, lambda _: run["tags"].pop(key, None), 400 if run["deleted"] else 200 if key in run["tags"] else 404,
                         [("run", name)])

    def model_create(self):
        name, tags = f"model {self.r.randrange(12)}", self.pairs(2)

        def effect(answer):
            self.things["model"][name] = {"description": "", "tags": tags, "aliases": {}, "versions": {}, "last": 0}

        there = name in self.things["model"]
        return Operation("POST", "registered-models/create", {"name": name, "tags": [{"key": k, "value": v} for k, v in tags.items()]}, effect, 400 if there else 200, [("model", name)])

    def model_delete(self):
        name = self.some("model")
        return Operation("DELETE", "registered-models/delete", {"name": name}, lambda _: self.things["model"].pop(name), about=[("model", name)])

    def model_rename(self):
        name, other = self.some("model"), f"model {self.r.randrange(12)}"
        taken = other != name and other in self.things["model"]
        return Operation("POST", "registered-models/rename", {"name": name, "new_name": other}, lambda _: self.things["model"].update({other: self.things["model"].pop(name)}),
                         400 if taken else 200, [("model", name), ("model", other)])

    def version_create(self):
        self.made += 1
        name, source, tags = self.some("model"), f"s3://bucket/{self.made}", self.pairs(1)
        model = self.things["model"][name]

        def effect(answer):
            model["last"] += 1
            model["versions"][model["last"]] = {"stage": "None", "description": "", "tags": tags, "source": source}
            if answer:
                self.assertEqual(int(answer["model_version"]["version"]), model["last"])

        return Operation("POST", "model-versions/create", {"name": name, "source": source, "tags": [{"key": k, "value": v} for k, v in tags.items()]}, effect, about=[("model", name)])

    def version_of(self, name):
        return self.r.choice([*self.things["model"][name]["versions"], 99])

    def version_stage(self):
        name, stage, archive = self.some("model"), self.r.choice(STAGES), self.r.random() < 0.4
        number, versions = self.version_of(name), self.things["model"][name]["versions"]
        archive = archive and stage in ("Staging", "Production")

        def effect(answer):
            for other, version in versions.items():
                if archive and other != number and version["stage"] == stage:
                    version["stage"] = "Archived"
            versions[number]["stage"] = stage

        body = {"name": name, "version": str(number), "stage": stage, "archive_existing_versions": archive}
        return Operation("POST", "model-versions/transition-stage", body, effect, 200 if number in versions else 404, [("model", name)])

    def version_tag(self):
        name, key, value = self.some("model"), self.r.choice(KEYS), self.r.choice(["1", "x"])
        number, versions = self.version_of(name), self.things["model"][name]["versions"]
        return Operation("POST", "model-versions/set-tag", {"name": name, "version": str(number), "key": key, "value": value}, lambda _: versions[number]["tags"].update({key: value}),
                         200 if number in versions else 404, [("model", name)])

    def version_delete(self):
        name = self.some("model")
        number, model = self.version_of(name), self.things["model"][name]

        def effect(answer):
            del model["versions"][number]
            model["aliases"] = {alias: version for alias, version in model["aliases"].items() if version != number}

        return Operation("DELETE", "model-versions/delete", {"name": name, "version": str(number)}, effect, 200 if number in model["versions"] else 404, [("model", name)])

    def alias_set(self):
        name, alias = self.some("model"), self.r.choice(["champion", "blue"])
        number, model = self.version_of(name), self.things["model"][name]
        return Operation("POST", "registered-models/alias", {"name": name, "alias": alias, "version": str(number)}, lambda _: model["aliases"].update({alias: number}),
                         200 if number in model["versions"] else 404, [("model", name)])

    def alias_delete(self):
        name, alias = self.some("model"), self.r.choice(["champion", "blue"])
        return Operation("DELETE", "registered-models/alias", {"name": name, "alias": alias}, lambda _: self.things["model"][name]["aliases"].pop(alias, None), about=[("model", name)])

    # Each with its weight and what must exist for it.
    OPERATIONS = [(experiment_create, 1, None), (experiment_trash, 2, "experiment"), (experiment_tag, 3, "experiment"), (run_create, 12, "experiment"), (run_update, 8, "run"),
                  (run_trash, 4, "run"), (log_batch, 25, "run"), (log_metric, 20, "run"), (delete_tag, 4, "run"), (model_create, 4, None), (model_delete, 1, "model"),
                  (model_rename, 2, "model"), (version_create, 6, "model"), (version_stage, 6, "model"), (version_tag, 4, "model"), (version_delete, 3, "model"), (alias_set, 5, "model"),
                  (alias_delete, 2, "model")]

    def next_operation(self):
        usable = [(make, weight) for make, weight, needs in self.OPERATIONS if not needs or self.things[needs]]
        makes, weights = zip(*usable)
        return self.r.choices(makes, weights)[0](self)

    # ---- searches, computed from the reference ----

    def check_search(self):
        places = [e for e in self.things["experiment"] if self.r.random() < 0.5]
        key, limit, view = self.r.choice(KEYS), self.r.choice([0.3, -1, 0.9]), self.r.choice(["ACTIVE_ONLY", "ALL", "DELETED_ONLY"])
        text, quoted = self.r.choice(VALUES[:3]), f"`{key}`"
        tests = {f"metrics.{quoted} > {limit}": lambda run: key in run["metrics"] and max(run["metrics"][key])[2] > limit,
                 f"params.{quoted} = '{text}'": lambda run: run["params"].get(key) == text,
                 f"tags.{quoted} != '{text}'": lambda run: key in run["tags"] and run["tags"][key] != text,
                 "status = 'FINISHED'": lambda run: run["status"] == "FINISHED"}
        chosen = self.r.sample(sorted(tests), self.r.randrange(3))
        wanted = [(run["start"], name) for name, run in self.things["run"].items() if run["experiment"] in places and all(tests[test](run) for test in chosen)
                  and (view == "ALL" or run["deleted"] == (view == "DELETED_ONLY"))]
        found, token = [], None
        while token != "":
            body = {"experiment_ids": places, "filter": " and ".join(chosen), "run_view_type": view, "max_results": 50, **({"page_token": token} if token else {})}
            status, page = self.call("POST", "runs/search", body)
            self.assertEqual(status, 200, page)
            found += [run["info"]["run_id"] for run in page.get("runs", [])]
            token = page.get("next_page_token", "")
        self.assertEqual(found, [name for _, name in sorted(wanted, reverse=True)], f"{chosen} {view}")

    # ---- the run of it ----

    def kill_soon(self):
        """While requests are under way."""
        process = self.service.process
        timer = threading.Timer(self.r.uniform(0, 0.05), process.kill)
        timer.start()
        return timer

    def come_back(self, timer):
        timer.join()
        self.service.process.wait()
        self.service.process = None
        self.service.start()
        self.hang_up()
        self.kills += 1

    def settle(self, operation):
        """Nobody knows whether it happened: it has happened whole, or not at all."""
        self.unsure += 1
        if operation.find:
            found = operation.find()
            if found:
                self.assertEqual(operation.status, 200)
                operation.effect(found)
            return
        for before in (True, False):
            if all(self.seen(*thing) == self.known(*thing) and self.histories(*thing) for thing in operation.about):
                return
            self.assertTrue(before and operation.status == 200, f"{operation.path} {operation.body} has happened by half, or should have been refused")
            operation.effect(None)

    def step(self):
        operation = self.next_operation()
        self.counts[operation.path] = self.counts.get(operation.path, 0) + 1
        try:
            status, answer = self.call(operation.method, operation.path, operation.body)
        except GONE:
            return operation
        self.assertEqual(status, operation.status, f"{operation.path} {operation.body}: {answer}")
        if status == 200 and operation.effect:
            operation.effect(answer)
        return None

    def check_everything(self):
        for kind, things in self.things.items():
            for name in things:
                self.check(kind, name)
        for name in self.things["run"]:
            self.check_history(name)
        status, found = self.call("GET", "registered-models/search?max_results=1000")
        self.assertEqual([model["name"] for model in found.get("registered_models", [])], sorted(self.things["model"]))

    def test_operations_and_kills(self):
        done, timer = 0, None
        while done < OPERATIONS:
            if timer is None and done % BETWEEN_KILLS == BETWEEN_KILLS - 1:
                timer = self.kill_soon()
            unsure = self.step()
            done += 1
            if unsure or (timer and not timer.is_alive() and self.service.process.poll() is not None):
                self.assertIsNotNone(timer, "the service has gone by itself: " + self.service.log()[-2000:])
                self.come_back(timer)
                timer = None
                if unsure:
                    self.settle(unsure)
                for kind in self.things:
                    for name in self.r.sample(sorted(self.things[kind]), min(len(self.things[kind]), 40)):
                        self.check(kind, name)
            elif timer is None and self.r.random() < 0.05:
                self.check_search()
            elif timer is None and self.r.random() < 0.05 and self.things["run"]:
                name = self.some("run")
                self.check("run", name)
                self.check_history(name)
        if timer:
            self.come_back(timer)
        self.check_everything()
        print(f"{done} operations, {self.kills} kills, {self.unsure} under way, {len(self.things['run'])} runs, seed {SEED}", file=sys.stderr)
        self.assertGreaterEqual(self.kills, done // BETWEEN_KILLS)


if __name__ == "__main__":
    unittest.main(verbosity=2)
