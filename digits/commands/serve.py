"""`digits serve`: start the service that is installed beside the client, with the version that is in the package.

The service is not imported: gunicorn replaces this process, and reads the service's configuration by its path.
"""

import os
import sys
from importlib.util import find_spec
from pathlib import Path

import click

REQUIRED_MODULES = ("gunicorn", "flask", "ai_edge_litert", "cv2", "orjson", "msgspec", "prometheus_client")
ROOT = Path(__file__).parents[2]
"""The directory of the packages digits and service: site-packages, or a clone."""
PACKAGED_MODELS = ROOT / "digits" / "models"
"""Where the wheel has the version that was the newest when it was made. A clone has none there."""
CLONED_MODELS = ROOT / "models" / "digits"


@click.command()
@click.option("--host", help="Address to listen on.  [default: 127.0.0.1]")
@click.option("--port", type=click.IntRange(0, 65535), help="Port to listen on; 0 picks a free one.  [default: 8000]")
@click.option("--workers", type=click.IntRange(1, 256), help="Worker processes.  [default: one per core]")
@click.option(
    "--model-dir",
    type=click.Path(exists=True, file_okay=False, resolve_path=True),
    help="Directory of the published versions.  [default: the version in the package]",
)
def serve(host: str | None, port: int | None, workers: int | None, model_dir: str | None) -> None:
    """Start the service.

    All other settings are environment variables DIGITS_*; an option here takes precedence over its variable.
    """
    check_installed()
    options = {"HOST": host, "PORT": port, "WORKERS": workers, "MODEL_DIR": model_dir}
    environment = dict(os.environ)
    environment |= {f"DIGITS_{name}": str(value) for name, value in options.items() if value is not None}
    environment.setdefault("DIGITS_MODEL_DIR", str(PACKAGED_MODELS if PACKAGED_MODELS.is_dir() else CLONED_MODELS))
    # A directory `service` where the command is run must not take the place of the installed one: -P leaves it out, and
    # gunicorn would put it first unless it is on the path already.
    path = [str(ROOT), os.environ.get("PYTHONPATH", ""), str(Path.cwd())]
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, path))
    command = [sys.executable, "-P", "-m", "gunicorn", "--config", str(ROOT / "service" / "gunicorn.conf.py")]
    os.execve(sys.executable, command, environment)  # noqa: S606 - no shell


def check_installed() -> None:
    """Check that the service can be started.

    Raises:
        UsageError: what it requires is not installed.
    """
    missing = [name for name in REQUIRED_MODULES if find_spec(name) is None]
    if missing:
        raise click.UsageError(
            f"the service is not installed (no {', '.join(missing)}); install it with: pip install 'digits[serve]'"
        )
