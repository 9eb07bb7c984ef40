"""torchvision's sets: the table fits torchvision, a missing network is one clear error."""

import inspect
import socket
import time
from pathlib import Path
from typing import Any
from urllib.error import URLError

import numpy as np
import pytest
import torchvision.datasets
from PIL import Image

from scalesearch.data.named import NAMED_SETS, NamedSet, dataset_labels, named_source
from scalesearch.data.source import UnreadableImageError
from scalesearch.errors import UserError


class FakeSet:
    """As much of a torchvision data set as is used: grey images, labels, classes."""

    classes = ("x", "y")

    def __init__(self, root: str, train: bool = True, download: bool = False) -> None:
        assert download
        assert Path(root).is_dir()
        self.targets = [0, 1, 0, 1] if train else [1, 0]

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, row: int) -> tuple[Image.Image, int]:
        return Image.new("L", (5, 4), 10 * row + len(self)), self.targets[row]


@pytest.mark.parametrize("name", NAMED_SETS)
def test_the_table_fits_torchvision(name: str) -> None:
    named = NAMED_SETS[name]
    signature = inspect.signature(getattr(torchvision.datasets, named.dataset))
    for arguments in named.parts.values():
        signature.bind(root="", download=True, **arguments)


@pytest.mark.parametrize("named", NAMED_SETS.values(), ids=list(NAMED_SETS))
def test_torchvision_takes_every_part(named: NamedSet, tmp_path: Path) -> None:
    """Without the files a set must complain about them, never about the name of the part."""
    if named.dataset in ("SVHN", "Flowers102"):
        pytest.importorskip("scipy", reason="torchvision reads this set with SciPy")
    for arguments in named.parts.values():
        with pytest.raises((RuntimeError, FileNotFoundError), match=r"(?i)not found|no such file|download"):
            getattr(torchvision.datasets, named.dataset)(root=str(tmp_path), download=False, **arguments)


def test_a_set_becomes_a_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torchvision.datasets, "MNIST", FakeSet)
    source = named_source("mnist", tmp_path)
    assert source.classes == ("x", "y")
    assert source.labels.tolist() == [0, 1, 0, 1, 1, 0]
    assert source.parts == ("train",) * 4 + ("test",) * 2
    assert (source.flip, source.native_px) == (False, 4)
    assert [np.asarray(source.read(i))[0, 0].tolist() for i in (3, 4)] == [[34] * 3, [2] * 3]
    assert source.describe(4) == "mnist[4]"
    assert source.digest == named_source("mnist", tmp_path).digest


def test_a_damaged_image_of_a_set_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Damaged(FakeSet):
        def __getitem__(self, row: int) -> tuple[Image.Image, int]:
            raise OSError("truncated")

    monkeypatch.setattr(torchvision.datasets, "CIFAR10", Damaged)
    with pytest.raises(UnreadableImageError, match=r"cifar10\[2\]: truncated"):
        named_source("cifar10", tmp_path).read(2)


@pytest.mark.parametrize("attribute", ["targets", "labels", "_labels", "_samples", "none"])
def test_labels_are_found_wherever_they_are_kept(attribute: str) -> None:
    class Bare:
        def __len__(self) -> int:
            return 2

        def __getitem__(self, row: int) -> tuple[None, int]:
            return None, (3, 1)[row]

    dataset = Bare()
    setattr(dataset, attribute, [("a", 3), ("b", 1)] if attribute == "_samples" else [3, 1])
    assert dataset_labels(dataset).tolist() == [3, 1]


@pytest.mark.parametrize(
    "error",
    [URLError(socket.gaierror(-2, "Name or service not known")), RuntimeError("corrupted"), TimeoutError("slow")],
)
def test_a_failed_download_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    patience: list[float | None] = []

    def fail(**arguments: Any) -> None:
        patience.append(socket.getdefaulttimeout())
        raise error

    monkeypatch.setattr(torchvision.datasets, "CIFAR10", fail)
    with pytest.raises(UserError, match=r"cifar10: .*the download failed.*class folders"):
        named_source("cifar10", tmp_path)
    assert patience == [20.0]
    assert socket.getdefaulttimeout() is None


def test_a_missing_library_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(**arguments: Any) -> None:
        raise ModuleNotFoundError("No module named 'scipy'", name="scipy")

    monkeypatch.setattr(torchvision.datasets, "SVHN", fail)
    with pytest.raises(UserError, match="pip install scipy"):
        named_source("svhn", tmp_path)


@pytest.mark.network
def test_a_small_set_is_downloaded(tmp_path: Path) -> None:
    started = time.monotonic()
    source = named_source("mnist", tmp_path)
    assert (len(source), len(source.classes)) == (70000, 10)
    named_source("mnist", tmp_path)
    assert time.monotonic() > started
