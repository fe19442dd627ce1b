// What is recorded has a key of its own, and what was rejected isn't passed over.
import { create } from "@bufbuild/protobuf";
import assert from "node:assert/strict";
import { test } from "node:test";
import { InvalidRequest } from "../../src/errors.js";
import { EventSchema, EventStatus, EventType, RecordEventsResponseSchema } from "../../src/gen/c360/ingest/v1/ingest_pb.js";
import { Outcome } from "../../src/messages.js";
import { identified, onlyResult, recordingDecision, recordingEvents, tracked } from "../../src/writing.js";

const NOW = new Date("2026-03-03T10:02:00Z");

test("an event without an id gets one, and what the caller holds stays as it is", () => {
  const ids = ["one", "two"];
  const given = create(EventSchema, { type: EventType.TRACK, userId: "ada", name: "Ordered" });
  const request = recordingEvents([given, identified({ userId: "ada", messageId: "mine" })], NOW, () => ids.shift() ?? "none left");
  assert.deepEqual(
    request.events.map(({ messageId }) => messageId),
    ["one", "mine"],
  );
  assert.equal(given.messageId, "");
  assert.equal(request.sentTime?.seconds, 1772532120n);
});

test("an event says when it happened, and what", () => {
  const [event] = recordingEvents(
    [tracked({ userId: "ada", name: "Ordered", properties: { total: 3 }, happenedAt: NOW })],
    NOW,
    () => "x",
  ).events;
  assert.deepEqual([event?.type, event?.name, event?.properties?.total], [EventType.TRACK, "Ordered", 3]);
  assert.equal(event?.originalTime?.seconds, 1772532120n);
});

test("a decision gets an id, unless it has one", () => {
  const decision = {
    identifier: { namespace: "email", value: "a@example.com" },
    purpose: "p",
    outcome: Outcome.GRANTED,
    method: "web-form",
  };
  assert.equal(recordingDecision(decision, () => "new").requestId, "new");
  assert.equal(recordingDecision({ ...decision, requestId: "mine" }, () => "new").requestId, "mine");
});

test("one event that was rejected is an error with its reason", () => {
  const answer = (status: EventStatus, reason: string) =>
    create(RecordEventsResponseSchema, { results: [{ messageId: "m", status, reason }] });
  assert.equal(onlyResult(answer(EventStatus.ACCEPTED, "")).messageId, "m");
  assert.throws(
    () => onlyResult(answer(EventStatus.REJECTED, "EVENT_NAME_MISSING")),
    (error) => error instanceof InvalidRequest && error.reason === "EVENT_NAME_MISSING" && error.requestId === "m",
  );
});
