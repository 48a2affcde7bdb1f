import assert from "node:assert/strict";
import { camelRow, type Statement, statementOf, withinGroup } from "./sql.ts";

function taken(template: TemplateStringsArray, ..._values: unknown[]): Statement {
  return statementOf(template);
}

Deno.test("statementOf() numbers parameters and keeps one name for one place in the code", () => {
  const once = () => taken`select a from messages where b = ${1} and c = ${2}`;
  const [first, second] = [once(), once()];
  assert.equal(first.text, "select a from messages where b = $1 and c = $2");
  assert.equal(first, second);
  assert.notEqual(taken`select 1`.name, taken`select 1`.name);
});

Deno.test("statementOf() labels a statement by what it does to which table first", () => {
  assert.equal(taken`select a from messages where b = ${1}`.label, "select messages");
  assert.equal(taken`with x as (select 1) update recipients r set a = 1 from x`.label, "update recipients");
  assert.equal(taken`insert into usage (a) select g from unnest(${[]}) g`.label, "insert usage");
  assert.equal(taken`select u from unnest(${[]}) p join users u on u = p`.label, "select");
});

Deno.test("camelRow() renames columns and keeps values, null among them", () => {
  assert.deepEqual(camelRow({ created_at: 1, a_b_c: null, plain: "x" }), {
    createdAt: 1,
    aBC: null,
    plain: "x",
  });
});

Deno.test("withinGroup() adds one parameter and keeps one name for one statement", () => {
  const statement = taken`select id from messages where id = ${1} order by id`;
  const within = withinGroup(statement, 1);
  assert.match(within.text, /set_config\('app\.current_group_id', \$2, true\)/);
  assert.ok(within.text.includes(statement.text));
  assert.equal(withinGroup(statement, 1), within);
  assert.notEqual(within.name, statement.name);
  assert.equal(within.label, statement.label);
});
