"""Learns a matching model offline, from an installation's own records or from made-up ones, with Splink.

Nothing here runs in a service: it wants the extra `customer360[train]`, reads a file and writes a file.
"""
