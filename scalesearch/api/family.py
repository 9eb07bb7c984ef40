"""A family of scaled networks as a value."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from scalesearch.design.family import LARGEST, Member, member, member_row
from scalesearch.design.scaling import Coefficients, Rounding
from scalesearch.design.spec import NetSpec
from scalesearch.notebook import html_table
from scalesearch.units import show_count

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = ("name", "φ", "px", "FLOPs", "× B0", "params", "depths", "widths")


@dataclass(frozen=True)
class Family:
    """The members of a family by name: ``family["b3"].spec``; ``origin`` says what they are scaled by."""

    members: tuple[Member, ...]
    origin: str

    def __iter__(self) -> Iterator[Member]:
        return iter(self.members)

    def __len__(self) -> int:
        return len(self.members)

    def __getitem__(self, name: str) -> Member:
        found = {one.name: one for one in self.members}
        if name not in found:
            raise KeyError(f"{name}; there are {', '.join(found)}")
        return found[name]

    @property
    def table(self) -> "pd.DataFrame":
        """A row a member: φ, resolution in pixels, multiply-adds, parameters, cost over the baseline's."""
        import pandas as pd

        return pd.DataFrame([member_row(one) for one in self.members])

    def _repr_html_(self) -> str:
        return html_table(self.origin, COLUMNS, [member_cells(member_row(one)) for one in self.members])


def family_of(
    baseline: NetSpec, coefficients: Coefficients, rounding: Rounding, origin: str, largest: int = LARGEST
) -> Family:
    """φ = 0 to ``largest``. Raises UserError on absurd sizes."""
    return Family(tuple(member(baseline, coefficients, phi, rounding) for phi in range(largest + 1)), origin)


def member_cells(row: dict[str, Any]) -> list[str]:
    """A row of ``member_row`` as people read it, by ``COLUMNS``; no φ: a dash."""
    return [
        str(row["name"]), "–" if row["phi"] is None else f"{row['phi']:g}", str(row["resolution"]),
        show_count(row["macs"]), f"{row['ratio']:.2f}", show_count(row["params"]),
        " ".join(map(str, row["depths"])), " ".join(map(str, row["widths"])),
    ]  # fmt: skip
