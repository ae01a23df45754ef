"""`sweeper doctor`: everything a sweep needs, looked at before it starts, each finding with its remedy.

What does the looking is imported when it is asked for: this file is read whenever `sweeper` starts, which takes 70 ms,
and psutil and the profiles would add 110 ms to that (measured), Ray a second.
"""

import json
from collections.abc import Iterable

import click

from cluster.doctor.finding import ERROR, Finding, as_text, error
from cluster.errors import ClusterError
from cluster.storage import absolute


def diagnose(cluster: str | None, results: str | None) -> list[Finding]:
    """Look at this machine, and at a cluster where one is named.

    Args:
        cluster: None, or what `--cluster` takes: `auto`, an address, a profile.
        results: results directory or URI that a sweep would use; not looked at when None.

    Returns:
        Findings; nothing is left behind on any machine.
    """
    # What each part needs is imported when its turn comes: ray takes seconds, and may be what is missing.
    from cluster.doctor.here import local_findings, results_findings
    from cluster.profiles.target import read_target

    findings = list(local_findings())
    if cluster is None:
        return findings + list(results_findings(results))
    try:
        target = read_target(cluster)
    except ClusterError as problem:
        return [*findings, error("cluster", str(problem), "see cluster/README.md")]
    if isinstance(target, str):
        from cluster.doctor.cluster import cluster_findings

        # A relative path means another place to each node, which runs what it is asked in a folder of its own.
        return findings + list(cluster_findings(target, None if results is None else absolute(results)))
    from cluster.doctor.profile import profile_findings

    return findings + list(profile_findings(target))


def report(findings: Iterable[Finding], *, as_json: bool) -> int:
    """Print findings; the exit code is 1 where one is an error."""
    every = list(findings)
    click.echo(json.dumps([finding.json for finding in every], indent=1) if as_json else as_text(every))
    return 1 if any(finding.level == ERROR for finding in every) else 0
