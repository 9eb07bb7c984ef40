"""Names of the ``efficientnet_pytorch`` package (lukemelas/EfficientNet-PyTorch), computed from the spec."""

from scalesearch.design.spec import NetSpec
from scalesearch.errors import UserError
from scalesearch.nets.naming import blocks


def lukemelas_names(spec: NetSpec) -> dict[str, str]:
    """{canonical module path: that of ``efficientnet_pytorch``}: blocks counted through from 0.

    Raises UserError for fused blocks.
    """
    last = len(spec.stages) + 1
    names = {
        "features.0.0": "_conv_stem", "features.0.1": "_bn0",
        f"features.{last}.0": "_conv_head", f"features.{last}.1": "_bn1", "classifier.1": "_fc",
    }  # fmt: skip
    for block in blocks(spec):
        if block.stage.block != "mbconv":
            raise UserError(f"{spec.name}: stage {block.stage_number}", block.stage.block, "mbconv")
        foreign, number = f"_blocks.{block.number - 1}", 0
        layers = [("_depthwise_conv", "_bn1"), ("_project_conv", "_bn2")]
        if block.expands:
            layers.insert(0, ("_expand_conv", "_bn0"))
        for convolution, norm in layers:
            if convolution == "_project_conv" and block.stage.se_ratio:
                names[f"{block.canonical}.{number}.fc1"] = f"{foreign}._se_reduce"
                names[f"{block.canonical}.{number}.fc2"] = f"{foreign}._se_expand"
                number += 1
            names[f"{block.canonical}.{number}.0"] = f"{foreign}.{convolution}"
            names[f"{block.canonical}.{number}.1"] = f"{foreign}.{norm}"
            number += 1
    return names
