"""`digits health` and `digits model`."""

import json

import click

from digits.cli.options import connect, service_options
from digits.results import ModelInfo


@click.command()
@service_options
def health(url: str, key: str | None, timeout: float) -> int:
    """Report whether the service can predict: exit code 0 if it can, 1 if not."""
    with connect(url, key, timeout) as client:
        found = client.health()
    print(f"ready, version {found.version}" if found.ready else f"not ready: {found.reason}")
    return 0 if found.ready else 1


@click.command()
@service_options
@click.option("--json", "as_json", is_flag=True, help="Print the version, the runtime and the whole manifest as JSON.")
def model(url: str, key: str | None, timeout: float, *, as_json: bool) -> None:
    """Describe the version of the model in use."""
    with connect(url, key, timeout) as client:
        found = client.model()
    if as_json:
        document = {"version": found.version, "runtime": found.runtime, "manifest": found.manifest}
        print(json.dumps(document, indent=2))
    else:
        rows = describe(found)
        width = max(map(len, rows))
        print("\n".join(f"{name:<{width}}  {value}" for name, value in rows.items()))


def describe(found: ModelInfo) -> dict[str, str]:
    """The rows of the table; a row that the manifest lacks is left out."""
    manifest = found.manifest
    metrics, recipe, thresholds = (_object(manifest.get(key)) for key in ("metrics", "recipe", "thresholds"))
    rows = {
        "version": found.version,
        "runtime": found.runtime,
        "created": manifest.get("created_at"),
        "recipe": recipe.get("name"),
        "parameters": _format(manifest.get("parameters"), ","),
        "test accuracy": _format(metrics.get("test_accuracy"), ".2%"),
        "test cross-entropy": _format(metrics.get("test_cross_entropy"), ".4f"),
        "test calibration error": _format(metrics.get("test_ece"), ".4f"),
        "uncertain below": _format(thresholds.get("confidence"), ".3f"),
        "code revision": manifest.get("code_revision"),
    }
    return {name: str(value) for name, value in rows.items() if value is not None}


def _object(value: object) -> dict[str, object]:
    return value if isinstance(value, dict) else {}


def _format(value: object, specification: str) -> str | None:
    return format(value, specification) if isinstance(value, int | float) else None
