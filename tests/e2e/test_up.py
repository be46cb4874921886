#!/usr/bin/env python3
"""The first minute: `winnow up` where no service is, where somebody else's is, and a service whose directory no setting names."""
import json, os, pathlib, socket, subprocess, sys, tempfile, unittest

WINNOW = pathlib.Path(sys.argv.pop(1)).resolve()
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from service import Service  # noqa: E402

USUAL = 7070


class Up(unittest.TestCase):
    def setUp(self):
        home = tempfile.TemporaryDirectory(prefix="winnow-e2e-")
        self.addCleanup(home.cleanup)
        self.home = pathlib.Path(home.name)
        self.home.chmod(0o711)
        (self.home / "sweep.yaml").write_text('method: grid\nmetric: {name: loss}\ncommand: [echo, "loss={{a}}"]\nparameters: {a: {values: [3, 1, 2]}}\n')
        kept = {name: value for name, value in os.environ.items() if not name.startswith("WINNOW_")}
        self.env = {**kept, "XDG_CONFIG_HOME": str(self.home / "config"), "XDG_CACHE_HOME": os.environ.get("XDG_CACHE_HOME", "/tmp/winnow-test-cache")}

    def run_it(self, *words, **env):
        done = subprocess.run([WINNOW, *words], capture_output=True, text=True, timeout=120, cwd=self.home, env={**self.env, **env})
        self.assertEqual(done.returncode, 0, done)
        return done.stdout

    def begins_a_service(self):
        data = {"WINNOW_DATA": str(self.home / "data")}
        try:
            self.run_it("up", "sweep.yaml", **data)
            sweep = json.loads(self.run_it("sweep", "ls", "-o", "json", **data))["items"][0]
            self.assertEqual((sweep["state"], sweep["best"]["value"]), ("FINISHED", 1.0))
            self.assertEqual(json.loads(self.run_it("status", "-o", "json", **data))["data_dir"], data["WINNOW_DATA"])
            self.run_it("up", "sweep.yaml", **data)  # the same service
            self.run_it("down", **data)
            self.run_it("up", "sweep.yaml", **data)  # one that begins where another has just ended
            self.assertEqual(len(json.loads(self.run_it("sweep", "ls", "-o", "json", **data))["items"]), 3)
        finally:
            self.run_it("down", "--now", **data)

    def test_no_service_yet(self):
        self.begins_a_service()

    def test_two_at_once_share_a_service(self):
        data = {"WINNOW_DATA": str(self.home / "data")}
        try:
            both = [subprocess.Popen([WINNOW, "up", "sweep.yaml"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=self.home, env={**self.env, **data})
                    for _ in range(2)]
            for one in both:
                told = one.communicate(timeout=120)
                self.assertEqual(one.returncode, 0, told)
            self.assertEqual(len(json.loads(self.run_it("sweep", "ls", "-o", "json", **data))["items"]), 2)
        finally:
            self.run_it("down", "--now", **data)

    def test_a_service_that_cannot_begin_says_why(self):
        (self.home / "data").mkdir()
        (self.home / "data/winnow.conf").write_text("lisen = 127.0.0.1:0\n")
        done = subprocess.run([WINNOW, "up", "sweep.yaml"], capture_output=True, text=True, timeout=120, cwd=self.home,
                              env={**self.env, "WINNOW_DATA": str(self.home / "data")})
        self.assertEqual(done.returncode, 1, done)
        self.assertIn("the service ended at its start", done.stderr)
        self.assertIn("lisen", done.stderr)
        self.assertIn("listen", done.stderr)

    def test_the_usual_port_is_somebody_elses(self):
        with socket.socket() as other:
            other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                other.bind(("127.0.0.1", USUAL))
                other.listen()
            except OSError:
                pass  # it is already
            self.begins_a_service()

    def test_a_service_is_told_of_by_itself(self):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", USUAL))
            except OSError:
                self.skipTest(f"port {USUAL} is taken")
        with Service(WINNOW, arguments=["--listen", f"127.0.0.1:{USUAL}"]) as service:
            nowhere = {"WINNOW_DATA": str(self.home / "nowhere")}
            self.run_it("up", "sweep.yaml", **nowhere)
            self.assertEqual(json.loads(self.run_it("whoami", "-o", "json", **nowhere))["via"], "socket")
            self.assertEqual(service.get("/api/v1/whoami", unix=False).json["data_dir"], str(service.data))
            self.assertFalse((self.home / "nowhere").exists())


if __name__ == "__main__":
    unittest.main()
