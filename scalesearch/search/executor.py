"""Where trials run: in this process, or in several, one thread each. Results come back as they finish."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

from scalesearch.errors import ScaleSearchError

Job = TypeVar("Job")
Result = TypeVar("Result")


class WorkerDiedError(ScaleSearchError):
    """A worker process ended without an answer (killed, or out of memory); finished trials are kept."""

    def __init__(self) -> None:
        super().__init__(
            "a worker process died without an answer, most often because memory ran out; finished trials are kept. "
            "Run the same command again, with fewer --jobs if it happens again."
        )

    def __reduce__(self) -> tuple[type["WorkerDiedError"], tuple[()]]:
        return (type(self), ())


def run_here(jobs: Iterable[Job], run: Callable[[Job], Result]) -> Iterator[tuple[Job, Result]]:
    """One after another in this process."""
    for job in jobs:
        yield job, run(job)


def run_in_processes(jobs: Iterable[Job], run: Callable[[Job], Result], workers: int) -> Iterator[tuple[Job, Result]]:
    """On ``workers`` spawned processes; a job is taken from ``jobs`` only when a worker is free for it.

    Leaving the iterator early (an error, Ctrl-C) ends the workers.

    Raises:
        WorkerDiedError: a worker ended without an answer.
    """
    others = set(multiprocessing.active_children())
    pool = ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn"), initializer=_start_worker)
    running: dict[Future[Result], Job] = {}
    try:
        for job in jobs:
            running[pool.submit(run, job)] = job
            if len(running) >= workers:
                yield from _finished(running)
        while running:
            yield from _finished(running)
    except BrokenProcessPool:
        raise WorkerDiedError from None
    finally:
        pool.shutdown(wait=not running, cancel_futures=True)
        if running:  # left early: what still runs has nobody to answer to
            for process in set(multiprocessing.active_children()) - others:
                process.terminate()


def _finished(running: dict[Future[Result], Job]) -> Iterator[tuple[Job, Result]]:
    for future in wait(running, return_when=FIRST_COMPLETED).done:
        yield running.pop(future), future.result()


def _start_worker() -> None:
    """Ctrl-C is the coordinator's to handle: it ends the workers itself. A killed coordinator takes them along."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
