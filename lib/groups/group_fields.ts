import { z } from "zod";
import { parseCidr } from "../network/cidr.ts";

/** What a group is called; no two have the same name. */
export const groupName = z.string({ error: "name is required" }).trim().min(1, "name is required").max(255);

/** Messages a month (UTC); 0 is unlimited. */
export const monthlyLimit = z.number().int().min(0).max(2_147_483_647);

const network = z.string().max(50).refine(
  (text) => parseCidr(text) !== undefined,
  "a network is written as 10.0.0.0/8",
);

/** How long bodies are kept, in seconds: nought is not at all, null as long as for everybody. */
export const retention = z.strictObject({
  delivered: z.number().int().min(0).max(315_360_000).nullable().optional(),
  failed: z.number().int().min(0).max(315_360_000).nullable().optional(),
});

/** From where a group's accounts may log in; null is from everywhere. */
export const allowedIps = z.array(network).max(1000).nullable();
