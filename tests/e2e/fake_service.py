"""A service in memory that speaks the documented REST shapes, for tests of the command line. Faults are set from the test."""
import hashlib
import json
import os
import re
import socket
import socketserver
import threading
import time
import urllib.parse
from http.server import BaseHTTPRequestHandler

NOW = int(time.time() * 1000)
RUN_A = "0193b2f3c4d5aaaa0193b2f3c4d5e601"
RUN_B = "0193b2f3c4d5bbbb0193b2f3c4d5e602"
RUN_C = "0293b2f3c4d5cccc0193b2f3c4d5e603"
SWEEP = "0193b2f000000000000000000000f001"
SWEEP_2 = "0193b2f000000000000000000000f002"
EVIL = "evil\x1b]0;pwned\x07\x1b[2J\u202ename\u009b31m"


def run_object(run_id, name, **more):
    run = {
        "id": run_id, "name": name, "experiment_id": "1", "sweep_id": SWEEP, "trial": 12, "state": "FINISHED", "state_reason": None,
        "exit_code": 0, "signal": None, "attempt": 1, "attempts": [], "command": ["python3", "train.py"],
        "params": {"lr": "0.01", "optimizer": "adam"}, "tags": {"team": "vision"},
        "metrics": {"val_accuracy": {"last": 0.987654321, "step": 12, "min": 0.1, "max": 0.99, "count": 12},
                    "loss": {"last": "NaN", "step": 12, "min": 0.1, "max": "Infinity", "count": 12}},
        "artifact_uri": "mlflow-artifacts:/1", "node": "gpu1", "slots": 1, "created": NOW - 60000, "started": NOW - 50000,
        "ended": NOW - 10000, "heartbeat": None, "deleted": None,
    }
    run.update(more)
    return run


def sweep_object(sweep_id, name, **more):
    sweep = {
        "id": sweep_id, "name": name, "experiment_id": "1", "state": "RUNNING", "state_reason": None,
        "metric": {"name": "val_accuracy", "goal": "maximize", "target": None}, "method": "bayes",
        "sampler": {"type": "auto", "seed": 7, "chosen": "tpe", "why": "mixed space"}, "run_cap": 60, "max_parallel": 4,
        "progress": {"trials": 20, "queued": 1, "running": 2, "finished": 10, "failed": 1, "stopped": 6, "killed": 0, "lost": 0},
        "best": {"run_id": RUN_A, "number": 12, "value": 0.987, "step": 12, "params": {"lr": 0.01}},
        "slot_seconds": {"used": 3600, "saved": 1800}, "created": NOW - 100000, "started": NOW - 90000, "ended": None,
        "eta": NOW + 600000, "spec": {}, "warnings": ["no run_cap"],
    }
    sweep.update(more)
    return sweep


def trial_object(number, run_id):
    return {"run_id": run_id, "number": number, "sweep_id": SWEEP, "state": "STOPPED", "state_reason": "rank 5 of 9 at rung 3", "attempt": 1,
            "params": {"lr": 0.01, "optimizer": "adam"}, "value": 0.9, "value_step": 3, "best_value": 0.91, "last": {"step": 3, "value": 0.9},
            "stop": {"rule": "asha", "step": 3, "reason": "rank 5 of 9 at rung 3"}, "node": "gpu1", "slots": [0],
            "created": NOW, "started": NOW, "ended": NOW}


def version_object(version):
    return {"name": "mnist", "version": version, "stage": "None", "aliases": ["champion"] if version == 2 else [], "tags": {},
            "run_id": RUN_A, "sweep_id": SWEEP, "source": "runs:/x", "path": "model", "digest": "ab" * 32, "size": 200013,
            "metrics": {"val_accuracy": 0.98}, "description": "", "state": "READY", "created": NOW, "updated": NOW}


class Service:
    def __init__(self):
        self.lock = threading.Lock()
        self.reset()

    def reset(self):
        self.seen = []  # (method, path, headers, body)
        self.faults = []  # dicts: method, path (regex), status, body, headers, times
        self.runs = {RUN_A: run_object(RUN_A, "first"), RUN_B: run_object(RUN_B, "second", state="FAILED", exit_code=3),
                     RUN_C: run_object(RUN_C, EVIL)}
        self.code = {}
        self.sweeps = {SWEEP: sweep_object(SWEEP, "mnist"), SWEEP_2: sweep_object(SWEEP_2, "other")}
        self.files = {"config.json": b'{"a": 1}', "model/weights.npz": os.urandom(200000), "model/sub/deep.txt": b"deep\n"}
        self.listing = None  # replaces the listing of artifacts
        self.damage = False
        self.far_experiments = []  # beyond those that a list shows: they are found by id and by filter
        self.meanwhile = {}  # name of a file: what it becomes each time that somebody fetches it (None: it is removed)
        self.before_body = lambda: None  # called when the head of a PUT is there
        self.log = b"".join(b"line %d acc=0.%d\n" % (i, i) for i in range(100))
        self.points = b"x,loss,1,,0,0.5\n"  # of any series
        self.log_breaks = 0  # a follow is cut this often before its end
        self.log_hangs = False
        self.events = []  # bytes of the event stream, one piece after the other; None breaks the connection
        self.finish_after_events = False
        self.last_event_ids = []

    def fault(self, status, method=".*", path=".*", body=None, headers=None, times=1000):
        if body is None:
            body = {"status": status, "code": None, "title": "title %d" % status, "detail": "detail %d" % status, "hint": None,
                    "errors": [], "request_id": "req-%d" % status}
        self.faults.append({"status": status, "method": method, "path": path, "body": body, "headers": headers or {}, "times": times})


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    service = None

    def log_message(self, *args):
        pass

    def address_string(self):
        return "test"

    def reply(self, status, body, content_type="application/json", headers=None):
        if isinstance(body, (dict, list)):
            body = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("X-Request-Id", "req-%d" % status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def problem(self, status, code, detail, hint=None):
        self.reply(status, {"status": status, "code": code, "title": detail, "detail": detail, "hint": hint, "errors": [],
                            "request_id": "req-%d" % status}, "application/problem+json")

    def handle_expect_100(self):
        self.service.before_body()
        return super().handle_expect_100()

    def read_body(self):
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            body = b""
            while True:
                size = int(self.rfile.readline().split(b";")[0], 16)
                piece = self.rfile.read(size)
                self.rfile.readline()
                if not size:
                    return body
                body += piece
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def handle_any(self):
        service = self.service
        body = self.read_body()
        url = urllib.parse.urlsplit(self.path)
        query = urllib.parse.parse_qs(url.query, keep_blank_values=True)
        with service.lock:
            service.seen.append((self.command, self.path, dict(self.headers), body))
            for fault in service.faults:
                if fault["times"] and re.fullmatch(fault["method"], self.command) and re.search(fault["path"], self.path):
                    fault["times"] -= 1
                    break
            else:
                fault = None
        if fault:
            return self.reply(fault["status"], fault["body"], "application/problem+json", fault["headers"])
        path = url.path
        if path.startswith("/api/v1"):
            path = path[len("/api/v1"):]
        for method, pattern, function in ROUTES:
            match = re.fullmatch(pattern, path)
            if match and method == self.command:
                return function(self, query, body, *[urllib.parse.unquote(part) for part in match.groups()])
        return self.problem(404, "not_found", "no route " + path)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = handle_any


def paged(items, query):
    limit = int(query.get("limit", ["1000"])[0])
    start = int(query.get("cursor", ["0"])[0])
    page = items[start:start + limit]
    return {"items": page, "next": str(start + limit) if start + limit < len(items) else None}


def lists(get):
    return lambda h, query, body, *args: h.reply(200, paged(get(h, query, *args), query))


def status(h, query, body):
    h.reply(200, {"name": "winnow", "version": "0.1.0", "state": "ok", "started": NOW - 90000, "now": NOW,
                  "database": {"up": True, "kind": "private Postgres 15", "reason": None, "waiting": 0, "in_flight": 0}, "slots": 2,
                  "url": "http://127.0.0.1:7070", "data_dir": None, "connections": 1, "you": {"name": "alice", "scope": "write"}})


def whoami(h, query, body):
    if h.headers.get("Authorization") == "Bearer bad":
        return h.problem(401, "unauthenticated", "the token is not known")
    h.reply(200, {"actor": "alice", "via": "token", "scopes": ["write"], "token_id": "tok1", "expires": None})


def create_with(more):
    def create(h, query, body, *args):
        data = json.loads(body or b"{}")
        data.update(more)
        h.reply(201, data)
    return create


def search_runs(h, query, body):
    data = json.loads(body)
    runs = list(h.service.runs.values())
    found = data.get("filter", "")
    match = re.fullmatch(r"attributes.run_id LIKE '(.*)%'", found)
    if match:
        runs = [run for run in runs if run["id"].startswith(match.group(1))]
    match = re.fullmatch(r"attributes.run_name = '(.*)'", found)
    if match:
        runs = [run for run in runs if run["name"] == match.group(1)]
    h.reply(200, paged(runs, {key: [str(value)] for key, value in data.items() if key in ("limit", "cursor")}))


def one_run(h, query, body, run_id):
    if run_id not in h.service.runs:
        return h.problem(404, "not_found", "there is no run " + run_id, "winnow run ls lists them")
    h.reply(200, h.service.runs[run_id])


def one_sweep(h, query, body, sweep_id):
    if sweep_id not in h.service.sweeps:
        return h.problem(404, "not_found", "there is no sweep " + sweep_id)
    h.reply(200, h.service.sweeps[sweep_id])


def launch(h, query, body):
    data = json.loads(body)
    h.service.launched = data
    h.reply(201, run_object(RUN_B, "launched", state="QUEUED", exit_code=None, command=data["command"]))


def submit(h, query, body):
    if b"mistake" in body:
        return h.reply(400, {"status": 400, "code": "invalid", "title": "bad", "detail": "the sweep file is not valid", "hint": "did you mean method?",
                             "errors": [{"path": "methd", "line": 3, "column": 1, "message": "unknown key"}], "request_id": "req-400"},
                       "application/problem+json")
    if query.get("dry_run"):
        return h.reply(200, {"spec": {"name": "mnist", "method": "bayes"}, "cells": None, "argv": ["python3", "train.py", "--lr=0.01"]})
    h.reply(201, h.service.sweeps[SWEEP])


def trials(h, query, sweep_id):
    items = [trial_object(n, RUN_A) for n in range(15)]
    if "number" in query:
        items = [item for item in items if str(item["number"]) == query["number"][0]]
    return items


def artifacts(h, query, run_id):
    if h.service.listing is not None:
        return h.service.listing.now() if hasattr(h.service.listing, "now") else h.service.listing
    base = query.get("path", [""])[0]
    prefix = base + "/" if base else ""
    found, seen = [], set()
    for name, content in sorted(h.service.files.items()):
        if name == base:
            found.append(file_item(name, content))
        elif name.startswith(prefix):
            first = name[len(prefix):].split("/")[0]
            if prefix + first == name:
                found.append(file_item(name, content))
            elif first not in seen:
                seen.add(first)
                found.append({"path": prefix + first, "is_dir": True, "size": None, "sha256": None})
    return found


def file_item(name, content):
    return {"path": name, "is_dir": False, "size": len(content), "sha256": hashlib.sha256(content).hexdigest()}


def get_file(h, query, body, _id, name, *rest):
    name = rest[0] if rest else name
    if h.service.meanwhile.get(name):
        h.service.files[name] = h.service.meanwhile[name].pop(0)
        if h.service.files[name] is None:
            del h.service.files[name]
    content = h.service.files.get(name)
    if content is None:
        return h.problem(404, "not_found", "there is no file " + name)
    if h.service.damage:
        content = content[:-1] + b"!"
    h.reply(200, content, "application/octet-stream")


def put_file(h, query, body, run_id, name):
    h.service.files[name] = body
    digest = hashlib.sha256(body).hexdigest()
    h.reply(201, {"path": name, "size": len(body), "sha256": "0" * 64 if h.service.damage else digest})


def get_code(h, query, body, digest):
    if digest in h.service.code:
        return h.reply(200, {"sha256": digest})
    h.problem(404, "not_found", "there is no snapshot")


def put_code(h, query, body, digest):
    h.service.code[digest] = body
    h.reply(201, {"sha256": hashlib.sha256(body).hexdigest()})


def logs(h, query, body, run_id, stream):
    service = h.service
    content = service.log if stream == "stdout" else b"to stderr\n"
    offset = int(query.get("from", ["0"])[0])
    if "tail" in query:
        lines = content.splitlines(True)
        offset = len(b"".join(lines[:max(0, len(lines) - int(query["tail"][0]))]))
    piece = content[offset:]
    if "grep" in query:
        piece = b"".join(line for line in piece.splitlines(True) if re.search(query["grep"][0].encode(), line))
    h.send_response(200)
    h.send_header("Content-Type", "text/plain")
    h.send_header("Winnow-Log-Offset", str(offset))
    h.send_header("Winnow-Log-Size", str(len(content)))
    h.send_header("Connection", "close")
    h.send_header("Transfer-Encoding", "chunked")  # as the service's: who sees its end has seen all of it
    h.end_headers()
    h.close_connection = True
    breaks = query.get("follow") and service.log_breaks
    piece = piece[:333] if breaks else piece
    if piece:
        h.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
        h.wfile.flush()
    if breaks:
        service.log_breaks -= 1
        return
    while query.get("follow") and service.log_hangs:
        time.sleep(0.05)
    h.wfile.write(b"0\r\n\r\n")


def events(h, query, body):
    service = h.service
    service.last_event_ids.append(h.headers.get("Last-Event-ID"))
    h.send_response(200)
    h.send_header("Content-Type", "text/event-stream")
    h.send_header("Connection", "close")
    h.end_headers()
    h.close_connection = True
    while service.events:
        piece = service.events.pop(0)
        if piece is None:
            return
        h.wfile.write(piece)
        h.wfile.flush()
        time.sleep(0.05)
    if service.finish_after_events:
        service.sweeps[SWEEP]["state"] = service.finish_after_events
        h.wfile.write(b"event: state\ndata: {\"to\": \"end\"}\n\n")
        h.wfile.flush()
    deadline = time.time() + 30
    while time.time() < deadline and not getattr(h.server, "stopping", False):
        time.sleep(0.05)
        try:
            h.wfile.write(b": beat\n\n")
            h.wfile.flush()
        except OSError:
            return


def series(h, query, body):
    if query.get("raw"):
        return h.reply(200, b"run,key,step,epoch,time,value\n" + h.service.points, "text/csv")
    numbers = list(range(24))
    columns = {name: numbers for name in ("x", "x_last", "min", "max", "first", "last")}
    h.reply(200, {"x": "step", "scale": "linear", "missing": [], "series": [
        {"run": query["run"][0], "key": key, "points": 24, "origin": 0, "n": [1] * 24, "damaged": None, **columns} for key in query["key"]]})


def compare(h, query, body):
    a, b = json.loads(body)["runs"][:2]
    h.reply(200, {"runs": [h.service.runs[a], h.service.runs[b]], "base": a,
                  "params": [{"key": "lr", "values": {a: "0.01", b: "0.02"}, "differs": True},
                             {"key": "optimizer", "values": {a: "adam", b: "adam"}, "differs": False}],
                  "metrics": [{"key": "loss", "values": {a: {"last": 0.1, "min": 0.1, "delta": 0}, b: {"last": 0.2, "min": 0.1, "delta": 0.1}},
                               "differs": True}]})


EXPERIMENTS = [{"id": "1", "name": "mnist", "run_count": 3, "created": NOW, "deleted": None, "artifact_location": "x", "tags": {}},
               {"id": "22", "name": "=cmd|' /C calc'!A0", "run_count": 0, "created": NOW, "deleted": None, "artifact_location": "x", "tags": {}}]
QUEUE = [{"run_id": RUN_A, "position": 1, "priority": 0, "reason": "all 2 slots are taken", "since": NOW - 5000, "wants": {"slots": 1, "memory": 2000000000}}]
NODES = [{"name": "gpu1", "state": "up", "reason": None, "slots": {"total": 2, "used": 1, "held": 0}, "gpus": [], "cpus": 8, "memory": 64000000000,
          "load": 1.5, "heartbeat": NOW}]
EVENTS = [{"id": 1, "time": NOW - 1000, "kind": "state", "subject": "run", "actor": "asha", "from": "RUNNING", "to": "STOPPING", "reason": "rank 5 of 9"}]
TOKENS = [{"id": "tok1aaaa", "name": "ci", "scopes": ["submit"], "created": NOW, "expires": NOW + 86400000, "last_used": None}]
MODEL = {"name": "mnist", "latest_version": 2, "aliases": {"champion": 2}, "created": NOW, "updated": NOW, "description": "", "tags": {}}
METRICS = [{"key": "loss", "count": 24, "nans": 1, "first": {"value": 1.0, "step": 1, "time": NOW - 60000},
            "last": {"value": 0.25, "step": 24, "time": NOW}, "min": {"value": 0.25, "step": 24}, "max": {"value": "Infinity", "step": 3},
            "attempt": 1}]


def experiments(h, query):
    if "filter" not in query:
        return EXPERIMENTS
    deleted = query.get("deleted") == ["true"]
    return [e for e in EXPERIMENTS + h.service.far_experiments if [f"name = '{e['name']}'"] == query["filter"] and (e["deleted"] is not None) == deleted]


def get_experiment(h, query, body, id):
    found = [e for e in EXPERIMENTS + h.service.far_experiments if e["id"] == id]
    return h.reply(200, found[0]) if found else h.problem(404, "not_found", "there is no experiment " + id)


ROUTES = [
    ("GET", "/status", status), ("GET", "/whoami", whoami), ("GET", "/health", lambda h, q, b: h.reply(200, b"OK", "text/plain")),
    ("GET", "/experiments", lists(experiments)), ("GET", "/experiments/([^/]+)", get_experiment),
    ("POST", "/experiments", create_with({"id": "3", "run_count": 0, "created": NOW})),
    ("PATCH", "/experiments/([^/]+)", create_with({"id": "1", "name": "mnist"})),
    ("DELETE", "/experiments/([^/]+)", lambda h, q, b, i: h.reply(204, b"")),
    ("POST", "/runs/search", search_runs), ("POST", "/runs/compare", compare), ("POST", "/runs", launch),
    ("GET", "/runs/([^/]+)", one_run), ("PATCH", "/runs/([^/]+)", one_run), ("DELETE", "/runs/([^/]+)", lambda h, q, b, i: h.reply(204, b"")),
    ("POST", "/runs/([^/]+)/(?:stop|retry|restore)", one_run),
    ("GET", "/runs/([^/]+)/metrics", lists(lambda h, q, i: METRICS)), ("GET", "/runs/([^/]+)/events", lists(lambda h, q, i: EVENTS)),
    ("GET", "/runs/([^/]+)/logs/([^/]+)", logs), ("GET", "/runs/([^/]+)/artifacts", lists(artifacts)),
    ("GET", "/runs/([^/]+)/artifacts/(.+)", get_file), ("PUT", "/runs/([^/]+)/artifacts/(.+)", put_file),
    ("GET", "/code/([^/]+)", get_code), ("PUT", "/code/([^/]+)", put_code), ("GET", "/series", series), ("GET", "/events", events),
    ("POST", "/sweeps", submit), ("GET", "/sweeps", lists(lambda h, q: list(h.service.sweeps.values()))),
    ("GET", "/sweeps/([^/]+)", one_sweep), ("PATCH", "/sweeps/([^/]+)", one_sweep), ("DELETE", "/sweeps/([^/]+)", lambda h, q, b, i: h.reply(204, b"")),
    ("POST", "/sweeps/([^/]+)/(?:pause|resume|stop|drain|clone)", one_sweep),
    ("GET", "/sweeps/([^/]+)/trials", lists(trials)), ("POST", "/sweeps/([^/]+)/trials", lambda h, q, b, i: h.reply(201, trial_object(20, RUN_B))),
    ("GET", "/sweeps/([^/]+)/best", lists(lambda h, q, i: [trial_object(12, RUN_A)])),
    ("GET", "/sweeps/([^/]+)/importance", lists(lambda h, q, i: [{"name": "lr", "importance": 0.8}, {"name": "momentum", "importance": 0.2}])),
    ("GET", "/sweeps/([^/]+)/progress", lists(lambda h, q, i: [{"number": n, "best": n / 10} for n in range(9)])),
    ("GET", "/models", lists(lambda h, q: [MODEL])), ("GET", "/models/([^/]+)", lambda h, q, b, n: h.reply(200, MODEL)),
    ("POST", "/models", lambda h, q, b: h.problem(409, "already_exists", "the model exists")),
    ("DELETE", "/models/([^/]+)", lambda h, q, b, n: h.reply(204, b"")),
    ("GET", "/models/([^/]+)/versions", lists(lambda h, q, n: [version_object(2), version_object(1)])),
    ("POST", "/models/([^/]+)/versions", lambda h, q, b, n: h.reply(201, version_object(3))),
    ("GET", "/models/([^/]+)/versions/([^/]+)", lambda h, q, b, n, v: h.reply(200, version_object(int(v)))),
    ("PATCH", "/models/([^/]+)/versions/([^/]+)", lambda h, q, b, n, v: h.reply(200, version_object(int(v)))),
    ("DELETE", "/models/([^/]+)/versions/([^/]+)", lambda h, q, b, n, v: h.reply(204, b"")),
    ("PUT", "/models/([^/]+)/aliases/([^/]+)", lambda h, q, b, n, a: h.reply(200, {"alias": a})),
    ("DELETE", "/models/([^/]+)/aliases/([^/]+)", lambda h, q, b, n, a: h.reply(204, b"")),
    ("GET", "/models/([^/]+)/versions/([^/]+)/files", lists(lambda h, q, n, v: artifacts(h, q, n))),
    ("GET", "/models/([^/]+)/versions/([^/]+)/files/(.+)", get_file),
    ("POST", "/models/([^/]+)/versions/([^/]+)/verify", lambda h, q, b, n, v: h.reply(200, {"ok": v != "1", "digest": "ab" * 32, "found": "ab" * 32, "reason": None})),
    ("POST", "/admin/fsck", lambda h, q, b: h.reply(200, b'{"item":%s}\n{"summary":{"damaged":1}}\n' % json.dumps(
        {"kind": "artifact", "subject": EVIL, "text": EVIL}).encode(), "application/x-ndjson")),
    ("GET", "/nodes", lists(lambda h, q: NODES)), ("PATCH", "/nodes/([^/]+)", lambda h, q, b, n: h.reply(200, NODES[0])),
    ("GET", "/queue", lists(lambda h, q: QUEUE)), ("PATCH", "/queue/([^/]+)", lambda h, q, b, n: h.reply(200, QUEUE[0])),
    ("GET", "/tokens", lists(lambda h, q: TOKENS)), ("DELETE", "/tokens/([^/]+)", lambda h, q, b, i: h.reply(204, b"")),
    ("POST", "/tokens", create_with({"id": "tok2", "token": "winnow_secret_token", "created": NOW})),
]


class Quiet:
    daemon_threads = True

    def handle_error(self, request, client_address):
        """A client may leave when it likes."""


class TcpServer(Quiet, socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    request_queue_size = 64


class UnixServer(Quiet, socketserver.ThreadingUnixStreamServer):
    pass


def start(service, socket_path=None, ports=range(22000, 23000)):
    handler = type("BoundHandler", (Handler,), {"service": service})
    if socket_path:
        server = UnixServer(socket_path, handler)
    else:
        for port in ports:
            try:
                server = TcpServer(("127.0.0.1", port), handler)
                break
            except OSError:
                continue
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    return server
