#!/usr/bin/env python3
"""Files when things go wrong: a service killed in the middle of everything, a disk that is full, a directory that takes no change. Whatever was
answered holds, and files, rows and digests agree."""
import hashlib, http.client, json, os, pathlib, random, select, shutil, subprocess, sys, threading, time, unittest

WINNOW = pathlib.Path(sys.argv.pop(1)).resolve()
ROUNDS = int(os.environ.get("WINNOW_KILLS", "6"))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from service import Service, UnixConnection, wait  # noqa: E402

WHOLE = (200, 201, 204)


class Case(unittest.TestCase):
    def serve(self, *arguments):
        self.s = Service(WINNOW, arguments=arguments)
        self.addCleanup(self.s.close)

    def make_run(self):
        return self.s.post("/api/2.0/mlflow/runs/create", {}).json["run"]["info"]["run_id"]

    def work(self, path, body=None):
        answer = self.s.post("/api/v1/admin/" + path, body, timeout=120)
        self.assertEqual(answer.status, 200, answer)
        lines = [json.loads(line) for line in answer.body.splitlines()]
        return [line["item"] for line in lines if "item" in line], lines[-1]["summary"]

    def marks(self):
        """Versions of which a copy is yet to be made."""
        return self.s.sql("select name || '/' || version from model_version join registered_model on id = model "
                          "where keep_from is not null and deleted_at is null order by 1").split()

    def all_agree(self, store=None):
        """No damage; and once gc has been, a row for each file."""
        wait(lambda: self.s.sql("select count(*) from artifact_coming") == "0", "the end of what had begun")
        items, summary = self.work("fsck?deep=true")
        self.assertEqual((items, summary["damaged"]), ([], 0))
        self.work("gc?older_than=0s")
        items, summary = self.work("fsck?deep=true")
        self.assertEqual((items, summary["damaged"]), ([], 0))
        store = store or self.s.data / "artifacts"
        rows = dict(line.split("|") for line in self.s.sql("select path, encode(sha256, 'hex') from artifact").splitlines())
        there = {str(p.relative_to(store)): hashlib.sha256(p.read_bytes()).hexdigest() for p in store.rglob("*") if p.is_file()}
        self.assertEqual(there, rows)


class Killed(Case):
    """Each worker has names of its own, so it knows what must be there: what was answered last, or what was asked after that."""

    def worker(self, number, run, stop):
        rng, api, known = random.Random(number), f"/api/v1/runs/{run}/artifacts/{number}", self.known[number]
        while not stop.is_set():
            name, content = f"f{rng.randrange(3)}", rng.randbytes(rng.choice((10, 5000, 300000)))
            what = rng.choice(("put", "put", "put", "delete", "tree", "parts", "version"))
            try:
                if what == "put":
                    self.change(known, name, content, lambda: self.s.request("PUT", f"{api}/{name}", content).status)
                elif what == "delete":
                    self.change(known, name, None, lambda: self.s.request("DELETE", f"{api}/{name}").status)
                elif what == "tree":
                    for other in list(known):
                        known[other].add(None)
                    if self.s.request("DELETE", api).status in WHOLE:
                        known.clear()
                elif what == "parts":
                    self.change(known, name, content, lambda: self.in_parts(run, f"{number}/{name}", content))
                else:
                    self.s.post("/api/v1/models/kept/versions", {"run_id": run, "path": str(number)})
            except (OSError, http.client.HTTPException, ValueError, KeyError, TypeError):
                time.sleep(0.01)

    def change(self, known, name, content, ask):
        was = known.setdefault(name, {None})
        was.add(content and hashlib.sha256(content).hexdigest())
        if ask() in WHOLE:
            known[name] = {content and hashlib.sha256(content).hexdigest()}

    def in_parts(self, run, path, content):
        directory, name = f"0/{run}/artifacts/{path}".rsplit("/", 1)
        upload = self.s.post(f"/api/2.0/mlflow-artifacts/mpu/create/{directory}", {"path": name, "num_parts": 2}).json
        urls = [c["url"][c["url"].index("/api"):] for c in upload["credentials"]]
        etags = [self.s.request("PUT", url, part).headers["ETag"] for url, part in zip(urls, (content[:5], content[5:]))]
        body = {"path": name, "upload_id": upload["upload_id"], "parts": [{"part_number": i + 1, "etag": e} for i, e in enumerate(etags)]}
        self.completions.append((directory, body))
        return self.s.post(f"/api/2.0/mlflow-artifacts/mpu/complete/{directory}", body).status

    def test_in_the_middle_of_everything(self):
        self.serve()
        run, rng = self.make_run(), random.Random(1)
        self.known, self.completions = [{} for _ in range(4)], []
        self.s.post("/api/v1/models", {"name": "kept"})
        for _ in range(ROUNDS):
            stop = threading.Event()
            workers = [threading.Thread(target=self.worker, args=(number, run, stop)) for number in range(4)]
            for worker in workers:
                worker.start()
            time.sleep(rng.uniform(0.3, 1.5))
            self.s.kill()
            stop.set()
            for worker in workers:
                worker.join()
            self.s.start()
            wait(lambda: not self.marks(), "the copies that had begun")
            self.all_agree()
            for number, known in enumerate(self.known):
                for name, possible in known.items():
                    answer = self.s.get(f"/api/v1/runs/{run}/artifacts/{number}/{name}")
                    found = hashlib.sha256(answer.body).hexdigest() if answer.status == 200 else None
                    self.assertIn(found, possible, f"{number}/{name}")
                    known[name] = {found}
        for version in self.s.get("/api/v1/models/kept/versions?limit=1000").json["items"]:
            if version["digest"]:
                self.assertTrue(self.s.post(f"/api/v1/models/kept/versions/{version['version']}/verify").json["ok"], version)


class Ended(Case):
    """What takes as long as there are bytes does not keep the service from its end: a file of a terabyte (all hole) is being read when it is asked
    to go."""

    def big_file(self, run):
        path = self.s.data / f"artifacts/0/{run}/artifacts/model/big"
        path.parent.mkdir(parents=True)
        with open(path, "wb") as big:
            big.truncate(1 << 40)

    def is_read(self, ending):
        for fd in list(pathlib.Path(f"/proc/{self.s.process.pid}/fd").iterdir()):
            try:
                if os.readlink(fd).endswith(ending):
                    return True
            except FileNotFoundError:
                pass  # closed meanwhile
        return False

    def end_while(self, ask, ending):
        threading.Thread(target=ask, daemon=True).start()
        wait(lambda: self.is_read(ending), "the reading of the file")
        self.s.stop()

    def ask(self, path, body=None):
        try:
            self.s.post(path, body, timeout=600)
        except (OSError, http.client.HTTPException):
            pass

    def test_while_a_version_is_made_and_while_one_is_verified(self):
        self.serve("--drain-timeout", "0s")
        run = self.make_run()
        self.big_file(run)
        self.s.post("/api/v1/models", {"name": "m"})
        versions = "/api/v1/models/m/versions"
        self.end_while(lambda: self.ask(versions, {"run_id": run, "path": "model"}), "/registry/1/1/big")
        self.assertEqual([p for p in (self.s.data / "artifacts/registry").rglob("*") if p.is_file()], [])
        self.s.start()
        wait(lambda: self.is_read("/registry/1/1/big"), "the copy, once more")
        self.assertEqual(self.s.sql("select count(*) from artifact"), "0")
        self.assertIsNone(self.s.get(versions + "/1").json["digest"])
        self.s.stop()
        self.assertEqual([p for p in (self.s.data / "artifacts/registry").rglob("*") if p.is_file()], [])
        self.s.start()
        self.s.sql(f"update model_version set digest = sha256('')")  # as if it had been made somewhere in long hours
        self.end_while(lambda: self.ask(versions + "/1/verify"), "/model/big")
        self.s.start()


class Interrupted(Case):
    """Registrations that left versions without a copy of their files: the next start makes it."""

    def hold(self, what, table):
        """Such statements wait until release(), also in later lives of the service."""
        self.s.sql("create table if not exists winnow.hold (n int)")
        self.s.sql("create or replace function winnow.wait() returns trigger language plpgsql as "
                   "'begin while exists (select from winnow.hold) loop perform pg_sleep(0.02); end loop; return new; end'")
        self.s.sql(f"create trigger wait before {what} on winnow.{table} for each row execute function winnow.wait()")
        self.s.sql("insert into winnow.hold values (1)")

    def release(self):
        self.s.sql("delete from winnow.hold")

    def is_held(self):
        return self.s.sql("select count(*) from pg_stat_activity where wait_event = 'PgSleep'") != "0"

    def in_background(self, path, body=None):
        def ask():
            try:
                self.s.post(path, body, timeout=120)
            except (OSError, http.client.HTTPException):
                pass

        thread = threading.Thread(target=ask)
        thread.start()
        return thread

    def begin(self):
        self.serve()
        run = self.make_run()
        for name in ("one", "two"):
            self.assertEqual(self.s.request("PUT", f"/api/v1/runs/{run}/artifacts/model/{name}", name.encode()).status, 201)
        return run

    def copy(self, number, model=1):
        return sorted(p.name for p in (self.s.data / f"artifacts/registry/{model}/{number}").rglob("*"))

    def block(self, directory):
        shutil.rmtree(directory, ignore_errors=True)
        directory.write_bytes(b"")

    def test_that_fail_are_tried_again_by_the_same_service(self):
        run = self.begin()
        blocked = self.s.data / "artifacts/registry"
        self.block(blocked)
        self.s.post("/api/v1/models", {"name": "m"})
        for number in (1, 2, 3):
            made = self.s.post("/api/v1/models/m/versions", {"run_id": run, "path": "model"})
            self.assertEqual((made.status, made.json["digest"]), (201, None), made)
            wait(lambda: f"m/{number}: its files are not kept yet: a part of" in self.s.log(), "what the log says")
        self.work("gc")
        self.assertEqual(self.s.request("DELETE", "/api/v1/models/m/versions/2").status, 204)
        blocked.unlink()
        self.work("gc")
        wait(lambda: not self.marks(), "the copies")
        self.assertEqual([self.copy(number) for number in (1, 3)], [["one", "two"]] * 2)
        wait(lambda: "m/3: its files are kept now" in self.s.log(), "what the log says")
        self.assertEqual(self.s.log().count("its files are not kept yet"), 3)
        self.all_agree()
        self.assertEqual(self.copy(2), [])

    def test_whose_copy_could_only_not_be_told(self):
        """It is what was registered, whatever has become of the run's files since."""
        run = self.begin()
        self.s.post("/api/v1/models", {"name": "m"})
        self.s.sql("create function winnow.refuse() returns trigger language plpgsql as 'begin raise exception $$not now$$; end'")
        self.s.sql("create trigger refuse before update of kept_path on winnow.model_version for each row execute function winnow.refuse()")
        for number in (1, 2):
            made = self.s.post("/api/v1/models/m/versions", {"run_id": run, "path": "model"})
            self.assertEqual((made.status, made.json["digest"], self.copy(number)), (201, None, ["one", "two"]))
        self.assertEqual(self.s.request("PUT", f"/api/v1/runs/{run}/artifacts/model/one", b"another").status, 201)
        self.assertEqual(self.s.request("DELETE", f"/api/v1/runs/{run}/artifacts/model/two").status, 204)
        self.s.sql("update artifact set created = 1 where path like 'registry/%'")
        self.work("gc?older_than=0s")
        (self.s.data / "artifacts/registry/1/2/two").unlink()  # a copy that is no longer what it was is made anew
        self.s.sql("drop trigger refuse on winnow.model_version")
        self.work("gc?older_than=0s")
        wait(lambda: not self.marks(), "that the copies are known")
        self.assertEqual([self.copy(number) for number in (1, 2)], [["one", "two"], ["one"]])
        for number, name, content in ((1, "one", b"one"), (1, "two", b"two"), (2, "one", b"another")):
            self.assertEqual(self.s.get(f"/api/v1/models/m/versions/{number}/files/{name}").body, content)
            self.assertTrue(self.s.post(f"/api/v1/models/m/versions/{number}/verify").json["ok"])
        self.all_agree()

    def test_by_a_kill_before_the_copy_is_known(self):
        run = self.begin()
        self.s.post("/api/v1/models", {"name": "m"})
        for number, (what, table) in enumerate((("insert", "artifact"), ("update of kept_path", "model_version")), 1):
            with self.subTest(table):
                self.hold(what, table)
                asked = self.in_background("/api/v1/models/m/versions", {"run_id": run, "path": "model"})
                wait(self.is_held, "the copy's note")
                self.s.kill()
                wait(lambda: self.s.postgres() == [], "the end of the database, so that the copy is not noted after all")
                asked.join()
                self.assertEqual(self.copy(number), ["one", "two"])
                (self.s.data / f"artifacts/registry/1/{number}/one").unlink()  # it was killed even before
                self.s.start()
                wait(self.is_held, "the copy's note, once more")
                self.assertEqual((self.copy(number), self.marks()), (["one", "two"], [f"m/{number}"]))
                gc = self.in_background("/api/v1/admin/gc?older_than=0s")
                self.release()
                version = f"/api/v1/models/m/versions/{number}"
                wait(lambda: self.s.get(version).json["digest"], "the copy")
                gc.join()
                self.assertEqual((self.copy(number), self.marks()), (["one", "two"], []))
                self.assertTrue(self.s.post(version + "/verify").json["ok"])
                self.s.sql(f"drop trigger wait on winnow.{table}")
        self.assertLess(self.s.request("DELETE", f"/api/v1/runs/{run}").status, 300)
        self.assertEqual(self.work("purge", {"runs": [run]})[1]["runs"], 1)
        self.all_agree()
        for number in (1, 2):
            self.assertEqual([self.s.get(f"/api/v1/models/m/versions/{number}/files/{name}").body for name in ("one", "two")], [b"one", b"two"])

    def test_of_versions_that_cannot_be_kept_beside_one_that_can(self):
        run = self.begin()
        for name in ("gone", "blocked", "deleted", "fine"):
            self.s.post("/api/v1/models", {"name": name})
            self.assertEqual(self.s.post(f"/api/v1/models/{name}/versions", {"run_id": run, "path": "model"}).status, 201)
        files = f"0/{run}/artifacts/model"
        self.s.sql(f"update model_version set kept_path = null, digest = null, size = null, storage_location = source, keep_from = '{files}'")
        self.s.sql("update model_version set keep_from = keep_from || '/nothing' where model = 1")
        blocked = self.s.data / "artifacts/registry/2"
        self.block(blocked)
        self.hold("insert", "artifact")
        self.s.stop()
        self.s.start()
        wait(self.is_held, "the third one's copy")
        self.assertEqual(self.s.request("DELETE", "/api/v1/models/deleted/versions/1").status, 204)
        self.release()
        digest = lambda name: self.s.get(f"/api/v1/models/{name}/versions/1").json["digest"]
        wait(lambda: digest("fine"), "the copy")
        wait(lambda: "blocked/1: its files are not kept yet: a part of" in self.s.log(), "what the log says of the other")
        self.assertEqual([digest("gone"), digest("blocked")], [None, None])
        self.assertEqual(self.marks(), ["blocked/1"])
        self.assertEqual(self.copy(1, model=3), ["one", "two"])
        for restart in (True, False):
            with self.subTest(restart=restart):
                blocked.unlink()
                if restart:
                    self.s.stop()
                    self.s.start()
                else:
                    self.work("gc")  # care makes room: what failed is tried again
                wait(lambda: digest("blocked"), "the copy that could not be made before")
                self.assertEqual(self.marks(), [])
                if restart:
                    self.block(blocked)
                    self.s.sql(f"update model_version set kept_path = null, digest = null, size = null, storage_location = source, keep_from = '{files}' where model = 2")
                    self.s.stop()
                    self.s.start()
                    wait(lambda: self.s.log().count("blocked/1: its files are not kept yet") == 2, "what the log says of it again")
        self.all_agree()
        self.assertEqual([self.copy(1, model=model) for model in (1, 2, 3, 4)], [[], ["one", "two"], [], ["one", "two"]])


class Busy(Case):
    """As much as may wait for what takes long does, for a file that has no end until it is cut."""

    def fill_queue(self, path):
        waiting = [UnixConnection(str(self.s.data / "winnow.sock"), 120) for _ in range(300)]
        for connection in waiting:
            self.addCleanup(connection.close)
            connection.request("POST", path)
        answered = lambda: select.select([c.sock for c in waiting], [], [], 0)[0]
        wait(lambda: len(answered()) >= 300 - 256 - 2, "those that find no room")
        return waiting

    def stream(self, path, body=None):
        connection = UnixConnection(str(self.s.data / "winnow.sock"), 120)
        self.addCleanup(connection.close)
        connection.request("POST", "/api/v1/admin/" + path, body and json.dumps(body), {"Content-Type": "application/json"} if body else {})
        return connection, (json.loads(line) for line in connection.getresponse())

    def test_who_needs_no_room_is_served_and_care_waits_its_turn(self):
        self.serve()
        run, gone = self.make_run(), self.make_run()
        for r in (run, gone):
            self.assertEqual(self.s.request("PUT", f"/api/v1/runs/{r}/artifacts/model/big", b"x").status, 201)
        self.s.post("/api/v1/models", {"name": "m"})
        self.assertEqual(self.s.post("/api/v1/models/m/versions", {"run_id": run, "path": "model"}).status, 201)
        kept = next((self.s.data / "artifacts/registry").glob("*/1")) / "big"
        os.truncate(kept, 1 << 40)
        self.fill_queue("/api/v1/models/m/versions/1/verify")
        self.assertEqual(self.s.post("/api/v1/models/m/versions", {"run_id": run, "path": "model"}).status, 503)
        for source in ("s3://elsewhere/model", f"runs:/{run}/elsewhere"):
            self.assertEqual(self.s.post("/api/v1/models/m/versions", {"source": source}).status, 201)
        prompt = [{"key": "mlflow.prompt.is_prompt", "value": "true"}]
        self.assertEqual(self.s.post("/api/2.0/mlflow/registered-models/create", {"name": "p", "tags": prompt}).status, 200)
        made = self.s.post("/api/2.0/mlflow/model-versions/create", {"name": "p", "source": "dummy-source", "tags": prompt})
        self.assertEqual(made.status, 200, made)
        self.assertEqual(self.s.request("DELETE", "/api/v1/runs/" + gone).status, 204)
        fsck, lines = self.stream("fsck?deep=true")
        next(line for line in lines if line.get("progress", {}).get("versions"))  # its digest waits
        fsck.close()
        wait(lambda: self.s.post("/api/v1/admin/purge", {"older_than": 0, "dry_run": True}).status == 200, "the end of what nobody listens to")
        _, lines = self.stream("purge", {"older_than": 0})
        next(line for line in lines if line.get("progress", {}).get("runs"))  # the rows are gone, the directory waits
        self.assertTrue((self.s.data / f"artifacts/0/{gone}").exists())
        os.truncate(kept, 0)
        summary = list(lines)[-1]["summary"]
        self.assertEqual((summary["directories"], summary["left"]), (1, 0))
        self.assertFalse((self.s.data / f"artifacts/0/{gone}").exists())


class Disks(Case):
    def mount(self, *words):
        path = pathlib.Path(self.s_home()) / "store"
        path.mkdir()
        if subprocess.run(["mount", "-t", "tmpfs", *words, "tmpfs", path], capture_output=True).returncode:
            self.skipTest("nothing may be mounted here")
        self.addCleanup(lambda: subprocess.run(["umount", "-l", path]))
        return path

    def s_home(self):
        import tempfile
        home = tempfile.mkdtemp(prefix="winnow-e2e-")
        self.addCleanup(lambda: subprocess.run(["rm", "-rf", home]))
        os.chmod(home, 0o755)
        return home

    def test_a_full_one(self):
        store = self.mount("-o", "size=4m")
        self.serve("--artifacts-destination", str(store))
        run = self.make_run()
        api, answers = f"/api/v1/runs/{run}/artifacts", set()
        self.assertEqual(self.s.request("PUT", f"{api}/old", b"old" * 1000).status, 201)
        for i in range(12):  # new ones and a replacement, until nothing fits
            for name in (f"new{i}", "old"):
                answer = self.s.request("PUT", f"{api}/{name}", os.urandom(700000))
                answers.add(answer.status)
                if answer.status == 507:
                    self.assertIn(f'artifact "0/{run}/artifacts/{name}": ', answer.json["detail"])
                    self.assertIn(f"the disk of {store} (`winnow admin gc`", answer.json["hint"])
        self.assertEqual(answers, {201, 507})
        upload = self.s.post(f"/api/2.0/mlflow-artifacts/mpu/create/0/{run}/artifacts", {"path": "whole", "num_parts": 1})
        if upload.status == 200:
            url = upload.json["credentials"][0]["url"]
            self.s.request("PUT", url[url.index("/api"):], b"x" * 700000)
        self.assertEqual(self.s.get(f"{api}/old").status, 200)
        self.all_agree(store)
        self.assertEqual(self.s.request("DELETE", f"{api}/new0").status, 204)
        self.assertEqual(self.s.request("PUT", f"{api}/old", b"again").status, 201)
        self.all_agree(store)

    def test_one_that_takes_no_change(self):
        store = self.mount()
        self.serve("--artifacts-destination", str(store))
        run = self.make_run()
        api = f"/api/v1/runs/{run}/artifacts"
        for name in ("tree/a", "tree/b/c"):
            self.assertEqual(self.s.request("PUT", f"{api}/{name}", b"before").status, 201)
        self.s.post("/api/v1/models", {"name": "m"})
        wait(lambda: subprocess.run(["mount", "-o", "remount,ro", store], capture_output=True).returncode == 0, "that nothing is open to be written")
        for method, name, body in (("PUT", "tree/a", b"after"), ("PUT", "new", b"new"), ("DELETE", "tree/a", b""), ("DELETE", "tree", b"")):
            with self.subTest(f"{method} {name}"):
                answer = self.s.request(method, f"{api}/{name}", body)
                self.assertGreaterEqual(answer.status, 500, answer)
        made = self.s.post("/api/v1/models/m/versions", {"run_id": run, "path": "tree"})
        self.assertEqual((made.status, made.json["digest"]), (201, None))  # it stands, without a copy
        self.all_agree(store)
        self.assertEqual(self.s.get(f"{api}/tree/a").body, b"before")
        self.assertEqual(len(self.s.get(f"{api}?path=tree").json["items"]), 2)
        self.assertEqual({f["sha256"] for f in self.s.get(f"{api}?path=tree/b").json["items"]}, {hashlib.sha256(b"before").hexdigest()})
        subprocess.run(["mount", "-o", "remount,rw", store], check=True)
        self.assertEqual(self.s.request("PUT", f"{api}/tree/a", b"after").status, 201)
        self.assertEqual(self.s.request("DELETE", f"{api}/tree/b").status, 204)
        self.work("gc?older_than=0s")  # after which the version's copy is tried again
        wait(lambda: not self.marks(), "the copy of the version")
        self.all_agree(store)


if __name__ == "__main__":
    unittest.main(verbosity=1)
