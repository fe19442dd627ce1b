/** What a caller proves itself by: a token, or a certificate; and where the services are. */
import { readFile } from "node:fs/promises";
import { credentials, type ChannelCredentials } from "@grpc/grpc-js";
import type { Caching } from "./caching.js";
import type { Clock, Retries } from "./retrying.js";

const LOOPBACK = ["127.0.0.1", "localhost", "[::1]"];
const SENDABLE = /^[\x21-\x7e]+$/;

/** Of gRPC. */
export interface Addresses {
  readonly profile: string;
  readonly consent: string;
  readonly ingest: string;
}

export type ServiceName = keyof Addresses;

export const USUAL_ADDRESSES: Addresses = { profile: "127.0.0.1:50053", consent: "127.0.0.1:50054", ingest: "127.0.0.1:50051" };

/** PEM. `root` is who issues the services' certificates (default: whom Node knows); the other two are the caller's own, where services ask for
 * one. */
export interface Tls {
  readonly root?: Uint8Array | string;
  readonly certificate?: Uint8Array | string;
  readonly key?: Uint8Array | string;
}

export type TokenSource = string | (() => string | Promise<string>);

export interface Settings {
  readonly addresses?: Partial<Addresses>;
  /** One, or a function that tells the newest one, such as `tokenFile`; it is asked again every `tokenAgeMs`, and when the one that it told
   * is refused. */
  readonly token?: TokenSource | undefined;
  /** Default: a minute. */
  readonly tokenAgeMs?: number;
  /** Of the source whose events are recorded. */
  readonly writeKey?: string | undefined;
  readonly tls?: Tls | undefined;
  /** Tokens and write keys go in clear beyond this machine only if this says so. */
  readonly inClear?: boolean;
  /** Of a call as a whole, unless it says otherwise. Default: 5 s. */
  readonly timeoutMs?: number;
  readonly retries?: Partial<Retries>;
  readonly caching?: Partial<Caching>;
}

export function tokenFile(path: string | URL): () => Promise<string> {
  return async () => (await readFile(path, "utf8")).trim();
}

/** The one that counts. */
export class Token {
  readonly #source: TokenSource | undefined;
  readonly #ageMs: number;
  readonly #clock: Clock;
  #told: Promise<string> | undefined;
  #until = 0;

  constructor(source: TokenSource | undefined, ageMs: number, clock: Clock) {
    this.#source = source;
    this.#ageMs = ageMs;
    this.#clock = clock;
  }

  /** Who asks while it is being told waits for the same answer. */
  async get(): Promise<string | undefined> {
    const source = this.#source;
    if (typeof source !== "function") return source;
    if (this.#told === undefined || this.#clock() >= this.#until) {
      const told = Promise.resolve().then(source);
      this.#told = told;
      this.#until = this.#clock() + this.#ageMs;
      told.catch(() => {
        if (this.#told === told) this.#told = undefined; // the next call asks again
      });
    }
    return this.#told;
  }

  /** Whether another one may be had. */
  renew(): boolean {
    this.#told = undefined;
    return typeof this.#source === "function";
  }
}

/** The value of the header. Throws TypeError where none can carry it, and not as grpc-js does, whose error shows the credential. */
export function bearer(credential: string): string {
  if (!SENDABLE.test(credential)) throw new TypeError("a credential holds characters that no header may carry");
  return `Bearer ${credential}`;
}

/** Throws TypeError where a credential would go in clear beyond this machine. */
export function channelCredentials(settings: Settings, address: string): ChannelCredentials {
  if (settings.tls) return credentials.createSsl(pem(settings.tls.root), pem(settings.tls.key), pem(settings.tls.certificate));
  const isLocal = LOOPBACK.includes(address.slice(0, address.lastIndexOf(":")));
  if ((settings.token ?? settings.writeKey) !== undefined && !settings.inClear && !isLocal) {
    throw new TypeError(`a credential would go to ${address} in clear: give \`tls\`, or say \`inClear\``);
  }
  return credentials.createInsecure();
}

function pem(content: Uint8Array | string | undefined): Buffer | null {
  return content === undefined ? null : Buffer.from(content);
}
