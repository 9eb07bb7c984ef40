"""A search by another budget than FLOPs, as a user types it."""

import json
from pathlib import Path

import pytest

from scalesearch.nets import runner
from tests.cli.conftest import Cli
from tests.conftest import MakeFolder
from tests.devices import made_up_table

SEARCH = (
    "grid", "--space", "mbconv_small", "--step", "0.5", "--tolerance", "0.3", "--epochs", "4", "--batch-size", "8",
    "--lr", "0.01", "--jobs", "1", "--further", "0", "--yes",
)  # fmt: skip


def test_a_search_by_latency_measures_what_it_recommends(
    cli: Cli, image_folder: MakeFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "ROUNDS", 2)
    table = made_up_table(["mbconv_small"], runner.processor())
    table.write(tmp_path / "device.json")
    given = ("--budget", "latency", "--target", "0.5ms", "--device-table", "device.json")
    ended = cli(*SEARCH, *given, "--data", image_folder(images=60, parts=("train", "test")), "--run", "runs/timed")
    assert ended.code == 0, ended.err
    said = " ".join(ended.out.split())
    assert "T, which scores refer to, is 0.5 ms" in said
    assert "Latency is predicted by a table of torch 2.15.0 on " in said
    assert "× the baseline's predicted latency at full size (100 % within ±5 % of 2×)" in said
    assert "Measures 4 networks in torch" in said
    assert "Measured by turns, torch, one image, float32, 1 thread: b0 " in said
    run = tmp_path / "runs" / "timed"
    measured = json.loads((run / "measured.json").read_text())["networks"]
    assert [one["name"] for one in measured] == ["b0", "b1", "b2", "b3"]
    assert [one["predicted_ms"] / measured[0]["predicted_ms"] for one in measured] == pytest.approx(
        [1, 2, 4, 8], rel=0.1
    )
    assert "predicted latency" in cli("family", "--run", run, "--largest", 3).out
    again = json.loads(cli(*SEARCH, *given, "--run", "runs/timed", "--data", tmp_path / "images", "--json").out)
    assert again["done"] == again["total"]


def test_other_budgets_say_what_is_equal(cli: Cli, image_folder: MakeFolder) -> None:
    images = image_folder(images=8)
    for budget, target, noun in (("params", "30k", "parameters"), ("memory", "150kB", "memory")):
        ended = cli(*SEARCH, "--budget", budget, "--target", target, "--data", images, "--dry-run")
        assert ended.code == 0, ended.err
        said = " ".join(ended.out.split())
        assert f"× the baseline's real {noun} at full size" in said
        assert f"Equal in {noun}, of which the baseline has " in said
