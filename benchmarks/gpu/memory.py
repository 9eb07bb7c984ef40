"""(g) Memory of a training step: predicted without taking it, and the most that torch held on the card."""

import contextlib
import gc
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch

from benchmarks.gpu.sheet import Request, Row
from benchmarks.gpu.subject import TrainConfig, build, our_step, predict_memory, recomputing, spec_of

CASES: tuple[tuple[str, int, int, dict[str, Any]], ...] = (
    ("efficientnet_b0", 128, 224, {}),
    ("efficientnet_b0", 128, 224, {"precision": "fp32"}),
    ("efficientnet_b0", 128, 224, {"recompute": True}),
    ("efficientnet_b0", 256, 224, {"accumulate": 4}),
    ("efficientnet_b0", 128, 224, {"strategy": "tail"}),
    ("efficientnet_b0", 128, 224, {"strategy": "head"}),
    ("efficientnet_b0", 512, 112, {"ema_decay": 0.99}),
    ("resnet50", 64, 224, {}),
    ("mobilenet_v2", 256, 128, {}),
    ("mbconv_small", 512, 32, {}),
)


def measure(asked: Request) -> Iterator[Row]:
    """A row for each case; on a CPU predicted only (benchmarks/memory.py measures there)."""
    for space, batch, px, changes in CASES[-1:] if asked.tiny else CASES:
        config = TrainConfig(epochs=2, batch_size=batch, **changes)
        row: Row = {"network": space, "px": px, "batch": batch, "settings": str(changes or "")}
        try:
            yield row | one(space, px, config, asked.place)
        except Exception as error:  # the other cases are of use without this one
            yield row | {"error": f"{type(error).__name__}: {error}"[:300]}


def one(space: str, px: int, config: TrainConfig, device: torch.device) -> Row:
    """Predicted and measured megabytes of one case."""
    network = build(spec_of(space, px), seed=0).to(device)
    predicted = predict_memory(network, config, px)
    row: Row = {"predicted MB": round(predicted / 1e6)}
    if device.type != "cuda":
        return row
    gc.collect()
    torch.cuda.empty_cache()
    before = torch.cuda.memory_allocated() - sum(t.numel() * t.element_size() for t in network.state_dict().values())
    torch.cuda.reset_peak_memory_stats()
    shape = (config.batch_size, 3, px, px)
    images = torch.randn(shape, device=device).contiguous(memory_format=torch.channels_last)
    labels = torch.zeros(config.batch_size, dtype=torch.int64, device=device)
    with recomputing(network) if config.recompute else contextlib.nullcontext():
        step = our_step(network, replace(config), device)
        for _ in range(3):
            step(images, labels)
    torch.cuda.synchronize()
    allocated, reserved = torch.cuda.max_memory_allocated() - before, torch.cuda.max_memory_reserved()
    return row | {
        "allocated MB": round(allocated / 1e6), "reserved MB": round(reserved / 1e6),
        "predicted / allocated": predicted / allocated, "predicted / reserved": predicted / reserved,
    }  # fmt: skip
