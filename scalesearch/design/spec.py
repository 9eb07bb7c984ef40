"""A network as a value: every number that decides its architecture, nothing else."""

import dataclasses
import hashlib
import json
from dataclasses import dataclass
from typing import Any, Literal

Activation = Literal["silu", "relu6", "relu", "hardswish"]
Padding = Literal["symmetric", "same"]
BlockKind = Literal["mbconv", "fused_mbconv", "basic", "bottleneck"]
SqueezeKind = Literal["efficientnet", "mobilenet_v3"]
Shortcut = Literal["none", "identity", "projection"]
HeadScaling = Literal["fixed", "scaled", "grows_only", "follows_last_stage"]

RESNET_BLOCKS: tuple[BlockKind, ...] = ("basic", "bottleneck")  # their activation follows the sum
# Fields younger than digests on disk: at their defaults they are neither written nor hashed.
LATER = ("max_pool", "activation", "squeeze", "hidden")
POOL_STRIDE = 2
SQUEEZE_DIVISOR = 8


@dataclass(frozen=True)
class BatchNorm:
    """Batch-norm settings (torch's meaning of ``momentum``: weight of the new batch)."""

    eps: float = 1e-5
    momentum: float = 0.1


@dataclass(frozen=True)
class Stem:
    """The first convolution. ``scaled``: its width grows with β (EfficientNet) or stays (Lite).

    ``max_pool``: a 3×3 max-pool of stride 2 follows (ResNet), padded symmetrically whatever the convolutions are.
    """

    width: int
    kernel: int = 3
    stride: int = 2
    scaled: bool = True
    max_pool: bool = False

    @property
    def reduction(self) -> int:
        """The image's side over that of what the first stage sees; an odd rest rounds up."""
        return self.stride * (POOL_STRIDE if self.max_pool else 1)


@dataclass(frozen=True)
class Stage:
    """``depth`` blocks of one shape; the first has ``stride``, the others stride 1.

    ``block`` "mbconv" and "fused_mbconv" are EfficientNet's and EfficientNetV2's; "basic" (two k×k convolutions) and
    "bottleneck" (1×1, k×k with the stride, 1×1) ResNet's.
    ``expand_ratio`` gives the width inside a block: times its *input* width in MBConv blocks, where 1 leaves the
    expansion out; times its *output* width in ResNet's (1 in basic blocks, 0.25 in bottlenecks).
    ``se_ratio`` is the squeeze width as a share of the block's *input* width (0: no squeeze-excitation).
    ``squeeze`` "mobilenet_v3": the share is of the *expanded* width, in multiples of 8, with ReLU inside and a
    hard-sigmoid gate.
    ``depth_scaled`` is False where the family fixes the repeats (Lite's first and last stage).
    ``activation``: other than the network's.
    """

    width: int
    depth: int
    kernel: int = 3
    stride: int = 1
    expand_ratio: float = 6
    se_ratio: float = 0.25
    block: BlockKind = "mbconv"
    depth_scaled: bool = True
    activation: Activation | None = None
    squeeze: SqueezeKind = "efficientnet"


@dataclass(frozen=True)
class Head:
    """The last 1×1 convolution before pooling and the classifier; ``scaling`` says how it follows β.

    ``width`` 0: none, the last stage is pooled (ResNet). ``hidden``: width of a linear layer with activation between
    pooling and classifier, never scaled (MobileNetV3); 0: none.

    ``fixed``: never (Lite). ``scaled``: width·β, rounded. ``grows_only``: width·max(1, β) (MobileNetV2).
    ``follows_last_stage``: keeps its ratio to the last stage's rounded width (torchvision's EfficientNet).
    """

    width: int
    scaling: HeadScaling = "scaled"
    hidden: int = 0


@dataclass(frozen=True)
class NetSpec:
    """One network, by value. Sizes in pixels and channels; same spec, same tensors.

    ``drop_path`` is the stochastic-depth probability of the last block (linear from 0 at the first).
    """

    name: str
    resolution: int
    stem: Stem
    stages: tuple[Stage, ...]
    head: Head
    activation: Activation = "silu"
    padding: Padding = "symmetric"
    batch_norm: BatchNorm = BatchNorm()
    width_divisor: int = 8
    dropout: float = 0.2
    drop_path: float = 0.2
    in_channels: int = 3
    classes: int = 1000

    @property
    def widths(self) -> tuple[int, ...]:
        """Output channels of each stage."""
        return tuple(stage.width for stage in self.stages)

    @property
    def depths(self) -> tuple[int, ...]:
        """Blocks of each stage."""
        return tuple(stage.depth for stage in self.stages)

    @property
    def pooled_width(self) -> int:
        """Channels that are pooled: the head's, or the last stage's where there is none."""
        return self.head.width or self.stages[-1].width

    @property
    def digest(self) -> str:
        """12 hex digits naming the architecture; the name does not take part."""
        # 6 and 6.0 are one setting
        stages = (
            dataclasses.replace(s, expand_ratio=float(s.expand_ratio), se_ratio=float(s.se_ratio)) for s in self.stages
        )
        values = dataclasses.replace(self, name="", stages=tuple(stages)).to_dict()
        return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:12]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; ``NetSpec.from_dict`` reads them back."""
        return {
            **dataclasses.asdict(self),
            "stem": _written(self.stem),
            "stages": tuple(_written(stage) for stage in self.stages),
            "head": _written(self.head),
        }

    def _repr_html_(self) -> str:
        from scalesearch.design.parts import spec_html

        return spec_html(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "NetSpec":
        """The inverse of ``to_dict``. Raises SpaceError on foreign values and on absurd sizes."""
        from scalesearch.design.space import spec_of  # which is built on this module

        return spec_of(values, "a network's spec")


def _written(part: Stem | Stage | Head) -> dict[str, Any]:
    """A part's values, without younger fields at their defaults."""
    values = {field.name: (getattr(part, field.name), field.default) for field in dataclasses.fields(part)}
    return {name: value for name, (value, default) in values.items() if name not in LATER or value != default}


def expanded_width(width: int, ratio: float) -> int:
    """``width`` × ``ratio``, rounded half up to a whole number, at least 1: the channels inside a block."""
    return max(1, int(width * ratio + 0.5))


def squeeze_width(stage: Stage, width_in: int) -> int:
    """Channels inside squeeze-excitation, at least 1.

    ``efficientnet``: a share of the block's input, rounded down (torchvision's rule). ``mobilenet_v3``: a share of the
    expanded width, to multiples of 8.
    """
    if stage.squeeze == "mobilenet_v3":
        return round_width(int(expanded_width(width_in, stage.expand_ratio) * stage.se_ratio), SQUEEZE_DIVISOR)
    return max(1, int(width_in * stage.se_ratio))


def round_width(width: float, divisor: int) -> int:
    """Nearest multiple of ``divisor``, at least one, never below 0.9 × ``width`` (MobileNet's rule).

    Source: ``round_filters`` of the authors' release, ``_make_divisible`` of torchvision.
    """
    rounded = max(divisor, int(width + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * width else rounded


def shortcut_of(stage: Stage, width_in: int, stride: int) -> Shortcut:
    """What is added to a block's branch: its input, a 1×1 projection of it (ResNet's blocks only), or nothing."""
    if stride == 1 and width_in == stage.width:
        return "identity"
    return "projection" if stage.block in RESNET_BLOCKS else "none"
