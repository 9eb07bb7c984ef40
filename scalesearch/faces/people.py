"""A folder with a folder of photos per person."""

import os
import unicodedata
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from scalesearch.data.folder import EXTENSIONS
from scalesearch.data.source import IntArray
from scalesearch.errors import UserError

LAYOUT = "a folder that holds one folder of photos per person"
SHOWN = 5


@dataclass(frozen=True, eq=False)
class People:
    """Photos by person. ``root``: the folder; ``files``: paths; ``labels``: int64 (files,), places in ``names``;
    ``notes`` for the user."""

    root: str
    names: tuple[str, ...]
    files: tuple[str, ...]
    labels: IntArray
    notes: tuple[str, ...] = ()

    def below(self, file: str) -> str:
        """A file's path below the folder, with forward slashes."""
        return Path(file).relative_to(self.root).as_posix()


def list_people(folder: str | Path, option: str) -> People:
    """The people below ``folder``, sorted by name, each with all images in and below their folder.

    Names are taken in Unicode's composed form. Hidden entries, links to folders and links out of
    ``folder`` are passed over.

    Args:
        option: what the folder was given as, for messages.

    Raises:
        UserError: no folder, nobody in it, or two folders whose names differ by case alone.
    """
    root = Path(folder).expanduser()
    if not root.is_dir():
        raise UserError(f"{option} {folder}", "a file" if root.exists() else "no such folder", LAYOUT)
    with os.scandir(root) as entries:
        found = sorted((entry for entry in entries if not entry.name.startswith(".")), key=lambda entry: entry.name)
    folders = [entry for entry in found if entry.is_dir(follow_symlinks=False)]
    photos = {unicodedata.normalize("NFC", entry.name): _images(root.resolve(), entry.path) for entry in folders}
    _check_names([entry.name for entry in folders], option)
    known = {name: files for name, files in photos.items() if files}
    if not known:
        loose = any(entry.is_file(follow_symlinks=False) and _is_image(entry.name) for entry in found)
        what = "photos, but no folder of a person" if loose else "no person with a photo"
        raise UserError(f"{option} {folder}", what, LAYOUT)
    notes = []
    if empty := sorted(photos.keys() - known.keys()):
        notes.append(f"{len(empty)} folder(s) without photos: {few(empty)}")
    if loose_files := [entry.name for entry in found if entry.is_file(follow_symlinks=False) and _is_image(entry.name)]:
        notes.append(f"{len(loose_files)} photo(s) in no person's folder were passed over: {few(loose_files)}")
    names = tuple(sorted(known))
    labels = np.repeat(np.arange(len(names)), [len(known[name]) for name in names]).astype(np.int64)
    return People(str(root), names, tuple(file for name in names for file in known[name]), labels, tuple(notes))


def few(names: list[str] | tuple[str, ...]) -> str:
    """The first few, and how many more."""
    return ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")


def _is_image(name: str) -> bool:
    return os.path.splitext(name)[1].lower() in EXTENSIONS


def _images(root: Path, folder: str) -> list[str]:
    return sorted(
        path
        for where, _, names in os.walk(folder)
        for name in names
        if _is_image(name) and not name.startswith(".") and _inside(root, path := os.path.join(where, name))
    )


def _inside(root: Path, path: str) -> bool:
    """Whether a file is none of somewhere else that a link points to."""
    try:
        return not os.path.islink(path) or Path(path).resolve().is_relative_to(root)
    except (OSError, RuntimeError):  # not to be looked at, or a link that leads to itself
        return False


def _check_names(names: list[str], option: str) -> None:
    seen: dict[str, str] = {}
    for name in names:
        key = unicodedata.normalize("NFC", name).casefold()
        if key in seen:
            raise UserError(
                option, f"folders '{seen[key]}' and '{name}', which differ by case or spelling of accents alone",
                "one folder per person", "Put the photos of one person into one folder.",
            )  # fmt: skip
        seen[key] = name
