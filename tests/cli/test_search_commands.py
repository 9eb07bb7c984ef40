"""The whole line, as a user types it, and what a user gets wrong."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.cli.conftest import Cli
from tests.conftest import MakeFolder, noisy_images
from tests.stress.commands import call, inside

SMALL = (
    "--space", "mbconv_small", "--target-flops", "1.5M", "--step", "0.5", "--tolerance", "0.3", "--epochs", "1",
    "--batch-size", "16", "--jobs", "1", "--further", "0", "--yes",
)  # fmt: skip
LEARNS = ("--epochs", "4", "--batch-size", "8", "--lr", "0.01")  # what tells 60 images of each of two colours apart


def test_from_images_to_report(cli: Cli, image_folder: MakeFolder, tmp_path: Path) -> None:
    images = image_folder(images=60, parts=("train", "test"))
    searched = cli("grid", *SMALL, *LEARNS, "--data", images, "--run", "runs/mine")
    assert searched.code == 0, searched.err
    assert "Use depth ×" in searched.out
    assert "never the test images" in searched.out
    again = cli("grid", *SMALL, *LEARNS, "--data", images, "--run", "runs/mine", "--json")
    answer = json.loads(again.out)
    assert answer["done"] == answer["total"] == len(answer["rows"])
    assert answer["answer"]["undecided"] == ""
    assert "Coefficients searched on images" in cli("family").out

    trained = json.loads(
        cli("finetune", "--model", "b1", "--epochs", 2, "--batch-size", 16, "--device", "cpu", "--json").out
    )
    assert trained["test"]["images"] == 120
    read_back = json.loads(cli("evaluate", trained["file"], "--data", images, "--json").out)
    assert read_back["correct"] == trained["test"]["correct"]
    head = cli(
        "finetune", "--model", "b1", "--epochs", 1, "--weights", trained["file"], "--strategy", "head", "--out", "head"
    )
    assert head.code == 0, head.err

    files = json.loads(cli("report", "--json").out)["files"]
    text = Path(next(name for name in files if name.endswith("report.md"))).read_text()
    assert f"{trained['test']['top1']:.1%}" in text or f"{100 * trained['test']['top1']:.1f}" in text
    results = tmp_path / "runs" / "mine" / "report" / "results.csv"
    assert len(results.read_text().splitlines()) == answer["total"] + 1


def test_a_search_from_trained_weights(cli: Cli, image_folder: MakeFolder) -> None:
    images = image_folder()
    common = ("--model", "mbconv_small", "--resolution", 16, "--epochs", 1, "--batch-size", 16, "--device", "cpu")
    assert cli("finetune", *common, "--data", images, "--out", "base").code == 0
    asked = ("grid", *SMALL, "--data", images, "--weights", "base/model.safetensors")
    ended = cli(*asked)
    assert ended.code == 0, ended.err
    assert "Every network inherits from " in ended.out
    other = cli("grid", *SMALL, "--data", images)
    assert other.code == 2
    assert "another search (train.body_lr_ratio: 0.3 there, 1.0 asked for; weights:" in other.err
    assert cli(*asked[:-1], "nothing.pth").code == 2


def test_dry_run_trains_nothing(cli: Cli, image_folder: MakeFolder, tmp_path: Path) -> None:
    ended = cli("grid", *SMALL, "--data", image_folder(), "--dry-run")
    assert ended.code == 0
    assert "c000" in ended.out
    assert not (tmp_path / "runs").exists()
    sized = json.loads(cli("baseline", *SMALL[:4], "--classes", "2", "--json").out)
    assert f"Baseline mbconv_small at {sized['spec']['resolution']} px" in ended.out
    assert "--classes shows them" in " ".join(cli("baseline", *SMALL[:4]).out.split())


def test_a_plan_says_what_it_takes_and_refuses_what_has_no_room(
    cli: Cli, image_folder: MakeFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = ("grid", *SMALL, "--data", image_folder(), "--dry-run")
    ended = cli(*asked, "--validation-error", "10")
    assert re.search(r"Takes [\d.]+ [kM]B on disk for decoded images of [\d, ]+ px", ended.out)
    assert re.search(r"about [\d.]+ [kM]B for results and checkpoints; at least [\d.]+ MB of memory for", ended.out)
    assert "standard error of about 18 points by them" in ended.out  # 6 validation images
    little = cli(*asked, "--cache-size", "30k")
    assert " px are made whenever they are used" in little.out
    monkeypatch.setenv("SCALESEARCH_CACHE_SIZE", "30k")
    assert " px are made whenever they are used" in cli(*asked).out
    refused = cli(*asked, "--cache-size", "1k")
    assert refused.code == 2
    assert "--cache-size: 1 kB are too few for 34 images. Give at least 26.1 kB" in refused.err
    assert not (tmp_path / "runs").exists()


def test_a_search_of_streamed_images_is_the_same(cli: Cli, image_folder: MakeFolder, tmp_path: Path) -> None:
    asked = ("grid", *SMALL, "--data", image_folder(), "--yes", "--trials", "2", "--jobs", "1")
    for name, size in (("a", "1G"), ("b", "30k")):
        assert cli(*asked, "--run", name, "--cache-size", size).code == 0
    rows = [json.loads((tmp_path / name / "rows.json").read_text())["rows"] for name in ("a", "b")]
    measured = [[(row["candidate"], row["seed"], row["correct"], row["train_loss"]) for row in one] for one in rows]
    assert measured[0] == measured[1]
    assert len(measured[0]) == 2


def test_paper_literal_rounding_says_how_unequal_it_is(cli: Cli, image_folder: MakeFolder) -> None:
    ended = cli("grid", *SMALL, "--data", image_folder(), "--dry-run", "--rounding", "efficientnet")
    assert "unequal cost" in ended.out


def broken_images(root: Path) -> Path:
    good = next(root.rglob("*.png")).read_bytes()
    next(root.rglob("*.png")).with_name("half.png").write_bytes(good[: len(good) // 2])
    return root


def one_class(root: Path) -> Path:
    shutil.rmtree(root / "class1")
    return root


def empty_class(root: Path) -> Path:
    (root / "class9").mkdir()
    return root


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda root: root / "nowhere", "nowhere"),
        (lambda root: next(root.rglob("*.png")), "folder"),
        (one_class, "class"),
        (empty_class, "class9"),
        (broken_images, "half.png"),
    ],
)
def test_bad_folders(cli: Cli, image_folder: MakeFolder, spoil: object, says: str) -> None:
    folder = spoil(image_folder())  # type: ignore[operator]
    ended = cli("grid", *SMALL, "--data", folder)
    assert ended.code == 2
    assert says in ended.err
    assert "Traceback" not in ended.err


def test_broken_images_can_be_left_out(cli: Cli, image_folder: MakeFolder) -> None:
    ended = cli("grid", *SMALL, "--data", broken_images(image_folder()), "--skip-broken")
    assert ended.code == 0, ended.err
    assert "half.png" in ended.out


def test_images_of_every_kind(cli: Cli, image_folder: MakeFolder) -> None:
    root = image_folder()
    rng = np.random.default_rng(1)
    grey = rng.integers(0, 255, (20, 24)).astype(np.uint8)
    Image.fromarray(grey).save(root / "class0" / "grey.png")
    Image.fromarray(grey.astype(np.uint16) * 257).save(root / "class0" / "deep.png")
    Image.fromarray(rng.integers(0, 255, (9, 9, 4)).astype(np.uint8), "RGBA").save(root / "class1" / "alpha.png")
    Image.fromarray(rng.integers(0, 255, (9, 9, 4)).astype(np.uint8), "CMYK").save(root / "class1" / "cmyk.jpg")
    Image.new("RGB", (1, 1), "red").save(root / "class1" / "pixel.png")
    ended = cli("grid", *SMALL, "--data", root)
    assert ended.code == 0, ended.err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--data", "cifar-10"), "cifar10"),
        (("--tolerance", "2"), "--tolerance"),
        (("--tolerance", "0.001", "--step", "0.7"), "--tolerance"),
        (("--target-flops", "1"), "--target-flops"),
        (("--target-flops", "90P"), "--target-flops"),
        (("--proxy-flops", "1"), "--proxy-flops"),
        (("--proxy-flops", "many"), "--proxy-flops"),
        (("--until-loss", "0"), "--until-loss"),
        (("--further", "-1"), "--further"),
        (("--device", "cuda:77"), "cuda:77"),
        (("--lr", "-1"), "lr"),
        (("--space", "missing.toml"), "--space"),
    ],
)
def test_bad_options(cli: Cli, image_folder: MakeFolder, tmp_path: Path, arguments: tuple[str, ...], says: str) -> None:
    ended = cli("grid", *SMALL, "--data", image_folder(), *arguments)
    assert ended.code == 2
    assert says in ended.err
    assert not (tmp_path / "runs").exists()


def test_a_run_folder_that_cannot_be_written(cli: Cli, image_folder: MakeFolder, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file")
    ended = cli("grid", *SMALL, "--data", image_folder(), "--run", "taken")
    assert ended.code == 2
    assert "--run: the folder taken cannot be made or written to" in ended.err


@pytest.mark.usefixtures("one_figure")
def test_a_study_of_other_data_is_refused_and_kept(cli: Cli, image_folder: MakeFolder) -> None:
    assert cli("grid", *SMALL, "--data", image_folder(), "--run", "run").code == 0
    other = cli("grid", *SMALL, "--data", image_folder("others", classes=3), "--run", "run")
    assert other.code == 2
    assert "another search" in other.err
    assert cli("report", "run").code == 0


def test_commands_before_any_search(cli: Cli) -> None:
    assert "Run a search first" in cli("report").err
    assert "--data" in cli("finetune", "--model", "b1").err
    assert cli("evaluate", "missing.safetensors", "--data", "glyphs").code == 2


def test_weights_that_do_not_fit(cli: Cli, image_folder: MakeFolder, tmp_path: Path) -> None:
    (tmp_path / "bad.safetensors").write_bytes(b"no weights")
    ended = cli("finetune", "--model", "mbconv_small", "--data", image_folder(), "--weights", "bad.safetensors")
    assert ended.code == 2
    assert "bad.safetensors" in ended.err


# The command line, with an estimate made up: workers that only measure would start before those that train.
INTERRUPTED = """
from scalesearch.api import search
from scalesearch.cli.main import run
from scalesearch.running.estimate import Timing
search.remembered = lambda *given: (Timing(0.0, 0.1, ((1, 0.01),), 32, 0, 16, 1), True)
run()
"""


@pytest.mark.usefixtures("ctrl_c")
def test_ctrl_c_keeps_what_is_done(cli: Cli, image_folder: MakeFolder, tmp_path: Path) -> None:
    asked = (
        "grid", *SMALL, *LEARNS, "--exhaustive", "--seeds", "1", "--step", "1", "--data", str(image_folder(images=60)),
        "--run", "run",
    )  # fmt: skip
    process = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED, *asked, "--jobs", "2"], cwd=tmp_path, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True, env=dict(os.environ), start_new_session=True,
    )  # fmt: skip
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("1/"):
            break
    time.sleep(0.2)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: the whole group
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    kept = len(json.loads((tmp_path / "run" / "rows.json").read_text())["rows"])
    assert kept >= 1
    assert "the same command continues" in errors
    assert "Traceback" not in errors
    assert json.loads((tmp_path / "run" / "run.json").read_text())["seconds"] > 0
    again = cli(*asked, "--trials", "1", "--json")
    assert again.code == 0, again.err
    assert len(json.loads(again.out)["rows"]) == kept + 1


def test_finetune_continues_and_refuses_another_training(cli: Cli, image_folder: MakeFolder) -> None:
    images = image_folder()
    common = ("finetune", "--model", "mbconv_small", "--data", images, "--out", "m", "--batch-size", 16, "--json")
    first = json.loads(cli(*common, "--epochs", 1).out)
    again = json.loads(cli(*common, "--epochs", 1).out)
    assert again["test"] == first["test"]
    other = cli(*common, "--epochs", 2)
    assert other.code == 2
    assert "epochs" in other.err
    foreign = cli("evaluate", first["file"], "--data", image_folder("three", classes=3))
    assert foreign.code == 2
    assert "class2" in foreign.err
    assert cli("finetune", "--strategy", "head", "--data", images).code == 2


def test_finetune_on_other_data_in_the_same_folder_is_refused(
    cli: Cli, image_folder: MakeFolder, tmp_path: Path
) -> None:
    common = ("finetune", "--model", "mbconv_small", "--epochs", 1, "--batch-size", 16, "--out", "m")
    assert cli(*common, "--data", image_folder("a/pics")).code == 0
    other = image_folder("b/pics")
    first = next((other / "class0").iterdir())
    Image.new("RGB", (20, 20), "black").save(first)
    ended = cli(*common, "--data", other)
    assert ended.code == 2
    assert "another training" in ended.err


def test_advice_to_skip_broken_images_can_be_followed(cli: Cli, image_folder: MakeFolder) -> None:
    images = broken_images(image_folder())
    refused = cli("grid", *SMALL, "--data", images, "--run", "run")
    assert refused.code == 2
    assert "--skip-broken" in refused.err
    assert cli("grid", *SMALL, "--data", images, "--run", "run", "--skip-broken").code == 0


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with images and a finished search of them, runs/r."""
    folder = tmp_path_factory.mktemp("searched")
    images = noisy_images(folder / "images")
    with inside(folder):
        ended = call("grid", *SMALL, "--data", images, "--run", "runs/r")
    assert ended.code == 0, ended.err
    return folder


@pytest.mark.usefixtures("one_figure")
@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("run.json", '{"plan": []}'),
        ("run.json", "{}"),
        ("coefficients.json", "{}"),
        ("study.db", "not a database" * 99),
    ],
)
def test_damaged_run_files_are_one_clear_error(
    cli: Cli, searched: Path, tmp_path: Path, file: str, content: str
) -> None:
    images = searched / "images"
    shutil.copytree(searched / "runs", tmp_path / "runs")
    (tmp_path / "runs" / "r" / file).write_text(content)
    for command in (("report", "runs/r"), ("grid", *SMALL, "--data", images, "--run", "runs/r"), ("family",)):
        ended = cli(*command)
        assert ended.code in (0, 2)
        assert "Traceback" not in ended.err


def test_dry_run_for_programs(cli: Cli, image_folder: MakeFolder) -> None:
    candidates = json.loads(cli("grid", *SMALL, "--data", image_folder(), "--dry-run", "--json").out)
    assert candidates[0]["triples"][0]["alpha"] >= 1


def test_a_search_that_cannot_learn_ends_after_the_baseline_and_says_what_to_change(
    cli: Cli, image_folder: MakeFolder, tmp_path: Path
) -> None:
    asked = ("grid", *SMALL, "--data", image_folder(classes=3), "--lr", "1e-9", "--run", "run")
    ended = cli(*asked)
    assert ended.code == 0, ended.err
    assert "WARNING: the baseline is at" in ended.out
    assert "not clearly better than guessing" in ended.out
    assert "No decision: the baseline" in ended.out
    assert "not a result of this search" in ended.out
    assert "More epochs (--epochs)" in ended.out
    told = json.loads(cli(*asked, "--json").out)
    assert [(row["name"], row["seed"]) for row in told["rows"]] == [("baseline", 0), ("baseline", 1)]
    assert told["answer"]["certainty"] is None
    assert told["answer"]["complete"]
    (paper,) = (one for one in json.loads(cli(*asked, "--dry-run", "--json").out) if one["control"] == "paper")
    assert {"alpha": 1.2, "beta": 1.1, "gamma": 1.15} in [
        {name: triple[name] for name in ("alpha", "beta", "gamma")} for triple in paper["triples"]
    ]
    chosen = json.loads((tmp_path / "run" / "coefficients.json").read_text())
    assert chosen["winner"] == f"c{paper['index']:03d}"
    assert chosen["score"] is None
    family = cli("family", "--run", "run")
    assert family.code == 0, family.err


def test_further_trainings_end_at_their_number_or_at_the_loss(cli: Cli, image_folder: MakeFolder) -> None:
    asked = ("grid", *SMALL, *LEARNS, "--data", image_folder(images=60), "--run", "run", "--json")

    def trainings(*more: object) -> int:
        ended = cli(*asked, *more)
        assert ended.code == 0, ended.err
        return len(json.loads(ended.out)["rows"])

    first = trainings("--further", 0)
    assert trainings("--further", 2, "--until-loss", 0.01) == first + 2
    once = trainings("--further", 9, "--until-loss", 100)  # a round goes in any case
    assert first + 2 < once < first + 9
    assert trainings("--further", 9, "--until-loss", 100) == once


def test_a_call_of_one_training_leaves_the_rest_to_the_next(cli: Cli, image_folder: MakeFolder) -> None:
    ended = cli("grid", *SMALL, "--data", image_folder(images=60), "--run", "run", "--trials", 1, *LEARNS)
    assert ended.code == 0, ended.err
    assert "No decision yet: no candidate has been trained to the end." in ended.out
    assert "The race is not over: the same command continues it." in ended.out


def test_the_time_budget_counts_from_the_call(cli: Cli, image_folder: MakeFolder) -> None:
    """What cannot end in time is not begun, and the same command goes on."""
    asked = ("grid", *SMALL, "--data", image_folder(), "--run", "run", "--json")
    ended = cli(*asked, "--time-budget", "0.001s")
    assert ended.code == 2
    assert "no candidate has a result" in ended.err
    assert "go on with the search" in ended.err
    assert cli(*asked, "--time-budget", "1h").code == 0
