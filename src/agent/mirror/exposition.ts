import type { MirrorFigures } from "../../model/route/mirror";

/** The figures of the mirror in Prometheus' text format; nothing where nothing is mirrored. */
export function mirrorExposition(routes: Record<string, MirrorFigures>): string {
  const all = Object.entries(routes);
  if (all.length === 0) return "";
  const answers = all.flatMap(([route, { statuses }]) =>
    Object.entries(statuses).map(([status, count]) => `{route="${route}",status="${status}"} ${count}`),
  );
  const drops = all.flatMap(([route, { dropped }]) =>
    Object.entries(dropped).map(([reason, count]) => `{route="${route}",reason="${reason}"} ${count}`),
  );
  const received = all.map(([route, { received: count }]) => `{route="${route}"} ${count}`);
  return [
    ...family("sluice_mirror_copies_total", "Copies of requests that came from HAProxy.", received),
    ...family("sluice_mirror_answers_total", "Copies that the shadow answered, by status.", answers),
    ...family("sluice_mirror_dropped_copies_total", "Copies that were dropped, by reason.", drops),
    "",
  ].join("\n");
}

function family(name: string, help: string, samples: string[]): string[] {
  return [`# HELP ${name} ${help}`, `# TYPE ${name} counter`, ...samples.map((sample) => name + sample)];
}
