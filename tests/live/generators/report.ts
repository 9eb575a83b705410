// What the tours have in common.
export const url = there(process.argv[2]);

/** Return the value, which has to be there. */
export function there<T>(value: T): NonNullable<T> {
  if (value === undefined || value === null) {
    throw new Error("It is not there.");
  }
  return value;
}

/** What all tours have to see alike; the test knows the values. */
export interface Tour {
  user: string;
  created: [number | undefined, string, string | null, boolean];
  pages: [(string | undefined)[], number | undefined, (string | undefined)[], string | null | undefined];
  fields: string[][];
  patched: string | null;
  completed: boolean;
  batch: [string, number, string[]][];
  stale: [number | undefined, string, string | undefined];
  invalid: [number | undefined, string | undefined, string[] | undefined];
}

export function report(tour: Tour): void {
  console.log(JSON.stringify(tour));
}
