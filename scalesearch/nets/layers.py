"""A network's layers with the channels they read and write: what inheritance maps from one network to another."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from scalesearch.design.spec import BlockKind, NetSpec
from scalesearch.nets.naming import BlockPlace, blocks

Kind = Literal["convolution", "depthwise", "linear"]
# what a layer does in its block; blocks of two networks are compared role by role
Role = Literal[
    "stem", "expand", "depthwise", "squeeze", "excite", "project", "fused", "reduce", "spatial", "combine", "shortcut",
    "head", "hidden", "classifier",
]  # fmt: skip


@dataclass(frozen=True)
class Channels:
    """A set of channels that several layers share, e.g. all that a stage's blocks write: ``stage`` and ``block`` as in
    ``BlockPlace`` (0 where they do not apply)."""

    name: Literal["image", "stem", "stage", "expanded", "reduced", "squeezed", "head", "hidden", "classes"]
    stage: int = 0
    block: int = 0


@dataclass(frozen=True)
class Layer:
    """A convolution or linear layer.

    Args:
        path: its module's name; ``norm`` is that of its batch norm, "" without one.
        stage, block: where it stands, as in ``BlockPlace``; 0 outside the stages.
        closes: whether it is the last of its block's branch: with its batch norm at zero the branch adds nothing.
    """

    role: Role
    kind: Kind
    path: str
    norm: str
    reads: Channels
    writes: Channels
    stage: int = 0
    block: int = 0
    closes: bool = False


def layers(spec: NetSpec) -> Iterator[Layer]:
    """Every convolution and linear layer from image to logits.

    A block whose input is added to its branch writes the channels that it reads, also where it is a stage's first.
    """
    reads = Channels("stem")
    yield Layer("stem", "convolution", "features.0.0", "features.0.1", Channels("image"), reads)
    for block in blocks(spec):
        written = reads if block.shortcut == "identity" else Channels("stage", block.stage_number)
        yield from BLOCK_LAYERS[block.stage.block](block, reads, written)
        reads = written
    if spec.head.width:
        last, head = f"features.{len(spec.stages) + 1}", Channels("head")
        yield Layer("head", "convolution", f"{last}.0", f"{last}.1", reads, head)
        reads = head
    if spec.head.hidden:
        yield Layer("hidden", "linear", "hidden.0", "", reads, Channels("hidden"))
        reads = Channels("hidden")
    yield Layer("classifier", "linear", "classifier.1", "", reads, Channels("classes"))


def mbconv_layers(block: BlockPlace, reads: Channels, written: Channels) -> Iterator[Layer]:
    """Expand, depthwise, squeeze and excite, project."""
    place = (block.stage_number, block.index)
    expanded = Channels("expanded", *place) if block.expands else reads
    number = 0
    if block.expands:
        yield _layer(block, "expand", 0, reads, expanded)
        number = 1
    yield _layer(block, "depthwise", number, expanded, expanded, kind="depthwise")
    number += 1
    if block.stage.se_ratio:
        squeezed, path = Channels("squeezed", *place), f"{block.canonical}.{number}"
        yield Layer("squeeze", "convolution", f"{path}.fc1", "", expanded, squeezed, *place)
        yield Layer("excite", "convolution", f"{path}.fc2", "", squeezed, expanded, *place)
        number += 1
    yield _layer(block, "project", number, expanded, written, closes=True)


def fused_mbconv_layers(block: BlockPlace, reads: Channels, written: Channels) -> Iterator[Layer]:
    """Expand k×k and project, or one k×k."""
    if not block.expands:
        yield _layer(block, "fused", 0, reads, written, closes=True)
        return
    expanded = Channels("expanded", block.stage_number, block.index)
    yield _layer(block, "fused", 0, reads, expanded)
    yield _layer(block, "project", 1, expanded, written, closes=True)


def basic_layers(block: BlockPlace, reads: Channels, written: Channels) -> Iterator[Layer]:
    """Two k×k convolutions and the shortcut's projection."""
    inner = Channels("expanded", block.stage_number, block.index)
    yield _layer(block, "spatial", 0, reads, inner)
    yield _layer(block, "combine", 1, inner, written, closes=True)
    yield from shortcut_layers(block, reads, written)


def bottleneck_layers(block: BlockPlace, reads: Channels, written: Channels) -> Iterator[Layer]:
    """1×1, k×k, 1×1 and the shortcut's projection."""
    reduced = Channels("reduced", block.stage_number, block.index)
    inner = Channels("expanded", block.stage_number, block.index)
    yield _layer(block, "reduce", 0, reads, reduced)
    yield _layer(block, "spatial", 1, reduced, inner)
    yield _layer(block, "project", 2, inner, written, closes=True)
    yield from shortcut_layers(block, reads, written)


def shortcut_layers(block: BlockPlace, reads: Channels, written: Channels) -> Iterator[Layer]:
    """The projection on the shortcut, where there is one."""
    if block.shortcut == "projection":
        path = block.canonical_shortcut
        yield Layer(
            "shortcut", "convolution", f"{path}.0", f"{path}.1", reads, written, block.stage_number, block.index
        )


def _layer(
    block: BlockPlace,
    role: Role,
    number: int,
    reads: Channels,
    writes: Channels,
    *,
    kind: Kind = "convolution",
    closes: bool = False,
) -> Layer:
    """The convolution with batch norm that stands at ``number`` in a block's branch."""
    path = f"{block.canonical}.{number}"
    return Layer(role, kind, f"{path}.0", f"{path}.1", reads, writes, block.stage_number, block.index, closes)


BLOCK_LAYERS: dict[BlockKind, Callable[[BlockPlace, Channels, Channels], Iterator[Layer]]] = {
    "mbconv": mbconv_layers,
    "fused_mbconv": fused_mbconv_layers,
    "basic": basic_layers,
    "bottleneck": bottleneck_layers,
}
