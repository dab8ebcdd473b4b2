/** How traffic uses the processes of pools, over all edges of this host. */
export interface Traffic {
  connections(address: string, port: number): Promise<{ connections: number; mayReceive: boolean }>;
  /** Ends what is left after the drain deadline. */
  cut(address: string, port: number): Promise<void>;
  /** Converges the edge of a pool, without the processes that are off edge. */
  converge(pool: string): Promise<void>;
  /** Tells HAProxy that what listens at an address is gone, or back, before its own checks find out, which go on. */
  notifyHealth(address: string, port: number, health: "up" | "down"): Promise<void>;
  /** Ports of a pool's servers that take requests now. */
  receivingPorts(pool: string): Promise<number[]>;
}
