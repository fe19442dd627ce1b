"""Records that are likely one person, though no identifier says so: probabilistic matching, as a pure function of records.

`record` says what of a person is compared, `blocking` which pairs are looked at, `score` how much speaks for a pair and why, and
`veto` what forbids it all the same. What follows is the graph's, through `records/likeness`.
"""
