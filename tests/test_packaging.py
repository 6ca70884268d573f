"""The locks agree with pyproject.toml, have hashes, and name no machine."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parent.parent
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())
EXTRAS = PROJECT["project"]["optional-dependencies"]
LOCKS = {
    "run": [],
    "image": [*EXTRAS["mongodb"], *EXTRAS["postgresql"], *EXTRAS["jwt"]],
    "docs": EXTRAS["docs"],
    "dev": EXTRAS["dev"],
    "bench": EXTRAS["bench"],
}
PYTHONS = ["3.11", "3.12", "3.13", "3.14"]


def locked(name: str) -> Iterator[tuple[Requirement, str]]:
    """Each requirement of a lock, and the text after it: its hashes, and the packages that require it."""
    text = (ROOT / "requirements" / f"{name}.txt").read_text()
    for entry in re.split(r"\n(?=\S)", re.sub(r"(?m)^#.*\n", "", text).strip()):
        requirement, _, rest = entry.partition(" \\\n")
        yield Requirement(requirement), rest


@pytest.mark.parametrize("name", LOCKS)
def test_each_locked_package_has_hashes_and_one_version(name: str) -> None:
    for requirement, rest in locked(name):
        assert re.fullmatch(r"==\S+", str(requirement.specifier)), requirement
        assert "--hash=sha256:" in rest, requirement


@pytest.mark.parametrize("name", LOCKS)
@pytest.mark.parametrize("python", PYTHONS)
def test_a_lock_satisfies_the_requirements_of_the_project(name: str, python: str) -> None:
    """Fails if pyproject.toml was changed without `make lock`."""
    here = {"python_version": python, "python_full_version": f"{python}.0"}
    versions = {
        requirement.name.lower(): str(requirement.specifier).removeprefix("==")
        for requirement, _ in locked(name)
        if requirement.marker is None or requirement.marker.evaluate(here)
    }
    asked: Sequence[str] = [
        *PROJECT["project"]["dependencies"],
        *LOCKS[name],
        *PROJECT["build-system"]["requires"],
    ]
    for requirement in map(Requirement, asked):
        if requirement.marker is None or requirement.marker.evaluate(here):
            assert requirement.specifier.contains(versions[requirement.name.lower()]), requirement


@pytest.mark.parametrize("name", LOCKS)
def test_a_lock_names_no_index_and_no_path(name: str) -> None:
    text = (ROOT / "requirements" / f"{name}.txt").read_text()
    assert not re.search(r"://|(?m:^\s*--(?!hash))|(?<!\S)/", text)


def test_the_versions_that_run_are_those_that_are_tested() -> None:
    """`make test` installs the lock `dev`, and marks those of `make run` and `make docs` as installed, too."""
    tested = _versions("dev")
    names = {name for name, _ in tested}
    assert _versions("run") <= tested
    assert _versions("image") | _versions("docs") <= tested
    assert {(name, version) for name, version in _versions("bench") if name in names} <= tested


def _versions(lock: str) -> set[tuple[str, str]]:
    return {(requirement.name, str(requirement.specifier)) for requirement, _ in locked(lock)}


def test_the_classifiers_name_the_pythons_that_the_readme_calls_tested() -> None:
    claimed = [c.rpartition(" ")[2] for c in PROJECT["project"]["classifiers"] if re.search(r":: 3\.\d+$", c)]
    run = re.findall(r"3\.\d+", re.search(r"\(tested with ([^)]*)\)", (ROOT / "README.md").read_text())[1])  # type: ignore[index]
    assert claimed == run
