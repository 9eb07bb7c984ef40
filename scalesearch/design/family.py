"""The family that coefficients span: B0…B6 for φ = 0…6, and members by name."""

import difflib
import math
import re
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from scalesearch.design.cost import cost
from scalesearch.design.measure import FLOPS, Measure
from scalesearch.design.scaling import Coefficients, Rounding, check_buildable, published_name, published_spec, scale
from scalesearch.design.space import load_space, space_names
from scalesearch.design.spec import NetSpec
from scalesearch.errors import UserError
from scalesearch.files import read_json, write_json
from scalesearch.units import show_count

FAMILY_FOLDER = "family"  # of a search's folder: where its family is kept
LARGEST = 6
MOST_DROPOUT = 0.5  # that a larger member is given
SPEC_FORMAT = 1


@dataclass(frozen=True)
class Member:
    """One network of a family; ``ratio`` is its real cost over the baseline's, in the family's ``measure``."""

    name: str
    phi: float
    spec: NetSpec
    ratio: float
    measure: Measure = FLOPS


def member(baseline: NetSpec, coefficients: Coefficients, phi: float, rounding: Rounding) -> Member:
    """The member at φ, named b3 for φ = 3 and b_phi2.5 between. Raises UserError on absurd sizes."""
    if not math.isfinite(phi):
        raise UserError("--phi", f"{phi} is not a finite number.")
    name = f"b{phi:g}" if phi >= 0 and phi == int(phi) else f"b_phi{phi:.4g}"
    spec = replace(scale(baseline, coefficients, phi, rounding), name=name)
    check_buildable(spec, "--phi")
    measure = coefficients.measure
    return Member(name, phi, spec, measure.of(spec) / measure.of(baseline), measure)


def regularised(spec: NetSpec, phi: float) -> NetSpec:
    """A network with the dropout that φ calls for: as released, a tenth more with every second φ, at most a half.

    Source: the EfficientNet release, whose B0…B7 have 0.2, 0.2, 0.3, 0.3, 0.4, 0.4, 0.5, 0.5 and one drop path for all.
    """
    dropout = max(spec.dropout, min(MOST_DROPOUT, round(spec.dropout + 0.1 * (phi // 2), 6)))
    return replace(spec, dropout=dropout)


def family(baseline: NetSpec, coefficients: Coefficients, rounding: Rounding) -> tuple[Member, ...]:
    """B0 to B6: φ = 0, 1, … 6."""
    return tuple(member(baseline, coefficients, phi, rounding) for phi in range(LARGEST + 1))


def member_row(item: Member) -> dict[str, Any]:
    """A member as one row of tables and of ``family.json``."""
    sizes = cost(item.spec)
    return {
        "name": item.name,
        "phi": item.phi,
        "resolution": item.spec.resolution,
        "macs": sizes.macs,
        "params": sizes.params,
        "activations": sizes.activations,
        "ratio": item.ratio,
        "widths": list(item.spec.widths),
        "depths": list(item.spec.depths),
    }


@dataclass(frozen=True)
class Origin:
    """What a member was scaled by, in words, and whether a search chose that; a file of a spec says it."""

    scaled: str
    searched: bool = False


def write_spec(path: Path, spec: NetSpec, origin: Origin | None = None) -> Path:
    """A network's spec as JSON, which ``--model`` takes."""
    write_json(path, {"format": SPEC_FORMAT, "spec": spec.to_dict(), **(asdict(origin) if origin else {})})
    return path


def replaced(path: Path, spec: NetSpec, origin: Origin, do: str) -> str:
    """What the network was scaled by that a file holds and ``spec`` would replace; "" where it holds none, or this one.

    A search that goes on replaces what it gave before.

    Raises:
        UserError: the file holds what a search did not give, or is no spec; ``do`` says what else can be done.
    """
    if not path.exists() or (held := read_spec(path)) == spec:
        return ""
    values = read_json(path, "a network's spec")
    other = values["scaled"] if isinstance(values.get("scaled"), str) else "coefficients that it does not state"
    if not (origin.searched and values.get("searched") is True):
        sizes = [show_count(cost(one).macs) for one in (held, spec)]
        problem = f"it holds {held.name} by {other}: {sizes[0]} FLOPs; {spec.name} by {origin.scaled}, {sizes[1]} FLOPs"
        raise UserError(str(path), f"{problem}, would replace it.", do=do)
    return other


def read_spec(path: Path) -> NetSpec:
    """A spec written by ``write_spec``. Raises UserError on foreign or damaged files."""
    values = read_json(path, "a network's spec")
    if values.get("format") != SPEC_FORMAT or not isinstance(values.get("spec"), dict):
        raise UserError(str(path), f"it is not a network's spec of format {SPEC_FORMAT}, as scale writes it.")
    spec = NetSpec.from_dict(values["spec"], str(path))
    check_buildable(spec, str(path))
    return spec


def model_names() -> tuple[str, ...]:
    """What ``--model`` knows by name: b0 to b6, spaces, released members."""
    released = [published_name(space, one.name) for space in map(load_space, space_names()) for one in space.published]
    return tuple(dict.fromkeys((*(f"b{phi}" for phi in range(LARGEST + 1)), *space_names(), *released)))


def phi_of(name: str) -> float | None:
    """φ of a member by its name (b3, phi2.5, b_phi2.5); None of a network that is no member of a family."""
    derived = re.fullmatch(r"b(\d+)|(?:b_)?phi(-?\d+(?:\.\d+)?)", name)
    return float(derived[1] or derived[2]) if derived else None


def named_spec(name: str, baseline: NetSpec, coefficients: Coefficients, rounding: Rounding) -> NetSpec:
    """What ``--model`` means: a spec file, a derived member (b3, phi2.5), a space or its file, or a released member.

    Derived members (b3) come from the coefficients; released ones carry their family's name (efficientnet_b3).

    Raises UserError listing what can be given, with the nearest names.
    """
    if name.endswith(".json"):
        return read_spec(Path(name))
    phi = phi_of(name)
    if phi is not None:
        try:
            return member(baseline, coefficients, phi, rounding).spec
        except UserError as error:
            problem = f'"{name}" is no member of the family: {error.problem}'
            raise UserError("--model", problem, do=_meant(name)) from None
    if name in space_names() or (name.endswith(".toml") and Path(name).is_file()):
        return load_space(name).baseline
    for space in map(load_space, space_names()):
        for published in space.published:
            if name == published_name(space, published.name):
                return published_spec(space, published.name)
    raise UserError(
        "--model", f'"{name}" is no network: give b0 to b6, phi and a number (phi2.5), a spec file (.json), a space '
        f"file (.toml), a released member such as efficientnet_b3, or one of {', '.join(space_names())}.",
        do=_meant(name),
    )  # fmt: skip


def _meant(name: str) -> str:
    near = difflib.get_close_matches(name.lower().replace("-", "_"), model_names(), 2)
    return f"Did you mean {' or '.join(near)}?" if near else ""
