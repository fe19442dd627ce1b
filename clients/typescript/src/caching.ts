/** What is kept of answers, so that it needn't be sent again. Bounded in number, size and age; kept apart by purpose. */
import type { Clock } from "./retrying.js";

/** As long as any verdict may be used, whatever the clocks of both sides say. */
export const VERDICT_AT_MOST_MS = 3_000;

/**
 * How much is kept. A profile at hand is never used without asking whether it still may be, and is still the same: what it saves is
 * sending. A verdict at hand is used for 3 s at most: within these, what others than this client record isn't seen, so none are kept
 * unless `verdicts` says how many.
 */
export interface Caching {
  readonly profiles: number;
  readonly profileBytes: number;
  /** Of somebody who isn't asked for again, nothing personal stays for longer, once others are. */
  readonly profileAgeMs: number;
  readonly verdicts: number;
}

export const USUAL_CACHING: Caching = { profiles: 1_000, profileBytes: 16 * 1024 * 1024, profileAgeMs: 300_000, verdicts: 0 };

export interface Kept {
  readonly tag: string;
  readonly content: Uint8Array;
  /** By the clock. */
  readonly until: number;
}

/** Least recently kept first out. */
export class Cache {
  readonly #entries: number;
  readonly #sizeBytes: number;
  readonly #clock: Clock;
  readonly #kept = new Map<string, Kept>();
  #takenBytes = 0;
  #epoch = 0;

  constructor(entries: number, sizeBytes: number, clock: Clock) {
    this.#entries = entries;
    this.#sizeBytes = sizeBytes;
    this.#clock = clock;
  }

  get size(): number {
    return this.#kept.size;
  }

  get sizeBytes(): number {
    return this.#takenBytes;
  }

  /** Another one after each `clear`. */
  get epoch(): number {
    return this.#epoch;
  }

  find(key: string): Kept | undefined {
    const found = this.#kept.get(key);
    if (found === undefined || found.until > this.#clock()) return found;
    this.drop(key);
    return undefined;
  }

  /** Unless all was dropped since `epoch`: then it may be from before. */
  keep(key: string, kept: Kept, epoch: number): void {
    this.drop(key);
    if (epoch !== this.#epoch || this.#entries === 0) return;
    this.#kept.set(key, kept);
    this.#takenBytes += sizeOf(key, kept);
    for (const [oldest, { until }] of this.#kept) {
      if (!this.#isFull() && until > this.#clock()) return;
      this.drop(oldest);
    }
  }

  drop(key: string): void {
    const dropped = this.#kept.get(key);
    if (dropped === undefined) return;
    this.#kept.delete(key);
    this.#takenBytes -= sizeOf(key, dropped);
  }

  clear(): void {
    this.#epoch += 1;
    this.#kept.clear();
    this.#takenBytes = 0;
  }

  #isFull(): boolean {
    return this.#kept.size > this.#entries || this.#takenBytes > this.#sizeBytes;
  }
}

function sizeOf(key: string, kept: Kept): number {
  return kept.content.length + key.length;
}
