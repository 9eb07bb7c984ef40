"""Search-space files: a baseline, its grid and its published members, as TOML that a person writes by hand."""

import difflib
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from scalesearch.design.schema import Rule, boolean, check_table, integer, name, number, odd, one_of
from scalesearch.design.spec import Activation, BatchNorm, BlockKind, Head, NetSpec, Stage, Stem
from scalesearch.errors import SpaceError, UserError
from scalesearch.files import require_regular

ACTIVATIONS: tuple[str, ...] = get_args(Activation)
BLOCK_KINDS: tuple[str, ...] = get_args(BlockKind)
ANY = Rule("a table", lambda value: True, default=None)
# Bounds refuse absurd values before anything is built from them.
LARGEST_FILE = 32 << 10  # bytes, some eight shipped spaces; a.a.a.… takes the parser time with the square: 2 s
MOST_TABLES = 64  # stages, or released members
TOP = {
    "name": name(),
    "resolution": integer(8, 4096),
    "activation": one_of(*ACTIVATIONS, default="silu"),
    "padding": one_of("symmetric", "same", default="symmetric"),
    "width_divisor": integer(1, 64, 8),
    "dropout": number(0, 0.95, 0.2),
    "drop_path": number(0, 0.95, 0.2),
    "in_channels": integer(1, 64, 3),
    "classes": integer(1, 1_000_000, 1000),
    "batch_norm": ANY,
    "stem": ANY,
    "stages": ANY,
    "head": ANY,
    "grid": ANY,
    "published": ANY,
}
BATCH_NORM = {"eps": number(1e-12, 1, 1e-5), "momentum": number(0, 1, 0.1)}
STEM = {
    "width": integer(1, 8192),
    "kernel": odd(1, 15, 3),
    "stride": integer(1, 8, 2),
    "scaled": boolean(True),
    "max_pool": boolean(False),
}
STAGE = {
    "width": integer(1, 16384),
    "depth": integer(1, 256),
    "kernel": odd(1, 15, 3),
    "stride": integer(1, 8, 1),
    "expand_ratio": number(1, 32, 6),
    "se_ratio": number(0, 4, 0.25),
    "block": one_of(*BLOCK_KINDS, default="mbconv"),
    "depth_scaled": boolean(True),
    "activation": one_of(*ACTIVATIONS, default=None),
    "squeeze": one_of("efficientnet", "mobilenet_v3", default="efficientnet"),
}
NO_SQUEEZE = Rule("0: a ResNet's block has no squeeze-excitation", lambda value: value == 0, default=0)
# a block kind's own bounds and defaults, where they are not those above
OF_BLOCK: dict[str, dict[str, Rule]] = {
    "basic": {"expand_ratio": number(0.01, 32, 1), "se_ratio": NO_SQUEEZE},
    "bottleneck": {"expand_ratio": number(0.01, 32, 0.25), "se_ratio": NO_SQUEEZE},
}
HEAD = {
    "width": integer(0, 65536),
    "scaling": one_of("fixed", "scaled", "grows_only", "follows_last_stage", default="scaled"),
    "hidden": integer(0, 65536, 0),
}
GRID = {"step": number(0.001, 1, 0.1), "tolerance": number(0.001, 1, 0.1), "maximum": number(1, 8, 2.0)}
PUBLISHED = {
    "name": name(),
    "width": number(0.01, 32),
    "depth": number(0.01, 32),
    "resolution": integer(8, 4096),
    "dropout": number(0, 0.95, 0.2),
    "batch_norm": ANY,
}


@dataclass(frozen=True)
class Grid:
    """The nominal grid: α, β, γ from 1 to ``maximum`` in steps; αβ²γ² within ``tolerance`` of 2."""

    step: float = 0.1
    tolerance: float = 0.1
    maximum: float = 2.0


@dataclass(frozen=True)
class Published:
    """A released member by its multipliers of the baseline."""

    name: str
    width: float
    depth: float
    resolution: int
    dropout: float
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
    for key, rule in {"step": number(1e-9, 1), "tolerance": number(0, 1), "maximum": GRID["maximum"]}.items():
        value = getattr(grid, key)
        if not rule.accepts(value):
            raise UserError(f"grid.{key}", f"{value!r}"[:60], rule.expected)


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
        raise UserError("--space", f'"{named}"', "a .toml file or one of " + ", ".join(space_names()), hint)
    size = require_regular(path, "a TOML file")
    if size > LARGEST_FILE:
        raise UserError(str(path), f"{size / 1e6:.3g} MB", f"a TOML file of at most {LARGEST_FILE >> 10} kB")
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:  # not TOML, not UTF-8, or a number of too many digits
        raise UserError(str(path), str(error) or "text that no TOML parser reads", "a TOML file") from None
    except OSError as error:
        raise UserError(str(path), error.strerror or "an unreadable file", "a readable TOML file") from None
    return parse_space(values, str(path))


def parse_space(values: dict[str, Any], where: str) -> SearchSpace:
    """A search space from a file's tables. Raises SpaceError with all mistakes."""
    mistakes: list[str] = []
    top = check_table(values, TOP, "", mistakes)
    norm = check_table(_table(top, "batch_norm"), BATCH_NORM, "batch_norm", mistakes)
    stem = check_table(_table(top, "stem"), STEM, "stem", mistakes)
    head = check_table(_table(top, "head"), HEAD, "head", mistakes)
    grid = check_table(_table(top, "grid"), GRID, "grid", mistakes)
    stages = _check_list(top.pop("stages"), _stage_rules, "stages", mistakes)
    if not stages:
        mistakes.append("stages: missing; expected at least one [[stages]] table")
    published = _check_list(top.pop("published"), lambda row: PUBLISHED, "published", mistakes)
    norms = [
        check_table(row.pop("batch_norm", None) or norm, BATCH_NORM, f"published[{index}].batch_norm", mistakes)
        for index, row in enumerate(published)
    ]
    if mistakes:
        raise SpaceError(where, tuple(mistakes))
    baseline = NetSpec(
        **top,
        batch_norm=BatchNorm(**norm),
        stem=Stem(**stem),
        stages=tuple(Stage(**stage) for stage in stages),
        head=Head(**head),
    )
    members = tuple(Published(**row, batch_norm=BatchNorm(**n)) for row, n in zip(published, norms, strict=True))
    return SearchSpace(baseline.name, baseline, Grid(**grid), members)


def spec_of(values: Any, where: str) -> NetSpec:
    """A network from plain values, as ``NetSpec.to_dict`` gives them or JSON keeps them, within the same bounds.

    Raises SpaceError with all mistakes.
    """
    if isinstance(values, dict) and isinstance(values.get("stages"), tuple):
        values = {**values, "stages": list(values["stages"])}
    return parse_space(values, where).baseline


def _table(values: dict[str, Any], key: str) -> Any:
    value = values.pop(key)
    return {} if value is None else value


def _stage_rules(row: Any) -> dict[str, Rule]:
    """The rules of a stage's block kind."""
    kind = row.get("block") if isinstance(row, dict) else None
    return STAGE | (OF_BLOCK.get(kind, {}) if isinstance(kind, str) else {})


def _check_list(
    values: Any, rules: Callable[[Any], dict[str, Rule]], where: str, mistakes: list[str]
) -> list[dict[str, Any]]:
    if values is None:
        return []
    if not isinstance(values, list):
        mistakes.append(f"{where}: no list of tables; expected [[{where}]] tables")
        return []
    if len(values) > MOST_TABLES:
        mistakes.append(f"{where}: {len(values)} tables; expected at most {MOST_TABLES}")
        return []
    return [check_table(row, rules(row), f"{where}[{index}]", mistakes) for index, row in enumerate(values)]
