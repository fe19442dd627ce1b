"""The gRPC edges of identity, one for each service of its protos."""
