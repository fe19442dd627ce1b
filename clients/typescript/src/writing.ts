/** What is recorded: each has a key of its own before it is sent first, and keeps it however often it is sent. */
import { create, type JsonObject, type MessageInitShape } from "@bufbuild/protobuf";
import { status as Code } from "@grpc/grpc-js";
import { makeError } from "./errors.js";
import { RecordDecisionRequestSchema, type Outcome, type RecordDecisionRequest } from "./gen/c360/consent/v1/consent_pb.js";
import {
  EventStatus,
  EventType,
  RecordEventsRequestSchema,
  type EventResult,
  type EventSchema,
  type RecordEventsRequest,
  type RecordEventsResponse,
} from "./gen/c360/ingest/v1/ingest_pb.js";
import { timestamp, type IdentifierInit } from "./messages.js";

/** Of all events: who did it, as far as the sender knows, and when. */
export interface Happened {
  readonly userId?: string;
  readonly anonymousId?: string;
  readonly externalIds?: IdentifierInit[];
  readonly context?: JsonObject;
  /** Default: when it is received. */
  readonly happenedAt?: Date;
  /** Give your own where one effect has to hold over the end of your process too. */
  readonly messageId?: string;
}

export interface Identified extends Happened {
  readonly traits?: JsonObject;
}

export interface Tracked extends Happened {
  readonly name: string;
  readonly properties?: JsonObject;
}

export type EventInit = MessageInitShape<typeof EventSchema>;

export interface Decision {
  readonly identifier: IdentifierInit;
  readonly purpose: string;
  readonly outcome: Outcome;
  /** How it was taken, such as "web-form". */
  readonly method: string;
  /** Default: now. */
  readonly decidedAt?: Date;
  /** By a second click. */
  readonly confirmed?: boolean;
  readonly attestedAge?: number;
  /** The text that the person was shown. */
  readonly notice?: { readonly name: string; readonly version: number; readonly locale: string };
  /** Give your own where one effect has to hold over the end of your process too. */
  readonly requestId?: string;
}

export function identified({ happenedAt, ...event }: Identified): EventInit {
  return { ...event, type: EventType.IDENTIFY, originalTime: timestamp(happenedAt) };
}

export function tracked({ happenedAt, ...event }: Tracked): EventInit {
  return { ...event, type: EventType.TRACK, originalTime: timestamp(happenedAt) };
}

export function recordingEvents(events: readonly EventInit[], now: Date, newId: () => string): RecordEventsRequest {
  const request = create(RecordEventsRequestSchema, { events: [...events], sentTime: timestamp(now) });
  // Copies: an event that the caller made as a message stays as it was given.
  request.events = request.events.map((event) => ({ ...event, messageId: event.messageId === "" ? newId() : event.messageId }));
  return request;
}

export function recordingDecision(
  { decidedAt, notice, requestId, ...decision }: Decision,
  newId: () => string,
): RecordDecisionRequest {
  return create(RecordDecisionRequestSchema, {
    ...decision,
    requestId: requestId ?? newId(),
    decideTime: timestamp(decidedAt),
    notice: notice && { ...notice },
  });
}

/** Of one event. Throws InvalidRequest where it was rejected: of one alone nobody looks for that in an answer. */
export function onlyResult({ results: [result] }: RecordEventsResponse): EventResult {
  if (result === undefined) throw makeError({ code: Code.INTERNAL, message: "the answer holds no result" });
  if (result.status !== EventStatus.REJECTED) return result;
  const error = makeError({ code: Code.INVALID_ARGUMENT, message: "the event was rejected", reason: result.reason });
  error.requestId = result.messageId;
  throw error;
}
