"""The rules of the door: what makes an event acceptable, when it happened, and which sources may send."""
