import { maskedChange } from "../../lib/activity/changes.ts";
import { recordActivity } from "../../lib/activity/activity_table.ts";
import { configOfProcess } from "../../lib/config/process_config.ts";
import { openDatabase } from "../../lib/postgres/database.ts";
import { faultText } from "../../lib/postgres/faults.ts";
import { hashPassword } from "../../lib/users/password.ts";
import { listMemberships, setAnyPassword } from "../../lib/users/user_entries_table.ts";
import { findUserByEmail } from "../../lib/users/users_table.ts";
import { parseArguments, usage } from "./arguments.ts";

const { config, rest } = configOfProcess("admin", usage);
try {
  await run();
} catch (error) {
  say(faultText(error), Deno.stderr);
  Deno.exitCode = 1;
}

async function run(): Promise<void> {
  const command = parseArguments(rest);
  if (command.verb === "help") return say(usage);
  const email = command.email ?? config.admin.email;
  const password = crypto.getRandomValues(new Uint8Array(18)).toBase64({ alphabet: "base64url" });
  await resetPassword(email, await hashPassword(password));
  say(`The password of ${email} is now: ${password}`);
}

async function resetPassword(email: string, hash: string): Promise<void> {
  const options = { url: config.database.url.reveal(), poolMax: 1, applicationName: "admin" };
  await using database = openDatabase({ ...options, role: "smtp_proxy_admin" });
  await database.transaction(async (sql) => {
    const user = await findUserByEmail(sql, email);
    if (user === undefined) throw new Error(`Cannot reset the password: nobody has the address "${email}"`);
    await setAnyPassword(sql, user, hash);
    const [membership] = await listMemberships(sql, user);
    await recordActivity(sql, {
      group: membership?.groupId,
      actor: undefined,
      actorGroup: undefined,
      action: "admin.reset_password",
      resourceType: "user",
      resourceId: user,
      changes: { password: maskedChange },
      comment: "by the command of the server",
      address: undefined,
      correlationId: undefined,
    });
  });
}

function say(text: string, to = Deno.stdout): void {
  to.writeSync(new TextEncoder().encode(`${text.trimEnd()}\n`));
}
