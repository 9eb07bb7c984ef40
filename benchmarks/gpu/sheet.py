"""What the parts of the sheet have in common: their settings, their rows on disk, the tables made of them."""

import csv
import json
import os
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

Row = dict[str, Any]


@dataclass(frozen=True)
class Request:
    """What a part is asked for.

    Args:
        device: "cpu" or "cuda".
        out: folder of all results.
        ends: ``time.monotonic()`` at which nothing more should be begun.
        tiny: whether the numbers do not matter, only that everything runs.
        data: a folder of images, or None.
        rows: what an earlier call of a part that can be continued left behind.
    """

    device: str
    out: Path
    ends: float
    tiny: bool = False
    data: str | None = None
    rows: tuple[Row, ...] = ()

    @property
    def left(self) -> float:
        """Seconds."""
        return self.ends - time.monotonic()

    @property
    def place(self) -> torch.device:
        """The device, numbered."""
        return torch.device("cuda:0" if self.device == "cuda" else "cpu")


Measure = Callable[[Request], Iterable[Row]]


def wait(device: torch.device) -> None:
    """Until a GPU has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def read_rows(file: Path) -> list[Row]:
    """The rows of a file of JSON lines; a last line that was cut off is left out."""
    rows = []
    for line in file.read_text().splitlines() if file.exists() else ():
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return rows


def append_rows(file: Path, rows: Iterable[Row]) -> None:
    """Each row written as soon as it is there."""
    with file.open("a") as out:
        for row in rows:
            out.write(json.dumps(row) + "\n")
            out.flush()
            print(json.dumps(row), flush=True)


def write_whole(file: Path, text: str) -> None:
    """So that a reader sees the old text or the new one."""
    unfinished = file.with_suffix(".unfinished")
    unfinished.write_text(text)
    os.replace(unfinished, file)


def write_tables(out: Path, facts: Mapping[str, Any], parts: Mapping[str, Mapping[str, Any]]) -> None:
    """``results.json`` with everything, a CSV for each part, and ``table.md`` for the log."""
    write_whole(out / "results.json", json.dumps({**facts, "parts": parts}, indent=1))
    text = [f"{facts['hardware']}; {', '.join(f'{k} {v}' for k, v in facts['versions'].items())}", ""]
    for name, part in parts.items():
        text += [f"**({name}) {part['title']}**: {part['status']}, {part['seconds']:.0f} s", ""]
        rows = part["rows"]
        if rows:
            columns = list(dict.fromkeys(key for row in rows for key in row))
            with (out / f"{name}.csv").open("w", newline="") as file:
                writer = csv.DictWriter(file, columns)
                writer.writeheader()
                writer.writerows(rows)
            text += ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
            text += ["| " + " | ".join(shown(row.get(column, "")) for column in columns) + " |" for row in rows]
            text.append("")
        if part.get("error"):
            text += ["```", part["error"], "```", ""]
    write_whole(out / "table.md", "\n".join(text))


def shown(value: Any) -> str:
    """A cell: four digits are more than any of these measurements holds."""
    text = f"{value:.4g}" if isinstance(value, float) and abs(value) < 1e4 else str(value)
    return text.replace("|", "/").replace("\n", " ")[:160]
