"""Where the ledger lies: SQLite in the run's folder, or a PostgreSQL that several coordinators share."""

import contextlib
import hashlib
import importlib.util
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.exc import ArgumentError, InterfaceError, OperationalError, SQLAlchemyError

from scalesearch.errors import UserError

DRIVERS = {"psycopg": "postgresql+psycopg", "psycopg2": "postgresql+psycopg2"}
PATIENCE_SECONDS = 300.0  # a restarting server is back in seconds, a moved one in a minute or two
RETRY_SECONDS = 1.0
WAIT_SECONDS = 0.1
# A suspended process keeps its locks: the server ends its session when it leaves a transaction standing for so long,
# and until then others wait for no lock longer than this
IDLE_SECONDS, LOCK_SECONDS = 60, 20

Answer = TypeVar("Answer")


class Storage:
    """A database, and patience with it: what fails because a server is away is tried again for five minutes.

    Args:
        url: of ``storage_url``.
        note: is told once that the server is away, and once that it is back.
    """

    def __init__(self, url: URL, note: Callable[[str], None] = lambda text: None) -> None:
        self.url, self._note = url, note
        self.shared = url.get_backend_name() == "postgresql"
        self.back_since = time.monotonic()  # since when the server has answered without a break
        self._away = False
        self._engine: Engine = create_engine(url, connect_args={} if self.shared else {"timeout": 60})
        self.bound(self._engine)

    @property
    def name(self) -> str:
        """For messages: the file, or the address without its password."""
        return self.url.render_as_string(hide_password=True) if self.shared else str(self.url.database)

    def do(self, work: Callable[[Connection], Answer]) -> Answer:
        """What ``work`` returns, in a transaction of its own; it may be called again.

        Raises:
            UserError: the database is full, read-only, damaged, foreign, or away for too long.
        """
        until: float | None = None
        while True:
            try:
                with self._engine.begin() as connection:
                    answer = work(connection)
            except (OperationalError, InterfaceError) as error:
                now = time.monotonic()
                self.back_since = now
                if not self.shared or (until is not None and now > until):
                    raise self.refused(error) from None
                until = until or now + PATIENCE_SECONDS
                if not self._away:  # said once, though several threads miss it
                    self._away = True
                    self._note(f"{self.name} does not answer ({reason(error)}); trying for {PATIENCE_SECONDS:g} s")
                time.sleep(RETRY_SECONDS)
            except (SQLAlchemyError, UnicodeDecodeError) as error:  # sqlite3 reads text from damaged pages
                raise self.refused(error) from None
            else:
                if self._away:
                    self._away = False
                    self._note(f"{self.name} is back")
                return answer

    def once(self) -> None:
        """Asks the server for an answer, without patience: a wrong address should be said at once.

        Raises:
            UserError: there is none.
        """
        try:
            with self._engine.begin() as connection:
                connection.execute(text("SELECT 1"))
        except SQLAlchemyError as error:
            raise self.refused(error) from None

    def bound(self, engine: Engine) -> None:
        """Bounds how long connections of an engine keep others waiting, and wait for others, on a shared server."""
        if self.shared:
            event.listen(engine, "connect", _bound)

    @contextlib.contextmanager
    def alone(self, what: str, patience_seconds: float) -> Iterator[bool]:
        """Whether no other coordinator of a shared database is in a block of the same ``what`` until this one ends;
        False where the wait for it took too long. A file has only one coordinator."""
        if not self.shared:
            yield True
            return
        key = int.from_bytes(hashlib.sha256(f"scalesearch {what}".encode()).digest()[:8], "big", signed=True)
        take, until = text("SELECT pg_try_advisory_xact_lock(:key)"), time.monotonic() + patience_seconds
        with self._engine.connect() as connection:  # the lock ends with the transaction, whatever happens to us
            while not (mine := bool(connection.execute(take, {"key": key}).scalar())) and time.monotonic() < until:
                connection.rollback()
                time.sleep(WAIT_SECONDS)
            try:
                yield mine
            finally:
                with contextlib.suppress(SQLAlchemyError):
                    connection.rollback()

    def close(self) -> None:
        """Ends the connections."""
        self._engine.dispose()

    def refused(self, error: Exception) -> UserError:
        """Our message for a database's."""
        what, cure = ("database", "it") if self.shared else ("study", "the file or its disk")
        do = f"Mend {cure} and run the same command again; what is done is kept."
        return UserError(self.name, f"the {what} cannot be read and written ({reason(error)}).", do=do)


def _bound(connection: Any, _record: object) -> None:
    before, connection.autocommit = connection.autocommit, True  # else the next rollback would undo it
    with connection.cursor() as cursor:
        cursor.execute(f"SET idle_in_transaction_session_timeout = '{IDLE_SECONDS}s'")
        cursor.execute(f"SET lock_timeout = '{LOCK_SECONDS}s'")
    connection.autocommit = before


def storage_url(folder: Path, storage: str | None) -> URL:
    """The database of a search: ``folder/study.db``, or the one asked for.

    Raises:
        UserError: not postgresql://USER:PASSWORD@HOST/DATABASE, or no driver for it.
    """
    if storage is None:
        return URL.create("sqlite", database=str((folder / "study.db").resolve()))
    form = "is not of the form postgresql://USER:PASSWORD@HOST/DATABASE."
    try:
        url = make_url(storage)
    except ArgumentError:
        raise UserError("--storage", f'"{storage}" {form}') from None
    if url.get_backend_name() not in ("postgresql", "postgres"):
        do = "Leave it out for SQLite in the run's folder, which takes one coordinator."
        raise UserError("--storage", f"{url.drivername}://… {form}", do=do)
    if "+" in url.drivername:
        return url
    for module, driver in DRIVERS.items():
        if importlib.util.find_spec(module):
            return url.set(drivername=driver)
    do = "Install psycopg: pip install 'scalesearch[postgresql]'."
    raise UserError("--storage", "no driver for PostgreSQL is installed.", do=do)


def reason(error: Exception) -> str:
    """The database's own words, without SQLAlchemy's around them."""
    original = getattr(error, "orig", None) or error
    lines = [line.strip() for line in str(original).splitlines() if line.strip()]
    return lines[0] if lines else type(original).__name__
