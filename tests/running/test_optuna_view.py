from dataclasses import replace
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

from scalesearch.design.space import Grid, load_space
from scalesearch.running.optuna_view import Window, open_study, study_name, trials
from scalesearch.running.storage import Storage, storage_url
from scalesearch.study.config import TrainConfig
from scalesearch.study.plan import SearchPlan
from scalesearch.study.proxy import Proxy
from scalesearch.study.row import Row
from tests.rows import make_row
from tests.running.conftest import OpenStorage

BASELINE = replace(load_space("mbconv_small").baseline, classes=4, resolution=16)
FULL = 8


@pytest.fixture
def plan(request: pytest.FixtureRequest) -> SearchPlan:
    """One for each test: all of them share a server."""
    return SearchPlan(
        space="mbconv_small", baseline=BASELINE, grid=Grid(0.2, 0.2), rounding="budget", real_tolerance=0.1,
        target_macs=2e6, data="made_up", data_digest=request.node.name, validation=4, majority=0.25,
        proxy=Proxy(BASELINE, FULL, 300), train=TrainConfig(epochs=FULL), device="cpu",
    )  # fmt: skip


def line(candidate: int, epochs: int = FULL, score: float | None = 0.5, seed: int = 0) -> Row:
    if score is None:
        return make_row(candidate, seed, epochs, full_epochs=FULL, reason="no luck", seconds=60.0)
    return make_row(candidate, seed, epochs, full_epochs=FULL, score=score, top1=score, seconds=60.0)


def never(text: str) -> None:
    raise AssertionError(text)


def shown(storage: Storage, plan: SearchPlan) -> list[tuple[str, int, str, dict[int, float]]]:
    """Name, seed, state and scores by epochs of each trial."""
    return [
        (one.user_attrs["name"], one.user_attrs["seed"], one.state.name, one.intermediate_values)
        for one in open_study(storage, plan).trials
    ]


RUNGS = [line(-1, FULL, 0.9), line(0, 2, 0.2), line(0, 4, 0.4), line(1, 2, 0.3), line(2, 2, 0.1), line(2, 4, None)]


def test_a_training_is_one_trial_however_often_it_paused(open_storage: OpenStorage, plan: SearchPlan) -> None:
    Window(open_storage(), plan, 1.0, never).show(RUNGS[:2])
    window = Window(open_storage(), plan, 1.0, never)  # another coordinator
    assert shown(open_storage(), plan) == [
        ("baseline", 0, "PRUNED", {FULL: 0.9}), ("c000", 0, "RUNNING", {2: 0.2})
    ]  # fmt: skip
    window.show(RUNGS)
    window.show(RUNGS)
    rows = [*RUNGS, line(0, FULL, 0.6), line(0, FULL, 0.55, seed=1)]
    window.show(rows, over=True)
    window.show(rows, over=True)
    assert shown(open_storage(), plan) == [
        ("baseline", 0, "PRUNED", {FULL: 0.9}), ("c000", 0, "COMPLETE", {2: 0.2, 4: 0.4, FULL: 0.6}),
        ("c001", 0, "PRUNED", {2: 0.3}), ("c002", 0, "FAIL", {2: 0.1}), ("c000", 1, "COMPLETE", {FULL: 0.55}),
    ]  # fmt: skip
    study = open_study(open_storage(), plan)
    assert [one.value for one in study.trials] == [0.9, 0.6, 0.3, None, 0.55]
    told = study.best_trial.user_attrs  # the baseline scored more
    assert (told["name"], told["epochs"], told["top1"], told["params"], told["seconds"]) == (
        "c000",
        8,
        0.6,
        10_000,
        180,
    )
    assert study.trials[3].user_attrs["reason"] == "no luck"
    assert study.trials[3].user_attrs["top1"] is None
    assert study.best_trial.duration is not None
    assert study.best_trial.duration.total_seconds() >= 60  # of the rung that was seen first


def test_what_goes_on_after_it_was_pruned_stays_one_trial(open_storage: OpenStorage, plan: SearchPlan) -> None:
    window, rows = Window(open_storage(), plan, 1.0, never), [line(0, 2, 0.2), line(1, 2, 0.3)]
    window.show(rows, over=True)
    window.show(rows)  # more seeds are wanted of others: these have not gone on
    assert [state for _, _, state, _ in shown(open_storage(), plan)] == ["PRUNED", "PRUNED"]
    Window(open_storage(), plan, 1.0, never).show([*rows, line(0, FULL, 0.6)])
    assert shown(open_storage(), plan) == [
        ("c000", 0, "COMPLETE", {2: 0.2, FULL: 0.6}), ("c001", 0, "PRUNED", {2: 0.3})
    ]  # fmt: skip


def test_a_coordinator_that_heard_of_less_takes_nothing_back(open_storage: OpenStorage, plan: SearchPlan) -> None:
    rung, whole, others = line(0, 2, 0.2), line(0, FULL, 0.6), [line(1, 2, 0.3), line(2, FULL, 0.5)]
    ahead, behind = (Window(open_storage(), plan, 1.0, never) for _ in range(2))
    behind.show([rung])
    study = open_study(open_storage(), plan)
    study.add_trial(optuna.trial.create_trial(value=0.1, user_attrs={"mine": 1}))
    ahead.show([rung, whole, *others], over=True)
    behind.show([rung, *others])
    expected = [("c000", "COMPLETE"), (None, "COMPLETE"), ("c001", "PRUNED"), ("c002", "COMPLETE")]

    def told() -> list[tuple[str | None, str]]:
        trials = open_study(open_storage(), plan).trials
        return [(one.user_attrs.get("name"), one.state.name) for one in trials]

    assert told() == expected
    began = open_study(open_storage(), plan).trials[2].datetime_start
    behind.show([rung, *others, line(1, FULL, 0.7)])  # a pruned one went on: written anew, with all that was there
    expected[2] = ("c001", "COMPLETE")
    assert told() == expected
    assert open_study(open_storage(), plan).trials[2].datetime_start == began
    ahead.show([rung, whole, *others, line(3, FULL, 0.4)])  # which had the study open that is gone
    assert told() == [*expected, ("c003", "COMPLETE")]


def test_parameters_are_the_coefficients_in_the_grid_s_range(open_storage: OpenStorage, plan: SearchPlan) -> None:
    candidates = plan.enumerate().candidates
    storage, rows = open_storage(), [line(-1), *(line(one.index, score=0.5 + one.index / 100) for one in candidates)]
    Window(storage, plan, 1.0, never).show(rows, over=True)
    study = open_study(storage, plan)
    for one, trial in zip(candidates, study.trials[1:], strict=True):
        own = one.coefficients
        assert trial.params == {"alpha": own.alpha, "beta": own.beta, "gamma": own.gamma}
    axes = {(axis.low, axis.high) for trial in study.trials for axis in trial.distributions.values()}
    assert axes == {(1.0, plan.grid.maximum)}
    assert study.best_trial.user_attrs["candidate"] == candidates[-1].index
    importances = optuna.importance.get_param_importances(study)
    assert importances.keys() == {"alpha", "beta", "gamma"}
    space = optuna.search_space.intersection_search_space(study.get_trials())
    assert space.keys() == {"alpha", "beta", "gamma"}


def test_a_study_says_what_it_is(open_storage: OpenStorage, plan: SearchPlan) -> None:
    assert study_name(plan) == f"mbconv_small on made_up ({plan.digest})"
    assert study_name(plan, 2) == f"mbconv_small on made_up at φ = 2 ({plan.digest})"
    assert len(study_name(replace(plan, data="x" * 999, space="y" * 999))) < 512  # which Optuna's tables hold
    study = open_study(open_storage(), plan)
    assert study.user_attrs["about"] == "scalesearch: (α, β, γ) of mbconv_small, trained at φ = 1 on made_up"
    told = {"plan_digest": plan.digest, "validation_images": 4, "target_macs": 2e6, "grid_step": 0.2}
    assert study.user_attrs.items() >= told.items()
    assert study.metric_names == ["score"]


def test_trainings_of_other_lengths_are_others(plan: SearchPlan) -> None:
    """A verification may be repeated with more epochs."""
    rows = [make_row(0, epochs=2, full_epochs=2), make_row(0, epochs=4, full_epochs=4)]
    assert {place: one.state for place, one in trials(plan, rows, over=True).items()} == {
        (0, 0, 2): TrialState.COMPLETE, (0, 0, 4): TrialState.COMPLETE
    }  # fmt: skip


def test_a_trial_that_somebody_added_is_left_alone(tmp_path: Path, plan: SearchPlan) -> None:
    storage = Storage(storage_url(tmp_path, None))
    study, window = open_study(storage, plan), Window(storage, plan, 1.0, never)
    study.add_trial(optuna.trial.create_trial(value=0.1, user_attrs={"mine": 1}))
    window.show([line(0)])
    assert [sorted(one.user_attrs)[0] for one in open_study(storage, plan).trials] == ["mine", "activations"]


def test_the_study_of_an_earlier_version_gives_way(open_storage: OpenStorage, plan: SearchPlan) -> None:
    storage = open_storage()
    earlier = f"scalesearch-{plan.digest}" if storage.shared else "scalesearch"
    kept = optuna.storages.RDBStorage(storage.url.render_as_string(hide_password=False))
    optuna.create_study(study_name=earlier, storage=kept).add_trial(optuna.trial.create_trial(value=0.1))
    Window(open_storage(), plan, 1.0, never).show([line(0)])
    names = optuna.get_all_study_names(kept)
    assert earlier not in names
    assert study_name(plan) in names
    kept.engine.dispose()


def test_a_study_that_cannot_be_written_is_noted_once(tmp_path: Path, plan: SearchPlan) -> None:
    storage, said = Storage(storage_url(tmp_path / "gone", None)), list[str]()
    window = Window(storage, plan, 1.0, said.append)
    window.show([line(0)])
    window.show([line(0)])
    assert len(said) == 1
    assert "the results are kept" in said[0]
