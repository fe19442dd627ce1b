"""The one way to fail."""


class Refused(Exception):
    """The bundle doesn't prove what it claims. The text names the first thing that is wrong."""


def require(holds: bool, why: str) -> None:
    if not holds:
        raise Refused(why)
