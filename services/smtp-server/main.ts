import { sleepFor } from "../../lib/retry.ts";
import { runService } from "../../lib/run_service.ts";
import { PasswordVerifier } from "../../lib/users/password_verifier.ts";
import { followCertificate } from "./follow_certificate.ts";
import { observe } from "./observe.ts";
import { openIntake } from "./open_intake.ts";
import { openPorts } from "./open_ports.ts";
import { openRefusedSubmissions } from "./refused_submissions.ts";

await runService("smtp-server", ({ smtp }) => smtp, async (running) => {
  const { config, log, metrics, stopping, stopped } = running;
  await using intake = await openIntake(config, { log, metrics, signal: stopping });
  if (intake === undefined) return;
  await using refused = openRefusedSubmissions(intake.database, { log, metrics });
  const observer = observe(metrics, (step) => refused.note(step));
  using passwords = new PasswordVerifier();
  await using listener = await openPorts(config, { log, intake, observer, passwords });
  const use = listener.useCertificate;
  using certificate = await followCertificate({ ...config.tls, use, log, metrics });
  running.onReload(() => void certificate.reload());
  metrics.onScrape(() => metrics.smtp.activeSessions.set(listener.connections));
  running.begin(intake.whatIsDown);
  await stopped;
  await sleepFor(config.smtp.shutdownDelay);
  await listener.close(config.smtp.shutdownTimeout);
});
