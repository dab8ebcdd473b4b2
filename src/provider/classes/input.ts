import type * as pulumi from "@pulumi/pulumi";

/** A type that takes Pulumi outputs at any depth. */
export type DeepInput<T> = pulumi.Input<
  T extends readonly (infer Item)[] ? DeepInput<Item>[] : T extends object ? { [Key in keyof T]: DeepInput<T[Key]> } : T
>;
