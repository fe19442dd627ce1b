/** Calls as a whole: made again where that helps, until their time is over. */
import type { DescMessage, DescMethodBiDiStreaming, DescMethodUnary, MessageShape } from "@bufbuild/protobuf";
import { status as Code } from "@grpc/grpc-js";
import { performance } from "node:perf_hooks";
import { setTimeout as after } from "node:timers/promises";
import { Token, type ServiceName, type Settings } from "./credentials.js";
import { ClientError, makeError } from "./errors.js";
import { ProfileService, type Profile, type WatchProfileRequest } from "./gen/c360/profile/v1/profile_pb.js";
import { Attempts, USUAL_RETRIES, type Retries } from "./retrying.js";
import { Transport, serviceOf, type Once } from "./transport.js";
import { Watching, ended } from "./watching.js";

const USUAL_TIMEOUT_MS = 5_000;
const USUAL_TOKEN_AGE_MS = 60_000;

export interface CallOptions {
  /** For the call as a whole, however often it is made again. Default: that of the settings. */
  readonly timeoutMs?: number | undefined;
  /** Ends it before; what it was aborted with is thrown. A write may have been made. */
  readonly signal?: AbortSignal | undefined;
}

type Ask<T> = (leftMs: number, once: Once) => Promise<T>;

export const monotonicMs = () => performance.now();

export class Calls {
  readonly #transport: Transport;
  readonly #token: Token;
  readonly #writeKey: string | undefined;
  readonly #timeoutMs: number;
  readonly #retries: Retries;

  constructor(settings: Settings) {
    this.#transport = new Transport(settings);
    this.#token = new Token(settings.token, settings.tokenAgeMs ?? USUAL_TOKEN_AGE_MS, monotonicMs);
    this.#writeKey = settings.writeKey;
    this.#timeoutMs = settings.timeoutMs ?? USUAL_TIMEOUT_MS;
    this.#retries = { ...USUAL_RETRIES, ...settings.retries };
  }

  close(): void {
    this.#transport.close();
  }

  async make<I extends DescMessage, O extends DescMessage>(
    method: DescMethodUnary<I, O>,
    request: MessageShape<I>,
    options: CallOptions,
    requestId = "",
  ): Promise<MessageShape<O>> {
    const ask: Ask<MessageShape<O>> = (leftMs, once) => this.#transport.unary(method, request, leftMs, once);
    return this.#made(serviceOf(method), ask, options, requestId);
  }

  /** The method takes a stream; the request is all of it, and what is told its answers. */
  async makeAll<I extends DescMessage, O extends DescMessage>(
    method: DescMethodBiDiStreaming<I, O>,
    request: MessageShape<I>,
    options: CallOptions,
  ): Promise<MessageShape<O>[]> {
    return this.#made(serviceOf(method), (leftMs, once) => this.#transport.all(method, request, leftMs, once), options, "");
  }

  async *watch(
    request: WatchProfileRequest,
    patienceMs: number,
    signal: AbortSignal | undefined,
  ): AsyncGenerator<Profile, never, undefined> {
    const watching = new Watching(request, this.#retries, patienceMs, monotonicMs, Math.random);
    for (;;) {
      let error: ClientError = ended();
      try {
        const credential = await this.#credential("profile", this.#timeoutMs, signal);
        for await (const { profile } of this.#transport.stream(ProfileService.method.watchProfile, watching.open(), {
          credential,
          signal,
        })) {
          if (profile === undefined) continue;
          watching.seen(profile);
          yield profile;
        }
      } catch (thrown) {
        error = expected(thrown);
      }
      await pause(
        watching.after(error, () => this.#renew("profile")),
        signal,
      );
    }
  }

  async #made<T>(service: ServiceName, ask: Ask<T>, { timeoutMs, signal }: CallOptions, requestId: string): Promise<T> {
    const attempts = new Attempts(this.#retries, timeoutMs ?? this.#timeoutMs, monotonicMs, Math.random);
    for (;;) {
      try {
        const credential = await this.#credential(service, attempts.leftMs(), signal);
        return await ask(attempts.leftMs(), { credential, signal });
      } catch (thrown) {
        const error = expected(thrown);
        error.requestId = requestId;
        await pause(
          attempts.after(error, () => this.#renew(service)),
          signal,
        );
      }
    }
  }

  async #credential(service: ServiceName, leftMs: number, signal: AbortSignal | undefined): Promise<string | undefined> {
    return service === "ingest" ? this.#writeKey : inTime(this.#token.get(), leftMs, signal);
  }

  #renew(service: ServiceName): boolean {
    return service !== "ingest" && this.#token.renew();
  }
}

function expected(thrown: unknown): ClientError {
  if (thrown instanceof ClientError) return thrown;
  throw thrown;
}

async function pause(pauseMs: number, signal: AbortSignal | undefined): Promise<void> {
  try {
    await after(pauseMs, undefined, { signal });
  } catch (error) {
    throw signal?.aborted ? signal.reason : error;
  }
}

/** A function that tells tokens may call somebody who doesn't answer: the call ends in its time all the same. */
async function inTime<T>(answer: Promise<T>, leftMs: number, signal: AbortSignal | undefined): Promise<T> {
  signal?.throwIfAborted();
  const done = new AbortController();
  const tooLate = new Promise<never>((_, reject) => {
    const timer = setTimeout(reject, leftMs, makeError({ code: Code.DEADLINE_EXCEEDED, message: "no token was told in time" }));
    const abort = () => {
      reject(signal?.reason as Error);
    };
    signal?.addEventListener("abort", abort, { once: true, signal: done.signal });
    done.signal.addEventListener("abort", () => {
      clearTimeout(timer);
    });
  });
  try {
    return await Promise.race([answer, tooLate]);
  } finally {
    done.abort();
  }
}
