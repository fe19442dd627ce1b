"""The gRPC edges of consent, one for each service of its protos."""
