// Credentials go to nobody in clear beyond this machine, and into no text.
import assert from "node:assert/strict";
import { test } from "node:test";
import { inspect } from "node:util";
import { Token, bearer, channelCredentials } from "../../src/credentials.js";
import { Customer360, byId } from "../../src/index.js";

test("a credential doesn't go in clear beyond this machine, unless it is told to", () => {
  assert.throws(() => channelCredentials({ token: "s3cret" }, "profile.example:50053"), /in clear/);
  assert.throws(() => channelCredentials({ writeKey: "s3cret" }, "profile.example:50053"), /in clear/);
  for (const address of ["127.0.0.1:1", "localhost:1", "[::1]:1"]) channelCredentials({ token: "s3cret" }, address);
  channelCredentials({ token: "s3cret", inClear: true }, "profile.example:50053");
  channelCredentials({ token: "s3cret", tls: {} }, "profile.example:50053");
  channelCredentials({}, "profile.example:50053");
});

test("a credential that no header can carry isn't shown", async () => {
  assert.equal(bearer("a.b-c_d"), "Bearer a.b-c_d");
  for (const credential of ["s3cret\n", "s3\u0000cret", "s3crét", ""]) {
    assert.throws(
      () => bearer(credential),
      (error) => error instanceof TypeError && !error.message.includes("s3c"),
    );
  }
  const customers = new Customer360({ token: "s3cret\nx" });
  await assert.rejects(customers.getProfile(byId("x"), "service"), (error) => !inspect(error, { depth: 9 }).includes("s3cret"));
  assert.doesNotMatch(inspect(customers, { depth: 9, showHidden: true }), /s3cret/);
});

test("a token is asked for again when it is old, and when it is refused", async () => {
  let [now, asked] = [0, 0];
  const token = new Token(
    () => `t${++asked}`,
    60_000,
    () => now,
  );
  assert.deepEqual([await token.get(), await token.get()], ["t1", "t1"]);
  now = 60_000;
  assert.equal(await token.get(), "t2");
  assert.equal(token.renew(), true);
  assert.equal(await token.get(), "t3");
  assert.equal(new Token("fixed", 60_000, () => now).renew(), false);
});

test("who tells tokens is asked again after it failed", async () => {
  let asked = 0;
  const source = () => (++asked === 1 ? Promise.reject(new Error("not yet")) : Promise.resolve("good"));
  const token = new Token(source, 60_000, () => 0);
  await assert.rejects(token.get(), /not yet/);
  assert.equal(await token.get(), "good");
});

test("a call ends in its time though nobody tells it a token, and when it is aborted", async () => {
  const customers = new Customer360({ token: () => new Promise<string>(() => undefined), timeoutMs: 50 });
  await assert.rejects(customers.getProfile(byId("x"), "service"), { name: "OutOfTime" });
  const signal = AbortSignal.timeout(20);
  await assert.rejects(customers.getProfile(byId("x"), "service", { timeoutMs: 60_000, signal }), { name: "TimeoutError" });
});
