"""The report's further sections, each a function from values to markdown."""

from collections.abc import Sequence

import pandas as pd

from scalesearch.design.candidates import SEARCH_RATIO
from scalesearch.reports.facts import RunFacts
from scalesearch.reports.findings import Findings
from scalesearch.reports.tables import (
    Member,
    drop_reasons,
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
    space = facts.space
    kept = space.triples - len(space.dropped)
    text = (
        f"{space.triples} triples with |αβ²γ² − {SEARCH_RATIO:g}| ≤ {space.tolerance:g} stand on the grid (step "
        f"{space.step:g}); {len(space.dropped)} were dropped; the other {kept} land on {space.networks} distinct "
        f"networks (rounding rule: {space.rounding})."
    )
    return f"{text}\n\n{markdown_table(drop_reasons(space.dropped))}" if space.dropped else text


def failed_section(found: Findings) -> str:
    """Trials without a result, each with its reason."""
    return markdown_table(failures(found.results)) if len(found.failed) else "None."


def provenance(facts: RunFacts) -> str:
    """Where every number comes from."""
    data, space = facts.data, facts.space
    rungs = facts.winners.rungs if facts.winners else ()
    rows = [
        ("run", facts.name),
        ("data", f"{data.name}, digest {data.digest}"),
        ("images", f"{data.train_images} train, {data.validation_images} validation, {data.test_images} test"),
        ("search space", f"{space.name}, digest {space.digest}"),
        ("rungs", ", ".join(f"{epochs} epochs × {seeds} seed(s)" for epochs, seeds in rungs)),
        ("versions", ", ".join(f"{package} {version}" for package, version in facts.versions)),
        ("hardware", facts.hardware),
        ("date", facts.date),
        ("time", duration_text(facts.seconds)),
    ]
    return markdown_table(pd.DataFrame(rows, columns=["what", "value"]))


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
