"""Frozen means frozen: no gradient, no batch-norm statistics, no random depth, whatever is called later."""

from typing import Any

from torch import nn

from scalesearch.training.config import Strategy
from scalesearch.training.optim import classifier


def stay_in_eval(module: nn.Module, _inputs: tuple[Any, ...]) -> None:
    """Forward pre-hook of a frozen module: undoes any ``train()`` before it can act."""
    module.training = False


def freeze(network: nn.Module, strategy: Strategy) -> None:
    """Make trainable what the strategy trains, and freeze the rest.

    "head": everything but ``network.classifier`` gets no gradient and runs in eval mode for good: its batch norms
    normalise by, and keep, the statistics they have. The classifier's dropout works as ever.
    "full": everything is trainable; what an earlier call froze is freed.

    Raises UserError where "head" finds no classifier.
    """
    trained = set((classifier(network) if strategy == "head" else network).modules())
    for module in network.modules():
        # the network itself passes on to frozen and trained children, so its own mode stays free
        frozen = module not in trained and module is not network
        hooks = module._forward_pre_hooks
        for key in [key for key, hook in hooks.items() if hook is stay_in_eval]:
            del hooks[key]
        if frozen:
            module.training = False
            module.register_forward_pre_hook(stay_in_eval)
        for parameter in module.parameters(recurse=False):
            parameter.requires_grad_(module in trained)
