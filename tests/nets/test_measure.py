"""fvcore against the closed form, operator by operator, and against its own published figures."""

import logging
from dataclasses import replace
from itertools import chain, repeat

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from scalesearch.design.cost import cost, operators
from scalesearch.design.space import load_space
from scalesearch.design.spec import Head, NetSpec, Stage, Stem
from scalesearch.nets import measure as module
from scalesearch.nets.counting import without_jit_warnings
from scalesearch.nets.measure import WARM_UP, fvcore_count, latencies, latency
from scalesearch.nets.modules import build
from scalesearch.units import counted
from tests.nets.specs import efficientnet_v2_s, mnasnet_b1, tiny

SPACES = ("efficientnet_b0", "efficientnet_lite0", "mobilenet_v2", "mbconv_small", "mobilenet_v3_small", "resnet18",
          "resnet50")  # fmt: skip

MBCONV_STAGES = st.builds(
    Stage,
    width=st.integers(1, 24),
    depth=st.integers(1, 3),
    kernel=st.sampled_from([1, 3, 5, 7]),
    stride=st.integers(1, 3),
    expand_ratio=st.sampled_from([1, 1.5, 2, 3.7, 4, 6]),
    se_ratio=st.sampled_from([0, 0.04, 0.25, 0.5, 1]),
    block=st.sampled_from(["mbconv", "fused_mbconv"]),
    squeeze=st.sampled_from(["efficientnet", "mobilenet_v3"]),
    activation=st.sampled_from([None, "relu"]),
)
RESNET_STAGES = st.builds(
    Stage,
    width=st.integers(1, 24),
    depth=st.integers(1, 3),
    kernel=st.sampled_from([1, 3, 5]),
    stride=st.integers(1, 3),
    expand_ratio=st.sampled_from([0.25, 0.5, 1, 2]),
    se_ratio=st.just(0),
    block=st.sampled_from(["basic", "bottleneck"]),
)
SPECS = st.builds(
    NetSpec,
    name=st.just("random"),
    resolution=st.integers(9, 70),
    stem=st.builds(
        Stem,
        width=st.integers(1, 24),
        kernel=st.sampled_from([1, 3, 5]),
        stride=st.integers(1, 3),
        max_pool=st.booleans(),
    ),
    stages=st.lists(st.one_of(MBCONV_STAGES, RESNET_STAGES), min_size=1, max_size=4).map(tuple),
    head=st.builds(Head, width=st.integers(0, 40), hidden=st.sampled_from([0, 5])),
    activation=st.sampled_from(["silu", "relu6", "relu", "hardswish"]),
    padding=st.sampled_from(["symmetric", "same"]),
    in_channels=st.integers(1, 4),
    classes=st.integers(1, 12),
)


def check_against_closed_form(spec: NetSpec) -> None:
    counted, network = fvcore_count(spec), build(spec, seed=0)
    closed = tuple(operators(spec))
    assert list(counted.by_operator.items()) == [(op.name, op.macs) for op in closed]
    assert counted.macs == sum(counted.by_operator.values()) == cost(spec).macs
    assert counted.activations == cost(spec).activations
    assert cost(spec).params == sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize("name", SPACES)
def test_search_spaces_match_the_closed_form(name: str) -> None:
    check_against_closed_form(load_space(name).baseline)


@pytest.mark.parametrize("make", [efficientnet_v2_s, mnasnet_b1])
def test_other_families_match_the_closed_form(make: object) -> None:
    check_against_closed_form(make())


@settings(max_examples=25, deadline=None)
@given(SPECS)
def test_random_networks_match_the_closed_form(spec: NetSpec) -> None:
    check_against_closed_form(spec)


def test_b0_figures_that_others_print() -> None:
    counted = fvcore_count(load_space("efficientnet_b0").baseline)
    assert (counted.macs, counted.total) == (385_814_752, 401_659_392)
    assert counted.uncounted == ("aten::add_", "aten::mul", "aten::sigmoid", "aten::silu")


def test_v2_s_figure_that_torchvision_prints() -> None:
    assert round(cost(efficientnet_v2_s()).macs / 1e9, 3) == 8.366
    assert cost(efficientnet_v2_s()).params == 21_458_488


def test_activations_are_fvcores_own() -> None:
    spec = load_space("mobilenet_v2").baseline
    with without_jit_warnings():
        from fvcore.nn import ActivationCountAnalysis

        analysis = ActivationCountAnalysis(build(spec, seed=0).eval(), torch.zeros(1, 3, 224, 224))
        expected = analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False).total()
    assert fvcore_count(spec).activations == expected


def test_counting_prints_and_logs_nothing(capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        fvcore_count(tiny())
    assert capfd.readouterr() == ("", "")
    assert caplog.records == []


SPEC = replace(load_space("mbconv_small").baseline, resolution=16, classes=3)


def test_the_median_of_warm_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    """By a clock that gives each pass its time: slow ones that warm up, then a few that something else slowed."""
    rounds = [(0.7, 0.02), (0.7, 0.01), (0.7, 0.01), (0.7, 0.09), (0.7, 0.01)]  # each turn's first pass does not count
    passes = [1.0] * (WARM_UP - 1) + [0.5, *chain.from_iterable(rounds)]
    ticks = chain.from_iterable((0.0, taken) for taken in chain(passes, repeat(0.01)))
    monkeypatch.setattr(module.time, "perf_counter", lambda: next(ticks))
    timing = latency(SPEC, 2, torch.device("cpu"), repeats=5)
    assert (timing.seconds, timing.batch_size, timing.repeats) == (0.01, 2, 5)
    assert timing.spread == pytest.approx(1.0)
    assert (
        f"2 images, float32, channels last, {counted(torch.get_num_threads(), 'thread')}; the machine was busy"
        in str(timing)
    )


def test_networks_take_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    """What slows a while of the clock meets all of them alike."""
    slow = chain(repeat(0.01, 2 * WARM_UP + 4 * 2), repeat(0.05))  # from the third of four rounds on
    ticks = chain.from_iterable((0.0, taken) for taken in slow)
    monkeypatch.setattr(module.time, "perf_counter", lambda: next(ticks))
    one, other = latencies([SPEC, replace(SPEC, resolution=20)], 1, torch.device("cpu"), repeats=4)
    assert one == other
    assert one.seconds == pytest.approx(0.03)


def test_long_passes_are_repeated_less(monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = chain.from_iterable((0.0, taken) for taken in repeat(2.0))
    monkeypatch.setattr(module.time, "perf_counter", lambda: next(ticks))
    timing = latency(SPEC, 1, torch.device("cpu"))
    assert (timing.seconds, timing.repeats, timing.spread) == (2.0, module.FEWEST, 0.0)
    assert "one image" in str(timing)
    assert "busy" not in str(timing)
