"""``scalesearch verify`` as a user types it."""

import json
import re
import shutil
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from scalesearch.data.dataset import dataset, open_data
from scalesearch.design.space import Grid, load_space
from scalesearch.errors import UserError
from scalesearch.reports import words
from scalesearch.running.carry_out import Listener
from scalesearch.running.provenance import run_facts
from scalesearch.running.search import RaceAgenda, search
from scalesearch.running.workers import Workers
from scalesearch.study.config import TrainConfig
from scalesearch.study.plan import SearchPlan
from scalesearch.study.proxy import Proxy
from scalesearch.study.race import Race, Rung
from scalesearch.study.statistics import Interval, Regret
from scalesearch.study.verification import SizeComparison, Verification, read_verifications
from tests.cli.conftest import Cli
from tests.conftest import MakeFolder

SILENT = Listener(lambda done, total: None, lambda row, done, total: None)
VERIFY = ("verify", "--run", "run", "--members", 1, "--beaten", 0, "--seeds", 1, "--epochs", 1, "--jobs", 1)


def search_in(folder: Path, root: Path) -> None:
    """A search of three networks, the controls, one epoch each."""
    data = dataset(open_data(str(root)), 40)
    plan = SearchPlan(
        space="mbconv_small", baseline=replace(load_space("mbconv_small").baseline, classes=2, resolution=8),
        grid=Grid(0.5, 0.3), rounding="budget", real_tolerance=None, target_macs=2e6, data=data.source.name,
        data_digest=data.digest, validation=len(data.validation), proxy=Proxy(1.0, 1, 32),
        train=TrainConfig(epochs=1, batch_size=16, lr=3e-3, warmup_epochs=0), device="cpu",
    )  # fmt: skip
    enumeration = plan.enumerate()
    assert all(candidate.control for candidate in enumeration.candidates)
    facts = run_facts(enumeration, data, "cpu", str(root))
    agenda = RaceAgenda(plan, enumeration.candidates, (Race((Rung(1, 1, 1.0),)),))
    search(folder, agenda, data, facts, Workers(), SILENT)


def test_from_a_search_to_its_verification(cli: Cli, image_folder: MakeFolder, tmp_path: Path) -> None:
    root = image_folder(images=12)
    search_in(tmp_path / "run", root)
    dry = json.loads(cli(*VERIFY, "--dry-run", "--json").out)
    assert [network["control"] for network in dry] == ["depth", "width", "resolution"]
    assert not (tmp_path / "run" / "verify-phi2").exists()
    ended = cli(*VERIFY)
    assert ended.code == 0, ended.err
    assert "3 networks at φ = 2" in ended.out
    assert "3/3" in ended.out
    assert re.search(r"Kendall's τ (−?\d\.\d\d \(95 % interval|not defined)", ended.out)
    assert "picked by their scores" in ended.out
    kept = json.loads((tmp_path / "run" / "verify-phi2" / "verify.json").read_text())
    assert len(kept["networks"]) == 3
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


def network(name: str) -> SizeComparison:
    at = Interval(0.5, 0.4, 0.6)
    return SizeComparison(name, "", "member", 4.0, 100, 32, at, at, 1, 1, 1, 1, 0.5)


FOUND = Verification(
    phi=2.0, epochs=6, epochs_at_one=6, full_epochs=6, fully_trained=True, images=100, classes=10,
    networks=(network("c001"), network("c002")), failed=(), recommended="c001", best="c002",
    tau=Interval(0.5, 0.1, 0.9), repeat_tau=0.7, regret=Regret(1, 0.02, 0.02, 0.01, 0.03), seed_sd=None,
)  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "says", "says_not"),
    [
        ({}, "c002 beats c001", "not show"),
        ({}, "carries over, as far as 2 networks tell", "wide"),
        ({"tau": Interval(0.5, -0.1, 0.9)}, "wide and contains 0", "as far as"),
        ({"tau": Interval(-0.5, -0.9, -0.1)}, "reversed", "wide"),
        ({"tau": None, "repeat_tau": None}, "cannot be compared", "agree with itself"),
        ({"regret": Regret(1, 0.0, -0.02, -0.03, -0.01)}, "the best here, too", "beats"),
        ({"regret": Regret(1, 0.0, -0.02, -0.05, 0.01)}, "c001 is ahead of c002", "beats"),
        ({"regret": Regret(1, 0.02, 0.02, -0.01, 0.05)}, "c002 is ahead of c001", "beats"),
        ({}, "picked by their scores", "guessing"),
        ({"classes": 2}, "no network is better than guessing", "reversed"),
        ({"regret": None}, "c001 has no result", "beats"),
        ({"fully_trained": False, "epochs_at_one": 2}, "after 2 epochs at φ = 1 and 6", "reversed"),
    ],
)
def test_the_reading_says_no_more_than_the_numbers(changes: dict[str, Any], says: str, says_not: str) -> None:
    text = words.verification_text(replace(FOUND, **changes))
    assert says in text
    assert says_not not in text
