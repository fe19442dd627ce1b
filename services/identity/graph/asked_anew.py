"""What settling anew would make of the questions that are open. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from services.identity.graph.conclude import Concluded
from services.identity.graph.questions import Question
from services.identity.graph.resolve import Partition
from services.identity.graph.resting import review
from services.identity.graph.rules import Rules


@dataclass(slots=True)
class AskedAnew:
    """Ids of questions that nothing speaks for, or something else; and of whom nobody is asked, the two who answer for them. At rest there are none."""

    withdrawn: set[bytes] = field(default_factory=set)
    amended: set[bytes] = field(default_factory=set)
    new: set[frozenset[bytes]] = field(default_factory=set)

    def take(
        self,
        open_now: Mapping[bytes, Question],
        resting: Mapping[bytes, Question],
        known: Concluded,
        partition: Partition,
        rules: Rules,
    ) -> None:
        """Of a region that is settled; a question may be seen from several."""
        revision = review(open_now, resting, known, partition, rules)
        canonical = known.canonical()
        self.withdrawn |= set(revision.withdrawn)
        self.amended |= revision.amended.keys()
        self.new |= {frozenset((canonical[question.one], canonical[question.other])) for question in revision.new}

    def __len__(self) -> int:
        return len(self.withdrawn) + len(self.amended) + len(self.new)
