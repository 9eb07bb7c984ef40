"""A PostgreSQL of the tests' own, on a local socket in a folder of theirs; nobody else sees it."""

import contextlib
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

DEBIAN = Path("/usr/lib/postgresql")
REASON = "no PostgreSQL server here (Debian: apt-get install postgresql)"


def binaries() -> Path | None:
    """The folder of initdb and postgres, or None."""
    found = [path.parent for path in sorted(DEBIAN.glob("*/bin/initdb"))]
    named = shutil.which("initdb")
    return found[-1] if found else Path(named).resolve().parent if named else None


class Server:
    """A server that can be stopped, started and killed."""

    def __init__(self, folder: Path, programs: Path) -> None:
        self.folder, self._programs = folder, programs
        self.url = f"postgresql:///postgres?host={folder}&user=tests"
        self._as = self._other_user()
        self._run("initdb", "--pgdata", str(folder / "data"), "--username", "tests", "--auth", "trust", "--no-sync")

    def _other_user(self) -> list[str]:
        """PostgreSQL refuses to run as root."""
        if os.geteuid() != 0:
            return []
        names = [entry.pw_name for entry in pwd.getpwall()]
        name = "postgres" if "postgres" in names else "nobody"
        shutil.chown(self.folder, name)
        return ["setpriv", f"--reuid={name}", f"--regid={pwd.getpwnam(name).pw_gid}", "--clear-groups"]

    def _run(self, program: str, *arguments: str) -> None:
        command = [*self._as, str(self._programs / program), *arguments]
        subprocess.run(command, check=True, cwd=self.folder, stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL)

    def version(self) -> str:
        """Such as "postgres (PostgreSQL) 15.18"."""
        return subprocess.run(
            [self._programs / "postgres", "-V"], capture_output=True, text=True, check=True
        ).stdout.strip()

    def sql(self, commands: str) -> None:
        """Runs each by itself."""
        import psycopg

        with psycopg.connect(f"host={self.folder} dbname=postgres user=tests", autocommit=True) as connection:
            for command in commands.split(";"):
                connection.execute(command.encode())

    def start(self, connections: int = 100) -> None:
        """Waits until it answers."""
        options = f"-k {self.folder} -c listen_addresses= -c max_connections={connections}"
        log = ["-l", str(self.folder / "log"), "-w", "-t", "60"]
        self._run("pg_ctl", "start", "-D", str(self.folder / "data"), *log, "-o", options)

    def stop(self, mode: str = "fast") -> None:
        """``mode``: "fast" ends connections, "immediate" is a crash."""
        self._run("pg_ctl", "stop", "-D", str(self.folder / "data"), "-m", mode, "-w")


@contextlib.contextmanager
def server(connections: int = 100) -> Iterator[Server]:
    """A running one, gone afterwards."""
    programs = binaries()
    assert programs is not None, REASON
    # a short path: a socket's may have 107 characters
    with tempfile.TemporaryDirectory(prefix="pg", ignore_cleanup_errors=True) as folder:
        one = Server(Path(folder), programs)
        one.start(connections)
        try:
            yield one
        finally:
            with contextlib.suppress(subprocess.CalledProcessError):
                one.stop("immediate")
