"""What a latency table chose is measured before it is recommended."""

from dataclasses import replace
from pathlib import Path

import pytest

from scalesearch.api import confirm
from scalesearch.design.latency import Anchor
from scalesearch.design.measure import Measure
from scalesearch.design.spec import NetSpec
from scalesearch.nets import device, runner
from scalesearch.reports import latency_words
from scalesearch.study.measured import FILE, MeasuredNetwork, MeasuredNetworks, read_measured, write_measured
from scalesearch.study.plan import SearchPlan
from scalesearch.study.record import Record
from tests.devices import made_up_table
from tests.reports.synthetic import PLAN, answer, record, rows

ROWS = rows(4)


def timed_plan(machine: str = "a made-up processor", runtime: str = "torch") -> SearchPlan:
    table = made_up_table(["efficientnet_b0", "mbconv_small"], machine, runtime)
    return replace(PLAN, measure=Measure("latency", table=table), target_macs=20.0)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Record:
    made = record(ROWS, answer(ROWS), complete=True, plan=timed_plan(), folder=tmp_path)
    monkeypatch.setattr(confirm, "read_record", lambda folder: made)
    monkeypatch.setattr(confirm, "searched_scaling", lambda record: _Family())
    return made


class _Family:
    def member(self, phi: int) -> object:
        spec = replace(PLAN.baseline, resolution=64 + 16 * phi)
        return type("Member", (), {"spec": spec, "name": f"b{phi}"})


def test_members_are_measured_once(run: Record, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def network_times(specs: tuple[NetSpec, ...], table: object, seconds: float) -> tuple[tuple[float, ...], None]:
        asked.append(len(specs))
        return tuple(1.2 * run.plan.measure.of(spec) for spec in specs), None

    monkeypatch.setattr(device, "network_times", network_times)
    told: list[str] = []
    confirm.confirm(run.folder, told.append)
    confirm.confirm(run.folder, told.append)
    assert asked == [4]
    assert told == ["Measures 4 networks in torch, and some of the table's, which takes up to a minute"]
    kept = read_measured(run.folder, run.plan.digest)
    assert kept is not None
    assert [one.name for one in kept.networks] == ["b0", "b1", "b2", "b3"]
    assert [one.off for one in kept.networks] == pytest.approx([0.2] * 4)
    said = " ".join(latency_words.latencies(run))
    assert "not checked on networks" in said
    assert "Measured by turns, torch, one image, float32, 1 thread: b0 " in said
    assert "b3 takes 20 % longer than predicted; trust what was measured." in said
    assert read_measured(run.folder, "of another plan") is None


def test_a_machine_that_became_slower_is_told_apart_from_a_table_that_is_wrong(run: Record) -> None:
    networks = (MeasuredNetwork("b0", "x", 1.0, 1.3), MeasuredNetwork("b1", "y", 2.0, 2.46),
                MeasuredNetwork("b2", "z", 4.0, 4.1))  # fmt: skip
    write_measured(run.folder, MeasuredNetworks(run.plan.digest, "by turns", "", networks, 0.25))
    said = latency_words.latencies(run)
    assert said[2].endswith("timed with them, took 25 % longer than when it was made.")
    assert len(said) == 3, "4, −2 and −18 % beside that: the last is as predicted, whatever the machine's speed"
    write_measured(run.folder, MeasuredNetworks(run.plan.digest, "by turns", "", networks, -0.2))
    said = latency_words.latencies(replace(run))  # read again
    assert "b1 takes 54 % longer than predicted beside that; trust what was measured." in said


def test_on_another_machine_it_is_said_that_nothing_was_measured(run: Record) -> None:
    confirm.confirm(run.folder, print)
    said = latency_words.latencies(run)[1]
    assert said.startswith("None was measured: the table is of a made-up processor, and this is ")
    assert said.endswith("Measure what you choose before you deploy it.")


def test_a_search_by_flops_says_nothing_of_latency(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = record(ROWS, answer(ROWS), complete=True, folder=tmp_path)
    monkeypatch.setattr(confirm, "read_record", lambda folder: made)
    confirm.confirm(tmp_path, print)
    assert not (tmp_path / FILE).exists()
    assert latency_words.latencies(made) == ()


@pytest.mark.parametrize("runtime", ["torch", "onnxruntime"])
def test_whole_networks_are_timed_as_the_table_s_were(runtime: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if runtime == "onnxruntime":
        pytest.importorskip("onnxruntime")
        pytest.importorskip("onnx")
    monkeypatch.setattr(runner, "ROUNDS", 2)
    table = made_up_table(["mbconv_small"], runner.processor(), runtime)
    small = replace(PLAN.proxy.baseline, resolution=32)
    specs = [small, replace(small, resolution=96)]
    times, slower = device.network_times(specs, table, 5.0)
    assert 0 < times[0] < times[1]
    assert slower is None
    anchors = tuple(Anchor.of(spec, ms / 2) for spec, ms in zip(specs, times, strict=True))
    again, slower = device.network_times(specs[:1], replace(table, anchors=anchors), 5.0)
    assert len(again) == 1
    assert slower is not None
    assert slower > 0, "twice as long as the anchors claim, and no machine becomes twice as fast in between"


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    write_measured(tmp_path, MeasuredNetworks("d", "by turns", "", (MeasuredNetwork("b0", "x", 1.0, 1.1),)))
    file = tmp_path / FILE
    file.write_text(file.read_text().replace("1.1", "-1.1"))
    with pytest.raises(Exception, match=r"measured\.json"):
        read_measured(tmp_path, "d")
