"""A latency table of a device that does not exist."""

from collections.abc import Sequence

import numpy as np

from scalesearch.design.latency import AMOUNTS, Kind, LatencyTable
from scalesearch.design.latency_fit import network_amounts
from scalesearch.design.space import load_space

MS = (2e-3, 1e-8, 1e-8, 1e-7, 1e-6, 1e-6, 1e-6, 1e-6, 1e-6, 1e-6)  # of one of each amount


def made_up_table(spaces: Sequence[str], machine: str = "a made-up processor", runtime: str = "torch") -> LatencyTable:
    """Knows every operation of the spaces; how long each takes is drawn."""
    draws, specs = np.random.default_rng(0), [load_space(name).baseline for name in spaces]
    seen = sorted({kind for spec in specs for kind in network_amounts(spec, 1)[0]})
    kinds = tuple(
        Kind(kind, tuple((draws.uniform(0.5, 2) * np.array(MS)).tolist()), (1e9,) * len(AMOUNTS)) for kind in seen
    )
    return LatencyTable(
        machine, 2, "Linux x86_64", runtime, {"torch": "2.15.0"}, 1, 1, "float32",  # type: ignore[arg-type]
        "2026-11-27T12:00:00+00:00", tuple(spaces), 384, 0.01, 0.0, 0.05, kinds,
    )  # fmt: skip
