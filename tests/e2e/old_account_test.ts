// SMTP accounts whose passwords an older installation hashed with bcrypt.
import assert from "node:assert/strict";
import { rowsOf, withServices } from "../support/spawn_services.ts";
import { submitMail } from "../support/submit_mail.ts";

Deno.test("smtp-server verifies a bcrypt hash with the permissions of its task, and keeps one of today", async () => {
  await withServices({ start: ["smtpServer"] }, async (system) => {
    // "U*U" hashed with cost 5, as published with crypt_blowfish.
    const hash = "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW";
    await rowsOf(system, `update users set password_hash = '${hash}' where username = 'dev'`);
    for (let times = 0; times < 2; times++) {
      await submitMail(system, "From: me@example.com\r\nSubject: old\r\n\r\nx\r\n", { password: "U*U" });
    }
    const [row] = await rowsOf(system, "select password_hash from users where username = 'dev'");
    assert.match(String(row?.["password_hash"]), /^\$scrypt\$/);
  });
});
