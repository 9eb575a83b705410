// Runs in the admin's page before Piccolo's own script, and mends what that one does in the browser alone.
"use strict";

// A spreadsheet takes what begins with one of these for a formula (OWASP, "CSV Injection"), whatever their width is.
// Read with another separator or quote than it was written with, a file has more cells than we wrote: so what comes
// after one of those, or begins a line, is the beginning of a cell too.
// White space is read once, also where no formula follows: a search for each line break would take long for many.
const CELL_START = /((?!^)[\t\r\n]|["',;|]|^)([\s\p{Cf}]*)([=+\-@\uFE62\uFE63\uFE66\uFE6B\uFF0B\uFF0D\uFF1D\uFF20]?)/gu;
const LINES = /[\t\r\n]/g;
const LATER_LINES = /(?!^)[\t\r\n]/g;
const CONTROL_FIRST = /^[\t\r\n]/;
const NUMBER = /^-?\d+(\.\d+)?$/;
const CELL = /"((?:[^"]|"")*)"/g;

/** Return what a spreadsheet shows as this text. A number stays one. */
function asText(cell) {
  if (NUMBER.test(cell)) return cell;
  const marked = cell.replace(CELL_START, (all, start, space, sign) =>
    sign ? `${start}'${space.replace(start ? LINES : LATER_LINES, "$&'")}${sign}` : all,
  );
  return CONTROL_FIRST.test(marked) ? `'${marked}` : marked;
}

/** Return a CSV whose cells are text and numbers. Piccolo puts each cell in quotes, but for the names of columns. */
function withoutFormulas(csv) {
  return csv.replace(CELL, (_, cell) => `"${asText(cell.replaceAll('""', '"')).replaceAll('"', '""')}"`);
}

globalThis.Blob = class extends Blob {
  constructor(parts, options) {
    const isCSV = options?.type?.startsWith("text/csv");
    super(isCSV ? parts.map(withoutFormulas) : parts, options);
  }
};

/** Return how a row's id is written into a URL: app/admin/tables.py reads it. */
function rowKey(id) {
  const text = String(id);
  if (/^[0-9]+$/.test(text)) return text;
  const bytes = String.fromCharCode(...new TextEncoder().encode(text));
  return `~${btoa(bytes).replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, "")}`;
}

// The row that is open in a form, as it was read: its path, its entity tag and its values.
let open = { path: "", tag: "", values: {} };
// What the fields of a form held before anybody touched it.
let untouched = new WeakMap();

const pathOf = (url) => new URL(url, location.href).pathname;
const fieldsOf = (form) => [...new FormData(form).entries()];

/** A row was read: it is what the form shows from now on. */
function opened(answer) {
  open = { path: pathOf(answer.config.url), tag: answer.headers.etag, values: answer.data };
  untouched = new WeakMap();
}

const latest = {};

/** Note that something is asked for. Returns what tells later whether it is still what was asked for last. */
function asked(what) {
  const number = (latest[what] = (latest[what] ?? 0) + 1);
  return { isLatest: () => latest[what] === number };
}

/** Tell whether a request is about the row that the form shows; a list has no such form. */
function isOpen(url) {
  return pathOf(url) === open.path && document.querySelector("[data-uitest=save_button]") !== null;
}

/** Return the options of a request that changes a row: unless it has changed since it was opened (RFC 9110, 13.1.1). */
function unlessChanged(url) {
  return isOpen(url) && open.tag ? { headers: { "If-Match": open.tag } } : {};
}

for (const kind of ["focusin", "pointerdown", "keydown"]) {
  document.addEventListener(
    kind,
    (event) => {
      const form = event.target.closest?.("form");
      if (form && !untouched.has(form)) untouched.set(form, fieldsOf(form));
    },
    true,
  );
}

/** Return the fields of a form that somebody has changed. A text of several lines keeps the line breaks that it had. */
function changed(form) {
  const before = untouched.get(form) ?? fieldsOf(form);
  const fields = new FormData();
  fieldsOf(form).forEach(([name, value], at) => {
    if (before[at]?.[0] === name && before[at][1] === value) return;
    const hasCRLF = String(open.values[name] ?? "").includes("\r\n");
    fields.append(name, hasCRLF ? value.replace(/\r?\n/g, "\r\n") : value);
  });
  return fields;
}

/** Return what a refusal says to people, or undefined where it says nothing of the kind. */
function sentence(refusal) {
  return refusal?.error?.message ?? (typeof refusal?.detail === "string" ? refusal.detail : undefined);
}

// Of each table: the `methods` that it takes, its `fixed` columns, and those `set_by_service` when a row is added.
// app/admin/page.py fills it in.
const TABLES = {};
const shown = () => TABLES[document.documentElement.dataset.table];

/** Tell whether nobody changes this column by hand. */
const isFixed = (table, column) => TABLES[table]?.fixed.includes(column) ?? false;

/** Return the schema of a form that adds a row: it asks for nothing that the service sets. */
function toAdd(schema, table) {
  const left = TABLES[table]?.set_by_service ?? [];
  const asked = Object.entries(schema.properties).filter(([name]) => !left.includes(name));
  return { ...schema, properties: Object.fromEntries(asked) };
}

/** This table is shown from now on. */
function shows(table) {
  document.documentElement.dataset.table = table;
  fix();
}

/** Let no field be edited whose change would be refused. What is a text can still be selected and copied. */
function fix() {
  const table = shown();
  for (const field of document.querySelectorAll("form:has([data-uitest=save_button]) div:has(> label)")) {
    const name = field.querySelector("[name]")?.name;
    const isClosed = table !== undefined && (table.fixed.includes(name) || !table.methods.includes("PATCH"));
    for (const part of field.querySelectorAll("input, select, textarea")) {
      const isText = part.matches("input[type=text], input[type=number], textarea") && !part.closest(".key_search");
      part[isText ? "readOnly" : "inert"] = isClosed;
    }
  }
}

new MutationObserver(fix).observe(document, { childList: true, subtree: true });

/** Return the style of the page: what a table does not take is not offered, and nothing is wider than a phone. */
function style() {
  const rules = Object.entries(TABLES).flatMap(([table, { methods }]) => {
    const here = `html[data-table="${table}"]`;
    const hidden = [];
    if (!methods.includes("POST")) hidden.push(`a[href$="#/${table}/add/row/"]`);
    if (!methods.includes("PATCH"))
      hidden.push(`${here} [data-uitest=save_button]`, `${here} .buttons .button:has([data-icon=arrow-up])`);
    if (!methods.includes("DELETE"))
      hidden.push(
        `${here} [data-uitest=drop_down_button]`,
        `${here} li:has(> [data-uitest=delete_row_button])`,
        `${here} .button[title="Delete selected Rows"]`,
      );
    if (!methods.includes("PATCH") && !methods.includes("DELETE"))
      hidden.push(`${here} .table_wrapper :is(td, th):first-child > input[type=checkbox]`);
    return hidden.map((selector) => `${selector} { display: none !important; }`);
  });
  return [
    ...rules,
    "form :is(:read-only:not(select, button, option), [inert]):is(input, select, textarea) { opacity: 0.7; }",
    "form [name=new_password] { -webkit-text-security: disc; }",
    ".table_wrapper td { max-width: 20rem; overflow-wrap: break-word; }",
    "body:has(#message_popup) { padding-bottom: 5rem; }",
    ".light_mode p.referencing_title { color: inherit; }",
  ].join("\n");
}

const sheet = new CSSStyleSheet();
sheet.replaceSync(style());
document.adoptedStyleSheets = [sheet];

globalThis.tasksAdmin = { asked, rowKey, opened, isOpen, isFixed, toAdd, unlessChanged, changed, sentence, shows };
