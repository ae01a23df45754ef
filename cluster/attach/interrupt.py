"""Asks the launcher on this machine to let its running trials end: `python -m cluster.attach.interrupt`.

Job images need not have pgrep or pkill. With `--look` it only says `@on` where a launcher runs.
"""

import signal
import sys

import psutil

LAUNCHER = ("-m", "sweeper.cli", "launch")
"""What a launcher's command line begins with, after the interpreter."""


def launchers() -> list[psutil.Process]:
    """The launchers of this user on this machine."""
    me = psutil.Process().username()
    running = psutil.process_iter(["cmdline", "username"])
    return [p for p in running if p.info["username"] == me and tuple((p.info["cmdline"] or [])[1:4]) == LAUNCHER]


def main(arguments: list[str]) -> int:
    """See the module; the exit code is 1 where no launcher runs."""
    running = launchers()
    for launcher in running:
        if arguments == ["--look"]:
            print("@on")
        else:
            launcher.send_signal(signal.SIGINT)  # as one Ctrl-C
    return 0 if running or arguments == ["--look"] else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
