"""Families side by side that nobody trained: folders as ``family --train`` leaves them, with accuracies made up."""

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict, replace
from functools import cache
from pathlib import Path
from statistics import NormalDist

import numpy as np

from scalesearch.design.cost import cost
from scalesearch.design.family import member
from scalesearch.design.scaling import PAPER, Coefficients
from scalesearch.design.space import load_space
from scalesearch.design.spec import NetSpec, TorchvisionSpec
from scalesearch.files import write_json
from scalesearch.study.config import TrainConfig
from scalesearch.study.family_plan import Contender, FamilyPlan, MemberTrial, Place, member_row, planned
from scalesearch.study.family_record import (
    FAMILIES_FILE,
    LATENCIES_FILE,
    LATENCIES_FORMAT,
    FamilyRecord,
    Latencies,
    family_values,
    read_family,
)
from scalesearch.study.outcomes import packed, write_predictions, write_rows
from scalesearch.study.plan import Measurement
from scalesearch.study.race import Results
from scalesearch.study.row import MemberRow, TrialResult

CLASSES = 4
BASELINE = replace(load_space("mbconv_small").baseline, classes=CLASSES, resolution=24)
FACTORS = {  # αβ²γ² = 2
    "found": Coefficients(1.5, 1.0, 1.155, 2.0), "paper": replace(PAPER, growth=2.0),
    "depth": Coefficients(2.0, 1.0, 1.0), "width": Coefficients(1.0, 2**0.5, 1.0),
    "resolution": Coefficients(1.0, 1.0, 2**0.5),
}  # fmt: skip
PUBLISHED: Mapping[str, int] = {"mobilenet_v2": 9_000_000, "resnet18": 21_000_000, "googlenet": 2_000_000_000}
GAINS = {"found": 0.05, "paper": 0.045, "depth": 0.01, "width": 0.03, "resolution": 0.02}
Level = Callable[[MemberTrial, FamilyPlan], float]


@cache
def spec_of(family: str, phi: int) -> NetSpec:
    """A family's network; φ = 0 is every family's."""
    return member(BASELINE, FACTORS[family], phi, "budget").spec


def plan_of(
    families: Collection[str] = ("found", "paper", "depth", "width", "resolution"), largest: int = 3,
    published: Collection[str] = tuple(PUBLISHED), *, inherits: bool = True, rates: tuple[float, ...] = (1e-3, 4e-3),
    same: Mapping[str, str] | None = None, images: int = 400,
) -> FamilyPlan:  # fmt: skip
    """Families from b0 on; ``same``: families whose networks from φ = 1 on are another's."""
    doubles = dict(same or {})
    lined = [Contender("b0", tuple(Place(one, 0.0) for one in families), BASELINE, None, 0, 12)]
    last, owner = dict.fromkeys(families, 0), dict[str, int]()
    for phi in range(1, largest + 1):
        for family in (one for one in families if one not in doubles):
            number = len(lined)
            places = [Place(family, float(phi)), *(Place(k, float(phi)) for k, v in doubles.items() if v == family)]
            name = f"b{phi}" if family == "found" else f"{family}-b{phi}"
            lined.append(Contender(
                name, tuple(places), spec_of(family, phi), last[family] if inherits else None,
                owner.setdefault(family, number), 6 if inherits else 12,
            ))  # fmt: skip
            last[family] = number
    for name in published:
        spec = TorchvisionSpec(name, 32, CLASSES, PUBLISHED[name], PUBLISHED[name] // 4, 1000)
        lined.append(Contender(name, (Place(name, None),), spec, None, len(lined), 12))
    return FamilyPlan(
        space="mbconv_small", origin="found by runs/glyphs", searched=True, families=(*families, *published),
        contenders=tuple(lined), rates=rates, equal="epochs", train=TrainConfig(epochs=12), data="glyphs",
        data_digest="0123456789ab", images=1000, validation=100, test=images, classes=CLASSES, majority=0.25,
        device="cpu",
    )  # fmt: skip


def usual(one: MemberTrial, plan: FamilyPlan) -> float:
    """Families of slopes of their own, and published networks below them; the larger learning rate is the better."""
    place, base = plan.contenders[one.contender].places[0], cost(BASELINE).macs
    doublings = math.log2(cost(one.spec).macs / base)
    level = 0.6 + GAINS.get(place.family, 0.03) * doublings - (0.05 if place.phi is None else 0.0)
    return min(0.9, level) - 0.04 * (one.rate == 0 and len(plan.rates) > 1)


def written(
    folder: Path, plan: FamilyPlan, seeds: int = 3, level: Level = usual, most: int = 10_000,
    failed: Collection[str] = (), seed_sd: float = 0.01, world: int = 0, measured: bool = True,
) -> FamilyRecord:  # fmt: skip
    """The record of a folder with the first ``most`` trainings; those whose names are in ``failed`` ended without a
    result. Images are as hard for every network, and seeds differ by ``seed_sd``."""
    rng = np.random.default_rng(world)
    hard = {count: rng.standard_normal(count) for count in (plan.validation, plan.test)}
    results, rows = Results(), list[MemberRow]()
    while len(rows) < most:
        ready = [one for one, could in planned(plan, seeds, results) if could and one.key not in results]
        if not ready:
            break
        for one in ready[: most - len(rows)]:
            count = plan.validation if one.judged_on == "validation" else plan.test
            share = min(0.99, max(0.01, level(one, plan) + seed_sd * rng.standard_normal()))
            mixed = 0.8 * hard[count] + 0.6 * rng.standard_normal(count)
            right = mixed < NormalDist().inv_cdf(share)
            rows.append(_row(folder, plan, one, right, one.name in failed))
            results.add(one.key, None if one.name in failed else right)
    rows.sort(key=lambda row: row.key)
    write_rows(folder, rows, plan.digest)
    if measured:
        milliseconds = {one.name: 2 + cost(one.spec).macs * 1e-7 * (1 + 0.1 * (n % 5))
                        for n, one in enumerate(plan.contenders)}  # fmt: skip
        latencies = Latencies(plan.digest, milliseconds, "median of 15 warm passes of one image", busy=False)
        write_json(folder / LATENCIES_FILE, {"format": LATENCIES_FORMAT, **asdict(latencies)})
    facts = {"hardware": "a machine", "date": "2026-01-01", "commands": ["scalesearch family --train b0..b3"]}
    write_json(folder / FAMILIES_FILE, family_values(plan, seeds, {**facts, "versions": {"scalesearch": "0"}}))
    return read_family(folder)


def _row(folder: Path, plan: FamilyPlan, one: MemberTrial, right: np.ndarray, fails: bool) -> MemberRow:
    labels, sizes = np.arange(len(right)) % CLASSES, cost(one.spec)
    measured = Measurement(
        sizes.macs, sizes.macs, 0 if fails else int(right.sum()), 0 if fails else len(right), 0.5,
        sizes.macs * one.until * 1e-7, "loss is not finite | epoch 2" if fails else "",
    )  # fmt: skip
    row = member_row(plan, one, measured)
    content = b"" if fails else packed(labels, np.where(right, labels, (labels + 1) % CLASSES),
                                       np.zeros(len(right), np.float32))  # fmt: skip
    write_predictions(folder, TrialResult(row, content))
    return row
