"""Tar shards as WebDataset writes them: files of one key, one after another, are a sample: an image and its label."""

import itertools
import json
import os
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from scalesearch.data.formats import is_picture, readable_endings
from scalesearch.data.labels import LABEL, column
from scalesearch.data.listing import SYSTEM_NAMES, LeftOut, Reason
from scalesearch.data.packed import Item
from scalesearch.errors import UserError
from scalesearch.files import BoundedFile

COMPRESSED = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ": "xz", b"\x28\xb5\x2f\xfd": "zstd"}
LABELS = (".cls", ".json", ".txt")  # the first that a sample has and that holds a label
LONGEST_LABEL = 1 << 20  # bytes of a file that holds one


def tar_items(path: Path) -> Iterator[Item | LeftOut]:
    """The samples of a shard. Nothing of it is unpacked or unpickled.

    Raises UserError where it is compressed, damaged or cut off, or a sample has two images.
    """
    where = str(path)
    with BoundedFile(path) as file:
        _refuse_compressed(where, file)
        try:
            with tarfile.open(fileobj=file, mode="r:") as tar:
                members = _members(where, tar)
                for _, sample in itertools.groupby(members, key=lambda one: one[1]):
                    yield from _sample(where, [(ending, member) for member, _, ending in sample], file.fileno())
                _require_end(where, tar, file)
        except UserError:
            raise
        except Exception as error:  # tarfile raises nearly anything on broken bytes
            raise UserError(where, f"the tar file is damaged ({error or type(error).__name__}).") from None


_Member = tuple[tarfile.TarInfo, str, str]
_HIDDEN = "hidden"  # in the place of an ending, which begins with a dot


def _members(where: str, tar: tarfile.TarFile) -> Iterator[_Member]:
    """Each file in the archive with its key and its ending in lower case."""
    last = -1
    for member in tar:
        if member.offset_data <= last or member.size < 0:  # else a damaged header leads round in a circle
            raise UserError(where, f"the tar file is damaged (at {member.name}).")
        last = member.offset_data
        if not member.isreg():
            continue
        if member.issparse():
            raise UserError(where, f"{member.name} is stored with holes.", do="Pack it without --sparse.")
        folder, name = os.path.split(member.name)
        hidden = any(one.startswith(".") and one != "." for one in member.name.split("/"))
        if hidden or any(one.lower() in SYSTEM_NAMES for one in member.name.split("/")):
            yield member, member.name, _HIDDEN
            continue
        stem, dot, rest = name.partition(".")
        yield member, os.path.join(folder, stem), (dot + rest).lower()


def _sample(where: str, files: Sequence[tuple[str, tarfile.TarInfo]], handle: int) -> Iterator[Item | LeftOut]:
    """A sample's image and label; what else there is, as left out."""
    images = [one for ending, one in files if _last(ending) in readable_endings()]
    if len(images) > 1:
        names = " and ".join(one.name for one in images[:2])
        raise UserError(where, f"a sample has two images ({names}).", do="Keep one image of each key.")
    labels = {ending: one for ending, one in reversed(files) if images and ending in LABELS}
    for ending, one in files:
        if ending == _HIDDEN:
            yield LeftOut(one.name, Reason.HIDDEN)
        elif one not in images and ending not in labels:
            yield LeftOut(one.name, Reason.FORMAT if is_picture(_last(ending)) else Reason.ENDING)
    for one in images:
        label = next(filter(None, (_label(where, labels[end], end, handle) for end in LABELS if end in labels)), "")
        yield Item(one.name, label, "", _read(where, one, handle), one.offset_data)


def _last(ending: str) -> str:
    """Of ".seg.png" the last part."""
    return f".{ending.rpartition('.')[2]}"


def _label(where: str, member: tarfile.TarInfo, ending: str, handle: int) -> str:
    """What a file says of a sample's class; "" for nothing."""
    if member.size > LONGEST_LABEL:
        raise UserError(where, f"{member.name} is too long for a label ({member.size} bytes).")
    try:
        text = _read(where, member, handle).decode("utf-8-sig").strip()
        value = json.loads(text) if ending == ".json" else text
    except (ValueError, RecursionError):
        raise UserError(where, f"{member.name} is not {'JSON' if ending == '.json' else 'text'} in UTF-8.") from None
    if isinstance(value, dict):
        plain = {key: one for key, one in value.items() if isinstance(one, str | int) and not isinstance(one, bool)}
        named = column(f"{where}: {member.name}", plain, LABEL)
        value = "" if named is None else plain[named]
    if ending == ".txt" and "\n" in text:
        raise UserError(where, f"{member.name} holds several lines, no label.", do="Give each sample a .cls file.")
    return str(value).strip() if isinstance(value, str | int) and not isinstance(value, bool) else ""


def _read(where: str, member: tarfile.TarInfo, handle: int) -> bytes:
    if member.offset_data + member.size > os.fstat(handle).st_size:
        raise UserError(where, f"the tar file is cut off (in {member.name}).")
    return os.pread(handle, member.size, member.offset_data)


def _refuse_compressed(where: str, file: BoundedFile) -> None:
    start = file.read(8)
    file.seek(0)
    for magic, kind in COMPRESSED.items():
        if start.startswith(magic):
            problem = f"it is compressed ({kind}), so no image in it can be read by place."
            raise UserError(where, problem, do="Uncompress it: images hardly take more room without.")


def _require_end(where: str, tar: tarfile.TarFile, file: BoundedFile) -> None:
    """tarfile takes a damaged header, or the end of what was cut off, for the end of the archive."""
    file.seek(tar.offset)
    block = file.read(tarfile.BLOCKSIZE)
    if len(block) < tarfile.BLOCKSIZE:
        raise UserError(where, "the tar file is cut off: its end mark is missing.", do="Copy or make it again.")
    if any(block):
        raise UserError(where, f"the tar file is damaged (at byte {tar.offset}).", do="Copy or make it again.")
    while block := file.read(1 << 20):
        if any(block):
            do = "Join tar files by tar --concatenate, or give each by itself."
            raise UserError(where, "more follows after the end mark of the tar file.", do=do)
