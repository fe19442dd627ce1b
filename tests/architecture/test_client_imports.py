"""customer360-client stands on its own: a channel backend installs it, `grpcio` and `protobuf`, and nothing else."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "clients" / "python"
SOURCES = sorted(FOLDER.rglob("*.py"))


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_it_imports_only_itself_the_standard_library_and_grpc(path: Path) -> None:
    tree = ast.parse(path.read_text())
    names = [alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names]
    names += [node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    assert {name.partition(".")[0] for name in names} <= {"customer360_client", "google", "grpc"} | set(sys.stdlib_module_names)
    assert {".".join(name.split(".")[:2]) for name in names if name.startswith("google")} <= {"google.protobuf"}


@pytest.mark.parametrize(
    "order", ["import customer360_client, c360.profile.v1.profile_pb2", "import c360.profile.v1.profile_pb2, customer360_client"]
)
def test_it_loads_beside_the_code_of_the_same_protos(order: str) -> None:
    """Whoever takes protos/gen along for the calls that the client hasn't."""
    code = f"{order}; from google.rpc import error_details_pb2, status_pb2"
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
