import { MIRROR_HEADER } from "../../model/route/mirror";
import type { Copy } from "./messages";

/** Headers that belong to the connection on which a request came, or that the shadow's client sets by itself. */
const OWN = new Set(
  "connection keep-alive proxy-connection proxy-authorization transfer-encoding te trailer upgrade expect content-length".split(
    " ",
  ),
);

/**
 * The headers of a copy, as the stable server got them: with the client's address, as HAProxy adds it at the end. What
 * authorizes a request stays, or the shadow could not answer it as the stable side does.
 */
export function copyHeaders({ headers, source, route, body }: Copy): string[] {
  // HTTP/1.1 lets a request name headers that belong to its connection alone.
  const named = headers
    .filter(([name]) => name === "connection")
    .flatMap(([, value]) => value.toLowerCase().split(","));
  const own = new Set(named.map((name) => name.trim()));
  const kept = headers.filter(([name]) => !OWN.has(name) && !own.has(name) && name !== MIRROR_HEADER);
  return [
    ...kept.flat(),
    ...(source === "" ? [] : ["x-forwarded-for", source]),
    MIRROR_HEADER,
    route,
    ...(body.length > 0 || headers.some(([name]) => name === "content-length")
      ? ["content-length", String(body.length)]
      : []),
  ];
}
