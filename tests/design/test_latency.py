"""Latency tables: by a device that obeys a known law, what the fit makes of it, what a table tells, and its file."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scalesearch.design.latency import (
    AMOUNTS,
    FORMAT,
    HELD,
    WHAT,
    Check,
    Kind,
    LatencyTable,
    load_table,
)
from scalesearch.design.latency_fit import (
    READINGS,
    Readings,
    TimedNetwork,
    explain,
    fit,
    network_amounts,
    nonnegative,
    written,
)
from scalesearch.design.latency_times import amounts, amounts_at, kendall_tau
from scalesearch.design.probes import Probe, pieces, probes, whole_networks
from scalesearch.design.space import load_space
from scalesearch.design.spec import NetSpec
from scalesearch.design.work import block_work, network_parts
from scalesearch.errors import UserError
from scalesearch.files import write_json
from tests.nets.specs import efficientnet_v2_s, small_resnet, tiny

SPACES = tuple(load_space(name).baseline for name in ("efficientnet_b0", "mobilenet_v3_large", "mbconv_small"))
NETWORKS = probes(SPACES, 1)
DRAWN = np.random.default_rng(0)
RATES: dict[str, np.ndarray] = {
    kind: DRAWN.uniform(0.5, 2, len(AMOUNTS)) * (2e-3, 1e-8, 1e-8, 1e-7, 1e-6, 1e-6, 1e-6, 1e-6, 1e-6, 1e-6)
    for kind in sorted({kind for one in NETWORKS for kind in network_amounts(one.spec, 1)[0]})
}


def lawful(spec: NetSpec, batch_size: int = 1) -> float:
    """The milliseconds of a device whose operations take a time that is linear in what they ask for."""
    asked, _ = network_amounts(spec, batch_size)
    return 0.05 + float(sum(RATES[kind] @ amount for kind, amount in asked.items()))


def roofline(spec: NetSpec, batch_size: int = 1) -> float:
    """The milliseconds of one whose operations take as long as the slower of arithmetic and memory, and a launch."""
    total = 0.05
    for make, of, side, count in network_parts(spec):
        works = make(spec, *of)
        asked = dict(zip(AMOUNTS, amounts(works, np.array([side]), batch_size)[:, :, 0], strict=True))
        moved = asked["weights"] + asked["reads"] + asked["writes"]
        total += count * float((2e-3 + np.maximum(2e-8 * asked["filled"] + 1e-8 * asked["macs"], 2e-7 * moved)).sum())
    return total


def readings(law: object, noise: float = 0.0, networks: tuple[Probe, ...] = NETWORKS, batch_size: int = 1) -> Readings:
    draws = np.random.default_rng(1)
    timed = tuple(
        TimedNetwork(**vars(one), ms=law(one.spec, batch_size) * float(np.exp(noise * draws.standard_normal())))
        for one in networks
    )
    return Readings(
        "a made-up processor", 2, "Linux x86_64", "torch", {"torch": "2.15.0"}, 1, batch_size, "float32",
        "2026-11-27T12:00:00+00:00", tuple(one.name for one in SPACES), 0.01, 0.0, timed,
    )  # fmt: skip


@pytest.fixture(scope="module")
def table() -> LatencyTable:
    return fit(readings(lawful))


def test_a_device_that_obeys_the_law_is_told_nearly_exactly(table: LatencyTable) -> None:
    assert table.check is not None
    assert table.check.networks == 24
    assert table.check.mape < 0.01
    assert table.check.tau > 0.99
    assert max(map(abs, (table.check.depth, table.check.width, table.check.resolution))) < 0.01
    assert table.networks == sum(one.role != "check" for one in NETWORKS)


@pytest.mark.parametrize("batch_size", [1, 8])
def test_a_device_that_obeys_another_law_and_a_shaky_clock(batch_size: int) -> None:
    networks = probes(SPACES, batch_size)
    rough = fit(readings(roofline, 0.05, networks, batch_size))
    assert rough.check is not None
    assert rough.check.mape < 0.1
    assert rough.check.tau > 0.95


def test_networks_during_which_something_else_ran_do_no_harm() -> None:
    usual = readings(lawful, 0.02)
    slowed = tuple(replace(one, ms=3 * one.ms) if place % 15 == 7 else one for place, one in enumerate(usual.networks))
    kept = tuple(one if one.role == "check" else two for one, two in zip(usual.networks, slowed, strict=True))
    result = fit(replace(usual, networks=kept)).check
    assert result is not None
    assert result.mape < 0.05


def test_the_parts_of_a_network_add_up(table: LatencyTable) -> None:
    for spec in (SPACES[0], SPACES[1], tiny()):
        if table.outside(spec):
            continue
        side = np.array([spec.resolution])
        total = table.stem(spec, spec.stem.width, side)
        side, width = -(-side // spec.stem.reduction), spec.stem.width
        for stage in spec.stages:
            for index in range(stage.depth):
                stride = stage.stride if index == 0 else 1
                total = total + table.block(spec, stage, width, stride, side)
                side, width = -(-side // stride), stage.width
        total = total + table.head(spec, width, spec.head.width, side)
        total = total + table.classifier(spec, spec.pooled_width, side)
        assert table.network_ms(spec) == pytest.approx(table.whole_ms(total)[0])
        assert total[1, 0] == sum(float(amount[3]) for amount in network_amounts(spec, 1)[0].values())


def test_channels_that_fall_off_the_usual_path_are_a_kind_of_their_own(table: LatencyTable) -> None:
    spec = SPACES[2]

    def kinds(width: int, expand_ratio: float) -> set[str]:
        stage = replace(spec.stages[1], expand_ratio=expand_ratio)
        return {work.kind for work in block_work(spec, stage, width, 1)}

    assert "convolution 1×1 (narrow)" in kinds(12, 6)
    assert not any("(" in kind for kind in kinds(16, 6))
    assert {"convolution 1×1 (odd)", "depthwise 3×3 (odd)", "squeeze efficientnet (odd)"} <= kinds(16, 2.3)
    known = {kind.name: kind for kind in table.kinds}
    narrow, usual = known["convolution 1×1 (narrow)"], known["convolution 1×1"]
    without = replace(table, kinds=tuple(one for one in table.kinds if one != narrow))
    side, stage = np.array([8]), replace(spec.stages[1], expand_ratio=6)
    told = [one.block(spec, stage, 12, 1, side)[0, 0] for one in (table, without)]
    of = {work.kind: np.array(amounts_at((work,), 8, 1)[0]) for work in block_work(spec, stage, 12, 1)}
    change = np.array(usual.ms) - np.array(narrow.ms)
    assert told[1] - told[0] == pytest.approx(float(change @ of["convolution 1×1 (narrow)"]))


def test_what_only_whole_networks_take_longer_for_is_found() -> None:
    """Weights that caches do not hold; and, of the whole networks alone, a tenth more where a pass is long."""

    def crowded(spec: NetSpec, batch_size: int = 1) -> float:
        weights = sum(float(amount[3]) for amount in network_amounts(spec, batch_size)[0].values())
        return lawful(spec, batch_size) + 2e-7 * max(0.0, weights - HELD[2])

    made = readings(crowded)
    long = float(np.median([one.ms for one in made.networks if one.role != "piece"]))
    networks = tuple(
        replace(one, ms=one.ms * 1.1) if one.role != "piece" and one.ms > long else one for one in made.networks
    )
    result = fit(replace(made, networks=networks))
    assert result.check is not None
    assert result.check.mape < 0.02
    assert result.growth[-1][1] > result.growth[0][1] + 0.01
    assert max(result.held_ms) > 1e-7


def test_from_a_few_large_maps_no_slope_is_told() -> None:
    """One network beyond what caches hold, slowed by something else: its own kind's rate must not become any number."""
    largest = max(NETWORKS, key=lambda one: network_amounts(one.spec, 1)[0].get("relu", np.zeros(10))[-1])
    assert sum(network_amounts(one.spec, 1)[0].get("relu", np.zeros(10))[-1] > 0 for one in NETWORKS) < 10
    made = readings(lawful)
    slowed = tuple(replace(one, ms=1.5 * one.ms) if one.spec == largest.spec else one for one in made.networks)
    plain, odd = fit(made), fit(replace(made, networks=slowed))
    wider = replace(largest.spec, resolution=round(1.4 * largest.spec.resolution))
    assert odd.network_ms(wider) == pytest.approx(plain.network_ms(wider), rel=0.1)


def test_anchors_are_networks_of_the_fit_from_fast_to_slow(table: LatencyTable) -> None:
    times = [one.ms for one in table.anchors]
    assert len(times) == 7
    assert times == sorted(times)
    specs = {one.spec for one in NETWORKS if one.role == "whole"}
    assert all(one.spec in specs and one.ms == pytest.approx(lawful(one.spec)) for one in table.anchors)


def test_shares_are_of_the_sum_whatever_a_whole_pass_comes_to(table: LatencyTable) -> None:
    slow = replace(table, growth=((0.01, 0.8), (1000.0, 0.8)))
    assert slow.network_ms(SPACES[0]) == pytest.approx(0.8 * replace(table, growth=()).network_ms(SPACES[0]))
    assert slow.shares(SPACES[0]) == pytest.approx(table.shares(SPACES[0]))
    assert min(slow.shares(SPACES[0]).values()) > 0
    assert sum(slow.shares(SPACES[0]).values()) == pytest.approx(1)


def test_a_table_of_before_kinds_were_told_apart_by_channels_still_knows_them(table: LatencyTable) -> None:
    old = replace(table, kinds=tuple(one for one in table.kinds if "(" not in one.name), held_ms=(), growth=())
    narrow = replace(SPACES[2], stages=tuple(replace(stage, width=12) for stage in SPACES[2].stages))
    assert old.outside(narrow) == ()
    assert old.network_ms(narrow) > 0


def test_many_sides_at_once_are_each_by_itself(table: LatencyTable) -> None:
    spec = SPACES[0]
    sides = np.arange(1, 240).reshape(-1, 1)
    stage = spec.stages[2]
    block = table.block(spec, stage, 40, 2, sides)
    assert block.shape == (2, *sides.shape)
    assert block.dtype == np.float64
    for place in (0, 17, 238):
        assert block[:, place, 0] == pytest.approx(table.block(spec, stage, 40, 2, sides[place])[:, 0])


@settings(max_examples=30, deadline=None)
@given(
    place=st.integers(0, len(NETWORKS) - 1), stage=st.integers(0, 10), stride=st.sampled_from([1, 2]),
    side=st.integers(1, 600), width=st.integers(4, 125).map(lambda fours: 4 * fours),
)  # fmt: skip
def test_no_time_is_below_nothing_and_more_work_takes_no_less(
    table: LatencyTable, place: int, stage: int, stride: int, side: int, width: int
) -> None:
    spec = NETWORKS[place].spec
    block = replace(spec.stages[stage % len(spec.stages)], stride=1)
    try:
        times = [
            table.block(spec, replace(block, width=block.width + more), width + wider, stride, np.array([side + px]))[
                0, 0
            ]
            for more, wider, px in ((0, 0, 0), (8, 0, 0), (0, 8, 0), (0, 0, 1))
        ]
    except UserError:  # of a kind that these spaces do not have
        return
    assert times[0] >= 0
    grown = times[1:] if width != block.width else times[3:]  # where widths stop being equal no input is added any more
    assert min(grown) >= times[0] - 1e-12


def test_what_lies_outside_of_what_was_measured_is_said(table: LatencyTable) -> None:
    assert table.outside(SPACES[0]) == ()
    huge = table.outside(replace(SPACES[0], resolution=1200))
    assert any(one.startswith("depthwise") and "measured were up to" in one for one in huge)
    other = table.outside(replace(small_resnet("resnet18"), activation="relu6"))
    assert any("none was measured" in one for one in other)
    with pytest.raises(UserError, match=r"--device-table: .* has no times of .*convolution 3×3"):
        table.network_ms(efficientnet_v2_s())


def test_each_distinct_part_is_worked_out_once_for_many_networks(table: LatencyTable) -> None:
    fresh = replace(table)
    specs = [one.spec for one in whole_networks(SPACES, 12, 1e9, 5, "check")]
    for spec in specs * 50:
        fresh.network_ms(spec)
    assert len(fresh._curves) <= sum(2 * len(spec.stages) + 3 for spec in specs)


def test_a_table_is_what_its_file_says(table: LatencyTable, tmp_path: Path) -> None:
    table.write(tmp_path / "device.json")
    again = load_table(tmp_path / "device.json")
    assert again == table
    assert again.network_ms(SPACES[0]) == table.network_ms(SPACES[0])
    assert str(again) == (
        "torch 2.15.0 on a made-up processor, 2 cores: one image, float32, 1 thread, 2026-11-27"
    )  # fmt: skip
    assert "on 24 networks that it was not fitted to" in again.error_words


def test_the_times_of_a_probe_are_a_table_too(table: LatencyTable, tmp_path: Path) -> None:
    write_json(tmp_path / "times.json", written(readings(lawful)))
    assert load_table(tmp_path / "times.json") == table


def content(table: LatencyTable, path: Path) -> dict[str, object]:
    table.write(path)
    values: dict[str, object] = json.loads(path.read_text())
    return values


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": FORMAT + 1}, r"format 2, and this scalesearch reads format 1\. Update scalesearch\."),
        ({"format": None}, "format None"),
        ({"what": "a cake"}, "a latency table should be here, as scalesearch device measure writes it"),
        ({"what": READINGS}, "networks: the times of a device's probe should have a list here, not"),
        (
            {"runtime": "tensorrt"},
            'runtime: .* should have "torch" or "onnxruntime" or "torch-cuda" here, not "tensorrt"',
        ),
        ({"kinds": [{"name": "add", "ms": [1.0], "most": [1.0]}]}, "10 numbers each in ms and most"),
        ({"kinds": [{"name": "add", "ms": [-1.0] * 10, "most": [1.0] * 10}]}, "no time is below 0"),
        ({"held_ms": [-1.0]}, "no time is below 0"),
        ({"growth": [[2.0, 1.0], [1.0, 1.0]]}, "growth: milliseconds in ascending order"),
        ({"overhead_ms": "much"}, "overhead_ms: a latency table should have a number here"),
    ],
)
def test_other_files_are_refused(table: LatencyTable, tmp_path: Path, change: dict[str, object], message: str) -> None:
    path = tmp_path / "device.json"
    values = {**content(table, path), **change}
    write_json(path, values)
    with pytest.raises(UserError, match=message):
        load_table(path)


def test_no_file_and_no_json_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=f"{WHAT} should be here"):
        load_table(tmp_path / "none.json")
    (tmp_path / "text.json").write_text("[1, 2]")
    with pytest.raises(UserError, match="not a JSON list"):
        load_table(tmp_path / "text.json")


def test_too_few_networks_are_refused() -> None:
    with pytest.raises(UserError, match="times of 12 networks are too few"):
        fit(readings(lawful, networks=NETWORKS[:12]))


def test_what_speaks_against_a_table_is_said(table: LatencyTable) -> None:
    assert table.warnings == ()
    busy = replace(table, drift=0.5).warnings[0]
    assert "its slowest the machine took 50 % longer than usual" in busy
    assert "something else ran in 90 % of the turns" in replace(table, disturbed=0.9).warnings[0]
    off = replace(table, check=Check(24, 0.2, 0.9, 0, 0, 0)).warnings[0]
    assert "off by 20.0 % on average" in off
    assert replace(table, check=None).error_words == "not checked on networks"


def test_networks_are_probed_the_same_way_each_time_and_none_twice() -> None:
    assert probes(SPACES, 1) == NETWORKS
    digests = [one.spec.digest for one in NETWORKS]
    assert len(set(digests)) > 0.99 * len(digests)
    checked = {one.spec.digest for one in NETWORKS if one.role == "check"}
    assert not checked & {one.spec.digest for one in NETWORKS if one.role != "check"}
    assert {one.space for one in NETWORKS} == {spec.name for spec in SPACES}


def test_every_kind_of_operation_of_the_spaces_is_probed_many_times() -> None:
    asked = [network_amounts(one.spec, 1)[0] for one in NETWORKS if one.role != "check"]
    for spec in SPACES:
        for kind in network_amounts(spec, 1)[0]:
            assert sum(kind in one for one in asked) >= 20, kind


def test_larger_batches_are_probed_with_smaller_networks() -> None:
    def mean_macs(batch_size: int) -> float:
        from scalesearch.design.cost import cost

        return float(np.mean([cost(one.spec).macs for one in probes(SPACES, batch_size)]))

    assert mean_macs(32) < 0.6 * mean_macs(1)


def test_pieces_are_networks_that_can_be_built_and_counted() -> None:
    from scalesearch.design.cost import cost

    for one in pieces(SPACES, 60, 1e8):
        assert cost(one.spec).macs <= 1e8
        assert NetSpec.from_dict(one.spec.to_dict()) == one.spec


def test_nonnegative_least_squares_by_hand_and_at_its_conditions() -> None:
    assert nonnegative(np.eye(2), np.array([1.0, -1.0])).tolist() == [1.0, 0.0]
    columns, wanted = DRAWN.normal(size=(40, 12)), DRAWN.normal(size=40)
    gram, target = columns.T @ columns, columns.T @ wanted
    x = nonnegative(gram, target)
    slope = gram @ x - target
    assert (x >= 0).all()
    assert np.abs(slope[x > 0]).max() < 1e-8
    assert slope[x == 0].min() > -1e-8


def test_errors_count_alike_in_both_directions() -> None:
    assert explain(np.ones((2, 1)), np.array([1.0, 4.0]), np.ones(2))[0] == pytest.approx(2.0, rel=0.01)


def test_rank_correlation_by_hand() -> None:
    ordered = np.arange(4.0)
    assert kendall_tau(ordered, ordered**2) == 1
    assert kendall_tau(ordered, -ordered) == -1
    assert kendall_tau(ordered, np.array([1.0, 0.0, 2.0, 3.0])) == pytest.approx(4 / 6)


def test_a_kind_states_an_amount_of_each() -> None:
    with pytest.raises(ValueError, match="10 numbers each"):
        Kind("add", (1.0,), (1.0,))
