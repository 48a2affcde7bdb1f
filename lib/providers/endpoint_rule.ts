/**
 * What keeps a group from giving a provider these settings, in a sentence; undefined when nothing does. An `endpoint`
 * is for system administrators, who need not ask, or has an origin that they have named (`esp.allowed_endpoints`).
 */
export function endpointObstacle(
  { endpoint }: Readonly<Record<string, unknown>>,
  allowedOrigins: readonly string[],
): string | undefined {
  if (endpoint === undefined) return undefined;
  const origin = typeof endpoint === "string" ? URL.parse(endpoint)?.origin : undefined;
  if (origin !== undefined && allowedOrigins.includes(origin)) return undefined;
  return `Cannot use endpoint: a system administrator must set it, or name its origin in esp.allowed_endpoints: ` +
    `current value is ${JSON.stringify(endpoint)?.slice(0, 300)}`;
}
