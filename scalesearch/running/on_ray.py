"""The executor of a Ray cluster: a job is a task that Ray never repeats; whether it runs again, the caller decides.

Signs of life go to an actor beside the coordinator, not through the task itself: a worker that hangs cannot be asked,
and the actor outlives the deaths of workers and of other machines.
"""

import contextlib
import math
import os
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Literal

from scalesearch.data.places import home_is_writable
from scalesearch.errors import ScaleSearchError, UserError
from scalesearch.machine import cores
from scalesearch.running.executor import (
    STALLED_SECONDS,
    Death,
    FailedStarts,
    Job,
    Result,
    Run,
    WorkerDiedError,
    answered,
)

ANSWER_SECONDS = 30.0  # for a cluster to answer; where nothing listens, Ray itself goes on for more than two minutes
BEAT_SECONDS = 5.0
HEAD_SECONDS = 20.0  # without an answer of the cluster's head; Ray ends the process after 60
LOOK_SECONDS = 1.0
CANCEL_SECONDS = 10.0  # for Ray to end what it was told to end: a stopped process, or one without a machine, does not
STORE_BYTES = 256 * 2**20  # of a local cluster: jobs and results are small; Ray's own default is 30 % of the memory
DEATHS = {  # Ray's errors, the narrower first
    "OutOfMemoryError": "its machine ran out of memory and Ray ended it",
    "NodeDiedError": "its machine left the cluster",
    "OwnerDiedError": "the machine that held its data left the cluster",
    "ObjectLostError": "its answer, or what it was given, was lost with a machine",
    "WorkerCrashedError": "its worker process ended without an answer: it was killed, or its machine was lost",
    "TaskCancelledError": "it was cancelled",
}
QUIET = {"log_to_driver": False, "logging_level": "ERROR"}
PROBE = "import ray, sys; ray.init(address=sys.argv[1], log_to_driver=False, logging_level='CRITICAL')"


@dataclass(eq=False)
class _Task(Generic[Job]):
    """A job that Ray has.

    ``machine``: where it began; ``quiet``: seconds without a sign of life since then; ``ended_for``: why Ray was told
    to end it; it counts as ended at ``given_up_at`` at the latest.
    """

    number: int
    job: Job
    answer: Any
    machine: str | None = None
    quiet: float = 0.0
    ended_for: str | None = None
    given_up_at: float = math.inf


class OnRay(Generic[Job, Result]):
    """As many jobs at a time as the machines that are in the cluster now have room for.

    Slots are counted anew at each question: a machine that joins adds some, one that leaves takes its own along. Other
    users' tasks are not subtracted: a job may wait in Ray's queue, and is not taken for stalled while it does. There is
    always at least one slot, so that one job waits there when all machines are gone; this is also what makes an
    autoscaler start the first one. A cluster that can grow has the slots that it can grow to.

    Args:
        run: stored once in the cluster, not sent with every job.
        cpus_per_trial: Ray keeps so many free for a job; it does not stop a job from using more.
        address: of a cluster that this machine belongs to, or "local". None: ``RAY_ADDRESS``, else the cluster that
            ``ray start`` started on this machine, else one is started here for as long as this object lives. A session
            that this process has already is used whatever is said here.
        jobs: never more at a time.
        stalled_seconds: without a sign of life, after which a job that had begun is ended.

    Raises:
        UserError: no Ray, no cluster at the address, or one that can never run such a job.
    """

    def __init__(
        self,
        run: Run[Job, Result],
        cpus_per_trial: float = 1.0,
        gpus_per_trial: float = 0.0,
        address: str | None = None,
        jobs: int | None = None,
        stalled_seconds: float = STALLED_SECONDS,
    ) -> None:
        _check_requests(cpus_per_trial, gpus_per_trial)
        self._ray = _imported()
        self._cpus, self._gpus, self._jobs = cpus_per_trial, gpus_per_trial, jobs
        self._stalled_seconds = stalled_seconds
        self._tasks: list[_Task[Job]] = []
        self._failed_starts, self._submitted = FailedStarts(), 0
        self._ours = not self._ray.is_initialized()
        if self._ours:
            _connect(self._ray, address)
        with contextlib.ExitStack() as stack:
            if self._ours:
                stack.callback(self._ray.shutdown)
            self._head, self._head_seen = self._ray.get_runtime_context().gcs_address, time.monotonic()
            self._check_room()
            self._run = self._ray.put(run)
            self._pulse = self._started_pulse()
            self._question = self._pulse.taken.remote()
            self._looked = time.monotonic()
            options = {"num_cpus": cpus_per_trial, "num_gpus": gpus_per_trial, "max_retries": 0}
            self._work = self._ray.remote(_work).options(**options)
            stack.pop_all()

    def free(self) -> int:
        if not self._head_answers():
            return 0
        slots = max(self._slots(), self._slots_when_grown() or 0, 1)
        return max(0, min(slots, self._jobs or slots) - len(self._tasks))

    def submit(self, job: Job) -> None:
        beat_seconds = min(BEAT_SECONDS, self._stalled_seconds / 4)
        answer = self._work.remote(self._run, job, self._submitted, self._pulse, beat_seconds)
        self._tasks.append(_Task(self._submitted, job, answer))
        self._submitted += 1

    def ended(self, timeout_seconds: float) -> list[tuple[Job, Result | Death]]:
        end = time.monotonic() + timeout_seconds
        while True:
            rest = max(0.0, end - time.monotonic())
            ready = self._ready(min(rest, LOOK_SECONDS))
            self._look()
            if ready or not rest:
                return [self._judged(task) for task in ready]

    def close(self) -> None:
        tasks, self._tasks = self._tasks, []
        if self._ours:
            self._ray.shutdown()  # Ray ends what a session leaves behind, on all machines
            return
        with contextlib.suppress(self._ray.exceptions.RayError):
            answers = [task.answer for task in tasks if self._cancelled(task)]
            if answers:
                self._ray.wait(answers, num_returns=len(answers), timeout=5)
            self._ray.kill(self._pulse)

    def _started_pulse(self) -> Any:
        """Beside the coordinator: it is lost only together with it, or else begins anew."""
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        here = NodeAffinitySchedulingStrategy(self._ray.get_runtime_context().get_node_id(), soft=True)
        return self._ray.remote(_Pulse).options(num_cpus=0, max_restarts=-1, scheduling_strategy=here).remote()

    def _slots(self) -> int:
        return sum(self._fitting(node["Resources"]) for node in self._ray.nodes() if node["Alive"])

    def _slots_when_grown(self) -> int | None:
        """None unless the cluster has an autoscaler that says how far it goes. Ray tells it nowhere in public."""
        try:
            most = self._ray._private.state.state.get_max_resources_from_cluster_config()
        except AttributeError:  # another version of Ray
            return None
        return None if most is None else self._fitting(most)

    def _fitting(self, resources: dict[str, float]) -> int:
        wanted = {"CPU": self._cpus, "GPU": self._gpus}
        return min(math.floor(resources.get(name, 0.0) / one + 1e-6) for name, one in wanted.items() if one)

    def _check_room(self) -> None:
        if self._slots() or self._slots_when_grown():
            return
        machines = [node["Resources"] for node in self._ray.nodes() if node["Alive"]]
        sizes = sorted({f"{m.get('CPU', 0):g} CPUs and {m.get('GPU', 0):g} GPUs" for m in machines})
        raise UserError(
            "--cpus-per-trial, --gpus-per-trial",
            f"no machine of the Ray cluster has {self._cpus:g} CPUs and {self._gpus:g} GPUs for a trial (they have "
            f"{'; '.join(sizes)}).", do="Ask for less, or add a machine to the cluster first (ray start --address …).",
        )  # fmt: skip

    def _ready(self, timeout_seconds: float) -> list[_Task[Job]]:
        """What has ended, and what Ray was told to end and did not."""
        if not self._tasks:
            time.sleep(timeout_seconds)
            return []
        answers = [task.answer for task in self._tasks]
        self._ray.wait(answers, timeout=timeout_seconds)
        done = set(self._ray.wait(answers, num_returns=len(answers), timeout=0)[0])
        now = time.monotonic()
        return [task for task in self._tasks if task.answer in done or task.given_up_at < now]

    def _look(self) -> None:
        """Notes signs of life; ends what has given none for too long, and what ran on a machine that is gone.

        Ray itself goes on waiting for a task of a lost machine until the connection breaks. Time in which the pulse
        does not answer, or in which nobody asks, says nothing about the tasks.
        """
        if not self._head_answers():
            return
        heard = self._heard(0.0)
        if heard is None:
            return
        passed, self._looked = min(time.monotonic() - self._looked, 2 * LOOK_SECONDS), time.monotonic()
        here = {node["NodeID"] for node in self._ray.nodes() if node["Alive"]} if self._tasks else set()
        for task in self._tasks:
            task.quiet = task.quiet + passed if task.machine and task.number not in heard else 0.0
            if task.machine and task.machine not in here:
                self._end(task, DEATHS["NodeDiedError"])
            elif task.quiet > self._stalled_seconds:
                self._end(task, f"it gave no sign of life for {self._stalled_seconds:g} s and was ended")

    def _head_answers(self) -> bool:
        """Whether the cluster's head can be reached; without it Ray's own calls do not come back.

        Raises UserError where it has not been for too long: Ray would end this process, with a message of its own.
        """
        host, _, port = self._head.rpartition(":")
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout=LOOK_SECONDS).close()
        except OSError as error:
            if time.monotonic() - self._head_seen > HEAD_SECONDS:
                raise UserError(
                    f"Ray cluster at {self._head}", f"its head has not answered for {HEAD_SECONDS:g} s ({error}).",
                    do="Start the cluster again if it is one of yours; the same command continues.",
                ) from None  # fmt: skip
            return False
        self._head_seen = time.monotonic()
        return True

    def _end(self, task: _Task[Job], reason: str) -> None:
        if task.ended_for is None:
            task.ended_for, task.given_up_at = reason, time.monotonic() + CANCEL_SECONDS
            self._cancelled(task)

    def _cancelled(self, task: _Task[Job]) -> bool:
        """Tells Ray to end a task. Not one that has just ended: Ray 2.60 aborts the whole process over it (seen)."""
        if self._ray.wait([task.answer], timeout=0)[0]:
            return False
        self._ray.cancel(task.answer, force=True)
        return True

    def _heard(self, timeout_seconds: float) -> dict[int, str] | None:
        """Whose signs of life came before the last question; asks the next one. None: no answer yet."""
        if not self._ray.wait([self._question], timeout=timeout_seconds)[0]:
            return None
        answer, self._question = self._question, self._pulse.taken.remote()
        try:
            heard: dict[int, str] = self._ray.get(answer)
        except self._ray.exceptions.RayError:  # the pulse died; Ray starts it anew
            return None
        for task in self._tasks:
            task.machine = heard.get(task.number, task.machine)
        return heard

    def _judged(self, task: _Task[Job]) -> tuple[Job, Result | Death]:
        try:
            result = self._result(task)
        finally:
            self._tasks.remove(task)
        self._failed_starts.note(result)
        return task.job, result

    def _result(self, task: _Task[Job]) -> Result | Death:
        try:
            kind, content = self._ray.get(task.answer, timeout=None if task.ended_for is None else 0)
        except self._ray.exceptions.RayError as error:
            if task.ended_for is not None:
                return Death(task.ended_for)
            return Death(_reason(self._ray.exceptions, error), self._has_begun(task))
        if kind == "error":
            raise content
        return content  # type: ignore[no-any-return]

    def _has_begun(self, task: _Task[Job]) -> bool:
        """Asks twice: the first answer may be older than the task."""
        for _ in range(2):
            if task.machine is None:
                self._heard(2.0)
        return task.machine is not None


class _Pulse:
    """Hears signs of life: the number of a task, and its machine."""

    def __init__(self) -> None:
        self._machines: dict[int, str] = {}

    def beat(self, number: int, machine: str) -> None:
        self._machines[number] = machine

    def taken(self) -> dict[int, str]:
        """What it has heard since the last question."""
        taken, self._machines = self._machines, {}
        return taken


def _work(
    run: Run[Any, Any], job: Any, number: int, pulse: Any, beat_seconds: float
) -> tuple[Literal["done", "error"], Any]:
    """A task."""
    import ray

    threading.Thread(target=_end_with_raylet, args=(os.getppid(),), daemon=True).start()
    machine = ray.get_runtime_context().get_node_id()
    with contextlib.suppress(ray.exceptions.RayError):  # waits: that it began is known before anything can go wrong
        ray.get(pulse.beat.remote(number, machine), timeout=10)
    last = time.monotonic()

    def beat() -> None:
        nonlocal last
        if time.monotonic() - last > beat_seconds:
            last = time.monotonic()
            pulse.beat.remote(number, machine)  # nobody waits for it

    try:
        return "done", answered(run, job, beat)
    except ScaleSearchError as error:
        return "error", error


def _end_with_raylet(parent: int) -> None:
    """A worker whose raylet is killed would go on for minutes (seen with Ray 2.60), beside its repetition elsewhere."""
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)


def _reason(exceptions: Any, error: Exception) -> str:
    """Why a task has no result, in plain words.

    Raises:
        ScaleSearchError: the workers cannot run any job, or the cluster is gone.
    """
    text = str(error)
    if isinstance(error, exceptions.RuntimeEnvSetupError) or "No module named" in text or "failed to import" in text:
        raise UserError(
            "--executor ray", f"workers cannot load what they are to run ({_last_line(text)}).",
            do="Install the same versions of scalesearch, its extras and Python on every machine of the cluster.",
        ) from error  # fmt: skip
    if isinstance(error, exceptions.LocalRayletDiedError | exceptions.RaySystemError):
        raise WorkerDiedError(f"the Ray process of this machine is gone: {_last_line(text)}") from error
    for name, reason in DEATHS.items():
        if isinstance(error, getattr(exceptions, name)):
            return reason
    return f"{type(error).__name__}: {_last_line(text)}"


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "no reason given"


def _check_requests(cpus: float, gpus: float) -> None:
    for option, number in (("--cpus-per-trial", cpus), ("--gpus-per-trial", gpus)):
        if not (math.isfinite(number) and number >= 0):
            raise UserError(option, f"{number:g} is not a finite number of at least 0.")
        if number > 1 and number != int(number):
            raise UserError(option, f"{number:g} is neither a whole number nor a part of one.")
    if not cpus and not gpus:
        raise UserError("--cpus-per-trial", "with neither CPUs nor GPUs nothing bounds how many trials run at a time.")


def _imported() -> Any:
    try:
        import ray
    except ImportError as error:
        raise UserError(
            "--executor ray", "Ray is not installed.", do="Install the extra: pip install 'scalesearch[ray]'."
        ) from error
    return ray


def _connect(ray: Any, address: str | None) -> None:
    """Joins a cluster, or starts one on this machine."""
    wanted = address or os.environ.get("RAY_ADDRESS")
    with _kept_signals():
        if wanted == "local" or not (wanted or (wanted := _started_here())):
            _start(ray)
        else:
            _check_answer(wanted, "--ray-address" if address else "RAY_ADDRESS")
            ray.init(address=wanted, **QUIET)


def _started_here() -> str | None:
    """What ``ray start`` wrote down on this machine, if it still answers.

    Not "auto": that also finds clusters that another program started for itself and will take along when it ends.
    """
    try:
        address = noted_cluster().read_text().strip()
    except OSError:
        return None
    host, _, port = address.rpartition(":")
    with contextlib.suppress(OSError, ValueError), socket.create_connection((host, int(port)), timeout=5):
        return address
    return None


def noted_cluster() -> Path:
    folder = os.environ.get("RAY_TMPDIR") or os.environ.get("TMPDIR") or "/tmp"
    return Path(folder) / "ray" / "ray_current_cluster"


def _check_answer(address: str, where: str) -> None:
    """Connects in another process first: Ray's own wait cannot be bounded or interrupted from within."""
    if "://" in address:
        raise UserError(
            where, f"{address} is not of the form 10.0.0.1:6379, nor auto.",
            do="Start the command on a machine of the cluster.",
        )  # fmt: skip
    command = [sys.executable, "-c", PROBE, address]
    environment = {**os.environ, "RAY_USAGE_STATS_ENABLED": "0"}
    try:
        probe = subprocess.run(
            command, check=False, capture_output=True, text=True, timeout=ANSWER_SECONDS, env=environment
        )
    except subprocess.TimeoutExpired:
        reason = f"no answer within {ANSWER_SECONDS:g} s"
    else:
        if probe.returncode == 0:
            return
        reason = _last_line(probe.stderr)
    raise UserError(
        where, f"no Ray cluster can be joined at {address} ({reason}).",
        do='Name one that this machine belongs to; "ray status" shows it.',
    )  # fmt: skip


def _start(ray: Any) -> None:
    """The workers take the environment from the processes that are started here."""
    root = Path(__file__).parents[2]
    paths = [os.environ.get("PYTHONPATH", ""), "" if root.name == "site-packages" else str(root)]
    python_path = os.pathsep.join(path for path in paths if path)
    usage_stats = os.environ.get("RAY_USAGE_STATS_ENABLED", "0")
    # else Ray keeps a token in the home, by which the processes of a cluster know each other
    token = {} if home_is_writable() else {"RAY_AUTH_TOKEN": os.environ.get("RAY_AUTH_TOKEN", secrets.token_hex(32))}
    with _environment(PYTHONPATH=python_path, RAY_USAGE_STATS_ENABLED=usage_stats, **token):
        ray.init(
            address="local", num_cpus=cores(), include_dashboard=False, object_store_memory=STORE_BYTES, **QUIET
        )  # fmt: skip


@contextlib.contextmanager
def _environment(**variables: str) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@contextlib.contextmanager
def _kept_signals() -> Iterator[None]:
    """Ray puts a handler of its own for SIGTERM in the caller's place."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before)
