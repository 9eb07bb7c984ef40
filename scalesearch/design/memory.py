"""Peak inference memory in closed form: weights, and the most bytes of activations that are alive at one time.

What is alive follows from a runtime's plan, so each has its own:

- ``torch``: eager, channels last, float32, in ``inference_mode``, as ``nets.modules`` runs on a CPU. Batch norm is an
  operator of its own, so a convolution's output and its normalised copy live side by side. Python frees a tensor with
  its last reference, and a caller holds the argument until the called module returns: a block's input lives as long as
  the block, a stage's as long as the stage, the images as long as the pass. Kernels copy weights into their own order.
- ``onnxruntime``: the exported graph on a CPU: batch norm and, but for SiLU, activations are part of a convolution, a
  sum is written over its input, channels are padded to whole vectors of the processor, and copied into plain order for
  squeeze-excitation, and where they are fewer than a vector has. What the caller gives, the images, stays.
- ``board``: int8 as on microcontrollers (TFLite Micro): an operator's inputs and outputs, and a shortcut that waits.

Measured twins are in ``benchmarks.device.peak``. Sides are in pixels, results in bytes of one image; a batch multiplies
activations.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from scalesearch.design.blocks import LINEAR, Role, block_layers
from scalesearch.design.cost import output_size
from scalesearch.design.measure import Runtime
from scalesearch.design.spec import POOL_STRIDE, RESNET_BLOCKS, Activation, NetSpec, Padding, Stage, shortcut_of

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Dtype = Literal["float32", "int8"]
FLOAT, COUNTER = 4, 8  # bytes of a number, of the batches that a batch norm has seen
NUMBER: dict[Runtime, int] = {"torch": FLOAT, "onnxruntime": FLOAT, "board": 1}  # bytes of an activation's number
LANES = 16  # floats of a vector with AVX-512: channels are padded to whole ones (8 with AVX2)
# torch's rules for a convolution: few numbers of one image and a small kernel go through a matrix of columns
FEW, SMALL_KERNEL = 20480, 3
SCRATCH = 3084  # numbers that oneDNN takes for itself in a convolution (two threads)
When = Literal["always", "few", "many"]
STRIDED: tuple[Role, ...] = ("depthwise", "fused", "spatial")  # have their block's stride


@dataclass(frozen=True)
class Moment:
    """The numbers that are alive while one operator runs, by the maps that they lie on.

    Args:
        before, after: channels of maps as large as the part's input and output.
        padded: channels of maps as large as the input with its strided convolution's padding.
        pooled: channels of maps as large as the output after max-pool.
        fixed: numbers on no map; ``shared`` those that a larger batch does not multiply.
        reads: channels that the operator reads, on maps ``before`` and ``after``.
        when: the moment is one only if an image has ``FEW`` numbers there, or more.
    """

    before: int = 0
    after: int = 0
    padded: int = 0
    pooled: int = 0
    fixed: int = 0
    shared: int = 0
    reads: tuple[int, int] = (0, 0)
    when: When = "always"

    def __add__(self, other: "Moment") -> "Moment":
        return Moment(
            self.before + other.before, self.after + other.after, self.padded + other.padded,
            self.pooled + other.pooled, self.fixed + other.fixed, self.shared + other.shared, self.reads, self.when,
        )  # fmt: skip


NOTHING = Moment()


@dataclass(frozen=True)
class Plan:
    """How a network runs: ``many`` where more than one image goes through at a time."""

    runtime: Runtime
    activation: Activation
    padding: Padding
    many: bool = False

    def within(self, stage: Stage) -> "Plan":
        """The plan of a stage's blocks, which may have an activation of their own."""
        return replace(self, activation=stage.activation or self.activation)


@dataclass(frozen=True)
class Step:
    """An operator of a branch: it reads and writes maps ``before`` or ``after`` the part's stride."""

    role: Role | Literal["stem", "head"]
    width_in: int
    width: int
    kernel: int = 1
    stride: int = 1
    reads_after: bool = False
    writes_after: bool = True
    closes: bool = False

    @property
    def activated(self) -> bool:
        """Whether an activation follows."""
        return self.role not in LINEAR

    @property
    def made(self) -> Moment:
        """What it writes."""
        return _map(self.width, self.writes_after)


def _map(width: int, after: bool) -> Moment:
    return Moment(after=width) if after else Moment(before=width)


def _whole(width: int) -> int:
    """Channels, padded to whole vectors."""
    return -(-width // LANES) * LANES


def _steps(stage: Stage, width_in: int, stride: int) -> Iterator[Step]:
    """A block's operators in order, a squeeze and its excitation as one, the projection on a shortcut last."""
    strided = False
    for layer in block_layers(stage, width_in, stride):
        if layer.role == "squeeze":
            yield Step("squeeze", layer.width_in, layer.width_in, reads_after=True)
        elif layer.role == "shortcut":
            yield Step("shortcut", layer.width_in, layer.width, 1, layer.stride)
        elif layer.role != "excite":
            before, strided = strided, strided or layer.role in STRIDED
            yield Step(
                layer.role, layer.width_in, layer.width, layer.kernel, layer.stride, before, strided, layer.closes
            )


def plan_of(spec: NetSpec, runtime: Runtime, batch_size: int = 1) -> Plan:
    """How a spec's network runs."""
    return Plan(runtime, spec.activation, spec.padding, batch_size > 1)


@dataclass(frozen=True)
class Table:
    """Moments as columns: ``counts`` (moments, 6) of before, after, padded, pooled, fixed, shared; ``reads``
    (moments, 2); ``few``, ``many`` say of which moments that holds."""

    counts: Floats
    reads: Floats
    few: NDArray[np.bool_]
    many: NDArray[np.bool_]


def tabulated(moments: Iterable[Moment]) -> Table:
    """Moments for arithmetic with many sides at once."""
    rows = list(moments)
    return Table(
        np.array([(m.before, m.after, m.padded, m.pooled, m.fixed, m.shared) for m in rows], np.float64),
        np.array([m.reads for m in rows], np.float64),
        np.array([m.when == "few" for m in rows])[:, None],
        np.array([m.when == "many" for m in rows])[:, None],
    )


# torch


def _torch_convolution(plan: Plan, step: Step, alive: Moment) -> Iterator[Moment]:
    """Convolution, then batch norm into a tensor of its own; an activation has no more alive than batch norm had."""
    made, area = alive + step.made, step.kernel**2
    running = made + Moment(padded=step.width_in) if plan.padding == "same" and step.stride > 1 else made
    if step.role == "depthwise":
        yield running + Moment(shared=area * _whole(step.width))
    else:
        columned = step.kernel <= SMALL_KERNEL and not plan.many
        reads = (0, step.width_in) if step.reads_after else (step.width_in, 0)
        weights = Moment(shared=area * step.width_in * _whole(step.width) + SCRATCH)
        yield replace(running + weights, reads=reads, when="many" if columned else "always")
        if columned and (area > 1 or step.stride > 1):
            yield replace(running + Moment(after=area * step.width_in), reads=reads, when="few")
    yield made + step.made + Moment(shared=2 * step.width)


def _torch_block(plan: Plan, stage: Stage, width_in: int, stride: int) -> Iterator[Moment]:
    alive = given = Moment(before=width_in)
    for step in _steps(stage, width_in, stride):
        if step.role == "squeeze":
            yield alive + step.made + Moment(fixed=3 * step.width)
        else:
            yield from _torch_convolution(plan, step, alive)
            alive = given + step.made


# ONNX Runtime


def _blocked(step: Step) -> Moment:
    """What a step writes, in whole vectors of channels."""
    return _map(_whole(step.width), step.writes_after)


def _onnxruntime_block(plan: Plan, stage: Stage, width_in: int, stride: int) -> Iterator[Moment]:
    shortcut, silu = shortcut_of(stage, width_in, stride), plan.activation == "silu"
    alive = given = Moment(before=_whole(width_in))
    kept = NOTHING if shortcut == "none" else given
    plain = False
    for step in _steps(stage, width_in, stride):
        made, copy = _blocked(step), _map(step.width_in, step.reads_after)
        narrow = step.width_in < LANES and step.role != "depthwise"  # such a convolution reads plain order
        if narrow and not plain and step.role != "shortcut":
            yield alive + copy
            alive = kept + copy
        plain = step.role == "squeeze" and narrow
        if step.role == "squeeze":  # copied into plain order, multiplied in place, copied back
            yield alive + (NOTHING if narrow else made) + Moment(fixed=3 * step.width)
        elif step.role == "shortcut":
            continue
        elif step.closes and not step.activated and shortcut != "none":
            yield alive + (made if shortcut == "projection" else NOTHING)  # the sum is written over the shortcut
        else:
            yield alive + made
            alive = kept + made
            if step.activated and silu:
                yield alive + made
    if stage.block in RESNET_BLOCKS and silu:
        yield Moment(after=2 * _whole(stage.width))


# Microcontrollers


def _board_convolution(plan: Plan, step: Step, alive: Moment, kept: Moment) -> Iterator[Moment]:
    """ReLUs are part of a convolution; Hardswish reads and writes; SiLU's sigmoid waits to be multiplied."""
    if plan.padding == "symmetric" and step.stride > 1 and step.kernel > 1:
        yield alive + Moment(padded=step.width_in)
        alive = kept + Moment(padded=step.width_in)
    yield alive + step.made
    if step.activated and plan.activation in ("silu", "hardswish"):
        twice = kept + step.made + step.made
        yield twice + step.made if plan.activation == "silu" else twice


def _board_block(plan: Plan, stage: Stage, width_in: int, stride: int) -> Iterator[Moment]:
    shortcut, result = shortcut_of(stage, width_in, stride), Moment(after=stage.width)
    alive = given = Moment(before=width_in)
    kept = NOTHING if shortcut == "none" else given
    for step in _steps(stage, width_in, stride):
        if step.role == "squeeze":
            yield alive + step.made + Moment(fixed=3 * step.width)
        elif step.role == "shortcut":
            yield from _board_convolution(plan, step, given + result, result)
        else:
            yield from _board_convolution(plan, step, alive, kept)
            alive = kept + step.made
    if shortcut != "none":
        yield result + result + result


# Parts


BLOCKS = {"torch": _torch_block, "onnxruntime": _onnxruntime_block, "board": _board_block}


@cache
def _stem_moments(plan: Plan, channels: int, width: int, kernel: int, stride: int, max_pool: bool) -> Table:
    step = Step("stem", channels, width, kernel, stride)
    images, made = Moment(before=channels), step.made
    if plan.runtime == "torch":
        return tabulated(_torch_convolution(plan, step, images))  # max-pool has fewer alive
    if plan.runtime == "board":
        pooled = [made + Moment(pooled=width)] if max_pool else []
        return tabulated((*_board_convolution(plan, step, images, NOTHING), *pooled))
    made = _blocked(step)
    copied = Moment(before=_whole(channels)) if channels >= LANES else NOTHING
    moments = [images + copied + made]
    if plan.activation == "silu":
        moments.append(images + made + made)
    if max_pool:
        moments.append(images + made + Moment(pooled=_whole(width)))
    return tabulated(moments)


@cache
def _head_moments(plan: Plan, width_in: int, width: int) -> Table:
    if not width:
        plain = Moment(before=width_in)
        return tabulated([plain + Moment(before=_whole(width_in)) if plan.runtime == "onnxruntime" else plain])
    step = Step("head", width_in, width)
    if plan.runtime == "torch":
        return tabulated(_torch_convolution(plan, step, Moment(before=width_in)))
    if plan.runtime == "board":
        return tabulated(_board_convolution(plan, step, Moment(before=width_in), NOTHING))
    made, given = _blocked(step), Moment(before=_whole(width_in))
    narrow = Moment(before=width_in if width_in < LANES else 0)  # read in plain order
    # pooling reads a copy in plain order
    return tabulated([given + narrow, (narrow if width_in < LANES else given) + made, made + made])


def _most(plan: Plan, table: Table, sides: Ints, kernel: int, stride: int, batch_size: int = 1) -> Floats:
    """Bytes at the largest moment, for inputs of each of ``sides`` pixels."""
    out = -(-sides // stride)
    total = kernel - 1 - (sides - 1) % stride if plan.padding == "same" else kernel - 1
    padded = sides + np.maximum(total, 0)
    area = np.stack([sides, out, padded, -(-out // POOL_STRIDE)]).astype(np.float64) ** 2
    ones = np.ones((1, len(sides)))
    numbers = table.counts @ np.concatenate([batch_size * area, batch_size * ones, ones])
    read = table.reads @ area[:2]
    padding = table.counts[:, 2] > 0  # what is read is larger
    read[padding] = table.reads[padding, :1] * area[2]
    numbers[(table.few & (read > FEW)) | (table.many & (read <= FEW))] = 0
    result: Floats = NUMBER[plan.runtime] * numbers.max(axis=0)
    return result


def stem_live(spec: NetSpec, width: int, sides: Ints, runtime: Runtime) -> Floats:
    """The most bytes that are alive while the stem runs on images of each of ``sides`` pixels, the image among them."""
    return _stem(spec, width, sides, plan_of(spec, runtime))


def block_live(spec: NetSpec, stage: Stage, width_in: int, stride: int, sides: Ints, runtime: Runtime) -> Floats:
    """The most bytes that are alive while a block runs on maps of each of ``sides`` pixels: its input, what it makes,
    and the workspace that kernels are known to take. What else waits is in ``image_bytes`` and ``waiting_bytes``.

    Args:
        spec: gives activation and padding.
    """
    return _block(stage, width_in, stride, sides, plan_of(spec, runtime))


def head_live(spec: NetSpec, width_in: int, width: int, sides: Ints, runtime: Runtime) -> Floats:
    """The most bytes that are alive while the head runs on the last map; ``width`` 0: only pooling reads it."""
    plan = plan_of(spec, runtime)
    return _most(plan, _head_moments(plan, width_in, width), sides, 1, 1)


def classifier_live(spec: NetSpec, pooled: int, runtime: Runtime) -> float:
    """Bytes of what is pooled, of a hidden layer and of logits: little, but on maps of few pixels."""
    return float(NUMBER[runtime] * (pooled + 2 * spec.head.hidden + spec.classes))


def image_bytes(spec: NetSpec, sides: Ints, runtime: Runtime) -> Floats:
    """What the images add to every part after the stem: the caller holds them while the network runs, but on a board,
    where their place is used again."""
    waits = 0 if runtime == "board" else NUMBER[runtime] * spec.in_channels
    return waits * sides.astype(np.float64) ** 2


def waiting_bytes(width_in: int, sides: Ints, runtime: Runtime) -> Floats:
    """What a stage's input adds to its blocks after the first: in torch the stage holds it until it returns.

    Args:
        width_in, sides: the stage's input's.
    """
    return (FLOAT * width_in if runtime == "torch" else 0) * sides.astype(np.float64) ** 2


def _stem(spec: NetSpec, width: int, sides: Ints, plan: Plan, batch_size: int = 1) -> Floats:
    stem = spec.stem
    table = _stem_moments(plan, spec.in_channels, width, stem.kernel, stem.stride, stem.max_pool)
    return _most(plan, table, sides, stem.kernel, stem.stride, batch_size)


def _block(stage: Stage, width_in: int, stride: int, sides: Ints, plan: Plan, batch_size: int = 1) -> Floats:
    most = 1 << int(sides.max()).bit_length()
    result: Floats = _block_up_to(plan.within(stage), stage, width_in, stride, most, batch_size)[sides]
    return result


@lru_cache(maxsize=4096)
def _block_up_to(plan: Plan, stage: Stage, width_in: int, stride: int, most: int, batch_size: int) -> Floats:
    """For every side below ``most``: a search asks for the same blocks at one range of sides after another."""
    table = tabulated(BLOCKS[plan.runtime](plan, stage, width_in, stride))
    return _most(plan, table, np.arange(most), stage.kernel, stride, batch_size)


# Weights


def stored_bytes(spec: NetSpec, runtime: Runtime = "torch") -> int:
    """What a network's weights take, all of them resident.

    ``torch``: parameters, and the running means and variances of batch norm. ``onnxruntime``: batch norm folded into a
    bias for each channel, channels in whole vectors. ``board``: a byte a weight; a channel keeps an int32 bias and a
    float32 scale.
    """
    total, width_in = stem_stored(spec, spec.stem.width, runtime), spec.stem.width
    for stage in spec.stages:
        total += block_stored(stage, width_in, stage.stride, runtime)
        total += (stage.depth - 1) * block_stored(stage, stage.width, 1, runtime)
        width_in = stage.width
    total += head_stored(width_in, spec.head.width, runtime)
    return total + classifier_stored(spec, spec.pooled_width, runtime)


def stem_stored(spec: NetSpec, width: int, runtime: Runtime) -> int:
    """A stem's share of ``stored_bytes``."""
    return _convolution_bytes(spec.in_channels, width, spec.stem.kernel, False, runtime)


@cache
def block_stored(stage: Stage, width_in: int, stride: int, runtime: Runtime) -> int:
    """A block's share of ``stored_bytes``."""
    total = 0
    for layer in block_layers(stage, width_in, stride):
        if layer.role in ("squeeze", "excite"):
            total += _biased_bytes(layer.width_in, layer.width, runtime)
        else:
            depthwise = layer.role == "depthwise"
            total += _convolution_bytes(layer.width_in, layer.width, layer.kernel, depthwise, runtime)
    return total


def head_stored(width_in: int, width: int, runtime: Runtime) -> int:
    """A head's share of ``stored_bytes``; ``width`` 0: there is none."""
    return _convolution_bytes(width_in, width, 1, False, runtime) if width else 0


def classifier_stored(spec: NetSpec, pooled: int, runtime: Runtime) -> int:
    """The share of hidden layer and classifier in ``stored_bytes``."""
    hidden = spec.head.hidden
    layers = [(pooled, hidden), (hidden, spec.classes)] if hidden else [(pooled, spec.classes)]
    return sum(_biased_bytes(read, written, runtime) for read, written in layers)


def _convolution_bytes(width_in: int, width: int, kernel: int, depthwise: bool, runtime: Runtime) -> int:
    read = 1 if depthwise else width_in
    if runtime == "board":
        return kernel**2 * read * width + 2 * FLOAT * width
    if runtime == "torch":
        return FLOAT * (kernel**2 * read * width + 4 * width) + COUNTER
    read, width = (_whole(read) if read >= LANES else read), _whole(width)
    return FLOAT * (kernel**2 * read * width + width)


def _biased_bytes(width_in: int, width: int, runtime: Runtime) -> int:
    if runtime == "board":
        return width_in * width + 2 * FLOAT * width
    if runtime == "torch":
        return FLOAT * (width_in * width + width)
    return FLOAT * (width_in * _whole(width) + _whole(width))


# Networks


def live_bytes(spec: NetSpec, runtime: Runtime = "torch", batch_size: int = 1) -> int:
    """The most bytes of activations that are alive at one time, the images among them."""
    plan = plan_of(spec, runtime, batch_size)
    sides = np.array([spec.resolution])
    images, most = batch_size * image_bytes(spec, sides, runtime), _stem(spec, spec.stem.width, sides, plan, batch_size)
    size, width_in = output_size(spec.resolution, spec.stem.reduction), spec.stem.width
    for stage in spec.stages:
        given = np.array([size])
        most = np.maximum(most, images + _block(stage, width_in, stage.stride, given, plan, batch_size))
        waiting = batch_size * waiting_bytes(width_in, given, runtime)
        size, width_in = output_size(size, stage.stride), stage.width
        if stage.depth > 1:
            rest = _block(stage, width_in, 1, np.array([size]), plan, batch_size)
            most = np.maximum(most, images + waiting + rest)
    head = _most(plan, _head_moments(plan, width_in, spec.head.width), np.array([size]), 1, 1, batch_size)
    last = batch_size * classifier_live(spec, spec.pooled_width, runtime)
    return int(np.maximum(most, images + np.maximum(head, last))[0])


def peak_bytes(spec: NetSpec, runtime: Runtime = "torch", batch_size: int = 1, dtype: Dtype = "float32") -> int:
    """Peak inference memory: all weights, and the most bytes of activations that are alive at one time.

    Neither the runtime's own code nor a loading is in it (``docs/device.md``).

    Args:
        dtype: "int8" is planned as a board does, whatever the runtime.
    """
    planned: Runtime = "board" if dtype == "int8" else runtime
    return stored_bytes(spec, planned) + live_bytes(spec, planned, batch_size)
