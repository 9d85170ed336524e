"""gunicorn's configuration file: what it sets, and what its hooks do to the server and the workers."""

import errno
import logging
import os
import runpy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from gunicorn.config import Config

from service.monitoring import prometheus_compat, slot_files
from service.server import gunicorn_compat
from service.server.acceptor import NO_WORKER, ConnectionCounts
from service.server.gunicorn_settings import WORKER, WSGI_APP
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
    return SimpleNamespace(cfg=config, app=SimpleNamespace(app_uri=WSGI_APP), WORKERS={}, **more)


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
