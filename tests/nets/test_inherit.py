from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from scalesearch.design.scaling import PAPER, scale
from scalesearch.design.space import load_space
from scalesearch.design.spec import NetSpec, reshape, shape_of
from scalesearch.nets.inherit import Selection, inherit
from scalesearch.nets.layers import layers
from scalesearch.nets.modules import MBConvNet, build
from scalesearch.nets.transfer_plan import TransferPlan, parts
from tests.nets.specs import small_resnet

B0 = load_space("efficientnet_b0").baseline
SMALL = replace(load_space("mbconv_small").baseline, classes=4, resolution=16)
NAMES = ("efficientnet_b0", "efficientnet_lite0", "mobilenet_v2")
RESNETS = [small_resnet("resnet18"), small_resnet("resnet50")]
V3 = replace(load_space("mobilenet_v3_small").baseline, classes=4, resolution=33)
FAMILIES = [SMALL, *(replace(load_space(name).baseline, classes=4, resolution=33) for name in NAMES), *RESNETS, V3]
# two outputs that sum the same values in another order
TOLERANCE = 1e-4


def trained(spec: NetSpec) -> MBConvNet:
    """A network whose every tensor differs from its initial value, as after training."""
    network = build(spec, seed=0)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for tensor in network.state_dict().values():
            if tensor.is_floating_point():
                tensor.mul_(1 + 0.1 * torch.randn(tensor.shape, generator=generator).clamp(-3, 3)).add_(0.01)
    return network


def logits(network: MBConvNet, images: Tensor) -> Tensor:
    with torch.inference_mode():
        return network.eval()(images)


def pictures(spec: NetSpec) -> Tensor:
    generator = torch.Generator().manual_seed(2)
    return torch.randn(2, spec.in_channels, spec.resolution, spec.resolution, generator=generator)


def difference(source: MBConvNet, images: Tensor, target: MBConvNet, given: Tensor) -> float:
    """Largest difference of two networks' logits, in standard deviations of the first's."""
    expected = logits(source, images)
    assert expected.std() > 1e-4
    return float((logits(target, given) - expected).abs().max() / expected.std())


def changed_stages(spec: NetSpec, **change: object) -> NetSpec:
    return replace(spec, stages=tuple(replace(stage, **change) for stage in spec.stages))  # type: ignore[arg-type]


def explains_everything(network: MBConvNet, plan: TransferPlan) -> bool:
    names = {name for name in network.state_dict() if not name.endswith("num_batches_tracked")}
    return names == {row.name for row in plan.tensors} and len(plan.tensors) == len(names)


@pytest.mark.parametrize("spec", FAMILIES, ids=lambda spec: spec.name)
def test_the_same_spec_is_bit_identical(spec: NetSpec) -> None:
    source = trained(spec)
    state = {name: tensor.clone() for name, tensor in source.state_dict().items()}
    network, plan = inherit(spec, source.state_dict(), spec, seed=5)
    assert all(
        torch.equal(tensor, state[name])
        for name, tensor in network.state_dict().items()
        if not name.endswith("num_batches_tracked")
    )
    assert (plan.exact, plan.coverage, plan.unused, plan.losses) == (True, 1.0, (), ())
    assert {row.how for row in plan.tensors} == {"copied"}
    assert all(torch.equal(tensor, state[name]) for name, tensor in source.state_dict().items())


@pytest.mark.parametrize("spec", FAMILIES, ids=lambda spec: spec.name)
@pytest.mark.parametrize("phi", [0.5, 1, 2])
def test_a_larger_member_gives_the_same_logits(spec: NetSpec, phi: float) -> None:
    source, target = trained(spec), replace(scale(spec, PAPER, phi, "efficientnet"), resolution=spec.resolution)
    network, plan = inherit(spec, source.state_dict(), target, seed=3)
    assert plan.preserved
    assert difference(source, pictures(spec), network, pictures(spec)) < TOLERANCE
    assert difference(source, pictures(spec), build(target, seed=3), pictures(spec)) > 0.1
    assert explains_everything(network, plan)
    assert plan.unused == ()
    assert 0 < plan.coverage < 1


@settings(max_examples=12, deadline=None)
@given(st.lists(st.integers(0, 3), min_size=9, max_size=9), st.sampled_from([3, 5, 7]))
def test_any_growth_gives_the_same_logits(more: list[int], kernel: int) -> None:
    shape = shape_of(SMALL)
    grown = replace(
        shape, stem=shape.stem + more[0], widths=tuple(w + m for w, m in zip(shape.widths, more[1:5], strict=True)),
        depths=tuple(d + m for d, m in zip(shape.depths, more[5:], strict=True)), head=shape.head + 7,
    )  # fmt: skip
    target = reshape(SMALL, grown)
    target = replace(target, stages=tuple(replace(stage, kernel=max(kernel, stage.kernel)) for stage in target.stages))
    source = trained(SMALL)
    network, plan = inherit(SMALL, source.state_dict(), target, seed=0)
    assert plan.preserved
    assert difference(source, pictures(SMALL), network, pictures(SMALL)) < TOLERANCE


@settings(max_examples=12, deadline=None)
@given(st.lists(st.integers(0, 3), min_size=9, max_size=9), st.sampled_from([3, 5]), st.sampled_from(RESNETS))
def test_any_growth_of_a_resnet_gives_the_same_logits(more: list[int], kernel: int, spec: NetSpec) -> None:
    """Where stem and first stage grow apart, a projection takes the plain shortcut's place."""
    shape = shape_of(spec)
    grown = replace(
        shape, stem=shape.stem + more[0], widths=tuple(w + m for w, m in zip(shape.widths, more[1:5], strict=True)),
        depths=tuple(d + m for d, m in zip(shape.depths, more[5:], strict=True)),
    )  # fmt: skip
    target = changed_stages(reshape(spec, grown), kernel=kernel)
    source = trained(spec)
    network, plan = inherit(spec, source.state_dict(), target, seed=0)
    assert plan.preserved
    assert plan.unused == ()
    assert explains_everything(network, plan)
    assert difference(source, pictures(spec), network, pictures(spec)) < TOLERANCE


@pytest.mark.parametrize("selection", ["batch_norm", "weight_norm", "leading"])
def test_what_a_plain_shortcut_adds_has_the_same_channels(selection: Selection) -> None:
    """Channels that do nothing may go wherever they stand: stem and stage 1 must agree on which."""
    spec = RESNETS[0]
    source, dead = trained(spec), [1, 4, 6]
    state = source.state_dict()
    for layer in (layer for layer in layers(spec) if layer.writes.name == "stem"):
        for name in (f"{layer.path}.weight", f"{layer.norm}.weight", f"{layer.norm}.bias"):
            state[name][dead] = 0
    shape = shape_of(spec)
    kept = shape.stem - len(dead)
    target = reshape(spec, replace(shape, stem=kept, widths=(kept, *shape.widths[1:])))
    first = replace(target.stages[0], expand_ratio=shape.stem / kept)  # all that is inside the blocks stays
    target = replace(target, stages=(first, *target.stages[1:]))
    network, plan = inherit(spec, state, target, seed=0, selection=selection)
    assert not plan.preserved
    assert (difference(source, pictures(spec), network, pictures(spec)) < TOLERANCE) == (selection != "leading")


@pytest.mark.parametrize(
    ("change", "loss"),
    [
        ({"stem": {"max_pool": False}}, "another stem"),
        ({"head": {"width": 24}}, "a new head"),
        ({"activation": "silu"}, "activation"),
        ({"batch_norm": {"eps": 1e-3}}, "batch-norm eps"),
    ],
)
def test_what_keeps_a_resnet_from_being_the_same_function_is_said(change: dict[str, object], loss: str) -> None:
    spec = RESNETS[1]
    target = replace(
        spec,
        **{key: replace(getattr(spec, key), **new) if isinstance(new, dict) else new for key, new in change.items()},
    )
    source = trained(spec)
    network, plan = inherit(spec, source.state_dict(), target, seed=0)
    assert plan.losses == (loss,)
    assert difference(source, pictures(spec), network, pictures(spec)) > TOLERANCE


def early(network: MBConvNet, number: int) -> Tensor:
    """What a stage gives: on random weights little of a difference reaches the logits of a long network."""
    with torch.inference_mode():
        return network.eval().features[: number + 1](pictures(network.spec))


def test_a_stage_wider_than_the_one_before_has_no_shortcut_in_its_first_block() -> None:
    shape, place = shape_of(V3), 2  # 24 channels after 24
    target = reshape(V3, replace(shape, widths=tuple(w + 8 * (i >= place) for i, w in enumerate(shape.widths))))
    source = trained(V3)
    network, plan = inherit(V3, source.state_dict(), target, seed=0)
    assert plan.losses == ("shortcut of stage 3",)
    expected, computed = (early(net, number=3)[:, : V3.widths[place]] for net in (source, network))
    assert not torch.allclose(expected, computed, rtol=0.01)


@pytest.mark.parametrize("what", ["hidden", "squeeze", "activation"])
def test_what_keeps_a_mobilenet_v3_from_being_the_same_function_is_said(what: str) -> None:
    target, losses = {
        "hidden": (replace(V3, head=replace(V3.head, hidden=0)), ("another hidden layer",)),
        "squeeze": (
            changed_stages(V3, squeeze="efficientnet"), tuple(f"kind of squeeze of stage {n}" for n in (1, 4, 5, 6, 7)),
        ),
        "activation": (changed_stages(V3, activation=None), tuple(f"activation of stage {n}" for n in (1, 2, 3))),
    }[what]  # fmt: skip
    source = trained(V3)
    network, plan = inherit(V3, source.state_dict(), target, seed=0)
    assert plan.losses == losses
    if what == "hidden":
        assert difference(source, pictures(V3), network, pictures(V3)) > TOLERANCE
    else:
        assert not torch.allclose(early(source, number=1), early(network, number=1), rtol=0.01)


def test_a_wider_hidden_layer_gives_the_same_logits() -> None:
    source = trained(V3)
    network, plan = inherit(V3, source.state_dict(), replace(V3, head=replace(V3.head, hidden=1030)), seed=0)
    assert plan.preserved
    assert difference(source, pictures(V3), network, pictures(V3)) < TOLERANCE


@pytest.mark.parametrize("squeeze", ["efficientnet", "mobilenet_v3"])
def test_new_gates_of_either_kind_start_constant(squeeze: str) -> None:
    spec = FAMILIES[3]
    source = trained(spec)
    target = changed_stages(spec, se_ratio=0.25, squeeze=squeeze)
    network, plan = inherit(spec, source.state_dict(), target, seed=0)
    assert plan.preserved
    assert difference(source, pictures(spec), network, pictures(spec)) < TOLERANCE


def test_a_shortcut_that_loses_its_projection_is_a_loss() -> None:
    target = RESNETS[0]
    spec = reshape(target, replace(shape_of(target), stem=6))
    source = trained(spec)
    network, plan = inherit(spec, source.state_dict(), target, seed=0)
    assert plan.losses == ("shortcut of stage 1",)
    assert "features.1.0.shortcut.0.weight" in plan.unused
    assert difference(source, pictures(spec), network, pictures(spec)) > TOLERANCE


def test_a_block_more_is_a_loss_where_activation_twice_is_not_activation_once() -> None:
    spec = replace(RESNETS[0], activation="silu")
    target = reshape(spec, replace(shape_of(spec), depths=(3, 1, 3, 2)))
    source = trained(spec)
    network, plan = inherit(spec, source.state_dict(), target, seed=0)
    assert plan.losses == ("depth of stage 1",)
    assert difference(source, pictures(spec), network, pictures(spec)) > TOLERANCE


@pytest.mark.parametrize("padding", ["same", "symmetric"])
@pytest.mark.parametrize("resolution", [32, 33])
def test_a_larger_kernel_gives_the_same_logits(padding: str, resolution: int) -> None:
    spec = replace(FAMILIES[1], padding=padding, resolution=resolution)
    source = trained(spec)
    network, plan = inherit(spec, source.state_dict(), changed_stages(spec, kernel=7), seed=0)
    assert plan.preserved
    assert difference(source, pictures(spec), network, pictures(spec)) < TOLERANCE


def test_new_squeeze_excitation_starts_as_a_constant_gate() -> None:
    spec = FAMILIES[3]
    source = trained(spec)
    network, plan = inherit(spec, source.state_dict(), changed_stages(spec, se_ratio=0.25), seed=0)
    assert plan.preserved
    assert {row.how for row in plan.tensors if ".fc1." in row.name} == {"fresh"}
    assert difference(source, pictures(spec), network, pictures(spec)) < TOLERANCE


def test_squeeze_excitation_left_out_is_replaced_by_its_gate_at_rest() -> None:
    spec = FAMILIES[1]
    source = trained(spec)
    plain = changed_stages(spec, se_ratio=0.0)
    network, plan = inherit(spec, source.state_dict(), plain, seed=0)
    assert not plan.preserved
    assert not plan.exact
    assert any(".fc1." in name for name in plan.unused)
    # with gates that do not look at the image the two are one function
    with torch.no_grad():
        for name, tensor in source.state_dict().items():
            if name.endswith(("fc1.weight", "fc2.weight")):
                tensor.zero_()
    network, _ = inherit(spec, source.state_dict(), plain, seed=0)
    assert difference(source, pictures(spec), network, pictures(spec)) < TOLERANCE


def test_one_channel_takes_the_sum_and_more_channels_are_not_seen() -> None:
    source = trained(SMALL)
    grey, plan = inherit(SMALL, source.state_dict(), replace(SMALL, in_channels=1), seed=0)
    one = pictures(replace(SMALL, in_channels=1))
    assert difference(source, one.expand(-1, 3, -1, -1), grey, one) < TOLERANCE
    assert not plan.preserved  # colours are gone
    five, plan = inherit(SMALL, source.state_dict(), replace(SMALL, in_channels=5), seed=0)
    images = pictures(replace(SMALL, in_channels=5))
    assert plan.preserved
    assert difference(source, images[:, :3], five, images) < TOLERANCE


@pytest.mark.parametrize("spec", [SMALL, *RESNETS], ids=lambda spec: spec.name)
def test_new_channels_and_blocks_learn(spec: NetSpec) -> None:
    target = replace(scale(spec, PAPER, 2, "efficientnet"), resolution=33)
    network, _ = inherit(spec, trained(spec).state_dict(), target, seed=0)
    optimizer = torch.optim.SGD(network.train().parameters(), lr=0.1)
    images, labels = torch.randn(8, 3, 33, 33), torch.arange(8) % 4
    for _ in range(2):  # what a zero scale hides shows after its first step
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(network(images), labels).backward()
        optimizer.step()
    still = [name for name, tensor in network.named_parameters() if tensor.grad is None or not tensor.grad.any()]
    assert still == []


@pytest.mark.parametrize("selection", ["batch_norm", "weight_norm", "leading"])
def test_a_narrower_target_keeps_the_important_channels(selection: Selection) -> None:
    source = trained(SMALL)
    state = source.state_dict()
    width = SMALL.head.width
    last = f"features.{len(SMALL.stages) + 1}"
    order = torch.arange(width).roll(5)
    state[f"{last}.1.weight"].copy_(1.0 + order)
    state[f"{last}.0.weight"].copy_(torch.ones_like(state[f"{last}.0.weight"]) * (1 + order).view(-1, 1, 1, 1))
    target = reshape(SMALL, replace(shape_of(SMALL), head=width - 6))
    network, plan = inherit(SMALL, state, target, seed=0, selection=selection)
    kept = torch.arange(width - 6) if selection == "leading" else torch.nonzero(order >= 6).flatten()
    assert torch.equal(network.state_dict()[f"{last}.1.weight"], state[f"{last}.1.weight"][kept])
    assert torch.equal(network.state_dict()["classifier.1.weight"], state["classifier.1.weight"][:, kept])
    assert (plan.preserved, plan.exact, plan.coverage) == (False, False, 1.0)
    assert {row.how for row in plan.tensors} == {"copied", "cut"}


def test_a_shallower_target_keeps_the_first_and_the_important_blocks() -> None:
    stage, depth = 3, 4
    deep = reshape(SMALL, replace(shape_of(SMALL), depths=(1, 2, depth, 2)))
    state = trained(deep).state_dict()
    norms = [
        [name for name in state if name.startswith(f"features.{stage}.{block}.") and name.endswith("running_mean")][-1]
        for block in range(depth)
    ]
    for number, name in enumerate(norms):  # names are in the order of the modules: the last one is the projection's
        state[name.replace("running_mean", "weight")].fill_(0.1 + number)
    _, plan = inherit(deep, state, SMALL, seed=0, selection="batch_norm")
    sources = {row.name: row.source for row in plan.tensors}
    assert sources[norms[0]] == norms[0]
    assert sources[norms[1]] == norms[-1]
    assert any(name.startswith(f"features.{stage}.1.") for name in plan.unused)


@pytest.mark.parametrize("target", FAMILIES, ids=lambda spec: spec.name)
@pytest.mark.parametrize("source", FAMILIES, ids=lambda spec: spec.name)
def test_any_family_inherits_from_any_other(source: NetSpec, target: NetSpec) -> None:
    network, plan = inherit(source, trained(source).state_dict(), target, seed=0)
    assert explains_everything(network, plan)
    assert torch.isfinite(logits(network, pictures(target))).all()
    related = {stage.block for stage in source.stages} == {stage.block for stage in target.stages}
    assert plan.coverage > (0.04 if related else 0)
    assert set(plan.unused) == set(source_names(source)) - {row.source for row in plan.tensors}


def source_names(spec: NetSpec) -> list[str]:
    return [name for name in build(spec).state_dict() if not name.endswith("num_batches_tracked")]


def test_other_classes_leave_the_classifier_fresh() -> None:
    state = trained(SMALL).state_dict()
    _, plan = inherit(SMALL, state, replace(SMALL, classes=7), seed=0)
    assert {row.how for row in plan.tensors if row.name.startswith("classifier")} == {"fresh"}
    assert "classifier.1.weight" in plan.unused
    assert plan.exact is False
    _, plan = inherit(SMALL, state, SMALL, seed=0, classifier=False)
    assert {row.how for row in plan.tensors if row.name.startswith("classifier")} == {"fresh"}


def test_a_backbone_without_a_classifier_is_enough() -> None:
    state = {name: tensor for name, tensor in trained(SMALL).state_dict().items() if not name.startswith("classifier")}
    _, plan = inherit(SMALL, state, replace(SMALL, classes=9), seed=0)
    assert (plan.exact, plan.coverage) == (True, 1.0)


@pytest.mark.parametrize("spec", [SMALL, *RESNETS, V3], ids=lambda spec: spec.name)
def test_parts_sum_up_the_plan(spec: NetSpec) -> None:
    _, plan = inherit(spec, trained(spec).state_dict(), scale(spec, PAPER, 1), seed=0)
    rows = list(parts(plan))
    stages = [f"stage {number}" for number in range(1, len(spec.stages) + 1)]
    ends = [*["head"] * bool(spec.head.width), *["hidden"] * bool(spec.head.hidden), "classifier"]
    assert [name for name, _, _ in rows] == ["stem", *stages, *ends]
    assert sum(sum(counts.values()) for _, counts, _ in rows) == len(plan.tensors)
    assert all(0 < share <= 1 for _, _, share in rows)
    assert plan.to_dict()["coverage"] == plan.coverage
