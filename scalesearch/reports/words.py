"""What a run says, sentence by sentence: each is written here once, as markdown, for every way of showing it.

``bare`` makes them plain for a terminal, ``page.html`` makes them HTML.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from scalesearch.design.candidates import SEARCH_RATIO, Enumeration
from scalesearch.design.cost import EXPONENT, cost
from scalesearch.design.scaling import scale
from scalesearch.study.answer import Answer, Comparison, Standing
from scalesearch.study.plan import SearchPlan
from scalesearch.study.record import Record
from scalesearch.study.row import BASELINE
from scalesearch.study.statistics import Interval
from scalesearch.study.summary import NetworkSummary, near_chance
from scalesearch.study.verification import Verification
from scalesearch.units import counted, show_count, show_duration, show_energy, show_interval, show_number, show_percent

TIED = "statistically tied with the best"
STATUS = {"member": "in the set", "undecided": "undecided", "beaten": "beaten", "recommended": "recommended"}
SAME_COST = 0.02  # a difference of real FLOPs that needs no word
NOT_FINISHED = "The race is not over: the same command continues it."
COUNTING = (
    "FLOPs are multiply-adds of convolution and linear operators, as fvcore counts them in eval mode. fvcore's own "
    "total, with batch norm and pooling, is the column `fvcore_total` of results.csv."
)
METHOD = (
    "Compared image by image on the same validation images; images and seeds are resampled (bootstrap), and a "
    "candidate is out only if some other one beats it after correction for all comparisons. Predictions per image "
    "are in `predictions/NAME-seedS-eEPOCHS.npz` of the run, so anybody can recompute it."
)


@dataclass(frozen=True)
class Rates:
    """What an hour of the machine takes, where somebody asked for an estimate; None: not asked."""

    watts: float | None = None
    price_per_hour: float | None = None


NO_RATES = Rates()


def plain(text: str) -> str:
    """A name on one line, with nothing that markdown or HTML would read as markup."""
    return " ".join(text.split()).replace("<", "&lt;").replace("[", "\\[").replace("*", "\\*").replace("`", "\\`")


def bare(sentence: str) -> str:
    """A sentence without the markup of its markdown.

    >>> bare("**Bought:** as accurate as `c001`, a\\*b &lt;c")
    'Bought: as accurate as c001, a*b <c'
    """
    text = sentence.replace("\\*", "\0").replace("\\`", "\1").replace("*", "").replace("`", "")
    return text.replace("\0", "*").replace("\1", "`").replace("\\[", "[").replace("&lt;", "<")


def bullets(sentences: Sequence[str]) -> str:
    """A markdown list."""
    return "\n".join(f"- {sentence}" for sentence in sentences)


def shortened(text: str, limit: int = 24) -> str:
    """A name that a figure has room for.

    >>> shortened("a-long-name", 6)
    'a-lon…'
    """
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def run_name(record: Record) -> str:
    """What the run is called: its folder's name."""
    return record.folder.resolve().name


def title(record: Record) -> str:
    """The heading of a report: the answer where there is one."""
    told = str(record.recommendation.coefficients) if record.complete and record.recommendation else "not finished"
    return f"Compound scaling for {plain(record.plan.data)}: {told}"


def factors(record: Record) -> str:
    """The coefficients in words; nothing where there are none."""
    if record.recommendation is None:
        return ""
    c = record.recommendation.coefficients
    return f"depth α = {c.alpha:g}, width β = {c.beta:g}, resolution γ = {c.gamma:g}"


def question(record: Record) -> str:
    """What was asked."""
    return (
        f"Asked: which depth, width and resolution factors (α, β, γ), at {SEARCH_RATIO:g}× the FLOPs of the baseline, "
        f"give the highest score = accuracy · (FLOPs / T)^{show_number(EXPONENT)} on {plain(record.plan.data)} "
        f"({record.provenance.classes} classes)?"
    )


def mark_label(record: Record) -> str:
    """What the figures call the candidate in front."""
    return "recommended" if record.complete else "best so far"


def finished(record: Record) -> int:
    """Candidates with a result."""
    return sum(not one.is_baseline for one in record.summaries)


def progress(record: Record) -> str:
    """How many candidates have a result, and how many have failed."""
    done = {one.row.candidate for one in record.summaries}
    failed = len({row.candidate for row in record.rows} - done - {BASELINE})
    lost = f", {failed} failed" if failed else ""
    return f"{finished(record)} of {len(record.enumeration.candidates)} candidates have a result{lost}"


def state(record: Record) -> str:
    """Empty for a finished search, else how far it is."""
    if record.complete:
        return ""
    if finished(record) == len(record.enumeration.candidates):
        return "Not finished: every candidate has a result, but the race has not been run to its end."
    return f"Not finished: {progress(record)}."


def network(one: NetworkSummary) -> str:
    """A network's cost and size."""
    row = one.row
    ratio = "" if one.is_baseline else f" ({row.real_ratio:.3f} × the baseline)"
    return f"{row.name}: {show_count(row.macs)} FLOPs{ratio}, {show_count(row.params)} parameters, {row.resolution} px"


def trained(one: NetworkSummary) -> str:
    """``18 epochs, 1 seed``."""
    return f"{counted(one.row.epochs, 'epoch')}, {counted(one.seeds, 'seed')}"


def accuracy(one: NetworkSummary) -> str:
    """A network's accuracy, with its interval and what it rests on."""
    rests = trained(one)
    if one.seed_sd is not None:
        rests = (
            f"{counted(one.row.epochs, 'epoch')}, summed over {one.seeds} seeds with a standard deviation of "
            f"{100 * one.seed_sd:.2f} points between them"
        )
    return (
        f"{show_percent(one.accuracy.value)} top-1 (95 % interval {show_interval(one.accuracy.low, one.accuracy.high)};"
        f" {one.correct} of {one.images} validation images, {rests})"
    )


def settings(plan: SearchPlan) -> str:
    """The settings of a training."""
    train, weights = plan.train, plan.weights
    start = f"from {weights.name} (digest {weights.digest})" if weights else "from scratch"
    return (
        f"{start}; {train.optimizer}, batch size {train.batch_size}, peak learning rate {train.lr:g}, weight decay "
        f"{train.weight_decay:g}, warm-up {train.warmup_epochs:g} epochs, label smoothing {train.label_smoothing:g}, "
        f"averaged weights {train.ema_decay:g}, {train.precision}"
    )


def accuracy_note(record: Record) -> str:
    """One line: which trainings the accuracies come from, at which size."""
    proxy = record.plan.proxy
    if proxy.resolution_divisor <= 1 or not record.summaries:
        return f"accuracy after up to {counted(proxy.epochs, 'epoch')} at full size"
    sides = [one.row.proxy_resolution for one in record.summaries]
    px = "–".join(dict.fromkeys((str(min(sides)), str(max(sides)))))
    return f"accuracy from a proxy at {px} px, up to {counted(proxy.epochs, 'epoch')}; FLOPs of the full-size network"


def accuracy_source(record: Record) -> str:
    """The same as a sentence."""
    note = accuracy_note(record)
    return f"{note[0].upper()}{note[1:]}."


def source(record: Record) -> str:
    """What the accuracies come from, and what they are good for."""
    proxy, images = record.plan.proxy, record.provenance.images.train
    if proxy.resolution_divisor <= 1:
        return (
            f"**Accuracy comes from a short training at full size:** at most {counted(proxy.epochs, 'epoch')} on "
            f"{images} images. It serves to rank candidates; longer training can change the ranking."
        )
    return (
        f"**Accuracy comes from a proxy:** every network was trained at 1/{proxy.resolution_divisor:g} of its "
        f"resolution, at most {counted(proxy.epochs, 'epoch')} on {images} images. It serves to rank candidates; it is "
        "not the accuracy of the full-size network, fully trained. FLOPs and parameters are the full-size network's."
    )


def target(record: Record) -> str:
    """What T does and does not do."""
    return (
        f"T = {show_count(record.plan.target_macs)} FLOPs. It sizes the baseline and cannot change the winner: "
        f"it multiplies every score by the same T^{show_number(-EXPONENT)}."
    )


def guessing(record: Record) -> str:
    """A warning where even the best candidate is near chance; else nothing."""
    lows = [one.accuracy.low for one in record.summaries if not one.is_baseline]
    if not lows or not near_chance(max(lows), record.provenance.classes):
        return ""
    return (
        "**No candidate is clearly above guessing: this ranking says nothing.** Train longer (--epochs), at a higher "
        "resolution (a lower --proxy-divisor), on more images, or search a smaller space (--space mbconv_small)."
    )


def tied(answer: Answer, candidates: int) -> str:
    """How large the winner set is."""
    return f"{len(answer.members)} of {counted(candidates, 'candidate')} are {TIED}"


def winner_set(record: Record) -> tuple[str, ...]:
    """The winner set, who is recommended, and what the set rests on; nothing where there is no answer."""
    answer = record.answer
    if answer is None:
        return ()
    undecided, beaten = answer.names("undecided"), answer.names("beaten")
    names = ", ".join(standing.name for standing in answer.members)
    lines = [
        f"**Winner set at {show_percent(answer.level, 0)}:** {tied(answer, len(record.enumeration.candidates))} "
        f"({names}); {len(beaten)} {'is' if len(beaten) == 1 else 'are'} beaten{_after(answer)}."
    ]
    if undecided:
        lines.append(
            f"Undecided: {len(undecided)} of the set ({', '.join(undecided)}) were not beaten, but got no place in a "
            "later rung; a larger --time-budget, or --exhaustive, decides about them."
        )
    if answer.seed_sd is None:
        lines.append(
            "**No network was trained twice, so the spread between seeds is unknown:** the set rests on the images "
            "alone and may be too small."
        )
    return (*lines, recommended(record))


def recommended(record: Record) -> str:
    """Who is recommended, or ahead so far, and by which rule."""
    answer, recommendation = record.answer, record.recommendation
    if answer is None or recommendation is None:
        return ""
    head = "Recommended" if record.complete else "Ahead so far"
    return f"{head}: {recommendation.coefficients} (**{answer.recommended}**): {answer.rule}."


def winner_markdown(record: Record, answer: Answer) -> str:
    """The winner set, and how it was made, as markdown."""
    first, *further = winner_set(record)
    if answer.seed_sd is not None:
        spread = f"{100 * answer.seed_sd:.2f} points"
        further.append(f"Spread of an accuracy between seeds, beyond what the images show: {spread}.")
    return f"{first}\n\n{bullets([*further, METHOD])}"


def verdicts(answer: Answer) -> str:
    """How the recommended candidate came out against each control."""
    return "; ".join(f"{item.dimension}: {item.verdict}" for item in answer.comparisons)


def _after(answer: Answer) -> str:
    epochs = sorted({standing.epochs for standing in answer.standings if standing.status == "beaten"})
    return f" (after {' or '.join(map(str, epochs))} epoch{'' if epochs == [1] else 's'})" if epochs else ""


def status(standing: Standing) -> str:
    """How a candidate stands, and which one dimension it scales, if it is a control."""
    return f"{STATUS[standing.status]}{f', {standing.control} only' if standing.control else ''}"


def reach(interval: Interval | Comparison, style: str = "+.4f") -> str:
    """The ends of an interval of scores or of their differences."""
    return f"{show_number(interval.low, style)} to {show_number(interval.high, style)}"


def lead(item: Comparison) -> str:
    """A lead in score over a control."""
    return f"lead {show_number(item.gap, '+.4f')} ({reach(item)}) after {counted(item.epochs, 'epoch')}, {item.verdict}"


def log_share(log_part: float) -> str:
    """A part of a log score as a percentage: 0.0296 → ``+3.0 %``."""
    return show_percent(math.expm1(log_part), sign=True)


def comparison(recommended: str, item: Comparison) -> str:
    """The recommended candidate against a control: how its lead comes about."""
    total, accuracy_part, cost_part = map(
        log_share, (item.accuracy_part + item.cost_part, item.accuracy_part, item.cost_part)
    )
    return (
        f"{recommended} against {item.dimension} only ({item.control}): score {total} = accuracy {accuracy_part} × "
        f"FLOPs {cost_part}; {lead(item)}"
    )


def bought(answer: Answer) -> str:
    """What "bought" means, where any comparison came to that."""
    if not any(item.verdict == "bought" for item in answer.comparisons):
        return ""
    return (
        "**Bought:** as accurate as the control or more, but at more FLOPs, and not by more than such FLOPs "
        "should bring."
    )


def unequal_cost(record: Record) -> str:
    """Where the recommended candidate and B1 of its family differ in cost; nothing where they do not."""
    chosen, leader = record.recommendation, record.leader
    if chosen is None or leader is None:
        return ""
    raced = leader.row.real_ratio
    b1 = cost(scale(chosen.baseline, chosen.coefficients, 1, chosen.rounding)).macs / cost(chosen.baseline).macs
    if abs(b1 / raced - 1) <= SAME_COST:
        return ""
    return (
        f"Note: {chosen.winner} was cut to equal cost, as a control is ({raced:.2f} ×); the family's B1 follows the "
        f"usual rounding and costs {b1:.2f} ×."
    )


def answer_lines(record: Record) -> tuple[str, ...]:
    """What a search came to, as plain text: a line a sentence, the table of candidates aside."""
    answer = record.answer
    if answer is None:
        return ()
    failed, warning = sum(row.status == "failed" for row in record.rows), guessing(record)
    lines = [
        accuracy_source(record),
        f"{counted(failed, 'training')} failed; the report gives the reasons." if failed else "",
        *winner_set(record),
        *(comparison(answer.recommended, item) for item in answer.comparisons),
        bought(answer), unequal_cost(record), warning and f"WARNING: {warning}",
        "" if record.complete else NOT_FINISHED,
    ]  # fmt: skip
    return tuple(bare(line) for line in lines if line)


def grid(record: Record) -> str:
    """How many triples stand on the grid, and how many networks they come to."""
    plan, listed = record.plan, record.enumeration
    return (
        f"The grid (step {plan.grid.step:g}) has {counted(listed.nominal, 'triple')} with |αβ²γ² − {SEARCH_RATIO:g}| ≤ "
        f"{plan.grid.tolerance:g}; {len(listed.dropped)} were dropped; with the controls, the others come to "
        f"{counted(len(listed.candidates), 'distinct network')} (rounding rule: {plan.rounding})."
    )


def costs(listed: Enumeration) -> tuple[str, ...]:
    """What the candidates really cost, and how much of a score's lead cost alone could make."""
    nominal = [one.nominal_ratio for one in listed.candidates]
    real = sorted(one.real_ratio for one in listed.candidates)
    if not real:
        return ()
    middle = (real[(len(real) - 1) // 2] + real[len(real) // 2]) / 2
    near = sum(abs(ratio / SEARCH_RATIO - 1) <= 0.05 + 1e-9 for ratio in real)
    return (
        f"Nominal ratio αβ²γ² of the candidates: {min(nominal):.3f} to {max(nominal):.3f}.",
        f"Real ratio of the networks built: {real[0]:.3f} to {real[-1]:.3f} (median {middle:.3f}); {near} of "
        f"{len(real)} within ±5 % of {SEARCH_RATIO:g}.",
        f"The FLOPs factor alone moves scores by {show_percent((real[-1] / real[0]) ** abs(EXPONENT) - 1, 2)} from the "
        "dearest to the cheapest candidate.",
    )


def spent(record: Record, rates: Rates = NO_RATES) -> tuple[tuple[str, str], ...]:
    """(what, value): time, and energy and price where rates are given."""
    in_trainings = sum(row.seconds for row in record.rows if row.status == "done")
    seconds = record.provenance.seconds
    hours = (seconds or in_trainings) / 3600
    lines = [("time", show_duration(seconds))] if seconds else []
    added = f"{show_duration(in_trainings)}, {counted(len(record.rows), 'training')}, added up"
    lines.append(("time in trainings", added))
    if rates.watts is not None:
        lines.append(("energy, estimated", f"{show_energy(rates.watts * hours)} at {rates.watts:g} W throughout"))
    if rates.price_per_hour is not None:
        price = rates.price_per_hour
        lines.append(("price, estimated", f"{price * hours:.2f} at {price:g} an hour"))
    return tuple(lines)


def tau(verified: Verification) -> str:
    """How far the orders at both sizes agree."""
    if verified.tau is None:
        return "Kendall's τ not defined (all scores equal at one size)"
    return f"Kendall's τ {show_number(verified.tau.value, '.2f')} (95 % interval {reach(verified.tau, '.2f')})"


def sizes_compared(verified: Verification) -> str:
    """One line: how the networks were trained at both sizes."""
    return (
        f"{counted(verified.epochs_at_one, 'epoch')} at φ = 1, {verified.epochs} at φ = {verified.phi:g}; "
        f"{counted(verified.images, 'validation image')}"
    )


def verification(verified: Verification) -> tuple[str, ...]:
    """What a verification says, and what it does not, sentence by sentence."""
    networks = verified.networks
    lines = [f"{tau(verified)}.", _order(verified), _regret(verified), _recommended_again(verified)]
    if verified.failed:
        lines.insert(0, f"Without a result at φ = {verified.phi:g}: {', '.join(verified.failed)}.")
    if near_chance(max(one.accuracy for one in networks), verified.classes):
        lines.append(f"At φ = {verified.phi:g} no network is better than guessing, so none of this says anything.")
    if not verified.fully_trained:
        lines.append(
            f"Scores are after {counted(verified.epochs_at_one, 'epoch')} at φ = 1 and {verified.epochs} at φ = "
            f"{verified.phi:g}, not {verified.full_epochs}: they may order the networks otherwise than full trainings."
        )
    lines.append("The networks were picked by their scores at φ = 1, so τ is not that of the whole grid.")
    return tuple(line for line in lines if line)


def verification_text(verified: Verification) -> str:
    """All that a verification says, and how the networks were trained, in one paragraph."""
    return " ".join([f"{sizes_compared(verified)}.", *verification(verified)])


def _order(verified: Verification) -> str:
    count, agreement, again = len(verified.networks), verified.tau, ""
    if agreement is None:
        return f"The order of {count} networks cannot be compared."
    if verified.repeat_tau is not None:
        repeat = show_number(verified.repeat_tau, ".2f")
        again = f"; φ = {verified.phi:g} trained again would agree with itself by about {repeat}"
    if agreement.low > 0:
        return f"The order at φ = 1 carries over, as far as {count} networks tell{again}."
    if agreement.high < 0:
        return f"The order at φ = 1 is reversed, as far as {count} networks tell{again}."
    return (
        f"With {count} networks τ's interval is wide and contains 0: this does not show that the order at φ = 1 "
        f"carries over, nor that it does not{again}."
    )


def _regret(verified: Verification) -> str:
    regret = verified.regret
    if regret is None:
        return ""
    other = verified.networks[regret.against].name
    return (
        f"Regret of taking {verified.recommended}: {regret.value:.4f} in score; {other} minus it "
        f"{show_number(regret.gap, '+.4f')}, 95 % interval {reach(Interval(regret.gap, regret.low, regret.high))}."
    )


def _recommended_again(verified: Verification) -> str:
    regret, name = verified.regret, verified.recommended
    if regret is None:
        return f"{name} has no result at φ = {verified.phi:g}."
    other = verified.networks[regret.against].name
    if regret.high < 0:
        return f"{name}, recommended at φ = 1, is the best here, too."
    if regret.low > 0:
        return f"{other} beats {name}, which φ = 1 recommended (it was picked as the best, which favours it)."
    ahead, behind = (other, name) if regret.gap > 0 else (name, other)
    return f"{ahead} is ahead of {behind}, by no more than chance explains."
