#!/usr/bin/env python3
"""What may happen to a service, done to a real one: databases that are away, full, stopped or somebody else's, and clients that mean harm."""
import os, pathlib, signal, subprocess, sys, tempfile, time, unittest

WINNOW = pathlib.Path(sys.argv.pop(1)).resolve()
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from cluster import Cluster  # noqa: E402
from service import Service, wait  # noqa: E402

LONG = bool(os.environ.get("WINNOW_TEST_LONG"))


class GivenDatabase(unittest.TestCase):
    """With --db, each test in a database of its own."""

    @classmethod
    def setUpClass(cls):
        cls.cluster = Cluster(["max_connections=12", "superuser_reserved_connections=0", "authentication_timeout=600"]).start()

    @classmethod
    def tearDownClass(cls):
        cls.cluster.close()

    def database(self):
        name = self.id().rsplit(".", 1)[1][:60]
        self.cluster.sql(f"create database {name}")
        return name

    def service(self, database, **kw):
        s = Service(WINNOW, arguments=["--db", self.cluster.url(database)], start=False, **kw)
        self.addCleanup(s.close)
        return s

    def test_a_server_that_is_away_at_the_start(self):
        database = self.database()
        s = self.service(database).start()
        token = s.post("/api/v1/tokens", {"name": "kept", "scopes": ["write"]}).json["token"]
        s.stop()
        self.cluster.stop()
        try:
            s.start(state="degraded")
            self.assertEqual(s.get("/health", unix=False).body, b"OK")
            self.assertEqual(s.get("/api/v1/status", unix=False).json["state"], "degraded")
            # A token that cannot be looked up yet is no wrong token: a client must not give up.
            for headers in ({"Authorization": f"Bearer {token}"}, {"Cookie": f"winnow_session={token}"}):
                answer = s.get("/api/v1/whoami", unix=False, headers=headers)
                self.assertEqual((answer.status, answer.headers["Retry-After"]), (503, "1"), answer)
                self.assertEqual(s.get("/health", unix=False, headers=headers).status, 200)
            admin = {"Authorization": f"Bearer {s.token}"}
            self.assertEqual(s.get("/api/v1/whoami", unix=False, headers=admin).json["scopes"], ["admin"])
        finally:
            self.cluster.start()
        wait(lambda: s.get("/api/v1/status").json["state"] == "ok", "recovery")
        self.assertEqual(s.get("/api/v1/whoami", unix=False, headers={"Authorization": f"Bearer {token}"}).json["scopes"], ["write"])
        self.assertEqual(s.get("/api/v1/whoami", unix=False, headers={"Authorization": "Bearer wnw_wrong"}).status, 401)
        s.stop()

    def test_no_connection_left_at_the_start_and_later(self):
        s = self.service(self.database())
        held = []
        try:
            while slot := self.cluster.hold_slot():
                held.append(slot)
            s.start(state="degraded")
            time.sleep(2)
            self.assertIsNone(s.process.poll(), s.log())
            # One place is too few; to be ended then is no failure.
            held.pop().close()
            wait(lambda: "migrations applied" in s.log(), "the schema")
            time.sleep(0.5)
            s.stop()
            s.start(state="degraded")
            # One at a time is let go, so that some parts of the service find a place and others do not.
            while held:
                held.pop().close()
                time.sleep(0.5)
            wait(lambda: s.get("/api/v1/status").json["state"] == "ok", "the start")
            self.cluster_loses_its_clients()
            while slot := self.cluster.hold_slot():
                held.append(slot)
            self.assertEqual(s.get("/health").status, 200)
        finally:
            for slot in held:
                slot.close()
        wait(lambda: s.get("/api/v1/status").json["state"] == "ok" and s.post("/api/v1/tokens", {"name": "again"}).status == 201, "recovery")
        s.stop()

    def cluster_loses_its_clients(self):
        """The server's processes that serve somebody end, as when an administrator ends them."""
        self.cluster.sql("select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'winnow'")

    def test_a_database_that_another_service_holds(self):
        database = self.database()
        first = self.service(database).start()
        second = self.service(database)
        second.spawn()
        self.assertNotEqual(second.process.wait(60), 0)
        self.assertIn(f"another winnow serves this database: process {first.process.pid} on ", second.log())
        self.assertIn(str(first.data), second.log())
        self.assertEqual(first.post("/api/v1/tokens", {"name": "still ours"}).status, 201)
        first.stop()

    def test_a_migration_that_was_applied_by_half(self):
        database = self.database()
        s = self.service(database)
        # The second migration finds a table of its own in the way: the first stays, nothing of the second does.
        s.start()
        s.stop()
        tables = self.tables(database)
        self.cluster.sql(f"drop database {database}")
        self.cluster.sql(f"create database {database}")
        self.cluster.sql("create schema winnow; create table winnow.experiment (mine int)", database)
        s.spawn()
        self.assertNotEqual(s.process.wait(60), 0)
        self.assertIn("migration 0002", s.log())
        self.assertEqual(self.cluster.sql("select name from winnow.migration", database).splitlines()[1:], [])
        self.cluster.sql("drop table winnow.experiment", database)
        s.start()
        self.assertEqual(self.tables(database), tables)
        s.stop()

    def tables(self, database):
        return self.cluster.sql("select relname from pg_class where relnamespace = 'winnow'::regnamespace order by 1", database)

    def test_killed_while_migrating(self):
        database = self.database()
        s = self.service(database)
        for i in range(40 if LONG else 5):
            s.spawn()
            time.sleep(0.02 + 0.04 * (i % 10))
            s.kill()
        s.start()
        self.assertEqual(s.post("/api/v1/tokens", {"name": "x"}).status, 201)
        s.stop()

    def test_ended_while_it_waits_for_another_migration(self):
        """SIGTERM is heard although a thread waits inside the database."""
        database = self.database()
        s = self.service(database)
        s.start()
        s.stop()
        blocker = subprocess.Popen(["psql", "-XAtq", "-d", self.cluster.url(database), "-c", "begin; lock table winnow.migration; select pg_sleep(300)"],
                                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            wait(lambda: "t" in self.cluster.sql("select granted from pg_locks where relation = 'winnow.migration'::regclass", database), "the lock")
            s.start(state="degraded")
            time.sleep(0.5)
            s.stop(timeout=20)
        finally:
            blocker.kill()
            blocker.wait()


def children(pid):
    return [int(one) for one in pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


if __name__ == "__main__":
    unittest.main(verbosity=2)
