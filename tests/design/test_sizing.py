"""The φ that meets a time, by clocks that follow from the network."""

import pytest

from scalesearch.design.cost import cost
from scalesearch.design.scaling import MEASUREMENTS, PAPER, meet_seconds, scale
from scalesearch.design.space import load_space
from scalesearch.design.spec import NetSpec
from scalesearch.errors import UserError

B0 = load_space("efficientnet_b0").baseline


class Clock:
    """Seconds of a network: an overhead, and some for each of its multiply-adds."""

    def __init__(self, overhead: float) -> None:
        self.overhead, self.asked = overhead, 0

    def __call__(self, spec: NetSpec) -> float:
        self.asked += 1
        return self.overhead + cost(spec).macs * 1e-10


@pytest.mark.parametrize("overhead", [0.0, 0.005, 0.02])
@pytest.mark.parametrize("target", [0.03, 0.04, 0.1, 1.0])
def test_a_time_is_met_in_few_measurements(overhead: float, target: float) -> None:
    clock = Clock(overhead)
    found, seconds = meet_seconds(B0, PAPER, target, "budget", clock)
    assert seconds == Clock(overhead)(found.spec)
    assert seconds == pytest.approx(target, rel=0.05)
    assert found.spec == scale(B0, PAPER, found.phi)
    assert clock.asked <= MEASUREMENTS + 1


def test_a_time_below_the_overhead_is_refused_with_the_nearest() -> None:
    with pytest.raises(UserError, match=r"--latency: found 1 ms; .*; the nearest is 2\d(\.\d)? ms at φ = -"):
        meet_seconds(B0, PAPER, 0.001, "budget", Clock(0.02))


@pytest.mark.parametrize("target", [0.0, -1.0, float("nan")])
def test_no_time_is_refused(target: float) -> None:
    with pytest.raises(UserError, match="--latency"):
        meet_seconds(B0, PAPER, target, "budget", Clock(0.0))
