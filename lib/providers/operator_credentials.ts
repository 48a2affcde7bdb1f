/** What the rule about credentials looks at. */
export interface CredentialUse {
  readonly settings: Readonly<Record<string, unknown>>;
  /** A system administrator allowed it for these settings. */
  readonly operatorCredentials: boolean;
}

/** Whether these settings act with an identity of the operator's instead of keys of their own. */
export function usesOperatorCredentials({ credentials }: Readonly<Record<string, unknown>>): boolean {
  return credentials !== undefined && credentials !== "static";
}

/**
 * What keeps a provider from acting with the operator's identity, in a sentence; undefined when nothing does: it does
 * not, an administrator allowed it, or it takes on one of these roles (ruling 3.14).
 */
export function credentialsObstacle(
  { settings, operatorCredentials }: CredentialUse,
  allowedRoles: readonly string[],
): string | undefined {
  if (!usesOperatorCredentials(settings) || operatorCredentials) return undefined;
  const role = settings["role_arn"];
  if (typeof role === "string" && allowedRoles.includes(role)) return undefined;
  return `Cannot use credentials "${
    String(settings["credentials"])
  }": a system administrator must allow it, or ` +
    `role_arn must be one of esp.allowed_roles: current value is ${JSON.stringify(role ?? "")}`;
}
