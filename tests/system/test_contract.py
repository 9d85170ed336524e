"""Schemathesis runs all its checks against the live service: every answer fits /openapi.json, and none is a 5xx.

https://schemathesis.readthedocs.io . Requests are generated from the contract, valid and invalid ones, the same in each
run; schemathesis_hooks.py has the pictures. It prints its summary, which `pytest -s` shows.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests.conftest import REPOSITORY
from tests.system.server import serving

KEY = "secret"
SECONDS = 300
CONFIGURATION = """
hooks = "tests.system.schemathesis_hooks"
seed = 1
suppress-health-check = ["all"]
continue-on-failure = true
request-timeout = 60

[generation]
deterministic = true
max-examples = {examples}
no-shrink = true

[parameters]
"path.version" = "{version}"
"path.name" = "accuracy.png"

# What a schema cannot say: a picture may show no digit.
[checks.positive_data_acceptance]
expected-statuses = ["2xx", "422"]

# Nor that the data of a tensor has as many values as its shape, and binary data as many bytes as its header.
[[operations]]
include-operation-id = ["infer", "inferVersion"]
checks.positive_data_acceptance.expected-statuses = ["2xx", "400", "413", "422"]

# Nor what the API key is.
[[operations]]
include-operation-id = ["submitForm"]
checks.positive_data_acceptance.expected-statuses = ["2xx", "401", "422"]
"""


def test_every_command_of_the_contract_runs(tmp_path: Path) -> None:
    shutil.copy(REPOSITORY / "tests" / "pictures" / "seven.png", tmp_path)
    with serving(workers=1, api_key=KEY, prefix="/digits") as server:
        document = server.client.get("/digits/openapi.json").json()
        samples = document["paths"]["/predict"]["post"]["x-codeSamples"]
        assert len(samples) == 4
        for sample in samples:
            command = sample["source"].replace("Bearer KEY", f"Bearer {KEY}")
            result = subprocess.run(["sh", "-c", command], cwd=tmp_path, capture_output=True, check=True)
            assert json.loads(result.stdout)["predictions"][0]["digit"] == 7, command


def test_every_response_fits_the_contract(tmp_path: Path) -> None:
    with serving(workers=2, api_key=KEY, feedback_dir=tmp_path / "feedback") as server:
        version = server.client.get("/readyz").json()["version"]
        configuration = tmp_path / "schemathesis.toml"
        configuration.write_text(CONFIGURATION.format(version=version, examples=5))
        command = [
            *(str(Path(sys.executable).parent / "schemathesis"), "--config-file", str(configuration)),
            *("run", f"{server.address}/openapi.json", "--checks", "all", "--header", f"Authorization: Bearer {KEY}"),
        ]
        environment = os.environ | {"PYTHONPATH": str(REPOSITORY), "CONTRACT_KEY": KEY}
        result = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=SECONDS, check=False
        )
        print(result.stdout)
        assert result.returncode == 0, result.stdout + result.stderr
        assert "Traceback" not in server.log
