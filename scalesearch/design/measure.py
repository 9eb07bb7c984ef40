"""What counts as a network's cost: FLOPs, parameters, activations, peak memory, or time on a device.

A ``Measure`` is the value that plans, coefficients and files hold. Its ``meter`` computes: the cost of a whole network,
and of each part for many sides of a map at once, from which ``design.budget`` adds up thousands of roundings. Whoever
needs a cost asks the measure; nothing else knows which one it is.
"""

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from functools import cache, partial
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias

from scalesearch.design.cost import Operator, block_operators, classifier_operators, convolution, cost
from scalesearch.design.latency import LatencyTable
from scalesearch.design.spec import Architecture, NetSpec, Stage, TorchvisionSpec
from scalesearch.errors import UserError
from scalesearch.units import parse_bytes, parse_duration, parse_flops, show_bytes, show_count

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Ints: TypeAlias = NDArray[np.int64]
    Floats: TypeAlias = NDArray[np.float64]

Kind = Literal["flops", "params", "activations", "memory", "latency"]
Runtime = Literal["torch", "onnxruntime", "board"]  # whose memory: float32 on a CPU, or int8 on a microcontroller
Count = Literal["macs", "params", "activations"]
COUNTS: dict[Kind, Count] = {"flops": "macs", "params": "params", "activations": "activations"}


@dataclass(frozen=True, eq=False)
class Portion:
    """What a part costs on maps of each side.

    Args:
        added: (quantities, sides): what parts add up of; a meter's ``total`` makes a network's cost of the sums.
        held: (sides,): what it needs while it runs, beside what is added; a network needs the most of any part. None:
            nothing.
    """

    added: "Floats"
    held: "Floats | None" = None


@dataclass(frozen=True)
class Unit:
    """How a cost is written and read.

    Args:
        noun: of sentences: "2 × the FLOPs".
        of: after a number, where the unit does not say what it is of.
        short: the number with its unit, such as 400M.
        read: the inverse, of what people type and the option's name. Raises UserError.
    """

    noun: str
    of: str
    short: Callable[[float], str]
    read: Callable[[str, str], float]


def _counts(noun: str, what: str) -> Unit:
    return Unit(noun, f" {noun}", partial(show_count, digits=6), partial(parse_flops, what=what))


def _milliseconds(text: str, option: str) -> float:
    return 1e3 * parse_duration(text, option, "a time such as 20ms")


LATER_IN_TABLES = ("held_ms", "growth", "anchors")
UNITS: dict[Kind, Unit] = {
    "flops": _counts("FLOPs", "multiply-adds"),
    "params": _counts("parameters", "parameters"),
    "activations": _counts("activations", "activations"),
    "memory": Unit("memory", "", show_bytes, parse_bytes),
    "latency": Unit("predicted latency", "", lambda ms: f"{ms:.6g} ms", _milliseconds),
}


@dataclass(frozen=True, eq=False)
class Entering:
    """What a stage is given, and its first block reads: channels, and sides in pixels."""

    width: int
    sides: "Ints"


class Meter(Protocol):
    """The cost of a network, and of its parts on inputs of each of ``sides`` pixels.

    A block is given its network's spec, which says what its stage leaves open, and what its stage is given, unless it
    is that itself, as the first one.
    """

    def of(self, spec: Architecture) -> float: ...
    def stem(self, spec: NetSpec, width: int, sides: "Ints") -> Portion: ...
    def block(
        self, spec: NetSpec, stage: Stage, width_in: int, stride: int, sides: "Ints", entering: Entering | None
    ) -> Portion: ...
    def head(self, spec: NetSpec, width_in: int, width: int, sides: "Ints") -> Portion: ...
    def classifier(self, spec: NetSpec, pooled: int, sides: "Ints") -> Portion: ...
    def total(self, added: "Floats", held: "Floats | None") -> "Floats": ...


@dataclass(frozen=True)
class Measure:
    """What is held equal among the networks that are compared.

    Args:
        runtime: whose memory it is.
        table: of the device whose latency it is, in milliseconds.
    """

    kind: Kind = "flops"
    runtime: Runtime | None = None
    table: LatencyTable | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain values; what is not given, and what tables did not have at first, is left out, as in older runs."""
        values = {name: value for name, value in asdict(self).items() if value is not None}
        if self.table is not None:
            values["table"] = {
                name: value for name, value in values["table"].items() if value or name not in LATER_IN_TABLES
            }
        return values

    @property
    def meter(self) -> Meter:
        """What computes it."""
        if self.kind == "memory":
            return MemoryMeter(self.runtime or "torch")
        if self.kind == "latency":
            assert self.table is not None  # of a latency, as it is asked for
            return LatencyMeter(self.table)
        return CountMeter(COUNTS[self.kind])

    @property
    def unit(self) -> Unit:
        """How its numbers are written."""
        return UNITS[self.kind]

    @property
    def noun(self) -> str:
        """As sentences name it: "2 × the FLOPs"."""
        return self.unit.noun

    @property
    def source(self) -> str:
        """Where a number that no count gives comes from, in words; "" of counts."""
        if self.table is not None:
            return f"by a table of {self.table}; {self.table.error_words}"
        return f"calculated for {self.runtime or 'torch'}" if self.kind == "memory" else ""

    @property
    def at_any_size(self) -> bool:
        """Whether what is equal among smaller networks says that it is equal among those that they stand for."""
        return self.kind == "flops"

    def of(self, spec: Architecture) -> float:
        """The network's cost, for one image; counts are whole numbers."""
        return self.meter.of(spec)

    def show(self, value: float) -> str:
        """A cost with three digits and its unit, such as 400M FLOPs."""
        return self.unit.short(float(f"{value:.3g}")) + self.unit.of


FLOPS = Measure()


@dataclass(frozen=True)
class CountMeter:
    """One of ``design.cost``'s counts, exactly."""

    name: Count

    def of(self, spec: Architecture) -> float:
        return getattr(cost(spec), self.name)  # type: ignore[no-any-return]

    def stem(self, spec: NetSpec, width: int, sides: "Ints") -> Portion:
        one = self._sum([convolution("", 1, spec.in_channels, width, spec.stem.kernel)])
        return self._scaled(one, -(-sides // spec.stem.stride))

    def block(
        self, spec: NetSpec, stage: Stage, width_in: int, stride: int, sides: "Ints", entering: Entering | None
    ) -> Portion:
        at_input, at_output, fixed = _block_weights(self.name, stage, width_in, stride)
        counts: Floats = at_input * _squares(sides) + at_output * _squares(-(-sides // stride)) + fixed
        return Portion(counts[None])

    def head(self, spec: NetSpec, width_in: int, width: int, sides: "Ints") -> Portion:
        return self._scaled(self._sum([convolution("", 1, width_in, width)] if width else []), sides)

    def classifier(self, spec: NetSpec, pooled: int, sides: "Ints") -> Portion:
        once = self._sum(classifier_operators(pooled, spec.head.hidden, spec.classes))
        return Portion((_squares(sides) * 0 + once)[None])

    def total(self, added: "Floats", held: "Floats | None") -> "Floats":
        counts: Floats = added[0]
        return counts

    def _sum(self, operators: Iterable[Operator]) -> int:
        return sum(getattr(one, self.name) for one in operators)

    def _scaled(self, one: int, sides: "Ints") -> Portion:
        """A convolution's count, known on one pixel of output: weights are the same on any map."""
        counts: Floats = one * (_squares(sides) if self.name != "params" else _squares(sides) ** 0)
        return Portion(counts[None])


def _squares(sides: "Ints") -> "Floats":
    squares: Floats = sides.astype("float64") ** 2
    return squares


@dataclass(frozen=True)
class MemoryMeter:
    """Peak bytes while one image goes through: all weights, and the most activations that are alive at one time."""

    runtime: Runtime

    def of(self, spec: Architecture) -> float:
        from scalesearch.design.memory import peak_bytes

        if isinstance(spec, TorchvisionSpec):
            raise UserError("--budget memory", f"what {spec.name} holds is not known: torchvision's code builds it.")
        return peak_bytes(spec, self.runtime)

    def stem(self, spec: NetSpec, width: int, sides: "Ints") -> Portion:
        """With the images, which stay while the others run, too."""
        from scalesearch.design.memory import image_bytes, stem_live, stem_stored

        images = image_bytes(spec, sides, self.runtime)
        held = stem_live(spec, width, sides, self.runtime) - images
        return Portion((images + stem_stored(spec, width, self.runtime))[None], held)

    def block(
        self, spec: NetSpec, stage: Stage, width_in: int, stride: int, sides: "Ints", entering: Entering | None
    ) -> Portion:
        from scalesearch.design.memory import block_live, block_stored, waiting_bytes

        live = block_live(spec, stage, width_in, stride, sides, self.runtime)
        waiting = 0.0 if entering is None else waiting_bytes(entering.width, entering.sides, self.runtime)
        return Portion((live * 0 + block_stored(stage, width_in, stride, self.runtime))[None], live + waiting)

    def head(self, spec: NetSpec, width_in: int, width: int, sides: "Ints") -> Portion:
        from scalesearch.design.memory import head_live, head_stored

        live = head_live(spec, width_in, width, sides, self.runtime)
        return Portion((live * 0 + head_stored(width_in, width, self.runtime))[None], live)

    def classifier(self, spec: NetSpec, pooled: int, sides: "Ints") -> Portion:
        from scalesearch.design.memory import classifier_live, classifier_stored

        none = _squares(sides) * 0
        live = classifier_live(spec, pooled, self.runtime)
        return Portion((none + classifier_stored(spec, pooled, self.runtime))[None], none + live)

    def total(self, added: "Floats", held: "Floats | None") -> "Floats":
        total: Floats = added[0] if held is None else added[0] + held
        return total


@dataclass(frozen=True)
class LatencyMeter:
    """Milliseconds of a pass, as a device's table predicts them of the milliseconds and the weights of its parts."""

    table: LatencyTable

    def of(self, spec: Architecture) -> float:
        if isinstance(spec, TorchvisionSpec):
            raise UserError("--budget latency", f"no table times {spec.name}: torchvision's code builds it.")
        return self.table.network_ms(spec)

    def stem(self, spec: NetSpec, width: int, sides: "Ints") -> Portion:
        return Portion(self.table.stem(spec, width, sides))

    def block(
        self, spec: NetSpec, stage: Stage, width_in: int, stride: int, sides: "Ints", entering: Entering | None
    ) -> Portion:
        return Portion(self.table.block(spec, stage, width_in, stride, sides))

    def head(self, spec: NetSpec, width_in: int, width: int, sides: "Ints") -> Portion:
        return Portion(self.table.head(spec, width_in, width, sides))

    def classifier(self, spec: NetSpec, pooled: int, sides: "Ints") -> Portion:
        return Portion(self.table.classifier(spec, pooled, sides))

    def total(self, added: "Floats", held: "Floats | None") -> "Floats":
        return self.table.whole_ms(added)


@cache
def _block_weights(name: Count, stage: Stage, width_in: int, stride: int) -> tuple[int, int, int]:
    """a, b, c of a block's count a·in² + b·out² + c, from three probes of the closed form.

    On stride 1 in and out are one size, so all may count as b.
    """

    def count(size: int) -> int:
        return sum(getattr(op, name) for op in block_operators(stage, width_in, stride, size))

    at_0, at_1 = count(0), count(1)
    a = (count(stride) - at_1) // (stride**2 - 1) if stride > 1 else 0
    return a, at_1 - a - at_0, at_0
