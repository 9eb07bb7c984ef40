from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from scalesearch.design.shape import reshape, shape_of
from scalesearch.design.space import load_space
from scalesearch.design.spec import NetSpec
from scalesearch.errors import UserError
from scalesearch.nets.expand import expand, preserves
from scalesearch.nets.modules import MBConvNet, build

SMALL = replace(load_space("mbconv_small").baseline, classes=4, resolution=16)
FAMILIES = [
    SMALL,
    *(replace(load_space(n).baseline, classes=4, resolution=33) for n in ("efficientnet_b0", "mobilenet_v2")),
]


def trained(spec: NetSpec) -> MBConvNet:
    """A network whose every tensor differs from its initial value, as after training."""
    network = build(spec, seed=0)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for tensor in network.state_dict().values():
            if tensor.is_floating_point():
                tensor.mul_(1 + 0.1 * torch.randn(tensor.shape, generator=generator).clamp(-3, 3)).add_(0.01)
    return network


def grown(spec: NetSpec, wider: int, deeper: int) -> NetSpec:
    shape = shape_of(spec)
    step = wider * spec.width_divisor
    return reshape(
        spec,
        replace(
            shape, stem=shape.stem + step, widths=tuple(w + step for w in shape.widths), head=shape.head + step,
            depths=tuple(d + deeper for d in shape.depths),
        ),
    )  # fmt: skip


def logits(network: MBConvNet, images: torch.Tensor) -> torch.Tensor:
    with torch.inference_mode():
        return network.eval()(images)


@pytest.mark.parametrize("spec", FAMILIES, ids=lambda spec: spec.name)
def test_wider_and_deeper_computes_the_same(spec: NetSpec) -> None:
    source, target = trained(spec), grown(spec, 1, 1)
    assert preserves(spec, target)
    images = torch.randn(2, 3, spec.resolution, spec.resolution)
    expected = logits(source, images)
    assert torch.allclose(logits(expand(source, target, seed=3), images), expected, rtol=1e-4, atol=1e-4)
    assert expected.std() > 1e-4
    assert not torch.allclose(logits(build(target, seed=3), images), expected, rtol=1e-3)


@settings(max_examples=10, deadline=None)
@given(st.lists(st.integers(0, 3), min_size=9, max_size=9))
def test_any_growth_computes_the_same(more: list[int]) -> None:
    shape = shape_of(SMALL)
    target = reshape(
        SMALL,
        replace(
            shape, stem=shape.stem + more[0], widths=tuple(w + m for w, m in zip(shape.widths, more[1:5], strict=True)),
            depths=tuple(d + m for d, m in zip(shape.depths, more[5:], strict=True)), head=shape.head + 7,
        ),
    )  # fmt: skip
    images = torch.randn(2, 3, 16, 16)
    source = trained(SMALL)
    assert torch.allclose(logits(expand(source, target, seed=0), images), logits(source, images), rtol=1e-4, atol=1e-4)


def test_the_same_spec_is_copied_bit_for_bit_and_the_source_stays() -> None:
    source = trained(SMALL)
    before = {name: tensor.clone() for name, tensor in source.state_dict().items()}
    copy = expand(source, SMALL, seed=5).state_dict()
    expand(source, grown(SMALL, 2, 1), seed=5)
    assert all(torch.equal(copy[name], tensor) for name, tensor in before.items())
    assert all(torch.equal(source.state_dict()[name], tensor) for name, tensor in before.items())


def test_new_channels_and_blocks_learn() -> None:
    network = expand(trained(SMALL), grown(SMALL, 1, 1), seed=0).train()
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    images, labels = torch.randn(8, 3, 16, 16), torch.arange(8) % 4
    for _ in range(2):  # what a zero scale hides shows after its first step
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(network(images), labels).backward()
        optimizer.step()
    still = [name for name, tensor in network.named_parameters() if tensor.grad is None or not tensor.grad.any()]
    assert still == []


def test_a_narrower_target_takes_the_leading_channels() -> None:
    target = reshape(SMALL, replace(shape_of(SMALL), widths=(12, 24, 40, 80)))
    assert not preserves(SMALL, target)
    source = trained(SMALL)
    found = expand(source, target, seed=0)
    name = "features.1.0.block.2.0.weight"
    assert torch.equal(found.state_dict()[name], source.state_dict()[name][:12])


@pytest.mark.parametrize(
    ("change", "named"),
    [({"classes": 5}, "classes"), ({"activation": "relu"}, "activation"), ({"stages": SMALL.stages[:3]}, "stages")],
)
def test_another_family_is_refused(change: dict[str, object], named: str) -> None:
    with pytest.raises(UserError, match=named):
        expand(build(SMALL, seed=0), replace(SMALL, **change), seed=0)  # type: ignore[arg-type]
