"""What each method of the services is for, in the groups that a caller is allowed by. What isn't named here nobody may call.

`KEYED` are methods whose requests carry a credential of their own (a write key): everybody may call them.
"""

from typing import Final, Literal

from shared.events.callers import Group

KEYED: Final = "keyed"

_READ: Final[dict[str, tuple[str, ...]]] = {
    "c360.consent.v1.AskingService": ("CheckAskable",),
    "c360.consent.v1.ConsentService": ("Check", "CheckBatch", "FilterAudience", "ListDecisions"),
    "c360.consent.v1.EvidenceService": ("GetReceipt", "ExplainCheck", "DiffCheck"),
    "c360.consent.v1.RegistryService": ("GetVersionAt", "ListDefinitions", "ListVersions"),
    "c360.consent.v1.SignalService": ("ListSignals",),
    "c360.identity.v1.DecisionService": ("ListDecisions",),
    "c360.identity.v1.ExplanationService": ("ExplainPair", "GetCustomerHistory", "ResolveIdentifierAt"),
    "c360.identity.v1.IdentityService": ("ResolveIdentifier", "GetCustomer", "GetErasure"),
    "c360.identity.v1.MatchingService": ("GetModel", "ListModels", "ExplainMatch", "ListMatches", "ListHousehold"),
    "c360.identity.v1.RulesService": ("GetRules", "ListRules"),
    "c360.ingest.v1.PlanService": ("GetPlan", "ListPlans", "ListViolations"),
    "c360.profile.v1.HistoryService": ("DiffProfile", "ListProfileChanges"),
    "c360.profile.v1.ProfileService": (
        "GetProfile",
        "BatchGetProfiles",
        "LookupCustomer",
        "ListIdentifiers",
        "ListMembers",
        "GetTimeline",
        "WatchProfile",
        "ReplayCustomer",
    ),
    "c360.profile.v1.ProfileRulesService": ("GetRules", "ListRules", "ExplainTrait"),
    "c360.profile.v1.SegmentService": ("ListSegments", "ListSegmentSizes", "GetMembership"),
}
_EXPORT: Final[dict[str, tuple[str, ...]]] = {
    "c360.consent.v1.AskingService": ("ListAskable",),
    "c360.consent.v1.EvidenceService": ("ListConflicts",),
    "c360.identity.v1.IdentityService": ("ListProposals",),
    "c360.profile.v1.ExportService": ("ExportEvents", "ExportChanges", "CheckExported", "RefreshExported"),
    "c360.profile.v1.SegmentService": ("ListSegmentMembers", "ListMembershipChanges"),
    "c360.profile.v1.WatchService": ("WatchProfiles",),
}
_DECIDE: Final[dict[str, tuple[str, ...]]] = {
    "c360.consent.v1.AgeService": ("RecordAge",),
    "c360.consent.v1.ConfirmationService": ("RequestConfirmation", "Confirm"),
    "c360.consent.v1.ConsentService": ("RecordDecision", "RecordDecisions"),
    "c360.consent.v1.SignalService": ("RecordSignal",),
    "c360.consent.v1.UnsubscribeService": ("CreateUnsubscribeLinks",),
}
_ADMINISTER: Final[dict[str, tuple[str, ...]]] = {
    "c360.consent.v1.EvidenceService": ("ListRestrictions",),
    "c360.consent.v1.AgeService": ("CorrectAge",),
    "c360.consent.v1.RegistryService": ("Define",),
    "c360.consent.v1.RestrictionService": ("RestrictProcessing", "LiftRestriction"),
    "c360.consent.v1.RightsService": ("OpenRightsRequest", "TakeRightsStep", "GetRightsRequest", "ListRightsRequests"),
    "c360.identity.v1.DecisionService": ("MergeCustomers", "SplitCustomer", "ForbidMerge", "WithdrawDecision", "DecideProposal"),
    "c360.identity.v1.IdentityService": ("EraseCustomer", "PlaceLegalHold", "ReleaseLegalHold"),
    "c360.identity.v1.MatchingService": ("CheckModel", "ActivateModel", "ReadBack"),
    "c360.identity.v1.RulesService": ("CheckRules", "ActivateRules", "Simulate"),
    "c360.ingest.v1.IngestService": ("RegisterSource", "ListSources"),
    "c360.ingest.v1.PlanService": ("PublishPlan", "ListQuarantined", "ReplayQuarantined", "DiscardQuarantined", "CheckPlan"),
    "c360.ingest.v1.SourceService": ("DescribeSources", "ChangeSettings", "ListKeys", "AddKey", "RevokeKey"),
    "c360.parked.v1.ParkedService": ("ListParked", "GetParked", "ReplayParked", "DiscardParked"),
    "c360.profile.v1.ProfileRulesService": ("SimulateRules", "ActivateRules"),
}
_AUDIT: Final[dict[str, tuple[str, ...]]] = {
    "c360.profile.v1.DisclosureService": ("WhoRead", "ListUses", "ListExposures", "ReportExposures", "RederiveDisclosure"),
    "c360.profile.v1.PolicyService": ("SimulatePolicy",),
    "c360.log.v1.LogService": (
        "ListPartitions",
        "GetCheckpoint",
        "ReadCheckpoints",
        "GetInclusionProofs",
        "GetConsistencyProof",
        "GetStreamHead",
        "ReadEvents",
        "ReadStream",
        "ReadNodes",
    ),
}
_KEYED: Final[dict[str, tuple[str, ...]]] = {
    "c360.ingest.v1.IngestService": ("RecordEvents", "StreamEvents"),
    "c360.ingest.v1.ReceiptService": ("GetReceipt",),
}
_TABLES: Final[tuple[tuple[Group | Literal["keyed"], dict[str, tuple[str, ...]]], ...]] = (
    ("read", _READ),
    ("export", _EXPORT),
    ("decide", _DECIDE),
    ("administer", _ADMINISTER),
    ("audit", _AUDIT),
    ("keyed", _KEYED),
)

GROUPS: Final[dict[str, Group | Literal["keyed"]]] = {
    f"/{service}/{method}": group for group, table in _TABLES for service, methods in table.items() for method in methods
}
# The purposes that a caller may declare are asked of these: what people decided about a purpose is for no purpose.
DECLARING: Final[frozenset[str]] = frozenset(method for method, group in GROUPS.items() if group not in ("decide", "keyed"))
# These are of all customers, and then for whom exports are, where their `customer` isn't named.
OF_ALL_UNLESS_NAMED: Final[frozenset[str]] = frozenset(
    ("/c360.identity.v1.DecisionService/ListDecisions", "/c360.identity.v1.MatchingService/ListMatches")
)
