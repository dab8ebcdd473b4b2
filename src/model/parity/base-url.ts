import { quoteValue } from "../types/messages";

/** Problem of a side's base URL; undefined if it can be used. */
export function baseUrlProblem(text: string): string | undefined {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url !== undefined && (url.username !== "" || url.password !== ""))
    return "holds a user or password, which everybody on the host can see: give an authorization header as a header of its own";
  if (url === undefined || !/^https?:$/.test(url.protocol))
    return `${quoteValue(text)} is not a URL of HTTP: write one such as http://127.0.0.1:8080`;
  if (url.search !== "" || url.hash !== "") return `${quoteValue(text)} holds a "?" or "#": give the part before it`;
  return undefined;
}
