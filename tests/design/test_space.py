import json
import subprocess
import sys
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest

from scalesearch.design.scaling import published_name, published_spec
from scalesearch.design.space import load_space, space_names, spaces_folder
from scalesearch.design.spec import LATER, NetSpec
from scalesearch.errors import SpaceError, UserError
from tests.nets.specs import efficientnet_v2_s, mnasnet_b1

DIGESTS = json.loads((Path(__file__).parent.parent / "golden" / "digests.json").read_text())["digests"]
GOOD = (spaces_folder() / "mbconv_small.toml").read_text()


def test_shipped_spaces() -> None:
    assert set(space_names()) >= {"efficientnet_b0", "efficientnet_lite0", "mobilenet_v2", "mbconv_small"}
    for name in space_names():
        space = load_space(name)
        assert space.name == name
        assert NetSpec.from_dict(space.baseline.to_dict()) == space.baseline


def test_digest_is_of_the_architecture_not_the_name() -> None:
    spec = load_space("mbconv_small").baseline
    assert replace(spec, name="other").digest == spec.digest
    assert replace(spec, padding="same").digest != spec.digest


@pytest.mark.parametrize("name", DIGESTS)
def test_digests_on_disk_stay_valid(name: str) -> None:
    specs = {space.name: space.baseline for space in map(load_space, space_names())}
    specs |= {
        published_name(space, member.name): published_spec(space, member.name)
        for space in map(load_space, space_names())
        for member in space.published
    }
    specs |= {spec.name: spec for spec in (mnasnet_b1(), efficientnet_v2_s())}
    assert specs[name].digest == DIGESTS[name]


def test_younger_fields_are_written_only_where_they_say_something() -> None:
    plain = json.dumps(load_space("efficientnet_b0").baseline.to_dict())
    assert [field for field in LATER[:1] + LATER[2:] if f'"{field}"' in plain] == []
    assert plain.count('"activation"') == 1  # the network's own, which is older
    resnet = load_space("resnet18").baseline
    assert resnet.to_dict()["stem"]["max_pool"] is True
    assert replace(resnet, stem=replace(resnet.stem, max_pool=False)).digest != resnet.digest


def test_a_stage_has_the_rules_of_its_block(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    text = (spaces_folder() / "resnet18.toml").read_text()
    bare = text.replace("expand_ratio = 1\n", "")
    path.write_text(bare)
    assert load_space(str(path)).baseline == load_space("resnet18").baseline
    path.write_text(bare.replace('"basic"', '"bottleneck"'))
    assert {(s.expand_ratio, s.se_ratio) for s in load_space(str(path)).baseline.stages} == {(0.25, 0)}
    path.write_text(text.replace("depth = 2", "depth = 2\nse_ratio = 0.25", 1))
    with pytest.raises(SpaceError, match=r"stages\[0\].se_ratio: 0.25 is not 0: a ResNet's block has no"):
        load_space(str(path))
    path.write_text(GOOD.replace("expand_ratio = 4", "expand_ratio = 0.25"))
    with pytest.raises(SpaceError, match=r"stages\[1\].expand_ratio: 0.25 is not a number from 1 to 32\."):
        load_space(str(path))
    path.write_text(text.replace('"basic"', '"basics"', 1))
    with pytest.raises(SpaceError, match=r'stages\[0\].block: "basics" is not one of "mbconv"'):
        load_space(str(path))


def test_five_mistakes_are_reported_at_once(tmp_path: Path) -> None:
    bad = (
        GOOD.replace('activation = "silu"', 'activation = "swish"')
        .replace("resolution = 32", "resolution = 32.5\nresolutoin = 32")
        .replace("kernel = 3\nstride = 1\nexpand_ratio = 4", "kernel = 4\nstride = 1\nexpand_ratio = 4", 1)
        .replace("[head]\nwidth = 320", "[head]")
    )
    tomllib.loads(bad)  # well-formed: the mistakes are ours to find
    path = tmp_path / "mine.toml"
    path.write_text(bad)
    with pytest.raises(SpaceError) as error:
        load_space(str(path))
    text = str(error.value)
    assert len(error.value.mistakes) == 5
    assert f'{path}: activation: "swish" is not one of "silu", "relu6"' in text
    assert f"{path}: stages[1].kernel: 4 is not an odd whole number from 1 to 15." in text
    assert 'resolutoin: there is no such key. Did you mean "resolution"?' in text
    assert "resolution: 32.5 is not a whole number" in text
    assert "head.width is missing; it must be a whole number" in text


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("name = ", "Invalid"),
        ("stages = 3\n", "stages: 3 is not a list of [[stages]] tables"),
        ("", "stages: at least one [[stages]] table is needed"),
        ("[stem]\nwidth = 1e400", "inf is not a whole number"),
        ('stem = "x"', 'stem: "x" is not a table'),
        ("width_divisor = true", "true is not a whole number"),
        ("resolution = 99999999999", "from 8 to 4096"),
        ("batch_norm = {eps = nan}", "batch_norm.eps"),
        ("[[stages]]\n[[stages]]\nwidth=1", "stages[0].width is missing"),
    ],
)
def test_malformed_files_are_one_clear_error(tmp_path: Path, content: str, says: str) -> None:
    path = tmp_path / "bad.toml"
    path.write_text(content)
    with pytest.raises(UserError) as error:
        load_space(str(path))
    assert says in str(error.value)


def test_binary_file_and_missing_file(tmp_path: Path) -> None:
    path = tmp_path / "photo.toml"
    path.write_bytes(bytes(range(256)))
    with pytest.raises(UserError, match=r"photo\.toml"):
        load_space(str(path))
    with pytest.raises(UserError, match='Did you mean "efficientnet_b0"'):
        load_space("efficientnet-b0")


def test_design_imports_no_torch() -> None:
    code = (
        "import sys, scalesearch.design.candidates, scalesearch.design.scaling;"
        "print([m for m in ('torch', 'optuna', 'matplotlib', 'pandas') if m in sys.modules])"
    )
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
    )


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("#" * 100_000_000, "at most 32 kB, and this file has 100 MB"),
        ("resolution = " + "9" * 5000, "4300 digits"),
        ("width_divisor = 1" + "0" * 400, "a number of more than 60 digits"),
        ("stem = " + "[" * 300 + "]" * 300, "is not a table"),
        ("x = " + "[" * 5000, "is not TOML .*(nested too deeply|recursion|depth)"),
        ("a" + ".a" * 3000 + " = 1", "there is no such key"),
        ('"\\u001b[31m" = 1', r"\\x1b\[31m: there is no such key"),
        ('name = "\\u001b[31m"', r'"\\x1b\[31m"'),
        ("[[stages]]\n" * 2000, "2000 tables are more than 64"),
        ("\n".join(f"k{n} = 1" for n in range(2000)), "more mistakes"),
    ],
)
def test_absurd_files_are_one_short_printable_error(tmp_path: Path, content: str, says: str) -> None:
    path = tmp_path / "bad.toml"
    path.write_text(content)
    with pytest.raises(UserError, match=says) as error:
        load_space(str(path))
    assert len(str(error.value)) < 4000
    assert str(error.value).replace("\n", "").isprintable()
