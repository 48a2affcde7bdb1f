import { newId } from "../../lib/ids.ts";
import { type AccessCase, who, type World } from "./access_cases.ts";

const path = "/api/v1/routing-rules";

/** A provider of alpha's, new. */
async function newProvider({ alpha, owner }: World): Promise<string> {
  const id = newId<never>() as string;
  await owner.run(`insert into esp_providers (id, group_id, name, provider_type)
    values ('${id}', '${alpha}', 'relay', 'smtp')`);
  return id;
}

/** A rule of alpha's, new, and its provider. */
async function newRule(world: World): Promise<{ readonly rule: string; readonly provider: string }> {
  const [rule, provider] = [newId<never>() as string, await newProvider(world)];
  await world.owner.run(`begin;
    insert into routing_rules (id, group_id) values ('${rule}', '${world.alpha}');
    insert into routing_rule_providers (group_id, rule_id, position, provider_id)
      values ('${world.alpha}', '${rule}', 1, '${provider}');
    commit`);
  return { rule, provider };
}

async function newMessage({ alpha, account, owner }: World): Promise<string> {
  const id = newId<never>() as string;
  await owner.run(`begin;
    insert into messages (id, group_id, user_id, sender, recipient_count, size, content_hash, storage_ref, body,
        next_attempt_at, correlation_id, enqueued_at)
      values ('${id}', '${alpha}', '${account}', 'a@alpha.example', 1, 4, sha256('x'), 'inline', 'body', now(), 'c', now());
    insert into recipients (message_id, position, group_id, address) values ('${id}', 1, '${alpha}', 'b@alpha.example');
    commit`);
  return id;
}

/** The operations of routing rules. */
export const routingRuleCases: Readonly<Record<string, AccessCase>> = {
  "POST /api/v1/routing-rules": {
    allowed: who.admins,
    make: async (world) => ({ path, body: { priority: 1, "provider_id": await newProvider(world) } }),
    answers: [201],
    foreign: [404],
  },
  "GET /api/v1/routing-rules": {
    allowed: who.people,
    make: async (world) => {
      await newRule(world);
      return { path: `${path}?limit=5` };
    },
    answers: [200],
    foreign: "own",
  },
  "GET /api/v1/routing-rules/{id}": {
    allowed: who.people,
    make: async (world) => ({ path: `${path}/${(await newRule(world)).rule}` }),
    answers: [200],
    foreign: [404],
  },
  "PUT /api/v1/routing-rules/{id}": {
    allowed: who.admins,
    make: async (world) => {
      const { rule, provider } = await newRule(world);
      return { path: `${path}/${rule}`, body: { priority: 2, "provider_id": provider } };
    },
    answers: [200],
    foreign: [404],
  },
  "DELETE /api/v1/routing-rules/{id}": {
    allowed: who.admins,
    make: async (world) => ({ path: `${path}/${(await newRule(world)).rule}` }),
    answers: [204],
    foreign: [404],
  },
  "POST /api/v1/routing-rules/test": {
    allowed: who.people,
    make: async (world) => ({ path: `${path}/test`, body: { "message_id": await newMessage(world) } }),
    answers: [200],
    foreign: [404],
  },
};
