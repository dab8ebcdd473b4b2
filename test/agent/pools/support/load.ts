/** Asks an edge all the time; the returned function ends that and tells what did not succeed. */
export function load(url: string): () => Promise<{ requests: number; failures: string[] }> {
  const failures: string[] = [];
  let requests = 0;
  let on = true;
  const worker = async () => {
    while (on) {
      requests += 1;
      try {
        const response = await fetch(`${url}/slow?ms=5`);
        const text = await response.text();
        if (response.status !== 200) failures.push(`${response.status} ${text}`);
      } catch (error) {
        failures.push(String((error as Error).cause ?? error));
      }
    }
  };
  const workers = [worker(), worker()];
  return async () => {
    on = false;
    await Promise.all(workers);
    return { requests, failures };
  };
}
