#!/usr/bin/env python3
"""Idempotency-Key: what creates is done once, however often it is sent."""
import json, pathlib, subprocess, sys, threading, time, unittest, uuid

WINNOW = pathlib.Path(sys.argv.pop(1)).resolve()
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from service import Service, wait  # noqa: E402

SWEEP = {"name": "asked", "metric": {"name": "loss", "goal": "minimize"}, "parameters": {"lr": {"min": 0.1, "max": 1.0}}, "method": "random", "run_cap": 20}


class Idempotency(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.s = Service(WINNOW)

    @classmethod
    def tearDownClass(cls):
        try:
            cls.s.stop()
        finally:
            cls.s.close()

    def post(self, path, body, key, **more):
        headers = {**more.pop("headers", {}), **({"Idempotency-Key": key} if key else {})}
        return self.s.post("/api/v1" + path, body, headers=headers, **more)

    def count(self, table):
        return int(self.s.sql("select count(*) from winnow." + table))

    def test_every_path_that_creates(self):
        run = self.s.post("/api/v1/runs", {}).json["id"]
        self.s.post("/api/v1/models", {"name": "m"})
        sweep = self.s.post("/api/v1/sweeps", SWEEP).json["id"]
        cases = [("/experiments", {"name": "made once"}, "experiment"), ("/runs", {"name": "r", "params": {"a": "1"}}, "run"),
                 ("/models", {"name": "model once"}, "registered_model"),
                 ("/models/m/versions", {"run_id": run, "source": f"mlflow-artifacts:/0/{run}/artifacts"}, "model_version"),
                 ("/sweeps", {**SWEEP, "name": "once"}, "sweep"), (f"/sweeps/{sweep}/clone", {}, "sweep"),
                 (f"/sweeps/{sweep}/trials", {"params": {"lr": 0.25}}, "run"), (f"/sweeps/{sweep}/ask", {"count": 2}, "run"),
                 (f"/sweeps/{sweep}/tell", {"trials": [{"params": {"lr": 0.5}, "value": 1}]}, "run")]
        for path, body, table in cases:
            with self.subTest(path):
                key, before = uuid.uuid4().hex, self.count(table)
                first = self.post(path, body, key)
                self.assertIn(first.status, (200, 201), first)
                self.assertIsNone(first.headers["Idempotent-Replayed"])
                made = self.count(table) - before
                self.assertGreaterEqual(made, 1)
                for _ in range(2):
                    again = self.post(path, body, key)
                    self.assertEqual((again.status, again.body, again.headers["Idempotent-Replayed"]), (first.status, first.body, "true"))
                    self.assertEqual(again.headers["Content-Type"], first.headers["Content-Type"])
                self.assertEqual(self.count(table) - before, made)
                other = self.post(path, {**body, "notes": "other"}, key)
                self.assertEqual((other.status, other.json["code"]), (409, "conflict"))
                self.assertIn("another request", other.json["detail"])

    def test_a_tell_by_ids_needs_no_key(self):
        """Told again it does nothing, also where it is not known how the first one ended; so its key is not looked at."""
        sweep = self.s.post("/api/v1/sweeps", SWEEP).json["id"]
        run = self.post(f"/sweeps/{sweep}/ask", {}, None).json["trials"][0]["run_id"]
        key = uuid.uuid4().hex
        for _ in range(2):
            told = self.post(f"/sweeps/{sweep}/tell", {"trials": [{"run_id": run, "value": 1}]}, key)
            self.assertEqual((told.status, told.headers["Idempotent-Replayed"]), (200, None))

    def test_an_answer_that_is_too_large_is_not_kept(self):
        sweep = self.s.post("/api/v1/sweeps", {**SWEEP, "run_cap": 1000}).json["id"]
        key, before = uuid.uuid4().hex, self.count("run")
        first = self.post(f"/sweeps/{sweep}/ask", {"count": 1000}, key)
        self.assertEqual(len(first.json["trials"]), 1000)
        self.assertGreater(len(first.body), 256 * 1024)
        again = self.post(f"/sweeps/{sweep}/ask", {"count": 1000}, key)
        self.assertEqual((again.status, self.count("run")), (409, before + 1000))
        self.assertIn("too large to be kept", again.json["detail"])

    def test_a_key_is_the_callers_and_the_paths_own(self):
        key = uuid.uuid4().hex
        ids = {self.post("/runs", {}, key).json["id"]}
        for name in ("a", "b"):
            token = self.s.post("/api/v1/tokens", {"name": name, "scopes": ["write"]}).json["token"]
            ids.add(self.post("/runs", {}, key, headers={"Authorization": "Bearer " + token}, unix=False).json["id"])
        ids.add(self.post("/runs", {}, key, unix=False).json["id"])
        self.assertEqual(len(ids), 4)
        self.assertEqual(self.post("/models", {"name": "key of a path"}, key).status, 201)

    def test_runs_made_with_keys_sort_by_age(self):
        before = self.post("/runs", {}, None).json["id"]
        made = []
        for _ in range(10):
            time.sleep(0.002)  # by the millisecond: the rest of such an id is the key's
            made.append(self.post("/runs", {}, uuid.uuid4().hex).json["id"])
        self.assertEqual([before, *made], sorted([before, *made]))

    def test_after_an_error_the_key_is_free(self):
        key = uuid.uuid4().hex
        self.assertEqual(self.post("/experiments", {"nam": "x"}, key).status, 400)
        self.assertEqual(self.post("/experiments", {"name": "free again"}, key).status, 201)
        self.assertEqual(self.post("/experiments", {"name": "free again"}, uuid.uuid4().hex).status, 409)
        self.assertEqual(self.post("/experiments", {"name": "x"}, "k" * 300).status, 400)
        self.assertEqual(self.post("/runs/search", {}, key).status, 200)  # what does not create heeds none

    def test_an_answer_that_the_database_refuses_twice(self):
        """To keep, and then to look for: who asks a third time gets it. That it is freed, the leak sanitizer tells."""
        key = uuid.uuid4().hex
        self.s.sql("create function winnow.refuse() returns trigger language plpgsql as 'begin raise exception $$no$$; end'")
        self.s.sql("create trigger refuse before update on winnow.idempotency for each row execute function winnow.refuse()")
        first = self.post("/experiments", {"name": "answered once"}, key)
        self.s.sql("create trigger refuse_more before insert on winnow.idempotency for each row execute function winnow.refuse()")
        refused = [self.post("/experiments", {"name": "answered once"}, key).status for _ in range(2)]
        self.s.sql("drop function winnow.refuse() cascade")
        again = self.post("/experiments", {"name": "answered once"}, key)
        self.assertEqual((first.status, refused), (201, [500, 500]))
        self.assertEqual((again.status, again.body, again.headers["Idempotent-Replayed"]), (201, first.body, "true"))

    def test_secrets_are_not_kept(self):
        key = uuid.uuid4().hex
        made = self.post("/tokens", {"name": "secret"}, key)
        self.assertEqual(made.status, 201)
        again = self.post("/tokens", {"name": "secret"}, key)
        self.assertEqual((again.status, again.json["code"]), (409, "already_exists"))
        self.assertNotIn(made.json["token"], self.s.sql("select encode(answer, 'escape') from winnow.idempotency where answer is not null"))

    def test_many_at_once(self):
        run = self.s.post("/api/v1/runs", {}).json["id"]
        self.s.post("/api/v1/models", {"name": "crowd"})
        body, key, answers = {"run_id": run, "source": f"mlflow-artifacts:/0/{run}/artifacts"}, uuid.uuid4().hex, []
        threads = [threading.Thread(target=lambda: answers.append(self.post("/models/crowd/versions", body, key))) for _ in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertTrue(set(a.status for a in answers) <= {201, 409}, answers)
        self.assertEqual(len({a.body for a in answers if a.status == 201}), 1)
        self.assertTrue(all("under way" in a.json["detail"] for a in answers if a.status == 409))
        self.assertEqual(self.s.get("/api/v1/models/crowd").json["latest_version"], 1)


class Restart(unittest.TestCase):
    def test_what_survives(self):
        with Service(WINNOW) as s:
            def post(path, body, key):
                return s.post("/api/v1" + path, body, headers={"Idempotency-Key": key})

            first = post("/experiments", {"name": "kept"}, "k1")
            run = post("/runs", {"name": "r"}, "k2").json["id"]
            post("/models", {"name": "m"}, "k3")
            s.kill()
            s.start()
            again = post("/experiments", {"name": "kept"}, "k1")
            self.assertEqual((again.status, again.body), (first.status, first.body))
            # As a crash in the middle leaves it: begun, and nothing more known.
            s.sql("update winnow.idempotency set status = null, content_type = null, answer = null")
            again = post("/runs", {"name": "r"}, "k2")
            self.assertEqual((again.status, again.json["id"]), (201, run))  # key and time make the id: doing it again is safe
            self.assertEqual(post("/runs", {"name": "r"}, "k2").headers["Idempotent-Replayed"], "true")
            unknown = post("/models", {"name": "m"}, "k3")
            self.assertEqual((unknown.status, unknown.json["code"]), (503, "unknown_outcome"))
            self.assertIn("another", unknown.json["hint"])
            # Under way.
            lock = subprocess.Popen(s.psql(), env=s.psql_env(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            lock.stdin.write("begin; lock table registered_model; select 'locked';\n")
            lock.stdin.flush()
            self.assertEqual(lock.stdout.readline().strip(), "locked")
            first = threading.Thread(target=post, args=("/models", {"name": "n"}, "k4"))
            first.start()
            wait(lambda: s.sql("select count(*) from pg_locks where not granted") != "0", "the first")
            self.assertEqual(post("/models", {"name": "n"}, "k4").status, 409)
            self.assertIn("another request", post("/models", {"name": "other"}, "k4").json["detail"])
            lock.communicate()
            first.join()
            self.assertEqual(post("/models", {"name": "n"}, "k4").headers["Idempotent-Replayed"], "true")
            # An upload's completion is its own key, and can be done again.
            place = "/api/2.0/mlflow-artifacts/mpu/{}/0"
            upload = s.post(place.format("create"), {"path": "x", "num_parts": 1}).json
            etag = s.request("PUT", "/api" + upload["credentials"][0]["url"].split("/api")[1], b"part").headers["ETag"]
            whole = {"path": "x", "upload_id": upload["upload_id"], "parts": [{"part_number": 1, "etag": etag}]}
            complete = lambda: s.post(place.format("complete"), whole)
            s.sql("delete from winnow.idempotency")
            self.assertEqual(s.post(place.format("complete"), {**whole, "path": "y"}).status, 400)
            self.assertEqual(s.sql("select count(*) from winnow.idempotency"), "0")
            self.assertEqual((complete().status, complete().status), (200, 200))
            # After a day it is forgotten.
            s.sql("insert into winnow.idempotency (key, request, created) values ('\\x01', '\\x01', 1)")
            s.sql("update winnow.idempotency set created = created - 2 * 86400000")
            s.stop()
            s.start()
            wait(lambda: s.sql("select count(*) from winnow.idempotency") == "0", "the end of old answers")

    def test_what_an_earlier_life_began_is_not_done_again(self):
        """Also not by who asks again after the database went away when it was asked for the key."""
        with Service(WINNOW) as s:
            def post():
                return s.post("/api/v1/models", {"name": "m"}, headers={"Idempotency-Key": "k"})

            self.assertEqual(post().status, 201)
            # As a crash after the model was made leaves it.
            s.sql("update winnow.idempotency set status = null, content_type = null, answer = null, created = created - 100000")
            s.kill()
            s.start()
            s.sql("delete from winnow.registered_model")  # so that doing it again would be seen
            lock = subprocess.Popen(s.psql(), env=s.psql_env(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            lock.stdin.write("begin; lock table winnow.idempotency; select 'locked';\n")
            lock.stdin.flush()
            self.assertEqual(lock.stdout.readline().strip(), "locked")
            answers = []
            asking = threading.Thread(target=lambda: answers.append(post()))
            asking.start()
            wait(lambda: s.sql("select count(*) from pg_locks where not granted") != "0", "the question")
            s.kill_postgres()
            lock.communicate()
            asking.join()
            self.assertEqual(answers[0].status, 503)
            wait(lambda: s.get("/api/v1/status").json["database"]["up"] and s.get("/api/v1/experiments").status == 200, "the database")
            unknown = post()
            self.assertEqual((unknown.status, unknown.json["code"]), (503, "unknown_outcome"))
            self.assertEqual(s.sql("select count(*) from winnow.registered_model"), "0")
            # Of a key that nobody had, the same way, it is known that nothing was made.
            self.assertEqual(s.post("/api/v1/models", {"name": "m"}, headers={"Idempotency-Key": "other"}).status, 201)


if __name__ == "__main__":
    unittest.main(verbosity=1)
