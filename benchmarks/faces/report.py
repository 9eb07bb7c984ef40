"""report.md and figures from the results of run.py.

python benchmarks/faces/report.py reports/faces/results.jsonl
"""

import argparse
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from scalesearch.files import write_bytes, write_text
from scalesearch.reports.face_figures import distance_figure, open_set_figure, roc_figure
from scalesearch.reports.figures.canvas import BLUE, GREY, RED, WIDTH_INCHES
from scalesearch.reports.figures.formats import rendered

Row = dict[str, Any]
NAMES = {
    "eigenfaces": "eigenfaces", "imagenet": "ImageNet features", "softmax": "softmax of the members",
    "softmax_features": "softmax features", "discriminant": "discriminant start (before)", "triplet": "triplet (after)",
    "triplet_members": "triplet on the members", "arcface_members": "ArcFace on the members",
    "face": "face body, frozen", "face_triplet_members": "face body, triplet on the members",
    "face_arcface_members": "face body, ArcFace on the members",
    "face_triplet_all": "face body, triplet on 303 others and the members",
    "face_arcface_all": "face body, ArcFace on 303 others and the members", "face_photos": "face body, uncut photos",
}  # fmt: skip
DRAWN = ("eigenfaces", "imagenet", "softmax_features", "triplet", "face", "face_photos")


def of(rows: Sequence[Row], arm: str) -> list[Row]:
    return sorted((row for row in rows if row["arm"] == arm and "done" not in row), key=lambda row: row["seed"])


def cell(rows: Sequence[Row], value: Callable[[Row], float | None], scale: str = ".1%") -> str:
    """Mean over seeds, and their standard deviation where they differ."""
    numbers = [one for one in map(value, rows) if one is not None]
    if not numbers:
        return "–"
    middle = format(float(np.mean(numbers)), scale)
    spread = float(np.std(numbers, ddof=1)) if len(numbers) > 1 else 0.0
    return middle if spread < 1e-9 else f"{middle} ± {format(spread, scale)}"


def tar(row: Row, which: str, far: str) -> float:
    return float(row[which]["tar"][far]["tar"])


def interval(rows: Sequence[Row], which: str, far: str) -> str:
    """Of the first seed, people resampled."""
    if not rows:
        return "–"
    low, high = rows[0][which]["tar"][far]["interval"]
    return f"[{low:.1%}, {high:.1%}]"


def table(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    rows = ["| " + " | ".join(head) + " |", "|---|" + "--:|" * (len(head) - 1)]
    return "\n".join([*rows, *("| " + " | ".join(line) + " |" for line in lines)])


def verification_table(rows: Sequence[Row]) -> str:
    lines = []
    for arm, name in NAMES.items():
        own = of(rows, arm)
        if own and "pairs" in own[0]:
            lines.append([
                name, str(len(own)), cell(own, lambda row: row["pairs"]["accuracy"]),
                cell(own, lambda row: row["pairs"]["auc"], ".3f"), cell(own, lambda row: tar(row, "pairs", "0.01")),
                interval(own, "pairs", "0.01"), cell(own, lambda row: row["all_pairs"]["auc"], ".3f"),
                cell(own, lambda row: tar(row, "all_pairs", "0.01")),
                cell(own, lambda row: tar(row, "all_pairs", "0.001")), interval(own, "all_pairs", "0.001"),
            ])  # fmt: skip
    return table(
        ("arm", "seeds", "accuracy, 10 folds", "AUC", "TAR@FAR 1e-2", "95 %", "all pairs: AUC", "TAR@FAR 1e-2",
         "TAR@FAR 1e-3", "95 %"), lines,
    )  # fmt: skip


def open_table(rows: Sequence[Row]) -> str:
    lines = []
    for arm, name in NAMES.items():
        if own := of(rows, arm):
            lines.append([
                name, str(len(own)), cell(own, lambda row: row["open_set"]["rank1"]),
                cell(own, lambda row: row["open_set"]["tpir_at"]["0.01"]["tpir"]),
                cell(own, lambda row: row["open_set"]["tpir_at"]["0.1"]["tpir"]),
                cell(own, lambda row: row["open_set"]["fpir"]), cell(own, lambda row: row["open_set"]["tpir"]),
                people_interval_text(own[0]["open_set"].get("tpir_interval")),
            ])  # fmt: skip
    head = ("arm", "seeds", "rank-1", "TPIR@FPIR 1 %", "TPIR@FPIR 10 %", "FPIR achieved (1 % asked)", "TPIR there",
            "95 %")  # fmt: skip
    return table(head, lines)


def people_interval_text(interval: Sequence[float] | None) -> str:
    """Of the first seed, people resampled."""
    return "–" if interval is None else f"[{interval[0]:.1%}, {interval[1]:.1%}]"


def figures(rows: Sequence[Row]) -> dict[str, Figure]:
    first = {NAMES[arm]: own[0] for arm in DRAWN if (own := of(rows, arm)) and "curves" in own[0]}
    drawn = {
        "roc": roc_figure({name: row["curves"]["roc"] for name, row in first.items()}),
        "open_set": open_set_figure({name: row["curves"]["open_set"] for name, row in first.items()}),
        "distances": distance_figure({
            name: row["curves"]["distances"] for name, row in first.items() if name != NAMES["softmax_features"]
        }),
    }  # fmt: skip
    if covered := [row["coverage"] for row in rows if "coverage" in row and row["arm"] == "face_photos"]:
        drawn["coverage"] = coverage_figure(covered[0])
    return drawn


def coverage_figure(rows: Sequence[Mapping[str, Any]]) -> Figure:
    """Rates achieved on unseen strangers beside the printed interval, one repeated split after another.

    Args:
        rows: each {"fpir": asked for, "low", "high": predicted, "achieved": measured}; a panel for each rate.
    """
    asked = sorted({float(row["fpir"]) for row in rows})
    figure = Figure(figsize=(WIDTH_INCHES, 1.0 + 2.0 * len(asked)), layout="constrained")
    panels = figure.subplots(len(asked), 1, squeeze=False)[:, 0]
    for axes, rate in zip(panels, asked, strict=True):
        own = sorted((row for row in rows if float(row["fpir"]) == rate), key=lambda row: float(row["achieved"]))
        places = range(len(own))
        inside = [row["low"] <= row["achieved"] <= row["high"] for row in own]
        axes.vlines(
            places, [row["low"] for row in own], [row["high"] for row in own], color=GREY, alpha=0.35, linewidth=1.2,
            label="95 % interval predicted",
        )  # fmt: skip
        for kind, colour, marker, name in (
            (True, BLUE, ".", "achieved, inside"),
            (False, RED, "x", "achieved, outside"),
        ):
            points = [
                (place, row["achieved"]) for place, row, hit in zip(places, own, inside, strict=True) if hit is kind
            ]
            if points:
                axes.plot(*zip(*points, strict=True), marker, color=colour, markersize=5, linestyle="none", label=name)
        axes.axhline(rate, color="black", linewidth=0.8, linestyle="--", label="asked for")
        axes.set_title(
            f"FPIR {rate:.0%} asked for: {sum(inside)} of {len(own)} inside ({sum(inside) / len(own):.1%})",
            fontsize=10, loc="left",
        )  # fmt: skip
        axes.set_ylabel("FPIR")
        axes.yaxis.set_major_formatter(PercentFormatter(1))
        axes.spines[["top", "right"]].set_visible(False)
    panels[-1].set_xlabel("repeated splits, by the rate achieved on unseen strangers")
    panels[0].legend(fontsize=8, frameon=False, loc="upper left", ncols=2)
    return figure


def gain_table(rows: Sequence[Row]) -> str:
    """Trained less frozen, each division by itself."""
    lines = []
    for arm, name in NAMES.items():
        for row in of(rows, arm):
            if "gain" in row:
                gap = row["gain"]["difference"]
                verdict = "better" if gap["low"] > 0 else "worse" if gap["high"] < 0 else "undecided"
                lines.append([
                    name, str(row["seed"]), f"{row['gain']['first']['value']:.1%}",
                    f"{row['gain']['second']['value']:.1%}", f"{100 * gap['value']:+.1f}",
                    f"{100 * gap['low']:+.1f} to {100 * gap['high']:+.1f}", verdict,
                ])  # fmt: skip
    return table(("arm", "seed", "frozen", "trained", "points", "95 %", "the trained one is"), lines)


def student_table(rows: Sequence[Row]) -> str:
    lines = []
    for row in rows:
        seconds = row["seconds"]
        lines.append([
            "triplet on the people (Lite0)" if row["arm"] == "student_triplet" else "face body, no fit",
            str(row["photos"]), f"{row['recognised']} of {row['asked']} ({row['recognised'] / row['asked']:.1%})",
            f"{row['nearest'] / row['asked']:.1%}",
            f"{row['let_in']} of {row['visitor_faces']} ({row['let_in'] / row['visitor_faces']:.1%})",
            f"{row['low']:.1%}–{row['high']:.1%}", f"{sum(seconds.values()):.0f} s",
        ])  # fmt: skip
    head = (
        "path", "photos enrolled a person", "recognised", "right person nearest", "strangers let in",
        "promised (95 %)", "fit, enroll and identify",
    )  # fmt: skip
    return table(head, lines) if lines else "Not measured yet."


def threshold_text(rows: Sequence[Row]) -> str:
    covered = [row for row in rows if "coverage" in row]
    if not covered:
        return "Not measured yet."
    lines = []
    cases = [(one, rate) for one in covered for rate in sorted({split["fpir"] for split in one["coverage"]})]
    for row, rate in cases:
        own = [one for one in row["coverage"] if one["fpir"] == rate]
        inside = np.mean([one["low"] <= one["achieved"] <= one["high"] for one in own])
        members = next(one for one in row["members_as_strangers"] if one["fpir"] == rate)
        lines.append([
            NAMES[row["arm"]], f"{rate:.0%}", str(len(own)), f"{inside:.1%}",
            f"{np.mean([one['achieved'] for one in own]):.2%}",
            f"{np.mean([one['low'] for one in own]):.1%}–{np.mean([one['high'] for one in own]):.1%}",
            f"{members['achieved']:.1%} ({members['low']:.1%}–{members['high']:.1%})",
        ])  # fmt: skip
    return table(
        ("arm", "FPIR asked", "splits", "achieved lies in the interval", "achieved, mean", "interval, mean",
         "without strangers: achieved (promised)"), lines,
    )  # fmt: skip


def search_text(rows: Sequence[Row]) -> str:
    times = [row["ms"] for row in rows if row["arm"] == "search"]
    if not times:
        return "Not measured yet."
    low, middle, high = np.quantile(times[0], (0.05, 0.5, 0.95))
    return f"{middle:.1f} ms (5 % to 95 %: {low:.1f} to {high:.1f} ms, one thread)"


def report(rows: Sequence[Row], students: Sequence[Row]) -> str:
    seconds = [row["training"]["train_cpu_seconds"] for row in of(rows, "triplet")]
    trained = f"{np.mean(seconds):.0f} s of one core's time" if seconds else "not measured"
    return f"""# Faces, measured

`lfw_faces`: 303 people (2966 photos) to train on, 120 others (1236 photos, 3000 listed pairs) as members, 400 others
(629 photos) as strangers; nobody is in two of the three. 112 × 112 px crops; the face body is given the faces that the
detector finds on them, turned and cut by five points (one photo of 1236 has none). "Uncut photos" are the same photos
at 250 × 250 px (`lfw_photos`), some with other people in the background. ImageNet body: EfficientNet-Lite0 (SAME
padding). Made by

```
python -m benchmarks.faces --data data
```

A seed decides the training and the division of the protocol (which photos are enrolled, which strangers fit the
threshold and which judge it); ± is the standard deviation between seeds; brackets are 95 % intervals of seed 0, people
resampled. The settings of the triplet arm were chosen on 60 of the training people, held out. The face body's author
says that LFW's identities were left out of its training.

## What a group gets

20 people, with so many photos of each to enrol; up to 16 other photos of each are asked about, and all faces on the
photos of 200 visitors. The threshold is fitted for 1 % on 200 other strangers. No training, everything by its defaults.

{student_table(students)}

## Verification

{verification_table(rows)}

![ROC](roc.png)

![Distances](distances.png)

## Identification

{open_table(rows)}

Half of each member's photos are enrolled. TPIR@FPIR takes the threshold at which just that share of the strangers
judged gets in; the last two columns take the one fitted on *other* strangers, for 1 %.

![Among strangers](open_set.png)

- **eigenfaces**: grey pixels on the 128 main axes of the training faces, compared by angle.
- **ImageNet features**: pooled features of the body as it is.
- **softmax of the members**: a classifier trained on the enrolled photos (same blocks and augmentation, 16 epochs), its
  largest probability against a threshold. **softmax features**: pooled features of a classifier of the 303 training
  people (8 epochs).
- **triplet / ArcFace on the members**: embeddings trained on the enrolled photos alone (24 epochs), as `faces fit` and
  `faces enroll` on one folder do.
- **before**: the embedding layer at its closed-form start, the body as it is. **after**: triplet loss (margin 0.2, all
  triplets), 16 × 4 batches, 8 epochs, last 6 blocks and embedding trained: {trained}.
- **face body**: dlib's ResNet-29 as `faces enroll` uses it; trained: its last layer (24 epochs on members,
  8 on all).

## Does training the face body help?

TPIR at FPIR 1 %, the trained last layer against the frozen one on the same division, members and strangers resampled
together:

{gain_table(rows)}

## The threshold and its interval

The strangers are divided in two by person, again and again; on one half the threshold is fitted and the interval
predicted for as many photos as the other half has, on the other half the rate is counted.

{threshold_text(rows)}

![Coverage](coverage.png)

## Search

One face among 100 000 embeddings of 10 000 people: {search_text(rows)}.
"""


def read_rows(path: Path) -> list[Row]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("results", type=Path)
    given = parser.parse_args()
    rows, folder = read_rows(given.results), given.results.parent
    write_text(folder / "report.md", report(rows, read_rows(folder / "student.jsonl")))
    for name, figure in figures(rows).items():
        for kind in ("png", "svg"):
            write_bytes(folder / f"{name}.{kind}", rendered(figure, kind))


if __name__ == "__main__":
    main()
