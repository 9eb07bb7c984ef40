import json
from pathlib import Path

import pytest

from scalesearch.design.cost import part_table
from scalesearch.design.space import load_space
from scalesearch.errors import UserError
from scalesearch.files import write_json
from scalesearch.units import parse_flops, show_count, show_seconds
from tests.cli.conftest import Cli
from tests.devices import made_up_table


def test_help_names_every_command_and_imports_nothing_heavy(cli: Cli) -> None:
    import subprocess
    import sys

    ended = cli("--help")
    assert ended.code == 0
    for name in ("baseline", "grid", "scale", "family", "finetune", "evaluate", "report", "paper"):
        assert name in ended.out
    code = (
        "import sys, scalesearch.cli.main; print([m for m in ('torch', 'numpy', 'optuna', 'rich') if m in sys.modules])"
    )
    listed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert listed.strip() == "[]"


def test_baseline(cli: Cli) -> None:
    ended = cli("baseline", "--target-flops", "400M", "--json")
    assert json.loads(ended.out)["macs"] == 385_814_752
    assert "385,814,752 multiply-adds" in cli("baseline").out
    counted = cli("baseline", "--fvcore").out
    assert "fvcore counts 385,814,752" in counted
    assert ".total(), with batch norm and pooling: 401,659,392" in counted


def test_scale_says_what_it_scales_by_and_writes_a_spec(cli: Cli, tmp_path: Path) -> None:
    ended = cli("scale", "--phi", 3, "--rounding", "efficientnet")
    assert ended.code == 0
    assert "Nothing was searched: the paper's coefficients" in ended.out
    assert "3,250,498,024 multiply-adds" in ended.out
    written = json.loads((tmp_path / "family" / "efficientnet_b0" / "b3.json").read_text())
    assert written["spec"]["resolution"] == 341


def test_scale_solves_for_flops_and_takes_coefficients(cli: Cli) -> None:
    found = json.loads(cli("scale", "--flops", "1.8G", "--json").out)
    assert abs(found["macs"] / 1.8e9 - 1) < 0.05
    own = json.loads(cli("scale", "--phi", 1, "--alpha", 2, "--beta", 1, "--gamma", 1, "--json").out)
    assert own["widths"] == [16, 24, 40, 80, 112, 192, 320]
    assert "given" in own["coefficients"]
    assert json.loads(cli("scale", "--phi", "-1.5", "--json").out)["ratio"] < 0.5


def test_a_member_far_from_its_baseline_comes_with_a_caution(cli: Cli) -> None:
    far = cli("scale", "--space", "mbconv_small", "--flops", "1.8G").out
    assert "whether coefficients hold so far from the size that they were found at is not known" in " ".join(
        far.split()
    )
    assert "not known" not in cli("scale", "--phi", 7).out


def test_family_and_published_are_apart(cli: Cli) -> None:
    derived = json.loads(cli("family", "--json").out)["members"]
    released = json.loads(cli("family", "--published", "--json").out)["members"]
    assert [m["name"] for m in derived] == [f"b{n}" for n in range(7)]
    assert released[7]["macs"] == 37_745_884_192
    assert released[3]["phi"] is None


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("scale",), "--phi 3"),
        (("scale", "--phi", "1", "--flops", "1G"), "give one of --phi, --flops and --latency"),
        (("scale", "--phi", "1", "--alpha", "0.9", "--beta", "1", "--gamma", "1"), "--alpha: 0.9 is not a number from"),
        (("scale", "--phi", "1", "--alpha", "1.2"), "--beta, --gamma"),
        (("scale", "--phi", "1000"), "--phi: 1000 is not a number from -300 to 300"),
        (("scale", "--phi", "inf"), "--phi: inf is not a number from"),
        (("scale", "--phi", "nan"), "--phi: nan is not a number from"),
        (("baseline", "--space", ""), "--space"),
        (("scale", "--flops", "many"), '--flops: "many" is not a number of multiply-adds'),
        (("baseline", "--target-flops", "1"), "--target-flops"),
        (("baseline", "--target-flops", "900T"), "--target-flops"),
        (("baseline", "--space", "efficientnet"), 'Did you mean "efficientnet_b0"'),
        (("scale", "--phi", "1", "--run", "nowhere"), "scalesearch grid"),
        (("family", "--published", "--space", "mbconv_small"), "--published"),
        (("scale", "--phi", "1", "--out", "/proc/nowhere/x.json"), "/proc/nowhere/x.json"),
    ],
)
def test_bad_input_is_one_line_and_exit_2(cli: Cli, arguments: tuple[str, ...], says: str) -> None:
    ended = cli(*arguments)
    assert ended.code == 2
    assert says in ended.err
    assert "Traceback" not in ended.err
    assert len(ended.err.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("text", "value"),
    [("400M", 4e8), ("1.8G", 1.8e9), ("0.39B", 3.9e8), ("2e9", 2e9), ("500k", 5e5), ("7 MFLOPs", 7e6)],
)
def test_flops_as_people_write_them(text: str, value: float) -> None:
    assert parse_flops(text, "--flops") == pytest.approx(value)


@pytest.mark.parametrize("text", ["", "M", "-4M", "4MM", "nan", "1e99", "0"])
def test_flops_that_are_none(text: str) -> None:
    with pytest.raises(UserError, match="--flops"):
        parse_flops(text, "--flops")


def test_numbers_as_people_read_them() -> None:
    assert [show_count(v) for v in (385_814_752, 1.83e9, 999_600, 12)] == ["386M", "1.83G", "1M", "12"]
    assert [show_seconds(v) for v in (45, 720, 12_240)] == ["45 s", "12 min", "3.4 h"]


def test_stages_of_b0_as_printed() -> None:
    lines = part_table(load_space("efficientnet_b0").baseline, "b0").texts[:-1]
    # Tan & Le 2019, table 1: channels, layers and resolutions of B0's stages
    assert [line[3] for line in lines] == ["32", "16", "24", "40", "80", "112", "192", "320", "1280"]
    assert [line[4] for line in lines] == ["", "1", "2", "2", "3", "3", "4", "1", ""]
    assert [line[5] for line in lines[:-1]] == ["112", "112", "56", "28", "14", "14", "7", "7"]
    assert lines[1][1] == "MBConv1 3×3 /1"


def test_stages_of_resnet50_as_printed() -> None:
    lines = part_table(load_space("resnet50").baseline, "resnet50").texts[:-1]
    # He et al. 2015, table 1
    assert [line[3] for line in lines] == ["64", "256", "512", "1024", "2048", "2048"]
    assert [line[5] for line in lines[:-1]] == ["56", "56", "28", "14", "7"]
    assert [line[1] for line in (lines[0], lines[1], lines[-1])] == [
        "conv 7×7 /2, max-pool 3×3 /2", "bottleneck ×0.25 3×3 /1", "pool, linear",
    ]  # fmt: skip


@pytest.mark.parametrize("space", ["resnet50", "mobilenet_v3_large"])
def test_other_families_have_members_too(cli: Cli, space: str) -> None:
    ended = cli("family", "--space", space, "--json")
    assert ended.code == 0, ended.err
    ratios = [member["ratio"] for member in json.loads(ended.out)["members"]]
    assert ratios == pytest.approx([(1.2 * 1.1**2 * 1.15**2) ** phi for phi in range(7)], rel=0.05)


def test_a_spec_that_could_not_be_read_back_is_not_written(cli: Cli) -> None:
    ended = cli("scale", "--phi", 1, "--out", "b1.toml")
    assert ended.code == 2
    assert "b1.toml does not end in .json" in ended.err
    assert not Path("b1.toml").exists()


def test_other_coefficients_do_not_replace_a_member(cli: Cli) -> None:
    first = ("scale", "--space", "resnet50", "--phi", 1)
    others = ("--alpha", 1.4, "--beta", 1.1, "--gamma", 1.1)
    file = Path("family/resnet50/b1.json")
    assert cli(*first).code == 0
    kept = file.read_bytes()
    assert cli(*first).code == 0  # the same again
    ended = cli(*first, *others)
    assert ended.code == 2
    assert ended.out == ""
    assert (
        f"{file}: it holds b1 by α 1.2, β 1.1, γ 1.15 (budget rounding): 7.85G FLOPs; b1 by α 1.4, β 1.1, γ 1.1 "
        "(budget rounding), 8.36G FLOPs, would replace it. Name another file with --out, or delete this one."
    ) in ended.err
    assert cli(*first, "--rounding", "efficientnet").code == 2
    assert file.read_bytes() == kept
    assert cli(*first, *others, "--out", "other.json").code == 0
    assert cli(*first, "--out", "other.json").code == 0  # the very file that was named, as with every command
    assert Path("other.json").read_bytes() == kept


def test_a_family_is_written_whole_or_not_at_all(cli: Cli) -> None:
    """b0 is the same whatever the coefficients; b1 would be another."""
    assert cli("family", "--space", "resnet50", "--largest", 2).code == 0
    folder = Path("family/resnet50")
    kept = {path.name: path.read_bytes() for path in folder.iterdir()}
    others = ("family", "--space", "resnet50", "--alpha", 1.4, "--beta", 1.1, "--gamma", 1.1)
    ended = cli(*others)
    assert ended.code == 2
    assert "b1.json: it holds b1 by α 1.2, β 1.1, γ 1.15" in ended.err
    assert "Name another folder with --out" in ended.err
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == kept
    ended = cli(*others, "--out", "deeper", "--largest", 1)
    assert ended.code == 0, ended.err
    assert "Written: deeper/b0.json to b1.json" in ended.out
    assert "finetune --model deeper/b1.json" in ended.out + ended.err
    assert sorted(path.name for path in Path("deeper").iterdir()) == ["b0.json", "b1.json"]
    assert cli("family", "--published", "--out", "deeper").code == 2


def test_a_member_of_an_earlier_version_is_not_replaced_either(cli: Cli) -> None:
    file = Path("family/efficientnet_b0/b1.json")
    file.parent.mkdir(parents=True)
    write_json(file, {"format": 1, "spec": load_space("mbconv_small").baseline.to_dict()})
    ended = cli("scale", "--phi", 1)
    assert ended.code == 2
    assert "by coefficients that it does not state: 6.81M FLOPs; b1 by α 1.2" in ended.err
    file.write_text("{}")
    assert "it is not a network's spec" in cli("scale", "--phi", 1).err


def test_families_and_members_of_a_sized_baseline(cli: Cli) -> None:
    sized = ("--space", "mbconv_small", "--target-flops", "2M", "--json")
    first = json.loads(cli("family", "--largest", 1, *sized).out)["members"][0]
    assert first["macs"] == json.loads(cli("baseline", *sized).out)["macs"]
    assert json.loads(cli("scale", "--phi", 0, *sized).out)["macs"] == first["macs"]
    assert Path("family/mbconv_small-2M/b1.json").exists()
    assert "has the size that it was searched at" in cli("family", "--run", "runs/x", "--target-flops", "2M").err


def test_a_baseline_of_another_budget_says_its_cost(cli: Cli, tmp_path: Path) -> None:
    table, small = tmp_path / "device.json", ("baseline", "--space", "mbconv_small", "--classes", 10)
    made_up_table(["mbconv_small"]).write(table)
    timed = cli(*small, "--budget", "latency", "--target", "1ms", "--device-table", table).out.replace("\n", " ")
    assert "Predicted latency: 1" in timed
    assert " ms, by a table of torch 2.15.0 on a made-up processor" in timed
    assert f"grid --space mbconv_small --budget latency --target 1ms --device-table {table} --data PATH" in timed
    held = cli(*small, "--budget", "memory", "--runtime", "board", "--target", "100kB").out
    assert "kB, calculated for board" in held
