"""The part of `sweeper doctor` that looks at what a profile needs, without submitting anything."""

import importlib.util
import os
import platform
import re
import shlex
import shutil
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from cluster.doctor.finding import Finding, clock, error, ok, warning
from cluster.doctor.here import results_findings
from cluster.errors import ClusterError, SubmitError
from cluster.kinds import kuberay, ray_up, slurm, slurm_script
from cluster.kinds.job import installed_version, make_job
from cluster.kinds.run import Runner, remote, run_command
from cluster.profiles.profile import AnyProfile, KubeRayProfile, RayUpProfile, SlurmProfile, SshProfile, kind_of
from cluster.storage import with_options
from cluster.values import seconds

# By metadata, since importing ray and torch on every host would take seconds; torch's build (+cpu, +cu128) may differ.
_VERSIONS = (
    "import platform; from importlib.metadata import version; "
    "print(platform.python_version(), version('ray'), version('torch').split('+')[0], version('elm-sweeper'))"
)


def profile_findings(profile: AnyProfile, run: Runner = run_command) -> Iterator[Finding]:
    """What can be said of a cluster before a job runs on it.

    Args:
        profile: the cluster.
        run: runs its programs.
    """
    yield ok("profile", f"{profile.name}: {kind_of(profile)}, {profile.nodes} nodes, results below {profile.results}")
    checks: dict[type, Callable[[Any, Runner], Iterator[Finding]]] = {
        SlurmProfile: _slurm,
        KubeRayProfile: _kuberay,
        RayUpProfile: _ray_up,
        SshProfile: _ssh,
    }
    try:
        yield from checks[type(profile)](profile, run)
    except SubmitError as problem:
        yield error(kind_of(profile), str(problem), "see whether the cluster's own programs work here")


def _slurm(profile: SlurmProfile, run: Runner) -> Iterator[Finding]:
    if profile.login is None:
        missing = [name for name in ("sbatch", "squeue", "scancel", "sinfo") if shutil.which(name) is None]
        if missing:
            remedy = "run this on a login node of the Slurm cluster, or name one in the profile's `login`"
            yield error("slurm", f"{', '.join(missing)} not found", remedy)
            return
    run = slurm.there(profile.login, run)
    # Slurm takes whichever of several partitions can start the job first, so each must do; "" stands for the default.
    for partition in (profile.partition or "").split(","):
        yield from _partition(profile, partition, run)
    yield _test_only(profile, run)
    where = profile.login or "here"
    if profile.container is None:
        yield from _interpreter(where, [profile.python], run)
    elif profile.login is None and not os.path.exists(profile.container):
        yield error("container", f"{profile.container} does not exist", "give the path of an image on shared disk")
    if profile.login is None:
        for place in dict.fromkeys(filter(None, (with_options(profile.results, profile.storage), profile.work_dir))):
            yield from results_findings(place)


def _test_only(profile: SlurmProfile, run: Runner) -> Finding:
    """Ask Slurm itself, by the very file that would be submitted, whether it would take it."""
    job = make_job(profile, sweep="doctor", grid_text="", results="doctor", ray_version="")
    try:
        # From standard input, so that nothing is left behind on any machine.
        run(["sbatch", "--test-only"], text=slurm_script.render(profile, job)[slurm_script.SCRIPT])
    except SubmitError as problem:
        return error("sbatch", str(problem), "ask for what the cluster has, see `sinfo` and `sacctmgr show assoc`")
    return ok("sbatch", "Slurm would take the job (sbatch --test-only)")


def _partition(profile: SlurmProfile, partition: str, run: Runner) -> Iterator[Finding]:
    wanted = ["--partition", partition] if partition else []
    # One line for each kind of node of a partition; Slurm marks its default partition with *
    lines = run(["sinfo", "--noheader", *wanted, "--format=%P|%l|%D|%c|%m|%G"]).split()
    kinds = [_Kind(*line.split("|")) for line in lines if partition or line.split("|")[0].endswith("*")]
    if not kinds:
        yield error(
            "partition", f"{partition or 'a default partition'} does not exist", "see `sinfo` for what there is"
        )
        return
    memory = profile.memory_per_node or (profile.memory_per_cpu or 0) * profile.cpus_per_node
    fitting = [
        kind
        for kind in kinds
        if kind.most(kind.cpus) >= profile.cpus_per_node
        and kind.most(kind.memory) >= memory
        and kind.gpus(profile.gpu_type) >= profile.gpus_per_node
    ]
    nodes = sum(int(kind.nodes) for kind in fitting)
    shown = "; ".join(kind.shown for kind in kinds)
    if nodes < (1 if profile.array else profile.nodes):
        asked = f"{profile.nodes} nodes of {profile.cpus_per_node} CPUs"
        asked += f", {memory} MiB" if memory else ""
        asked += f", {profile.gpus_per_node} GPUs" if profile.gpus_per_node else ""
        yield error("partition", shown, f"{nodes} nodes are like that; the profile asks for {asked}")
    elif (limit := kinds[0].seconds) is not None and profile.time_limit > limit:
        # Slurm would take the job and leave it waiting for ever, with the reason PartitionTimeLimit.
        asked = slurm_script.slurm_time(profile.time_limit)
        yield error("partition", shown, f"time_limit: {asked} is more than the partition allows, {kinds[0].limit}")
    else:
        yield ok("partition", shown)


class _Kind(NamedTuple):
    """One line of sinfo: nodes of a partition that are alike."""

    partition: str
    limit: str
    nodes: str
    cpus: str
    memory: str
    gres: str

    @staticmethod
    def most(number: str) -> int:
        """sinfo writes a plus behind a number where some nodes of the line have more."""
        return int(number.rstrip("+"))

    def gpus(self, kind: str | None) -> int:
        """GPUs of a node, of one type where it is named: of ``gpu:a100:4(S:0-1),gpu:v100:2`` those of a100."""
        listed = (re.sub(r"\(.*?\)", "", part).split(":") for part in re.sub(r"\([^)]*\)", "", self.gres).split(","))
        return sum(int(parts[-1]) for parts in listed if parts[0] == "gpu" and (kind is None or kind in parts[1:-1]))

    @property
    def seconds(self) -> int | None:
        """The time limit; None where there is none."""
        return None if self.limit in ("infinite", "n/a") else seconds(self.limit, "time limit")

    @property
    def shown(self) -> str:
        """The line for people."""
        gres = "" if self.gres == "(null)" else f", {self.gres}"
        return (
            f"{self.partition}: {self.nodes} nodes of {self.cpus} CPUs, {self.memory} MiB{gres}, "
            f"time limit {self.limit}"
        )


def _kuberay(profile: KubeRayProfile, run: Runner) -> Iterator[Finding]:
    kubectl = ["kubectl", *kuberay.scope(profile)]
    asks = [
        ("kuberay", ["get", "crd", "rayjobs.ray.io", "-o", "name"], "install the KubeRay operator, 1.5.1 or newer"),
        ("rights", ["auth", "can-i", "create", "rayjobs.ray.io"], f"ask for rights in namespace {profile.namespace}"),
        *(
            (f"secret {name}", ["get", "secret", name, "-o", "name"], "create it, or take it out of the profile")
            for name in (*profile.env_secrets, *profile.image_pull_secrets)
        ),
    ]
    if profile.results_claim:
        asks.append(("volume", ["get", "pvc", profile.results_claim, "-o", "name"], "create a ReadWriteMany claim"))
    for check, arguments, remedy in asks:
        try:
            yield ok(check, run([*kubectl, *arguments]).strip())
        except SubmitError as problem:
            yield error(check, str(problem), remedy)


def _ray_up(profile: RayUpProfile, run: Runner) -> Iterator[Finding]:
    needed = {"aws": "boto3", "gcp": "googleapiclient"}[profile.provider]
    # Looked for, not imported: both are slow, and only Ray's launcher uses them.
    for module, install in ((needed, ray_up.CLOUD_PACKAGES[profile.provider]), ("aiohttp_cors", "'ray[default]'")):
        if importlib.util.find_spec(module) is None:
            yield error("packages", f"{module} is not installed", f"pip install {install}")
    try:
        ray_up.check_local_files(profile)
        yield ok("files", f"{profile.wheel} and {ray_up.TOKEN} are there")
    except ClusterError as problem:
        yield error("files", str(problem), "make what is missing")
    # A hint and no error: the name of an image need not tell what is in it.
    if installed_version("ray") not in profile.image:
        remedy = "take an image of the Ray version that is installed here"
        yield warning("image", f"{profile.image} does not name Ray {installed_version('ray')}", remedy)


def _ssh(profile: SshProfile, run: Runner) -> Iterator[Finding]:
    for host in profile.hosts:
        sent = time.time()
        try:
            remote_clock = float(run(remote(host, "date +%s.%N")))
        except (SubmitError, ValueError) as problem:
            yield error("ssh", f"{host}: {problem}", f"make `ssh {host} true` work without a password")
            continue
        # The host read its clock somewhere between the two times, so half of what lies between is the uncertainty.
        answered = time.time()
        yield clock(host, remote_clock - (sent + answered) / 2, (answered - sent) / 2)
        yield from _interpreter(host, remote(host, shlex.join([profile.python, "-c", _VERSIONS])), run, full=True)
        if "://" not in profile.results:
            yield from _folder(host, profile.results, run)


def _folder(host: str, folder: str, run: Runner) -> Iterator[Finding]:
    try:
        run(remote(host, f"test -w {shlex.quote(folder)}"))
        yield ok("results", f"{folder} is writable on {host}")
    except SubmitError:
        yield error("results", f"{folder} is missing or not writable on {host}", "mount the same shared folder there")


def _interpreter(where: str, command: list[str], run: Runner, *, full: bool = False) -> Iterator[Finding]:
    """Compare an interpreter's versions with those here."""
    names = ("python", "ray", "torch", "elm-sweeper")
    here = (platform.python_version(), *(installed_version(name).split("+")[0] for name in names[1:]))
    try:
        # Through ssh the program's text is part of one quoted command already; here it is an argument of its own.
        versions = tuple(run(command if full else [*command, "-c", _VERSIONS]).split())
    except SubmitError as problem:
        yield error("interpreter", f"{where}: {problem}", "install this package into the profile's python")
        return
    # Not strict: an interpreter that lacks a package prints fewer versions, or a line that is none.
    differing = [f"{name} {t} instead of {h}" for name, t, h in zip(names, versions, here, strict=False) if t != h]
    if differing:
        yield error("interpreter", f"{where}: {', '.join(differing)}", "install the same versions as here")
    else:
        yield ok("interpreter", f"{where}: {', '.join(f'{n} {v}' for n, v in zip(names, versions, strict=False))}")
