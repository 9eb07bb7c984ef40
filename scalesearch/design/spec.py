"""A network as a value: every number that decides its architecture, nothing else.

The annotations of fields bound what a file may say (``typed.rules``): absurd values are refused before anything is
built from them. ``Shape`` is the few numbers of a spec that scaling changes.
"""

import dataclasses
import hashlib
import json
import math
from collections.abc import Collection
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from scalesearch.errors import SpaceError
from scalesearch.typed import NAME, TABLE, Rule, check_table, check_tables, integer, number, odd, rules

Activation = Literal["silu", "relu6", "relu", "hardswish"]
Padding = Literal["symmetric", "same"]
BlockKind = Literal["mbconv", "fused_mbconv", "basic", "bottleneck"]
SqueezeKind = Literal["efficientnet", "mobilenet_v3"]
Shortcut = Literal["none", "identity", "projection"]
HeadScaling = Literal["fixed", "scaled", "grows_only", "follows_last_stage"]

RESNET_BLOCKS: tuple[BlockKind, ...] = ("basic", "bottleneck")  # their activation follows the sum
# Fields younger than digests on disk: at their defaults they are neither written nor hashed.
LATER = ("max_pool", "activation", "squeeze", "hidden", "expand_divisor")
POOL_STRIDE = 2
SQUEEZE_DIVISOR = 8
MOST_TABLES = 64  # stages, or released members


@dataclass(frozen=True)
class BatchNorm:
    """Batch-norm settings (torch's meaning of ``momentum``: weight of the new batch)."""

    eps: Annotated[float, number(1e-12, 1)] = 1e-5
    momentum: Annotated[float, number(0, 1)] = 0.1


@dataclass(frozen=True)
class Stem:
    """The first convolution. ``scaled``: its width grows with β (EfficientNet) or stays (Lite).

    ``max_pool``: a 3×3 max-pool of stride 2 follows (ResNet), padded symmetrically whatever the convolutions are.
    """

    width: Annotated[int, integer(1, 8192)]
    kernel: Annotated[int, odd(1, 15)] = 3
    stride: Annotated[int, integer(1, 8)] = 2
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
    ``expand_divisor``: the width inside is rounded to a multiple of it, as torchvision and timm round to 8. Where a
    ratio is a fraction, other widths than the published ones would come to odd numbers, for which runtimes are slow.
    ``se_ratio`` is the squeeze width as a share of the block's *input* width (0: no squeeze-excitation).
    ``squeeze`` "mobilenet_v3": the share is of the *expanded* width, in multiples of 8, with ReLU inside and a
    hard-sigmoid gate.
    ``depth_scaled`` is False where the family fixes the repeats (Lite's first and last stage).
    ``activation``: other than the network's.
    """

    width: Annotated[int, integer(1, 16384)]
    depth: Annotated[int, integer(1, 256)]
    kernel: Annotated[int, odd(1, 15)] = 3
    stride: Annotated[int, integer(1, 8)] = 1
    expand_ratio: Annotated[float, number(1, 32)] = 6
    se_ratio: Annotated[float, number(0, 4)] = 0.25
    block: BlockKind = "mbconv"
    depth_scaled: bool = True
    activation: Activation | None = None
    squeeze: SqueezeKind = "efficientnet"
    expand_divisor: Annotated[int, integer(1, 64)] = 1


@dataclass(frozen=True)
class Head:
    """The last 1×1 convolution before pooling and the classifier; ``scaling`` says how it follows β.

    ``width`` 0: none, the last stage is pooled (ResNet). ``hidden``: width of a linear layer with activation between
    pooling and classifier, never scaled (MobileNetV3); 0: none.

    ``fixed``: never (Lite). ``scaled``: width·β, rounded. ``grows_only``: width·max(1, β) (MobileNetV2).
    ``follows_last_stage``: keeps its ratio to the last stage's rounded width (torchvision's EfficientNet).
    """

    width: Annotated[int, integer(0, 65536)]
    scaling: HeadScaling = "scaled"
    hidden: Annotated[int, integer(0, 65536)] = 0


@dataclass(frozen=True)
class NetSpec:
    """One network, by value. Sizes in pixels and channels; same spec, same tensors.

    ``drop_path`` is the stochastic-depth probability of the last block (linear from 0 at the first).
    """

    name: Annotated[str, NAME]
    resolution: Annotated[int, integer(8, 4096)]
    stem: Stem
    stages: tuple[Stage, ...]
    head: Head
    activation: Activation = "silu"
    padding: Padding = "symmetric"
    batch_norm: BatchNorm = BatchNorm()
    width_divisor: Annotated[int, integer(1, 64)] = 8
    dropout: Annotated[float, number(0, 0.95)] = 0.2
    drop_path: Annotated[float, number(0, 0.95)] = 0.2
    in_channels: Annotated[int, integer(1, 64)] = 3
    classes: Annotated[int, integer(1, 1_000_000)] = 1000

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
    def reduction(self) -> int:
        """The image's side over that of the last map; odd rests round up."""
        return self.stem.reduction * math.prod(stage.stride for stage in self.stages)

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

    @classmethod
    def from_dict(cls, values: Any, where: str = "a network's spec") -> "NetSpec":
        """The inverse of ``to_dict``. Raises SpaceError with all mistakes: foreign values, absurd sizes."""
        mistakes: list[str] = []
        spec = read_network(values, mistakes)
        if spec is None:
            raise SpaceError(where, tuple(mistakes))
        return spec


@dataclass(frozen=True)
class TorchvisionSpec:
    """A classifier that torchvision's code builds: what is known of it without building it.

    Args:
        name: as ``torchvision.models.get_model`` takes it, such as "googlenet".
        resolution: side of its images in pixels.
        macs, params, activations: of one image, as ``design.cost`` means them, counted on the built network.
    """

    name: Annotated[str, NAME]
    resolution: Annotated[int, integer(8, 4096)]
    classes: Annotated[int, integer(1, 1_000_000)]
    macs: Annotated[int, integer(1, 10**15)]
    params: Annotated[int, integer(1, 10**13)]
    activations: Annotated[int, integer(1, 10**13)]
    in_channels: int = 3

    @property
    def digest(self) -> str:
        """12 hex digits naming the architecture."""
        return hashlib.sha256(json.dumps([self.name, self.resolution, self.classes]).encode()).hexdigest()[:12]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return dataclasses.asdict(self)


Architecture = NetSpec | TorchvisionSpec


NO_SQUEEZE = Rule("0: a ResNet's block has no squeeze-excitation", lambda value: value == 0, default=0)
# a block kind's own bounds and defaults, where they are not a stage's
OF_BLOCK: dict[str, dict[str, Rule]] = {
    kind: {"expand_ratio": dataclasses.replace(number(0.01, 32), default=inner), "se_ratio": NO_SQUEEZE}
    for kind, inner in (("basic", 1), ("bottleneck", 0.25))
}


def read_network(values: Any, mistakes: list[str], others: Collection[str] = ()) -> NetSpec | None:
    """A network from tables; None where something was wrong, which is appended to ``mistakes``.

    Args:
        values: as ``NetSpec.to_dict`` gives them, JSON keeps them or a person wrote them in TOML.
        others: keys of the same table that are not the network's.
    """
    before = len(mistakes)
    top = check_table(values, rules(NetSpec) | dict.fromkeys(others, TABLE), "", mistakes)
    kinds: dict[str, Any] = {"batch_norm": BatchNorm, "stem": Stem, "head": Head}
    tables = {key: check_table(top[key], rules(kind), key, mistakes) for key, kind in kinds.items()}
    stages = check_tables(top["stages"], _stage_rules, "stages", mistakes, MOST_TABLES)
    if not stages:
        mistakes.append("stages: at least one [[stages]] table is needed.")
    if len(mistakes) > before:
        return None
    parts: dict[str, Any] = {key: kind(**tables[key]) for key, kind in kinds.items()}
    own = {name: top[name] for name in rules(NetSpec)}
    return NetSpec(**{**own, **parts, "stages": tuple(Stage(**stage) for stage in stages)})


def _stage_rules(row: Any) -> dict[str, Rule]:
    """The rules of a stage's block kind."""
    kind = row.get("block") if isinstance(row, dict) else None
    return rules(Stage) | (OF_BLOCK.get(kind, {}) if isinstance(kind, str) else {})


def _written(part: Stem | Stage | Head) -> dict[str, Any]:
    """A part's values, without younger fields at their defaults."""
    values = {field.name: (getattr(part, field.name), field.default) for field in dataclasses.fields(part)}
    return {name: value for name, (value, default) in values.items() if name not in LATER or value != default}


def expanded_width(stage: Stage, width: int) -> int:
    """The channels inside a block; ``width``: its input's, in ResNet's blocks its output's."""
    if stage.expand_divisor == 1:
        return nearest_width(width * stage.expand_ratio, 1)  # without the 0.9 rule, which would turn 1.2 into 2
    return round_width(width * stage.expand_ratio, stage.expand_divisor)


def squeeze_width(stage: Stage, width_in: int) -> int:
    """Channels inside squeeze-excitation, at least 1.

    ``efficientnet``: a share of the block's input, rounded down (torchvision's rule). ``mobilenet_v3``: a share of the
    expanded width, to multiples of 8.
    """
    if stage.squeeze == "mobilenet_v3":
        return round_width(int(expanded_width(stage, width_in) * stage.se_ratio), SQUEEZE_DIVISOR)
    return max(1, int(width_in * stage.se_ratio))


def round_width(width: float, divisor: int) -> int:
    """Nearest multiple of ``divisor``, at least one, never below 0.9 × ``width`` (MobileNet's rule).

    Source: ``round_filters`` of the authors' release, ``_make_divisible`` of torchvision.
    """
    rounded = max(divisor, int(width + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * width else rounded


def nearest_width(width: float, divisor: int) -> int:
    """Nearest multiple of ``divisor``, halves up, at least one."""
    return max(divisor, int(width / divisor + 0.5) * divisor)


def shortcut_of(stage: Stage, width_in: int, stride: int) -> Shortcut:
    """What is added to a block's branch: its input, a 1×1 projection of it (ResNet's blocks only), or nothing."""
    if stride == 1 and width_in == stage.width:
        return "identity"
    return "projection" if stage.block in RESNET_BLOCKS else "none"


Dimension = Literal["depth", "width", "resolution"]
DIMENSIONS: tuple[Dimension, ...] = ("depth", "width", "resolution")


@dataclass(frozen=True)
class Shape:
    """Channels of stem, stages and head, blocks per stage, side of the input in pixels."""

    stem: int
    widths: tuple[int, ...]
    depths: tuple[int, ...]
    head: int
    resolution: int


def shape_of(spec: NetSpec) -> Shape:
    """The shape of a spec; ``reshape(spec, shape_of(spec)) == spec``."""
    return Shape(spec.stem.width, spec.widths, spec.depths, spec.head.width, spec.resolution)


def reshape(spec: NetSpec, shape: Shape) -> NetSpec:
    """``spec`` with another shape; every other setting kept."""
    sizes = zip(spec.stages, shape.widths, shape.depths, strict=True)
    return dataclasses.replace(
        spec,
        resolution=shape.resolution,
        stem=dataclasses.replace(spec.stem, width=shape.stem),
        stages=tuple(dataclasses.replace(stage, width=width, depth=depth) for stage, width, depth in sizes),
        head=dataclasses.replace(spec.head, width=shape.head),
    )


def scaled_head(spec: NetSpec, widths: tuple[int, ...], width: float) -> int:
    """The head's channels for stages of ``widths`` and a multiplier ``width``, by the spec's rule."""
    head = spec.head
    if head.scaling == "fixed" or head.width == 0:
        return head.width
    if head.scaling == "follows_last_stage":
        return round(head.width * widths[-1] / spec.stages[-1].width)
    factor = max(1.0, width) if head.scaling == "grows_only" else width
    return round_width(head.width * factor, spec.width_divisor)
