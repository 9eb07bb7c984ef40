"""What became of every tensor of a network that inherited its weights, as values and as a table."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, get_args

from torch import Tensor

from scalesearch.table import Table, table, table_html
from scalesearch.units import show_percent

How = Literal["copied", "cut", "widened", "cut and widened", "fresh"]


@dataclass(frozen=True)
class TensorPlan:
    """One tensor of the target.

    Args:
        how: "copied" whole; "cut": source values left out; "widened": values besides the source's; "fresh": none.
        source: the source's tensor, None where ``how`` is "fresh".
        source_shape, shape: of the source's tensor and of this one.
        kept: how many of its values are the source's.
    """

    name: str
    how: How
    source: str | None
    source_shape: tuple[int, ...]
    shape: tuple[int, ...]
    kept: int

    @property
    def values(self) -> int:
        """How many values it has."""
        count = 1
        for side in self.shape:
            count *= side
        return count


@dataclass(frozen=True, eq=False)
class Route:
    """A convolution with a batch norm, and which of the source's channels each of its own came from.

    Args:
        layer, norm: module names in the target.
        source: the source's convolution, "" where there is none.
        writes: source channel by channel, int64, -1 for a new one.
        new: whether the block is a new one that starts as an identity.
    """

    layer: str
    norm: str
    source: str
    writes: Tensor
    new: bool

    @property
    def kept(self) -> Tensor:
        """The source channels that have a place."""
        return self.writes[self.writes >= 0]


@dataclass(frozen=True)
class TransferPlan:
    """Every tensor of the target (batch norm's counters aside), the source's tensors without a place, what keeps
    the target from computing what the source computes, and the way that channels took."""

    tensors: tuple[TensorPlan, ...]
    unused: tuple[str, ...]
    losses: tuple[str, ...]
    routes: tuple[Route, ...] = field(default=(), repr=False, compare=False)

    @property
    def preserved(self) -> bool:
        """Whether the function is the source's: the logits, or the pooled features where the classifier is fresh."""
        return not self.losses

    @property
    def exact(self) -> bool:
        """Whether every tensor of the body is the source's, bit for bit."""
        return self.preserved and all(row.how == "copied" for row in body(self.tensors))

    @property
    def coverage(self) -> float:
        """Share of the body's values that are the source's, from 0 to 1."""
        rows = body(self.tensors)
        return sum(row.kept for row in rows) / sum(row.values for row in rows)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        tensors = [asdict(row) for row in self.tensors]
        return {
            "coverage": self.coverage, "preserved": self.preserved, "losses": list(self.losses),
            "unused": list(self.unused), "tensors": tensors,
        }  # fmt: skip

    def table(self, caption: str) -> Table:
        """By parts of the network: how many tensors of each ``how``, and the share of the part's values inherited."""
        ways = get_args(How)
        rows = [
            [name, *(counts.get(way, "") for way in ways), show_percent(share, 0)]
            for name, counts, share in parts(self)
        ]
        return table(caption, ("part", *ways, "inherited"), rows)

    def _repr_html_(self) -> str:
        kept = "The function is kept." if self.preserved else f"The function is not kept: {'; '.join(self.losses)}."
        shown = self.table(f"{show_percent(self.coverage, 0)} of the body's values are inherited")
        return table_html(shown, [kept])


def how(given: int, wanted: int, kept: int) -> How:
    """In a word: values of the source's tensor, of the target's, and of those how many are the source's."""
    if kept == given == wanted:
        return "copied"
    if kept == wanted:
        return "cut"
    return "widened" if kept == given else "cut and widened"


def body(rows: tuple[TensorPlan, ...]) -> tuple[TensorPlan, ...]:
    """All but the classifier's."""
    return tuple(row for row in rows if not row.name.startswith("classifier."))


def parts(plan: TransferPlan) -> Iterator[tuple[str, dict[str, int], float]]:
    """For stem, each stage, head, hidden layer, classifier: name, tensors by ``how``, share of its values inherited."""
    groups: dict[str, list[TensorPlan]] = {}
    for row in plan.tensors:
        groups.setdefault(".".join(row.name.split(".")[: 2 if row.name.startswith("features") else 1]), []).append(row)
    for group, rows in groups.items():
        counts: dict[str, int] = {}
        for row in rows:
            counts[row.how] = counts.get(row.how, 0) + 1
        share = sum(row.kept for row in rows) / sum(row.values for row in rows)
        yield _part(group, rows), counts, share


def _part(group: str, rows: list[TensorPlan]) -> str:
    """What a group of tensors is called: a stage's lie in blocks, the stem's and the head's directly below it."""
    if not group.startswith("features"):
        return group
    number = int(group.split(".")[1])
    if number == 0:
        return "stem"
    return f"stage {number}" if any(len(row.name.split(".")) > 4 for row in rows) else "head"
