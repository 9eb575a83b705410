// Runs in the admin's page before Piccolo's own script, and mends what that one does in the browser alone.
"use strict";

// A spreadsheet takes what begins with one of these for a formula (OWASP, "CSV Injection"), whatever their width is.
// Read with another separator or quote than it was written with, a file has more cells than we wrote: so what comes
// after one of those, or begins a line, is the beginning of a cell too.
const FORMULA = /(^|["',;|\t\r\n])(?=[\s\p{Cf}]*[=+\-@\uFE62\uFE63\uFE66\uFE6B\uFF0B\uFF0D\uFF1D\uFF20])/gu;
const CONTROL_FIRST = /^[\t\r\n]/;
const NUMBER = /^-?\d+(\.\d+)?$/;
const CELL = /"((?:[^"]|"")*)"/g;

/** Return what a spreadsheet shows as this text. A number stays one. */
function asText(cell) {
  if (NUMBER.test(cell)) return cell;
  const marked = cell.replace(FORMULA, "$1'");
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
