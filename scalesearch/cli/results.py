"""A search's results as a table, with the answer below it."""

from typing import Any

from scalesearch.cli.progress import say
from scalesearch.cli.show import print_table
from scalesearch.cli.units import show_count
from scalesearch.search.found import Found

SHOWN = 8
NEAR_CHANCE = (
    "WARNING: no candidate is clearly above guessing, so this ranking says nothing. Train longer (--epochs), at a "
    "higher resolution (a lower --proxy-divisor), on more images, or search a smaller space (--space mbconv_small)."
)


def print_results(rows: list[dict[str, Any]], found: Found, trained: str) -> None:
    """How each was trained, the best by mean score, how many tie with the winner, and the coefficients."""
    import pandas as pd

    from scalesearch.reports.statistics import near_chance, summarise

    table = summarise(pd.DataFrame(rows))
    candidates, baseline = table[table["role"] == "candidate"], table[table["role"] == "baseline"]
    shown = [*candidates.head(SHOWN).to_dict("records"), *baseline.to_dict("records")]
    say(f"Top-1 on validation images with its 95 % interval, trained {trained}; FLOPs are full-size")
    print_table(
        "Best candidates by score",
        ("name", "α", "β", "γ", "αβ²γ²", "real ×", "FLOPs", "px", "top-1", "interval", "score"),
        [
            [str(r["name"]), f"{r['alpha']:g}", f"{r['beta']:g}", f"{r['gamma']:g}", f"{r['nominal_ratio']:.2f}",
             f"{r['real_ratio']:.2f}", show_count(r["macs"]), str(r["resolution"]), f"{r['accuracy']:.1%}",
             f"{r['low']:.1%}–{r['high']:.1%}", f"{r['score']:.4f}"]
            for r in shown
        ],
    )  # fmt: skip
    failed = sum(row["status"] == "failed" for row in rows)
    if failed:
        say(f"{failed} trials failed; the report gives their reasons.")
    say(f"Recommended: {found.coefficients} ({found.winner}).")
    if near_chance(float(candidates["low"].max()), found.baseline.classes):
        say(NEAR_CHANCE)
    others = int(candidates["tied"].sum()) - 1
    if others > 0:
        say(
            f"{others} other candidates are within one standard error of it: with this many images and seeds the "
            "difference may be chance."
        )
