"""Digests of all bytes: what has changed is read again, what has not is not, and nothing else is decoded."""

import hashlib
import os
import sqlite3
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from scalesearch.data import digests, folder
from scalesearch.data.cache import cached, without_broken
from scalesearch.data.digests import UNREADABLE, UNTRUSTED, contents, sha256_of
from scalesearch.data.folder import folder_source
from scalesearch.data.listing import ImageFile, identity_of, listed, root_of
from scalesearch.data.source import Source
from scalesearch.errors import UserError
from tests.data.pictures import noise, save, tree


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "digests.sqlite"


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the files that are hashed."""
    names: list[str] = []
    real = digests._hashed

    def noted(path: str) -> tuple[bytes, tuple[int, int, int, int]]:
        names.append(os.path.basename(path))
        return real(path)

    monkeypatch.setattr(digests, "_hashed", noted)
    return names


def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every file counts as old."""
    monkeypatch.setattr(digests, "SETTLED_NS", -3_600_000_000_000)


def images(root: Path) -> list[ImageFile]:
    return list(listed(root_of(root)).images())


def all_of(source: Source) -> np.ndarray:
    return np.arange(len(source), dtype=np.int64)


def replaced_in_the_middle(path: Path) -> None:
    """Some bytes in the middle of a file, its length and its time of writing as they were."""
    times = (path.stat().st_atime_ns, path.stat().st_mtime_ns)
    with path.open("r+b") as file:
        file.seek(path.stat().st_size // 2)
        file.write(bytes([1, 2, 3]))
    os.utime(path, ns=times)


@pytest.mark.parametrize("size", [0, 1, (1 << 20) - 1, 1 << 20, (1 << 20) + 1, 3 << 20])
def test_all_bytes_count(tmp_path: Path, kept: Path, size: int) -> None:
    content = np.random.default_rng(0).bytes(size)
    (tmp_path / "a.png").write_bytes(content)
    held = contents(str(tmp_path), images(tmp_path), kept)
    assert held.sha256 == (hashlib.sha256(content).digest(),)
    assert sha256_of(str(tmp_path / "a.png")) == held.sha256[0]


def test_the_digest_of_small_files_is_as_it_was(tmp_path: Path) -> None:
    """By the formula of the first version, so that runs on small images go on."""
    root = tree(tmp_path, {"train/a": 2, "train/b/deep": 2, "test/a": 1, "test/b": 1})
    digest = hashlib.sha256()
    for path in [*sorted((root / "train").rglob("*.png")), *sorted((root / "test").rglob("*.png"))]:
        part, name = path.relative_to(root).parts[:2]
        digest.update(f"{part}\t{name}\t{path.relative_to(root)}\t{path.stat().st_size}\n".encode())
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    assert folder_source(root).digest == digest.hexdigest()[:12]


def test_unchanged_files_are_not_read_again(
    tmp_path: Path, kept: Path, read: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    settled(monkeypatch)
    root = tree(tmp_path / "set", {"a": 3, "b": 2})
    first = contents(str(root), images(root), kept)
    assert len(read) == 5
    assert first.identities.tolist() == [list(one.identity) for one in images(root)]
    again = contents(str(root), images(root), kept)
    assert len(read) == 5
    assert again.sha256 == first.sha256
    np.testing.assert_array_equal(again.identities, first.identities)
    replaced_in_the_middle(root / "a" / "1.png")
    third = contents(str(root), images(root), kept)
    assert read[5:] == ["1.png"]
    assert [i for i in range(5) if third.sha256[i] != first.sha256[i]] == [1]


def test_young_files_are_not_trusted(tmp_path: Path, kept: Path, read: list[str]) -> None:
    """Within a tick of the clock a file may change and keep its times."""
    root = tree(tmp_path / "set", {"a": 2})
    held = contents(str(root), images(root), kept)
    contents(str(root), images(root), kept)
    assert len(read) == 4
    assert held.identities.tolist() == [list(UNTRUSTED)] * 2


def test_files_of_the_future_are_not_trusted(
    tmp_path: Path, kept: Path, read: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tree(tmp_path / "set", {"a": 1})
    now = time.time_ns()
    for seconds, times in ((-3600, 1), (1.9, 2), (2.1, 3), (3600, 3)):
        monkeypatch.setattr(digests.time, "time_ns", lambda seconds=seconds: now + int(seconds * 1e9))
        contents(str(root), images(root), kept)
        assert len(read) == times


def test_a_file_that_changes_while_it_is_hashed_is_not_trusted(
    tmp_path: Path, kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settled(monkeypatch)
    root = tree(tmp_path / "set", {"a": 1})
    files = images(root)
    replaced_in_the_middle(root / "a" / "0.png")  # between listing and hashing
    assert contents(str(root), files, kept).identities.tolist() == [list(UNTRUSTED)]


def test_what_is_gone_is_forgotten(tmp_path: Path, kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settled(monkeypatch)
    root, other = tree(tmp_path / "set", {"a": 3}), tree(tmp_path / "set2", {"a": 1})
    contents(str(other), images(other), kept)
    contents(str(root), images(root), kept)
    (root / "a" / "0.png").unlink()
    save(root / "a" / "9.png", noise(0))
    contents(str(root), images(root), kept)
    with sqlite3.connect(kept) as database:
        names = [os.fsdecode(row[0]) for row in database.execute("SELECT path FROM digests_1 ORDER BY path")]
    database.close()
    assert names == [str(root / "a" / f"{i}.png") for i in (1, 2, 9)] + [str(other / "a" / "0.png")]
    assert kept.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("damage", ["foreign", "folder", "locked", "other rows", "no folder"])
def test_a_database_that_cannot_be_used_costs_only_time(
    tmp_path: Path, kept: Path, damage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    settled(monkeypatch)
    monkeypatch.setattr(digests, "_WAIT_SECONDS", 0.1)
    root = tree(tmp_path / "set", {"a": 2})
    expected = tuple(sha256_of(str(root / one.path)) for one in images(root))
    other = None
    if damage == "no folder":
        kept.parent.write_text("")
    elif damage == "folder":
        kept.mkdir(parents=True)
    else:
        contents(str(root), images(root), kept)
        if damage == "foreign":
            kept.write_bytes(b"no database" * 1000)
        elif damage == "other rows":
            with sqlite3.connect(kept) as database:
                database.execute("UPDATE digests_1 SET sha256 = 7")
            database.close()
        else:
            other = sqlite3.connect(kept)
            other.execute("BEGIN EXCLUSIVE")
    assert contents(str(root), images(root), kept).sha256 == expected
    assert contents(str(root), images(root), kept).sha256 == expected
    if other is not None:
        other.close()


def test_names_that_no_encoding_holds(
    tmp_path: Path, kept: Path, read: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    settled(monkeypatch)
    for name in (b"\xff.png", "café.png".encode()):
        Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name)).write_bytes(name)
    for _ in range(2):
        assert len(contents(str(tmp_path), images(tmp_path), kept).sha256) == 2
    assert len(read) == 2


def test_an_unreadable_file_has_no_digest(tmp_path: Path, kept: Path) -> None:
    gone = ImageFile("gone.png", (1, 2, 3, 4))
    assert contents(str(tmp_path), [gone], kept).sha256 == (UNREADABLE,)


def test_processes_at_once_agree(tmp_path: Path, kept: Path) -> None:
    tree(tmp_path / "set", {"a": 40, "b": 40})
    code = """
        import sys
        from pathlib import Path
        from scalesearch.data import digests
        from scalesearch.data.listing import listed, root_of
        digests.SETTLED_NS = -10**15
        for _ in range(10):
            held = digests.contents(sys.argv[1], list(listed(root_of(sys.argv[1])).images()), Path(sys.argv[2]))
        print(hash(held.sha256) and held.sha256[-1].hex())
    """
    command = [sys.executable, "-c", textwrap.dedent(code), str(tmp_path / "set"), str(kept)]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    assert {one.communicate()[0].strip() for one in running} == {sha256_of(str(tmp_path / "set/b/9.png")).hex()}


@settings(max_examples=100)
@given(st.tuples(*[st.integers(-(1 << 63), (1 << 64) - 1)] * 4))
def test_any_identity_fits_a_signed_number(numbers: tuple[int, int, int, int]) -> None:
    class Status:
        st_size, st_mtime_ns, st_ctime_ns, st_ino = abs(numbers[0]) >> 1, *numbers[1:]

    assert all(0 <= number < 1 << 63 for number in identity_of(Status()))  # type: ignore[arg-type]


def bitmaps(root: Path) -> Path:
    """Files of 1.9 MB, of which only the ends were looked at once."""
    rng = np.random.default_rng(1)
    for name in ("a", "b"):
        for i in range(3):
            save(root / name / f"{i}.bmp", Image.fromarray(rng.integers(0, 60, (800, 800, 3), dtype=np.uint8)))
    return root


@pytest.mark.parametrize("old", [True, False])
def test_a_change_in_the_middle_of_a_large_file_is_noticed(
    tmp_path: Path, old: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if old:
        settled(monkeypatch)
    root = bitmaps(tmp_path / "set")
    before = folder_source(root)
    assert folder_source(root).digest == before.digest
    replaced_in_the_middle(root / "a" / "1.bmp")
    assert folder_source(root).digest != before.digest


@pytest.mark.parametrize("old", [True, False])
@pytest.mark.parametrize("change", ["other pixels", "broken"])
def test_a_change_after_the_digest_is_not_decoded(
    tmp_path: Path, old: bool, change: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else wrong pixels would stay in the cache under the right digest."""
    if old:
        settled(monkeypatch)
    root = bitmaps(tmp_path / "set")
    source, path = folder_source(root), root / "a" / "1.bmp"
    content = path.read_bytes()
    if change == "broken":
        path.write_bytes(content[: len(content) // 2])
    else:
        Image.new("RGB", (800, 800), "white").save(path)
    for work in (
        lambda: source.read(1),
        lambda: cached(source, all_of(source), 8, tmp_path / "cache"),
        lambda: without_broken(source, tmp_path / "cache"),
    ):
        with pytest.raises(UserError, match=r"1\.bmp: the file changed while it was read"):
            work()
    assert not list((tmp_path / "cache").glob("*.json"))
    path.write_bytes(content)  # back again: the bytes are those of the digest, whatever the times say
    assert cached(source, all_of(source), 8, tmp_path / "cache").images.max() < 60


def test_a_change_while_a_file_is_decoded_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = folder_source(tree(tmp_path / "set", {"a": 2, "b": 2}))
    real = folder.read_rgb

    def slow(path: str, at_least_px: int) -> Image.Image:
        image = real(path, at_least_px)
        replaced_in_the_middle(Path(path))
        return image

    monkeypatch.setattr(folder, "read_rgb", slow)
    with pytest.raises(UserError, match="changed while it was read"):
        source.read(0)


def test_new_times_of_the_same_bytes_are_no_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settled(monkeypatch)
    source = folder_source(tree(tmp_path / "set", {"a": 2, "b": 2}))
    path = Path(source.describe(0))
    path.write_bytes(path.read_bytes())
    path.chmod(0o600)
    assert source.read(0).size == (20, 16)
    assert folder_source(tmp_path / "set").digest == source.digest
