"""Starts a service and runs a script against it: with_service.py WINNOW PYTHON SCRIPT [ARGUMENT ...]; the script gets the address first."""
import pathlib, subprocess, sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from service import Service  # noqa: E402

winnow, python, script, *arguments = sys.argv[1:]
with Service(pathlib.Path(winnow).resolve()) as s:
    code = subprocess.run([python, script, s.url, *arguments], timeout=900).returncode
    if code:
        print(s.log()[-4000:])
sys.exit(code)
