"""What strangers' files and absurd options may do to the commands: nothing but one clear message."""

import json
import os
import pickle
import time
import zipfile
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch
from PIL import Image

from scalesearch.nets.modules import build
from scalesearch.nets.weights import save_network
from tests.cli.conftest import Cli
from tests.conftest import MakeFolder
from tests.nets.specs import tiny


class Planted:
    """Its unpickling would make a file."""

    def __reduce__(self) -> tuple[object, ...]:
        return (Path.touch, (Path("ran"),))


def plant(path: Path, kind: str) -> Path:
    """A pickle that would run, as a bare file, inside torch's zip, or inside NumPy's formats."""
    if kind == "pickle":
        path.write_bytes(pickle.dumps(Planted()))
    elif kind == "torch":
        torch.save({"state_dict": {"a": torch.zeros(1)}, "extra": Planted()}, path)
    else:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("archive/data.pkl", pickle.dumps(Planted(), protocol=2))
            archive.writestr("archive/version", "3\n")
            archive.writestr("archive/byteorder", "little")
    return path


COMMANDS = (
    ("predict", "{}", "a.png"), ("evaluate", "{}", "--data", "glyphs"), ("export", "{}"),
    ("finetune", "--model", "mbconv_small", "--data", "glyphs", "--weights", "{}"),
    ("grid", "--space", "mbconv_small", "--weights", "{}", "--dry-run"), ("baseline", "--space", "{}"),
    ("scale", "--phi", "1", "--space", "{}"), ("faces", "list", "--gallery", "{}"),
    ("faces", "identify", "a.png", "--body", "{}", "--gallery", "{}"),
    ("faces", "enroll", "people", "--body", "{}", "--gallery", "g.safetensors"),
    ("faces", "fit", "--data", "people", "--weights", "{}", "--model", "mbconv_small"),
)  # fmt: skip


@pytest.mark.parametrize("arguments", COMMANDS, ids=lambda one: " ".join(one[:2]))
def test_no_command_runs_a_pickle(cli: Cli, arguments: tuple[str, ...]) -> None:
    Image.new("RGB", (30, 30)).save("a.png")
    for name in ("ann", "bo"):
        Path("people", name).mkdir(parents=True)
        for number in range(3):
            Image.effect_noise((30, 30), 9 + number).save(Path("people", name) / f"{number}.png")
    for kind in ("pickle", "torch", "zip"):
        for suffix in (".pt", ".safetensors", ".toml", ".dat", ".onnx"):
            file = plant(Path(f"planted{suffix}"), kind)
            ended = cli(*(one.format(file) for one in arguments))
            assert ended.code == 2, (kind, suffix, ended.err)
            assert "Traceback" not in ended.err
    assert not Path("ran").exists()


def test_no_cached_images_are_unpickled(cli: Cli, image_folder: MakeFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCALESEARCH_CACHE", "cache")
    save_network(Path("m.safetensors"), build(tiny(classes=2), seed=0), classes=["class0", "class1"])
    command = ("evaluate", "m.safetensors", "--data", image_folder(), "--device", "cpu", "--json")
    first = cli(*command)
    kept = list(Path("cache").rglob("*.npy"))
    for path in kept:
        np.save(path, np.array([Planted()], dtype=object), allow_pickle=True)
    assert kept
    assert cli(*command).out == first.out
    assert not Path("ran").exists()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("scale", "--phi", "60"), "about 2.8e+16 parameters (1.1e+08 GB)"),
        (("scale", "--phi", "1e308"), "--phi: 1e+308 is not a number from -300 to 300"),
        (("scale", "--phi", "20"), "8.44B parameters (33.7 GB)"),
        (("scale", "--phi", "8", "--alpha", "1", "--beta", "1", "--gamma", "1.68"), "images of 14214 px"),
        (("scale", "--flops", "1e30"), "--flops"),
        (
            ("scale", "--phi", "1", "--alpha", "1e9", "--beta", "1", "--gamma", "1"),
            "--alpha: 1000000000 is not a number",
        ),
        (("baseline", "--target-flops", "1e30"), "--target-flops"),
        (("finetune", "--model", "phi60", "--data", "glyphs"), "--model"),
        (
            ("finetune", "--model", "mbconv_small", "--data", "glyphs", "--batch-size", "1000000000"),
            "--batch-size: 1000000000 is not a number from 2 to 65536",
        ),
        (("finetune", "--model", "phi11", "--data", "glyphs", "--resolution", "1536"), "GB of memory are needed"),
        pytest.param(  # first takes the time of 64 images of that size
            ("finetune", "--model", "phi11", "--data", "glyphs", "--resolution", "4096"),
            "GB of memory are needed",
            marks=pytest.mark.slow,
        ),
        (
            ("grid", "--space", "mbconv_small", "--batch-size", "1000000000", "--dry-run"),
            "--batch-size: 1000000000 is not a number from 2 to 65536",
        ),
        (
            ("grid", "--space", "mbconv_small", "--jobs", "10000", "--dry-run"),
            "--jobs 10000: at least 3,000.0 GB of memory are needed",
        ),
        (("grid", "--space", "mbconv_small", "--time-budget", "9" * 400 + "h"), "--time-budget"),
    ],
)
def test_absurd_options_are_refused_with_the_estimate(cli: Cli, arguments: tuple[str, ...], says: str) -> None:
    before, began = psutil.Process().memory_info().rss, time.monotonic()
    ended = cli(*arguments)
    assert ended.code == 2
    assert says in ended.err
    assert len(ended.err.strip().splitlines()) == 1
    assert psutil.Process().memory_info().rss - before < 500e6
    assert time.monotonic() - began < 20  # the data is listed first, where images decide the size
    assert not Path("runs").exists()


def test_names_of_files_are_printed_without_what_a_terminal_would_obey(cli: Cli) -> None:
    save_network(Path("m.safetensors"), build(tiny(), seed=0), classes=list("abcde"))
    Path("photos").mkdir()
    Image.new("RGB", (30, 20)).save("photos/\x1b[2Jfine\nnext.png")
    Path(os.fsdecode(b"photos/\xff.png")).write_bytes(b"no image")
    os.mkfifo("photos/pipe.png")
    for out in ((), ("--out", "p.csv"), ("--out", "p.json"), ("--json",)):
        ended = cli("predict", "m.safetensors", "photos", "--device", "cpu", *out)
        assert ended.code == 0, ended.err
        assert "\x1b" not in ended.out
    rows = json.loads(ended.out)
    assert [bool(row["error"]) for row in rows] == [False, True]


def test_a_model_without_class_names_is_not_evaluated(cli: Cli, image_folder: MakeFolder) -> None:
    save_network(Path("m.safetensors"), build(tiny(), seed=0), {"pixel_statistics": '{"mean": [0.5, 0.5, 0.5], '
                 '"std": [0.2, 0.2, 0.2]}'})  # fmt: skip
    ended = cli("evaluate", "m.safetensors", "--data", image_folder(parts=("train", "test")))
    assert ended.code == 2
    assert "it names no classes, so nothing says which of its outputs is which" in ended.err
