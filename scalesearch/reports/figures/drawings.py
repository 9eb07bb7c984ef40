"""The report's figures: which ones the results allow, what each shows, and what it says to who cannot see it."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from matplotlib.figure import Figure

from scalesearch.design.cost import cost
from scalesearch.design.family import Member
from scalesearch.reports import family_words, goal_words, words
from scalesearch.reports.figures import curves
from scalesearch.reports.figures.accuracy import accuracy_figure
from scalesearch.reports.figures.canvas import Look
from scalesearch.reports.figures.confusion import calibration_figure, confusion_figure
from scalesearch.reports.figures.curves import curve, curve_name, learning_figure, members_figure
from scalesearch.reports.figures.families import costs_figure, families_figure
from scalesearch.reports.figures.goals import goals_figure
from scalesearch.reports.figures.members import family_figure
from scalesearch.reports.figures.mistakes import mistakes_figure, samples_figure
from scalesearch.reports.figures.score_grid import compared, curves_of, grid_figure, which
from scalesearch.reports.figures.scores import controls_figure, standings_figure, transfer_figure
from scalesearch.reports.pictures import Pictures
from scalesearch.reports.published import best_published
from scalesearch.reports.tables import tested_members
from scalesearch.study.answer import Answer
from scalesearch.study.calibration import Calibration
from scalesearch.study.confusion import Confusion
from scalesearch.study.family_answer import FamilyAnswer, compare
from scalesearch.study.family_record import FamilyRecord
from scalesearch.study.record import MemberTraining, Record
from scalesearch.study.summary import NetworkSummary
from scalesearch.study.verification import Verification
from scalesearch.units import counted, show_count, show_interval, show_percent

MOST_CONFUSED = 60  # classes: more are no picture
FRONT = (
    "; candidates on the Pareto front (none trained as long is cheaper and as accurate) are joined and, where there is "
    "room, named"
)


@dataclass(frozen=True)
class Drawing:
    """A figure to be drawn.

    Args:
        name: of its files.
        caption: what it shows, one sentence without a full stop.
        description: what can be seen in it, from the data.
    """

    name: str
    caption: str
    description: str
    draw: Callable[[Look], Figure]


def drawings(record: Record, members: Sequence[Member], pictures: Pictures | None = None) -> Iterator[Drawing]:
    """The figures that the results allow, in the report's order.

    Args:
        members: of the family, none while unfinished.
        pictures: images to show.
    """
    if record.summaries:
        yield Drawing(
            "accuracy_flops",
            "Accuracy against FLOPs, with 95 % intervals; the baseline has a FLOPs axis of its own"
            + (FRONT if any(one.front for one in record.summaries) else ""),
            _accuracies(record),
            lambda look: accuracy_figure(record, look),
        )
    if record.answer is not None:
        yield from _answer(record, record.answer)
    if record.leader is not None:
        yield from _leader(record)
    if any(len(ones) > 1 for ones in curves.networks(record)):
        yield Drawing(
            "learning_curves",
            "Learning curves: accuracy where trainings pause and the race measures it; nothing is known between",
            _learning(record),
            lambda look: learning_figure(record, look),
        )
    confused = record.confusion
    if confused is not None and len(confused.classes) <= MOST_CONFUSED:
        yield Drawing(
            "confusion",
            "What is taken for what: rows are true classes, columns what they were taken for",
            _confused(confused),
            lambda look: confusion_figure(confused.counts.tolist(), confused.classes, look),
        )
    reliability = confused.calibration if confused is not None else None
    if reliability is not None:
        yield Drawing(
            "calibration",
            "How often the first guess is right, by the probability that it was given; below: how many guesses",
            _reliability(reliability),
            lambda look: calibration_figure(reliability, look),
        )
    if pictures is not None:
        yield from _pictured(pictures, confused)
    yield from map(_transfer, record.verifications)
    for number, families in enumerate(record.families):
        if (found := compare(families)) is not None:
            yield replace(family_drawings(families, found)[0], name=families_name(number))
    trainings = [one for one in record.trainings if curve(one)]
    if trainings:
        yield Drawing(
            "member_curves",
            "Learning curves of the members that were trained, on validation images after every epoch",
            "; ".join(map(_member_curve, trainings)),
            lambda look: members_figure(trainings, look),
        )
    if members:
        yield Drawing(
            "family",
            "The family beside published networks: torchvision's best ImageNet weights of each, B2 at 288 px",
            _family(members, record),
            lambda look: family_figure(members, record.trainings, best_published(), record.plan.data, look),
        )


def family_drawings(record: FamilyRecord, answer: FamilyAnswer) -> tuple[Drawing, Drawing]:
    """Of families trained side by side: accuracy over FLOPs, and over what networks cost in use."""
    plan, seen = record.plan, family_words.described(record, answer)
    return (
        Drawing(
            "families", "Top-1 accuracy on the test images over FLOPs, 95 % intervals; all networks are trained alike",
            seen, lambda look: families_figure(plan, answer, look),
        ),
        Drawing(
            "families_costs", "The same accuracies over the latency of one image on this machine and over parameters",
            seen, lambda look: costs_figure(plan, answer, look),
        ),
    )  # fmt: skip


def families_name(number: int) -> str:
    """Of the figure of a search's families, the first, second, … that were trained."""
    return f"families_{number + 1}" if number else "families"


def _answer(record: Record, answer: Answer) -> Iterator[Drawing]:
    if not answer.undecided:
        yield Drawing(
            "credible_set",
            "Scores expected after full training, with 95 % intervals, the likeliest best on top; named with depth, "
            "width and resolution; open markers: not trained to the end",
            "; ".join(
                f"{one.name} {100 * one.score.value:.1f} ({words.reach(one.score)}), {words.STATUS[one.status]}, best "
                f"with {words.chance(one.best)}, trained for {counted(one.epochs, 'epoch')}"
                for one in answer.standings
                if one.score
            ),
            lambda look: standings_figure(record, answer, look),
        )
    if answer.comparisons:
        yield Drawing(
            "controls",
            f"Lead of {answer.recommended} over the paper's coefficients, depth, width and resolution alone, and the "
            "baseline, with 95 % intervals",
            "; ".join(f"{words.OTHERS[item.dimension]}: {words.lead(item)}" for item in words.ordered(answer)),
            lambda look: controls_figure(record, answer, look),
        )


def _transfer(verified: Verification) -> Drawing:
    return Drawing(
        f"transfer_phi{verified.phi:g}".replace(".", "_"),
        f"Scores of the same networks at φ = 1 and φ = {verified.phi:g}, with 95 % intervals: {words.tau(verified)}",
        "; ".join(
            f"{one.name} ({', '.join(filter(None, (words.STATUS[one.status], words.scales(one.control))))}): "
            f"{100 * one.at_one.value:.1f} and {100 * one.at_phi.value:.1f} points"
            for one in verified.networks
        ),
        lambda look: transfer_figure(verified, look),
    )


def _leader(record: Record) -> Iterator[Drawing]:
    """Once a candidate is in front."""
    if told := goal_words.goals_of(record):
        yield Drawing(
            "goals",
            "Accuracy, with 95 % intervals, against FLOPs, measured latency and peak memory of the networks at full "
            "size; each cost's Pareto front, as measured, is joined",
            goal_words.other_costs(record, told),
            lambda look: goals_figure(record, told, look),
        )
    yield Drawing(
        "score_grid",
        f"Score over depth and width as trained, {which(record)}; {curves_of(record)}candidates that differ in "
        "resolution alone stand side by side",
        _grid(record),
        lambda look: grid_figure(record, look),
    )


def _measured(one: NetworkSummary) -> str:
    accuracy = one.accuracy
    return (
        f"{one.row.name}: {show_percent(accuracy.value)} ({show_interval(accuracy.low, accuracy.high)}) at "
        f"{show_count(one.row.proxy_macs)} FLOPs after {counted(one.row.epochs, 'epoch')}"
    )


def _accuracies(record: Record) -> str:
    candidates = [one for one in record.summaries if not one.is_baseline]
    lines = [f"Baseline {_measured(one)}." for one in record.summaries if one.is_baseline]
    if record.leader:
        lines.append(f"{words.mark_label(record).capitalize()} {_measured(record.leader)}.")
        accuracies = [one.accuracy.value for one in candidates]
        macs = [one.row.proxy_macs for one in candidates]
        lines.append(
            f"{counted(len(candidates), 'candidate')} from {show_count(min(macs))} to {show_count(max(macs))} FLOPs "
            f"reach {show_percent(min(accuracies))} to {show_percent(max(accuracies))}."
        )
    if front := [one.row.name for one in record.summaries if one.front]:
        lines.append(f"On the Pareto front of those trained longest: {', '.join(front)}.")
    return " ".join(lines)


def _grid(record: Record) -> str:
    done = compared(record)
    (worst, low), *_, (best, high) = sorted([*done, *done], key=lambda one: one[1])  # both, though there be one
    ends = [f"{one.row.name} ({words.row_multipliers(one.row)})" for one in (worst, best)]
    return (
        f"{counted(len(done), 'candidate')}, scores {which(record)}: from {100 * low:.1f} points at {ends[0]} to "
        f"{100 * high:.1f} at {ends[1]}."
    )


def _learning(record: Record) -> str:
    lines = []
    for ones in curves.networks(record):
        if ones[0].is_baseline or (record.leader and ones[0].row.candidate == record.leader.row.candidate):
            points = ", ".join(
                f"{show_percent(one.accuracy.value)} after {counted(one.row.epochs, 'epoch')}" for one in ones
            )
            lines.append(f"{ones[0].row.name}: {points}.")
    return " ".join([*lines, f"{len(record.rungs)} measurements in all."])


def _pictured(pictures: Pictures, confused: Confusion | None) -> Iterator[Drawing]:
    some = (
        "" if len(pictures.samples) == pictures.classes else f", {len(pictures.samples)} of {pictures.classes} classes"
    )
    if pictures.samples:
        yield Drawing(
            "samples", f"Training images as the network looks at them, some of each class{some}",
            f"A row a class: {', '.join(pictures.samples)}.", lambda look: samples_figure(pictures.samples, look),
        )  # fmt: skip
    if pictures.mistakes and confused is not None:
        pixels, truths, guesses = zip(*((one.pixels, one.truth, one.guess) for one in pictures.mistakes), strict=True)
        wrong = int((confused.predictions[0] != confused.labels).sum())
        yield Drawing(
            "mistakes", "Validation images that one training takes for another class, those first that it is surest of",
            "; ".join(f"{one.truth} taken for {one.guess}" for one in pictures.mistakes),
            lambda look: mistakes_figure(pixels, truths, guesses, wrong, len(confused.labels), look),
        )  # fmt: skip


def _confused(confused: Confusion) -> str:
    worst = [one for one in confused.by_class() if one.mistaken][:5]
    told = "; ".join(
        f"{one.name} {show_percent(one.accuracy.value)} right, {show_percent(one.mistaken[1])} taken for "
        f"{one.mistaken[0]}" for one in worst if one.mistaken
    )  # fmt: skip
    return f"Lowest: {told}." if told else "Nothing is confused."


def _reliability(found: Calibration) -> str:
    bins = [
        f"stated {show_percent(stated, 0)}, right {show_percent(right, 0)} of {images}"
        for stated, right, images in zip(found.confidence, found.accuracy, found.images, strict=True) if images
    ]  # fmt: skip
    return "; ".join(bins)


def _member_curve(training: MemberTraining) -> str:
    points = curve(training)
    (first, start), (last, end) = points[0], points[-1]
    return (
        f"{curve_name(training)} {show_percent(start)} after {counted(first, 'epoch')}, {show_percent(end)} after "
        f"{counted(last, 'epoch')}, at best {show_percent(max(top1 for _, top1 in points))}"
    )


def _family(members: Sequence[Member], record: Record) -> str:
    sizes = [cost(one.spec) for one in (members[0], members[-1])]
    tested = [
        f"{name} {show_percent(one.test.top1)}" for name, one in tested_members(members, record.trainings).items()
    ]
    return (
        f"{members[0].name} to {members[-1].name}: {show_count(sizes[0].macs)} to {show_count(sizes[1].macs)} FLOPs, "
        f"{show_count(sizes[0].params)} to {show_count(sizes[1].params)} parameters. "
        + (f"Tested on {record.plan.data}: {', '.join(tested)}." if tested else "No member is tested yet.")
        + " Published networks' accuracies are on ImageNet, on an axis of their own."
    )
