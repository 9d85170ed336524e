"""The client of the Digits service: `from digits import Client`, and the command `digits`."""

from digits.async_client import AsyncClient
from digits.client import Client
from digits.errors import (
    Busy,
    DigitsError,
    InvalidAddress,
    InvalidResponse,
    InvalidSource,
    PictureRejected,
    RequestRejected,
    ServiceFailed,
    Unauthorised,
    Unreachable,
)
from digits.exchanges import Options, Outcome
from digits.results import Health, ImagePredictions, Model, Prediction, SplitDigit, SplitPrediction
from digits.retry import Retry

__all__ = [
    "AsyncClient",
    "Busy",
    "Client",
    "DigitsError",
    "Health",
    "ImagePredictions",
    "InvalidAddress",
    "InvalidResponse",
    "InvalidSource",
    "Model",
    "Options",
    "Outcome",
    "PictureRejected",
    "Prediction",
    "RequestRejected",
    "Retry",
    "ServiceFailed",
    "SplitDigit",
    "SplitPrediction",
    "Unauthorised",
    "Unreachable",
]
