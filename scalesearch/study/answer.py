"""The answer of a search as a value, kept as ``winners.json``: the set, its members in order, the one recommended."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from scalesearch.errors import UserError
from scalesearch.files import read_json, write_json
from scalesearch.study.comparison import Comparison

FILE = "winners.json"
FORMAT = 1
RULE = "the highest score among the members that were trained longest"


@dataclass(frozen=True)
class Standing:
    """A candidate with a result.

    Args:
        name: such as c004; ``control`` the one dimension it scales, or empty.
        status: "member" of the winner set; "undecided": still in, but it got no place in a later rung, so it is a
            member, too, on less evidence; "beaten".
        epochs, seeds: of its furthest rung, which the numbers are from.
        score: mean over seeds; ``low`` and ``high``: its 95 % interval.
    """

    name: str
    control: str
    status: str
    epochs: int
    seeds: int
    score: float
    low: float
    high: float


@dataclass(frozen=True)
class Answer:
    """What a search found out.

    Args:
        level: the set contains the candidate that is truly best with this probability, if training were repeated.
        standings: those trained longest first, members before beaten ones, then by score.
        recommended: the name of one member, chosen by ``rule``.
        comparisons: the recommended one against the controls.
        seed_sd: standard deviation of an accuracy between seeds beyond the images' noise; None: not measured.
        complete: False while trainings that the race asked for are still to be run.
        rungs: (epochs, seeds) of each rung.
    """

    level: float
    standings: tuple[Standing, ...]
    recommended: str
    comparisons: tuple[Comparison, ...]
    seed_sd: float | None
    complete: bool
    rungs: tuple[tuple[int, int], ...]
    rule: str = RULE

    @property
    def members(self) -> tuple[Standing, ...]:
        """The winner set, undecided ones included."""
        return tuple(standing for standing in self.standings if standing.status != "beaten")


def write_answer(folder: Path, answer: Answer) -> None:
    """Writes ``winners.json`` into a run's folder, atomically."""
    write_json(folder / FILE, {"format": FORMAT, **asdict(answer)})


def read_answer(folder: Path) -> Answer | None:
    """Reads it back; None where there is none. Raises UserError for a damaged or foreign file."""
    path = folder / FILE
    if not path.is_file():
        return None
    values = read_json(path, "the answer of a search")
    try:
        if values.pop("format", None) != FORMAT:
            raise UserError(str(path), "another format", f"format {FORMAT}", "Run the search again with this version.")
        standings = tuple(Standing(**item) for item in _items(values.pop("standings")))
        comparisons = tuple(Comparison(**item) for item in _items(values.pop("comparisons")))
        rungs = tuple((int(epochs), int(seeds)) for epochs, seeds in values.pop("rungs"))
        return Answer(standings=standings, comparisons=comparisons, rungs=rungs, **values)
    except (TypeError, KeyError, ValueError, AttributeError) as error:
        raise UserError(str(path), f"a damaged file ({error})", "the answer of a search") from None


def _items(values: Any) -> Sequence[dict[str, Any]]:
    if not isinstance(values, list):
        raise TypeError("a list was expected")
    return values
