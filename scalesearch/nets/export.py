"""A network written for other programs, and run there before it is called done."""

import io
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal

import safetensors.torch
import torch
from torch import Tensor

from scalesearch.design.spec import NetSpec
from scalesearch.errors import UserError
from scalesearch.files import atomic, with_sorted_metadata
from scalesearch.nets.modules import MBConvNet
from scalesearch.nets.names import to_torchvision, torchvision_family
from scalesearch.nets.timm_model import timm_call, timm_state

Network = Callable[[Tensor], Tensor]
Format = Literal["onnx", "torch-export", "torchvision", "timm"]
SUFFIX = {"onnx": ".onnx", "torch-export": ".pt2", "torchvision": ".safetensors", "timm": ".safetensors"}
STATE_DICTS = ("torchvision", "timm")
# of the largest logit: a state dict is run by the same operators of torch, a graph by others
TOLERANCE: dict[Format, float] = {"onnx": 1e-4, "torch-export": 1e-4, "torchvision": 1e-5, "timm": 1e-5}


def export(
    network: MBConvNet, path: Path, format: Format, metadata: Mapping[str, str], dynamic_size: bool = False
) -> float:
    """Writes the network, in eval mode on the CPU, for a program that does not know this project.

    - "onnx": a graph with any batch size; needs the extra ``export``.
    - "torch-export": a ``torch.export`` program with any batch size.
    - "torchvision", "timm": a state dict under their names, as safetensors or, by suffix, a torch file.

    The file is read back and run on random images: a state dict by torchvision's or timm's own model, which must be
    there and take every tensor, at three sizes. It only appears where it gives the network's logits.

    Args:
        metadata: class names and normalisation, written beside the tensors where the format has a place for them.
        dynamic_size: whether a graph or program takes images of any height and width; run at three sizes, too.

    Returns:
        the largest difference of a logit.

    Raises:
        UserError: the other library has no model of these blocks, a package is missing, or the logits differ.
    """
    if dynamic_size and format in STATE_DICTS:
        raise UserError("--dynamic-size", f"a state dict, as --format {format} writes it, fits images of any size.")
    network.eval()
    encode, load = WAYS[format]
    content = encode(network, path.suffix, metadata, dynamic_size)  # in memory: not all writers survive a full disk
    with atomic(path) as temporary:
        temporary.write_bytes(content)
        written = load(network.spec, temporary)
        tried = shapes(network.spec, dynamic_size or format in STATE_DICTS)
        return max(difference(network, written, shape, TOLERANCE[format], path) for shape in tried)


def shapes(spec: NetSpec, any_size: bool) -> list[tuple[int, int, int]]:
    """Batch, height and width of the images that a file is run on."""
    resolution = spec.resolution
    own = [(1, resolution, resolution), (3, resolution, resolution)]
    larger, smaller = resolution * 9 // 8 + 1, max(resolution * 7 // 8, spec.reduction + 1)
    return [*own, (2, larger, larger), (2, smaller, resolution + 1)] if any_size else own


@torch.inference_mode()
def difference(
    network: MBConvNet, written: Network, shape: tuple[int, int, int], tolerance: float, path: Path
) -> float:
    """The largest of a logit, on images of one shape. Raises UserError where it is too large."""
    images = _images(network.spec, *shape)
    expected, logits = network(images), written(images)
    largest = float((logits - expected).abs().max())
    if not largest <= tolerance * float(expected.abs().max()):
        size = f"{shape[1]}×{shape[2]} px"
        problem = f"read back, it gives logits that differ by {largest:.2g} from the network's own on {size}."
        raise UserError(str(path), problem)
    return largest


def _images(spec: NetSpec, batch: int, height: int, width: int) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(batch, spec.in_channels, height, width, generator=generator)


def _traced(network: MBConvNet, dynamic_size: bool) -> torch.export.ExportedProgram:
    """The network's graph with any batch size and, if asked, any height and width above its reduction.

    Raises UserError where no size that it is used at lies above: torch fixes the size of a map of one pixel.
    """
    spec, batch = network.spec, torch.export.Dim("batch")
    if not dynamic_size:
        return torch.export.export(
            network, (_images(spec, 2, spec.resolution, spec.resolution),), dynamic_shapes=({0: batch},)
        )
    if spec.resolution <= spec.reduction:
        own, least = spec.resolution, spec.reduction + 1
        problem = f"at the network's {own} px its last map is one pixel, whose size torch fixes; it needs {least} px."
        raise UserError("--dynamic-size", problem, do="Leave it out.")
    height, width = (torch.export.Dim(name, min=spec.reduction + 1) for name in ("height", "width"))
    traced_px = max(spec.resolution, 2 * spec.reduction + 1)
    return torch.export.export(
        network, (_images(spec, 2, traced_px, traced_px + 1),), dynamic_shapes=({0: batch, 2: height, 3: width},),
        prefer_deferred_runtime_asserts_over_guards=True,
    )  # fmt: skip


def _onnx(network: MBConvNet, suffix: str, metadata: Mapping[str, str], dynamic_size: bool) -> bytes:
    try:
        import onnx
        import onnxruntime  # noqa: F401 (needed to check what was written)
        import onnxscript  # noqa: F401 (torch's exporter needs it)
    except ImportError as error:
        problem = f"it needs onnx, onnxscript and onnxruntime, and there is no package {error.name}."
        raise UserError("--format onnx", problem, do="Run pip install 'scalesearch[export]'.") from None
    traced = _traced(network, dynamic_size)
    program = torch.onnx.export(traced, input_names=["images"], output_names=["logits"], dynamo=True, verbose=False)
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


def _program(network: MBConvNet, suffix: str, metadata: Mapping[str, str], dynamic_size: bool) -> bytes:
    program = _traced(network, dynamic_size)
    content = io.BytesIO()
    torch.export.save(program, content, extra_files={"metadata.json": json.dumps(dict(metadata))})
    return content.getvalue()


def _load_program(spec: NetSpec, path: Path) -> Network:
    return torch.export.load(io.BytesIO(path.read_bytes())).module()


def _torchvision(network: MBConvNet, suffix: str, metadata: Mapping[str, str], dynamic_size: bool) -> bytes:
    family = torchvision_family(network.spec)
    if family == "mnasnet" and suffix == ".safetensors":
        problem = "torchvision's MnasNet asks for a version beside the tensors, for which safetensors has no place."
        raise UserError("--format torchvision", problem, do="Give --out a name that ends in .pth.")
    state = to_torchvision(network.spec, network.state_dict(), family)
    return state_content(state, suffix, metadata)


def _timm(network: MBConvNet, suffix: str, metadata: Mapping[str, str], dynamic_size: bool) -> bytes:
    timm_call(network.spec)  # refused before anything is written
    return state_content(timm_state(network.spec, network.state_dict()), suffix, metadata)


def state_content(state: Mapping[str, Tensor], suffix: str, metadata: Mapping[str, str]) -> bytes:
    """The bytes of a file of tensors: safetensors, which alone holds the metadata, or by another suffix torch's."""
    if suffix == ".safetensors":
        tensors = {name: tensor.contiguous() for name, tensor in state.items()}
        return with_sorted_metadata(safetensors.torch.save(tensors, dict(metadata)))
    content = io.BytesIO()
    torch.save(state, content)  # a dict of torch's own may carry a version
    return content.getvalue()


def _load_torchvision(spec: NetSpec, path: Path) -> Network:
    from scalesearch.nets.torchvision_peer import torchvision_loaded

    return torchvision_loaded(spec, _read_state(path)).eval()


def _load_timm(spec: NetSpec, path: Path) -> Network:
    return timm_call(spec).model(path)


def _read_state(path: Path) -> dict[str, Tensor]:
    if path.suffix == ".safetensors":
        return safetensors.torch.load_file(path)
    state: dict[str, Tensor] = torch.load(path, weights_only=True)
    return state


# of a network, the file's suffix, metadata, and whether height and width are free
Encode = Callable[[MBConvNet, str, Mapping[str, str], bool], bytes]
WAYS: dict[Format, tuple[Encode, Callable[[NetSpec, Path], Network]]] = {
    "onnx": (_onnx, _load_onnx),
    "torch-export": (_program, _load_program),
    "torchvision": (_torchvision, _load_torchvision),
    "timm": (_timm, _load_timm),
}
