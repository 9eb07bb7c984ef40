"""Pages that come from code say what the code says."""

import concurrent.futures
import importlib.util
import re
import tomllib
from pathlib import Path
from types import ModuleType

import pytest
import typer.testing

from scalesearch import __version__
from scalesearch.design.space import parse_space
from scalesearch.errors import SpaceError
from scalesearch.running import executor

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.skipif(not (ROOT / "docs" / "conf.py").exists(), reason="the documentation is not here")


@pytest.fixture(scope="module")
def generate() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_generated_pages_are_up_to_date(generate: ModuleType) -> None:
    assert generate.stale() == [], "run: python docs/generate.py"


def test_every_command_and_option_is_listed(generate: ModuleType) -> None:
    page = generate.cli_page()
    for name, _ in generate.commands(generate.app):
        section = page.split(f"\n## {name}\n")[1].split("\n## ")[0]
        shown = typer.testing.CliRunner().invoke(generate.app, [*name.split()[1:], "--help"], env={"COLUMNS": "400"})
        listing = re.split(r"\n(?=\S[^\n]*:\n)", shown.output, maxsplit=1)[1]  # from the first panel on
        names = re.findall(r"^  (?:-\w, )?(--[a-z-]+)(?: / (--[a-z-]+))?", listing, re.MULTILINE)
        options = {one for pair in names for one in pair if one} - {"--help"}
        assert options, shown.output
        assert set(re.findall(r"`(--[a-z-]+)`", "".join(re.findall(r"^\|[^|]*\|", section, re.MULTILINE)))) == options


def test_the_baseline_written_in_the_how_to_is_right_and_its_mistakes_are_as_shown() -> None:
    page = (ROOT / "docs" / "own-baseline.md").read_text(encoding="utf-8")
    text = page.split("```toml\n")[1].split("```")[0]
    assert parse_space(tomllib.loads(text), "mine.toml").baseline.name == "mine"
    wrong = text.replace("resolution = 96", 'resolution = "96px"').replace("relu6", "gelu")
    wrong = wrong.replace("kernel = 5", "kernel = 4").replace("expand_ratio = 1\n", "expand_ration = 1\n")
    wrong = wrong.replace("depth = 2\n", "", 1)
    with pytest.raises(SpaceError) as caught:
        parse_space(tomllib.loads(wrong), "wrong.toml")
    assert f"Error: {caught.value}" in page


def test_contributing_quotes_the_code_as_it_is() -> None:
    page = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    for quoted, where in (
        ('Strategy = Literal["full", "head", "tail", "gradual"', "study/config.py"),
        ('return {"full": count, "head": HEAD_SECTIONS, "tail": tail', "training/sections.py"),
    ):
        assert quoted in page
        assert quoted in (ROOT / "scalesearch" / where).read_text(encoding="utf-8"), f"CONTRIBUTING quotes {where}"


def test_the_executor_of_contributing_works() -> None:
    page = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    code = next(block for block in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if "class Threads" in block)
    names = vars(executor) | {
        name: getattr(concurrent.futures, name) for name in ("Future", "ThreadPoolExecutor", "wait", "FIRST_COMPLETED")
    }
    exec(code, names)

    def double(number: int, _beat: executor.Beat) -> int:
        return 2 * number

    threads = executor.mapped(names["Threads"](double, 2), range(5))
    assert sorted(threads) == sorted(executor.mapped(executor.Here(double), range(5)))


def test_the_walks_of_contributing_pass_files_that_are_there_each_once() -> None:
    section = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").split("### Three walks")[1].split("\n## ")[0]
    walks = section.split("\n\n**")[1:]
    assert len(walks) == 3
    for walk in walks:
        files = re.findall(r"`([\w/]+\.py)`", walk)
        assert len(files) > 5
        assert len(set(files)) == len(files)
        assert [file for file in files if not (ROOT / "scalesearch" / file).is_file()] == []


def test_the_citation_has_the_version() -> None:
    assert f"version: {__version__}\n" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")
