"""Cluster profiles: a YAML file that says where and on what a sweep is to run. Data only, never shell.

``sweeper launch grid.yaml --cluster profile.yaml`` reads one. Every value is checked when the file is read and quoted
when a job file is written, so that no value can become a command.
"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cluster import values as s
from cluster.errors import ProfileError, SettingError, path_hint
from cluster.values import setting
from cluster.yaml_reader import read_text_file, read_yaml

_SECRET = re.compile(r"TOKEN|SECRET|PASSW|CREDENTIAL|ACCESS_KEY|API_KEY", re.IGNORECASE)
_HOST = r"([A-Za-z0-9_][A-Za-z0-9_.-]*@)?[A-Za-z0-9][A-Za-z0-9_.-]*"
"""Neither half begins with a dash, which ssh would read as an option."""
_SOCKET_LIMIT, _SOCKET_TAIL = 107, 82
"""Longest path of a Unix socket (Linux takes 108 bytes, one of them for the closing zero), and what Ray and the job's
own folder name add to the temporary directory."""

_ROLE = r"[\w+=,.@:/-]+"
"""What AWS allows in the name of an instance profile, and in an ARN."""
_TIME_TO_WORK = 120
"""Seconds of a Slurm job before the notice of its end: `man sbatch` says that the signal may come up to 60 s early."""


def _at_least(least: int, key: str) -> s.Reader:
    """A whole number that is not below `least`, within a limit of `cluster.limits`."""
    return lambda value, place: s.whole(least)(s.whole_within(key)(value, place), place)


def _span(least: int) -> s.Reader:
    """A time span that is not below `least`, which may be zero."""
    return lambda value, place: s.whole(least)(s.seconds(value, place) if value else value, place)


@dataclass(frozen=True, kw_only=True)
class Profile:
    """What all kinds of clusters have in common."""

    name: str = setting(s.name)
    """Name of the profile, part of the names of its jobs; the file's stem unless given."""
    results: str = setting(s.path_or_uri)
    """Root of all results, seen by every node: an absolute path or a URI. `--results DIR` is taken below it."""
    cpus_per_node: int = setting(_at_least(1, "per_node"))
    """CPU cores of each node that Ray may use."""
    gpus_per_node: int = setting(s.whole_within("per_node"), 0)
    """GPUs of each node."""
    # A lambda, since the reader stands further down in this file.
    env: Mapping[str, str] = setting(lambda value, place: _environment(value, place), {})
    """Environment variables of the job. Secrets are refused: they would lie in the job file."""
    storage: Mapping[str, Any] = setting(lambda value, place: _storage(value, place), {})
    """Options of S3 storage that is not Amazon's: `endpoint` (http://minio:9000), `region`, `anonymous` (true),
    `addressing` (path, unless `virtual` is asked for). Added to `results`."""
    price_per_hour: float = setting(lambda value, place: _price(value, place), 0.0)
    """Price of one node for one hour, for `sweeper plan --simulate`."""


@dataclass(frozen=True, kw_only=True)
class SlurmProfile(Profile):
    """Nodes allocated by Slurm; rendered as one sbatch script."""

    nodes: int = setting(_at_least(1, "nodes"), 1)
    """Nodes of the job."""
    array: bool = setting(s.flag, False)
    """Whether the nodes are jobs of their own, one array: each takes what no other has, and begins as soon as one node
    is free, where one large job waits for all."""
    min_nodes: int = setting(_at_least(1, "nodes"), 1)
    """Nodes that must have joined for the sweep to begin once `start_timeout` is over."""
    memory_per_node: int | None = setting(s.optional(s.mebibytes), None)
    """Memory of each node, MiB (written as 64G); not asked for unless given, as on clusters that hand out whole
    nodes."""
    memory_per_cpu: int | None = setting(s.optional(s.mebibytes), None)
    """Memory of each CPU, MiB, in place of `memory_per_node` where the cluster wants that."""
    time_limit: int = setting(s.seconds)
    """Wall time of one job, seconds (written as 24:00:00); a sweep that needs longer is queued again."""
    python: str = setting(s.absolute_path)
    """Interpreter that has this package, as every node (or the container) sees it."""
    work_dir: str | None = setting(s.optional(s.absolute_path), None)
    """Folder on shared disk for job files; `<results>/.jobs` unless given. Required where results is a URI."""
    partition: str | None = setting(s.optional(s.text), None)
    """Partition or partitions."""
    account: str | None = setting(s.optional(s.text), None)
    """Account to charge."""
    qos: str | None = setting(s.optional(s.text), None)
    """Quality of service."""
    gpu_type: str | None = setting(s.optional(s.name), None)
    """Type of GPU in Slurm's names, such as a100."""
    gpu_option: str = setting(s.one_of("gres", "gpus-per-node"), "gres")
    """Option of sbatch by which GPUs are asked for."""
    login: str | None = setting(s.optional(s.matching(_HOST, "host or user@host")), None)
    """Login node to submit from by ssh, without a password; this machine unless given."""
    # Names are written into the script as they are and values quoted, so that names may hold nothing that needs quotes.
    directives: Mapping[str, Any] = setting(s.mapping_of(r"[a-z][a-z0-9-]*", lambda v, p: _directive(v, p)), {})
    """Further sbatch options without their dashes; `true` for one without a value."""
    modules: tuple[str, ...] = setting(s.list_of(s.text), ())
    """Environment modules to load."""
    setup: tuple[str, ...] = setting(s.list_of(s.text), ())
    """Lines of bash that prepare each node, such as `source /opt/conda/bin/activate elm`: the one part of a profile
    that is run as it is written."""
    container: str | None = setting(s.optional(s.absolute_path), None)
    """Apptainer image to run everything in."""
    container_command: str = setting(s.one_of("apptainer", "singularity"), "apptainer")
    """Program that runs the container."""
    container_binds: tuple[str, ...] = setting(s.list_of(s.absolute_path), ())
    """Paths of the host that the container is to see; results and work_dir always are."""
    interface: str | None = setting(s.optional(s.name), None)
    """Network interface to use, such as ib0; by default the address that the node's name resolves to."""
    temp_dir: str = setting(lambda v, p: _temp_dir(v, p), "/tmp")
    """Node-local directory below which each job makes a private one."""
    start_timeout: int = setting(s.seconds, 600)
    """Seconds that nodes may take to join."""
    stop_notice: int = setting(_span(60), 300)
    """Seconds before the time limit at which running trials are told to end."""
    max_requeues: int = setting(s.whole_within("times"), 100)
    """Times the job is queued again when its time is over."""
    group_readable: bool = setting(s.flag, False)
    """Whether the user's group may read job files, logs and results; else they are the user's alone."""

    def __post_init__(self) -> None:
        """Check what concerns several settings at once."""
        _at_most(self, "min_nodes", "nodes")
        _has_work_dir(self)
        if self.memory_per_node is not None and self.memory_per_cpu is not None:
            raise ProfileError("memory_per_cpu: memory_per_node is given as well; Slurm takes one of them")
        # Two places for one setting could contradict each other, and the job script relies on those that are fixed.
        taken = {"nodes": "nodes", "time": "time_limit", "mem": "memory_per_node", "gres": "gpus_per_node",
                 "mem-per-cpu": "memory_per_cpu", "gpus-per-node": "gpus_per_node",
                 "partition": "partition", "account": "account", "qos": "qos", "cpus-per-task": "cpus_per_node",
                 "job-name": "name", "chdir": "work_dir"}  # fmt: skip
        fixed = {"ntasks", "ntasks-per-node", "output", "error", "open-mode", "requeue", "no-requeue", "no-kill",
                 "signal", "dependency", "array", "export", "wrap", "parsable"}  # fmt: skip
        for key in self.directives:
            if key in taken:
                raise ProfileError(f"directives.{key}: is set by the profile's key {taken[key]}")
            if key in fixed:
                raise ProfileError(f"directives.{key}: is set by the job script itself and cannot be changed")
        # Slurm may send the notice a minute early, and starting takes most of another.
        if self.stop_notice > self.time_limit - _TIME_TO_WORK:
            raise ProfileError(
                f"stop_notice: {self.stop_notice} s leave no time for trials; with time_limit {self.time_limit} s it "
                f"can be {max(0, self.time_limit - _TIME_TO_WORK)} s at most"
            )


@dataclass(frozen=True, kw_only=True)
class KubeRayProfile(Profile):
    """Pods on Kubernetes, run by the KubeRay operator; rendered as a RayJob with its ConfigMap and NetworkPolicy."""

    nodes: int = setting(_at_least(1, "nodes"), 1)
    """Most worker pods."""
    min_nodes: int = setting(s.whole_within("nodes"), 0)
    """Fewest worker pods; the autoscaler moves between this and `nodes` as trials need them."""
    memory_per_node: int = setting(s.mebibytes)
    """Memory of each worker pod, MiB (written as 64G)."""
    time_limit: int | None = setting(s.optional(s.seconds), None)
    """Longest time the whole job may take, seconds; none unless given."""
    image: str = setting(s.matching(r"[A-Za-z0-9][\w./:@-]*", "an image reference such as registry.org/elm:1"))
    """Image that holds this package, its dependencies and ray[default]."""
    namespace: str = setting(s.matching(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?", "a namespace"), "default")
    """Namespace of all objects."""
    context: str | None = setting(s.optional(s.text), None)
    """Context of kubectl; the current one unless given."""
    python: str = setting(s.text, "python")
    """Interpreter inside the image."""
    service_account: str | None = setting(s.optional(s.name), None)
    """Service account of the pods."""
    image_pull_secrets: tuple[str, ...] = setting(s.list_of(s.name), ())
    """Names of Secrets for the image registry."""
    env_secrets: tuple[str, ...] = setting(s.list_of(s.name), ())
    """Names of Secrets whose keys become environment variables, such as credentials of object storage."""
    results_claim: str | None = setting(s.optional(s.name), None)
    """PersistentVolumeClaim (ReadWriteMany) mounted at `results`; required where results is a path."""
    gpu_resource: str = setting(s.text, "nvidia.com/gpu")
    """Name of the GPU resource."""
    node_selector: Mapping[str, str] = setting(s.mapping_of(r"[\w./-]+", s.text), {})
    """Labels of the Kubernetes nodes for worker pods."""
    head_node_selector: Mapping[str, str] = setting(s.mapping_of(r"[\w./-]+", s.text), {})
    """Labels of the Kubernetes nodes for the head pod: keep it off spot nodes."""
    tolerations: tuple[Mapping[str, Any], ...] = setting(
        s.list_of(s.mapping_of("key|operator|value|effect", s.text)), ()
    )
    """Tolerations of the worker pods, for GPU and spot nodes."""
    head_cpus: int = setting(_at_least(1, "per_node"), 2)
    """CPU cores of the head pod, which runs the launcher and no trials."""
    head_memory: int = setting(s.mebibytes, 8192)
    """Memory of the head pod, MiB."""
    idle_timeout: int = setting(s.seconds, 120)
    """Seconds after which an idle worker pod is given back."""
    retries: int = setting(s.whole_within("times"), 3)
    """Times the job is started anew when its head pod is lost; each start resumes."""
    keep_after: int = setting(_span(0), 600)
    """Seconds that the pods stay after the end, for reading their logs."""

    def __post_init__(self) -> None:
        """Check what concerns several settings at once."""
        _at_most(self, "min_nodes", "nodes")
        # A path in a pod without a volume is the pod's own disk, which goes with it.
        if self.results.startswith("/") and self.results_claim is None:
            raise ProfileError(f"results_claim: is missing: {self.results} must be a volume that every pod mounts")


@dataclass(frozen=True, kw_only=True)
class RayUpProfile(Profile):
    """Virtual machines of AWS or Google Cloud, started by `ray up`; rendered as its cluster file."""

    provider: str = setting(s.one_of("aws", "gcp"))
    """The cloud."""
    region: str = setting(s.name)
    """Region."""
    zone: str | None = setting(s.optional(s.matching(r"[a-z0-9-]+(,[a-z0-9-]+)*", "zones, comma-separated")), None)
    """Availability zone or zones; required for gcp."""
    project: str | None = setting(s.optional(s.name), None)
    """Project id of gcp."""
    nodes: int = setting(_at_least(1, "nodes"), 1)
    """Most worker machines; they are started as trials need them and stopped when idle."""
    min_nodes: int = setting(s.whole_within("nodes"), 0)
    """Worker machines that are always there."""
    worker_type: str = setting(s.name)
    """Machine type of the workers, such as g5.xlarge."""
    head_type: str = setting(s.name)
    """Machine type of the head, which runs the launcher and no trials, such as m5.large."""
    spot: bool = setting(s.flag, True)
    """Whether workers are spot (preemptible) machines; the head never is."""
    gpu_type: str | None = setting(s.optional(s.name), None)
    """Accelerator of gcp workers, such as nvidia-tesla-t4."""
    machine_image: str | None = setting(s.optional(s.text), None)
    """AMI id or gcp source image; required for gcp, ray's own default for aws."""
    image: str = setting(s.matching(r"[A-Za-z0-9][\w./:@-]*", "an image reference"))
    """Docker image with Ray, such as rayproject/ray:2.60.0-py311-cu121."""
    wheel: str = setting(s.text)
    """This package as a wheel on the submitting machine (`python -m build --wheel`)."""
    disk_gb: int = setting(s.whole(20, 65_536), 150)
    """Disk of each machine, GB."""
    ssh_user: str = setting(s.name, "ubuntu")
    """User on the machines."""
    idle_timeout: int = setting(s.seconds, 300)
    """Seconds after which an idle worker machine is given back."""
    worker_instance_profile: str | None = setting(s.optional(s.matching(_ROLE, "a name or an ARN")), None)
    """Instance profile of aws workers, by name or ARN: its role must be allowed to write to `results`; else they have
    no rights at all."""
    head_instance_profile: str | None = setting(s.optional(s.matching(_ROLE, "a name or an ARN")), None)
    """Instance profile of the aws head, which starts and stops the workers; unless given Ray makes one, with all of
    S3 in its rights."""
    stop_when_done: bool = setting(s.flag, True)
    """Whether the machines are stopped at the end of the sweep."""

    def __post_init__(self) -> None:
        """Check what concerns several settings at once."""
        _at_most(self, "min_nodes", "nodes")
        if "://" not in self.results:
            raise ProfileError(
                f"results: machines of a cloud share no disk, use a URI such as s3://..., got {self.results}"
            )
        # Ray has defaults of its own for AWS alone.
        for key in ("zone", "project", "machine_image") if self.provider == "gcp" else ():
            if getattr(self, key) is None:
                raise ProfileError(f"{key}: is missing; gcp needs it")
        for key in ("worker_instance_profile", "head_instance_profile") if self.provider == "gcp" else ():
            if getattr(self, key) is not None:
                raise ProfileError(f"{key}: is for aws; gcp machines have the service account of the project")
        if self.provider == "gcp" and self.gpus_per_node and self.gpu_type is None:
            raise ProfileError("gpu_type: is missing; gcp attaches GPUs by type, such as nvidia-tesla-t4")


@dataclass(frozen=True, kw_only=True)
class SshProfile(Profile):
    """Machines reached by ssh without a scheduler; rendered as one script that runs on each of them."""

    hosts: tuple[str, ...] = setting(s.list_of(s.matching(_HOST, "host or user@host"), 1))
    """The machines, without a password (keys or an agent); the first one is the head."""
    python: str = setting(s.absolute_path)
    """Interpreter that has this package, on every machine."""
    work_dir: str = setting(s.absolute_path)
    """Folder for job files on each machine; need not be shared."""
    port: int = setting(s.whole(1024, 60000), 20000)
    """First of the ports that the job uses on every machine."""
    interface: str | None = setting(s.optional(s.name), None)
    """Network interface to use; by default the one that leads to the head."""
    temp_dir: str = setting(lambda v, p: _temp_dir(v, p), "/tmp")
    """Local directory below which each job makes a private one."""
    min_nodes: int = setting(_at_least(1, "nodes"), 1)
    """Machines that must have joined for the sweep to begin once `start_timeout` is over."""
    setup: tuple[str, ...] = setting(s.list_of(s.text), ())
    """Lines of bash that prepare each machine: the one part of a profile that is run as it is written."""
    start_timeout: int = setting(s.seconds, 300)
    """Seconds that machines may take to join."""
    group_readable: bool = setting(s.flag, False)
    """Whether the user's group may read job files, logs and results; else they are the user's alone."""

    def __post_init__(self) -> None:
        """Check what concerns several settings at once."""
        _at_most(self, "min_nodes", "nodes")
        # Two nodes of one job on a machine would share its ports and its folder.
        if len(set(self.hosts)) < len(self.hosts):
            raise ProfileError("hosts: a machine is named twice")

    @property
    def nodes(self) -> int:
        """Number of machines."""
        return len(self.hosts)


AnyProfile = SlurmProfile | KubeRayProfile | RayUpProfile | SshProfile
KINDS: dict[str, type[AnyProfile]] = {
    "slurm": SlurmProfile,
    "kuberay": KubeRayProfile,
    "ray-up": RayUpProfile,
    "ssh": SshProfile,
}


def load_profile(path: str | os.PathLike[str]) -> AnyProfile:
    """Read and check a profile.

    Raises:
        ProfileError: the file is missing, not YAML, or has a key or value that is not understood; the message names
            the file, the key's path, the value and the valid choices.
    """
    file = Path(path)
    try:
        return parse_profile(read_text_file(file), default_name=file.stem)
    except FileNotFoundError:
        raise ProfileError(f"{file}: no such profile{path_hint(file)}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ProfileError(f"{file}: cannot be read: {error}") from error
    except SettingError as error:
        raise ProfileError(f"{file}: {error}") from error


def parse_profile(text: str, *, default_name: str = "profile") -> AnyProfile:
    """Check the text of a profile; see `load_profile`."""
    with s.raised_as(ProfileError):
        content = read_yaml(text)
        if not isinstance(content, dict):
            raise ProfileError(f"expected a mapping with at least `kind`, got {type(content).__name__}")
        # First of all, since it decides which keys are valid.
        kind = s.one_of(*KINDS)(content.pop("kind", None), "kind")
        return s.build(KINDS[kind], {"name": default_name, **content}, "")


def kind_of(profile: AnyProfile) -> str:
    """The profile's `kind`, as in its file."""
    return next(kind for kind, cls in KINDS.items() if isinstance(profile, cls))


def _price(value: object, place: str) -> float:
    price = s.number(value, place)
    if price < 0:
        raise ProfileError(f"{place}: expected a price of zero or more, got {value!r}")
    return price


def _environment(value: object, place: str) -> dict[str, str]:
    variables: dict[str, str] = s.environment(value, place)
    for key in variables:
        # By the name alone, since a value cannot be told from any other text.
        if _SECRET.search(key):
            raise ProfileError(
                f"{place}.{key}: looks like a secret, and job files are no place for one; export it in the shell that "
                "submits (slurm, ssh) or name a Secret in env_secrets (kuberay)"
            )
    return variables


def _storage(value: object, place: str) -> dict[str, Any]:
    readers: dict[str, s.Reader] = {
        "endpoint": s.matching(r"https?://[\w.-]+(:\d+)?/?", "an address such as http://minio:9000"),
        "region": s.name,
        "anonymous": s.flag,
        "addressing": s.one_of("path", "virtual"),
    }
    keys = s.mapping(value, place)
    s.check_keys(f"{place}.", keys, readers)
    return {key: readers[key](part, f"{place}.{key}") for key, part in keys.items()}


def _directive(value: object, place: str) -> str | bool:
    # True is YAML's `true` and nothing else: 1 is the value of an option.
    return True if value is True else str(s.text(value, place))


def _temp_dir(value: object, place: str) -> str:
    path = s.absolute_path(value, place)
    # Refused here, since on the node Ray would fail only after the job has waited in the queue.
    if len(path) + _SOCKET_TAIL > _SOCKET_LIMIT:
        longest = _SOCKET_LIMIT - _SOCKET_TAIL
        raise ProfileError(f"{place}: {path!r} is longer than {longest} characters, too long for Ray's Unix sockets")
    return path


def _at_most(profile: Any, smaller: str, larger: str) -> None:
    if getattr(profile, smaller) > getattr(profile, larger):
        raise ProfileError(f"{smaller}: {getattr(profile, smaller)} is more than {larger} ({getattr(profile, larger)})")


def _has_work_dir(profile: SlurmProfile) -> None:
    if profile.work_dir is None and "://" in profile.results:
        raise ProfileError(f"work_dir: is missing; job files cannot lie at {profile.results}")
