"""Rows of trainings that nobody ran."""

from dataclasses import replace
from typing import Any

from scalesearch.study.row import Row

DONE = Row(
    candidate=0, role="candidate", control="", name="c000", digest="0123456789ab", depth_ratio=1.2, width_ratio=1.1,
    resolution_ratio=1.15, triples="1.2/1.1/1.15", nominal_ratio=1.92, real_ratio=2.0, proxy_ratio=2.0, macs=2_000_000,
    fvcore_total=2_100_000, params=10_000, activations=50_000, resolution=32, blocks=5, seed=0, status="done",
    reason="", top1=0.75, correct=3, images=4, score=0.75, proxy_resolution=32, proxy_macs=2_000_000, epochs=2,
    full_epochs=2, train_loss=0.1, seconds=1.0, latency_ms=5.0, note="",
)  # fmt: skip


def make_row(candidate: int = 0, seed: int = 0, epochs: int = 2, **changes: Any) -> Row:
    """A training that ended well, unless ``reason`` says why it failed."""
    if changes.get("reason"):
        changes = {"status": "failed", "top1": None, "score": None, "correct": 0, "train_loss": None, **changes}
    name, role = ("baseline", "baseline") if candidate < 0 else (f"c{candidate:03d}", "candidate")
    told = {"candidate": candidate, "seed": seed, "epochs": epochs, "full_epochs": max(epochs, DONE.full_epochs)}
    return replace(DONE, **{**told, "name": name, "role": role, **changes})
