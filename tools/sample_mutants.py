"""Print a random sample of mutmut's mutants: `python -m tools.sample_mutants COUNT SEED PREFIX...`.

All mutants take hours; a sample of 300 estimates their score within 3 percentage points. mutmut has to have made them:
`make mutants MUTANTS='service.imaging.geometry*'` makes all and runs a few.
"""

import json
import random
import sys
from pathlib import Path

MUTANTS = Path(__file__).parent.parent / "mutants"


def sample(directory: Path, count: int, seed: int, *prefixes: str) -> list[str]:
    """Names of `count` mutants in mutmut's directory, each with one of `prefixes`; the same seed, the same names."""
    names: list[str] = []
    for path in directory.rglob("*.meta"):
        names += json.loads(path.read_text())["exit_code_by_key"]
    chosen = sorted(name for name in names if name.startswith(prefixes))
    return random.Random(seed).sample(chosen, min(count, len(chosen)))  # noqa: S311 - not for cryptography


if __name__ == "__main__":
    print("\n".join(sample(MUTANTS, int(sys.argv[1]), int(sys.argv[2]), *sys.argv[3:])))
