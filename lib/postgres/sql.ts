/** Runs one statement written as a template; values become parameters, columns come back in camelCase. */
export type Sql = <Row>(text: TemplateStringsArray, ...values: readonly unknown[]) => Promise<readonly Row[]>;

declare const scope: unique symbol;
/** A transaction PostgreSQL itself confines to one group's rows. */
export type GroupSql = Sql & { readonly [scope]: "group" };
/** Sees what the process's role may see of every group: logging in, delivering, sweeping, system admins. */
export type SystemSql = Sql & { readonly [scope]: "system" };

/** A statement ready for the driver: numbered parameters and a name under which the server keeps its plan. */
export interface Statement {
  readonly name: string;
  readonly text: string;
  /** What it does to which table first, e.g. `update messages`; labels metrics. */
  readonly label: string;
}

const statements = new WeakMap<TemplateStringsArray, Statement>();
let named = 0;

/** The statement of a template, the same object for the same place in the code. */
export function statementOf(template: TemplateStringsArray): Statement {
  const known = statements.get(template);
  if (known) return known;
  const text = template.reduce((before, part, index) => `${before}$${index}${part}`);
  const statement = { name: `s${++named}`, text, label: labelOf(text) };
  statements.set(template, statement);
  return statement;
}

const confined = new WeakMap<Statement, Statement>();

/**
 * A reading statement that sees one group's rows although no transaction was begun for it: one more parameter, the
 * last, names the group. Its rows keep their order.
 */
export function withinGroup(statement: Statement, parameters: number): Statement {
  const known = confined.get(statement);
  if (known) return known;
  // What is lateral waits for what it refers to: the group is set before anything is read, or nothing is. The setting
  // is gone with the statement, which is a transaction of its own.
  const text = `with own as materialized (select set_config('app.current_group_id', $${
    parameters + 1
  }, true) as id)
    select q.* from own cross join lateral (select * from (${statement.text}) q where own.id is not null offset 0) q`;
  const within = { name: `${statement.name}g`, text, label: statement.label };
  confined.set(statement, within);
  return within;
}

function labelOf(text: string): string {
  const write = /\b(insert into|update|delete from)\s+([a-z_]+)/.exec(text);
  if (write) return `${write[1]?.split(" ")[0]} ${write[2]}`;
  const read = /\bfrom\s+(?!unnest|jsonb_|\()([a-z_]+)/.exec(text);
  return read ? `select ${read[1]}` : "select";
}

const camelNames = new Map<string, string>();

/** A column's name as a property: `created_at` is `createdAt`. */
export function camelCase(column: string): string {
  const known = camelNames.get(column);
  if (known !== undefined) return known;
  const name = column.replace(/_([a-z0-9])/g, (_, letter: string) => letter.toUpperCase());
  if (camelNames.size < 10_000) camelNames.set(column, name);
  return name;
}

/** A driver's row with camelCase keys; null stays null. */
export function camelRow(row: Readonly<Record<string, unknown>>): Record<string, unknown> {
  const result: Record<string, unknown> = {};
  for (const column in row) {
    if (Object.hasOwn(row, column)) result[camelCase(column)] = row[column];
  }
  return result;
}
