"""A raw connection to the server of a test module."""

from collections.abc import Iterator

import pytest

from tests.system.http.raw_http import RawConnection, connect
from tests.system.server import Server


@pytest.fixture
def connection(server: Server) -> Iterator[RawConnection]:
    """A connection to the module's `server`; closed at the end of the test."""
    with connect(server) as opened:
        yield opened
