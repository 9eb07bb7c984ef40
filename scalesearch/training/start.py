"""What a training starts from: a fresh network, or one that inherits."""

import itertools
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

import torch
from torch import nn

from scalesearch.data.arrays import Images
from scalesearch.data.batches import Augment, PixelStatistics, pixel_statistics, training_batches
from scalesearch.design.spec import NetSpec, TorchvisionSpec
from scalesearch.nets.inherit import inherit
from scalesearch.nets.modules import MBConvNet, build
from scalesearch.nets.reconstruct import images_needed, reconstruct
from scalesearch.nets.sources import WeightSource
from scalesearch.nets.torchvision_net import network_of
from scalesearch.nets.torchvision_weights import TorchvisionWeights, transfer
from scalesearch.nets.transfer_plan import TransferPlan
from scalesearch.nets.weights import class_names
from scalesearch.study.config import TrainConfig
from scalesearch.training.model_file import statistics_of

N = TypeVar("N", bound=nn.Module, covariant=True)
UNSEEN_EPOCH = 1 << 30  # crops that no epoch of the training draws
SETTLED = 10.0  # time constants that running statistics are given
USUAL_MOMENTUM = 0.1


@dataclass(frozen=True, eq=False)
class Start(Generic[N]):
    """A network in training mode, how its images are normalised, and what it inherited."""

    network: N
    statistics: PixelStatistics
    plan: TransferPlan | None = None


def settled(spec: NetSpec, steps: int) -> NetSpec:
    """The spec with a batch-norm momentum that follows within ``steps`` training steps."""
    momentum = settled_momentum(spec.batch_norm.momentum, steps)
    return replace(spec, batch_norm=replace(spec.batch_norm, momentum=momentum))


def settled_momentum(momentum: float, steps: int) -> float:
    """A batch norm's momentum where it follows within ``steps`` training steps, else the usual one.

    EfficientNet-Lite's 0.01 needs a thousand: after a short fine-tuning its statistics would still be the old ones.
    """
    return momentum if momentum * steps >= SETTLED else max(momentum, USUAL_MOMENTUM)


def start_of(
    spec: NetSpec, source: WeightSource | None, arrays: Images, classes: tuple[str, ...], config: TrainConfig,
    steps_per_epoch: int, device: torch.device, *, repair: bool,
) -> Start[MBConvNet]:  # fmt: skip
    """As ``from_scratch`` where there is no source, else as ``from_source``; settled within the training either way."""
    spec = settled(spec, config.epochs * steps_per_epoch)
    if source is None:
        return from_scratch(spec, arrays, config.seed)
    return from_source(spec, source, arrays, classes, device, seed=config.seed, repair=repair)


def from_scratch(spec: NetSpec, arrays: Images, seed: int) -> Start[MBConvNet]:
    """A fresh network; images are normalised by their own statistics."""
    return Start(build(spec, seed=seed), pixel_statistics(arrays))


def from_source(
    spec: NetSpec, source: WeightSource, arrays: Images, classes: tuple[str, ...], device: torch.device, *,
    seed: int, repair: bool = True,
) -> Start[MBConvNet]:  # fmt: skip
    """A network that inherits, repaired on training images where it lost something; normalised as the source was.

    Args:
        classes: names of the task's classes: the classifier is kept where the source has just these.
        repair: whether to spend the seconds; a training that continues has its weights in a checkpoint.
    """
    statistics = statistics_of(dict(source.metadata))
    kept = class_names(dict(source.metadata)) == classes
    network, plan = inherit(source.spec, source.state, spec, seed=seed, classifier=kept)
    if repair and not plan.exact:
        reference = build(source.spec, seed=seed)
        reference.load_state_dict(dict(source.state), strict=False)
        wanted = min(len(arrays), images_needed(source.spec, spec.resolution))
        batches = training_batches(
            arrays, wanted, seed=seed, epoch=UNSEEN_EPOCH, augment=Augment(), statistics=statistics, device=device
        )
        images, _ = next(itertools.islice(batches, 1))
        reconstruct(network.to(device), plan, reference.to(device), images)
    return Start(network, statistics, plan)


def published_start(
    spec: TorchvisionSpec, source: TorchvisionWeights | None, arrays: Images, classes: tuple[str, ...],
    config: TrainConfig, steps_per_epoch: int,
) -> Start[nn.Module]:  # fmt: skip
    """A network of torchvision's, fresh or with trained weights, then normalised as these expect.

    Its batch norms settle within the training in either case: MNASNet's, of momentum 0.0003, would after a thousand
    steps still be judged by the statistics that it began with.

    Args:
        classes: names of the task's classes: the classifier is kept where the source has just these.
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(config.seed)
        network = network_of(spec)
        if source is not None:
            transfer(network, source.state, classifier=class_names(source.metadata) == classes)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d) and module.momentum is not None:
            module.momentum = settled_momentum(module.momentum, config.epochs * steps_per_epoch)
    return Start(network, pixel_statistics(arrays) if source is None else statistics_of(source.metadata))
