"""Compile the dependency groups of pyproject.toml into requirement files with hashes: `make lock`.

`make lock` keeps the versions that the files have; `make lock ARGS=--upgrade` takes newer versions of all packages that
no group pins. `python -m tools.lock --check`, part of `make lint`, compares files and groups, and needs no network.
"""

import hashlib
import re
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path

REPOSITORY = Path(__file__).parent.parent
ALL = "requirements.txt"
GROUPS = {
    ALL: "dev",
    "service/requirements.txt": "service",
    "service/requirements-native.txt": "native",
    "training/requirements.txt": "training",
}
"""The group of each file. The first is compiled first, and the others take their versions from it."""

PIN = re.compile(r"^([a-z0-9-]+)==(\S+)", re.MULTILINE)


def requirements(directory: Path, group: str) -> list[str]:
    """Return the requirements of a dependency group (PEP 735), those of included groups first."""
    groups = tomllib.loads((directory / "pyproject.toml").read_text())["dependency-groups"]
    found: list[str] = []
    for item in groups[group]:
        found += requirements(directory, item["include-group"]) if isinstance(item, dict) else [item]
    return found


def compile_lock(name: str, options: Sequence[str]) -> None:
    """Resolve the group of a file for every platform and Python version, and write the file."""
    path = REPOSITORY / name
    constraints = [] if name == ALL else ["--constraints", ALL]
    subprocess.run(
        [
            *(sys.executable, "-m", "uv", "pip", "compile", "--quiet", "--universal", "--python-version", "3.11"),
            *("--generate-hashes", "--no-annotate", "--no-header", "--no-emit-index-url", "--no-emit-find-links"),
            *("--group", GROUPS[name], *constraints, *options, "--output-file", name),
        ],
        cwd=REPOSITORY,
        stdout=subprocess.DEVNULL,  # uv prints the file as well
        check=True,
    )
    path.write_text(f"{header(REPOSITORY, GROUPS[name])}\n{path.read_text()}")


def header(directory: Path, group: str) -> str:
    """Return the comment that a lock begins with; it names the group and the SHA-256 of its requirements."""
    digest = hashlib.sha256("\n".join(requirements(directory, group)).encode()).hexdigest()
    return (
        f"# Made by `make lock` from the dependency group `{group}` of pyproject.toml.\n# sha256 of the group: {digest}"
    )


def differences(directory: Path) -> list[str]:
    """Return a sentence for everything in which the locks do not match pyproject.toml; none if they match."""
    found: list[str] = []
    everything = dict(PIN.findall((directory / ALL).read_text()))
    for name, group in GROUPS.items():
        text = (directory / name).read_text()
        pins = dict(PIN.findall(text))
        if not text.startswith(header(directory, group)):
            found.append(f"{name}: the dependency group {group} of pyproject.toml has changed")
        for requirement in requirements(directory, group):
            name_and_extras, _, version = requirement.partition(";")[0].strip().partition("==")
            package = name_and_extras.partition("[")[0]
            if pins.get(package) != version:
                found.append(f"{name}: {package} is {pins.get(package)}, and {version} in pyproject.toml")
        found += [
            f"{name}: {package} is {version}, and {everything[package]} in {ALL}"
            for package, version in pins.items()
            if everything.get(package, version) != version
        ]
        if re.search(r"^[a-z0-9-]+==[^\\\n]*$", text, re.MULTILINE):
            found.append(f"{name}: a package has no hash")
        if "://" in text or "--index" in text:
            found.append(f"{name}: an index is named")
    return found


def main(arguments: Sequence[str]) -> int:
    """Write the locks, or compare them if the argument is `--check`; return the exit status."""
    if list(arguments) != ["--check"]:
        for name in GROUPS:
            compile_lock(name, arguments)
    found = differences(REPOSITORY)
    for sentence in found:
        print(f"{sentence}; run `make lock`", file=sys.stderr)
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
