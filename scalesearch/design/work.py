"""What each part of a network asks of a device, operation by operation, in the amounts that time grows with.

A convolution stands with its batch norm: one is never without the other, and some runtimes make them one. Kinds tell
apart what runs by different code: convolutions by kernel and stride, dense or depthwise; activations by their function;
and in brackets what falls off a runtime's usual path by its numbers of channels.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, get_args

from scalesearch.design.blocks import LINEAR, block_layers
from scalesearch.design.cost import output_size
from scalesearch.design.spec import POOL_STRIDE, RESNET_BLOCKS, Activation, NetSpec, Stage, shortcut_of


@dataclass(frozen=True)
class Work:
    """One operation on maps of any size.

    Args:
        kind: what runs, such as "depthwise 5×5 /2" or "silu".
        macs: multiply-adds for each pixel of its output; of a linear layer for an image.
        filled: the same where channels are filled up to whole vectors, as fast code does.
        weights: numbers that it holds.
        reads: numbers for each pixel of its input; ``writes`` for each pixel of its output.
        shrunk: side of the part's input over that of the operation's input; ``stride`` the latter over its output's.
        pooled: whether it works on one pixel, whatever the map's size.
    """

    kind: str
    macs: int = 0
    filled: int = 0
    weights: int = 0
    reads: int = 0
    writes: int = 0
    shrunk: int = 1
    stride: int = 1
    pooled: bool = False

    @property
    def group(self) -> str:
        """What sort of operation it is, in a word."""
        words = {"convolution": "convolutions", "stem": "convolutions", "depthwise": "depthwise", "squeeze": "squeeze"}
        first = self.kind.partition(" ")[0]
        return "activations" if first in get_args(Activation) else words.get(first, "other")


Works = tuple[Work, ...]
VECTOR = 16  # numbers of float32 that today's widest processors work on at once
ALIGNED = 4  # channels: of other multiples ONNX Runtime has code only that takes several times as long
NARROW, ODD = " (narrow)", " (odd)"


def filled(width: int) -> int:
    """Channels filled up to whole vectors."""
    return -(-width // VECTOR) * VECTOR


def convolution(role: str, width_in: int, width: int, kernel: int, stride: int, shrunk: int) -> Work:
    """A convolution with its batch norm; ``role`` begins its kind's name, "depthwise" reads one channel a filter."""
    kind = _by_channels(f"{role} {kernel}×{kernel}" + (f" /{stride}" if stride > 1 else ""), width_in, width)
    weights = kernel * kernel * (1 if role == "depthwise" else width_in) * width
    inside = 1 if role == "depthwise" else width_in if role == "stem" else filled(width_in)
    whole = kernel * kernel * inside * filled(width)
    return Work(kind, weights, whole, weights, width_in, width, shrunk, stride)


def _by_channels(kind: str, width_in: int, width: int) -> str:
    """A kind, with what its numbers of channels make of it; images have so few that the stem is a kind of its own."""
    if kind.startswith("stem"):
        return kind
    if width_in % ALIGNED or width % ALIGNED:
        return kind + ODD
    return kind + NARROW if width_in < VECTOR and kind.startswith("convolution") else kind


def usual(kind: str) -> str:
    """A kind without what its numbers of channels make of it."""
    return kind.removesuffix(ODD).removesuffix(NARROW)


def activation(name: str, width: int, shrunk: int) -> Work:
    """An activation of a whole map."""
    return Work(name, reads=width, writes=width, shrunk=shrunk)


def linear(width_in: int, width: int) -> Work:
    """A linear layer on pooled features."""
    return Work("linear", width_in * width, 0, width_in * width, width_in, width, pooled=True)


def padding(spec: NetSpec, width_in: int, stride: int, shrunk: int) -> Iterator[Work]:
    """The zeros around a map that a strided convolution padded as TensorFlow's SAME copies it into."""
    if spec.padding == "same" and stride > 1:
        yield Work("pad", reads=width_in, writes=width_in, shrunk=shrunk)


def stem_work(spec: NetSpec, width: int) -> Works:
    """The first convolution with ``width`` output channels, its activation, and the max-pool where there is one."""
    stem = spec.stem
    works = [
        *padding(spec, spec.in_channels, stem.stride, 1),
        convolution("stem", spec.in_channels, width, stem.kernel, stem.stride, 1),
        activation(spec.activation, width, stem.stride),
    ]
    if stem.max_pool:
        works.append(Work("max-pool", reads=width, writes=width, shrunk=stem.stride, stride=POOL_STRIDE))
    return tuple(works)


def block_work(spec: NetSpec, stage: Stage, width_in: int, stride: int) -> Works:
    """One block of a stage."""
    return tuple(_block(spec, stage, width_in, stride))


def _block(spec: NetSpec, stage: Stage, width_in: int, stride: int) -> Iterator[Work]:
    function, shrunk = stage.activation or spec.activation, 1
    for layer in block_layers(stage, width_in, stride):
        if layer.role == "excite":
            continue
        if layer.role == "squeeze":
            weights = 2 * layer.width_in * layer.width
            kind = _by_channels(f"squeeze {stage.squeeze}", layer.width_in, layer.width_in)
            yield Work(kind, 0, 0, weights, layer.width_in, layer.width_in, shrunk)
            continue
        before = 1 if layer.role == "shortcut" else shrunk
        yield from padding(spec, layer.width_in, layer.stride, before)
        role = "depthwise" if layer.role == "depthwise" else "convolution"
        yield convolution(role, layer.width_in, layer.width, layer.kernel, layer.stride, before)
        if layer.role != "shortcut":
            shrunk *= layer.stride
        if layer.role not in LINEAR:
            yield activation(function, layer.width, shrunk)
    if shortcut_of(stage, width_in, stride) != "none":
        kind = _by_channels("add", stage.width, stage.width)
        yield Work(kind, reads=stage.width, writes=stage.width, shrunk=shrunk)
    if stage.block in RESNET_BLOCKS:
        yield activation(function, stage.width, shrunk)


def head_work(spec: NetSpec, width_in: int, width: int) -> Works:
    """The last 1×1 convolution, where there is one, and the pooling."""
    works = []
    if width:
        works += [convolution("convolution", width_in, width, 1, 1, 1), activation(spec.activation, width, 1)]
    return (*works, Work("pool", reads=width or width_in))


def classifier_work(spec: NetSpec, pooled: int) -> Works:
    """The hidden layer, where there is one, and the classifier."""
    hidden = spec.head.hidden
    return (*([linear(pooled, hidden)] if hidden else []), linear(hidden or pooled, spec.classes))


def network_parts(spec: NetSpec) -> Iterator[tuple[Callable[..., Works], tuple[Any, ...], int, int]]:
    """A network's parts in order: which function tells its work, what it takes besides the spec, the side of the part's
    input, and how many such parts there are."""
    yield stem_work, (spec.stem.width,), spec.resolution, 1
    side, width_in = output_size(spec.resolution, spec.stem.reduction), spec.stem.width
    for stage in spec.stages:
        yield block_work, (stage, width_in, stage.stride), side, 1
        side, width_in = output_size(side, stage.stride), stage.width
        if stage.depth > 1:
            yield block_work, (stage, width_in, 1), side, stage.depth - 1
    yield head_work, (width_in, spec.head.width), side, 1
    yield classifier_work, (spec.pooled_width,), 1, 1
