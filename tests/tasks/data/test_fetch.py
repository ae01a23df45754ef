import contextlib
import dataclasses
import gzip
import hashlib
import http.server
import io
import multiprocessing
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tasks.base import DataSet, RemoteFile
from tasks.data import fetch as fetching
from tasks.data.fetch import fetch, folder_of, is_present
from tasks.errors import DataError
from tasks.verify import problems

PLAIN = bytes(range(256)) * 2000
PACKED = gzip.compress(PLAIN, mtime=0, compresslevel=0)


class Server(http.server.ThreadingHTTPServer):
    """Serves PACKED in several states of repair and writes down every request."""

    requests: list[tuple[str, str | None]]


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        wanted = self.headers["Range"]
        self.server.requests.append((self.path, wanted))
        content = PACKED
        if self.path == "/missing":
            return self.send_error(404)
        if self.path == "/corrupt":
            content = content[:1000] + b"x" + content[1001:]
        start = int(wanted.split("=")[1][:-1]) if wanted and self.path != "/no-ranges" else 0
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        first = len([path for path, _ in self.server.requests if path == self.path]) == 1
        cut = self.path == "/truncated" or (self.path in ("/breaks-once", "/no-ranges") and first)
        self.wfile.write(content[start : start + 100_000] if cut else content[start:])
        return None

    def log_message(self, *arguments: Any) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    running = Server(("127.0.0.1", 0), Handler)
    running.requests = []
    thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield running
    running.shutdown()
    thread.join()
    running.server_close()


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetching.time, "sleep", lambda seconds: None)


def served(server: Server, *paths: str, size: int | None = None) -> DataSet:
    file = RemoteFile(
        name="plain.gz",
        urls=tuple(f"http://127.0.0.1:{server.server_port}{path}" for path in paths),
        size=size,
        digest=f"md5:{hashlib.md5(PACKED).hexdigest()}",
        packing="gzip",
        unpacked="plain",
        unpacked_digest=f"sha256:{hashlib.sha256(PLAIN).hexdigest()}",
    )
    return DataSet(name="made-up", summary="", tasks=(), kind="download", licence="", citation="", files=(file,))


def test_a_good_file_is_fetched_checked_and_unpacked_once(server: Server, tmp_path: Path) -> None:
    entry, heard = served(server, "/good"), []
    assert not is_present(entry, tmp_path)
    folder = fetch(entry, cache_dir=tmp_path, progress=lambda *what: heard.append(what))
    assert (folder / "plain").read_bytes() == PLAIN
    assert heard[-1] == ("plain.gz", len(PACKED), len(PACKED))
    assert is_present(entry, tmp_path)
    assert problems(entry, tmp_path) == []
    fetch(entry, cache_dir=tmp_path)
    assert len(server.requests) == 1
    assert sorted(path.name for path in folder.iterdir()) == [".lock", ".plain.checked", "plain"]


@pytest.mark.parametrize("size", [None, len(PACKED)])
def test_a_broken_connection_is_resumed(server: Server, tmp_path: Path, size: int | None) -> None:
    folder = fetch(served(server, "/breaks-once", size=size), cache_dir=tmp_path)
    assert server.requests == [("/breaks-once", None), ("/breaks-once", "bytes=100000-")]
    assert (folder / "plain").read_bytes() == PLAIN


def test_a_server_without_ranges_starts_over(server: Server, tmp_path: Path) -> None:
    folder = fetch(served(server, "/no-ranges"), cache_dir=tmp_path)
    assert len(server.requests) == 2
    assert (folder / "plain").read_bytes() == PLAIN


def test_the_next_mirror_is_tried(server: Server, tmp_path: Path) -> None:
    fetch(served(server, "/missing", "/corrupt", "/good"), cache_dir=tmp_path)
    assert [path for path, _ in server.requests] == ["/missing", "/corrupt", "/good"]


@pytest.mark.parametrize(
    ("path", "reason"),
    [("/corrupt", r"damaged \(md5:"), ("/truncated", "ended after .* bytes"), ("/missing", "Not Found")],
)
def test_bad_files_are_refused_with_the_manual_steps(server: Server, tmp_path: Path, path: str, reason: str) -> None:
    entry = served(server, path)
    with pytest.raises(DataError, match=rf"^made-up: could not download plain\.gz .*{reason}.*data fetch made-up'$"):
        fetch(entry, cache_dir=tmp_path)
    assert not (folder_of(entry, tmp_path) / "plain").exists()
    assert not is_present(entry, tmp_path)


def test_offline_is_explained(server: Server, tmp_path: Path) -> None:
    file = dataclasses.replace(served(server).files[0], urls=("http://127.0.0.1:1/plain.gz",))
    entry = dataclasses.replace(served(server), files=(file,))
    with pytest.raises(DataError, match=r"Connection refused.*when offline, download it elsewhere, put it into"):
        fetch(entry, cache_dir=tmp_path)


@pytest.mark.parametrize(("name", "content"), [("plain.gz", PACKED), ("plain", PLAIN)])
def test_a_file_put_there_by_hand_is_used(server: Server, tmp_path: Path, name: str, content: bytes) -> None:
    entry = served(server, "/missing")
    folder_of(entry, tmp_path).mkdir(parents=True)
    (folder_of(entry, tmp_path) / name).write_bytes(content)
    assert (fetch(entry, cache_dir=tmp_path) / "plain").read_bytes() == PLAIN
    assert server.requests == []


def test_a_wrong_file_put_there_by_hand_is_refused(server: Server, tmp_path: Path) -> None:
    entry = served(server, "/good")
    folder_of(entry, tmp_path).mkdir(parents=True)
    (folder_of(entry, tmp_path) / "plain").write_bytes(b"something else")
    with pytest.raises(DataError, match=r"plain: damaged \(sha256:.*delete it and fetch again"):
        fetch(entry, cache_dir=tmp_path)


def test_later_damage_is_found(server: Server, tmp_path: Path) -> None:
    entry = served(server, "/good")
    path = fetch(entry, cache_dir=tmp_path) / "plain"
    path.write_bytes(PLAIN[:-1] + b"x")
    assert not is_present(entry, tmp_path)
    assert len(problems(entry, tmp_path)) == 1
    path.unlink()
    assert problems(entry, tmp_path) == [f"{path}: missing"]


def test_zip_members_are_unpacked(server: Server, tmp_path: Path) -> None:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("plain", PLAIN)
    entry = served(server)
    digest = f"md5:{hashlib.md5(content.getvalue()).hexdigest()}"
    file = dataclasses.replace(entry.files[0], name="plain.zip", packing="zip", digest=digest)
    entry = dataclasses.replace(entry, files=(file,))
    folder_of(entry, tmp_path).mkdir(parents=True)
    (folder_of(entry, tmp_path) / "plain.zip").write_bytes(content.getvalue())
    assert (fetch(entry, cache_dir=tmp_path) / "plain").read_bytes() == PLAIN


def test_racing_processes_download_once(server: Server, tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    racers = [
        context.Process(target=fetch, args=(served(server, "/good"),), kwargs={"cache_dir": tmp_path}) for _ in range(4)
    ]
    with contextlib.ExitStack() as stack:
        for racer in racers:
            racer.start()
            stack.callback(racer.join)
    assert [racer.exitcode for racer in racers] == [0] * 4
    assert len(server.requests) == 1
