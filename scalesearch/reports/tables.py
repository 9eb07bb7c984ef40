"""Every table as a value, written once; ``render`` shows it in a terminal, as markdown or in a notebook, ``page`` in a
page."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from scalesearch.design.candidates import DroppedTriple, Enumeration
from scalesearch.design.cost import cost
from scalesearch.design.family import Member, member_row
from scalesearch.design.scaling import PAPER
from scalesearch.reports import words
from scalesearch.reports.published import FormulaMember, PublishedNetwork, ReleasedMember
from scalesearch.study.answer import Answer, Standing
from scalesearch.study.record import MemberTraining, Record
from scalesearch.study.row import Row
from scalesearch.study.statistics import wilson_interval
from scalesearch.study.summary import NetworkSummary
from scalesearch.study.verification import ScaledCandidate, Verification
from scalesearch.table import Cell, Table, table
from scalesearch.units import counted, show_count, show_interval, show_number, show_percent

if TYPE_CHECKING:
    import pandas as pd

    from scalesearch.nets.transfer_plan import TransferPlan

RESULT_COLUMNS = (
    "candidate", "role", "control", "name", "digest", "alpha", "beta", "gamma", "triples", "nominal_ratio",
    "real_ratio", "macs", "fvcore_total", "params", "activations", "resolution", "blocks", "proxy_resolution",
    "proxy_macs", "epochs", "full_epochs", "seed", "status", "reason", "top1", "correct", "images", "score",
    "train_loss", "seconds",
)  # fmt: skip


CANDIDATE_COLUMNS = (
    "candidate", "accuracy", "95 % interval", "score", "status", "α", "β", "γ", "FLOPs", "× base", "params", "px",
    "blocks", "epochs", "seeds", "front", "trained", "αβ²γ²", "all triples α/β/γ",
)  # fmt: skip
CANDIDATES_OPTIONAL = (
    "all triples α/β/γ", "αβ²γ²", "trained", "front", "blocks", "params", "px", "× base", "seeds", "95 % interval",
)  # fmt: skip


def candidates(record: Record, most: int | None = None, members: bool = False) -> Table:
    """Every network with a result, the baseline too, those trained longest first, then by score.

    Args:
        most: how many candidates to list, and the baseline beneath them; None lists all.
        members: list further members of the winner set, too.
    """
    shown = list(record.summaries)
    if most is not None:
        ranked = [one for one in shown if not one.is_baseline]
        shown = [one for place, one in enumerate(ranked) if place < most or (members and one.member)]
        shown += [one for one in record.summaries if one.is_baseline]
    caption = "Every network with a result" if most is None else "The best candidates"
    return table(
        f"{caption}: those trained longest first, then by score", CANDIDATE_COLUMNS, map(_candidate, shown),
        sortable=True, optional=CANDIDATES_OPTIONAL,
    )  # fmt: skip


def _candidate(one: NetworkSummary) -> tuple[Cell, ...]:
    row, accuracy = one.row, one.accuracy
    status = words.STATUS[one.status] if one.status else row.role
    return (
        Cell(row.name),
        Cell(show_percent(accuracy.value), accuracy.value),
        Cell(show_interval(accuracy.low, accuracy.high), accuracy.low),
        Cell(f"{one.score:.4f}"),
        Cell(f"{status}, {row.control} only" if row.control else status),
        *(Cell(f"{factor:.4g}", factor) for factor in (row.alpha, row.beta, row.gamma)),
        Cell(show_count(row.macs), row.macs),
        Cell(f"{row.real_ratio:.3f}"),
        Cell(show_count(row.params), row.params),
        *(Cell(str(number)) for number in (row.resolution, row.blocks, row.epochs, one.seeds)),
        Cell("yes" if one.front else ""),
        Cell(f"{one.seconds:.0f} s", one.seconds),
        Cell(f"{row.nominal_ratio:.2f}"),
        Cell(row.triples),
    )


def summary_frame(record: Record) -> "pd.DataFrame":
    """A row a network: its design, accuracy with its 95 % interval, mean score, membership; those trained longest
    first, then by score."""
    import pandas as pd  # not needed by the reports themselves

    design = RESULT_COLUMNS[: RESULT_COLUMNS.index("seed")]
    return pd.DataFrame(
        [
            {
                **{name: value for name, value in one.row.to_dict().items() if name in design},
                "seeds": one.seeds, "correct": one.correct, "images": one.images, "accuracy": one.accuracy.value,
                "low": one.accuracy.low, "high": one.accuracy.high, "seed_spread": one.seed_sd, "score": one.score,
                "seconds": one.seconds, "member": one.member, "pareto": one.front,
            }
            for one in record.summaries
        ]
    )  # fmt: skip


def standings(record: Record) -> Table:
    """Where each candidate stands, with the score that decides it."""
    networks = {row.name: row for row in record.rows}
    answer: tuple[Standing, ...] = record.answer.standings if record.answer else ()
    rows = [
        (s.name, *(f"{factor:.4g}" for factor in (row.alpha, row.beta, row.gamma)), show_count(row.macs), s.epochs,
         s.seeds, f"{s.score:.4f}", f"{s.low:.4f}–{s.high:.4f}", words.status(s))
        for s in answer
        for row in (networks[s.name],)
    ]  # fmt: skip
    columns = ("candidate", "α", "β", "γ", "FLOPs", "epochs", "seeds", "score", "95 % interval", "status")
    return table("Where each candidate stands", columns, rows, optional=("seeds", "FLOPs"))


def comparisons(answer: Answer) -> Table:
    """A row per control: the score's lead as an accuracy part and a cost part (they multiply), and the verdict."""
    rows = [
        (
            f"{item.dimension} only ({item.control})", f"{item.epochs} × {item.seeds}",
            words.log_share(item.accuracy_part + item.cost_part), words.log_share(item.accuracy_part),
            words.log_share(item.cost_part), f"{item.cost_ratio:.3f}", show_number(item.gap, "+.4f"),
            words.reach(item), item.verdict,
        )
        for item in answer.comparisons
    ]  # fmt: skip
    columns = (
        "control", "epochs × seeds", "score", "= accuracy", "× FLOPs", "FLOPs ratio", "score lead", "95 % interval",
        "verdict",
    )  # fmt: skip
    return table("The recommended candidate against its controls", columns, rows)


def enumeration(listed: Enumeration) -> Table:
    """What a search would train."""
    rows = [
        (c.name, *_factors(c.coefficients.alpha, c.coefficients.beta, c.coefficients.gamma), f"{c.nominal_ratio:.2f}",
         f"{c.real_ratio:.3f}", show_count(c.macs), c.spec.resolution,
         " ".join(f"{t.alpha:g}/{t.beta:g}/{t.gamma:g}" for t in c.triples))
        for c in listed.candidates
    ]  # fmt: skip
    columns = ("candidate", "α", "β", "γ", "αβ²γ²", "× base", "FLOPs", "px", "all triples α/β/γ")
    return table("Candidates", columns, rows, optional=("all triples α/β/γ", "αβ²γ²"))


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
         f"{n.at_one.value:.4f}", f"{n.at_one.low:.4f}–{n.at_one.high:.4f}", n.rank_at_one,
         f"{n.at_phi.value:.4f}", f"{n.at_phi.low:.4f}–{n.at_phi.high:.4f}", n.rank_at_phi)
        for n in sorted(verified.networks, key=lambda n: n.rank_at_phi)
    ]  # fmt: skip
    columns = ("network", "status", "× base", "at φ = 1", "interval", "rank", at, "interval", "rank")
    caption = f"Scores with 95 % intervals: {words.sizes_compared(verified)}"
    return table(caption, columns, rows, optional=("× base", "rank"))


def _factors(*factors: float) -> tuple[str, ...]:
    return tuple(f"{factor:g}" for factor in factors)


def _alone(name: str, control: str) -> str:
    return f"{name} ({control} only)" if control else name


def family(members: Sequence[Member], trainings: Sequence[MemberTraining] = (), caption: str = "The family") -> Table:
    """The members of a family; accuracy on the test images where one was trained. A φ that is NaN is a dash."""
    tested = tested_members(members, trainings)
    columns = ["member", "φ", "px", "FLOPs", "× b0", "params", "activations", "depths", "widths"]
    columns += ["test accuracy", "95 % interval", "trained", "weights"] if tested else []
    rows = [_member(one, tested.get(one.name))[: len(columns)] for one in members]
    return table(caption, columns, rows, optional=("activations", "× b0", "params", "weights", "trained", "widths"))


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
        "ours/paper", "× b0", "φ by FLOPs",
    )  # fmt: skip
    caption = "B0…B7 as released: the paper (arXiv:1905.11946, table 2), torchvision's weights, our count"
    return table(caption, columns, rows, optional=("φ by FLOPs", "× b0", "depth", "width", "torchvision"))


def formula(members: Sequence[FormulaMember]) -> Table:
    """φ = 0…7 by the paper's coefficients."""
    rows = [
        (one.phi, one.resolution, f"{one.cost.params:,}", f"{one.cost.macs / 1e9:.3f}G", f"{one.ratio:.2f}",
         f"{2**one.phi}", f"{PAPER.nominal_ratio**one.phi:.2f}")
        for one in members
    ]  # fmt: skip
    columns = ("φ", "px", "params", "FLOPs", "× φ = 0", "2^φ", "(αβ²γ²)^φ")
    return table(f"φ = 0…7 by the formula ({PAPER})", columns, rows)


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
    images, rungs = made.images, record.answer.rungs if record.answer else ()
    lines = [
        ("run", words.run_name(record)),
        ("data", f"{plan.data}, digest {plan.data_digest}"),
        ("images", f"{images.train} train, {images.validation} validation, {images.test} test"),
        ("search space", f"{plan.space}, digest {plan.baseline.digest}"),
        ("rungs", ", ".join(f"{counted(epochs, 'epoch')} × {counted(seeds, 'seed')}" for epochs, seeds in rungs)),
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
    """A row for every tensor of the target."""
    rows = [
        (one.name, one.how, one.source or "", "×".join(map(str, one.source_shape)), "×".join(map(str, one.shape)),
         show_percent(one.kept / one.values, 0))
        for one in plan.tensors
    ]  # fmt: skip
    return table("Every tensor", ("tensor", "how", "from", "was", "is", "inherited"), rows)
