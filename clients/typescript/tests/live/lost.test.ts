// The addresses of consent and ingest are those of doors that lose the first answers; what came there the caller of this looks at.
import { Outcome, OutOfTime, Unavailable, traitsOf, type ClientError } from "customer360-client";
import assert from "node:assert/strict";
import { test } from "node:test";
import { Person, installation, withClient } from "./installation.js";

test("a write whose answers are lost has one effect", () =>
  withClient({}, async (customers) => {
    const person = new Person();
    await customers.identify(person.lives("Kiel"));
    await customers.decide({
      identifier: person.email,
      purpose: installation.askingConsent,
      outcome: Outcome.GRANTED,
      method: "web-form",
    });
    await customers.track({ userId: person.userId, name: "Ordered" });
    const page = await customers.getTimeline(person.named, "audit");
    assert.equal(page.entries.filter(({ name }) => name === "Ordered").length, 1);
    assert.equal(page.entries.filter(({ kind }) => kind === "identified").length, 1);
  }));

test("a write that failed tells the id to repeat it by", () =>
  withClient({ addresses: { ...installation.addresses, ingest: "127.0.0.1:1" }, timeoutMs: 500 }, async (customers) => {
    const failed = (error: unknown) => (error instanceof Unavailable || error instanceof OutOfTime) && error.requestId === "mine";
    await assert.rejects(customers.track({ userId: "ada", name: "Ordered", messageId: "mine" }), failed);
    await assert.rejects(customers.track({ userId: "ada", name: "Ordered" }), (error) => (error as ClientError).requestId !== "");
  }));

test("a profile that is still the same is at hand, and the caller's own", () =>
  withClient({}, async (customers) => {
    const person = new Person();
    await customers.identify(person.lives("Kiel"));
    const first = await customers.getProfile(person.named, "audit");
    const { traits } = await customers.getProfile(person.named, "audit");
    delete traits.city;
    assert.deepEqual(await customers.getProfile(person.named, "audit"), first);
    assert.equal(traitsOf(first).city, "Kiel");
  }));
