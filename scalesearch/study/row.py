"""A row of results: one network, one seed, trained up to a number of epochs."""

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from scalesearch.errors import UserError
from scalesearch.typed import parse

TRAININGS = "the trainings of a search"
BASELINE = -1  # the candidate number of φ = 0, trained for reference and never a winner
Key = tuple[int, int, int]  # (candidate, seed, epochs): one training up to a rung
SEEDS = 1000  # that one search may give to a network; the next search's begin after them
_NAME = re.compile(r"[\w-]{1,40}")  # it names files


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
        if not _NAME.fullmatch(self.name):
            raise ValueError(f"name {self.name!r:.40}")
        if (self.top1 is None or self.score is None) != (self.status == "failed"):
            raise ValueError(f"a {self.status} training with accuracy {self.top1}")
        if self.status == "done" and not 0 <= self.correct <= self.images > 0:
            raise ValueError(f"{self.correct} of {self.images} images right")
        if min(self.macs, self.params, self.epochs) < 1 or min(self.seed, self.candidate + 1) < 0:
            raise ValueError(f"{self.macs} multiply-adds, {self.params} parameters, {self.epochs} epochs")
        if self.seed >= SEEDS or self.epochs > self.full_epochs:
            raise ValueError(f"seed {self.seed}, {self.epochs} of {self.full_epochs} epochs")
        if min(self.fvcore_total, self.seconds, self.train_loss or 0.0, self.latency_ms or 0.0) < 0:
            raise ValueError(f"{self.seconds:g} seconds, a loss of {self.train_loss} and {self.latency_ms} ms")

    @property
    def key(self) -> Key:
        """What identifies the training."""
        return (self.candidate, self.seed, self.epochs)

    @property
    def file(self) -> str:
        """Name of its predictions, without the ending."""
        return f"{self.name}-seed{self.seed}-e{self.epochs}"

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


def parse_row(values: Any, where: str) -> Row:
    """A row read from ``where``. Raises UserError for what no row can hold."""
    return parse(Row, values, where, TRAININGS, extra=True)


def parse_rows(lines: Sequence[Any], where: str) -> tuple[Row, ...]:
    """The rows of a file, each training once. Raises UserError otherwise."""
    rows = tuple(parse_row(line, f"{where}: row {number}") for number, line in enumerate(lines))
    twice = len(rows) - len({row.key for row in rows})
    if twice:
        raise UserError(where, f"{twice} trainings stand there twice.", do="Continue the search to mend it.")
    return rows


@dataclass(frozen=True)
class TrialResult:
    """A training that is over: its row, and its predictions as the bytes of an ``.npz``, empty for a failed one."""

    row: Row
    predictions: bytes
