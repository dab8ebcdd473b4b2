/** By folder and then name, with numbers as numbers (`V1.10` after `V1.9`); Flyway's repeatable ones come last. */
export function compareVersions(left: string, right: string): number {
  const isRepeatable = (path: string) => (/(?:^|\/)R__[^/]*$/i.test(path) ? 1 : 0);
  const order = isRepeatable(left) - isRepeatable(right);
  if (order !== 0) return order;
  const [a, b] = [partsOf(left), partsOf(right)];
  for (let index = 0; index < Math.max(a.length, b.length); index++) {
    const [one = "", other = ""] = [a[index], b[index]];
    if (one === other) continue;
    if (/^\d+$/.test(one) && /^\d+$/.test(other)) {
      const difference = BigInt(one) - BigInt(other);
      if (difference !== 0n) return difference < 0n ? -1 : 1;
    }
    return one < other ? -1 : 1;
  }
  return 0;
}

const partsOf = (path: string): string[] => path.match(/\d+|\D/g) ?? [];
