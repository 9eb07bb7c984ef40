"""Plain values made into dataclasses, and values that are not what their dataclasses declare."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import pytest

from scalesearch.design.space import load_space
from scalesearch.design.spec import NetSpec
from scalesearch.errors import SpaceError, UserError
from scalesearch.typed import parse

SPEC = load_space("resnet18").baseline


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
    with pytest.raises(SpaceError, match=r"tree.json: spec: resolution: 3 is not a whole number from 8"):
        parse(Tree, {**TREE, "spec": {**SPEC.to_dict(), "resolution": 3}}, "tree.json", "a tree")


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"name": None}, "tree.json: name: a tree should have text here, not null."),
        ({"name": 3}, "tree.json: name: a tree should have text here, not 3."),
        ({"rings": 3.0}, "tree.json: rings: a tree should have a whole number here, not 3.0."),
        ({"rings": True}, "tree.json: rings: a tree should have a whole number here, not true."),
        ({"leaves": 3}, "tree.json: leaves: a tree should have a list here, not 3."),
        ({"leaves": [None]}, "tree.json: leaves[0]: a tree should have a table with share, kind here, not null."),
        ({"leaves": [{"share": "1"}]}, 'tree.json: leaves[0].share: a tree should have a number here, not "1".'),
        (
            {"leaves": [{"share": float("inf")}]},
            "leaves[0].share: a tree should have a number here, not inf.",
        ),
        (
            {"leaves": [{"share": float("nan")}]},
            "leaves[0].share: a tree should have a number here, not nan.",
        ),
        ({"leaves": [{}]}, "tree.json: leaves[0].share: a tree should have a number here, but the field is missing."),
        (
            {"leaves": [{"share": 1, "kind": "ash"}]},
            '[0].kind: a tree should have "oak" or "elm" here, not "ash".',
        ),
        ({"span": [1]}, "tree.json: span: a tree should have a list of 2 values here, not of 1."),
        ({"best": {"share": []}}, "tree.json: best.share: a tree should have a number here, not []."),
        ({"best": 7}, "tree.json: best: a tree should have a table of values or null here, not 7."),
        ({"counts": {"x": 0.5}}, "tree.json: counts.x: a tree should have a whole number here, not 0.5."),
        ({"height": 3}, "tree.json: height: a tree should have no such field, only name, rings"),
        ({"rings": 2000}, "tree.json: a tree should have values that go together (2000 rings)."),
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
    with pytest.raises(UserError, match=r"json: a tree should have a table with name, rings, .* here, not \[1\]\."):
        parse(Tree, [1], "tree.json", "a tree")
