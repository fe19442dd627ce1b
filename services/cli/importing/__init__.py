"""`c360 import`: a file of rows becomes events of a source, through ingest's HTTP door like everybody else's.

`mapping` says what the columns mean, `rows` and its kinds read the file as a stream, `lanes` send batches at the same time
and keep each person's rows in order, `ledger` counts verdicts in the order of the rows, `checkpoint` remembers how far that
went. What a row becomes has a message id that follows from the file, so that whatever is sent again doubles nothing.
"""
