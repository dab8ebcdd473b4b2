import { execFileSync, spawn } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Readable, Writable } from "node:stream";
import { until } from "./until";

const PROGRAMS = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];
const DEADLINE_MS = 60_000;

/** Why no page can be looked at here, with the remedy; undefined if it can. */
export function chromiumProblem(): string | undefined {
  return program() === undefined ? "chromium is not installed: apt-get install chromium" : undefined;
}

function program(): string | undefined {
  return PROGRAMS.find((name) => {
    try {
      execFileSync("sh", ["-c", `command -v ${name}`], { stdio: "pipe" });
      return true;
    } catch {
      return false;
    }
  });
}

export interface Page {
  /** Value of an expression in the page. */
  evaluate<T>(expression: string): Promise<T>;
  /** The page as a reader on paper gets it. */
  pdf(): Promise<Buffer>;
  /** As a PNG: of the whole page, or of a part of it in CSS pixels. */
  screenshot(options?: { dark?: boolean; clip?: Clip }): Promise<Buffer>;
  /** Gives the window another width, in pixels: as a phone's, for one. */
  resize(width: number): Promise<void>;
  /** Messages that the page wrote to its console, and the browser's complaints. */
  complaints: string[];
  /** Addresses of everything that it loaded. */
  requests: string[];
}

interface Clip {
  x: number;
  y: number;
  width: number;
  height: number;
  scale: number;
}

interface Message {
  id?: number;
  method?: string;
  params?: Record<string, unknown>;
  result?: Record<string, unknown>;
  error?: { message: string };
}

/** Opens an address in a real browser of its own, does work with the page, and ends the browser. */
export async function withPage<T>(url: string, work: (page: Page) => Promise<T>): Promise<T> {
  const profile = await mkdtemp(join(tmpdir(), "sl-chromium-"));
  const flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"];
  const args = [...flags, "--remote-debugging-pipe", `--user-data-dir=${profile}`, "--window-size=1000,1200"];
  const child = spawn(program() ?? "chromium", args, { stdio: ["ignore", "ignore", "ignore", "pipe", "pipe"] });
  const ended = new Promise<void>((resolve) => child.once("exit", () => resolve()));
  try {
    const browser = new Browser(child.stdio[3] as Writable, child.stdio[4] as Readable);
    const { targetId } = await browser.send("Target.createTarget", { url: "about:blank" });
    const { sessionId } = await browser.send("Target.attachToTarget", { targetId, flatten: true });
    return await work(await browser.open(String(sessionId), url));
  } finally {
    child.kill("SIGKILL");
    await ended;
    // Its helpers may still be writing for a moment.
    await rm(profile, { recursive: true, force: true, maxRetries: 10, retryDelay: 100 });
  }
}

/** The DevTools protocol over the browser's pipe: JSON messages, a zero byte after each. */
class Browser {
  private readonly waiting = new Map<number, (message: Message) => void>();
  private readonly complaints: string[] = [];
  private readonly requests: string[] = [];
  private loaded = false;
  private last = 0;
  private left = "";

  constructor(
    private readonly input: Writable,
    output: Readable,
  ) {
    input.on("error", () => undefined);
    output.setEncoding("utf8").on("data", (text: string) => this.take(text));
  }

  async open(session: string, url: string): Promise<Page> {
    const send = (method: string, params: Record<string, unknown> = {}) => this.send(method, params, session);
    for (const domain of ["Page", "Runtime", "Log", "Network"]) await send(`${domain}.enable`);
    await send("Page.navigate", { url });
    await until(`${url} to be loaded`, () => this.loaded, { deadlineMs: DEADLINE_MS });
    const bytes = async (method: string, params: Record<string, unknown> = {}) =>
      Buffer.from(String((await send(method, params)).data), "base64");
    return {
      complaints: this.complaints,
      requests: this.requests,
      evaluate: async <T>(expression: string) => {
        const { result, exceptionDetails } = await send("Runtime.evaluate", { expression, returnByValue: true });
        if (exceptionDetails !== undefined) throw new Error(JSON.stringify(exceptionDetails));
        return (result as { value: T }).value;
      },
      pdf: () => bytes("Page.printToPDF"),
      resize: async (width) => {
        const mobile = { width, height: 800, deviceScaleFactor: 1, mobile: true };
        await send("Emulation.setDeviceMetricsOverride", mobile);
      },
      screenshot: async ({ dark = false, clip } = {}) => {
        const value = dark ? "dark" : "light";
        await send("Emulation.setEmulatedMedia", { features: [{ name: "prefers-color-scheme", value }] });
        return bytes("Page.captureScreenshot", { captureBeyondViewport: true, ...(clip && { clip }) });
      },
    };
  }

  async send(method: string, params: Record<string, unknown>, sessionId?: string): Promise<Record<string, unknown>> {
    const id = ++this.last;
    const answer = new Promise<Message>((resolve) => this.waiting.set(id, resolve));
    this.input.write(`${JSON.stringify({ id, method, params, ...(sessionId === undefined ? {} : { sessionId }) })}\0`);
    let known: Message | undefined;
    void answer.then((message) => {
      known = message;
    });
    const { result = {}, error } = await until(`chromium to answer ${method}`, () => known, {
      deadlineMs: DEADLINE_MS,
    });
    if (error !== undefined) throw new Error(`${method}: ${error.message}`);
    return result;
  }

  private take(text: string): void {
    const parts = (this.left + text).split("\0");
    this.left = parts.pop() ?? "";
    for (const part of parts) this.receive(JSON.parse(part) as Message);
  }

  private receive(message: Message): void {
    const { id, method, params } = message;
    if (id !== undefined) this.waiting.get(id)?.(message);
    if (method === "Page.loadEventFired") this.loaded = true;
    if (method === "Runtime.consoleAPICalled" || method === "Runtime.exceptionThrown" || method === "Log.entryAdded")
      this.complaints.push(JSON.stringify(params));
    if (method === "Network.requestWillBeSent")
      this.requests.push(String((params?.request as { url?: string } | undefined)?.url));
  }
}
