#!/usr/bin/env python3
"""Directories of artifacts as zip archives: whole, in any name, in little memory, however slow the reader."""
import contextlib, http.client, io, os, pathlib, socket, subprocess, sys, time, unittest, urllib.parse, zipfile

WINNOW = pathlib.Path(sys.argv.pop(1)).resolve()
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from service import Service, wait  # noqa: E402


class Zip(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.s = Service(WINNOW)

    @classmethod
    def tearDownClass(cls):
        try:
            cls.s.stop()
        finally:
            cls.s.close()

    def make_run(self, files):
        run = self.s.post("/api/v1/runs", {"experiment": self.id()}).json["id"]
        for name, content in files.items():
            path = f"/api/v1/runs/{run}/artifacts/{urllib.parse.quote(name)}"
            self.assertEqual(self.s.request("PUT", path, content).status, 201)
        return run

    def directory(self, run):
        uri = self.s.get("/api/v1/runs/" + run).json["artifact_uri"]
        return self.s.data / "artifacts" / uri.split(":/", 1)[1]

    def open(self, path):
        answer = self.s.get(path)
        self.assertEqual((answer.status, answer.headers["Content-Type"]), (200, "application/zip"), answer)
        archive = zipfile.ZipFile(io.BytesIO(answer.body))
        self.assertIsNone(archive.testzip())
        return answer, {name: archive.read(name) for name in archive.namelist()}

    FILES = {"a.txt": b"text " * 5000, "model/MLmodel": b"flavors: {}\n", "model/data/größe 100%.bin": os.urandom(700000), "model/empty": b""}

    def test_a_run_and_a_directory_of_it(self):
        run = self.make_run(self.FILES)
        answer, files = self.open(f"/api/v1/runs/{run}/artifacts.zip")
        self.assertEqual(files, self.FILES)
        self.assertIn(f'filename={run}.zip', answer.headers["Content-Disposition"])
        self.assertLess(len(answer.body), 730000)  # text is compressed
        answer, files = self.open(f"/api/v1/runs/{run}/artifacts/model.zip")
        self.assertEqual(files, {name[6:]: content for name, content in self.FILES.items() if name.startswith("model/")})
        self.assertIn('filename=model.zip', answer.headers["Content-Disposition"])
        self.assertEqual(set(self.open(f"/api/v1/runs/{run}/artifacts/model/data.zip")[1]), {"größe 100%.bin"})
        head = self.s.request("HEAD", f"/api/v1/runs/{run}/artifacts.zip")
        self.assertEqual((head.status, head.body), (200, b""))
        if pathlib.Path("/usr/bin/unzip").exists():
            path = self.s.home / "a.zip"
            path.write_bytes(answer.body)
            subprocess.run(["unzip", "-tq", path], check=True, capture_output=True)

    def test_files_that_are_archives_stay_what_they_are(self):
        run = self.make_run({"x.zip": b"mine", "x/y": b"z"})
        self.assertEqual(self.s.get(f"/api/v1/runs/{run}/artifacts/x.zip").body, b"mine")

    def test_files_that_go_while_it_is_read(self):
        run = self.make_run({"a.bin": b"", "b/gone": b"x", "c": b"there"})
        with open(self.directory(run) / "a.bin", "r+b") as f:
            f.truncate(100 << 20)  # more than waits in any buffer
        connection = http.client.HTTPConnection("127.0.0.1", self.s.port, timeout=60)
        connection.request("GET", f"/api/v1/runs/{run}/artifacts.zip")
        answer = connection.getresponse()
        begun = answer.read(1000)
        self.assertEqual(self.s.request("DELETE", f"/api/v1/runs/{run}/artifacts/b/gone").status, 204)
        archive = zipfile.ZipFile(io.BytesIO(begun + answer.read()))
        connection.close()
        self.assertIsNone(archive.testzip())
        self.assertEqual((archive.namelist(), archive.read("c")), (["a.bin", "c"], b"there"))

    def test_what_is_not_there(self):
        run = self.make_run({"a": b"b"})
        for path in (f"{run}/artifacts/none.zip", f"{run}/artifacts/a.zip", f"{run}/artifacts/.zip", f"{'0' * 32}/artifacts.zip", f"{run}/artifacts/%2e%2e.zip"):
            self.assertIn(self.s.get("/api/v1/runs/" + path).status, (400, 404), path)
        self.assertEqual(self.s.get(f"/api/v1/runs/{self.make_run({})}/artifacts.zip").status, 404)

    def test_versions_of_models(self):
        run = self.make_run(self.FILES)
        self.s.post("/api/v1/models", {"name": "zipped model"})
        self.assertEqual(self.s.post("/api/v1/models/zipped%20model/versions", {"run_id": run, "path": "model"}).status, 201)
        base = "/api/v1/models/zipped%20model/versions/1/files"
        wanted = {name[6:]: content for name, content in self.FILES.items() if name.startswith("model/")}
        answer, files = self.open(base + ".zip")
        self.assertEqual(files, wanted)
        self.assertIn('filename="zipped model-1.zip"', answer.headers["Content-Disposition"])
        self.assertEqual(set(self.open(base + "/data.zip")[1]), {"größe 100%.bin"})
        self.assertEqual(self.s.get(base + "/MLmodel").body, b"flavors: {}\n")

    def test_the_command_line_still_gets_directories(self):
        run = self.make_run(self.FILES)
        env = dict(os.environ, WINNOW_URL=f"unix:{self.s.data}/winnow.sock", HOME=str(self.s.home))
        to = self.s.home / "got"
        subprocess.run([WINNOW, "artifact", "get", run, "model", "--to", str(to)], env=env, check=True, capture_output=True, timeout=60)
        self.assertEqual((to / "data/größe 100%.bin").read_bytes(), self.FILES["model/data/größe 100%.bin"])

    def ask(self, path, receive=4096):
        taken = socket.socket()
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive)
        taken.connect(("127.0.0.1", self.s.port))
        taken.sendall(f"GET /api/v1/{path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
        return taken

    def memory(self):
        return int(pathlib.Path(f"/proc/{self.s.process.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")

    def test_slow_readers_cost_little_memory_and_those_who_leave_nothing(self):
        run = self.make_run({"big.bin": b""})
        with open(self.directory(run) / "big.bin", "r+b") as f:
            f.truncate(400 << 20)
        before = self.memory()
        readers = [self.ask(f"runs/{run}/artifacts.zip") for _ in range(8)]
        time.sleep(1)
        self.assertLess(self.memory() - before, 60 << 20)
        for reader in readers:
            self.assertIn(b"200", reader.recv(200))
            reader.close()
        # One that reads to the end gets all of it, while the others are gone.
        answer = self.s.get(f"/api/v1/runs/{run}/artifacts.zip")
        self.assertIsNone(zipfile.ZipFile(io.BytesIO(answer.body)).testzip())
        wait(lambda: not any("big.bin" in name for name in self.opened()), "the end of those who left")

    def opened(self):
        for fd in list(pathlib.Path(f"/proc/{self.s.process.pid}/fd").iterdir()):
            with contextlib.suppress(FileNotFoundError):  # closed meanwhile
                yield os.readlink(fd)

    def in_flight(self):
        """Requests that have not been answered, this one aside."""
        return int(next(line.split()[1] for line in self.s.get("/metrics").body.decode().splitlines() if line.startswith("winnow_http_requests_in_flight"))) - 1

    def test_who_leaves_a_list_of_points_is_let_go(self):
        run = self.make_run({})
        for start in range(0, 200000, 10000):
            points = [{"key": "loss", "value": k, "step": k} for k in range(start, start + 10000)]
            self.assertEqual(self.s.post(f"/api/v1/runs/{run}/metrics", {"points": points}).status, 200)
        reader = self.ask(f"series?run={run}&key=loss&raw=true")
        reader.recv(100)
        time.sleep(0.5)  # it waits for us now
        reader.close()
        wait(lambda: self.in_flight() == 0, "the end of the request")

    def test_more_files_than_zip_once_knew(self):
        run = self.make_run({"0": b""})
        at = self.directory(run)
        for i in range(66000):
            os.close(os.open(at / f"f{i}", os.O_CREAT | os.O_WRONLY, 0o644))
        answer = self.s.get(f"/api/v1/runs/{run}/artifacts.zip")
        self.assertEqual(len(zipfile.ZipFile(io.BytesIO(answer.body)).namelist()), 66001)

    @unittest.skipUnless(os.environ.get("WINNOW_TEST_LONG"), "reads 5 GB")
    def test_a_file_beyond_4_gib(self):
        run = self.make_run({"huge.bin": b""})
        with open(self.directory(run) / "huge.bin", "r+b") as f:
            f.truncate((5 << 30) + 1)
        path = self.s.home / "huge.zip"
        subprocess.run(["curl", "-sSf", "-o", path, f"{self.s.url}/api/v1/runs/{run}/artifacts.zip"], check=True, timeout=280)
        self.assertEqual(zipfile.ZipFile(path).getinfo("huge.bin").file_size, (5 << 30) + 1)


if __name__ == "__main__":
    unittest.main(verbosity=1)
