"""Why no model was trained.

NotTrained
├── NotReadable   the file, or what was asked for, is wrong
└── NotLearnable  the records don't tell enough
"""

from typing import ClassVar


class NotTrained(Exception):
    """`reason` is a machine-readable word; the text says what is missing and what helps, and has nothing of what is in the records.

    `exit_code` is as a command of c360 has it: 1 refused, 2 the command was wrong.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, reason: str, text: str) -> None:
        super().__init__(reason, text)
        self.reason = reason
        self.text = text

    def __str__(self) -> str:
        return f"{self.reason}: {self.text}"


class NotReadable(NotTrained):
    exit_code = 2


class NotLearnable(NotTrained):
    pass
