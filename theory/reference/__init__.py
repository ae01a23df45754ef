"""How many digits the numbers of `theory` have, against public references: `python -m theory.reference`."""
