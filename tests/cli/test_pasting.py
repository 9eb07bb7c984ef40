"""Commands that are printed can be pasted, whatever is in the paths."""

import re
import shlex
from pathlib import Path

from tests.cli.conftest import Cli
from tests.conftest import MakeFolder
from tests.study.runs import golden

SMALL = ("--space", "mbconv_small", "--epochs", 1, "--batch-size", 16)


def printed(out: str) -> list[list[str]]:
    """The words of each command in what was printed."""
    commands = []
    for line in out.splitlines():
        if found := re.match(
            r"(?:(?:Next|Read it back|Use it|Train it|All classes and files): | {6})(scalesearch .*)", line
        ):
            commands.append(shlex.split(found[1].replace(", which shows this, too", "")))
    return commands


def test_every_printed_command_can_be_pasted(cli: Cli, image_folder: MakeFolder, tmp_path: Path) -> None:
    name = "my 'own' \"model\" $HOME; x"
    images = image_folder("My 'Photos' & more", images=16)
    ended = cli(
        "finetune", "--model", "mbconv_small", "--epochs", 1, "--batch-size", 16, "--resolution", 16, "--device", "cpu",
        "--data", images, "--out", name, "--follow-links", tmp_path, "--skip-broken",
    )  # fmt: skip
    assert ended.code == 0, ended.err
    (again, use) = printed(ended.out)
    assert again == [
        "scalesearch", "evaluate", f"{name}/model.safetensors", "--data", str(images), "--follow-links", str(tmp_path),
        "--skip-broken",
    ]  # fmt: skip
    back = cli(*again[1:])
    assert back.code == 0, back.err
    predict, export = printed(back.out)
    assert predict == use == ["scalesearch", "predict", f"{name}/model.safetensors", "IMAGES"]
    assert export[:3] == ["scalesearch", "export", f"{name}/model.safetensors"]
    (more,) = printed(cli(*predict[1:3], images / "class0").out)
    assert more[:3] == predict[:3]


def test_a_search_elsewhere_is_named_in_what_comes_next(cli: Cli, tmp_path: Path) -> None:
    golden(tmp_path / "my run")
    (finetune,) = printed(cli("family", "--run", "my run").out)
    assert finetune == ["scalesearch", "finetune", "--model", "b1", "--run", "my run"]
    (tmp_path / "runs").mkdir()
    (tmp_path / "my run").rename(tmp_path / "runs" / "my run")
    (finetune,) = printed(cli("family", "--run", "runs/my run").out)
    assert finetune == ["scalesearch", "finetune", "--model", "b1"]
    (finetune,) = printed(cli("family", "--space", "mbconv_small").out)
    assert finetune == ["scalesearch", "finetune", "--model", "family/mbconv_small/b1.json", "--data", "PATH"]
    (train,) = printed(cli("scale", "--phi", 1, "--run", "runs/my run").out)
    assert train[3] == "runs/my run/family/b1.json"
