"""Which coefficients a command scales by: given ones, those of a search, or the paper's; and how to say which."""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from scalesearch.design.cost import cost
from scalesearch.design.scaling import PAPER, Coefficients, Rounding, check_coefficients
from scalesearch.design.space import load_space
from scalesearch.design.spec import NetSpec
from scalesearch.errors import UserError
from scalesearch.running.folder import newest_run
from scalesearch.study.found import FILE, read_found
from scalesearch.typed import mistyped

if TYPE_CHECKING:
    from scalesearch.nets.latency import Latency

LOG = logging.getLogger(__name__)
Factors = tuple[float | None, float | None, float | None]


@dataclass(frozen=True)
class Scaling:
    """A baseline and how to scale it; ``origin`` says in words where that is from, ``folder`` is where specs go,
    ``data`` what a search was given (None: nothing was searched)."""

    baseline: NetSpec
    coefficients: Coefficients
    rounding: Rounding
    origin: str
    folder: Path
    data: str | None = None


def choose_scaling(run: Path | None, space: str | None, factors: Factors, rounding: Rounding | None) -> Scaling:
    """The scaling that a command's options ask for.

    A named run must have been searched; without one the newest under runs/ counts unless a space is named.
    Given factors win over both. Raises UserError on some but not all of α, β, γ.
    """
    given = _given(factors)
    if run is not None and space is not None:
        raise UserError("--space", f"{space} beside --run {run}", "one of them", "A run has its own baseline.")
    folder = run or (newest_run() if space is None else None)
    if folder is not None:
        found = read_found(folder)
        if odd := mistyped(found):
            raise UserError(str(folder / FILE), f"a damaged file ({odd})", "the coefficients of a search")
        state = "" if found.complete else f", search unfinished: {found.done} of {found.total} trials"
        origin = (
            f"Coefficients searched on {found.data} in {folder} ({found.coefficients}{state}; accuracy "
            f"{found.top1:.1%} on the search's validation images)"
        )
        coefficients = given or found.coefficients
        return Scaling(
            found.baseline, coefficients, rounding or found.rounding,
            f"Coefficients given: {given}; baseline of {folder}" if given else origin, folder / "family",
            _data_argument(folder),
        )  # fmt: skip
    baseline = load_space("efficientnet_b0" if space is None else space).baseline
    origin = f"Coefficients given: {given}" if given else f"Nothing was searched: the paper's coefficients, {PAPER}"
    return Scaling(baseline, given or PAPER, rounding or "budget", origin, Path("family") / baseline.name)


def _data_argument(folder: Path) -> str | None:
    """What the search was given as --data, absolute for a folder; None where its run.json is gone."""
    from scalesearch.files import read_json
    from scalesearch.running.folder import RUN_FILE

    path = folder / RUN_FILE
    return read_json(path, "a run of scalesearch").get("data_argument") if path.exists() else None


def _given(factors: Factors) -> Coefficients | None:
    alpha, beta, gamma = factors
    if alpha is None and beta is None and gamma is None:
        return None
    if alpha is None or beta is None or gamma is None:
        names = zip(("--alpha", "--beta", "--gamma"), factors, strict=True)
        missing = ", ".join(name for name, value in names if value is None)
        raise UserError("coefficients", f"no {missing}", "all of --alpha, --beta and --gamma, or none of them")
    coefficients = Coefficients(alpha, beta, gamma)
    check_coefficients(coefficients)
    return coefficients


def timed_member(
    chosen: Scaling, seconds: float, batch_size: int = 1, device: str = "auto", threads: int | None = None
) -> tuple[float, "Latency"]:
    """The φ whose member takes about so many seconds for a batch on this machine, and its measurement.

    Args:
        threads: of the CPU; None: torch's own number.

    Raises:
        UserError: no member comes near.
    """
    import torch

    from scalesearch.design.scaling import meet_seconds
    from scalesearch.nets.latency import latency
    from scalesearch.training.device import choose_device, set_threads

    place, before = choose_device(device), torch.get_num_threads()
    measured: dict[str, Latency] = {}

    def seconds_of(spec: NetSpec) -> float:
        found = latency(spec, batch_size, place)
        LOG.debug("%s: %.3g ms", cost(spec), found.seconds * 1e3)
        measured[spec.digest] = found
        return found.seconds

    try:
        if threads is not None:
            set_threads(threads)
        sized, _ = meet_seconds(chosen.baseline, chosen.coefficients, seconds, chosen.rounding, seconds_of)
    finally:
        torch.set_num_threads(before)
    return sized.phi, measured[sized.spec.digest]
