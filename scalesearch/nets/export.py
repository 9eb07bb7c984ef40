"""A network written for other programs, and run there before it is called done."""

import io
import json
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Literal

import safetensors.torch
import torch
from torch import Tensor, nn
from torchvision.models.efficientnet import EfficientNet, MBConvConfig
from torchvision.models.mobilenetv2 import MobileNetV2
from torchvision.models.mobilenetv3 import InvertedResidualConfig, MobileNetV3
from torchvision.models.resnet import BasicBlock, Bottleneck, ResNet

from scalesearch.design.spec import RESNET_BLOCKS, NetSpec, expanded_width
from scalesearch.errors import UserError
from scalesearch.files import atomic, with_sorted_metadata
from scalesearch.nets.modules import MBConvNet, build
from scalesearch.nets.names import Family, rename, timm_names, to_torchvision

Network = Callable[[Tensor], Tensor]
Format = Literal["onnx", "torch-export", "torchvision", "timm"]
SUFFIX = {"onnx": ".onnx", "torch-export": ".pt2", "torchvision": ".safetensors", "timm": ".safetensors"}
BASE_WIDTH = 64  # of a ResNet's first stage in torchvision
TOLERANCE = 1e-3  # of the logits' largest value
CHECKED_BATCHES = (1, 3)


def export(network: MBConvNet, path: Path, format: Format, metadata: Mapping[str, str]) -> float:
    """Writes the network, in eval mode on the CPU, for a program that does not know this project.

    - "onnx": a graph with any batch size; needs the extra ``export``.
    - "torch-export": a ``torch.export`` program with any batch size.
    - "torchvision", "timm": a state dict under their names, as safetensors or, by suffix, a torch file.

    The file is read back and run on random images, by torchvision's module for "torchvision" and by ours after renaming
    for "timm" (which need not be installed); it only appears where it gives the network's logits.

    Args:
        metadata: class names and normalisation, written beside the tensors where the format has a place for them.

    Returns:
        the largest difference of a logit.

    Raises:
        UserError: another format's names cannot hold these blocks, the extra is missing, or the logits differ.
    """
    network.eval()
    encode, load = WAYS[format]
    worst = 0.0
    content = encode(network, path.suffix, metadata)  # in memory: what writes by itself crashes on a full disk
    with atomic(path) as temporary:
        temporary.write_bytes(content)
        written = load(network.spec, temporary)
        for batch in CHECKED_BATCHES:
            images = _images(network.spec, batch)
            with torch.inference_mode():
                expected, logits = network(images), written(images)
            difference = float((logits - expected).abs().max())
            if not difference <= TOLERANCE * max(1.0, float(expected.abs().max())):
                problem = f"read back, it gives logits that differ by {difference:.2g} from the network's own."
                raise UserError(str(path), problem)
            worst = max(worst, difference)
    return worst


def _images(spec: NetSpec, batch: int) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(batch, spec.in_channels, spec.resolution, spec.resolution, generator=generator)


def _onnx(network: MBConvNet, suffix: str, metadata: Mapping[str, str]) -> bytes:
    try:
        import onnx
        import onnxruntime  # noqa: F401 (needed to check what was written)
        import onnxscript  # noqa: F401 (torch's exporter needs it)
    except ImportError as error:
        problem = f"it needs onnx, onnxscript and onnxruntime, and there is no package {error.name}."
        raise UserError("--format onnx", problem, do="Run pip install 'scalesearch[export]'.") from None
    batch = torch.export.Dim("batch")
    program = torch.onnx.export(
        network, (_images(network.spec, 2),), input_names=["images"], output_names=["logits"], dynamo=True,
        dynamic_shapes=({0: batch},), verbose=False,
    )  # fmt: skip
    assert program is not None
    model = program.model_proto
    for key, value in metadata.items():
        model.metadata_props.append(onnx.StringStringEntryProto(key=key, value=value))
    content: bytes = model.SerializeToString()
    return content


def _load_onnx(spec: NetSpec, path: Path) -> Network:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return lambda images: torch.from_numpy(session.run(["logits"], {"images": images.numpy()})[0])


def _program(network: MBConvNet, suffix: str, metadata: Mapping[str, str]) -> bytes:
    batch = torch.export.Dim("batch")
    program = torch.export.export(network, (_images(network.spec, 2),), dynamic_shapes=({0: batch},))
    content = io.BytesIO()
    torch.export.save(program, content, extra_files={"metadata.json": json.dumps(dict(metadata))})
    return content.getvalue()


def _load_program(spec: NetSpec, path: Path) -> Network:
    return torch.export.load(path).module()


def torchvision_family(spec: NetSpec) -> Family:
    """Whose names a spec's blocks have in torchvision: MobileNetV2's for plain ReLU6 blocks, else EfficientNet's."""
    if any(stage.block in RESNET_BLOCKS for stage in spec.stages):
        return "resnet"
    if spec.head.hidden:
        return "mobilenet_v3"
    plain = all(not stage.se_ratio and stage.block == "mbconv" for stage in spec.stages)
    return "mobilenet_v2" if plain and spec.activation == "relu6" and spec.padding == "symmetric" else "efficientnet"


def _torchvision(network: MBConvNet, suffix: str, metadata: Mapping[str, str]) -> bytes:
    state = to_torchvision(network.spec, network.state_dict(), torchvision_family(network.spec))
    return _state(state, suffix, metadata)


def _timm(network: MBConvNet, suffix: str, metadata: Mapping[str, str]) -> bytes:
    state = rename(network.state_dict(), timm_names(network.spec))
    if network.spec.head.hidden:  # a 1×1 convolution on the pooled image
        state["conv_head.weight"] = state["conv_head.weight"][:, :, None, None]
    return _state(state, suffix, metadata)


def _state(state: Mapping[str, Tensor], suffix: str, metadata: Mapping[str, str]) -> bytes:
    if suffix == ".safetensors":
        tensors = {name: tensor.contiguous() for name, tensor in state.items()}
        return with_sorted_metadata(safetensors.torch.save(tensors, dict(metadata)))
    content = io.BytesIO()
    torch.save(dict(state), content)
    return content.getvalue()


def _load_torchvision(spec: NetSpec, path: Path) -> Network:
    return torchvision_loaded(spec, _read_state(path)).eval()


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
    if torchvision_family(spec) == "mobilenet_v2":
        settings = [[stage.expand_ratio, stage.width, stage.depth, stage.stride] for stage in spec.stages]
        mobile: nn.Module = MobileNetV2(
            spec.classes, 1.0, settings, round_nearest=1, dropout=spec.dropout, norm_layer=norm
        )
        return mobile
    if spec.activation != "silu" or any(s.se_ratio != 0.25 or s.block != "mbconv" for s in spec.stages):
        raise _not_torchvisions(spec, "whose blocks are not EfficientNet's")
    widths = (spec.stem.width, *spec.widths)
    rows = [
        MBConvConfig(s.expand_ratio, s.kernel, s.stride, width_in, s.width, s.depth)
        for s, width_in in zip(spec.stages, widths, strict=False)
    ]
    peer: nn.Module = EfficientNet(
        rows, spec.dropout, spec.drop_path, spec.classes, norm_layer=norm, last_channel=spec.head.width
    )
    return peer


def _mobilenet_v3(spec: NetSpec, norm: Callable[..., nn.Module]) -> nn.Module:
    """torchvision's MobileNetV3 takes each block's expanded width, in multiples of 8."""
    if any(stage.block != "mbconv" for stage in spec.stages):
        raise _not_torchvisions(spec, "whose blocks are not MobileNetV3's")
    rows, width_in = [], spec.stem.width
    for stage in spec.stages:
        for index in range(stage.depth):
            activation = "HS" if (stage.activation or spec.activation) == "hardswish" else "RE"
            expanded = expanded_width(width_in, stage.expand_ratio)
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


def _load_timm(spec: NetSpec, path: Path) -> Network:
    network = build(spec, seed=1).eval()
    state = rename(_read_state(path), {foreign: own for own, foreign in timm_names(spec).items()})
    if spec.head.hidden:
        state["hidden.0.weight"] = state["hidden.0.weight"].flatten(1)
    network.load_state_dict(state)
    return network


def _read_state(path: Path) -> dict[str, Tensor]:
    if path.suffix == ".safetensors":
        return safetensors.torch.load_file(path)
    state: dict[str, Tensor] = torch.load(path, weights_only=True)
    return state


Encode = Callable[[MBConvNet, str, Mapping[str, str]], bytes]  # of a network, the file's suffix, metadata
WAYS: dict[Format, tuple[Encode, Callable[[NetSpec, Path], Network]]] = {
    "onnx": (_onnx, _load_onnx),
    "torch-export": (_program, _load_program),
    "torchvision": (_torchvision, _load_torchvision),
    "timm": (_timm, _load_timm),
}
