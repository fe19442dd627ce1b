"""What the browser SDK (analytics.js 2) asks for before its first event."""

from typing import Any


def browser_settings(write_key: str, scheme: str, host: str) -> dict[str, Any]:
    """Sends events back to the host that was asked, and nothing about them to anyone else."""
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
