"""Fits models of customer lifetime value, offline, from exported events. Needs the extra `lifetime`; nothing that serves imports it."""
