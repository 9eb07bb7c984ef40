"""The numbers that scaling changes, apart from a spec: one shape on one baseline is one network."""

from dataclasses import dataclass

from scalesearch.design.spec import Head, NetSpec, Stage, Stem, round_width


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
    stages = tuple(
        Stage(
            width, depth, s.kernel, s.stride, s.expand_ratio, s.se_ratio, s.block, s.depth_scaled, s.activation,
            s.squeeze,
        )
        for s, width, depth in zip(spec.stages, shape.widths, shape.depths, strict=True)
    )  # fmt: skip
    return NetSpec(
        name=spec.name,
        resolution=shape.resolution,
        stem=Stem(shape.stem, stem.kernel, stem.stride, stem.scaled, stem.max_pool),
        stages=stages,
        head=Head(shape.head, head.scaling, head.hidden),
        activation=spec.activation,
        padding=spec.padding,
        batch_norm=spec.batch_norm,
        width_divisor=spec.width_divisor,
        dropout=spec.dropout,
        drop_path=spec.drop_path,
        in_channels=spec.in_channels,
        classes=spec.classes,
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
