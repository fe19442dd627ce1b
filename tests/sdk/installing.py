"""Gets the SDKs that are not in the environment: the Node ones, and an old Python one that needs old libraries of its own."""

import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
NODE = HERE / "node"
PYTHON_OLD = Path(sys.prefix) / "sdks" / "python-old"  # a folder of its own: it wants older libraries than ours
INSTALL_TIMEOUT_S = 300


def has_node() -> bool:
    return shutil.which("node") is not None and shutil.which("npm") is not None


def install_node() -> Path:
    """The folder that node runs in; does nothing when what is locked is there already."""
    _once(
        NODE / "package-lock.json",
        NODE / "node_modules" / ".installed",
        ["npm", "install", "--no-save", "--omit=optional", "--loglevel=error"],
    )
    return NODE


def install_old_python() -> Path:
    """A folder for PYTHONPATH."""
    lock = HERE / "python" / "old.lock"
    uv = [str(Path(sys.executable).parent / "uv"), "pip", "install", "--quiet", "--python", sys.executable]
    _once(lock, PYTHON_OLD / ".installed", [*uv, "--require-hashes", "--target", str(PYTHON_OLD), "-r", str(lock)])
    return PYTHON_OLD


def _once(lock: Path, marker: Path, command: list[str]) -> None:
    if marker.exists() and marker.read_text() == lock.read_text():
        return
    subprocess.run(command, cwd=lock.parent, check=True, stdout=subprocess.DEVNULL, timeout=INSTALL_TIMEOUT_S)
    marker.parent.mkdir(parents=True, exist_ok=True)
    marker.write_text(lock.read_text())
