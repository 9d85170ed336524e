"""gunicorn's configuration: `gunicorn --config service/gunicorn.conf.py` starts the service with DIGITS_* settings.

The newest version is loaded once, before the workers are forked, so that they share its memory and Python's modules.
Workers have a slot, the lowest number that no running worker has: their metrics go into the files of the slot.
"""

import atexit
import dataclasses
import gc
import logging
import os
import shlex
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from gunicorn.arbiter import Arbiter
from gunicorn.workers.base import Worker

from service.app import create_app
from service.inference import model_store
from service.inference.last_version import LastVersion
from service.isolation.parser_pool import ParserPool
from service.monitoring import prometheus_compat, slot_files
from service.server import gunicorn_compat, gunicorn_settings
from service.server.acceptor import ConnectionCounts
from service.server.service_state import ServiceState
from service.settings import SettingError, Settings, split_list

EXAMPLE = Path(__file__).parent / "web" / "example" / "seven.png"
RESTART_SECONDS = 1.0
"""How long a worker that could not start delays the next attempt: each takes half a second of a core."""
SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - a file system in memory, where there is one

try:
    settings = Settings.from_environment()
except SettingError as error:
    print(f"digits: {error}", file=sys.stderr)
    sys.exit(2)

bind = f"[{settings.host}]:{settings.port}" if ":" in settings.host else f"{settings.host}:{settings.port}"
workers = settings.workers
wsgi_app = gunicorn_settings.WSGI_APP
worker_class = gunicorn_settings.WORKER
graceful_timeout = settings.shutdown_timeout_seconds
keepalive = 5
control_socket_disable = True
forwarded_allow_ips = ",".join(split_list(settings.trusted_proxies))
loglevel = settings.log_level
# Workers write their heartbeat there: it must not wait for a disk.
worker_tmp_dir = str(SHARED_MEMORY) if gunicorn_compat.is_usable_directory(SHARED_MEMORY) else None
logging.basicConfig(level=settings.log_level.upper(), format="[%(asctime)s] [%(process)d] [%(levelname)s] %(message)s")

if gunicorn_compat.INCOMPATIBILITIES:
    worker_class = gunicorn_settings.PLAIN_WORKER
    logging.getLogger("service.server").warning(
        "%s: the service runs on gunicorn's own asgi worker, slower", gunicorn_compat.INCOMPATIBILITIES[0]
    )


def on_starting(server: Arbiter) -> None:
    """Check gunicorn's settings, make the directory of the metrics, and load what all workers share."""
    try:
        gunicorn_settings.check(server.cfg, server.app)
    except SettingError as error:
        print(f"digits: {error}", file=sys.stderr)
        sys.exit(2)
    with _exit_without_space_for_metrics():
        server.metrics_dir = _make_metrics_dir()
        slot_files.check_space(server.metrics_dir, settings.workers)
    gunicorn_settings.raise_descriptor_limit()
    server.counts, server.service_state = ConnectionCounts(), ServiceState.create()
    server.service_state.shares_sockets = gunicorn_compat.is_second_arbiter(server)
    gunicorn_compat.call_before_stop(server, server.service_state.stop)
    gunicorn_compat.retry_failed_starts(server, lambda: server.service_state.was_ready)
    server.preloaded, server.last_version = (
        model_store.preload(settings.model_dir, settings.runtime),
        LastVersion.create(),
    )
    gc.freeze()  # what exists now is never garbage: a collection in a worker must not touch, and so copy, its memory


def when_ready(server: Arbiter) -> None:
    """Replace counts of an earlier run, and print the address of the service with a command to try it.

    Not before the port is bound: a second start on the same port must not erase the counts of a running service.
    """
    with _exit_without_space_for_metrics():
        slot_files.create(server.metrics_dir, settings.workers)
    host, port = gunicorn_compat.bound_address(server)
    address = f"{'https' if server.cfg.is_ssl else 'http'}://{f'[{host}]' if ':' in host else host}:{port}"
    print(f"Digits is ready on {address}", flush=True)
    picture = shlex.quote(f"file=@{EXAMPLE.resolve()}")
    print(f"  curl -F {picture} '{address}/predict?fields=digit,confidence'", flush=True)


def pre_fork(server: Arbiter, worker: Worker) -> None:
    """Give the worker the lowest free slot."""
    taken = {other.slot for other in gunicorn_compat.running_workers(server)}
    worker.slot = next(slot for slot in range(len(taken) + 1) if slot not in taken)
    worker.counts, worker.service_state = server.counts, server.service_state


@gunicorn_compat.never_raises
def pre_exec(server: Arbiter) -> None:
    """Note, before another arbiter is started by SIGUSR2, that it will accept from the same sockets."""
    server.service_state.shares_sockets = True


def post_fork(server: Arbiter, worker: Worker) -> None:
    """Point the new process at the metrics files of its slot, and start its parsers, before the application."""
    worker.booted = server.service_state.was_ready  # if not, a worker that cannot start ends the service
    prometheus_compat.use_slot_files(server.metrics_dir, worker.slot)
    own = dataclasses.replace(settings, metrics_dir=server.metrics_dir)
    worker.inherited_signals = gunicorn_compat.queued_signals(server)  # as the fork copied it
    # Without its fork server a worker could replace no parser: it stops as at SIGTERM, and the arbiter replaces it.
    parsers = ParserPool.start(own, on_lost=partial(os.kill, os.getpid(), signal.SIGTERM))
    worker.app_factory = lambda: create_app(own, server.preloaded, parsers, server.last_version)


def post_worker_init(worker: Worker) -> None:
    """Note that a worker has started: from now on, one that cannot is tried again."""
    worker.service_state.was_ready = worker.has_started = True


def worker_exit(server: Arbiter, worker: Worker) -> None:
    """Limit the rate of failed starts, and clean up for an arbiter that was killed. Called in the worker's process."""
    if os.getpid() != worker.pid:  # gunicorn calls it in the arbiter too, for a worker that it does not find
        return
    if worker.alive and not hasattr(worker, "has_started") and server.service_state.was_ready:
        time.sleep(RESTART_SECONDS)
    if os.getppid() != server.pid and settings.metrics_dir is None:
        shutil.rmtree(server.metrics_dir, ignore_errors=True)


@gunicorn_compat.never_raises
def child_exit(server: Arbiter, worker: Worker) -> None:
    """Forget the gauges and connections of a worker that has ended; its counters stay, for the next one in its slot."""
    server.counts.unregister(worker.slot)
    slot_files.clear_live_gauges(server.metrics_dir, worker.slot)


def _make_metrics_dir() -> Path:
    if settings.metrics_dir is not None:
        settings.metrics_dir.mkdir(parents=True, exist_ok=True)
        return settings.metrics_dir
    directory = Path(tempfile.mkdtemp(prefix=f"digits-metrics-{os.getpid()}-", dir=worker_tmp_dir))
    atexit.register(_remove_metrics_dir, directory, os.getpid())
    return directory


@contextmanager
def _exit_without_space_for_metrics() -> Iterator[None]:
    """Exit with code 2 and one sentence if the metric files cannot be made: /metrics would lack what is in them."""
    try:
        yield
    except OSError as error:
        directory = settings.metrics_dir or worker_tmp_dir or tempfile.gettempdir()
        print(
            f"digits: {settings.workers * slot_files.SLOT_BYTES} bytes for the metrics of {settings.workers} workers "
            f"cannot be allocated in {directory}: {error.strerror or error}; free space there, or set "
            "DIGITS_METRICS_DIR to another directory",
            file=sys.stderr,
        )
        sys.exit(2)


def _remove_metrics_dir(directory: Path, pid: int) -> None:
    """Remove the temporary directory when the arbiter ends, after a failed start too; not when a worker ends."""
    if os.getpid() == pid:
        shutil.rmtree(directory, ignore_errors=True)
