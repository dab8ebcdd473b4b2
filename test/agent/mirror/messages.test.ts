import assert from "node:assert/strict";
import test from "node:test";
import { copyHeaders } from "../../../src/agent/mirror/copy-headers";
import { type Copy, MessageReader } from "../../../src/agent/mirror/messages";
import { KIND, luaText, mirrorScript, NUMBER_BYTES, SOURCE_BYTES } from "../../../src/agent/mirror/script";

const SOURCE = Buffer.from("0123456789abcdef", "hex");

function short(text: string): Buffer {
  return Buffer.concat([Buffer.from([text.length]), Buffer.from(text, "latin1")]);
}

function long(content: Buffer): Buffer {
  const size = Buffer.alloc(4);
  size.writeUInt32LE(content.length);
  return Buffer.concat([size, content]);
}

function message(kind: number, ...parts: Buffer[]): Buffer {
  return long(Buffer.concat([Buffer.from([kind]), ...parts]));
}

function hello(number: number): Buffer {
  assert.equal(SOURCE.length, SOURCE_BYTES);
  const written = Buffer.alloc(NUMBER_BYTES);
  written.writeUIntLE(number, 0, NUMBER_BYTES);
  return message(KIND.hello, SOURCE, written, Buffer.from("main"));
}

/** A name and a value as HAProxy writes them; 300 and more take two bytes. */
function header(name: string, value: string): Buffer {
  const size = value.length < 0xf0 ? [value.length] : [0xf0 | (value.length & 15), (value.length - 0xf0) >> 4];
  return Buffer.concat([short(name), Buffer.from(size), Buffer.from(value, "latin1")]);
}

const LONG = "x".repeat(300);
const COPY = message(
  KIND.copy,
  short("api"),
  short("POST"),
  short("127.0.0.1"),
  long(Buffer.from("/a?b=1")),
  long(Buffer.concat([header("host", "x"), header("x-long", LONG), header("x-empty", ""), Buffer.from([0, 0])])),
  Buffer.from([0, 255, 10]),
);
const count = Buffer.alloc(4);
count.writeUInt32LE(70_000);
const DROPPED = message(KIND.dropped, short("api"), short("queue"), count);
const END = message(KIND.end);

function read(chunks: Buffer[]): unknown[] {
  const seen: unknown[] = [];
  const reader = new MessageReader(({ source, number, edge, deliver }) => {
    seen.push(`${edge} ${source} ${number}`);
    deliver({
      copy: (copy) => seen.push(copy),
      sample: (copy) => seen.push(copy.path),
      dropped: (route, reason, copies) => seen.push([route, reason, copies]),
    });
  });
  for (const chunk of chunks) reader.push(chunk);
  return seen;
}

test("messages are read in whatever pieces they come", () => {
  const all = Buffer.concat([hello(2 ** 40), DROPPED, COPY, END]);
  const copy: Copy = {
    edge: "main",
    route: "api",
    method: "POST",
    source: "127.0.0.1",
    path: "/a?b=1",
    headers: [
      ["host", "x"],
      ["x-long", LONG],
      ["x-empty", ""],
    ],
    body: Buffer.from([0, 255, 10]),
  };
  const expected = [`main 0123456789abcdef ${2 ** 40}`, ["api", "queue", 70_000], copy];
  assert.deepEqual(read([all]), expected);
  assert.deepEqual(read([...all].map((byte) => Buffer.from([byte]))), expected);
});

test("nothing is taken of a batch without its end", () => {
  assert.deepEqual(read([hello(1), DROPPED, COPY, hello(2), END]), ["main 0123456789abcdef 2"]);
});

test("what is no message is refused", () => {
  const huge = Buffer.alloc(4);
  huge.writeUInt32LE(2 ** 31);
  for (const bytes of [
    Buffer.from("GET / HTTP/1.1\r\n\r\n"),
    huge,
    message(9),
    message(KIND.copy, short("api"), Buffer.from([200])),
  ])
    assert.throws(() => read([bytes]));
});

test("a copy has the headers of its request, without those of its connection", () => {
  const copy = (headers: Copy["headers"], body = ""): Copy => ({
    edge: "main",
    route: "api",
    method: "POST",
    source: "192.0.2.1",
    path: "/",
    headers,
    body: Buffer.from(body),
  });
  const mark = ["x-forwarded-for", "192.0.2.1", "x-sluice-mirror", "api"];
  assert.deepEqual(
    copyHeaders(
      copy(
        [
          ["host", "x"],
          ["connection", "close, X-Hop"],
          ["x-hop", "1"],
          ["expect", "100-continue"],
          ["cookie", "a=b"],
          ["cookie", "c=d"],
          ["content-length", "3"],
          ["x-sluice-mirror", "forged"],
        ],
        "abc",
      ),
    ),
    ["host", "x", "cookie", "a=b", "cookie", "c=d", ...mark, "content-length", "3"],
  );
  assert.deepEqual(copyHeaders(copy([["content-length", "0"]])), [...mark, "content-length", "0"]);
});

test("no path can leave its place in the script", () => {
  assert.equal(luaText('/a b"]\n\\'), String.raw`"/a\032b\034\093\010\092"`);
  assert.throws(() => mirrorScript('main" .. os.exit() .. "', "/s"));
});
