"""Recipes: files, overrides, ranges, error sentences, renamed keys."""

import dataclasses
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.recipe import RECIPES, RENAMED_KEYS, Recipe, RecipeError, RenamedKeysError

PARAMETERS = {"notebook": 185_300, "best": 185_300, "smoke": 185_300, "one_layer": 7_850}


def test_all_recipes_of_the_project_are_tested() -> None:
    assert {path.stem for path in RECIPES.glob("*.toml")} == PARAMETERS.keys()


@pytest.mark.parametrize("name", PARAMETERS)
def test_parameter_count_and_round_trip_of_the_resolved_file(name: str, tmp_path: Path) -> None:
    recipe = Recipe.load(name)
    assert recipe.parameters == PARAMETERS[name]
    changed = Recipe.load(name, ["learning_rate=1e-07", "layers=7,8,9", "activation=gelu", "seed=12"])
    for written in (recipe, changed):
        file = tmp_path / f"{name}.toml"
        file.write_text(written.as_toml())
        assert Recipe.load(str(file)) == written


@given(
    layers=st.lists(st.integers(1, 10_000), max_size=8),
    learning_rate=st.floats(1e-9, 100),
    ema_decay=st.floats(0, 0.99999),
    seed=st.integers(0, 2**31 - 1),
    optimiser=st.sampled_from(["gradient_descent", "adamw"]),
)
def test_overrides_and_toml_preserve_every_value_exactly(layers: list[int], **values: Any) -> None:
    overrides = [f"layers={','.join(map(str, layers))}", *(f"{key}={value}" for key, value in values.items())]
    recipe = Recipe.load("smoke", overrides)
    assert {key: getattr(recipe, key) for key in values} == values
    assert recipe.sizes == (784, *layers, 10)
    assert {"name": "smoke"} | tomllib.loads(recipe.as_toml()) == recipe.as_dict()


def test_a_recipe_is_immutable() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Recipe.load("smoke").seed = 1  # type: ignore[misc]


ACTIVATIONS = "sigmoid, relu, gelu"


@pytest.mark.parametrize(
    ("override", "value", "allowed"),
    [
        ("layer=3", "3", "layers, activation"),
        ("name=other", "other", "layers, activation"),
        ("activation=tanh", "tanh", ACTIVATIONS),
        ("activation=", "", ACTIVATIONS),
        ("optimiser=sgd", "sgd", "gradient_descent, adamw"),
        ("learning_rate=fast", "fast", "from 1e-09 to 100"),
        ("learning_rate=nan", "nan", "from 1e-09 to 100"),
        ("learning_rate=0", "0", "from 1e-09 to 100"),
        ("ema_decay=1", "1", "from 0 to 0.99999"),
        ("iterations=1.5", "1.5", "an integer"),
        ("iterations=0", "0", "from 1 to 2147483647"),
        ("seed=-1", "-1", "from 0 to 2147483647"),
        ("layers=200,0", "(200, 0)", "up to 8 integers"),
        ("layers=200,many", "200,many", "up to 8 integers"),
        ("layers=1,2,3,4,5,6,7,8,9", "9", "up to 8 integers"),
        ("print_every=75", "75", "a multiple of evaluate_every, 50"),
    ],
)
def test_rejects_an_override_and_names_key_value_and_range(override: str, value: str, allowed: str) -> None:
    with pytest.raises(RecipeError) as caught:
        Recipe.load("smoke", [override])
    key = override.partition("=")[0]
    assert caught.value.key == key
    for part in (key, value, allowed):
        assert part in str(caught.value)


def test_rejects_a_seed_beyond_int32() -> None:
    with pytest.raises(RecipeError, match=f"seed is {2**31}"):
        Recipe.load("smoke", [f"seed={2**31}"])


def test_rejects_an_override_without_a_value() -> None:
    with pytest.raises(RecipeError, match=r"'seed'; allowed: KEY=VALUE"):
        Recipe.load("smoke", ["seed"])


@pytest.mark.parametrize(
    ("key", "line", "parts"),
    [
        ("seed", "", ["None", "an integer", "missing"]),
        ("seed", "seed = true", ["True", "an integer"]),
        ("seed", "seed = 0.0", ["0.0", "an integer"]),
        ("learning_rate", 'learning_rate = "0.1"', ["'0.1'", "from 1e-09 to 100"]),
        ("layers", "layers = 200", ["200", "up to 8 integers"]),
        ("layers", "layers = [1.5]", ["1.5", "up to 8 integers"]),
        ("dropout", "dropout = 0.5", ["0.5", "layers, activation"]),
    ],
)
def test_rejects_a_file_and_names_key_value_and_range(key: str, line: str, parts: list[str], tmp_path: Path) -> None:
    valid = Recipe.load("smoke").as_toml().splitlines()
    file = tmp_path / "mine.toml"
    file.write_text("\n".join([*(other for other in valid if not other.startswith(f"{key} =")), line]))
    with pytest.raises(RecipeError) as caught:
        Recipe.load(str(file))
    for part in (key, *parts):
        assert part in str(caught.value)


def test_renamed_keys_are_reported_together_and_the_renamed_file_loads(tmp_path: Path) -> None:
    recipe = Recipe.load("best", ["seed=3"])
    toml = recipe.as_toml()
    for old, new in RENAMED_KEYS.items():
        assert f"\n{new} = " in toml
        toml = toml.replace(f"\n{new} = ", f"\n{old} = ")
    file = tmp_path / "recipe.toml"
    file.write_text(toml)
    with pytest.raises(RenamedKeysError, match="rename averaging to ema_decay, copies to augmented_copies") as caught:
        Recipe.load(str(file))
    assert caught.value.keys == sorted(RENAMED_KEYS)
    for old, new in RENAMED_KEYS.items():
        assert f"{old} to {new}" in str(caught.value)
        toml = toml.replace(f"\n{old} = ", f"\n{new} = ")
    file.write_text(toml)
    assert Recipe.load(str(file)) == recipe


def test_an_unknown_recipe_is_reported_with_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"'nothing'; allowed: best, notebook, one_layer, smoke"):
        Recipe.load("nothing")
    (tmp_path / "broken.toml").write_text("seed = ")
    with pytest.raises(RecipeError, match=r"broken\.toml'; allowed: a TOML file"):
        Recipe.load(str(tmp_path / "broken.toml"))
