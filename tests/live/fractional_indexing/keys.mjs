// Reads cases as JSON, [after, before, count] each, and writes what npm's fractional-indexing makes of each; null where
// it refuses it.
import { generateKeyBetween, generateNKeysBetween } from 'fractional-indexing'
import { readFileSync } from 'node:fs'

function made([after, before, count]) {
  try {
    return count === null ? generateKeyBetween(after, before) : generateNKeysBetween(after, before, count)
  } catch {
    return null
  }
}

console.log(JSON.stringify(JSON.parse(readFileSync(0, 'utf8')).map(made)))
