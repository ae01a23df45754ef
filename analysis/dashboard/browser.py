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
    found = find_browser()
    if found is None:
        looked = os.environ.get("BROWSER_PATH") or ", ".join(BROWSERS)
        raise AnalysisError(f"no browser found (looked for {looked}): apt-get install chromium, or set BROWSER_PATH")
    return found


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
    browser = need_browser()
    with tempfile.TemporaryDirectory(prefix="analysis-") as folder:
        page = Path(folder) / "page.html"
        page.write_text(html, encoding="utf-8")
        switches = [f"--user-data-dir={folder}/profile", f"--virtual-time-budget={VIRTUAL_MS}", "--dump-dom"]
        command = [browser, *arguments(), *switches, page.as_uri()]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, encoding="utf-8")
        except subprocess.TimeoutExpired as error:
            raise AnalysisError(f"{browser}: no answer within {PATIENCE_S} s") from error
    if done.returncode:
        told = done.stderr.strip().splitlines()[-1:] or ["no message"]
        raise AnalysisError(f"{browser}: exit code {done.returncode}: {told[0]}")
    return done.stdout
