// What is kept is bounded in number, size and age, and nothing from before it was dropped comes back.
import assert from "node:assert/strict";
import { test } from "node:test";
import { Cache } from "../../src/caching.js";

const content = (length: number) => new Uint8Array(length);
const until = (instant: number, length = 10) => ({ tag: "t", content: content(length), until: instant });

test("no more are kept than there is room for, least recently kept first out", () => {
  const cache = new Cache(2, 1_000, () => 0);
  for (const key of ["a", "b", "a", "c"]) cache.keep(key, until(9), cache.epoch);
  assert.deepEqual(
    ["a", "b", "c"].map((key) => cache.find(key) !== undefined),
    [true, false, true],
  );
  assert.equal(cache.sizeBytes, 22);
});

test("no more bytes are kept than there is room for", () => {
  const cache = new Cache(100, 50, () => 0);
  for (const key of ["a", "b", "c"]) cache.keep(key, until(9, 20), cache.epoch);
  assert.equal(cache.find("a"), undefined);
  assert.equal(cache.sizeBytes, 42);
  cache.keep("d", until(9, 51), cache.epoch);
  assert.deepEqual([cache.size, cache.sizeBytes], [0, 0]);
});

test("what is old isn't found, and goes once others come", () => {
  let now = 0;
  const cache = new Cache(100, 1_000, () => now);
  cache.keep("a", until(5), cache.epoch);
  cache.keep("b", until(5), cache.epoch);
  now = 5;
  assert.equal(cache.find("a"), undefined);
  cache.keep("c", until(9), cache.epoch);
  assert.equal(cache.size, 1);
});

test("what was asked for before all was dropped isn't kept after it", () => {
  const cache = new Cache(100, 1_000, () => 0);
  const before = cache.epoch;
  cache.clear();
  cache.keep("a", until(9), before);
  assert.equal(cache.size, 0);
});
