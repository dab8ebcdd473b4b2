// A simple loop, as written in an afternoon: one request after the other, and every row looked for in the other side's rows.
import { createReadStream } from "node:fs";
import { createInterface } from "node:readline";
import { isDeepStrictEqual } from "node:util";

const [requests, upstream, candidate] = process.argv.slice(2);
let equal = 0;
for await (const line of createInterface({ input: createReadStream(requests) })) {
  const { game, query, params } = JSON.parse(line);
  const search = new URLSearchParams(params);
  const ours = await rows(`${upstream}/api/v1/query_objects/bench/${game}/${query}?${search}`);
  const theirs = await rows(`${candidate}/v2/${game}/${query}?${search}`);
  if (same(ours, theirs)) equal++;
}
process.stdout.write(`${equal}\n`);

async function rows(url) {
  const { data } = await (await fetch(url)).json();
  return JSON.parse(JSON.stringify(data), (_, value) => (typeof value === "number" ? Number(value.toFixed(6)) : value));
}

function same(ours, theirs) {
  const left = [...theirs];
  for (const row of ours) {
    const index = left.findIndex((other) => isDeepStrictEqual(row, other));
    if (index === -1) return false;
    left.splice(index, 1);
  }
  return left.length === 0;
}
