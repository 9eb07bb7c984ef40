"""Whether the files of a run say the same: what they state is held against what follows from the trainings.

The answer and a verification are not taken from their files but counted again from the predictions; a file that states
anything else is refused, with the field, unless the search has gone on since.
"""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from pathlib import Path

from scalesearch.design.candidates import Candidate
from scalesearch.design.cost import cost
from scalesearch.errors import UserError
from scalesearch.study.answer import (
    Answer,
    Recommendation,
    conclude,
    field,
    measured_speeds,
    recommend,
)
from scalesearch.study.plan import Measurement, SearchPlan, Trial
from scalesearch.study.plan import row as plan_row
from scalesearch.study.race import TOLERANCE, Race, Results, State
from scalesearch.study.row import BASELINE, Row
from scalesearch.study.verification import ScaledCandidate, Verification, compare_sizes, scaled, trials

MEND, AGAIN = "Continue the search to mend it.", "Verify again to mend it."
# What another processor or another version of NumPy makes of the same draws, in score and probability, and how far a
# level may then lie from where a set or a test changes.
NEAR = 1e-3
EXACT = re.compile(  # fields that no draw is in
    r"\.(measured|cost_ratio|cost_part|latency_ms|epoch_seconds|more_seconds|ratio|proxy_ratio|accuracy)$"
)
OF_PHI = re.compile(  # what a verification says of φ alone, whatever the search is by now
    r"phi|epochs|full_epochs|images|majority|best|failed\[\d+\]|regret\.(gap|value|against)|networks\[\d+\]\."
    r"(name|control|ratio|proxy_ratio|macs|resolution|at_phi\.value|rank_at_phi|seeds_at_phi|accuracy)"
)


@dataclass(frozen=True)
class Trainings:
    """What was trained: the plan, its candidates, a row a training, and what each showed on the validation images."""

    plan: SearchPlan
    candidates: Sequence[Candidate]
    rows: Sequence[Row]
    results: Results


def conflict(where: str, stated: object, follows: object, source: str, do: str = MEND) -> UserError:
    """What one file of a run says and another one contradicts."""
    return UserError(where, f"{str(stated)[:80]} is stated, but {str(follows)[:80]} follows from {source}.", do=do)


def check_row(where: str, plan: SearchPlan, one: Trial, candidate: Candidate | None, row: Row, do: str = MEND) -> None:
    """Raises UserError for a row that is not of this trial, not scored as it was measured, or not of the images."""
    failed = row.status == "failed"
    measurement = Measurement(
        cost(one.spec).macs, row.fvcore_total, row.correct, row.images, row.train_loss or 0.0, row.seconds,
        (row.reason or "unknown") if failed else "", row.note, row.latency_ms,
    )  # fmt: skip
    follows = plan_row(plan, one, candidate, measurement).to_dict()
    follows |= {"images": 0, "correct": 0, "latency_ms": None} if failed else {"images": plan.validation}
    for name, value in follows.items():
        if not _near(getattr(row, name), value):
            raise conflict(f"{where}: {name}", getattr(row, name), value, "the plan and its own counts", do)


def check_counts(where: str, row: Row, results: Results, do: str = MEND) -> None:
    """Raises UserError for a row that counts other images right than its predictions show."""
    if row.status == "done":
        counted = int(results.seeds(row.candidate, row.epochs)[row.seed].sum())
        if row.correct != counted:
            raise conflict(f"{where}: correct", row.correct, counted, "its predictions", do)


def counted_answer(
    trained: Trainings, answer: Answer, chosen: Recommendation, files: tuple[Path, Path]
) -> tuple[Answer, Recommendation]:
    """The answer counted again from the trainings, at the level and with the tolerance that are stated.

    Args:
        answer, chosen: as their ``files`` state them. They may be of fewer trainings while a search runs or where it
            was ended by force; then what they state has been overtaken, and nothing is held against it.

    Raises:
        UserError: they are of these trainings and state something else.
    """
    done, path = len(trained.rows), files[1]
    if answer.complete != chosen.complete:
        raise conflict(f"{path}: complete", f"{chosen.done} of {chosen.total}", answer.complete, files[0].name)
    if chosen.done > done:
        raise UserError(f"{path}: done", f"{chosen.done} trainings, but {done} rows.", do=MEND)
    tolerance = answer.certainty.tolerance if answer.certainty else TOLERANCE
    if not (0 < answer.level < 1 and 0 < tolerance <= 1):
        found = f"a level of {answer.level:g} and a tolerance of {tolerance:g}"
        raise UserError(f"{files[0]}: level", f"{found} are not between 0 and 1.", do=MEND)
    overtaken = chosen.done < done
    wanted = max(chosen.total - done, 1) if overtaken else chosen.total - done
    counted = _concluded(trained, answer, answer.level, tolerance, wanted)
    if counted is None:
        raise UserError(str(files[0]), "there is an answer, but no training that it could be from.", do=MEND)
    recommended = recommend(trained.plan, counted, trained.candidates, trained.results, wanted)
    if not overtaken:
        _check_twice(files[0], answer)
        others = (_concluded(trained, answer, level, near, wanted) for level, near in _nearby(answer.level, tolerance))
        _check_same(str(files[0]), _answer_values(answer), _answer_values(counted), map(_answer_values, others), NEAR)
        _check_order(files[0], answer)
        _check_same(str(path), flat(asdict(chosen)), flat(asdict(recommended)), (), 0.0)
    return counted, recommended


def _concluded(trained: Trainings, answer: Answer, level: float, tolerance: float, wanted: int) -> Answer | None:
    race = Race(trained.plan.train.epochs, 0, tolerance=tolerance, level=level, ties=answer.ties)
    state, takers = State(((BASELINE, 0, 0),) * wanted, 0), field(trained.plan, trained.candidates)
    return conclude(race, state, takers, trained.candidates, trained.results, measured_speeds(trained.rows))


def _nearby(level: float, tolerance: float) -> list[tuple[float, float]]:
    """Where a set, a test or a tie could fall otherwise by the last digits alone."""
    levels = (max(level - NEAR, level / 2), min(level + NEAR, (1 + level) / 2))
    return [(one, near) for one in levels for near in (tolerance * (1 - NEAR), tolerance * (1 + NEAR))]


def _check_twice(path: Path, answer: Answer) -> None:
    """Raises UserError where a candidate stands twice."""
    names = [one.name for one in answer.standings]
    if len(set(names)) < len(names):
        raise UserError(f"{path}: standings", "a candidate stands there twice.", do=MEND)


def _check_order(path: Path, answer: Answer) -> None:
    """Raises UserError where less probable candidates stand before others."""
    ranks = [(one.status != "member", -one.best) for one in answer.standings]
    if answer.certainty and any(later < earlier for earlier, later in pairwise(ranks)):
        raise UserError(f"{path}: standings", "they do not stand in the order of their probabilities.", do=MEND)


def _answer_values(answer: Answer | None) -> dict[str, object]:
    """Plain values, standings by their name; why nothing is decided is worded by whoever reads it."""
    assert answer is not None  # of these trainings there is one at any level
    standings = {one.name: asdict(one) for one in answer.standings}
    return flat({**asdict(answer), "standings": standings, "undecided": bool(answer.undecided)})


def trial_at(trained: Trainings, answer: Answer, phi: float, row: Row, where: str) -> tuple[Trial, Candidate]:
    """The trial at φ that a verification's row is of. Raises UserError where there is none."""
    (network,) = _scaled(trained, answer, phi, [row.name], where)
    epochs = None if row.epochs == trained.plan.train.epochs else row.epochs
    return trials(trained.plan, [network], row.seed + 1, epochs)[-1], network.candidate


def _scaled(
    trained: Trainings, answer: Answer, phi: float, names: Sequence[str], where: str
) -> tuple[ScaledCandidate, ...]:
    """The networks of these names at φ. Raises UserError for a name that the search has no result of."""
    known, standing = {one.name: one for one in trained.candidates}, {one.name for one in answer.standings}
    if unknown := [name for name in names if name not in known or name not in standing]:
        raise UserError(where, f"the search has no candidate {unknown[0]} with a result.", do=AGAIN)
    networks = scaled(trained.plan, answer, [known[name] for name in names], phi)
    if len(networks) < len(names):
        raise UserError(where, f"not all of {', '.join(names)} can be scaled to φ = {phi:g}.", do=AGAIN)
    return networks


def check_verification(where: str, trained: Trainings, answer: Answer, at_phi: Trainings, one: Verification) -> None:
    """Raises UserError where a verification states other than what follows from the trainings at both sizes.

    Where the search has gone on since, what was known of φ = 1 then cannot be counted again; the rest is.
    """
    names = [network.name for network in one.networks]
    if len({*names, *one.failed}) < len(names) + len(one.failed):
        raise UserError(f"{where}: networks", "a network stands there twice.", do=AGAIN)
    if one.searched is not None and one.searched > len(trained.results):
        raise conflict(f"{where}: searched", one.searched, len(trained.results), "the search's trainings", AGAIN)
    if one.recommended not in {candidate.name for candidate in trained.candidates}:
        raise UserError(f"{where}: recommended", f"the plan has no candidate {one.recommended}.", do=AGAIN)
    networks = _scaled(trained, answer, one.phi, [*names, *one.failed], f"{where}: networks")
    stated, counted = flat(asdict(one)), flat(asdict(_compared(trained, networks, at_phi, one, where)))
    if one.searched == len(trained.results):
        counted["recommended"] = answer.recommended
    else:
        same = [
            f"networks[{place}].at_one.value" for place in range(len(names))
            if all(stated.get(at) == counted.get(at) for at in ("epochs_at_one", f"networks[{place}].seeds_at_one"))
        ]  # fmt: skip
        kept = [name for name in {**stated, **counted} if OF_PHI.fullmatch(name) or name in same]
        stated, counted = ({n: values[n] for n in kept if n in values} for values in (stated, counted))
    _check_same(where, stated, counted, (), NEAR, AGAIN)


def _compared(
    trained: Trainings, networks: Sequence[ScaledCandidate], at_phi: Trainings, one: Verification, where: str
) -> Verification:
    """The verification counted again, of as many seeds as it says that it is of."""
    plan, epochs = trained.plan, None if one.epochs == trained.plan.train.epochs else one.epochs
    most, says = 1 + max((row.seed for row in at_phi.rows), default=0), [n.seeds_at_phi for n in one.networks]
    try:
        for seeds in range(1, 1 + most):
            wanted = trials(plan, networks, seeds, epochs)
            counted = compare_sizes(plan, one.recommended, networks, one.phi, wanted, trained.results, at_phi.results)
            if [network.seeds_at_phi for network in counted.networks] == says:
                break
    except UserError as error:
        raise UserError(where, f"{len(says)} networks are compared, but {error.problem}", do=AGAIN) from None
    return replace(counted, searched=one.searched)


def flat(values: object, place: str = "") -> dict[str, object]:
    """The plain values inside of mappings and lists, by their place.

    >>> flat({"best": "c1", "region": [{"low": 1}]})
    {'best': 'c1', 'region[0].low': 1}
    """
    if isinstance(values, Mapping):
        inner = {f"{place}.{name}".lstrip("."): value for name, value in values.items()}
    elif isinstance(values, list | tuple):
        inner = {f"{place}[{number}]": value for number, value in enumerate(values)}
    else:
        return {place: values}
    return {name: one for at, value in inner.items() for name, one in flat(value, at).items()}


def _check_same(
    where: str, stated: Mapping[str, object], counted: Mapping[str, object],
    others: Iterable[Mapping[str, object]], near: float, do: str = MEND,
) -> None:  # fmt: skip
    """Raises UserError at the first value that is stated and neither ``counted`` nor in one of the ``others``.

    Args:
        others: what is counted where the last digits fall otherwise; asked for only where something differs.
    """

    def differing(places: Iterable[str], values: Mapping[str, object]) -> list[str]:
        return [
            place for place in places
            if not (place in stated and place in values and _near(stated[place], values[place], near, place))
        ]  # fmt: skip

    places = differing({**stated, **counted}, counted)
    for values in others if places else ():
        places = differing(places, values)
    if places:
        place = places[0]
        told, follows = stated.get(place, "nothing"), counted.get(place, "nothing")
        raise conflict(f"{where}: {place}", told, follows, "the trainings", do)


def _near(stated: object, follows: object, near: float = 0.0, place: str = "") -> bool:
    """Equal, numbers but for their last digits; those of draws, which ``near`` allows for, but for a few draws."""
    if isinstance(stated, int | float) and isinstance(follows, float):
        off = 0.0 if EXACT.search(place) else near
        return math.isclose(stated, follows, rel_tol=max(1e-9, off * 1e-3), abs_tol=max(1e-12, off))
    return stated == follows and isinstance(stated, bool) == isinstance(follows, bool)
