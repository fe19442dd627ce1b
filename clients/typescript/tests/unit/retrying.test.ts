// When a call is made again, and when the caller is told.
import { status as Code } from "@grpc/grpc-js";
import assert from "node:assert/strict";
import { test } from "node:test";
import { LimitExceeded, Unavailable, makeError } from "../../src/errors.js";
import { Attempts, USUAL_RETRIES, isPassing, pauseMs } from "../../src/retrying.js";

const CHANCES = [0, 0.1, 0.5, 0.999];
const away = () => makeError({ code: Code.UNAVAILABLE, message: "nobody listens" });

test("a pause lies between nothing and what it has grown to", () => {
  for (const attempt of [1, 2, 7, 10_000]) {
    for (const chance of CHANCES) {
      const pause = pauseMs(USUAL_RETRIES, attempt, 0, Infinity, chance);
      assert.ok(pause !== undefined && pause >= 0 && pause <= Math.min(2_000, 50 * 2 ** Math.min(attempt - 1, 10)));
    }
  }
});

test("what a service asks for is waited for", () => {
  for (const chance of CHANCES) {
    const pause = pauseMs(USUAL_RETRIES, 3, 1_500, Infinity, chance);
    assert.ok(pause !== undefined && pause >= 1_500 && pause <= 3_500);
  }
});

test("no pause outlasts the call", () => {
  assert.equal(pauseMs(USUAL_RETRIES, 1, 300, 300, 0), undefined);
  assert.equal(pauseMs(USUAL_RETRIES, 1, 299, 300, 0), 299);
});

test("only what passes by itself is tried again", () => {
  const passing = (code: Code, reason = "", facts = {}) => isPassing(makeError({ code, message: "no", reason, facts }));
  assert.equal(passing(Code.UNAVAILABLE, "NOT_FRESH_ENOUGH"), true);
  assert.equal(passing(Code.CANCELLED), true);
  assert.equal(passing(Code.RESOURCE_EXHAUSTED, "RATE_LIMITED", { retry_after_ms: "250" }), true);
  assert.equal(passing(Code.RESOURCE_EXHAUSTED, "OVERLOADED"), true);
  assert.equal(passing(Code.RESOURCE_EXHAUSTED, "BATCH_TOO_LARGE"), false);
  assert.equal(passing(Code.DEADLINE_EXCEEDED, "NOT_YET_ENFORCED"), true);
  assert.equal(passing(Code.DEADLINE_EXCEEDED), false);
  assert.equal(passing(Code.PERMISSION_DENIED, "CONSENT_WITHDRAWN"), false);
  assert.equal(passing(Code.INTERNAL), false);
  assert.equal(passing(Code.ABORTED), false);
});

test("attempts end within the whole time", () => {
  for (const chance of CHANCES) {
    let now = 100;
    const attempts = new Attempts(
      USUAL_RETRIES,
      5_000,
      () => now,
      () => chance,
    );
    const refusedForEver = () => {
      for (;;) {
        now += Math.min(70, attempts.leftMs());
        now += attempts.after(away(), () => false);
      }
    };
    assert.throws(refusedForEver, (error) => error instanceof Unavailable && error.attempts > 1);
    assert.ok(now <= 5_110);
  }
});

test("a credential is renewed once", () => {
  const attempts = new Attempts(
    USUAL_RETRIES,
    5_000,
    () => 0,
    () => 0.5,
  );
  const refused = makeError({ code: Code.UNAUTHENTICATED, message: "expired" });
  assert.equal(
    attempts.after(refused, () => true),
    0,
  );
  assert.throws(() => attempts.after(refused, () => true), /UNAUTHENTICATED/);
});

test("when to come again is in the error", () => {
  const error = makeError({
    code: Code.RESOURCE_EXHAUSTED,
    message: "too many",
    reason: "RATE_LIMITED",
    facts: { retry_after_ms: "250" },
  });
  assert.ok(error instanceof LimitExceeded);
  assert.deepEqual([error.reason, error.retryAfterMs, error.name], ["RATE_LIMITED", 250, "LimitExceeded"]);
});
