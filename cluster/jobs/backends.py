"""The kinds of cluster by the name that a profile gives."""

from collections.abc import Mapping

from cluster.kinds.base import Backend
from cluster.kinds.kuberay import KubeRayBackend
from cluster.kinds.ray_up import RayUpBackend
from cluster.kinds.slurm import SlurmBackend
from cluster.kinds.ssh import SshBackend

BACKENDS: Mapping[str, Backend] = {
    "slurm": SlurmBackend(),
    "kuberay": KubeRayBackend(),
    "ray-up": RayUpBackend(),
    "ssh": SshBackend(),
}
