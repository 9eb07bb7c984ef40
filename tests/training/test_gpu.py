"""What a GPU computes, against the CPU's results: ``pytest -m gpu``. Skipped where there is none.

Tolerances are relative errors ‖there − here‖ / ‖here‖: 1e-5 for float32 without tensor cores, 5e-3 for TF32 and 5e-2
for bf16, each through all layers of a small network, forward and backward.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from scalesearch.data.arrays import ImageArrays
from scalesearch.data.batches import IMAGENET_STATISTICS, Augment, on_card, training_batches, training_epochs
from scalesearch.design.space import load_space
from scalesearch.design.spec import NetSpec
from scalesearch.errors import UserError
from scalesearch.nets.inherit import inherit
from scalesearch.nets.modules import MBConvNet, build
from scalesearch.nets.reconstruct import reconstruct
from scalesearch.running.executor import mapped
from scalesearch.running.processes import Processes
from scalesearch.study.config import TrainConfig
from scalesearch.training.checkpoint import SaveClock
from scalesearch.training.evaluation import evaluate
from scalesearch.training.memory import predict_memory
from scalesearch.training.probes import seconds_per_step
from scalesearch.training.sections import recomputing
from scalesearch.training.step import classification_loss, gradients, start, update
from tests.training.toys import BATCH, CPU, STEPS, ToyNet, fit, tensor_hash, toy_batches

pytestmark = pytest.mark.gpu
GPU = torch.device("cuda:0")
ROOT = Path(__file__).parents[2]
FP32, TF32, BF16 = 1e-5, 5e-3, 5e-2
MANY = 64


@pytest.fixture
def strict() -> Iterator[None]:
    """Float32 products in float32, and kernels that give the same bits each time."""
    before = torch.get_float32_matmul_precision()
    cudnn = torch.backends.cudnn
    flags = cudnn.allow_tf32, cudnn.deterministic
    cudnn.allow_tf32, cudnn.deterministic = False, True
    yield
    cudnn.allow_tf32, cudnn.deterministic = flags
    torch.set_float32_matmul_precision(before)


def small() -> NetSpec:
    return replace(load_space("mbconv_small").baseline, resolution=32, dropout=0.0, drop_path=0.0)


def batch(count: int = MANY, px: int = 32) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(count, 3, px, px, generator=generator).contiguous(memory_format=torch.channels_last)
    return images, torch.randint(10, (count,), generator=generator)


def error(there: Tensor, here: Tensor) -> float:
    return float((there.detach().cpu().double() - here.detach().double()).norm() / here.detach().double().norm())


def first_step(device: torch.device, precision: str) -> tuple[Tensor, Tensor]:
    """Loss and all gradients of a first step, in one vector."""
    config = TrainConfig(epochs=1, batch_size=MANY, precision=precision)
    training = start(build(small(), seed=0), config, device)
    training.network.train()
    images, labels = (part.to(device) for part in batch())
    loss = gradients(training, images, labels, classification_loss(config))
    return loss, torch.cat([p.grad.flatten() for p in training.network.parameters() if p.grad is not None])


@pytest.mark.timeout(240)
def test_the_commands_on_the_card(tmp_path: Path) -> None:
    """Search, family, fine-tuning, evaluation and the machine's check, on tiny glyphs."""

    def told(*arguments: str) -> str:
        ended = subprocess.run(
            [sys.executable, "-m", "scalesearch", *arguments], check=False, capture_output=True, text=True,
            cwd=tmp_path, env={**os.environ, "PYTHONPATH": f"{ROOT}:{os.environ.get('PYTHONPATH', '')}"}, timeout=200,
        )  # fmt: skip
        assert ended.returncode == 0, ended.stdout[-1500:] + ended.stderr[-1500:]
        assert "Warning" not in ended.stderr, ended.stderr[-1500:]
        return ended.stdout + ended.stderr

    run = ("--run", str(tmp_path / "run"))
    search = ("grid", "--space", "mbconv_small", "--target-flops", "1M", "--step", "0.5", "--images", "640")
    learns = ("--epochs", "8", "--batch-size", "16", "--lr", "0.004")  # or the search would end after the baseline
    told(*search, *learns, "--yes", *run)
    told("family", *run)
    told("finetune", "--model", "b1", "--epochs", "1", *run)
    assert "cuda" in told("doctor").lower()


@pytest.mark.parametrize(("precision", "tolerance"), [("fp32", TF32), ("bf16", BF16)], ids=["tf32", "bf16"])
def test_loss_and_gradients_are_the_cpus(precision: str, tolerance: float) -> None:
    (loss, there), (expected_loss, here) = first_step(GPU, precision), first_step(CPU, "fp32")
    assert torch.get_float32_matmul_precision() == "high"
    assert error(loss, expected_loss) < tolerance
    assert error(there, here) < 4 * tolerance  # a backward pass goes through twice as many products, and batch norm


@pytest.mark.usefixtures("strict")
def test_without_tensor_cores_to_five_digits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scalesearch.training.step.allow_tf32", lambda device: None)
    torch.set_float32_matmul_precision("highest")
    (loss, there), (expected_loss, here) = first_step(GPU, "fp32"), first_step(CPU, "fp32")
    assert error(loss, expected_loss) < FP32
    assert error(there, here) < 100 * FP32  # batch norm divides by deviations of few values


def test_auto_is_bf16_where_the_gpu_has_it() -> None:
    network, inside = ToyNet(), set()
    network.classifier.register_forward_hook(lambda module, inputs, outputs: inside.add(outputs.dtype))
    config = TrainConfig(epochs=1)
    fit(network, toy_batches, STEPS, config, loss=classification_loss(config), device=GPU)
    assert inside == {torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float32}


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_evaluation_gives_the_cpus_answers(precision: str) -> None:
    network, batches = build(small(), seed=0), [batch()]
    here = evaluate(network, batches)
    there = evaluate(network.to(GPU), batches, precision=precision)
    assert there.loss == pytest.approx(here.loss, rel=BF16)
    assert np.mean(there.predictions == here.predictions) > 0.85


@pytest.mark.parametrize("strategy", ["head", "tail"])
def test_frozen_tensors_stay_bit_for_bit(strategy: str) -> None:
    config = TrainConfig(epochs=2, batch_size=BATCH, strategy=strategy, tail_blocks=1, body_lr_ratio=0.5)
    network = build(replace(small(), classes=3), seed=0)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    fit(network, toy_batches, STEPS, config, loss=classification_loss(config), device=GPU)
    changed = {name for name, tensor in network.state_dict().items() if not torch.equal(tensor.cpu(), before[name])}
    assert {"classifier.1.weight", "classifier.1.bias"} <= changed
    assert not any(name.startswith(("features.0.", "features.1.")) for name in changed)
    assert strategy == "tail" or all(name.startswith("classifier") for name in changed)


class Stop(Exception):  # noqa: N818 (no error)
    pass


@pytest.mark.usefixtures("strict")
@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_training_stopped_anywhere_continues(
    accumulate: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Dropout and stochastic depth draw on the card: its random state is kept, too."""
    config = TrainConfig(
        epochs=3, lr=0.02, batch_size=BATCH, ema_decay=0.9, precision="fp32", accumulate=accumulate
    )  # fmt: skip
    path, loss = tmp_path / "run.safetensors", classification_loss(config)
    whole, again = ToyNet(), ToyNet()
    expected = fit(whole, toy_batches, STEPS, config, loss=loss, device=GPU)
    fit(again, toy_batches, STEPS, config, loss=loss, device=GPU)
    repeatable = tensor_hash(whole) == tensor_hash(again)
    monkeypatch.setattr(SaveClock, "due_within", lambda self: True)
    for at in [(0, 1), (1, 0)]:

        def stop(epoch: int, step: int, at: tuple[int, int] = at) -> None:
            if (epoch, step) == at:
                torch.rand(7, device=GPU)
                raise Stop

        with pytest.raises(Stop):
            fit(ToyNet(), toy_batches, STEPS, config, loss=loss, device=GPU, checkpoint=path, on_step=stop)
    last = ToyNet(seed=6)
    history = fit(last, toy_batches, STEPS, config, loss=loss, device=GPU, checkpoint=path)
    assert [r.train_loss for r in history] == pytest.approx([r.train_loss for r in expected], rel=1e-4)
    for (name, tensor), other in zip(last.state_dict().items(), whole.state_dict().values(), strict=True):
        assert error(tensor.float(), other.float().cpu()) < 1e-3, name
    assert not repeatable or tensor_hash(last) == tensor_hash(whole)


@pytest.fixture
def little_memory() -> Iterator[None]:
    """400 MB of the card beyond what this process holds."""
    torch.cuda.empty_cache()
    total = torch.cuda.get_device_properties(GPU).total_memory
    torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_reserved() + 400e6) / total, GPU)
    yield
    torch.cuda.set_per_process_memory_fraction(1.0, GPU)
    torch.cuda.empty_cache()


def one_batch(epoch: int) -> list[tuple[Tensor, Tensor]]:
    return [tuple(part.to(GPU) for part in batch(1024))]  # type: ignore[misc]


@pytest.mark.usefixtures("little_memory")
def test_out_of_memory_on_purpose_splits_the_batch_and_goes_on() -> None:
    config, notes = TrainConfig(epochs=6, batch_size=1024, precision="fp32"), []
    network = build(small(), seed=0)
    history = fit(
        network, one_batch, 1, config, loss=classification_loss(config), device=GPU, on_note=notes.append
    )  # fmt: skip
    assert len(history) == 6  # the last two of them recorded, if the memory suffices for that
    assert notes
    assert all(note.startswith("Memory ran out") for note in notes)
    assert all(tensor.isfinite().all() for tensor in network.state_dict().values())


@pytest.mark.usefixtures("little_memory")
def test_out_of_memory_says_what_to_do_and_gives_it_back() -> None:
    config = TrainConfig(epochs=1, batch_size=1024, precision="fp32")
    held = torch.cuda.memory_allocated()
    with pytest.raises(UserError, match="too little for a step of batch_size 1024"):
        fit(build(small(), seed=0), one_batch, 1, config, loss=classification_loss(config), device=GPU)
    assert torch.cuda.memory_allocated() - held < 50e6


@pytest.mark.parametrize(
    ("space", "count", "px", "changes"),
    [
        ("efficientnet_b0", 64, 128, {}),
        ("efficientnet_b0", 64, 128, {"precision": "fp32", "ema_decay": 0.9, "optimizer": "sgd"}),
        ("efficientnet_b0", 64, 128, {"recompute": True}),
        ("efficientnet_b0", 64, 128, {"strategy": "head"}),
        ("mbconv_small", 512, 64, {"accumulate": 2}),
    ],
    ids=["bf16", "fp32", "recompute", "head", "accumulate"],
)  # fmt: skip
def test_predicted_memory_is_within_a_fifth_of_what_is_taken(
    space: str, count: int, px: int, changes: dict[str, object]
) -> None:
    config = TrainConfig(epochs=1, batch_size=count, **changes)  # type: ignore[arg-type]
    torch.zeros(1, device=GPU)
    torch.cuda.empty_cache()
    before = torch.cuda.memory_allocated()
    network = build(replace(load_space(space).baseline, resolution=px), seed=0).to(GPU)
    predicted = predict_memory(network, config, px)
    torch.cuda.reset_peak_memory_stats()
    training, loss = start(network, config, GPU), classification_loss(config)
    training.network.train()
    images, labels = (part.to(GPU) for part in batch(count, px))
    for step in range(3):
        if config.recompute:
            with recomputing(network):
                gradients(training, images, labels, loss)
        else:
            gradients(training, images, labels, loss)
        update(training, step)
    measured = torch.cuda.max_memory_allocated() - before
    assert predicted == pytest.approx(measured, rel=0.2)


@pytest.mark.filterwarnings("ignore:Synchronization debug mode:UserWarning")
def test_images_on_the_card_give_the_same_batches_without_a_wait() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (300, 16, 16, 3), np.uint8)
    arrays = ImageArrays(pixels, np.arange(300), "", Path())
    given = {"seed": 0, "augment": Augment(), "statistics": IMAGENET_STATISTICS, "device": GPU}
    assert on_card(arrays, GPU) is not None
    from_host = list(training_batches(arrays, 64, epoch=1, **given))  # type: ignore[arg-type]
    epoch, _ = training_epochs(arrays, 64, **given)  # type: ignore[arg-type]
    list(epoch(0))
    torch.cuda.set_sync_debug_mode("error")
    try:
        resident = list(epoch(1))
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert len(resident) == len(from_host)
    for (images, labels), (others, known) in zip(resident, from_host, strict=True):
        assert torch.equal(images, others)
        assert torch.equal(labels, known)
        assert images.is_contiguous(memory_format=torch.channels_last)


def test_the_crops_are_the_cpus_up_to_resampling() -> None:
    rng = np.random.default_rng(0)
    smooth = np.linspace(0, 200, 32)[None, :, None, None] + np.linspace(0, 50, 32)[None, None, :, None]
    pixels = (smooth + rng.integers(0, 5, (64, 1, 1, 3))).astype(np.uint8)
    arrays = ImageArrays(pixels, np.zeros(64, np.int64), "", Path())
    given = {"seed": 0, "epoch": 0, "augment": Augment(), "statistics": IMAGENET_STATISTICS}
    [(there, _)] = training_batches(arrays, 64, device=GPU, **given)  # type: ignore[arg-type]
    [(here, _)] = training_batches(arrays, 64, device=CPU, **given)  # type: ignore[arg-type]
    assert (there.cpu() - here).abs().mean() < 0.06  # of a deviation: crops there are cut between pixels


def test_a_narrower_network_is_repaired_on_the_card() -> None:
    wide = build(small(), seed=0)
    spec = replace(small(), stages=tuple(replace(s, width=s.width - 8 * (s.width > 16)) for s in small().stages))

    def repaired(device: torch.device) -> MBConvNet:
        network, plan = inherit(wide.spec, wide.state_dict(), spec, seed=0)
        reference = build(small(), seed=0)
        reconstruct(network.to(device), plan, reference.to(device), batch()[0].to(device))
        return network.to(CPU)

    there, here = repaired(GPU), repaired(CPU)
    images = batch()[0]
    with torch.inference_mode():
        assert error(there.eval()(images), here.eval()(images)) < BF16


def step_seconds(seed: int, beat: object) -> float:
    """In a worker."""
    return seconds_per_step(build(small(), seed=seed), 32, 64, GPU, steps=3)


def trained(
    config: TrainConfig, spec: NetSpec, monkeypatch: pytest.MonkeyPatch, record: bool
) -> tuple[nn.Module, list[float]]:
    """A small network after a few epochs of six full batches and a short one, with the mean losses."""
    batches = [tuple(part.to(GPU) for part in batch(size)) for size in (*[MANY] * 6, MANY // 2)]
    if not record:
        monkeypatch.setattr("scalesearch.training.loop.recordable", lambda training, loss: False)
    network = build(spec, seed=0)
    history = fit(network, lambda epoch: batches, 7, config, loss=classification_loss(config), device=GPU)  # type: ignore[arg-type, return-value]
    monkeypatch.undo()
    return network, [record.train_loss for record in history]


@pytest.mark.usefixtures("strict")
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"accumulate": 2, "ema_decay": 0.9},
        {"strategy": "gradual", "epochs": 5},
        {"precision": "bf16"},
        {"optimizer": "sgd", "lr": 0.05},
    ],
    ids=["adamw", "accumulate", "gradual", "bf16", "sgd"],
)
def test_recorded_steps_are_plain_ones(changes: dict[str, object], monkeypatch: pytest.MonkeyPatch) -> None:
    """Dropout and stochastic depth draw the same numbers, short batches and other sections come between."""
    settings = {"epochs": 3, "batch_size": MANY, "precision": "fp32", **changes}
    config, spec = TrainConfig(**settings), replace(small(), dropout=0.2, drop_path=0.2)  # type: ignore[arg-type]
    replayed = []
    replay = torch.cuda.CUDAGraph.replay
    monkeypatch.setattr(torch.cuda.CUDAGraph, "replay", lambda graph: (replayed.append(1), replay(graph)))
    there, losses = trained(config, spec, monkeypatch, record=True)
    assert len(replayed) >= 6
    here, expected = trained(config, spec, monkeypatch, record=False)
    tolerance = 0.1 if config.precision == "bf16" else 5e-3
    assert losses == pytest.approx(expected, rel=tolerance)
    for (name, tensor), other in zip(there.state_dict().items(), here.state_dict().values(), strict=True):
        assert error(tensor.float(), other.float().cpu()) < 10 * tolerance, name


def test_two_processes_share_the_card() -> None:
    results = list(mapped(Processes(step_seconds, 2), range(4)))
    assert sorted(seed for seed, _ in results) == [0, 1, 2, 3]
    assert all(seconds > 0 for _, seconds in results)


def test_other_layers_have_gradients_on_the_card_too() -> None:
    """A fused kernel for parameters of several devices or types would fail where the network is mixed."""
    network = nn.Sequential(nn.Flatten(), nn.Linear(108, 4))
    config = TrainConfig(epochs=1, optimizer="sgd")
    history = fit(network, toy_batches, STEPS, config, loss=classification_loss(config), device=GPU)
    assert history[0].train_loss > 0
