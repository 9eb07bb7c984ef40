"""What networks that a latency table chose really take, measured on the device that it is of, and kept with the run."""

from dataclasses import asdict, dataclass
from pathlib import Path

from scalesearch.files import load, write_json

FILE = "measured.json"
FORMAT = 1
WITHIN = 0.1  # of what was predicted: a measured time that differs by more is to be explained


@dataclass(frozen=True)
class MeasuredNetwork:
    """Milliseconds of a pass: as the table says, and as measured; ``digest`` of the network."""

    name: str
    digest: str
    predicted_ms: float
    measured_ms: float

    def __post_init__(self) -> None:
        if min(self.predicted_ms, self.measured_ms) <= 0:
            raise ValueError(f"{self.name} takes {self.predicted_ms:g} and {self.measured_ms:g} ms")

    @property
    def off(self) -> float:
        """By what share it takes longer than predicted."""
        return self.measured_ms / self.predicted_ms - 1


@dataclass(frozen=True)
class MeasuredNetworks:
    """Networks of a run that were timed by turns, as their table's were.

    Args:
        plan_digest: of the run.
        how: they were measured, in words; "" where they were not, and then ``why`` says what stood in the way.
        slower: by what share networks that the table was made from took longer now than then; None: not known.
    """

    plan_digest: str
    how: str
    why: str
    networks: tuple[MeasuredNetwork, ...]
    slower: float | None = None

    def __post_init__(self) -> None:
        if self.slower is not None and self.slower <= -1:
            raise ValueError(f"a machine that is {self.slower:g} slower takes no time")


def write_measured(folder: Path, measured: MeasuredNetworks) -> None:
    """Writes ``measured.json`` into a run's folder."""
    write_json(folder / FILE, {"format": FORMAT, **asdict(measured)})


def read_measured(folder: Path, plan_digest: str) -> MeasuredNetworks | None:
    """What was measured of this plan's networks; None where nothing was. Raises UserError for a damaged file."""
    path = folder / FILE
    if not path.is_file():
        return None
    measured = load(MeasuredNetworks, path, "measured latencies", FORMAT)
    return measured if measured.plan_digest == plan_digest else None
