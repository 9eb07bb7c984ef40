"""The whole line, as a user types it, and what a user gets wrong."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.cli.conftest import Cli
from tests.conftest import MakeFolder

SMALL = (
    "--space", "mbconv_small", "--target-flops", "1.5M", "--step", "0.5", "--tolerance", "0.3", "--epochs", "1",
    "--batch-size", "16", "--jobs", "1", "--yes",
)  # fmt: skip


def test_from_images_to_report(cli: Cli, image_folder: MakeFolder, tmp_path: Path) -> None:
    images = image_folder(parts=("train", "test"))
    searched = cli("grid", *SMALL, "--data", images, "--run", "runs/mine")
    assert searched.code == 0, searched.err
    assert "Recommended: α" in searched.out
    assert "never the test images" in searched.out
    again = cli("grid", *SMALL, "--data", images, "--run", "runs/mine", "--json")
    answer = json.loads(again.out)
    assert answer["done"] == answer["total"] == len(answer["rows"])
    assert "Coefficients searched on images" in cli("family").out

    trained = json.loads(
        cli("finetune", "--model", "b1", "--epochs", 2, "--batch-size", 16, "--device", "cpu", "--json").out
    )
    assert trained["test"]["images"] == 40
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


def test_paper_literal_rounding_says_how_unequal_it_is(cli: Cli, image_folder: MakeFolder) -> None:
    ended = cli("grid", *SMALL, "--data", image_folder(), "--dry-run", "--rounding", "efficientnet")
    assert "unequal cost" in ended.out


def broken_images(root: Path) -> Path:
    good = next(root.rglob("*.png")).read_bytes()
    next(root.rglob("*.png")).with_name("half.png").write_bytes(good[: len(good) // 2])
    return root


def one_class(root: Path) -> Path:
    import shutil

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
        (("--proxy-divisor", "50"), "--proxy-divisor"),
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
    assert "--run: the folder taken cannot be written to" in ended.err


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


@pytest.mark.usefixtures("ctrl_c")
def test_ctrl_c_keeps_what_is_done(image_folder: MakeFolder, tmp_path: Path) -> None:
    images = image_folder(images=60)
    command = [
        sys.executable, "-c", "from scalesearch.cli.main import run; run()", "grid", *SMALL, "--epochs", "8",
        "--exhaustive", "--seeds", "2", "--jobs", "2", "--data", str(images), "--run", "run",
    ]  # fmt: skip
    process = subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=dict(os.environ),
        start_new_session=True,
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
    again = subprocess.run([*command, "--json"], cwd=tmp_path, capture_output=True, text=True, check=True, timeout=200)
    answer = json.loads(again.stdout)
    assert answer["done"] == answer["total"] == len(answer["rows"])


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
    cli: Cli, image_folder: MakeFolder, tmp_path: Path, file: str, content: str
) -> None:
    images = image_folder()
    assert cli("grid", *SMALL, "--data", images, "--run", "runs/r").code == 0
    (tmp_path / "runs" / "r" / file).write_text(content)
    for command in (("report", "runs/r"), ("grid", *SMALL, "--data", images, "--run", "runs/r"), ("family",)):
        ended = cli(*command)
        assert ended.code in (0, 2)
        assert "Traceback" not in ended.err


def test_dry_run_for_programs(cli: Cli, image_folder: MakeFolder) -> None:
    candidates = json.loads(cli("grid", *SMALL, "--data", image_folder(), "--dry-run", "--json").out)
    assert candidates[0]["triples"][0]["alpha"] >= 1


def test_a_baseline_at_guessing_is_said_at_once(cli: Cli, image_folder: MakeFolder) -> None:
    ended = cli("grid", *SMALL, "--data", image_folder(classes=3), "--lr", "1e-9", "--run", "run")
    assert ended.code == 0
    assert "no better than guessing" in ended.out
    assert "this ranking says nothing" in ended.out
