"""Who holds a claim: a process of a machine, named so that another one can tell whether it still lives."""

import hashlib
import os
import platform
import uuid
from functools import cache
from pathlib import Path

import psutil


@cache
def machine() -> str:
    """This machine, this boot, this space of process numbers: within it a number means one process."""
    parts = [platform.node(), _read("/proc/sys/kernel/random/boot_id"), _link("/proc/self/ns/pid")]
    return hashlib.sha256("|".join(parts).encode()).hexdigest()[:16]  # a ledger need not tell hosts' names


def new_owner() -> str:
    """A name for a coordinator in this process; two in one process differ."""
    started = psutil.Process().create_time()
    return f"{machine()}|{os.getpid()}|{started:.2f}|{uuid.uuid4().hex[:8]}"


def surely_gone(owner: str) -> bool:
    """Whether an owner was a process of this machine that has ended. False where that cannot be known from here."""
    where, number, started, _ = owner.rsplit("|", 3)
    if where != machine():
        return False
    try:
        return bool(abs(psutil.Process(int(number)).create_time() - float(started)) > 0.1)
    except psutil.NoSuchProcess:
        return True


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
