"""Starts a service and runs a script against it: with_service.py WINNOW PYTHON SCRIPT [ARGUMENT ...]; the script gets the address first.
A script named *_job.py runs as a job does where credentials are needed, with the token of its run, and gets another run as well."""
import os, pathlib, subprocess, sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from service import Service  # noqa: E402

winnow, python, script, *arguments = sys.argv[1:]
is_job, env = script.endswith("_job.py"), dict(os.environ)
with Service(pathlib.Path(winnow).resolve(), arguments=("--auth", "required") if is_job else ()) as s:
    if is_job:
        own, other = (s.post("/api/v1/runs", {}).json["id"] for _ in range(2))
        s.sql(f"update run set executor = 'local' where id = '{own}'")
        env.update(MLFLOW_RUN_ID=own, MLFLOW_EXPERIMENT_ID="0", MLFLOW_TRACKING_TOKEN=s.run_token(own)["Authorization"].split()[1])
        arguments.append(other)
    code = subprocess.run([python, script, s.url, *arguments], env=env, timeout=900).returncode
    if code:
        print(s.log()[-4000:])
sys.exit(code)
