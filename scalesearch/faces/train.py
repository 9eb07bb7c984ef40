"""Training an embedding on a folder of people, with the loop that classification uses."""

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from scalesearch.data.arrays import ImageArrays
from scalesearch.data.batches import Augment, Batch, PixelStatistics, training_batches
from scalesearch.data.source import IntArray
from scalesearch.design.spec import NetSpec
from scalesearch.errors import UserError
from scalesearch.faces.metrics import all_pairs, auc
from scalesearch.faces.model_file import save_model
from scalesearch.faces.network import embed, embedder
from scalesearch.faces.objective import COLLAPSED_SPREAD, Objective, ObjectiveSettings
from scalesearch.faces.people import few
from scalesearch.faces.photos import Crowd, choose
from scalesearch.faces.sampling import pk_batches, steps_per_epoch
from scalesearch.faces.start import discriminants, pooled, set_embedding
from scalesearch.files import read_json, write_json
from scalesearch.nets.modules import MBConvNet
from scalesearch.nets.weights import WeightSource
from scalesearch.study.config import TrainConfig
from scalesearch.training.history import EpochRecord, best_epoch
from scalesearch.training.loop import fit
from scalesearch.training.starting import Start, from_scratch, from_source, settled

MODEL_FILE, CHECKPOINT_FILE = "model.safetensors", "checkpoint.safetensors"
METRICS_FILE, TRAINING_FILE, BEFORE_FILE = "metrics.json", "training.json", "before.json"
ENOUGH_PEOPLE = 50  # from so many on, some are held out to watch the training
HELD_OUT = 0.1
FEW_PEOPLE = 10
SPREAD_PHOTOS = 256
# faces are cut alike, so little of a crop is varied; flips are a person's own
FACE_AUGMENT = Augment(flip=True, scale=(0.8, 1.0), ratio=(0.9, 1.11))


@dataclass(frozen=True)
class FaceRecipe:
    """How an embedding is trained.

    Args:
        config: of the loop; ``batch_size`` is people · photos.
        objective: what is minimised.
        people, photos: P and K of a batch.
        dimensions: of the embedding.
        augment: how crops vary.
        colour: brightness and contrast vary by up to this share.
        grey: share of photos shown without colour.
        discriminant: whether the embedding layer starts at the directions that tell the training people apart.
    """

    config: TrainConfig
    objective: ObjectiveSettings = ObjectiveSettings()
    people: int = 16
    photos: int = 4
    dimensions: int = 128
    augment: Augment = FACE_AUGMENT
    colour: float = 0.2
    grey: float = 0.1
    discriminant: bool = True

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return json.loads(json.dumps(asdict(self)))  # type: ignore[no-any-return]


@dataclass(frozen=True, eq=False)
class FaceData:
    """Whom a training sees: ``train``, everybody with two or more photos; ``held``, other people to watch it by.

    Args:
        single: names of people with one photo, who are left out.
    """

    train: Crowd
    held: Crowd | None
    single: tuple[str, ...] = ()


@dataclass(frozen=True)
class FaceWatcher:
    """Who is told: each step, each epoch's record, and a collapse (in words)."""

    step: Callable[[int, int], None]
    epoch: Callable[[EpochRecord], None]
    collapse: Callable[[str], None]


def divide(crowd: Crowd, share: float | None, seed: int = 0) -> FaceData:
    """Leaves people with one photo out, and holds some of the others out.

    Args:
        share: of the people, to hold out; None: a tenth where there are 50 or more, else nobody.

    Raises UserError where fewer than two people with two photos are left.
    """
    counts = np.bincount(crowd.labels, minlength=len(crowd.names))
    usable = np.flatnonzero(counts >= 2)
    single = tuple(crowd.names[label] for label in np.flatnonzero(counts == 1))
    if share is None:
        share = HELD_OUT if len(usable) >= ENOUGH_PEOPLE else 0.0
    if not 0 <= share < 1:
        raise UserError("--held-out", f"{share:g}", "a share from 0 to below 1")
    number = round(share * len(usable))
    if len(usable) - number < 2:
        raise UserError(
            "--data", f"{len(usable)} person(s) with two or more photos, {number} of them held out",
            "at least two to train on", "Bring more people, or more photos of each.",
        )  # fmt: skip
    held = np.random.default_rng(seed).permutation(usable)[:number]
    train = np.setdiff1d(usable, held)
    return FaceData(
        choose(crowd, np.flatnonzero(np.isin(crowd.labels, train))),
        choose(crowd, np.flatnonzero(np.isin(crowd.labels, held))) if number >= 2 else None,
        single,
    )


def enough_epochs(steps: int) -> int:
    """Epochs of ``steps`` steps that a training takes by default: about 400 steps, between 8 and 40 epochs."""
    return max(8, min(40, round(400 / steps)))


def notes(data: FaceData) -> Iterator[str]:
    """What the user should know before the training."""
    if data.single:
        yield f"{len(data.single)} person(s) with one photo are not trained on (no pair): {few(data.single)}"
    if len(data.train.names) < FEW_PEOPLE:
        yield f"only {len(data.train.names)} people to learn from: the embedding will hardly carry over to others"


def begin(
    spec: NetSpec, data: FaceData, recipe: FaceRecipe, folder: Path, source: WeightSource | None, device: torch.device
) -> Start:
    """Claims the folder and makes the embedder that the training starts from.

    Raises UserError where the folder holds another training, or patience has nobody to watch.
    """
    if recipe.config.patience and data.held is None:
        raise UserError("--patience", "nobody held out", "people to watch the training by", "Give --held-out 0.1.")
    claim_folder(folder, spec, data, recipe, source)
    arrays, config = arrays_of(data.train), recipe.config
    spec = replace(spec, classes=recipe.dimensions)
    continues = (folder / CHECKPOINT_FILE).exists()
    if source is None:
        start = from_scratch(spec, arrays, config.seed)
    else:
        steps = config.epochs * steps_per_epoch(data.train.labels, recipe.people, recipe.photos)
        start = from_source(settled(spec, steps), source, arrays, (), device, seed=config.seed, repair=not continues)
    if not continues and recipe.discriminant and source is not None:
        features = pooled(start.network, data.train.pixels, start.statistics, device)
        set_embedding(start.network, *discriminants(features, data.train.labels, recipe.dimensions))
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(config.seed)
        objective = Objective(recipe.objective, len(data.train.names), recipe.dimensions)
    return replace(start, network=embedder(start.network, objective))


def train(
    start: Start,
    data: FaceData,
    recipe: FaceRecipe,
    folder: Path,
    device: torch.device,
    watcher: FaceWatcher,
    *,
    crop: bool,
    provenance: dict[str, Any],
) -> dict[str, Any]:
    """Trains, and writes ``model.safetensors``, ``metrics.json`` and a checkpoint; run again, it continues.

    Returns:
        what ``metrics.json`` holds.
    """
    network, config = start.network, recipe.config
    objective = objective_of(network)
    told = 0

    def step(epoch: int, index: int) -> None:
        nonlocal told
        watcher.step(epoch, index)
        if objective.changes > told:
            told = objective.changes
            watcher.collapse(collapse_text(objective, epoch))

    def judge(model: nn.Module) -> dict[str, float]:
        return {**held_out(model, data.held, start.statistics, device), **objective.health()}

    before = before_training(network, data, start.statistics, folder, device)
    steps = steps_per_epoch(data.train.labels, recipe.people, recipe.photos)
    history = fit(
        network, batches(data.train, recipe, start.statistics, device), steps, config, loss=objective, device=device,
        evaluate=judge, on_step=step, on_epoch=watcher.epoch, checkpoint=folder / CHECKPOINT_FILE,
    )  # fmt: skip
    spread = trained_spread(network, data.train, start.statistics, device)
    if spread < COLLAPSED_SPREAD:
        watcher.collapse(
            f"after training all embeddings lie at one place (spread {spread:.3f} of 1): the model tells nobody apart; "
            "train for more epochs or with a lower --lr"
        )
    kept = history[best_epoch(history)] if config.patience else history[-1]
    facts = {
        "model": network.spec.name, "resolution": network.spec.resolution, "dimensions": recipe.dimensions,
        "people": len(data.train.names), "photos": len(data.train), "epochs": len(history),
        "loss": recipe.objective.loss, "margin": recipe.objective.margin, "mining": recipe.objective.mining,
        "strategy": config.strategy, "seed": config.seed,
    }  # fmt: skip
    digest = save_model(
        folder / MODEL_FILE, network, start.statistics, crop=crop, trained_on=data.train.digests, facts=facts
    )
    metrics = {
        **facts, "digest": digest, "crop": crop, "collapses": objective.changes, "spread": spread,
        "mining_at_the_end": objective.mining,
        "held_out_people": len(data.held.names) if data.held else 0, "before": before, "after": kept.metrics,
        "config": config.to_dict(), "recipe": recipe.to_dict(), "history": [record.to_dict() for record in history],
        **provenance,
    }  # fmt: skip
    write_json(folder / METRICS_FILE, metrics)
    return metrics


def trained_spread(network: nn.Module, crowd: Crowd, statistics: PixelStatistics, device: torch.device) -> float:
    """Total variance of embeddings as they will be used, of up to 256 training photos."""
    rows = np.unique(np.linspace(0, len(crowd) - 1, SPREAD_PHOTOS).astype(int))
    found = embed(network, crowd.pixels[rows], statistics, device)
    return float(1 - np.square(found.mean(0)).sum())


def before_training(
    network: nn.Module, data: FaceData, statistics: PixelStatistics, folder: Path, device: torch.device
) -> dict[str, float]:
    """``held_out`` of the start, which a training that continues no longer has: then as noted."""
    path = folder / BEFORE_FILE
    if (folder / CHECKPOINT_FILE).exists() and path.exists():
        return read_json(path, "what faces fit noted before training")
    found = held_out(network, data.held, statistics, device)
    write_json(path, found)
    return found


def objective_of(network: MBConvNet) -> Objective:
    """What an embedder is trained for."""
    found = network.classifier.objective
    assert isinstance(found, Objective)
    return found


def collapse_text(objective: Objective, epoch: int) -> str:
    """A collapse in words."""
    health = objective.health()
    what = (
        f"collapse in epoch {epoch + 1}: the embeddings came to lie at one place (spread {health['spread']:.3f} of 1, "
        f"loss {health['batch_loss']:.3f} at the margin {objective.settings.margin:g}, "
        f"{health['active']:.0%} of triplets active)"
    )
    if objective.settings.recover:
        return f"{what}; mining is now {objective.mining}"
    return f"{what}; try --mining semi-hard or a lower --lr"


def batches(
    crowd: Crowd, recipe: FaceRecipe, statistics: PixelStatistics, device: torch.device
) -> Callable[[int], Iterator[Batch]]:
    """Epoch → its P×K batches of varied images and people."""
    arrays, seed = arrays_of(crowd), recipe.config.seed

    def of(epoch: int) -> Iterator[Batch]:
        order = list(pk_batches(crowd.labels, recipe.people, recipe.photos, seed=seed, epoch=epoch))
        found = training_batches(
            arrays, order, seed=seed, epoch=epoch, augment=recipe.augment, statistics=statistics, device=device
        )  # fmt: skip
        for step, (images, labels) in enumerate(found):
            yield recoloured(images, recipe, seed, epoch, step), labels

    return of


def recoloured(images: Tensor, recipe: FaceRecipe, seed: int, epoch: int, step: int) -> Tensor:
    """Normalised images (N, 3, S, S) with other brightness and contrast each, some without colour."""
    stream = int(np.random.SeedSequence((seed, epoch, step, 1)).generate_state(1, np.uint64)[0] >> np.uint64(1))
    generator = torch.Generator().manual_seed(stream)
    contrast, brightness, without = torch.rand(3, len(images), 1, 1, 1, generator=generator).to(images.device)
    varied = images * (1 + recipe.colour * (2 * contrast - 1)) + recipe.colour * 2 * (2 * brightness - 1)
    grey = (without < recipe.grey).to(varied.dtype)
    mixed: Tensor = varied + grey * (varied.mean(1, keepdim=True) - varied)
    return mixed.contiguous(memory_format=torch.channels_last)


def held_out(
    network: nn.Module, crowd: Crowd | None, statistics: PixelStatistics, device: torch.device
) -> dict[str, float]:
    """Of people not trained on: ``top1``, whose photo is nearest to each; ``loss``, 1 − AUC over all pairs."""
    if crowd is None:
        return {}
    found = embed(network, crowd.pixels, statistics, device)
    products = found @ found.T
    np.fill_diagonal(products, -2)
    right = crowd.labels[products.argmax(1)] == crowd.labels
    return {"top1": float(right.mean()), "loss": 1 - auc(all_pairs(found, crowd.labels))}


def arrays_of(crowd: Crowd) -> ImageArrays:
    """A crowd as what batches are drawn from."""
    labels: IntArray = crowd.labels
    return ImageArrays(crowd.pixels, labels, "faces", Path())


def claim_folder(folder: Path, spec: NetSpec, data: FaceData, recipe: FaceRecipe, source: WeightSource | None) -> None:
    """Notes what a folder's training is on and starts from; raises UserError where it holds another."""
    asked = {
        "spec": spec.digest, "start": source.digest if source else "scratch", "photos": _content(data.train),
        "held_out": _content(data.held) if data.held else "", **recipe.to_dict(),
    }  # fmt: skip
    path = folder / TRAINING_FILE
    if path.exists() and (folder / CHECKPOINT_FILE).exists():
        found = read_json(path, "a training of scalesearch")
        differing = [key for key in asked if found.get(key) != asked[key]]
        if differing:
            raise UserError(
                "--out", f"{folder}, which holds another training (it differs in {', '.join(differing)})",
                "a folder of its own for each training", "Name another with --out, or remove its checkpoint.",
            )  # fmt: skip
    write_json(path, asked)


def _content(crowd: Crowd) -> str:
    rows = [f"{one} {label}" for one, label in zip(crowd.digests, crowd.labels.tolist(), strict=True)]
    return hashlib.sha256("\n".join(rows).encode()).hexdigest()[:12]
