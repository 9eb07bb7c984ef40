"""A network that lost channels or blocks made to compute what its source computes, as nearly as it can.

One batch of images of the task goes through the source and, layer by layer, through the heir. Each 1×1 convolution
whose inputs changed is solved for the weights that give the source's outputs from the inputs that are left (ridge
regression towards the inherited weights; after He, Zhang & Sun 2017, "Channel Pruning", arXiv:1707.06168). Each batch
norm then maps its inputs to the mean and deviation that the source has there (after REPAIR, Jordan et al. 2022,
arXiv:2211.08403). Nothing is trained and no label is used.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from scalesearch.design.cost import cost
from scalesearch.design.spec import NetSpec
from scalesearch.nets.modules import MBConvNet
from scalesearch.nets.transfer_plan import Route, TransferPlan

RIDGE = 0.03  # of the mean variance of the inputs
MOST_SAMPLES = 20_000  # positions that a regression looks at
STORED_VALUES = 300_000_000  # activations of the source that are kept at a time
IMAGES = (16, 384)
SMALLEST_RATIO, LARGEST_RATIO = 0.1, 10.0  # of deviations; beyond them a channel is dead in one of the two


def images_needed(source: NetSpec, resolution: int) -> int:
    """How many images ``reconstruct`` should be given, so that it takes about 2 GB at most."""
    per_image = cost(replace(source, resolution=resolution)).activations
    return max(IMAGES[0], min(IMAGES[1], STORED_VALUES // per_image))


@torch.no_grad()
def reconstruct(network: MBConvNet, plan: TransferPlan, source: MBConvNet, images: Tensor) -> None:
    """Repairs ``network``, which inherited from ``source`` by ``plan``, in place; modes stay as they are.

    Where the plan preserves the function, only the statistics of new channels are measured, and it stays preserved.
    A network that is an exact copy stays as it is.

    Args:
        images: (N, C, H, W) of the task, normalised; both networks see them.
    """
    if plan.exact:
        return
    modules = dict(network.named_modules())
    modes = [(module, module.training) for module in (*network.modules(), *source.modules())]
    network.eval()
    expected = _outputs(source.eval(), plan, images) if source.spec.in_channels == images.shape[1] else {}
    generator = torch.Generator().manual_seed(0)
    with _hooks() as before:
        for route in plan.routes:
            output = expected.get(route.source)
            layer, norm = modules[route.layer], modules[route.norm]
            if output is not None and not plan.preserved and not route.new and _is_pointwise(layer):
                before(layer, partial(_solve, wanted=output[:, route.kept], route=route, generator=generator))
            before(norm, partial(_match, wanted=output, route=route, preserved=plan.preserved))
        network(images)
    for module, mode in modes:
        module.training = mode


def _outputs(source: MBConvNet, plan: TransferPlan, images: Tensor) -> dict[str, Tensor]:
    """What each convolution of the source that something inherits from gives, before its batch norm."""
    wanted = {route.source for route in plan.routes if route.source}
    outputs: dict[str, Tensor] = {}
    handles = [
        module.register_forward_hook(lambda _module, _given, output, name=name: outputs.__setitem__(name, output))
        for name, module in source.named_modules()
        if name in wanted
    ]
    source(images)
    for handle in handles:
        handle.remove()
    return outputs


@contextmanager
def _hooks() -> Iterator[Callable[[nn.Module, Callable[[Any, Tensor], None]], None]]:
    """Registers functions that run just before a module, on its input, and takes them away at the end."""
    handles: list[Any] = []

    def before(module: nn.Module, work: Callable[[Any, Tensor], None]) -> None:
        handles.append(module.register_forward_pre_hook(lambda module, given: work(module, given[0])))

    try:
        yield before
    finally:
        for handle in handles:
            handle.remove()


def _is_pointwise(layer: nn.Module) -> bool:
    return isinstance(layer, nn.Conv2d) and layer.kernel_size == (1, 1) and layer.groups == 1


def _solve(layer: nn.Conv2d, given: Tensor, wanted: Tensor, route: Route, generator: torch.Generator) -> None:
    """Sets the old rows of a 1×1 convolution so that they give ``wanted`` (N, rows, H, W) from ``given``."""
    given = given[:, :, :: layer.stride[0], :: layer.stride[1]]
    if given.shape[2:] != wanted.shape[2:]:
        return
    rows = torch.nonzero(route.writes >= 0).flatten().to(given.device)
    inputs, outputs = (_centred(tensor, generator) for tensor in (given, wanted))
    old = layer.weight[rows].flatten(1).double()
    covariance = inputs @ inputs.T
    covariance += RIDGE * covariance.diagonal().mean() * torch.eye(len(covariance), dtype=torch.float64)
    missing = (outputs - old.cpu() @ inputs) @ inputs.T
    solved = old.cpu() + torch.linalg.solve(covariance, missing.T).T
    layer.weight[rows] = solved.to(layer.weight).view(-1, *layer.weight.shape[1:])


def _centred(values: Tensor, generator: torch.Generator) -> Tensor:
    """(N, C, H, W) → (C, samples), float64 on the CPU, each channel's mean taken off; always the same positions."""
    flat = values.permute(1, 0, 2, 3).flatten(1).cpu()
    if flat.shape[1] > MOST_SAMPLES:
        generator.manual_seed(0)
        flat = flat[:, torch.randperm(flat.shape[1], generator=generator)[:MOST_SAMPLES]]
    return (flat - flat.mean(1, keepdim=True)).double()


def _match(norm: nn.BatchNorm2d, given: Tensor, wanted: Tensor | None, route: Route, preserved: bool) -> None:
    """Sets running statistics: new channels' as measured, old ones' so that the output has the source's moments."""
    assert norm.running_mean is not None and norm.running_var is not None  # noqa: PT018 (for the type checker)
    mean, variance = given.mean((0, 2, 3)), given.var((0, 2, 3))
    fresh = route.writes.to(mean.device) < 0
    if route.new or (wanted is None and not preserved):
        fresh = torch.ones_like(fresh)
    elif wanted is not None and not preserved:
        index = route.writes.clamp(min=0).to(mean.device)
        expected, deviation = wanted.mean((0, 2, 3))[index], wanted.var((0, 2, 3)).sqrt()[index]
        ratio = (variance.sqrt() / deviation.clamp(min=1e-6)).clamp(SMALLEST_RATIO, LARGEST_RATIO)
        norm.running_mean.copy_(mean - ratio * (expected - norm.running_mean))
        norm.running_var.copy_(((norm.running_var + norm.eps) * ratio**2 - norm.eps).clamp(min=0))
    norm.running_mean[fresh] = mean[fresh]
    norm.running_var[fresh] = variance[fresh]
