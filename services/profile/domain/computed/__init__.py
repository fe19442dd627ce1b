"""Computed traits: what a customer's events amount to, by definitions that operators write. Pure.

`definitions` reads and compiles them, `take` adds events to what `occurrences` keeps of them, and `aggregates` says what that amounts
to at an instant, and when it next may be something else with no event. Decision 44.
"""
