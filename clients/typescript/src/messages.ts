/** The messages of the protocol that the calls take and answer, and how to name a person. Each field is described where it is defined. */
import { create, toJson, type JsonValue, type MessageInitShape } from "@bufbuild/protobuf";
import { ValueSchema, timestampFromDate, type Timestamp } from "@bufbuild/protobuf/wkt";
import { CustomerRefSchema, IdentifierSchema, type CustomerRef, type Identifier } from "./gen/c360/common/v1/common_pb.js";
import type { Profile } from "./gen/c360/profile/v1/profile_pb.js";

export type { CustomerRef, Identifier, Position } from "./gen/c360/common/v1/common_pb.js";
export { Outcome, type CheckResponse, type RecordDecisionResponse } from "./gen/c360/consent/v1/consent_pb.js";
export { EventStatus, EventType, type EventResult, type RecordEventsResponse } from "./gen/c360/ingest/v1/ingest_pb.js";
export type {
  GetTimelineResponse,
  LookupCustomerResponse,
  Profile,
  TimelineEntry,
  Trait,
} from "./gen/c360/profile/v1/profile_pb.js";

export type { ExplainTraitResponse } from "./gen/c360/profile/v1/rules_pb.js";

export type CustomerRefInit = MessageInitShape<typeof CustomerRefSchema>;
export type IdentifierInit = MessageInitShape<typeof IdentifierSchema>;

/** Any id that was ever given out. */
export function byId(customerId: string): CustomerRef {
  return create(CustomerRefSchema, { by: { case: "customerId", value: customerId } });
}

/** Such as ("email", "ada@example.com"); as the person writes it. */
export function byIdentifier(namespace: string, value: string): CustomerRef {
  return create(CustomerRefSchema, { by: { case: "identifier", value: identifier(namespace, value) } });
}

export function identifier(namespace: string, value: string): Identifier {
  return create(IdentifierSchema, { namespace, value });
}

/** The golden values alone, as JSON has them. */
export function traitsOf(profile: Profile): Record<string, JsonValue> {
  return Object.fromEntries(
    Object.entries(profile.traits).map(([name, { value }]) => [name, value ? toJson(ValueSchema, value) : null]),
  );
}

export function timestamp(instant: Date | undefined): Timestamp | undefined {
  return instant && timestampFromDate(instant);
}
