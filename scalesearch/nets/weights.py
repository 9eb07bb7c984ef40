"""Files of weights: this project's own, and what is read of any other, safely."""

import contextlib
import hashlib
import json
import re
import struct
import zipfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, get_args

import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from scalesearch.design.spec import NetSpec
from scalesearch.errors import UserError
from scalesearch.files import BoundedFile, require_regular, with_sorted_metadata, write_bytes
from scalesearch.nets.checkpoints import SAFE_GLOBALS, Weights, weights_in
from scalesearch.nets.identify import listed, misfits
from scalesearch.nets.modules import MBConvNet, build, empty_state
from scalesearch.study.config import Interpolation

FORMAT = "scalesearch-network"
FORMAT_VERSION = 1
LARGEST_FILE = 64 << 30  # bytes: 4 billion parameters, optimizer and average beside them
INFLATED = 10  # times its size: trained weights hardly shrink, and torch.save does not compress
SHARED = 16  # times its size: tensors may share what is stored
LARGEST_VALUE = 1e15  # a flipped bit of the exponent makes a weight of 0.1 one of 1e18 or 1e37
VARIANCE = "running_var"
WEIGHTS = ("weight", "bias", "running_mean", VARIANCE)
PIXELS = "pixel_statistics"  # key of the metadata: how images were normalised
RESIZE, INTERPOLATION = "resize_px", "interpolation"  # keys of these: how the publisher cuts images
INTERPOLATIONS = get_args(Interpolation)
LARGEST_SIDE = 8192
CHANNELS = 3
LEAST_DEVIATION, LARGEST_DEVIATION = 1e-9, 10.0


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
    write_bytes(path, with_sorted_metadata(safetensors.torch.save(state, {**metadata, **(extra or {})})))


def load_network(path: Path) -> tuple[MBConvNet, dict[str, str]]:
    """The network of a file that ``save_network`` wrote, in evaluation mode on the CPU, and the file's metadata.

    Raises UserError for no file, a damaged or foreign file, a newer format, or tensors that are not the spec's.
    """
    state, metadata = read_safetensors(path)
    form = metadata.get("format", "")
    if form != FORMAT:
        ours = form.startswith("scalesearch-")  # a model of another kind; others write "pt" and the like
        kind = f"a {form} file" if ours else "a safetensors file without this project's metadata"
        do = "" if ours else "Build the network first and load such weights into it."
        raise UserError(str(path), f"it is {kind}, not a {FORMAT} file, as finetune writes it.", do=do)
    require_version(path, metadata, FORMAT_VERSION)
    network = spec_network(path, state, metadata).eval()
    names, _ = class_names(metadata, path), pixel_numbers(metadata, path)
    if names and len(names) != network.spec.classes:
        problem = f"{len(names)} class names are not those of a network of {network.spec.classes} classes."
        raise UserError(f"{path}: classes", problem, do="Save it again.")
    return network, metadata


def class_names(metadata: Mapping[str, str], where: str | Path = "model file") -> tuple[str, ...]:
    """The class names that a file's metadata hold, in the order of the logits; none where they hold none.

    Raises UserError where they are damaged, or two classes have one name.
    """
    try:
        names = json.loads(metadata.get("classes", "[]"))
    except (ValueError, RecursionError):
        names = None
    if not isinstance(names, list) or not all(isinstance(name, str) and name.strip() for name in names):
        raise UserError(f"{where}: classes", "its class names are damaged: a list of names should be here.")
    if twice := [name for name, count in Counter(names).items() if count > 1]:
        raise UserError(f"{where}: classes", f'"{twice[0]}" is the name of two classes.')
    return tuple(names)


def pixel_numbers(
    metadata: Mapping[str, str], where: str | Path = "model file"
) -> tuple[tuple[float, ...], tuple[float, ...]] | None:
    """Mean and standard deviation of red, green and blue (of pixels between 0 and 1) that a file's metadata hold.

    None where they hold none. Raises UserError where they are no such numbers.
    """
    if PIXELS not in metadata:
        return None
    try:
        values = json.loads(metadata[PIXELS])
        mean, std = (tuple(map(float, values[key])) for key in ("mean", "std"))
        if not (len(mean) == len(std) == CHANNELS and all(0 <= value <= 1 for value in mean)):
            raise ValueError("a mean that is not three numbers from 0 to 1")
        if not all(LEAST_DEVIATION <= value <= LARGEST_DEVIATION for value in std):
            raise ValueError("a deviation that pixels from 0 to 1 cannot have")
        return mean, std
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError) as error:
        raise UserError(f"{where}: {PIXELS}", f"the pixel statistics are damaged ({error}).") from None


def framing_values(metadata: Mapping[str, str], where: str | Path = "model file") -> tuple[int, str] | None:
    """The short side in pixels that images are resized to before a square is cut from their centre, and how.

    None where a file's metadata hold none. Raises UserError where they are damaged."""
    if pixel_numbers(metadata, where) is None or RESIZE not in (values := json.loads(metadata[PIXELS])):
        return None
    side, how = values[RESIZE], values.get(INTERPOLATION)
    if not (isinstance(side, int) and 1 <= side <= LARGEST_SIDE and how in INTERPOLATIONS):
        problem = f"images cannot be resized to {side!r} px by {how!r} interpolation."
        raise UserError(f"{where}: {PIXELS}", problem, do=f"Known are {', '.join(INTERPOLATIONS)}.")
    return side, how


def unsound(state: Mapping[str, Tensor]) -> str:
    """What no training leaves in its tensors: values that are not finite or beyond 1e15, a variance below 0, weights
    that are no floating-point numbers. The first of it as "NAME: …", "" where there is nothing."""
    for name, tensor in state.items():
        kind = name.rpartition(".")[2]
        if not tensor.is_floating_point():
            if kind in WEIGHTS:
                return f"{name}: weights should be floating-point numbers, and these are {tensor.dtype}"
            continue
        values = tensor.float() if tensor.element_size() < 2 else tensor  # few operators know the smallest type
        if bad := int((~torch.isfinite(values)).sum()):
            return f"{name}: {bad} of {tensor.numel()} values are not finite"
        if values.numel() and (largest := float(values.abs().max())) > LARGEST_VALUE:
            return f"{name}: a value of {largest:.2g} is no trained weight's"
        if kind == VARIANCE and (values < 0).any():
            return f"{name}: a variance is below 0"
    return ""


def require_sound(path: Path, state: Mapping[str, Tensor]) -> None:
    """Raises UserError where tensors are ``unsound``."""
    if problem := unsound(state):
        name, _, what = problem.partition(": ")
        raise UserError(f"{path}: {name}", f"{what}.", do="Copy or save the file again, or train again.")


def require_version(path: Path, metadata: Mapping[str, str], newest: int) -> None:
    """Raises UserError where a file's format version is newer than ``newest``, or none."""
    version = metadata.get("format_version", "")
    if not re.fullmatch(r"[0-9]{1,9}", version) or int(version) > newest:
        problem = f'its format version is "{version}", and this scalesearch reads at most {newest}.'
        raise UserError(str(path), problem, do="Update scalesearch to read it.")


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
        reason = str(error).partition("\n")[0].rstrip(".") if isinstance(error, UserError) else repr(error)
        raise UserError(str(path), f"its spec cannot be built ({reason}).") from error
    if problems:
        raise UserError(str(path), f"its tensors do not fit {spec.name}: {listed(problems)}.", do="Save it again.")
    network = build(spec, seed=0)
    network.load_state_dict(dict(state))
    return network


def read_safetensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors and metadata of a safetensors file. Raises UserError for no file or a damaged one."""
    with _opened(path) as file:
        state, metadata = {name: file.get_tensor(name) for name in file.keys()}, file.metadata()  # noqa: SIM118
    require_sound(path, state)
    return state, metadata or {}


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[Any]:
    require_file(path)
    try:
        with safe_open(path, framework="pt") as file:
            yield file
    except (SafetensorError, OSError) as error:
        problem = f"it is not a complete safetensors file ({error})."
        raise UserError(str(path), problem, do="Copy or save it again.") from error


def require_file(path: Path) -> None:
    """Raises UserError where ``path`` is no file, or one larger than any that this project writes."""
    size = require_regular(path, "a file of weights")
    if size > LARGEST_FILE:
        most = f"{LARGEST_FILE / 1e9:.0f} GB"
        raise UserError(str(path), f"a file of weights has at most {most}, and this one has {size / 1e9:.0f} GB.")


def read_state(path: Path) -> dict[str, Tensor]:
    """The tensors of ``read_weights``."""
    return read_weights(path).state


def read_weights(path: Path) -> Weights:
    """The tensors of a ``.safetensors`` file, or the weights in a file of torch's (``checkpoints.weights_in``), on the
    CPU; runs no code from the file. Raises UserError for anything else.
    """
    if path.suffix == ".safetensors":
        return Weights(read_safetensors(path)[0])
    require_file(path)
    _refuse_bomb(path)
    try:
        with BoundedFile(path) as file, torch.serialization.safe_globals(SAFE_GLOBALS):
            content = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # damaged bytes lead torch's readers into errors of any kind
        raise UserError(
            str(path), f"it is no plain state dict ({type(error).__name__}), as torch.save(network.state_dict(), path) "
            "writes it. Files that hold whole objects can run code and are not opened.",
            do="Save the state dict alone.",
        ) from error  # fmt: skip
    found = weights_in(content, str(path))
    require_stored(path, found.state)
    require_sound(path, found.state)
    return found


def require_stored(path: Path, state: Mapping[str, Tensor]) -> None:
    """Raises UserError where tensors are not plain numbers that the file holds.

    A file of a kilobyte can hold a view of terabytes: one number, repeated by a stride of 0.
    """
    most = SHARED * path.stat().st_size
    held = 0
    for name, tensor in state.items():
        if tensor.layout != torch.strided or tensor.device.type != "cpu" or tensor.is_quantized or tensor.is_complex():
            raise UserError(str(path), f"{name} is no plain tensor: only dense ones of real numbers are read.")
        held += tensor.numel() * tensor.element_size()
        if held > most:
            size = f"{path.stat().st_size / 1e6:.3g} MB"
            problem = f"its tensors come to {held / 1e9:.3g} GB or more, which a file of {size} does not hold."
            raise UserError(str(path), problem, do="Save it again: torch.save of contiguous tensors.")


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
            str(path), f"it is an archive of {size / 1e6:.3g} MB that unpacks to {declared / 1e9:.3g} GB; weights "
            f"unpack to at most {INFLATED} times their size.", do="Save the state dict again.",
        )  # fmt: skip


def digest(state: Mapping[str, Tensor]) -> str:
    """12 hex digits of names and values."""
    content = hashlib.sha256()
    for name in sorted(state):
        content.update(name.encode())
        content.update(state[name].detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return content.hexdigest()[:12]


def read_metadata(path: Path) -> dict[str, str]:
    """Of a safetensors file, without its tensors; of others nothing. Raises UserError for a damaged one."""
    if path.suffix != ".safetensors":
        return {}
    with _opened(path) as file:
        return file.metadata() or {}
