"""The worker for a gunicorn that gunicorn_compat.py does not fit: gunicorn's own asgi worker, by its public names only.

It lacks the fast path, the balanced accept, load shedding and the drain of idle connections.
"""

from collections.abc import Callable

from flask import Flask
from gunicorn.workers.gasgi import ASGIWorker

from service.server.asgi import Application


class PlainWorker(ASGIWorker):  # type: ignore[misc]
    """Serves one Flask application as gunicorn's asgi worker does."""

    app_factory: Callable[[], Flask]

    def load_wsgi(self) -> None:
        """Create the application."""
        self.asgi = Application(self.app_factory())
