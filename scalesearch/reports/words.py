"""What a run says, sentence by sentence: each is written here once, as markdown, for every way of showing it.

``bare`` makes them plain for a terminal, ``page.html`` makes them HTML. Scores and accuracies are told apart in points,
100 times their difference.
"""

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from scalesearch.data.grouping import parted
from scalesearch.design.candidates import SEARCH_RATIO, Candidate
from scalesearch.design.controls import EQUAL_COST
from scalesearch.design.cost import cost
from scalesearch.design.measure import FLOPS, Measure
from scalesearch.design.scaling import PAPER, Coefficients
from scalesearch.errors import pasted
from scalesearch.reports.latency_words import latencies
from scalesearch.study.answer import (
    RULES,
    WORTH,
    Answer,
    Certainty,
    Comparison,
    Speed,
    measured_speeds,
    relative_costs,
    relative_time,
)
from scalesearch.study.plan import SearchPlan
from scalesearch.study.posterior import DRAWS
from scalesearch.study.proxy import GPU_MACS
from scalesearch.study.race import above_guessing
from scalesearch.study.record import Record
from scalesearch.study.row import BASELINE, Row
from scalesearch.study.statistics import Interval
from scalesearch.study.summary import NetworkSummary
from scalesearch.study.verification import Verification
from scalesearch.units import (
    counted,
    show_count,
    show_duration,
    show_energy,
    show_interval,
    show_number,
    show_percent,
    show_seconds,
)

STATUS = {"member": "in the set", "outside": "outside", "unknown": "not decided", "recommended": "recommended"}
OTHERS = {  # what the recommended network is compared with, in the order in which it is told
    "paper": "the paper's coefficients", "depth": "depth alone", "width": "width alone",
    "resolution": "resolution alone", "baseline": "the baseline",
}  # fmt: skip
NOUNS = {
    "latency": "measured latency", "memory": "peak memory", "params": "number of parameters",
    "activations": "number of activations", "flops": "number of FLOPs",
}  # fmt: skip
LISTED = 12  # names in a sentence
SAYING_NOTHING = {
    "all", "data", "dataset", "datasets", "images", "imgs", "photos", "pictures", "test", "train", "training", "val",
    "valid", "validation",
}  # fmt: skip
HOMES = {"home", "Users", "mnt", "media"}  # the folder below names a person or a disk
NOT_FINISHED = "The race is not over: the same command continues it."
COUNTING = (
    "FLOPs are multiply-adds of convolution and linear operators, as fvcore counts them in eval mode. fvcore's own "
    "total, with batch norm and pooling, is the column `fvcore_total` of results.csv."
)
METHOD = (
    "Expected scores are those after full training, from one model of all trainings: the candidates' multipliers, the "
    "validation images that all share, and the seeds. Early trainings enter it with the doubt that curves may cross. "
    f"Each candidate's probability of being the best is its share of {DRAWS} joint draws, and the set holds the most "
    "probable ones. Beside it stands a test that assumes no model: it compares full trainings image by image, "
    "resamples images and seeds, and leaves out only who is beaten after correction for all comparisons. Predictions "
    "and soft scores of each image are in `predictions/NAME-seedS-eEPOCHS.npz` of the run, so anybody can recompute it."
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


def points(value: float, sign: bool = False) -> str:
    """A difference of scores or accuracies in points, without the unit; small ones with a digit more.

    >>> points(0.0083), points(0.0004), points(-0.0051, sign=True), points(0.0)
    ('0.8', '0.04', '−0.5', '0')
    """
    shown = f"{abs(round(100 * value, 9)):.{1 if abs(value) >= 0.0005 else 2}f}"
    text = shown if float(shown) else "0"
    return ("−" if value < 0 else "+" if sign else "") * (text != "0") + text


def reach(interval: Interval | Comparison) -> str:
    """``95 %: −0.5 to 1.1``, in points."""
    return f"95 %: {points(interval.low)} to {points(interval.high)}"


def chance(probability: float) -> str:
    """A probability that was counted.

    >>> chance(0.4812), chance(0.0012), chance(1.0)
    ('48 %', 'under 1 %', 'over 99 %')
    """
    if probability < 0.005:
        return "under 1 %"
    return "over 99 %" if probability > 0.995 else show_percent(probability, 0)


def names(ones: Sequence[str], word: str = "and") -> str:
    """Names in a sentence, not too many.

    >>> names(["c001", "c002", "c003"]), names([f"c{n}" for n in range(14)])[-19:]
    ('c001, c002 and c003', 'c10, c11 and 2 more')
    """
    first = [*ones[:LISTED], f"{len(ones) - LISTED} more"] if len(ones) > LISTED else list(ones)
    return f" {word} ".join(filter(None, (", ".join(first[:-1]), first[-1])))


def scales(control: str) -> str:
    """What is special about a candidate: ``depth only``, ``the paper's``, or nothing."""
    return "the paper's" if control == "paper" else f"{control} only" if control else ""


def triple(c: Coefficients) -> str:
    """``α 1.2, β 1.1, γ 1.15``, to three digits."""
    return f"α {c.alpha:.3g}, β {c.beta:.3g}, γ {c.gamma:.3g}"


def multipliers(depth: float, width: float, resolution: float) -> str:
    """``depth × 1.00, width × 1.13, resolution × 1.28``."""
    return f"depth × {depth:.2f}, width × {width:.2f}, resolution × {resolution:.2f}"


def row_multipliers(row: Row) -> str:
    """Those of a row, as trained."""
    return multipliers(row.depth_ratio, row.width_ratio, row.resolution_ratio)


def run_name(record: Record) -> str:
    """What the run is called: its folder's name."""
    return record.folder.resolve().name


def subject(record: Record) -> str:
    """What the images are called in a heading: their folder, or the one above where it says nothing ("train").

    >>> [_telling(Path(one), "x") for one in ("/a/b/trash/Dataset", "/a/b/trash", "glyphs", "/data/images")]
    ['trash', 'x', 'x', 'x']
    >>> [_telling(Path(one), "x") for one in ("/home/anna/data/train", "/work/data", "/home/anna/birds/v1.0/train")]
    ['x', 'x', 'birds']
    """
    return plain(_telling(Path(parted(record.provenance.data_argument)[0]), record.plan.data))


def _telling(given: Path, name: str) -> str:
    """The name, or that of the nearest folder above ``given`` that tells more than that images are in it."""
    if given.stem.lower() not in SAYING_NOTHING:
        return name
    above = given.parts[3 if given.parts[1:2] and given.parts[1] in HOMES else 2 : -1]
    told = (part for part in reversed(above) if part.lower() not in SAYING_NOTHING)
    return next((part for part in told if not re.fullmatch(r"v?[\d._-]+", part)), name)


def title(record: Record) -> str:
    """The heading of a report: the answer where there is one."""
    found = "no decision" if record.complete else "not finished"
    if record.complete and decided(record) and record.recommendation:
        found = triple(record.recommendation.coefficients)
    return f"Compound scaling for {subject(record)}: {found}"


def decided(record: Record) -> bool:
    """Whether the answer decides anything."""
    return record.answer is not None and not record.answer.undecided


def question(record: Record) -> str:
    """What was asked."""
    plan, noun = record.plan, record.plan.measure.noun
    return (
        f"Asked: which depth, width and resolution factors (α, β, γ), at {SEARCH_RATIO:g}× the {noun} of the baseline, "
        f"give the highest score = accuracy · ({noun} / T)^{show_number(plan.exponent)} on {plain(plan.data)} "
        f"({record.provenance.classes} classes)?"
    )


def mark_label(record: Record) -> str:
    """What the figures call the candidate in front."""
    if record.answer is not None and not decided(record):
        return "by default"
    return "recommended" if record.complete else "ahead so far"


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
    """Empty for a search that is over, else how far it is."""
    if record.complete:
        return ""
    if finished(record) == len(record.enumeration.candidates):
        return f"Not finished: every candidate has a result. {NOT_FINISHED}"
    return f"Not finished: {progress(record)}. {NOT_FINISHED}"


def network(one: NetworkSummary, measure: Measure) -> str:
    """A network's cost and size, at full size and, where that is another, as trained."""
    row, whose = one.row, "" if measure == FLOPS else f"'s {measure.noun}"
    ratio = "" if one.is_baseline else f" ({row.real_ratio:.2f} × the baseline{whose})"
    said = f"{row.name}: {show_count(row.macs)} FLOPs{ratio}, {show_count(row.params)} parameters, {row.resolution} px"
    if row.proxy_macs == row.macs:
        return said
    small = "" if one.is_baseline or not measure.at_any_size else f" ({row.proxy_ratio:.2f} ×)"
    return f"{said}; trained at {show_count(row.proxy_macs)}{small}, {row.proxy_resolution} px"


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


def doubling(record: Record, one: NetworkSummary, baseline: NetworkSummary) -> str:
    """What growing the baseline to a candidate brings and costs; nothing where they were not trained as long."""
    if one.row.epochs != baseline.row.epochs:
        return ""
    gain, speeds = one.accuracy.value - baseline.accuracy.value, measured_speeds(record.rows)
    as_trained = " as trained" if record.plan.measure.at_any_size else ""
    brought = (
        f"{points(gain, sign=True)} points of accuracy as measured, of a candidate picked for its own, for "
        f"{one.row.proxy_ratio:.2f} × the {record.plan.measure.noun}{as_trained}"
    )
    before, after = (speeds[which.row.candidate].latency_ms for which in (baseline, one))
    if not before or not after:
        return brought
    times = f"{after:.3g} ms instead of {before:.3g}"
    return f"{brought}; one image takes {times} at full size, timed beside other trainings"


def following(record: Record) -> str:
    """What can be done with an answer, as commands to paste; nothing without one."""
    if not (record.complete and decided(record)):
        return ""
    run = ("--run", str(record.folder))
    lines = (
        ("family", "--train", "b0..b3", *run), ("finetune", "--model", "b1", *run), ("verify", *run),
    )  # fmt: skip
    typed = "\n".join(pasted("scalesearch", *one) for one in lines)
    return (
        "Train the family and see what its coefficients brought; train one member and keep it; check whether what won "
        f"at φ = 1 wins at φ = 2.\n\n```\n{typed}\n```"
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


def is_proxy(plan: SearchPlan) -> bool:
    """Whether networks are trained smaller than they are."""
    return plan.proxy.baseline != plan.baseline


def accuracy_note(record: Record) -> str:
    """One line: which trainings the accuracies come from, at which size."""
    sides, epochs = [one.row.proxy_resolution for one in record.summaries], {one.row.epochs for one in record.summaries}
    if not epochs:
        return "no result yet"
    after = f"{min(epochs)} to {max(epochs)} epochs" if len(epochs) > 1 else counted(max(epochs), "epoch")
    if not is_proxy(record.plan):
        return f"accuracy after {after} at full size"
    px = "–".join(dict.fromkeys((str(min(sides)), str(max(sides)))))
    return f"accuracy and FLOPs of smaller proxies at {px} px, after {after}"


def accuracy_source(record: Record) -> str:
    """The same as a sentence."""
    note = accuracy_note(record)
    return f"{note[0].upper()}{note[1:]}."


def source(record: Record) -> str:
    """What the accuracies come from, and what they are good for."""
    plan, images = record.plan, record.provenance.images.train
    if not is_proxy(plan):
        return (
            f"**Accuracy comes from a short training at full size:** at most {counted(plan.proxy.epochs, 'epoch')} on "
            f"{images} images. It serves to rank candidates; longer training can change the ranking."
        )
    made = f"with the multipliers of the one at {SEARCH_RATIO:g} × the {plan.measure.noun}"
    own, other = "at full size", "as trained"
    if plan.measure.at_any_size:
        made, own, other = f"at about {SEARCH_RATIO:g} times *its* FLOPs", other, own
    return (
        f"**Accuracy comes from a proxy:** the baseline was trained {plan.proxy.describe(plan.baseline)}, and every "
        f"candidate {made}. That serves to rank candidates; it is not the accuracy of the full-size network, fully "
        f"trained. Multipliers are those of the networks {own}, and a network {other} has them as nearly as it can be "
        "rounded."
    )


def target(record: Record) -> str:
    """What T does and does not do."""
    plan = record.plan
    return (
        f"T = {plan.measure.show(plan.target_macs)}. It sizes the baseline and cannot change the winner: "
        f"it multiplies every score by the same T^{show_number(abs(plan.exponent))}."
    )


def answer(record: Record) -> tuple[str, ...]:
    """What a search came to, sentence by sentence, the recommendation first; nothing where nothing is known."""
    told = record.answer
    if told is None:
        return ()
    if told.certainty is None:
        return _no_decision(record, told)
    sure = told.certainty
    said = (
        _use(record, told), _certainty(record, told, sure), *compared(record, told), credible_set(told),
        _unjudged(record, told), _region(record, told, sure), *_ties(record, told, sure), _further(told, sure),
        _test(told), _choice(sure), _seeds(sure), _lead(record.plan), *latencies(record),
    )  # fmt: skip
    return tuple(filter(None, said))


def answer_markdown(record: Record) -> str:
    """The answer as markdown: its first sentences, then a list."""
    said = answer(record)
    return f"{' '.join(said[:2])}\n\n{bullets(said[2:])}".strip()


def _use(record: Record, told: Answer) -> str:
    one = candidate(record, told.recommended)
    has, px = one.multipliers, one.trained.resolution
    head = "Use" if record.complete else "Ahead so far:"
    return (
        f"**{head} {multipliers(has.depth, has.width, has.resolution)}** ({one.name}, {px} px"
        f"{' as trained' if is_proxy(record.plan) else ''}; {triple(one.coefficients)}): {RULES[told.rule]}."
    )


def candidate(record: Record, name: str) -> Candidate:
    """A candidate by its name."""
    return next(one for one in record.enumeration.candidates if one.name == name)


def _certainty(record: Record, told: Answer, sure: Certainty) -> str:
    judged = sum(one.score is not None for one in told.standings)
    likely = chance(told.best.best if told.best else 0.0).capitalize()
    others = len(record.enumeration.candidates)
    so_far = "" if judged == others else f" that have a result, of {others}"
    return (
        f"{likely} likely the best of {judged}{so_far}; expected loss {points(sure.loss)} points, "
        f"at most {points(sure.bound)} ({_level(told)})."
    )


def _lead(plan: SearchPlan) -> str:
    """That a proxy's order need not be that of the networks it stands for, and what to do; nothing without a proxy."""
    if not is_proxy(plan):
        return ""
    own, trained = cost(plan.baseline).macs, cost(plan.proxy.baseline).macs
    gpu = f", or a GPU, which needs no proxy up to {show_count(GPU_MACS)} FLOPs" if own <= GPU_MACS else ""
    return (
        f"A lead, no proof, for networks of {show_count(own)} FLOPs: that proxies of {show_count(trained)} rank as "
        f"those do is not shown. What checks it: a larger --proxy-flops{gpu}. Where there is no check, the paper's "
        "coefficients are the default."
    )


def _level(told: Answer) -> str:
    return f"{round(100 * told.level, 9):g} %"


def _no_decision(record: Record, told: Answer) -> tuple[str, ...]:
    """That nothing is decided, why, what stands instead, and what to change."""
    plan, name = record.plan, told.recommended
    paper = candidate(record, name).control == "paper"
    stands = "The paper's coefficients stand by default; they are" if paper else f"{name} stands by default; it is"
    said = [
        f"**No decision{'' if record.complete else ' yet'}:** {told.undecided}.",
        f"{stands} not a result of this search.",
    ]
    if "guessing" in told.undecided:
        right = f"Guessing the most frequent class gets {show_percent(plan.majority)} right."
        said.append(f"{right} More epochs (--epochs) or images (--images) let networks learn more.")
        if is_proxy(plan):
            small = f"{show_count(cost(plan.proxy.baseline).macs)} FLOPs at {plan.proxy.baseline.resolution} px"
            said.append(f"So may a larger proxy (--proxy-flops): as trained, the baseline has {small}.")
    elif not record.complete and any("--time-budget" in command for command in record.commands):
        said.append("A longer --time-budget gets further.")
    return tuple(said)


def compared(record: Record, told: Answer) -> tuple[str, ...]:
    """The recommended network against the paper's coefficients, each control and the baseline."""
    return (*_paper(record, told), *map(comparison, ordered(told)))


def ordered(told: Answer) -> list[Comparison]:
    """The comparisons, the paper's first, the baseline's last."""
    return sorted(told.comparisons, key=lambda one: list(OTHERS).index(one.dimension))


def _paper(record: Record, told: Answer) -> tuple[str, ...]:
    """Where the paper's coefficients are, if they are not among the comparisons."""
    if any(item.dimension == "paper" for item in told.comparisons):
        return ()
    factors = (PAPER.alpha, PAPER.beta, PAPER.gamma)
    listed = record.enumeration
    here = [one for one in listed.candidates if factors in {(c.alpha, c.beta, c.gamma) for c in one.triples}]
    if any(one.name == told.recommended for one in here):
        return ("These are the paper's coefficients themselves, rounded to equal cost.",)
    if here:
        known = any(one.name == here[0].name and one.score for one in told.standings)
        ended = "scales one dimension alone" if known else "has no result to compare with"
        return (f"The paper's coefficients round to {here[0].name}, which {ended}.",)
    reasons = [one.reason for one in listed.dropped if (one.coefficients.alpha, one.coefficients.beta) == factors[:2]]
    return (f"The paper's coefficients are not in the race{f': {reasons[0]}' if reasons else ''}.",)


def comparison(item: Comparison) -> str:
    """The recommended network against another one, in a sentence."""
    gap, lead = f"({reach(item)})", f"{points(item.gap, sign=True)} points"
    if item.dimension == "baseline":
        grown = "Doubling the cost"
        if abs(item.cost_ratio / SEARCH_RATIO - 1) > EQUAL_COST:
            grown = f"Growing to {item.cost_ratio:.2f} × the cost"
        ended = {
            "won": "paid", "lost": "did not pay", "not shown": "is not shown to pay",
            "bought": "is not shown to pay: it should bring accuracy, but no more than the score asks at such a cost",
        }  # fmt: skip
        return f"{grown} {ended[item.verdict]}; {lead} of score against the baseline {gap}."
    other = f"{OTHERS[item.dimension]} ({item.control})"
    if item.verdict == "won":
        return f"Beats {other} by {points(item.gap)} points {gap}."
    if item.verdict == "bought":
        return (
            f"Bought at a higher cost against {other}: expected to be as accurate or more, but at "
            f"{item.cost_ratio:.2f} × its cost, and not by more than the score asks for that: {lead} {gap}."
        )
    return f"{'Loses to' if item.verdict == 'lost' else 'Not shown to beat'} {other}: {lead} {gap}."


def credible_set(told: Answer) -> str:
    """Who holds the best one; nothing where nothing is decided."""
    if told.certainty is None:
        return ""
    members, judged = [one.name for one in told.members], sum(one.score is not None for one in told.standings)
    hold = "holds" if len(members) == 1 else "hold"
    return f"{len(members)} of {judged} {hold} the best one with {_level(told)}: {names(members)}."


def _unjudged(record: Record, told: Answer) -> str:
    """Who has results and no part in the answer, and whose trainings count in part; nothing where there is nobody."""
    out, full = [one.name for one in told.standings if one.score is None], record.plan.train.epochs
    said = [f"Not judged, without a training to the end that is better than guessing: {names(out)}."] if out else []
    rows = [row for row in record.rows if row.status == "done" and row.epochs == full and row.name not in out]
    lost = Counter(r.name for r in rows if not above_guessing(r.correct, r.images, record.plan.majority))
    for name, count in sorted(lost.items()):
        whose, trained = "the baseline" if name == "baseline" else name, sum(row.name == name for row in rows)
        left = f"{'is' if count == 1 else 'are'} left out"
        said.append(f"{count} of {trained} trainings of {whose} ended no better than guessing and {left}.")
    return " ".join(said)


def _region(record: Record, told: Answer, sure: Certainty) -> str:
    ranges = [f"{one.low:.2f}" + (f"–{one.high:.2f}" if one.high > one.low else "") for one in sure.region]
    depth, width, resolution = ranges
    judged = sum(one.score is not None for one in told.standings)
    best = "The best one" if judged == len(record.enumeration.candidates) else f"The best of these {judged}"
    return f"{best} has depth × {depth}, width × {width} and resolution × {resolution}, each with {_level(told)}."


def _ties(record: Record, told: Answer, sure: Certainty) -> tuple[str, ...]:
    """Who is as good as the best, and what the fastest or cheapest of them saves."""
    others, tolerance = [name for name in sure.equivalents if name != sure.best], points(sure.tolerance)
    if not others:
        return (f"With any other one more than {tolerance} points are expected to be lost to {sure.best}.",)
    tied = (
        f"With {names(others, 'or')} no more than {tolerance} points are expected to be lost to {sure.best}, which has "
        "the highest expected score of those trained to the end."
    )
    if told.rule == "speed":
        saved = _saved(told.speeds[told.recommended], told.speeds[sure.best])
        return (f"{tied} The fastest of them is {told.recommended}: {saved} of {sure.best}.",)
    if told.ties != "speed":
        noun = NOUNS[told.ties]
        if told.ties == "latency" and sure.best in told.speeds and told.speeds[sure.best].latency_ms is None:
            return (f"{tied} Its latency was not measured, so nothing breaks the tie.",)
        if told.rule == "score":
            return (f"{tied} None of them that may be taken for it saves a tenth of its {noun}.",)
        numbers = {one.name: one.index for one in record.enumeration.candidates}
        relative = relative_costs(told.ties, record.enumeration.candidates, measured_speeds(record.rows))
        share = relative(numbers[told.recommended], numbers[sure.best])
        least = f"Of those that may be taken for it {told.recommended} has the least {noun}"
        return (f"{tied} {least}: {share or 1:.2f} × that of {sure.best}.",)
    longest = max(one.epochs for one in told.standings)
    ended = {one.name for one in told.standings if one.epochs == longest}
    measured = [name for name in others if name in told.speeds and name in ended]
    if sure.best in told.speeds and measured:
        best = told.speeds[sure.best]
        quick = [name for name in measured if relative_time(told.speeds[name], best) < WORTH]
        tied += (
            f" Faster, but outside the set or with more to lose than that against whoever is the best: {names(quick)}."
            if quick else " None of them that was trained to the end saves a tenth of its time."
        )  # fmt: skip
    return (tied,)


def _saved(one: Speed, other: Speed) -> str:
    """``0.62 × the latency and 0.71 × the training time``."""
    shares = [f"{one.epoch_seconds / other.epoch_seconds:.2f} × the training time"] if other.epoch_seconds else []
    if one.latency_ms and other.latency_ms:
        shares.insert(0, f"{one.latency_ms / other.latency_ms:.2f} × the latency")
    return " and ".join(shares)


def _further(told: Answer, sure: Certainty) -> str:
    """What more trainings would be worth."""
    now, then = points(sure.best_loss), points(sure.more_loss)
    of = f" of {sure.best}" if told.rule in ("speed", "cost") else ""  # the loss told before is the recommended one's
    took = "" if sure.more_seconds is None else f" ({show_seconds(sure.more_seconds)} one after the other)"
    if then == now or sure.more_loss >= sure.best_loss:
        return f"{sure.more} more full trainings{took} are not expected to lower the expected loss{of} noticeably."
    lower = f"are expected to lower the expected loss{of} from {now} to {then} points"
    return f"{sure.more} more full trainings{took} {lower}."


def _test(told: Answer) -> str:
    judged = [one for one in told.standings if one.test != "not judged"]
    left = [one for one in judged if one.test == "in"]
    if len(judged) < 2:
        return ""
    out = "; the recommended one is not among them" if told.best and told.best.test == "out" else ""
    return f"The test that assumes no model leaves {len(left)} of {len(judged)} fully trained ones in{out}."


def _choice(sure: Certainty) -> str:
    gap = sure.mean_gap
    return f"Against the mean of all candidates: {points(gap.value, sign=True)} points ({reach(gap)})."


def _seeds(sure: Certainty) -> str:
    spread = f"{points(sure.seed_sd.value)} points ({reach(sure.seed_sd)})"
    return f"Standard deviation of an accuracy between seeds, beyond what the images show: {spread}."


def shown_verdict(item: Comparison) -> str:
    """What a comparison shows, in words that need no table of theirs."""
    return "bought at a higher cost" if item.verdict == "bought" else item.verdict


def lead(item: Comparison) -> str:
    """A lead in score, its interval and what it shows."""
    return f"{points(item.gap, sign=True)} points ({reach(item)}), {shown_verdict(item)}"


def log_share(log_part: float) -> str:
    """A part of a log score as a percentage: 0.0296 → ``+3.0 %``."""
    return show_percent(math.expm1(log_part), sign=True)


def answer_lines(record: Record) -> tuple[str, ...]:
    """What a search came to, as plain text: a line a sentence, the table of candidates aside."""
    failed = sum(row.status == "failed" for row in record.rows)
    lines = [
        *answer(record),
        accuracy_source(record) if record.answer else "",
        f"{counted(failed, 'training')} failed; the report gives the reasons." if failed else "",
        NOT_FINISHED if record.answer and not record.complete else "",
    ]  # fmt: skip
    return tuple(bare(line) for line in lines if line)


def grid(record: Record) -> str:
    """How many triples stand on the grid, and how many networks they come to."""
    plan, listed = record.plan, record.enumeration
    dropped = f"{len(listed.dropped)} {'is' if len(listed.dropped) == 1 else 'are'} dropped"
    return (
        f"The grid (step {plan.grid.step:g}) has {counted(listed.nominal, 'triple')} with |αβ²γ² − {SEARCH_RATIO:g}| ≤ "
        f"{plan.grid.tolerance:g}; {dropped}; with the controls and the paper's triple, the others "
        f"come to {counted(len(listed.candidates), 'distinct network')} (rounding rule: {plan.rounding})."
    )


def costs(record: Record) -> tuple[str, ...]:
    """What the candidates really cost, and how much of a score's lead cost alone could make."""
    listed, plan = record.enumeration, record.plan
    trained = sorted(one.proxy_ratio for one in listed.candidates)
    nominal, full = ([getattr(one, name) for one in listed.candidates] for name in ("nominal_ratio", "real_ratio"))
    if not trained:
        return ()
    middle = (trained[(len(trained) - 1) // 2] + trained[len(trained) // 2]) / 2
    near = sum(abs(ratio / SEARCH_RATIO - 1) <= 0.05 + 1e-9 for ratio in trained)
    as_trained = " of the networks as trained" if plan.measure.at_any_size else ""
    ratio = "Ratio" if plan.measure.table is not None else "Real ratio"
    moved = (trained[-1] / trained[0]) ** abs(plan.exponent) - 1
    return (
        f"Nominal ratio αβ²γ² of the candidates: {min(nominal):.3f} to {max(nominal):.3f}.",
        f"{ratio} of the {plan.measure.noun}{as_trained}: {trained[0]:.3f} to {trained[-1]:.3f} (median "
        f"{middle:.3f}); {near} of {len(trained)} within ±5 % of {SEARCH_RATIO:g}. At full size: {min(full):.3f} to "
        f"{max(full):.3f}.",
        f"The cost's factor alone moves scores by {show_percent(moved, 2)} from the dearest to the cheapest candidate.",
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
    if not _learnt(verified):
        return "no network is clearly better than guessing"
    if verified.tau is None:
        return "Kendall's τ not defined (all scores equal at one size)"
    value, low, high = (show_number(one, ".2f") for one in (verified.tau.value, verified.tau.low, verified.tau.high))
    return f"Kendall's τ {value} (95 % interval {low} to {high})"


def sizes_compared(verified: Verification) -> str:
    """One line: how the networks were trained at both sizes."""
    return (
        f"{counted(verified.epochs_at_one, 'epoch')} at φ = 1, {verified.epochs} at φ = {verified.phi:g}; "
        f"{counted(verified.images, 'validation image')}"
    )


def verification(verified: Verification) -> tuple[str, ...]:
    """What a verification says, and what it does not, sentence by sentence."""
    if not _learnt(verified):
        return (f"At φ = {verified.phi:g} no network is clearly better than guessing, so nothing can be said.",)
    tell = (_order, _carried_loss, _agreement, _regret, _recommended_again)
    lines = [sentence(verified) for sentence in tell]
    if verified.failed:
        lines.insert(0, f"Without a result at φ = {verified.phi:g}: {', '.join(verified.failed)}.")
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


def _learnt(verified: Verification) -> bool:
    """Whether any network at φ is clearly better than guessing."""
    best = max(one.accuracy for one in verified.networks)
    return above_guessing(best * verified.images, verified.images, verified.majority)


def _order(verified: Verification) -> str:
    """Whether the order carries over: as the joint model of both sizes has it, or, with two networks, by τ alone."""
    count, carried, agreement, basis = len(verified.networks), verified.carried, verified.tau, ""
    if carried is not None:
        agreement = carried.correlation
        value, low, high = (show_number(one, ".2f") for one in (agreement.value, agreement.low, agreement.high))
        basis = (
            f": a joint model of both sizes puts the correlation of the true scores at {value} (95 %: {low} to "
            f"{high}), above 0 with {chance(carried.positive)}"
        )
    if agreement is None:
        return f"The order of {count} networks cannot be compared."
    shown = "is not shown to carry over, nor not to"
    if agreement.low > 0 or agreement.high < 0:
        shown = "carries over" if agreement.low > 0 else "is reversed"
    return f"The order at φ = 1 {shown}, as far as {count} networks tell{basis}."


def _carried_loss(verified: Verification) -> str:
    """What taking the recommended network costs at φ, as the joint model has it."""
    carried = verified.carried
    if carried is None or carried.loss is None or carried.bound is None:
        return ""
    return (
        f"Taking {verified.recommended} at φ = {verified.phi:g} is expected to lose {points(carried.loss)} points of "
        f"score, at most {points(carried.bound)} (90 %)."
    )


def _agreement(verified: Verification) -> str:
    if verified.repeat_tau is None:
        return f"{tau(verified)}."
    repeat = show_number(verified.repeat_tau, ".2f")
    return f"{tau(verified)}; φ = {verified.phi:g} trained again would agree with itself by about {repeat}."


def _regret(verified: Verification) -> str:
    regret = verified.regret
    if regret is None:
        return ""
    other, gap = verified.networks[regret.against].name, Interval(regret.gap, regret.low, regret.high)
    return (
        f"Regret of taking {verified.recommended}: {points(regret.value)} points of score; {other} minus it "
        f"{points(gap.value, sign=True)} ({reach(gap)})."
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
