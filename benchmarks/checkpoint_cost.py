"""What checkpoints cost: the same training with and without a checkpoint file, alternated.

python benchmarks/checkpoint_cost.py data/flowers --repeats 5
"""

import argparse
import statistics
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import torch

from scalesearch.data.batches import IMAGENET_STATISTICS, Augment, training_epochs
from scalesearch.data.dataset import dataset, open_data
from scalesearch.design.space import load_space
from scalesearch.nets.modules import build
from scalesearch.study.config import TrainConfig
from scalesearch.training.loop import Task, fit
from scalesearch.training.step import classification_loss

CPU = torch.device("cpu")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--resolution", type=int, default=64)
    parser.add_argument("--epochs", type=int, default=3)
    given = parser.parse_args()
    parts = dataset(open_data(given.data), given.resolution)
    spec = replace(load_space("efficientnet_b0").baseline, resolution=given.resolution, classes=len(parts.classes))
    config = TrainConfig(epochs=given.epochs, batch_size=32, ema_decay=0.99)
    epochs, steps = training_epochs(
        parts.train.at(given.resolution), 32, seed=0, augment=Augment(), statistics=IMAGENET_STATISTICS, device=CPU
    )

    def seconds(file: Path | None) -> float:
        network = build(spec, seed=0)
        began = time.perf_counter()
        fit(network, Task(epochs, steps, classification_loss(config)), config, CPU, checkpoint=file)
        return time.perf_counter() - began

    seconds(None)  # not counted: images are resized
    pairs = []
    for number in range(given.repeats):
        with tempfile.TemporaryDirectory() as folder:
            with_file = [seconds(Path(folder) / "run.safetensors")]
            without = [seconds(None)]
        pairs.append((with_file[0], without[0]))
        print(f"{number}: {with_file[0]:.2f} s with, {without[0]:.2f} s without", flush=True)
    shares = [one / other - 1 for one, other in pairs]
    print(
        f"B0 at {given.resolution} px, {given.epochs} epochs of {steps} steps: median {statistics.median(shares):+.2%} "
        f"({min(shares):+.2%} to {max(shares):+.2%})"
    )


if __name__ == "__main__":
    main()
