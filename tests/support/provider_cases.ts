import { newId } from "../../lib/ids.ts";
import { type AccessCase, who, type World } from "./access_cases.ts";

const base = "/api/v1";

/** A provider of alpha's, new. */
async function newProvider({ owner, alpha }: World, type = "simulator"): Promise<string> {
  const id = newId<never>() as string;
  await owner.run(`insert into esp_providers (id, group_id, name, provider_type)
    values ('${id}', '${alpha}', 'alpha.example', '${type}')`);
  return id;
}

const body = { name: "made", "provider_type": "simulator" };
const one = `${base}/providers`;

function webhook(kind: string): Readonly<Record<string, AccessCase>> {
  return {
    [`POST /api/v1/webhooks/${kind}`]: {
      allowed: "public",
      make: () => ({ path: `${base}/webhooks/${kind}`, body: {} }),
      answers: [400],
      foreign: "own",
    },
    [`POST /api/v1/webhooks/${kind}/{token}`]: {
      allowed: "public",
      make: () => ({ path: `${base}/webhooks/${kind}/${crypto.randomUUID()}`, body: {} }),
      answers: [400],
      foreign: "own",
    },
  };
}

/** The operations of providers, and of the reports of their services. */
export const providerCases: Readonly<Record<string, AccessCase>> = {
  "GET /api/v1/providers": {
    allowed: who.people,
    make: () => ({ path: one }),
    answers: [200],
    foreign: "own",
  },
  "POST /api/v1/providers": {
    allowed: who.admins,
    make: () => ({ path: one, body }),
    answers: [201],
    foreign: "own",
  },
  "GET /api/v1/providers/{id}": {
    allowed: who.people,
    make: async (world) => ({ path: `${one}/${await newProvider(world)}` }),
    answers: [200],
    foreign: [404],
  },
  "PUT /api/v1/providers/{id}": {
    allowed: who.admins,
    make: async (world) => ({ path: `${one}/${await newProvider(world)}`, body }),
    answers: [200],
    foreign: [404],
  },
  "DELETE /api/v1/providers/{id}": {
    allowed: who.admins,
    make: async (world) => ({ path: `${one}/${await newProvider(world)}` }),
    answers: [204],
    foreign: [404],
  },
  "POST /api/v1/providers/{id}/pause": {
    allowed: who.admins,
    make: async (world) => ({ path: `${one}/${await newProvider(world)}/pause` }),
    answers: [200],
    foreign: [404],
  },
  "POST /api/v1/providers/{id}/resume": {
    allowed: who.admins,
    make: async (world) => ({ path: `${one}/${await newProvider(world)}/resume` }),
    answers: [200],
    foreign: [404],
  },
  "POST /api/v1/providers/{id}/rotate-webhook": {
    allowed: who.admins,
    make: async (world) => ({ path: `${one}/${await newProvider(world, "sendgrid")}/rotate-webhook` }),
    answers: [200],
    foreign: [404],
  },
  "POST /api/v1/providers/{id}/test": {
    allowed: who.admins,
    make: async (world) => ({ path: `${one}/${await newProvider(world)}/test`, body: {} }),
    answers: [200],
    foreign: [404],
  },
  ...webhook("sendgrid"),
  ...webhook("ses"),
  ...webhook("mailgun"),
};
