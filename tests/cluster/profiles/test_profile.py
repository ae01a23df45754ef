"""Profiles are data: every mistake is one line that names the key, and no value becomes a command."""

import re
import subprocess
from dataclasses import MISSING, fields
from pathlib import Path

import pytest
import yaml

from cluster.errors import ProfileError
from cluster.profiles.profile import KINDS, Profile, load_profile, parse_profile


@pytest.mark.parametrize("kind", KINDS)
def test_the_smallest_profile_of_each_kind_is_read(kind, smallest):
    profile = parse_profile(smallest[kind], default_name="toy")
    assert type(profile) is KINDS[kind]
    assert profile.name == "toy"


@pytest.fixture
def changed(smallest):
    def change(kind: str, /, **settings) -> str:
        content = {**yaml.safe_load(smallest[kind]), **settings}
        return yaml.safe_dump({key: value for key, value in content.items() if value != "absent"})

    return change


@pytest.mark.parametrize(
    ("kind", "settings", "message"),
    [
        ("slurm", {"kind": "slrum"}, "kind: 'slrum' is not known; did you mean 'slurm'? Valid: kuberay, ray-up"),
        ("slurm", {"kind": "absent"}, "kind: None is not known"),
        ("slurm", {"partitoin": "gpu"}, "'partitoin' is not known; did you mean 'partition'? Valid: account"),
        ("slurm", {"image": "x"}, "image: 'image' is not known"),
        ("slurm", {"time_limit": "absent"}, "time_limit: is missing; required keys: results"),
        ("slurm", {"nodes": 0}, "nodes: expected a whole number of at least 1, got 0"),
        ("slurm", {"nodes": 10**9}, "nodes: 1000000000 is not allowed; nodes of a cluster: 0 to 100,000"),
        ("slurm", {"nodes": 10**30}, "nodes: 1000000000000000000000000000000 is not allowed; any whole number"),
        ("slurm", {"cpus_per_node": 10**6}, "cpus_per_node: 1000000 is not allowed; CPU cores or GPUs of a node"),
        ("slurm", {"memory_per_node": "9999999999T"}, "memory_per_node: 10485759998951424 is not allowed; MiB"),
        ("slurm", {"time_limit": "999999999d"}, "time_limit: 86399999913600 is not allowed; seconds of a trial"),
        ("slurm", {"max_requeues": 10**9}, "max_requeues: 1000000000 is not allowed; repetitions of a job"),
        ("slurm", {"price_per_hour": float("inf")}, "price_per_hour: expected a number, got inf"),
        ("slurm", {"name": None}, "name: expected one line of text, got None"),
        ("slurm", {"nodes": True}, "nodes: expected a whole number"),
        ("slurm", {"nodes": "2; rm -rf /"}, "nodes: expected a whole number"),
        ("slurm", {"min_nodes": 3}, "min_nodes: 3 is more than nodes (2)"),
        ("slurm", {"time_limit": "soon"}, "time_limit: expected a time span such as 24:00:00, 90m or 2d, got 'soon'"),
        ("slurm", {"time_limit": "4m"}, "stop_notice: 300 s leave no time for trials; with time_limit 240 s it"),
        ("slurm", {"memory_per_node": "much"}, "memory_per_node: expected an amount of memory such as 64G, got 'much'"),
        ("slurm", {"results": "results"}, "results: expected an absolute path or a URI such as s3://bucket/sweeps"),
        ("slurm", {"results": "/a/../../etc"}, "results: expected an absolute path without '..'"),
        ("slurm", {"results": "s3://bucket/../other"}, "results: expected a URI without '..'"),
        ("slurm", {"results": "s3://bucket"}, "work_dir: is missing; job files cannot lie at s3://bucket"),
        ("slurm", {"python": "python3"}, "python: expected an absolute path"),
        ("slurm", {"partition": "gpu\n#SBATCH --uid=0"}, "partition: expected one line of printable text"),
        ("slurm", {"directives": {"nodes": 8}}, "directives.nodes: is set by the profile's key nodes"),
        ("slurm", {"directives": {"wrap": "x"}}, "directives.wrap: is set by the job script itself"),
        ("slurm", {"directives": {"a b": 1}}, "directives: 'a b' is not a valid key here"),
        ("slurm", {"directives": ["--x"]}, "directives: expected a mapping"),
        ("slurm", {"env": {"A-B": "1"}}, "env: 'A-B' is not a valid key here"),
        ("slurm", {"env": {"AWS_SECRET_ACCESS_KEY": "abc"}}, "env.AWS_SECRET_ACCESS_KEY: looks like a secret"),
        ("slurm", {"temp_dir": "/local/scratch/of/a/long/name"}, "too long for Ray's Unix sockets"),
        ("slurm", {"price_per_hour": -1}, "price_per_hour: expected a price of zero or more, got -1"),
        ("slurm", {"container_command": "docker"}, "container_command: 'docker' is not known"),
        ("kuberay", {"results": "/shared"}, "results_claim: is missing: /shared must be a volume that every pod"),
        ("kuberay", {"image": "$(id)"}, "image: expected an image reference"),
        ("kuberay", {"tolerations": [{"kye": "gpu"}]}, "tolerations[0]: 'kye' is not a valid key here"),
        ("ray-up", {"provider": "azure"}, "provider: 'azure' is not known"),
        ("ray-up", {"provider": "gcp"}, "zone: is missing; gcp needs it"),
        ("ray-up", {"results": "/shared"}, "machines of a cloud share no disk"),
        ("ssh", {"hosts": []}, "hosts: expected a list of at least 1 item(s)"),
        ("ssh", {"hosts": ["-oProxyCommand=id"]}, "hosts[0]: expected host or user@host"),
        ("ssh", {"hosts": ["-Fevil.conf@h1"]}, "hosts[0]: expected host or user@host, got '-Fevil.conf@h1'"),
        ("ssh", {"hosts": ["u@-oProxyCommand=id"]}, "hosts[0]: expected host or user@host"),
        ("ssh", {"hosts": ["ünï@h"]}, "hosts[0]: expected host or user@host"),
        ("ssh", {"hosts": ["a", "a"]}, "hosts: a machine is named twice"),
        ("ssh", {"nodes": 2}, "nodes: 'nodes' is not known"),
        ("ray-up", {"disk_gb": 10**9}, "disk_gb: expected a whole number from 20 to 65536, got 1000000000"),
    ],
)  # fmt: skip
def test_a_wrong_profile_is_one_line_that_names_the_key(kind, settings, message, changed):
    with pytest.raises(ProfileError) as error:
        parse_profile(changed(kind, **settings))
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("kind: [", "not valid YAML"),
        ("- slurm\n", "expected a mapping with at least `kind`, got list"),
        ("kind: ssh\nkind: slurm\n", "key 'kind' is given twice"),
        (
            "!!python/object/apply:os.system ['touch /tmp/owned']",
            "the tag 'tag:yaml.org,2002:python/object/apply:os.system'",
        ),
    ],
)
def test_a_file_that_is_no_profile_is_one_line(text, message):
    with pytest.raises(ProfileError) as error:
        parse_profile(text)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_the_message_names_the_file(tmp_path, changed, smallest):
    path = tmp_path / "gpu.yaml"
    with pytest.raises(ProfileError, match="gpu.yaml: no such profile"):
        load_profile(path)
    path.write_text(changed("slurm", nodes=-1))
    with pytest.raises(ProfileError, match="gpu.yaml: nodes: -1 is not allowed"):
        load_profile(path)
    path.write_text(smallest["slurm"])
    assert load_profile(path).name == "gpu"


@pytest.mark.parametrize(
    ("written", "seconds"),
    [("24:00:00", 86400), ("'24:00:00'", 86400), ("1-12:00:00", 129600), ("1-12:00", 129600),
     ("90m", 5400), ("2d", 172800), ("20:30", 1230),
     ("1200", 1200)],
)  # fmt: skip
def test_time_spans_are_read_as_slurm_reads_them(written, seconds, smallest):
    text = smallest["slurm"].replace("00:20:00", written)
    assert parse_profile(text).time_limit == seconds


@pytest.mark.parametrize(("written", "mebibytes"), [("4G", 4096), ("512M", 512), ("2Ti", 2097152), ("64GB", 65536)])
def test_memory_is_read_in_powers_of_1024(written, mebibytes, changed):
    assert parse_profile(changed("slurm", memory_per_node=written)).memory_per_node == mebibytes


def test_the_readme_names_every_setting():
    readme = (Path(__file__).parents[3] / "cluster" / "README.md").read_text()
    missing = {(kind, f.name) for kind in KINDS for f in fields(KINDS[kind]) if f"`{f.name}`" not in readme}
    assert not missing


HOSTILE = "a b$(touch owned)`touch owned`;touch owned\"'|touch owned&#x\\"


def test_no_value_of_a_profile_becomes_a_command(tmp_path, job_of, profile_of):
    from cluster.kinds import slurm, ssh

    profile = profile_of("slurm", env={"HOSTILE": HOSTILE}, modules=[HOSTILE], partition=HOSTILE, account=HOSTILE,
                         python=f"/{HOSTILE}", results=f"/{HOSTILE}", directives={"comment": HOSTILE})  # fmt: skip
    job = job_of(profile, sweep=HOSTILE.replace("/", ""), arguments=("--device", HOSTILE))
    head = slurm.render(profile, job)[slurm.SCRIPT].partition("cd ")[0].replace("module load", "printf '%s\\n'")
    shown = bash(head + '\nprintf "%s\\n" "$HOSTILE" "${python[@]}" "${launch[@]}"', tmp_path)
    launch = ["launch", f"{job.folder}/{job.grid_file}", "--results", f"/{HOSTILE}/demo", "--device", HOSTILE]
    assert shown.splitlines() == [HOSTILE, HOSTILE, f"/{HOSTILE}", "-m", "sweeper.cli", *launch]
    other = profile_of("ssh", env={"HOSTILE": HOSTILE}, work_dir=f"/{HOSTILE}")
    head = ssh.render(other, job_of(other))[ssh.SCRIPT].partition("cd ")[0]
    assert bash(head + '\nprintf "%s\\n" "$HOSTILE" "$folder"', tmp_path).splitlines()[0] == HOSTILE
    assert not (tmp_path / "owned").exists()


def bash(text: str, folder) -> str:
    return subprocess.run(["bash", "-c", text], cwd=folder, capture_output=True, text=True, check=True).stdout


def documented_settings() -> dict[str, dict[str, str]]:
    """Default of each setting by kind, as the tables of the README state it."""
    readme = (Path(__file__).parents[3] / "cluster" / "README.md").read_text(encoding="utf-8")
    section = readme.split("## Every setting of a profile")[1].split("\n## ")[0]
    tables = re.split(r"^(?:`kind: ([a-z-]+)`|Every kind):$", section, flags=re.MULTILINE)
    return {
        kind or "": dict(re.findall(r"^\| `(\w+)` \| (.*?) \| \S", table, re.MULTILINE))
        for kind, table in zip(tables[1::2], tables[2::2], strict=True)
    }


def stated_default(setting) -> str:
    if setting.name == "name":
        return "the file's stem"
    value = setting.default if setting.default_factory is MISSING else setting.default_factory()
    if value is MISSING:
        return "required"
    return "–" if value in (None, (), {}) else f"`{str(value).lower() if isinstance(value, bool) else value}`"


def test_the_readme_lists_every_setting_with_its_default():
    common = {f.name: stated_default(f) for f in fields(Profile)}
    expected = {"": common}
    for kind, cls in KINDS.items():
        of_kind = [f for f in fields(cls) if "read" in f.metadata and f.name not in common]
        expected[kind] = {f.name: stated_default(f) for f in of_kind}
    assert documented_settings() == expected


def test_every_time_span_may_be_written_as_people_do(profile_of):
    slurm = profile_of("slurm", stop_notice="2m", start_timeout="5m")
    kuberay = profile_of("kuberay", keep_after="2h", idle_timeout="90s")
    assert (slurm.stop_notice, slurm.start_timeout, kuberay.keep_after, kuberay.idle_timeout) == (120, 300, 7200, 90)
    assert profile_of("kuberay", keep_after=0).keep_after == 0
    for notice in (0, "59s", True, "soon"):
        with pytest.raises(ProfileError, match="stop_notice: expected "):
            profile_of("slurm", stop_notice=notice)
