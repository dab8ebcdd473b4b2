import { Argument, Command, type Option } from "commander";
import { AgentClient } from "../agent/client/client";
import { EXIT, type ExitCode, type Terminal } from "./common/exit";
import { chooseSocket } from "./common/sockets";
import { namesOf, processesOf } from "./common/targets";

/** Longest time that a Tab waits for an agent, in milliseconds. */
const AGENT_MS = 1500;

const SCRIPTS = {
  bash: `_sluice() {
  local IFS=$'\\n'
  COMPREPLY=($(sluice complete -- "\${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null))
}
complete -o default -F _sluice sluice
`,
  zsh: `#compdef sluice
_sluice() {
  local -a found
  found=("\${(@f)$(sluice complete -- "\${(@)words[2,CURRENT]}" 2>/dev/null)}")
  if [[ -n "\${found[1]}" ]]; then compadd -- "\${found[@]}"; else _files; fi
}
compdef _sluice sluice
`,
  fish: `function __sluice_complete
  set -l words (commandline -opc) (commandline -ct)
  set -l found (sluice complete -- $words[2..-1] 2>/dev/null)
  if test (count $found) -gt 0
    printf '%s\\n' $found
  else
    __fish_complete_path (commandline -ct)
  end
end
complete -c sluice -f -a '(__sluice_complete)'
`,
};

const HELP = `
bash: echo 'source <(sluice completion bash)' >> ~/.bashrc
zsh:  sluice completion zsh > "\${fpath[1]}/_sluice"
fish: sluice completion fish > ~/.config/fish/completions/sluice.fish`;

/** `sluice completion`: prints a script with which a shell completes verbs, options, and the names of what an agent has. */
export function completionCommand(terminal: Terminal, finish: (code: ExitCode) => void): Command {
  return new Command("completion")
    .description("Prints a script that lets a shell complete verbs, options and names.")
    .addArgument(new Argument("<shell>").choices(Object.keys(SCRIPTS)))
    .addHelpText("after", HELP)
    .action((shell: keyof typeof SCRIPTS) => {
      terminal.stdout.write(SCRIPTS[shell]);
      finish(EXIT.good);
    });
}

/**
 * Completes words for those scripts: prints those that may stand at the position of the last one. Nothing where that is
 * a file.
 */
export function completeCommand(terminal: Terminal, finish: (code: ExitCode) => void): Command {
  const complete = new Command("complete").argument("[words...]").allowUnknownOption();
  return complete.action(async (words: string[]) => {
    const found = complete.parent === null ? [] : await candidates(complete.parent, words, terminal.env);
    const last = words.at(-1) ?? "";
    for (const word of found) if (word.startsWith(last)) terminal.stdout.write(`${word}\n`);
    finish(EXIT.good);
  });
}

async function candidates(program: Command, words: string[], env: Terminal["env"]): Promise<string[]> {
  const last = words.at(-1) ?? "";
  let command = program;
  let waiting: Option | undefined;
  for (const word of words.slice(0, -1)) {
    const expecting: Option | undefined = waiting;
    waiting = undefined;
    if (expecting !== undefined) continue;
    if (word.startsWith("-"))
      waiting = command.options.find(
        (option) => (option.long === word || option.short === word) && (option.required || option.optional),
      );
    else command = command.commands.find((sub) => sub.name() === word) ?? command;
  }
  if (waiting !== undefined) return waiting.argChoices ?? (await named(waiting.attributeName(), words, env));
  if (last.startsWith("-"))
    return [...command.options.flatMap(({ long, hidden }) => (long && !hidden ? [long] : [])), "--help"];
  if (command.commands.length > 0)
    return [
      ...command.commands.map((sub) => sub.name()).filter((name) => name !== "complete"),
      ...(command === program ? ["help"] : []),
    ];
  const choices = command.registeredArguments.flatMap((argument) => argument.argChoices ?? []);
  if (choices.length > 0) return choices;
  return command.registeredArguments.some((argument) => argument.name() === "target")
    ? named("target", words, env)
    : [];
}

/** Names of what an agent has now; none where it does not answer at once. */
async function named(kind: string, words: string[], env: Terminal["env"]): Promise<string[]> {
  if (!["target", "pool", "edge", "route", "process"].includes(kind) || words.includes("--host")) return [];
  const at = words.indexOf("--socket");
  let client: AgentClient | undefined;
  try {
    client = new AgentClient(await chooseSocket(at < 0 ? undefined : words[at + 1], { env, cwd: process.cwd() }));
    const status = await client.status({ timeoutMs: AGENT_MS });
    if (kind === "pool") return Object.keys(status.pools);
    if (kind === "edge") return Object.keys(status.edges);
    if (kind === "route") return Object.keys(status.routes);
    const processes = processesOf(status);
    return kind === "process" ? [...new Set(processes.map(({ key }) => key))] : namesOf(processes);
  } catch {
    // An error at a Tab would not be read: offer no names then.
    return [];
  } finally {
    client?.close();
  }
}
