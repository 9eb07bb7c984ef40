"""Plain values made into dataclasses, and values that are not what their dataclasses declare."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import pytest

from scalesearch.design.space import load_space
from scalesearch.design.spec import BatchNorm, NetSpec, Stem
from scalesearch.errors import SpaceError, UserError
from scalesearch.typed import mistyped, parse

SPEC = load_space("resnet18").baseline


def test_what_is_declared_may_stand() -> None:
    assert mistyped(SPEC) == ""
    assert mistyped(replace(SPEC, dropout=0)) == ""


@pytest.mark.parametrize(
    ("changes", "where"),
    [
        ({"name": 3}, "name: 3"),
        ({"dropout": "0.2"}, 'dropout: "0.2"'),
        ({"dropout": float("nan")}, "dropout: nan"),
        ({"resolution": 32.0}, "resolution: 32.0"),
        ({"resolution": True}, "resolution: true"),
        ({"padding": "wide"}, 'padding: "wide"'),
        ({"stages": list(SPEC.stages)}, "stages: [Stage("),
        ({"stages": (*SPEC.stages, None)}, "stages[4]: null"),
        ({"stem": replace(SPEC.stem, width="8")}, 'stem.width: "8"'),
        ({"batch_norm": Stem(3)}, "batch_norm: Stem(width=3"),
        ({"batch_norm": BatchNorm(eps=[])}, "batch_norm.eps: []"),
    ],
)
def test_the_first_odd_field_is_named(changes: dict[str, Any], where: str) -> None:
    assert mistyped(replace(SPEC, **changes)).startswith(where)


@dataclass(frozen=True)
class Leaf:
    share: float
    kind: Literal["oak", "elm"] = "oak"


@dataclass(frozen=True)
class Tree:
    name: str
    rings: int
    leaves: tuple[Leaf, ...]
    span: tuple[int, int]
    best: Leaf | None = None
    counts: Mapping[str, int] | None = None
    spec: NetSpec | None = None

    def __post_init__(self) -> None:
        if self.rings > 1000:
            raise ValueError(f"{self.rings} rings")


TREE = {"name": "a", "rings": 3, "leaves": [{"share": 1}, {"share": 0.5, "kind": "elm"}], "span": [1, 2]}


def test_lists_become_tuples_and_tables_dataclasses() -> None:
    tree = parse(Tree, {**TREE, "best": {"share": 0.25}, "counts": {"x": 1}}, "tree.json", "a tree")
    assert tree == Tree("a", 3, (Leaf(1), Leaf(0.5, "elm")), (1, 2), Leaf(0.25), {"x": 1})
    assert isinstance(tree.leaves[0].share, int)  # as it stood: written again it is the same


def test_a_class_that_reads_itself_is_asked() -> None:
    assert parse(Tree, {**TREE, "spec": SPEC.to_dict()}, "tree.json", "a tree").spec == SPEC
    with pytest.raises(SpaceError, match=r"tree.json: spec: resolution = 3; expected"):
        parse(Tree, {**TREE, "spec": {**SPEC.to_dict(), "resolution": 3}}, "tree.json", "a tree")


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"name": None}, "tree.json: name: found null; expected text, in a tree"),
        ({"rings": 3.0}, "tree.json: rings: found 3.0; expected a whole number, in a tree"),
        ({"rings": True}, "tree.json: rings: found true; expected a whole number"),
        ({"leaves": 3}, "tree.json: leaves: found 3; expected a list"),
        ({"leaves": [{"share": "1"}]}, 'tree.json: leaves[0].share: found "1"; expected a number'),
        ({"leaves": [{"share": float("inf")}]}, "tree.json: leaves[0].share: found inf; expected a number"),
        ({"leaves": [{}]}, "tree.json: leaves[0].share: found nothing; expected a number"),
        ({"leaves": [{"share": 1, "kind": "ash"}]}, 'leaves[0].kind: found "ash"; expected "oak" or "elm"'),
        ({"span": [1]}, "tree.json: span: found 1 values; expected a list of 2 values"),
        ({"best": {"share": []}}, "tree.json: best.share: found []; expected a number"),
        ({"best": 7}, "tree.json: best: found 7; expected a table of values or null"),
        ({"counts": {"x": 0.5}}, "tree.json: counts.x: found 0.5; expected a whole number"),
        ({"height": 3}, "tree.json: height: found an unknown field; expected one of name, rings"),
        ({"rings": 2000}, "tree.json: found what cannot be (2000 rings)"),
    ],
)
def test_one_error_names_file_and_field(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(UserError) as caught:
        parse(Tree, {**TREE, **changes}, "tree.json", "a tree")
    assert says in str(caught.value)


def test_fields_of_later_versions_can_be_allowed() -> None:
    values = {**TREE, "height": 3, "best": {"share": 1, "colour": "red"}}
    assert parse(Tree, values, "tree.json", "a tree", extra=True).best == Leaf(1)


def test_other_than_a_table_is_refused() -> None:
    with pytest.raises(UserError, match=r"tree.json: found \[1\]; expected a table with name, rings"):
        parse(Tree, [1], "tree.json", "a tree")
