"""What a publisher says of its weights and tensors do not: `timm.json` holds it for timm's networks and weights.

The table is made, and its networks are held against timm's own logits, by ``benchmarks/peers/networks.py``.
"""

import contextlib
import difflib
import importlib.util
import io
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files
from typing import Any

from torch import Tensor

from scalesearch.design.spec import Activation, NetSpec, Padding
from scalesearch.errors import UserError
from scalesearch.nets.identify import known_specs
from scalesearch.nets.weights import INTERPOLATION, RESIZE

TIMM = "timm:"
USUAL: dict[str, Any] = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225), "licence": "", "resolution": 224,
         "crop": 0.875, "interpolation": "bicubic"}  # fmt: skip
NEAR = 3


@dataclass(frozen=True)
class Published:
    """A network of a publisher's.

    Args:
        name: of the network and its weights, such as tf_efficientnet_b0.ns_jft_in1k.
        known: the network of ours that it is, or is another shape of.
        activation: None where it is that network's.
        params: numbers that its body learns, without the classifier.
        resolution: side in pixels that the weights are evaluated at, cut from an image whose short side was resized to
            ``resize_px``.
    """

    name: str
    known: str
    eps: float
    padding: Padding
    activation: Activation | None
    params: int
    resolution: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    resize_px: int
    interpolation: str
    licence: str

    @property
    def pixels(self) -> dict[str, Any]:
        """How images are prepared, as the metadata of a model file have it."""
        return {"mean": self.mean, "std": self.std, RESIZE: self.resize_px, INTERPOLATION: self.interpolation}

    def told(self, spec: NetSpec) -> NetSpec:
        """The spec with what tensors do not say of it."""
        return told(spec, self.eps, self.padding, self.activation)


def told(spec: NetSpec, eps: float, padding: Padding, activation: Activation | None) -> NetSpec:
    """The spec with these; an ``activation`` is everywhere the same."""
    spec = replace(spec, padding=padding, batch_norm=replace(spec.batch_norm, eps=eps))
    if activation is None:
        return spec
    stages = tuple(replace(stage, activation=None) for stage in spec.stages)
    return replace(spec, activation=activation, stages=stages)


@cache
def _table() -> dict[str, Any]:
    content: dict[str, Any] = json.loads(files("scalesearch.nets").joinpath("timm.json").read_text(encoding="utf-8"))
    return content


def published(named: str) -> Published:
    """A network of timm's by its name with or without that of its weights, "timm:" before it.

    Raises UserError for a name that is not in the table, with those nearest to it.
    """
    table, name = _table(), named.removeprefix(TIMM)
    network = name.partition(".")[0]
    weights = name if "." in name else table["networks"].get(network, {}).get("default") or network
    of = table["weights"].get(weights, USUAL if weights == network else None)  # timm has none for some networks
    if network not in table["networks"] or of is None:
        near = difflib.get_close_matches(name, [*table["networks"], *table["weights"]], NEAR)
        problem = f'"{name}" is none of the networks of timm that this project can express, or of their weights.'
        raise UserError(named, problem, do=f"Did you mean {' or '.join(near)}?" if near else "")
    facts = table["networks"][network]
    return Published(
        weights, facts["network"], facts["eps"], facts["padding"], facts["activation"], facts["params"],
        of["resolution"], tuple(of["mean"]), tuple(of["std"]), math.floor(of["resolution"] / of["crop"]),
        of["interpolation"], of["licence"],
    )  # fmt: skip


def named_networks() -> list[Published]:
    """Every network of the table, with its usual weights."""
    return [published(name) for name in _table()["networks"]]


def known_network(one: Published) -> NetSpec:
    """The network of ours that a published one is, or is another shape of, with what tensors do not say."""
    return one.told(next(spec for spec in known_specs() if spec.name == one.known))


def require_params(one: Published, state: Mapping[str, Tensor], where: str) -> None:
    """Raises UserError where canonical tensors are not as many numbers as the published body learns."""
    if (found := body_params(state)) != one.params:
        problem = f"its body has {found} parameters, and that of timm's {one.name} has {one.params}."
        raise UserError(where, problem, do="Name the network that the file is of.")


def body_params(state: Mapping[str, Tensor]) -> int:
    """Numbers that a network learns, without its classifier, from canonical tensors."""
    return sum(
        tensor.numel() for name, tensor in state.items()
        if not name.startswith("classifier.") and not name.endswith(("running_mean", "running_var", "tracked"))
    )  # fmt: skip


def has_timm() -> bool:
    """Whether timm is installed."""
    return importlib.util.find_spec("timm") is not None


def require_timm(where: str, otherwise: str = "") -> None:
    """Raises UserError where timm is not installed; ``otherwise`` says what else can be done."""
    if not has_timm():
        raise UserError(where, "it needs timm, which is not installed.", do=f"Run pip install timm{otherwise}.")


def fetched(one: Published) -> dict[str, Tensor]:
    """The weights, by timm, which downloads them. Raises UserError where it is not installed or cannot."""
    named = f"{TIMM}{one.name}"
    require_timm(named, f", or bring the file: --weights FILE --source {named}")
    import timm

    try:
        with contextlib.redirect_stdout(io.StringIO()):
            state: dict[str, Tensor] = timm.create_model(one.name, pretrained=True).state_dict()
    except Exception as error:  # the hub's library raises errors of its own and of those that it is built on
        reason = str(error).partition("\n")[0].rstrip(".")
        do = f"Bring the file from a machine that is connected: --weights FILE --source {named}"
        raise UserError(named, f"timm cannot fetch these weights ({reason}).", do=do) from error
    return state
