"""What the health of a process (grpc.health.v1) is asked by, beside the names of its services."""

import json
from typing import Final

ALIVE: Final = "c360.alive"  # whether the process runs, also while it stands by for another one; '' is whether it serves
STANDS_BY: Final = "c360.standby"  # whether the process stands by for another one
# Whether look-ups are answered that read tables alone: by who serves, and in identity by who stands by as well.
LOOKUPS: Final = "c360.lookups"
READS: Final = "c360.reads"  # whether reads are answered: by who serves, and by who stands by as soon as it can


def _asking(name: str) -> str:
    return json.dumps({"loadBalancingConfig": [{"round_robin": {}}], "healthCheckConfig": {"serviceName": name}})


# A gRPC channel's service config: of several addresses those are asked that serve, that answer look-ups, or that answer reads.
BY_HEALTH: Final = _asking("")
LOOKUPS_BY_HEALTH: Final = _asking(LOOKUPS)
READS_BY_HEALTH: Final = _asking(READS)
