"""A row of results: one network, one seed, trained up to a number of epochs; of a search, or of families."""

import re
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


class AnyRow(Protocol):
    """What rows of every kind say: ``trained_macs`` are of the network that was trained."""

    @property
    def key(self) -> Key: ...
    @property
    def name(self) -> str: ...
    @property
    def file(self) -> str: ...
    @property
    def seed(self) -> int: ...
    @property
    def epochs(self) -> int: ...
    @property
    def full_epochs(self) -> int: ...
    @property
    def status(self) -> Literal["done", "failed"]: ...
    @property
    def reason(self) -> str: ...
    @property
    def top1(self) -> float | None: ...
    @property
    def correct(self) -> int: ...
    @property
    def images(self) -> int: ...
    @property
    def seconds(self) -> float: ...
    @property
    def trained_macs(self) -> int: ...
    def to_dict(self) -> dict[str, Any]: ...


T = TypeVar("T", bound=Training)
R = TypeVar("R", bound=AnyRow)
R_co = TypeVar("R_co", bound=AnyRow, covariant=True)
ReadRow = Callable[[Any, str], R]  # plain values, where they are from → a row


@dataclass(frozen=True)
class Row:
    """One training. FLOPs, parameters and activations are the full-size network's, accuracies the proxy's.

    Args:
        candidate: its number, −1 for the baseline; ``name`` such as c004.
        control: the one dimension that it scales, "paper", or empty.
        digest: of the full-size network.
        depth_ratio, width_ratio, resolution_ratio: its multipliers as trained (``scaling.Multipliers``).
        triples: all grid triples that come to this network or nearly; ``nominal_ratio`` is αβ²γ² of the first.
        real_ratio, proxy_ratio: multiply-adds over the baseline's, at full size and as trained.
        macs, fvcore_total: multiply-adds of convolution and linear operators, and fvcore's own total.
        resolution, proxy_resolution: side in pixels, of the full-size network and as trained.
        status: "failed" comes with a ``reason`` and without accuracy and score.
        top1, correct, images: of the validation images, the share and number that are right, and how many there are.
        score: top1 · (FLOPs / T)^−0.07, the FLOPs being ``proxy_ratio`` times the baseline's.
        epochs, full_epochs: of this training, and of one to the end.
        seconds: wall time of the epochs since the last rung.
        latency_ms: median time of one image through the full-size network, on the device; None where not measured.
        note: what was odd about it.
    """

    candidate: int
    role: Literal["baseline", "candidate"]
    control: str
    name: str
    digest: str
    depth_ratio: float
    width_ratio: float
    resolution_ratio: float
    triples: str
    nominal_ratio: float
    real_ratio: float
    proxy_ratio: float
    macs: int
    fvcore_total: int
    params: int
    activations: int
    resolution: int
    blocks: int
    seed: int
    status: Literal["done", "failed"]
    reason: str
    top1: float | None
    correct: int
    images: int
    score: float | None
    proxy_resolution: int
    proxy_macs: int
    epochs: int
    full_epochs: int
    train_loss: float | None
    seconds: float
    latency_ms: float | None
    note: str

    def __post_init__(self) -> None:
        _check(self)
        if (self.score is None) != (self.status == "failed") or self.candidate < BASELINE:
            raise ValueError(f"a {self.status} training of candidate {self.candidate} with score {self.score}")

    @property
    def key(self) -> Key:
        """What identifies the training."""
        return (self.candidate, self.seed, self.epochs)

    @property
    def file(self) -> str:
        """Name of its predictions, without the ending."""
        return f"{self.name}-seed{self.seed}-e{self.epochs}"

    @property
    def trained_macs(self) -> int:
        """Multiply-adds of the network as trained."""
        return self.proxy_macs

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


@dataclass(frozen=True)
class MemberRow:
    """One training of a family's member or of a published network, at full size.

    Args:
        arm: number of the network and its learning rate (``family_plan.MemberTrial.key``).
        families: the curves that it is on; ``phi``: None for a published network.
        start: "scratch", the name of weights, or of the member that it inherits from.
        judged_on: the part of the images that ``correct`` and ``top1`` are of.

    What else there is means what it does in ``Row``.
    """

    arm: int
    name: str
    families: tuple[str, ...]
    phi: float | None
    digest: str
    macs: int
    fvcore_total: int
    params: int
    activations: int
    resolution: int
    start: str
    lr: float
    judged_on: JudgedOn
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
        _check(self)
        if self.arm < 0:
            raise ValueError(f"network and rate {self.arm}")

    @property
    def key(self) -> Key:
        """What identifies the training."""
        return (self.arm, self.seed, self.epochs)

    @property
    def file(self) -> str:
        """Name of its predictions, without the ending."""
        return model_file(self.name, self.lr, self.seed)

    @property
    def trained_macs(self) -> int:
        """Multiply-adds: it is trained as it is."""
        return self.macs

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


CHOOSING = 0  # the seed of a member's trainings that choose a learning rate


def model_file(name: str, lr: float, seed: int) -> str:
    """What a member's training is called in files, without folder and ending."""
    return f"{name}-lr{lr:g}-seed{seed}" if seed == CHOOSING else f"{name}-seed{seed}"


def _check(row: Row | MemberRow) -> None:
    """Raises ValueError for what no training can come to."""
    if not _NAME.fullmatch(row.name):
        raise ValueError(f"name {row.name!r:.40}")
    if (row.top1 is None) != (row.status == "failed"):
        raise ValueError(f"a {row.status} training with accuracy {row.top1}")
    if row.status == "done" and not 0 <= row.correct <= row.images > 0:
        raise ValueError(f"{row.correct} of {row.images} images right")
    if min(row.macs, row.params, row.epochs) < 1 or not 0 <= row.seed < SEEDS or row.epochs > row.full_epochs:
        sizes = f"{row.macs} multiply-adds, {row.params} parameters"
        raise ValueError(f"{sizes}, seed {row.seed}, {row.epochs} of {row.full_epochs} epochs")
    if min(row.fvcore_total, row.seconds, row.train_loss or 0.0, row.latency_ms or 0.0) < 0:
        raise ValueError(f"{row.seconds:g} seconds, a loss of {row.train_loss} and {row.latency_ms} ms")


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
