"""Images that belong together, of one person, place or video: drawn at random, parts must not divide them, or a network
is judged on what it has learnt by heart.

How they are grouped is told behind the images' name, ``photos::group-by=PATTERN``, so that whoever opens them later by
what a run or a model noted has the same parts.
"""

import hashlib
import os
import re
from dataclasses import replace
from pathlib import Path

import numpy as np

from scalesearch.data.file_list import CSV_ENDINGS, csv_values
from scalesearch.data.source import Source
from scalesearch.errors import UserError
from scalesearch.units import counted

MARK = "::group-by="
OPTION = "--group-by"


def grouped(data: str | Path, by: str | None) -> str:
    """What is given as --data together with what is given as --group-by; None leaves the former as it is.

    >>> grouped("photos", "(p[0-9]+)_"), grouped("photos", None)
    ('photos::group-by=(p[0-9]+)_', 'photos')
    """
    return str(data) if by is None else f"{parted(str(data))[0]}{MARK}{by}"


def parted(data: str) -> tuple[str, str | None]:
    """The images' name, and how they are grouped.

    >>> parted("photos::group-by=(p[0-9]+)_"), parted("photos")
    (('photos', '(p[0-9]+)_'), ('photos', None))
    """
    name, mark, by = data.partition(MARK)
    return name, by if mark else None


def with_groups(source: Source, name: str, by: str) -> Source:
    """The source with a group for each image, and a digest of its own.

    Args:
        name: of the images, as they were opened.
        by: a column of a CSV of files; or else a pattern that is looked for in each file's path below the folder, where
            what its brackets hold (all that it matches, without any) is the group.

    Raises:
        UserError: no such column and no pattern, a pattern that groups nothing, or images that are no files.
    """
    name = os.path.expanduser(name)
    told = _by_column(source, Path(name), by)
    values = told if told is not None else _by_pattern(source, name, by)
    names, groups = np.unique(np.array(values), return_inverse=True)
    if len(names) == len(source):
        problem = f"'{by}' puts each of the {len(source)} images into a group of its own."
        raise UserError(OPTION, problem, do=f"Look at a path: {source.describe(0)}")
    digest = hashlib.sha256(source.digest.encode() + b"\0" + "\0".join(map(str, values)).encode("utf-8", "replace"))
    return replace(source, groups=groups.astype(np.int64), digest=digest.hexdigest()[:12])


def _by_column(source: Source, path: Path, by: str) -> list[str] | None:
    """None where the images are not those of a table, or it has no such column."""
    if path.suffix.lower() not in CSV_ENDINGS or not path.is_file() or (held := csv_values(path, by)) is None:
        return None
    return [held[os.path.realpath(source.describe(i))] for i in range(len(source))]


def _by_pattern(source: Source, name: str, by: str) -> list[str]:
    try:
        pattern = re.compile(by)
    except re.error as error:
        problem = f"'{by}' is neither a column nor a pattern ({error})."
        raise UserError(OPTION, problem, do=r"Give one such as '(person\d+)_', a Python regular expression.") from None
    if pattern.groups > 1:
        raise UserError(OPTION, f"'{by}' has {pattern.groups} pairs of brackets.", do="Keep those around the group.")
    root, values, missed = os.path.realpath(name), list[str](), list[int]()
    for i in range(len(source)):
        path = source.describe(i)
        below = os.path.relpath(path, root) if path.startswith(root + os.sep) else path
        found = pattern.search(below)
        if found is None:
            missed.append(i)
        else:
            values.append(f"{found[pattern.groups]}")
    if missed:
        where = f"in {counted(len(missed), 'path')} of {len(source)}, such as {source.describe(missed[0])}"
        raise UserError(OPTION, f"'{by}' is not found {where}.", do="Give a pattern that each path has, or a column.")
    return values
