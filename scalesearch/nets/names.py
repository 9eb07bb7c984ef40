"""Tensor names of other implementations, computed from the spec.

Canonical names are torchvision's EfficientNet's. A table maps module paths (``features.1.0.block.0.0``);
a tensor's last part (``weight``, ``running_mean``, ``num_batches_tracked``, …) is the same everywhere.
"""

import itertools
from collections import OrderedDict
from collections.abc import Mapping
from typing import Literal

from torch import Tensor

from scalesearch.design.spec import RESNET_BLOCKS, NetSpec
from scalesearch.errors import UserError
from scalesearch.nets.layers import blocks
from scalesearch.units import counted

# "efficientnet_lite": EfficientNet's names with the squeeze-excitation's place in the block left empty
Family = Literal["efficientnet", "efficientnet_lite", "mobilenet_v2", "mobilenet_v3", "mnasnet", "resnet"]


def require_plain(spec: NetSpec, family: str) -> None:
    """Refuses a spec whose blocks the family cannot name: squeeze-excitation or fused blocks."""
    for number, stage in enumerate(spec.stages, start=1):
        if stage.se_ratio or stage.block != "mbconv":
            given = f'"{stage.block}" with se_ratio {stage.se_ratio:g}'
            problem = f'{family} weights have names for "mbconv" with se_ratio 0, not for {given}.'
            raise UserError(f"{spec.name}: stage {number}", problem)


def both(path: str, foreign: str) -> dict[str, str]:
    """A convolution and its batch norm, which lie beside each other at 0 and 1 in both namings."""
    return {f"{path}.{part}": f"{foreign}.{part}" for part in (0, 1)}


def efficientnet_names(spec: NetSpec) -> dict[str, str]:
    """No module is named otherwise: EfficientNet B0–B7 and V2 are the canonical naming."""
    return {}


def efficientnet_lite_names(spec: NetSpec) -> dict[str, str]:
    """{canonical: foreign} where blocks without squeeze-excitation leave its index empty (project is ``block.3``)."""
    names: dict[str, str] = {}
    for block in blocks(spec):
        if block.stage.block == "mbconv" and not block.stage.se_ratio:
            last = block.layers[-1].number
            names |= both(f"{block.path}.block.{last}", f"{block.path}.block.{last + 1}")
    return names


def mobilenet_v2_names(spec: NetSpec) -> dict[str, str]:
    """{canonical: torchvision's ``mobilenet_v2``}: blocks counted through, the projection not nested.

    Raises UserError for squeeze-excitation or fused blocks.
    """
    require_plain(spec, "mobilenet_v2")
    names = both(f"features.{len(spec.stages) + 1}", f"features.{sum(spec.depths) + 1}")
    for block in blocks(spec):
        foreign = f"features.{block.number}.conv"
        for number in range(len(block.layers)):
            names |= both(f"{block.path}.block.{number}", f"{foreign}.{number}")
        last = len(block.layers) - 1
        names |= {f"{block.path}.block.{last}.{part}": f"{foreign}.{last + part}" for part in (0, 1)}
    return names


def mnasnet_names(spec: NetSpec) -> dict[str, str]:
    """{canonical: torchvision's ``mnasnet``}: one flat list ``layers``; each convolution takes three places.

    Raises UserError for squeeze-excitation or fused blocks, and where not exactly the first stage is a
    single block without expansion.
    """
    require_plain(spec, "mnasnet")
    names = {f"features.0.{part}": f"layers.{part}" for part in (0, 1)}
    names |= {f"features.{len(spec.stages) + 1}.{part}": f"layers.{7 + len(spec.stages) + part}" for part in (0, 1)}
    for block in blocks(spec):
        first = block.number == 1
        if block.expands == first or (first and block.stage.depth != 1):
            raise UserError(
                f"{spec.name}: {block.path}.block",
                "mnasnet weights have one block without expansion in stage 1 and expansion in all others; this one has "
                f"an expand_ratio of {block.stage.expand_ratio:g} and {counted(block.stage.depth, 'block')}.",
            )
        stack = "layers." if first else f"layers.{6 + block.stage_number}.{block.index}.layers."
        for layer in block.layers:
            for part in (0, 1):
                place = 3 * (layer.number + int(first)) + part
                names[f"{block.path}.block.{layer.number}.{part}"] = f"{stack}{place}"
    return names


def mobilenet_v3_names(spec: NetSpec) -> dict[str, str]:
    """{canonical: torchvision's ``mobilenet_v3``}: blocks counted through, the hidden layer first in the classifier.

    Raises UserError for other blocks than MBConv, and for a network without hidden layer.
    """
    if not spec.head.hidden or any(stage.block != "mbconv" for stage in spec.stages):
        raise UserError(spec.name, "mobilenet_v3 weights have MBConv blocks alone and a head with a hidden layer.")
    names = {"hidden.0": "classifier.0", "classifier.1": "classifier.3"}
    names |= both(f"features.{len(spec.stages) + 1}", f"features.{sum(spec.depths) + 1}")
    for block in blocks(spec):
        for name in (name for layer in block.layers for name in (layer.path, layer.norm) if name):
            names[f"{block.path}.{name}"] = f"features.{block.number}.{name}"
    return names


def resnet_names(spec: NetSpec) -> dict[str, str]:
    """{canonical: torchvision's ``resnet``, which is timm's too}: ``layer1`` to ``layer4``, ``downsample``, ``fc``.

    Raises UserError for other blocks than ResNet's, and for a head convolution.
    """
    names = {"features.0.0": "conv1", "features.0.1": "bn1", "classifier.1": "fc"}
    if spec.head.width or spec.head.hidden:
        raise UserError(f"{spec.name}: head", f"resnet weights have no head, and this one is {spec.head.width} wide.")
    for block in blocks(spec):
        if block.stage.block not in RESNET_BLOCKS:
            problem = f'resnet weights have "basic" or "bottleneck" blocks, not "{block.stage.block}".'
            raise UserError(f"{spec.name}: stage {block.stage_number}", problem)
        foreign = f"layer{block.stage_number}.{block.index}"
        for layer in block.layers:
            if layer.role == "shortcut":
                names |= both(f"{block.path}.shortcut", f"{foreign}.downsample")
            else:
                names[f"{block.path}.{layer.path}"] = f"{foreign}.conv{layer.number + 1}"
                names[f"{block.path}.{layer.norm}"] = f"{foreign}.bn{layer.number + 1}"
    return names


TIMM = {"expand": "conv_pw", "depthwise": "conv_dw", "squeeze": "se.conv_reduce", "excite": "se.conv_expand",
        "project": "conv_pwl", "fused": "conv_exp"}  # fmt: skip
TIMM_PLAIN = {**TIMM, "project": "conv_pw", "fused": "conv"}  # blocks without expansion


def timm_names(spec: NetSpec) -> dict[str, str]:
    """{canonical module path: timm's}: blocks by stage and index from 0, layers by what they do.

    ResNets have torchvision's names. A network with a hidden layer (MobileNetV3) has its head as one more stage of one
    convolution, and the hidden layer as a 1×1 convolution on the pooled image.
    """
    if any(stage.block in RESNET_BLOCKS for stage in spec.stages):
        return resnet_names(spec)
    last, starts = f"features.{len(spec.stages) + 1}", timm_stages(spec)
    names = {"features.0.0": "conv_stem", "features.0.1": "bn1", "classifier.1": "classifier"}
    if spec.head.hidden:
        head = f"blocks.{starts[-1][0] + 1}.0"
        names |= {f"{last}.0": f"{head}.conv", f"{last}.1": f"{head}.bn1", "hidden.0": "conv_head"}
    else:
        names |= {f"{last}.0": "conv_head", f"{last}.1": "bn2"}
    for block in blocks(spec):
        group, start = starts[block.stage_number - 1]
        foreign = f"blocks.{group}.{start + block.index}"
        for layer in block.layers:
            names[f"{block.path}.{layer.path}"] = f"{foreign}.{(TIMM if block.expands else TIMM_PLAIN)[layer.role]}"
        for number, norm in enumerate((layer.norm for layer in block.layers if layer.norm), start=1):
            names[f"{block.path}.{norm}"] = f"{foreign}.bn{number}"
    return names


def timm_stages(spec: NetSpec) -> list[tuple[int, int]]:
    """Stage and index from 0 that each stage's first block has in timm. A stage that differs from the one before in its
    expansion alone goes on with that one, whose depth is fixed."""
    starts, following = [(0, 0)], (0, spec.stages[0].depth)
    for before, stage in itertools.pairwise(spec.stages):
        goes_on = not before.depth_scaled and before.width == stage.width and stage.stride == 1
        starts.append(following if goes_on else (following[0] + 1, 0))
        following = (starts[-1][0], starts[-1][1] + stage.depth)
    return starts


LUKEMELAS = {
    "expand": ("_expand_conv", "_bn0"), "depthwise": ("_depthwise_conv", "_bn1"), "squeeze": ("_se_reduce", ""),
    "excite": ("_se_expand", ""), "project": ("_project_conv", "_bn2"),
}  # fmt: skip


def lukemelas_names(spec: NetSpec) -> dict[str, str]:
    """{canonical: that of ``efficientnet_pytorch`` (lukemelas/EfficientNet-PyTorch)}: blocks counted through from 0.

    Raises UserError for fused blocks.
    """
    last = len(spec.stages) + 1
    names = {
        "features.0.0": "_conv_stem", "features.0.1": "_bn0",
        f"features.{last}.0": "_conv_head", f"features.{last}.1": "_bn1", "classifier.1": "_fc",
    }  # fmt: skip
    for block in blocks(spec):
        if block.stage.block != "mbconv":
            problem = f'efficientnet_pytorch has names for "mbconv" blocks, not for "{block.stage.block}".'
            raise UserError(f"{spec.name}: stage {block.stage_number}", problem)
        for layer in block.layers:
            for own, foreign in zip((layer.path, layer.norm), LUKEMELAS[layer.role], strict=True):
                names[f"{block.path}.{own}"] = f"_blocks.{block.number - 1}.{foreign}"
    return names


NAMES = {
    "efficientnet": efficientnet_names,
    "efficientnet_lite": efficientnet_lite_names,
    "mobilenet_v2": mobilenet_v2_names,
    "mobilenet_v3": mobilenet_v3_names,
    "mnasnet": mnasnet_names,
    "resnet": resnet_names,
}
NAMINGS = {**NAMES, "timm": timm_names, "lukemelas": lukemelas_names}


def rename(state: Mapping[str, Tensor], modules: Mapping[str, str]) -> OrderedDict[str, Tensor]:
    """The same tensors under new module paths; a name that the table does not know stays."""
    renamed = OrderedDict()
    for name, tensor in state.items():
        module, _, leaf = name.rpartition(".")
        renamed[f"{modules.get(module, module)}.{leaf}" if module else name] = tensor
    return renamed


def to_torchvision(spec: NetSpec, state: Mapping[str, Tensor], family: Family) -> OrderedDict[str, Tensor]:
    """A canonical state dict under the family's names; loads strictly into torchvision's module.

    Raises UserError where the family has no names for the spec's blocks.
    """
    renamed = rename(state, NAMES[family](spec))
    if family == "mnasnet":
        # torchvision's MNASNet refuses a state dict that does not carry its layout version
        renamed._metadata = {"": {"version": 2}}  # type: ignore[attr-defined]
    return renamed


def torchvision_family(spec: NetSpec) -> Family:
    """Whose names a spec's blocks have in torchvision: MobileNetV2's for plain ReLU6 blocks, MnasNet's for ReLU, else
    EfficientNet's."""
    if any(stage.block in RESNET_BLOCKS for stage in spec.stages):
        return "resnet"
    if spec.head.hidden:
        return "mobilenet_v3"
    plain = all(not stage.se_ratio and stage.block == "mbconv" for stage in spec.stages)
    if plain and spec.activation == "relu":
        return "mnasnet"
    return "mobilenet_v2" if plain and spec.activation == "relu6" and spec.padding == "symmetric" else "efficientnet"
