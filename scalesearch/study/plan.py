"""A search as a value: everything that decides its numbers. Two invocations of the same plan are the same search."""

import contextlib
import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from typing import Any

from scalesearch.design.candidates import Candidate, Enumeration, enumerate_candidates
from scalesearch.design.cost import EXPONENT, cost, score
from scalesearch.design.measure import FLOPS, Measure
from scalesearch.design.scaling import Rounding, realised
from scalesearch.design.space import Grid
from scalesearch.design.spec import NetSpec
from scalesearch.errors import UserError
from scalesearch.study.config import TrainConfig
from scalesearch.study.posterior import Network
from scalesearch.study.proxy import Proxy
from scalesearch.study.row import BASELINE, SEEDS, Inheritance, Key, Row, Training
from scalesearch.typed import parse

_enumerated = lru_cache(maxsize=4)(enumerate_candidates)  # up to a second for a fine grid; asked for by every reader


@dataclass(frozen=True)
class SearchPlan:
    """What is searched, on what, and how each candidate is trained; how many seeds and how far is the race's matter.

    Args:
        baseline: φ = 0, sized, with the data's number of classes.
        real_tolerance: share by which a candidate's real cost ratio may miss 2; None: any cost (paper-literal).
        target_macs: T of the score, in the measure's unit.
        data, data_digest: the images' name and content.
        validation: images held out of train for the selection; ``majority``: the share that guessing the most frequent
            class gets right of them.
        train: settings of one full training; its seed is the search's, from which each training has one of its own.
        device: kind of device, since its kernels decide the last digits.
        weights: what all start from; None: from scratch.
        threads: of a training on a CPU, since sums in another order differ in the last digits.
        measure: the cost that candidates are equal in, and that the score weighs by ``exponent``.
    """

    space: str
    baseline: NetSpec
    grid: Grid
    rounding: Rounding
    real_tolerance: float | None
    target_macs: float
    data: str
    data_digest: str
    validation: int
    majority: float
    proxy: Proxy
    train: TrainConfig
    device: str
    weights: Inheritance | None = None
    threads: int = 1
    measure: Measure = FLOPS
    exponent: float = EXPONENT

    @property
    def digest(self) -> str:
        """12 hex digits of everything above."""
        return hashlib.sha256(json.dumps(self.to_dict(), sort_keys=True).encode()).hexdigest()[:12]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; what came later is left out at its default, so that older runs are the same search."""
        proxy = {**asdict(self.proxy), "baseline": self.proxy.baseline.to_dict()}
        own = {"baseline": self.baseline.to_dict(), "measure": self.measure.to_dict(), "train": self.train.settings()}
        plain = {**asdict(self), **own, "proxy": proxy}
        values: dict[str, Any] = json.loads(json.dumps(plain))  # tuples become lists, as when read
        if self.weights is None:
            del values["weights"]
        else:
            later = {name for name in ("eps", "network") if values["weights"][name] is None}
            values["weights"] = {name: value for name, value in values["weights"].items() if name not in later}
        later_defaults = {"threads": 1, "measure": {"kind": FLOPS.kind}, "exponent": EXPONENT}
        for name in [name for name, default in later_defaults.items() if values[name] == default]:
            del values[name]
        return values

    @classmethod
    def from_dict(cls, values: Any, where: str = "a search's plan") -> "SearchPlan":
        """The inverse of ``to_dict``. Raises UserError, naming ``where`` they are from, on foreign values."""
        return parse(cls, values, where, "the plan of a search")

    def enumerate(self) -> Enumeration:
        """The candidates: the same list every time."""
        return _enumerated(
            self.baseline, self.grid, self.rounding, self.real_tolerance, self.proxy.baseline, self.measure
        )

    def training(self, number: int) -> TrainConfig:
        """Settings of the full training that has this number among those of a network.

        Raises:
            UserError: a number that a search of another seed begins with.
        """
        if number >= SEEDS:
            raise UserError("--further", f"a network has {SEEDS} trainings, and a search gives it no more.")
        return replace(self.train, seed=SEEDS * self.train.seed + number)

    def score(self, top1: float, ratio: float) -> float:
        """Accuracy·(cost/T)^−0.07, the cost as many times the baseline's as it is where networks are judged.

        Args:
            ratio: ``Candidate.proxy_ratio``.
        """
        return score(top1, ratio * self.measure.of(self.baseline), self.target_macs, self.exponent)


@dataclass(frozen=True)
class Trial:
    """One network, one seed, trained up to ``until`` epochs: the unit that is run exactly once.

    Args:
        candidate: the number of the grid's candidate, −1 for the baseline; ``name`` such as c004.
        spec, trained: at full size, and as trained.
        train: of a full training, with this trial's seed.
    """

    candidate: int
    name: str
    spec: NetSpec
    trained: NetSpec
    train: TrainConfig
    until: int
    weights: Inheritance | None = None

    @property
    def key(self) -> Key:
        """What identifies it in the ledger and in the race."""
        return (self.candidate, self.number, self.until)

    @property
    def number(self) -> int:
        """Among a network's trainings, from 0: what tables call its seed."""
        return self.train.seed % SEEDS


def trial(plan: SearchPlan, candidates: Sequence[Candidate], key: Key) -> Trial:
    """The trial of a key: candidate −1 is the baseline."""
    number, seed, until = key
    name, spec, trained = "baseline", plan.baseline, plan.proxy.baseline
    if number != BASELINE:
        name, spec, trained = candidates[number].name, candidates[number].spec, candidates[number].trained
    return Trial(
        number, name, replace(spec, name=name), replace(trained, name=name), plan.training(seed), until, plan.weights
    )


def networks(plan: SearchPlan, candidates: Sequence[Candidate]) -> tuple[Network, ...]:
    """The baseline and the candidates as the statistics see them, as trained."""
    small = plan.proxy.baseline
    pairs = [(BASELINE, 1.0, small), *((c.index, c.proxy_ratio, c.trained) for c in candidates)]
    return tuple(Network(number, plan.score(1.0, ratio), _features(small, spec)) for number, ratio, spec in pairs)


def _features(small: NetSpec, spec: NetSpec) -> tuple[float, ...]:
    """Doublings that depth, width and resolution bring, and those that rounding up the last map wastes."""
    waste = [math.log2(_last_map(one) * one.reduction / one.resolution) for one in (spec, small)]
    return (*realised(small, spec).shares, 2 * (waste[0] - waste[1]))


def _last_map(spec: NetSpec) -> int:
    return math.ceil(spec.resolution / spec.reduction)


def differences(old: dict[str, Any], new: dict[str, Any], where: str = "") -> list[str]:
    """Lines like ``proxy.epochs: 3 there, 5 asked for`` for every value in which two plans differ."""
    lines = []
    for key in sorted(old.keys() | new.keys()):
        there, asked, name = old.get(key), new.get(key), f"{where}{key}"
        if isinstance(there, dict) and isinstance(asked, dict):
            lines += differences(there, asked, f"{name}.")
        elif there != asked:
            lines.append(f"{name}: {_short(there)} there, {_short(asked)} asked for")
    return lines


def check_same(old: dict[str, Any], new: SearchPlan, where: str) -> None:
    """Raises UserError naming what differs when a run folder holds another search."""
    with contextlib.suppress(UserError):  # of a form that this version does not know
        old = SearchPlan.from_dict(old).to_dict()
    differing = differences(old, new.to_dict())
    if differing:
        shown = "; ".join(differing[:6]) + (f"; and {len(differing) - 6} more" if len(differing) > 6 else "")
        raise UserError(
            where, f"the folder holds another search ({shown}).", do="Give the same options, or another --run folder."
        )


@dataclass(frozen=True)
class Measurement:
    """What a worker measured of a trial. Accuracies are of the proxy, on validation images.

    ``reason`` is empty for a trial that ended well and says why one failed. ``seconds`` is wall time of this portion.
    ``note`` says what was odd about it; ``latency_ms`` is of one image through the full-size network.
    """

    macs: int
    fvcore_total: int
    correct: int
    images: int
    train_loss: float
    seconds: float
    reason: str = ""
    note: str = ""
    latency_ms: float | None = None


def nothing_measured(one: Training, reason: str) -> Measurement:
    """Of a trial that no worker could measure."""
    return Measurement(cost(one.spec).macs, 0, 0, 0, 0.0, 0.0, reason)


def row(plan: SearchPlan, one: Trial, candidate: Candidate | None, measurement: Measurement) -> Row:
    """A candidate's design (None: the baseline's), its measurements, and the score that joins them."""
    sizes, trained, failed, measure = cost(one.spec), cost(one.trained).macs, bool(measurement.reason), plan.measure
    top1 = None if failed else measurement.correct / measurement.images
    ratio = measure.of(one.spec) / measure.of(plan.baseline)
    proxy_ratio = measure.of(one.trained) / measure.of(plan.proxy.baseline) if measure.at_any_size else ratio
    has = realised(plan.proxy.baseline, one.trained)
    return Row(
        candidate=one.candidate, role="candidate" if candidate else "baseline",
        control=candidate.control if candidate else "", name=one.name, digest=one.spec.digest,
        depth_ratio=has.depth, width_ratio=has.width, resolution_ratio=has.resolution,
        triples="; ".join(f"{c.alpha:g}/{c.beta:g}/{c.gamma:g}" for c in candidate.triples) if candidate else "",
        nominal_ratio=candidate.nominal_ratio if candidate else 1.0, real_ratio=ratio,
        proxy_ratio=proxy_ratio, macs=measurement.macs, fvcore_total=measurement.fvcore_total, params=sizes.params,
        activations=sizes.activations, resolution=one.spec.resolution, blocks=sum(one.spec.depths),
        seed=one.number, status="failed" if failed else "done", reason=measurement.reason, top1=top1,
        correct=measurement.correct, images=measurement.images,
        score=None if top1 is None else plan.score(top1, proxy_ratio),
        proxy_resolution=one.trained.resolution, proxy_macs=trained, epochs=one.until,
        full_epochs=one.train.epochs, train_loss=None if failed else measurement.train_loss,
        seconds=measurement.seconds, latency_ms=measurement.latency_ms, note=measurement.note,
    )  # fmt: skip


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 40 else text[:37] + "..."
