import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from scalesearch.search.executor import WorkerDiedError, run_here, run_in_processes


def double(number: int) -> int:
    return 2 * number


def fail_on_three(number: int) -> int:
    if number == 3:
        raise ValueError("three")
    return number


def die(_number: int) -> int:
    os._exit(9)


def test_here_and_in_processes_give_the_same_results() -> None:
    here = sorted(run_here(range(5), double))
    there = sorted(run_in_processes(range(5), double, 2))
    assert here == there == [(n, 2 * n) for n in range(5)]


def test_a_job_is_taken_only_when_a_worker_is_free() -> None:
    taken: list[int] = []

    def jobs() -> Iterator[int]:
        for number in range(6):
            taken.append(number)
            yield number

    results = run_in_processes(jobs(), double, 2)
    next(results)
    assert len(taken) <= 3  # two running, one to replace the finished
    results.close()


def test_errors_of_a_job_reach_the_caller() -> None:
    with pytest.raises(ValueError, match="three"):
        list(run_in_processes([1, 2, 3], fail_on_three, 2))


def test_a_dead_worker_is_noticed() -> None:
    with pytest.raises(WorkerDiedError, match="Run the same command again"):
        list(run_in_processes([1], die, 1))


def test_workers_end_with_a_killed_coordinator(tmp_path: Path) -> None:
    script = (
        "import time, sys\n"
        "from tests.search.test_executor import write_pid_and_sleep\n"
        "from scalesearch.search.executor import run_in_processes\n"
        "if __name__ == '__main__':\n"
        "    list(run_in_processes([sys.argv[1]], write_pid_and_sleep, 1))\n"
    )
    pid_file = tmp_path / "pid"
    (tmp_path / "main.py").write_text(script)
    root = str(Path(__file__).parents[2])
    coordinator = subprocess.Popen(
        [sys.executable, str(tmp_path / "main.py"), str(pid_file)], env={**os.environ, "PYTHONPATH": root}
    )
    wait_for(lambda: pid_file.exists() and pid_file.read_text() != "")
    coordinator.kill()
    coordinator.wait()
    wait_for(lambda: not alive(int(pid_file.read_text())))


def write_pid_and_sleep(path: str) -> None:
    Path(path).write_text(str(os.getpid()))
    time.sleep(300)


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    status = Path(f"/proc/{pid}/stat")
    return not (status.exists() and status.read_text().split()[2] == "Z")


def wait_for(condition: Callable[[], bool], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.1)
