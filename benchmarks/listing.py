"""Seconds to list a folder of many small files and to take its digest: at first, again, and after some have changed.

    python -m benchmarks.listing [--images 100000] [--classes 1000] [--changed 100] [--folder FOLDER]

The files are JPEGs of 32 px, made under FOLDER (a temporary one if left out) and removed afterwards. Files that are
younger than two seconds are read every time, so it waits for as long before it begins. The system keeps the files in
memory meanwhile: a first time from a disk takes longer by what the disk takes to read them.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from scalesearch.data.digests import contents
from scalesearch.data.folder import folder_source
from scalesearch.data.listing import listed, root_of
from scalesearch.data.places import CACHE_VARIABLE, digests_file

VARIANTS = 256  # distinct pictures; a number in each file's comment makes all files differ
SETTLING_SECONDS = 3


def make(root: Path, images: int, classes: int) -> None:
    """``images`` JPEGs, spread evenly over ``classes`` folders."""
    rng = np.random.default_rng(0)
    pictures = []
    for _ in range(VARIANTS):
        path = root / "one.jpg"
        Image.fromarray(rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(path, comment=b"%08d")
        pictures.append(path.read_bytes())
    (root / "one.jpg").unlink()
    folders = [root / f"n{label:08d}" for label in range(classes)]
    for folder in folders:
        folder.mkdir()
    for i in range(images):
        content = pictures[i % VARIANTS].replace(b"%08d", b"%08d" % i, 1)
        (folders[i % classes] / f"{i:08d}.JPEG").write_bytes(content)


def change(root: Path, count: int) -> None:
    """One byte of each of ``count`` files."""
    for path in sorted(root.rglob("*.JPEG"))[:count]:
        content = bytearray(path.read_bytes())
        content[-3] ^= 1
        path.write_bytes(content)


def timed(what: str, work: Callable[[], object]) -> None:
    """A row of the table: seconds of the clock and of the processor, and the machine's load."""
    clock, processor = time.perf_counter(), time.process_time()
    work()
    spent = time.perf_counter() - clock, time.process_time() - processor
    print(f"{what:<44}{spent[0]:>9.2f}{spent[1]:>9.2f}{os.getloadavg()[0]:>7.1f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=100_000)
    parser.add_argument("--classes", type=int, default=1000)
    parser.add_argument("--changed", type=int, default=100)
    parser.add_argument("--folder", type=Path)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=asked.folder) as place:
        root = Path(place) / "set"
        root.mkdir()
        os.environ[CACHE_VARIABLE] = str(Path(place) / "cache")
        make(root, asked.images, asked.classes)
        time.sleep(SETTLING_SECONDS)
        print(f"{asked.images} files in {asked.classes} folders{'':<14}seconds  of CPU   load")
        timed("listing alone", lambda: listed(root_of(root)))
        timed("listing and digest, the first time", lambda: folder_source(root))
        timed("again", lambda: folder_source(root))
        timed("again", lambda: folder_source(root))
        change(root, asked.changed)
        timed(f"after {asked.changed} files changed", lambda: folder_source(root))
        files = list(listed(root_of(root)).images())
        timed("digests alone, again", lambda: contents(str(root), files, digests_file()))
        print(f"database: {digests_file().stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
