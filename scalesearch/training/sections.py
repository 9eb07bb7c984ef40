"""A network in sections from input to output: which are trained when, what frozen means, and recomputed activations."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

from torch import nn

from scalesearch.errors import UserError
from scalesearch.nets.modules import Repeated, initialise
from scalesearch.nets.recompute import recomputed
from scalesearch.study.config import TrainConfig

HEADS = ("classifier", "fc", "head", "heads")
HEAD_SECTIONS = 1
LAST_CONVOLUTION = 1


def classifier(network: nn.Module) -> nn.Module:
    """The head: ``network.classifier``, or ``fc``, ``head`` or ``heads``, as torchvision calls it elsewhere.

    Raises UserError where the network has none of them.
    """
    for name in HEADS:
        if isinstance(head := getattr(network, name, None), nn.Module):
            return head
    raise UserError(
        f"network {type(network).__name__}", f"it has no module named {', '.join(HEADS[:-1])} or {HEADS[-1]}, which "
        "tells head from body.", do='Train it with strategy "full" and body_lr_ratio 1.',
    )  # fmt: skip


def sections(network: nn.Module) -> tuple[nn.Module, ...]:
    """Stem, every block, last convolution, hidden layer and classifier, as far as there are; of other networks their
    children, those of ``features`` and of other sequences one by one, and the classifier last. Raises UserError where
    there is no classifier."""
    head = classifier(network)
    sequences = (nn.Sequential, nn.ModuleList) if not hasattr(network, "features") else ()
    parts: list[nn.Module] = []
    for name, part in network.named_children():
        if part is head or not (name == "features" or any(True for _ in part.parameters())):
            continue
        for child in part.children() if name == "features" or isinstance(part, sequences) else (part,):
            blocks = [module for module in child.children() if isinstance(module, Repeated)]
            parts += blocks or [child]
    return (*parts, head)


def behind_blocks(parts: Sequence[nn.Module]) -> int:
    """How many sections follow the last block: a ResNet's classifier only, else the last convolution, too.

    Of a network without blocks the last two count.
    """
    places = [place for place, section in enumerate(parts) if isinstance(section, Repeated)]
    return len(parts) - 1 - places[-1] if places else HEAD_SECTIONS + LAST_CONVOLUTION


def trained_sections(
    config: TrainConfig, count: int, epoch: int, behind: int = HEAD_SECTIONS + LAST_CONVOLUTION
) -> int:
    """How many of ``count`` sections, from the output on, are trained in an epoch; ``behind`` follow the last block.

    "gradual" trains the head for the first quarter of the epochs (at least one of two or more), then up to the middle
    the tail, then everything (Howard & Ruder 2018, ULMFiT, arXiv:1801.06146, section 3.3, in three steps).
    """
    tail = min(count, behind + config.tail_blocks)
    if config.strategy == "gradual":
        if epoch < max(1, config.epochs // 4) and config.epochs > 1:
            return HEAD_SECTIONS
        return tail if epoch < config.epochs // 2 else count
    return {"full": count, "head": HEAD_SECTIONS, "tail": tail}[config.strategy]


def trained(network: nn.Module, config: TrainConfig, epoch: int) -> Sequence[nn.Module]:
    """The modules that an epoch trains: the whole network, or its last sections."""
    if config.strategy == "full":
        return (network,)
    parts = sections(network)
    return parts[len(parts) - trained_sections(config, len(parts), epoch, behind_blocks(parts)) :]


def reset_tail(network: nn.Module, config: TrainConfig) -> None:
    """Gives the last ``tail_blocks`` blocks and what follows them up to the classifier new weights, drawn from torch's
    random state."""
    parts = sections(network)
    for section in parts[-behind_blocks(parts) - config.tail_blocks : -HEAD_SECTIONS]:
        for module in section.modules():
            initialise(module)
            if isinstance(module, nn.BatchNorm2d):
                module.reset_running_stats()


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


@contextmanager
def recomputing(network: nn.Module) -> Iterator[None]:
    """While it lasts, every section of ``network`` but the head is ``recomputed``."""
    changed = sections(network)[:-1]
    for section in changed:
        section.forward = partial(recomputed, section, section.forward)
    try:
        yield
    finally:
        for section in changed:
            del section.forward  # the class's own is visible again
