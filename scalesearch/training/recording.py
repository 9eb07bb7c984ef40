"""A step's forward and backward pass recorded once on a GPU and replayed: small networks otherwise wait for the host,
which takes 14 ms to ask for what a card does in 2 (reports/LOG.md)."""

import torch
from torch import Tensor, nn

from scalesearch.nets.modules import MBConvNet
from scalesearch.training.distributed import ranks
from scalesearch.training.memory import least_memory, total_memory
from scalesearch.training.step import Loss, Training, gradients

WARM_UP = 3  # steps before a recording, in which libraries choose their kernels
MOST_SHARE = 1 / 8  # of a card's memory, since a recording keeps its activations' memory to itself


def recordable(training: Training, loss: Loss) -> bool:
    """Whether steps can be recorded: on a GPU, in one process, of networks and losses known never to wait for a number,
    and small beside the card. A rule on inputs, not on timing."""
    network, config, device = training.network, training.config, training.device
    if device.type != "cuda" or config.recompute or ranks().count > 1:
        return False
    if not isinstance(network, MBConvNet) or not isinstance(loss, nn.CrossEntropyLoss):
        return False
    return least_memory(network.spec, config) <= MOST_SHARE * total_memory(device)


class RecordedGradients:
    """``step.gradients`` with steps alike replayed from a CUDA graph: the same kernels on the same numbers.

    A step is recorded once three like it have run; steps of another size, or while other parameters are trained, run
    as they are. Random numbers continue as in plain steps.
    """

    def __init__(self, training: Training) -> None:
        self._parameters = list(training.network.parameters())
        self._side = torch.cuda.Stream(training.device)  # type: ignore[no-untyped-call]
        self._seen: dict[object, int] = {}
        self._key: object = None
        self._failed = False

    def __call__(
        self,
        training: Training,
        images: Tensor,
        labels: Tensor,
        loss: Loss,
        network: nn.Module | None = None,
        parts: int | None = None,
    ) -> Tensor:
        """As ``gradients``; ``training`` is always the one it was made for."""
        trained = tuple(parameter.requires_grad for parameter in self._parameters)
        key = (parts, images.shape, labels.shape, labels.dtype, trained)
        if key != self._key:
            self._seen[key] = self._seen.get(key, 0) + 1
            early = self._seen[key] <= WARM_UP
            if early or self._failed or len(images) != training.config.batch_size or not self._record(
                training, images, labels, loss, parts
            ):  # fmt: skip
                return self._aside(training, images, labels, loss, parts)
            self._key = key
        self._images.copy_(images)
        self._labels.copy_(labels)
        self._graph.replay()
        for parameter, gradient in zip(self._parameters, self._gradients, strict=True):
            parameter.grad = gradient
        return self._loss.clone()

    def _aside(self, training: Training, images: Tensor, labels: Tensor, loss: Loss, parts: int | None) -> Tensor:
        """A plain step on a stream of its own, as torch asks for before a recording."""
        current = torch.cuda.current_stream(training.device)
        self._side.wait_stream(current)
        with torch.cuda.stream(self._side):
            value = gradients(training, images, labels, loss, parts=parts)
        current.wait_stream(self._side)
        return value

    def _record(self, training: Training, images: Tensor, labels: Tensor, loss: Loss, parts: int | None) -> bool:
        """Nothing is computed yet. False, for good, where memory does not suffice."""
        self._key = None
        self._images, self._labels = images.clone(), labels.clone()
        self._graph = torch.cuda.CUDAGraph()
        training.optimizer.zero_grad(set_to_none=True)
        try:
            with torch.cuda.graph(self._graph, capture_error_mode="thread_local"):
                self._loss = gradients(training, self._images, self._labels, loss, parts=parts)
        except RuntimeError:  # torch.OutOfMemoryError is one
            self._failed = True
            return False
        self._gradients = [parameter.grad for parameter in self._parameters]
        return True
