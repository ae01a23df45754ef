"""`python -m analysis`: the same command where the folder of installed scripts is not on the PATH."""

from analysis.cli import main

if __name__ == "__main__":
    main()
