import pickle
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from scalesearch.errors import UserError
from scalesearch.study.config import TrainConfig
from scalesearch.training.evaluation import evaluate
from scalesearch.training.loop import NonFiniteLoss
from scalesearch.training.probes import seconds_per_step
from scalesearch.training.step import classification_loss
from tests.training.toys import BATCH, CPU, STEPS, ToyNet, fit, tensor_hash, toy_batches


@pytest.mark.parametrize(
    "config",
    [
        TrainConfig(epochs=8, lr=0.02),
        TrainConfig(epochs=8, lr=0.2, optimizer="sgd", clip_grad_norm=0.0),
        TrainConfig(epochs=8, lr=0.02, ema_decay=0.9, body_lr_ratio=0.5),
        TrainConfig(epochs=8, lr=0.02, precision="bf16"),
    ],
    ids=["adamw", "sgd", "ema", "bf16"],
)
def test_a_learnable_problem_is_learnt(config: TrainConfig) -> None:
    network = ToyNet()
    history = fit(network, toy_batches, STEPS, config, loss=classification_loss(config), device=CPU)
    assert history[-1].train_loss < 0.7 * history[0].train_loss
    assert evaluate(network, toy_batches(100)).top1 > 0.9


def test_history_and_callbacks() -> None:
    config = TrainConfig(epochs=2, lr=0.5, warmup_epochs=0)
    steps, records = [], []
    history = fit(
        ToyNet(),
        toy_batches,
        STEPS,
        config,
        loss=classification_loss(config),
        device=CPU,
        evaluate=lambda network: {"top1": evaluate(network, toy_batches(9)).top1},
        on_step=lambda epoch, step: steps.append((epoch, step)),
        on_epoch=records.append,
    )
    assert steps == [(epoch, step) for epoch in range(2) for step in range(STEPS)]
    assert tuple(records) == history
    assert [record.epoch for record in history] == [0, 1]
    assert history[0].lr == pytest.approx(0.5 * 0.5 * (1 + torch.cos(torch.tensor(torch.pi * 3 / 8)).item()))
    assert all(0 <= record.metrics["top1"] <= 1 and record.seconds > 0 for record in history)


def test_a_run_is_a_plain_run() -> None:
    """Two epochs equal the same steps written out with torch alone: smoothing, clipping, warm-up and cosine."""
    config = TrainConfig(epochs=2, lr=0.1, optimizer="sgd", warmup_epochs=0.5, weight_decay=0.0, clip_grad_norm=0.1)
    ours, plain = ToyNet(), ToyNet()
    for network in (ours, plain):
        network.classifier[0].p = network.features[3].stochastic_depth.p = 0.0
    history = fit(ours, toy_batches, STEPS, config, loss=classification_loss(config), device=CPU)
    optimizer = torch.optim.SGD(plain.parameters(), lr=0.1, momentum=0.9, nesterov=True)
    rises = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: (step + 1) / 3 if step < 2 else 1)
    falls = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=2 * STEPS - 2)
    schedule = torch.optim.lr_scheduler.SequentialLR(optimizer, [rises, falls], milestones=[2])
    losses = []
    for images, labels in (batch for epoch in range(2) for batch in toy_batches(epoch)):
        targets = nn.functional.one_hot(labels, 3) * 0.9 + 0.1 / 3
        loss = -(targets * plain(images).log_softmax(1)).sum(1).mean()
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(plain.parameters(), 0.1)
        optimizer.step()
        schedule.step()
        losses.append(loss.item())
    assert [record.train_loss for record in history] == pytest.approx(
        [sum(losses[:STEPS]) / STEPS, sum(losses[STEPS:]) / STEPS], rel=1e-4
    )
    for (name, tensor), other in zip(ours.state_dict().items(), plain.state_dict().values(), strict=True):
        torch.testing.assert_close(tensor, other, rtol=1e-4, atol=1e-5, msg=name)


def test_the_network_that_was_evaluated_is_the_one_that_is_left() -> None:
    network, config, judged = ToyNet(), TrainConfig(epochs=2, lr=0.02, ema_decay=0.9), []

    def judge(average: ToyNet) -> dict[str, float]:
        judged.append(tensor_hash(average))
        return {}

    fit(network, toy_batches, STEPS, config, loss=classification_loss(config), device=CPU, evaluate=judge)
    assert judged[0] != judged[1] == tensor_hash(network)


def test_in_bf16_the_network_computes_in_bfloat16_and_the_loss_in_float32() -> None:
    network, config, inside, outside = ToyNet(), TrainConfig(epochs=1, precision="bf16"), set(), set()
    network.classifier.register_forward_hook(lambda module, inputs, outputs: inside.add(outputs.dtype))

    def loss(outputs: Tensor, labels: Tensor) -> Tensor:
        outside.add(outputs.dtype)
        return nn.functional.cross_entropy(outputs, labels)

    fit(network, toy_batches, STEPS, config, loss=loss, device=CPU)
    assert (inside, outside) == ({torch.bfloat16}, {torch.float32})


def test_same_seed_same_bits_and_another_seed_not() -> None:
    def trained(seed: int) -> str:
        network = ToyNet()
        config = TrainConfig(epochs=1, seed=seed)
        fit(network, toy_batches, STEPS, config, loss=classification_loss(config), device=CPU)
        return tensor_hash(network)

    before = torch.get_rng_state()
    first = trained(0)
    assert torch.equal(torch.get_rng_state(), before)  # the caller's randomness is not spent
    torch.rand(3)
    assert trained(0) == first
    assert trained(1) != first


def test_single_class_and_single_batch() -> None:
    network = ToyNet(classes=1)
    config = TrainConfig(epochs=2)
    history = fit(
        network,
        lambda epoch: toy_batches(epoch, steps=1, classes=1),
        1,
        config,
        loss=classification_loss(config),
        device=CPU,
    )
    assert [record.train_loss for record in history] == [0, 0]


def test_embeddings_take_any_loss_and_any_network() -> None:
    """A triplet loss over a network without classifier: no part of the loop is about classes."""
    network = nn.Sequential(nn.Flatten(), nn.Linear(108, 4))

    def triplets(outputs: Tensor, labels: Tensor) -> Tensor:
        distances = torch.cdist(outputs, outputs) + 1e-3
        same = labels[:, None] == labels[None, :]
        farthest = (distances * same).amax(1)
        nearest = distances.masked_fill(same, torch.inf).amin(1)
        return nn.functional.relu(farthest - nearest + 0.5).mean()

    history = fit(network, toy_batches, STEPS, TrainConfig(epochs=6, lr=0.02), loss=triplets, device=CPU)
    assert history[-1].train_loss < 0.5 * history[0].train_loss


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_a_loss_that_is_not_finite_ends_the_run_before_its_step(bad: float, tmp_path: Path) -> None:
    network, config = ToyNet(), TrainConfig(epochs=3)
    calls = iter(range(100))

    def loss(outputs: Tensor, labels: Tensor) -> Tensor:
        return nn.functional.cross_entropy(outputs, labels) * (bad if next(calls) == STEPS + 2 else 1)

    with pytest.raises(NonFiniteLoss, match="epoch 1, step 2") as caught:
        fit(network, toy_batches, STEPS, config, loss=loss, device=CPU, checkpoint=tmp_path / "run.safetensors")
    assert (caught.value.epoch, caught.value.step) == (1, 2)
    assert all(tensor.isfinite().all() for tensor in network.state_dict().values())
    copied = pickle.loads(pickle.dumps(caught.value))  # crosses processes
    assert (str(copied), copied.step) == (str(caught.value), 2)


@pytest.mark.parametrize(
    "error", [torch.OutOfMemoryError("CUDA out of memory"), RuntimeError("DefaultCPUAllocator: can't allocate memory")]
)
def test_out_of_memory_splits_the_batch_and_says_so(error: RuntimeError) -> None:
    config, notes, sizes = TrainConfig(epochs=2, batch_size=BATCH), [], []

    def loss(outputs: Tensor, labels: Tensor) -> Tensor:
        sizes.append(len(labels))
        if len(labels) > 4:
            raise error
        return nn.functional.cross_entropy(outputs, labels)

    fit(ToyNet(), toy_batches, STEPS, config, loss=loss, device=CPU, on_note=notes.append)
    assert sizes == [12, 6, *[3] * 4 * 2 * STEPS]  # found out once
    assert [note.split(";")[0].split(":")[0] for note in notes] == ["Memory ran out"] * 2
    assert "in 4 parts" in notes[1]
    assert "--accumulate 4" in notes[1]


def test_out_of_memory_says_what_to_do() -> None:
    def loss(outputs: Tensor, labels: Tensor) -> Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory")

    config, notes = TrainConfig(epochs=1, batch_size=BATCH, accumulate=3), []
    for on_note, parts in ((None, 3), (notes.append, 6)):
        with pytest.raises(
            UserError, match=rf"there is too little for a step of batch_size 12 in {parts} parts.*Lower batch_size"
        ):
            fit(ToyNet(), toy_batches, STEPS, config, loss=loss, device=CPU, on_note=on_note)
    assert len(notes) == 1


def test_other_errors_of_torch_are_not_taken_for_memory() -> None:
    def loss(outputs: Tensor, labels: Tensor) -> Tensor:
        raise RuntimeError("shapes do not match")

    with pytest.raises(RuntimeError, match="shapes"):
        fit(ToyNet(), toy_batches, STEPS, TrainConfig(epochs=1), loss=loss, device=CPU)


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        (3, "there are more batches; the schedule was made for 3"),
        (5, "there are 4 batches; the schedule was made for 5"),
        (0, "there is no batch"),
    ],
)
def test_another_number_of_batches_than_promised(steps: int, message: str) -> None:
    config = TrainConfig(epochs=1)
    with pytest.raises(UserError, match=message):
        fit(ToyNet(), toy_batches, steps, config, loss=classification_loss(config), device=CPU)


def test_settings_are_validated() -> None:
    with pytest.raises(UserError, match="training settings: lr"):
        fit(ToyNet(), toy_batches, STEPS, TrainConfig(epochs=1, lr=-1), loss=nn.CrossEntropyLoss(), device=CPU)


def test_timing_a_step_changes_neither_network_nor_randomness() -> None:
    network = ToyNet()
    before, state = tensor_hash(network), torch.get_rng_state()
    assert seconds_per_step(network, 8, 4, CPU, steps=2) > 0
    assert tensor_hash(network) == before
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.gpu
@pytest.mark.filterwarnings("ignore:Synchronization debug mode:UserWarning")
def test_on_a_gpu_training_learns_and_the_host_never_waits_within_an_epoch() -> None:
    device = torch.device("cuda:0")
    network, config = ToyNet(), TrainConfig(epochs=8, lr=0.02, ema_decay=0.9)

    def strict(epoch: int) -> list[tuple[Tensor, Tensor]]:
        batches = [(images.to(device), labels.to(device)) for images, labels in toy_batches(epoch)]
        torch.cuda.set_sync_debug_mode("error")
        return batches

    def relax(epoch: int, step: int) -> None:
        if step == STEPS - 2:  # the last step of an epoch reads the losses
            torch.cuda.set_sync_debug_mode("default")

    try:
        history = fit(network, strict, STEPS, config, loss=classification_loss(config), device=device, on_step=relax)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert history[-1].train_loss < history[0].train_loss
    batches = [(images.to(device), labels.to(device)) for images, labels in toy_batches(100)]
    assert evaluate(network, batches).top1 > 0.9
