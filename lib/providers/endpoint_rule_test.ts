import assert from "node:assert/strict";
import { endpointObstacle } from "./endpoint_rule.ts";

Deno.test("endpointObstacle() lets a group name an endpoint of an allowed origin alone", () => {
  const allowed = ["https://mail.internal:8443"];
  assert.equal(endpointObstacle({}, []), undefined);
  assert.equal(endpointObstacle({ endpoint: "https://MAIL.internal:8443/base" }, allowed), undefined);
  for (
    const endpoint of [
      "https://mail.internal",
      "http://mail.internal:8443",
      "https://mail.internal:8443@elsewhere.example/",
      "https://mail.internal:8443.elsewhere.example/",
      "mail.internal:8443",
      7,
      null,
    ]
  ) {
    assert.match(
      endpointObstacle({ endpoint }, allowed) ?? "",
      /^Cannot use endpoint: .*esp\.allowed_endpoints/,
    );
  }
});
