"""`python -m studies.interior_optimum`: see study.py."""

from studies.interior_optimum.study import cli
from sweeper.errors import run_command

if __name__ == "__main__":
    run_command(cli)
