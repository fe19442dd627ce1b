"""Ctrl-C ends a command with exit code 130 and without a traceback, whenever it comes."""

import signal
import socket
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

# A command that gets a SIGINT when it begins to import a module, as if a person had pressed Ctrl-C just then.
PRESSED = """
import os, signal, sys

class Pressing:
    def find_spec(self, name, path=None, target=None):
        if name == MODULE:
            os.kill(os.getpid(), signal.SIGINT)

MODULE = sys.argv.pop(1)
sys.meta_path.insert(0, Pressing())
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell starts what is in the background without
from services.cli.start import main
main()
"""
COMMAND = ("identity", "resolve", "email:ann@example.com")
MODULES = (
    "services.cli.__main__",
    "typer",
    "services.cli.identity_explain",
    "grpc",
    "grpc._cython",
    "c360.identity.v1.explanation_pb2_grpc",
)


def started(module: str, address: str) -> "subprocess.Popen[str]":
    command = (sys.executable, "-c", PRESSED, module, *COMMAND)
    return subprocess.Popen(
        command, env={"C360_IDENTITY_ADDRESS": address}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


@pytest.mark.parametrize("module", MODULES)
def test_while_it_starts(module: str) -> None:
    with started(module, "127.0.0.1:1") as process:
        said = process.communicate(timeout=60)
    assert (process.returncode, *said) == (130, "", "")


def test_while_it_waits_for_a_service_that_does_not_answer() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent, started("", f"127.0.0.1:{silent.getsockname()[1]}") as process:
        connected, _ = silent.accept()
        process.send_signal(signal.SIGINT)
        said = process.communicate(timeout=60)
        connected.close()
    assert (process.returncode, *said) == (130, "", "")


def test_the_command_starts_there() -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    assert project["scripts"]["c360"] == "services.cli.start:main"
