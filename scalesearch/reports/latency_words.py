"""What a search by latency says of its milliseconds: which are predicted, with which error, and which are measured."""

from collections.abc import Iterator

from scalesearch.design.latency import LatencyTable
from scalesearch.study.measured import WITHIN, MeasuredNetwork
from scalesearch.study.record import Record
from scalesearch.units import show_percent

NOTICED = 0.03  # of a machine's speed: less is within what medians vary by


def latencies(record: Record) -> tuple[str, ...]:
    """Sentences; none where latency is not what candidates are equal in."""
    table = record.plan.measure.table
    return () if table is None else tuple(_told(record, table))


def _told(record: Record, table: LatencyTable) -> Iterator[str]:
    yield f"Milliseconds are predicted by a table of {table}; it is {table.error_words}."
    measured = record.measured
    if measured is None:
        return
    if not measured.networks:
        yield f"None was measured: {measured.why} Measure what you choose before you deploy it."
        return
    each = "; ".join(f"{one.name} {one.measured_ms:.3g} ms ({_against(one)})" for one in measured.networks)
    yield f"Measured {measured.how}: {each}."
    slower = 0.0 if measured.slower is None or abs(measured.slower) < NOTICED else measured.slower
    if slower:
        others = "networks that the table was made from, timed with them, took"
        yield f"The machine's speed had changed: {others} {_longer(slower)} than when it was made."
    for one in measured.networks:
        off = (1 + one.off) / (1 + slower) - 1
        if abs(off) > WITHIN < abs(one.off):
            than = "than predicted beside that" if slower else "than predicted"
            yield f"{one.name} takes {_longer(off)} {than}; trust what was measured."


def _longer(share: float) -> str:
    return f"{show_percent(abs(share), 0)} {'longer' if share > 0 else 'less time'}"


def _against(one: MeasuredNetwork) -> str:
    return f"{one.predicted_ms:.3g} predicted, {show_percent(one.off, 0, sign=True)}"
