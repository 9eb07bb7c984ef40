"""A page that is watched: written again when something has ended, and loaded anew by a real browser."""

import json
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from scalesearch.api import report as module
from scalesearch.api.options import ReportOptions
from scalesearch.api.report import RELOAD_SECONDS, report, watched
from scalesearch.errors import UserError
from scalesearch.reports.edition import Edition
from scalesearch.reports.page import report_page
from scalesearch.study.record import Record, read_record

GOLDEN = Path(__file__).parents[1] / "golden" / "run-0.1.0"
BROWSERS = ("chromium", "chromium-browser", "google-chrome")


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return Path(shutil.copytree(GOLDEN, tmp_path / "run"))


@pytest.fixture
def editions(monkeypatch: pytest.MonkeyPatch) -> list[int | None]:
    """After how many seconds each page that was to be written loads itself anew; none is drawn."""
    seconds = list[int | None]()

    def written(folder: Path, _record: Record, edition: Edition) -> tuple[Path, ...]:
        seconds.append(edition.reload_seconds)
        return (folder / "report.html",)

    monkeypatch.setattr("scalesearch.reports.artefacts.write_report", written)
    return seconds


def test_the_page_is_written_again_whenever_a_file_has_changed(
    run: Path, editions: list[int | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    slept, said = list[float](), list[str]()

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        rows = run / "rows.json"
        if len(slept) == 2:  # nothing has changed after the first
            rows.rename(run / "rows.tmp")  # as while a search replaces its files
        if len(slept) == 3:
            (run / "rows.tmp").rename(rows)
            rows.touch()

    monkeypatch.setattr(module.time, "sleep", sleep)
    pages = watched(ReportOptions([run]), said.append, 2.0)
    assert next(pages) == next(pages) == run / "report" / "report.html"
    assert len(slept) == 3
    assert min(slept) >= 2.0
    assert len(said) == 1
    assert said[0].startswith("Not written, and tried again: ")
    report([run])
    assert editions == [RELOAD_SECONDS, RELOAD_SECONDS, None]


@pytest.mark.usefixtures("editions")
def test_the_search_that_was_begun_last_is_watched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("older", "begun"):
        shutil.copytree(GOLDEN, tmp_path / "runs" / name)
    for name in ("winners.json", "coefficients.json", "rows.json"):
        (tmp_path / "runs" / "begun" / name).unlink()
    (tmp_path / "runs" / "begun" / "run.json").touch()
    monkeypatch.chdir(tmp_path)
    assert next(watched(ReportOptions(), print)) == Path("runs/begun/report/report.html")
    assert report()[-1] == Path("runs/older/report/report.html")


def test_what_is_no_run_is_said_at_once(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"run\.json"):
        next(watched(ReportOptions([tmp_path]), print))


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Callable[[Path], Callable[[], str]]]:
    """Opens a page; what comes back tells the page's title whenever it is asked."""
    program = next(filter(None, map(shutil.which, BROWSERS)), None)
    if program is None:
        pytest.skip(f"no browser here ({', '.join(BROWSERS)})")
    profile, started = tmp_path / "profile", list[subprocess.Popen[bytes]]()

    def opened(page: Path) -> Callable[[], str]:
        command = [program, "--headless=new", "--no-sandbox", "--disable-gpu", "--remote-debugging-port=0",
                   f"--user-data-dir={profile}", page.as_uri()]  # fmt: skip
        started.append(subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
        port = within(60, lambda: (profile / "DevToolsActivePort").is_file()
                      and (profile / "DevToolsActivePort").read_text().split()[0])  # fmt: skip

        def title() -> str:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/json/list", timeout=10) as answer:
                pages = [one for one in json.load(answer) if one["type"] == "page"]
            return str(pages[0]["title"]) if pages else ""

        return title

    yield opened
    for one in started:
        one.kill()
        one.wait()


def within(seconds: float, tell: Callable[[], object]) -> object:
    """What ``tell`` says once that is something."""
    end = time.monotonic() + seconds
    while not (told := tell()):
        assert time.monotonic() < end, "it did not come to that"
        time.sleep(0.1)
    return told


def test_a_browser_loads_what_was_written_anew(
    run: Path, browser: Callable[[Path], Callable[[], str]], tmp_path: Path
) -> None:
    record, page = read_record(run), tmp_path / "report.html"
    page.write_text(report_page(record, (), (), Edition("Before", reload_seconds=1)), encoding="utf-8")
    title = browser(page)
    within(60, lambda: title() == "Before")
    page.write_text(report_page(record, (), (), Edition("After")), encoding="utf-8")
    within(60, lambda: title() == "After")
