"""Truth tables: every candidate of a small space, fully trained with several seeds, all predictions kept.

    python benchmarks/truth/train.py PATH_TO_SET --out runs/truth/cifar10 [--variant scratch] [--seeds 3]
    python benchmarks/truth/train.py PATH_TO_SET --out runs/truth/cifar10 --pack benchmarks/truth/cifar10.npz
    python benchmarks/truth/train.py PATH_TO_SET --out runs/truth/large --variant full --seeds 5 --device cuda --jobs 8

Every network (the baseline too) is trained in one process with one thread; the predictions for every validation image
are kept after each of the epochs in RUNGS, those for every test image at the end. Finished networks are kept, so the
same command continues. ``--pack`` joins all variants found under ``--out`` into one file.

Variants other than ``scratch`` are what a search could do instead of training fully from scratch; each is a training
of its own, with its own schedule (see VARIANTS).
"""

import argparse
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from scalesearch.data.batches import Augment, evaluation_batches, pixel_statistics, training_epochs
from scalesearch.data.cache import cores
from scalesearch.data.dataset import Dataset, dataset, open_data
from scalesearch.design.candidates import enumerate_candidates
from scalesearch.design.controls import controls
from scalesearch.design.cost import cost
from scalesearch.design.scaling import Multipliers, scale, size_baseline
from scalesearch.design.space import Grid, load_space
from scalesearch.design.spec import NetSpec, reshape, shape_of
from scalesearch.files import atomic, write_json
from scalesearch.nets.modules import build
from scalesearch.running.executor import Beat, mapped
from scalesearch.running.processes import Processes
from scalesearch.running.provenance import hardware, versions
from scalesearch.study.config import TrainConfig
from scalesearch.study.proxy import Shrinking, choose_proxy
from scalesearch.training.device import set_threads
from scalesearch.training.evaluation import evaluate
from scalesearch.training.loop import Task, fit
from scalesearch.training.probes import seconds_per_step
from scalesearch.training.step import classification_loss

RUNGS = (1, 2, 3, 4, 6, 9, 12, 18)
IMAGES, BATCH = 4800, 64
LARGEST_PX = 48
PROXY_SHARE = 0.4


@dataclass(frozen=True)
class Variant:
    """How candidates are trained: epochs, images (None: all), share of the resolution, the start, the batch size, the
    learning rate as a multiple of the usual one, and how the baseline is made smaller (``study.proxy``), to
    ``PROXY_SHARE`` of its FLOPs."""

    epochs: int
    images: int | None = IMAGES
    resolution: float = 1.0
    start: str = "scratch"
    batch: int = BATCH
    rate: float = 1.0
    shrinking: Shrinking | None = None


VARIANTS = {
    "scratch": Variant(RUNGS[-1]),
    "full": Variant(RUNGS[-1], images=None, batch=128),
    "twelve": Variant(12),  # the tables of networks of 3M multiply-adds
    "twelve_slow": Variant(12, rate=1 / 3),
    "twelve_fast": Variant(12, rate=3),
    "family": Variant(12, shrinking="family"),
    "full_depth": Variant(12, shrinking="full-depth"),
    "pixels": Variant(12, shrinking="resolution"),
    "short2": Variant(2),
    "short6": Variant(6),
    "half_images": Variant(4, images=IMAGES // 2),
    "small": Variant(4, resolution=0.7),
    "expanded1": Variant(1, start="baseline"),
    "expanded2": Variant(2, start="baseline"),
    "expanded6": Variant(6, start="baseline"),
}


@dataclass(frozen=True)
class Job:
    """One network of one variant and seed; ``start`` is the baseline's weights where the variant begins there."""

    name: str
    spec: NetSpec
    seed: int
    variant: str
    data: str
    largest_px: int
    out: Path
    start: Path | None
    device: str = "cpu"

    @property
    def file(self) -> Path:
        """Where its predictions go."""
        return self.out / self.variant / f"{self.name}-seed{self.seed}.npz"


Row = tuple[str, NetSpec, dict[str, Any]]  # name, spec and facts of a network


def networks(data: Dataset, target: float) -> list[Row]:
    """The baseline and every candidate of the small space."""
    baseline = size_baseline(load_space("mbconv_small"), target, len(data.classes))
    listed = enumerate_candidates(baseline, Grid(0.1, 0.1, 2.0))
    rows: list[tuple[str, NetSpec, dict[str, Any]]] = [
        ("baseline", baseline, _facts(baseline, Multipliers(1, 1, 1), ""))
    ]
    for item in listed.candidates:
        rows.append((item.name, item.spec, _facts(item.spec, item.multipliers, item.control)))
    return rows


def shrunk(rows: Sequence[Row], shrinking: Shrinking) -> list[Row]:
    """The same networks around a smaller baseline: each with its coefficients, at twice the smaller one's cost."""
    target = PROXY_SHARE * cost(rows[0][1]).macs
    small = choose_proxy(rows[0][1], IMAGES, False, target, shrinking).baseline
    alone = {control.dimension: control.shape for control in controls(small, 2 * cost(small).macs)}
    smaller = [(rows[0][0], small, rows[0][2])]
    for name, _, facts in rows[1:]:
        factors = Multipliers(facts["depth"], facts["width"], facts["resolution"]).coefficients()
        shape = alone.get(facts["control"]) or shape_of(scale(small, factors, 1))
        smaller.append((name, reshape(small, shape), facts))
    return smaller


def _facts(spec: NetSpec, multipliers: Multipliers, control: str) -> dict[str, Any]:
    return {
        "macs": cost(spec).macs, **asdict(multipliers), "control": control, "px": spec.resolution,
        "widths": list(spec.widths), "depths": list(spec.depths),
    }  # fmt: skip


def train(job: Job, _beat: Beat) -> str:
    """Trains one network and writes its predictions."""
    set_threads(1)
    variant, device = VARIANTS[job.variant], torch.device(job.device)
    parts = dataset(open_data(job.data), job.largest_px, variant.images)
    spec = replace(job.spec, resolution=round(job.spec.resolution * variant.resolution))
    arrays, validation, test = (part.at(spec.resolution) for part in (parts.train, parts.validation, parts.test))
    statistics = pixel_statistics(arrays)
    config = TrainConfig(
        epochs=variant.epochs, batch_size=variant.batch, lr=3e-3 * variant.rate,
        warmup_epochs=min(1.0, variant.epochs / 4), ema_decay=0.99, seed=job.seed,
    )  # fmt: skip
    network = build(spec, seed=job.seed)
    if job.start is not None:
        from scalesearch.nets.inherit import inherit
        from scalesearch.nets.weights import load_network

        trained = load_network(job.start)[0]
        network, _ = inherit(trained.spec, trained.state_dict(), spec, seed=job.seed)
    epochs, steps = training_epochs(
        arrays, variant.batch, seed=job.seed, augment=Augment(flip=parts.source.flip), statistics=statistics,
        device=device,
    )  # fmt: skip
    kept: dict[str, np.ndarray[Any, Any]] = {"labels": validation.labels.astype(np.uint8)}
    done = 0

    def judge(model: nn.Module) -> dict[str, float]:
        nonlocal done
        done += 1
        if done not in RUNGS:
            return {}
        evaluation = evaluate(model, evaluation_batches(validation, 256, statistics=statistics, device=device))
        kept[f"validation{done}"] = evaluation.predictions.astype(np.uint8)
        kept[f"soft{done}"] = np.round(255 * evaluation.soft).astype(np.uint8)
        return {"top1": evaluation.top1}

    history = fit(network, Task(epochs, steps, classification_loss(config), judge), config, device)
    evaluation = evaluate(network, evaluation_batches(test, 256, statistics=statistics, device=device))
    kept |= {"test_labels": test.labels.astype(np.uint8), "test": evaluation.predictions.astype(np.uint8)}
    kept["test_soft"] = np.round(255 * evaluation.soft).astype(np.uint8)
    kept["seconds"] = np.array([record.seconds for record in history])
    if job.variant == "scratch" and job.name == "baseline":
        from scalesearch.nets.weights import save_network

        save_network(job.file.with_suffix(".safetensors"), network, {}, parts.classes)
    with atomic(job.file) as temporary:
        np.savez_compressed(temporary, **kept)
    tops = " ".join(f"{record.metrics['top1']:.3f}" for record in history if record.metrics)
    return f"{job.variant} {job.name} seed {job.seed}: {tops}; test {evaluation.top1:.3f}; {sum(kept['seconds']):.0f} s"


def pack(out: Path, file: Path, rows: list[Row], facts: dict[str, Any]) -> None:
    """All variants into one file: validation (network, seed, rung, image) and test (network, seed, image)."""
    content: dict[str, Any] = {}
    for variant, settings in VARIANTS.items():
        folder = out / variant
        seeds = sorted({int(path.stem.split("seed")[1]) for path in folder.glob("c*.npz")})
        if not seeds:
            continue
        rungs = [rung for rung in RUNGS if rung <= settings.epochs]
        names = [name for name, _, _ in rows if all((folder / f"{name}-seed{seed}.npz").exists() for seed in seeds)]
        runs = [[dict(np.load(folder / f"{name}-seed{seed}.npz")) for seed in seeds] for name in names]
        content[f"{variant}_validation"] = np.array([[[r[f"validation{e}"] for e in rungs] for r in s] for s in runs])
        content[f"{variant}_test"] = np.array([[r["test"] for r in s] for s in runs])
        content[f"{variant}_soft"] = np.array([[[r[f"soft{e}"] for e in rungs] for r in s] for s in runs])
        content[f"{variant}_test_soft"] = np.array([[r["test_soft"] for r in s] for s in runs])
        content["labels"], content["test_labels"] = runs[0][0]["labels"], runs[0][0]["test_labels"]
        facts[variant] = {
            "epochs": settings.epochs, "images": settings.images, "resolution": settings.resolution,
            "start": settings.start, "batch": settings.batch, "rungs": rungs, "seeds": seeds, "networks": names,
            "seconds": [[round(float(r["seconds"].sum()), 1) for r in s] for s in runs],
        }  # fmt: skip
    with atomic(file) as temporary:
        np.savez_compressed(temporary, **content)
    write_json(file.with_suffix(".json"), facts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--variant", default="scratch", choices=VARIANTS)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--target-flops", type=float, default=1e6)
    parser.add_argument("--jobs", type=int, default=cores())
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--pack", type=Path, help="join what is there into this .npz and .json")
    parser.add_argument("--only", help="networks to train, separated by commas")
    options = parser.parse_args()
    source = open_data(options.data)
    rows = networks(dataset(source, LARGEST_PX, IMAGES), options.target_flops)
    if options.pack:
        facts = {
            "data": source.name, "source_digest": source.digest, "target_macs": options.target_flops,
            "space": "mbconv_small", "classes": list(source.classes), "batch_size": BATCH, "lr": 3e-3,
            "ema_decay": 0.99, "versions": versions(), "hardware": hardware("cpu"),
            "networks": {name: {**facts, "seconds_per_step": round(_step(spec), 5)} for name, spec, facts in rows},
        }  # fmt: skip
        pack(options.out, options.pack, rows, facts)
        return
    if shrinking := VARIANTS[options.variant].shrinking:
        rows = shrunk(rows, shrinking)
    parts = dataset(source, LARGEST_PX, VARIANTS[options.variant].images)
    jobs = []
    for seed in range(options.seeds):
        for name, spec, _ in rows:
            expanded = VARIANTS[options.variant].start == "baseline"
            start = options.out / "scratch" / f"baseline-seed{seed}.safetensors" if expanded else None
            job = Job(name, spec, seed, options.variant, options.data, LARGEST_PX, options.out, start, options.device)
            wanted = options.only is None or name in options.only.split(",")
            if wanted and not job.file.exists() and not (expanded and name == "baseline"):
                jobs.append(job)
    for size in {round(job.spec.resolution * VARIANTS[job.variant].resolution) for job in jobs}:
        for part in (parts.train, parts.validation, parts.test):
            part.at(size)
    for number, (_, line) in enumerate(mapped(Processes(train, options.jobs), jobs), start=1):
        print(f"{number}/{len(jobs)} {line}", flush=True)


def _step(spec: NetSpec) -> float:
    set_threads(1)
    return seconds_per_step(build(spec, seed=0), spec.resolution, BATCH, torch.device("cpu"), steps=5)


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
