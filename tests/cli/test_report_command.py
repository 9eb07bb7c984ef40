"""The report and paper commands, on a search of a few tiny trainings."""

import json
import re
import shutil
from pathlib import Path

import pytest

from tests.cli.conftest import Cli
from tests.cli.test_search_commands import LEARNS, SMALL
from tests.conftest import noisy_images
from tests.stress.commands import call, inside


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A search that was bounded, so that it is not finished: the baseline and two of the candidates."""
    folder = tmp_path_factory.mktemp("made")
    data = noisy_images(folder / "images", images=60)
    with inside(folder):
        ended = call("grid", *SMALL, *LEARNS, "--trials", 4, "--data", data, "--run", "runs/one")
    assert ended.code == 0, ended.err
    return folder / "runs" / "one"


@pytest.fixture
def searched(made: Path, tmp_path: Path) -> Path:
    """A copy of it for one test."""
    return shutil.copytree(made, tmp_path / "runs" / "one")


def test_a_page_of_an_unfinished_search_with_estimates(
    cli: Cli, searched: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = cli("report", searched, "--watts", 30, "--price-per-hour", 2)
    assert ended.code == 0, ended.err
    assert f"Read {searched / 'report' / 'report.html'}" in ended.out
    page = (searched / "report" / "report.html").read_text()
    assert "Not finished" in page
    assert "Ahead so far" in page
    assert "at 30 W throughout" in page
    assert "at 2 an hour" in page
    assert "from scratch; adamw, batch size 8" in page
    assert re.search(r"<pre><code>scalesearch grid --space mbconv_small .*--run runs/one</code></pre>", page)
    monkeypatch.setattr("scalesearch.reports.artefacts.drawings", lambda *given: iter(()))
    assert cli("report", searched).code == 0
    assert "estimated" not in (searched / "report" / "report.html").read_text()


def test_a_search_that_has_recorded_nothing_yet(cli: Cli, searched: Path, tmp_path: Path) -> None:
    begun = tmp_path / "begun"
    begun.mkdir()
    shutil.copy(searched / "run.json", begun)
    assert cli("report", begun).code == 0
    assert "Not finished: 0 of" in (begun / "report" / "report.html").read_text()
    assert not (begun / "study.db").exists()  # the search would make it


def test_several_searches_are_compared(cli: Cli, searched: Path, tmp_path: Path) -> None:
    shutil.copytree(searched, tmp_path / "other")
    files = json.loads(cli("report", searched, "other", "--out", "both", "--json").out)["files"]
    assert [Path(name).name for name in files] == [
        "accuracies.png", "accuracies.svg", "accuracies.pdf", "comparison.md", "comparison.html",
    ]  # fmt: skip
    text = (tmp_path / "both" / "comparison.md").read_text()
    assert text.startswith("# Searches compared: one, other\n")
    assert "The same search, as far as its settings go" in text
    assert "no run.json in elsewhere" in cli("report", searched, "elsewhere").err


def test_paper_prints_and_explains(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    ended = cli("paper")
    assert ended.code == 0, ended.err
    assert re.search(r"b4 +1.4 +1.8 +380 +19M +19,341,616 +19,341,616 +4.2B +4.394G +4.394G +\+4.6 %", ended.out)
    assert re.search(r"7 +596 +68,741,810 +39.664G +102.81 +128 +96.28", ended.out)
    assert "No counter that we know reproduces the paper's 4.2B and 9.9B" in ended.out


def test_paper_for_programs(cli: Cli) -> None:
    values = json.loads(cli("paper", "--json").out)
    assert [one["name"] for one in values["released"]] == [f"b{n}" for n in range(8)]
    b0 = values["released"][0]
    assert (b0["ours"]["macs"], b0["ours"]["params"], b0["flops"]["printed"]) == (385_814_752, 5_288_548, "0.39")
    assert b0["flops"]["agrees"]
    assert values["formula"][3]["cost"]["macs"] == 3_250_498_024
    first, last = values["scaled"][0], values["scaled"][-1]
    assert (first["network"], first["flops"]) == ("MobileNetV1", None)
    assert (last["by"], last["flops"]["counted"], last["flops"]["agrees"]) == ("compound", 1_800_091_280, True)
    assert len(values["reasons"]) == 4


def test_scaled_networks_fit_80_columns(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    ended = cli("paper")
    assert re.search(r"ResNet-50 +depth +78.1 % +16.2B +14.571G +−10.1 % +3.56\n", ended.out)
    assert re.search(r"MobileNetV1 +width +74.2 % +2.2B +– +not here +–\n", ended.out)
