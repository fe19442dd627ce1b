"""Who is who as a pure function of facts: the same facts give the same partition, in whatever order they came.

Facts (`facts`) are what was seen together and what people decided by hand; rules (`rules`) say what may link. From the two,
`resolve` makes the partition, and `conclude` tells what has to be founded, linked, merged and split to get there.
"""
