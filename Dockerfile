# One image for each service, by target: docker build --target smtp-server .
# What runs is the sources as they are, with the packages of deno.lock and the permissions of deno.json's tasks.

FROM denoland/deno:debian-2.9.6 AS builder
WORKDIR /app
# A mirror, where there is one.
ARG NPM_CONFIG_REGISTRY
ENV DENO_DIR=/deno-dir DENO_NO_UPDATE_CHECK=1 DENO_TLS_CA_STORE=mozilla,system
COPY deno.json deno.lock ./
# Packages that only `dev` and the tests use are left out; every other is checked against deno.lock.
RUN deno eval 'const p = JSON.parse(Deno.readTextFileSync("deno.json")); \
  for (const name of ["@aws-sdk/client-sesv2", "@embedded-postgres", "@microsoft/microsoft-graph-client", \
    "@sendgrid/mail", "fast-check", "mailgun.js", "openapi-fetch", "openapi-typescript"]) delete p.imports[name]; \
  Deno.writeTextFileSync("deno.json", JSON.stringify(p, null, 2));'
COPY lib lib
COPY migrations migrations
COPY services services
RUN deno cache services/*/main.ts && deno check services/*/main.ts
# A volume that is mounted for the first time takes its owner from the folder that it covers.
RUN mkdir -p /layout/data/messages /layout/data/mail

FROM denoland/deno:distroless-2.9.6 AS base
WORKDIR /app
ARG COMMIT=
ENV DENO_DIR=/deno-dir DENO_NO_UPDATE_CHECK=1 SMTP_PROXY_BUILD_COMMIT=$COMMIT
COPY --from=builder /deno-dir /deno-dir
COPY --from=builder /app /app
COPY --from=builder --chown=65532:65532 /layout/data /data
USER 65532:65532
STOPSIGNAL SIGTERM

FROM base AS smtp-server
EXPOSE 587 465 9587
HEALTHCHECK --interval=30s --timeout=5s --start-period=20s --retries=3 CMD ["deno", "eval", "const e=Deno.env,p=Number(e.get('SMTP_PROXY_SMTP_OPS_PORT')||9587)+Number(e.get('SMTP_PROXY_INSTANCE')||0);const r=await fetch(`http://127.0.0.1:${p}/healthz`);Deno.exit(r.ok?0:1)"]
ENTRYPOINT ["deno", \
  "run", \
  "--cached-only", \
  "--no-prompt", \
  "--v8-flags=--heap-growing-percent=100", \
  "--allow-net", \
  "--allow-sys=hostname,statfs", \
  "--allow-env=SMTP_PROXY_*,AWS_*,PG*,NODE_PG_FORCE_NATIVE,USER,LOG_TOKENS,LOG_STREAM,NODE_V8_COVERAGE,REDIS_DEBUG_MAINTENANCE", \
  "--allow-read=/etc/smtp-proxy,/run/secrets,/var/run/secrets,/run/credentials,/data/messages,/var/log,.data/messages,.data/log,lib/users/bcrypt.ts,lib/thread.ts,lib/store/arrival_thread.ts,lib/store/arrivals.ts,lib/store/store_files.ts,lib/store/disk_errors.ts,lib/coalesce.ts,lib/refusal.ts", \
  "--allow-write=/data/messages,/var/log,.data/messages,.data/log", \
  "services/smtp-server/main.ts"]

FROM base AS queue-worker
EXPOSE 9588
HEALTHCHECK --interval=30s --timeout=5s --start-period=20s --retries=3 CMD ["deno", "eval", "const e=Deno.env,p=Number(e.get('SMTP_PROXY_WORKER_OPS_PORT')||9588)+Number(e.get('SMTP_PROXY_INSTANCE')||0);const r=await fetch(`http://127.0.0.1:${p}/healthz`);Deno.exit(r.ok?0:1)"]
ENTRYPOINT ["deno", \
  "run", \
  "--cached-only", \
  "--no-prompt", \
  "--allow-net", \
  "--allow-sys=hostname,statfs", \
  "--allow-env=SMTP_PROXY_*,AWS_*,PG*,NODE_PG_FORCE_NATIVE,USER,LOG_TOKENS,LOG_STREAM,NODE_V8_COVERAGE,REDIS_DEBUG_MAINTENANCE", \
  "--allow-read=/etc/smtp-proxy,/run/secrets,/var/run/secrets,/run/credentials,/data/messages,/data/mail,/var/log,.data/messages,.data/mail,.data/log", \
  "--allow-write=/data/messages,/data/mail,/var/log,.data/messages,.data/mail,.data/log", \
  "services/queue-worker/main.ts"]

FROM base AS api-server
EXPOSE 8080 9589
HEALTHCHECK --interval=30s --timeout=5s --start-period=20s --retries=3 CMD ["deno", "eval", "const e=Deno.env,p=Number(e.get('SMTP_PROXY_API_OPS_PORT')||9589)+Number(e.get('SMTP_PROXY_INSTANCE')||0);const r=await fetch(`http://127.0.0.1:${p}/healthz`);Deno.exit(r.ok?0:1)"]
ENTRYPOINT ["deno", \
  "run", \
  "--cached-only", \
  "--no-prompt", \
  "--allow-net", \
  "--allow-sys=hostname", \
  "--allow-env=SMTP_PROXY_*,AWS_*,PG*,NODE_PG_FORCE_NATIVE,USER,LOG_TOKENS,LOG_STREAM,NODE_V8_COVERAGE,REDIS_DEBUG_MAINTENANCE", \
  "--allow-read=/etc/smtp-proxy,/run/secrets,/var/run/secrets,/run/credentials,/data/messages,/var/log,.data/messages,.data/log,lib/users/bcrypt.ts,lib/thread.ts", \
  "--allow-write=/var/log,.data/log", \
  "services/api-server/main.ts"]

FROM base AS migrate
HEALTHCHECK NONE
ENTRYPOINT ["deno", \
  "run", \
  "--cached-only", \
  "--no-prompt", \
  "--allow-net", \
  "--allow-env=SMTP_PROXY_*,PG*,NODE_PG_FORCE_NATIVE,USER,LOG_TOKENS,LOG_STREAM", \
  "--allow-read=/etc/smtp-proxy,/run/secrets,/run/credentials", \
  "services/migrate/main.ts"]

FROM base AS seed
HEALTHCHECK NONE
ENTRYPOINT ["deno", \
  "run", \
  "--cached-only", \
  "--no-prompt", \
  "--allow-net", \
  "--allow-env=SMTP_PROXY_*,PG*,NODE_PG_FORCE_NATIVE,USER,LOG_TOKENS,LOG_STREAM", \
  "--allow-read=/etc/smtp-proxy,/run/secrets,/run/credentials", \
  "services/seed/main.ts"]

FROM base AS admin
HEALTHCHECK NONE
ENTRYPOINT ["deno", \
  "run", \
  "--cached-only", \
  "--no-prompt", \
  "--allow-net", \
  "--allow-env=SMTP_PROXY_*,PG*,NODE_PG_FORCE_NATIVE,USER,LOG_TOKENS,LOG_STREAM", \
  "--allow-read=/etc/smtp-proxy,/run/secrets,/run/credentials", \
  "services/admin/main.ts"]

FROM base AS seal
HEALTHCHECK NONE
ENTRYPOINT ["deno", \
  "run", \
  "--cached-only", \
  "--no-prompt", \
  "--allow-net", \
  "--allow-env=SMTP_PROXY_*,PG*,NODE_PG_FORCE_NATIVE,USER,LOG_TOKENS,LOG_STREAM", \
  "--allow-read=/etc/smtp-proxy,/run/secrets,/run/credentials", \
  "services/seal/main.ts"]

FROM base AS apply
HEALTHCHECK NONE
ENTRYPOINT ["deno", \
  "run", \
  "--cached-only", \
  "--no-prompt", \
  "--allow-net", \
  "--allow-env", \
  "--allow-read", \
  "services/apply/main.ts"]

FROM base AS spool
HEALTHCHECK NONE
ENTRYPOINT ["deno", \
  "run", \
  "--cached-only", \
  "--no-prompt", \
  "--allow-net", \
  "--allow-env=SMTP_PROXY_*,PG*,NODE_PG_FORCE_NATIVE,USER,LOG_TOKENS,LOG_STREAM", \
  "--allow-read=/etc/smtp-proxy,/run/secrets,/run/credentials,/data/messages,.data/messages", \
  "services/spool/main.ts"]

FROM base AS test-client
HEALTHCHECK NONE
ENTRYPOINT ["deno", \
  "run", \
  "--cached-only", \
  "--no-prompt", \
  "--allow-net", \
  "--allow-env=SMTP_PROXY_*", \
  "--allow-read", \
  "--allow-sys=hostname", \
  "services/test-client/main.ts"]
