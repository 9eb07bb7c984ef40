"""What the parts of the sheet have in common: what they are asked for, their rows on disk, the tables made of them."""

import json
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from scalesearch.files import write_text

Row = dict[str, Any]
ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Request:
    """What a part is asked for.

    Args:
        device: to compute on, numbered where it is a GPU.
        out: folder of all results.
        ends: ``time.monotonic()`` at which nothing more should be begun.
        tiny: whether the numbers do not matter, only that everything runs.
        data: a folder of images, or what else is opened as data.
    """

    device: torch.device
    out: Path
    ends: float
    tiny: bool
    data: str

    @property
    def left(self) -> float:
        """Seconds."""
        return self.ends - time.monotonic()


def kept_errors(asked: Request, row: Row, rows: Iterable[Row]) -> Iterator[Row]:
    """The rows of one case, each with what the case is; where it fails, a last one that says how, for other cases are
    of use without it. A rehearsal fails."""
    try:
        for values in rows:
            yield row | values
    except Exception as error:
        if asked.tiny:
            raise
        yield row | {"error": f"{type(error).__name__}: {error}"[:300]}


def read_rows(file: Path) -> list[Row]:
    """The rows of a file of JSON lines; a last line that was cut off is left out."""
    lines = file.read_text().split("\n")[:-1] if file.exists() else []
    return [json.loads(line) for line in lines]


def append_rows(file: Path, rows: Iterable[Row]) -> None:
    """Each row written as soon as it is there."""
    with file.open("a") as out:
        for row in rows:
            print(json.dumps(row), flush=True)
            print(json.dumps(row), file=out, flush=True)


def write_tables(out: Path, facts: Mapping[str, Any], parts: Mapping[str, Mapping[str, Any]]) -> None:
    """``results.json`` with everything, and ``table.md`` for the log."""
    write_text(out / "results.json", json.dumps({**facts, "parts": parts}, indent=1))
    text = [f"{facts['hardware']}; {', '.join(f'{k} {v}' for k, v in facts['versions'].items())}", ""]
    for name, part in parts.items():
        text += [f"**({name}) {part['title']}**: {part['status']}, {part['seconds']:.0f} s", ""]
        columns = list(dict.fromkeys(key for row in part["rows"] for key in row))
        if columns:
            text += ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
            text += ["| " + " | ".join(_cell(row.get(column, "")) for column in columns) + " |" for row in part["rows"]]
            text.append("")
        if part["error"]:
            text += ["```", part["error"], "```", ""]
    write_text(out / "table.md", "\n".join(text))


def _cell(value: Any) -> str:
    """Four digits are more than any of these measurements holds."""
    text = f"{value:.4g}" if isinstance(value, float) and abs(value) < 1e4 else str(value)
    return text.replace("|", "/").replace("\n", " ")[:160]
