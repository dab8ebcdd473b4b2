/** Output of the demo. */

const startedAt = performance.now();

/** Seconds since the demo began. */
export function elapsed(): number {
  return (performance.now() - startedAt) / 1000;
}

export function say(text: string): void {
  console.log(text.replace(/^/gm, "   "));
}

export function title(text: string): void {
  console.log(`\n[${elapsed().toFixed(1).padStart(5)} s] ${text}`);
}

/**
 * Lines of Pulumi's that are no news: headings, addresses, resources that stay as they are, components (they only
 * group).
 */
const NOISE = [
  /^\s*$/,
  /^(Updating|Previewing update|Destroying|Duration:)/,
  /^\s+\[(urn|id|provider)=/,
  /^@ /,
  /(sluice:components:|pulumi:pulumi:Stack)/,
  / refresh(ing)? \(/,
  /^ {4,}sluice:index:\w+ \S+ *$/,
  /^The resources in the stack have been deleted|^If you want to remove the stack/,
];
/** A resource's first line in a diff: `~ sluice:index:Pool: (update)`. */
const RESOURCE = /^\s*\S+ [\w-]+:[\w-]+:[\w-]+: \((\w[\w -]*)\)/;

/** A filter for the lines of one command: without noise, and without outputs and refreshes, which repeat what a diff says. */
export function interesting(): (line: string) => boolean {
  let repeats = false;
  return (line) => {
    const operation = RESOURCE.exec(line)?.[1];
    if (operation !== undefined) repeats = operation === "refresh";
    else if (/^(Outputs:|\s*--outputs:--)/.test(line)) repeats = true;
    else if (/^\S/.test(line)) repeats = false;
    return !repeats && !NOISE.some((pattern) => pattern.test(line));
  };
}

export function table(rows: readonly (readonly string[])[]): void {
  const width = (column: number) => Math.max(...rows.map((row) => (row[column] ?? "").length));
  for (const row of rows)
    say(
      row
        .map((cell, column) => cell.padEnd(width(column)))
        .join("  ")
        .trimEnd(),
    );
}
