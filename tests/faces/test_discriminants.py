"""Where an embedding layer starts: linear discriminants of the features that it is given."""

import numpy as np
import pytest
import torch

from scalesearch.data.batches import normalised
from scalesearch.faces.discriminants import discriminants, pooled, set_embedding
from scalesearch.nets.modules import build
from tests.faces.conftest import portrait
from tests.faces.toys import CPU, DIMENSIONS, STATISTICS, tiny_spec


def test_the_start_sees_what_the_last_layer_sees() -> None:
    pixels = np.stack([portrait(person, photo) for person in range(8) for photo in range(6)])
    network = build(tiny_spec(), seed=0)
    found = pooled(network, pixels, STATISTICS, CPU)
    assert network.training
    images = normalised(torch.from_numpy(pixels).permute(0, 3, 1, 2), STATISTICS)
    with torch.no_grad():
        network.eval()
        expected = network.forward_head(network.forward_features(images), pre_logits=True).numpy()
    assert found == pytest.approx(expected, abs=1e-5)
    weights, bias = discriminants(found, np.repeat(np.arange(8), 6), DIMENSIONS)
    set_embedding(network, weights, bias)
    with torch.no_grad():
        assert network(images).numpy() == pytest.approx(found @ weights.T + bias, abs=1e-3)


def test_discriminants_tell_people_apart_and_are_centred() -> None:
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(6), 20)
    own = rng.normal(size=(6, 3)) @ rng.normal(size=(3, 10))
    features = own[labels] + rng.normal(size=(120, 10)) * np.linspace(0.1, 3, 10) + 5
    weights, bias = discriminants(features, labels, 8)
    found = features @ weights.T + bias
    assert weights.shape == (8, 10)
    assert found.mean(0) == pytest.approx(np.zeros(8), abs=1e-6)
    assert found.var(0).sum() == pytest.approx(1, abs=1e-6)

    def ratio(x: np.ndarray) -> float:
        means = np.stack([x[labels == label].mean(0) for label in range(6)])
        return float(means.var(0).sum() / (x - means[labels]).var(0).sum())

    assert ratio(found[:, :5]) > 2 * ratio(features)
