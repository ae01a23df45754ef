"""Options of object storage: from a profile into the URI, from the URI into pyarrow, and what `doctor` says."""

import boto3
import pytest
from moto.server import ThreadedMotoServer

from cluster.doctor import here
from cluster.errors import ProfileError, SettingError
from cluster.storage import may_pass, open_location, with_options

MINIO = {"endpoint": "http://minio.lab:9000", "region": "us-east-1"}


def test_options_of_a_profile_stand_behind_the_sweeps_path(profile_of, job_of):
    profile = profile_of("slurm", results="s3://bucket/sweeps", work_dir="/shared/jobs", storage=MINIO)
    expected = "s3://bucket/sweeps/demo?scheme=http&endpoint_override=minio.lab:9000&region=us-east-1"
    assert job_of(profile).results == expected
    written = profile_of("slurm", results="s3://bucket/sweeps?region=eu-1", work_dir="/shared/jobs")
    assert job_of(written).results == "s3://bucket/sweeps/demo?region=eu-1"
    assert job_of(written, results="s3://bucket/sweeps/a?region=x").results == "s3://bucket/sweeps/a?region=x"


@pytest.mark.parametrize(
    ("storage", "message"),
    [
        ({"endpont": "http://x"}, "storage.endpont: 'endpont' is not known; did you mean 'endpoint'?"),
        ({"endpoint": "minio; rm -rf /"}, "storage.endpoint: expected an address such as http://minio:9000"),
        ({"addressing": "both"}, "storage.addressing: 'both' is not known"),
        ({"anonymous": "yes please"}, "storage.anonymous: expected true or false"),
    ],
)
def test_a_wrong_option_is_one_line(storage, message, profile_of):
    with pytest.raises(ProfileError) as error:
        profile_of("kuberay", storage=storage)
    assert message in str(error.value)


def test_options_are_for_s3_alone():
    with pytest.raises(SettingError, match="storage: is for s3:// alone, and results is gs://bucket/x"):
        with_options("gs://bucket/x", MINIO)
    assert with_options("/shared/results", {}) == "/shared/results"


def test_errors_of_an_outage_are_told_from_those_that_a_person_mends():
    passing = (
        "AWS Error NETWORK_CONNECTION during PutObject operation: curlCode: 7",
        "AWS Error UNKNOWN (HTTP status 503)",
    )
    lasting = (
        "AWS Error ACCESS_DENIED during PutObject operation",
        "AWS Error UNKNOWN (HTTP status 400)",
        "No such file",
    )
    assert [may_pass(OSError(text)) for text in (*passing, *lasting)] == [True, True, False, False, False]


@pytest.fixture(scope="module")
def server():
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    patch = pytest.MonkeyPatch()
    for name, value in (("AWS_ACCESS_KEY_ID", "k"), ("AWS_SECRET_ACCESS_KEY", "s")):
        patch.setenv(name, value)
    client = boto3.client("s3", endpoint_url=f"http://{host}:{port}", region_name="us-east-1")
    client.create_bucket(Bucket="bucket", ACL="public-read-write")
    yield f"http://{host}:{port}", client
    patch.undo()
    server.stop()


@pytest.mark.parametrize("more", [{}, {"addressing": "path"}])
def test_doctor_writes_reads_back_and_deletes(more, server):
    endpoint, client = server
    uri = with_options("s3://bucket/sweeps", {"endpoint": endpoint, "region": "us-east-1", **more})
    finding = here.object_storage(uri)
    assert (finding.level, "written, read back and deleted" in finding.observation) == ("ok", True), finding
    assert not [o for o in client.list_objects_v2(Bucket="bucket").get("Contents", []) if "doctor" in o["Key"]]


def test_doctor_names_what_a_server_that_keeps_checksums_needs(server):
    options = {"endpoint": server[0], "region": "us-east-1", "anonymous": True}  # moto keeps those of unsigned requests
    finding = here.object_storage(with_options("s3://bucket/sweeps", options))
    assert "stores the checksum that clients send behind an object" in finding.observation
    assert "AWS_REQUEST_CHECKSUM_CALCULATION=when_required" in finding.remedy
    missing = here.object_storage(with_options("s3://nowhere/sweeps", {"endpoint": server[0], "region": "us-east-1"}))
    assert (missing.level, "nowhere" in missing.observation) == ("error", True)


def test_an_option_that_is_none_is_named():
    with pytest.raises(OSError, match="colour: not among the options scheme, endpoint_override, region, anonymous"):
        open_location("s3://bucket/x?colour=red&anonymous=true")
