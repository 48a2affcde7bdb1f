import { newId } from "../../lib/ids.ts";
import { type AccessCase, who, type World } from "./access_cases.ts";
import { addMail, type MailRow } from "./mail_rows.ts";

const base = "/api/v1";

/** A message of alpha's, new. */
function newMail({ alpha, account, owner }: World, row: Partial<MailRow> = {}): Promise<string> {
  return addMail(owner, { group: alpha, user: account, sender: "a@alpha.example", ...row });
}

async function newSuppression({ alpha, owner }: World): Promise<string> {
  const id = newId<never>() as string;
  await owner.query(
    "insert into suppressions (id, group_id, address, reason) values ($1, $2, $3, 'bounce')",
    [id, alpha, `${id}@alpha.example`],
  );
  return id;
}

const dead = { status: "failed", recipients: [["b@alpha.example", "failed"]] } as const;

/** The operations of messages, dead letters and statistics. */
export const mailCases: Readonly<Record<string, AccessCase>> = {
  "GET /api/v1/messages": {
    allowed: who.readers,
    make: async (world) => {
      await newMail(world);
      return { path: `${base}/messages?limit=5` };
    },
    answers: [200],
    foreign: "own",
  },
  "GET /api/v1/messages/{id}": {
    allowed: who.readers,
    make: async (world) => ({ path: `${base}/messages/${await newMail(world)}` }),
    answers: [200],
    foreign: [404],
  },
  "GET /api/v1/messages/{id}/raw": {
    allowed: who.adminsAndKeys,
    make: async (world) => ({ path: `${base}/messages/${await newMail(world)}/raw` }),
    answers: [200],
    foreign: [404],
  },
  "POST /api/v1/messages/{id}/cancel": {
    allowed: who.adminsAndKeys,
    make: async (world) => ({ path: `${base}/messages/${await newMail(world)}/cancel` }),
    answers: [200],
    foreign: [404],
  },
  "GET /api/v1/dlq": {
    allowed: who.readers,
    make: async (world) => {
      await newMail(world, dead);
      return { path: `${base}/dlq?limit=5` };
    },
    answers: [200],
    foreign: "own",
  },
  "POST /api/v1/dlq/reprocess": {
    allowed: who.adminsAndKeys,
    make: async (world) => ({
      path: `${base}/dlq/reprocess`,
      body: { "message_ids": [await newMail(world, dead)], "reset_retry_count": true },
    }),
    answers: [200],
    foreign: "own", // 200 that says that nothing of theirs was named; nothing is told or changed
  },
  "GET /api/v1/refused-submissions": {
    allowed: who.readers,
    make: async ({ alpha, owner }) => {
      await owner.query(
        `insert into refused_submissions (id, group_id, account, address, command, code, reason, reply, correlation_id,
          times, first_at, last_at)
        values (uuidv7(), $1, 'shop', '192.0.2.1', 'RCPT TO:<x@alpha.example>', 501, 'recipient_address_invalid', 'No', 'c',
          1, now(), now())`,
        [alpha],
      );
      return { path: `${base}/refused-submissions?limit=5` };
    },
    answers: [200],
    foreign: "own",
  },
  "GET /api/v1/suppressions": {
    allowed: who.readers,
    make: async (world) => {
      await newSuppression(world);
      return { path: `${base}/suppressions?limit=5` };
    },
    answers: [200],
    foreign: "own",
  },
  "POST /api/v1/suppressions": {
    allowed: who.adminsAndKeys,
    make: () => ({ path: `${base}/suppressions`, body: { address: "nobody@there.example" } }),
    answers: [200],
    foreign: "own",
  },
  "POST /api/v1/suppressions/import": {
    allowed: who.adminsAndKeys,
    make: () => ({ path: `${base}/suppressions/import`, body: { addresses: ["many@there.example"] } }),
    answers: [200],
    foreign: "own",
  },
  "DELETE /api/v1/suppressions/{id}": {
    allowed: who.adminsAndKeys,
    make: async (world) => ({ path: `${base}/suppressions/${await newSuppression(world)}` }),
    answers: [204],
    foreign: [404],
  },
  "GET /api/v1/stats": {
    allowed: who.readers,
    make: async (world) => {
      await newMail(world);
      return { path: `${base}/stats` };
    },
    answers: [200],
    foreign: "own",
  },
  "GET /api/v1/usage": {
    allowed: who.readers,
    make: () => ({ path: `${base}/usage` }),
    answers: [200],
    foreign: "own",
  },
};
