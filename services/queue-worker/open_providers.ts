import type { Esp, EspIo, EspKind } from "../../lib/esp/esp.ts";
import type { Fault } from "../../lib/esp/outcome.ts";
import type { GroupId, ProviderId } from "../../lib/ids.ts";
import type { SystemSql } from "../../lib/postgres/sql.ts";
import {
  listNeedingAttention,
  listProviders,
  type StoredProvider,
} from "../../lib/providers/providers_table.ts";
import { credentialsObstacle } from "../../lib/providers/operator_credentials.ts";
import { listRules } from "../../lib/routing/rules_table.ts";
import { type Routing, routingOf } from "../../lib/routing/route.ts";
import { providerOwner, type SealingKey, unseal } from "../../lib/secrets/seal.ts";
import type { Log } from "../../lib/telemetry/log_fields.ts";
import { Slots } from "./slots.ts";
import { storable } from "../../lib/storable.ts";

/** A provider ready to be called, or the fault that keeps it from being called. */
export interface OpenProvider {
  /** Absent for the `stdout` that stands in where a group has no provider. */
  readonly id?: ProviderId;
  readonly group: GroupId;
  readonly name: string;
  readonly type: string;
  readonly enabled: boolean;
  /** Its mail waits until somebody resumes it. */
  readonly paused?: boolean;
  readonly unknown: "retry" | "hold";
  readonly opened: { readonly esp: Esp; readonly places: Slots } | { readonly fault: Fault };
}

/** The ESP of a provider that can be called. */
export function espOf({ opened }: OpenProvider): Esp | undefined {
  return "esp" in opened ? opened.esp : undefined;
}

/** What a group's mail may go by now; dispose it when the delivery has ended. */
export interface BorrowedProviders extends Disposable {
  /** The group's rules and the providers that they may lead to, opened. */
  readonly routing: Routing<OpenProvider>;
  /**
   * What the owner of a provider of this group wants when nobody knows whether a call sent anything. Of one that was
   * deleted meanwhile nobody knows either: it holds, so that nothing is sent twice unasked.
   */
  policyOf(provider: ProviderId | undefined): "retry" | "hold";
}

/** What opening providers takes. */
export interface OpenProvidersOptions {
  readonly sql: SystemSql;
  readonly findKind: (name: string) => EspKind<unknown> | undefined;
  readonly io: EspIo;
  readonly keys: readonly SealingKey[];
  /** Cloud roles that groups may take on with the operator's identity (ruling 3.14). */
  readonly allowedRoles?: readonly string[];
  /** What becomes of mail of a group that has no provider (ruling 1.11). */
  readonly withoutProvider: "wait" | "stdout";
  /** Told of the providers that somebody has to repair. */
  readonly onAttention: (marked: readonly ProviderId[]) => void;
  readonly log: Log;
  /** A clock in milliseconds that never goes back. */
  readonly now?: () => number;
}

interface Entry {
  readonly revision: number;
  readonly loadedAt: number;
  readonly routing: Routing<OpenProvider>;
  /** Those whose policy is `retry`. */
  readonly sendingAgain: ReadonlySet<ProviderId>;
  users: number;
  isRetired: boolean;
}

const longestLifeMs = 300_000;
const maxGroups = 1000;
/** Calls at a time for a kind that names no limit of its own. */
const manyCalls = 10_000;

/** Opened providers by group and revision, for at most five minutes, closed when nobody uses them (ruling 3.19). */
export class OpenProviders implements AsyncDisposable {
  readonly #options: OpenProvidersOptions;
  readonly #now: () => number;
  // The map's order is the order of last use.
  readonly #entries = new Map<GroupId, Entry>();
  #lastBorrowed: GroupId | undefined;
  readonly #loading = new Map<GroupId, Promise<Entry>>();
  readonly #closing = new Set<Promise<void>>();

  constructor(options: OpenProvidersOptions) {
    this.#options = options;
    this.#now = options.now ?? (() => performance.now());
  }

  /** The ways of a group's mail, at this revision of the group or a later one; throws when they cannot be read. */
  async borrow(group: GroupId, revision: number): Promise<BorrowedProviders> {
    let entry = this.#fresh(group, revision) ?? await this.#load(group, revision);
    while (entry.isRetired) entry = await this.#load(group, revision);
    entry.users++;
    // One group's turn after turn keeps its place: nothing should come and go in a Map by the thousand (see `Crowd`).
    if (this.#lastBorrowed !== group) this.#entries.delete(group);
    this.#entries.set(group, entry);
    this.#lastBorrowed = group;
    let isBorrowed = true;
    return {
      routing: entry.routing,
      policyOf: (provider) => provider === undefined || entry.sendingAgain.has(provider) ? "retry" : "hold",
      [Symbol.dispose]: () => {
        if (!isBorrowed) return;
        isBorrowed = false;
        entry.users--;
        this.#closeUnused(entry);
      },
    };
  }

  /** Closes what is too old and in nobody's use; to be called now and then. */
  expire(): void {
    for (const [group, entry] of this.#entries) {
      if (this.#now() - entry.loadedAt >= longestLifeMs && entry.users === 0) this.#retire(group, entry);
    }
  }

  /** Does something with every provider that is open now, one after the other; each stays open meanwhile. */
  async forEachOpen(work: (provider: OpenProvider) => Promise<void>): Promise<void> {
    for (const entry of [...this.#entries.values()]) {
      if (entry.isRetired) continue;
      entry.users++;
      try {
        for (const provider of entry.routing.providers) await work(provider);
      } finally {
        entry.users--;
        this.#closeUnused(entry);
      }
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const [group, entry] of this.#entries) this.#retire(group, entry);
    await Promise.all(this.#closing);
  }

  #fresh(group: GroupId, revision: number): Entry | undefined {
    const entry = this.#entries.get(group);
    if (entry === undefined) return undefined;
    if (entry.revision >= revision && this.#now() - entry.loadedAt < longestLifeMs) return entry;
    this.#retire(group, entry);
    return undefined;
  }

  async #load(group: GroupId, revision: number): Promise<Entry> {
    for (;;) {
      let loading = this.#loading.get(group);
      if (loading === undefined) {
        loading = this.#open(group).finally(() => this.#loading.delete(group));
        this.#loading.set(group, loading);
      }
      const entry = await loading;
      if (entry.revision >= revision && !entry.isRetired) return entry;
      // It was read just before the change that this message knows of.
      this.#retire(group, entry);
    }
  }

  async #open(group: GroupId): Promise<Entry> {
    const { sql, onAttention } = this.#options;
    const loadedAt = this.#now();
    const { revision, providers } = await listProviders(sql, group);
    const rules = await listRules(sql, group);
    onAttention(await listNeedingAttention(sql, group));
    const stored = routingOf(rules, providers);
    if (stored.skipped.length > 0) {
      const reason = "its conditions are not understood";
      this.#options.log.warn("routing rule skipped", { group, reason, count: stored.skipped.length });
    }
    const opened = providers.length === 0 && this.#options.withoutProvider === "stdout"
      ? [this.#standIn(group)]
      : await Promise.all(stored.providers.map((provider) => this.#openOne(provider)));
    const entry: Entry = {
      revision,
      loadedAt,
      routing: { ...stored, providers: opened, otherwise: opened.slice(0, 1) },
      sendingAgain: new Set(
        providers.filter(({ settings }) => policyOf(settings) === "retry").map(({ id }) => id),
      ),
      users: 0,
      isRetired: false,
    };
    const before = this.#entries.get(group);
    if (before !== undefined) this.#retire(group, before);
    this.#entries.set(group, entry);
    this.#makeRoom();
    return entry;
  }

  async #openOne(stored: StoredProvider): Promise<OpenProvider> {
    const { id, groupId: group, name, providerType: type, enabled, paused } = stored;
    const common = { id, group, name, type, enabled, paused, unknown: policyOf(stored.settings) };
    try {
      const kind = this.#options.findKind(type);
      if (kind === undefined) {
        return { ...common, opened: unusable("kind_unknown", `There is no ESP "${type}"`) };
      }
      const settings = kind.settings.safeParse({ ...stored.settings, ...await this.#secretsOf(stored) });
      if (!settings.success) {
        const fields = [...new Set(settings.error.issues.map((issue) => issue.path.join(".")))].join(", ");
        return { ...common, opened: unusable("settings_invalid", `The settings are not valid: ${fields}`) };
      }
      const use = { ...stored, settings: settings.data as Record<string, unknown> };
      const obstacle = credentialsObstacle(use, this.#options.allowedRoles ?? []);
      if (obstacle !== undefined) return { ...common, opened: unusable("credentials_not_allowed", obstacle) };
      return { ...common, opened: withPlaces(kind.open(settings.data, this.#options.io)) };
    } catch (error) {
      this.#options.log.warn("cannot open provider", { group, provider: id, providerName: name, error });
      const detail = error instanceof Error ? error.message : String(error);
      return { ...common, opened: unusable("cannot_open", detail) };
    }
  }

  async #secretsOf(stored: StoredProvider): Promise<Record<string, unknown>> {
    if (stored.secrets === null || stored.keyId === null) return {};
    const sealed = { keyId: stored.keyId, bytes: stored.secrets };
    const text = await unseal(sealed, providerOwner(stored.groupId, stored.id), this.#options.keys);
    return JSON.parse(text) as Record<string, unknown>;
  }

  #standIn(group: GroupId): OpenProvider {
    const kind = this.#options.findKind("stdout");
    const opened = kind === undefined
      ? unusable("kind_unknown", `There is no ESP "stdout"`)
      : withPlaces(kind.open(kind.settings.parse({}), this.#options.io));
    return { group, name: "stdout", type: "stdout", enabled: true, unknown: "retry", opened };
  }

  #makeRoom(): void {
    for (const [group, entry] of this.#entries) {
      if (this.#entries.size <= maxGroups) return;
      if (entry.users === 0) this.#retire(group, entry);
    }
  }

  #retire(group: GroupId, entry: Entry): void {
    if (this.#entries.get(group) === entry) this.#entries.delete(group);
    if (entry.isRetired) return;
    entry.isRetired = true;
    this.#closeUnused(entry);
  }

  #closeUnused(entry: Entry): void {
    if (!entry.isRetired || entry.users > 0) return;
    const closing = closeAll(entry.routing.providers).catch((error) => {
      this.#options.log.warn("cannot close provider", { error });
    }).finally(() => this.#closing.delete(closing));
    this.#closing.add(closing);
  }
}

function withPlaces(esp: Esp) {
  return { esp, places: new Slots(esp.limits.parallel ?? manyCalls) };
}

function unusable(code: string, detail: string): { readonly fault: Fault } {
  return { fault: { blame: "provider", code, detail: storable(detail, 500) } };
}

function policyOf(settings: Readonly<Record<string, unknown>>): "retry" | "hold" {
  return settings["unknown"] === "hold" ? "hold" : "retry";
}

async function closeAll(providers: readonly OpenProvider[]): Promise<void> {
  for (const { opened } of providers) if ("esp" in opened) await opened.esp[Symbol.asyncDispose]();
}
