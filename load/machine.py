"""Owns the description of what a measurement ran on."""

import os
import platform
import sqlite3
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGES = ("tornado", "msgspec", "uvloop")


def describe_machine(folder: Path) -> dict[str, str]:
    """Give the processors, the versions that matter, and the file system that the database is on."""
    return {
        "cpus": f"{os.cpu_count()} x {_cpu_model()}",
        "platform": platform.platform(),
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "sqlite": sqlite3.sqlite_version,
        **{package: _version(package) for package in PACKAGES},
        "database_folder": f"{folder.resolve()} ({_file_system(folder)})",
    }


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    models = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(models, platform.processor() or platform.machine())


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _file_system(folder: Path) -> str:
    """Give the type of the file system, since a sync to memory (tmpfs) is none."""
    try:
        mounts = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
    except OSError:
        return "unknown file system"
    path = folder.resolve()
    above = [(len(mount[1]), mount[2]) for mount in mounts if path.is_relative_to(mount[1])]
    return max(above)[1] if above else "unknown file system"
