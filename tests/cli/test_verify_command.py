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
from tests.conftest import MakeFolder, noisy_images

SILENT = Listener(lambda done, total: None, lambda row, done, total: None)
VERIFY = ("verify", "--run", "run", "--members", 1, "--others", 0, "--seeds", 1, "--epochs", 4, "--jobs", 1)


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with images and a search of them."""
    folder = tmp_path_factory.mktemp("searched")
    search_in(folder / "run", noisy_images(folder / "images", images=60))
    return folder


@pytest.fixture
def root(searched: Path, tmp_path: Path) -> Path:
    """A copy of both for one test: its images."""
    shutil.copytree(searched, tmp_path, dirs_exist_ok=True)
    values = (tmp_path / "run" / "run.json").read_text()
    (tmp_path / "run" / "run.json").write_text(values.replace(str(searched), str(tmp_path)))
    return tmp_path / "images"


def search_in(folder: Path, root: Path, lr: float = 1e-2) -> None:
    """A search of the controls and the paper's triple."""
    data = dataset(open_data(str(root)), 40)
    baseline = replace(load_space("mbconv_small").baseline, classes=2, resolution=16)
    plan = SearchPlan(
        space="mbconv_small", baseline=baseline, grid=Grid(0.5, 0.3), rounding="budget", real_tolerance=None,
        target_macs=2e6, data=data.source.name, data_digest=data.digest, validation=len(data.validation),
        majority=data.majority, proxy=Proxy(baseline, 4, len(data.train)), device="cpu",
        train=TrainConfig(epochs=4, batch_size=8, lr=lr, warmup_epochs=1),
    )  # fmt: skip
    enumeration = plan.enumerate()
    assert all(candidate.control for candidate in enumeration.candidates)
    facts = run_facts(enumeration, data, "cpu", str(root))
    agenda = RaceAgenda(plan, enumeration.candidates, Race(4, 0))
    search(folder, agenda, data, facts, Workers(), SILENT)


def test_from_a_search_to_its_verification(cli: Cli, root: Path, tmp_path: Path) -> None:
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


@pytest.mark.usefixtures("root")
def test_bad_options_are_one_clear_error_and_leave_nothing(cli: Cli, tmp_path: Path) -> None:
    before = sorted((tmp_path / "run").iterdir())
    bad = [("--phi", value) for value in ("0", "1", "-2", "99", "nan")] + [("--run", "nowhere")]
    for option, value in bad:
        ended = cli("verify", "--run", "run", option, value)
        assert (ended.code, "Traceback" in ended.err) == (2, False)
        assert value in ended.err
    assert sorted((tmp_path / "run").iterdir()) == before


def test_a_search_without_a_candidate(cli: Cli, image_folder: MakeFolder, tmp_path: Path) -> None:
    search_in(tmp_path / "run", image_folder(), lr=1e-9)
    ended = cli(*VERIFY)
    assert ended.code == 2
    assert "no candidate was trained (the baseline is not clearly better than guessing" in ended.err


def test_nothing_searched(cli: Cli) -> None:
    ended = cli("verify")
    assert ended.code == 2
    assert "grid" in ended.err
