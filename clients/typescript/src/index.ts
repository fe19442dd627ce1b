/**
 * Asks a customer360 installation about customers, and records what they decide and do.
 *
 * Calls end within their time, are made again where that helps, have one effect, and include what the same client wrote before.
 */
export type { Caching } from "./caching.js";
export type { CallOptions } from "./calls.js";
export type { Judged } from "./checking.js";
export { Customer360, type ProfileOptions, type ReadOptions, type TimelineOptions, type WatchOptions } from "./client.js";
export { tokenFile, type Addresses, type Settings, type Tls, type TokenSource } from "./credentials.js";
export {
  ClientError,
  Conflict,
  Failed,
  InvalidRequest,
  LimitExceeded,
  NotAuthenticated,
  NotFound,
  NotPermitted,
  OutOfTime,
  Unavailable,
  WrongState,
} from "./errors.js";
export { EventStatus, EventType, Outcome, byId, byIdentifier, identifier, traitsOf } from "./messages.js";
export type {
  CheckResponse,
  CustomerRef,
  CustomerRefInit,
  EventResult,
  ExplainTraitResponse,
  GetTimelineResponse,
  Identifier,
  IdentifierInit,
  LookupCustomerResponse,
  Position,
  Profile,
  RecordDecisionResponse,
  RecordEventsResponse,
  TimelineEntry,
  Trait,
} from "./messages.js";
export type { Retries } from "./retrying.js";
export type { Decision, EventInit, Happened, Identified, Tracked } from "./writing.js";
