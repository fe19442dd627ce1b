import { NotFound, Outcome, OutOfTime, Unavailable, traitsOf } from "customer360-client";
import assert from "node:assert/strict";
import { performance } from "node:perf_hooks";
import { test } from "node:test";
import { Person, installation, order, withClient } from "./installation.js";

const SHORT_MS = 2_000;
const MUCH_LATER_MS = 20_000; // a busy machine's

test("reads go on while profile is killed, and none goes back", () =>
  withClient({}, async (customers) => {
    const person = new Person();
    await customers.identify(person.lives("0"));
    let over = false;
    const read = async () => {
      let [reads, newest] = [0, 0];
      while (!over) {
        const city = Number(traitsOf(await customers.getProfile(person.named, "audit")).city);
        assert.ok(city >= newest, `${city} after ${newest}`);
        newest = city;
        reads += 1;
      }
      return reads;
    };
    const readers = Promise.all(Array.from({ length: 4 }, read));
    for (const round of [1, 2, 3]) {
      await order("kill", "profile");
      await customers.identify(person.lives(String(round)));
      assert.equal(traitsOf(await customers.getProfile(person.named, "audit")).city, String(round));
    }
    over = true;
    assert.ok((await readers).every((reads) => reads > 0));
  }));

for (const service of ["profile", "consent", "ingest"]) {
  test(`calls outlast ${service}, which is killed and started again`, () =>
    withClient({}, async (customers) => {
      const person = new Person();
      const decision = {
        identifier: person.email,
        purpose: installation.askingConsent,
        outcome: Outcome.GRANTED,
        method: "web-form",
      };
      await customers.identify(person.lives("Kiel"));
      await order("kill", service);
      await customers.identify(person.lives("Bonn"));
      await customers.decide(decision);
      assert.equal(traitsOf(await customers.getProfile(person.named, decision.purpose)).city, "Bonn");
    }));
}

test("a watch goes on over a kill with what changed meanwhile, and ends with the loop", () =>
  withClient({}, async (customers) => {
    const person = new Person();
    await customers.identify(person.lives("Kiel"));
    const cities: unknown[] = [];
    for await (const profile of customers.watch(person.named, "audit")) {
      const { city } = traitsOf(profile);
      cities.push(city);
      if (city === "Bonn") break;
      if (cities.length > 1) continue;
      await order("kill", "profile");
      await customers.identify(person.lives("Bonn"));
    }
    assert.deepEqual([cities.at(0), cities.at(-1)], ["Kiel", "Bonn"]);
  }));

test("a watch ends when it is aborted, and by what it is refused with", () =>
  withClient({}, async (customers) => {
    const person = new Person();
    await customers.identify(person.lives("Kiel"));
    const stop = new AbortController();
    const watch = async () => {
      for await (const profile of customers.watch(person.named, "audit", { signal: stop.signal })) {
        assert.equal(traitsOf(profile).city, "Kiel");
        stop.abort(new RangeError("enough"));
      }
    };
    await assert.rejects(watch(), /enough/);
    await assert.rejects(customers.watch(new Person().named, "audit").next(), NotFound);
  }));

test("a call ends in its time while a service stays away", () =>
  withClient({}, async (customers) => {
    const person = new Person();
    await customers.identify(person.lives("Kiel"));
    await order("take-down", "profile");
    try {
      const began = performance.now();
      const refused = (error: unknown) => (error instanceof Unavailable || error instanceof OutOfTime) && error.attempts > 1;
      await assert.rejects(customers.getProfile(person.named, "audit", { timeoutMs: SHORT_MS }), refused);
      await assert.rejects(customers.watch(person.named, "audit", { patienceMs: SHORT_MS }).next(), Unavailable);
      assert.ok(performance.now() - began < 2 * SHORT_MS + MUCH_LATER_MS);
    } finally {
      await order("bring-up", "profile");
    }
    await customers.getProfile(person.named, "audit");
  }));
