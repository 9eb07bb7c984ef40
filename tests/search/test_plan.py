import json
from dataclasses import replace
from math import isclose

import pytest

from scalesearch.design.cost import cost
from scalesearch.design.space import Grid, load_space
from scalesearch.errors import UserError
from scalesearch.search.plan import Measured, SearchPlan, check_same, differences, row, trials
from scalesearch.search.proxy import Proxy, choose_proxy
from scalesearch.training.config import TrainConfig

B0 = load_space("efficientnet_b0").baseline
SMALL = load_space("mbconv_small").baseline
PLAN = SearchPlan(
    space="efficientnet_b0", baseline=B0, grid=Grid(0.2, 0.1), rounding="budget", real_tolerance=0.05,
    target_macs=400e6, data="glyphs", data_digest="abc", validation=10, seeds=(0, 1), proxy=Proxy(7.0, 2, 100),
    train=TrainConfig(epochs=2), device="cpu",
)  # fmt: skip


def test_plan_survives_json() -> None:
    assert SearchPlan.from_dict(json.loads(json.dumps(PLAN.to_dict()))) == PLAN


def test_every_candidate_once_a_seed_and_the_baseline_first() -> None:
    candidates = PLAN.enumerate().candidates
    listed = list(trials(PLAN, candidates))
    assert len({trial.key for trial in listed}) == len(listed) == 2 * (len(candidates) + 1)
    assert [trial.seed for trial in listed] == sorted(trial.seed for trial in listed)
    assert listed[0].candidate == -1
    assert all(trial.proxy_spec.resolution == round(trial.spec.resolution / 7) for trial in listed)
    assert {trial.train.seed for trial in listed} == {0, 1}


def test_row_joins_proxy_accuracy_with_full_size_flops() -> None:
    candidate = PLAN.enumerate().candidates[0]
    trial = next(t for t in trials(PLAN, (candidate,)) if t.candidate == 0)
    line = row(PLAN, trial, candidate, Measured(candidate.macs, candidate.macs + 5, 80, 100, 0.3, 1.5))
    assert line["top1"] == 0.8
    assert isclose(line["score"], 0.8 * (candidate.macs / 400e6) ** -0.07)
    assert line["proxy_macs"] < line["macs"] / 20
    failed = row(PLAN, trial, candidate, Measured(candidate.macs, 0, 0, 0, 0.0, 1.5, "loss nan"))
    assert (failed["status"], failed["score"], failed["top1"], failed["reason"]) == ("failed", None, None, "loss nan")
    json.dumps(line, allow_nan=False)
    json.dumps(failed, allow_nan=False)


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
    assert choose_proxy(SMALL, 300, gpu=False) == Proxy(1.0, 6, 300)


@pytest.mark.parametrize("divisor", [0.5, 100.0, float("nan")])
def test_bad_divisors(divisor: float) -> None:
    with pytest.raises(UserError, match="--proxy-divisor"):
        choose_proxy(B0, 100, False, divisor)
