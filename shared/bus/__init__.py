"""NATS JetStream as transport: streams read by position, and relays that publish what a log already holds."""

from shared.bus.connection import BROKER_DOWN, connect
from shared.bus.follower import Follower, Message
from shared.bus.relay import Relay, publish_at

__all__ = ["BROKER_DOWN", "Follower", "Message", "Relay", "connect", "publish_at"]
