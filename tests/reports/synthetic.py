"""Records as a search would leave them, without training: accuracies drawn around a known optimum."""

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from scalesearch.design.candidates import Candidate, DroppedTriple, Enumeration
from scalesearch.design.cost import cost, score
from scalesearch.design.family import Member, family
from scalesearch.design.scaling import PAPER, Coefficients, Multipliers
from scalesearch.design.space import Grid, load_space
from scalesearch.study.answer import Answer, Certainty, Comparison, Recommendation, Speed, Standing, Verdict
from scalesearch.study.config import TrainConfig
from scalesearch.study.plan import SearchPlan
from scalesearch.study.proxy import Proxy
from scalesearch.study.race import Results
from scalesearch.study.record import EpochMetrics, ImageCounts, MemberTraining, Provenance, Record, TestAccuracy
from scalesearch.study.row import BASELINE, Row
from scalesearch.study.statistics import Interval
from scalesearch.study.summary import summarise
from scalesearch.study.verification import SizeComparison, Verification, VerifiedStatus

TARGET, BASE_MACS, VALIDATION_IMAGES = 400e6, 385_814_752, 2000
SPEC = load_space("efficientnet_b0").baseline
SMALL = replace(SPEC, resolution=32)
OPTIMUM = (1.6, 1.1, 1.0)
FACTORS = Coefficients(1.2, 1.1, 1.15, 2.0)
COMMAND = "scalesearch grid --target-flops 400M --data flowers --seeds 1"


def triples(count: int) -> list[tuple[float, float, float]]:
    """The first ``count`` (α, β, γ) with αβ²γ² near 2, on the coarsest grid that has as many, spread over it."""
    for step in (0.1, 0.05):
        values = [round(1 + step * i, 2) for i in range(round(1 / step) + 1)]
        near = [(a, b, c) for a in values for b in values for c in values if abs(a * b * b * c * c - 2) <= 0.1]
        if len(near) >= count:
            return [near[i * len(near) // count] for i in range(count)]
    raise ValueError(f"no grid here has {count} triples")


def rows(count: int, seeds: int = 1, *, failed: tuple[int, ...] = (), noise: float = 0.01) -> tuple[Row, ...]:
    """``count`` candidates and the baseline, ``seeds`` trainings each of 3 epochs; those in ``failed`` have no
    result."""
    rng = np.random.default_rng(count)
    networks = [_network(BASELINE, (1.0, 1.0, 1.0), 1.0)]
    networks += [_network(i, t, 2 * (1 + rng.uniform(-0.05, 0.05))) for i, t in enumerate(triples(count))]
    trainings = []
    for values in networks:
        number, has = values["candidate"], [values[f"{name}_ratio"] for name in ("depth", "width", "resolution")]
        away = sum((ratio - best) ** 2 for ratio, best in zip(has, OPTIMUM, strict=True))
        level = 0.56 if number == BASELINE else 0.62 - 0.1 * away
        for seed in range(seeds):
            correct = round(VALIDATION_IMAGES * min(1.0, max(0.0, level + noise * rng.standard_normal())))
            one = Row(
                **values, seed=seed, status="failed", reason="loss is not finite | epoch 2", top1=None, correct=0,
                images=0, score=None, train_loss=None, seconds=40.5, epochs=3, full_epochs=3, latency_ms=12.0, note="",
            )  # fmt: skip
            trainings.append(one if number in failed else judged(one, correct))
    return tuple(trainings)


def _network(number: int, triple: tuple[float, float, float], ratio: float) -> dict[str, Any]:
    """The third candidate stands for the paper's coefficients, the second one for width alone."""
    control = {1: "width", 2: "paper"}.get(number, "")
    a, b, c = (PAPER.alpha, PAPER.beta, PAPER.gamma) if control == "paper" else triple
    macs = round(BASE_MACS * ratio)
    return {
        "candidate": number, "role": "baseline" if number == BASELINE else "candidate", "control": control,
        "name": f"c{number:03d}" if number >= 0 else "baseline", "digest": f"{number + 1:012x}",
        "depth_ratio": a, "width_ratio": b, "resolution_ratio": c, "triples": f"{a:g}/{b:g}/{c:g}",
        "nominal_ratio": a * b**2 * c**2, "real_ratio": ratio, "proxy_ratio": ratio, "macs": macs,
        "fvcore_total": round(macs * 1.04), "params": round(5_288_548 * a * b**2),
        "activations": round(6_700_000 * ratio), "resolution": round(224 * c), "blocks": round(16 * a),
        "proxy_resolution": round(32 * c), "proxy_macs": macs // 49,
    }  # fmt: skip


def judged(row: Row, correct: int, images: int = VALIDATION_IMAGES, epochs: int = 3) -> Row:
    """A training that got so many images right."""
    top1 = correct / images
    return replace(
        row, status="done", reason="", top1=top1, correct=correct, images=images,
        score=score(top1, row.macs, TARGET), train_loss=1.2, epochs=epochs,
    )  # fmt: skip


def early(trainings: Sequence[Row], fewer: int = 200) -> tuple[Row, ...]:
    """The same networks after one epoch."""
    return tuple(judged(row, row.correct - fewer, epochs=1) for row in trainings if row.status == "done")


def right(row: Row) -> Any:
    """Which images a training got right: easy ones by all networks, the others by chance."""
    ease = np.linspace(0, 1, row.images) + 0.1 * np.random.default_rng([row.candidate + 1, row.seed]).random(row.images)
    return np.argsort(np.argsort(ease)) < row.correct


def results(trainings: Sequence[Row]) -> Results:
    return Results({row.key: right(row) if row.status == "done" else None for row in trainings})


def listed(trainings: Sequence[Row], count: int | None = None) -> Enumeration:
    """The candidates of the rows, and others up to ``count``."""
    networks = {row.candidate: row.to_dict() for row in trainings if row.candidate != BASELINE}
    most = len(networks) if count is None else count
    some = _network(0, (2.0, 1.0, 1.0), 2.0)
    candidates = tuple(_candidate(number, networks.get(number, some)) for number in range(most))
    dropped = (
        DroppedTriple(Coefficients(2.0, 1.0, 1.0), 1.7, "no rounding within ±5 % of 2×"),
        DroppedTriple(Coefficients(1.9, 1.0, 1.0), 1.6, "no rounding within ±5 % of 2×"),
        DroppedTriple(Coefficients(1.0, 1.4, 1.0), 1.0, "rounds to the baseline itself"),
    )
    return Enumeration(candidates, dropped, len(candidates) + 10)


def _candidate(number: int, values: dict[str, Any]) -> Candidate:
    has = Multipliers(*(values[f"{name}_ratio"] for name in ("depth", "width", "resolution")))
    return Candidate(
        number, SPEC, values["macs"], values["real_ratio"], replace(SMALL, resolution=values["proxy_resolution"]),
        values["proxy_macs"], values["proxy_ratio"], (Coefficients(has.depth, has.width, has.resolution),), has,
        values["control"],
    )  # fmt: skip


PLAN = SearchPlan(
    space="efficientnet_b0", baseline=SPEC, grid=Grid(step=0.1, maximum=2.0, tolerance=0.1), rounding="budget",
    real_tolerance=0.05, target_macs=TARGET, data="Flowers", data_digest="0123456789ab", validation=VALIDATION_IMAGES,
    majority=0.025, proxy=Proxy(SMALL, 3, 8000), train=TrainConfig(3), device="cpu",
)  # fmt: skip
PROVENANCE = Provenance(
    command=COMMAND, versions={"scalesearch": "0.1.0", "torch": "2.15.0"}, hardware="2 CPU cores", date="2026-01-31",
    data_argument="flowers", classes=102, images=ImageCounts(8000, VALIDATION_IMAGES, 1000), source_digest="s",
    storage="", seconds=7440,
)  # fmt: skip


def record(
    trainings: Sequence[Row], answer: Answer | None = None, *, complete: bool = False, count: int | None = None,
    plan: SearchPlan = PLAN, provenance: Provenance = PROVENANCE, folder: Path = Path("/runs/flowers-grid"),
    verifications: tuple[Verification, ...] = (), tested: tuple[MemberTraining, ...] = (),
) -> Record:  # fmt: skip
    """A run's record; its plan's grid is said to come to ``count`` candidates, those of the rows if None."""
    recommendation = None
    if answer is not None:
        best = next(row for row in trainings if row.name == answer.recommended)
        factors = replace(_candidate(best.candidate, best.to_dict()).coefficients, growth=2.0)
        recommendation = Recommendation(
            factors, "budget", SPEC, plan.space, plan.data, TARGET, best.name, best.score or 0.0, best.top1 or 0.0, 9,
            9 if complete else 10,
        )  # fmt: skip
    made = Record(
        folder, plan, provenance, tuple(trainings), results(trainings), answer, recommendation, verifications, tested
    )
    vars(made)["enumeration"] = listed(trainings, count)  # in place of the plan's own
    return made


def answer(trainings: Sequence[Row], outside: int = 2, verdict: Verdict = "won") -> Answer:
    """An answer to the rows: the best one is recommended, the ``outside`` worst are out of the set."""
    ranked = [one for one in summarise(trainings, results(trainings)) if not one.is_baseline]
    inside, name = len(ranked) - outside, ranked[0].row.name
    standings = tuple(
        Standing(
            one.row.name, one.row.control, "member" if place < inside else "outside", one.row.epochs, one.seeds,
            one.score, Interval(one.score + 0.001, one.score - 0.01, one.score + 0.01),
            2.0 ** -(place + 1 if one is not ranked[-1] else place), "in" if place < inside else "out",
        )
        for place, one in enumerate(ranked)
    )  # fmt: skip
    certainty = Certainty(
        best=name, loss=0.0031, bound=0.0092, best_loss=0.0031, tolerance=0.005,
        equivalents=tuple(one.name for one in standings[:2]),
        region=(Interval(1.2, 1.0, 1.6), Interval(1.1, 1.0, 1.2), Interval(1.1, 1.1, 1.1)),
        mean_gap=Interval(0.004, -0.002, 0.011), seed_sd=Interval(0.0123, 0.005, 0.02), more=6, more_loss=0.0018,
        more_seconds=120.0,
    )  # fmt: skip
    comparisons = [
        Comparison(
            other, dimension, 0.0123, 0.0012, 0.0234, math.log(1.04), math.log(0.99), ratio, verdict
        )
        for other, dimension, ratio in (("baseline", "baseline", 2.0), ("c001", "width", 1.155), ("c002", "paper", 1.0))
        if other != name and (other == "baseline" or other in {one.name for one in standings})
    ]  # fmt: skip
    speeds = {one.name: Speed(12.0, 30.0 + place) for place, one in enumerate(standings[:2])}
    return Answer(0.9, "", certainty, standings, name, "score", tuple(comparisons), speeds, True)


def no_answer(trainings: Sequence[Row], reason: str) -> Answer:
    """Nothing is decided, and the paper's coefficients stand by default."""
    told = answer(trainings)
    standings = tuple(
        replace(one, status="unknown", score=None, best=0.0, test="not judged") for one in told.standings
    )  # fmt: skip
    default = next((one.name for one in standings if one.control == "paper"), standings[0].name)
    return Answer(0.9, reason, None, standings, default, "default", (), {}, True)


@cache
def members() -> tuple[Member, ...]:
    """B0…B6 by coefficients that nobody searched."""
    return family(SPEC, FACTORS, "budget")


def trained(family: Sequence[Member], count: int) -> tuple[MemberTraining, ...]:
    """The first ``count`` members with a test result."""
    trainings = []
    for phi, one in enumerate(family[:count]):
        correct = 880 + 12 * phi - phi * phi
        test = TestAccuracy(correct / 1000, correct, 1000)
        start, folder = "imagenet" if phi < 4 else "scratch", Path(f"models/{one.name}")
        trainings.append(MemberTraining(one.name, cost(one.spec).macs, start, "s", COMMAND, test, (), folder))
    return tuple(trainings)


def curve(name: str, *top1: float) -> MemberTraining:
    """A member's training from scratch, with its accuracy after each epoch."""
    history = tuple(EpochMetrics(epoch, {"top1": share}) for epoch, share in enumerate(top1))
    return MemberTraining(name, 1, "scratch", "s", COMMAND, TestAccuracy(0.5, 1, 2), history)


def compared(
    name: str, status: VerifiedStatus, at: float = 0.6, control: str = "", interval: tuple[float, float] = (0.05, 0.05)
) -> SizeComparison:
    """A network of score ``at`` at φ = 1, and 0.1 more at φ."""
    below, above = interval
    one, other = (Interval(value, value - below, value + above) for value in (at, at + 0.1))
    return SizeComparison(
        name=name, control=control, status=status, ratio=4.0, proxy_ratio=4.0, macs=BASE_MACS * 4, resolution=300,
        at_one=one, at_phi=other, rank_at_one=1, rank_at_phi=1, seeds_at_one=2, seeds_at_phi=2, accuracy=0.5,
    )  # fmt: skip


AGREEMENT = Interval(1.0, 0.1, 1.0)


def verification(*networks: SizeComparison, tau: Interval | None = AGREEMENT) -> Verification:
    """A verification at φ = 2."""
    return Verification(
        phi=2.0, epochs=3, epochs_at_one=3, full_epochs=3, fully_trained=True, images=VALIDATION_IMAGES, majority=0.01,
        networks=networks, failed=(), recommended=networks[0].name, best=networks[0].name, tau=tau, repeat_tau=0.8,
        carried=None, regret=None, seed_sd=0.01,
    )  # fmt: skip
