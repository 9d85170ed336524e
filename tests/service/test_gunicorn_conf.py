"""gunicorn's configuration file: what it sets, and what its hooks do to the server and the workers."""

import errno
import logging
import os
import runpy
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from gunicorn.config import Config

from service.monitoring import prometheus_compat, slot_files
from service.server import gunicorn_compat
from service.server.acceptor import NO_WORKER, ConnectionCounts
from service.server.gunicorn_settings import WORKER, WSGI_APP
from service.server.service_state import ServiceState
from tests.conftest import REPOSITORY

LISTENER = SimpleNamespace(sock=SimpleNamespace(getsockname=lambda: ("127.0.0.1", 8000)))


def load(monkeypatch: pytest.MonkeyPatch, **settings: object) -> SimpleNamespace:
    """Run the file as gunicorn does, with DIGITS_* settings given in small letters."""
    for name in [name for name in os.environ if name.startswith("DIGITS_") and name != "DIGITS_DATA"]:
        monkeypatch.delenv(name)
    for name, value in settings.items():
        monkeypatch.setenv(f"DIGITS_{name.upper()}", str(value))
    return SimpleNamespace(**runpy.run_path(str(REPOSITORY / "service" / "gunicorn.conf.py")))


def server(**more: Any) -> Any:
    """An arbiter, as far as the hooks need one."""
    config = Config()
    config.set("worker_class", WORKER)
    arbiter: dict[str, Any] = {"pid": os.getpid(), "master_pid": 0, "reexec_pid": 0, "systemd": False}
    arbiter |= {"stop": lambda _: None, "spawn_worker": lambda: 1, "service_state": ServiceState.create()}
    return SimpleNamespace(cfg=config, app=SimpleNamespace(app_uri=WSGI_APP), WORKERS={}, **(arbiter | more))


@pytest.mark.parametrize(("host", "bind"), [("127.0.0.1", "127.0.0.1:8123"), ("::1", "[::1]:8123")])
def test_settings_become_gunicorns(monkeypatch: pytest.MonkeyPatch, host: str, bind: str) -> None:
    conf = load(monkeypatch, host=host, port=8123, workers=3, shutdown_timeout_seconds=7, log_level="warning")
    assert (conf.bind, conf.workers, conf.graceful_timeout, conf.loglevel) == (bind, 3, 7, "warning")
    assert conf.worker_class == "service.server.worker.DigitsWorker"


def test_a_wrong_setting_is_one_line_and_exit_code_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        load(monkeypatch, port="http")
    assert ended.value.code == 2
    assert capsys.readouterr().err == "digits: DIGITS_PORT is 'http'; allowed: an integer from 0 to 65535\n"


def test_an_untested_gunicorn_is_logged_and_gets_the_plain_worker(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(gunicorn_compat, "INCOMPATIBILITIES", ["gunicorn 99 is installed, 1 is tested", "more"])
    conf = load(monkeypatch)
    assert conf.worker_class == "service.server.plain_worker.PlainWorker"
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert record.message.startswith("gunicorn 99 is installed, 1 is tested: the service runs on")


def test_a_setting_of_gunicorns_that_would_be_ignored_stops_the_start(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    starting = server()
    starting.cfg.set("preload_app", value=True)
    with pytest.raises(SystemExit) as ended:
        load(monkeypatch).on_starting(starting)
    assert ended.value.code == 2
    assert capsys.readouterr().err.startswith("digits: gunicorn's setting preload_app is 'True'")
    assert not hasattr(starting, "metrics_dir"), "nothing was made that would have to be removed"


def test_a_fresh_metrics_directory_is_made_and_removed(monkeypatch: pytest.MonkeyPatch, one_version: Path) -> None:
    conf, starting = load(monkeypatch, model_dir=one_version), server()
    conf.on_starting(starting)
    assert list(starting.metrics_dir.iterdir()) == []
    assert starting.preloaded.model.version == "1"
    conf._remove_metrics_dir(starting.metrics_dir, os.getpid() + 1)
    assert starting.metrics_dir.exists(), "the end of a worker removes nothing"
    conf._remove_metrics_dir(starting.metrics_dir, os.getpid())
    assert not starting.metrics_dir.exists()


def test_counts_of_an_earlier_run_are_removed_once_the_port_is_bound(
    monkeypatch: pytest.MonkeyPatch, models: Path, tmp_path: Path
) -> None:
    directory = tmp_path / "metrics"
    directory.mkdir()
    for name in ("counter_0.db", "other.txt"):
        (directory / name).touch()
    conf, starting = load(monkeypatch, model_dir=models, metrics_dir=directory), server(LISTENERS=[LISTENER])
    conf.on_starting(starting)
    assert (starting.metrics_dir, starting.preloaded) == (directory, None)
    assert (directory / "counter_0.db").exists(), "a second start must not erase the counts of a running service"
    conf.when_ready(starting)
    assert (directory / "other.txt").exists()
    assert slot_files.read(directory / "counter_0.db") == []
    kinds = ("counter", "histogram", "gauge_livesum", "gauge_livemax")
    created = {f"{kind}_{slot}.db" for kind in kinds for slot in range(conf.workers)}
    assert {path.name for path in directory.iterdir()} == {"other.txt"} | created


@pytest.mark.parametrize("hook", ["on_starting", "when_ready"])
def test_a_start_without_space_for_the_metrics_is_one_line_and_exit_code_2(
    hook: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], models: Path, tmp_path: Path
) -> None:
    def fail(*_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    conf = load(monkeypatch, model_dir=models, metrics_dir=tmp_path / "metrics", workers=2)
    starting = server(LISTENERS=[LISTENER], metrics_dir=tmp_path / "metrics")
    (tmp_path / "metrics").mkdir()
    monkeypatch.setattr(os, "posix_fallocate", fail, raising=False)
    with pytest.raises(SystemExit) as ended:
        getattr(conf, hook)(starting)
    assert ended.value.code == 2
    assert capsys.readouterr().err == (
        f"digits: 663552 bytes for the metrics of 2 workers cannot be allocated in {tmp_path / 'metrics'}: "
        "No space left on device; free space there, or set DIGITS_METRICS_DIR to another directory\n"
    )


@pytest.mark.parametrize(
    ("address", "tls", "printed"),
    [
        (("127.0.0.1", 8000), False, "http://127.0.0.1:8000"),
        (("::1", 8000, 0, 0), False, "http://[::1]:8000"),
        (("127.0.0.1", 8443), True, "https://127.0.0.1:8443"),
    ],
)
def test_the_address_is_printed_with_a_command_to_try_it(  # noqa: PLR0913
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    address: tuple[Any, ...],
    printed: str,
    *,
    tls: bool,
) -> None:
    listener = SimpleNamespace(sock=SimpleNamespace(getsockname=lambda: address))
    ready = server(LISTENERS=[listener], metrics_dir=tmp_path)
    if tls:
        ready.cfg.set("certfile", __file__)
        ready.cfg.set("keyfile", __file__)
    load(monkeypatch).when_ready(ready)
    first, second = capsys.readouterr().out.splitlines()
    assert first == f"Digits is ready on {printed}"
    assert second.startswith("  curl -F file=@/")
    assert second.endswith(f"/seven.png '{printed}/predict?fields=digit,confidence'")


def test_a_worker_gets_the_lowest_free_slot(monkeypatch: pytest.MonkeyPatch) -> None:
    conf, forking = load(monkeypatch), server(counts=ConnectionCounts())
    for pid, expected in enumerate((0, 1, 2)):
        worker = SimpleNamespace()
        conf.pre_fork(forking, worker)
        assert (worker.slot, worker.counts) == (expected, forking.counts)
        assert worker.service_state is forking.service_state
        forking.WORKERS[pid] = worker
    del forking.WORKERS[1]
    conf.pre_fork(forking, worker := SimpleNamespace())
    assert worker.slot == 1


def test_a_worker_writes_the_files_of_its_slot_and_shares_the_preloaded_model(
    monkeypatch: pytest.MonkeyPatch, one_version: Path, tmp_path: Path
) -> None:
    used: list[tuple[Path, int]] = []
    monkeypatch.setattr(prometheus_compat, "use_slot_files", lambda *slot: used.append(slot))
    conf = load(monkeypatch, model_dir=one_version, metrics_dir=tmp_path)
    starting = server(SIG_QUEUE="queue")
    conf.on_starting(starting)
    worker = SimpleNamespace(slot=4)
    conf.post_fork(starting, worker)
    assert used == [(tmp_path, 4)]
    assert worker.inherited_signals == "queue"
    context = worker.app_factory().extensions["digits"]
    try:
        assert context.settings.metrics_dir == tmp_path
        assert context.store.current is starting.preloaded.model
    finally:
        context.close()


def test_a_worker_that_has_ended_leaves_no_gauge_and_no_count(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with slot_files.SlotFiles(tmp_path, 5) as files:
        for kind in ("gauge_livesum", "counter"):
            files.add(kind, "key")
        files.write()
    ended = server(counts=ConnectionCounts(), metrics_dir=tmp_path)
    ended.counts.register(5)
    load(monkeypatch).child_exit(ended, SimpleNamespace(slot=5))
    assert ended.counts.get(5) == NO_WORKER
    assert slot_files.read(tmp_path / "gauge_livesum_5.db") == []
    assert slot_files.read(tmp_path / "counter_5.db") == [("key", 0.0)]


def test_a_stop_of_the_service_is_noted_before_it_begins(monkeypatch: pytest.MonkeyPatch, models: Path) -> None:
    noted: list[bool] = []
    starting = server()
    starting.stop = lambda _: noted.append(starting.service_state.is_stopping)
    load(monkeypatch, model_dir=models).on_starting(starting)
    assert not starting.service_state.is_stopping
    starting.stop()
    assert noted == [True]


@pytest.mark.parametrize("more", [{}, {"master_pid": 7}])
def test_sockets_that_another_arbiter_uses_are_noted(
    monkeypatch: pytest.MonkeyPatch, models: Path, more: dict[str, int]
) -> None:
    conf, starting = load(monkeypatch, model_dir=models), server(**more)
    conf.on_starting(starting)
    assert starting.service_state.shares_sockets == bool(more)
    conf.pre_exec(starting)
    assert starting.service_state.shares_sockets


def test_a_worker_that_cannot_start_ends_the_service_only_before_another_has_started(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    conf = load(monkeypatch)
    monkeypatch.setattr(conf.ParserPool, "start", lambda *_, **__: None)
    monkeypatch.setattr(prometheus_compat, "use_slot_files", lambda *_: None)
    forking = server(SIG_QUEUE=None, metrics_dir=tmp_path, preloaded=None)
    first, second = (SimpleNamespace(slot=slot, service_state=forking.service_state) for slot in (0, 1))
    conf.post_fork(forking, first)
    conf.post_worker_init(first)
    conf.post_fork(forking, second)
    assert (first.booted, second.booted) == (False, True), "gunicorn ends the service if a worker is not booted"


@pytest.mark.parametrize(
    ("was_ready", "more", "slept"),
    [
        (True, {}, [1.0]),
        (False, {}, []),
        (True, {"has_started": True}, []),
        (True, {"alive": False}, []),
        (True, {"pid": -1}, []),
    ],
    ids=["it failed to start", "at the first start", "it had started", "it was stopped", "called in the arbiter"],
)
def test_a_worker_that_fails_to_start_delays_the_next_attempt(
    monkeypatch: pytest.MonkeyPatch, more: dict[str, Any], slept: list[float], *, was_ready: bool
) -> None:
    conf, ended, found = load(monkeypatch), server(pid=os.getppid()), list[float]()
    monkeypatch.setattr(time, "sleep", found.append)
    ended.service_state.was_ready = was_ready
    conf.worker_exit(ended, SimpleNamespace(**({"pid": os.getpid(), "alive": True} | more)))
    assert found == slept


@pytest.mark.parametrize(
    ("arbiter", "setting", "removed"), [(-1, False, True), (os.getppid(), False, False), (-1, True, False)]
)
def test_workers_remove_the_metrics_directory_of_a_killed_arbiter(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, arbiter: int, *, setting: bool, removed: bool
) -> None:
    directory = tmp_path / "metrics"
    directory.mkdir()
    conf = load(monkeypatch, **({"metrics_dir": directory} if setting else {}))
    conf.worker_exit(server(pid=arbiter, metrics_dir=directory), SimpleNamespace(pid=os.getpid(), alive=False))
    assert directory.exists() is not removed


def test_an_exception_in_a_hook_of_the_arbiter_is_logged_only(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    load(monkeypatch).child_exit(server(counts=None), SimpleNamespace(slot=0))
    assert caplog.messages == ["gunicorn's hook child_exit failed"]


@pytest.mark.parametrize("usable", [True, False])
def test_workers_have_their_heartbeat_in_memory_if_files_can_be_made_there(
    monkeypatch: pytest.MonkeyPatch, *, usable: bool
) -> None:
    monkeypatch.setattr(gunicorn_compat, "is_usable_directory", lambda _: usable)
    assert load(monkeypatch).worker_tmp_dir == ("/dev/shm" if usable else None)  # noqa: S108
