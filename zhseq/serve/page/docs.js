// The description of the API for people: what openapi.json says, set as a page. Nothing comes from elsewhere.

import { $, h } from "./dom.js";
import { t, translate } from "./i18n.js";

const name = (reference) => reference.split("/").at(-1);
const anchor = (text) => text.replace(/[^\w]+/g, "-").replace(/^-|-$/g, "");
const link = (schema) => h("a", { href: `#schema-${schema}` }, schema);

/** Say of which type a value is, as nodes: names of schemas lead to them. */
export function typeOf(schema) {
  if (schema.$ref) return [link(name(schema.$ref))];
  if (schema.allOf?.length === 1) return typeOf(schema.allOf[0]);
  const several = schema.anyOf ?? schema.oneOf?.filter((each) => each.type || each.$ref);
  if (several?.length) return several.flatMap((each, number) => [...(number ? [" or "] : []), ...typeOf(each)]);
  if (schema.const !== undefined) return [JSON.stringify(schema.const)];
  if (schema.enum && schema.enum.length <= 6) return [schema.enum.map((value) => JSON.stringify(value)).join(" | ")];
  if (schema.type === "array") return ["list of ", ...typeOf(schema.items ?? {})];
  return [schema.type ?? "any"];
}

/** Say within which limits a value lies. */
export function limitsOf(schema) {
  const said = { minimum: "≥", exclusiveMinimum: ">", maximum: "≤", exclusiveMaximum: "<" };
  const bounds = Object.entries(said).filter(([key]) => key in schema).map(([key, sign]) => `${sign} ${schema[key]}`);
  if ("minLength" in schema || "maxLength" in schema)
    bounds.push(`${schema.minLength ?? 0}–${schema.maxLength ?? "∞"} characters`);
  if ("minItems" in schema || "maxItems" in schema) bounds.push(`${schema.minItems ?? 0}–${schema.maxItems ?? "∞"} items`);
  if ("default" in schema) bounds.push(`default ${JSON.stringify(schema.default)}`);
  return bounds.join(", ");
}

function fieldsOf(schema, label) {
  const required = new Set(schema.required ?? []);
  const rows = Object.entries(schema.properties ?? {}).map(([key, value]) =>
    h(
      "tr",
      {},
      h("th", { scope: "row" }, h("code", {}, key), ...(required.has(key) ? [h("small", {}, " required")] : [])),
      h("td", {}, ...typeOf(value)),
      h("td", {}, [value.description, limitsOf(value)].filter(Boolean).join("; ")),
    ),
  );
  const head = h("tr", {}, ...["Field", "Type", "Meaning"].map((text) => h("th", { scope: "col" }, text)));
  return scrolling(h("table", {}, h("thead", {}, head), h("tbody", {}, ...rows)), label);
}

/** Let something wide be scrolled by itself, also with the keyboard. */
function scrolling(element, label) {
  return h("div", { className: "wide", tabIndex: 0, role: "region", "aria-label": label }, element);
}

function operation(path, method, described, schemas) {
  const id = anchor(`${method} ${path}`);
  const title = h("h2", { id }, h("code", {}, `${method.toUpperCase()} ${path}`), ` ${described.summary}`);
  const parts = [title, h("p", {}, described.description ?? "")];
  const sent = described.requestBody?.content?.["application/json"]?.schema;
  if (sent) {
    const schema = sent.$ref ? schemas[name(sent.$ref)] : sent;
    parts.push(h("h3", {}, "Body: ", ...typeOf(sent)));
    for (const variant of schema.oneOf ?? [sent]) {
      const key = variant.$ref && name(variant.$ref);
      if (schema.oneOf && key) parts.push(h("h4", {}, link(key)));
      parts.push(fieldsOf(schemas[key] ?? variant, schema.oneOf && key ? `${key}, body of ${path}` : `Body of ${path}`));
    }
    (schema.examples ?? []).forEach((example, number) => parts.push(exampleOf(path, example, number + 1)));
  }
  const rows = Object.entries(described.responses).map(([status, answer]) => {
    const kinds = Object.entries(answer.content ?? {}).flatMap(([kind, { schema = {} }], number) => [
      ...(number ? [", "] : []),
      ...(schema.$ref ? typeOf(schema) : [kind]),
    ]);
    return h("tr", {}, h("th", { scope: "row" }, status), h("td", {}, ...kinds), h("td", {}, answer.description));
  });
  const head = h("tr", {}, ...["Status", "Body", "Meaning"].map((text) => h("th", { scope: "col" }, text)));
  const table = scrolling(h("table", {}, h("thead", {}, head), h("tbody", {}, ...rows)), `Answers of ${path}`);
  parts.push(h("details", {}, h("summary", {}, "Answers"), table));
  return h("section", { className: "operation", "aria-labelledby": id }, ...parts);
}

function exampleOf(path, body, number) {
  const data = JSON.stringify(body).replaceAll("'", "'\\''");
  const address = new URL(path.replace(/^\//, ""), document.baseURI).href;
  const command = `curl -s ${address} -H 'Content-Type: application/json' -d '${data}'`;
  return scrolling(h("pre", {}, h("code", {}, command)), `Example ${number} of ${path}`);
}

function schemaOf(key, schema) {
  const parts = [h("h3", { id: `schema-${key}` }, key), h("p", {}, schema.description ?? "")];
  if (schema.properties) parts.push(fieldsOf(schema, `Fields of ${key}`));
  else if (schema.oneOf) parts.push(h("p", {}, ...typeOf(schema)));
  for (const [field, value] of Object.entries(schema.properties ?? {}))
    if (value.enum?.length > 6)
      parts.push(h("details", {}, h("summary", {}, `${field}: ${value.enum.length} values`), h("p", {}, value.enum.join(", "))));
  return h("section", {}, ...parts);
}

/** Set the whole document. */
export function show(found) {
  const schemas = found.components?.schemas ?? {};
  $("title").textContent = `${found.info.title} API ${found.info.version}`;
  $("about").textContent = found.info.description;
  const all = Object.entries(found.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, described]) => ({ path, method, described })),
  );
  const entry = ({ path, method, described }) => {
    const title = `${method.toUpperCase()} ${path}`;
    return h("li", {}, h("a", { href: `#${anchor(`${method} ${path}`)}` }, h("code", {}, title)), ` ${described.summary}`);
  };
  $("contents").replaceChildren(h("ul", {}, ...all.map(entry)));
  $("operations").replaceChildren(
    ...all.map(({ path, method, described }) => operation(path, method, described, schemas)),
  );
  $("schemas").append(...Object.entries(schemas).map(([key, schema]) => schemaOf(key, schema)));
  $("schemas").hidden = false;
}

async function start() {
  translate();
  try {
    const response = await fetch("openapi.json", { credentials: "omit" });
    show(await response.json());
    if (location.hash) $(location.hash.slice(1))?.scrollIntoView();
  } catch {
    $("docs-notice").textContent = t("offline");
    $("docs-notice").hidden = false;
  }
}

start();
