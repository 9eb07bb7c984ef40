import os
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import psutil
import pytest
from sqlalchemy import insert, select, update

from scalesearch.errors import UserError
from scalesearch.running import optuna_view
from scalesearch.running.ledger import LEDGERS, TRIALS, Claim, Ledger, new_owner, surely_gone
from scalesearch.running.optuna_view import Window
from scalesearch.running.storage import Storage, storage_url
from scalesearch.study.plan import SearchPlan
from scalesearch.study.row import Key, Row, parse_row
from tests.postgres import Server
from tests.rows import make_row
from tests.running.conftest import OpenStorage

KEYS: list[Key] = [(candidate, seed, 2) for seed in range(2) for candidate in (-1, 0, 1)]


def line(one: Key, score: float | None = 0.5) -> Row:
    return make_row(*one, reason="no luck") if score is None else make_row(*one, score=score)


@pytest.fixture
def run() -> str:
    return uuid.uuid4().hex[:12]


def claimed(ledger: Ledger, keys: list[Key] = KEYS) -> Claim:
    claim = ledger.claim(keys)
    assert claim is not None
    return claim


def test_each_training_is_claimed_once_in_the_order_wanted(open_storage: OpenStorage, run: str) -> None:
    ledger = Ledger(open_storage(), run, parse_row)
    ledger.want(KEYS)
    ledger.want(KEYS)
    assert [claimed(ledger).key for _ in KEYS] == KEYS
    assert ledger.claim(KEYS) is None
    running = select(TRIALS.c.id).where(TRIALS.c.run == run, TRIALS.c.state == "running")
    assert len(ledger.storage.do(lambda connection: connection.execute(running).all())) == len(KEYS)


def test_only_what_is_asked_for_is_claimed(open_storage: OpenStorage, run: str) -> None:
    ledger = Ledger(open_storage(), run, parse_row)
    ledger.want(KEYS)
    assert claimed(ledger, KEYS[3:]).key == KEYS[3]
    assert ledger.claim([(7, 7, 7)]) is None
    assert Ledger(open_storage(), f"{run}x", parse_row).claim(KEYS) is None  # another run


def test_results_are_read_back_by_anybody(open_storage: OpenStorage, run: str) -> None:
    ledger = Ledger(open_storage(), run, parse_row)
    ledger.want(KEYS)
    for score in (0.7, None):
        claim = claimed(ledger)
        assert ledger.finish(claim, line(claim.key, score), b"" if score is None else b"\0\xff")
        assert ledger.finish(claim, line(claim.key, score), b"")  # the answer to the first try was lost on its way
    results = Ledger(open_storage(), run, parse_row).finished()
    assert [(one.row.key, one.predictions) for one in results] == [(KEYS[0], b"\0\xff"), (KEYS[1], b"")]
    assert [one.row.key for one in ledger.finished(known={KEYS[0]})] == [KEYS[1]]


def test_a_claim_that_was_taken_over_adds_nothing(open_storage: OpenStorage, run: str) -> None:
    stalled, other = Ledger(open_storage(), run, parse_row), Ledger(open_storage(), run, parse_row)
    stalled.want(KEYS)
    lost = claimed(stalled)
    other.free_all()
    taken = claimed(other)
    assert taken.key == lost.key
    assert not stalled.finish(lost, line(lost.key, 0.1), b"")
    stalled.give_back(lost)  # nor does it free what is not its own any more
    assert other.finish(taken, line(taken.key, 0.9), b"")
    assert not stalled.finish(lost, line(lost.key, 0.1), b"")
    assert [one.row.score for one in stalled.finished()] == [0.9]


def test_deaths_count_and_interruptions_do_not(open_storage: OpenStorage, run: str) -> None:
    ledger = Ledger(open_storage(), run, parse_row)
    ledger.want(KEYS[:1])
    ledger.give_back(claimed(ledger))
    ledger.give_back(claimed(ledger), "killed by a cat")
    again = claimed(ledger)
    assert (again.number, again.deaths, again.reason) == (3, 1, "killed by a cat")


def test_silence_frees_a_claim_and_a_beat_keeps_it(postgres_server: Server, tmp_path: Path, run: str) -> None:
    storage = Storage(storage_url(tmp_path, postgres_server.url))
    alive, observer = Ledger(storage, run, parse_row), Ledger(storage, run, parse_row)
    alive.want(KEYS[:1])
    kept = claimed(alive)
    storage.back_since -= 100  # connected for long
    assert observer.free_silent(30) == 0
    long_ago = update(TRIALS).where(TRIALS.c.run == run).values(beat=TRIALS.c.beat - 31)
    storage.do(lambda connection: connection.execute(long_ago))
    alive.beat()
    assert observer.free_silent(30) == 0
    storage.do(lambda connection: connection.execute(long_ago))
    assert observer.free_silent(30) == 1
    taken = claimed(observer)
    assert (taken.deaths, taken.reason) == (1, "its coordinator was silent for 30 s")
    assert not alive.finish(kept, line(kept.key), b"")
    storage.close()


def test_nobody_is_called_silent_by_one_who_was_cut_off(postgres_server: Server, tmp_path: Path, run: str) -> None:
    storage = Storage(storage_url(tmp_path, postgres_server.url))
    alive, observer = Ledger(storage, run, parse_row), Ledger(storage, run, parse_row)
    alive.want(KEYS[:1])
    claimed(alive)
    storage.do(lambda connection: connection.execute(update(TRIALS).values(beat=0.0)))
    assert observer.free_silent(30) == 0  # its own connection is younger than that
    storage.close()


def test_what_an_ended_process_of_this_machine_held_is_free_at_once(open_storage: OpenStorage, run: str) -> None:
    gone, ledger = Ledger(open_storage(), run, parse_row), Ledger(open_storage(), run, parse_row)
    machine, _, _, nonce = gone.owner.rsplit("|", 3)
    gone.owner = f"{machine}|999999999|1.00|{nonce}"
    gone.want(KEYS[:1])
    claimed(gone)
    assert ledger.free_silent() == 1
    assert claimed(ledger).deaths == 0
    assert not surely_gone(new_owner())
    assert not surely_gone("elsewhere|1|1.0|abc")


def test_no_clock_makes_a_living_process_look_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    """A step of the clock moves the kernel's boot time, from which psutil works out when a process began."""
    owner = new_owner()
    began = psutil.Process.create_time
    monkeypatch.setattr(psutil.Process, "create_time", lambda self: began(self) + 2.0)
    assert not surely_gone(owner)
    assert new_owner().rsplit("|", 1)[0] == owner.rsplit("|", 1)[0]


def test_an_owner_of_another_version_is_not_called_gone() -> None:
    machine, number, _, nonce = new_owner().rsplit("|", 3)
    assert not surely_gone(f"{machine}|{number}|1764000000.25|{nonce}")


def test_what_is_left_of_a_process_is_no_owner() -> None:
    script = "from scalesearch.running.ledger import new_owner; print(new_owner(), flush=True); input()"
    child = subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    owner = child.stdout.readline().strip()
    assert not surely_gone(owner)
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # ended, not yet waited for
    assert surely_gone(owner)
    child.communicate()
    assert surely_gone(owner)


HOLDER = """
import os, signal, sys
from sqlalchemy import text
from scalesearch.running import storage
storage.IDLE_SECONDS = 2
from scalesearch.running.storage import Storage, storage_url
from pathlib import Path
held = Storage(storage_url(Path("."), sys.argv[1]))
if sys.argv[2] == "study":
    with held.alone("study it", 5) as mine:
        print(mine, flush=True)
        os.kill(os.getpid(), signal.SIGSTOP)
else:
    with held._engine.begin() as connection:
        connection.execute(text("UPDATE scalesearch_trials SET beat = 0"))
        print(True, flush=True)
        os.kill(os.getpid(), signal.SIGSTOP)
"""


@pytest.fixture(params=["study", "row"])
def suspended(postgres_server: Server, tmp_path: Path, run: str, request: pytest.FixtureRequest) -> Iterator[str]:
    """A coordinator that was stopped while it held the study, or a row of the ledger."""
    storage = Storage(storage_url(tmp_path, postgres_server.url))
    ledger = Ledger(storage, run, parse_row)
    ledger.want(KEYS[:1])
    child = subprocess.Popen([sys.executable, "-c", HOLDER, postgres_server.url, request.param],
                             stdout=subprocess.PIPE, text=True)  # fmt: skip
    assert child.stdout is not None
    assert child.stdout.readline().strip() == "True"
    storage.close()
    yield str(request.param)
    child.kill()
    child.communicate()


def test_a_suspended_coordinator_keeps_nobody_waiting(
    suspended: str, postgres_server: Server, tmp_path: Path, run: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(optuna_view, "PATIENCE_SECONDS", 0.3)
    monkeypatch.setattr(optuna_view, "study_name", lambda plan, phi: "it")
    notes: list[str] = []
    storage = Storage(storage_url(tmp_path, postgres_server.url), notes.append)
    ledger = Ledger(storage, run, parse_row)  # its tables are there: it asks for no lock
    if suspended == "study":
        Window(storage, cast(SearchPlan, None), 1.0, notes.append).show([line(KEYS[0])])
        assert not notes
        with storage.alone("study another", 0.1) as mine:
            assert mine
        with storage.alone("study it", 30) as mine:
            assert mine  # the server has ended the suspended one's session
    until = time.monotonic() + 30
    while (claim := ledger.claim(KEYS)) is None and time.monotonic() < until:
        time.sleep(0.1)  # the row is locked until the server ends the session
    assert claim is not None
    assert ledger.finish(claim, line(claim.key), b"")
    storage.close()


def test_many_claim_at_once_and_none_twice(open_storage: OpenStorage, run: str) -> None:
    keys: list[Key] = [(candidate, 0, 1) for candidate in range(60)]
    Ledger(open_storage(), run, parse_row).want(keys)
    taken: list[Key] = []

    def work() -> None:
        ledger = Ledger(open_storage(), run, parse_row)
        while (claim := ledger.claim(keys)) is not None:
            assert ledger.finish(claim, line(claim.key), b"")
            taken.append(claim.key)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert sorted(taken) == keys


def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    (tmp_path / "study.db").write_bytes(b"not a database, just some bytes that stand here instead of one" * 20)
    with pytest.raises(UserError, match=r"study\.db"):
        Ledger(Storage(storage_url(tmp_path, None)), "x", parse_row)


def test_a_ledger_of_a_newer_version_is_refused(open_storage: OpenStorage, run: str) -> None:
    storage = open_storage()
    Ledger(storage, run, parse_row)
    storage.do(lambda connection: connection.execute(insert(LEDGERS).values(format=99)))
    try:
        with pytest.raises(UserError, match=r"format 99.*Update scalesearch"):
            Ledger(storage, run, parse_row)
    finally:
        storage.do(lambda connection: connection.execute(LEDGERS.delete().where(LEDGERS.c.format == 99)))


def test_odd_folder_names_stay_folders(tmp_path: Path) -> None:
    for name in ("what?", "a%41b", "ümlaut & space#"):
        (tmp_path / name).mkdir()
        Ledger(Storage(storage_url(tmp_path / name, None)), "x", parse_row)
        assert (tmp_path / name / "study.db").is_file()


@pytest.mark.parametrize("address", ["mysql://x/y", "just words", "sqlite:///other.db", ""])
def test_other_storages_are_refused(tmp_path: Path, address: str) -> None:
    with pytest.raises(UserError, match="--storage"):
        storage_url(tmp_path, address)


def test_a_server_that_is_not_there_is_said_at_once(tmp_path: Path) -> None:
    pytest.importorskip("psycopg", reason="no driver for PostgreSQL (the extra [postgresql])")
    url = storage_url(tmp_path, f"postgresql://me:secret@/db?host={tmp_path}")
    with pytest.raises(UserError, match="database cannot be read and written") as caught:
        Ledger(Storage(url), "x", parse_row)
    assert "secret" not in str(caught.value)


def test_a_server_that_goes_away_and_comes_back(postgres_server: Server, tmp_path: Path, run: str) -> None:
    said: list[str] = []
    storage = Storage(storage_url(tmp_path, postgres_server.url), said.append)
    ledger = Ledger(storage, run, parse_row)
    ledger.want(KEYS)
    claim = claimed(ledger)
    postgres_server.stop("immediate")
    back = threading.Timer(1.0, postgres_server.start)
    back.start()
    assert ledger.finish(claim, line(claim.key), b"")
    back.join()
    assert [text.split(" (")[0].split(" ", 1)[1] for text in said] == ["does not answer", "is back"]
    assert [one.row.key for one in ledger.finished()] == [claim.key]
    storage.close()
