"""Truth tables: every candidate of a small space, fully trained with several seeds, all predictions kept.

    python benchmarks/truth/train.py PATH_TO_SET --out runs/truth/cifar10 [--variant twelve] [--seeds 5]
    python benchmarks/truth/train.py PATH_TO_SET --out runs/truth/cifar10 --pack benchmarks/truth/cifar10.npz
    python benchmarks/truth/train.py PATH_TO_SET --out runs/photos --networks photos --variant photos --device cuda

Every network (the baseline too) is trained in one process with one thread; the predictions for every validation image
are kept after each of the epochs in RUNGS, those for every test image at the end. Finished networks are kept, so the
same command continues. ``--pack`` joins all variants found under ``--out`` into one file, whose truth is ``--variant``.

``--networks photos`` are those of ``grid --target-flops 400M``: B0's candidates on a quarter of the pixels (variant
``photos``), and the proxies that a search on a CPU would train instead, one variant for each way to make them.
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

from scalesearch.api.search import CPU_STEP
from scalesearch.data.batches import Augment, evaluation_batches, pixel_statistics, training_epochs
from scalesearch.data.dataset import Dataset, dataset, open_data
from scalesearch.design.candidates import enumerate_candidates
from scalesearch.design.controls import controls
from scalesearch.design.cost import cost
from scalesearch.design.scaling import Multipliers, scale, size_baseline
from scalesearch.design.space import Grid, load_space
from scalesearch.design.spec import NetSpec, reshape, shape_of
from scalesearch.files import atomic, write_json
from scalesearch.machine import cores
from scalesearch.nets.modules import build
from scalesearch.running.executor import Beat, mapped
from scalesearch.running.processes import Processes
from scalesearch.running.provenance import hardware, versions
from scalesearch.study.config import Precision, TrainConfig
from scalesearch.study.proxy import CPU_EPOCHS, CPU_IMAGES, Shrinking, choose_proxy
from scalesearch.training.device import set_threads
from scalesearch.training.evaluation import evaluate
from scalesearch.training.loop import Task, fit
from scalesearch.training.step import classification_loss

RUNGS = (1, 2, 3, 4, 6, 9, 12, 18)
IMAGES, BATCH, RATE = 4800, 64, 3e-3


@dataclass(frozen=True)
class Networks:
    """Whose candidates a table holds; images are decoded once, at ``px``."""

    space: str
    macs: float
    grid: Grid
    px: int


NETWORKS = {
    "small": Networks("mbconv_small", 1.5e6, Grid(0.1, 0.1, 2.0), 48),  # candidates of 3M
    "photos": Networks("efficientnet_b0", 400e6, Grid(0.15, 0.2, 2.0), 160),
}


@dataclass(frozen=True)
class Variant:
    """How candidates are trained: epochs, images (None: all), the batch size, the learning rate as a multiple of
    ``RATE``, the precision, and how the baseline is made smaller (``study.proxy``): to ``macs``, or as a search on a
    CPU does."""

    epochs: int
    images: int | None = IMAGES
    batch: int = BATCH
    rate: float = 1.0
    precision: Precision = "auto"
    shrinking: Shrinking | None = None
    macs: float | None = None


CPU = Variant(CPU_EPOCHS, CPU_IMAGES, CPU_STEP[0], CPU_STEP[1] / RATE, "fp32")
VARIANTS = {
    "twelve": Variant(12),
    "twelve_slow": Variant(12, rate=1 / 3),
    "twelve_fast": Variant(12, rate=3),
    "full": Variant(12, images=None, batch=128, rate=2),  # on a GPU
    "short": Variant(1, 200, shrinking="resolution"),  # a rehearsal's
    "photos": Variant(15, batch=128, rate=2, shrinking="resolution", macs=100e6),
    "family": replace(CPU, shrinking="family"),
    "full_depth": replace(CPU, shrinking="full-depth"),
    "pixels": replace(CPU, shrinking="resolution"),
}


@dataclass(frozen=True)
class Job:
    """One network of one variant and seed; images are decoded at ``px``."""

    name: str
    spec: NetSpec
    seed: int
    variant: str
    data: str
    px: int
    out: Path
    device: str = "cpu"

    @property
    def file(self) -> Path:
        """Where its predictions go."""
        return self.out / self.variant / f"{self.name}-seed{self.seed}.npz"


Row = tuple[str, NetSpec, dict[str, Any]]  # name, spec and facts of a network


def networks(classes: int, wanted: Networks) -> list[Row]:
    """The baseline and every candidate."""
    baseline = size_baseline(load_space(wanted.space), wanted.macs, classes)
    listed = enumerate_candidates(baseline, wanted.grid)
    return [("baseline", baseline, _facts(baseline, Multipliers(1, 1, 1), ""))] + [
        (item.name, item.spec, _facts(item.spec, item.multipliers, item.control)) for item in listed.candidates
    ]


def trained(rows: Sequence[Row], variant: Variant) -> list[Row]:
    """The networks that a variant trains: these, or the same multipliers around a smaller baseline."""
    if variant.shrinking is None:
        return list(rows)
    small = choose_proxy(rows[0][1], IMAGES, False, variant.macs, variant.shrinking).baseline
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
    parts = dataset(open_data(job.data), job.px, variant.images)
    arrays, validation, test = (part.at(job.spec.resolution) for part in (parts.train, parts.validation, parts.test))
    statistics = pixel_statistics(arrays)
    config = TrainConfig(
        epochs=variant.epochs, batch_size=variant.batch, lr=RATE * variant.rate, precision=variant.precision,
        warmup_epochs=min(1.0, variant.epochs / 4), ema_decay=0.99, seed=job.seed,
    )  # fmt: skip
    network = build(job.spec, seed=job.seed)
    epochs, steps = training_epochs(
        arrays, variant.batch, seed=job.seed, augment=Augment(flip=parts.source.flip), statistics=statistics,
        device=device,
    )  # fmt: skip
    kept: dict[str, np.ndarray[Any, Any]] = {"labels": validation.labels.astype(np.uint8)}
    done = 0

    def judge(model: nn.Module) -> dict[str, float]:
        nonlocal done
        done += 1
        if done not in rungs(variant):
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
    kept["made"] = np.array(f"{hardware(job.device)}; {', '.join(f'{k} {v}' for k, v in versions().items())}")
    with atomic(job.file) as temporary:
        np.savez_compressed(temporary, **kept)
    tops = " ".join(f"{record.metrics['top1']:.3f}" for record in history if record.metrics)
    return f"{job.variant} {job.name} seed {job.seed}: {tops}; test {evaluation.top1:.3f}; {sum(kept['seconds']):.0f} s"


def rungs(variant: Variant) -> list[int]:
    """Epochs after which its networks are judged."""
    return sorted({variant.epochs, *(rung for rung in RUNGS if rung < variant.epochs)})


def pack(out: Path, file: Path, rows: list[Row], facts: dict[str, Any]) -> None:
    """All variants into one file: validation (network, seed, rung, image) and test (network, seed, image)."""
    content: dict[str, Any] = {}
    for variant, settings in VARIANTS.items():
        folder = out / variant
        seeds = sorted({int(path.stem.split("seed")[1]) for path in folder.glob("c*.npz")})
        if not seeds:
            continue
        judged = rungs(settings)
        names = [name for name, _, _ in rows if all((folder / f"{name}-seed{seed}.npz").exists() for seed in seeds)]
        runs = [[dict(np.load(folder / f"{name}-seed{seed}.npz")) for seed in seeds] for name in names]
        content[f"{variant}_validation"] = np.array([[[r[f"validation{e}"] for e in judged] for r in s] for s in runs])
        content[f"{variant}_test"] = np.array([[r["test"] for r in s] for s in runs])
        content[f"{variant}_soft"] = np.array([[[r[f"soft{e}"] for e in judged] for r in s] for s in runs])
        content["labels"], content["test_labels"] = runs[0][0]["labels"], runs[0][0]["test_labels"]
        sizes = {name: (cost(spec).macs, spec.resolution) for name, spec, _ in trained(rows, settings)}
        facts["variants"][variant] = {
            **asdict(settings), "rungs": judged, "seeds": seeds, "networks": names,
            "macs": [sizes[name][0] for name in names], "px": [sizes[name][1] for name in names],
            "seconds": [[round(float(r["seconds"].sum()), 1) for r in s] for s in runs],
            "made": sorted({str(r["made"]) for s in runs for r in s}),
        }  # fmt: skip
    with atomic(file) as temporary:
        np.savez_compressed(temporary, **content)
    write_json(file.with_suffix(".json"), facts)


def jobs_of(
    rows: Sequence[Row], variant: str, seeds: Sequence[int], data: Dataset, path: str, px: int, out: Path, device: str
) -> list[Job]:  # fmt: skip
    """What of a variant is not there yet, seed after seed; images are decoded here, and resized where they are used."""
    jobs = [
        Job(name, spec, seed, variant, path, px, out, device)
        for seed in seeds for name, spec, _ in trained(rows, VARIANTS[variant])
    ]  # fmt: skip
    for part in (data.train, data.validation, data.test):
        part.at(part.master_px)
    return [job for job in jobs if not job.file.exists()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--networks", default="small", choices=NETWORKS)
    parser.add_argument("--variant", default="twelve", choices=VARIANTS)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--jobs", type=int, default=cores())
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--pack", type=Path, help="join what is there into this .npz and .json")
    options = parser.parse_args()
    wanted, variant = NETWORKS[options.networks], VARIANTS[options.variant]
    data = dataset(open_data(options.data), wanted.px, variant.images)
    rows = networks(len(data.classes), wanted)
    if options.pack:
        facts = {
            "data": data.source.name, "source_digest": data.source.digest, "target_macs": wanted.macs,
            "space": wanted.space, "classes": list(data.classes), "lr": RATE, "ema_decay": 0.99,
            "networks": {name: facts for name, _, facts in rows},
            "truth": options.variant, "variants": {},
        }  # fmt: skip
        pack(options.out, options.pack, rows, facts)
        return
    jobs = jobs_of(
        rows, options.variant, range(options.seeds), data, options.data, wanted.px, options.out, options.device
    )
    for number, (_, line) in enumerate(mapped(Processes(train, options.jobs), jobs), start=1):
        print(f"{number}/{len(jobs)} {line}", flush=True)


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
