import createClient, { type Client } from "openapi-fetch";

/** A client of an API whose paths were generated from its document. */
export function apiClient<Paths extends object>(origin: string): Client<Paths> {
  return createClient<Paths>({ baseUrl: origin });
}
