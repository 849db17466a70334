"""Finding Chromium: Playwright's own when it is installed, else the system's."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from optical_memory.errors import BrowserNotFoundError, MissingExtraError

ENVIRONMENT_VARIABLE = "OPTICAL_MEMORY_CHROMIUM"
"""Path of the Chromium to use, before any other is looked for."""
_SYSTEM = (
    "chromium-headless-shell",
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
    "microsoft-edge",
)
_OWN = re.compile(r"(chrome|chrome-headless-shell|headless_shell|Chromium|Google Chrome for Testing)(\.exe)?")
_VERSION_SECONDS = 20.0


def find_executable(path: str | os.PathLike[str] | None = None) -> Path:
    """Return the Chromium to use: ``path``, the environment variable, Playwright's own, or one of the system.

    Nothing is started. Errors: BrowserNotFoundError, MissingExtraError without Playwright.
    """
    if importlib.util.find_spec("playwright") is None:
        raise MissingExtraError("playwright", "chromium")
    named = path or os.environ.get(ENVIRONMENT_VARIABLE)
    if named:
        program = shutil.which(named)
        if program is None:
            raise BrowserNotFoundError(f"{os.fspath(named)!r} is not a program; give the path of a Chromium")
        return Path(program)
    system = (Path(program) for program in map(shutil.which, _SYSTEM) if program)
    for found in (*_playwrights_own(), *system):
        return found
    raise BrowserNotFoundError(
        "no Chromium found; run 'playwright install chromium', install your system's package 'chromium', "
        f"or set {ENVIRONMENT_VARIABLE} to the path of one"
    )


@cache
def version(program: Path) -> str:
    """Return the first number of a browser's version, "156". Errors: BrowserNotFoundError when it does not run."""
    try:
        done = subprocess.run(
            [program, "--version"], capture_output=True, text=True, timeout=_VERSION_SECONDS, check=True
        )
        return re.search(r"\d+", done.stdout)[0]  # type: ignore[index]
    except (OSError, subprocess.SubprocessError, TypeError) as error:
        raise BrowserNotFoundError(f"{str(program)!r} does not tell its version: {error}") from error


def _playwrights_own() -> Iterator[Path]:
    """Yield the browsers that ``playwright install`` has put where this version of Playwright looks for them."""
    package = Path(importlib.util.find_spec("playwright").origin).parent / "driver/package"  # type: ignore[union-attr,arg-type]
    listing = package / "browsers.json"
    if not listing.is_file():
        return
    revisions = {entry["name"]: entry["revision"] for entry in json.loads(listing.read_text())["browsers"]}
    for name in ("chromium-headless-shell", "chromium"):
        folder = _folder(package) / f"{name.replace('-', '_')}-{revisions.get(name)}"
        if (folder / "INSTALLATION_COMPLETE").is_file():
            yield from (file for file in sorted(folder.rglob("*")) if _OWN.fullmatch(file.name) and file.is_file())


def _folder(package: Path) -> Path:
    """Return the folder of Playwright's browsers, as its documentation on browsers gives it for each system."""
    setting = os.environ.get("PLAYWRIGHT_BROWSERS_PATH")
    if setting == "0":
        return package / ".local-browsers"
    if setting:
        return Path(setting)
    home = {"darwin": "Library/Caches", "win32": "AppData/Local"}.get(sys.platform, ".cache")
    return Path.home() / home / "ms-playwright"
