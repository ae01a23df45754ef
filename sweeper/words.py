"""How commands and reports write what they count."""


def counted(count: int, noun: str) -> str:
    """A count with its noun.

    >>> counted(1, "trial"), counted(1200, "trial")
    ('1 trial', '1,200 trials')
    """
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
