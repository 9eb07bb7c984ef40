"""A NetSpec made into a torch module; tensor names and initialisation are torchvision's EfficientNet's."""

import math
from collections.abc import Callable, Iterator
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.ops import SqueezeExcitation, StochasticDepth

from scalesearch.design.spec import NetSpec, Stage, expanded_width, squeeze_width

# In place only where the gradient can be had from the output: SiLU and Hardswish need their input, so in place they
# would first copy it (a tenth of a training step on a CPU).
ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "silu": nn.SiLU,
    "relu6": partial(nn.ReLU6, inplace=True),
    "relu": partial(nn.ReLU, inplace=True),
    "hardswish": nn.Hardswish,
}


def same_padding(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """Pixels before and after a side of ``size`` pixels, as TensorFlow's SAME: the odd one goes after.

    >>> same_padding(224, kernel=3, stride=2), same_padding(225, kernel=3, stride=2)
    ((0, 1), (1, 1))
    """
    total = max(kernel - (size % stride or stride), 0)
    return total // 2, total - total // 2


class SameConv2d(nn.Conv2d):
    """A convolution padded as TensorFlow's SAME for whatever size comes in: (N, C, H, W) → ⌈H/stride⌉×⌈W/stride⌉."""

    def forward(self, input: Tensor) -> Tensor:
        """(N, C, H, W) → (N, C', ⌈H/stride⌉, ⌈W/stride⌉)."""
        # int: while tracing, sizes are tensors, and the arithmetic on them would land in the graph
        sides = zip(input.shape[-2:], self.kernel_size, self.stride, strict=True)
        height, width = (same_padding(torch.sym_int(size), kernel, stride) for size, kernel, stride in sides)
        return super().forward(F.pad(input, (*width, *height)))


def convolution(
    spec: NetSpec,
    width_in: int,
    width: int,
    kernel: int = 1,
    stride: int = 1,
    *,
    groups: int = 1,
    activate: bool = True,
) -> nn.Sequential:
    """Convolution without bias, batch norm and (unless ``activate`` is False) the spec's activation."""
    # on stride 1 SAME is symmetric for odd kernels, so the plain convolution does
    asymmetric = spec.padding == "same" and stride > 1
    layers: list[nn.Module] = [
        SameConv2d(width_in, width, kernel, stride, groups=groups, bias=False)
        if asymmetric
        else nn.Conv2d(width_in, width, kernel, stride, (kernel - 1) // 2, groups=groups, bias=False),
        nn.BatchNorm2d(width, eps=spec.batch_norm.eps, momentum=spec.batch_norm.momentum),
    ]
    if activate:
        layers.append(ACTIVATIONS[spec.activation]())
    return nn.Sequential(*layers)


def mbconv_layers(spec: NetSpec, stage: Stage, width_in: int, stride: int) -> Iterator[nn.Module]:
    """Expand 1×1, depthwise k×k, squeeze-excitation, project 1×1; what the stage does not ask for is left out."""
    expanded = expanded_width(width_in, stage.expand_ratio)
    if expanded != width_in:
        yield convolution(spec, width_in, expanded)
    yield convolution(spec, expanded, expanded, stage.kernel, stride, groups=expanded)
    if stage.se_ratio:
        yield SqueezeExcitation(expanded, squeeze_width(width_in, stage.se_ratio), ACTIVATIONS[spec.activation])
    yield convolution(spec, expanded, stage.width, activate=False)


def fused_mbconv_layers(spec: NetSpec, stage: Stage, width_in: int, stride: int) -> Iterator[nn.Module]:
    """Expand k×k, project 1×1; a single k×k convolution where nothing expands (EfficientNetV2, table 4)."""
    expanded = expanded_width(width_in, stage.expand_ratio)
    if expanded == width_in:
        yield convolution(spec, width_in, stage.width, stage.kernel, stride)
    else:
        yield convolution(spec, width_in, expanded, stage.kernel, stride)
        yield convolution(spec, expanded, stage.width, activate=False)


class Block(nn.Module):
    """One MBConv or fused MBConv block; the input is added where neither size nor width changes."""

    def __init__(self, spec: NetSpec, stage: Stage, width_in: int, stride: int, drop_path: float) -> None:
        super().__init__()
        layers = fused_mbconv_layers if stage.block == "fused_mbconv" else mbconv_layers
        self.block = nn.Sequential(*layers(spec, stage, width_in, stride))
        self.stochastic_depth = StochasticDepth(drop_path, "row")
        self.residual = stride == 1 and width_in == stage.width

    def forward(self, input: Tensor) -> Tensor:
        """(N, C, H, W) → (N, C', ⌈H/stride⌉, ⌈W/stride⌉)."""
        result: Tensor = self.block(input)
        if self.residual:
            result = self.stochastic_depth(result)
            result += input
        return result


def stages(spec: NetSpec) -> Iterator[nn.Sequential]:
    """Each stage's blocks; stochastic depth grows linearly over all blocks, from 0 at the first."""
    width_in, block_number, block_count = spec.stem.width, 0, sum(spec.depths)
    for stage in spec.stages:
        blocks = []
        for index in range(stage.depth):
            drop_path = spec.drop_path * block_number / block_count
            blocks.append(Block(spec, stage, width_in, stage.stride if index == 0 else 1, drop_path))
            width_in, block_number = stage.width, block_number + 1
        yield nn.Sequential(*blocks)


class MBConvNet(nn.Module):
    """Stem, stages, head, average pooling, classifier. ``spec`` is the architecture it was built from."""

    def __init__(self, spec: NetSpec) -> None:
        super().__init__()
        self.spec = spec
        stem, head = spec.stem, spec.head
        self.features = nn.Sequential(
            convolution(spec, spec.in_channels, stem.width, stem.kernel, stem.stride),
            *stages(spec),
            convolution(spec, spec.widths[-1], head.width),
        )
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Sequential(nn.Dropout(spec.dropout, inplace=True), nn.Linear(head.width, spec.classes))
        for module in self.modules():
            initialise(module)

    def forward_features(self, images: Tensor) -> Tensor:
        """Images (N, in_channels, H, W), any H and W → pooled features (N, head.width)."""
        return torch.flatten(self.avgpool(self.features(images)), 1)

    def forward(self, images: Tensor) -> Tensor:
        """Images (N, in_channels, H, W), any H and W → logits (N, classes)."""
        logits: Tensor = self.classifier(self.forward_features(images))
        return logits


def initialise(module: nn.Module) -> None:
    """torchvision's EfficientNet initialisation: Kaiming normal by fan-out; the classifier uniform ±1/√classes."""
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, mode="fan_out")
    elif isinstance(module, nn.BatchNorm2d):
        nn.init.ones_(module.weight)
    elif isinstance(module, nn.Linear):
        bound = 1 / math.sqrt(module.out_features)
        nn.init.uniform_(module.weight, -bound, bound)
    if isinstance(module, nn.Conv2d | nn.BatchNorm2d | nn.Linear) and module.bias is not None:
        nn.init.zeros_(module.bias)


def build(spec: NetSpec, seed: int | None = None) -> MBConvNet:
    """The network of a spec, freshly initialised, in training mode, on the current default device.

    Args:
        spec: the architecture; modules are named as ``design.cost.operators(spec)`` names them.
        seed: draws the weights from this seed and leaves torch's own random state as it was;
            None draws from torch's random state.
    """
    if seed is None:
        return MBConvNet(spec)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return MBConvNet(spec)
