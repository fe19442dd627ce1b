"""What sources said of people, kept to be compared: records, the blocks that they meet in, and the matches that follow.

A record is what one source said of the customer that one identifier founded. `said` merges it, `proposing` says which records
are compared, and `likeness` what follows. All of it is pure; `record_tables` keeps it, and `matcher` keeps that up to date.
"""
