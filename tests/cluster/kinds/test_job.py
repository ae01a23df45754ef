"""Names, places and refusals of jobs."""

import pytest

from cluster.errors import ClusterError
from cluster.kinds.job import resolve_results


@pytest.mark.parametrize(
    ("root", "asked", "placed"),
    [
        ("/shared/results", "demo", "/shared/results/demo"),
        ("/shared/results", "a/./b/", "/shared/results/a/b"),
        ("/shared/results", "/shared/results/x", "/shared/results/x"),
        ("/shared/results", ".", "/shared/results"),
        ("s3://bucket/sweeps", "demo", "s3://bucket/sweeps/demo"),
        ("s3://bucket/sweeps", "s3://bucket/sweeps/demo", "s3://bucket/sweeps/demo"),
    ],
)
def test_results_lie_below_their_root(root, asked, placed):
    assert resolve_results(root, asked) == placed


@pytest.mark.parametrize(
    ("root", "asked"),
    [
        ("/shared/results", "../other"),
        ("/shared/results", "a/../../other"),
        ("/shared/results", "/shared/results-of-others"),
        ("/shared/results", "/etc"),
        ("/shared/results", "s3://bucket/x"),
        ("s3://bucket/sweeps", "../other"),
        ("s3://bucket/sweeps", "s3://bucket/other"),
        ("s3://bucket/sweeps", "gs://bucket/sweeps/x"),
        ("s3://bucket/sweeps", "/shared/x"),
    ],
)
def test_results_cannot_escape_their_root(root, asked):
    with pytest.raises(ClusterError, match="lies outside the profile's results root"):
        resolve_results(root, asked)


def test_a_job_keeps_its_name_and_others_have_others(profile_of, job_of):
    profile = profile_of("slurm")
    names = {job_of(profile).name, job_of(profile, grid_text="other").name}
    assert len(names) == 1
    others = {job_of(profile, results="two").name, job_of(profile, sweep="two").name,
              job_of(profile_of("slurm", name="big")).name}  # fmt: skip
    assert len(names | others) == 4


@pytest.mark.parametrize("sweep", ["Größe & Co.", "x" * 200, "---", "a.b_c"])
def test_names_suit_kubernetes(sweep, profile_of, job_of):
    name = job_of(profile_of("kuberay"), sweep=sweep).name
    assert len(name) <= 40
    assert name == name.lower()
    assert name.replace("-", "").isalnum()
    assert name.isascii()
    assert not name.endswith("-")


def test_a_time_limit_shorter_than_the_longest_trial_is_refused(profile_of, job_of):
    profile = profile_of("slurm", time_limit="1h", max_requeues=0)
    job_of(profile, longest_trial_s=2600)
    with pytest.raises(ClusterError, match=r"3600 s in 1 start\(s\) .* leave 2700 s for trials, .* take 2800 s"):
        job_of(profile, longest_trial_s=2800)
    with pytest.raises(ClusterError, match="time_limit: 3600 s leave 3600 s for trials"):
        job_of(profile_of("kuberay", time_limit="1h"), longest_trial_s=3700)
    job_of(profile_of("kuberay"), longest_trial_s=1e9)


def test_a_trial_may_outlast_the_time_limit_of_a_job_that_is_queued_again(profile_of, job_of):
    profile = profile_of("slurm", time_limit="1h", max_requeues=2)
    job_of(profile, longest_trial_s=8000)
    with pytest.raises(ClusterError, match=r"3 start\(s\) of the job leave 8100 s .* raise time_limit or max_requeues"):
        job_of(profile, longest_trial_s=8200)


def test_times_of_a_cpu_refuse_no_job_for_gpus(profile_of, job_of):
    profile = profile_of("slurm", time_limit="1h", max_requeues=0, gpus_per_node=1)
    job_of(profile, longest_trial_s=1e9)
    with pytest.raises(ClusterError, match="time_limit"):
        job_of(profile, longest_trial_s=1e9, arguments=("--device", "cpu"))


@pytest.mark.parametrize("what", [{"sweep": "a\nb"}, {"results": "a\nb"}, {"arguments": ("a\nb",)}])
def test_a_line_break_cannot_leave_its_line(what, profile_of, job_of):
    with pytest.raises(ClusterError, match="holds a character that cannot stand in a job file"):
        job_of(profile_of("slurm"), **what)


@pytest.mark.parametrize("sweep", ["a/b", "../b", ".b"])
def test_a_sweep_whose_name_is_no_file_name_is_refused(sweep, profile_of, job_of):
    with pytest.raises(ClusterError, match="cannot be a file name"):
        job_of(profile_of("slurm"), sweep=sweep)


def test_a_grid_without_a_name_keeps_that_of_its_file(profile_of, job_of):
    from cluster.jobs.submit import dry_run

    job = job_of(profile_of("slurm"), sweep="my sweep")
    assert "'/shared/results/.jobs/elm-my-sweep-" in dry_run(profile_of("slurm"), job)
    assert job.grid_file == "my sweep.yaml"


def test_lanes_are_asked_for_where_nodes_come_with_them(profile_of, job_of):
    assert job_of(profile_of("kuberay", nodes=4, gpus_per_node=2)).arguments[2:] == ("--lanes", "8")
    assert job_of(profile_of("ray-up", nodes=4), arguments=("-j", "3")).arguments == ("-j", "3")
    assert job_of(profile_of("slurm")).arguments == ()
    assert job_of(profile_of("ray-up", nodes=4, cpus_per_node=8), arguments=("--threads", "4")).arguments[2:] == (
        "--lanes",
        "8",
    )
    with pytest.raises(ClusterError, match="--threads 3: nodes of profile toy have 2 CPUs"):
        job_of(profile_of("slurm", cpus_per_node=2), arguments=("--threads", "3"))
    packed = job_of(profile_of("kuberay", nodes=4, gpus_per_node=2), arguments=("--trials-per-gpu", "3"))
    assert packed.arguments[-2:] == ("--lanes", "24")


def test_nodes_with_gpus_get_trials_on_gpus_unless_told_otherwise(profile_of, job_of):
    with_gpus = profile_of("slurm", gpus_per_node=4)
    assert job_of(with_gpus).arguments == ("--device", "cuda")
    assert job_of(with_gpus, arguments=("--device", "cpu")).arguments == ("--device", "cpu")
    assert job_of(profile_of("slurm")).arguments == ()
    with pytest.raises(ClusterError, match="--device cuda: profile toy has no GPUs; set gpus_per_node in it"):
        job_of(profile_of("slurm"), arguments=("--device", "cuda"))
