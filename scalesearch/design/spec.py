"""A network as a value: every number that decides its architecture, nothing else."""

import dataclasses
import hashlib
import json
from dataclasses import dataclass
from typing import Any, Literal

Activation = Literal["silu", "relu6", "relu", "hardswish"]
Padding = Literal["symmetric", "same"]
BlockKind = Literal["mbconv", "fused_mbconv"]
HeadScaling = Literal["fixed", "scaled", "grows_only", "follows_last_stage"]


@dataclass(frozen=True)
class BatchNorm:
    """Batch-norm settings (torch's meaning of ``momentum``: weight of the new batch)."""

    eps: float = 1e-5
    momentum: float = 0.1


@dataclass(frozen=True)
class Stem:
    """The first convolution. ``scaled``: its width grows with β (EfficientNet) or stays (Lite)."""

    width: int
    kernel: int = 3
    stride: int = 2
    scaled: bool = True


@dataclass(frozen=True)
class Stage:
    """``depth`` blocks of one shape; the first has ``stride``, the others stride 1.

    ``expand_ratio`` multiplies the block's input width; 1 leaves the expansion out.
    ``se_ratio`` is the squeeze width as a share of the block's *input* width (0: no squeeze-excitation).
    ``depth_scaled`` is False where the family fixes the repeats (Lite's first and last stage).
    """

    width: int
    depth: int
    kernel: int = 3
    stride: int = 1
    expand_ratio: float = 6
    se_ratio: float = 0.25
    block: BlockKind = "mbconv"
    depth_scaled: bool = True


@dataclass(frozen=True)
class Head:
    """The last 1×1 convolution before pooling and the classifier; ``scaling`` says how it follows β.

    ``fixed``: never (Lite). ``scaled``: width·β, rounded. ``grows_only``: width·max(1, β) (MobileNetV2).
    ``follows_last_stage``: keeps its ratio to the last stage's rounded width (torchvision's EfficientNet).
    """

    width: int
    scaling: HeadScaling = "scaled"


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
    def digest(self) -> str:
        """12 hex digits naming the architecture; the name does not take part."""
        # 6 and 6.0 are one setting
        stages = (
            dataclasses.replace(s, expand_ratio=float(s.expand_ratio), se_ratio=float(s.se_ratio)) for s in self.stages
        )
        values = dataclasses.asdict(dataclasses.replace(self, name="", stages=tuple(stages)))
        return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:12]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; ``NetSpec.from_dict`` reads them back."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "NetSpec":
        """The inverse of ``to_dict``. Raises TypeError or KeyError on foreign values."""
        return cls(
            **{
                **values,
                "stem": Stem(**values["stem"]),
                "stages": tuple(Stage(**stage) for stage in values["stages"]),
                "head": Head(**values["head"]),
                "batch_norm": BatchNorm(**values["batch_norm"]),
            }
        )


def squeeze_width(width_in: int, se_ratio: float) -> int:
    """Channels inside squeeze-excitation: a share of the block's input, at least 1 (torchvision's rule)."""
    return max(1, int(width_in * se_ratio))


def expanded_width(width_in: int, expand_ratio: float) -> int:
    """Channels after a block's expansion, rounded half up to a whole number."""
    return int(width_in * expand_ratio + 0.5)
