import pytest

from scalesearch.design.cost import cost, parts
from scalesearch.design.space import load_space, space_names


@pytest.mark.parametrize("name", space_names())
def test_parts_add_up_to_the_network(name: str) -> None:
    spec = load_space(name).baseline
    found = parts(spec)
    for what in ("macs", "params", "activations"):
        assert sum(getattr(part.cost, what) for part in found) == getattr(cost(spec), what)
    assert sum(part.depth for part in found[1:-1]) == sum(spec.depths)


def test_sizes_follow_the_strides() -> None:
    found = parts(load_space("efficientnet_b0").baseline)
    assert [part.size for part in found] == [112, 112, 56, 28, 14, 14, 7, 7, 1]
    assert found[2].block == "MBConv6 3×3 /2"
