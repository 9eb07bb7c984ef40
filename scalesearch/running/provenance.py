"""Provenance: who made a run, of what, with what; kept in ``run.json`` beside the plan."""

import os
import platform
import re
import sys
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from scalesearch.data.dataset import SET_NAMES, Dataset
from scalesearch.data.grouping import grouped, parted
from scalesearch.design.candidates import Enumeration
from scalesearch.errors import pasted
from scalesearch.files import read_json, write_json
from scalesearch.machine import cores
from scalesearch.study.record import RUN_FILE

OURS = ("scalesearch", "__main__.py", "-c", "")  # what the command line is started as
PACKAGES = ("scalesearch", "torch", "torchvision", "fvcore", "optuna", "numpy", "pillow")


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that decide the numbers."""
    return {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}}


def hardware(device: str) -> str:
    """The processor, its cores and the GPU if one is used."""
    name = f"{_processor()}, {cores()} cores"
    if device == "cpu":
        return name
    import torch

    if not torch.cuda.is_available():  # a coordinator whose workers have them
        return f"GPUs of other machines; {name}"
    return f"{torch.cuda.get_device_name(device)}; {name}"


def command() -> str:
    """The command line as it was typed, with the program's own name; of a Python program its name and arguments."""
    name = Path(sys.argv[0]).name
    typed = pasted(*(["scalesearch"] if name in OURS else ["python", name]), *sys.argv[1:])
    return re.sub(r"(://[^\s:/@]*:)[^\s@]+@", r"\1***@", typed)  # a database's password is nobody's business


def argument(data: str) -> str:
    """What was given as --data, so that it can be opened from anywhere: absolute for a path."""
    name, by = parted(data)
    return grouped(name if name in SET_NAMES else os.path.realpath(os.path.expanduser(name)), by)


def provenance(device: str) -> dict[str, Any]:
    """Command, versions, machine and date of this process."""
    return {
        "command": command(),
        "versions": versions(),
        "hardware": hardware(device),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def run_facts(listed: Enumeration, data: Dataset, device: str, given: str) -> dict[str, Any]:
    """What is written into ``run.json`` besides the plan; ``given`` is what was given as --data."""
    return {
        "data_argument": argument(given),
        **provenance(device),
        "classes": len(data.classes),
        "class_names": list(data.classes),
        "images": {"train": len(data.train), "validation": len(data.validation), "test": len(data.test)},
        "notes": list(data.source.notes),
        "source_digest": data.source.digest,
        "nominal": listed.nominal,
        "candidates": len(listed.candidates),
    }


def add_seconds(folder: Path, seconds: float) -> None:
    """Adds an invocation's wall time to the run's."""
    values = read_json(folder / RUN_FILE, "a run of scalesearch")
    write_json(folder / RUN_FILE, {**values, "seconds": values.get("seconds", 0.0) + seconds})


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.processor() or platform.machine()
