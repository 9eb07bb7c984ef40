"""A training in a folder: claimed, continued, judged and written; a classifier and an embedder pass in what differs."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from scalesearch.errors import UserError
from scalesearch.files import PUBLIC, read_json, together, write_json
from scalesearch.study.config import TrainConfig
from scalesearch.training.distributed import of_first, ranks
from scalesearch.training.history import EpochRecord, History, Watcher, best_epoch
from scalesearch.training.loop import Task, fit

MODEL_FILE, CHECKPOINT_FILE, METRICS_FILE = "model.safetensors", "checkpoint.safetensors", "metrics.json"
TRAINING_FILE = "training.json"  # what a folder's training is on
Finish = Callable[[History, EpochRecord, Path], dict[str, Any]]


def continues(folder: Path) -> bool:
    """Whether a training was left in a folder, to go on from."""
    return (folder / CHECKPOINT_FILE).exists()


def claim(folder: Path, training: Mapping[str, Any]) -> None:
    """Notes what a folder's training is on and starts from (plain values); the first process alone writes.

    The checkpoint itself knows the architecture and the loop's settings. Raises UserError where the folder holds
    another training.
    """
    if not ranks().first:
        return
    path = folder / TRAINING_FILE
    if path.exists() and continues(folder):
        before, now = dict(_flat(read_json(path, "a training of scalesearch"))), dict(_flat(training))
        differing = [f"{key} {before.get(key)}, not {now[key]}" for key in now if before.get(key) != now[key]]
        if differing:
            problem = f"{folder} holds another training ({'; '.join(differing)})."
            raise UserError("--out", problem, do="Name another folder with --out.")
    write_json(path, training)


def _flat(values: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    """Names and values, of nested ones as "augment.flip"; tuples as JSON reads them back."""
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{before}{key}.")
        else:
            yield f"{before}{key}", list(value) if isinstance(value, tuple) else value


def carry_out(
    network: nn.Module, task: Task, config: TrainConfig, folder: Path, device: torch.device, watcher: Watcher,
    finish: Finish, mode: int = PUBLIC,
) -> dict[str, Any]:  # fmt: skip
    """Trains to the end, from the folder's checkpoint where there is one, and writes what comes of it, all or none.

    Args:
        finish: given the history, the record of the epoch whose weights are kept, and a folder, writes the model file
            and others there, and says what ``metrics.json`` holds besides settings and history; called in the first
            process alone.
        mode: who may read and write the files (see ``files.atomic``).

    Returns:
        what ``metrics.json`` holds, in every process.
    """
    watcher.schedule(config.epochs, task.steps)
    history = fit(network, task, config, device, watcher=watcher, checkpoint=folder / CHECKPOINT_FILE)
    metrics: dict[str, Any] = {}
    if ranks().first:
        last = history[best_epoch(history)] if config.patience else history[-1]
        records = [record.to_dict() for record in history]
        with together(folder, mode, METRICS_FILE) as temporary:
            metrics = {**finish(history, last, temporary), "config": config.to_dict(), "history": records}
            write_json(temporary / METRICS_FILE, metrics)
    return of_first(metrics)
