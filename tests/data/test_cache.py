"""Decoded once, equal to a direct computation, shared between processes, rebuilt when damaged."""

import os
import shutil
import subprocess
import sys
import textwrap
import time
import zlib
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image, ImageOps

from scalesearch.data import arrays, cache, threads
from scalesearch.data.cache import at_size, cached, master_size, without_broken
from scalesearch.data.dataset import Part
from scalesearch.data.folder import FolderReader, folder_source
from scalesearch.data.image import read_rgb
from scalesearch.data.source import Source
from scalesearch.errors import UserError
from tests.data.pictures import tree


@pytest.fixture
def source(tmp_path: Path) -> Source:
    return folder_source(tree(tmp_path / "set", {"a": 3, "b": 4}))


def everything(source: Source) -> np.ndarray:
    return np.arange(len(source), dtype=np.int64)


def build(arguments: tuple[str, str]) -> np.ndarray:
    source = folder_source(arguments[0])
    return np.array(cached(source, everything(source), 8, Path(arguments[1])).images)


def break_images(source: Source, rows: list[int]) -> None:
    for row in rows:
        path = Path(source.describe(row))
        path.write_bytes(path.read_bytes()[:-200])


def test_pixels_and_labels_equal_a_direct_computation(source: Source, tmp_path: Path) -> None:
    indices = np.array([5, 0, 3])
    arrays = cached(source, indices, 8, tmp_path / "cache")
    direct = [ImageOps.fit(Image.open(source.describe(i)), (8, 8), Image.Resampling.BICUBIC) for i in indices]
    np.testing.assert_array_equal(arrays.images, np.stack([np.asarray(image) for image in direct]))
    assert arrays.labels.tolist() == [1, 0, 1]
    assert (arrays.size_px, len(arrays)) == (8, 3)
    assert not arrays.images.flags.writeable


def test_the_second_call_decodes_nothing(source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[int, int]] = []
    first = cached(source, everything(source), 8, tmp_path / "cache", lambda done, total: calls.append((done, total)))
    assert calls == [(7, 7)]
    monkeypatch.setattr(FolderReader, "read", None)
    again = cached(source, everything(source), 8, tmp_path / "cache")
    np.testing.assert_array_equal(again.images, first.images)
    assert again.key == first.key


def test_another_set_size_or_selection_has_another_key(source: Source, tmp_path: Path) -> None:
    keys = {cached(source, everything(source), size, tmp_path / "cache").key for size in (8, 9)}
    keys.add(cached(source, everything(source)[::-1].copy(), 8, tmp_path / "cache").key)
    assert len(keys) == 3


def test_sizes_come_from_the_master_without_decoding(
    source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    master = cached(source, everything(source), 16, tmp_path / "cache")
    monkeypatch.setattr(FolderReader, "read", None)
    for size in (8, 24):
        expected = [Image.fromarray(image).resize((size, size), Image.Resampling.BICUBIC) for image in master.images]
        arrays = at_size(master, size)
        np.testing.assert_array_equal(arrays.images, np.stack([np.asarray(image) for image in expected]))
        np.testing.assert_array_equal(arrays.labels, master.labels)
    assert at_size(master, 16) is master
    assert len({master.key, at_size(master, 8).key, at_size(master, 24).key}) == 3


@pytest.mark.parametrize(("native", "largest", "expected"), [(32, 48, 32), (500, 48, 72), (96, 64, 96), (1, 1, 1)])
def test_master_size(native: int, largest: int, expected: int) -> None:
    assert master_size(native, largest) == expected


@pytest.mark.parametrize("damage", ["short", "one bit", "longer", "empty", "foreign", "other shape"])
def test_a_damaged_file_is_rebuilt(source: Source, tmp_path: Path, damage: str) -> None:
    folder = tmp_path / "cache"
    good = np.array(cached(source, everything(source), 8, folder).images)
    (path,) = folder.glob("*.npy")
    content = path.read_bytes()
    flipped = bytearray(content)
    flipped[len(content) // 2] ^= 1
    other = folder.parent / "other.npy"
    np.save(other, good[:2])
    path.unlink()  # a new file: the old one is still mapped
    path.write_bytes(
        {
            "short": content[: len(content) // 2],
            "one bit": bytes(flipped),
            "longer": content + b"\0" * 64,
            "empty": b"",
            "foreign": b"PK\x03\x04 no array",
            "other shape": other.read_bytes(),
        }[damage]
    )
    np.testing.assert_array_equal(cached(source, everything(source), 8, folder).images, good)
    assert path.read_bytes() == content


@pytest.fixture
def read_bytes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Bytes of each piece of pixels that a checksum is taken of; written ones count, too."""
    pieces: list[int] = []

    def counted(data: bytes, value: int = 0) -> int:
        pieces.append(len(memoryview(data).cast("B")))
        return zlib.crc32(data, value)

    monkeypatch.setattr(arrays, "zlib", SimpleNamespace(crc32=counted))
    return pieces


def test_an_unchanged_file_is_read_once_a_process(source: Source, tmp_path: Path, read_bytes: list[int]) -> None:
    part = Part(source, everything(source), 16, tmp_path / "cache")
    first = part.at(8)
    whole, small = 7 * 16 * 16 * 3, 7 * 8 * 8 * 3
    assert read_bytes == [whole, whole, small, small]  # written, then looked at
    for _ in range(3):
        np.testing.assert_array_equal(part.at(8).images, first.images)
    assert len(read_bytes) == 4
    arrays._is_whole.cache_clear()  # as in another process: the master is not needed
    np.testing.assert_array_equal(part.at(8).images, first.images)
    assert read_bytes[4:] == [small]


@pytest.mark.parametrize("how", ["in place, its old time put back", "another file of the same time"])
def test_a_changed_file_is_looked_at_again(source: Source, tmp_path: Path, read_bytes: list[int], how: str) -> None:
    part = Part(source, everything(source), 8, tmp_path / "cache")
    good = np.array(part.at(8).images)
    (path,) = (tmp_path / "cache").glob("*.npy")
    content, times = bytearray(path.read_bytes()), (path.stat().st_atime_ns, path.stat().st_mtime_ns)
    content[len(content) // 2] ^= 1
    if how.startswith("another"):
        path.unlink()
        path.write_bytes(content)
    else:
        with path.open("r+b") as file:
            file.write(content)
    os.utime(path, ns=times)
    read_bytes.clear()
    np.testing.assert_array_equal(part.at(8).images, good)
    assert read_bytes == [7 * 8 * 8 * 3] * 3  # found damaged, written, looked at
    part.at(8)
    assert len(read_bytes) == 3


def test_processes_that_build_at_once_agree(source: Source, tmp_path: Path) -> None:
    arguments = (str(tmp_path / "set"), str(tmp_path / "cache"))
    with ProcessPoolExecutor(2, get_context("spawn")) as pool:
        first, second = pool.map(build, [arguments] * 2)
    np.testing.assert_array_equal(first, second)
    assert not list((tmp_path / "cache").glob("*.unfinished"))


def test_an_interruption_leaves_nothing_behind(source: Source, tmp_path: Path) -> None:
    def interrupt(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cached(source, everything(source), 8, tmp_path / "cache", interrupt)
    assert [path.suffix for path in (tmp_path / "cache").iterdir()] in ([], [".lock"])
    assert len(cached(source, everything(source), 8, tmp_path / "cache")) == 7


def test_all_broken_images_are_told_at_once(tmp_path: Path) -> None:
    source = folder_source(tree(tmp_path / "set", {"a": 8, "b": 3}))
    break_images(source, [0, 1, 2, 4, 5, 6, 9])
    source = folder_source(tmp_path / "set")
    with pytest.raises(UserError) as caught:
        cached(source, everything(source), 8, tmp_path / "cache")
    message = str(caught.value)
    assert "7 of 11" in message
    assert "and 2 more" in message
    assert "--skip-broken" in message
    assert all(source.describe(row) in message for row in (0, 1, 2, 4, 5))
    assert not list((tmp_path / "cache").glob("*.npy"))


def test_broken_images_can_be_left_out(source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert without_broken(source, tmp_path / "cache").digest == source.digest
    break_images(source, [1, 4])
    damaged = folder_source(tmp_path / "set")
    kept = without_broken(damaged, tmp_path / "cache")
    assert len(kept) == len(kept.parts) == 5
    assert kept.labels.tolist() == [0, 0, 1, 1, 1]
    assert kept.describe(1) == damaged.describe(2)
    assert kept.notes[-1].startswith("2 broken images left out")
    assert kept.digest not in (source.digest, damaged.digest)
    assert cached(kept, everything(kept), 8, tmp_path / "cache").images.shape == (5, 8, 8, 3)
    monkeypatch.setattr(cache, "_tried", None)  # what is broken is remembered
    assert without_broken(damaged, tmp_path / "cache").digest == kept.digest


def test_a_class_of_broken_images(source: Source, tmp_path: Path) -> None:
    break_images(source, [0, 1, 2])
    with pytest.raises(UserError, match="no readable image of 'a'"):
        without_broken(folder_source(tmp_path / "set"), tmp_path / "cache")


def test_a_full_disk_is_told_before_decoding(source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    full = shutil.disk_usage(tmp_path)._replace(free=100)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: full)
    with pytest.raises(UserError, match="SCALESEARCH_CACHE"):
        cached(source, everything(source), 8, tmp_path / "cache")


def test_a_write_that_fails_is_told(source: Source, tmp_path: Path) -> None:
    """A limit on the size of files stands for a disk that fills up while writing."""
    code = """
        import resource, sys
        from pathlib import Path
        import numpy as np
        from scalesearch.data.cache import cached
        from scalesearch.data.folder import folder_source
        from scalesearch.errors import UserError
        source = folder_source(sys.argv[1])
        resource.setrlimit(resource.RLIMIT_FSIZE, (500, 500))
        try:
            cached(source, np.arange(len(source)), 8, Path(sys.argv[2]))
        except UserError as error:
            print(error)
    """
    command = [sys.executable, "-c", textwrap.dedent(code), str(tmp_path / "set"), str(tmp_path / "cache")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "cannot be written" in done.stdout
    assert {path.suffix for path in (tmp_path / "cache").iterdir()} <= {".lock"}


def test_a_cache_folder_that_is_a_file(source: Source, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("")
    with pytest.raises(UserError, match="cannot be written"):
        cached(source, everything(source), 8, tmp_path / "cache")


def test_real_photos(real_data: Path, tmp_path: Path) -> None:
    source = folder_source(real_data / "flowers")
    rows = everything(source)[::60]
    arrays = cached(source, rows, 112, tmp_path)
    direct = [ImageOps.fit(read_rgb(source.describe(i)), (112, 112), Image.Resampling.BICUBIC) for i in rows]
    np.testing.assert_array_equal(arrays.images, np.stack([np.asarray(image) for image in direct]))


def test_an_image_whose_disk_does_not_answer_is_named(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(threads, "HUNG_SECONDS", 0.1)

    def work(item: int) -> int:
        if item == 1:
            time.sleep(0.5)
        return item

    results = cache._in_order(work, range(3), None, lambda item: f"photo{item}.png")
    assert list(results) == [[0, 1, 2]]
    assert [record.getMessage() for record in caplog.records] == [
        "photo1.png has not been read for 0.1 s; its disk may not answer. Waiting."
    ]
