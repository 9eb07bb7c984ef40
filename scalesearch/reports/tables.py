"""Tables as DataFrames of text, and the one function that prints them, for a console or as markdown."""

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from scalesearch.design.candidates import DroppedTriple
from scalesearch.reports.statistics import failed_trials
from scalesearch.study.intervals import wilson_interval

NUMBER = re.compile(r"[−-]?\d[\d.,]*( ?(%|M|G|k|×))?")
Member = Mapping[str, Any]


def markdown_table(frame: pd.DataFrame) -> str:
    """A markdown table, padded so that it reads as well on a console; columns of numbers stand right."""
    cells = [
        [_cell(name) for name in frame.columns],
        *([_cell(v) for v in row] for row in frame.itertuples(index=False)),
    ]
    columns = list(zip(*cells, strict=True))
    right = [all(NUMBER.fullmatch(text) or text == "" for text in column[1:]) for column in columns]
    widths = [max(3, *(len(text) for text in column)) for column in columns]
    rule = ["-" * (width - 1) + ":" if r else "-" * width for width, r in zip(widths, right, strict=True)]
    lines = [
        [text.rjust(width) if r else text.ljust(width) for text, width, r in zip(row, widths, right, strict=True)]
        for row in (cells[0], rule, *cells[1:])
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(value: object) -> str:
    """One line, with what markdown would read as markup made harmless."""
    return " ".join(str(value).split()).replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;")


def count_text(number: float) -> str:
    """Three digits and a unit: 385 814 752 → ``386 M``, 1 827 141 392 → ``1.83 G``.

    >>> count_text(999_600_000), count_text(5_288_548)
    ('1.00 G', '5.29 M')
    """
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if number >= 0.9995 * size:
            scaled = number / size
            return f"{scaled:.{max(0, 2 - math.floor(math.log10(scaled * 1.0005)))}f} {unit}"
    return f"{number:.0f}"


def percent(share: float, digits: int = 1) -> str:
    """A share as a percentage: 0.6123 → ``61.2 %``; 1259 of 2000 is 63.0 %, whatever 0.6295's last binary digit."""
    return f"{round(100 * share, 9):.{digits}f} %"


def epochs_text(epochs: int) -> str:
    """``1 epoch``, ``18 epochs``."""
    return f"{epochs} epoch" if epochs == 1 else f"{epochs} epochs"


def shortened(text: str, limit: int = 24) -> str:
    """A name that a figure has room for.

    >>> shortened("a-long-name", 6)
    'a-lon…'
    """
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def interval_text(low: float, high: float) -> str:
    """A 95 % interval: ``59.8–62.6 %``."""
    return f"{100 * low:.1f}–{100 * high:.1f} %"


def signed(number: float) -> str:
    """A number with a real minus sign."""
    return f"{number:g}".replace("-", "−")


def plain(text: str) -> str:
    """A name on one line, with nothing that markdown or HTML would read as markup."""
    return " ".join(text.split()).replace("<", "&lt;").replace("[", "\\[").replace("*", "\\*").replace("`", "\\`")


def top_candidates(summary: pd.DataFrame, count: int = 10) -> pd.DataFrame:
    """The candidates trained longest and best, every member of the winner set, and the baseline beneath them.

    Args:
        summary: of ``statistics.summarise``.
        count: how many candidates, besides further members.
    """
    candidates = summary[summary["role"] == "candidate"].reset_index(drop=True)
    candidates = candidates[(candidates.index < count) | candidates["member"]]
    rows = [_candidate_row(str(place), row) for place, row in enumerate(candidates.to_dict("records"), start=1)]
    rows += [_candidate_row("base", row) for row in summary[summary["role"] == "baseline"].to_dict("records")]
    columns = (
        "#", "candidate", "α", "β", "γ", "αβ²γ²", "px", "blocks", "FLOPs", "× base", "params", "accuracy",
        "95 % interval", "epochs", "seeds", "score", "in the set", "control", "all triples α/β/γ",
    )  # fmt: skip
    return pd.DataFrame(rows, columns=list(columns))


def _candidate_row(place: str, row: Mapping[Any, Any]) -> tuple[object, ...]:
    return (
        place, row["name"], *(f"{row[name]:.4g}" for name in ("alpha", "beta", "gamma")),
        f"{row['nominal_ratio']:.2f}", row["resolution"], row["blocks"],
        count_text(row["macs"]), f"{row['real_ratio']:.3f}", count_text(row["params"]), percent(row["accuracy"]),
        interval_text(row["low"], row["high"]), row["epochs"], row["seeds"], f"{row['score']:.4f}",
        "yes" if row["member"] else "", row["control"], row["triples"],
    )  # fmt: skip


def comparison_table(comparisons: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """A row per control: the score's lead as an accuracy part and a cost part (they multiply), and the verdict."""
    rows = [
        (
            f"{item['dimension']} only ({item['control']})", f"{item['epochs']} × {item['seeds']}",
            _share(item["accuracy_part"] + item["cost_part"]), _share(item["accuracy_part"]), _share(item["cost_part"]),
            f"{item['cost_ratio']:.3f}", f"{item['gap']:+.4f}".replace("-", "−"),
            f"{item['low']:+.4f} to {item['high']:+.4f}".replace("-", "−"), item["verdict"],
        )
        for item in comparisons
    ]  # fmt: skip
    columns = (
        "control", "epochs × seeds", "score", "= accuracy", "× FLOPs", "FLOPs ratio", "score lead", "95 % interval",
        "verdict",
    )  # fmt: skip
    return pd.DataFrame(rows, columns=list(columns))


def _share(log_part: float) -> str:
    """A part of a log score as a percentage: 0.0296 → ``+3.0 %``."""
    return f"{100 * math.expm1(log_part):+.1f} %".replace("-", "−")


def family_table(family: Sequence[Member]) -> pd.DataFrame:
    """The members B0…B6; accuracy on the test images stands where a member has one."""
    columns = (
        "name", "φ", "px", "FLOPs", "× b0", "params", "activations", "widths", "depths", "test accuracy",
        "95 % interval", "trained", "weights",
    )  # fmt: skip
    rows = [_family_row(member) for member in family]
    table = pd.DataFrame(rows, columns=list(columns))
    return table if any(_tested(member) for member in family) else table.iloc[:, :9]


def _tested(member: Member) -> bool:
    return bool(member.get("images"))


def _family_row(member: Member) -> tuple[object, ...]:
    tested = ("", "", "", "")
    if _tested(member):
        low, high = wilson_interval(member["correct"], member["images"])
        interval = interval_text(low, high)
        tested = (percent(member["top1"]), interval, member.get("source", ""), member.get("path", ""))
    return (
        member["name"], f"{member['phi']:g}", member["resolution"], count_text(member["macs"]),
        f"{member['ratio']:.2f}", count_text(member["params"]), count_text(member["activations"]),
        " ".join(map(str, member["widths"])), " ".join(map(str, member["depths"])), *tested,
    )  # fmt: skip


def drop_reasons(dropped: Sequence[DroppedTriple]) -> pd.DataFrame:
    """How many triples each reason took, most first, and the real cost ratios among them."""
    groups: dict[str, list[float]] = {}
    for item in dropped:
        groups.setdefault(item.reason, []).append(item.real_ratio)
    rows = [
        (reason, len(ratios), "–".join(dict.fromkeys((f"{min(ratios):.2f}", f"{max(ratios):.2f}"))))
        for reason, ratios in sorted(groups.items(), key=lambda group: (-len(group[1]), group[0]))
    ]
    return pd.DataFrame(rows, columns=["reason", "triples", "real cost, × base"])


def failures(results: pd.DataFrame) -> pd.DataFrame:
    """The trials without a result, and why."""
    failed = failed_trials(results)
    return failed[["name", "role", "seed", "reason"]].reset_index(drop=True)
