"""The two doors: HTTP in the Segment protocol, and gRPC. They translate; the rules are in `domain`."""
