"""How clusters differ in what sbatch takes, and submitting from elsewhere."""

import subprocess

import pytest

from cluster.errors import ProfileError
from cluster.jobs.submit import dry_run, status, stop, submit


def directives(profile_of, job_of, **settings) -> list[str]:
    profile = profile_of("slurm", **settings)
    return [line for line in dry_run(profile, job_of(profile)).splitlines() if line.startswith("#SBATCH")]


@pytest.mark.parametrize(
    ("settings", "there", "absent"),
    [
        ({"memory_per_node": None}, (), "--mem"),
        ({"memory_per_node": None, "memory_per_cpu": "2G"}, ("#SBATCH --mem-per-cpu=2048M",), "--mem="),
        ({"gpus_per_node": 4, "gpu_type": "a100"}, ("#SBATCH --gres=gpu:a100:4",), "--gpus-per-node"),
        (
            {"gpus_per_node": 4, "gpu_type": "a100", "gpu_option": "gpus-per-node"},
            ("#SBATCH --gpus-per-node=a100:4",),
            "--gres",
        ),
    ],
)
def test_memory_and_gpus_are_asked_for_as_the_cluster_wants_it(settings, there, absent, profile_of, job_of):
    lines = directives(profile_of, job_of, **settings)
    assert set(there) <= set(lines)
    assert not [line for line in lines if absent in line]


def test_memory_is_asked_for_once(profile_of):
    with pytest.raises(ProfileError, match="memory_per_cpu: memory_per_node is given as well"):
        profile_of("slurm", memory_per_cpu="2G")


@pytest.mark.parametrize("kind", ["slurm", "ssh"])
def test_lines_of_setup_run_as_they_are_written_before_anything_else(kind, profile_of, job_of, tmp_path):
    profile = profile_of(kind, setup=['export LOADED="$UNKNOWN and $((1 + 1))"', "cd /"], env={"LATER": "3"})
    script = dry_run(profile, job_of(profile))
    head = script.partition('cd "$folder"')[0]
    shown = subprocess.run(["bash", "-c", f'{head}\necho "$LOADED $LATER"'], capture_output=True, text=True, check=True)
    assert shown.stdout == " and 2 3\n"
    assert "# ---- `setup` of the profile, run as it is written" in script


def test_a_job_is_submitted_looked_at_and_stopped_from_elsewhere(
    slurm, machines, stand_in, tmp_path, profile_of, job_of, monkeypatch
):
    monkeypatch.setenv("FAKE_SSH_SHARED", "1")
    results = str(tmp_path / "results")
    profile = profile_of("slurm", python=str(stand_in), results=results, login="me@cluster")
    record = submit(profile, job_of(profile, grid_text="[600]"))
    assert record.handle["login"] == "me@cluster"
    slurm.wait(record.handle["id"], lambda job: job["state"] == "RUNNING")
    monkeypatch.setenv("FAKE_SSH_DOWN", "me@cluster")
    with pytest.raises(Exception, match="Connection refused"):
        status(record)
    monkeypatch.delenv("FAKE_SSH_DOWN")
    assert "running" in status(record).detail
    stop(record, now=True)
    assert slurm.wait_ended(record.handle["id"])["state"] == "COMPLETED"
    assert "stopped by sweeper stop" in status(record).detail


def test_an_array_is_many_jobs_of_one_node_that_share_the_trials(profile_of, job_of):
    profile = profile_of("slurm", nodes=8, array=True)
    script = dry_run(profile, job_of(profile))
    assert {"#SBATCH --array=0-7", "#SBATCH --nodes=1"} <= set(script.splitlines())
    assert "#SBATCH --dependency" not in script, "they have one name, and would wait for each other"
    assert "#SBATCH --no-kill" not in script
    assert "array_tasks=8" in script


def test_an_array_is_told_by_its_counts_and_ended_as_a_whole(profile_of, job_of):
    calls = []

    def run(command, *, text=None, env=None, timeout_s=1.0) -> str:
        calls.append(" ".join(command))
        match command:
            case ["sbatch", *_]:
                return "7\n"
            case ["squeue", *_, "--format=%T"]:
                return "PENDING\nRUNNING\nRUNNING\nRUNNING\n"
            case ["squeue", *_, "--states=RUNNING", "--format=%i"]:
                return "7_0\n7_1\n7_2\n"
            case ["sh", "-c", look] if "grep" in look:
                return "last-word-0\nlast-word-2\nlast-word-5\n"  # 7_1 has hardly begun, 7_5 has ended
        return ""

    profile = profile_of("slurm", nodes=8, array=True)
    record = submit(profile, job_of(profile), run=run)
    assert status(record, run=run).detail == "Slurm array 7: 1 pending, 3 running"
    stop(record, run=run)
    assert "scancel --state=PENDING 7" in calls
    assert calls[-1] == "scancel --batch --signal=USR2 7_0 7_2"
    (left,) = [call for call in calls if "> stop.new" in call]
    assert calls.index(left) < len(calls) - 1, "the file comes first, for those that begin just now"
