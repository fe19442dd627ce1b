"""Makes answers of this door again, for whoever asks whether they follow from the log."""

from services.profile.belonging import belonging_of
from services.profile.domain.disclosure import plain, withheld_names
from services.profile.http.address import Target
from services.profile.http.contents import content_of
from services.profile.http.disclosing import fields_of, tag_of, wanted_again, withheld_of
from services.profile.http.queries import Query
from services.profile.http.resources import Read
from services.profile.origins import Origins
from services.profile.rederiving import OVER_HTTP, Answer, Answered, Remade


def answering(key: bytes, origins: Origins) -> Answer:
    """`key` is `record_key`. It knows nothing of the address that was asked at, and no answer depends on it but for where it goes on."""

    async def answer(remade: Remade) -> Answered:
        terms = remade.given.terms
        part = terms.call.removeprefix(OVER_HTTP)
        target, wanted = Target("", "", part), wanted_again(part, terms.mask)
        customer = remade.given.members[0]
        read = Read(target, customer, Query({}, []), wanted, remade.purpose, remade.instant, remade.profile)
        states = [past.held.state for past in remade.cluster.past.values()]
        unknown = remade.cluster.redacted > 0 or any(state.erased for state in states)
        belonging = (
            belonging_of(remade.profile, states, remade.purpose, remade.at, unknown=unknown) if read.asks_for_segments else None
        )
        content = await content_of(read, remade.verified, belonging, origins)
        return Answered(plain(fields_of(part, content.told)), tag_of(content, key), withheld_names(withheld_of(read)))

    return answer
