"""What is asked of families: members, rivals, rates; what cannot be, said before anything is trained."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import scalesearch
from scalesearch.api import families
from scalesearch.api.design import scaling_of
from scalesearch.api.options import FamilyOptions
from scalesearch.design.cost import cost
from scalesearch.design.family import write_spec
from scalesearch.design.measure import Measure
from scalesearch.design.scaling import PAPER
from scalesearch.design.space import load_space
from scalesearch.errors import UserError
from scalesearch.nets.modules import build
from scalesearch.nets.weights import save_network
from scalesearch.study.family_plan import FamilyPlan
from scalesearch.training.probes import seconds_per_step
from tests.conftest import MakeFolder

SPACE = """
name = "tiny"
resolution = 12
width_divisor = 4
dropout = 0.1
drop_path = 0.0
[stem]
width = 8
[[stages]]
width = 8
depth = 1
stride = 2
expand_ratio = 2
[[stages]]
width = 16
depth = 2
stride = 2
expand_ratio = 2
[head]
width = 32
[grid]
step = 0.2
tolerance = 0.2
maximum = 2.0
"""


@pytest.fixture
def space(tmp_path: Path) -> str:
    path = tmp_path / "tiny.toml"
    path.write_text(SPACE)
    return str(path)


def job(space: str, data: Path, **given: object) -> families.FamilyJob:
    asked = FamilyOptions(space=space, data=data, **{"train": "b0..b1", "device": "cpu", "epochs": 1, **given})  # type: ignore[arg-type]
    return families.prepare(asked, scaling_of(asked))


@pytest.mark.parametrize(("named", "phis"), [
    ("b0..b3", (0, 1, 2, 3)), ("b0,b2", (0, 2)), ("B1 .. b3", (1, 2, 3)), ("b0,b2..b4", (0, 2, 3, 4)),
    ("0..2", (0, 1, 2)),
])  # fmt: skip
def test_members_by_range_or_by_name(named: str, phis: tuple[int, ...]) -> None:
    assert families.members(named) == phis


@pytest.mark.parametrize(("named", "said"), [
    ("b2", "a family of 1"), ("b1,b1", "a family of 1"), ("b0..b11", "at most b10"),
    ("b0..", "names no members"), ("large", "names no members"),
    ("b0...b3", "names no members"), ("", "names no members"), ("b-1..b2", "names no members"),
])  # fmt: skip
def test_what_is_no_family(named: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        families.members(named)


def test_rivals_are_families_or_networks() -> None:
    assert families.rivals("paper, depth,resnet18,torchvision:googlenet") == (
        ("paper", "depth"), ("resnet18", "torchvision:googlenet")
    )  # fmt: skip
    assert families.rivals(["paper,width", "paper"]) == (("paper", "width"), ())
    assert families.rivals("none") == ((), ())


def test_what_is_planned(space: str, image_folder: MakeFolder, tmp_path: Path) -> None:
    resnet = write_spec(tmp_path / "small.json", load_space("resnet18").baseline)
    planned = job(
        space, image_folder(), against=f"paper,depth,{resnet},mobilenet_v2", against_resolution=32, lr="0.01,0.001",
        train="b0..b2", inherit="smaller", epochs=4, inherited_epochs=1, seed=3,
    ).plan  # fmt: skip
    assert planned.families == ("found", "paper", "depth", "small", "mobilenet_v2")
    assert (planned.rates, planned.train.seed) == ((0.001, 0.01), 3)
    by_name = {one.name: one for one in planned.contenders}
    assert by_name["small"].spec.resolution == by_name["mobilenet_v2"].spec.resolution == 32
    assert {one.spec.classes for one in planned.contenders} == {2}
    assert [by_name[name].epochs for name in ("b0", "b1", "depth-b2", "small")] == [4, 1, 1, 4]
    assert planned.families[0] == "found"
    assert cost(by_name["b1"].spec).macs == pytest.approx(cost(by_name["depth-b1"].spec).macs, rel=0.1)


def test_members_inherit_from_the_smaller_one_by_default(space: str, image_folder: MakeFolder) -> None:
    data = image_folder()
    usual = job(space, data, train="b0..b2", against="none", epochs=4).plan
    assert [(one.parent, one.epochs) for one in usual.contenders] == [(None, 4), (0, 2), (1, 2)]
    assert job(space, data, train="b0..b2", against="none", epochs=4, weights="none").plan == usual
    alone = job(space, data, train="b0..b2", against="none", epochs=4, inherit="none").plan
    assert [(one.parent, one.epochs) for one in alone.contenders] == [(None, 4)] * 3


def test_equal_time_gives_slower_networks_fewer_epochs_and_stays(
    space: str, image_folder: MakeFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, asked = image_folder(), {"equal": "time", "epochs": 8, "against": "depth", "inherit": "none"}
    steps = iter([1.0, 1.0, 4.0])  # b0, b1, and depth's, which has b1's FLOPs
    monkeypatch.setattr(families, "seconds_per_step", lambda *args, **kwargs: next(steps))
    assert [one.epochs for one in job(space, data, **asked).plan.contenders] == [8, 8, 2]
    monkeypatch.setattr(families, "seconds_per_step", seconds_per_step)
    assert all(one.epochs >= 1 for one in job(space, data, **asked).plan.contenders)


@pytest.mark.parametrize(("given", "where", "said"), [
    ({"against": "resnet181"}, "--against resnet181", "is no network"),
    ({"lr": "fast"}, "--lr", "learning rates"), ({"lr": "0.1,-1"}, "--lr", "learning rates"),
    ({"inherited_epochs": 2, "inherit": "none"}, "--inherited-epochs", "no member inherits"),
    ({"data": "there/is/nothing"}, "there/is/nothing", "nothing"),
    ({"batch_size": 32768, "train": "b0..b6", "jobs": 9, "against": "none"}, "--jobs 9", "memory"),
    ({"coefficients": replace(PAPER, growth=2.0, measure=Measure("memory")), "against": "torchvision:googlenet"},
     "--against googlenet", "what googlenet holds is not known"),
    ({"coefficients": replace(PAPER, growth=2.0, measure=Measure("params")), "against": "resolution",
      "space": "mbconv_small"},
     "--against resolution", r"resolution alone cannot be grown to φ = 1, 2\.?\d* × the parameters"),
    ({"space": "efficientnet_b0", "train": "b0..b10"}, "--train b0..b10", "GB of memory are needed"),
])  # fmt: skip
def test_what_cannot_be_is_said_before_anything_is_trained(
    space: str, image_folder: MakeFolder, given: dict[str, object], where: str, said: str
) -> None:
    with pytest.raises(UserError, match=said) as caught:
        job(**{"space": space, "data": image_folder(), **given})  # type: ignore[arg-type]
    assert where in str(caught.value)


def test_coefficients_of_another_cost_are_compared_at_that_cost(space: str, image_folder: MakeFolder) -> None:
    measure, data = Measure("activations"), image_folder()
    planned = job(space, data, coefficients=replace(PAPER, growth=2.0, measure=measure),
                  against="depth,width,resolution").plan  # fmt: skip
    assert planned.measure == measure
    assert FamilyPlan.from_dict(json.loads(json.dumps(planned.to_dict()))) == planned
    costs = {one.name: measure.of(one.spec) for one in planned.contenders}
    assert costs["b1"] / costs["b0"] == pytest.approx(2, rel=0.1)
    for name in ("depth-b1", "width-b1", "resolution-b1"):
        assert costs[name] == pytest.approx(costs["b1"], rel=0.1)
    assert "measure" not in job(space, data, against="none").plan.to_dict(), "plans by FLOPs are as before"


def test_options_of_training_need_members() -> None:
    with pytest.raises(UserError, match="without --train nothing is trained"):
        scalesearch.family("mbconv_small", seeds=5)
    with pytest.raises(UserError, match="shown, not trained"):
        scalesearch.family("efficientnet_b0", published=True, train="b0..b1")


def test_a_family_is_trained_and_shown(space: str, image_folder: MakeFolder, tmp_path: Path) -> None:
    told: list[str] = []
    given: dict[str, Any] = {
        "space": space, "data": image_folder(images=40), "out": tmp_path / "out", "tell": told.append, "device": "cpu",
        "train": "b0..b1", "against": "depth", "seeds": 2, "epochs": 1, "lr": "0.004", "jobs": 1,
    }  # fmt: skip
    family = scalesearch.family(**given)
    trained = family.trained
    assert trained is not None
    assert len(told) == 2 * 3
    assert trained.answer is not None
    assert (trained.folder / "families.png").stat().st_size > 0
    assert json.loads((trained.folder / "answer.json").read_text())
    assert "depth-b1" in trained._repr_html_()
    again = scalesearch.family(**given)
    assert again.trained is not None
    assert len(told) == 2 * 3  # nothing was trained again


def test_published_networks_are_not_left_to_start_from_scratch_beside_trained_weights(
    space: str, image_folder: MakeFolder, tmp_path: Path
) -> None:
    data, file = image_folder(), tmp_path / "tiny.safetensors"
    save_network(file, build(load_space(space).baseline, seed=0))
    with pytest.raises(UserError, match="would start from scratch beside members"):
        job(space, data, weights=file, against="resnet18", against_resolution=32)
    planned = job(space, data, weights=file, against="resnet18", against_resolution=32, against_weights="scratch").plan
    assert [one.weights is None for one in planned.contenders] == [False, False, True]


def test_a_plan_does_not_depend_on_where_its_search_lies(space: str, image_folder: MakeFolder) -> None:
    plan = job(space, image_folder()).plan
    assert replace(plan, origin="elsewhere").digest == plan.digest != replace(plan, data="elsewhere").digest
