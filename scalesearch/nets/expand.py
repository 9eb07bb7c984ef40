"""A trained network made wider and deeper without changing what it computes.

Every tensor of the larger network takes the smaller one's values in its leading slice. Outputs that the smaller network
had get zero weights on new inputs, so they do not see what the new channels carry; new outputs keep their fresh
weights, so nothing is symmetric and gradients reach everything. A new block of a stage has the scale and shift of its
last batch norm at zero: the block's sum is then its input.

After Net2Net (Chen, Goodfellow & Shlens 2016, arXiv:1511.05641), with zeros in place of split copies, and residual
branches that start at zero (Goyal et al. 2017, arXiv:1706.02677, section 5.1).
"""

from dataclasses import replace

import torch
from torch import Tensor, nn

from scalesearch.design.shape import reshape, shape_of
from scalesearch.design.spec import NetSpec
from scalesearch.errors import UserError
from scalesearch.nets.modules import MBConvNet, build


def preserves(source: NetSpec, target: NetSpec) -> bool:
    """Whether ``expand`` keeps the function: no width and no depth of the target is below the source's."""
    pairs = zip(
        (source.stem.width, *source.widths, *source.depths, source.head.width),
        (target.stem.width, *target.widths, *target.depths, target.head.width),
        strict=True,
    )
    return all(old <= new for old, new in pairs)


@torch.no_grad()
def expand(source: MBConvNet, spec: NetSpec, *, seed: int) -> MBConvNet:
    """A network of ``spec`` that starts from a trained one of the same family, in training mode.

    At the source's resolution it gives the same logits in eval mode where ``preserves``; where the target is narrower
    or shallower somewhere, the leading channels and the first blocks are taken.

    Args:
        source: stays as it is.
        spec: differs from ``source.spec`` in widths, depths and resolution only.
        seed: of the fresh weights.

    Raises:
        UserError: another family.
    """
    _check_family(source.spec, spec)
    network = build(spec, seed=seed)
    old = source.state_dict()
    for name, tensor in network.state_dict().items():
        if name in old:
            _take(tensor, old[name], depthwise=_is_depthwise(network, name))
    for number, stage in enumerate(source.spec.stages, start=1):
        for block in list(network.features[number].children())[stage.depth :]:
            norm = [module for module in block.modules() if isinstance(module, nn.BatchNorm2d)][-1]
            nn.init.zeros_(norm.weight)
            nn.init.zeros_(norm.bias)
    return network


def _take(tensor: Tensor, old: Tensor, depthwise: bool) -> None:
    """Writes the old values into the leading slice of ``tensor``, zeros where an old output meets a new input."""
    kept = tuple(slice(min(new, was)) for new, was in zip(tensor.shape, old.shape, strict=True))
    if tensor.ndim > 1 and not depthwise:
        tensor[kept[0]] = 0
    tensor[kept] = old[kept]


def _is_depthwise(network: nn.Module, name: str) -> bool:
    module = network.get_submodule(name.rpartition(".")[0])
    return isinstance(module, nn.Conv2d) and module.groups > 1


def _check_family(source: NetSpec, target: NetSpec) -> None:
    """Raises UserError naming the first setting besides widths, depths and resolution that differs."""
    if len(source.stages) == len(target.stages):
        same = replace(
            reshape(source, shape_of(target)), name=target.name, dropout=target.dropout, drop_path=target.drop_path
        )
        if same == target:
            return
        differing = [key for key, value in vars(target).items() if getattr(same, key) != value]
    else:
        differing = ["stages"]
    raise UserError(
        f"network {target.name}", f"another {', '.join(differing)} than {source.name}'s",
        "one that differs in widths, depths and resolution only",
    )  # fmt: skip
