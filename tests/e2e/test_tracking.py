#!/usr/bin/env python3
"""What /api/v1 says of runs: where an error lies, which run is best, what each attempt came to."""
import contextlib, json, os, pathlib, socket, subprocess, sys, threading, unittest, urllib.parse

WINNOW = pathlib.Path(sys.argv.pop(1)).resolve()
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from service import Service, wait  # noqa: E402


class Tracking(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.s = Service(WINNOW, arguments=("--slots", "1"))

    @classmethod
    def tearDownClass(cls):
        try:
            cls.s.stop()
        finally:
            cls.s.close()

    def log(self, run, values, key="loss"):
        body = {"points": [{"key": key, "value": value, "step": step} for step, value in enumerate(values)]}
        self.assertEqual(self.s.post(f"/api/v1/runs/{run}/metrics", body).status, 200)

    def place(self, path, body):
        answer = self.s.post("/api/v1" + path, body)
        self.assertEqual(answer.status, 400, answer)
        (error,) = answer.json["errors"]
        self.assertEqual(error["message"], answer.json["detail"])
        return error["path"], error["line"], error["column"]

    def test_places_of_errors(self):
        self.assertEqual(self.place("/runs/search", {"filter": "metrics.x > 1 and\n params.größe >> 'a'"}), ("filter", 2, 16))
        self.assertEqual(self.place("/runs/search", {"filter": "nonsense.x = 'a'"})[:2], ("filter", 1))
        self.assertEqual(self.place("/runs/search", {"filtr": "x"}), ("filtr", None, None))
        self.assertEqual(self.place("/runs/search", {"limit": "x"}), ("limit", None, None))
        self.assertEqual(self.place("/runs/search", {"limit": 0}), ("limit", None, None))
        self.assertEqual(self.place("/runs/search", {"order_by": ["a b c"]}), ("order_by", None, None))
        self.assertEqual(self.place("/runs/search", b'{"filter": }'), (None, 1, 12))
        self.assertEqual(self.place("/runs/search", {"experiments": ["0", "Default"]}), ("experiments[1]", None, None))
        self.assertEqual(self.place("/runs/compare", {}), ("runs", None, None))
        self.assertEqual(self.place("/runs/compare", {"runs": ["0" * 32, 5]}), ("runs[1]", None, None))
        run = self.s.post("/api/v1/runs", {}).json["id"]
        point = {"key": "loss", "value": 1, "step": 0}
        for points, path in (([point, point, {**point, "key": "a,b"}], "points[2].key"), ([{**point, "epoch": None, "key": "../x"}], "points[0].key"),
                             ([point, {**point, "key": "k" * 300}], "points[1].key"), ([point, {**point, "key": "k" * 3000}], "points[1].key"),
                             ([point, {**point, "key": 7}], "points[1].key"), ([point, {"value": 1, "step": 0}], "points[1].key"),
                             ([point, {**point, "time": -1}], "points[1].time")):
            self.assertEqual(self.place(f"/runs/{run}/metrics", {"points": points}), (path, None, None))
        self.assertEqual(self.place(f"/runs/{run}/metrics", {"points": [{"value": 1, "step": 0}], "key": "loss"}), ("key", None, None))
        sweep = self.s.post("/api/v1/sweeps", b"name: x\nmetric: {nam: y}\n").json["errors"][0]
        self.assertEqual((sweep["path"], sweep["line"], sweep["column"]), ("metric.nam", 2, 10))
        self.assertEqual(self.s.get("/api/v1/runs/" + "0" * 32).json["errors"], [])
        env = dict(os.environ, WINNOW_URL=f"unix:{self.s.data}/winnow.sock", HOME=str(self.s.home))
        said = subprocess.run([WINNOW, "run", "ls", "--filter", "metrics.x >> 1"], env=env, capture_output=True, text=True).stderr
        self.assertRegex(said, r"^error: Invalid clause\(s\) in filter string: [^:]* \(filter, column 12\)\n")

    def test_a_place_that_is_not_there(self):
        """That nothing was found, and that nothing can be, are two answers; MLflow's clients know the first only."""
        experiment = self.s.post("/api/v1/experiments", {"name": "empty place"}).json["id"]
        self.assertEqual(self.s.post("/api/v1/runs/search", {"experiments": [experiment]}).json, {"items": [], "next": None})
        for body, text in (({"experiments": ["987654"]}, "there is no experiment 987654"), ({"experiments": [experiment, "987654"], "limit": 5000}, "987654"),
                           ({"sweep": "ab" * 16}, f'there is no sweep "{"ab" * 16}"'), ({"experiments": [experiment], "sweep": "ab" * 16}, "no sweep")):
            answer = self.s.post("/api/v1/runs/search", body)
            self.assertEqual(answer.status, 404, answer)
            self.assertIn(text, answer.json["detail"])
        self.assertEqual(self.s.post("/api/2.0/mlflow/runs/search", {"experiment_ids": ["987654"]}).json, {})

    def test_what_is_wrong_is_said(self):
        run = self.s.post("/api/v1/runs", {}).json["id"]
        self.assertIn('"scale" must be linear or log, not "lg"', self.s.get(f"/api/v1/series?run={run}&key=loss&scale=lg").json["detail"])
        self.assertEqual(self.s.request("PUT", f"/api/v1/runs/{run}/artifacts/folder/file", b"x").status, 201)
        self.assertRegex(self.s.get(f"/api/v1/runs/{run}/artifacts/folder").json["detail"], "/folder.* is a directory$")
        self.s.post("/api/v1/models", {"name": "named"})
        for path in (f"/api/v1/runs/{run}", "/api/v1/models/named"):
            answer = self.s.request("PATCH", path, {"name": ""})
            self.assertEqual((answer.status, answer.json["errors"][0]["path"]), (400, "name"), answer)

    def test_charts_of_runs_that_are_not_there(self):
        run, thrown, nobody = self.s.post("/api/v1/runs", {}).json["id"], self.s.post("/api/v1/runs", {}).json["id"], "f" * 32
        for one in (run, thrown):
            self.log(one, [3, 2, 1])
        self.assertEqual(self.s.request("DELETE", f"/api/v1/runs/{thrown}").status, 204)
        for asked in (f"run={nobody}", "run=x", f"run={nobody}&run={nobody}", f"run={run}&run=x", f"run={nobody}&raw=true", f"run={run}&run={nobody}&raw=true"):
            answer = self.s.get(f"/api/v1/series?{asked}&key=loss")
            self.assertEqual((answer.status, answer.json["detail"].replace('"', "")), (404, f"there is no run {'x' if 'x' in asked else nobody}"), asked)
        for asked, missing in ((f"run={nobody}&run={run}&run={nobody}&run={thrown}&run={'e' * 32}", [nobody, "e" * 32]), (f"run={run}&run={thrown}", [])):
            answer = self.s.get(f"/api/v1/series?{asked}&key=loss&key=none").json
            self.assertEqual(([s["run"] for s in answer["series"]], answer["missing"]), (sorted([run, thrown]), missing))
        self.assertEqual(len(self.s.get(f"/api/v1/series?run={run}&run={thrown}&key=loss&raw=true").body.splitlines()), 7)
        for raw in ("", "&raw=true"):
            answer = self.s.get(f"/api/v1/series?run={run}&key=loss&from=2&to=1{raw}")
            self.assertEqual((answer.status, answer.json["detail"]), (400, '"from" must not be greater than "to"'), answer)
        self.assertEqual(self.s.get(f"/api/v1/series?run={run}&key=loss&from=1&to=1").json["series"][0]["points"], 1)

    def test_versions_of_a_model_that_is_not_there(self):
        for limit in (10, 5000):
            answer = self.s.get(f"/api/v1/models/nobody/versions?limit={limit}")
            self.assertEqual((answer.status, answer.json["detail"]), (404, 'there is no model "nobody"'))
        self.s.post("/api/v1/models", {"name": "without versions"})
        self.assertEqual(self.s.get("/api/v1/models/without%20versions/versions").json, {"items": [], "next": None})

    def test_an_experiment_has_the_runs_that_are_listed(self):
        """A sweep's own row, a run for MLflow's clients, is none of them, nor is what lies in the trash."""
        sweep = {"name": "counted", "method": "random", "metric": {"name": "loss"}, "parameters": {"x": {"min": 0.0, "max": 1.0}}, "run_cap": 3, "experiment": "counted"}
        first, second = (self.s.post("/api/v1/sweeps", sweep).json for _ in range(2))
        experiment = first["experiment_id"]
        count = lambda: self.s.get(f"/api/v1/experiments/{experiment}").json["run_count"]
        self.assertEqual(count(), 0)
        self.s.post(f"/api/v1/sweeps/{first['id']}/ask", {"count": 2})
        self.s.post("/api/v1/runs", {"experiment": "counted", "command": ["true"], "workdir": "/tmp", "workdir_mode": "inplace"})
        thrown = self.s.post("/api/v1/runs", {"experiment": "counted"}).json["id"]
        self.assertEqual(count(), 4)
        self.s.request("DELETE", f"/api/v1/runs/{thrown}")
        listed = self.s.post("/api/v1/runs/search", {"experiments": [experiment]}).json["items"]
        self.assertEqual((count(), len(listed)), (3, 3))
        everywhere = {item["id"]: item["run_count"] for item in self.s.get("/api/v1/experiments").json["items"]}
        self.assertEqual(everywhere[experiment], 3)
        for made in (first, second):
            self.s.post(f"/api/v1/sweeps/{made['id']}/stop")
            wait(lambda: self.s.get(f"/api/v1/sweeps/{made['id']}").json["state"] == "STOPPED", "the end")
        self.assertEqual(self.s.request("DELETE", f"/api/v1/sweeps/{first['id']}").status, 204)
        self.assertEqual(count(), 1)
        self.s.request("DELETE", f"/api/v1/experiments/{experiment}")
        (deleted,) = (item for item in self.s.get("/api/v1/experiments?deleted=true").json["items"] if item["id"] == experiment)
        self.assertEqual(deleted["run_count"], 4)

    def test_whole_numbers_beyond_64_bits(self):
        """As params: seeds, mostly. Nothing of them is rounded."""
        params = {"seed": 2**64 - 1, "other": -(2**63) - 1, "long": 10**40, "whole": 2**63 - 1, "real": 1e300, "text": "1", "list": [2**70, 0.5]}
        for about in ({}, {"command": ["true"], "workdir": "/tmp", "workdir_mode": "inplace"}):
            with self.subTest(**about):
                made = self.s.post("/api/v1/runs", {"tags": {"params": "x"}, **about, "params": params}).json["params"]
                self.assertEqual({key: made[key] for key in list(params)[:4]}, {key: str(value) for key, value in list(params.items())[:4]})
                self.assertEqual((made["real"], made["text"], made["list"]), ("1e+300", "1", "[1.1805916207174113e+21,0.5]"))

    def test_what_goes_into_the_trash_is_not_changed(self):
        """It was said to be done, and was not."""
        experiment = self.s.post("/api/v1/experiments", {"name": "to the trash"}).json["id"]
        for change in ({"name": "another"}, {"tags": {"a": "b"}}):
            self.assertEqual(self.s.request("PATCH", f"/api/v1/experiments/{experiment}", {"deleted": True, **change}).status, 400)
        self.assertIsNone(self.s.get(f"/api/v1/experiments/{experiment}").json["deleted"])
        self.assertIsNotNone(self.s.request("PATCH", f"/api/v1/experiments/{experiment}", {"deleted": True, "name": None}).json["deleted"])
        back = self.s.request("PATCH", f"/api/v1/experiments/{experiment}", {"deleted": False, "name": "back"}).json
        self.assertEqual((back["name"], back["deleted"]), ("back", None))

    def test_the_tag_that_is_the_name(self):
        for command in ({}, {"command": ["true"], "workdir": "/tmp", "workdir_mode": "inplace"}):
            with self.subTest(**command):
                made = self.s.post("/api/v1/runs", {"tags": {"mlflow.runName": "told once", "a": "b"}, **command}).json
                self.assertEqual((made["name"], made["tags"]), ("told once", {"a": "b"}))
                tags = self.s.get("/api/2.0/mlflow/runs/get?run_id=" + made["id"]).json["run"]["data"]["tags"]
                self.assertEqual([tag["value"] for tag in tags if tag["key"] == "mlflow.runName"], ["told once"])
                self.assertEqual(self.s.post("/api/v1/runs", {"name": "one", "tags": {"mlflow.runName": "other"}, **command}).status, 400)
                self.assertEqual(self.s.post("/api/v1/runs", {"name": 5, "tags": {"mlflow.runName": "other"}, **command}).status, 400)
        self.assertEqual(self.s.post("/api/v1/runs", {"name": "", "tags": {"mlflow.runName": ""}}).json["tags"], {})

    def test_what_is_not_there_is_not_renamed(self):
        self.s.post("/api/v1/models", {"name": "somebody"})
        answer = self.s.request("PATCH", "/api/v1/models/nobody", {"name": "somebody", "tags": {"a": "b"}})
        self.assertEqual((answer.status, answer.json["detail"]), (404, 'there is no model "nobody"'))

    def test_no_version_of_no_files(self):
        """Where files were, or are on their way, is a directory; a version of it would be of whatever comes to lie there later."""
        run = self.s.post("/api/v1/runs", {"experiment": "emptied"}).json["id"]
        self.s.post("/api/v1/models", {"name": "emptied"})
        directory = self.s.data / "artifacts" / self.s.get("/api/v1/runs/" + run).json["artifact_uri"].split(":/", 1)[1] / "model"
        for name in ("a", "below/b"):
            self.assertEqual(self.s.request("PUT", f"/api/v1/runs/{run}/artifacts/model/{name}", b"x").status, 201)
        self.assertEqual(self.s.request("DELETE", f"/api/v1/runs/{run}/artifacts/model/a").status, 204)
        make = lambda: self.s.post("/api/v1/models/emptied/versions", {"run_id": run, "path": "model"})  # noqa: E731
        self.assertIsNotNone(make().json["digest"])
        self.assertEqual(self.s.request("DELETE", f"/api/v1/runs/{run}/artifacts/model/below/b").status, 204)
        (directory / ".winnow-0123").write_bytes(b"half of it")
        answer = make()
        self.assertEqual((answer.status, answer.json["detail"]), (404, 'the run has no artifact "model"'))
        base = self.s.get("/api/v1/runs/" + run).json["artifact_uri"]
        for source in (f"{base}/model", f"runs:/{run}/model", f"{base}/never", f"runs:/{run}/never"):
            answer = self.s.post("/api/v1/models/emptied/versions", {"source": source})
            if source.startswith("runs:"):  # MLflow's clients look for a logged model of that name
                self.assertEqual((answer.status, answer.json["source"]), (201, source))
            else:
                self.assertEqual((answer.status, answer.json["detail"]), (404, f'there is no file at "{source}"'))
            made = self.s.post("/api/2.0/mlflow/model-versions/create", {"name": "emptied", "source": source, "run_id": run}).json["model_version"]
            place = self.s.get(f"/api/2.0/mlflow/model-versions/get-download-uri?name=emptied&version={made['version']}").json["artifact_uri"]
            self.assertEqual((made["status"], place), ("READY", source), "as MLflow has it: what comes to lie there is the version's")
        for whole in ({"run_id": run}, {"source": base}, {"source": f"runs:/{run}"}):  # it may have metrics alone
            self.assertEqual(self.s.post("/api/v1/models/emptied/versions", whole).status, 201, whole)
        self.assertEqual(self.s.request("PUT", f"/api/v1/runs/{run}/artifacts/model/again", b"x").status, 201)
        for source in (f"{base}/model", f"runs:/{run}/model"):
            made = self.s.post("/api/v1/models/emptied/versions", {"source": source})
            self.assertEqual((made.status, made.json["size"]), (201, 1), made)
        self.assertEqual(self.s.post("/api/v1/models/emptied/versions", {"source": f"models:/emptied/{made.json['version']}"}).status, 201)
        self.assertEqual(self.s.post("/api/v1/models/emptied/versions", {"source": "s3://bucket/model"}).status, 201)

    def test_a_name_that_is_in_the_trash(self):
        experiment = self.s.post("/api/v1/experiments", {"name": "thrown"}).json["id"]
        answer = self.s.post("/api/v1/experiments", {"name": "thrown"})
        self.assertEqual((answer.status, answer.json["detail"], answer.json["hint"]), (409, 'there is an experiment "thrown" already', None))
        self.s.request("DELETE", f"/api/v1/experiments/{experiment}")
        answer = self.s.post("/api/v1/experiments", {"name": "thrown"})
        self.assertEqual((answer.status, answer.json["detail"]), (409, 'there is an experiment "thrown" already, in the trash'))
        self.assertIn(f"winnow experiment restore {experiment}", answer.json["hint"])

    def test_files_of_a_run_in_the_trash(self):
        """They stay as they are: over /api/v1; MLflow's protocol takes them, as its own server does."""
        made = self.s.post("/api/v1/runs", {}).json
        run, file = made["id"], f"/api/v1/runs/{made['id']}/artifacts/file"
        stored = f"/api/2.0/mlflow-artifacts/artifacts/{made['artifact_uri'].removeprefix('mlflow-artifacts:/')}/other"
        self.assertEqual(self.s.request("PUT", file, b"before").status, 201)
        self.assertEqual(self.s.request("DELETE", f"/api/v1/runs/{run}").status, 204)
        for method, body in (("PUT", b"after"), ("DELETE", None)):
            answer = self.s.request(method, file, body)
            self.assertEqual((answer.status, answer.json["detail"]), (409, "the run is in the trash"), answer)
        self.assertEqual(self.s.get(file).body, b"before")
        self.assertEqual(self.s.request("PUT", stored, b"theirs").status, 200)
        self.assertEqual(self.s.post(f"/api/2.0/mlflow/upload-artifact?run_uuid={run}&path=third", b"theirs").status, 200)
        self.assertEqual(self.s.post(f"/api/v1/runs/{run}/restore").status, 200)
        self.assertEqual(self.s.request("PUT", file, b"after").status, 201)
        self.assertEqual(self.s.request("DELETE", file).status, 204)

    def test_files_that_other_clients_have_named(self):
        """What MLflow's protocol has stored is listed, read, replaced, kept with a version, fetched and removed here, whatever its name."""
        quote = lambda text: urllib.parse.quote(text, safe="")
        made = self.s.post("/api/v1/runs", {}).json
        run, files = made["id"], f"/api/v1/runs/{made['id']}/artifacts"
        names = ["file:x", "a:b", "C:", "%2Fx", "%252Fx", "a%20b", "100%", "a?b", "grö ße", "日本", "😀", "x.zip", "file:/etc/x", "c:/x.zip", "..."]
        stored = f"/api/2.0/mlflow-artifacts/artifacts/{made['artifact_uri'].removeprefix('mlflow-artifacts:/')}/"
        for name in names:
            self.assertEqual(self.s.request("PUT", stored + "/".join(map(quote, name.split("/"))), name.encode()).status, 200, name)
        self.s.post("/api/v1/models", {"name": "named/as: you 100% like"})
        model = f"/api/v1/models/{quote('named/as: you 100% like')}"
        self.assertEqual(self.s.post(model + "/versions", {"run_id": run}).status, 201)
        listed = [item["path"] for below in ("", "file:/etc", "c:") for item in self.s.get(f"{files}?path={quote(below)}").json["items"] if not item["is_dir"]]
        self.assertEqual(sorted(listed), sorted(names))
        env = dict(os.environ, WINNOW_URL=f"unix:{self.s.data}/winnow.sock", HOME=str(self.s.home))
        for name in names:
            with self.subTest(name=name):
                self.assertEqual(self.s.get(f"{files}/{quote(name)}").body, name.encode())
                self.assertEqual(self.s.get(f"{model}/versions/1/files/{quote(name)}").body, name.encode())
                fetched = subprocess.run([WINNOW, "artifact", "get", run, name, "--to", "-"], env=env, capture_output=True)
                self.assertEqual((fetched.returncode, fetched.stdout), (0, name.encode()), fetched.stderr)
                version = self.s.post(model + "/versions", {"run_id": run, "path": name})
                self.assertEqual((version.status, version.json.get("path")), (201, name), version)
                self.assertEqual(self.s.request("PUT", f"{files}/{quote(name)}", b"anew").status, 201)
                self.assertEqual(self.s.request("DELETE", f"{files}/{quote(name)}").status, 204)

    def test_models_of_any_name(self):
        """Each route of a model takes the name that it has, and so does the command line."""
        run = self.s.post("/api/v1/runs", {}).json["id"]
        self.assertEqual(self.s.request("PUT", f"/api/v1/runs/{run}/artifacts/model/weights", b"w").status, 201)
        env = dict(os.environ, WINNOW_URL=f"unix:{self.s.data}/winnow.sock", HOME=str(self.s.home))
        wanted = {(method, path) for path, methods in self.s.get("/api/v1/openapi.json").json["paths"].items() if path.startswith("/api/v1/models/{name}") for method in methods}

        def cli(*words, code=0):
            done = subprocess.run([WINNOW, "model", *words], env=env, capture_output=True, text=True, stdin=subprocess.DEVNULL)
            self.assertEqual(done.returncode, code, (words, done))
            return done.stdout

        for name in ("team/model", "a:b", "models:/x", "x/3", "n@prod", "100%", "%2F", "a b+c", "grö/ße", "a//b", "/lead", "trail/", "../up", "versions", "q?x=1#y"):
            with self.subTest(name=name):
                seen, base = set(), "/api/v1/models/{name}"

                def call(method, below, body=None, status=200, **values):
                    seen.add((method.lower(), base + below))
                    target = (base + below).format(name=urllib.parse.quote(name, safe=""), **values)
                    answer = self.s.request(method, target, body)
                    self.assertEqual(answer.status, status, (target, answer))
                    return answer

                self.assertEqual(self.s.post("/api/v1/models", {"name": name}).json["name"], name)
                self.assertEqual(call("GET", "").json["name"], name)
                self.assertEqual(call("PATCH", "", {"description": "d"}).json["description"], "d")
                for version in (1, 2):
                    made = call("POST", "/versions", {"run_id": run, "path": "model"}, 201).json
                    self.assertEqual((made["name"], made["version"]), (name, version))
                self.assertEqual([v["version"] for v in call("GET", "/versions").json["items"]], [2, 1])
                call("GET", "/versions/{version}", version=1)
                call("PATCH", "/versions/{version}", {"stage": "Staging"}, version=1)
                self.assertEqual(call("PUT", "/aliases/{alias}", {"version": 1}, alias="best").json["aliases"], ["best"])
                self.assertEqual([f["path"] for f in call("GET", "/versions/{version}/files", version=1).json["items"]], ["weights"])
                self.assertEqual(call("GET", "/versions/{version}/files/{path}", version=1, path="weights").body, b"w")
                call("GET", "/versions/{version}/files.zip", version=1)
                self.assertTrue(call("POST", "/versions/{version}/verify", version=1).json["ok"])
                self.assertTrue(call("GET", "/events").json["items"])
                # The same by hand.
                self.assertIn(name, cli("ls"))
                for word, versions in ((name, [2, 1]), (f"{name}/1", [1]), (f"{name}@best", [1])):
                    self.assertEqual([json.loads(line)["version"] for line in cli("show", word, "-o", "jsonl").splitlines()], versions)
                self.assertEqual(json.loads(cli("register", name, run, "--path", "model", "-o", "json"))["version"], 3)
                cli("alias", name, "newest")
                cli("alias", f"{name}@best", "other")
                cli("alias", name, "newest", "--remove")
                cli("stage", f"{name}/3", "Production")
                cli("verify", name)
                cli("download", f"{name}@other", "--to", str(self.s.home / f"fetched {abs(hash(name))}"))
                self.assertIn("model.stage", cli("events", name))
                self.assertEqual({row.split(",")[1] for row in cli("events", f"{name}/3", "-o", "csv").splitlines()}, {"subject", f"{name}/3"})
                cli("rm", "-y", f"{name}/3")
                call("DELETE", "/aliases/{alias}", status=204, alias="best")
                call("DELETE", "/versions/{version}", status=204, version=2)
                self.assertEqual([v["version"] for v in call("GET", "/versions").json["items"]], [1])
                call("DELETE", "", status=204)
                self.assertEqual(seen, wanted)
                self.assertIn("model.deleted", [e["kind"] for e in call("GET", "/events").json["items"]])
                cli("show", name, code=3)

    def test_a_model_whose_name_says_a_version(self):
        """It is meant where there is no model of the shorter name."""
        env = dict(os.environ, WINNOW_URL=f"unix:{self.s.data}/winnow.sock", HOME=str(self.s.home))
        show = lambda word: [json.loads(line)["source"] for line in subprocess.run([WINNOW, "model", "show", word, "-o", "jsonl"], env=env, capture_output=True, text=True).stdout.splitlines()]
        for name in ("short/1", "short"):
            self.s.post("/api/v1/models", {"name": name})
            self.s.post(f"/api/v1/models/{urllib.parse.quote(name, safe='')}/versions", {"source": f"s3://{name}"})
            self.assertEqual(show("short/1"), [f"s3://{name}"])
            self.assertEqual(show("short/1/1"), ["s3://short/1"])

    def test_columns_of_any_key(self):
        run = self.s.post("/api/v1/runs", {}).json["id"]
        keys = ["val/acc", "a:b", "a b", "a-b", "größe", "metrics.x", "params", "-"]
        self.s.post("/api/2.0/mlflow/runs/log-batch", {"run_id": run, "params": [{"key": key, "value": "1"} for key in keys],
                                                       "metrics": [{"key": key, "value": 1, "timestamp": 1, "step": 0} for key in keys]})
        for key in keys:
            for form in (key, f'"{key}"', f"`{key}`"):
                (row,) = self.s.post("/api/v1/runs/search", {"columns": ["params." + form, "metrics." + form], "filter": f"attributes.run_id = '{run}'"}).json["items"]
                self.assertEqual((list(row["params"]), list(row["metrics"])), ([key], [key]))
        for column in ("metrics.a$b", "metric", "nothing.x", "params./x"):
            self.assertIn("is not a column", self.s.post("/api/v1/runs/search", {"columns": [column]}).json["detail"])

    def test_bodies_of_very_many_values(self):
        """Are refused before anything is made of them: they would hold the loop for a second."""
        run = self.s.post("/api/v1/runs", {}).json["id"]
        tags = [{"key": f"k{n}", "value": ""} for n in range(200_000)]
        for path, body, status in (("/api/2.0/mlflow/runs/create", {"experiment_id": "0", "tags": tags}, 400),
                                   ("/api/2.0/mlflow/runs/log-batch", {"run_id": run, "tags": tags}, 400),
                                   ("/api/2.0/mlflow/experiments/create", {"name": "many values", "tags": tags}, 400),
                                   ("/api/2.0/mlflow/registered-models/create", {"name": "many values", "tags": tags}, 400),
                                   ("/api/v1/runs", {"tags": {f"k{n}": "" for n in range(200_000)}}, 413)):
            answer = self.s.post(path, body)
            self.assertEqual(answer.status, status, answer)
            self.assertIn("there are more than 32768 values in it", str(answer.json))
        answer = self.s.post(f"/api/v1/runs/{run}/metrics", {"points": [{"key": f"k{n}", "value": 1, "step": 0} for n in range(10_001)]})
        self.assertEqual((answer.status, answer.json["detail"]), (413, "a write has at most 10000 keys, and this one 10001"))
        points = [{"key": "k", "value": n, "step": n, "time": None, "epoch": None} for n in range(10_000)]
        answer = self.s.post(f"/api/v1/runs/{run}/metrics", {"points": points})
        self.assertEqual((answer.status, answer.json), (200, {"points": 10_000}))
        for mistake in ({"vlaue": 1}, {"step": 1.5}, {"value": None}, {"time": "now"}):
            answer = self.s.post(f"/api/v1/runs/{run}/metrics", {"points": [*points[:7000], points[0] | mistake, *points[7000:]]})
            self.assertEqual((answer.status, answer.json["detail"].split(":")[0]), (400, '"points[7000]" cannot be read'), answer)
            self.assertEqual((answer.json["errors"][0]["path"], answer.json["errors"][0]["line"]), ("points[7000]", 1), answer)
        for body in ({"beside": 1, "points": points}, {"points": points, "beside": 1}):
            text = json.dumps(body, indent=0)
            answer = self.s.post(f"/api/v1/runs/{run}/metrics", text)
            self.assertIn('the body cannot be read: it is an object with "points", and nothing stands beside them', answer.json["detail"])
            (error,) = answer.json["errors"]
            self.assertEqual((answer.status, error["path"], error["line"]), (400, None, text[:text.index("beside")].count("\n") + 1), answer)
        many = self.s.post("/api/2.0/mlflow/runs/create", {"experiment_id": "0", "tags": tags[:6000]})
        self.assertEqual(len(many.json["run"]["data"]["tags"]), 6001)

    def test_bodies_are_described(self):
        """Every key that a body is said to have is read, and no other."""
        api = self.s.get("/api/v1/openapi.json").json
        run, experiment = self.s.post("/api/v1/runs", {}).json["id"], self.s.post("/api/v1/experiments", {"name": "described"}).json["id"]
        self.s.post("/api/v1/models", {"name": "described"})
        self.s.post("/api/v1/models/described/versions", {"source": "s3://b/x"})
        for method, path in (("post", "/runs"), ("patch", "/runs/{id}"), ("post", "/runs/search"), ("post", "/runs/compare"), ("post", "/experiments"),
                             ("patch", "/experiments/{id}"), ("post", "/models"), ("patch", "/models/{name}"), ("post", "/models/{name}/versions"),
                             ("patch", "/models/{name}/versions/{version}"), ("put", "/models/{name}/aliases/{alias}")):
            reference = api["paths"]["/api/v1" + path][method]["requestBody"]["content"]["application/json"]["schema"]["$ref"]
            schema = api["components"]["schemas"][reference.rpartition("/")[2]]
            place = path.replace("{id}", run if path.startswith("/runs") else experiment).replace("{name}", "described").replace("{version}", "1").replace("{alias}", "a")
            for key in [*schema["properties"], "nonsense"]:
                with self.subTest(method=method, path=path, key=key):
                    answer = self.s.request(method.upper(), "/api/v1" + place, {key: None})
                    self.assertEqual("unknown key" in str(answer.json), key == "nonsense", answer)
            if schema.get("required"):
                answer = self.s.request(method.upper(), "/api/v1" + place, {})
                self.assertEqual(answer.status, 400, answer)

    def test_the_best_of_those_compared(self):
        runs = [self.s.post("/api/v1/runs", {}).json["id"] for _ in range(3)]
        for run, values in zip(runs, ([3, 1, 2], [2, "NaN"], [5, 4])):
            self.log(run, values)
        (row,) = self.s.post("/api/v1/runs/compare", {"runs": runs}).json["metrics"]
        self.assertEqual(row["best"], {"goal": None, "run": None, "min": runs[0], "max": runs[2]})
        self.assertEqual([row["values"][run]["best"] for run in runs], [None] * 3)

    def test_many_keys_side_by_side(self):
        """Read once, however many there are; more than can be shown for so many runs are refused."""
        first, second, *others = runs = [self.s.post("/api/v1/runs", {}).json["id"] for _ in range(100)]
        for start in range(0, 6000, 1000):
            points = [{"key": f"k{n:04}", "value": n, "step": 0} for n in range(start, start + 1000)]
            self.assertEqual(self.s.post(f"/api/v1/runs/{second}/metrics", {"points": points}).status, 200)
        self.log(first, [7], "k0001")
        self.log(first, [1], "own")
        rows = self.s.post("/api/v1/runs/compare", {"runs": [first, second]}).json["metrics"]
        self.assertEqual([row["key"] for row in rows], ["own", "k0001"] + [f"k{n:04}" for n in range(6000) if n != 1])
        self.assertEqual([rows[0]["values"][second], rows[-1]["values"][first]], [None, None])
        self.assertEqual((rows[1]["values"][second]["delta"], rows[1]["best"]["max"], rows[1]["differs"]), (-6, first, True))
        answer = self.s.post("/api/v1/runs/compare", {"runs": runs})
        self.assertEqual((answer.status, answer.json["hint"]), (413, "compare fewer runs at a time"), answer)
        answer = self.s.exchange("POST", "/api/v1/runs/compare", json.dumps({"runs": runs[:80]}).encode())
        self.assertEqual((len(answer.json["metrics"]), answer.headers.get("Transfer-Encoding")), (6001, "chunked"))  # 20 MB, a piece at a time
        self.leaves_early("/api/v1/runs/compare", {"runs": runs[:80]})
        answer = self.s.post("/api/v1/runs/compare", {"runs": [first, runs[2]]})
        self.assertEqual((len(answer.json["metrics"]), answer.headers.get("Transfer-Encoding")), (2, None))

    def leaves_early(self, path, body):
        """Of whom nothing may stay: that it is freed, the leak sanitizer tells."""
        text = json.dumps(body)
        with socket.create_connection(("127.0.0.1", self.s.port)) as client:
            client.sendall(f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(text)}\r\n\r\n{text}".encode())
            self.assertTrue(client.recv(65536).startswith(b"HTTP/1.1 200"))

    def test_the_best_by_the_goal_of_the_sweep(self):
        for goal, wanted, best in (("maximize", 1, [3, 7]), ("minimize", 0, [1, 2])):
            sweep = {"name": goal, "metric": {"name": "loss", "goal": goal}, "parameters": {"lr": {"min": 0.1, "max": 1.0}}, "method": "random", "run_cap": 2}
            id = self.s.post("/api/v1/sweeps", sweep).json["id"]
            runs = [trial["run_id"] for trial in self.s.post(f"/api/v1/sweeps/{id}/ask", {"count": 2}).json["trials"]]
            for run, values in zip(runs, ([3, 1, 2], [2, 7, 4])):
                self.log(run, values)
                self.log(run, [1], "other")
            rows = {row["key"]: row for row in self.s.post("/api/v1/runs/compare", {"runs": runs}).json["metrics"]}
            self.assertEqual(rows["loss"]["best"], {"goal": goal, "run": runs[wanted], "min": runs[0], "max": runs[1]})
            self.assertEqual([rows["loss"]["values"][run]["best"] for run in runs], best)
            self.assertIsNone(rows["other"]["best"]["goal"])
            self.s.post(f"/api/v1/sweeps/{id}/stop")

    def finished(self, run):
        return wait(lambda: (lambda r: r if r["state"] in ("FINISHED", "FAILED", "KILLED", "STOPPED") else None)(self.s.get("/api/v1/runs/" + run).json), "its end")

    def test_attempts_of_a_trial_that_is_tried_again(self):
        work = self.s.home / "work"
        work.mkdir(exist_ok=True)
        script = "n=$(cat %s/n 2>/dev/null || echo 0); echo $((n + 1)) >%s/n; echo loss=$n; case $n in 0) exit 3;; 1) kill -9 $$;; esac" % (work, work)
        sweep = {"name": "again", "workdir_mode": "inplace", "metric": {"name": "loss", "goal": "minimize"}, "parameters": {"lr": {"values": [1]}}, "method": "grid",
                 "command": ["/bin/sh", "-c", script], "retries": {"max": 2, "on": ["lost", "failed"]}}
        made = self.s.post("/api/v1/sweeps?directory=" + str(work), sweep)
        self.assertEqual(made.status, 201, made)
        run = wait(lambda: self.s.get(f"/api/v1/sweeps/{made.json['id']}/trials").json["items"], "the trial")[0]["run_id"]
        end = self.finished(run)
        self.assertEqual((end["state"], end["attempt"]), ("FINISHED", 3), end)
        self.assertEqual([(a["attempt"], a["state"], a["exit_code"], a["signal"]) for a in end["attempts"]],
                         [(1, "FAILED", 3, None), (2, "FAILED", None, 9), (3, "FINISHED", 0, None)])
        self.assertEqual(end["attempts"][0]["reason"], "exit code 3")
        for attempt in end["attempts"]:
            self.assertEqual(attempt["node"], self.s.get("/api/v1/nodes").json["items"][0]["name"])
            self.assertLessEqual(end["created"], attempt["started"])
            self.assertLessEqual(attempt["started"], attempt["ended"])
        self.assertLessEqual(end["attempts"][0]["ended"], end["attempts"][1]["started"])
        self.s.stop()
        self.s.start()
        self.assertEqual(self.s.get("/api/v1/runs/" + run).json["attempts"], end["attempts"])

    def test_attempts_of_a_trial_that_a_person_tries_again(self):
        work = self.s.home / "by hand"
        work.mkdir(exist_ok=True)
        script = "test ${PARAM_LR:-1} = 2 && exec sleep 60; test -e done && exit 0; touch done; echo loss=1; exit 4"
        sweep = {"name": "by hand", "workdir_mode": "inplace", "metric": {"name": "loss", "goal": "minimize"}, "parameters": {"lr": {"values": [1, 2]}},
                 "method": "grid", "command": ["/bin/sh", "-c", script]}
        id = self.s.post("/api/v1/sweeps?directory=" + str(work).replace(" ", "%20"), sweep).json["id"]
        first = lambda: next((t["run_id"] for t in self.s.get(f"/api/v1/sweeps/{id}/trials").json["items"] if t["params"]["lr"] == 1), None)  # noqa: E731
        run = wait(first, "the trial")
        self.assertEqual(self.finished(run)["state"], "FAILED")
        self.assertLess(self.s.post(f"/api/v1/runs/{run}/retry").status, 300)
        running = lambda: [t["run_id"] for t in self.s.get(f"/api/v1/sweeps/{id}/trials?state=RUNNING").json["items"] if t["params"]["lr"] == 2]  # noqa: E731
        other = wait(running, "the other one")[0]
        self.s.post(f"/api/v1/runs/{other}/stop")  # it has the slot
        wait(lambda: self.s.get("/api/v1/runs/" + run).json["attempt"] == 2, "the second")
        end = self.finished(run)
        self.assertEqual([(a["state"], a["exit_code"]) for a in end["attempts"]], [("FAILED", 4), ("FINISHED", 0)])
        self.s.post(f"/api/v1/sweeps/{id}/stop")

    # ---- changes that meet ----

    @contextlib.contextmanager
    def another_holds(self, rows):
        """What needs these rows waits; then it goes on, in the order in which it came."""
        lock = subprocess.Popen(self.s.psql(), env=self.s.psql_env(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        lock.stdin.write(f"begin; {rows} for update;\n\\echo held\n")
        lock.stdin.flush()
        while lock.stdout.readline().strip() != "held":
            pass
        try:
            yield
        finally:
            lock.communicate("commit;\n", timeout=60)

    def meet(self, rows, *calls):
        """Calls that are all on their way, and wait for one another, before the first of them is done."""
        answers = [None] * len(calls)

        def call(i):
            answers[i] = self.s.request(*calls[i])

        threads = []
        with self.another_holds(rows):
            for i in range(len(calls)):
                threads.append(threading.Thread(target=call, args=(i,)))
                threads[i].start()
                wait(lambda: int(self.s.sql("select count(*) from pg_stat_activity where wait_event_type = 'Lock'")) > i, "the call waits")
        for thread in threads:
            thread.join(60)
        return answers

    def new_model(self, name, versions):
        base = "/api/2.0/mlflow/"
        self.assertEqual(self.s.post(base + "registered-models/create", {"name": name}).status, 200)
        for _ in range(versions):
            self.assertEqual(self.s.post(base + "model-versions/create", {"name": name, "source": "s3://bucket/model"}).status, 200)
        return f"select from winnow.registered_model where name = '{name}'"

    def test_two_versions_to_one_stage(self):
        path = "/api/2.0/mlflow/model-versions/transition-stage"
        rows = self.new_model("staged", 2)
        body = {"name": "staged", "stage": "Production", "archive_existing_versions": True}
        answers = self.meet(rows, ("POST", path, dict(body, version="1")), ("POST", path, dict(body, version="2")))
        self.assertEqual([answer.status for answer in answers], [200, 200])
        self.assertEqual(self.s.sql("select version, stage from winnow.model_version where model = (select id from winnow.registered_model where "
                                    "name = 'staged') order by version"), "1|3\n2|2")

    def test_a_model_that_is_renamed_while_a_version_is_made(self):
        """The version that was made is told, and not that of the model that has the name now."""
        base = "/api/2.0/mlflow/"
        model = self.s.post(base + "logged-models", {"experiment_id": "0", "name": "source"}).json["model"]["info"]["model_id"]
        calls = ((base + "model-versions/create", lambda answer: answer["model_version"]), ("/api/v1/models/{}/versions", lambda answer: answer))
        for i, (path, version_in) in enumerate(calls):
            old, new = f"before {i}", f"after {i}"
            self.new_model(old, 1)
            body = {"source": "models:/" + model, "model_id": model, "description": "made"}
            answers = []
            call = threading.Thread(target=lambda: answers.append(self.s.post(path.format(urllib.parse.quote(old)), dict(body, name=old) if i == 0 else body)))
            with self.another_holds(f"select from winnow.logged_model where id = '{model[2:]}'"):
                call.start()
                wait(lambda: len(self.s.get(f"/api/v1/models/{urllib.parse.quote(old)}/versions").json["items"]) == 2, "its row")
                self.assertEqual(self.s.request("PATCH", f"/api/v1/models/{urllib.parse.quote(old)}", {"name": new}).status, 200)
                self.new_model(old, 2)
            call.join(60)
            self.assertIn(answers[0].status, (200, 201), answers)
            made = version_in(answers[0].json)
            self.assertEqual((made["name"], int(made["version"]), made["description"]), (new, 2, "made"))

    def test_who_moved_what_of_a_model(self):
        self.new_model("moved", 3)
        self.new_model("moved/1", 1)  # not to be taken for a version
        base, mlflow = "/api/v1/models/moved", "/api/2.0/mlflow/"
        call = lambda *args: self.assertLess(self.s.request(*args).status, 300)  # noqa: E731
        call("PATCH", base + "/versions/1", {"stage": "Production"})
        call("POST", mlflow + "model-versions/transition-stage", {"name": "moved", "version": "2", "stage": "Production", "archive_existing_versions": True})
        call("PUT", base + "/aliases/best", {"version": 1})
        self.assertEqual(self.s.request("PUT", base + "/aliases/best", {"version": 2}, unix=False).status, 200)  # as MLflow's clients come
        call("DELETE", base + "/aliases/best")
        call("PATCH", "/api/v1/models/moved%2F1/versions/1", {"stage": "Staging"})
        call("DELETE", base + "/versions/3")
        kept = [("model.stage", "1", "None", "Production", None), ("model.stage", "1", "Production", "Archived", None),
                ("model.stage", "2", "None", "Production", None), ("model.alias", "1", None, "1", "best"), ("model.alias", "2", "1", "2", "best"),
                ("model.alias", "2", "2", None, "best"), ("model.deleted", "3", None, None, None)]

        def told(path):
            items = self.s.get("/api/v1/models/" + path).json["items"]
            self.assertTrue(all(e["actor"].startswith("uid ") and e["time"] for e in items), items)
            return [(e["kind"], e["subject"], e["from"], e["to"], e["reason"]) for e in items]

        of = lambda name: [(kind, name + "/" + version, *rest) for kind, version, *rest in kept]  # noqa: E731
        self.assertEqual(told("moved/events"), of("moved"))
        self.assertEqual(told("moved/events?version=1"), [e for e in of("moved") if e[1] == "moved/1"])
        call("PATCH", base, {"name": "moved on"})
        self.assertEqual(told("moved%20on/events"), of("moved on") + [("model.renamed", "moved on", "moved", "moved on", None)])
        first = self.s.get("/api/v1/models/moved%20on/events?limit=5").json
        rest = self.s.get(f"/api/v1/models/moved%20on/events?limit=5&cursor={first['next']}").json
        self.assertEqual([len(page["items"]) for page in (first, rest)], [5, 3])
        self.assertIsNone(rest["next"])
        self.new_model("moved", 1)
        self.assertEqual(told("moved/events"), [], "another model of that name")
        # What was deleted is told of: where nothing has the name any more, and where it is asked for.
        end = ("model.deleted", "moved on", None, None, None)
        renamed = ("model.renamed", "moved on", "moved", "moved on", None)
        call("DELETE", "/api/v1/models/moved%20on")
        self.assertEqual(told("moved%20on/events"), of("moved on") + [renamed, end])
        self.assertEqual(told("moved%20on/events?version=3"), [e for e in of("moved on") if e[1] == "moved on/3"])
        self.assertEqual(told("moved%20on/events?version=77"), [])
        self.new_model("moved on", 1)
        self.assertEqual(told("moved%20on/events"), [])
        self.assertEqual(told("moved%20on/events?deleted=true"), of("moved on") + [renamed, end])
        call("DELETE", mlflow + "registered-models/delete", {"name": "moved on"})
        self.assertEqual(told("moved%20on/events"), of("moved on") + [renamed, end, end])
        self.assertEqual(self.s.get("/api/v1/models/moved/events?deleted=true").status, 404)
        self.assertEqual(self.s.get("/api/v1/models/none/events").status, 404)
        for wrong in ("version=x", "version=0", "cursor=x", "limit=0", "deleted=x"):
            self.assertEqual(self.s.get("/api/v1/models/moved/events?" + wrong).status, 400, wrong)

    def test_the_files_of_a_model_go_with_it(self):
        """Both families; what the run has stays, and so does another model's."""
        run = self.s.post("/api/v1/runs", {}).json["id"]
        self.assertEqual(self.s.request("PUT", f"/api/v1/runs/{run}/artifacts/model/w", b"weights").status, 201)
        kept = lambda: sorted(path.parts[-3] for path in (self.s.data / "artifacts/registry").glob("*/*/w"))  # noqa: E731
        before, models = kept(), {}
        for name in ("gone", "gone too", "stays"):
            self.s.post("/api/v1/models", {"name": name})
            self.assertEqual(self.s.post(f"/api/v1/models/{urllib.parse.quote(name)}/versions", {"run_id": run, "path": "model"}).status, 201)
            models[name] = self.s.sql(f"select id from registered_model where name = '{name}'")
        self.assertEqual(kept(), sorted(before + list(models.values())))
        self.assertEqual(self.s.request("DELETE", "/api/v1/models/gone").status, 204)
        self.assertEqual(self.s.request("DELETE", "/api/2.0/mlflow/registered-models/delete", {"name": "gone too"}).status, 200)
        self.assertEqual(kept(), sorted(before + [models["stays"]]))
        self.assertEqual(self.s.sql(f"select count(*) from artifact where path like 'registry/{models['gone']}/%' or path like 'registry/{models['gone too']}/%'"), "0")
        for path in (f"runs/{run}/artifacts/model/w", "models/stays/versions/1/files/w"):
            self.assertEqual(self.s.get("/api/v1/" + path).body, b"weights")

    def test_an_alias_and_the_end_of_its_version(self):
        rows = self.new_model("called", 1)
        answers = self.meet(rows, ("DELETE", "/api/2.0/mlflow/model-versions/delete", {"name": "called", "version": "1"}),
                            ("POST", "/api/2.0/mlflow/registered-models/alias", {"name": "called", "alias": "a", "version": "1"}))
        self.assertEqual([answer.status for answer in answers], [200, 404])
        self.assertEqual(self.s.sql("select count(*) from winnow.model_alias where alias = 'a'"), "0")

    def test_a_run_and_the_end_of_its_experiment(self):
        made = self.s.post("/api/2.0/mlflow/experiments/create", {"name": "ending"}).json["experiment_id"]
        rows = f"select from winnow.experiment where id = {made}"
        answers = self.meet(rows, ("POST", "/api/2.0/mlflow/experiments/delete", {"experiment_id": made}),
                            ("POST", "/api/2.0/mlflow/runs/create", {"experiment_id": made, "start_time": 1}))
        self.assertEqual(answers[0].status, 200)
        self.assertEqual(self.s.sql(f"select count(*) from winnow.run where experiment_id = {made} and deleted_at is null"), "0")
        self.assertGreaterEqual(answers[1].status, 400, "nothing is made in what is deleted")
        # And the other way round: what was there is taken along.
        made = self.s.post("/api/2.0/mlflow/experiments/create", {"name": "ending too"}).json["experiment_id"]
        rows = f"select from winnow.experiment where id = {made}"
        answers = self.meet(rows, ("POST", "/api/2.0/mlflow/runs/create", {"experiment_id": made, "start_time": 1}),
                            ("POST", "/api/2.0/mlflow/experiments/delete", {"experiment_id": made}))
        self.assertEqual([answer.status for answer in answers], [200, 200])
        self.assertEqual(self.s.sql(f"select count(*), count(*) filter (where deleted_at is null) from winnow.run where experiment_id = {made}"), "1|0")

    def test_an_error_of_a_param_names_its_key(self):
        detail = self.s.post("/api/v1/runs", {"params": {"short": "1", "largest" * 100: "2"}}).json["detail"]
        self.assertEqual(detail, "'params.largestlargestla' exceeds the maximum length of 250 characters")

    # ---- what happened to a run ----

    def changes(self, run):
        items = self.s.get(f"/api/v1/runs/{run}/events").json["items"]
        return [(e["from"], e["to"], e["actor"], e["time"]) for e in items if e["kind"] == "run.state"]

    def update(self, run, status, **more):
        self.assertEqual(self.s.post("/api/2.0/mlflow/runs/update", dict({"run_id": run, "status": status}, **more), unix=False).status, 200)

    def noted(self, run):
        return int(self.s.sql(f"select count(*) from winnow.event where run = '{run}'"))

    def test_every_change_of_state_is_kept(self):
        run = self.s.post("/api/2.0/mlflow/runs/create", {}).json["run"]["info"]["run_id"]
        self.update(run, "FINISHED", end_time=100)
        self.assertEqual(self.changes(run), [("RUNNING", "FINISHED", "anonymous", 100)])
        self.assertEqual(self.noted(run), 0, "a run that ends once costs no row")
        self.update(run, "FINISHED", end_time=100)
        self.update(run, "RUNNING")
        self.update(run, "FAILED", end_time=200)
        self.update(run, "KILLED", end_time=300)
        seen = self.changes(run)
        self.assertEqual([change[:3] for change in seen], [
            ("RUNNING", "FINISHED", "anonymous"), ("FINISHED", "RUNNING", "anonymous"), ("RUNNING", "FAILED", "anonymous"), ("FAILED", "KILLED", "anonymous")])
        self.assertEqual(seen[0][3], 100)
        self.update(run, "RUNNING")
        self.assertEqual(self.changes(run)[:4], seen, "what was told stays")
        pages, cursor = [], ""
        while cursor is not None:
            page = self.s.get(f"/api/v1/runs/{run}/events?limit=1{cursor and '&cursor=' + cursor}").json
            pages += [e["to"] for e in page["items"]]
            cursor = page["next"]
        self.assertEqual(pages, ["RUNNING", "FINISHED", "RUNNING", "FAILED", "KILLED", "RUNNING"])

    def test_pages_of_events_are_as_long_as_was_asked_for(self):
        """Also where creation, attempts and end, which are told from rows, come between those that were noted."""
        post = lambda path, body=None: self.s.post("/api/v1" + path, body).json
        state = lambda path, *states: wait(lambda: self.s.get("/api/v1" + path).json["state"] in states, f"{path} to be {states}")
        job = {"command": ["sleep", "600"], "workdir": "/tmp", "workdir_mode": "inplace"}
        runs = [post("/runs", job)["id"] for _ in range(2)]
        state(f"/runs/{runs[0]}", "RUNNING")
        for run in reversed(runs):  # the second waits for the slot, and never has it
            post(f"/runs/{run}/stop")
            state(f"/runs/{run}", "KILLED")
        post(f"/runs/{runs[0]}/retry")
        state(f"/runs/{runs[0]}", "RUNNING")
        post(f"/runs/{runs[0]}/stop")
        state(f"/runs/{runs[0]}", "KILLED")
        sweep = post("/sweeps", {"name": "paged", "method": "random", "metric": {"name": "loss"}, "parameters": {"x": {"min": 0.0, "max": 1.0}}})["id"]
        for action in ("pause", "resume", "stop"):
            post(f"/sweeps/{sweep}/{action}")
        state(f"/sweeps/{sweep}", "STOPPED")
        tracked = post("/runs", {})["id"]
        self.update(tracked, "FINISHED")
        for path, least in ((f"/runs/{runs[0]}", 9), (f"/runs/{runs[1]}", 2), (f"/sweeps/{sweep}", 5), (f"/runs/{tracked}", 2)):
            path = f"/api/v1{path}/events"
            whole = self.s.get(path).json
            self.assertIsNone(whole["next"])
            self.assertGreaterEqual(len(whole["items"]), least, whole)
            for limit in range(1, len(whole["items"]) + 1):
                pages, cursor = [], ""
                while cursor is not None:
                    page = self.s.get(f"{path}?limit={limit}{cursor and '&cursor=' + cursor}").json
                    pages.append(page["items"])
                    cursor = page["next"]
                self.assertEqual(pages, [whole["items"][i:i + limit] for i in range(0, len(whole["items"]), limit)])
            for cursor in ("x", "1", "-1.0.", "0.-1.", "0.0.NOTHING", "0.0.RUNNING.1"):
                self.assertEqual(self.s.get(f"{path}?cursor={cursor}").status, 400, cursor)

    def test_an_end_without_a_time_and_one_by_somebody_with_a_name(self):
        run, named = (self.s.post("/api/2.0/mlflow/runs/create", {}).json["run"]["info"]["run_id"] for _ in range(2))
        before = self.s.get("/api/v1/runs/" + run).json["created"]
        self.update(run, "FAILED")
        (change,) = self.changes(run)
        self.assertEqual(change[:3], ("RUNNING", "FAILED", "anonymous"))
        self.assertGreaterEqual(change[3], before)
        token = {"Authorization": "Bearer " + self.s.token}
        body = {"state": "FINISHED", "ended": 100}
        self.assertEqual(self.s.request("PATCH", "/api/v1/runs/" + named, body, headers=token).status, 200)
        self.assertEqual([change[:3] for change in self.changes(named)], [("RUNNING", "FINISHED", "token admin.token")])

    def test_changes_of_state_that_meet_are_told_once(self):
        run = self.s.post("/api/2.0/mlflow/runs/create", {}).json["run"]["info"]["run_id"]
        self.update(run, "FAILED", end_time=100)
        path = "/api/2.0/mlflow/runs/update"
        answers = self.meet(f"select from winnow.run where id = '{run}'", ("POST", path, {"run_id": run, "status": "KILLED", "end_time": 200}, None, False),
                            ("POST", path, {"run_id": run, "status": "RUNNING"}, None, False))
        self.assertEqual([answer.status for answer in answers], [200, 200])
        self.assertEqual([change[:2] for change in self.changes(run)], [("RUNNING", "FAILED"), ("FAILED", "KILLED"), ("KILLED", "RUNNING")])

    def test_the_interval_call_of_series_that_are_very_long(self):
        runs = [self.s.post("/api/v1/runs", {}).json["id"] for _ in range(2)]
        for r, run in enumerate(runs):
            for start in range(0, 300000, 10000):  # every third step, shifted: 600,000 together
                points = [{"key": "long", "value": k, "step": k * 3 + r} for k in range(start, start + 10000)]
                self.assertEqual(self.s.post(f"/api/v1/runs/{run}/metrics", {"points": points}).status, 200)

        def ask(more=""):
            path = f"/ajax-api/2.0/mlflow/metrics/get-history-bulk-interval?run_ids={runs[0]}&run_ids={runs[1]}&metric_key=long&max_results=100{more}"
            answer = self.s.get(path)
            self.assertEqual(answer.status, 200, answer)
            return sorted((m["step"], m["run_id"]) for m in answer.json["metrics"])

        steps = [step for step, _ in ask()]
        self.assertTrue(100 <= len(steps) <= 104, len(steps))
        self.assertEqual((steps[0], steps[-1]), (0, 299999 * 3 + 1))  # the ends of both
        self.assertIn(1, steps)
        gaps = [b - a for a, b in zip(steps[2:], steps[3:])]
        self.assertLess(max(gaps), 3 * 900000 / 100)
        # Within a range it is as before: every so many of the steps, and the ends of both, so that no curve stops short of the edge.
        found = ask("&start_step=30000&end_step=60000")
        self.assertTrue(100 <= len(found) <= 104, len(found))
        self.assertEqual([(found[0], found[-1])], [((30000, runs[0]), (60000, runs[0]))])
        self.assertLessEqual({(30001, runs[1]), (59998, runs[1])}, set(found))

    def test_the_interval_call_of_steps_with_many_rows(self):
        run = self.s.post("/api/v1/runs", {}).json["id"]
        points = [{"key": "m", "value": step + k / 1000, "step": step, "time": k} for step in range(10) for k in range(700)]
        self.assertEqual(self.s.post(f"/api/v1/runs/{run}/metrics", {"points": points}).status, 200)

        def ask(more):
            answer = self.s.get(f"/ajax-api/2.0/mlflow/metrics/get-history-bulk-interval?run_ids={run}&metric_key=m{more}")
            self.assertEqual(answer.status, 200, answer)
            return [(m["step"], m["timestamp"]) for m in answer.json["metrics"]]

        for most, kept in ((7, {0, 1, 2, 4, 5, 7, 8, 9}), (20, set(range(10))), (2500, set(range(10)))):
            rows = ask(f"&max_results={most}")
            self.assertEqual(rows, sorted(rows))
            self.assertEqual((rows[0], rows[-1]), ((0, 0), (9, 699)), "the first and the last")
            steps = [step for step, _ in rows]
            self.assertEqual((len(rows), set(steps)), (2500, kept))
            self.assertLessEqual(max(map(steps.count, kept)), 2500 / len(kept) + 1)
        self.assertEqual(len(ask("&start_step=3&end_step=3")), 700)
        # Few enough, and none is left out, as in MLflow's servers before 3.17.
        self.assertEqual(ask("&start_step=2&end_step=4&max_results=2")[699:701], [(2, 699), (3, 0)])

    def test_a_whole_history_is_what_its_pages_are(self):
        run = self.s.post("/api/v1/runs", {}).json["id"]
        path = f"/api/2.0/mlflow/metrics/get-history?run_id={run}&metric_key=m"
        self.assertEqual(self.s.get(path).json, {"metrics": []})
        points = [{"key": "m", "value": "NaN" if i % 7 == 0 else i, "step": i // 3, "time": i * 31 % 5000} for i in range(9000)]
        self.assertEqual(self.s.post(f"/api/v1/runs/{run}/metrics", {"points": points}).status, 200)
        pages, token = [], ""
        while token is not None:
            page = self.s.get(f"{path}&max_results=4000{token}").json
            pages += page["metrics"]
            token = f"&page_token={urllib.parse.quote(page['next_page_token'])}" if "next_page_token" in page else None
        self.assertEqual(len(pages), 9000)
        self.assertEqual(self.s.get(path).json, {"metrics": pages})

    def test_large_lists_are_what_small_ones_are(self):
        """From 2,000 on they are streamed: the same items, the same ends."""
        experiment = self.s.post("/api/v1/experiments", {"name": "large"}).json["id"]
        self.s.sql(f"insert into run (id, experiment_id, start_time, created, state, name) select gen_random_uuid(), {experiment}, g, g, 4, 'r' || g from generate_series(1, 4500) g")
        ask = {"experiments": [experiment], "order_by": ["start_time ASC"]}
        small, cursor = [], None
        while True:
            page = self.s.post("/api/v1/runs/search", {**ask, "limit": 1000, **({"cursor": cursor} if cursor else {})}).json
            small += page["items"]
            cursor = page["next"]
            if not cursor:
                break
        whole = self.s.post("/api/v1/runs/search", {**ask, "limit": 4500}).json
        self.assertEqual((whole["items"], whole["next"]), (small, None))
        first = self.s.post("/api/v1/runs/search", {**ask, "limit": 3000}).json
        rest = self.s.post("/api/v1/runs/search", {**ask, "limit": 3000, "cursor": first["next"]}).json
        self.assertEqual((first["items"] + rest["items"], rest["next"]), (small, None))
        self.assertEqual(self.s.post("/api/v1/runs/search", {**ask, "filter": "params.none = 'x'", "limit": 3000}).json, {"items": [], "next": None})
        # Versions of models, of both families; experiments.
        self.s.post("/api/v1/models", {"name": "large"})
        self.s.sql("insert into model_version (model, version, created, updated, source, storage_location) select m.id, g, g, g, 's', 's' from registered_model m, generate_series(1, 2500) g where m.name = 'large'")
        small = self.s.get("/api/v1/models/large/versions?limit=1000").json
        whole = self.s.get("/api/v1/models/large/versions?limit=5000").json
        self.assertEqual((len(whole["items"]), whole["items"][:1000], whole["next"]), (2500, small["items"], None))
        self.assertEqual(self.s.get("/api/v1/models/large/versions?limit=2000").json["next"] is None, False)
        base = "/api/2.0/mlflow/model-versions/search?filter=name%3D%27large%27&max_results="
        small, whole = self.s.get(base + "1000").json, self.s.get(base + "10000").json
        self.assertEqual((len(whole["model_versions"]), whole["model_versions"][:1000], whole.get("next_page_token")), (2500, small["model_versions"], None))
        self.assertEqual(self.s.get("/api/2.0/mlflow/model-versions/search?filter=name%3D%27none%27&max_results=10000").json, {})
        self.s.sql("insert into experiment (id, name, artifact_location, created, updated) select nextval('experiment_id'), 'many ' || g, 'x', g, g from generate_series(1, 2200) g")
        base = "/api/2.0/mlflow/experiments/search?max_results="
        small, whole = self.s.get(base + "1000").json, self.s.get(base + "50000").json
        self.assertEqual(whole["experiments"][:1000], small["experiments"])
        self.assertGreater(len(whole["experiments"]), 2200)
        self.assertEqual(self.s.get(base + "2000").json["experiments"], whole["experiments"][:2000])
        # Logged models.
        self.s.sql(f"insert into logged_model (id, experiment_id, created, updated, name, model_type, params, tags) select gen_random_uuid(), {experiment}, g, g, 'm' || g, '', '{{}}', '{{}}' from generate_series(1, 2500) g")
        path, ask = "/api/2.0/mlflow/logged-models/search", {"experiment_ids": [experiment]}
        small, whole = self.s.post(path, {**ask, "max_results": 1000}).json, self.s.post(path, {**ask, "max_results": 50000})
        self.assertEqual(whole.headers["Transfer-Encoding"], "chunked")
        self.assertEqual((len(whole.json["models"]), whole.json["models"][:1000], whole.json.get("next_page_token")), (2500, small["models"], None))
        first = self.s.post(path, {**ask, "max_results": 2000}).json
        rest = self.s.post(path, {**ask, "max_results": 2000, "page_token": first["next_page_token"]}).json
        self.assertEqual(first["models"] + rest["models"], whole.json["models"])

    def test_many_metrics_in_one_search(self):
        """NaN, infinities and what is missing are the same whether one is looked up or many, of runs in the index and of others."""
        experiment = self.s.post("/api/v1/experiments", {"name": "wide"}).json["id"]
        runs = {}
        for name, odd in (("number", 1), ("nan", "NaN"), ("inf", "Infinity"), ("none", None)):
            runs[name] = self.s.post("/api/v1/runs", {"experiment_id": experiment, "name": name}).json["id"]
            values = {**{f"m{i}": i for i in range(12)}, **({} if odd is None else {"odd": odd})}
            self.assertEqual(self.s.post(f"/api/v1/runs/{runs[name]}/metrics", {"points": [{"key": k, "value": v, "step": 1} for k, v in values.items()]}).status, 200)
        many = " and ".join(f"metrics.m{i} < {i}.5" for i in range(12))
        for test, found in (("> 0", {"number", "inf"}), (">= 1", {"number", "inf"}), ("!= 1", {"nan", "inf"}), ("= 1", {"number"}), ("< 2", {"number"}), ("<= 1", {"number"})):
            for others in ("metrics.m0 = 0", many):
                for order in ([], ["metrics.m3"]):
                    ask = {"experiments": [experiment], "filter": f"{others} and metrics.odd {test}", "order_by": order}
                    self.assertEqual({run["name"] for run in self.s.post("/api/v1/runs/search", ask).json["items"]}, found, ask)
        ask = {"experiments": [experiment], "filter": many, "order_by": ["metrics.m3", "metrics.odd DESC"], "limit": 3}
        page = self.s.post("/api/v1/runs/search", ask).json
        rest = self.s.post("/api/v1/runs/search", {**ask, "cursor": page["next"]}).json
        self.assertEqual([run["name"] for run in page["items"] + rest["items"]], ["inf", "number", "nan", "none"])

    HELD = "select count(*) from pg_stat_activity where wait_event_type = 'Lock' and query like '%find_rows%'"

    def lock_metrics(self):
        """Searches that look into them wait, as if they took long."""
        # What brings metrics into the index would keep their runs locked.
        wait(lambda: self.s.sql("select count(*) from run_unindexed") == "0", "the index")
        lock = subprocess.Popen(self.s.psql(), env=self.s.psql_env(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        lock.stdin.write("begin; lock table run_metric; select 'locked';\n")
        lock.stdin.flush()
        self.assertEqual(lock.stdout.readline().strip(), "locked")
        return lock

    def send_search(self, body):
        text = json.dumps(body)
        client = socket.socket()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect(("127.0.0.1", self.s.port))
        client.sendall(f"POST /api/v1/runs/search HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {len(text)}\r\n\r\n{text}".encode())
        self.addCleanup(client.close)
        return client

    def test_a_slow_reader_keeps_no_turn(self):
        """What was searched is being read: others may search."""
        experiment = self.s.post("/api/v1/experiments", {"name": "slow"}).json["id"]
        metrics = json.dumps({f"m{i}": "5 1 1" for i in range(12)})
        self.s.sql(f"with made as (insert into run (id, experiment_id, start_time, created, state, name, metrics, params) select gen_random_uuid(), {experiment}, g, g, 4, 'r' || g,"
                   f" '{metrics}', jsonb_build_object('long', repeat('x', 2000)) from generate_series(1, 3000) g returning id) insert into run_unindexed (run) select id from made")
        ask = {"experiments": [experiment], "filter": " and ".join(f"metrics.m{i} > 1" for i in range(12))}
        for _ in range(3):
            self.assertEqual(self.send_search({**ask, "limit": 5000}).recv(12), b"HTTP/1.1 200")
        self.assertEqual(len(self.s.post("/api/v1/runs/search", {**ask, "limit": 10}).json["items"]), 10)
        self.assertEqual(len(self.s.post("/api/v1/runs/search", {**ask, "limit": 5000}).json["items"]), 3000)

    def test_nothing_is_searched_for_who_has_left(self):
        lock = self.lock_metrics()
        try:
            client = self.send_search({"filter": " and ".join(f"metrics.m{i} > 1" for i in range(12)), "limit": 5000})
            wait(lambda: self.s.sql(self.HELD) == "1", "the search")
            client.close()
            wait(lambda: self.s.sql(self.HELD) == "0", "its end")
        finally:
            lock.communicate()

    def test_searches_for_many_metrics_take_turns(self):
        """They leave connections to others, however many there are and however long they take."""
        experiment = self.s.post("/api/v1/experiments", {"name": "turns"}).json["id"]
        run = self.s.post("/api/v1/runs", {"experiment_id": experiment}).json["id"]
        ask = {"experiments": [experiment], "filter": " and ".join(f"metrics.m{i} > 1" for i in range(12))}
        running, waiting, refused = 3, 64, 5
        lock = self.lock_metrics()
        answers = []
        large = {**ask, "limit": 5000}
        theirs = {"experiment_ids": [experiment], "filter": ask["filter"], "max_results": 10000}  # as mlflow.search_runs() asks
        asks = [("/api/v1/runs/search", ask), ("/api/v1/runs/search", large), ("/api/2.0/mlflow/runs/search", theirs)]
        threads = [threading.Thread(target=lambda path, body: answers.append(self.s.exchange("POST", path, body)), args=asks[i % 3])
                   for i in range(running + waiting + refused)]
        for thread in threads:
            thread.start()
        try:
            wait(lambda: len(answers) == refused, "those for which there is no place")
            for answer in answers:
                self.assertEqual((answer.status, b"fewer metrics" in answer.body), (503, True), answer)
            held = self.HELD
            wait(lambda: self.s.sql(held) == str(running), "those that run")
            # None of these could come before a search that holds its connection ends.
            self.assertEqual(self.s.request("PATCH", f"/api/v1/runs/{run}", {"tags": {"x": "y"}}).status, 200)
            self.assertEqual(self.s.get("/api/v1/status").status, 200)
            for _ in range(5):
                self.assertEqual(len(self.s.post("/api/v1/runs/search", {"experiments": [experiment]}).json["items"]), 1)
            self.assertEqual(len(answers), refused)
            # One that takes too long is told so, and another takes its place.
            self.s.sql(f"select pg_cancel_backend(pid) from ({held.replace('count(*)', 'pid')} limit 1) x")
            wait(lambda: len(answers) == refused + 1, "the one that was cancelled")
            self.assertEqual((answers[-1].status, b"fewer metrics" in answers[-1].body), (504, True), answers[-1])
            wait(lambda: self.s.sql(held) == str(running), "the next")
        finally:
            lock.communicate()
            for thread in threads:
                thread.join()
        self.assertEqual([a.status for a in answers[refused + 1:]], [200] * (running + waiting - 1))

    def test_attempts_of_others(self):
        self.assertEqual(self.s.post("/api/v1/runs", {}).json["attempts"], [])


if __name__ == "__main__":
    unittest.main(verbosity=1)
