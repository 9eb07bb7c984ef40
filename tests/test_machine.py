"""Cores and memory within control groups: made-up trees of both versions, and a real group where one can be made."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from scalesearch.machine import MemoryLimit, affine_cores, cores, memory_limit, quota_cores

V1 = "34 31 0:3{n} {top} /sys/fs/cgroup/{name} rw,relatime shared:9 - cgroup cgroup rw,{name}\n"
V2 = "41 31 0:38 {top} {point} rw,relatime - cgroup2 cgroup2 rw\n"
OTHERS = "22 1 8:1 / / rw - ext4 /dev/sda1 rw\n23 22 0:21 / /proc rw - proc proc rw\n"
LOTS = "9223372036854771712\n"
MIB = 1 << 20


def tree(root: Path, memberships: str, mounts: str, files: dict[str, str]) -> Path:
    """A root with what the kernel would show: memberships, mounts and the groups' files."""
    for name, text in {
        "proc/self/cgroup": memberships, "proc/self/mountinfo": OTHERS + mounts,
        **{f"sys/fs/cgroup/{name}": text for name, text in files.items()},
    }.items():  # fmt: skip
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def v2(top: str = "/", point: str = "/sys/fs/cgroup") -> str:
    return V2.format(top=top, point=point)


@pytest.fixture(autouse=True)
def _eight_cores(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    if "real" not in request.node.name:
        monkeypatch.setattr("scalesearch.machine.affine_cores", lambda: 8)
        monkeypatch.setattr("scalesearch.machine._physical", lambda: 16_000 * MIB)


@pytest.mark.parametrize(
    ("text", "quota", "whole"),
    [
        ("150000 100000\n", 1.5, 1), ("20000 100000\n", 0.2, 1), ("400000 100000\n", 4.0, 4), ("max 100000\n", None, 8),
        ("1600000 100000\n", 16.0, 8), ("\n", None, 8), ("nonsense\n", None, 8), ("0 100000\n", None, 8),
    ],
)  # fmt: skip
def test_a_quota_is_whole_cores_at_least_one(tmp_path: Path, text: str, quota: float | None, whole: int) -> None:
    root = tree(tmp_path, "0::/\n", v2(), {"cpu.max": text})
    assert (quota_cores(root), cores(root)) == (quota, whole)


def test_the_least_of_nested_groups_holds(tmp_path: Path) -> None:
    files = {
        "cpu.max": "max 100000\n", "a/cpu.max": "200000 100000\n", "a/b/cpu.max": "700000 100000\n",
        "other/cpu.max": "100000 100000\n",
        "a/memory.max": f"{900 * MIB}\n", "a/memory.current": f"{800 * MIB}\n",
        "a/memory.stat": f"anon 5\ninactive_file {300 * MIB}\n",
        "a/b/memory.max": f"{600 * MIB}\n", "a/b/memory.current": f"{100 * MIB}\n",
        "a/b/c/memory.max": "max\n", "a/b/c/memory.current": "7\n",
    }  # fmt: skip
    root = tree(tmp_path, "0::/a/b/c\n", v2(), files)
    assert (quota_cores(root), cores(root)) == (2.0, 2)
    assert memory_limit(root) == MemoryLimit(900 * MIB, 400 * MIB)  # 900 − (800 − 300), less than 600 − 100


def test_version_one(tmp_path: Path) -> None:
    mounts = "".join(V1.format(n=n, name=name, top="/") for n, name in enumerate(("cpu,cpuacct", "memory", "cpuset")))
    files = {
        "cpu,cpuacct/cpu.cfs_quota_us": "-1\n", "cpu,cpuacct/cpu.cfs_period_us": "100000\n",
        "cpu,cpuacct/job/cpu.cfs_quota_us": "50000\n", "cpu,cpuacct/job/cpu.cfs_period_us": "20000\n",
        "memory/memory.limit_in_bytes": LOTS, "memory/memory.usage_in_bytes": "5\n",
        "memory/job/memory.limit_in_bytes": f"{500 * MIB}\n", "memory/job/memory.usage_in_bytes": f"{450 * MIB}\n",
        "memory/job/memory.stat": f"inactive_file 1\ntotal_inactive_file {50 * MIB}\n",
    }  # fmt: skip
    root = tree(tmp_path, "5:memory:/job\n4:cpu,cpuacct:/job\n1:name=systemd:/x\n", mounts, files)
    assert (quota_cores(root), cores(root)) == (2.5, 2)
    assert memory_limit(root) == MemoryLimit(500 * MIB, 100 * MIB)


def test_both_versions_side_by_side(tmp_path: Path) -> None:
    mounts = V1.format(n=1, name="memory", top="/") + v2(point="/sys/fs/cgroup/unified")
    files = {
        "memory/job/memory.limit_in_bytes": f"{500 * MIB}\n", "memory/job/memory.usage_in_bytes": "0\n",
        "unified/cpu.max": "300000 100000\n",
    }  # fmt: skip
    root = tree(tmp_path, "5:memory:/job\n0::/\n", mounts, files)
    assert quota_cores(root) == 3.0
    assert memory_limit(root) == MemoryLimit(500 * MIB, 500 * MIB)


@pytest.mark.parametrize("member", ["/docker/ab12", "/", "/../..", "/elsewhere"])
def test_a_container_that_sees_its_hosts_paths(tmp_path: Path, member: str) -> None:
    mounts = V1.format(n=1, name="memory", top="/docker/ab12") + v2(top="/docker/ab12", point="/sys/fs/cgroup/my\\040x")
    files = {
        "memory/memory.limit_in_bytes": f"{500 * MIB}\n", "memory/memory.usage_in_bytes": f"{600 * MIB}\n",
        "my x/cpu.max": "100000 100000\n",
    }  # fmt: skip
    root = tree(tmp_path, f"5:memory:{member}\n0::{member}\n", mounts, files)
    assert cores(root) == 1
    assert memory_limit(root) == MemoryLimit(500 * MIB, 0)


def test_where_nothing_is_shown_or_readable(tmp_path: Path) -> None:
    assert (quota_cores(tmp_path), memory_limit(tmp_path), cores(tmp_path)) == (None, None, 8)
    root = tree(tmp_path, "0::/gone\n", v2(), {})
    (root / "sys/fs/cgroup/cpu.max").mkdir(parents=True)
    assert (quota_cores(root), memory_limit(root)) == (None, None)


def test_jobs_threads_and_memory_keep_to_the_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    from scalesearch.running.workers import usual_jobs
    from scalesearch.training import device, memory

    assert usual_jobs("cpu") <= 8
    monkeypatch.setattr(memory, "memory_limit", lambda: MemoryLimit(900 * MIB, 700 * MIB))
    monkeypatch.setattr("scalesearch.running.workers.cores", lambda: 8)
    assert memory.available_memory(torch.device("cpu")) <= 700 * MIB
    assert usual_jobs("cpu") == usual_jobs("cuda:0") == 2  # of 300 MB each
    before = torch.get_num_threads()
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    try:
        torch.set_num_threads(4)
        monkeypatch.setattr(device, "cores", lambda: 2)
        device.choose_device("cpu")
        assert torch.get_num_threads() == 2
        monkeypatch.setenv("OMP_NUM_THREADS", "4")
        torch.set_num_threads(4)
        device.choose_device("cpu")
        assert torch.get_num_threads() == 4
    finally:
        torch.set_num_threads(before)


def test_doctor_says_what_was_understood(monkeypatch: pytest.MonkeyPatch) -> None:
    from scalesearch.api import doctor

    for name, value in {
        "cores": 1, "affine_cores": 8, "quota_cores": 1.5, "memory_limit": MemoryLimit(2000 * MIB, 700 * MIB),
    }.items():  # fmt: skip
        monkeypatch.setattr(doctor, name, lambda value=value: value)
    machine = doctor._machine()
    assert machine["cores"] == "1 used, of 8 that may be run on; the container's quota is 1.5"
    assert machine["free memory"].endswith("; the container's limit is 2.1 GB")


LOOK = "import scalesearch.machine as m; l = m.memory_limit(); print(m.quota_cores(), m.cores(), l.total)"


@pytest.fixture
def real_group() -> Iterator[list[Path]]:
    """Folders of a new control group, of 1.5 cores and 200 MiB."""
    name, made = f"scalesearch-test-{os.getpid()}", list[Path]()
    try:
        for controller, files in {
            "cpu": {"cpu.cfs_period_us": "100000", "cpu.cfs_quota_us": "150000"},
            "memory": {"memory.limit_in_bytes": str(200 * MIB)},
            "": {"cpu.max": "150000 100000", "memory.max": str(200 * MIB)},
        }.items():
            folder = Path("/sys/fs/cgroup") / controller / name
            if (controller and not folder.parent.is_dir()) or (not controller and made):
                continue
            folder.mkdir()
            made.append(folder)
            for file, text in files.items():
                (folder / file).write_text(text)
        yield made
    except OSError as error:
        pytest.skip(f"no control group can be made here ({error})")
    finally:
        for folder in made:
            folder.rmdir()


def test_a_real_group(real_group: list[Path]) -> None:
    enter = "import os, sys\nfor f in sys.argv[1:]: open(f + '/cgroup.procs', 'w').write(str(os.getpid()))\n"
    ended = subprocess.run(
        [sys.executable, "-c", enter + LOOK, *map(str, real_group)], capture_output=True, text=True, check=True
    )
    assert ended.stdout.split() == ["1.5", "1", str(200 * MIB)]
    assert affine_cores() >= 1
