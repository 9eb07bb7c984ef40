"""What families trained side by side come to, in sentences and tables: once, for terminal, page, markdown and notebook.

Sentences are markdown. A lead counts as shown where its interval, simultaneous over all rivals, leaves 0 out.
"""

from collections.abc import Sequence
from itertools import groupby

from scalesearch.design.cost import cost
from scalesearch.design.measure import FLOPS
from scalesearch.design.spec import NetSpec
from scalesearch.reports.words import bullets, names, plain, points
from scalesearch.study.family_answer import Crossing, FamilyAnswer, Lead, Point
from scalesearch.study.family_plan import FOUND, PAPER, Contender, FamilyPlan, rate_of
from scalesearch.study.family_record import FamilyRecord
from scalesearch.study.statistics import Interval
from scalesearch.table import Cell, Table, table
from scalesearch.units import counted, show_count, show_duration, show_interval, show_percent

LABELS = {
    PAPER: "the paper's", "depth": "depth alone", "width": "width alone", "resolution": "resolution alone"
}  # fmt: skip


def label(plan: FamilyPlan, family: str) -> str:
    """What a family is called: only coefficients that a search found are called found."""
    return ("found" if plan.searched else "yours") if family == FOUND else LABELS.get(family, family)


def title(record: FamilyRecord) -> str:
    return f"Families trained side by side on {plain(record.plan.data)}"


def verdict(record: FamilyRecord, answer: FamilyAnswer | None) -> str:
    """The one sentence, or few, that the trainings support."""
    plan = record.plan
    if answer is None:
        failed = sum(row.status == "failed" for row in record.rows)
        ended = f" {counted(failed, 'training')} failed." if failed else ""
        return f"**Without an answer: no network has a result on the test images yet.**{ended}"
    if not answer.learnt:
        return (
            "**Without an answer: no network is clearly better than guessing the most frequent class "
            f"({show_percent(plan.majority)}).** So nothing is said of families. Train longer, or try other learning "
            "rates."
        )
    own, noun = "the found family" if plan.searched else "your family", plan.measure.noun
    told = [_decided(plan, own, [one for one in answer.leads if one.phis], f"At equal {noun}")]
    where = f"At the published networks' {noun}"
    told.append(_decided(plan, own, [one for one in answer.leads if not one.phis], where))
    for family in answer.same:
        if family == PAPER:
            whose = "The found coefficients are" if plan.searched else "Your coefficients are"
            told.append(f"{whose} the paper's, as far as networks go: both families are the same networks.")
        else:
            told.append(f"{label(plan, family).capitalize()} comes to the same networks as {own}.")
    sentences = " ".join(filter(None, told))
    return f"**{sentences}**" if sentences else f"**Nothing can be compared with {own} yet.**"


def _decided(plan: FamilyPlan, own: str, leads: Sequence[Lead], where: str) -> str:
    def over(some: Sequence[Lead]) -> str:
        return plain(names([label(plan, one.over) for one in some]))

    better, worse = ([one for one in leads if one.decided and sign * one.interval.value > 0] for sign in (1, -1))
    open_ones, parts = [one for one in leads if not one.decided], []
    if better:
        parts.append(f"more accurate than {over(better)}")
    if worse:
        parts.append(f"less accurate than {over(worse)}")
    shown = f"{where} {own} is {' and '.join(parts)}." if parts else ""
    if not open_ones:
        return shown
    rest = f"difference from {over(open_ones)} is not shown."
    return f"{shown} A {rest}" if shown else f"{where} a {rest}"


def state(record: FamilyRecord) -> tuple[str, ...]:
    """What is left to train; nothing of what is finished."""
    if not record.left:
        return ()
    return (f"Not finished: {counted(len(record.left), 'training')} left. What stands here is of those that are done.",)


def notes(record: FamilyRecord, answer: FamilyAnswer | None) -> tuple[str, ...]:
    """What must be known before the numbers are believed."""
    plan = record.plan
    told = [f"{plain(plan.origin[:1].upper() + plan.origin[1:]).rstrip('.')}."]
    if answer is None:
        return tuple(told)
    told.append(
        f"Accuracies are top-1 on {plan.test} test images of {plain(plan.data)}, with 95 % intervals. FLOPs are "
        "multiply-adds of convolution and linear operators as fvcore counts them. ImageNet's accuracies do not compare."
    )
    if plan.measure != FLOPS:
        source = f", {plan.measure.source}" if plan.measure.source else ""
        told.append(f"Families are compared at equal {plan.measure.noun}{source}.")
    guessing = [one.name for one in answer.points if not one.learnt]
    if guessing and answer.learnt:
        told.append(f"No better than guessing: {plain(names(guessing))}.")
    if answer.seed_sd is None:
        told.append("Each network has one seed: intervals hold for other images and these trainings, not other seeds.")
    else:
        told.append(f"Seeds differ by {points(answer.seed_sd)} points (standard deviation) beyond single images.")
    if answer.outside:
        beyond = plain(names(answer.outside))
        reach = f"does not reach the {plan.measure.noun} of {beyond}"
        told.append(f"The first family's curve {reach}: no lead is told there.")
    return tuple(told)


def leads(record: FamilyRecord, answer: FamilyAnswer, each_phi: bool = True) -> Table:
    """Over each rival: at all φ together, then at each if asked for."""
    measure = record.plan.measure
    costs = {one.families[0]: one.cost for one in answer.points if one.phi is None}
    ratio = f"{measure.noun} ratio"

    def line(one: Lead) -> tuple[object, ...]:
        at = f"φ = {', '.join(f'{phi:g}' for phi in one.phis)}" if one.phis else measure.show(costs[one.over])
        return (label(record.plan, one.over), at, points(one.interval.value, sign=True), _points(one.interval),
                f"{one.ratio:.2f}", "yes" if one.decided else "not shown")  # fmt: skip

    whole = {(one.over, one.phis) for one in answer.leads}
    each = [one for one in answer.leads_at if each_phi and (one.over, one.phis) not in whole]
    return table(
        "Lead of the first family, in points", ("over", "at", "lead", "95 %", ratio, "shown"),
        map(line, (*answer.leads, *each)), optional=(ratio,),
    )  # fmt: skip


def what_leads_are(plan: FamilyPlan) -> str:
    """How the table of leads is to be read."""
    noun = plan.measure.noun
    return (
        "A lead is the first family's accuracy minus the other's on the same images: the mean over all φ ≥ 1 that both "
        f"have, at each φ alone, and over a published network at its {noun}, on the straight line between members. "
        "Intervals of means and published networks hold all at once with 95 %; so do those at single φ. The "
        f"{noun} ratio is the first family's {noun} over the other's."
    )


def families(record: FamilyRecord, answer: FamilyAnswer) -> Table:
    """Of each family: what a doubling of the cost brings, and what its trainings took."""
    caption = f"Points per doubling of {record.plan.measure.noun}, and time in training"
    slopes = {one.family: one.interval for one in answer.slopes if answer.learnt}

    def line(family: str) -> tuple[object, ...]:
        one, price = slopes.get(family), next(one for one in answer.prices if one.family == family)
        return (label(record.plan, family), points(one.value, sign=True) if one else "", _points(one) if one else "",
                price.trainings, _seconds(price.seconds), _seconds(price.choosing))  # fmt: skip

    return table(
        caption, ("family", "per doubling", "95 %", "trainings", "time",
        "of it for rates"), (line(one.family) for one in answer.prices), optional=("of it for rates",),
    )  # fmt: skip


def prices(answer: FamilyAnswer) -> str:
    """How to read the table of families."""
    return (
        "Points per doubling are the least-squares slope over a family's points; each interval is for itself. A "
        "network that several families share counts in the time of each; all trainings together took "
        f"{show_duration(answer.seconds)}."
    )


def crossings(record: FamilyRecord, answer: FamilyAnswer) -> Table:
    """Pairs of curves that cross in any draw."""
    measure = record.plan.measure

    def short(value: float) -> str:
        return measure.unit.short(float(f"{value:.3g}"))

    def line(one: Crossing) -> tuple[object, ...]:
        assert one.low is not None  # of one that crosses
        assert one.high is not None
        both = " and ".join(label(record.plan, family) for family in one.families)
        reach = f"{short(one.low)} to {short(one.high)}"
        return both, short(one.cost) if one.cost else "none", reach, show_percent(one.share, 0)

    return table(
        "Where curves cross", ("curves", f"measured curves, {measure.noun}", "95 % of draws that cross", "draws"),
        map(line, (one for one in answer.crossings if one.share >= 0.005)),
    )  # fmt: skip


def what_crossings_are(plan: FamilyPlan) -> str:
    """How the table of crossings is to be read."""
    return (
        f"Where two curves first cross, in {plan.measure.noun}: as measured, and over those of 2000 draws of images "
        "and seeds in which they do. A share of the draws near 0 % or 100 % is decided; between them the data leave it "
        "open. A network that two families share is no crossing."
    )


def best(record: FamilyRecord, answer: FamilyAnswer) -> Table:
    """At each φ, the families that no other one beats."""
    lines = ((f"{one.phi:g}", names([label(record.plan, family) for family in one.families]), len(one.compared))
             for one in answer.best)  # fmt: skip
    return table("Families that may be best, at 95 %", ("φ", "nobody beats", "compared"), lines)


def lineup(plan: FamilyPlan) -> Table:
    """The networks that are to be trained, and what each starts from."""
    measure, other = plan.measure, _besides_flops(plan)

    def line(one: Contender) -> tuple[object, ...]:
        sizes, curves = cost(one.spec), names([label(plan, place.family) for place in one.places])
        size, begun = (show_count(sizes.macs), show_count(sizes.params)), (start(plan, one), one.epochs)
        equal = (measure.show(measure.of(one.spec)) for _ in other)
        return (one.name, curves, *equal, *size, one.spec.resolution, *begun)

    columns = ("network", "families", *other, "FLOPs", "parameters", "pixels", "starts from", "epochs")
    return table("Networks to train", columns, map(line, plan.contenders), optional=("families", "parameters"))


def _besides_flops(plan: FamilyPlan) -> tuple[str, ...]:
    """What families are equal in, where a table's column of FLOPs does not say it."""
    return () if plan.measure == FLOPS else (plan.measure.noun,)


def start(plan: FamilyPlan, one: Contender) -> str:
    """What a contender starts from: a smaller member, weights, or scratch."""
    if one.parent is not None:
        return plan.contenders[one.parent].name
    return one.weights.name if one.weights else "scratch"


def networks(record: FamilyRecord, answer: FamilyAnswer) -> Table:
    """All contenders with a result."""
    measure, other = record.plan.measure, _besides_flops(record.plan)

    def line(one: Point) -> tuple[object, ...]:
        return (
            one.name, names([label(record.plan, family) for family in one.families]), show_percent(one.accuracy.value),
            show_interval(one.accuracy.low, one.accuracy.high), one.seeds,
            *(Cell(measure.show(one.cost), one.cost) for _ in other), Cell(show_count(one.macs), one.macs),
            Cell(show_count(one.params), one.params), "" if one.latency_ms is None else f"{one.latency_ms:.3g}",
        )  # fmt: skip

    columns = ("network", "families", "accuracy", "95 %", "seeds", *other, "FLOPs", "parameters", "ms")
    return table("Networks on the test images", columns, map(line, answer.points), sortable=True,
                 optional=("families", "parameters", "ms"))  # fmt: skip


def latencies(record: FamilyRecord) -> str:
    """How they were measured."""
    if record.latencies is None:
        return "Latencies are measured when a call has trained what it was to train."
    return f"Latency: {record.latencies.how}."


def rates(record: FamilyRecord) -> Table:
    """The sweep of learning rates: validation accuracy of each, and which was chosen."""
    plan, lines = record.plan, []
    for owner in dict.fromkeys(one.tuned_by for one in plan.contenders):
        one, chosen = plan.contenders[owner], rate_of(plan, record.results, owner)
        tried = [row for row in record.rows if row.judged_on == "validation" and row.name == one.name]
        told = [f"{row.lr:g}: {'failed' if row.top1 is None else show_percent(row.top1)}" for row in tried]
        whose = [place.family for other in plan.contenders if other.tuned_by == owner for place in other.places]
        curves = "φ = 0" if one.places[0].phi == 0 else names([label(plan, each) for each in dict.fromkeys(whose)])
        rate = "" if chosen is None else f"{plan.rates[chosen]:g}"
        edge = "yes" if chosen in (0, len(plan.rates) - 1) else ""
        lines.append((curves, one.name, "; ".join(told) or "not yet", rate, edge))
    columns = ("curve", "tried on", "rate: validation accuracy", "chosen", "at the edge")
    return table("Learning rates tried", columns, lines, prose=True)


def recipe(record: FamilyRecord) -> str:
    """Whether all were treated alike."""
    plan, lr = record.plan, ", ".join(f"{rate:g}" for rate in record.plan.rates)
    if len(plan.rates) == 1:
        told = [f"Learning rate {lr} for all; no other was tried."]
    else:
        told = [
            f"Learning rates {lr} were tried with one training each, on the first network of each curve, and judged on "
            f"{plan.validation} validation images; the best is the whole curve's, though larger networks might want "
            "another. Beyond the edge of those tried there may be a better one. Intervals take the choice as given: "
            "another one might move a whole curve."
        ]
    told.append(_epochs(plan))
    children = [one for one in plan.contenders if one.parent is not None]
    if children:
        pairs = [f"{one.name} from {plan.contenders[one.parent or 0].name}" for one in children]
        told.append(
            f"Members inherit from trained smaller ones of the same seed: {plain(names(pairs))}. {_lineage(plan)}"
        )
    starts: dict[str, list[str]] = {}
    for one in plan.contenders:
        if one.parent is None:
            starts.setdefault(start(plan, one), []).append(one.name)
    told += [f"Started from {plain(source)}: {plain(names(some))}." for source, some in starts.items()]
    told.append(
        f"Dropout and drop-path by φ, the same for all families: {_dropout(plan)}. Published networks have their own."
    )
    told.append(
        f"{counted(record.seeds, 'seed')} each, on the same {plan.images} training images. Each training was judged on "
        f"the {plan.test} test images once; no choice saw them."
    )
    train = plan.train
    told.append(
        f"{train.optimizer}, batch size {train.batch_size}, weight decay {train.weight_decay:g}, label smoothing "
        f"{train.label_smoothing:g}, averaged weights {train.ema_decay:g}, {train.precision}, on {plan.device}."
    )
    return bullets(told)


def _epochs(plan: FamilyPlan) -> str:
    by_epochs = sorted((one.epochs, one.name) for one in plan.contenders)
    listed = [
        f"{counted(epochs, 'epoch')} for {names([name for _, name in some])}"
        for epochs, some in ((epochs, list(group)) for epochs, group in groupby(by_epochs, key=lambda item: item[0]))
    ]
    time = f"about the same training time at equal {plan.measure.noun}"
    alike = "the same epochs" if plan.equal == "epochs" else time
    if any(one.parent is not None for one in plan.contenders):
        alike += " where they start alike"
    return f"Networks of all families are given {alike}: {plain('; '.join(listed))}."


def _lineage(plan: FamilyPlan) -> str:
    """What a member costs with all that it goes back to, against training it alone for the epochs of the others."""
    lines = [plan.lineage(number) for number, one in enumerate(plan.contenders) if one.parent is not None]
    shares = [
        sum(cost(one.spec).macs * one.epochs for one in line) / (cost(line[0].spec).macs * plan.train.epochs)
        for line in lines
    ]
    span = " to ".join(dict.fromkeys(f"{share:.2f}" for share in (min(shares), max(shares))))
    return (
        f"A member's training and those that it goes back to cost together {span} "
        f"times what {counted(plan.train.epochs, 'epoch')} of that member alone would."
    )


def _dropout(plan: FamilyPlan) -> str:
    by_phi = {one.places[0].phi: one.spec for one in plan.contenders
              if one.places[0].phi is not None and isinstance(one.spec, NetSpec)}  # fmt: skip
    return "; ".join(f"φ = {phi:g}: {spec.dropout:g} and {spec.drop_path:g}" for phi, spec in by_phi.items())


def failures(record: FamilyRecord) -> Table:
    lines = [(row.name, row.seed, f"{row.lr:g}", row.reason) for row in record.rows if row.status == "failed"]
    return table("Trainings that failed", ("network", "seed", "learning rate", "reason"), lines, prose=True)


def left(record: FamilyRecord) -> Table:
    """What is still to be trained."""
    by_name: dict[str, list[int]] = {}
    for one in record.left:
        by_name.setdefault(one.name, []).append(one.number)
    lines = [(name, len(seeds), ", ".join(map(str, sorted(set(seeds))))) for name, seeds in by_name.items()]
    return table("Still to be trained", ("network", "trainings", "seeds"), lines)


def described(record: FamilyRecord, answer: FamilyAnswer) -> str:
    """What can be seen in the figure, for who cannot see it."""
    curves = (
        f"{label(record.plan, family)}: " + ", ".join(
            f"{show_percent(one.accuracy.value)} at {record.plan.measure.show(one.cost)}"
            for one in answer.curve(family))
        for family in record.plan.families if answer.curve(family)
    )  # fmt: skip
    return "; ".join(curves)


def _points(interval: Interval) -> str:
    return f"{points(interval.low)} to {points(interval.high)}"


def _seconds(seconds: float) -> Cell:
    return Cell(show_duration(seconds), seconds)
