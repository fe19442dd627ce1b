import {
  InvalidRequest,
  NotFound,
  NotPermitted,
  Outcome,
  byId,
  traitsOf,
  type CheckResponse,
  type Judged,
  ClientError,
  EventType,
  type Profile,
} from "customer360-client";
import assert from "node:assert/strict";
import { test } from "node:test";
import { inspect } from "node:util";
import { Person, installation, withClient } from "./installation.js";

const { askingConsent } = installation;
const refusedFor = (reason: string) => (error: unknown) => error instanceof NotPermitted && error.reason === reason;

test("what it wrote is in every read that follows", () =>
  withClient({}, async (customers) => {
    const [person, nobody] = [new Person(), new Person()];
    for (const city of ["Kiel", "Bonn", "Ulm"]) {
      await customers.identify(person.lives(city));
      await customers.track({ userId: person.userId, name: `Moved to ${city}`, properties: { rooms: 3 } });
      const profile = await customers.getProfile(person.named, "audit");
      assert.equal(traitsOf(profile).city, city);
      assert.equal((await customers.lookupCustomer(byId(profile.customerId), "audit")).customerId, profile.customerId);
      const page = await customers.getTimeline(person.named, "audit", { kinds: ["tracked"], pageSize: 1 });
      assert.deepEqual([page.entries[0]?.name, page.entries[0]?.details?.rooms], [`Moved to ${city}`, 3]);
    }
    const names: string[] = [];
    for await (const entry of customers.timeline(person.named, "audit", { kinds: ["tracked"], pageSize: 1 }))
      names.push(entry.name);
    assert.deepEqual(names, ["Moved to Ulm", "Moved to Bonn", "Moved to Kiel"]);
    const [told, refused] = await customers.batchGetProfiles([person.named, nobody.named], "audit", { fields: ["traits.city"] });
    assert.deepEqual(traitsOf(told as Profile), { city: "Ulm" });
    assert.ok(refused instanceof NotFound && refused.reason === "IDENTIFIER_UNKNOWN");
  }));

test("another client reads it by the positions that it is told", () =>
  withClient({}, (customers) =>
    withClient({}, async (other) => {
      const person = new Person();
      await customers.identify(person.lives("Kiel"));
      assert.equal(traitsOf(await other.getProfile(person.named, "audit", { fresh: customers.positions })).city, "Kiel");
    }),
  ));

test("a withdrawal is seen by the next read, though profiles and verdicts are kept", () =>
  withClient({ caching: { verdicts: 100 } }, async (customers) => {
    const person = new Person();
    const decide = (outcome: Outcome) =>
      customers.decide({ identifier: person.email, purpose: askingConsent, outcome, method: "web-form" });
    await customers.identify(person.lives("Kiel"));
    for (const round of [1, 2, 3]) {
      await decide(Outcome.GRANTED);
      for (const kept of ["first", "then from what is kept"]) {
        assert.equal(traitsOf(await customers.getProfile(person.named, askingConsent)).city, "Kiel", `${round} ${kept}`);
        assert.equal((await customers.check(person.named, askingConsent)).permitted, true);
      }
      await decide(Outcome.WITHDRAWN);
      await assert.rejects(customers.getProfile(person.named, askingConsent), refusedFor("CONSENT_WITHDRAWN"));
      const [ofBatch] = await customers.batchGetProfiles([person.named], askingConsent);
      assert.equal((ofBatch as ClientError).reason, "CONSENT_WITHDRAWN");
      assert.equal((await customers.check(person.named, askingConsent)).permitted, false);
    }
  }));

test("a withdrawal that somebody else recorded is seen by the next read", () =>
  withClient({}, async (customers) => {
    const person = new Person();
    const decision = { identifier: person.email, purpose: askingConsent, method: "web-form" };
    await customers.identify(person.lives("Kiel"));
    await customers.decide({ ...decision, outcome: Outcome.GRANTED });
    await customers.getProfile(person.named, askingConsent);
    await withClient({}, (other) => other.decide({ ...decision, outcome: Outcome.WITHDRAWN }));
    await assert.rejects(customers.getProfile(person.named, askingConsent), refusedFor("CONSENT_WITHDRAWN"));
  }));

test("it tells of several who permits a purpose", () =>
  withClient({}, async (customers) => {
    const [willing, unwilling] = [new Person(), new Person()];
    await customers.identify(willing.lives("Kiel"));
    await customers.identify(unwilling.lives("Kiel"));
    await customers.decide({ identifier: willing.email, purpose: askingConsent, outcome: Outcome.GRANTED, method: "web-form" });
    const told = await customers.checkBatch([willing.named, unwilling.named, byId("nobody")], askingConsent);
    const [yes, no] = told as CheckResponse[];
    assert.deepEqual([yes?.permitted, no?.permitted, no?.reason], [true, false, "CONSENT_MISSING"]);
    assert.ok(told[2] instanceof InvalidRequest);
  }));

test("it tells of many who permits a purpose, and each has an answer", () =>
  withClient({}, async (customers) => {
    const [willing, unwilling] = [new Person(), new Person()];
    const events = [willing, unwilling].map(({ userId, email }) => ({
      type: EventType.IDENTIFY,
      userId,
      traits: { email: email.value },
    }));
    await customers.record(events);
    await customers.decide({ identifier: willing.email, purpose: askingConsent, outcome: Outcome.GRANTED, method: "web-form" });
    const audience = Array.from({ length: 600 }, () => [willing.named, unwilling.named]).flat(); // more than a batch
    const told: Judged[] = [];
    for await (const one of customers.filterAudience(audience, askingConsent)) told.push(one);
    assert.ok(told.length === audience.length && told.every(({ customer }, place) => customer === audience[place]));
    const reasons = ["", "CONSENT_MISSING"];
    assert.ok(told.every(({ permitted, reason }, place) => permitted === (place % 2 === 0) && reason === reasons[place % 2]));
    await assert.rejects(customers.judge([willing.named], "no-such-purpose"), InvalidRequest);
  }));

test("it is told why a trait has its value", () =>
  withClient({}, async (customers) => {
    const person = new Person();
    await customers.identify(person.lives("Kiel"));
    const explained = await customers.explainTrait(person.named, "city", "audit");
    assert.deepEqual([explained.value?.kind.value, explained.assertions.length], ["Kiel", 1]);
  }));

test("errors carry the reason, and neither credentials nor who was asked for", () =>
  withClient({}, async (customers) => {
    const person = new Person();
    const shown: unknown[] = [];
    const told = (kind: typeof ClientError, reason: string) => (error: unknown) => {
      shown.push(error);
      return error instanceof kind && error.reason === reason && error.attempts === 1;
    };
    await assert.rejects(customers.getProfile(person.named, "audit"), told(NotFound, "IDENTIFIER_UNKNOWN"));
    await assert.rejects(customers.check(person.named, "no-such-purpose"), told(InvalidRequest, "PURPOSE_UNKNOWN"));
    await assert.rejects(customers.track({ userId: person.userId, name: "" }), told(InvalidRequest, "EVENT_NAME_MISSING"));
    for (const secret of [person.email.value, installation.writeKey, "authorization"]) {
      assert.ok(!inspect(shown, { depth: 9, showHidden: true }).includes(secret));
    }
  }));

test("no more is kept than the settings say, and nothing once it is closed", () =>
  withClient({ caching: { profiles: 3 } }, async (customers) => {
    const people = Array.from({ length: 8 }, () => new Person());
    await Promise.all(people.map((person) => customers.identify(person.lives("Kiel"))));
    for (const person of [...people, ...people]) await customers.getProfile(person.named, "audit");
    assert.equal(customers.kept.profiles, 3);
    customers.close();
    assert.deepEqual(customers.kept, { profiles: 0, bytes: 0 });
  }));

test("the past is asked for by both clocks", () =>
  withClient({}, async (customers) => {
    const person = new Person();
    const day = 24 * 3_600_000;
    await customers.identify({ ...person.lives("Kiel"), happenedAt: new Date(Date.now() - 7 * day) });
    await customers.identify(person.lives("Bonn"));
    const yesterday = new Date(Date.now() - day);
    assert.equal(traitsOf(await customers.getProfile(person.named, "audit", { validAt: yesterday })).city, "Kiel");
    await assert.rejects(customers.getProfile(person.named, "audit", { knownAt: yesterday }), NotFound);
  }));
