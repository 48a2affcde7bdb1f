import { join } from "node:path";
import { findKind } from "../../lib/esp/catalog.ts";
import type { EspIo, EspKind } from "../../lib/esp/esp.ts";
import { type MessageId, newId, type ProviderId } from "../../lib/ids.ts";
import type { EnvelopeRecipient } from "../../lib/messages/message.ts";
import { insertMessages } from "../../lib/messages/messages_table.ts";
import { createEndpointGuard, createGuard } from "../../lib/network/guard.ts";
import { type Database, openDatabase, openSession, type Session } from "../../lib/postgres/database.ts";
import { answerTimeoutMs } from "../../lib/providers/esp_io.ts";
import { putProvider } from "../../lib/providers/providers_table.ts";
import { openPostgresQueue } from "../../lib/queue/postgres_queue.ts";
import type { Queue } from "../../lib/queue/queue.ts";
import { parseKeys, providerOwner, seal, type SealingKey } from "../../lib/secrets/seal.ts";
import type { MessageStore } from "../../lib/store/message_store.ts";
import { openStore } from "../../lib/store/open_store.ts";
import { createMetrics, type Metrics } from "../../lib/telemetry/metrics.ts";
import { deliver } from "../../services/queue-worker/deliver.ts";
import { type CrewOptions, openCrew, type OpenedCrew } from "../../services/queue-worker/open_crew.ts";
import { type MemoryLog, memoryLog } from "./memory_log.ts";
import { type TestDatabase, testDatabase } from "./postgres.ts";
import { makeAccount, submissionOf, type TestAccount } from "./submissions.ts";

/** What a test changes of a crew. */
export interface RoomOptions extends Partial<Pick<CrewOptions, "slots" | "leaseMs">> {
  readonly terms?: Partial<CrewOptions["terms"]>;
  readonly withoutProvider?: "wait" | "stdout";
  readonly store?: Pick<MessageStore, "get">;
  readonly queue?: Queue;
  readonly database?: Database;
  readonly name?: string;
  readonly keys?: readonly SealingKey[];
  readonly io?: Partial<EspIo>;
  /** Kinds of ESP besides those of the catalog. */
  readonly kinds?: readonly EspKind<unknown>[];
  readonly memoryBytes?: number;
  readonly allowedRoles?: readonly string[];
}

/** One recipient as the table has it. */
export interface RecipientState {
  readonly status: string;
  readonly failure: string | null;
  readonly attempts: number;
  readonly code: string | null;
  /** Seconds that it was put off for the last time, whenever one looks; null when it is not put off. */
  readonly wait: number | null;
}

/** No call of a test takes so long, and half of a lease is left for it. */
const callTimeoutMs = 60_000;
const connectTimeoutMs = 60_000;

/** A database, a store and a queue with one account, and workers for them: all real, all gone when disposed. */
export class DeliveryRoom implements AsyncDisposable {
  readonly log: MemoryLog = memoryLog();
  readonly metrics: Metrics = createMetrics();
  /** What `stdout` printed. */
  readonly printed: string[] = [];
  readonly #stack: AsyncDisposableStack;

  private constructor(
    stack: AsyncDisposableStack,
    readonly databaseOf: TestDatabase,
    readonly intake: Database,
    readonly database: Database,
    readonly owner: Session,
    readonly store: MessageStore,
    readonly queue: Queue,
    readonly account: TestAccount,
  ) {
    this.#stack = stack;
  }

  /** Opens everything but a worker. */
  static async open(): Promise<DeliveryRoom> {
    await using stack = new AsyncDisposableStack();
    const databaseOf = stack.use(await testDatabase());
    const folder = await Deno.makeTempDir({ prefix: "smtp_proxy_room_" });
    stack.defer(() => Deno.remove(folder, { recursive: true }));
    const owner = stack.use(await openSession({ url: databaseOf.ownerUrl }));
    const account = await makeAccount(databaseOf.ownerUrl);
    const intake = stack.use(openDatabase({
      url: databaseOf.urlFor("smtp_proxy_intake"),
      role: "smtp_proxy_intake",
      connectTimeoutMs,
    }));
    const database = stack.use(openDatabase({
      url: databaseOf.urlFor("smtp_proxy_worker"),
      role: "smtp_proxy_worker",
      connectTimeoutMs,
    }));
    const store = stack.use(
      await openStore({ type: "local", path: join(folder, "messages"), instance: "0", minFree: 0 }),
    );
    const queue = stack.use(openPostgresQueue({ database, timeoutMs: 60_000 }));
    return new DeliveryRoom(stack.move(), databaseOf, intake, database, owner, store, queue, account);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack.disposeAsync();
  }

  /** A worker's crew; dispose it before the room. */
  crew(options: RoomOptions = {}): OpenedCrew {
    return openCrew({
      database: options.database ?? this.database,
      store: options.store ?? this.store,
      queue: options.queue ?? this.queue,
      log: this.log,
      metrics: this.metrics,
      name: options.name ?? "test",
      incarnation: crypto.randomUUID(),
      slots: options.slots ?? 10,
      leaseMs: options.leaseMs ?? 120_000,
      memoryBytes: options.memoryBytes ?? 64 << 20,
      terms: {
        retryDelaysMs: [30_000, 60_000, 120_000, 300_000, 900_000],
        maxAgeMs: 72 * 3_600_000,
        callTimeoutMs,
        answerTimeoutMs,
        bodyDelaysMs: [1, 1, 1],
        ...options.terms,
      },
      providers: {
        findKind: (name) => options.kinds?.find((kind) => kind.name === name) ?? findKind(name),
        keys: options.keys ?? [],
        allowedRoles: options.allowedRoles ?? [],
        withoutProvider: options.withoutProvider ?? "wait",
        io: {
          fetch,
          now: () => new Date(),
          guard: createGuard({ allowedNetworks: [], allowedPorts: [], development: true }),
          guardEndpoint: createEndpointGuard({ allowedNetworks: [], allowedPorts: [], development: true }),
          callTimeoutMs: options.terms?.callTimeoutMs ?? callTimeoutMs,
          answerTimeoutMs: options.terms?.answerTimeoutMs ?? answerTimeoutMs,
          print: (text) => this.printed.push(text),
          showText: false,
          ...options.io,
        },
      },
    });
  }

  /** Gives the account's group a relay at a port of this host; the password, if any, is sealed. */
  async relay(
    port: number,
    settings?: Record<string, unknown>,
    sealedWith?: string,
  ): Promise<ProviderId> {
    const secret = sealedWith === undefined
      ? undefined
      : { secrets: { password: "sealed password" }, keys: sealedWith };
    return await this.provider("smtp", { host: "127.0.0.1", port, tls: "none", ...settings }, secret);
  }

  /** Gives the account's group a provider of any kind, or changes one (`of`); its secrets are sealed by the keys given. */
  async provider(
    type: string,
    settings: Record<string, unknown>,
    secret?: { readonly secrets: Record<string, unknown>; readonly keys: string; readonly of?: ProviderId },
  ): Promise<ProviderId> {
    const id = secret?.of ?? newId<ProviderId>();
    const { group } = this.account;
    const keys = secret && await parseKeys(secret.keys);
    const sealed = keys && await seal(JSON.stringify(secret.secrets), providerOwner(group, id), keys);
    await putProvider(this.#ownerSql(), {
      id,
      groupId: group,
      name: `${type} ${id.slice(-6)}`,
      providerType: type,
      settings,
      secrets: sealed?.bytes ?? null,
      keyId: sealed?.keyId ?? null,
      enabled: true,
    });
    return id;
  }

  /** A rule without conditions that names providers, best first. */
  async rule(providers: readonly ProviderId[], conditions: Record<string, unknown> = {}): Promise<void> {
    const id = crypto.randomUUID();
    const { group } = this.account;
    await this.owner.query("insert into routing_rules (id, group_id, conditions) values ($1, $2, $3)", [
      id,
      group,
      JSON.stringify(conditions),
    ]);
    for (const [index, provider] of providers.entries()) {
      await this.owner.query(
        "insert into routing_rule_providers (group_id, rule_id, position, provider_id) values ($1, $2, $3, $4)",
        [group, id, index + 1, provider],
      );
    }
  }

  /** Accepts a message as smtp-server would, without its doorbell. */
  async submit(
    recipients?: readonly (string | EnvelopeRecipient)[],
    text?: string,
  ): Promise<MessageId> {
    const submission = submissionOf(this.account, {
      recipients: (recipients ?? ["one@example.net"]).map((one) =>
        typeof one === "string" ? { address: one } : one
      ),
      ...(text !== undefined && { text }),
    });
    const label = {
      ...submission,
      recipients: submission.recipients.map(({ address }) => address),
    };
    const storageRef = await this.store.put(label, submission.body);
    await insertMessages(this.intake, [{ submission, storageRef }], 0);
    return submission.id;
  }

  /** Serves one doorbell of a message, whether or not the queue has one. */
  async deliver(id: MessageId, crew: OpenedCrew): Promise<void> {
    await deliver({ message: id, group: this.account.group, token: "" }, crew);
  }

  /** Makes a message and its pending recipients due, as if their wait were over. */
  async makeDue(id: MessageId): Promise<void> {
    await this.owner.run(`begin;
      update recipients set updated_at = updated_at - (next_attempt_at - now()), next_attempt_at = now()
        where message_id = '${id}' and status = 'pending' and next_attempt_at > now();
      update messages set next_attempt_at = now() - interval '1 ms' where id = '${id}' and status = 'queued';
      commit`);
  }

  /** A message's status, and its failure code when it has one. */
  async statusOf(id: MessageId): Promise<string> {
    const [row] = await this.owner.query("select status, failure_code from messages where id = $1", [id]);
    return [row?.["status"], row?.["failure_code"]].filter((part) => part !== null).join("/");
  }

  /** A message's recipients by position. */
  async recipientsOf(id: MessageId): Promise<readonly RecipientState[]> {
    return await this.owner.query(
      `select status, failure_code as failure, attempts, fault_code as code,
        extract(epoch from next_attempt_at - updated_at)::float8 as wait
       from recipients where message_id = $1 order by position`,
      [id],
    ) as unknown as readonly RecipientState[];
  }

  /** A message's call rows, oldest first. */
  async logsOf(id: MessageId): Promise<readonly Record<string, unknown>[]> {
    return await this.owner.query("select * from delivery_logs where message_id = $1 order by id", [id]);
  }

  #ownerSql() {
    return (<Row>(text: TemplateStringsArray, ...values: readonly unknown[]) =>
      this.owner.query(text.reduce((before, part, index) => `${before}$${index}${part}`), values) as Promise<
        readonly Row[]
      >) as Parameters<typeof putProvider>[0];
  }
}
