"""What an embedding is trained for: triplet and proxy losses, mining, and a watch for collapse.

Losses and miners are pytorch-metric-learning's, with squared Euclidean distances between unit vectors
(Schroff, Kalenichenko & Philbin 2015, FaceNet, arXiv:1503.03832):

    L = max(‖f(a) − f(p)‖² − ‖f(a) − f(n)‖² + margin, 0)
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from scalesearch.errors import UserError
from scalesearch.faces import LossName, Mining, missing_extra

MININGS: tuple[Mining, ...] = ("all", "semi-hard", "batch-hard")
GENTLER: dict[Mining, Mining] = {"batch-hard": "semi-hard", "semi-hard": "all", "all": "all"}

MEMORY = 0.9  # of the running means: they look back about ten steps
COLLAPSED_SPREAD = 0.05  # of at most 1; a discriminant start is at 1, a random one at 0.2 or more
STUCK = 0.25  # the loss within this share of the margin
SETTLING = 10  # steps in which a new mining may show what it does


@dataclass(frozen=True)
class ObjectiveSettings:
    """What is minimised.

    Args:
        loss: "triplet", or a loss with a vector per person ("arcface", "cosface", "proxy-nca", "proxy-anchor") with
            the library's own margins and scales.
        margin: of the triplet loss, between squared distances (0 to 4).
        mining: which triplets of a batch count: "all", "semi-hard" (the negative farther than the positive, but
            within the margin), "batch-hard" (each anchor's farthest positive and nearest negative).
        recover: whether a collapse changes the mining to a gentler one.
    """

    loss: LossName = "triplet"
    margin: float = 0.2
    mining: Mining = "semi-hard"
    recover: bool = True


class Objective(nn.Module):
    """Unit vectors (N, D) and people int64 (N,) → scalar loss; watches for collapse while it is trained with.

    All that changes is kept in buffers and so in checkpoints: running means of the loss, of the spread of the
    embeddings (their total variance, 1 − ‖mean‖²) and of the share of active triplets; the mining in use; how many
    times it was changed.
    """

    running: Tensor
    counts: Tensor

    def __init__(self, settings: ObjectiveSettings, people: int, dimensions: int) -> None:
        super().__init__()
        check(settings)
        self.settings = settings
        self.loss = _losses()[settings.loss](settings, people, dimensions)
        self.register_buffer("running", torch.zeros(3))  # loss, spread, active
        # steps since the start or the last change, changes, place of the mining in MININGS
        self.register_buffer("counts", torch.tensor([0, 0, MININGS.index(settings.mining)]))

    @property
    def mining(self) -> Mining:
        """The mining in use."""
        return MININGS[int(self.counts[2])]

    @property
    def changes(self) -> int:
        """How often there was a collapse."""
        return int(self.counts[1])

    def health(self) -> dict[str, float]:
        """Running means, for the record of an epoch."""
        loss, spread, active = self.running.tolist()
        return {"batch_loss": loss, "spread": spread, "active": active, "collapses": float(self.changes)}

    def forward(self, embeddings: Tensor, people: Tensor) -> Tensor:
        """Scalar loss; triplets are mined in the batch. Zero where no triplet is active."""
        if self.settings.loss != "triplet":
            value: Tensor = self.loss(embeddings, people)
        else:
            value = self.loss(embeddings, people, self._mined(embeddings.detach(), people))
        if self.training:
            self._watch(embeddings.detach(), people, value.detach())
        return value

    def _mined(self, embeddings: Tensor, people: Tensor) -> Any:
        from pytorch_metric_learning.miners import BatchHardMiner, TripletMarginMiner

        if self.mining == "batch-hard":
            return BatchHardMiner(distance=squared_euclidean())(embeddings, people)
        kind = "semihard" if self.mining == "semi-hard" else "all"
        miner = TripletMarginMiner(self.settings.margin, distance=squared_euclidean(), type_of_triplets=kind)
        return miner(embeddings, people)

    @torch.no_grad()
    def _watch(self, embeddings: Tensor, people: Tensor, value: Tensor) -> None:
        spread = embeddings.square().sum(1).mean() - embeddings.mean(0).square().sum()
        now = torch.stack((value.float(), spread, active_share(embeddings, people, self.settings.margin)))
        first = self.counts[0] == 0
        self.running.copy_(torch.where(first, now, MEMORY * self.running + (1 - MEMORY) * now))
        self.counts[0] += 1
        if self.settings.loss == "triplet" and int(self.counts[0]) > SETTLING and self.collapsed():
            self.counts[0] = 0
            self.counts[1] += 1
            if self.settings.recover:
                self.counts[2] = MININGS.index(GENTLER[self.mining])

    def collapsed(self) -> bool:
        """Whether all embeddings lie at one place and the loss at the margin."""
        loss, spread, _ = self.running.tolist()
        margin = self.settings.margin
        return bool(spread < COLLAPSED_SPREAD and abs(loss - margin) < STUCK * margin)


def check(settings: ObjectiveSettings) -> None:
    """Raises UserError for settings that cannot be used."""
    if not 0 < settings.margin < 4:
        raise UserError(
            "--margin", f"{settings.margin:g} is not between 0 and 4, the squared distances that there are."
        )


@torch.no_grad()
def active_share(embeddings: Tensor, people: Tensor, margin: float) -> Tensor:
    """Of all triplets of a batch the share with a loss above 0, a scalar; 0 where there is no triplet."""
    distances = (2 - 2 * embeddings @ embeddings.T).clamp(min=0)
    same = people[:, None] == people[None, :]
    positive = same & ~torch.eye(len(people), dtype=torch.bool, device=people.device)
    triplets = positive[:, :, None] & ~same[:, None, :]
    violated = triplets & (distances[:, :, None] - distances[:, None, :] + margin > 0)
    return violated.sum() / triplets.sum().clamp(min=1)


def squared_euclidean() -> Any:
    """‖x − y‖² of vectors as they are; the library's default would normalise them first."""
    from pytorch_metric_learning.distances import LpDistance

    return LpDistance(normalize_embeddings=False, p=2, power=2)


def _triplet(settings: ObjectiveSettings, _people: int, _dimensions: int) -> Any:
    """The mean over the triplets with a loss above 0: a mean over all would fade as most are solved."""
    from pytorch_metric_learning.losses import TripletMarginLoss

    return TripletMarginLoss(margin=settings.margin, distance=squared_euclidean())


def _losses() -> dict[LossName, Callable[[ObjectiveSettings, int, int], Any]]:
    """Each loss by name, made for (settings, people, dimensions). Raises UserError where the library is missing."""
    try:
        from pytorch_metric_learning import losses
    except ImportError:
        raise missing_extra("pytorch-metric-learning") from None
    return {
        "triplet": _triplet,
        "arcface": lambda _, people, dimensions: losses.ArcFaceLoss(people, dimensions),
        "cosface": lambda _, people, dimensions: losses.CosFaceLoss(people, dimensions),
        "proxy-nca": lambda _, people, dimensions: losses.ProxyNCALoss(people, dimensions),
        "proxy-anchor": lambda _, people, dimensions: losses.ProxyAnchorLoss(people, dimensions),
    }
