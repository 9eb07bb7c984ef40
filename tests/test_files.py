"""JSON files that somebody else wrote."""

import csv
import json
import os
import stat
import zipfile
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given
from hypothesis import strategies as st

from scalesearch.errors import UserError
from scalesearch.files import (
    LARGEST_JSON,
    PRIVATE,
    UNFINISHED,
    distinct,
    inert,
    read_json,
    together,
    unpack_arrays,
    with_sorted_metadata,
    write_csv,
    write_files,
    write_json,
    write_text,
)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("[" * 100_000, "recursion"),
        ('{"a": ' + "9" * 5000 + "}", "a number of 5000 digits"),
        ('{"a": NaN}', "the number NaN"),
        ('{"a": 1e999}', "the number 1e999"),
        ("[]", "a JSON list"),
        ("{", "Expecting"),
    ],
)
def test_bad_documents_are_one_error(tmp_path: Path, content: str, says: str) -> None:
    (tmp_path / "a.json").write_text(content)
    with pytest.raises(UserError, match=says):
        read_json(tmp_path / "a.json", "values")


def test_what_is_no_file_is_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.json")
    with pytest.raises(UserError, match="a pipe or device"):
        read_json(tmp_path / "pipe.json", "values")
    with pytest.raises(UserError, match="a folder"):
        read_json(tmp_path, "values")


def test_large_files_are_refused_by_their_size(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text(json.dumps({"a": 1}))
    os.truncate(path, LARGEST_JSON + 1)
    with pytest.raises(UserError, match="values should be here, of at most 16 MB, not of 17 MB"):
        read_json(path, "values")


def arrays(path: Path, *names: str) -> dict[str, np.ndarray]:
    return unpack_arrays(path.read_bytes(), names, str(path), "predictions")


class Planted:
    """Its unpickling would make a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return (Path.touch, (self.path,))


def test_arrays_come_back_and_objects_do_not(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    np.savez(path, labels=np.arange(3))
    assert arrays(path, "labels")["labels"].tolist() == [0, 1, 2]
    with pytest.raises(UserError, match="the file is damaged"):
        arrays(path, "labels", "predictions")
    np.savez(path, labels=np.array([Planted(tmp_path / "ran")], dtype=object), allow_pickle=True)
    with pytest.raises(UserError, match="the file is damaged"):
        arrays(path, "labels")
    assert not (tmp_path / "ran").exists()


def test_arrays_that_declare_more_than_they_hold_are_refused(tmp_path: Path) -> None:
    header = b"{'descr': '|u1', 'fortran_order': False, 'shape': (1099511627776,), }"
    npy = b"\x93NUMPY\x01\x00" + len(header + b"\n").to_bytes(2, "little") + header + b"\n"
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("labels.npy", npy)
    with pytest.raises(UserError, match=r"more memory than there is|the file is damaged"):
        arrays(tmp_path / "a.npz", "labels")
    with zipfile.ZipFile(tmp_path / "b.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("labels.npy", bytes(300 << 20))
    with pytest.raises(UserError, match="315 MB once unpacked"):
        arrays(tmp_path / "b.npz", "labels")


@pytest.mark.parametrize(
    "text", ["=cmd|' /C calc'!A0", "+1+1", "-x.jpg", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "-", "--5", "-1e", "+"]
)
def test_text_that_begins_a_formula_comes_after_an_apostrophe(text: str) -> None:
    assert inert(text) == f"'{text}"


@pytest.mark.parametrize(
    "cell", ["a=1", "", "'=1", "photos/-x.jpg", "-0.5", "+3", "-1e-05", "-.5", "5", -0.5, 7, None, True]
)
def test_other_cells_stay(cell: object) -> None:
    assert inert(cell) is cell


def test_a_table_is_read_back_with_one_column_a_name(tmp_path: Path) -> None:
    classes = ["file", "class", "error", "cat", "=1", "'=1", "class:file"]
    header = distinct(["file", "class", "probability", "error"], classes)
    write_csv(tmp_path / "a.csv", [header, ["-x.jpg", "=1", -0.5, "", *range(7)]])
    with (tmp_path / "a.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert list(row.values()) == ["'-x.jpg", "'=1", "-0.5", "", *"0123456"]
    assert header[4:] == ["class:file", "class:class", "class:error", "cat", "=1", "class:'=1", "class:class:file"]


@given(st.lists(st.sampled_from(["file", "class", "class:file", "=a", "'=a", "-", "'-", "b"]), unique=True))
def test_headers_are_distinct_also_as_written(classes: list[str]) -> None:
    header = distinct(["file", "class"], classes)
    assert len({inert(one) for one in header}) == 2 + len(classes)


@pytest.mark.parametrize(("umask", "expected"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_the_umask_is_honoured_and_a_file_s_own_mode_kept(tmp_path: Path, umask: int, expected: int) -> None:
    before = os.umask(umask)
    try:
        write_text(tmp_path / "new", "a")
        write_text(tmp_path / "private", "a", PRIVATE)
        (tmp_path / "own").touch()
        (tmp_path / "own").chmod(0o640)
        write_text(tmp_path / "own", "b")
    finally:
        os.umask(before)
    modes = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("new", "private", "own")]
    assert modes == [expected, 0o600, 0o640]


def test_files_appear_together_or_not_at_all(tmp_path: Path) -> None:
    out = tmp_path / "new" / "out"

    def write() -> None:
        with together(out) as folder:
            write_text(folder / "a", "a")
            (folder / "b.json").mkdir()
            write_json(folder / "b.json", {})

    with pytest.raises(UserError, match=r"new/out/b\.json: it cannot be written \(Is a directory"):
        write()
    assert list(tmp_path.iterdir()) == []
    assert write_files(out, {"b": b"2", "a": b"1"}) == (out / "b", out / "a")
    assert sorted(path.name for path in out.iterdir()) == ["a", "b"]
    (out / "c").mkdir()
    with pytest.raises(UserError, match="Is a directory"):
        write_files(out, {"a": b"3", "c": b"3"})
    assert (out / "a").read_bytes() == b"1"


def test_the_file_that_names_the_others_comes_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    moved: list[str] = []
    replace = os.replace
    monkeypatch.setattr(os, "replace", lambda a, b: (moved.append(Path(b).name), replace(a, b)))
    write_files(tmp_path, {"figure.png": b"", "z.csv": b"", "page.html": b""})
    assert moved == ["figure.png", "z.csv", "page.html"]


def test_what_a_killed_writer_left_goes_and_what_is_being_written_stays(tmp_path: Path) -> None:
    left = tmp_path / f"{UNFINISHED}left"
    left.mkdir()
    (left / "a").touch()
    with together(tmp_path) as folder:
        assert not left.exists()
        write_text(tmp_path / "b", "b")
        assert folder.is_dir()
        (folder / "c").touch()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b", "c"]


def test_a_set_keeps_the_modes_of_files_that_are_there(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    (tmp_path / "a").chmod(0o640)
    with together(tmp_path) as folder:
        write_text(folder / "a", "a")
        write_text(folder / "b", "b", PRIVATE)
    assert [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in "ab"] == [0o640, 0o600]


def test_a_name_of_any_length_can_be_written(tmp_path: Path) -> None:
    write_text(tmp_path / ("a" * 255), "a")
    assert len(next(tmp_path.iterdir()).name) == 255


def test_equal_files_of_tensors_are_equal_bytes(tmp_path: Path) -> None:
    """The library orders metadata by chance; what is read back is what was written."""
    tensors = {"b": np.arange(3.0), "a": np.ones((2, 2), np.float32)}
    named = {name: f"{name} \N{LATIN SMALL LETTER E WITH ACUTE}" for name in "zyxwvutsrq"}
    orders = [named, dict(reversed(named.items())), named]
    written = {with_sorted_metadata(safetensors.numpy.save(tensors, metadata=one)) for one in orders}
    (content,) = written
    (tmp_path / "a.safetensors").write_bytes(content)
    with safetensors.safe_open(tmp_path / "a.safetensors", framework="numpy") as file:
        assert file.metadata() == named
        assert all(np.array_equal(file.get_tensor(name), tensor) for name, tensor in tensors.items())
