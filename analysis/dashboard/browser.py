"""A Chromium that is already installed: where it is, and how to start it so that it asks the network for nothing."""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from analysis.errors import AnalysisError

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
"""Names under which it is looked for on the PATH."""

MAC = "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome"
"""On macOS an application is not on the PATH."""

# What a browser asks the network for by itself (updates, sync, first-run pages) is off; and it draws without the
# graphics processor, which a server does not have.
ARGUMENTS = (
    *("--headless", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)

VIRTUAL_MS = 600_000
"""Virtual time the page may take; it stands still while the page works, so a slow machine changes nothing."""

PATIENCE_S = 300
"""Seconds after which a browser that does not answer is ended."""


def find_browser() -> str | None:
    """Path of an installed Chromium or Chrome; `BROWSER_PATH` comes first."""
    # The same variable that Kaleido and other tools read.
    named = os.environ.get("BROWSER_PATH")
    places = [shutil.which(name) for name in ([named] if named else BROWSERS)]
    if not named and Path(MAC).exists():
        places.append(MAC)
    return next((place for place in places if place), None)


def need_browser() -> str:
    """Path of an installed Chromium or Chrome.

    Raises:
        AnalysisError: there is none.
    """
    browser = find_browser()
    if browser is None:
        looked = os.environ.get("BROWSER_PATH") or ", ".join(BROWSERS)
        raise AnalysisError(f"no browser found (looked for {looked}): apt-get install chromium, or set BROWSER_PATH")
    return browser


def arguments() -> list[str]:
    """Switches for a headless start; as root Chromium runs only without its sandbox."""
    return [*ARGUMENTS, *(["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else [])]


def run_page(html: str) -> str:
    """Open a page in headless Chromium, let its scripts finish and return the document they leave behind.

    Args:
        html: the whole page.

    Raises:
        AnalysisError: no browser, or it fails or does not answer.
    """
    return _start(html, "--dump-dom").decode()


PDF_PAGE = """<!doctype html><meta charset="utf-8"><style>
@page {{ size: {width:.3f}mm {height:.3f}mm; margin: 0 }} body {{ margin: 0 }} svg {{ display: block }}
</style>{svg}"""


def print_pdf(svg: str, width_mm: float, height_mm: float) -> bytes:
    """Print a drawing as a PDF of one page of its own size; the letters in it are embedded.

    Args:
        svg: the drawing.
        width_mm: width of the page.
        height_mm: its height.

    Raises:
        AnalysisError: no browser, or it fails or does not answer.
    """
    # A hair of room: a drawing exactly as high as its page spills over to a second one by rounding.
    html = PDF_PAGE.format(svg=svg, width=width_mm, height=height_mm + 0.2)
    # Chromium writes a PDF to a file only; what it prints to its own output is the document of a page.
    with tempfile.TemporaryDirectory(prefix="analysis-") as folder:
        target = Path(folder) / "figure.pdf"
        _start(html, "--no-pdf-header-footer", f"--print-to-pdf={target}")
        # Chromium may end without an error although it printed nothing.
        if not target.exists():
            raise AnalysisError(f"{need_browser()}: printed nothing")
        return target.read_bytes()


def _start(html: str, *orders: str) -> bytes:
    """Start the browser on a page with some orders; returns what it prints."""
    browser = need_browser()
    with tempfile.TemporaryDirectory(prefix="analysis-") as folder:
        page = Path(folder) / "page.html"
        page.write_text(html, encoding="utf-8")
        # A profile of its own: a browser that already runs on the user's would take the command over and end at once.
        switches = [f"--user-data-dir={folder}/profile", f"--virtual-time-budget={VIRTUAL_MS}", *orders]
        command = [browser, *arguments(), *switches, page.as_uri()]
        try:
            done = subprocess.run(command, capture_output=True, timeout=PATIENCE_S)
        except subprocess.TimeoutExpired as error:
            raise AnalysisError(f"{browser}: no answer within {PATIENCE_S} s") from error
    if done.returncode:
        # The last line, because Chromium warns about many things before it says what ended it.
        last_words = done.stderr.decode(errors="replace").strip().splitlines()[-1:] or ["no message"]
        raise AnalysisError(f"{browser}: exit code {done.returncode}: {last_words[0]}")
    return done.stdout
