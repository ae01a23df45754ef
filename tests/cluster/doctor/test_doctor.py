"""The doctor on this machine and on profiles; a running cluster is in test_connect.py."""

import json
import sys
from types import SimpleNamespace

import pytest
from click.testing import CliRunner

from cluster.doctor import here as doctor_here
from cluster.doctor import profile as doctor_profile
from cluster.doctor.finding import as_text, clock, disk, error, ok
from cluster.doctor.profile import profile_findings
from cluster.errors import SubmitError
from sweeper.cli import doctor


def levels(findings) -> dict[str, str]:
    return {finding.check: finding.level for finding in findings}


def test_this_machine_is_looked_at(tmp_path):
    result = CliRunner().invoke(doctor, ["--results", str(tmp_path / "results")])
    assert result.exit_code == 0, result.output
    assert f"python {sys.version.split()[0]}, ray " in result.output
    assert "results" in result.output
    assert not (tmp_path / "results").exists()


def test_machines_get_json(tmp_path):
    findings = json.loads(CliRunner().invoke(doctor, ["--json"]).output)
    assert {"level", "check", "found", "remedy"} == set(findings[0])


@pytest.mark.parametrize(
    ("cluster", "message"),
    [
        ("127.0.0.1:1", "nothing answers there"),
        ("nonsense", "is no address; give host:port"),
        ("nowhere.yaml", "nowhere.yaml: no such profile"),
    ],
)
def test_a_cluster_that_is_not_there_is_an_error(cluster, message):
    result = CliRunner().invoke(doctor, ["--cluster", cluster])
    assert result.exit_code == 1
    assert message in result.output
    assert "Traceback" not in result.output


def test_cluster_alone_means_auto(monkeypatch, tmp_path):
    monkeypatch.setattr("cluster.profiles.target._RECORD", tmp_path / "none")
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    result = CliRunner().invoke(doctor, ["--cluster"])
    assert "RAY_ADDRESS is not set" in result.output
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    assert "`--cluster` alone attaches there" in CliRunner().invoke(doctor, ["--cluster"]).output


def test_strangers_rays_are_named(monkeypatch):
    process = SimpleNamespace(info={"name": "gcs_server", "username": "somebody", "pid": 7})
    monkeypatch.setattr("psutil.process_iter", lambda attributes: [process])
    (finding,) = doctor_here._other_rays()
    assert finding.observation == "a Ray head of somebody runs here as process 7"
    assert "not joined unless --cluster names it" in finding.remedy


def test_results_that_cannot_be_written_are_an_error(monkeypatch, tmp_path):
    monkeypatch.setattr("os.access", lambda path, mode: False)
    (finding,) = doctor_here.results_findings(str(tmp_path / "a" / "b"))
    assert (finding.level, finding.observation.split()[0]) == ("error", str(tmp_path))


def test_disks_and_clocks_are_judged():
    assert [disk("/tmp", int(gb * 1e9)).level for gb in (0.5, 3, 50)] == ["error", "warning", "ok"]
    assert [clock("a", skew, 0.5).level for skew in (0.2, -5.4, 6, -60)] == ["ok", "ok", "warning", "warning"]
    assert "a is 60.0 s behind (+- 0.5 s)" in clock("a", -60, 0.5).observation


def test_each_remedy_stands_below_its_finding():
    assert as_text([ok("disk", "fine"), error("token", "none", "make one")]).splitlines() == [
        "ok       disk           fine",
        "error    token          none",
        "                        -> make one",
    ]


def runner(**answers):
    def run(command, *, text=None, env=None, timeout_s=1.0) -> str:
        line = " ".join(command)
        for part, answer in answers.items():
            if part in line:
                if isinstance(answer, Exception):
                    raise answer
                return answer
        raise AssertionError(f"unexpected: {line}")

    return run


def versions_here() -> str:
    from cluster.kinds.job import installed_version

    versions = (installed_version(name).split("+")[0] for name in ("ray", "torch", "elm-sweeper"))
    return " ".join((sys.version.split()[0], *versions))


def test_slurm_profiles_are_held_against_the_partition(profile_of, monkeypatch, tmp_path):
    monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}")
    profile = profile_of("slurm", results=str(tmp_path))
    good = runner(sinfo="main*|1-00:00:00|4|64|256000|gpu:a100:8\n", python=versions_here(), sbatch="")
    assert set(levels(profile_findings(profile, good)).values()) == {"ok"}
    small = runner(sinfo="main*|1:00:00|1|1|1000|(null)\n", python="3.9.0 2.9.0 2.0.0 0.1.0", sbatch="")
    findings = list(profile_findings(profile, small))
    assert levels(findings)["partition"] == levels(findings)["interpreter"] == "error"
    assert "the profile asks for 2 nodes of 2 CPUs" in as_text(findings)
    assert "ray 2.9.0 instead of" in as_text(findings)
    none = runner(sinfo="", python=versions_here(), sbatch="")
    assert "gone does not exist" in as_text(
        profile_findings(profile_of("slurm", partition="gone", results=str(tmp_path)), none)
    )


LINES = "main*|30:00|4|64|256000|gpu:a100:8(S:0-1),gpu:v100:2\nmain*|30:00|2|128|8000+|(null)\n"


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"gpus_per_node": 8, "gpu_type": "a100"}, "ok       partition"),
        (
            {"gpus_per_node": 4, "gpu_type": "v100"},
            "0 nodes are like that; the profile asks for 2 nodes of 2 CPUs, 4096",
        ),
        (
            {"nodes": 5, "memory_per_node": "16G"},
            "4 nodes are like that; the profile asks for 5 nodes of 2 CPUs, 16384",
        ),
        ({"memory_per_node": None, "memory_per_cpu": "200G"}, "0 nodes are like that; the profile asks for 2 nodes of"),
        ({"time_limit": "40m"}, "time_limit: 00:40:00 is more than the partition allows, 30:00"),
    ],
)
def test_memory_gpus_and_time_are_held_against_the_partition(settings, said, profile_of, monkeypatch, tmp_path):
    monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}")
    run = runner(sinfo=LINES, python=versions_here(), sbatch="")
    assert said in as_text(profile_findings(profile_of("slurm", results=str(tmp_path), **settings), run))


def test_slurm_itself_is_asked_by_the_very_file(profile_of, monkeypatch, tmp_path):
    monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}")
    refusal = "sbatch failed with exit code 1: allocation failure: Invalid qos specification"
    run = runner(sinfo=LINES, python=versions_here(), sbatch=SubmitError(refusal))
    profile = profile_of("slurm", results=str(tmp_path), qos="none")
    assert f"error    sbatch         {refusal}" in as_text(profile_findings(profile, run))


def test_a_slurm_that_does_not_answer_is_an_error(profile_of, monkeypatch):
    monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}")
    down = runner(sinfo=SubmitError("sinfo failed with exit code 1: slurmctld is down"))
    assert "error    slurm          sinfo failed with exit code 1" in as_text(
        profile_findings(profile_of("slurm"), down)
    )


def test_without_slurm_the_doctor_says_where_to_run(profile_of, monkeypatch):
    monkeypatch.setattr("shutil.which", lambda name: None)
    text = as_text(profile_findings(profile_of("slurm"), runner()))
    assert "sbatch, squeue, scancel, sinfo not found" in text
    assert "login node" in text


def test_kubernetes_is_asked_for_the_operator_rights_and_secrets(profile_of):
    profile = profile_of("kuberay", env_secrets=["s3"], results="/r", results_claim="shared")
    missing = SubmitError("kubectl failed: not found")
    run = runner(crd="crd/rayjobs.ray.io", auth="yes", secret=missing, pvc="pvc/shared")
    found = levels(profile_findings(profile, run))
    assert found == {"profile": "ok", "kuberay": "ok", "rights": "ok", "secret s3": "error", "volume": "ok"}


def test_clouds_need_packages_and_files(profile_of, monkeypatch):
    monkeypatch.setattr(doctor_profile.importlib.util, "find_spec", lambda name: None)
    text = as_text(profile_findings(profile_of("ray-up"), runner()))
    assert "pip install boto3" in text
    assert "pip install 'ray[default]'" in text
    assert "does not exist; make it with `python -m build --wheel`" in text


def test_ssh_hosts_are_tried_one_by_one(profile_of):
    import time

    run = runner(
        **{
            "127.0.0.3": SubmitError("ssh failed: Connection refused"),
            "date": str(time.time() - 100),
            "elm-sweeper": "3.9.0 1 1 1",
            "test -w": "",
        }
    )
    text = as_text(profile_findings(profile_of("ssh"), run))
    assert "127.0.0.2 is 100." in text
    assert "127.0.0.2: python 3.9.0 instead of" in text
    assert "/shared/results is writable on 127.0.0.2" in text
    assert "make `ssh 127.0.0.3 true` work without a password" in text
