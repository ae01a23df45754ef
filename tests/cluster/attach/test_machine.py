"""Limits of control groups in made-up proc and cgroup folders, as real machines and containers show them."""

from pathlib import Path

import psutil
import pytest

from cluster.attach.machine import machine_share

GIB = 1 << 30


@pytest.fixture(autouse=True)
def _a_large_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: set(range(16)))
    memory = psutil.virtual_memory()._replace(total=64 * GIB, available=60 * GIB)
    monkeypatch.setattr("psutil.virtual_memory", lambda: memory)


def files(folder: Path, **contents: object) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in contents.items():
        (folder / name.replace("__", ".")).write_text(f"{content}\n")


def proc(tmp_path: Path, cgroup: str, *mounts: str) -> Path:
    (tmp_path / "cgroup").write_text(cgroup)
    (tmp_path / "mountinfo").write_text("\n".join(mounts))
    return tmp_path


def test_without_limits_the_machine_counts(tmp_path: Path) -> None:
    group = tmp_path / "v2"
    files(group / "user", memory__max="max", memory__current=GIB, cpu__max="max 100000")
    share = machine_share(proc(tmp_path, "0::/user\n", f"31 23 0:28 / {group} rw - cgroup2 cgroup2 rw"))
    assert share == (16.0, 64 * GIB, 60 * GIB)
    assert machine_share(tmp_path / "nowhere") == share


def test_version_2_takes_the_tightest_group_above(tmp_path: Path) -> None:
    group = tmp_path / "v2"
    files(group, memory__max=8 * GIB, memory__current=6 * GIB, cpu__max="max 100000")
    files(group / "pod", memory__max=4 * GIB, memory__current=2 * GIB, cpu__max="250000 100000")
    files(group / "pod" / "job", memory__max="max", memory__current=GIB)
    (group / "pod" / "memory.stat").write_text(f"anon 5\ninactive_file {GIB}\n")
    share = machine_share(proc(tmp_path, "0::/pod/job\n", f"31 23 0:28 / {group} rw - cgroup2 cgroup2 rw"))
    assert share == (2.5, 4 * GIB, 2 * GIB)  # the upper group has 2 GiB left, the pod 4 - (2 - 1) = 3
    assert share.workers == 2


def test_version_1_reads_each_controller_where_it_is_mounted(tmp_path: Path) -> None:
    memory, cpu = tmp_path / "memory", tmp_path / "cpu,cpuacct"
    files(memory, memory__limit_in_bytes=9223372036854771712, memory__usage_in_bytes=GIB)
    files(memory / "docker" / "a", memory__limit_in_bytes=900 << 20, memory__usage_in_bytes=300 << 20)
    (memory / "docker" / "a" / "memory.stat").write_text(f"inactive_file 1\ntotal_inactive_file {100 << 20}\n")
    files(cpu / "docker" / "a", cpu__cfs_quota_us=50000, cpu__cfs_period_us=100000)
    files(cpu, cpu__cfs_quota_us=-1, cpu__cfs_period_us=100000)
    share = machine_share(
        proc(
            tmp_path,
            "4:memory:/docker/a\n2:cpu,cpuacct:/docker/a\n1:name=systemd:/\n",
            f"35 31 0:32 / {memory} rw,relatime - cgroup cgroup rw,memory",
            f"32 31 0:29 / {cpu} rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct",
        )
    )
    assert share == (0.5, 900 << 20, 700 << 20)
    assert share.workers == 1


def test_in_a_container_the_mount_shows_the_own_group_alone(tmp_path: Path) -> None:
    """The path is the host's; what is mounted is the folder of the container."""
    group = tmp_path / "memory"
    files(group, memory__limit_in_bytes=2 * GIB, memory__usage_in_bytes=GIB)
    mounts = f"35 31 0:32 /docker/abc {group} ro - cgroup cgroup rw,memory"
    assert machine_share(proc(tmp_path, "4:memory:/docker/abc\n", mounts)).total_bytes == 2 * GIB
    assert machine_share(proc(tmp_path, "4:memory:/other\n", mounts)).total_bytes == 2 * GIB


def test_a_group_whose_name_begins_like_the_mounted_one_is_not_looked_for_beside_it(tmp_path: Path) -> None:
    group = tmp_path / "abc"
    files(group, memory__max=2 * GIB, memory__current=GIB)
    files(tmp_path / "abcd", memory__max=GIB, memory__current=GIB)
    mounts = f"31 23 0:28 /docker/abc {group} ro - cgroup2 cgroup2 rw"
    assert machine_share(proc(tmp_path, "0::/docker/abcd\n", mounts)).total_bytes == 2 * GIB
