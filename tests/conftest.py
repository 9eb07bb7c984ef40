"""Shared by all rooms: a cache of its own for each test run, and small folders of images."""

import os
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

MakeFolder = Callable[..., Path]
# Tiny tensors only lose time to several threads; set before torch is imported, and for child processes, too.
os.environ.setdefault("OMP_NUM_THREADS", "1")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests marked gpu are skipped, with the reason, where torch sees none; torch is imported only if there are any."""
    marked = [item for item in items if item.get_closest_marker("gpu")]
    if marked:
        import torch

        if not torch.cuda.is_available():
            for item in marked:
                item.add_marker(pytest.mark.skip(reason="no GPU that torch can use"))


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """From before the first fixture on, of whatever scope."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SCALESEARCH_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
        yield


@pytest.fixture
def one_figure(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reports have their first figure alone: for what is not about figures, which take most of a report's time."""
    from scalesearch.reports.figures.drawings import drawings

    monkeypatch.setattr("scalesearch.reports.artefacts.drawings", lambda *given: islice(drawings(*given), 1))


def noisy_images(root: Path, classes: int = 2, images: int = 20, parts: tuple[str, ...] = ()) -> Path:
    """A folder of noisy one-colour images, a class a colour, that a tiny network can tell apart."""
    rng = np.random.default_rng(0)
    for part in parts or ("",):
        for label in range(classes):
            folder = root / part / f"class{label}"
            folder.mkdir(parents=True)
            for number in range(images):
                pixels = rng.integers(0, 160, (20, 20, 3))
                pixels[..., label % 3] += 90
                Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{number:03d}.png")
    return root


@pytest.fixture
def image_folder(tmp_path: Path) -> MakeFolder:
    """Makes such a folder, by its name under the test's own."""
    return lambda name="images", **asked: noisy_images(tmp_path / name, **asked)
