"""The sample of mutants is the same for the same seed, and only of the package that was named."""

import json
from pathlib import Path

from tools.sample_mutants import sample


def test_a_sample_is_repeatable_and_of_one_package(tmp_path: Path) -> None:
    for package in ("imaging", "inference"):
        names = [f"service.{package}.x_function__mutmut_{number}" for number in range(50)]
        (tmp_path / package).mkdir()
        (tmp_path / package / "module.py.meta").write_text(json.dumps({"exit_code_by_key": dict.fromkeys(names)}))
    chosen = sample(tmp_path, 20, 15, "service.imaging.")
    assert chosen == sample(tmp_path, 20, 15, "service.imaging.")
    assert chosen != sample(tmp_path, 20, 16, "service.imaging.")
    assert len(set(chosen)) == 20
    assert all(name.startswith("service.imaging.") for name in chosen)
    both = sample(tmp_path, 1000, 15, "service.imaging.", "service.inference.")
    assert len(both) == 100
