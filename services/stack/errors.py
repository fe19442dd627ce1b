"""What the stack tells the person who started it."""


class StackError(Exception):
    """Something could not be started; the text says what and shows the end of its log."""


class DataDirectoryInUseError(StackError):
    """Another stack holds the data directory."""


class MisconfiguredError(StackError):
    """A variable has a value that no service could start with."""
