"""Predicted memory against what a training takes, each in a process of its own."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from scalesearch.design.space import load_space
from scalesearch.nets.modules import build
from scalesearch.study.config import TrainConfig
from scalesearch.training.memory import available_memory, predict_memory
from tests.training.toys import CPU, ToyNet, tensor_hash

ROOT = Path(__file__).parents[2]
CONFIG = TrainConfig(epochs=2, batch_size=16)


def test_prediction_takes_nothing_and_changes_nothing() -> None:
    network = ToyNet()
    before, state = tensor_hash(network), torch.get_rng_state()
    absurd = predict_memory(network, replace(CONFIG, batch_size=1_000_000), 4096)
    assert absurd > 1e15
    assert tensor_hash(network) == before
    assert torch.equal(torch.get_rng_state(), state)
    assert all(parameter.requires_grad for parameter in network.parameters())


def test_what_saves_memory_is_predicted_to() -> None:
    network = build(replace(load_space("mbconv_small").baseline, resolution=64), seed=0)

    def needed(**changes: object) -> int:
        return predict_memory(network, replace(CONFIG, **changes), 64)

    plain = needed()
    assert needed(recompute=True) < 0.9 * plain
    assert needed(accumulate=4) < 0.6 * plain
    assert needed(strategy="head") < 0.6 * plain
    assert needed(precision="bf16") < plain
    assert needed(ema_decay=0.9) > plain
    assert needed(batch_size=32) == pytest.approx(2 * plain, rel=0.3)


@pytest.mark.parametrize(
    ("space", "batch", "px", "changes"),
    [("efficientnet_b0", 8, 160, {}), ("mobilenet_v2", 16, 128, {"optimizer": "sgd", "ema_decay": 0.9})],
    ids=["adamw", "sgd"],
)  # fmt: skip
def test_within_a_fifth_of_what_is_taken(space: str, batch: int, px: int, changes: dict[str, object]) -> None:
    if not Path("/proc/self/clear_refs").exists():
        pytest.skip("peak memory is read from /proc")
    ended = subprocess.run(
        [sys.executable, str(ROOT / "benchmarks" / "memory.py"), "--one", space, str(batch), str(px), repr(changes)],
        capture_output=True, text=True, check=True, timeout=200, cwd=ROOT,
    )  # fmt: skip
    predicted, measured = map(int, ended.stdout.split())
    assert predicted == pytest.approx(measured, rel=0.2)


def test_available_memory_is_this_machines() -> None:
    assert 1e7 < available_memory(CPU) < 1e14
