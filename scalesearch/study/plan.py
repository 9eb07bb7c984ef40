"""A search as a value: everything that decides its numbers. Two invocations of the same plan are the same search."""

import contextlib
import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from scalesearch.design.candidates import Candidate, Enumeration, enumerate_candidates
from scalesearch.design.cost import Cost, cost, score
from scalesearch.design.scaling import Coefficients, Rounding
from scalesearch.design.space import Grid
from scalesearch.design.spec import NetSpec
from scalesearch.errors import UserError
from scalesearch.study.config import TrainConfig
from scalesearch.study.proxy import Proxy
from scalesearch.study.race import BASELINE, Item, Runner


@dataclass(frozen=True)
class Weights:
    """What every network of a search inherits from.

    Args:
        name: as ``nets.weights.open_weights`` takes it, so that workers can open it.
        padding: the source's, where it is not as known.
        digest: of its tensors.
    """

    name: str
    padding: str | None
    digest: str


@dataclass(frozen=True)
class SearchPlan:
    """What is searched, on what, and how each candidate is trained; how many seeds and how far is the race's matter.

    Args:
        baseline: φ = 0, sized, with the data's number of classes.
        real_tolerance: share by which a candidate's real cost ratio may miss 2; None: any cost (paper-literal).
        target_macs: T of the score.
        data, data_digest: the images' name and content.
        validation: images held out of train for the selection.
        train: settings of one full training; each has a seed of its own.
        device: kind of device, since its kernels decide the last digits.
        weights: what all start from; None: from scratch.
        threads: of a training on a CPU, since sums in another order differ in the last digits.
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
    proxy: Proxy
    train: TrainConfig
    device: str
    weights: Weights | None = None
    threads: int = 1

    @property
    def digest(self) -> str:
        """12 hex digits of everything above."""
        return hashlib.sha256(json.dumps(self.to_dict(), sort_keys=True).encode()).hexdigest()[:12]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; what came later is left out at its default, so that older runs are the same search."""
        plain = {**asdict(self), "baseline": self.baseline.to_dict(), "train": self.train.settings()}
        values: dict[str, Any] = json.loads(json.dumps(plain))  # tuples become lists, as when read
        if self.weights is None:
            del values["weights"]
        if self.threads == 1:
            del values["threads"]
        return values

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "SearchPlan":
        """The inverse of ``to_dict``. Raises TypeError or KeyError on foreign values."""
        return cls(
            **{
                **values,
                "baseline": NetSpec.from_dict(values["baseline"]),
                "grid": Grid(**values["grid"]),
                "proxy": Proxy(**values["proxy"]),
                "train": TrainConfig.from_dict(values["train"]),
                "weights": Weights(**values["weights"]) if "weights" in values else None,
            }
        )

    def enumerate(self) -> Enumeration:
        """The candidates: the same list every time."""
        return enumerate_candidates(self.baseline, self.grid, self.rounding, self.real_tolerance)


@dataclass(frozen=True)
class Trial:
    """One network, one seed, trained up to ``until`` epochs: the unit that is run exactly once."""

    candidate: int
    seed: int
    name: str
    spec: NetSpec
    proxy_spec: NetSpec
    coefficients: Coefficients
    train: TrainConfig
    until: int
    weights: Weights | None = None

    @property
    def key(self) -> Item:
        """What identifies it in the study and in the race."""
        return (self.candidate, self.seed, self.until)

    @property
    def file(self) -> str:
        """Name of its predictions, without the ending."""
        return f"{self.name}-seed{self.seed}-e{self.until}"


def trial(plan: SearchPlan, candidates: Sequence[Candidate], item: Item) -> Trial:
    """The trial of an item: candidate −1 is the baseline."""
    number, seed, until = item
    if number == BASELINE:
        name, spec, coefficients = "baseline", plan.baseline, Coefficients(1, 1, 1)
    else:
        name, spec, coefficients = f"c{number:03d}", candidates[number].spec, candidates[number].coefficients
    train = replace(plan.train, seed=seed)
    proxy = plan.proxy.spec(spec)
    return Trial(number, seed, name, replace(spec, name=name), proxy, coefficients, train, until, plan.weights)


def runners(plan: SearchPlan, candidates: Sequence[Candidate]) -> tuple[Runner, ...]:
    """The candidates as the race sees them."""
    return tuple(Runner(c.index, score(1.0, c.macs, plan.target_macs)) for c in candidates)


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
    with contextlib.suppress(TypeError, KeyError, UserError):  # of a form that this version does not know
        old = SearchPlan.from_dict(old).to_dict()
    differing = differences(old, new.to_dict())
    if differing:
        shown = "; ".join(differing[:6]) + (f"; and {len(differing) - 6} more" if len(differing) > 6 else "")
        raise UserError(
            where, f"another search ({shown})", "the one asked for", "Give the same options, or another --run folder."
        )


@dataclass(frozen=True)
class Measured:
    """What a worker found out about a trial. Accuracies are of the proxy, on validation images.

    ``reason`` is empty for a finished trial and says why one failed. ``seconds`` is wall time of this portion.
    ``note`` says what was odd about it.
    """

    macs: int
    fvcore_total: int
    correct: int
    images: int
    train_loss: float
    seconds: float
    reason: str = ""
    note: str = ""

    @classmethod
    def of_nothing(cls, trial: Trial, reason: str) -> "Measured":
        """Of a trial that nobody could measure."""
        return cls(cost(trial.spec).macs, 0, 0, 0, 0.0, 0.0, reason)


def row(plan: SearchPlan, trial: Trial, candidate: Candidate | None, measured: Measured) -> dict[str, Any]:
    """One line of the results table: a candidate's design, its measurements, and the score that joins them."""
    sizes: Cost = cost(trial.spec)
    base = cost(plan.baseline).macs
    failed = bool(measured.reason)
    top1 = None if failed else measured.correct / measured.images
    return {
        "candidate": trial.candidate,
        "role": "baseline" if candidate is None else "candidate",
        "control": candidate.control if candidate else "",
        "name": trial.name,
        "digest": trial.spec.digest,
        "alpha": trial.coefficients.alpha,
        "beta": trial.coefficients.beta,
        "gamma": trial.coefficients.gamma,
        "triples": "; ".join(f"{c.alpha:g}/{c.beta:g}/{c.gamma:g}" for c in candidate.triples) if candidate else "",
        "nominal_ratio": candidate.nominal_ratio if candidate else 1.0,
        "real_ratio": sizes.macs / base,
        "macs": measured.macs,
        "fvcore_total": measured.fvcore_total,
        "params": sizes.params,
        "activations": sizes.activations,
        "resolution": trial.spec.resolution,
        "blocks": sum(trial.spec.depths),
        "seed": trial.seed,
        "status": "failed" if failed else "done",
        "reason": measured.reason,
        "top1": top1,
        "correct": measured.correct,
        "images": measured.images,
        "score": None if top1 is None else score(top1, measured.macs, plan.target_macs),
        "proxy_resolution": trial.proxy_spec.resolution,
        "proxy_macs": cost(trial.proxy_spec).macs,
        "epochs": trial.until,
        "full_epochs": trial.train.epochs,
        "train_loss": None if failed else measured.train_loss,
        "seconds": measured.seconds,
        "note": measured.note,
    }


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 40 else text[:37] + "..."
