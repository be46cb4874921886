#!/usr/bin/env python3
"""Tracking on a bad day, from outside; full counts with WINNOW_TEST_LONG=1. Where each promise about it is tested:

| promise | test |
| --- | --- |
| kill -9 of the service under writers: nothing acknowledged is lost, nothing is there twice | e2e/test_service.py (kill_leaves...), e2e/test_tracking_model.py |
| kill -9 and stop of Postgres: as above, and writers go on by themselves | pg/test_crash.c, pg/test_metric_faults.c (server_dies), e2e/test_service.py (postgres_killed...) |
| the same during a seal | pg/test_metric_faults.c (server_dies, after_a_crash), fsck at the end |
| the connection that commits for many is lost in mid commit | here |
| a full disk | e2e/test_bad_days.py (a_full_disk) |
| batches delivered again and out of order | pg/test_metrics.c (against_the_model, many_writers) |
| late and odd steps, NaN, infinities, -0.0: bit for bit | pg/test_metrics.c (against_the_model), unit/storage/test_chunk_code.c |
| thousands of connections that idle, descriptors that run out | e2e/test_bad_days.py (descriptors_run_out), bench/http |
| readers that hardly read: they do not hold up writers, cost little and are dropped | here |
| pages of rows that are heavy: whole, and at the price of a row | here |
| charts against all points | pg/test_metrics.c (against_the_model), unit/storage/test_chunk_buckets.c |
| a flipped bit | pg/test_metric_faults.c (a_flipped_bit) |
| HTTP that is ambiguous or broken | e2e/test_bad_days.py, fuzz_http_*, unit/web/test_http_head.c |
| JSON that is a weapon | e2e/test_bad_days.py (json_that_is_a_weapon), fuzz_json, fuzz_json_pull |
| filters, cursors, packed forms | fuzz_filter, fuzz_packed, fuzz_chunk |
| random operations against a model, with kills | e2e/test_tracking_model.py |
| the same requests to MLflow's own server | differential/run.py |

Not tested: a power cut that loses what was written and not synced."""
import concurrent.futures, contextlib, http.client, json, os, pathlib, random, re, selectors, signal, socket, statistics, sys, threading, time, unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "support"))
from service import Service, wait  # noqa: E402

PROGRAM = sys.argv.pop(1)
LONG = os.environ.get("WINNOW_TEST_LONG") == "1"
API = "/api/2.0/mlflow/"


class Client:
    """A connection that asks again until it is told what happened."""

    def __init__(self, service):
        self.service, self.connection, self.repeats = service, None, 0

    def close(self):
        if self.connection:
            self.connection.close()
        self.connection = None

    def post(self, path, body):
        data, end = json.dumps(body), time.time() + 120
        while True:
            try:
                if self.connection is None:
                    self.connection = http.client.HTTPConnection("127.0.0.1", self.service.port, timeout=60)
                self.connection.request("POST", API + path, data, {"Content-Type": "application/json"})
                answer = self.connection.getresponse()
                text = answer.read()
                if answer.status == 200:
                    return json.loads(text)
                if answer.status not in (429, 503):
                    raise AssertionError(f"{path}: {answer.status} {text[:300]}")
            except (OSError, http.client.HTTPException):
                self.close()
            if time.time() > end:
                raise AssertionError(f"{path} did not come through")
            self.repeats += 1
            time.sleep(0.05)


class Tracking(unittest.TestCase):
    def setUp(self):
        self.random = random.Random(os.environ.get("WINNOW_TEST_SEED", "7"))
        self.s = Service(PROGRAM, arguments=["--log-level", "warn"])
        self.addCleanup(self.s.close)

    def client(self):
        client = Client(self.s)
        self.addCleanup(client.close)
        return client

    def new_run(self):
        return self.client().post("runs/create", {})["run"]["info"]["run_id"]

    def history(self, run, key):
        answer = self.s.get(f"{API}metrics/get-history?run_id={run}&metric_key={key}", timeout=120)
        return [(m["step"], m["value"]) for m in answer.json["metrics"]]

    # ---- the connection that commits for many ----

    def write(self, writer, runs, stop, results):
        client, step = self.client(), 0
        while not stop.is_set():
            batch = range(step, step + 20)
            step += 20
            for run in (runs[writer], runs[-1]):  # one of its own, one that all share
                client.post("runs/log-batch", {"run_id": run, "metrics": [{"key": f"w{writer}", "value": i, "timestamp": i, "step": i} for i in batch]})
        results[writer] = (step, client.repeats)

    def committing(self):
        """A backend of Postgres that is storing points."""
        found = self.s.sql("select pid from pg_stat_activity where backend_type = 'client backend' and state = 'active' and pid <> pg_backend_pid() "
                           "and query ilike '%metric_tail%' order by (wait_event in ('WALSync', 'WALWrite')) desc nulls last limit 1")
        return int(found) if found else None

    def test_the_connection_that_commits_for_many_is_lost(self):
        writers, losses = 8, 40 if LONG else 4
        runs = [self.new_run() for _ in range(writers + 1)]
        stop, results, lost = threading.Event(), {}, 0
        with concurrent.futures.ThreadPoolExecutor(writers) as pool:
            tasks = [pool.submit(self.write, writer, runs, stop, results) for writer in range(writers)]
            try:
                end = time.time() + (1200 if LONG else 120)
                while lost < losses and time.time() < end:
                    try:
                        victim = self.committing()
                        if victim and lost % 2:
                            self.s.sql(f"select pg_terminate_backend({victim})")  # that one alone
                        elif victim:
                            os.kill(victim, signal.SIGKILL)  # Postgres ends all others, too, and recovers
                        lost += victim is not None
                    except (AssertionError, ProcessLookupError):  # it recovers, or was done already
                        pass
                    time.sleep(self.random.uniform(0.05, 0.4))
            finally:
                stop.set()
            for task in tasks:
                task.result()
        self.assertEqual(lost, losses)
        self.assertGreater(sum(repeats for _, repeats in results.values()), 0, "nobody noticed")
        wait(lambda: self.s.get("/api/v1/status").json["state"] == "ok", "recovery")
        for writer, (steps, _) in results.items():
            for run in (runs[writer], runs[-1]):
                self.assertEqual(self.history(run, f"w{writer}"), [(i, float(i)) for i in range(steps)], f"writer {writer}")
        summary = [json.loads(line) for line in self.s.post("/api/v1/admin/fsck", timeout=120).body.splitlines()][-1]
        self.assertEqual(summary.get("damages", summary.get("problems", 0)), 0, summary)

    # ---- readers that hardly read ----

    def resident(self):
        status = pathlib.Path(f"/proc/{self.s.process.pid}/status").read_text()
        return int(status.split("VmRSS:")[1].split()[0]) * 1024

    def connections(self):
        return int(float(re.search(r"^winnow_http_connections (\S+)", self.s.get("/metrics").body.decode(), re.M).group(1)))

    def latencies(self, client, run, count):
        times = []
        for i in range(count):
            at = time.monotonic()
            client.post("runs/log-metric", {"run_id": run, "key": "ping", "value": i, "timestamp": i, "step": i})
            times.append(time.monotonic() - at)
        return statistics.median(times), sorted(times)[int(len(times) * 0.99)]

    def hardly_reads(self, path):
        reader = socket.socket()
        reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        reader.connect(("127.0.0.1", self.s.port))
        reader.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        reader.setblocking(False)
        self.addCleanup(reader.close)
        return reader

    def ask(self, path, body=None):
        """The answer, and whether it was written piece by piece."""
        answer = self.s.post(path, body, timeout=120) if body is not None else self.s.get(path, timeout=120)
        self.assertEqual(answer.status, 200, answer)
        return answer.json, answer.headers.get("Transfer-Encoding") == "chunked"

    def peak(self):
        text = pathlib.Path(f"/proc/{self.s.process.pid}/status").read_text()
        return int(re.search(r"VmHWM:\s+(\d+)", text)[1]) * 1024

    def test_pages_of_wide_runs(self):
        """Rows as tens of thousands of metrics leave them: 60 MB of JSON that was asked for in one page."""
        count, wide = 40, 12000
        runs = [self.new_run() for _ in range(count)]
        light = self.client().post("runs/create", {"experiment_id": "0", "tags": [{"key": "is", "value": "light"}]})["run"]["info"]["run_id"]
        self.client().post("runs/log-metric", {"run_id": light, "key": "order", "value": 1e9, "timestamp": 1})
        for i, run in enumerate(runs):
            self.client().post("runs/log-metric", {"run_id": run, "key": "order", "value": i, "timestamp": 1})
        self.ask(f"{API}runs/search", {"experiment_ids": ["0"]})  # their last values are there
        self.s.sql(f"update run set metrics = metrics || (select jsonb_object_agg('layer/' || i || '/norm', random() || ' ' || i || ' 1700000000000') "
                   f"from generate_series(1, {wide}) i) where id <> '{light}'")
        wait(lambda: self.s.sql("select count(*) from run_unindexed") == "0", "the index")
        before = self.peak()
        for order in (["metrics.order DESC"], ["metrics.order"], ["attributes.run_id"], ["metrics.order DESC", "tags.is"]):
            wanted = {"metrics.order DESC": [light, *reversed(runs)], "metrics.order": [*runs, light], "attributes.run_id": sorted([*runs, light])}[order[0]]
            body, streamed = self.ask(f"{API}runs/search", {"experiment_ids": ["0"], "max_results": count, "order_by": order})
            self.assertTrue(streamed)
            self.assertEqual([run["info"]["run_id"] for run in body["runs"]], wanted[:count])
            self.assertEqual({len(run["data"]["metrics"]) for run in body["runs"] if run["info"]["run_id"] != light}, {wide + 1})
            rest, streamed = self.ask(f"{API}runs/search", {"experiment_ids": ["0"], "max_results": count, "order_by": order, "page_token": body["next_page_token"]})
            self.assertEqual([run["info"]["run_id"] for run in rest["runs"]], wanted[count:])
            self.assertNotIn("next_page_token", rest)
        body, streamed = self.ask("/api/v1/runs/search", {"order_by": ["metrics.order"], "limit": count + 1})
        self.assertTrue(streamed)
        self.assertEqual(([run["id"] for run in body["items"]], body["next"]), ([*runs, light], None))
        body, streamed = self.ask("/api/v1/runs/search", {"order_by": ["metrics.order"], "limit": count, "columns": ["id", "metrics.order"]})
        self.assertTrue(streamed and body["next"])
        self.assertEqual([run["metrics"]["order"]["last"] for run in body["items"]], list(range(count)))
        body, streamed = self.ask("/api/v1/runs/search", {"filter": "tags.is = 'light'"})
        self.assertFalse(streamed)
        self.assertEqual([run["id"] for run in body["items"]], [light])
        self.assertLess(self.peak() - before, 48 << 20)

    def computed(self):
        """For how many seconds the service's loop was on a processor, and all of its threads: however busy the machine is."""
        threads = {}
        for path in list(pathlib.Path(f"/proc/{self.s.process.pid}/task").iterdir()):
            with contextlib.suppress(OSError):  # some threads are short-lived
                threads[int(path.name)] = int((path / "schedstat").read_text().split()[0]) / 1e9
        return threads[self.s.process.pid], sum(threads.values())

    def test_a_comparison_of_wide_runs_keeps_nobody_waiting(self):
        runs = [self.new_run() for _ in range(12)]
        self.ask(f"{API}runs/search", {"experiment_ids": ["0"]})
        self.s.sql("update run set metrics = (select jsonb_object_agg('layer/' || i || '/norm', random() || ' ' || i || ' 1700000000000') from generate_series(1, 12000) i)")
        # We may ask late and the loop goes on meanwhile: that adds to what is seen, and takes nothing from a turn that is long. So the least counts.
        for _ in range(10):
            longest, whole = self.compare(runs)
            if longest < whole / 4:
                return
        self.fail("made in one turn of the loop it is more than half")

    def compare(self, runs):
        compared, times = [], [self.computed()]
        thread = threading.Thread(target=lambda: compared.append(self.s.exchange("POST", "/api/v1/runs/compare", {"runs": runs})))
        thread.start()
        while thread.is_alive():
            self.assertEqual(self.s.get("/health").status, 200)
            times.append(self.computed())
        thread.join()
        self.assertEqual((compared[0].status, len(compared[0].json["metrics"])), (200, 12000))
        longest = max(after[0] - before[0] for before, after in zip(times, times[1:]))
        whole = times[-1][1] - times[0][1]
        print(f"compare: {whole:.3f} s computed, between two answers of the loop at most {longest:.3f} s", file=sys.stderr)
        return longest, whole

    def test_pages_that_nobody_reads_hold_nobody_up(self):
        """Ten readers of heavy pages take nothing; what needs a session of the database, as other heavy work does, is served all the same."""
        runs = [self.new_run() for _ in range(40)]
        self.s.sql(f"update run set metrics = metrics || (select jsonb_object_agg('layer/' || i || '/norm', random() || ' ' || i || ' 1700000000000') "
                   f"from generate_series(1, 12000) i) where id = any ('{{{','.join(runs)}}}')")
        search = json.dumps({"experiment_ids": ["0"], "max_results": 1000}).encode()
        for _ in range(10):
            reader = socket.socket()
            reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            reader.connect(("127.0.0.1", self.s.port))
            self.addCleanup(reader.close)
            reader.sendall(b"POST %sruns/search HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" %
                           (API.encode(), len(search), search))
            self.assertEqual(reader.recv(12), b"HTTP/1.1 200")
        body = {"experiment_ids": ["0"], "max_results": 3000}  # a stream, which takes a session
        answer = self.s.post(f"{API}runs/search", body, timeout=15)
        self.assertLessEqual(set(runs), {run["info"]["run_id"] for run in answer.json["runs"]})

    def test_what_goes_while_its_page_is_read(self):
        """A reader has begun with a page; what is deleted then, and it has not got yet, is left out."""
        experiment = self.client().post("experiments/create", {"name": "going"})["experiment_id"]
        for i in range(40):
            self.ask("/api/2.0/mlflow/logged-models", {"experiment_id": experiment, "name": f"going-{i}"})
        self.s.sql("update logged_model set created = 1700000000000 + split_part(name, '-', 2)::bigint, tags = (select jsonb_object_agg('k' || i, md5(random()::text)) "
                   f"from generate_series(1, 9000) i) where experiment_id = {experiment}")
        reader = socket.socket()
        reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        reader.connect(("127.0.0.1", self.s.port))
        page = http.client.HTTPConnection("127.0.0.1", self.s.port, timeout=60)
        page.sock = reader
        self.addCleanup(page.close)
        page.request("POST", f"{API}logged-models/search", json.dumps({"experiment_ids": [experiment], "max_results": 50}), {"Content-Type": "application/json"})
        answer = page.getresponse()
        self.s.sql(f"update logged_model set deleted_at = 1 where experiment_id = {experiment}")
        found = [model["info"]["name"] for model in json.loads(answer.read())["models"]]
        self.assertEqual(found, [f"going-{39 - i}" for i in range(len(found))])  # the newest first
        self.assertTrue(0 < len(found) < 40, found)

    def test_pages_of_other_heavy_rows(self):
        """Of experiments, logged models, models and versions: as many as were asked for, or a shorter page and the rest."""
        def every(path, name, token, argument, wanted, body=None):
            found, cursor, any_streamed, pages = [], None, False, 0
            while pages == 0 or cursor:
                more = {argument: cursor} if cursor else {}
                query = "&".join(f"{key}={value}" for key, value in more.items())
                page, streamed = self.ask(path, {**body, **more}) if body is not None else self.ask(path + ("&" + query if query else ""))
                found, cursor, any_streamed, pages = found + page[name], page.get(token), any_streamed or streamed, pages + 1
            self.assertEqual(len(found), wanted)
            return found, any_streamed, pages

        heavy = "(select jsonb_object_agg('k' || i, md5(random()::text)) from generate_series(1, 6000) i)"
        client, before = self.client(), self.peak()
        for i in range(30):
            client.post("experiments/create", {"name": f"e{i}"})
            client.post("registered-models/create", {"name": f"m{i}"})
            self.ask("/api/2.0/mlflow/logged-models", {"experiment_id": "0", "name": f"l{i}"})
            client.post("model-versions/create", {"name": "m0", "source": f"mlflow-artifacts:/0/{i}"})
        self.s.sql(f"update experiment set tags = {heavy} where id <> 0; update registered_model set tags = {heavy}; update logged_model set tags = {heavy}; "
                   f"update model_version set metrics = '{{}}', tags = {heavy}")
        found, streamed, pages = every(f"{API}experiments/search", "experiments", "next_page_token", "page_token", 31, {"max_results": 1000})
        self.assertEqual((streamed, pages), (True, 1))
        found, _, pages = every("/api/v1/experiments?limit=1000", "items", "next", "cursor", 31)
        self.assertGreater(pages, 1)
        self.assertEqual(len({experiment["id"] for experiment in found}), 31)
        found, streamed, pages = every(f"{API}logged-models/search", "models", "next_page_token", "page_token", 30, {"experiment_ids": ["0"], "max_results": 50})
        self.assertEqual((streamed, pages), (True, 1))
        found, _, pages = every(f"{API}registered-models/search?max_results=1000", "registered_models", "next_page_token", "page_token", 30)
        self.assertGreater(pages, 1)
        self.assertEqual(len({model["name"] for model in found}), 30)
        found, streamed, pages = every("/api/v1/models?limit=1000", "items", "next", "cursor", 30)
        self.assertEqual((streamed, pages), (True, 1))
        found, streamed, pages = every(f"{API}model-versions/search?max_results=1000", "model_versions", "next_page_token", "page_token", 30)
        self.assertEqual((streamed, pages), (True, 1))
        found, streamed, pages = every("/api/v1/models/m0/versions?limit=20", "items", "next", "cursor", 30)
        self.assertEqual([version["version"] for version in found], list(range(30, 0, -1)))
        self.assertTrue(streamed)
        self.assertLess(self.peak() - before, 48 << 20)

    def test_readers_that_hardly_read(self):
        readers, pings = (500, 2000) if LONG else (100, 200)
        large, small, client = self.new_run(), self.new_run(), self.client()
        for first in range(0, 300000, 1000):
            client.post("runs/log-batch", {"run_id": large, "metrics": [{"key": "large", "value": i / 7, "timestamp": i, "step": i} for i in range(first, first + 1000)]})
        wait(lambda: self.s.sql(f"select count(*) from metric_tail where fresh and run = '{large}'") == "0", "the seal")
        self.latencies(client, small, pings // 4)
        quiet = self.latencies(client, small, pings)
        memory, connections = self.resident(), self.connections()
        whole = (f"/api/v1/series?run={large}&key=large&raw=true", f"{API}metrics/get-history?run_id={large}&metric_key=large")
        sockets = [self.hardly_reads(whole[i % 2]) for i in range(readers)]
        first_bytes = selectors.DefaultSelector()
        for reader in sockets:
            first_bytes.register(reader, selectors.EVENT_READ)
        begun, end = set(), time.time() + 60
        while len(begun) < readers and time.time() < end:
            for key, _ in first_bytes.select(1):
                if key.fileobj.recv(12) == b"HTTP/1.1 200":
                    begun.add(key.fileobj)
                first_bytes.unregister(key.fileobj)
        self.assertEqual(len(begun), readers)
        stop = threading.Event()

        def a_byte_a_second():
            while not stop.wait(1):
                for reader in sockets:
                    try:
                        reader.recv(1)
                    except OSError:
                        pass

        trickle = threading.Thread(target=a_byte_a_second)
        trickle.start()
        try:
            busy = self.latencies(client, small, pings)
            grown = self.resident() - memory
        finally:
            stop.set()
            trickle.join()
        print(f"{readers} slow readers: {grown // readers} bytes each; log-metric median {quiet[0] * 1e3:.1f} -> {busy[0] * 1e3:.1f} ms, "
              f"p99 {quiet[1] * 1e3:.1f} -> {busy[1] * 1e3:.1f} ms", file=sys.stderr)
        self.assertLess(grown, readers * 384 * 1024)  # some 165 KiB wait to be sent, and a few have points at hand
        self.assertGreaterEqual(self.connections(), readers)
        wait(lambda: self.connections() <= connections, "the end of those who do not read", 60)
        self.assertEqual(len(self.history(small, "ping")), max(pings, pings // 4))


if __name__ == "__main__":
    unittest.main(verbosity=2)
