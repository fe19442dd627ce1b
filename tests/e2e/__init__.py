"""The whole system from outside: unmodified SDKs send, channel backends read, processes die."""
