/** Calls as grpc-js makes them, of the methods that the protos describe: once, with what proves the caller. */
import {
  fromBinary,
  toBinary,
  type DescMessage,
  type DescMethodBiDiStreaming,
  type DescMethodServerStreaming,
  type DescMethodUnary,
  type MessageShape,
} from "@bufbuild/protobuf";
import { Client, Metadata, type ClientDuplexStream, type ClientReadableStream, type ServiceError } from "@grpc/grpc-js";
import { USUAL_ADDRESSES, bearer, channelCredentials, type ServiceName, type Settings } from "./credentials.js";
import { fromServiceError } from "./errors.js";

// A channel must not sit out gRPC's default pause of up to two minutes when a service is back after one second; retrying is ours.
const OPTIONS = {
  "grpc.initial_reconnect_backoff_ms": 100,
  "grpc.max_reconnect_backoff_ms": 1_000,
  "grpc.max_receive_message_length": 16 * 1024 * 1024,
  "grpc.enable_retries": 0,
};

type AnyMethod = DescMethodUnary | DescMethodServerStreaming | DescMethodBiDiStreaming;

export interface Once {
  readonly credential: string | undefined;
  readonly signal: AbortSignal | undefined;
}

export class Transport {
  readonly #settings: Settings;
  readonly #clients = new Map<ServiceName, Client>();

  constructor(settings: Settings) {
    this.#settings = settings;
  }

  close(): void {
    for (const client of this.#clients.values()) client.close();
    this.#clients.clear();
  }

  /** Throws ClientError, or why the signal was given. */
  async unary<I extends DescMessage, O extends DescMessage>(
    method: DescMethodUnary<I, O>,
    request: MessageShape<I>,
    timeoutMs: number,
    { credential, signal }: Once,
  ): Promise<MessageShape<O>> {
    signal?.throwIfAborted();
    const metadata = metadataOf(credential);
    const client = this.#client(serviceOf(method));
    return new Promise((resolve, reject) => {
      const told = (error: ServiceError | null, response?: MessageShape<O>) => {
        signal?.removeEventListener("abort", cancel);
        if (response !== undefined && !error) resolve(response);
        else reject(whyNot(error, signal));
      };
      const options = { deadline: Date.now() + timeoutMs };
      const call = client.makeUnaryRequest(
        pathOf(method),
        writer(method.input),
        reader(method.output),
        request,
        metadata,
        options,
        told,
      );
      const cancel = () => {
        call.cancel();
      };
      signal?.addEventListener("abort", cancel, { once: true });
    });
  }

  /** It has no deadline: it goes on until whoever reads it ends it. Throws as `unary`. */
  async *stream<I extends DescMessage, O extends DescMessage>(
    method: DescMethodServerStreaming<I, O>,
    request: MessageShape<I>,
    { credential, signal }: Once,
  ): AsyncGenerator<MessageShape<O>, void, undefined> {
    signal?.throwIfAborted();
    const client = this.#client(serviceOf(method));
    const [write, read] = [writer(method.input), reader(method.output)];
    yield* answers(client.makeServerStreamRequest(pathOf(method), write, read, request, metadataOf(credential), {}), signal);
  }

  /** The method takes a stream; the request is all of it, and what is told its answers. Throws as `unary`. */
  async all<I extends DescMessage, O extends DescMessage>(
    method: DescMethodBiDiStreaming<I, O>,
    request: MessageShape<I>,
    timeoutMs: number,
    { credential, signal }: Once,
  ): Promise<MessageShape<O>[]> {
    signal?.throwIfAborted();
    const client = this.#client(serviceOf(method));
    const [write, read, deadline] = [writer(method.input), reader(method.output), Date.now() + timeoutMs];
    const call: ClientDuplexStream<MessageShape<I>, MessageShape<O>> = client.makeBidiStreamRequest(
      pathOf(method),
      write,
      read,
      metadataOf(credential),
      { deadline },
    );
    call.end(request);
    const told: MessageShape<O>[] = [];
    for await (const answer of answers(call, signal)) told.push(answer);
    return told;
  }

  #client(service: ServiceName): Client {
    let client = this.#clients.get(service);
    if (client === undefined) {
      const address = this.#settings.addresses?.[service] ?? USUAL_ADDRESSES[service];
      client = new Client(address, channelCredentials(this.#settings, address), OPTIONS);
      this.#clients.set(service, client);
    }
    return client;
  }
}

async function* answers<O>(
  call: ClientReadableStream<O> | ClientDuplexStream<never, O>,
  signal: AbortSignal | undefined,
): AsyncGenerator<O, void, undefined> {
  call.on("error", () => undefined); // told below; and once nobody reads any more, that it was cancelled is no news
  const cancel = () => {
    call.cancel();
  };
  signal?.addEventListener("abort", cancel, { once: true });
  try {
    for await (const answer of call) yield answer as O;
  } catch (error) {
    throw whyNot(error, signal);
  } finally {
    signal?.removeEventListener("abort", cancel);
    cancel();
  }
}

/** By the package, such as c360.profile.v1. */
export function serviceOf(method: AnyMethod): ServiceName {
  return method.parent.typeName.split(".")[1] as ServiceName;
}

function pathOf(method: AnyMethod): string {
  return `/${method.parent.typeName}/${method.name}`;
}

function metadataOf(credential: string | undefined): Metadata {
  const metadata = new Metadata();
  if (credential !== undefined) metadata.set("authorization", bearer(credential));
  return metadata;
}

/** What the signal was given for may be anything; as a rule it is an Error. */
function whyNot(error: unknown, signal: AbortSignal | undefined): Error {
  if (signal?.aborted) return signal.reason as Error;
  return error instanceof Error && "metadata" in error ? fromServiceError(error as ServiceError) : (error as Error);
}

function writer<I extends DescMessage>(schema: I): (message: MessageShape<I>) => Buffer {
  return (message) => Buffer.from(toBinary(schema, message));
}

function reader<O extends DescMessage>(schema: O): (content: Buffer) => MessageShape<O> {
  return (content) => fromBinary(schema, content);
}
