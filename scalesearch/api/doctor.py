"""What this machine has, what a search on it would use, and what is broken."""

import importlib
import os
import platform
import re
import tempfile
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

import torch

from scalesearch.data.places import CACHE_VARIABLE, cache_root, free_bytes, nearest
from scalesearch.machine import affine_cores, cores, memory_limit, quota_cores
from scalesearch.running.provenance import hardware
from scalesearch.running.workers import usual_jobs
from scalesearch.training.device import choose_device, uses_bf16
from scalesearch.training.memory import available_memory

PACKAGES = (
    "scalesearch", "torch", "torchvision", "fvcore", "optuna", "numpy", "pandas", "pillow", "matplotlib", "safetensors",
    "typer",
)  # fmt: skip
MODULES = ("torch", "torchvision", "fvcore", "optuna", "pandas", "matplotlib", "PIL")  # what a search imports
WHAT_FOR = {  # what an extra adds
    "datasets": "flowers102 and svhn", "export": "export --format onnx", "faces": "faces", "docs": "make docs",
    "dev": "tests and checks", "parquet": "--data of Parquet and Arrow files",
}  # fmt: skip
VARIABLES = (
    CACHE_VARIABLE, "SCALESEARCH_DATA", "OMP_NUM_THREADS", "CUDA_VISIBLE_DEVICES", "TORCH_HOME", "NO_COLOR"
)  # fmt: skip
ABSENT = "not installed"
LEAST_DISK = 1e9  # bytes: below it a decoded set or a model may not fit


@dataclass(frozen=True)
class Health:
    """Sections of names and values in words; ``broken`` says what has to be mended, and how."""

    versions: dict[str, str]
    extras: dict[str, str]
    machine: dict[str, str]
    folders: dict[str, str]
    variables: dict[str, str]
    used: dict[str, str]
    broken: tuple[str, ...]


def doctor() -> Health:
    """Looks at the machine: what it has, what would be used, what is broken. Writes nothing that stays."""
    used = _used()  # first: choosing a device bounds torch's threads
    hub = Path(torch.hub.get_dir()) / "checkpoints"
    folders = {"data cache": cache_root(), "published weights": hub, "runs": Path("runs")}
    return Health(
        versions={"python": platform.python_version(), **{name: _version(name) for name in PACKAGES}},
        extras={name: _extra(packages, WHAT_FOR.get(name, "")) for name, packages in extras().items()},
        machine=_machine(),
        folders={name: _folder(path) for name, path in folders.items()},
        variables={name: os.environ.get(name, "not set") for name in VARIABLES},
        used=used,
        broken=(*_unimportable(), *(text for path in folders.values() for text in _unwritable(path))),
    )


def _version(name: str) -> str:
    try:
        return str(torch.__version__) if name == "torch" else version(name)  # its own says for which CUDA it was built
    except PackageNotFoundError:
        return ABSENT


def extras() -> dict[str, tuple[str, ...]]:
    """The packages of each extra, as the installed project names them."""
    packages: dict[str, tuple[str, ...]] = {}
    for line in requires("scalesearch") or []:
        match = re.match(r"([\w.-]+).*;.*extra\s*==\s*['\"]([\w.-]+)['\"]", line)
        if match:
            packages[match[2]] = (*packages.get(match[2], ()), match[1])
    return packages


def _extra(packages: tuple[str, ...], what: str) -> str:
    missing = [name for name in packages if _version(name) == ABSENT]
    state = f"missing {', '.join(missing)}" if missing else "installed"
    return f"{state} ({what})" if what else state


def _unimportable() -> list[str]:
    """Packages that are there, perhaps, and cannot be used."""
    broken = []
    for name in MODULES:
        try:
            importlib.import_module(name)
        except Exception as error:  # a broken binary raises anything
            broken.append(f"{name} cannot be imported ({error}). Install scalesearch again.")
    return broken


def _machine() -> dict[str, str]:
    quota, limit = quota_cores(), memory_limit()
    machine = {
        "processor": hardware("cpu"),
        "cores": f"{cores()} used, of {affine_cores()} that may be run on"
        + ("" if quota is None else f"; the container's quota is {quota:.3g}"),
        "threads of torch": str(torch.get_num_threads()),
        "free memory": gigabytes(available_memory(torch.device("cpu")))
        + ("" if limit is None else f"; the container's limit is {gigabytes(limit.total)}"),
    }
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    for index in range(count):
        device = torch.device("cuda", index)
        properties = torch.cuda.get_device_properties(device)
        free, bf16 = available_memory(device), uses_bf16(device, "auto")
        machine[str(device)] = (
            f"{properties.name}, {gigabytes(free)} of {gigabytes(properties.total_memory)} free, "
            f"bf16 {'in hardware' if bf16 else 'not in hardware'}"
        )
    return machine if count else {**machine, "GPU": "none that torch can use"}


def _used() -> dict[str, str]:
    device = choose_device("auto")
    jobs = usual_jobs(device.type)
    return {
        "device": str(device),
        "precision": "bf16 (autocast), channels last" if uses_bf16(device, "auto") else "float32, channels last",
        "grid": f"{'' if device.type == 'cpu' else 'at most '}{jobs} trainings at a time, one thread each",
        "finetune": f"{torch.get_num_threads()} threads" if device.type == "cpu" else f"{device}; torchrun for several",
    }


def _folder(path: Path) -> str:
    """Where it is, how much it holds, how much room there is."""
    size = f"{gigabytes(_size(path))}, " if path.is_dir() else "not there yet, "
    return f"{path} ({size}{gigabytes(free_bytes(path))} free on its disk)"


def _size(folder: Path) -> int:
    paths = (os.path.join(root, name) for root, _, names in os.walk(folder) for name in names)
    return sum(os.path.getsize(path) for path in paths if os.path.exists(path))


def _unwritable(path: Path) -> list[str]:
    """What keeps a folder, or the one it would be made in, from being written to."""
    there = nearest(path)
    try:
        with tempfile.TemporaryFile(dir=there):
            pass
    except OSError as error:
        return [f"{path} cannot be written to ({error.strerror}: {there}). Give yourself the right to, or another."]
    if free_bytes(path) < LEAST_DISK:
        return [f"{path} has {gigabytes(free_bytes(path))} free. Make room, or set {CACHE_VARIABLE} to a larger disk."]
    return []


def gigabytes(count: float) -> str:
    """ "3.2 GB", "45 MB"."""
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"
