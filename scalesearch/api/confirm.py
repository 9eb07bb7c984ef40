"""Networks that a device's table chose, measured on that device before they are recommended."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch

from scalesearch.api.design import searched_scaling
from scalesearch.design.spec import NetSpec
from scalesearch.errors import UserError
from scalesearch.study.measured import MeasuredNetwork, MeasuredNetworks, read_measured, write_measured
from scalesearch.study.record import Record, read_record

LARGEST = 3  # φ of the largest member that is measured
SECONDS = 60.0


def confirm(folder: Path, tell: Callable[[str], None]) -> None:
    """Times φ = 0 and the members up to φ = 3 of a search by latency, where this is the device that its table is of.

    Only once the search is over; what was measured of the same networks before is kept. ``measured.json`` in the run's
    folder says what came out.
    """
    record = read_record(folder)
    table = record.plan.measure.table
    if table is None or not record.complete or record.answer is None or record.answer.undecided:
        return
    specs, digest = members(record), record.plan.digest
    before = read_measured(folder, digest)
    if before is not None and before.how and [one.digest for one in before.networks] == [one.digest for one in specs]:
        return
    from scalesearch.nets.device import network_times
    from scalesearch.training.device import threads_for

    tell(f"Measures {len(specs)} networks in {table.runtime}, and some of the table's, which takes up to a minute")
    try:
        with threads_for(torch.device("cpu"), table.threads):
            times, slower = network_times(specs, table, SECONDS)
    except UserError as error:
        write_measured(folder, MeasuredNetworks(digest, "", error.problem, ()))
        return
    found = tuple(
        MeasuredNetwork(spec.name, spec.digest, table.network_ms(spec), ms)
        for spec, ms in zip(specs, times, strict=True)
    )
    write_measured(folder, MeasuredNetworks(digest, f"by turns, {table.runtime}, {table.condition}", "", found, slower))


def members(record: Record) -> tuple[NetSpec, ...]:
    """B0, B1, …, as the search's coefficients give them; B1 is the network recommended."""
    scaling = searched_scaling(record)
    return tuple(replace(one.spec, name=one.name) for one in (scaling.member(phi) for phi in range(LARGEST + 1)))
