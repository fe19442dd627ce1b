"""The door: takes events from sources, judges each, and answers only when the accepted ones are durable.

Owns the log of sources and plans (who may send what, by which write key), the streams SOURCE and INGEST that it fills, the
quarantine and the receipts. Follows CUSTOMER, to know what became of events, and SOURCE, to know what other replicas changed;
reads INGEST once, at start, to know what is under way. Serves the Segment protocol and CloudEvents over HTTP, and over gRPC
IngestService, SourceService, PlanService and ReceiptService of `c360.ingest.v1`; both doors give the same verdicts.
"""
