"""Weights on disk: this project's own files, and the tensors of other people's (whose they are: ``identify``)."""

import json
import re
import struct
import zipfile
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from scalesearch.design.spec import NetSpec
from scalesearch.errors import UserError
from scalesearch.files import BoundedFile, write_bytes
from scalesearch.nets.modules import MBConvNet, build

FORMAT = "scalesearch-network"
FORMAT_VERSION = 1
LARGEST_FILE = 64 << 30  # bytes: 4 billion parameters, optimizer and average beside them
INFLATED = 10  # times its size: trained weights hardly shrink, and torch.save does not compress
SHARED = 16  # times its size: tensors may share what is stored
# a counter that only batch norm without momentum reads; old state dicts lack it
COUNTER = "num_batches_tracked"


def save_network(
    path: Path, network: MBConvNet, extra: Mapping[str, str] | None = None, classes: Sequence[str] = ()
) -> None:
    """Writes the network as one safetensors file that ``load_network`` reads back; atomic.

    Args:
        path: the file; its folder is made where it is missing.
        network: on any device, in any memory format.
        extra: further metadata.
        classes: class names in the order of the logits.

    Raises:
        ValueError: ``extra`` holds a key of the format's own, the number of class names is not the spec's,
            or the network's tensors are no longer those of its spec.
        UserError: the file cannot be written.
    """
    metadata = {
        "format": FORMAT,
        "format_version": str(FORMAT_VERSION),
        "scalesearch_version": version("scalesearch"),
        "spec": json.dumps(network.spec.to_dict()),
    }
    if classes:
        metadata["classes"] = json.dumps(list(classes))
    if taken := metadata.keys() & (extra or {}).keys():
        raise ValueError(f"metadata keys are the format's own: {', '.join(sorted(taken))}")
    if classes and len(classes) != network.spec.classes:
        raise ValueError(f"{len(classes)} class names for a network of {network.spec.classes} classes")
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}
    if problems := misfits(empty_state(network.spec), state):
        raise ValueError(f"the network is not the one of its spec: {listed(problems)}")
    write_bytes(path, safetensors.torch.save(state, {**metadata, **(extra or {})}))


def load_network(path: Path) -> tuple[MBConvNet, dict[str, str]]:
    """The network of a file that ``save_network`` wrote, in evaluation mode on the CPU, and the file's metadata.

    Raises UserError for no file, a damaged or foreign file, a newer format, or tensors that are not the spec's.
    """
    state, metadata = read_safetensors(path)
    found = metadata.get("format", "")
    if found != FORMAT:
        ours = found.startswith("scalesearch-")  # a model of another kind; others write "pt" and the like
        raise UserError(
            str(path),
            f"a {found} file" if ours else "safetensors without this project's metadata",
            f"a {FORMAT} file, as finetune writes it",
            "" if ours else "Build the network first and load such weights into it.",
        )
    require_version(path, metadata, FORMAT_VERSION)
    return spec_network(path, state, metadata).eval(), metadata


def require_version(path: Path, metadata: Mapping[str, str], newest: int) -> None:
    """Raises UserError where a file's format version is newer than ``newest``, or none."""
    version = metadata.get("format_version", "")
    if not re.fullmatch(r"[0-9]{1,9}", version) or int(version) > newest:
        raise UserError(str(path), f'format version "{version}"', f"at most {newest}", "Update scalesearch to read it.")


def spec_network(path: Path, state: Mapping[str, Tensor], metadata: Mapping[str, str]) -> MBConvNet:
    """The network that a file's metadata describe, with the file's tensors, on the CPU.

    Raises UserError where it cannot be built, or the tensors are not its own.
    """
    try:
        spec = NetSpec.from_dict(json.loads(metadata["spec"]))
        blocks = sum(spec.depths)
        if blocks > len(state):  # before as many modules are made
            raise ValueError(f"{len(state)} tensors for {blocks} blocks")
        problems = misfits(empty_state(spec), state)
    except (KeyError, TypeError, ValueError, AttributeError, RuntimeError, RecursionError, UserError) as error:
        reason = str(error).partition("\n")[0] if isinstance(error, UserError) else repr(error)
        raise UserError(str(path), f"a spec that cannot be built ({reason})", "the spec of a network") from error
    if problems:
        raise UserError(str(path), listed(problems), f"exactly the tensors of {spec.name}", "Save it again.")
    network = build(spec, seed=0)
    network.load_state_dict(dict(state))
    return network


def read_safetensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors and metadata of a safetensors file. Raises UserError for no file or a damaged one."""
    require_file(path)
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise UserError(
            str(path), f"no readable safetensors ({error})", "a complete safetensors file", "Copy or save it again."
        ) from error


def require_file(path: Path) -> None:
    """Raises UserError where ``path`` is no file, or one larger than any that this project writes."""
    if not path.is_file():
        found = "a folder" if path.is_dir() else "a pipe or device" if path.exists() else "nothing"
        raise UserError(str(path), found, "a file of weights")
    size = path.stat().st_size
    if size > LARGEST_FILE:
        raise UserError(str(path), f"{size / 1e9:.0f} GB", f"a file of weights of at most {LARGEST_FILE / 1e9:.0f} GB")


def read_state(path: Path) -> dict[str, Tensor]:
    """The tensors of a ``.safetensors`` file or of a torch state dict, on the CPU; runs no code from the file.

    A checkpoint's ``state_dict`` or ``model`` entry is unwrapped. Raises UserError for anything else.
    """
    if path.suffix == ".safetensors":
        return read_safetensors(path)[0]
    require_file(path)
    _refuse_bomb(path)
    try:
        with BoundedFile(path) as file:
            content = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # damaged bytes lead torch's readers into errors of any kind
        raise UserError(
            str(path),
            f"no plain state dict ({type(error).__name__})",
            "tensors under names, written by torch.save(network.state_dict(), path)",
            "Files that hold whole objects can run code and are not opened; save the state dict alone.",
        ) from error
    for key in ("state_dict", "model"):
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
    if not isinstance(content, dict) or not content:
        raise UserError(str(path), f"a {type(content).__name__} without tensors", "tensors under names")
    unnamed = sum(not isinstance(name, str) for name in content)
    if unnamed:
        raise UserError(str(path), f"{unnamed} entries under no name", "tensors under names")
    foreign = [name for name, value in content.items() if not isinstance(value, Tensor)]
    if foreign:
        raise UserError(str(path), f"entries that are no tensors: {listed(foreign)}", "tensors under names")
    require_stored(path, content)
    return dict(content)


def require_stored(path: Path, state: Mapping[str, Tensor]) -> None:
    """Raises UserError where tensors are not plain numbers that the file holds.

    A file of a kilobyte can hold a view of terabytes: one number, repeated by a stride of 0.
    """
    most = SHARED * path.stat().st_size
    held = 0
    for name, tensor in state.items():
        if tensor.layout != torch.strided or tensor.device.type != "cpu" or tensor.is_quantized or tensor.is_complex():
            raise UserError(str(path), f"{name}, which is no plain tensor", "dense tensors of real numbers")
        held += tensor.numel() * tensor.element_size()
        if held > most:
            raise UserError(
                str(path), f"tensors of {held / 1e9:.3g} GB and more in a file of {path.stat().st_size / 1e6:.3g} MB",
                "tensors that the file holds", "Save it again: torch.save of contiguous tensors.",
            )  # fmt: skip


def _refuse_bomb(path: Path) -> None:
    """Raises UserError for a zip that says it unpacks to much more than it is; read from its directory alone."""
    if not zipfile.is_zipfile(path):
        return
    try:
        with zipfile.ZipFile(path) as archive:
            declared = sum(entry.file_size for entry in archive.infolist())
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError, RuntimeError, struct.error):
        return  # torch's reader says what is wrong
    size = path.stat().st_size
    if declared > INFLATED * size:
        raise UserError(
            str(path), f"an archive of {size / 1e6:.3g} MB that unpacks to {declared / 1e9:.3g} GB",
            f"weights, which are at most {INFLATED} times as large unpacked", "Save the state dict again.",
        )  # fmt: skip


def empty_state(spec: NetSpec) -> dict[str, Tensor]:
    """The names and shapes of a spec's tensors; takes no memory for values."""
    with torch.device("meta"):
        return build(spec).state_dict()


def misfits(expected: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> list[str]:
    """One short text for each tensor that is missing, has another shape, or is not expected."""
    problems = []
    for name, tensor in expected.items():
        if name not in found:
            if not name.endswith(COUNTER):
                problems.append(f"{name} is missing")
        elif found[name].shape != tensor.shape:
            problems.append(f"{name} is {shape(found[name])}, not {shape(tensor)}")
    return problems + [f"{name} has no place" for name in found if name not in expected]


def shape(tensor: Tensor) -> str:
    """``32×3×3×3``; a single number has shape ``1``."""
    return "×".join(map(str, tensor.shape)) or "1"


def listed(items: Sequence[str], most: int = 5) -> str:
    """The first few items, and how many there are in all where some are left out."""
    more = f"; {len(items)} in all" if len(items) > most else ""
    return "; ".join(items[:most]) + more
