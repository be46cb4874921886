#!/usr/bin/env python3
"""Trials in the order of any column: numbers, NaN, texts, what has none; page by page, also while trials change."""
import itertools, math, pathlib, subprocess, sys, threading, unittest, urllib.parse

WINNOW = pathlib.Path(sys.argv.pop(1)).resolve()
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from service import Service  # noqa: E402
from sweep_client import Base, wait  # noqa: E402

STATES = ["QUEUED", "STARTING", "RUNNING", "STOPPING", "FINISHED", "FAILED", "STOPPED", "KILLED", "LOST"]
SPACE = {
    "x": {"min": -2.0, "max": 2.0},
    "mixed": {"values": [3, 20, True, False, "b", "B", "a", None, 0.5]},
    "part": {"parameters": {"depth": {"min": 1, "max": 9}}},
    "only": {"values": [1, 2]},
}


def at_path(trial, path):
    for name in path.split("."):
        trial = trial.get(name) if isinstance(trial, dict) else None
    return trial


def place(value, down):
    """Where a value belongs: kinds stand in one order, whichever the direction."""
    if value is None:
        return (4, 0)
    if isinstance(value, bool):
        return (2, -value if down else value)
    if isinstance(value, str) and value not in ("NaN", "Infinity", "-Infinity"):
        return (3, [-b for b in value.encode()] + [1] if down else list(value.encode()))
    number = float(value)
    return (1, 0) if math.isnan(number) else (0, -number if down else number)


class Orders(Base):
    others = 0

    @classmethod
    def setUpClass(cls):
        cls.s = Service(WINNOW)
        cls.addClassCleanup(cls.s.close)

    def make(self, name):
        """Trials in many states: told, reported, silent, worse than every number, without any."""
        sweep = self.submit({"name": name, "metric": {"name": "loss"}, "method": "random", "sampler": {"seed": 5}, "parameters": SPACE,
                             "conditions": [{"if": "part.depth > 4", "then": ["only"]}]})["id"]
        trials = self.ask(sweep, 34, worker="w")["trials"]
        values = itertools.cycle([0.25, -3, "NaN", 1e300, "Infinity", 0.25, -1e-300, 7])
        for trial in trials[:24]:
            value, state = next(values), "FAILED" if trial["number"] % 5 == 0 else "STOPPED" if trial["number"] % 7 == 0 else "FINISHED"
            told = {"run_id": trial["run_id"], "state": state}
            self.ok(self.tell(sweep, told if state == "FAILED" else {**told, "value": value}))
        for trial in trials[24:30]:
            self.report(trial, 1, next(values))
            self.report(trial, 2, next(values))
        for x in (0.5, 1.5):  # they wait for who asks
            self.ok(self.s.post(f"/api/v1/sweeps/{sweep}/trials", {"params": {"x": x, "mixed": 3, "part": {"depth": 2}}}), 201)
        return sweep, trials

    def report(self, trial, step, value):
        self.ok(self.s.post(f"/api/v1/runs/{trial['run_id']}/report", {"step": step, "metrics": {"loss": value, "n": trial["number"] % 3}}, unix=False))

    def page(self, sweep, cursor=None, **query):
        query = {**query, **({"cursor": cursor} if cursor else {})}
        return self.ok(self.s.get(f"/api/v1/sweeps/{sweep}/trials?{urllib.parse.urlencode(query)}"))

    def pages(self, sweep, limit=7, **query):
        items, cursor = [], None
        while True:
            page = self.page(sweep, cursor, limit=limit, **query)
            items += page["items"]
            cursor = page["next"]
            if not cursor:
                return items

    def check(self, sweep, sort, of):
        for down in (False, True):
            found = self.pages(sweep, sort=("-" if down else "") + sort)
            wanted = sorted(found, key=lambda t: (place(of(t), down), t["number"]))
            self.assertEqual(len({t["number"] for t in found}), 36)
            self.assertEqual([(t["number"], of(t)) for t in found], [(t["number"], of(t)) for t in wanted], sort)

    def test_every_column(self):
        sweep, _ = self.make("columns")
        for column in ("number", "run_id", "attempt", "value", "value_step", "best_value", "last.value", "last.step", "state_reason", "stop.rule",
                       "stop.step", "node", "slots", "created", "started", "ended", "params.x", "params.mixed", "params.part.depth", "params.only"):
            with self.subTest(column=column):
                self.check(sweep, column, lambda t: at_path(t, column))
        self.check(sweep, "state", lambda t: STATES.index(t["state"]))
        self.check(sweep, "duration", lambda t: (t["ended"] - t["started"] if t["ended"] else 1e18) if t["started"] else None)

    def test_metrics(self):
        sweep, trials = self.make("metrics")
        n = {t["number"]: float(t["number"] % 3) for t in trials[24:30]}
        self.check(sweep, "metrics.n", lambda t: n.get(t["number"]))
        last = {t["number"]: t["last"]["value"] for t in self.pages(sweep)[24:30]}
        self.check(sweep, "metrics.loss", lambda t: last.get(t["number"]))

    def test_what_runs_has_its_place_by_what_it_reported_last(self):
        sweep, trials = self.make("running")
        self.report(trials[25], 3, -4000)
        self.assertEqual(self.page(sweep, sort="value", limit=1)["items"][0]["number"], 25)
        self.report(trials[25], 4, 12)
        self.report(trials[26], 4, -5000)
        first = self.page(sweep, sort="value", limit=1)["items"][0]
        self.assertEqual((first["number"], first["value"]), (26, -5000))
        self.assertEqual(self.page(sweep, sort="best_value", limit=2)["items"][1]["number"], 25)

    def test_with_a_state(self):
        sweep, _ = self.make("state")
        failed = self.pages(sweep, limit=2, state="FAILED", sort="-params.x")
        self.assertEqual([t["number"] for t in failed],
                         [t["number"] for t in sorted((t for t in self.pages(sweep) if t["state"] == "FAILED"), key=lambda t: -t["params"]["x"])])
        self.assertGreater(len(failed), 3)

    def test_pages_while_trials_change(self):
        """Who keeps a place is seen once, whatever others do meanwhile: those that come, end, or report."""
        sweep, trials = self.make("change")
        for sort in ("number", "-number", "-value", "params.x", "duration", "-duration", "metrics.n"):
            moved, seen, cursor = set(), [], None
            before = {t["number"] for t in self.pages(sweep)}
            for turn in range(100):
                page = self.page(sweep, cursor, sort=sort, limit=5)
                seen += [t["number"] for t in page["items"]]
                cursor = page["next"]
                if not cursor:
                    break
                self.report(trials[27], 10 + turn, turn)
                moved.add(27)
                new = self.ask(sweep, 1)["trials"][0]
                if turn % 2:
                    self.ok(self.tell(sweep, {"run_id": new["run_id"], "value": turn}))
                moved.add(new["number"])
                if turn > 30: # new ones come behind for ever
                    break
            stay = sorted(before - moved)
            self.assertEqual(sorted(n for n in seen if n not in moved), stay, sort)

    def test_orders_of_many_trials_take_turns(self):
        """However many ask for them and however long they take, others find a connection."""
        sweep = self.submit({"name": "turns", "metric": {"name": "loss"}, "method": "random", "parameters": SPACE, "run_cap": 1})["id"]
        self.ok(self.tell(sweep, {"run_id": self.ask(sweep)["trials"][0]["run_id"], "value": 1}))
        wait(lambda: self.sweep(sweep)["state"] == "FINISHED", "its end")
        self.s.stop()  # of a sweep that was over before the service began, nobody knows how many trials it has
        self.s.start()
        self.take_turns("find_rows", b"by number", [f"{sweep}/trials?sort={sort}" for sort in ("value", "-params.x", "duration")])
        self.take_turns("order by case when", b"best", [f"{sweep}/best", f"{sweep}/best?k=1000"])
        self.take_turns("order by end_time", b"best", [f"{sweep}/progress", f"{sweep}/progress?limit=5"])

    def take_turns(self, statement, hint, paths):
        running, waiting, refused = 3, 64, 5
        held = f"select count(*) from pg_stat_activity where wait_event_type = 'Lock' and query like '%{statement}%'"
        lock = subprocess.Popen(self.s.psql(), env=self.s.psql_env(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        lock.stdin.write("begin; lock table run; select 'locked';\n")
        lock.stdin.flush()
        self.assertEqual(lock.stdout.readline().strip(), "locked")
        answers = []
        threads = [threading.Thread(target=lambda path: answers.append(self.s.exchange("GET", f"/api/v1/sweeps/{path}")), args=(paths[i % len(paths)],))
                   for i in range(running + waiting + refused)]
        for thread in threads:
            thread.start()
        try:
            wait(lambda: len(answers) == refused, "those for which there is no place")
            for answer in answers:
                self.assertEqual((answer.status, hint in answer.body), (503, True), answer)
            wait(lambda: self.s.sql(held) == str(running), "those that run")
            for _ in range(5):
                self.others += 1
                self.ok(self.s.post("/api/v1/models", {"name": f"others {self.others}"}), 201)
            self.assertEqual(len(answers), refused)
        finally:
            lock.communicate()
            for thread in threads:
                thread.join()
        self.assertEqual([a.status for a in answers[refused:]], [200] * (running + waiting))

    def test_refusals(self):
        sweep, _ = self.make("refusals")
        for sort, hint in (("valu", "value"), ("params.mixd", "params.mixed"), ("lr", "params.NAME"), ("params.", ""), ("metrics.", ""), ("-", ""),
                           ("params.NAME", "")):
            answer = self.s.get(f"/api/v1/sweeps/{sweep}/trials?sort={sort}")
            self.assertEqual((answer.status, hint in (answer.json["hint"] or "")), (400, True), answer)
        cursor = self.page(sweep, sort="value", limit=3)["next"]
        for other in ("sort=-value", "sort=value&state=FAILED", "sort=params.x", ""):
            self.assertEqual(self.s.get(f"/api/v1/sweeps/{sweep}/trials?cursor={cursor}&{other}").status, 400, other)
        self.assertEqual(self.s.get(f"/api/v1/sweeps/{sweep}/trials?cursor=x").status, 400)

    def test_the_command_line(self):
        sweep, _ = self.make("words")
        command = [str(WINNOW), "--url", self.s.url, "trial", "ls", sweep, "--sort=-params.x", "-o", "name", "--limit", "5"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        wanted = sorted(self.pages(sweep), key=lambda t: -t["params"]["x"])[:5]
        self.assertEqual((done.returncode, done.stdout.split()), (0, [t["run_id"] for t in wanted]), done)


if __name__ == "__main__":
    unittest.main()
