"""Does φ = 1 transfer? Networks of a finished search, scaled to another φ, trained there, and compared with φ = 1.

A search assumes that the candidate that wins at φ = 1 wins at larger φ. A verification trains the recommended network,
others and every control at φ, all at the same real FLOPs, as the search trained them. What it shows is kept as
``RUN/verify-phi2/verify.json``.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Literal

import numpy as np

from scalesearch.design.candidates import SEARCH_RATIO, Candidate, proxy_of
from scalesearch.design.controls import controls
from scalesearch.design.cost import cost
from scalesearch.design.family import member
from scalesearch.design.scaling import Rounding, check_buildable
from scalesearch.design.spec import DIMENSIONS, NetSpec, reshape
from scalesearch.errors import UserError
from scalesearch.files import load, write_json
from scalesearch.study.answer import Answer
from scalesearch.study.plan import SearchPlan, Trial
from scalesearch.study.race import Results
from scalesearch.study.row import Row
from scalesearch.study.statistics import (
    Carried,
    Evidence,
    Interval,
    Regret,
    carried,
    rank_agreement,
    regret,
    repeat_tau,
    seed_spread,
    weigh,
)

FILE = "verify.json"
FORMAT = 1
VerifiedStatus = Literal["recommended", "member", "outside", "unknown"]
LARGEST_PHI = 10  # a thousand times the baseline's FLOPs
_controls = lru_cache(maxsize=8)(controls)  # a search over shapes; asked for by every control and every reader


@dataclass(frozen=True)
class ScaledCandidate:
    """A candidate scaled to φ; ``status`` is what the search said of it.

    Args:
        spec: at full size; ``macs`` its multiply-adds, ``ratio`` over the baseline's.
        trained: as it is trained; ``proxy_ratio``: its multiply-adds over the baseline's as trained.
    """

    candidate: Candidate
    status: VerifiedStatus
    spec: NetSpec
    macs: int
    ratio: float
    trained: NetSpec
    proxy_ratio: float


@dataclass(frozen=True)
class SizeComparison:
    """A network judged at both sizes.

    Args:
        control: the one dimension it scales, or empty.
        ratio, proxy_ratio: multiply-adds at φ over the baseline's, at full size and as trained.
        at_one, at_phi: scores with their 95 % intervals, each network's by itself.
        rank_at_one, rank_at_phi: from 1, among the networks compared.
        seeds_at_one, seeds_at_phi: trainings behind each score.
        accuracy: at φ, the share of validation images right.
    """

    name: str
    control: str
    status: VerifiedStatus
    ratio: float
    proxy_ratio: float
    macs: int
    resolution: int
    at_one: Interval
    at_phi: Interval
    rank_at_one: int
    rank_at_phi: int
    seeds_at_one: int
    seeds_at_phi: int
    accuracy: float


@dataclass(frozen=True)
class Verification:
    """What came out, kept as ``verify.json``.

    Args:
        epochs: of the trainings at φ; ``epochs_at_one`` of those compared with; ``full_epochs`` of a full one.
        fully_trained: whether both were trained as long as the search trains those it recommends.
        networks: those with a result at both sizes, in the order they were chosen; ``failed``: names without.
        best: the name with the highest score at φ.
        tau: Kendall's τ-b between the scores at both sizes (``statistics.rank_agreement``).
        repeat_tau: what φ would agree with itself, trained again (``statistics.repeat_tau``).
        carried: what a joint model of both sizes says of whether the order carries over (``statistics.carried``).
        regret: in score at φ; None where the recommended network failed there. Its ``against`` counts in ``networks``.
        seed_sd: standard deviation of an accuracy between seeds beyond the images' noise, of both sizes.
        searched: the search's trainings that φ = 1 was known from; None in files of 0.1.0, which do not say.
    """

    phi: float
    epochs: int
    epochs_at_one: int
    full_epochs: int
    fully_trained: bool
    images: int
    majority: float
    networks: tuple[SizeComparison, ...]
    failed: tuple[str, ...]
    recommended: str
    best: str
    tau: Interval | None
    repeat_tau: float | None
    carried: Carried | None
    regret: Regret | None
    seed_sd: float | None
    searched: int | None = None

    def __post_init__(self) -> None:
        names = {network.name for network in self.networks}
        if self.best not in names or (self.regret and not 0 <= self.regret.against < len(self.networks)):
            raise ValueError(f"the best network {self.best} is not among those compared")
        if self.fully_trained != (min(self.epochs, self.epochs_at_one) >= self.full_epochs):
            raise ValueError(f"{self.epochs_at_one} and {self.epochs} epochs, a full training has {self.full_epochs}")


def chosen(answer: Answer, candidates: Sequence[Candidate], members: int, others: int) -> tuple[Candidate, ...]:
    """Which candidates to verify: the recommended one, other members, some outside, then every control and the paper's.

    Args:
        members: others of the set that holds the best, the most probable first.
        others: outside of it, spread evenly over the ranking down to its last, so that a rank correlation has range;
            where fewer are, over all that are left. Of either, controls do not count: they are taken in any case.
    """
    ranked = [standing for standing in answer.standings if not standing.control]
    first = [standing.name for standing in ranked if standing.name == answer.recommended]
    first += [s.name for s in ranked if s.status != "outside" and s.name != answer.recommended][:members]
    left = [standing for standing in ranked if standing.name not in first]
    out = [standing for standing in left if standing.status == "outside"]
    pool = out if len(out) >= others else left
    count = min(others, len(pool))
    spread = [pool[(place + 1) * len(pool) // count - 1].name for place in range(count)]
    ran = {standing.name for standing in answer.standings}
    by_name = {candidate.name: candidate for candidate in candidates}
    alone = [name for name, candidate in by_name.items() if candidate.control and name in ran]
    return tuple(by_name[name] for name in dict.fromkeys([*first, *spread, *alone]))


def scaled(
    plan: SearchPlan, answer: Answer, candidates: Sequence[Candidate], phi: float
) -> tuple[ScaledCandidate, ...]:
    """Candidates at φ: by their coefficients, controls by one dimension alone, each at about 2^φ times the baseline.

    A control whose dimension alone cannot grow so far is left out.

    Raises:
        UserError: φ not above 0, the search's own 1, or networks too large to build.
    """
    if not 0 < phi <= LARGEST_PHI or phi == 1:
        sizes = f"a number above 0, at most {LARGEST_PHI}, other than 1, which the search trained"
        raise UserError("--phi", f"{phi:g} is not {sizes}.")
    status: dict[str, VerifiedStatus] = {standing.name: standing.status for standing in answer.standings}
    status[answer.recommended] = "recommended"
    small, networks = plan.proxy.baseline, []
    for candidate in candidates:
        spec = trained = _at(plan.baseline, candidate, phi, plan.rounding)
        if small != plan.baseline and spec is not None:
            own = plan.measure.at_any_size
            trained = _at(small, candidate, phi, plan.rounding) if own else proxy_of(spec, plan.baseline, small)
        if spec is not None and trained is not None:
            check_buildable(spec, "--phi")
            macs, ratio = cost(spec).macs, plan.measure.of(spec) / plan.measure.of(plan.baseline)
            judged = plan.measure.of(trained) / plan.measure.of(small) if plan.measure.at_any_size else ratio
            named = [replace(one, name=candidate.name) for one in (spec, trained)]
            networks.append(ScaledCandidate(
                candidate, status[candidate.name], named[0], macs, ratio, named[1], judged,
            ))  # fmt: skip
    return tuple(networks)


def _at(baseline: NetSpec, candidate: Candidate, phi: float, rounding: Rounding) -> NetSpec | None:
    """A candidate at φ; None for a control that cannot grow so far."""
    spec = member(baseline, candidate.coefficients, phi, rounding).spec  # for controls, too, for its checks of φ
    return _control(baseline, candidate, phi) if candidate.control in DIMENSIONS else spec


def _control(baseline: NetSpec, candidate: Candidate, phi: float) -> NetSpec | None:
    measure = candidate.measure
    for control in _controls(baseline, SEARCH_RATIO**phi * measure.of(baseline), measure):
        if control.dimension == candidate.control:
            return reshape(baseline, control.shape)
    return None


def trials(plan: SearchPlan, networks: Sequence[ScaledCandidate], seeds: int, epochs: int | None) -> tuple[Trial, ...]:
    """The trainings at φ, the first seed of all networks first; ``epochs`` None is as long as the search's."""
    if epochs is not None:
        warmup = min(plan.train.warmup_epochs, epochs / 4)
        plan = replace(plan, train=replace(plan.train, epochs=epochs, warmup_epochs=warmup))
    return tuple(
        Trial(
            one.candidate.index, one.spec.name, one.spec, one.trained, plan.training(seed),
            plan.train.epochs, plan.weights,
        )
        for seed in range(seeds)
        for one in networks
    )  # fmt: skip


def check_shapes(wanted: Sequence[Trial], rows: Sequence[Row], where: str) -> None:
    """Raises UserError where a training that is done was of another network than the one wanted now."""
    done = {row.key: row for row in rows}
    for one in wanted:
        if one.key in done and done[one.key].digest != one.spec.digest:
            raise UserError(
                where, f"{one.name} was trained in another shape than this version gives it.",
                do="Delete the verification's folder.",
            )  # fmt: skip


def compare_sizes(
    plan: SearchPlan,
    recommended: str,
    networks: Sequence[ScaledCandidate],
    phi: float,
    wanted: Sequence[Trial],
    at_one: Results,
    at_phi: Results,
) -> Verification:
    """The verdict from the trainings at both sizes.

    φ = 1 counts by the largest number of epochs that all the networks were trained for there, so that none is compared
    at another length than the others.

    Args:
        recommended: the candidate's name.
        wanted: the trainings at φ.

    Raises:
        UserError: fewer than two networks have a result at both sizes.
    """
    numbers = [network.candidate.index for network in networks]
    epochs, seeds = wanted[0].until, {one.number for one in wanted}
    reached = {number: at_phi.seeds(number, epochs).keys() & seeds for number in numbers}
    epochs_at_one = common_epochs(at_one, numbers)
    judged = [network for network in networks if reached[network.candidate.index]]
    if len(judged) < 2:
        untrained = any(one.key not in at_phi for one in wanted)
        why = "they have not all been trained yet" if untrained else "rows.json in its folder says why trainings failed"
        raise UserError(
            f"φ = {phi:g}", f"fewer than two networks have a result, so there is nothing to compare; {why}.",
            do="Run the same command again to go on with it." if untrained else "",
        )  # fmt: skip
    first = [at_one.sample(n.candidate.index, epochs_at_one) for n in judged]
    second = [at_phi.sample(n.candidate.index, epochs, reached[n.candidate.index]) for n in judged]
    everybody = [at_one.sample(number, epochs_at_one) for number in at_one.numbers(epochs_at_one)]
    spread = seed_spread([*everybody, *second])
    ratios = (*(n.candidate.proxy_ratio for n in judged), *(n.proxy_ratio for n in judged))
    factors = [plan.score(1.0, ratio) for ratio in ratios]
    both = weigh([*first, *second], factors, spread)  # the same images on both sides, seeds on each by themselves
    one, other = both.part(slice(None, len(first))), both.part(slice(len(first), None))
    names = [n.spec.name for n in judged]
    place = names.index(recommended) if recommended in names else None
    return Verification(
        phi=phi, epochs=epochs, epochs_at_one=epochs_at_one, full_epochs=plan.train.epochs,
        fully_trained=min(epochs, epochs_at_one) >= plan.train.epochs, images=first[0].images,
        majority=plan.majority,
        networks=_compared(judged, one, other, [sample.accuracy for sample in second]),
        failed=tuple(n.spec.name for n in networks if n not in judged),
        recommended=recommended, best=names[int(np.argmax(other.scores))], tau=rank_agreement(one, other),
        repeat_tau=repeat_tau(other),
        carried=carried(both, place), regret=None if place is None else regret(other, place),
        seed_sd=spread.sd if spread else None, searched=len(at_one),
    )  # fmt: skip


def common_epochs(results: Results, numbers: Sequence[int]) -> int:
    """The largest number of epochs at which all of these candidates have a result. Raises UserError without one."""
    reached = [{e for n, _, e in results if n == number and results.seeds(n, e)} for number in numbers]
    common = set.intersection(*reached)
    if not common:
        raise UserError(
            "--run", "the search has not trained all of these networks for the same number of epochs yet.",
            do='Run "scalesearch grid" again to go on with it.',
        )  # fmt: skip
    return max(common)


def _compared(
    judged: Sequence[ScaledCandidate], one: Evidence, other: Evidence, accuracies: Sequence[float]
) -> tuple[SizeComparison, ...]:
    ranks = [ranked(evidence) for evidence in (one, other)]
    return tuple(
        SizeComparison(
            name=network.spec.name, control=network.candidate.control, status=network.status, ratio=network.ratio,
            proxy_ratio=network.proxy_ratio, macs=network.macs, resolution=network.spec.resolution,
            at_one=one.interval(place), at_phi=other.interval(place),
            rank_at_one=ranks[0][place], rank_at_phi=ranks[1][place],
            seeds_at_one=int(one.seeds[place]), seeds_at_phi=int(other.seeds[place]), accuracy=accuracies[place],
        )
        for place, network in enumerate(judged)
    )  # fmt: skip


def ranked(evidence: Evidence) -> list[int]:
    """Each network's rank by score, from 1; ties share the better one."""
    return [1 + int((evidence.scores > own).sum()) for own in evidence.scores]


def folder_of(run: Path, phi: float) -> Path:
    """Where the verification at φ lies, in the run's folder."""
    return run / f"verify-phi{phi:g}"


def write_verification(folder: Path, verification: Verification) -> None:
    """Writes ``verify.json`` into a verification's folder, atomically."""
    write_json(folder / FILE, {"format": FORMAT, **asdict(verification)})


def read_verifications(run: Path) -> tuple[Verification, ...]:
    """What was verified in a run's folder, by φ. Raises UserError for a damaged or foreign file."""
    read = [load(Verification, path, "a verification", FORMAT) for path in run.glob(f"verify-phi*/{FILE}")]
    return tuple(sorted(read, key=lambda one: one.phi))
