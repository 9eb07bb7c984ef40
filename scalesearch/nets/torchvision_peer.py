"""torchvision's own modules of the shapes that a spec describes."""

from collections.abc import Callable, Mapping
from functools import partial

from torch import Tensor, nn
from torchvision.models.efficientnet import EfficientNet, FusedMBConvConfig, MBConvConfig
from torchvision.models.mnasnet import MNASNet
from torchvision.models.mobilenetv2 import MobileNetV2
from torchvision.models.mobilenetv3 import InvertedResidualConfig, MobileNetV3
from torchvision.models.resnet import BasicBlock, Bottleneck, ResNet

from scalesearch.design.spec import NetSpec, expanded_width
from scalesearch.errors import UserError
from scalesearch.nets.modules import empty_state
from scalesearch.nets.names import to_torchvision, torchvision_family

MNASNET_ALPHAS = (0.5, 0.75, 1.0, 1.3)
BASE_WIDTH = 64  # of a ResNet's first stage in torchvision


def torchvision_loaded(spec: NetSpec, state: Mapping[str, Tensor]) -> nn.Module:
    """torchvision's own module of a spec's shape with these tensors, which carry torchvision's names.

    Raises UserError where torchvision has no module of this shape.
    """
    peer = torchvision_module(spec)
    try:
        peer.load_state_dict(state)
    except RuntimeError as error:
        mismatch = str(error).splitlines()[-1].strip().rstrip(".")
        raise _not_torchvisions(spec, f"whose tensors do not fit ({mismatch})") from None
    return peer


def torchvision_module(spec: NetSpec) -> nn.Module:
    """torchvision's own module of a spec's shape. Raises UserError where it has none."""
    norm = partial(nn.BatchNorm2d, eps=spec.batch_norm.eps, momentum=spec.batch_norm.momentum)
    if spec.padding != "symmetric":
        raise _not_torchvisions(spec, f'whose padding is "{spec.padding}"')
    if torchvision_family(spec) == "resnet":
        return _resnet(spec, norm)
    if (spec.stem.kernel, spec.stem.stride) != (3, 2):
        raise _not_torchvisions(spec, f"whose stem has kernel {spec.stem.kernel} and stride {spec.stem.stride}")
    if torchvision_family(spec) == "mobilenet_v3":
        return _mobilenet_v3(spec, norm)
    if torchvision_family(spec) == "mnasnet":
        return _mnasnet(spec)
    if torchvision_family(spec) == "mobilenet_v2":
        settings = [[stage.expand_ratio, stage.width, stage.depth, stage.stride] for stage in spec.stages]
        mobile: nn.Module = MobileNetV2(
            spec.classes, 1.0, settings, round_nearest=1, dropout=spec.dropout, norm_layer=norm
        )
        return mobile
    squeezes = {"mbconv": 0.25, "fused_mbconv": 0.0}
    if spec.activation != "silu" or any(stage.se_ratio != squeezes.get(stage.block) for stage in spec.stages):
        raise _not_torchvisions(spec, "whose blocks are not EfficientNet's")
    widths = (spec.stem.width, *spec.widths)
    rows = [
        (MBConvConfig if s.block == "mbconv" else FusedMBConvConfig)(
            s.expand_ratio, s.kernel, s.stride, width_in, s.width, s.depth
        )
        for s, width_in in zip(spec.stages, widths, strict=False)
    ]
    peer: nn.Module = EfficientNet(
        rows, spec.dropout, spec.drop_path, spec.classes, norm_layer=norm, last_channel=spec.head.width
    )
    return peer


def _mnasnet(spec: NetSpec) -> nn.Module:
    """torchvision's MnasNet takes nothing but a multiplier of its widths, and counts on batch norm's usual eps."""
    for alpha in MNASNET_ALPHAS if spec.batch_norm.eps == 1e-5 else ():
        peer: nn.Module = MNASNet(alpha, spec.classes, spec.dropout)
        names = to_torchvision(spec, empty_state(spec), "mnasnet")
        if [t.shape for t in peer.state_dict().values()] == [t.shape for t in names.values()]:
            return peer
    raise _not_torchvisions(spec, "which is none of its MnasNets")


def _mobilenet_v3(spec: NetSpec, norm: Callable[..., nn.Module]) -> nn.Module:
    """torchvision's MobileNetV3 takes each block's expanded width, in multiples of 8."""
    if any(stage.block != "mbconv" for stage in spec.stages):
        raise _not_torchvisions(spec, "whose blocks are not MobileNetV3's")
    rows, width_in = [], spec.stem.width
    for stage in spec.stages:
        for index in range(stage.depth):
            activation = "HS" if (stage.activation or spec.activation) == "hardswish" else "RE"
            expanded = expanded_width(stage, width_in)
            rows.append(
                InvertedResidualConfig(
                    width_in, stage.kernel, expanded, stage.width, stage.se_ratio > 0, activation,
                    stage.stride if index == 0 else 1, 1, 1.0,
                )
            )  # fmt: skip
            width_in = stage.width
    peer: nn.Module = MobileNetV3(rows, spec.head.hidden, spec.classes, dropout=spec.dropout, norm_layer=norm)
    return peer


def _resnet(spec: NetSpec, norm: Callable[..., nn.Module]) -> nn.Module:
    """torchvision's ResNet fixes all but blocks, depths and the share that is inside bottlenecks."""
    kinds = {stage.block for stage in spec.stages}
    block: type[BasicBlock | Bottleneck] = {"basic": BasicBlock, "bottleneck": Bottleneck}[spec.stages[0].block]
    inner = round(BASE_WIDTH * block.expansion * spec.stages[0].expand_ratio)
    if len(spec.stages) != 4 or len(kinds) > 1 or spec.activation != "relu":
        raise _not_torchvisions(spec, "which is other than four stages of one kind of block and ReLU")
    peer: nn.Module = ResNet(block, list(spec.depths), spec.classes, width_per_group=inner, norm_layer=norm)
    return peer


def _not_torchvisions(spec: NetSpec, why: str) -> UserError:
    problem = f"torchvision has no module for {spec.name}, {why}."
    return UserError("--format torchvision", problem, do="Use timm, onnx or torch-export.")
