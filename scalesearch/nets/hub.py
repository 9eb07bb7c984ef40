"""The folder that the Hugging Face Hub keeps of a network: ``config.json``, ``model.safetensors`` and a card."""

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from scalesearch.design.cost import cost
from scalesearch.design.spec import Activation, NetSpec, Padding
from scalesearch.errors import UserError
from scalesearch.files import prepare, read_json, together, write_bytes, write_json, write_text
from scalesearch.nets.export import TOLERANCE, difference, shapes, state_content
from scalesearch.nets.modules import MBConvNet
from scalesearch.nets.publishers import TIMM, USUAL, Published, known_network, published
from scalesearch.nets.timm_model import RGB, TimmCall, timm_call, timm_state
from scalesearch.nets.weights import (
    PIXELS,
    class_names,
    framing_values,
    load_network,
    pixel_numbers,
    save_network,
)
from scalesearch.units import show_count

CONFIG_FILE, CARD_FILE, WEIGHTS_FILES = "config.json", "README.md", ("model.safetensors", "pytorch_model.bin")
OURS = "scalesearch"  # the architecture of networks that timm has no model of
WHAT = "the configuration of a network on the Hub"
SHAPES = {"in_chans": RGB, "layers": None}  # arguments that tensors show, and the usual one
IDLE = ("num_classes", "global_pool", "drop_rate", "drop_path_rate", "bn_momentum")  # that no evaluation depends on
ACTIVATIONS: dict[str, Activation] = {
    "silu": "silu", "swish": "silu", "relu": "relu", "relu6": "relu6", "hard_swish": "hardswish",
    "hardswish": "hardswish",
}  # fmt: skip
PADDINGS: dict[str, Padding] = {"": "symmetric", "same": "same"}


@dataclass(frozen=True)
class HubNetwork:
    """What a folder of timm's says.

    Args:
        published: the network, with the arguments that it was made with, and how images are prepared.
        classes: names, where the folder has them.
        reshaped: whether arguments give it other tensors than the published one's.
        said: what cannot be done here as there, "" for nothing.
    """

    published: Published
    weights: Path
    classes: tuple[str, ...]
    reshaped: bool
    said: str


def read_hub(folder: Path) -> HubNetwork | Path | None:
    """What a folder of the Hub holds: a network of timm's, or the file of one of ours; None where it is no such folder.

    Raises UserError for a network that this project cannot express, naming what stands in the way.
    """
    file = folder / CONFIG_FILE
    config = read_json(file, WHAT) if file.is_file() else {}
    architecture = config.get("architecture")
    if not isinstance(architecture, str):
        return None
    weights = next((folder / name for name in WEIGHTS_FILES if (folder / name).is_file()), None)
    if weights is None:
        raise UserError(str(folder), f"there is neither {' nor '.join(WEIGHTS_FILES)} beside {CONFIG_FILE}.")
    if architecture == OURS:
        network, _ = load_network(weights)
        if NetSpec.from_dict(config.get("spec"), f"{file}: spec") != network.spec:
            raise UserError(f"{file}: spec", f"it is not the network in {weights.name}.", do="Export it again.")
        return weights
    pretrained, arguments = (_table(config.get(key, other), file, key) for key, other in
                             (("pretrained_cfg", config), ("model_args", {})))  # fmt: skip
    try:
        one = _made(published(f"{TIMM}{architecture}"), arguments, file)
        one, said = _prepared(one, pretrained)
        NetSpec.from_dict(replace(known_network(one), resolution=one.resolution).to_dict(), str(file))  # within bounds
    except (TypeError, ValueError, KeyError, OverflowError, IndexError) as error:
        raise UserError(str(file), f"{WHAT} should be here, but it is damaged ({error!r}).") from None
    labels = config.get("label_names", pretrained.get("label_names"))
    return HubNetwork(
        one,
        weights,
        _labels(labels, file),
        any(arguments.get(key) not in (None, of) for key, of in SHAPES.items()),
        said,
    )


def _table(value: Any, file: Path, key: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise UserError(f"{file}: {key}", "a table should be here.")
    return value


def _made(one: Published, arguments: Mapping[str, Any], file: Path) -> Published:
    """A published network as ``create_model`` makes it with arguments. Raises UserError for what has no place here."""
    words: dict[str, Mapping[str, Any]] = {"pad_type": PADDINGS, "act_layer": ACTIVATIONS}
    for name, value in arguments.items():
        known = words.get(name)
        if name in (*IDLE, *SHAPES) or value is None:
            continue
        if name == "bn_eps":
            one = replace(one, eps=float(value))
        elif known is None or value not in known or (name == "act_layer" and one.activation is None):
            raise UserError(f"{file}: model_args.{name}", f"this project has no place for {name} {value!r}.")
        elif name == "pad_type":
            one = replace(one, padding=known[value])
        else:
            one = replace(one, activation=known[value])
    return one


def _prepared(one: Published, pretrained: Mapping[str, Any]) -> tuple[Published, str]:
    """A published network with how a folder says that images are prepared, and what of that cannot be done here."""
    side, mode = int(pretrained.get("input_size", (3, one.resolution))[1]), pretrained.get("crop_mode") or "center"
    tag = pretrained.get("tag")
    prepared = replace(
        one, name=f"{one.name.partition('.')[0]}{f'.{tag}' if tag else ''}", resolution=side,
        mean=tuple(map(float, pretrained.get("mean", USUAL["mean"]))),
        std=tuple(map(float, pretrained.get("std", USUAL["std"]))),
        resize_px=math.floor(side / float(pretrained.get("crop_pct") or USUAL["crop"])),
        interpolation=str(pretrained.get("interpolation") or USUAL["interpolation"]),
        licence=str(pretrained.get("license") or ""),
    )  # fmt: skip
    return prepared, "" if mode == "center" else f"images are cut from the centre here, not by crop_mode {mode!r}"


def _labels(labels: Any, file: Path) -> tuple[str, ...]:
    """Names in the order of the logits. Raises UserError where some are missing or damaged."""
    if isinstance(labels, dict):  # by number, as JSON writes it
        labels = [labels.get(str(place)) for place in range(len(labels))]
    return class_names({"classes": json.dumps(labels or [])}, f"{file}: label_names")


def write_hub(network: MBConvNet, folder: Path, metadata: Mapping[str, str], text: str) -> tuple[float, str]:
    """Writes the folder, as timm writes and reads it where timm has such a model, else with a model file of ours; all
    of it or nothing.

    It is loaded, by timm or as a model of ours, and run before it is there.

    Args:
        metadata: of the model: class names, normalisation, how images are cut.
        text: of the card, in Markdown; a plain one where it is empty.

    Returns:
        the largest difference of a logit, and the code that loads the folder.

    Raises:
        UserError: the logits differ, or the folder cannot be written.
    """
    network.eval()
    spec, worst = network.spec, 0.0
    written: Callable[[Tensor], Tensor]
    try:
        call: TimmCall | None = timm_call(spec)
    except UserError:  # none of timm's, or none can be had here
        call = None
    prepare(folder, "--out")
    with together(folder, last=CONFIG_FILE) as temporary:
        write_json(temporary / CONFIG_FILE, config_of(spec, call, metadata))
        file = temporary / WEIGHTS_FILES[0]
        if call is None:
            extra = {key: metadata[key] for key in metadata if key == PIXELS}
            save_network(file, network, extra, class_names(metadata))
            written = load_network(file)[0]
        else:
            write_bytes(file, state_content(timm_state(spec, network.state_dict()), ".safetensors", {"format": "pt"}))
            written = TimmCall(f"local-dir:{temporary}", {"pretrained": True}).model()
        write_text(temporary / CARD_FILE, card_of(spec, call, text))
        for shape in shapes(spec, any_size=True):
            worst = max(worst, difference(network, written, shape, TOLERANCE["timm"], folder))
    if call is None:
        return worst, f"scalesearch.load_model({str(folder / WEIGHTS_FILES[0])!r})"
    return worst, TimmCall(f"local-dir:{folder}", {"pretrained": True}).code()


def config_of(spec: NetSpec, call: TimmCall | None, metadata: Mapping[str, str]) -> dict[str, Any]:
    """``config.json``: architecture, classes, and under ``pretrained_cfg`` how images are prepared, in timm's words."""
    classes, side = class_names(metadata), spec.resolution
    mean, std = pixel_numbers(metadata) or (USUAL["mean"], USUAL["std"])
    resize_px, interpolation = framing_values(metadata) or (side, "bicubic")  # ours see the largest square
    crop = side / resize_px
    while math.floor(side / crop) < resize_px:  # the quotient was rounded up
        crop = math.nextafter(crop, 0)
    pretrained = {
        "input_size": [spec.in_channels, side, side], "fixed_input_size": False, "interpolation": interpolation,
        "crop_pct": crop, "crop_mode": "center", "mean": list(mean), "std": list(std), "num_classes": spec.classes,
        "custom_load": False,
    }  # fmt: skip
    own = {"spec": spec.to_dict(), "library_name": OURS} if call is None else {
        "model_args": {**call.options, "num_classes": spec.classes},
    }  # fmt: skip
    return {
        "architecture": OURS if call is None else call.name, "num_classes": spec.classes,
        "num_features": spec.pooled_width, "global_pool": "avg",
        **({"label_names": list(classes)} if classes else {}), **own, "pretrained_cfg": pretrained,
    }  # fmt: skip


def card_of(spec: NetSpec, call: TimmCall | None, text: str) -> str:
    """``README.md``: the front matter that the Hub reads, the model's card, and how to load it from there."""
    library = OURS if call is None else "timm"
    tags = ["image-classification", *dict.fromkeys((library, OURS))]
    lines = ["---", f"library_name: {library}", "pipeline_tag: image-classification", "tags:"]
    head = "\n".join([*lines, *(f"- {tag}" for tag in tags), "---"])
    plain = (
        f"# {spec.name}\n\nAn image classifier for {spec.classes} classes: {show_count(cost(spec).macs)} multiply-adds "
        f"and {show_count(cost(spec).params)} parameters at {spec.resolution} px.\n"
    )
    code = {
        "timm": 'timm.create_model("hf-hub:USER/NAME", pretrained=True)',
        OURS: 'scalesearch.load_model(huggingface_hub.hf_hub_download("USER/NAME", "model.safetensors"))',
    }[library]
    loading = f"## Load it\n\n`{CONFIG_FILE}` says how images are prepared.\n\n```python\n{code}\n```\n"
    return f"{head}\n\n{text or plain}\n{loading}"
