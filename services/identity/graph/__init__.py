"""Who is who as a pure function of facts: the same facts give the same partition, in whatever order they came.

Facts (`facts`) are what was seen together, what people decided by hand, and whose records match; rules (`rules`) say what may
link. From the two, `resolve` makes the partition, and `conclude` tells what has to be founded, linked, merged and split to get
there. `region` does so for the part of the graph that some facts touch. `causes` says by which fact a merge or a link came about,
`explain` why two identifiers are one customer or two, `difference` what other rules or decisions would change.
"""
