"""A network in sections from input to output, and which of them are trained when."""

from collections.abc import Sequence

from torch import nn

from scalesearch.errors import UserError
from scalesearch.nets.modules import Block, initialise
from scalesearch.study.config import TrainConfig

HEAD_SECTIONS = 1
LAST_CONVOLUTION = 1


def classifier(network: nn.Module) -> nn.Module:
    """The head, ``network.classifier``. Raises UserError where the network has none."""
    head = getattr(network, "classifier", None)
    if not isinstance(head, nn.Module):
        raise UserError(
            f"network {type(network).__name__}",
            "no module named classifier",
            "one, to tell head from body",
            'Train it with strategy "full" and body_lr_ratio 1.',
        )
    return head


def sections(network: nn.Module) -> tuple[nn.Module, ...]:
    """Stem, every block, last convolution, hidden layer and classifier, as far as there are; of other networks the
    children of ``features`` and the classifier. Raises UserError where there is no classifier."""
    head, features = classifier(network), getattr(network, "features", None)
    found: list[nn.Module] = []
    for child in features.children() if isinstance(features, nn.Module) else ():
        blocks = [module for module in child.children() if isinstance(module, Block)]
        found += blocks or [child]
    hidden = getattr(network, "hidden", None)
    if isinstance(hidden, nn.Module) and any(True for _ in hidden.parameters()):
        found.append(hidden)
    return (*found, head)


def behind_blocks(found: Sequence[nn.Module]) -> int:
    """How many sections follow the last block: a ResNet's classifier only, else the last convolution, too.

    Of a network without blocks the last two count.
    """
    places = [place for place, section in enumerate(found) if isinstance(section, Block)]
    return len(found) - 1 - places[-1] if places else HEAD_SECTIONS + LAST_CONVOLUTION


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
    found = sections(network)
    return found[len(found) - trained_sections(config, len(found), epoch, behind_blocks(found)) :]


def reset_tail(network: nn.Module, config: TrainConfig) -> None:
    """Gives the last ``tail_blocks`` blocks and what follows them up to the classifier new weights, drawn from torch's
    random state."""
    found = sections(network)
    for section in found[-behind_blocks(found) - config.tail_blocks : -HEAD_SECTIONS]:
        for module in section.modules():
            initialise(module)
            if isinstance(module, nn.BatchNorm2d):
                module.reset_running_stats()
