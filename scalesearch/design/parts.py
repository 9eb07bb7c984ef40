"""A network part by part: its blocks, channels, output size and what each part costs."""

from dataclasses import dataclass

from scalesearch.design.cost import Cost, cost, output_size, stage_costs
from scalesearch.design.spec import BlockKind, NetSpec, Stage
from scalesearch.notebook import html_table
from scalesearch.units import show_count

KINDS: dict[BlockKind, str] = {
    "mbconv": "MBConv{:.3g}", "fused_mbconv": "FusedMBConv{:.3g}", "basic": "basic ×{:.3g}",
    "bottleneck": "bottleneck ×{:.3g}",
}  # fmt: skip
COLUMNS = ("part", "block", "se", "width", "depth", "output", "FLOPs")


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
    stem, size = spec.stem, output_size(spec.resolution, spec.stem.reduction)
    pool = ", max-pool 3×3 /2" if stem.max_pool else ""
    found = [Part("stem", f"conv {stem.kernel}×{stem.kernel} /{stem.stride}{pool}", 0.0, stem.width, 1, size, first)]
    for number, (stage, part) in enumerate(zip(spec.stages, middle, strict=True), start=1):
        size = output_size(size, stage.stride)
        found.append(Part(str(number), _block(stage), stage.se_ratio, stage.width, stage.depth, size, part))
    head = [*["conv 1×1"] * bool(spec.head.width), "pool", *["linear"] * bool(spec.head.hidden), "linear"]
    return (*found, Part("head", ", ".join(head), 0.0, spec.pooled_width, 1, 1, last))


def spec_lines(spec: NetSpec) -> list[list[str]]:
    """A row per part as people read it, by ``COLUMNS``."""
    return [
        [part.name, part.block, _squeeze(part), str(part.width), str(part.depth), str(part.size),
         show_count(part.cost.macs)]
        for part in parts(spec)
    ]  # fmt: skip


def spec_html(spec: NetSpec) -> str:
    """A network as a notebook shows it: its parts, and its totals."""
    sizes = cost(spec)
    totals = (
        f"{spec.resolution} px, {spec.classes} classes: {show_count(sizes.macs)} FLOPs, {show_count(sizes.params)} "
        f"parameters, {show_count(sizes.activations)} activations; digest {spec.digest}"
    )
    return html_table(spec.name, COLUMNS, spec_lines(spec), [totals])


def _block(stage: Stage) -> str:
    return f"{KINDS[stage.block].format(stage.expand_ratio)} {stage.kernel}×{stage.kernel} /{stage.stride}"


def _squeeze(part: Part) -> str:
    """A stage's ratio, a dash where it has no squeeze-excitation; stem and head never have one."""
    return "" if part.name in ("stem", "head") else f"{part.squeeze:g}" if part.squeeze else "–"
