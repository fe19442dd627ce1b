"""`make` tells what it lacks, before it has made anything."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from services.stack.stack import Stack

ROOT = Path(__file__).parents[2]
OLD = """#!/bin/sh
[ "$1" = --version ] && echo "Python 3.10.4" && exit
exec {python} -c "import sys; sys.version_info = (3, 10, 4); exec(sys.argv[1])" "$2"
"""
pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")


def run_make(directory: Path, python: str, *targets: str) -> subprocess.CompletedProcess[str]:
    for name in ("Makefile", "requirements-dev.lock", "pyproject.toml"):
        shutil.copy(ROOT / name, directory)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    command = ("make", *targets, f"PYTHON={python}")
    return subprocess.run(command, cwd=directory, env=kept, capture_output=True, text=True, timeout=60)


def test_a_python_that_is_too_old_is_named_with_what_to_do(tmp_path: Path) -> None:
    (old := tmp_path / "python3").write_text(OLD.format(python=sys.executable))
    old.chmod(0o755)
    ended = run_make(tmp_path, str(old), "run")
    assert ended.returncode != 0
    assert f"{old} is Python 3.10.4. customer360 needs Python 3.11 or newer. Name one: make run PYTHON=python3.12\n" in ended.stderr
    assert ended.stdout == ""
    assert not (tmp_path / ".venv").exists()


@pytest.mark.parametrize(("target", "codes"), [("rebuild", {0}), ("identity-rebuild", {0, 1})])  # 1: what tests altered is found
def test_what_follows_from_a_log_is_made_anew_by_one_command(stack: Stack, target: str, codes: set[int]) -> None:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "C360_"))}
    environment = kept | {"C360_DATA_DIR": str(stack.data_directory)}
    command = ("make", "-o", "setup", target, f"BIN={Path(sys.executable).parent}")
    ended = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120)
    assert ended.returncode in codes, ended.stdout + ended.stderr
    assert "log" in ended.stdout


def test_from_another_directory_it_tells_how(tmp_path: Path) -> None:
    # Below `make test` it would tell first which directory it enters.
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    command = ("make", "-f", str(ROOT / "Makefile"), "help")
    ended = subprocess.run(command, cwd=tmp_path, env=kept, capture_output=True, text=True, timeout=60)
    assert f"make -C {ROOT} help" in ended.stderr
    assert (ended.returncode, ended.stdout) == (2, "")
    there = ["make", "-C", str(ROOT), "help"]
    assert subprocess.run(there, cwd=tmp_path, env=kept, capture_output=True, timeout=60).returncode == 0


def test_a_python_that_is_not_there_is_named(tmp_path: Path) -> None:
    ended = run_make(tmp_path, "no-such-python")
    assert "help" in ended.stdout, "the list of targets needs no Python"
    ended = run_make(tmp_path, "no-such-python", "setup")
    assert "there is no no-such-python. customer360 needs Python 3.11 or newer." in ended.stderr
