#!/usr/bin/env python3
"""Large bodies that become files: beside other clients, broken off, killed, and ended by the service; and what small ones had before."""
import hashlib, http.client, io, json, os, pathlib, re, shutil, signal, subprocess, sys, tarfile, tempfile, threading, time, unittest, urllib.parse, uuid

WINNOW = pathlib.Path(sys.argv.pop(1)).resolve()
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from service import Service, wait  # noqa: E402

MIB = 1 << 20


def path_of(url):
    return url[url.index("/api"):]


class Case(unittest.TestCase):
    def serve(self, *arguments, env=None):
        self.s = Service(WINNOW, arguments=arguments, env=env)
        self.addCleanup(self.s.close)
        self.run_id = self.s.post("/api/2.0/mlflow/runs/create", {}).json["run"]["info"]["run_id"]

    def files(self):
        """All there are, hidden ones too."""
        return [p for top in ("artifacts", "code") for p in (self.s.data / top).rglob("*") if p.is_file()]

    def places(self):
        """Wherever a body becomes a file: path, headers."""
        upload = self.s.post(f"/api/2.0/mlflow-artifacts/mpu/create/0/{self.run_id}", {"path": "x", "num_parts": 1}).json
        yield f"/api/v1/runs/{self.run_id}/artifacts/model/big.bin", {}
        yield f"/api/2.0/mlflow-artifacts/artifacts/0/{self.run_id}/artifacts/model/big.bin", {}
        yield path_of(upload["credentials"][0]["url"]), {}
        yield "/api/v1/code/" + "a" * 64, {"Authorization": f"Bearer {self.s.token}"}

    def begin(self, path, headers, length):
        connection = http.client.HTTPConnection("127.0.0.1", self.s.port, timeout=60)
        connection.putrequest("PUT", path)
        for name, value in {**headers, "Content-Length": str(length)}.items():
            connection.putheader(name, value)
        connection.endheaders()
        return connection

    def begin_all(self):
        """Uploads to all places, in the middle: some of each has been written."""
        connections = []
        for path, headers in self.places():
            before = len(self.files())
            connections.append(self.begin(path, headers, 8 * MIB))
            connections[-1].send(os.urandom(MIB) * 4)
            wait(lambda: len(self.files()) > before, "the file on its way")
        return connections

    def nothing_is_visible(self):
        listed = self.s.get(f"/api/v1/runs/{self.run_id}/artifacts").json["items"]
        self.assertEqual([item for item in listed if not item["is_dir"]], [])
        self.assertEqual(self.s.get(f"/api/v1/runs/{self.run_id}/artifacts?path=model").json["items"], [])
        self.assertEqual(self.s.get(f"/api/v1/runs/{self.run_id}/artifacts/model/big.bin").status, 404)
        self.assertEqual(self.s.get("/api/v1/code/" + "a" * 64).status, 404)


class HangingDisk(Case):
    """What is written to the disk waits for as long as `gate` is there."""

    def serve_on_hanging_disk(self, *arguments, how="SLOW_DISK"):
        library = WINNOW.parent.parent / "libslow_disk.so"
        if not library.exists():
            self.skipTest(f"{library} is not built")
        home = tempfile.mkdtemp(prefix="winnow-e2e-gate-")
        self.addCleanup(shutil.rmtree, home)
        os.chmod(home, 0o755)
        self.gate = pathlib.Path(home) / "gate"
        self.addCleanup(lambda: self.gate.unlink(missing_ok=True))
        self.gate.touch()
        sanitizer = os.environ.get("ASAN_OPTIONS", "") + ":verify_asan_link_order=0"
        self.serve(*arguments, env={"ASAN_OPTIONS": sanitizer, "LD_PRELOAD": str(library), how: str(self.gate)})

    def test_the_end_does_not_wait_for_a_disk_that_never_answers(self):
        """The looks at file systems hang, as on a network that is gone; the service works, and ends."""
        self.serve_on_hanging_disk(how="DEAD_DISK")
        path = f"/api/v1/runs/{self.run_id}/artifacts/x"
        self.assertIn(self.s.request("PUT", path, b"some").status, (200, 201))
        self.assertEqual(self.s.get(path).body, b"some")
        self.s.stop()
        self.assertTrue(self.gate.exists())

    def test_others_do_not_wait_for_the_disk(self):
        self.serve_on_hanging_disk()
        resident = lambda: int(re.search(r"VmRSS:\s+(\d+)", pathlib.Path(f"/proc/{self.s.process.pid}/status").read_text()).group(1)) >> 10
        before, connections = resident(), []
        for path, headers in self.places():  # one after the other is written to
            connections.append(self.begin(path, headers, 64 * MIB))
            connections[-1].sock.setblocking(False)
            try:
                while connections[-1].sock.send(bytes(MIB)):
                    time.sleep(0.02)
            except BlockingIOError:
                pass  # nobody takes more
        for _ in range(50):
            self.assertEqual(self.s.get("/api/v1/status", timeout=10).status, 200)
            self.assertEqual(self.s.get(f"/api/v1/runs/{self.run_id}/artifacts", timeout=10).status, 200)  # needs a thread, too
        if not any(kind in str(WINNOW) for kind in ("asan", "tsan")):
            self.assertLess(resident() - before, 8)
        self.gate.unlink()
        for connection in connections:
            connection.close()
        wait(lambda: not self.files(), "the end of the files on their way")

    def test_a_service_that_ends_waits_for_what_is_being_synced(self):
        """What a thread has done is told to parts that are still there: the file is whole or not there."""
        self.serve_on_hanging_disk("--drain-timeout", "0s")
        connection = self.begin(f"/api/v1/runs/{self.run_id}/artifacts/late.bin", {}, 1000)
        connection.send(bytes(1000))
        wait(self.files, "the file on its way")
        self.s.process.send_signal(signal.SIGTERM)
        wait(lambda: not self.s.postgres(), "the end of all else")
        self.assertIsNone(self.s.process.poll())
        self.gate.unlink()
        self.assertEqual(self.s.process.wait(60), 0, self.s.log())
        self.assertEqual([(p.name, p.stat().st_size) for p in self.files()], [("late.bin", 1000)])
        connection.close()

    def test_the_end_does_not_wait_for_an_upload_that_no_disk_takes(self):
        self.serve_on_hanging_disk("--drain-timeout", "0s", "--stop-timeout", "1s")
        connection = self.begin(f"/api/v1/runs/{self.run_id}/artifacts/model/big.bin", {}, 1000)
        connection.send(bytes(1000))
        wait(self.files, "the file on its way")
        self.s.process.send_signal(signal.SIGTERM)
        self.assertEqual(self.s.process.wait(60), 0, self.s.log())
        self.assertTrue(self.gate.exists())
        self.assertIn("a file system that does not answer", self.s.log())
        connection.close()
        self.gate.unlink()
        self.s.start()
        self.nothing_is_visible()


class Uploads(Case):
    def test_others_are_answered_meanwhile(self):
        """An upload that goes on for as long as 20 other clients want their answers; then all of it is there."""
        self.serve()
        block, digest, sent = os.urandom(MIB), hashlib.sha256(), 0
        connection = http.client.HTTPConnection("127.0.0.1", self.s.port, timeout=60)
        connection.putrequest("PUT", f"/api/v1/runs/{self.run_id}/artifacts/endless.bin")
        connection.putheader("Transfer-Encoding", "chunked")
        connection.endheaders()
        failed = []

        def ask():
            other = http.client.HTTPConnection("127.0.0.1", self.s.port, timeout=60)
            for path in ["/api/v1/status", f"/api/v1/runs/{self.run_id}", f"/api/v1/runs/{self.run_id}/artifacts"] * 30:
                other.request("GET", path)
                answer = other.getresponse()
                answer.read()
                if answer.status != 200:
                    failed.append(answer.status)
            other.close()

        others = [threading.Thread(target=ask) for _ in range(20)]
        for other in others:
            other.start()
        while (any(other.is_alive() for other in others) or sent <= 8 * MIB) and sent < 4096 * MIB:
            connection.send(b"%x\r\n%s\r\n" % (len(block), block))
            digest.update(block)
            sent += len(block)
        for other in others:
            other.join()
        connection.send(b"0\r\n\r\n")
        answer = connection.getresponse()
        self.assertEqual((answer.status, failed), (201, []))
        self.assertIn(digest.hexdigest().encode(), answer.read())
        connection.close()
        self.assertEqual((self.s.data / "artifacts/0" / self.run_id / "artifacts/endless.bin").stat().st_size, sent)

    def test_clients_that_leave_leave_nothing(self):
        self.serve()
        for connection in self.begin_all():
            connection.close()
        wait(lambda: not self.files(), "the end of the files on their way")
        self.nothing_is_visible()

    def test_what_is_wrong_is_told_however_long_the_body(self):
        self.serve()
        api = f"/api/v1/runs/{self.run_id}/artifacts"
        self.assertEqual(self.s.request("PUT", f"{api}/dir/file", b"x", unix=False).status, 201)
        admin = {"Authorization": f"Bearer {self.s.token}"}
        archive = io.BytesIO()
        with tarfile.open(fileobj=archive, mode="w", format=tarfile.USTAR_FORMAT) as tar:
            info = tarfile.TarInfo("data.bin")
            info.size = 5 * MIB
            tar.addfile(info, io.BytesIO(os.urandom(info.size)))
        archive = archive.getvalue()
        right = hashlib.sha256(archive).hexdigest()
        for body in (b"small", os.urandom(MIB) * 5):
            self.assertEqual(self.s.request("PUT", f"{api}/dir", body, unix=False).status, 400)  # a directory
            self.assertEqual(self.s.request("PUT", f"{api}/dir/file/below", body, unix=False).status, 400)  # a file on the way
            for digest in (right, hashlib.sha256(body).hexdigest()):  # not its digest; its digest, but no archive
                self.assertEqual(self.s.request("PUT", f"/api/v1/code/{digest}", body, admin, unix=False).status, 400)
        wait(lambda: [p.name for p in self.files()] == ["file"], "the end of those that were refused")
        self.assertEqual(self.s.request("PUT", f"/api/v1/code/{right}", archive, admin, unix=False).status, 201)
        self.assertEqual((self.s.data / "code" / right / "data.bin").stat().st_size, 5 * MIB)

    def test_a_killed_service_shows_nothing_of_what_was_on_its_way(self):
        self.serve()
        connections = self.begin_all()
        self.s.kill()
        self.assertEqual(len(self.files()), len(connections))
        self.s.start()
        self.nothing_is_visible()
        self.assertEqual(self.s.post("/api/v1/admin/gc?older_than=0s").status, 200)
        wait(lambda: not self.files(), "the end of what was left")
        for connection in connections:
            connection.close()

    def test_a_service_killed_between_a_file_and_its_row(self):
        """The file has taken another's place; its row waits for a lock, and is never written."""
        self.serve()
        path = f"/api/v1/runs/{self.run_id}/artifacts/x"
        old, new = b"old", os.urandom(100)
        self.assertIn(self.s.request("PUT", path, old).status, (200, 201))
        lock = subprocess.Popen(self.s.psql(), env=self.s.psql_env(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        lock.stdin.write("begin; select 'locked' from artifact for update;\n")
        lock.stdin.flush()
        self.assertEqual(lock.stdout.readline().strip(), "locked")
        connection = self.begin(path, {}, len(new))
        connection.send(new)
        wait(lambda: self.s.get(path).body == new, "the file in its place")
        wait(lambda: self.s.sql("select count(*) from pg_locks where not granted") != "0", "its row")
        self.s.kill()
        lock.kill()
        lock.communicate()
        connection.close()
        self.s.start()
        wait(lambda: self.s.sql("select encode(sha256, 'hex') from artifact") == hashlib.sha256(new).hexdigest(), "the row of what lies there")
        self.assertEqual(self.s.get(path).body, new)
        self.nothing_is_damaged()

    def upload_in_parts(self, content):
        """All but its end: the request that completes it, where it then lies."""
        api = "/api/2.0/mlflow-artifacts/mpu/{}/0/" + self.run_id + "/artifacts"
        upload = self.s.post(api.format("create"), {"path": "whole", "num_parts": len(content)}).json
        etags = [self.s.request("PUT", path_of(place["url"]), part).headers["ETag"] for place, part in zip(upload["credentials"], content)]
        parts = [{"part_number": i + 1, "etag": etag} for i, etag in enumerate(etags)]
        body = {"path": "whole", "upload_id": upload["upload_id"], "parts": parts}
        return lambda: self.s.post(api.format("complete"), body), f"/api/v1/runs/{self.run_id}/artifacts/whole"

    def hold_back(self, what, table):
        """Statements that do `what` to `table` wait until the holder ends."""
        self.s.sql("create or replace function winnow.wait() returns trigger language plpgsql as 'begin perform pg_advisory_xact_lock(77); return coalesce(new, old); end'")
        self.s.sql(f"create trigger wait before {what} on winnow.{table} for each row execute function winnow.wait()")
        holder = subprocess.Popen(self.s.psql(), env=self.s.psql_env(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        holder.stdin.write("select 'held' from pg_advisory_lock(77);\n")
        holder.stdin.flush()
        self.assertEqual(holder.stdout.readline().strip(), "held")
        return holder

    def somebody_waits(self):
        return self.s.sql("select count(*) from pg_locks where locktype = 'advisory' and objid = 77 and not granted") != "0"

    def in_background(self, ask):
        answers = []

        def run():
            try:
                answers.append(ask())
            except OSError as error:
                answers.append(error)

        thread = threading.Thread(target=run)
        thread.start()
        self.addCleanup(thread.join)
        return thread, answers

    def test_an_upload_in_parts_whose_answer_is_lost(self):
        """Killed when the file is there and its parts could be gone: who asks again gets the first answer."""
        self.serve()
        content = [os.urandom(MIB), os.urandom(MIB), b"end"]
        complete, path = self.upload_in_parts(content)
        holder = self.hold_back("update", "idempotency")
        thread, _ = self.in_background(complete)
        wait(self.somebody_waits, "the answer on its way into the database")
        self.assertEqual(self.s.get(path).body, b"".join(content))
        self.assertEqual(complete().status, 503)  # under way
        time.sleep(0.3)  # for what must not happen meanwhile
        self.s.kill()
        wait(lambda: self.s.postgres() == [], "the end of the database, so that the answer is not kept after all")
        thread.join()
        holder.communicate()
        self.s.start()
        answers = [complete() for _ in range(3)]
        self.assertEqual([(a.status, a.json) for a in answers], [(200, {})] * 3)
        self.assertEqual(self.s.get(path).body, b"".join(content))
        wait(lambda: [p.name for p in self.files()] == ["whole"], "the end of the parts")
        self.nothing_is_damaged()

    def test_an_upload_in_parts_whose_parts_outlive_its_answer(self):
        """Killed when the answer is kept and the parts are still there: the next start removes them."""
        self.serve()
        complete, path = self.upload_in_parts([os.urandom(MIB), b"end"])
        holder = self.hold_back("delete", "artifact")
        thread, _ = self.in_background(complete)
        wait(self.somebody_waits, "the removal of the parts")
        self.assertEqual(self.s.sql("select status from idempotency"), "200")
        self.s.kill()
        wait(lambda: self.s.postgres() == [], "the end of the database, so that the rows are not removed after all")
        thread.join()
        holder.communicate()
        self.s.start()
        self.assertEqual(complete().headers["Idempotent-Replayed"], "true")
        wait(lambda: [p.name for p in self.files()] == ["whole"], "the end of the parts")
        wait(lambda: self.s.sql("select count(*) from doomed") == "0", "the end of the note")
        self.assertEqual(self.s.get(path).status, 200)
        self.nothing_is_damaged()
        again, _ = self.upload_in_parts([b"one", b"two"])
        self.assertEqual(again().status, 200)
        wait(lambda: self.s.sql("select count(*) from doomed") == "0", "the end of the note")

    def test_an_upload_in_parts_whose_database_goes_away(self):
        """Before its row is written, and before its answer is kept: who asks again, in the same life of the service, is answered."""
        self.serve()
        for what, table in (("insert", "artifact"), ("update", "idempotency")):
            with self.subTest(table):
                complete, path = self.upload_in_parts([os.urandom(MIB), b"end"])
                self.s.request("DELETE", path)
                holder = self.hold_back(what, table)
                thread, answers = self.in_background(complete)
                wait(self.somebody_waits, "a statement")
                self.s.kill_postgres()
                holder.communicate()
                thread.join()
                wait(lambda: self.s.get("/api/v1/status").json["database"]["up"] and self.s.get("/api/v1/experiments").status == 200, "the database")
                self.s.sql("drop function winnow.wait() cascade")
                wait(lambda: complete().status == 200, "the answer")
                self.assertEqual(complete().status, 200)
                self.assertEqual(self.s.get(path).status, 200)
                wait(lambda: self.s.sql("select count(*) from artifact where path like '%/whole'") == "1", "its row")
                wait(lambda: self.s.sql("select count(*) from artifact_coming") == "0", "the end of what had begun")
                self.nothing_is_damaged()

    def test_an_upload_in_parts_whose_answer_cannot_be_kept(self):
        """Who asks again is answered, and the request that was first, which is gone, removes nothing any more: gc does."""
        self.serve()
        complete, path = self.upload_in_parts([os.urandom(MIB), b"end"])
        self.s.sql("create function winnow.refuse() returns trigger language plpgsql as 'begin raise exception $$no$$; end'")
        self.s.sql("create trigger refuse before update on winnow.idempotency for each row execute function winnow.refuse()")
        self.assertEqual(complete().status, 200)
        self.s.sql("drop function winnow.refuse() cascade")
        self.s.sql("delete from idempotency")  # as cleaning does of too many
        self.assertEqual([complete().headers["Idempotent-Replayed"] for _ in range(2)], ["true"] * 2)
        self.assertEqual(self.s.sql("select status from idempotency"), "200")
        self.assertEqual(self.s.get(path).status, 200)
        self.nothing_is_damaged()
        self.assertEqual(sum(".winnow-uploads" in p.parts for p in self.files()), 2)

    def nothing_is_damaged(self):
        done = subprocess.run([WINNOW, "admin", "fsck", "--deep"], capture_output=True, text=True, timeout=60,
                              env={**os.environ, "WINNOW_URL": f"unix:{self.s.data}/winnow.sock"})
        self.assertEqual(done.returncode, 0, done)
        self.assertIn("0 damaged", done.stderr)

    def test_a_file_that_must_be_new(self):
        """Told at once where one is there, in the end where one has come meanwhile; and a piece of a file is no file."""
        self.serve()
        new = {"If-None-Match": "*"}
        for path in (f"/api/v1/runs/{self.run_id}/artifacts/a", f"/api/2.0/mlflow-artifacts/artifacts/0/{self.run_id}/artifacts/b"):
            with self.subTest(path):
                before, late = len(self.files()), self.begin(path, new, 2 * MIB)
                late.send(bytes(MIB))
                wait(lambda: len(self.files()) > before, "the file on its way")
                self.assertLess(self.s.request("PUT", path, b"first", new).status, 300)
                self.assertEqual(self.s.request("PUT", path, b"second", new).status, 412)
                late.send(bytes(MIB))
                self.assertEqual(late.getresponse().status, 412)
                late.close()
                part = self.s.request("PUT", path, b"piece", {"Content-Range": "bytes 0-4/10"})
                self.assertEqual(part.status, 400)
                self.assertIn(b"Content-Range", part.body)
                self.assertEqual(self.s.get(path).body, b"first")
                self.assertLess(self.s.request("PUT", path, b"third").status, 300)
                self.assertEqual(self.s.get(path).body, b"third")
        wait(lambda: sorted(p.name for p in self.files()) == ["a", "b"], "the end of those that were refused")
        self.nothing_is_damaged()

    def test_a_file_that_must_be_the_one_it_was(self):
        """By the ETag of its download, or by its SHA-256; of several who saw the same one, one may replace it."""
        self.serve()
        path = f"/api/v1/runs/{self.run_id}/artifacts/a"
        put = lambda content, tag: self.s.request("PUT", path, content, {"If-Match": tag}).status
        by_etag = lambda: self.s.get(path).headers["ETag"]
        by_sha256 = lambda: '"' + hashlib.sha256(self.s.get(path).body).hexdigest() + '"'
        self.assertEqual([put(b"none", tag) for tag in ("*", '"x"', '"' + "0" * 64 + '"')], [412] * 3)
        wait(lambda: not self.files(), "the end of those that were refused")
        self.assertEqual(self.s.request("PUT", path, b"first").status, 201)
        self.assertEqual(put(b"second", "*"), 201)
        for tag_of in (by_etag, by_sha256):
            with self.subTest(tag_of()):
                old = tag_of()
                late = self.begin(path, {"If-Match": old}, 2 * MIB)
                late.send(bytes(MIB))
                wait(lambda: len(self.files()) > 1, "the file on its way")
                self.assertEqual(put(os.urandom(10), '"x", ' + old), 201)
                self.assertEqual([put(b"no", tag) for tag in (old, "W/" + tag_of(), '"x"', "x")], [412] * 4)
                late.send(bytes(MIB))
                self.assertEqual(late.getresponse().status, 412)
                late.close()
                seen = tag_of()
                asked = [self.in_background(lambda: put(os.urandom(1000), seen)) for _ in range(8)]
                for thread, _ in asked:
                    thread.join()
                self.assertEqual(sorted(answers[0] for _, answers in asked), [201] + [412] * 7)
        refused = self.s.request("PUT", path, b"no", {"If-Match": old})
        self.assertEqual(refused.json["code"], "precondition_failed")
        self.assertIn("SHA-256", refused.json["hint"])
        wait(lambda: [p.name for p in self.files()] == ["a"], "the end of those that were refused")
        self.nothing_is_damaged()

    def test_an_upload_tells_its_etag(self):
        """So whoever stored a file may replace it without a look at it; where another came in between, not."""
        self.serve()
        ours, mlflows = f"/api/v1/runs/{self.run_id}/artifacts/a", f"/api/2.0/mlflow-artifacts/artifacts/0/{self.run_id}/artifacts/a"
        tag = self.s.request("PUT", ours, b"first").headers["ETag"]
        for path in (ours, mlflows, ours):
            self.assertEqual(self.s.get(ours).headers["ETag"], tag)
            stored = self.s.request("PUT", path, b"next", {"If-Match": tag})
            self.assertLess(stored.status, 300, stored)
            self.assertEqual(self.s.request("PUT", path, b"no", {"If-Match": tag}).status, 412)
            tag = stored.headers["ETag"]

    def test_a_directory_that_is_removed_during_an_upload(self):
        """What comes after the removal lies there, what came before does not."""
        self.serve()
        api, content = f"/api/v1/runs/{self.run_id}/artifacts", os.urandom(2 * MIB)
        self.assertEqual(self.s.request("PUT", f"{api}/model/sub/old", b"old").status, 201)
        connection = self.begin(f"{api}/model/sub/new", {}, len(content))
        connection.send(content[:MIB])
        wait(lambda: len(self.files()) == 2, "the file on its way")
        self.assertEqual(self.s.request("DELETE", f"{api}/model").status, 204)
        self.assertEqual(self.s.get(api).json["items"], [])
        connection.send(content[MIB:])
        answer = connection.getresponse()
        self.assertEqual(answer.status, 201, answer.read())
        connection.close()
        wait(lambda: [p.name for p in self.files()] == ["new"], "the end of what was removed")
        self.assertEqual(self.s.get(f"{api}/model/sub/new").body, content)
        self.nothing_is_damaged()

    def test_a_part_of_an_upload_that_is_aborted_meanwhile(self):
        self.serve()
        whole = {"path": "x", "num_parts": 1}
        upload = self.s.post(f"/api/2.0/mlflow-artifacts/mpu/create/0/{self.run_id}", whole).json
        connection = self.begin(path_of(upload["credentials"][0]["url"]), {}, 2 * MIB)
        connection.send(os.urandom(MIB))
        wait(self.files, "the file on its way")
        aborted = self.s.post(f"/api/2.0/mlflow-artifacts/mpu/abort/0/{self.run_id}", {**whole, "upload_id": upload["upload_id"]})
        self.assertEqual(aborted.status, 200, aborted)
        connection.send(os.urandom(MIB))
        answer = connection.getresponse()
        self.assertEqual((answer.status, json.loads(answer.read())["message"]), (404, "there is no such upload"))
        connection.close()
        wait(lambda: not self.files(), "the end of what was refused")

    def test_directories_that_are_removed_while_others_write_into_them(self):
        self.serve()
        api, answers = f"/api/v1/runs/{self.run_id}/artifacts", set()

        def write(number):
            for i in range(60):
                answers.add(("PUT", self.s.request("PUT", f"{api}/model/deep/{i % 3}/{number}", b"x" * 1000).status))

        writers = [threading.Thread(target=write, args=(number,)) for number in range(6)]
        for writer in writers:
            writer.start()
        while any(writer.is_alive() for writer in writers):
            answers.add(("DELETE", self.s.request("DELETE", f"{api}/model").status))
        for writer in writers:
            writer.join()
        self.assertEqual(answers, {("PUT", 201), ("DELETE", 204)})
        self.nothing_is_damaged()

    def test_a_service_that_ends_takes_them_away(self):
        self.serve("--drain-timeout", "200ms")
        connections = self.begin_all()
        self.s.process.send_signal(signal.SIGTERM)
        self.assertEqual(self.s.process.wait(60), 0, self.s.log())
        self.assertEqual(self.files(), [])
        for connection in connections:
            connection.close()


class WhoseFiles(Case):
    """A job's token is for the files of its own run, by whatever route, and wherever experiments have their files."""

    def make_run(self, executor=False, experiment="0", **more):
        run = self.s.post("/api/2.0/mlflow/runs/create", {"experiment_id": experiment, **more}).json["run"]["info"]["run_id"]
        if executor:
            self.s.sql(f"update run set executor = 'local' where id = '{run}'")
        return run

    def make_experiment(self, name, location=None):
        return self.s.post("/api/2.0/mlflow/experiments/create", {"name": name, "artifact_location": location}).json["experiment_id"]

    def place(self, run):
        return urllib.parse.urlsplit(self.s.get(f"/api/v1/runs/{run}").json["artifact_uri"]).path.lstrip("/")

    def ways(self, run):
        """Each as (what, function of headers -> answer)."""
        api, proxy, tail = "/api/2.0/mlflow-artifacts", "/api/2.0/mlflow-artifacts/artifacts/" + self.place(run), uuid.uuid4().hex[:6]
        ask = lambda *words: lambda headers: self.s.request(*words, headers, unix=False)  # noqa: E731

        def in_parts(headers):
            upload = self.s.post(f"{api}/mpu/create/{self.place(run)}", {"path": tail, "num_parts": 1}).json
            etag = self.s.request("PUT", path_of(upload["credentials"][0]["url"]), b"part").headers["ETag"]
            body = {"path": tail, "upload_id": upload["upload_id"], "parts": [{"part_number": 1, "etag": etag}]}
            return self.s.post(f"{api}/mpu/complete/{self.place(run)}", body, unix=False, headers=headers)

        yield "PUT /api/v1", ask("PUT", f"/api/v1/runs/{run}/artifacts/v1", b"x")
        yield "PUT mlflow-artifacts", ask("PUT", f"{proxy}/sub/proxied", b"x")
        yield "parts", in_parts
        yield "ajax-api", ask("POST", f"/ajax-api/2.0/mlflow/upload-artifact?run_uuid={run}&path=ajax", b"x")
        yield "DELETE /api/v1", ask("DELETE", f"/api/v1/runs/{run}/artifacts/v1", b"")
        yield "DELETE mlflow-artifacts", ask("DELETE", f"{proxy}/sub", b"")
        yield "DELETE of the run's directory", ask("DELETE", proxy.rsplit("/", 1)[0], b"")

    def check(self, run, headers, allowed, status=403):
        for what, ask in self.ways(run):
            answer = ask(headers)
            with self.subTest(what, run=run):
                self.assertEqual(answer.status < 300 if allowed else answer.status == status, True, answer)

    def experiments(self):
        return ["0", self.make_experiment("plain"), self.make_experiment("deep", "mlflow-artifacts:/team/a/b"),
                self.make_experiment("host", "mlflow-artifacts://somewhere:5000/elsewhere"), self.make_experiment("top", "mlflow-artifacts:/")]

    def shared(self, headers):
        """What holds files of several runs stays."""
        for place in ("0", "team", "team/a/b", "elsewhere", "0/models"):
            with self.subTest(place):
                answer = self.s.request("DELETE", f"/api/2.0/mlflow-artifacts/artifacts/{place}", b"", headers, unix=False)
                self.assertEqual(answer.status, 403, answer)

    def logged_model(self, run):
        made = self.s.post("/api/2.0/mlflow/logged-models", {"experiment_id": "0", "name": "m", "source_run_id": run})
        return made.json["model"]["info"]["artifact_uri"].split(":/", 1)[1].lstrip("/")

    def try_all(self, unowned):
        mine, other, ended = self.make_run(True), self.make_run(True), self.make_run(True)
        headers = self.s.run_token(mine)
        for experiment in self.experiments():
            own, foreign = self.make_run(True, experiment), self.make_run(True, experiment)
            self.check(own, self.s.run_token(own), True)
            self.check(foreign, headers, False)
            self.check(foreign, {}, False, 403 if unowned else 401)
            self.assertEqual(self.s.request("PUT", f"/api/v1/runs/{foreign}/artifacts/kept", b"x").status, 201)
            self.check(self.make_run(False, experiment), headers, unowned)
            self.check(self.make_run(False, experiment, tags=[{"key": "mlflow.parentRunId", "value": mine}]), headers, True)
        self.s.sql(f"update run set attempt = 2 where id = '{ended}'")
        self.check(ended, self.s.run_token(ended), False, 409)
        self.check(ended, self.s.run_token(ended, 2), True)
        for run, allowed in ((mine, True), (other, False)):
            for method, name in (("PUT", "/weights"), ("DELETE", "/weights"), ("DELETE", "")):
                place = self.logged_model(run) + name
                answer = self.s.request(method, f"/api/2.0/mlflow-artifacts/artifacts/{place}", b"x" if method == "PUT" else b"", headers, unix=False)
                self.assertEqual(answer.status, 200 if allowed else 403, answer)
        self.s.request("PUT", f"/api/2.0/mlflow-artifacts/artifacts/{self.logged_model(other)}/weights", b"x")
        self.shared(headers)
        # Another run's id in a name does not make it that run's.
        answer = self.s.request("PUT", f"/api/v1/runs/{mine}/artifacts/{other}/file", b"x", headers, unix=False)
        self.assertEqual(answer.status, 201)
        for method in ("PUT", "DELETE"):
            answer = self.s.request(method, "/api/2.0/mlflow-artifacts/artifacts/nobodys/file", b"x" if method == "PUT" else b"", headers, unix=False)
            self.assertEqual(answer.status, 200 if unowned else 403, answer)

    def test_on_loopback(self):
        """What needs no credential needs none with one; but what executors run is their jobs' alone."""
        self.serve()
        self.try_all(True)
        self.shared({})

    def test_where_credentials_are_required(self):
        self.serve("--auth", "required")
        self.try_all(False)


if __name__ == "__main__":
    unittest.main(verbosity=1)
