"""service/isolation/parser_process.py without a pool: what the process does when its worker has ended."""

import socket

import numpy as np

from service.isolation.messages import Request, encode_request
from service.isolation.parser_process import run_parser
from service.prediction.protocol import BodyFormat
from service.settings import Settings
from tests.service.isolation.fresh_process import run_in_fresh_process
from tests.service.payloads import encode, stroke

PNG = encode(255 - np.pad(stroke(), 40))


async def returns_without_its_worker() -> None:
    worker, parser = socket.socketpair()
    with worker:
        for part in encode_request(Request(PNG, BodyFormat("native", "image/png"))):
            worker.sendall(part)
    run_parser(Settings(), parser)


def test_a_reply_that_nobody_waits_for_is_no_error() -> None:
    run_in_fresh_process(returns_without_its_worker)
