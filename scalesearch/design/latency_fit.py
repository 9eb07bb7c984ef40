"""From a device's times of networks to its latency table, and how far the table is off on networks it never saw."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np

from scalesearch.design.latency import (
    AMOUNTS,
    FORMAT,
    HELD,
    Anchor,
    Check,
    Dtype,
    Kind,
    LatencyTable,
    Runtime,
)
from scalesearch.design.latency_times import Bools, Floats, amounts, kendall_tau
from scalesearch.design.probes import Probe
from scalesearch.design.spec import NetSpec
from scalesearch.design.work import network_parts
from scalesearch.errors import UserError

READINGS = "the times of a device's probe"
RIDGE = 0.01  # of columns scaled to 1: what several amounts explain alike is shared out among them
STEPS = 8
WEIGHTS = {"piece": 1.0, "whole": 8.0}  # whole networks are what is told: of them there are fewer, and each says more
OUTLIER = 2.0  # robust standard deviations, from which a network counts less
Growth = tuple[tuple[float, float], ...]
FEWEST = 30  # networks: below it nothing is fitted
FEWEST_BEYOND = 10  # networks that go beyond what caches hold: from fewer no cost of that is told, which could be any
TURNS = 3  # of rates and growth
POINTS, STIFFNESS = 8, 3.0  # of growth; so many networks' worth it takes to bend it between two points
ANCHORS = 7


@dataclass(frozen=True)
class TimedNetwork(Probe):
    """A network with the median milliseconds of a pass; ``spread``: the middle half of the passes over the median."""

    ms: float = 0.0
    spread: float = 0.0
    name: str = ""

    def __post_init__(self) -> None:
        if self.ms <= 0:
            raise ValueError(f"a pass of {self.ms} ms")


@dataclass(frozen=True)
class Readings:
    """What ``nets.runner`` found out on a device; the fields that ``LatencyTable`` has, too, mean the same there."""

    machine: str
    cores: int
    system: str
    runtime: Runtime
    versions: dict[str, str]
    threads: int
    batch_size: int
    dtype: Dtype
    date: str
    spaces: tuple[str, ...]
    drift: float
    disturbed: float
    networks: tuple[TimedNetwork, ...]


def fit(readings: Readings) -> LatencyTable:
    """The table that explains the times of the networks to be fitted, checked on the others.

    Raises UserError where there are too few networks.
    """
    fitted = [one for one in readings.networks if one.role != "check"]
    if len(fitted) < FEWEST:
        problem = f"times of {len(fitted)} networks are too few to fit a latency table to: it takes {FEWEST}."
        raise UserError("device", problem, do="Allow more --minutes.")
    batch, times = readings.batch_size, np.array([one.ms for one in fitted])
    asked = [network_amounts(one.spec, batch) for one in fitted]
    names = sorted({kind for one in asked for kind in one[0]})
    columns = np.array([
        [*np.concatenate([one[0].get(kind, NOTHING) for kind in names]), *_held(one[0]), 1.0] for one in asked
    ])  # fmt: skip
    hinges = [*(name.startswith("beyond") for name in AMOUNTS)] * len(names) + [True] * len(HELD) + [False]
    columns[:, np.array(hinges) & ((columns > 0).sum(axis=0) < FEWEST_BEYOND)] = 0.0
    whole = np.array([one.role == "whole" for one in fitted])
    rates, growth = grown(columns, times, np.array([WEIGHTS[one.role] for one in fitted]), whole)
    most = {kind: np.max([one[1][kind] for one in asked if kind in one[1]], axis=0) for kind in names}
    by_kind = rates[: -1 - len(HELD)].reshape(len(names), len(AMOUNTS))
    kinds = tuple(
        Kind(name, tuple(row.tolist()), tuple(most[name].tolist())) for name, row in zip(names, by_kind, strict=True)
    )
    shared = {name: value for name, value in vars(readings).items() if name != "networks"}
    table = LatencyTable(
        **shared, networks=len(fitted), overhead_ms=float(rates[-1]), kinds=kinds,
        held_ms=tuple(rates[-1 - len(HELD) : -1].tolist()), growth=growth, anchors=_anchors(fitted),
    )  # fmt: skip
    return replace(table, check=check(table, [one for one in readings.networks if one.role == "check"]))


NOTHING = np.zeros(len(AMOUNTS))
WEIGHTS_PLACE = AMOUNTS.index("weights")


def _held(asked: Mapping[str, Floats]) -> list[float]:
    """A network's weights beyond each of ``HELD``."""
    weights = sum(float(amount[WEIGHTS_PLACE]) for amount in asked.values())
    return [max(0.0, weights - most) for most in HELD]


def _anchors(fitted: Sequence[TimedNetwork]) -> tuple[Anchor, ...]:
    """Whole networks, evenly from the fastest to the slowest of them, without these two."""
    whole = sorted((one for one in fitted if one.role == "whole"), key=lambda one: one.ms)
    places = [len(whole) * (2 * number + 1) // (2 * ANCHORS) for number in range(ANCHORS)] if whole else []
    return tuple(Anchor.of(whole[place].spec, whole[place].ms) for place in places)


def grown(columns: Floats, times: Floats, weights: Floats, whole: Bools) -> tuple[Floats, Growth]:
    """Rates as ``explain`` finds them, and by which factor whole networks take longer than they add up to.

    A piece of a network stays in caches that the whole one does not fit into, so the factor is the whole ones' alone,
    and depends on the time that they add up to. The two are found by turns.
    """
    rates = explain(columns, times, weights)
    if whole.sum() < FEWEST:
        return rates, ()
    for _ in range(TURNS):
        sums = np.maximum(columns[whole] @ rates, 1e-6)
        at = np.geomspace(sums.min(), sums.max(), POINTS)
        factors = np.exp(_smooth(np.log(sums), np.log(times[whole] / sums), np.log(at)))
        growth = tuple(zip(at.tolist(), factors.tolist(), strict=True))
        told = times.copy()
        told[whole] /= np.exp(np.interp(np.log(sums), np.log(at), np.log(factors)))
        rates = explain(columns, told, weights)
    return rates, growth


def _smooth(x: Floats, y: Floats, at: Floats) -> Floats:
    """The values at some points, straight in between, that come closest to ``y`` and change little from one another.

    What is far off counts less, as in ``explain``.
    """
    place = np.clip(np.searchsorted(at, x) - 1, 0, len(at) - 2)
    share = (x - at[place]) / (at[place + 1] - at[place])
    shares = np.zeros((len(x), len(at)))
    shares[np.arange(len(x)), place], shares[np.arange(len(x)), place + 1] = 1 - share, share
    steps = STIFFNESS * np.diff(np.eye(len(at)), axis=0)
    found = np.full(len(at), np.median(y))
    for _ in range(STEPS):
        trust = _trust(np.abs(shares @ found - y))
        row = np.sqrt(trust)[:, None]
        wanted = np.concatenate([row[:, 0] * y, np.zeros(len(steps))])
        found = np.linalg.lstsq(np.vstack([row * shares, steps]), wanted)[0]
    return found


def _trust(off: Floats) -> Floats:
    """How much networks count that are ``off`` so far: during the outliers' passes something else was running."""
    trust: Floats = 1 / np.maximum(1, off / (OUTLIER * 1.4826 * np.median(off) + 1e-12))
    return trust


def network_amounts(spec: NetSpec, batch_size: int) -> tuple[dict[str, Floats], dict[str, Floats]]:
    """What a network asks for by kind of operation: in all, and the most of a single operation."""
    total: dict[str, Floats] = {}
    most: dict[str, Floats] = {}
    for make, of, side, count in network_parts(spec):
        works = make(spec, *of)
        for work, asked in zip(works, amounts(works, np.array([side]), batch_size)[:, :, 0].T, strict=True):
            total[work.kind] = total.get(work.kind, NOTHING) + count * asked
            most[work.kind] = np.maximum(most.get(work.kind, NOTHING), asked)
    return total, most


def explain(columns: Floats, times: Floats, weights: Floats) -> Floats:
    """Rates, none below 0, by which the columns add up to the times with least squares of log(predicted / measured).

    ``weights`` of the squares. By Gauss and Newton's steps; networks that are far off count less.
    """
    rates = np.zeros(columns.shape[1])
    used = np.flatnonzero(columns.any(axis=0))
    predicted, weight = times, weights
    for _ in range(STEPS):
        row = np.sqrt(weight) / predicted
        wanted = row * predicted * (1 + np.clip(np.log(times / predicted), -1, 1))
        scaled = columns[:, used] * row[:, None]
        norms = np.sqrt((scaled**2).mean(axis=0))
        scaled /= norms
        gram = scaled.T @ scaled + RIDGE**2 * len(times) * np.eye(len(used))
        rates[used] = nonnegative(gram, scaled.T @ wanted) / norms
        predicted = np.maximum(columns @ rates, 0.1 * times)
        weight = weights * _trust(np.abs(np.log(predicted / times)))
    return rates


def nonnegative(gram: Floats, target: Floats) -> Floats:
    """The x ≥ 0 that minimises xᵀ·gram·x / 2 − targetᵀ·x, for a positive definite ``gram``.

    Source: Bro and de Jong 1997, "A fast non-negativity-constrained least squares algorithm".
    """
    x, free = np.zeros(len(target)), np.zeros(len(target), dtype=bool)
    for _ in range(10 * len(target)):
        slope = np.where(free, -np.inf, target - gram @ x)
        if slope.max() <= 1e-10 * np.abs(target).max():
            break
        free[int(np.argmax(slope))] = True
        while True:
            wanted = np.zeros(len(target))
            wanted[free] = np.linalg.solve(gram[np.ix_(free, free)], target[free])
            below = free & (wanted <= 0)
            if not below.any():
                break
            step = (x[below] / (x[below] - wanted[below])).min()
            x = x + step * (wanted - x)
            free &= x > 1e-15
            x[~free] = 0.0
        x = wanted
    return x


def check(table: LatencyTable, networks: Sequence[TimedNetwork]) -> Check | None:
    """How far the table is off on networks; None where there are none."""
    if not networks:
        return None
    predicted = np.array([table.network_ms(one.spec) for one in networks])
    times = np.array([one.ms for one in networks])
    off = np.abs(predicted / times - 1)
    bias = bias_by_dimension(networks, np.log(predicted / times))
    return Check(len(networks), float(off.mean()), kendall_tau(predicted, times), *bias)


def bias_by_dimension(networks: Sequence[Probe], errors: Floats) -> tuple[float, float, float]:
    """By what share log errors grow with a doubling of depth, of width and of resolution, within spaces."""
    spaces = sorted({one.space for one in networks})
    sizes = [[math.log2(value) for value in (one.depth, one.width, one.resolution)] for one in networks]
    own = [[float(one.space == space) for space in spaces] for one in networks]
    slopes = np.linalg.lstsq(np.hstack([sizes, own]), errors, rcond=None)[0][:3]
    depth, width, resolution = np.expm1(slopes).tolist()
    return depth, width, resolution


def written(readings: Readings) -> dict[str, object]:
    """As ``nets.runner`` writes them, and ``load_table`` reads them."""
    networks = [{**asdict(one), "spec": one.spec.to_dict()} for one in readings.networks]
    return {"format": FORMAT, "what": READINGS, **asdict(readings), "networks": networks}
