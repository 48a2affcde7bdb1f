/** A kind of load that servers are compared under; all use 20 sessions unless said. */
export interface Load {
  readonly name: string;
  readonly messagesPerConnection: number;
  readonly size: number;
}

/** 10 KiB, 100 messages a connection. */
export const smallLoad: Load = { name: "k100", messagesPerConnection: 100, size: 10_240 };

/** The small one, 10 KiB at one message a connection, 1 MiB at 20. */
export const loads: readonly Load[] = [
  smallLoad,
  { name: "k1", messagesPerConnection: 1, size: 10_240 },
  { name: "m1", messagesPerConnection: 20, size: 1_048_576 },
];
