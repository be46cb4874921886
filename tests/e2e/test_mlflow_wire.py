#!/usr/bin/env python3
"""MLflow's protocol over the wire: the cases of tests/conformance against a real service, and what single requests cannot show."""
import concurrent.futures, http.client, json, os, pathlib, sys, time, unittest

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "support"), str(ROOT / "conformance")]
import run as conformance  # noqa: E402
from service import Service  # noqa: E402

PROGRAM = sys.argv.pop(1)


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

    def test_an_upload_that_breaks_off_leaves_nothing(self):
        rid = self.new_run()
        host = self.service.url.split("//")[1]
        connection = http.client.HTTPConnection(host, timeout=60)
        connection.putrequest("PUT", f"/api/2.0/mlflow-artifacts/artifacts/0/{rid}/artifacts/x/half.bin")
        connection.putheader("Content-Length", "100000")
        connection.endheaders()
        connection.send(b"x" * 50000)
        connection.close()
        folder = self.service.data / "artifacts" / "0" / rid / "artifacts" / "x"
        end = time.time() + 60  # removed as soon as the thread that wrote is done with it
        while not (folder.exists() and not list(folder.iterdir())) and time.time() < end:
            time.sleep(0.05)
        self.assertEqual(list(folder.iterdir()), [])

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


if __name__ == "__main__":
    unittest.main(verbosity=2)
