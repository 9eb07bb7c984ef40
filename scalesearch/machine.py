"""What this process may use of the machine: cores and memory, also where a container or a cluster's job has less.

Linux bounds groups of processes ("control groups", in two versions that may be mounted side by side). A group lies
below others, and the least of their bounds holds.
"""

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

ROOT = Path("/")
Versions = tuple[str, str]  # a file's name in control groups of version 1 and of version 2
_LIMIT: Versions = ("memory.limit_in_bytes", "memory.max")
_USE: Versions = ("memory.usage_in_bytes", "memory.current")
_GIVEN_BACK: Versions = ("total_inactive_file", "inactive_file")  # of memory.stat: files' pages, dropped when needed


def cores(root: Path = ROOT) -> int:
    """Cores that this process may keep busy: those that it may run on, or the whole ones of its quota, at least one."""
    quota = quota_cores(root)
    return affine_cores() if quota is None else max(1, min(affine_cores(), int(quota)))


def running_elsewhere() -> float:
    """How many programs besides this one keep a core busy: by the last minute, or this moment where that is more."""
    last = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    with contextlib.suppress(OSError, ValueError, IndexError):  # such as "0.51 0.32 0.20 3/412 9001" on Linux
        return max(last, int((ROOT / "proc" / "loadavg").read_text().split()[3].split("/")[0]) - 1)
    return last


def affine_cores() -> int:
    """Cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def quota_cores(root: Path = ROOT) -> float | None:
    """How many cores' time the control groups of this process get, such as 1.5; None for no bound."""
    return min(filter(None, map(_quota, _groups("cpu", root))), default=None)


@dataclass(frozen=True)
class MemoryLimit:
    """Bytes that a control group may take, and what is left of them; what it holds of files is dropped when needed."""

    total: int
    free: int


def memory_limit(root: Path = ROOT) -> MemoryLimit | None:
    """Of the control group of this process, or above it, that has least left; None where none has a bound."""
    return min(filter(None, map(_memory, _groups("memory", root))), key=lambda one: one.free, default=None)


@dataclass(frozen=True)
class _Group:
    """A control group's folder, and its version: 0 for the first, 1 for the second."""

    folder: Path
    version: int

    def text(self, names: Versions) -> str:
        return (self.folder / names[self.version]).read_text()

    def number(self, names: Versions) -> int:
        return int(self.text(names))


def _quota(group: _Group) -> float | None:
    with contextlib.suppress(OSError, ValueError):  # absent at the top, "max"
        if group.version:
            time, period = map(int, group.text(("", "cpu.max")).split())
        else:
            time, period = (int((group.folder / f"cpu.cfs_{one}_us").read_text()) for one in ("quota", "period"))
        if time > 0 and period > 0:
            return time / period
    return None


def _memory(group: _Group) -> MemoryLimit | None:
    with contextlib.suppress(OSError, ValueError):  # as above
        limit, use = group.number(_LIMIT), group.number(_USE)
        if limit < _physical():  # version 1 writes no bound as the largest number of pages
            return MemoryLimit(limit, max(0, limit - max(0, use - _given_back(group))))
    return None


def _given_back(group: _Group) -> int:
    with contextlib.suppress(OSError, ValueError):
        stat = dict(line.split() for line in group.text(("memory.stat", "memory.stat")).splitlines())
        return int(stat.get(_GIVEN_BACK[group.version], 0))
    return 0


def _physical() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _groups(controller: str, root: Path) -> Iterator[_Group]:
    """The groups that bound this process by a controller, from its own up to the topmost that can be seen here."""
    try:
        memberships = (root / "proc/self/cgroup").read_text().splitlines()
        mounts = [line.split() for line in (root / "proc/self/mountinfo").read_text().splitlines()]
    except OSError:  # no Linux, or one that shows nothing
        return
    for version, kind in enumerate(("cgroup", "cgroup2")):
        wanted = "" if version else controller
        paths = [path for _, names, path in (line.split(":", 2) for line in memberships) if wanted in names.split(",")]
        for fields in mounts:
            kind_at = fields.index("-") + 1
            if fields[kind_at] == kind and (version or controller in fields[-1].split(",")):
                for path in paths:
                    for folder in _upwards(path, top=fields[3]):
                        yield _Group(root / _unescaped(fields[4]).lstrip("/") / folder, version)


def _upwards(path: str, top: str) -> Iterator[PurePosixPath]:
    """A group's folder below the mount, whose own is the group ``top``, and those above it.

    Where ``path`` is not below ``top``, as in a container that sees the paths of its host, the mount is the group.
    """
    own = PurePosixPath(path)
    below = own.relative_to(top) if own.is_relative_to(top) and ".." not in own.parts else PurePosixPath()
    yield below
    yield from below.parents


def _unescaped(text: str) -> str:
    """The kernel writes spaces in paths as \\040."""
    return text.encode().decode("unicode_escape").encode("latin-1").decode()
