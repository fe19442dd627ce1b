"""The services. Each is a process of its own; they meet only over NATS and gRPC."""
