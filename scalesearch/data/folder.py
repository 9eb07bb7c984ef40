"""A folder of class folders, with or without train/, val/ and test/."""

import difflib
import hashlib
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from scalesearch.data.digests import Contents, contents, sha256_of
from scalesearch.data.image import deep_bits, read_rgb, short_side
from scalesearch.data.layout import (
    LAYOUT,
    Classes,
    check_classes,
    class_names,
    loose,
    part_folders,
    spelled,
    spelling_notes,
)
from scalesearch.data.listing import Folder, ImageFile, LeftOut, Root, identity_of, listed, notes, root_of
from scalesearch.data.places import digests_file
from scalesearch.data.source import Source, UnreadableImageError, median_short_side, sampled
from scalesearch.errors import UserError
from scalesearch.units import counted

DEEP_LOOKED_AT = 8


@dataclass(frozen=True, eq=False)
class FolderReader:
    """Reads the files of a folder, and only what was there when their digests were taken.

    Args:
        files: paths relative to ``root``.
        sha256: of each file's bytes.
        identities: int64 (files, 4), of each file when it was read for that.
    """

    root: str
    files: tuple[str, ...]
    sha256: tuple[bytes, ...] = field(repr=False)
    identities: npt.NDArray[np.int64] = field(repr=False)

    def read(self, i: int, at_least_px: int = 0) -> Image.Image:
        """Image ``i`` (see ``Reader.read``). Raises UserError where its file is no longer the one that was listed."""
        path = self.describe(i)
        before = _identity(path)
        try:
            image = read_rgb(path, at_least_px)
        except UnreadableImageError:
            self._require_unchanged(i, before)
            raise
        self._require_unchanged(i, before)
        return image

    def describe(self, i: int) -> str:
        return os.path.join(self.root, self.files[i])

    def short_side(self, i: int) -> int:
        return short_side(self.describe(i))

    def _require_unchanged(self, i: int, before: tuple[int, ...]) -> None:
        """A file of the same size, times and inode holds the same bytes; of others the bytes are looked at."""
        path = self.describe(i)
        if before == tuple(self.identities[i].tolist()) == _identity(path):
            return
        if sha256_of(path) != self.sha256[i] or before != _identity(path):
            problem = "the file changed while it was read: it is not the one that was listed."
            raise UserError(path, problem, do="Run the command again when the images stay as they are.")


@dataclass(frozen=True)
class _File:
    part: str
    class_name: str
    file: ImageFile


def folder_source(path: str | Path, follow_links: str | Path | None = None) -> Source:
    """The images under ``path``: train/ with val/ and/or test/, or class folders without parts.

    Class folders may be nested. Hidden files and those of other programs are left out, as are links, but for those to
    files inside ``path`` and into ``follow_links``; notes say what was left out.

    Raises:
        UserError: a missing, unreadable or wrongly laid out folder; the message names the class at fault.
    """
    root_path = Path(os.path.expanduser(path))  # leaves ~nobody as it is, where pathlib would raise
    if not root_path.exists():
        above = Path(path).parent
        near = difflib.get_close_matches(Path(path).name, os.listdir(above) if above.is_dir() else ())
        do = f"Did you mean {' or '.join(str(above / name) for name in near)}?" if near else LAYOUT
        raise UserError(str(path), "there is no such folder.", do=do)
    if not root_path.is_dir():
        raise UserError(str(path), "it is a file.", do=LAYOUT)
    root = root_of(root_path, follow_links)
    return class_folders(root, listed(root))


def class_folders(root: Root, top: Folder) -> Source:
    """As ``folder_source``, of a folder that was listed."""
    parts = part_folders(root.path, top)
    for one in parts:
        check_classes(root.path, one)
    classes = class_names(root.path, parts)
    files = [
        _File(one.part, spelled(folder.name), file)
        for one in parts
        for folder in one.folder.folders
        for file in folder.images()
    ]
    held = contents(root.path, [one.file for one in files], digests_file())
    label_of = {name: label for label, name in enumerate(classes)}
    reader = FolderReader(root.path, tuple(one.file.path for one in files), held.sha256, held.identities)
    return Source(
        name=os.path.basename(root.path) or root.path,
        classes=classes,
        labels=np.array([label_of[one.class_name] for one in files], dtype=np.int64),
        parts=tuple(one.part for one in files),
        reader=reader,
        digest=_digest(files, held),
        flip=True,
        native_px=median_short_side(reader, len(files)),
        notes=(
            *_beside(top, parts),
            *spelling_notes(folder.name for one in parts for folder in one.folder.folders),
            *depth_notes(deep_bits(reader.describe(i)) for i in sampled(len(files))),
            *notes(_left_out(top, parts), root.path, advise=True),
        ),
    )


def _identity(path: str) -> tuple[int, ...]:
    """As of ``identity_of``; () where there is no file."""
    try:
        return identity_of(os.stat(path))
    except OSError:
        return ()


def _digest(files: Sequence[_File], held: Contents) -> str:
    """12 hex digits of parts, classes, names, sizes and all bytes."""
    digest = hashlib.sha256()
    for one, content in zip(files, held.sha256, strict=True):
        line = f"{one.part}\t{one.class_name}\t{one.file.path}\t{one.file.identity[0]}\n"
        digest.update(line.encode("utf-8", "surrogateescape"))
        digest.update(content)
    return digest.hexdigest()[:12]


def _left_out(top: Folder, parts: Sequence[Classes]) -> list[LeftOut]:
    """What is not used in the folders that are, and beside them."""
    if not parts[0].part:
        return [*loose(parts[0]), *top.everything_left_out()]
    inner = [item for one in parts for item in (*loose(one), *one.folder.everything_left_out())]
    return [*loose(Classes("", top)), *top.left_out, *inner]


def depth_notes(depths: Iterable[int]) -> list[str]:
    """That grey pictures of 16 bits are read as of 12, as far as a sample's ``image.deep_bits`` tell."""
    found = list(islice(filter(None, depths), DEEP_LOOKED_AT))  # decoded whole, every time that a set is listed
    if 12 not in found:
        return []
    rest = f", {found.count(16)} as of 16" if 16 in found else ""
    return [f"of {counted(len(found), 'grey picture')} of 16 bits looked at, {found.count(12)} read as of 12{rest}"]


def _beside(top: Folder, parts: Sequence[Classes]) -> list[str]:
    """Which folders beside those of the parts are not used."""
    used = {one.folder.path.split(os.sep)[0] for one in parts}
    ignored = [folder.name for folder in top.folders if folder.path not in used] if parts[0].part else []
    return [f"folders beside train/ were ignored: {', '.join(ignored)}"] if ignored else []
