"""Fixtures for all tests: MNIST, small complete versions of the model, the service with one of them."""

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pytest
from flask.testing import FlaskClient

from service.app import create_app
from service.context import ServiceContext
from service.settings import Settings
from training.data import mnist as dataset
from training.data.mnist import Dataset
from training.model import network
from training.model.network import Layer, Parameters
from training.publish import registry, saved_model
from training.recipe import Recipe

REPOSITORY = Path(__file__).parent.parent

pytest_plugins = ["tests.groups"]


class Versions:
    """Makes complete versions: each network is exported and sealed once a session, and copied from there."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._recipe = Recipe.load("smoke")

    def put(self, models: Path, number: int, *, digit: int | None = None, **manifest: Any) -> Path:
        """Make version `number` appear in `models` by one rename, and return its directory.

        Args:
            models: the model directory; made if it is not there.
            number: the version's number.
            digit: what it answers to every image; None for the five layers with seeded random parameters.
            manifest: keys of the manifest to replace.
        """
        original = self._original(digit)
        building = models / f".tmp-{number}"
        shutil.copytree(original, building)
        merged = json.loads((building / registry.MANIFEST).read_text()) | {"version": number} | manifest
        (building / registry.MANIFEST).write_text(json.dumps(merged))
        return building.rename(models / str(number))

    def _original(self, digit: int | None) -> Path:
        directory = self._directory / ("random" if digit is None else str(digit))
        if not directory.exists():
            directory.mkdir()
            parameters = _random(self._recipe) if digit is None else _always(digit)
            saved_model.export(parameters, self._recipe.activation, 1.0, directory)
            registry.write_manifest(directory, 1, self._manifest(parameters))
        return directory

    def _manifest(self, parameters: Parameters) -> dict[str, Any]:
        return {
            "name": "digits",
            "created_at": "2026-01-01T00:00:00Z",
            "recipe": self._recipe.as_dict(),
            "seed": self._recipe.seed,
            "parameters": network.parameter_count(parameters),
            "metrics": {"test_accuracy": 0.1},
            "temperature": 1.0,
            "thresholds": {"confidence": 0.5},
        }


def _random(recipe: Recipe) -> Parameters:
    random = np.random.default_rng(recipe.seed)
    layers = network.initial_parameters(recipe)
    return tuple(Layer(weights, random.normal(0, 0.5, len(biases)).astype(np.float32)) for weights, biases in layers)


def _always(digit: int) -> Parameters:
    return (Layer(np.zeros((784, 10), np.float32), 8 * np.eye(10, dtype=np.float32)[digit]),)


class Serve(Protocol):
    """Makes an application with these settings and starts it; the test's end closes it."""

    def __call__(self, models: Path, **settings: Any) -> FlaskClient: ...


@pytest.fixture(scope="session")
def mnist() -> Dataset:
    """MNIST, from DIGITS_DATA or data/mnist; fetched if it is not there."""
    return dataset.load(Path(os.environ.get("DIGITS_DATA", REPOSITORY / "data" / "mnist")))


@pytest.fixture(scope="session")
def versions(tmp_path_factory: pytest.TempPathFactory) -> Versions:
    """What makes versions."""
    return Versions(tmp_path_factory.mktemp("versions"))


@pytest.fixture(scope="session")
def one_version(versions: Versions, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model directory with version 1, of random parameters. Not to be written to."""
    models = tmp_path_factory.mktemp("models")
    versions.put(models, 1)
    return models


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """An empty model directory."""
    directory = tmp_path / "models"
    directory.mkdir()
    return directory


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Makes applications that look for new versions only when told to: `service_of(client).store.refresh()`."""
    running: list[ServiceContext] = []

    def start(models: Path, **settings: Any) -> FlaskClient:
        app = create_app(Settings(model_dir=models, **{"model_poll_seconds": 3600.0} | settings))
        running.append(app.extensions["digits"])
        return app.test_client()

    yield start
    for service in running:
        service.close()


@pytest.fixture
def client(serve: Serve, one_version: Path) -> FlaskClient:
    """A client of the service with version 1."""
    return serve(one_version)


def service_of(client: FlaskClient) -> ServiceContext:
    """What lives behind a client's application."""
    service = client.application.extensions["digits"]
    assert isinstance(service, ServiceContext)
    return service


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Bodies and pictures go by the name of their argument."""
    return argname if isinstance(val, bytes | np.ndarray) else None
