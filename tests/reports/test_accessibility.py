"""The pages by axe-core, in a real browser: what it calls serious or critical is a fault."""

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from scalesearch.reports.artefacts import write_report
from scalesearch.reports.comparison import write_comparison
from scalesearch.reports.edition import Edition
from scalesearch.reports.families import write_families
from scalesearch.reports.pictures import pictures
from scalesearch.study.record import read_record
from tests.family_runs import plan_of, written
from tests.reports.test_watch import BROWSERS, GOLDEN, within

SCRIPT = Path(__file__).with_name("axe.mjs")
PACKAGES = ("axe-core@4", "ws@8")

pytestmark = [pytest.mark.network, pytest.mark.slow]


@pytest.fixture(scope="module")
def modules(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with axe-core, from the registry."""
    if not (shutil.which("node") and shutil.which("npm")):
        pytest.skip("no Node.js here")
    folder = tmp_path_factory.mktemp("axe")
    subprocess.run(["npm", "install", "--silent", "--prefix", str(folder), *PACKAGES], check=True, timeout=300)
    return folder


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    program = next(filter(None, map(shutil.which, BROWSERS)), None)
    if program is None:
        pytest.skip(f"no browser here ({', '.join(BROWSERS)})")
    profile = tmp_path_factory.mktemp("profile")
    command = [program, "--headless=new", "--no-sandbox", "--disable-gpu", "--remote-debugging-port=0",
               f"--user-data-dir={profile}", "about:blank"]  # fmt: skip
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as browser:
        file = profile / "DevToolsActivePort"
        within(60, lambda: file.is_file() and file.read_text().split())
        yield file.read_text().split()[0]
        browser.kill()


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A finished search with images and mistakes, a comparison, and families."""
    folder, record = tmp_path_factory.mktemp("pages"), read_record(GOLDEN)
    families = written(folder / "families", plan_of())
    return {
        "search": write_report(folder / "search", record, Edition(pictures=pictures(record)))[-1],
        "comparison": write_comparison(folder / "comparison", [record, record])[-1],
        "families": write_families(folder / "families", families)[-1],
    }


@pytest.mark.parametrize("name", ["search", "comparison", "families"])
def test_axe_finds_nothing_serious(name: str, pages: dict[str, Path], port: str, modules: Path) -> None:
    command = ["node", str(SCRIPT), port, pages[name].as_uri(), str(modules)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert ended.returncode == 0, ended.stderr
    found = json.loads(ended.stdout)
    assert [one for one in found if one["impact"] in ("serious", "critical")] == []
