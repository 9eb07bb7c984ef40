import json
from dataclasses import replace
from math import isclose

import pytest

from scalesearch.design.cost import cost
from scalesearch.design.space import Grid, load_space
from scalesearch.errors import UserError
from scalesearch.study.config import TrainConfig
from scalesearch.study.plan import Measurement, SearchPlan, check_same, differences, row, runners, trial
from scalesearch.study.proxy import Proxy, choose_proxy

B0 = load_space("efficientnet_b0").baseline
SMALL = load_space("mbconv_small").baseline
PLAN = SearchPlan(
    space="efficientnet_b0", baseline=B0, grid=Grid(0.2, 0.1), rounding="budget", real_tolerance=0.05,
    target_macs=400e6, data="glyphs", data_digest="abc", validation=10, proxy=Proxy(7.0, 2, 100),
    train=TrainConfig(epochs=2), device="cpu",
)  # fmt: skip


def test_plan_survives_json() -> None:
    assert SearchPlan.from_dict(json.loads(json.dumps(PLAN.to_dict()))) == PLAN


def test_a_trial_of_each_item() -> None:
    candidates = PLAN.enumerate().candidates
    baseline = trial(PLAN, candidates, (-1, 1, 2))
    assert (baseline.name, baseline.spec.digest, baseline.train.seed) == ("baseline", PLAN.baseline.digest, 1)
    third = trial(PLAN, candidates, (3, 0, 1))
    assert (third.key, third.until) == ((3, 0, 1), 1)
    assert third.spec.digest == candidates[3].spec.digest
    assert third.proxy_spec.resolution == round(third.spec.resolution / 7)


def test_runners_carry_the_cost_factor() -> None:
    candidates = PLAN.enumerate().candidates
    factors = runners(PLAN, candidates)
    assert list(factors) == [candidate.index for candidate in candidates]
    for candidate in candidates:
        assert isclose(factors[candidate.index], (candidate.macs / 400e6) ** -0.07)


def test_row_joins_proxy_accuracy_with_full_size_flops() -> None:
    candidate = PLAN.enumerate().candidates[0]
    one = trial(PLAN, (candidate,), (0, 0, 2))
    line = row(PLAN, one, candidate, Measurement(candidate.macs, candidate.macs + 5, 80, 100, 0.3, 1.5))
    assert (line.top1, line.file) == (0.8, "c000-seed0-e2")
    assert line.score is not None
    assert isclose(line.score, 0.8 * (candidate.macs / 400e6) ** -0.07)
    assert line.proxy_macs < line.macs / 20
    failed = row(PLAN, one, candidate, Measurement(candidate.macs, 0, 0, 0, 0.0, 1.5, "loss nan"))
    assert (failed.status, failed.score, failed.top1, failed.reason) == ("failed", None, None, "loss nan")
    json.dumps(line.to_dict(), allow_nan=False)
    json.dumps(failed.to_dict(), allow_nan=False)


def test_another_plan_is_noticed_and_named() -> None:
    check_same(PLAN.to_dict(), PLAN, "runs/x")
    other = replace(PLAN, data="flowers", proxy=Proxy(7.0, 3, 100))
    lines = differences(PLAN.to_dict(), other.to_dict())
    assert lines == ['data: "glyphs" there, "flowers" asked for', "proxy.epochs: 2 there, 3 asked for"]
    with pytest.raises(UserError, match=r"proxy\.epochs"):
        check_same(PLAN.to_dict(), other, "runs/x")


def test_proxy_is_chosen_by_size_and_not_by_time() -> None:
    proxy = choose_proxy(B0, 50_000, gpu=False)
    assert proxy == choose_proxy(B0, 50_000, gpu=False)
    assert cost(proxy.spec(B0)).macs <= 12_000_000
    assert proxy.images == 4000
    assert choose_proxy(B0, 50_000, gpu=True).resolution_divisor == 1
    assert choose_proxy(SMALL, 300, gpu=False) == Proxy(1.0, 18, 300)


@pytest.mark.parametrize("divisor", [0.5, 100.0, float("nan")])
def test_bad_divisors(divisor: float) -> None:
    with pytest.raises(UserError, match="--proxy-divisor"):
        choose_proxy(B0, 100, False, divisor)


def test_a_run_from_before_a_setting_existed_is_the_same_search() -> None:
    old = PLAN.to_dict()
    assert "recompute" not in old["train"]
    assert "weights" not in old
    check_same(old, PLAN, "run")
    check_same({**old, "train": {**old["train"], "tail_blocks": 3, "patience": 0, "recompute": False}}, PLAN, "run")
    with pytest.raises(UserError, match=r"train\.patience"):
        check_same({**old, "train": {**old["train"], "patience": 2}}, PLAN, "run")
