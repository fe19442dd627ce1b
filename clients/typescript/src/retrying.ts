/** Whether and when a call is made again. Pure: the clock and chance are given. */
import { status as Code } from "@grpc/grpc-js";
import type { ClientError } from "./errors.js";

/** Recorded, and not yet heard by every reader: who repeats the request id waits on. */
const NOT_YET_ENFORCED = "NOT_YET_ENFORCED";
/** The one limit that passes by itself and doesn't say when. */
const OVERLOADED = "OVERLOADED";
const DOUBLINGS_AT_MOST = 32; // further ones are past any longest pause

/**
 * Pauses grow from the first to the longest, each by chance between nothing and that ("full jitter"), so that callers who were refused
 * together don't come again together. What a service says of when to come again is waited for before.
 */
export interface Retries {
  readonly firstPauseMs: number;
  readonly longestPauseMs: number;
}

export const USUAL_RETRIES: Retries = { firstPauseMs: 50, longestPauseMs: 2_000 };

/** Milliseconds; told apart from the clock of the calendar, which may be set. */
export type Clock = () => number;
/** From 0 to just below 1. */
export type Chance = () => number;

/** Every call of this client may be made twice: reads change nothing, writes carry a key of their own. */
export function isPassing(error: ClientError): boolean {
  switch (error.code) {
    case Code.RESOURCE_EXHAUSTED:
      return error.retryAfterMs !== undefined || error.reason === OVERLOADED;
    case Code.DEADLINE_EXCEEDED:
      return error.reason === NOT_YET_ENFORCED;
    default:
      return error.code === Code.UNAVAILABLE || error.code === Code.CANCELLED;
  }
}

/** Undefined where it would come too late: the caller is told now. `attempt` counts from 1. */
export function pauseMs(retries: Retries, attempt: number, afterMs: number, leftMs: number, chance: number): number | undefined {
  const grown = retries.firstPauseMs * 2 ** Math.min(attempt - 1, DOUBLINGS_AT_MOST);
  const pause = afterMs + chance * Math.min(grown, retries.longestPauseMs);
  return pause < leftMs ? pause : undefined;
}

/** Of one call, within its whole time. */
export class Attempts {
  readonly #retries: Retries;
  readonly #clock: Clock;
  readonly #chance: Chance;
  readonly #endsAt: number;
  #made = 0;
  #renewed = false;

  constructor(retries: Retries, timeoutMs: number, clock: Clock, chance: Chance) {
    this.#retries = retries;
    this.#clock = clock;
    this.#chance = chance;
    this.#endsAt = clock() + timeoutMs;
  }

  leftMs(): number {
    return Math.max(1, this.#endsAt - this.#clock());
  }

  /** How long to wait before the next one. Throws the error where there is none. `renew` forgets the credential, and says whether there is
   * another to be had; it is tried once. */
  after(error: ClientError, renew: () => boolean): number {
    this.#made += 1;
    error.attempts = this.#made;
    if (error.code === Code.UNAUTHENTICATED && !this.#renewed && renew()) {
      this.#renewed = true;
      return 0;
    }
    if (!isPassing(error)) throw error;
    const left = this.#endsAt - this.#clock();
    const pause = pauseMs(this.#retries, this.#made, error.retryAfterMs ?? 0, left, this.#chance());
    if (pause === undefined) throw error;
    return pause;
  }
}
