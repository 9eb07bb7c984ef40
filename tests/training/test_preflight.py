from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from scalesearch.data.arrays import ImageArrays
from scalesearch.data.batches import IMAGENET_STATISTICS, Augment, PixelStatistics, training_batches
from scalesearch.data.dataset import Dataset, dataset, open_data
from scalesearch.data.overlap import overlap
from scalesearch.nets.modules import build
from scalesearch.study.config import TrainConfig
from scalesearch.training import preflight as checks
from scalesearch.training.memory import predict_memory
from scalesearch.training.preflight import Finding, check_labels, check_trainable, preflight
from tests.conftest import MakeFolder
from tests.nets.test_inherit import SMALL

CONFIG = TrainConfig(epochs=2, batch_size=16)
CPU = torch.device("cpu")
SPEC = replace(SMALL, classes=2)


@pytest.fixture
def data(image_folder: MakeFolder) -> Dataset:
    return dataset(open_data(str(image_folder(parts=("train", "test")))), 16)


@pytest.fixture
def distinct(tmp_path: Path) -> Dataset:
    """Two parts that share no image."""
    rng = np.random.default_rng(1)
    for part in ("train", "test"):
        for label in range(2):
            folder = tmp_path / "distinct" / part / f"class{label}"
            folder.mkdir(parents=True)
            for number in range(20):
                pixels = rng.integers(0, 255, (20, 20, 3)).astype(np.uint8)
                Image.fromarray(pixels).save(folder / f"{number}.png")
    return dataset(open_data(str(tmp_path / "distinct")), 16)


def first(data: Dataset, statistics: PixelStatistics = IMAGENET_STATISTICS) -> tuple[torch.Tensor, torch.Tensor]:
    arrays = data.train.at(16)
    return next(
        training_batches(arrays, 16, seed=0, epoch=0, augment=Augment(), statistics=statistics, device=CPU)
    )  # fmt: skip


def findings_of(
    data: Dataset,
    config: TrainConfig = CONFIG,
    resolution: int = 16,
    statistics: PixelStatistics = IMAGENET_STATISTICS,
    source: tuple[int, PixelStatistics] | None = (16, IMAGENET_STATISTICS),
    bias: float = 0.0,
) -> dict[str, Finding]:
    network = build(SPEC, seed=0)
    with torch.no_grad():
        network.classifier[1].weight.mul_(0.01)
        network.classifier[1].bias[0] = bias
    findings = preflight(network, data, config, resolution, statistics, first(data, statistics), source)
    return {finding.check: finding for finding in findings}


@pytest.mark.parametrize("strategy", ["full", "head", "tail", "gradual"])
@pytest.mark.parametrize("source", [None, (16, IMAGENET_STATISTICS), (24, IMAGENET_STATISTICS)])
def test_a_clean_training_raises_nothing(
    distinct: Dataset, strategy: str, source: tuple[int, PixelStatistics] | None
) -> None:
    assert findings_of(distinct, replace(CONFIG, strategy=strategy), source=source) == {}


@pytest.mark.parametrize("trained_at", [4, 64])
def test_a_resolution_far_from_the_weights(distinct: Dataset, trained_at: int) -> None:
    only = findings_of(distinct, source=(trained_at, IMAGENET_STATISTICS))
    assert set(only) == {"resolution"}
    assert f"trained at {trained_at} px" in str(only["resolution"])


def test_another_normalisation_than_the_sources(distinct: Dataset) -> None:
    other = PixelStatistics((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    assert findings_of(distinct, statistics=other)["preprocessing"].level == "error"


@pytest.mark.parametrize("std", [1 / 255, 1e6])
def test_pixels_that_were_not_scaled_or_are_constant(distinct: Dataset, std: float) -> None:
    wrong = PixelStatistics((0.0, 0.0, 0.0), (std, std, std))
    assert "are not normalised" in findings_of(distinct, statistics=wrong, source=None)["preprocessing"].problem


@pytest.mark.parametrize("change", [{"batch_size": 4}, {"batch_size": 16, "accumulate": 4}])
def test_live_batch_norm_on_few_images(distinct: Dataset, change: dict[str, int]) -> None:
    assert set(findings_of(distinct, replace(CONFIG, **change))) == {"batch norm"}
    assert findings_of(distinct, replace(CONFIG, **change, strategy="head")) == {}


def test_nothing_trainable() -> None:
    network = torch.nn.Module()
    network.classifier = torch.nn.Identity()
    assert [f.check for f in check_trainable(network, replace(CONFIG, strategy="head"))] == ["trainable"]


def test_a_first_loss_far_above_guessing(distinct: Dataset) -> None:
    assert "log(classes) = 0.69" in str(findings_of(distinct, bias=50.0)["first loss"])


@pytest.mark.parametrize(("share", "level"), [(1.1, "error"), (0.5, "error")])  # a warning on GPUs, which say so
def test_memory_that_will_not_suffice(
    distinct: Dataset, monkeypatch: pytest.MonkeyPatch, share: float, level: str
) -> None:
    needed = predict_memory(build(SPEC, seed=0), CONFIG, 16)
    monkeypatch.setattr(checks, "available_memory", lambda device: share * needed)
    finding = findings_of(distinct)["memory"]
    assert finding.level == level
    assert "GB are free on cpu" in str(finding)
    assert "--recompute" in finding.do


def test_a_batch_of_one_class() -> None:
    assert [f.check for f in check_labels(torch.ones(8, dtype=torch.int64), 2)] == ["labels"]
    assert list(check_labels(torch.ones(8, dtype=torch.int64), 1)) == []
    assert list(check_labels(torch.ones(4, dtype=torch.int64), 2)) == []


def test_images_that_are_in_two_parts(distinct: Dataset, tmp_path: Path) -> None:
    root = tmp_path / "distinct"
    original = distinct.source.describe(int(distinct.train.indices[0]))
    with Image.open(original) as image:
        image.save(root / "test" / "class1" / "copy.png", compress_level=1)
    finding = findings_of(dataset(open_data(str(root)), 16))["overlap"]
    assert finding.problem.startswith("1 of 41 test images are in train, too, 1 of them under another class")
    assert f"copy.png (class1) is {original} (class0)" in finding.problem


def test_images_of_both_parts_are_found_by_content(data: Dataset) -> None:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (6, 8, 8, 3), dtype=np.uint8)
    blank = np.zeros((1, 8, 8, 3), np.uint8)
    one = ImageArrays(np.concatenate([images[:4], blank]), np.zeros(5, np.int64), "a", Path())
    two = ImageArrays(np.concatenate([images[3:], blank]), np.zeros(4, np.int64), "b", Path())
    assert overlap(one, two) == ((3, 0), (4, 3))
    assert overlap(two, one) == ((0, 3), (3, 4))


def test_a_recompressed_copy_is_found_and_a_picture_like_it_is_not(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    smooth = [Image.fromarray(rng.integers(0, 256, (4, 4, 3), dtype=np.uint8)).resize((64, 64)) for _ in range(8)]
    smooth[3].save(tmp_path / "copy.jpg", quality=70)
    with Image.open(tmp_path / "copy.jpg") as copy:
        copied = np.asarray(copy)
    brighter = np.asarray(smooth[5].point(lambda value: min(255, value + 12)))
    one = ImageArrays(np.stack([np.asarray(image) for image in smooth]), np.zeros(8, np.int64), "a", Path())
    two = ImageArrays(np.stack([copied, brighter]), np.zeros(2, np.int64), "b", Path())
    assert not np.array_equal(copied, one.images[3])
    assert overlap(one, two) == ((3, 0),)
