"""The top of the report: what was asked, what came out, how sure that is."""

import pandas as pd

from scalesearch.design.candidates import SEARCH_RATIO
from scalesearch.reports.facts import RunFacts, WinnerFacts
from scalesearch.reports.findings import Findings
from scalesearch.reports.statistics import near_chance
from scalesearch.reports.tables import (
    comparison_table,
    count_text,
    interval_text,
    markdown_table,
    percent,
    plain,
    signed,
)


def title(facts: RunFacts) -> str:
    """The heading: the answer where there is one."""
    outcome = str(facts.coefficients) if facts.coefficients else "not finished"
    return f"# Compound scaling for {plain(facts.data.name)}: {outcome}"


def answer(found: Findings, facts: RunFacts) -> str:
    """What was asked and what came out: coefficients or progress, accuracy, ties, and where accuracy comes from."""
    parts = [question(facts), "\n".join(_outcome(found, facts))]
    if found.best is not None and facts.winners:
        parts += [
            winner_set(facts.winners, facts.space.networks, facts.coefficients is not None),
            controls(facts.winners),
        ]
    parts += [guessing(found, facts), source(facts), target(facts)]
    return "\n\n".join(part for part in parts if part)


def question(facts: RunFacts) -> str:
    """What was asked."""
    return (
        f"Asked: which depth, width and resolution factors (α, β, γ), at {SEARCH_RATIO:g}× the FLOPs of the baseline, "
        f"give the highest score = accuracy · (FLOPs / T)^{signed(facts.space.exponent)} on {plain(facts.data.name)} "
        f"({facts.data.classes} classes)?"
    )


def guessing(found: Findings, facts: RunFacts) -> str:
    """A warning where even the best is near chance; else nothing."""
    if found.best is None or not near_chance(float(found.summary["low"].max()), facts.data.classes):
        return ""
    return "**No network is clearly above guessing: this ranking says nothing.** Train longer or larger."


def target(facts: RunFacts) -> str:
    """What T does and does not do."""
    return (
        f"T = {count_text(facts.space.target_macs)} FLOPs. It sizes the baseline and cannot change the winner: "
        f"it multiplies every score by the same T^{signed(-facts.space.exponent)}."
    )


def _outcome(found: Findings, facts: RunFacts) -> list[str]:
    total = facts.space.networks
    failed = f", {found.broken} failed" if found.broken else ""
    if facts.coefficients is None:
        lines = [f"Answer: **not finished: {found.finished} of {total} done{failed}.** The same command continues."]
        if found.best is not None:
            lines += ["", f"Best so far: {_standing(found, found.best)}"]
    else:
        c = facts.coefficients
        lines = [
            f"Answer: **depth α = {c.alpha:g}, width β = {c.beta:g}, resolution γ = {c.gamma:g}** "
            f"({found.finished} of {total} candidates done{failed}).",
            "",
            f"Recommended: {_standing(found, found.recommended)}",
        ]
    baseline = found.summary[found.summary["role"] == "baseline"]
    if len(baseline):
        row = baseline.iloc[0]
        lines += ["", f"The baseline, at {count_text(row['macs'])} FLOPs: {_accuracy(row)}"]
    return lines


def _standing(found: Findings, candidate: int | None) -> str:
    candidates = found.summary[found.summary["role"] == "candidate"]
    row = candidates[candidates["candidate"] == candidate].iloc[0]
    return (
        f"{plain(row['name'])}, {count_text(row['macs'])} FLOPs ({row['real_ratio']:.3f}× the baseline), "
        f"{count_text(row['params'])} parameters, {row['resolution']} px: {_accuracy(row)}"
    )


def _accuracy(row: "pd.Series[float]") -> str:
    text = (
        f"{percent(row['accuracy'])} top-1 (95 % interval {interval_text(row['low'], row['high'])}; "
        f"{row['correct']} of {row['images']} validation images"
    )
    if row["seeds"] == 1:
        return f"{text}, {row['epochs']} epochs, 1 seed)."
    return (
        f"{text}, {row['epochs']} epochs, summed over {row['seeds']} seeds with a standard deviation of "
        f"{100 * row['seed_spread']:.2f} points between them)."
    )


def winner_set(winners: WinnerFacts, networks: int, finished: bool = True) -> str:
    """The set and how it was made."""
    undecided, beaten = winners.names("undecided"), winners.names("beaten")
    first = (
        f"**Winner set at {percent(winners.level, 0)}:** {len(winners.members)} of {networks} candidates cannot be told"
    )
    lines = [
        f"{first} from the best: {', '.join(map(plain, winners.members))}.",
        "",
        f"- {'Recommended' if finished else 'Ahead so far'}: **{plain(winners.recommended)}**: {winners.rule}.",
        f"- Beaten: {len(beaten)}{_after(winners)}.",
    ]
    if undecided:
        lines.append(
            f"- Undecided: {len(undecided)} of the set ({', '.join(undecided)}) were not beaten, but got no place in a "
            "later rung; a larger --time-budget, or --exhaustive, decides about them."
        )
    if winners.seed_sd is None:
        lines.append(
            "- **No network was trained twice, so the spread between seeds is unknown:** the set rests on the images "
            "alone and may be too small."
        )
    else:
        lines.append(
            f"- Spread of an accuracy between seeds, beyond what the images show: {100 * winners.seed_sd:.2f} points."
        )
    lines.append(
        "- Compared image by image on the same validation images; images and seeds are resampled (bootstrap), and a "
        "candidate is out only if some other one beats it after correction for all comparisons. Predictions per image "
        "are in `predictions/NAME-seedS-eEPOCHS.npz` of the run, so anybody can recompute it."
    )
    return "\n".join(lines)


def controls(winners: WinnerFacts) -> str:
    """The comparisons with the controls; nothing where there are none."""
    if not winners.comparisons:
        return ""
    parts = [
        "The recommended candidate against controls of the same FLOPs:",
        markdown_table(comparison_table(winners.comparisons)),
        bought(winners),
    ]
    return "\n\n".join(part for part in parts if part)


def bought(winners: WinnerFacts) -> str:
    """What "bought" means, where any comparison came to that."""
    if not any(item["verdict"] == "bought" for item in winners.comparisons):
        return ""
    return (
        "**Bought:** as accurate as the control or more, but at more FLOPs, and not by more than such FLOPs "
        "should bring."
    )


def _after(winners: WinnerFacts) -> str:
    epochs = sorted({item["epochs"] for item in winners.standings if item["status"] == "beaten"})
    return f" (after {' or '.join(map(str, epochs))} epoch{'' if epochs == [1] else 's'})" if epochs else ""


def source(facts: RunFacts) -> str:
    """What the accuracies come from, and what they are good for."""
    training = facts.training
    if not training.is_proxy:
        return (
            f"**Accuracy comes from a short training at full size:** at most {training.epochs} epochs on "
            f"{training.train_images} images. It serves to rank candidates; longer training can "
            "change the ranking."
        )
    return (
        f"**Accuracy comes from a proxy:** every network was trained at 1/{training.resolution_divisor:g} of its "
        f"resolution, at most {training.epochs} epochs on {training.train_images} images. It serves to rank "
        "candidates; it is not the accuracy of the full-size network, fully trained. FLOPs and parameters are the "
        "full-size network's."
    )
