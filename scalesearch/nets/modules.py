"""A NetSpec made into a torch module. MBConv networks are named as torchvision's EfficientNet; others are named alike,
and ``nets.names`` has the names that torchvision gives them."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from scalesearch.design.blocks import LINEAR, BlockLayer, block_layers
from scalesearch.design.spec import POOL_STRIDE, RESNET_BLOCKS, NetSpec, Stage, shortcut_of
from scalesearch.nets.recompute import recomputed

# In place only where the gradient can be had from the output: SiLU and Hardswish need their input, so in place they
# would first copy it (a tenth of a training step on a CPU).
ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "silu": nn.SiLU,
    "relu6": partial(nn.ReLU6, inplace=True),
    "relu": partial(nn.ReLU, inplace=True),
    "hardswish": nn.Hardswish,
}
GATES: dict[str, Callable[[], nn.Module]] = {"efficientnet": nn.Sigmoid, "mobilenet_v3": nn.Hardsigmoid}
LINEAR_DEVIATION = 0.01  # of fresh weights: the first logits are near zero, the first loss near log(classes)


def same_padding(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """Pixels before and after a side of ``size`` pixels, as TensorFlow's SAME: the odd one goes after.

    >>> same_padding(224, kernel=3, stride=2), same_padding(225, kernel=3, stride=2)
    ((0, 1), (1, 1))
    """
    total = kernel - 1 - (size - 1) % stride
    if kernel < stride:
        total = max(total, 0)
    return total // 2, total - total // 2


class SameConv2d(nn.Conv2d):
    """A convolution padded as TensorFlow's SAME for whatever size comes in: (N, C, H, W) → ⌈H/stride⌉×⌈W/stride⌉."""

    def forward(self, input: Tensor) -> Tensor:
        """(N, C, H, W) → (N, C', ⌈H/stride⌉, ⌈W/stride⌉)."""
        # plain arithmetic on what comes in, so that a trace, a script and an exported program keep it
        top, bottom = same_padding(input.shape[-2], self.kernel_size[0], self.stride[0])
        left, right = same_padding(input.shape[-1], self.kernel_size[1], self.stride[1])
        images = F.pad(input, [left, right, top, bottom])
        result: Tensor = self._conv_forward(images, self.weight, self.bias)
        return result


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


def squeeze_activations(spec: NetSpec, stage: Stage) -> tuple[Callable[[], nn.Module], Callable[[], nn.Module]]:
    """Makers of what stands between squeeze and excitation, and of the gate."""
    inside = "relu" if stage.squeeze == "mobilenet_v3" else stage.activation or spec.activation
    return ACTIVATIONS[inside], GATES[stage.squeeze]


def branch(spec: NetSpec, stage: Stage, layers: Sequence[BlockLayer]) -> nn.Sequential:
    """The convolutions of a block in order, a squeeze and its excitation as one module."""
    from torchvision.ops import SqueezeExcitation  # imports torch's compiler: a second, which not every command needs

    modules: list[nn.Module] = []
    for layer in layers:
        if layer.role == "squeeze":
            modules.append(SqueezeExcitation(layer.width_in, layer.width, *squeeze_activations(spec, stage)))
        elif layer.role != "excite":
            groups = layer.width if layer.role == "depthwise" else 1
            modules.append(
                convolution(
                    spec, layer.width_in, layer.width, layer.kernel, layer.stride, groups=groups,
                    activate=layer.role not in LINEAR,
                )
            )  # fmt: skip
    return nn.Sequential(*modules)


class Repeated(nn.Module):
    """One of the blocks that a network's body repeats; ``training.sections`` counts them."""


class Block(Repeated):
    """One block: a branch, and its input or a projection of it added where ``shortcut_of`` says so.

    Activation follows the sum in a ResNet's block and nothing in an MBConv block.
    """

    def __init__(self, spec: NetSpec, stage: Stage, width_in: int, stride: int, drop_path: float) -> None:
        from torchvision.ops import StochasticDepth

        super().__init__()
        layers = block_layers(stage, width_in, stride)
        self.block = branch(spec, stage, [layer for layer in layers if layer.role != "shortcut"])
        self.stochastic_depth = StochasticDepth(drop_path, "row")
        self.residual = shortcut_of(stage, width_in, stride) != "none"
        self.shortcut: nn.Module = nn.Identity()
        if layers[-1].role == "shortcut":
            self.shortcut = convolution(spec, width_in, stage.width, 1, stride, activate=False)
        self.activation = ACTIVATIONS[spec.activation]() if stage.block in RESNET_BLOCKS else nn.Identity()

    def forward(self, input: Tensor) -> Tensor:
        """(N, C, H, W) → (N, C', ⌈H/stride⌉, ⌈W/stride⌉)."""
        result: Tensor = self.block(input)
        if self.residual:
            result = self.stochastic_depth(result)
            result += self.shortcut(input)
        result = self.activation(result)
        return result


def stem(spec: NetSpec) -> nn.Sequential:
    """The first convolution, and the max-pool where the spec has one."""
    layers = convolution(spec, spec.in_channels, spec.stem.width, spec.stem.kernel, spec.stem.stride)
    if spec.stem.max_pool:
        layers.append(nn.MaxPool2d(3, POOL_STRIDE, padding=1))
    return layers


def stages(spec: NetSpec) -> Iterator[nn.Sequential]:
    """Each stage's blocks; stochastic depth grows linearly over all blocks, from 0 at the first."""
    width_in, block_number, block_count = spec.stem.width, 0, sum(spec.depths)
    for stage in spec.stages:
        within = replace(spec, activation=stage.activation or spec.activation)
        blocks = []
        for index in range(stage.depth):
            drop_path = spec.drop_path * block_number / block_count
            blocks.append(Block(within, stage, width_in, stage.stride if index == 0 else 1, drop_path))
            width_in, block_number = stage.width, block_number + 1
        yield nn.Sequential(*blocks)


class MBConvNet(nn.Module):
    """Stem, stages, head, average pooling, hidden layer, classifier; head and hidden layer where the spec has them.

    ``spec`` is the architecture it was built from. Methods and attributes that timm's networks have, too, mean the
    same: ``num_classes``, ``num_features`` (channels of ``forward_features``), ``head_hidden_size`` (width of what the
    classifier reads), ``feature_info``.
    """

    def __init__(self, spec: NetSpec) -> None:
        super().__init__()
        self.spec = spec
        pooled, hidden = spec.pooled_width, spec.head.hidden
        self.num_classes, self.num_features, self.head_hidden_size = spec.classes, pooled, hidden or pooled
        self.feature_info, self.grad_checkpointing = feature_info(spec), False
        self.features = nn.Sequential(stem(spec), *stages(spec))
        if spec.head.width:
            self.features.append(convolution(spec, spec.widths[-1], spec.head.width))
        self.avgpool: nn.Module = nn.AdaptiveAvgPool2d(1)
        self.flatten: nn.Module = nn.Flatten()
        self.hidden = nn.Sequential()
        if hidden:
            self.hidden.extend([nn.Linear(pooled, hidden), ACTIVATIONS[spec.activation]()])
        self.classifier = nn.Sequential(nn.Dropout(spec.dropout), nn.Linear(self.head_hidden_size, spec.classes))
        for module in self.modules():
            initialise(module)

    def forward_features(self, images: Tensor) -> Tensor:
        """Images (N, in_channels, H, W), any H and W → the map that is pooled (N, num_features, h, w)."""
        if torch.jit.is_scripting() or not self.grad_checkpointing:  # type: ignore[attr-defined]
            features: Tensor = self.features(images)
            return features
        return self._recomputed(images)

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        """What ``forward_features`` gives → logits (N, classes), or with ``pre_logits`` what the classifier reads,
        (N, head_hidden_size), dropout done."""
        pooled: Tensor = self.hidden(self.flatten(self.avgpool(x)))
        result: Tensor = self.classifier[0](pooled) if pre_logits else self.classifier(pooled)
        return result

    def forward(self, images: Tensor) -> Tensor:
        """Images (N, in_channels, H, W), any H and W → logits (N, classes)."""
        return self.forward_head(self.forward_features(images))

    def get_classifier(self) -> nn.Module:
        """The linear layer that makes logits; an identity where ``reset_classifier(0)`` took it away."""
        layer: nn.Module = self.classifier[-1]
        return layer

    def reset_classifier(self, num_classes: int, global_pool: str | None = None) -> None:
        """A new classifier, and ``spec`` with its classes.

        Args:
            num_classes: 0 takes the classifier away, so that the network gives what it would read; ``spec``, which must
                have a class, then stays, and such a network cannot be saved as a model.
            global_pool: "avg"; "", with 0 classes and no hidden layer, gives the map unpooled; None keeps what is.

        Raises:
            ValueError: another pooling, or none before a linear layer.
        """
        unpooled = isinstance(self.avgpool, nn.Identity) if global_pool is None else not global_pool
        if global_pool not in (None, "avg", "") or (unpooled and (num_classes or self.spec.head.hidden)):
            raise ValueError(f"global_pool {global_pool!r}: it is avg, or with 0 classes and no hidden layer ''")
        like = next(self.parameters())
        self.avgpool = nn.Identity() if unpooled else nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Identity() if unpooled else nn.Flatten()
        layer: nn.Module = nn.Identity()
        if num_classes:
            self.spec = replace(self.spec, classes=num_classes)
            layer = nn.Linear(self.head_hidden_size, num_classes, device=like.device, dtype=like.dtype)
            initialise(layer)
        self.classifier = nn.Sequential(nn.Dropout(self.spec.dropout), layer).train(self.training)
        self.num_classes = num_classes

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Whether blocks, stem and head are ``recomputed`` in training, which takes less memory and more time."""
        self.grad_checkpointing = enable

    @torch.jit.unused
    def _recomputed(self, images: Tensor) -> Tensor:
        for part in self.features:
            blocks: list[nn.Module] = [module for module in part.children() if isinstance(module, Repeated)]
            for module in blocks or [part]:
                images = recomputed(module, module.forward, images)
        return images


def feature_info(spec: NetSpec) -> list[dict[str, int | str]]:
    """Of each size of map, from the largest, the last module that makes it before the head, as timm lists them:
    ``stage`` (0: the stem), ``num_chs`` (channels), ``reduction`` (the image's side over the map's), ``module``."""
    rows = {spec.stem.stride: (0, spec.stem.width, "features.0.2" if spec.stem.max_pool else "features.0")}
    reduction = spec.stem.reduction
    for number, stage in enumerate(spec.stages, start=1):
        reduction *= stage.stride
        rows[reduction] = (number, stage.width, f"features.{number}")
    return [
        {"stage": stage, "num_chs": width, "reduction": reduction, "module": module}
        for reduction, (stage, width, module) in rows.items()
    ]


def initialise(module: nn.Module) -> None:
    """torchvision's initialisation: convolutions Kaiming normal by fan-out, linear layers N(0, 0.01), biases 0.

    Linear layers as in its MobileNets. Its EfficientNet draws the classifier from U(±1/√classes), which with few
    classes is so wide that the first loss is far above that of guessing and a short training never recovers.
    """
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, mode="fan_out")
    elif isinstance(module, nn.BatchNorm2d):
        nn.init.ones_(module.weight)
    elif isinstance(module, nn.Linear):
        nn.init.normal_(module.weight, 0, LINEAR_DEVIATION)
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


def empty_state(spec: NetSpec) -> dict[str, Tensor]:
    """The names and shapes of a spec's tensors; takes no memory for values."""
    with torch.device("meta"):
        return build(spec).state_dict()
