"""The executor of one machine: processes that live as long as it does, each with a pipe and nothing shared.

A worker may be killed at any moment without harm to the others: there is no lock or queue that it could take along.
Everything that might block on a worker (starting it, sending, receiving) is done by a thread of its own.

Workers are plain subprocesses, not multiprocessing's, which import the script that called this again: what that script
does at its top level is done once. A forked copy of a process that runs threads may hang.
"""

import contextlib
import json
import math
import os
import queue
import select
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from typing import Any, Generic

from scalesearch.errors import ScaleSearchError
from scalesearch.running.executor import STALLED_SECONDS, Beat, Death, FailedStarts, Job, Result, Run, answered

BEAT_SECONDS = 1.0
START_SECONDS = 120.0  # at least, for a process to load its libraries on a machine that has much else to do
CODE = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from scalesearch.running.processes import work; work(int(sys.argv[2]))"
)  # a worker's program, given this process's path and the number of its pipe's end


@dataclass(eq=False)
class _Worker(Generic[Job]):
    """A process (None before it is started), our end of its pipe, and the job that it has."""

    pipe: Connection
    process: subprocess.Popen[bytes] | None = None
    inbox: "queue.SimpleQueue[Job | None]" = field(default_factory=queue.SimpleQueue)
    job: Job | None = None
    begun: bool = False
    heard: float = 0.0
    stalled: bool = False
    gone: bool = False


class Processes(Generic[Job, Result]):
    """``workers`` processes. ``run`` and jobs are pickled; ``run`` once for each process.

    Args:
        stalled_seconds: without a sign of life, after which a worker that has a job is killed.
    """

    def __init__(self, run: Run[Job, Result], workers: int, stalled_seconds: float = STALLED_SECONDS) -> None:
        self._run, self._most, self._stalled_seconds = run, workers, stalled_seconds
        self._workers: list[_Worker[Job]] = []
        self._ended: queue.SimpleQueue[tuple[_Worker[Job], Result | Death | BaseException]] = queue.SimpleQueue()
        self._failed_starts = FailedStarts()

    def free(self) -> int:
        return self._most - sum(worker.job is not None for worker in self._workers)

    def submit(self, job: Job) -> None:
        worker = next((worker for worker in self._workers if worker.job is None), None) or self._new()
        worker.job, worker.heard = job, time.monotonic()
        worker.inbox.put(job)

    def ended(self, timeout_seconds: float) -> list[tuple[Job, Result | Death]]:
        self._kill_stalled()
        answers = []
        with contextlib.suppress(queue.Empty):
            answers.append(self._ended.get(timeout=timeout_seconds))
            while True:
                answers.append(self._ended.get_nowait())
        return [self._judged(worker, result) for worker, result in answers]

    def close(self) -> None:
        for worker in self._workers:
            worker.inbox.put(None)
            if worker.job is not None and worker.process is not None:  # it has nobody to answer to
                worker.process.kill()
        for worker in self._workers:
            if worker.process is not None:
                _ended(worker.process)
        self._workers = []

    def _new(self) -> _Worker[Job]:
        ours, theirs = Pipe()
        worker: _Worker[Job] = _Worker(ours)
        self._workers.append(worker)
        threading.Thread(target=self._serve, args=(worker, theirs), daemon=True).start()
        return worker

    def _judged(self, worker: _Worker[Job], result: Result | Death | BaseException) -> tuple[Job, Result | Death]:
        """A job with how it ended; a worker that is gone is forgotten."""
        job, worker.job = worker.job, None
        assert job is not None
        if worker.gone:
            self._workers.remove(worker)
        if isinstance(result, BaseException):
            raise result
        self._failed_starts.note(result)
        return job, result

    def _kill_stalled(self) -> None:
        now = time.monotonic()
        for worker in self._workers:
            limit = self._stalled_seconds if worker.begun else max(self._stalled_seconds, START_SECONDS)
            if worker.job is not None and now - worker.heard > limit and worker.process is not None:
                worker.stalled = True
                worker.process.kill()

    def _serve(self, worker: _Worker[Job], theirs: Connection) -> None:
        """A worker's thread here: starts it, hands jobs over, hands answers on."""
        # inherited: Ctrl-C is the coordinator's to handle, workers must not see it even while they start
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            end = theirs.fileno()
            # -P: before the path is set nothing is imported from the folder that this runs in
            command = [sys.executable, "-P", "-c", CODE, json.dumps(sys.path), str(end)]
            worker.process = subprocess.Popen(command, pass_fds=[end])
            theirs.close()
            worker.pipe.send(self._run)
            while (job := worker.inbox.get()) is not None:
                worker.begun = False
                worker.pipe.send(job)
                self._ended.put((worker, _listen(worker)))
        except (EOFError, OSError) as error:  # the pipe's other end is gone, or no process could be started
            worker.gone = True
            self._ended.put((worker, Death(self._epitaph(worker, error), worker.begun)))
        except Exception as error:  # what cannot be pickled
            worker.gone = True
            self._ended.put((worker, error))
        finally:
            theirs.close()
            worker.pipe.close()

    def _epitaph(self, worker: _Worker[Job], error: Exception) -> str:
        if worker.process is None:
            return f"no worker process could be started ({error})"
        code = _ended(worker.process)
        if worker.stalled:
            return f"its worker process gave no sign of life for {self._stalled_seconds:g} s and was killed"
        if code < 0:
            name = signal.Signals(-code).name
            hint = ", most often because memory ran out" if -code == signal.SIGKILL else ""
            return f"its worker process was ended by {name}{hint}"
        return f"its worker process ended with exit code {code}"


def _ended(process: subprocess.Popen[bytes]) -> int:
    """The exit code of a process that is about to end, or is made to."""
    try:
        return process.wait(5)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()


def _listen(worker: _Worker[Any]) -> Any:
    """The answer to a job; notes each sign of life before it."""
    while True:
        kind, content = worker.pipe.recv()
        worker.heard = time.monotonic()
        worker.begun = True
        if kind in ("done", "error"):
            return content


def work(pipe_number: int) -> None:
    """A worker's life; it ends without a word when there is nobody to answer to."""
    pipe = Connection(pipe_number)
    threading.Thread(target=_end_with_parent, args=(pipe_number,), daemon=True).start()
    with contextlib.suppress(EOFError, ConnectionError):
        run: Run[Any, Any] = pipe.recv()
        while True:
            job = pipe.recv()
            beat = _beating(pipe)
            beat()
            try:
                pipe.send(("done", answered(run, job, beat)))
            except ScaleSearchError as error:
                pipe.send(("error", error))


def _beating(pipe: Connection) -> Beat:
    last = -math.inf

    def beat() -> None:
        nonlocal last
        if time.monotonic() - last > BEAT_SECONDS:
            last = time.monotonic()
            pipe.send(("beat", None))

    return beat


def _end_with_parent(pipe_number: int) -> None:
    """A killed coordinator takes its workers along: the other end of their pipe is gone."""
    ended = select.poll()
    ended.register(pipe_number, 0)  # nothing but that
    ended.poll()
    os._exit(1)
