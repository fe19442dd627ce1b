/** Profiles, and those that are at hand. One at hand is told only where profile says that it is still the answer, and permitted. */
import { fromBinary, toBinary } from "@bufbuild/protobuf";
import type { Cache, Kept } from "./caching.js";
import { ClientError, Failed, LimitExceeded, OutOfTime, Unavailable, fromRefusal, makeError } from "./errors.js";
import { CustomerRefSchema, type CustomerRef } from "./gen/c360/common/v1/common_pb.js";
import {
  ProfileSchema,
  type BatchGetProfilesRequest,
  type BatchGetProfilesResponse,
  type GetProfileRequest,
  type GetProfileResponse,
  type Profile,
  type ProfileResult,
} from "./gen/c360/profile/v1/profile_pb.js";
import { status as Code } from "@grpc/grpc-js";
import type { Clock } from "./retrying.js";

/** These say nothing of whether the person still permits it; after all others what is at hand is dropped. */
const UNDECIDED = [Failed, LimitExceeded, OutOfTime, Unavailable];

type Asked = GetProfileRequest | BatchGetProfilesRequest;

/** One that is asked for: by which key it is kept, what is kept of it, and since when. */
interface Wanted {
  readonly key: string;
  readonly kept: Kept | undefined;
  readonly epoch: number;
}

export class Profiles {
  readonly cache: Cache;
  readonly #ageMs: number;
  readonly #clock: Clock;

  constructor(cache: Cache, ageMs: number, clock: Clock) {
    this.cache = cache;
    this.#ageMs = ageMs;
    this.#clock = clock;
  }

  async one(request: GetProfileRequest, ask: (request: GetProfileRequest) => Promise<GetProfileResponse>): Promise<Profile> {
    if (request.validAt ?? request.knownAt) return there((await ask(request)).profile); // of the past; its tags aren't those of now
    const wanted = this.#want(request.customer, request);
    request.unlessEtag = wanted.kept?.tag ?? "";
    try {
      const { notModified, profile, etag } = await ask(request);
      return this.#told(wanted, notModified, profile, etag);
    } catch (error) {
      this.#refused(wanted, error);
      throw error;
    }
  }

  async several(
    request: BatchGetProfilesRequest,
    ask: (request: BatchGetProfilesRequest) => Promise<BatchGetProfilesResponse>,
  ): Promise<(Profile | ClientError)[]> {
    const several = request.queries.map((query) => {
      const wanted = this.#want(query.customer, request);
      query.unlessEtag = wanted.kept?.tag ?? "";
      return wanted;
    });
    try {
      const { results } = await ask(request);
      return several.map((wanted, place) => this.#result(wanted, results[place]));
    } catch (error) {
      for (const wanted of several) this.#refused(wanted, error);
      throw error;
    }
  }

  #want(customer: CustomerRef | undefined, request: Asked): Wanted {
    const key = keyOf(customer, request);
    return { key, kept: this.cache.find(key), epoch: this.cache.epoch };
  }

  #result(wanted: Wanted, result: ProfileResult | undefined): Profile | ClientError {
    if (result?.outcome.case === "refusal") {
      const error = fromRefusal(result.outcome.value);
      this.#refused(wanted, error);
      return error;
    }
    const profile = result?.outcome.case === "profile" ? result.outcome.value : undefined;
    return this.#told(wanted, result?.notModified ?? false, profile, result?.etag ?? "");
  }

  #told({ key, kept, epoch }: Wanted, notModified: boolean, profile: Profile | undefined, etag: string): Profile {
    const content = kept && notModified ? kept.content : toBinary(ProfileSchema, there(profile));
    this.cache.keep(key, { tag: etag, content, until: this.#clock() + this.#ageMs }, epoch);
    return fromBinary(ProfileSchema, content); // its own to the caller, who may change it
  }

  #refused(wanted: Wanted, error: unknown): void {
    if (error instanceof ClientError && !UNDECIDED.some((kind) => error instanceof kind)) this.cache.drop(wanted.key);
  }
}

/** Unset where nothing of it is permitted or asked for would be a message of its own: none at all is no answer. */
function there(profile: Profile | undefined): Profile {
  if (profile === undefined) throw makeError({ code: Code.INTERNAL, message: "the answer holds no profile" });
  return profile;
}

function keyOf(customer: CustomerRef | undefined, { purpose, readMask }: Asked): string {
  const named = customer ? Buffer.from(toBinary(CustomerRefSchema, customer)).toString("base64") : "";
  return JSON.stringify([purpose, named, [...new Set(readMask?.paths)].sort()]);
}
