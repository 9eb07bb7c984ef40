"""The search's ledger: one row a training, claimed by one coordinator at a time, finished exactly once.

A row goes free → running → done or failed, and from running back to free when its worker or its coordinator is gone.
Every claim has a number; a result is taken only from the claim that the row still has, in the same transaction that
stores it. So a coordinator that was thought dead and comes back cannot add a second result.

Only values are stored: rows as JSON, predictions as NumPy arrays. Optuna's study (``running.optuna_view``) shows them.
"""

import hashlib
import json
import os
import platform
import time
import uuid
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Generic

import psutil
import sqlalchemy as sql
from sqlalchemy.dialects import postgresql, sqlite

from scalesearch.errors import UserError
from scalesearch.running.storage import Storage
from scalesearch.study.row import AnyRow, Key, R, ReadRow, TrialResult

FORMAT = 1
BEAT_SECONDS = 10.0
TABLES_SECONDS = 90.0  # longer than a suspended process can keep others from it (see ``storage``)
SILENT_SECONDS = 60.0  # six beats missed: its claims are free again
FREE, RUNNING, DONE, FAILED = "free", "running", "done", "failed"
PROC = Path("/proc/self").parent if Path("/proc/self/stat").exists() else Path("/none")
_AT_ONCE = 500  # keys in a statement

METADATA = sql.MetaData()
LEDGERS = sql.Table("scalesearch_ledger", METADATA, sql.Column("format", sql.Integer, primary_key=True))
TRIALS = sql.Table(
    "scalesearch_trials", METADATA,
    sql.Column("id", sql.Integer, primary_key=True), sql.Column("run", sql.String(64), nullable=False),
    sql.Column("candidate", sql.Integer, nullable=False), sql.Column("seed", sql.Integer, nullable=False),
    sql.Column("epochs", sql.Integer, nullable=False), sql.Column("state", sql.String(8), nullable=False),
    sql.Column("claims", sql.Integer, nullable=False, default=0),
    sql.Column("deaths", sql.Integer, nullable=False, default=0),
    sql.Column("reason", sql.Text, nullable=False, default=""), sql.Column("owner", sql.String(300)),
    sql.Column("beat", sql.Float(53)), sql.Column("row", sql.Text), sql.Column("predictions", sql.LargeBinary),
    sql.UniqueConstraint("run", "candidate", "seed", "epochs"),
    sql.Index("scalesearch_trials_free", "run", "state", "id"),
)  # fmt: skip
_T = TRIALS.c
_KEY = (_T.candidate, _T.seed, _T.epochs)


@dataclass(frozen=True)
class Claim:
    """A right to run a training. ``deaths``: workers that it has cost before; ``reason``: what the last one died of."""

    key: Key
    number: int
    deaths: int
    reason: str


class Ledger(Generic[R]):
    """One run's part of a database; several coordinators may hold one each.

    Args:
        run: names the run within the database, at most 64 characters; the same for all who share it.
        read: makes a row of plain values, and says where they are from if they are none.
    """

    def __init__(self, storage: Storage, run: str, read: ReadRow[R]) -> None:
        self.storage, self.run, self.owner, self._read_row = storage, run, new_owner(), read
        storage.once()
        if not storage.do(_has_tables):
            with storage.alone("tables", TABLES_SECONDS) as mine:
                if not mine:
                    problem = f"another process has been making its tables for {TABLES_SECONDS:g} s."
                    raise UserError(storage.name, problem, do="End that process, or use another database.")
                storage.do(_make_tables)
        version = storage.do(lambda connection: connection.execute(sql.select(sql.func.max(LEDGERS.c.format))).scalar())
        if version != FORMAT:
            do = "Update scalesearch." if version is not None and version > FORMAT else "Use another database."
            raise UserError(
                storage.name, f"its ledger has format {version}; this version reads format {FORMAT}.", do=do
            )

    @property
    def _mine(self) -> sql.ColumnElement[bool]:
        return _T.run == self.run

    def _now(self) -> sql.ColumnElement[float]:
        """The server's clock: those of several machines differ."""
        if not self.storage.shared:
            return sql.literal(time.time())
        return sql.cast(sql.extract("epoch", sql.func.clock_timestamp()), sql.Float(53))

    def want(self, keys: Iterable[Key]) -> None:
        """Enters trainings that are to be run; those that are in already stay as they are."""
        dialect = postgresql if self.storage.shared else sqlite
        statement = dialect.insert(TRIALS).on_conflict_do_nothing()
        values = [
            {"run": self.run, "candidate": c, "seed": s, "epochs": e, "state": FREE, "claims": 0, "deaths": 0,
             "reason": ""}
            for c, s, e in keys
        ]  # fmt: skip
        if values:
            self.storage.do(lambda connection: connection.execute(statement, values))

    def claim(self, keys: Collection[Key]) -> Claim | None:
        """One of these that is free, the first entered, from now on this coordinator's; None where none is."""
        free = (
            sql.select(_T.id, *_KEY)
            .where(self._mine, _T.state == FREE)
            .order_by(_T.id)
            .limit(1)
            .with_for_update(skip_locked=True)
        )
        take = (
            sql.update(TRIALS)
            .where(_T.id == sql.bindparam("chosen"), _T.state == FREE)
            .values(state=RUNNING, owner=self.owner, claims=_T.claims + 1, beat=self._now())
            .returning(_T.claims, _T.deaths, _T.reason)
        )

        def take_one(connection: sql.Connection) -> Claim | None:
            after = 0
            while (first := connection.execute(free.where(_T.id > after)).first()) is not None:
                after, key = first[0], tuple(first[1:])
                taken = connection.execute(take, {"chosen": after}).first() if key in keys else None
                if taken is not None:
                    return Claim(key, *taken)
            return None

        return self.storage.do(take_one) if keys else None

    def finish(self, claim: Claim, row: AnyRow, predictions: bytes) -> bool:
        """Stores a result; False where the claim was lost to another coordinator, whose result counts."""
        state = DONE if row.status == "done" else FAILED
        statement = (
            sql.update(TRIALS)
            .where(*self._held(claim), _T.state == RUNNING)
            .values(state=state, row=json.dumps(row.to_dict(), allow_nan=False), predictions=predictions)
        )
        # a server may have stored it and gone away before it said so: the second try finds it
        ours = sql.select(_T.id).where(*self._held(claim), _T.state.in_((DONE, FAILED)))

        def store(connection: sql.Connection) -> bool:
            return connection.execute(statement).rowcount == 1 or connection.execute(ours).first() is not None

        return self.storage.do(store)

    def give_back(self, claim: Claim, died_of: str = "") -> None:
        """Frees a training that came to no end. ``died_of``: it cost a worker, which counts against it."""
        values: dict[str, Any] = {"state": FREE, "owner": None}
        if died_of:
            values |= {"deaths": _T.deaths + 1, "reason": died_of}
        statement = sql.update(TRIALS).where(*self._held(claim), _T.state == RUNNING).values(**values)
        self.storage.do(lambda connection: connection.execute(statement))

    def _held(self, claim: Claim) -> tuple[sql.ColumnElement[bool], ...]:
        c, s, e = claim.key
        return (
            self._mine, _T.candidate == c, _T.seed == s, _T.epochs == e,
            _T.claims == claim.number, _T.owner == self.owner,
        )  # fmt: skip

    def finished(self, known: Collection[Key] = ()) -> list[TrialResult[R]]:
        """The trainings that are over, but for those known, by candidate, seed and epochs."""
        over = sql.select(*_KEY).where(self._mine, _T.state.in_((DONE, FAILED)))
        keys = [key for key in self.storage.do(_all(over)) if tuple(key) not in known]
        results: list[TrialResult[R]] = []
        for some in _some(keys):
            chosen = sql.select(*_KEY, _T.row, _T.predictions).where(
                self._mine, sql.tuple_(*_KEY).in_([tuple(one) for one in some])
            )
            results += [self._read(*stored) for stored in self.storage.do(_all(chosen))]
        return sorted(results, key=lambda one: one.row.key)

    def _read(self, candidate: int, seed: int, epochs: int, row: Any, predictions: Any) -> TrialResult[R]:
        """A stored result. Raises UserError where it is damaged, or that of another training."""
        try:
            result = TrialResult(self._read_row(json.loads(row), self.storage.name), bytes(memoryview(predictions)))
            if result.row.key != (candidate, seed, epochs):
                raise ValueError(f"the row of {result.row.key} at {(candidate, seed, epochs)}")
        except (TypeError, ValueError, RecursionError) as error:
            do = "Restore a copy, or search in another --run folder."
            raise UserError(self.storage.name, f"the row of a training is damaged ({error!r}).", do=do) from None
        return result

    def ended(self) -> int:
        """How many trainings are over."""
        counted = sql.select(sql.func.count()).where(self._mine, _T.state.in_((DONE, FAILED)))
        return int(self.storage.do(lambda connection: connection.execute(counted).scalar_one()))

    def beat(self) -> None:
        """Says that this coordinator lives."""
        statement = (
            sql.update(TRIALS).where(self._mine, _T.state == RUNNING, _T.owner == self.owner).values(beat=self._now())
        )
        self.storage.do(lambda connection: connection.execute(statement))

    def free_silent(self, silent_seconds: float = SILENT_SECONDS) -> int:
        """Frees what coordinators hold that are gone or have been silent for so long; how many.

        One that ended on this machine is no fault of its training; a silent one may have been brought down by it, so
        that counts as a death.
        """
        owners = sql.select(_T.owner).where(self._mine, _T.state == RUNNING).distinct()
        gone = [owner for (owner,) in self.storage.do(_all(owners)) if surely_gone(owner)]
        freed = self._free(_T.owner.in_(gone), {}) if gone else 0
        # after a break others may simply not have been able to say that they live
        if not self.storage.shared or time.monotonic() - self.storage.back_since < min(silent_seconds, SILENT_SECONDS):
            return freed
        reason = f"its coordinator was silent for {silent_seconds:g} s"
        silent = _T.beat < self._now() - silent_seconds
        return freed + self._free(silent, {"deaths": _T.deaths + 1, "reason": reason})

    def free_all(self) -> int:
        """Frees whatever is claimed: for a coordinator that knows to be the only one; how many."""
        return self._free(_T.owner.is_not(None), {})

    def _free(self, which: sql.ColumnElement[bool], values: dict[str, Any]) -> int:
        statement = (
            sql.update(TRIALS)
            .where(self._mine, _T.state == RUNNING, _T.owner != self.owner, which)
            .values(state=FREE, owner=None, **values)
        )
        return self.storage.do(lambda connection: connection.execute(statement).rowcount)


def _some(keys: Sequence[Any]) -> Iterator[Sequence[Any]]:
    for start in range(0, len(keys), _AT_ONCE):
        yield keys[start : start + _AT_ONCE]


def _has_tables(connection: sql.Connection) -> bool:
    there = sql.inspect(connection).has_table(LEDGERS.name)
    return there and connection.execute(sql.select(LEDGERS.c.format)).first() is not None


def _make_tables(connection: sql.Connection) -> None:
    METADATA.create_all(connection)
    if connection.execute(sql.select(LEDGERS.c.format)).first() is None:
        connection.execute(sql.insert(LEDGERS).values(format=FORMAT))


def _all(statement: Any) -> Callable[[sql.Connection], Sequence[Any]]:
    return lambda connection: connection.execute(statement).all()


@cache
def machine() -> str:
    """This machine, this boot, this space of process numbers: within it a number means one process."""
    parts = [platform.node(), _read("/proc/sys/kernel/random/boot_id"), _link("/proc/self/ns/pid")]
    return hashlib.sha256("|".join(parts).encode()).hexdigest()[:16]  # a ledger need not tell hosts' names


def new_owner() -> str:
    """A name for a coordinator in this process, by which another one can tell whether it lives; two in one process
    differ."""
    return f"{machine()}|{os.getpid()}|{_started(os.getpid())}|{uuid.uuid4().hex[:8]}"


def surely_gone(owner: str) -> bool:
    """Whether an owner was a process of this machine that has ended. False where that cannot be known from here."""
    where, number, started, _ = owner.rsplit("|", 3)
    if where != machine():
        return False
    now = _started(int(number))
    return now is None or (now[0] == started[0] and now != started)  # of another kind: by another version


def _started(number: int) -> str | None:
    """When a process began, in words that stay the same while it lives; None where there is none, or only its remains.

    On Linux the kernel's ticks since the boot ("t123"): seconds since 1970 ("s123.45") are worked out from a boot time
    that moves whenever somebody sets the clock.
    """
    try:
        if PROC.is_dir():
            state, *fields = (PROC / str(number) / "stat").read_text().rpartition(")")[2].split()
            return None if state in "ZX" else f"t{fields[18]}"
        return f"s{psutil.Process(number).create_time():.2f}"
    except (OSError, psutil.NoSuchProcess):
        return None


def _read(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return str(psutil.boot_time())


def _link(path: str) -> str:
    try:
        return os.readlink(path)
    except OSError:
        return ""
