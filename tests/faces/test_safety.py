"""Galleries hold what people's faces are known by: for their owner alone, never lost, and checked when read."""

import json
import multiprocessing
import os
import signal
import stat
import time
from collections.abc import Callable, Iterator
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
from safetensors import safe_open

from scalesearch import files
from scalesearch.api import faces as api
from scalesearch.errors import UserError
from scalesearch.faces.gallery import Gallery, add, empty_gallery, fitted, load_gallery, save_gallery, update
from scalesearch.faces.model import save_model
from tests.cli.conftest import Cli, cli
from tests.faces.conftest import MakePeople, write_people
from tests.faces.toys import CARD, DIMENSIONS, tiny_embedder

__all__ = ["cli"]
PAIRS = 20
FORK = multiprocessing.get_context("fork")  # a hundred processes in a second: torch is imported already
pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # from Python 3.12 on


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def units(seed: int, count: int, dimensions: int = DIMENSIONS) -> np.ndarray:
    found = np.random.default_rng(seed).normal(size=(count, dimensions)).astype(np.float32)
    return found / np.linalg.norm(found, axis=1, keepdims=True)


def people(count: int, prefix: str = "old") -> Gallery:
    found = empty_gallery("abc", DIMENSIONS)
    for number in range(count):
        found = add(found, f"{prefix}{number:03d}", units(number, 2))
    return found


@pytest.fixture
def no_umask() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


Write = Callable[[Path], object]
WRITERS: dict[str, Write] = {
    "gallery": lambda path: save_gallery(path, people(2)),
    "changed gallery": lambda path: update(path, lambda: people(2)),
    "model": lambda path: save_model(path, tiny_embedder(), CARD, crop=False, trained_on=(), facts={}),
}


@pytest.mark.usefixtures("no_umask")
@pytest.mark.parametrize("kind", WRITERS)
def test_files_are_their_owner_s_alone_and_never_widen(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "a.safetensors"
    WRITERS[kind](path)
    assert mode(path) == 0o600
    for before, after in ((0o600, 0o600), (0o400, 0o400), (0o644, 0o600), (0o666, 0o600), (0o440, 0o400)):
        path.chmod(before)
        WRITERS[kind](path)
        assert mode(path) == after
        assert path.stat().st_size > 0
    beside = [mode(one) for one in tmp_path.iterdir() if one != path]
    assert beside == ([0o600] if kind == "changed gallery" else [])  # its lock


@pytest.mark.usefixtures("no_umask")
def test_a_lock_that_is_there_is_not_widened(tmp_path: Path) -> None:
    lock = tmp_path / ".g.safetensors.lock"
    lock.touch()
    lock.chmod(0o600)
    update(tmp_path / "g.safetensors", lambda: people(1))
    assert mode(lock) == 0o600


@pytest.mark.usefixtures("no_umask")
def test_the_commands_files_are_their_owner_s_alone(tmp_path: Path, make_people: MakePeople) -> None:
    body = tmp_path / "m.safetensors"
    save_model(body, tiny_embedder(), CARD, crop=False, trained_on=(), facts={})
    gallery = tmp_path / "deep" / "g.safetensors"
    api.enroll(make_people(people=3, photos=2), body=body, gallery=gallery, device="cpu")
    assert {mode(one) for one in gallery.parent.iterdir()} == {0o600}
    api.remove("person000", gallery=gallery)
    assert {mode(one) for one in gallery.parent.iterdir()} == {0o600}


def test_nothing_of_a_change_that_fails_stays(tmp_path: Path) -> None:
    path = tmp_path / "g.safetensors"
    update(path, lambda: people(2))
    before = path.read_bytes()

    def fails() -> Gallery:
        raise UserError("here", "no.")

    with pytest.raises(UserError, match="here: no"):
        update(path, fails)
    assert path.read_bytes() == before
    update(path, lambda: people(3))  # the lock is free again
    assert sorted(one.name for one in tmp_path.iterdir()) == [".g.safetensors.lock", "g.safetensors"]


# many at once


def at_once(jobs: list[Callable[[], object]]) -> None:
    """Runs each job in a process of its own, all released at the same moment."""
    barrier = FORK.Barrier(len(jobs) + 1)
    processes = [FORK.Process(target=released, args=(barrier, job)) for job in jobs]
    for process in processes:
        process.start()
    barrier.wait(60)
    for process in processes:
        process.join(120)
    assert [process.exitcode for process in processes] == [0] * len(jobs)


def released(barrier: Barrier, job: Callable[[], object]) -> None:
    barrier.wait(60)
    job()


def test_twenty_who_come_and_twenty_who_go_at_once_lose_nobody(tmp_path: Path) -> None:
    """Each process takes the whole command: photos read, embedded, the gallery read, changed and written."""
    body, path = tmp_path / "m.safetensors", tmp_path / "g.safetensors"
    digest = save_model(body, tiny_embedder(), CARD, crop=False, trained_on=(), facts={})
    gallery = empty_gallery(digest, DIMENSIONS)
    for number in range(PAIRS + 2):
        gallery = add(gallery, f"old{number:03d}", units(number, 2))
    save_gallery(path, gallery)
    for number in range(PAIRS):
        write_people(tmp_path / f"new{number}", 1, 1, number)

    def come(number: int) -> Callable[[], object]:
        where = {"body": body, "gallery": path, "device": "cpu"}
        return lambda: api.enroll(tmp_path / f"new{number}", **where)

    def go(number: int) -> Callable[[], object]:
        return lambda: api.remove(f"old{number:03d}", gallery=path)

    at_once([job(number) for number in range(PAIRS) for job in (come, go)])
    left = load_gallery(path)
    assert sorted(left.names) == [f"old{number:03d}" for number in (PAIRS, PAIRS + 1)] + [
        f"person{number:03d}" for number in range(PAIRS)
    ]
    assert left.threshold is not None
    assert left.threshold.photos == len(left)  # fitted on all who are in, by whoever came last


def test_without_the_lock_that_test_would_fail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Changes that overlap are lost where nobody waits: the lock is what keeps them."""
    from contextlib import nullcontext

    from scalesearch.faces import gallery as galleries

    path = tmp_path / "g.safetensors"
    save_gallery(path, people(2))
    monkeypatch.setattr(galleries, "turn", lambda _: nullcontext())

    def come(number: int) -> Callable[[], object]:
        def change() -> Gallery:
            read = load_gallery(path)
            time.sleep(0.2)
            return add(read, f"new{number}", units(number, 1))

        return lambda: update(path, change)

    at_once([come(number) for number in range(4)])
    assert len(load_gallery(path).names) < 6


def test_who_dies_in_a_change_holds_nobody_up(tmp_path: Path) -> None:
    path = tmp_path / "g.safetensors"
    save_gallery(path, people(2))
    inside = FORK.Event()

    def hang() -> Gallery:
        inside.set()
        time.sleep(60)
        return people(1)

    process = FORK.Process(target=update, args=(path, hang))
    process.start()
    assert inside.wait(30)
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    process.join(30)
    update(path, lambda: add(load_gallery(path), "new", units(0, 1)))
    assert load_gallery(path).names == ("old000", "old001", "new")


def test_who_waits_too_long_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "TURN_SECONDS", 0.2)
    path = tmp_path / "g.safetensors"

    def change() -> Gallery:
        with pytest.raises(UserError, match=r"another process has been changing it for 0\.2 seconds\. Wait for"):
            update(path, lambda: people(1))
        return people(2)

    update(path, change)
    assert len(load_gallery(path).names) == 2


def test_a_folder_that_cannot_be_written_to_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"it cannot be written .* Name a place"):
        update(tmp_path / "file" / "g.safetensors", lambda: people(1))


# what is read


@pytest.fixture
def sound(tmp_path: Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Tensors and metadata of a gallery of three, with a threshold on five strangers."""
    path = tmp_path / "sound.safetensors"
    save_gallery(path, fitted(people(3), 0.4, units(99, 5), np.arange(5)))
    with safe_open(path, framework="numpy") as file:
        return {name: file.get_tensor(name) for name in file.keys()}, file.metadata()  # noqa: SIM118


def rewritten(path: Path, sound: tuple[dict[str, np.ndarray], dict[str, str]], **changes: Any) -> Path:
    """The gallery with other tensors, names, or values of its threshold."""
    tensors, header = dict(sound[0]), dict(sound[1])
    for key, value in changes.items():
        if key in tensors:
            tensors[key] = value
        elif key == "names":
            header["names"] = json.dumps(value)
        elif key in header:
            header[key] = value
        else:
            header["threshold"] = json.dumps({**json.loads(header["threshold"]), key: value})
    path.write_bytes(safetensors.numpy.save(tensors, header))
    return path


def scaled(count: int, by: float, dimensions: int = DIMENSIONS) -> np.ndarray:
    return units(0, count, dimensions) * np.float32(by)


NAN, INF = float("nan"), float("inf")
DAMAGED: dict[str, dict[str, Any]] = {
    "two of one name": {"names": ["Ann", "Ann", "Bo"]}, "alike but for case": {"names": ["Ann", "ANN", "Bo"]},
    "alike but for accents": {"names": ["é", "e\u0301", "Bo"]}, "a path": {"names": ["a/b", "Bo", "Cy"]},
    "an absolute path": {"names": ["/etc", "Bo", "Cy"]}, "the folder above": {"names": ["..", "Bo", "Cy"]},
    "the folder itself": {"names": [".", "Bo", "Cy"]}, "a longer name in bytes": {"names": ["é" * 128, "Bo", "Cy"]},
    "no name": {"names": ["", "Bo", "Cy"]}, "a long name": {"names": ["a" * 256, "Bo", "Cy"]},
    "a name with an end": {"names": ["a\0b", "Bo", "Cy"]}, "a number for a name": {"names": [1, "Bo", "Cy"]},
    "too few names": {"names": ["Ann", "Bo"]}, "too many names": {"names": ["Ann", "Bo", "Cy", "Di"]},
    "distance below 0": {"distance": -0.1}, "distance above 4": {"distance": 4.1}, "no distance": {"distance": NAN},
    "rate 0": {"fpir": 0.0}, "rate 1": {"fpir": 1.0}, "rate above 1": {"expected": 1.1}, "low below 0": {"low": -0.1},
    "high above 1": {"high": 1.1}, "high not finite": {"high_next": INF}, "low above high": {"low": 0.9, "high": 0.1},
    "next low above high": {"low_next": 0.9, "high_next": 0.1}, "one photo": {"photos": 1}, "no people": {"people": 0},
    "more people than photos": {"people": 6}, "worth nothing": {"effective": 0.0}, "worth more": {"effective": 5.1},
    "another distance": {"distance": 0.5}, "another rate asked for": {"fpir": 0.9}, "another rate": {"expected": 0.5},
    "another interval": {"low": 0.0}, "of members": {"basis": "members"},
    "whole numbers": {"strangers": np.arange(5) // 2},
    "another basis": {"basis": "hope"}, "text for a number": {"distance": "0.5"}, "a field more": {"confidence": 0.9},
    "longer embeddings": {"embeddings": scaled(6, 1.1)}, "shorter embeddings": {"embeddings": scaled(6, 0.9)},
    "embeddings of 0": {"embeddings": scaled(6, 0)}, "embeddings of NaN": {"embeddings": scaled(6, NAN)},
    "embeddings without end": {"embeddings": scaled(6, INF)},
    "embeddings of no width": {"embeddings": scaled(6, 1)[:, :0]},
    "flat embeddings": {"embeddings": scaled(6, 1).ravel()}, "too few embeddings": {"embeddings": scaled(5, 1)},
    "labels out of order": {"labels": np.array([0, 0, 2, 2, 1, 1])},
    "a label missing": {"labels": np.array([0, 0, 0, 2, 2, 2])},
    "labels below 0": {"labels": np.array([-1, 0, 0, 1, 2, 2])}, "halves for labels": {"labels": np.arange(6) / 2},
    "strangers unsorted": {"strangers": np.array([1, 3, 2, 3, 3], np.float32)},
    "strangers below 0": {"strangers": np.array([-1, 1, 2, 3, 3], np.float32)},
    "strangers beyond 4": {"strangers": np.array([1, 1, 2, 3, 5], np.float32)},
    "strangers of NaN": {"strangers": np.array([1, 1, 2, 3, NAN], np.float32)},
    "other strangers": {"strangers": np.array([1, 1, 2], np.float32)},
    "strangers in rows": {"strangers": np.ones((5, 1), np.float32)},
}  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGED)
def test_damaged_galleries_are_refused(
    cli: Cli, tmp_path: Path, sound: tuple[dict[str, np.ndarray], dict[str, str]], damage: str
) -> None:
    path = rewritten(tmp_path / "g.safetensors", sound, **DAMAGED[damage])
    ended = cli("faces", "list", "--gallery", path)
    assert ended.code == 2, ended.out
    assert "the gallery is damaged" in ended.err
    assert len(ended.err.strip().splitlines()) == 1


def test_the_gallery_that_they_were_made_of_is_sound(
    cli: Cli, tmp_path: Path, sound: tuple[dict[str, np.ndarray], dict[str, str]]
) -> None:
    path = rewritten(tmp_path / "g.safetensors", sound, names=["Ann", "Bo", "Çelik"])
    ended = cli("faces", "list", "--gallery", path)
    assert ended.code == 0, ended.err
    assert "Çelik" in ended.out


def test_numbers_of_other_kinds_are_one_error_or_read(
    tmp_path: Path, sound: tuple[dict[str, np.ndarray], dict[str, str]]
) -> None:
    """64 bits and 16 are read as they are; bfloat16, which NumPy has not, is one error."""
    for kind in (np.float64, np.float16):
        path = rewritten(tmp_path / "g", sound, embeddings=sound[0]["embeddings"].astype(kind))
        assert load_gallery(path).embeddings.dtype == np.float32
    content = rewritten(tmp_path / "g", sound, embeddings=sound[0]["embeddings"].astype(np.float16)).read_bytes()
    (tmp_path / "g").write_bytes(content.replace(b'"F16"', b'"BF16"', 1))
    with pytest.raises(UserError, match=r"no safetensors file that can be read|the gallery is damaged"):
        load_gallery(tmp_path / "g")


def test_a_gallery_from_before_bodies_had_names_opens(
    tmp_path: Path, sound: tuple[dict[str, np.ndarray], dict[str, str]]
) -> None:
    """As version 0.x wrote it: no ``body``, the threshold as it is today."""
    header = {key: value for key, value in sound[1].items() if key != "body"}
    assert header["format_version"] == "1"
    (tmp_path / "g").write_bytes(safetensors.numpy.save(sound[0], header))
    found = load_gallery(tmp_path / "g")
    assert (found.names, found.body, found.model) == (("old000", "old001", "old002"), "", "abc")
    assert found.threshold is not None
    assert (found.threshold.basis, found.threshold.photos, len(found.strangers)) == ("strangers", 5, 5)


@pytest.mark.parametrize("name", ["b" * 256, "bad\udcff", ".."])
def test_a_name_that_no_file_can_hold_is_refused_before_anything_is_written(name: str) -> None:
    known = add(empty_gallery("abc", 4), "Ann", np.eye(1, 4, dtype=np.float32))
    with pytest.raises(UserError, match="nobody can be enrolled by that name"):
        add(known, name, np.eye(1, 4, dtype=np.float32))


def test_what_cannot_be_read_again_replaces_nothing(tmp_path: Path) -> None:
    path = tmp_path / "g.safetensors"
    good = add(empty_gallery("abc", 4), "Ann", np.eye(1, 4, dtype=np.float32))
    save_gallery(path, good)
    with pytest.raises(ValueError, match="length 1"):
        save_gallery(path, add(good, "Bo", np.zeros((1, 4), np.float32)))
    assert load_gallery(path).names == ("Ann",)


def test_a_link_to_a_gallery_is_written_through(tmp_path: Path) -> None:
    real, link = tmp_path / "real" / "g.safetensors", tmp_path / "link.safetensors"
    real.parent.mkdir()
    save_gallery(real, add(empty_gallery("abc", 4), "Ann", np.eye(1, 4, dtype=np.float32)))
    link.symlink_to(real)
    update(link, lambda: add(load_gallery(link), "Bo", np.eye(1, 4, 1, dtype=np.float32)))
    assert link.is_symlink()
    assert load_gallery(real).names == ("Ann", "Bo")
