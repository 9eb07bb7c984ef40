"""A device's latency table: what each operation takes there, so that the time of any network can be told in advance.

``scalesearch device measure`` makes one (``design.latency_fit``). A network's time is the sum of its parts' and of an
overhead; a part's is the sum of its operations' (``design.work``); and an operation's is linear in the amounts that it
asks for, with a coefficient for each kind of operation and each amount. No coefficient is below 0, so that more work
of a kind never takes less time. What fusion takes away lies in the coefficients: an activation that a runtime does
inside the convolution before it comes to nearly nothing.

Two things are a whole network's, not its parts': weights that caches do not hold from one pass to the next (``HELD``),
and a factor close to 1 that depends on the sum (``LatencyTable.growth``).
"""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from scalesearch.design.spec import NetSpec, Stage
from scalesearch.design.work import Works, block_work, classifier_work, head_work, network_parts, stem_work, usual
from scalesearch.errors import UserError
from scalesearch.files import read_json, write_json
from scalesearch.typed import parse
from scalesearch.units import counted, show_count, show_percent

if TYPE_CHECKING:  # NumPy would double the time of --help
    from scalesearch.design.latency_times import Curve, Floats, Ints

FORMAT, WHAT = 1, "a latency table"
Runtime = Literal["torch", "onnxruntime", "torch-cuda"]
Dtype = Literal["float32", "bfloat16", "float16"]
# What an operation asks for. The last ones are numbers read and written beyond so many, which caches do not hold.
SPILLS = (2**16, 2**19, 2**22)
AMOUNTS = ("calls", "macs", "filled", "weights", "pixels", "reads", "writes", *(f"beyond_{most}" for most in SPILLS))
HELD = (2**15, 2**17, 2**19, 2**21)  # weights of a network, beyond which each has to come from farther away
BOUNDED = ("macs", "weights", "reads", "writes")  # amounts by which a network can lie outside of what was measured
BEYOND = 1.5  # times the largest that was measured: so far a linear law is trusted
BUSY = 0.2  # drift, or share of disturbed turns, from which times may be wrong
LARGE_ERROR = 0.1  # of a prediction, on average
MOST_KEPT = 200_000  # parts whose times are remembered


@dataclass(frozen=True)
class Kind:
    """How long operations of one kind take: ``ms`` for one of each of ``AMOUNTS``; ``most`` of each that was measured
    in a single operation."""

    name: str
    ms: tuple[float, ...]
    most: tuple[float, ...]

    def __post_init__(self) -> None:
        if not len(self.ms) == len(self.most) == len(AMOUNTS):
            raise ValueError(f"{self.name}: {len(AMOUNTS)} numbers each in ms and most")
        if min(self.ms) < 0:
            raise ValueError(f"{self.name}: no time is below 0")


@dataclass(frozen=True)
class Check:
    """The table's predictions against the times of whole networks that it was not fitted to.

    Args:
        mape: mean absolute error, as a share of the measured time.
        tau: Kendall's rank correlation of predicted and measured times.
        depth, width, resolution: by what share predictions come out larger, against the measured times, with each
            doubling of that dimension: the bias.
    """

    networks: int
    mape: float
    tau: float
    depth: float
    width: float
    resolution: float


@dataclass(frozen=True)
class Anchor:
    """A network that was measured, to be timed again with others: so a slower machine is not taken for a wrong table.

    Args:
        network: a specification's plain values.
    """

    network: dict[str, Any] = field(hash=False)
    ms: float

    def __post_init__(self) -> None:
        if self.ms <= 0:
            raise ValueError(f"a pass of {self.ms} ms")

    @classmethod
    def of(cls, spec: NetSpec, ms: float) -> "Anchor":
        """A network that takes so long."""
        return cls(json.loads(json.dumps(spec.to_dict())), ms)  # tuples become lists, as when read

    @property
    def spec(self) -> NetSpec:
        """The network."""
        return NetSpec.from_dict(self.network, "the latency table")


@dataclass(frozen=True)
class LatencyTable:
    """Times of one device with one runtime, number of threads, batch size and precision.

    Args:
        machine: the processor's name, or the GPU's.
        system: such as "Linux x86_64".
        versions: of the runtime and what it runs on.
        threads: of the runtime.
        spaces: whose networks were measured.
        networks: how many it was fitted to.
        drift: how much slower than usual the machine was in the slowest of the groups that count, as a share.
        disturbed: share of the turns in which something else was running.
        overhead_ms: of a pass, whatever the network.
        check: None where nothing was checked.
        held_ms: for each weight of a network beyond each of ``HELD``.
        growth: (milliseconds, factor): times so long as a sum are so many times that; in between by logarithms.
        anchors: some of the networks that it was fitted to, from fast to slow.
    """

    machine: str
    cores: int
    system: str
    runtime: Runtime
    versions: dict[str, str] = field(hash=False)
    threads: int
    batch_size: int
    dtype: Dtype
    date: str
    spaces: tuple[str, ...]
    networks: int
    drift: float
    disturbed: float
    overhead_ms: float
    kinds: tuple[Kind, ...]
    check: Check | None = None
    held_ms: tuple[float, ...] = ()
    growth: tuple[tuple[float, float], ...] = ()
    anchors: tuple[Anchor, ...] = ()

    def __post_init__(self) -> None:
        if min((self.overhead_ms, *self.held_ms), default=0.0) < 0:
            raise ValueError("no time is below 0")
        if any(min(point) <= 0 for point in self.growth) or list(self.growth) != sorted(self.growth):
            raise ValueError("growth: milliseconds in ascending order, each with a factor above 0")

    def stem(self, spec: NetSpec, width: int, sides: "Ints") -> "Floats":
        """What the stem with ``width`` output channels adds on images of ``sides``, its pooling included.

        Of this and the other parts: ``(2, *sides.shape)``, milliseconds and weights, to be summed for ``whole_ms``.
        """
        return self._curve(stem_work, spec, width)(sides)

    def block(self, spec: NetSpec, stage: Stage, width_in: int, stride: int, sides: "Ints") -> "Floats":
        """What one block of a stage adds on maps of ``sides`` with ``width_in`` channels."""
        return self._curve(block_work, spec, stage, width_in, stride)(sides)

    def head(self, spec: NetSpec, width_in: int, width: int, sides: "Ints") -> "Floats":
        """What the last convolution (none where ``width`` is 0) and the pooling add on maps of ``sides``."""
        return self._curve(head_work, spec, width_in, width)(sides)

    def classifier(self, spec: NetSpec, pooled: int, sides: "Ints") -> "Floats":
        """What follows the pooling of ``pooled`` channels, on maps of any ``sides``."""
        return self._curve(classifier_work, spec, pooled)(sides * 0 + 1)

    def whole_ms(self, added: "Floats") -> "Floats":
        """Milliseconds of passes of networks whose parts add up to ``added``, (2, …)."""
        from scalesearch.design.latency_times import whole_ms

        return whole_ms(added, self.overhead_ms, self.held_ms, self.growth)

    def network_ms(self, spec: NetSpec) -> float:
        """Milliseconds of a pass of the network at its resolution."""
        import numpy as np

        ms = weights = 0.0
        for make, of, side, count in network_parts(spec):
            curve = self._curve(make, spec, *of)
            ms += count * curve.at(side)
            weights += count * curve.weights
        return float(self.whole_ms(np.array([ms, weights])))

    def shares(self, spec: NetSpec) -> dict[str, float]:
        """Which operations take what share of a network's time: dense convolutions, depthwise ones, squeeze-excitation,
        activations; and others, with the overhead and what weights cost that caches do not hold."""
        from scalesearch.design.latency_times import amounts_at

        total = replace(self, growth=()).network_ms(spec)
        named = dict.fromkeys(("convolutions", "depthwise", "squeeze", "activations"), 0.0)
        for make, of, side, count in network_parts(spec):
            works = make(spec, *of)
            asked = amounts_at(works, side, self.batch_size)
            for work, amount in zip(works, asked, strict=True):
                if work.group in named:
                    ms = sum(rate * one for rate, one in zip(self._rates_of(work.kind), amount, strict=True))
                    named[work.group] += count * ms / total
        return {**named, "other": 1 - sum(named.values())}

    def outside(self, spec: NetSpec) -> tuple[str, ...]:
        """Where a network asks for more than was measured, so that its time is an extrapolation; a sentence each."""
        from scalesearch.design.latency_times import amounts_at

        known, found = {kind.name: kind for kind in self.kinds}, {}
        apart = any(usual(name) != name for name in known)  # older tables do not tell kinds apart by channels
        for make, of, side, _ in network_parts(spec):
            works = make(spec, *of)
            for work, asked in zip(works, amounts_at(works, side, self.batch_size), strict=True):
                kind = work.kind if apart else usual(work.kind)
                if kind not in known:
                    found[kind] = f"{kind}: none was measured."
                    continue
                for name, value, most in zip(AMOUNTS, asked, known[kind].most, strict=True):
                    if name in BOUNDED and value > BEYOND * most and kind not in found:
                        measured = f"measured were up to {show_count(most)}"
                        found[kind] = f"{kind}: {name} of {show_count(value)} in one, and {measured}."
        return tuple(found.values())

    def write(self, path: Path) -> None:
        """Writes the table as JSON, which ``load_table`` reads."""
        write_json(path, {"format": FORMAT, "what": WHAT, **asdict(self)})

    @property
    def warnings(self) -> tuple[str, ...]:
        """What speaks against trusting it; a sentence each."""
        again = "Measure again when nothing else runs."
        found = []
        if self.drift > BUSY:
            slow = f"at its slowest the machine took {show_percent(self.drift, 0)} longer than usual for the same work"
            found.append(f"The machine was busy: {slow}. {again}")
        elif self.disturbed > BUSY:
            share = show_percent(self.disturbed, 0)
            found.append(f"The machine was busy: something else ran in {share} of the turns. {again}")
        if self.check is not None and self.check.mape > LARGE_ERROR:
            found.append(f"Predictions are {self.error_words}: measure what you choose by them.")
        return tuple(found)

    @property
    def error_words(self) -> str:
        """The checked error in words."""
        if self.check is None:
            return "not checked on networks"
        off = f"off by {show_percent(self.check.mape)} on average, rank correlation {self.check.tau:.3f}"
        return f"{off}, on {counted(self.check.networks, 'network')} that it was not fitted to"

    @property
    def condition(self) -> str:
        """What a pass is of, in words."""
        images = "one image" if self.batch_size == 1 else f"{self.batch_size} images"
        return f"{images}, {self.dtype}, {counted(self.threads, 'thread')}"

    def __str__(self) -> str:
        versions = f"{self.runtime} {self.versions.get(self.runtime.partition('-')[0], '')}".strip()
        return f"{versions} on {self.machine}, {counted(self.cores, 'core')}: {self.condition}, {self.date[:10]}"

    @cached_property
    def _curves(self) -> "dict[tuple[object, ...], Curve]":
        return {}

    @cached_property
    def _rates(self) -> dict[str, tuple[float, ...]]:
        return {kind.name: kind.ms for kind in self.kinds}

    def _rates_of(self, kind: str) -> tuple[float, ...]:
        """Of a kind of operation; those of its usual numbers of channels where others were not measured."""
        return self._rates.get(kind) or self._rates[usual(kind)]

    def _curve(self, make: Callable[..., Works], spec: NetSpec, *of: Any) -> "Curve":
        """The times of a part, remembered. Raises UserError where one of its operations was not measured."""
        key = (make, *KEYS[make](spec), *(part_key(one) if isinstance(one, Stage) else one for one in of))
        curve = self._curves.get(key)
        if curve is None:
            if len(self._curves) >= MOST_KEPT:
                self._curves.clear()
            works = make(spec, *of)
            missing = sorted({usual(one.kind) for one in works if {one.kind, usual(one.kind)}.isdisjoint(self._rates)})
            if missing:
                problem = f"this table, of {', '.join(self.spaces)}, has no times of {', '.join(missing)}."
                do = "Measure the device anew with --spaces that have such blocks."
                raise UserError("--device-table", problem, do=do)
            from scalesearch.design.latency_times import Curve

            curve = Curve(works, [self._rates_of(work.kind) for work in works], self.batch_size)
            self._curves[key] = curve
        return curve


# what of a spec a part's work depends on, besides what it is given
KEYS: dict[Callable[..., Works], Callable[[NetSpec], tuple[object, ...]]] = {
    stem_work: lambda spec: (spec.activation, spec.padding, spec.in_channels, spec.stem),
    block_work: lambda spec: (spec.activation, spec.padding),
    head_work: lambda spec: (spec.activation,),
    classifier_work: lambda spec: (spec.head.hidden, spec.classes),
}


def part_key(stage: Stage) -> tuple[object, ...]:
    """What of a stage one of its blocks depends on."""
    return (
        stage.width, stage.kernel, stage.expand_ratio, stage.se_ratio, stage.block, stage.activation, stage.squeeze,
        stage.expand_divisor,
    )  # fmt: skip


def load_table(path: Path) -> LatencyTable:
    """The table of a file that ``device measure`` wrote, or of the times that a probe brought back.

    Raises UserError: no such file, none of these, damaged, or of a later version.
    """
    from scalesearch.design.latency_fit import READINGS, Readings, fit

    values = read_json(path, WHAT)
    what, version = values.pop("what", None), values.pop("format", None)
    if what not in (WHAT, READINGS):
        problem = f"{WHAT} should be here, as scalesearch device measure writes it, or the times of a device's probe."
        raise UserError(str(path), problem)
    if version != FORMAT:
        problem = f"it is {what} of format {version}, and this scalesearch reads format {FORMAT}."
        later = isinstance(version, int) and version > FORMAT
        raise UserError(str(path), problem, do="Update scalesearch." if later else "Measure the device anew.")
    if what == READINGS:
        return fit(parse(Readings, values, str(path), READINGS))
    return parse(LatencyTable, values, str(path), WHAT)
