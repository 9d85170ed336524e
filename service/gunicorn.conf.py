"""gunicorn's configuration: `gunicorn --config service/gunicorn.conf.py`, with DIGITS_* settings.

The newest version is loaded once, before the workers are forked, so that they share its memory and Python's modules.
Workers are keyed by slot, the lowest number that no running worker has: their metrics go into the files of the slot.
"""

import gc
import logging
import os
import shlex
import shutil
import sys
import tempfile
from pathlib import Path

from gunicorn.arbiter import Arbiter
from gunicorn.workers.base import Worker
from prometheus_client.multiprocess import mark_process_dead

from service.app import create_app
from service.inference import model_store
from service.monitoring.metrics import use_slot_files
from service.server.acceptor import ConnectionCounts
from service.settings import SettingError, Settings

EXAMPLE = Path(__file__).parent.parent / "tests" / "pictures" / "seven.png"
MEMORY = Path("/dev/shm")  # noqa: S108 - a file system in memory, where there is one

try:
    settings = Settings.from_environment()
except SettingError as error:
    print(f"digits: {error}", file=sys.stderr)
    sys.exit(2)

bind = f"[{settings.host}]:{settings.port}" if ":" in settings.host else f"{settings.host}:{settings.port}"
workers = settings.workers
wsgi_app = "service.app:create_app()"
worker_class = "service.server.worker.DigitsWorker"
graceful_timeout = settings.shutdown_timeout_seconds
keepalive = 5
control_socket_disable = True
loglevel = settings.log_level
worker_tmp_dir = str(MEMORY) if os.access(MEMORY, os.W_OK) else None  # a heartbeat must not wait for a disk
logging.basicConfig(level=settings.log_level.upper(), format="[%(asctime)s] [%(process)d] [%(levelname)s] %(message)s")


def on_starting(server: Arbiter) -> None:
    """Make an empty directory for the metrics, and load what all workers share."""
    if settings.metrics_dir is None:
        server.metrics_dir = Path(tempfile.mkdtemp(prefix="digits-metrics-", dir=worker_tmp_dir))
    else:
        server.metrics_dir = settings.metrics_dir
        server.metrics_dir.mkdir(parents=True, exist_ok=True)
        for old in server.metrics_dir.glob("*.db"):
            old.unlink()
    server.counts = ConnectionCounts()
    server.loaded = model_store.preload(settings.model_dir, settings.runtime)
    gc.freeze()  # what is there now is never garbage: a collection in a worker must not touch, and so copy, its pages


def when_ready(server: Arbiter) -> None:
    """Say where the service is and how to try it."""
    address = f"http://{server.LISTENERS[0].sock.getsockname()[0]}:{server.LISTENERS[0].sock.getsockname()[1]}"
    print(f"Digits answers on {address}", flush=True)
    if EXAMPLE.exists():
        print(f"  curl -F {shlex.quote(f'file=@{EXAMPLE.resolve()}')} {address}/predict", flush=True)


def pre_fork(server: Arbiter, worker: Worker) -> None:
    """Give the worker the lowest free slot."""
    taken = {other.slot for other in server.WORKERS.values()}
    worker.slot = next(slot for slot in range(len(taken) + 1) if slot not in taken)
    worker.counts = server.counts


def post_fork(server: Arbiter, worker: Worker) -> None:
    """Point the new process at its metrics files, before it makes the application."""
    use_slot_files(server.metrics_dir, worker.slot)
    os.environ["DIGITS_METRICS_DIR"] = str(server.metrics_dir)
    worker.inherited_signals = server.SIG_QUEUE  # as the fork copied it
    worker.app_factory = lambda: create_app(Settings.from_environment(), server.loaded)


def child_exit(server: Arbiter, worker: Worker) -> None:
    """Forget the gauges and connections of a worker that is gone; its counters stay, for the next one in its slot."""
    server.counts.unregister(worker.slot)
    mark_process_dead(worker.slot, str(server.metrics_dir))


def on_exit(server: Arbiter) -> None:
    """Leave nothing behind."""
    if settings.metrics_dir is None:
        shutil.rmtree(server.metrics_dir, ignore_errors=True)
