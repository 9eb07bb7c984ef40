"""Trainings carried out: claimed in the ledger, given to an executor, stored as they end, tried again when they die."""

import contextlib
import math
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Generic, Protocol

from scalesearch.errors import ScaleSearchError
from scalesearch.running.executor import Death, Executor
from scalesearch.running.ledger import BEAT_SECONDS, SILENT_SECONDS, Claim, Ledger
from scalesearch.running.trial import Assignment, Outcome
from scalesearch.study.outcomes import packed
from scalesearch.study.plan import Measurement, nothing_measured
from scalesearch.study.row import Key, R, T, Training, TrialResult
from scalesearch.units import counted, show_seconds

RETRIES = 3
POLL_SECONDS = 1.0


class Work(Protocol[T, R]):
    """What a campaign is about."""

    def wanted(self) -> Sequence[T]:
        """The trainings without a result, most wanted first; asked again after each result."""

    def assignment(self, one: T) -> Assignment:
        """A training with what a worker needs for it."""

    def row(self, one: T, measurement: Measurement) -> R:
        """The line of a training's result."""

    def heard(self, finished: Sequence[TrialResult[R]]) -> None:
        """Takes results in, ours and those of other coordinators, each once."""

    def note(self, text: str) -> None:
        """Is told of workers that die and storage that goes away."""


@dataclass
class Bounds:
    """How much work may still be begun: wall seconds, and trainings; None leaves it open.

    ``seconds_of`` estimates a training, so that none is begun that would not end in time.
    """

    seconds: float | None = None
    trainings: int | None = None
    seconds_of: Callable[[Training], float] = lambda one: 0.0
    _began: float = field(default_factory=time.monotonic)
    _begun: int = 0

    def allow(self, one: Training) -> bool:
        """Whether a training may begin."""
        late = self.seconds is not None and self.seconds_of(one) > self.left
        return not late and (self.trainings is None or self._begun < self.trainings)

    @property
    def left(self) -> float:
        """Seconds."""
        return math.inf if self.seconds is None else self.seconds - (time.monotonic() - self._began)

    def refusal(self, pending: Sequence[Training]) -> str:
        """Why none of these may begin, in a sentence."""
        if self.trainings is not None and self._begun >= self.trainings:
            return f"Ended after {counted(self._begun, 'training')}, as asked; left: {len(pending)}."
        least = show_seconds(min(map(self.seconds_of, pending)))
        begun = "" if self._begun else "; nothing was begun"
        return (
            f"Ended by the time budget{begun}: the next training takes about {least} here, and "
            f"{show_seconds(max(0.0, self.left))} of {show_seconds(self.seconds or 0.0)} are left."
        )

    def begin(self) -> None:
        """Counts one that has begun."""
        self._begun += 1


class Campaign(Generic[T, R]):
    """Runs what is wanted until nothing is, or the bounds are reached.

    Args:
        retries: how often a training is tried again after its worker died, before it is recorded as failed.
        silent_seconds: after which the claims of another coordinator without a sign of life are taken over.
    """

    def __init__(
        self,
        ledger: Ledger[R],
        executor: Executor[Assignment, Outcome],
        work: Work[T, R],
        bounds: Bounds,
        retries: int = RETRIES,
        silent_seconds: float = SILENT_SECONDS,
    ) -> None:
        self._ledger, self._executor, self._work, self._bounds = ledger, executor, work, bounds
        self._retries, self._silent_seconds = retries, silent_seconds
        self._running: dict[Key, tuple[T, Claim]] = {}
        self._known: set[Key] = set()
        self._entered: set[Key] = set()
        self._asked = 0.0

    def run(self) -> bool:
        """Whether everything wanted has a result now; False where the bounds ended it before.

        Raises:
            ScaleSearchError: what is no training's fault (a full disk, a storage that stays away).
            KeyboardInterrupt: what was running is given back.
        """
        try:
            with _beating(self._ledger):
                return self._run()
        finally:
            if self._running:  # left early: what still runs has nobody to answer to
                self._executor.close()
            with contextlib.suppress(ScaleSearchError):  # a storage that is away: silence frees them in time
                for _, claim in self._running.values():
                    self._ledger.give_back(claim)

    def _run(self) -> bool:
        while True:
            self._listen()
            pending = [one for one in self._work.wanted() if one.key not in self._known]
            if not pending and not self._running:
                return True
            begun = self._begin([one for one in pending if one.key not in self._running])
            if self._running:
                for assignment, outcome in self._executor.ended(POLL_SECONDS):
                    self._settle(assignment.trial.key, outcome)
            elif not begun:
                if not any(map(self._bounds.allow, pending)):
                    self._work.note(self._bounds.refusal(pending))
                    return False
                time.sleep(POLL_SECONDS)  # others are at work on what is left

    def _listen(self) -> None:
        """Hears from the other coordinators, where there may be some."""
        if self._known and (not self._ledger.storage.shared or time.monotonic() - self._asked < POLL_SECONDS):
            return
        self._asked = time.monotonic()
        self._ledger.free_silent(self._silent_seconds)
        self._hear(self._ledger.finished(self._known))

    def _hear(self, finished: Sequence[TrialResult[R]]) -> None:
        new = [one for one in finished if one.row.key not in self._known]
        self._known |= {one.row.key for one in new}
        if new:
            self._work.heard(new)

    def _begin(self, pending: Sequence[T]) -> bool:
        """Claims and submits as many as there are free slots; whether there was one."""
        new = [one.key for one in pending if one.key not in self._entered]
        self._ledger.want(new)
        self._entered.update(new)
        waiting, begun = {one.key: one for one in pending}, False
        while self._executor.free() > 0:
            allowed = {one.key for one in waiting.values() if self._bounds.allow(one)}
            claim = self._ledger.claim(allowed) if allowed else None
            if claim is None:
                break
            one, begun = waiting.pop(claim.key), True
            if claim.deaths > self._retries:
                reason = f"given up after {claim.deaths} tries: {claim.reason}"
                self._store(one, claim, nothing_measured(one, reason), b"")
                continue
            self._bounds.begin()
            self._running[one.key] = (one, claim)
            self._executor.submit(self._work.assignment(one))
        return begun

    def _settle(self, key: Key, outcome: Outcome | Death) -> None:
        one, claim = self._running[key]
        if isinstance(outcome, Death):
            self._work.note(f"{one.name} seed {one.number}: {outcome.reason}; it is run again from its checkpoint.")
            self._ledger.give_back(claim, outcome.reason if outcome.begun else "")
        else:
            failed = bool(outcome.measurement.reason)
            content = b"" if failed else packed(
                outcome.labels, outcome.predictions, outcome.soft, outcome.losses, outcome.probabilities
            )  # fmt: skip
            self._store(one, claim, outcome.measurement, content)
        del self._running[key]

    def _store(self, one: T, claim: Claim, measurement: Measurement, predictions: bytes) -> None:
        row = self._work.row(one, measurement)
        if self._ledger.finish(claim, row, predictions):
            self._hear([TrialResult(row, predictions)])
        else:
            self._work.note(f"{one.name} seed {one.number} was taken over by another coordinator, whose result counts.")


@contextlib.contextmanager
def _beating(ledger: Ledger[R]) -> Iterator[None]:
    """Shows the other coordinators, where there may be some, that this one lives."""
    if not ledger.storage.shared:
        yield
        return
    over = threading.Event()

    def beat() -> None:
        while not over.wait(BEAT_SECONDS):
            with contextlib.suppress(ScaleSearchError):  # the storage is away: the main thread says so
                ledger.beat()

    heart = threading.Thread(target=beat, daemon=True)
    heart.start()
    try:
        yield
    finally:
        over.set()
