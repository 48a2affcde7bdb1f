import { FakeGraph } from "./fake_graph.ts";
import { FakeMailgun } from "./fake_mailgun.ts";
import { FakeSendgrid } from "./fake_sendgrid.ts";
import { FakeSes } from "./fake_ses.ts";
import type { FaultyHttp } from "./faulty_http.ts";
import { app, graphSettingsOf } from "./graph_app.ts";

/** What a service was given, in the words of all services. */
export interface TakenMail {
  readonly to: readonly string[];
  /** All that it was given, as text. */
  readonly text: string;
}

/** A strict service on loopback and the settings of an account with it. */
export interface HttpService extends AsyncDisposable {
  readonly http: FaultyHttp;
  readonly settings: Readonly<Record<string, unknown>>;
  /** The settings that are sealed, as they work and as they do not. */
  readonly secrets: Readonly<Record<string, string>>;
  readonly wrongSecrets: Readonly<Record<string, string>>;
  taken(): readonly TakenMail[];
}

const senders = ["me@example.com", "a@example.com"];

/** Every kind of ESP that is called by HTTP, each time a service of its own; they send for `me@` and `a@example.com`. */
export const httpServices: Readonly<Record<string, () => Promise<HttpService>>> = {
  async sendgrid() {
    const fake = await FakeSendgrid.open();
    return {
      http: fake.http,
      settings: { endpoint: fake.http.origin },
      secrets: { "api_key": fake.key },
      wrongSecrets: { "api_key": "SG.the-wrong-key" },
      taken: () =>
        fake.mails.map(({ to, cc, bcc, content }) => ({
          to: [...to, ...cc, ...bcc].map(({ email }) => email),
          text: content.map(({ value }) => value).join(),
        })),
      [Symbol.asyncDispose]: () => fake[Symbol.asyncDispose](),
    };
  },
  async ses() {
    const fake = await FakeSes.open();
    const [id = "", key = { secret: "" }] = [...fake.keys][0] ?? [];
    return {
      http: fake.http,
      settings: { endpoint: fake.http.origin, region: fake.region, "access_key_id": id },
      secrets: { "secret_access_key": key.secret },
      wrongSecrets: { "secret_access_key": "the-wrong-key" },
      taken: () => fake.mails.map(({ to, raw }) => ({ to, text: raw.toString() })),
      [Symbol.asyncDispose]: () => fake[Symbol.asyncDispose](),
    };
  },
  async mailgun() {
    const fake = await FakeMailgun.open();
    return {
      http: fake.http,
      settings: { endpoint: fake.http.origin, domain: fake.domain },
      secrets: { "api_key": fake.key },
      wrongSecrets: { "api_key": "the-wrong-key" },
      taken: () => fake.mails.map(({ to, mime }) => ({ to, text: mime.toString() })),
      [Symbol.asyncDispose]: () => fake[Symbol.asyncDispose](),
    };
  },
  async msgraph() {
    const fake = await FakeGraph.open(app);
    for (const sender of senders) fake.senders.add(sender);
    const { client_secret: secret, ...settings } = graphSettingsOf(fake);
    return {
      http: fake.http,
      settings,
      secrets: { "client_secret": secret },
      wrongSecrets: { "client_secret": "the-wrong-key" },
      taken: () => fake.sent.map(({ recipients, visible }) => ({ to: recipients, text: visible.toString() })),
      [Symbol.asyncDispose]: () => fake[Symbol.asyncDispose](),
    };
  },
};
