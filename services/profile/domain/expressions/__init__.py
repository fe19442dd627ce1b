"""Expressions in CEL (https://cel.dev), the one language in which definitions say what they are about. Pure.

Compiled once, types checked, cost bounded before anything is evaluated. Decision 43.
"""
