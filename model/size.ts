import { z } from "zod";
import { shown } from "./explain";

const UNITS = { B: 1, KiB: 1024, MiB: 1024 ** 2 } as const;
type Unit = keyof typeof UNITS;

/** A number of bytes with its unit, such as `"64 KiB"`. */
export type Size = `${number} ${Unit}`;

const SIZE = /^(\d{1,9}) (B|KiB|MiB)$/;

/** Bytes of a size. Throws where the text is not one; input is checked by {@link size} before. */
export function bytes(text: Size): number {
  const [, amount, unit] = SIZE.exec(text) ?? [];
  if (amount === undefined || unit === undefined) throw new Error(`${shown(text)} is not a size such as "64 KiB"`);
  return Number(amount) * UNITS[unit as Unit];
}

/** Schema of a size between two bounds, both included. */
export function size({ min, max }: { min: Size; max: Size }): z.ZodType<Size, Size> {
  const schema = z
    .string({ error: ({ input }) => `${shown(input)} is not a size: write a text such as "64 KiB"` })
    .superRefine((text, context) => {
      const message = !SIZE.test(text)
        ? `${shown(text)} is not a size: write a whole number, a space and B, KiB or MiB, such as "64 KiB"`
        : bytes(text as Size) < bytes(min) || bytes(text as Size) > bytes(max)
          ? `${shown(text)} is out of range: use ${min} to ${max}`
          : undefined;
      if (message !== undefined) context.addIssue({ code: "custom", message });
    });
  return schema as unknown as z.ZodType<Size, Size>;
}
