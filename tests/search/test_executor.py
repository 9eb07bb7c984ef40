import os
from collections.abc import Iterator

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
