"""Families trained side by side, as a value: which networks, by what recipe, and what each training is.

A family is a curve of networks at φ = 0, 1, 2, …: the found one, the paper's, and those that scale one dimension alone,
all at the same real FLOPs at each φ and from the same φ = 0. Published networks stand beside them as they are.

The trainings of seed 0 choose learning rates: the first network of each curve is trained with every rate and judged on
validation images, and the best rate is the whole curve's. Those of the seeds from 1 on are for the figure: judged on
the test images, which no choice sees and no network sees twice.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from scalesearch.design.cost import cost
from scalesearch.design.measure import FLOPS, Measure
from scalesearch.design.spec import NetSpec, TorchvisionSpec
from scalesearch.study.config import Equal, TrainConfig
from scalesearch.study.plan import Measurement
from scalesearch.study.race import Results
from scalesearch.study.row import CHOOSING, SEEDS, Inheritance, JudgedOn, Key, MemberRow, model_file
from scalesearch.typed import parse

FOUND, PAPER = "found", "paper"
MOST_RATES = 16  # learning rates of a sweep; the first number of a key holds network and rate


@dataclass(frozen=True)
class Place:
    """Where a network stands: the curve that it is on, and at which φ; None for a published network."""

    family: str
    phi: float | None


@dataclass(frozen=True)
class Contender:
    """A network that is trained.

    Args:
        name: b2, paper-b2, resnet18; it names files.
        places: the curves that it is on: φ = 0 is on all of them, and so is a network that two curves come to.
        spec: with the data's classes and the dropout of its φ.
        parent: number of the contender that it inherits from; None: it starts from ``weights``, or from scratch.
        tuned_by: number of the contender whose sweep chooses its learning rate, its own for the first of a curve.
        epochs: of its training.
    """

    name: str
    places: tuple[Place, ...]
    spec: NetSpec | TorchvisionSpec
    parent: int | None
    tuned_by: int
    epochs: int
    weights: Inheritance | None = None


@dataclass(frozen=True)
class FamilyPlan:
    """What families are trained side by side, and all that decides their numbers; how many seeds is the caller's.

    Args:
        origin: where the found coefficients are from, in words; ``searched``: whether a search found them.
        families: the curves in the order in which they are shown, the found one first; published networks are curves
            of one.
        contenders: parents before those that inherit from them.
        rates: learning rates that are tried, rising; a single one is taken without trying.
        equal: what all have alike: epochs, or training time (``contenders`` have the epochs that it comes to).
        train: settings of a training but for its seed, rate and epochs; the body of one that goes back to no weights
            learns as fast as its head.
        data, data_digest: the images' name and content; ``images``, ``validation``, ``test``: how many of each part.
        majority: the share of the test images that guessing the most frequent class gets right.
        device, threads: of a training, which decide the last digits.
        measure: the cost that families are equal in at each φ.
    """

    space: str
    origin: str
    searched: bool
    families: tuple[str, ...]
    contenders: tuple[Contender, ...]
    rates: tuple[float, ...]
    equal: Equal
    train: TrainConfig
    data: str
    data_digest: str
    images: int
    validation: int
    test: int
    classes: int
    majority: float
    device: str
    threads: int = 1
    measure: Measure = FLOPS

    def __post_init__(self) -> None:
        for number, one in enumerate(self.contenders):
            if not (one.parent is None or 0 <= one.parent < number) or not 0 <= one.tuned_by <= number:
                raise ValueError(f"{one.name} inherits from number {one.parent}, tuned by {one.tuned_by}")
        names = [one.name for one in self.contenders]
        if len(set(names)) < len(names):
            raise ValueError(f"two networks of one name among {', '.join(names)}: names are files")
        if not 0 < len(self.rates) <= MOST_RATES or list(self.rates) != sorted(set(self.rates)):
            raise ValueError(f"learning rates {self.rates}")

    @property
    def digest(self) -> str:
        """12 hex digits of everything above that decides a number."""
        return hashlib.sha256(json.dumps(self.deciding(), sort_keys=True).encode()).hexdigest()[:12]

    def deciding(self) -> dict[str, Any]:
        """``to_dict`` without the words on where coefficients are from: a folder that is moved has the same plan."""
        return {name: value for name, value in self.to_dict().items() if name != "origin"}

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        contenders = [{**asdict(one), "spec": one.spec.to_dict()} for one in self.contenders]
        own = {"contenders": contenders, "measure": self.measure.to_dict(), "train": self.train.settings()}
        plain = {**asdict(self), **own}
        values: dict[str, Any] = json.loads(json.dumps(plain))  # tuples become lists, as when read
        if self.measure == FLOPS:  # as older plans have it
            del values["measure"]
        return values

    @classmethod
    def from_dict(cls, values: Any, where: str = "a plan of families") -> "FamilyPlan":
        """The inverse of ``to_dict``. Raises UserError, naming ``where`` they are from, on foreign values."""
        return parse(cls, values, where, "the plan of families")

    def curve(self, family: str) -> tuple[int, ...]:
        """Numbers of a curve's contenders, by φ."""
        on = [(place.phi or 0.0, i) for i, one in enumerate(self.contenders) for place in one.places
              if place.family == family]  # fmt: skip
        return tuple(number for _, number in sorted(on))

    def lineage(self, number: int) -> tuple[Contender, ...]:
        """A contender and those that it goes back to, the first one last."""
        one = self.contenders[number]
        return (one,) if one.parent is None else (one, *self.lineage(one.parent))

    def pretrained(self, number: int) -> bool:
        """Whether a contender goes back to weights, its own or those of the first one that it inherits from."""
        return self.lineage(number)[-1].weights is not None

    def phi(self, number: int, family: str) -> float | None:
        """Of a contender on a curve."""
        return next(place.phi for place in self.contenders[number].places if place.family == family)


@dataclass(frozen=True)
class MemberTrial:
    """One network, one seed, one learning rate: the unit that is run exactly once (``row.Training``).

    Args:
        rate: number of its learning rate.
        parent: file of the trained network that it inherits from, without folder and ending.
        kept: whether the trained network is kept.
    """

    contender: int
    rate: int
    name: str
    spec: NetSpec | TorchvisionSpec
    train: TrainConfig
    parent: str | None
    weights: Inheritance | None
    kept: bool

    @property
    def key(self) -> Key:
        """What identifies it in the ledger."""
        return (self.contender * MOST_RATES + self.rate, self.number, self.until)

    @property
    def number(self) -> int:
        """Among a network's trainings: what tables call its seed."""
        return self.train.seed % SEEDS

    @property
    def until(self) -> int:
        """Epochs: it is never paused."""
        return self.train.epochs

    @property
    def trained(self) -> NetSpec | TorchvisionSpec:
        """The network itself: no smaller one stands for it."""
        return self.spec

    @property
    def judged_on(self) -> JudgedOn:
        """Whose images it is judged on."""
        return judged_on(self.number)

    @property
    def file(self) -> str:
        """Names its checkpoint and its model, without folder and ending."""
        return model_file(self.name, self.train.lr, self.number)


def judged_on(seed: int) -> JudgedOn:
    """The part of the images that a training of this seed is judged on."""
    return "validation" if seed == CHOOSING else "test"


def rate_of(plan: FamilyPlan, results: Results, number: int) -> int | None:
    """The learning rate of a contender, by its place in ``plan.rates``: the one whose training got most validation
    images right, of equals the smallest; None while not all were tried, or where all failed."""
    if len(plan.rates) == 1:
        return 0
    owner = plan.contenders[number].tuned_by
    keys = [(owner * MOST_RATES + rate, CHOOSING, plan.contenders[owner].epochs) for rate in range(len(plan.rates))]
    if not all(key in results for key in keys):
        return None
    right = [results.seeds(arm, epochs).get(seed) for arm, seed, epochs in keys]
    shares = [-1.0 if one is None else float(one.mean()) for one in right]
    return None if max(shares) < 0 else shares.index(max(shares))


def planned(plan: FamilyPlan, seeds: int, results: Results) -> Iterator[tuple[MemberTrial, bool]]:
    """Every training that there will be, done or not, and whether it could run now: with its rate chosen and the
    network that it inherits from trained. Those that a failed one leaves without either are left out."""
    rates = [rate_of(plan, results, number) for number in range(len(plan.contenders))]
    several = len(plan.rates) > 1
    for seed in range(0 if several else 1, seeds + 1):
        for number, one in enumerate(plan.contenders):
            if seed == CHOOSING and one.tuned_by != number:
                continue
            tried = range(len(plan.rates)) if seed == CHOOSING else [rates[number]]
            for rate in tried:
                if rate is None and _chosen(plan, results, number):
                    continue  # every rate failed
                state = _start(plan, results, rates, number, seed)
                if state != "failed":
                    trial = member_trial(plan, number, len(plan.rates) // 2 if rate is None else rate, seed, rates)
                    yield trial, rate is not None and state == "ready"


def _chosen(plan: FamilyPlan, results: Results, number: int) -> bool:
    """Whether every rate that may be a contender's has been tried."""
    owner = plan.contenders[number].tuned_by
    return all(
        (owner * MOST_RATES + rate, CHOOSING, plan.contenders[owner].epochs) in results
        for rate in range(len(plan.rates))
    )


def _start(
    plan: FamilyPlan, results: Results, rates: Sequence[int | None], number: int, seed: int
) -> Literal["ready", "waiting", "failed"]:
    """How it stands with the network that a training inherits from."""
    parent = plan.contenders[number].parent
    if parent is None:
        return "ready"
    rate = rates[parent]
    if rate is None:
        return "failed" if _chosen(plan, results, parent) else "waiting"
    before = _start(plan, results, rates, parent, seed)
    if before != "ready":
        return before
    epochs = plan.contenders[parent].epochs
    key = (parent * MOST_RATES + rate, seed, epochs)
    if key not in results:
        return "waiting"
    return "ready" if seed in results.seeds(key[0], epochs) else "failed"


def member_trial(
    plan: FamilyPlan, number: int, rate: int, seed: int, rates: Sequence[int | None] | None = None
) -> MemberTrial:
    """The training of a contender with a rate and a seed; ``rates``: those chosen so far, which name its parent."""
    one = plan.contenders[number]
    train = replace(
        plan.train, epochs=one.epochs, warmup_epochs=min(plan.train.warmup_epochs, one.epochs / 4),
        lr=plan.rates[rate], seed=SEEDS * plan.train.seed + seed,
        body_lr_ratio=plan.train.body_lr_ratio if plan.pretrained(number) else 1.0,
    )  # fmt: skip
    parent, others = None, {other.parent for other in plan.contenders}
    if one.parent is not None:
        chosen = (rates[one.parent] if rates else None) or 0
        parent = model_file(plan.contenders[one.parent].name, plan.rates[chosen], seed)
    kept = seed != CHOOSING or number in others
    return MemberTrial(number, rate, one.name, one.spec, train, parent, one.weights, kept)


def member_row(plan: FamilyPlan, one: MemberTrial, measurement: Measurement) -> MemberRow:
    """A training's row: the network's design, and what was measured."""
    contender, sizes, failed = plan.contenders[one.contender], cost(one.spec), bool(measurement.reason)
    parent = None if contender.parent is None else plan.contenders[contender.parent].name
    weights = contender.weights.name if contender.weights else "scratch"
    return MemberRow(
        arm=one.key[0], name=one.name, families=tuple(place.family for place in contender.places),
        phi=contender.places[0].phi, digest=one.spec.digest, macs=measurement.macs,
        fvcore_total=measurement.fvcore_total, params=sizes.params, activations=sizes.activations,
        resolution=one.spec.resolution, start=parent or weights, lr=one.train.lr, judged_on=one.judged_on,
        seed=one.number, status="failed" if failed else "done", reason=measurement.reason,
        top1=None if failed else measurement.correct / measurement.images, correct=measurement.correct,
        images=measurement.images, epochs=one.until, full_epochs=one.until,
        train_loss=None if failed else measurement.train_loss, seconds=measurement.seconds,
        latency_ms=measurement.latency_ms, note=measurement.note,
    )  # fmt: skip
