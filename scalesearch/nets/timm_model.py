"""timm's own model of a spec: the call that makes it, and the state dict that it loads."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from scalesearch.design.spec import RESNET_BLOCKS, Activation, NetSpec
from scalesearch.errors import UserError
from scalesearch.nets.modules import empty_state
from scalesearch.nets.names import rename, timm_names
from scalesearch.nets.publishers import Published, body_params, known_network, named_networks, require_timm

FORMAT = "--format timm"
IMAGENET_CLASSES, RGB = 1000, 3
RESNETS = {"basic": "resnet18", "bottleneck": "resnet50"}  # whose depths timm takes as an argument
PAD_TYPE = {"same": "same", "symmetric": ""}


@dataclass(frozen=True)
class TimmCall:
    """``timm.create_model(name, **options)``."""

    name: str
    options: Mapping[str, Any]

    def model(self, checkpoint: Path | None = None) -> nn.Module:
        """What the call makes, with the weights of a file, which must fit to the last tensor."""
        import timm

        made: nn.Module = timm.create_model(self.name, checkpoint_path=checkpoint, **self.options)
        return made.eval()

    def code(self, checkpoint: Path | None = None) -> str:
        """As a person types it."""
        given = {**self.options} if checkpoint is None else {**self.options, "checkpoint_path": str(checkpoint)}
        return f"timm.create_model({', '.join([repr(self.name), *(f'{key}={one!r}' for key, one in given.items())])})"


@cache
def timm_call(spec: NetSpec) -> TimmCall:
    """The call whose model has the spec's tensors, padding, eps and activation.

    Raises UserError where timm is not installed or has no such model.
    """
    require_timm(FORMAT)
    state = timm_state(spec, empty_state(spec))
    shapes = {name: tensor.shape for name, tensor in state.items()}
    for call in _calls(spec):
        with torch.device("meta"):
            theirs = call.model().state_dict()
        if {name: tensor.shape for name, tensor in theirs.items()} == shapes:
            return call
    told = f"activation {spec.activation}, padding {spec.padding} and eps {spec.batch_norm.eps:g}"
    problem = f"timm has no model of the widths, depths, kernels and expansions of {spec.name} with {told}."
    raise UserError(FORMAT, problem, do="Use onnx or torch-export, which hold any network.")


def timm_state(spec: NetSpec, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A canonical state dict under timm's names and in its shapes."""
    renamed = dict(rename(state, timm_names(spec)))
    if spec.head.hidden:  # a 1×1 convolution on the pooled image
        renamed["conv_head.weight"] = renamed["conv_head.weight"][:, :, None, None]
    return renamed


def _calls(spec: NetSpec) -> Iterator[TimmCall]:
    """Calls that may make the spec, those that change least first."""
    import timm

    given: dict[str, Any] = {} if spec.classes == IMAGENET_CLASSES else {"num_classes": spec.classes}
    given |= {} if spec.in_channels == RGB else {"in_chans": spec.in_channels}
    body = body_params(empty_state(replace(spec, in_channels=RGB)))  # as the table has it
    told = ((one.name.partition(".")[0], _told(one, spec)) for one in named_networks() if one.params == body)
    calls = [TimmCall(name, {**given, **options}) for name, options in told if options is not None]
    first = spec.stages[0].block
    if first in RESNETS and _plain_resnet(spec):
        calls.append(TimmCall(RESNETS[first], {**given, "layers": spec.depths}))
    return (call for call in sorted(calls, key=lambda call: len(call.options)) if timm.is_model(call.name))


def _told(one: Published, spec: NetSpec) -> dict[str, Any] | None:
    """What has to be said to timm that its network computes as the spec; None where it cannot be said."""
    mixed = len(set(_activations(spec))) > 1
    if mixed != (one.activation is None) or (mixed and _activations(spec) != _activations(known_network(one))):
        return None
    options: dict[str, Any] = {}
    if one.eps != spec.batch_norm.eps:
        options["bn_eps"] = spec.batch_norm.eps
    if one.padding != spec.padding:
        options["pad_type"] = PAD_TYPE[spec.padding]
    if not mixed and one.activation != spec.activation:
        options["act_layer"] = spec.activation
    resnet = any(stage.block in RESNET_BLOCKS for stage in spec.stages)
    return None if resnet and options else options  # timm's ResNet takes none of these


def _activations(spec: NetSpec) -> tuple[Activation, ...]:
    return spec.activation, *(stage.activation or spec.activation for stage in spec.stages)


def _plain_resnet(spec: NetSpec) -> bool:
    return (spec.activation, spec.padding, spec.batch_norm.eps) == ("relu", "symmetric", 1e-5)
