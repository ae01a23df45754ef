"""Submitting to Kubernetes and to a cloud, and what is kept of jobs; the programs are played and their calls kept."""

import json
import signal
import subprocess
import sys
from types import SimpleNamespace

import pytest
import yaml

from cluster.attach import interrupt
from cluster.errors import ClusterError, SubmitError
from cluster.jobs.backends import BACKENDS
from cluster.jobs.submit import dry_run, status, stop, submit
from cluster.kinds import ray_up
from cluster.kinds.base import JobState
from cluster.kinds.record import JobRecord, find, records, save, state_folder
from cluster.kinds.run import run_command


class Programs:
    """Answers commands by a part of them, in order of the rules; keeps what was called."""

    def __init__(self, **rules) -> None:
        self.rules, self.calls, self.inputs = rules, [], []

    def __call__(self, command, *, text=None, env=None, timeout_s=1.0) -> str:
        line = " ".join(command)
        self.calls.append(line)
        self.inputs.append(text)
        for part, answer in self.rules.items():
            if part.replace("_", " ") in line:
                answer = answer.pop(0) if isinstance(answer, list) else answer
                if isinstance(answer, BaseException):
                    raise answer
                return answer
        return ""


def ray_job(deployment="Running", job="RUNNING") -> str:
    return json.dumps({"status": {"jobDeploymentStatus": deployment, "jobStatus": job}})


@pytest.fixture
def kuberay(profile_of, job_of):
    profile = profile_of("kuberay", namespace="science", context="big")
    return profile, job_of(profile)


def test_kubernetes_gets_the_file_that_the_dry_run_shows(kuberay):
    programs = Programs()
    record = submit(*kuberay, run=programs)
    scope = "kubectl --context big --namespace science"
    assert programs.calls == [f"{scope} get rayjob {record.name} --ignore-not-found -o json", f"{scope} apply -f -"]
    assert programs.inputs[1] == dry_run(*kuberay)
    assert find(record.name) == record


def test_a_rayjob_that_has_ended_makes_room_and_one_that_runs_does_not(kuberay):
    programs = Programs(get_rayjob=ray_job("Failed", "FAILED"))
    submit(*kuberay, run=programs)
    assert ["delete" in call for call in programs.calls] == [False, True, False]
    with pytest.raises(SubmitError, match="is on the cluster already .*Running RUNNING"):
        submit(*kuberay, run=Programs(get_rayjob=ray_job()))


def test_what_kubernetes_refuses_is_taken_back(kuberay):
    programs = Programs(apply=SubmitError("kubectl failed with exit code 1: no matches for kind RayJob"))
    with pytest.raises(SubmitError, match="no matches for kind RayJob"):
        submit(*kuberay, run=programs)
    assert [call.split()[6] for call in programs.calls[2:]] == ["rayjob", "networkpolicy", "configmap"]
    assert records() == []


@pytest.mark.parametrize(
    ("answer", "state"),
    [
        (ray_job(), JobState(state="running", detail="RayJob {name}: Running RUNNING")),
        (ray_job("Initializing", ""), JobState(state="queued", detail="RayJob {name}: Initializing")),
        (ray_job("Complete", "SUCCEEDED"), JobState(state="ended", detail="RayJob {name}: Complete SUCCEEDED")),
        ("{}", JobState(state="queued", detail="RayJob {name}: new")),
        ("", JobState(state="ended", detail="there is no RayJob {name} any more")),
    ],
)
def test_a_rayjob_is_told_in_the_words_of_kuberay(kuberay, answer, state):
    record = submit(*kuberay, run=Programs())
    found = status(record, run=Programs(get_rayjob=answer))
    assert found == JobState(state=state.state, detail=state.detail.format(name=record.name))


def test_kubernetes_jobs_are_drained_in_the_head_pod_or_deleted(kuberay):
    record = submit(*kuberay, run=Programs())
    programs = Programs(get_rayjob=ray_job(), get_pods="pod/elm-head-x\n")
    stop(record, run=programs)
    assert programs.calls[-1].endswith("exec pod/elm-head-x -c ray-head -- python -m cluster.attach.interrupt")
    with pytest.raises(SubmitError, match="has no head pod yet; stop it with --now"):
        stop(record, run=Programs(get_rayjob=ray_job()))
    programs = Programs(get_rayjob=ray_job())
    assert stop(record, now=True, run=programs) == f"{record.name} is stopped"
    assert sum("delete" in call for call in programs.calls) == 3
    assert records() == []


def test_a_grid_that_no_config_map_holds_is_refused(kuberay, job_of):
    job = job_of(kuberay[0], grid_text="x" * 1_000_001)
    with pytest.raises(ClusterError, match="the grid and the files of its tasks are larger than the 1 MB"):
        submit(kuberay[0], job, run=Programs())


@pytest.fixture
def cloud(profile_of, job_of, tmp_path, monkeypatch):
    wheel = tmp_path / "elm_sweeper-0.1.0-py3-none-any.whl"
    wheel.write_text("")
    token = tmp_path / "auth_token"
    token.write_text("0" * 64)
    monkeypatch.setattr(ray_up, "TOKEN", str(token))
    profile = profile_of("ray-up", wheel=str(wheel))
    return profile, job_of(profile)


def test_a_cloud_starts_its_head_then_the_launcher_in_the_background(cloud):
    programs = Programs()
    record = submit(*cloud, run=programs)
    up, launch = programs.calls
    assert "up -y --no-config-cache" in up
    assert "exec" in launch
    assert "sweeper.cli launch" in launch
    assert launch.endswith("--tmux --stop")
    written = yaml.safe_load((state_folder() / record.name / "ray-up.yml").read_text())
    assert all(path.startswith(("/", "~")) for path in written["file_mounts"].values())
    assert "0" * 64 not in (state_folder() / record.name / "ray-up.yml").read_text()
    running = Programs(exec="trial 3 done\n@on\n")
    assert status(record, run=running) == JobState(state="running", detail="trial 3 done")
    with pytest.raises(SubmitError, match="runs already"):
        submit(*cloud, run=running)
    stop(record, run=running)
    assert running.calls[-1].endswith("python -m cluster.attach.interrupt")
    stop(record, now=True, run=(programs := Programs()))
    assert "down -y" in programs.calls[-1]
    assert status(record, run=Programs()).detail == "its machines were stopped"


WAITS = """
import signal
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
print("ready", flush=True)
signal.sigwait([signal.SIGINT])
print("drains")
"""


def test_the_launcher_on_a_machine_is_interrupted(tmp_path):
    (tmp_path / "sweeper").mkdir()
    (tmp_path / "sweeper" / "cli.py").write_text(WAITS)
    command = [sys.executable, "-m", "sweeper.cli", "launch", str(tmp_path)]
    with subprocess.Popen(command, cwd=tmp_path, env={}, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout.readline() == "ready\n"
        assert [p.pid for p in interrupt.launchers() if str(tmp_path) in p.cmdline()] == [running.pid]
        running.send_signal(signal.SIGINT)
        assert running.stdout.read() == "drains\n"


def test_nothing_but_a_launcher_is_interrupted(monkeypatch, capsys):
    told = []
    launcher = SimpleNamespace(send_signal=told.append)
    monkeypatch.setattr(interrupt, "launchers", lambda: [launcher])
    assert (interrupt.main(["--look"]), capsys.readouterr().out, told) == (0, "@on\n", [])
    assert (interrupt.main([]), told) == (0, [signal.SIGINT])
    monkeypatch.setattr(interrupt, "launchers", list)
    assert (interrupt.main([]), interrupt.main(["--look"])) == (1, 0)


def test_machines_that_started_are_stopped_when_the_launcher_does_not(cloud):
    programs = Programs(exec=SubmitError("ray failed"))
    with pytest.raises(SubmitError, match="ray failed"):
        submit(*cloud, run=programs)
    assert "down -y" in programs.calls[-1]
    assert not list(state_folder().glob("*"))


def test_an_interrupted_start_stops_the_machines(cloud):
    programs = Programs(up_=KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        submit(*cloud, run=programs)
    assert "down -y" in programs.calls[-1]


def test_machines_that_cannot_be_stopped_are_named_with_the_first_cause(cloud):
    programs = Programs(exec=SubmitError("no such image"), down=SubmitError("the cloud does not answer"))
    file = state_folder() / cloud[1].name / "ray-up.yml"
    with pytest.raises(SubmitError, match=f"no such image; .*the cloud does not answer.*run `ray down -y {file}`"):
        submit(*cloud, run=programs)
    assert file.exists()


def test_a_cloud_needs_the_wheel_and_the_token(cloud, profile_of, job_of, monkeypatch):
    monkeypatch.setattr(ray_up, "TOKEN", "/nowhere/auth_token")
    with pytest.raises(ClusterError, match="/nowhere/auth_token does not exist; make it with `ray get-auth-token"):
        submit(*cloud, run=Programs())
    profile = profile_of("ray-up", wheel="nowhere.whl")
    with pytest.raises(ClusterError, match="wheel: nowhere.whl does not exist"):
        submit(profile, job_of(profile), run=Programs())


def record_of(name, sweep="demo", day=1) -> JobRecord:
    return JobRecord(kind="slurm", name=name, sweep=sweep, results="/r", folder="/f",
                     submitted_at=f"2026-01-0{day}T00:00:00+00:00", handle={"id": "7"})  # fmt: skip


def test_jobs_are_found_by_name_or_sweep():
    with pytest.raises(SubmitError, match="no job was submitted from this machine; jobs: none"):
        find(None)
    save(record_of("elm-a-1"))
    assert find(None).name == "elm-a-1"
    assert find("demo").handle == {"id": "7"}
    save(record_of("elm-b-2", day=2))
    assert [record.name for record in records()] == ["elm-b-2", "elm-a-1"]
    with pytest.raises(SubmitError, match="2 jobs were submitted; name one of: elm-b-2, elm-a-1"):
        find(None)
    with pytest.raises(SubmitError, match="2 jobs of 'demo' were submitted"):
        find("demo")
    with pytest.raises(SubmitError, match="no job elm-c was submitted from this machine; jobs: elm-b-2, elm-a-1"):
        find("elm-c")
    assert find("elm-a-1").name == "elm-a-1"


def test_a_damaged_record_is_named():
    state_folder().mkdir(parents=True)
    (state_folder() / "x.json").write_text("{}")
    with pytest.raises(SubmitError, match="x.json: is no job record"):
        records()


def test_programs_that_fail_say_why():
    assert run_command(["cat"], text="in") == "in"
    with pytest.raises(SubmitError, match="sh failed with exit code 3: why not"):
        run_command(["sh", "-c", "echo out; echo 'why not' >&2; exit 3"])
    noise = "E1122 04:51:31.772352 17006 memcache.go:265] Unhandled Error"
    with pytest.raises(SubmitError, match="sh failed with exit code 1: The connection was refused$"):
        run_command(["sh", "-c", f"echo '{noise}' >&2; echo 'The connection was refused' >&2; exit 1"])
    with pytest.raises(SubmitError, match="no-such-program: not found; is it installed"):
        run_command(["no-such-program"])
    with pytest.raises(SubmitError, match="sleep 9 ...: no end after 0 s"):
        run_command(["sleep", "9"], timeout_s=0.05)


def test_there_is_a_backend_for_every_kind():
    from cluster.profiles.profile import KINDS

    assert set(BACKENDS) == set(KINDS)
