"""Wire conformance: literal requests and expected answers, `run.py URL FILE.cases...`.

A case file is text:

    == name of the case                       a case; {unique} is new for each
    POST mlflow/runs/create {"name": "x"}     a request; relative paths begin at /api/2.0/
    > Content-Type: text/plain                a header of it (may repeat; "> Name:" leaves a default one out)
    200 {"run": {"info": {"run_id": "<rid>"}}}   what must come back: status, and a JSON pattern, or "text" after `text:`

In a pattern objects may have further keys, arrays have exactly these items in order. Strings: <any>, <int>, <number>, <hex32>, <absent>,
<re:...>, <has:...>, <n:K> (K items); any other <name> keeps what is there under that name the first time. {name} stands for what was kept, in
requests and patterns. A line that begins with two spaces goes on with the line before.
"""
import http.client
import json
import re
import sys
import urllib.parse
import uuid


class Mismatch(Exception):
    pass


def fill(text, names):
    return re.sub(r"\{([a-z][a-z0-9_]*)\}", lambda m: names[m.group(1)] if m.group(1) in names else m.group(0), text)


def match_text(wanted, got, names, at):
    special = re.fullmatch(r"<(re:.*|has:.*|[a-z][a-z0-9_:]*)>", wanted, re.S)
    if not special:
        if fill(wanted, names) != got:
            raise Mismatch(f"{at}: {got!r}, expected {fill(wanted, names)!r}")
        return
    word = special.group(1)
    if word == "any":
        return
    if word.startswith("n:"):
        if not isinstance(got, list) or len(got) != int(word[2:]):
            raise Mismatch(f"{at}: {got!r}, expected {word[2:]} items")
    elif word == "int":
        if not isinstance(got, int) or isinstance(got, bool):
            raise Mismatch(f"{at}: {got!r} is no whole number")
    elif word == "number":
        if not isinstance(got, (int, float)) or isinstance(got, bool):
            raise Mismatch(f"{at}: {got!r} is no number")
    elif word == "hex32":
        if not isinstance(got, str) or not re.fullmatch("[0-9a-f]{32}", got):
            raise Mismatch(f"{at}: {got!r} is no id")
    elif word.startswith("re:"):
        if not isinstance(got, str) or not re.search(word[3:], got, re.S):
            raise Mismatch(f"{at}: {got!r} does not match {word[3:]}")
    elif word.startswith("has:"):
        if not isinstance(got, str) or fill(word[4:], names) not in got:
            raise Mismatch(f"{at}: {got!r} lacks {fill(word[4:], names)!r}")
    elif word in names:
        if names[word] != got:
            raise Mismatch(f"{at}: {got!r}, expected {names[word]!r}")
    else:
        names[word] = got


def match(pattern, got, names, at="answer"):
    if isinstance(pattern, dict):
        if not isinstance(got, dict):
            raise Mismatch(f"{at}: {got!r} is no object")
        for key, value in pattern.items():
            key = fill(key, names)
            if value == "<absent>":
                if key in got:
                    raise Mismatch(f"{at}.{key} is there: {got[key]!r}")
            elif key not in got:
                raise Mismatch(f"{at}.{key} is missing in {json.dumps(got)[:300]}")
            else:
                match(value, got[key], names, f"{at}.{key}")
    elif isinstance(pattern, list):
        if not isinstance(got, list) or len(got) != len(pattern):
            raise Mismatch(f"{at}: {json.dumps(got)[:400]}, expected {len(pattern)} items")
        for i, value in enumerate(pattern):
            match(value, got[i], names, f"{at}[{i}]")
    elif isinstance(pattern, str):
        match_text(pattern, got, names, at)
    elif isinstance(pattern, bool) or pattern is None or isinstance(got, bool) or got is None:
        if pattern is not got:
            raise Mismatch(f"{at}: {got!r}, expected {pattern!r}")
    elif pattern != got:
        raise Mismatch(f"{at}: {got!r}, expected {pattern!r}")


def parse(path):
    """[(name, place, [(method, target, body, headers, status, expected)])]"""
    lines = []
    with open(path, encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            line = line.rstrip("\n")
            if line.startswith("  ") and lines and line.strip():
                lines[-1][1] += " " + line.strip()
            elif line.strip() and not line.startswith("#"):
                lines.append([number, line])
    cases = []
    for number, line in lines:
        place = f"{path}:{number}"
        if line.startswith("== "):
            cases.append((line[3:], place, []))
        elif line.startswith("> "):
            name, _, value = line[2:].partition(":")
            cases[-1][2][-1]["headers"][name] = value.strip()
        elif re.match(r"\d{3}\b", line):
            cases[-1][2][-1].update(status=int(line[:3]), expected=line[4:].strip(), place=place)
        else:
            method, target, *body = line.split(" ", 2)
            cases[-1][2].append({"method": method, "target": target, "body": body[0] if body else None, "headers": {}, "place": place})
    return cases


class Client:
    def __init__(self, url):
        parts = urllib.parse.urlparse(url)
        self.host, self.port = parts.hostname, parts.port
        self.connection = None

    def close(self):
        if self.connection:
            self.connection.close()
        self.connection = None

    def send(self, step, names):
        target = fill(step["target"], {k: urllib.parse.quote(str(v), safe="") for k, v in names.items()})
        target = target if target.startswith("/") else "/api/2.0/" + target
        body = fill(step["body"], names).encode() if step["body"] is not None else None
        headers = {"Content-Type": "application/json"} if body is not None else {}
        for name, value in step["headers"].items():
            headers.pop(name, None)
            if value:
                headers[name] = value
        if self.connection is None:
            self.connection = http.client.HTTPConnection(self.host, self.port, timeout=60)
        self.connection.putrequest(step["method"], target, skip_accept_encoding=True)
        if body is not None:
            headers["Content-Length"] = str(len(body))
        for name, value in headers.items():
            self.connection.putheader(name, value)
        self.connection.endheaders(body)
        answer = self.connection.getresponse()
        data = answer.read()
        if answer.will_close:
            self.connection.close()
            self.connection = None
        return answer.status, data, answer.headers


def run_step(client, step, names):
    status, data, headers = client.send(step, names)
    shown = data[:300].decode("utf-8", "replace")
    if status != step["status"]:
        raise Mismatch(f"{status} {shown}, expected {step['status']}")
    expected = step["expected"]
    if not expected:
        return
    if expected.startswith("text:"):
        if data.decode("utf-8", "replace") != fill(expected[5:].strip(), names):
            raise Mismatch(f"{shown!r}, expected {expected[5:].strip()!r}")
        return
    if not headers.get("Content-Type", "").startswith("application/json"):
        raise Mismatch(f"Content-Type is {headers.get('Content-Type')}")
    match(json.loads(expected), json.loads(data), names)


def run_file(url, path):
    failed = passed = 0
    client = Client(url)
    for name, place, steps in parse(path):
        names = {"unique": uuid.uuid4().hex[:10], "host": f"{client.host}:{client.port}"}
        for step in steps:
            try:
                if "status" not in step:
                    raise Mismatch("no answer is expected")
                run_step(client, step, names)
                passed += 1
            except (Mismatch, ValueError, KeyError, OSError, http.client.HTTPException) as error:
                failed += 1
                client.close()
                print(f"{step['place']}: {name}\n  {step['method']} {step['target']} {(step['body'] or '')[:200]}\n  {error}")
                break
    client.close()
    return passed, failed


def main():
    url, *paths = sys.argv[1:]
    passed = failed = 0
    for path in paths:
        ok, bad = run_file(url, path)
        passed += ok
        failed += bad
    print(f"{passed} requests answered as expected, {failed} cases failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
