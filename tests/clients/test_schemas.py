"""The shapes that the service declares, held against what it says, by a JSON Schema validator: test_schemas.py URL"""
import json, pathlib, sys, urllib.error, urllib.request

import yaml
from jsonschema import Draft202012Validator

URL = sys.argv[1]
ROOT = pathlib.Path(__file__).resolve().parents[2]
failed = 0


def call(method, path, body=None):
    data = body.encode() if isinstance(body, str) else None if body is None else json.dumps(body).encode()
    try:
        with urllib.request.urlopen(urllib.request.Request(URL + path, data, method=method), timeout=60) as answer:
            return answer.status, json.loads(answer.read() or "null")
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())


def check(name, ok, detail=""):
    global failed
    print(f"{'ok' if ok else 'FAILED'} {name}", detail if not ok else "", flush=True)
    failed += not ok


def mistakes(schema, value):
    return [f"{'/'.join(map(str, e.absolute_path))}: {e.message[:300]}" for e in Draft202012Validator(schema).iter_errors(value)]


API = call("GET", "/api/v1/openapi.json")[1]


def component(name):
    """With the others beside it, so that its references lead somewhere."""
    return {"$ref": f"#/components/schemas/{name}", "components": API["components"]}


def request(method, path, body=None, want=200, route=None):
    """Both what is sent and what comes must be as declared."""
    route = route or path
    operation = API["paths"]["/api/v1" + route][method.lower()]
    declared = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema")
    if declared and isinstance(body, dict) and want < 400:
        check(f"{method} {route} request", not (bad := mistakes({**declared, "components": API["components"]}, body)), bad)
    status, answer = call(method, "/api/v1" + path, body)
    check(f"{method} {route} {want}", status == want, (status, answer))
    schema = operation["responses"]["2XX"].get("content", {}).get("application/json", {}).get("schema")
    if want < 400:
        check(f"{method} {route} has a shape", bool(schema))
    bad = mistakes({**schema, "components": API["components"]}, answer) if want < 400 else mistakes(component("problem"), answer)
    check(f"{method} {route} answer", not bad, (bad, answer))
    return answer


for name, schema in API["components"]["schemas"].items():
    Draft202012Validator.check_schema(schema)
check("components", True)

# ---- every call of a sweep ----
SWEEP = {"name": "shapes", "method": "bayes", "metric": {"name": "loss", "target": -5}, "run_cap": 500, "sampler": {"seed": 3, "type": "tpe"},
         "parameters": {"x": {"min": 0.0, "max": 1.0}, "kind": {"values": ["a", 2, True]}},
         "early_terminate": [{"type": "asha", "min_iter": 1}, {"type": "median", "min_iter": 1}, {"type": "threshold", "max": 90}]}
request("POST", "/sweeps?dry_run=true", SWEEP, route="/sweeps")
sweep = request("POST", "/sweeps", SWEEP, 201)["id"]
at = f"/sweeps/{sweep}"


def under(method, tail, body=None, want=200):
    return request(method, at + tail, body, want, "/sweeps/{id}" + tail.split("?")[0])


under("POST", "/trials", {"params": {"x": 0.5, "kind": "a"}}, 201)
trials = under("POST", "/ask", {"count": 5, "worker": "w", "lease": 60})["trials"]
run = trials[0]["run_id"]
request("POST", f"/runs/{run}/report", {"step": 1, "epoch": 1.0, "metrics": {"loss": 1.0, "other": "NaN"}}, route="/runs/{id}/report")
request("POST", f"/runs/{run}/heartbeat", route="/runs/{id}/heartbeat")
request("POST", f"/runs/{trials[4]['run_id']}/report", {"step": 1, "metrics": {"loss": 99.0}}, route="/runs/{id}/report")
under("POST", "/tell", {"trials": [{"run_id": run, "value": 1.0}, {"run_id": trials[1]["run_id"], "value": "NaN"},
                                   {"run_id": trials[2]["run_id"], "state": "FAILED"}, {"params": {"x": 0.1, "kind": 2}, "value": 2},
                                   {"run_id": trials[4]["run_id"], "state": "STOPPED", "attempt": 1}]})
under("POST", "/tell", {"trials": [{"params": {"x": i / 60, "kind": "a"}, "value": i} for i in range(60)]})
for tail in ("", "/trials", "/trials?state=FAILED", "/best?k=2", "/progress", "/rungs", "/importance"):
    under("GET", tail)
request("GET", "/sweeps")
under("PATCH", "", {"run_cap": 600, "notes": "n", "max_time": "2h"})
clone = under("POST", "/clone", {"name": "again", "seed": 5}, 201)["id"]
for action in ("pause", "resume", "stop"):
    request("POST", f"/sweeps/{clone}/{action}", route=f"/sweeps/{{id}}/{action}")
drained = under("POST", "/clone", {"seed": 6}, 201)["id"]
request("POST", f"/sweeps/{drained}/drain", route="/sweeps/{id}/drain")
request("POST", f"/runs/{trials[3]['run_id']}/stop", route="/runs/{id}/stop")
request("POST", f"/runs/{trials[2]['run_id']}/retry", route="/runs/{id}/retry")
under("POST", "/tell", {"trials": [{"run_id": "0" * 32, "value": 1}, {"value": 1}]}, 404)
request("GET", "/sweeps/" + "0" * 32, None, 404, "/sweeps/{id}")
request("POST", "/sweeps", "parameters: {a: {min: x}}", 400)
for path, operations in API["paths"].items():
    if "/sweeps" in path and "reparse" not in path:
        for method, operation in operations.items():
            if isinstance(operation, dict) and "responses" in operation and method != "delete":
                check(f"{method} {path} declares its answer", "content" in operation["responses"]["2XX"])

# ---- the sweep file ----
FILE = call("GET", "/api/v1/schemas/sweep")[1]
Draft202012Validator.check_schema(FILE)
check("the file's schema names its draft", "2020-12" in FILE.get("$schema", ""), FILE.get("$schema"))
files = [*ROOT.glob("examples/**/*.yaml"), *ROOT.glob("examples/**/*.yml")]
check("there are examples", bool(files))
good = {str(f.relative_to(ROOT)): yaml.safe_load(f.read_text()) for f in files}
good["this test"] = SWEEP
good["its normal form"] = call("GET", f"/api/v1{at}")[1]["spec"]
for name, value in good.items():
    check(f"{name} is a sweep file", not (bad := mistakes(FILE, value)), bad)
for name, value in {"an unknown key": {**SWEEP, "metod": "grid"}, "a wrong kind": {**SWEEP, "run_cap": "many"}, "a wrong choice": {**SWEEP, "method": "magic"},
                    "a list": [1]}.items():
    check(f"{name} is none", bool(mistakes(FILE, value)))
sys.exit(failed > 0)
