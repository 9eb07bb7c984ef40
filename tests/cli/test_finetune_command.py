"""Transfer learning by the command line, from weights of other widths and depths."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torchvision
from safetensors.torch import load_file

from tests.cli.conftest import Cli
from tests.conftest import MakeFolder, noisy_images
from tests.stress.commands import call, inside

TRAIN = ("finetune", "--epochs", 2, "--batch-size", 16, "--device", "cpu", "--resolution", 16)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a model of mbconv_small, trained on other classes."""
    folder = tmp_path_factory.mktemp("made")
    images = noisy_images(folder / "other", classes=3)
    with inside(folder):
        ended = call(*TRAIN, "--model", "mbconv_small", "--data", images, "--out", "source")
    assert ended.code == 0, ended.err
    return folder / "source"


@pytest.fixture
def trained(cli: Cli, made: Path) -> str:
    """A copy of it in the folder that commands run in: its file."""
    shutil.copytree(made, "source")
    return "source/model.safetensors"


def spec(cli: Cli, phi: float) -> str:
    assert cli("scale", "--space", "mbconv_small", "--phi", phi, "--out", "spec.json").code == 0
    return "spec.json"


@pytest.mark.parametrize("phi", [-1, 1])
def test_any_member_inherits(cli: Cli, image_folder: MakeFolder, trained: str, phi: int) -> None:
    images = image_folder()
    common = (*TRAIN, "--model", spec(cli, phi), "--data", images, "--weights", trained, "--out", "m")
    ended = cli(*common)
    assert ended.code == 0, ended.err
    assert "Weights from source/model.safetensors" in ended.out
    assert "of the body's values are inherited" in ended.out
    assert "Strategy: " in ended.out
    assert "coefficients" not in ended.out  # none made a network that a file holds
    kept = json.loads(Path("m/inheritance.json").read_text())
    names = {row["name"] for row in kept["tensors"]}
    assert names == {name for name in load_file("m/model.safetensors") if not name.endswith("num_batches_tracked")}
    metrics = json.loads(Path("m/metrics.json").read_text())
    assert metrics["inheritance"]["coverage"] == kept["coverage"]
    assert metrics["start"] == trained


def test_the_plan_alone_names_every_tensor_and_trains_nothing(cli: Cli, trained: str) -> None:
    ended = cli("finetune", "--model", spec(cli, 1), "--weights", trained, "--plan")
    assert ended.code == 0, ended.err
    assert "features.0.0.weight" in ended.out
    assert "widened" in ended.out
    values = json.loads(cli("finetune", "--model", "spec.json", "--weights", trained, "--plan", "--json").out)
    assert values["preserved"] in (True, False)
    assert cli("finetune", "--model", "spec.json", "--plan").code == 2


@pytest.mark.parametrize("strategy", ["head", "tail", "full", "gradual"])
def test_every_strategy_trains_and_continues_bit_for_bit(
    cli: Cli, image_folder: MakeFolder, trained: str, strategy: str
) -> None:
    images = image_folder()
    common = (*TRAIN, "--model", spec(cli, 1), "--data", images, "--weights", trained, "--strategy", strategy)
    assert cli(*common, "--out", "a").code == 0
    assert cli(*common, "--out", "b").code == 0
    first, second = load_file("a/model.safetensors"), load_file("b/model.safetensors")
    assert all(torch.equal(tensor, second[name]) for name, tensor in first.items())
    again = cli(*common, "--out", "a", "--json")
    assert again.code == 0
    assert all(torch.equal(tensor, first[name]) for name, tensor in load_file("a/model.safetensors").items())


def test_the_tail_can_be_new_and_classes_balanced(cli: Cli, image_folder: MakeFolder, trained: str) -> None:
    images = image_folder()
    common = (*TRAIN, "--model", "mbconv_small", "--data", images, "--weights", trained, "--strategy", "tail")
    ended = cli(*common, "--reset-tail", "--balance", "--augment", "strong", "--patience", 1, "--out", "m", "--json")
    assert ended.code == 0, ended.err
    metrics = json.loads(ended.out)
    assert (metrics["reset_tail"], metrics["balance"], metrics["augment"]["cutmix"]) == (True, True, 1.0)
    refused = cli(*common, "--patience", 1, "--out", "m")
    assert refused.code == 2
    assert "another training" in refused.err


@pytest.mark.parametrize(("space", "place"), [("resnet18", "onnx"), ("mobilenet_v3_small", "torch-export")])
def test_a_smaller_member_of_another_family_inherits_and_is_exported(
    cli: Cli, image_folder: MakeFolder, space: str, place: str
) -> None:
    images = image_folder()
    torch.save(torchvision.models.get_model(space).state_dict(), "published.pth")
    member = json.loads(cli("scale", "--space", space, "--phi", -2, "--json").out)["file"]
    common = (*TRAIN, "--data", images, "--resolution", 32, "--model", member, "--weights", "published.pth")
    ended = cli(*common, "--out", "m")
    assert ended.code == 0, ended.err
    assert f"Weights from published.pth ({space})" in ended.out
    assert cli("evaluate", "m/model.safetensors", "--data", images).code == 0
    assert "run and compared" in cli("export", "m/model.safetensors", "--format", place).out


@pytest.mark.parametrize(
    ("options", "message"),
    [(("--strategy", "gradual"), "--weights"), (("--weights", "efficientnet_bo"), "Did you mean"),
     (("--weights", "vgg16"), "no network that this project can express"), (("--lr", "-1"), "lr")],
)  # fmt: skip
def test_mistakes_are_said(cli: Cli, image_folder: MakeFolder, options: tuple[str, ...], message: str) -> None:
    ended = cli(*TRAIN, "--model", "mbconv_small", "--data", image_folder(), *options)
    assert ended.code == 2
    assert message in ended.err


def test_a_learning_rate_is_suggested_and_nothing_trained(cli: Cli, image_folder: MakeFolder, trained: str) -> None:
    common = (*TRAIN, "--model", "mbconv_small", "--data", image_folder(), "--weights", trained, "--out", "m")
    ended = cli(*common, "--find-lr")
    assert ended.code == 0, ended.err
    assert "Suggested: --lr " in ended.out
    assert [path.name for path in Path("m").iterdir()] == ["learning_rate.png"]
    values = json.loads(cli(*common, "--find-lr", "--json").out)
    assert len(values["lrs"]) == len(values["losses"]) > 5


def test_two_processes_train_one_network(cli: Cli, image_folder: MakeFolder, trained: str, tmp_path: Path) -> None:
    """By torchrun, on CPUs: the losses are those of one process, and the first process alone speaks and writes."""
    images = image_folder()
    common = (*TRAIN, "--model", "mbconv_small", "--data", images, "--weights", trained, "--strategy", "head")
    assert cli(*common, "--out", "one").code == 0
    launch = ("-m", "torch.distributed.run", "--nproc-per-node", 2, "--rdzv-backend", "c10d")
    launch += ("--rdzv-endpoint", "127.0.0.1:0", "-m", "scalesearch")
    variables = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "OMP_NUM_THREADS": "1"}

    def together(*options: object) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, *map(str, (*launch, *common, *options))]
        return subprocess.run(
            command, check=False, capture_output=True, text=True, timeout=200, env=variables, cwd=tmp_path
        )

    ended = together("--out", "two")
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.count("Model: two/model.safetensors") == 1
    one, two = (json.loads(Path(name, "metrics.json").read_text()) for name in ("one", "two"))
    assert (one["processes"], two["processes"]) == (1, 2)
    assert two["history"][0]["train_loss"] == pytest.approx(one["history"][0]["train_loss"], rel=0.1)
    assert two["test"]["images"] == one["test"]["images"]


def test_equal_trainings_are_equal_files(cli: Cli, image_folder: MakeFolder) -> None:
    common = (*TRAIN, "--model", "mbconv_small", "--data", image_folder())
    for out in ("one", "two"):
        assert cli(*common, "--out", out).code == 0
    assert Path("one/model.safetensors").read_bytes() == Path("two/model.safetensors").read_bytes()
