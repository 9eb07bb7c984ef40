"""Columns, labels and parts as tables spell them: what a CSV, Parquet, Arrow or tar file says of its images. Pure."""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from scalesearch.data.layout import part_of, require_trained, spelled, spelling_notes
from scalesearch.data.listing import examples
from scalesearch.data.source import IntArray
from scalesearch.errors import UserError
from scalesearch.units import counted


@dataclass(frozen=True)
class Column:
    """A column that is looked for.

    Args:
        what: it holds, for messages.
        usual: names that are suggested.
        names: all that are known, in lower case and without separators.
    """

    what: str
    usual: str
    names: frozenset[str]


FILE = Column(
    "the image's file", "path, file, file_name or image",
    frozenset({
        "path", "paths", "file", "files", "filename", "filenames", "filepath", "filepaths", "image", "images", "img",
        "imagepath", "imagefile", "imagefilename", "imagename", "imgpath", "imgfile", "imgname", "imgfilename", "photo",
        "picture",
    }),
)  # fmt: skip
LABEL = Column(
    "the label", "label, class, category or target",
    frozenset({
        "label", "labels", "class", "classes", "classname", "classlabel", "category", "categoryname", "target",
        "targets", "labelname",
    }),
)  # fmt: skip
PART = Column("the part", "split", frozenset({"split", "splits", "part", "subset", "set", "partition"}))


def plain(name: str) -> str:
    """A column's name as ``Column.names`` holds them.

    >>> plain(" File_Name"), plain("Class-Label")
    ('filename', 'classlabel')
    """
    return re.sub(r"[-_ .]", "", name).lower()


def column(where: str, names: Iterable[str], wanted: Column) -> str | None:
    """The one of ``names`` that is ``wanted``; None where there is none. Raises UserError where there are several."""
    found = [name for name in names if plain(name) in wanted.names]
    if len(found) > 1:
        listed = " and ".join(f"'{name}'" for name in found)
        raise UserError(where, f"{listed} could each hold {wanted.what}.", do="Keep one of them, or rename the others.")
    return found[0] if found else None


def needed(where: str, names: Sequence[str], wanted: Column) -> str:
    """As ``column``. Raises UserError where there is none, with what there is."""
    found = column(where, names, wanted)
    if found is None:
        there = ", ".join(f"'{name}'" for name in names) or "none"
        problem = f"no column is known to hold {wanted.what}; there are {there}."
        raise UserError(where, problem, do=f"Call it {wanted.usual}, in the first line of the table.")
    return found


@dataclass(frozen=True, eq=False)
class Labelled:
    """``labels``: int64 (images,), positions in ``classes``, which are sorted; ``notes`` as of a source."""

    classes: tuple[str, ...]
    labels: IntArray
    notes: tuple[str, ...]


def labelled(where: str, labels: Sequence[str], parts: Sequence[str], name: Callable[[int], str]) -> Labelled:
    """Labels as they are written made into classes, by the rules that hold for class folders.

    Args:
        parts: of each image, as of ``source.PARTS``.
        name: of image i, in messages.

    Raises:
        UserError: labels that are missing, fewer than two classes, a class that train has not, parts without train.
    """
    missing = [i for i, label in enumerate(labels) if not label]
    if missing:
        shown = examples([name(i) for i in missing])
        problem = f"{len(missing)} of {counted(len(labels), 'image')} have no label ({shown})."
        raise UserError(where, problem, do="Give each a label, or leave it out.")
    _require_parts(where, parts, name)
    of_part: dict[str, set[str]] = {}
    for part, label in set(zip(parts, labels, strict=True)):
        of_part.setdefault(part, set()).add(spelled(label))
    trained = of_part["train" if "train" in of_part else ""]
    for part in sorted(of_part):
        require_trained(of_part[part], trained, where, f"in {part}")
    if len(trained) < 2:
        problem = f"there is only one class ('{next(iter(trained))}'); at least two are needed."
        raise UserError(where, problem)
    classes = tuple(sorted(trained))
    number = {name: n for n, name in enumerate(classes)}
    place = {label: number[spelled(label)] for label in set(labels)}
    numbers = np.array([place[label] for label in labels], dtype=np.int64)
    return Labelled(classes, numbers, tuple(spelling_notes(place)))


def parts_of(where: str, values: Sequence[str], name: Callable[[int], str]) -> tuple[str, ...]:
    """The parts that the values of a column stand for. Raises UserError for values that stand for none, and for two
    that stand for one."""
    known = {value: part_of(value) for value in set(values)}
    strange = [i for i, value in enumerate(values) if not known[value]]
    if strange:
        found = examples(sorted({f"'{values[i]}'" for i in strange}))
        problem = f"{counted(len(strange), 'image')} are of no part that is known: {found} ({name(strange[0])})."
        raise UserError(where, problem, do="Write train, val or test, or rename the column if it holds something else.")
    spellings: dict[str, set[str]] = {}
    for value, part in known.items():
        spellings.setdefault(part, set()).add(plain(value))
    twice = [" and ".join(sorted(found)) for found in spellings.values() if len(found) > 1]
    if twice:
        raise UserError(where, f"a part has two names ({twice[0]}).", do="Keep one name for each part.")
    return tuple(known[value] for value in values)


def _require_parts(where: str, parts: Sequence[str], name: Callable[[int], str]) -> None:
    there = set(parts)
    if "" in there and len(there) > 1:
        lacking = [i for i, part in enumerate(parts) if not part]
        shown = examples([name(i) for i in lacking])
        problem = f"{counted(len(lacking), 'image')} are of no part ({shown}), the others are."
        raise UserError(where, problem, do="Name the part of each, or of none.")
    if there not in ({""}, set()) and "train" not in there:
        problem = f"there is {' and '.join(sorted(there))} but no train."
        raise UserError(where, problem, do="Add the images to train on.")
