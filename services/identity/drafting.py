"""Writes down what was concluded: entries for customers' streams, with the event or decision that caused each."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from services.identity.domain.erasure import Erasure
from services.identity.domain.sighting import Proposal
from services.identity.graph.causes import NOBODY, Causes, along
from services.identity.graph.conclude import Conclusion, Founded, Linked, Merged, Split, Unlinked
from services.identity.graph.facts import Evidence, Node
from services.identity.graph.questions import Question
from services.identity.graph.region import Settled
from services.identity.graph.resolve import Link, Partition
from services.identity.graph.resting import review, stirred
from services.identity.graph.rules import Rules
from services.identity.ledger import IDENTITY_PARTITION
from services.identity.tables.regions import Loaded
from shared.events import customer as events
from shared.events.catalogue import Entry, EventType, Public, make_entry
from shared.identifiers import Identifier
from shared.ids import NewId
from shared.log import LogReader
from shared.log.writer import Versioned
from shared.privacy import Personal, Redacted
from shared.vault import DataKey, Vault


@dataclass(slots=True)
class Drafting:
    """A unit being written: entries in order, those of identity's own log, and what else its transaction holds."""

    entries: list[Entry] = field(default_factory=list)
    own: list[Versioned] = field(default_factory=list)
    keys: dict[bytes, DataKey] = field(default_factory=dict)
    proposals: list[Proposal] = field(default_factory=list)
    amended: list[Proposal] = field(default_factory=list)  # that are open, and are asked for something else now
    withdrawn: dict[bytes, bytes] = field(default_factory=dict)  # proposals that nothing speaks for any more, and what ended each
    woken: list[bytes] = field(default_factory=list)  # ids of proposals that expired, and of whom one is seen again
    erasures: list[Erasure] = field(default_factory=list)  # that had events to refuse

    def take(self, versions: dict[bytes, int], entry: Entry) -> None:
        versions[entry.stream] = versions.get(entry.stream, 0) + 1
        self.own.append(Versioned(IDENTITY_PARTITION, versions[entry.stream], entry))
        self.entries.append(entry)


async def draft_conclusions(
    drafting: Drafting,
    loaded: Loaded,
    settled: Settled,
    resolved: Mapping[Node, Evidence],
    values: Mapping[bytes, Identifier],
    vault: Vault,
    reader: LogReader,
    now: int,
    new_id: NewId,
    rules: Rules,
    cause: Evidence,
) -> None:
    """`resolved` is the earliest event at hand that resolves by an identifier, and `values` are the identifiers at hand, by hash.

    What else has to be sealed anew is read from where it was said. `cause` is of what no event explains.
    """
    founded = [conclusion.customer for conclusion in settled.conclusions if isinstance(conclusion, Founded)]
    linked = [conclusion for conclusion in settled.conclusions if isinstance(conclusion, Linked)]
    drafting.keys |= await vault.create_keys(founded, now)
    drafting.keys |= await vault.keys({conclusion.customer for conclusion in linked} - drafting.keys.keys())
    said = await _said_before([one.node for one in linked if one.node.value_hash not in values], loaded, vault, reader)
    said |= {value_hash: identifier.value for value_hash, identifier in values.items()}
    why = Causes(loaded.region, settled, rules, loaded.forced, loaded.said_anew, cause)
    writer = _Writer(loaded, drafting, said, why, resolved, now, new_id)
    for conclusion in settled.conclusions:
        writer.write(conclusion)
    writer.review(settled.partition)


async def _said_before(nodes: Sequence[Node], loaded: Loaded, vault: Vault, reader: LogReader) -> dict[bytes, str]:
    """Values of identifiers that move to another customer's stream; one whose key is gone stays unsaid."""
    streams = {stream for node in nodes if (stream := loaded.said_in.get(node)) is not None}
    if not streams:
        return {}
    keys, wanted = await vault.keys(streams), {node.value_hash for node in nodes}
    said: dict[bytes, str] = {}
    for record in await reader.streams([(IDENTITY_PARTITION, stream) for stream in sorted(streams)]):
        entry = record.entry
        if entry.type_id == events.LINKED.id and entry.public().value_hash in wanted:
            personal = entry.personal(keys.get(entry.stream))
            if not isinstance(personal, Redacted | None):
                said[entry.public().value_hash] = personal.value  # type: ignore[attr-defined]
    return said


class _Writer:
    def __init__(
        self,
        loaded: Loaded,
        drafting: Drafting,
        said: Mapping[bytes, str],
        why: Causes,
        resolved: Mapping[Node, Evidence],
        now: int,
        new_id: NewId,
    ) -> None:
        self._loaded = loaded
        self._drafting = drafting
        self._said = said
        self._resolved = resolved
        self._now = now
        self._new_id = new_id
        self._why = why
        self._node_of = {customer: node for node, customer in loaded.region.known.own.items()}

    def write(self, conclusion: Conclusion) -> None:
        match conclusion:
            case Founded(customer, number, node):
                self._entry(events.FOUNDED, customer, events.CustomerFounded(founding_number=number), self._first(node))
            case Linked(customer, node):
                self._link(customer, node)
            case Unlinked(customer, node, shared):
                cause = self._why.change_near(node)
                public = events.IdentifierUnlinked(
                    link_id=self._loaded.link_ids.pop(node), value_hash=node.value_hash, cause=cause.event_id, shared=shared
                )
                self._entry(events.UNLINKED, customer, public, cause)
            case Merged(merge_id, customer, other, likely):
                self._merge(merge_id, customer, other, likely)
            case Split(merge_id, customer, other, shared_by_them):
                ends = [self._node_of[end] for end in (customer, other) if end in self._node_of]  # one may have lost its founder
                cause = self._why.change_near(*ends)
                shared_hashes = tuple(node.value_hash for node in shared_by_them)
                for stream, end in ((customer, other), (other, customer)):
                    split = events.CustomersSplit(merge_id=merge_id, other=end, cause=cause.event_id, shared_hashes=shared_hashes)
                    self._entry(events.SPLIT, stream, split, cause)

    def _merge(self, merge_id: bytes, customer: bytes, other: bytes, likely: bool) -> None:
        ends = self._node_of[customer], self._node_of[other]
        cause = self._why.path(*ends, likely)
        links = self._why.chain(*ends, likely)
        weakest = min((link for link in links if link.weight is not None), key=lambda link: link.weight or 0.0, default=None)
        for stream, end in ((customer, other), (other, customer)):
            number = self._loaded.region.known.founding_numbers[end]
            merged = events.CustomersMerged(
                merge_id=merge_id,
                other=end,
                other_founding_number=number,
                cause=cause.event_id,
                match_weight=weakest and weakest.weight,
                match_model=weakest and self._weighed_by(weakest),
                likely=likely,
                chain=tuple(node.namespace for node in along(links, self._node_of[stream])),
            )
            self._entry(events.MERGED, stream, merged, cause)

    def _weighed_by(self, link: Link) -> str:
        """The model; while another one is followed, matches are of both."""
        ends = {link.strong.value_hash, link.weak.value_hash}
        likes = [like for like in self._loaded.likenesses.values() if {like.one, like.other} == ends]
        return max(likes, key=lambda like: (like.weight, like.unrivalled)).model

    def review(self, partition: Partition) -> None:
        """Proposes what people have to decide, tells what speaks for it now, and withdraws what nothing speaks for any more."""
        known = self._loaded.region.known
        resting = dict(self._loaded.resting)
        for proposal_id in stirred(resting, known, self._loaded.here):
            self._drafting.woken.append(proposal_id)
            del resting[proposal_id]
        revision = review(self._loaded.proposals, resting, known, partition, self._why.rules)
        for proposal_id in revision.withdrawn:
            self._withdraw(proposal_id, self._loaded.proposals[proposal_id])
        for proposal_id, question in revision.amended.items():
            self._drafting.amended.append(self._propose(proposal_id, question))
        for question in revision.new:
            self._drafting.proposals.append(self._propose(self._new_id(), question))

    def _propose(self, proposal_id: bytes, asked: Question) -> Proposal:
        cause = asked.evidence.event_id
        for stream, end, mine in zip((asked.one, asked.other), (asked.other, asked.one), asked.ends, strict=True):
            public = events.MergeProposed(
                proposal_id=proposal_id,
                other=end,
                reason=asked.reason,
                cause=cause,
                match_weight=asked.weight,
                doubts=asked.doubts,
                value_hash=mine,
            )
            self._entry(events.MERGE_PROPOSED, stream, public, asked.evidence)
        return Proposal(proposal_id, asked.one, asked.other, asked.reason, cause, asked.weight, asked.doubts, asked.ends)

    def _withdraw(self, proposal_id: bytes, asked: Question) -> None:
        """It ends now, whenever what ended it happened."""
        here = self._loaded.nodes()
        cause = self._why.closing([here[end] for end in asked.ends if end in here]).event_id
        self._drafting.withdrawn[proposal_id] = cause
        for stream, end in ((asked.one, asked.other), (asked.other, asked.one)):
            public = events.ProposalClosed(proposal_id=proposal_id, other=end, state="withdrawn", cause=cause)
            self._entry(events.PROPOSAL_CLOSED, stream, public, NOBODY)

    def _link(self, customer: bytes, node: Node) -> None:
        own = self._node_of.get(customer)
        cause = self._why.path(own, node) if own is not None and own != node else self._first(node)
        public = events.IdentifierLinked(namespace=node.namespace, value_hash=node.value_hash, cause=cause.event_id)
        value = events.LinkedValue(value=self._said.get(node.value_hash, ""))
        entry = self._entry(events.LINKED, customer, public, cause, value)
        self._loaded.link_ids[node] = entry.event_id
        self._loaded.said_in[node] = customer

    def _first(self, node: Node) -> Evidence:
        return self._resolved.get(node) or self._why.change_near(node)

    def _entry(self, kind: EventType, stream: bytes, public: Public, cause: Evidence, personal: Personal | None = None) -> Entry:
        """It happened when its cause did. To whom no key is left, nothing personal is said: it could not be read."""
        at, key = self._now if cause == NOBODY else cause.occurred_at, self._drafting.keys.get(stream)
        entry = make_entry(kind, stream, self._new_id(), at, public, personal if key is not None else None, key)
        self._drafting.take(self._loaded.versions, entry)
        return entry
