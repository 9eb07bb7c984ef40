import functools
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from scalesearch.data.dataset import dataset, open_data
from scalesearch.errors import UserError
from scalesearch.running import executor as executor_module
from scalesearch.running import on_ray
from scalesearch.running.campaign import Bounds
from scalesearch.running.executor import Beat, Death, Here, WorkerDiedError, mapped
from scalesearch.running.on_ray import OnRay
from scalesearch.running.workers import Workers
from scalesearch.study.family_record import read_family
from tests.conftest import MakeFolder
from tests.running.test_families import make_plan as families_plan
from tests.running.test_families import numbers
from tests.running.test_families import train as train_families
from tests.running.test_search import make_plan, measured
from tests.running.test_search import run as search_in

ray = pytest.importorskip("ray", reason="the extra scalesearch[ray] is not installed")

ROOT = Path(__file__).parents[2]
SHORT = 1.5


def double(number: int, _beat: Beat) -> int:
    return 2 * number


def odd(number: int, _beat: Beat) -> int:
    """Numbers from 0 end in all the ways that there are."""
    if number == 1:
        raise ValueError("one\nand more")
    if number == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    if number == 3:
        os._exit(9)
    return number


def ours(number: int, _beat: Beat) -> int:
    raise UserError("--data", f"{number} is no folder of images.")


def hang_or_beat(hangs: bool, beat: Beat) -> str:
    end = time.monotonic() + (60 if hangs else 1.5 * SHORT)
    while time.monotonic() < end:
        time.sleep(0.1)
        if not hangs:
            beat()
    return "done"


def wait_in(folder: Path, number: int, _beat: Beat) -> int:
    """Says who runs it and where, and ends when it is told to."""
    (folder / f"{number}.new").write_text(f"{os.getpid()} {ray.get_runtime_context().get_node_id()}")
    (folder / f"{number}.new").rename(folder / str(number))
    while not (folder / "go").exists():
        time.sleep(0.05)
    return number


def started(folder: Path, number: int) -> tuple[int, str]:
    wait_for((folder / str(number)).exists)
    pid, node = (folder / str(number)).read_text().split()
    return int(pid), node


def alive(pid: int) -> bool:
    status = Path(f"/proc/{pid}/stat")
    try:
        return status.read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def wait_for(condition: Callable[[], bool], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def all_ended(executor: OnRay[Any, Any], count: int, seconds: float = 60) -> dict[Any, Any]:
    results: dict[Any, Any] = {}
    end = time.monotonic() + seconds
    while len(results) < count:
        assert time.monotonic() < end, results
        results |= dict(executor.ended(1.0))
    return results


@pytest.fixture(scope="module", autouse=True)
def local(tmp_path_factory: pytest.TempPathFactory) -> Iterator[subprocess.Popen[str]]:
    """A program on a cluster of its own, beside the other tests: most of its time is waiting."""
    script = (
        "import signal, sys\n"
        f"sys.path.insert(0, {str(ROOT)!r})\n"
        "import ray\n"
        "from scalesearch.running.executor import mapped\n"
        "from scalesearch.running.on_ray import OnRay\n"
        "def where(number, _beat):\n"
        "    import scalesearch\n"
        "    return scalesearch.__file__\n"
        "executor = OnRay(where, cpus_per_trial=0.5, jobs=1)\n"
        "assert len(ray.nodes()) == 1\n"
        "print(sorted(mapped(executor, [1])))\n"
        "assert not ray.is_initialized()\n"
        "assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL\n"
    )
    folder = tmp_path_factory.mktemp("elsewhere")
    (folder / "main.py").write_text(script)
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "RAY_ADDRESS")}
    command = [sys.executable, "-W", "error", str(folder / "main.py")]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, cwd=folder, env=environment) as program:
        yield program
        program.kill()


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """One machine of two CPUs; this process has a session on it."""
    from ray.cluster_utils import Cluster

    noted = on_ray.noted_cluster()

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(ROOT))
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        quick = {  # by default it takes Ray 15 s to see that a machine is gone
            "health_check_initial_delay_ms": 0,
            "health_check_period_ms": 500,
            "health_check_failure_threshold": 3,
        }
        head = {"num_cpus": 2, "include_dashboard": False, "_system_config": quick}
        cluster = Cluster(initialize_head=True, head_node_args=head)
        noted.unlink()  # nobody else on this machine shall join it
        ray.init(address=cluster.address, log_to_driver=False, logging_level="ERROR")
        yield cluster
        ray.shutdown()
        cluster.shutdown()


@pytest.fixture
def make(cluster: Any) -> Iterator[Callable[..., OnRay[Any, Any]]]:
    made: list[OnRay[Any, Any]] = []

    def make(run: Any, **options: Any) -> OnRay[Any, Any]:
        made.append(OnRay(run, **options))
        return made[-1]

    yield make
    for executor in made:
        executor.close()


def test_it_gives_what_its_twin_gives_and_takes_jobs_only_when_slots_are_free(make: Any) -> None:
    taken: list[int] = []
    jobs = (taken.append(number) or number for number in range(6))
    pairs = mapped(make(double), jobs)
    first = next(pairs)
    assert len(taken) <= 4  # two running, and what replaces those that have ended
    assert sorted([first, *pairs]) == sorted(mapped(Here(double), range(6)))


@pytest.mark.usefixtures("cluster")
def test_a_search_on_ray_comes_to_the_same_table(tmp_path: Path, image_folder: MakeFolder) -> None:
    data = dataset(open_data(str(image_folder(parts=("train", "test")))), 40)
    plan = make_plan(data)
    here = search_in(tmp_path / "here", plan, data, bounds=Bounds(trainings=4))
    there = search_in(tmp_path / "there", plan, data, workers=Workers(2, "ray"), bounds=Bounds(trainings=4))
    assert len(here) == 4
    assert measured(there) == measured(here)


@pytest.mark.usefixtures("cluster")
def test_members_on_ray_inherit_as_in_this_process(image_folder: MakeFolder, tmp_path: Path) -> None:
    data = dataset(open_data(str(image_folder(images=50))), 40)
    plan = families_plan(data, rates=(4e-3,))
    train_families(tmp_path / "here", plan, data)
    train_families(tmp_path / "there", plan, data, workers=Workers(2, "ray"))
    here, there = (numbers(read_family(tmp_path / name)) for name in ("here", "there"))
    assert here == there


def test_slots_are_what_machines_have_room_for(make: Any) -> None:
    assert make(double).free() == 2
    assert make(double, cpus_per_trial=2).free() == 1
    assert make(double, cpus_per_trial=0.5).free() == 4
    assert make(double, jobs=1).free() == 1
    with pytest.raises(UserError, match=r"8 GPUs for a trial.*2 CPUs and 0 GPUs"):
        make(double, gpus_per_trial=8)
    with pytest.raises(UserError, match="whole number"):
        make(double, gpus_per_trial=1.5)


def test_a_job_that_kills_its_worker_died_and_the_others_go_on(make: Any) -> None:
    executor = make(odd, cpus_per_trial=0.5)
    for number in range(4):
        executor.submit(number)
    assert executor.free() == 0
    results = all_ended(executor, 4)
    assert executor.free() == 4
    assert results[0] == 0
    assert results[1] == Death("ValueError: one")
    for number in (2, 3):
        assert results[number].begun
        assert "its worker process ended" in results[number].reason
    executor.submit(7)
    assert all_ended(executor, 1) == {7: 7}


def test_our_errors_reach_the_caller(make: Any) -> None:
    with pytest.raises(UserError, match="--data: 5 is no folder of images"):
        list(mapped(make(ours), [5]))


def test_a_job_that_hangs_is_ended_and_one_that_beats_or_waits_is_not(make: Any) -> None:
    executor = make(hang_or_beat, cpus_per_trial=2, stalled_seconds=SHORT)
    for hangs in (True, False):
        executor.submit(hangs)  # the second waits in Ray's queue until the first is ended
    results = all_ended(executor, 2)
    assert results[False] == "done"
    assert results[True] == Death("it gave no sign of life for 1.5 s and was ended")


def test_closing_ends_what_runs_but_not_a_session_of_the_caller(make: Any, tmp_path: Path) -> None:
    executor = make(functools.partial(wait_in, tmp_path))
    executor.submit(1)
    pid, _ = started(tmp_path, 1)
    executor.close()
    wait_for(lambda: not alive(pid))
    assert ray.is_initialized()


def test_workers_that_cannot_load_the_code_are_the_users_to_mend(make: Any) -> None:
    class Foreign:
        def __reduce__(self) -> tuple[Any, ...]:
            return (__import__, ("nowhere_installed",))

    executor = make(Foreign())
    executor.submit(1)
    with pytest.raises(UserError, match="nowhere_installed"):
        all_ended(executor, 1)


@pytest.mark.slow
def test_a_coordinator_that_closes_or_is_killed_leaves_no_task_on_the_cluster(cluster: Any, tmp_path: Path) -> None:
    script = (
        "import functools, pathlib, sys\n"
        "from tests.running.test_on_ray import OnRay, started, wait_in\n"
        "folder = pathlib.Path(sys.argv[1])\n"
        "for number in (1, 2):\n"
        "    executor = OnRay(functools.partial(wait_in, folder), address=sys.argv[2])\n"
        "    executor.submit(number)\n"
        "    started(folder, number)\n"
        "    executor.ended(300 * (number - 1))\n"
        "    executor.close()\n"
    )
    command = [sys.executable, "-c", script, str(tmp_path), cluster.address]
    coordinator = subprocess.Popen(command, env={**os.environ, "PYTHONPATH": str(ROOT)})
    try:
        pids = [started(tmp_path, number)[0] for number in (1, 2)]
        wait_for(lambda: not alive(pids[0]))  # closed
        assert alive(pids[1])
    finally:
        coordinator.kill()
        coordinator.wait()
    wait_for(lambda: not alive(pids[1]))


def test_a_local_cluster_is_started_and_ended_from_any_folder(local: subprocess.Popen[str]) -> None:
    output, errors = local.communicate(timeout=120)
    assert (local.returncode, errors) == (0, "")
    assert output.strip() == str([(1, str(ROOT / "scalesearch" / "__init__.py"))])


@pytest.fixture
def no_session(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray, "is_initialized", lambda: False)


@pytest.mark.usefixtures("no_session")
def test_an_address_without_a_cluster_is_an_error_in_bounded_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(on_ray, "ANSWER_SECONDS", 1.0)
    with pytest.raises(UserError, match=r"--ray-address: .* at 127\.0\.0\.1:1 \(no answer within 1 s"):
        OnRay(double, address="127.0.0.1:1")
    with pytest.raises(UserError, match="Start the command on a machine of the cluster"):
        OnRay(double, address="ray://127.0.0.1:10001")
    monkeypatch.setenv("RAY_ADDRESS", "nonsense")
    monkeypatch.setattr(on_ray, "ANSWER_SECONDS", 30.0)
    with pytest.raises(UserError, match=r"RAY_ADDRESS: .* at nonsense \(.*Invalid address format"):
        OnRay(double)


def test_without_ray_the_user_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UserError, match=r"pip install 'scalesearch\[ray\]'"):
        OnRay(double)


def test_workers_that_never_begin_end_the_whole(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(executor_module, "FAILED_STARTS", 2)
    executor = make(double)
    monkeypatch.setattr(executor, "_result", lambda _task: Death("it never began", begun=False))
    executor.submit(1)
    assert all_ended(executor, 1) == {1: Death("it never began", begun=False)}
    executor.submit(2)
    with pytest.raises(WorkerDiedError, match="2 in a row"):
        all_ended(executor, 1)


def test_a_cluster_without_a_head_ends_in_one_message(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    executor = make(double)
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # and nobody listens
        executor._head = f"127.0.0.1:{closed.getsockname()[1]}"
        assert executor.free() == 0
        monkeypatch.setattr(on_ray, "HEAD_SECONDS", 0.5)
        with pytest.raises(UserError, match=r"its head has not answered for 0\.5 s .* the same command continues"):
            all_ended(executor, 1)


@pytest.mark.slow
def test_a_machine_that_dies_takes_its_jobs_along_and_one_that_joins_adds_slots(
    make: Any, cluster: Any, tmp_path: Path
) -> None:
    machines = [cluster.add_node(num_cpus=1) for _ in range(2)]
    executor = make(functools.partial(wait_in, tmp_path))
    wait_for(lambda: executor.free() == 4)
    for number in range(4):
        executor.submit(number)
    places = {number: started(tmp_path, number)[1] for number in range(4)}
    assert len(set(places.values())) == 3
    lost = machines[0]
    (job,) = (number for number, node in places.items() if node == lost.node_id)
    pid, _ = started(tmp_path, job)
    os.kill(lost.all_processes["raylet"][0].process.pid, signal.SIGKILL)
    ((number, died),) = all_ended(executor, 1).items()
    assert number == job
    assert died.begun
    assert "machine" in died.reason
    wait_for(lambda: not alive(pid))
    wait_for(lambda: sum(node["Alive"] for node in ray.nodes()) == 2)
    assert executor.free() == 0  # three run
    (tmp_path / "go").touch()
    assert all_ended(executor, 3) == {other: other for other in range(4) if other != job}
    assert executor.free() == 3
    cluster.add_node(num_cpus=1)
    wait_for(lambda: executor.free() == 4)
