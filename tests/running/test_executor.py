import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from scalesearch.errors import UserError
from scalesearch.running.executor import FAILED_STARTS, Beat, Death, Executor, Here, WorkerDiedError, mapped
from scalesearch.running.processes import Processes


def double(number: int, beat: Beat) -> int:
    beat()
    return 2 * number


def fail_on_three(number: int, _beat: Beat) -> int:
    if number == 3:
        raise UserError("job", "three is not accepted.")
    return number


def misbehave(number: int, _beat: Beat) -> int:
    """1 raises, 2 is killed, 3 hangs, 4 leaves."""
    if number == 1:
        raise KeyError("a bug")
    if number == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    if number == 3:
        time.sleep(300)
    if number == 4:
        os._exit(9)
    return number


def stop(_number: int, _beat: Beat) -> int:
    os.kill(os.getpid(), signal.SIGSTOP)
    return 0


class Unloadable:
    """Ends the process that unpickles it."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (os._exit, (7,))

    def __call__(self, number: int, beat: Beat) -> int:
        return number


def ended(executor: Executor[int, int], jobs: list[int]) -> dict[int, int | Death]:
    results: dict[int, int | Death] = {}
    waiting = list(jobs)
    while len(results) < len(jobs):
        while waiting and executor.free():
            executor.submit(waiting.pop(0))
        results.update(executor.ended(1.0))
    return results


def test_here_and_in_processes_give_the_same_results() -> None:
    here = sorted(mapped(Here(double), range(5)))
    there = sorted(mapped(Processes(double, 2), range(5)))
    assert here == there == [(n, 2 * n) for n in range(5)]


def test_a_job_is_taken_only_when_a_worker_is_free() -> None:
    taken: list[int] = []

    def jobs() -> Iterator[int]:
        for number in range(6):
            taken.append(number)
            yield number

    results = mapped(Processes(double, 2), jobs())
    next(results)
    assert len(taken) <= 3  # two running, one to replace the finished
    results.close()  # type: ignore[attr-defined]


@pytest.mark.parametrize("executor", [lambda: Here(fail_on_three), lambda: Processes(fail_on_three, 2)])
def test_our_own_errors_end_the_whole(executor: Callable[[], Executor[int, int]]) -> None:
    with pytest.raises(UserError, match="three"):
        list(mapped(executor(), [1, 2, 3]))


def test_a_worker_that_dies_hangs_or_raises_takes_no_other_along() -> None:
    executor = Processes(misbehave, 2, stalled_seconds=4.0)
    results = ended(executor, [5, 1, 2, 3, 4, 6, 7])
    executor.close()
    assert [results[number] for number in (5, 6, 7)] == [5, 6, 7]
    assert results[1] == Death("KeyError: 'a bug'")
    assert results[2] == Death("its worker process was ended by SIGKILL, most often because memory ran out")
    assert results[3] == Death("its worker process gave no sign of life for 4 s and was killed")
    assert results[4] == Death("its worker process ended with exit code 9")


def test_a_stopped_worker_is_killed() -> None:
    executor = Processes(stop, 1, stalled_seconds=2.0)
    assert isinstance(ended(executor, [1])[1], Death)
    executor.close()


def test_workers_that_cannot_start_end_the_whole() -> None:
    executor: Processes[int, int] = Processes(Unloadable(), 2)
    results: list[int | Death] = []

    def until_it_gives_up() -> None:
        while True:
            while executor.free():
                executor.submit(1)
            results.extend(result for _, result in executor.ended(1.0))

    with pytest.raises(WorkerDiedError, match=rf"{FAILED_STARTS} in a row before they began.*exit code 7"):
        until_it_gives_up()
    executor.close()
    assert len(results) >= FAILED_STARTS - 2
    assert all(isinstance(one, Death) and not one.begun for one in results)  # which says nothing about the job


def test_a_job_that_dies_is_an_error_where_nobody_tries_again() -> None:
    with pytest.raises(WorkerDiedError, match=r"exit code 9.*Run the same command again"):
        list(mapped(Processes(misbehave, 1), [4]))


def test_workers_end_with_a_killed_coordinator(tmp_path: Path) -> None:
    script = (
        "import time, sys\n"
        "from tests.running.test_executor import write_pid_and_sleep\n"
        "from scalesearch.running.executor import mapped\n"
        "from scalesearch.running.processes import Processes\n"
        "if __name__ == '__main__':\n"
        "    list(mapped(Processes(write_pid_and_sleep, 1), [sys.argv[1]]))\n"
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


def write_pid_and_sleep(path: str, _beat: Beat) -> None:
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


def test_the_calling_script_is_not_run_again(tmp_path: Path) -> None:
    """A script without ``if __name__ == "__main__":`` starts workers, whatever it is called from."""
    script = tmp_path / "search.py"
    script.write_text(
        "from scalesearch.running.executor import mapped\n"
        "from scalesearch.running.processes import Processes\n"
        "from tests.running.test_executor import double\n"
        "print('begun')\n"
        "print(sorted(mapped(Processes(double, 2), range(4))))\n"
    )
    (tmp_path / "json.py").write_text("raise SystemExit('a file of this name is imported')")
    for command in ([str(script)], ["-c", script.read_text()]):
        environment = {**os.environ, "PYTHONPATH": str(Path.cwd())}
        ran = subprocess.run(
            [sys.executable, "-P", *command], capture_output=True, text=True, env=environment, cwd=tmp_path, check=True
        )
        assert ran.stdout == "begun\n[(0, 0), (1, 2), (2, 4), (3, 6)]\n"
        assert ran.stderr == ""
