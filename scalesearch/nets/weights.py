"""Weights: this project's own files, other people's files, and what torchvision publishes."""

import contextlib
import difflib
import hashlib
import io
import json
import os
import re
import struct
import urllib.error
import zipfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import get_args

import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor
from torchvision.models import get_model, get_model_weights, get_weight, list_models

from scalesearch.design.spec import NetSpec, Padding
from scalesearch.errors import UserError
from scalesearch.files import BoundedFile, require_regular, with_sorted_metadata, write_bytes
from scalesearch.nets.checkpoints import SAFE_GLOBALS, Weights, weights_in
from scalesearch.nets.identify import Identified, distance, identify, known_specs, listed, misfits
from scalesearch.nets.modules import MBConvNet, build, empty_state
from scalesearch.nets.publishers import TIMM, Published, fetched, known_network, published, require_params

FORMAT = "scalesearch-network"
FORMAT_VERSION = 1
LARGEST_FILE = 64 << 30  # bytes: 4 billion parameters, optimizer and average beside them
INFLATED = 10  # times its size: trained weights hardly shrink, and torch.save does not compress
SHARED = 16  # times its size: tensors may share what is stored
LARGEST_VALUE = 1e15  # a flipped bit of the exponent makes a weight of 0.1 one of 1e18 or 1e37
VARIANCE = "running_var"
WEIGHTS = ("weight", "bias", "running_mean", VARIANCE)
PIXELS = "pixel_statistics"  # key of the metadata: how images were normalised
CHANNELS = 3
LEAST_DEVIATION, LARGEST_DEVIATION = 1e-9, 10.0
SUFFIXES = (".safetensors", ".pth", ".pt", ".bin")
PUBLISHED = ("efficientnet_b0", "efficientnet_b1", "efficientnet_b2", "efficientnet_b3", "efficientnet_b4",
             "efficientnet_b5", "efficientnet_b6", "efficientnet_b7", "mobilenet_v2", "mobilenet_v3_large",
             "mobilenet_v3_small", "mnasnet1_0", "resnet18", "resnet34", "resnet50", "resnet101", "resnet152",
             "wide_resnet50_2", "wide_resnet101_2", "efficientnet_v2_s", "efficientnet_v2_m")  # fmt: skip
NEAREST = "imagenet"


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
    require_file(path)
    try:
        with safe_open(path, framework="pt") as file:
            state, metadata = {name: file.get_tensor(name) for name in file.keys()}, file.metadata()  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        problem = f"it is not a complete safetensors file ({error})."
        raise UserError(str(path), problem, do="Copy or save it again.") from error
    require_sound(path, state)
    return state, metadata or {}


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


@dataclass(frozen=True, eq=False)
class WeightSource:
    """Trained weights and the network they belong to.

    Args:
        name: what was asked for: an enum's name or a file.
        spec: the network, with the resolution that it was trained at.
        state: tensors under canonical names; the classifier may be missing.
        digest: 12 hex digits of the tensors.
        metadata: of a model file of ours, else what the publisher says: ``mean`` and ``std`` as JSON.
        licence: as the publisher states it, "" where nothing is known.
        assumed: what the file does not say and was taken from a known network; "" where nothing was.
        stated: whether padding and eps are known from the user or the publisher, where they need not be the target's.
    """

    name: str
    spec: NetSpec
    state: Mapping[str, Tensor]
    digest: str
    metadata: Mapping[str, str]
    licence: str = ""
    assumed: str = ""
    stated: bool = False


@dataclass(frozen=True)
class Stated:
    """What a user states of weights that tensors do not carry; None: as the publisher or the known network has it.

    Args:
        padding: of the convolutions ("same" for weights trained in TensorFlow); ``eps``: of the batch norms.
        network: whose weights a file holds, such as "timm:tf_efficientnet_b0".
    """

    padding: Padding | None = None
    eps: float | None = None
    network: str | None = None


def open_weights(named: str, target: NetSpec, stated: Stated = Stated()) -> WeightSource:
    """What ``--weights`` means.

    Args:
        named: one of torchvision's enums ("EfficientNet_B0_Weights.IMAGENET1K_V1", or "efficientnet_b0" for its
            default), "imagenet" for the one nearest to ``target``, a network of timm's ("timm:tf_efficientnet_b0"), a
            file, or a folder of files (the nearest again).
        stated: of other people's weights; a model of ours says for itself.

    Raises:
        UserError: no such weights, no network to fetch them, or tensors of no known network.
    """
    source = _opened(named, target, stated)
    if source.metadata.get("format") == FORMAT or stated == Stated():
        return source
    if stated.padding not in (None, *get_args(Padding)):
        known = " nor ".join(f'"{one}"' for one in get_args(Padding))
        raise UserError("--source-padding", f'"{stated.padding}" is neither {known}.')
    norm, spec = source.spec.batch_norm, source.spec
    spec = replace(spec, batch_norm=replace(norm, eps=stated.eps or norm.eps), padding=stated.padding or spec.padding)
    return replace(source, spec=spec, stated=True)


def adopted(target: NetSpec, source: WeightSource) -> NetSpec:
    """The target with what is stated of the weights that it inherits: only so they compute what they did."""
    if not source.stated:
        return target
    norm = replace(target.batch_norm, eps=source.spec.batch_norm.eps)
    return replace(target, padding=source.spec.padding, batch_norm=norm)


def _opened(named: str, target: NetSpec, stated: Stated) -> WeightSource:
    path = Path(os.path.expanduser(named))
    is_file = not path.is_dir() and (path.suffix in SUFFIXES or path.is_file())
    if stated.network is not None and not is_file:
        problem = f"{named} is no file, and only of a file it has to be said what network it is of."
        raise UserError(f"--source {stated.network}", problem, do="Leave it out, or name a file with --weights.")
    if path.is_dir():
        return nearest_file(path, target, stated)
    if is_file:
        if stated.network is None or read_metadata(path).get("format") == FORMAT:
            return from_file(path, target, stated)
        return from_publisher(published(stated.network), str(path), read_weights(path))
    if named.startswith(TIMM):
        one = published(named)
        return from_publisher(one, f"{TIMM}{one.name}", Weights(fetched(one)))
    return from_torchvision_enum(nearest_published(target) if named == NEAREST else named)


def from_publisher(one: Published, name: str, read: Weights) -> WeightSource:
    """A published network's weights, with what its publisher says of it.

    Raises UserError where the tensors are not that network's.
    """
    found = identify(read.state, name, [known_network(one)])
    require_params(one, found.state, name)
    spec = replace(one.told(found.spec), name=one.name.partition(".")[0], resolution=one.resolution)
    metadata = {PIXELS: json.dumps({"mean": list(one.mean), "std": list(one.std)})}
    return WeightSource(name, spec, found.state, digest(read.state), metadata, one.licence, read.said, stated=True)


def from_file(path: Path, target: NetSpec, stated: Stated = Stated()) -> WeightSource:
    """A model of ours, or a state dict in torchvision's, timm's or efficientnet_pytorch's naming, of a known network or
    of ``target``; what is ``stated`` is not assumed."""
    if path.suffix == ".safetensors":
        state, metadata = read_safetensors(path)
        read = Weights(state)
    else:
        read, metadata = read_weights(path), {}
    if metadata.get("format") == FORMAT:
        network, metadata = load_network(path)
        return WeightSource(str(path), network.spec, network.state_dict(), digest(read.state), metadata)
    found = identify(read.state, str(path), [target])
    said = "; ".join(text for text in (read.said, assumed(found, stated)) if text)
    return WeightSource(str(path), found.spec, found.state, digest(read.state), metadata, assumed=said)


def read_metadata(path: Path) -> dict[str, str]:
    """Of a safetensors file; of others nothing."""
    return read_safetensors(path)[1] if path.suffix == ".safetensors" else {}


def assumed(found: Identified, stated: Stated) -> str:
    """What a bare state dict does not say, nobody stated, and was taken from a known network, as a sentence."""
    spec = found.spec
    shape = "of the shape of" if found.same else "nearest to those of"
    padding = "" if stated.padding else f", padding {spec.padding}"
    eps = "" if stated.eps else f", eps {spec.batch_norm.eps:g}"
    return (
        f"tensors named as {found.naming}'s, {shape} {found.known.name}, from which comes what tensors do not say: "
        f"strides, activation {spec.activation}{padding}{eps}"
    )


def nearest_file(folder: Path, target: NetSpec, stated: Stated = Stated()) -> WeightSource:
    """Of a folder's files the one whose network is most like ``target``. Raises UserError where none is known."""
    sources: list[WeightSource] = []
    refused: list[str] = []
    for path in sorted(p for p in folder.iterdir() if p.suffix in SUFFIXES):
        try:
            sources.append(from_file(path, target, stated))
        except UserError as error:
            refused.append(f"{path.name}: {error.problem}")
    if not sources:
        what = " ".join(refused) or f"there is no file ending in {', '.join(SUFFIXES)}."
        raise UserError(f"--weights {folder}", f"the folder holds no weights of a known network: {what}")
    return min(sources, key=lambda source: distance(source.spec, target))


def nearest_published(target: NetSpec) -> str:
    """The name in torchvision of the published network most like ``target``."""
    known = [spec for spec in known_specs() if spec.name in PUBLISHED]
    return min(known, key=lambda spec: distance(spec, target)).name


def from_torchvision_enum(named: str) -> WeightSource:
    """Published weights by torchvision's name; torchvision downloads them and checks their hash.

    Raises UserError for unknown names, networks that no space describes, and where they cannot be fetched.
    """
    names = list_models(module=None)
    try:
        weights = get_weight(named) if "." in named else get_model_weights(named).DEFAULT
    except (ValueError, AttributeError, KeyError):
        near = difflib.get_close_matches(named.lower().split("_weights")[0], names, 1)
        raise UserError(
            "--weights", f'"{named}" is neither a file, a folder of files, "{NEAREST}" nor a name of torchvision such '
            "as efficientnet_b0 or EfficientNet_B0_Weights.IMAGENET1K_V1.",
            do=f'Did you mean "{near[0]}"?' if near else "",
        ) from None  # fmt: skip
    model = type(weights).__name__.removesuffix("_Weights").lower()
    try:
        with torch.device("meta"):
            identify(get_model(model, weights=None).state_dict(), named)  # before anything is fetched
    except UserError as error:
        known = f"Known are weights of {', '.join(PUBLISHED)}, and files."
        problem = f'"{named}" is no network that this project can express: {error.problem}'
        raise UserError("--weights", problem, do=known) from error
    file = Path(torch.hub.get_dir()) / "checkpoints" / weights.url.rpartition("/")[2]
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            state = weights.get_state_dict(progress=False, check_hash=True)
    except (urllib.error.URLError, OSError, RuntimeError) as error:
        raise UserError(
            f"--weights {named}", f"they cannot be fetched ({error}), and there is no file {file}.",
            do=f"Bring {weights.url} from a machine that is connected and put it there, or name it: --weights FILE.",
        ) from error  # fmt: skip
    found, preset = identify(state, named), weights.transforms()
    metadata = {PIXELS: json.dumps({"mean": list(preset.mean), "std": list(preset.std)})}
    spec = replace(found.spec, resolution=int(preset.crop_size[0]))
    licence = "torchvision's weights: BSD-3-Clause code, trained on ImageNet (terms of ImageNet apply)"
    return WeightSource(str(weights), spec, found.state, digest(state), metadata, licence)


def digest(state: Mapping[str, Tensor]) -> str:
    """12 hex digits of names and values."""
    content = hashlib.sha256()
    for name in sorted(state):
        content.update(name.encode())
        content.update(state[name].detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return content.hexdigest()[:12]
