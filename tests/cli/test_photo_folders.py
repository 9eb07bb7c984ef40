"""Folders as people have them, through the commands: what is printed, refused and written."""

import csv
import json
import os
from pathlib import Path

import pytest
from PIL import Image

from scalesearch.nets.modules import build
from scalesearch.nets.weights import save_network
from scalesearch.units import list_counts
from tests.cli.conftest import Cli
from tests.conftest import MakeFolder
from tests.data.pictures import noise, save, tree
from tests.nets.specs import tiny

DRY = ("grid", "--space", "mbconv_small", "--target-flops", "2M", "--jobs", "1", "--dry-run", "--data")


def test_a_search_says_classes_and_what_is_left_out(cli: Cli, image_folder: MakeFolder) -> None:
    root = image_folder(parts=("Training", "Testing"), images=8)
    (root / "Training" / "class0" / "raw.cr2").write_bytes(b"?")
    (root / "__MACOSX").mkdir()
    said = cli(*DRY, root).out
    assert "Images of each class: class0 16, class1 16\n" in said
    assert "2 classes" in said
    assert "Note: 1 picture of kinds not read here left out (.cr2 1): Training/class0/raw.cr2\n" in said
    assert "Note: left out as what other programs left: 1 (__MACOSX)\n" in said


def test_a_linked_part_is_refused_or_followed(cli: Cli, image_folder: MakeFolder, tmp_path: Path) -> None:
    root, elsewhere = image_folder("set/train", images=8).parent, image_folder("elsewhere", images=4)
    (root / "test").symlink_to(elsewhere)
    refused = cli(*DRY, root)
    assert refused.code == 2
    assert "test is a link that is not followed" in refused.err
    followed = cli(*DRY, root, "--follow-links", tmp_path)
    assert followed.code == 0, followed.err
    assert "Images of each class: class0 12, class1 12\n" in followed.out
    assert "follow" not in followed.out


@pytest.mark.parametrize("many", [20, 21, 1000])
def test_of_many_classes_the_ends_are_listed(many: int) -> None:
    listed = list_counts({f"c{i}": i for i in range(many)}).split(", ")
    if many == 20:
        assert listed == [f"c{i} {i}" for i in range(20)]
    else:
        assert listed[:10] == [f"c{i} {i}" for i in range(10)]
        assert listed[10] == f"… {many - 20} more …"
        assert listed[11:] == [f"c{i} {i}" for i in range(many - 10, many)]


def test_predictions_tell_what_they_leave_out_and_keep_their_columns(cli: Cli, tmp_path: Path) -> None:
    classes = ["file", "class", "error", "=1+1", "cat"]
    save_network(Path("m.safetensors"), build(tiny(), seed=0), classes=classes)
    tree(tmp_path / "photos", {"": 2, ".thumbnails": 1, "@eaDir": 1, "deep": 1})
    save(tmp_path / "photos" / "-x.png", noise(0)).rename(tmp_path / "-x.png")
    save(tmp_path / "outside.png", noise(0))
    (tmp_path / "photos" / "link.png").symlink_to("../outside.png")
    for extra, count in (((), 3), (("--follow-links", "."), 4)):
        ended = cli("predict", "m.safetensors", "photos", "--device", "cpu", "--json", *extra)
        assert ended.code == 0, ended.err
        assert len(json.loads(ended.out)) == count
    ended = cli("predict", "m.safetensors", "--device", "cpu", "--out", "p.csv", "--", "-x.png", "photos")
    assert ended.code == 0, ended.err
    with Path("p.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows[0]["file"] == "'-x.png"
    assert list(rows[0]) == [
        "file", "class", "probability", "error", "class:file", "class:class", "class:error", "'=1+1", "cat",
    ]  # fmt: skip
    shares = [float(rows[0][name]) for name in list(rows[0])[4:]]
    assert sum(shares) == pytest.approx(1, abs=1e-5)
    likeliest = classes[shares.index(max(shares))]
    assert rows[0]["class"] == ("'=1+1" if likeliest == "=1+1" else likeliest)


def test_notes_of_predictions_go_to_standard_error(cli: Cli, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    save_network(Path("m.safetensors"), build(tiny(), seed=0), classes=list("abcde"))
    tree(tmp_path / "photos", {"": 1, ".thumbnails": 1})
    os.mkfifo(tmp_path / "photos" / "pipe.png")
    ended = cli("predict", "m.safetensors", "photos", "--device", "cpu", "--json")
    assert len(json.loads(ended.out)) == 1
    assert [record.getMessage() for record in caplog.records] == [
        "Note: left out as pipes, sockets or devices: 1 (pipe.png)",
        "Note: left out as hidden: 1 (.thumbnails)",
    ]


def test_a_folder_of_what_cannot_be_read_says_so(cli: Cli, tmp_path: Path) -> None:
    save_network(Path("m.safetensors"), build(tiny(), seed=0), classes=list("abcde"))
    Path("photos").mkdir()
    Image.new("RGB", (9, 9)).save("photos/a.tga")
    ended = cli("predict", "m.safetensors", "photos")
    assert ended.code == 2
    assert "there is no image" in ended.err
    assert "1 picture of kinds not read here left out (.tga 1): a.tga" in ended.err
