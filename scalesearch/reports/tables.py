"""Every table as a value, written once; ``render`` shows it in a terminal, as markdown or in a notebook, ``page`` in a
page."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from scalesearch.design.candidates import DroppedTriple, Enumeration
from scalesearch.design.cost import cost
from scalesearch.design.family import Member, member_row
from scalesearch.design.measure import FLOPS
from scalesearch.design.scaling import PAPER
from scalesearch.reports import words
from scalesearch.reports.goal_words import GOALS
from scalesearch.reports.published import FormulaMember, PublishedNetwork, ReleasedMember
from scalesearch.reports.scaled import ScaledNetwork
from scalesearch.study.answer import Answer, Standing
from scalesearch.study.confusion import Confusion
from scalesearch.study.goals import Goal
from scalesearch.study.record import MemberTraining, Record
from scalesearch.study.row import Row
from scalesearch.study.statistics import wilson_interval
from scalesearch.study.summary import NetworkSummary
from scalesearch.study.verification import ScaledCandidate, Verification
from scalesearch.table import Cell, Table, table
from scalesearch.units import counted, show_count, show_interval, show_percent

if TYPE_CHECKING:
    import pandas as pd

    from scalesearch.nets.transfer_plan import TransferPlan

RESULT_COLUMNS = (
    "candidate", "role", "control", "name", "digest", "depth_ratio", "width_ratio", "resolution_ratio", "triples",
    "nominal_ratio", "real_ratio", "proxy_ratio", "macs", "fvcore_total", "params", "activations", "resolution",
    "blocks", "proxy_resolution", "proxy_macs", "epochs", "full_epochs", "seed", "status", "reason", "top1", "correct",
    "images", "score", "train_loss", "seconds", "latency_ms",
)  # fmt: skip
CANDIDATE_COLUMNS = (
    "candidate", "accuracy", "95 % interval", "score", "status", "depth ×", "width ×", "px", "cost ×", "FLOPs",
    "params", "blocks", "epochs", "seeds", "front", "trained", "αβ²γ²", "all triples α/β/γ",
)  # fmt: skip
CANDIDATES_OPTIONAL = (
    "all triples α/β/γ", "αβ²γ²", "trained", "front", "blocks", "params", "FLOPs", "seeds", "95 % interval",
    "cost ×",
)  # fmt: skip
STANDINGS_COLUMNS = (
    "name", "control", "depth ×", "width ×", "px", "cost ×", "epochs", "seeds", "accuracy", "expected", "95 %", "best",
    "set", "test",
)  # fmt: skip
STANDINGS_OPTIONAL = ("cost ×", "test", "seeds", "epochs", "control", "set", "95 %", "px", "accuracy")
SHOWN_FROM = 0.05  # of a probability
IN_SET = {"member": "in", "outside": "out", "unknown": "–"}
TESTED = {"in": "in", "out": "out", "not judged": "–"}


def candidates(record: Record, most: int | None = None, members: bool = False) -> Table:
    """Every network with a result, the baseline too, those trained longest first, then by score.

    Args:
        most: how many candidates to list, and the baseline beneath them; None lists all.
        members: list further members of the set, too.
    """
    shown = list(record.summaries)
    if most is not None:
        ranked = [one for one in shown if not one.is_baseline]
        shown = [one for place, one in enumerate(ranked) if place < most or (members and one.member)]
        shown += [one for one in record.summaries if one.is_baseline]
    caption = "Every network with a result" if most is None else "The best candidates"
    fronts = any(one.front for one in shown)
    columns = [name for name in CANDIDATE_COLUMNS if fronts or name != "front"]
    rows = (_candidate(one) for one in shown)
    return table(
        f"{caption}: those trained longest first, then by measured score", columns,
        ([row[name] for name in columns] for row in rows), sortable=True,
        optional=[name for name in CANDIDATES_OPTIONAL if name in columns],
    )  # fmt: skip


def _candidate(one: NetworkSummary) -> dict[str, Cell]:
    """Its cells by their columns."""
    row, accuracy = one.row, one.accuracy
    status = words.STATUS[one.status] if one.status else row.role
    cells = (
        Cell(row.name),
        Cell(show_percent(accuracy.value), accuracy.value),
        Cell(show_interval(accuracy.low, accuracy.high), accuracy.low),
        Cell(_score(one.score)),
        Cell(", ".join(filter(None, (status, words.scales(row.control))))),
        *(Cell(f"{ratio:.2f}") for ratio in (row.depth_ratio, row.width_ratio)),
        Cell(str(row.proxy_resolution)),
        Cell(f"{row.proxy_ratio:.3f}"),
        Cell(show_count(row.macs), row.macs),
        Cell(show_count(row.params), row.params),
        *(Cell(str(number)) for number in (row.blocks, row.epochs, one.seeds)),
        Cell("yes" if one.front else ""),
        Cell(f"{one.seconds:.0f} s", one.seconds),
        Cell(f"{row.nominal_ratio:.2f}"),
        Cell(row.triples),
    )
    return dict(zip(CANDIDATE_COLUMNS, cells, strict=True))


def _score(value: float) -> str:
    """A score as points."""
    return f"{100 * value:.2f}"


def _range(low: float, high: float) -> str:
    return f"{_score(low)}–{_score(high)}"


def classes(confused: Confusion, most: int) -> Table:
    """How classes fare, the worst first; at most so many."""
    told = confused.by_class()
    lines = (
        (one.name, one.images, Cell(show_percent(one.accuracy.value), one.accuracy.value),
         show_interval(one.accuracy.low, one.accuracy.high),
         f"{one.mistaken[0]} ({show_percent(one.mistaken[1])})" if one.mistaken else "")
        for one in told[:most]
    )  # fmt: skip
    which = "Accuracy by class" if len(told) <= most else f"The {most} of {len(told)} classes with the lowest accuracy"
    columns = ("class", "images", "accuracy", "95 %", "most often taken for")
    return table(f"{which}, on validation images", columns, lines, sortable=True, optional=("images", "95 %"))


def summary_frame(record: Record) -> "pd.DataFrame":
    """A row a network: its design, accuracy with its 95 % interval, mean score, the score expected after full training,
    the probability of being the best, membership; those trained longest first, then by score."""
    import pandas as pd  # not needed by the reports themselves

    design = RESULT_COLUMNS[: RESULT_COLUMNS.index("seed")]
    standings = {standing.name: standing for standing in record.answer.standings} if record.answer else {}
    return pd.DataFrame(
        [
            {
                **{name: getattr(one.row, name) for name in design},
                "seeds": one.seeds, "correct": one.correct, "images": one.images, "accuracy": one.accuracy.value,
                "low": one.accuracy.low, "high": one.accuracy.high, "seed_spread": one.seed_sd, "score": one.score,
                **_expected(standings.get(one.row.name)), "seconds": one.seconds, "member": one.member,
                "pareto": one.front,
            }
            for one in record.summaries
        ]
    )  # fmt: skip


def _expected(standing: Standing | None) -> dict[str, float | None]:
    score = standing.score if standing else None
    return {
        "expected": score.value if score else None, "expected_low": score.low if score else None,
        "expected_high": score.high if score else None, "best": standing.best if standing and score else None,
    }  # fmt: skip


def standings(record: Record, most: int | None = None) -> Table:
    """Where each candidate stands: what it is, what was measured of it, and what that comes to.

    Args:
        most: how many to list, the first ones; None lists all.
    """
    rows, shown = {row.name: row for row in record.rows}, record.answer.standings if record.answer else ()
    accuracies = {one.row.name: one.accuracy.value for one in record.summaries}
    caption = "Where each candidate stands: score expected (points), probability of being the best, set, test"
    lines = [_standing(one, rows[one.name], accuracies[one.name]) for one in shown[:most]]
    return table(caption, STANDINGS_COLUMNS, lines, sortable=True, optional=STANDINGS_OPTIONAL)


def _standing(one: Standing, row: Row, accuracy: float) -> tuple[object, ...]:
    score, best = ("–", "–"), "–"
    if one.score is not None:
        score, best = (_score(one.score.value), _range(one.score.low, one.score.high)), show_percent(one.best, 0)
    return (
        one.name, one.control, f"{row.depth_ratio:.2f}", f"{row.width_ratio:.2f}", row.proxy_resolution,
        f"{row.proxy_ratio:.3f}", one.epochs, one.seeds, Cell(show_percent(accuracy), accuracy), *score,
        Cell(best, one.best), IN_SET[one.status], TESTED[one.test],
    )  # fmt: skip


def comparisons(answer: Answer) -> Table:
    """A row each: the score's lead as an accuracy part and a cost part (they multiply), and the verdict."""
    rows = [
        (
            f"{words.OTHERS[item.dimension]}{'' if item.dimension == 'baseline' else f' ({item.control})'}",
            words.log_share(item.accuracy_part + item.cost_part), words.log_share(item.accuracy_part),
            words.log_share(item.cost_part), f"{item.cost_ratio:.3f}", words.points(item.gap, sign=True),
            f"{words.points(item.low)} to {words.points(item.high)}", words.shown_verdict(item),
        )
        for item in words.ordered(answer)
    ]  # fmt: skip
    columns = ("against", "score", "= accuracy", "× cost", "cost ratio", "points", "95 % interval", "verdict")
    caption = f"The recommended candidate, {answer.recommended}, against others: expected scores after full training"
    return table(caption, columns, rows, optional=("cost ratio", "× cost", "= accuracy"))


def goals(record: Record, told: Sequence[Goal]) -> Table:
    """Every network's costs at full size, those trained longest first, and how likely it is on that cost's front."""
    rows = [
        (
            one.row.name, Cell(show_percent(one.accuracy.value), one.accuracy.value),
            *(
                Cell(f"{GOALS[goal.kind].short(goal.costs[name])}{_on_front(goal, name)}", goal.costs[name])
                for goal in told
            ),
        )
        for one in record.summaries
        for name in (one.row.name,)
    ]  # fmt: skip
    columns = ("network", "accuracy", *(GOALS[goal.kind].column for goal in told))
    caption = (
        "Costs at full size; * on the Pareto front of that cost and accuracy, among those trained longest, and how "
        "likely it is that no other network is truly more accurate at no higher cost"
    )
    return table(caption, columns, rows, sortable=True)


def _on_front(goal: Goal, name: str) -> str:
    """`` * (62 %)``: a star for what was measured, and the probability of what is true where it is no small one."""
    star, likely = " *" if name in goal.front else "", goal.likely.get(name, 0.0)
    return f"{star} ({show_percent(likely, 0)})" if likely >= SHOWN_FROM else star


def enumeration(listed: Enumeration) -> Table:
    """What a search would train."""
    rows = [
        (c.name, words.scales(c.control), f"{m.depth:.2f}", f"{m.width:.2f}", f"{m.resolution:.2f}",
         c.trained.resolution, f"{c.proxy_ratio:.3f}", f"{c.real_ratio:.3f}", show_count(c.macs),
         " ".join(f"{t.alpha:.4g}/{t.beta:.4g}/{t.gamma:.4g}" for t in c.triples))
        for c in listed.candidates
        for m in (c.multipliers,)
    ]  # fmt: skip
    columns = (
        "candidate", "scales", "depth ×", "width ×", "resolution ×", "px", "cost ×", "at full size ×", "FLOPs",
        "triples α/β/γ",
    )  # fmt: skip
    caption = "Candidates: multipliers, px and cost × as trained; FLOPs at full size"
    if listed.candidates and not listed.candidates[0].measure.at_any_size:
        caption = (
            f"Candidates: px as trained; multipliers, {listed.candidates[0].measure.noun} × and FLOPs at full size"
        )
    shown = table(caption, columns, rows, optional=("triples α/β/γ", "FLOPs", "at full size ×"))
    both = not listed.candidates or listed.candidates[0].measure.at_any_size
    return shown if both else shown.without("at full size ×")


def scaled(networks: Sequence[ScaledCandidate]) -> Table:
    """What a verification would train."""
    rows = [
        (_alone(one.spec.name, one.candidate.control), words.STATUS[one.status], *_factors(c.alpha, c.beta, c.gamma),
         f"{one.ratio:.3f}", show_count(one.macs), one.spec.resolution)
        for one in networks
        for c in (one.candidate.coefficients,)
    ]  # fmt: skip
    return table("Networks to train", ("network", "at φ = 1", "α", "β", "γ", "× base", "FLOPs", "px"), rows)


def verification(verified: Verification) -> Table:
    """The networks at both sizes, the best at φ first."""
    at = f"at φ = {verified.phi:g}"
    rows = [
        (_alone(n.name, n.control), words.STATUS[n.status], f"{n.ratio:.2f}",
         _score(n.at_one.value), _range(n.at_one.low, n.at_one.high), n.rank_at_one,
         _score(n.at_phi.value), _range(n.at_phi.low, n.at_phi.high), n.rank_at_phi)
        for n in sorted(verified.networks, key=lambda n: n.rank_at_phi)
    ]  # fmt: skip
    columns = ("network", "status", "× base", "at φ = 1", "interval", "rank", at, "interval", "rank")
    caption = f"Scores in points with 95 % intervals: {words.sizes_compared(verified)}"
    return table(caption, columns, rows, optional=("× base", "rank", "interval", "status"))


def _factors(*factors: float) -> tuple[str, ...]:
    return tuple(f"{factor:.3g}" for factor in factors)


def _alone(name: str, control: str) -> str:
    return f"{name} ({words.scales(control)})" if control else name


def family(members: Sequence[Member], trainings: Sequence[MemberTraining] = (), caption: str = "The family") -> Table:
    """The members of a family; accuracy on the test images where one was trained. A φ that is NaN is a dash."""
    tested, measure = tested_members(members, trainings), members[0].measure
    ratio = "× b0" if measure == FLOPS else f"{measure.noun} × b0"
    columns = ["member", "φ", "px", "FLOPs", ratio, "params", "activations", "depths", "widths"]
    columns += ["test accuracy", "95 % interval", "trained", "weights"] if tested else []
    rows = [_member(one, tested.get(one.name))[: len(columns)] for one in members]
    if measure.source:
        columns.insert(4, measure.noun)
        rows = [
            (*row[:4], measure.show(measure.of(one.spec)), *row[4:]) for row, one in zip(rows, members, strict=True)
        ]
    return table(
        caption,
        columns,
        rows,
        optional=(
            "activations",
            *([ratio] if measure == FLOPS else []),
            "params",
            "weights",
            "trained",
            "widths",
            "depths",
            "95 % interval",
        ),
    )


def tested_members(members: Sequence[Member], trainings: Sequence[MemberTraining]) -> Mapping[str, MemberTraining]:
    """By name, the training of each member that was trained at the size it has now."""
    trained = {(one.model, one.macs): one for one in trainings}
    sizes = {one.name: cost(one.spec).macs for one in members}
    return {name: trained[name, macs] for name, macs in sizes.items() if (name, macs) in trained}


def _member(one: Member, training: MemberTraining | None) -> tuple[object, ...]:
    sizes, tested = cost(one.spec), ("", "", "", "")
    if training is not None:
        interval = wilson_interval(training.test.correct, training.test.images)
        tested = (
            show_percent(interval.value), show_interval(interval.low, interval.high), start(training),
            str(training.folder),
        )  # fmt: skip
    return (
        one.name, f"{one.phi:g}" if one.phi == one.phi else "–", one.spec.resolution, show_count(sizes.macs),
        f"{one.ratio:.2f}", show_count(sizes.params), show_count(sizes.activations),
        " ".join(map(str, one.spec.depths)), " ".join(map(str, one.spec.widths)), *tested,
    )  # fmt: skip


def start(training: MemberTraining) -> str:
    """What a member began with."""
    return "from scratch" if training.start == "scratch" else "fine-tuned"


def family_values(members: Sequence[Member], trainings: Sequence[MemberTraining]) -> list[dict[str, object]]:
    """The members as ``family.json`` has them."""
    tested = tested_members(members, trainings)
    return [{**member_row(one), **(_tested(tested[one.name]) if one.name in tested else {})} for one in members]


def _tested(training: MemberTraining) -> dict[str, object]:
    test = training.test
    return {
        "top1": test.top1, "correct": test.correct, "images": test.images, "source": start(training),
        "path": str(training.folder),
    }  # fmt: skip


def published(networks: Sequence[PublishedNetwork]) -> Table:
    """Published networks; the heading of the accuracies says that they are ImageNet's."""
    rows = [
        (
            entry.network, Cell(show_percent(entry.top1), entry.top1), Cell(f"{entry.macs / 1e9:.3f}", entry.macs),
            Cell(show_count(entry.params), entry.params), entry.resolution, entry.weights,
        )
        for entry in networks
    ]  # fmt: skip
    columns = ("network", "ImageNet top-1", "GFLOPs", "params", "px", "weights")
    return table("Published networks, from torchvision's weight metadata", columns, rows, sortable=True)


def released(networks: Sequence[ReleasedMember]) -> Table:
    """B0…B7 counted three times."""
    rows = [
        (one.name, f"{one.width:g}", f"{one.depth:g}", one.resolution, f"{one.params.printed}M",
         f"{one.torchvision.params:,}", f"{one.ours.params:,}", f"{one.flops.printed}B",
         f"{one.torchvision.macs / 1e9:.3f}G"
         + (f" @{one.torchvision.resolution}" if one.torchvision.resolution != one.resolution else ""),
         f"{one.ours.macs / 1e9:.3f}G",
         "rounds to it" if one.flops.agrees else show_percent(one.flops.difference, sign=True),
         f"{one.ratio:.2f}", f"{one.phi:.2f}")
        for one in networks
    ]  # fmt: skip
    columns = (
        "name", "width", "depth", "px", "params: paper", "torchvision", "ours", "FLOPs: paper", "torchvision", "ours",
        "ours/paper", "× b0", "φ of as many FLOPs",
    )  # fmt: skip
    caption = "B0…B7 as released: the paper (arXiv:1905.11946, table 2), torchvision's weights, our count"
    return table(caption, columns, rows, optional=("φ of as many FLOPs", "× b0", "depth", "width", "torchvision"))


def formula(members: Sequence[FormulaMember]) -> Table:
    """φ = 0…7 by the paper's coefficients."""
    rows = [
        (one.phi, one.resolution, f"{one.cost.params:,}", f"{one.cost.macs / 1e9:.3f}G", f"{one.ratio:.2f}",
         f"{2**one.phi}", f"{PAPER.nominal_ratio**one.phi:.2f}")
        for one in members
    ]  # fmt: skip
    columns = ("φ", "px", "params", "FLOPs", "× φ = 0", "2^φ", "(αβ²γ²)^φ")
    return table(f"φ = 0…7 by the formula ({PAPER})", columns, rows)


def scaled_networks(networks: Sequence[ScaledNetwork]) -> Table:
    """Networks scaled by one dimension and by all, as the paper has them and as we count them."""
    rows = [
        (
            one.network, "–" if one.by == "baseline" else one.by, "/".join(f"{factor:g}" for factor in one.factors),
            one.resolution or "–", f"{one.top1} %", f"{one.printed}B", *_counted(one),
        )
        for one in networks
    ]  # fmt: skip
    columns = (
        "network", "scaled", "depth/width/px", "px", "top-1", "FLOPs: paper", "ours", "ours/paper", "× baseline"
    )  # fmt: skip
    caption = "Scaled networks: the paper (arXiv:1905.11946, tables 3 and 7), our count"
    return table(caption, columns, rows, optional=("px", "depth/width/px"))


def _counted(one: ScaledNetwork) -> tuple[str, str, str]:
    if one.flops is None or one.ratio is None:
        return "–", "not here", "–"
    agreement = "rounds" if one.flops.agrees else show_percent(one.flops.difference, sign=True)
    return f"{one.flops.counted / 1e9:.3f}G", agreement, f"{one.ratio:.2f}"


def dropped(triples: Sequence[DroppedTriple]) -> Table:
    """How many triples each reason took, most first, and the real cost ratios among them."""
    groups: dict[str, list[float]] = {}
    for one in triples:
        groups.setdefault(one.reason, []).append(one.real_ratio)
    rows = [
        (reason, len(ratios), "–".join(dict.fromkeys((f"{min(ratios):.2f}", f"{max(ratios):.2f}"))))
        for reason, ratios in sorted(groups.items(), key=lambda group: (-len(group[1]), group[0]))
    ]
    return table("Reasons", ("reason", "triples", "real cost, × base"), rows)


def failures(rows: Sequence[Row]) -> Table:
    """The trainings without a result, and why."""
    failed = [(row.name, row.role, row.seed, row.reason) for row in rows if row.status == "failed"]
    return table("Trainings without a result", ("name", "role", "seed", "reason"), failed, prose=True)


def provenance(record: Record, rates: words.Rates = words.NO_RATES) -> Table:
    """Where every number comes from, and what it took."""
    plan, made = record.plan, record.provenance
    images = made.images
    reached = Counter(row.epochs for row in record.rows)
    lines = [
        ("run", words.run_name(record)),
        ("data", f"{plan.data}, digest {plan.data_digest}"),
        ("images", f"{images.train} train, {images.validation} validation, {images.test} test"),
        ("search space", f"{plan.space}, digest {plan.baseline.digest}"),
        ("trainings", ", ".join(f"{number} of {counted(e, 'epoch')}" for e, number in sorted(reached.items()))),
        ("seeds", ", ".join(map(str, sorted({row.seed for row in record.rows})))),
        ("training", words.settings(plan)),
        ("versions", ", ".join(f"{package} {version}" for package, version in made.versions.items())),
        ("hardware", made.hardware),
        ("date", made.date),
        *words.spent(record, rates),
    ]
    rows = [(what, value) for what, value in lines if value]
    return table("Where every number comes from", ("what", "value"), rows, prose=True)


def inherited_tensors(plan: "TransferPlan") -> Table:
    """A row for every tensor of the target; where it comes from and what shape it had, where these are others."""
    rows = [
        (one.name, one.how, "×".join(map(str, one.shape)),
         "×".join(map(str, one.source_shape)) if one.source_shape != one.shape else "",
         show_percent(one.kept / one.values, 0), one.source if one.source and one.source != one.name else "")
        for one in plan.tensors
    ]  # fmt: skip
    columns = ["tensor", "how", "shape", "it had", "inherited", "named"]
    shown = [place for place in range(len(columns)) if any(row[place] for row in rows)]
    caption = "Every tensor; what stands under it had and named is of the weights, where that differs"
    return table(caption, [columns[i] for i in shown], [[row[i] for i in shown] for row in rows])
