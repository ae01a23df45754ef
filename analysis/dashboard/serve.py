"""The page, live: a small read-only server that follows a results directory while trials finish.

The page asks for ``data.json`` every few seconds and gets 304 when nothing changed, and for ``launches.json``, which
says what runs. The rows are read through the store, which never locks; they are aggregated at most once per change, and
never more than a tenth of the time.
"""

import hashlib
import json
import sys
import threading
import time
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from analysis.dashboard import page
from analysis.dashboard.running import Plans, running_now
from analysis.errors import AnalysisError
from analysis.html import to_json
from analysis.rows.load import read_sweep
from analysis.rows.sweep import Sweep
from cluster.errors import joined
from sweeper.errors import SweeperError
from sweeper.store.store import ResultsStore

POLL_MS = 5000
"""How often the page asks."""

IDLE_FACTOR = 9.0
"""Pause after an aggregation, in units of its duration: at most a tenth of the time is spent aggregating."""

ASKED = 200
"""Most trials whose curves one request may ask for."""

CONNECTIONS = 64
"""Most connections at a time: browsers open six to one address, so that ten people can watch."""

SILENT_S = 30.0
"""Seconds after which a connection that says nothing is closed; pages ask every five."""

LOOPBACK = ("127.0.0.1", "localhost", "::1")

Build = Callable[[Sweep, Mapping[str, Any]], dict[str, Any]]
"""From all rows and the settings of the live page to its payload."""


class Live:
    """The current payload of a results directory, rebuilt when its rows change."""

    def __init__(self, uri: str, build: Build) -> None:
        self._uri, self._build = uri, build
        self._lock = threading.Lock()
        self._fingerprint = ""
        self._next = 0.0
        self._body = b""
        self._table = b""
        self._tag = ""
        self._sweep: Sweep | None = None
        self._trouble = ""
        self._plans = Plans()

    def current(self) -> tuple[bytes, str]:
        """Return the payload as JSON and its tag; rows that cannot be read just now leave the last payload standing."""
        with self._lock:
            # Under the lock, so that several open pages wait for one aggregation and do not start one each.
            if time.monotonic() >= self._next:
                self._refresh()
            return self._body, self._tag

    def table(self) -> bytes:
        """The table of all trials, as JSON, of the payload that was sent last."""
        with self._lock:
            return self._table

    def launches(self) -> dict[str, Any]:
        """What runs just now; asked for at every poll, and cheap: a few small files."""
        return running_now(ResultsStore.open(self._uri), self._plans)._asdict()

    def records(self, trial_ids: list[str]) -> dict[str, Any]:
        """Specs and curves of some trials, read when asked for."""
        with self._lock:
            sweep = self._sweep
        if sweep is None:
            return {}
        trials = sweep.trials[sweep.trials["trial_id"].isin(trial_ids[:ASKED])]
        return page.records(sweep, trials)

    def _refresh(self) -> None:
        begin = time.monotonic()
        try:
            # Before the rows are read: a trial that ends in between is then found at the next look and not missed.
            digest = fingerprint(self._uri)
            if digest == self._fingerprint and not self._trouble:
                return
            sweep = read_sweep(self._uri)
            live = {"poll_ms": POLL_MS, "running": _ended(sweep), "longest_s": _longest(sweep)}
            content = self._build(sweep, live)
            table = to_json(content.pop("table", {})).encode()  # asked for only where somebody looks at it
            body = to_json(content).encode()
            self._trouble = ""
        except SweeperError as error:  # a file may be half copied: the page stays as it was until the next look
            if not self._body:
                raise
            self._trouble = str(error)
            return
        finally:
            # Also after an error or when nothing changed: looking costs time as well.
            self._next = time.monotonic() + IDLE_FACTOR * (time.monotonic() - begin)
        self._fingerprint, self._sweep, self._body, self._table = digest, sweep, body, table
        self._tag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'


def fingerprint(uri: str) -> str:
    """Hash of which attempts have rows: it changes whenever a trial ends."""
    # Two columns instead of the modification times of files: times say little on object storage, and compaction
    # rewrites files without new rows.
    rows = ResultsStore.open(uri).read("trials", ["trial_id", "attempt"])
    digest = hashlib.sha256()
    # Sorted, because parts are read in no fixed order.
    for pair in sorted(zip(rows["trial_id"].to_pylist(), rows["attempt"].to_pylist(), strict=True)):
        digest.update(repr(pair).encode())
    return digest.hexdigest()


def _ended(sweep: Sweep) -> str:
    return f"{len(sweep.trials):,} trials ended"


def _longest(sweep: Sweep) -> float:
    """Seconds without news after which something may be wrong: twice the longest trial, at least a minute."""
    wall = sweep.trials["wall_s"].astype("float64")
    return max(60.0, 2 * float(wall.max())) if wall.notna().any() else 60.0


class Handler(BaseHTTPRequestHandler):
    """Answers GET for the page, its data and single trials; everything else is refused."""

    protocol_version = "HTTP/1.1"
    timeout = SILENT_S
    live: Live
    hosts: tuple[str, ...]

    def do_GET(self) -> None:
        """Answer one request."""
        host = self.headers.get("Host", "")
        if host.rsplit(":", 1)[0].strip("[]") not in self.hosts:  # another site's page must not read this one
            return self._send(403, b"This server answers to its own name only.\n", "text/plain")
        try:
            address = urlsplit(self.path)
        except ValueError:  # such as the half of an IPv6 address
            return self._send(400, b"No address.\n", "text/plain")
        try:
            return self._answer(address.path, address.query)
        except SweeperError as error:  # the results directory went away, or cannot be read just now
            return self._send(503, f"{joined(error)}\n".encode(), "text/plain; charset=utf-8")

    def _answer(self, path: str, query: str) -> None:
        if path == "/":
            body, tag = self.live.current()
            # The tag goes into the page, so that its first question can already be answered with 304.
            text = page.html(json.loads(body) | {"tag": tag}, None)
            return self._send(200, text.encode(), "text/html; charset=utf-8")
        if path == "/data.json":
            body, tag = self.live.current()
            if self.headers.get("If-None-Match") == tag:
                return self._send(304, b"", "application/json", tag)
            return self._send(200, body, "application/json", tag)
        if path == "/table.json":
            return self._send(200, self.live.table(), "application/json")
        if path == "/launches.json":
            return self._send(200, to_json(self.live.launches()).encode(), "application/json")
        if path == "/trials.json":
            ids = [name for part in parse_qs(query).get("ids", []) for name in part.split(",")]
            return self._send(200, to_json(self.live.records(ids)).encode(), "application/json")
        return self._send(404, b"Not here.\n", "text/plain")

    def _send(self, status: int, body: bytes, kind: str, tag: str | None = None) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        # HTTP/1.1 keeps the connection open, so only the length tells where an answer ends.
        self.send_header("Content-Length", str(len(body)))
        # The browser keeps no copy: the page holds the tag itself and sends it along.
        self.send_header("Cache-Control", "no-store")
        self.send_header("X-Content-Type-Options", "nosniff")
        if tag:
            self.send_header("ETag", tag)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Stay silent: the page asks every few seconds."""


class Server(ThreadingHTTPServer):
    """Serves a bounded number of connections, each in a thread of its own."""

    # A page that keeps its connection open must not keep the program from ending.
    daemon_threads = True

    def __init__(self, address: tuple[str, int], handler: type[Handler]) -> None:
        self._free = threading.BoundedSemaphore(CONNECTIONS)
        super().__init__(address, handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Start a thread for a connection, or close it where there are too many."""
        if not self._free.acquire(blocking=False):
            self.shutdown_request(request)
            return
        try:
            super().process_request(request, client_address)
        except RuntimeError:  # the system has no further thread
            self._free.release()
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Serve a connection until it ends."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Stay silent about connections that break: browsers close them as they like. A fault of ours is shown."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


def make_server(uri: str, build: Build, *, host: str, port: int) -> Server:
    """Make the server of a results directory; `serve_forever` runs it.

    Args:
        uri: results directory.
        build: makes the payload.
        host: address to listen at.
        port: port, 0 for any free one.

    Raises:
        StoreError: the directory cannot be read.
        AnalysisError: the address cannot be used.
    """
    live = Live(uri, build)
    # The standard library makes a handler for each connection itself, so what it needs is bound to the class.
    handler = type("BoundHandler", (Handler,), {"live": live, "hosts": (*LOOPBACK, host)})
    try:
        # First: reading and fitting may take minutes, and an address that cannot be used is known at once.
        server = Server((host, port), handler)
    except (OSError, UnicodeError) as error:  # UnicodeError: a name that is no host name
        reason = getattr(error, "strerror", None) or joined(error)
        raise AnalysisError(f"--host {host} --port {port}: cannot listen: {reason}") from error
    try:
        # Before anybody is answered: a directory that cannot be read is an error of the command, not of a visitor.
        live.current()
    except BaseException:
        server.server_close()
        raise
    return server
