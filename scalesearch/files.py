"""Files written whole or not at all, alone or several together: moved from a temporary folder beside where they belong.
Read with one error."""

import contextlib
import csv
import errno
import fcntl
import io
import json
import math
import os
import re
import shutil
import stat
import tempfile
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

from scalesearch.errors import UserError
from scalesearch.typed import parse

Value = TypeVar("Value")

FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n")
NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?", re.IGNORECASE | re.ASCII)
UNFINISHED = ".unfinished-"  # begins the names of temporary folders
PUBLIC, PRIVATE = 0o666, 0o600  # who may read and write a new file: whom the umask lets, its owner alone


@contextlib.contextmanager
def atomic(path: Path, mode: int = PUBLIC) -> Iterator[Path]:
    """A temporary path to write to; it becomes ``path`` when the block ends well and vanishes when it does not.

    ``mode``: who may read and write a new file, less what the umask takes away. A file that is there keeps its own
    mode, a private one less what others had.

    Raises:
        UserError: the folder cannot be written to, or the disk is full.
    """
    with _staged(path.parent, str(path), mode) as folder:
        yield folder / path.name
        if not (folder / path.name).exists():
            raise FileNotFoundError(errno.ENOENT, "nothing was written")


@contextlib.contextmanager
def together(folder: Path, mode: int = PUBLIC, last: str = "") -> Iterator[Path]:
    """A temporary folder for files that belong together; they are moved into ``folder`` when the block ends well, and
    vanish when it does not.

    Nothing is moved before all are written, and each at once: who is killed between two moves leaves whole files.
    Folders may be among them where ``folder`` has none of their names. The functions that write one file may be used
    within; their errors name the file by where it would have come.

    Args:
        mode: as of ``atomic``, of the files; what lies in folders keeps its own.
        last: the file that names the others, such as a page; it is moved after them.

    Raises:
        UserError: the folder cannot be written to, or the disk is full.
    """
    with _staged(folder, str(folder), mode, last) as temporary:
        yield temporary


@contextlib.contextmanager
def _staged(folder: Path, where: str, mode: int, last: str = "") -> Iterator[Path]:
    handle, temporary = -1, None
    made = [one for one in (folder, *folder.parents) if not one.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        sweep(folder)
        handle, temporary = _held(folder)
        yield temporary
        written = sorted(temporary.iterdir(), key=lambda one: (one.name == last, one.name))
        for one in written:
            _finish(one, folder / one.name, mode)
        for one in written:
            os.replace(one, folder / one.name)
        made = []
    except UserError as error:  # of a writer within: it knows the temporary folder alone
        if temporary is None or str(temporary) not in error.where:
            raise
        raise UserError(error.where.replace(str(temporary), str(folder)), error.problem, error.do) from error
    except OSError as error:
        raise UserError(
            where, f"it cannot be written ({error.strerror or error}).",
            do="Name a place that can be written to and has space left.",
        ) from error  # fmt: skip
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)
            os.close(handle)
        for one in made:
            with contextlib.suppress(OSError):
                one.rmdir()  # only if nothing is in it


def _finish(written: Path, target: Path, mode: int) -> None:
    """Makes a file ready to be moved. Raises OSError where it could not be."""
    if written.is_dir():
        return
    if target.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    with written.open("rb") as file:
        os.fsync(file.fileno())  # a power cut after the rename must not leave an empty file
    written.chmod(_mode(written, target, mode))


def _held(folder: Path) -> tuple[int, Path]:
    """A new temporary folder, and the handle whose lock says that somebody still writes into it."""
    while True:
        path = Path(tempfile.mkdtemp(dir=folder, prefix=UNFINISHED))
        try:
            handle = os.open(path, os.O_RDONLY)
        except FileNotFoundError:  # swept before it was held
            continue
        with contextlib.suppress(OSError):  # a disk without locks: nothing is swept there, either
            fcntl.flock(handle, fcntl.LOCK_EX)
        if path.exists():
            return handle, path
        os.close(handle)


def sweep(folder: Path) -> None:
    """Removes what processes that were killed had not finished writing into a folder."""
    for entry in os.scandir(folder):
        if entry.name.startswith(UNFINISHED) and entry.is_dir(follow_symlinks=False):
            with contextlib.suppress(OSError):
                handle = os.open(entry.path, os.O_RDONLY)
                try:
                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    shutil.rmtree(entry.path, ignore_errors=True)
                finally:
                    os.close(handle)


def _mode(written: Path, target: Path, mode: int) -> int:
    kept = target if target.exists() else written  # the umask had its say when it was made
    known = stat.S_IMODE(kept.stat().st_mode)
    return known if mode == PUBLIC else known & mode


@contextlib.contextmanager
def private_files() -> Iterator[None]:
    """While it lasts, this process makes files for their owner alone."""
    before = os.umask(0o077)
    try:
        yield
    finally:
        os.umask(before)


def write_bytes(path: Path, content: bytes, mode: int = PUBLIC) -> None:
    """Bytes, atomically."""
    with atomic(path, mode) as temporary:
        temporary.write_bytes(content)


def write_files(folder: Path, contents: Mapping[str, bytes], mode: int = PUBLIC) -> tuple[Path, ...]:
    """Files by name, all or none of them; the last one, which names the others, is moved last. Returns their paths."""
    with together(folder, mode, [*contents][-1]) as temporary:
        for name, content in contents.items():
            (temporary / name).write_bytes(content)
    return tuple(folder / name for name in contents)


def with_sorted_metadata(content: bytes) -> bytes:
    """A safetensors file whose metadata stand in the order of their names, so that equal ones are equal bytes.

    The library hashes them by a seed of its own in each process. A header is 8 bytes of its length, then JSON.
    """
    size = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + size])
    header["__metadata__"] = dict(sorted(header.get("__metadata__", {}).items()))
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # tensors begin at a multiple of 8
    return len(text).to_bytes(8, "little") + text + content[8 + size :]


def write_text(path: Path, text: str, mode: int = PUBLIC) -> None:
    """Text in UTF-8, atomically; what that cannot hold, as names of files may, as escapes."""
    write_bytes(path, text.encode("utf-8", "backslashreplace"), mode)


def write_csv(path: Path, rows: Iterable[Sequence[object]], mode: int = PUBLIC) -> None:
    """Comma-separated rows in UTF-8, atomically; the first is the header. Text is written as of ``inert``."""
    table = io.StringIO()
    csv.writer(table).writerows([inert(cell) for cell in row] for row in rows)
    write_text(path, table.getvalue(), mode)


def inert(cell: object) -> object:
    """A cell that no spreadsheet runs: text that would begin a formula comes after an apostrophe.

    So do names of files and classes, such as ``-x.jpg``, which a program finds with the apostrophe; numbers, also as
    text, are left alone.

    >>> inert("=1+1"), inert("-x.jpg"), inert("a=b"), inert("-0.5"), inert(-0.5)
    ("'=1+1", "'-x.jpg", 'a=b', '-0.5', -0.5)
    """
    if not isinstance(cell, str) or not cell.startswith(FORMULA_STARTS):
        return cell
    return cell if NUMBER.fullmatch(cell) else f"'{cell}"


def distinct(columns: Sequence[str], classes: Sequence[str]) -> list[str]:
    """A header of ``columns`` and one more for each class: a class called like another column gets ``class:`` before
    its name.

    >>> distinct(["file", "class"], ["cat", "file"])
    ['file', 'class', 'cat', 'class:file']
    """
    header, taken = list(columns), {str(inert(name)) for name in columns}
    for name in classes:
        column = name
        while str(inert(column)) in taken:
            column = f"class:{column}"
        taken.add(str(inert(column)))
        header.append(column)
    return header


def write_json(path: Path, values: Any, mode: int = PUBLIC) -> None:
    """Indented JSON, atomically; refuses NaN, which other readers would not take."""
    write_text(path, json.dumps(values, indent=2, ensure_ascii=False, allow_nan=False) + "\n", mode)


class BoundedFile(io.BufferedReader):
    """A file that is never asked for more than it has: else Python makes room first for what a length field says."""

    def __init__(self, path: str | Path) -> None:
        super().__init__(io.FileIO(path))
        self._size = os.fstat(self.fileno()).st_size

    def read(self, size: int | None = -1, /) -> bytes:
        """At most ``size`` bytes; all that is left for None or -1."""
        left = max(0, self._size - self.tell())
        return super().read(left if size is None or size < 0 else min(size, left))


MOST_DIGITS = 30  # of a whole number
LARGEST_ARRAYS = 256 << 20  # bytes: predictions of 64 million images
LARGEST_WHOLE = 1 << 30  # bytes, of a file that is read at once
LARGEST_JSON = 16 << 20  # bytes; Python holds it in up to some twenty times as much memory


def require_regular(path: Path, what: str) -> int:
    """The size of a file in bytes; looks at it without opening it, for a pipe would be waited on for ever.

    Raises UserError where it is no file.
    """
    try:
        status = path.stat()
    except (OSError, ValueError) as error:  # a name that no file can have is a ValueError
        reason = getattr(error, "strerror", None) or str(error)
        raise UserError(str(path), f"{what} should be here, but there is nothing to read ({reason}).") from None
    if not stat.S_ISREG(status.st_mode):
        kind = "a folder" if stat.S_ISDIR(status.st_mode) else "a pipe or device"
        raise UserError(str(path), f"{what} should be here, not {kind}.")
    return status.st_size


def read_bytes(path: Path, what: str, most: int = LARGEST_WHOLE) -> bytes:
    """All bytes of a file; ``what`` names it in the error.

    Raises UserError: missing, no file, larger than ``most`` bytes, or not to be read.
    """
    size = require_regular(path, what)
    if size > most:
        raise UserError(str(path), f"{what} should be here, of at most {most >> 20} MB, not of {size / 1e6:.0f} MB.")
    try:
        return path.read_bytes()
    except OSError as error:
        raise UserError(str(path), f"{what} cannot be read ({error.strerror or error}).") from None


def unpack_arrays(
    content: bytes, names: Sequence[str], where: str, what: str, optional: Sequence[str] = ()
) -> dict[str, Any]:  # fmt: skip
    """Arrays of numbers from the bytes of an ``.npz`` file, never unpickled.

    Args:
        where: the file that they came from; ``what`` names it in the error.
        optional: names of those that may be missing.

    Raises:
        UserError: damaged, too large once it is unpacked, or without one of ``names``.
    """
    import numpy as np  # not needed by commands that only calculate

    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            declared = sum(entry.file_size for entry in archive.infolist())
        if declared > LARGEST_ARRAYS:
            raise ValueError(f"{declared / 1e6:.0f} MB once unpacked")
        with np.load(io.BytesIO(content), allow_pickle=False) as kept:
            arrays = {name: kept[name] for name in (*names, *(one for one in optional if one in kept))}
        if not all(isinstance(array, np.ndarray) for array in arrays.values()):  # an entry that is none is bytes
            raise ValueError("entries that are no arrays")
        return arrays
    except MemoryError:
        raise UserError(where, f"{what} should be here, but an array needs more memory than there is.") from None
    except Exception as error:  # zipfile, zlib and numpy each raise their own kinds, and bare ones
        raise UserError(where, f"{what} should be here, but the file is damaged ({error!r}).") from None


def _finite(text: str) -> float:
    """Python reads NaN, Infinity and 1e999 where JSON has no such numbers; nothing of ours holds them."""
    value = float(text)
    if not abs(value) < math.inf:
        raise ValueError(f"the number {text[:30]}")
    return value


def _whole(text: str) -> int:
    if len(text) > MOST_DIGITS:
        raise ValueError(f"a number of {len(text)} digits")
    return int(text)


def read_json(path: Path, what: str) -> dict[str, Any]:
    """A JSON object from a file; ``what`` names it in the error.

    Raises:
        UserError: missing, no file, too large, unreadable, or not a JSON object.
    """
    size = require_regular(path, what)
    if size > LARGEST_JSON:
        most = LARGEST_JSON >> 20
        raise UserError(str(path), f"{what} should be here, of at most {most} MB, not of {size / 1e6:.0f} MB.")
    try:
        text = path.read_text(encoding="utf-8")
        values = json.loads(text, parse_constant=_finite, parse_float=_finite, parse_int=_whole)
    except (OSError, ValueError, RecursionError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise UserError(str(path), f"{what} should be here, but the file cannot be read ({reason}).") from None
    if not isinstance(values, dict):
        raise UserError(str(path), f"{what} should be here, not a JSON {type(values).__name__}.")
    return values


def load(cls: type[Value], path: Path, what: str, version: int) -> Value:
    """A value of the dataclass ``cls`` from a JSON file; ``what`` names it in the error (see ``typed.parse``).

    Raises UserError: missing, unreadable, of another format than ``version``, or not what ``cls`` declares.
    """
    values = read_json(path, what)
    if values.pop("format", None) != version:
        raise UserError(str(path), f"{what} should be here, in format {version}.", do="Update scalesearch.")
    return parse(cls, values, str(path), what)


def recalled(cls: type[Value], path: Path, what: str, version: int) -> Value | None:
    """A value that ``remember`` kept in a cache; None where there is none, or one damaged or of another format."""
    if path.exists():
        with contextlib.suppress(UserError):
            return load(cls, path, what, version)
    return None


def remember(value: Any, path: Path, version: int) -> None:
    """Keeps a dataclass in a cache, which may be full or not to be written to: then it is made anew the next time."""
    with contextlib.suppress(OSError, UserError):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, {"format": version, **asdict(value)})


def prepare(folder: Path, option: str = "--run") -> None:
    """Makes the folder and checks that it can be written to. Raises UserError, naming the ``option``, otherwise."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / f".probe-{os.getpid()}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        problem = f"the folder {folder} cannot be made or written to ({error.strerror})."
        raise UserError(option, problem, do=f"Name another with {option}.") from None


@contextlib.contextmanager
def locked(folder: Path, option: str = "--run") -> Iterator[None]:
    """Holds the folder for this process; the system lets go of it when the process ends, however it ends.

    Raises UserError, naming the ``option``, where another process holds it.
    """
    from filelock import FileLock, Timeout  # not needed by commands that only read

    lock = FileLock(folder / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        problem = f"the folder {folder} is in use by another scalesearch process."
        raise UserError(option, problem, do="Wait for that process to end, or name another folder.") from None
    try:
        yield
    finally:
        lock.release()


TURN_SECONDS = 120


@contextlib.contextmanager
def turn(path: Path) -> Iterator[None]:
    """Waits until no other process reads and rewrites this file, and holds it until the block ends.

    Raises UserError where that takes more than two minutes, or the file's folder cannot be written to.
    """
    from filelock import FileLock, Timeout  # not needed by commands that only read

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(path.with_name(f".{path.name}.lock"), timeout=TURN_SECONDS, mode=PRIVATE)
        lock.acquire()
    except Timeout:
        problem = f"another process has been changing it for {TURN_SECONDS} seconds."
        raise UserError(str(path), problem, do="Wait for that process to end.") from None
    except OSError as error:
        problem = f"it cannot be written ({error.strerror or error})."
        raise UserError(str(path), problem, do="Name a place that can be written to.") from None
    try:
        yield
    finally:
        lock.release()
