import { z } from "zod";
import { quoteValue } from "./messages";

const UNITS = { B: 1, KiB: 1024, MiB: 1024 ** 2, GiB: 1024 ** 3, TiB: 1024 ** 4 } as const;
type Unit = keyof typeof UNITS;

/** An amount of memory or disk with its unit, such as `"512 MiB"`. */
export type Size = `${number} ${Unit}`;

const SIZE = /^(\d+(?:\.\d+)?) (B|KiB|MiB|GiB|TiB)$/;

/** Bytes of a size. Throws where the text is not one; input is checked by {@link size} before. */
export function bytes(text: Size): number {
  const match = SIZE.exec(text);
  const amount = match?.[1];
  const unit = match?.[2] as Unit | undefined;
  if (amount === undefined || unit === undefined)
    throw new Error(`${quoteValue(text)} is not a size such as "512 MiB"`);
  return Math.round(Number(amount) * UNITS[unit]);
}

/** Bytes as a short text for people, such as `512 MiB` or `1.5 GiB`; one decimal at most. */
export function formatBytes(amount: number): string {
  const units = Object.entries(UNITS).toReversed();
  // A value that rounds up to the next unit is written in that: never "1024 MiB".
  const [unit, factor] = units.find(([, each]) => amount >= each * (1 - 0.05 / 1024)) ?? ["B", 1];
  return `${(amount / factor).toFixed(1).replace(/\.0$/, "")} ${unit}`;
}

/** Schema of a size between two bounds, both included. */
export function size(bounds: { min: Size; max: Size }): z.ZodType<Size, Size> {
  const [min, max] = [bytes(bounds.min), bytes(bounds.max)];
  const schema = z
    .string({ error: ({ input }) => `${quoteValue(input)} is not a size: write a text such as "512 MiB"` })
    .superRefine((text, context) => {
      if (!SIZE.test(text))
        context.addIssue({
          code: "custom",
          message: `${quoteValue(text)} is not a size: write a number, a space and B, KiB, MiB, GiB or TiB, such as "512 MiB"`,
        });
      else if (bytes(text as Size) < min || bytes(text as Size) > max)
        context.addIssue({
          code: "custom",
          message: `${quoteValue(text)} is out of range: use ${bounds.min} to ${bounds.max}`,
        });
    });
  return schema as unknown as z.ZodType<Size, Size>;
}
