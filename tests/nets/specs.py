"""Networks that no search-space file holds, and ways to make weights worth comparing."""

from dataclasses import replace

import torch
from torch import nn

from scalesearch.design.space import load_space
from scalesearch.design.spec import BatchNorm, Head, NetSpec, Shape, Stage, Stem, reshape


def mnasnet_b1() -> NetSpec:
    """torchvision's mnasnet1_0 (arXiv:1807.11626, B1)."""
    rows = [(16, 1, 3, 1, 1), (24, 3, 3, 2, 3), (40, 3, 5, 2, 3), (80, 3, 5, 2, 6)]
    rows += [(96, 2, 3, 1, 6), (192, 4, 5, 2, 6), (320, 1, 3, 1, 6)]
    stages = tuple(Stage(w, d, k, s, e, se_ratio=0) for w, d, k, s, e in rows)
    batch_norm = BatchNorm(momentum=1 - 0.9997)
    return NetSpec(
        "mnasnet1_0", 224, Stem(32), stages, Head(1280), activation="relu", batch_norm=batch_norm, drop_path=0
    )


def efficientnet_v2_s() -> NetSpec:
    """torchvision's efficientnet_v2_s (arXiv:2104.00298, Table 4)."""
    fused = [(24, 2, 1, 1), (48, 4, 2, 4), (64, 4, 2, 4)]
    plain = [(128, 6, 2, 4), (160, 9, 1, 6), (256, 15, 2, 6)]
    stages = [Stage(w, d, 3, s, e, se_ratio=0, block="fused_mbconv") for w, d, s, e in fused]
    stages += [Stage(w, d, 3, s, e) for w, d, s, e in plain]
    return NetSpec("efficientnet_v2_s", 384, Stem(24), tuple(stages), Head(1280), batch_norm=BatchNorm(eps=1e-3))


def tiny(name: str = "tiny", classes: int = 5) -> NetSpec:
    """A network of a few thousand weights with every kind of layer."""
    stages = (
        Stage(8, 1, 3, 1, expand_ratio=1),
        Stage(12, 2, 5, 2, expand_ratio=3, se_ratio=0),
        Stage(12, 1, 3, 2, expand_ratio=2, block="fused_mbconv", se_ratio=0),
    )
    return NetSpec(name, 33, Stem(8), stages, Head(24), classes=classes)


def tiny_plain(name: str = "tiny_plain", classes: int = 5) -> NetSpec:
    """A few thousand weights that every naming can hold: no squeeze-excitation, stage 1 a single bare block."""
    stages = (Stage(8, 1, 3, 1, expand_ratio=1, se_ratio=0), Stage(12, 2, 5, 2, expand_ratio=3, se_ratio=0))
    return NetSpec(name, 32, Stem(8), stages, Head(24), activation="relu6", classes=classes)


def small_resnet(name: str, classes: int = 4) -> NetSpec:
    """A shipped ResNet with few channels and blocks."""
    spec = load_space(name).baseline
    expansion = round(1 / spec.stages[0].expand_ratio)
    shape = Shape(8, tuple(expansion * width for width in (8, 12, 16, 20)), (2, 1, 3, 2), 0, 33)
    return replace(reshape(spec, shape), width_divisor=4, classes=classes)


def randomise(network: nn.Module, seed: int = 0) -> nn.Module:
    """Batch-norm statistics and affine values off their defaults, so that a swapped tensor shows; eval mode."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.normal_(0, 0.1, generator=generator)
                module.bias.normal_(0, 0.1, generator=generator)
                module.running_var.uniform_(0.5, 1.5, generator=generator)
                module.weight.uniform_(0.5, 1.5, generator=generator)
    return network.eval()


def images(count: int, size: int, seed: int = 0) -> torch.Tensor:
    """Noise (count, 3, size, size)."""
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(seed))
