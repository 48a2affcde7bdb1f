import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { type CallId, type MessageId, newId, type RecipientId } from "../../lib/ids.ts";
import {
  announceWorker,
  type Claim,
  claimMessages,
  holderOf,
  renewClaims,
  succeedWorker,
} from "../../lib/messages/claims_table.ts";
import { startCalls } from "../../lib/messages/delivery_logs_table.ts";
import { insertMessages, markEnqueueFailed, type RingAttempt } from "../../lib/messages/messages_table.ts";
import { takeExpiredClaims, takeLostDoorbells } from "../../lib/messages/orphans_table.ts";
import {
  findSettled,
  plainOf,
  settleAll,
  type Settled,
  type Settlement,
} from "../../lib/messages/outcomes_table.ts";
import { settlePlain } from "../../lib/messages/plain_outcomes_table.ts";
import { cancelMessage, requeueMessages } from "../../lib/messages/requeue_table.ts";
import { giveUpBodies } from "../../lib/messages/retention_table.ts";
import type { Database } from "../../lib/postgres/database.ts";
import { ClaimsLedger, type MadeCall } from "./claims_ledger.ts";
import { changeOf, type Outcome, outcomes, pending, type Step, type WorkerOp } from "./claims_steps.ts";
import type { DeliveryRoom } from "./delivery_room.ts";
import { submissionOf } from "./submissions.ts";

/** A message in a worker's hands. */
interface Hand {
  readonly claim: Claim;
  readonly left: RecipientId[];
  call?: MadeCall;
}

/** A worker process; one that was stopped comes back and believes that it still holds what it held. */
interface TestWorker {
  readonly name: string;
  incarnation: string;
  readonly hands: Map<number, Hand>;
  isBusy: boolean;
}

const leaseMs = 600_000;
const hour = 3_600_000;

/**
 * Clients, workers, an operator and a service, as far as they can be seen from the tables: each of them does one step
 * at a time, several of them at once. What the service did is known here alone.
 */
export class ClaimsWorld {
  readonly ledger = new ClaimsLedger();
  readonly #unanswered: { readonly id: MessageId; readonly attempt?: RingAttempt }[] = [];
  readonly #workers: TestWorker[] = [];
  readonly #stopped: TestWorker[] = [];
  constructor(readonly room: DeliveryRoom, readonly api: Database) {}

  /** Two workers and one that will be stopped and come back. */
  async open(): Promise<this> {
    for (const name of ["one", "two", "three"]) {
      const worker = { name, incarnation: crypto.randomUUID(), hands: new Map(), isBusy: false };
      this.#workers.push(worker);
      await announceWorker(this.#sql, name, worker.incarnation);
    }
    return this;
  }

  /** Does some steps at once; no worker does two. */
  async doAtOnce(steps: readonly Step[]): Promise<void> {
    await Promise.all(steps.map((step) => this.#do(step)));
    this.ledger.note();
    for (const worker of [...this.#workers, ...this.#stopped]) worker.isBusy = false;
  }

  /** Everybody dies; then one worker serves whatever the sweeper finds, and the service takes everything. */
  async finish(): Promise<void> {
    await this.doAtOnce(this.#workers.map((_, a) => ({ op: "kill", a, b: 0 })));
    await this.#owner(
      `update messages set claimed_until = now() - interval '1 s' where status = 'processing'`,
    );
    for (const { number } of this.ledger.claims) this.ledger.expired.add(number);
    await this.#makeDue();
    for (let round = 0; round < 3; round++) {
      await this.#owner("update messages set ring_after = null");
      const unfinished = await this.#owner(
        "select id from messages where status in ('queued', 'processing')",
      );
      const found = await this.#sweep();
      assert.deepEqual(
        found.sort(),
        unfinished.map((row) => row["id"]).sort(),
        "what is swept is what is left",
      );
      for (const id of found) await this.#serve(id);
    }
    const left = await this.#owner("select id from messages where status in ('queued', 'processing')");
    assert.deepEqual(left, []);
    this.ledger.note();
  }

  async #serve(id: MessageId): Promise<void> {
    const [worker] = this.#workers;
    assert.ok(worker);
    await this.#claim(worker, [id]);
    for (const hand of [...worker.hands.values()]) {
      await this.#begin(hand, 9, () => "accepted");
      await this.#settle(worker, hand, false);
    }
  }

  async #do({ op, a, b }: Step): Promise<void> {
    switch (op) {
      case "accept":
        return await this.#accept(a, b);
      case "give up":
        return await this.#giveUp(a);
      case "cancel":
        return await this.#cancel(this.#pick(a));
      case "requeue":
        return await this.#requeue(this.#pick(a));
      case "retain":
        return await this.#retain();
      case "make due":
        return await this.#makeDue();
      case "sweep":
        return void await this.#sweep();
      case "expire":
        return await this.#expire(this.#pick(a));
      default:
        return await this.#work(op, a, b);
    }
  }

  async #work(op: WorkerOp, a: number, b: number): Promise<void> {
    const all = op === "come back" ? this.#stopped.filter(({ hands }) => hands.size > 0) : this.#workers;
    const worker = all[a % Math.max(1, all.length)];
    if (worker === undefined || worker.isBusy) return;
    worker.isBusy = true;
    if (op === "kill") return await this.#kill(worker, b % 2 === 1);
    if (op === "renew") return await this.#renew(worker);
    if (op === "claim") {
      const ids = [...this.ledger.told.keys()].filter((_, index) => (index + b) % 3 > 0);
      return await this.#claim(worker, ids);
    }
    const hand = [...worker.hands.values()][b % Math.max(1, worker.hands.size)];
    if (hand === undefined) return;
    const isAsked = op === "begin" || (op === "come back" && hand.call === undefined && b % 3 > 0);
    if (isAsked) return await this.#begin(hand, 1 + b % 3, (at) => outcomes[(b + at) % 3] ?? "retry");
    if (op === "drop") return await this.#drop(worker, hand, b % 2 === 0);
    return await this.#settle(worker, hand, b % 4 === 0);
  }

  async #accept(a: number, b: number): Promise<void> {
    const key = a % 5 === 0 ? undefined : a % 5;
    const submission = submissionOf(this.room.account, {
      text: `Subject: ${key ?? newId<never>()}\r\n\r\n`,
      recipients: Array.from({ length: key ?? 1 + b % 3 }, (_, n) => ({ address: `r${n}@example.net` })),
    });
    const submissionHash = key === undefined ? undefined : createHash("sha256").update(`${key}`).digest();
    const item = {
      submission,
      storageRef: "local:a#0+1",
      ...(submissionHash && { submissionHash }),
    } as const;
    const [verdict] = await insertMessages(this.room.intake, [item], hour);
    if (verdict?.kind === "no_counter") return; // a row given up at that moment: the client comes again
    assert.ok(verdict?.kind === "stored" || verdict?.kind === "resubmitted");
    const id = verdict.kind === "stored" ? submission.id : verdict.id;
    // Several clients may be answered for one message before the first of them is heard of here.
    const told = this.ledger.told.get(id) ?? { key, isAccepted: false };
    this.ledger.told.set(id, told);
    assert.equal(told.key, key);
    const needsBell = verdict.kind === "stored" || verdict.needsBell;
    if (b % 3 > 0 || !needsBell) told.isAccepted = true;
    else this.#unanswered.push({ id, ...(verdict.attempt !== undefined && { attempt: verdict.attempt }) });
  }

  /** Its doorbell could not be rung. */
  async #giveUp(a: number): Promise<void> {
    const [failed] = this.#unanswered.splice(a % Math.max(1, this.#unanswered.length), 1);
    if (failed === undefined) return;
    const { id, attempt } = failed;
    const taken = await markEnqueueFailed(this.room.intake.system, [{
      message: id,
      ...(attempt && { attempt }),
    }]);
    const told = this.ledger.told.get(id);
    if (taken.has(id) && told !== undefined) told.isAccepted = true;
  }

  async #claim(worker: TestWorker, ids: readonly MessageId[]): Promise<void> {
    if (ids.length === 0) return;
    const holder = holderOf(worker.name, worker.incarnation);
    const answers = await claimMessages(this.#sql, ids, { holder, leaseMs, held: [...worker.hands.keys()] });
    for (const answer of answers.values()) {
      if (answer.kind !== "claimed") continue;
      const { claim } = answer;
      this.ledger.claims.push(claim);
      this.ledger.afterwards(() => this.ledger.checkAlone(claim));
      const left = claim.message.recipients.map(({ id }) => id);
      worker.hands.set(claim.number, { claim, left });
      if (claim.openCalls.length > 0) await this.#afterOpenCalls(worker, claim);
    }
  }

  /** Of what an earlier claim has left open nobody knows the end; it is asked for again. */
  async #afterOpenCalls(worker: TestWorker, { number, message, openCalls }: Claim): Promise<void> {
    const again = new Set(openCalls.flatMap(({ recipients }) => recipients));
    const settled = await this.#write({
      message: message.id,
      claim: number,
      then: "go on",
      ofDroppedClaim: true,
      calls: openCalls.map(({ call }) => ({ call, status: "unknown" })),
      changes: message.recipients.filter(({ id }) => again.has(id)).map(({ id }) => pending(id, false, 0)),
    });
    if (settled === undefined) return this.#lost(worker, number);
    const ids = new Set(openCalls.map(({ call }) => call));
    this.ledger.afterwards(() => {
      const made = this.ledger.calls.filter(({ call }) => ids.has(call));
      assert.equal(made.length, ids.size);
      for (const call of made) call.end = "unknown";
    });
  }

  async #begin(hand: Hand, most: number, outcomeOf: (at: number) => Outcome): Promise<void> {
    const recipients = hand.left.slice(0, most);
    if (hand.call !== undefined || recipients.length === 0) return;
    const { message, number } = hand.claim;
    const call = newId<CallId>();
    const begun = await startCalls(this.#sql, [{
      call,
      message: message.id,
      group: message.group,
      user: message.user,
      claim: number,
      providerType: "test",
      recipients,
      attempt: 1,
      limitMs: 1000,
    }]);
    if (!begun.has(call)) {
      this.ledger.afterwards(() =>
        assert.ok(this.ledger.expired.has(number), "a claim in force may begin a call")
      );
      return;
    }
    const made = { call, message: message.id, claim: number };
    hand.call = { ...made, outcomes: new Map(recipients.map((id, at) => [id, outcomeOf(at)])) };
    this.ledger.calls.push(hand.call);
  }

  async #settle(worker: TestWorker, hand: Hand, isAnswerLost: boolean): Promise<void> {
    const { claim: { message, number }, call } = hand;
    const left = hand.left.filter((id) => call?.outcomes.has(id) !== true);
    const isEnd = call === undefined || left.length === 0;
    const changes = call === undefined
      ? left.map((id) => pending(id, false, 900_000))
      : [...call.outcomes].map(([id, outcome]) => changeOf(id, outcome));
    const status = changes.every((change) => change.status === "accepted") ? "delivered" : "partial";
    const settlement: Settlement = {
      message: message.id,
      claim: number,
      then: isEnd ? "conclude" : "go on",
      calls: call === undefined ? [] : [{ call: call.call, status }],
      changes,
    };
    const settled = await this.#write(settlement);
    if (settled === undefined) return this.#lost(worker, number);
    if (isAnswerLost && await this.#write(settlement) === undefined) {
      if (isEnd) assert.ok(await findSettled(this.#sql, settlement), "what was written is found");
      else {this.ledger.afterwards(() =>
          assert.ok(this.ledger.expired.has(number), "a step can be written twice")
        );}
    }
    if (call !== undefined) {
      call.end = "settled";
      for (const { recipient } of changes) this.ledger.spend(message.id, recipient);
    }
    delete hand.call;
    hand.left.splice(0, hand.left.length, ...left);
    if (isEnd) this.#end(worker, number);
  }

  /** As the worker writes: the short way where it holds, else the long one. */
  async #write(settlement: Settlement): Promise<Settled | undefined> {
    const plain = plainOf(settlement);
    if (plain !== undefined && (await settlePlain(this.#sql, [plain])).has(plain.message)) {
      return { status: "delivered", delayMs: 0 };
    }
    return (await settleAll(this.#sql, [settlement]))[0];
  }

  /** Its body is gone; or a fault of the worker's own, which may leave a call open. */
  async #drop(
    worker: TestWorker,
    { claim: { message, number }, call }: Hand,
    isGone: boolean,
  ): Promise<void> {
    const then = isGone && call === undefined ? "storage_error" : "release";
    const settled = await this.#write({ message: message.id, claim: number, calls: [], changes: [], then });
    if (settled === undefined) return this.#lost(worker, number);
    this.#end(worker, number);
  }

  #lost(worker: TestWorker, number: number): void {
    worker.hands.delete(number);
    this.ledger.afterwards(() =>
      assert.ok(this.ledger.expired.has(number), "a claim in force is nobody else's to take")
    );
  }

  #end(worker: TestWorker, number: number): void {
    worker.hands.delete(number);
    this.ledger.ended.add(number);
  }

  async #renew(worker: TestWorker): Promise<void> {
    const held = [...worker.hands].map(([number, { claim }]) => ({ number, message: claim.message.id }));
    const kept = await renewClaims(this.#sql, held, leaseMs);
    for (const { number } of held) if (!kept.has(number)) this.#lost(worker, number);
  }

  /** Killed, or stopped for so long that its successor has its name; it may go on later all the same. */
  async #kill(worker: TestWorker, isSucceeded: boolean): Promise<void> {
    const { name, incarnation } = worker;
    if (worker.hands.size > 0) {
      this.#stopped.push({ name, incarnation, hands: new Map(worker.hands), isBusy: true });
    }
    worker.hands.clear();
    worker.incarnation = crypto.randomUUID();
    if (!isSucceeded) return;
    const { previous } = await announceWorker(this.#sql, name, worker.incarnation);
    for (const stopped of this.#stopped) {
      if (stopped.name === name) {
        for (const number of stopped.hands.keys()) this.ledger.expired.add(number);
      }
    }
    if (previous !== undefined) await succeedWorker(this.#sql, name, previous, worker.incarnation);
  }

  async #expire(id: MessageId | undefined): Promise<void> {
    const rows = await this.#owner(
      `update messages set claimed_until = clock_timestamp() - interval '1 s'
        where id = '${id ?? newId<never>()}' and status = 'processing' returning claim`,
    );
    for (const row of rows) this.ledger.expired.add(Number(row["claim"]));
  }

  async #sweep(): Promise<MessageId[]> {
    const expired = await takeExpiredClaims(this.#sql, 1000, 1000);
    const lost = await takeLostDoorbells(this.#sql, [], 0, 1000, 1000);
    return [...expired, ...lost].map(({ id }) => id);
  }

  async #makeDue(): Promise<void> {
    // Messages before their recipients, as everybody locks them.
    await this.#owner(`begin;
      update messages set next_attempt_at = now() where status = 'queued' and next_attempt_at > now()
        and (claims > 0 or attempts > 0 or processed_at is not null);
      update recipients set next_attempt_at = now() where status = 'pending' and next_attempt_at > now();
      commit`);
  }

  async #cancel(id: MessageId | undefined): Promise<void> {
    if (id === undefined) return;
    const { group } = this.room.account;
    await this.api.forGroup(group, (sql) => cancelMessage(sql, group, id));
  }

  async #requeue(id: MessageId | undefined): Promise<void> {
    if (id === undefined) return;
    const { group } = this.room.account;
    const requeued = await this.api.forGroup(group, (sql) => requeueMessages(sql, group, [id]));
    // Behind what workers have settled meanwhile: only a message that was settled can be put back.
    if (requeued.length > 0) this.ledger.afterwards(() => this.ledger.forgetSpent(id));
  }

  async #retain(): Promise<void> {
    await giveUpBodies(this.#sql, [...this.ledger.told.keys()], {
      deliveredMs: 0,
      failedMs: 0,
      unansweredMs: 0,
    });
  }

  #pick(a: number): MessageId | undefined {
    return [...this.ledger.told.keys()][a % Math.max(1, this.ledger.told.size)];
  }

  get #sql() {
    return this.room.database.system;
  }

  #owner(script: string) {
    return this.room.owner.run(script);
  }
}
