"""Published networks to stand beside, from torchvision's own weight metadata."""

from dataclasses import dataclass
from functools import cache

SERIES: dict[str, tuple[str, ...]] = {
    "GoogLeNet": ("googlenet",),
    "ResNet": ("resnet18", "resnet34", "resnet50"),
    "MobileNetV2": ("mobilenet_v2",),
    "MobileNetV3": ("mobilenet_v3_small", "mobilenet_v3_large"),
    "MNASNet": ("mnasnet0_5", "mnasnet0_75", "mnasnet1_0", "mnasnet1_3"),
    "EfficientNet B0–B7": tuple(f"efficientnet_b{n}" for n in range(8)),
    "EfficientNetV2 S, M, L": ("efficientnet_v2_s", "efficientnet_v2_m", "efficientnet_v2_l"),
}


@dataclass(frozen=True)
class Published:
    """One set of ImageNet weights.

    Args:
        series: the family it belongs to, a key of ``SERIES``.
        network: torchvision's name.
        weights: the weights' name, e.g. ``IMAGENET1K_V1``.
        top1: ImageNet accuracy, 0…1, on one centre crop.
        macs: multiply-adds, from torchvision's GFLOPs, which it gives to 0.001.
        params: parameters.
        resolution: crop in pixels at which accuracy and FLOPs are quoted (B2: 288, not the paper's 260).
    """

    series: str
    network: str
    weights: str
    top1: float
    macs: int
    params: int
    resolution: int


@cache
def published_networks() -> tuple[Published, ...]:
    """Every set of weights that torchvision lists for the networks of ``SERIES``; nothing is downloaded."""
    from torchvision.models import get_model_weights

    return tuple(
        Published(
            series=series,
            network=network,
            weights=weights.name,
            top1=round(weights.meta["_metrics"]["ImageNet-1K"]["acc@1"] / 100, 5),
            macs=round(weights.meta["_ops"] * 1e9),
            params=weights.meta["num_params"],
            resolution=weights.transforms().crop_size[0],
        )
        for series, networks in SERIES.items()
        for network in networks
        for weights in get_model_weights(network)
    )


def best_published() -> tuple[Published, ...]:
    """One entry a network: its most accurate weights."""
    best: dict[str, Published] = {}
    for entry in published_networks():
        if entry.network not in best or entry.top1 > best[entry.network].top1:
            best[entry.network] = entry
    return tuple(best.values())
