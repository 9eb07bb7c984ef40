"""The arithmetic of a latency table: what operations ask for on maps of many sides at once, and the times of a part."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from scalesearch.design.latency import HELD, SPILLS
from scalesearch.design.work import Work, Works

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


class Curve:
    """What a part adds for any side of its input: milliseconds, and ``weights``, which are the same for all."""

    def __init__(self, works: Works, rates: Sequence[Sequence[float]], batch_size: int) -> None:
        self._works, self._rates, self._batch_size = works, np.array(rates), batch_size
        self._at: dict[int, float] = {}
        self.weights = float(sum(work.weights for work in works))

    def __call__(self, sides: Ints) -> Floats:
        """``(2, *sides.shape)``: milliseconds and weights."""
        flat = np.asarray(sides, dtype=np.int64)
        asked = amounts(self._works, flat.ravel(), self._batch_size)
        times = np.einsum("wa,awn->n", self._rates, asked)
        both: Floats = np.stack([times, np.full_like(times, self.weights)]).reshape(2, *flat.shape)
        return both

    def at(self, side: int) -> float:
        """Milliseconds for one side; remembered."""
        value = self._at.get(side)
        if value is None:
            value = self._at[side] = float(self(np.array([side]))[0, 0])
        return value


def whole_ms(added: Floats, overhead_ms: float, held_ms: Sequence[float], growth: Sequence[Sequence[float]]) -> Floats:
    """Milliseconds of networks of what their parts add, (2, …): see ``LatencyTable``."""
    ms, weights = added
    total: Floats = ms + overhead_ms
    for most, rate in zip(HELD, held_ms, strict=False):
        total = total + rate * np.maximum(0.0, weights - most)
    if growth:
        at, factors = np.array(growth).T
        total = total * np.exp(np.interp(np.log(np.maximum(total, 1e-9)), np.log(at), np.log(factors)))
    return total


def amounts(works: Sequence[Work], sides: Ints, batch_size: int) -> Floats:
    """What operations ask for on inputs of ``sides``: (AMOUNTS, works, sides)."""
    fixed = np.array([(w.macs, w.filled, w.weights, w.reads, w.writes, w.shrunk, w.stride) for w in works], np.int64)
    macs, filled, weights, reads, writes, shrunk, stride = fixed.T[:, :, None]
    pooled = np.array([work.pooled for work in works])[:, None]
    inner = np.where(pooled, 1, -(-sides // shrunk))
    pixels, pixels_in = batch_size * (-(-inner // stride)) ** 2, batch_size * inner**2
    read, written = reads * pixels_in, writes * pixels
    ones = np.ones_like(pixels)
    both = read + written
    beyond = [np.maximum(0, both - most) for most in SPILLS]
    asked = [ones, macs * pixels, filled * pixels, weights * ones, pixels, read, written, *beyond]
    return np.stack(asked).astype(np.float64)


def amounts_at(works: Sequence[Work], side: int, batch_size: int) -> list[list[float]]:
    """What each operation asks for on inputs of one side: (works, AMOUNTS)."""
    asked: list[list[float]] = amounts(works, np.array([side]), batch_size)[:, :, 0].T.tolist()
    return asked


def kendall_tau(one: Floats, other: Floats) -> float:
    """Kendall's rank correlation: ordered pairs less swapped ones, over all pairs."""
    pairs = [np.sign(values[:, None] - values[None, :]) for values in (one, other)]
    count = len(one) * (len(one) - 1)
    return float((pairs[0] * pairs[1]).sum() / count) if count else 1.0
