import type { GroupId, ProviderId } from "../ids.ts";

/** One group's configured account with an ESP, its secrets opened. */
export interface Provider {
  readonly id: ProviderId;
  readonly group: GroupId;
  readonly name: string;
  /** The name of an EspKind. */
  readonly type: string;
  readonly enabled: boolean;
  /** Public settings and secrets, merged; validated by the kind's schema when opened. */
  readonly settings: Readonly<Record<string, unknown>>;
  /** What becomes of a recipient whose call got no answer (ruling 3.12). */
  readonly unknown: "retry" | "hold";
}
