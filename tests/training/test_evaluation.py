import numpy as np
import pytest
import torch
from torch import Tensor, nn

from scalesearch.errors import UserError
from scalesearch.training.evaluation import class_accuracy, confusion, evaluate
from tests.training.toys import ToyNet, toy_batches


class Fixed(nn.Module):
    """Its input is its logits."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, images: Tensor) -> Tensor:
        return images * self.scale


def test_numbers_by_hand() -> None:
    logits = torch.tensor([[6.0, 5, 4, 3, 2, 1], [1, 2, 3, 4, 5, 6], [6, 5, 4, 3, 2, 1]])
    labels = torch.tensor([0, 0, 4])  # first guess; not among five; fifth guess
    result = evaluate(Fixed(), [(logits[:2], labels[:2]), (logits[2:], labels[2:])])
    assert (result.top1, result.top5) == pytest.approx((1 / 3, 2 / 3))
    assert result.loss == pytest.approx(float(nn.functional.cross_entropy(logits, labels)))
    assert result.predictions.tolist() == [0, 5, 0]
    assert result.labels.tolist() == [0, 0, 4]
    assert (result.predictions.dtype, result.labels.dtype) == (np.int64, np.int64)
    assert result.probabilities == pytest.approx(logits.softmax(1).amax(1).numpy())
    assert result.probabilities.dtype == np.float32


def test_fewer_than_five_classes_and_a_single_class() -> None:
    assert evaluate(Fixed(), [(torch.tensor([[1.0, 2.0]]), torch.tensor([0]))]).top5 == 1
    single = evaluate(Fixed(), [(torch.zeros(3, 1), torch.zeros(3, dtype=torch.int64))])
    assert (single.top1, single.top5, single.loss) == (1, 1, 0)


def test_eval_mode_inside_and_every_mode_back_outside() -> None:
    network = ToyNet().train()
    network.features[1].eval()
    modes = [module.training for module in network.modules()]
    first, second = evaluate(network, toy_batches(0)), evaluate(network, toy_batches(0))
    assert np.array_equal(first.probabilities, second.probabilities)  # neither dropout nor new statistics
    assert network.features[3].block[1].num_batches_tracked == 0
    assert [module.training for module in network.modules()] == modes


def test_modes_are_back_after_an_error() -> None:
    network = ToyNet().train()
    with pytest.raises(RuntimeError):
        evaluate(network, [(torch.zeros(2, 5, 6, 6), torch.zeros(2, dtype=torch.int64))])
    assert all(module.training for module in network.modules())


def test_no_image() -> None:
    with pytest.raises(UserError, match="no image"):
        evaluate(ToyNet(), [])


def test_confusion_and_class_accuracy_by_hand() -> None:
    labels, predictions = np.array([0, 0, 0, 2, 2]), np.array([0, 1, 0, 2, 0])
    counts = confusion(labels, predictions, 4)
    assert counts.tolist() == [[2, 1, 0, 0], [0, 0, 0, 0], [1, 0, 1, 0], [0, 0, 0, 0]]
    assert class_accuracy(counts) == pytest.approx([2 / 3, np.nan, 1 / 2, np.nan], nan_ok=True)


def test_confusion_refuses_foreign_classes_and_lengths() -> None:
    with pytest.raises(ValueError, match="are not all from 0 to 1"):
        confusion(np.array([0, 2]), np.array([0, 1]), 2)
    with pytest.raises(ValueError, match="are not all from 0 to 1"):
        confusion(np.array([0, 1]), np.array([0, -1]), 2)
    with pytest.raises(ValueError, match="one length"):
        confusion(np.array([0, 1]), np.array([0]), 2)
