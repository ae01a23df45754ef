"""Output that cannot be written costs lines alone: a full disk, a reader that has gone, one that does not read."""

import os

import pytest

from sweeper.output import BestEffortStream


@pytest.fixture
def full():
    with open("/dev/full", "w") as stream:
        yield stream
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())  # or closing it would complain of what is left


@pytest.fixture
def gone():
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as stream:
        yield stream


@pytest.mark.parametrize("where", ["full", "gone"])
def test_a_full_disk_and_a_reader_that_has_gone_cost_lines_alone(where, request):
    stream = BestEffortStream(request.getfixturevalue(where))
    for _ in range(3):
        print("a line", file=stream, flush=True)
    stream.end()


@pytest.mark.timeout(60)  # waited for with each line it would take 100 s
def test_a_reader_that_does_not_read_is_waited_for_once():
    reading, writing = os.pipe()
    with os.fdopen(writing, "w") as pipe:
        stream = BestEffortStream(pipe)
        for _ in range(100):
            print("x" * 65_536, file=stream, flush=True)
        stream.end()
        assert os.read(reading, 1) == b"x"
        os.close(reading)
