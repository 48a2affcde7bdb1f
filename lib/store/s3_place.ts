/** Where a bucket is and how it is called. */
export interface S3Place {
  readonly bucket: string;
  /** Before every key, without slashes at its ends; empty for none. */
  readonly prefix: string;
  /** A service that speaks S3, as `https://host:port`; empty is AWS. */
  readonly endpoint: string;
  readonly region: string;
  /** The bucket as the path's first segment or in the host name; `auto` is the host name where AWS takes it. */
  readonly addressing: "auto" | "path" | "virtual";
}

/** What keeps a place from being used, as a sentence; nothing when all is well. */
export function faultOfPlace({ bucket, prefix, endpoint, region }: S3Place): string | undefined {
  if (!/^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$/.test(bucket) || /\.\.|^[\d.]+$/.test(bucket)) {
    return `storage.s3_bucket is no name of a bucket: current value is "${bucket}"`;
  }
  // Nothing that URLs or signatures would write in another way.
  const segments = prefix.split("/");
  if (prefix !== "" && !segments.every((part) => /^[A-Za-z0-9_~-][A-Za-z0-9._~-]*$/.test(part))) {
    return `storage.s3_prefix may hold letters, digits, _ ~ - . and single slashes inside: current value is "${prefix}"`;
  }
  if (prefix.length > 500) return "storage.s3_prefix is longer than 500 characters";
  if (!/^[a-z0-9-]{2,40}$/.test(region)) {
    return `storage.s3_region is no region: current value is "${region}"`;
  }
  return endpoint === "" || isPlainOrigin(endpoint)
    ? undefined
    : `storage.s3_endpoint is not like https://host:port: current value is "${endpoint}"`;
}

function isPlainOrigin(text: string): boolean {
  if (!URL.canParse(text)) return false;
  const url = new URL(text);
  const isHttp = url.protocol === "https:" || url.protocol === "http:";
  return isHttp && url.username === "" && url.password === "" && url.pathname === "/" && url.search === "" &&
    url.hash === "" && !text.includes("?") && !text.includes("#");
}

/** A key's URL, or the bucket's when there is none; keys hold unreserved characters and slashes alone. */
export function s3Url(
  place: S3Place,
  region: string,
  key: string,
  query: Readonly<Record<string, string>>,
): URL {
  const url = new URL(place.endpoint === "" ? awsOrigin(region) : place.endpoint);
  if (isPathStyle(place)) url.pathname = `/${place.bucket}/${key}`;
  else {
    url.hostname = `${place.bucket}.${url.hostname}`;
    url.pathname = `/${key}`;
  }
  for (const [name, value] of Object.entries(query)) url.searchParams.set(name, value);
  return url;
}

function isPathStyle({ addressing, endpoint, bucket }: S3Place): boolean {
  if (addressing !== "auto") return addressing === "path";
  // AWS's certificate covers one label before the service's name.
  return endpoint !== "" || bucket.includes(".");
}

function awsOrigin(region: string): string {
  return `https://s3.${region}.amazonaws.com${region.startsWith("cn-") ? ".cn" : ""}`;
}

/**
 * The region that a redirect's host names, when it is AWS's own host for this bucket; undefined for any other, which
 * nobody follows: requests go to hosts made from the settings alone.
 */
export function regionOfHost(host: string, { bucket, endpoint }: S3Place): string | undefined {
  if (endpoint !== "") return undefined;
  const own = host.startsWith(`${bucket}.`) ? host.slice(bucket.length + 1) : host;
  return /^s3[.-](?:dualstack\.)?([a-z]{2,8}(?:-[a-z0-9]+)+-\d)\.amazonaws\.com(?:\.cn)?$/.exec(own)?.[1];
}
