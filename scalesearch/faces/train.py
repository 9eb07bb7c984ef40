"""Training an embedding on a folder of people, with the loop and the job that classification uses."""

import copy
import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from scalesearch.data.arrays import ImageArrays
from scalesearch.data.batches import Augment, Batch, Epochs, PixelStatistics, training_batches
from scalesearch.data.source import IntArray
from scalesearch.design.spec import NetSpec
from scalesearch.errors import UserError
from scalesearch.faces.detection import CLOSE, Template
from scalesearch.faces.discriminants import discriminants, pooled, set_embedding
from scalesearch.faces.judging import judged
from scalesearch.faces.model import Card, EmbeddingHead, FaceModel, embed, embedder, load_model, save_model
from scalesearch.faces.objective import COLLAPSED_SPREAD, Objective, ObjectiveSettings
from scalesearch.faces.photos import Chooser, Crowd, choose, largest
from scalesearch.faces.protocols import all_pairs, auc
from scalesearch.files import PRIVATE, write_bytes
from scalesearch.nets.face_resnet import FaceResNet
from scalesearch.nets.modules import MBConvNet
from scalesearch.nets.sources import WeightSource
from scalesearch.nets.transfer_plan import TransferPlan
from scalesearch.study.config import TrainConfig
from scalesearch.training.history import EpochRecord, History, Watcher
from scalesearch.training.job import MODEL_FILE, carry_out, claim, continues
from scalesearch.training.loop import Task
from scalesearch.training.start import start_of
from scalesearch.units import counted, show_percent

Keep = Literal["better", "trained", "frozen"]
TINY = 1e-6  # weight of people who have all come, where a batch needs them again


def steps_per_epoch(labels: IntArray, people: int, photos: int) -> int:
    """P×K batches of an epoch: each person comes ⌈their photos / K⌉ times, and short batches are left out."""
    _, counts = np.unique(labels, return_counts=True)
    return max(1, int((-(-counts // photos)).sum()) // min(people, len(counts)))


def pk_batches(labels: IntArray, people: int, photos: int, *, seed: int, epoch: int) -> Iterator[IntArray]:
    """Positions in ``labels``, int64 (P·K,) a batch: K of each of P people, no person twice in one batch.

    A person's photos are gone through in a random order, K at a time; where fewer than K are left, others of theirs
    are drawn again. P is lowered to the number of people there are.

    Args:
        labels: int64 (N,), the person on each photo; everybody has two or more.
    """
    known, counts = np.unique(labels, return_counts=True)
    if len(known) < 2 or counts.min() < 2 or photos < 2:
        raise UserError("training photos", "it takes two people with two photos each, and --photos of at least 2.")
    rng = np.random.default_rng([seed, epoch])
    people = min(people, len(known))
    waiting = {int(label): _groups(np.flatnonzero(labels == label), photos, rng) for label in known}
    for _ in range(steps_per_epoch(labels, people, photos)):
        # the more of a person is left, the likelier they come, so that few are left over
        order = sorted(waiting, key=lambda label: rng.exponential() / max(len(waiting[label]), TINY))[:people]
        batch = []
        for label in order:
            if not waiting[label]:
                waiting[label] = _groups(np.flatnonzero(labels == label), photos, rng)
            batch.append(waiting[label].pop())
        yield np.concatenate(batch)


def _groups(own: IntArray, photos: int, rng: np.random.Generator) -> list[IntArray]:
    """A person's photos in random order, ``photos`` at a time; the last group filled up with others of theirs."""
    order = rng.permutation(own)
    short = -len(order) % photos
    if short:
        others = order[: len(order) - (photos - short)]  # not those already in the last group
        others = others if len(others) else own
        order = np.concatenate((order, rng.choice(others, short, replace=len(others) < short)))
    return [order[start : start + photos] for start in range(0, len(order), photos)]


FROZEN_FILE, TRAINED_FILE = "frozen.safetensors", "trained.safetensors"
ENOUGH_PEOPLE = 50  # from so many on, some are held out to watch the training
HELD_OUT = 0.1
ENOUGH_PHOTOS = 4  # of a person, from which on some are held out to judge by
SHOWN = 0.25
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

    def sized(self, data: "FaceData", epochs: int | None) -> "FaceRecipe":
        """With no more people in a batch than there are; ``epochs`` None: as many as make about 400 steps, 8 to 40."""
        people = min(self.people, len(data.train.names))
        steps = steps_per_epoch(data.train.labels, people, self.photos)
        epochs = epochs or max(8, min(40, round(400 / steps)))
        config = replace(
            self.config, epochs=epochs, batch_size=people * self.photos, warmup_epochs=min(1.0, epochs / 4)
        )
        return replace(self, config=config, people=people)


@dataclass(frozen=True, eq=False)
class FaceData:
    """Whom a training sees, and by whom it is judged.

    Args:
        train: everybody with two or more photos.
        held: other people, to watch the training by.
        shown: further photos of people of ``train`` who have many, to judge by.
        strangers: people who are neither trained on nor enrolled, to judge by.
        single: names of people with one photo, who are left out.
    """

    train: Crowd
    held: Crowd | None
    shown: Crowd | None = None
    strangers: Crowd | None = None
    single: tuple[str, ...] = ()


def divide(crowd: Crowd, share: float | None, seed: int = 0, strangers: Crowd | None = None) -> FaceData:
    """Leaves people with one photo out, holds some of the others out, and of who stays some photos.

    A quarter of the photos of everybody who has four or more is held out to judge by. Where there are no ``strangers``,
    the people held out stand for them.

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
        raise UserError("--held-out", f"{share:g} is not from 0 to below 1.")
    number = round(share * len(usable))
    if len(usable) - number < 2:
        held = f", of whom {number} are held out" if number else ""
        problem = f"{counted(len(usable), 'person')} with two or more photos{held}: it takes two people to train on."
        raise UserError("--data", problem, do="Bring more people, or more photos of each.")
    rng = np.random.default_rng(seed)
    chosen = rng.permutation(usable)[:number]
    shown = np.zeros(len(crowd), bool)
    for label in np.setdiff1d(usable, chosen):
        own = rng.permutation(np.flatnonzero(crowd.labels == label))
        shown[own[: int(SHOWN * len(own)) if len(own) >= ENOUGH_PHOTOS else 0]] = True
    train = np.isin(crowd.labels, np.setdiff1d(usable, chosen)) & ~shown
    others = choose(crowd, np.flatnonzero(np.isin(crowd.labels, chosen))) if number >= 2 else None
    return FaceData(
        choose(crowd, np.flatnonzero(train)), others,
        choose(crowd, np.flatnonzero(shown)) if shown.any() else None, strangers or others, single,
    )  # fmt: skip


@dataclass(frozen=True, eq=False)
class FaceStart:
    """A network in training mode, what it is given, and what it inherited; ``crop``: whether the detector cut the faces
    out."""

    network: MBConvNet | FaceResNet
    card: Card
    plan: TransferPlan | None = None
    crop: bool = False


@dataclass(frozen=True, eq=False)
class Base:
    """What a training starts from.

    Args:
        name: what it is called.
        size_px, template: what faces it is given.
        inherits: the weights' name; "" for new ones.
        chooser: which face of a photo is the person's, where there are several.
        identity: by which a folder knows it again.
        start: (data, recipe, device, whether the training is new) → the network, its classifier of as many outputs as
            the recipe has dimensions.
    """

    name: str
    size_px: int
    template: Template
    inherits: str
    identity: dict[str, str]
    start: Callable[[FaceData, FaceRecipe, torch.device, bool], FaceStart]
    chooser: Chooser = largest


def network_base(spec: NetSpec, source: WeightSource | None) -> Base:
    """A network of a spec, with inherited weights or new ones; its new last layer starts at the discriminants of the
    training people."""

    def start(data: FaceData, recipe: FaceRecipe, device: torch.device, fresh: bool) -> FaceStart:
        steps = steps_per_epoch(data.train.labels, recipe.people, recipe.photos)
        sized = replace(spec, classes=recipe.dimensions)
        begun = start_of(sized, source, arrays_of(data.train), (), recipe.config, steps, device, repair=fresh)
        if fresh and recipe.discriminant and source is not None:
            features = pooled(begun.network, data.train.pixels, begun.statistics, device)
            set_embedding(begun.network, *discriminants(features, data.train.labels, recipe.dimensions))
        return FaceStart(begun.network, Card(spec.name, spec.resolution, begun.statistics, CLOSE), begun.plan)

    identity = {"spec": spec.digest, "start": source.digest if source else "scratch"}
    return Base(spec.name, spec.resolution, CLOSE, source.name if source else "", identity, start)


def body_base(model: FaceModel, device: torch.device) -> Base:
    """The face body as it is, its last layer included; ``device``: on which it tells faces on a photo apart."""
    network, card = copy.deepcopy(model.network), model.card
    assert isinstance(network, FaceResNet)
    assert isinstance(network.classifier, EmbeddingHead)
    network.classifier = network.classifier.layers
    identity = {"spec": card.name, "start": model.digest}
    return Base(
        card.name, card.size_px, card.template, card.name, identity,
        lambda *_: FaceStart(network.train(), card), model.chooser(device),
    )  # fmt: skip


def begin(
    base: Base, data: FaceData, recipe: FaceRecipe, folder: Path, device: torch.device, *, crop: bool
) -> FaceStart:
    """Claims the folder and makes the embedder that the training starts from, which it keeps as ``frozen``.

    Args:
        crop: whether the faces were cut out by the detector, as the model's will be, too.

    Raises UserError where the folder holds another training, or patience has nobody to watch.
    """
    if recipe.config.patience and data.held is None:
        raise UserError("--patience", "nobody is held out to watch the training by.", do="Give --held-out 0.1.")
    judges = [crowd.digest if crowd else "" for crowd in (data.held, data.shown, data.strangers)]
    claim(
        folder,
        {
            **base.identity, "photos": data.train.digest, "held_out": judges[0], "shown": judges[1],
            "strangers": judges[2], **recipe.to_dict(),
        },
    )  # fmt: skip
    fresh = not (continues(folder) and (folder / FROZEN_FILE).exists())
    start = base.start(data, recipe, device, fresh)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(recipe.config.seed)
        objective = Objective(recipe.objective, len(data.train.names), recipe.dimensions)
    network = embedder(start.network, objective)
    if fresh:
        save_model(folder / FROZEN_FILE, network, start.card, crop=crop, trained_on=data.train.digests, facts={})
    return replace(start, network=network, crop=crop)


def train(
    start: FaceStart, data: FaceData, recipe: FaceRecipe, folder: Path, device: torch.device, watcher: Watcher, *,
    keep: Keep = "better", provenance: dict[str, Any],
) -> dict[str, Any]:  # fmt: skip
    """Trains, and writes ``trained``, ``model`` (the frozen or the trained one), ``metrics.json`` and a checkpoint; run
    again, it continues.

    A step's images never go through in parts: the triplets of a batch belong together.

    Args:
        keep: which becomes ``model``; "better": the trained one where it is better beyond chance.

    Returns:
        what ``metrics.json`` holds.
    """
    network, statistics, config = start.network, start.card.statistics, recipe.config
    head, told = network.classifier, 0
    assert isinstance(head, EmbeddingHead)
    objective = head.objective
    assert isinstance(objective, Objective)  # of ``begin``

    def step(epoch: int, index: int) -> None:
        nonlocal told
        watcher.step(epoch, index)
        if objective.changes > told:
            told = objective.changes
            watcher.tell(f"WARNING: {collapse_text(objective, epoch)}")

    def judge(model: nn.Module) -> dict[str, float]:
        return {**held_out(model, data.held, statistics, device), **objective.health()}

    def finish(history: History, last: EpochRecord, written: Path) -> dict[str, Any]:
        rows = np.unique(np.linspace(0, len(data.train) - 1, SPREAD_PHOTOS).astype(int))
        vectors = embed(network, data.train.pixels[rows], statistics, device)  # as they will be used
        spread = float(1 - np.square(vectors.mean(0)).sum())
        if spread < COLLAPSED_SPREAD:
            watcher.tell(
                f"WARNING: after training all embeddings lie at one place (spread {spread:.3f} of 1): the model tells "
                "nobody apart; train for more epochs or with a lower --lr"
            )
        facts = {
            "model": start.card.name, "resolution": start.card.size_px, "dimensions": recipe.dimensions,
            "people": len(data.train.names), "photos": len(data.train), "epochs": len(history),
            "loss": recipe.objective.loss, "margin": recipe.objective.margin, "mining": recipe.objective.mining,
            "strategy": config.strategy, "seed": config.seed,
        }  # fmt: skip
        save_model(
            written / TRAINED_FILE, network, start.card, crop=start.crop, trained_on=data.train.digests, facts=facts
        )
        frozen, trained = load_model(folder / FROZEN_FILE), load_model(written / TRAINED_FILE)
        judgement = None
        if data.shown is not None:
            try:
                judgement = judged(frozen, trained, data.train, data.shown, data.strangers, device)
            except UserError as error:  # one of them makes no embeddings: all weights dead, or no finite numbers
                watcher.tell(f"WARNING: not judged: {error}")
        better = keep == "trained" or (keep == "better" and judgement is not None and judgement.better)
        chosen, kept = (trained, "trained") if better else (frozen, "frozen")
        file = written / TRAINED_FILE if better else folder / FROZEN_FILE
        write_bytes(written / MODEL_FILE, file.read_bytes(), PRIVATE)
        return {
            **facts, "digest": chosen.digest, "kept": kept, "crop": start.crop, "collapses": objective.changes,
            "spread": spread, "mining_at_the_end": objective.mining,
            "held_out_people": len(data.held.names) if data.held else 0,
            "before": held_out(frozen.network, data.held, statistics, device), "after": last.metrics,
            "judgement": judgement.to_dict() if judgement else None, "recipe": recipe.to_dict(), **provenance,
        }  # fmt: skip

    steps = steps_per_epoch(data.train.labels, recipe.people, recipe.photos)
    given = batches(data.train, recipe, statistics, device)
    task = Task(given, steps, objective, judge, given)
    silent = replace(watcher, step=step, note=None)
    return carry_out(network, task, config, folder, device, silent, finish, PRIVATE)


def collapse_text(objective: Objective, epoch: int) -> str:
    """A collapse in words."""
    health = objective.health()
    what = (
        f"collapse in epoch {epoch + 1}: the embeddings came to lie at one place (spread {health['spread']:.3f} of 1, "
        f"loss {health['batch_loss']:.3f} at the margin {objective.settings.margin:g}, "
        f"{show_percent(health['active'], 0)} of triplets active)"
    )
    if objective.settings.recover:
        return f"{what}; mining is now {objective.mining}"
    return f"{what}; try --mining semi-hard or a lower --lr"


def batches(crowd: Crowd, recipe: FaceRecipe, statistics: PixelStatistics, device: torch.device) -> Epochs:
    """Epoch → its P×K batches of varied images and people."""
    arrays, seed = arrays_of(crowd), recipe.config.seed

    def of(epoch: int, done: int = 0) -> Iterator[Batch]:
        order = list(pk_batches(crowd.labels, recipe.people, recipe.photos, seed=seed, epoch=epoch))
        varied = training_batches(
            arrays, order, seed=seed, epoch=epoch, augment=recipe.augment, statistics=statistics, device=device,
            done=done,
        )  # fmt: skip
        for step, (images, labels) in enumerate(varied, done):
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
    vectors = embed(network, crowd.pixels, statistics, device)
    products = vectors @ vectors.T
    np.fill_diagonal(products, -2)
    right = crowd.labels[products.argmax(1)] == crowd.labels
    return {"top1": float(right.mean()), "loss": 1 - auc(all_pairs(vectors, crowd.labels))}


def arrays_of(crowd: Crowd) -> ImageArrays:
    """A crowd as what batches are drawn from."""
    labels: IntArray = crowd.labels
    return ImageArrays(crowd.pixels, labels, "faces", Path())
