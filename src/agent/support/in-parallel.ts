/**
 * Does work for each of some things, so many at a time.
 *
 * @returns the results, in the order of the things
 * @throws the first failure, once no work is under way any more; the rest is not begun
 */
export async function inParallel<T, R>(
  things: readonly T[],
  atOnce: number,
  work: (thing: T) => Promise<R>,
): Promise<R[]> {
  const results: R[] = [];
  const failures: unknown[] = [];
  const left = things.entries();
  const worker = async () => {
    for (const [index, thing] of left) {
      if (failures.length > 0) return;
      try {
        results[index] = await work(thing);
      } catch (error) {
        failures.push(error);
      }
    }
  };
  await Promise.all(Array.from({ length: Math.min(atOnce, things.length) }, worker));
  if (failures.length > 0) throw failures[0];
  return results;
}
