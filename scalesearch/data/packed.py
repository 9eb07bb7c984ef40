"""Files that hold many images each (tar shards, Parquet, Arrow), read by place: where each image's bytes lie is found
out once, and kept with their digests until the file changes. What cannot be read by place (Parquet) is copied out once.
"""

import contextlib
import hashlib
import io
import json
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt
from filelock import FileLock
from PIL import Image

from scalesearch.data.digests import SETTLED_NS
from scalesearch.data.folder import depth_notes
from scalesearch.data.formats import formats
from scalesearch.data.image import deep_bits, read_rgb, short_side
from scalesearch.data.labels import labelled, parts_of
from scalesearch.data.listing import LeftOut, Reason, identity_of, notes
from scalesearch.data.places import free_bytes, packed_folder
from scalesearch.data.source import PARTS, Source, UnreadableImageError, median_short_side, sampled
from scalesearch.errors import UserError
from scalesearch.files import PRIVATE, atomic, write_bytes
from scalesearch.machine import cores

_FORMAT = 1
_MEND = "Run the command again when the files stay as they are."
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Item:
    """An image in a file.

    Args:
        offset: of its bytes from the file's start; None where they do not stand in it as they are.
        part: as a column says it, "" without one.
    """

    name: str
    label: str
    part: str
    content: bytes
    offset: int | None = None


Items = Callable[[Path], Iterator[Item | LeftOut]]  # all of one file, in order


@dataclass(frozen=True)
class PackedFile:
    """A file that holds images, the part that its name stands for, or "", and what goes through it."""

    path: Path
    part: str
    items: Items


@dataclass(frozen=True, eq=False)
class Index:
    """What one file holds.

    Args:
        names, labels, parts: of each image.
        places: int64 (images, 3): whether the bytes lie in the copy, their offset, their size.
        sha256: uint8 (images, 32), of the bytes.
        left_out: what is not used.
        copy: where bytes were copied to.
    """

    names: tuple[str, ...]
    labels: tuple[str, ...]
    parts: tuple[str, ...]
    places: Ints
    sha256: npt.NDArray[np.uint8]
    left_out: tuple[LeftOut, ...]
    copy: Path


@dataclass(frozen=True, eq=False)
class PackedReader:
    """Reads images by place, and only the bytes that were indexed.

    Args:
        files: two for each packed file: itself, and its copy.
        places: int64 (images, 3): a position in ``files``, offset and size in bytes.
        sha256: uint8 (images, 32), of each image's bytes.
    """

    files: tuple[str, ...]
    names: tuple[str, ...] = field(repr=False)
    places: Ints = field(repr=False)
    sha256: npt.NDArray[np.uint8] = field(repr=False)

    def read(self, i: int, at_least_px: int = 0) -> Image.Image:
        """Image ``i`` (see ``Reader.read``). Raises UserError where its bytes are no longer those that were indexed."""
        return read_rgb(self.describe(i), at_least_px, self.content(i))

    def describe(self, i: int) -> str:
        return f"{self.files[int(self.places[i, 0]) & ~1]}: {self.names[i]}"

    def short_side(self, i: int) -> int:
        return short_side(self.describe(i), self.content(i))

    def content(self, i: int) -> bytes:
        """The bytes of image ``i``."""
        file, offset, size = map(int, self.places[i])
        try:
            with open(self.files[file], "rb", buffering=0) as opened:
                content = os.pread(opened.fileno(), size, offset)
        except OSError as error:
            raise UnreadableImageError(self.describe(i), error.strerror or str(error)) from None
        if hashlib.sha256(content).digest() != self.sha256[i].tobytes():
            raise UserError(self.describe(i), "the bytes here are no longer those that were listed.", do=_MEND)
        return content


def packed_source(name: str, where: str, files: Sequence[PackedFile], class_names: Sequence[str] = ()) -> Source:
    """The images of some packed files, ordered by part, file and place.

    Args:
        where: they lie, for messages.
        class_names: of labels that are whole numbers from 0.

    Raises:
        UserError: a file that is damaged or changes, no room for a copy, or what ``labels.labelled`` refuses.
    """
    files = sorted(files, key=lambda one: (PARTS.index(one.part), str(one.path)))
    with ThreadPoolExecutor(cores()) as pool:
        indexes = list(pool.map(lambda one: index(one.path, one.items), files))
    sizes = [len(one.names) for one in indexes]
    if not sum(sizes):
        left = "; ".join(notes(_left_out(where, files, indexes), where))
        raise UserError(where, f"there is no image in {len(files)} file(s){f' ({left})' if left else ''}.")
    places = np.concatenate([one.places for one in indexes])
    places[:, 0] += 2 * np.repeat(np.arange(len(files)), sizes)
    reader = PackedReader(
        tuple(str(path) for one, known in zip(files, indexes, strict=True) for path in (one.path, known.copy)),
        tuple(one for known in indexes for one in known.names),
        places,
        np.concatenate([one.sha256 for one in indexes]),
    )
    parts = tuple(one.part for one, size in zip(files, sizes, strict=True) for _ in range(size))
    columns = [part for one in indexes for part in one.parts]
    if any(columns) and not any(parts):
        parts = parts_of(where, columns, reader.describe)
    raw = _named(where, [label for one in indexes for label in one.labels], class_names, reader.describe)
    known = labelled(where, raw, parts, reader.describe)
    digest = hashlib.sha256()
    for part, label, content in zip(parts, known.labels.tolist(), reader.sha256, strict=True):
        digest.update(f"{part}\t{known.classes[label]}\n".encode("utf-8", "surrogateescape") + content.tobytes())
    return Source(
        name=name,
        classes=known.classes,
        labels=known.labels,
        parts=parts,
        reader=reader,
        digest=digest.hexdigest()[:12],
        flip=True,
        native_px=median_short_side(reader, len(parts)),
        notes=(
            *known.notes,
            *_copied(indexes),
            *depth_notes(deep_bits(reader.describe(i), reader.content(i)) for i in sampled(len(parts))),
            *notes(_left_out(where, files, indexes), where),
        ),
    )


def index(path: Path, items: Items) -> Index:
    """What a file holds, from what is kept, else from the file, which is gone through once.

    Raises UserError where it is damaged, changes meanwhile, or has to be copied and there is no room.
    """
    try:
        return _index(path, items)
    except OSError as error:
        raise UserError(str(path), f"it cannot be read ({error.strerror or error}).") from None


def _index(path: Path, items: Items) -> Index:
    folder, real = packed_folder(), os.path.realpath(path)
    name = hashlib.sha256(json.dumps([_FORMAT, real, formats()]).encode()).hexdigest()[:24]
    kept, copy = folder / f"{name}.npz", folder / f"{name}.images"
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError):  # who only indexes needs no cache that can be written to
            folder.mkdir(parents=True, exist_ok=True)
            stack.enter_context(FileLock(folder / f"{name}.lock"))
        began, status = time.time_ns(), os.stat(path)
        known = _recalled(kept, copy, identity_of(status))
        if known is not None:
            return known
        found = _gone_through(path, items, copy, status.st_size)
        if identity_of(os.stat(path)) != identity_of(status):
            raise UserError(str(path), "the file changed while it was read.", do=_MEND)
        if status.st_ctime_ns <= began - SETTLED_NS:  # else it may change again without a trace
            with contextlib.suppress(UserError):
                _keep(kept, found, identity_of(status))
        return found


def _gone_through(path: Path, items: Items, copy: Path, size: int) -> Index:
    used: list[tuple[str, str, str]] = []
    places: list[tuple[int, int, int]] = []
    digests: list[bytes] = []
    left_out: list[LeftOut] = []
    with contextlib.ExitStack() as stack:
        file: BinaryIO | None = None
        for item in items(path):
            if isinstance(item, LeftOut):
                left_out.append(item)
                continue
            offset = item.offset
            if offset is None:
                if file is None:
                    file = _begun(path, copy, size, stack)
                offset = file.tell()
                file.write(item.content)
            used.append((item.name, item.label, item.part))
            places.append((item.offset is None, offset, len(item.content)))
            digests.append(hashlib.sha256(item.content).digest())
    # by way of arrays, so that what is kept is what is returned: these end at a zero
    names, labels, parts = (tuple(np.array([one[k] for one in used], str).tolist()) for k in range(3))
    sha256 = np.frombuffer(b"".join(digests), np.uint8).reshape(-1, 32)
    where = np.array(places, np.int64).reshape(-1, 3)
    return Index(names, labels, parts, where, sha256, tuple(left_out), copy)


def _begun(path: Path, copy: Path, size: int, stack: contextlib.ExitStack) -> BinaryIO:
    """The file for the bytes that are copied out. Raises UserError where there is too little room."""
    free = free_bytes(copy.parent)
    if free < size:
        room = f"{size / 1e9:.1f} GB, and {free / 1e9:.1f} are free"
        problem = f"its images have to be copied to {copy.parent} once, which takes {room}."
        raise UserError(str(path), problem, do="Make room, or name another cache folder (SCALESEARCH_CACHE).")
    return stack.enter_context(stack.enter_context(atomic(copy, PRIVATE)).open("wb"))


def _keep(kept: Path, found: Index, identity: Sequence[int]) -> None:
    content = io.BytesIO()
    np.savez(
        content, identity=np.array(identity, np.int64), names=np.array(found.names, str), places=found.places,
        labels=np.array(found.labels, str), parts=np.array(found.parts, str), sha256=found.sha256,
        left=np.array([one.path for one in found.left_out], str),
        reasons=np.array([one.reason.name for one in found.left_out], str),
    )  # fmt: skip
    write_bytes(kept, content.getvalue(), PRIVATE)


def _recalled(kept: Path, copy: Path, identity: Sequence[int]) -> Index | None:
    """What is kept of a file of this identity; None where there is nothing, or nothing sound."""
    try:
        with np.load(kept, allow_pickle=False) as arrays:
            if tuple(arrays["identity"].tolist()) != tuple(identity):
                return None
            left = zip(arrays["left"].tolist(), arrays["reasons"].tolist(), strict=True)
            known = Index(
                tuple(arrays["names"].tolist()), tuple(arrays["labels"].tolist()), tuple(arrays["parts"].tolist()),
                arrays["places"], arrays["sha256"], tuple(LeftOut(path, Reason[reason]) for path, reason in left), copy,
            )  # fmt: skip
    except Exception:  # missing, or damaged in one of numpy's and zipfile's many ways
        return None
    copied = known.places[known.places[:, 0] > 0]
    if len(copied) and not (copy.is_file() and copy.stat().st_size == int(copied[:, 2].sum())):
        return None
    return known


def _named(where: str, labels: Sequence[str], class_names: Sequence[str], name: Callable[[int], str]) -> Sequence[str]:
    """Labels that are places in a list of names made into these. Raises UserError for one that is none."""
    if not class_names or not any(one.isdecimal() for one in labels):
        return labels
    wrong = [i for i, one in enumerate(labels) if not (one.isdecimal() and int(one) < len(class_names))]
    if wrong:
        problem = f"'{labels[wrong[0]]}' ({name(wrong[0])}) is not the number of one of {len(class_names)} class names."
        raise UserError(where, problem, do="Number the classes from 0, or remove the file of class names.")
    return [class_names[int(one)] for one in labels]


def _left_out(where: str, files: Sequence[PackedFile], indexes: Iterable[Index]) -> Iterator[LeftOut]:
    for one, known in zip(files, indexes, strict=True):
        yield from (LeftOut(os.path.join(one.path.name, item.path), item.reason) for item in known.left_out)


def _copied(indexes: Sequence[Index]) -> Iterator[str]:
    bytes_copied = sum(int(one.places[one.places[:, 0] > 0, 2].sum()) for one in indexes)
    if bytes_copied:
        yield f"images of {bytes_copied / 1e9:.2g} GB were copied to {packed_folder()}, where they are read by place"
