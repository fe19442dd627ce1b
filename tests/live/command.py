"""The command, run as a person or a script would."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

TIMEOUT_S = "20"  # generous: what is tested is the answer, not its speed


class Command:
    """`c360`, as a process of its own that finds the stack through its data directory."""

    def __init__(self, data_directory: Path) -> None:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("C360_")}
        self.environment = kept | {"C360_DATA_DIR": str(data_directory), "PYTHONFAULTHANDLER": "1"}

    def run(self, *arguments: str, code: int = 0, text: str = "", timeout_s: float = 60) -> subprocess.CompletedProcess[str]:
        command = (sys.executable, "-m", "services.cli", *arguments)
        done = subprocess.run(command, env=self.environment, input=text, capture_output=True, text=True, timeout=timeout_s)
        assert done.returncode == code, f"exit code {done.returncode}: {done.stdout}{done.stderr}"
        return done

    def define_purpose(self, name: str, *traits: str) -> None:
        """One that the person decides about, for those traits."""
        with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
            json.dump({"legal_basis": "consent", "traits": traits, "controller": "operator"}, file)
            file.flush()
            self.run("consent", "purposes", "define", name, file.name, "--by", "ops", "--reason", "ticket 12")

    def json(self, *arguments: str, code: int = 0, text: str = "") -> Any:
        return json.loads(self.run(*arguments, "--json", "--timeout", TIMEOUT_S, code=code, text=text).stdout)

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        command = (sys.executable, "-m", "services.cli", *arguments)
        return subprocess.Popen(command, env=self.environment, stdout=subprocess.PIPE, text=True)
