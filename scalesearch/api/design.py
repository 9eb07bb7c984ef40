"""Baselines, members and families: what is asked, and what is calculated. Trains nothing."""

import logging
import math
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scalesearch.api.options import (
    BaselineOptions,
    FamilyOptions,
    ScaleOptions,
    budget_of,
    macs,
    path,
    seconds,
    takes,
)
from scalesearch.design.cost import cost
from scalesearch.design.family import FAMILY_FOLDER, LARGEST, Member, Origin, member, member_row, replaced, write_spec
from scalesearch.design.scaling import (
    PAPER,
    Coefficients,
    Rounding,
    check_coefficients,
    meet,
    meet_seconds,
    published_spec,
    size_baseline,
)
from scalesearch.design.space import SearchSpace, load_space
from scalesearch.design.spec import NetSpec
from scalesearch.errors import UserError
from scalesearch.units import show_count, show_percent

if TYPE_CHECKING:
    import pandas as pd

    from scalesearch.api.families import TrainedFamilies
    from scalesearch.nets.measure import Latency
    from scalesearch.study.record import Record

LOG = logging.getLogger(__name__)
USUAL_SPACE = "efficientnet_b0"


@dataclass(frozen=True)
class Scaling:
    """A baseline and how to scale it; ``origin`` says in words where that is from, ``folder`` is where specs go,
    ``data`` what a search was given (None: nothing was searched), ``searched`` whether it chose how to scale."""

    baseline: NetSpec
    coefficients: Coefficients
    rounding: Rounding
    origin: str
    folder: Path
    data: str | None = None
    searched: bool = False

    @property
    def stated(self) -> Origin:
        """For the files of members."""
        return Origin(f"{self.coefficients} ({self.rounding} rounding)", self.searched)

    def member(self, phi: float) -> Member:
        """The member at a real φ. Raises UserError where it is too large to build."""
        return member(self.baseline, self.coefficients, phi, self.rounding)

    def family(self, largest: int = LARGEST) -> "Family":
        """φ = 0 to ``largest``. Raises UserError on absurd sizes."""
        members = tuple(map(self.member, range(largest + 1)))
        return Family(self.baseline.name, members, self.origin, self.folder, self.stated)


@dataclass(frozen=True)
class ScaledMember:
    """A member with the scaling that it is of; ``file`` is where its spec goes, ``named`` whether it was asked to go
    there, ``latency`` what was measured."""

    scaling: Scaling
    member: Member
    file: Path
    named: bool = False
    latency: "Latency | None" = None

    def write(self) -> str:
        """Writes the spec, which ``finetune --model`` takes; what a search had scaled by before, if that was there.

        Raises UserError where the family's folder, if no file was named, holds another network of that name.
        """
        spec, origin, do = self.member.spec, self.scaling.stated, "Name another file with --out, or delete this one."
        before = "" if self.named else replaced(self.file, spec, origin, do)
        write_spec(self.file, spec, origin)
        return before


@dataclass(frozen=True)
class Family:
    """The members of a family by name: ``family["b3"].spec``; ``origin`` says what they are scaled by, ``stated`` the
    same for their files, ``name`` of which baseline, ``folder`` is where specs go, ``trained`` what was trained of it
    and beside it."""

    name: str
    members: tuple[Member, ...]
    origin: str
    folder: Path
    stated: Origin
    trained: "TrainedFamilies | None" = None

    def __iter__(self) -> Iterator[Member]:
        return iter(self.members)

    def __len__(self) -> int:
        return len(self.members)

    def __getitem__(self, name: str) -> Member:
        members = {one.name: one for one in self.members}
        if name not in members:
            raise KeyError(f"{name}; there are {', '.join(members)}")
        return members[name]

    @property
    def table(self) -> "pd.DataFrame":
        """A row a member: φ, resolution in pixels, multiply-adds, parameters, cost over the baseline's."""
        import pandas as pd

        return pd.DataFrame(self.rows())

    def rows(self) -> list[dict[str, Any]]:
        """A row a member, as plain values; φ is None for a released one, which is no φ of any formula."""
        return [{**member_row(one), "phi": None if math.isnan(one.phi) else one.phi} for one in self.members]

    def write(self) -> str:
        """Writes each member's spec, which ``finetune --model`` takes; what a search had scaled by before, if those
        were there.

        Raises UserError, before it writes any, where the folder holds another network of such a name.
        """
        do = "Name another folder with --out, or delete this family."
        files = {self.folder / f"{one.name}.json": one.spec for one in self.members}
        before = [replaced(file, spec, self.stated, do) for file, spec in files.items()]
        for file, spec in files.items():
            write_spec(file, spec, self.stated)
        return next(filter(None, before), "")

    def _repr_html_(self) -> str:
        from scalesearch.reports import tables
        from scalesearch.reports.render import notebook

        return notebook(tables.family(self.members, caption=self.origin))


@takes(BaselineOptions)
def baseline(asked: BaselineOptions) -> NetSpec:
    """A space's network of φ = 0, sized to about ``target_flops``, or ``target`` of another cost. Raises UserError for
    an unknown space."""
    budget = budget_of(asked)
    return size_baseline(load_space(asked.space), budget.target, asked.classes, budget.measure, budget.option)


@takes(ScaleOptions)
def scale(asked: ScaleOptions) -> NetSpec:
    """The member at a real φ of the family that a network (φ = 0) and coefficients span.

    ``space`` may be a network's spec, too. Where neither it nor ``run`` is given, the newest search counts; where
    nothing was searched, or a space is named, the paper's coefficients. The spec is written where ``out`` says.

    Raises:
        UserError: none or several of ``phi``, ``flops`` and ``latency``, or a network too large to build.
    """
    result = member_of(asked)
    if asked.out is not None:
        result.write()
    return result.member.spec


@takes(FamilyOptions)
def family(asked: FamilyOptions) -> Family:
    """The family that a network (φ = 0) and coefficients span, chosen as for ``scale``; or a space's released members.

    With ``train`` its members are trained on your images, and others beside them at the same FLOPs; called again, it
    continues. ``tell`` is told of each training.

    Raises:
        UserError: a network too large to build, a space without released members, or an option that cannot be used.
    """
    check_family(asked)
    if asked.published:
        if asked.out is not None:
            do = "Leave it out, and train by name: finetune --model efficientnet_b3."
            raise UserError("--out", "released members are shown, not written.", do=do)
        return _published(asked.space or USUAL_SPACE)
    scaling, out = scaling_of(asked), path(asked.out)
    whole = scaling.family(asked.largest)
    whole = whole if out is None else replace(whole, folder=out)
    if asked.train is None:
        return whole
    from scalesearch.api import families  # brings torch
    from scalesearch.api.search import listener

    job = families.prepare(asked, scaling)
    expected = None if job.time_budget is None else families.forecast(job)
    return replace(whole, trained=families.run(job, listener(asked.tell), expected))


def check_family(asked: FamilyOptions) -> None:
    """Raises UserError for options that do nothing without --train, or nothing with it."""
    if asked.train is not None:
        if asked.published:
            raise UserError("--published", "released members are shown, not trained.", do="Leave out --train.")
        return
    of_training = fields(asked)[[one.name for one in fields(asked)].index("train") :]
    values = {one.name: getattr(asked, one.name) for one in of_training}  # of several the command line makes a list
    plain = {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
    given = [one.name for one in of_training if plain[one.name] != one.default]
    if given:
        option = f"--{given[0].replace('_', '-')}"
        raise UserError(option, "without --train nothing is trained.", do="Add --train b0..b3, or leave it out.")


def member_of(asked: ScaleOptions) -> ScaledMember:
    """The member that ``scale`` gives, and what it is of; writes nothing."""
    if sum(wanted is not None for wanted in (asked.phi, asked.flops, asked.latency)) != 1:
        raise UserError("scale", "give one of --phi, --flops and --latency.", do="Try: scalesearch scale --phi 3")
    out = path(asked.out)
    if out is not None and out.suffix != ".json":
        raise UserError("--out", f"{out} does not end in .json, as finetune --model needs it.", do="Name it .json.")
    chosen = scaling_of(asked)
    phi, latency = asked.phi, None
    target, wanted = macs(asked.flops, "--flops"), seconds(asked.latency, "--latency", "20ms or 0.1s")
    if wanted is not None:
        phi, latency = _of_latency(chosen, wanted, asked.batch_size, asked.device, asked.threads)
    elif target is not None:
        phi = round(meet(chosen.baseline, chosen.coefficients, target, chosen.rounding).phi, 4)
    assert phi is not None  # one of the three was given
    item = chosen.member(phi)
    return ScaledMember(chosen, item, out or chosen.folder / f"{item.name}.json", out is not None, latency)


def scaling_of(asked: ScaleOptions | FamilyOptions) -> Scaling:
    coefficients = asked.coefficients or _given(asked.alpha, asked.beta, asked.gamma)
    size = macs(asked.target_flops, "--target-flops")
    return choose_scaling(path(asked.run), asked.space, coefficients, asked.rounding, size)


def _published(space: NetSpec | str) -> Family:
    """The released members of a space."""
    name, loaded = (space.name, None) if isinstance(space, NetSpec) else (space, load_space(space))
    if loaded is None or not loaded.published:
        raise UserError("--published", f"{name} has no released members.", do="Give a space that has: efficientnet_b0.")
    base = cost(loaded.baseline).macs
    specs = {item.name: published_spec(loaded, item.name) for item in loaded.published}
    members = tuple(
        Member(one, math.nan, replace(spec, name=one), cost(spec).macs / base) for one, spec in specs.items()
    )
    origin = "released, rounded by hand"
    return Family(name, members, origin, Path(FAMILY_FOLDER) / name, Origin(origin))


def choose_scaling(
    run: Path | None,
    space: NetSpec | str | None = None,
    given: Coefficients | None = None,
    rounding: Rounding | None = None,
    target_macs: float | None = None,
) -> Scaling:
    """The scaling that options ask for.

    A named run must have been searched; without one the newest under runs/ counts unless a space or a size is named.
    Given coefficients go before both.

    Args:
        target_macs: multiply-adds that a baseline is scaled to that no search has sized.
    """
    if run is not None and target_macs is not None:
        problem = f"the baseline of --run {run} has the size that it was searched at."
        raise UserError("--target-flops", problem, do="Leave one of them out.")
    if run is not None and space is not None:
        named = space.name if isinstance(space, NetSpec) else space
        problem = f"{named} cannot be given beside --run {run}, which has a baseline of its own."
        raise UserError("--space", problem, do="Leave one of them out.")
    from scalesearch.study.record import newest_run, read_record  # NumPy would double the time of --help

    folder = run or (newest_run() if space is None and target_macs is None else None)
    if folder is not None:
        return searched_scaling(read_record(folder), given, rounding)
    base = USUAL_SPACE if space is None else space
    loaded = SearchSpace(base.name, base) if isinstance(base, NetSpec) else load_space(base)
    sized = size_baseline(loaded, target_macs)
    origin = f"Coefficients given: {given}" if given else f"Nothing was searched: the paper's coefficients, {PAPER}"
    size = "" if target_macs is None else f"-{show_count(target_macs, digits=6)}"
    return Scaling(sized, given or PAPER, rounding or "budget", origin, Path(FAMILY_FOLDER) / f"{sized.name}{size}")


def searched_scaling(record: "Record", given: Coefficients | None = None, rounding: Rounding | None = None) -> Scaling:
    """The baseline of a search, scaled by its coefficients; ``given`` coefficients and rounding go before its own."""
    from scalesearch.study.record import answered

    (answer, chosen), folder = answered(record), record.folder
    state = "" if chosen.complete else f", search unfinished: {chosen.done} of {chosen.total} trials"
    top1 = "" if chosen.top1 is None else f"; accuracy {show_percent(chosen.top1)} on the search's validation images"
    origin = f"Coefficients searched on {chosen.data} in {folder} ({chosen.coefficients}{state}{top1})"
    if answer.undecided:
        origin = f"The search in {folder} decided nothing ({answer.undecided}): the paper's coefficients, by default"
    if given:
        origin = f"Coefficients given: {given}; baseline of {folder}"
    coefficients, data = given or chosen.coefficients, record.provenance.data_argument
    own = given is None and rounding in (None, chosen.rounding)
    return Scaling(
        chosen.baseline, coefficients, rounding or chosen.rounding, origin, folder / FAMILY_FOLDER, data, own
    )


def _given(alpha: float | None, beta: float | None, gamma: float | None) -> Coefficients | None:
    """Raises UserError on some but not all of α, β, γ."""
    if alpha is None and beta is None and gamma is None:
        return None
    if alpha is None or beta is None or gamma is None:
        values = {"--alpha": alpha, "--beta": beta, "--gamma": gamma}
        missing = ", ".join(name for name, value in values.items() if value is None)
        problem = f"{missing} must be given, too: it takes all of --alpha, --beta and --gamma, or none of them."
        raise UserError("coefficients", problem)
    coefficients = Coefficients(alpha, beta, gamma)
    check_coefficients(coefficients)
    return coefficients


def _of_latency(
    chosen: Scaling, wanted: float, batch_size: int, device: str, threads: int | None
) -> "tuple[float, Latency]":
    """The φ whose member takes about so many seconds for a batch on this machine, and its measurement.

    Raises UserError where no member comes near.
    """
    from scalesearch.nets.measure import latency
    from scalesearch.training.device import choose_device, threads_for

    place = choose_device(device)
    measured: dict[str, Latency] = {}

    def seconds_of(spec: NetSpec) -> float:
        timing = latency(spec, batch_size, place)
        LOG.debug("%s: %.3g ms", cost(spec), timing.seconds * 1e3)
        measured[spec.digest] = timing
        return timing.seconds

    with threads_for(place, threads):
        sized = meet_seconds(chosen.baseline, chosen.coefficients, wanted, chosen.rounding, seconds_of)
    return sized.phi, measured[sized.spec.digest]
