import assert from "node:assert/strict";
import { credentialsObstacle } from "./operator_credentials.ts";

const mine = "arn:aws:iam::1:role/mine";
const roles = ["arn:aws:iam::1:role/other", mine];

Deno.test("credentialsObstacle() leaves a provider with keys of its own alone, role or not", () => {
  for (
    const settings of [{}, { credentials: "static" }, { credentials: "static", "role_arn": "any" }, {
      "role_arn": "any",
    }]
  ) {
    assert.equal(credentialsObstacle({ settings, operatorCredentials: false }, []), undefined);
  }
});

Deno.test("credentialsObstacle() keeps others from the operator's identity unless allowed, or for a listed role", () => {
  for (const credentials of ["environment", "web_identity", "container", "instance", "whatever", null]) {
    const forbidden = credentialsObstacle({ settings: { credentials }, operatorCredentials: false }, roles);
    assert.match(forbidden ?? "", /a system administrator must allow it/);
    const almost = { credentials, "role_arn": `${mine}2` };
    assert.match(
      credentialsObstacle({ settings: almost, operatorCredentials: false }, roles) ?? "",
      /mine2"$/,
    );
    assert.equal(
      credentialsObstacle({ settings: { credentials }, operatorCredentials: true }, []),
      undefined,
    );
    const listed = { credentials, "role_arn": mine };
    assert.equal(credentialsObstacle({ settings: listed, operatorCredentials: false }, roles), undefined);
  }
});
