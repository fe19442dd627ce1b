"""What an export is told to have done in a second is what it did, in the seconds that this took."""

from c360.profile.v1.export_pb2 import ExportChangesResponse, ExportedNewRules

from services.cli.lake.progress import Progress


class Told:
    """With a clock that a test sets."""

    def __init__(self) -> None:
        self.now = 0.0
        self.told: list[tuple[float, str]] = []
        self.progress = Progress(self, lambda: self.now)

    def tell(self, share: float, text: str) -> None:
        self.told.append((round(share, 2), text))

    def note(self, text: str) -> None:
        raise AssertionError(text)

    def took(self, after_s: float, answer: ExportChangesResponse, events: int) -> None:
        self.now += after_s
        self.progress.took(answer, events)


def rules(version: int, looked_at: int, customers: int) -> ExportChangesResponse:
    new_rules = ExportedNewRules(version=version, looked_at_count=looked_at, customer_count=customers)
    return ExportChangesResponse(read_count=100, total_count=200, new_rules=new_rules)


def test_while_everybody_is_looked_at_for_rules_it_is_told_how_many_customers_a_second() -> None:
    told = Told()
    told.took(1.0, ExportChangesResponse(read_count=100, total_count=200), 100)
    told.took(2.0, rules(2, 100, 1_000), 100)
    told.took(2.0, rules(2, 500, 1_000), 100)
    told.took(1.0, ExportChangesResponse(read_count=200, total_count=200), 200)
    assert told.told == [
        (0.5, "100 events, 100/s"),
        (0.1, "rules 2: 100 of 1,000 customers, 50/s"),
        (0.5, "rules 2: 500 of 1,000 customers, 125/s"),
        (1.0, "200 events, 100/s"),
    ]
    assert told.progress.events_a_second == 100


def test_one_that_goes_on_amid_rules_counts_what_it_does_itself() -> None:
    told = Told()
    told.took(9.0, rules(2, 500, 0), 0)
    told.took(1.0, rules(2, 600, 1_000), 0)
    assert told.told == [(0.6, "rules 2: 600 of 1,000 customers, 100/s")]


def test_what_is_waited_for_between_two_runs_is_nobodys_time() -> None:
    told = Told()
    told.took(1.0, ExportChangesResponse(read_count=1, total_count=1), 50)
    told.now += 60.0
    told.progress.begin()
    told.took(1.0, ExportChangesResponse(read_count=1, total_count=1), 100)
    assert told.told[-1] == (1.0, "100 events, 50/s")


def test_asking_for_permissions_is_told_by_file_once_it_was_asked() -> None:
    told = Told()
    people = told.progress.files([["a"], ["b"]], 2)
    next(people)
    assert not told.told
    assert list(people) == [["b"]]
    assert told.told == [(0.5, "permissions: 1 of 2 files"), (1.0, "permissions: 2 of 2 files")]
