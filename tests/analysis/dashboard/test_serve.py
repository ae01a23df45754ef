"""The live page: fresh when rows arrive, silent when not, closed to others, and gone on Ctrl-C."""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest

from analysis.commands.groups import make_views
from analysis.commands.pages import dashboard_payload
from analysis.dashboard import serve
from analysis.errors import AnalysisError
from analysis.laws.theory_fit import FitSettings
from analysis.rows.sweep import Selection
from benchmarks.synthetic import Design, write_sweep
from sweeper.errors import StoreError
from sweeper.store.store import ResultsStore


@pytest.fixture
def served(tmp_path, monkeypatch):
    """A results directory with 12 trials and its server; yields (directory, port)."""
    monkeypatch.setattr(serve, "IDLE_FACTOR", 0.0)
    monkeypatch.setattr(serve, "POLL_MS", 200)
    write_sweep(tmp_path / "live", Design(budgets=(30_000, 90_000), d_m=(3, 6, 12), seeds=2))
    yield from running(tmp_path / "live")


def running(path):
    def build(sweep, live):
        settings = FitSettings(law="quadratic")
        views = make_views(sweep, Selection(), settings)
        return dashboard_payload(sweep, views, Selection(), live=live)

    server = serve.make_server(str(path), build, host="127.0.0.1", port=0)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield path, server.server_address[1]
    server.shutdown()
    server.server_close()
    thread.join()


def ask(port, path, **headers):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    connection.request("GET", path, headers=headers)
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer.status, dict(answer.getheaders()), body


def test_data_come_with_a_tag_and_nothing_new_is_304(served, trial):
    path, port = served
    status, headers, body = ask(port, "/data.json")
    assert status == 200
    assert json.loads(body)["total"] == 12
    assert ask(port, "/data.json", **{"If-None-Match": headers["ETag"]})[0] == 304
    ResultsStore.create(path).write("trials", [trial("new", d_m=6, budget=30_000, n_out=30, task="adding")])
    status, _, body = ask(port, "/data.json", **{"If-None-Match": headers["ETag"]})
    assert status == 200
    assert json.loads(body)["total"] == 13


def test_single_trials_are_read_when_asked_for(served):
    _, port = served
    _, _, body = ask(port, "/trials.json?ids=t0000001,t0000003,nothing")
    found = json.loads(body)
    assert set(found) == {"t0000001", "t0000003"}
    assert len(found["t0000001"]["curves"]["valid"]["step"]) == 20


def test_only_its_own_name_is_answered_and_only_get(served):
    _, port = served
    assert ask(port, "/", Host="evil.example")[0] == 403
    assert ask(port, "/data.json", Host=f"localhost:{port}")[0] == 200
    assert ask(port, "/../../etc/passwd")[0] == 404
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    connection.request("POST", "/data.json", body=b"x")
    assert connection.getresponse().status == 501
    connection.close()


def test_the_page_may_speak_to_its_own_server_only(served):
    _, port = served
    status, headers, body = ask(port, "/")
    assert status == 200
    assert headers["Cache-Control"] == "no-store"
    assert b"connect-src 'self'" in body
    assert b'"live":true' in body


def test_nothing_is_written_into_the_directory(served):
    path, port = served
    before = sorted((p, p.stat().st_mtime_ns) for p in path.rglob("*"))
    for address in ("/", "/data.json", "/trials.json?ids=t0000001"):
        ask(port, address)
    assert sorted((p, p.stat().st_mtime_ns) for p in path.rglob("*")) == before


def test_a_torn_file_leaves_the_last_state_standing(served):
    path, port = served
    before = ask(port, "/data.json")[2]
    torn = path / "trials" / "copying.parquet"
    torn.write_bytes(b"PAR1 half")
    assert ask(port, "/data.json")[2] == before
    torn.unlink()
    assert ask(port, "/data.json")[0] == 200


def test_an_empty_directory_is_served(tmp_path):
    ResultsStore.create(tmp_path / "empty")
    for path, port in running(tmp_path / "empty"):
        assert path.exists()
        assert json.loads(ask(port, "/data.json")[2])["warnings"] == ["No finished trial with a value yet."]


def test_a_taken_port_and_a_missing_directory_are_one_line(served, tmp_path):
    _, port = served
    with pytest.raises(AnalysisError, match=f"--port {port}: cannot listen: Address already in use"):
        serve.make_server(str(served[0]), lambda sweep, live: {}, host="127.0.0.1", port=port)
    with pytest.raises(StoreError, match="not a results directory"):
        serve.make_server(str(tmp_path / "none"), lambda sweep, live: {}, host="127.0.0.1", port=0)


def test_aggregation_takes_at_most_a_tenth_of_the_time(tmp_path, monkeypatch):
    write_sweep(tmp_path / "live", Design(budgets=(30_000,), d_m=(3,), seeds=1))
    built = []

    def slow(sweep, live):
        built.append(time.monotonic())
        time.sleep(0.05)
        return {"n": len(built)}

    live = serve.Live(str(tmp_path / "live"), slow)
    monkeypatch.setattr(serve, "fingerprint", lambda uri: str(time.monotonic()))  # something new every time
    begin = time.monotonic()
    while time.monotonic() - begin < 1.2:
        live.current()
        time.sleep(0.005)
    assert 1 <= len(built) <= 3


def test_ctrl_c_stops_it(sweep_dir):
    command = [sys.executable, "-m", "analysis.cli", "serve", str(sweep_dir), "--port", "0", "--law", "quadratic"]
    # A shell starts what runs in its background deaf to Ctrl-C, the tests and so their children among it.
    heard = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, text=True, env=os.environ | {"PYTHONUNBUFFERED": "1"}
        )
    finally:
        signal.signal(signal.SIGINT, heard)
    with process:
        try:
            assert "serving" in process.stdout.readline()
            process.send_signal(signal.SIGINT)
            assert process.wait(timeout=60) == 0
        finally:
            process.kill()


@pytest.mark.parametrize("line", [b"\xff\xfe\x00\r\n\r\n", b"GET //[ HTTP/1.1\r\n\r\n", b"GET / HTTP/9.x\r\n\r\n"])
def test_a_broken_request_line_prints_nothing_and_the_next_one_is_answered(served, capfd, line):
    _, port = served
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        connection.sendall(line)
        connection.shutdown(socket.SHUT_WR)
        assert connection.recv(1000).startswith((b"HTTP/1.", b"<!DOCTYPE"))
    assert ask(port, "/launches.json")[0] == 200
    assert capfd.readouterr().err == ""


def test_connections_are_bounded_and_those_that_say_nothing_are_closed(tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(serve, "CONNECTIONS", 3)
    monkeypatch.setattr(serve.Handler, "timeout", 0.5)
    ResultsStore.create(tmp_path / "empty")
    for _, port in running(tmp_path / "empty"):
        silent = [socket.create_connection(("127.0.0.1", port), timeout=20) for _ in range(20)]
        silent[0].sendall(b"GET /data.json HTTP/1.1\r\nHost: local")  # half a request
        assert {connection.recv(1) for connection in silent} == {b""}  # closed, each of them
        for connection in silent:
            connection.close()
        assert ask(port, "/launches.json")[0] == 200
    assert capfd.readouterr().err == ""


def test_a_directory_that_goes_away_is_one_line_to_the_page(served, capfd):
    path, port = served
    (path / "store.json").rename(path / "gone.json")
    status, _, body = ask(port, "/launches.json")
    assert (status, b"not a results directory" in body) == (503, True)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("host", ["999.1.1.1", "no such host", "a" * 300])
def test_an_address_that_cannot_be_used_is_refused_before_anything_is_read_and_fitted(tmp_path, host):
    ResultsStore.create(tmp_path / "r")

    def build(sweep, live):
        raise AssertionError("nothing is to be fitted")

    with pytest.raises(AnalysisError, match=f"--host {host} --port 0: cannot listen: "):
        serve.make_server(str(tmp_path / "r"), build, host=host, port=0)
