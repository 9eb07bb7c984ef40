"""The answer of a search, kept as ``coefficients.json``: what later commands scale by. No torch, no Optuna."""

from dataclasses import asdict, dataclass
from pathlib import Path

from scalesearch.design.candidates import SEARCH_RATIO
from scalesearch.design.scaling import Coefficients, Rounding, check_coefficients
from scalesearch.design.space import parse_space
from scalesearch.design.spec import NetSpec
from scalesearch.errors import UserError
from scalesearch.files import read_json, write_json

FORMAT = 1
FILE = "coefficients.json"


@dataclass(frozen=True)
class Found:
    """Coefficients with everything needed to scale by them.

    ``done`` of ``total`` trainings that the race asked for had finished when they were chosen; ``winner`` is the
    recommended candidate's name; ``top1`` is its mean accuracy on the proxy's validation images.
    """

    coefficients: Coefficients
    rounding: Rounding
    baseline: NetSpec
    space: str
    data: str
    target_macs: float
    winner: str
    score: float
    top1: float
    done: int
    total: int

    @property
    def complete(self) -> bool:
        """Whether every trial of the search had finished."""
        return self.done == self.total


def write_found(folder: Path, found: Found) -> Path:
    """Writes ``coefficients.json`` into a run's folder, atomically."""
    write_json(folder / FILE, {"format": FORMAT, **asdict(found)})
    return folder / FILE


def read_found(folder: Path) -> Found:
    """Reads it back.

    Raises:
        UserError: not there, foreign, or of a newer version.
    """
    path = folder / FILE
    if not path.is_file():
        raise UserError(
            "--run", f"{folder} without {FILE}", "the folder of a search", 'Run "scalesearch grid" first, or name one.'
        )
    values = read_json(path, "the coefficients of a search")
    if values.pop("format", None) != FORMAT:
        raise UserError(str(path), "another format", f"format {FORMAT}", "Run the search again with this version.")
    try:
        baseline = parse_space(values.pop("baseline"), str(path)).baseline
        coefficients = Coefficients(**values.pop("coefficients"))
        check_coefficients(coefficients)
        found = Found(coefficients=coefficients, baseline=baseline, **values)
        if not 0 <= found.done <= found.total or found.rounding not in ("budget", "efficientnet"):
            raise ValueError(f"{found.done} of {found.total} trials, rounding {found.rounding}")
        return found
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UserError(str(path), f"a damaged file ({error})", "the coefficients of a search") from None


def growth(rounding: Rounding) -> float | None:
    """What one φ should cost for searched coefficients: 2, at which they were compared, where rounding can meet it."""
    return SEARCH_RATIO if rounding == "budget" else None
