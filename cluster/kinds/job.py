"""One sweep to be run on a cluster: its name, its grid, where its results go."""

import hashlib
import posixpath
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from cluster.errors import ClusterError
from cluster.profiles.profile import AnyProfile, KubeRayProfile, RayUpProfile, SlurmProfile, SshProfile, kind_of
from cluster.storage import split_options, with_options

_LONGEST_NAME = 40
"""Kubernetes allows 63 characters for what KubeRay makes of the name, and adds up to 20."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """What is to run, apart from the machines."""

    name: str
    """Name of the job: lower-case letters, digits and dashes; the same for the same sweep, profile and results."""
    sweep: str
    """Name of the sweep."""
    grid_text: str
    """The grid file as it was read."""
    results: str
    """Results directory or URI, as the cluster sees it."""
    folder: str
    """Folder of the job's files on the cluster."""
    arguments: tuple[str, ...] = ()
    """Further arguments of `sweeper launch`, such as ("--device", "cuda")."""
    ray_version: str = ""
    """Version of Ray here, which the cluster's must equal."""
    sources: Mapping[str, str] = field(default_factory=dict)
    """Files that the grid's tasks are defined in, by name; they lie beside the grid."""

    @property
    def texts(self) -> dict[str, str]:
        """What lies in the job's folder for the launch to read: the grid and the files of its tasks."""
        return {self.grid_file: self.grid_text, **self.sources}

    @property
    def grid_file(self) -> str:
        """Name of the grid's file in the job's folder; its stem names a sweep whose grid does not."""
        return f"{self.sweep}.yaml"


def make_job(
    profile: AnyProfile,
    *,
    sweep: str,
    grid_text: str,
    results: str,
    arguments: tuple[str, ...] = (),
    longest_trial_s: float | None = None,
    ray_version: str | None = None,
    sources: Mapping[str, str] | None = None,
) -> Job:
    """Describe a job, refusing what cannot work before anything is written.

    Args:
        profile: where it is to run.
        sweep: name of the sweep.
        grid_text: the grid file.
        results: as given to `--results`; taken below the profile's results root.
        arguments: further arguments of `sweeper launch`.
        longest_trial_s: expected duration of the longest trial on a CPU, seconds, where it is known.
        ray_version: version of Ray here; looked up when None.
        sources: files that the grid's tasks and architectures are defined in, by name.

    Raises:
        ClusterError: the results directory leaves its root, a trial would not fit into the time limit, or GPUs are
            asked for that the profile does not have.
    """
    # A line break could end a comment or a quoted word of a job file.
    for label, value in (("the sweep's name", sweep), ("--results", results), *(("an argument", a) for a in arguments)):
        if not value.isprintable():
            raise ClusterError(f"{label}: {value!r} holds a character that cannot stand in a job file")
    if "/" in sweep or sweep.startswith("."):
        raise ClusterError(f"the sweep's name: {sweep!r} cannot be a file name")
    arguments = (*arguments, *_device(profile, arguments))
    if not any(argument.startswith("cuda") for argument in arguments):
        check_time_limit(profile, longest_trial_s)
    # Before the name, which is made of the whole path: the same results always belong to the same job.
    where = with_options(resolve_results(profile.results, results), profile.storage)
    name = job_name(profile, sweep, where)
    return Job(
        name=name,
        sweep=sweep,
        grid_text=grid_text,
        results=where,
        folder=_folder(profile, name),
        arguments=(*arguments, *_lanes(profile, arguments)),
        ray_version=ray_version if ray_version is not None else installed_version("ray"),
        sources=sources or {},
    )


def resolve_results(root: str, results: str) -> str:
    """Place a results directory below the profile's root.

    Args:
        root: absolute path or URI.
        results: relative to the root, or already below it.

    Raises:
        ClusterError: it would lie elsewhere.
    """
    # Options of the storage stand behind the path, also when a path is added to it.
    root, options = split_options(root)
    results, more = split_options(results)
    full = _below(root, results)
    options = more or options
    return f"{full}?{options}" if options else full


def _below(root: str, results: str) -> str:
    scheme, _, rest = root.rpartition("://") if "://" in root else ("", "", root)
    path = results
    if "://" in results:
        results_scheme, _, path = results.rpartition("://")
        if results_scheme != scheme:
            raise _outside(root, results)
    # A local path where the root is a bucket: nodes would each write to a disk of their own.
    elif scheme and results.startswith("/"):
        raise _outside(root, results)
    # Normalised before it is compared, or `..` would lead out of the root.
    relative = not results.startswith("/") and "://" not in results
    full = posixpath.normpath(posixpath.join(rest, path) if relative else path)
    top = posixpath.normpath(rest)
    if full != top and not full.startswith(top.rstrip("/") + "/"):
        raise _outside(root, results)
    return f"{scheme}://{full}" if scheme else full


def _outside(root: str, results: str) -> ClusterError:
    return ClusterError(f"--results {results}: lies outside the profile's results root {root}; give a path below it")


def job_name(profile: AnyProfile, sweep: str, results: str) -> str:
    """Name that the same sweep, profile and results always get, so that a second submission is noticed."""
    identity = "\0".join((kind_of(profile), profile.name, sweep, results))
    # Six hexadecimal digits, 24 bits, tell the jobs of one person apart.
    tag = hashlib.sha256(identity.encode()).hexdigest()[:6]
    readable = re.sub(r"[^a-z0-9]+", "-", sweep.lower()).strip("-") or "sweep"
    # 11 characters are the prefix, two dashes and the tag; cut names may end in a dash, which the tag's would double.
    return f"elm-{readable[: _LONGEST_NAME - 11].rstrip('-')}-{tag}"


def check_time_limit(profile: AnyProfile, longest_trial_s: float | None) -> None:
    """Refuse a time limit in which the longest trial could never end.

    Raises:
        ClusterError: naming both times.
    """
    limit = getattr(profile, "time_limit", None)
    if limit is None or longest_trial_s is None:
        return
    if isinstance(profile, SlurmProfile):
        # The first seconds of a start go into nodes that join, the last into trials that are saved. The next start
        # goes on where they were saved.
        starts = 1 + profile.max_requeues
        usable = starts * max(0, limit - profile.stop_notice - profile.start_timeout)
        given, remedy = f"{limit} s in {starts} start(s) of the job", "time_limit or max_requeues"
    else:
        usable, given, remedy = limit, f"{limit} s", "time_limit"
    if longest_trial_s > usable:
        raise ClusterError(
            f"time_limit: {given} leave {usable} s for trials, and the longest is expected to take "
            f"{longest_trial_s:.0f} s; raise {remedy}, or make the trial shorter"
        )


def launch_command(job: Job) -> list[str]:
    """Arguments after the interpreter that run the sweep inside the cluster; `--cluster ADDRESS` is to follow."""
    grid = posixpath.join(job.folder, job.grid_file)
    return ["-m", "sweeper.cli", "launch", grid, "--results", job.results, *job.arguments]


def installed_version(distribution: str) -> str:
    """Version of an installed distribution, without importing it; `missing` where it is not installed."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(distribution)
    except PackageNotFoundError:
        return "missing"


def _device(profile: AnyProfile, arguments: tuple[str, ...]) -> tuple[str, ...]:
    """Nodes with GPUs are for trials on GPUs, unless another device was asked for."""
    if "--device" not in arguments:
        return ("--device", "cuda") if profile.gpus_per_node else ()
    device = arguments[arguments.index("--device") + 1]
    if device.startswith("cuda") and not profile.gpus_per_node:
        raise ClusterError(f"--device {device}: profile {profile.name} has no GPUs; set gpus_per_node in it")
    return ()


def _lanes(profile: AnyProfile, arguments: tuple[str, ...]) -> tuple[str, ...]:
    """Number of lanes where the nodes come only once lanes wait for them; elsewhere it follows from what is there."""
    threads = int(arguments[arguments.index("--threads") + 1]) if "--threads" in arguments else 1
    if threads > profile.cpus_per_node:
        raise ClusterError(f"--threads {threads}: nodes of profile {profile.name} have {profile.cpus_per_node} CPUs")
    # An autoscaler starts machines for lanes that wait, so it must be told how many there are to be.
    if not isinstance(profile, KubeRayProfile | RayUpProfile) or {"--lanes", "-j"} & set(arguments):
        return ()
    # `auto` cannot be known before a GPU is there; the launcher packs more lanes onto one when it is.
    packed = arguments[arguments.index("--trials-per-gpu") + 1] if "--trials-per-gpu" in arguments else "1"
    gpus = profile.gpus_per_node * (int(packed) if packed.isdigit() else 1)
    return "--lanes", str(profile.nodes * (gpus or profile.cpus_per_node // threads))


def _folder(profile: AnyProfile, name: str) -> str:
    if isinstance(profile, SlurmProfile):
        return posixpath.join(profile.work_dir or posixpath.join(profile.results, ".jobs"), name)
    if isinstance(profile, SshProfile):
        return posixpath.join(profile.work_dir, name)
    return "/etc/elm-sweeper" if isinstance(profile, KubeRayProfile) else f"/home/ray/{name}"
