"""The client needs no package of the service or the training."""

import json
import subprocess
import sys

from tests.conftest import REPOSITORY

OTHERS = {"PIL", "cv2", "flask", "gunicorn", "keras", "numpy", "pyarrow", "service", "tensorflow", "training"}


def test_the_client_and_its_command_import_no_other_room() -> None:
    program = "import sys, json, digits, digits.cli.main; print(json.dumps(list(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    modules = {name.partition(".")[0] for name in json.loads(done.stdout)}
    assert "httpx" in modules
    assert modules & OTHERS == set()
