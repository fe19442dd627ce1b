"""Consent's HTTP door: what people follow from their mail, without a login (docs/consent-registry.md)."""
