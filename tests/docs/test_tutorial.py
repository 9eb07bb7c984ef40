"""The tutorial's commands are commands, and the page has all that docs/tutorial.py writes. It is run by ``.ci/run``."""

import importlib.util
import re
import shlex
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import typer.main

from scalesearch.cli.main import app

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "tutorial.md"
pytestmark = pytest.mark.skipif(not PAGE.exists(), reason="the documentation is not here")
LARGEST_FIGURES = 400_000  # bytes, all of them


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("tutorial", PAGE.with_suffix(".py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def pieces(script: ModuleType, kind: str) -> list[re.Match[str]]:
    return [piece for piece in script.PIECE.finditer(PAGE.read_text(encoding="utf-8")) if piece[kind]]


def command_lines(commands: str) -> list[list[str]]:
    lines = commands.replace("\\\n", " ").splitlines()
    return [shlex.split(line)[1:] for line in lines if line.startswith("scalesearch ")]


@pytest.mark.parametrize("short", [False, True], ids=["full", "short"])
def test_commands_and_options_are_there(script: ModuleType, short: bool) -> None:
    group: Any = typer.main.get_command(app)  # typer has a click of its own, or the installed one, by its version
    typed = []
    for piece in pieces(script, "commands"):
        typed += command_lines(script.shortened(piece["commands"]) if short else piece["commands"])
    for name, *words in typed:
        assert group.commands[name].make_context(name, words), "it raises for what the command does not take"
    assert {"baseline", "grid", "finetune", "evaluate", "predict", "export", "report"} <= {name for name, *_ in typed}


def test_the_short_form_changes_what_the_page_has(script: ModuleType) -> None:
    commands = "".join(piece["commands"] for piece in pieces(script, "commands"))
    assert [written for written in script.SHORT if written not in commands] == []


def test_every_output_and_figure_is_there(script: ModuleType) -> None:
    for piece in pieces(script, "opening"):
        written = piece[0].removeprefix(piece["opening"])
        assert re.fullmatch(r"```\n.+\n```\n<!-- end -->\n", written, re.DOTALL), piece["opening"]
        flat = re.sub(r"\s+", " ", written)
        assert [words for words in piece["says"].split("; ") if words not in flat] == []
    for piece in pieces(script, "machine"):
        assert len(piece[0].splitlines()) > 2
    figures = [PAGE.parent / piece["name"] for piece in pieces(script, "figure")]
    assert figures
    assert sum(figure.stat().st_size for figure in figures) < LARGEST_FIGURES
    assert sorted(figures) == sorted(PAGE.with_suffix("").iterdir())


def test_nothing_on_the_page_is_left_out_by_the_script(script: ModuleType) -> None:
    text = PAGE.read_text(encoding="utf-8")
    rest = script.PIECE.sub("", text)
    assert "<!--" not in rest
    assert "```sh" not in rest
    assert not re.search(r"/(work|root|home|tmp)\b", text)


def test_an_output_is_cut_folded_and_held_against_what_was_said_before(script: ModuleType, tmp_path: Path) -> None:
    tutorial = script.Tutorial(tmp_path, short=False)

    def output(opening: str, printed: str) -> str:
        piece = script.PIECE.fullmatch(f"<!-- output{opening} -->\nold\n<!-- end -->\n")
        assert piece is not None
        tutorial.printed = printed
        return str(tutorial(piece)).split("```")[1].strip("\n")

    assert output(": b", f"a\n{tmp_path}/b\n") == "a\nb"
    assert output(" from b: c", "a\nb\nc\n") == "…\nb\nc"
    assert all(len(line) <= script.FOLD for line in output(": word", "word " * 50).splitlines())
    output(": rose", "new/rose.jpg: rose, 90.1 %")
    output(": rose", "new/rose.jpg  rose  90.2 %")
    assert tutorial.wrong == []
    output(": tulip", "new/rose.jpg  tulip  90.1 %")
    output(": absent", "present")
    output(": file", f"file {Path.home()}/file")
    said = ("rose.jpg was rose", "'absent' is not in", "no reader's business")
    assert [words in one for words, one in zip(said, tutorial.wrong, strict=True)] == [True] * 3
