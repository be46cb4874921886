"""What tests of jobs share: a service of their own, a directory to submit from, the command line."""
import json, os, subprocess, textwrap, unittest

from service import Service, wait


class JobTest(unittest.TestCase):
    winnow = None  # set by the file that uses it

    def setUp(self):
        self.s = Service(self.winnow, arguments=["--slots", "2"])
        self.addCleanup(self.s.close)
        self.work = self.s.home / "work"
        self.work.mkdir()

    def ok(self, answer, status=200):
        self.assertEqual(answer.status, status, answer)
        return answer.json

    def put(self, name, text, mode=0o644):
        path = self.work / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))
        path.chmod(mode)
        return path

    def cli(self, *words, code=0, env=None, cwd=None):
        env = {**os.environ, "WINNOW_URL": f"unix:{self.s.data}/winnow.sock", **(env or {})}
        done = subprocess.run([str(self.winnow), *map(str, words)], capture_output=True, text=True, timeout=120, env=env, cwd=cwd)
        self.assertEqual(done.returncode, code, done)
        return done

    def ended(self, sweep, timeout=120):
        return wait(lambda: (s := self.ok(self.s.get(f"/api/v1/sweeps/{sweep}")))["state"] not in ("RUNNING", "DRAINING", "PAUSED") and s,
                    "the end", timeout)

    def trials(self, sweep):
        return self.ok(self.s.get(f"/api/v1/sweeps/{sweep}/trials?limit=1000"))["items"]

    def log(self, run, stream="stdout"):
        return self.s.get(f"/api/v1/runs/{run}/logs/{stream}?from=0").body.decode()
