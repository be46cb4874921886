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
    return status(answers)[0] >= 500 and status(answers)[1] in (400, 404)


@known("wrong-type")
def wrong_type(kind, body, answers, found):
    return status(answers) == (200, 400) and any(isinstance(value, (dict, list)) and field not in ("experiment_ids", "order_by") for field, value in body.items())


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
    return status(answers) == (404, 400) and str(body.get("run_id", body.get("run_uuid"))) == "../x"
