import assert from "node:assert/strict";
import fc from "fast-check";
import { faultOf, fullOr, isAbsent, isRetryable, isTaken, S3Error, xmlText, xmlTexts } from "./s3_errors.ts";

Deno.test("faultOf() reads code, request, region, host and time of an error", () => {
  const text = '<?xml version="1.0"?><Error><Code>PermanentRedirect</Code><Message>a &lt;b&gt;</Message>' +
    "<Endpoint>mail.s3-eu-west-3.amazonaws.com</Endpoint><RequestId>R1</RequestId></Error>";
  const headers = new Headers({ "x-amz-bucket-region": "eu-west-3", date: "Mon, 23 Nov 2026 01:00:00 GMT" });
  assert.deepEqual(faultOf(301, headers, text), {
    status: 301,
    code: "PermanentRedirect",
    requestId: "R1",
    region: "eu-west-3",
    host: "mail.s3-eu-west-3.amazonaws.com",
    date: "Mon, 23 Nov 2026 01:00:00 GMT",
  });
  assert.deepEqual(faultOf(404, new Headers(), ""), { status: 404, code: "HTTP 404" });
  assert.deepEqual(faultOf(502, new Headers(), "<html>Bad gateway</html>"), {
    status: 502,
    code: "HTTP 502",
  });
});

Deno.test("xmlTexts() finds every element of a name, and undoes what XML had to escape", () => {
  const xml =
    "<A><K>a&amp;b&#x41;&#66;&lt;</K></A>\n<A x='1'><K>&unknown;&#1114112;</K></A><AB><K>c</K></AB>";
  assert.deepEqual([...xmlTexts(xml, "A")].map((inner) => xmlText(inner, "K")), [
    "a&bAB<",
    "&unknown;&#1114112;",
  ]);
  assert.equal(xmlText(xml, "B"), undefined);
  fc.assert(fc.property(fc.string(), (text) => void faultOf(500, new Headers(), `<Error>${text}</Error>`)));
});

Deno.test("errors are told apart: worth another try, gone, taken, full", () => {
  const error = (status: number, code: string) => new S3Error("store a body", { status, code });
  for (
    const [status, code] of [[0, "no connection"], [500, "InternalError"], [503, "SlowDown"], [
      400,
      "RequestTimeout",
    ]] as const
  ) {
    assert.ok(isRetryable({ status, code }), code);
  }
  for (
    const [status, code] of [[403, "AccessDenied"], [404, "NoSuchKey"], [412, "PreconditionFailed"]] as const
  ) {
    assert.ok(!isRetryable({ status, code }), code);
  }
  assert.ok(isAbsent(error(404, "NoSuchKey")) && isAbsent(error(404, "HTTP 404")));
  assert.ok(!isAbsent(error(404, "NoSuchBucket")) && !isAbsent(new Error("NoSuchKey")));
  assert.ok(isTaken(error(412, "HTTP 412")) && isTaken(error(200, "PreconditionFailed")));
  assert.equal((fullOr(error(507, "HTTP 507")) as { code?: string }).code, "body_store_full");
  const other = error(500, "InternalError");
  assert.equal(fullOr(other), other);
});
