/** A watch that outlasts breaks: it goes on behind the profile that was told last. */
import { status as Code } from "@grpc/grpc-js";
import { makeError, type ClientError } from "./errors.js";
import type { Profile, WatchProfileRequest } from "./gen/c360/profile/v1/profile_pb.js";
import { isPassing, pauseMs, type Chance, type Clock, type Retries } from "./retrying.js";

/** The watcher took nothing for a while, or the service runs as many as it can; both pass. */
const RESUMED = ["WATCH_TOO_SLOW", "WATCHES_BUSY"];
const STEADY_MS = 10_000; // a stream that lasted so long wasn't refused: breaks before it are forgotten

export class Watching {
  readonly #request: WatchProfileRequest;
  readonly #retries: Retries;
  readonly #patienceMs: number;
  readonly #clock: Clock;
  readonly #chance: Chance;
  #openedAt: number;
  #inVainSince: number;
  #breaks = 0;
  #renewed = false;

  /** `patienceMs` is how long it tries in vain, one break after the other. */
  constructor(request: WatchProfileRequest, retries: Retries, patienceMs: number, clock: Clock, chance: Chance) {
    this.#request = request;
    this.#retries = retries;
    this.#patienceMs = patienceMs;
    this.#clock = clock;
    this.#chance = chance;
    this.#openedAt = this.#inVainSince = clock();
  }

  open(): WatchProfileRequest {
    this.#openedAt = this.#clock();
    return this.#request;
  }

  seen(profile: Profile): void {
    this.#request.resumeAfter = [...profile.positions];
    this.#request.atLeastAsFresh = []; // it is included
    this.#steady();
  }

  /** How long to wait before it goes on. Throws the error where it doesn't. `renew` is as for other calls: a watch outlasts tokens, which
   * end it. */
  after(error: ClientError, renew: () => boolean): number {
    if (this.#clock() - this.#openedAt >= STEADY_MS) this.#steady();
    this.#breaks += 1;
    if (error.code === Code.UNAUTHENTICATED && !this.#renewed && renew()) {
      this.#renewed = true;
      return 0;
    }
    if (!isPassing(error) && !RESUMED.includes(error.reason)) throw error;
    const left = this.#inVainSince + this.#patienceMs - this.#clock();
    const pause = pauseMs(this.#retries, this.#breaks, error.retryAfterMs ?? 0, left, this.#chance());
    if (pause === undefined) throw error;
    return pause;
  }

  #steady(): void {
    this.#breaks = 0;
    this.#renewed = false;
    this.#inVainSince = this.#clock();
  }
}

/** A watch has no end of its own: somebody in between ended it. */
export function ended(): ClientError {
  return makeError({ code: Code.UNAVAILABLE, message: "the stream ended" });
}
