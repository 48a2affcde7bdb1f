/** A name and a password as a SASL mechanism carried them. */
export interface Login {
  readonly username: string;
  readonly password: string;
  /** Somebody else whom the client wants to act for (RFC 4616 section 2). */
  readonly actFor?: string;
}

const longest = 1024;

/** The response of PLAIN (RFC 4616), base64 of `authzid NUL authcid NUL passwd`; undefined when it is malformed. */
export function decodePlain(token: string): Login | undefined {
  const parts = decodeText(token)?.split("\0");
  const [identity, name, password] = parts ?? [];
  if (parts?.length !== 3 || identity === undefined || name === undefined || password === undefined) {
    return undefined;
  }
  // Some clients put the name into the authorization identity and leave the other one empty.
  const username = name === "" ? identity : name;
  if (!isName(username) || password.length > longest) return undefined;
  const isOther = identity !== "" && identity.toLowerCase() !== username.toLowerCase();
  return { username, password, ...isOther && { actFor: identity } };
}

/** The first response of LOGIN; undefined when it is malformed. */
export function decodeLoginName(token: string): string | undefined {
  const username = decodeText(token);
  return username !== undefined && isName(username) ? username : undefined;
}

/** The second response of LOGIN; undefined when it is malformed. */
export function decodeLoginPassword(token: string): string | undefined {
  const password = decodeText(token);
  return password !== undefined && password.length <= longest && !password.includes("\0")
    ? password
    : undefined;
}

function isName(username: string): boolean {
  // deno-lint-ignore no-control-regex -- a name never holds control characters
  return username !== "" && username.length <= 255 && !/[\x00-\x1f\x7f-\x9f]/.test(username);
}

/** Strict base64 of UTF-8; `=` alone is the empty response (RFC 4954 section 4). */
function decodeText(token: string): string | undefined {
  if (token === "=" || token === "") return "";
  if (!/^[A-Za-z0-9+/]+={0,2}$/.test(token)) return undefined;
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(
      Uint8Array.fromBase64(token, { lastChunkHandling: "strict" }),
    );
  } catch (error) {
    if (error instanceof SyntaxError || error instanceof TypeError) return undefined;
    throw error;
  }
}
