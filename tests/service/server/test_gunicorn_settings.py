"""gunicorn's settings that the worker would ignore are refused."""

from pathlib import Path
from types import SimpleNamespace

import pytest
from gunicorn.config import Config

from service.server.gunicorn_settings import WORKER, WSGI_APP, check
from service.settings import SettingError

APP = SimpleNamespace(app_uri=WSGI_APP)


def defaults() -> Config:
    """gunicorn's defaults, with the worker of service/gunicorn.conf.py."""
    config = Config()
    config.set("worker_class", WORKER)
    return config


def test_the_defaults_are_accepted() -> None:
    check(defaults(), APP)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("preload_app", True, "gunicorn's setting preload_app is 'True'; allowed: unset; the model is loaded before"),
        ("asgi_lifespan", "off", "gunicorn's setting asgi_lifespan is 'off'; allowed: auto"),
        ("worker_connections", 10, "gunicorn's setting worker_connections is '10'; allowed: unset; DIGITS_MAX_IN_F"),
        ("protocol", "uwsgi", "gunicorn's setting protocol is 'uwsgi'; allowed: http"),
        ("worker_class", "gthread", "gunicorn's setting worker_class is 'gthread'; allowed: service.server.worker."),
        ("bind", "unix:/tmp/digits", "gunicorn's setting bind is 'unix:/tmp/digits'; allowed: HOST:PORT"),
        ("keyfile", "key.pem", "gunicorn's setting keyfile is 'key.pem'; allowed: only with a certfile"),
        ("reuse_port", True, "gunicorn's setting reuse_port is 'True'; allowed: unset"),
        ("threads", 8, "gunicorn's setting threads is '8'; allowed: unset; DIGITS_THREADS"),
        ("paste", "development.ini", "gunicorn's setting paste is 'development.ini'; allowed: unset"),
        ("root_path", "/digits", "gunicorn's setting root_path is '/digits'; allowed: unset; DIGITS_PREFIX"),
    ],
)
def test_a_setting_that_would_be_ignored_is_refused(name: str, value: object, message: str) -> None:
    config = defaults()
    config.set(name, value)
    with pytest.raises(SettingError) as caught:
        check(config, APP)
    assert str(caught.value).startswith(message)


def test_another_application_is_refused() -> None:
    with pytest.raises(
        SettingError, match=r"^gunicorn's application is 'other:app'; allowed: none on the command line"
    ):
        check(defaults(), SimpleNamespace(app_uri="other:app"))


def test_a_certificate_that_cannot_be_used_is_refused(tmp_path: Path) -> None:
    config, file = defaults(), tmp_path / "certificate.pem"
    file.write_text("no certificate")
    config.set("certfile", str(file))
    config.set("keyfile", str(file))
    with pytest.raises(
        SettingError, match=r"certificate\.pem and .*certificate\.pem'; allowed: a certificate and its key"
    ):
        check(config, APP)
