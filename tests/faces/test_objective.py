"""Losses against the formula by hand; mining; a planted collapse."""

import itertools

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from scalesearch.errors import UserError
from scalesearch.faces.objective import MININGS, Mining, Objective, ObjectiveSettings, active_share

MARGIN = 0.2
PEOPLE = torch.tensor([0, 0, 0, 1, 1, 2, 2, 2, 3, 3])


def unit_vectors(seed: int, spread: float = 1.0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    centre = torch.randn(1, 6, generator=generator) * (1 - spread)
    return functional.normalize(centre + spread * torch.randn(len(PEOPLE), 6, generator=generator), dim=1)


def triplets(people: list[int]) -> list[tuple[int, int, int]]:
    """All (anchor, positive, negative)."""
    places = range(len(people))
    return [
        (a, p, n)
        for a, p, n in itertools.product(places, repeat=3)
        if a != p and people[a] == people[p] and people[a] != people[n]
    ]


def by_hand(vectors: Tensor, people: list[int], mining: Mining) -> float:
    """L = max(‖f(a) − f(p)‖² − ‖f(a) − f(n)‖² + margin, 0), the mean over the mined triplets with a loss above 0."""
    x = vectors.double().numpy()

    def squared(i: int, j: int) -> float:
        return float(((x[i] - x[j]) ** 2).sum())

    chosen = triplets(people)
    if mining == "semi-hard":
        chosen = [(a, p, n) for a, p, n in chosen if squared(a, p) < squared(a, n) < squared(a, p) + MARGIN]
    if mining == "batch-hard":
        chosen = [
            (a, max((p for p in range(len(people)) if p != a and people[p] == people[a]), key=lambda p: squared(a, p)),
             min((n for n in range(len(people)) if people[n] != people[a]), key=lambda n: squared(a, n)))
            for a in range(len(people))
        ]  # fmt: skip
    losses = [max(squared(a, p) - squared(a, n) + MARGIN, 0.0) for a, p, n in chosen]
    active = [loss for loss in losses if loss > 0]
    return float(np.mean(active)) if active else 0.0


@pytest.mark.parametrize("mining", MININGS)
@pytest.mark.parametrize("seed", range(5))
def test_triplet_loss_is_the_formula(mining: Mining, seed: int) -> None:
    vectors = unit_vectors(seed, spread=0.6)
    objective = Objective(ObjectiveSettings(mining=mining, margin=MARGIN), 4, 6)
    expected = by_hand(vectors, PEOPLE.tolist(), mining)
    assert expected > 0
    assert float(objective(vectors, PEOPLE)) == pytest.approx(expected, rel=1e-4)


def test_two_photos_and_a_stranger_by_arithmetic() -> None:
    """‖a − p‖² = 2 − 2·0.6 = 0.8, ‖a − n‖² = 2 − 2·0.8 = 0.4: 0.8 − 0.4 + 0.2 = 0.6 with p as the positive of a;
    for the anchor p: ‖p − n‖² = 2 − 2·0 = 2: 0.8 − 2 + 0.2 < 0."""
    vectors = torch.tensor([[1.0, 0.0], [0.6, 0.8], [0.8, -0.6]])
    objective = Objective(ObjectiveSettings(mining="all", margin=MARGIN), 2, 2)
    assert float(objective(vectors, torch.tensor([0, 0, 1]))) == pytest.approx(0.6, abs=1e-6)


def test_the_gradient_is_the_formula_s() -> None:
    vectors = unit_vectors(3).requires_grad_()
    Objective(ObjectiveSettings(mining="all", margin=MARGIN), 4, 6)(vectors, PEOPLE).backward()
    own = vectors.detach().clone().requires_grad_()
    distances = (own[:, None] - own[None]).square().sum(2)
    losses = [functional.relu(distances[a, p] - distances[a, n] + MARGIN) for a, p, n in triplets(PEOPLE.tolist())]
    active = torch.stack([loss for loss in losses if loss > 0])
    active.mean().backward()
    assert vectors.grad is not None
    assert torch.allclose(vectors.grad, own.grad, atol=1e-6)


def test_active_share_counts_triplets() -> None:
    vectors = unit_vectors(1)
    x = vectors.numpy()
    squared = ((x[:, None] - x[None]) ** 2).sum(2)
    every = triplets(PEOPLE.tolist())
    expected = np.mean([squared[a, p] - squared[a, n] + MARGIN > 0 for a, p, n in every])
    assert float(active_share(vectors, PEOPLE, MARGIN)) == pytest.approx(expected)


@pytest.mark.parametrize("loss", ["arcface", "cosface", "proxy-nca", "proxy-anchor"])
def test_losses_with_a_vector_per_person_have_weights_and_gradients(loss: str) -> None:
    objective = Objective(ObjectiveSettings(loss=loss), 4, 6)  # type: ignore[arg-type]
    weights = list(objective.parameters())
    assert sum(weight.numel() for weight in weights) == 4 * 6
    objective(unit_vectors(0).requires_grad_(), PEOPLE).backward()
    assert all(weight.grad is not None and bool(weight.grad.abs().sum() > 0) for weight in weights)


def test_a_planted_collapse_is_caught_and_mining_changes() -> None:
    objective = Objective(ObjectiveSettings(mining="batch-hard"), 4, 6)
    for step in range(40):
        objective(unit_vectors(step, spread=1e-3), PEOPLE)
    assert objective.changes >= 1
    assert objective.mining != "batch-hard"


def test_without_recovery_the_collapse_is_only_told() -> None:
    objective = Objective(ObjectiveSettings(mining="batch-hard", recover=False), 4, 6)
    for step in range(40):
        objective(unit_vectors(step, spread=1e-3), PEOPLE)
    assert objective.changes >= 1
    assert objective.mining == "batch-hard"


def test_embeddings_that_spread_are_no_collapse() -> None:
    objective = Objective(ObjectiveSettings(mining="batch-hard"), 4, 6)
    for step in range(60):
        objective(unit_vectors(step), PEOPLE)
    assert objective.changes == 0
    assert objective.health()["spread"] > 0.5


def test_a_network_that_collapses_recovers() -> None:
    """Embeddings at one place but for a thousandth: batch-hard mining keeps them there, with recovery they part."""
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(len(PEOPLE), 6, generator=generator) * 0.05
    inputs[:, 0] += PEOPLE * 0.3

    def spread_after(recover: bool) -> tuple[float, int]:
        layer = torch.nn.Linear(6, 6)
        with torch.no_grad():
            layer.weight.copy_(0.01 * torch.eye(6))
            layer.bias.copy_(torch.tensor([0.0, 0, 0, 0, 0, 1]))
        objective = Objective(ObjectiveSettings(mining="batch-hard", recover=recover), 4, 6)
        optimizer = torch.optim.SGD(layer.parameters(), lr=1.0)
        for _ in range(300):
            found = functional.normalize(layer(inputs), dim=1)
            loss = objective(found, PEOPLE)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        return objective.health()["spread"], objective.changes

    spread, changes = spread_after(True)
    assert changes >= 1
    assert spread > 0.3


def test_the_state_of_the_watch_is_in_the_state_dict() -> None:
    objective = Objective(ObjectiveSettings(mining="batch-hard"), 4, 6)
    for step in range(25):
        objective(unit_vectors(step, spread=1e-3), PEOPLE)
    other = Objective(ObjectiveSettings(mining="batch-hard"), 4, 6)
    other.load_state_dict(objective.state_dict())
    assert (other.mining, other.changes, other.health()) == (objective.mining, objective.changes, objective.health())


@pytest.mark.parametrize("margin", [0.0, -1.0, 4.0, float("nan")])
def test_margins_out_of_range_are_refused(margin: float) -> None:
    with pytest.raises(UserError, match="margin"):
        Objective(ObjectiveSettings(margin=margin), 4, 6)
