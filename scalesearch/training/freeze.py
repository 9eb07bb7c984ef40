"""Frozen means frozen: no gradient, no batch-norm statistics, no random depth, whatever is called later."""

from collections.abc import Sequence
from typing import Any

from torch import nn


def stay_in_eval(module: nn.Module, _inputs: tuple[Any, ...]) -> None:
    """Forward pre-hook of a frozen module: undoes any ``train()`` before it can act."""
    module.training = False


def freeze(network: nn.Module, trained: Sequence[nn.Module]) -> None:
    """Make ``trained`` and all below them trainable, and freeze the rest of ``network``.

    Frozen modules get no gradient and run in eval mode for good: their batch norms normalise by, and keep, the
    statistics they have. What an earlier call froze and this one trains is freed.
    """
    chosen = {module for part in trained for module in part.modules()}
    # a module that only holds trained ones passes its mode on to frozen and trained children, so it stays free
    holders = {module for module in network.modules() if chosen.intersection(module.modules())}
    for module in network.modules():
        hooks = module._forward_pre_hooks
        for key in [key for key, hook in hooks.items() if hook is stay_in_eval]:
            del hooks[key]
        if module not in holders and module is not network:
            module.training = False
            module.register_forward_pre_hook(stay_in_eval)
        for parameter in module.parameters(recurse=False):
            parameter.requires_grad_(module in chosen)
