"""Several searches side by side: what was asked of each, what came out, and whether their numbers can be compared."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

import pandas as pd

from scalesearch.reports.facts import RunFacts
from scalesearch.reports.findings import Findings
from scalesearch.reports.sections import spent, trained_text
from scalesearch.reports.tables import count_text, interval_text, percent

Key = str | tuple[float, ...]
ASKED = (
    ("data", lambda f: f"{f.data.name}, digest {f.data.digest}"),
    ("validation images", lambda f: f"{f.data.validation_images}"),
    ("search space", lambda f: f"{f.space.name}, baseline {f.space.digest}"),
    ("T", lambda f: f"{count_text(f.space.target_macs)} FLOPs"),
    ("grid", lambda f: f"step {f.space.step:g}, |αβ²γ² − 2| ≤ {f.space.tolerance:g}, rounding {f.space.rounding}"),
    ("trained", lambda f: f"up to {f.training.epochs} epochs on {f.training.train_images} images, {_size(f)}"),
    ("settings", lambda f: f.training.settings),
)  # what decides a search's numbers


@dataclass(frozen=True, eq=False)
class Run:
    """One search of the comparison, under a name of its own."""

    name: str
    found: Findings
    facts: RunFacts


def named(runs: Sequence[Run]) -> tuple[Run, ...]:
    """The runs, those of one name told apart by their number."""
    names = [run.name for run in runs]
    return tuple(
        replace(run, name=f"{run.name} ({number})") if names.count(run.name) > 1 else run
        for number, run in enumerate(runs, start=1)
    )


def verdict(runs: Sequence[Run]) -> str:
    """Whether accuracies can be compared, and if not, why."""
    return " ".join(part for part in (_verdict(runs), _lengths(runs)) if part)


def _lengths(runs: Sequence[Run]) -> str:
    """A warning where the leading candidates were not trained for as long as each other; else nothing."""
    epochs = [row["epochs"] for row in map(leading, runs) if row is not None]
    if len(set(epochs)) < 2:
        return ""
    listed = ", ".join(map(str, epochs))
    return f"The candidates in front were trained for {listed} epochs: their accuracies do not compare, either."


def _verdict(runs: Sequence[Run]) -> str:
    differing = [what for what, text in ASKED if len({text(run.facts) for run in runs}) > 1]
    if not same_images(runs):
        return (
            "**Different images (their digests differ): accuracies and scores cannot be compared between these "
            "searches.** "
            "Coefficients can, as far as one data set can tell of another."
        )
    if differing:
        return (
            f"**Same images, but not the same search (differing: {', '.join(differing)}).** A difference in accuracy "
            "may come from that as well as from the coefficients."
        )
    return (
        "**The same search, as far as its settings go.** What differs comes from how far each was run, from the "
        "machine, or from the version."
    )


def same_images(runs: Sequence[Run]) -> bool:
    """Whether all were judged on the same validation images."""
    return len({(run.facts.data.digest, run.facts.data.validation_images) for run in runs}) == 1


def overview(runs: Sequence[Run]) -> pd.DataFrame:
    """A column a run: what was asked, what came out, what it took."""
    rows = [(what, *(text(run.facts) for run in runs)) for what, text in ASKED]
    outcomes = [_outcome(run) for run in runs]
    rows += [(what, *(outcome.get(what, "") for outcome in outcomes)) for what in outcomes[0]]
    took = [dict(spent(run.found, run.facts)) for run in runs]
    rows += [(what, *(one.get(what, "") for one in took)) for what in took[0] if any(one.get(what) for one in took)]
    return pd.DataFrame(rows, columns=["what", *(run.name for run in runs)])


def overlaps(runs: Sequence[Run]) -> pd.DataFrame:
    """For each pair of runs: how far their winner sets agree, among the candidates that both have results of."""
    rows = []
    for one, other in combinations(runs, 2):
        matching = _keys(one, other)
        mine, theirs = ({matching[side][name] for name in _members(run)} for side, run in enumerate((one, other)))
        common = set(matching[0].values()) & set(matching[1].values())
        rows.append(
            (f"{one.name} and {other.name}", len(common), len(mine & theirs & common), len((mine - theirs) & common),
             len((theirs - mine) & common), "same network" if _same_baseline(one, other) else "same α, β, γ")
        )  # fmt: skip
    columns = [
        "runs",
        "candidates of both",
        "in both sets",
        "in the first's only",
        "in the second's only",
        "matched by",
    ]
    return pd.DataFrame(rows, columns=columns)


def abroad(runs: Sequence[Run]) -> pd.DataFrame:
    """How each run's recommended candidate, or the one ahead, stands in the other runs."""
    rows = []
    for one in runs:
        row = leading(one)
        if row is None:
            continue
        for other in runs:
            if other is not one:
                own, theirs = _keys(one, other)
                twins = [name for name, key in theirs.items() if key == own[row["name"]]]
                rows.append((f"{row['name']} of {one.name}", _triple(row), other.name, _standing(other, twins)))
    return pd.DataFrame(rows, columns=["candidate", "α/β/γ", "in", "it is"])


def leading(run: Run) -> Mapping[Any, Any] | None:
    """The row of the recommended candidate, or of the one ahead; None while nothing has a result."""
    number = run.found.best if run.found.recommended is None else run.found.recommended
    rows = run.found.summary[run.found.summary["role"] == "candidate"]
    found: list[dict[Any, Any]] = rows[rows["candidate"] == number].to_dict("records")
    return found[0] if found else None


def _outcome(run: Run) -> dict[str, str]:
    """What came out; the same keys for every run."""
    facts, row = run.facts, leading(run)
    done = f"{run.found.finished} of {facts.space.networks}"
    baseline = run.found.summary[run.found.summary["role"] == "baseline"].to_dict("records")
    winners = facts.winners
    size = f"{len(winners.members)} at {percent(winners.level, 0)}" if winners else ""
    alone = "; ".join(f"{c['dimension']}: {c['verdict']}" for c in winners.comparisons) if winners else ""
    return {
        "candidates with a result": done if facts.coefficients else f"{done}, not finished",
        "recommended α/β/γ": _triple(row) if row else "",
        "network": f"{row['name']}: {count_text(row['macs'])} FLOPs, {count_text(row['params'])} parameters, "
        f"{row['resolution']} px" if row else "",
        "accuracy": _accuracy(row) if row else "",
        "score": f"{row['score']:.4f}" if row else "",
        "baseline's accuracy": _accuracy(baseline[0]) if baseline else "",
        "winner set": size,
        "against one dimension": alone,
    }  # fmt: skip


def _accuracy(row: Mapping[Any, Any]) -> str:
    return f"{percent(row['accuracy'])} ({interval_text(row['low'], row['high'])}; {trained_text(row)})"


def _size(facts: RunFacts) -> str:
    training = facts.training
    return f"at 1/{training.resolution_divisor:g} of the resolution" if training.is_proxy else "at full size"


def _triple(row: Mapping[Any, Any]) -> str:
    return f"{row['alpha']:.4g}/{row['beta']:.4g}/{row['gamma']:.4g}"


def _members(run: Run) -> list[str]:
    done = run.found.summary[run.found.summary["member"]]
    return [str(name) for name in done["name"]]


def _same_baseline(one: Run, other: Run) -> bool:
    return one.facts.space.digest == other.facts.space.digest


def _keys(one: Run, other: Run) -> tuple[dict[str, Key], dict[str, Key]]:
    """What a candidate is recognised by in the other run: its network, or its triple where baselines differ."""
    by_network = _same_baseline(one, other)
    return _keyed(one, by_network), _keyed(other, by_network)


def _keyed(run: Run, by_network: bool) -> dict[str, Key]:
    rows = run.found.summary[run.found.summary["role"] == "candidate"].to_dict("records")
    return {
        row["name"]: row["digest"] if by_network else tuple(round(row[name], 6) for name in ("alpha", "beta", "gamma"))
        for row in rows
    }


def _standing(run: Run, names: Sequence[str]) -> str:
    if not names:
        return "not a candidate, or without a result"
    standings = run.facts.winners.standings if run.facts.winners else ()
    words = {"member": "in the set", "undecided": "in the set, undecided", "beaten": "beaten"}
    found = [words[item["status"]] for item in standings if item["name"] == names[0]]
    first = "recommended" if run.facts.winners and run.facts.winners.recommended == names[0] else ""
    return f"{names[0]}, {first or (found[0] if found else 'not judged yet')}"
