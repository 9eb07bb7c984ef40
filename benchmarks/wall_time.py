"""Wall time of a search: ours beside Optuna's GridSampler with a plain PyTorch loop, same candidates, data and machine.

    python benchmarks/wall_time.py PATH_TO_SET --run runs/wall [--grid-trials 2]

Ours is ``scalesearch grid`` as a user types it (``--target-flops 1M``, 4800 images, batch 64, 10 epochs), into a fresh
run. Theirs trains grid points one after another as a user would write it: ImageFolder, torchvision's transforms and
DataLoader with a worker per core, NCHW float32, AdamW, cosine, all cores for each training. ``--grid-trials`` of the
grid's points are trained to the end and the rest is scaled up from them by the number of candidates; the table says so.
"""

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

import optuna
import torch
from torch import nn
from torch.utils.data import DataLoader, Subset
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2

from scalesearch.design.candidates import Candidate, enumerate_candidates
from scalesearch.design.scaling import size_baseline
from scalesearch.design.space import Grid, load_space
from scalesearch.nets.modules import build

EPOCHS, BATCH, IMAGES, VALIDATION = 10, 64, 4800, 1200
Pair = tuple[torch.Tensor, torch.Tensor]
MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]


def loader(folder: Path, size: int, train: bool, indices: list[int], workers: int) -> "DataLoader[Pair]":
    """torchvision's own, as its tutorials have it."""
    augment: list[nn.Module] = [v2.RandomResizedCrop(size, (0.7, 1.0), (0.8, 1.25)), v2.RandomHorizontalFlip()]
    steps = [
        v2.ToImage(), *(augment if train else [v2.Resize((size, size))]), v2.ToDtype(torch.float32, scale=True),
        v2.Normalize(MEAN, STD),
    ]  # fmt: skip
    images = Subset(ImageFolder(str(folder), v2.Compose(steps)), indices)
    return DataLoader(images, BATCH, shuffle=train, num_workers=workers, persistent_workers=True, drop_last=train)


def plain_training(candidate: Candidate, folder: Path, workers: int) -> float:
    """Validation accuracy of one grid point after a full training."""
    order = torch.randperm(IMAGES + VALIDATION, generator=torch.Generator().manual_seed(0)).tolist()
    size = candidate.spec.resolution
    train = loader(folder, size, True, order[:IMAGES], workers)
    validation = loader(folder, size, False, order[IMAGES:], workers)
    network = build(candidate.spec, seed=0)
    criterion = nn.CrossEntropyLoss(label_smoothing=0.1)
    optimizer = torch.optim.AdamW(network.parameters(), lr=2e-3, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, EPOCHS * len(train))
    for _ in range(EPOCHS):
        network.train()
        for images, labels in train:
            optimizer.zero_grad()
            criterion(network(images), labels).backward()
            optimizer.step()
            schedule.step()
    network.eval()
    with torch.inference_mode():
        right = sum(int((network(images).argmax(1) == labels).sum()) for images, labels in validation)
    return right / VALIDATION


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--run", type=Path, required=True, help="a folder that is not there yet")
    parser.add_argument("--grid-trials", type=int, default=2)
    options = parser.parse_args()
    workers = os.cpu_count() or 1
    command = [
        "grid", "--space", "mbconv_small", "--target-flops", "1M", "--data", str(options.data), "--batch-size", "64",
        "--images", str(IMAGES), "--run", str(options.run), "--yes",
    ]  # fmt: skip
    began = time.perf_counter()
    ours = subprocess.run(
        [sys.executable, "-c", "from scalesearch.cli.main import run; run()", *command],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    seconds = time.perf_counter() - began
    print(next(line for line in ours.stdout.splitlines() if line.startswith("Trainings:")))
    print(f"scalesearch grid: {seconds:.0f} s")
    baseline = size_baseline(load_space("mbconv_small"), 1e6, 10)
    candidates = enumerate_candidates(baseline, Grid(0.1, 0.1, 2.0)).candidates
    study = optuna.create_study(
        direction="maximize", sampler=optuna.samplers.GridSampler({"candidate": list(range(len(candidates)))}, seed=0)
    )
    taken: list[float] = []

    def objective(trial: optuna.Trial) -> float:
        candidate = candidates[trial.suggest_int("candidate", 0, len(candidates) - 1)]
        start = time.perf_counter()
        accuracy = plain_training(candidate, options.data / "train", workers)
        taken.append(time.perf_counter() - start)
        return accuracy

    study.optimize(objective, n_trials=options.grid_trials)
    whole = sum(taken) / len(taken) * len(candidates)
    each = ", ".join(f"{one:.0f}" for one in taken)
    print(f"GridSampler, plain loop: {each} s for {len(taken)} of {len(candidates)} points: {whole:.0f} s for all")
    print(f"ratio {whole / seconds:.1f}; {torch.get_num_threads()} threads, torch {torch.__version__}")


if __name__ == "__main__":
    main()
