"""The numbers that scaling changes, apart from a spec: one shape on one baseline is one network."""

from dataclasses import dataclass

from scalesearch.design.spec import Head, NetSpec, Stage, Stem


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
    """``spec`` with another shape; every other setting kept. Written out: it runs ten thousand times a search."""
    stem, head = spec.stem, spec.head
    return NetSpec(
        name=spec.name,
        resolution=shape.resolution,
        stem=Stem(shape.stem, stem.kernel, stem.stride, stem.scaled),
        stages=tuple(
            Stage(width, depth, s.kernel, s.stride, s.expand_ratio, s.se_ratio, s.block, s.depth_scaled)
            for s, width, depth in zip(spec.stages, shape.widths, shape.depths, strict=True)
        ),
        head=Head(shape.head, head.scaling),
        activation=spec.activation,
        padding=spec.padding,
        batch_norm=spec.batch_norm,
        width_divisor=spec.width_divisor,
        dropout=spec.dropout,
        drop_path=spec.drop_path,
        in_channels=spec.in_channels,
        classes=spec.classes,
    )


def round_width(width: float, divisor: int) -> int:
    """Nearest multiple of ``divisor``, at least one, never below 0.9 × ``width`` (MobileNet's rule).

    Source: ``round_filters`` of the authors' release, ``_make_divisible`` of torchvision.
    """
    rounded = max(divisor, int(width + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * width else rounded


def scaled_head(spec: NetSpec, widths: tuple[int, ...], width: float) -> int:
    """The head's channels for stages of ``widths`` and a multiplier ``width``, by the spec's rule."""
    head = spec.head
    if head.scaling == "fixed":
        return head.width
    if head.scaling == "follows_last_stage":
        return round(head.width * widths[-1] / spec.stages[-1].width)
    factor = max(1.0, width) if head.scaling == "grows_only" else width
    return round_width(head.width * factor, spec.width_divisor)
