"""The SHA-256 of every file of a folder, of all its bytes, without reading again what has not changed."""

import contextlib
import hashlib
import os
import sqlite3
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from scalesearch.data.listing import Identity, ImageFile, identity_of
from scalesearch.machine import cores

UNREADABLE = b"unreadable"  # in the place of a digest; reported with all the others when the set is decoded
UNTRUSTED: Identity = (-1, -1, -1, -1)  # no file has it: whoever reads the file looks at its bytes
SETTLED_NS = 2_000_000_000  # a file may change again within one tick of its clock, and FAT's ticks are of two seconds
_AT_ONCE = 256
_WAITING_FOR_DISKS = 8  # threads, where there are fewer cores
_SMALL = 1 << 20
_WAIT_SECONDS = 10
_TABLE = """
CREATE TABLE IF NOT EXISTS digests_1 (
    path BLOB PRIMARY KEY, size INTEGER, written INTEGER, changed INTEGER, inode INTEGER, sha256 BLOB
) WITHOUT ROWID
"""

_Hashed = tuple[bytes, Identity]


@dataclass(frozen=True, eq=False)
class Contents:
    """What files hold.

    Args:
        sha256: of each file's bytes, or ``UNREADABLE``.
        identities: int64 (files, 4), of the files when they were read; ``UNTRUSTED`` where one was so young that it
            may have changed without a trace.
    """

    sha256: tuple[bytes, ...]
    identities: npt.NDArray[np.int64]


def contents(root: str, files: Sequence[ImageFile], kept: Path, whole: bool = True) -> Contents:
    """The digests of ``files`` below ``root``; those of unchanged files come from the database ``kept``.

    ``whole``: these are all that lie below ``root``, so that others that are known of there can be forgotten.

    A file is unchanged while its path, size, times and inode are. What was read within two seconds of its last change
    is not kept. A database that is missing, damaged, locked or not to be written only costs time.
    """
    known = dict(_recalled(kept, root))
    found: list[_Hashed] = [known.get(file.path, (b"", UNTRUSTED)) for file in files]
    missing = [i for i, file in enumerate(files) if found[i][1] != file.identity]
    for i, hashed in zip(missing, _hashed_all([os.path.join(root, files[i].path) for i in missing]), strict=True):
        found[i] = hashed if hashed[1] == files[i].identity else (hashed[0], UNTRUSTED)
    fresh = [(files[i].path, *found[i]) for i in missing if found[i][1] != UNTRUSTED]
    if missing:
        _keep(kept, root, fresh, known.keys() - {file.path for file in files} if whole else ())
    identities = np.array([one[1] for one in found], dtype=np.int64).reshape(len(files), 4)
    return Contents(tuple(one[0] for one in found), identities)


def sha256_of(path: str) -> bytes:
    """The digest of a file's bytes, ``UNREADABLE`` where they cannot be had."""
    return _hashed(path)[0]


def _hashed_all(paths: Sequence[str]) -> Iterator[_Hashed]:
    """By several threads: hashing lets others run, and so does waiting for a disk."""
    chunks = [paths[start : start + _AT_ONCE] for start in range(0, len(paths), _AT_ONCE)]
    with ThreadPoolExecutor(max(cores(), _WAITING_FOR_DISKS)) as pool:
        for chunk in pool.map(lambda some: [_hashed(path) for path in some], chunks):
            yield from chunk


def _hashed(path: str) -> _Hashed:
    """A file's digest, and its identity where it stood still: the same before and after, and older than two seconds."""
    try:
        with open(path, "rb", buffering=0) as file:
            began, status = time.time_ns(), os.fstat(file.fileno())
            before = identity_of(status)
            if status.st_size <= _SMALL:
                digest = hashlib.sha256(file.readall()).digest()
            else:
                digest = hashlib.file_digest(file, "sha256").digest()  # type: ignore[arg-type,unused-ignore]
            after = identity_of(os.fstat(file.fileno()))
        settled = status.st_ctime_ns <= began - SETTLED_NS
        return digest, before if before == after and settled else UNTRUSTED
    except OSError:
        return UNREADABLE, UNTRUSTED


@contextlib.contextmanager
def _database(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection whose changes are kept when the block ends well. Only its owner may read the names in it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    connection = sqlite3.connect(path, timeout=_WAIT_SECONDS)
    try:
        connection.execute(_TABLE)
        with connection:
            yield connection
    finally:
        connection.close()


def _recalled(kept: Path, root: str) -> Iterator[tuple[str, _Hashed]]:
    """(path below ``root``, digest and identity) of all files that are known."""
    start = os.fsencode(root.rstrip(os.sep) + os.sep)
    query = "SELECT path, size, written, changed, inode, sha256 FROM digests_1 WHERE path >= ? AND path < ?"
    try:
        with _database(kept) as database:
            rows = database.execute(query, (start, start[:-1] + bytes([start[-1] + 1]))).fetchall()
    except sqlite3.DatabaseError as error:
        if not isinstance(error, sqlite3.OperationalError):  # not locked or unwritable but damaged: begun anew
            with contextlib.suppress(OSError):
                kept.unlink()
        return
    except OSError:
        return
    for path, *identity, digest in rows:
        size, written, changed, inode = identity
        if not isinstance(digest, bytes) or len(digest) != hashlib.sha256().digest_size:
            continue
        yield os.fsdecode(path[len(start) :]), (digest, (size, written, changed, inode))


def _keep(kept: Path, root: str, fresh: Iterable[tuple[str, bytes, Identity]], gone: Iterable[str]) -> None:
    whole = root.rstrip(os.sep) + os.sep
    rows = [(os.fsencode(whole + path), *identity, digest) for path, digest, identity in fresh]
    try:
        with _database(kept) as database:
            database.executemany(
                "DELETE FROM digests_1 WHERE path = ?", [(os.fsencode(whole + path),) for path in gone]
            )
            database.executemany("INSERT OR REPLACE INTO digests_1 VALUES (?, ?, ?, ?, ?, ?)", rows)
    except (sqlite3.Error, OSError):
        return
