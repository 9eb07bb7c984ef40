"""Batches: complete, repeatable, normalised, and cropped as torchvision would crop them."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torchvision.transforms import v2

from scalesearch.data import batches
from scalesearch.data.arrays import ImageArrays
from scalesearch.data.batches import (
    IMAGENET_STATISTICS,
    Augment,
    PixelStatistics,
    evaluation_batches,
    pixel_statistics,
    steps_per_epoch,
    training_batches,
    training_epochs,
)
from scalesearch.errors import UserError

CPU = torch.device("cpu")
AS_STORED = PixelStatistics(mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
WHOLE = Augment(flip=False, scale=(1.0, 1.0), ratio=(1.0, 1.0))


def images_of(count: int, size: int = 8, seed: int = 0) -> ImageArrays:
    pixels = np.random.default_rng(seed).integers(0, 256, (count, size, size, 3), dtype=np.uint8)
    pixels.flags.writeable = False
    return ImageArrays(pixels, np.arange(count, dtype=np.int64), "key", Path())


def epoch_of(
    arrays: ImageArrays, batch_size: int = 4, seed: int = 0, epoch: int = 0, augment: Augment = WHOLE
) -> list[tuple[Tensor, Tensor]]:
    return list(
        training_batches(arrays, batch_size, seed=seed, epoch=epoch, augment=augment, statistics=AS_STORED, device=CPU)
    )


def labels_of(handed_out: list[tuple[Tensor, Tensor]]) -> list[int]:
    return torch.cat([labels for _, labels in handed_out]).tolist()


def test_evaluation_gives_every_image_once_normalised_as_torchvision_does() -> None:
    arrays = images_of(10)
    handed_out = list(evaluation_batches(arrays, 4, statistics=IMAGENET_STATISTICS, device=CPU))
    assert [len(labels) for _, labels in handed_out] == [4, 4, 2]
    assert labels_of(handed_out) == list(range(10))
    images = torch.cat([batch for batch, _ in handed_out])
    expected = v2.functional.normalize(
        torch.from_numpy(arrays.images.copy()).permute(0, 3, 1, 2) / 255,
        list(IMAGENET_STATISTICS.mean),
        list(IMAGENET_STATISTICS.std),
    )
    torch.testing.assert_close(images, expected, rtol=1e-5, atol=1e-5)


def test_shapes_types_and_memory_format() -> None:
    arrays = images_of(8)
    for images, labels in epoch_of(arrays) + list(evaluation_batches(arrays, 4, statistics=AS_STORED, device=CPU)):
        assert images.shape == (4, 3, 8, 8)
        assert images.dtype == torch.float32
        assert images.is_contiguous(memory_format=torch.channels_last)
        assert labels.dtype == torch.int64


@pytest.mark.parametrize(
    ("images", "batch_size", "steps"),
    [(8, 4, 2), (9, 4, 2), (10, 4, 3), (11, 4, 3), (3, 4, 1), (2, 100, 1), (5, 2, 2), (129, 128, 1), (192, 128, 2)],
)
def test_a_short_last_batch_is_left_out_below_half(images: int, batch_size: int, steps: int) -> None:
    assert steps_per_epoch(images, batch_size) == steps
    handed_out = epoch_of(images_of(images, size=2), batch_size)
    assert len(handed_out) == steps
    assert len(set(labels_of(handed_out))) == len(labels_of(handed_out)) == min(images, steps * batch_size)


def test_order_follows_seed_and_epoch_only() -> None:
    arrays = images_of(32)
    first = labels_of(epoch_of(arrays))
    torch.rand(3)  # the global stream plays no part
    assert labels_of(epoch_of(arrays)) == first
    assert sorted(first) == list(range(32))
    others = [labels_of(epoch_of(arrays, seed=1)), labels_of(epoch_of(arrays, epoch=1)), list(range(32))]
    assert first not in others
    assert others[0] != others[1]


def test_augmentation_is_repeatable_and_independent_of_the_batch_size() -> None:
    arrays, augment = images_of(12), Augment(flip=True, scale=(0.5, 1.0))
    first = torch.cat([images for images, _ in epoch_of(arrays, augment=augment)])
    torch.testing.assert_close(torch.cat([x for x, _ in epoch_of(arrays, augment=augment)]), first, rtol=0, atol=0)
    torch.testing.assert_close(torch.cat([x for x, _ in epoch_of(arrays, 6, augment=augment)]), first)
    assert not torch.equal(torch.cat([x for x, _ in epoch_of(arrays, epoch=1, augment=augment)]), first)


def test_without_augmentation_images_are_unchanged() -> None:
    arrays = images_of(6)
    for images, labels in epoch_of(arrays):
        expected = torch.from_numpy(arrays.images[labels.numpy()]).permute(0, 3, 1, 2) / 255
        torch.testing.assert_close(images, expected, rtol=1e-5, atol=1e-5)


def test_flip_mirrors_about_half_of_the_images() -> None:
    arrays = images_of(400, size=4)
    mirrored = 0
    for images, labels in epoch_of(arrays, 100, augment=Augment(True, (1.0, 1.0), (1.0, 1.0))):
        stored = torch.from_numpy(arrays.images[labels.numpy()]).permute(0, 3, 1, 2) / 255
        same = torch.isclose(images, stored, atol=1e-5).flatten(1).all(1)
        flipped = torch.isclose(images, stored.flip(3), atol=1e-5).flatten(1).all(1)
        assert (same | flipped).all()
        mirrored += int(flipped.sum())
    assert 160 < mirrored < 240


def test_a_crop_equals_torchvisions() -> None:
    """The square from (2, 4) to (6, 8) of 8 × 8 pixels, resized back; for the version that samples at once away from
    the crop's edge, where the reference does not see the pixels outside."""
    stored = torch.from_numpy(images_of(1).images.copy()).permute(0, 3, 1, 2)
    crop = torch.tensor([[0.5, 0.5, 0.0, 0.5]])
    expected = v2.functional.resized_crop(stored, 4, 2, 4, 4, [8, 8], antialias=True)
    assert torch.equal(batches._cropped_one_by_one(stored, crop), expected)
    assert torch.equal(batches._cropped_one_by_one(stored, crop * torch.tensor([-1, 1, 1, 1])), expected.flip(-1))
    plain = v2.functional.resized_crop(stored / 255, 4, 2, 4, 4, [8, 8], antialias=False)
    at_once = batches._cropped_at_once(stored / 255, crop)
    torch.testing.assert_close(at_once[..., 1:-1, 1:-1], plain[..., 1:-1, 1:-1])


def test_crops_of_every_shape_stay_within_the_image() -> None:
    stored = torch.from_numpy(images_of(200, size=7).images.copy()).permute(0, 3, 1, 2)
    uniform = torch.rand(200, 5, generator=torch.Generator().manual_seed(0))
    crops = batches._crops(Augment(True, (0.02, 1.0), (0.2, 5.0)), uniform)
    cropped = batches._cropped_one_by_one(stored, crops)
    assert cropped.shape == stored.shape
    assert (cropped.amin((1, 2, 3)) >= stored.amin((1, 2, 3))).all()
    assert (cropped.amax((1, 2, 3)) <= stored.amax((1, 2, 3))).all()


@pytest.mark.parametrize("ratio", [(1.0, 1.0), (0.75, 4 / 3)])
def test_crops_stay_inside_and_cover_the_asked_area(ratio: tuple[float, float]) -> None:
    uniform = torch.rand(2000, 5, generator=torch.Generator().manual_seed(0))
    crops = batches._crops(Augment(False, (0.5, 0.7), ratio), uniform)
    width, height, x, y = crops.unbind(1)
    assert (x.abs() + width <= 1 + 1e-6).all()
    assert (y.abs() + height <= 1 + 1e-6).all()
    area = width * height
    assert 0.5 - 1e-5 <= area.min() < 0.51
    assert 0.69 < area.max() <= 0.7 + 1e-5
    assert (width / height).min() >= ratio[0] - 1e-5
    assert (width / height).max() <= ratio[1] + 1e-5


def test_statistics() -> None:
    arrays = images_of(50)
    pixels = arrays.images.reshape(-1, 3) / 255
    statistics = pixel_statistics(arrays)
    np.testing.assert_allclose(statistics.mean, pixels.mean(0), rtol=1e-5)
    np.testing.assert_allclose(statistics.std, pixels.std(0), rtol=1e-5)
    black = ImageArrays(np.zeros((2, 4, 4, 3), np.uint8), np.zeros(2, np.int64), "key", Path())
    assert pixel_statistics(black) == PixelStatistics((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))


def test_one_image_cannot_be_trained_on() -> None:
    with pytest.raises(UserError, match="at least 2"):
        epoch_of(images_of(1))


@pytest.mark.gpu
@pytest.mark.parametrize("make", [epoch_of])
def test_the_device_gives_the_same(make: Callable[..., list[tuple[Tensor, Tensor]]]) -> None:
    arrays = images_of(8)
    there = training_batches(
        arrays, 4, seed=0, epoch=0, augment=WHOLE, statistics=AS_STORED, device=torch.device("cuda")
    )
    for (images, labels), (expected, expected_labels) in zip(there, make(arrays), strict=True):
        torch.testing.assert_close(images.cpu(), expected, rtol=1e-4, atol=1e-4)
        assert labels.cpu().tolist() == expected_labels.tolist()


STRONG = Augment(randaugment=9, erasing=0.5, mixup=0.4, cutmix=1.0)


def test_torchvisions_augmentation_follows_from_seed_and_epoch_alone() -> None:
    def epoch(number: int, seed: int = 0) -> list[tuple[torch.Tensor, torch.Tensor]]:
        epochs, _ = training_epochs(
            images_of(40, 16), 8, seed=seed, augment=STRONG, statistics=IMAGENET_STATISTICS, device=CPU, classes=40
        )
        return list(epochs(number))

    state = torch.get_rng_state()
    first = epoch(3)
    assert torch.equal(torch.get_rng_state(), state)
    torch.rand(3)
    again, other = epoch(3), epoch(4)
    assert all(torch.equal(a[0], b[0]) and torch.equal(a[1], b[1]) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first[0][0], other[0][0])
    images, labels = first[0]
    assert images.is_contiguous(memory_format=torch.channels_last)
    assert labels.shape == (8, 40)
    assert torch.allclose(labels.sum(1), torch.ones(8))


@pytest.mark.parametrize("augment", [Augment(), STRONG])
def test_batches_that_are_done_are_passed_over_and_the_rest_is_the_same(augment: Augment) -> None:
    epochs, steps = training_epochs(
        images_of(40, 16), 8, seed=0, augment=augment, statistics=IMAGENET_STATISTICS, device=CPU, classes=40
    )
    whole = list(epochs(2))
    for done in range(steps + 1):
        rest = list(epochs(2, done))
        for (images, labels), (expected, expected_labels) in zip(rest, whole[done:], strict=True):
            assert torch.equal(images, expected)
            assert torch.equal(labels, expected_labels)


@pytest.mark.parametrize("change", [{"randaugment": 15}, {"erasing": 1.0}])
def test_each_augmentation_changes_images_and_not_labels(change: dict[str, float]) -> None:
    def first(augment: Augment) -> tuple[torch.Tensor, torch.Tensor]:
        return next(
            training_batches(
                images_of(40, 16), 8, seed=0, epoch=0, augment=augment, statistics=IMAGENET_STATISTICS, device=CPU
            )
        )  # fmt: skip

    plain, changed = first(Augment()), first(Augment(**change))
    assert torch.equal(plain[1], changed[1])
    assert (plain[0] != changed[0]).flatten(1).any(1).float().mean() > 0.5


@pytest.mark.parametrize("augment", [Augment(), Augment(randaugment=5, erasing=0.5, mixup=0.2, cutmix=1.0)])
def test_shares_of_a_batch_are_its_parts(augment: Augment) -> None:
    arrays = images_of(13)

    def batches(share: tuple[int, int]) -> list[tuple[Tensor, Tensor]]:
        epochs, steps = training_epochs(
            arrays, 6, seed=1, augment=augment, statistics=AS_STORED, device=CPU, classes=13, share=share
        )
        drawn = list(epochs(0))
        assert len(drawn) == steps
        return drawn

    whole, first, second = batches((0, 1)), batches((0, 2)), batches((1, 2))
    assert [len(images) for images, _ in first] == [len(images) for images, _ in second] == [3, 3]
    if augment == Augment():
        for (images, labels), *parts in zip(whole, first, second, strict=True):
            assert torch.equal(torch.cat([part for part, _ in parts]), images)
            assert torch.equal(torch.cat([known for _, known in parts]), labels)
