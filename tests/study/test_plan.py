import json
from dataclasses import replace
from math import ceil, isclose, log2, prod

import pytest

from scalesearch.design.cost import cost
from scalesearch.design.measure import Measure
from scalesearch.design.space import Grid, load_space
from scalesearch.errors import UserError
from scalesearch.study.config import TrainConfig
from scalesearch.study.plan import Measurement, SearchPlan, check_same, differences, networks, row, trial
from scalesearch.study.proxy import CPU_EPOCHS, CPU_IMAGES, CPU_MACS, SHRINKING, Proxy, Shrinking, choose_proxy
from scalesearch.study.row import BASELINE
from tests.devices import made_up_table
from tests.reports.synthetic import PLAN as SYNTHETIC

B0 = load_space("efficientnet_b0").baseline
SMALL = load_space("mbconv_small").baseline
TRAINED = choose_proxy(B0, 100, False, 20e6).baseline
PLAN = SearchPlan(
    space="efficientnet_b0", baseline=B0, grid=Grid(0.2, 0.1), rounding="budget", real_tolerance=0.05,
    target_macs=400e6, data="glyphs", data_digest="abc", validation=10, majority=0.2, proxy=Proxy(TRAINED, 2, 100),
    train=TrainConfig(epochs=2), device="cpu",
)  # fmt: skip


def test_a_plan_of_before_tables_had_more_fields_has_the_digest_that_it_had() -> None:
    table = made_up_table(["mbconv_small"])
    old = replace(SYNTHETIC, measure=Measure("latency", table=table))
    assert old.digest == "3b2c9f35bb94"
    later = replace(table, held_ms=(1e-8,), growth=((1.0, 1.1),))
    assert replace(old, measure=Measure("latency", table=later)).digest != old.digest


def test_plan_survives_json() -> None:
    assert SearchPlan.from_dict(json.loads(json.dumps(PLAN.to_dict()))) == PLAN


def test_a_trial_of_each_item() -> None:
    candidates = PLAN.enumerate().candidates
    baseline = trial(PLAN, candidates, (-1, 1, 2))
    assert (baseline.name, baseline.spec.digest, baseline.train.seed) == ("baseline", PLAN.baseline.digest, 1)
    assert baseline.trained.digest == TRAINED.digest
    third = trial(PLAN, candidates, (3, 0, 1))
    assert (third.key, third.until) == ((3, 0, 1), 1)
    assert third.spec.digest == candidates[3].spec.digest
    assert third.trained.digest == candidates[3].trained.digest
    assert third.trained.resolution < third.spec.resolution


def test_searches_of_other_seeds_share_no_training_seed() -> None:
    candidates = PLAN.enumerate().candidates
    again = replace(PLAN, train=replace(PLAN.train, seed=2))
    ones = [trial(plan, candidates, (3, number, 1)) for plan in (PLAN, again) for number in (0, 1, 999)]
    assert [one.train.seed for one in ones] == [0, 1, 999, 2000, 2001, 2999]
    assert [one.key[1] for one in ones] == [0, 1, 999] * 2  # tables count a network's trainings from 0
    assert again.digest != PLAN.digest
    with pytest.raises(UserError, match="1000 trainings"):
        trial(PLAN, candidates, (3, 1000, 1))


def test_networks_carry_the_factor_of_their_cost_and_their_shares_of_the_doubling() -> None:
    candidates = PLAN.enumerate().candidates
    baseline, *others = networks(PLAN, candidates)
    assert (baseline.number, baseline.features) == (BASELINE, (0.0, 0.0, 0.0, 0.0))
    assert isclose(baseline.factor, (cost(B0).macs / 400e6) ** -0.07)
    assert [network.number for network in others] == [candidate.index for candidate in candidates]
    for candidate, network in zip(candidates, others, strict=True):
        assert isclose(network.factor, (candidate.proxy_ratio * cost(B0).macs / 400e6) ** -0.07)
        assert network.features[:3] == candidate.multipliers.shares
    (depth,) = (one for candidate, one in zip(candidates, others, strict=True) if candidate.control == "depth")
    assert depth.features[1:] == (0.0, 0.0, 0.0)


def test_pixels_wasted_by_rounding_up_the_last_map_are_a_feature() -> None:
    """32 px come to a last map of 1, 40 px to one of 2, which would be enough for 64."""
    plan = replace(PLAN, baseline=SMALL, proxy=Proxy(SMALL, 2, 100))
    one = plan.enumerate().candidates[0]
    reduction = SMALL.stem.reduction * prod(stage.stride for stage in SMALL.stages)
    for side in (SMALL.resolution + 1, SMALL.resolution + reduction):
        wide = replace(one, trained=replace(SMALL, resolution=side))
        wasted = 2 * log2(ceil(side / reduction) * reduction / side)
        assert isclose(networks(plan, (wide,))[1].features[3], wasted, abs_tol=1e-12)


def test_row_joins_the_accuracy_with_the_cost_as_trained() -> None:
    candidate = PLAN.enumerate().candidates[0]
    one = trial(PLAN, (candidate,), (0, 0, 2))
    measured = Measurement(candidate.macs, candidate.macs + 5, 80, 100, 0.3, 1.5, latency_ms=7.0)
    line = row(PLAN, one, candidate, measured)
    assert (line.top1, line.file, line.latency_ms) == (0.8, "c000-seed0-e2", 7.0)
    assert line.score is not None
    assert isclose(line.score, 0.8 * (candidate.proxy_ratio * cost(B0).macs / 400e6) ** -0.07)
    assert (line.proxy_macs, line.proxy_ratio, line.real_ratio) == (
        candidate.proxy_macs, candidate.proxy_ratio, candidate.real_ratio,
    )  # fmt: skip
    has = candidate.multipliers
    assert (line.depth_ratio, line.width_ratio, line.resolution_ratio) == (has.depth, has.width, has.resolution)
    failed = row(PLAN, one, candidate, Measurement(candidate.macs, 0, 0, 0, 0.0, 1.5, "loss nan"))
    assert (failed.status, failed.score, failed.top1, failed.reason) == ("failed", None, None, "loss nan")
    json.dumps(line.to_dict(), allow_nan=False)
    json.dumps(failed.to_dict(), allow_nan=False)


def test_another_plan_is_noticed_and_named() -> None:
    check_same(PLAN.to_dict(), PLAN, "runs/x")
    other = replace(PLAN, data="flowers", proxy=Proxy(TRAINED, 3, 100))
    lines = differences(PLAN.to_dict(), other.to_dict())
    assert lines == ['data: "glyphs" there, "flowers" asked for', "proxy.epochs: 2 there, 3 asked for"]
    with pytest.raises(UserError, match=r"proxy\.epochs"):
        check_same(PLAN.to_dict(), other, "runs/x")


def test_proxy_is_chosen_by_size_and_not_by_time() -> None:
    proxy = choose_proxy(B0, 50_000, gpu=False)
    assert proxy == choose_proxy(B0, 50_000, gpu=False)
    assert cost(proxy.baseline).macs <= 1.1 * CPU_MACS
    assert (proxy.images, proxy.epochs) == (CPU_IMAGES, CPU_EPOCHS)
    assert choose_proxy(B0, 50_000, gpu=True).baseline == B0
    small = replace(SMALL, resolution=16)
    assert choose_proxy(small, 300, False, epochs=3, images=200) == Proxy(small, 3, 200)


@pytest.mark.parametrize(
    ("images", "gpu", "epochs"),
    [(3200, False, 10), (50_000, False, 10), (1069, False, 30), (640, False, 50), (40, False, 100),
     (50_000, True, 20), (3000, True, 43), (1, True, 100)],
)  # fmt: skip
def test_few_images_are_seen_more_often(images: int, gpu: bool, epochs: int) -> None:
    assert choose_proxy(replace(SMALL, resolution=16), images, gpu).epochs == epochs


@pytest.mark.parametrize("shrinking", SHRINKING)
def test_a_proxy_is_made_smaller_as_asked(shrinking: Shrinking) -> None:
    small = choose_proxy(B0, 100, False, 20e6, shrinking).baseline
    assert isclose(cost(small).macs, 20e6, rel_tol=0.1)
    assert (small.depths == B0.depths) == (shrinking != "family")
    assert (small.widths == B0.widths) == (shrinking == "resolution")
    assert small.resolution < B0.resolution
    assert small.dropout < B0.dropout
    assert small.classes == B0.classes


@pytest.mark.parametrize("macs", [1.0, 1e5, float("nan")])
def test_sizes_that_a_baseline_cannot_be_brought_to(macs: float) -> None:
    with pytest.raises(UserError, match="--proxy-flops"):
        choose_proxy(B0, 100, False, macs)


def test_a_run_from_before_a_setting_existed_is_the_same_search() -> None:
    old = PLAN.to_dict()
    assert "recompute" not in old["train"]
    assert "weights" not in old
    check_same(old, PLAN, "run")
    check_same({**old, "train": {**old["train"], "tail_blocks": 3, "patience": 0, "recompute": False}}, PLAN, "run")
    with pytest.raises(UserError, match=r"train\.patience"):
        check_same({**old, "train": {**old["train"], "patience": 2}}, PLAN, "run")


def test_another_cost_is_part_of_a_plan() -> None:
    other = replace(PLAN, measure=Measure("params"), exponent=0.0)
    assert SearchPlan.from_dict(other.to_dict()) == other
    assert other.digest != PLAN.digest
    assert not {"measure", "exponent"} & PLAN.to_dict().keys()  # older runs are the same search
    assert other.score(0.8, 2.0) == 0.8
    for one in other.enumerate().candidates:
        assert one.proxy_ratio == cost(one.spec).params / cost(B0).params


def test_a_device_s_table_is_kept_with_the_plan() -> None:
    timed = replace(PLAN, measure=Measure("latency", table=made_up_table(["efficientnet_b0"])), target_macs=20.0)
    read = SearchPlan.from_dict(json.loads(json.dumps(timed.to_dict())))
    assert read == timed
    assert read.digest == timed.digest
    assert [one.spec for one in read.enumerate().candidates] == [one.spec for one in timed.enumerate().candidates]
