import { join, resolve } from "node:path";
import type { ServiceLogin } from "../../lib/postgres/service_logins.ts";
import { readIfThere } from "./files.ts";

/** Made once for a data folder and kept in it. */
export interface DevSecrets {
  /** The password of PostgreSQL's superuser. */
  readonly superuser: string;
  readonly logins: Readonly<Record<ServiceLogin, string>>;
  readonly signingKey: string;
  /** As the setting `secrets.keys` takes it. */
  readonly sealingKeys: string;
}

/** Everything that `dev` keeps, used by one `dev` at a time. */
export interface DataFolder extends AsyncDisposable {
  readonly path: string;
  readonly cluster: string;
  readonly messages: string;
  readonly secrets: DevSecrets;
  /** The `dev` that used it before was killed, so that its services may still be about to end. */
  readonly wasKilled: boolean;
}

/** Opens the folder, making it and its secrets when they are missing; throws when another `dev` uses it. */
export async function openDataFolder(folder: string): Promise<DataFolder> {
  const path = resolve(folder);
  await Deno.mkdir(path, { recursive: true, mode: 0o711 });
  const lock = await Deno.open(join(path, "lock"), { read: true, write: true, create: true, mode: 0o600 });
  if (!(await lock.tryLock(true))) {
    lock.close();
    throw new Error(`Cannot use ${path}: another \`dev\` is running with it`);
  }
  const wasKilled = (await lock.stat()).size > 0;
  await lock.write(new TextEncoder().encode(String(Deno.pid)));
  const messages = join(path, "messages");
  await Deno.mkdir(messages, { recursive: true, mode: 0o700 });
  return {
    path,
    cluster: join(path, "postgres"),
    messages,
    secrets: await loadSecrets(join(path, "secrets.json")),
    wasKilled,
    async [Symbol.asyncDispose]() {
      await lock.truncate();
      lock.close();
    },
  };
}

async function loadSecrets(file: string): Promise<DevSecrets> {
  const known = await readIfThere(file);
  if (known !== undefined) return JSON.parse(known) as DevSecrets;
  const made: DevSecrets = {
    superuser: random(24),
    logins: { smtp_server: random(24), queue_worker: random(24), api_server: random(24) },
    signingKey: random(48),
    sealingKeys: `dev:${randomBytes(32).toBase64()}`,
  };
  const half = `${file}.new`;
  await Deno.writeTextFile(half, JSON.stringify(made, undefined, 2) + "\n", { mode: 0o600 });
  using written = await Deno.open(half);
  await written.sync();
  await Deno.rename(half, file);
  return made;
}

function random(length: number): string {
  return randomBytes(length).toBase64({ alphabet: "base64url" });
}

function randomBytes(length: number): Uint8Array {
  return crypto.getRandomValues(new Uint8Array(length));
}
