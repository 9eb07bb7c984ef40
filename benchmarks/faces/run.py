"""Faces side by side: the face body, frozen and trained; an ImageNet body before and after triplet training; softmax
with a threshold; eigenfaces.

    python benchmarks/faces/run.py --data data/lfw_faces --weights FILE --out reports/faces/results.jsonl

DATA holds train/, test/, unknown/ and test_pairs.csv, disjoint people. FILE is a state dict of EfficientNet-Lite0
(ImageNet), trained with TensorFlow's padding. Each job's row is appended to the results, and a job that has a row is
not run again. One thread a job, as many at a time as there are cores.

Protocol, the same for every arm and seed: verification on the listed pairs and on all pairs of test; of every member
of test half the photos enrolled (drawn by the seed); the people of unknown divided in two by the seed, to fit the
threshold and to judge it.
"""

import argparse
import csv
import json
import multiprocessing
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from scalesearch.data.arrays import ImageArrays
from scalesearch.data.batches import IMAGENET_STATISTICS, evaluation_batches, training_epochs
from scalesearch.design.space import load_space
from scalesearch.faces import LossName
from scalesearch.faces.bodies import face_body
from scalesearch.faces.detection import detector
from scalesearch.faces.discriminants import discriminants, pooled, set_embedding
from scalesearch.faces.gallery import Gallery, Matches, add, empty_gallery, fit_threshold, fitted, search
from scalesearch.faces.model import EmbeddingSet, FaceModel, embed, embedder
from scalesearch.faces.objective import Objective, ObjectiveSettings
from scalesearch.faces.photos import Crowd, Framing, choose, list_people, read_crowd
from scalesearch.faces.protocols import (
    all_pairs,
    histogram,
    limit_at,
    open_set,
    open_set_curve,
    open_set_values,
    pairs_of,
    roc_curve,
    verification,
)
from scalesearch.faces.train import FACE_AUGMENT, FaceRecipe, batches, steps_per_epoch
from scalesearch.machine import cores
from scalesearch.nets.inherit import inherit
from scalesearch.nets.modules import MBConvNet
from scalesearch.nets.sources import Stated, open_weights
from scalesearch.study.config import TrainConfig
from scalesearch.study.statistics import design_effect, next_interval, recognition_gain
from scalesearch.training.loop import Task, fit
from scalesearch.training.start import settled
from scalesearch.training.step import classification_loss

CPU = torch.device("cpu")
PIXELS, DIMENSIONS, EPOCHS, TAIL, LR = 112, 128, 8, 6, 1e-3
FPIR = 0.01
SPLITS, RATES = 200, (0.01, 0.05, 0.1)
SEARCHED, PROBES = 100_000, 1
SEEDS, UNTRAINED = 3, ("eigenfaces", "imagenet", "discriminant", "face", "face_photos")
FACE_LR, FACE_EPOCHS = 1e-3, {"members": 24, "all": 8}
FACE_TRAINED = tuple(f"face_{loss}_{whom}" for loss in ("triplet", "arcface") for whom in FACE_EPOCHS)


@dataclass(frozen=True)
class Job:
    """One row. ``arm``: imagenet, eigenfaces, discriminant, triplet, softmax (identification by a classifier of the
    members), triplet_members and arcface_members (identification by embeddings trained on the enrolled photos),
    softmax_features (of a classifier of the training people), or search; face (the face body as it is), face_photos
    (so, on uncut photos), face_LOSS_members and face_LOSS_all (its last layer trained on the enrolled photos, without
    and with those of the training people). Arms without a random training
    have one job, whose seeds 0 to 2 decide the protocol's division alone."""

    arm: str
    seed: int

    @property
    def key(self) -> str:
        return json.dumps(asdict(self), sort_keys=True)


JOBS = (
    Job("search", 0), *(Job(arm, 0) for arm in UNTRAINED), *(Job("triplet", seed) for seed in range(SEEDS)),
    *(Job(arm, seed) for arm in ("softmax", "triplet_members", "arcface_members") for seed in range(SEEDS)),
    *(Job("softmax_features", seed) for seed in range(SEEDS)),
    *(Job(arm, seed) for arm in FACE_TRAINED for seed in range(SEEDS)),
)  # fmt: skip


def crowd(data: str, part: str) -> Crowd:
    return read_crowd(list_people(Path(data) / part, "DATA"), Framing(PIXELS), option="DATA")


def found(data: str, part: str, model: FaceModel) -> Crowd:
    """Everybody with the faces that the detector finds, cut out for the face body."""
    framing = Framing(model.card.size_px, detector(), model.card.template)
    return read_crowd(list_people(Path(data) / part, "DATA"), framing, option="DATA", chooser=model.chooser(CPU))


def joined(first: Crowd, second: Crowd) -> Crowd:
    """Two crowds of other people as one."""
    return Crowd(
        first.names + second.names, np.concatenate((first.pixels, second.pixels)),
        np.concatenate((first.labels, second.labels + len(first.names))), first.digests + second.digests,
        first.files + second.files,
    )  # fmt: skip


def trained_face(model: FaceModel, people: Crowd, seed: int, loss: LossName, epochs: int) -> FaceModel:
    """The face body with its last layer trained on these photos."""
    settings = TrainConfig(
        epochs=epochs, batch_size=64, lr=FACE_LR, warmup_epochs=1.0, label_smoothing=0.0, seed=seed, strategy="head"
    )
    recipe = FaceRecipe(settings, ObjectiveSettings(loss=loss, mining="all"), dimensions=model.dimensions)
    torch.manual_seed(seed)
    model.network.classifier.objective = Objective(recipe.objective, len(people.names), model.dimensions)
    steps = steps_per_epoch(people.labels, recipe.people, recipe.photos)
    task = Task(batches(people, recipe, model.card.statistics, CPU), steps, model.network.classifier.objective)
    fit(model.network.train(), task, settings, CPU)
    return model


def lite0(weights: str, classes: int, seed: int, steps: int) -> MBConvNet:
    spec = replace(load_space("efficientnet_lite0").baseline, resolution=PIXELS, classes=classes, padding="same")
    source = open_weights(weights, spec, Stated("same"))
    network, plan = inherit(source.spec, source.state, settled(spec, steps), seed=seed)
    assert plan.coverage == 1.0
    return network


class Features(nn.Module):
    """Pooled features of length 1."""

    def __init__(self, network: MBConvNet) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        network = self.network
        return functional.normalize(network.forward_head(network.forward_features(images), pre_logits=True), dim=1)


def vectors(network: nn.Module, people: Crowd) -> EmbeddingSet:
    return EmbeddingSet(people.names, people.labels, embed(network, people.pixels, IMAGENET_STATISTICS, CPU))


def eigenfaces(train: Crowd, people: Crowd) -> EmbeddingSet:
    """Grey pixels on the 128 main axes of the training faces (Turk & Pentland 1991), compared by angle."""

    def grey(pixels: np.ndarray) -> np.ndarray:
        return pixels.mean(3, dtype=np.float32)[:, ::2, ::2].reshape(len(pixels), -1)

    known = grey(train.pixels)
    mean = known.mean(0)
    _, _, axes = np.linalg.svd(known - mean, full_matrices=False)
    projected = (grey(people.pixels) - mean) @ axes[:DIMENSIONS].T
    return EmbeddingSet(people.names, people.labels, projected / np.linalg.norm(projected, axis=1, keepdims=True))


def config(seed: int, epochs: int, batch: int) -> TrainConfig:
    return TrainConfig(
        epochs=epochs, batch_size=batch, lr=LR, warmup_epochs=1.0, label_smoothing=0.0, seed=seed, strategy="tail",
        tail_blocks=TAIL,
    )  # fmt: skip


def metric_network(
    weights: str, train: Crowd, seed: int, trained: bool, loss: LossName = "triplet", epochs: int = EPOCHS
) -> tuple[MBConvNet, dict[str, Any]]:
    """The embedder at its discriminant start, or after triplet training; what the training was like."""
    settings = config(seed, epochs, 64)
    if loss != "triplet":
        settings = replace(settings, lr=3 * LR)
    recipe = FaceRecipe(settings, ObjectiveSettings(loss=loss, mining="all"), dimensions=DIMENSIONS)
    steps = steps_per_epoch(train.labels, recipe.people, recipe.photos)
    network = lite0(weights, DIMENSIONS, seed, steps * epochs)
    set_embedding(network, *discriminants(
        pooled(network, train.pixels, IMAGENET_STATISTICS, CPU), train.labels, DIMENSIONS
    ))  # fmt: skip
    torch.manual_seed(seed)
    objective = Objective(recipe.objective, len(train.names), DIMENSIONS)
    embedder(network, objective)
    if not trained:
        return network, {}
    began = time.process_time()
    task = Task(batches(train, recipe, IMAGENET_STATISTICS, CPU), steps, objective)
    history = fit(network, task, recipe.config, CPU)
    return network, {
        "train_cpu_seconds": time.process_time() - began, "losses": [record.train_loss for record in history],
        **objective.health(),
    }  # fmt: skip


def softmax_network(weights: str, people: Crowd, rows: np.ndarray, seed: int, epochs: int) -> MBConvNet:
    """A classifier of these people, trained on these photos."""
    arrays = ImageArrays(people.pixels[rows], people.labels[rows], "softmax", Path())
    given, steps = training_epochs(
        arrays, 32, seed=seed, augment=FACE_AUGMENT, statistics=IMAGENET_STATISTICS, device=CPU
    )
    network = lite0(weights, len(people.names), seed, steps * epochs)
    settings = replace(config(seed, epochs, 32), lr=3e-3, label_smoothing=0.1)
    fit(network, Task(given, steps, classification_loss(settings)), settings, CPU)
    return network


def softmax_open_set(
    network: MBConvNet, people: Crowd, shown: np.ndarray, strangers: Crowd, seed: int
) -> dict[str, Any]:
    """Rank-1 and TPIR where 1 − the largest probability stands for the distance."""

    def matches(pixels: np.ndarray) -> Matches:
        arrays = ImageArrays(pixels, np.zeros(len(pixels), np.int64), "shown", Path())
        with torch.inference_mode():
            network.eval()
            probabilities = torch.cat([
                network(images).softmax(1)
                for images, _ in evaluation_batches(arrays, 128, statistics=IMAGENET_STATISTICS, device=CPU)
            ])  # fmt: skip
        values, places = probabilities.max(1)
        return Matches(places.numpy(), 1 - values.numpy())

    members, others = matches(people.pixels[shown]), matches(strangers.pixels)
    right = members.people == people.labels[shown]
    order = np.random.default_rng(seed).permutation(len(strangers.names))
    judged = ~np.isin(strangers.labels, order[: len(order) // 2])
    threshold = fit_threshold(others.distances[~judged], strangers.labels[~judged], FPIR)
    values: dict[str, Any] = {
        "rank1": float(right.mean()), "probes": len(right),
        "fpir": float((others.distances[judged] < threshold.distance).mean()),
        "tpir": float((right & (members.distances < threshold.distance)).mean()), "tpir_at": {},
    }  # fmt: skip
    for rate in (0.01, 0.1):
        limit = limit_at(others.distances[judged], rate)
        values["tpir_at"][f"{rate:g}"] = {"tpir": float((right & (members.distances < limit)).mean())}
    return values


def enrolled_rows(labels: np.ndarray, seed: int) -> np.ndarray:
    """As the protocol divides a person's photos when strangers are given."""
    rng = np.random.default_rng(seed)
    rng.permutation(400)
    chosen = np.zeros(len(labels), bool)
    for label in np.unique(labels):
        own = rng.permutation(np.flatnonzero(labels == label))
        chosen[own[: -(-len(own) // 2)]] = True
    return chosen


def judged(test: EmbeddingSet, files: tuple[str, ...], strangers: EmbeddingSet, data: str, seed: int) -> dict[str, Any]:
    """Everything the protocol asks of embeddings."""
    places = {file: place for place, file in enumerate(files)}
    left, right = listed_pairs(Path(data) / "test_pairs.csv", places)
    pairs, every = pairs_of(test.vectors, test.labels, left, right), all_pairs(test.vectors, test.labels)
    result = open_set(test, strangers, FPIR, seed)
    values = open_set_values(result)
    del values["per_person"]
    return {
        "pairs": verification(pairs, None, seed), "all_pairs": verification(every, None, seed), "open_set": values,
        "curves": {"roc": roc_curve(every), "open_set": open_set_curve(result), "distances": histogram(every)},
    }  # fmt: skip


def listed_pairs(path: Path, places: dict[str, int]) -> tuple[np.ndarray, np.ndarray]:
    """The listed pairs of photos that there are; the detector leaves photos out."""
    with path.open(newline="") as file:
        rows = [(row["a"], row["b"]) for row in csv.DictReader(file)]
    there = [(places[a], places[b]) for a, b in rows if a in places and b in places]
    return tuple(np.array(there, np.int64).T)  # type: ignore[return-value]


def coverage(test: EmbeddingSet, strangers: EmbeddingSet) -> list[dict[str, float]]:
    """Strangers divided by person again and again: the interval predicted and the rate achieved on the other half."""
    gallery = whole_gallery(test)
    distances = search(gallery, strangers.vectors).distances
    rows = []
    for repeat in range(SPLITS):
        order = np.random.default_rng([11, repeat]).permutation(len(strangers.names))
        fit_part = np.isin(strangers.labels, order[: len(order) // 2])
        people = strangers.labels[~fit_part]
        for rate in RATES:
            limit = fit_threshold(distances[fit_part], strangers.labels[fit_part], rate)
            low, high = next_interval(
                round(limit.expected * (limit.photos + 1)), limit.photos, limit.photos / limit.effective, len(people),
                design_effect(distances[fit_part], strangers.labels[fit_part]),
            )  # fmt: skip
            achieved = float((distances[~fit_part] < limit.distance).mean())
            rows.append({"fpir": rate, "low": low, "high": high, "achieved": achieved, "photos": limit.photos,
                         "effective": limit.effective})  # fmt: skip
    return rows


def whole_gallery(people: EmbeddingSet) -> Gallery:
    gallery = empty_gallery("", people.vectors.shape[1])
    for label, name in enumerate(people.names):
        gallery = add(gallery, name, people.vectors[people.labels == label])
    return gallery


def members_as_strangers(test: EmbeddingSet, strangers: EmbeddingSet) -> list[dict[str, float]]:
    """The fall-back threshold: what it promises, and its rate on real strangers."""
    gallery = whole_gallery(test)
    lines = []
    for rate in RATES:
        threshold = fitted(gallery, rate).threshold
        assert threshold is not None
        distances = search(gallery, strangers.vectors).distances
        lines.append({"fpir": rate, "low": threshold.low, "high": threshold.high,
                      "achieved": float((distances < threshold.distance).mean())})  # fmt: skip
    return lines


def search_times() -> dict[str, Any]:
    """Milliseconds to find one face among 100 000 of 10 000 people, by matrix product."""
    rng = np.random.default_rng(0)
    known = rng.normal(size=(SEARCHED, DIMENSIONS)).astype(np.float32)
    known /= np.linalg.norm(known, axis=1, keepdims=True)
    people = SEARCHED // 10
    gallery = Gallery("", tuple(map(str, range(people))), np.repeat(np.arange(people), 10), known)
    times = []
    for _ in range(60):
        probe = rng.normal(size=(PROBES, DIMENSIONS)).astype(np.float32)
        began = time.perf_counter()
        search(gallery, probe / np.linalg.norm(probe))
        times.append(1000 * (time.perf_counter() - began))
    return {"embeddings": SEARCHED, "ms": sorted(times[10:])}


def untrained(arm: str, weights: str, train: Crowd, people: Crowd) -> EmbeddingSet:
    """Embeddings of an arm without a random training."""
    if arm == "eigenfaces":
        return eigenfaces(train, people)
    if arm == "imagenet":
        return vectors(Features(lite0(weights, 2, 0, 1000)), people)
    return vectors(metric_network(weights, train, 0, trained=False)[0], people)


def run_face(job: Job, data: str) -> dict[str, Any]:
    """The arms of the face body."""
    model = face_body()
    folder = str(Path(data).with_name("lfw_photos")) if job.arm == "face_photos" else data
    test, unknown = (found(folder, part, model) for part in ("test", "unknown"))
    sets = [EmbeddingSet(one.names, one.labels, model.vectors(one.pixels, CPU)) for one in (test, unknown)]
    if job.arm in UNTRAINED:
        record: dict[str, Any] = {"seeds": [judged(sets[0], test.files, sets[1], data, seed) for seed in range(SEEDS)]}
        record["seeds"][0] |= {
            "coverage": coverage(*sets), "members_as_strangers": members_as_strangers(*sets),
            "photos": len(test), "stranger_photos": len(unknown),
        }  # fmt: skip
        return record
    _, loss, whom = job.arm.split("_")
    people = choose(test, np.flatnonzero(enrolled_rows(test.labels, job.seed)))
    if whom == "all":
        people = joined(people, found(data, "train", model))
    began = time.process_time()
    own = trained_face(model, people, job.seed, loss, FACE_EPOCHS[whom])  # type: ignore[arg-type]
    seconds = time.process_time() - began
    known, strange = (EmbeddingSet(one.names, one.labels, own.vectors(one.pixels, CPU)) for one in (test, unknown))
    shown = open_set(known, strange, FPIR, job.seed)
    values = open_set_values(shown)
    del values["per_person"]
    return {
        "open_set": values,
        "training": {"train_cpu_seconds": seconds},
        "open_set_curve": open_set_curve(shown),
        "gain": gain(sets, (known, strange), job.seed),
    }


def gain(frozen: list[EmbeddingSet], trained: tuple[EmbeddingSet, EmbeddingSet], seed: int) -> dict[str, Any]:
    """TPIR at FPIR 1 % of the trained embeddings against the frozen ones, on the same division."""
    divisions = [open_set(*pair, FPIR, seed) for pair in (frozen, trained)]
    values = recognition_gain(
        np.stack([one.right for one in divisions]),
        np.stack([one.members.distances for one in divisions]).astype(float),
        np.stack([one.strangers.distances for one in divisions]).astype(float),
        divisions[0].truth,
        divisions[0].stranger_people,
        FPIR,
    )
    return asdict(values)


def run(job: Job, data: str, weights: str) -> dict[str, Any]:
    torch.set_num_threads(1)
    if job.arm == "search":
        return search_times()
    if job.arm.startswith("face"):
        return run_face(job, data)
    train, test, unknown = (crowd(data, part) for part in ("train", "test", "unknown"))
    if job.arm in UNTRAINED:
        known, strange = (untrained(job.arm, weights, train, part) for part in (test, unknown))
        return {"seeds": [judged(known, test.files, strange, data, seed) for seed in range(SEEDS)]}
    if job.arm == "softmax_features":
        of_train = Features(softmax_network(weights, train, np.arange(len(train)), job.seed, EPOCHS))
        return judged(vectors(of_train, test), test.files, vectors(of_train, unknown), data, job.seed)
    if job.arm == "softmax":
        enrol = enrolled_rows(test.labels, job.seed)
        classifier = softmax_network(weights, test, np.flatnonzero(enrol), job.seed, 2 * EPOCHS)
        return {"open_set": softmax_open_set(classifier, test, np.flatnonzero(~enrol), unknown, job.seed)}
    if job.arm in ("triplet_members", "arcface_members"):
        members = choose(test, np.flatnonzero(enrolled_rows(test.labels, job.seed)))
        loss: LossName = "triplet" if job.arm == "triplet_members" else "arcface"
        own, training = metric_network(weights, members, job.seed, True, loss, 3 * EPOCHS)
        shown = open_set(vectors(own, test), vectors(own, unknown), FPIR, job.seed)
        values = open_set_values(shown)
        del values["per_person"]
        return {"open_set": values, "training": training, "open_set_curve": open_set_curve(shown)}
    network, training = metric_network(weights, train, job.seed, trained=True)
    known, strange = vectors(network, test), vectors(network, unknown)
    record = {**judged(known, test.files, strange, data, job.seed), "training": training}
    if job.seed == 0:
        record |= {"coverage": coverage(known, strange), "members_as_strangers": members_as_strangers(known, strange)}
    return record


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True)
    parser.add_argument("--weights", required=True)
    parser.add_argument("--arms", nargs="*", default=[], help="only these")
    parser.add_argument("--out", type=Path, default=Path("reports/faces/results.jsonl"))
    given = parser.parse_args()
    given.out.parent.mkdir(parents=True, exist_ok=True)
    rows = [json.loads(line) for line in given.out.read_text().splitlines()] if given.out.exists() else []
    done = {row["key"] for row in rows}
    waiting = [job for job in JOBS if job.key not in done and (not given.arms or job.arm in given.arms)]
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(cores(), mp_context=context) as pool, given.out.open("a") as out:
        running = {pool.submit(run, job, given.data, given.weights): job for job in waiting}
        for future in as_completed(running):
            job = running[future]
            record = future.result()
            for seed, values in enumerate(record.pop("seeds", [])):
                out.write(json.dumps({"key": "", "arm": job.arm, "seed": seed, **values}) + "\n")
            if job.arm in UNTRAINED:
                record = {"done": True}
            out.write(json.dumps({"key": job.key, **asdict(job), **record}) + "\n")
            out.flush()
            print(f"{job.arm}, seed {job.seed}: done", flush=True)


if __name__ == "__main__":
    main()
