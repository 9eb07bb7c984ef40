"""A table of files and labels: a CSV, with or without a column of parts."""

import csv
import hashlib
import io
import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from scalesearch.data.digests import contents
from scalesearch.data.folder import FolderReader, depth_notes
from scalesearch.data.image import deep_bits
from scalesearch.data.labels import FILE, LABEL, PART, column, labelled, needed, parts_of, plain
from scalesearch.data.layout import spelled
from scalesearch.data.listing import Identity, ImageFile, Reason, count_endings, examples, identity_of, not_read
from scalesearch.data.places import digests_file
from scalesearch.data.source import PARTS, Source, median_short_side, sampled
from scalesearch.errors import UserError
from scalesearch.files import read_bytes
from scalesearch.units import counted

CSV_ENDINGS = (".csv", ".tsv")
_SEPARATORS = ",;\t|"
_BOMS = {b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}
_WHAT = "a table of images and labels"


@dataclass(frozen=True, slots=True)
class Entry:
    """An image as a table names it: the ``line`` it stands in, its file, label and part."""

    line: int
    file: str
    label: str
    part: str


@dataclass(frozen=True, slots=True)
class _Named:
    """An entry and its file: the real path, and what ``identity_of`` says of it."""

    entry: Entry
    path: str
    identity: Identity


def csv_source(path: Path) -> Source:
    """The images that a CSV names. Its columns are known by their names (``labels.FILE``, ``LABEL``, ``PART``).

    Files are found from the CSV's folder, unless they are absolute; links are followed, since somebody wrote each of
    them down. Images are ordered as in class folders, whatever the order of lines, so both are split alike.

    Raises:
        UserError: a table that cannot be read or understood; files that are missing, no images, or named with two
            labels; what ``labels.labelled`` refuses.
    """
    return listed_source(path, csv_entries(path))


def listed_source(path: Path, entries: Sequence[Entry]) -> Source:
    """The images of a table's entries (see ``csv_source``)."""
    where, folder = str(path), os.path.dirname(os.path.realpath(path))
    if not entries:
        raise UserError(where, "the table has no line below its header.", do="Add a line for each image.")
    files = _found(where, folder, entries)
    kept, doubled = _distinct(where, files)
    parts = [""] * len(kept)
    if any(one.entry.part for one in kept):
        parts = list(parts_of(where, [one.entry.part for one in kept], lambda i: _line(kept[i].entry)))
    ordered = sorted(zip(parts, kept, strict=True), key=lambda pair: _order(*pair))
    parts, kept = [part for part, _ in ordered], [one for _, one in ordered]
    known = labelled(where, [one.entry.label for one in kept], parts, lambda i: _line(kept[i].entry))
    root = os.path.commonpath({os.path.dirname(one.path) for one in kept})
    images = [ImageFile(os.path.relpath(one.path, root), one.identity) for one in kept]
    held = contents(root, images, digests_file(), whole=False)
    reader = FolderReader(root, tuple(one.path for one in images), held.sha256, held.identities)
    digest = hashlib.sha256()
    for part, label, content in zip(parts, known.labels.tolist(), held.sha256, strict=True):
        digest.update(f"{part}\t{known.classes[label]}\n".encode("utf-8", "surrogateescape") + content)
    return Source(
        name=f"{os.path.basename(folder)}-{path.stem}",
        classes=known.classes,
        labels=known.labels,
        parts=tuple(parts),
        reader=reader,
        digest=digest.hexdigest()[:12],
        flip=True,
        native_px=median_short_side(reader, len(kept)),
        notes=(
            *known.notes,
            *_places(folder, kept, doubled),
            *depth_notes(deep_bits(reader.describe(i)) for i in sampled(len(kept))),
        ),
    )


def csv_entries(path: Path) -> list[Entry]:
    """The lines of a CSV, whose separator and encoding are found out. Raises UserError for what is no such table."""
    where = str(path)
    lines = _lines(where, _text(path))
    _, header = next(lines, (1, []))
    file, label = header.index(needed(where, header, FILE)), header.index(needed(where, header, LABEL))
    part = column(where, header, PART)
    entries = []
    for number, cells in lines:
        if len(cells) != len(header):
            problem = f"line {number} has {counted(len(cells), 'cell')}, the header {len(header)}."
            raise UserError(where, problem, do="Put text that holds the separator in double quotes.")
        entries.append(Entry(number, cells[file], cells[label], "" if part is None else cells[header.index(part)]))
    return entries


def csv_values(path: Path, name: str) -> dict[str, str] | None:
    """A column of a CSV by the real path of each file; None where it has no such column."""
    where, folder = str(path), os.path.dirname(os.path.realpath(path))
    lines = _lines(where, _text(path))
    _, header = next(lines, (1, []))
    if name not in header:
        return None
    file, value = header.index(needed(where, header, FILE)), header.index(name)
    return {os.path.realpath(os.path.join(folder, cells[file])): cells[value] for _, cells in lines}


def _text(path: Path) -> str:
    content = read_bytes(path, _WHAT)
    try:
        return content.decode(_BOMS.get(content[:2], "utf-8-sig"))
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise UserError(str(path), f"line {line} is not in UTF-8.", do="Save the table as CSV in UTF-8.") from None


def _lines(where: str, text: str) -> Iterator[tuple[int, list[str]]]:
    """(number, cells) of each line that is not empty."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=_separator(text), strict=True)
    try:
        for cells in reader:
            stripped = [cell.strip() for cell in cells]
            if any(stripped):
                yield reader.line_num, stripped
    except csv.Error as error:
        raise UserError(where, f"line {reader.line_num} is no line of a CSV ({error}).") from None


def _separator(text: str) -> str:
    """The one by which most of the columns that are looked for come out of the first line; then, most cells."""
    first = text.lstrip("\r\n").split("\n", 1)[0]

    def worth(separator: str) -> tuple[int, int]:
        cells = [plain(cell.strip().strip('"')) for cell in first.split(separator)]
        return len({kind for kind in (FILE, LABEL, PART) for cell in cells if cell in kind.names}), len(cells)

    return max(_SEPARATORS, key=worth)


def _line(entry: Entry) -> str:
    return f"line {entry.line}"


def _order(part: str, one: _Named) -> tuple[int, str, list[str]]:
    """Of class folders: by parts, classes and names."""
    return PARTS.index(part), spelled(one.entry.label), one.path.split(os.sep)


def _found(where: str, folder: str, entries: Sequence[Entry]) -> list[_Named]:
    """Each entry with its file. Raises UserError for those that are missing, or no images."""
    found, missing, other, foreign = [], [], [], []
    real: dict[str, str] = {}  # of folders: a set has few, and each is resolved once
    for entry in entries:
        shown = f"{entry.file or 'an empty cell'} in {_line(entry)}"
        try:
            path = _resolved(folder, entry.file, real)
            status = os.stat(path)
        except (OSError, ValueError):  # a name that no file can have is a ValueError
            missing.append(shown)
            continue
        if not stat.S_ISREG(status.st_mode):
            other.append(shown)
        elif not_read(path):
            foreign.append(entry.file)
        found.append(_Named(entry, path, identity_of(status)))
    if missing:
        do = f"Files are looked for from {folder}, unless they begin with {os.sep}; leave out lines without a file."
        raise UserError(where, f"{_of(missing, entries)} name no file that is there ({examples(missing)}).", do=do)
    if other:
        raise UserError(where, f"{_of(other, entries)} name a folder, pipe or device ({examples(other)}).")
    if foreign:
        heic = any(not_read(one.path) is Reason.FORMAT for one in found)
        problem = f"{_of(foreign, entries)} name no image that is read here ({count_endings(foreign)}): "
        do = "Convert them to JPEG or PNG, or leave the lines out." if heic else "Leave the lines out."
        raise UserError(where, f"{problem}{examples(foreign)}.", do=do)
    return found


def _of(some: Sequence[str], entries: Sequence[Entry]) -> str:
    return f"{len(some)} of {counted(len(entries), 'line')}"


def _resolved(folder: str, written: str, real: dict[str, str]) -> str:
    """The real path of a file; tables made on Windows write \\ between folders."""
    path = os.path.join(folder, written)
    if "\\" in written and not os.path.lexists(path):
        path = os.path.join(folder, written.replace("\\", "/"))
    head, tail = os.path.split(path)
    if head not in real:
        real[head] = os.path.realpath(head)
    whole = os.path.join(real[head], tail)
    return os.path.realpath(whole) if os.path.islink(whole) else whole


def _distinct(where: str, files: Sequence[_Named]) -> tuple[list[_Named], int]:
    """Each file once, and how many lines name one again. Raises UserError for two labels or parts of one file."""
    first: dict[str, _Named] = {}
    for one in files:
        known = first.setdefault(one.path, one).entry
        for what, ours, theirs in (
            ("label", spelled(one.entry.label), spelled(known.label)), ("part", one.entry.part, known.part)
        ):  # fmt: skip
            if ours != theirs:
                two = f"'{theirs}' in line {known.line}, '{ours}' in line {one.entry.line}"
                raise UserError(where, f"{one.entry.file} has two {what}s: {two}.", do="Keep one of the lines.")
    return list(first.values()), len(files) - len(first)


def _places(folder: str, files: Sequence[_Named], doubled: int) -> Iterator[str]:
    """Which files lie elsewhere, and how many lines say nothing new."""
    outside = [one.path for one in files if not one.path.startswith(folder.rstrip(os.sep) + os.sep)]
    if outside:
        place = os.path.commonpath({os.path.dirname(path) for path in outside})
        yield f"{counted(len(outside), 'image')} lie outside of {folder}, in or below {place}"
    if doubled:
        yield f"{counted(doubled, 'line')} name a file that an earlier line names; each is taken once"
