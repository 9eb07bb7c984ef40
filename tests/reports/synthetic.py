"""Results as a search would leave them, without training: accuracies drawn around a known optimum."""

import math
from typing import Any

import numpy as np
import pandas as pd

from scalesearch.design.candidates import DroppedTriple
from scalesearch.design.cost import score
from scalesearch.design.scaling import Coefficients
from scalesearch.reports.facts import DataFacts, RunFacts, SpaceFacts, TrainingFacts, WinnerFacts

TARGET, BASE_MACS, VALIDATION_IMAGES = 400e6, 385_814_752, 2000


def triples(count: int) -> list[tuple[float, float, float]]:
    """The first ``count`` (α, β, γ) with αβ²γ² near 2, on the coarsest grid that has as many, spread over it."""
    for step in (0.1, 0.05):
        values = [round(1 + step * i, 2) for i in range(round(1 / step) + 1)]
        found = [(a, b, c) for a in values for b in values for c in values if abs(a * b * b * c * c - 2) <= 0.1]
        if len(found) >= count:
            return [found[i * len(found) // count] for i in range(count)]
    raise ValueError(f"no grid here has {count} triples")


def results(count: int, seeds: int = 1, *, failed: tuple[int, ...] = (), noise: float = 0.01) -> pd.DataFrame:
    """``count`` candidates and the baseline, ``seeds`` trials each; those in ``failed`` have no result."""
    rng = np.random.default_rng(count)
    rows = [_network(-1, "baseline", (1.0, 1.0, 1.0), 1.0)]
    rows += [_network(i, "candidate", t, 2 * (1 + rng.uniform(-0.05, 0.05))) for i, t in enumerate(triples(count))]
    trials = []
    for row in rows:
        a, b, c = row["alpha"], row["beta"], row["gamma"]
        level = 0.56 if row["role"] == "baseline" else 0.62 - 0.1 * ((a - 1.2) ** 2 + (b - 1.1) ** 2 + (c - 1.15) ** 2)
        for seed in range(seeds):
            broke = row["candidate"] in failed
            correct = round(VALIDATION_IMAGES * min(1.0, max(0.0, level + noise * rng.standard_normal())))
            top1 = math.nan if broke else correct / VALIDATION_IMAGES
            trials.append(
                {
                    **row,
                    "seed": seed,
                    "status": "failed" if broke else "done",
                    "reason": "loss is not finite | epoch 2" if broke else "",
                    "top1": top1,
                    "correct": math.nan if broke else correct,
                    "images": math.nan if broke else VALIDATION_IMAGES,
                    "score": math.nan if broke else score(top1, row["macs"], TARGET),
                    "train_loss": math.nan if broke else 1.2,
                    "seconds": 40.5,
                }
            )
    return pd.DataFrame(trials)


def _network(index: int, role: str, triple: tuple[float, float, float], ratio: float) -> dict[str, Any]:
    a, b, c = triple
    macs = round(BASE_MACS * ratio)
    return {
        "candidate": index, "role": role, "control": "resolution" if a == b == 1 and index >= 0 else "",
        "name": f"c{index:03d}" if index >= 0 else "b0", "digest": f"{index + 1:012x}",
        "alpha": a, "beta": b, "gamma": c, "triples": f"{a:g}/{b:g}/{c:g}", "nominal_ratio": a * b**2 * c**2,
        "real_ratio": ratio, "macs": macs, "fvcore_total": round(macs * 1.04), "params": round(5_288_548 * a * b**2),
        "activations": round(6_700_000 * ratio), "resolution": round(224 * c), "blocks": round(16 * a),
        "proxy_resolution": round(32 * c), "proxy_macs": macs // 49, "epochs": 3, "full_epochs": 3,
    }  # fmt: skip


def facts(count: int, coefficients: Coefficients | None, **training: Any) -> RunFacts:
    """Facts of a run of ``count`` candidates."""
    dropped = (
        DroppedTriple(Coefficients(2.0, 1.0, 1.0), 1.7, "no rounding within ±5 % of 2×"),
        DroppedTriple(Coefficients(1.9, 1.0, 1.0), 1.6, "no rounding within ±5 % of 2×"),
        DroppedTriple(Coefficients(1.0, 1.4, 1.0), 1.0, "rounds to the baseline itself"),
    )
    return RunFacts(
        name="flowers-grid",
        command="scalesearch grid --target-flops 400M --data flowers --seeds 1",
        data=DataFacts("Flowers", 102, 8000, VALIDATION_IMAGES, 1000, "0123456789ab"),
        space=SpaceFacts("efficientnet_b0", "ba9876543210", TARGET, 0.1, 0.1, "budget", count + 10, count, dropped),
        training=TrainingFacts(
            **{"is_proxy": True, "resolution_divisor": 7, "epochs": 3, "train_images": 8000} | training
        ),
        winners=None,
        coefficients=coefficients,
        versions=(("scalesearch", "0.1.0"), ("torch", "2.15.0")),
        hardware="2 CPU cores",
        date="2026-01-31",
        seconds=7440,
    )


def answer(frame: pd.DataFrame, beaten: int = 2, verdict: str = "won") -> WinnerFacts:
    """An answer to the frame: the ``beaten`` worst are out, the next one undecided."""
    done = frame[(frame["role"] == "candidate") & (frame["status"] == "done")]
    ranked = done.groupby("name")["score"].mean().sort_values(ascending=False)
    names = list(ranked.index)
    inside = len(names) - beaten
    standings = tuple(
        {
            "name": name, "control": "", "epochs": 3 if place < inside - 1 else 1, "seeds": 1,
            "status": "beaten" if place >= inside else "undecided" if 0 < inside - 1 == place else "member",
            "score": float(ranked[name]), "low": float(ranked[name]) - 0.01, "high": float(ranked[name]) + 0.01,
        }
        for place, name in enumerate(names)
    )  # fmt: skip
    comparison = {
        "control": "c001", "dimension": "width", "epochs": 3, "seeds": 1, "accuracy": 0.6, "control_accuracy": 0.58,
        "gap": 0.0123, "low": 0.0012, "high": 0.0234, "accuracy_part": math.log(1.04), "cost_part": math.log(0.99),
        "cost_ratio": 1.155, "verdict": verdict,
    }  # fmt: skip
    return WinnerFacts(0.9, standings, names[0], "the highest score", (comparison,), 0.0123, ((1, 2), (3, 1)))


def winner(frame: pd.DataFrame) -> Coefficients:
    """The coefficients of the candidate with the highest mean score."""
    done = frame[(frame["role"] == "candidate") & (frame["status"] == "done")]
    best = done.groupby("candidate")["score"].mean().idxmax()
    row = done[done["candidate"] == best].iloc[0]
    return Coefficients(row["alpha"], row["beta"], row["gamma"], 2.0)


def family(tested: int = 0) -> list[dict[str, Any]]:
    """Members b0…b6; the first ``tested`` with a test result."""
    members = []
    for phi in range(7):
        member: dict[str, Any] = {
            "name": f"b{phi}", "phi": phi, "resolution": round(224 * 1.15**phi), "macs": round(BASE_MACS * 2.01**phi),
            "params": round(5_288_548 * 1.5**phi), "activations": round(6_700_000 * 1.9**phi), "ratio": 2.01**phi,
            "widths": [16, 24, 40, 80, 112, 192, 320], "depths": [1, 2, 2, 3, 3, 4, 1],
        }  # fmt: skip
        if phi < tested:
            correct = 880 + 12 * phi - phi * phi
            source = "fine-tuned" if phi < 4 else "from scratch"
            member |= {"correct": correct, "images": 1000, "top1": correct / 1000, "source": source, "path": f"b{phi}/"}
        members.append(member)
    return members
