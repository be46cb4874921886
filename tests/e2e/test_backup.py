#!/usr/bin/env python3
"""Backup and restore: what comes back is what was there, bit for bit, also when the backup was made under load; damage is refused."""
import hashlib, io, json, os, pathlib, shutil, signal, subprocess, sys, tarfile, tempfile, unittest

WINNOW = pathlib.Path(sys.argv.pop(1)).resolve()
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from cluster import Cluster  # noqa: E402
from proxy import Proxy  # noqa: E402
from service import Service, wait  # noqa: E402

VALUES = [0.1, -0.0, 5e-324, 1.7976931348623157e308, "NaN", "Infinity", "-Infinity", 1 / 3]


class Case(unittest.TestCase):
    def setUp(self):
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="winnow-backup-"))
        self.dir.chmod(0o711)
        self.addCleanup(shutil.rmtree, self.dir, True)

    def service(self, data=None, arguments=()):
        s = Service(WINNOW, data=data, arguments=arguments)
        self.addCleanup(s.close)
        return s

    def cli(self, s, *words, code=0, **more):
        env = dict(os.environ, HOME=str(self.dir))
        env.setdefault("XDG_CACHE_HOME", "/tmp/winnow-test-cache")
        if s:
            env["WINNOW_URL"] = f"unix:{s.data}/winnow.sock"
        done = subprocess.run([WINNOW, *map(str, words)], env=env, capture_output=True, timeout=240, **more)
        self.assertEqual(done.returncode, code, f"{words}\n{done.stdout[-2000:]}\n{done.stderr.decode()}")
        return done

    def fill(self, s):
        runs = []
        for r in range(3):
            run = s.post("/api/v1/runs", {"experiment": "ä " + str(r % 2), "name": f"run {r}", "params": {"lr": "0.1", "größe": "✓"}, "tags": {"t": "x"}}).json["id"]
            for start in range(0, 6000, 2000):
                points = [{"key": f"m/{k}", "value": VALUES[(step + k) % len(VALUES)], "step": step, "time": 1700000000000 + step} for step in range(start, start + 2000) for k in range(2)]
                self.assertEqual(s.post(f"/api/v1/runs/{run}/metrics", {"points": points}).status, 200)
            for name in ("model/weights.bin", "log%20%C3%BC.txt", "deep/" + "d" * 120 + "/x"):
                self.assertEqual(s.request("PUT", f"/api/v1/runs/{run}/artifacts/{name}", os.urandom(3000 + r)).status, 201)
            runs.append(run)
        s.post("/api/v1/models", {"name": "m"})
        self.assertEqual(s.post("/api/v1/models/m/versions", {"run_id": runs[0], "path": "model"}).status, 201)
        self.assertLess(s.request("PUT", "/api/v1/models/m/aliases/best", {"version": 1}).status, 300)
        return runs

    def picture(self, s, runs):
        """Everything a client can see of them."""
        seen = {}
        for run in runs:
            seen[run] = s.get("/api/v1/runs/" + run).json
            seen[run, "raw"] = hashlib.sha256(s.get(f"/api/v1/series?run={run}&key=m/0&key=m/1&raw=true").body).hexdigest()
            seen[run, "metrics"] = s.get(f"/api/v1/runs/{run}/metrics").json
            seen[run, "events"] = s.get(f"/api/v1/runs/{run}/events").json
            for item in s.get(f"/api/v1/runs/{run}/artifacts").json["items"]:
                seen[run, item["path"]] = item
            for name in ("model/weights.bin", "log%20%C3%BC.txt", "deep/" + "d" * 120 + "/x"):
                seen[run, name] = s.get(f"/api/v1/runs/{run}/artifacts/{name}").body
        seen["models"] = s.get("/api/v1/models/m/versions/1").json
        seen["verify"] = s.post("/api/v1/models/m/versions/1/verify").json["ok"]
        seen["file"] = s.get("/api/v1/models/m/versions/1/files/weights.bin").body
        seen["experiments"] = s.get("/api/v1/experiments").json
        return seen

    def fsck(self, s):
        lines = [json.loads(line) for line in s.post("/api/v1/admin/fsck?deep=true").body.splitlines()]
        self.assertEqual([line for line in lines if "item" in line], [])
        return lines[-1]["summary"]


class Whole(Case):
    def test_file_and_directory_into_fresh_directories(self):
        s = self.service()
        runs = self.fill(s)
        token = s.post("/api/v1/tokens", {"name": "kept", "scopes": ["read"]}).json["token"]
        before = self.picture(s, runs)
        self.assertTrue(before["verify"])
        self.cli(s, "admin", "backup", self.dir / "b.tar")
        self.cli(s, "admin", "backup", self.dir / "b")
        self.cli(s, "admin", "backup", self.dir / "b", code=5)  # it is there
        piped = self.cli(s, "admin", "backup", "-").stdout
        self.assertEqual(os.stat(self.dir / "b.tar").st_mode & 0o777, 0o600)
        with tarfile.open(self.dir / "b.tar") as tar:
            names = tar.getnames()
        self.assertEqual((names[0], names[1], names[-1]), ("winnow-backup.json", "database/000000", "end.json"))
        self.assertIn("artifacts/1/" + runs[0] + "/artifacts/log ü.txt", names)
        # A file from the run that its lists know is one of the unpacked directory, too.
        self.assertTrue((self.dir / "b/artifacts/1" / runs[0] / "artifacts/model/weights.bin").exists())
        s.stop()
        for source, more in ((self.dir / "b.tar", {}), (self.dir / "b", {}), ("-", {"input": piped})):
            target = self.dir / f"restored-{pathlib.Path(source).name}"
            self.cli(None, "admin", "restore", source, "--data", target, **more)
            self.assertEqual([p for p in self.dir.iterdir() if ".restore-" in p.name], [])
            again = self.service(target)
            self.assertEqual(self.picture(again, runs), before)
            self.assertEqual(self.fsck(again)["points"], 36000)
            self.assertEqual(again.get("/api/v1/status", unix=False, headers={"Authorization": f"Bearer {token}"}).json["you"]["name"], "token kept")
            # It goes on: what is new does not meet what is old.
            self.assertEqual(len(self.fill(again)), 3)
            again.stop()
        self.cli(None, "admin", "restore", self.dir / "b", "--data", self.dir / "restored-b", code=5)

    def test_into_a_database_that_is_given(self):
        s = self.service()
        runs = self.fill(s)
        before = self.picture(s, runs)
        self.cli(s, "admin", "backup", self.dir / "b.tar")
        s.stop()
        cluster = Cluster()
        self.addCleanup(cluster.close)
        cluster.start()
        cluster.sql("create database w encoding 'UTF8' template template0")
        self.cli(None, "admin", "restore", self.dir / "b.tar", "--data", self.dir / "r", "--db", cluster.url("w"))
        again = self.service(self.dir / "r", ("--db", cluster.url("w")))
        self.assertEqual(self.picture(again, runs), before)
        # And from there once more, through a server that is not ours.
        self.cli(again, "admin", "backup", self.dir / "c.tar")
        refused = self.cli(None, "admin", "restore", self.dir / "c.tar", "--data", self.dir / "r2", "--db", cluster.url("w"), code=1)
        self.assertIn(b"already exists", refused.stderr)
        self.assertFalse((self.dir / "r2").exists())
        self.assertEqual(self.picture(again, runs), before)
        again.stop()
        self.cli(None, "admin", "restore", self.dir / "c.tar", "--data", self.dir / "r3")
        self.assertEqual(self.picture(self.service(self.dir / "r3"), runs), before)


class UnderLoad(Case):
    def test_a_backup_while_everything_is_written(self):
        s = self.service()
        runs = self.fill(s)
        still = runs[1]
        before = s.get(f"/api/v1/series?run={still}&key=m/0&raw=true").body
        writer = subprocess.Popen([sys.executable, "-c", WRITER, str(pathlib.Path(__file__).resolve().parents[1] / "support"), str(s.data), runs[0], runs[2]])
        try:
            wait(lambda: s.get(f"/api/v1/runs/{runs[2]}/artifacts?path=new").json["items"], "the writer")
            for i in range(3):
                self.cli(s, "admin", "backup", self.dir / f"{i}.tar")
            self.assertIsNone(writer.poll())
        finally:
            writer.kill()
            writer.wait()
        s.stop()
        for i in range(3):
            self.cli(None, "admin", "restore", self.dir / f"{i}.tar", "--data", self.dir / f"r{i}")
            again = self.service(self.dir / f"r{i}")
            self.fsck(again)
            self.assertEqual(again.get(f"/api/v1/series?run={still}&key=m/0&raw=true").body, before)
            # Points were written in groups that are stored whole: none is torn.
            steps = [line.split(b",")[2] for line in again.get(f"/api/v1/series?run={runs[0]}&key=load&raw=true").body.splitlines()[1:]]
            self.assertEqual(len(steps) % 100, 0)
            self.assertEqual([int(step) for step in steps], list(range(len(steps))))
            again.stop()


WRITER = """
import sys, json, os
sys.path.insert(0, sys.argv[1])
from service import UnixConnection
c = UnixConnection(sys.argv[2] + "/winnow.sock")
def send(method, path, body):
    c.request(method, "/api/v1" + path, body if isinstance(body, bytes) else json.dumps(body))
    c.getresponse().read()
n = 0
while True:
    for run in sys.argv[3:]:
        send("POST", f"/runs/{run}/metrics", {"points": [{"key": "load", "value": k, "step": n + k} for k in range(100)]})
        for i in range(3):
            send("PUT", f"/runs/{run}/artifacts/moving/{i}", os.urandom(1000 + n % 5000))
        send("DELETE", f"/runs/{run}/artifacts/moving/2", b"")
        send("PUT", f"/runs/{run}/artifacts/new/{n}", os.urandom(100))
    n += 100
"""


class Damage(Case):
    def test_what_is_damaged_or_cut_short_is_refused(self):
        s = self.service()
        runs = self.fill(s)
        self.cli(s, "admin", "backup", self.dir / "b.tar")
        s.stop()
        whole = (self.dir / "b.tar").read_bytes()
        with tarfile.open(self.dir / "b.tar") as tar:
            places = [(member.name, member.offset_data + member.size // 2) for member in tar if member.size > 200]
        tried = [next(p for p in places if p[0].startswith(kind)) for kind in ("database/", "artifacts/", "files/")]
        for name, at in tried:
            broken = bytearray(whole)
            broken[at] ^= 0x40
            self.refused(bytes(broken), name)
        for n in (0, 1000, len(whole) // 2, len(whole) - 3000):
            self.refused(whole[:n], n)
        self.refused(b"some text " * 1000, "text")
        evil = io.BytesIO()
        with tarfile.open(fileobj=evil, mode="w") as tar:
            for name, content in (("winnow-backup.json", b'{"form": 1}'), ("artifacts/../../evil", b"!")):
                info = tarfile.TarInfo(name)
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
        self.refused(evil.getvalue(), "evil")
        self.assertFalse(any("evil" in name for _, _, names in os.walk(self.dir) for name in names))
        # The unpacked form as well.
        subprocess.run(["cp", "-r", self.dir / "b.tar", self.dir / "x.tar"], check=True)
        s.start()
        self.cli(s, "admin", "backup", self.dir / "d")
        s.stop()
        weights = self.dir / "d/artifacts/1" / runs[0] / "artifacts/model/weights.bin"
        weights.write_bytes(weights.read_bytes()[:-1] + b"?")
        self.assertIn(b"is not what its list says", self.cli(None, "admin", "restore", self.dir / "d", "--data", self.dir / "r", code=1).stderr)
        self.assertFalse((self.dir / "r").exists())

    def refused(self, content, what):
        done = subprocess.run([WINNOW, "admin", "restore", "-", "--data", self.dir / "r"], input=content, capture_output=True, timeout=120, env=dict(os.environ, HOME=str(self.dir)))
        self.assertNotEqual(done.returncode, 0, what)
        self.assertIn(b"error:", done.stderr, what)
        self.assertEqual([p.name for p in self.dir.iterdir() if p.name.startswith("r")], [], what)

    def test_damage_at_the_service_is_carried_and_named(self):
        s = self.service()
        runs = self.fill(s)
        at = s.data / "artifacts/1" / runs[0] / "artifacts"
        (at / "log ü.txt").unlink()
        deep = next((at / "deep").rglob("x"))
        deep.write_bytes(b"?" * 10)
        done = self.cli(s, "admin", "backup", self.dir / "b.tar", code=8)
        self.assertIn(b"2 artifacts were damaged", done.stderr)
        s.stop()
        self.cli(None, "admin", "restore", self.dir / "b.tar", "--data", self.dir / "r", code=8)
        again = self.service(self.dir / "r")
        lines = [json.loads(line) for line in again.post("/api/v1/admin/fsck").body.splitlines()]
        self.assertEqual(len([line for line in lines if "item" in line]), 2)

    def test_an_interrupted_backup_leaves_nothing(self):
        s = self.service()
        run = self.fill(s)[0]
        with open(s.data / "artifacts/1" / run / "artifacts/model/weights.bin", "r+b") as f:
            f.truncate(3 << 30)
        proxy = Proxy(s)  # which passes on no more than was there in the middle of it
        self.addCleanup(proxy.close)
        env = dict(os.environ, HOME=str(self.dir), WINNOW_URL=f"unix:{proxy.path}")
        process = subprocess.Popen([WINNOW, "admin", "backup", self.dir / "b"], env=env, stderr=subprocess.DEVNULL)
        self.addCleanup(process.kill)
        wait(lambda: any(p.stat().st_size > 1 << 20 for p in self.dir.rglob("weights.bin")), "the beginning")
        proxy.hold_answers()
        process.send_signal(signal.SIGINT)
        self.assertEqual(process.wait(60), 130)
        self.assertEqual([p.name for p in self.dir.iterdir() if p.name.startswith("b")], [])
        proxy.resume()
        # The service is free for the next one, and has let go of the file.
        wait(lambda: s.post("/api/v1/admin/gc?dry_run=true").status == 200, "the end of the backup")

    def test_who_may(self):
        s = self.service()
        self.assertEqual(s.get("/api/v1/admin/backup", unix=False).status, 401)
        token = s.post("/api/v1/tokens", {"name": "t", "scopes": ["submit"]}).json["token"]
        self.assertEqual(s.get("/api/v1/admin/backup", unix=False, headers={"Authorization": "Bearer " + token}).status, 403)
        self.assertEqual(s.request("HEAD", "/api/v1/admin/backup").status, 200)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # who started us may ignore it, and so would what we start
    unittest.main(verbosity=1)
