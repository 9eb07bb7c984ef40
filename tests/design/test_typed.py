"""Values that are not what their dataclasses declare."""

from dataclasses import replace
from typing import Any

import pytest

from scalesearch.design.space import load_space
from scalesearch.design.spec import BatchNorm, Stem
from scalesearch.design.typed import mistyped

SPEC = load_space("resnet18").baseline


def test_what_is_declared_may_stand() -> None:
    assert mistyped(SPEC) == ""
    assert mistyped(replace(SPEC, dropout=0)) == ""


@pytest.mark.parametrize(
    ("changes", "where"),
    [
        ({"name": 3}, "name: int"),
        ({"dropout": "0.2"}, "dropout: str, no number"),
        ({"dropout": float("nan")}, "dropout: float, no number"),
        ({"resolution": 32.0}, "resolution: float, no number"),
        ({"resolution": True}, "resolution: bool, no number"),
        ({"padding": "wide"}, "padding: 'wide'"),
        ({"stages": list(SPEC.stages)}, "stages: list"),
        ({"stages": (*SPEC.stages, None)}, "stages[4]: NoneType"),
        ({"stem": replace(SPEC.stem, width="8")}, "stem.width: str, no number"),
        ({"batch_norm": Stem(3)}, "batch_norm: Stem"),
        ({"batch_norm": BatchNorm(eps=[])}, "batch_norm.eps: list, no number"),
    ],
)
def test_the_first_odd_field_is_named(changes: dict[str, Any], where: str) -> None:
    assert mistyped(replace(SPEC, **changes)) == where
