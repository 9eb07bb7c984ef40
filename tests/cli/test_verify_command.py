"""``scalesearch verify`` as a user types it."""

import json
import re
import shutil
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from scalesearch.data.dataset import dataset, open_data
from scalesearch.design.space import Grid, load_space
from scalesearch.errors import UserError
from scalesearch.running.carry_out import Listener
from scalesearch.running.provenance import run_facts
from scalesearch.running.search import RaceAgenda, search
from scalesearch.running.workers import Workers
from scalesearch.study.config import TrainConfig
from scalesearch.study.plan import SearchPlan
from scalesearch.study.proxy import Proxy
from scalesearch.study.race import Race
from scalesearch.study.verification import read_verifications
from tests.cli.conftest import Cli
from tests.conftest import MakeFolder

SILENT = Listener(lambda done, total: None, lambda row, done, total: None)
VERIFY = ("verify", "--run", "run", "--members", 1, "--others", 0, "--seeds", 1, "--epochs", 1, "--jobs", 1)


def search_in(folder: Path, root: Path) -> None:
    """A search of the controls and the paper's triple, one epoch each."""
    data = dataset(open_data(str(root)), 40)
    baseline = replace(load_space("mbconv_small").baseline, classes=2, resolution=8)
    plan = SearchPlan(
        space="mbconv_small", baseline=baseline, grid=Grid(0.5, 0.3), rounding="budget", real_tolerance=None,
        target_macs=2e6, data=data.source.name, data_digest=data.digest, validation=len(data.validation), majority=0.0,
        proxy=Proxy(baseline, 1, 32), train=TrainConfig(epochs=1, batch_size=16, lr=3e-3, warmup_epochs=0),
        device="cpu",
    )  # fmt: skip
    enumeration = plan.enumerate()
    assert all(candidate.control for candidate in enumeration.candidates)
    facts = run_facts(enumeration, data, "cpu", str(root))
    agenda = RaceAgenda(plan, enumeration.candidates, Race(1, 0))
    search(folder, agenda, data, facts, Workers(), SILENT)


def test_from_a_search_to_its_verification(cli: Cli, image_folder: MakeFolder, tmp_path: Path) -> None:
    root = image_folder(images=12)
    search_in(tmp_path / "run", root)
    dry = json.loads(cli(*VERIFY, "--dry-run", "--json").out)
    assert [network["control"] for network in dry] == ["depth", "width", "resolution", "paper"]
    assert not (tmp_path / "run" / "verify-phi2").exists()
    ended = cli(*VERIFY)
    assert ended.code == 0, ended.err
    assert "4 networks at φ = 2" in ended.out
    assert "4/4" in ended.out
    assert re.search(r"Kendall's τ (−?\d\.\d\d \(95 % interval|not defined)", ended.out)
    assert "picked by their scores" in ended.out
    kept = json.loads((tmp_path / "run" / "verify-phi2" / "verify.json").read_text())
    assert len(kept["networks"]) == 4
    assert json.loads(cli(*VERIFY, "--json").out)["networks"] == kept["networks"]
    (found,) = read_verifications(tmp_path / "run")
    assert {"format": 1, **json.loads(json.dumps(asdict(found)))} == kept
    (tmp_path / "run" / "verify-phi9").mkdir()
    (tmp_path / "run" / "verify-phi9" / "verify.json").write_text(json.dumps({**kept, "networks": [{}]}))
    with pytest.raises(UserError, match=r"verify-phi9.*networks\[0\]"):
        read_verifications(tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / "verify-phi9")
    for ending in ("png", "svg"):
        assert (tmp_path / "run" / "verify-phi2" / f"transfer.{ending}").stat().st_size > 1000

    next(root.rglob("*.png")).unlink()
    changed = cli(*VERIFY)
    assert changed.code == 2
    assert "searched on" in changed.err


def test_bad_options_are_one_clear_error_and_leave_nothing(cli: Cli, image_folder: MakeFolder, tmp_path: Path) -> None:
    search_in(tmp_path / "run", image_folder())
    before = sorted((tmp_path / "run").iterdir())
    bad = [("--phi", value) for value in ("0", "1", "-2", "99", "nan")] + [("--run", "nowhere")]
    for option, value in bad:
        ended = cli("verify", "--run", "run", option, value)
        assert (ended.code, "Traceback" in ended.err) == (2, False)
        assert value in ended.err
    assert sorted((tmp_path / "run").iterdir()) == before


def test_nothing_searched(cli: Cli) -> None:
    ended = cli("verify")
    assert ended.code == 2
    assert "grid" in ended.err
