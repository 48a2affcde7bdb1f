import assert from "node:assert/strict";
import { faultOfPlace, regionOfHost, type S3Place, s3Url } from "./s3_place.ts";

const aws: S3Place = { bucket: "mail", prefix: "", endpoint: "", region: "eu-west-1", addressing: "auto" };

Deno.test("s3Url() names the bucket where the service looks for it", () => {
  const urls: readonly [Partial<S3Place>, string][] = [
    [{}, "https://mail.s3.eu-west-1.amazonaws.com/a/b.eml"],
    [{ addressing: "path" }, "https://s3.eu-west-1.amazonaws.com/mail/a/b.eml"],
    [{ bucket: "mail.example.com" }, "https://s3.eu-west-1.amazonaws.com/mail.example.com/a/b.eml"],
    [{ endpoint: "http://minio:9000" }, "http://minio:9000/mail/a/b.eml"],
    [{ endpoint: "http://127.0.0.1:9000/" }, "http://127.0.0.1:9000/mail/a/b.eml"],
    [{ endpoint: "https://minio.example", addressing: "virtual" }, "https://mail.minio.example/a/b.eml"],
  ];
  for (const [changes, url] of urls) {
    const place = { ...aws, ...changes };
    assert.equal(faultOfPlace(place), undefined);
    assert.equal(s3Url(place, place.region, "a/b.eml", {}).href, url);
  }
  assert.equal(
    s3Url(aws, "cn-north-1", "", { uploads: "", prefix: "a/b" }).href,
    "https://mail.s3.cn-north-1.amazonaws.com.cn/?uploads=&prefix=a%2Fb",
  );
});

Deno.test("regionOfHost() believes AWS's own hosts for this bucket, and only when AWS is meant", () => {
  for (
    const host of [
      "mail.s3.eu-west-3.amazonaws.com",
      "s3-eu-west-3.amazonaws.com",
      "mail.s3-eu-west-3.amazonaws.com",
    ]
  ) {
    assert.equal(regionOfHost(host, aws), "eu-west-3", host);
    assert.equal(regionOfHost(host, { ...aws, endpoint: "http://minio:9000" }), undefined);
  }
  const foreign = [
    "",
    "s3.amazonaws.com",
    "other.s3.eu-west-3.amazonaws.com",
    "mail.s3.eu-west-3.amazonaws.com.evil.example",
    "mail.s3.evil.example",
    "169.254.169.254",
    "s3.a.b-1.amazonaws.com",
  ];
  for (const host of foreign) assert.equal(regionOfHost(host, aws), undefined, host);
});
