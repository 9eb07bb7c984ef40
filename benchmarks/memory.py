"""Predicted memory of a training against the largest that a process of its own takes.

    python benchmarks/memory.py

Linux only: the peak is VmHWM of /proc, reset before the training, less what the process held before.
"""

import argparse
import ast
import contextlib
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import torch

from scalesearch.design.space import load_space
from scalesearch.nets.modules import build
from scalesearch.study.config import TrainConfig
from scalesearch.training.memory import predict_memory
from scalesearch.training.sections import recomputing
from scalesearch.training.step import classification_loss, gradients, start, update

CPU = torch.device("cpu")
STEPS = 3
CASES: tuple[tuple[str, int, int, dict[str, object]], ...] = (
    ("efficientnet_b0", 16, 224, {}),
    ("efficientnet_b0", 16, 224, {"strategy": "tail"}),
    ("efficientnet_b0", 16, 224, {"strategy": "head"}),
    ("efficientnet_b0", 16, 224, {"recompute": True}),
    ("efficientnet_b0", 16, 160, {"ema_decay": 0.9, "optimizer": "sgd", "accumulate": 4}),
    ("efficientnet_lite0", 16, 160, {}),
    ("mobilenet_v2", 32, 128, {}),
    ("mobilenet_v2", 32, 128, {"recompute": True}),
    ("mbconv_small", 64, 64, {}),
)


def status(field: str) -> int:
    """Bytes of a field of /proc/self/status."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field))


def train(space: str, batch: int, px: int, config: TrainConfig, steps: int) -> None:
    network = build(replace(load_space(space).baseline, resolution=px), seed=0)
    training, loss = start(network, config, CPU), classification_loss(config)
    training.network.train()
    with recomputing(network) if config.recompute else contextlib.nullcontext():
        for step in range(steps):
            images = torch.randn(batch, 3, px, px).contiguous(memory_format=torch.channels_last)
            gradients(training, images, torch.zeros(batch, dtype=torch.int64), loss)
            update(training, step)


def one(space: str, batch: int, px: int, changes: dict[str, object]) -> None:
    """Prints predicted and measured bytes."""
    config = TrainConfig(epochs=2, batch_size=batch, **changes)  # type: ignore[arg-type]
    train("mbconv_small", 2, 32, TrainConfig(epochs=2, batch_size=2), 1)  # libraries load what they need
    predicted = predict_memory(build(replace(load_space(space).baseline, resolution=px), seed=0), config, px)
    Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here
    before = status("VmRSS")
    train(space, batch, px, config, STEPS)
    print(predicted, status("VmHWM") - before)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--one", nargs=4)
    given = parser.parse_args()
    if given.one:
        space, batch, px, changes = given.one
        return one(space, int(batch), int(px), ast.literal_eval(changes))
    print("| network | batch | px | settings | predicted, MB | measured, MB | ratio |\n|---|--:|--:|---|--:|--:|--:|")
    for space, batch, px, changes in CASES:
        command = [sys.executable, __file__, "--one", space, str(batch), str(px), repr(changes)]
        ended = subprocess.run(command, check=True, capture_output=True, text=True)
        predicted, measured = map(int, ended.stdout.split())
        settings = ", ".join(f"{name} {value}" for name, value in changes.items())
        print(f"| {space} | {batch} | {px} | {settings} | {predicted / 1e6:.0f} | {measured / 1e6:.0f} | "
              f"{predicted / measured:.2f} |", flush=True)  # fmt: skip
    return None


if __name__ == "__main__":
    main()
