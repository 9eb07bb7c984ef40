import contextlib
import dataclasses
import itertools
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import safetensors.torch
import torch
from safetensors import safe_open
from torch import Tensor

from scalesearch.errors import UserError
from scalesearch.study.config import TrainConfig
from scalesearch.training import checkpoint, loop
from scalesearch.training.checkpoint import FORMAT, HEADER, SaveClock
from scalesearch.training.history import EpochRecord, History, Watcher
from scalesearch.training.loop import Task
from scalesearch.training.step import classification_loss
from tests.training.toys import CPU, STEPS, ToyNet, fit, tensor_hash, toy_batches

CONFIG = TrainConfig(epochs=4, lr=0.02, ema_decay=0.9)


class Stop(BaseException):
    """Stands for whatever ends a process."""


def run(network: ToyNet, path: Path | None, config: TrainConfig = CONFIG, **callbacks: object) -> History:
    return fit(
        network, toy_batches, STEPS, config, loss=classification_loss(config), device=CPU, checkpoint=path, **callbacks
    )


def losses(history: History) -> list[float]:
    return [record.train_loss for record in history]


def stop_after(epoch: int) -> object:
    def on_epoch(record: EpochRecord) -> None:
        if record.epoch == epoch:
            raise Stop

    return on_epoch


@pytest.fixture(autouse=True)
def _always_due(monkeypatch: pytest.MonkeyPatch) -> None:
    """These epochs are far too short to be worth a file each."""
    monkeypatch.setattr(SaveClock, "due", lambda self: True)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "new folder" / "run.safetensors"


@pytest.mark.parametrize(
    "config",
    [
        CONFIG,
        dataclasses.replace(CONFIG, ema_decay=0.0, optimizer="sgd"),
        dataclasses.replace(CONFIG, strategy="head"),
        dataclasses.replace(CONFIG, body_lr_ratio=0.1, precision="bf16"),
        dataclasses.replace(CONFIG, strategy="gradual", tail_blocks=0),
        dataclasses.replace(CONFIG, accumulate=3, layer_decay=0.5),
    ],
    ids=["ema", "sgd", "head", "bf16", "gradual", "accumulate"],
)
def test_two_epochs_and_two_more_are_four_bit_for_bit(config: TrainConfig, path: Path) -> None:
    straight = ToyNet()
    expected = run(straight, None, config)
    with pytest.raises(Stop):
        run(ToyNet(), path, config, on_epoch=stop_after(1))
    torch.rand(5)  # another process would not have this one's random state either
    resumed, epochs = ToyNet(seed=99), []
    history = run(resumed, path, config, on_epoch=lambda record: epochs.append(record.epoch))
    assert epochs == [2, 3]
    assert tensor_hash(resumed) == tensor_hash(straight)
    assert losses(history) == losses(expected)


@pytest.mark.parametrize("where", [(0, 1), (2, 0), (3, STEPS - 1)])
def test_an_interruption_at_any_step_costs_its_epoch_and_nothing_else(where: tuple[int, int], path: Path) -> None:
    straight = ToyNet()
    run(straight, None)

    def interrupt(epoch: int, step: int) -> None:
        if (epoch, step) == where:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(ToyNet(), path, on_step=interrupt)
    resumed = ToyNet()
    assert len(run(resumed, path)) == 4
    assert tensor_hash(resumed) == tensor_hash(straight)
    assert [file.name for file in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize(
    "config",
    [
        CONFIG,
        dataclasses.replace(CONFIG, strategy="gradual", accumulate=2, patience=3),
        dataclasses.replace(CONFIG, recompute=True),
    ],
    ids=["full", "gradual", "recompute"],
)
def test_stopped_in_the_middle_of_epochs_it_continues_bit_for_bit(
    path: Path, config: TrainConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = ToyNet()
    expected = run(whole, None, config)
    monkeypatch.setattr(SaveClock, "due_within", lambda self: True)
    trained = []
    for at in [(0, 1), (1, 0), (2, 2)]:

        def on_step(epoch: int, step: int, at: tuple[int, int] = at) -> None:
            trained.append((epoch, step))
            if (epoch, step) == at:
                torch.rand(7)  # what the process did with its randomness is of no account
                raise Stop

        with pytest.raises(Stop):
            run(ToyNet(), path, config, on_step=on_step)
    last = ToyNet(seed=6)
    history = run(last, path, config, on_step=lambda epoch, step: trained.append((epoch, step)))
    assert tensor_hash(last) == tensor_hash(whole)
    assert losses(history) == losses(expected)
    assert trained == [(epoch, step) for epoch in range(4) for step in range(STEPS)]  # no step was done twice


class Clock:
    """Seconds that go by when they are told to."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


@pytest.mark.parametrize("life_seconds", [4, 15])
def test_a_training_that_is_killed_every_few_seconds_ends_bit_for_bit(
    path: Path, monkeypatch: pytest.MonkeyPatch, life_seconds: int
) -> None:
    """Steps take a second, an epoch 40, which is longer than any life."""
    monkeypatch.undo()
    config, drawn, clock = dataclasses.replace(CONFIG, epochs=2), [], Clock()
    monkeypatch.setattr(checkpoint, "SaveClock", lambda: SaveClock(clock))

    def batches(epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        return toy_batches(epoch, steps=40)

    def rest(epoch: int, done: int) -> Iterator[tuple[Tensor, Tensor]]:
        drawn.append(done)
        return itertools.islice(batches(epoch), done, None)

    def trained(network: ToyNet, file: Path | None, on_step: Callable[[int, int], None]) -> History:
        task = Task(batches, 40, classification_loss(config), rest=rest)
        return loop.fit(network, task, config, CPU, watcher=Watcher(step=on_step), checkpoint=file)

    whole = ToyNet()
    expected = trained(whole, None, lambda *_: None)
    for lives in itertools.count(1):
        began, last = clock.seconds, ToyNet(seed=lives if path.exists() else 0)

        def on_step(epoch: int, step: int, began: float = began) -> None:
            clock.seconds += 1
            if clock.seconds - began >= life_seconds:
                raise Stop

        with contextlib.suppress(Stop):
            history = trained(last, path, on_step)
            break
    assert tensor_hash(last) == tensor_hash(whole)
    assert losses(history) == losses(expected)
    assert lives <= 1 + 2 * 80 / life_seconds
    assert 2 * len(drawn) >= lives - 2  # it nearly always went on within an epoch


def test_writing_comes_early_and_stays_a_fiftieth_of_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    clock = Clock()
    keeping, written = SaveClock(clock), []
    while clock.seconds < 2000:
        clock.seconds += 0.5
        if keeping.due_within():
            written.append(clock.seconds)
            with keeping.saving():
                clock.seconds += 0.3
    assert written[:2] == [2.0, 17.3]  # the second one 50 times 0.3 s later
    assert min(later - earlier for earlier, later in itertools.pairwise(written[3:])) >= 20
    assert 0.3 * len(written) <= 0.02 * 2000


def test_a_finished_run_is_only_loaded(path: Path) -> None:
    first, again = ToyNet(), ToyNet(seed=5)
    history = run(first, path)

    def nothing(epoch: int) -> list[tuple[Tensor, Tensor]]:
        raise AssertionError("no batch is needed")

    loss = classification_loss(CONFIG)
    assert fit(again, nothing, STEPS, CONFIG, loss=loss, device=CPU, checkpoint=path) == history
    assert tensor_hash(again) == tensor_hash(first)


def test_a_crash_while_writing_leaves_the_last_whole_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Stop):
        run(ToyNet(), path, on_epoch=stop_after(0))
    content = path.read_bytes()

    def crash(source: object, target: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("os.replace", crash)
        with pytest.raises(KeyboardInterrupt):
            run(ToyNet(), path)
    assert path.read_bytes() == content
    assert [file.name for file in path.parent.iterdir()] == [path.name]
    assert len(run(ToyNet(), path)) == 4


@pytest.fixture
def finished(path: Path) -> Path:
    run(ToyNet(), path, dataclasses.replace(CONFIG, epochs=1))
    return path


def refuse(path: Path, message: str, network: ToyNet | None = None, **changes: object) -> None:
    content, network = path.read_bytes(), network or ToyNet()
    before = tensor_hash(network)
    with pytest.raises(UserError, match=message):
        run(network, path, dataclasses.replace(CONFIG, **{"epochs": 1, **changes}))
    assert path.read_bytes() == content  # neither overwritten
    assert tensor_hash(network) == before  # nor half loaded


def test_other_settings_are_named(finished: Path) -> None:
    refuse(finished, r"it was trained with lr 0\.02, not 0\.5\. Run with the former settings", lr=0.5)
    refuse(finished, r"it was trained with epochs 1, not 9\.", epochs=9)


def test_another_length_of_epoch_is_refused(finished: Path) -> None:
    config = dataclasses.replace(CONFIG, epochs=1)
    with pytest.raises(UserError, match=r"it was trained with steps_per_epoch 4, not 3\."):
        fit(ToyNet(), toy_batches, 3, config, loss=classification_loss(config), device=CPU, checkpoint=finished)


def test_another_architecture_is_refused(finished: Path) -> None:
    refuse(finished, "it holds architecture .*, not .*, which is trained", ToyNet(width=16))


def rewrite(path: Path, **changes: object) -> None:
    """Change the header of a checkpoint."""
    with safe_open(path, framework="pt") as file:
        header = json.loads(file.metadata()[HEADER])
    tensors = safetensors.torch.load_file(path)
    safetensors.torch.save_file(tensors, path, metadata={HEADER: json.dumps({**header, **changes})})


def test_a_newer_format_is_refused(finished: Path) -> None:
    rewrite(finished, format=FORMAT + 1)
    refuse(finished, f"its format is {FORMAT + 1}; this version reads {FORMAT}. Update scalesearch")


def test_the_former_format_is_read(finished: Path) -> None:
    expected = ToyNet()
    run(expected, finished, dataclasses.replace(CONFIG, epochs=1))
    with safe_open(finished, framework="pt") as file:
        header = json.loads(file.metadata()[HEADER])
    del header["begun"]
    tensors = safetensors.torch.load_file(finished)
    safetensors.torch.save_file(tensors, finished, metadata={HEADER: json.dumps({**header, "format": 1})})
    again = ToyNet(seed=3)
    run(again, finished, dataclasses.replace(CONFIG, epochs=1))
    assert tensor_hash(again) == tensor_hash(expected)


@pytest.mark.parametrize("share", [0.0, 0.001, 0.5, 0.999])
def test_a_truncated_file_is_refused(finished: Path, share: float) -> None:
    content = finished.read_bytes()
    finished.write_bytes(content[: int(len(content) * share)])
    refuse(finished, "the file is damaged or is no checkpoint.*Remove the file")


def test_a_foreign_file_is_refused(finished: Path) -> None:
    safetensors.torch.save_file({"weight": torch.zeros(2)}, finished)
    refuse(finished, "the file is damaged or is no checkpoint")


def test_unwritable_place_is_reported_not_swallowed(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="file"):
        run(ToyNet(), tmp_path / "file" / "run.safetensors")


def test_tied_weights_can_be_kept(path: Path) -> None:
    network = ToyNet()
    network.features.add_module("again", network.features[3])
    config = dataclasses.replace(CONFIG, epochs=2)
    run(network, path, config)
    again = ToyNet(seed=3)
    again.features.add_module("again", again.features[3])
    run(again, path, config)
    assert tensor_hash(again) == tensor_hash(network)


def rewritten(path: Path, header: dict[str, object] | None = None, drop: str = "", reshape: str = "") -> None:
    """The same file with parts of its header replaced, a tensor dropped or one of another shape."""
    with safe_open(path, framework="pt") as file:
        old = json.loads(file.metadata()[HEADER])
        tensors = {name: file.get_tensor(name) for name in file.keys() if name != drop}  # noqa: SIM118
    if reshape:
        tensors[reshape] = tensors[reshape].flatten()
    safetensors.torch.save_file(tensors, path, {HEADER: json.dumps({**old, **(header or {})})})


WEIGHT = "features.0.weight"


@pytest.mark.parametrize(
    "change",
    [
        {"header": {"identity": None}},
        {"header": {"history": [{"epoch": 0}]}},
        {"header": {"history": [{"epoch": 7, "train_loss": 1.0, "lr": 1.0, "seconds": 1.0}]}},
        {"header": {"history": 3}},
        {"header": {"history": {}}},
        {"header": {"history": []}},
        {"header": {"begun": {"losses": ["x"], "seconds": 1.0}}},
        {"header": {"begun": {"losses": [1.0] * 1000, "seconds": 1.0}}},
        {"drop": f"network.{WEIGHT}"},
        {"drop": f"average.{WEIGHT}"},
        {"drop": "optimizer.0.exp_avg"},
        {"reshape": f"network.{WEIGHT}"},
        {"reshape": "optimizer.0.exp_avg"},
    ],
)
def test_a_damaged_checkpoint_is_one_error_and_changes_nothing(path: Path, change: dict[str, object]) -> None:
    run(ToyNet(), path)
    rewritten(path, **change)
    network = ToyNet(seed=3)
    before = tensor_hash(network)
    with pytest.raises(UserError, match="the file is damaged or is no checkpoint"):
        run(network, path)
    assert tensor_hash(network) == before
