"""torchvision's image sets by name, downloaded once."""

import hashlib
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from scalesearch.data.image import to_rgb
from scalesearch.data.source import IntArray, Source, UnreadableImageError, median_short_side
from scalesearch.errors import UserError

_CONNECT_SECONDS = 20.0


@dataclass(frozen=True)
class NamedSet:
    """A class of torchvision.datasets, its arguments for each official part, and whether mirror images keep
    their class."""

    dataset: str
    parts: dict[str, dict[str, Any]]
    flip: bool = True


_BY_FLAG: dict[str, dict[str, Any]] = {"train": {"train": True}, "test": {"train": False}}
_BY_NAME: dict[str, dict[str, Any]] = {"train": {"split": "train"}, "test": {"split": "test"}}
_THREE: dict[str, dict[str, Any]] = {**_BY_NAME, "val": {"split": "val"}}

NAMED_SETS: dict[str, NamedSet] = {
    "cifar10": NamedSet("CIFAR10", _BY_FLAG),
    "cifar100": NamedSet("CIFAR100", _BY_FLAG),
    "dtd": NamedSet("DTD", _THREE),
    "eurosat": NamedSet("EuroSAT", {"": {}}),
    "fashionmnist": NamedSet("FashionMNIST", _BY_FLAG),
    "fgvcaircraft": NamedSet("FGVCAircraft", _THREE),
    "flowers102": NamedSet("Flowers102", _THREE),
    "food101": NamedSet("Food101", _BY_NAME),
    "gtsrb": NamedSet("GTSRB", _BY_NAME, flip=False),
    "imagenette": NamedSet("Imagenette", {"train": {"split": "train"}, "val": {"split": "val"}}),
    "kmnist": NamedSet("KMNIST", _BY_FLAG, flip=False),
    "mnist": NamedSet("MNIST", _BY_FLAG, flip=False),
    "oxfordiiitpet": NamedSet("OxfordIIITPet", {"train": {"split": "trainval"}, "test": {"split": "test"}}),
    "stl10": NamedSet("STL10", _BY_NAME),
    "svhn": NamedSet("SVHN", _BY_NAME, flip=False),
}


@dataclass(frozen=True, eq=False)
class TorchvisionReader:
    """Reads the opened parts of a set one after another."""

    name: str
    datasets: tuple[Any, ...]

    def read(self, i: int, at_least_px: int = 0) -> Image.Image:
        dataset, row = self._place(i)
        try:
            return to_rgb(dataset[row][0])
        except (OSError, SyntaxError, ValueError) as error:
            raise UnreadableImageError(self.describe(i), str(error)) from error

    def describe(self, i: int) -> str:
        return f"{self.name}[{i}]"

    def short_side(self, i: int) -> int:
        return min(self.read(i).size)

    def _place(self, i: int) -> tuple[Any, int]:
        for dataset in self.datasets:
            if i < len(dataset):
                return dataset, i
            i -= len(dataset)
        raise IndexError(i)


def named_source(name: str, folder: Path) -> Source:
    """A set of ``NAMED_SETS``, downloaded to ``folder`` if it is not there. Raises UserError if that fails."""
    named = NAMED_SETS[name]
    parts = {part: _opened(name, named.dataset, arguments, folder) for part, arguments in named.parts.items()}
    labels = np.concatenate([dataset_labels(dataset) for dataset in parts.values()])
    reader = TorchvisionReader(name, tuple(parts.values()))
    count = int(labels.max()) + 1
    given = getattr(next(iter(parts.values())), "classes", None)
    classes = tuple(str(each) for each in given) if given is not None and len(given) == count else ()
    content = repr((name, [(part, len(dataset)) for part, dataset in parts.items()])).encode() + labels.tobytes()
    return Source(
        name=name,
        classes=classes or tuple(str(label) for label in range(count)),
        labels=labels,
        parts=tuple(part for part, dataset in parts.items() for _ in range(len(dataset))),
        reader=reader,
        digest=hashlib.sha256(content).hexdigest()[:12],
        flip=named.flip,
        native_px=median_short_side(reader, len(labels)),
    )


def is_there(name: str, folder: Path) -> bool:
    """Whether anything of a set of ``NAMED_SETS`` has been downloaded to ``folder``."""
    return any(path.is_file() for path in (folder / name).rglob("*"))


def dataset_labels(dataset: Any) -> IntArray:
    """int64 labels of a torchvision dataset, from whichever attribute it keeps them in; else by reading it all."""
    for attribute in ("targets", "labels", "_labels"):
        values = getattr(dataset, attribute, None)
        if values is not None:
            return np.asarray(values, dtype=np.int64)
    samples = getattr(dataset, "_samples", None)
    if samples is not None:
        return np.asarray([label for _, label in samples], dtype=np.int64)
    return np.asarray([dataset[i][1] for i in range(len(dataset))], dtype=np.int64)


def _opened(name: str, class_name: str, arguments: dict[str, Any], folder: Path) -> Any:
    import torchvision.datasets

    root = folder / name
    do = f"Get the set elsewhere, unpack it as train/ and test/ with class folders, and pass that folder (./{name})."
    try:
        root.mkdir(parents=True, exist_ok=True)
        with _patience(_CONNECT_SECONDS):
            return getattr(torchvision.datasets, class_name)(root=str(root), download=True, **arguments)
    except ImportError as error:  # some sets are kept in a format that needs SciPy
        raise UserError(name, f"the set needs {error.name}.", do=f"Run pip install {error.name}.") from error
    except (OSError, RuntimeError, EOFError) as error:  # no network, no room, a damaged archive
        reason = str(getattr(error, "reason", error))
        raise UserError(name, f"there is no copy in {root}, and the download failed ({reason}).", do=do) from error


@contextmanager
def _patience(seconds: float) -> Iterator[None]:
    """Connections opened inside give up after ``seconds`` without an answer (torchvision sets no limit)."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
