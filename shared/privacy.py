"""Personal data can't print: what derives from Personal shows its kind in repr, logs and tracebacks, never its content."""

import msgspec


class Personal(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """The part of an event that is about a person. Stored only inside an envelope.

    Holds nothing that leads back to it, so the collector of reference cycles need not look at it (`gc=False`, here and below).
    """

    def __repr__(self) -> str:
        return f"<{type(self).__name__} sealed>"

    __str__ = __repr__


class Redacted:
    """What is left of personal data after its key was destroyed."""

    _instance: "Redacted | None" = None

    def __new__(cls) -> "Redacted":
        cls._instance = cls._instance or super().__new__(cls)
        return cls._instance

    def __repr__(self) -> str:
        return "<redacted>"


REDACTED = Redacted()
