/** Shorter secrets are not looked for in texts: they would blot out ordinary words. */
const MIN_LENGTH = 4;
/** Shorter ones are too common within the encodings of other texts. */
const MIN_ENCODED_LENGTH = 8;

/**
 * Texts by which secrets may appear in what people see: as they are, line by line, as JSON has them, URL-encoded and in
 * base64, there also within the encoding of a longer text such as `user:password`. The longest first, so that one which
 * holds another one is masked whole.
 */
export function secretForms(secrets: readonly string[]): string[] {
  const forms = secrets.flatMap((secret) =>
    [secret, ...secret.split("\n").map((line) => line.trim())].flatMap(formsOf),
  );
  return [...new Set(forms)].filter(({ length }) => length >= MIN_LENGTH).toSorted((a, b) => b.length - a.length);
}

function formsOf(secret: string): string[] {
  const plain = [secret, JSON.stringify(secret).slice(1, -1)];
  if (secret.length < MIN_ENCODED_LENGTH) return plain;
  const percent = encodeURIComponent(Buffer.from(secret).toString());
  const lower = percent.replace(/%[0-9A-F]{2}/g, (code) => code.toLowerCase());
  const urls = [percent, lower].flatMap((each) => [each, each.replaceAll("%20", "+")]);
  const form = new URLSearchParams([["", secret]]).toString().slice(1);
  return [...plain, ...urls, form, encodeURI(Buffer.from(secret).toString()), ...base64Of(secret)];
}

/** Both alphabets, at each of the three places where the text may begin in a longer one, without what neighbours decide. */
function base64Of(secret: string): string[] {
  const bytes = Buffer.from(secret);
  return [0, 1, 2].flatMap((before) => {
    const text = Buffer.concat([Buffer.alloc(before), bytes])
      .toString("base64")
      .replace(/=+$/, "");
    const begin = [0, 2, 3][before];
    const end = Math.floor(((before + bytes.length) * 8) / 6);
    const inner = text.slice(begin, end);
    return [inner, inner.replaceAll("+", "-").replaceAll("/", "_")];
  });
}
