"""Tensor names of other implementations, computed from the spec, and whose network a state dict is.

Canonical names are torchvision's EfficientNet's. A table maps module paths (``features.1.0.block.0.0``);
a tensor's last part (``weight``, ``running_mean``, ``num_batches_tracked``, …) is the same everywhere.
"""

import re
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Literal

from torch import Tensor

from scalesearch.design.scaling import published_spec
from scalesearch.design.space import load_space, space_names
from scalesearch.design.spec import RESNET_BLOCKS, NetSpec
from scalesearch.errors import UserError
from scalesearch.nets.layers import blocks, layers
from scalesearch.nets.modules import empty_state
from scalesearch.units import counted

# "efficientnet_lite": EfficientNet's names with the squeeze-excitation's place in the block left empty
Family = Literal["efficientnet", "efficientnet_lite", "mobilenet_v2", "mobilenet_v3", "mnasnet", "resnet"]

WRAPPERS = re.compile(r"^(?:module\.|_orig_mod\.|model\.)+")  # left by DataParallel, torch.compile and Lightning
BODY = ("features.", "blocks.", "_blocks.", "layer")


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

    ResNets have torchvision's names. Raises UserError for a hidden layer, which timm has in another shape.
    """
    if any(stage.block in RESNET_BLOCKS for stage in spec.stages):
        return resnet_names(spec)
    if spec.head.hidden:
        raise UserError(f"{spec.name}: head", f"timm has no name for a hidden layer, here of {spec.head.hidden}.")
    last = len(spec.stages) + 1
    names = {
        "features.0.0": "conv_stem", "features.0.1": "bn1", f"features.{last}.0": "conv_head",
        f"features.{last}.1": "bn2", "classifier.1": "classifier",
    }  # fmt: skip
    for block in blocks(spec):
        foreign = f"blocks.{block.stage_number - 1}.{block.index}"
        for layer in block.layers:
            names[f"{block.path}.{layer.path}"] = f"{foreign}.{(TIMM if block.expands else TIMM_PLAIN)[layer.role]}"
        for number, norm in enumerate((layer.norm for layer in block.layers if layer.norm), start=1):
            names[f"{block.path}.{norm}"] = f"{foreign}.bn{number}"
    return names


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


def known_specs() -> Iterator[NetSpec]:
    """The shipped baselines and their released members."""
    for name in space_names():
        space = load_space(name)
        yield space.baseline
        for member in space.published:
            yield published_spec(space, member.name)


def identify(state: Mapping[str, Tensor], where: str) -> tuple[NetSpec, dict[str, Tensor]]:
    """The architecture of a state dict, and its tensors under canonical names.

    Known are the shipped baselines and released members at any width, named as torchvision, timm or
    efficientnet_pytorch name them. Strides, activation, padding and resolution are the known network's: they are not
    in the tensors. A missing classifier counts as the known one's.

    Raises UserError where nothing known has these tensors.
    """
    given = {WRAPPERS.sub("", name): tensor for name, tensor in state.items()}
    modules = {name.rpartition(".")[0] for name in given}
    fitting: list[tuple[NetSpec, dict[str, Tensor]]] = []
    for known in known_specs():
        paths = [path for layer in layers(known) for path in (layer.path, layer.norm) if path]
        for naming in NAMINGS.values():
            try:
                names = naming(known)
            except UserError:  # blocks that this naming has no words for
                continue
            expected = {path: names.get(path, path) for path in paths}
            if not all(name in modules for path, name in expected.items() if not path.startswith("classifier")):
                continue
            renamed = dict(rename(given, {foreign: path for path, foreign in expected.items()}))
            if any(name.startswith(BODY) and name.rpartition(".")[0] not in expected for name in renamed):
                continue  # a deeper network's
            spec = measured(known, renamed)
            if spec is None:
                continue
            if spec == replace(known, classes=spec.classes, in_channels=spec.in_channels):
                return spec, renamed
            fitting.append((spec, renamed))
    if fitting:
        return fitting[0]
    shown = ", ".join(list(given)[:3])
    raise UserError(
        where, f"it holds the tensors of no known network ({shown}, …). Known are EfficientNet, EfficientNet-Lite, "
        "MobileNetV2, MobileNetV3 and ResNet, named as torchvision, timm or efficientnet_pytorch name them, and models "
        "of scalesearch.",
    )  # fmt: skip


def measured(known: NetSpec, state: Mapping[str, Tensor]) -> NetSpec | None:
    """``known`` with the widths that the tensors have; None where kernels, expansion or squeeze are not its own."""
    widths: dict[int, int] = {}
    weights = {layer: state.get(f"{layer.path}.weight") for layer in layers(known)}
    if any(weight is not None and weight.ndim not in (2, 4) for weight in weights.values()):
        return None
    for layer, weight in weights.items():
        if weight is not None and layer.closes:
            widths[layer.stage] = len(weight)
    stem, classifier = state.get("features.0.0.weight"), state.get("classifier.1.weight")
    if stem is None or len(widths) < len(known.stages) or min(stem.shape[1], len(stem), *widths.values()) < 1:
        return None
    head, hidden = state.get(f"features.{len(known.stages) + 1}.0.weight"), state.get("hidden.0.weight")
    spec = replace(
        known,
        stem=replace(known.stem, width=len(stem)),
        stages=tuple(replace(stage, width=widths[number]) for number, stage in enumerate(known.stages, start=1)),
        head=replace(known.head, width=_rows(head), hidden=_rows(hidden)),
        in_channels=stem.shape[1],
        classes=known.classes if classifier is None else len(classifier),
    )
    own = empty_state(spec)
    fits = all(name not in own or tensor.shape == own[name].shape for name, tensor in state.items())
    return spec if fits else None


def _rows(weight: Tensor | None) -> int:
    return 0 if weight is None else len(weight)
