"""Names of timm's EfficientNet, MobileNetV2 and ResNet, computed from the spec."""

from scalesearch.design.spec import RESNET_BLOCKS, NetSpec
from scalesearch.errors import UserError
from scalesearch.nets.naming import BlockPlace, blocks, resnet_names


def timm_names(spec: NetSpec) -> dict[str, str]:
    """{canonical module path: timm's}: blocks by stage and index from 0, layers by what they do.

    ResNets have torchvision's names. Raises UserError for a hidden layer, which timm has in another shape.
    """
    if any(stage.block in RESNET_BLOCKS for stage in spec.stages):
        return resnet_names(spec)
    if spec.head.hidden:
        raise UserError(
            f"{spec.name}: head", f"a hidden layer of {spec.head.hidden}", "no hidden layer for timm's names"
        )
    last = len(spec.stages) + 1
    names = {
        "features.0.0": "conv_stem", "features.0.1": "bn1", f"features.{last}.0": "conv_head",
        f"features.{last}.1": "bn2", "classifier.1": "classifier",
    }  # fmt: skip
    for block in blocks(spec):
        foreign = f"blocks.{block.stage_number - 1}.{block.index}"
        norm = 0
        for number, layer in enumerate(_layers(block)):
            path = f"{block.canonical}.{number}"
            if layer == "se":
                names |= {f"{path}.fc1": f"{foreign}.se.conv_reduce", f"{path}.fc2": f"{foreign}.se.conv_expand"}
            else:
                norm += 1
                names |= {f"{path}.0": f"{foreign}.{layer}", f"{path}.1": f"{foreign}.bn{norm}"}
    return names


def _layers(block: BlockPlace) -> list[str]:
    """timm's names of a block's layers, in order."""
    if block.stage.block == "fused_mbconv":
        return ["conv_exp", "conv_pwl"] if block.expands else ["conv"]
    squeeze = ["se"] if block.stage.se_ratio else []
    if block.expands:
        return ["conv_pw", "conv_dw", *squeeze, "conv_pwl"]
    return ["conv_dw", *squeeze, "conv_pw"]  # a depthwise-separable block
