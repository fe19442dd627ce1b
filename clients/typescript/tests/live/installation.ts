// What the test that starts the services (tests/live/test_typescript_client.py) tells of them, and does to them when it is asked.
import { randomUUID } from "node:crypto";
import { Customer360, byIdentifier, identifier, tokenFile, type Identified, type Settings } from "customer360-client";

const DEADLINE_MS = 60_000; // generous: what is tested is the answer, not its speed

export interface Installation {
  readonly addresses: { readonly profile: string; readonly consent: string; readonly ingest: string };
  readonly tokenFile: string;
  readonly writeKey: string;
  /** A purpose that asks the person. */
  readonly askingConsent: string;
  readonly control: string;
}

export const installation = JSON.parse(process.env.C360_TEST_INSTALLATION ?? "{}") as Installation;

export function settingsOf(how: Settings = {}): Settings {
  const { addresses, writeKey } = installation;
  return { addresses, writeKey, token: tokenFile(installation.tokenFile), timeoutMs: DEADLINE_MS, ...how };
}

export async function withClient<T>(how: Settings, use: (customers: Customer360) => Promise<T>): Promise<T> {
  const customers = new Customer360(settingsOf(how));
  try {
    return await use(customers);
  } finally {
    customers.close();
  }
}

export type Deed = "kill" | "take-down" | "bring-up";

export async function order(deed: Deed, service: string): Promise<void> {
  const answer = await fetch(`${installation.control}/${deed}/${service}`, { method: "POST", headers: { connection: "close" } });
  if (!answer.ok) throw new Error(`${deed} ${service}: ${await answer.text()}`);
}

export class Person {
  readonly userId = randomUUID();
  readonly email = identifier("email", `${this.userId}@example.com`);
  readonly named = byIdentifier("email", this.email.value);

  lives(city: string): Identified {
    return { userId: this.userId, traits: { email: this.email.value, city } };
  }
}
