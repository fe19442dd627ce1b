"""Mechanism that every service uses: log, bus, vault, rpc, errors, config, telemetry, and the published events. Knows no service."""
