"""What Schemathesis cannot know of the contract: the pictures that fit `"format": "picture"` and the types of files.

Schemathesis imports this module in a process of its own; tests/system/test_contract.py starts it.
"""

import os
from base64 import b64encode
from typing import Any

import numpy as np
import schemathesis
from hypothesis import strategies as st

from service.web.openapi import examples
from tests.service.payloads import encode, idx3, npy, stroke

PICTURES = [examples.EXAMPLE_FILE.read_bytes(), encode(stroke()), encode(255 - np.pad(stroke(), 30))]
ARRAYS = [idx3(stroke()[None]), npy(stroke()[None])]

schemathesis.openapi.format("picture", st.sampled_from([b64encode(picture).decode() for picture in PICTURES]))
schemathesis.openapi.format("api-key", st.just(os.environ["CONTRACT_KEY"]))
schemathesis.openapi.media_type("image/*", st.sampled_from(PICTURES))
schemathesis.openapi.media_type("application/octet-stream", st.sampled_from([*ARRAYS, stroke().tobytes()]))
schemathesis.openapi.media_type("application/x-npy", st.just(npy(stroke()[None])))


@schemathesis.hook
def filter_case(_: schemathesis.HookContext, case: "schemathesis.Case[Any]") -> bool:
    """Leave out the two parameters of POST /predict that exclude each other, as its description states."""
    query = case.query or {}
    return not (query.get("split") and query.get("normalise") == "never")
