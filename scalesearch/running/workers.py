"""Where trainings run, as a value: what a user asks for, and the executor that it comes to."""

from dataclasses import dataclass
from typing import Literal

from scalesearch.machine import cores
from scalesearch.running.campaign import RETRIES
from scalesearch.running.executor import STALLED_SECONDS, Executor, Here, Job, Result, Run
from scalesearch.running.ledger import SILENT_SECONDS
from scalesearch.running.processes import Processes
from scalesearch.training.memory import roomy_workers

Kind = Literal["processes", "ray"]
MOST_ON_A_GPU = 8  # small trainings gain little from more (reports/LOG.md)


def usual_jobs(device: str, threads: int = 1) -> int:
    """Trainings at a time in processes of this machine: on a CPU one for each ``threads`` cores; on a GPU, where each
    new network first keeps a core busy for seconds, one a core, at most 8; never more than have room in memory."""
    wanted = cores() // threads if device == "cpu" else min(MOST_ON_A_GPU, cores())
    return max(1, min(wanted, roomy_workers()))


@dataclass(frozen=True)
class Workers:
    """Args:
    jobs: trainings at a time; 1 with processes runs them in this one. None: with Ray as many as the cluster takes.
    kind: processes of this machine, or a Ray cluster.
    cpus_per_trial, gpus_per_trial: what Ray reserves for each.
    ray_address: of the cluster; None: a running one, or a local one that is started.
    retries: how often a training is tried again after its worker died.
    stalled_seconds: without a sign of life, after which a worker is ended.
    silent_seconds: without one from another coordinator, after which what it had is taken over.
    """

    jobs: int | None = 1
    kind: Kind = "processes"
    cpus_per_trial: float = 1.0
    gpus_per_trial: float = 0.0
    ray_address: str | None = None
    retries: int = RETRIES
    stalled_seconds: float = STALLED_SECONDS
    silent_seconds: float = SILENT_SECONDS

    def start(self, run: Run[Job, Result]) -> Executor[Job, Result]:
        """An executor of ``run``; whoever starts it closes it."""
        if self.kind == "ray":
            from scalesearch.running.on_ray import OnRay

            return OnRay(
                run, self.cpus_per_trial, self.gpus_per_trial, self.ray_address, self.jobs, self.stalled_seconds
            )
        return Here(run) if self.jobs == 1 else Processes(run, self.jobs or 1, self.stalled_seconds)
