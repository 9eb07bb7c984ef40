"""Families trained side by side: in order, each training once, judged where it should be, and read back."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from scalesearch.data.dataset import Dataset, dataset, open_data
from scalesearch.design.cost import cost
from scalesearch.design.scaling import PAPER, Coefficients
from scalesearch.design.space import load_space
from scalesearch.design.spec import Architecture
from scalesearch.errors import UserError
from scalesearch.files import read_json, write_json
from scalesearch.nets.measure import Latency
from scalesearch.nets.weights import load_network
from scalesearch.running.campaign import Bounds
from scalesearch.running.carry_out import Listener
from scalesearch.running.executor import Beat
from scalesearch.running.families import FamilyAgenda, measure_latencies, model_path, recorded, train_families
from scalesearch.running.provenance import hardware
from scalesearch.running.trial import Assignment, Outcome, Setting
from scalesearch.running.workers import Workers
from scalesearch.study.config import TrainConfig
from scalesearch.study.family_plan import FamilyPlan, member_trial, planned, rate_of
from scalesearch.study.family_record import FAMILIES_FILE, LATENCIES_FILE, FamilyRecord, read_family
from scalesearch.study.lineup import contenders, scaled_specs
from scalesearch.study.plan import Measurement
from scalesearch.study.race import Results
from scalesearch.study.row import MemberRow
from scalesearch.training.model_file import statistics_of
from tests.conftest import noisy_images
from tests.postgres import Server

BASELINE = replace(load_space("mbconv_small").baseline, classes=2, resolution=12)
FACTS = {"command": "scalesearch family", "versions": {}, "hardware": "", "date": ""}
FOUND = Coefficients(1.3, 1.1, 1.13, 2.0)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return dataset(open_data(str(noisy_images(tmp_path_factory.mktemp("data") / "images", images=50))), 40)


def make_plan(
    data: Dataset, families: Sequence[str] = ("depth",), rates: tuple[float, ...] = (1e-3, 4e-3),
    inherited: int | None = 1, phis: tuple[int, ...] = (0, 1),
) -> FamilyPlan:  # fmt: skip
    specs = scaled_specs(BASELINE, FOUND, "budget", phis, families)
    test = data.source.labels[data.test.indices]
    return FamilyPlan(
        space="mbconv_small", origin="made up", searched=False, families=tuple(specs),
        contenders=contenders(specs, [], 2, inherited, None), rates=rates, equal="epochs",
        train=TrainConfig(epochs=2, batch_size=16, lr=4e-3, warmup_epochs=0.5, ema_decay=0.9), data=data.source.name,
        data_digest=data.digest, images=len(data.train), validation=len(data.validation), test=len(test), classes=2,
        majority=float(np.bincount(test).max() / len(test)), device="cpu",
    )  # fmt: skip


def train(
    folder: Path, plan: FamilyPlan, data: Dataset, seeds: int = 1, bounds: Bounds | None = None,
    workers: Workers | None = None, storage: str | None = None,
) -> list[str]:  # fmt: skip
    heard: list[str] = []

    def finished(row: MemberRow, done: int, total: int) -> None:
        heard.append(row.file)

    listener = Listener(lambda done, total: None, finished)
    train_families(folder, FamilyAgenda(plan, seeds), data, FACTS, workers or Workers(), listener, bounds, storage)
    return heard


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, images: Dataset) -> FamilyRecord:
    """A family trained in one go, with one learning rate."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    train(folder, make_plan(images, rates=(4e-3,)), images)
    return read_family(folder)


def made_up(setting: Setting, job: Assignment, _beat: Beat) -> Outcome:
    """A result made up: the second rate is the better one, and depth's φ = 1 fails on test images."""
    one, part = job.trial, setting.judged[job.judged_on]
    labels = part.source.labels[part.indices]
    if one.name == "depth-b1" and job.judged_on == "test":
        nothing = labels[:0]
        return Outcome(Measurement(cost(one.spec).macs, 1, 0, 0, 0.0, 0.1, "no luck"), nothing, nothing,
                       np.zeros(0, np.float32))  # fmt: skip
    told = np.arange(len(labels)) < len(labels) // 2 + round(1000 * one.train.lr) + one.number
    if job.kept:
        job.kept.parent.mkdir(exist_ok=True)
        job.kept.write_text("")
    measured = Measurement(cost(one.spec).macs, 1, int(told.sum()), len(labels), 0.5, 0.1)
    return Outcome(measured, labels, np.where(told, labels, 1 - labels), np.where(told, 0.9, 0.1).astype(np.float32))


def test_members_are_trained_after_those_they_inherit_from_and_kept(tmp_path: Path, images: Dataset) -> None:
    plan = make_plan(images)
    assert train(tmp_path, plan, images) == [
        "b0-lr0.001-seed0", "b0-lr0.004-seed0", "b1-lr0.001-seed0", "b1-lr0.004-seed0", "depth-b1-lr0.001-seed0",
        "depth-b1-lr0.004-seed0", "b0-seed1", "b1-seed1", "depth-b1-seed1",
    ]  # fmt: skip
    record = read_family(tmp_path)
    assert record.left == ()
    assert [row.start for row in record.of(1)] == ["b0"]
    assert {row.judged_on for row in record.rows if row.seed == 0} == {"validation"}
    assert record.right(1).shape == (1, len(images.test))
    network, metadata = load_network(model_path(tmp_path, "b1-seed1"))
    assert network.spec.name == "b1"
    assert json.loads(metadata["classes"]) == list(images.classes)
    parent, its = load_network(model_path(tmp_path, "b0-seed1"))
    assert statistics_of(metadata) == statistics_of(its)  # a member sees images as the one it inherits from
    assert parent.spec.name == "b0"
    assert not list((tmp_path / "checkpoints").glob("*"))


def test_an_interrupted_one_continues_to_the_same_numbers(tmp_path: Path, images: Dataset, whole: FamilyRecord) -> None:
    plan = make_plan(images, rates=(4e-3,))
    first = train(tmp_path / "parts", plan, images, bounds=Bounds(trainings=2))
    left = {one.file for one in read_family(tmp_path / "parts").left}
    assert (first, left) == (["b0-seed1", "b1-seed1"], {"depth-b1-seed1"})
    assert train(tmp_path / "parts", plan, images) == ["depth-b1-seed1"]
    parts = read_family(tmp_path / "parts")
    assert numbers(whole) == numbers(parts)
    assert parts.commands == ("scalesearch family",)


def test_coordinators_that_share_a_database_share_the_trainings(
    tmp_path: Path, images: Dataset, whole: FamilyRecord, postgres_server: Server
) -> None:
    """Members inherit from files, so they share the folder, too."""
    plan = make_plan(images, rates=(4e-3,))
    shared = tmp_path / "shared"
    first = train(shared, plan, images, bounds=Bounds(trainings=1), storage=postgres_server.url)
    assert {one.row.file for one in recorded(shared, plan, postgres_server.url)} == set(first) == {"b0-seed1"}
    assert train(shared, plan, images, storage=postgres_server.url) == ["b1-seed1", "depth-b1-seed1"]
    assert train(shared, plan, images, storage=postgres_server.url) == []
    assert numbers(read_family(shared)) == numbers(whole)


def numbers(record: FamilyRecord) -> list[tuple[object, ...]]:
    return [(row.key, row.correct, row.train_loss) for row in record.rows]


def test_latencies_are_measured_once_unless_the_machine_was_busy(
    tmp_path: Path, images: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("scalesearch.running.carry_out.run_trial", made_up)
    plan = make_plan(images)
    train(tmp_path, plan, images)
    asked: list[int] = []

    def clock(specs: Sequence[Architecture], batch_size: int, device: torch.device) -> list[Latency]:
        asked.append(len(specs))
        spread = 0.5 if len(asked) == 1 else 0.1
        return [
            Latency(0.001 * (n + 1), 0.001 * (n + 1), spread, batch_size, 15, str(device), 1) for n in range(len(specs))
        ]

    monkeypatch.setattr("scalesearch.running.families.latencies", clock)
    for busy in (True, False, False):
        measure_latencies(tmp_path, plan, print)
        kept = read_family(tmp_path).latencies
        assert kept is not None
        assert kept.busy == busy
    assert asked == [3, 3]
    assert kept.milliseconds == pytest.approx({"b0": 1.0, "b1": 2.0, "depth-b1": 3.0})
    assert kept.how.endswith(hardware("cpu"))  # a folder may move to another machine
    assert kept.how.startswith("median of 15 warm passes of one image, float32, channels last, 1 thread")
    values = read_json(tmp_path / LATENCIES_FILE, "latencies")
    for wrong in ({"plan_digest": "0"}, {"milliseconds": {"b0": 1.0}}, {"milliseconds": {"b0": -1.0}}):
        write_json(tmp_path / LATENCIES_FILE, {**values, **wrong})
        assert read_family(tmp_path).latencies is None
    measure_latencies(tmp_path, plan, print)  # what is foreign or damaged is measured again
    assert read_family(tmp_path).latencies == kept
    assert asked == [3, 3, 3]


def test_a_machine_without_room_for_all_networks_leaves_latencies_out(
    tmp_path: Path, images: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("scalesearch.running.carry_out.run_trial", made_up)
    plan, told = make_plan(images), list[str]()
    train(tmp_path, plan, images)

    def full(*given: object) -> None:
        raise RuntimeError("out of memory\nat length")

    monkeypatch.setattr("scalesearch.running.families.latencies", full)
    measure_latencies(tmp_path, plan, told.append)
    assert told == ["Latencies are not measured: out of memory"]
    assert read_family(tmp_path).latencies is None


def test_the_rate_with_most_validation_images_right_is_a_curves(
    tmp_path: Path, images: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("scalesearch.running.carry_out.run_trial", made_up)
    plan = make_plan(images, phis=(0, 1, 2))
    train(tmp_path, plan, images, seeds=2)
    record = read_family(tmp_path)
    assert [rate_of(plan, record.results, number) for number in range(len(plan.contenders))] == [1, 1, 1, 1, 1]
    assert {row.lr for row in record.rows if row.judged_on == "test"} == {4e-3}
    # depth's φ = 1 failed with both seeds, so nothing inherits from it, and nothing is left that waits for it
    assert [row.status for row in record.of(2)] == ["failed", "failed"]
    assert record.of(4) == ()
    assert record.left == ()
    assert len(recorded(tmp_path, plan)) == len(record.rows) == 2 * 3 + 2 * 4
    train(tmp_path, plan, images, seeds=3)  # more seeds add to what is there
    assert len(read_family(tmp_path).rows) == len(record.rows) + 4


def test_a_gone_model_is_said_and_other_families_are_refused(tmp_path: Path, images: Dataset) -> None:
    plan = make_plan(images, rates=(4e-3,), families=())
    train(tmp_path, plan, images, bounds=Bounds(trainings=1))
    with pytest.raises(UserError, match="the folder holds other families"):
        train(tmp_path, make_plan(images, rates=(2e-3,), families=()), images)
    with pytest.raises(UserError, match=r"contenders\.b1\.parent: 0 there, null asked for.*--inherit too"):
        train(tmp_path, make_plan(images, rates=(4e-3,), families=(), inherited=None), images)
    model_path(tmp_path, "b0-seed1").unlink()
    with pytest.raises(UserError, match="b1 inherits from it"):
        train(tmp_path, plan, images)


def test_files_that_contradict_one_another_are_refused(
    tmp_path: Path, images: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("scalesearch.running.carry_out.run_trial", made_up)
    train(tmp_path, make_plan(images), images)
    path, record = tmp_path / "rows.json", read_family(tmp_path)
    kept = read_json(path, "rows")
    for name, value in (("correct", 1), ("macs", 5), ("start", "scratch"), ("lr", 0.5), ("judged_on", "validation")):
        rows = [row | ({name: value} if (row["name"], row["seed"]) == ("b1", 1) else {}) for row in kept["rows"]]
        write_json(path, {**kept, "rows": rows})
        with pytest.raises(UserError):
            read_family(tmp_path)
    write_json(path, kept)
    plan = tmp_path / FAMILIES_FILE
    values = read_json(plan, "families")
    write_json(plan, {**values, "plan": {**values["plan"], "majority": 0.123}})
    with pytest.raises(UserError, match="plan_digest"):
        read_family(tmp_path)
    assert FamilyPlan.from_dict(values["plan"]) == record.plan


def test_a_plan_says_what_it_cannot_be(images: Dataset) -> None:
    plan = make_plan(images)
    with pytest.raises(ValueError, match="inherits from number 3"):
        replace(plan, contenders=(replace(plan.contenders[0], parent=3), *plan.contenders[1:]))
    with pytest.raises(ValueError, match="learning rates"):
        replace(plan, rates=(2e-3, 1e-3))
    every = list(planned(plan, 2, Results()))
    assert sum(ready for _, ready in every) == 2  # the two rates of b0: all else waits for them
    assert len(every) == 2 * 3 + 2 * 3
    assert member_trial(plan, 1, 0, 1).parent == "b0-seed1"
    assert PAPER.growth is None
