"""A client that sends requests in the background, while a test does what no client may notice."""

import threading
from collections.abc import Callable
from typing import Self

import httpx


class PollingClient(threading.Thread):
    """Sends the same predict request again and again, and records failures and versions.

    As a context manager it runs until the end of the block.

    Attributes:
        requests: number of requests sent.
        failures: one sentence for each response that is not as expected, and for each error of the connection.
        versions: versions of the model that have responded.
    """

    def __init__(  # noqa: PLR0913 - all but three are optional
        self,
        address: str,
        body: bytes,
        content_type: str,
        *,
        pictures: int = 1,
        pause: float = 0.02,
        expected_digit: Callable[[int], int] | None = None,
    ) -> None:
        """Create the client; `start` or the context manager runs it.

        Args:
            address: base URL of the service.
            body: the body of every request.
            content_type: its type.
            pictures: number of predictions that every response must have.
            pause: seconds from a response to the next request, so that the test has a share of the cores.
            expected_digit: the digit that a version predicts for every picture, if that is known.
        """
        super().__init__(name=content_type)
        self.requests, self.failures, self.versions = 0, list[str](), set[str]()
        self._address, self._pause = address, pause
        self._body, self._content_type, self._pictures, self._expected_digit = (
            body,
            content_type,
            pictures,
            expected_digit,
        )
        self._stop_event = threading.Event()
        self._new_version = threading.Condition()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop_event.set()
        self.join()

    def run(self) -> None:
        """Send requests until the end of the block."""
        with httpx.Client(base_url=self._address, timeout=60) as client:
            while not self._stop_event.wait(self._pause):
                self.requests += 1
                try:
                    self._send(client)
                except httpx.HTTPError as error:
                    self.failures.append(repr(error))

    def _send(self, client: httpx.Client) -> None:
        headers = {"Content-Type": self._content_type}
        response = client.post("/predict", params={"fields": "digit"}, content=self._body, headers=headers)
        if response.status_code != 200:
            self.failures.append(f"{response.status_code} {response.text}")
            return
        content = response.json()
        version, digits = content["version"], [prediction["digit"] for prediction in content["predictions"]]
        if len(digits) != self._pictures:
            self.failures.append(f"{len(digits)} predictions for {self._pictures} pictures")
        if self._expected_digit and set(digits) != {self._expected_digit(int(version))}:
            self.failures.append(f"version {version} predicted {sorted(set(digits))}")
        with self._new_version:
            self.versions.add(version)
            self._new_version.notify_all()

    def wait_for_version(self, version: int) -> bool:
        """Wait until the version has responded to this client; False if it has not within 30 seconds."""
        with self._new_version:
            return self._new_version.wait_for(lambda: str(version) in self.versions, timeout=30)
