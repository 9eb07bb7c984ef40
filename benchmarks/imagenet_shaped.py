"""A set shaped like ImageNet: how long until the first step, images per second kept and streamed, memory of workers,
and what a search on the real one would take.

    python -m benchmarks.imagenet_shaped [--images 100000] [--classes 1000] [--folder FOLDER] [--rounds 5]

The files are JPEGs of 250 × 188 px, made under FOLDER (a temporary one if left out) and removed afterwards. What is
timed in turn, after some untimed batches, are batches of 64 at 64 px: kept at that size; made from a kept master of 96
px; decoded from the files; and of torchvision's ImageFolder and transforms with a DataLoader of 2 and of 8 workers. The
system keeps files in memory, where there is room: a disk that is slower than the decoder shows here in nothing.
"""

import argparse
import itertools
import multiprocessing
import os
import pickle
import statistics
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
import psutil
import torch
from PIL import Image
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2

from scalesearch.data.batches import IMAGENET_STATISTICS, Augment, training_batches
from scalesearch.data.dataset import Part, dataset
from scalesearch.data.folder import folder_source
from scalesearch.data.keeping import image_bytes, keep
from scalesearch.data.places import CACHE_VARIABLE
from scalesearch.machine import cores

WIDTH, HEIGHT, QUALITY = 250, 188, 85
VARIANTS = 256  # distinct pictures; a number in each file's comment makes all files differ
SIZE, MASTER, BATCH = 64, 96, 64
WORKERS = 8
CPU = torch.device("cpu")
BATCHES, WARM_UP = 20, 4  # timed and untimed, a round
IMAGENET, IMAGENET_PIXELS = 1_281_167, 400 * 350  # images of train; pixels of one, on average
B0_IMAGES_PER_SECOND = 4700  # trained on an H100 at 224 px in bf16 (reports/LOG.md); at twice the FLOPs half of it
TRAININGS, EPOCHS, VALIDATION = 2 + 16 + 8, 20, 25_000  # of `grid --target-flops 400M` on a GPU
RECIPE = Augment(scale=(0.7, 1.0), ratio=(0.8, 1.25))


def picture(rng: np.random.Generator) -> Image.Image:
    """Blobs and edges, about as hard to compress as a photo."""
    coarse = Image.fromarray(rng.integers(0, 256, (12, 16, 3), dtype=np.uint8)).resize((WIDTH, HEIGHT))
    grain = rng.normal(0, 9, (HEIGHT, WIDTH, 1))
    return Image.fromarray(np.clip(np.asarray(coarse) + grain, 0, 255).astype(np.uint8))


def make(root: Path, images: int, classes: int) -> int:
    """``images`` JPEGs, spread evenly over ``classes`` folders; their bytes."""
    rng, pictures, total = np.random.default_rng(0), [], 0
    for _ in range(VARIANTS):
        content = BytesIO()
        picture(rng).save(content, "JPEG", quality=QUALITY, comment=b"%08d")
        pictures.append(content.getvalue())
    folders = [root / f"n{label:08d}" for label in range(classes)]
    for folder in folders:
        folder.mkdir(parents=True)
    for i in range(images):
        content_of = pictures[i % VARIANTS].replace(b"%08d", b"%08d" % i, 1)
        (folders[i % classes] / f"{i:08d}.JPEG").write_bytes(content_of)
        total += len(content_of)
    return total


def ours(part: Part) -> Iterator[int]:
    """Images of each training batch, epoch after epoch."""
    images = part.at(SIZE)
    for epoch in itertools.count():
        batches = training_batches(
            images, BATCH, seed=0, epoch=epoch, augment=RECIPE, statistics=IMAGENET_STATISTICS, device=CPU
        )
        yield from (len(batch) for batch, _ in batches)


def peer(root: Path, workers: int) -> Iterator[int]:
    """The same from torchvision's folder and transforms."""
    transforms = v2.Compose([
        v2.RandomResizedCrop(SIZE, scale=RECIPE.scale, ratio=RECIPE.ratio, antialias=True),
        v2.RandomHorizontalFlip(), v2.ToImage(), v2.ToDtype(torch.float32, scale=True),
        v2.Normalize(list(IMAGENET_STATISTICS.mean), list(IMAGENET_STATISTICS.std)),
    ])  # fmt: skip
    loader = DataLoader(ImageFolder(str(root), transforms), BATCH, shuffle=True, num_workers=workers)
    while True:
        for batch, _ in loader:
            yield len(batch)


def rates(sides: dict[str, Iterator[int]], rounds: int) -> dict[str, list[float]]:
    """Images per second of each side, in turn. Where the one has worked ahead while another was timed, the untimed
    batches take that away."""
    found: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(rounds):
        for name, batches in sides.items():
            for _ in range(WARM_UP):
                next(batches)
            began = time.perf_counter()
            images = sum(next(batches) for _ in range(BATCHES))
            found[name].append(images / (time.perf_counter() - began))
    return found


def first_step(root: Path, room: float | None) -> tuple[float, float]:
    """Seconds from the folder's name to the first training batch, nothing kept before and everything."""
    taken = []
    for _ in range(2):
        began = time.perf_counter()
        data = dataset(folder_source(root), SIZE)
        within, _ = keep(data, ("train", "validation"), {48, SIZE}, room)
        next(ours(within.train))
        taken.append(time.perf_counter() - began)
    return taken[0], taken[1]


def work(content: bytes, ready: "multiprocessing.Queue[int]", done: "multiprocessing.Event") -> None:  # type: ignore[valid-type]
    """A worker that trains on a part: after two batches it says what memory is its own."""
    batches = ours(pickle.loads(content))  # what this script pickled itself
    next(batches), next(batches)
    ready.put(psutil.Process().memory_full_info().uss)
    done.wait()  # type: ignore[attr-defined]


def memory(part: Part) -> tuple[list[int], int]:
    """Own bytes of each of 8 workers that stream, and of what they are sent."""
    context, content = multiprocessing.get_context("spawn"), pickle.dumps(part)
    ready, done = context.Queue(), context.Event()
    workers = [context.Process(target=work, args=(content, ready, done)) for _ in range(WORKERS)]
    for worker in workers:
        worker.start()
    taken = [ready.get() for _ in workers]
    done.set()
    for worker in workers:
        worker.join()
    return taken, len(content)


def real(seconds_per_image: float, list_seconds: float, images: int, bytes_a_file: float) -> None:
    """What the search would take on ImageNet-1k, with the formulas."""
    decoding = seconds_per_image * IMAGENET_PIXELS / (WIDTH * HEIGHT)
    trained = IMAGENET - VALIDATION
    rate = B0_IMAGES_PER_SECOND / 2
    hours = TRAININGS * EPOCHS * trained / rate / 3600
    kept, small = (image_bytes(IMAGENET, size) / 1e9 for size in (375, 16))
    listing = list_seconds * IMAGENET / images
    files = bytes_a_file * IMAGENET_PIXELS / (WIDTH * HEIGHT) * IMAGENET / 1e9
    decoding_ms = f"{1e3 * decoding:.1f} ms"
    for line in (
        "\nImageNet-1k, `grid --target-flops 400M` on H100s, computed:\n",
        f"- listing: {list_seconds:.1f} s × {IMAGENET} / {images} = {listing:.0f} s; at first {files:.0f} GB are read",
        f"- kept at 375 px: {IMAGENET} × 375² × 3 bytes = {kept:.0f} GB; thumbnails alone {small:.1f} GB",
        f"- decoding: {1e3 * seconds_per_image:.2f} ms × 400 × 350 / ({WIDTH} × {HEIGHT}) = {decoding_ms} of a core",
        f"- one GPU: {TRAININGS} trainings × {EPOCHS} epochs × {trained} images / "
        f"({B0_IMAGES_PER_SECOND} / 2 images/s) = {hours:.0f} h; eight: {hours / 8:.0f} h",
        f"- cores that decode as fast: {rate:.0f} × {decoding_ms} = {rate * decoding:.0f} for each GPU",
        f"- with --images 100000: one GPU {hours * 1e5 / trained:.1f} h, eight {hours * 1e5 / 8 / trained:.1f} h",
    ):
        print(line)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=100_000)
    parser.add_argument("--classes", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", type=Path)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=asked.folder) as place:
        root = Path(place) / "set"
        total = make(root, asked.images, asked.classes)
        print(f"{asked.images} JPEGs of {WIDTH} × {HEIGHT} px in {asked.classes} folders, {total / 1e6:.0f} MB")
        print(f"{cores()} cores, torch {torch.__version__}, load {os.getloadavg()[0]:.1f}\n")
        listed = []
        for cache in ("streaming", "streaming", "keeping"):  # a cache of its own for each
            os.environ[CACHE_VARIABLE] = str(Path(place) / cache)
            began = time.perf_counter()
            data = dataset(folder_source(root), SIZE)
            listed.append(time.perf_counter() - began)
        print(f"listing and digest: {listed[0]:.1f} s, again {listed[1]:.1f} s")
        os.environ[CACHE_VARIABLE] = str(Path(place) / "streaming")
        first, second = first_step(root, image_bytes(asked.images, 16) * 1.01)
        print(f"to the first batch of {SIZE} px, streamed: {first:.1f} s, all looked at; again {second:.1f} s")
        os.environ[CACHE_VARIABLE] = str(Path(place) / "keeping")
        first, second = first_step(root, None)
        print(f"to the first batch of {SIZE} px, kept: {first:.1f} s, all decoded; again {second:.1f} s")
        data = dataset(folder_source(root), SIZE)
        part = data.train
        streamed = replace(part, folder=Path(place) / "streaming" / "decoded", kept=frozenset({16}))
        lone = replace(part, kept=frozenset({MASTER}), folder=aside(part, place))
        sides = {
            f"kept at {SIZE} px": ours(replace(part, kept=frozenset({SIZE, MASTER}))),
            f"from a kept master of {MASTER} px": ours(lone),
            "streamed from the files": ours(streamed),
            "ImageFolder, DataLoader, 2 workers": peer(root, 2),
            "ImageFolder, DataLoader, 8 workers": peer(root, WORKERS),
        }  # fmt: skip
        print(f"\n| training batches of {BATCH} at {SIZE} px | images/s, median | lowest–highest |\n|---|--:|--:|")
        for name, values in rates(sides, asked.rounds).items():
            print(f"| {name} | {statistics.median(values):.0f} | {min(values):.0f}–{max(values):.0f} |")
        del sides
        taken, sent = memory(streamed)
        print(
            f"\n{WORKERS} workers that stream: {statistics.median(taken) / 1e6:.0f} MB each "
            f"({min(taken) / 1e6:.0f}–{max(taken) / 1e6:.0f}), {sent / 1e6:.1f} MB of it the list of images"
        )
        made, began = streamed.made(SIZE), time.perf_counter()
        for row in range(500):
            made.make(row)
        real((time.perf_counter() - began) / 500, listed[1], asked.images, total / asked.images)


def aside(part: Part, place: str) -> Path:
    """A folder that holds the part's master alone, so that no other size is found there."""
    folder = Path(place) / "master"
    replace(part, folder=folder).at(part.master_px)
    return folder


if __name__ == "__main__":
    main()
