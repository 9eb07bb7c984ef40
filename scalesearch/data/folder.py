"""A folder of class folders, with or without train/, val/ and test/."""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from scalesearch.data.image import read_rgb, short_side
from scalesearch.data.source import Source, median_short_side
from scalesearch.errors import UserError
from scalesearch.units import counted

EXTENSIONS = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".gif"})
_PART_NAMES = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}
_ENDS_BYTES = 1 << 19
_LAYOUT = "Give a folder of class folders, or one with train/ and val/ or test/ that each hold class folders."


@dataclass(frozen=True)
class FolderReader:
    """Reads the files of a folder; ``files`` are paths relative to ``root``."""

    root: str
    files: tuple[str, ...]

    def read(self, i: int, at_least_px: int = 0) -> Image.Image:
        return read_rgb(self.describe(i), at_least_px)

    def describe(self, i: int) -> str:
        return os.path.join(self.root, self.files[i])

    def short_side(self, i: int) -> int:
        return short_side(self.describe(i))


@dataclass(frozen=True)
class _File:
    part: str
    class_name: str
    path: str
    size_bytes: int


def folder_source(path: str | Path) -> Source:
    """The images under ``path``: train/ with val/ and/or test/, or class folders without parts.

    Class folders may be nested; hidden files are ignored; links are followed only to files inside ``path``.
    Raises UserError for a missing, unreadable or wrongly laid out folder, naming the class at fault.
    """
    root = Path(os.path.expanduser(path))  # leaves ~nobody as it is, where pathlib would raise
    if not root.exists():
        raise UserError(str(path), "there is no such folder.", do=_LAYOUT)
    if not root.is_dir():
        raise UserError(str(path), "it is a file.", do=_LAYOUT)
    root = root.resolve()
    listed: list[_File] = []
    skipped_links: list[str] = []
    part_folders = _part_folders(root)
    for part, folder in part_folders:
        listed += _class_files(root, folder, part, skipped_links)
    classes = _checked_classes(root, listed, split=part_folders[0][0] == "train")
    label_of = {name: label for label, name in enumerate(classes)}
    reader = FolderReader(str(root), tuple(file.path for file in listed))
    return Source(
        name=root.name or str(root),
        classes=classes,
        labels=np.array([label_of[file.class_name] for file in listed], dtype=np.int64),
        parts=tuple(file.part for file in listed),
        reader=reader,
        digest=_digest(root, listed),
        flip=True,
        native_px=median_short_side(reader, len(listed)),
        notes=_notes(root, part_folders, skipped_links),
    )


def _part_folders(root: Path) -> list[tuple[str, Path]]:
    """(part, folder) pairs: [("", root)] for a folder without parts."""
    folders = [(_PART_NAMES[entry.name.lower()], Path(entry.path)) for entry in entries(root) if _is_part(entry)]
    if not folders:
        return [("", root)]
    parts = [part for part, _ in folders]
    if "train" not in parts:
        raise UserError(str(root), f"there is {' and '.join(sorted(parts))} but no train.", do="Add a train/ folder.")
    if len(set(parts)) < len(parts):
        names = ", ".join(folder.name for _, folder in folders)
        problem = f"a part has two folders ({names})."
        raise UserError(str(root), problem, do="Keep one of val/, valid/ and validation/.")
    return sorted(folders, key=lambda pair: ("train", "val", "test").index(pair[0]))


def _is_part(entry: os.DirEntry[str]) -> bool:
    return entry.name.lower() in _PART_NAMES and entry.is_dir(follow_symlinks=False)


def _class_files(root: Path, folder: Path, part: str, skipped_links: list[str]) -> list[_File]:
    files: list[_File] = []
    for entry in entries(folder):
        if entry.is_symlink() and not _file_inside(root, entry):
            skipped_links.append(os.path.relpath(entry.path, root))
        elif entry.is_dir():
            images = images_below(root, Path(entry.path), skipped_links)
            if not images:
                kinds = " ".join(sorted(extension[1:] for extension in EXTENSIONS))
                problem = f"the class folder holds no images ({kinds})."
                raise UserError(entry.path, problem, do="Remove or fill it.")
            files += [_File(part, entry.name, name, size_bytes) for name, size_bytes in images]
    if not files:
        links = f" (links are not followed: {', '.join(skipped_links[:3])})" if skipped_links else ""
        raise UserError(str(folder), f"there are no class folders{links}.", do=_LAYOUT)
    return files


def images_below(root: Path, folder: Path, skipped_links: list[str]) -> list[tuple[str, int]]:
    """(path relative to root, size in bytes) of the images in ``folder`` and below, sorted by name."""
    images: list[tuple[str, int]] = []
    for entry in entries(folder):
        if entry.is_symlink() and not _file_inside(root, entry):
            skipped_links.append(os.path.relpath(entry.path, root))
        elif entry.is_dir(follow_symlinks=False):
            images += images_below(root, Path(entry.path), skipped_links)
        elif os.path.splitext(entry.name)[1].lower() in EXTENSIONS:
            if not entry.is_file():
                raise UserError(entry.path, "it is a pipe, socket or device, not an image.", do="Remove it.")
            images.append((os.path.relpath(entry.path, root), entry.stat().st_size))
    return images


def _file_inside(root: Path, link: os.DirEntry[str]) -> bool:
    try:
        target = Path(link.path).resolve()
        return target.is_file() and target.is_relative_to(root)
    except (OSError, RuntimeError):  # not to be looked at, or a link that leads to itself
        return False


def entries(folder: Path) -> list[os.DirEntry[str]]:
    """The entries of a folder that are not hidden, sorted by name."""
    try:
        with os.scandir(folder) as listed:
            return sorted((one for one in listed if not one.name.startswith(".")), key=lambda one: one.name)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise UserError(str(folder), f"the folder cannot be read ({reason}).") from error


def _checked_classes(root: Path, files: list[_File], *, split: bool) -> tuple[str, ...]:
    trained = {file.class_name for file in files if file.part in ("train", "")}
    for file in files:
        if file.class_name not in trained:
            problem = f"train has no class '{file.class_name}', which is here."
            raise UserError(f"{root}{os.sep}{file.part}", problem, do="Add its images to train or remove it.")
    if len(trained) < 2:
        where = str(root / "train") if split else str(root)
        raise UserError(where, f"there is only one class ('{next(iter(trained))}'); at least two are needed.")
    return tuple(sorted(trained))


def _digest(root: Path, files: list[_File]) -> str:
    """Names, labels and content; of a file above 1 MiB, its size and its first and last 512 KiB."""
    digest = hashlib.sha256()
    for file in files:
        line = f"{file.part}\t{file.class_name}\t{file.path}\t{file.size_bytes}\n"
        digest.update(line.encode("utf-8", "surrogateescape"))
        digest.update(_content(root / file.path))
    return digest.hexdigest()[:12]


def _content(path: Path) -> bytes:
    try:
        with path.open("rb") as opened:
            start = opened.read(2 * _ENDS_BYTES)
            if len(start) == 2 * _ENDS_BYTES:
                opened.seek(max(opened.seek(0, os.SEEK_END) - _ENDS_BYTES, 0))
                start = start[:_ENDS_BYTES] + opened.read(_ENDS_BYTES)
            return hashlib.sha256(start).digest()
    except OSError:  # an unreadable file is reported with all the others when the set is decoded
        return b"unreadable"


def _notes(root: Path, part_folders: list[tuple[str, Path]], skipped_links: list[str]) -> tuple[str, ...]:
    notes = []
    if skipped_links:
        examples = ", ".join(skipped_links[:3])
        notes.append(f"{counted(len(skipped_links), 'link')} to folders or out of {root} not followed: {examples}")
    if part_folders[0][0]:
        used = {folder.name for _, folder in part_folders}
        ignored = [
            entry.name for entry in entries(root) if entry.is_dir(follow_symlinks=False) and entry.name not in used
        ]
        if ignored:
            notes.append(f"folders beside train/ were ignored: {', '.join(ignored)}")
    return tuple(notes)
