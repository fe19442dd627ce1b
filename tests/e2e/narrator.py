"""Tells a story a line at a time, and stops it at the first thing that does not hold."""


class StoryBroken(AssertionError):
    """A step did not hold; the text says what was expected and what was found."""


class Narrator:
    """Prints for a reader: chapters, what people do, what the system answers, and what that shows."""

    def __init__(self) -> None:
        self.chapters = 0
        self.checks = 0

    def chapter(self, title: str) -> None:
        self.chapters += 1
        print(f"\n{self.chapters}. {title}", flush=True)

    def happens(self, text: str) -> None:
        print(f"   {text}", flush=True)

    def answers(self, question: str, answer: str) -> None:
        print(f"   > {question}\n     {answer}", flush=True)

    def shows(self, claim: str, *, found: object, expected: object) -> None:
        """Raises StoryBroken unless what was found is what was expected."""
        self.checks += 1
        if found != expected:
            print(f"   ✗ {claim}", flush=True)
            raise StoryBroken(f"{claim}\n   expected: {expected!r}\n   found:    {found!r}")
        print(f"   ✓ {claim}", flush=True)
