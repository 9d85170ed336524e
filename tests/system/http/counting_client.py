"""Clients that keep a service busy until it refuses connections, and count the requests that got no response.

A refused connection is not lost: the client knows that nothing was handled, and can go elsewhere. A request is lost if
its connection was established, and then ended without a complete response.

    python -m tests.system.http.counting_client 50 MODEL_DIR      # 50 stops under load, one line each
"""

import asyncio
import signal
import sys
import threading
from collections import Counter
from pathlib import Path
from typing import Self

from tests.system.http.raw_http import PREDICT
from tests.system.server import Server, serving

CONNECTIONS = 32
WARM_UP = 1000
"""Responses before the service is stopped."""
TIMEOUT_SECONDS = 60
PREDICT_ONCE = PREDICT.replace(b"Host: x", b"Host: x\r\nConnection: close", 1)


class CountingClients(threading.Thread):
    """Sends predict requests on many connections at once until the service refuses connections.

    Attributes:
        outcomes: number of requests by outcome: `ok`, or what was lost and how.
        reached: set when WARM_UP responses have arrived.
    """

    def __init__(self, address: tuple[str, int], *, keep_alive: bool, connections: int = CONNECTIONS) -> None:
        """Create them; the context manager runs them, and waits at its end until the service refuses connections.

        Args:
            address: host and port of the service.
            keep_alive: whether a connection is used until the service closes it, or for one request.
            connections: number of concurrent clients.
        """
        super().__init__(name="keep-alive" if keep_alive else "one request")
        self.outcomes: Counter[str] = Counter()
        self.reached = threading.Event()
        self._failed = False
        self._address, self._connections, self._keep_alive = address, connections, keep_alive

    def __enter__(self) -> Self:
        self.start()
        if not self.reached.wait(TIMEOUT_SECONDS):
            self._failed = True
            raise AssertionError(f"the load has not begun: {self.outcomes}")
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        self._failed = kind is not None
        self.join()

    @property
    def lost(self) -> dict[str, int]:
        """The requests without a response, by what happened."""
        return {outcome: count for outcome, count in self.outcomes.items() if outcome != "ok"}

    def run(self) -> None:
        """Send requests until all clients are refused."""
        asyncio.run(self._run())

    async def _run(self) -> None:
        await asyncio.gather(*(self._client() for _ in range(self._connections)))

    async def _client(self) -> None:
        while not self._failed:
            try:
                async with asyncio.timeout(TIMEOUT_SECONDS):
                    reader, writer = await asyncio.open_connection(*self._address)
            except OSError:
                return
            try:
                await self._use(reader, writer)
            except TimeoutError:
                self.outcomes["no response"] += 1
            except (OSError, EOFError) as error:
                self.outcomes[type(error).__name__] += 1
            finally:
                writer.close()

    async def _use(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Send requests until the connection is to be closed."""
        closing = False
        while not closing and not self._failed:
            writer.write(PREDICT if self._keep_alive else PREDICT_ONCE)
            async with asyncio.timeout(TIMEOUT_SECONDS):
                head = await reader.readuntil(b"\r\n\r\n")
                length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
                await reader.readexactly(int(length))
            status = head.split(maxsplit=2)[1]
            self.outcomes["ok" if status in {b"200", b"429"} else status.decode()] += 1
            if self.outcomes["ok"] >= WARM_UP:
                self.reached.set()
            closing = b"\r\nconnection: close\r\n" in head.lower()


def stop_under_load(server: Server, number: signal.Signals = signal.SIGTERM) -> CountingClients:
    """Stop a service while clients of both kinds send requests; returns their counts together."""
    kept, single = (CountingClients(server.host_and_port, keep_alive=keep_alive) for keep_alive in (True, False))
    with kept, single:
        server.process.send_signal(number)
    kept.outcomes.update(single.outcomes)
    return kept


def main() -> None:
    """Stop services under load, with arguments COUNT MODEL_DIR, and print what each stop lost."""
    total: Counter[str] = Counter()
    for index in range(int(sys.argv[1])):
        with serving(model_dir=Path(sys.argv[2]).resolve(), workers=2) as server:
            server.wait_for_workers(2)
            outcomes = stop_under_load(server).outcomes
        total.update(outcomes)
        print(index + 1, dict(outcomes), flush=True)
    print("total", dict(total))


if __name__ == "__main__":
    main()
