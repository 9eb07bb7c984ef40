"""The columns of a row of results, for those that read rows from files: what each must hold."""

import math
import re
from dataclasses import dataclass
from typing import Any

Row = dict[str, Any]
Key = tuple[int, int, int]  # (candidate, seed, epochs); candidate −1 is the baseline


@dataclass(frozen=True)
class Finished:
    """A training that is over: its row, and its predictions as the bytes of an ``.npz``, empty for a failed one."""

    row: Row
    predictions: bytes


def key(row: Row) -> Key:
    """What a row is of."""
    return (row["candidate"], row["seed"], row["epochs"])


NUMBER = (int, float)
COLUMNS: dict[str, tuple[type, ...]] = {
    "candidate": (int,), "role": (str,), "control": (str,), "name": (str,), "digest": (str,), "alpha": NUMBER,
    "beta": NUMBER, "gamma": NUMBER, "triples": (str,), "nominal_ratio": NUMBER, "real_ratio": NUMBER, "macs": (int,),
    "fvcore_total": (int,), "params": (int,), "activations": (int,), "resolution": (int,), "blocks": (int,),
    "seed": (int,), "status": (str,), "reason": (str,), "top1": (*NUMBER, type(None)), "correct": (int,),
    "images": (int,), "score": (*NUMBER, type(None)), "proxy_resolution": (int,), "proxy_macs": (int,),
    "epochs": (int,), "full_epochs": (int,), "train_loss": (*NUMBER, type(None)), "seconds": NUMBER, "note": (str,),
}  # fmt: skip
LARGEST = 2**53  # what every reader of JSON takes exactly
_NAME = re.compile(r"[\w-]{1,40}")  # it names files


def oddity(row: Any) -> str:
    """What is wrong with a row, such as "seed: a str"; empty where nothing is."""
    if not isinstance(row, dict):
        return f"a {type(row).__name__} instead of a row"
    for name, kinds in COLUMNS.items():
        value = row.get(name)
        if name not in row or isinstance(value, bool) or not isinstance(value, kinds):
            return f"{name}: {type(value).__name__ if name in row else 'missing'}"
        if isinstance(value, NUMBER) and not -2 < value < LARGEST:
            return f"{name}: {value:.6g}" if math.isfinite(value) else f"{name}: {value}"
    if row["status"] not in ("done", "failed") or row["role"] not in ("baseline", "candidate"):
        return f"status {row['status']!r:.30}, role {row['role']!r:.30}"
    if (row["top1"] is None or row["score"] is None) != (row["status"] == "failed"):
        return f"a {row['status']} training with accuracy {row['top1']}"
    if row["status"] == "done" and not 0 <= row["correct"] <= row["images"] > 0:
        return f"{row['correct']} of {row['images']} images right"
    if row["macs"] < 1 or row["params"] < 1:
        return f"{row['macs']} multiply-adds, {row['params']} parameters"
    return "" if _NAME.fullmatch(row["name"]) else f"name {row['name']!r:.40}"
