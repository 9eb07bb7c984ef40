"""What a search by latency says of its milliseconds: which are predicted, with which error, and which are measured."""

from collections.abc import Iterator

from scalesearch.design.latency import LatencyTable
from scalesearch.study.measured import WITHIN, MeasuredNetwork
from scalesearch.study.record import Record
from scalesearch.units import show_percent


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
    for one in measured.networks:
        if abs(one.off) > WITHIN:
            longer = "longer" if one.off > 0 else "shorter"
            yield f"{one.name} takes {show_percent(abs(one.off), 0)} {longer} than predicted; trust what was measured."


def _against(one: MeasuredNetwork) -> str:
    return f"{one.predicted_ms:.3g} predicted, {show_percent(one.off, 0, sign=True)}"
