"""Faults of the machine, put under a real search one by one: each must end in one clear message and lose nothing.

    python -m tests.stress.faults

After each fault the same command runs again without it, and must come to the table of an undisturbed search, bit for
bit. Mounting needs root; what cannot be injected here is said to be skipped.
"""

import argparse
import contextlib
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests import postgres
from tests.stress import commands
from tests.stress.commands import Ended
from tests.stress.kills import ROOT, comparable, images

SEARCH = (
    "grid", "--space", "mbconv_small", "--target-flops", "1.5M", "--step", "0.5", "--epochs", "4", "--exhaustive",
    "--seeds", "2", "--batch-size", "8", "--lr", "0.01", "--yes",
)  # fmt: skip


RESTARTS = 4  # of the server, in one search


class CannotInjectError(Exception):
    """This machine does not let us (no root, no PostgreSQL)."""


@dataclass
class Site:
    """Where faults happen: a folder, the images, and what an undisturbed search comes to."""

    folder: Path
    data: Path
    jobs: int = 2
    search: tuple[str, ...] = SEARCH
    expected: Any = None
    environment: dict[str, str] = field(default_factory=dict)

    def start(
        self, run: Path, *more: str, data: Path | None = None, before: str = "", **popen: Any
    ) -> "subprocess.Popen[str]":  # fmt: skip
        """A search; ``before`` it Python does something else."""
        images = str(data or self.data)
        where = ("--jobs", str(self.jobs), "--data", images, "--run", str(run))
        entry = ["-c", f"{before}\nfrom scalesearch.cli.entry import run\nrun()"] if before else ["-m", "scalesearch"]
        command = [sys.executable, *entry, *self.search, *where, *more]
        environment = {
            **os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1",
            "SCALESEARCH_CACHE": str(self.folder / "cache"), **self.environment,
        }  # fmt: skip
        return subprocess.Popen(
            command,
            cwd=self.folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            **popen,
        )

    def run(self, run: Path, *more: str, **popen: Any) -> Ended:
        process = self.start(run, *more, **popen)
        out, err = process.communicate(timeout=300)
        return Ended(process.returncode, out, err)

    def mended(self, run: Path, *more: str) -> str:
        """What is wrong after the same command has run again without the fault; "" for nothing."""
        ended = self.run(run, *more)
        if ended.code != 0:
            return f"does not go on: {ended.err[-300:]}"
        return "" if comparable(run) == self.expected else "another table than undisturbed"


def first_row(run: Path, process: "subprocess.Popen[str]") -> None:
    """Waits until a training has ended."""
    while process.poll() is None and not list(run.glob("predictions/*.npz")):
        time.sleep(0.05)


@contextlib.contextmanager
def small_disk(folder: Path, megabytes: int) -> Iterator[Path]:
    """A file system of that size."""
    folder.mkdir(parents=True)
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(folder)], check=False, capture_output=True
    )
    if mounted.returncode:
        raise CannotInjectError("mounting needs root")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def full_disk(site: Site) -> str:
    """The run's disk is full while it searches."""
    with small_disk(site.folder / "small", 1) as disk:
        ended = site.run(disk / "run")
        wrong = ended.complaint(str(disk))
        subprocess.run(["mount", "-o", "remount,size=64m", str(disk)], check=True)
        return wrong or site.mended(disk / "run")


def full_disk_of_writers(site: Site) -> str:
    """The disk is full when a command that writes files begins; then there is space again, and it writes them."""
    with small_disk(site.folder / "written", 64) as disk:
        place, wrong = commands.prepare(disk / "site"), []
        for name, writer in commands.WRITERS.items():
            if (done := _written(place, writer)).code != 0:
                wrong.append(f"{name}: {done.err[-300:]}")
                continue
            whole = commands.contents(place, writer)
            old = commands.put_old(place, name, whole)
            for left in (0, 2, 24):  # pages of 4 kB
                _fill(disk / "ballast", left * 4096)
                ended = _written(place, writer)
                (disk / "ballast").unlink()
                right = whole if ended.code == 0 else old
                if (ended.code and ended.complaint()) or commands.contents(place, writer) != right:
                    wrong.append(f"{name}, {left} pages: {ended.complaint() or 'other files'}")
                if commands.leftovers(place):
                    wrong.append(f"{name}, {left} pages: left {commands.leftovers(place)}")
                old = commands.put_old(place, name, whole)
            if (again := _written(place, writer)).code != 0 or commands.contents(place, writer) != whole:
                wrong.append(f"{name}, with space again: {again.err[-300:] or 'other files'}")
        return "; ".join(wrong)


def _written(place: Path, writer: commands.Writer) -> Ended:
    ended = subprocess.run(
        [sys.executable, "-m", "scalesearch", *writer.arguments], cwd=place, capture_output=True, text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), "SCALESEARCH_CACHE": str(place / "cache")}, timeout=300,
        check=False,
    )  # fmt: skip
    return Ended(ended.returncode, ended.stdout, ended.stderr)


def _fill(ballast: Path, left: int) -> None:
    """Writes until the disk is full but for ``left`` bytes."""
    with ballast.open("wb", buffering=0) as file:
        with contextlib.suppress(OSError):
            while True:
                file.write(bytes(4096))
        file.truncate(max(0, file.tell() - left))


def full_cache(site: Site) -> str:
    """The disk of the decoded images is full."""
    with small_disk(site.folder / "small-cache", 1) as disk:
        (disk / "ballast").write_bytes(bytes(1_000_000))
        site.environment["SCALESEARCH_CACHE"] = str(disk / "cache")
        ended = site.run(site.folder / "run-cache")
        site.environment.clear()
        return ended.complaint("cache") or site.mended(site.folder / "run-cache")


def read_only_folder(site: Site) -> str:
    """The run's folder cannot be written to, from the start."""
    with small_disk(site.folder / "frozen", 32) as disk:
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        wrong = site.run(disk / "run").complaint("--run")
        subprocess.run(["mount", "-o", "remount,rw", str(disk)], check=True)
        return wrong or site.mended(disk / "run")


def disk_fills_later(site: Site) -> str:
    """Somebody else fills the run's disk while it searches."""
    with small_disk(site.folder / "filling", 8) as disk:
        process = site.start(disk / "run")
        first_row(disk / "run", process)
        _fill(disk / "ballast", 0)
        out, err = process.communicate(timeout=300)
        wrong = Ended(process.returncode, out, err).complaint(str(disk))
        (disk / "ballast").unlink()
        return wrong or site.mended(disk / "run")


def files_too_large(site: Site) -> str:
    """No file may grow beyond 100 kB, as under a quota."""

    def limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))

    run = site.folder / "limited"
    return site.run(run, preexec_fn=limit).complaint(str(run)) or site.mended(run)


def terminated(site: Site) -> str:
    """SIGTERM, as a batch system sends before it kills."""
    run = site.folder / "terminated"
    process = site.start(run)
    first_row(run, process)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=60)
    if process.returncode != 130 or "the same command continues" not in err:
        return f"exit code {process.returncode}: {err[-300:]}"
    return site.mended(run)


def second_process(site: Site) -> str:
    """A second search in the same folder is refused; the first one is not disturbed."""
    run = site.folder / "twice"
    first = site.start(run)
    first_row(run, first)
    first.send_signal(signal.SIGSTOP)  # or it might be done before the second one has begun
    wrong = site.run(run).complaint("in use")
    first.send_signal(signal.SIGCONT)
    first.communicate(timeout=300)
    return wrong or site.mended(run)


def images_gone(site: Site) -> str:
    """The images' folder vanishes, as an unmounted disk does, while their pixels are not cached yet."""
    moving = site.folder / "moving"
    shutil.copytree(site.data, moving / "images")
    (moving / "images").rename(moving / "away")
    run = site.folder / "imageless"
    process = site.start(run, data=moving / "images")
    out, err = process.communicate(timeout=300)
    wrong = Ended(process.returncode, out, err).complaint("no such folder")
    return wrong or site.mended(run)


def damaged_study(site: Site) -> str:
    """The study's file is overwritten with something else."""
    run = site.folder / "damaged"
    wrong = site.mended(run)
    kept = (run / "study.db").read_bytes()
    (run / "study.db").write_bytes(b"not a database at all" * 500)
    wrong = wrong or site.run(run).complaint("study.db")
    (run / "study.db").write_bytes(kept)
    return wrong or site.mended(run)


def server_crash(site: Site) -> str:
    """PostgreSQL crashes while the search runs, and is back after ten seconds."""
    with _server() as server:
        run = site.folder / "crashed"
        process = site.start(run, "--storage", server.url)
        first_row(run, process)
        server.stop("immediate")
        threading.Timer(10, server.start).start()
        out, err = process.communicate(timeout=300)
        if process.returncode != 0 or "does not answer" not in out or "is back" not in out:
            return f"exit code {process.returncode}: {out[-300:]} {err[-300:]}"
        return site.mended(run, "--storage", server.url)


def server_restarts(site: Site) -> str:
    """PostgreSQL is restarted several times while the search runs."""
    with _server() as server:
        run = site.folder / "restarted"
        process = site.start(run, "--storage", server.url)
        first_row(run, process)
        restarts = 0
        while process.poll() is None and restarts < RESTARTS:
            server.stop("fast" if restarts % 2 else "immediate")
            time.sleep(1)
            server.start()
            restarts += 1
            time.sleep(3)
        out, err = process.communicate(timeout=300)
        if process.returncode != 0 or restarts < 2:
            return f"exit code {process.returncode} after {restarts} restarts: {out[-300:]} {err[-300:]}"
        return site.mended(run, "--storage", server.url)


def other_versions(site: Site) -> str:
    """A second coordinator of another version: with the same ledger it helps, with another format it is refused."""
    with _server() as server:
        run, shared = site.folder / "versions", ("--storage", server.url)
        first = site.start(run, *shared)
        first_row(run, first)
        newer = site.run(site.folder / "newer", *shared, before="import scalesearch.running.ledger as l; l.FORMAT += 1")
        wrong = newer.complaint("format", "this version reads")
        helper = site.run(site.folder / "helper", *shared, before="import scalesearch; scalesearch.__version__ = '9.9'")
        first.communicate(timeout=300)
        if not wrong and (helper.code or comparable(site.folder / "helper") != site.expected):
            wrong = f"the helper: {helper.err[-300:] or 'another table than undisturbed'}"
        return wrong or site.mended(run, *shared)


def server_away(site: Site) -> str:
    """PostgreSQL is not there when the search begins."""
    with _server() as server:
        run = site.folder / "serverless"
        server.stop("fast")
        wrong = site.run(run, "--storage", server.url).complaint("the database cannot be read and written")
        server.start()
        return wrong or site.mended(run, "--storage", server.url)


def server_full(site: Site) -> str:
    """PostgreSQL refuses to write in the middle of a search, as a standby or a full one does."""
    with _server() as server:
        run = site.folder / "refused"
        process = site.start(run, "--storage", server.url)
        first_row(run, process)
        server.sql("ALTER SYSTEM SET default_transaction_read_only = on; SELECT pg_reload_conf()")
        out, err = process.communicate(timeout=300)
        wrong = Ended(process.returncode, out, err).complaint("read-only")
        server.sql("SET default_transaction_read_only = off; ALTER SYSTEM RESET default_transaction_read_only")
        server.sql("SELECT pg_reload_conf()")
        return wrong or site.mended(run, "--storage", server.url)


@contextlib.contextmanager
def _server() -> Iterator[postgres.Server]:
    if postgres.binaries() is None:
        raise CannotInjectError(postgres.REASON)
    with postgres.server() as server:
        yield server


FAULTS: tuple[Callable[[Site], str], ...] = (
    full_disk, full_disk_of_writers, full_cache, read_only_folder, disk_fills_later, files_too_large, terminated,
    second_process, images_gone, damaged_study, server_crash, server_restarts, server_away, server_full,
    other_versions,
)  # fmt: skip


def site(folder: Path, jobs: int = 2, *options: str) -> Site:
    """A site with what an undisturbed search comes to; ``options`` of it go before the usual ones."""
    place = Site(folder, images(folder / "images"), jobs, (*SEARCH, *options))
    ended = place.run(folder / "undisturbed")
    assert ended.code == 0, f"the undisturbed search fails: {ended.err[-500:]}"
    place.expected = comparable(folder / "undisturbed")
    return place


def inject(fault: Callable[[Site], str], place: Site) -> str:
    """What went wrong, "" for nothing."""
    place.environment.clear()
    return fault(place)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="of faults; all if left out")
    given = parser.parse_args()
    results: dict[str, str] = {}
    with tempfile.TemporaryDirectory(prefix="fault") as folder:
        place = site(Path(folder))
        for fault in FAULTS:
            name = fault.__name__
            if given.names and name not in given.names:
                continue
            try:
                results[name] = inject(fault, place) or "survived"
            except CannotInjectError as error:
                results[name] = f"skipped: {error}"
            print(f"{name}: {results[name]}", flush=True)
    survived = sum(result == "survived" for result in results.values())
    skipped = sum(result.startswith("skipped") for result in results.values())
    print(json.dumps({"faults": len(results), "survived": survived, "skipped": skipped}))
    sys.exit(1 if survived + skipped < len(results) else 0)


if __name__ == "__main__":
    main()
