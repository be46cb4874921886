#!/usr/bin/env python3
"""The clock on the wall is set back and forward while trials run: nothing ends for it, and no time that is shown goes backwards."""
import os, pathlib, subprocess, sys, tempfile, time, unittest

WINNOW = pathlib.Path(sys.argv.pop(1)).resolve()
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from service import Service, wait  # noqa: E402

# The seconds in the file $WALL_OFFSET are added to the clock on the wall of whoever loads this, and to no other clock.
SHIM = r"""
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
int clock_gettime(clockid_t id, struct timespec *ret) {
  int failed = (int)syscall(SYS_clock_gettime, id, ret);
  const char *path = id == CLOCK_REALTIME ? getenv("WALL_OFFSET") : NULL;
  FILE *file = path ? fopen(path, "re") : NULL;
  long offset = 0;
  if (file && fscanf(file, "%ld", &offset) == 1)
    ret->tv_sec += offset;
  if (file)
    fclose(file);
  return failed;
}
"""


class Clock(unittest.TestCase):
    def setUp(self):
        self.home = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory(prefix="winnow-e2e-clock-")))
        self.home.chmod(0o755)
        (self.home / "shim.c").write_text(SHIM)
        subprocess.run([os.environ.get("CC", "cc"), "-shared", "-fPIC", "-O1", "-o", self.home / "shim.so", self.home / "shim.c"], check=True)
        self.set(0)
        env = {"LD_PRELOAD": str(self.home / "shim.so"), "WALL_OFFSET": str(self.home / "offset")}
        self.s = self.enterContext(Service(WINNOW, arguments=["--slots", "2"], env=env))

    def set(self, seconds):
        (self.home / "new").write_text(str(seconds))
        (self.home / "new").replace(self.home / "offset")

    def ok(self, answer, status=200):
        self.assertEqual(answer.status, status, answer)
        return answer.json

    def test_jumps_while_trials_run(self):
        job = self.home / "job"
        job.write_text("""
            i=0
            while [ ! -e $1/end ]; do i=$((i+1)); echo "step=$i loss=1"; sleep 0.2; done
            [ $WINNOW_ATTEMPT = 2 ]
            """)
        made = self.ok(self.s.post("/api/v1/sweeps", {
            "name": "jumps", "method": "grid", "metric": {"name": "loss"}, "command": ["sh", str(job), str(self.home)],
            "parameters": {"a": {"values": [1, 2]}}, "resources": {"time": "10m"}, "max_time": "1h", "max_slot_time": "1h",
            "retries": {"max": 1, "on": ["failed"]}}), 201)
        sweep = lambda: self.ok(self.s.get(f"/api/v1/sweeps/{made['id']}"))
        trials = lambda: self.ok(self.s.get(f"/api/v1/sweeps/{made['id']}/trials"))["items"]
        seen = lambda: min((t["last"] or {"step": 0})["step"] or 0 for t in trials())
        wait(lambda: len(trials()) == 2 and seen() > 1, "reports")
        for seconds in (7200, -7200):
            self.set(seconds)
            before = seen()
            wait(lambda: seen() > before + 5, "reports after a jump")
            self.assertEqual((sweep()["state"], {t["state"] for t in trials()}), ("RUNNING", {"RUNNING"}))
            self.assertTrue(0 <= sweep()["slot_seconds"]["used"] < 600, sweep()["slot_seconds"])
        (self.home / "end").touch()
        over = wait(lambda: (s := sweep())["state"] == "FINISHED" and s, "the end")
        self.assertTrue(over["created"] <= over["ended"], over)
        self.assertLess(over["slot_seconds"]["used"], 600)
        for trial in trials():
            self.assertEqual((trial["state"], trial["attempt"]), ("FINISHED", 2), trial)
            self.assertTrue(trial["created"] <= trial["started"] <= trial["ended"], trial)
            attempts = self.ok(self.s.get(f"/api/v1/runs/{trial['run_id']}"))["attempts"]
            self.assertEqual(len(attempts), 2)
            for attempt in attempts:
                self.assertTrue(attempt["ended"] is None or attempt["started"] is None or attempt["started"] <= attempt["ended"], attempts)

    def test_max_time_goes_on_while_no_service_is_there(self):
        made = self.ok(self.s.post("/api/v1/sweeps", {
            "name": "time", "method": "random", "max_time": "1h", "metric": {"name": "loss"},
            "parameters": {"x": {"min": 0.0, "max": 1.0}}}), 201)
        self.s.kill()
        self.set(7200)
        self.s.start()
        over = wait(lambda: (s := self.ok(self.s.get(f"/api/v1/sweeps/{made['id']}")))["state"] == "FINISHED" and s, "the end of its time")
        self.assertEqual(over["state_reason"], "max_time is used up")


if __name__ == "__main__":
    unittest.main()
