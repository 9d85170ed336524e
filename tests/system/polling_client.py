"""A client that goes on asking while a test does what must not be noticed."""

import threading
from typing import Self

import httpx


class Caller(threading.Thread):
    """A client that asks again and again; notes what is not answered as it should be, and every version that it saw."""

    def __init__(self, address: str, body: bytes, content_type: str, pictures: int = 1, pause: float = 0.02) -> None:
        super().__init__(name=content_type)
        self.asked, self.wrong, self.versions = 0, list[str](), set[str]()
        self._address, self._body, self._type, self._pictures, self._pause = (
            address,
            body,
            content_type,
            pictures,
            pause,
        )
        self._done = threading.Event()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self.join()

    def run(self) -> None:
        """Ask until the end, with a pause after each answer: the cores have other work too."""
        with httpx.Client(base_url=self._address, timeout=60) as client:
            while not self._done.wait(self._pause):
                self.asked += 1
                try:
                    self._ask(client)
                except httpx.HTTPError as error:
                    self.wrong.append(repr(error))

    def _ask(self, client: httpx.Client) -> None:
        headers = {"Content-Type": self._type}
        response = client.post("/predict", params={"fields": "digit"}, content=self._body, headers=headers)
        if response.status_code != 200:
            self.wrong.append(f"{response.status_code} {response.text}")
            return
        answer = response.json()
        self.versions.add(answer["version"])
        if len(answer["predictions"]) != self._pictures:
            self.wrong.append(f"{len(answer['predictions'])} answers to {self._pictures} pictures")
