"""A row of results: one network, one seed, trained up to a number of epochs; of a search, or of families."""

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Generic, Literal, Protocol, TypeVar

from scalesearch.design.spec import NetSpec, Padding, TorchvisionSpec
from scalesearch.errors import UserError
from scalesearch.study.config import TrainConfig
from scalesearch.typed import parse

TRAININGS = "the trainings of a search"
BASELINE = -1  # the candidate number of φ = 0, trained for reference and never a winner
Key = tuple[int, int, int]  # (candidate, seed, epochs): one training up to a rung
SEEDS = 1000  # that one search may give to a network; the next search's begin after them
JudgedOn = Literal["validation", "test"]
_NAME = re.compile(r"[\w-]{1,40}")  # it names files


@dataclass(frozen=True)
class Inheritance:
    """What a training inherits from.

    Args:
        name: as ``nets.sources.open_weights`` takes it, so that workers can open it.
        padding, eps, network: what is stated of the source (``nets.sources.Stated``).
        digest: of its tensors.
    """

    name: str
    padding: Padding | None
    digest: str
    eps: float | None = None
    network: str | None = None


class Training(Protocol):
    """A training that is run exactly once, whatever it is for.

    ``spec``: the network that it is about; ``trained``: the one that is trained, which may stand for it. ``number``:
    what tables call its seed; ``until``: epochs, of the ``train.epochs`` of a full training.
    """

    @property
    def key(self) -> Key: ...
    @property
    def name(self) -> str: ...
    @property
    def number(self) -> int: ...
    @property
    def spec(self) -> NetSpec | TorchvisionSpec: ...
    @property
    def trained(self) -> NetSpec | TorchvisionSpec: ...
    @property
    def train(self) -> TrainConfig: ...
    @property
    def until(self) -> int: ...
    @property
    def weights(self) -> Inheritance | None: ...


@dataclass(frozen=True, kw_only=True)
class AnyRow(ABC):
    """One training, whatever it is for.

    Args:
        name: of the network; ``digest`` of its spec.
        macs, fvcore_total: multiply-adds of convolution and linear operators, and fvcore's own total.
        resolution: side in pixels.
        status: "failed" comes with a ``reason`` and without accuracy.
        top1, correct, images: of the images that it was judged on, the share and number that are right, and how many
            there are.
        epochs, full_epochs: of this training, and of one to the end.
        seconds: wall time of the epochs since the last rung.
        latency_ms: the shortest of some passes of one image through the network, on the device, which other trainings
            disturb least; None where not measured.
        note: what was odd about it.
    """

    name: str
    digest: str
    macs: int
    fvcore_total: int
    params: int
    activations: int
    resolution: int
    seed: int
    status: Literal["done", "failed"]
    reason: str
    top1: float | None
    correct: int
    images: int
    epochs: int
    full_epochs: int
    train_loss: float | None
    seconds: float
    latency_ms: float | None
    note: str

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ValueError(f"name {self.name!r:.40}")
        if (self.top1 is None) != (self.status == "failed"):
            raise ValueError(f"a {self.status} training with accuracy {self.top1}")
        if self.status == "done" and not 0 <= self.correct <= self.images > 0:
            raise ValueError(f"{self.correct} of {self.images} images right")
        if min(self.macs, self.params, self.epochs) < 1 or not 0 <= self.seed < SEEDS or self.epochs > self.full_epochs:
            sizes = f"{self.macs} multiply-adds, {self.params} parameters"
            raise ValueError(f"{sizes}, seed {self.seed}, {self.epochs} of {self.full_epochs} epochs")
        if min(self.fvcore_total, self.seconds, self.train_loss or 0.0, self.latency_ms or 0.0) < 0:
            raise ValueError(f"{self.seconds:g} seconds, a loss of {self.train_loss} and {self.latency_ms} ms")

    @property
    @abstractmethod
    def key(self) -> Key:
        """What identifies the training."""

    @property
    @abstractmethod
    def file(self) -> str:
        """Name of its predictions, without the ending."""

    @property
    @abstractmethod
    def trained_macs(self) -> int:
        """Multiply-adds of the network as trained."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


T = TypeVar("T", bound=Training)
R = TypeVar("R", bound=AnyRow)
R_co = TypeVar("R_co", bound=AnyRow, covariant=True)
ReadRow = Callable[[Any, str], R]  # plain values, where they are from → a row


@dataclass(frozen=True, kw_only=True)
class Row(AnyRow):
    """One training of a search. FLOPs, parameters and activations are the full-size network's, accuracies the proxy's.

    Args:
        candidate: its number, −1 for the baseline; ``name`` such as c004.
        control: the one dimension that it scales, "paper", or empty.
        depth_ratio, width_ratio, resolution_ratio: its multipliers as trained (``scaling.Multipliers``).
        triples: all grid triples that come to this network or nearly; ``nominal_ratio`` is αβ²γ² of the first.
        real_ratio, proxy_ratio: multiply-adds over the baseline's, at full size and as trained.
        resolution, proxy_resolution: side in pixels, of the full-size network and as trained.
        top1, correct, images: of the validation images.
        score: top1 · (FLOPs / T)^−0.07, the FLOPs being ``proxy_ratio`` times the baseline's; None where it failed.
    """

    candidate: int
    role: Literal["baseline", "candidate"]
    control: str
    depth_ratio: float
    width_ratio: float
    resolution_ratio: float
    triples: str
    nominal_ratio: float
    real_ratio: float
    proxy_ratio: float
    blocks: int
    score: float | None
    proxy_resolution: int
    proxy_macs: int

    def __post_init__(self) -> None:
        super().__post_init__()
        if (self.score is None) != (self.status == "failed") or self.candidate < BASELINE:
            raise ValueError(f"a {self.status} training of candidate {self.candidate} with score {self.score}")

    @property
    def key(self) -> Key:
        return (self.candidate, self.seed, self.epochs)

    @property
    def file(self) -> str:
        return f"{self.name}-seed{self.seed}-e{self.epochs}"

    @property
    def trained_macs(self) -> int:
        return self.proxy_macs


@dataclass(frozen=True, kw_only=True)
class MemberRow(AnyRow):
    """One training of a family's member or of a published network, at full size.

    Args:
        arm: number of the network and its learning rate (``family_plan.MemberTrial.key``).
        families: the curves that it is on; ``phi``: None for a published network.
        start: "scratch", the name of weights, or of the member that it inherits from.
        judged_on: the part of the images that ``correct`` and ``top1`` are of.
    """

    arm: int
    families: tuple[str, ...]
    phi: float | None
    start: str
    lr: float
    judged_on: JudgedOn

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.arm < 0:
            raise ValueError(f"network and rate {self.arm}")

    @property
    def key(self) -> Key:
        return (self.arm, self.seed, self.epochs)

    @property
    def file(self) -> str:
        return model_file(self.name, self.lr, self.seed)

    @property
    def trained_macs(self) -> int:
        return self.macs


CHOOSING = 0  # the seed of a member's trainings that choose a learning rate


def model_file(name: str, lr: float, seed: int) -> str:
    """What a member's training is called in files, without folder and ending."""
    return f"{name}-lr{lr:g}-seed{seed}" if seed == CHOOSING else f"{name}-seed{seed}"


def parse_row(values: Any, where: str) -> Row:
    """A row read from ``where``. Raises UserError for what no row can hold."""
    return parse(Row, values, where, TRAININGS, extra=True)


def parse_member_row(values: Any, where: str) -> MemberRow:
    """A row of families read from ``where``. Raises UserError for what no row can hold."""
    return parse(MemberRow, values, where, "the trainings of families", extra=True)


def parse_rows(lines: Sequence[Any], where: str, read: ReadRow[R]) -> tuple[R, ...]:
    """The rows of a file, each training once. Raises UserError otherwise."""
    rows = tuple(read(line, f"{where}: row {number}") for number, line in enumerate(lines))
    twice = len(rows) - len({row.key for row in rows})
    if twice:
        raise UserError(where, f"{twice} trainings stand there twice.", do="Run the same command again to mend it.")
    return rows


@dataclass(frozen=True)
class TrialResult(Generic[R_co]):
    """A training that is over: its row, and its predictions as the bytes of an ``.npz``, empty for a failed one."""

    row: R_co
    predictions: bytes
