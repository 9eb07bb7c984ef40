"""Results for a terminal: of a search the winner set, a table, the comparison with the controls; of a verification the
networks at both sizes."""

import math
from collections.abc import Sequence
from typing import Any

from scalesearch.api.verified import reading, tau_text
from scalesearch.cli.shell import print_json, print_table, say
from scalesearch.design.cost import cost
from scalesearch.design.scaling import scale
from scalesearch.running.verify import Network, Verification
from scalesearch.study.answer import Answer
from scalesearch.study.comparison import Comparison
from scalesearch.study.found import Found
from scalesearch.units import show_count

SHOWN = 12
SAME_COST = 0.02
NEAR_CHANCE = (
    "WARNING: no candidate is clearly above guessing, so this ranking says nothing. Train longer (--epochs), at a "
    "higher resolution (a lower --proxy-divisor), on more images, or search a smaller space (--space mbconv_small)."
)
BOUGHT = "bought: as accurate as the control or more, but at more FLOPs, and not by more than such FLOPs should bring"


def print_results(rows: list[dict[str, Any]], found: Found, trained: str, answer: Answer) -> None:
    """The set first, then those trained longest and best, how the lead over the controls comes about, and warnings."""
    import pandas as pd

    from scalesearch.reports.statistics import near_chance, summarise

    members = [standing.name for standing in answer.members]
    table = summarise(pd.DataFrame(rows), members)
    candidates, baseline = table[table["role"] == "candidate"], table[table["role"] == "baseline"]
    status = {standing.name: standing.status for standing in answer.standings}
    shown = [*candidates.head(SHOWN).to_dict("records"), *baseline.to_dict("records")]
    say(f"Top-1 on validation images with its 95 % interval, trained {trained}; FLOPs are full-size")
    print_table(
        "Trained longest and best",
        ("name", "α", "β", "γ", "real ×", "FLOPs", "px", "epochs", "seeds", "top-1", "interval", "score", "status"),
        [
            [str(r["name"]), f"{r['alpha']:.3g}", f"{r['beta']:.3g}", f"{r['gamma']:.3g}", f"{r['real_ratio']:.2f}",
             show_count(r["macs"]), str(r["resolution"]), str(r["epochs"]), str(r["seeds"]), f"{r['accuracy']:.1%}",
             f"{r['low']:.1%}–{r['high']:.1%}", f"{r['score']:.4f}", _status(r, status)]
            for r in shown
        ],
    )  # fmt: skip
    failed = sum(row["status"] == "failed" for row in rows)
    if failed:
        say(f"{failed} trainings failed; the report gives their reasons.")
    for line in _answer_lines(answer):
        say(line)
    say(f"Recommended: {found.coefficients} ({found.winner}): {answer.rule}.")
    raced = next(float(row["real_ratio"]) for row in rows if row["name"] == found.winner)
    b1 = cost(scale(found.baseline, found.coefficients, 1, found.rounding)).macs / cost(found.baseline).macs
    if abs(b1 / raced - 1) > SAME_COST:
        say(
            f"Note: {found.winner} was cut to equal cost, as a control is ({raced:.2f} ×); the family's B1 follows the "
            f"usual rounding and costs {b1:.2f} ×."
        )
    if near_chance(float(candidates["low"].max()), found.baseline.classes):
        say(NEAR_CHANCE)


def _status(row: dict[Any, Any], status: dict[str, str]) -> str:
    words = [status.get(row["name"], str(row["role"]))]
    return ", ".join([*words, f"{row['control']} only"] if row["control"] else words)


def _answer_lines(answer: Answer) -> list[str]:
    """The winner set in words, and the comparisons."""
    undecided = sum(standing.status == "undecided" for standing in answer.members)
    beaten = len(answer.standings) - len(answer.members)
    names = ", ".join(standing.name for standing in answer.members)
    lines = [
        f"Winner set at {answer.level:.0%}: {len(answer.members)} of {len(answer.standings)} candidates cannot be told "
        f"from the best ({names}); {beaten} are beaten."
    ]
    if undecided:
        lines.append(
            f"{undecided} of the set are undecided: not beaten, but without a place in a later rung. --time-budget or "
            "--exhaustive decides about them."
        )
    if answer.seed_sd is None:
        lines.append("The spread between seeds is unknown (each was trained once): the set may be too small.")
    lines += [_comparison(answer.recommended, item) for item in answer.comparisons]
    if any(item.verdict == "bought" for item in answer.comparisons):
        lines.append(BOUGHT)
    return lines


def _comparison(name: str, item: Comparison) -> str:
    total, accuracy, cost = (
        f"{100 * math.expm1(part):+.1f} %"
        for part in (item.accuracy_part + item.cost_part, item.accuracy_part, item.cost_part)
    )
    return (
        f"{name} against {item.dimension} only ({item.control}, {item.epochs} epochs): score {total} = accuracy "
        f"{accuracy} × FLOPs {cost}; lead {item.gap:+.4f} [{item.low:+.4f}, {item.high:+.4f}]: {item.verdict}"
    )


def print_networks(networks: Sequence[Network], json: bool) -> None:
    """What would be trained."""
    if json:
        print_json(
            [
                {"name": one.spec.name, "control": one.candidate.control, "status": one.status, "ratio": one.ratio,
                 "macs": one.macs, "spec": one.spec.to_dict()}
                for one in networks
            ]
        )  # fmt: skip
        return
    print_table(
        "Networks to train",
        ("name", "φ = 1", "α", "β", "γ", "real ×", "FLOPs", "px"),
        [
            [_label(one.spec.name, one.candidate.control), one.status, f"{c.alpha:g}", f"{c.beta:g}", f"{c.gamma:g}",
             f"{one.ratio:.3f}", show_count(one.macs), str(one.spec.resolution)]
            for one in networks
            for c in (one.candidate.coefficients,)
        ],
    )  # fmt: skip


def print_verification(v: Verification) -> None:
    """The networks at both sizes, τ, regret, and what they say."""
    print_table(
        f"Scores on {v.images} validation images with 95 % intervals: after {v.epochs_at_one} epochs at φ = 1, "
        f"{v.epochs} at φ = {v.phi:g}",
        ("name", "φ = 1", "real ×", "score at 1", "interval", "rank", f"score at {v.phi:g}", "interval", "rank"),
        [
            [_label(n.name, n.control), n.status, f"{n.ratio:.2f}",
             f"{n.at_one.value:.4f}", f"{n.at_one.low:.4f}–{n.at_one.high:.4f}", str(n.rank_at_one),
             f"{n.at_phi.value:.4f}", f"{n.at_phi.low:.4f}–{n.at_phi.high:.4f}", str(n.rank_at_phi)]
            for n in sorted(v.networks, key=lambda n: n.rank_at_phi)
        ],
    )  # fmt: skip
    if v.failed:
        say(f"Without a result at φ = {v.phi:g}: {', '.join(v.failed)}")
    say(f"Kendall's τ: {tau_text(v)}")
    if v.regret is not None:
        r = v.regret
        say(
            f"Regret of taking {v.recommended}: {r.value:.4f} in score; {v.networks[r.against].name} minus it "
            f"{r.gap:+.4f}, 95 % interval {r.low:+.4f} to {r.high:+.4f}"
        )
    say(reading(v))


def _label(name: str, control: str) -> str:
    return f"{name} ({control} alone)" if control else name
