import {
  providerOwner,
  seal,
  SealError,
  type SealingKey,
  type SealingKeys,
  unseal,
} from "../secrets/seal.ts";

/** Secret settings by their names. */
export type ProviderSecrets = Readonly<Record<string, unknown>>;

/** Whose secrets they are, and what is stored of them. */
export interface SealedProvider {
  readonly id: string;
  readonly groupId: string;
  readonly secrets: Uint8Array | null;
  readonly keyId: string | null;
}

/** A provider's secret settings; undefined when no key at hand opens them. */
export async function openSecrets(
  { id, groupId, secrets, keyId }: SealedProvider,
  keys: readonly SealingKey[],
): Promise<ProviderSecrets | undefined> {
  if (secrets === null || keyId === null) return {};
  try {
    return JSON.parse(
      await unseal({ keyId, bytes: secrets }, providerOwner(groupId, id), keys),
    ) as ProviderSecrets;
  } catch (error) {
    if (error instanceof SealError) return undefined;
    throw error;
  }
}

/** Secret settings as they are stored; throws when there are some and no key to seal them. */
export async function sealSecrets(
  group: string,
  provider: string,
  secrets: ProviderSecrets,
  keys: SealingKeys | undefined,
): Promise<Pick<SealedProvider, "secrets" | "keyId">> {
  if (Object.keys(secrets).length === 0) return { secrets: null, keyId: null };
  if (keys === undefined) throw new Error("Cannot keep the provider's secrets: secrets.keys is not set");
  const { bytes, keyId } = await seal(JSON.stringify(secrets), providerOwner(group, provider), keys);
  return { secrets: bytes, keyId };
}
