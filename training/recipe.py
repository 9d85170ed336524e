"""A recipe: everything that decides a training run, as one TOML file and one frozen dataclass.

    recipe = Recipe.load("best", ["layers=300,100", "learning_rate=0.03"])

The file `recipes/NAME.toml` must have every key; `--set KEY=VALUE` overrides one. An unknown key or a value
out of range raises `RecipeError`, which names the key, the value and the allowed range.
"""

import json
import reprlib
import tomllib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Self

from training.errors import TrainingError
from training.read_file import read_regular_file

RECIPES = Path(__file__).parent / "recipes"
RENAMED_KEYS = {
    "averaging": "ema_decay",
    "copies": "augmented_copies",
    "elastic": "elastic_std",
    "elastic_smoothness": "elastic_sigma",
    "label_share": "hard_label_weight",
    "softness": "distillation_temperature",
    "strangers": "outliers_per_batch",
    "strangers_weight": "outlier_weight",
    "teachers": "teacher_widths",
    "warm_up": "warmup_iterations",
}
"""Old names of keys, found in the recipe.toml of old runs, and their present names."""
MAX_FILE_BYTES = 1 << 20

_repr = reprlib.Repr()
_repr.maxstring = _repr.maxother = _repr.maxlong = 100
_repr.maxtuple = _repr.maxlist = 20


class RecipeError(TrainingError):
    """An unknown or missing key, or a value out of range."""

    def __init__(self, key: str, value: object, allowed: str) -> None:
        super().__init__(f"recipe: {key} is {_describe(value)}; allowed: {allowed}")
        self.key, self.value, self.allowed = key, value, allowed


class RenamedKeysError(TrainingError):
    """A recipe file with keys that have been renamed since it was written."""

    def __init__(self, path: Path, keys: Sequence[str]) -> None:
        renames = ", ".join(f"{key} to {RENAMED_KEYS[key]}" for key in keys)
        super().__init__(f"{path} has recipe keys of an earlier release; rename {renames} in it and try again")
        self.path, self.keys = path, keys


@dataclass(frozen=True)
class Rule:
    """The allowed values of a key as text, the parser of an override, and the check of a value."""

    allowed: str
    parse: Callable[[str], object]
    admits: Callable[[object], bool]


def _one_of(*choices: str) -> Any:
    return _key(Rule(", ".join(choices), str, lambda value: value in choices))


def _integer(low: int, high: int = 2**31 - 1) -> Any:
    return _key(Rule(f"an integer from {low} to {high}", int, lambda v: type(v) is int and low <= v <= high))


def _real(low: float, high: float) -> Any:
    def admits(value: object) -> bool:
        return isinstance(value, int | float) and type(value) is not bool and low <= value <= high

    return _key(Rule(f"a number from {low:g} to {high:g}", float, admits))


def _sizes(max_count: int) -> Any:
    def parse(text: str) -> tuple[int, ...]:
        return tuple(int(item) for item in text.split(",") if item.strip())

    def admits(value: object) -> bool:
        sizes = value if isinstance(value, tuple) else (None,)
        return len(sizes) <= max_count and all(type(size) is int and 1 <= size <= 10_000 for size in sizes)

    return _key(Rule(f"up to {max_count} integers from 1 to 10000, for example 200,100", parse, admits))


def _key(rule: Rule) -> Any:
    return field(metadata={"rule": rule})


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """All settings of a training run. Units are in the comments; the order is that of the TOML files."""

    name: str  # the file's stem, unless the file has a key `name`, as the recipe.toml of a run has
    seed: int = _integer(0)

    layers: tuple[int, ...] = _sizes(8)  # widths of the hidden layers, between 784 inputs and 10 outputs
    activation: str = _one_of("sigmoid", "relu", "gelu", "silu")
    initialisation: str = _one_of("truncated_normal", "he")  # he: standard deviation sqrt(2 / inputs)
    initial_stddev: float = _real(0, 10)  # of truncated_normal
    first_layer: str = _one_of(
        "float32", "int8"
    )  # weights; int8: quantised after training (training/model/quantise.py)

    teacher_widths: tuple[int, ...] = _sizes(8)  # one convolutional teacher of each width; empty: hard labels only
    teacher_epochs: int = _integer(1, 1000)
    distillation_temperature: float = _real(0.1, 100)  # of the teachers' targets and the student's softmax in the loss
    hard_label_weight: float = _real(0, 1)  # weight of the label in the target; the rest is the teachers'
    augmented_copies: int = _integer(0, 10_000)  # augmented training sets, reused in turn; 0: a new one each epoch
    drawn_share: float = _real(0, 0.9)  # of each copy, digits that a pen draws (training/data/drawn_digits.py)
    outliers_per_batch: int = _integer(0, 10_000)  # outlier images beside the digits of a batch
    outlier_weight: float = _real(0, 1000)  # of an outlier in the loss, relative to a digit

    loss_reduction: str = _one_of("sum", "mean")  # of the cross-entropy over a batch
    optimiser: str = _one_of("gradient_descent", "adamw", "muon")
    learning_rate: float = _real(1e-9, 100)
    weight_decay: float = _real(0, 1)  # decoupled; ignored by gradient_descent
    schedule: str = _one_of("constant", "cosine")
    warmup_iterations: int = _integer(0)  # of linear warm-up
    ema_decay: float = _real(0, 0.99999)  # of the exponential moving average of the weights; 0: no average

    batch_size: int = _integer(1)
    iterations: int = _integer(1)
    evaluate_every: int = _integer(1)  # iterations per row of history.csv
    print_every: int = _integer(1)  # iterations per printed row; the last row is always printed

    rotation: float = _real(0, 180)  # maximum, degrees
    scaling: float = _real(0, 0.9)  # maximum relative change of height and of width
    shear: float = _real(0, 1)  # maximum
    shift: float = _real(0, 28)  # maximum along each axis, pixels
    elastic_std: float = _real(0, 28)  # standard deviation of the elastic displacement, pixels
    elastic_sigma: float = _real(0.5, 28)  # sigma of the Gaussian that smooths the displacement field, pixels

    def __post_init__(self) -> None:
        if (
            not (isinstance(self.name, str) and 1 <= len(self.name) <= 100 and self.name.isprintable())
            or "/" in self.name
        ):
            raise RecipeError("name", self.name, "1 to 100 printable characters without /")
        for item in fields(self):
            rule, value = item.metadata.get("rule"), getattr(self, item.name)
            if rule and not rule.admits(value):
                raise RecipeError(item.name, value, rule.allowed)
        if self.print_every % self.evaluate_every:
            allowed = f"a multiple of evaluate_every, {self.evaluate_every}"
            raise RecipeError("print_every", self.print_every, allowed)

    @classmethod
    def load(cls, name: str, overrides: Sequence[str] = ()) -> Self:
        """Read `recipes/NAME.toml`, or the file NAME if it ends in .toml, and apply KEY=VALUE overrides.

        Raises:
            RecipeError: the recipe does not exist, a key is unknown or missing, or a value is out of range.
            RenamedKeysError: the file has keys of an earlier release.
        """
        path = Path(name) if name.endswith(".toml") else RECIPES / f"{name}.toml"
        try:
            values = tomllib.loads(read_regular_file(path, MAX_FILE_BYTES).decode())
        except FileNotFoundError:
            raise RecipeError("name", name, recipe_names()) from None
        except RecursionError:
            raise RecipeError("name", name, "a TOML file (it is nested too deeply)") from None
        except ValueError as error:
            raise RecipeError("name", name, f"a TOML file ({error})") from None
        rules = _rules()
        if renamed := sorted(values.keys() & RENAMED_KEYS.keys()):
            raise RenamedKeysError(path, renamed)
        for override in overrides:
            key, equals, text = override.partition("=")
            if not equals:
                raise RecipeError("--set", override, "KEY=VALUE")
            values[key] = _parse(key, text, rules)
        if unknown := sorted(values.keys() - rules.keys() - {"name"}):
            raise RecipeError(unknown[0], values[unknown[0]], f"only these keys: {', '.join(rules)}")
        if missing := [key for key in rules if key not in values]:
            raise RecipeError(missing[0], None, f"{rules[missing[0]].allowed} (the key is missing in {path.name})")
        lists = {key: tuple(value) for key, value in values.items() if isinstance(value, list)}
        return cls(**{"name": path.stem} | values | lists)

    @property
    def sizes(self) -> tuple[int, ...]:
        """The widths of all layers, from 784 inputs to 10 outputs."""
        return (784, *self.layers, 10)

    @property
    def parameters(self) -> int:
        """The number of weights and biases; 185,300 for the layers 200, 100, 60, 30."""
        return sum(inputs * units + units for inputs, units in zip(self.sizes, self.sizes[1:], strict=False))

    def as_dict(self) -> dict[str, Any]:
        """The recipe as JSON-compatible values, `name` first."""
        return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}

    def as_toml(self) -> str:
        """The resolved recipe as TOML text that `load` can read."""
        return "".join(f"{key} = {json.dumps(value, ensure_ascii=False)}\n" for key, value in self.as_dict().items())


def recipe_names() -> str:
    """The names of the recipes in `training/recipes`, comma-separated."""
    return ", ".join(sorted(path.stem for path in RECIPES.glob("*.toml")))


def _describe(value: object) -> str:
    """A short text for a value, of any size and depth."""
    try:
        return _repr.repr(value)
    except ValueError:
        return "an integer of thousands of digits"  # Python does not print it


def _rules() -> dict[str, Rule]:
    return {item.name: item.metadata["rule"] for item in fields(Recipe) if "rule" in item.metadata}


def _parse(key: str, text: str, rules: dict[str, Rule]) -> object:
    if key not in rules:
        raise RecipeError(key, text, f"only these keys: {', '.join(rules)}")
    try:
        return rules[key].parse(text)
    except ValueError:
        raise RecipeError(key, text, rules[key].allowed) from None
