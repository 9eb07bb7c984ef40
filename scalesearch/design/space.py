"""Search-space files: a baseline, its grid and its published members, as TOML that a person writes by hand."""

import difflib
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from scalesearch.design.spec import MOST_TABLES, BatchNorm, NetSpec, read_network
from scalesearch.errors import SpaceError, UserError
from scalesearch.files import require_regular
from scalesearch.typed import NAME, check_table, check_tables, integer, number, rules, shown

LARGEST_FILE = 32 << 10  # bytes, some eight shipped spaces; a.a.a.… takes the parser time with the square: 2 s


@dataclass(frozen=True)
class Grid:
    """The nominal grid: α, β, γ from 1 to ``maximum`` in steps; αβ²γ² within ``tolerance`` of 2."""

    step: Annotated[float, number(0.001, 1)] = 0.1
    tolerance: Annotated[float, number(0.001, 1)] = 0.1
    maximum: Annotated[float, number(1, 8)] = 2.0


@dataclass(frozen=True)
class Published:
    """A released member by its multipliers of the baseline."""

    name: Annotated[str, NAME]
    width: Annotated[float, number(0.01, 32)]
    depth: Annotated[float, number(0.01, 32)]
    resolution: Annotated[int, integer(8, 4096)]
    dropout: Annotated[float, number(0, 0.95)] = 0.2
    batch_norm: BatchNorm = BatchNorm()


@dataclass(frozen=True)
class SearchSpace:
    """A baseline (φ = 0), the grid searched around it, and the family's released members, if any."""

    name: str
    baseline: NetSpec
    grid: Grid = Grid()
    published: tuple[Published, ...] = ()


def check_grid(grid: Grid) -> None:
    """Raises UserError where a grid's values are no numbers that could span one."""
    for key, rule in {"step": number(1e-9, 1), "tolerance": number(0, 1), "maximum": rules(Grid)["maximum"]}.items():
        value = getattr(grid, key)
        if not rule.accepts(value):
            raise UserError(f"grid.{key}", f"{shown(value)} is not {rule.expected}.")


def spaces_folder() -> Path:
    """Where the shipped spaces lie: inside an installed package, beside it in a checkout."""
    package = Path(__file__).resolve().parent.parent
    inside = package / "search_spaces"
    return inside if inside.is_dir() else package.parent / "search_spaces"


def space_names() -> tuple[str, ...]:
    """Names of the shipped spaces."""
    return tuple(sorted(path.stem for path in spaces_folder().glob("*.toml")))


def load_space(named: str) -> SearchSpace:
    """A shipped space by name, or a TOML file by path.

    Raises:
        UserError: no such space or file, or not TOML.
        SpaceError: every mistake of the file at once.
    """
    path = spaces_folder() / f"{named}.toml" if named in space_names() else Path(named)
    if path.suffix != ".toml" or not path.is_file():
        near = difflib.get_close_matches(named, space_names(), n=1)
        hint = f'Did you mean "{near[0]}"?' if near else "Give one of those names or a file."
        problem = f'"{named}" is neither a .toml file nor one of {", ".join(space_names())}.'
        raise UserError("--space", problem, do=hint)
    size = require_regular(path, "a TOML file")
    if size > LARGEST_FILE:
        most = LARGEST_FILE >> 10
        raise UserError(str(path), f"a search space has at most {most} kB, and this file has {size / 1e6:.3g} MB.")
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:  # not TOML, not UTF-8, or a number of too many digits
        raise UserError(str(path), f"it is not TOML ({error or 'nested too deeply'}).") from None
    except OSError as error:
        raise UserError(str(path), f"it cannot be read ({error.strerror or error}).") from None
    return parse_space(values, str(path))


def parse_space(values: dict[str, Any], where: str) -> SearchSpace:
    """A search space from a file's tables. Raises SpaceError with all mistakes."""
    mistakes: list[str] = []
    baseline = read_network(values, mistakes, others=("grid", "published"))
    grid = check_table(values.get("grid"), rules(Grid), "grid", mistakes)
    rows = check_tables(values.get("published"), lambda row: rules(Published), "published", mistakes, MOST_TABLES)
    norms = [
        check_table(row["batch_norm"], rules(BatchNorm), f"published[{index}].batch_norm", mistakes)
        if row["batch_norm"]
        else None
        for index, row in enumerate(rows)
    ]
    if baseline is None or mistakes:
        raise SpaceError(where, tuple(mistakes))
    members = tuple(
        Published(**{**row, "batch_norm": BatchNorm(**norm) if norm else baseline.batch_norm})
        for row, norm in zip(rows, norms, strict=True)
    )
    return SearchSpace(baseline.name, baseline, Grid(**grid), members)
