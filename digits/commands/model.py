"""`digits health` and `digits model`: what a service has to say of itself."""

import json
import sys
from typing import Any

import click

from digits.commands.options import connect, connects
from digits.results import Model


@click.command()
@connects
def health(url: str, key: str | None, timeout: float) -> None:
    """Report whether the service is ready to predict; exit code 1 if not."""
    with connect(url, key, timeout) as client:
        found = client.health()
    click.echo("ready" if found.ready else f"not ready: {found.sentence}")
    sys.exit(0 if found.ready else 1)


@click.command()
@connects
@click.option("--json", "as_json", is_flag=True, help="Print the whole manifest as JSON.")
def model(url: str, key: str | None, timeout: float, *, as_json: bool) -> None:
    """Show the version that the service uses."""
    with connect(url, key, timeout) as client:
        found = client.model()
    if as_json:
        click.echo(
            json.dumps({"version": found.version, "runtime": found.runtime, "manifest": found.manifest}, indent=2)
        )
        return
    for name, value in facts(found):
        click.echo(f"{name:<16} {value}")


def facts(model: Model) -> list[tuple[str, str]]:
    """Return what the table shows: name and value of each line. Manifests of other makers may lack some."""
    manifest = model.manifest
    metrics: dict[str, Any] = manifest.get("metrics", {})
    values = {
        "version": model.version,
        "runtime": model.runtime,
        "created": manifest.get("created_at"),
        "recipe": _name(manifest.get("recipe")),
        "parameters": _format(manifest.get("parameters"), "{:,}"),
        "test accuracy": _format(metrics.get("test_accuracy"), "{:.2f} %", 100),
        "cross-entropy": _format(metrics.get("test_cross_entropy"), "{:.4f}"),
        "calibration": _format(metrics.get("ece"), "{:.4f} expected error"),
    }
    return [(name, str(value)) for name, value in values.items() if value is not None]


def _format(value: object, template: str, factor: int = 1) -> str | None:
    return template.format(value * factor) if isinstance(value, (int, float)) else None


def _name(recipe: object) -> object:
    return recipe.get("name") if isinstance(recipe, dict) else recipe
