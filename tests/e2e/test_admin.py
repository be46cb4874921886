#!/usr/bin/env python3
"""Care from outside: figures, fsck, gc, purge, what the trash keeps and for how long."""
import hashlib, json, os, pathlib, subprocess, sys, threading, unittest, unittest.mock

WINNOW = pathlib.Path(sys.argv.pop(1)).resolve()
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from service import Service, UnixConnection, wait  # noqa: E402


def lines(answer):
    return [json.loads(line) for line in answer.body.splitlines()]


class Case(unittest.TestCase):
    def setUp(self):
        self.s = Service(WINNOW)
        self.addCleanup(self.s.close)

    def cli(self, *words, code=0):
        env = dict(os.environ, WINNOW_URL=f"unix:{self.s.data}/winnow.sock", HOME=str(self.s.home))
        done = subprocess.run([WINNOW, *map(str, words)], env=env, capture_output=True, text=True, timeout=120)
        self.assertEqual(done.returncode, code, f"{words}\n{done.stdout}\n{done.stderr}")
        return done

    def sql(self, text):
        return self.s.sql(text)

    def work(self, path, body=None, status=200):
        answer = self.s.post("/api/v1/admin/" + path, body)
        self.assertEqual(answer.status, status, answer)
        found = lines(answer)
        self.assertIn("summary", found[-1], found)
        return [line["item"] for line in found if "item" in line], found[-1]["summary"]

    def make_run(self, points=50, files=("model/weights.bin", "notes.txt"), experiment="care"):
        run = self.s.post("/api/v1/runs", {"experiment": experiment, "params": {"lr": "1"}}).json["id"]
        if points:
            body = {"points": [{"key": "loss", "value": 1 / (k + 1), "step": k} for k in range(points)]}
            self.assertEqual(self.s.post(f"/api/v1/runs/{run}/metrics", body).status, 200)
        for name in files:
            self.assertEqual(self.s.request("PUT", f"/api/v1/runs/{run}/artifacts/{name}", name.encode() * 100).status, 201)
        return run

    def directory(self, run):
        uri = self.s.get("/api/v1/runs/" + run).json["artifact_uri"]
        return self.s.data / "artifacts" / uri.split(":/", 1)[1]

    def register(self, run, name="kept", path="model"):
        self.s.post("/api/v1/models", {"name": name})
        made = self.s.post(f"/api/v1/models/{name}/versions", {"run_id": run, "path": path})
        self.assertEqual(made.status, 201, made)
        return made.json

    def trash(self, run):
        self.assertLess(self.s.request("DELETE", "/api/v1/runs/" + run).status, 300)

    def rows_of(self, run):
        tables = ("metric_tail where run", "metric_chunk where run", "run_metric where run", "event where run", "log_piece where run", "run where id")
        return sum(int(self.sql(f"select count(*) from winnow.{table} = '{run}'")) for table in tables)


class Purge(Case):
    def test_a_run_goes_with_everything_but_what_versions_keep(self):
        kept, gone = self.make_run(), self.make_run()
        self.register(gone)
        before = self.s.get("/api/v1/models/kept/versions/1/files/weights.bin").body
        # What is not in the trash does not go, whoever asks.
        self.assertEqual(self.work("purge", {"runs": [gone]})[1]["runs"], 0)
        self.trash(gone)
        self.assertEqual(self.work("purge", {"older_than": 3600_000})[1]["runs"], 0)
        items, summary = self.work("purge", {"older_than": 0, "dry_run": True})
        self.assertEqual(([item["kind"] for item in items], summary["runs"]), (["run"], 1))
        self.assertTrue(self.directory(gone).exists())
        items, summary = self.work("purge", {"runs": [gone]})
        self.assertIn(gone, items[0]["subject"])
        self.assertEqual((summary["runs"], summary["directories"]), (1, 1))
        self.assertEqual(self.s.get("/api/v1/runs/" + gone).status, 404)
        self.assertEqual(self.rows_of(gone), 0)
        self.assertEqual(self.sql(f"select count(*) from winnow.artifact where path like '%{gone}%'"), "0")
        self.assertEqual(list((self.s.data / "artifacts").glob(f"*/{gone}*")), [])
        # The version is whole, and can prove it.
        self.assertEqual(self.s.get("/api/v1/models/kept/versions/1/files/weights.bin").body, before)
        self.assertTrue(self.s.post("/api/v1/models/kept/versions/1/verify").json["ok"])
        self.assertEqual(self.s.get(f"/api/v1/runs/{kept}/artifacts/notes.txt").status, 200)
        self.assertEqual(self.work("fsck?deep=true")[1]["damaged"], 0)

    def test_a_version_that_is_made_while_its_run_goes(self):
        """The run goes between the copy of its files and the note that there is one: clients are sent to the copy all the same."""
        run, protocol, made = self.make_run(points=0), "/api/2.0/mlflow/model-versions/", []
        source = self.s.get("/api/v1/runs/" + run).json["artifact_uri"] + "/model"
        self.s.post("/api/v1/models", {"name": "just"})
        self.trash(run)
        self.sql("create function winnow.wait() returns trigger language plpgsql as 'begin perform pg_advisory_xact_lock(77); return new; end'")
        self.sql("create trigger wait before update of kept_path on winnow.model_version for each row execute function winnow.wait()")
        holder = subprocess.Popen(self.s.psql(), env=self.s.psql_env(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        holder.stdin.write("select 'held' from pg_advisory_lock(77);\n")
        holder.stdin.flush()
        self.assertEqual(holder.stdout.readline().strip(), "held")
        make = threading.Thread(target=lambda: made.append(self.s.post(protocol + "create", {"name": "just", "source": source, "run_id": run})))
        make.start()
        wait(lambda: self.sql("select count(*) from pg_locks where locktype = 'advisory' and objid = 77 and not granted") == "1", "the note")
        self.assertEqual(self.work("purge", {"runs": [run]})[1]["runs"], 1)
        holder.communicate()
        make.join()
        self.sql("drop function winnow.wait() cascade")
        self.assertEqual(made[0].status, 200, made)
        uri = self.s.get(protocol + "get-download-uri?name=just&version=1").json["artifact_uri"]
        files = self.s.get("/api/2.0/mlflow-artifacts/artifacts?path=" + uri.split(":/", 1)[1]).json
        self.assertEqual([file["path"] for file in files.get("files", [])], ["weights.bin"], uri)

    def test_launched_runs_go_when_they_are_over(self):
        launched = []
        for words in (["true"], ["sleep", "600"]):
            made = self.s.post("/api/v1/runs", {"command": words, "experiment": "launched", "workdir_mode": "inplace", "workdir": "/tmp"})
            self.assertEqual(made.status, 201, made)
            launched.append(made.json["id"])
        quick, long = launched
        state = lambda run: self.s.get("/api/v1/runs/" + run).json["state"]  # noqa: E731
        wait(lambda: state(quick) == "FINISHED", "the quick one")
        for run in launched:
            self.trash(run)
        self.assertEqual(self.work("purge", {"older_than": 0})[1]["runs"], 1)
        self.assertFalse((self.s.data / "jobs" / quick).exists())
        self.assertEqual(self.s.get("/api/v1/runs/" + quick).status, 404)
        self.assertEqual(self.sql(f"select count(*) from winnow.sweep where id = '{quick}'"), "0")
        self.assertIn(state(long), ("QUEUED", "STARTING", "RUNNING"))
        self.s.post(f"/api/v1/runs/{long}/restore")
        self.s.post(f"/api/v1/runs/{long}/stop")
        wait(lambda: state(long) == "KILLED", "the end of the long one")
        self.trash(long)
        self.assertEqual(self.work("purge", {"older_than": 0})[1]["runs"], 1)
        self.assertEqual(self.sql("select count(*) from winnow.sweep"), "0")

    def test_sealed_points_go_too(self):
        run = self.make_run(points=5000, files=())
        wait(lambda: int(self.sql(f"select count(*) from winnow.metric_chunk where run = '{run}'")) or None, "a chunk")
        self.trash(run)
        self.assertEqual(self.work("purge", {"older_than": 0})[1]["runs"], 1)
        self.assertEqual(self.rows_of(run), 0)

    def test_experiments_go_when_they_are_empty(self):
        self.make_run(experiment="gone")
        id = next(e["id"] for e in self.s.get("/api/v1/experiments").json["items"] if e["name"] == "gone")
        self.assertLess(self.s.request("DELETE", "/api/v1/experiments/" + str(id)).status, 300)
        items, summary = self.work("purge", {"older_than": 0})
        self.assertEqual((summary["runs"], summary["experiments"]), (1, 1))
        self.assertEqual(self.sql("select count(*) from winnow.experiment where name = 'gone'"), "0")
        self.make_run(experiment="gone")  # the name is free again

    def test_what_others_put_beside_its_runs_outlives_an_experiment(self):
        run = self.make_run(experiment="shared")
        experiment = self.s.get(f"/api/v1/runs/{run}").json["experiment_id"]
        directory = self.s.data / "artifacts" / experiment
        (directory / "models").mkdir()
        (directory / "models" / "notes.txt").write_text("mine")
        self.assertEqual(self.s.request("DELETE", f"/api/v1/experiments/{experiment}").status, 204)
        self.assertEqual(self.work("purge", {"older_than": 0})[1]["experiments"], 1)
        self.assertEqual([path.relative_to(directory) for path in directory.rglob("*")], [pathlib.Path("models"), pathlib.Path("models/notes.txt")])

    def test_a_live_sweep_keeps_the_run_that_stands_for_it(self):
        spec = {"name": "lives", "experiment": "cellar", "method": "random", "metric": {"name": "loss"}, "parameters": {"x": {"min": 0.0, "max": 1.0}}}
        sweep = self.s.post("/api/v1/sweeps", spec).json
        parent = lambda: self.s.get("/api/2.0/mlflow/runs/get?run_id=" + sweep["id"]).status
        self.assertEqual(self.s.post("/api/2.0/mlflow/experiments/delete", {"experiment_id": sweep["experiment_id"]}).status, 200)
        for gone in ([], [sweep["id"]]):
            self.assertEqual(self.work("purge", {"older_than": 0, **({"runs": gone} if gone else {})})[1]["runs"], 0)
            self.assertEqual(parent(), 200)
        self.assertEqual(self.s.post(f"/api/v1/sweeps/{sweep['id']}/stop").status, 200)
        wait(lambda: self.s.get(f"/api/v1/sweeps/{sweep['id']}").json["state"] == "STOPPED", "the end of the sweep")
        self.assertEqual(self.s.request("DELETE", f"/api/v1/sweeps/{sweep['id']}").status, 204)
        self.assertEqual(self.work("purge", {"older_than": 0})[1]["sweeps"], 1)
        self.assertEqual(parent(), 404)

    def test_logged_models_go_with_their_experiment(self):
        protocol, experiment = "/api/2.0/mlflow/", self.s.post("/api/v1/experiments", {"name": "forests"}).json["id"]
        models = [self.s.post(protocol + "logged-models", {"experiment_id": experiment, "name": "forest"}).json["model"]["info"] for _ in range(2)]
        for model in models:
            path = model["artifact_uri"].split(":/", 1)[1]
            self.assertEqual(self.s.request("PUT", f"/api/2.0/mlflow-artifacts/artifacts/{path}/weights.bin", b"w" * 1000).status, 200)
        self.s.post("/api/v1/models", {"name": "kept"})
        source = {"name": "kept", "source": "models:/" + models[0]["model_id"]}
        self.assertEqual(self.s.post(protocol + "model-versions/create", source).status, 200)
        self.assertEqual(self.work("purge", {"older_than": 0})[1]["logged_models"], 0)
        self.s.request("DELETE", f"/api/v1/experiments/{experiment}")
        self.assertEqual(self.s.request("PATCH", f"/api/v1/experiments/{experiment}", {"deleted": False}).status, 200)
        self.assertEqual(self.work("purge", {"older_than": 0})[1]["logged_models"], 0)
        run = self.make_run(experiment="forests")
        self.s.request("DELETE", f"/api/v1/experiments/{experiment}")
        self.s.post(protocol + "runs/restore", {"run_id": run})
        self.assertEqual(self.work("purge", {"older_than": 0})[1]["logged_models"], 0)  # so the experiment stays, and they may be the run's
        self.s.post(protocol + "runs/delete", {"run_id": run})
        self.assertEqual(self.work("purge", {"older_than": 3600_000})[1]["logged_models"], 0)
        items, _ = self.work("purge", {"older_than": 0, "dry_run": True})
        self.assertEqual([item["kind"] for item in items], ["run", "logged_model", "logged_model", "experiment"])
        summary = self.work("purge", {"older_than": 0})[1]
        self.assertEqual((summary["logged_models"], summary["experiments"], summary["directories"]), (2, 1, 3))
        self.assertFalse((self.s.data / "artifacts" / experiment).exists())
        self.assertTrue(self.s.post("/api/v1/models/kept/versions/1/verify").json["ok"])
        self.assertEqual(self.s.post("/api/v1/experiments", {"name": "forests"}).status, 201)

    def test_a_purge_that_was_cut_short_is_finished_by_the_next_start(self):
        run = self.make_run()
        directory = self.directory(run).parent
        self.trash(run)
        # As a crash between the rows and the files leaves it.
        self.sql(f"select winnow.run_purge('{run}', 9000000000000, '{directory.relative_to(self.s.data / 'artifacts')}')")
        self.assertTrue(directory.exists())
        self.assertEqual([item["kind"] for item in self.work("gc?dry_run=true&older_than=0s")[0]], ["leftover"])
        self.s.stop()
        self.s.start()
        wait(lambda: not directory.exists(), "the end of the files")
        wait(lambda: self.sql("select count(*) from winnow.doomed") == "0", "the end of the note")
        self.assertEqual(self.sql(f"select count(*) from winnow.artifact where path like '%{run}%'"), "0")

    def test_retention(self):
        old, young = self.make_run(), self.make_run()
        self.trash(old)
        self.trash(young)
        self.sql(f"update winnow.run set deleted_at = deleted_at - 31 * 86400000::bigint where id = '{old}'")
        self.s.stop()
        self.s.start()
        wait(lambda: self.s.get("/api/v1/runs/" + old).status == 404, "the end of its time")
        self.assertEqual(self.s.get("/api/v1/runs/" + young).status, 200)
        self.assertLess(self.s.post(f"/api/v1/runs/{young}/restore").status, 300)

    def test_words(self):
        run = self.make_run()
        self.cli("admin", "purge", code=2)
        self.cli("admin", "purge", "--older-than", "1h", code=2)  # nobody can be asked
        self.cli("admin", "purge", "abc", "-y", code=3)
        self.assertIn("not all", self.cli("admin", "purge", run, "-y", code=3).stderr)
        self.trash(run)
        self.assertIn("1 runs", self.cli("admin", "purge", run, "-y").stderr)
        self.assertEqual(self.s.post("/api/v1/admin/purge", {}).status, 400)
        self.assertEqual(self.s.post("/api/v1/admin/purge", {"runs": ["x"]}).status, 404)


class Fsck(Case):
    def test_each_damage_is_named(self):
        run = self.make_run(points=5000, files=("a.bin", "b.bin", "c.bin", "d/e.bin"))
        self.register(run, path="d")
        wait(lambda: int(self.sql(f"select count(*) from winnow.metric_chunk where run = '{run}'")) or None, "a chunk")
        items, summary = self.work("fsck?deep=true")
        self.assertEqual((items, summary["damaged"], summary["artifacts"], summary["versions"], summary["points"]), ([], 0, 5, 1, 5000))
        self.assertEqual(summary["bytes_read"], 4 * 100 * 5 + 200 + 700)  # what the version keeps has rows of its own
        self.assertIn("0 damaged", self.cli("admin", "fsck", "--deep").stderr)
        at = self.directory(run)
        (at / "a.bin").unlink()
        with open(at / "b.bin", "ab") as f:
            f.write(b"more")
        self.flip(at / "c.bin")
        self.sql(f"update winnow.metric_chunk set data = overlay(data placing '\\xff' from 40) where run = '{run}' and first_step = 0")
        items, summary = self.work("fsck")
        self.assertEqual([(item["kind"], item["subject"].rsplit("/", 1)[-1]) for item in items[1:]], [("artifact", "a.bin"), ("artifact", "b.bin")])
        self.assertEqual(items[0]["kind"], "chunk")
        self.assertIn(run, items[0]["subject"])
        self.flip(self.s.data / "artifacts" / self.sql("select kept_path from winnow.model_version") / "e.bin")
        items, summary = self.work("fsck?deep=true")
        self.assertEqual(sorted(item["kind"] for item in items), ["artifact"] * 5 + ["chunk", "version"])  # the link is the same file
        self.assertIn("the digest differs", items[-1]["text"])
        done = self.cli("admin", "fsck", "--deep", code=1)
        self.assertIn("c.bin  its content is not what was stored", done.stdout)
        self.assertIn("7 damaged", done.stderr)
        self.assertEqual(len(json.loads(self.cli("admin", "fsck", "-o", "json", code=1).stdout)["items"]), 3)

    def test_files_of_versions_have_digests(self):
        """Also those of versions from before there were such rows, once fsck has proved them."""
        run = self.make_run(points=0, files=("model/a/weights.bin", "one.bin"))
        self.register(run, path="model")
        self.register(run, path="one.bin")
        digest = lambda name: hashlib.sha256(name.encode() * 100).hexdigest()
        listed = lambda version, path="": [(f["path"], f["sha256"]) for f in
                                           self.s.get(f"/api/v1/models/kept/versions/{version}/files?path={path}").json["items"]]
        wanted = [[("a/weights.bin", digest("model/a/weights.bin"))], [("one.bin", digest("one.bin"))]]
        self.assertEqual([listed(1, "a"), listed(2)], wanted)
        self.sql("delete from winnow.artifact where path like 'registry/%'")
        self.assertEqual([listed(1, "a"), listed(2)], [[("a/weights.bin", None)], [("one.bin", None)]])
        self.assertEqual(self.work("fsck")[1]["damaged"], 0)
        self.assertEqual(listed(2), [("one.bin", None)])
        self.assertEqual(self.work("fsck?deep=true")[1]["damaged"], 0)
        self.assertEqual([listed(1, "a"), listed(2)], wanted)
        kept = self.s.data / "artifacts" / self.sql("select kept_path from winnow.model_version where version = 2")
        (kept / "one.bin").rename(kept.parent / "moved")
        self.sql("delete from winnow.artifact where path like 'registry/%'")
        (found,), summary = self.work("fsck")
        self.assertEqual((summary["damaged"], found["subject"], found["text"]), (1, "kept/2", "its files are missing"))

    @staticmethod
    def flip(path):
        content = bytearray(path.read_bytes())
        content[7] ^= 1
        with open(path, "r+b") as f:
            f.write(content)

    def test_writing_goes_on_and_is_no_damage(self):
        runs = [self.make_run(points=3000) for _ in range(6)]
        writer = subprocess.Popen([sys.executable, "-c", WRITER, str(pathlib.Path(__file__).resolve().parents[1] / "support"), str(self.s.data), *runs])
        try:
            wait(lambda: self.s.get(f"/api/v1/runs/{runs[-1]}/artifacts/model/weights.bin").body != b"model/weights.bin" * 100, "the writer")
            for _ in range(8):
                self.assertEqual(self.work("fsck?deep=true"), ([], unittest.mock.ANY))
            self.assertIsNone(writer.poll(), "the writer has ended")
        finally:
            writer.kill()
            writer.wait()

    def test_who_may_and_one_at_a_time(self):
        for path in ("fsck", "gc", "purge"):
            self.assertEqual(self.s.post("/api/v1/admin/" + path, unix=False).status, 401)
        token = self.s.post("/api/v1/tokens", {"name": "t", "scopes": ["submit"]}).json["token"]
        self.assertEqual(self.s.post("/api/v1/admin/gc", unix=False, headers={"Authorization": "Bearer " + token}).status, 403)
        self.assertEqual(self.s.get("/api/v1/admin/stats", unix=False).status, 401)


WRITER = """
import sys, json, os
sys.path.insert(0, sys.argv[1])
from service import UnixConnection
c = UnixConnection(sys.argv[2] + "/winnow.sock")
def send(method, path, body):
    c.request(method, "/api/v1" + path, body if isinstance(body, bytes) else json.dumps(body))
    c.getresponse().read()
n = 3000
while True:
    for run in sys.argv[3:]:
        send("POST", f"/runs/{run}/metrics", {"points": [{"key": "loss", "value": k, "step": (n + k * 7) % 9000} for k in range(700)]})
        send("PUT", f"/runs/{run}/artifacts/notes.txt", os.urandom(n % 5000))
        send("DELETE", f"/runs/{run}/artifacts/model", b"")
        send("PUT", f"/runs/{run}/artifacts/model/weights.bin", os.urandom(100))
    n += 700
"""


class Gc(Case):
    def test_what_nothing_names(self):
        run = self.make_run()
        self.register(run)
        at = self.directory(run)
        (at / "foreign.txt").write_bytes(b"x" * 1000)
        (at / ".winnow-0123").write_bytes(b"y" * 10)
        (at / "notes.txt").unlink()
        self.assertEqual(self.work("gc?dry_run=true")[0], [])  # all of it is young
        items, summary = self.work("gc?dry_run=true&older_than=0s")
        found = sorted((item["kind"], pathlib.Path(item["subject"]).name, item["size"]) for item in items)
        self.assertEqual(found, [("orphan", "foreign.txt", 1000), ("row", "notes.txt", 900), ("temporary", ".winnow-0123", 10)])
        self.assertEqual(summary["bytes"], 1010)
        self.assertTrue((at / "foreign.txt").exists())
        self.assertIn("foreign.txt", self.cli("admin", "gc", "--dry-run", "--older-than", "0s").stdout)
        self.cli("admin", "gc", "--older-than", "0s", code=2)  # nobody can be asked
        self.assertIn("removed 2 files", self.cli("admin", "gc", "--older-than", "0s", "-y").stderr)
        self.assertEqual(sorted(p.name for p in at.rglob("*") if p.is_file()), ["weights.bin"])
        self.assertEqual(self.work("gc?dry_run=true&older_than=0s")[0], [])
        self.assertEqual(self.work("fsck?deep=true")[1]["damaged"], 0)  # the version's files are named, too

    def test_a_copy_that_no_version_came_to_keep(self):
        run = self.make_run()
        kept = self.register(run)
        self.sql("create function winnow.refuse() returns trigger language plpgsql as 'begin raise exception ''no''; end'")
        self.sql("create trigger refuse before update of kept_path on winnow.model_version for each row execute function winnow.refuse()")
        lost = self.register(run)
        self.assertEqual((bool(kept["digest"]), lost["digest"]), (True, None))
        copy = next((self.s.data / "artifacts/registry").glob("*/2")) / "weights.bin"
        self.sql("update winnow.artifact set created = created - 3600000 where path like 'registry/%'")
        self.assertEqual(self.work("gc?older_than=0s")[0], [])  # it is about to be kept
        self.sql("update winnow.model_version set keep_from = null where version = 2")
        would, counted = self.work("gc?dry_run=true&older_than=0s")
        self.assertTrue(copy.exists())
        items, summary = self.work("gc?older_than=0s")
        self.assertEqual(counted, summary)
        self.assertEqual(*([(item["kind"], item["subject"], item["size"]) for item in sorted(found, key=lambda item: item["kind"])] for found in (would, items)))
        self.assertEqual(sorted((item["kind"], item["subject"]) for item in items), [(kind, str(copy.relative_to(self.s.data / "artifacts"))) for kind in ("orphan", "row")])
        self.assertFalse(copy.exists())
        self.assertEqual(self.s.get(f"/api/v1/models/kept/versions/2/files/weights.bin").status, 200)  # of the run, as before
        self.assertEqual(self.work("fsck?deep=true")[1]["damaged"], 0)

    def test_names_that_are_no_text_and_links(self):
        run = self.make_run()
        at = self.directory(run)
        outside = self.s.home / "outside"
        outside.mkdir()
        (outside / "precious").write_bytes(b"!")
        (at / "link").symlink_to(outside)
        odd = os.fsencode(at) + b"/\xff\xfe"
        with open(odd, "wb") as f:
            f.write(b"z")
        self.assertEqual(self.work("gc?older_than=0s")[1]["orphans"], 1)
        self.assertFalse(os.path.exists(odd))
        self.assertTrue((outside / "precious").exists())

    def test_an_upload_under_way_is_not_touched(self):
        run = self.make_run(files=())
        connection = UnixConnection(str(self.s.data / "winnow.sock"))
        connection.putrequest("PUT", f"/api/v1/runs/{run}/artifacts/slow.bin")
        connection.putheader("Content-Length", "2000000")
        connection.endheaders()
        connection.send(b"a" * 1000000)
        wait(lambda: list(self.directory(run).glob(".winnow-*")), "the file on its way")
        self.assertEqual(self.work("gc")[1]["temporary"], 0)
        connection.send(b"b" * 1000000)
        self.assertEqual(connection.getresponse().status, 201)
        connection.close()
        self.assertEqual(len(self.s.get(f"/api/v1/runs/{run}/artifacts/slow.bin").body), 2000000)


class Stats(Case):
    def test_figures(self):
        run = self.make_run()
        self.trash(run)
        stats = self.s.get("/api/v1/admin/stats").json
        self.assertEqual((stats["trash"]["runs"], stats["artifacts"]["files"], stats["ingest"]["points"]), (1, 2, 50))
        self.assertEqual(stats["artifacts"]["bytes"], 2600)
        self.assertGreater(stats["database"]["bytes"], 10**6)
        self.assertIn("run", [table["name"] for table in stats["database"]["tables"]])
        self.assertRegex(self.cli("admin", "stats").stdout, r"Runs in the trash +1\n")


if __name__ == "__main__":
    unittest.main(verbosity=1)
