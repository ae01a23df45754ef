"""Whether a results directory is the same on all nodes; nodes are played, files are real."""

from types import SimpleNamespace

import pytest

from cluster.attach import probe, shared
from cluster.attach.shared import shared_problems
from cluster.errors import ClusterError


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(shared, "_PATIENCE_S", 0.1)


def nodes(*hosts):
    return [SimpleNamespace(node_id=host, host=host, address=host) for host in hosts]


def seen_as(places):
    """Runs the probe with the folder as each host sees it."""

    def on_every_node(nodes, function, *arguments):
        found = {}
        for node, (folder, *rest) in zip(nodes, arguments, strict=True):
            here, there = places["launcher"], places[node.host]
            found[node.node_id] = function(folder.replace(str(here), str(there)), *rest)
        return found

    return on_every_node


def test_one_folder_is_well_and_left_as_it_was(tmp_path):
    places = {"launcher": tmp_path, "a": tmp_path, "b": tmp_path}
    assert shared_problems(nodes("a", "b"), str(tmp_path), seen_as(places)) == {}
    assert list(tmp_path.iterdir()) == []


def test_nodes_that_see_another_folder_or_none_are_named(tmp_path, monkeypatch):
    for name in ("here", "elsewhere"):
        (tmp_path / name).mkdir()
    monkeypatch.setattr("uuid.uuid4", lambda: SimpleNamespace(hex="0" * 32))
    (tmp_path / "elsewhere" / ".shared-000000000000").mkdir()
    places = {
        "launcher": tmp_path / "here",
        "a": tmp_path / "here",
        "b": tmp_path / "elsewhere",
        "c": tmp_path / "none",
    }
    assert shared_problems(nodes("a", "b", "c"), str(tmp_path / "here"), seen_as(places)) == {
        "b": "it is another folder there: the launcher's file does not appear in it",
        "c": "it does not exist there",
    }
    assert list((tmp_path / "here").iterdir()) == []


def test_a_folder_that_cannot_be_written_here_is_refused_first(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ClusterError, match="file: cannot be written from here"):
        shared_problems(nodes("a"), str(tmp_path / "file"), seen_as({}))


def test_object_storage_is_tried_with_objects(tmp_path):
    uri = f"file://{tmp_path}"
    (tmp_path / "sub").mkdir()
    assert probe.leave_mark(f"{uri}/sub", "a", "a", 0.0) is None
    assert "another place there" in probe.leave_mark(f"{uri}/sub", "a", "b", 0.0)


def test_folders_made_for_the_look_are_removed_again(tmp_path):
    results = tmp_path / "not" / "yet"
    places = {"launcher": results, "a": results}
    assert shared_problems(nodes("a"), str(results), seen_as(places)) == {}
    assert list(tmp_path.iterdir()) == []
