// C360_TEST_DOOR: a door that asks for a certificate, with one for us, its authority, and another authority.
import { Customer360, OutOfTime, Unavailable, byIdentifier, type Tls } from "customer360-client";
import assert from "node:assert/strict";
import { test } from "node:test";

interface Door {
  readonly address: string;
  readonly certificate: string;
  readonly key: string;
  readonly root: string;
  readonly otherRoot: string;
}

const door = JSON.parse(process.env.C360_TEST_DOOR ?? "{}") as Door;
const { certificate, key, root } = door;

async function lookup(tls: Tls, timeoutMs: number): Promise<void> {
  const customers = new Customer360({ addresses: { profile: door.address }, token: "mine", tls, timeoutMs });
  try {
    await customers.lookupCustomer(byIdentifier("email", "ada@example.com"), "service");
  } finally {
    customers.close();
  }
}

test("it shows its certificate to whom its root has issued", () => lookup({ root, certificate, key }, 60_000));

test("it tells nothing to whom another authority has issued, nor without a certificate", async () => {
  const away = (error: unknown) => error instanceof Unavailable || error instanceof OutOfTime;
  await assert.rejects(lookup({ root: door.otherRoot, certificate, key }, 1_000), away);
  await assert.rejects(lookup({ root }, 1_000), away);
});
