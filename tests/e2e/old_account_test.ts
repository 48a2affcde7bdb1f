// SMTP accounts whose passwords an older installation hashed with bcrypt.
import assert from "node:assert/strict";
import { sendOnce } from "../../lib/smtp/client.ts";
import { rowsOf, withServices } from "../support/spawn_services.ts";

Deno.test("smtp-server verifies a bcrypt hash with the permissions of its task, and keeps one of today", async () => {
  await withServices({ start: ["smtpServer"] }, async (system) => {
    // "U*U" hashed with cost 5, as published with crypt_blowfish.
    const hash = "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW";
    await rowsOf(system, `update users set password_hash = '${hash}' where username = 'dev'`);
    for (let times = 0; times < 2; times++) {
      const { answer } = await sendOnce(
        {
          address: "127.0.0.1",
          port: system.smtpPort,
          tls: "starttls",
          verify: false,
          servername: "localhost",
          credentials: { username: "dev", password: "U*U" },
        },
        {
          mailFrom: "me@example.com",
          recipients: [{ address: "you@example.net" }],
          eightBit: false,
          smtpUtf8: false,
        },
        new TextEncoder().encode("From: me@example.com\r\nSubject: old\r\n\r\nx\r\n"),
      );
      assert.equal(answer?.code, 250);
    }
    const [row] = await rowsOf(system, "select password_hash from users where username = 'dev'");
    assert.match(String(row?.["password_hash"]), /^\$scrypt\$/);
  });
});
