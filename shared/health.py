"""What the health of a process (grpc.health.v1) is asked by, beside the names of its services."""

from typing import Final

ALIVE: Final = "c360.alive"  # whether the process runs, also while it stands by for another one; '' is whether it serves
