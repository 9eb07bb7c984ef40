"""Where trials run. An executor has slots: it is given a job for each free one and says how each ended."""

import contextlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from scalesearch.errors import ScaleSearchError

Job = TypeVar("Job")
Result = TypeVar("Result")
Beat = Callable[[], None]
Run = Callable[[Job, Beat], Result]

FAILED_STARTS = 10
STALLED_SECONDS = 600.0  # without a beat; a step of a network that a CPU is asked to train takes seconds


@dataclass(frozen=True)
class Death:
    """What comes back in place of a result: the worker ended, hung or raised something unforeseen.

    ``begun``: whether it had begun on the job; a worker that ends before that says nothing about the job.
    """

    reason: str
    begun: bool = True


class WorkerDiedError(ScaleSearchError):
    """Workers end without an answer, whatever they are given."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(
            f"a worker process died without an answer ({reason}); finished trials are kept. "
            "Run the same command again, with fewer --jobs if it happens again."
        )

    def __reduce__(self) -> tuple[object, ...]:
        return (type(self), (self.reason,))


class FailedStarts:
    """Counts the workers that ended before they began, in a row: after ten the next one would, too."""

    def __init__(self) -> None:
        self._count = 0

    def note(self, result: object) -> None:
        """Takes in how a job ended. Raises WorkerDiedError when it is one too many."""
        if not isinstance(result, Death) or result.begun:
            self._count = 0
            return
        self._count += 1
        if self._count == FAILED_STARTS:
            raise WorkerDiedError(f"{FAILED_STARTS} in a row before they began; the last one: {result.reason}")


class Executor(Protocol[Job, Result]):
    """Runs jobs on workers.

    ``run(job, beat)`` is called on a worker; it calls ``beat`` now and then, which shows that it goes on. A
    ScaleSearchError that it raises is an input's fault, not the job's: it ends the whole.
    """

    def free(self) -> int:
        """How many jobs may be submitted now."""

    def submit(self, job: Job) -> None:
        """Gives a job to a free slot."""

    def ended(self, timeout_seconds: float) -> list[tuple[Job, Result | Death]]:
        """What has ended since it was asked last; waits for the first one, at most so long.

        Raises:
            ScaleSearchError: what a job raised, or workers that cannot start.
        """

    def close(self) -> None:
        """Ends the workers, and with them what they still do."""


class Here(Generic[Job, Result]):
    """One slot, in this process: a job runs while one waits for its end."""

    def __init__(self, run: Run[Job, Result]) -> None:
        self._run = run
        self._job: list[Job] = []

    def free(self) -> int:
        return 1 - len(self._job)

    def submit(self, job: Job) -> None:
        self._job.append(job)

    def ended(self, timeout_seconds: float) -> list[tuple[Job, Result | Death]]:
        if not self._job:
            return []
        job = self._job.pop()
        return [(job, answered(self._run, job, lambda: None))]

    def close(self) -> None:
        self._job.clear()


def answered(run: Run[Job, Result], job: Job, beat: Beat) -> Result | Death:
    """A job's result, or what it died of; our own errors are raised."""
    try:
        return run(job, beat)
    except ScaleSearchError:
        raise
    except Exception as error:  # a bug, or an odd failure of the machine: the other jobs go on
        return Death(f"{type(error).__name__}: {error}".splitlines()[0])


def mapped(executor: Executor[Job, Result], jobs: Iterable[Job]) -> Iterator[tuple[Job, Result]]:
    """Every job with its result, as they finish; a job is taken only when a slot is free for it.

    Leaving the iterator early ends the workers.

    Raises:
        WorkerDiedError: a job died.
    """
    waiting, running = iter(jobs), 0
    with contextlib.closing(executor):
        while True:
            while executor.free() and (job := next(waiting, None)) is not None:
                executor.submit(job)
                running += 1
            if not running:
                return
            for job, result in executor.ended(1.0):
                running -= 1
                if isinstance(result, Death):
                    raise WorkerDiedError(result.reason)
                yield job, result
