"""A network's layers with the channels they read and write: what inheritance maps from one network to another."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from scalesearch.design.spec import NetSpec
from scalesearch.nets.naming import BlockPlace, blocks

Kind = Literal["convolution", "depthwise", "linear"]
# what a layer does in its block; blocks of two networks are compared role by role
Role = Literal["stem", "expand", "depthwise", "squeeze", "excite", "project", "fused", "head", "classifier"]


@dataclass(frozen=True)
class Channels:
    """A set of channels that several layers share, e.g. all that a stage's blocks write: ``stage`` and ``block`` as in
    ``BlockPlace`` (0 where they do not apply)."""

    name: Literal["image", "stem", "stage", "expanded", "squeezed", "head", "classes"]
    stage: int = 0
    block: int = 0


@dataclass(frozen=True)
class Layer:
    """A convolution or linear layer.

    Args:
        path: its module's name; ``norm`` is that of its batch norm, "" without one.
        stage, block: where it stands, as in ``BlockPlace``; 0 outside the stages.
    """

    role: Role
    kind: Kind
    path: str
    norm: str
    reads: Channels
    writes: Channels
    stage: int = 0
    block: int = 0


def layers(spec: NetSpec) -> Iterator[Layer]:
    """Every convolution and linear layer from image to logits."""
    reads = Channels("stem")
    yield Layer("stem", "convolution", "features.0.0", "features.0.1", Channels("image"), reads)
    for block in blocks(spec):
        yield from block_layers(block, reads)
        reads = Channels("stage", block.stage_number)
    last = f"features.{len(spec.stages) + 1}"
    yield Layer("head", "convolution", f"{last}.0", f"{last}.1", reads, Channels("head"))
    yield Layer("classifier", "linear", "classifier.1", "", Channels("head"), Channels("classes"))


def block_layers(block: BlockPlace, reads: Channels) -> Iterator[Layer]:
    """The layers of one block; ``reads`` is what comes in."""
    stage, index = block.stage_number, block.index
    written = Channels("stage", stage)
    expanded = Channels("expanded", stage, index) if block.expands else reads
    number = 0

    def layer(role: Role, reads: Channels, writes: Channels, kind: Kind = "convolution") -> Layer:
        path = f"{block.canonical}.{number}"
        return Layer(role, kind, f"{path}.0", f"{path}.1", reads, writes, stage, index)

    if block.stage.block == "fused_mbconv":
        yield layer("fused", reads, expanded if block.expands else written)
        if block.expands:
            number = 1
            yield layer("project", expanded, written)
        return
    if block.expands:
        yield layer("expand", reads, expanded)
        number = 1
    yield layer("depthwise", expanded, expanded, "depthwise")
    number += 1
    if block.stage.se_ratio:
        squeezed, path = Channels("squeezed", stage, index), f"{block.canonical}.{number}"
        yield Layer("squeeze", "convolution", f"{path}.fc1", "", expanded, squeezed, stage, index)
        yield Layer("excite", "convolution", f"{path}.fc2", "", squeezed, expanded, stage, index)
        number += 1
    yield layer("project", expanded, written)
