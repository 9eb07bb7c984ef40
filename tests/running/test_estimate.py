"""How long a search will take, from made-up measurements."""

from dataclasses import replace

import pytest

from scalesearch.data.dataset import Dataset, dataset, open_data
from scalesearch.data.places import timings_folder
from scalesearch.design.cost import cost
from scalesearch.running import estimate as module
from scalesearch.running.campaign import Bounds
from scalesearch.running.estimate import Pace, Timing, as_recorded, epochs_left, measure, remembered
from scalesearch.study.plan import SearchPlan, Trial, trial
from scalesearch.study.row import Key
from tests.conftest import MakeFolder
from tests.rows import make_row
from tests.running.test_search import make_plan

FULL = 4


@pytest.fixture
def plan(image_folder: MakeFolder) -> SearchPlan:
    data: Dataset = dataset(open_data(str(image_folder())), 40)
    plan = make_plan(data)
    return replace(plan, train=replace(plan.train, epochs=FULL))


def made(plan: SearchPlan, key: Key) -> Trial:
    return trial(plan, plan.enumerate().candidates, key)


def timing(jobs: int = 1, start: float = 0.0, points: tuple[tuple[int, float], ...] = ((1, 0.5),)) -> Timing:
    """Two steps an epoch and no evaluation."""
    return Timing(start, 0.0, points, 32, 0, 16, jobs)


def test_a_training_goes_on_from_where_it_paused(plan: SearchPlan) -> None:
    steps: list[list[Key]] = [[(0, 0, 1), (0, 1, 1)], [(0, 0, FULL), (1, 0, FULL)]]
    left = epochs_left(plan, steps, [(1, 0, 1)])
    assert [[(one.key, epochs) for one, epochs in step] for step in left] == [
        [((0, 0, 1), 1), ((0, 1, 1), 1)], [((0, 0, FULL), FULL - 1), ((1, 0, FULL), FULL - 1)],
    ]  # fmt: skip


def test_seconds_of_a_step_lie_on_lines_between_those_measured(plan: SearchPlan) -> None:
    one = made(plan, (0, 0, FULL))
    macs = cost(one.trained).macs
    for points, step in (
        (((macs, 3.0),), 3.0),
        (((macs // 2, 1.0), (macs // 2 + macs, 3.0)), 2.0),
        (((2 * macs, 1.0), (3 * macs, 5.0)), 1.0),
        (((macs // 4, 1.0), (macs // 2, 2.0)), 4.0),
    ):
        assert timing(points=points).training(macs, FULL) == pytest.approx(2 * FULL * step, rel=1e-4)


def test_workers_share_a_step_of_the_race(plan: SearchPlan) -> None:
    step = [(made(plan, (0, seed, FULL)), FULL) for seed in range(4)]
    assert timing().total([step]) == 4 * FULL
    assert timing(2, start=7.0).total([step, []]) == 7.0 + 2 * FULL
    assert timing(3).total([step]) == pytest.approx(4 / 3 * FULL + FULL / 2)  # the last one ends alone
    assert timing(2, start=7.0).total([]) == 0


def test_trainings_that_ended_correct_the_estimate(plan: SearchPlan) -> None:
    pace, full, other = Pace(timing()), made(plan, (0, 0, FULL)), made(plan, (1, 1, FULL))
    assert pace.seconds(full) == FULL
    pace.heard(make_row(0, 0, 1, seconds=3.0))
    assert pace.seconds(full) == 3 * (FULL - 1)  # three times as slow, and an epoch is done
    assert pace.seconds(other) == 3 * FULL
    pace.heard(make_row(1, 0, FULL, reason="no luck", seconds=900.0))
    assert pace.seconds(other) == 3 * FULL  # a failed one says nothing
    for seed in range(1, 30):
        pace.heard(make_row(0, seed, 1, seconds=1.0))
    assert pace.seconds(other) == FULL  # nine of ten are over by then
    assert Pace(None).seconds(full) == 0


def test_a_training_is_held_against_the_estimate_of_its_own_size(plan: SearchPlan) -> None:
    """A verification's networks are larger than those of its search: being slower, they are not late."""
    one = made(plan, (0, 0, FULL))
    macs = cost(one.trained).macs
    pace = Pace(timing(points=((macs, 1.0), (2 * macs, 2.0))))
    pace.heard(make_row(1, 0, FULL, seconds=4.0 * FULL, proxy_macs=2 * macs))
    assert pace.seconds(one) == pytest.approx(2 * FULL)


def test_what_earlier_calls_trained_is_not_trained_again(plan: SearchPlan) -> None:
    pace, full, other = Pace(timing(), [make_row(0, 0, 1)]), made(plan, (0, 0, FULL)), made(plan, (1, 0, FULL))
    assert pace.seconds(full) == FULL - 1
    pace.heard(make_row(0, 0, FULL, seconds=FULL - 1.0))
    assert pace.seconds(other) == FULL  # as fast as was estimated


def test_what_is_left_follows_what_has_ended(plan: SearchPlan) -> None:
    rungs = [[(made(plan, (0, seed, FULL)), FULL) for seed in range(5)]]
    pace = Pace(timing())
    assert pace.left(rungs, 0.0) == 5 * FULL
    lasted = list[float]()
    for seed in range(5):  # each takes three times as long as was estimated
        pace.heard(make_row(0, seed, FULL, seconds=3.0 * FULL))
        lasted.append(pace.left(rungs, 3.0 * FULL * (seed + 1)))
    assert lasted[0] > 2 * 4 * FULL  # of 3 × 4: two thirds of it come from the first that ended
    assert lasted[3] == pytest.approx(3 * FULL, rel=0.1)
    assert lasted[3] > lasted[4] == 0  # nothing is left when nothing is
    assert Pace(None).left(rungs, 1.0) == 0


@pytest.mark.parametrize(("jobs", "count"), [(1, 5), (2, 8), (2, 3), (16, 16), (16, 48)])
def test_trainings_side_by_side_that_go_as_estimated_are_told_exactly(plan: SearchPlan, jobs: int, count: int) -> None:
    rungs = [[(made(plan, (0, seed, FULL)), FULL) for seed in range(count)]]
    pace, whole = Pace(timing(jobs)), -(-count // jobs) * FULL
    for seed in range(count):
        pace.heard(make_row(0, seed, FULL, seconds=FULL))
        elapsed = (seed // jobs + 1) * FULL
        assert pace.left(rungs, elapsed) == pytest.approx(whole - elapsed)


def test_what_was_timed_is_not_timed_again(plan: SearchPlan, monkeypatch: pytest.MonkeyPatch) -> None:
    trials, asked = [made(plan, (number, 0, FULL)) for number in (-1, 0, 1)], list[int]()

    def clock(*given: object) -> Timing:
        asked.append(len(given))
        return timing(start=len(asked))

    monkeypatch.setattr(module, "measure", clock)
    busy = remembered(trials, 32, 8, 1, "cpu", 1, busy=True)
    (first, known), (again, once) = (remembered(trials, images, 8, 1, "cpu", 1, busy=False) for images in (32, 64))
    assert (busy[0].start, first.start, len(asked)) == (1, 2, 2)  # of a busy machine nothing is kept
    assert (busy[1], known, once) == (False, False, True)
    assert again == replace(first, images=64, validation=8)
    longer = [replace(one, train=replace(one.train, epochs=9, lr=1.0, seed=7, warmup_epochs=2)) for one in trials]
    assert remembered(longer, 64, 8, 1, "cpu", 1, busy=False) == (again, True)  # steps take as long
    remembered(trials, 32, 8, 2, "cpu", 1, busy=False)  # more at a time are slower, each
    changed = [replace(one, train=replace(one.train, batch_size=4)) for one in trials]
    remembered(changed, 32, 8, 1, "cpu", 1, busy=False)
    assert len(asked) == 4
    for file in timings_folder().iterdir():
        file.write_text("{}")
    assert remembered(trials, 32, 8, 1, "cpu", 1, busy=False)[0].start == 5


def test_nothing_is_begun_that_would_not_end_in_time(plan: SearchPlan) -> None:
    one, pace = made(plan, (0, 0, FULL)), Pace(timing())
    within = Bounds(seconds=3600, seconds_of=pace.seconds)
    assert within.allow(one)
    pace.heard(make_row(1, 0, FULL, seconds=7200.0))
    assert not within.allow(one)


def test_a_few_steps_are_timed(plan: SearchPlan) -> None:
    trials = [made(plan, (number, 0, FULL)) for number in (-1, 0, 1)]
    found = measure(trials, 32, 8, 1, "cpu")
    assert [macs for macs, _ in found.points] == sorted({cost(one.trained).macs for one in trials})
    assert (found.start, found.images, found.validation, found.jobs) == (0.0, 32, 8, 1)
    assert min(found.fixed, *(seconds for _, seconds in found.points)) > 0


def test_beside_other_work_an_estimate_is_no_slower_than_what_ended_before() -> None:
    timing = Timing(1.0, 2.0, ((1_000_000, 0.1),), 320, 32, 32, 1)
    rows = [make_row(n, seconds=0.25 * timing.training(1_000_000, 4), proxy_macs=1_000_000, epochs=4) for n in range(3)]
    usual = as_recorded(timing, rows)
    assert usual.training(1_000_000, 4) == pytest.approx(0.25 * timing.training(1_000_000, 4))
    assert as_recorded(timing, rows[:1]) == timing
    slower = [replace(row, seconds=4 * timing.training(1_000_000, 4)) for row in rows]
    assert as_recorded(timing, slower) == timing
