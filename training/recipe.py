"""A recipe: everything that decides a training run, as one TOML file and one frozen dataclass.

    recipe = Recipe.load("best", ["layers=300,100", "learning_rate=0.03"])

The file `recipes/NAME.toml` must give every key; `--set KEY=VALUE` overrides one. An unknown key
or a value that is not allowed raises `RecipeError`, which names the key, the value and what is allowed.
"""

import json
import tomllib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Self

from training.errors import TrainingError

RECIPES = Path(__file__).parent / "recipes"


class RecipeError(TrainingError):
    """A key or a value that no recipe may have."""

    def __init__(self, key: str, value: object, allowed: str) -> None:
        super().__init__(f"recipe: {key} is {value!r}; allowed: {allowed}")
        self.key, self.value, self.allowed = key, value, allowed


@dataclass(frozen=True)
class Rule:
    """What a key's value may be: in words, from the text of an override, and as a check."""

    allowed: str
    parse: Callable[[str], object]
    admits: Callable[[object], bool]


def _one_of(*words: str) -> Any:
    return _key(Rule(", ".join(words), str, lambda value: value in words))


def _whole(low: int, high: int = 2**31 - 1) -> Any:
    return _key(Rule(f"a whole number from {low} to {high}", int, lambda v: type(v) is int and low <= v <= high))


def _real(low: float, high: float) -> Any:
    def admits(value: object) -> bool:
        return type(value) in (int, float) and low <= float(value) <= high  # type: ignore[arg-type]

    return _key(Rule(f"a number from {low:g} to {high:g}", float, admits))


def _sizes(most: int) -> Any:
    def parse(text: str) -> tuple[int, ...]:
        return tuple(int(word) for word in text.split(",") if word.strip())

    def admits(value: object) -> bool:
        sizes = value if isinstance(value, tuple) else (None,)
        return len(sizes) <= most and all(type(size) is int and 1 <= size <= 10_000 for size in sizes)

    return _key(Rule(f"up to {most} whole numbers from 1 to 10000, as 200,100", parse, admits))


def _key(rule: Rule) -> Any:
    return field(metadata={"rule": rule})


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What decides a run. Units are in the comments; the order is that of the TOML files."""

    name: str  # of the file, unless that gives one: the file that a run keeps does
    seed: int = _whole(0)

    layers: tuple[int, ...] = _sizes(8)  # hidden layers: 784 comes before them, 10 after
    activation: str = _one_of("sigmoid", "relu", "gelu", "silu")
    initialisation: str = _one_of("truncated_normal", "he")  # he: standard deviation sqrt(2 / inputs)
    initial_stddev: float = _real(0, 10)  # of truncated_normal
    first_layer: str = _one_of(
        "float32", "int8"
    )  # its weights; int8: rounded at the end, as training.model.quantise says

    teacher_widths: tuple[int, ...] = _sizes(8)  # a convolutional network of this width each; none: labels
    teacher_epochs: int = _whole(1, 1000)
    distillation_temperature: float = _real(0.1, 100)  # temperature of the answers aimed at, and of those given
    hard_label_weight: float = _real(0, 1)  # of the label in the answers aimed at; the rest is the teachers'
    augmented_copies: int = _whole(
        0, 10_000
    )  # distorted copies of the training part, over and over; 0: always new ones
    outliers_per_batch: int = _whole(0, 10_000)  # images a batch, beside its digits, that are no digits
    outlier_weight: float = _real(0, 1000)  # of one of them in the loss, where a digit has 1

    loss_reduction: str = _one_of("sum", "mean")  # of the cross-entropy over a batch
    optimiser: str = _one_of("gradient_descent", "adamw", "muon")
    learning_rate: float = _real(1e-9, 100)
    weight_decay: float = _real(0, 1)  # decoupled; not of gradient_descent
    schedule: str = _one_of("constant", "cosine")
    warmup_iterations: int = _whole(0)  # iterations
    ema_decay: float = _real(0, 0.99999)  # decay of the averaged weights; 0: none

    batch_size: int = _whole(1)
    iterations: int = _whole(1)
    evaluate_every: int = _whole(1)  # iterations: a row of history.csv
    print_every: int = _whole(1)  # iterations: a row of the printed table; the last is always printed

    rotation: float = _real(0, 180)  # degrees, either way
    scaling: float = _real(0, 0.9)  # fraction, either way, each axis on its own
    shear: float = _real(0, 1)  # either way
    shift: float = _real(0, 28)  # pixels, either way, each axis
    elastic_std: float = _real(0, 28)  # pixels: standard deviation of the displacement
    elastic_sigma: float = _real(0.5, 28)  # pixels: sigma of the Gaussian over the field

    def __post_init__(self) -> None:
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
            RecipeError: no such recipe, an unknown or missing key, or a value that is not allowed.
        """
        path = Path(name) if name.endswith(".toml") else RECIPES / f"{name}.toml"
        try:
            values = tomllib.loads(path.read_text())
        except FileNotFoundError:
            raise RecipeError("name", name, recipe_names()) from None
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise RecipeError("name", name, f"a TOML file ({error})") from None
        rules = _rules()
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
        """The width of every layer from the 784 pixels to the 10 digits."""
        return (784, *self.layers, 10)

    @property
    def parameters(self) -> int:
        """How many numbers training sets: weights and biases; 185,300 for the network of this project."""
        return sum(inputs * units + units for inputs, units in zip(self.sizes, self.sizes[1:], strict=False))

    def as_dict(self) -> dict[str, Any]:
        """The recipe as plain values, `name` first."""
        return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}

    def as_toml(self) -> str:
        """The resolved recipe as a file that `load` reads back."""
        return "".join(f"{key} = {json.dumps(value)}\n" for key, value in self.as_dict().items())


def recipe_names() -> str:
    """The recipes that come with the project, comma-separated."""
    return ", ".join(sorted(path.stem for path in RECIPES.glob("*.toml")))


def _rules() -> dict[str, Rule]:
    return {item.name: item.metadata["rule"] for item in fields(Recipe) if "rule" in item.metadata}


def _parse(key: str, text: str, rules: dict[str, Rule]) -> object:
    if key not in rules:
        raise RecipeError(key, text, f"only these keys: {', '.join(rules)}")
    try:
        return rules[key].parse(text)
    except ValueError:
        raise RecipeError(key, text, rules[key].allowed) from None
