"""Pages for people who use the program, and what makes the generated ones: `python -m docs.reference`."""
