/** Recognizes a secret by its name or its format. A message must name the place, never the text. */

/** Words of a name that holds a secret. */
const NAMED =
  /(?:^|[_.-])(?:password|passwd|pwd|passphrase|pass|secrets?|token|api[_-]?key|apikey|access[_-]?key|secret[_-]?key|private[_-]?key|signing[_-]?key|encryption[_-]?key|auth[_-]?key|master[_-]?key|credentials?)$/i;
/** Names that speak of a secret without holding one. */
const HARMLESS = /(?:^|[_.-])(?:public|pub|max|min|num|count|site)[_.-]/i;

/** Values that are no secret whatever their name is: none, a switch, a number, a path, a template. */
const PLAIN_VALUE =
  /^(?:|true|false|yes|no|on|off|none|null|disabled|enabled|required|optional|\d+(?:\.\d+)?|\.{0,2}\/.*)$/i;
const TEMPLATE = /\{\{[^{}]*\}\}/g;

/** Keys of well-known services, and private keys. */
const KNOWN: readonly (readonly [RegExp, string])[] = [
  [/-----BEGIN [A-Z ]*PRIVATE KEY-----/, "a private key"],
  [/\bAKIA[0-9A-Z]{16}\b/, "an AWS access key"],
  [/\bgh[pousr]_[A-Za-z0-9]{36,}/, "a GitHub token"],
  [/\bgithub_pat_[A-Za-z0-9_]{22,}/, "a GitHub token"],
  [/\bglpat-[A-Za-z0-9_-]{20,}/, "a GitLab token"],
  [/\bxox[abeprs]-[A-Za-z0-9-]{10,}/, "a Slack token"],
  [/\b[rs]k_live_[A-Za-z0-9]{16,}/, "a Stripe key"],
  [/\bAIza[0-9A-Za-z_-]{35}\b/, "a Google API key"],
  [/\bnpm_[A-Za-z0-9]{36}\b/, "an npm token"],
  [/\bSG\.[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{16,}/, "a SendGrid key"],
  [/\bpul-[0-9a-f]{40}\b/, "a Pulumi token"],
  [/\beyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}/, "a signed token"],
];
/** The password of a URL, which may be a template. */
const URL_PASSWORD = /\b[a-z][a-z0-9+.-]*:\/\/[^\s/?#:@]*:([^\s/?#@]+)@/i;

/**
 * Kind of secret that a text seems to be; undefined if it seems to be none.
 *
 * @param name of the variable, option or key that holds it
 */
export function secretIn(text: string, name?: string): string | undefined {
  const known = KNOWN.find(([pattern]) => pattern.test(text))?.[1];
  if (known !== undefined) return `holds ${known}`;
  const password = URL_PASSWORD.exec(text)?.[1];
  if (password !== undefined && password.replace(TEMPLATE, "") !== "") return "holds a URL with a password";
  if (name === undefined || !isSecretName(name)) return undefined;
  return PLAIN_VALUE.test(text.replace(TEMPLATE, "").trim()) ? undefined : "is a secret by its name";
}

/** Whether a variable, option or key of this name holds a secret: `DB_PASSWORD`, `dbPassword`, `--api-key`. */
export function isSecretName(name: string): boolean {
  const words = name.replace(/([a-z0-9])([A-Z])/g, "$1_$2").replace(/^-+/, "");
  return NAMED.test(words) && !HARMLESS.test(words);
}
