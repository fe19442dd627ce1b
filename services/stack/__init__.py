"""The embedded stack: NATS, PostgreSQL and the services on one machine, in one data directory.

`python -m services.stack` is what `make run` starts; tests, demo and chaos use `services.stack.stack.Stack`.
Nothing is mocked: the servers are the ones of production, taken from wheels.
"""
