"""Real searches on tiny images: each trial once, continued after an interruption, the same for any jobs."""

import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from scalesearch.data.arrays import StreamedImages
from scalesearch.data.batches import Augment, pixel_statistics
from scalesearch.data.dataset import Dataset, dataset, open_data
from scalesearch.design.space import Grid, load_space
from scalesearch.errors import UserError
from scalesearch.files import locked
from scalesearch.nets.modules import MBConvNet, build
from scalesearch.nets.sources import open_weights
from scalesearch.nets.weights import save_network
from scalesearch.running.campaign import Bounds
from scalesearch.running.carry_out import Listener
from scalesearch.running.optuna_view import open_study
from scalesearch.running.search import RaceAgenda, recorded, search
from scalesearch.running.storage import Storage, storage_url
from scalesearch.running.trial import Assignment, Setting, run_trial
from scalesearch.running.workers import Workers
from scalesearch.study.answer import read_answer, read_recommendation
from scalesearch.study.config import TrainConfig
from scalesearch.study.plan import SearchPlan, trial
from scalesearch.study.proxy import Proxy
from scalesearch.study.race import Race, exhaustive
from scalesearch.study.record import FORMAT
from scalesearch.study.row import Inheritance, Key, Row
from scalesearch.training.checkpoint import epochs_begun
from scalesearch.training.history import EpochRecord
from scalesearch.training.model_file import metadata_of
from tests.conftest import noisy_images
from tests.postgres import Server

BASELINE = replace(load_space("mbconv_small").baseline, classes=2, resolution=16)
SILENT = Listener(lambda done, total: None, lambda row, done, total: None)
MEASURED = ("candidate", "seed", "epochs", "status", "correct", "images", "train_loss", "macs", "score")


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    root = noisy_images(tmp_path_factory.mktemp("data") / "images", parts=("train", "test"))
    return dataset(open_data(str(root)), 40)


def make_plan(data: Dataset, **changes: Any) -> SearchPlan:
    """Of the controls and the paper's triple; nothing is at guessing, so that every race goes to its end."""
    plan = SearchPlan(
        space="mbconv_small", baseline=BASELINE, grid=Grid(1.0, 0.3), rounding="budget", real_tolerance=None,
        target_macs=2e6, data=data.source.name, data_digest=data.digest, validation=len(data.validation),
        majority=0.0, proxy=Proxy(BASELINE, 1, 32), device="cpu",
        train=TrainConfig(epochs=1, batch_size=16, lr=3e-3, warmup_epochs=0),
    )  # fmt: skip
    return replace(plan, **changes)


ALL, PAUSING = Race(1, 0), Race(2, 1)


def run(
    folder: Path, plan: SearchPlan, data: Dataset, jobs: int = 1, listener: Listener = SILENT,
    race: Race = ALL, bounds: Bounds | None = None, storage: str | None = None,
    workers: Workers | None = None,
) -> Sequence[Row]:  # fmt: skip
    agenda = RaceAgenda(plan, plan.enumerate().candidates, race)
    return search(folder, agenda, data, {}, workers or Workers(jobs), listener, bounds, storage)


Searched = tuple[Path, Sequence[Row]]  # a folder with a search to its end, and its rows


def pausing_plan(data: Dataset) -> SearchPlan:
    """Of trainings that may pause after the first of two epochs."""
    return make_plan(data, train=replace(make_plan(data).train, epochs=2, ema_decay=0.9))


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory, images: Dataset) -> Searched:
    """Of ``make_plan``, undisturbed."""
    folder = tmp_path_factory.mktemp("searched") / "run"
    return folder, run(folder, make_plan(images), images)


@pytest.fixture(scope="module")
def raced(tmp_path_factory: pytest.TempPathFactory, images: Dataset) -> Searched:
    """A race of ``pausing_plan``."""
    folder = tmp_path_factory.mktemp("raced") / "run"
    return folder, run(folder, pausing_plan(images), images, race=PAUSING)


@pytest.fixture(scope="module")
def unpaused(tmp_path_factory: pytest.TempPathFactory, images: Dataset) -> Searched:
    """Every training of ``pausing_plan`` at once to its end."""
    folder = tmp_path_factory.mktemp("unpaused") / "run"
    return folder, run(folder, pausing_plan(images), images, race=exhaustive(PAUSING, 1))


def copied(made: Searched, folder: Path) -> Sequence[Row]:
    """Copies a search's folder, so that a test may change it; its rows."""
    shutil.copytree(made[0], folder)
    return made[1]


def in_optuna(folder: Path, plan: SearchPlan) -> list[Key]:
    """What the study's trials show: each rung of each."""
    study = open_study(Storage(storage_url(folder, None)), plan)
    told = [(trial.user_attrs, trial.intermediate_values) for trial in study.trials]
    assert len({(one["candidate"], one["seed"]) for one, _ in told}) == len(told)
    return [(one["candidate"], one["seed"], epochs) for one, scores in told for epochs in scores]


def measured(rows: Sequence[Row]) -> list[tuple[Any, ...]]:
    return [tuple(getattr(row, name) for name in MEASURED) for row in rows]


def test_a_search_an_interruption_and_many_jobs_give_the_same_rows(
    tmp_path: Path, images: Dataset, searched: Searched
) -> None:
    plan, (_, undisturbed) = make_plan(images), searched
    candidates = plan.enumerate().candidates
    assert [row.key for row in undisturbed] == [(-1, 0, 1), (-1, 1, 1), *((c.index, 0, 1) for c in candidates)]
    assert all(row.status == "done" and row.images == len(images.validation) for row in undisturbed)

    def interrupt(row: Row, done: int, total: int) -> None:
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "b", plan, images, listener=Listener(SILENT.reading, interrupt))
    assert len(recorded(tmp_path / "b", plan)) == 3
    assert not read_recommendation(tmp_path / "b").complete
    continued = run(tmp_path / "b", plan, images, jobs=2)
    assert measured(continued) == measured(undisturbed)
    shown = in_optuna(tmp_path / "b", plan)
    assert sorted(shown) == [row.key for row in undisturbed]  # each once; nothing repeated

    calls: list[int] = []
    again = run(
        tmp_path / "b", plan, images, listener=Listener(SILENT.reading, lambda row, done, total: calls.append(1))
    )
    assert measured(again) == measured(undisturbed)
    assert calls == []
    recommendation, answer = read_recommendation(tmp_path / "b"), read_answer(tmp_path / "b")
    assert answer is not None
    assert recommendation.complete
    assert recommendation.winner == answer.recommended
    assert recommendation.coefficients.growth == 2.0


def test_streamed_images_give_the_same_rows(tmp_path: Path, images: Dataset, searched: Searched) -> None:
    plan = make_plan(images)
    parts = {name: replace(part, kept=frozenset(), folder=tmp_path / "c") for name, part in images.parts.items()}
    within = replace(images, **parts)
    streamed = run(tmp_path / "b", plan, within, bounds=Bounds(trainings=2))
    sizes = {one.resolution for one in (plan.baseline, *(c.spec for c in plan.enumerate().candidates))}
    assert all(isinstance(within.train.at(size), StreamedImages) for size in sizes)
    assert len(streamed) == 2
    assert measured(streamed) == measured(searched[1][:2])


def test_predictions_recompute_the_accuracy(images: Dataset, searched: Searched) -> None:
    folder, rows = searched
    for row in rows:
        with np.load(folder / "predictions" / f"{row.file}.npz") as kept:
            assert (kept["labels"] == kept["predictions"]).sum() == row.correct
            assert np.array_equal(kept["labels"], images.source.labels[images.validation.indices])
            assert kept["soft"].shape == kept["labels"].shape
            assert ((kept["soft"] > 0) & (kept["soft"] < 1)).all()


def test_a_diverging_trial_fails_and_the_search_goes_on(tmp_path: Path, images: Dataset) -> None:
    hot = replace(make_plan(images).train, lr=1e30, clip_grad_norm=0.0, epochs=3)
    plan = make_plan(images, train=hot)
    rows = run(tmp_path, plan, images, race=Race(3, 0))
    failed = [row for row in rows if row.status == "failed"]
    assert failed
    assert all("loss" in row.reason for row in failed)
    assert len(recorded(tmp_path, plan)) == len(rows)  # failed ones are not tried again


def test_another_search_in_the_same_folder_is_refused(tmp_path: Path, images: Dataset, searched: Searched) -> None:
    plan, folder = make_plan(images), tmp_path / "run"
    copied(searched, folder)
    before = (folder / "run.json").read_bytes()
    for change in ({"data_digest": "other"}, {"baseline": replace(BASELINE, resolution=20)}):
        with pytest.raises(UserError, match="another search"):
            run(folder, replace(plan, **change), images)
    assert (folder / "run.json").read_bytes() == before


def test_runs_of_other_versions_are_refused(tmp_path: Path, images: Dataset, searched: Searched) -> None:
    plan, folder = make_plan(images), tmp_path / "run"
    copied(searched, folder)
    values = json.loads((folder / "run.json").read_text())
    for version, advice in ((FORMAT + 1, "Update scalesearch"), (1, "Read it with scalesearch 7")):
        old = {**values, "format": version, "versions": {"scalesearch": "7"}}
        (folder / "run.json").write_text(json.dumps(old))
        with pytest.raises(UserError, match=f"format {version}.*{advice}"):
            run(folder, plan, images)


def test_a_race_after_an_exhaustive_search_does_not_judge_by_its_longer_trainings(
    tmp_path: Path, images: Dataset, raced: Searched, unpaused: Searched
) -> None:
    plan, expected = pausing_plan(images), raced[1]
    kept = tmp_path / "b" / "checkpoints"
    longer = copied(unpaused, tmp_path / "b")
    one = trial(plan, plan.enumerate().candidates, (0, 0, 2))
    setting = Setting(images.train, {"validation": images.validation}, Augment(flip=True), "cpu")
    run_trial(setting, Assignment(one, kept / "c000-seed0.safetensors"), lambda: None)  # as if left by an interruption
    assert epochs_begun(kept / "c000-seed0.safetensors") == 2
    both = run(tmp_path / "b", plan, images, race=PAUSING)
    assert measured([row for row in both if row.epochs == 1]) == measured([row for row in expected if row.epochs == 1])
    assert measured([row for row in both if row.epochs == 2]) == measured(longer)
    assert sorted(in_optuna(tmp_path / "b", plan)) == [row.key for row in both]


def test_a_resumed_training_is_timed_whole(images: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    """Speed decides between equals: what an interrupted process did counts, what an earlier result covers does not."""
    plan = make_plan(images, train=replace(make_plan(images).train, epochs=3))
    history = [EpochRecord(epoch, 1.0, 0.1, 100.0, {}) for epoch in range(3)]
    monkeypatch.setattr("scalesearch.running.trial.fit", lambda *given, **named: history)
    setting = Setting(images.train, {"validation": images.validation}, Augment(flip=True), "cpu")
    for since, seconds in ((0, 300), (1, 200)):
        job = Assignment(trial(plan, plan.enumerate().candidates, (0, 0, 3)), None, since)
        assert seconds <= run_trial(setting, job, lambda: None).measurement.seconds < seconds + 60


def test_a_network_whose_outputs_are_not_finite_has_failed(images: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the averaged weights overflow, every loss may have been finite."""

    def spoilt(network: MBConvNet, *given: Any, **named: Any) -> Sequence[EpochRecord]:
        for parameter in network.classifier.parameters():
            parameter.data.fill_(torch.nan)
        return [EpochRecord(0, 1.0, 0.1, 1.0, {})]

    monkeypatch.setattr("scalesearch.running.trial.fit", spoilt)
    plan = make_plan(images)
    one = trial(plan, plan.enumerate().candidates, (0, 0, 1))
    outcome = run_trial(
        Setting(images.train, {"validation": images.validation}, Augment(), "cpu"), Assignment(one), lambda: None
    )
    assert "outputs after epoch 1 are not finite" in outcome.measurement.reason
    assert len(outcome.soft) == 0


def test_a_lost_predictions_file_is_written_again(tmp_path: Path, images: Dataset, searched: Searched) -> None:
    copied(searched, tmp_path / "run")
    gone, changed = sorted((tmp_path / "run" / "predictions").iterdir())[:2]
    content = {path: path.read_bytes() for path in (gone, changed)}
    gone.unlink()
    changed.write_bytes(b"bits rot")
    run(tmp_path / "run", make_plan(images), images)
    assert {path: path.read_bytes() for path in content} == content


def test_a_run_kept_in_a_database_is_not_continued_without_it(
    tmp_path: Path, images: Dataset, postgres_server: Server
) -> None:
    plan = make_plan(images)
    ours = tmp_path / "ours"
    rows = run(ours, plan, images, storage=postgres_server.url)
    assert measured(run(tmp_path / "elsewhere", plan, images, storage=postgres_server.url)) == measured(rows)
    with pytest.raises(UserError, match=r"in postgresql.*, not in study\.db\. Give the same --storage"):
        run(ours, plan, images)
    assert "secret" not in (ours / "run.json").read_text()


def test_more_seeds_continue_a_search(tmp_path: Path, images: Dataset, searched: Searched) -> None:
    plan = make_plan(images)
    first = copied(searched, tmp_path / "run")
    calls: list[int] = []
    listener = Listener(SILENT.reading, lambda *_: calls.append(1))
    both = run(tmp_path / "run", plan, images, listener=listener, race=exhaustive(ALL, 2))
    candidates = len(plan.enumerate().candidates)
    assert (len(first), len(both), len(calls)) == (2 + candidates, 2 + 2 * candidates, candidates)


def test_a_paused_training_goes_on_as_if_it_had_never_stopped(
    images: Dataset, raced: Searched, unpaused: Searched
) -> None:
    plan, (folder, paused), whole = pausing_plan(images), raced, unpaused[1]
    names = [candidate.name for candidate in plan.enumerate().candidates]
    assert [row.name for row in paused if row.epochs == 1] == [name for name in names for _ in range(2)]
    assert measured([row for row in paused if row.epochs == 2]) == measured(whole)
    assert all((row.latency_ms is None) == (row.epochs == 1) for row in paused)  # measured where it may be recommended
    study = open_study(Storage(storage_url(folder, None)), plan)
    curves: dict[tuple[str, int], dict[int, float | None]] = {}
    for row in paused:
        curves.setdefault((row.name, row.seed), {})[row.epochs] = row.score
    shown = {(one.user_attrs["name"], one.user_attrs["seed"]): one.intermediate_values for one in study.trials}
    assert shown == curves
    assert len(study.trials) == len(curves)
    assert {one.state.name for one in study.trials if one.user_attrs["epochs"] == 1} == {"PRUNED"}
    best = max((row for row in paused if row.epochs == 2 and row.candidate >= 0), key=lambda row: row.score or 0)
    assert study.best_value == best.score
    left = {path.stem for path in (folder / "checkpoints").iterdir()}
    assert left == {f"{name}-seed1" for name in names}  # a further seed goes on from there


def test_the_answer_follows_from_the_trainings_whatever_the_last_call_asked_for(
    tmp_path: Path, images: Dataset, raced: Searched
) -> None:
    plan, folder = pausing_plan(images), tmp_path / "run"
    copied(raced, folder)
    answers = [read_answer(folder)]
    for race in (exhaustive(PAUSING, 2), replace(PAUSING, further=4, seeds=3)):
        run(folder, plan, images, race=race, bounds=Bounds(trainings=0))
        answers.append(read_answer(folder))
    first, *others = answers
    assert first is not None
    assert first.certainty is not None
    assert others == [replace(first, complete=False)] * 2


def test_a_search_that_cannot_learn_ends_after_the_baseline(tmp_path: Path, images: Dataset) -> None:
    plan = make_plan(images, majority=1.0)
    rows = run(tmp_path, plan, images)
    assert [row.key for row in rows] == [(-1, 0, 1), (-1, 1, 1)]
    answer, recommendation = read_answer(tmp_path), read_recommendation(tmp_path)
    assert answer is not None
    assert "guessing" in answer.undecided
    assert (answer.certainty, answer.standings, answer.rule) == (None, (), "default")
    (paper,) = (candidate for candidate in plan.enumerate().candidates if candidate.control == "paper")
    assert recommendation.winner == answer.recommended == paper.name
    assert (recommendation.score, recommendation.top1, recommendation.complete) == (None, None, True)


def test_bounds_leave_work_for_the_next_call(tmp_path: Path, images: Dataset) -> None:
    plan = make_plan(images)
    part = run(tmp_path, plan, images, bounds=Bounds(trainings=3))
    assert len(part) == 3
    assert not read_recommendation(tmp_path).complete
    unfinished = read_answer(tmp_path)
    assert unfinished is not None
    assert not unfinished.complete
    assert run(tmp_path, plan, images, bounds=Bounds(seconds=0.0)) == part
    whole = run(tmp_path, plan, images)
    assert len(whole) > 3
    ended = read_answer(tmp_path)
    assert ended is not None
    assert ended.complete
    assert ended.recommended in {standing.name for standing in ended.members}


def test_a_search_that_recorded_nothing_gives_way(tmp_path: Path, images: Dataset) -> None:
    plan = make_plan(images)
    other = replace(plan, target_macs=3e6).to_dict()
    (tmp_path / "run.json").write_text(json.dumps({"format": FORMAT, "plan": other}))  # left by an interruption
    assert run(tmp_path, plan, images)
    assert json.loads((tmp_path / "run.json").read_text())["plan"] == plan.to_dict()


def test_an_answer_lost_at_the_end_is_written_again(tmp_path: Path, images: Dataset, searched: Searched) -> None:
    plan, folder = make_plan(images), tmp_path / "run"
    copied(searched, folder)
    recommendation = read_recommendation(folder)
    (folder / "coefficients.json").unlink()
    run(folder, plan, images)
    assert read_recommendation(folder) == recommendation
    assert recommendation.complete


def test_a_folder_in_use_is_refused(tmp_path: Path, images: Dataset) -> None:
    with locked(tmp_path), pytest.raises(UserError, match="in use"):
        run(tmp_path, make_plan(images), images)


def test_candidates_start_from_a_trained_baseline(tmp_path: Path, images: Dataset) -> None:
    """With a learning rate of next to nothing wider and deeper ones answer as the baseline does, from the start."""
    torch.manual_seed(0)
    trained = build(BASELINE, seed=3)
    with torch.no_grad():
        for parameter in trained.parameters():
            parameter.mul_(1 + 0.3 * torch.rand_like(parameter))
    path = tmp_path / "baseline.safetensors"
    statistics = pixel_statistics(images.train.at(16))
    save_network(path, trained, metadata_of(statistics, ""), images.classes)
    still = TrainConfig(epochs=1, batch_size=16, lr=1e-12, warmup_epochs=0)
    source = open_weights(str(path), BASELINE)
    weights = Inheritance(str(path), None, source.digest)
    plan = make_plan(images, train=still, weights=weights)
    assert SearchPlan.from_dict(plan.to_dict()) == plan
    rows = run(tmp_path / "run", plan, images)
    assert all(row.status == "done" for row in rows), [row.reason for row in rows]
    kept = [
        np.load(tmp_path / "run" / "predictions" / f"{row.file}.npz")["predictions"]
        for row in rows
        if row.resolution == 16 and row.seed == 0
    ]
    assert len(kept) > 2
    assert all(np.array_equal(predictions, kept[0]) for predictions in kept)
    other = run(tmp_path / "scratch", make_plan(images, train=still), images)
    assert measured(other) != measured(rows)
    moved = replace(plan, weights=replace(weights, digest="000000000000"))
    with pytest.raises(UserError, match="weights"):
        recorded(tmp_path / "run", moved)
