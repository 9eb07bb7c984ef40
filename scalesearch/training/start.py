"""What a training starts from: a fresh network, or one that inherits."""

import itertools
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

import torch
from torch import nn

from scalesearch.data.arrays import Images
from scalesearch.data.batches import Augment, PixelStatistics, pixel_statistics, training_batches
from scalesearch.design.spec import NetSpec
from scalesearch.nets.inherit import inherit
from scalesearch.nets.modules import MBConvNet, build
from scalesearch.nets.reconstruct import images_needed, reconstruct
from scalesearch.nets.sources import WeightSource
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
    """The spec with a batch-norm momentum that follows within ``steps`` training steps.

    EfficientNet-Lite's 0.01 needs a thousand: after a short fine-tuning its statistics would still be the old ones.
    """
    if spec.batch_norm.momentum * steps >= SETTLED or spec.batch_norm.momentum >= USUAL_MOMENTUM:
        return spec
    return replace(spec, batch_norm=replace(spec.batch_norm, momentum=USUAL_MOMENTUM))


def start_of(
    spec: NetSpec, source: WeightSource | None, arrays: Images, classes: tuple[str, ...], config: TrainConfig,
    steps_per_epoch: int, device: torch.device, *, repair: bool,
) -> Start[MBConvNet]:  # fmt: skip
    """As ``from_scratch`` where there is no source, else as ``from_source``, settled within the training."""
    if source is None:
        return from_scratch(spec, arrays, config.seed)
    spec = settled(spec, config.epochs * steps_per_epoch)
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
