"""Progress for people: a bar in a terminal, lines elsewhere; and the question before a long job."""

import contextlib
import sys
import time
from collections.abc import Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Any

import typer

from scalesearch.cli.units import show_seconds
from scalesearch.errors import RunInterruptedError

if TYPE_CHECKING:
    from scalesearch.search.run import Listener
    from scalesearch.training.history import EpochRecord


def say(text: str) -> None:
    """One line to the reader."""
    print(text, flush=True)


def confirm(seconds: float, ask_above: float, yes: bool) -> None:
    """Asks before a long job, only where somebody can answer; elsewhere it starts. Leaves with 0 on a no."""
    if yes or seconds <= ask_above or not (sys.stdin.isatty() and sys.stdout.isatty()):
        return
    if not typer.confirm(f"This will take about {show_seconds(seconds)}. Start?", default=True):
        raise typer.Exit()


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """Turns Ctrl-C into this project's own error, so that the reader is told what is kept."""
    try:
        yield
    except KeyboardInterrupt:
        raise RunInterruptedError from None


class TrialProgress:
    """Trials done, the best so far, and time left. Without a terminal: a line per trial."""

    def __init__(self, total: int, done: int, quiet: bool) -> None:
        self._total, self._done, self._quiet = total, done, quiet
        self._best: dict[str, Any] | None = None
        self._bar: Any = None
        self._began = time.monotonic()

    def __enter__(self) -> "TrialProgress":
        if sys.stdout.isatty() and not self._quiet:
            self._bar = _bar()
            self._task = self._bar.add_task("Reading images", total=self._total, completed=self._done, left="")
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def listener(self) -> "Listener":
        """What the search calls."""
        from scalesearch.search.run import Listener

        return Listener(self._prepared, self._finished)

    def _prepared(self, done: int, total: int) -> None:
        if self._bar is not None:
            self._bar.update(self._task, description=f"Reading images, size {done} of {total}")
        if done == total:
            self._began = time.monotonic()
            if self._bar is not None:
                self._bar.update(self._task, description="Training")

    def _finished(self, row: dict[str, Any], done: int, total: int) -> None:
        better = self._best is None or (row["score"] or 0) > (self._best["score"] or 0)
        if row["role"] == "candidate" and row["status"] == "done" and better:
            self._best = row
        here = done - self._done
        left = (time.monotonic() - self._began) / here * (total - done)
        best = self._best
        text = f"best {best['name']} α {best['alpha']:g} β {best['beta']:g} γ {best['gamma']:g}" if best else "Training"
        if self._bar is not None:
            self._bar.update(self._task, completed=done, description=text, left=f"{show_seconds(left)} left")
        elif not self._quiet:
            result = f"accuracy {row['top1']:.1%}" if row["status"] == "done" else f"failed: {row['reason']}"
            say(f"{done}/{total} {row['name']} seed {row['seed']}: {result}; {text}; about {show_seconds(left)} left")


class EpochProgress:
    """Steps done, validation accuracy, and time left. Without a terminal: a line per epoch."""

    def __init__(self, epochs: int, steps: int, quiet: bool) -> None:
        self._epochs, self._steps, self._quiet = epochs, steps, quiet
        self._first: int | None = None
        self._began = time.monotonic()
        self._bar: Any = None
        self._text = "Training"

    def __enter__(self) -> "EpochProgress":
        if sys.stdout.isatty() and not self._quiet:
            self._bar = _bar()
            self._task = self._bar.add_task("Reading images", total=self._epochs * self._steps, left="")
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def step(self, epoch: int, step: int) -> None:
        """After each step; both count from 0."""
        done = epoch * self._steps + step + 1
        if self._first is None:
            self._first, self._began = done, time.monotonic()
        if self._bar is not None:
            self._bar.update(self._task, completed=done, description=self._text, left=self._left(done))

    def epoch(self, record: "EpochRecord") -> None:
        """After each epoch."""
        done, top1 = record.epoch + 1, record.metrics.get("top1", float("nan"))
        self._text = f"epoch {done}/{self._epochs}, validation {top1:.1%}"
        if self._bar is None and not self._quiet:
            say(f"{self._text}, loss {record.train_loss:.3f}; {self._left(done * self._steps)}")

    def _left(self, done: int) -> str:
        here = done - (self._first or 0)
        left = (time.monotonic() - self._began) / here * (self._epochs * self._steps - done) if here else 0.0
        return f"{show_seconds(left)} left"


def _bar() -> Any:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    return Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
        TextColumn("{task.fields[left]}"),
    )  # fmt: skip
