"""The loop between ledger and executor, with an executor that does as told."""

import uuid
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest

from scalesearch.design.space import load_space
from scalesearch.errors import UserError
from scalesearch.running.campaign import Bounds, Campaign
from scalesearch.running.executor import Death, Here
from scalesearch.running.ledger import Ledger
from scalesearch.running.trial import Assignment, Outcome
from scalesearch.study.config import TrainConfig
from scalesearch.study.outcomes import hits
from scalesearch.study.plan import Measurement, Trial
from scalesearch.study.row import Key, Row, TrialResult, parse_row
from tests.rows import make_row
from tests.running.conftest import OpenStorage

SPEC = load_space("mbconv_small").baseline
NOTHING = np.zeros(0, np.int64)


def make(candidate: int, seed: int = 0) -> Trial:
    config = TrainConfig(epochs=2, seed=seed)
    return Trial(candidate, f"c{candidate:03d}", SPEC, SPEC, config, 2)


class Work:
    """Wants some trials; remembers what it heard."""

    def __init__(self, trials: Sequence[Trial]) -> None:
        self.trials, self.found, self.notes = trials, dict[Key, TrialResult](), list[str]()

    def wanted(self) -> Sequence[Trial]:
        return [one for one in self.trials if one.key not in self.found]

    def assignment(self, one: Trial) -> Assignment:
        return Assignment(one)

    def row(self, one: Trial, measured: Measurement) -> Row:
        return make_row(*one.key, reason=measured.reason)

    def heard(self, finished: Sequence[TrialResult]) -> None:
        for one in finished:
            assert one.row.key not in self.found, "heard twice"
            self.found[one.row.key] = one

    def note(self, text: str) -> None:
        self.notes.append(text)


def outcome(one: Assignment, reason: str = "") -> Outcome:
    labels = NOTHING if reason else np.arange(4)
    guess = NOTHING if reason else np.array([0, 1, 2, one.trial.candidate])
    soft = np.zeros(len(labels), np.float32)
    return Outcome(Measurement(1, 1, 3, 4, 0.1, 1.0, reason), labels, guess, soft)


class Scripted(Here[Assignment, Outcome]):
    """Does each job in this process as ``act`` says."""

    def __init__(self, act: Callable[[Assignment], Outcome | Death]) -> None:
        super().__init__(lambda job, beat: outcome(job))
        self._act = act

    def ended(self, timeout_seconds: float) -> list[tuple[Assignment, Outcome | Death]]:
        return [(job, self._act(job)) for job, _ in super().ended(timeout_seconds)]


@pytest.fixture
def run() -> str:
    return uuid.uuid4().hex[:12]


def test_everything_wanted_is_done_once_and_known_to_the_next(open_storage: OpenStorage, run: str) -> None:
    trials, calls = [make(n, seed) for n in (0, 1) for seed in (0, 1)], list[Key]()

    def act(job: Assignment) -> Outcome:
        calls.append(job.trial.key)
        return outcome(job, "no luck" if job.trial.key == (1, 1, 2) else "")

    first, second = Work(trials), Work(trials)
    assert Campaign(Ledger(open_storage(), run, parse_row), Scripted(act), first, Bounds()).run()
    assert calls == [one.key for one in trials]
    assert first.found[1, 1, 2].row.reason == "no luck"  # a failed one is not tried again
    told = hits(first.found[0, 1, 2])
    assert told is not None
    assert told[0].tolist() == [True, True, True, False]
    assert Campaign(Ledger(open_storage(), run, parse_row), Scripted(act), second, Bounds()).run()
    assert second.found == first.found
    assert len(calls) == len(trials)


def test_a_training_that_kills_its_workers_is_given_up_in_the_end(open_storage: OpenStorage, run: str) -> None:
    tries: list[Key] = []

    def act(job: Assignment) -> Outcome | Death:
        tries.append(job.trial.key)
        return Death("bitten") if job.trial.candidate == 0 else outcome(job)

    work = Work([make(0), make(1)])
    assert Campaign(Ledger(open_storage(), run, parse_row), Scripted(act), work, Bounds(), retries=2).run()
    assert sorted(tries) == [(0, 0, 2)] * 3 + [(1, 0, 2)]
    assert work.found[0, 0, 2].row.reason == "given up after 3 tries: bitten"
    assert work.found[1, 0, 2].row.status == "done"
    assert len(work.notes) == 3


def test_a_worker_that_ended_before_it_began_counts_against_nobody(open_storage: OpenStorage, run: str) -> None:
    left = [Death("no start", begun=False)] * 5
    work = Work([make(0)])
    executor = Scripted(lambda job: left.pop() if left else outcome(job))
    assert Campaign(Ledger(open_storage(), run, parse_row), executor, work, Bounds(), retries=0).run()
    assert work.found[0, 0, 2].row.status == "done"


@pytest.mark.parametrize("error", [KeyboardInterrupt(), UserError("disk", "it is full.")])
def test_what_an_interruption_leaves_is_free(open_storage: OpenStorage, run: str, error: BaseException) -> None:
    def act(_job: Assignment) -> Outcome:
        raise error

    ledger = Ledger(open_storage(), run, parse_row)
    with pytest.raises(type(error)):
        Campaign(ledger, Scripted(act), Work([make(0)]), Bounds()).run()
    claim = ledger.claim([(0, 0, 2)])
    assert claim is not None
    assert claim.deaths == 0


def test_bounds_end_it_before_the_end(open_storage: OpenStorage, run: str) -> None:
    trials = [make(n) for n in range(4)]
    work = Work(trials)
    ledger = Ledger(open_storage(), run, parse_row)
    assert not Campaign(ledger, Scripted(outcome), work, Bounds(trainings=3)).run()
    assert len(work.found) == 3
    assert work.notes == ["Ended after 3 trainings, as asked; left: 1."]
    slow, late = Bounds(seconds=10, seconds_of=lambda one: 60.0), Work(trials)
    assert not Campaign(ledger, Scripted(outcome), late, slow).run()
    assert late.notes == [
        "Ended by the time budget; nothing was begun: the next training takes about 60 s here, and 10 s of 10 s are "
        "left."
    ]
    assert Campaign(ledger, Scripted(outcome), Work(trials), Bounds()).run()


def test_a_result_that_came_too_late_is_dropped(open_storage: OpenStorage, run: str) -> None:
    """Another coordinator took the training over and finished it, while ours was at it."""
    other = Ledger(open_storage(), run, parse_row)

    def act(job: Assignment) -> Outcome:
        other.free_all()
        claim = other.claim([job.trial.key])
        assert claim is not None
        row = replace(work.row(job.trial, outcome(job).measurement), note="by the other")
        assert other.finish(claim, row, b"")
        return outcome(job)

    work = Work([make(0)])
    ledger = Ledger(open_storage(), run, parse_row)
    if not ledger.storage.shared:
        pytest.skip("one file has one coordinator")
    assert Campaign(ledger, Scripted(act), work, Bounds()).run()
    assert work.found[0, 0, 2].row.note == "by the other"
    assert "taken over" in work.notes[-1]
