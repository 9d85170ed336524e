"""`digits serve`: the service with the version of the model in the package, or in the clone.

The service runs as gunicorn in place of this process. This module imports nothing of it.
"""

import os
import sys
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

import click

MODULES = ("ai_edge_litert", "cv2", "flask", "gunicorn", "msgspec", "numpy", "orjson", "PIL", "prometheus_client")
"""What the service needs, by the names of its modules."""
INSTALL = "the service is not installed; run: pip install 'digits[serve]'"
PATHS = ("DIGITS_MODEL_DIR", "DIGITS_FEEDBACK_DIR", "DIGITS_METRICS_DIR")
ROOT = Path(__file__).parents[2]
"""The directory of the packages `digits` and `service`: site-packages, or a clone."""
CONFIGURATION = ROOT / "service" / "gunicorn.conf.py"


@click.command()
@click.option("--host", help="Address to listen on. [default: 127.0.0.1]")
@click.option("--port", type=click.IntRange(0, 65535), help="Port to listen on; 0 picks a free one. [default: 8000]")
@click.option("--workers", type=click.IntRange(1, 256), help="Worker processes. [default: one per core]")
@click.option(
    "--model-dir",
    type=click.Path(exists=True, file_okay=False),
    help="Directory of the published versions. [default: the version in the package]",
)
def serve(host: str | None, port: int | None, workers: int | None, model_dir: str | None) -> None:
    """Run the service until it is stopped with Ctrl-C or SIGTERM.

    All other settings are DIGITS_* variables; an option has precedence over its variable.
    """
    if not CONFIGURATION.is_file() or any(find_spec(name) is None for name in MODULES):
        raise click.UsageError(INSTALL)
    options = {"HOST": host, "PORT": port, "WORKERS": workers, "MODEL_DIR": model_dir}
    environment = build_environment(os.environ, options, find_model_dir())
    command = [sys.executable, "-P", "-m", "gunicorn", "--config", str(CONFIGURATION)]
    os.chdir(ROOT)  # gunicorn imports from its working directory first, where another package may be named `service`
    os.execve(sys.executable, command, environment)  # noqa: S606 - signals go to the service itself


def build_environment(inherited: Mapping[str, str], options: Mapping[str, object], model_dir: Path) -> dict[str, str]:
    """The environment of the service, with absolute paths: the service has another working directory."""
    given = {f"DIGITS_{name}": str(value) for name, value in options.items() if value is not None}
    environment = {"DIGITS_MODEL_DIR": str(model_dir)} | dict(inherited) | given
    return environment | {name: str(Path(environment[name]).absolute()) for name in PATHS if environment.get(name)}


def find_model_dir(root: Path = ROOT) -> Path:
    """The directory of versions in the package; in a clone its models/digits."""
    packaged = root / "digits" / "models"
    return packaged if packaged.is_dir() else root / "models" / "digits"
