"""JSON files that somebody else wrote."""

import json
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest

from scalesearch.errors import UserError
from scalesearch.files import LARGEST_JSON, read_json, unpack_arrays


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
