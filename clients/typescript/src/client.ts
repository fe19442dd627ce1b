/** The client. */
import { create } from "@bufbuild/protobuf";
import { randomUUID } from "node:crypto";
import { Cache, USUAL_CACHING } from "./caching.js";
import { Calls, monotonicMs, type CallOptions } from "./calls.js";
import { Verdicts, audienceBatches, judged, verdicts, type Judged } from "./checking.js";
import type { Settings } from "./credentials.js";
import type { ClientError } from "./errors.js";
import type { Position } from "./gen/c360/common/v1/common_pb.js";
import {
  CheckBatchRequestSchema,
  CheckRequestSchema,
  ConsentService,
  FilterAudienceRequestSchema,
  type CheckResponse,
  type RecordDecisionResponse,
} from "./gen/c360/consent/v1/consent_pb.js";
import { IngestService, type EventResult, type RecordEventsResponse } from "./gen/c360/ingest/v1/ingest_pb.js";
import {
  BatchGetProfilesRequestSchema,
  GetProfileRequestSchema,
  GetTimelineRequestSchema,
  LookupCustomerRequestSchema,
  ProfileService,
  WatchProfileRequestSchema,
  type GetTimelineResponse,
  type LookupCustomerResponse,
  type Profile,
  type TimelineEntry,
} from "./gen/c360/profile/v1/profile_pb.js";
import { ExplainTraitRequestSchema, ProfileRulesService, type ExplainTraitResponse } from "./gen/c360/profile/v1/rules_pb.js";
import { timestamp, type CustomerRefInit } from "./messages.js";
import { Positions } from "./positions.js";
import { Profiles } from "./reading.js";
import {
  identified,
  onlyResult,
  recordingDecision,
  recordingEvents,
  tracked,
  type Decision,
  type EventInit,
  type Identified,
  type Tracked,
} from "./writing.js";

/** Reads include what this client wrote. */
export interface ReadOptions extends CallOptions {
  /** Positions that others were told: what stands there is included too. */
  readonly fresh?: Iterable<Position>;
}

export interface ProfileOptions extends ReadOptions {
  /** Such as "traits.email": all that is asked for. */
  readonly fields?: readonly string[];
  /** As of what had happened by then. */
  readonly validAt?: Date;
  /** As of what was known by then. */
  readonly knownAt?: Date;
}

export interface TimelineOptions extends ReadOptions {
  readonly kinds?: string[];
  readonly names?: string[];
  readonly since?: Date;
  readonly until?: Date;
  readonly pageSize?: number;
  readonly pageToken?: string;
}

export interface WatchOptions extends Omit<ReadOptions, "timeoutMs"> {
  /** How long it tries in vain, one break after the other. Default: for ever. */
  readonly patienceMs?: number;
}

/** One for a whole program. `purpose` is one that the caller may declare. All calls throw ClientError. */
export class Customer360 {
  readonly #calls: Calls;
  readonly #positions = new Positions();
  readonly #profiles: Profiles;
  readonly #verdicts: Verdicts;

  constructor(settings: Settings = {}) {
    const caching = { ...USUAL_CACHING, ...settings.caching };
    this.#calls = new Calls(settings);
    this.#profiles = new Profiles(
      new Cache(caching.profiles, caching.profileBytes, monotonicMs),
      caching.profileAgeMs,
      monotonicMs,
    );
    this.#verdicts = new Verdicts(new Cache(caching.verdicts, caching.profileBytes, monotonicMs), monotonicMs, Date.now);
  }

  /** Ends its connections once the calls on them have ended, and drops what it keeps of people. */
  close(): void {
    this.#calls.close();
    this.#profiles.cache.clear();
    this.#verdicts.forget();
  }

  /** Where this client's writes stand: what another has to be told (`fresh`), to read them. */
  get positions(): Position[] {
    return this.#positions.newest();
  }

  /** How many profiles are kept, and the bytes of them. */
  get kept(): { readonly profiles: number; readonly bytes: number } {
    return { profiles: this.#profiles.cache.size, bytes: this.#profiles.cache.sizeBytes };
  }

  /** The golden profile, as far as the purpose and the person allow. */
  async getProfile(customer: CustomerRefInit, purpose: string, options: ProfileOptions = {}): Promise<Profile> {
    const request = create(GetProfileRequestSchema, {
      customer,
      purpose,
      validAt: timestamp(options.validAt),
      knownAt: timestamp(options.knownAt),
      atLeastAsFresh: this.#positions.newest(options.fresh),
      readMask: maskOf(options.fields),
    });
    return this.#profiles.one(request, (one) => this.#calls.make(ProfileService.method.getProfile, one, options));
  }

  /** Of up to 100, in their order: a profile, or what `getProfile` would have thrown. */
  async batchGetProfiles(
    customers: readonly CustomerRefInit[],
    purpose: string,
    options: Omit<ProfileOptions, "validAt" | "knownAt"> = {},
  ): Promise<(Profile | ClientError)[]> {
    const request = create(BatchGetProfilesRequestSchema, {
      queries: customers.map((customer) => ({ customer })),
      purpose,
      atLeastAsFresh: this.#positions.newest(options.fresh),
      readMask: maskOf(options.fields),
    });
    return this.#profiles.several(request, (several) => this.#calls.make(ProfileService.method.batchGetProfiles, several, options));
  }

  /** Which customer it is, with nothing personal. */
  async lookupCustomer(customer: CustomerRefInit, purpose: string, options: ReadOptions = {}): Promise<LookupCustomerResponse> {
    const atLeastAsFresh = this.#positions.newest(options.fresh);
    const request = create(LookupCustomerRequestSchema, { customer, purpose, atLeastAsFresh });
    return this.#calls.make(ProfileService.method.lookupCustomer, request, options);
  }

  /** A page of what happened, latest first; `timeline` goes through all of them. */
  async getTimeline(customer: CustomerRefInit, purpose: string, options: TimelineOptions = {}): Promise<GetTimelineResponse> {
    const { kinds = [], names = [], since, until, pageSize = 0, pageToken = "", fresh } = options;
    const atLeastAsFresh = this.#positions.newest(fresh);
    const within = { sinceTime: timestamp(since), untilTime: timestamp(until) };
    const request = create(GetTimelineRequestSchema, {
      customer,
      purpose,
      kinds,
      names,
      ...within,
      pageSize,
      pageToken,
      atLeastAsFresh,
    });
    return this.#calls.make(ProfileService.method.getTimeline, request, options);
  }

  /** All of it, latest first, page by page as it is read. */
  async *timeline(
    customer: CustomerRefInit,
    purpose: string,
    options: TimelineOptions = {},
  ): AsyncGenerator<TimelineEntry, void, undefined> {
    let { pageToken } = options;
    do {
      const page = await this.getTimeline(customer, purpose, { ...options, pageToken: pageToken ?? "" });
      yield* page.entries;
      pageToken = page.nextPageToken;
    } while (pageToken);
  }

  /** Why a trait has its value: what was said of it, what was chosen by which rule, and why each of the others was not. */
  async explainTrait(
    customer: CustomerRefInit,
    trait: string,
    purpose: string,
    options: ReadOptions & { readonly pageToken?: string } = {},
  ): Promise<ExplainTraitResponse> {
    const atLeastAsFresh = this.#positions.newest(options.fresh);
    const { pageToken = "" } = options;
    const request = create(ExplainTraitRequestSchema, { customer, trait, purpose, pageToken, atLeastAsFresh });
    return this.#calls.make(ProfileRulesService.method.explainTrait, request, options);
  }

  /** The profile now, and whenever it changes, the newest each time; over breaks and restarts. It ends by an error only: NotPermitted once
   * consent ends, WrongState once the customer is erased, or a break that lasts for `patienceMs`; `break` out of the loop to end it. */
  watch(customer: CustomerRefInit, purpose: string, options: WatchOptions = {}): AsyncGenerator<Profile, never, undefined> {
    const request = create(WatchProfileRequestSchema, { customer, purpose, atLeastAsFresh: this.#positions.newest(options.fresh) });
    return this.#calls.watch(request, options.patienceMs ?? Infinity, options.signal);
  }

  /** Whether the person permits the purpose. The answer may be used until its `validUntilTime`. */
  async check(customer: CustomerRefInit, purpose: string, options: ReadOptions = {}): Promise<CheckResponse> {
    const told = [...(options.fresh ?? [])];
    const request = create(CheckRequestSchema, { customer, purpose, atLeastAsFresh: this.#positions.newest(told) });
    return this.#verdicts.one(request, told.length > 0, (one) => this.#calls.make(ConsentService.method.check, one, options));
  }

  /** Of up to 1,000, in their order: a verdict, or what `check` would have thrown. */
  async checkBatch(
    customers: readonly CustomerRefInit[],
    purpose: string,
    options: ReadOptions = {},
  ): Promise<(CheckResponse | ClientError)[]> {
    const atLeastAsFresh = this.#positions.newest(options.fresh);
    const request = create(CheckBatchRequestSchema, { customers: [...customers], purpose, atLeastAsFresh });
    return verdicts(await this.#calls.make(ConsentService.method.checkBatch, request, options));
  }

  /** Of up to 1,000, in their order: who permits the purpose. `filterAudience` takes any number. */
  async judge(customers: readonly CustomerRefInit[], purpose: string, options: ReadOptions = {}): Promise<Judged[]> {
    const atLeastAsFresh = this.#positions.newest(options.fresh);
    const request = create(FilterAudienceRequestSchema, { customers: [...customers], purpose, atLeastAsFresh });
    const [response] = await this.#calls.makeAll(ConsentService.method.filterAudience, request, options);
    return judged(customers, response);
  }

  /** Any number, each with whether they permit the purpose; judged a thousand at a time, when they are come to. `timeoutMs` is for each
   * thousand. */
  async *filterAudience(
    customers: Iterable<CustomerRefInit> | AsyncIterable<CustomerRefInit>,
    purpose: string,
    options: ReadOptions = {},
  ): AsyncGenerator<Judged, void, undefined> {
    const fresh = [...(options.fresh ?? [])];
    for await (const batch of audienceBatches(customers)) yield* await this.judge(batch, purpose, { ...options, fresh });
  }

  /** Records what a person decided; answers once every reader enforces it. It has one effect, however often it is sent; a `requestId` of
   * your own makes that hold over the end of this process too, and over an OutOfTime, whose error has it. */
  async decide(decision: Decision, options: CallOptions = {}): Promise<RecordDecisionResponse> {
    const request = recordingDecision(decision, randomUUID);
    this.#verdicts.forget();
    const response = await this.#calls.make(ConsentService.method.recordDecision, request, options, request.requestId);
    this.#wrote(response.position);
    return response;
  }

  /** Who somebody is: traits, and which identifiers are one person's. Throws InvalidRequest where the event is rejected. */
  async identify(event: Identified, options: CallOptions = {}): Promise<EventResult> {
    return onlyResult(await this.record([identified(event)], options));
  }

  /** What somebody did. Throws InvalidRequest where the event is rejected. */
  async track(event: Tracked, options: CallOptions = {}): Promise<EventResult> {
    return onlyResult(await this.record([tracked(event)], options));
  }

  /** Up to 2,500 events of the source whose write key the settings have. Answers once they are durable, with a result each: those that are
   * rejected throw nothing. Who has no message id gets one; each has one effect, however often it is sent. */
  async record(events: readonly EventInit[], options: CallOptions = {}): Promise<RecordEventsResponse> {
    const request = recordingEvents(events, new Date(), randomUUID);
    const response = await this.#calls.make(IngestService.method.recordEvents, request, options, request.events[0]?.messageId);
    this.#wrote(response.position);
    return response;
  }

  #wrote(position: Position | undefined): void {
    this.#positions.note(position);
    this.#verdicts.forget(); // those that were made meanwhile too: events may bring decisions, and make two people one
  }
}

function maskOf(fields: readonly string[] | undefined): { paths: string[] } | undefined {
  return fields?.length ? { paths: [...fields] } : undefined;
}
