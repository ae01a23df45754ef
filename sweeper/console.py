"""The console that commands print on: texts are shown as they are, whatever stands in a row, a file or a name."""

from typing import Any

from rich.console import Console
from rich.text import Text

from cluster.errors import printable


class PrintableConsole(Console):
    """A console to which no control character of a text gets through."""

    def render_str(self, text: str, **options: Any) -> Text:
        """A text with control characters written out."""
        return super().render_str(printable(text), **options)


class PlainConsole(PrintableConsole):
    """A console without markup and emoji codes.

    Reasons, hosts and names come from rows and files that others wrote: `[/data/x.h5]` would end a style that was never
    begun.
    """

    def render_str(self, text: str, **options: Any) -> Text:
        """A text as it is."""
        return super().render_str(text, **{**options, "markup": False, "emoji": False})
