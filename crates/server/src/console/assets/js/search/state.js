// What the search page knows: one object, so that its parts need not import each other.

/** The page's state. `asked` is {text}, {items: [...]}, both (words beside examples) or null; an item is {kind: "image" | "like", value, src, name, sign: 1 | -1}. */
export const state = {
  all: [],
  broken: [],
  chosen: null,
  asked: null,
  /** [left, top, width, height] of the one picture that is asked, in fractions; null: all of it */
  region: null,
  /** Filters from chips: {field, value} each. */
  filters: [],
  /** A filter as it was typed. */
  expression: "",
  ways: { mode: "", per: "item", rerank: false, topK: 0 },
  /** The answer on show, with what it answers: {answer, collection, body}. */
  shown: null,
};

/** The collection that is searched. */
export const chosen = () => state.all.find((one) => one.name === state.chosen);

/** How many results are asked for. */
export const topK = () => state.ways.topK || (chosen()?.kind === "image" ? 24 : 10);

const RESERVED = new Set(["and", "or", "not", "in", "like", "exists", "true", "false", "null"]);
const fieldName = (field) => (/^[\p{L}_][\p{L}\p{N}_.-]*$/u.test(field) && !RESERVED.has(field.toLowerCase()) ? field : `\`${field.replaceAll("`", "``")}\``);
const literal = (value) => (typeof value === "string" ? `"${value.replaceAll('"', '""')}"` : String(value));

/** The filter in the server's words, without the chips of `except`; empty: none. */
export function filterText(except = null) {
  const fields = new Map();
  for (const { field, value } of state.filters) {
    if (field !== except) fields.set(field, [...(fields.get(field) ?? []), literal(value)]);
  }
  const parts = [...fields].map(([field, values]) =>
    values.length === 1 ? `${fieldName(field)} = ${values[0]}` : `${fieldName(field)} IN (${values.join(", ")})`);
  const typed = state.expression.trim();
  if (typed) parts.push(parts.length > 0 ? `(${typed})` : typed);
  return parts.join(" AND ");
}

const oneOrMany = (values) => (values.length === 1 ? values[0] : values);

/** The body of the request that asks what is asked now. */
export function requestBody() {
  const body = {};
  const { asked, ways } = state;
  if (asked.text !== undefined) body.text = asked.text;
  if (asked.items) {
    for (const [key, kind, sign] of [["image", "image", 1], ["like", "like", 1], ["unlike", "like", -1], ["unlike_image", "image", -1]]) {
      const values = asked.items.filter((item) => item.kind === kind && item.sign === sign).map((item) => item.value);
      if (values.length > 0) body[key] = oneOrMany(values);
    }
    if (state.region) body.region = state.region;
  }
  body.top_k = topK();
  const filter = filterText();
  if (filter) body.filter = filter;
  if (chosen()?.kind === "text") {
    if (ways.mode && asked.text !== undefined) body.mode = ways.mode;
    if (ways.per !== "item") body.per = ways.per;
    if (ways.rerank && asked.text !== undefined) body.rerank = true;
  }
  return body;
}
