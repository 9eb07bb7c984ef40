"""The top of the report: what was asked, what came out, how sure that is."""

import pandas as pd

from scalesearch.design.candidates import SEARCH_RATIO
from scalesearch.reports.facts import RunFacts
from scalesearch.reports.findings import Findings
from scalesearch.reports.statistics import near_chance
from scalesearch.reports.tables import count_text, interval_text, percent, plain, signed


def title(facts: RunFacts) -> str:
    """The heading: the answer where there is one."""
    outcome = str(facts.coefficients) if facts.coefficients else "not finished"
    return f"# Compound scaling for {plain(facts.data.name)}: {outcome}"


def answer(found: Findings, facts: RunFacts) -> str:
    """What was asked and what came out: coefficients or progress, accuracy, ties, and where accuracy comes from."""
    space = facts.space
    asked = (
        f"Asked: which depth, width and resolution factors (α, β, γ), at {SEARCH_RATIO:g}× the FLOPs of the baseline, "
        f"give the highest score = accuracy · (FLOPs / T)^{signed(space.exponent)} on {plain(facts.data.name)} "
        f"({facts.data.classes} classes)?"
    )
    lines = [asked, "", *_outcome(found, facts)]
    if found.best is not None:
        if len(facts.seeds) > 1:
            lines += ["", "The seeds share their validation images, so these intervals are somewhat too narrow."]
        lines += ["", _ties(found)]
        if near_chance(float(found.summary["low"].max()), facts.data.classes):
            lines += [
                "",
                "**No network is clearly above guessing: this ranking says nothing.** Train longer or larger.",
            ]
    lines += ["", _source(found, facts)]
    target = (
        f"T = {count_text(space.target_macs)} FLOPs. It sizes the baseline and cannot change the winner: "
        f"it multiplies every score by the same T^{signed(-space.exponent)}."
    )
    return "\n".join([*lines, "", target])


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
        return f"{text}, 1 seed)."
    return (
        f"{text}, summed over {row['seeds']} seeds with a standard deviation of {100 * row['seed_spread']:.2f} points "
        "between them)."
    )


def _ties(found: Findings) -> str:
    candidates = found.summary[found.summary["role"] == "candidate"]
    others = int(candidates["tied"].sum()) - 1
    if len(candidates) == 1:
        return "There is one candidate with a result, so nothing to compare it with."
    if others == 0:
        verdict, meaning = f"None of the other {len(candidates) - 1} candidates is", "Chance may still have chosen"
    else:
        verdict = f"**{others} of the other {len(candidates) - 1} candidates** {'is' if others == 1 else 'are'}"
        meaning = "A tied candidate could as well be the best one"
    return (
        f"{verdict} tied with the best score: within one standard error of the difference. This is a first, unpaired "
        f"look, not a proof. {meaning}; more seeds, more validation images or a comparison image by image would tell "
        "more."
    )


def _source(found: Findings, facts: RunFacts) -> str:
    training = facts.training
    if not training.is_proxy:
        return (
            f"**Accuracy comes from a short training at full size:** {training.epochs} epochs on "
            f"{training.train_images} images for every network. It serves to rank candidates; longer training can "
            "change the ranking."
        )
    return (
        f"**Accuracy comes from a proxy:** every network was trained at 1/{training.resolution_divisor:g} of its "
        f"resolution, {training.epochs} epochs on {training.train_images} images. It serves to rank candidates; it is "
        "not the accuracy of the full-size network, fully trained. FLOPs and parameters are the full-size network's."
    )
