"""Verifications of searches whose trainings are made up, and one that trains."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from scalesearch.data.batches import Augment
from scalesearch.data.dataset import Dataset, dataset, open_data
from scalesearch.design.cost import cost
from scalesearch.design.space import Grid, load_space
from scalesearch.errors import UserError
from scalesearch.files import locked, read_json
from scalesearch.running.campaign import Bounds
from scalesearch.running.carry_out import Listener
from scalesearch.running.executor import Beat
from scalesearch.running.search import RaceAgenda, search
from scalesearch.running.trial import Assignment, Outcome, Setting, run_trial
from scalesearch.running.verify import VerificationAgenda, recorded, verify
from scalesearch.running.workers import Workers
from scalesearch.study.answer import Answer, Standing, Status, conclude, field, recommend
from scalesearch.study.config import TrainConfig
from scalesearch.study.plan import Measurement, SearchPlan
from scalesearch.study.proxy import Proxy
from scalesearch.study.race import Race, Results, advance
from scalesearch.study.record import ImageCounts, Provenance, Record, answered, read_record
from scalesearch.study.row import Key, Row
from scalesearch.study.statistics import Bools
from scalesearch.study.verification import (
    FILE,
    Verification,
    check_shapes,
    chosen,
    common_epochs,
    folder_of,
    scaled,
    trials,
)
from tests.conftest import MakeFolder
from tests.rows import make_row

BASELINE = replace(load_space("mbconv_small").baseline, classes=2, resolution=16)
SILENT = Listener(lambda done, total: None, lambda row, done, total: None)
FULLY = Race(2, 0, seeds=2, level=0.5)


@pytest.fixture
def images(image_folder: MakeFolder) -> Dataset:
    return dataset(open_data(str(image_folder(images=50))), 40)


def make_plan(data: Dataset) -> SearchPlan:
    return SearchPlan(
        space="mbconv_small", baseline=BASELINE, grid=Grid(0.2, 0.2), rounding="budget", real_tolerance=0.1,
        target_macs=2e6, data=data.source.name, data_digest=data.digest, validation=len(data.validation),
        majority=0.0, proxy=Proxy(BASELINE, 2, len(data.train)), device="cpu",
        train=TrainConfig(epochs=2, batch_size=16, lr=3e-3, warmup_epochs=0.5),
    )  # fmt: skip


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scalesearch.running.carry_out.run_trial", made_up)


def right(number: int, seed: int, count: int) -> Bools:
    """More images right the higher the candidate's number."""
    return np.arange(count) < 3 + 2 * number + seed


def made_up(setting: Setting, job: Assignment, _beat: Beat) -> Outcome:
    """A training with a result made up; candidate 3 fails at φ = 2."""
    one, labels = job.trial, setting.judged["validation"].source.labels[setting.judged["validation"].indices]
    count = len(labels)
    if one.candidate == 3 and cost(one.spec).macs > 3 * cost(BASELINE).macs:
        return Outcome(Measurement(1, 1, 0, 0, 0.0, 0.1, "no luck"), labels[:0], labels[:0], np.zeros(0, np.float32))
    told = right(one.candidate, one.train.seed, count)
    measured = Measurement(cost(one.spec).macs, 1, int(told.sum()), count, 0.5, 0.1)
    return Outcome(measured, labels, np.where(told, labels, 1 - labels), np.where(told, 0.9, 0.1).astype(np.float32))


def searched_on(folder: Path, data: Dataset, race: Race = FULLY, untrained: tuple[Key, ...] = ()) -> Record:
    """A search whose results are made up, without its ledger, over but for what is ``untrained``."""
    plan = make_plan(data)
    candidates, results = plan.enumerate().candidates, Results()
    takers = field(plan, candidates)
    while wanted := set(advance(race, takers, results).wanted) - set(untrained):
        for key in wanted:
            results.add(key, right(key[0], key[1], len(data.validation)))
    concluded = conclude(race, advance(race, takers, results), takers, candidates, results, {})
    assert concluded is not None
    chosen = recommend(plan, concluded, candidates, results, len(untrained))
    made = Provenance("scalesearch grid", {}, "", "", "somewhere", 2, ImageCounts(1, 1, 1), "", "study.db")
    return Record(folder, plan, made, (), results, concluded, chosen, (), ())


def agenda_of(record: Record, seeds: int = 2, numbers: Sequence[int] = ()) -> VerificationAgenda:
    given, _ = answered(record)
    every = record.enumeration.candidates
    candidates = [every[n] for n in numbers] or chosen(given, every, 3, 2)
    networks = scaled(record.plan, given, candidates, 2.0)
    return VerificationAgenda(record.plan, 2.0, networks, trials(record.plan, networks, seeds, None))


def verified(record: Record, data: Dataset, seeds: int = 2, listener: Listener = SILENT) -> Verification:
    verification = verify(record, agenda_of(record, seeds), data, Workers(), listener)
    assert verification is not None
    return verification


def answer(*statuses: Status, recommended: int = 0, controls: tuple[int, ...] = ()) -> Answer:
    standings = tuple(
        Standing(f"c{n:03d}", "depth" if n in controls else "", status, 2, 1, 0.5, None, 0.1, "not judged")
        for n, status in enumerate(statuses)
    )
    return Answer(0.9, "", None, standings, f"c{recommended:03d}", "score", (), {}, True)


@pytest.mark.usefixtures("quick")
def test_a_verification_says_what_the_trainings_say_and_is_kept(tmp_path: Path, images: Dataset) -> None:
    searched = searched_on(tmp_path, images)
    verification = verified(searched, images)
    names = [network.name for network in verification.networks]
    assert verification.recommended in names
    assert {n.control for n in verification.networks} == {"depth", "width", "resolution", ""}
    assert verification.failed == ("c003",)
    assert verification.best == max(names)  # higher numbers get more right at both sizes
    assert verification.tau is not None
    assert verification.tau.value > 0.8
    assert verification.fully_trained
    assert (verification.epochs, verification.epochs_at_one, verification.images) == (2, 2, len(images.validation))
    best = next(network for network in verification.networks if network.name == verification.best)
    assert best.accuracy == pytest.approx((3 + 2 * int(verification.best[1:]) + 0.5) / verification.images)
    macs = best.proxy_ratio * cost(BASELINE).macs
    assert best.at_phi.value == pytest.approx(best.accuracy * (macs / 2e6) ** -0.07)
    assert (best.rank_at_phi, best.seeds_at_phi, best.seeds_at_one) == (1, 2, 2)
    assert all(abs(network.ratio / 4 - 1) < 0.06 for network in verification.networks)
    kept = read_json(tmp_path / "verify-phi2" / FILE, "a verification")
    assert kept["tau"]["value"] == verification.tau.value
    assert len(kept["networks"]) == len(names)


@pytest.mark.usefixtures("quick")
def test_an_interrupted_one_continues_and_each_training_runs_once(tmp_path: Path, images: Dataset) -> None:
    undisturbed = verified(searched_on(tmp_path / "a", images), images)
    searched = searched_on(tmp_path / "b", images)
    told: list[tuple[str, int]] = []

    def interrupt(row: Row, done: int, total: int) -> None:
        told.append((row.name, row.seed))
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        verified(searched, images, listener=Listener(SILENT.reading, interrupt))
    assert len(recorded(searched, agenda_of(searched))) == 3
    assert not (folder_of(searched.folder, 2.0) / FILE).exists()
    assert verified(searched, images, listener=Listener(SILENT.reading, interrupt)) == undisturbed
    assert len(told) == len(set(told)) == 2 * (len(undisturbed.networks) + len(undisturbed.failed))
    more = verified(searched, images, seeds=3, listener=Listener(SILENT.reading, interrupt))
    assert {network.seeds_at_phi for network in more.networks} == {3}
    assert len(told) == len(set(told))
    assert verified(searched, images) == undisturbed  # fewer seeds than are kept


@pytest.mark.usefixtures("quick")
def test_partly_trained_searches_are_compared_where_all_have_a_result(tmp_path: Path, images: Dataset) -> None:
    searched = searched_on(tmp_path, images, Race(2, 1), untrained=((5, 0, 2),))
    verification = verified(searched, images)
    assert (verification.epochs_at_one, verification.full_epochs) == (1, 2)
    assert not verification.fully_trained
    with pytest.raises(UserError, match="number of epochs"):
        common_epochs(Results({(0, 0, 1): np.ones(1, bool), (1, 0, 2): np.ones(1, bool)}), (0, 1))


@pytest.mark.usefixtures("quick")
def test_a_folder_in_use_or_of_another_search_is_refused(tmp_path: Path, images: Dataset) -> None:
    searched = searched_on(tmp_path, images)
    with locked(tmp_path), pytest.raises(UserError, match="in use"):
        verified(searched, images)
    verified(searched, images)
    other = replace(searched, plan=replace(searched.plan, target_macs=3e6))
    with pytest.raises(UserError, match="another search"):
        verified(other, images)
    (folder_of(searched.folder, 2.0) / "rows.json").write_text('{"rows": 5}')
    with pytest.raises(UserError, match="damaged"):
        verified(searched, images)


@pytest.mark.usefixtures("quick")
def test_fewer_than_two_results_are_no_comparison(tmp_path: Path, images: Dataset) -> None:
    searched = searched_on(tmp_path, images)
    with pytest.raises(UserError, match=r"fewer than two networks.*not all been trained"):
        verify(searched, agenda_of(searched, 1, (3, 4)), images, Workers(), SILENT, Bounds(trainings=1))
    with pytest.raises(UserError, match=r"fewer than two networks.*why trainings failed"):
        verify(searched, agenda_of(searched, 1, (3, 4)), images, Workers(), SILENT)


def test_a_scaled_network_trains_and_costs_what_was_said(images: Dataset) -> None:
    plan = make_plan(images)
    candidates = plan.enumerate().candidates
    one = scaled(plan, answer("member", "outside"), candidates[:1], 2.0)
    (wanted,) = trials(plan, one, 1, 1)
    setting = Setting(images.train, {"validation": images.validation}, Augment(flip=False), "cpu")
    outcome = run_trial(setting, Assignment(wanted), lambda: None)
    assert not outcome.measurement.reason
    assert outcome.measurement.macs == one[0].macs  # fvcore counts what the closed form says
    assert len(outcome.predictions) == len(images.validation)


def test_no_run_no_plan(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no run\.json"):
        read_record(tmp_path)
    (tmp_path / "run.json").write_text("{}")
    with pytest.raises(UserError, match="does not name its format"):
        read_record(tmp_path)


@pytest.mark.usefixtures("quick")
def test_a_search_is_read_back(tmp_path: Path, images: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = replace(make_plan(images), majority=images.majority)
    monkeypatch.setitem(made_up.__globals__, "right", lambda number, seed, count: np.arange(count) < 14 + number % 2)
    race = Race(2, 0)
    candidates, counts = plan.enumerate().candidates, [len(images.train), len(images.validation), len(images.test)]
    facts = {
        "data_argument": "there", "command": "scalesearch grid", "versions": {}, "hardware": "", "date": "",
        "notes": [], "classes": 2, "images": dict(zip(("train", "validation", "test"), counts, strict=True)),
        "source_digest": "", "nominal": plan.enumerate().nominal, "candidates": len(candidates),
    }  # fmt: skip
    search(tmp_path, RaceAgenda(plan, candidates, race), images, facts, Workers(), SILENT)
    record = read_record(tmp_path)
    assert (record.plan, record.provenance.data_argument) == (plan, "there")
    assert record.enumeration.candidates == candidates
    assert set(record.results) == {(-1, 1, 2), *((n, 0, 2) for n in range(-1, len(candidates)))}
    assert record.results.seeds(2, 2)[0].sum() == 14
    for name in ("winners.json", "coefficients.json"):
        (tmp_path / name).unlink()
    with pytest.raises(UserError, match=r"winners\.json: there is no such file"):
        answered(read_record(tmp_path))


def test_chosen_are_the_recommended_members_others_to_the_last_and_controls(images: Dataset) -> None:
    one = make_plan(images).enumerate().candidates[-1]
    alone = {0: "depth", 1: "width", 2: "resolution"}
    candidates = [replace(one, index=n, control=alone.get(n, "")) for n in range(8)]

    def numbers(given: Answer, members: int, others: int) -> list[int]:
        return [candidate.index for candidate in chosen(given, candidates, members, others)]

    out: tuple[Status, ...] = ("outside",) * 3
    given = answer(*out, "member", "member", "unknown", "outside", "outside", recommended=4, controls=(0, 1, 2))
    assert numbers(given, 1, 1) == [4, 3, 7, 0, 1, 2]
    assert numbers(given, 3, 2) == [4, 3, 5, 6, 7, 0, 1, 2]
    assert numbers(given, 0, 0) == [4, 0, 1, 2]
    nobody_outside = answer(*["member"] * 8, recommended=1, controls=(0, 1, 2))  # and a control recommended
    assert numbers(nobody_outside, 1, 2) == [3, 5, 7, 0, 1, 2]
    assert numbers(answer("member", recommended=0), 3, 2) == [0]


def test_controls_change_one_dimension_alone_and_all_cost_alike(images: Dataset) -> None:
    plan = make_plan(images)
    candidates = plan.enumerate().candidates
    networks = scaled(plan, answer(*["member"] * len(candidates)), candidates, 2.0)
    depth, width, resolution = (network.spec for network in networks[:3])
    assert (depth.widths, depth.resolution) == (BASELINE.widths, BASELINE.resolution)
    assert (width.depths, width.resolution) == (BASELINE.depths, BASELINE.resolution)
    assert (resolution.widths, resolution.depths) == (BASELINE.widths, BASELINE.depths)
    assert networks[0].status == "recommended"
    assert all(abs(network.ratio / 4 - 1) < 0.06 for network in networks)


def test_controls_grow_as_far_as_phi_asks_and_one_that_cannot_is_left_out(
    images: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = make_plan(images)
    candidates = plan.enumerate().candidates[:4]

    def at(phi: float) -> list[str]:
        return [network.candidate.control for network in scaled(plan, answer(*["member"] * 4), candidates, phi)]

    assert at(3.0) == ["depth", "width", "resolution", "paper"]
    monkeypatch.setattr("scalesearch.design.controls.LARGEST", 0.6)
    assert at(2.5) == ["width", "resolution", "paper"]  # that takes seven times the blocks


@pytest.mark.parametrize("phi", [0.0, -1.0, 1.0, float("nan"), float("inf"), 60.0, 5000.0])
def test_absurd_phi(images: Dataset, phi: float) -> None:
    plan = make_plan(images)
    candidates = plan.enumerate().candidates
    with pytest.raises(UserError, match="--phi"):
        scaled(plan, answer(*["member"] * len(candidates)), candidates, phi)


def test_trials_take_the_searchs_settings(images: Dataset) -> None:
    plan = make_plan(images)
    networks = scaled(plan, answer("member", "member"), plan.enumerate().candidates[:2], 2.0)
    full = trials(plan, networks, 2, None)
    assert [(one.name, one.train.seed) for one in full] == [("c000", 0), ("c001", 0), ("c000", 1), ("c001", 1)]
    assert full[3].train == replace(plan.train, seed=1)
    assert all(one.until == one.train.epochs == 2 for one in full)
    longer = trials(plan, networks, 1, 9)[0]
    assert (longer.until, longer.train.epochs, longer.train.warmup_epochs) == (9, 9, 0.5)
    assert trials(plan, networks, 1, 1)[0].train.warmup_epochs == 0.25


def test_a_kept_row_of_another_network_is_refused(images: Dataset) -> None:
    plan = make_plan(images)
    networks = scaled(plan, answer("member", "member"), plan.enumerate().candidates[:2], 2.0)
    wanted = trials(plan, networks, 1, None)
    rows = [make_row(0, digest=wanted[0].spec.digest), make_row(1, digest="other")]
    check_shapes(wanted, rows[:1], "rows.json")
    with pytest.raises(UserError, match="c001 was trained in another shape"):
        check_shapes(wanted, rows, "rows.json")
