"""The commands of `sweeper`, by what they work on. Each imports what it needs inside: `--help` loads them all."""
