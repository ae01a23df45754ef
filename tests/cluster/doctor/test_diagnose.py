"""What `diagnose` asks of a cluster; the cluster is played."""

from cluster.doctor.doctor import diagnose


def test_every_node_is_asked_for_the_same_place(tmp_path, monkeypatch):
    asked = []
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("cluster.doctor.cluster.cluster_findings", lambda _, results: asked.append(results) or [])
    for results in ("new/run", "/shared/run", "s3://bucket/run", None):
        diagnose("10.0.0.1:6379", results)
    assert asked == [f"{tmp_path}/new/run", "/shared/run", "s3://bucket/run", None]
