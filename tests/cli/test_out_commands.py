"""What comes out of a trained model: predictions, an evaluation, files for other programs, a card."""

import csv
import json
from pathlib import Path

import pytest
import torch
import torchvision
from PIL import Image
from torchvision.models import ResNet18_Weights

from scalesearch.units import show_percent
from tests.cli.conftest import Cli
from tests.conftest import MakeFolder


@pytest.fixture
def model(cli: Cli, image_folder: MakeFolder) -> Path:
    ended = cli(
        "finetune", "--model", "mbconv_small", "--data", image_folder(parts=("train", "test")), "--epochs", 2,
        "--batch-size", 16, "--device", "cpu", "--resolution", 16, "--out", "m",
    )  # fmt: skip
    assert ended.code == 0, ended.err
    assert "scalesearch predict m/model.safetensors" in ended.out
    return Path("m/model.safetensors")


def test_predictions_are_those_that_evaluation_counts(cli: Cli, model: Path, tmp_path: Path) -> None:
    evaluated = json.loads(cli("evaluate", model, "--out", "e", "--json").out)
    ended = cli("predict", model, tmp_path / "images" / "test", "--out", "p.csv", "--batch-size", 7)
    assert ended.code == 0, ended.err
    with Path("p.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == evaluated["images"] == 40
    right = sum(row["class"] == Path(row["file"]).parent.name for row in rows)
    assert right == evaluated["correct"]
    for row in rows:
        assert float(row["class0"]) + float(row["class1"]) == pytest.approx(1, abs=1e-5)
        assert float(row["probability"]) == float(row[row["class"]])
    with Path("e/confusion.csv").open(newline="") as file:
        table = list(csv.reader(file))
    assert table[0] == ["true", "class0", "class1"]
    assert int(table[1][1]) + int(table[2][2]) == right
    assert 0 <= evaluated["expected_calibration_error"] <= 1
    assert {path.name for path in Path("e").iterdir()} == {
        "evaluation.json", "confusion.csv", "mistakes.csv", "confusion.png", "calibration.png",
    }  # fmt: skip
    with Path("e/mistakes.csv").open(newline="") as file:
        mistakes = list(csv.DictReader(file))
    wrong = {row["file"]: row for row in rows if row["class"] != Path(row["file"]).parent.name}
    assert {row["file"] for row in mistakes} == wrong.keys()
    assert all(row["true"] == Path(row["file"]).parent.name != row["predicted"] for row in mistakes)
    assert [float(row["probability"]) for row in mistakes] == sorted(
        (float(row["probability"]) for row in mistakes), reverse=True
    )
    assert all(float(row["probability"]) == pytest.approx(float(wrong[row["file"]]["probability"]), abs=1e-3)
               for row in mistakes)  # fmt: skip


def test_unreadable_images_are_reported_and_not_fatal(cli: Cli, model: Path) -> None:
    Path("photos").mkdir()
    Image.new("RGB", (30, 20), (200, 10, 10)).save("photos/good.png")
    Path("photos/bad.jpg").write_bytes(b"no image")
    ended = cli("predict", model, "photos")
    assert ended.code == 0, ended.err
    assert "1 images predicted, 1 unreadable" in ended.out
    assert "Unreadable: photos/bad.jpg: not an image" in ended.out
    rows = json.loads(cli("predict", model, "photos/good.png", "photos/bad.jpg", "--json", "--top", 1).out)
    assert [bool(row["error"]) for row in rows] == [False, True]
    assert len(rows[0]["probabilities"]) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(("nowhere",), "there is nothing of that name"), (("empty",), "there is no image"),
     (("empty/bad.jpg",), "none of the images can be read"),
     (("empty/bad.jpg", "--out", "p.txt"), "p.txt ends neither in .csv nor in .json")],
)  # fmt: skip
def test_nothing_to_predict_is_said(cli: Cli, model: Path, arguments: tuple[str, ...], message: str) -> None:
    Path("empty").mkdir()
    if arguments[0] == "empty/bad.jpg":
        Path("empty/bad.jpg").write_bytes(b"")
    ended = cli("predict", model, *arguments)
    assert ended.code == 2
    assert message in ended.err


def test_export_writes_a_file_that_was_run(cli: Cli, model: Path) -> None:
    ended = cli("export", model, "--format", "torch-export", "--out", "any_name")
    assert ended.code == 0, ended.err
    assert "run and compared" in ended.out
    assert Path("any_name").is_file()


@pytest.mark.parametrize(("format", "kind"), [("torchvision", "module"), ("timm", "model")])
def test_other_libraries_have_nothing_for_this_one(cli: Cli, model: Path, format: str, kind: str) -> None:
    ended = cli("export", model, "--format", format, "--out", "x.safetensors")
    assert ended.code == 2
    assert f"{format} has no {kind} " in ended.err
    assert not Path("x.safetensors").exists()


def test_published_weights_are_used_as_they_are(
    cli: Cli, image_folder: MakeFolder, caplog: pytest.LogCaptureFixture
) -> None:
    """Their outputs are the data's classes in order; images are cut as their publisher does."""
    images = image_folder(classes=3, images=4)
    peer = torchvision.models.resnet18(num_classes=3).eval()
    torch.save(peer.state_dict(), "published.pth")
    told = ("--source", "timm:resnet18.tv_in1k")
    evaluated = cli("evaluate", "published.pth", "--data", images, "--part", "all", *told, "--json")
    assert "are taken for the model's outputs in this order" in caplog.text
    prepare, right, files = ResNet18_Weights.IMAGENET1K_V1.transforms(), 0, sorted(images.rglob("*.png"))
    predicted = json.loads(cli("predict", "published.pth", images, *told, "--json").out)
    for file, row in zip(files, predicted, strict=True):
        with Image.open(file) as image, torch.inference_mode():
            shares = peer(prepare(image.convert("RGB"))[None]).softmax(1)[0]
        assert row["probability"] == pytest.approx(float(shares.max()), abs=1e-4)
        right += int(shares.argmax()) == int(file.parent.name.removeprefix("class"))
    values = json.loads(evaluated.out)
    assert (values["images"], values["correct"]) == (len(files), right)
    whole = json.loads(cli("predict", "published.pth", images, *told, "--crop-pct", 1, "--json").out)
    assert whole[0]["probability"] != predicted[0]["probability"]
    assert "run and compared" in cli("export", "published.pth", "--format", "torchvision", *told).out
    assert Path("published-torchvision.safetensors").is_file()


@pytest.mark.parametrize(
    ("weights", "message"),
    [({"num_classes": 4}, "are not the 4 of the model"), ({"num_classes": 3, "body": True}, "which names no classes")],
)
def test_published_weights_that_cannot_be_evaluated(
    cli: Cli, image_folder: MakeFolder, weights: dict[str, int], message: str
) -> None:
    state = torchvision.models.resnet18(num_classes=weights["num_classes"]).state_dict()
    torch.save({name: value for name, value in state.items() if "body" not in weights or "fc" not in name}, "w.pth")
    ended = cli("evaluate", "w.pth", "--data", image_folder(classes=3))
    assert ended.code == 2
    assert message in ended.err


@pytest.mark.parametrize("model", ["", "imagenet", "."])
def test_what_is_not_one_network_is_not_evaluated(cli: Cli, image_folder: MakeFolder, model: str) -> None:
    ended = cli("evaluate", model, "--data", image_folder())
    assert ended.code == 2
    assert "not one network" in ended.err


def test_the_model_card_says_what_it_is(cli: Cli, model: Path) -> None:
    card = Path("m/model_card.md").read_text()
    metrics = json.loads(Path("m/metrics.json").read_text())
    assert show_percent(metrics["test"]["top1"]) in card
    assert "From scratch." in card
    assert "class0, class1" in card
    assert "scalesearch finetune" in card


def test_a_folder_for_the_hub_is_read_back(cli: Cli, model: Path, image_folder: MakeFolder) -> None:
    ended = cli("export", model, "--format", "hub")
    assert ended.code == 0, ended.err
    folder = model.with_name("model-hub")
    assert f"Written: {folder}" in ended.out
    assert "scalesearch.load_model(" in ended.out
    card = (folder / "README.md").read_text()
    assert card.startswith("---\nlibrary_name: scalesearch\n")
    assert "## Accuracy" in card  # of the model's own card
    images = sorted(image_folder("others", classes=1).rglob("*.png"))[:3]
    rows = [json.loads(cli("predict", one, *images, "--json").out) for one in (model, folder)]
    assert rows[0] == rows[1]
    assert cli("export", model, "--format", "hub", "--dynamic-size", "--out", "again").code == 2
    assert not Path("again").exists()
