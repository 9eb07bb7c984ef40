import json
from dataclasses import replace
from pathlib import Path

import pytest

from scalesearch.design.cost import cost
from scalesearch.design.family import Origin, family, member, named_spec, phi_of, read_spec, replaced, write_spec
from scalesearch.design.scaling import PAPER, Coefficients, scale
from scalesearch.design.space import load_space
from scalesearch.errors import UserError

B0 = load_space("efficientnet_b0").baseline
DOUBLING = replace(PAPER, growth=2.0)


def test_family_doubles_at_each_step() -> None:
    members = family(B0, DOUBLING, "budget")
    assert [m.name for m in members] == ["b0", "b1", "b2", "b3", "b4", "b5", "b6"]
    for m in members:
        assert abs(m.ratio / 2**m.phi - 1) < 0.05
    assert members[0].spec.digest == B0.digest


def test_a_members_name_states_its_phi() -> None:
    named = {"b3": 3.0, "phi2.5": 2.5, "b_phi-1": -1.0, "efficientnet_b3": None, "b3.json": None, "resnet18": None}
    assert {name: phi_of(name) for name in named} == named


@pytest.mark.parametrize(
    ("name", "macs"), [("efficientnet_b3", 1_827_141_392), ("b0", 385_814_752), ("efficientnet_b0", 385_814_752)]
)
def test_names_of_published_and_derived_are_apart(name: str, macs: int) -> None:
    assert cost(named_spec(name, B0, PAPER, "efficientnet")).macs == macs


def test_derived_names() -> None:
    assert named_spec("b3", B0, PAPER, "efficientnet").digest == scale(B0, PAPER, 3, "efficientnet").digest
    assert named_spec("phi2.5", B0, PAPER, "budget").digest == scale(B0, PAPER, 2.5).digest
    assert named_spec("phi-1", B0, PAPER, "budget").resolution < 224
    assert member(B0, PAPER, 2.5, "budget").name == "b_phi2.5"


def test_spec_files_round_trip(tmp_path: Path) -> None:
    path = write_spec(tmp_path / "b2.json", scale(B0, PAPER, 2))
    assert read_spec(path) == scale(B0, PAPER, 2)
    assert named_spec(str(path), B0, PAPER, "budget") == scale(B0, PAPER, 2)


@pytest.mark.parametrize("name", ["b", "b-1", "x3", "phi", "efficientnet_b9", ""])
def test_unknown_names(name: str) -> None:
    with pytest.raises(UserError, match="--model"):
        named_spec(name, B0, PAPER, "budget")


@pytest.mark.parametrize("content", ["", "[]", '{"format": 1}', '{"format": 1, "spec": {"name": 3}}', '{"format": 2}'])
def test_damaged_spec_files(tmp_path: Path, content: str) -> None:
    path = tmp_path / "x.json"
    path.write_text(content)
    with pytest.raises(UserError, match=r"x\.json"):
        read_spec(path)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("activation", "swish"),
        ("resolution", 0),
        ("resolution", 23.5),
        ("stages", []),
        ("dropout", 7),
        ("name", "../x"),
    ],
)
def test_spec_files_are_checked_like_spaces(tmp_path: Path, key: str, value: object) -> None:
    path = tmp_path / "x.json"
    path.write_text(json.dumps({"format": 1, "spec": B0.to_dict() | {key: value}}))
    with pytest.raises(UserError, match=key):
        read_spec(path)


def test_a_network_of_terabytes_is_refused() -> None:
    with pytest.raises(UserError, match="GB"):
        member(B0, Coefficients(1, 1.4, 1), 11, "efficientnet")


def test_a_search_that_went_on_replaces_its_own_and_nobody_else_s(tmp_path: Path) -> None:
    first, second = scale(B0, PAPER, 1), scale(B0, PAPER, 2)
    searched, given = Origin("α 1.3", searched=True), Origin("α 1.2")
    file = tmp_path / "b1.json"
    assert replaced(file, first, searched, "") == ""
    write_spec(file, first, searched)
    assert replaced(file, second, Origin("α 1.1", searched=True), "") == "α 1.3"
    assert replaced(file, first, given, "") == ""
    with pytest.raises(UserError, match=r"by α 1\.3: .* by α 1\.2, .* would replace it\. Mend it\."):
        replaced(file, second, given, "Mend it.")
    write_spec(file, first, given)
    with pytest.raises(UserError, match="would replace it"):
        replaced(file, second, searched, "")
    assert read_spec(file) == first
