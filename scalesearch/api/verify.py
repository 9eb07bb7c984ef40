"""A verification: which networks of a search are scaled to another φ, their trainings, and whether φ = 1 transfers."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from scalesearch.api.options import VerifyOptions, path, room, seconds, takes
from scalesearch.api.price import Price, priced
from scalesearch.api.search import Forecast, bounded, listener, timed, within_memory, workers_of
from scalesearch.data.dataset import Dataset, dataset, open_data
from scalesearch.data.keeping import make_room
from scalesearch.errors import UserError
from scalesearch.running.carry_out import Listener
from scalesearch.running.verify import VerificationAgenda, recorded
from scalesearch.running.verify import verify as trained
from scalesearch.running.workers import Workers
from scalesearch.study.config import validate
from scalesearch.study.plan import SearchPlan, Trial
from scalesearch.study.record import Record, answered, newest_run, read_record
from scalesearch.study.row import Row
from scalesearch.study.verification import Verification, chosen, common_epochs, folder_of, scaled, trials
from scalesearch.training.device import choose_device


@dataclass(frozen=True, eq=False)
class VerifyJob:
    """A verification that could start.

    Args:
        record: of the search; ``agenda``: its networks at φ, and their trainings.
        left_out: dimensions whose control cannot be grown so far.
        epochs_at_one: after which the networks are compared at φ = 1.
        folder: where the results are kept.
    """

    asked: VerifyOptions
    record: Record
    agenda: VerificationAgenda
    left_out: tuple[str, ...]
    epochs_at_one: int
    parts: Dataset
    workers: Workers
    price: Price
    folder: Path
    time_budget: float | None
    began: float

    @property
    def plan(self) -> SearchPlan:
        """The plan of the search."""
        return self.record.plan


@takes(VerifyOptions)
def verify(asked: VerifyOptions) -> Verification:
    """Trains the recommended network, others and the controls at another φ: do those that won at φ = 1 win again?

    Called again, it continues; more ``seeds`` add to what is there. ``tell`` is told of each training.

    Raises:
        UserError: no search there, its images have changed, or an option that cannot be used.
    """
    job = prepare(asked)
    return run(job, listener(asked.tell), None if job.time_budget is None else forecast(job))


def prepare(asked: VerifyOptions) -> VerifyJob:
    """Reads the search, scales its networks, opens its images; trains nothing and writes nothing.

    Raises:
        UserError: no search there, its images have changed, or an option that cannot be used.
    """
    began, folder = time.monotonic(), path(asked.run) or newest_run()
    if folder is None:
        raise UserError("--run", "there is no search under runs/.", do='Run "scalesearch grid" first.')
    budget, record = seconds(asked.time_budget, "--time-budget"), read_record(folder)
    plan, (answer, _) = record.plan, answered(record)
    if plan.device != "cpu" and asked.executor == "processes":
        choose_device(plan.device)  # says if it is not there
    elif plan.device != "cpu" and not asked.gpus_per_trial:
        problem = f"0 GPUs are too few: the search ran on {plan.device}."
        raise UserError("--gpus-per-trial", problem, do="Give each training one, or a share of one.")
    workers = workers_of(asked, plan.device, plan.threads)
    candidates = chosen(answer, record.enumeration.candidates, asked.members, asked.others)
    networks = scaled(plan, answer, candidates, asked.phi)
    if not networks:
        problem = f"there is nothing to verify: no candidate was trained ({answer.undecided})."
        raise UserError(str(folder), problem, do="Search again with what its report says to change.")
    wanted = trials(plan, networks, asked.seeds, asked.epochs)
    validate(wanted[0].train)
    workers, where = within_memory(workers, asked.jobs, plan.device, wanted), folder_of(folder, asked.phi)
    images = _images(record, wanted, asked)
    parts, price = priced(images, wanted[: len(networks)], len(wanted), where, workers.jobs, room(asked.cache_size))
    scalable = [network.candidate for network in networks]
    return VerifyJob(
        asked, record, VerificationAgenda(plan, asked.phi, networks, wanted),
        tuple(one.control for one in candidates if one not in scalable),
        common_epochs(record.results, [one.index for one in scalable]), parts, workers, price, where, budget, began,
    )  # fmt: skip


def forecast(job: VerifyJob) -> Forecast:
    """What was trained before, what is left and how long that takes, by timing a few steps."""
    before = recorded(job.record, job.agenda, job.asked.storage)
    done = {row.key for row in before}
    return timed(job, before, [[(one, one.until) for one in job.agenda.trials if one.key not in done]])


def left(job: VerifyJob) -> int:
    """Trainings without a result, after a run that its time budget ended, too."""
    return len(job.agenda.trials) - len(recorded(job.record, job.agenda, job.asked.storage))


def run(job: VerifyJob, listener: Listener[Row], expected: Forecast | None = None) -> Verification:
    """Trains what is left, concludes, and draws what came out; run again, it continues.

    Args:
        expected: of ``forecast``, so that nothing is begun that would not end within the time budget.
    """
    from scalesearch.reports.artefacts import write_transfer

    within, told = bounded(job, listener, expected)
    make_room(job.price.keeping)
    verification = trained(job.record, job.agenda, job.parts, job.workers, told, within, job.asked.storage)
    write_transfer(job.folder, verification)
    return verification


def _images(record: Record, wanted: Sequence[Trial], asked: VerifyOptions) -> Dataset:
    """The search's images, at sizes that these networks need. Raises UserError where they have changed."""
    plan, given = record.plan, record.provenance.data_argument
    largest_px = max(one.trained.resolution for one in wanted)
    source = open_data(given, skip_broken=asked.skip_broken, follow_links=asked.follow_links)
    parts = dataset(source, largest_px, plan.proxy.images, plan.validation)
    if parts.digest != plan.data_digest:
        again = "" if asked.skip_broken else " (with --skip-broken if the search had it)"
        problem = f"these are not the images that were searched on: digest {parts.digest}, not {plan.data_digest}."
        raise UserError(given, problem, do=f"Bring them back{again}, or search again.")
    return parts
