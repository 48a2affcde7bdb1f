/** What a client says of the messages of one run: the ids of each kind of end. */
export interface ClientSide {
  /** Answered with 250. */
  readonly acked: ReadonlySet<string>;
  /** The closing dot was written and no answer came, or something other than 250 did. */
  readonly uncertain: ReadonlySet<string>;
  /** The closing dot was written more than once. */
  readonly resent: ReadonlySet<string>;
  /** Recipients that every message has. */
  readonly recipients: readonly string[];
}

/** One mail as the sink took it. */
export interface SunkMail {
  readonly id: string;
  readonly to: readonly string[];
}

/** What nothing may be lost of, counted where the mail arrives. */
export interface Verdict {
  readonly acked: number;
  /** Recipients of acknowledged messages whom the sink never took and who are no dead letter. */
  readonly lost: number;
  /** Mails that nobody sent, or to somebody they were not for. */
  readonly invented: number;
  /** Mails beyond the first to a recipient, of messages that the client sent once. */
  readonly duplicates: number;
  /** The same of messages that the client sent again. */
  readonly resentDuplicates: number;
  /** Recipients in dead letters. */
  readonly dead: number;
  /** Up to ten ids of what is lost, invented or doubled. */
  readonly examples: readonly string[];
}

/** Compares what a client was told with what a sink took; `dead` holds `recipientKey`s. */
export function judgeDelivery(
  client: ClientSide,
  sunk: Iterable<SunkMail>,
  dead: ReadonlySet<string>,
): Verdict {
  const taken = new Map<string, number>();
  const examples: string[] = [];
  const counts = { lost: 0, invented: 0, duplicates: 0, resentDuplicates: 0 };
  const known = new Set(client.recipients);
  for (const { id, to } of sunk) {
    const isOurs = (client.acked.has(id) || client.uncertain.has(id)) && to.every((one) => known.has(one));
    if (!isOurs) counts.invented += note(examples, `invented ${id}`);
    for (const one of to) taken.set(recipientKey(id, one), (taken.get(recipientKey(id, one)) ?? 0) + 1);
  }
  for (const id of client.acked) {
    for (const one of client.recipients) {
      const key = recipientKey(id, one);
      if (!taken.has(key) && !dead.has(key)) counts.lost += note(examples, `lost ${key}`);
    }
  }
  // A mail to several is one mail: the recipient who got most of them tells how many there were.
  const times = new Map<string, number>();
  for (const [key, count] of taken) {
    const id = key.slice(0, key.indexOf(" "));
    times.set(id, Math.max(times.get(id) ?? 0, count));
  }
  for (const [id, count] of times) {
    if (count === 1) continue;
    const kind = client.resent.has(id) ? "resentDuplicates" : "duplicates";
    counts[kind] += count - 1;
    note(examples, `doubled ${id}`);
  }
  return { acked: client.acked.size, ...counts, dead: dead.size, examples };
}

/** Names one recipient of one message. */
export function recipientKey(id: string, address: string): string {
  return `${id} ${address}`;
}

function note(examples: string[], text: string): 1 {
  if (examples.length < 10) examples.push(text);
  return 1;
}
