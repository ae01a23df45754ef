"""The same store on an S3 server on this machine: whole launches, resumption and compaction."""

import boto3
import pytest
from moto.server import ThreadedMotoServer
from rich.console import Console

from benchmarks.ground_truth import GroundTruth
from sweeper.errors import StoreError
from sweeper.executors.processes import ProcessExecutor
from sweeper.lane.options import LaneOptions
from sweeper.launch.launch import launch
from sweeper.plan.grid import parse_grid
from sweeper.store.store import ResultsStore
from tests.sweeper.rows import trial

GRID = """
name: remote
task: {name: text, alphabet: letters}
budgets: [4000, 8000]
model: {d_m: [1, 2, 4], d_tree: 4, d_branch: 4}
"""


@pytest.fixture(scope="module")
def bucket():
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    patch = pytest.MonkeyPatch()
    for name, value in (
        ("AWS_ACCESS_KEY_ID", "k"),
        ("AWS_SECRET_ACCESS_KEY", "s"),
        ("AWS_DEFAULT_REGION", "us-east-1"),
    ):
        patch.setenv(name, value)
    boto3.client("s3", endpoint_url=f"http://{host}:{port}").create_bucket(Bucket="bucket")
    yield lambda path: f"s3://bucket/{path}?scheme=http&endpoint_override={host}:{port}"
    patch.undo()
    server.stop()


def test_rows_grids_and_checkpoints_round_trip(bucket):
    store = ResultsStore.create(bucket("plain"))
    store.write("trials", [trial("a"), trial("b")])
    store.write("trials", [trial("a", attempt=2, status="diverged")])
    store.save_grid("g", GRID)
    store.write_weights("checkpoints", "a", b"state")
    again = ResultsStore.open(bucket("plain"))
    assert again.statuses() == {"a": "diverged", "b": "finished"}
    again.compact()
    assert again.statuses() == {"a": "diverged", "b": "finished"}
    assert again.grids() == {"g": GRID}
    assert again.read_weights("checkpoints", "a") == b"state"
    again.delete_checkpoint("a")
    assert again.read_weights("checkpoints", "a") is None


def test_a_whole_launch_and_a_second_that_runs_nothing(bucket):
    executor = ProcessExecutor(options=LaneOptions(lanes=2), trainer=GroundTruth())
    result = launch(parse_grid(GRID), bucket("sweep"), executor, Console(quiet=True))
    assert result.status.counts == {"finished": 6}
    assert launch(parse_grid(GRID), bucket("sweep"), executor, Console(quiet=True)).ran == 0


def test_a_missing_bucket_is_one_clear_error(bucket):
    with pytest.raises(StoreError, match="nowhere"):
        ResultsStore.create(bucket("x").replace("bucket/x", "nowhere/x"))
    with pytest.raises(StoreError, match="not a results location"):
        ResultsStore.open("magic://bucket/x")
