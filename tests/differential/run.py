#!/usr/bin/env python3
"""The same random requests to the real MLflow server and to ours: status, error code and shape must be the same, or the difference is one of
those that docs/mlflow.md lists.

    tests/differential/run.py build/plain/bin/winnow PYTHON [--seed N] [--count N] [--seconds N] [--all]

PYTHON is that of an environment with mlflow 3.17.2 (tests/clients/run makes one). --all goes on after a difference, and counts."""
import argparse, collections, http.client, json, os, pathlib, re, shutil, signal, socket, subprocess, sys, tempfile, time, urllib.parse

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests" / "support"), str(ROOT / "tests" / "differential")]
from known import known_difference, listed_names, explained_names  # noqa: E402
from asking import Requests  # noqa: E402
from service import Service  # noqa: E402

# What is not the same on two servers: only its type is looked at.
OWN = {"creation_time", "last_update_time", "creation_timestamp", "last_updated_timestamp", "next_page_token", "message", "stack_trace"}
# Lists without an order of their own.
BY_KEY = {"tags": "key", "params": "key", "metrics": "key", "aliases": "alias", "latest_versions": "version"}


class Side:
    """One server, and what the symbols are called there."""

    def __init__(self, name, port):
        self.name, self.names, self.connection = name, {}, http.client.HTTPConnection("127.0.0.1", port, timeout=60)

    def fill(self, value):
        if isinstance(value, str):
            return re.sub(r"\{([er]\d+)\}", lambda m: self.names.get(m.group(1), m.group(0)), value)
        if isinstance(value, list):
            return [self.fill(item) for item in value]
        if isinstance(value, dict):
            return {key: self.fill(item) for key, item in value.items()}
        return value

    def ask(self, method, path, body):
        headers, data = {}, None
        body = self.fill(body)
        if method == "GET":
            path += "?" + urllib.parse.urlencode(body) if body else ""
        else:
            data, headers = json.dumps(body), {"Content-Type": "application/json"}
        self.connection.request(method, path, body=data, headers=headers)
        answer = self.connection.getresponse()
        text = answer.read()
        try:
            return answer.status, json.loads(text)
        except ValueError:
            return answer.status, {"text": True}

    def learn(self, symbol, path, answer):
        for step in path:
            answer = answer[step]
        self.names[symbol] = answer

    def back(self, text, key):
        """With symbols in place of what is called otherwise elsewhere."""
        for symbol, actual in self.names.items():
            if symbol[0] == "r":
                text = text.replace(actual, "{" + symbol + "}")
            elif text == actual and key == "experiment_id":
                return "{" + symbol + "}"
            else:
                text = re.sub(rf"(?<=:/){re.escape(actual)}(?=/|$)", "{" + symbol + "}", text)
        return text

    def shape(self, value, key=""):
        if key in OWN:
            return type(value).__name__
        if isinstance(value, dict):
            return {name: self.shape(item, name) for name, item in sorted(value.items())}
        if isinstance(value, list):
            if key in BY_KEY:
                value = sorted(value, key=lambda item: json.dumps([item.get(BY_KEY[key]), item], sort_keys=True) if isinstance(item, dict) else str(item))
            return [self.shape(item, key) for item in value]
        if isinstance(value, bool) or value is None:
            return value
        if isinstance(value, (int, float)):
            return float(value)
        return self.back(value, key)


def first_difference(theirs, ours, at=""):
    if type(theirs) is not type(ours):
        return at, theirs, ours
    if isinstance(theirs, dict):
        for key in sorted({*theirs, *ours}):
            if key not in theirs or key not in ours:
                return f"{at}.{key}", theirs.get(key, "absent"), ours.get(key, "absent")
            found = first_difference(theirs[key], ours[key], f"{at}.{key}")
            if found:
                return found
    elif isinstance(theirs, list):
        if len(theirs) != len(ours):
            return f"{at}[]", f"{len(theirs)} items", f"{len(ours)} items"
        for i, (a, b) in enumerate(zip(theirs, ours)):
            found = first_difference(a, b, f"{at}[{i}]")
            if found:
                return found
    elif theirs != ours:
        return at, theirs, ours
    return None


def compare(theirs, ours, sides):
    (status, answer), (our_status, our_answer) = theirs, ours
    if status != our_status:
        return "status", status, our_status
    if status != 200:
        return first_difference(answer.get("error_code", "none"), our_answer.get("error_code", "none"), "error_code")
    return first_difference(sides[0].shape(answer), sides[1].shape(our_answer))


class Mlflow:
    def __init__(self, python):
        self.home = pathlib.Path(tempfile.mkdtemp(prefix="winnow-differential-"))
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            self.port = s.getsockname()[1]
        log = open(self.home / "log", "wb")
        command = [python, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(self.port), "--workers", "1", "--backend-store-uri", f"sqlite:///{self.home}/db",
                   "--artifacts-destination", f"{self.home}/artifacts"]
        env = {**os.environ, "PATH": f"{pathlib.Path(python).parent}:{os.environ['PATH']}", "MLFLOW_DISABLE_TELEMETRY": "true", "PYTHONPATH": ""}
        self.process = subprocess.Popen(command, stdout=log, stderr=log, cwd=self.home, start_new_session=True, env=env)
        end = time.time() + 120
        while True:
            try:
                connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
                connection.request("GET", "/health")
                connection.getresponse().read()
                return
            except (OSError, http.client.HTTPException):
                if time.time() > end or self.process.poll() is not None:
                    text = (self.home / "log").read_text(errors="replace")[-2000:]
                    self.close()
                    raise SystemExit(f"the real server does not start:\n{text}")
                time.sleep(0.2)

    def close(self):
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait()
        shutil.rmtree(self.home, ignore_errors=True)


def check_list():
    """What the code excuses is what the documentation explains."""
    excused, explained = listed_names(), explained_names(ROOT / "docs" / "mlflow.md")
    if excused != explained:
        raise SystemExit(f"docs/mlflow.md and known.py differ: only documented {sorted(explained - excused)}, only excused {sorted(excused - explained)}")


def run(options, sides, requests):
    end, done, seen, unknown = time.time() + options.seconds, 0, collections.Counter(), 0
    while done < options.count and time.time() < end:
        kind, method, path, body, keep = requests.next()
        answers = [side.ask(method, path, body) for side in sides]
        done += 1
        if all(status == 200 for status, _ in answers):
            for symbol, place in keep.items():
                for side, (_, answer) in zip(sides, answers):
                    side.learn(symbol, place, answer)
                requests.learned(symbol)
        found = compare(*answers, sides)
        if not found:
            continue
        name = known_difference(kind, body, answers, found)
        seen[name or "new"] += 1
        if name:
            continue
        unknown += 1
        print(f"request {done}, {kind}: {found[0]}: {found[1]!r} there, {found[2]!r} here\n  {method} {path} {json.dumps(sides[1].fill(body))[:600]}\n"
              f"  there {answers[0][0]} {json.dumps(answers[0][1])[:500]}\n  here  {answers[1][0]} {json.dumps(answers[1][1])[:500]}", flush=True)
        if not options.all:
            break
    for name, count in seen.most_common():
        print(f"  {count:5} {name}")
    print(f"{done} requests, seed {options.seed}: {unknown} unexplained differences")
    return not unknown and done > 0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("winnow", type=pathlib.Path)
    parser.add_argument("python")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, default=1500)
    parser.add_argument("--seconds", type=float, default=45)
    parser.add_argument("--all", action="store_true")
    options = parser.parse_args()
    check_list()
    real = Mlflow(options.python)
    try:
        with Service(options.winnow.resolve(), arguments=["--log-level", "warn"]) as service:
            ok = run(options, [Side("mlflow", real.port), Side("winnow", service.port)], Requests(options.seed))
    finally:
        real.close()
    sys.exit(0 if ok else 1)


if __name__ == "__main__":
    main()
