"""What a block of each kind is made of: one description, from which costs, modules, channels and names follow."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Literal

from scalesearch.design.spec import BlockKind, Stage, expanded_width, shortcut_of, squeeze_width

# what a layer does in its block; blocks of two networks are compared role by role
Role = Literal[
    "expand", "depthwise", "squeeze", "excite", "project", "fused", "reduce", "spatial", "combine", "shortcut"
]
# the channels that it reads or writes: the block's own input or output, or some inside
Place = Literal["input", "output", "expanded", "reduced", "squeezed"]
LINEAR: tuple[Role, ...] = ("project", "combine", "shortcut")  # no activation follows


@dataclass(frozen=True)
class BlockLayer:
    """A convolution with batch norm; squeeze and excitation: a 1×1 convolution with bias on the pooled image.

    Args:
        number: its place in the branch; a squeeze and its excitation share one. -1: on the shortcut.
        reads, writes: channels; where nothing expands, what is inside are the input's.
        width_in, width: how many these are.
        stride: of its own; what follows in the branch works on the smaller image.
        closes: whether it is the last of the branch: with its batch norm at zero the branch adds nothing.
    """

    role: Role
    number: int
    reads: Place
    writes: Place
    width_in: int
    width: int
    kernel: int = 1
    stride: int = 1
    closes: bool = False

    @property
    def path(self) -> str:
        """Its module's name below the block's; a batch norm stands beside it, at 1."""
        if self.role in ("squeeze", "excite"):
            return f"block.{self.number}.{'fc1' if self.role == 'squeeze' else 'fc2'}"
        return "shortcut.0" if self.number < 0 else f"block.{self.number}.0"

    @property
    def norm(self) -> str:
        """The name of its batch norm, "" where it has none."""
        return "" if self.role in ("squeeze", "excite") else f"{self.path[:-1]}1"


def mbconv(stage: Stage, width_in: int, stride: int) -> Iterator[BlockLayer]:
    """Expand 1×1, depthwise k×k, squeeze-excitation, project 1×1; what the stage does not ask for is left out."""
    width = expanded_width(stage, width_in)
    inside: Place = "input"
    number = 0
    if width != width_in:
        inside = "expanded"
        yield BlockLayer("expand", 0, "input", inside, width_in, width)
        number = 1
    yield BlockLayer("depthwise", number, inside, inside, width, width, stage.kernel, stride)
    if stage.se_ratio:
        number += 1
        squeezed = squeeze_width(stage, width_in)
        yield BlockLayer("squeeze", number, inside, "squeezed", width, squeezed)
        yield BlockLayer("excite", number, "squeezed", inside, squeezed, width)
    yield BlockLayer("project", number + 1, inside, "output", width, stage.width, closes=True)


def fused_mbconv(stage: Stage, width_in: int, stride: int) -> Iterator[BlockLayer]:
    """Expand k×k, project 1×1; one k×k convolution where nothing expands (EfficientNetV2, table 4)."""
    width = expanded_width(stage, width_in)
    if width == width_in:
        yield BlockLayer("fused", 0, "input", "output", width_in, stage.width, stage.kernel, stride, closes=True)
        return
    yield BlockLayer("fused", 0, "input", "expanded", width_in, width, stage.kernel, stride)
    yield BlockLayer("project", 1, "expanded", "output", width, stage.width, closes=True)


def basic(stage: Stage, width_in: int, stride: int) -> Iterator[BlockLayer]:
    """k×k with the stride, k×k (He et al. 2015, arXiv:1512.03385, figure 5, left)."""
    inner = expanded_width(stage, stage.width)
    yield BlockLayer("spatial", 0, "input", "expanded", width_in, inner, stage.kernel, stride)
    yield BlockLayer("combine", 1, "expanded", "output", inner, stage.width, stage.kernel, closes=True)


def bottleneck(stage: Stage, width_in: int, stride: int) -> Iterator[BlockLayer]:
    """1×1, k×k, 1×1 (figure 5, right), the stride on the k×k as in torchvision ("ResNet V1.5")."""
    inner = expanded_width(stage, stage.width)
    yield BlockLayer("reduce", 0, "input", "reduced", width_in, inner)
    yield BlockLayer("spatial", 1, "reduced", "expanded", inner, inner, stage.kernel, stride)
    yield BlockLayer("project", 2, "expanded", "output", inner, stage.width, closes=True)


KINDS: dict[BlockKind, Callable[[Stage, int, int], Iterator[BlockLayer]]] = {
    "mbconv": mbconv,
    "fused_mbconv": fused_mbconv,
    "basic": basic,
    "bottleneck": bottleneck,
}


@cache
def block_layers(stage: Stage, width_in: int, stride: int) -> tuple[BlockLayer, ...]:
    """The layers of one block in order, the projection on its shortcut, where there is one, last."""
    layers = tuple(KINDS[stage.block](stage, width_in, stride))
    if shortcut_of(stage, width_in, stride) == "projection":
        layers += (BlockLayer("shortcut", -1, "input", "output", width_in, stage.width, stride=stride),)
    return layers
