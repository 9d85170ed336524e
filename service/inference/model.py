"""A version as a model: verify its files against the manifest, load the network for a runtime, warm it up."""

import errno
import hashlib
import importlib.util
import os
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from service.inference import trial
from service.inference.manifest import MANIFEST, Manifest, read_manifest
from service.inference.predictions import Predictions
from service.inference.rejection import ModelRejected, one_line, printable
from service.inference.runtimes import LiteRT, Runtime, TensorFlow
from service.inference.version_files import UnusableFile, hash_file, is_missing, measure_tree, read_file
from service.inference.version_list import MAX_ENTRIES
from service.inference.warm_up import warm_up
from service.types import Batch

TFLITE_FILE = "model.tflite"
MAX_TFLITE_BYTES = 256 << 20
"""Maximum size of a TFLite model; the trainer writes 0.3 MB."""
MAX_VERSION_BYTES = 1 << 30
"""Maximum size of all files that a manifest lists: they are hashed before loading, 1 GiB in a second or two."""

TRANSIENT_ERRORS = {errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN, errno.EIO, errno.ESTALE}
"""Errors that say nothing about a version: it is tried again."""


@dataclass(frozen=True)
class Model:
    """A loaded version. `load` returns it warm.

    Attributes:
        version: the number of the version, in decimal.
        manifest: what the service reads of its manifest; None if it has none.
        runtime: runs the network.
        manifest_json: the whole manifest as JSON; "null" if there is none.
        confidence_threshold: predictions with a lower confidence are uncertain: 0 to 1, a float32 number, as the
            confidences are; 0 if the manifest sets no threshold.
    """

    version: str
    manifest: Manifest | None
    runtime: Runtime
    manifest_json: bytes = field(default=b"null", repr=False)
    confidence_threshold: float = field(init=False)

    def __post_init__(self) -> None:
        threshold = self.manifest.thresholds.confidence if self.manifest else 0.0
        object.__setattr__(self, "confidence_threshold", float(np.float32(threshold)))

    def predict(self, batch: Batch) -> Predictions:
        """Predict a batch uint8 [N, 28, 28], N >= 1."""
        return Predictions.from_probabilities(self.runtime(batch), self.confidence_threshold)


def load(path: Path, runtime: str) -> Model:
    """Verify and load the version in `path`, and warm it up.

    Args:
        path: a version's directory.
        runtime: "litert", "tensorflow", or "auto": LiteRT if the manifest lists a TFLite model, else TensorFlow.

    Raises:
        ModelRejected: whatever is wrong with the version.
    """
    try:
        return _load(path, runtime)
    except UnusableFile as error:
        raise ModelRejected("files", f"a file {error}") from error
    except OSError as error:
        transient = error.errno in TRANSIENT_ERRORS
        raise ModelRejected("files", f"a file cannot be read: {error}", transient=transient) from error
    except MemoryError as error:
        raise ModelRejected("error", "there is too little memory to load it", transient=True) from error
    except ModelRejected:
        raise
    except Exception as error:
        # Files, a manifest and a network of unknown origin pass through four libraries. Whatever they raise is raised
        # for this version, and must not hide another.
        raise ModelRejected("error", f"{type(error).__name__}: {one_line(error)}") from error


def _load(path: Path, runtime: str) -> Model:
    if not path.is_dir():
        raise ModelRejected("files", "it is not a directory, or a link that leads to none")
    manifest_file = read_manifest(path)
    manifest, content = manifest_file or (None, b"null")
    tflite = _verify_files(path, manifest) if manifest else None
    if runtime == "litert" and tflite is None:
        raise ModelRejected("runtime", f"the runtime litert needs {TFLITE_FILE}, which no manifest lists")
    use_litert = tflite is not None and runtime != "tensorflow"
    try:
        network: LiteRT | TensorFlow = (
            _load_tflite(tflite) if tflite is not None and use_litert else _load_saved_model(path)
        )
        model = Model(path.name, manifest, network, content)
        warm_up(model.predict)
    except (ValueError, RuntimeError) as error:
        raise ModelRejected("signature", f"the model cannot be run: {one_line(error)}") from error
    network.release_threads()
    return model


def _load_tflite(content: bytes) -> LiteRT:
    trial.try_network(content, len(content))
    return LiteRT(content)


def _load_saved_model(path: Path) -> TensorFlow:
    """Load a SavedModel. TensorFlow opens the files itself, and would wait for a FIFO."""
    try:
        size = measure_tree(path, MAX_ENTRIES, MAX_VERSION_BYTES)
    except UnusableFile as error:
        raise ModelRejected("files", f"the SavedModel {error}") from None
    if importlib.util.find_spec("tensorflow") is not None:  # else the reason is reported below
        trial.try_network(path, size)
    return TensorFlow(path)


def _verify_files(path: Path, manifest: Manifest) -> bytes | None:
    """Check the SHA-256 of every listed file; return the content of the TFLite model, None if it is not listed."""
    directory = os.path.realpath(path)
    files = {name: os.path.realpath(path / name) for name in manifest.files if "\0" not in name}
    for name in manifest.files:
        if not files.get(name, "").startswith(f"{directory}{os.sep}"):
            raise ModelRejected("manifest", f"{MANIFEST} lists {name!r}, which is outside of the version's directory")
    _check_total_size(path, manifest)
    tflite = None
    for name, sha256 in manifest.files.items():
        try:
            if name == TFLITE_FILE:
                tflite = read_file(path / name, MAX_TFLITE_BYTES)
                actual = hashlib.sha256(tflite).hexdigest()
            else:
                actual = hash_file(path / name)
        except UnusableFile as error:
            raise ModelRejected("files", f"{printable(name)} {error}") from None
        except OSError as error:
            if is_missing(error):
                raise ModelRejected("checksum", f"{printable(name)} is missing") from None
            raise
        if actual != sha256:
            listed = printable(sha256)
            raise ModelRejected("checksum", f"{printable(name)} has sha256 {actual}; the manifest lists {listed}")
    return tflite


def _check_total_size(path: Path, manifest: Manifest) -> None:
    """Check the size of all listed files together; one that is missing is noticed later."""
    total = 0
    for name in manifest.files:
        with suppress(OSError):
            total += (path / name).stat().st_size
    if total > MAX_VERSION_BYTES:
        raise ModelRejected("files", f"the listed files have {total} bytes; {MAX_VERSION_BYTES} are allowed")
