"""Images per second of one training epoch's data: our cache and batches beside torchvision's folder and loader.

    python benchmarks/data_cache.py PATH_TO_SET [--size 112] [--repeats 5]

PATH_TO_SET holds class folders, or train/ with class folders. Both sides deliver augmented, normalised float batches
of the training images; they are timed in turn, each after one untimed epoch. Decoding into the cache is timed apart.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2

from scalesearch.data.arrays import ImageArrays
from scalesearch.data.batches import IMAGENET_STATISTICS, Augment, training_batches
from scalesearch.data.cache import cached
from scalesearch.data.folder import folder_source

Epoch = Callable[[int], int]


def our_epoch(arrays: ImageArrays, batch_size: int) -> Epoch:
    """Delivers epoch ``e`` and returns how many images came."""

    def deliver(epoch: int) -> int:
        batches = training_batches(
            arrays,
            batch_size,
            seed=0,
            epoch=epoch,
            augment=Augment(),
            statistics=IMAGENET_STATISTICS,
            device=torch.device("cpu"),
        )
        return sum(len(labels) for _, labels in batches)

    return deliver


def torchvision_epoch(folder: Path, size_px: int, batch_size: int, workers: int) -> Epoch:
    """The same from files with torchvision's transforms; workers stay alive between epochs."""
    transforms = v2.Compose(
        [
            v2.RandomResizedCrop(size_px, scale=(0.7, 1.0), ratio=(0.8, 1.25), antialias=True),
            v2.RandomHorizontalFlip(),
            v2.ToImage(),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(list(IMAGENET_STATISTICS.mean), list(IMAGENET_STATISTICS.std)),
        ]
    )
    loader = DataLoader(
        ImageFolder(str(folder), transforms),
        batch_size,
        shuffle=True,
        num_workers=workers,
        persistent_workers=workers > 0,
    )
    return lambda epoch: sum(len(labels) for _, labels in loader)


def rates(epochs: dict[str, Epoch], repeats: int) -> dict[str, list[float]]:
    """Images per second of each side, ``repeats`` times, in turn."""
    speeds: dict[str, list[float]] = {name: [] for name in epochs}
    for repeat in range(repeats + 1):
        for name, deliver in epochs.items():
            started = time.perf_counter()
            images = deliver(repeat)
            if repeat > 0:  # the first starts workers and fills the system's file cache
                speeds[name].append(images / (time.perf_counter() - started))
    return speeds


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("path", type=Path, help="folder of images")
    parser.add_argument("--size", type=int, default=112, help="side of the images in pixels")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--workers", type=int, default=2, help="loader processes of torchvision's side")
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    source = folder_source(options.path)
    rows = np.array([i for i, part in enumerate(source.parts) if part in ("train", "")], dtype=np.int64)
    folder = options.path / "train" if "train" in source.parts else options.path
    with tempfile.TemporaryDirectory() as cache:
        started = time.perf_counter()
        arrays = cached(source, rows, options.size, Path(cache))
        decoding = time.perf_counter() - started
        epochs = {
            "cache + batches": our_epoch(arrays, options.batch_size),
            f"ImageFolder + DataLoader, {options.workers} workers": torchvision_epoch(
                folder, options.size, options.batch_size, options.workers
            ),
        }
        speeds = rates(epochs, options.repeats)
    print(f"{len(rows)} photos at {options.size} px, batch {options.batch_size}, {torch.get_num_threads()} thread(s)")
    print(f"decoded once into the cache: {len(rows) / decoding:.0f} images/s ({decoding:.1f} s)")
    print(f"{'one training epoch':42}{'images/s':>10}{'min':>8}{'max':>8}")
    for name, values in speeds.items():
        print(f"{name:42}{statistics.median(values):10.0f}{min(values):8.0f}{max(values):8.0f}")


if __name__ == "__main__":
    main()
