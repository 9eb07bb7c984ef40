"""What lies at a path that was given as --data: class folders, a table of files and labels, or packed images."""

import glob
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from scalesearch.data.arrow import arrow_items, holds_images, parquet_entries
from scalesearch.data.file_list import CSV_ENDINGS, csv_source, listed_source
from scalesearch.data.folder import class_folders, folder_source
from scalesearch.data.layout import part_of
from scalesearch.data.listing import Reason, examples, listed, root_of
from scalesearch.data.packed import Items, PackedFile, packed_source
from scalesearch.data.source import Source
from scalesearch.data.tar import tar_items
from scalesearch.errors import UserError
from scalesearch.files import read_bytes, read_json

KINDS: dict[str, Items] = {  # compressed ones are refused by whoever goes through them
    **dict.fromkeys((".tar", ".tgz", ".tar.gz", ".tbz2", ".tar.bz2", ".txz", ".tar.xz", ".tar.zst"), tar_items),
    ".parquet": arrow_items,
    ".arrow": arrow_items,
}
CLASS_NAMES = ("classes.txt", "classnames.txt", "class_names.txt")  # beside shards: a name a line, the first of class 0
METADATA = "metadata.csv"  # of Hugging Face's image folders
STATE = "state.json"  # beside the Arrow files of one part that ``datasets`` saved
MOST_FILES = 100_000
_RANGE = re.compile(r"(\d+)\.\.(\d+)")


def source_at(data: str, follow_links: str | Path | None = None) -> Source:
    """The images at a path or at those that a pattern names. Raises UserError for what is none of the kinds read."""
    path = Path(os.path.expanduser(data))  # leaves ~nobody as it is, where pathlib would raise
    if path.is_dir():
        return _in_folder(path, follow_links)
    if path.is_file():
        return _in_file(path)
    if is_pattern(data):
        return _of_pattern(data)
    return folder_source(data, follow_links)  # says that it is not there


def is_pattern(data: str) -> bool:
    """Whether it names several files: ``train-{000..099}.tar``, ``*.parquet``."""
    return any(one in data for one in "*?[{")


def _in_folder(path: Path, follow_links: str | Path | None) -> Source:
    root = root_of(path, follow_links)
    top = listed(root)
    if next(top.images(), None) is None:
        files = [one.path for one in top.everything_left_out() if one.reason is Reason.ENDING and _kind(one.path)]
        files = _current(root.path, files)
        if files:
            return _packed(root.path, root.path, files)
    elif not top.folders and os.path.isfile(path / METADATA):
        return csv_source(path / METADATA)
    return class_folders(root, top)


def _in_file(path: Path) -> Source:
    if path.suffix.lower() in CSV_ENDINGS:
        return csv_source(path)
    if path.suffix.lower() == ".parquet" and not holds_images(path):
        return listed_source(path, parquet_entries(path))
    items = _kind(path.name)
    if items is None:
        problem = f"it is a file of a kind that is not read as images ({path.suffix or 'without an ending'})."
        do = "Give a folder, a CSV of files and labels, or files that end in .tar, .parquet or .arrow."
        raise UserError(str(path), problem, do=do)
    folder = os.path.dirname(os.path.realpath(path))
    return packed_source(_name(folder), str(path), [PackedFile(path, "", items)], _class_names(folder))


def _of_pattern(data: str) -> Source:
    """Raises UserError for a pattern that names no file, or one that is not there, or other files than shards."""
    files: list[str] = []
    for one in _expanded(os.path.expanduser(data)):
        files += sorted(glob.glob(one)) if any(sign in one for sign in "*?[") else [one]
        if len(files) > MOST_FILES:
            raise UserError(data, f"the pattern names more than {MOST_FILES} files.")
    missing = [one for one in files if not os.path.isfile(one)]
    if missing or not files:
        problem = (
            f"{len(missing)} of {len(files)} files are not there ({examples(missing)})."
            if files
            else "no file is of this pattern."
        )
        raise UserError(data, problem, do="Put a pattern between quotes, so that the shell leaves it alone.")
    foreign = [one for one in files if not _kind(one)]
    if foreign:
        do = "A pattern may name files that end in .tar, .parquet or .arrow."
        raise UserError(data, f"it names files of other kinds ({examples(foreign)}).", do=do)
    real = list(dict.fromkeys(map(os.path.abspath, files)))
    root = os.path.commonpath([os.path.dirname(one) for one in real])
    return _packed(data, root, [os.path.relpath(one, root) for one in real])


def _packed(where: str, root: str, files: Sequence[str]) -> Source:
    """Of files below a folder. Raises UserError where they are of two kinds, or those of a part lie in two folders."""
    kinds = sorted({".tar" if _kind(one) is tar_items else os.path.splitext(one)[1].lower() for one in files})
    if len(kinds) > 1:
        raise UserError(where, f"there are files of several kinds ({' and '.join(kinds)}).", do="Give one kind.")
    folders: dict[str, set[str]] = {}
    packed = []
    for one in files:
        part = _part_in(where, one)
        folders.setdefault(part, set()).add(os.path.dirname(one) or ".")
        items = _kind(one)
        assert items is not None  # of those that were looked for
        packed.append(PackedFile(Path(root, one), part, items))
    for part, those in folders.items():
        if len(those) > 1:
            named = f"the part {part}" if part else "no part"
            problem = f"files of {named} lie in several folders ({examples(sorted(those))})."
            raise UserError(where, problem, do="Give one of the folders, or a pattern that names the files.")
    return packed_source(_name(root), where, packed, _class_names(root))


def _kind(path: str) -> Items | None:
    """What goes through a file of this name."""
    lower = path.lower()
    return next((items for ending, items in KINDS.items() if lower.endswith(ending)), None)


def _name(folder: str) -> str:
    return os.path.basename(folder) or folder


def _part_in(where: str, path: str) -> str:
    """The part that a file's name and folders below the root stand for, by one of their words."""
    words = {word for piece in path.split(os.sep) for word in (piece, *re.split(r"[-_. ]", piece))}
    found = {part_of(word) for word in words} - {""}
    if len(found) > 1:
        raise UserError(where, f"{path} could be of two parts ({' and '.join(sorted(found))}).", do="Rename it.")
    return found.pop() if found else ""


def _current(root: str, files: Iterable[str]) -> list[str]:
    """Without the Arrow files that ``datasets`` left beside those that it saved, such as caches."""
    known: dict[str, set[str] | None] = {}
    kept = []
    for one in files:
        folder, name = os.path.split(one)
        if folder not in known:
            known[folder] = _saved(Path(root, folder, STATE))
        names = known[folder]
        if names is None or name in names:
            kept.append(one)
    return kept


def _saved(state: Path) -> set[str] | None:
    """Names of the files that a state lists; None without a state."""
    if not state.is_file():
        return None
    listed_files = read_json(state, "the state of a saved set").get("_data_files")
    if not isinstance(listed_files, list):
        return None
    return {str(one.get("filename")) for one in listed_files if isinstance(one, dict)}


def _class_names(folder: str) -> tuple[str, ...]:
    """The names that a file beside the shards lists; () without one. Raises UserError where one stands twice."""
    path = next((Path(folder, name) for name in CLASS_NAMES if os.path.isfile(os.path.join(folder, name))), None)
    if path is None:
        return ()
    try:
        names = [line.strip() for line in read_bytes(path, "class names").decode("utf-8-sig").rstrip().splitlines()]
    except UnicodeDecodeError:
        raise UserError(str(path), "the class names are not in UTF-8.") from None
    twice = [name for name in names if names.count(name) > 1] if len(set(names)) < len(names) else []
    if twice or "" in names:
        raise UserError(str(path), f"'{twice[0] if twice else ''}' should be the name of one class, a line each.")
    return tuple(names)


def _expanded(pattern: str) -> Iterator[str]:
    """Each path that braces stand for: {000..099} counts, {train,val} lists.

    >>> list(_expanded("{a,b}-{08..10}.tar"))
    ['a-08.tar', 'a-09.tar', 'a-10.tar', 'b-08.tar', 'b-09.tar', 'b-10.tar']
    """
    found = re.search(r"\{([^{}]*)\}", pattern)
    if not found:
        yield pattern
        return
    count = _RANGE.fullmatch(found[1])
    if count:
        first, last = int(count[1]), int(count[2])
        if last - first >= MOST_FILES:
            raise UserError(pattern, f"the pattern names more than {MOST_FILES} files.")
        choices: Iterable[str] = (f"{number:0{len(count[1])}d}" for number in range(first, last + 1))
    else:
        choices = found[1].split(",")
    for choice in choices:
        yield from _expanded(pattern[: found.start()] + choice + pattern[found.end() :])
