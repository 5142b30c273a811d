"""Metadata of the distribution, and the files that describe it."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
OWN = ("designspace", "sweeps", "analysis", "conf")
THROUGH = {
    "omegaconf": "hydra-core",
    "joblib": "hydra-joblib-launcher",
    "markupsafe": "jinja2",
    "pydantic_core": "pydantic",
    "submitit": "hydra-submitit-launcher",
    "ray": "hydra-ray-launcher",
    "datasets": "",  # a message says how to install it
}
"""Libraries that come with another dependency, or with none."""


def imported(package: str) -> set[str]:
    """Top-level names that the modules of a package import anywhere."""
    names = set()
    for file in (ROOT / package).rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                names |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
                names.add(node.module.partition(".")[0])
    return names - set(sys.stdlib_module_names) - set(OWN)


@pytest.mark.parametrize("package", OWN[:3])
def test_every_imported_library_is_a_dependency(package: str) -> None:
    declared = [
        *PROJECT["dependencies"],
        *(line for lines in PROJECT["optional-dependencies"].values() for line in lines),
    ]
    names = {canonicalize_name(Requirement(line).name) for line in declared} | set(THROUGH)
    distributions = packages_distributions()
    missing = {
        name: distributions.get(name)
        for name in imported(package) - set(THROUGH)
        if not {canonicalize_name(distribution) for distribution in distributions.get(name, [name])} & names
    }
    assert missing == {}


def test_classifiers_list_the_python_versions() -> None:
    versions = [re.search(r"3\.\d+$", text) for text in PROJECT["classifiers"] if "Python :: 3." in text]
    assert {match[0] for match in versions if match} == {"3.11", "3.12", "3.13"}
    assert all(match[0] in SpecifierSet(PROJECT["requires-python"]) for match in versions if match)


def test_citation_has_the_version_and_license_of_the_package() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert {"cff-version", "message", "title", "authors"} <= set(citation)
    assert citation["version"] == PROJECT["version"]
    assert citation["license"] == PROJECT["license"]


def test_changelog_lists_the_version_or_what_is_unreleased() -> None:
    headings = re.findall(r"^## \[(.+?)\]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert headings
    assert headings[0] in ("Unreleased", PROJECT["version"])


def test_files_of_the_container_exist_and_reach_the_build() -> None:
    copied = re.findall(r"^COPY (.+) \S+$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    sources = {name for names in copied for name in names.split()}
    assert all((ROOT / name).exists() for name in sources)
    kept = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert kept == sources
    assert set(OWN) <= sources
