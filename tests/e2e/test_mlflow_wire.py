#!/usr/bin/env python3
"""MLflow's protocol over the wire: the cases of tests/conformance against a real service, and what single requests cannot show."""
import concurrent.futures, http.client, json, os, pathlib, random, string, sys, tempfile, time, unittest

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "support"), str(ROOT / "conformance")]
import run as conformance  # noqa: E402
from service import Service, wait  # noqa: E402

PROGRAM = os.path.abspath(sys.argv.pop(1))


class Wire(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.service = Service(PROGRAM)

    @classmethod
    def tearDownClass(cls):
        cls.service.close()

    def call(self, method, path, body=None):
        host = self.service.url.split("//")[1]
        connection = http.client.HTTPConnection(host, timeout=60)
        connection.request(method, path, json.dumps(body) if body is not None else None, {"Content-Type": "application/json"} if body is not None else {})
        answer = connection.getresponse()
        data = answer.read()
        connection.close()
        return answer.status, data

    def mlflow(self, path, body):
        status, data = self.call("POST", "/api/2.0/mlflow/" + path, body)
        self.assertEqual(status, 200, data)
        return json.loads(data)

    def new_run(self):
        return self.mlflow("runs/create", {})["run"]["info"]["run_id"]

    def test_cases(self):
        for path in sorted((ROOT / "conformance").glob("*.cases")):
            with self.subTest(path.name):
                passed, failed = conformance.run_file(self.service.url, str(path))
                self.assertEqual(failed, 0)
                self.assertGreater(passed, 20)

    def test_an_error_tells_its_remedy(self):
        answer = self.service.request("GET", "/api/2.0/mlflow/experiments/get?experiment_id=0", headers={"Authorization": "Bearer x"})
        self.assertEqual((answer.status, answer.json["error_code"]), (401, "UNAUTHENTICATED"), answer)
        self.assertRegex(answer.json["message"], r"^the token is not valid: .* \(`winnow token create` makes one; .*\)$")

    def test_what_goes_wrong_inside_is_for_the_log(self):
        for method, path, body, table in (("POST", "/api/2.0/mlflow/experiments/search-datasets", {"experiment_ids": ["0"]}, "dataset"),
                                          ("GET", f"/api/v1/runs/{self.new_run()}/events", None, "event")):
            self.service.sql(f"alter table {table} rename to {table}_away")
            answer = self.service.request(method, path, body)
            self.service.sql(f"alter table {table}_away rename to {table}")
            self.assertEqual(answer.status, 500, answer)
            self.assertIn(answer.headers["X-Request-Id"], str(answer.json))
            self.assertNotIn("relation", str(answer.json))
            lines = lambda: [line for line in self.service.log().splitlines() if answer.headers["X-Request-Id"] in line]
            wait(lambda: f'relation "{table}" does not exist' in "\n".join(lines()), "its line in the log")
            self.assertEqual(self.service.request(method, path, body).status, 200)

    def test_chunked_upload_is_stored_plainly(self):
        rid = self.new_run()
        host = self.service.url.split("//")[1]
        connection = http.client.HTTPConnection(host, timeout=60)
        pieces = [os.urandom(70000) for _ in range(20)]
        path = f"/api/2.0/mlflow-artifacts/artifacts/0/{rid}/artifacts/big.bin"
        connection.request("PUT", path, iter(pieces), {"Transfer-Encoding": "chunked"}, encode_chunked=True)
        answer = connection.getresponse()
        self.assertEqual((answer.status, answer.read()), (200, b"{}"))
        on_disk = self.service.data / "artifacts" / "0" / rid / "artifacts" / "big.bin"
        self.assertEqual(on_disk.read_bytes(), b"".join(pieces))
        connection.request("PUT", path.replace("big.bin", "empty"), iter([]), {"Transfer-Encoding": "chunked"}, encode_chunked=True)
        self.assertEqual(connection.getresponse().read(), b"{}")
        self.assertEqual((on_disk.parent / "empty").stat().st_size, 0)
        self.assertEqual(sorted(p.name for p in on_disk.parent.iterdir()), ["big.bin", "empty"])

    def test_symbolic_links_are_not_followed(self):
        rid = self.new_run()
        folder = self.service.data / "artifacts" / "0" / rid / "artifacts"
        folder.mkdir(parents=True)
        (folder / "out").symlink_to("/etc")
        (folder / "file").symlink_to("/etc/passwd")
        base = f"/api/2.0/mlflow-artifacts/artifacts/0/{rid}/artifacts"
        for path in ("/out/passwd", "/file"):
            self.assertEqual(self.call("GET", base + path)[0], 404)
        self.assertEqual(self.call("PUT", base + "/out/evil", {"x": 1})[0], 400)
        self.assertFalse(os.path.exists("/etc/evil"))
        self.assertEqual(json.loads(self.call("GET", f"/api/2.0/mlflow-artifacts/artifacts?path=0/{rid}/artifacts")[1]), {})
        self.assertEqual(self.call("DELETE", base)[0], 200)
        self.assertTrue(os.path.exists("/etc/passwd"))

    def test_versions_have_no_gaps_however_many_register(self):
        self.mlflow("registered-models/create", {"name": "crowd"})

        def register(_):
            return int(self.mlflow("model-versions/create", {"name": "crowd", "source": "s3://b/m"})["model_version"]["version"])

        with concurrent.futures.ThreadPoolExecutor(16) as pool:
            versions = list(pool.map(register, range(100)))
        self.assertEqual(sorted(versions), list(range(1, 101)))

    def test_one_param_many_writers_one_value(self):
        rid = self.new_run()

        def write(i):
            return self.call("POST", "/api/2.0/mlflow/runs/log-parameter", {"run_id": rid, "key": "p", "value": f"v{i}"})[0]

        with concurrent.futures.ThreadPoolExecutor(16) as pool:
            answers = list(pool.map(write, range(40)))
        self.assertEqual(sorted(answers), [200] + [400] * 39)

    def test_who_writes_with_others_is_told_what_became_of_his_own(self):
        rid = self.new_run()
        self.mlflow("runs/log-parameter", {"run_id": rid, "key": "p", "value": "a"})

        def write(i):
            path, key, value = [("set-tag", f"t{i}", "x"), ("log-parameter", f"p{i}", "x"), ("log-parameter", "p", f"b{i}")][i % 3]
            status, data = self.call("POST", "/api/2.0/mlflow/runs/" + path, {"run_id": rid, "key": key, "value": value})
            return status, json.loads(data).get("message", "")

        def write_all():
            with concurrent.futures.ThreadPoolExecutor(20) as pool:
                return list(pool.map(write, range(120)))

        for i, answer in enumerate(write_all()):
            told = f"Changing param values is not allowed. Param with key='p' was already logged with value='a' for run ID='{rid}'. Attempted logging new value 'b{i}'."
            self.assertEqual(answer, (400, told) if i % 3 == 2 else (200, ""))
        run = json.loads(self.call("GET", f"/api/2.0/mlflow/runs/get?run_id={rid}")[1])["run"]["data"]
        self.assertEqual({p["key"]: p["value"] for p in run["params"]}, {"p": "a", **{f"p{i}": "x" for i in range(1, 120, 3)}})
        self.assertLessEqual({f"t{i}" for i in range(0, 120, 3)}, {t["key"] for t in run["tags"]})
        self.mlflow("runs/delete", {"run_id": rid})
        self.assertEqual(set(write_all()), {(400, f"The run {rid} must be in the 'active' state. Current state is deleted.")})

    def test_writers_of_one_run_do_not_block_each_other(self):
        rid = self.new_run()

        def write(i):
            metrics = [{"key": f"m{k}", "value": i, "timestamp": i, "step": i} for k in range(50)]
            return self.call("POST", "/api/2.0/mlflow/runs/log-batch", {"run_id": rid, "metrics": metrics, "params": [{"key": f"p{i}", "value": "x"}],
                                                                         "tags": [{"key": "t", "value": str(i)}]})[0]

        with concurrent.futures.ThreadPoolExecutor(16) as pool:
            self.assertEqual(set(pool.map(write, range(80))), {200})
        run = json.loads(self.call("GET", f"/api/2.0/mlflow/runs/get?run_id={rid}")[1])["run"]["data"]
        self.assertEqual(len(run["params"]), 80)
        self.assertEqual({(m["value"], m["step"]) for m in run["metrics"]}, {(79.0, 79)})

    def test_what_was_written_is_there_after_kill(self):
        rid = self.new_run()
        self.mlflow("runs/log-batch", {"run_id": rid, "metrics": [{"key": "m", "value": 7, "timestamp": 1, "step": 1}],
                                       "params": [{"key": "p", "value": "x"}]})
        self.service.process.kill()
        self.service.process.wait()
        self.service.start()
        run = json.loads(self.call("GET", f"/api/2.0/mlflow/runs/get?run_id={rid}")[1])["run"]["data"]
        self.assertEqual(run["params"], [{"key": "p", "value": "x"}])
        self.assertEqual([m["value"] for m in run["metrics"]], [7.0])

    def test_a_thousand_run_ids_fit_into_an_address(self):
        ids = "&".join(f"run_id=id_{i}" for i in range(1000))
        status, data = self.call("GET", f"/ajax-api/2.0/mlflow/metrics/get-history-bulk?{ids}&metric_key=m")
        self.assertEqual(status, 400)
        self.assertIn("cannot specify more than 100 run_ids", json.loads(data)["message"])

    def test_more_datasets_than_a_search_tells(self):
        experiment = self.mlflow("experiments/create", {"name": "many datasets"})["experiment_id"]
        run = self.mlflow("runs/create", {"experiment_id": experiment})["run"]["info"]["run_id"]
        datasets = [{"dataset": {"name": f"n{i}", "digest": "d", "source_type": "s", "source": "s"}} for i in range(2001)]
        status, data = self.call("POST", "/api/2.0/mlflow/runs/log-inputs", {"run_id": run, "datasets": datasets})
        self.assertEqual((status, json.loads(data)["message"]), (400, "at most 2000 inputs or outputs can be logged at once"))
        self.mlflow("runs/log-inputs", {"run_id": run, "datasets": datasets[:1010]})
        kept = json.loads(self.call("GET", f"/api/2.0/mlflow/runs/get?run_id={run}")[1])["run"]["inputs"]["dataset_inputs"]
        found = self.mlflow("experiments/search-datasets", {"experiment_ids": [experiment]})["dataset_summaries"]
        self.assertEqual((len(kept), len(found)), (1010, 1000))

    def test_texts_are_bounded_by_what_can_be_kept(self):
        """Of letters that do not compress: what an index holds is less than what a row holds."""
        letters = random.Random(1)
        run, prefix = self.new_run(), "/api/2.0/mlflow/"
        long = "".join(chr(letters.randrange(0x20000, 0x2A000)) for _ in range(110000))
        name = f"bounds {run}"
        self.mlflow("registered-models/create", {"name": name})
        point = {"run_id": run, "key": "k", "value": 1, "timestamp": 1}
        for path, body, fits, bound in (
                ("registered-models/create", lambda text: {"name": text}, 620, "2500 bytes"),
                ("registered-models/create", lambda text: {"name": "d" + run, "description": text}, None, "100000 characters"),
                ("model-versions/create", lambda text: {"name": name, "source": "s3://b", "run_id": text}, 256, "256 characters"),
                ("model-versions/create", lambda text: {"name": name, "source": "s3://b", "run_link": text}, 2000, "2000 characters"),
                ("model-versions/create", lambda text: {"name": name, "source": "s3://b", "description": text}, None, "100000 characters"),
                ("model-versions/create", lambda text: {"name": name, "source": "s3://" + text}, None, "20000 characters"),
                ("runs/create", lambda text: {"user_id": text}, 256, "256 characters"),
                ("registered-models/set-tag", lambda text: {"name": name, "key": "text", "value": text}, None, "100000 characters"),
                ("runs/log-metric", lambda text: {**point, "dataset_name": text, "dataset_digest": "d"}, 500, "500 characters"),
                ("runs/log-batch", lambda text: {"run_id": run, "metrics": [{**point, "dataset_name": "n", "dataset_digest": text}]}, 36, "36 characters"),
                ("logged-models", lambda text: {"experiment_id": "0", "model_type": text}, 500, "500 characters")):
            with self.subTest(path, bound=bound):
                status, data = self.call("POST", prefix + path, body(long))
                self.assertEqual((status, json.loads(data)["error_code"]), (400, "INVALID_PARAMETER_VALUE"))
                self.assertIn(f"exceeds the maximum length of {bound}", json.loads(data)["message"])
                if fits:
                    self.assertEqual(self.call("POST", prefix + path, body(long[:fits]))[0], 200)
        status, data = self.call("POST", prefix + "registered-models/set-tag", {"name": name, "key": "mlflow.prompt.text", "value": long})
        self.assertEqual((status, json.loads(data)["message"]), (400, "Prompt text exceeds max length of 100000 characters."))

    def test_more_tags_than_a_request_has_room_for(self):
        """Told as what it is: a client sends again, for minutes, what has failed for want of memory."""
        self.mlflow("registered-models/create", {"name": "tagged"})
        tags = [{"key": f"k{i}", "value": "v" * 5000} for i in range(4000)]
        for path, body in ("runs/create", {}), ("model-versions/create", {"name": "tagged", "source": "s3://b"}):
            status, data = self.call("POST", "/api/2.0/mlflow/" + path, {**body, "tags": tags})
            self.assertEqual((status, json.loads(data)["error_code"]), (400, "INVALID_PARAMETER_VALUE"), data)

    def test_a_path_that_cannot_be_noted_leaves_no_file(self):
        letters, run = random.Random(2), self.new_run()
        path = "/".join("".join(letters.choices(string.ascii_letters + string.digits, k=250)) for _ in range(12))
        for at, status in (path[:2500] + "/file", 200), (path[:2700] + "/file", 400):
            self.assertEqual(self.call("PUT", f"/api/2.0/mlflow-artifacts/artifacts/0/{run}/artifacts/{at}", "x")[0], status)
            self.assertEqual((self.service.data / "artifacts" / "0" / run / "artifacts" / at).exists(), status == 200)
            self.assertEqual(self.call("PUT", f"/api/v1/runs/{run}/artifacts/{at}2", "x")[0], 201 if status == 200 else 400)


class Beginning(unittest.TestCase):
    """What MLflow's own tests need of a server that they start on an empty directory."""

    def ask(self, service, method, path, body=None):
        answer = service.request(method, path, json.dumps(body) if body is not None else None, {"Content-Type": "application/json"} if body is not None else {}, unix=False)
        return answer.status, answer.body

    def run_in(self, service, experiment="0"):
        status, body = self.ask(service, "POST", "/api/2.0/mlflow/runs/create", {"experiment_id": experiment})
        self.assertEqual(status, 200, body)
        return json.loads(body)["run"]["info"]

    def test_whoever_gets_an_answer_finds_experiment_0(self):
        service = Service(PROGRAM, arguments=["--artifact-root", "s3://bucket/root/"], start=False)
        try:
            service.spawn()
            endpoint, found, end = service.data / "endpoint", None, time.time() + 60
            while found is None and time.time() < end:
                try:
                    service.url = next(line for line in endpoint.read_text().splitlines() if line.startswith("http"))
                    status, body = self.ask(service, "GET", "/api/2.0/mlflow/experiments/get?experiment_id=0")
                    found = (status, body) if status != 503 else None
                except (OSError, StopIteration, http.client.HTTPException):
                    pass
            self.assertEqual(found[0], 200, found)
            self.assertEqual(json.loads(found[1])["experiment"]["artifact_location"], "s3://bucket/root/0")
        finally:
            service.close()

    def test_what_an_artifact_root_becomes(self):
        self.addCleanup(os.chdir, os.getcwd())  # a relative root is made where the service is started
        here = os.path.realpath(self.enterContext(tempfile.TemporaryDirectory(prefix="winnow-e2e-root-")))
        os.chdir(here)
        for root, expected in (("s3://bucket?creds=mine#part", "s3://bucket/0?creds=mine#part"), ("some/where", f"{here}/some/where/0"),
                               ("file:some/where?a=b", f"file://{here}/some/where/0?a=b")):
            with self.subTest(root), Service(PROGRAM, arguments=["--artifact-root", root]) as s:
                answer = json.loads(self.ask(s, "GET", "/api/2.0/mlflow/experiments/get?experiment_id=0")[1])
                self.assertEqual(answer["experiment"]["artifact_location"], expected)
                uri = self.run_in(s)["artifact_uri"]
                self.assertRegex(uri.replace(expected.split("?")[0], "ROOT"), "^ROOT/[0-9a-f]{32}/artifacts(\\?|$)")

    def test_an_artifact_root_of_this_service_s_own_address(self):
        with Service(PROGRAM, arguments=["--artifact-root", "http://winnow.example/api/2.0/mlflow-artifacts/artifacts"]) as s:
            info = self.run_in(s)
            self.assertEqual(info["artifact_uri"], f"http://winnow.example/api/2.0/mlflow-artifacts/artifacts/0/{info['run_id']}/artifacts")
            self.assertEqual(self.ask(s, "PUT", f"/api/2.0/mlflow-artifacts/artifacts/0/{info['run_id']}/artifacts/dir/a.txt", "x")[0], 200)
            files = json.loads(self.ask(s, "GET", f"/api/2.0/mlflow/artifacts/list?run_id={info['run_id']}&path=dir")[1])["files"]
            self.assertEqual([f["path"] for f in files], ["dir/a.txt"])

    def test_an_artifact_root_that_is_a_directory_clients_write_to(self):
        with tempfile.TemporaryDirectory(prefix="winnow-e2e-root-") as root:
            with Service(PROGRAM, arguments=["--artifact-root", f"file://{root}"]) as s:
                info = self.run_in(s)
                place = pathlib.Path(info["artifact_uri"].removeprefix("file://"))
                self.assertEqual(place, pathlib.Path(root) / "0" / info["run_id"] / "artifacts")
                place.mkdir(parents=True)
                (place / "theirs.txt").write_text("theirs")
                os.utime(place / "theirs.txt", (1, 1))
                self.assertEqual(self.ask(s, "GET", f"/get-artifact?run_id={info['run_id']}&path=theirs.txt"), (200, b"theirs"))
                self.assertEqual(s.post(f"/ajax-api/2.0/mlflow/upload-artifact?run_uuid={info['run_id']}&path=ours.txt", b"ours", unix=False).status, 200)
                self.assertEqual((place / "ours.txt").read_text(), "ours")
                listed = json.loads(self.ask(s, "GET", f"/api/2.0/mlflow/artifacts/list?run_id={info['run_id']}")[1])["files"]
                self.assertEqual([f["path"] for f in listed], ["ours.txt", "theirs.txt"])
                # Places elsewhere stay closed, however their URI looks.
                for location in ("file:///etc", f"file://{root}-other", f"file://{root}/../../etc"):
                    status, body = self.ask(s, "POST", "/api/2.0/mlflow/experiments/create", {"name": location, "artifact_location": location})
                    if status != 200:
                        continue
                    other = self.run_in(s, json.loads(body)["experiment_id"])
                    self.assertNotEqual(self.ask(s, "GET", f"/get-artifact?run_id={other['run_id']}&path=passwd")[0], 200)
                # What clients put there is not rubbish, even if it is old and nobody noted it.
                found = s.post("/api/v1/admin/gc?older_than=0s")
                self.assertEqual(found.status, 200, found)
                self.assertTrue((place / "theirs.txt").exists(), found)

    def test_a_local_root_is_one_place_however_it_is_written(self):
        for prefix in ("", "file://"):
            with tempfile.TemporaryDirectory(prefix="winnow-e2e-root-") as root:
                with Service(PROGRAM, arguments=["--artifact-root", prefix + root]) as s:
                    info = self.run_in(s)
                    place = pathlib.Path(root) / "0" / info["run_id"] / "artifacts" / "m"
                    place.mkdir(parents=True)
                    (place / "f.txt").write_text("model")
                    self.assertEqual(self.ask(s, "POST", "/api/2.0/mlflow/registered-models/create", {"name": "n"})[0], 200)
                    for number, scheme in enumerate(("", "file://", "file:", "FILE://localhost"), 1):
                        body = {"name": "n", "source": f"{scheme}{place}", "run_id": info["run_id"]}
                        status, answer = self.ask(s, "POST", "/api/2.0/mlflow/model-versions/create", body)
                        self.assertEqual(status, 200, answer)
                        self.assertIsNotNone(s.get(f"/api/v1/models/n/versions/{number}").json["digest"], (prefix, scheme))
                        self.assertEqual(self.ask(s, "GET", f"/model-versions/get-artifact?name=n&version={number}&path=f.txt"), (200, b"model"))


if __name__ == "__main__":
    unittest.main(verbosity=2)
