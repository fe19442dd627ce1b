"""The door: takes events from sources, judges each, and answers only when the accepted ones are durable.

Owns the log of sources (who may send, by which write key) and the stream INGEST that it fills. Follows nothing. Serves
the Segment protocol over HTTP and `c360.ingest.v1.IngestService` over gRPC; both doors give the same verdicts.
"""
