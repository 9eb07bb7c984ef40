"""Latency tables of devices: measured here, or from what a probe brought back from elsewhere."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from scalesearch.api.options import (
    DeviceMeasureOptions,
    DeviceProbeOptions,
    DeviceShowOptions,
    takes,
)
from scalesearch.design.latency import LatencyTable, load_table
from scalesearch.design.space import load_space
from scalesearch.design.spec import NetSpec
from scalesearch.errors import UserError

if TYPE_CHECKING:
    from scalesearch.design.latency_fit import Readings


@dataclass(frozen=True)
class MeasuredDevice:
    """A device's table, and the file that holds it, which ``--device-table`` takes."""

    table: LatencyTable
    file: Path


@dataclass(frozen=True)
class WrittenProbe:
    """A folder to be copied to a device, with a program to be run there; ``size`` in bytes."""

    folder: Path
    networks: int
    size: int


@takes(DeviceMeasureOptions)
def measure(asked: DeviceMeasureOptions) -> MeasuredDevice:
    """Times networks on this machine, or takes the times of a probe, and makes the latency table of them.

    Raises:
        UserError: a runtime that is not installed or cannot do what is asked, or times that are none.
    """
    from scalesearch.design.latency_fit import fit
    from scalesearch.nets.device import read_readings

    out = Path(asked.out)
    if out.suffix != ".json":
        raise UserError("--out", f"{out} does not end in .json.", do="Name it .json.")
    readings = read_readings(Path(asked.from_probe)) if asked.from_probe is not None else timed(asked)
    table = fit(readings)
    table.write(out)
    return MeasuredDevice(table, out)


@takes(DeviceShowOptions)
def show(asked: DeviceShowOptions) -> LatencyTable:
    """Reads a table, or makes one of the times that a probe brought back.

    Raises:
        UserError: no such file, none of these, or of a later version.
    """
    return load_table(Path(asked.table))


@takes(DeviceProbeOptions)
def probe(asked: DeviceProbeOptions) -> WrittenProbe:
    """Writes ONNX networks and a program that times them on another device, where it needs only Python and onnxruntime.

    Raises:
        UserError: onnx is not installed, or the folder holds files.
    """
    from scalesearch.nets.device import write_probe

    folder = Path(asked.folder)
    written = write_probe(folder, baselines(asked.spaces), asked.batch_size)
    networks = sum(one.suffix == ".onnx" for one in written)
    return WrittenProbe(folder, networks, sum(one.stat().st_size for one in written))


def timed(asked: DeviceMeasureOptions) -> "Readings":
    """The times of networks on this machine."""
    from scalesearch.machine import cores
    from scalesearch.nets.device import onnx_readings, silent, torch_readings
    from scalesearch.training.device import choose_device, threads_for

    tell, seconds, listed = asked.reading or silent, 60 * asked.minutes, baselines(asked.spaces)
    if asked.runtime == "onnxruntime":
        if asked.dtype != "float32":
            problem = f"ONNX Runtime times networks of float32 here, not {asked.dtype}."
            raise UserError("--dtype", problem, do="Leave it out, or give --runtime torch.")
        if asked.device not in ("cpu", "auto"):
            problem = f"ONNX Runtime times networks on the CPU here, not on {asked.device}."
            raise UserError("--device", problem, do="Leave it out, or give --runtime torch.")
        return onnx_readings(listed, asked.batch_size, asked.threads or cores(), seconds, tell)
    place = choose_device(asked.device)
    if place.type == "cpu" and asked.dtype == "float16":
        raise UserError("--dtype", "torch has no fast float16 on a CPU.", do="Give bfloat16 or float32.")
    with threads_for(place, asked.threads):
        return torch_readings(listed, asked.batch_size, place, asked.dtype, seconds, tell)


def baselines(spaces: Sequence[str] | str) -> tuple[NetSpec, ...]:
    """The baselines of spaces, each once. Raises UserError for an unknown space, and where there is none."""
    given = [spaces] if isinstance(spaces, str) else spaces
    names = [name.strip() for one in given for name in one.split(",") if name.strip()]
    if not names:
        raise UserError("--spaces", "no space was named.", do="Name some, such as efficientnet_b0,mbconv_small.")
    return tuple(load_space(name).baseline for name in dict.fromkeys(names))
