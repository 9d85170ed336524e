"""Publishes a version of small files: `python -m tests.training.publish.publisher MODELS`."""

import sys
from pathlib import Path

from training.publish import registry

FILES = {"saved_model.pb": b"graph", "model.tflite": b"tflite", "variables/data": b"\0" * 5000, "report/card.md": b"#"}


def publish_small_files(models: Path, accuracy: float = 0.9) -> registry.Version:
    """Stage the files and publish them."""
    with registry.staging(models) as directory:
        for name, content in FILES.items():
            (directory / name).parent.mkdir(exist_ok=True)
            (directory / name).write_bytes(content)
        return registry.publish(models, directory, {"name": "digits", "metrics": {"test_accuracy": accuracy}})


if __name__ == "__main__":
    print("publishing", flush=True)
    print(publish_small_files(Path(sys.argv[1])).number, flush=True)
