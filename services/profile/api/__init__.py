"""The edges of profile, one for each service of its protos."""
