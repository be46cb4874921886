"""The differences that docs/mlflow.md explains, each with what tells it. A difference is (where, theirs, ours)."""
import re

KNOWN = {}


def known(name):
    def add(test):
        KNOWN[name] = test
        return test
    return add


def known_difference(kind, body, answers, found):
    for name, test in KNOWN.items():
        if test(kind, body, answers, found):
            return name
    return None


def listed_names():
    return set(KNOWN)


def explained_names(path):
    return set(re.findall(r"^\| `([a-z-]+)` \|", path.read_text(), re.M))


def status(answers):
    return answers[0][0], answers[1][0]


@known("error-there")
def error_there(kind, body, answers, found):
    return status(answers)[0] >= 500 and (status(answers)[1] in (400, 404) or kind == "artifacts/list")


@known("wrong-type")
def wrong_type(kind, body, answers, found):
    nonsense = ({"a": 1}, ["x"])  # what asking.py puts in place of a value
    return status(answers) == (200, 400) and any(value in nonsense for value in body.values())


@known("workspace")
def workspace(kind, body, answers, found):
    return found[0].endswith(".workspace") and found[2] == "absent"


@known("empty-history")
def empty_history(kind, body, answers, found):
    return kind.startswith("metrics/") and found == (".metrics", "absent", [])


@known("outputs")
def outputs(kind, body, answers, found):
    return found[0].endswith(".outputs") and found[1:] == ({}, "absent")


@known("metric-run")
def metric_run(kind, body, answers, found):
    return re.search(r"\.metrics\[\d+\]\.run_id$", found[0]) is not None and found[1] == "absent"


@known("no-such-endpoint")
def no_such_endpoint(kind, body, answers, found):
    return kind == "elsewhere" and found == ("error_code", "none", "ENDPOINT_NOT_FOUND")


@known("run-id-form")
def run_id_form(kind, body, answers, found):
    return status(answers)[0] in (200, 404) and status(answers)[1] == 400 and str(body.get("run_id", body.get("run_uuid"))) == "../x"


@known("taken-name")
def taken_name(kind, body, answers, found):
    return kind == "experiments/update" and found == ("error_code", "BAD_REQUEST", "RESOURCE_ALREADY_EXISTS")


@known("which-fault-first")
def which_fault_first(kind, body, answers, found):
    both = {("artifacts/list", 400, 404), ("registered-models/get-latest-versions", 404, 400), ("registered-models/alias DELETE", 404, 400),
            ("model-versions/create", 404, 400)}
    writes = {"runs/set-tag", "runs/log-parameter", "runs/log-metric", "runs/log-batch", "runs/log-inputs"}
    return (kind, *status(answers)) in both or (kind in writes and status(answers) == (400, 404))


@known("order-of-stages")
def order_of_stages(kind, body, answers, found):
    if kind != "registered-models/get-latest-versions" or status(answers) != (200, 200):
        return False
    versions = [sorted((v["version"], v["current_stage"]) for v in answer.get("model_versions", [])) for _, answer in answers]
    return versions[0] == versions[1]


@known("empty-is-absent")
def empty_is_absent(kind, body, answers, found):
    return status(answers)[0] in (400, 500) and status(answers)[1] == 200 and any(value in ("", None) for value in body.values())


@known("no-number-id")
def no_number_id(kind, body, answers, found):
    return status(answers) == (400, 200) and body.get("experiment_ids") == ["x"]


@known("max-results")
def max_results(kind, body, answers, found):
    return kind == "experiments/search" and status(answers) == (400, 200) and "max_results" not in body


@known("version-aliases")
def version_aliases(kind, body, answers, found):
    return re.search(r"(model_versions|latest_versions)\[\d+\]\.aliases$", found[0]) is not None and found[1] == "absent"
