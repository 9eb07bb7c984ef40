import pytest
import torch
from torch import Tensor, nn

from scalesearch.nets.modules import build
from scalesearch.study.config import TrainConfig
from scalesearch.training.sections import recomputing
from scalesearch.training.step import classification_loss
from tests.nets.specs import images, tiny
from tests.training.toys import CPU, STEPS, ToyNet, fit, tensor_hash, toy_batches


def saved_bytes(network: nn.Module, given: Tensor) -> int:
    """Kept between forward and backward, parameters aside."""
    kept: dict[int, int] = {}
    own = {parameter.data_ptr() for parameter in network.parameters()}

    def keep(tensor: Tensor) -> Tensor:
        if tensor.data_ptr() not in own:
            kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        network(given)
    return sum(kept.values())


@pytest.mark.parametrize("strategy", ["full", "tail", "head", "gradual"])
def test_the_same_training_bit_for_bit(strategy: str) -> None:
    plain, recomputed = ToyNet(), ToyNet()
    for network, recompute in ((plain, False), (recomputed, True)):
        config = TrainConfig(epochs=3, strategy=strategy, tail_blocks=1, recompute=recompute, ema_decay=0.9)
        fit(network, toy_batches, STEPS, config, loss=classification_loss(config), device=CPU)
    assert tensor_hash(plain) == tensor_hash(recomputed)


def test_gradients_and_statistics_of_a_real_network() -> None:
    given, found = images(4, 33), []
    for recompute in (False, True):
        network = build(tiny(), seed=1).train()
        torch.manual_seed(0)
        if recompute:
            with recomputing(network):
                network(given).square().sum().backward()
        else:
            network(given).square().sum().backward()
        found.append((network.state_dict(), {name: p.grad for name, p in network.named_parameters()}))
    for one, other in zip(*found, strict=True):
        assert all(torch.equal(tensor, other[name]) for name, tensor in one.items())


def test_less_is_kept_and_afterwards_as_before() -> None:
    network, given = build(tiny(), seed=1).train(), images(4, 33)
    plain = saved_bytes(network, given)
    with recomputing(network):
        assert saved_bytes(network, given) < plain / 2
    assert saved_bytes(network, given) == plain
    assert "forward" not in network.features[0].__dict__
