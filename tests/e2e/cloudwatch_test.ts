import assert from "node:assert/strict";
import { until } from "../../services/dev/processes.ts";
import { FakeCloudWatch } from "../support/fake_cloudwatch.ts";
import { withServices } from "../support/spawn_services.ts";

Deno.test("every service sends its log to CloudWatch with the permissions of its task, and loses no line at its end", async () => {
  await using fake = await FakeCloudWatch.open();
  const [[id, key] = ["", { secret: "" }]] = fake.keys;
  const env = {
    SMTP_PROXY_LOGGING_OUTPUT: "cloudwatch",
    SMTP_PROXY_LOGGING_CW_GROUP: "/mail/smtp-proxy",
    SMTP_PROXY_LOGGING_CW_REGION: fake.region,
    SMTP_PROXY_LOGGING_CW_ENDPOINT: fake.http.origin,
    AWS_ACCESS_KEY_ID: id,
    AWS_SECRET_ACCESS_KEY: key.secret,
  };
  await withServices({ env }, async (system) => {
    const services = [system.smtpServer, system.queueWorker, system.apiServer];
    const linesOf = (name: string) =>
      [...fake.streams].flatMap(([place, lines]) =>
        place.startsWith(`/mail/smtp-proxy ${name}/`) ? lines : []
      )
        .map(({ message }) => JSON.parse(message) as Record<string, unknown>);
    for (const service of services) {
      assert.ok(await until(() => linesOf(service.name).length > 0, 60_000), await service.log());
      assert.equal(await service.stop(), 0);
      const lines = linesOf(service.name);
      // A worker may yet tell of what it was about.
      assert.ok(lines.some(({ message }) => message === "stopping"), service.name);
      assert.ok(lines.every((line) => line["service"] === service.name && line["instance"] === 0));
      assert.equal(await service.log(), "", service.name);
    }
  });
});
