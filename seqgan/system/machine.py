"""Describes the machine, the versions and the commit of a run, for its report."""

import os
import platform
import subprocess
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGES = ("seqgan", "torch", "numpy", "gymnasium", "wandb")
GIT_TIMEOUT = 5.0  # seconds


def describe_machine() -> dict[str, str]:
    """Returns names and values as text, without unknown values."""
    description = {
        "started": time.strftime("%Y-%m-%d %H:%M:%S %z"),
        "platform": platform.platform(),
        "processor": _processor(),
        "cores": str(os.cpu_count() or ""),
        **versions(),
        "seqgan commit": commit(Path(__file__).resolve().parents[2]),
    }
    return {name: value for name, value in description.items() if value}


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that decide a run's numbers."""
    by_package = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            by_package[package] = version(package)
        except PackageNotFoundError:  # seqgan runs from a folder that was never installed
            by_package[package] = "unknown"
    return by_package


def commit(checkout: Path) -> str:
    """The commit of a checkout, with a mark if files have changed; empty if it is no checkout."""
    if not (checkout / ".git").exists():
        return ""  # git itself would search the parent folders and find another repository
    try:
        head, changes = (
            subprocess.run(
                ["git", "-C", str(checkout), *arguments],
                capture_output=True,
                text=True,
                check=True,
                timeout=GIT_TIMEOUT,
            ).stdout.strip()
            for arguments in (("rev-parse", "HEAD"), ("status", "--porcelain"))
        )
    except (OSError, subprocess.SubprocessError):  # git is missing or refuses the repository
        return ""
    return f"{head} with changes" if changes else head


def _processor() -> str:
    """The processor's model name on Linux; elsewhere Python's word for it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()
