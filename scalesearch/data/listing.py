"""What lies below a folder: its images, and everything that was seen and is not used, by reason. The one listing of
data folders, of folders of people and of photos to predict: what one of them passes over, all of them do."""

import logging
import os
import stat
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from scalesearch.data.formats import HEIC_EXTRA, SNIFFED, format_of, formats, is_picture, readable_endings
from scalesearch.errors import UserError, printable
from scalesearch.units import counted

# What operating systems and programs leave in folders of photos, in lower case; hidden names need no entry.
SYSTEM_NAMES = frozenset({
    "__macosx", "@eadir", "@tmp", "@recycle", "@recently-snapshot", "#recycle", "#snapshot", "$recycle.bin", "recycler",
    "lost+found", "system volume information", "thumbs.db", "ehthumbs.db", "ehthumbs_vista.db", "desktop.ini",
    "icon\r", "__pycache__",
})  # fmt: skip
EXAMPLES = 3
LOG = logging.getLogger("scalesearch")
ENDINGS_SHOWN = 6

Identity = tuple[int, int, int, int]


class Reason(Enum):
    """Why something that was seen is not used."""

    HIDDEN = "hidden"
    SYSTEM = "left there by other programs"
    LINK = "a link to a folder or out of the folder"
    ENDING = "no image by its ending"
    FORMAT = "a picture of a kind that is not read here"
    DEVICE = "a pipe, socket or device"
    UNREADABLE = "not to be read by this user"
    LOOSE = "an image in no class folder"
    EMPTY = "a folder without images"


@dataclass(frozen=True, slots=True)
class ImageFile:
    """``path`` below the root; ``identity`` as of ``identity_of``."""

    path: str
    identity: Identity


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Something that is not used: its ``path`` below the root, and why."""

    path: str
    reason: Reason


@dataclass(frozen=True)
class Folder:
    """A folder that was looked at.

    Args:
        name: as the file system spells it.
        path: below the root, "" for the root itself.
        entries: its images and folders, sorted by name.
        left_out: what else lies directly in it.
    """

    name: str
    path: str
    entries: tuple["ImageFile | Folder", ...] = ()
    left_out: tuple[LeftOut, ...] = ()

    @property
    def folders(self) -> tuple["Folder", ...]:
        """The folders directly in it."""
        return tuple(one for one in self.entries if isinstance(one, Folder))

    @property
    def files(self) -> tuple[ImageFile, ...]:
        """The images directly in it."""
        return tuple(one for one in self.entries if isinstance(one, ImageFile))

    def images(self) -> Iterator[ImageFile]:
        """The images in it and below, folders and files of each folder in one order of names."""
        for one in self.entries:
            if isinstance(one, Folder):
                yield from one.images()
            else:
                yield one

    def everything_left_out(self) -> Iterator[LeftOut]:
        """What is not used in it and below; a folder below it without any image counts as one more such thing."""
        yield from self.left_out
        for one in self.folders:
            if next(one.images(), None) is None:
                yield LeftOut(one.path, Reason.EMPTY)
            yield from one.everything_left_out()


@dataclass(frozen=True)
class Root:
    """Where a listing begins. Both are absolute and without links.

    Args:
        path: the folder.
        follow: links into this folder are followed, to folders, too; None: only links to files inside ``path`` are.
    """

    path: str
    follow: str | None = None


def root_of(path: str | Path, follow: str | Path | None = None) -> Root:
    """A root for a folder that is there. Raises UserError where ``follow`` is no folder."""
    if follow is not None and not Path(os.path.expanduser(follow)).is_dir():
        raise UserError("--follow-links", f"{follow} is no folder.", do="Name the folder that links may lead into.")
    target = None if follow is None else os.path.realpath(Path(os.path.expanduser(follow)))
    return Root(os.path.realpath(path), target)


def listed(root: Root) -> Folder:
    """What is in and below the folder. Raises UserError where that itself cannot be read; see ``require_readable``."""
    try:
        return _folder(root, "", os.path.basename(root.path), (root.path,))
    except OSError as error:
        raise UserError(root.path, f"the folder cannot be read ({_why(error)}).") from error


def require_readable(root: Root | str, folder: Folder) -> None:
    """Raises UserError for the first thing in or below a folder that is used and cannot be read."""
    where = root if isinstance(root, str) else root.path
    for one in folder.everything_left_out():
        if one.reason is Reason.UNREADABLE:
            raise UserError(os.path.join(where, one.path), "it cannot be read.", do="Change its mode, or remove it.")


def identity_of(status: os.stat_result) -> Identity:
    """Size, times of writing and of change (ns) and inode: the time of change, unlike the other, cannot be set. Each
    without its sign, so that it fits a signed 64-bit number."""
    most = (1 << 63) - 1
    return status.st_size, status.st_mtime_ns & most, status.st_ctime_ns & most, status.st_ino & most


def notes(left_out: Iterable[LeftOut], root: str, advise: bool = False) -> tuple[str, ...]:
    """A line for each reason, with a count and examples; losses that matter most first.

    Args:
        advise: name the option that follows links, which not every command has.
    """
    by_reason: dict[Reason, list[str]] = {}
    for one in left_out:
        by_reason.setdefault(one.reason, []).append(one.path)
    return tuple(_note(reason, by_reason[reason], root, advise) for reason in _ORDER if reason in by_reason)


def warn(lines: Iterable[str]) -> None:
    """Says notes where a command has no place of its own for them: on standard error."""
    for line in lines:
        LOG.warning("Note: %s", printable(line))


def examples(paths: list[str]) -> str:
    """The first few, and how many more."""
    rest = f" and {len(paths) - EXAMPLES} more" if len(paths) > EXAMPLES else ""
    return ", ".join(paths[:EXAMPLES]) + rest


def count_endings(paths: Iterable[str]) -> str:
    """How many files have which ending, the most frequent first.

    >>> count_endings(["a.txt", "B.TXT", "c.csv", "README"])
    '.txt 2, .csv 1, without an ending 1'
    """
    counts = Counter(_ending(os.path.basename(path)) or "without an ending" for path in paths)
    shown = [f"{ending} {count}" for ending, count in counts.most_common(ENDINGS_SHOWN)]
    return ", ".join(shown) + (", …" if len(counts) > ENDINGS_SHOWN else "")


_ORDER = (
    Reason.UNREADABLE, Reason.LINK, Reason.FORMAT, Reason.LOOSE, Reason.DEVICE, Reason.ENDING, Reason.EMPTY,
    Reason.SYSTEM, Reason.HIDDEN,
)  # fmt: skip


def _note(reason: Reason, paths: list[str], root: str, advise: bool) -> str:
    count, shown = len(paths), examples(paths)
    if reason is Reason.LINK:
        mend = "; --follow-links FOLDER follows those into FOLDER" if advise else ""
        return f"{counted(count, 'link')} to folders or out of {root} not followed: {shown}{mend}"
    if reason is Reason.FORMAT:
        heic = any(_ending(path) in ("", ".heic", ".heif", ".hif") for path in paths) and "HEIF" not in formats()
        mend = f"; HEIC needs {HEIC_EXTRA}" if heic else ""
        return f"{counted(count, 'picture')} of kinds not read here left out ({count_endings(paths)}): {shown}{mend}"
    if reason is Reason.ENDING:
        return f"{counted(count, 'file')} with other endings left out ({count_endings(paths)}): {shown}"
    said = {
        Reason.LOOSE: f"{counted(count, 'image')} in no class folder left out",
        Reason.EMPTY: f"{counted(count, 'folder')} without images left out",
    }
    if reason in said:
        return f"{said[reason]}: {shown}"
    kind = {
        Reason.UNREADABLE: "not to be read by this user",
        Reason.DEVICE: "pipes, sockets or devices",
        Reason.SYSTEM: "what other programs left",
        Reason.HIDDEN: "hidden",
    }
    return f"left out as {kind[reason]}: {count} ({shown})"


def _folder(root: Root, path: str, name: str, above: tuple[str, ...]) -> Folder:
    """``above``: the real paths of this folder and of those that it was reached through, against links in a circle."""
    kept: list[ImageFile | Folder] = []
    left_out: list[LeftOut] = []
    for entry in _scanned(os.path.join(root.path, path) if path else root.path):
        below = f"{path}{os.sep}{entry.name}" if path else entry.name
        try:
            found = _judged(root, entry, above)
            if isinstance(found, Reason):
                left_out.append(LeftOut(below, found))
            elif isinstance(found, str):
                kept.append(_folder(root, below, entry.name, (*above, found)))
            else:
                kept.append(ImageFile(below, found))
        except OSError:  # whoever uses the folder asks for what is in it: ``require_readable``
            left_out.append(LeftOut(below, Reason.UNREADABLE))
    return Folder(name, path, tuple(kept), tuple(left_out))


def _scanned(path: str) -> list[os.DirEntry[str]]:
    with os.scandir(path) as entries:
        return sorted(entries, key=lambda one: one.name)


def _why(error: OSError) -> str:
    return (error.strerror or str(error)).lower()


def _judged(root: Root, entry: os.DirEntry[str], above: tuple[str, ...]) -> Reason | str | Identity:
    """Why an entry is not used, else a folder's real path or an image's identity."""
    name = entry.name
    if name.startswith("."):
        return Reason.HIDDEN
    if name.lower() in SYSTEM_NAMES:
        return Reason.SYSTEM
    if entry.is_symlink() and not _followed(root, entry, above):
        return Reason.LINK if _may_be_image(name) or not os.path.isfile(entry.path) else Reason.ENDING
    if entry.is_dir():
        return os.path.realpath(entry.path) if entry.is_symlink() or root.follow else entry.path
    if _may_be_image(name) and not entry.is_file():
        return Reason.DEVICE
    return not_read(entry.path) or identity_of(entry.stat())


def not_read(path: str) -> Reason | None:
    """Why a file is not read, by its ending or, where it has none, its first bytes; None for an image."""
    ending = _ending(os.path.basename(path))
    if ending:
        kind, known = is_picture(ending), ending in readable_endings()
    else:
        sniffed = _sniffed(path)
        kind, known = bool(sniffed), sniffed in formats()
    if known:
        return None
    return Reason.FORMAT if kind else Reason.ENDING


def _followed(root: Root, link: os.DirEntry[str], above: tuple[str, ...]) -> bool:
    """Whether a link is: to a file inside the root, or to anything inside the folder that links may lead into."""
    try:
        target = os.path.realpath(link.path, strict=True)
        mode = os.stat(target).st_mode
    except OSError:  # to nothing, to itself, or not to be looked at
        return False
    if stat.S_ISREG(mode):
        return any(_inside(target, place) for place in (root.path, root.follow) if place)
    return stat.S_ISDIR(mode) and root.follow is not None and target not in above and _inside(target, root.follow)


def _inside(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip(os.sep) + os.sep)


def _ending(name: str) -> str:
    return os.path.splitext(name)[1].lower().strip()


def _may_be_image(name: str) -> bool:
    ending = _ending(name)
    return not ending or is_picture(ending)


def _sniffed(path: str) -> str:
    """The format that a file's first bytes stand for; "" for none, or where it cannot be read."""
    try:
        with open(path, "rb", buffering=0) as file:
            return format_of(file.read(SNIFFED) or b"")
    except OSError:
        return ""
