#!/usr/bin/env python3
"""/api/v1 is what its description says: every route answers as described (Service.request looks), takes the parameters that are named, and no other."""
import hashlib, io, json, pathlib, re, sys, tarfile, unittest

WINNOW = pathlib.Path(sys.argv.pop(1)).resolve()
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from service import Answer, Service, wait  # noqa: E402

SPACE = {"x": {"min": 0.0, "max": 1.0}, "kind": {"values": ["a", 2]}}


class Case(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.s = Service(WINNOW, arguments=["--slots", "1"])
        cls.api = cls.s.get("/api/v1/openapi.json").json

    @classmethod
    def tearDownClass(cls):
        cls.s.close()

    def operations(self):
        for path, operations in self.api["paths"].items():
            for method, operation in operations.items():
                yield method.upper(), path, operation


class Description(Case):
    def walk(self, value, at=()):
        yield at, value
        for key, item in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
            yield from self.walk(item, (*at, key))

    def test_every_reference_leads_somewhere_and_every_component_is_used(self):
        used = {value["$ref"].removeprefix("#/components/schemas/") for _, value in self.walk(self.api) if isinstance(value, dict) and "$ref" in value}
        self.assertEqual(used, set(self.api["components"]["schemas"]))

    def test_operations_have_names_of_their_own(self):
        names = [operation["operationId"] for _, _, operation in self.operations()]
        self.assertEqual(len(names), len(set(names)))
        for name in names:
            self.assertRegex(name, r"^[a-z]+_[A-Za-z0-9_]*$")

    def test_what_is_answered_says_what_is_in_it(self):
        """An object names its keys or says that they are free, a list what it is of."""
        answered = [operation["responses"] for _, path, operation in self.operations() if path.startswith("/api/v1")]
        seen = set()
        while answered:
            for at, value in self.walk(answered.pop()):
                if not isinstance(value, dict):
                    continue
                if "$ref" in value and value["$ref"] not in seen:
                    seen.add(value["$ref"])
                    answered.append(self.api["components"]["schemas"][value["$ref"].rpartition("/")[2]])
                kinds = value.get("type", ())
                if "object" in kinds and at[-1:] != ("properties",):
                    self.assertTrue({"properties", "additionalProperties", "required"} & value.keys(), (at, value))
                if "array" in kinds:
                    self.assertIn("items", value, at)

    def test_an_unknown_parameter_is_told(self):
        for method, path, operation in self.operations():
            if not path.startswith("/api/v1/"):
                continue
            known = [p["name"] for p in operation["parameters"] if p["in"] == "query"]
            with self.subTest(method=method, path=path):
                answer = self.s.request(method, path.replace("{", "").replace("}", "") + "?nonsense=1")
                self.assertEqual((answer.status, answer.json["detail"]), (400, 'unknown query parameter "nonsense"'))
                self.assertEqual(answer.json["hint"], "known are: " + ", ".join(known) if known else "this address takes none", answer)
        for target, near in (("experiments?limt=10", "limit"), ("series?runs=1", "run"), ("sweeps?limit=3&Cursor=x", "cursor")):
            answer = self.s.get("/api/v1/" + target)
            self.assertEqual((answer.status, answer.json["code"], answer.json["hint"]), (400, "invalid", f'did you mean "{near}"?'), answer)
        self.assertEqual(self.s.request("HEAD", "/api/v1/status?x=1").status, 400)

    def test_what_is_not_there_is_told(self):
        """Whatever an address names: nothing of it is answered as if it were there and empty."""
        named = {"id": "f" * 32, "run": "f" * 32, "attempt": "1", "name": "nobody", "version": "7", "alias": "none", "sha256": "0" * 64, "stream": "stdout", "path": "x"}
        for method, path, operation in self.operations():
            if method != "GET" or "{" not in path or not path.startswith("/api/v1/") or "/companion/" in path:  # a companion learns that it is one too many
                continue
            names = {**named, "id": "987654"} if "/experiments/" in path else named
            target = re.sub(r"\{(\w+)\}", lambda m: names[m[1]], path)
            with self.subTest(path=path):
                needed = "&".join(f"{p['name']}=x" for p in operation["parameters"] if p["in"] == "query" and p.get("required"))
                answer = self.s.get(target + ("?" + needed if needed else ""))
                self.assertEqual(answer.status, 404, (target, answer))

    def test_elsewhere_it_is_ignored(self):
        for path in ("/health?x=1", "/?x=1", "/docs?x=1", "/api/2.0/mlflow/experiments/get?experiment_id=0&x=1", "/version?x=1"):
            self.assertEqual(self.s.get(path).status, 200, path)


    def test_who_looks_sees_what_is_wrong(self):
        """The shapes of this document, and answers that are not quite as they say."""
        good, bad = self.s.get("/api/v1/whoami"), self.s.get("/api/v1/runs/x")
        shapes = self.s.shapes()

        def told(answer, target="whoami", method="GET", status=None, kind=None, **changes):
            body = {**answer.json, **changes}
            body = {key: value for key, value in body.items() if value is not ...}
            return shapes.check(method, f"/api/v1/{target}", Answer(status or answer.status, {"Content-Type": kind or answer.headers["Content-Type"]}, json.dumps(body)))

        self.assertEqual((told(good), told(bad, "runs/x")), ("", ""))
        for said, wrong in (("more is not described", told(good, more=1)), ("actor is missing", told(good, actor=...)), ("scopes/1: 7 is no string", told(good, scopes=["read", 7])),
                            ("is none of", told(good, via="magic")), ("/expires: True is no", told(good, expires=True)), ("with text/plain", told(good, kind="text/plain")),
                            ("hint is missing", told(bad, "runs/x", hint=...)), ("with application/json", told(good, "runs/x", "DELETE")),
                            ("is not described", told(good, "nowhere")), ("created is missing", told(good, "experiments/0")), ("id is missing", told(good, "runs/x")),
                            ("rungs is missing", told(good, "sweeps", "POST", 201, spec={}, cells=1, points=[], command=None, warnings=[]))):
            self.assertIn(said, wrong)


class Answers(Case):
    """One of each, in an order in which it works."""

    def call(self, method, path, body=None, status=200, headers=None):
        answer = self.s.request(method, "/api/v1" + path, body, headers=headers)
        self.assertEqual(answer.status, status, (method, path, answer))
        self.done.add((method, self.s.shapes().find(method, "/api/v1" + path)[0]))
        return answer

    def get(self, path):
        return self.call("GET", path)

    def post(self, path, body=None, status=200):
        return self.call("POST", path, body, status)

    def pages(self, path):
        """Page by page it is what it is at once."""
        whole, items, cursor = self.get(path).json["items"], [], None
        while True:
            page = self.get(f"{path}?limit=1" + (f"&cursor={cursor}" if cursor else "")).json
            self.assertLessEqual(len(page["items"]), 1)
            items += page["items"]
            cursor = page["next"]
            if not cursor:
                break
        return whole, items

    def test_every_route(self):
        self.done = set()
        self.of_the_service()
        self.of_experiments_runs_and_models()
        self.of_sweeps()
        self.of_jobs()
        self.of_care()
        self.post("/shutdown", status=202)
        elsewhere = {("GET", "/api/v1/events"), ("POST", "/api/v1/companion/{run}/{attempt}/exited"), ("POST", "/api/v1/companion/{run}/{attempt}/file")}
        self.assertEqual({(m, p) for m, p, _ in self.operations() if p.startswith("/api/v1/")} - self.done, elsewhere)

    def of_the_service(self):
        for path in ("/status", "/whoami", "/openapi.json", "/schemas/sweep"):
            self.get(path)
        token = self.post("/tokens", {"name": "t"}, 201).json["id"]
        self.get("/tokens")
        self.call("DELETE", f"/tokens/{token}", status=204)
        self.get("/tokens")
        self.post("/login-links", status=201)

    def of_experiments_runs_and_models(self):
        experiment = self.post("/experiments", {"name": "e", "tags": {"a": "b"}}, 201).json["id"]
        self.call("PATCH", f"/experiments/{experiment}", {"tags": {"a": None}})
        self.get(f"/experiments/{experiment}")
        self.get("/experiments")
        runs = [self.post("/runs", {"experiment_id": experiment, "params": {"lr": x}, "tags": {"t": "1"}}, 201).json["id"] for x in range(2)]
        points = [{"key": key, "value": value, "step": step} for key in ("a", "b") for step, value in enumerate([1, "NaN", 2.5])] + [{"key": "c", "value": "NaN", "step": 1}]
        self.post(f"/runs/{runs[0]}/metrics", {"points": points})
        self.post(f"/runs/{runs[1]}/metrics", {"points": points[:2]})
        whole, paged = self.pages(f"/runs/{runs[0]}/metrics")
        self.assertEqual((whole, len(whole)), (paged, 3))
        self.get(f"/runs/{runs[0]}")
        self.call("PATCH", f"/runs/{runs[0]}", {"state": "FINISHED"})
        self.post("/runs/search", {"experiments": [experiment]})
        self.post("/runs/search", {"columns": ["name", "params.lr", "metrics.a"]})
        self.post("/runs/compare", {"runs": runs})
        self.get(f"/runs/{runs[0]}/events")
        for target in ("", "&x=time", "&x=relative&scale=log", "&raw=true", "&raw=true&format=jsonl"):
            self.get(f"/series?run={runs[0]}&run={runs[1]}&key=a&key=b&key=none{target}")
        self.call("PUT", f"/runs/{runs[0]}/artifacts/model/x.txt", "hello", 201)
        for path in ("artifacts", "artifacts?path=model", "artifacts/model/x.txt", "artifacts.zip"):
            self.get(f"/runs/{runs[0]}/{path}")
        self.of_models(runs[0])
        self.call("DELETE", f"/runs/{runs[0]}/artifacts/model", status=204)
        self.call("DELETE", f"/runs/{runs[0]}", status=204)
        self.post(f"/runs/{runs[0]}/restore")
        self.call("DELETE", f"/experiments/{experiment}", status=204)
        self.get("/experiments?deleted=true")

    def of_models(self, run):
        self.post("/models", {"name": "m", "description": "d"}, 201)
        self.post("/models/m/versions", {"run_id": run, "path": "model", "tags": {"a": "b"}}, 201)
        self.post("/models/m/versions", {"source": "s3://b/x"}, 201)
        self.call("PUT", "/models/m/aliases/best", {"version": 1})
        self.call("PATCH", "/models/m/versions/1", {"stage": "Production"})
        self.call("PATCH", "/models/m", {"description": "e"})
        for path in ("", "/m", "/m/versions", "/m/versions/1", "/m/versions/2", "/m/versions/1/files", "/m/versions/1/files/x.txt", "/m/versions/1/files.zip", "/m/events"):
            self.get("/models" + path)
        self.assertTrue(self.post("/models/m/versions/1/verify").json["ok"])
        self.call("DELETE", "/models/m/aliases/best", status=204)
        self.call("DELETE", "/models/m/versions/1", status=204)
        self.call("DELETE", "/models/m", status=204)

    def of_sweeps(self):
        spec = {"name": "s", "method": "bayes", "metric": {"name": "loss"}, "parameters": SPACE, "run_cap": 500, "sampler": {"type": "tpe", "seed": 1},
                "early_terminate": [{"type": "asha", "min_iter": 1}, {"type": "median", "min_iter": 1}, {"type": "threshold", "max": 90}]}
        self.post("/sweeps?dry_run=true", spec)
        sweep = self.post("/sweeps", spec, 201).json["id"]
        at = f"/sweeps/{sweep}"
        self.post(at + "/trials", {"params": {"x": 0.5, "kind": 2}}, 201)
        trials = self.post(at + "/ask", {"count": 4}).json["trials"]
        self.post(f"/runs/{trials[0]['run_id']}/heartbeat")
        self.post(f"/runs/{trials[0]['run_id']}/report", {"step": 1, "metrics": {"loss": 1, "other": "NaN"}})
        self.assertEqual(self.post(f"/runs/{trials[1]['run_id']}/report", {"step": 1, "metrics": {"loss": 99}}).json["verdict"], "stop")
        self.post(f"/runs/{trials[2]['run_id']}/stop")
        self.post(at + "/tell", {"trials": [{"run_id": trials[0]["run_id"], "value": 1}, {"run_id": trials[3]["run_id"], "state": "FAILED"}]})
        self.post(at + "/tell", {"trials": [{"params": {"x": i / 60, "kind": "a"}, "value": i} for i in range(60)]})
        self.post(f"/runs/{trials[3]['run_id']}/retry")
        for path in ("", "/trials", "/trials?state=FAILED&sort=-value", "/importance", "/best?k=2&limit=5"):
            self.get(at + path)
        for path, count in (("/progress", 61), ("/rungs", 3)):
            whole, paged = self.pages(at + path)
            self.assertEqual((whole, len(whole)), (paged, count), path)
        self.assertEqual([len(self.get(f"{at}/best?{q}").json["items"]) for q in ("k=2", "limit=7", "limit=1&k=3", "k=10")], [2, 7, 1, 10])
        self.assertEqual([t["number"] for t in self.get(f"{at}/trials?number=7").json["items"]], [7])
        self.assertEqual(self.get(f"{at}/trials?number=7000").json["items"], [])
        for target in ("progress?limit=0", "rungs?cursor=x", "best?limit=1001", "trials?number=-1", "trials?number=4294967303"):
            self.assertEqual(self.s.get(f"/api/v1{at}/{target}").status, 400, target)
        self.post(at + "/reparse", status=202)
        self.get(at + "/reparse")
        self.get("/sweeps")
        self.call("PATCH", at, {"notes": "n"})
        for wrong in ({"sed": 5}, {"seed": "5"}, {"name": 5}):
            self.assertEqual(self.s.post(f"/api/v1{at}/clone", wrong).status, 400, wrong)
        clone = self.post(at + "/clone", {"name": "again", "seed": 5}, 201).json
        self.assertEqual((clone["name"], clone["sampler"]["seed"]), ("again", 5))
        clone = clone["id"]
        for action in ("pause", "resume", "stop"):
            self.post(f"/sweeps/{clone}/{action}")
        self.get(f"/sweeps/{clone}/events")
        self.post(at + "/drain")
        wait(lambda: self.get(f"/sweeps/{clone}").json["state"] == "STOPPED", "its end")
        self.call("DELETE", f"/sweeps/{clone}", status=204)

    def of_jobs(self):
        archive = io.BytesIO()
        with tarfile.open(fileobj=archive, mode="w") as tar:
            tar.addfile(tarfile.TarInfo("empty"))
        digest = hashlib.sha256(archive.getvalue()).hexdigest()
        self.call("PUT", f"/code/{digest}", archive.getvalue(), 201)
        self.get(f"/code/{digest}")
        run = self.post("/runs", {"command": ["sh", "-c", "echo loss=0.5; exec sleep 3000"]}, 201).json["id"]
        wait(lambda: self.get(f"/runs/{run}").json["state"] == "RUNNING", "its start")
        waits = self.post("/runs", {"command": ["sleep", "3000"]}, 201).json["id"]
        self.get("/queue")
        self.call("PATCH", f"/queue/{waits}", {"hold": True})
        whole, paged = self.pages("/nodes")
        node = whole[0]["name"]
        self.assertEqual([n["name"] for n in paged], [node])
        self.call("PATCH", f"/nodes/{node}", {"drain": False})
        wait(lambda: b"loss" in self.get(f"/runs/{run}/logs/stdout").body, "its output")
        self.of_a_companion(run)
        self.assertIn(self.post(f"/runs/{run}/stop").json["state"], ("STOPPING", "KILLED"))
        wait(lambda: self.get(f"/runs/{run}").json["state"] == "KILLED", "its end")
        self.post(f"/runs/{run}/reparse")
        self.post(f"/runs/{waits}/stop")
        self.post(f"/runs/{run}/retry")
        wait(lambda: self.get(f"/runs/{run}").json["state"] == "RUNNING", "its second start")
        self.post(f"/runs/{run}/stop")
        wait(lambda: self.get(f"/runs/{run}").json["state"] == "KILLED", "its second end")
        self.call("DELETE", f"/runs/{run}/logs", status=204)

    def of_a_companion(self, run):
        at = f"/companion/{run}/1"
        self.assertEqual(self.post(at + "/heartbeat").body, b"continue\n")
        self.post(at + "/output?stream=stderr&offset=0", "")
        self.get(at + "/verdict?wait=0")

    def of_care(self):
        self.get("/admin/stats")
        self.get("/admin/backup")
        self.post("/admin/fsck?deep=true")
        self.post("/admin/gc?dry_run=true&older_than=1h")
        self.post("/admin/purge", {"dry_run": True, "older_than": 0})


if __name__ == "__main__":
    unittest.main()
