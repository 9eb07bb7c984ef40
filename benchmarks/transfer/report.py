"""Tables and figures from the results of run.py.

    python benchmarks/transfer/report.py reports/transfer/results.jsonl

Intervals are 95 %, from 4000 draws that resample test images (the same for all arms) and seeds. Seconds are of one
thread with a training beside it, and left out where other programs shared the machine.
"""

import argparse
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator, PercentFormatter

from scalesearch.files import write_bytes, write_text
from scalesearch.reports.figures.canvas import BLUE, GREEN, GREY, ORANGE, PURPLE, WIDTH_INCHES
from scalesearch.reports.figures.formats import rendered
from scalesearch.training.recipe import choose_strategy

DRAWS = 4000
Row = dict[str, Any]
Matrix = np.ndarray[Any, np.dtype[np.float64]]
CLASSES = {"flowers": 5, "cifar10": 10}
STYLES = {
    "head": (BLUE, "o"), "tail": (ORANGE, "s"), "tail, new": (GREEN, "D"), "full": (PURPLE, "^"),
    "gradual": (GREY, "v"), "inherited": (BLUE, "o"), "sliced": (ORANGE, "s"), "scratch": (GREY, "^"),
}  # fmt: skip


def hits(rows: Sequence[Row]) -> Matrix:
    """(seeds, images), 1 where right, seeds in order."""
    ordered = sorted(rows, key=lambda row: row["seed"])
    return np.array([[float(sign) for sign in row["right"]] for row in ordered])


def draws(right: Matrix, seed: int = 0) -> Matrix:
    """Bootstrapped accuracies (DRAWS,): images first, by the same draws for every arm, then seeds."""
    rng = np.random.default_rng(seed)
    images = rng.integers(0, right.shape[1], (DRAWS, right.shape[1]))
    chosen = np.random.default_rng([seed, len(right)]).integers(0, len(right), (DRAWS, len(right)))
    return np.array([right[who][:, where].mean() for who, where in zip(chosen, images, strict=True)])


def shown(values: Matrix, middle: float, sign: str = "") -> str:
    low, high = np.quantile(values, (0.025, 0.975))
    return f"{middle:{sign}.1%} [{low:{sign}.1%}, {high:{sign}.1%}]"


def label(row: Row) -> str:
    return "tail, new" if row["reset"] else str(row["strategy"])


def chosen(rows: Iterable[Row], **wanted: object) -> list[Row]:
    return [row for row in rows if all(row[key] == value for key, value in wanted.items())]


def line(name: str, rows: Sequence[Row], base: Sequence[Row] = ()) -> str:
    right = hits(rows)
    cells = [
        name,
        str(len(rows)),
        shown(draws(right), right.mean()),
        f"{np.median([r['train_seconds'] for r in rows]):.0f}" if all(r.get("timed", True) for r in rows) else "–",
    ]
    if base:
        other = hits(base)
        gap = draws(right) - draws(other)
        cells.append(shown(gap, right.mean() - other.mean(), "+") if base is not rows else "")
    return "| " + " | ".join(cells) + " |"


def table(head: Sequence[str], lines: Iterable[str]) -> str:
    return "\n".join(["| " + " | ".join(head) + " |", "|---" * 2 + "|--:" * (len(head) - 2) + "|", *lines])


def regimes(rows: Sequence[Row], data: str) -> str:
    same = chosen(rows, question="regimes", data=data)
    full = [row for row in same if row["start"] == "inherited" and row["strategy"] == "full"]
    arms = {f"{row['start']}, {label(row)}": [] for row in same}
    for row in same:
        arms[f"{row['start']}, {label(row)}"].append(row)
    return table(
        ("start, strategy", "seeds", "test accuracy", "s a training", "minus inherited, full"),
        [line(name, arm, full) for name, arm in arms.items()],
    )


def members(rows: Sequence[Row], data: str) -> str:
    lines = []
    for phi in sorted({row["phi"] for row in chosen(rows, question="members", data=data)}):
        arms = {
            s: chosen(rows, question="members", data=data, phi=phi, start=s) for s in ("inherited", "sliced", "scratch")
        }
        seeds = set.intersection(*({row["seed"] for row in arm} for arm in arms.values()))
        if not seeds:
            continue
        kept = {name: [row for row in arm if row["seed"] in seeds] for name, arm in arms.items()}
        lines += [line(f"φ {phi:g}, {name}", arm, kept["inherited"]) for name, arm in kept.items()]
    return table(("network, start", "seeds", "test accuracy", "s a training", "minus inherited"), lines)


def share_kept(rows: Sequence[Row], data: str) -> str:
    """(member inherited − member scratch) / (same shape inherited − same shape scratch), all trained in full."""
    same = chosen(rows, question="regimes", data=data, strategy="full")
    top, bottom = (hits([row for row in same if row["start"] == start]) for start in ("inherited", "scratch"))
    lines = []
    for phi in sorted({row["phi"] for row in chosen(rows, question="members", data=data)}):
        arm, own = (
            hits(chosen(rows, question="members", data=data, phi=phi, start=s)) for s in ("inherited", "scratch")
        )
        seeds = min(len(arm), len(own))
        if not seeds:
            continue
        arm, own = arm[:seeds], own[:seeds]
        gap = draws(top) - draws(bottom)
        of_same = (draws(arm) - draws(bottom)) / gap
        of_own = (draws(arm) - draws(own)) / (draws(top) - draws(own))
        middle = (arm.mean() - bottom.mean()) / (top.mean() - bottom.mean())
        own_middle = (arm.mean() - own.mean()) / (top.mean() - own.mean())
        lines.append(f"| φ {phi:g} | {seeds} | {shown(of_same, middle)} | {shown(of_own, own_middle)} |")
    return table(("network", "seeds", "of the same shape's gap", "of its own gap to the same shape's transfer"), lines)


def automatic(rows: Sequence[Row]) -> str:
    """What ``--strategy auto`` chooses against the best of head, tail and full, chosen afterwards."""
    lines = []
    settings = [("regimes", name, 0) for name in dict.fromkeys(row["data"] for row in rows)]
    settings += [("images", rows[0]["data"], each) for each in (5, 20)]
    for question, data, each in settings:
        here = chosen(rows, question=question, data=data, per_class=each, start="inherited")
        images, classes = here[0]["train_images"], CLASSES[data]
        choice = choose_strategy(images, classes, 1.0)
        ours = [row for row in here if row["strategy"] == choice.strategy and row["reset"] == choice.reset_tail]
        arms = {name: [row for row in here if label(row) == name] for name in ("head", "tail", "full")}
        best = max(arms, key=lambda name: hits(arms[name]).mean())
        gap = draws(hits(ours)) - draws(hits(arms[best]))
        middle = hits(ours).mean() - hits(arms[best]).mean()
        what = f"{data}, {images // classes} images a class"
        lines.append(f"| {what} | {label(ours[0])} | {hits(ours).mean():.1%} | {best} | {shown(gap, middle, '+')} |")
    return "\n".join(
        ["| images | auto takes | test accuracy | best of head, tail, full | auto minus that |",
         "|---|---|--:|---|--:|", *lines]
    )  # fmt: skip


def frozen(rows: Sequence[Row], data: str) -> str:
    lines = []
    for strategy in ("head", "tail"):
        for phi in sorted({row["phi"] for row in chosen(rows, question="frozen", data=data)}):
            arms = {
                s: chosen(rows, question="frozen", data=data, phi=phi, start=s, strategy=strategy)
                for s in ("inherited", "sliced")
            }
            if all(arms.values()):
                lines += [line(f"φ {phi:g}, {strategy}, {name}", arm, arms["inherited"]) for name, arm in arms.items()]
    return table(("network, strategy, start", "seeds", "test accuracy", "s a training", "minus inherited"), lines)


def listed(rows: Sequence[Row], question: str, **wanted: object) -> str:
    arms: dict[str, list[Row]] = {}
    for row in chosen(rows, question=question, **wanted):
        each = f"{row['per_class']} images a class, " if row["per_class"] else ""
        rate = {"timm": f", lr {row['lr']:g}", "body": f", body at {row.get('body', 0.3):g}"}.get(question, "")
        arms.setdefault(f"{each}{label(row)}, {row['epochs']} epochs{rate}", []).append(row)
    return table(
        ("strategy", "seeds", "test accuracy", "s a training"), [line(name, arm) for name, arm in arms.items()]
    )


def curve(axes: Axes, name: str, points: Sequence[tuple[float, Sequence[Row]]]) -> None:
    colour, marker = STYLES[name]
    x = [place for place, _ in points]
    middle = [hits(rows).mean() for _, rows in points]
    bounds = [np.quantile(draws(hits(rows)), (0.025, 0.975)) for _, rows in points]
    errors = [[m - low for m, (low, _) in zip(middle, bounds, strict=True)],
              [high - m for m, (_, high) in zip(middle, bounds, strict=True)]]  # fmt: skip
    axes.errorbar(x, middle, errors, color=colour, marker=marker, markersize=5, capsize=2, linewidth=1.2, label=name)


def figure(rows: Sequence[Row], data: str) -> Figure:
    """Left: accuracy against images a class by strategy. Right: against φ by start."""
    drawn = Figure(figsize=(WIDTH_INCHES, 3.6), layout="constrained")
    left, right = drawn.subplots(1, 2, sharey=True)
    everything = chosen(rows, question="regimes", data=data, start="inherited")
    all_each = everything[0]["train_images"] / 5
    for index, name in enumerate(("head", "tail", "tail, new", "full", "gradual")):
        few = [row for row in chosen(rows, question="images", data=data) if label(row) == name]
        points = [(each * 1.03**index, [row for row in few if row["per_class"] == each]) for each in (5, 20)]
        points.append((all_each * 1.03**index, [row for row in everything if label(row) == name]))
        curve(left, name, [(x, arm) for x, arm in points if arm])
    left.set_xscale("log")
    left.xaxis.set_major_locator(FixedLocator([5, 20, all_each]))
    left.xaxis.set_minor_locator(NullLocator())
    left.set_xticklabels(["5", "20", f"all ({all_each:.0f})"])
    left.set_xlabel("training images a class")
    left.set_ylabel(f"test accuracy on {data}")
    for index, name in enumerate(("inherited", "sliced", "scratch")):
        arms = chosen(rows, question="members", data=data, start=name)
        points = [
            (phi + 0.03 * index, [r for r in arms if r["phi"] == phi]) for phi in sorted({r["phi"] for r in arms})
        ]
        if name != "sliced":
            points.append((0.03 * index, chosen(rows, question="regimes", data=data, start=name, strategy="full")))
        curve(right, name, sorted(points, key=lambda point: point[0]))
    right.set_xlabel("φ (0: the network that the weights are of)")
    for axes in (left, right):
        axes.yaxis.set_major_formatter(PercentFormatter(1, 0))
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(fontsize=8)
    return drawn


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("results", type=Path)
    given = parser.parse_args()
    rows = [json.loads(line) for line in given.results.read_text().splitlines()]
    folder, first = given.results.parent, rows[0]["data"]
    names = list(dict.fromkeys(row["data"] for row in rows))
    parts = ["# Transfer learning, measured", __doc__.split("\n\n")[-1].strip(), "![Learning curves](transfer.png)"]
    for name in names:
        parts += [f"## Regimes on {name}, same shape, equal epochs", regimes(rows, name)]
    parts += [f"## Equal time on {first} (that of full)", listed(rows, "equal time")]
    parts += ["## What auto chooses", automatic(rows)]
    for name in names:
        parts += [f"## Found members on {name}, trained in full", members(rows, name), share_kept(rows, name)]
    parts += [f"## Found members on {first}, body frozen or nearly", frozen(rows, first)]
    parts += [f"## Few images on {first}", listed(rows, "images")]
    parts += [f"## timm's network, optimizer and schedule on {first}", listed(rows, "timm")]
    for name in names:
        parts += [f"## The body's learning rate over the head's on {name} (0.3: the table of regimes)"]
        parts += [listed(rows, "body", data=name)]
    write_text(folder / "report.md", "\n\n".join(parts) + "\n")
    drawn = figure(rows, first)
    for kind in ("png", "svg"):
        write_bytes(folder / f"transfer.{kind}", rendered(drawn, kind))  # type: ignore[arg-type]
    print(f"Written: {folder}/report.md")


if __name__ == "__main__":
    main()
