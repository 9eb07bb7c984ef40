"""What commands print: lines and tables for people, JSON for programs; progress, as a bar in a terminal and as lines
elsewhere; and the question before a long job."""

import json
import logging
import math
import os
import shutil
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import typer

from scalesearch.cli.spelling import holds_everything, spelled_table
from scalesearch.errors import printable
from scalesearch.units import list_counts, show_percent, show_seconds

if TYPE_CHECKING:
    from scalesearch.api.search import Forecast
    from scalesearch.data.dataset import Dataset
    from scalesearch.study.row import AnyRow, Row
    from scalesearch.table import Table
    from scalesearch.training.history import EpochRecord

LOG = logging.getLogger("scalesearch")
ASK_ABOVE_SECONDS = 600
FIRST_SECONDS = 10.0  # of a long first epoch, after which a log hears how long the training will take


def set_verbosity(quiet: bool, verbose: bool) -> None:
    """--quiet leaves out what ``explain`` says and progress; --verbose logs details to standard error."""
    LOG.setLevel(logging.WARNING if quiet else logging.DEBUG if verbose else logging.INFO)
    LOG.handlers = []
    if verbose:
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%H:%M:%S"))
        LOG.addHandler(handler)


def asked_quiet() -> bool:
    """Whether --quiet was given."""
    return LOG.level == logging.WARNING


def say(text: str) -> None:
    """One line to the reader: a result or a warning, which --quiet keeps."""
    print("\n".join(map(printable, text.split("\n"))), flush=True)


def explain(text: str) -> None:
    """One line about what goes on or what to type next, which --quiet leaves out."""
    if not asked_quiet():
        say(text)


LARGER_BASELINE = "a larger baseline, --target-flops"


def introduce_images(
    parts: "Dataset", resolution: int, copies: bool = True, larger: str = LARGER_BASELINE
) -> None:  # fmt: skip
    """What was understood of the images, and what should be looked into.

    Args:
        resolution: side of those that the network looks at.
        copies: whether images that two parts share are looked for.
        larger: what makes it look at more pixels.
    """
    from scalesearch.data.portrait import portrait, sentences
    from scalesearch.data.source import class_counts

    for note in parts.source.notes:
        explain(f"Note: {note}")
    explain(f"Images of each class: {list_counts(class_counts(parts.source))}")
    with reading_bar(quiet=False) as bar:
        seen = portrait(parts, bar.reading, copies)
    for line in sentences(seen, resolution, larger):
        explain(line)


def explain_next(*commands: str) -> None:
    """What one may go on with, each in a line of its own, so that it can be pasted."""
    for number, command in enumerate(commands):
        explain(f"{'      ' if number else 'Next: '}{command}")


def detail(text: str) -> None:
    """One line for --verbose, on standard error: paths, digests, settings."""
    LOG.debug(text)


def console() -> Any:
    """A rich console that fits the terminal; no escape codes when piped or where NO_COLOR asks for none.

    Piped it is as wide as COLUMNS says, else 80 characters.
    """
    from rich.console import Console

    terminal = sys.stdout.isatty()
    plain = not terminal or bool(os.environ.get("NO_COLOR"))
    width = None if terminal else shutil.get_terminal_size().columns
    return Console(highlight=False, width=width, color_system=None if plain else "auto")


def print_json(values: Any) -> None:
    """One JSON document on standard output, as ``files.write_json`` writes them: NaN is no JSON.

    Letters that the output's encoding lacks are JSON's escapes."""
    text = json.dumps(values, indent=2, ensure_ascii=not holds_everything(sys.stdout), allow_nan=False)
    print(text.encode("utf-8", "backslashreplace").decode())  # a file's name may hold what no encoding does


def show(table: "Table", result: bool = True) -> None:
    """A table as wide as the terminal, and which columns had no room. --quiet leaves out what is no result."""
    from scalesearch.reports.render import fitted, terminal

    if result or not asked_quiet():
        screen = console()
        table, left_out = fitted(spelled_table(table), screen.width)
        screen.print(terminal(table, screen.width))
        if left_out:
            wider = "a wider terminal" if sys.stdout.isatty() else "a larger COLUMNS"
            say(f"No room at {screen.width} characters, shown with {wider}: {', '.join(dict.fromkeys(left_out))}")


def show_rows(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """A table that only commands have."""
    from scalesearch.table import table

    show(table(title, columns, rows))


def of_run(folder: Path | str | None) -> list[str]:
    """The option that names a search's folder, where it is not the one that commands take by themselves."""
    from scalesearch.study.record import newest_run

    newest = newest_run()
    return [] if folder is None or (newest and newest.resolve() == Path(folder).resolve()) else ["--run", str(folder)]


def confirm(seconds: float, yes: bool) -> None:
    """Asks before a long job, only where somebody can answer; elsewhere it starts. Leaves with 0 on a no."""
    if yes or seconds <= ASK_ABOVE_SECONDS or not (sys.stdin.isatty() and sys.stdout.isatty()):
        return
    if not typer.confirm(f"This will take about {show_seconds(seconds)}. Start?", default=True):
        raise typer.Exit()


class Bar:
    """A progress bar in a terminal. Elsewhere it draws nothing, and whoever uses it says lines instead."""

    def __init__(self, total: int, done: int, quiet: bool) -> None:
        self.quiet = quiet
        self.live = sys.stdout.isatty() and os.environ.get("TERM") != "dumb" and not (quiet or asked_quiet())
        self._total, self._done = total, done

    def __enter__(self) -> "Bar":
        if self.live:
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

            self._bar = Progress(
                TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
                TextColumn("{task.fields[left]}"), console=console(),
            )  # fmt: skip
            self._task = self._bar.add_task("Reading images", total=self._total, completed=self._done, left="")
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.live:
            self._bar.stop()

    def total(self, total: int) -> None:
        """How much there is to do, where it was not known before."""
        self._total = total
        if self.live:
            self._bar.update(self._task, total=total)

    def show(self, text: str, done: int | None = None, left: str = "") -> None:
        """Describes what goes on; ``done`` None leaves the bar where it is."""
        if self.live:
            self._bar.update(self._task, description=text, completed=done, left=left)

    def reading(self, done: int, total: int) -> None:
        """While images are decoded or resized."""
        self.show(f"Reading images, {done} of {total}")

    def note(self, text: str) -> None:
        """A line that stays, above the bar where there is one."""
        if self.live:
            self._bar.console.print(printable(text), markup=False)
        elif not self.quiet:
            say(text)

    def line(self, text: str) -> None:
        """A line instead of the bar."""
        if not self.live and not self.quiet:
            explain(text)


def reading_bar(quiet: bool) -> Bar:
    """A bar for a job that mostly reads images."""
    return Bar(0, 0, quiet)


class TrialProgress:
    """Trainings done, who is ahead, and time left if no tolerance is met before.

    Args:
        expected: what was to be trained.
        majority: the share that guessing the most frequent class gets right.
        time_budget: seconds that it may take; None for no bound.
    """

    def __init__(self, bar: Bar, expected: "Forecast", majority: float, time_budget: float | None) -> None:
        from scalesearch.running.estimate import Pace

        self._bar, self._majority, self._budget = bar, majority, time_budget
        self._rungs, self._pace = expected.rungs, Pace(expected.timing, expected.before)
        self._untimed = expected.timing is None
        self._best: Row | None = None
        self._began = time.monotonic()
        for row in expected.before:
            self._consider(row)

    def reading(self, done: int, total: int) -> None:
        """While images are decoded or resized; trainings follow."""
        if done < total:
            self._bar.reading(done, total)
        else:
            self._bar.show(self._ahead, left=self._left(False))

    @property
    def _ahead(self) -> str:
        return f"Training; ahead {self._best.name}" if self._best else "Training"

    def _left(self, over: bool) -> str:
        """Time left, in words."""
        elapsed = time.monotonic() - self._began
        left = 0.0 if over else self._pace.left(self._rungs, elapsed)
        if self._budget is not None and elapsed > self._budget and not over:
            return "the time budget is over; what runs is finished"
        if self._untimed and not over:
            return "time left unknown"
        return f"about {show_seconds(min(left, math.inf if self._budget is None else self._budget - elapsed))} left"

    def _consider(self, row: "AnyRow") -> None:
        """Accuracies after different numbers of epochs cannot be compared: those trained longer come first."""
        from scalesearch.study.row import Row

        best = self._best
        if not isinstance(row, Row):
            return  # of families: another size is no competitor
        ahead = best is None or (row.epochs, row.score or 0.0) > (best.epochs, best.score or 0.0)
        if row.role == "candidate" and row.status == "done" and ahead:
            self._best = row

    def finished(self, row: "AnyRow", done: int, total: int) -> None:
        """After each trial."""
        from scalesearch.api.search import outcome
        from scalesearch.reports.words import row_multipliers
        from scalesearch.study.race import above_guessing
        from scalesearch.study.row import Row

        self._consider(row)
        self._pace.heard(row)
        best, left = self._best, self._left(done >= total)
        text = f"ahead {best.name}, {row_multipliers(best)}" if best else "Training"
        self._bar.show(self._ahead, done, left)
        first = isinstance(row, Row) and row.role == "baseline" and row.epochs == row.full_epochs
        if first and row.top1 is not None and not above_guessing(row.correct, row.images, self._majority):
            self._bar.note(
                f"WARNING: the baseline is at {show_percent(row.top1)}, not clearly better than guessing the "
                f"most frequent class ({show_percent(self._majority)}). If its other training is like that, the search "
                "stops."
            )
        self._bar.line(f"{done}/{total} {outcome(row)}; {text}; {left}")


class EpochProgress:
    """Steps done, validation accuracy, and time left."""

    def __init__(self, bar: Bar, epochs: int, steps: int) -> None:
        self.epochs = epochs
        self._bar, self._steps = bar, steps
        self._first: int | None = None
        self._began = time.monotonic()
        self._text, self._told = "Training", False

    def step(self, epoch: int, step: int) -> None:
        """After each step; both count from 0."""
        done = epoch * self._steps + step + 1
        if self._first is None:
            self._first, self._began = done, time.monotonic()
        self._bar.show(self._text, done, self._left(done))
        if not self._told and done < self._steps and time.monotonic() - self._began > FIRST_SECONDS:
            self._told = True
            self._bar.line(f"step {done} of {self._steps} in the first of {self.epochs} epochs; {self._left(done)}")

    def epoch(self, record: "EpochRecord") -> None:
        """After each epoch."""
        done, top1 = record.epoch + 1, record.metrics.get("top1", float("nan"))
        self._text = f"epoch {done}/{self.epochs}, validation {show_percent(top1)}"
        self._bar.line(f"{self._text}, loss {record.train_loss:.3f}; {self._left(done * self._steps)}")

    def _left(self, done: int) -> str:
        here = done - (self._first or 0)
        left = (time.monotonic() - self._began) / here * (self.epochs * self._steps - done) if here else 0.0
        return f"{show_seconds(left)} left"
