import { createProgram } from "../program";
import { reference } from "./reference";

const { stdin, stdout, stderr, env } = process;
stdout.write(reference(createProgram("0", { stdin, stdout, stderr, env }, () => undefined)));
