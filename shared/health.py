"""What the health of a process (grpc.health.v1) is asked by, beside the names of its services."""

import json
from typing import Final

ALIVE: Final = "c360.alive"  # whether the process runs, also while it stands by for another one; '' is whether it serves
# A gRPC channel's service config: of several addresses those are asked that serve.
BY_HEALTH: Final = json.dumps({"loadBalancingConfig": [{"round_robin": {}}], "healthCheckConfig": {"serviceName": ""}})
