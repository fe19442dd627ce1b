/** Verdicts of consent. One is used again only where the settings say so, and no longer than it may be. */
import { fromBinary, toBinary } from "@bufbuild/protobuf";
import { timestampMs } from "@bufbuild/protobuf/wkt";
import { VERDICT_AT_MOST_MS, type Cache } from "./caching.js";
import { ClientError, fromRefusal, makeError } from "./errors.js";
import { CustomerRefSchema } from "./gen/c360/common/v1/common_pb.js";
import {
  CheckResponseSchema,
  type CheckBatchResponse,
  type CheckRequest,
  type CheckResponse,
  type FilterAudienceResponse,
} from "./gen/c360/consent/v1/consent_pb.js";
import type { CustomerRefInit } from "./messages.js";
import { status as Code } from "@grpc/grpc-js";
import type { Clock } from "./retrying.js";

/** As FilterAudience takes. */
const BATCH_AT_MOST = 1_000;

/** `clock` never runs backwards; `now` tells the time, in milliseconds since 1970, as well as this machine knows it. */
export class Verdicts {
  readonly #cache: Cache;
  readonly #clock: Clock;
  readonly #now: Clock;

  constructor(cache: Cache, clock: Clock, now: Clock) {
    this.#cache = cache;
    this.#clock = clock;
    this.#now = now;
  }

  forget(): void {
    this.#cache.clear();
  }

  /** `anew`: one at hand may be from before what the caller was told. */
  async one(request: CheckRequest, anew: boolean, ask: (request: CheckRequest) => Promise<CheckResponse>): Promise<CheckResponse> {
    const key = keyOf(request);
    const kept = anew ? undefined : this.#cache.find(key);
    if (kept) return fromBinary(CheckResponseSchema, kept.content);
    const epoch = this.#cache.epoch;
    const [askedAt, askedNow] = [this.#clock(), this.#now()];
    const response = await ask(request);
    // From when it was asked for: how long the answer took isn't known apart.
    const usable = (response.validUntilTime ? timestampMs(response.validUntilTime) : 0) - askedNow;
    const until = askedAt + Math.min(usable, VERDICT_AT_MOST_MS);
    this.#cache.keep(key, { tag: "", content: toBinary(CheckResponseSchema, response), until }, epoch);
    return response;
  }
}

/** In the order asked. */
export function verdicts({ results }: CheckBatchResponse): (CheckResponse | ClientError)[] {
  return results.map(({ outcome }) => {
    if (outcome.case === "verdict") return outcome.value;
    if (outcome.case === "refusal") return fromRefusal(outcome.value);
    return makeError({ code: Code.INTERNAL, message: "the answer holds no verdict" });
  });
}

/** Of an audience. */
export interface Judged {
  readonly customer: CustomerRefInit;
  readonly permitted: boolean;
  /** Why not, as a machine-readable word. */
  readonly reason: string;
}

/** In the order of the batch. */
export function judged(batch: readonly CustomerRefInit[], response: FilterAudienceResponse | undefined): Judged[] {
  if (response === undefined) throw makeError({ code: Code.INTERNAL, message: "the answer holds no verdicts" });
  const [permitted, excluded] = [
    new Set(response.permitted),
    new Map(response.excluded.map(({ index, reason }) => [index, reason])),
  ];
  return batch.map((customer, place) => ({ customer, permitted: permitted.has(place), reason: excluded.get(place) ?? "" }));
}

/** As many at a time as one question takes, when they are come to. */
export async function* audienceBatches(
  customers: Iterable<CustomerRefInit> | AsyncIterable<CustomerRefInit>,
): AsyncGenerator<CustomerRefInit[], void, undefined> {
  let batch: CustomerRefInit[] = [];
  for await (const customer of customers) {
    batch.push(customer);
    if (batch.length < BATCH_AT_MOST) continue;
    yield batch;
    batch = [];
  }
  if (batch.length) yield batch;
}

function keyOf({ purpose, customer }: CheckRequest): string {
  return JSON.stringify([purpose, customer ? Buffer.from(toBinary(CustomerRefSchema, customer)).toString("base64") : ""]);
}
