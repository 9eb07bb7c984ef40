"""The report's further sections, each a function from values to markdown."""

from collections.abc import Sequence
from typing import Any

import pandas as pd

from scalesearch.design.candidates import SEARCH_RATIO
from scalesearch.reports.facts import RunFacts
from scalesearch.reports.findings import Findings
from scalesearch.reports.statistics import done_trials
from scalesearch.reports.tables import (
    Member,
    drop_reasons,
    epochs_text,
    failures,
    family_table,
    markdown_table,
    percent,
    plain,
    top_candidates,
)


def figures(names: Sequence[tuple[str, str]]) -> str:
    """Figures one under another, captions beneath: (file, caption) pairs."""
    return "\n\n".join(f"![{caption}]({name})\n\n{caption}." for name, caption in names)


def candidates_section(found: Findings, note: str) -> str:
    """The ten best, the rest of the winner set, and the baseline; ``note`` says what the accuracies come from."""
    if found.summary.empty:
        return "No trial has a result yet."
    return f"{note[0].upper()}{note[1:]}.\n\n{markdown_table(top_candidates(found.summary))}"


def transfer_section(facts: RunFacts) -> str:
    """What ``verify`` found; nothing where it was not run."""
    return "\n\n".join(f"φ = {one.phi:g}, {one.note}, {one.tau}. {one.said}" for one in facts.transfers)


def family_section(family: Sequence[Member], facts: RunFacts) -> str:
    """B0…B6; tested members carry their accuracy on the test images."""
    if not family:
        return "The family follows from the coefficients, once the search is finished."
    tested = sum(bool(member.get("images")) for member in family)
    note = f"{tested} of {len(family)} members are tested, on the test images of {plain(facts.data.name)}."
    return f"{markdown_table(family_table(family))}\n\n{note}"


def cost_section(found: Findings, facts: RunFacts) -> str:
    """What the candidates really cost, and how much of a score's lead cost alone could make."""
    counting = (
        "FLOPs are multiply-adds of convolution and linear operators, as fvcore counts them in eval mode. "
        "fvcore's own total, with batch norm and pooling, is the column `fvcore_total` of results.csv."
    )
    rows = found.results[found.results["role"] == "candidate"].drop_duplicates("candidate")
    if rows.empty:
        return counting
    nominal, real = rows["nominal_ratio"].astype(float), rows["real_ratio"].astype(float)
    near = int(((real / SEARCH_RATIO - 1).abs() <= 0.05 + 1e-9).sum())
    lead = (real.max() / real.min()) ** abs(facts.space.exponent) - 1
    return (
        f"{counting}\n\n"
        f"- Nominal ratio αβ²γ² of the candidates listed: {nominal.min():.3f} to {nominal.max():.3f}.\n"
        f"- Real ratio of the networks built: {real.min():.3f} to {real.max():.3f} (median {real.median():.3f}); "
        f"{near} of {len(rows)} within ±5 % of {SEARCH_RATIO:g}.\n"
        f"- The FLOPs factor alone moves scores by {percent(lead, 2)} from the dearest to the cheapest candidate."
    )


def dropped_section(facts: RunFacts) -> str:
    """From nominal triples to networks: what was merged, what was left out and why."""
    dropped = facts.space.dropped
    return f"{grid_text(facts)}\n\n{markdown_table(drop_reasons(dropped))}" if dropped else grid_text(facts)


def grid_text(facts: RunFacts) -> str:
    """How many triples stand on the grid, and how many networks they come to."""
    space = facts.space
    kept = space.triples - len(space.dropped)
    return (
        f"{space.triples} triples with |αβ²γ² − {SEARCH_RATIO:g}| ≤ {space.tolerance:g} stand on the grid (step "
        f"{space.step:g}); {len(space.dropped)} were dropped; the other {kept} land on {space.networks} distinct "
        f"networks (rounding rule: {space.rounding})."
    )


def failed_section(found: Findings) -> str:
    """Trials without a result, each with its reason."""
    return markdown_table(failures(found.results)) if len(found.failed) else "None."


def provenance(found: Findings, facts: RunFacts) -> pd.DataFrame:
    """Where every number comes from, and what it took."""
    data, space = facts.data, facts.space
    rungs = facts.winners.rungs if facts.winners else ()
    seeds = sorted(set(found.results["seed"].astype(int)))
    rows = [
        ("run", facts.name),
        ("data", f"{data.name}, digest {data.digest}"),
        ("images", f"{data.train_images} train, {data.validation_images} validation, {data.test_images} test"),
        ("search space", f"{space.name}, digest {space.digest}"),
        ("rungs", ", ".join(f"{epochs_text(epochs)} × {count} seed(s)" for epochs, count in rungs)),
        ("seeds", ", ".join(map(str, seeds))),
        ("training", facts.training.settings),
        ("versions", ", ".join(f"{package} {version}" for package, version in facts.versions)),
        ("hardware", facts.hardware),
        ("date", facts.date),
        *spent(found, facts),
    ]
    return pd.DataFrame([(what, value) for what, value in rows if value], columns=["what", "value"])


def spent(found: Findings, facts: RunFacts) -> list[tuple[str, str]]:
    """Time, and energy and price where rates are given."""
    trained = float(done_trials(found.results)["seconds"].sum())
    hours = (facts.seconds or trained) / 3600
    rates = facts.rates
    rows = [
        ("time", duration_text(facts.seconds) if facts.seconds else ""),
        ("time in trainings", f"{duration_text(trained)}, {len(found.results)} trainings, added up"),
    ]
    if rates.watts is not None:
        rows.append(("energy, estimated", f"{energy_text(rates.watts * hours)} at {rates.watts:g} W throughout"))
    if rates.price_per_hour is not None:
        price = rates.price_per_hour
        rows.append(("price, estimated", f"{price * hours:.2f} at {price:g} an hour"))
    return rows


def energy_text(watt_hours: float) -> str:
    """Watt-hours, or kilowatt-hours from 100 on.

    >>> energy_text(1.75), energy_text(2340)
    ('1.75 Wh', '2.34 kWh')
    """
    return f"{watt_hours:.3g} Wh" if watt_hours < 100 else f"{watt_hours / 1000:.3g} kWh"


def trained_text(row: Any) -> str:
    """``18 epochs, 1 seed``."""
    return f"{epochs_text(row['epochs'])}, {row['seeds']} seed{'' if row['seeds'] == 1 else 's'}"


def duration_text(seconds: float) -> str:
    """Seconds as people say them.

    >>> duration_text(42.4), duration_text(754), duration_text(7440)
    ('42 s', '12 min 34 s', '2 h 4 min')
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
