import WebSocket from "ws";
import type { Recorder } from "../report";
import type { Target } from "./exchange";
import { keepRunning } from "./pace";
import { between, type Range } from "./range";

const MESSAGE_INTERVAL_MS = 100;
/** For the other side's part in a close of ours. By then it has done its work, so its absence is no cut. */
const CLOSE_TIMEOUT_MS = 1000;

export interface WebSocketOptions {
  /** How many are open at once. */
  count: number;
  /** How long each lives, at random. */
  seconds: Range;
  /** For opening, and for the last echoes at the end. */
  timeoutMs: number;
}

/** Keeps WebSockets open on `/ws`, each sending a message every 100 ms and expecting `{"echo": message}` for it. */
export function startWebSockets(target: Target, options: WebSocketOptions, recorder: Recorder): () => Promise<void> {
  return keepRunning(options.count, async () => {
    const cut = await liveOnce(target, options);
    recorder.ended("websocket", cut);
    return cut === undefined;
  });
}

/** Resolves to why the WebSocket was cut, to nothing when it lived as it should. */
function liveOnce(target: Target, options: WebSocketOptions): Promise<Error | undefined> {
  return new Promise((resolve) => {
    const { timeoutMs } = options;
    const socket = new WebSocket(`ws://${target.host}:${target.port}/ws`, { handshakeTimeout: timeoutMs });
    let sent = 0;
    let echoed = 0;
    let done = false;
    let sending: NodeJS.Timeout | undefined;
    let ending: NodeJS.Timeout | undefined;

    function finish(cut?: string): void {
      if (done) return;
      done = true;
      clearInterval(sending);
      clearTimeout(ending);
      if (cut) {
        const opened = sent > 0 ? `${echoed} of ${sent} echoes` : "not open yet";
        socket.terminate();
        resolve(new Error(`WebSocket: ${cut} (${opened})`));
      } else {
        const impatient = setTimeout(() => socket.terminate(), CLOSE_TIMEOUT_MS);
        socket.once("close", () => {
          clearTimeout(impatient);
          resolve(undefined);
        });
        socket.close(1000);
      }
    }

    function sendNext(): void {
      socket.send(`message ${sent++}`);
    }

    /** Our own end: no more messages, then the outstanding echoes, then the close. */
    function leave(): void {
      clearInterval(sending);
      sending = undefined;
      if (echoed === sent) finish();
      else ending = setTimeout(() => finish(`an echo is missing after ${timeoutMs} ms`), timeoutMs);
    }

    socket.on("open", () => {
      sendNext();
      sending = setInterval(sendNext, MESSAGE_INTERVAL_MS);
      ending = setTimeout(leave, between(options.seconds) * 1000);
    });
    socket.on("message", (data) => {
      const echo = echoIn(data.toString());
      if (echo !== `message ${echoed}`) return finish(`"${echo}" came where "message ${echoed}" was due`);
      echoed++;
      if (sending === undefined && echoed === sent) finish();
    });
    socket.on("close", (code, reason) => finish(`closed by the other side with ${code} ${reason}`.trimEnd()));
    socket.on("error", (error) => finish(error.message));
  });
}

function echoIn(text: string): unknown {
  try {
    return JSON.parse(text).echo;
  } catch {
    // Not the target's JSON: shown as it is in the failure.
    return text;
  }
}
