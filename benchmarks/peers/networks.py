"""Every network of timm's and torchvision's related families: is it expressed, and are its logits the same?

    python -m benchmarks.peers.networks [--only PATTERN] [--table FILE] [--report reports/peers/networks.md]

Each peer is built with random weights, its state dict is read as a bare one would be, and what tensors do not say
(activation, padding, eps) is taken from the peer itself; then both compute logits at two sizes. ``--table`` writes what
was found of timm's to a JSON file, such as `scalesearch/nets/timm.json`; ``--report`` writes the table that is printed.
"""

import argparse
import fnmatch
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import timm
import torch
import torchvision
from torch import nn

from scalesearch.design.spec import NetSpec
from scalesearch.errors import UserError
from scalesearch.nets.identify import Identified, identify
from scalesearch.nets.modules import MBConvNet, build
from scalesearch.nets.names import to_torchvision, torchvision_family
from scalesearch.nets.publishers import told
from scalesearch.nets.timm_model import timm_call, timm_state
from scalesearch.nets.torchvision_peer import torchvision_loaded

FAMILIES = (
    "efficientnet_*", "efficientnetv2_*", "tf_efficientnet*", "mobilenetv2_*", "mobilenetv3_*", "tf_mobilenetv3_*",
    "mnasnet_*", "semnasnet_*", "tinynet_*", "resnet*", "wide_resnet*",
)  # fmt: skip
TORCHVISION = ("efficientnet_*", "mobilenet_*", "mnasnet*", "resnet*", "wide_resnet*")
SIZES = (96, 113)
SAME = 1e-5  # of the largest logit
ACTIVATIONS = {nn.SiLU: "silu", nn.ReLU6: "relu6", nn.ReLU: "relu", nn.Hardswish: "hardswish"}


@dataclass(frozen=True)
class Verdict:
    """What became of a network: the known one that it was read as, or why not; the largest difference of logits as a
    share of the largest logit, as the bare tensors are read, with what the peer says of itself, and of the network
    written back for the peer's library and read by its own model, ``call``."""

    name: str
    read_as: str
    bare: float | None = None
    told: float | None = None
    back: float | None = None
    call: str = ""
    facts: dict[str, Any] | None = None


def randomised(network: nn.Module) -> nn.Module:
    """Every tensor moved away from its initial value, so that a mixed-up name shows in the logits."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for tensor in network.state_dict().values():
            if tensor.is_floating_point():
                tensor.mul_(1 + 0.1 * torch.rand(tensor.shape, generator=generator)).add_(0.003)
    return network.eval()


def facts_of(network: nn.Module) -> dict[str, Any]:
    """What tensors do not say, from the modules: the first batch norm's eps, whether a convolution pads by itself as
    TensorFlow does, and the activations in order of their frequency."""
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    same = any("Same" in type(module).__name__ for module in network.modules())
    kinds = [ACTIVATIONS[kind] for module in network.modules() for kind in ACTIVATIONS if type(module) is kind]
    one = len(set(kinds)) == 1
    return {
        "eps": norms[0].eps if norms else None, "padding": "same" if same else "symmetric",
        "activation": kinds[0] if one else None,
    }  # fmt: skip


@torch.inference_mode()
def difference(peer: nn.Module, network: nn.Module) -> float:
    """The largest of both sizes, as a share of the peer's largest logit."""
    largest = 0.0
    for size in SIZES:
        images = torch.randn(1, 3, size, size, generator=torch.Generator().manual_seed(size))
        try:
            wanted = peer(images)
        except RuntimeError:  # timm's blurred strides and shortcuts disagree at odd sizes
            if size % 2 == 0:
                raise
            continue
        largest = max(largest, float((network(images) - wanted).abs().max() / wanted.abs().max()))
    return largest


def judge(name: str, peer: nn.Module) -> Verdict:
    randomised(peer)
    try:
        found = identify(peer.state_dict(), name)
    except UserError as error:
        return Verdict(name, f"refused: {error.problem}")
    facts = facts_of(peer)
    how = found.known.name if found.same else f"{found.known.name}, another shape"
    spec = told(found.spec, facts["eps"], facts["padding"], facts["activation"])
    bare, network = difference(peer, loaded(found.spec, found)), loaded(spec, found)
    with_facts = difference(peer, network)
    facts = {"network": found.known.name, "params": body_params(peer), **facts}
    if with_facts > SAME:
        return Verdict(name, how, bare, with_facts, facts=facts)
    return Verdict(name, how, bare, with_facts, *written_back(name, peer, network), facts)


def loaded(spec: NetSpec, found: Identified) -> MBConvNet:
    network = build(spec, seed=0).eval()
    network.load_state_dict(found.state, strict=False)
    return network


def written_back(name: str, peer: nn.Module, network: MBConvNet) -> tuple[float | None, str]:
    """The difference of the library's own model of our network from the peer, and how it is made, or why not."""
    spec, state = network.spec, network.state_dict()
    try:
        if name.startswith("timm:"):
            call = timm_call(spec)
            model, made = call.model(), call.code()
            model.load_state_dict(timm_state(spec, state))
        else:
            names = to_torchvision(spec, state, torchvision_family(spec))
            model, made = torchvision_loaded(spec, names).eval(), "its own class"
    except UserError as error:
        return None, error.problem
    return difference(peer, model), made


def body_params(peer: nn.Module) -> int:
    """Numbers that a network learns, without its classifier."""
    last = [module for module in peer.modules() if isinstance(module, nn.Linear)][-1]
    return sum(p.numel() for p in peer.parameters()) - sum(p.numel() for p in last.parameters())


def peers(only: str) -> Iterator[tuple[str, nn.Module]]:
    names = sorted({name for family in FAMILIES for name in timm.list_models(family)})
    for name in fnmatch.filter(names, only):
        yield f"timm:{name}", timm.create_model(name)
    for name in torchvision.models.list_models(module=torchvision.models):
        if any(fnmatch.fnmatch(name, family) for family in TORCHVISION) and fnmatch.fnmatch(name, only):
            yield f"torchvision:{name}", torchvision.models.get_model(name, weights=None)


def preprocessing() -> dict[str, dict[str, Any]]:
    """Of each of timm's weights: side in pixels, mean, std, share of the side that is cropped, interpolation."""
    found = {}
    for name in timm.list_pretrained():
        if any(fnmatch.fnmatch(name, family) for family in FAMILIES):
            cfg = timm.get_pretrained_cfg(name)
            found[name] = {
                "resolution": cfg.input_size[-1], "mean": list(cfg.mean), "std": list(cfg.std),
                "crop": cfg.crop_pct, "interpolation": cfg.interpolation, "licence": cfg.license or "",
            }  # fmt: skip
    return found


def lines(verdicts: list[Verdict]) -> Iterator[str]:
    """The report, in Markdown."""
    yield "# Networks of timm and torchvision, read from their bare tensors\n"
    yield (
        f"`python -m benchmarks.peers.networks` (timm {timm.__version__}, torchvision {torchvision.__version__}, torch "
        f"{torch.__version__}), random weights. Largest difference of logits at {SIZES[0]} and {SIZES[1]} px, as a "
        "share of the largest logit: as bare tensors are read, with the peer's own activation, padding and eps, and "
        "written back and read by the library's own model.\n"
    )
    yield "| network | read as | bare | told | back | by |\n|---|---|--:|--:|--:|---|"
    for one in verdicts:
        numbers = [f"{value:.0e}" if value is not None else "" for value in (one.bare, one.told, one.back)]
        yield f"| {one.name} | {one.read_as} | {' | '.join(numbers)} | {one.call} |"
    read = [one for one in verdicts if one.told is not None]
    same = [one for one in read if one.told is not None and one.told <= SAME]
    bare = sum(one.bare is not None and one.bare <= SAME for one in same)
    back = sum(one.back is not None and one.back <= SAME for one in same)
    refused = len(verdicts) - len(read)
    others = ", ".join(one.name for one in read if one not in same) or "none"
    yield (
        f"\n{len(same)} are equal once told ({bare} as bare tensors, {back} written back, too), {refused} are refused. "
        f"Read as another network, of which no tensor tells: {others}."
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="*")
    parser.add_argument("--table", type=Path)
    parser.add_argument("--report", type=Path)
    asked = parser.parse_args()
    verdicts = []
    for name, peer in peers(asked.only):
        verdicts.append(judge(name, peer))
        print(f"{name}: {verdicts[-1].read_as}, {verdicts[-1].told}", flush=True)
    if asked.report:
        asked.report.parent.mkdir(parents=True, exist_ok=True)
        asked.report.write_text("\n".join(lines(verdicts)) + "\n")
    if asked.table:
        asked.table.write_text(json.dumps(table(verdicts), indent=1, sort_keys=True) + "\n")


def table(verdicts: list[Verdict]) -> dict[str, Any]:
    """What tensors do not say of timm's networks that are expressed, and the preprocessing of their weights."""
    networks = {
        one.name.removeprefix("timm:"): dict(one.facts or {})
        for one in verdicts if one.name.startswith("timm:") and one.told is not None and one.told <= SAME
    }  # fmt: skip
    weights = {name: facts for name, facts in preprocessing().items() if name.partition(".")[0] in networks}
    for name, facts in networks.items():
        tag = getattr(timm.get_pretrained_cfg(name), "tag", "")
        facts["default"] = f"{name}.{tag}" if f"{name}.{tag}" in weights else ""
    return {"timm": timm.__version__, "networks": networks, "weights": weights}


if __name__ == "__main__":
    main()
