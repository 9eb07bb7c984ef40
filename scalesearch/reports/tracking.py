"""Logs that other programs show, TensorBoard, MLflow and Weights & Biases: each optional, none able to end a training.

A log is a copy of what a job records by itself. A run that is begun again replaces what an earlier call wrote of it, or
adds only what is missing, so that after a resumption no point stands twice.
"""

import contextlib
import functools
import hashlib
import logging
import os
import shutil
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import numpy as np
import numpy.typing as npt

from scalesearch.errors import UserError

Value = bool | int | float | str
Pixels = npt.NDArray[np.uint8]
PROJECT = "scalesearch"
OURS = ".scalesearch"  # how our event files end
FINAL = "final"  # group of the numbers that a run comes to
PACKAGES = {"tensorboard": "tensorboard", "mlflow": "mlflow", "wandb": "wandb"}  # that a kind of log, and extra, needs


@dataclass(frozen=True)
class LoggedRun:
    """One training, or a search as a whole, as a log has it.

    Args:
        name: unique within the job.
        parameters: what distinguishes it from others, for tables that compare runs; never another for the same run.
        facts: what else is known of it, so far.
    """

    name: str
    parameters: Mapping[str, Value]
    facts: Mapping[str, Value]


class Log(Protocol):
    """One run in one log."""

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Points of curves; steps do not fall."""

    def image(self, name: str, draw: Callable[[], Pixels]) -> None:
        """RGB, uint8 (H, W, 3), which is drawn here, so that what goes wrong with it is the log's matter."""

    def end(self, summary: Mapping[str, float] | None) -> None:
        """What the run came to; None where it was left or failed."""


@dataclass(frozen=True)
class Destination:
    """A kind of log, and where it goes: a folder, of MLflow an address, too; "" for one in the job's own folder."""

    kind: str
    place: str = ""


def destinations(given: Sequence[str] | str | None) -> tuple[Destination, ...]:
    """What ``--log`` names: KIND or KIND:PLACE. Raises UserError for another kind, one twice, or a missing package."""
    named = [Destination(*one.split(":", 1)) for one in ([given] if isinstance(given, str) else given or ())]
    for number, one in enumerate(named):
        if one.kind not in PACKAGES:
            problem = f'"{one.kind}" is no kind of log.'
            raise UserError("--log", problem, do=f"Give one of {', '.join(PACKAGES)}, such as tensorboard:FOLDER.")
        if one in named[:number]:
            raise UserError("--log", f"{one.kind} is named twice.")
        package = PACKAGES[one.kind]
        known = find_spec(package)
        if known is None or known.origin is None:  # a folder that a log was written to has none
            do = f"Run pip install 'scalesearch[{one.kind}]'."
            raise UserError(f"--log {one.kind}", f"there is no package {package}.", do=do)
    return tuple(named)


class Tracking:
    """A job's logs. What goes wrong in one is noted once, and it is written no further.

    Args:
        folder: of the job, which with a run's name tells it from others.
        note: is told what went wrong.
    """

    def __init__(self, logs: Sequence[Destination], folder: Path, note: Callable[[str], None]) -> None:
        self._folder, self._note = folder, note
        self._alive = list(logs)

    def __bool__(self) -> bool:
        return bool(self._alive)

    def begin(self, run: LoggedRun) -> Log:
        """The run in every log that still works."""
        opened: dict[Destination, Log] = {}
        for one in tuple(self._alive):
            self.guard(one, partial(self._open, one, run, opened))
        return _Everywhere(self, opened)

    def guard(self, one: Destination, write: Callable[[], None], leave: Callable[[], None] = lambda: None) -> None:
        """Writes, unless the log failed before; a failure is its last, and it is left."""
        if one not in self._alive:
            return
        try:
            write()
        except Exception as error:  # each library raises its own kinds, and those of what it is built on
            self._alive.remove(one)
            reason = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
            self._note(f"WARNING: the {one.kind} log is written no further ({reason}); everything else goes on.")
            with contextlib.suppress(Exception):
                leave()

    def _open(self, one: Destination, run: LoggedRun, opened: dict[Destination, Log]) -> None:
        where = str(self._folder.resolve())
        key = hashlib.sha256(f"{where}\n{run.name}".encode()).hexdigest()[:16]
        if one.kind == "mlflow":
            opened[one] = MLflow(one.place or str(self._folder / "mlflow"), run, key, self._folder.name)
        elif one.kind == "wandb":
            opened[one] = WandB(Path(one.place or self._folder), run, key, self._folder.name)
        else:
            job = (
                f"{self._folder.name}-{hashlib.sha256(where.encode()).hexdigest()[:6]}"  # a folder may hold many jobs'
            )
            folder = Path(one.place) / job if one.place else self._folder / "tensorboard"
            opened[one] = TensorBoard(folder / run.name, run)


class _Everywhere:
    """A run in several logs."""

    def __init__(self, tracking: Tracking, logs: Mapping[Destination, Log]) -> None:
        self._tracking, self._logs = tracking, logs

    def _each(self, write: Callable[[Log], None]) -> None:
        for one, log in self._logs.items():
            self._tracking.guard(one, partial(write, log), partial(log.end, None))

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        self._each(lambda log: log.scalars(step, values))

    def image(self, name: str, draw: Callable[[], Pixels]) -> None:
        once = functools.cache(draw)
        self._each(lambda log: log.image(name, once))

    def end(self, summary: Mapping[str, float] | None) -> None:
        self._each(lambda log: log.end(summary))


def final(summary: Mapping[str, float] | None) -> dict[str, float]:
    """The numbers that a run came to, under their group."""
    return {f"{FINAL}/{name}": value for name, value in (summary or {}).items()}


class TensorBoard:
    """An event file; what an earlier call wrote of the run is deleted, and a server that has read it is told so.

    Written here and now: TensorBoard's own writer does so in a thread, whose errors come late and on the screen.
    """

    def __init__(self, folder: Path, run: LoggedRun) -> None:
        from tensorboard.compat.proto.event_pb2 import Event, SessionLog
        from tensorboard.summary.writer.record_writer import RecordWriter
        from torch.utils.tensorboard import summary

        folder.mkdir(parents=True, exist_ok=True)
        for old in folder.glob(f"events.out.tfevents.*{OURS}"):
            old.unlink()
        name = f"events.out.tfevents.{int(time.time())}.{socket.gethostname()}.{os.getpid()}{OURS}"
        self._file: BinaryIO = (folder / name).open("wb")
        self._event, self._records = Event, RecordWriter(self._file)
        self._made: Any = summary
        self._run, self._step = run, 0
        self._add({"file_version": "brain.Event:2"}, {"session_log": SessionLog(status=SessionLog.START)})
        rows = "\n".join(f"| {name} | {value} |" for name, value in {**run.parameters, **run.facts}.items())
        self._summarise(self._made.text("facts", f"| | |\n|---|---|\n{rows}"))

    def _add(self, *events: Mapping[str, Any]) -> None:
        try:
            for one in events:
                self._records.write(self._event(wall_time=time.time(), step=self._step, **one).SerializeToString())
            self._file.flush()
        except OSError:
            with contextlib.suppress(OSError):  # what is left to write fails again
                self._file.close()
            raise

    def _summarise(self, *summaries: object) -> None:
        self._add(*({"summary": one} for one in summaries))

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        self._step = step
        self._summarise(*(self._made.scalar(name, value) for name, value in values.items()))

    def image(self, name: str, draw: Callable[[], Pixels]) -> None:
        self._summarise(self._made.image(name, draw(), dataformats="HWC"))

    def end(self, summary: Mapping[str, float] | None) -> None:
        numbers = final(summary)
        if numbers and self._run.parameters:  # the table of hyper-parameters
            self._summarise(*self._made.hparams(dict(self._run.parameters), numbers))
        self.scalars(self._step, numbers)
        self._file.close()


class MLflow:
    """A run of the experiment ``scalesearch``; where an earlier call began it, what it lacks is added.

    Args:
        place: a folder, which holds a database and the images, or an address that MLflow takes.
        key: tag by which the run is found again; ``job``: tag that the runs of a search have in common.
    """

    def __init__(self, place: str, run: LoggedRun, key: str, job: str) -> None:
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # a log that is asked for tells nobody else
        from mlflow import MlflowClient

        for name in ("mlflow", "alembic"):
            logging.getLogger(name).setLevel(logging.WARNING)  # else each table that is made is a line
        artifacts = None
        if "://" not in place:
            folder = Path(place).resolve()
            folder.mkdir(parents=True, exist_ok=True)
            place, artifacts = f"sqlite:///{folder / 'mlflow.db'}", (folder / "artifacts").as_uri()
        self._client = client = MlflowClient(tracking_uri=place)
        experiment = client.get_experiment_by_name(PROJECT)
        number = experiment.experiment_id if experiment else client.create_experiment(PROJECT, artifacts)
        known = client.search_runs([number], f"tags.`{PROJECT}.key` = '{key}'", max_results=1)
        tags = {f"{PROJECT}.key": key, f"{PROJECT}.job": job, **{name: str(fact) for name, fact in run.facts.items()}}
        started = known[0] if known else client.create_run(number, run_name=run.name, tags=tags)
        self._id, self._step, self._seen = started.info.run_id, 0, dict[str, set[int]]()
        self._again = bool(known)
        if known:
            client.update_run(self._id, status="RUNNING")
            for name, fact in tags.items():
                client.set_tag(self._id, name, fact)
        for name, value in run.parameters.items():
            if name not in started.data.params:
                client.log_param(self._id, name, value)

    def _steps(self, name: str) -> set[int]:
        """At which a curve has points."""
        if name not in self._seen:
            history = self._client.get_metric_history(self._id, name) if self._again else ()
            self._seen[name] = {point.step for point in history}
        return self._seen[name]

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        self._step = step
        for name, value in values.items():
            if step not in self._steps(name):
                self._client.log_metric(self._id, name, value, step=step)
                self._seen[name].add(step)

    def image(self, name: str, draw: Callable[[], Pixels]) -> None:
        self._client.log_image(self._id, draw(), f"{name}.png")

    def end(self, summary: Mapping[str, float] | None) -> None:
        self.scalars(self._step, final(summary))
        self._client.set_terminated(self._id, "FAILED" if summary is None else "FINISHED")


class WandB:
    """A run of the project ``scalesearch``, offline unless WANDB_MODE says otherwise; an earlier call's offline run,
    which holds less, is deleted.

    Args:
        key: id of the run; ``job``: group of the runs of a search.
    """

    def __init__(self, place: Path, run: LoggedRun, key: str, job: str) -> None:
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")  # a log that is asked for tells nobody else
        import wandb

        mode: Any = os.environ.get("WANDB_MODE", "offline")
        place.mkdir(parents=True, exist_ok=True)
        for old in (place / "wandb").glob(f"offline-run-*-{key}"):
            shutil.rmtree(old)
        self._image, self._step = wandb.Image, 0
        quiet = wandb.Settings(silent=True, console="off", disable_git=True, disable_code=True)
        self._run = wandb.init(
            project=PROJECT, dir=str(place), id=key, name=run.name, group=job, mode=mode, settings=quiet,
            config={**run.parameters, **run.facts}, reinit="create_new", resume=None if mode == "offline" else "allow",
        )  # fmt: skip

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        self._step = step
        if step >= self._run.step:  # of a run that is resumed on a server, which has the others
            self._run.log(dict(values), step=step)

    def image(self, name: str, draw: Callable[[], Pixels]) -> None:
        self._run.log({name: self._image(draw())}, step=self._step)

    def end(self, summary: Mapping[str, float] | None) -> None:
        self._run.summary.update(final(summary))
        self._run.finish(exit_code=int(summary is None))
