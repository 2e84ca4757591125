/** Numbers for people. Files keep full precision, see csv.ts. */
export function fixed(value: number, digits: number): string {
  return Number.isFinite(value) ? value.toFixed(digits) : 'n/a';
}

export function percent(value: number, digits: number): string {
  return Number.isFinite(value) ? `${(100 * value).toFixed(digits)} %` : 'n/a';
}

/** Fractions of a full retraining: two significant digits below one, so that 0.0042 and 0.42 both read well. */
export function fraction(value: number): string {
  if (!Number.isFinite(value)) return 'n/a';
  if (value === 0) return '0';
  return value < 1 ? value.toFixed(Math.max(2, 1 - Math.floor(Math.log10(value)))) : value.toFixed(2);
}

/** "a", "a and b", "a, b and c" */
export function listed(items: readonly string[]): string {
  if (items.length <= 1) return items.join('');
  return `${items.slice(0, -1).join(', ')} and ${items.at(-1) ?? ''}`;
}

export function plural(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? '' : 's'}`;
}
