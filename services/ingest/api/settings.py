"""What SDKs ask for before their first event. Whatever they are told, their events come back to the host that was asked."""

from typing import Any


def browser_settings(write_key: str, scheme: str, host: str) -> dict[str, Any]:
    """For analytics.js 2 and the mobile SDKs of its vendor: nothing about events goes to anyone else."""
    plan = {"__default": {"enabled": True, "integrations": {}}}
    return {
        "integrations": {"Segment.io": {"apiKey": write_key, "apiHost": f"{host}/v1", "protocol": scheme}},
        "plan": {"track": plan, "identify": plan, "group": plan},
        "metrics": {"sampleRate": 0},
        "edgeFunction": {},
        "middlewareSettings": {},
        "enabledMiddleware": {},
        "remotePlugins": [],
        "analyticsNextEnabled": True,
        "legacyVideoPluginsEnabled": False,
    }


def source_config(write_key: str, source: str) -> dict[str, Any]:
    """For the browser and mobile SDKs of RudderStack: a source that is on and passes nothing on."""
    nothing_reported = {"statsCollection": {"errors": {"enabled": False}, "metrics": {"enabled": False}}}
    return {
        "isHosted": False,
        "source": {
            "id": source,
            "name": source,
            "writeKey": write_key,
            "workspaceId": "customer360",
            "enabled": True,
            "config": nothing_reported,
            "destinations": [],
            "connections": [],
            "dataplanes": {},
        },
    }
