"""A client of Digits, synchronous and asynchronous; `digits` is its command line.

    from digits import Client

    with Client("http://127.0.0.1:8000") as client:
        print(client.predict("seven.png").digit)

The client needs httpx only; it imports neither the service nor the training, and NumPy only for arrays.
"""

from digits.async_client import AsyncClient
from digits.client import Client
from digits.errors import (
    DigitsError,
    InvalidResponse,
    NotReady,
    RequestRejected,
    ServiceFailed,
    ServiceUnreachable,
    TooBusy,
    Unauthorised,
)
from digits.results import BoxedDigit, BulkPrediction, Health, ModelInfo, Number, Prediction
from digits.retries import Retries

__all__ = [
    "AsyncClient",
    "BoxedDigit",
    "BulkPrediction",
    "Client",
    "DigitsError",
    "Health",
    "InvalidResponse",
    "ModelInfo",
    "NotReady",
    "Number",
    "Prediction",
    "RequestRejected",
    "Retries",
    "ServiceFailed",
    "ServiceUnreachable",
    "TooBusy",
    "Unauthorised",
]
