import assert from "node:assert/strict";
import { hashOf, signRequest, unsignedPayload } from "./sign.ts";

// The examples of AWS's own documentation of Signature Version 4 for S3.
const credentials = {
  accessKeyId: "AKIAIOSFODNN7EXAMPLE",
  secretAccessKey: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
};
const now = new Date("2013-05-24T00:00:00Z");
const s3 = { service: "s3", region: "us-east-1", credentials, now };
const bucket = "https://examplebucket.s3.amazonaws.com";

async function signatureOf(...request: Parameters<typeof signRequest>): Promise<string | undefined> {
  const headers = await signRequest(...request);
  return /Signature=([0-9a-f]{64})$/.exec(headers["authorization"] ?? "")?.[1];
}

Deno.test("signRequest() signs S3's example of reading a range", async () => {
  const headers = { Range: "bytes=0-9" };
  const request = { method: "GET", url: new URL(`${bucket}/test.txt`), headers, payloadHash: hashOf("") };
  assert.equal(
    await signatureOf(request, s3),
    "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
  );
});

Deno.test("signRequest() signs a path alike, however its URL spells it", async () => {
  const signatures = await Promise.all(
    ["/a(b)*$'!.eml", "/a%28b%29%2a%24%27%21.eml"].map((path) =>
      signatureOf({ method: "PUT", url: new URL(bucket + path), payloadHash: hashOf("a") }, s3)
    ),
  );
  assert.equal(signatures[0]?.length, 64);
  assert.equal(signatures[0], signatures[1]);
});

Deno.test("signRequest() signs S3's examples of queries", async () => {
  const lifecycle = { method: "GET", url: new URL(`${bucket}/?lifecycle`), payloadHash: hashOf("") };
  assert.equal(
    await signatureOf(lifecycle, s3),
    "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543",
  );
  const list = {
    method: "GET",
    url: new URL(`${bucket}/?max-keys=2&prefix=J`),
    payloadHash: hashOf(""),
  };
  assert.equal(
    await signatureOf(list, s3),
    "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
  );
});

Deno.test("signRequest() gives fetch every header it signed, in lower case, and no host", async () => {
  const headers = await signRequest({
    method: "POST",
    url: new URL("http://127.0.0.1:9000/a/b%20c?uploads"),
    headers: { "Content-Type": "text/plain", "X-Amz-Meta-A": "  two   words " },
    payloadHash: unsignedPayload,
  }, { ...s3, region: "eu-central-1", credentials: { ...credentials, sessionToken: "session" } });
  assert.equal(headers["host"], undefined);
  assert.equal(headers["content-type"], "text/plain");
  assert.equal(headers["x-amz-date"], "20130524T000000Z");
  assert.equal(headers["x-amz-security-token"], "session");
  assert.equal(headers["x-amz-content-sha256"], "UNSIGNED-PAYLOAD");
  const [scope, signed] = (headers["authorization"] ?? "").split(", ");
  assert.equal(
    scope,
    "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/eu-central-1/s3/aws4_request",
  );
  assert.equal(
    signed,
    "SignedHeaders=content-type;host;x-amz-content-sha256;x-amz-date;x-amz-meta-a;x-amz-security-token",
  );
});
