"""What a browser, a consent platform or a phone says in its own format, decoded, and what follows from it. Pure.

A decoder takes any input: it gives an immutable signal, or raises InvalidInput; its work is bounded by `MOST_CHARACTERS`.
"""
