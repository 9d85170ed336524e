"""Checks gunicorn's own settings at the start: one that would be ignored is refused, with a sentence that names it."""

import contextlib
import resource
import ssl
from typing import Any

from service.server.gunicorn_compat import ssl_context
from service.settings import SettingError

WSGI_APP = "service.app:create_app()"
WORKER = "service.server.worker.DigitsWorker"
PLAIN_WORKER = "service.server.plain_worker.PlainWorker"

UNSUPPORTED: dict[str, tuple[object, str]] = {
    "preload_app": (False, "unset; the model is loaded before the fork without it"),
    "asgi_lifespan": ("auto", "auto; the application always starts and stops with its worker"),
    "worker_connections": (1000, "unset; DIGITS_MAX_IN_FLIGHT limits what a worker accepts"),
    "protocol": ("http", "http"),
    "paste": (None, "unset"),
    "root_path": ("", "unset; DIGITS_PREFIX names the path prefix"),
    "reuse_port": (False, "unset; the workers share one socket and balance its connections"),
    "threads": (1, "unset; DIGITS_THREADS sets the threads for slow requests"),
}
"""Settings that the worker does not implement: the default, and what is allowed instead."""


MAX_DESCRIPTORS = 1 << 16


def raise_descriptor_limit() -> None:
    """Allow as many file descriptors, one for each connection, as the system lets the process have."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    limit = min(hard, MAX_DESCRIPTORS)
    with contextlib.suppress(OSError, ValueError):  # macOS allows fewer than its hard limit
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, limit), hard))


def check(config: Any, app: Any) -> None:
    """Check the settings of a gunicorn that is starting.

    Args:
        config: gunicorn's Config.
        app: gunicorn's application object.

    Raises:
        SettingError: a setting would be ignored, or the TLS files cannot be used.
    """
    if getattr(app, "app_uri", WSGI_APP) != WSGI_APP:
        raise SettingError("gunicorn's application", app.app_uri, f"none on the command line; it is {WSGI_APP}")
    worker_class = config.settings["worker_class"].get()
    if worker_class not in (WORKER, PLAIN_WORKER):
        raise SettingError("gunicorn's setting worker_class", str(worker_class), f"{WORKER} and {PLAIN_WORKER}")
    for address in config.settings["bind"].get():
        if address.startswith(("unix:", "fd:")):
            raise SettingError("gunicorn's setting bind", address, "HOST:PORT; the service does not listen on others")
    if config.keyfile and not config.certfile:
        raise SettingError("gunicorn's setting keyfile", config.keyfile, "only with a certfile")
    for name, (default, allowed) in UNSUPPORTED.items():
        value = getattr(config, name, default)
        if value != default:
            raise SettingError(f"gunicorn's setting {name}", str(value), allowed)
    try:
        ssl_context(config)
    except (OSError, ssl.SSLError, ValueError) as error:
        files = " and ".join(name for name in (config.certfile, config.keyfile) if name)
        raise SettingError("gunicorn's certfile and keyfile", files, f"a certificate and its key ({error})") from None
