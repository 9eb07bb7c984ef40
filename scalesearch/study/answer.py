"""The answer of a search: which network is recommended, how sure that is, and how it stands against the controls.

Kept as ``winners.json`` and ``coefficients.json`` in the run's folder. It follows from the trainings alone, whatever
the race was that asked for them: all statements come from one posterior (``study.posterior``), with a distribution-free
test (``statistics.not_beaten``) beside it.

A lead over a control is taken apart. score = accuracy · (FLOPS / T)^−0.07, so log score splits exactly:
log(score₁/score₂) = log(acc₁/acc₂) − 0.07 · log(FLOPS₁/FLOPS₂). The first term is the accuracy part, the second the
cost part.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import mean, median
from typing import Literal

from scalesearch.design.candidates import SEARCH_RATIO, Candidate
from scalesearch.design.controls import EQUAL_COST
from scalesearch.design.measure import FLOPS, Measure
from scalesearch.design.scaling import Coefficients, Rounding, Step, check_coefficients
from scalesearch.design.spec import NetSpec, shape_of
from scalesearch.errors import UserError
from scalesearch.files import load, together, write_json
from scalesearch.study.allocation import forecast
from scalesearch.study.config import Ties
from scalesearch.study.plan import SearchPlan, networks
from scalesearch.study.posterior import Posterior
from scalesearch.study.race import Field, Race, Results, State, learnt, recommended
from scalesearch.study.row import BASELINE, Row
from scalesearch.study.statistics import Interval, not_beaten, seed_spread, weigh

ANSWER_FILE, RECOMMENDATION_FILE = "winners.json", "coefficients.json"
FORMAT = 2  # of both
WORTH = 0.9  # of the best one's time or other cost: what saves less is not worth taking another network for
MORE = 6  # further full trainings whose worth is told
RULES = {
    "score": "the highest expected score of those trained to the end",
    "speed": "the fastest of the set and trained to the end whose expected loss is within the tolerance",
    "cost": "the cheapest of the set and trained to the end whose expected loss is within the tolerance",
    "default": "for want of a decision",
}

Verdict = Literal["won", "lost", "not shown", "bought"]
Status = Literal["member", "outside", "unknown"]
Rule = Literal["score", "speed", "cost", "default"]
Test = Literal["in", "out", "not judged"]
Relative = Callable[[int, int], float | None]


@dataclass(frozen=True)
class Comparison:
    """The recommended network against a control, the paper's triple or the baseline.

    Args:
        control: the other's name; ``dimension``: what it scales, "paper" or "baseline".
        gap, low, high: difference of the scores after full training and its 95 % interval. It is the posterior's, which
            knows of all candidates, so it holds although the network was chosen for its score.
        accuracy_part, cost_part: of log(score / control's score), in log units; they add up to it.
        cost_ratio: multiply-adds over the control's, as trained.
        verdict: "won" or "lost" where the interval excludes 0; else "bought": more accurate or as accurate at more
            FLOPs (over 3 %), but not by more than the score says such FLOPs should bring; else "not shown".
    """

    control: str
    dimension: str
    gap: float
    low: float
    high: float
    accuracy_part: float
    cost_part: float
    cost_ratio: float
    verdict: Verdict


@dataclass(frozen=True)
class Standing:
    """A candidate with a result.

    Args:
        name: such as c004; ``control`` the one dimension it scales, "paper", or empty.
        status: "member" of the set that holds the best one with the answer's level; "outside" of it; "unknown" where
            nothing is decided.
        epochs, seeds: of its furthest trainings; ``measured``: their mean score.
        score: expected after full training, with its 95 % interval; None where nothing is decided.
        best: probability of being the best.
        test: whether the test, which assumes no model, leaves it in; only full trainings are judged.
    """

    name: str
    control: str
    status: Status
    epochs: int
    seeds: int
    measured: float
    score: Interval | None
    best: float
    test: Test


@dataclass(frozen=True)
class Speed:
    """What a network was measured to take: of one image at full size, and of an epoch of its training."""

    latency_ms: float | None
    epoch_seconds: float


@dataclass(frozen=True)
class Certainty:
    """How good the recommendation is; all but the region in score.

    Args:
        best: of the candidates trained to the end, the one with the highest expected score.
        loss, bound: what the best one's score is expected to be above the recommended one's, and what that stays below
            with the answer's level; ``best_loss``: the loss of ``best``, where another is recommended for its cost.
        tolerance: what may be lost without mattering; ``equivalents``: the candidates within it of the best, which is
            first.
        region: of depth, width and resolution multipliers, mean and interval of the best one's at the answer's level.
        mean_gap: the recommended one's score above the mean candidate's, with its 95 % interval.
        seed_sd: standard deviation of an accuracy between seeds beyond the images' noise, with its 95 % interval.
        more, more_loss: the expected loss of the best one after so many more full trainings, and the seconds that they
            take one after the other, as far as that was measured.
    """

    best: str
    loss: float
    bound: float
    best_loss: float
    tolerance: float
    equivalents: tuple[str, ...]
    region: tuple[Interval, Interval, Interval]
    mean_gap: Interval
    seed_sd: Interval
    more: int
    more_loss: float
    more_seconds: float | None


@dataclass(frozen=True)
class Answer:
    """What a search came to.

    Args:
        level: the set contains the candidate that is truly best with this probability.
        undecided: why there is no decision; empty where there is one.
        certainty: None without a decision.
        standings: members first, by their probability of being the best, then by expected or measured score.
        recommended: a candidate's name; without a decision the paper's triple, by default.
        comparisons: the recommended one against the baseline, the paper's triple and the controls.
        speeds: measured, by name, of those equivalent to the best.
        complete: False while trainings that the race asked for are still to be run.
        ties: what the recommended one has least of among those that may be taken for the best.
    """

    level: float
    undecided: str
    certainty: Certainty | None
    standings: tuple[Standing, ...]
    recommended: str
    rule: Rule
    comparisons: tuple[Comparison, ...]
    speeds: Mapping[str, Speed]
    complete: bool
    ties: Ties = "speed"

    @property
    def members(self) -> tuple[Standing, ...]:
        """The set that holds the best one; all where nothing is decided."""
        return tuple(standing for standing in self.standings if standing.status != "outside")

    @property
    def best(self) -> Standing | None:
        """The recommended one; None where it was not trained."""
        return next((standing for standing in self.standings if standing.name == self.recommended), None)


@dataclass(frozen=True)
class Recommendation:
    """The recommended coefficients, with everything needed to scale by them.

    Args:
        coefficients: with the step from φ = 0 to 1 that was searched, where it was trained at full size or nearly.
        winner: the candidate's name; ``top1`` the mean accuracy of its furthest trainings and ``score`` its score; None
            where it was not trained.
        done, total: trainings with a result, and those with the ones that the race still asks for.
    """

    coefficients: Coefficients
    rounding: Rounding
    baseline: NetSpec
    space: str
    data: str
    target_macs: float
    winner: str
    score: float | None
    top1: float | None
    done: int
    total: int

    def __post_init__(self) -> None:
        check_coefficients(self.coefficients)
        if not 0 <= self.done <= self.total:
            raise ValueError(f"{self.done} of {self.total} trainings")

    @property
    def complete(self) -> bool:
        """Whether every training that the race asked for had ended."""
        return self.done == self.total


def field(plan: SearchPlan, candidates: Sequence[Candidate]) -> Field:
    """The candidates as the race sees them."""
    always = frozenset(candidate.index for candidate in candidates if candidate.control)
    return Field(networks(plan, candidates), always, plan.majority)


def verdict(as_accurate: bool, gap: Interval, ratio: float) -> Verdict:
    """What a comparison shows; see ``Comparison``."""
    if gap.low > 0:
        return "won"
    if gap.high < 0:
        return "lost"
    return "bought" if ratio > 1 + EQUAL_COST and as_accurate and gap.value <= 0 else "not shown"


def conclude(
    race: Race,
    state: State,
    takers: Field,
    candidates: Sequence[Candidate],
    results: Results,
    speeds: Mapping[int, Speed],
) -> Answer | None:
    """The answer so far; None while nothing has a result.

    Args:
        race: whose level and tolerance count; its steps do not.
        speeds: as far as they were measured, by candidate.
    """
    if not len(results):
        return None
    furthest = _furthest(results)
    shown = [c for c in candidates if c.index in furthest]
    believed = results.posterior(takers, race.full)
    why = undecided(race, takers, results, believed)
    if why or believed is None:
        standings = tuple(_standing(takers, c, results, furthest[c.index]) for c in shown)
        default = next((c.name for c in candidates if c.control == "paper"), candidates[0].name)
        return Answer(race.level, why, None, standings, default, "default", (), {}, not state.wanted, race.ties)
    names = {candidate.index: candidate.name for candidate in candidates}
    best = recommended(believed, race.full, results)
    equivalents = believed.equivalents(best, race.tolerance)
    choice, rule = _least(race, believed, equivalents, relative_costs(race.ties, candidates, speeds), results)
    certainty = _certainty(race, takers, believed, candidates, (best, choice), names, speeds)
    return Answer(
        level=race.level, undecided="", certainty=certainty,
        standings=_standings(race, takers, believed, shown, results, furthest), recommended=names[choice], rule=rule,
        comparisons=tuple(_comparisons(believed, takers, candidates, choice)),
        speeds={names[n]: speeds[n] for n in equivalents if n in speeds}, complete=not state.wanted, ties=race.ties,
    )  # fmt: skip


def _furthest(results: Results) -> dict[int, int]:
    """The most epochs that each network has a result after."""
    furthest: dict[int, int] = {}
    for number, _, epochs in results:
        if epochs > furthest.get(number, 0) and results.seeds(number, epochs):
            furthest[number] = epochs
    return furthest


def undecided(race: Race, takers: Field, results: Results, believed: Posterior | None) -> str:
    """Why nothing is decided; empty where something is."""
    baseline = [key for key in results if key[0] == BASELINE and key[2] == race.full]
    if baseline and not results.seeds(BASELINE, race.full):
        return "the baseline's trainings failed"
    if baseline and not learnt(results, BASELINE, race.full, takers.majority):
        return "the baseline is not clearly better than guessing the most frequent class"
    trained = [n for n in takers.candidates if results.seeds(n, race.full)]
    if not trained:
        return "no candidate has been trained to the end"
    if len(trained) < 2:
        return "only one candidate has been trained to the end"
    told = [n for n in trained if learnt(results, n, race.full, takers.majority)]
    if len(told) <= len(trained) / 2:
        return f"{len(trained) - len(told)} of {len(trained)} networks are not clearly better than guessing"
    if believed is None or len(believed.candidates) < 2:
        return "only one candidate is clearly better than guessing"
    return ""


def _standings(
    race: Race, takers: Field, believed: Posterior, shown: Sequence[Candidate], results: Results,
    furthest: Mapping[int, int],
) -> tuple[Standing, ...]:  # fmt: skip
    """Of all with a result: members of the set first, each by its probability of being the best."""
    members, best = set(believed.credible_set(race.level)), believed.probability_best()
    tested, standings = _tested(race, takers, results), []
    for candidate in shown:
        n = candidate.index
        one = _standing(takers, candidate, results, furthest[n])
        test: Test = ("in" if tested[n] else "out") if n in tested else "not judged"
        status: Status = "member" if n in members else "outside"
        score = believed.score(n) if n in best else None
        standings.append(replace(one, status=status, score=score, best=best.get(n, 0.0), test=test))
    return tuple(sorted(standings, key=_rank))


def _rank(one: Standing) -> tuple[bool, float, float, str]:
    """Members first, by their probability of being the best, then by expected or measured score."""
    return one.status != "member", -one.best, -(one.score.value if one.score else one.measured - 1), one.name


def _standing(takers: Field, candidate: Candidate, results: Results, epochs: int) -> Standing:
    """What was measured, before anything is decided."""
    n = candidate.index
    measured = takers.factors[n] * (results.accuracy(n, epochs) or 0.0)
    seeds = len(results.seeds(n, epochs))
    return Standing(candidate.name, candidate.control, "unknown", epochs, seeds, measured, None, 0.0, "not judged")


def _tested(race: Race, takers: Field, results: Results) -> dict[int, bool]:
    """Which of those trained to the end, and not to guessing, the test leaves in."""
    sound: dict[int, list[int]] = {}
    for number, seed, epochs in results:
        if epochs == race.full and results.sound((number, seed, epochs), takers.majority):
            sound.setdefault(number, []).append(seed)
    samples = {n: results.sample(n, race.full, seeds) for n, seeds in sorted(sound.items())}
    trained = [n for n in samples if n != BASELINE]
    evidence = weigh(
        [samples[n] for n in trained], [takers.factors[n] for n in trained], seed_spread([*samples.values()])
    )
    return dict(zip(trained, not_beaten(evidence, race.level).tolist(), strict=True))


def _least(
    race: Race, believed: Posterior, equivalents: Sequence[int], relative: Relative, results: Results
) -> tuple[int, Rule]:
    """Whom to recommend: of those trained to the end that may be taken for the best one, the one with the least of what
    ties are broken by, if it saves a tenth of the best one's; else the best one itself.

    Who may be taken for it is in the set and loses no more than is tolerated, in expectation, and at most where the
    best one does.
    """
    best, members = equivalents[0], believed.credible_set(race.level)
    bounded = believed.loss_bound(best, race.level) <= race.tolerance
    costs = {}
    for n in equivalents:
        cost = relative(n, best)
        if cost is not None and n in members and results.seeds(n, race.full):
            loss = believed.loss_bound(n, race.level) if bounded else believed.expected_loss(n)
            if loss <= race.tolerance:
                costs[n] = cost
    choice = min(costs, key=lambda n: (costs[n], n), default=best)
    rule: Rule = "speed" if race.ties == "speed" else "cost"
    return (choice, rule) if costs.get(choice, 1.0) < WORTH else (best, "score")


def relative_costs(ties: Ties, candidates: Sequence[Candidate], speeds: Mapping[int, Speed]) -> Relative:
    """A function of two candidates: the first one's cost over the second's, None where it is not known of both.

    "speed": latency and training time as measured, together; "latency" alone, as measured; counts are at full size.
    """
    specs = {candidate.index: candidate.spec for candidate in candidates}

    def relative(one: int, other: int) -> float | None:
        if ties != "speed" and ties != "latency":
            measure = Measure(ties)
            return measure.of(specs[one]) / measure.of(specs[other])
        if one not in speeds or other not in speeds:
            return None
        if ties == "speed":
            return relative_time(speeds[one], speeds[other])
        mine, others = speeds[one].latency_ms, speeds[other].latency_ms
        return mine / others if mine and others else None

    return relative


def relative_time(one: Speed, other: Speed) -> float:
    """Geometric mean of the ratios of latency, where both have one, and of training time."""
    ratios = [one.epoch_seconds / other.epoch_seconds if other.epoch_seconds else 1.0]
    if one.latency_ms and other.latency_ms:
        ratios.append(one.latency_ms / other.latency_ms)
    return math.prod(ratios) ** (1 / len(ratios))


def measured_speeds(rows: Sequence[Row]) -> dict[int, Speed]:
    """From the rows of a search: medians over a candidate's trainings."""
    reached: dict[tuple[int, int], int] = {}
    epochs: dict[int, list[float]] = {}
    latencies: dict[int, list[float]] = {}
    for row in sorted(rows, key=lambda row: row.key):
        if row.status == "done":
            before = reached.get((row.candidate, row.seed), 0)
            reached[row.candidate, row.seed] = row.epochs
            epochs.setdefault(row.candidate, []).append(row.seconds / max(1, row.epochs - before))
            if row.latency_ms is not None:
                latencies.setdefault(row.candidate, []).append(row.latency_ms)
    return {n: Speed(median(latencies[n]) if n in latencies else None, median(epochs[n])) for n in epochs}


def _certainty(
    race: Race, takers: Field, believed: Posterior, candidates: Sequence[Candidate], chosen: tuple[int, int],
    names: Mapping[int, str], speeds: Mapping[int, Speed],
) -> Certainty:  # fmt: skip
    best, choice = chosen
    values = {c.index: (c.multipliers.depth, c.multipliers.width, c.multipliers.resolution) for c in candidates}
    depth, width, resolution = believed.region(values, race.level)
    seconds = [speed.epoch_seconds for number, speed in speeds.items() if number != BASELINE]
    return Certainty(
        best=names[best], loss=believed.expected_loss(choice), bound=believed.loss_bound(choice, race.level),
        best_loss=believed.expected_loss(best),
        tolerance=race.tolerance, equivalents=tuple(names[n] for n in believed.equivalents(best, race.tolerance)),
        region=(depth, width, resolution), mean_gap=believed.advantage_over_mean(choice),
        seed_sd=believed.seed_sd, more=MORE, more_loss=forecast(believed, MORE),
        more_seconds=MORE * race.full * mean(seconds) if seconds else None,
    )  # fmt: skip


def _comparisons(
    believed: Posterior, takers: Field, candidates: Sequence[Candidate], choice: int
) -> Sequence[Comparison]:
    """The recommended candidate against the baseline and each control but itself, as far as they have a score."""
    others = [(BASELINE, "baseline", "baseline", 1.0)]
    others += [(c.index, c.name, c.control, c.proxy_ratio) for c in candidates if c.control and c.index != choice]
    means = dict(zip(believed.numbers, believed.mean.tolist(), strict=True))
    comparisons = []
    for number, name, dimension, ratio in others:
        if number in means:
            gap, cost_ratio = believed.advantage(choice, number), candidates[choice].proxy_ratio / ratio
            cost_part = math.log(takers.factors[choice] / takers.factors[number])
            accuracies = [max(means[n] / takers.factors[n], 1e-6) for n in (choice, number)]
            comparisons.append(Comparison(
                control=name, dimension=dimension, gap=gap.value, low=gap.low, high=gap.high,
                accuracy_part=math.log(accuracies[0] / accuracies[1]), cost_part=cost_part,
                cost_ratio=cost_ratio, verdict=verdict(accuracies[0] >= accuracies[1], gap, cost_ratio),
            ))  # fmt: skip
    return comparisons


def recommend(
    plan: SearchPlan, answer: Answer, candidates: Sequence[Candidate], results: Results, wanted: int
) -> Recommendation:
    """The coefficients of the recommended candidate; ``wanted``: trainings that the race still asks for.

    One φ costs twice the baseline for them, as they were compared, where the rounding can meet it, and φ = 1 is the
    network that was compared.
    """
    best = next(candidate for candidate in candidates if candidate.name == answer.recommended)
    growth = SEARCH_RATIO if plan.rounding == "budget" else None
    step, standing = Step(shape_of(plan.baseline), shape_of(best.spec)), answer.best
    return Recommendation(
        coefficients=replace(best.coefficients, growth=growth, searched=step), rounding=plan.rounding,
        baseline=plan.baseline, space=plan.space, data=plan.data, target_macs=plan.target_macs, winner=best.name,
        score=standing.measured if standing else None,
        top1=results.accuracy(best.index, standing.epochs) if standing else None, done=len(results),
        total=len(results) + wanted,
    )  # fmt: skip


def write_answer(folder: Path, answer: Answer, recommendation: Recommendation) -> None:
    """Writes ``winners.json`` and ``coefficients.json`` into a run's folder, both or neither."""
    with together(folder) as temporary:
        told, values = asdict(answer), asdict(recommendation)
        if answer.ties == "speed":
            del told["ties"]  # as before there were others
        write_json(temporary / ANSWER_FILE, {"format": FORMAT, **told})
        if recommendation.coefficients.measure == FLOPS:
            del values["coefficients"]["measure"]  # as before there were others
        write_json(temporary / RECOMMENDATION_FILE, {"format": FORMAT, **values})


def read_answer(folder: Path) -> Answer | None:
    """The answer in a run's folder; None where there is none. Raises UserError for a damaged or foreign file."""
    path = folder / ANSWER_FILE
    return load(Answer, path, "the answer of a search", FORMAT) if path.is_file() else None


def read_recommendation(folder: Path) -> Recommendation:
    """The recommended coefficients in a run's folder.

    Raises:
        UserError: not there, damaged, foreign, or of a newer version.
    """
    path = folder / RECOMMENDATION_FILE
    if not path.is_file():
        raise UserError(
            "--run", f"there is no {path.name} in {folder}, so it is not the folder of a search with an answer.",
            do='Run "scalesearch grid" first, or name such a folder.',
        )  # fmt: skip
    return load(Recommendation, path, "the coefficients of a search", FORMAT)
