"""A network part by part: its blocks, channels, output size and what each part costs."""

from dataclasses import dataclass

from scalesearch.design.cost import Cost, output_size, stage_costs
from scalesearch.design.spec import NetSpec, Stage


@dataclass(frozen=True)
class Part:
    """The stem, a stage or the head.

    Args:
        name: "stem", the stage's number from 1, "head".
        block: kind, kernel and stride in words; ``squeeze`` the squeeze-excitation's ratio, 0 without.
        depth: blocks; ``size`` the side of the output in pixels.
    """

    name: str
    block: str
    squeeze: float
    width: int
    depth: int
    size: int
    cost: Cost


def parts(spec: NetSpec) -> tuple[Part, ...]:
    """Every part in order; their costs add up to the network's."""
    first, *middle, last = stage_costs(spec)
    stem, size = spec.stem, output_size(spec.resolution, spec.stem.stride)
    found = [Part("stem", f"conv {stem.kernel}×{stem.kernel} /{stem.stride}", 0.0, stem.width, 1, size, first)]
    for number, (stage, part) in enumerate(zip(spec.stages, middle, strict=True), start=1):
        size = output_size(size, stage.stride)
        found.append(Part(str(number), _block(stage), stage.se_ratio, stage.width, stage.depth, size, part))
    return (*found, Part("head", "conv 1×1, pool, linear", 0.0, spec.head.width, 1, 1, last))


def _block(stage: Stage) -> str:
    kind = "MBConv" if stage.block == "mbconv" else "FusedMBConv"
    return f"{kind}{stage.expand_ratio:g} {stage.kernel}×{stage.kernel} /{stage.stride}"
