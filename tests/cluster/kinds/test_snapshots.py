"""Whole rendered files, compared with the ones that were read by a person. To accept changes: UPDATE_SNAPSHOTS=1."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import jsonschema
import pytest
import ray
import yaml

from cluster.jobs.backends import BACKENDS
from cluster.jobs.submit import dry_run
from cluster.profiles.profile import kind_of

SNAPSHOTS = Path(__file__).parent / "snapshots"
FULL = {
    "slurm-small": ("slurm", {"nodes": 1}),
    "slurm-full": (
        "slurm",
        {
            "nodes": 4, "min_nodes": 2, "group_readable": True,
            "cpus_per_node": 64, "gpus_per_node": 8, "gpu_type": "a100",
            "memory_per_node": "480G", "time_limit": "1-00:00:00", "partition": "gpu,gpu-long", "account": "my lab",
            "qos": "normal", "directives": {"exclusive": True, "constraint": "ib&a100"}, "modules": ["cuda/12.8"],
            "container": "/shared/elm.sif", "container_binds": ["/data"], "interface": "ib0", "temp_dir": "/local",
            "env": {"NCCL_DEBUG": "INFO"}, "results": "s3://bucket/sweeps", "work_dir": "/shared/jobs",
            "stop_notice": 600, "start_timeout": "15m",
        },
    ),
    "kuberay-small": ("kuberay", {"nodes": 2, "min_nodes": 2}),
    "kuberay-full": (
        "kuberay",
        {
            "nodes": 16, "gpus_per_node": 1, "time_limit": "2d", "namespace": "science", "context": "big cluster",
            "service_account": "runner", "image_pull_secrets": ["registry"], "env_secrets": ["s3-credentials"],
            "env": {"NCCL_DEBUG": "INFO"}, "results": "/results", "results_claim": "shared",
            "node_selector": {"cloud.google.com/gke-spot": "true"}, "head_node_selector": {"pool": "standard"},
            "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}],
        },
    ),
    "ray-up-aws": ("ray-up", {"gpus_per_node": 1, "worker_type": "g5.xlarge", "min_nodes": 1,
                           "worker_instance_profile": "sweeps-s3"}),
    "ray-up-gcp": (
        "ray-up",
        {
            "provider": "gcp", "region": "us-west1", "zone": "us-west1-b", "project": "my-project", "gpus_per_node": 1,
            "gpu_type": "nvidia-tesla-t4", "worker_type": "n1-standard-4", "head_type": "n1-standard-2",
            "machine_image": "projects/deeplearning-platform-release/global/images/family/common-cu128",
            "env": {"NCCL_DEBUG": "INFO"}, "results": "gs://bucket/sweeps",
        },
    ),
    "ssh": (
        "ssh",
        {"hosts": ["me@gpu1", "gpu2", "gpu3"], "gpus_per_node": 2, "cpus_per_node": 16, "interface": "eth1"},
    ),
}  # fmt: skip


@pytest.fixture
def rendered(profile_of, job_of, monkeypatch):
    def render(name: str) -> str:
        monkeypatch.setenv("XDG_STATE_HOME", "/home/me/.local/state")
        monkeypatch.chdir("/tmp")
        kind, settings = FULL[name]
        profile = profile_of(kind, **settings)
        return dry_run(profile, job_of(profile))

    return render


@pytest.mark.parametrize("name", FULL)
def test_the_file_is_as_it_was_read(name, rendered):
    path = SNAPSHOTS / f"{name}.{'sh' if FULL[name][0] in ('slurm', 'ssh') else 'yaml'}"
    text = rendered(name)
    if os.environ.get("UPDATE_SNAPSHOTS") == "1":
        path.write_text(text)
    assert text == path.read_text(), f"UPDATE_SNAPSHOTS=1 accepts the new {path.name}"


@pytest.mark.parametrize("name", [name for name, (kind, _) in FULL.items() if kind in ("slurm", "ssh")])
def test_scripts_are_valid_bash(name, rendered, tmp_path):
    script = tmp_path / "script"
    script.write_text(rendered(name))
    assert subprocess.run(["bash", "-n", script], capture_output=True, text=True, check=False).stderr == ""


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="shellcheck is not installed")
@pytest.mark.parametrize("name", [name for name, (kind, _) in FULL.items() if kind in ("slurm", "ssh")])
def test_shellcheck_finds_nothing_in_the_scripts(name, rendered, tmp_path):
    script = tmp_path / "script"
    script.write_text(rendered(name))
    checked = subprocess.run(["shellcheck", "--severity=warning", script], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout


@pytest.mark.parametrize("name", [name for name, (kind, _) in FULL.items() if kind == "kuberay"])
def test_manifests_fit_the_schema_of_kuberay(name, rendered):
    schemas = json.loads((Path(__file__).parent / "kuberay_schema.json").read_text())
    documents = list(yaml.safe_load_all(rendered(name)))
    assert [document["kind"] for document in documents] == ["ConfigMap", "NetworkPolicy", "RayJob"]
    for document in documents:
        jsonschema.validate(document, {**schemas, "$ref": f"#/$defs/{document['kind']}"})


def test_the_schema_of_kuberay_refuses_what_is_not_in_it(rendered):
    schemas = json.loads((Path(__file__).parent / "kuberay_schema.json").read_text())
    job = list(yaml.safe_load_all(rendered("kuberay-full")))[2]
    job["spec"]["rayClusterSpec"]["workerGroupSpecs"][0]["template"]["spec"]["containers"][0]["resource"] = {}
    with pytest.raises(jsonschema.ValidationError, match="resource"):
        jsonschema.validate(job, {**schemas, "$ref": "#/$defs/RayJob"})


@pytest.mark.parametrize("name", [name for name, (kind, _) in FULL.items() if kind == "ray-up"])
def test_cluster_files_fit_the_schema_of_ray(name, rendered):
    schema = json.loads((Path(ray.__file__).parent / "autoscaler" / "ray-schema.json").read_text())
    jsonschema.validate(yaml.safe_load(rendered(name)), schema)


def test_only_the_first_lines_of_a_script_differ_between_jobs(profile_of, job_of):
    profiles = [profile_of("slurm", nodes=1), profile_of("slurm", nodes=7, account="other", gpus_per_node=4)]
    bodies = {dry_run(profile, job_of(profile)).partition("# ---- how")[2] for profile in profiles}
    assert len(bodies) == 1


def test_every_kind_has_a_backend(profile_of):
    assert {kind_of(profile_of(kind)) for kind in BACKENDS} == set(BACKENDS)


@pytest.mark.parametrize("kind", BACKENDS)
def test_the_files_of_a_grids_tasks_go_where_the_grid_goes(kind, profile_of, job_of):
    profile = profile_of(kind)
    source = "class Mine: ...\n"
    job = job_of(profile, sources={"mine.py": source})
    files = BACKENDS[kind].files(profile, job)
    if kind != "kuberay":
        assert files["mine.py"] == source
        mounts = yaml.safe_load(files["ray-up.yml"])["file_mounts"] if kind == "ray-up" else {}
        assert f"{job.folder}/mine.py" in mounts or kind != "ray-up"
        return
    held, *_, ray_job = yaml.safe_load_all(next(iter(files.values())))
    assert held["data"]["mine.py"] == source
    head = ray_job["spec"]["rayClusterSpec"]["headGroupSpec"]["template"]["spec"]
    (volume,) = [volume for volume in head["volumes"] if volume["name"] == "grid"]
    assert {"key": "mine.py", "path": "mine.py"} in volume["configMap"]["items"]
