/**
 * What a call is refused with.
 *
 * ClientError
 * ├── InvalidRequest    the request has to be another one
 * ├── NotAuthenticated  no credential, or one that isn't good any more
 * ├── NotPermitted      the caller may not; or the person doesn't permit the purpose (`reason` says which)
 * ├── NotFound
 * ├── WrongState        such as CUSTOMER_ERASED; or there is one already
 * ├── Conflict          lost a race, or a request id was reused for something else
 * ├── LimitExceeded     come again later (`retryAfterMs`), or never as it is
 * ├── OutOfTime         not within the call's time; a write may have been made: repeat it by `requestId` to learn
 * ├── Unavailable       a service is down, or what was asked for isn't there yet
 * └── Failed            a defect, an alarm over there, or a newer protocol
 */
import { fromBinary } from "@bufbuild/protobuf";
import type { Any } from "@bufbuild/protobuf/wkt";
import { status as Code, type ServiceError } from "@grpc/grpc-js";
import type { Refusal } from "./gen/c360/common/v1/common_pb.js";
import { ErrorInfoSchema, RetryInfoSchema, StatusSchema } from "./gen/c360_client/status_pb.js";

const DETAILS = "grpc-status-details-bin";
// How grpc-js tells of a connection that broke beneath a call, for some of the ways in which one can.
const BROKE = "Received RST_STREAM";

export interface Told {
  readonly code: Code;
  readonly message: string;
  readonly reason?: string;
  readonly facts?: Readonly<Record<string, string>>;
  readonly retryAfterMs?: number | undefined;
}

/** It has no `cause`: what the transport throws carries whole headers. */
export class ClientError extends Error {
  /** gRPC's. */
  readonly code: Code;
  /** Machine-readable ("CONSENT_WITHDRAWN"); empty where the transport speaks. */
  readonly reason: string;
  /** Ids and limits, never personal data. */
  readonly facts: Readonly<Record<string, string>>;
  /** When to come again, where the service says so. */
  readonly retryAfterMs: number | undefined;
  /** How often the call was made. */
  attempts = 1;
  /** Of the write that failed; of events, the first one's message id. */
  requestId = "";

  constructor(told: Told) {
    const { code, message, reason = "", facts = {}, retryAfterMs } = told;
    super(`${reason ? `${Code[code]} ${reason}` : Code[code]}: ${message}`);
    this.name = new.target.name;
    this.code = code;
    this.reason = reason;
    this.facts = facts;
    this.retryAfterMs = retryAfterMs;
  }
}

export class InvalidRequest extends ClientError {}
export class NotAuthenticated extends ClientError {}
export class NotPermitted extends ClientError {}
export class NotFound extends ClientError {}
export class WrongState extends ClientError {}
export class Conflict extends ClientError {}
export class LimitExceeded extends ClientError {}
export class OutOfTime extends ClientError {}
export class Unavailable extends ClientError {}
export class Failed extends ClientError {}

const KINDS: Partial<Record<Code, new (told: Told) => ClientError>> = {
  [Code.INVALID_ARGUMENT]: InvalidRequest,
  [Code.OUT_OF_RANGE]: InvalidRequest,
  [Code.UNAUTHENTICATED]: NotAuthenticated,
  [Code.PERMISSION_DENIED]: NotPermitted,
  [Code.NOT_FOUND]: NotFound,
  [Code.FAILED_PRECONDITION]: WrongState,
  [Code.ALREADY_EXISTS]: WrongState,
  [Code.ABORTED]: Conflict,
  [Code.RESOURCE_EXHAUSTED]: LimitExceeded,
  [Code.DEADLINE_EXCEEDED]: OutOfTime,
  [Code.UNAVAILABLE]: Unavailable,
  [Code.CANCELLED]: Unavailable, // told by a service that ends; who cancels a call itself isn't told so
};

const CODES = new Map<number, Code>(
  Object.values(Code)
    .filter((code) => typeof code !== "string")
    .map((code) => [code, code]),
);

export function makeError(told: Told): ClientError {
  const afterMs = told.facts?.retry_after_ms ?? "";
  const retryAfterMs = /^\d+$/.test(afterMs) ? Number(afterMs) : told.retryAfterMs;
  return new (KINDS[told.code] ?? Failed)({ ...told, retryAfterMs });
}

/** About one of several that were asked for. */
export function fromRefusal(refusal: Refusal): ClientError {
  const code = CODES.get(refusal.code) ?? Code.UNKNOWN;
  return makeError({ code, message: refusal.message, reason: refusal.reason, facts: refusal.metadata });
}

export function fromServiceError(error: ServiceError): ClientError {
  const details = detailsOf(error);
  const info = unpacked(details, "ErrorInfo", (one) => fromBinary(ErrorInfoSchema, one.value));
  const delay = unpacked(details, "RetryInfo", (one) => fromBinary(RetryInfoSchema, one.value))?.retryDelay;
  const broke = error.code === Code.INTERNAL && info === undefined && error.details.startsWith(BROKE);
  return makeError({
    code: broke ? Code.UNAVAILABLE : error.code,
    message: error.details,
    reason: info?.reason ?? "",
    facts: info?.metadata ?? {},
    retryAfterMs: delay && Number(delay.seconds) * 1_000 + delay.nanos / 1e6,
  });
}

function detailsOf(error: ServiceError): Any[] {
  const packed = (error.metadata as ServiceError["metadata"] | undefined)?.get(DETAILS)[0];
  return packed instanceof Uint8Array ? fromBinary(StatusSchema, packed).details : [];
}

function unpacked<T>(details: Any[], name: string, open: (one: Any) => T): T | undefined {
  const found = details.find((one) => one.typeUrl.endsWith(`/google.rpc.${name}`));
  return found && open(found);
}
