"""Records that are likely one person, though no identifier says so: probabilistic matching, as a pure function of records.

`record` says what of a person is compared, `blocking` which pairs are looked at, `score` how much speaks for a pair and why,
`resolve` what follows for a set of records, and `matcher` keeps that up to date, one record at a time.
"""
