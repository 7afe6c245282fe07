"""What a run was made with: the machine, the versions, the commit. For its report."""

import os
import platform
import subprocess
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGES = ("seqgan", "torch", "numpy", "gymnasium", "wandb")
GIT_TIMEOUT = 5.0  # seconds


def describe_machine() -> dict[str, str]:
    """Names and values as text; what is unknown is left out."""
    described = {
        "started": time.strftime("%Y-%m-%d %H:%M:%S %z"),
        "platform": platform.platform(),
        "processor": _processor(),
        "cores": str(os.cpu_count() or ""),
        **versions(),
        "seqgan commit": commit(Path(__file__).resolve().parents[2]),
    }
    return {name: value for name, value in described.items() if value}


def versions() -> dict[str, str]:
    """Of Python and of the packages that decide a run's numbers."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:  # run from a folder that was never installed
            found[package] = "unknown"
    return found


def commit(checkout: Path) -> str:
    """The commit of a checkout, marked where its files differ from it; empty for another folder."""
    if not (checkout / ".git").exists():
        return ""  # installed, perhaps below somebody else's repository
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
    except (OSError, subprocess.SubprocessError):  # no git, or no repository that it would read
        return ""
    return f"{head} with changes" if changes else head


def _processor() -> str:
    """The model's name on Linux; elsewhere what Python says."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()
