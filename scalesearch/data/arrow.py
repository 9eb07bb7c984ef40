"""Parquet and Arrow files: sets of images as Hugging Face's ``datasets`` keeps them, and tables of files and labels."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from scalesearch.data.file_list import Entry
from scalesearch.data.labels import FILE, LABEL, PART, column, needed
from scalesearch.data.packed import Item
from scalesearch.errors import UserError

EXTRA = "pip install 'scalesearch[parquet]'"
_ROWS = 64  # decoded at a time


@dataclass(frozen=True)
class _Columns:
    """Columns of images, labels and parts; ``names``: of classes, where labels are their numbers."""

    image: str
    label: str
    part: str | None
    names: tuple[str, ...]


def holds_images(path: Path) -> bool:
    """Whether a Parquet or Arrow file holds images, not their paths. Raises UserError for one that cannot be read."""
    with _Opened(path) as opened:
        return any(_is_image(field.type) for field in opened.schema)


def arrow_items(path: Path) -> Iterator[Item]:
    """The rows of a file, whose columns are known by their types and names (``labels.FILE``, ``LABEL``, ``PART``).

    Raises UserError where it is damaged, or a column is missing or could be one of several.
    """
    with _Opened(path) as opened:
        columns = _columns(str(path), opened.schema)
        row = 0
        for batch in opened.batches([columns.image, columns.label, *([columns.part] if columns.part else [])]):
            labels = _texts(str(path), batch.column(columns.label), columns.names)
            parts = _texts(str(path), batch.column(columns.part)) if columns.part else [""] * len(labels)
            for (name, content), label, part in zip(_images(batch.column(columns.image)), labels, parts, strict=True):
                if content is None:
                    problem = f"row {row} holds no image{f', only the path {name}' if name else ''}."
                    raise UserError(str(path), problem, do="Write the set with the images' bytes in it.")
                yield Item(f"row {row}{f' ({name})' if name else ''}", label, part, *opened.placed(content))
                row += 1


def parquet_entries(path: Path) -> list[Entry]:
    """The lines of a Parquet table of files and labels (as ``file_list.csv_entries``)."""
    where = str(path)
    with _Opened(path) as opened:
        names = opened.schema.names
        file, label = needed(where, names, FILE), needed(where, names, LABEL)
        part, classes = column(where, names, PART), _class_names(opened.schema, label)
        entries: list[Entry] = []
        for batch in opened.batches([one for one in (file, label, part) if one]):
            labels = _texts(where, batch.column(label), classes)
            parts = _texts(where, batch.column(part)) if part else [""] * len(labels)
            lines = zip(_texts(where, batch.column(file)), labels, parts, strict=True)
            entries += [Entry(len(entries) + n, *line) for n, line in enumerate(lines, 1)]
    return entries


class _Opened:
    """A Parquet or Arrow file, in which errors of pyarrow become ours."""

    def __init__(self, path: Path) -> None:
        try:
            import pyarrow.parquet
        except ImportError as error:
            raise UserError(str(path), "Parquet and Arrow files need pyarrow.", do=f"Run {EXTRA}.") from error
        self._arrow, self._path = pyarrow, path
        self._errors = (pyarrow.ArrowException, OSError, ValueError, MemoryError)
        self._file: Any = None
        self._map: Any = None
        self._start = self._end = 0

    def __enter__(self) -> "_Opened":
        try:
            if self._path.suffix.lower() == ".parquet":
                self._file = self._arrow.parquet.ParquetFile(self._path)
                self.schema = self._file.schema_arrow
            else:
                self._open_arrow()
        except self._errors as error:
            self._fail(error)
        return self

    def __exit__(self, kind: object, error: BaseException | None, _: object) -> None:
        for one in (self._file, self._map):
            if one is not None and hasattr(one, "close"):
                one.close()
        if isinstance(error, self._errors):
            self._fail(error)

    def batches(self, names: Sequence[str]) -> Iterator[Any]:
        """Record batches of these columns, whose offsets have been looked at: Arrow's readers trust them."""
        for batch in self._batches(names):
            chosen = batch.select(list(names))
            chosen.validate(full=True)
            yield chosen

    def _batches(self, names: Sequence[str]) -> Iterator[Any]:
        if isinstance(self._file, self._arrow.parquet.ParquetFile):
            yield from self._file.iter_batches(_ROWS, columns=list(names))
        elif hasattr(self._file, "num_record_batches"):
            yield from (self._file.get_batch(i) for i in range(self._file.num_record_batches))
        else:
            yield from self._file

    def placed(self, content: Any) -> tuple[bytes, int | None]:
        """An image's bytes, and where they stand in a file that is read without unpacking anything."""
        offset = content.address - self._start
        inside = self._start <= content.address and content.address + content.size <= self._end
        return content.to_pybytes(), offset if inside else None

    def _open_arrow(self) -> None:
        """Of the format that is read from end to end, as ``datasets`` writes, or of that with an index."""
        self._map = self._arrow.memory_map(str(self._path))
        whole = self._map.read_buffer(self._map.size())
        self._start, self._end = whole.address, whole.address + whole.size
        self._map.seek(0)
        ipc = self._arrow.ipc
        indexed = whole.size > 8 and whole.slice(0, 6).to_pybytes() == b"ARROW1"
        self._file = ipc.open_file(self._map) if indexed else ipc.open_stream(self._map)
        self.schema = self._file.schema

    def _fail(self, error: BaseException) -> None:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        if isinstance(error, MemoryError):
            reason = "it says that it holds more than memory does"
        raise UserError(str(self._path), f"the file cannot be read ({reason}).") from None


def _is_image(kind: Any) -> bool:
    """Bytes, or a struct of bytes and a path, as ``datasets`` keeps images."""
    from pyarrow import types

    if types.is_struct(kind):
        place = kind.get_field_index("bytes")
        return place >= 0 and _is_image(kind.field(place).type)
    return bool(types.is_binary(kind) or types.is_large_binary(kind))


def _columns(where: str, schema: Any) -> _Columns:
    images = [field.name for field in schema if _is_image(field.type)]
    image = images[0] if len(images) == 1 else column(where, images, FILE)
    if image is None:
        there = ", ".join(f"{field.name} ({field.type})" for field in schema)
        raise UserError(where, f"no column is known to hold images; there are {there}.", do="Call it image.")
    others = [name for name in schema.names if name != image]
    label = needed(where, others, LABEL)
    return _Columns(image, label, column(where, others, PART), _class_names(schema, label))


def _class_names(schema: Any, label: str) -> tuple[str, ...]:
    """The names that ``datasets`` writes beside numbers of classes; () for none."""
    try:
        features = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
        names = features[label]["names"]
    except (KeyError, TypeError, ValueError, RecursionError):
        return ()
    return tuple(map(str, names)) if isinstance(names, list) else ()


def _texts(where: str, values: Any, names: Sequence[str] = ()) -> list[str]:
    """A column of words or whole numbers as words; numbers of classes by their names, "" for none, or for −1."""
    texts = []
    for value in values.to_pylist():
        if value is None:
            texts.append("")
        elif isinstance(value, bool) or not isinstance(value, str | int):
            raise UserError(where, f"labels, parts and paths are words or whole numbers, not {values.type}.")
        elif not names or isinstance(value, str):
            texts.append(str(value).strip())
        elif value >= len(names) or value < -1:
            raise UserError(where, f"the label {value} is not the number of one of {len(names)} class names.")
        else:
            texts.append(names[value] if value >= 0 else "")
    return texts


def _images(values: Any) -> Iterator[tuple[str, Any]]:
    """(path or "", buffer of bytes or None) of each row."""
    from pyarrow import types

    paths, contents = [None] * len(values), values
    if types.is_struct(values.type):
        columns = {values.type.field(n).name: one for n, one in enumerate(values.flatten())}  # null where the row is
        paths, contents = columns["path"].to_pylist() if "path" in columns else paths, columns["bytes"]
    _, offsets, data = contents.buffers()
    if not len(contents):
        return
    kind = np.int64 if types.is_large_binary(contents.type) else np.int32
    ends = np.frombuffer(offsets, kind)[contents.offset : contents.offset + len(contents) + 1].tolist()
    valid = contents.is_valid().to_pylist()
    for path, there, start, end in zip(paths, valid, ends[:-1], ends[1:], strict=True):
        yield str(path or ""), data.slice(start, end - start) if there and data is not None else None
