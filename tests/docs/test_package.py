"""What the package says of itself, and that the smoke of ``.ci/versions`` runs every command."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import typer.main

from scalesearch.cli.main import app
from tests.smoke import CHAINS, EXTRAS

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.skipif(not (ROOT / "pyproject.toml").exists(), reason="the checkout is not here")


@pytest.fixture
def pyproject() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def commands(group: Any, before: str = "") -> list[str]:
    """Names of all commands; typer has a click of its own, or the installed one, by its version."""
    nested = [
        commands(one, f"{before}{name} ") if hasattr(one, "commands") else [f"{before}{name}"]
        for name, one in group.commands.items()
    ]
    return [name for names in nested for name in names]


def test_the_smoke_runs_every_command() -> None:
    group = typer.main.get_command(app)
    run = [step.words for chain in CHAINS.values() for step in chain]
    missing = [
        name for name in commands(group) if not any(words.startswith(f"{name} ") or words == name for words in run)
    ]
    assert missing == []


def test_the_smoke_knows_every_extra_that_commands_need(pyproject: dict[str, Any]) -> None:
    assert set(pyproject["project"]["optional-dependencies"]) - {"dev", "docs", "datasets"} == set(EXTRAS) - {"timm"}


def test_an_index_page_shows_no_link_that_leads_nowhere(pyproject: dict[str, Any]) -> None:
    hook = pyproject["tool"]["hatch"]["metadata"]["hooks"]["fancy-pypi-readme"]
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    for one in hook["substitutions"]:
        text = re.sub(one["pattern"], one["replacement"], text)
    assert re.findall(r"\]\((?!https?:)[^)]*\)", text) == []
    assert "Licence: Apache 2.0." in text


def test_package_and_citation_agree(pyproject: dict[str, Any]) -> None:
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    project = pyproject["project"]
    assert [one["name"] for one in project["authors"]] == re.findall(r"^  - name: (.+)$", citation, re.MULTILINE)
    assert f"license: {project['license']}\n" in citation
