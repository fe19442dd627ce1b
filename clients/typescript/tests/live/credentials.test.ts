import { NotAuthenticated, NotFound } from "customer360-client";
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { test } from "node:test";
import { Person, installation, withClient } from "./installation.js";

const good = (await readFile(installation.tokenFile, "utf8")).trim();

test("a token that isn't good is refused, and not tried for ever", () =>
  withClient({ token: "nobodys" }, async (customers) => {
    const refused = (error: unknown) => error instanceof NotAuthenticated && error.attempts === 1;
    await assert.rejects(customers.getProfile(new Person().named, "audit"), refused);
    await assert.rejects(customers.watch(new Person().named, "audit").next(), NotAuthenticated);
  }));

test("without one nothing is told", () =>
  withClient({ token: undefined, writeKey: undefined }, async (customers) => {
    await assert.rejects(customers.getProfile(new Person().named, "audit"), NotAuthenticated);
    await assert.rejects(customers.track({ userId: "ada", name: "Ordered" }), NotAuthenticated);
  }));

test("a token that is refused is asked for again, once", async () => {
  const tokens = ["expired", good];
  await withClient({ token: () => tokens.shift() ?? "none left" }, async (customers) => {
    await assert.rejects(customers.getProfile(new Person().named, "audit"), NotFound);
  });
  let asked = 0;
  await withClient({ token: () => `expired${++asked}` }, async (customers) => {
    await assert.rejects(customers.getProfile(new Person().named, "audit"), NotAuthenticated);
  });
  assert.equal(asked, 2);
});

test("a write key that isn't good is refused", () =>
  withClient({ writeKey: "wk_nobodys" }, async (customers) => {
    await assert.rejects(customers.track({ userId: "ada", name: "Ordered" }), NotAuthenticated);
  }));
