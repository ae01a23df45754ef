"""The faults that `benchmarks.faults` draws from: at rest, at the start of a launch, or while it runs."""

import json
import os
import random
import resource
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil

from benchmarks.fault_site import EARLY, LANES_SERVER, REST, RUN, START, Kind, Launch, Site, Start
from sweeper.store.schema import SCHEMAS

_SHORT_STOP_S = 5.0
_LONG_STOP_S = 65.0
"""Seconds: longer than the silence after which the broker gives a lane up."""
_FILE_BYTES = 2048
"""Longest file in a launch that can write no rows: they take more."""


def kinds() -> list[Kind]:
    """Every kind, in a fixed order."""
    return [*_killed(), *_signals(), *_outputs(), *_caches(), *_clocks(), *_machines(), *_damage(), *_strangers()]


def _signalled(*numbers: int, group: bool = True) -> Callable[[Site, random.Random, Launch], bool]:
    def act(site: Site, draw: random.Random, launch: Launch) -> bool:
        for number in numbers:
            launch.signal(number, group=group)
            time.sleep(draw.uniform(0.2, 0.6))
        return True

    return act


def _killed_child(pattern: str | None) -> Callable[[Site, random.Random, Launch], bool]:
    def act(site: Site, draw: random.Random, launch: Launch) -> bool:
        found = launch.lanes() if pattern is None else launch.children(pattern)
        if found:
            draw.choice(found).kill()
        return bool(found)

    return act


def _killed_server(site: Site, draw: random.Random, launch: Launch) -> bool:
    lanes = {lane.pid for lane in launch.lanes()}
    servers = [process for process in launch.children(LANES_SERVER) if process.pid not in lanes]
    for server in servers:
        server.kill()
    return bool(servers)


def _killed() -> Iterator[Kind]:
    yield Kind(letter="K", name="lane killed", when=RUN, act=_killed_child(None), executor="processes")
    yield Kind(letter="K", name="server of lanes killed", when=RUN, act=_killed_server, executor="processes")
    yield Kind(letter="K", name="launcher killed", when=RUN, act=_signalled(signal.SIGKILL, group=False), ends=True)
    yield Kind(letter="K", name="whole group killed", when=RUN, act=_signalled(signal.SIGKILL), ends=True)
    yield Kind(letter="K", name="files end at 2 KB", when=START, act=_limited(resource.RLIMIT_FSIZE, _FILE_BYTES))
    yield Kind(letter="K", name="disk full", when=RUN, act=_full_disk, ends=True, on_disk=True)
    yield Kind(letter="K", name="disk read-only", when=RUN, act=_read_only, ends=True, on_disk=True)
    yield Kind(letter="J", name="Ray lane killed", when=RUN, act=_killed_child(None), executor="ray")
    yield Kind(letter="J", name="gcs killed", when=RUN, act=_killed_child("gcs_server"), executor="ray")
    yield Kind(letter="J", name="raylet killed", when=RUN, act=_killed_child("/raylet "), executor="ray")


def _full_disk(site: Site, draw: random.Random, launch: Launch) -> bool:
    size, more = 0, 1 << 20
    with open(site.ballast, "wb") as file:
        while more >= 4096:
            try:
                os.posix_fallocate(file.fileno(), size, more)
                size += more
            except OSError:
                more //= 2
    return True


def _read_only(site: Site, draw: random.Random, launch: Launch) -> bool:
    for _ in range(200):  # refused as busy at a moment in which a file is being written
        if subprocess.run(["mount", "-o", "remount,ro", str(site.disk)], capture_output=True).returncode == 0:
            return True
        time.sleep(0.02)
    return False


def _signals() -> Iterator[Kind]:
    for name, numbers in (
        ("TERM", [signal.SIGTERM]),
        ("HUP", [signal.SIGHUP]),
        ("Ctrl-C", [signal.SIGINT]),
        ("Ctrl-C twice", [signal.SIGINT, signal.SIGINT]),
    ):
        yield Kind(letter="A", name=f"{name} to the group", when=RUN, act=_signalled(*numbers), ends=True)
    act = _signalled(signal.SIGTERM)
    yield Kind(letter="A", name="TERM to the group under Ray", when=RUN, act=act, executor="ray", ends=True)
    for name, number in (("TERM", signal.SIGTERM), ("Ctrl-C", signal.SIGINT)):
        yield Kind(letter="A", name=f"{name} while it starts", when=EARLY, act=_early(number))


def _early(number: int) -> Callable[[Site, random.Random, Launch], bool]:
    def act(site: Site, draw: random.Random, launch: Launch) -> bool:
        for _ in range(250):  # until it has said something: the interpreter itself is starting
            if launch.process.poll() is not None or launch.log.stat().st_size:
                break
            time.sleep(0.02)
        time.sleep(draw.uniform(0.0, 4.0))
        launch.early = True
        launch.signal(number)
        return number in launch.sent

    return act


def _outputs() -> Iterator[Kind]:
    yield Kind(letter="B", name="reader of the output gone", when=START, act=_output("gone"))
    yield Kind(letter="B", name="log on a full disk", when=START, act=_output("full"))


def _output(where: str) -> Callable[[Site, random.Random, Start], bool]:
    def act(site: Site, draw: random.Random, start: Start) -> bool:
        start.output = where
        return True

    return act


def _caches() -> Iterator[Kind]:
    for name, share in (("cut to half", 0.5), ("emptied", 0.0)):
        act = _of_files(lambda site: site.cache.glob("*/*.so"), _cut(share))
        yield Kind(letter="C", name=f"kernel {name}", when=REST, act=act)
    for name, harm in (("cut", _cut(0.5)), ("with a flipped bit", _flip)):
        act = _of_files(lambda site: (site.results / "checkpoints").glob("*.pt"), harm)
        yield Kind(letter="C", name=f"checkpoint {name}", when=REST, act=act)


def _of_files(
    listed: Callable[[Site], Iterator[Path]], harm: Callable[[Path, random.Random], None]
) -> Callable[[Site, random.Random], bool]:
    """Harm one of some files that are there and not empty."""

    def act(site: Site, draw: random.Random) -> bool:
        found = sorted(path for path in listed(site) if path.is_file() and path.stat().st_size)
        if found:
            harm(draw.choice(found), draw)
        return bool(found)

    return act


def _cut(share: float) -> Callable[[Path, random.Random], None]:
    return lambda path, draw: os.truncate(path, int(share * path.stat().st_size))


def _flip(path: Path, draw: random.Random) -> None:
    whole = bytearray(path.read_bytes())
    whole[draw.randrange(len(whole))] ^= 1 << draw.randrange(8)
    path.write_bytes(whole)


def _clocks() -> Iterator[Kind]:
    for name, shift in (("5 min ahead", 300), ("5 min behind", -300)):
        yield Kind(letter="D", name=f"clock {name}", when=START, act=_shifted(shift), executor="processes")
    yield Kind(letter="D", name="second launch at the same time", when=RUN, act=_twin(0))
    yield Kind(letter="D", name="second launch, clock 5 min ahead", when=RUN, act=_twin(300))
    yield Kind(letter="D", name="lane stopped for 5 s", when=RUN, act=_stopped(1, _SHORT_STOP_S))
    yield Kind(letter="D", name="launcher stopped for 5 s", when=RUN, act=_stopped(0, _SHORT_STOP_S))
    yield Kind(letter="D", name="all lanes stopped for 65 s", when=RUN, act=_stopped(99, _LONG_STOP_S), slow=True)


def _shifted(seconds: int) -> Callable[[Site, random.Random, Start], bool]:
    def act(site: Site, draw: random.Random, start: Start) -> bool:
        start.environment |= {"LD_PRELOAD": str(site.clock), "CLOCK_SHIFT_S": str(seconds)}
        return True

    return act


def _twin(shift: int) -> Callable[[Site, random.Random, Launch], bool]:
    def act(site: Site, draw: random.Random, launch: Launch) -> bool:
        start = Start()
        _shifted(shift)(site, draw, start)
        twin = launch.again(start)
        time.sleep(draw.uniform(6.0, 12.0))
        twin.signal(signal.SIGTERM)
        return True

    return act


def _stopped(lanes: int, seconds: float) -> Callable[[Site, random.Random, Launch], bool]:
    """Stop some lanes, or the launcher, for a while."""

    def act(site: Site, draw: random.Random, launch: Launch) -> bool:
        found = launch.lanes()[:lanes] if lanes else [psutil.Process(launch.process.pid)]
        for process in found:
            process.suspend()
        time.sleep(seconds)
        for process in found:
            if process.is_running():
                process.resume()
        return bool(found)

    return act


def _machines() -> Iterator[Kind]:
    yield Kind(letter="E", name="256 open files", when=START, act=_limited(resource.RLIMIT_NOFILE, 256))
    yield Kind(letter="E", name="home that cannot be written", when=START, act=_with("HOME", "/proc"))
    yield Kind(letter="E", name="temporary directory of 120 letters", when=START, act=_long_tmpdir, executor="ray")
    yield Kind(letter="F", name="results moved away half-way", when=RUN, act=_moved_away, ends=True)
    for name, text in (
        ("asks for billions of points", "name: mix\nbudgets: [4000]\nseeds: 1000000000\ntask: {name: text}\n"),
        ("is a bomb of aliases", _bomb()),
    ):
        yield Kind(letter="H", name=f"grid {name}", when=REST, act=_grid(text))


def _limited(number: int, most: int) -> Callable[[Site, random.Random, Start], bool]:
    def act(site: Site, draw: random.Random, start: Start) -> bool:
        start.limits = {number: most}
        return True

    return act


def _with(name: str, value: str) -> Callable[[Site, random.Random, Start], bool]:
    def act(site: Site, draw: random.Random, start: Start) -> bool:
        start.environment |= {name: value}
        return True

    return act


def _long_tmpdir(site: Site, draw: random.Random, start: Start) -> bool:
    folder = site.folder / ("t" * 120)
    folder.mkdir(exist_ok=True)
    start.environment |= {"TMPDIR": str(folder)}
    return True


def _moved_away(site: Site, draw: random.Random, launch: Launch) -> bool:
    away = site.results.with_name("away")
    site.results.rename(away)
    try:
        launch.process.wait(120)
    except subprocess.TimeoutExpired:
        launch.signal(signal.SIGKILL)
        return False
    finally:
        if site.results.exists():  # made anew: then its rows are lost, and the verdict shows it
            shutil.rmtree(site.results)
        away.rename(site.results)
    return True


def _bomb() -> str:
    lines = ["name: mix", "a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]
    return "\n".join(lines) + "\n"


def _grid(text: str) -> Callable[[Site, random.Random], bool]:
    def act(site: Site, draw: random.Random) -> bool:
        site.grid.write_text(text)
        return True

    return act


def _damage() -> Iterator[Kind]:
    for name, harm in (
        ("cut", _cut(0.5)),
        ("emptied", _cut(0.0)),
        ("without its last byte", lambda path, draw: os.truncate(path, path.stat().st_size - 1)),
    ):
        yield Kind(letter="G", name=f"part file {name}", when=REST, act=_of_files(_parts_of(*SCHEMAS), harm))
    for table in SCHEMAS:
        act = _of_files(_parts_of(table), _flip)
        yield Kind(letter="G", name=f"bit flipped in {table}", when=REST, act=act)


def _parts_of(*tables: str) -> Callable[[Site], Iterator[Path]]:
    return lambda site: (path for table in tables for path in (site.results / table).glob("[!.]*.parquet"))


def _strangers() -> Iterator[Kind]:
    for name in ("trials/x.parquet", "launches/x.json", "grids/x.yaml"):
        yield Kind(letter="I", name=f"pipe as {name}", when=REST, act=_pipe(name))
    states = {
        "a brace": "{",
        "no fields": "[]",
        "updated in the year 33658": json.dumps({"sweep": "mix", "pid": 1, "updated": 1e12, "running": ["0" * 16]}),
    }
    for number, (name, text) in enumerate(states.items()):
        path = f"launches/20200101T00000{number}-aaaaaa.json"
        yield Kind(letter="I", name=f"state of a launch: {name}", when=REST, act=_planted(path, text))


def _pipe(name: str) -> Callable[[Site, random.Random], bool]:
    def act(site: Site, draw: random.Random) -> bool:
        path = site.results / name
        if not path.parent.exists() or path.exists():
            return False
        os.mkfifo(path)
        return True

    return act


def _planted(name: str, text: str) -> Callable[[Site, random.Random], bool]:
    def act(site: Site, draw: random.Random) -> bool:
        path = site.results / name
        if path.parent.exists():
            path.write_text(text)
        return path.parent.exists()

    return act
