"use strict";
// The entry point of the policy pack: runs its TypeScript through tsx, without a build. The host has registered a compiler
// of its own before, which checks types and takes seconds; tsx takes its place.
require("tsx/cjs/api").register();
require("./pack.ts");
