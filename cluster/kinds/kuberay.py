"""A KubeRay profile and a job as Kubernetes objects: the grid, a network policy, and a RayJob."""

import json
import shlex
from typing import Any

from cluster.errors import ClusterError, SubmitError
from cluster.kinds.base import ENDED, QUEUED, RUNNING, JobState
from cluster.kinds.job import Job, launch_command
from cluster.kinds.record import JobRecord
from cluster.kinds.run import Runner
from cluster.kinds.shell import OBJECT_STORE_BYTES
from cluster.kinds.yaml_text import commented_yaml
from cluster.profiles.profile import KubeRayProfile

MANIFEST = "rayjob.yaml"
LABEL = "elm-sweeper/job"
_OBJECT_STORE = str(OBJECT_STORE_BYTES)  # text, as rayStartParams are
_GCS_PORT, _DASHBOARD_PORT = 6379, 8265
_GRACE_S = 60
"""Time that a pod has to save its trials when Kubernetes takes it away."""


def render(profile: KubeRayProfile, job: Job) -> dict[str, str]:
    """Write the file of a job.

    Args:
        profile: the cluster.
        job: what to run on it.

    Returns:
        `rayjob.yaml` with three objects.
    """
    header = (
        f"# Sweep {job.sweep} on up to {profile.nodes} worker pod(s) of KubeRay (1.5.1 or newer, for authOptions).\n"
        f"# Written by `sweeper launch --cluster` from profile {profile.name}. Submit again with:\n"
        f"#   kubectl {' '.join(shlex.quote(part) for part in scope(profile))} apply -f {MANIFEST}\n"
    )
    # The job last: its pods mount the grid, and are open to others until the policy is there.
    parts = [_config_map(profile, job), _network_policy(profile, job), _ray_job(profile, job)]
    return {MANIFEST: header + "---\n" + "---\n".join(parts)}


def scope(profile: KubeRayProfile) -> list[str]:
    """Options of kubectl that say which cluster and namespace."""
    return [*(["--context", profile.context] if profile.context else []), "--namespace", profile.namespace]


def _metadata(profile: KubeRayProfile, job: Job) -> dict[str, Any]:
    # By the label the policy and `sweeper stop` find the pods of this job and no others.
    return {"name": job.name, "namespace": profile.namespace, "labels": {LABEL: job.name}}


def _config_map(profile: KubeRayProfile, job: Job) -> str:
    value = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": _metadata(profile, job),
        "data": {"grid.yaml": job.grid_text, **job.sources},
    }
    return commented_yaml(value, {"data": f"The grid, mounted at {job.folder} in the head pod."})


def _network_policy(profile: KubeRayProfile, job: Job) -> str:
    mine = {"podSelector": {"matchLabels": {LABEL: job.name}}}
    operator = {
        "namespaceSelector": {},
        "podSelector": {"matchLabels": {"app.kubernetes.io/name": "kuberay-operator"}},
    }
    value = {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": _metadata(profile, job),
        "spec": {
            "podSelector": {"matchLabels": {LABEL: job.name}},
            "policyTypes": ["Ingress"],
            "ingress": [
                {"from": [mine]},
                {"from": [operator], "ports": [{"protocol": "TCP", "port": _DASHBOARD_PORT}]},
            ],
        },
    }
    comments = {
        "spec": "Ray listens on all interfaces of a pod; only pods of this job reach it, and the operator reaches its\n"
        "dashboard. Needs a network plug-in that enforces policies.",
    }
    return commented_yaml(value, comments)


def _ray_job(profile: KubeRayProfile, job: Job) -> str:
    # With as many pods at least as at most there is nothing to scale, and no autoscaler has to run.
    autoscaling = profile.min_nodes < profile.nodes
    spec: dict[str, Any] = {
        "entrypoint": shlex.join([profile.python, *launch_command(job), "--cluster", "auto", "--as-job"]),
        "submissionMode": "K8sJobMode",
        "submitterPodTemplate": _submitter(profile, job),
        "backoffLimit": profile.retries,
        **({"activeDeadlineSeconds": profile.time_limit} if profile.time_limit else {}),
        "shutdownAfterJobFinishes": True,
        "ttlSecondsAfterFinished": profile.keep_after,
        "rayClusterSpec": {
            "rayVersion": job.ray_version,
            "authOptions": {"mode": "token"},
            "enableInTreeAutoscaling": autoscaling,
            **({"autoscalerOptions": {"idleTimeoutSeconds": profile.idle_timeout}} if autoscaling else {}),
            "headGroupSpec": {
                "rayStartParams": {"num-cpus": "0", "object-store-memory": _OBJECT_STORE},
                "template": _pod(profile, job, head=True),
            },
            "workerGroupSpecs": [
                {
                    "groupName": "workers",
                    "replicas": profile.min_nodes if autoscaling else profile.nodes,
                    "minReplicas": profile.min_nodes,
                    "maxReplicas": profile.nodes,
                    "rayStartParams": {"num-cpus": str(profile.cpus_per_node), "object-store-memory": _OBJECT_STORE},
                    "template": _pod(profile, job, head=False),
                }
            ],
        },
    }
    value = {"apiVersion": "ray.io/v1", "kind": "RayJob", "metadata": _metadata(profile, job), "spec": spec}
    return commented_yaml(value, _comments(autoscaling, "activeDeadlineSeconds" in spec))


def _comments(autoscaling: bool, deadline: bool) -> dict[str, str]:
    cluster = "spec.rayClusterSpec"
    comments = {
        "spec.entrypoint": "The launcher runs in the head pod, so no laptop need stay open. Launching again runs\n"
        "only what has no row yet, so every start is a resume. `auto` is the RAY_ADDRESS that Ray sets for its jobs.",
        "spec.backoffLimit": "A lost head pod, or a launcher that fails, means a new Ray cluster and a relaunch.\n"
        "Trials that failed, a sweep that stopped itself and `sweeper stop` do not: --as-job ends with 0 after them.",
        "spec.shutdownAfterJobFinishes": "Pods go when the sweep has ended, after the seconds below.",
        f"{cluster}.rayVersion": "Must be the version inside the image.",
        f"{cluster}.authOptions": "KubeRay makes a Secret with a random token and gives it to this job's pods only.",
        f"{cluster}.headGroupSpec.rayStartParams": "No trials on the head: it must not run out of memory.",
        f"{cluster}.workerGroupSpecs.0.template.spec.terminationGracePeriodSeconds": "For saving when preempted.",
    }
    if autoscaling:
        comments[f"{cluster}.enableInTreeAutoscaling"] = "Pods come as lanes wait for room, and go when idle."
    if deadline:
        comments["spec.activeDeadlineSeconds"] = "The profile's time_limit."
    return comments


def _pod(profile: KubeRayProfile, job: Job, *, head: bool) -> dict[str, Any]:
    cpus, memory = (
        (profile.head_cpus, profile.head_memory) if head else (profile.cpus_per_node, profile.memory_per_node)
    )
    selector = profile.head_node_selector if head else profile.node_selector
    gpus = {} if head or not profile.gpus_per_node else {profile.gpu_resource: str(profile.gpus_per_node)}
    # Requests equal limits: Kubernetes evicts such pods last, and Ray counts what is really there.
    quantities = {"cpu": str(cpus), "memory": f"{memory}Mi", **gpus}
    container: dict[str, Any] = {
        "name": "ray-head" if head else "ray-worker",
        "image": profile.image,
        **_environment(profile),
        "resources": {"requests": quantities, "limits": quantities},
        **({"ports": _ports()} if head else {}),
        # Kubernetes' `restricted` pod security standard asks for it; nothing here needs more rights.
        "securityContext": {"allowPrivilegeEscalation": False},
    }
    volumes, mounts = _volumes(profile, job, head=head)
    if mounts:
        container["volumeMounts"] = mounts
    spec: dict[str, Any] = {
        **_pod_common(profile),
        "terminationGracePeriodSeconds": _GRACE_S,
        **({"nodeSelector": dict(selector)} if selector else {}),
        # The head is to stay off the nodes that need one, which may be taken away or have GPUs to pay for.
        **({"tolerations": [dict(t) for t in profile.tolerations]} if profile.tolerations and not head else {}),
        "containers": [container],
        **({"volumes": volumes} if volumes else {}),
    }
    return {"metadata": {"labels": {LABEL: job.name}}, "spec": spec}


def _submitter(profile: KubeRayProfile, job: Job) -> dict[str, Any]:
    # The submitter only follows the launcher's log (assumption: half a core and 512 MiB will do).
    quantities = {"cpu": "500m", "memory": "512Mi"}
    container = {
        "name": "ray-job-submitter",
        "image": profile.image,
        "resources": {"requests": quantities, "limits": quantities},
    }
    spec = {**_pod_common(profile), "restartPolicy": "Never", "containers": [container]}
    return {"metadata": {"labels": {LABEL: job.name}}, "spec": spec}


def _pod_common(profile: KubeRayProfile) -> dict[str, Any]:
    secrets = [{"name": name} for name in profile.image_pull_secrets]
    return {
        **({"serviceAccountName": profile.service_account} if profile.service_account else {}),
        **({"imagePullSecrets": secrets} if secrets else {}),
    }


def _environment(profile: KubeRayProfile) -> dict[str, Any]:
    variables = [{"name": name, "value": value} for name, value in profile.env.items()]
    # By reference, so that the manifest, which is printed and may be kept, holds no secret.
    secrets = [{"secretRef": {"name": name}} for name in profile.env_secrets]
    return {
        "env": [{"name": "RAY_USAGE_STATS_ENABLED", "value": "0"}, *variables],
        **({"envFrom": secrets} if secrets else {}),
    }


def _ports() -> list[dict[str, Any]]:
    return [
        {"name": "gcs-server", "containerPort": _GCS_PORT},
        {"name": "dashboard", "containerPort": _DASHBOARD_PORT},
    ]


def _volumes(profile: KubeRayProfile, job: Job, *, head: bool) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    volumes: list[dict[str, Any]] = []
    mounts: list[dict[str, Any]] = []
    if head:
        # A key of a ConfigMap cannot be any file name, so the grid gets its own name where it is mounted.
        items = [{"key": "grid.yaml", "path": job.grid_file}] + [{"key": name, "path": name} for name in job.sources]
        volumes.append({"name": "grid", "configMap": {"name": job.name, "items": items}})
        mounts.append({"name": "grid", "mountPath": job.folder, "readOnly": True})
    if profile.results_claim:
        volumes.append({"name": "results", "persistentVolumeClaim": {"claimName": profile.results_claim}})
        mounts.append({"name": "results", "mountPath": profile.results})
    return volumes, mounts


_CONFIG_MAP_LIMIT = 1_000_000
"""Bytes of a grid: Kubernetes refuses a ConfigMap above 1 MiB, and the rest of the object needs a little."""


class KubeRayBackend:
    """Starts, looks at and ends jobs by kubectl."""

    def files(self, profile: KubeRayProfile, job: Job) -> dict[str, str]:
        """See `Backend.files`."""
        if sum(len(text.encode()) for text in job.texts.values()) > _CONFIG_MAP_LIMIT:
            raise ClusterError("the grid and the files of its tasks are larger than the 1 MB that a ConfigMap may hold")
        return render(profile, job)

    def submit(self, profile: KubeRayProfile, job: Job, run: Runner) -> dict[str, Any]:
        """See `Backend.submit`."""
        kubectl = ["kubectl", *scope(profile)]
        handle = {"kubectl": kubectl, "python": profile.python}
        # Asked for first, since `apply` would change a job that runs instead of refusing.
        before = self._status(kubectl, job.name, run)
        if before is not None and before.state != ENDED:
            raise SubmitError(f"job {job.name} is on the cluster already ({before.detail})")
        manifest = self.files(profile, job)[MANIFEST]
        if before is not None:  # a RayJob that has ended does not start again when it is applied again
            # Waited for: what is applied while the old object is still being deleted goes with it.
            run([*kubectl, "delete", "rayjob", job.name, "--wait=true"])
        try:
            run([*kubectl, "apply", "-f", "-"], text=manifest)
        except SubmitError:  # of three objects some may have been made
            self._delete(kubectl, job.name, run)
            raise
        return handle

    def state(self, record: JobRecord, run: Runner) -> JobState:
        """See `Backend.state`."""
        state = self._status(record.handle["kubectl"], record.name, run)
        return state or JobState(state=ENDED, detail=f"there is no RayJob {record.name} any more")

    def stop(self, record: JobRecord, run: Runner, *, now: bool) -> None:
        """See `Backend.stop`. Pods get the grace period of the manifest to save; draining needs a shell in the head."""
        kubectl = list(record.handle["kubectl"])
        if now:
            self._delete(kubectl, record.name, run)
            return
        labels = f"{LABEL}={record.name},ray.io/node-type=head"
        pods = run([*kubectl, "get", "pods", "-l", labels, "-o", "name"]).split()
        if not pods:
            raise SubmitError(f"{record.name}: has no head pod yet; stop it with --now")
        python = record.handle["python"]
        run([*kubectl, "exec", pods[0], "-c", "ray-head", "--", python, "-m", "cluster.attach.interrupt"])

    @staticmethod
    def _status(kubectl: list[str], name: str, run: Runner) -> JobState | None:
        text = run([*kubectl, "get", "rayjob", name, "--ignore-not-found", "-o", "json"])
        if not text.strip():
            return None
        # The operator adds the status; an object that it has not seen yet has none.
        status = json.loads(text).get("status", {})
        deployment, job = status.get("jobDeploymentStatus", ""), status.get("jobStatus", "")
        detail = " ".join(filter(None, (f"RayJob {name}:", deployment or "new", job, status.get("message", ""))))
        if deployment in ("Complete", "Failed"):
            return JobState(state=ENDED, detail=detail)
        # The deployment's status says how the pods do, and only the job's whether the launcher runs.
        return JobState(state=RUNNING if job == "RUNNING" else QUEUED, detail=detail)

    @staticmethod
    def _delete(kubectl: list[str], name: str, run: Runner) -> None:
        # The job first: its head pod mounts the grid and is protected by the policy until it is gone.
        for resource in ("rayjob", "networkpolicy", "configmap"):
            # Not waited for: pods have a grace period, and nothing here depends on their end.
            run([*kubectl, "delete", resource, name, "--ignore-not-found", "--wait=false"])
