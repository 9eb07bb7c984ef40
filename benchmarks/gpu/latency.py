"""(h) Latency tables of the device, and how far they are off on networks that they never saw."""

from collections.abc import Iterator

import numpy as np
import torch

from benchmarks.device.held_out import compared, held_out
from benchmarks.gpu.sheet import Request, Row, kept_errors
from scalesearch.design import probes
from scalesearch.design.latency import Dtype
from scalesearch.design.latency_fit import fit
from scalesearch.design.space import load_space
from scalesearch.nets.device import network_times, silent, torch_readings

CASES: tuple[tuple[Dtype, int], ...] = (("bfloat16", 1), ("float32", 1), ("bfloat16", 32))
WHOLE_SECONDS = 200.0  # that all of a table's networks take, about; in less time there are fewer
SPACES = ("efficientnet_b0", "mobilenet_v3_large", "mbconv_small")
SEED = 5  # of networks that no table was looked at with


def tables(asked: Request) -> Iterator[Row]:
    """Rows of each precision and batch size: the table, FLOPs, activations and parameters against the same networks.

    Each table lies in the results' folder, and ``--device-table`` takes it.
    """
    cases = (("float32", 1),) if asked.tiny else CASES
    for number, (dtype, batch_size) in enumerate(cases):
        row: Row = {"precision": dtype, "batch": batch_size}
        yield from kept_errors(asked, row, _case(asked, dtype, batch_size, asked.left / (len(cases) - number)))


def _case(asked: Request, dtype: Dtype, batch_size: int, seconds: float) -> Iterator[Row]:
    """One table, made in three quarters of the time, and its comparison."""
    # a part runs in a process of its own, so that fewer networks here are fewer nowhere else
    share = 0.1 if asked.tiny else min(1.0, 0.75 * seconds / WHOLE_SECONDS)
    probes.PIECES, probes.WHOLE_FITTED, probes.WHOLE_CHECKED = (
        max(fewest, round(share * most)) for fewest, most in ((32, 320), (8, 128), (4, 24))
    )
    if asked.device.type == "cpu":
        torch.set_num_threads(1)
    baselines = [load_space(name).baseline for name in (SPACES[-1:] if asked.tiny else SPACES)]
    table = fit(torch_readings(baselines, batch_size, asked.device, dtype, 0.75 * seconds, silent))
    table.write(asked.out / f"h-{dtype}-{batch_size}.json")
    networks = [one for one in held_out(12 if asked.tiny else 48, SEED) if one.space in table.spaces]
    times, slower = network_times([one.spec for one in networks], table, 0.2 * seconds)
    for one in compared(networks, np.array(times), table, slower or 0.0):
        yield {
            "networks": table.networks, "held out": len(networks), "fastest ms": min(times), "slowest ms": max(times),
            **one,
        }  # fmt: skip
